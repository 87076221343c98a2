# SPDX-License-Identifier: Apache-2.0
"""The plex with TLS on either side, with certificates of both, and what goes wrong with them."""

import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest

from harness.certs import Authority, Issued, client_context
from harness.lab import Lab
from harness.peers.upstream_proto import pb
from harness.plex import newcomer, trade
from harness.process import Relay, command, has_tls
from harness.stream import Stream
from harness.task import Task
from harness.tls_world import VERSIONS, World, tls_client
from harness.until import until


@pytest.fixture(autouse=True)
def _built_with_tls() -> None:
    if not has_tls():
        pytest.skip("built without TLS")


def identity(own: Issued, ca: Path | None = None) -> tuple[bytes, bytes, bytes | None]:
    """For an upstream that is `own`, and wants certificates of `ca`."""
    return own.key.read_bytes(), own.cert.read_bytes(), ca.read_bytes() if ca else None


def listening(lab: Lab, world: World, *upstreams: Any, **keys: Any) -> Relay:
    ways = {"listen": "tls://127.0.0.1:0", "cert": world.relay.cert, "key": world.relay.key}
    return lab.plex(*upstreams, **{**ways, **keys})


@pytest.mark.parametrize("version", VERSIONS)
def test_clients_with_tls(lab: Lab, world: World, version: str) -> None:
    """Clients may speak TLS: the program gets their bytes, and is told how they came."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = listening(lab, world, upstream)
    client = tls_client(lab, relay, client_context(world.ca.cert, version=version))
    client.send(b"hello")
    assert client.read(5) == b"hello"
    message = upstream.wait(event=pb.EVENT_CONNECTED)
    assert (message.client.peer, message.client.tls_version, message.client.sni) == (client.local, f"TLSv{version}", "localhost")
    assert message.client.listener == "tls://127.0.0.1:0"
    assert message.client.subject == ""
    client.finish()
    upstream.wait(event=pb.EVENT_READ_EOF, client_uuid=message.client_uuid)
    upstream.command(message.client_uuid, "CLOSE", payload=b"bye")
    assert client.read_all() == b"bye"


def test_who_the_client_is(lab: Lab, world: World) -> None:
    """With client-ca only those with a certificate come in, and the program is told whose it is."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = listening(lab, world, upstream, client_ca=world.ca.cert).allow("handshake-failed")
    client = tls_client(lab, relay, client_context(world.ca.cert, world.func))
    client.send(b"me")
    assert client.read(2) == b"me"
    assert "func" in upstream.wait(event=pb.EVENT_CONNECTED).client.subject
    with pytest.raises((ssl.SSLError, ConnectionError)):
        stranger = tls_client(lab, relay, client_context(world.ca.cert))
        stranger.send(b"may I?")
        assert stranger.read_end()[1] != "eof"
        raise ConnectionResetError
    assert len(upstream.messages(event=pb.EVENT_CONNECTED)) == 1


def test_a_client_that_is_cut_off(lab: Lab, world: World) -> None:
    """An end of TCP without TLS's own is told from an orderly one."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = listening(lab, world, upstream).allow("client-end")
    client = tls_client(lab, relay, client_context(world.ca.cert))
    client.send(b"hello")
    assert client.read(5) == b"hello"
    client.cut()
    assert upstream.wait(event=pb.EVENT_DISCONNECTED).close.reason == pb.CLOSE_TRUNCATED


def test_plain_and_tls_side_by_side(lab: Lab, world: World) -> None:
    """Clients with TLS and without are one crowd: a broadcast reaches both."""
    upstream = lab.upstream(does="silent", features=("EVENTS",))
    relay = listening(lab, world, upstream, listen=["tls://127.0.0.1:0", "tcp://127.0.0.1:0"])
    secure = tls_client(lab, relay, client_context(world.ca.cert))
    plain = lab.at(relay.addresses("client")[1])
    upstream.wait(event=pb.EVENT_CONNECTED, count=2)
    upstream.broadcast(b"to both")
    assert secure.read(7) == plain.read(7) == b"to both"


def test_bulk_by_tls(lab: Lab, world: World) -> None:
    """Bulk through TLS on both sides is byte for byte what it was."""
    upstream = lab.upstream(tls=identity(world.relay))
    relay = listening(lab, world, upstream, ca=world.ca.cert)
    client = tls_client(lab, relay, client_context(world.ca.cert))
    stream, total = Stream("bulk"), 1 << 20
    sender = Task(client.send_stream, stream, total // 16)
    sender.result()
    client.read_stream(stream, total // 16)
    for offset in range(total // 16, total, total // 16):
        client.send_stream(stream, total // 16, offset)
        client.read_stream(stream, total // 16, offset)


def test_upstreams_with_tls(lab: Lab, world: World) -> None:
    """grpcs:// speaks TLS to the program, whose certificate is verified, by its address or name."""
    upstream = lab.upstream(tls=identity(world.relay))
    relay = lab.plex(upstream, ca=world.ca.cert)
    trade(newcomer(lab, relay, upstream).peer, 5)
    other = lab.plex(f"grpcs://localhost:{upstream.port}", ca=world.ca.cert)
    trade(newcomer(lab, other, upstream).peer, 5)


