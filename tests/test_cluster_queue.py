# SPDX-License-Identifier: Apache-2.0
"""The gateway comes first: its bytes wait for the client, in order, bounded, and nothing is dropped."""
# Issue: points 2 and 4 (a gateway that goes before the client comes).

import pytest

from harness.lab import Lab
from harness.scale import volume
from harness.stream import Stream
from harness.task import Task

KIB = 1024
DEFAULT_BOUND = 6400 * KIB


def test_bytes_wait_for_the_client(lab: Lab) -> None:
    """What a gateway sends before the client comes is there when it comes, and what follows follows."""
    relay = lab.relay()
    gateway = lab.gateway(relay)
    gateway.send(b"one,")
    gateway.send(b"two,")
    relay.wait_stat("queued_bytes", "==", 8)
    client = lab.client(relay)
    assert client.read(8) == b"one,two,"
    gateway.send(b"three")
    assert client.read(5) == b"three"
    client.send(b"answer")
    assert gateway.read(6) == b"answer"
    assert relay.wait_log("paired", client=client.local, gateway=gateway.local)["queued"] == 8
    assert relay.stats()["dials"] == 0


def test_queue_then_stream_in_order(lab: Lab) -> None:
    """A full queue, then bulk right behind it: the client gets every byte once and in order."""
    total = volume(40_000_000)
    stream = Stream("gateway")
    relay = lab.relay(queue_size="1MiB")
    gateway = lab.gateway(relay)
    sender = Task(gateway.send_stream, stream, total)
    relay.wait_log("queue-full", role="gateway")
    client = lab.client(relay)
    client.read_stream(stream, total)
    sender.result()
    gateway.finish(), client.finish()
    assert client.read_all() == b""
    end = relay.wait_log("session-end")
    assert (end["to_client"], end["queued_max"]) == (total, 1024 * KIB)


@pytest.mark.parametrize("size", ["64KiB", "100000", None], ids=["64KiB", "odd", "default"])
def test_full_queue_stops_reading_and_drops_nothing(lab: Lab, size: str | None) -> None:
    """The queue holds no more than --queue-size; then the gateway is stopped by TCP itself, and nothing is lost."""
    bound = {"64KiB": 64 * KIB, "100000": 100_000, None: DEFAULT_BOUND}[size]
    stream = Stream("gateway")
    relay = lab.relay(queue_size=size)
    gateway = lab.gateway(relay, sndbuf=100_000)
    sent = gateway.fill(stream, 1 << 30)
    assert sent < 1 << 30, "a gateway was never stopped"
    line = relay.wait_log("queue-full", role="gateway")
    assert line["size"] == bound
    stats = relay.stats()
    assert bound * 0.98 <= stats["queued_bytes"] <= bound
    assert stats["queue_full"] == 1
    client = lab.client(relay)
    client.read_stream(stream, sent)
    gateway.finish()
    assert client.read_all() == b""
    assert len(relay.find("queue-full")) == 1, "said once a session and direction"


def test_each_waiting_gateway_has_its_own_bound(lab: Lab) -> None:
    """One gateway's full queue takes nothing from the next one's."""
    relay = lab.relay(pairs=2, queue_size="64KiB")
    streams = [Stream("first"), Stream("second")]
    gateways, sent = [], []
    for number, stream in enumerate(streams):
        gateway = lab.gateway(relay)
        gateways.append(gateway)
        sent.append(gateway.fill(stream, 1 << 28))
        relay.wait_log("queue-full", count=number + 1)
    assert relay.stats()["queued_bytes"] > 1.9 * 64 * KIB
    for gateway, stream, amount in zip(gateways, streams, sent, strict=True):
        client = lab.client(relay)
        client.read_stream(stream, amount)
        gateway.finish()
        assert client.read_all() == b""


@pytest.mark.parametrize("size", [1, 1000, 300_000, 6_000_000])
def test_gateway_half_closes_before_the_client_comes(lab: Lab, size: int) -> None:
    """A gateway that has sent its request and half-closed: the client gets it all, then EOF, and its answer still arrives."""
    stream = Stream("gateway")
    relay = lab.relay()
    gateway = lab.gateway(relay)
    gateway.send_stream(stream, size)
    gateway.finish()
    relay.wait_stat("queued_bytes", "==", size)
    client = lab.client(relay)
    client.read_stream(stream, size)
    assert client.read_all() == b""
    client.send(b"the answer")
    client.finish()
    assert gateway.read_all() == b"the answer"
    end = relay.wait_log("session-end")
    assert (end["reason"], end["to_client"], end["to_gateway"]) == ("gateway-closed", size, 10)


