# SPDX-License-Identifier: Apache-2.0
"""The Redis relay in smart mode: what is answered at once, what waits, and that nobody can tell by the data."""
# Issue: points 6 and 8.

import select
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
import redis
from hypothesis import given, settings

from harness.lab import Lab
from harness.process import Relay, command
from harness.scale import volume
from harness.sockets import Peer
from harness.until import until
from test_redis_sync import COMMAND, LINE, encode, talk

OK, ONE, PONG = b"+OK\r\n", b":1\r\n", b"+PONG\r\n"


def said(line: str) -> bytes:
    """A command, its words split at spaces; `_` is an empty one."""
    return encode(*("" if word == "_" else word for word in line.split(" ")))


def settled(relay: Relay) -> None:
    """Waits until the server has answered all that it was given."""
    relay.wait_stat("early_queued", "==", 0)
    relay.wait_stat("under_way", "==", 0)


def warm(lab: Lab, relay: Relay) -> Any:
    """A client, after the relay has a connection to the server."""
    client = lab.redis(relay)
    client.get("warm")
    return client


def silent(peers: list[Peer], other: Peer) -> None:
    """None of them has been answered, though the relay has read all that they said: it answers `other`, who came last, at once."""
    for _ in range(3):
        other.send(encode("PING"))
        assert other.read(len(PONG)) == PONG
    assert not select.select(peers, [], [], 0)[0]


EARLY = [
    ("PING", PONG), ("SET a 1", OK), ("set a 2 EX 100", OK), ("SET b _ PX 100000", OK), ("SET a 1 KEEPTTL", OK), ("SETEX a 100 v", OK), ("PSETEX a 100000 v", OK),
    ("MSET a 1 b 2", OK), ("HMSET h f v", OK), ("HSET h f v", ONE), ("HSET h f v g w", ONE), ("SADD s m", ONE), ("ZADD z 1.5 m", ONE), ("EXPIRE a 100", ONE),
    ("EXPIREAT a 4000000000", ONE), ("PEXPIRE a 100000", ONE), ("PEXPIREAT a 4000000000000", ONE), ("DEL b", ONE), ("HDEL h f", ONE),
]
WAITS = [
    "GET a", "PING x", "SET a v NX", "SET a v XX", "SET a v GET", "SET a v EX 0", "SET a v EX x", "SET a v EX 10 KEEPTTL", "SET a v BAD", "SET a", "SETEX a 0 v", "SETEX a -1 v",
    "SETEX a 9223372036854775807 v", "MSET a", "MSET a 1 b", "HMSET h f", "HSET h f v g", "ZADD z NX 1 m", "ZADD z GT 1 m", "ZADD z CH 1 m", "ZADD z INCR 1 m", "ZADD z x m", "ZADD z nan m",
    "EXPIRE a x", "EXPIRE a 10 NX", "EXPIRE a 10 GT", "EXPIRE a 9223372036854775807", "DEL", "HDEL h", "INCR n", "APPEND a x", "SETNX a v", "LPUSH l x", "PUBLISH c m", "NOSUCH a",
]


def test_early_answers(lab: Lab) -> None:
    """Each command of the table is answered while the server says nothing, and is done once it speaks again."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart")
    warm(lab, relay)
    server.pause()
    client = lab.at(relay.address("client"))
    for line, answer in EARLY:
        client.send(said(line))
        assert client.read(len(answer)) == answer, line
    client.send(b"".join(said(line) for line, _ in EARLY))
    together = b"".join(answer for _, answer in EARLY)
    assert client.read(len(together)) == together
    server.resume()
    settled(relay)
    direct = server.direct()
    assert direct.get("a") == b"1" and direct.ttl("a") > 1_000_000 and not direct.exists("b")
    assert direct.hgetall("h") == {b"g": b"w"} and direct.smembers("s") == {b"m"} and direct.zscore("z", "m") == 1.5


def test_what_waits(lab: Lab) -> None:
    """What asks a question, or what the server would refuse, is answered by the server and in its words."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", timeout="60s", maxConnections=100)
    warm(lab, relay)
    other = lab.at(relay.address("client"))
    before, after = encode("FLUSHALL") + encode("SET", "a", "1"), encode("QUIT")
    for line in WAITS:  # one by one, since they depend on the data
        expected = talk(server.address, [before + said(line) + after])
        talk(relay.address("client"), [encode("FLUSHALL") + encode("SET", "a", "1") + encode("GET", "a") + after])
        server.pause()
        client = lab.at(relay.address("client"))
        client.send(said(line) + after)
        silent([client], other)
        server.resume()
        assert OK + OK + client.read_all() == expected, line
        lab.peers.pop().close()


