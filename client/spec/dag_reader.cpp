#include "client/spec/readers.hpp"

#include <fmt/format.h>

#include <unordered_set>

namespace squall::client::spec {

namespace {

using functions::join_rule;
using functions::stage_spec;

result<join_rule> read_join(const yaml_view& at) {
  join_rule out;
  if (at.is_mapping()) {
    SQUALL_ASSIGN(fields, at.mapping({"k", "wait", "must", "best-effort"}));
    if (const auto best_effort = fields.find("best-effort")) {
      SQUALL_ASSIGN(count, best_effort->integer(1, functions::max_ports));
      for (const char* other : {"k", "wait", "must"})
        if (const auto given = fields.find(other))
          return given->fail(
              fmt::format("'{}' does not go with best-effort, which waits for all until the call has to "
                          "be answered",
                          other));
      return join_rule{join_rule::kind::count, static_cast<std::uint32_t>(count), join_rule::until_due, true};
    }
    SQUALL_ASSIGN(count_view, fields.require("k"));
    SQUALL_ASSIGN(count, count_view.integer(1, functions::max_ports));
    out.rule = join_rule::kind::count;
    out.count = static_cast<std::uint32_t>(count);
    if (const auto wait = fields.find("wait")) {
      SQUALL_ASSIGN(given, wait->duration());
      out.wait = given;
    }
    if (const auto must = fields.find("must")) {
      SQUALL_ASSIGN(flag, must->boolean());
      out.must = flag;
    }
    return out;
  }
  if (!at.is_scalar() || (at.node().text != "all" && at.node().text != "any"))
    return at.expected("all, any, {k: 2, wait: 40ms} or {best-effort: 2}");
  out.rule = at.node().text == "all" ? join_rule::kind::all : join_rule::kind::any;
  return out;
}

result<> read_map(const yaml_mapping& fields, stage_spec& stage) {
  if (const auto map = fields.find("map")) {
    SQUALL_ASSIGN(names, map->items_or_one());
    for (const yaml_view& view : names) {
      SQUALL_ASSIGN(name, read_name(view, "mapped input"));
      stage.map.push_back(std::move(name));
    }
  }
  if (const auto width = fields.find("max-width")) {
    SQUALL_ASSIGN(given, width->integer(1, functions::max_map_width));
    stage.width_max = static_cast<std::uint32_t>(given);
  }
  return {};
}

result<> read_conditions(const yaml_mapping& fields, stage_spec& stage) {
  if (const auto when = fields.find("when")) {
    SQUALL_ASSIGN(condition, read_when(*when));
    stage.when = std::move(condition);
  }
  if (const auto join = fields.find("join")) {
    SQUALL_ASSIGN(rule, read_join(*join));
    stage.join = rule;
  }
  if (const auto may_fail = fields.find("may-fail")) {
    SQUALL_ASSIGN(flag, may_fail->boolean());
    stage.may_fail = flag;
  }
  return {};
}

result<stage_spec> read_stage(const yaml_view& at) {
  SQUALL_ASSIGN(fields, at.mapping({"name", "function", "inputs", "map", "max-width", "when", "join", "may-fail",
                                    "variant", "compete"}));
  SQUALL_ASSIGN(name_view, fields.require("name"));
  SQUALL_ASSIGN(name, read_name(name_view, "stage"));
  if (name.find('.') != std::string::npos)
    return name_view.fail(fmt::format("'{}' cannot name a stage: a '.' separates a stage from its output", name));
  stage_spec stage;
  stage.name = std::move(name);
  SQUALL_ASSIGN(function_view, fields.require("function"));
  SQUALL_ASSIGN(function, read_versioned_name(function_view, "function"));
  stage.function = std::move(function.name);
  stage.version = function.version;
  if (const auto inputs = fields.find("inputs")) {
    SQUALL_ASSIGN(entries, inputs->entries());
    for (const auto& [port, view] : entries) {
      SQUALL_TRY(check_key_name(view, port, "input"));
      SQUALL_ASSIGN(source, read_source(view));
      stage.inputs.push_back({port, std::move(source)});
    }
  }
  SQUALL_TRY(read_map(fields, stage));
  SQUALL_TRY(read_conditions(fields, stage));
  if (const auto variant = fields.find("variant")) {
    SQUALL_ASSIGN(given, read_name(*variant, "variant"));
    stage.variant = std::move(given);
  }
  if (const auto compete = fields.find("compete")) {
    SQUALL_ASSIGN(given, compete->integer(1, functions::max_competitors));
    stage.compete = static_cast<std::uint32_t>(given);
  }
  return stage;
}

result<std::vector<stage_spec>> read_stages(const yaml_view& at) {
  SQUALL_ASSIGN(items, at.items());
  if (items.size() > functions::max_stages)
    return at.fail(fmt::format("{} stages, a DAG may have {}", items.size(), functions::max_stages));
  std::vector<stage_spec> stages;
  std::unordered_set<std::string> names;
  for (const yaml_view& item : items) {
    SQUALL_ASSIGN(stage, read_stage(item));
    if (!names.insert(stage.name).second)
      return item.fail(fmt::format("there are two stages named '{}'; rename one", stage.name));
    stages.push_back(std::move(stage));
  }
  return stages;
}

} // namespace

result<functions::dag_spec> read_dag(const yaml_view& at, std::string name, std::uint32_t version) {
  SQUALL_ASSIGN(fields, at.mapping({"inputs", "stages", "outputs", "optimize"}));
  functions::dag_spec spec;
  spec.name = std::move(name);
  spec.version = version;
  if (const auto inputs = fields.find("inputs")) {
    SQUALL_ASSIGN(ports, read_ports(*inputs, "input"));
    spec.inputs = std::move(ports);
  }
  if (const auto rules = fields.find("optimize")) {
    SQUALL_ASSIGN(names, rules->items_or_one());
    for (const yaml_view& view : names) {
      SQUALL_ASSIGN(name, read_name(view, "rule"));
      spec.optimize.push_back(std::move(name));
    }
  }
  SQUALL_ASSIGN(stages_view, fields.require("stages"));
  SQUALL_ASSIGN(stages, read_stages(stages_view));
  spec.stages = std::move(stages);
  if (const auto outputs = fields.find("outputs")) {
    SQUALL_ASSIGN(entries, outputs->entries());
    for (const auto& [output, view] : entries) {
      SQUALL_TRY(check_key_name(view, output, "output"));
      SQUALL_ASSIGN(source, read_reference(view));
      spec.outputs.push_back({output, std::move(source)});
    }
  }
  return spec;
}

} // namespace squall::client::spec
