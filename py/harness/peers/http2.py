# SPDX-License-Identifier: Apache-2.0
"""An upstream that lies: HTTP/2 frames (RFC 9113) by hand, just enough to be taken for a gRPC server up to a certain point.

    lab.liar(talk=reset_stream)      is ready and alive as it should be, and then does this with the bidirectional stream
    lab.liar(ready=http_503)         does it when it is asked whether it is ready
    lab.liar(hello=garbage)          does it instead of speaking HTTP/2

A fault is a function of a Conversation and a stream's number (0 for `hello`). Nothing that it raises matters: the connection stays as it was left,
until the test ends, or the fault has closed it.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from harness.peers.target import Target
from harness.peers.upstream_proto import SERVICE, pb
from harness.sockets import Peer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 0x20
PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, REFUSED_STREAM, CANCEL = 1, 2, 3, 7, 8
# The letters of HPACK's Huffman code (RFC 7541, appendix B) that have short codes: their length, the first code, the letters in order.
SHORT = ((5, 0x0, "012aceiost"), (6, 0x14, " %-./3456789=A_bdfghlmnpru"), (7, 0x5C, ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"))
CODES = {letter: (length, first + i) for length, first, letters in SHORT for i, letter in enumerate(letters)}


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def header_block(fields: dict[str, str]) -> bytes:
    """Each field literally, and not to be remembered."""

    def text(value: str) -> bytes:
        assert len(value) < 127
        return bytes([len(value)]) + value.encode()

    return b"".join(b"\0" + text(name) + text(value) for name, value in fields.items())


def grpc_message(message: bytes, compressed: int = 0, length: int | None = None) -> bytes:
    return bytes([compressed]) + (len(message) if length is None else length).to_bytes(4, "big") + message


def huffman(text: str) -> bytes:
    bits = "".join(format(code, f"0{length}b") for length, code in (CODES[letter] for letter in text))
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


PATHS = {way: (f"/{SERVICE}/{way}".encode(), huffman(f"/{SERVICE}/{way}")) for way in ("ready", "live", "bidirectionalStreaming")}


@dataclass
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes


class Conversation:
    """One connection, from its preface on."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def say(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        self.peer.send(frame(kind, flags, stream, payload))

    def headers(self, stream: int, fields: dict[str, str], end: bool = False) -> None:
        self.say(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, header_block(fields))

    def begin(self, stream: int) -> None:
        """A response's headers."""
        self.headers(stream, {":status": "200", "content-type": "application/grpc"})

    def message(self, stream: int, message: Any) -> None:
        self.say(DATA, 0, stream, grpc_message(message.SerializeToString()))

    def finish(self, stream: int, status: int = 0) -> None:
        self.headers(stream, {"grpc-status": str(status)}, end=True)

    def frames(self) -> Iterator[Frame]:
        while True:
            head = self.peer.read(9)
            yield Frame(head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, self.peer.read(int.from_bytes(head[:3], "big")))


Fault = Callable[[Conversation, int], None]


class Liar(Target):
    """`heard`: all of the frames that came, in order; `lies`: how often a fault was done."""

    def __init__(self, *, hello: Fault | None = None, ready: Fault | None = None, live: Fault | None = None, talk: Fault | None = None) -> None:
        self.faults = {"ready": ready, "live": live, "bidirectionalStreaming": talk}
        self.hello = hello
        self.heard: list[Frame] = []
        self.lies = 0
        super().__init__(self.converse)
        self.url = f"grpc://{self.address}"

    def lie(self, fault: Fault, conversation: Conversation, stream: int) -> None:
        self.transcript.append(f"{self.address}: {fault.__name__} on stream {stream}")
        self.lies += 1
        fault(conversation, stream)

    def converse(self, peer: Peer) -> None:
        peer.sock.settimeout(None)
        conversation = Conversation(peer)
        if self.hello is not None:
            self.lie(self.hello, conversation, 0)
            while peer.sock.recv(1 << 16):
                pass
            return
        assert peer.read(len(PREFACE)) == PREFACE
        conversation.say(SETTINGS, 0, 0)
        ways: dict[int, str] = {}
        for one in conversation.frames():
            self.heard.append(one)
            if one.kind == SETTINGS and not one.flags & ACK:
                conversation.say(SETTINGS, ACK, 0)
            elif one.kind == PING and not one.flags & ACK:
                conversation.say(PING, ACK, 0, one.payload)
            elif one.kind == HEADERS:
                way = next((name for name, spelt in PATHS.items() if any(each in one.payload for each in spelt)), "")
                ways[one.stream] = way
                self.transcript.append(f"{self.address}: stream {one.stream}: {way or one.payload!r}")
                fault = self.faults.get(way)
                if fault is not None:
                    self.lie(fault, conversation, one.stream)
                elif way == "ready":
                    conversation.begin(one.stream)
                    conversation.message(one.stream, pb.ReadyResult(ready=True))
                    conversation.finish(one.stream)
                else:
                    conversation.begin(one.stream)
            elif one.kind == DATA:
                if one.payload:
                    grown = struct.pack(">I", len(one.payload))
                    conversation.say(WINDOW_UPDATE, 0, 0, grown)
                    if not one.flags & END_STREAM:
                        conversation.say(WINDOW_UPDATE, 0, one.stream, grown)
                if ways.get(one.stream) == "live" and one.payload and self.faults["live"] is None:
                    conversation.message(one.stream, pb.LiveResult(live=True))

    # A thread is in recv() on each of them.
    def reset_peers(self) -> None:
        for peer in self.peers:
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


