# SPDX-License-Identifier: Apache-2.0
"""What is one message of a client's bytes: each way to say so, however the bytes are cut on their way."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.lab import Lab
from harness.peers.upstream_proto import pb
from harness.plex import newcomer, trade
from harness.scale import volume
from harness.sockets import Peer
from harness.until import until


def line(body: bytes) -> bytes:
    return body.replace(b"\n", b" ") + b"\n"


def crlf(body: bytes) -> bytes:
    return body.replace(b"\r\n", b"  ").rstrip(b"\r") + b"\r\n"


def zero(body: bytes) -> bytes:
    return body.replace(b"\0", b" ") + b"\0"


def prefixed(width: int, order: Any, inclusive: bool) -> Callable[[bytes], bytes]:
    def message(body: bytes) -> bytes:
        body = body[: (1 << (8 * width)) - 1 - width]
        return (len(body) + (width if inclusive else 0)).to_bytes(width, order) + body

    return message


WAYS: dict[str, tuple[dict[str, Any], Callable[[bytes], bytes]]] = {
    "line": ({"framing": "line"}, line),
    "crlf": ({"framing": "delimiter", "delimiter": "\\r\\n"}, crlf),
    "zero": ({"framing": "delimiter", "delimiter": "\\x00"}, zero),
    "word": ({"framing": "delimiter", "delimiter": "<end>"}, lambda body: body.replace(b"<", b"_") + b"<end>"),
    "bytes that repeat": ({"framing": "delimiter", "delimiter": "aab"}, lambda body: body.replace(b"b", b"a") + b"aab"),
    "length of 4": ({"framing": "length-prefix"}, prefixed(4, "big", False)),
    "length of 1": ({"framing": "length-prefix", "length_width": 1}, prefixed(1, "big", False)),
    "length of 2, little": ({"framing": "length-prefix", "length_width": 2, "length_order": "little"}, prefixed(2, "little", False)),
    "length of 3": ({"framing": "length-prefix", "length_width": 3}, prefixed(3, "big", False)),
    "length of 8, its own too": ({"framing": "length-prefix", "length_width": 8, "length_inclusive": True}, prefixed(8, "big", True)),
    "length of 4, little, its own too": (
        {"framing": "length-prefix", "length_width": 4, "length_order": "little", "length_inclusive": True}, prefixed(4, "little", True)),
}
each_way = pytest.mark.parametrize("way", WAYS)


def bodies(rng: random.Random, count: int, longest: int) -> list[bytes]:
    return [b"", b"", *(rng.randbytes(rng.randrange(longest)) for _ in range(count)), b""]


@each_way
def test_messages_are_what_they_were(lab: Lab, way: str) -> None:
    """Each message comes whole and alone, with all its bytes, however many went in one piece."""
    keys, pack = WAYS[way]
    upstream = lab.upstream()
    client = lab.client(lab.plex(upstream, **keys))
    rng = random.Random(way)
    said = [pack(body) for body in bodies(rng, volume(500), 200)]
    everything = b"".join(said)
    client.send(everything)
    assert client.read(len(everything)) == everything
    assert [bytes(message.payload) for message in upstream.data()] == said


@each_way
def test_byte_by_byte(lab: Lab, way: str) -> None:
    """A message that comes byte by byte is passed on when it is whole, and not before."""
    keys, pack = WAYS[way]
    upstream = lab.upstream()
    client = lab.client(lab.plex(upstream, **keys))
    for body in (b"hello", b"", b"xyz"):
        message = pack(body)
        before = len(upstream.data())
        for place in range(len(message)):
            assert len(upstream.data()) == before
            client.send(message[place : place + 1])
        assert client.read(len(message)) == message
        assert bytes(upstream.data()[-1].payload) == message
        assert len(upstream.data()) == before + 1


@each_way
def test_cut_anywhere(lab: Lab, way: str) -> None:
    """It makes no difference where the bytes are cut on their way."""
    keys, pack = WAYS[way]
    upstream = lab.upstream()
    relay = lab.plex(upstream, **keys)
    rng = random.Random(way)
    for _ in range(4):
        mark = upstream.mark()
        client = lab.client(relay)
        said = [pack(body) for body in bodies(rng, 40, 120)]
        everything = b"".join(said)
        place = 0
        while place < len(everything):
            piece = everything[place : place + rng.choice([1, 2, 3, 7, 100, 1000])]
            client.send(piece)
            place += len(piece)
        assert client.read(len(everything)) == everything
        assert [bytes(message.payload) for message in upstream.data(after=mark)] == said


@each_way
def test_the_longest_message(lab: Lab, way: str) -> None:
    """A message as long as max-message is passed on; one a byte longer ends the client, CLOSE_FRAMING, and nobody else."""
    keys, pack = WAYS[way]
    most = 200
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream, max_message=most, **keys)
    overhead = len(pack(b""))
    one, other = lab.client(relay), lab.client(relay)
    longest = pack(b"x" * (most - overhead))
    assert len(longest) == most
    for client in (one, other):
        client.send(longest)
        assert client.read(most) == longest
    name = upstream.data()[0].client_uuid
    too_long = pack(b"y" * (most - overhead + 1))
    assert len(too_long) == most + 1
    one.send(too_long)
    assert one.read_end()[0] == b""
    assert upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=name).close.reason == pb.CLOSE_FRAMING
    assert relay.stats()["framing_errors"] == 1
    other.send(longest)
    assert other.read(most) == longest
    assert not any(b"y" in message.payload for message in upstream.data())


def test_a_line_without_end(lab: Lab) -> None:
    """Bytes without a delimiter are not kept for ever: the client is ended at max-message."""
    upstream = lab.upstream(does="silent")
    relay = lab.plex(upstream, framing="line", max_message="64KiB")
    client = lab.client(relay)
    try:
        client.send(b"z" * (1 << 20))
    except (ConnectionResetError, BrokenPipeError):
        pass
    assert client.gone() in ("eof", "reset")
    assert relay.stats()["framing_errors"] == 1
    assert not upstream.data()


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_length_that_does_not_count_itself(lab: Lab, number: int) -> None:
    """With length-inclusive a length that is less than its own bytes ends the client."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, framing="length-prefix", length_inclusive=True)
    client = lab.client(relay)
    client.send((5).to_bytes(4, "big") + b"x" + number.to_bytes(4, "big"))
    client.gone()
    until(lambda: relay.stats()["framing_errors"] == 1, "it is counted")