def test_added_commands(lab: Lab) -> None:
    """What asynCommands adds is answered with the reply's type right; what has no such reply is refused at the start."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", asynCommands="INCR lpush LTRIM RENAME")
    warm(lab, relay)
    server.pause()
    client = lab.at(relay.address("client"))
    client.send(said("INCR n") + said("INCR n") + said("LPUSH l a b") + said("LTRIM l 0 0") + said("SET x 1") + said("RENAME x y"))
    assert client.read(27) == ONE + ONE + ONE + OK + OK + OK
    server.resume()
    settled(relay)
    direct = server.direct()
    assert (direct.get("n"), direct.lrange("l", 0, -1), direct.get("y"), direct.get("x")) == (b"2", [b"b"], b"1", None)
    for word in ("GET", "NOSUCH", "MULTI"):
        done = command("redis", "--listen", "127.0.0.1:0", "--url", server.address, "--mode", "smart", "--asynCommands", f"INCR {word}")
        assert done.returncode == 2 and f'"{word}"' in done.stderr, done.stderr


def test_only_exact_answers(lab: Lab) -> None:
    """With early = exact what may be answered otherwise waits."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", early="exact", timeout="60s")
    warm(lab, relay)
    server.pause()
    other = lab.at(relay.address("client"))
    other.send(said("SET a 1") + said("SETEX a 100 1") + said("PSETEX a 100000 1") + said("MSET a 1 b 2"))
    assert other.read(20) == OK * 4
    lines = ["HSET h f v", "HMSET a f v", "SADD s m", "ZADD z 1 m", "EXPIRE no 10", "DEL no", "HDEL no f"]
    waiting = [lab.at(relay.address("client")) for _ in lines]
    for peer, line in zip(waiting, lines):
        peer.send(said(line))
    silent(waiting, other)
    server.resume()
    answers = [peer.read(4) for peer in waiting]
    assert answers == [ONE, b"-WRO", ONE, ONE, b":0\r\n", b":0\r\n", b":0\r\n"]


# In order, and one's own writes


def test_answers_in_order(lab: Lab) -> None:
    """Answers of the relay and of the server come in the order of the commands, however they are mixed."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", asynCommands="INCR")
    count = volume(400)
    for number in range(10):
        lines, answers, value = [], [], b""
        for i in range(count):
            if (i * 7 + number) % (number + 2) < 1:
                value = b"%d-%d" % (number, i)
                lines.append(encode("SET", "a", value))
                answers.append(OK)
            else:
                lines.append([encode("GET", "a"), encode("ECHO", str(i)), encode("PING")][i % 3])
                got = [value or None, b"%d" % i, PONG][i % 3]
                answers.append(PONG if got is PONG else b"$-1\r\n" if got is None else b"$%d\r\n%s\r\n" % (len(got), got))
        answer = talk(relay.address("client"), [encode("DEL", "a"), b"".join(lines), encode("QUIT")])
        assert answer == ONE + b"".join(answers) + OK


@pytest.mark.parametrize("reader", ["same", "new", "resp3", "multi", "pinned"])
def test_reads_of_own_writes(lab: Lab, reader: str) -> None:
    """Who reads behind a write that was answered sees it: the same client, a new one, one with a connection of its own."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", timeout="60s", asynCommands="INCR")
    warm(lab, relay)
    writer = lab.at(relay.address("client"))
    pinned = lab.at(relay.address("client"))
    pinned.send(encode("CLIENT", "SETNAME", "me"))
    assert pinned.read(5) == OK
    for number in range(volume(40)):
        value = b"%d" % number
        server.pause()
        writer.send(encode("SET", "a", value) + encode("INCR", "n"))
        assert writer.read(9) == OK + ONE
        peer = {"same": writer, "pinned": pinned}.get(reader) or lab.at(relay.address("client"))
        before, get, after = {"resp3": (encode("HELLO", "3"), encode("GET", "a"), b""), "multi": (encode("MULTI"), encode("GET", "a"), encode("EXEC"))}.get(
            reader, (b"", encode("GET", "a"), b""))
        peer.send(before + get + after)
        server.resume()
        wanted = b"$%d\r\n%s\r\n" % (len(value), value)
        if reader == "multi":
            wanted = OK + b"+QUEUED\r\n*1\r\n" + wanted
        answer = b""
        while not answer.endswith(wanted):
            piece = peer.read(1)
            answer += piece
            assert len(answer) < 1000, answer
        if peer not in (writer, pinned):
            lab.peers.pop().close()
    settled(relay)
    assert server.direct().get("n") == b"%d" % volume(40)


