# squall_function(NAME SOURCES files...)
#
# A native function (functions/native.h): builds functions/NAME.so in the build folder, to be named as `library:` in a spec. The
# include path for native.h and native.hpp is set; nothing of Squall is linked.
set(SQUALL_NATIVE_INCLUDE "${CMAKE_CURRENT_LIST_DIR}/.." CACHE PATH "folder that holds functions/native.h")
mark_as_advanced(SQUALL_NATIVE_INCLUDE)
function(squall_function name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  if(NOT ARG_SOURCES)
    message(FATAL_ERROR "squall_function(${name}): SOURCES is empty")
  endif()
  add_library(${name} MODULE ${ARG_SOURCES})
  set_target_properties(
    ${name}
    PROPERTIES PREFIX ""
               C_STANDARD 99
               CXX_STANDARD 20
               C_VISIBILITY_PRESET hidden
               CXX_VISIBILITY_PRESET hidden
               LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/functions")
  target_include_directories(${name} PRIVATE "${SQUALL_NATIVE_INCLUDE}")
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
endfunction()
