#include "client/spec/readers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace squall::client::spec {

namespace {

using functions::variant_kind;
using functions::variant_spec;

class function_reader {
public:
  function_reader(const std::filesystem::path& folder, std::vector<upload>& uploads)
      : folder_(folder), uploads_(uploads) {}

  result<std::vector<variant_spec>> read_variants(const yaml_view& at) {
    SQUALL_ASSIGN(items, at.items());
    if (items.empty())
      return at.fail("at least one variant is needed");
    std::vector<variant_spec> variants;
    for (const yaml_view& item : items) {
      SQUALL_ASSIGN(variant, read_variant(item));
      if (std::ranges::any_of(variants, [&](const variant_spec& v) { return v.name == variant.name; }))
        return item.fail(fmt::format("there are two variants named '{}'; give each its own `name`", variant.name));
      variants.push_back(std::move(variant));
    }
    return variants;
  }

private:
  result<variant_spec> read_variant(const yaml_view& at) {
    SQUALL_ASSIGN(fields, at.mapping({"name", "kind", "resource", "builtin", "model", "library", "code", "entry",
                                      "requirements", "precision", "parameters", "resources", "batch", "threads",
                                      "memory", "instances", "bounds", "network"}));
    variant_spec variant;
    variant.name = "default";
    if (const auto name = fields.find("name")) {
      SQUALL_ASSIGN(given, read_name(*name, "variant"));
      variant.name = std::move(given);
    }
    SQUALL_TRY(read_kind(fields, variant));
    SQUALL_TRY(read_parameters(fields, variant));
    SQUALL_TRY(read_bounds(fields, variant));
    SQUALL_TRY(read_worker(fields, variant));
    return variant;
  }

  /// The kind, the target that goes with it, and the resource type.
  result<> read_kind(const yaml_mapping& fields, variant_spec& variant) {
    struct way {
      const char* key;
      variant_kind kind;
    };
    static constexpr std::array ways{way{"builtin", variant_kind::builtin}, way{"model", variant_kind::onnx},
                                     way{"library", variant_kind::native}, way{"code", variant_kind::python},
                                     way{"entry", variant_kind::python}};
    const way* chosen = nullptr;
    for (const way& w : ways) {
      if (!fields.find(w.key))
        continue;
      if (chosen != nullptr && chosen->kind != w.kind)
        return fields.view().fail(fmt::format("`{}` and `{}` do not go together", chosen->key, w.key));
      if (chosen == nullptr)
        chosen = &w;
    }
    if (chosen == nullptr)
      return fields.view().fail(
          "a variant has one of `builtin: NAME`, `model: FILE`, `library: FILE` (native code) and "
          "`code: FILE` or `entry: MODULE:NAME` (Python)");
    variant.kind = chosen->kind;
    if (const auto kind = fields.find("kind")) {
      SQUALL_ASSIGN(given, kind->word("kind", {"builtin", "onnx", "native", "python"}));
      if (functions::variant_kind_from_string(given) != variant.kind)
        return kind->fail(fmt::format("`{}` goes with kind: {}", chosen->key, functions::to_string(variant.kind)));
    }
    SQUALL_TRY(read_target(fields, variant));
    if (const auto resource = fields.find("resource")) {
      SQUALL_ASSIGN(given, resource->word("resource", {"cpu", "gpu"}));
      variant.resource = functions::resource_type_from_string(given).value();
    }
    return {};
  }

  result<> read_target(const yaml_mapping& fields, variant_spec& variant) {
    if (const auto builtin = fields.find("builtin")) {
      SQUALL_ASSIGN(name, read_name(*builtin, "builtin"));
      variant.target = std::move(name);
    }
    for (const char* key : {"model", "library", "code"})
      if (const auto file = fields.find(key)) {
        SQUALL_ASSIGN(stored, read_file_or_key(*file));
        variant.target = std::move(stored);
      }
    for (const char* key : {"entry", "requirements"})
      if (const auto text = fields.find(key)) {
        if (variant.kind != variant_kind::python)
          return text->fail("goes with kind: python");
        SQUALL_ASSIGN(given, text->text());
        variant.parameters[key] = std::move(given);
      }
    return {};
  }

