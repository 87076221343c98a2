# SPDX-License-Identifier: Apache-2.0
"""Values that the Redis relay packs on their way to the server and unpacks on their way back: what is written is read, and the server has it packed."""
# Issue: point 9.

import gzip
import random
from typing import Any

import pytest

from harness.lab import Lab
from harness.scale import SLOW, volume
from test_redis_smart import OK, settled
from test_redis_sync import encode, talk

BOTH = [{"compress": True}, {"gzip": 6}, {"compress": True, "gzip": 1}]
NAMES = ["snappy", "gzip", "both"]
VALUE = b"a value that can be packed " * 20


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)


def is_packed(text: bytes | None) -> bool:
    return text is not None and text.startswith((b"$sy$", b"\x1f\x8b"))


def values() -> list[bytes]:
    """Of all lengths and kinds, those among them that look packed."""
    chance = random.Random(1)
    sizes = [0, 1, 4, 255, 256, 257, 4000, 70_000, 1_000_000]
    out = [VALUE * (size // len(VALUE) + 1) for size in sizes]
    out = [text[:size] for text, size in zip(out, sizes)]
    out += [chance.randbytes(size) for size in sizes]
    return out + [b"$sy$", b"$sy$x", b"$sy$\x05\x10hello", b"$sy$" + VALUE, b"\x1f\x8b", gzip.compress(VALUE), gzip.compress(b"x"), gzip.compress(VALUE)[:50]]


@pytest.mark.parametrize("mode", ["sync", "smart"])
@pytest.mark.parametrize("keys", BOTH, ids=NAMES)
def test_what_is_written_is_read(lab: Lab, keys: dict[str, Any], mode: str) -> None:
    """Any value comes back as it was, by whichever command it was written and read."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode=mode, **keys)
    client, direct = lab.redis(relay), server.direct()
    for number, value in enumerate(values()):
        key = f"k{number}"
        client.set(key, value)
        assert client.get(key) == value
        client.setex(key, 100, value)
        client.hset("h", key, value)
        client.hset("h", mapping={"one": value, "two": b"short", "three": value})
        client.mset({"m1": value, "m2": b"short", "m3": value})
        assert client.mget(key, "no", "m1", "m2", "m3") == [value, None, value, b"short", value]
        assert client.hgetall("h")[b"three"] == value and client.hget("h", key) == value
        assert client.getset(key, b"short") == value
        assert client.hsetnx("h", f"x{number}", value) and client.hmget("h", f"x{number}", "two") == [value, b"short"]
        if value.startswith(VALUE):
            assert is_packed(direct.get("m1")) and is_packed(direct.hget("h", key))
            assert client.strlen("m1") == len(direct.get("m1")) < len(value)
    assert all(is_packed(value) or len(value) < 256 or value in values() for value in direct.hvals("h"))


@pytest.mark.parametrize("keys", BOTH, ids=NAMES)
def test_in_a_transaction_and_in_a_pipeline(lab: Lab, keys: dict[str, Any]) -> None:
    """The same between MULTI and EXEC, behind a command that blocks, and with many under way, whoever answers first."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", **keys)
    client, direct = lab.redis(relay), server.direct()
    big = VALUE * 400
    for value in (VALUE, big, big * 5):
        with client.pipeline(transaction=True) as pipe:
            pipe.set("t", value).get("t").hset("th", "f", value).hgetall("th").mget("t", "t")
            assert pipe.execute() == [True, value, int(value == VALUE), {b"f": value}, [value, value]]
        assert client.get("t") == value and is_packed(direct.get("t")) and is_packed(direct.hget("th", "f"))
    with client.pipeline(transaction=False) as pipe:
        for number in range(volume(300)):
            pipe.set("p", VALUE + b"%d" % number).get("p").echo("x" * 300).get("no").hset("ph", str(number), VALUE).hget("ph", str(number))
        answers = pipe.execute()
    assert answers[1::6] == [VALUE + b"%d" % number for number in range(volume(300))] and answers[5::6] == [VALUE] * volume(300)
    said = encode("BLPOP", "q", "0") + encode("SET", "b", VALUE) + encode("GET", "b") + encode("CLIENT", "ID") + encode("GET", "b")
    peer = lab.at(relay.address("client"))
    peer.send(said)
    relay.wait_stat("pinned", "==", 1)
    direct.rpush("q", "e")
    expected = b"*2\r\n$1\r\nq\r\n$1\r\ne\r\n" + OK + bulk(VALUE)
    assert peer.read(len(expected)) == expected
    assert is_packed(direct.get("b"))


def test_a_slow_reader_of_much(lab: Lab) -> None:
    """Replies that become a thousand times as long wait for the client, in their order, and cost the relay little."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", gzip=9, stall_timeout="20s")
    client = lab.redis(relay)
    big = b"\0" * 2_000_000
    client.set("big", big)
    client.set("a", VALUE)
    settled(relay)
    assert len(server.direct().get("big")) < 4000
    before = relay.memory()
    peer = lab.add(relay.connect("client", rcvbuf=8192))
    count = 20
    peer.send((encode("GET", "big") + encode("SET", "x", "1") + encode("GET", "a") + encode("MGET", "a", "big") + encode("PING")) * count)
    relay.wait_stat("commands", ">=", 20)
    expected = bulk(big) + OK + bulk(VALUE) + b"*2\r\n" + bulk(VALUE) + bulk(big) + b"+PONG\r\n"
    for _ in range(count):
        assert peer.read(len(expected)) == expected
        assert SLOW or relay.memory() < before + (16 << 20)  # a sanitizer keeps freed memory


def test_the_formats(lab: Lab) -> None:
    """Python's gzip reads what the relay writes, and the relay what Python's gzip and a smart-relayer write."""
    server = lab.redis_server()
    packs, direct = lab.redis(lab.redis_relay(server, gzip="true", compress=True)), server.direct()
    packs.set("a", VALUE)
    assert gzip.decompress(direct.get("a")) == VALUE
    direct.set("b", gzip.compress(VALUE))
    direct.set("c", b"$sy$\x05\x10hello")
    direct.rpush("l", b"$sy$\x05\x10hello", "plain")
    assert (packs.get("b"), packs.get("c"), packs.lrange("l", 0, -1)) == (VALUE, b"hello", [b"hello", b"plain"])
    assert packs.eval("return redis.call('GET', 'c')", 0) == b"hello"
    assert packs.getrange("c", 0, -1) == b"$sy$\x05\x10hello" and packs.echo(b"$sy$\x05\x10hello") == b"$sy$\x05\x10hello"


def test_what_is_never_packed(lab: Lab) -> None:
    """Keys, fields, members, elements, messages and what scripts are given go as they are."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", compress=True, asynCommands="RPUSH")
    client, direct = lab.redis(relay), server.direct()
    long = b"long" * 100
    client.set(long, VALUE)
    client.hset(b"h", long, VALUE)
    client.sadd("s", long)
    client.zadd("z", {long: 1})
    client.rpush("l", long)
    client.eval("redis.call('SET', KEYS[1], ARGV[1])", 1, "e", long)
    settled(relay)
    assert is_packed(direct.get(long)) and is_packed(direct.hget("h", long))
    assert (direct.smembers("s"), direct.zscore("z", long), direct.lrange("l", 0, -1), direct.get("e")) == ({long}, 1.0, [long], long)


