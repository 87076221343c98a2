# SPDX-License-Identifier: Apache-2.0
"""TLS under load: those who mean no good, floods of handshakes, and bulk."""

import hashlib
import os
import select
from pathlib import Path

import pytest

from harness.certs import client_context, server_context
from harness.lab import CLIENT, STRANGER, Lab
from harness.peers.target import echo
from harness.peers.tls import over_tls, tls_echo
from harness.process import has_tls
from harness.scale import SLOW, seconds, volume
from harness.sockets import send_hashed
from harness.stream import Stream
from harness.task import Task
from harness.tls_world import VERSIONS, World, listening, tls_client, tls_pair
from harness.until import until


@pytest.fixture(autouse=True)
def _built_with_tls() -> None:
    if not has_tls():
        pytest.skip("built without TLS")


# Those who mean no good


GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "hello": b"\x16\x03\x01\x00\x05hello",
    "zeros": bytes(5000),
    "long": b"\x16\x03\x01\xff\xff" + bytes(20_000),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_instead_of_a_hello(lab: Lab, world: World, garbage: bytes) -> None:
    """Who does not speak TLS is closed, and counted; the next one is served."""
    relay = listening(lab, world, target=lab.target(echo)).allow("handshake-failed")
    stranger = lab.add(relay.connect("client", CLIENT))
    stranger.send(garbage)
    stranger.read_end()
    relay.wait_log("handshake-failed")
    client = tls_client(lab, relay, client_context(world.ca.cert))
    client.send(b"hello")
    assert client.read(5) == b"hello"


