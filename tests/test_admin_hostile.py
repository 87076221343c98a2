# SPDX-License-Identifier: Apache-2.0
"""The admin socket and those who have no business there: garbage, floods, the slow and the stalled."""

import http.client
import threading
import time

import pytest

from harness.admin import AdminClient, Dialogue, ask, raw, request, say, wait_for
from harness.lab import Lab
from harness.peers.target import echo
from harness.process import Relay
from harness.relays import several
from harness.scale import SLOW, seconds, volume
from harness.sockets import Peer
from harness.task import Task
from harness.until import until

GARBAGE = {
    "binary": bytes(range(256)) * 20, "nothing but zeros": b"\0" * 5000, "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
    "bad version": b"GET /status HTTP/9.9\r\n\r\n", "redis": b"*1\r\n$4\r\nPING\r\n",
    "bad method": b"GRAB /status HTTP/1.1\r\n\r\n", "bad length": b"POST /drain HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"POST /drain HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "length and chunks": b"POST /drain HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": b"POST /drain HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "long length": b"POST /drain HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "space in name": b"GET /status HTTP/1.1\r\nHo st: x\r\n\r\n", "control in value": b"GET /status HTTP/1.1\r\nX: a\x01b\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage(lab: Lab, data: bytes) -> None:
    """What is no HTTP is answered with 400 and closed, and nobody else notices."""
    relay = lab.relay()
    client, gateway = lab.pair(relay)
    peer = say(relay.admin_place, data)
    said, _ = peer.read_end()
    assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n"), said
    client.send(b"traffic")
    assert gateway.read(7) == b"traffic"
    assert relay.status()["state"] == "running"
    peer.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /status HTTP/1.1\r\n" + b"X: " + b"y" * 9000 + b"\r\n\r\n", 431),
        (b"GET /status HTTP/1.1\r\n" + b"".join(b"X%d: yyyyyyyy\r\n" % i for i in range(1000)) + b"\r\n", 431),
        (b"GET /status HTTP/1.1\r\n" + b"x" * 9000, 431),
        (b"POST /log-level HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"z" * 100_000, 413),
        (b"POST /log-level HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"z" * 1024 + b"\r\n", 200),
    ],
    ids=["target", "header", "headers", "name", "body", "chunks"],
)
def test_oversized(lab: Lab, data: bytes, status: int) -> None:
    """A head of more than 8 KiB, or a body of more than 64 KiB, is refused by its number and not kept."""
    relay = lab.relay()
    peer = Peer(raw(relay.admin_place))
    if status == 200:  # without end
        head, _, chunk = data.partition(b"\r\n\r\n")
        data, status = head + b"\r\n\r\n" + chunk * 100, 413
    try:
        peer.send(data)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it did not wait for the rest
    said, _ = peer.read_end()
    assert said.startswith(f"HTTP/1.1 {status} ".encode()), said
    peer.close()


def test_slow_request_is_ended(lab: Lab) -> None:
    """A request that comes byte by byte for ever is ended after ten seconds with 408, and costs the traffic nothing."""
    relay = lab.relay()
    client, gateway = lab.pair(relay)
    ask(relay.admin_place, "GET", "/healthz")
    idle = Dialogue(relay.admin_place)  # who has said nothing may stay for a minute
    slow = [Peer(raw(relay.admin_place)) for _ in range(20)]
    start = time.monotonic()
    data = request("/healthz", "GET", "X-Padding: " + "x" * 5000)
    sent = 0

    def drip() -> bool:
        nonlocal sent
        for peer in slow:
            try:
                peer.send(data[sent : sent + 1])
            except (BrokenPipeError, ConnectionResetError):
                return True
        sent += 1
        client.send(b"traffic")
        assert gateway.read(7) == b"traffic"
        return time.monotonic() - start > seconds(20)

    until(drip, "the end of the slow ones", timeout=25)
    took = time.monotonic() - start
    assert 9 < took < 13 + seconds(1), took
    for peer in slow:
        said, _ = peer.read_end()
        assert said.startswith(b"HTTP/1.1 408 Request Timeout\r\n"), said
        peer.close()
    assert idle.peer.silent(0)
    idle.send(request("/healthz"))
    assert idle.answer().text() == "ok\n"
    idle.close()


def test_limit_of_connections(lab: Lab) -> None:
    """At the limit an idle connection makes room for the next; if none is idle the newcomer is closed, and the log says so."""
    relay = lab.relay(admin_connections=4).allow("admin-busy")
    first = relay.sockets()
    idle = [Peer(raw(relay.admin_place), f"idle {i}") for i in range(4)]  # one of them takes the place of the harness's own
    for _ in range(3):
        assert ask(relay.admin_place, "GET", "/healthz").status == 200
    gone = [peer for peer in idle if not peer.silent(0)]
    assert idle[0] in gone or idle[0].gone() == "eof"
    for peer in idle:
        peer.close()
    busy = [say(relay.admin_place, request(wait_for("clients", ">=", 1, "1h"))) for _ in range(4)]
    until(lambda: relay.sockets() == first + 3, "four who wait")
    for _ in range(3):
        relay.signal_stats()  # some turns later their requests have been read
    newcomer = Peer(raw(relay.admin_place))
    assert newcomer.gone() in ("eof", "reset")
    assert (line := relay.wait_log("admin-busy"))["connections"] == 4 and line["refused"] == 1
    newcomer.close()
    for peer in busy:
        assert peer.silent(0)
        peer.close()
    until(lambda: ask_ok(relay), "room again")


def ask_ok(relay: Relay) -> bool:
    try:
        return ask(relay.admin_place, "GET", "/healthz").status == 200
    except (ConnectionError, http.client.HTTPException):
        return False


def test_flood_of_connections(lab: Lab) -> None:
    """A thousand connections at once: the relay holds no more than its limit, traffic goes on, and who asks properly is served."""
    relay = lab.relay(admin="tcp:127.0.0.1:0").allow("admin-busy")
    first = relay.first_sockets()
    client, gateway = lab.pair(relay)
    flood = []
    for i in range(volume(1000)):
        flood.append(Peer(raw(relay.admin_place)))
        if i % 3 == 0:
            try:
                flood[-1].send(b"GET /st")  # begun: these make no room
            except (BrokenPipeError, ConnectionResetError):
                pass
        if i % 50 == 0:
            client.send(b"traffic")
            assert gateway.read(7) == b"traffic"
    until(lambda: relay.sockets() <= first + 2 + 64, "no more than the limit")
    busy = relay.find("admin-busy")
    assert (0 if SLOW else 1) <= len(busy) <= 2 + int(relay.age()), "the flood must not fill the log"
    for peer in flood:
        peer.reset()
    until(lambda: ask_ok(relay), "service again")


def test_half_closed_client(lab: Lab) -> None:
    """A client that has said all it wants to say (shutdown) still gets its pages, short and long, and all that it asked for."""
    relay = lab.start("run", "-c", str(lab.file("relay.toml", several(300, "127.0.0.1:9"))), "--log-level", "warn")
    for targets in (["/healthz"], ["/status"], ["/metrics", "/healthz", "/status"]):
        peer = Dialogue(relay.admin_place, b"".join(request(target) for target in targets))
        peer.peer.finish()
        for target in targets:
            assert peer.answer().status == 200, target
        peer.end()


def test_reset_in_the_middle(lab: Lab) -> None:
    """Clients that go in the middle of a request or an answer leave nothing behind."""
    relay = lab.start("run", "-c", str(lab.file("relay.toml", several(100, "127.0.0.1:9"))), "--admin", "tcp:127.0.0.1:0")
    before = relay.sockets()
    for data in (b"", b"GET /sta", request("/status"), request("/metrics") * 10, request(wait_for("clients", ">=", 1)), request("/reload", "POST")):
        for after in (0, 1):
            peer = say(relay.admin_place, data)
            if after and b"GET /sta" != data and b"/wait" not in data and data:
                peer.read(1)
            peer.reset()
    until(lambda: relay.sockets() == before, "nothing left over")
    assert relay.admin("GET", "/healthz").status == 200


def test_no_descriptor_for_one_more(lab: Lab) -> None:
    """At the limit of descriptors the admin socket rests like any other, says so, and comes back."""
    relay = lab.relay().allow("accept-paused")
    relay.limit_descriptors(relay.descriptors())
    peer = Dialogue(relay.admin_place, request("/healthz"))
    assert relay.wait_log("accept-paused", relay="admin")["error"] == "Too many open files"
    relay.limit_descriptors(1000)
    assert peer.answer().text() == "ok\n"
    relay.wait_log("accept-resumed", relay="admin")
    peer.close()


def test_memory_comes_back(lab: Lab) -> None:
    """Thousands of requests leave the relay as small as it was."""
    relay = lab.run(several(20, "127.0.0.1:9"))
    for _ in range(50):
        relay.status(), relay.admin("GET", "/metrics")
    before = relay.memory()
    clients = [AdminClient(relay.admin_place) for _ in range(20)]
    for _ in range(volume(100)):
        for client in clients:
            assert client.ask("GET", "/status").status == 200
            assert client.ask("GET", "/metrics").status == 200
    for client in clients:
        client.close()
    if not SLOW:
        assert relay.memory() - before < 1 << 20


def test_admin_does_not_hold_up_traffic(lab: Lab) -> None:
    """While four clients ask for everything as fast as they can, an echo through the relay stays quick."""
    relay = lab.start("run", "-c", str(lab.file("relay.toml", several(volume(300), lab.target(echo).address, gateway="127.0.0.2"))), "--log-level", "warn")
    client = lab.at(relay.relay_status("r0")["listening"][0]["addr"])
    stop = threading.Event()

    def greedy() -> int:
        admin, count = AdminClient(relay.admin_place), 0
        while not stop.is_set():
            assert admin.ask("GET", "/metrics").status == 200
            count += 1
        admin.close()
        return count

    workers = [Task(greedy) for _ in range(4)]
    times = []
    try:
        for _ in range(200):
            start = time.monotonic()
            client.send(b"ping")
            assert client.read(4) == b"ping"
            times.append(time.monotonic() - start)
    finally:
        stop.set()
    assert sum(worker.result() for worker in workers) >= 4
    assert sorted(times)[len(times) // 2] < seconds(0.1), times


def test_much_behind_a_question_that_waits(lab: Lab) -> None:
    """Who pipelines more than is read behind a question that goes on, and leaves, does not stay for ever."""
    relay = lab.plex(lab.upstream())
    peers = [say(relay.admin_place, b"GET /relays/plex-0/watch HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 40_000) for _ in range(16)]
    for peer in peers:
        peer.read_end()
    relay.wait_stat("watchers", "==", 0)


def test_strangers_in_the_middle_of_a_request(lab: Lab) -> None:
    """With a token, who has not shown it, and is slow, keeps nobody out who has it."""
    relay = lab.plex(lab.upstream(), admin="tcp:127.0.0.1:0", admin_token_file=str(lab.file("token", "hush")), token="hush")
    strangers = [say(relay.admin_place, b"G") for _ in range(100)]
    for _ in range(20):
        assert ask(relay.admin_place, "GET", "/status", {"Authorization": "Bearer hush"}).status == 200
    assert strangers
