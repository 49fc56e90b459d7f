#pragma once

#include "base/result.hpp"
#include "client/cli/verbs.hpp"
#include "client/cluster.hpp"

#include <CLI/CLI.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace squall::client::cli {

enum class output_format : std::uint8_t { table, json, yaml };

/// What all verbs share: the global options, and how to reach the cluster and the user. An option comes from its flag, else its SQUALL_ variable, else
/// the configuration file ($SQUALL_CONFIG or ~/.config/squall/config.yaml), else its default.
class session {
public:
  session(CLI::App& app, verb_context& context);

  /// Connects as the options say.
  [[nodiscard]] result<std::unique_ptr<cluster>> connect();
  [[nodiscard]] result<output_format> format();

  /// A verb's callback: runs it, prints its error, sets the exit status.
  [[nodiscard]] std::function<void()> run(std::function<result<>()> verb);
  /// The same for verbs that need a cluster.
  [[nodiscard]] std::function<void()> run_connected(std::function<result<>(cluster&)> verb);

  void print(std::string_view text) const; ///< to standard output, as it is
  void say(std::string_view text) const;   ///< a line of news to standard error
  [[nodiscard]] verb_context& context() const { return context_; }

  /// A line of progress on standard error, if that is a terminal and the work has taken more than a second. Cleared by done().
  void progress(std::string_view text);
  void progress_done();

private:
  [[nodiscard]] result<> settle();
  [[nodiscard]] result<> read_config(const std::string& path, bool must_exist);

  verb_context& context_;
  CLI::Option* cluster_option_;
  CLI::Option* keys_option_;
  CLI::Option* output_option_;
  CLI::Option* timeout_option_;
  std::string cluster_;
  std::string keys_;
  std::string output_ = "table";
  std::string timeout_ = "10s";
  bool settled_ = false;
  std::chrono::steady_clock::time_point begin_;
  bool progress_shown_ = false;
};

/// Options that a verb declares; `variable` is the name of the environment variable without SQUALL_.
template <class T>
CLI::Option* add_option(CLI::App* verb, const std::string& flags, T& value, const std::string& variable, const std::string& help) {
  return verb->add_option(flags, value, help)->envname("SQUALL_" + variable)->capture_default_str();
}

/// Checks of an option's text, so that what is wrong with it is wrong usage (exit status 2).
[[nodiscard]] CLI::Validator is_duration();
[[nodiscard]] CLI::Validator is_one_of(std::string noun, std::vector<std::string_view> words);

} // namespace squall::client::cli
