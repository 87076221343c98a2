# SPDX-License-Identifier: Apache-2.0
"""The client comes first: the relay dials the target, tries again, keeps the client's bytes, and takes a gateway that comes instead."""
# Issue: points 3 and 5 (connect time-out). Names are in test_names.py.

from harness.lab import Lab
from harness.peers.target import answer, echo, unused_path
from harness.scale import volume
from harness.stream import Stream
from harness.task import Task
from harness.until import until

KIB = 1024


def test_dials_the_target(lab: Lab) -> None:
    """A client without a waiting gateway is connected to the target."""
    target = lab.target(echo)
    relay = lab.relay(target=target)
    client = lab.client(relay)
    client.send(b"hello")
    assert client.read(5) == b"hello"
    relay.wait_log("dialing", target=target.address)
    relay.wait_log("dialed", addr=target.address)
    assert relay.wait_log("paired", client=client.local)["gateway"] == target.address
    stats = relay.stats()
    assert (stats["dials"], stats["dial_failures"], stats["pairs"]) == (1, 0, 1)


def test_dials_ipv6(lab: Lab) -> None:
    """The target may be `[::1]:PORT`."""
    relay = lab.relay(target=lab.target(echo, host="::1"))
    client = lab.client(relay)
    client.send(b"hello")
    assert client.read(5) == b"hello"


def test_dials_a_unix_socket(lab: Lab) -> None:
    """The target may be `unix:PATH`."""
    relay = lab.relay(target=lab.target(echo, path=unused_path(lab.folder, "target")))
    client = lab.client(relay)
    client.send(b"hello")
    assert client.read(5) == b"hello"
    client.finish()
    assert client.read_all() == b""


def test_waiting_gateway_is_preferred(lab: Lab) -> None:
    """If a gateway waits, nobody is dialled."""
    target = lab.target(echo)
    relay = lab.relay(target=target)
    gateway = lab.gateway(relay)
    relay.wait_log("accepted", peer=gateway.local)
    client = lab.client(relay)
    client.send(b"hello")
    assert gateway.read(5) == b"hello"
    assert relay.stats()["dials"] == 0
    assert target.connections == 0


def test_each_client_gets_its_own_connection(lab: Lab) -> None:
    """Clients one after another, as fast as they can: each is dialled for anew, none is refused."""
    target = lab.target(answer)
    relay = lab.relay(target=target)
    for number in range(50):
        client = lab.client(relay)
        client.send(b"request %d" % number)
        client.finish()
        assert client.read_all() == (b"request %d" % number)[::-1]
        client.close()
    assert target.connections == 50


def test_late_target(lab: Lab) -> None:
    """The target starts after the client: the relay tries until it is there, and delivers what the client has said meanwhile."""
    place = lab.refusing()
    stream = Stream("client")
    relay = lab.relay(target=place, retry_min="10ms", retry_max="50ms").allow("dial-failed")
    client = lab.client(relay)
    client.send_stream(stream, 1_000_000)
    relay.wait_log("dial-failed", count=3)
    relay.wait_stat("queued_bytes", "==", 1_000_000)
    gateway = place.open().accept()
    gateway.read_stream(stream, 1_000_000)
    gateway.send(b"answer")
    assert client.read(6) == b"answer"
    assert relay.wait_log("paired")["queued"] == 1_000_000


def test_retries_back_off(lab: Lab) -> None:
    """Attempts come at growing, jittered distances up to --retry-max, and each failure says whom, why and what next."""
    relay = lab.relay(retry_min="10ms", retry_max="80ms").allow("dial-failed")
    client = lab.client(relay)
    relay.wait_log("dial-failed", count=24)
    failures = relay.find("dial-failed")[:24]
    waits = [line["retry_ms"] for line in failures]
    assert [line["attempt"] for line in failures] == list(range(1, 25))
    assert all("refused" in line["error"].lower() for line in failures)
    assert all(line["target"] == line["addr"] for line in failures)
    assert max(waits) <= 80, waits
    assert waits[0] <= 20, waits
    assert max(waits[6:]) > 20, waits
    assert len(set(waits[6:])) > 3, f"no jitter: {waits}"
    stats = relay.stats()
    assert stats["dial_failures"] >= 24
    client.reset()
    relay.wait_log("session-end", reason="client-reset")
    assert relay.cpu() < 0.5


