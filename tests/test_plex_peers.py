# SPDX-License-Identifier: Apache-2.0
"""The plex in front of gRPC libraries that are not grpcio and not ours: gRPC C++ and grpc-go, in processes of their own; and with HAProxy in between.
The tests of grpc-go are skipped where it is not installed (tests/peers/peers.cmake says what it needs)."""

import contextlib
import random
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from harness.lab import Lab
from harness.peers import http2
from harness.peers.target import Target
from harness.peers.upstream_proto import pb
from harness.plex import Ledger, announced, ask, lines, newcomer, trade
from harness.process import Relay, has_tls
from harness.rpc import NativeRpc
from harness.scale import SLOW, volume
from harness.sockets import Peer, connect
from harness.stream import Stream
from harness.task import Task
from harness.tls_world import World
from harness.until import until

LIBRARIES = ("grpc_cpp", "grpc_go")
TROUBLE = ("upstream-lost", "dial-failed", "upstream-not-ready")
CAP = 32 << 10  # bytes of a message, in the test of that


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def plex(lab: Lab, *upstreams: Any, **keys: Any) -> Relay:
    return lab.plex(*upstreams, **{"framing": "line", **keys}).allow(*TROUBLE)


def test_everything_comes_back_in_order(lab: Lab, library: str) -> None:
    """Twenty clients talk at once, as fast as they can: each gets its own bytes back, all of them, in order."""
    upstream = lab.native_upstream(library, features=("EVENTS", "SEQ"))
    relay = plex(lab, upstream, framing="raw", live_interval="50ms")
    clients = [lab.client(relay) for _ in range(20)]
    total = volume(512 << 10)
    tasks = [Task(converse, client, Stream(number), total) for number, client in enumerate(clients)]
    for task in tasks:
        task.result(60)
    upstream.wait_count("lives", 2)
    # Its process says what it has heard by a pipe: the last of that may come after the answer.
    until(lambda: sum(len(message.payload) for message in upstream.messages(event=pb.EVENT_DATA)) == len(clients) * total, "it has recorded all")
    for uuid in upstream.clients():
        seqs = [message.seq for message in upstream.data(uuid)]
        assert seqs == list(range(1, 1 + len(seqs)))
    assert relay.stats()["upstreams_lost"] == 0


def test_behind_haproxy(lab: Lab) -> None:
    """A proxy of HTTP/2 that ends what is silent costs an upstream its stream, and its clients nothing."""
    upstream = lab.upstream(features=("EVENTS", "ACK"), does="echo_ack")
    port = lab.port()
    file = lab.file("haproxy.cfg", f"""\
defaults
  mode http
  timeout connect 5s
  timeout client 1s
  timeout server 1s
frontend front
  bind 127.0.0.1:{port} proto h2
  default_backend back
backend back
  server one {upstream.address} proto h2
""")
    with subprocess.Popen(["haproxy", "-q", "-db", "-f", str(file)]) as haproxy:
        try:
            relay = lab.plex(f"grpc://127.0.0.1:{port}", framing="line", live_interval="100ms").allow(*TROUBLE)
            clients = [lab.client(relay) for _ in range(3)]
            for count in (1, 2):
                for client in clients:
                    trade(client, 100)
                relay.wait_stat("upstreams_lost", ">=", count)
                relay.wait_stat("upstreams", "==", 1)
            trade(clients[0], 100)
            assert relay.stats()["lost_messages"] == 0
        finally:
            haproxy.terminate()


def converse(client: Peer, stream: Stream, total: int, window: int = 64 << 10) -> None:
    for offset in range(0, total, window):
        client.send_stream(stream, window, offset)
        client.read_stream(stream, window, offset)


