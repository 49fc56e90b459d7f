#include "client/cluster.hpp"

#include "client/detail/engine.hpp"

#include <algorithm>
#include <utility>

namespace squall::client {

namespace {

/// A reply as a result.
result<std::string> body_of(result<wire::reply> answer) {
  SQUALL_ASSIGN(reply, std::move(answer));
  if (reply.code != errc::ok)
    return error{reply.code, std::move(reply.message), reply.retry_after};
  return std::move(reply.body);
}

result<> outcome_of(result<wire::reply> answer) {
  SQUALL_TRY(body_of(std::move(answer)));
  return {};
}

const functions::value* named(const std::vector<functions::named_value>& values, std::string_view name) {
  const auto found = std::find_if(values.begin(), values.end(), [&](const auto& value) { return value.name == name; });
  return found == values.end() ? nullptr : &found->value;
}

} // namespace

result<> call_result::status() const {
  if (ok())
    return {};
  return error{outcome.code, outcome.message, outcome.retry_after};
}

const functions::value* call_result::find(std::string_view output) const { return named(outputs, output); }
const functions::value* partial_result::find(std::string_view output) const { return named(outputs, output); }

call_id call_handle::id() const { return state_->id; }
const call_result& call_handle::get() const& { return state_->wait(); }
call_result call_handle::get() && { return state_->wait(); }
bool call_handle::wait_for(duration patience) const { return state_->wait_for(patience); }
void call_handle::on_done(std::function<void(const call_result&)> callback) const {
  state_->on_done(std::move(callback));
}
void call_handle::cancel() const {
  if (const auto engine = engine_.lock())
    engine->cancel(state_->id);
}

cluster::cluster(std::shared_ptr<detail::engine> engine) : engine_(std::move(engine)) {}
cluster::~cluster() { engine_->stop(); }

result<std::unique_ptr<cluster>> cluster::connect(const options& options) {
  SQUALL_ASSIGN(engine, detail::engine::start(options));
  return std::unique_ptr<cluster>{new cluster{std::move(engine)}};
}

result<> cluster::register_function(const functions::function_spec& spec, bool replace) {
  return outcome_of(engine_->ask(wire::apply_function{spec, replace}));
}

result<> cluster::register_dag(const functions::dag_spec& spec, bool replace) {
  return outcome_of(engine_->ask(wire::apply_dag{spec, replace}));
}

result<> cluster::remove_function(std::string_view name, std::uint32_t version) {
  return outcome_of(engine_->ask(wire::remove{"function", std::string{name}, version}));
}

result<> cluster::remove_dag(std::string_view name, std::uint32_t version) {
  return outcome_of(engine_->ask(wire::remove{"dag", std::string{name}, version}));
}

call_handle cluster::call(std::string_view name, std::vector<functions::named_value> inputs,
                          const calls::call_options& options) {
  auto state = std::make_shared<detail::call_state>();
  engine_->call(state, name, std::move(inputs), options);
  return {std::move(state), engine_};
}

call_handle cluster::call(std::string_view name, std::vector<functions::named_value> inputs,
                          const calls::call_options& options, partial_callback on_partial) {
  auto state = std::make_shared<detail::call_state>();
  state->on_partial = std::move(on_partial);
  auto streaming = options;
  streaming.stream = true;
  engine_->call(state, name, std::move(inputs), streaming);
  return {std::move(state), engine_};
}

call_id cluster::call_async(std::string_view name, std::vector<functions::named_value> inputs,
                            const calls::call_options& options, std::function<void(call_result)> done) {
  const auto call = std::make_shared<detail::callback_call>(std::move(done));
  engine_->call(call, name, std::move(inputs), options);
  return call->id;
}

void cluster::cancel(call_id call) { engine_->cancel(call); }

kv cluster::kv() { return client::kv{*engine_}; }

result<std::string> cluster::query(std::string_view kind, std::string_view name) {
  return body_of(engine_->ask(wire::query{std::string{kind}, std::string{name}}));
}

result<> cluster::drain(std::string_view node) { return outcome_of(engine_->ask(wire::drain{std::string{node}})); }

result<> cluster::set_policy(std::string_view name) {
  return outcome_of(engine_->ask(wire::set_policy{std::string{name}, 1'000'000, false}));
}

result<> cluster::set_policy_share(std::string_view name, std::uint32_t share_ppm) {
  return outcome_of(engine_->ask(wire::set_policy{std::string{name}, share_ppm, false}));
}

result<> cluster::set_shadow_policy(std::string_view name) {
  return outcome_of(engine_->ask(wire::set_policy{std::string{name}, 1'000'000, true}));
}

result<> cluster::shutdown() { return outcome_of(engine_->ask(wire::shutdown{})); }

cluster_info cluster::info() const { return engine_->info(); }
const std::string& cluster::endpoint() const { return engine_->settings().endpoint; }

result<duration> cluster::ping() {
  const auto begin = detail::clock::now();
  SQUALL_TRY(engine_->ask<wire::pong>(wire::ping{}));
  return duration{detail::clock::now() - begin};
}

} // namespace squall::client
