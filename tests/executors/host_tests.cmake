# Tests of the model host and of what drives it. Those that need the models skip themselves, and say so, where there are none.
set(SQUALL_MODELS "${PROJECT_BINARY_DIR}/models" CACHE PATH "folder with the models of examples/models/fetch.py")

squall_test(executors_packet_test LABELS unit SOURCES packet_test.cpp LINK squall::executors_packets)

squall_test(
  executors_inference_test
  LABELS actor
  SOURCES batching_test.cpp inference_test.cpp
  LINK squall::executors_inference)
target_compile_definitions(executors_inference_test PRIVATE SQUALL_MODELS="${SQUALL_MODELS}")

# With real processes.
squall_test(
  executors_host_test
  LABELS actor
  SOURCES model_host_test.cpp worker_host_test.cpp
  LINK squall::executors_worker squall::executors_inference)
target_compile_definitions(executors_host_test PRIVATE SQUALL_MODELS="${SQUALL_MODELS}"
                                                       SQUALL_MODEL_HOST="$<TARGET_FILE:squall-model-host>")
add_dependencies(executors_host_test squall-model-host)

squall_test(bench_scoring_test LABELS unit SOURCES scoring_test.cpp LINK squall_bench_scoring)
