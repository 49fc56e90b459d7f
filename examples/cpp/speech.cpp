#include "client/values.hpp"
#include "examples/cpp/support.hpp"

#include <cstdio>
#include <random>
#include <vector>

/// Tells where somebody speaks in a recording (raw 32-bit floats, 16 kHz): a sequence of calls whose state stays in the
/// cluster.
namespace squall::examples {

namespace {

constexpr std::size_t step = 512;   ///< samples of one call
constexpr std::size_t context = 64; ///< samples before them that the model wants to see again

/// The samples of one call, with those just before them.
functions::value chunk_at(std::span<const float> samples, std::size_t begin) {
  std::vector<float> chunk(context + step, 0.0F);
  for (std::size_t i = 0; i < chunk.size(); ++i)
    if (begin + i >= context && begin + i - context < samples.size())
      chunk[i] = samples[begin + i - context];
  return {functions::tensor_of(functions::datatype::fp32, {1, static_cast<std::int64_t>(chunk.size())}, chunk)};
}

int run(const std::string& spec, const std::string& dag, const std::string& recording) {
  const auto cluster = connect_or_exit();
  apply_or_exit(*cluster, spec);

  const shared_bytes bytes = value_or_exit(client::read_file(recording));
  const std::span<const float> samples{reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
  calls::call_options options;
  options.sequence.id = sequence_id{std::random_device{}() + 1ULL};
  for (std::size_t begin = 0; begin < samples.size(); begin += step) {
    options.sequence.start = begin == 0;
    options.sequence.end = begin + step >= samples.size();
    // One after the other: each needs the state that the one before left.
    const auto ended = cluster->call(dag, {{"chunk", chunk_at(samples, begin)}}, options).get();
    value_or_exit(ended.status());
    std::printf("%.3f s: %.3f\n", static_cast<double>(begin) / 16000,
                value_or_exit(functions::first_number(*ended.find("speech"))));
  }
  return 0;
}

} // namespace

} // namespace squall::examples

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: example-speech SPEC DAG AUDIO.f32\n");
    return 2;
  }
  return squall::examples::run(argv[1], argv[2], argv[3]);
}