def test_events_and_commands(lab: Lab, library: str) -> None:
    """What is said of clients, and what is done with them, is the same in every language."""
    upstream = lab.native_upstream(library, does="silent", features=("EVENTS", "DELIVERY_REPORT"))
    relay = plex(lab, upstream)
    one, other = (announced(lab, relay, upstream) for _ in range(2))
    upstream.broadcast(b"to both\n")
    upstream.send(client_uuid=one.uuid, payload=b"to one\n", request_id=7)
    assert one.peer.read(15) == b"to both\nto one\n"
    upstream.wait(event=pb.EVENT_DELIVERY, request_id=7, delivery=pb.DELIVERY_DELIVERED, client_uuid=one.uuid)
    upstream.command(other.uuid, "CLOSE", payload=b"bye\n", reason="enough")
    assert other.peer.read_all() == b"to both\nbye\n"
    other.peer.close()
    upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=other.uuid, close=lambda close: close.details == "enough")
    upstream.send(client_uuids=[one.uuid], labels={"name": "Zoë"}, idle_timeout_ms=600_000)
    upstream.send(group="g", client_uuids=[one.uuid], command=pb.COMMAND_JOIN)
    upstream.send(group="g", payload=b"to the group\n")
    assert one.peer.read(13) == b"to the group\n"
    assert relay.stats()["bad_messages"] == 0


def test_it_is_replaced_in_good_order(lab: Lab, library: str) -> None:
    """GOAWAY: it finishes what it has, its clients get another one, and not a message is lost, though nothing is acknowledged."""
    leaving, staying = lab.native_upstream(library, features=("EVENTS", "SEQ")), lab.native_upstream(library, features=("EVENTS", "SEQ"))
    relay = plex(lab, leaving, staying)
    met = [newcomer(lab, relay, leaving, staying) for _ in range(4)]
    assert {one.upstream for one in met} == {leaving, staying}
    over = threading.Event()
    talking = [Task(talk_until, one.peer, over) for one in met]
    until(lambda: len(leaving.heard) > 200, "they talk")
    leaving.leave_slowly(20)
    leaving.wait_count("left", 1, timeout=20)
    moved = [one for one in met if one.upstream is leaving]
    for one in moved:
        staying.wait(event=pb.EVENT_REHOMED, client_uuid=one.uuid)
    before = len(staying.heard)
    until(lambda: len(staying.heard) > before + 200, "they talk on")
    over.set()
    for task in talking:
        task.result()
    for one in met:
        said = [message.seq for upstream in (leaving, staying) for message in upstream.data(one.uuid)]
        assert said == list(range(1, len(said) + 1))
    assert relay.stats()["lost_messages"] == 0
    relay.wait_log("upstream-left", upstream=leaving.url)
    assert relay.stats()["upstreams_lost"] == 0


def talk_until(peer: Peer, over: threading.Event) -> None:
    """One line at a time, each of which is answered."""
    number = 0
    while not over.is_set():
        said = b"line %d\n" % (number := number + 1)
        peer.send(said)
        assert peer.read(len(said)) == said


