#pragma once

#include "base/fields.hpp"
#include "base/ids.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "functions/value.hpp"

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace squall::functions {

// -- limits (docs/limits.md lists them for users) --------------------------------------------------------------------

inline constexpr std::size_t max_name_length = 128;
inline constexpr std::size_t max_stages = 1000;
inline constexpr std::size_t max_ports = 64;
inline constexpr std::size_t max_variants = 16;
inline constexpr std::size_t max_rank = 8;
inline constexpr std::size_t max_threads = 256;
inline constexpr std::size_t max_when_terms = 64; ///< comparisons and connectives of one `when`
inline constexpr std::size_t max_constant_bytes = 1 << 20;
inline constexpr std::size_t max_map_width = 4096;
inline constexpr std::uint32_t max_batch_limit = 256;
inline constexpr std::uint32_t max_competitors = 8; ///< replicas of one stage under the rule `compete`
inline constexpr std::size_t max_then = 16;         ///< DAGs that continue one call

// -- functions
// ---------------------------------------------------------------------------------------------------------

/// A typed input or output.
struct port {
  std::string name;
  datatype type = datatype::fp32;
  functions::shape shape; ///< -1 is a free dimension
  bool list = false;      ///< a list of such tensors
  bool optional = false;  ///< inputs only: the function also runs when it is absent

  friend bool operator==(const port&, const port&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("datatype", s.type);
    v("shape", s.shape);
    v("list", s.list);
    v("optional", s.optional);
  }
};

enum class variant_kind : std::uint8_t { builtin = 1, native = 2, python = 3, onnx = 4, kernels = 5 };
[[nodiscard]] std::string_view to_string(variant_kind kind);
[[nodiscard]] std::optional<variant_kind> variant_kind_from_string(std::string_view name);

enum class resource_type : std::uint8_t { cpu = 1, gpu = 2 };
[[nodiscard]] std::string_view to_string(resource_type resource);
[[nodiscard]] std::optional<resource_type> resource_type_from_string(std::string_view name);

/// How the code of a native or python variant is run: in how many processes, and within which bounds (docs/workers.md,
/// docs/security.md). Zeros are the defaults of the node.
struct worker_spec {
  std::uint32_t min_instances = 0;      ///< kept on a node for as long as the variant is resident there
  std::uint32_t max_instances = 0;      ///< on one node; 0 = one for each of its lanes
  duration keep_alive{0};               ///< an instance beyond the minimum ends when it was idle for so long
  std::uint64_t memory_limit_bytes = 0; ///< address space of each process
  std::uint64_t scratch_bytes = 0;      ///< of its folder for files, which is memory, too
  duration cpu_time{0};                 ///< processor time of one batch
  std::uint32_t processes = 0;          ///< and threads, of one instance
  std::uint32_t open_files = 0;         ///< of each process
  bool network = false;                 ///< it may use the host's network

  friend bool operator==(const worker_spec&, const worker_spec&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("min_instances", s.min_instances);
    v("max_instances", s.max_instances);
    v("keep_alive_ns", s.keep_alive);
    v("memory_limit_bytes", s.memory_limit_bytes);
    v("scratch_bytes", s.scratch_bytes);
    v("cpu_time_ns", s.cpu_time);
    v("processes", s.processes);
    v("open_files", s.open_files);
    v("network", s.network);
  }
};

/// One way to run a function.
struct variant_spec {
  std::string name; ///< unique in its function; "default" when the user gives none
  variant_kind kind = variant_kind::builtin;
  resource_type resource = resource_type::cpu;
  /// builtin: its name; onnx: the key of the model in the store; native: the key of the shared library; python: the key
  /// of the pickled callable or of the zip file with the modules
  std::string target;
  /// Of the kind. onnx: precision=f32|bf16, reduce.<output>=argmax, rename.<port>=<model's name>. native: what the
  /// function reads. python: entry=module:name (empty: `target` is a pickle), requirements=<one a line>, and the rest
  /// for the function.
  std::map<std::string, std::string> parameters;
  std::uint32_t max_batch = 1;    ///< items that may run together
  duration max_delay{0};          ///< longest wait of an item for a batch to fill
  std::uint32_t threads = 1;      ///< of one instance
  std::uint64_t memory_bytes = 0; ///< while resident; 0 = measured at the first load
  worker_spec worker;             ///< of native and python

  friend bool operator==(const variant_spec&, const variant_spec&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("kind", s.kind);
    v("resource", s.resource);
    v("target", s.target);
    v("parameters", s.parameters);
    v("max_batch", s.max_batch);
    v("max_delay_ns", s.max_delay);
    v("threads", s.threads);
    v("memory_bytes", s.memory_bytes);
    v("worker", s.worker);
  }
};

/// An output that is kept between the calls of a sequence and given to an input of the next one.
struct state_spec {
  std::string input;
  std::string output;
  friend bool operator==(const state_spec&, const state_spec&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("input", s.input);
    v("output", s.output);
  }
};

/// What a user registers under a name and a version.
struct function_spec {
  std::string name;
  std::uint32_t version = 1;
  std::vector<port> inputs;
  std::vector<port> outputs;
  std::vector<variant_spec> variants; ///< at least one
  std::vector<state_spec> state;      ///< empty: stateless
  bool repeatable = false;            ///< may run again for the same inputs when the process that ran it has died

  friend bool operator==(const function_spec&, const function_spec&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("version", s.version);
    v("inputs", s.inputs);
    v("outputs", s.outputs);
    v("variants", s.variants);
    v("state", s.state);
    v("repeatable", s.repeatable);
  }
};

/// Whether `name` can name a function, a DAG, a port or a variant: 1 to max_name_length letters, digits, '_', '-' and
/// '.', the first one a letter, a digit or '_'. Names of stages have no '.', so that "stage.output" reads in one way.
[[nodiscard]] bool is_name(std::string_view name);

/// "FP32 [1,3,48,-1]", "a list of BYTES [1]".
[[nodiscard]] std::string describe(const port& p);

/// Checks names, limits, shapes, duplicate ports and variants, and state ports. The message names the offending part.
[[nodiscard]] result<> validate(const function_spec& spec);

// -- DAGs
// ---------------------------------------------------------------------------------------------------------------

/// Where the value of a stage's input comes from.
struct binding {
  enum class source : std::uint8_t { dag_input = 1, stage_output = 2, constant = 3 };
  source from = source::dag_input;
  std::string stage;           ///< with stage_output
  std::string port;            ///< the DAG's input or the stage's output
  functions::value constant{}; ///< with constant

  friend bool operator==(const binding&, const binding&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("from", s.from);
    v("stage", s.stage);
    v("port", s.port);
    v("constant", s.constant);
  }
};

/// "$crop" or "fast.probs"; a constant prints as "constant".
[[nodiscard]] std::string to_string(const binding& b);

/// A condition over values that other stages made. A comparison with an absent value is false; `present` asks for that.
struct predicate {
  enum class op : std::uint8_t {
    below = 1,     ///< number < operand
    above = 2,     ///< number > operand
    at_most = 3,   ///< number <= operand
    at_least = 4,  ///< number >= operand
    equal = 5,     ///< number or text
    not_equal = 6, ///< number or text; false when absent
    present = 7,
    all = 8,     ///< every child (true when there is none)
    any = 9,     ///< some child
    negate = 10, ///< not the only child
  };
  op operation = op::present;
  binding subject;                           ///< of comparisons and `present`; a stage's output or a DAG input
  std::variant<double, std::string> operand; ///< of comparisons
  std::vector<predicate> children;

  friend bool operator==(const predicate&, const predicate&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("op", s.operation);
    v("subject", s.subject);
    v("operand", s.operand);
    v("children", s.children);
  }
};

/// The word in a spec: "below", "at_most", "not" and so on.
[[nodiscard]] std::string_view to_string(predicate::op operation);
[[nodiscard]] std::optional<predicate::op> predicate_op_from_string(std::string_view name);

/// When a stage with several producers runs. Its producers are the stages whose outputs its inputs take; each counts
/// once.
struct join_rule {
  enum class kind : std::uint8_t {
    all = 1,   ///< every required input is present; a skipped producer skips this stage too
    any = 2,   ///< every producer has settled and at least one is present
    count = 3, ///< `count` producers are present, and `wait` is over or all have settled
  };
  /// A `wait` that only the call's deadline ends: the join is `best-effort`.
  static constexpr duration until_due = duration::max();
  kind rule = kind::all;
  std::uint32_t count = 0;
  duration wait{0}; ///< with count: how long after the call's arrival to wait for more than `count`; a call's deadline
                    ///< less a margin caps it
  /// With any and count: when too few are present because producers failed, the call fails. False: the stage is
  /// skipped.
  bool must = false;

  [[nodiscard]] bool best_effort() const { return rule == kind::count && wait == until_due; }

  friend bool operator==(const join_rule&, const join_rule&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("rule", s.rule);
    v("count", s.count);
    v("wait_ns", s.wait);
    v("must", s.must);
  }
};

struct stage_input {
  std::string port;
  binding source;
  friend bool operator==(const stage_input&, const stage_input&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("port", s.port);
    v("source", s.source);
  }
};

/// One run of a function inside a DAG.
struct stage_spec {
  std::string name;
  std::string function;
  std::uint32_t version = 0; ///< of the function; 0 = the latest at registration
  std::vector<stage_input> inputs;
  /// The inputs whose lists are mapped: the stage runs once per element, all lists having the same width, and its
  /// outputs are lists in that order. Inputs not named here are given whole to every element. Empty: not a map.
  std::vector<std::string> map;
  std::uint32_t width_max = 0; ///< of a map; 0 = max_map_width
  /// Runs only if this holds. In a map, subjects that are lists are tested element by element, and elements for which
  /// it fails are absent.
  std::optional<predicate> when;
  join_rule join;
  /// Some ensembles may be answered without this stage's result: on failure it counts as skipped instead of failing the
  /// call.
  bool may_fail = false;
  std::string variant; ///< pins one variant of the function; empty = the plan chooses
  /// Of a stage whose time varies: under the rule `compete` so many replicas run, the first answer is taken and the
  /// others are cancelled. 0 or 1: it runs once.
  std::uint32_t compete = 0;

  friend bool operator==(const stage_spec&, const stage_spec&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("function", s.function);
    v("version", s.version);
    v("inputs", s.inputs);
    v("map", s.map);
    v("width_max", s.width_max);
    v("when", s.when);
    v("join", s.join);
    v("may_fail", s.may_fail);
    v("variant", s.variant);
    v("compete", s.compete);
  }
};

struct dag_output {
  std::string name;
  binding source; ///< a stage's output or a DAG input
  friend bool operator==(const dag_output&, const dag_output&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("source", s.source);
  }
};

struct dag_spec {
  std::string name;
  std::uint32_t version = 1;
  std::vector<port> inputs;
  std::vector<stage_spec> stages;
  std::vector<dag_output> outputs;
  std::vector<std::string> optimize; ///< names of rewrite rules (functions/rewrite.hpp)

  friend bool operator==(const dag_spec&, const dag_spec&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("version", s.version);
    v("inputs", s.inputs);
    v("stages", s.stages);
    v("outputs", s.outputs);
    v("optimize", s.optimize);
  }
};

/// Checks what can be checked without the catalogue: names, limits, duplicates, the form of `when`. compile() does this
/// first.
[[nodiscard]] result<> validate(const dag_spec& spec);

} // namespace squall::functions