def test_mutual(lab: Lab, world: World) -> None:
    """The plex shows its own certificate to a program that asks for one."""
    upstream = lab.upstream(tls=identity(world.relay, world.ca.cert))
    relay = lab.plex(upstream, ca=world.ca.cert, cert=world.func.cert, key=world.func.key)
    trade(newcomer(lab, relay, upstream).peer, 5)


def test_mutual_without_a_certificate(lab: Lab, world: World) -> None:
    """Without one it is not let in, says so, and tries again; clients wait."""
    upstream = lab.upstream(tls=identity(world.relay, world.ca.cert))
    relay = lab.plex(upstream, up=0, ca=world.ca.cert).allow("dial-failed", "upstream-lost", "upstream-not-ready")
    client = lab.client(relay)
    client.send(b"hello?")
    until_failed(relay)
    assert client.silent(0.2)
    assert not upstream.heard


def until_failed(relay: Relay) -> None:
    """Twice, whichever way it is seen: with TLS 1.3 a server refuses behind the handshake."""
    until(lambda: sum(relay.stats()[name] for name in ("dial_failures", "not_ready", "upstreams_lost")) >= 2, "it has failed twice")
    assert relay.stats()["upstreams"] == 0


@pytest.mark.parametrize("what", ["authority", "name", "plain", "expired"])
def test_wrong_certificates(lab: Lab, world: World, what: str) -> None:
    """A program with the wrong certificate, or none, gets no byte of any client."""
    own = {
        "authority": lambda: world.other.issue("impostor", ip=["127.0.0.1"]),
        "name": lambda: world.ca.issue("elsewhere", dns=["elsewhere.example"]),
        "expired": lambda: world.ca.issue("old", ip=["127.0.0.1"], days=-1),
    }
    upstream = lab.upstream(tls=identity(own[what]())) if what in own else lab.upstream()
    relay = lab.plex(f"grpcs://{upstream.address}", up=0, ca=world.ca.cert).allow("dial-failed", "upstream-lost", "upstream-not-ready")
    client = lab.client(relay)
    client.send(b"secret")
    until_failed(relay)
    relay.wait_log("dial-failed")
    assert not upstream.heard and "readies" not in upstream.counts


def test_not_verified(lab: Lab, world: World) -> None:
    """With verify=false any certificate will do."""
    upstream = lab.upstream(tls=identity(world.other.issue("impostor", ip=["127.0.0.1"])))
    relay = lab.plex(upstream, verify=False)
    trade(newcomer(lab, relay, upstream).peer, 3)


def test_restart_with_tls(lab: Lab, world: World) -> None:
    """Clients live through a restart of a program with TLS."""
    upstream = lab.upstream(tls=identity(world.relay))
    relay = lab.plex(upstream, ca=world.ca.cert).allow("upstream-lost", "dial-failed")
    one = newcomer(lab, relay, upstream)
    upstream.kill()
    relay.wait_stat("upstreams", "==", 0)
    upstream.start()
    relay.wait_stat("upstreams", "==", 1)
    trade(one.peer, 5)


@pytest.mark.parametrize("workers", [1, 2])
def test_new_certificates_at_a_reload(lab: Lab, tmp_path: Path, workers: int) -> None:
    """A reload of a file that is as it was reads the certificates again, in all workers."""
    ca = Authority(tmp_path, "ca")
    first, second = ca.issue("first", dns=["localhost"]), ca.issue("second", dns=["localhost"])

    def install(one: Issued) -> None:
        shutil.copy(one.cert, tmp_path / "now.pem")
        shutil.copy(one.key, tmp_path / "now.key")

    install(first)
    keys = f'listen = "tls://127.0.0.1:0"\nupstream = "{lab.upstream().url}"\ncert = "{tmp_path}/now.pem"\nkey = "{tmp_path}/now.key"\n'
    relay = lab.run(f'log-level = "debug"\n[[relay]]\nkind = "plex"\nworkers = {workers}\n{keys}')
    relay.wait_stat("upstreams", "==", workers)

    def shown() -> set[str]:
        """To some who come at a time."""
        peers = [tls_client(lab, relay, client_context(ca.cert)) for _ in range(8)]
        return {str(peer.tls.getpeercert()["subject"][0][0][1]) for peer in peers}

    assert shown() == {"first"}
    install(second)
    assert relay.reload().status == 200
    until(lambda: shown() == {"second"}, "all have the new one")