def test_a_blocked_client_gets_what_was_pushed(lab: Lab) -> None:
    """BLPOP behind a push that was answered gets the element, and its client's own writes behind it are done after it."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", timeout="60s", asynCommands="RPUSH")
    warm(lab, relay)
    client, other = lab.at(relay.address("client")), lab.at(relay.address("client"))
    server.pause()
    client.send(encode("RPUSH", "q", "e"))
    assert client.read(4) == ONE
    other.send(encode("BLPOP", "q", "0") + encode("SET", "a", "behind") + encode("GET", "a"))
    server.resume()
    answer = b"*2\r\n$1\r\nq\r\n$1\r\ne\r\n+OK\r\n$6\r\nbehind\r\n"
    assert other.read(len(answer)) == answer


def test_writes_of_a_client_with_its_own_connection(lab: Lab) -> None:
    """Who has a connection of its own, or gives it back, does not overtake itself."""
    relay = lab.redis_relay(lab.redis_server(), mode="smart")
    client = lab.redis(relay)
    other = lab.redis(relay, protocol=2) if "protocol" in redis.Redis.__init__.__annotations__ else lab.redis(relay)
    for number in range(volume(100)):
        client.set("a", f"{number}-1")
        assert client.transaction(lambda pipe: pipe.set("a", f"{number}-2").get("a"))[-1] == f"{number}-2".encode()
        client.set("a", f"{number}-3")
        assert other.get("a") == f"{number}-3".encode()
        assert client.blpop("nothing", 0.01) is None
        assert client.get("a") == f"{number}-3".encode()


def test_nothing_is_early_in_a_transaction(lab: Lab) -> None:
    """Between MULTI and EXEC all is queued by the server; what EXEC says is the server's."""
    relay = lab.redis_relay(lab.redis_server(), mode="smart")
    answer = talk(relay.address("client"), [encode("MULTI") + encode("SET", "a", "1") + encode("PING") + encode("HSET", "a", "f", "v") + encode("EXEC") + encode("QUIT")])
    assert answer.startswith(OK + b"+QUEUED\r\n" * 3 + b"*3\r\n+OK\r\n+PONG\r\n-WRONGTYPE ") and answer.endswith(b"\r\n+OK\r\n")
    assert talk(relay.address("client"), [encode("MULTI") + encode("SET", "a") + encode("EXEC") + encode("QUIT")]).count(b"-E") == 2


def test_select(lab: Lab) -> None:
    """SELECT of a database that there is costs no wait, of another one it gets the server's error, and databases do not mix."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", timeout="60s")
    one, two = lab.redis(relay, db=1), lab.redis(relay, db=2)
    for number in range(volume(50)):
        one.set("a", f"one{number}")
        two.set("a", f"two{number}")
        assert (one.get("a"), two.get("a")) == (f"one{number}".encode(), f"two{number}".encode())
    for number in ("9999", "x", "-1", "16"):
        conversation = encode("SELECT", number) + encode("SET", "k", number) + encode("QUIT")
        assert talk(relay.address("client"), [conversation]) == talk(server.address, [conversation])
    settled(relay)
    assert server.direct(db=1).get("a") == f"one{volume(50) - 1}".encode()


def test_databases_that_there_are_not(lab: Lab) -> None:
    """A client that asks for one after the other costs the server and the log little."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart").allow("server-lost")
    for numbers in (range(1000, 1100), range(2000, 1900, -1), range(999, 899, -1)):
        said_all = b"".join(encode("SELECT", str(number)) for number in numbers) + encode("SELECT", "1") + encode("SELECT", "0") + encode("QUIT")
        assert talk(relay.address("client"), [said_all]) == b"-ERR DB index is out of range\r\n" * 100 + OK * 3
    one = lab.redis(relay, db=3)
    one.set("a", "three")
    assert one.get("a") == b"three"
    settled(relay)
    assert server.direct(db=3).get("a") == b"three"
    assert relay.stats()["dials"] < 10
    assert sum(line.event == "server-lost" for line in relay.lines) < 10