def test_kill_9(lab: Lab, library: str) -> None:
    """It is killed again and again in the midst of its work: of all that its clients have said, nothing is lost, nothing is out of order."""
    upstreams = [lab.native_upstream(library, does="ack", features=("EVENTS", "ACK")) for _ in range(2)]
    relay = plex(lab, *upstreams, ack_queue="16KiB")
    ledger, rng, count = Ledger(*upstreams), random.Random(11), volume(3000)
    senders = []
    for _ in range(4):
        peer = lab.client(relay)
        uuid = until(lambda peer=peer: [m.client_uuid for u in upstreams for m in u.messages(event=pb.EVENT_CONNECTED) if m.client.peer == peer.local],
                     "it is announced")[0]
        ledger.said[uuid] = lines(count, rng)
        senders.append(Task(peer.send, b"".join(ledger.said[uuid])))
    for turn in range(4):
        killed = upstreams[turn % 2]
        before = len(killed.heard)
        until(lambda: len(killed.heard) > before + count // 8 or ledger.complete(), "it has work")
        killed.kill()
        relay.wait_stat("upstreams", "==", 1)
        killed.start()
        relay.wait_stat("upstreams", "==", 2)
    for sender in senders:
        sender.result()
    until(ledger.complete, lambda: f"all came: {relay.stats()}", timeout=30)
    ledger.check()
    assert relay.stats()["lost_messages"] == 0


def test_it_hangs(lab: Lab, library: str) -> None:
    """One that is stopped (SIGSTOP) is noticed after live-timeout: its clients go to another one, and come to it again when it goes on."""
    stopped, well = lab.native_upstream(library), lab.native_upstream(library)
    relay = plex(lab, stopped, well, live_interval="100ms", live_timeout="1s", ready_timeout="1s")
    met = [newcomer(lab, relay, stopped, well) for _ in range(4)]
    stopped.pause()
    relay.wait_stat("not_live", ">=", 1)
    for one in met:
        ask(one.peer, b"who is there")
    assert relay.stats()["clients"] == 4
    stopped.resume()
    relay.wait_stat("upstreams", "==", 2)
    until(lambda: newcomer(lab, relay, stopped, well).upstream is stopped, "it gets clients again")


def test_it_is_not_live(lab: Lab, library: str) -> None:
    """One that says that it does not live is left, and asked again."""
    upstream = lab.native_upstream(library)
    relay = plex(lab, upstream, live_interval="50ms")
    one = newcomer(lab, relay, upstream)
    upstream.change(live="no")
    relay.wait_stat("not_live", ">=", 1)
    upstream.change(live="yes")
    relay.wait_stat("upstreams", "==", 1)
    ask(one.peer, b"back")


def test_it_is_stalled(lab: Lab, library: str) -> None:
    """One that reads nothing more holds its client back, at its own windows; the relay stays small, and all of it comes when it reads on."""
    upstream = lab.native_upstream(library, does="silent", features=("EVENTS",))
    relay = plex(lab, upstream, framing="raw")
    one = announced(lab, relay, upstream)
    upstream.stall()
    stream = Stream("held")
    sent = one.peer.fill(stream, volume(60 << 20))
    assert SLOW or sent < 60 << 20
    assert SLOW or relay.memory("VmHWM") < 16 << 20
    upstream.go_on()
    upstream.wait_stream(one.uuid, stream, sent)
    assert relay.stats()["upstreams_lost"] == 0


def test_it_is_restarted(lab: Lab, library: str) -> None:
    """Clients live through its restart; what they say meanwhile waits."""
    upstream = lab.native_upstream(library, features=("EVENTS",))
    relay = plex(lab, upstream)
    met = [newcomer(lab, relay, upstream) for _ in range(3)]
    upstream.kill()
    relay.wait_stat("upstreams", "==", 0)
    for one in met:
        one.peer.send(b"meanwhile\n")
    upstream.start()
    for one in met:
        assert one.peer.read(10) == b"meanwhile\n"
        trade(one.peer, 5)
    assert len(upstream.messages(event=pb.EVENT_REHOMED)) == 3


def test_a_message_over_its_cap(lab: Lab, library: str) -> None:
    """A message that is longer than it takes (it has been given less than max-message) costs it its stream, and no client its connection."""
    upstream = lab.native_upstream(library, options=(("grpc.max_receive_message_length", CAP),))
    relay = plex(lab, upstream, max_message="256KiB", upstream_queue="1MiB")
    big, small = newcomer(lab, relay, upstream), newcomer(lab, relay, upstream)
    under = b"u" * (CAP - 1024) + b"\n"
    big.peer.send(under)
    assert big.peer.read(len(under)) == under
    for turn in range(2):
        big.peer.send(b"o" * (CAP + 1024) + b"\n")
        upstream.wait_count("streams", turn + 2)
        for one in (small, big):
            ask(one.peer, b"still there")
    assert relay.stats()["clients"] == 2
    assert relay.stats()["upstreams_lost"] == 2


def test_a_message_that_it_can_never_take(lab: Lab, library: str) -> None:
    """With acknowledgement such a message comes again and again: the plex takes its time over that, and all is well once its client has gone and
    somebody who takes it has come."""
    upstream = lab.native_upstream(library, does="ack", features=("EVENTS", "ACK"), options=(("grpc.max_receive_message_length", CAP),))
    other = lab.upstream(down=True, does="ack", features=("EVENTS", "ACK"))
    relay = plex(lab, upstream, other, up=1, max_message="256KiB", upstream_queue="1MiB", retry_min="100ms", retry_max="500ms")
    big = lab.client(relay)
    big.send(b"o" * (CAP + 1024) + b"\n")
    began = relay.age()
    upstream.wait_count("streams", 4)
    took = relay.age() - began
    assert relay.stats()["upstreams_lost"] <= 4 + took / 0.05
    other.start()
    other.wait(event=pb.EVENT_DATA, payload=lambda payload: len(payload) > CAP, redelivered=True)
    relay.wait_stat("acked", "==", 1)


# Garbage


class Between(Target):
    """Stands between a plex and its upstream, reads the plex' frames, and puts others among them, where a test wants it."""

    def __init__(self, upstream: Any) -> None:
        self.upstream = upstream
        self.ways: list[Way] = []
        super().__init__(self.pass_on)
        self.url = f"grpc://{self.address}"

    def pass_on(self, peer: Peer) -> None:
        way = Way(peer, connect(self.upstream.address))
        self.ways.append(way)
        way.run()

    def insert(self, make: Callable[[int], bytes]) -> None:
        """make(stream) goes to the upstream behind the next frame of the plex; `stream` is the one that clients' messages are on."""
        until(lambda: self.ways and self.ways[-1].talk, "messages of clients have come")
        way = self.ways[-1]
        with way.lock, contextlib.suppress(OSError):
            way.there.send(make(way.talk))  # it may have had enough before the end


class Way:
    """One connection."""

    def __init__(self, here: Peer, there: Peer) -> None:
        self.here, self.there = here, there
        self.talk = 0
        self.lock = threading.Lock()

    def run(self) -> None:
        for peer in (self.here, self.there):
            peer.sock.settimeout(None)
        back = Task(self.back)
        try:
            self.there.send(self.here.read(len(http2.PREFACE)))
            for frame in http2.Conversation(self.here).frames():
                if frame.kind == http2.DATA and len(frame.payload) > 5:
                    self.talk = frame.stream
                with self.lock:
                    self.there.send(http2.frame(frame.kind, frame.flags, frame.stream, frame.payload))
        except (OSError, AssertionError):
            pass
        finally:
            self.there.sock.shutdown(socket.SHUT_RDWR)
            back.result()
            self.there.close()

    def back(self) -> None:
        try:
            while data := self.there.sock.recv(1 << 16):
                self.here.send(data)
            self.here.finish()
        except OSError:
            pass


GARBAGE = {
    "no message": lambda stream: http2.frame(http2.DATA, 0, stream, http2.grpc_message(b"\xff" * 64)),
    "no UTF-8": lambda stream: http2.frame(http2.DATA, 0, stream, http2.grpc_message(b"\x12\x02\xff\xfe")),
    "cut off": lambda stream: http2.frame(http2.DATA, http2.END_STREAM, stream, http2.grpc_message(b"\x12\x01a")[:-1]),
    "no frame": lambda stream: b"\x00" * 8 + b"\xff" * 64,
    "over its window": lambda stream: http2.frame(http2.DATA, 0, stream, bytes(16384)) * 1000,
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_reaches_it(lab: Lab, library: str, what: str) -> None:
    """When what it has got on the way is garbage, it ends the stream in its own manner, one library with an error, another with OK: the plex opens
    another one, the clients stay, and what they say then is answered."""
    upstream = lab.native_upstream(library)
    between = lab.keep(Between(upstream))
    relay = plex(lab, between, live_interval="200ms", live_timeout="2s")
    met = [newcomer(lab, relay, upstream) for _ in range(3)]
    for turn in range(2):
        streams = upstream.counts["streams"]
        between.insert(GARBAGE[what])
        upstream.wait_count("streams", streams + 1)
        relay.wait_stat("upstreams_lost", ">=", turn + 1)
        for one in met:
            ask(one.peer, b"still there")
    assert relay.stats()["clients"] == 3


# TLS


def identity(world: World, mutual: bool) -> tuple[bytes, bytes, bytes | None]:
    return world.relay.key.read_bytes(), world.relay.cert.read_bytes(), world.ca.cert.read_bytes() if mutual else None


@pytest.mark.skipif(not has_tls(), reason="built without TLS")
@pytest.mark.parametrize("mutual", [False, True], ids=["alone", "mutual"])
def test_tls(lab: Lab, world: World, library: str, mutual: bool) -> None:
    """grpcs:// to it, with a certificate of the plex' own where it asks for one; also behind its restart."""
    upstream = lab.native_upstream(library, tls=identity(world, mutual))
    own = {"cert": world.func.cert, "key": world.func.key} if mutual else {}
    relay = plex(lab, upstream, ca=world.ca.cert, **own)
    one = newcomer(lab, relay, upstream)
    trade(one.peer, 20)
    upstream.kill()
    relay.wait_stat("upstreams", "==", 0)
    upstream.start()
    relay.wait_stat("upstreams", "==", 1)
    trade(one.peer, 20)


@pytest.mark.skipif(not has_tls(), reason="built without TLS")
def test_tls_without_a_certificate(lab: Lab, world: World, library: str) -> None:
    """Who asks for a certificate and gets none does not let the plex in: clients wait, and nothing of theirs is said."""
    upstream = lab.native_upstream(library, tls=identity(world, True))
    relay = plex(lab, upstream, up=0, ca=world.ca.cert)
    lab.client(relay).send(b"secret\n")
    until(lambda: sum(relay.stats()[name] for name in ("dial_failures", "not_ready", "upstreams_lost")) >= 2, "it has failed twice")
    assert relay.stats()["upstreams"] == 0
    assert not upstream.heard


@pytest.fixture
def cpp() -> Iterator[Callable[[Relay], NativeRpc]]:
    """A program that controls a plex by gRPC C++."""
    with contextlib.ExitStack() as made:
        yield lambda relay: made.enter_context(contextlib.closing(NativeRpc(relay)))


@pytest.mark.parametrize("admin", ["unix", "tcp"])
def test_control(lab: Lab, cpp: Any, admin: str) -> None:
    """All that may be asked of a plex, in one conversation over one connection, and refusals in between."""
    upstream, other = lab.upstream(), lab.upstream()
    relay = lab.plex(upstream, up=1, **({"admin": "tcp:127.0.0.1:0"} if admin == "tcp" else {}))
    rpc = cpp(relay)
    one = newcomer(lab, relay, upstream)
    state = rpc.call("Get", client_uuid=one.uuid)
    assert (state.client_uuid, state.peer, state.upstream) == (one.uuid, one.peer.local, upstream.url)
    assert [client.client_uuid for client in rpc.call("List").clients] == [one.uuid]
    assert [up.upstream for up in rpc.call("Upstreams").upstreams] == [upstream.url]
    assert rpc.fails("Get", client_uuid=str(uuid4()))[0] == "NOT_FOUND"
    if admin == "tcp":  # without a token it only shows
        for method, fields in (("Send", {"client_uuid": one.uuid}), ("Broadcast", {}), ("Close", {"client_uuid": one.uuid}), ("AddUpstream", {"url": other.url})):
            assert rpc.fails(method, **fields)[0] == "PERMISSION_DENIED"
        trade(one.peer, 2)
        return
    code, why = rpc.fails("Send", client_uuid=one.uuid, command=77)
    assert code == "INVALID_ARGUMENT" and why.startswith("command: ")
    total = 60_000  # nearly as long as a request may be
    assert rpc.call("Send", client_uuid=one.uuid, payload=Stream(7).at(0, total)).sent == 1
    one.peer.read_stream(Stream(7), total)
    assert rpc.call("Broadcast", payload=b"all").under_way
    assert one.peer.read(3) == b"all"
    assert len(rpc.call("AddUpstream", url=other.url).upstreams) == 2
    relay.wait_stat("upstreams", "==", 2)
    assert "leaving" in [up.state for up in rpc.call("RemoveUpstream", url=other.url).upstreams]
    until(lambda: len(rpc.call("Upstreams").upstreams) == 1, "it has left")
    assert rpc.call("Close", client_uuid=one.uuid, payload=b"bye").sent == 1
    assert one.peer.read_all() == b"bye"


def test_control_watches(lab: Lab, cpp: Any) -> None:
    """It hears of each of many who come and go at once, while it asks for other things; and again after it has gone."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    rpc = cpp(relay)
    rpc.watch()
    count = volume(500)
    clients = [lab.client(relay) for _ in range(count)]
    rpc.wait("CONNECTED", count=count)
    assert len(rpc.call("List", most=1000).clients) == count
    for client in clients:
        client.reset()
    rpc.wait("DISCONNECTED", count=count)
    came, gone = ([event.client_uuid for event in rpc.named(kind)] for kind in ("CONNECTED", "DISCONNECTED"))
    assert len(set(came)) == count and sorted(came) == sorted(gone)
    assert rpc.cancel() == 1, "CANCELLED"
    relay.wait_stat("watchers", "==", 0)
    assert not rpc.call("List").clients
