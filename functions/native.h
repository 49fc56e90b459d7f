#ifndef SQUALL_NATIVE_H
#define SQUALL_NATIVE_H

/* A function in native code: a shared library that exports squall_function(). C99. docs/functions.md is the tutorial,
   and functions/native.hpp makes such a function of a C++ lambda.

   The library is loaded into a worker process of its own, inside a sandbox; several processes may run the same
   function. In each of them `run` is called by one thread, for one batch after the other. Nothing here may be called
   after the function that was given the context has returned, or by another thread. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows when something is added at the end of a struct; a library is loaded if its version is not above the host's. */
#define SQUALL_NATIVE_VERSION 1

/* Element types, as in the Open Inference Protocol. */
enum squall_datatype {
  SQUALL_BOOL = 1,
  SQUALL_UINT8 = 2,
  SQUALL_UINT16 = 3,
  SQUALL_UINT32 = 4,
  SQUALL_UINT64 = 5,
  SQUALL_INT8 = 6,
  SQUALL_INT16 = 7,
  SQUALL_INT32 = 8,
  SQUALL_INT64 = 9,
  SQUALL_FP16 = 10,
  SQUALL_BF16 = 11,
  SQUALL_FP32 = 12,
  SQUALL_FP64 = 13,
  SQUALL_BYTES = 14 /* each element is a u32 length, little-endian, and so many bytes */
};

/* What calls return: 0, or why not (errc in base/result.hpp). */
enum squall_status {
  SQUALL_OK = 0,
  SQUALL_INVALID_ARGUMENT = 1,
  SQUALL_NOT_FOUND = 2,
  SQUALL_OVERLOADED = 4,
  SQUALL_DEADLINE_EXCEEDED = 5,
  SQUALL_CANCELLED = 6,
  SQUALL_UNAVAILABLE = 7,
  SQUALL_TOO_LARGE = 9,
  SQUALL_PERMISSION_DENIED = 10,
  SQUALL_UNSUPPORTED = 11,
  SQUALL_FAILED = 13,
  SQUALL_INTERNAL = 14
};

enum squall_kind { SQUALL_ABSENT = 0, SQUALL_TENSOR = 1, SQUALL_LIST = 2 };

/* A value by reference: dense, row-major, aligned to 64 bytes when it is large, to 8 otherwise. Inputs are read-only
   and gone when `run` returns. */
typedef struct squall_value {
  int32_t kind;
  int32_t datatype;                    /* of a tensor */
  uint32_t rank;                       /* of a tensor */
  uint32_t count;                      /* of a list */
  const int64_t* shape;                /* rank extents */
  const void* data;                    /* of a tensor */
  size_t size;                         /* bytes */
  const struct squall_value* elements; /* of a list */
} squall_value;

typedef struct squall_named_value {
  const char* name;
  squall_value value;
} squall_named_value;

/* An input or an output, as it was registered. */
typedef struct squall_port {
  const char* name;
  int32_t datatype;
  uint32_t rank;
  const int64_t* shape; /* -1: any extent */
  int32_t list;         /* not 0: a list of such tensors */
  int32_t optional;     /* not 0: may be absent */
} squall_port;

/* What the host does for a function. Valid for as long as the function that it was given to runs. */
typedef struct squall_context squall_context;
struct squall_context {
  uint32_t version;
  void* host; /* the host's own */

  /* A line for the log. level: 0 debug, 1 info, 2 warning, 3 error. */
  void (*log)(squall_context* context, int32_t level, const char* text);
  /* Why load() failed, or an item: the caller gets the text. Without it a failure has no words. */
  void (*fail)(squall_context* context, uint32_t item, const char* text);
  /* Not 0: nobody wants the result any more; the process is killed a second later. */
  int32_t (*cancelled)(squall_context* context);
  /* Nanoseconds until nobody wants the result; INT64_MAX: for ever. */
  int64_t (*time_left)(squall_context* context);

  /* A new output of an item, to be filled before run() returns: its memory is what travels on, so this is the way
     without a copy. For BYTES `size` counts lengths and bytes; for others it must fit the shape. Null: see fail, which
     the host has called. For a port that is a list each call adds an element. */
  void* (*output)(squall_context* context, uint32_t item, uint32_t port, int32_t datatype, uint32_t rank,
                  const int64_t* shape, size_t size);
  /* Sends the item's outputs so far to a caller who wants to see them before the call ends, and begins new ones. */
  int32_t (*emit)(squall_context* context, uint32_t item);

  /* State in the store. What get() gives is valid until run() returns. */
  int32_t (*get)(squall_context* context, const char* key, const void** data, size_t* size);
  int32_t (*put)(squall_context* context, const char* key, const void* data, size_t size);
  int32_t (*erase)(squall_context* context, const char* key);

  /* Runs a function or a DAG and waits for it; meanwhile the processor is given to others. version 0: the latest. The
     outputs are valid until run() returns. */
  int32_t (*call)(squall_context* context, uint32_t item, const char* target, uint32_t version,
                  const squall_named_value* inputs, size_t input_count, const squall_named_value** outputs,
                  size_t* output_count);
  /* The text of the last of these that did not return SQUALL_OK. */
  const char* (*problem)(squall_context* context);
};

/* What the function was registered with. */
typedef struct squall_load {
  const char* name;
  const squall_port* inputs;
  size_t input_count;
  const squall_port* outputs;
  size_t output_count;
  const char* const* parameters; /* name, text, name, text, ... */
  size_t parameter_count;        /* pairs */
} squall_load;

/* Items that run together. The input `port` of item `i` is inputs[i * input_count + port]. */
typedef struct squall_batch {
  uint32_t items;
  uint32_t input_count;
  const squall_value* inputs;
} squall_batch;

typedef struct squall_description {
  const char* text; /* a line for people */
  const squall_port* inputs;
  size_t input_count;
  const squall_port* outputs;
  size_t output_count;
} squall_description;

typedef struct squall_native_function {
  uint32_t version; /* SQUALL_NATIVE_VERSION */
  /* Optional: what the function takes and gives. It is checked against what is registered. */
  const squall_description* (*describe)(void);
  /* Optional: once in a process. `instance` comes back in run and unload. */
  int32_t (*load)(squall_context* context, const squall_load* what, void** instance);
  /* SQUALL_OK: every item has its outputs, or was failed by itself. Otherwise all items fail. */
  int32_t (*run)(void* instance, squall_context* context, const squall_batch* batch);
  /* Optional. */
  void (*unload)(void* instance);
} squall_native_function;

/* What the library exports. */
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const squall_native_function*
squall_function(void);

#ifdef __cplusplus
}
#endif

#endif
