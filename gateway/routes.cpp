#include "gateway/routes.hpp"

#include "calls/json.hpp"
#include "gateway/infer_json.hpp"
#include "gateway/metrics_text.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>

namespace squall::gateway {

namespace {

int status_of(errc code) {
  switch (code) {
    case errc::ok:
      return 200;
    case errc::invalid_argument:
    case errc::already_exists:
    case errc::cancelled:
      return 400;
    case errc::permission_denied:
      return 403;
    case errc::not_found:
      return 404;
    case errc::too_large:
      return 413;
    case errc::unsupported:
      return 501;
    case errc::overloaded:
    case errc::deadline_exceeded:
    case errc::unavailable:
      return 503;
    case errc::data_loss:
    case errc::corrupt:
    case errc::failed:
    case errc::internal:
      return 500;
  }
  return 500;
}

http_response json(std::string body, int status = 200) {
  http_response out;
  out.status = status;
  out.body = std::move(body);
  return out;
}

http_response not_found() { return json(R"({"error":"Not Found","code":"not_found"})", 404); }

http_response wrong_method(std::string_view allowed) {
  http_response out = json(R"({"error":"Method Not Allowed","code":"unsupported"})", 405);
  out.allow = allowed;
  return out;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

result<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0)
      return {errc::invalid_argument, "the path has a '%' that is not followed by two hexadecimal digits"};
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return out;
}

std::optional<std::uint32_t> version_in(std::string_view text) {
  std::uint32_t version = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), version);
  const bool fine = failed == std::errc{} && end == text.data() + text.size() && version > 0;
  return fine ? std::optional{version} : std::nullopt;
}

error unknown_model(const std::string& name, std::uint32_t version) {
  if (version == 0)
    return {errc::not_found, "Request for unknown model: '" + name + "' is not found", {}};
  return {errc::not_found,
          "Request for unknown model: '" + name + "' version " + std::to_string(version) + " is not found",
          {}};
}

/// Clients of other servers always send the length of the JSON; it says something only when more follows.
result<> check_all_json(const http_request& request) {
  if (request.inference_header.empty() || request.inference_header == std::to_string(request.body.size()))
    return {};
  return {errc::unsupported,
          "binary tensor data is not supported; send JSON alone (Inference-Header-Content-Length is " +
              request.inference_header + ", the body has " + std::to_string(request.body.size()) + " bytes)"};
}

http_response answer(const infer_request& request, const model_metadata& model, const infer_reply& reply) {
  if (reply.outcome.code == errc::not_found)
    return failure(unknown_model(model.name, 0)); // it was removed in between
  if (reply.outcome.code != errc::ok)
    return failure({reply.outcome.code, reply.outcome.message, reply.outcome.retry_after});
  auto body = write_infer(request, model, reply);
  return body.ok() ? json(std::move(body).value()) : failure(body.error());
}

} // namespace

/// /v2/models/NAME[/versions/VERSION][/ACTION]
struct routes::model_path {
  std::string name;
  std::uint32_t version = 0;
  std::string action;

  static std::optional<model_path> in(const std::vector<std::string>& parts) {
    if (parts.size() < 3 || parts[2].empty())
      return std::nullopt;
    model_path out{parts[2], 0, ""};
    std::size_t next = 3;
    if (parts.size() > next && parts[next] == "versions") {
      const auto version = parts.size() > next + 1 ? version_in(parts[next + 1]) : std::nullopt;
      if (!version)
        return std::nullopt;
      out.version = *version;
      next += 2;
    }
    if (parts.size() > next)
      out.action = parts[next++];
    if (parts.size() != next || (out.action != "" && out.action != "infer" && out.action != "ready"))
      return std::nullopt;
    return out;
  }
};

http_response failure(const error& what) {
  http_response out = json(write_error(what), status_of(what.code));
  if (out.status == 503) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(what.retry_after).count();
    out.retry_after_s = static_cast<std::uint32_t>(std::clamp<std::int64_t>(seconds, 1, 3600));
  }
  return out;
}

result<std::vector<std::string>> split_path(std::string_view target) {
  std::string_view path = target.substr(0, target.find('?'));
  std::vector<std::string> out;
  if (path.starts_with('/'))
    path.remove_prefix(1);
  if (path.ends_with('/'))
    path.remove_suffix(1);
  for (bool more = !path.empty(); more;) {
    const std::size_t end = path.find('/');
    more = end != std::string_view::npos;
    SQUALL_ASSIGN(part, percent_decoded(path.substr(0, end)));
    out.push_back(std::move(part));
    path.remove_prefix(more ? end + 1 : path.size());
  }
  return out;
}