def test_gateway_is_gone_before_the_client_comes(lab: Lab) -> None:
    """A gateway that has sent, closed and gone: its bytes are delivered all the same, then EOF."""
    stream = Stream("gateway")
    relay = lab.relay()
    gateway = lab.gateway(relay)
    gateway.send_stream(stream, 200_000)
    gateway.close()
    relay.wait_stat("queued_bytes", "==", 200_000)
    client = lab.client(relay)
    client.read_stream(stream, 200_000)
    assert client.read_all() == b""
    client.finish()
    assert relay.wait_log("session-end")["to_client"] == 200_000


@pytest.mark.parametrize("size", [1, 200_000, 6_000_000])
def test_gateway_resets_before_the_client_comes(lab: Lab, size: int) -> None:
    """A gateway that has sent and then crashed: the client gets every byte that had arrived, then the end; what it answers is lost."""
    stream = Stream("gateway")
    relay = lab.relay().allow("session-end")  # the answer is lost
    gateway = lab.gateway(relay)
    gateway.send_stream(stream, size)
    relay.wait_stat("queued_bytes", "==", size)
    gateway.reset()
    client = lab.client(relay, rcvbuf=20_000)
    data = client.read_all()
    assert len(data) == size
    assert stream.mismatch(data) == ""
    client.send(b"answer")
    client.hung_up(within=1)
    end = relay.wait_log("session-end")
    assert (end["reason"], end["to_client"], end.get("lost_to_client", 0)) == ("gateway-reset", size, 0)
    assert end["lost_to_gateway"] == 6


def test_gateway_resets_and_the_client_has_no_answer(lab: Lab) -> None:
    """A gateway that has sent and then crashed: a client that reads and closes is served in order, and nothing is lost."""
    relay = lab.relay()
    lab.survivor(relay).finish()
    end = relay.wait_log("session-end")
    assert (end.level, end["reason"], end["to_client"]) == ("info", "gateway-reset", 10)


def test_gateway_resets_and_the_client_stays_silent(lab: Lab) -> None:
    """A gateway that has crashed does not keep a silent client's place for ever: --half-close-timeout."""
    relay = lab.relay(half_close_timeout="300ms")
    lab.survivor(relay)
    assert relay.wait_log("session-end", timeout=3)["reason"] == "half-close-timeout"


def test_health_check_keeps_nobody_out(lab: Lab) -> None:
    """A gateway's health check that connects and closes without a byte gives way to the gateway."""
    relay = lab.relay()
    check = lab.gateway(relay)
    check.finish()
    relay.wait_log("accepted", peer=check.local)
    gateway = lab.gateway(relay)
    gateway.send(b"hello")
    assert relay.wait_log("session-end")["reason"] == "replaced"
    assert lab.client(relay).read(5) == b"hello"


def test_gateway_resets_without_a_byte(lab: Lab) -> None:
    """A gateway that resets before it has said anything just goes, and leaves its place to the next."""
    relay = lab.relay()
    lab.gateway(relay).reset()
    assert relay.wait_log("session-end")["reason"] == "gateway-reset"
    gateway = lab.gateway(relay)
    gateway.send(b"hello")
    assert lab.client(relay).read(5) == b"hello"


def test_gateway_finishes_then_resets_without_a_byte(lab: Lab) -> None:
    """A waiting gateway that half-closes and then crashes, having said nothing, leaves its place to the next at once."""
    relay = lab.relay()
    gateway = lab.gateway(relay)
    gateway.finish()
    relay.wait_log("accepted", peer=gateway.local)
    gateway.reset()
    assert relay.wait_log("session-end", timeout=3)["reason"] == "gateway-reset"


def test_gateway_finishes_without_a_byte(lab: Lab) -> None:
    """A gateway that half-closes before it has said anything may still get an answer; after --half-close-timeout it is ended."""
    relay = lab.relay(half_close_timeout="300ms")
    gateway = lab.gateway(relay)
    gateway.finish()
    relay.wait_log("accepted", peer=gateway.local)
    client = lab.client(relay)
    assert client.read_all() == b""
    client.send(b"answer")
    client.finish()
    assert gateway.read_all() == b"answer"

    gateway = lab.gateway(relay)
    gateway.finish()
    end = relay.wait_log("session-end", gateway=gateway.local, timeout=3)
    assert end["reason"] == "half-close-timeout"
    assert 300 <= end["duration_ms"]
    assert gateway.gone() in ("eof", "reset")
    assert relay.stats()["half_close_timeouts"] == 1


