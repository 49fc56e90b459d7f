#include "bench/native/calls.hpp"

#include "client/spec_file.hpp"
#include "client/values.hpp"

#include <chrono>
#include <thread>

namespace squall::bench {

namespace {

const functions::value& input() {
  static const functions::value x{
      functions::tensor{functions::datatype::uint8, {8192}, shared_bytes::take(std::string(8192, 'x'))}};
  return x;
}

} // namespace

void register_code(client::cluster& cluster, const std::string& name, functions::variant_kind kind,
                   const std::string& file, const std::map<std::string, std::string>& parameters) {
  const auto upload = or_fail(client::make_upload(file));
  or_fail(cluster.kv().put(upload.key, or_fail(client::read_file(file)), {}));
  functions::function_spec spec;
  spec.name = name;
  functions::variant_spec variant;
  variant.name = "default";
  variant.kind = kind;
  variant.target = upload.key;
  variant.parameters = parameters;
  spec.variants.push_back(variant);
  spec.inputs = {{"x", functions::datatype::uint8, {-1}}};
  spec.outputs = {{"x", functions::datatype::uint8, {-1}}};
  or_fail(cluster.register_function(spec));
}

void register_native(client::cluster& cluster, const std::string& name, const std::string& what) {
  register_code(cluster, name, functions::variant_kind::native, SQUALL_BENCH_FUNCTIONS, {{"do", what}});
}

double call_us(client::cluster& cluster, const std::string& target) { return call_us(cluster, target, input()); }

double call_us(client::cluster& cluster, const std::string& target, const functions::value& given) {
  const auto began = now_ns();
  const auto ended = cluster.call(target, {{"x", given}}).get();
  const auto took = now_ns() - began;
  if (!ended.ok())
    fail({ended.outcome.code, target + ": " + ended.outcome.message, {}});
  const auto* x = ended.find("x");
  if (!x || *x != given)
    fail({errc::internal, target + " gives back something else than it got", {}});
  return static_cast<double>(took) * 1e-3;
}

void report_first_calls(const settings& s, const std::string& name, client::cluster& cluster,
                        const std::function<void(const std::string&)>& registered, std::size_t count, double fork_us,
                        fnv1a& work) {
  using namespace std::chrono_literals;
  for (std::size_t i = 0; i < 2 * count + 1; ++i)
    registered("fresh-" + std::to_string(i));
  (void)call_us(cluster, "fresh-" + std::to_string(2 * count)); // there is a zygote, and the path is warm
  std::vector<double> paused;
  std::vector<double> burst;
  for (std::size_t i = 0; i < count; ++i) {
    std::this_thread::sleep_for(s.smoke ? 20ms : 100ms);
    (void)calls_p50_us(cluster, "noop", 50); // the path to the node is in use, as a cluster's is
    paused.push_back(call_us(cluster, "fresh-" + std::to_string(i)));
  }
  for (std::size_t i = 0; i < count; ++i)
    burst.push_back(call_us(cluster, "fresh-" + std::to_string(count + i)));
  work.add(count);
  report(s, name, {median(std::move(paused)), fork_us}, "us", work);
  report(s, name + "-burst", {median(std::move(burst)), fork_us}, "us", work);
}

double calls_p50_us(client::cluster& cluster, const std::string& target, std::size_t count) {
  return calls_p50_us(cluster, target, count, input());
}

double calls_p50_us(client::cluster& cluster, const std::string& target, std::size_t count, const functions::value& x) {
  std::vector<double> us;
  for (std::size_t i = 0; i < count; ++i)
    us.push_back(call_us(cluster, target, x));
  return median(std::move(us));
}

std::unique_ptr<client::cluster> connect_with_native(const running_cluster& cluster, fnv1a& work) {
  auto connected = connect_with_no_ops(cluster);
  register_native(*connected, "passing", "pass");
  register_native(*connected, "calling", "call");
  for (const char* warm : {"noop", "passing", "calling"})
    (void)call_us(*connected, warm);
  work.add(input().byte_size());
  return connected;
}

} // namespace squall::bench
