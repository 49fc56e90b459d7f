#include "gateway/routes.hpp"

#include "fake_port.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace squall::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Routes : public ::testing::Test {
protected:
  http_response ask(std::string method, std::string target, std::string body = "", std::string inference_header = "") {
    http_response out;
    int answers = 0;
    routes_.handle({std::move(method), std::move(target), std::move(inference_header), std::move(body)},
                   [&](http_response r) {
                     out = std::move(r);
                     ++answers;
                   });
    EXPECT_EQ(answers, 1);
    return out;
  }

  http_response infer(const std::string& path = "/v2/models/echo/infer") {
    return ask("POST", path, R"({"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]})");
  }

  fake_port port_;
  routes routes_{port_, "squall 0.1.0", [](std::function<void()> task) { task(); }};
};

TEST_F(Routes, DescribeTheServer) {
  for (const char* path : {"/v2", "/v2/"})
    EXPECT_EQ(ask("GET", path).body, R"({"name":"squall","version":"0.1.0","extensions":["parameters","sequence"]})");
}

TEST_F(Routes, TellHealth) {
  EXPECT_EQ(ask("GET", "/v2/health/live").body, R"({"live":true})");
  EXPECT_EQ(ask("GET", "/v2/health/ready").body, R"({"ready":true})");
  port_.down = error{errc::unavailable, "no nodes", {}};
  EXPECT_EQ(ask("GET", "/v2/health/live").status, 200);
  const auto unready = ask("GET", "/v2/health/ready");
  EXPECT_EQ(unready.status, 503);
  EXPECT_EQ(unready.body, R"({"ready":false})");
  EXPECT_EQ(ask("GET", "/v2/models/echo/ready").status, 503);
}

TEST_F(Routes, DescribeAModel) {
  const std::string expected =
      R"({"name":"echo","versions":["1","3"],"platform":"ensemble",)"
      R"("inputs":[{"name":"x","datatype":"FP32","shape":[-1]},{"name":"words","datatype":"BYTES","shape":[-1,1]}],)"
      R"("outputs":[{"name":"x","datatype":"FP32","shape":[-1]},{"name":"words","datatype":"BYTES","shape":[-1,1]}]})";
  EXPECT_EQ(ask("GET", "/v2/models/echo").body, expected);
  EXPECT_EQ(ask("GET", "/v2/models/%65cho/versions/1?x=y").body, expected);
  EXPECT_EQ(ask("GET", "/v2/models/echo/ready").body, R"({"name":"echo","ready":true})");
}

TEST_F(Routes, UnknownModelsAreNamed) {
  for (const char* path : {"/v2/models/x", "/v2/models/x/ready"})
    EXPECT_EQ(ask("GET", path).body, R"({"error":"Request for unknown model: 'x' is not found","code":"not_found"})");
  const auto missing = infer("/v2/models/x/infer");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.body, R"({"error":"Request for unknown model: 'x' is not found","code":"not_found"})");
  EXPECT_EQ(infer("/v2/models/echo/versions/2/infer").body,
            R"({"error":"Request for unknown model: 'echo' version 2 is not found","code":"not_found"})");
  EXPECT_EQ(infer("/v2/models/%ff/infer").status, 404);
}

TEST_F(Routes, UnknownPathsAndMethods) {
  for (const char* path :
       {"/", "", "/v1", "/v2/models", "/v2/models/", "/v2/models/echo/versions", "/v2/models/echo/versions/x",
        "/v2/models/echo/versions/0", "/v2/models/echo/explode", "/v2/models/echo/infer/more", "/v2/health", "*"}) {
    const auto r = ask("GET", path);
    EXPECT_EQ(r.status, 404) << path;
    EXPECT_THAT(r.body, HasSubstr(R"("error":"Not Found")")) << path;
  }
  EXPECT_EQ(ask("GET", "/v2/models/%4").status, 400);
  const auto wrong = ask("GET", "/v2/models/echo/infer");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.allow, "POST");
  EXPECT_THAT(wrong.body, HasSubstr(R"("error":"Method Not Allowed")"));
  for (const char* path : {"/v2", "/metrics", "/v2/health/live", "/v2/models/echo"})
    EXPECT_EQ(ask("DELETE", path).status, 405) << path;
}

