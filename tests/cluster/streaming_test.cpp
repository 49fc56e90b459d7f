// Partial results on their whole way: a function that emits them, a cluster of processes, the C++ client.
#include "bench/running_cluster.hpp"
#include "client/apply.hpp"
#include "client/spec_file.hpp"

#include <gtest/gtest.h>

#include <map>
#include <mutex>

namespace squall::client {
namespace {

constexpr std::string_view specs = R"(
apiVersion: squall/v1
kind: Function
metadata: {name: count}
spec:
  inputs:  {n: {datatype: INT64, shape: [1]}, size: {datatype: INT64, shape: [1]}}
  outputs: {y: {datatype: INT64, shape: [-1]}}
  variants: [{library: LIBRARY}]
---
apiVersion: squall/v1
kind: Dag
metadata: {name: count-twice}
spec:
  inputs: {n: {datatype: INT64, shape: [1]}, m: {datatype: INT64, shape: [1]}, size: {datatype: INT64, shape: [1]}}
  stages:
  - {name: one, function: count, inputs: {n: $n, size: $size}}
  - {name: other, function: count, inputs: {n: $m, size: $size}}
  outputs: {one: one.y, other: other.y}
)";

/// One cluster for all tests of this file.
class Streaming : public ::testing::Test {
protected:
  static void SetUpTestSuite() {
    cluster_ = std::make_unique<bench::running_cluster>(2, "fifo");
    options o;
    o.endpoint = cluster_->endpoint();
    auto connected = cluster::connect(o);
    ASSERT_TRUE(connected.ok()) << connected.error().message;
    client_ = std::move(connected).value();
    std::string text{specs};
    text.replace(text.find("LIBRARY"), 7, SQUALL_STREAMING_FUNCTIONS);
    const auto documents = parse_specs(text, "streaming.yaml", "/");
    ASSERT_TRUE(documents.ok()) << documents.error().message;
    const auto applied = apply(*client_, *documents);
    ASSERT_TRUE(applied.ok()) << applied.error().message;
  }
  static void TearDownTestSuite() {
    client_.reset();
    cluster_.reset();
  }

  struct seen {
    std::map<std::string, std::vector<partial_result>> by_stage;
    call_result end;
  };
  static seen run(std::string_view target, std::vector<functions::named_value> inputs) {
    std::mutex mutex;
    seen out;
    const auto handle = client_->call(target, std::move(inputs), {}, [&](const partial_result& partial) {
      const std::lock_guard lock{mutex};
      out.by_stage[partial.stage].push_back(partial);
    });
    auto end = handle.get();
    const std::lock_guard lock{mutex};
    out.end = std::move(end);
    return out;
  }

  static functions::value row(std::int64_t fill, std::int64_t size) {
    const std::vector<std::int64_t> numbers(static_cast<std::size_t>(size), fill);
    return {functions::tensor{
        functions::datatype::int64, {size}, shared_bytes::copy_of(numbers.data(), 8 * numbers.size())}};
  }
  /// `count` less the last, in order, each with its own bytes.
  static void expect_counted(const std::vector<partial_result>& partials, std::int64_t count, std::int64_t size) {
    ASSERT_EQ(partials.size(), static_cast<std::size_t>(count - 1));
    for (std::int64_t i = 0; i + 1 < count; ++i) {
      const partial_result& partial = partials[static_cast<std::size_t>(i)];
      EXPECT_EQ(partial.index, i);
      EXPECT_EQ(partial.element, 0u);
      ASSERT_NE(partial.find("y"), nullptr);
      EXPECT_EQ(*partial.find("y"), row(i, size));
    }
  }

  static std::unique_ptr<bench::running_cluster> cluster_;
  static std::unique_ptr<cluster> client_;
};

std::unique_ptr<bench::running_cluster> Streaming::cluster_;
std::unique_ptr<cluster> Streaming::client_;

TEST_F(Streaming, AFunctionsPartialResultsComeInOrderBeforeItsResult) {
  const auto seen = run("count", {{"n", functions::scalar_value(5)}, {"size", functions::scalar_value(3)}});
  ASSERT_TRUE(seen.end.ok()) << seen.end.outcome.message;
  EXPECT_EQ(*seen.end.find("y"), row(4, 3));
  ASSERT_EQ(seen.by_stage.size(), 1u);
  const auto& [stage, partials] = *seen.by_stage.begin();
  EXPECT_FALSE(stage.empty());
  expect_counted(partials, 5, 3);
  EXPECT_EQ(partials.front().id, seen.end.id);
}

TEST_F(Streaming, LargeOnesAreTheCallersOwnAndOutliveTheCall) {
  constexpr std::int64_t size = 40'000; // 320 kB each: through shared memory
  auto seen = run("count", {{"n", functions::scalar_value(4)}, {"size", functions::scalar_value(size)}});
  ASSERT_TRUE(seen.end.ok()) << seen.end.outcome.message;
  EXPECT_EQ(*seen.end.find("y"), row(3, size));
  seen.end = {};
  // What comes next takes the place of what was in shared memory.
  const auto next = run("count", {{"n", functions::scalar_value(4)}, {"size", functions::scalar_value(size)}});
  ASSERT_TRUE(next.end.ok()) << next.end.outcome.message;
  ASSERT_EQ(seen.by_stage.size(), 1u);
  expect_counted(seen.by_stage.begin()->second, 4, size);
}

TEST_F(Streaming, TheStagesOfADagAreToldApart) {
  const auto seen =
      run("count-twice",
          {{"n", functions::scalar_value(3)}, {"m", functions::scalar_value(6)}, {"size", functions::scalar_value(2)}});
  ASSERT_TRUE(seen.end.ok()) << seen.end.outcome.message;
  EXPECT_EQ(*seen.end.find("one"), row(2, 2));
  EXPECT_EQ(*seen.end.find("other"), row(5, 2));
  ASSERT_EQ(seen.by_stage.size(), 2u);
  expect_counted(seen.by_stage.at("one"), 3, 2);
  expect_counted(seen.by_stage.at("other"), 6, 2);
}

TEST_F(Streaming, WhoDoesNotAskGetsTheResultAlone) {
  const auto end =
      client_->call("count", {{"n", functions::scalar_value(5)}, {"size", functions::scalar_value(1)}}).get();
  ASSERT_TRUE(end.ok()) << end.outcome.message;
  EXPECT_EQ(*end.find("y"), row(4, 1));
}

} // namespace
} // namespace squall::client
