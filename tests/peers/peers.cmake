# SPDX-License-Identifier: Apache-2.0
# Programs that stand at the other end of a plex in tests, in the folder `plex` of the build: an upstream by gRPC C++, one by grpc-go, one that controls
# a plex by gRPC C++, and of the bench the fast upstream and its clients. Where what they need is not installed they are not built, and the tests that
# want them are skipped.
#   gRPC C++: libgrpc++-dev protobuf-compiler-grpc, which `make test` installs. grpc-go: what `make deps-go` installs, 600 MB; whoever has
#   it runs these tests, too, as CI does.
add_custom_target(peers DEPENDS plex_h2_echo plex_crowd)
set(PEERS ${CMAKE_BINARY_DIR}/plex)
if(NOT PLEX_STUBS_MISSING)
  foreach(peer grpc_cpp control_cpp)
    add_executable(peer_${peer} EXCLUDE_FROM_ALL tests/peers/${peer}.cpp)
    set_target_properties(peer_${peer} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PEERS} OUTPUT_NAME ${peer})
    target_compile_options(peer_${peer} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror)
    target_link_libraries(peer_${peer} PRIVATE plex_stubs)
    add_dependencies(peers peer_${peer})
  endforeach()
endif()

find_program(GO go)
find_program(GO_PLUGIN protoc-gen-go)
find_path(GO_GRPC google.golang.org/grpc/server.go PATHS /usr/share/gocode/src NO_DEFAULT_PATH)
find_path(GO_PROTOBUF github.com/golang/protobuf/ptypes/empty PATHS /usr/share/gocode/src NO_DEFAULT_PATH)
if(GO AND GO_PLUGIN AND GO_GRPC AND GO_PROTOBUF AND PROTOC)
  set(GO_EMPTY Mgoogle/protobuf/empty.proto=github.com/golang/protobuf/ptypes/empty)
  set(GOTREE ${CMAKE_BINARY_DIR}/go)
  file(MAKE_DIRECTORY ${GOTREE}/src/upstream)
  # Debian's plugin does not know `optional`, which is the same on the wire. Nothing is fetched: GOPATH is the tree, and what Debian has installed.
  add_custom_command(
    OUTPUT ${PEERS}/grpc_go
    COMMAND sed "s/^  optional /  /" ${CMAKE_SOURCE_DIR}/proto/upstream.proto >${GOTREE}/upstream.proto
    COMMAND ${PROTOC} -I ${GOTREE} -I /usr/include --plugin=protoc-gen-go=${GO_PLUGIN}
      --go_out=plugins=grpc,Mupstream.proto=upstream,${GO_EMPTY},import_path=upstream:${GOTREE}/src/upstream
      upstream.proto
    COMMAND ${CMAKE_COMMAND} -E env GO111MODULE=off GOFLAGS= GOPROXY=off CGO_ENABLED=0 GOPATH=${GOTREE}:/usr/share/gocode GOCACHE=${GOTREE}/cache
      ${GO} build -o ${PEERS}/grpc_go ${CMAKE_SOURCE_DIR}/tests/peers/grpc_go.go
    DEPENDS ${CMAKE_SOURCE_DIR}/proto/upstream.proto ${CMAKE_SOURCE_DIR}/tests/peers/grpc_go.go)
  add_custom_target(peer_grpc_go DEPENDS ${PEERS}/grpc_go)
  add_dependencies(peers peer_grpc_go)
endif()