# Faults


def garbage(talk: Conversation, stream: int) -> None:
    """No HTTP/2 at all."""
    talk.peer.send(b"220 mail.example ESMTP ready\r\n" * 3)


def http1(talk: Conversation, stream: int) -> None:
    """An old web server's answer."""
    talk.peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def wrong_content_type(talk: Conversation, stream: int) -> None:
    talk.headers(stream, {":status": "200", "content-type": "text/html"})
    talk.say(DATA, END_STREAM, stream, b"<html>It works!</html>")


def http_503(talk: Conversation, stream: int) -> None:
    talk.headers(stream, {":status": "503"}, end=True)


def trailers_only(talk: Conversation, stream: int) -> None:
    """An error without a beginning: UNAVAILABLE."""
    talk.headers(stream, {":status": "200", "content-type": "application/grpc", "grpc-status": "14", "grpc-message": "go%20away"}, end=True)


def no_trailers(talk: Conversation, stream: int) -> None:
    """A stream that ends without saying how."""
    talk.begin(stream)
    talk.say(DATA, END_STREAM, stream)


def compressed(talk: Conversation, stream: int) -> None:
    """A message that says that it is compressed, which nobody has asked for."""
    talk.begin(stream)
    talk.say(DATA, 0, stream, grpc_message(b"\x12\x00", compressed=1))


def bad_flag(talk: Conversation, stream: int) -> None:
    talk.begin(stream)
    talk.say(DATA, 0, stream, grpc_message(b"", compressed=7))


def too_long(talk: Conversation, stream: int) -> None:
    """A message of nearly 4 GiB is announced."""
    talk.begin(stream)
    talk.say(DATA, 0, stream, grpc_message(b"x" * 100, length=0xFFFFFFF0))


def no_protobuf(talk: Conversation, stream: int) -> None:
    """A message that is none."""
    talk.begin(stream)
    talk.say(DATA, 0, stream, grpc_message(b"\xff\xff\xff\xff\xff\xff"))


def cut_off(talk: Conversation, stream: int) -> None:
    """The connection ends within a DATA frame."""
    talk.begin(stream)
    talk.peer.send(frame(DATA, 0, stream, grpc_message(bytes(50)))[:20])
    talk.peer.finish()


def reset_connection(talk: Conversation, stream: int) -> None:
    talk.begin(stream)
    talk.peer.reset()


def reset_stream(talk: Conversation, stream: int) -> None:
    talk.begin(stream)
    talk.say(RST_STREAM, 0, stream, struct.pack(">I", INTERNAL_ERROR))


def refused_stream(talk: Conversation, stream: int) -> None:
    talk.say(RST_STREAM, 0, stream, struct.pack(">I", REFUSED_STREAM))


def goaway_and_silence(talk: Conversation, stream: int) -> None:
    """No new streams, it says, none of the old either, and nothing more."""
    talk.say(GOAWAY, 0, 0, struct.pack(">II", 0, 0) + b"enough")
    while talk.peer.sock.recv(1 << 16):
        pass


def goaway_with_error(talk: Conversation, stream: int) -> None:
    talk.begin(stream)
    talk.say(GOAWAY, 0, 0, struct.pack(">II", stream, PROTOCOL_ERROR) + b"what was that")
    talk.peer.finish()


def bad_frame(talk: Conversation, stream: int) -> None:
    """DATA of stream 0, which RFC 9113 forbids."""
    talk.begin(stream)
    talk.say(DATA, 0, 0, b"x")


def bad_window(talk: Conversation, stream: int) -> None:
    """A window that grows by nothing, and over its edge."""
    talk.begin(stream)
    talk.say(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF))
    talk.say(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF))


def huge_headers(talk: Conversation, stream: int) -> None:
    """Headers without an end."""
    talk.say(HEADERS, 0, stream, header_block({":status": "200"}))
    for number in range(2000):
        talk.say(CONTINUATION, 0, stream, header_block({f"x-{number}": "y" * 100}) * 10)


def flood_of_settings(talk: Conversation, stream: int) -> None:
    """Settings again and again, each of which wants an answer."""
    for _ in range(20_000):
        talk.say(SETTINGS, 0, 0)


def bad_hpack(talk: Conversation, stream: int) -> None:
    """Headers that nobody can read: an entry of a table that has none."""
    talk.say(HEADERS, END_HEADERS, stream, b"\xff\xff\xff\xff\x0f")


def silence(talk: Conversation, stream: int) -> None:
    """Says nothing, not even that it has heard."""
