# SPDX-License-Identifier: Apache-2.0
"""SIGTERM: nobody new, everybody has the time of drain-grace, what was accepted is passed on, exit 0; a second signal ends at once."""

import signal
import time

import pytest

from harness.lab import Lab
from harness.peers.upstream_proto import pb
from harness.plex import announced, newcomer, trade
from harness.process import Relay
from harness.scale import seconds
from harness.sockets import connect
from harness.stream import Stream


def drain(relay: Relay) -> float:
    start = time.monotonic()
    relay.signal(signal.SIGTERM)
    relay.wait_log("draining")
    return start


def test_without_clients(lab: Lab) -> None:
    """A plex that nobody uses ends in a moment, and ends its stream in order."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    start = drain(relay)
    relay.check_exit()
    assert time.monotonic() - start < seconds(3)
    upstream.wait_count("over", 1)


def test_what_is_not_acknowledged(lab: Lab) -> None:
    """An end that cannot wait any longer for an upstream says of how many messages it has not heard that they are done."""
    upstream = lab.upstream(does="silent", features=("EVENTS", "ACK"))
    relay = lab.plex(upstream, framing="line", drain_timeout="300ms").allow("messages-unacknowledged")
    met = [announced(lab, relay, upstream) for _ in range(2)]
    for one in met:
        one.peer.send(b"1\n2\n3\n")
        upstream.wait(client_uuid=one.uuid, payload=b"3\n")
    upstream.send(client_uuid=met[0].uuid, ack_seq=2, payload=b"two")
    assert met[0].peer.read(3) == b"two"
    drain(relay)
    assert relay.wait_log("messages-unacknowledged")["count"] == 4
    relay.check_exit()


def test_without_an_upstream(lab: Lab) -> None:
    """A plex whose program is not there ends in a moment, too, with clients that wait."""
    upstream = lab.upstream(down=True)
    relay = lab.plex(upstream, up=0, drain_grace="0s").allow("dial-failed", "refused")
    clients = [lab.client(relay) for _ in range(3)]
    relay.wait_stat("waiting", "==", 3)
    start = drain(relay)
    for client in clients:
        assert client.gone() in ("eof", "reset")
    relay.check_exit()
    assert time.monotonic() - start < seconds(5)


def test_clients_have_their_time(lab: Lab) -> None:
    """Within drain-grace clients go on as if nothing was; nobody new is let in; when the last one leaves it is over."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, drain_grace="1m")
    met = [newcomer(lab, relay, upstream) for _ in range(3)]
    start = drain(relay)
    with pytest.raises(ConnectionRefusedError):
        connect(relay.address("client"), "127.0.0.4")
    for one in met:
        trade(one.peer, 10)
    for one in met:
        one.peer.reset()
    relay.check_exit()
    assert time.monotonic() - start < seconds(20)
    upstream.wait_count("over", 1)


def test_after_the_grace(lab: Lab) -> None:
    """After drain-grace those that are left are ended, and the program hears why."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream, drain_grace="500ms")
    met = [announced(lab, relay, upstream) for _ in range(5)]
    start = drain(relay)
    for one in met:
        assert one.peer.read_end()[0] == b""
    assert time.monotonic() - start >= 0.49
    relay.check_exit()
    for one in met:
        assert upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid).close.reason == pb.CLOSE_DRAIN


@pytest.mark.parametrize("grace", [None, "0s"])
def test_what_was_said_arrives(lab: Lab, grace: str | None) -> None:
    """What clients had said before the signal reaches the program, and what it had said reaches them."""
    upstream = lab.upstream(does="silent", features=("EVENTS",))
    relay = lab.plex(upstream, drain_grace=grace)
    one = announced(lab, relay, upstream)
    stream = Stream("up")
    one.peer.send_stream(stream, 300_000)
    relay.wait_stat("bytes_in", "==", 300_000)
    upstream.send(client_uuid=one.uuid, payload=Stream("down").at(0, 100_000))
    relay.wait_stat("bytes_out", "==", 100_000)
    drain(relay)
    one.peer.read_stream(Stream("down"), 100_000)
    assert one.peer.read_end()[0] == b""
    relay.check_exit()
    upstream.wait_stream(one.uuid, stream, 300_000)
    upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid)


def test_a_paused_client_does_not_hold_it(lab: Lab) -> None:
    """Who may not be read, and of whom something was read already, is told of the end like all; a whole message of his is passed on."""
    upstream = lab.upstream(does="silent", features=("EVENTS",))
    relay = lab.plex(upstream, framing="line")
    one = announced(lab, relay, upstream)
    one.peer.send(b"whole\npar")
    upstream.wait(payload=b"whole\n")
    upstream.command(one.uuid, "PAUSE", payload=b".")
    assert one.peer.read(1) == b"."
    start = drain(relay)
    assert one.peer.read_end()[0] == b""
    one.peer.close()
    relay.check_exit()
    assert time.monotonic() - start < seconds(5)
    assert upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid).close.reason == pb.CLOSE_DRAIN


def test_a_second_signal(lab: Lab) -> None:
    """A second signal ends all of it at once."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, drain_grace="10m")
    one = newcomer(lab, relay, upstream)
    start = drain(relay)
    trade(one.peer, 3)
    relay.terminate_again()
    assert time.monotonic() - start < seconds(10)
    assert one.peer.gone() in ("eof", "reset")


