#include "executors/node_service.hpp"

#include "executors/detail/service.hpp"

#include <random>

namespace squall::executors {

namespace {

std::uint64_t random_instance() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

} // namespace

result<std::unique_ptr<actors::role_service>> make_node_service(const node_options& options,
                                                                std::shared_ptr<wire::arena> arena,
                                                                std::shared_ptr<wire::arena_map> arenas,
                                                                worker_starter starter, logger& log) {
  if (options.name.empty())
    return {errc::invalid_argument, "a node needs a name, unique in its cluster"};
  if (options.lanes == 0)
    return {errc::invalid_argument, "node '" + options.name + "' needs at least one lane"};
  SQUALL_CHECK(arenas != nullptr);
  node_parts parts;
  parts.arena = std::move(arena);
  parts.arenas = std::move(arenas);
  parts.start_worker = std::move(starter);
  parts.instance = random_instance();
  return std::unique_ptr<actors::role_service>{std::make_unique<node_role>(options, std::move(parts), log)};
}

} // namespace squall::executors
