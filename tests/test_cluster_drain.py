# SPDX-License-Identifier: Apache-2.0
"""SIGTERM: no one new, everything accepted is delivered, exit 0 within --drain-timeout; a second one ends at once."""
# Issue: point 6.

import signal
import time

import pytest

from harness.lab import Lab
from harness.peers.target import echo
from harness.process import Relay
from harness.scale import seconds, volume
from harness.sockets import connect
from harness.stream import Stream
from harness.task import Task


def drain(relay: Relay, number: int = signal.SIGTERM) -> float:
    """Sends the signal and waits until the relay says that it drains; the time of the signal."""
    start = time.monotonic()
    relay.signal(number)
    relay.wait_log("draining")
    return start


def wait_end(relay: Relay, since: float) -> float:
    """Waits for exit 0 and all that goes with it; seconds since the signal."""
    relay.check_exit()
    return time.monotonic() - since


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_idle_relay_ends_at_once(lab: Lab, number: int) -> None:
    """A relay without work ends in a moment, with exit code 0, and says so to systemd and to the log."""
    relay = lab.relay()
    start = drain(relay, number)
    assert wait_end(relay, start) < seconds(1)
    assert relay.find("draining")[0]["timeout_ms"] == 10_000
    assert relay.lines[-1].event == "stopped"


def test_no_one_new_is_let_in(lab: Lab) -> None:
    """While a pair talks on, the port is closed to everybody else."""
    relay = lab.relay()
    client, gateway = lab.pair(relay)
    drain(relay)
    client.send(b"going on")
    assert gateway.read(8) == b"going on"
    with pytest.raises(ConnectionRefusedError):
        connect(relay.address("client"), "127.0.0.4")
    gateway.send(b"to the end")
    assert client.read(10) == b"to the end"
    client.finish()
    assert gateway.read_all() == b""
    gateway.finish()
    assert client.read_all() == b""
    relay.check_exit()
    assert relay.find("session-end")[0]["reason"] == "client-closed"


