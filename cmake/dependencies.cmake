# Every third-party library, once, under the name squall_dep::NAME. The rest of the build names no other target, so a
# library moves or changes its package in this file alone. Imported targets make all these headers SYSTEM headers.
#
# What each library is for: docs/dependencies.md. Where the packages come from: cmake/packages-debian.txt and
# cmake/packages-python.txt; `./dev build` installs both.

set(SQUALL_VENV "${PROJECT_BINARY_DIR}/venv" CACHE PATH "Python environment that holds OpenVINO")

# squall_dep(NAME LINK targets... [DEFINITIONS ...])
function(squall_dep name)
  cmake_parse_arguments(ARG "" "" "LINK;DEFINITIONS" ${ARGN})
  add_library(squall_dep::${name} INTERFACE IMPORTED GLOBAL)
  target_link_libraries(squall_dep::${name} INTERFACE ${ARG_LINK})
  target_compile_definitions(squall_dep::${name} INTERFACE ${ARG_DEFINITIONS})
endfunction()

# squall_dep_files(NAME PACKAGE debian-package HEADER file [SUFFIX dir] [LIBRARIES names...] [LINK targets...]
#                  [DEFINITIONS ...])
#
# For a library without a usable CMake package: HEADER is what the code includes, SUFFIX the folder below the include
# path that holds it, LIBRARIES what to link (none: header only).
function(squall_dep_files name)
  cmake_parse_arguments(ARG "" "PACKAGE;HEADER;SUFFIX" "LIBRARIES;LINK;DEFINITIONS" ${ARGN})
  find_path(squall_dep_${name}_INCLUDE_DIR "${ARG_HEADER}" PATH_SUFFIXES ${ARG_SUFFIX})
  if(NOT squall_dep_${name}_INCLUDE_DIR)
    message(FATAL_ERROR "${ARG_HEADER} is not here: install the Debian package ${ARG_PACKAGE}, or run ./dev build")
  endif()
  set(files "")
  foreach(library IN LISTS ARG_LIBRARIES)
    find_library(squall_dep_${name}_${library}_LIBRARY ${library})
    if(NOT squall_dep_${name}_${library}_LIBRARY)
      message(FATAL_ERROR "lib${library} is not here: install the Debian package ${ARG_PACKAGE}, or run ./dev build")
    endif()
    mark_as_advanced(squall_dep_${name}_${library}_LIBRARY)
    list(APPEND files "${squall_dep_${name}_${library}_LIBRARY}")
  endforeach()
  mark_as_advanced(squall_dep_${name}_INCLUDE_DIR)
  squall_dep(${name} LINK ${files} ${ARG_LINK} DEFINITIONS ${ARG_DEFINITIONS})
  target_include_directories(squall_dep::${name} INTERFACE "${squall_dep_${name}_INCLUDE_DIR}")
endfunction()

find_package(Threads REQUIRED)

# ---- actors, wire, store
find_package(CAF 0.17.6 REQUIRED)
squall_dep(caf LINK CAF::core DEFINITIONS CAF_ENABLE_TYPE_ID_CHECKS)

# cppzmq's CMake package pulls in pkg-config for libzmq; the two files are all that is needed.
squall_dep_files(zmq PACKAGE "libzmq3-dev and cppzmq-dev" HEADER zmq.hpp LIBRARIES zmq)
# Its CMake package asks for Boost, which the C++17 code path does not use.
squall_dep_files(msgpack PACKAGE libmsgpack-cxx-dev HEADER msgpack.hpp DEFINITIONS MSGPACK_NO_BOOST)
# Its CMake package insists on the static library's own dependencies; the shared library brings its own.
squall_dep_files(rocksdb PACKAGE librocksdb-dev HEADER rocksdb/db.h LIBRARIES rocksdb)
find_package(xxHash REQUIRED)
squall_dep(xxhash LINK xxHash::xxhash)
squall_dep_files(concurrentqueue PACKAGE libconcurrentqueue-dev HEADER concurrentqueue.h SUFFIX concurrentqueue)
find_package(zstd CONFIG REQUIRED)
squall_dep(zstd LINK zstd::libzstd_shared)
squall_dep_files(sodium PACKAGE libsodium-dev HEADER sodium.h LIBRARIES sodium)
squall_dep_files(seccomp PACKAGE libseccomp-dev HEADER seccomp.h LIBRARIES seccomp)

