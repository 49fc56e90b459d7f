#include "gateway/metrics_text.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace squall::gateway {
namespace {

TEST(MetricsText, EscapesWhatTheFormatCannotHold) {
  const std::vector<metric_sample> samples{
      {"b.c", "line\nbreak \\", metric_sample::kind::counter, {{"node", "a\"b\\c\nd"}, {"1x", "y"}}, 0.5},
      {"a", "first", metric_sample::kind::gauge, {}, std::numeric_limits<double>::infinity()},
      {"b.c", "other help", metric_sample::kind::counter, {{"node", "second"}}, 1e21},
  };
  EXPECT_EQ(metrics_text(samples),
            "# HELP a first\n"
            "# TYPE a gauge\n"
            "a +Inf\n"
            "# HELP b_c line\\nbreak \\\\\n"
            "# TYPE b_c counter\n"
            "b_c{_x=\"y\",node=\"a\\\"b\\\\c\\nd\"} 0.5\n"
            "b_c{node=\"second\"} 1e+21\n");
  EXPECT_EQ(metrics_text({}), "");
}

} // namespace
} // namespace squall::gateway