  result<> read_parameters(const yaml_mapping& fields, variant_spec& variant) {
    if (const auto parameters = fields.find("parameters")) {
      SQUALL_ASSIGN(entries, parameters->entries());
      for (const auto& [name, view] : entries) {
        SQUALL_ASSIGN(text, view.text());
        if (name == "precision")
          return view.fail("is set by the key `precision` of the variant");
        variant.parameters[name] = std::move(text);
      }
    }
    if (const auto precision = fields.find("precision")) {
      if (variant.kind != variant_kind::onnx)
        return precision->fail("goes with kind: onnx");
      SQUALL_ASSIGN(given, precision->word("precision", {"f32", "bf16"}));
      variant.parameters["precision"] = std::move(given);
    }
    if (const auto resources = fields.find("resources")) {
      if (variant.kind != variant_kind::builtin)
        return resources->fail("goes with kind: builtin");
      SQUALL_ASSIGN(entries, resources->entries());
      for (const auto& [name, view] : entries) {
        SQUALL_TRY(check_key_name(view, name, "resource"));
        if (variant.parameters.contains(name))
          return view.fail("is among the `parameters`, too");
        SQUALL_ASSIGN(key, read_file_or_key(view));
        variant.parameters[name] = std::move(key);
      }
    }
    return {};
  }

  static result<> read_bounds(const yaml_mapping& fields, variant_spec& variant) {
    if (const auto batch = fields.find("batch")) {
      SQUALL_ASSIGN(batch_fields, batch->mapping({"max", "delay"}));
      SQUALL_ASSIGN(max_view, batch_fields.require("max"));
      SQUALL_ASSIGN(max, max_view.integer(1, functions::max_batch_limit));
      variant.max_batch = static_cast<std::uint32_t>(max);
      if (const auto delay = batch_fields.find("delay")) {
        SQUALL_ASSIGN(given, delay->duration());
        variant.max_delay = given;
      }
    }
    if (const auto threads = fields.find("threads")) {
      SQUALL_ASSIGN(given, threads->integer(1, functions::max_threads));
      variant.threads = static_cast<std::uint32_t>(given);
    }
    if (const auto memory = fields.find("memory")) {
      SQUALL_ASSIGN(given, memory->size_bytes());
      variant.memory_bytes = given;
    }
    return {};
  }

