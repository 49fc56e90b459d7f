#include "actors/bridge.hpp"

#include "actors/accept_shim.hpp"
#include "actors/detail/hub.hpp"
#include "actors/detail/role_port.hpp"

#include <algorithm>

namespace squall::actors {

namespace detail {

namespace {

int pool_threads(const bridge_options& options) {
  if (options.worker_threads > 0)
    return options.worker_threads;
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

} // namespace

hub::hub(const bridge_options& options, logger& log, std::unique_ptr<wire::zmq_context> context,
         std::unique_ptr<wire::server_socket> server)
    : options_(options),
      log_(log),
      endpoint_(server->endpoint()),
      waiting_bytes_(server->waiting_bytes()),
      context_(std::move(context)),
      server_(std::move(server)),
      config_(pool_threads(options)),
      system_(config_),
      unit_(system_) {}

hub::~hub() {
  // Roles that never ran have actors that wait for their first message; without this the actor system would wait for
  // them.
  for (auto& slot : roles_) {
    caf::anon_send_exit(slot.actor, caf::exit_reason::kill);
    slot.actor = nullptr;
  }
}

void hub::host(wire::role role, std::unique_ptr<role_service> service, placing how) {
  role_slot*& entry = role_by_number_[static_cast<std::size_t>(role)];
  SQUALL_CHECK(role != wire::role::any && entry == nullptr, static_cast<int>(role));
  role_slot& slot = roles_.emplace_back();
  entry = &slot;
  slot.role = role;
  slot.how = how;
  slot.service = std::move(service);
  slot.out = std::make_unique<role_port>(*this, slot);
  slot.on_stopped = [this] { outbox_.push(stopped_item{}); };
  slot.actor = spawn_lazily<role_actor>(system_, how == placing::detached, &slot);
  if (how == placing::inline_in_bridge)
    unit_.adopt(slot.actor);
}

bridge_stats hub::stats() const {
  return {counts_.received.value(),
          counts_.sent.value(),
          counts_.undecodable.value(),
          counts_.unroutable.value(),
          counts_.overloaded.value(),
          counts_.unreachable.value(),
          waiting_bytes_->load(std::memory_order_relaxed)};
}

} // namespace detail

result<std::unique_ptr<bridge>> bridge::create(const bridge_options& options, logger& log) {
  survive_lack_of_descriptors();
  SQUALL_ASSIGN(context, wire::zmq_context::create());
  wire::server_options server;
  server.endpoint = options.endpoint;
  server.unix_socket = options.unix_sockets;
  server.high_water_mark = options.high_water_mark;
  server.waiting_bytes = options.waiting_bytes;
  server.keys = {options.keys.server_public, options.keys.server_secret};
  server.allowed = options.keys.allowed;
  SQUALL_ASSIGN(socket, wire::server_socket::bind(*context, server));
  return std::unique_ptr<bridge>{std::make_unique<detail::hub>(options, log, std::move(context), std::move(socket))};
}

} // namespace squall::actors
