#include "executors/detail/user_pools.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <tuple>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/// The processes behind the pools: zygotes, workers, and what they say.
namespace squall::executors::detail {

namespace {

using namespace std::chrono_literals;
using phase = user_worker::phase;
namespace messages = wire::worker;

constexpr std::size_t read_at_once = 4 << 20;
constexpr std::size_t events_at_once = 64;
constexpr duration farewell = 300ms;

std::uint64_t resident_bytes(std::uint64_t pid) {
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  std::ifstream("/proc/" + std::to_string(pid) + "/statm") >> total >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

std::string_view name_of(const user_worker& w) {
  switch (w.state) {
    case phase::loading:
      return "starting";
    case phase::idle:
      return "idle";
    case phase::busy:
      return w.waiting ? "waiting" : "busy";
    case phase::leaving:
      break;
  }
  return "ending";
}

} // namespace

// -- workers

user_worker* user_pools::find(std::uint64_t worker) {
  const auto found = workers_.find(worker);
  return found == workers_.end() ? nullptr : found->second.get();
}

void user_pools::kill(user_worker& w, errc code, std::string why) {
  w.killed_as = code;
  w.why_killed = std::move(why);
  w.kill_at = never;
  w.state = phase::leaving;
  w.socket->close();
  if (const auto slot = zygotes_.find(w.zygote); slot != zygotes_.end() && slot->second.process)
    slot->second.process->kill(w.id);
}

/// It is not needed any more.
void user_pools::leave(user_worker& w) {
  if (w.state == phase::leaving)
    return;
  w.state = phase::leaving;
  w.socket->close();
  w.kill_at = post_.now() + farewell;
  w.killed_as = errc::unavailable;
  w.why_killed = "it was not needed any more";
  if (const auto found = pools_.find(w.variant); found != pools_.end())
    found->second.workers.erase(w.id);
  for (const auto& job : std::exchange(w.ahead, {}))
    fail_job(job, errc::unavailable, "its function is being unloaded");
}

// -- what they say

zygote* user_pools::zygote_of(std::uint64_t tag) {
  for (const auto& [name, slot] : zygotes_)
    if (slot.process && slot.tag == tag)
      return slot.process.get();
  const auto found = retired_.find(tag);
  return found == retired_.end() ? nullptr : found->second.get();
}

void user_pools::on_events() {
  std::array<epoll_event, events_at_once> events;
  const auto count = epoll_wait(gate_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    const auto& event = events[static_cast<std::size_t>(i)];
    const auto tag = event.data.u64;
    if ((tag & zygote_bit) != 0) {
      if (auto* const sender = zygote_of(tag & ~std::uint64_t{3}))
        sender->on_event(static_cast<int>(tag & 3), event.events);
      continue;
    }
    auto* const w = find(tag / 2);
    if (w == nullptr)
      continue;
    if (tag % 2 == 1)
      w->log->read(post_.now(), [&](const std::string& line) { say(*w, line); });
    else
      on_socket(*w, event.events);
  }
}

void user_pools::say(const user_worker& w, const std::string& line) {
  const auto found = pools_.find(w.variant);
  log_.info(
      "function", line,
      {{"function", found == pools_.end() ? "" : found->second.request.function}, {"worker", std::to_string(w.id)}});
}

void user_pools::on_socket(user_worker& w, std::uint32_t events) {
  if ((events & EPOLLOUT) != 0 && w.socket->open())
    w.socket->on_writable();
  const auto sound = w.socket->read(read_at_once, [&](const auto& packet) { return on_packet(w, packet); });
  if (sound.ok() || w.state == phase::leaving)
    return;
  // One that closed its socket is ending by itself, and its status says why; or it is not, and is killed.
  const bool garbage = sound.error().code != errc::unavailable;
  if (garbage)
    return kill(w, errc::failed, sound.error().message);
  w.socket->close();
  w.kill_at = post_.now() + farewell;
  w.killed_as = errc::failed;
  w.why_killed = "it closed its socket";
}

result<> user_pools::on_packet(user_worker& w, const wire::frames& packet) {
  SQUALL_ASSIGN(head, wire::peek(packet.header.span()));
  if (w.state == phase::leaving)
    return {};
  if (head.type == messages::ready::type)
    return {};
  if (head.type == messages::loaded::type) {
    SQUALL_ASSIGN(message, wire::decode<messages::loaded>(packet, nullptr));
    if (w.state != phase::loading)
      return {errc::corrupt, "it has loaded already"};
    on_loaded(w, message);
    return {};
  }
  if (head.type == messages::note::type) {
    SQUALL_ASSIGN(message, wire::decode<messages::note>(packet, nullptr));
    w.log->add(post_.now(), message.text.substr(0, 4096), [&](const std::string& line) { say(w, line); });
    return {};
  }
  if (head.type == messages::done::type) {
    SQUALL_ASSIGN(message, wire::decode<messages::done>(packet, w.out.get()));
    return on_done(w, std::move(message));
  }
  return on_question(w, packet, head);
}

result<> user_pools::on_question(user_worker& w, const wire::frames& packet, const wire::envelope_head& head) {
  w.asked = true;
  worker_question from{w.id, head.request, {}};
  const auto of_job = [&](batch_id batch) { return w.job && w.job->request.batch == batch; };
  // What the listener knows of an item of the job.
  const auto known_as = [&](std::uint32_t item) {
    return w.job->whole ? std::pair{w.job->whole, w.job->place} : std::pair{w.job->request.batch, item};
  };
  if (head.type == messages::state_request::type) {
    SQUALL_ASSIGN(message, wire::decode<messages::state_request>(packet, w.out.get()));
    release_copied(w);
    listener_.on_user_state(from, std::move(message));
    return {};
  }
  if (head.type == messages::partial::type) {
    SQUALL_ASSIGN(message, wire::decode<messages::partial>(packet, w.out.get()));
    release_copied(w);
    if (!of_job(message.batch) || message.item >= w.job->request.items.size())
      return {errc::corrupt, "a partial result of nothing that it runs"};
    const auto [batch, item] = known_as(message.item);
    listener_.on_user_partial(batch, item, std::move(message.outputs));
    return {};
  }
  if (head.type == messages::call::type) {
    SQUALL_ASSIGN(message, wire::decode<messages::call>(packet, w.out.get()));
    release_copied(w);
    if (!of_job(message.batch) || message.item >= w.job->request.items.size() || !head.request ||
        !w.questions.insert(head.request.value).second)
      return {errc::corrupt, "a call of nothing that it runs"};
    std::tie(message.batch, message.item) = known_as(message.item);
    from.batch = message.batch;
    listener_.on_user_call(from, std::move(message));
    return {};
  }
  if (head.type == messages::waiting::type) {
    SQUALL_ASSIGN(message, wire::decode<messages::waiting>(packet, nullptr));
    if (of_job(message.batch) && !w.waiting && !w.questions.empty()) {
      w.waiting = true;
      report_waiting(*w.job, true);
      pump(w.variant);
    }
    return {};
  }
  return {errc::corrupt, "type " + std::to_string(static_cast<unsigned>(head.type)) + " is not a worker's"};
}

void user_pools::on_loaded(user_worker& w, const wire::worker::loaded& message) {
  const auto found = pools_.find(w.variant);
  if (found == pools_.end())
    return;
  auto& p = found->second;
  w.memory_bytes = message.memory_bytes;
  w.kill_at = never;
  if (message.code != errc::ok) {
    leave(w);
    if (!std::exchange(p.announced, true)) {
      auto failed = message;
      failed.variant = w.variant;
      fail_waiting(p, message.code, message.message);
      listener_.on_user_loaded(failed);
      return unload(w.variant);
    }
    note_crash(p, "it cannot be loaded: " + message.message);
    if (p.workers.empty())
      fail_waiting(p, message.code, message.message);
    return;
  }
  w.state = phase::idle;
  w.idle_since = post_.now();
  if (!std::exchange(p.announced, true)) {
    auto first = message;
    first.variant = w.variant;
    first.load_time = post_.now() - w.started; // with its process
    listener_.on_user_loaded(first);
  }
  pump(w.variant);
}

result<> user_pools::on_done(user_worker& w, wire::worker::done message) {
  release_copied(w);
  if (!w.job || w.job->request.batch != message.batch) {
    if (!take_back(w, message))
      return {errc::corrupt, "an answer for a batch that it does not run"};
    pump(w.variant);
    return {};
  }
  const auto job = *std::exchange(w.job, std::nullopt);
  const auto found = pools_.find(w.variant);
  const bool asked = std::exchange(w.asked, false);
  if (w.waiting)
    report_waiting(job, false);
  w.waiting = false;
  w.questions.clear();
  w.state = phase::idle;
  w.idle_since = post_.now();
  w.kill_at = never;
  ++w.batches;
  next_ahead(w);
  if (found != pools_.end()) {
    found->second.crashes = 0;
    check_outputs(found->second, job, message);
    note_pace(w.variant, found->second, message.executed, asked);
  }
  const auto variant = w.variant;
  report(job, std::move(message));
  pump(variant);
  return {};
}

void user_pools::release_copied(user_worker& w) {
  auto copied = w.out->take_copied();
  if (copied.empty())
    return;
  messages::release message;
  message.blocks = std::move(copied);
  (void)w.send(message); // one that is gone needs none
}

// -- answers to them

void user_pools::returned(const worker_question& to, const wire::worker::returned& message) {
  auto* const w = find(to.worker);
  if (w == nullptr || w->questions.erase(to.request.value) == 0)
    return;
  if (std::exchange(w->waiting, false))
    report_waiting(*w->job, false);
  auto placed = message;
  for (auto& output : placed.outputs)
    output.value = w->in->place(output.value);
  if (const auto sent = w->send(placed, to.request); !sent.ok() && w->socket->open()) {
    messages::returned failed;
    failed.code = sent.error().code;
    failed.message = sent.error().message;
    (void)w->send(failed, to.request);
  }
}

void user_pools::state_reply(const worker_question& to, const wire::worker::state_reply& message) {
  auto* const w = find(to.worker);
  if (w == nullptr)
    return;
  auto placed = message;
  placed.value = w->in->place(placed.value);
  if (const auto sent = w->send(placed, to.request); !sent.ok() && w->socket->open()) {
    messages::state_reply failed;
    failed.code = sent.error().code;
    failed.message = sent.error().message;
    (void)w->send(failed, to.request);
  }
}

// -- their ends

void user_pools::on_spawned(const wire::worker::spawned& message) {
  auto* const w = find(message.worker);
  if (w == nullptr)
    return;
  if (message.code != errc::ok)
    return end(message.worker, message.message, false);
  w->pid = message.pid;
}

void user_pools::on_exited(const wire::worker::exited& message) {
  const auto status = static_cast<int>(message.status);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  end(message.worker,
      code == 128 + SIGABRT   ? "it called abort()"
      : code == 128 + SIGXCPU ? "it used up its processor time (SIGXCPU)"
                              : describe_status(status),
      true);
}

/// The process is gone. `by_itself`: it is its own doing, or that of its bounds.
void user_pools::end(std::uint64_t worker, const std::string& how, bool by_itself) {
  const auto found = workers_.find(worker);
  if (found == workers_.end())
    return;
  found->second->ended = true;
  auto* const dying = found->second.get();
  // Its last answers may still be in the socket: they count.
  if (dying->state != phase::leaving && dying->socket->open())
    (void)dying->socket->read(std::numeric_limits<std::size_t>::max(),
                              [&](const auto& p) { return on_packet(*dying, p); });
  const auto w = std::move(workers_.at(worker));
  workers_.erase(worker);
  w->log->read_rest([&](const std::string& line) { say(*w, line); });
  const auto in_pool = pools_.find(w->variant);
  pool* const p = in_pool == pools_.end() ? nullptr : &in_pool->second;
  if (p != nullptr)
    p->workers.erase(worker);
  if (const auto slot = zygotes_.find(w->zygote); slot != zygotes_.end() && w->variant)
    slot->second.used_at = post_.now();
  if (w->waiting && w->job)
    report_waiting(*w->job, false);
  listener_.on_user_gone(worker);
  if (p != nullptr)
    take_all_back(*w, *p);
  const bool killed = w->state == phase::leaving && w->kill_at == never;
  const auto why = killed ? w->why_killed : how;
  const auto code = killed ? w->killed_as : by_itself ? errc::failed : errc::unavailable;
  if (p == nullptr || (w->state == phase::leaving && !killed) || (killed && code == errc::unavailable))
    return; // it was not needed any more
  const std::string name = "function '" + p->request.function + "'";
  const auto text = "a worker of " + name + " ended" + (w->job ? " while it ran: " : ": ") + why + w->log->tail();
  if (code == errc::failed && by_itself)
    note_crash(*p, why);
  if (w->job && p->repeatable && w->job->attempt == 0 && !w->cancelled && code != errc::deadline_exceeded) {
    auto again = *std::exchange(w->job, std::nullopt);
    ++again.attempt;
    p->waiting.push_front(std::move(again));
  }
  if (!p->announced) {
    p->announced = true;
    messages::loaded failed;
    failed.variant = w->variant;
    failed.code = code;
    failed.message = text;
    fail_waiting(*p, code, text);
    pools_.erase(in_pool);
    return listener_.on_user_loaded(failed);
  }
  if (w->job)
    fail_job(*w->job, code, text);
  else
    log_.warn("workers", text);
  pump(w->variant);
}

std::vector<wire::instance_report> user_pools::instances() {
  for (const auto& [name, slot] : zygotes_) {
    const auto unknown = [&, &zygote = name](const auto& entry) {
      return entry.second->zygote == zygote && entry.second->pid != 0 && entry.second->host_pid == 0;
    };
    if (!slot.process || std::none_of(workers_.begin(), workers_.end(), unknown))
      continue;
    const auto pids = slot.process->host_pids();
    for (const auto& [id, w] : workers_)
      if (const auto found = pids.find(w->pid); w->zygote == name && found != pids.end())
        w->host_pid = found->second;
  }
  std::vector<wire::instance_report> out;
  for (const auto& [id, w] : workers_) {
    if (!w->variant) // to spare
      continue;
    wire::instance_report r;
    r.variant = w->variant;
    r.pid = w->host_pid;
    r.state = name_of(*w);
    r.memory_bytes = r.pid == 0 ? w->memory_bytes : resident_bytes(r.pid);
    r.batches = w->batches;
    r.age = post_.now() - w->started;
    out.push_back(std::move(r));
  }
  for (const auto& [variant, p] : pools_)
    if (p.crashes >= loop_of_crashes && p.workers.empty()) {
      wire::instance_report r;
      r.variant = variant;
      r.state = "backing off";
      r.problem = p.problem;
      out.push_back(std::move(r));
    }
  return out;
}

} // namespace squall::executors::detail
