# SPDX-License-Identifier: Apache-2.0
"""TLS on either side: who gets in, what is verified, and that bytes, half-closes and back-pressure are as without it. (Floods, strangers and bulk:
test_tls_load.py.)"""

import os
import select
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from harness.certs import client_context, server_context
from harness.lab import CLIENT, STRANGER, Lab
from harness.peers.target import answer, echo, greet, hang_up, sink
from harness.peers.tls import TlsPeer, over_tls, tls_echo
from harness.process import Relay, command, has_tls
from harness.scale import seconds
from harness.sockets import Peer, connect, split_address
from harness.stream import Stream
from harness.task import Task
from harness.tls_world import VERSIONS, World, listening, tls_client, tls_pair
from harness.until import until


@pytest.fixture(autouse=True)
def _built_with_tls() -> None:
    if not has_tls():
        pytest.skip("built without TLS")


def refused(lab: Lab, relay: Relay, context: ssl.SSLContext, **how: Any) -> None:
    """The handshake fails, or (TLS 1.3) what comes after it."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        client = tls_client(lab, relay, context, **how)
        client.send(b"may I?")
        assert client.read_end()[1] != "eof"
        raise ConnectionResetError


# Both sides


@pytest.mark.parametrize("version", VERSIONS)
def test_functions_speak_tls(lab: Lab, world: World, version: str) -> None:
    """A function that speaks TLS 1.2 or 1.3 reaches its gateway, and gets the gateway's answer."""
    relay = listening(lab, world, target=lab.target(echo))
    client = tls_client(lab, relay, client_context(world.ca.cert, version=version))
    assert client.tls.version() == f"TLSv{version}"
    client.send(b"hello")
    assert client.read(5) == b"hello"
    client.finish()
    assert client.read_all() == b""
    relay.wait_log("session-end", reason="client-closed", to_client=5, to_gateway=5)
    relay.wait_log("handshake", version=f"TLSv{version}", resumed=0)
    assert relay.stats()["tls_handshakes"] == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_the_target_speaks_tls(lab: Lab, world: World, version: str) -> None:
    """The relay verifies the gateway that it dials, and passes bytes both ways."""
    target = lab.target(over_tls(server_context(world.relay, version=version), tls_echo))
    relay = lab.relay(target=f"tls://{target.address}", ca=world.ca.cert)
    client = lab.client(relay)
    client.send(b"hello")
    client.finish()
    assert client.read_all() == b"hello"
    relay.wait_log("handshake", version=f"TLSv{version}", name="localhost")
    relay.wait_log("session-end", reason="client-closed", to_client=5, to_gateway=5)


def test_two_relays_and_both_ends_verify(lab: Lab, world: World) -> None:
    """Function, relay, TLS with certificates of both, relay, gateway: what issue and man page call mutual TLS."""
    far = listening(lab, world, target=lab.target(echo), client_ca=world.ca.cert, client_name="func1.example", pairs=2)
    near = lab.relay(
        target=f"tls://{far.address('client')}", ca=world.ca.cert, cert=world.func.cert, key=world.func.key, server_name="localhost", pairs=2,
    )
    for _ in range(2):
        client = lab.client(near)
        client.send(b"through both")
        client.finish()
        assert client.read_all() == b"through both"
    far.wait_log("handshake", name="func1.example")


def test_unix_sockets(lab: Lab, world: World) -> None:
    """TLS works over Unix sockets, too, on both sides."""
    path = lab.folder / "t"
    far = lab.relay(listen=f"tls://unix:{path}", gateway_listen="127.0.0.1", gateway_port=0, target=lab.target(echo), cert=world.relay.cert, key=world.relay.key)
    near = lab.relay(target=f"tls://unix:{path}", ca=world.ca.cert, server_name="localhost")
    client = lab.client(near)
    client.send(b"x" * 100_000)
    client.finish()
    assert client.read_all() == b"x" * 100_000
    far.wait_log("session-end", reason="client-closed")