TEST_F(Routes, InferCallsTheModel) {
  const auto r = infer("/v2/models/echo/versions/1/infer");
  EXPECT_EQ(r.status, 200);
  EXPECT_THAT(r.body, HasSubstr(R"("model_version":"1")"));
  EXPECT_THAT(r.body, HasSubstr(R"("outputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}])"));
  ASSERT_EQ(port_.calls.size(), 1u);
  EXPECT_EQ(port_.calls[0].version, 1u);
  EXPECT_EQ(ask("POST", "/v2/models/echo/infer", "{nonsense").status, 400);
  EXPECT_EQ(port_.calls.size(), 1u);
}

TEST_F(Routes, TheLengthOfTheJsonMustBeThatOfTheBody) {
  const std::string body = R"({"inputs":[]})";
  EXPECT_EQ(ask("POST", "/v2/models/echo/infer", body, std::to_string(body.size())).status, 200);
  EXPECT_EQ(ask("POST", "/v2/models/echo/infer", body + "binary", std::to_string(body.size())).status, 501);
}

TEST_F(Routes, EveryFailureHasItsStatus) {
  const std::map<errc, int> expected{
      {errc::invalid_argument, 400},  {errc::already_exists, 400},   {errc::cancelled, 400},
      {errc::permission_denied, 403}, {errc::not_found, 404},        {errc::too_large, 413},
      {errc::internal, 500},          {errc::failed, 500},           {errc::data_loss, 500},
      {errc::corrupt, 500},           {errc::unsupported, 501},      {errc::overloaded, 503},
      {errc::unavailable, 503},       {errc::deadline_exceeded, 503}};
  for (const auto& [code, status] : expected) {
    infer_reply reply;
    reply.outcome.code = code;
    reply.outcome.message = "why";
    reply.outcome.retry_after = 2500ms;
    port_.next_reply = reply;
    const auto r = infer();
    EXPECT_EQ(r.status, status) << to_string(code);
    EXPECT_EQ(r.retry_after_s, status == 503 ? 3u : 0u) << to_string(code);
    EXPECT_THAT(r.body, HasSubstr(R"("code":")" + std::string{to_string(code)} + '"'));
  }
}

TEST_F(Routes, ShowMetrics) {
  routes_.count(200);
  routes_.count(200);
  routes_.count(404);
  const auto r = ask("GET", "/metrics");
  EXPECT_EQ(r.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(r.body,
            "# HELP squall_http_requests_total Requests answered over HTTP\n"
            "# TYPE squall_http_requests_total counter\n"
            "squall_http_requests_total{status=\"200\"} 2\n"
            "squall_http_requests_total{status=\"404\"} 1\n"
            "# HELP squall_nodes Nodes\n"
            "# TYPE squall_nodes gauge\n"
            "squall_nodes 2\n"
            "# HELP squall_up Whether the cluster answered\n"
            "# TYPE squall_up gauge\n"
            "squall_up 1\n");
  port_.down = error{errc::unavailable, "gone", {}};
  EXPECT_THAT(ask("GET", "/metrics").body, HasSubstr("squall_up 0\n"));
}

TEST(SplitPath, DecodesEachPart) {
  EXPECT_THAT(split_path("/a%2Fb/c%20d/?q=/x").value(), ElementsAre("a/b", "c d"));
  EXPECT_THAT(split_path("/").value(), ElementsAre());
  EXPECT_THAT(split_path("//a").value(), ElementsAre("", "a"));
  for (const char* bad : {"/%", "/%4", "/%zz", "/a%2"})
    EXPECT_EQ(split_path(bad).error().code, errc::invalid_argument) << bad;
}

} // namespace
} // namespace squall::gateway