void routes::handle(http_request request, std::function<void(http_response)> done) {
  const auto split = split_path(request.target);
  if (!split.ok())
    return done(failure(split.error()));
  const std::vector<std::string>& parts = *split;
  const bool get = request.method == "GET";
  if (parts == std::vector<std::string>{"metrics"})
    return done(metrics(request.method));
  if (parts.empty() || parts[0] != "v2")
    return done(not_found());
  if (parts.size() == 1)
    return done(server(request.method));
  if (parts.size() == 3 && parts[1] == "health" && (parts[2] == "live" || parts[2] == "ready")) {
    if (!get)
      return done(wrong_method("GET"));
    if (parts[2] == "live")
      return done(json(R"({"live":true})"));
    const bool ready = port_.ready().ok();
    http_response out = json(ready ? R"({"ready":true})" : R"({"ready":false})", ready ? 200 : 503);
    out.retry_after_s = ready ? 0 : 1;
    return done(std::move(out));
  }
  const auto path = parts[1] == "models" ? model_path::in(parts) : std::nullopt;
  if (!path)
    return done(not_found());
  model(request, *path, std::move(done));
}

http_response routes::server(std::string_view method) const {
  if (method != "GET")
    return wrong_method("GET");
  const std::size_t space = software_.find(' ');
  const std::string version = space == std::string::npos ? "" : software_.substr(space + 1);
  // "parameters" and "sequence" are the extensions that are whole; clients change what they do by this list.
  return json(R"({"name":")" + software_.substr(0, space) + R"(","version":")" + version +
              R"(","extensions":["parameters","sequence"]})");
}

http_response routes::metrics(std::string_view method) {
  if (method != "GET")
    return wrong_method("GET");
  auto samples = port_.metrics();
  // A scrape must show that the cluster cannot be reached, not fail.
  const bool answered = samples.ok();
  std::vector<metric_sample> all = answered ? std::move(samples).value() : std::vector<metric_sample>{};
  all.push_back({"squall_up", "Whether the cluster answered", metric_sample::kind::gauge, {}, answered ? 1.0 : 0.0});
  const std::lock_guard lock{mutex_};
  for (const auto& [status, times] : answered_)
    all.push_back({"squall_http_requests_total",
                   "Requests answered over HTTP",
                   metric_sample::kind::counter,
                   {{"status", std::to_string(status)}},
                   static_cast<double>(times)});
  http_response out;
  out.content_type = "text/plain; version=0.0.4; charset=utf-8";
  out.body = metrics_text(all);
  return out;
}

void routes::model(const http_request& request, const model_path& path, std::function<void(http_response)> done) {
  if (path.action == "infer") {
    if (request.method != "POST")
      return done(wrong_method("POST"));
    return infer(request, path, std::move(done));
  }
  if (request.method != "GET")
    return done(wrong_method("GET"));
  const auto found = port_.metadata(path.name, path.version);
  if (!found.ok())
    return done(
        failure(found.error().code == errc::not_found ? unknown_model(path.name, path.version) : found.error()));
  if (path.action.empty())
    return done(json(write_metadata(*found)));
  const auto ready = port_.ready();
  if (!ready.ok())
    return done(failure(ready.error()));
  done(json(R"({"name":)" + calls::to_json(found->name) + R"(,"ready":true})"));
}

void routes::infer(const http_request& request, const model_path& path, std::function<void(http_response)> done) {
  auto found = port_.metadata(path.name, path.version);
  if (!found.ok())
    return done(
        failure(found.error().code == errc::not_found ? unknown_model(path.name, path.version) : found.error()));
  if (const auto all_json = check_all_json(request); !all_json.ok())
    return done(failure(all_json.error()));
  auto read = read_infer(request.body, *found);
  if (!read.ok())
    return done(failure(read.error()));
  auto inputs = std::exchange(read->inputs, {});
  const calls::call_options options = read->options;
  const auto finish = [request = std::move(*read), model = std::move(*found),
                       done = std::move(done)](const infer_reply& reply) { done(answer(request, model, reply)); };
  port_.call(path.name, path.version, std::move(inputs), options, [later = later_, finish](infer_reply reply) {
    later([finish, reply = std::move(reply)] { finish(reply); });
  });
}

void routes::count(int status) {
  const std::lock_guard lock{mutex_};
  ++answered_[status];
}

} // namespace squall::gateway
