#pragma once

#include "executors/cpu/inference.hpp"
#include "functions/builtin/builtin.hpp"

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace squall::bench {

using executors::cpu::port_values;

/// The models and builtins of a pipeline, called in this process with nothing between. Models are shared by the lanes,
/// builtins are each lane's own.
class toolbox {
public:
  toolbox(std::filesystem::path models, std::uint32_t lanes) : folder_(std::move(models)), lanes_(lanes) {}

  /// Loads one of the examples' models (`rec-v6-tiny`, `det-v6-tiny`, ...) under the name `use`, for run_model().
  [[nodiscard]] result<> add_model(const std::string& use, const std::string& model, const std::string& precision);
  /// Makes an instance for each lane under the name `use`. Parameters that are resources are given by the files' names
  /// in the models' folder, or inline.
  [[nodiscard]] result<> add_builtin(const std::string& use, const std::string& name,
                                     functions::builtins::parameter_map parameters);

  [[nodiscard]] executors::cpu::model& model(const std::string& use) const { return *models_.at(use); }
  [[nodiscard]] functions::builtins::instance& builtin(const std::string& use, std::uint32_t lane) const {
    return *builtins_.at(use)[lane];
  }
  [[nodiscard]] std::uint32_t lanes() const { return lanes_; }

private:
  const std::filesystem::path folder_;
  const std::uint32_t lanes_;
  std::unique_ptr<executors::cpu::runtime> runtime_;
  std::map<std::string, std::unique_ptr<executors::cpu::model>> models_;
  std::map<std::string, std::vector<std::unique_ptr<functions::builtins::instance>>> builtins_;
};

/// One item on its way through a pipeline on one lane: runs tools, and adds up the time in models.
class item_run {
public:
  item_run(const toolbox& tools, std::uint32_t lane) : tools_(tools), lane_(lane) {}

  [[nodiscard]] result<port_values> model(const std::string& use, port_values inputs);
  [[nodiscard]] result<port_values> builtin(const std::string& use, const port_values& inputs);

  /// Time in each model, by its use.
  [[nodiscard]] const std::map<std::string, duration>& model_times() const { return times_; }

private:
  const toolbox& tools_;
  const std::uint32_t lane_;
  executors::cpu::heap_memory memory_;
  std::map<std::string, duration> times_;
};

} // namespace squall::bench