# Answers that were wrong


def test_a_wrong_type_is_remembered(lab: Lab) -> None:
    """The second command on a key of another type gets the server's error; so does the first if the relay has seen the key written."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart").allow("early-refused")
    server.direct().set("a", 1)
    client = lab.redis(relay)
    assert client.hset("a", "f", "v") == 1
    relay.wait_stat("early_different", "==", 1)
    for _ in range(3):
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            client.hset("a", "f", "v")
    client.sadd("s", "m")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.hset("s", "f", "v")
    client.delete("s")
    assert client.hset("s", "f", "v") == 1
    client.set("a", 2)
    client.delete("a")
    assert client.hset("a", "f", "v") == 1
    settled(relay)
    assert relay.stats()["early_different"] == 1
    assert server.direct().hget("a", "f") == b"v"


def test_a_type_that_is_forgotten(lab: Lab) -> None:
    """After FLUSHALL and its like, and after a command of another type has been done, nothing is known that is not so."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", timeout="60s").allow("early-refused")
    client, direct = warm(lab, relay), server.direct()
    for command in (["FLUSHALL"], ["FLUSHDB"], ["SWAPDB", "0", "9"]):
        client.sadd(command[0], "m")
        client.execute_command(*command)
        server.pause()
        assert client.hset(command[0], "f", "v") == 1
        server.resume()
        settled(relay)
    assert relay.stats()["early_different"] == 0
    client.sadd("x", "m")
    settled(relay)
    direct.delete("x")
    assert client.hset("x", "f", "v") == 1  # by the server, who says that it is none
    server.pause()
    assert client.hset("x", "f", "w") == 1
    server.resume()
    settled(relay)


def test_a_wrong_type_is_remembered_of_a_long_command(lab: Lab) -> None:
    """The same when the command is long."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart").allow("early-refused")
    server.direct().set("a", 1)
    client = lab.redis(relay)
    assert client.hset("a", "f", "v" * 20_000) == 1
    relay.wait_stat("early_different", "==", 1)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.hset("a", "f", "v" * 20_000)


def differences(relay: Relay) -> dict[str, int]:
    return relay.relay_status()["early_differences"]


@pytest.mark.parametrize("shown", [True, False], ids=["shown", "hidden"])
def test_differences_are_counted(lab: Lab, shown: bool) -> None:
    """Each early answer that the server has given otherwise is counted by command; what it refused is logged with the key, unless keys are private."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", **({} if shown else {"log_keys": False})).allow("early-refused")
    direct = server.direct()
    direct.set("secret-key", 1)
    direct.sadd("s", "m")
    client = lab.redis(relay)
    assert client.sadd("s", "m") == 1  # 0
    assert client.delete("no1", "no2") == 1  # 0
    assert client.delete("no3") == 1  # 0
    assert client.hset("secret-key", "f", "secret-value") == 1  # WRONGTYPE
    assert client.set("a", 1)  # as the server says
    settled(relay)
    relay.wait_stat("early_different", "==", 4)
    counted = {name.lower(): count for name, count in differences(relay).items()}
    assert counted == {"sadd": 1, "del": 2, "hset": 1}
    line = relay.wait_log("early-refused")
    assert ("secret-key" in line.raw) == shown
    everything = "".join(one.raw for one in relay.lines) + str(relay.status())
    assert ("secret-key" in everything) == shown and "secret-value" not in everything


