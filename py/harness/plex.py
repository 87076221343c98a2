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


class Ledger:
    """What each client has said, message by message, and what upstreams that acknowledge have heard of it."""

    def __init__(self, *upstreams: Any) -> None:
        self.upstreams = upstreams
        self.said: dict[str, list[bytes]] = {}
        self.cut: set[str] = set()  # who has reset: the end of what it said may be lost

    def heard(self, uuid: str) -> list[Any]:
        """All of them, as they came: upstreams have one clock."""
        found = [one for upstream in self.upstreams for one in upstream.heard if one.message.client_uuid == uuid and one.message.event == pb.EVENT_DATA]
        return [one.message for one in sorted(found, key=lambda one: one.at)]

    def complete(self) -> bool:
        return all(len({message.seq for message in self.heard(uuid)}) >= len(said) for uuid, said in self.said.items() if uuid not in self.cut)

    def check(self) -> int:
        """Everything came, each as it was said; the first time in order; again only where it says so. How often that was."""
        again = 0
        for uuid, said in self.said.items():
            seen = 0
            for message in self.heard(uuid):
                assert 1 <= message.seq <= len(said), message
                assert message.payload == said[message.seq - 1], f"{uuid}: number {message.seq} is {message.payload!r}"
                if message.seq <= seen:
                    assert message.redelivered, f"{uuid}: number {message.seq} came again, unsaid"
                    again += 1
                else:
                    assert message.seq == seen + 1, f"{uuid}: number {message.seq} came behind {seen}"
                    seen = message.seq
            assert seen == len(said) or uuid in self.cut, f"{uuid}: {seen} of {len(said)} came"
        return again

    def check_dealt_out(self, losses: int) -> None:
        """The same of messages that are dealt out (balance = round-robin): together upstreams have all, each once but for those that are marked; and each for
        itself has them in order, but that with each loss of an upstream comes what that one has left."""
        for uuid, said in self.said.items():
            numbers: set[int] = set()
            for message in self.heard(uuid):
                assert 1 <= message.seq <= len(said), message
                assert message.payload == said[message.seq - 1], f"{uuid}: number {message.seq} is {message.payload!r}"
                assert message.seq not in numbers or message.redelivered, f"{uuid}: number {message.seq} came again, unsaid"
                numbers.add(message.seq)
            assert len(numbers) == len(said) or uuid in self.cut, f"{uuid}: {len(numbers)} of {len(said)} came"
            for upstream in self.upstreams:
                heard = [message.seq for message in upstream.data(uuid)]
                back = sum(one >= other for one, other in zip(heard, heard[1:]))
                assert back <= losses, f"{uuid}: {upstream} has heard {heard}, and {losses} were lost"