  /// How user code is run.
  static result<> read_worker(const yaml_mapping& fields, variant_spec& variant) {
    auto& worker = variant.worker;
    const bool user_code = variant.kind == variant_kind::native || variant.kind == variant_kind::python;
    for (const char* key : {"instances", "bounds", "network"})
      if (const auto given = fields.find(key); given && !user_code)
        return given->fail("goes with kind: native or python");
    if (const auto instances = fields.find("instances")) {
      SQUALL_ASSIGN(of_instances, instances->mapping({"min", "max", "keep-alive"}));
      SQUALL_TRY(read_count(of_instances, "min", 0, max_instances, worker.min_instances));
      SQUALL_TRY(read_count(of_instances, "max", 1, max_instances, worker.max_instances));
      if (const auto keep = of_instances.find("keep-alive")) {
        SQUALL_ASSIGN(given, keep->duration());
        worker.keep_alive = given;
      }
      if (worker.max_instances > 0 && worker.min_instances > worker.max_instances)
        return instances->fail("`min` is above `max`");
    }
    if (const auto bounds = fields.find("bounds")) {
      SQUALL_ASSIGN(of_bounds, bounds->mapping({"memory", "scratch", "cpu-time", "processes", "open-files"}));
      for (const auto& [key, field] :
           {std::pair{"memory", &worker.memory_limit_bytes}, std::pair{"scratch", &worker.scratch_bytes}})
        if (const auto size = of_bounds.find(key)) {
          SQUALL_ASSIGN(given, size->size_bytes());
          *field = given;
        }
      if (const auto time = of_bounds.find("cpu-time")) {
        SQUALL_ASSIGN(given, time->duration());
        worker.cpu_time = given;
      }
      SQUALL_TRY(read_count(of_bounds, "processes", 1, 10'000, worker.processes));
      SQUALL_TRY(read_count(of_bounds, "open-files", 16, 100'000, worker.open_files));
    }
    if (const auto network = fields.find("network")) {
      SQUALL_ASSIGN(given, network->boolean());
      worker.network = given;
    }
    return {};
  }

  static result<> read_count(const yaml_mapping& fields, const char* key, std::int64_t least, std::int64_t most,
                             std::uint32_t& count) {
    if (const auto view = fields.find(key)) {
      SQUALL_ASSIGN(given, view->integer(least, most));
      count = static_cast<std::uint32_t>(given);
    }
    return {};
  }

  static constexpr std::int64_t max_instances = 256;

  /// A path (./, ../ or /) becomes an upload and is replaced by its key; a key of the store stays.
  result<std::string> read_file_or_key(const yaml_view& at) {
    if (!at.is_scalar())
      return at.expected("a path or a key of the store");
    const std::string& text = at.node().text;
    if (text.starts_with("models/"))
      return text;
    if (!text.starts_with("./") && !text.starts_with("../") && !text.starts_with("/"))
      return at.fail(fmt::format(
          "'{}' is neither a path (it starts with ./, ../ or /) nor a key of the store (it starts with models/)",
          text));
    auto found = make_upload(folder_ / text);
    if (!found.ok())
      return at.fail(found.error().message);
    upload made = std::move(found).value();
    if (std::ranges::none_of(uploads_, [&](const upload& u) { return u.key == made.key; }))
      uploads_.push_back(made);
    return made.key;
  }

  const std::filesystem::path& folder_;
  std::vector<upload>& uploads_;
};

result<std::vector<functions::state_spec>> read_state(const yaml_view& at) {
  SQUALL_ASSIGN(items, at.items());
  std::vector<functions::state_spec> states;
  for (const yaml_view& item : items) {
    SQUALL_ASSIGN(fields, item.mapping({"input", "output"}));
    SQUALL_ASSIGN(input_view, fields.require("input"));
    SQUALL_ASSIGN(output_view, fields.require("output"));
    SQUALL_ASSIGN(input, read_name(input_view, "input"));
    SQUALL_ASSIGN(output, read_name(output_view, "output"));
    states.push_back({std::move(input), std::move(output)});
  }
  return states;
}

} // namespace

result<functions::function_spec> read_function(const yaml_view& at, std::string name, std::uint32_t version,
                                               const std::filesystem::path& folder, std::vector<upload>& uploads) {
  SQUALL_ASSIGN(fields, at.mapping({"inputs", "outputs", "variants", "state", "repeatable"}));
  functions::function_spec spec;
  spec.name = std::move(name);
  spec.version = version;
  if (const auto inputs = fields.find("inputs")) {
    SQUALL_ASSIGN(ports, read_ports(*inputs, "input"));
    spec.inputs = std::move(ports);
  }
  if (const auto outputs = fields.find("outputs")) {
    SQUALL_ASSIGN(ports, read_ports(*outputs, "output"));
    spec.outputs = std::move(ports);
  }
  SQUALL_ASSIGN(variants_view, fields.require("variants"));
  SQUALL_ASSIGN(variants, (function_reader{folder, uploads}.read_variants(variants_view)));
  spec.variants = std::move(variants);
  // The cluster knows the ports of a builtin, nobody those of a file.
  const auto is_builtin = [](const variant_spec& v) { return v.kind == variant_kind::builtin; };
  if (spec.outputs.empty() && !std::ranges::all_of(spec.variants, is_builtin))
    return at.fail("the key 'outputs' is missing; a function of a model, or of code, declares its ports");
  if (const auto repeatable = fields.find("repeatable")) {
    SQUALL_ASSIGN(given, repeatable->boolean());
    spec.repeatable = given;
  }
  if (const auto state = fields.find("state")) {
    SQUALL_ASSIGN(states, read_state(*state));
    spec.state = std::move(states);
  }
  return spec;
}

} // namespace squall::client::spec
