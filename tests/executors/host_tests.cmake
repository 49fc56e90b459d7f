# Tests of the model host and of what drives it. Those that need the models skip themselves, and say so, where there are none.
set(SQUALL_MODELS "${PROJECT_BINARY_DIR}/models" CACHE PATH "folder with the models of examples/models/fetch.py")

squall_test(
  executors_inference_test
  LABELS unit
  SOURCES batching_test.cpp inference_test.cpp
  LINK squall::executors_inference)
target_compile_definitions(executors_inference_test PRIVATE SQUALL_MODELS="${SQUALL_MODELS}")
