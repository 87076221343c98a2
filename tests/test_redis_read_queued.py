# SPDX-License-Identifier: Apache-2.0
"""The Redis relay in smart mode with readQueued: a GET is answered from what waits for the server, and never with what is not so any more."""
# Issue: point 8.

import select
from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from harness.lab import Lab
from harness.process import command
from harness.scale import volume
from harness.until import until
from test_redis_smart import CUTS, OK, ONE, PONG, WORDS, converse, pair, said, settled, silent, warm
from test_redis_sync import encode

pytestmark = pytest.mark.skipif("--readQueued" not in command("redis", "--help").stdout, reason="without readQueued")


def test_reads_from_the_queue(lab: Lab) -> None:
    """With readQueued a GET of what was just SET is answered while the server says nothing; what else was done to the key makes it wait."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", readQueued=True, timeout="60s", asynCommands="APPEND", maxConnections=100)
    warm(lab, relay)
    other = lab.at(relay.address("client"))
    server.pause()
    for line, key, value in (("SET a 1", "a", b"1"), ("SET a 22", "a", b"22"), ("SETEX b 100 3", "b", b"3"), ("SET c 4 PX 100000", "c", b"4"), ("SET d _", "d", b"")):
        other.send(said(line) + encode("GET", key))
        answer = b"+OK\r\n$%d\r\n%s\r\n" % (len(value), value)
        assert other.read(len(answer)) == answer, line
    new = lab.at(relay.address("client"))
    new.send(encode("GET", "a"))
    assert new.read(8) == b"$2\r\n22\r\n"
    v, w, nil = b"$1\r\nv\r\n", b"$1\r\nw\r\n", b"$-1\r\n"
    cases = [  # what is done to the key, what is said of it at once, what GET says behind it
        ("DEL k0", ONE, nil), ("EXPIRE k1 100", ONE, v), ("APPEND k2 x", ONE, b"$2\r\nvx\r\n"), ("MSET k3 w", OK, w), ("SET k4 w KEEPTTL", OK, w), ("EXPIRE k5 -1", ONE, nil),
        ("HSET k6 f v", b"", v), ("INCR k7", b"", v), ("EVAL return(redis.call('SET','k8','w')) 0", b"", w), ("SET k9 w XX", b"", w), ("FLUSHALL", b"", nil), ("GETDEL k11", b"", nil),
        ("RENAME k12 z", b"", nil), ("MULTI", b"", b"+QUEUED\r\n"), ("SWAPDB 0 1", b"", nil), ("SORT none STORE k15", b"", nil), ("BITOP NOT k16 none", b"", nil),
        ("COPY k17 z", b"", v), ("PERSIST k18", b"", v), ("GETEX k19 PXAT 1", b"", nil), ("MSETNX k20 w", b"", v), ("NOSUCH k21", b"", v),
    ]
    for number, (line, early, got) in enumerate(cases):
        client = lab.at(relay.address("client"))
        client.send(encode("SET", f"k{number}", "v"))
        assert client.read(5) == OK
        client.send(said(line))
        assert client.read(len(early)) == early, line
        client.send(encode("GET", f"k{number}"))
        silent([client], other)
        server.resume()
        answer = b""
        while not answer.endswith(got):
            answer += client.read(1)
            assert len(answer) < 200, (line, answer)
        settled(relay)
        lab.peers.pop().close()
        server.pause()
    server.resume()


def test_the_queue_answers_no_key_that_has_expired(lab: Lab) -> None:
    """A value that stands for a moment is not read from the queue after it."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", readQueued=True, timeout="60s")
    warm(lab, relay)
    server.pause()
    client, other = lab.at(relay.address("client")), lab.at(relay.address("client"))
    client.send(encode("PSETEX", "a", "100", "v"))
    assert client.read(5) == OK

    def waits() -> bool:
        peer = lab.at(relay.address("client"))
        peer.send(encode("GET", "a"))
        other.send(encode("PING"))
        assert other.read(7) == PONG
        answered = bool(select.select([peer], [], [], 0.01)[0])
        lab.peers.pop().close()
        return not answered

    until(waits, "the value is not read any more")
    server.resume()


def test_the_queue_answers_unpacked(lab: Lab) -> None:
    """What is packed on its way is read as it was written, and other lengths ask the server."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", readQueued=True, timeout="60s", gzip=6, compress=True)
    warm(lab, relay)
    client, other = lab.at(relay.address("client")), lab.at(relay.address("client"))
    server.pause()
    value = b"x" * 10_000
    client.send(encode("SET", "a", value) + encode("GET", "a"))
    answer = b"+OK\r\n$10000\r\n" + value + b"\r\n"
    assert client.read(len(answer)) == answer
    client.send(encode("SET", "a", value * 100) + encode("GET", "a"))
    assert client.read(5) == OK
    silent([client], other)
    server.resume()
    answer = b"$1000000\r\n" + value * 100 + b"\r\n"
    assert client.read(len(answer)) == answer
    assert relay.stats()["read_queued"] == 1


@pytest.mark.parametrize("beside", ["resp3", "transaction", "blocked"])
def test_what_is_written_beside_the_queue(lab: Lab, beside: str) -> None:
    """While somebody writes over another connection, GET asks the server, so that it never answers with what that has overwritten; a blocked client does not count."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", readQueued=True, timeout="60s")
    warm(lab, relay)
    client, other, writer = (lab.at(relay.address("client")) for _ in range(3))
    if beside == "resp3":
        writer.send(encode("HELLO", "3") + encode("GET", "warm"))
        while not writer.read(1) == b"_":
            pass
        writer.read(2)
    if beside == "transaction":
        writer.send(encode("MULTI") + encode("SET", "a", "theirs"))
        assert writer.read(14) == OK + b"+QUEUED\r\n"
    if beside == "blocked":
        writer.send(encode("BLPOP", "q", "0"))
        relay.wait_stat("pinned", "==", 1)
    server.pause()
    if beside == "resp3":
        writer.send(encode("APPEND", "a", "x"))
        relay.wait_stat("under_way", "==", 1)
    client.send(encode("SET", "a", "1") + encode("GET", "a"))
    assert client.read(5) == OK
    if beside == "blocked":
        assert client.read(7) == b"$1\r\n1\r\n"
    else:
        silent([client], other)
    server.resume()
    if beside == "transaction":
        assert client.read(7) == b"$1\r\n1\r\n"
        writer.send(encode("EXEC"))
        assert writer.read(9) == b"*1\r\n" + OK
        client.send(encode("GET", "a"))
        assert client.read(12) == b"$6\r\ntheirs\r\n"
    if beside == "blocked":
        server.direct().rpush("q", "e")
    settled(relay)


@pytest.fixture(scope="module")
def reading() -> Iterator[tuple]:
    yield from pair(early="exact", readQueued=True)


@settings(max_examples=volume(120), deadline=None)
@given(commands=WORDS, cuts=CUTS)
def test_exact_answers_with_reads_from_the_queue(reading: tuple, commands: list[bytes], cuts: list[int]) -> None:
    """The same with GETs that are answered from the queue."""
    results = converse(reading, commands, cuts)
    assert results[1] == results[0]