def test_connect_timeout(lab: Lab) -> None:
    """A target that does not answer is given up after --connect-timeout, and tried again."""
    relay = lab.relay(target=lab.blackhole(), connect_timeout="150ms", retry_min="10ms", retry_max="10ms").allow("dial-failed")
    lab.client(relay)
    line = relay.wait_log("dial-failed", timeout=3)
    assert "time" in line["error"].lower()
    relay.wait_log("dial-failed", count=2, attempt=lambda attempt: attempt >= 1, timeout=3)


def test_egress_queue_is_bounded(lab: Lab) -> None:
    """While the target is down the client is stopped by TCP at --egress-queue-size; nothing is lost when the target comes."""
    place = lab.refusing()
    stream = Stream("client")
    relay = lab.relay(target=place, egress_queue_size="100KiB", retry_min="10ms", retry_max="50ms").allow("dial-failed")
    client = lab.client(relay, sndbuf=100_000)
    sent = client.fill(stream, 1 << 30)
    assert sent < 1 << 30
    assert relay.wait_log("queue-full", role="client")["size"] == 100 * KIB
    assert 98 * KIB <= relay.stats()["queued_bytes"] <= 100 * KIB
    gateway = place.open().accept()
    gateway.read_stream(stream, sent)
    client.finish()
    assert gateway.read_all() == b""


def test_egress_queue_then_stream_in_order(lab: Lab) -> None:
    """The client sends bulk through the moment in which the target comes up."""
    place = lab.refusing()
    total = volume(30_000_000)
    stream = Stream("client")
    relay = lab.relay(target=place, egress_queue_size="512KiB", retry_min="10ms", retry_max="50ms").allow("dial-failed")
    client = lab.client(relay)
    sender = Task(client.send_stream, stream, total)
    relay.wait_log("queue-full", role="client")
    gateway = place.open().accept()
    gateway.read_stream(stream, total)
    sender.result()


def test_gateway_that_comes_meanwhile_is_taken(lab: Lab) -> None:
    """While the target is down a gateway connects by itself: it gets the client and its bytes, and the dialling ends."""
    place = lab.refusing()
    relay = lab.relay(target=place, retry_min="20ms", retry_max="20ms").allow("dial-failed")
    client = lab.client(relay)
    client.send(b"said before")
    relay.wait_log("dial-failed")
    gateway = lab.gateway(relay)
    assert gateway.read(11) == b"said before"
    gateway.send(b"welcome")
    assert client.read(7) == b"welcome"
    dials = relay.stats()["dials"]
    target = place.open(echo)
    assert client.silent(0.2)  # ten times --retry-max
    assert relay.stats()["dials"] == dials
    assert target.connections == 0


def test_gateway_that_comes_during_a_hanging_dial(lab: Lab) -> None:
    """A connection attempt that hangs is dropped for the gateway that comes by itself."""
    relay = lab.relay(target=lab.blackhole(), connect_timeout="1m")
    client = lab.client(relay)
    client.send(b"said before")
    relay.wait_log("dialing")
    sockets = relay.sockets()
    gateway = lab.gateway(relay)
    assert gateway.read(11) == b"said before"
    until(lambda: relay.sockets() == sockets, "the hanging socket closed for the gateway's")


def test_client_resets_during_the_dial(lab: Lab) -> None:
    """A client without a word resets while the relay dials: the attempt is given up, the next client is welcome."""
    place = lab.refusing()
    relay = lab.relay(target=place, retry_min="20ms", retry_max="20ms").allow("dial-failed")
    client = lab.client(relay)
    relay.wait_log("dial-failed")
    client.reset()
    end = relay.wait_log("session-end")
    assert (end["reason"], end["gateway"]) == ("client-reset", "-")
    place.open(echo)
    client = lab.client(relay)
    client.send(b"hello")
    assert client.read(5) == b"hello"


