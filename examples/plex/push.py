#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Speaks to the clients of a plex from outside, by its control service; see relay-plex(7), CONTROL.

    apt install python3-grpcio python3-protobuf protobuf-compiler libprotobuf-dev
    ./push.py unix:/run/relay/admin.sock list
    ./push.py unix:/run/relay/admin.sock send UUID "Your order is ready."
    ./push.py unix:/run/relay/admin.sock broadcast "Back at noon."
    ./push.py unix:/run/relay/admin.sock close UUID "tidying up"
    TOKEN=... ./push.py 127.0.0.1:9901 watch
"""
import os
import subprocess
import sys
from pathlib import Path

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message_factory import GetMessages

PROTO = Path(__file__).resolve().parents[2] / "proto"

# Instead of generated files: protoc says what is in control.proto, and classes are made of that.
words = ["protoc", "-I", str(PROTO), "-I", "/usr/include", "--include_imports", "--descriptor_set_out=/dev/stdout", "control.proto"]
kinds = GetMessages(FileDescriptorSet.FromString(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout).file)
TOKEN = os.environ.get("TOKEN", "")


def call(channel, method, asks, answers, **fields):
    kind = channel.unary_stream if method == "Watch" else channel.unary_unary
    ask = kind(f"/relay.plex.control.PlexControl/{method}", response_deserializer=kinds[f"relay.plex.control.{answers}"].FromString)
    message = kinds[f"relay.plex.control.{asks}"](**fields).SerializeToString()
    return ask(message, metadata=[("authorization", f"Bearer {TOKEN}")] if TOKEN else [])


def clients(channel):
    """All of them, some at a time."""
    after = 0
    while True:
        page = call(channel, "List", "ListRequest", "ListResult", after=after)
        yield from page.clients
        if not page.HasField("next"):
            return
        after = page.next


def main(place, what, *rest):
    with grpc.insecure_channel(place) as channel:
        if what == "list":
            for one in clients(channel):
                print(one.client_uuid, one.peer, one.upstream or "-", one.state, one.messages)
        elif what == "send":
            print(call(channel, "Send", "SendRequest", "SendResult", client_uuid=rest[0], payload=rest[1].encode() + b"\n").sent)
        elif what == "broadcast":
            call(channel, "Broadcast", "BroadcastRequest", "SendResult", payload=rest[0].encode() + b"\n")
        elif what == "close":
            call(channel, "Close", "CloseRequest", "SendResult", client_uuid=rest[0], reason=rest[1])
        elif what == "watch":
            for event in call(channel, "Watch", "WatchRequest", "WatchEvent"):
                kind = event.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number[event.kind].name
                print(kind.removeprefix("WATCH_"), event.client_uuid or event.missed, event.client.peer, flush=True)
        else:
            raise ValueError(what)


try:
    main(*sys.argv[1:])
except grpc.RpcError as error:
    sys.exit(f"{error.code().name}: {error.details()}")
except (TypeError, ValueError, IndexError):
    sys.exit(__doc__)
