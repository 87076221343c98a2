# SPDX-License-Identifier: Apache-2.0
"""Very many clients at one plex: as many as one process has descriptors for, up to 15,000."""

import resource

from harness.crowd import Crowd
from harness.lab import Lab
from harness.peers.upstream_proto import pb
from harness.plex import meet, trade
from harness.process import Relay
from harness.scale import SLOW, volume
from harness.stream import Stream
from harness.until import until

MANY = 15_000
SPARE = 500  # descriptors for what is not a client
CLIENT = 1024  # bytes of the relay's own memory for each, at most, with all that allocation costs
LINE = 64  # bytes
ROUNDS = 10
MUCH = 200_000  # bytes for who does not read: more than its kernel takes, less than its queue


def possible() -> int:
    """Fewer where `ulimit -Hn` is lower, and with a sanitizer, whose memory is not ours to count; what is asserted goes with it."""
    most = min(volume(MANY), resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE)
    if most < MANY:
        print(f"{most} clients instead of {MANY}")
    return most


def crowd(lab: Lab, relay: Relay, clients: int) -> Crowd:
    one = lab.keep(Crowd("hold", relay, source="127.0.0.4", clients=clients, size=LINE))  # whose ports nobody else wants
    assert one.answer()["open"] == clients
    return one


def test_a_crowd(lab: Lab) -> None:
    """Fifteen thousand come, each gets its own answer; what is said to all reaches all, in order, each once, though one of them takes nothing; all go,
    and nothing of them is left."""
    clients = possible()
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream, clients=clients + 2, framing="line", half_close_timeout="1s", client_queue="1MiB", log_level="info")
    other = meet(lab.client(relay), upstream)
    slow = meet(lab.client(relay, rcvbuf=4096), upstream)
    before, descriptors = relay.memory(), relay.descriptors()
    many = crowd(lab, relay, clients)
    relay.wait_stat("clients", "==", clients + 2, timeout=30)
    assert relay.descriptors() == descriptors + clients
    until(lambda: len(upstream.messages(event=pb.EVENT_CONNECTED)) == clients + 2, "all are announced", timeout=60)
    assert many.ask("echo") | {"at_ns": 0} == {"echoed": clients, "wrong": 0, "gone": 0, "at_ns": 0}
    assert SLOW or relay.memory() - before < clients * CLIENT
    trade(other.peer, 3)

    much = Stream("much")
    upstream.send(client_uuid=slow.uuid, payload=much.at(0, MUCH))
    said = [(b"B %d 0" % number).ljust(LINE - 1) + b"\n" for number in range(1, ROUNDS + 1)]
    for text in said:
        upstream.broadcast(text)
    assert many.ask(f"expect {ROUNDS}") | {"at_ns": 0} == {"heard": clients, "wrong": 0, "gone": 0, "at_ns": 0}
    assert other.peer.read(ROUNDS * LINE) == b"".join(said)
    trade(other.peer, 3)
    assert many.ask("echo") | {"at_ns": 0} == {"echoed": clients, "wrong": 0, "gone": 0, "at_ns": 0}  # and nothing was said to any of them twice
    slow.peer.read_stream(much, MUCH)
    assert slow.peer.read(ROUNDS * LINE) == b"".join(said)

    assert many.ask("close", timeout=120)["closed"] == clients
    relay.wait_stat("clients", "==", 2, timeout=30)
    assert SLOW or relay.memory() - before < clients * CLIENT, "what an end takes, for all of them at once"
    until(lambda: relay.descriptors() == descriptors, lambda: f"{relay.descriptors()} descriptors, {descriptors} before", timeout=10)
    until(lambda: len(upstream.messages(event=pb.EVENT_DISCONNECTED)) == clients, "all are said to have gone", timeout=60)
    stats = relay.stats()
    assert (stats["lost_messages"], stats["dropped_messages"], stats["slow_clients"], stats["upstreams_lost"]) == (0, 0, 0, 0)