@pytest.mark.parametrize("keys", [{}, {"compress": True, "uncompress": False}, {"gzip": 6, "gunzip": False}], ids=["neither", "only snappy", "only gzip"])
def test_who_does_not_unpack(lab: Lab, keys: dict[str, Any]) -> None:
    """Without the keys, or with uncompress and gunzip off, the bytes of the server are read."""
    server = lab.redis_server()
    client, direct = lab.redis(lab.redis_relay(server, **keys)), server.direct()
    client.set("a", VALUE)
    assert client.get("a") == direct.get("a") and is_packed(direct.get("a")) == bool(keys)
    own = gzip.compress(VALUE)
    client.set("own", own)
    assert client.get("own") == own == direct.get("own") or "compress" in keys


def test_a_users_own_gzip(lab: Lab) -> None:
    """Data that a client has packed itself come back as they were: with gunzip by being packed twice, without it by being left alone."""
    server = lab.redis_server()
    own = gzip.compress(random.Random(2).randbytes(2000) + VALUE)
    for keys in ({"gzip": 6}, {"gzip": 6, "gunzip": False}, {"compress": True}, {"compress": True, "gzip": 9, "gunzip": True}):
        client = lab.redis(lab.redis_relay(server, **keys))
        client.set("own", own)
        assert client.get("own") == own, keys


def test_a_limit(lab: Lab) -> None:
    """What is longer than compress-limit, packed or unpacked, goes as it is; and so does a bomb."""
    server = lab.redis_server()
    client, direct = lab.redis(lab.redis_relay(server, gzip=6, compress_limit="100KiB")), server.direct()
    for size in (100 << 10, (100 << 10) + 1, 3_000_000):
        client.set("a", b"x" * size)
        assert client.get("a") == b"x" * size and is_packed(direct.get("a")) == (size <= 100 << 10)
    bomb = gzip.compress(b"\0" * 50_000_000)
    direct.set("bomb", bomb)
    assert client.get("bomb") == bomb


def test_a_connection_of_its_own_for_life(lab: Lab) -> None:
    """A client whose bytes go through unread gets them as they are from then on, and what it asked for before unpacked."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, compress=True)
    lab.redis(relay).set("a", VALUE)
    packed = server.direct().get("a")
    answer = talk(relay.address("client"), [encode("MULTI") + encode("GET", "a") + encode("EXEC") + encode("GET", "a") + encode("CLIENT", "NO-EVICT", "on") + encode("GET", "a") + encode("QUIT")])
    assert answer == OK + b"+QUEUED\r\n*1\r\n" + bulk(VALUE) + bulk(VALUE) + OK + bulk(packed) + OK


def test_packed_in_resp3(lab: Lab) -> None:
    """Maps and pushes of the newer protocol: values are unpacked, and what the server tells of keys is not."""
    relay = lab.redis_relay(lab.redis_server(), mode="smart", compress=True)
    lab.redis(relay).hset("h", "f", VALUE)
    answer = talk(relay.address("client"), [encode("HELLO", "3") + encode("HGETALL", "h") + encode("QUIT")])
    assert answer.endswith(b"%1\r\n$1\r\nf\r\n" + bulk(VALUE) + OK)


def test_the_queue_holds_packed_values(lab: Lab) -> None:
    """While the server says nothing, what waits for it takes the room that it takes packed."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", gzip=6)
    client = lab.redis(relay)
    client.get("warm")
    server.pause()
    for number in range(20):
        client.set(f"k{number}", b"x" * 200_000)
    assert relay.stats()["early_bytes"] < 20 * 1000
    server.resume()
    settled(relay)
    assert client.get("k19") == b"x" * 200_000


def test_levels(lab: Lab) -> None:
    """gzip is a level, or true or false."""
    server = lab.redis_server()
    for level, packed in (("false", False), ("0", False), ("1", True), ("9", True), ("true", True)):
        lab.redis(lab.redis_relay(server, gzip=level)).set("a", VALUE)
        assert is_packed(server.direct().get("a")) == packed, level