# Who gets in


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("who", ["nobody", "stranger", "expired", "wrong name"])
def test_functions_without_the_right_certificate_stay_out(lab: Lab, world: World, version: str, who: str) -> None:
    """With client-ca and client-name, who has no certificate, another authority's, an old one or another name gets no byte through."""
    own = {
        "nobody": None,
        "stranger": world.other.issue("stranger", dns=["func1.example"]),
        "expired": world.ca.issue("expired", dns=["func1.example"], days=-1),
        "wrong name": world.ca.issue("wrong", dns=["func2.example"]),
    }[who]
    error = {"nobody": "no certificate", "stranger": "certificate verify failed", "expired": "expired", "wrong name": "wanted func1.example, has func2.example"}
    target = lab.target(echo)
    relay = listening(lab, world, target=target, client_ca=world.ca.cert, client_name="func1.example").allow("handshake-failed")
    refused(lab, relay, client_context(world.ca.cert, own, version))
    line = relay.wait_log("handshake-failed", role="client")
    assert error[who] in line["error"], line.raw
    assert target.connections == 0
    stats = relay.stats()
    assert (stats["tls_handshake_failures"], stats["clients_accepted"]) == (1, 0)
    # And the right one gets in after it.
    client = tls_client(lab, relay, client_context(world.ca.cert, world.func, version))
    client.send(b"me")
    assert client.read(2) == b"me"


@pytest.mark.parametrize("name", ["func1.example", "FUNC1.example", "spiffe://example/func1", "the-cn"])
def test_a_name_may_be_dns_uri_or_cn(lab: Lab, world: World, name: str) -> None:
    """client-name is compared with the certificate's DNS names, its URIs and its CN; one that is equal is enough."""
    own = world.ca.issue("the-cn", dns=["func1.example"], uri=["spiffe://example/func1"])
    relay = listening(lab, world, target=lab.target(echo), client_ca=world.ca.cert, client_name=["nobody.example", name])
    client = tls_client(lab, relay, client_context(world.ca.cert, own))
    client.send(b"me")
    assert client.read(2) == b"me"


def test_gateways_need_no_certificate(lab: Lab, world: World) -> None:
    """On the one port for all, who is known as the gateway by its address speaks TLS, but is asked for no certificate."""
    relay = lab.relay(listen="tls://127.0.0.1", cert=world.relay.cert, key=world.relay.key, client_ca=world.ca.cert)
    mark = relay.mark()
    gateway = lab.add(TlsPeer(relay.connect("gateway", "127.0.0.2"), client_context(world.ca.cert), name="localhost"))
    gateway.send(b"hello")
    relay.wait_log("accepted", after=mark, role="gateway")
    client = tls_client(lab, relay, client_context(world.ca.cert, world.func))
    assert client.read(5) == b"hello"


def test_who_may_not_come_is_not_greeted(lab: Lab, world: World) -> None:
    """A client that the addresses in `client` do not allow is closed before a handshake costs anything."""
    relay = listening(lab, world, client=CLIENT).allow("refused")
    stranger = lab.add(relay.connect("client", STRANGER))
    assert stranger.read_end()[0] == b""
    relay.wait_log("refused", reason="client-not-allowed")
    stats = relay.stats()
    assert (stats["tls_handshakes"], stats["tls_handshake_failures"]) == (0, 0)


def test_a_busy_relay_refuses_before_the_handshake(lab: Lab, world: World) -> None:
    """One client more than `pairs` is closed at once, and the one who is there is not disturbed."""
    relay = listening(lab, world).allow("refused", "handshake-failed")
    client, gateway = tls_pair(lab, relay, client_context(world.ca.cert))
    late = lab.add(relay.connect("client", CLIENT))
    assert late.read_end()[0] == b""
    relay.wait_log("refused", reason="client-busy")
    client.send(b"still here")
    assert gateway.read(10) == b"still here"


def test_tls_min(lab: Lab, world: World) -> None:
    """tls-min 1.3 keeps out who speaks 1.2 only."""
    relay = listening(lab, world, tls_min="1.3", target=lab.target(echo)).allow("handshake-failed")
    refused(lab, relay, client_context(world.ca.cert, version="1.2"))
    assert "version" in relay.wait_log("handshake-failed")["error"] or "protocol" in relay.wait_log("handshake-failed")["error"]
    tls_client(lab, relay, client_context(world.ca.cert, version="1.3"))


