# SPDX-License-Identifier: Apache-2.0
# The service as gRPC C++ has it: library plex_stubs, for the bench and for a peer of the tests. gRPC as Debian has it: libgrpc++-dev
# protobuf-compiler-grpc. Without these there is no such library, and PLEX_STUBS_MISSING says why.
include_guard()
find_path(GRPC_INCLUDE grpcpp/grpcpp.h)
find_program(PROTOC protoc)
find_program(GRPC_PLUGIN grpc_cpp_plugin)
find_library(GRPCPP grpc++)
find_library(GRPC grpc)
find_library(GPR gpr)
find_library(PROTOBUF protobuf)
find_library(ABSL_SYNCHRONIZATION absl_synchronization)  # what gRPC's headers call
find_package(Threads REQUIRED)
set(PLEX_STUBS_MISSING)
foreach(needed GRPC_INCLUDE PROTOC GRPC_PLUGIN GRPCPP GRPC GPR PROTOBUF ABSL_SYNCHRONIZATION)
  if(NOT ${needed})
    list(APPEND PLEX_STUBS_MISSING ${needed})
  endif()
endforeach()
if(PLEX_STUBS_MISSING)
  return()
endif()

set(STUBS ${CMAKE_BINARY_DIR}/stubs)
file(MAKE_DIRECTORY ${STUBS})
add_custom_command(
  OUTPUT ${STUBS}/upstream.pb.cc ${STUBS}/upstream.pb.h ${STUBS}/upstream.grpc.pb.cc ${STUBS}/upstream.grpc.pb.h
  COMMAND ${PROTOC} -I ${CMAKE_SOURCE_DIR}/proto --cpp_out=${STUBS} --grpc_out=${STUBS} --plugin=protoc-gen-grpc=${GRPC_PLUGIN} upstream.proto
  DEPENDS ${CMAKE_SOURCE_DIR}/proto/upstream.proto)
add_library(plex_stubs STATIC EXCLUDE_FROM_ALL ${STUBS}/upstream.pb.cc ${STUBS}/upstream.grpc.pb.cc)
target_include_directories(plex_stubs SYSTEM PUBLIC ${STUBS})
target_link_libraries(plex_stubs PUBLIC ${GRPCPP} ${GRPC} ${GPR} ${ABSL_SYNCHRONIZATION} ${PROTOBUF} Threads::Threads)
