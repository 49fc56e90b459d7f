#pragma once

#include "base/result.hpp"

#include <CLI/CLI.hpp>

#include <memory>
#include <string>

/// The verbs, one function each; verbs.cpp puts them together.
namespace squall::sim {

void add_run_verb(CLI::App& sim, int& status);
void add_workload_verb(CLI::App& sim, int& status);

/// Prints an error as every verb does; returns the exit status of a failure.
[[nodiscard]] int print_error(const error& e);

/// What `-o` asked for, beside the verb or before it.
enum class sim_output { table, json };
[[nodiscard]] std::shared_ptr<std::string> add_output_option(CLI::App& verb);
[[nodiscard]] sim_output output_of(const CLI::App& verb, const std::string& given);

} // namespace squall::sim