def test_a_relay_without_reads_from_the_queue(lab: Lab) -> None:
    """Without readQueued a GET asks the server."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", timeout="60s")
    warm(lab, relay)
    server.pause()
    client, other = lab.at(relay.address("client")), lab.at(relay.address("client"))
    client.send(encode("SET", "a", "1"))
    assert client.read(5) == OK
    client.send(encode("GET", "a"))
    silent([client], other)
    server.resume()
    assert client.read(7) == b"$1\r\n1\r\n"


# Beside the server


@pytest.fixture(scope="module")
def exact() -> Iterator[tuple]:
    yield from pair(early="exact")


@pytest.fixture(scope="module")
def full() -> Iterator[tuple]:
    yield from pair(asynCommands="APPEND INCR LPUSH RPUSH")


def pair(**keys: Any) -> Iterator[tuple]:
    """A server and a smart relay in front of it, for many conversations."""
    with Lab() as lab:
        server = lab.redis_server()
        relay = lab.redis_relay(server, mode="smart", **keys).allow("server-lost", "early-refused")
        yield server, relay, server.direct(), lab.redis(relay)


# What smart mode is about, beside what any client says.
key = st.sampled_from(["a", "b", "list", "hash"])
WRITE = st.one_of(
    st.tuples(st.just("SETEX"), key, st.sampled_from(["100", "0", "x", "-1"]), st.just("v")),
    st.tuples(st.sampled_from(["EXPIRE", "PEXPIRE"]), key, st.sampled_from(["1000000", "-1", "x"])),
    st.tuples(st.just("MSET"), key, st.just("1"), key, st.just("2")),
    st.tuples(st.sampled_from(["HSET", "HMSET"]), key, st.sampled_from(["f", "g"]), st.sampled_from(["v", "1"])),
    st.tuples(st.just("ZADD"), key, st.sampled_from(["1", "-inf", "x", "NX"]), st.sampled_from(["m", "n"])),
    st.tuples(st.sampled_from(["DEL", "SADD", "HDEL", "SREM", "LPUSH", "APPEND"]), key, st.sampled_from(["a", "f", "m"])),
    st.tuples(st.just("SET"), key, st.sampled_from(["1", "v" * 3000]), st.sampled_from(["EX", "PX"]), st.sampled_from(["1000000", "x"])),
    st.tuples(st.sampled_from(["SET", "GET"]), key, st.just("1")),
    st.tuples(st.just("GET"), key),
    st.tuples(st.just("GET"), key),
)
WORDS = st.lists(st.one_of(COMMAND.map(lambda words: encode(*words)), WRITE.map(lambda words: encode(*words)), LINE), max_size=25)
CUTS = st.lists(st.integers(0, 400), max_size=4)


def converse(pair: tuple, commands: list[bytes], cuts: list[int]) -> list[tuple]:
    """What the server and the relay answer to the same, and the data afterwards, which a new client of each reads."""
    server, relay, direct, through = pair
    words = b"".join([*commands, encode("QUIT")])
    ends = sorted({min(cut, len(words)) for cut in cuts} | {0, len(words)})
    pieces = [words[a:b] for a, b in zip(ends, ends[1:])]
    results = []
    for address, reader in ((server.address, direct), (relay.address("client"), through)):
        reader.flushall()
        answer = talk(address, pieces)
        data = {name: (reader.dump(name), reader.ttl(name) // 1000) for name in reader.keys("*")}
        results.append((answer, data))
    return results


@settings(max_examples=volume(120), deadline=None)
@given(commands=WORDS, cuts=CUTS)
def test_exact_answers_are_the_servers(exact: tuple, commands: list[bytes], cuts: list[int]) -> None:
    """With early = exact a client is answered byte by byte as by the server, and the data are the same."""
    results = converse(exact, commands, cuts)
    assert results[1] == results[0]


@settings(max_examples=volume(120), deadline=None)
@given(commands=WORDS, cuts=CUTS)
def test_data_are_as_without_the_relay(full: tuple, commands: list[bytes], cuts: list[int]) -> None:
    """With the whole table and more, whatever is answered early, the data are as if the server had been told directly."""
    results = converse(full, commands, cuts)
    assert results[1][1] == results[0][1]
