# SPDX-License-Identifier: Apache-2.0
# The services as gRPC C++ has them: library plex_stubs, for the bench and for a peer of the tests. gRPC as Debian has it: libgrpc++-dev
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
set(STUB_SOURCES)
foreach(proto upstream control)
  set(made ${STUBS}/${proto}.pb.cc ${STUBS}/${proto}.grpc.pb.cc)
  add_custom_command(
    OUTPUT ${made} ${STUBS}/${proto}.pb.h ${STUBS}/${proto}.grpc.pb.h
    COMMAND ${PROTOC} -I ${CMAKE_SOURCE_DIR}/proto --cpp_out=${STUBS} --grpc_out=${STUBS} --plugin=protoc-gen-grpc=${GRPC_PLUGIN} ${proto}.proto
    DEPENDS ${CMAKE_SOURCE_DIR}/proto/upstream.proto ${CMAKE_SOURCE_DIR}/proto/${proto}.proto)
  list(APPEND STUB_SOURCES ${made})
endforeach()
add_library(plex_stubs STATIC EXCLUDE_FROM_ALL ${STUB_SOURCES})
target_include_directories(plex_stubs SYSTEM PUBLIC ${STUBS})
target_link_libraries(plex_stubs PUBLIC ${GRPCPP} ${GRPC} ${GPR} ${ABSL_SYNCHRONIZATION} ${PROTOBUF} Threads::Threads)