# What is verified of the target


@pytest.mark.parametrize("what", ["authority", "expired", "name", "address"])
def test_a_target_that_is_not_who_it_should_be_gets_no_byte(lab: Lab, world: World, what: str) -> None:
    """The client waits, the log says what is wrong, and the dial is tried again; when the target is right, all arrives."""
    right = world.relay
    wrong = {
        "authority": world.other.issue("impostor", dns=["localhost"], ip=["127.0.0.1"]),
        "expired": world.ca.issue("late", dns=["localhost"], ip=["127.0.0.1"], days=-1),
        "name": world.ca.issue("else", dns=["else.example"], ip=["127.0.0.1"]),
        "address": world.ca.issue("far", dns=["localhost"], ip=["127.0.0.7"]),
    }[what]
    error = {"authority": "unable to get local issuer", "expired": "expired", "name": "wanted localhost, has else.example", "address": "wanted 127.0.0.1, has localhost, 127.0.0.7, far"}
    contexts = [server_context(wrong), server_context(wrong), server_context(right)]
    target = lab.target(lambda peer: over_tls(contexts.pop(0), tls_echo)(peer))
    more = {"server_name": "localhost"} if what == "name" else {}
    relay = lab.relay(target=f"tls://{target.address}", ca=world.ca.cert, retry_min="1ms", **more).allow("dial-failed")
    client = lab.client(relay)
    client.send(b"secret")
    line = relay.wait_log("dial-failed", attempt=2)
    assert line["error"].startswith("certificate verify failed: ") and error[what] in line["error"], line.raw
    assert client.read(6) == b"secret"
    stats = relay.stats()
    assert (stats["dial_failures"], stats["tls_handshake_failures"], stats["tls_handshakes"]) == (2, 2, 1)


def test_verify_false_takes_any_certificate(lab: Lab, world: World) -> None:
    """With verify = false a target with nobody's certificate is good enough."""
    own = world.other.issue("anybody")
    target = lab.target(over_tls(server_context(own), tls_echo))
    relay = lab.relay(target=f"tls://{target.address}", verify=False)
    client = lab.client(relay)
    client.send(b"hello")
    assert client.read(5) == b"hello"


def test_the_system_does_not_trust_our_authority(lab: Lab, world: World) -> None:
    """Without `ca` the system's authorities are asked, and they know nothing of ours."""
    target = lab.target(over_tls(server_context(world.relay), tls_echo))
    done = command("start", "--listen", "127.0.0.1", "--port", "0", "--target", f"tls://{target.address}", "--help")
    assert done.returncode == 0
    if not Path("/etc/ssl/certs/ca-certificates.crt").exists():
        pytest.skip("no ca-certificates here")
    relay = lab.relay(target=f"tls://{target.address}").allow("dial-failed")
    lab.client(relay)
    assert "certificate verify failed" in relay.wait_log("dial-failed")["error"]


@pytest.mark.parametrize("keys, asked", [({"server_name": "localhost"}, "localhost"), ({}, None)])
def test_sni(lab: Lab, world: World, keys: dict[str, str], asked: str | None) -> None:
    """The target is asked for by its name (server-name); an address is no name, and is not sent."""
    seen: list[str | None] = []
    context = server_context(world.relay)
    context.sni_callback = lambda _, name, __: seen.append(name)  # type: ignore[assignment, func-returns-value]
    target = lab.target(over_tls(context, tls_echo))
    relay = lab.relay(target=f"tls://{target.address}", ca=world.ca.cert, **keys)
    client = lab.client(relay)
    client.send(b"hello")
    assert client.read(5) == b"hello"
    assert seen == [asked]


