#include "executors/detail/service.hpp"

#include <fstream>
#include <iterator>

/// How a variant becomes resident: its files come from the store to the disk, then the worker loads them.
namespace squall::executors {

/// Python always is, native code but where the operator trusts it.
bool node_role::in_sandbox(const wire::worker::load& request) const {
  return request.spec.kind == functions::variant_kind::python ||
         (request.spec.kind == functions::variant_kind::native &&
          !options_.trusted_functions.contains(request.function));
}

void node_role::carry_out(const calls::queueing::load& command) {
  on_demand_.insert(command.variant);
  if (const auto there = resident_.find(command.variant); there != resident_.end()) // a replica's
    return feed(calls::queueing::loaded{command.variant, there->second});
  begin_load(command.variant);
}

/// Once for all who want it.
void node_role::begin_load(variant_id id) {
  if (loading_.contains(id))
    return;
  const auto* const variant = catalogue_.variant(id);
  if (!variant)
    return load_failed(id, {errc::not_found, "it is not known", {}});
  const auto& spec = variant->spec();
  std::vector<functions::builtins::resource_key> files = variant->resources;
  if (spec.kind != functions::variant_kind::builtin && !spec.target.empty())
    files.push_back({{}, spec.target});
  auto& l = loading_[id];
  l = {++last_load_, now(), files.size(), {}};
  l.request.variant = id;
  l.request.spec = spec;
  l.request.inputs = variant->function->spec.inputs;
  l.request.outputs = variant->function->spec.outputs;
  l.request.function = variant->function->spec.name;
  if (files.empty())
    return send_load(id, l);
  const auto attempt = l.attempt;
  for (const auto& f : files)
    fetch_file(id, attempt, f.parameter, f.key);
}

/// `parameter` empty: the model itself.
void node_role::fetch_file(variant_id variant, std::uint64_t attempt, const std::string& parameter,
                           const std::string& key) {
  if (!store_)
    return file_fetched(variant, attempt, parameter, error{errc::unavailable, "there is no store yet", {}});
  models_->fetch(*store_, key, [this, variant, attempt, parameter](const result<std::string>& path) {
    const round_guard r{*this};
    file_fetched(variant, attempt, parameter, path);
  });
}

void node_role::file_fetched(variant_id variant, std::uint64_t attempt, const std::string& parameter,
                             const result<std::string>& path) {
  const auto found = loading_.find(variant);
  if (found == loading_.end() || found->second.attempt != attempt)
    return; // given up meanwhile
  if (!path.ok())
    return load_failed(variant, path.error());
  auto& l = found->second;
  (parameter.empty() ? l.request.model_path : l.request.resources[parameter]) = *path;
  if (--l.files_missing == 0)
    send_load(variant, l);
}

void node_role::send_load(variant_id variant, const loading& l) {
  if (in_sandbox(l.request))
    return load_user_code(variant, l);
  if (!worker_)
    return load_failed(variant, {errc::unavailable, "there is no worker process", {}});
  if (!worker_ready_)
    return; // it is being started again: on_ready() sends it
  if (const auto sent = worker_->load(l.request); !sent.ok())
    load_failed(variant, sent.error());
}

void node_role::send_waiting_loads() {
  std::vector<variant_id> waiting;
  for (const auto& [variant, l] : loading_)
    if (l.files_missing == 0 && !in_sandbox(l.request))
      waiting.push_back(variant);
  for (const auto variant : waiting)
    if (const auto found = loading_.find(variant); found != loading_.end())
      send_load(variant, found->second);
}

/// A light builtin with files runs here, too, as soon as the thread that may wait has read them.
void node_role::make_light(variant_id id, std::map<std::string, std::string> files) {
  const auto* const variant = catalogue_.variant(id);
  if (!variant || !variant->may_be_light || files.empty())
    return;
  disk_->run([this, id, spec = variant->spec(), function = variant->function, files = std::move(files), &post = *post_,
              alive = alive_] {
    functions::builtins::resource_map contents;
    for (const auto& [parameter, path] : files) {
      std::ifstream file{path, std::ios::binary};
      contents[parameter] = shared_bytes::take(std::string{std::istreambuf_iterator<char>{file}, {}});
      if (!file)
        return;
    }
    auto made = functions::builtins::make_instance(*functions::builtins::find(spec.target), spec.parameters, contents);
    if (!made.ok())
      return; // the worker has said why
    auto instance = std::make_shared<std::unique_ptr<functions::builtins::instance>>(std::move(*made));
    post.later([this, id, function, instance, alive] {
      auto* const now_known = *alive ? catalogue_.variant(id) : nullptr;
      if (now_known && now_known->function == function)
        now_known->light = std::move(*instance);
    });
  });
}

void node_role::load_failed(variant_id id, const error& why) {
  loading_.erase(id);
  ++counters_.loads_failed;
  error named = why;
  if (const auto* const v = catalogue_.variant(id))
    named.message = "variant '" + v->spec().name + "' of function " + v->function->spec.name + " version " +
                    std::to_string(v->function->spec.version) + " cannot be loaded: " + why.message;
  wire::residency message;
  message.variant = id;
  message.code = named.code;
  message.message = named.message;
  report_residency(std::move(message));
  if (on_demand_.erase(id) > 0)
    feed(calls::queueing::load_failed{id, named.code, named.message});
  replicas_loaded(id, &named);
}

void node_role::carry_out(const calls::queueing::evict& command) {
  ++counters_.evictions;
  on_demand_.erase(command.variant);
  unload_unused(command.variant);
}

void node_role::report_residency(wire::residency message) {
  if (!membership_.joined())
    return;
  message.node = membership_.self();
  membership_.tell_controller(wire::encode(message, request_id{}), "a change of residency was not reported");
}

void node_role::report_gone(variant_id variant) {
  wire::residency message;
  message.variant = variant;
  report_residency(std::move(message));
}

} // namespace squall::executors