squall_dep_files(bsd PACKAGE libbsd-dev HEADER bsd/unistd.h LIBRARIES bsd)
squall_dep_files(mimalloc PACKAGE libmimalloc-dev HEADER mimalloc.h LIBRARIES mimalloc)

# ---- command line, specs, logs, metrics, HTTP
find_package(yaml-cpp CONFIG REQUIRED)
squall_dep(yaml LINK yaml-cpp)
find_package(CLI11 CONFIG REQUIRED)
squall_dep(cli11 LINK CLI11::CLI11)
# Debian's spdlog is built against the packaged fmt, and says so in its target (SPDLOG_FMT_EXTERNAL).
find_package(fmt CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
squall_dep(fmt LINK fmt::fmt)
squall_dep(spdlog LINK spdlog::spdlog fmt::fmt)
squall_dep_files(rapidjson PACKAGE rapidjson-dev HEADER rapidjson/document.h)
# Only the core: its CMake package would also ask for civetweb and curl, of the parts that serve and push metrics.
squall_dep_files(
  prometheus PACKAGE prometheus-cpp-dev HEADER prometheus/registry.h LIBRARIES prometheus-cpp-core
  LINK Threads::Threads)
squall_dep_files(beast PACKAGE libboost-dev HEADER boost/beast.hpp LINK Threads::Threads)
find_package(CURL REQUIRED)
squall_dep(curl LINK CURL::libcurl)

# ---- pictures and files
# The CMake package is in libopencv-dev and checks for every module of it; two modules are all that is needed.
squall_dep_files(
  opencv PACKAGE "libopencv-core-dev and libopencv-imgproc-dev" HEADER opencv2/imgproc.hpp SUFFIX opencv4
  LIBRARIES opencv_imgproc opencv_core)
squall_dep_files(turbojpeg PACKAGE libturbojpeg0-dev HEADER turbojpeg.h LIBRARIES turbojpeg)
find_package(PNG REQUIRED)
squall_dep(png LINK PNG::PNG)
squall_dep_files(clipper PACKAGE libpolyclipping-dev HEADER clipper.hpp SUFFIX polyclipping LIBRARIES polyclipping)
squall_dep_files(magic PACKAGE libmagic-dev HEADER magic.h LIBRARIES magic)

# ---- tests and benchmarks
find_package(GTest CONFIG REQUIRED)
squall_dep(gtest LINK GTest::gtest GTest::gmock Threads::Threads)
find_package(benchmark CONFIG REQUIRED)
squall_dep(benchmark LINK benchmark::benchmark Threads::Threads)

# ---- inference
# From the PyPI package, which ships headers and shared libraries. Only libopenvino is linked: it loads its plugins and
# front ends from its own folder. Link this target into the model host and nothing else: it brings its own TBB.
#
# OpenCV needs Debian's TBB, an older one with the same SONAME, and the loader keeps whichever it meets first. So the
# program that links OpenVINO names OpenVINO's TBB itself, and gets that one whatever the order of its libraries.
file(GLOB squall_openvino_dirs "${SQUALL_VENV}/lib/python3*/site-packages/openvino")
list(POP_FRONT squall_openvino_dirs squall_openvino_dir)
file(GLOB squall_openvino_library "${squall_openvino_dir}/libs/libopenvino.so.*")
if(NOT squall_openvino_dir OR NOT squall_openvino_library)
  message(FATAL_ERROR "OpenVINO is not in the Python environment ${SQUALL_VENV}: run ./dev build, which makes it, or "
                      "point -DSQUALL_VENV= to one that has the packages of cmake/packages-python.txt")
endif()
add_library(squall_dep_openvino_runtime SHARED IMPORTED GLOBAL)
set_target_properties(
  squall_dep_openvino_runtime
  PROPERTIES IMPORTED_LOCATION "${squall_openvino_library}" INTERFACE_INCLUDE_DIRECTORIES "${squall_openvino_dir}/include"
             INTERFACE_COMPILE_DEFINITIONS "_GLIBCXX_USE_CXX11_ABI=1")
squall_dep(openvino LINK squall_dep_openvino_runtime)
file(GLOB squall_openvino_tbb "${squall_openvino_dir}/libs/libtbb.so.*")
if(squall_openvino_tbb)
  target_link_options(
    squall_dep::openvino INTERFACE "LINKER:--push-state,--no-as-needed,${squall_openvino_tbb},--pop-state")
endif()