def test_a_target_by_name_is_verified_by_that_name(lab: Lab, world: World) -> None:
    """tls://NAME:PORT and tls://_SERVICE._tcp.NAME ask for NAME and want it in the certificate, wherever the DNS points."""
    dns = lab.dns()
    dns.add("gate.example", a="127.0.0.1")
    own = world.ca.issue("gate", dns=["gate.example"])
    target = lab.target(over_tls(server_context(own), tls_echo))
    dns.add("_gate._tcp.gate.example", srv=(1, 1, target.port, "host7.example"))
    dns.add("host7.example", a="127.0.0.1")
    for place in (f"gate.example:{target.port}", "_gate._tcp.gate.example"):
        relay = lab.relay(target=f"tls://{place}", ca=world.ca.cert, dns=dns.address)
        client = lab.client(relay)
        client.send(b"hello")
        assert client.read(5) == b"hello"


def test_a_target_without_tls(lab: Lab, world: World) -> None:
    """A target that answers something else, or nothing, is a failed dial with a clear word."""
    relay = lab.relay(target=f"tls://{lab.target(greet).address}", ca=world.ca.cert).allow("dial-failed")
    lab.client(relay)
    assert relay.wait_log("dial-failed")["error"] == "the peer does not speak TLS"
    silent = lab.relay(target=f"tls://{lab.target(sink).address}", ca=world.ca.cert, connect_timeout="200ms").allow("dial-failed")
    lab.client(silent)
    assert silent.wait_log("dial-failed")["error"] == "no handshake within connect-timeout"
    assert silent.stats()["tls_handshake_failures"] >= 1
    gone = lab.relay(target=f"tls://{lab.target(hang_up).address}", ca=world.ca.cert).allow("dial-failed")
    lab.client(gone)
    assert gone.wait_log("dial-failed")["error"]


# Ends


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_half_close_both_ways(lab: Lab, world: World, version: str, size: int) -> None:
    """Request, close_notify, answer: in both directions, with answers of any length."""
    relay = listening(lab, world, pairs=2)
    context = client_context(world.ca.cert, version=version)
    stream = Stream(size)
    client, gateway = tls_pair(lab, relay, context)
    client.send(b"request")
    client.finish()
    assert gateway.read_all() == b"request"
    task = Task(client.read_all)
    gateway.send_stream(stream, size)
    gateway.finish()
    assert not stream.mismatch(task.result())
    client, gateway = tls_pair(lab, relay, context)
    gateway.send(b"question")
    gateway.finish()
    assert client.read_all() == b"question"
    task = Task(gateway.read_all)
    client.send_stream(stream, size)
    client.finish()
    assert not stream.mismatch(task.result())
    relay.wait_log("session-end", reason="gateway-closed")
    assert relay.stats()["truncations"] == 0


def test_half_close_towards_a_target_with_tls(lab: Lab, world: World) -> None:
    """A plain client's half-close reaches a TLS target as close_notify, and the answer comes back."""
    seen: list[tuple[bytes, str]] = []

    def reply(peer: Peer) -> None:
        assert isinstance(peer, TlsPeer)
        seen.append(peer.read_end())
        peer.send(seen[0][0][::-1])
        peer.finish()

    target = lab.target(over_tls(server_context(world.relay), reply))
    relay = lab.relay(target=f"tls://{target.address}", ca=world.ca.cert)
    client = lab.client(relay)
    client.send(b"request" * 20_000)
    client.finish()
    assert client.read_all() == (b"request" * 20_000)[::-1]
    assert seen == [(b"request" * 20_000, "eof")]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_that_is_cut_off_has_not_finished(lab: Lab, world: World, version: str) -> None:
    """TCP's end without close_notify may be an attacker's: the gateway gets the bytes, then a reset, never an orderly end."""
    relay = listening(lab, world)
    client, gateway = tls_pair(lab, relay, client_context(world.ca.cert, version=version))
    client.send(b"pay 100")
    client.cut()
    assert gateway.read_to_reset() == b"pay 100"
    relay.wait_log("session-end", reason="client-truncated", to_gateway=7)
    assert relay.stats()["truncations"] == 1