def test_transfer_under_way_is_completed(lab: Lab) -> None:
    """SIGTERM in the middle of a large transfer: every byte arrives, in order, and then the relay ends."""
    total = volume(80_000_000)
    stream = Stream("gateway")
    relay = lab.relay(drain_timeout="30s")
    client, gateway = lab.pair(relay)

    def send() -> None:
        gateway.send_stream(stream, total)
        gateway.finish()

    sender = Task(send)
    client.read_stream(stream, total // 4)
    start = drain(relay)
    client.read_stream(stream, total - total // 4, total // 4)
    assert client.read_all() == b""
    sender.result()
    client.finish()
    assert wait_end(relay, start) < seconds(20)
    assert relay.find("session-end")[0]["to_client"] == total


def test_quiet_pair_is_closed_after_a_second(lab: Lab) -> None:
    """A pair with nothing to say does not keep the relay: after a second's silence it is closed, both sides see it."""
    relay = lab.relay()
    client, gateway = lab.pair(relay)
    client.send(b"x")
    assert gateway.read(1) == b"x"
    start = drain(relay)
    assert client.gone() in ("eof", "reset")
    assert gateway.gone() in ("eof", "reset")
    took = wait_end(relay, start)
    assert 0.5 < took < seconds(3)
    assert relay.find("session-end")[0]["reason"] == "drained"


def test_queue_is_delivered_to_a_client_that_comes_during_the_drain(lab: Lab) -> None:
    """A gateway's bytes wait for their client: it is still let in, gets them all, and then the relay ends."""
    stream = Stream("gateway")
    relay = lab.relay(drain_timeout="20s")
    gateway = lab.gateway(relay)
    gateway.send_stream(stream, 500_000)
    gateway.finish()
    relay.wait_stat("queued_bytes", "==", 500_000)
    start = drain(relay)
    client = lab.client(relay)
    client.read_stream(stream, 500_000)
    assert client.read_all() == b""
    client.send(b"answer")
    client.finish()
    assert gateway.read_all() == b"answer"
    assert wait_end(relay, start) < seconds(5)
    assert relay.find("session-end")[0].get("lost_to_client", 0) == 0


def test_only_as_many_clients_as_queues_are_let_in(lab: Lab) -> None:
    """During the drain no client is dialled for, and no gateway is let in."""
    relay = lab.relay(pairs=3, target=lab.target(echo)).allow("refused")
    gateway = lab.gateway(relay)
    gateway.send(b"kept")
    relay.wait_stat("queued_bytes", "==", 4)
    drain(relay)
    second = lab.gateway(relay)
    assert second.gone() in ("eof", "reset")
    relay.wait_log("refused", role="gateway", reason="draining", peer=second.local)
    client = lab.client(relay)
    assert client.read(4) == b"kept"
    with pytest.raises((ConnectionRefusedError, ConnectionResetError, BrokenPipeError)):
        late = lab.client(relay)
        while True:
            late.send(b"too late")
            late.hung_up(within=1)
    gateway.finish(), client.finish()
    relay.check_exit()
    assert relay.find("stats") == [] or relay.find("stats")[-1]["dials"] == 0
    assert not relay.find("dialing")


def test_waiting_gateway_without_bytes_is_let_go(lab: Lab) -> None:
    """A gateway that waits and has said nothing has nothing to deliver: it is closed, and the relay ends at once."""
    relay = lab.relay()
    gateway = lab.gateway(relay)
    relay.wait_log("accepted", peer=gateway.local)
    start = drain(relay)
    assert gateway.gone() in ("eof", "reset")
    assert wait_end(relay, start) < seconds(3)


def test_client_waiting_for_its_target_is_still_served(lab: Lab) -> None:
    """A client whose bytes wait for a target that is down was accepted: the dialling goes on, and they are delivered."""
    place = lab.refusing()
    relay = lab.relay(target=place, retry_min="20ms", retry_max="50ms", drain_timeout="20s").allow("dial-failed")
    client = lab.client(relay)
    client.send(b"deliver me")
    client.finish()
    relay.wait_stat("queued_bytes", "==", 10)
    start = drain(relay)
    gateway = place.open().accept()
    assert gateway.read_all() == b"deliver me"
    gateway.finish()
    assert client.read_all() == b""
    assert wait_end(relay, start) < seconds(5)


def test_drain_timeout(lab: Lab) -> None:
    """What cannot be delivered within --drain-timeout is given up, and the loss is said: who, and how much."""
    relay = lab.relay(drain_timeout="700ms").allow("session-end")
    client, gateway = lab.pair(relay)
    gateway.fill(Stream("gateway"), 1 << 30)
    start = drain(relay)
    took = wait_end(relay, start)
    assert 0.69 <= took < seconds(2)
    end = relay.find("session-end")[0]
    assert (end["reason"], end.level) == ("drain-timeout", "warn")
    assert end["lost_to_client"] > 0
    assert client.gone() in ("eof", "reset")


def test_queue_that_nobody_fetches(lab: Lab) -> None:
    """A gateway's queue that no client fetches within --drain-timeout is lost, and the log says how much."""
    relay = lab.relay(drain_timeout="500ms").allow("session-end")
    gateway = lab.gateway(relay)
    gateway.send(b"anybody?")
    relay.wait_stat("queued_bytes", "==", 8)
    start = drain(relay)
    assert 0.49 <= wait_end(relay, start) < seconds(2)
    end = relay.find("session-end")[0]
    assert (end["reason"], end["lost_to_client"], end["client"]) == ("drain-timeout", 8, "-")


def test_second_signal_ends_at_once(lab: Lab) -> None:
    """A second SIGTERM waits for nothing: exit 0 in a moment, and the loss is said."""
    relay = lab.relay(drain_timeout="1m").allow("session-end")
    client, gateway = lab.pair(relay)
    gateway.fill(Stream("gateway"), 1 << 30)
    drain(relay)
    client.send(b"x" * 10)
    assert gateway.read(10) == b"x" * 10
    start = time.monotonic()
    relay.signal(signal.SIGTERM)
    assert wait_end(relay, start) < seconds(1)
    end = relay.find("session-end")[0]
    assert (end["reason"], end.level) == ("terminated", "warn")
    assert end["lost_to_client"] > 0


def test_drain_with_a_full_queue_and_a_slow_client(lab: Lab) -> None:
    """A full queue drains through a client that reads little by little."""
    stream = Stream("gateway")
    relay = lab.relay(queue_size="1MiB", drain_timeout="30s")
    gateway = lab.gateway(relay)
    sent = gateway.fill(stream, 1 << 30)
    gateway.finish()
    client = lab.client(relay, rcvbuf=16_000)
    client.read_stream(stream, 10_000)
    start = drain(relay)
    for offset in range(10_000, sent, 50_000):
        client.read_stream(stream, min(50_000, sent - offset), offset)
    assert client.read_all() == b""
    client.finish()
    assert wait_end(relay, start) < seconds(20)


def test_several_relays_drain_together(lab: Lab) -> None:
    """`relay run` with two relays: the idle one does not end the busy one."""
    target = lab.target(echo)
    relay = lab.run(
        f"""
        log-level = "debug"
        drain-timeout = "10s"
        [[relay]]
        name = "idle"
        listen = "127.0.0.1"
        port = 0
        target = "{target.address}"
        [[relay]]
        name = "busy"
        listen = "127.0.0.1"
        port = 0
        gateway = "127.0.0.2"
        target = "{target.address}"
        """
    )
    client = lab.add(connect(relay.address("client", "busy"), "127.0.0.3"))
    client.send(b"before")
    assert client.read(6) == b"before"
    drain(relay)
    client.send(b"during")
    assert client.read(6) == b"during"
    client.finish()
    assert client.read_all() == b""
    relay.check_exit()
    assert len(relay.find("listening")) == 2


def test_client_of_a_gateway_that_has_gone(lab: Lab) -> None:
    """A client that has had all that a crashed gateway left, and stays, does not hold up the end for --drain-timeout."""
    relay = lab.relay(drain_timeout="20s")
    lab.survivor(relay)
    relay.signal(signal.SIGTERM)
    assert relay.wait_log("session-end", timeout=5)["reason"] == "drained"
    relay.check_exit()