def test_client_half_closes_during_the_dial(lab: Lab) -> None:
    """Request, half-close, and only then the target comes: it gets the request and EOF, and its answer gets back."""
    place = lab.refusing()
    relay = lab.relay(target=place, retry_min="10ms", retry_max="20ms").allow("dial-failed")
    client = lab.client(relay)
    client.send(b"request")
    client.finish()
    relay.wait_log("dial-failed", count=2)
    place.open(answer)
    assert client.read_all() == b"tseuqer"
    assert relay.wait_log("session-end")["reason"] == "client-closed"


def test_client_is_gone_before_the_target_comes(lab: Lab) -> None:
    """A client that has sent, closed and gone: the target gets its bytes all the same, then EOF."""
    place = lab.refusing()
    relay = lab.relay(target=place, retry_min="10ms", retry_max="20ms").allow("dial-failed")
    client = lab.client(relay)
    client.send(b"fire and forget")
    client.close()
    relay.wait_log("dial-failed", count=2)
    gateway = place.open().accept()
    assert gateway.read_all() == b"fire and forget"
    gateway.close()


def test_client_resets_with_bytes_before_the_target_comes(lab: Lab) -> None:
    """A client that has sent and crashed leaves its place to the next at once, and what it had said is reported as lost."""
    place = lab.refusing()
    relay = lab.relay(target=place, retry_min="10ms", retry_max="20ms").allow("dial-failed", "session-end")
    client = lab.client(relay)
    client.send(b"last words")
    relay.wait_stat("queued_bytes", "==", 10)
    client.reset()
    end = relay.wait_log("session-end", timeout=2)
    assert (end["reason"], end["lost_to_gateway"], end.level) == ("client-reset", 10, "warn")
    client = lab.client(relay)
    client.send(b"hello")
    assert place.open().accept().read(5) == b"hello"


def test_client_resets_behind_a_full_queue(lab: Lab) -> None:
    """The same when its queue is full, and the relay reads from it no more."""
    relay = lab.relay(egress_queue_size="64KiB", retry_min="1m", retry_max="1m").allow("dial-failed", "session-end")
    client = lab.client(relay)
    client.fill(Stream("client"), 1 << 28)
    relay.wait_log("queue-full", role="client")
    client.reset()
    assert relay.wait_log("session-end", timeout=2)["reason"] == "client-reset"
    assert relay.stats()["clients"] == 0


def test_client_wait_timeout(lab: Lab) -> None:
    """--wait-timeout: a client for which no gateway is found is ended, and what it had said is reported as lost."""
    relay = lab.relay(wait_timeout="300ms", retry_min="10ms", retry_max="50ms").allow("dial-failed", "session-end")
    client = lab.client(relay)
    client.send(b"anybody?")
    end = relay.wait_log("session-end", timeout=3)
    assert (end["reason"], end.level, end["gateway"], end["lost_to_gateway"]) == ("wait-timeout", "warn", "-", 8)
    assert client.gone() in ("eof", "reset")
    assert relay.stats()["wait_timeouts"] == 1


def test_target_speaks_first(lab: Lab) -> None:
    """A target that greets before the client has said anything is heard."""
    target = lab.target()
    relay = lab.relay(target=target)
    client = lab.client(relay)
    gateway = target.accept()
    gateway.send(b"220 ready")
    assert client.read(9) == b"220 ready"


def test_two_relays_in_one_another(lab: Lab) -> None:
    """The seed's picture: a client, a relay, the other cluster's relay as its target, and the function there."""
    stream, back = Stream("there"), Stream("back")
    far = lab.relay(gateway="127.0.0.1")  # comes from the near relay
    near = lab.relay(target=far.address("gateway"))
    client = lab.client(near)
    sender = Task(client.send_stream, stream, 3_000_000)
    far.wait_log("accepted", role="gateway")
    function = lab.client(far)
    function.read_stream(stream, 3_000_000)
    sender.result()
    sender = Task(function.send_stream, back, 3_000_000)
    client.read_stream(back, 3_000_000)
    sender.result()
    client.finish()
    assert function.read_all() == b""
    function.finish()
    assert client.read_all() == b""