def test_a_target_that_is_cut_off_has_not_finished(lab: Lab, world: World) -> None:
    """The same from the target's side, towards a plain client."""

    def part(peer: Peer) -> None:
        assert isinstance(peer, TlsPeer)
        peer.send(b"half of it")
        peer.cut()
        peer.read_end()

    target = lab.target(over_tls(server_context(world.relay), part))
    relay = lab.relay(target=f"tls://{target.address}", ca=world.ca.cert)
    client = lab.client(relay)
    assert client.read_to_reset() == b"half of it"
    relay.wait_log("session-end", reason="gateway-truncated", to_client=10)


def test_a_gateway_that_was_cut_off_while_it_waited(lab: Lab, world: World) -> None:
    """What it left reaches the client that comes later, and then a reset: it is not known to be all."""
    relay = lab.relay(listen="tls://127.0.0.1", cert=world.relay.cert, key=world.relay.key)
    context = client_context(world.ca.cert)
    gateway = lab.add(TlsPeer(relay.connect("gateway", "127.0.0.2"), context, name="localhost"))
    gateway.send(b"half of it")
    gateway.cut()  # type: ignore[attr-defined]
    relay.wait_stat("queued_bytes", "==", 10)
    gateway.sock.close()
    client = tls_client(lab, relay, context)
    assert client.read_end() == (b"half of it", "reset")
    relay.wait_log("session-end", reason="gateway-truncated", to_client=10)


@pytest.mark.parametrize("side", ["client", "gateway"])
def test_a_reset_is_a_reset(lab: Lab, world: World, side: str) -> None:
    """A TCP reset on one side is one on the other, with TLS on either."""
    relay = listening(lab, world)
    client, gateway = tls_pair(lab, relay, client_context(world.ca.cert))
    first, second = (client, gateway) if side == "client" else (gateway, client)
    first.send(b"x")
    assert second.read(1) == b"x"
    first.reset()
    assert second.read_end() == (b"", "reset")
    relay.wait_log("session-end", reason=f"{side}-reset")


def test_a_record_that_was_tampered_with(lab: Lab, world: World) -> None:
    """Bytes that do not decrypt end the session as the client's error; the gateway gets nothing of them."""
    relay = listening(lab, world)
    client, gateway = tls_pair(lab, relay, client_context(world.ca.cert))
    client.send(b"good")
    assert gateway.read(4) == b"good"
    client.sock.sendall(b"\x17\x03\x03\x00\x20" + os.urandom(32))
    assert gateway.read_end() == (b"", "reset")
    relay.wait_log("session-end", reason="client-error", error="Protocol error")


def test_draining_says_goodbye(lab: Lab, world: World) -> None:
    """At SIGTERM an idle client gets close_notify, not a cut."""
    relay = listening(lab, world)
    client, gateway = tls_pair(lab, relay, client_context(world.ca.cert))
    client.send(b"x")
    assert gateway.read(1) == b"x"
    relay.signal(15)
    assert client.read_end() == (b"", "eof")
    relay.wait_log("session-end", reason="drained")
    assert relay.wait_exit() == 0


# Tickets, keys


@pytest.mark.parametrize("version", VERSIONS)
def test_functions_resume(lab: Lab, world: World, version: str) -> None:
    """A function that comes again with its ticket needs no full handshake, and its certificate still counts."""
    relay = listening(lab, world, target=lab.target(echo), client_ca=world.ca.cert, client_name="func1.example")
    context = client_context(world.ca.cert, world.func, version)
    session = None
    for number in range(3):
        client = tls_client(lab, relay, context, session=session)
        client.send(b"hello")
        assert client.read(5) == b"hello"
        assert client.tls.session_reused is (number > 0)
        session = client.tls.session
        client.finish()
        assert client.read_all() == b""
        client.sock.close()
        relay.wait_log("session-end", count=number + 1)
    stats = relay.stats()
    assert (stats["tls_handshakes"], stats["tls_resumed"]) == (3, 2)
    assert len(relay.find("handshake", name="func1.example")) == 3


