#include "sim/verbs/parts.hpp"

#include <cstdio>

namespace squall::sim {

int print_error(const error& e) {
  std::fprintf(stderr, "squall: %s (%s)\n", e.message.c_str(), std::string{to_string(e.code)}.c_str());
  return 1;
}

std::shared_ptr<std::string> add_output_option(CLI::App& verb) {
  auto out = std::make_shared<std::string>();
  verb.add_option("-o,--output", *out, "table or json")->check(CLI::IsMember({"table", "json"}));
  return out;
}

sim_output output_of(const CLI::App& verb, const std::string& given) {
  std::string word = given;
  for (const CLI::App* app = verb.get_parent(); app != nullptr && word.empty(); app = app->get_parent())
    if (const CLI::Option* option = app->get_option_no_throw("--output"); option != nullptr && option->count() > 0)
      word = option->as<std::string>();
  return word == "json" ? sim_output::json : sim_output::table;
}

} // namespace squall::sim
