#pragma once

#include "gateway/serving_port.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace squall::gateway {

struct http_request {
  std::string method;           ///< upper case
  std::string target;           ///< as it came: path, percent-encoded, and perhaps a query
  std::string inference_header; ///< Inference-Header-Content-Length, empty without
  std::string body;
};

struct http_response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::string allow;               ///< with 405
  std::uint32_t retry_after_s = 0; ///< with 503
};

/// A response for an error: the status of its code, {"error", "code"}, and when to try again.
[[nodiscard]] http_response failure(const error& what);

/// What each path answers (docs/http.md). Knows nothing of sockets. Thread-safe.
class routes {
public:
  /// Runs a task on a thread that may be busy for a while.
  using executor = std::function<void(std::function<void()>)>;

  /// `port` must outlive it. `software` ("squall 0.1.0") is what GET /v2 says. `later` takes the making of large
  /// answers from the thread that brought the result of a call; when it drops a task, so is the request.
  routes(serving_port& port, std::string software, executor later)
      : port_(port), software_(std::move(software)), later_(std::move(later)) {}

  /// `done` is called once, perhaps before this returns and perhaps from another thread. Waits where the port waits.
  void handle(http_request request, std::function<void(http_response)> done);

  /// Of a request that was answered, also of those that never came here.
  void count(int status);

private:
  struct model_path;

  [[nodiscard]] http_response server(std::string_view method) const;
  [[nodiscard]] http_response metrics(std::string_view method);
  void model(const http_request& request, const model_path& path, std::function<void(http_response)> done);
  void infer(const http_request& request, const model_path& path, std::function<void(http_response)> done);

  serving_port& port_;
  const std::string software_;
  const executor later_;
  std::mutex mutex_;
  std::map<int, std::uint64_t> answered_; // by status
};

/// Splits a path (without its query) at '/' and decodes the parts; invalid_argument for a broken escape. "/v2/" has the
/// parts "v2".
[[nodiscard]] result<std::vector<std::string>> split_path(std::string_view target);

} // namespace squall::gateway
