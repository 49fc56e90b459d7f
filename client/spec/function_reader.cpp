#include "client/spec/readers.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace squall::client::spec {

namespace {

using functions::variant_kind;
using functions::variant_spec;

class function_reader {
public:
  function_reader(const std::filesystem::path& folder, std::vector<upload>& uploads) : folder_(folder), uploads_(uploads) {}

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
    SQUALL_ASSIGN(fields, at.mapping({"name", "kind", "resource", "builtin", "model", "precision", "parameters", "resources",
                                      "batch", "threads", "memory"}));
    variant_spec variant;
    variant.name = "default";
    if (const auto name = fields.find("name")) {
      SQUALL_ASSIGN(given, read_name(*name, "variant"));
      variant.name = std::move(given);
    }
    SQUALL_TRY(read_kind(fields, variant));
    SQUALL_TRY(read_parameters(fields, variant));
    SQUALL_TRY(read_bounds(fields, variant));
    return variant;
  }

  /// The kind, the target that goes with it, and the resource type.
  result<> read_kind(const yaml_mapping& fields, variant_spec& variant) {
    const auto builtin = fields.find("builtin");
    const auto model = fields.find("model");
    if (builtin.has_value() == model.has_value())
      return fields.view().fail("a variant has either `builtin: NAME` or `model: FILE`");
    variant.kind = builtin ? variant_kind::builtin : variant_kind::onnx;
    if (const auto kind = fields.find("kind")) {
      SQUALL_ASSIGN(given, kind->word("kind", {"builtin", "onnx"}));
      if (functions::variant_kind_from_string(given) != variant.kind)
        return kind->fail(builtin ? "`builtin: NAME` goes with kind: builtin" : "`model: FILE` goes with kind: onnx");
    }
    if (builtin) {
      SQUALL_ASSIGN(name, read_name(*builtin, "builtin"));
      variant.target = std::move(name);
    } else {
      SQUALL_ASSIGN(key, read_file_or_key(*model));
      variant.target = std::move(key);
    }
    if (const auto resource = fields.find("resource")) {
      SQUALL_ASSIGN(given, resource->word("resource", {"cpu", "gpu"}));
      variant.resource = functions::resource_type_from_string(given).value();
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

  /// A path (./, ../ or /) becomes an upload and is replaced by its key; a key of the store stays.
  result<std::string> read_file_or_key(const yaml_view& at) {
    if (!at.is_scalar())
      return at.expected("a path or a key of the store");
    const std::string& text = at.node().text;
    if (text.starts_with("models/"))
      return text;
    if (!text.starts_with("./") && !text.starts_with("../") && !text.starts_with("/"))
      return at.fail(fmt::format("'{}' is neither a path (it starts with ./, ../ or /) nor a key of the store (it starts with models/)", text));
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
  SQUALL_ASSIGN(fields, at.mapping({"inputs", "outputs", "variants", "state"}));
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
  // The cluster knows the ports of a builtin, nobody those of a model file.
  const auto is_model = [](const variant_spec& v) { return v.kind == variant_kind::onnx; };
  if (spec.outputs.empty() && std::ranges::any_of(spec.variants, is_model))
    return at.fail("the key 'outputs' is missing; a function of a model declares its ports");
  if (const auto state = fields.find("state")) {
    SQUALL_ASSIGN(states, read_state(*state));
    spec.state = std::move(states);
  }
  return spec;
}

} // namespace squall::client::spec
