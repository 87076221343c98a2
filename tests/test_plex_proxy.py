# SPDX-License-Identifier: Apache-2.0
"""Clients that come through a balancer, which says for whom it connects, and how many of one address there may be."""
# Issue: point 8.

import socket
import ssl
import struct
from typing import Any

import pytest

from harness.certs import client_context
from harness.lab import CLIENT, Lab
from harness.peers.tls import TlsPeer
from harness.peers.upstream_proto import pb
from harness.plex import trade
from harness.process import Relay, has_tls
from harness.tls_world import World

V2 = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(source: str, port: int, kind: int = 0x21, more: bytes = b"") -> bytes:
    six = ":" in source
    family = socket.AF_INET6 if six else socket.AF_INET
    body = socket.inet_pton(family, source) + socket.inet_pton(family, "::1" if six else "127.0.0.1") + struct.pack("!HH", port, 7999) + more
    return V2 + bytes([kind, 0x21 if six else 0x11]) + struct.pack("!H", len(body)) + body


@pytest.mark.parametrize("header, peer", [
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 7999\r\n", "192.0.2.1:4711"),
    (b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 7999\r\n", "[2001:db8::1]:4711"),
    (v2("192.0.2.7", 1234), "192.0.2.7:1234"),
    (v2("2001:db8::7", 1234, more=b"\x04\x00\x03abc"), "[2001:db8::7]:1234"),
])
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_who_it_is(lab: Lab, header: bytes, peer: str, piece: int) -> None:
    """An upstream hears whom a balancer has connected for, and nothing of how it was said, however it comes."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream, proxy_protocol="127.0.0.0/8")
    client = lab.client(relay)
    said = header + b"hello"
    for start in range(0, len(said), piece):
        client.send(said[start:start + piece])
    assert client.read(5) == b"hello"
    assert upstream.wait(event=pb.EVENT_CONNECTED).client.peer == peer
    trade(client, 3)


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2("192.0.2.7", 1, kind=0x20)])
def test_for_itself(lab: Lab, header: bytes) -> None:
    """A balancer that does not say, or connects for itself, is the client."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream, proxy_protocol="127.0.0.0/8")
    client = lab.client(relay)
    client.send(header)
    trade(client, 3)
    assert upstream.wait(event=pb.EVENT_CONNECTED).client.peer == client.local


def test_others_need_not(lab: Lab) -> None:
    """Who is not on the list is taken as he comes: what looks like a header is a message."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, proxy_protocol="192.0.2.0/24")
    client = lab.client(relay)
    client.send(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n")
    assert client.read(32) == b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"


@pytest.mark.parametrize("said", [b"hello\n", b"PROXY TCP4 1.2.3.4\r\n", V2 + b"\x11\x11\x00\x00", b"PROXY " + b"x" * 200, V2 + b"\x21\x11\xff\xff"])
def test_no_header(lab: Lab, said: bytes) -> None:
    """A balancer that says something else is closed, and no upstream hears of it."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream, proxy_protocol="127.0.0.0/8")
    client = lab.client(relay)
    client.send(said)
    assert client.read_end()[0] == b""
    relay.wait_stat("clients", "==", 0)
    assert relay.stats()["proxy_errors"] == 1 and not upstream.clients()


def test_too_late(lab: Lab) -> None:
    """Who does not say it in time is closed, and so is one who leaves before; both are counted, and nobody is held up by either."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, proxy_protocol="127.0.0.0/8", proxy_timeout="300ms")
    slow, gone, well = lab.client(relay), lab.client(relay), lab.client(relay)
    well.send(b"PROXY UNKNOWN\r\n")
    slow.send(b"PROXY TCP4 ")
    gone.close()
    assert slow.read_end()[0] == b""
    trade(well, 3)
    relay.wait_stat("clients", "==", 1)
    assert relay.stats()["proxy_errors"] == 2


def test_clients_per_address(lab: Lab) -> None:
    """One address has so many clients and no more, whoever connects for it; when one goes there is room again."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, clients_per_address=2, proxy_protocol="127.0.0.0/8", half_close_timeout="100ms").allow("refused")
    header = b"PROXY TCP4 192.0.2.%d 198.51.100.1 4711 7999\r\n"
    first, second, other = [lab.client(relay) for _ in range(3)]
    for client, number in ((first, 1), (second, 1), (other, 2)):
        client.send(header % number)
        trade(client, 2)
    third = lab.client(relay)
    third.send(header % 1)
    assert third.read_end()[0] == b""
    relay.wait_stat("refused_address", "==", 1)
    first.reset()
    relay.wait_stat("clients", "==", 2)
    again = lab.client(relay)
    again.send(header % 1)
    trade(again, 2)


# ---- in front of TLS

def behind(lab: Lab, world: World, upstream: Any, **keys: Any) -> Relay:
    if not has_tls():
        pytest.skip("built without TLS")
    return lab.plex(upstream, listen="tls://127.0.0.1:0", cert=world.relay.cert, key=world.relay.key, proxy_protocol=CLIENT, **keys)


def greet(lab: Lab, relay: Relay, world: World, header: bytes, piece: int = 1000, **how: Any) -> TlsPeer:
    peer = lab.client(relay, **how)
    for start in range(0, len(header), piece):
        peer.send(header[start:start + piece])
    return lab.add(TlsPeer(peer, client_context(world.ca.cert), name="localhost"))  # type: ignore[return-value]


@pytest.mark.parametrize("header, who", [
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 7999\r\n", "192.0.2.1:4711"),
    (v2("2001:db8::7", 1234, more=b"\x04\x00\x03abc"), "[2001:db8::7]:1234"),
    (v2("192.0.2.1", 1, more=b"\x04" + struct.pack("!H", 3000) + b"\x16\x03\x01" * 1000), "192.0.2.1:1"),
    (b"PROXY UNKNOWN\r\n", None),
], ids=["text", "six", "long", "unknown"])
@pytest.mark.parametrize("piece", [1, 7, 4000])
def test_before_tls(lab: Lab, world: World, header: bytes, who: str | None, piece: int) -> None:
    """A balancer that passes TLS on says first, in the clear, for whom it connects; the handshake behind it is whole."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = behind(lab, world, upstream)
    client = greet(lab, relay, world, header, max(piece, len(header) // 100))
    trade(client, 3)
    message = upstream.wait(event=pb.EVENT_CONNECTED)
    assert message.client.peer == (who or client.local)
    assert message.client.sni == "localhost"
    assert relay.stats()["proxy_errors"] == 0


def test_before_tls_in_one_piece(lab: Lab, world: World) -> None:
    """Nothing of a handshake that comes together with the header is lost."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = behind(lab, world, upstream)
    peer = lab.client(relay)
    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    peer.send(v2("192.0.2.9", 9))
    client: Any = lab.add(TlsPeer(peer, client_context(world.ca.cert), name="localhost"))
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    trade(client, 3)
    assert upstream.wait(event=pb.EVENT_CONNECTED).client.peer == "192.0.2.9:9"


def test_others_need_not_before_tls(lab: Lab, world: World) -> None:
    """Who is not on the list begins with his handshake."""
    upstream = lab.upstream()
    relay = behind(lab, world, upstream)
    trade(greet(lab, relay, world, b"", source="127.0.0.9"), 3)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        greet(lab, relay.allow("handshake-failed"), world, b"PROXY UNKNOWN\r\n", source="127.0.0.9")
    relay.wait_stat("tls_handshake_failures", "==", 1)


@pytest.mark.parametrize("said", [b"hello hello hello", b"PROXY TCP4 1.2.3.4\r\n", V2 + b"\x21\x11\xff\xff", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_no_header_before_tls(lab: Lab, world: World, said: bytes) -> None:
    """A balancer that says something else, a handshake for example, is closed and counted, and is no failed handshake."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = behind(lab, world, upstream).allow("refused")
    client = lab.client(relay)
    client.send(said)
    assert client.read_end()[0] == b""
    relay.wait_stat("proxy_errors", "==", 1)
    assert relay.stats()["tls_handshake_failures"] == 0 and not upstream.clients()
    relay.wait_log("refused", reason="no-proxy-header")


def test_too_late_before_tls(lab: Lab, world: World) -> None:
    """Who does not say it in time is closed, and so is one who leaves before; handshake-timeout begins behind it."""
    upstream = lab.upstream()
    relay = behind(lab, world, upstream, proxy_timeout="300ms", handshake_timeout="600ms").allow("refused", "handshake-failed")
    slow, gone, stuck = lab.client(relay), lab.client(relay), lab.client(relay)
    well = greet(lab, relay, world, b"PROXY UNKNOWN\r\n")
    slow.send(b"PROXY TCP4 ")
    stuck.send(b"PROXY UNKNOWN\r\n")
    gone.send(b"PROXY ")
    gone.finish()
    assert gone.read_end()[0] == slow.read_end()[0] == b""
    relay.wait_stat("proxy_errors", "==", 2)
    assert stuck.read_end()[0] == b""
    relay.wait_stat("tls_handshake_failures", "==", 1)
    trade(well, 3)


def test_clients_per_address_before_tls(lab: Lab, world: World) -> None:
    """It is the announced address that is counted."""
    upstream = lab.upstream()
    relay = behind(lab, world, upstream, clients_per_address=1).allow("refused")
    header = b"PROXY TCP4 192.0.2.%d 198.51.100.1 4711 7999\r\n"
    for number in (1, 2, 3):
        trade(greet(lab, relay, world, header % number), 2)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        greet(lab, relay, world, header % 2)
    relay.wait_stat("refused_address", "==", 1)
    assert relay.stats()["tls_handshake_failures"] == 0
