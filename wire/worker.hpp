#pragma once

#include "wire/messages.hpp"

/// What a node and a worker process (the model host, or a worker of user code) say to each other over a Unix stream
/// socket (docs/workers.md is the whole of it for workers of user code). A packet: u32 bytes of the header, u32 number
/// of payloads, u32 bytes of each payload, header, payloads; all little-endian. The header is that of docs/wire.md with
/// message types from 256 on. The request in the header of `load` is the variant, in that of `run` the batch, so that
/// even one whose body does not decode (a reference to memory that is gone) gets its answer.
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
  std::string function;                         ///< its name, for people
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("variant", s.variant);
    v("spec", s.spec);
    v("inputs", s.inputs);
    v("outputs", s.outputs);
    v("model_path", s.model_path);
    v("resources", s.resources);
    v("function", s.function);
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
  std::vector<call_id> calls;                       ///< per item
  bool stream = false;                              ///< somebody wants `partial`
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("batch", s.batch);
    v("lane", s.lane);
    v("variant", s.variant);
    v("remaining_ns", s.remaining);
    v("items", s.items);
    v("calls", s.calls);
    v("stream", s.stream);
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

// -- workers of user code only
// ---------------------------------------------------------------------------------------------

/// Memory that node and worker share, and the descriptor of it with the packet.
struct segment {
  SQUALL_WORKER_MESSAGE(9);
  std::uint64_t id = 0; ///< what references name as their arena
  std::uint64_t size = 0;
  bool writable = false; ///< true: the worker's place for what it sends; false: what it gets lies there
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("size", s.size);
    v("writable", s.writable);
  }
};

/// One output of an item before its batch is done.
struct partial {
  SQUALL_WORKER_MESSAGE(10);
  batch_id batch;
  std::uint32_t item = 0;
  std::vector<functions::value> outputs; ///< one per output port
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("batch", s.batch);
    v("item", s.item);
    v("outputs", s.outputs);
  }
};

/// An item calls a function or a DAG. The request in the header names it until `returned` repeats it.
struct call {
  SQUALL_WORKER_MESSAGE(11);
  batch_id batch;
  std::uint32_t item = 0;
  std::string target;
  std::uint32_t version = 0; ///< 0 = latest
  std::vector<wire_value> inputs;
  duration deadline{0}; ///< zero: what is left of the item's own
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("batch", s.batch);
    v("item", s.item);
    v("target", s.target);
    v("version", s.version);
    v("inputs", s.inputs);
    v("deadline_ns", s.deadline);
  }
};

struct returned {
  SQUALL_WORKER_MESSAGE(12);
  errc code = errc::ok;
  std::string message;
  std::vector<wire_value> outputs;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("code", s.code);
    v("message", s.message);
    v("outputs", s.outputs);
  }
};

/// The worker will wait for `returned` and do nothing else: its lane runs other work until then.
struct waiting {
  SQUALL_WORKER_MESSAGE(13);
  batch_id batch;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("batch", s.batch);
  }
};

/// Asks the store. The request in the header names it until `state_reply` repeats it.
struct state_request {
  SQUALL_WORKER_MESSAGE(14);
  std::string operation; ///< "get", "put" or "delete"
  std::string key;
  functions::value value; ///< of put: a UINT8 tensor [n]
  bool durable = true;    ///< of put
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("operation", s.operation);
    v("key", s.key);
    v("value", s.value);
    v("durable", s.durable);
  }
};

struct state_reply {
  SQUALL_WORKER_MESSAGE(15);
  errc code = errc::ok;
  std::string message;
  functions::value value; ///< of get: a UINT8 tensor [n]
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("code", s.code);
    v("message", s.message);
    v("value", s.value);
  }
};

// -- zygotes
// ---------------------------------------------------------------------------------------------------------------

/// Fork a worker. With the packet come its socket and the write end of the pipe for its standard output and error.
struct spawn {
  SQUALL_WORKER_MESSAGE(16);
  std::uint64_t worker = 0;
  functions::worker_spec bounds; ///< no zeros left
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("worker", s.worker);
    v("bounds", s.bounds);
  }
};

/// It runs, or (not ok) could not be started.
struct spawned {
  SQUALL_WORKER_MESSAGE(17);
  std::uint64_t worker = 0;
  std::uint64_t pid = 0; ///< as the zygote sees it
  errc code = errc::ok;
  std::string message;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("worker", s.worker);
    v("pid", s.pid);
    v("code", s.code);
    v("message", s.message);
  }
};

/// Kill the worker and every process that it has started.
struct kill {
  SQUALL_WORKER_MESSAGE(18);
  std::uint64_t worker = 0;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("worker", s.worker);
  }
};

/// The worker has ended, and with it every process that it has started.
struct exited {
  SQUALL_WORKER_MESSAGE(19);
  std::uint64_t worker = 0;
  std::uint32_t status = 0; ///< of waitpid
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("worker", s.worker);
    v("status", s.status);
  }
};

#undef SQUALL_WORKER_MESSAGE

} // namespace worker

} // namespace squall::wire
