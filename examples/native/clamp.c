/* Keeps numbers between two bounds. The bounds are parameters of the variant, so one library serves many functions. */
#include "functions/native.h"

#include <stdlib.h>
#include <string.h>

struct bounds {
  float low;
  float high;
};

static int32_t load(squall_context* context, const squall_load* what, void** instance) {
  struct bounds* b = malloc(sizeof *b);
  if (b == NULL) {
    context->fail(context, 0, "out of memory");
    return SQUALL_FAILED;
  }
  b->low = 0;
  b->high = 1;
  for (size_t i = 0; i < what->parameter_count; ++i) {
    if (strcmp(what->parameters[2 * i], "low") == 0)
      b->low = strtof(what->parameters[2 * i + 1], NULL);
    if (strcmp(what->parameters[2 * i], "high") == 0)
      b->high = strtof(what->parameters[2 * i + 1], NULL);
  }
  if (b->low > b->high) {
    free(b);
    context->fail(context, 0, "the parameter low is above high");
    return SQUALL_FAILED;
  }
  *instance = b;
  return SQUALL_OK;
}

static int32_t run(void* instance, squall_context* context, const squall_batch* batch) {
  const struct bounds* b = instance;
  for (uint32_t item = 0; item < batch->items; ++item) {
    const squall_value* x = &batch->inputs[item * batch->input_count];
    const float* in = x->data;
    float* out = context->output(context, item, 0, SQUALL_FP32, x->rank, x->shape, x->size);
    if (out == NULL)
      continue; /* the item has failed, and the host knows why */
    for (size_t i = 0; i < x->size / sizeof *in; ++i)
      out[i] = in[i] < b->low ? b->low : in[i] > b->high ? b->high : in[i];
  }
  return SQUALL_OK;
}

static const int64_t any_length[] = {-1};
static const squall_port inputs[] = {{"x", SQUALL_FP32, 1, any_length, 0, 0}};
static const squall_port outputs[] = {{"y", SQUALL_FP32, 1, any_length, 0, 0}};
static const squall_description description = {"keeps numbers between two bounds", inputs, 1, outputs, 1};

static const squall_description* describe(void) { return &description; }

const squall_native_function* squall_function(void) {
  static const squall_native_function function = {SQUALL_NATIVE_VERSION, describe, load, run, free};
  return &function;
}
