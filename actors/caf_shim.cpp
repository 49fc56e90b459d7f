#include "actors/caf_shim.hpp"

#include <algorithm>

namespace squall::actors {

namespace {
constexpr std::size_t messages_in_a_row = 256;
}

system_config::system_config(int threads) {
  set("scheduler.policy", caf::atom("sharing"));
  set("scheduler.max-threads", static_cast<std::size_t>(threads));
  set("scheduler.max-throughput", std::size_t{50});
}

inline_unit::~inline_unit() {
  for (caf::resumable* job : ready_)
    caf::intrusive_ptr_release(job);
}

void inline_unit::adopt(const caf::actor& one) {
  auto* job = dynamic_cast<caf::resumable*>(caf::actor_cast<caf::abstract_actor*>(one));
  if (job != nullptr)
    adopted_.push_back(job);
}

void inline_unit::exec_later(caf::resumable* job) {
  if (std::find(adopted_.begin(), adopted_.end(), job) != adopted_.end())
    ready_.push_back(job);
  else
    system().scheduler().enqueue(job);
}

void inline_unit::run() {
  // By index: what runs may append.
  for (std::size_t i = 0; i < ready_.size(); ++i) {
    caf::resumable* job = ready_[i];
    if (job->resume(this, messages_in_a_row) == caf::resumable::resume_later)
      ready_.push_back(job);
    else
      caf::intrusive_ptr_release(job); // taken by whoever called exec_later()
  }
  ready_.clear();
}

} // namespace squall::actors