@pytest.mark.parametrize("width", [4, 8])
def test_a_huge_length(lab: Lab, width: int) -> None:
    """A length of all ones ends the client at once: nothing is waited or allocated for."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, framing="length-prefix", length_width=width)
    client = lab.client(relay)
    client.send(b"\xff" * width)
    assert client.gone() in ("eof", "reset")
    assert relay.stats()["framing_errors"] == 1


@pytest.mark.parametrize("end", ["finish", "close", "reset"])
def test_a_part_of_a_message_at_the_end(lab: Lab, end: str) -> None:
    """What is no whole message when the client ends is not passed on as one."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream, framing="line", half_close_timeout="200ms")
    one = newcomer(lab, relay, upstream)
    one.peer.send(b"whole\n")
    assert one.peer.read(6) == b"whole\n"
    one.peer.send(b"half of")
    getattr(one.peer, end)()
    upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid)
    assert [bytes(message.payload) for message in upstream.data(one.uuid)][1:] == [b"whole\n"]


def test_raw_is_passed_on_as_it_comes(lab: Lab) -> None:
    """In raw mode what comes goes at once: a prompt without an end of line is heard."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, framing="raw")
    client = lab.client(relay)
    for word in (b"login: ", b"\n", b"\0", b"x"):
        client.send(word)
        assert client.read(len(word)) == word


def test_raw_pieces(lab: Lab) -> None:
    """In raw mode max-message is the longest piece, and nobody is ended for saying much."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, max_message=1000)
    client = lab.client(relay)
    said = random.Random(3).randbytes(100_000)
    client.send(said)
    assert client.read(len(said)) == said
    sizes = [len(message.payload) for message in upstream.data()]
    assert max(sizes) <= 1000 and min(sizes) >= 1
    assert relay.stats()["framing_errors"] == 0
    trade(client, 3)


# Any bytes at all


class Cutter:
    """Sends bytes in the pieces that it was given, one after the other."""

    def __init__(self, peer: Peer, cuts: list[int]) -> None:
        self.peer, self.cuts = peer, cuts

    def send(self, data: bytes) -> None:
        place = 0
        for cut in self.cuts:
            self.peer.send(data[place : place + cut])
            place += cut
            if place >= len(data):
                return
        self.peer.send(data[place:])


pieces = st.lists(st.integers(1, 40), max_size=12)
texts = st.lists(st.binary(max_size=60), min_size=1, max_size=12)


@given(way=st.sampled_from(sorted(WAYS)), said=texts, cuts=pieces)
def test_any_messages_cut_anywhere(way: str, said: list[bytes], cuts: list[int]) -> None:
    """Random messages, cut at random, come as they were."""
    keys, pack = WAYS[way]
    with Lab() as lab:
        upstream = lab.upstream()
        client = lab.client(lab.plex(upstream, **keys))
        messages = [pack(body) for body in said]
        everything = b"".join(messages)
        Cutter(client, cuts).send(everything)
        assert client.read(len(everything)) == everything
        assert [bytes(message.payload) for message in upstream.data()] == messages
