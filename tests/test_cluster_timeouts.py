# SPDX-License-Identifier: Apache-2.0
"""Keepalive, TCP_USER_TIMEOUT, TCP_NODELAY as the kernel has them, and the idle time-out."""
# Issue: point 5. The connect time-out is in test_cluster_dial.py, half-close in test_cluster_close.py, waiting in test_cluster_queue.py.

import socket
from typing import Any

import pytest

from harness.lab import Lab
from harness.process import Relay
from harness.sockets import Peer

KEEPALIVE = (socket.SOL_SOCKET, socket.SO_KEEPALIVE)
IDLE = (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
INTERVAL = (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
COUNT = (socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
USER_TIMEOUT = (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY)


def options(relay: Relay, peer: Peer, *wanted: tuple[int, int]) -> list[int]:
    return [relay.option_of(peer, *option) for option in wanted]


def all_ends(lab: Lab, **keys: Any) -> tuple[Relay, list[Peer]]:
    """A relay with a pair whose gateway came by itself and one whose gateway was dialled: the four ends."""
    target = lab.target()
    relay = lab.relay(target=target, pairs=2, **keys)
    client, gateway = lab.pair(relay)
    second = lab.client(relay)
    dialled = target.accept()
    relay.wait_log("paired", client=second.local)  # until then the relay may not know that it is connected
    return relay, [client, gateway, second, dialled]


def test_sane_defaults(lab: Lab) -> None:
    """Without a key: keepalive after 60 s, every 10 s, 6 times; no delay of small segments; the kernel's user time-out."""
    relay, ends = all_ends(lab)
    for peer in ends:
        on, *rest = options(relay, peer, KEEPALIVE, IDLE, INTERVAL, COUNT, USER_TIMEOUT, NODELAY)
        assert (bool(on), *rest[:4], bool(rest[4])) == (True, 60, 10, 6, 0, True)


def test_keys_reach_the_kernel(lab: Lab) -> None:
    """Each key is what the kernel has, on the clients', the gateways' and the dialled connections."""
    relay, ends = all_ends(lab, keepalive="7s", keepalive_interval="3s", keepalive_count=2, user_timeout="1500ms", nodelay=False)
    for peer in ends:
        assert options(relay, peer, IDLE, INTERVAL, COUNT, USER_TIMEOUT) == [7, 3, 2, 1500]
        assert relay.option_of(peer, *KEEPALIVE)
        assert not relay.option_of(peer, *NODELAY)


def test_keepalive_off(lab: Lab) -> None:
    """`--keepalive 0` switches it off."""
    relay, ends = all_ends(lab, keepalive=0)
    assert [relay.option_of(peer, *KEEPALIVE) for peer in ends] == [0] * 4


def test_idle_pair_is_ended(lab: Lab) -> None:
    """--idle-timeout: a pair without a byte either way is ended, both sides see it, and the relay has not been busy waiting."""
    relay = lab.relay(idle_timeout="500ms")
    client, gateway = lab.pair(relay)
    client.send(b"x")
    assert gateway.read(1) == b"x"
    before = relay.cpu()
    end = relay.wait_log("session-end", timeout=3)
    assert end["reason"] == "idle-timeout"
    assert 500 <= end["duration_ms"] < 1500
    assert client.gone(within=1) in ("eof", "reset")
    assert gateway.gone(within=1) in ("eof", "reset")
    assert relay.stats()["idle_timeouts"] == 1
    assert relay.cpu() - before < 0.1


@pytest.mark.parametrize("who", ["client", "gateway"])
def test_busy_pair_is_not_idle(lab: Lab, who: str) -> None:
    """A byte now and then, in one direction only, keeps a pair alive past its --idle-timeout."""
    relay = lab.relay(idle_timeout="1500ms")
    client, gateway = lab.pair(relay)
    speaker, listener = (client, gateway) if who == "client" else (gateway, client)
    for number in range(8):
        speaker.send(b"%d" % number)
        assert listener.read(1) == b"%d" % number
        assert listener.silent(0.25)
    assert relay.stats()["pairs"] == 1


def test_waiting_gateway_is_not_idle(lab: Lab) -> None:
    """--idle-timeout is for pairs: a gateway that waits for its client is left alone."""
    relay = lab.relay(idle_timeout="200ms", pairs=2)
    older = lab.gateway(relay)
    relay.wait_log("accepted", peer=older.local)
    gateway = lab.gateway(relay)
    relay.wait_log("accepted", peer=gateway.local)
    first = lab.client(relay)  # takes the older gateway; this pair goes by the idle limit
    relay.wait_log("session-end", client=first.local, reason="idle-timeout", timeout=3)
    second = lab.client(relay)
    second.send(b"still there?")
    assert gateway.read(12) == b"still there?"


def test_idle_is_forever_by_default(lab: Lab) -> None:
    """Without --idle-timeout nothing ends a silent pair, nor does the half-close limit when nobody has half-closed."""
    relay = lab.relay(half_close_timeout="200ms", wait_timeout="200ms")
    client, gateway = lab.pair(relay)
    assert client.silent(0.6)
    client.send(b"still there?")
    assert gateway.read(12) == b"still there?"


def test_idle_client_of_a_gateway_that_has_gone(lab: Lab) -> None:
    """--idle-timeout ends a client that takes none of what a crashed gateway left; the loss is told."""
    relay = lab.relay(idle_timeout="300ms").allow("session-end")
    gateway = lab.gateway(relay)
    gateway.send(bytes(3_000_000))
    relay.wait_stat("queued_bytes", "==", 3_000_000)
    gateway.reset()
    lab.client(relay, rcvbuf=4096)
    end = relay.wait_log("session-end", timeout=5)
    assert (end["reason"], end.level, end["to_client"] + end["lost_to_client"]) == ("idle-timeout", "warn", 3_000_000)
