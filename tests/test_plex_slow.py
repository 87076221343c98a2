# SPDX-License-Identifier: Apache-2.0
"""Who does not take what is sent to it, upstream or client: it holds up nobody else, and the relay stays small."""

import signal
import time
from typing import Any

import pytest

from harness.lab import Lab
from harness.peers.upstream_proto import pb
from harness.plex import announced, newcomer, trade
from harness.process import Relay
from harness.scale import SLOW, seconds, volume
from harness.stream import Stream
from harness.task import Task
from harness.until import until

MUCH = volume(60 << 20)
CALM = (("grpc.http2.bdp_probe", 0),)  # windows that do not grow


def small(relay: Relay) -> None:
    """A sanitizer keeps what was freed."""
    assert SLOW or relay.memory("VmHWM") < 16 << 20, f"{relay.memory('VmHWM')} bytes at its highest"


# Upstreams


def test_a_stalled_upstream(lab: Lab) -> None:
    """A program that reads no more stops the reading of its own clients, and of no others; when it reads on nothing of theirs is missing."""
    stalled, well = lab.upstream(does="silent", options=CALM), lab.upstream()
    relay = lab.plex(stalled, well)
    met = [newcomer(lab, relay, stalled, well) for _ in range(4)]
    ours = [one for one in met if one.upstream is stalled]
    others = [one for one in met if one.upstream is well]
    begun = {one.uuid: len(stalled.payload(one.uuid)) for one in ours}
    stalled.stall()
    sent = {one.uuid: one.peer.fill(Stream(one.uuid), MUCH) for one in ours}
    assert SLOW or all(count < MUCH for count in sent.values())
    for one in others:
        trade(one.peer, 20)
    small(relay)
    assert SLOW or relay.stats()["upstream_queue_full"] >= 1
    stalled.go_on()
    for one in ours:
        got = stalled.wait_bytes(one.uuid, begun[one.uuid] + sent[one.uuid], timeout=60)
        assert not Stream(one.uuid).mismatch(got[begun[one.uuid] :])
    small(relay)


def test_a_stopped_upstream(lab: Lab) -> None:
    """The same of a program that the machine has stopped: it takes nothing at all, until it goes on."""
    stopped, well = lab.upstream_process(does="silent", options=CALM), lab.upstream()
    relay = lab.plex(stopped, well, live_timeout="10m")
    met = [newcomer(lab, relay, stopped, well) for _ in range(4)]
    stopped.pause()
    sent = {}
    for one in met:
        if one.upstream is stopped:
            sent[one.uuid] = one.peer.fill(Stream(one.uuid), MUCH), len(stopped.payload(one.uuid))
            assert SLOW or sent[one.uuid][0] < MUCH
    for one in met:
        if one.upstream is well:
            trade(one.peer, 20)
    small(relay)
    stopped.resume()
    for uuid, (count, before) in sent.items():
        assert not Stream(uuid).mismatch(stopped.wait_bytes(uuid, before + count, timeout=60)[before:])
    for one in met:
        if one.upstream is well:
            trade(one.peer, 3)


