#pragma once

#include "gateway/serving_port.hpp"

#include <map>
#include <mutex>
#include <optional>

namespace squall::gateway {

/// A cluster of one model, "echo" (versions 1 and 3), whose outputs are its inputs under other names, unless the test
/// says otherwise.
class fake_port final : public serving_port {
public:
  struct seen_call {
    std::string model;
    std::uint32_t version = 0;
    std::vector<functions::named_value> inputs;
    calls::call_options options;
  };

  void call(const std::string& model, std::uint32_t version, std::vector<functions::named_value> inputs,
            const calls::call_options& options, std::function<void(infer_reply)> done) override {
    const std::lock_guard lock{mutex};
    infer_reply reply = next_reply.value_or(infer_reply{call_id{77}, {}, {}});
    if (!next_reply)
      reply.outputs = inputs;
    calls.push_back({model, version, std::move(inputs), options});
    if (hold)
      held.push_back([done = std::move(done), reply] { done(reply); });
    else
      done(std::move(reply));
  }

  result<model_metadata> metadata(std::string_view model, std::uint32_t version) override {
    if (down)
      return *down;
    if (model != this->model.name || (version != 0 && version != 1 && version != 3))
      return {errc::not_found, "no"};
    model_metadata out = this->model;
    out.version = version == 0 ? 3 : version;
    return out;
  }

  result<> ready() override { return down ? result<>{*down} : result<>{}; }

  result<std::vector<metric_sample>> metrics() override {
    if (down)
      return *down;
    return std::vector<metric_sample>{{"squall_nodes", "Nodes", metric_sample::kind::gauge, {}, 2}};
  }

  std::mutex mutex;
  model_metadata model{
      "echo",
      3,
      {1, 3},
      true,
      {{"x", functions::datatype::fp32, {-1}, false, false}, {"words", functions::datatype::bytes, {1}, true, true}},
      {{"x", functions::datatype::fp32, {-1}, false, false}, {"words", functions::datatype::bytes, {1}, true, false}}};
  std::optional<infer_reply> next_reply;
  std::optional<error> down;
  bool hold = false;
  std::vector<std::function<void()>> held;
  std::vector<seen_call> calls;
};

} // namespace squall::gateway