@pytest.mark.parametrize("version", VERSIONS)
def test_no_ticket_outlives_its_certificate(lab: Lab, world: World, version: str) -> None:
    """A certificate that has expired since opens nothing any more, with a ticket as little as without: each ticket brings the next one."""
    relay = listening(lab, world, target=lab.target(echo), client_ca=world.ca.cert).allow("handshake-failed")
    begun, life = time.monotonic(), seconds(3)
    brief = world.ca.issue("brief", dns=["func1.example"], days=life / 86400, file=f"brief-{version}")
    context = client_context(world.ca.cert, brief, version)
    session = None
    for _ in range(2):
        client = tls_client(lab, relay, context, session=session)
        client.send(b"hello")
        assert client.read(5) == b"hello"
        session = client.tls.session
        client.finish()
        client.read_all()
    assert relay.stats()["tls_resumed"] == 1
    until(lambda: time.monotonic() > begun + life + 1, "the end of the certificate", timeout=life + 2)
    refused(lab, relay, context, session=session)
    assert "expired" in str(relay.wait_log("handshake-failed")["error"])


@pytest.mark.parametrize("version", VERSIONS)
def test_the_relay_resumes(lab: Lab, world: World, version: str) -> None:
    """The second dial to the same target is resumed."""
    target = lab.target(over_tls(server_context(world.relay, version=version), tls_echo))
    relay = lab.relay(target=f"tls://{target.address}", ca=world.ca.cert)
    for number in range(3):
        client = lab.client(relay)
        client.send(b"hello")
        client.finish()
        assert client.read_all() == b"hello"
        relay.wait_log("session-end", count=number + 1)
    stats = relay.stats()
    assert (stats["tls_handshakes"], stats["tls_resumed"]) == (3, 2)