def test_one_loud_client(lab: Lab) -> None:
    """A client that pushes as much as it can does not keep another one of the same program from being heard, nor the relay from staying small."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    loud, soft = lab.client(relay), lab.client(relay)
    stream = Stream("loud")
    writer, reader = Task(loud.send_stream, stream, MUCH), Task(loud.read_stream, stream, MUCH)
    said = 0
    while not reader.done():
        trade(soft, 1)
        said += 1
    writer.result()
    reader.result()
    assert said >= 3
    small(relay)


class Lines(Stream):
    """Lines of 1,000 bytes."""

    def at(self, offset: int, length: int) -> bytes:
        line = str(self.key).encode() * 999
        whole = (line[:999] + b"\n") * (length // 1000 + 2)
        return whole[offset % 1000 : offset % 1000 + length]


def wait_roomless(relay: Relay, count: int) -> None:
    until(lambda: [one["state"] for one in relay.relay_status()["connections"]].count("no-room") == count, f"{count} wait for room")


@pytest.mark.parametrize("length", [5, 700_000], ids=["little", "more than half of the queue"])
def test_many_loud_clients_and_a_soft_one(lab: Lab, length: int) -> None:
    """When an upstream has room again, none of those who have waited for it takes more than a share of it before all others had theirs."""
    upstream = lab.upstream(does="silent", options=CALM)
    relay = lab.plex(upstream, framing="line", upstream_queue="1MiB", max_message="800KiB").allow("messages-lost")
    loud = [newcomer(lab, relay, upstream).peer for _ in range(6)]
    soft = newcomer(lab, relay, upstream)
    upstream.stall()
    for number, peer in enumerate(loud):
        assert peer.fill(Lines(number), MUCH) < MUCH
    wait_roomless(relay, len(loud))
    before = relay.stats()["messages_in"]
    line = b"s" * (length - 1) + b"\n"
    sending = Task(soft.peer.send, line)
    wait_roomless(relay, len(loud) + 1)
    assert relay.stats()["messages_in"] == before
    upstream.go_on()
    upstream.wait(payload=line, timeout=60)
    place = next(at for at, message in enumerate(upstream.data()) if message.payload == line)
    assert place - before < len(loud) * 12
    sending.result()


def test_new_clients_of_a_stalled_upstream(lab: Lab) -> None:
    """While the only program reads nothing clients may come and go; what they say arrives when it reads on."""
    upstream = lab.upstream(does="silent", options=CALM)
    relay = lab.plex(upstream).allow("messages-lost")
    one = newcomer(lab, relay, upstream)
    upstream.stall()
    one.peer.fill(Stream("full"), MUCH)
    late = [lab.client(relay) for _ in range(20)]
    for number, client in enumerate(late):
        client.send(b"late %d." % number)
    for client in late[:5]:
        client.reset()
    trade_none = lab.client(relay)
    relay.wait_stat("clients", "<=", 17)
    upstream.go_on()
    for number in range(5, 20):
        upstream.wait(payload=b"late %d." % number, timeout=60)
    trade_none.send(b"heard?")
    upstream.wait(payload=b"heard?")
    small(relay)


# Clients


@pytest.mark.parametrize("how", ["pause", "disconnect"])
def test_a_stalled_client(lab: Lab, how: str) -> None:
    """A client that takes nothing is ended when its queue is full; the stream goes on for all others all the time."""
    upstream = lab.upstream(does="silent", features=("EVENTS",))
    relay = lab.plex(upstream, slow_client=how)
    stalled, well = announced(lab, relay, upstream), announced(lab, relay, upstream)
    stream, piece = Stream("much"), 65_536
    for number in range(MUCH // piece):
        upstream.send(client_uuid=stalled.uuid, payload=stream.at(number * piece, piece))
        if number % 16 == 0:
            upstream.send(client_uuid=well.uuid, payload=b"%06d" % number)
            assert well.peer.read(6) == b"%06d" % number
    if not SLOW:
        message = upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=stalled.uuid)
        assert message.close.reason == pb.CLOSE_SLOW
        assert relay.stats()["slow_clients"] == 1
        assert relay.stats()["dropped_messages"] + relay.stats()["unknown_clients"] >= 1
        got, _ = stalled.peer.read_end()
        assert not stream.mismatch(got), "what it got is the beginning"
    small(relay)


def test_many_stalled_clients(lab: Lab) -> None:
    """Dozens that take nothing cost no more than their queues, and a broadcast reaches all the others."""
    upstream = lab.upstream(does="silent", features=("EVENTS",))
    relay = lab.plex(upstream, client_queue="64KiB")
    stalled = [announced(lab, relay, upstream, rcvbuf=4096) for _ in range(40)]
    well = [announced(lab, relay, upstream) for _ in range(3)]
    stream, piece = Stream("all"), 16_384
    for number in range(volume(400)):
        upstream.broadcast(stream.at(number * piece, piece))
        if number % 8 == 7:
            for one in well:
                one.peer.read_stream(stream, 8 * piece, offset=(number - 7) * piece)
    if not SLOW:
        relay.wait_stat("slow_clients", "==", len(stalled))
    small(relay)


def test_a_client_that_talks_and_does_not_listen(lab: Lab) -> None:
    """A client that pushes and reads none of its answers is held back, not ended: when it reads, all of them are there."""
    upstream = lab.upstream(options=CALM)
    relay = lab.plex(upstream, client_queue="8MiB", upstream_queue="128KiB", max_message="4KiB")
    client, other = lab.client(relay), lab.client(relay)
    stream = Stream("deaf")
    sent = client.fill(stream, MUCH, quiet=1)
    assert SLOW or sent < MUCH
    trade(other, 10)
    assert relay.stats()["slow_clients"] == 0
    client.read_stream(stream, sent)
    small(relay)
    trade(client, 3)


def test_who_does_not_listen_is_idle(lab: Lab) -> None:
    """A client that is not read because it takes nothing is ended by idle-timeout, though it has said something that waits."""
    upstream = lab.upstream(does="silent")
    relay = lab.plex(upstream, idle_timeout="2s", client_queue="64MiB")
    one = newcomer(lab, relay, upstream)
    for _ in range(16):
        upstream.send(client_uuid=one.uuid, payload=b"x" * (2 << 20))
    until(lambda: relay.relay_status()["connections"][0]["state"] == "slow", "it is slow")
    one.peer.send(b"I talk and do not listen")
    relay.wait_stat("idle_timeouts", "==", 1)


def test_much_to_a_client(lab: Lab) -> None:
    """60 MB go to a client that takes them as they come, and the relay stays small."""
    upstream = lab.upstream(does="silent")
    relay = lab.plex(upstream, client_queue="2MiB")
    one = newcomer(lab, relay, upstream)
    stream, piece = Stream("down"), 1 << 16
    turn = 16 * piece
    for start in range(0, MUCH, turn):
        for offset in range(start, start + turn, piece):
            upstream.send(client_uuid=one.uuid, payload=stream.at(offset, piece))
        one.peer.read_stream(stream, turn, offset=start)
    small(relay)
    assert relay.stats()["bytes_out"] >= MUCH


def test_one_large_message(lab: Lab) -> None:
    """A message that is longer than client-queue reaches a client that takes it, when it is the only one that waits."""
    upstream = lab.upstream(does="silent")
    relay = lab.plex(upstream, client_queue="4KiB", max_upstream_message="32MiB")
    one = newcomer(lab, relay, upstream)
    stream, size = Stream("large"), 24 << 20
    for turn in range(2):
        upstream.send(client_uuid=one.uuid, payload=stream.at(turn * size, size))
        one.peer.read_stream(stream, size, offset=turn * size)
    upstream.send(client_uuid=one.uuid, payload=stream.at(0, size))
    upstream.send(client_uuid=one.uuid, payload=b"too much")
    relay.wait_stat("slow_clients", "==", 1)


def test_much_from_a_client(lab: Lab) -> None:
    """60 MB come from a client, faster than the program takes them, and the relay stays small."""
    upstream = lab.upstream(does="silent")
    relay = lab.plex(upstream)
    one = newcomer(lab, relay, upstream)
    before = len(upstream.payload(one.uuid))
    stream = Stream("up")
    Task(one.peer.send_stream, stream, MUCH).result(timeout=60)
    got = upstream.wait_bytes(one.uuid, before + MUCH, timeout=60)
    assert not stream.mismatch(got[before:])
    small(relay)


def test_a_close_that_waits_for_a_slow_client(lab: Lab) -> None:
    """COMMAND_CLOSE behind much that was sent: a client that is slow, but takes it, gets all of it."""
    upstream = lab.upstream(does="silent")
    relay = lab.plex(upstream, client_queue="4MiB")
    one = newcomer(lab, relay, upstream, rcvbuf=4096)
    stream, total = Stream("tail"), 2 << 20
    for offset in range(0, total, 1 << 16):
        upstream.send(client_uuid=one.uuid, payload=stream.at(offset, 1 << 16))
    upstream.command(one.uuid, "CLOSE")
    assert one.peer.silent(seconds(0.01)) is False
    one.peer.read_stream(stream, total)
    assert one.peer.read_all() == b""
    until(lambda: relay.stats()["clients"] == 0, "it is gone")


def fill(relay: Relay, upstream: Any, uuid: str, size: int) -> None:
    """Sends this client as much as its kernel takes, and one message more."""
    sent = relay.stats()["messages_out"]
    while not relay.admin("GET", f"/relays/plex-0/clients/{uuid}").json()["queued"]:
        upstream.send(client_uuid=uuid, payload=b"x" * size)
        relay.wait_stat("messages_out", "==", sent := sent + 1)


@pytest.mark.parametrize("then", ["resets", "reads"])
def test_reports_of_a_slow_client(lab: Lab, then: str) -> None:
    """A client that does not read owes its program thousands of reports, which all come when it goes, or reads: the program is not given up for that."""
    upstream = lab.upstream_process(does="silent", features=("EVENTS", "DELIVERY_REPORT"))
    relay = lab.plex(upstream, clients=100)
    one, other = (announced(lab, relay, upstream) for _ in range(2))
    fill(relay, upstream, one.uuid, 100_000)
    count = 8000
    for number in range(count):
        upstream.send(client_uuid=one.uuid, payload=b"m%05d" % number, request_id=number + 1)
    upstream.send(client_uuid=other.uuid, payload=b"behind them")
    assert other.peer.read(11) == b"behind them"
    if then == "resets":
        one.peer.reset()
    else:
        last = b"m%05d" % (count - 1)
        got = b""
        while not got.endswith(last):
            got = got[-len(last) :] + one.peer.read(1)
    what = pb.DELIVERY_CLOSED if then == "resets" else pb.DELIVERY_DELIVERED
    reports = upstream.wait(event=pb.EVENT_DELIVERY, client_uuid=one.uuid, count=count)
    assert {message.request_id for message in upstream.messages(event=pb.EVENT_DELIVERY, delivery=what)} == set(range(1, count + 1)), reports
    assert relay.stats()["upstreams_lost"] == 0


def test_reports_count_in_the_queue(lab: Lab) -> None:
    """A report that waits takes of client-queue: who has too many of them is ended as any slow client, and all are told."""
    upstream = lab.upstream_process(does="silent", features=("EVENTS", "DELIVERY_REPORT"))
    relay = lab.plex(upstream, client_queue="256KiB", slow_client="disconnect")
    one = announced(lab, relay, upstream)
    fill(relay, upstream, one.uuid, 20_000)
    count = 12_000  # of which the bytes would have room
    for number in range(count):
        upstream.send(client_uuid=one.uuid, payload=b"m%05d" % number, request_id=number + 1)
    upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid, close=lambda close: close.reason == pb.CLOSE_SLOW, timeout=60)
    upstream.wait(event=pb.EVENT_DELIVERY, count=count)
    assert {message.request_id for message in upstream.messages(event=pb.EVENT_DELIVERY)} == set(range(1, count + 1))
    assert relay.stats()["slow_clients"] == relay.stats()["client_queue_full"] == 1


def test_a_longer_queue_by_a_reload(lab: Lab) -> None:
    """client-queue may be raised while something waits for a client: it holds so much from then on."""
    upstream = lab.upstream(does="silent", features=("EVENTS",))
    text = '[[relay]]\nkind = "plex"\nname = "plex"\nlisten = "tcp://127.0.0.1:0"\nupstream = ["%s"]\n' % upstream.url
    relay = lab.run(text)
    relay.wait_stat("upstreams", "==", 1)
    one = announced(lab, relay, upstream)
    upstream.send(client_uuid=one.uuid, labels={"kept": "for its label"})
    upstream.send(client_uuid=one.uuid, payload=b"x")
    assert one.peer.read(1) == b"x"
    lab.file("relay.toml", text + 'client-queue = "64MiB"\n')
    assert relay.reload().status == 200
    count, piece = 160, bytes(100_000)
    for _ in range(count):
        upstream.send(client_uuid=one.uuid, payload=piece)
    relay.wait_stat("messages_out", "==", count + 1)
    assert one.peer.read(count * len(piece)) == piece * count
    assert relay.stats()["slow_clients"] == 0


@pytest.mark.parametrize("end", ["close", "drain"])
def test_who_reads_slowly_gets_it_all(lab: Lab, end: str) -> None:
    """A client that is told its end while much waits for it, and that takes a little now and then, has all of it, however long that is."""
    upstream = lab.upstream(does="silent", features=("EVENTS", "DELIVERY_REPORT"))
    relay = lab.plex(upstream, half_close_timeout="1s", drain_timeout="60s", client_queue="16MiB")
    one = announced(lab, relay, upstream)
    pieces = [bytes([65 + number]) * 65536 for number in range(128)]
    for piece in pieces:
        upstream.send(client_uuid=one.uuid, payload=piece)
    relay.wait_stat("messages_out", "==", len(pieces))
    if end == "close":
        upstream.send(client_uuid=one.uuid, command=pb.COMMAND_CLOSE)
    else:
        relay.signal(signal.SIGTERM)
    said = b""
    whole = b"".join(pieces)
    for _ in range(20):
        said += one.peer.read(40_000)
        due = time.monotonic() + 0.25
        until(lambda due=due: time.monotonic() >= due, "it takes its time")
    said += one.peer.read(len(whole) - len(said))
    assert said == whole
    assert one.peer.read_end() == (b"", "eof")
    if end == "drain":
        one.peer.close()
        relay.wait_exit()