def test_finished_gateway_with_bytes_is_kept(lab: Lab) -> None:
    """The half-close limit is not for a gateway whose bytes still wait for their client."""
    relay = lab.relay(pairs=2, half_close_timeout="200ms")
    kept = lab.gateway(relay)
    kept.send(b"keep me")
    kept.finish()
    relay.wait_stat("queued_bytes", "==", 7)
    bare = lab.gateway(relay)  # comes later, has nothing to say, and goes by the limit
    bare.finish()
    assert relay.wait_log("session-end", gateway=bare.local)["reason"] == "half-close-timeout"
    client = lab.client(relay)
    assert client.read_all() == b"keep me"


def test_bytes_of_two_gateways_never_run_together(lab: Lab) -> None:
    """One gateway has sent and gone, the next has come: each client gets one gateway's bytes and an end."""
    relay = lab.relay(pairs=2)
    for text in (b"first gateway", b"second gateway"):
        gateway = lab.gateway(relay)
        relay.wait_log("accepted", peer=gateway.local)
        gateway.send(text)
        gateway.close()
    relay.wait_stat("queued_bytes", "==", 27)
    for text in (b"first gateway", b"second gateway"):
        client = lab.client(relay)
        assert client.read_all() == text
        client.close()


def test_kept_bytes_hold_the_only_place(lab: Lab) -> None:
    """With one pair, a gateway that comes while a gone one's bytes still wait does not get mixed with them."""
    relay = lab.relay().allow("refused")
    first = lab.gateway(relay)
    first.send(b"first gateway")
    first.close()
    relay.wait_stat("queued_bytes", "==", 13)
    second = lab.gateway(relay)
    relay.wait_log("refused", role="gateway", reason="gateway-busy", peer=second.local)
    client = lab.client(relay)
    assert client.read_all() == b"first gateway"
    client.finish()
    relay.wait_log("session-end")
    third = lab.gateway(relay)
    third.send(b"third gateway")
    assert lab.client(relay).read(13) == b"third gateway"


def test_gateway_waits_as_long_as_it_takes(lab: Lab) -> None:
    """--wait-timeout: a gateway for which nobody comes is ended, its bytes reported as lost; without it, it waits."""
    relay = lab.relay(wait_timeout="300ms").allow("session-end")
    gateway = lab.gateway(relay)
    gateway.send(b"anybody?")
    end = relay.wait_log("session-end", timeout=3)
    assert (end["reason"], end.level) == ("wait-timeout", "warn")
    assert (end["client"], end["lost_to_client"]) == ("-", 8)
    assert end["duration_ms"] >= 300
    assert gateway.gone() in ("eof", "reset")
    stats = relay.stats()
    assert (stats["wait_timeouts"], stats["lost_to_client_bytes"]) == (1, 8)


def test_reset_behind_a_full_queue(lab: Lab) -> None:
    """A gateway stopped by a full queue crashes: what the relay holds is delivered, in order, then a reset."""
    stream = Stream("gateway")
    relay = lab.relay(queue_size="256KiB").allow("session-end")
    gateway = lab.gateway(relay)
    sent = gateway.fill(stream, 1 << 28)
    relay.wait_log("queue-full")
    gateway.reset()
    client = lab.client(relay)
    data = client.read_to_reset()
    assert 256 * KIB <= len(data) <= sent
    assert stream.mismatch(data) == ""
    assert relay.wait_log("session-end")["reason"] == "gateway-reset"


def test_client_half_closes_at_once_behind_a_queue(lab: Lab) -> None:
    """A client that half-closes on arrival still gets the whole queue and what follows."""
    stream = Stream("gateway")
    relay = lab.relay()
    gateway = lab.gateway(relay)
    gateway.send_stream(stream, 500_000)
    relay.wait_stat("queued_bytes", "==", 500_000)
    client = lab.client(relay)
    client.finish()
    assert gateway.read_all() == b""
    gateway.send_stream(stream, 500_000, 500_000)
    gateway.finish()
    client.read_stream(stream, 1_000_000)
    assert client.read_all() == b""
    assert relay.wait_log("session-end")["reason"] == "client-closed"


def test_queue_of_one_byte(lab: Lab) -> None:
    """The smallest queue works as the largest does."""
    relay = lab.relay(queue_size="1", egress_queue_size="1")
    gateway = lab.gateway(relay)
    gateway.send(b"abc")
    relay.wait_log("queue-full", size=1)
    client = lab.client(relay)
    assert client.read(3) == b"abc"
    client.send(b"xyz")
    assert gateway.read(3) == b"xyz"