def test_handshakes_under_way_at_a_reload(lab: Lab, world: World) -> None:
    """Other bounds for handshakes are for those who come then: who is in one is not thrown out."""
    text = f'log-level = "debug"\n[[relay]]\nkind = "plex"\nlisten = "tls://127.0.0.1:0"\nupstream = "{lab.upstream().url}"\ncert = "{world.relay.cert}"\nkey = "{world.relay.key}"\n'
    relay = lab.run(text + "handshake-limit = 1\n").allow("handshake-failed")
    relay.wait_stat("upstreams", "==", 1)
    before = relay.sockets()
    slow = lab.client(relay)
    until(lambda: relay.sockets() == before + 1, "a handshake is under way")
    lab.file("relay.toml", text + 'handshake-limit = 3\nhandshake-timeout = "1s"\n')
    assert relay.reload().status == 200
    client = tls_client(lab, relay, client_context(world.ca.cert))  # there is room beside the slow one
    client.send(b"hello")
    assert client.read(5) == b"hello"
    assert slow.silent(0.1) and not relay.find("handshake-failed")
    late = lab.client(relay)
    assert late.read_end()[0] == b""
    assert "within" in relay.wait_log("handshake-failed", peer=late.local)["error"]


# What is spoken inside


@pytest.mark.parametrize("version", VERSIONS)
def test_alpn(lab: Lab, world: World, version: str) -> None:
    """Of what a client offers the first of the list is taken, and its upstream hears which; one that offers nothing is let in as it is."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = listening(lab, world, upstream, alpn=["mqtt", "x-amzn-mqtt-ca"])
    for number, (offered, chosen) in enumerate(((["mqtt"], "mqtt"), (["http/1.1", "x-amzn-mqtt-ca", "mqtt"], "mqtt"), (["x-amzn-mqtt-ca"], "x-amzn-mqtt-ca"), ([], ""))):
        context = client_context(world.ca.cert, version=version)
        if offered:
            context.set_alpn_protocols(offered)
        client = tls_client(lab, relay, context)
        client.send(b"hello")
        assert client.read(5) == b"hello"
        assert (client.tls.selected_alpn_protocol() or "") == chosen
        assert upstream.wait(event=pb.EVENT_CONNECTED, count=number + 1).client.alpn == chosen


@pytest.mark.parametrize("version", VERSIONS)
def test_alpn_of_another(lab: Lab, world: World, version: str) -> None:
    """A client that offers other protocols only is refused with the alert that says so; without the key nobody looks at what it offers."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = listening(lab, world, upstream, alpn="mqtt").allow("handshake-failed")
    context = client_context(world.ca.cert, version=version)
    context.set_alpn_protocols(["http/1.1"])
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        tls_client(lab, relay, context)
    relay.wait_log("handshake-failed", role="client")
    assert not upstream.messages(event=pb.EVENT_CONNECTED)
    open_to_all = listening(lab, world, upstream)
    client = tls_client(lab, open_to_all, context)
    client.send(b"hello")
    assert client.read(5) == b"hello"
    assert upstream.wait(event=pb.EVENT_CONNECTED).client.alpn == ""


@pytest.mark.parametrize("listen, alpn, said", [
    ("127.0.0.1:0", '"mqtt"', "alpn is for clients that come with TLS"),
    ("tls://127.0.0.1:0", f'["mqtt", "{"x" * 256}"]', "is longer than 255 bytes"),
    ("tls://127.0.0.1:0", '["mqtt", ""]', "alpn"),
    ("tls://127.0.0.1:0", '""', "alpn"),
    ("tls://127.0.0.1:0", f'["mqtt", "{"x" * 255}"]', ""),
])  # fmt: skip
def test_alpn_is_checked(lab: Lab, world: World, listen: str, alpn: str, said: str) -> None:
    """What is wrong with the key is said before anything starts."""
    tls = f'cert = "{world.relay.cert}"\nkey = "{world.relay.key}"\n' if listen.startswith("tls") else ""
    text = f'[[relay]]\nkind = "plex"\nlisten = "{listen}"\nupstream = "grpc://127.0.0.1:1"\nalpn = {alpn}\n{tls}'
    done = command("check", "-c", str(lab.file("config.toml", text)))
    assert (done.returncode, said in done.stderr) == (2 if said else 0, True), done.stderr


@pytest.mark.parametrize("how", ["close", "cut", "speaks"])
def test_no_upstream_and_the_client_leaves(lab: Lab, world: World, how: str) -> None:
    """Who gives up waiting is forgotten as without TLS, whether it says so or is cut off; what it has said before that is not."""
    upstream = lab.upstream(down=True)
    relay = listening(lab, world, upstream, up=0, clients=4).allow("refused", "client-end", "dial-failed")
    for _ in range(3):
        for client in [tls_client(lab, relay, client_context(world.ca.cert)) for _ in range(3)]:
            if how == "speaks":
                client.send(b"last words")
            if how != "cut":
                client.finish()
            client.cut()
        if how == "speaks":
            break
        relay.wait_stat("clients", "==", 0)
    if how == "speaks":
        relay.wait_stat("bytes_in", "==", 30)
        upstream.start()
        until(lambda: [message.payload for message in upstream.data()] == [b"last words"] * 3, "it is heard of them")
    assert relay.stats()["refused_busy"] == 0
