# SPDX-License-Identifier: Apache-2.0
# The programs of the plex' bench, with RELAY_BENCH: `make bench-plex`. gRPC C++ as Debian has it: libgrpc++-dev protobuf-compiler-grpc.
find_path(GRPC_INCLUDE grpcpp/grpcpp.h REQUIRED)
find_program(PROTOC protoc REQUIRED)
find_program(GRPC_PLUGIN grpc_cpp_plugin REQUIRED)
find_library(GRPCPP grpc++ REQUIRED)
find_library(GRPC grpc REQUIRED)
find_library(GPR gpr REQUIRED)
find_library(PROTOBUF protobuf REQUIRED)
find_library(ABSL_SYNCHRONIZATION absl_synchronization REQUIRED)  # what gRPC's headers call
find_package(Threads REQUIRED)

set(STUBS ${CMAKE_BINARY_DIR}/stubs)
file(MAKE_DIRECTORY ${STUBS})
add_custom_command(
  OUTPUT ${STUBS}/upstream.pb.cc ${STUBS}/upstream.pb.h ${STUBS}/upstream.grpc.pb.cc ${STUBS}/upstream.grpc.pb.h
  COMMAND ${PROTOC} -I ${CMAKE_SOURCE_DIR}/proto --cpp_out=${STUBS} --grpc_out=${STUBS} --plugin=protoc-gen-grpc=${GRPC_PLUGIN} upstream.proto
  DEPENDS ${CMAKE_SOURCE_DIR}/proto/upstream.proto)
add_library(plex_stubs STATIC EXCLUDE_FROM_ALL ${STUBS}/upstream.pb.cc ${STUBS}/upstream.grpc.pb.cc)
target_include_directories(plex_stubs SYSTEM PUBLIC ${STUBS})
target_link_libraries(plex_stubs PUBLIC ${GRPCPP} ${GRPC} ${GPR} ${ABSL_SYNCHRONIZATION} ${PROTOBUF} Threads::Threads)

add_custom_target(bench_plex)
# gRPC's headers do not know our warnings, and are system headers where they are installed.
function(plex_program name)
  add_executable(plex_${name} EXCLUDE_FROM_ALL bench/plex/${name}.cpp)
  set_target_properties(plex_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/plex OUTPUT_NAME ${name})
  target_compile_options(plex_${name} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror)
  target_include_directories(plex_${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(plex_${name} PRIVATE ${ARGN})
  add_dependencies(bench_plex plex_${name})
endfunction()
plex_program(load)
plex_program(grpc_echo plex_stubs)
plex_program(grpc_proxy plex_stubs)
plex_program(grpc_leg plex_stubs)
plex_program(h2_echo room_wire ${NGHTTP2})
plex_program(leg room_net)
target_include_directories(plex_h2_echo SYSTEM PRIVATE ${NGHTTP2_INCLUDE})
if(RELAY_STATIC AND NOT RELAY_SANITIZE)
  target_link_options(plex_h2_echo PRIVATE ${STATIC})
  target_link_options(plex_leg PRIVATE ${STATIC})
endif()
