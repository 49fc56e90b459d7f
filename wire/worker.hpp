#pragma once

#include "wire/messages.hpp"

/// What a node and a worker process (the model host, later the workers of user code) say to each other over a Unix
/// stream socket. A packet: u32 bytes of the header, u32 number of payloads, u32 bytes of each payload, header,
/// payloads; all little-endian. The header is that of docs/wire.md with message types from 256 on. The request in the
/// header of `load` is the variant, in that of `run` the batch, so that even one whose body does not decode (a
/// reference to memory that is gone) gets its answer.
namespace squall::wire {

namespace worker {

inline constexpr std::uint16_t first_type = 256;
#define SQUALL_WORKER_MESSAGE(number)                                                                                  \
  static constexpr message_type type = static_cast<message_type>(first_type + (number));                               \
  static constexpr role to = role::any

/// First message of the worker.
struct ready {
  SQUALL_WORKER_MESSAGE(0);
  std::uint32_t version = protocol_version;
  std::uint64_t pid = 0;
  std::uint64_t arena = 0; ///< id of its arena; 0 = it has none
  std::string runtime;     ///< for people, for example "OpenVINO 2026.4.1"
  errc code = errc::ok;    ///< not ok: the runtime cannot be used on this host
  std::string message;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("version", s.version);
    v("pid", s.pid);
    v("arena", s.arena);
    v("runtime", s.runtime);
    v("code", s.code);
    v("message", s.message);
  }
};

struct load {
  SQUALL_WORKER_MESSAGE(1);
  variant_id variant;
  functions::variant_spec spec;
  std::vector<functions::port> inputs;
  std::vector<functions::port> outputs;
  std::string model_path;                       ///< of an onnx variant: the file in the node's cache
  std::map<std::string, std::string> resources; ///< parameter name to file path
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("variant", s.variant);
    v("spec", s.spec);
    v("inputs", s.inputs);
    v("outputs", s.outputs);
    v("model_path", s.model_path);
    v("resources", s.resources);
  }
};

/// The variant is loaded and warmed up, or is not.
struct loaded {
  SQUALL_WORKER_MESSAGE(2);
  variant_id variant;
  errc code = errc::ok;
  std::string message;
  std::uint64_t memory_bytes = 0;
  duration load_time{0};
  std::vector<calls::batch_time> measured; ///< runs of the warm-up, one at a time
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("variant", s.variant);
    v("code", s.code);
    v("message", s.message);
    v("memory_bytes", s.memory_bytes);
    v("load_time_ns", s.load_time);
    v("measured", s.measured);
  }
};

struct unload {
  SQUALL_WORKER_MESSAGE(3);
  variant_id variant;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("variant", s.variant);
  }
};

struct run {
  SQUALL_WORKER_MESSAGE(4);
  batch_id batch;
  std::uint32_t lane = 0; ///< thread of the worker, from 0; one batch at a time on each
  variant_id variant;
  duration remaining = duration::max();             ///< until nobody wants the result any more
  std::vector<std::vector<functions::value>> items; ///< per item: one value per input port
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("batch", s.batch);
    v("lane", s.lane);
    v("variant", s.variant);
    v("remaining_ns", s.remaining);
    v("items", s.items);
  }
};

struct item_result {
  errc code = errc::ok;
  std::string message;
  std::vector<functions::value> outputs;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("code", s.code);
    v("message", s.message);
    v("outputs", s.outputs);
  }
};

struct done {
  SQUALL_WORKER_MESSAGE(5);
  batch_id batch;
  duration executed{0};
  std::vector<item_result> items; ///< as many as the batch had, in their order; none when `code` is not ok
  errc code = errc::ok;           ///< why the batch as a whole did not run, or its results could not be sent
  std::string message;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("batch", s.batch);
    v("executed_ns", s.executed);
    v("items", s.items);
    v("code", s.code);
    v("message", s.message);
  }
};

/// Blocks of the worker's arena that nobody needs any more.
struct release {
  SQUALL_WORKER_MESSAGE(6);
  std::vector<arena_ref> blocks;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("blocks", s.blocks);
  }
};

/// Stop the batch if it can be stopped; `done` comes in any case.
struct cancel {
  SQUALL_WORKER_MESSAGE(7);
  batch_id batch;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("batch", s.batch);
  }
};

/// A line for the node's log.
struct note {
  SQUALL_WORKER_MESSAGE(8);
  std::uint8_t level = 1;
  std::string text;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("level", s.level);
    v("text", s.text);
  }
};

#undef SQUALL_WORKER_MESSAGE

} // namespace worker

} // namespace squall::wire