def test_who_goes_in_the_middle_of_a_handshake(lab: Lab, world: World) -> None:
    """A connection that is closed or reset before or within its handshake leaves nothing behind."""
    relay = listening(lab, world).allow("handshake-failed")
    for number, hello in enumerate([b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"]):
        for how in ("finish", "reset"):
            peer = relay.connect("client", CLIENT)
            if hello:
                peer.send(hello)
            getattr(peer, how)()
            relay.wait_stat("tls_handshake_failures", ">=", 2 * number + 1 + (how == "reset"))
            peer.close()


def test_slow_handshakes_end(lab: Lab, world: World) -> None:
    """Who connects and says nothing, or a byte now and then, is closed after handshake-timeout."""
    relay = listening(lab, world, handshake_timeout="300ms").allow("handshake-failed")
    silent, slow = (lab.add(relay.connect("client", CLIENT)) for _ in range(2))
    for byte in b"\x16\x03\x01":
        slow.send(bytes([byte]))
    assert silent.read_end()[0] == slow.read_end()[0] == b""
    assert relay.wait_log("handshake-failed", count=2)["error"] == "no handshake within handshake-timeout"


def test_a_flood_of_handshakes_holds_nobody_up_who_is_there(lab: Lab, world: World) -> None:
    """With handshake-limit under way the others wait in the backlog; pairs go on, and who waits gets its turn."""
    relay = listening(lab, world, handshake_limit=4, handshake_timeout="1s", pairs=2).allow("handshake-failed", "refused")
    client, gateway = tls_pair(lab, relay, client_context(world.ca.cert))
    waiting = lab.gateway(relay)
    relay.wait_log("waiting", peer=waiting.local)
    before = relay.sockets()
    flood = [lab.add(relay.connect("client", STRANGER)) for _ in range(40)]
    until(lambda: relay.sockets() >= before + 4, "four handshakes under way")
    for number in range(volume(200)):
        client.send(b"ping%4d" % number)
        assert gateway.read(8) == b"ping%4d" % number
    assert relay.sockets() == before + 4
    for peer in flood:
        peer.reset()
    late = tls_client(lab, relay, client_context(world.ca.cert))
    waiting.send(b"at last")
    assert late.read(7) == b"at last"


@pytest.mark.parametrize("version", VERSIONS)
def test_certificate_of_many_names(lab: Lab, world: World, tmp_path: Path, version: str) -> None:
    """A certificate that is longer than the block a handshake is written into arrives whole."""
    names = ["localhost", *(f"{number:060}.example" for number in range(1200))]
    long = world.ca.issue("long", dns=names, file=f"long-{version}")
    assert long.cert.stat().st_size > 100_000  # in PEM
    relay = listening(lab, world, cert=long.cert, key=long.key, target=lab.target(echo))
    client = tls_client(lab, relay, client_context(world.ca.cert, version=version))
    client.send(b"hello")
    assert client.read(5) == b"hello"


def test_who_is_silent_gives_way(lab: Lab, world: World) -> None:
    """Silent connections keep their places while nobody else wants one, and no longer."""
    relay = listening(lab, world, target=lab.target(echo), handshake_limit=3, handshake_timeout="1m", pairs=2).allow("handshake-failed")
    before = relay.sockets()
    silent = [lab.add(relay.connect("client", STRANGER)) for _ in range(3)]
    until(lambda: relay.sockets() == before + 3, "three handshakes under way")
    assert all(peer.silent(0.5) for peer in silent)
    assert relay.sockets() == before + 3
    client = tls_client(lab, relay, client_context(world.ca.cert))
    client.send(b"hello")
    assert client.read(5) == b"hello"
    assert relay.wait_log("handshake-failed")["peer"] == silent[0].local
    assert silent[0].gone(within=2)
    assert silent[1].silent(0.1) and silent[2].silent(0.1)
    assert len(relay.find("handshake-failed")) == 1


def test_many_handshakes_at_once(lab: Lab, world: World) -> None:
    """A hundred functions that come in the same moment are all served."""
    count = volume(100)
    relay = listening(lab, world, target=lab.target(echo), pairs=count)
    context = client_context(world.ca.cert)

    def one(number: int) -> bool:
        client = tls_client(lab, relay, context)
        client.send(b"%05d" % number)
        return client.read(5) == b"%05d" % number

    tasks = [Task(one, number) for number in range(count)]
    assert all(task.result() for task in tasks)
    assert relay.stats()["tls_handshakes"] == count


# Bulk


@pytest.mark.parametrize("version", VERSIONS)
def test_100_mb_both_ways(lab: Lab, world: World, version: str) -> None:
    """100 MB each way at once, through TLS on one side, arrive unchanged."""
    total = volume(100_000_000)
    relay = listening(lab, world)
    client, gateway = tls_pair(lab, relay, client_context(world.ca.cert, version=version))
    up = Task(gateway.hash_all)
    gateway_sends = Task(send_hashed, gateway, total)
    # One thread for the client: its TLS is one object.
    stream, sent, digest, got = os.urandom(1 << 20), hashlib.sha256(), hashlib.sha256(), 0
    left, finished = total, False
    client.sock.settimeout(seconds(10))
    while got < total or not finished:
        if left > 0:
            piece = stream[: min(65536, left)]
            client.send(piece)
            sent.update(piece)
            left -= len(piece)
        elif not finished:
            client.finish()
            finished = True
        while got < total and (select.select([client], [], [], 0)[0] or finished or client.tls.pending()):
            data = client._recv(1 << 18)  # pylint: disable=protected-access
            assert data, f"end after {got} of {total} bytes"
            digest.update(data)
            got += len(data)
            if not finished and not client.tls.pending():
                break
    assert gateway_sends.result() == digest.hexdigest()
    assert up.result() == (total, sent.hexdigest())
    relay.wait_log("session-end", to_client=total, to_gateway=total)


def test_bulk_through_tls_on_both_sides(lab: Lab, world: World) -> None:
    """Function with TLS, relay, gateway with TLS: no byte changes its place."""
    total = volume(30_000_000)
    target = lab.target(over_tls(server_context(world.relay), tls_echo))
    relay = lab.relay(
        listen="tls://127.0.0.1", gateway_listen="127.0.0.1", gateway_port=0, cert=world.relay.cert, key=world.relay.key,
        target=f"tls://{target.address}", ca=world.ca.cert,
    )
    client = tls_client(lab, relay, client_context(world.ca.cert))
    stream, done = Stream("both"), 0
    while done < total:
        size = min(200_000, total - done)
        client.send_stream(stream, size, done)
        client.read_stream(stream, size, done)
        done += size
    client.finish()
    assert client.read_all() == b""
    assert relay.stats()["spliced_flows"] == 0


def test_pieces_of_every_size(lab: Lab, world: World) -> None:
    """Records of one byte, of their greatest size and around that pass, in one write or in many."""
    relay = listening(lab, world)
    client, gateway = tls_pair(lab, relay, client_context(world.ca.cert))
    stream, place = Stream("sizes"), 0
    for size in [1, 2, 5, 100, 1000, 16383, 16384, 16385, 28 * 1024, 49152, 65535, 65536, 65537, 200_000] * 3:
        client.send_stream(stream, size, place)
        gateway.read_stream(stream, size, place)
        gateway.send_stream(stream, size, place)
        client.read_stream(stream, size, place)
        place += size


@pytest.mark.parametrize("stalled", ["client", "gateway"])
def test_a_reader_that_stalls_holds_its_sender_back(lab: Lab, world: World, stalled: str) -> None:
    """Whoever does not read stops the other side, the relay keeps no more than its bound, and later all arrives."""
    relay = listening(lab, world)
    client, gateway = tls_pair(lab, relay, client_context(world.ca.cert), rcvbuf=65536)
    before = relay.memory()
    total = 40_000_000
    stream = Stream(stalled)
    if stalled == "client":
        sent = gateway.fill(stream, total)
        assert sent < total
        assert SLOW or relay.memory() < before + 2_000_000
        client.read_stream(stream, sent)
    else:
        client.sock.settimeout(1)
        data = stream.at(0, 1 << 20)
        sent = 0
        # What TLS has made of bytes cannot be taken back: what the socket did not take is kept for later.
        pending = b""
        while sent < 40:
            client.tls.write(data[:65536])
            pending += client._out.read()  # pylint: disable=protected-access
            sent += 1
            try:
                while pending:
                    pending = pending[client.sock.send(pending) :]
            except TimeoutError:
                break
        count = 0
        while pending or count == 0:
            if not pending:
                client.tls.write(data[:65536])
                pending += client._out.read()  # pylint: disable=protected-access
                sent += 1
            if not select.select([], [client], [], 0.5)[1]:
                break
            pending = pending[client.sock.send(pending) :]
            assert sent < 40_000_000 // 65536
        assert SLOW or relay.memory() < before + 2_000_000
        reader = Task(gateway.read, sent * 65536)
        client.sock.settimeout(seconds(10))
        client.sock.sendall(pending)
        assert reader.result() == data[:65536] * sent


def test_the_queue_of_a_gateway_is_given_to_a_client_with_tls(lab: Lab, world: World) -> None:
    """A full queue of 6400 KiB reaches the client that comes later, and what follows it, in order."""
    relay = listening(lab, world)
    gateway = lab.gateway(relay)
    stream = Stream("queue")
    sent = gateway.fill(stream, 20_000_000)
    relay.wait_stat("queue_full", "==", 1)
    client = tls_client(lab, relay, client_context(world.ca.cert))
    reader = Task(client.read_stream, stream, 20_000_000)
    gateway.send_stream(stream, 20_000_000 - sent, sent)
    reader.result()
