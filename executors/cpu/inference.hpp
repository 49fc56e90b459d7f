#pragma once

#include "base/result.hpp"
#include "base/time.hpp"
#include "calls/promise.hpp"
#include "functions/spec.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

/// Models on the CPU. This library is the only code that knows the inference runtime (OpenVINO), and no header of it
/// shows it.
namespace squall::executors::cpu {

/// Of the runtime that is linked, for people: "OpenVINO 2026.4.1-...".
[[nodiscard]] std::string runtime_version();

/// Compiles and runs a tiny model, in f32 and bf16, in a forked child, so that an illegal instruction is an error
/// (unsupported) and not the end of this process. Call it before the process has threads. Takes about 0.2 s; a child
/// that takes more than 20 s is killed and counts as unusable.
[[nodiscard]] result<> check_runtime();

/// Where the bytes of outputs are put: the heap, or an arena of shared memory. Thread-safe.
class output_memory {
public:
  virtual ~output_memory() = default;
  /// `fill` is called once, with `size` writable bytes, before this returns them. Fails as overloaded or too_large,
  /// without calling it.
  [[nodiscard]] virtual result<shared_bytes> make(std::size_t size,
                                                  const std::function<void(std::span<std::byte>)>& fill) = 0;
};

/// The heap.
class heap_memory final : public output_memory {
public:
  [[nodiscard]] result<shared_bytes> make(std::size_t size,
                                          const std::function<void(std::span<std::byte>)>& fill) override;
};

/// One value per input port of the function, or per output port.
using port_values = std::vector<functions::value>;

/// What to load: a variant of kind onnx, the ports of its function, and the file. `spec.parameters` may hold:
///
/// - `precision`: `f32` (default) or `bf16`, what the runtime computes in. bf16 is refused where the CPU cannot do it.
/// - `rename.<port>`: the model's name of the tensor behind a port. Default: the port's name.
/// - `reduce.<name>`: `argmax`. In place of the output `<name>`, which may itself be renamed, there are `<name>_index`
///   (INT32) and `<name>_max` (the output's type): place and value of the largest element along the last axis, which is
///   dropped. So [N,T,C] leaves two of [N,T], and the large tensor is never copied.
/// - `batch_axis.<port>`: along which axis the items of a batch are joined (inputs) and cut apart (outputs); `none`:
///   items run together only if they have this value in common. Default: 0, and none for scalars.
/// - `warm`: shapes to run before the model counts as loaded, `1x3x48x320;1x3x48x640`, and with several inputs
///   `input=1x576,state=2x1x128`. Each is run with a batch of one and of max_batch. Default: the ports' shapes, free
///   extents as 1 (batch axis) or 32; if the model refuses these it is not warmed up.
///
/// Anything else is refused by name.
struct model_request {
  functions::variant_spec spec;
  std::vector<functions::port> inputs;
  std::vector<functions::port> outputs;
  std::string path;
};

/// A loaded model: one compiled network, and for every lane a request of its own to run it with. Destroying it frees
/// its memory; no lane may be running it then.
class model {
public:
  virtual ~model() = default;

  /// Runs a batch on a lane, each by one thread at a time; different lanes run at once. Items whose shapes agree but
  /// for the batch axis run together; the others one after another, never padded, so that an item's result does not
  /// depend on its company. `stop` is asked before each run; the error it returns is that of the items that have not
  /// run. One result per item, in their order.
  [[nodiscard]] virtual std::vector<result<port_values>> run(std::uint32_t lane, std::span<const port_values> items,
                                                             output_memory& memory,
                                                             const std::function<result<>()>& stop) = 0;

  /// How long warm batches took when nothing else ran, of the slowest of the warm-up shapes; empty when it was not
  /// warmed up.
  [[nodiscard]] virtual const std::vector<calls::batch_time>& measured() const = 0;

  /// Why the model is not warmed up, for the log; empty when it is.
  [[nodiscard]] virtual const std::string& warning() const = 0;
};

struct runtime_options {
  std::uint32_t lanes = 1;
  std::string cache_folder; ///< compiled models are kept there, and load in about half the time; empty = none
};

/// The inference runtime of this process. Thread-safe; outlives its models.
class runtime {
public:
  [[nodiscard]] static result<std::unique_ptr<runtime>> create(const runtime_options& options);
  virtual ~runtime() = default;

  /// Reads, checks against the ports, compiles and warms up, on every lane. Fails as not_found (no such file),
  /// invalid_argument (no model, or not of these ports: the message names the port and says what the model has; or an
  /// unknown parameter), unsupported (precision).
  [[nodiscard]] virtual result<std::unique_ptr<model>> load(const model_request& request) = 0;
};

} // namespace squall::executors::cpu
