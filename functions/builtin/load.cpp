#include "base/random.hpp"
#include "functions/builtin/detail/support.hpp"

#include <algorithm>
#include <random>
#include <thread>

/// The load shapes of the reference workloads: they cost time, CPU or memory, and hand their input on.
namespace squall::functions::builtins::detail {

namespace {

const std::vector<port> passed_in = {{"x", datatype::uint8, {-1}, false, true}};
const port passed_out = {"x", datatype::uint8, {-1}, false, false};

/// What is handed on: the input, or an empty tensor when there is none.
value handed_on(const value& x) { return x.absent() ? value{tensor{datatype::uint8, {0}, {}}} : x; }

outputs noop(std::span<const value> inputs) { return std::vector{inputs[0]}; }

/// Short enough that a cancelled call frees its lane at once, long enough to cost nothing.
constexpr auto longest_nap = std::chrono::milliseconds{2};

/// Sleeps until `span` after the construction of `stop`.
result<> nap(duration span, const stop_check& stop) {
  for (;;) {
    const auto left = span - stop.elapsed();
    if (left <= duration{0})
      return {};
    SQUALL_TRY(stop());
    std::this_thread::sleep_for(std::min<duration>(left, longest_nap));
  }
}

duration milliseconds_of(const settings& s, std::string_view name = "milliseconds") {
  return std::chrono::duration_cast<duration>(std::chrono::duration<double, std::milli>{s.number(name)});
}

result<std::unique_ptr<instance>> make_sleep(const settings& s) {
  const auto usual = milliseconds_of(s);
  const auto rare = milliseconds_of(s, "tail_milliseconds");
  const auto percent = static_cast<std::uint64_t>(s.integer("tail_percent"));
  // Each lane draws its own: replicas that were slow together would be no use to each other.
  random_source random{std::random_device{}()};
  return instance_of([=](std::span<const value> inputs, const run_context& context) mutable -> outputs {
    const bool slow = percent > 0 && random.below(100) < percent;
    SQUALL_TRY(nap(slow ? rare : usual, stop_check{context}));
    return std::vector{handed_on(inputs[0])};
  });
}

bool is_prime(std::int64_t n) {
  for (std::int64_t divisor = 3; divisor * divisor <= n; divisor += 2)
    if (n % divisor == 0)
      return false;
  return n % 2 != 0 || n == 2;
}

/// By trial division, on purpose: the point is to keep a core busy.
result<std::int64_t> count_primes(std::int64_t up_to, const stop_check& stop) {
  std::int64_t count = 0;
  for (std::int64_t n = 2; n <= up_to; ++n) {
    count += is_prime(n);
    if (n % 1024 == 0)
      SQUALL_TRY(stop());
  }
  return count;
}

result<std::unique_ptr<instance>> make_prime(const settings& s) {
  return instance_of([n = s.integer("n")](std::span<const value> inputs, const run_context& context) -> outputs {
    SQUALL_ASSIGN(count, count_primes(n, stop_check{context}));
    return std::vector{handed_on(inputs[0]), one(datatype::int64, count)};
  });
}

result<std::unique_ptr<instance>> make_bloat(const settings& s) {
  const auto mib = static_cast<std::size_t>(s.integer("mib"));
  return instance_of(
      [mib, span = milliseconds_of(s)](std::span<const value> inputs, const run_context& context) -> outputs {
        constexpr std::size_t page = 4096;
        const stop_check stop{context};
        const auto size = mib << 20;
        const auto memory = std::make_unique_for_overwrite<std::uint8_t[]>(size);
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < size; i += page) {
          memory[i] = static_cast<std::uint8_t>(i / page);
          sum += memory[i];
          if (i % (1 << 20) == 0)
            SQUALL_TRY(stop());
        }
        SQUALL_TRY(nap(span, stop));
        // Depends on what was written, so that the pages are really touched.
        return std::vector{handed_on(inputs[0]), one(datatype::int64, static_cast<std::int64_t>(sum))};
      });
}

} // namespace

std::vector<builtin> load_builtins() {
  constexpr double hour_ms = 3'600'000;
  return {
      {.name = "noop",
       .summary = "hands its input on",
       .inputs = {{"x", datatype::uint8, {-1}}},
       .outputs = {passed_out},
       .parameters = {},
       .ports = signature::any_type,
       .light = true,
       .make = make_plain<noop>},
      {.name = "sleep",
       .summary = "waits without using the CPU, then hands its input on",
       .inputs = passed_in,
       .outputs = {passed_out},
       .parameters = {{"milliseconds", parameter_kind::number, "10", "how long", 0, hour_ms},
                      {"tail_milliseconds", parameter_kind::number, "0", "how long now and then", 0, hour_ms},
                      {"tail_percent", parameter_kind::integer, "0", "of the runs, so many take that long", 0, 100}},
       .ports = signature::any_type,
       .make = make_sleep},
      {.name = "prime",
       .summary = "counts the primes up to n by trial division, which keeps a core busy",
       .inputs = passed_in,
       .outputs = {passed_out, {"count", datatype::int64, {1}}},
       .parameters = {{"n", parameter_kind::integer, "10000", "the last number to try", 0, 1e9}},
       .ports = signature::any_type,
       .make = make_prime},
      {.name = "bloat",
       .summary = "takes memory, touches every page of it and holds it for a while",
       .inputs = passed_in,
       .outputs = {passed_out, {"sum", datatype::int64, {1}}},
       .parameters = {{"mib", parameter_kind::integer, "64", "how much memory, in MiB", 1, 16384},
                      {"milliseconds", parameter_kind::number, "0", "how long it is held", 0, hour_ms}},
       .ports = signature::any_type,
       .make = make_bloat},
  };
}

} // namespace squall::functions::builtins::detail
