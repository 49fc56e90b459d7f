#pragma once

#include "functions/builtin/settings.hpp"
#include "functions/spec.hpp"
#include "functions/value.hpp"

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

/// The functions that ship with Squall: load shapes, pictures, tensor glue, text and files. README.md in this folder
/// lists them.
namespace squall::functions::builtins {

/// What a run is told about its call.
struct run_context {
  const std::atomic<bool>* cancelled = nullptr; ///< becomes true when nobody wants the result any more; null: never
  std::optional<duration> time_left;            ///< until the call's deadline, counted from the start of the run
};

/// A builtin with its parameters, ready to run. Used by one thread at a time, because it may keep scratch memory; a
/// lane has its own.
class instance {
public:
  virtual ~instance() = default;

  /// One value per input port, absent where the port is optional and nothing came; gives one value per output port.
  /// Values that do not fit the ports are errors (errc::invalid_argument), bytes that do not decode are errc::corrupt,
  /// beyond a limit errc::too_large. Long runs end early with errc::cancelled or errc::deadline_exceeded. Never throws.
  [[nodiscard]] virtual result<std::vector<value>> run(std::span<const value> inputs, const run_context& context) = 0;
};

/// How far the ports of a function may differ from those of the builtin that runs it. Names, their order and lists
/// never do.
enum class signature : std::uint8_t {
  fixed,     ///< only -1 may be narrowed
  any_shape, ///< other shapes and ranks
  any_type,  ///< other datatypes too
  free,      ///< the function declares its own; the parameters say what they mean
};

struct builtin {
  std::string_view name;
  std::string_view summary;
  std::vector<port> inputs;
  std::vector<port> outputs;
  std::vector<parameter> parameters;
  signature ports = signature::fixed;
  bool light = false;    ///< costs microseconds on small inputs: may then run on a node's message thread
  bool hands_on = false; ///< light whatever the size of its inputs: it does not read them
  bool foreign_bytes =
      false; ///< parses bytes that somebody else made: runs in the model host, never in the node's process
  /// Makes an instance of settings that were read for this builtin. Users call make_instance().
  result<std::unique_ptr<instance>> (*make)(const settings&) = nullptr;
  /// Not null: each run reads objects of the store. Whoever runs it asks keys_of() before, and gives the objects to the
  /// input `objects_port`, which no edge feeds.
  result<std::vector<std::string>> (*keys)(const settings&, std::span<const value> inputs) = nullptr;
};

/// A list of UINT8 [-1], one per key; an element is absent when there is no such object.
inline constexpr std::string_view objects_port = "objects";
/// Milliseconds for which what a node's cache knows of an object is used without asking the store; a parameter of these
/// builtins.
inline constexpr std::string_view max_age_parameter = "max_age_ms";
inline constexpr std::int64_t default_max_age_ms = 1000;

/// Every builtin, ordered by name.
[[nodiscard]] std::span<const builtin> all();
/// Null when there is none of that name.
[[nodiscard]] const builtin* find(std::string_view name);

/// A parameter whose content lies in the store under `key`.
struct resource_key {
  std::string parameter;
  std::string key;
  friend bool operator==(const resource_key&, const resource_key&) = default;
};

/// What has to be loaded from the store before make_instance(); parameters that hold their content inline are not among
/// them.
[[nodiscard]] result<std::vector<resource_key>> resources_of(const builtin& b, const parameter_map& parameters);

/// An instance with these parameters. `resources` has the content of each key of resources_of(), by the parameter's
/// name. Errors name the parameter. Exceptions of the libraries below become errors in it.
[[nodiscard]] result<std::unique_ptr<instance>> make_instance(const builtin& b, const parameter_map& parameters,
                                                              const resource_map& resources);

/// The keys, each once, of the objects that a run of a builtin with `keys` on these inputs reads; at most
/// max_map_width. The port `objects` is not looked at.
[[nodiscard]] result<std::vector<std::string>> keys_of(const builtin& b, const parameter_map& parameters,
                                                       std::span<const value> inputs);

/// Completes the spec of a function that has builtin variants: inputs and outputs that the user left out are taken from
/// the builtin, those given are checked against it, and the variants' targets and parameters are checked. Other specs
/// come back as they are.
[[nodiscard]] result<function_spec> complete(function_spec spec);

} // namespace squall::functions::builtins
