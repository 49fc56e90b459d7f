#include "bench/native/calls.hpp"

#include "client/spec_file.hpp"
#include "client/values.hpp"

namespace squall::bench {

namespace {

const functions::value& input() {
  static const functions::value x{
      functions::tensor{functions::datatype::uint8, {8192}, shared_bytes::take(std::string(8192, 'x'))}};
  return x;
}

} // namespace

void register_native(client::cluster& cluster, const std::string& name, const std::string& what) {
  const auto upload = or_fail(client::make_upload(SQUALL_BENCH_FUNCTIONS));
  or_fail(cluster.kv().put(upload.key, or_fail(client::read_file(SQUALL_BENCH_FUNCTIONS)), {}));
  functions::function_spec spec;
  spec.name = name;
  functions::variant_spec variant;
  variant.name = "default";
  variant.kind = functions::variant_kind::native;
  variant.target = upload.key;
  variant.parameters["do"] = what;
  spec.variants.push_back(variant);
  spec.inputs = {{"x", functions::datatype::uint8, {-1}}};
  spec.outputs = {{"x", functions::datatype::uint8, {-1}}};
  or_fail(cluster.register_function(spec));
}

double call_us(client::cluster& cluster, const std::string& target) {
  const auto began = now_ns();
  const auto ended = cluster.call(target, {{"x", input()}}).get();
  const auto took = now_ns() - began;
  if (!ended.ok())
    fail({ended.outcome.code, target + ": " + ended.outcome.message, {}});
  const auto* x = ended.find("x");
  if (!x || *x != input())
    fail({errc::internal, target + " gives back something else than it got", {}});
  return static_cast<double>(took) * 1e-3;
}

double calls_p50_us(client::cluster& cluster, const std::string& target, std::size_t count) {
  std::vector<double> us;
  for (std::size_t i = 0; i < count; ++i)
    us.push_back(call_us(cluster, target));
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