def openssl(*words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["openssl", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def read_until(child: "subprocess.Popen[bytes]", wanted: bytes) -> bytes:
    assert child.stdout is not None
    seen = b""
    while wanted not in seen:
        assert select.select([child.stdout], [], [], seconds(10))[0], f"{wanted!r} did not come: {seen!r}"
        piece = os.read(child.stdout.fileno(), 65536)
        assert piece, f"the end, and {wanted!r} did not come: {seen!r}"
        seen += piece
    return seen


def test_key_update(lab: Lab, world: World) -> None:
    """openssl s_client changes keys in the middle (TLS 1.3 KeyUpdate), and asks the relay to: bytes go on both ways."""
    relay = listening(lab, world, target=lab.target(echo))
    client = openssl("s_client", "-connect", relay.address("client"), "-CAfile", str(world.ca.cert), "-tls1_3")
    assert client.stdin is not None
    try:
        for number in range(5):
            line = b"line %d\n" % number
            client.stdin.write(line)
            client.stdin.flush()
            read_until(client, line)
            client.stdin.write(b"K\n" if number % 2 else b"k\n")  # K: and the other side, too
            client.stdin.flush()
            read_until(client, b"KEYUPDATE")
        client.stdin.write(b"last\n")
        client.stdin.flush()
        read_until(client, b"last\n")
        client.stdin.write(b"Q\n")
        client.stdin.flush()
        assert client.wait(seconds(10)) == 0
    finally:
        client.kill()
        client.communicate()
    relay.wait_log("session-end")


def test_renegotiation_is_refused(lab: Lab, world: World) -> None:
    """A TLS 1.2 client that wants to renegotiate is told no, and the relay is well."""
    relay = listening(lab, world, target=lab.target(echo))
    client = openssl("s_client", "-connect", relay.address("client"), "-CAfile", str(world.ca.cert), "-tls1_2")
    assert client.stdin is not None
    try:
        client.stdin.write(b"before\n")
        client.stdin.flush()
        read_until(client, b"before\n")
        client.stdin.write(b"R\n")
        client.stdin.flush()
        assert client.wait(seconds(10)) != 0
    finally:
        client.kill()
        client.communicate()
    relay.wait_log("session-end")


def test_openssl_s_server_as_the_target(lab: Lab, world: World) -> None:
    """openssl s_server, which wants a certificate, is dialled with ours."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server = openssl(
            "s_server", "-accept", f"127.0.0.1:{probe.getsockname()[1]}", "-cert", str(world.relay.cert), "-key", str(world.relay.key),
            "-CAfile", str(world.ca.cert), "-Verify", "2", "-verify_return_error", "-rev",
        )
        port = probe.getsockname()[1]
    try:
        relay = lab.relay(
            target=f"tls://127.0.0.1:{port}", ca=world.ca.cert, cert=world.func.cert, key=world.func.key, retry_max="100ms",
        ).allow("dial-failed")
        client = lab.client(relay)
        client.send(b"abc\n")
        assert client.read(4) == b"cba\n"
        client.reset()
        relay.wait_log("session-end")
    finally:
        server.kill()
        server.communicate()


# Faults of the configuration


def check(lab: Lab, **keys: Any) -> str:
    lines = ["[[relay]]"] + [f"{name.replace('_', '-')} = {value if isinstance(value, (int, str)) and str(value) in ('true', 'false') else repr(str(value))}" for name, value in keys.items()]
    path = lab.file("check.toml", "\n".join(lines).replace("'", '"') + "\n")
    done = command("check", "-c", str(path))
    assert (done.returncode == 0) == (done.stderr == ""), done
    return done.stderr


def test_faults_name_the_file_and_the_remedy(lab: Lab, world: World) -> None:
    """relay check reads the files, and says of each what is wrong with it."""
    good = {"listen": "tls://127.0.0.1:9000", "target": "127.0.0.1:9", "cert": world.relay.cert, "key": world.relay.key}
    assert check(lab, **good) == ""
    junk = lab.file("junk.pem", "nothing\n")
    locked = world.ca.issue("locked", passphrase=b"secret")
    for changes, wanted in [
        ({"cert": "/nowhere.pem"}, "/nowhere.pem: cannot read it: No such file"),
        ({"cert": junk}, "has no certificate in PEM form"),
        ({"key": junk}, "has no private key in PEM form"),
        ({"key": world.func.key}, f"is not the key of the certificate in {world.relay.cert}"),
        ({"cert": locked.cert, "key": locked.key}, "has a passphrase"),
        ({"client-ca": junk}, "has no certificate in PEM form"),
        ({"client-ca": "/nowhere.pem"}, "/nowhere.pem"),
        ({"client-name": "x"}, "give client-ca"),
        ({"ca": world.ca.cert}, "for a target with TLS"),
        ({"target": "tls://unix:/run/x"}, "give server-name"),
        ({"target": "https://gate.example/"}, 'tls://gate.example:443'),
        ({"listen": "ssl://127.0.0.1:9000"}, "tls://127.0.0.1:9000"),
        ({"listen": "quic://127.0.0.1:9000"}, "neither tls:// nor tcp://"),
        ({"tls-min": "1.1"}, "is none of 1.2, 1.3"),
    ]:
        said = check(lab, **{**good, **changes})
        assert wanted in said, (changes, said)
        assert "check.toml:" in said
    del good["key"]
    assert "has no private key" in check(lab, **good)
    del good["cert"]
    assert "needs a certificate" in check(lab, **good)
    assert "is for TLS" in check(lab, listen="127.0.0.1:9000", target="127.0.0.1:9", cert=world.relay.cert)


def test_a_certificate_of_ours_that_has_expired_is_a_warning(lab: Lab, world: World) -> None:
    """The relay runs with it all the same, and says so: those who do not verify are served."""
    old = world.ca.issue("old", dns=["localhost"], days=-2)
    relay = listening(lab, world, cert=old.cert, key=old.key, target=lab.target(echo), pairs=2).allow("certificate", "handshake-failed")
    assert "has expired" in relay.wait_log("certificate")["problem"]
    client = tls_client(lab, relay, client_context(None))
    client.send(b"hello")
    assert client.read(5) == b"hello"
    refused(lab, relay, client_context(world.ca.cert))


def test_plain_scheme_is_said_too(lab: Lab) -> None:
    """tcp:// is what is meant without a scheme."""
    target = lab.target(answer)
    relay = lab.relay(listen="tcp://127.0.0.1", target=f"tcp://{target.address}")
    client = lab.client(relay)
    client.send(b"abc")
    client.finish()
    assert client.read_all() == b"cba"
    host, port = split_address(relay.address("client"))
    assert connect(f"{host}:{port}").close() is None
