#include "client/cli/session.hpp"

#include "client/discovery.hpp"
#include "client/nearest.hpp"
#include "client/strict_yaml.hpp"
#include "client/units.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <unistd.h>

namespace squall::client::cli {

session::session(CLI::App& app, verb_context& context) : context_(context), begin_(std::chrono::steady_clock::now()) {
  const auto shared = [&](const std::string& flags, std::string& value, const std::string& variable, const std::string& help) {
    return add_option(&app, flags, value, variable, help)->group("Options of the verbs that talk to a cluster");
  };
  cluster_option_ = shared("--cluster", cluster_, "CLUSTER", "endpoint such as tcp://127.0.0.1:7700, or name of a cluster on this host");
  keys_option_ = shared("--keys", keys_, "KEYS", "folder made by `squall keys new`");
  output_option_ = shared("-o,--output", output_, "OUTPUT", "table, json or yaml");
  output_option_->check(is_one_of("output", {"table", "json", "yaml"}));
  timeout_option_ = shared("--timeout", timeout_, "TIMEOUT", "of connecting and of each request, such as 10s");
  timeout_option_->check(is_duration());
}

result<> session::read_config(const std::string& path, bool must_exist) {
  std::error_code failure;
  if (!must_exist && !std::filesystem::exists(path, failure))
    return {};
  SQUALL_ASSIGN(documents, yaml_view::load(path));
  if (documents.empty())
    return {};
  SQUALL_ASSIGN(fields, documents.front().mapping({"cluster", "endpoint", "keys", "output", "timeout"}));
  const auto take = [&](std::string_view key, const CLI::Option* option, std::string& value) -> result<> {
    const auto given = fields.find(key);
    if (!given || option->count() > 0)
      return {};
    SQUALL_ASSIGN(text, given->text());
    value = std::move(text);
    return {};
  };
  SQUALL_TRY(take("endpoint", cluster_option_, cluster_));
  SQUALL_TRY(take("cluster", cluster_option_, cluster_));
  SQUALL_TRY(take("keys", keys_option_, keys_));
  SQUALL_TRY(take("output", output_option_, output_));
  return take("timeout", timeout_option_, timeout_);
}

result<> session::settle() {
  if (std::exchange(settled_, true))
    return {};
  const char* named = std::getenv("SQUALL_CONFIG");
  const char* home = std::getenv("HOME");
  if (named && *named)
    return read_config(named, false);
  if (home && *home)
    return read_config(std::string{home} + "/.config/squall/config.yaml", false);
  return {};
}

result<output_format> session::format() {
  SQUALL_TRY(settle());
  if (output_ == "table")
    return output_format::table;
  if (output_ == "json")
    return output_format::json;
  if (output_ == "yaml")
    return output_format::yaml;
  return {errc::invalid_argument, fmt::format("unknown output '{}'; outputs: table, json, yaml", output_)};
}

result<std::unique_ptr<cluster>> session::connect() {
  SQUALL_TRY(settle());
  auto timeout = parse_duration(timeout_);
  if (!timeout.ok())
    return {errc::invalid_argument, "--timeout: " + timeout.error().message};
  SQUALL_ASSIGN(options, find_cluster(cluster_, keys_));
  options.timeout = *timeout;
  options.software = "squall cli";
  return cluster::connect(options);
}

std::function<void()> session::run(std::function<result<>()> verb) {
  return [this, verb = std::move(verb)] {
    // A format that does not exist is wrong usage even of verbs that print nothing.
    result<> end;
    if (auto known = format(); !known.ok())
      end = known.error();
    else
      end = verb();
    progress_done();
    std::fflush(context_.out);
    context_.status = end.ok() ? 0 : 1;
    if (!end.ok())
      say(fmt::format("squall: {} ({})", end.error().message, to_string(end.error().code)));
  };
}

std::function<void()> session::run_connected(std::function<result<>(cluster&)> verb) {
  return run([this, verb = std::move(verb)]() -> result<> {
    SQUALL_ASSIGN(connection, connect());
    return verb(*connection);
  });
}

void session::print(std::string_view text) const { std::fwrite(text.data(), 1, text.size(), context_.out); }

void session::say(std::string_view text) const {
  std::fflush(context_.out);
  std::fwrite(text.data(), 1, text.size(), context_.err);
  std::fputc('\n', context_.err);
}

void session::progress(std::string_view text) {
  using namespace std::chrono_literals;
  const bool terminal = ::isatty(::fileno(context_.err)) == 1;
  if (!terminal || std::chrono::steady_clock::now() - begin_ < 1s)
    return;
  fmt::print(context_.err, "\r\x1b[K{}", text);
  std::fflush(context_.err);
  progress_shown_ = true;
}

void session::progress_done() {
  if (std::exchange(progress_shown_, false)) {
    fmt::print(context_.err, "\r\x1b[K");
    std::fflush(context_.err);
  }
}

CLI::Validator is_duration() {
  return CLI::Validator{[](const std::string& text) {
                          const auto parsed = parse_duration(text);
                          return parsed.ok() ? std::string{} : parsed.error().message;
                        },
                        "DURATION"};
}

CLI::Validator is_one_of(std::string noun, std::vector<std::string_view> words) {
  return CLI::Validator{[noun, words](const std::string& text) {
                          return std::ranges::find(words, text) == words.end() ? unknown_name(noun, text, words) : std::string{};
                        },
                        fmt::format("{}", fmt::join(words, "|"))};
}

} // namespace squall::client::cli