def test_a_stalled_upstream_does_not_hold_it(lab: Lab) -> None:
    """A program that takes nothing more cannot keep the relay from ending."""
    upstream = lab.upstream(does="silent", options=(("grpc.http2.bdp_probe", 0),))
    relay = lab.plex(upstream, drain_grace="300ms", drain_timeout="2s").allow("drain-timeout", "client-end", "drain-lost", "upstream-lost").allow("messages-lost")
    one = newcomer(lab, relay, upstream)
    upstream.stall()
    one.peer.fill(Stream("full"), 60 << 20)
    start = drain(relay)
    relay.wait_exit()
    assert relay.exit_code == 0
    assert time.monotonic() - start < seconds(15)


def test_a_stalled_client_does_not_hold_it(lab: Lab) -> None:
    """Nor can a client that takes nothing; its upstream hears what has become of it, and the end of the stream."""
    upstream = lab.upstream(does="silent", features=("EVENTS",))
    relay = lab.plex(upstream, client_queue="4MiB", drain_grace="300ms", drain_timeout="2s").allow("drain-timeout", "client-end", "drain-lost")
    one = newcomer(lab, relay, upstream, rcvbuf=4096)
    for _ in range(100):
        upstream.send(client_uuid=one.uuid, payload=bytes(32_768))
    relay.wait_stat("messages_out", ">=", 50)
    start = drain(relay)
    relay.wait_exit()
    assert relay.exit_code == 0
    assert time.monotonic() - start < seconds(15)
    assert upstream.wait(client_uuid=one.uuid, event=pb.EVENT_DISCONNECTED).close.reason == pb.CLOSE_DRAIN
    upstream.wait_count("said all", 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_signal_and_the_upstreams(lab: Lab, workers: int) -> None:
    """They hear of all whom that ends."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream, drain_grace="10m", workers=workers)
    met = [announced(lab, relay, upstream) for _ in range(20)]
    drain(relay)
    relay.terminate_again()
    for one in met:
        assert upstream.wait(client_uuid=one.uuid, event=pb.EVENT_DISCONNECTED).close.reason == pb.CLOSE_DRAIN


def test_unacknowledged_messages_are_waited_for(lab: Lab) -> None:
    """What a program has not acknowledged when the signal comes is waited for within the grace."""
    upstream = lab.upstream(does="silent", features=("EVENTS", "ACK"))
    relay = lab.plex(upstream, framing="line", drain_grace="20s")
    one = announced(lab, relay, upstream)
    one.peer.send(b"important\n")
    upstream.wait(payload=b"important\n")
    drain(relay)
    upstream.end("UNAVAILABLE")
    relay.allow("upstream-lost")
    again = upstream.wait(payload=b"important\n", redelivered=True)
    upstream.send(client_uuid=one.uuid, ack_seq=again.seq, payload=b"thanks")
    assert one.peer.read(6) == b"thanks"
    one.peer.reset()
    relay.check_exit()
