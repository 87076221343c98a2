# SPDX-License-Identifier: Apache-2.0
"""Clients of a plex, and the names that it gives them."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.lab import Lab
from harness.peers.grpc_server import DEEDS
from harness.peers.upstream_proto import pb
from harness.process import Relay
from harness.scale import seconds
from harness.sockets import Peer
from harness.until import Overdue, until

COUNT = itertools.count(1)
ANSWERING = ("echo", "echo_ack", "accept")
assert set(ANSWERING) <= set(DEEDS)


@dataclass
class Met:
    """A client that one of the upstreams knows."""

    peer: Peer
    uuid: str
    upstream: Any


def meet(peer: Peer, *upstreams: Any) -> Met:
    """Finds out which upstream has this client, by a line that nobody else says; the answer to it has been read."""
    word = f"this is number {next(COUNT)}\n".encode()
    peer.send(word)

    def found() -> Met | None:
        for upstream in upstreams:
            for message in upstream.data():
                if word in message.payload:
                    return Met(peer, message.client_uuid, upstream)
        return None

    met = until(found, f"{peer.name} is heard of by an upstream")
    if met.upstream.manner.does in ANSWERING:
        assert peer.read(len(word)) == word
    return met


def newcomer(lab: Lab, relay: Relay, *upstreams: Any, **how: Any) -> Met:
    return meet(lab.client(relay, **how), *upstreams)


def announced(lab: Lab, relay: Relay, upstream: Any, **how: Any) -> Met:
    """A new client that has said nothing, of an upstream that hears of events."""
    peer = lab.client(relay, **how)
    message = upstream.wait(event=pb.EVENT_CONNECTED, client=lambda info: info.peer == peer.local)
    return Met(peer, message.client_uuid, upstream)


def trade(peer: Peer, count: int, width: int = 16, between: Callable[[int], None] | None = None) -> None:
    """`count` numbered lines there and back, one at a time."""
    for number in range(count):
        line = f"{number:0{width}d}\n".encode()
        peer.send(line)
        assert peer.read(len(line)) == line
        if between is not None:
            between(number)


def ask(peer: Peer, word: bytes) -> None:
    """Says something, until somebody answers just that: what is said to an upstream that is going may be lost with it."""
    for number in range(1000):
        said = b"%s %d\n" % (word, number)
        peer.send(said)
        while not peer.silent(seconds(0.3)):
            line = b""
            while not line.endswith(b"\n"):
                line += peer.read(1)
            if line == said:
                return
    raise Overdue(f"{peer.name}: nobody has answered {word!r}")


def lines(count: int, rng: random.Random, longest: int = 100) -> list[bytes]:
    """Lines of any bytes but LF; the first word of each is its number."""
    return [b"%d " % number + rng.randbytes(rng.randrange(longest)).replace(b"\n", b"") + b"\n" for number in range(count)]
