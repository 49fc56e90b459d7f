#include "client/detail/pending.hpp"

#include <utility>

namespace squall::client::detail {

void call_state::finish(call_result result) {
  std::function<void(const call_result&)> callback;
  {
    const std::lock_guard lock{mutex_};
    result_ = std::move(result);
    callback = std::exchange(callback_, {});
    if (waiting_ > 0)
      ended_.notify_all();
  }
  if (callback)
    callback(*result_);
}

const call_result& call_state::wait() {
  std::unique_lock lock{mutex_};
  ++waiting_;
  ended_.wait(lock, [this] { return result_.has_value(); });
  --waiting_;
  return *result_;
}

bool call_state::wait_for(duration patience) {
  std::unique_lock lock{mutex_};
  ++waiting_;
  const bool ended = ended_.wait_for(lock, patience, [this] { return result_.has_value(); });
  --waiting_;
  return ended;
}

void call_state::on_done(std::function<void(const call_result&)> callback) {
  {
    const std::lock_guard lock{mutex_};
    if (!result_) {
      callback_ = std::move(callback);
      return;
    }
  }
  callback(*result_);
}

void pending_request::finish(result<answer> end) {
  const std::lock_guard lock{mutex_};
  end_.emplace(std::move(end));
  ended_.notify_all();
}

result<answer> pending_request::wait() {
  std::unique_lock lock{mutex_};
  ended_.wait(lock, [this] { return end_.has_value(); });
  return std::move(*end_);
}

} // namespace squall::client::detail
