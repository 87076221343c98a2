#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A whole upstream of a plex, see relay-plex(7). It gives lines back; "/all TEXT" goes to everybody, "/quit" ends the client.

    apt install python3-grpcio python3-protobuf protobuf-compiler libprotobuf-dev
    ./echo_upstream.py 127.0.0.1:45888 &
    relay plex --listen 127.0.0.1:7999 --upstream grpc://127.0.0.1:45888 --framing line &
    nc 127.0.0.1 7999
"""
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message_factory import GetMessages

PLACE = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:45888"
PROTO = Path(__file__).resolve().parents[2] / "proto"

# Instead of generated files: protoc says what is in upstream.proto, and classes are made of that.
words = ["protoc", "-I", str(PROTO), "-I", "/usr/include", "--include_imports", "--descriptor_set_out=/dev/stdout", "upstream.proto"]
kinds = GetMessages(FileDescriptorSet.FromString(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout).file)
Empty = kinds["google.protobuf.Empty"]
Input, Output, Ready, Live = (kinds[f"upstream.grpc.service.{name}"] for name in ("InputStreamRequest", "OutputStreamRequest", "ReadyResult", "LiveResult"))
EVENTS = Input.DESCRIPTOR.fields_by_name["event"].enum_type.values_by_number


def ready(_request, _context):
    return Ready(ready=True, features=["FEATURE_EVENTS"])


def live(questions, _context):
    for _ in questions:
        yield Live(live=True)


def talk(messages, _context):
    """One stream for all clients. What is yielded goes to the client that it names."""
    for message in messages:
        event = EVENTS[message.event].name.removeprefix("EVENT_")
        print(f"{message.client_uuid} {event} {message.payload.decode(errors='replace')}".rstrip(), flush=True)
        if event != "DATA":
            continue
        if message.payload.startswith(b"/all "):
            yield Output(broadcast="ALL", payload=message.payload[5:])
        elif message.payload.strip() == b"/quit":
            yield Output(client_uuid=message.client_uuid, payload=b"bye\n", command="COMMAND_CLOSE")
        else:
            yield Output(client_uuid=message.client_uuid, payload=f"{PLACE}: ".encode() + message.payload)


def how(request):
    return {"request_deserializer": request.FromString, "response_serializer": lambda answer: answer.SerializeToString()}


signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # for sigwait; threads have it, too
server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])  # two threads for each plex
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("upstream.grpc.service.UpstreamPeerService", {
    "ready": grpc.unary_unary_rpc_method_handler(ready, **how(Empty)),
    "live": grpc.stream_stream_rpc_method_handler(live, **how(Empty)),
    "bidirectionalStreaming": grpc.stream_stream_rpc_method_handler(talk, **how(Input)),
}),))
server.add_insecure_port(PLACE)
server.start()
print(f"listens on {PLACE}", flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
server.stop(2).wait()  # GOAWAY: the plex lets it finish, and gives its clients to another
