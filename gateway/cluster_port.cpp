#include "gateway/cluster_port.hpp"

#include "calls/json.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace squall::gateway {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

/// What a model's versions take and give.
struct versions {
  bool dag = true;
  std::map<std::uint32_t, std::pair<std::vector<functions::port>, std::vector<functions::port>>> ports;
};
using models = std::map<std::string, versions, std::less<>>;

std::vector<functions::port> ports_in(const calls::json_node& node, const char* key) {
  std::vector<functions::port> out;
  if (const auto field = node.find(key)) {
    calls::json_reader reader{*field};
    reader.read(out);
    if (!reader.ok())
      out.clear();
  }
  return out;
}

result<> add_models(models& into, const std::string& json, bool dags) {
  SQUALL_ASSIGN(document, calls::json_document::parse(json));
  const calls::json_node list = document.root();
  for (std::size_t i = 0; i < list.size(); ++i) {
    const calls::json_node item = list.element(i);
    const auto name = item.find("name");
    const auto version = item.find("version");
    if (!name || !name->as_string() || !version || !version->as_uint64())
      return {errc::corrupt, "the cluster's list of models has an item without name and version"};
    const auto known = into.find(*name->as_string());
    if (known != into.end() && known->second.dag != dags)
      continue; // a function under the name of a DAG is not called by that name
    versions& model = into[std::string{*name->as_string()}];
    model.dag = dags;
    model.ports[static_cast<std::uint32_t>(*version->as_uint64())] = {
        ports_in(item, "inputs"), ports_in(item, dags ? "output_ports" : "outputs")};
  }
  return {};
}

result<model_metadata> find_model(const models& in, std::string_view name, std::uint32_t version) {
  const auto found = in.find(name);
  if (found == in.end())
    return {errc::not_found, "there is no model '" + std::string{name} + "'"};
  const auto& ports = found->second.ports;
  const auto chosen = version == 0 ? std::prev(ports.end()) : ports.find(version);
  if (chosen == ports.end())
    return {errc::not_found,
            "there is no version " + std::to_string(version) + " of model '" + std::string{name} + "'"};
  model_metadata out{std::string{name}, chosen->first,        {},
                     found->second.dag, chosen->second.first, chosen->second.second};
  for (const auto& [number, unused] : ports)
    out.versions.push_back(number);
  return out;
}

result<std::vector<metric_sample>> samples_in(const std::string& json) {
  SQUALL_ASSIGN(document, calls::json_document::parse(json));
  const calls::json_node list = document.root();
  std::vector<metric_sample> out;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const calls::json_node item = list.element(i);
    const auto text = [&](const char* key) {
      const auto field = item.find(key);
      return std::string{field ? field->as_string().value_or("") : ""};
    };
    metric_sample sample{text("name"),
                         text("help"),
                         text("type") == "counter" ? metric_sample::kind::counter : metric_sample::kind::gauge,
                         {},
                         0};
    if (const auto labels = item.find("labels"))
      for (std::size_t l = 0; l < labels->size(); ++l)
        sample.labels[std::string{labels->member(l).first}] = labels->member(l).second.as_string().value_or("");
    if (const auto value = item.find("value"))
      sample.value = value->as_double().value_or(0);
    out.push_back(std::move(sample));
  }
  return out;
}

class cluster_port final : public serving_port {
public:
  cluster_port(client::options options, logger& log)
      : options_(std::move(options)), log_(log), connector_([this] { connect(); }) {}

  ~cluster_port() override {
    {
      const std::lock_guard lock{mutex_};
      stopping_ = true;
    }
    changed_.notify_all();
    connector_.join();
  }

  void call(const std::string& model, std::uint32_t version, std::vector<functions::named_value> inputs,
            const calls::call_options& options, std::function<void(infer_reply)> done) override {
    client::cluster* const to = cluster();
    if (to == nullptr) {
      infer_reply reply;
      reply.outcome.code = errc::unavailable;
      reply.outcome.message = not_connected().message;
      return done(std::move(reply));
    }
    const std::string name = version == 0 ? model : model + "@" + std::to_string(version);
    to->call_async(name, std::move(inputs), options, [done = std::move(done)](client::call_result r) {
      done({r.id, std::move(r.outcome), std::move(r.outputs)});
    });
  }

  result<model_metadata> metadata(std::string_view model, std::uint32_t version) override {
    const std::lock_guard lock{models_mutex_};
    const auto age = clock::now() - models_read_;
    if (age < 1s) {
      auto known = find_model(models_, model, version);
      if (known.ok() || age < 20ms) // a flood of unknown names must not become a flood of queries
        return known;
    }
    SQUALL_ASSIGN(fresh, read_models());
    models_ = std::move(fresh);
    models_read_ = clock::now();
    return find_model(models_, model, version);
  }

  result<> ready() override {
    SQUALL_ASSIGN(status, query("status"));
    SQUALL_ASSIGN(document, calls::json_document::parse(status));
    const auto ready = document.root().find("ready");
    if (!ready || !ready->as_boolean().value_or(false))
      return {errc::unavailable, "the cluster is not ready: it waits for nodes"};
    return {};
  }

  result<std::vector<metric_sample>> metrics() override {
    SQUALL_ASSIGN(json, query("metrics"));
    return samples_in(json);
  }

private:
  void connect() {
    bool said = false;
    for (std::unique_lock lock{mutex_}; !stopping_; changed_.wait_for(lock, 200ms, [this] { return stopping_; })) {
      lock.unlock();
      auto made = client::cluster::connect(options_);
      lock.lock();
      if (made.ok()) {
        cluster_ = std::move(made).value();
        return;
      }
      if (!std::exchange(said, true))
        log_.info("gateway", "waits for the cluster", {{"endpoint", options_.endpoint}, {"why", made.error().message}});
    }
  }

  /// Set once, and then for good.
  client::cluster* cluster() {
    const std::lock_guard lock{mutex_};
    return cluster_.get();
  }

  error not_connected() const {
    return {errc::unavailable, "the cluster at " + options_.endpoint + " has not answered yet", 1s};
  }

  result<std::string> query(std::string_view kind) {
    client::cluster* const to = cluster();
    if (to == nullptr)
      return not_connected();
    return to->query(kind);
  }

  result<models> read_models() {
    models out;
    SQUALL_ASSIGN(dags, query("dags"));
    SQUALL_TRY(add_models(out, dags, true));
    SQUALL_ASSIGN(functions, query("functions"));
    SQUALL_TRY(add_models(out, functions, false));
    return out;
  }

  const client::options options_;
  logger& log_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::unique_ptr<client::cluster> cluster_;
  std::mutex models_mutex_;
  models models_;
  clock::time_point models_read_{};
  std::thread connector_; // last: it uses the rest
};

} // namespace

std::unique_ptr<serving_port> make_cluster_port(const client::options& options, logger& log) {
  return std::make_unique<cluster_port>(options, log);
}

} // namespace squall::gateway
