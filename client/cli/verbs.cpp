#include "client/cli/verbs.hpp"

#include "client/cli/parts.hpp"
#include "client/nearest.hpp"

#include <fmt/format.h>

#include <string_view>
#include <vector>

namespace squall::client::cli {

namespace {

/// The verb that was being read when the error came: the last one named.
const CLI::App* innermost(const CLI::App* app) {
  for (auto chosen = app->get_subcommands(); !chosen.empty(); chosen = app->get_subcommands())
    app = chosen.front();
  return app;
}

std::vector<std::string> verbs_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    if (!verb->get_group().empty())
      names.push_back(verb->get_name());
  return names;
}

std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* level = &app; level; level = level->get_parent())
    for (const CLI::Option* option : level->get_options())
      for (const std::string& name : option->get_lnames())
        names.push_back("--" + name);
  return names;
}

/// What could not be understood, and what it may have been meant to be.
std::string message_of(const CLI::App* app, const CLI::Error& e) {
  const CLI::App* verb = innermost(app);
  const auto rest = app->remaining(true);
  std::string text = e.what();
  if (!rest.empty()) {
    const bool flag = rest.front().starts_with("-");
    const auto names = flag ? flags_of(*verb) : verbs_of(*verb);
    const std::vector<std::string_view> known{names.begin(), names.end()};
    text = known.empty() ? fmt::format("'{}' was not expected", rest.front())
                         : unknown_name(flag ? "flag" : "verb", rest.front(), known);
  }
  std::string command = verb->get_name();
  for (const CLI::App* level = verb->get_parent(); level; level = level->get_parent())
    command = level->get_name() + " " + command;
  return fmt::format("squall: {}\nTry: {} --help\n", text, command);
}

} // namespace

void add_client_verbs(CLI::App& app, verb_context& context) {
  const auto shared = std::make_shared<session>(app, context);
  add_apply_verb(app, shared);
  add_list_verbs(app, shared);
  add_call_verb(app, shared);
  add_kv_verbs(app, shared);
  add_policy_verbs(app, shared);
  add_drain_verb(app, shared);
  add_promise_verbs(app, shared);
  add_bench_verb(app, shared);
  add_build_verb(app, shared);
  add_version_verb(app, shared);
  app.failure_message(message_of);
}

} // namespace squall::client::cli
