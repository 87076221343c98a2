# SPDX-License-Identifier: Apache-2.0
"""The Redis relay in sync mode: a client cannot tell it from the server, and no client notices another."""
# Issue: points 1 to 5.

import socket
from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
import redis
from hypothesis import given, settings

from harness.lab import Lab
from harness.peers.target import stall
from harness.process import command
from harness.scale import SLOW, volume
from harness.sockets import Peer
from harness.task import Task
from harness.until import until


def encode(*words: str | bytes) -> bytes:
    """A command as a client library writes it."""
    parts = [word if isinstance(word, bytes) else word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def talk(address: str, pieces: list[bytes]) -> bytes:
    """All that is answered to these bytes, whose last command is QUIT."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sender = Task(lambda: [sock.sendall(piece) for piece in pieces])
        answer = b""
        while piece := sock.recv(1 << 16):
            answer += piece
        sender.result()
        return answer


# What a random client says. Nothing in it depends on time, chance, or the number of the connection.
KEYS = ["a", "b", "list", "hash"]
key = st.sampled_from(KEYS)
value = st.sampled_from(["1", "x", "", "a b", "\r\n", "$3\r\n", "v" * 3000, "w" * 70_000])
COMMAND = st.one_of(
    st.tuples(st.sampled_from(["SET", "set", "APPEND", "LPUSH", "SADD", "GETSET"]), key, value),
    st.tuples(st.sampled_from(["GET", "INCR", "DEL", "EXISTS", "TYPE", "STRLEN", "HGETALL", "LLEN", "WATCH", "Get"]), key),
    st.tuples(st.just("MGET"), key, key),
    st.tuples(st.just("HSET"), key, st.just("f"), value),
    st.tuples(st.just("LRANGE"), key, st.just("0"), st.just("-1")),
    st.tuples(st.just("SELECT"), st.sampled_from(["0", "0", "1", "2", "99", "x", "00"])),
    st.tuples(st.just("BLPOP"), key, st.just("0.01")),
    st.tuples(st.just("EVAL"), st.just("return redis.call('INCRBY', KEYS[1], 2)"), st.just("1"), key),
    st.tuples(st.just("SET"), key, value, st.sampled_from(["NX", "XX", "GET", "BAD"])),
    st.sampled_from([
        ("PING",), ("PING", "x"), ("ECHO", "e"), ("GET",), ("NOSUCH", "a"), ("MULTI",), ("EXEC",), ("DISCARD",), ("UNWATCH",), ("EXEC", "x"),
        ("MULTI", "x"), ("DBSIZE",), ("CLIENT", "GETNAME"), ("CLIENT", "SETNAME", "me"), ("SUBSCRIBE", "c"), ("UNSUBSCRIBE",), ("RESET",), ("SELECT",),
        ("HELLO", "9"), ("AUTH", "wrong"), ("OBJECT", "ENCODING", "a"), ("XREAD", "COUNT", "1", "STREAMS", "s", "0"), ("SCRIPT", "EXISTS", "x"),
    ]),
)
LINE = st.sampled_from([b"PING\r\n", b"set a 'x y'\n", b"\r\n", b"GET a\r\n", b"*0\r\n", b"*-1\r\n", b'ECHO "\\x41"\r\n', b"   \r\n"])


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple]:
    """A server and a relay in front of it, for many conversations."""
    with Lab() as lab:
        server = lab.redis_server()
        relay = lab.redis_relay(server).allow("server-lost")
        yield server, relay, server.direct()


@settings(max_examples=volume(150), deadline=None)
@given(commands=st.lists(st.one_of(COMMAND.map(lambda words: encode(*words)), LINE), max_size=25), cuts=st.lists(st.integers(0, 400), max_size=4))
def test_same_answers_as_the_server(pair: tuple, commands: list[bytes], cuts: list[int]) -> None:
    """Whatever a client says, it is answered byte by byte as by the server itself, and the data are the same."""
    server, relay, direct = pair
    said = b"".join([*commands, encode("QUIT")])
    ends = sorted({min(cut, len(said)) for cut in cuts} | {0, len(said)})
    pieces = [said[a:b] for a, b in zip(ends, ends[1:])]
    results = []
    for address in (server.address, relay.address("client")):
        direct.flushall()
        answer = talk(address, pieces)
        data = {name: direct.dump(name) for name in direct.keys("*")}
        results.append((answer, data))
    assert results[1] == results[0]


def test_split_at_every_byte(lab: Lab) -> None:
    """A pipeline that comes in two pieces, cut anywhere, is answered as in one."""
    relay = lab.redis_relay(lab.redis_server())
    said = encode("SET", "a", "x\r\ny") + b"GET a\r\n" + encode("MULTI") + encode("INCR", "n") + encode("EXEC") + encode("GET", "n") + encode("QUIT")
    for cut in range(1, len(said)):
        talk(relay.address("client"), [encode("DEL", "n") + encode("QUIT")])
        assert talk(relay.address("client"), [said[:cut], said[cut:]]) == b"+OK\r\n$4\r\nx\r\ny\r\n+OK\r\n+QUEUED\r\n*1\r\n:1\r\n$1\r\n1\r\n+OK\r\n"


def test_clients_share_a_connection(lab: Lab) -> None:
    """Fifty clients need one connection to the server, and each gets its own replies."""
    server = lab.redis_server()
    relay = lab.redis_relay(server)
    clients = [lab.redis(relay) for _ in range(50)]
    tasks = [Task(lambda c=client, n=number: [c.set(f"k{n}", f"{n}-{i}") and c.get(f"k{n}") for i in range(volume(50))]) for number, client in enumerate(clients)]
    for number, task in enumerate(tasks):
        assert task.result() == [b"%d-%d" % (number, i) for i in range(volume(50))]
    assert server.direct().info("clients")["connected_clients"] == 2
    assert relay.stats()["upstreams"] == 1


def test_databases_do_not_mix(lab: Lab) -> None:
    """Two clients with different databases write the same key and read what they wrote; the URL's database is everybody else's."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, url=f"redis://{server.address}/4")
    clients = [lab.redis(relay, db=number) for number in (1, 2)] + [lab.redis(relay)]
    for number, client in enumerate(clients):
        client.set("k", number)
    assert [client.get("k") for client in clients] == [b"0", b"1", b"2"]
    assert server.direct(db=4).get("k") == b"2"
    pins = relay.stats()["pins"]
    assert clients[2].execute_command("SELECT", 4) is True
    assert relay.stats()["pins"] == pins


def test_transaction_beside_others(lab: Lab) -> None:
    """Between MULTI and EXEC of one client others go on; WATCH sees what they do."""
    relay = lab.redis_relay(lab.redis_server())
    one, other = lab.redis(relay), lab.redis(relay)
    one.execute_command("MULTI")
    assert one.execute_command("INCR", "n") == b"QUEUED"
    assert other.incr("n") == 1
    assert one.execute_command("EXEC") == [2]
    one.execute_command("WATCH", "n")
    other.incr("n")
    one.execute_command("MULTI")
    one.execute_command("SET", "n", "0")
    assert one.execute_command("EXEC") is None
    assert other.get("n") == b"3"
    relay.wait_stat("pinned", "==", 0)


def test_nothing_is_left_behind(lab: Lab) -> None:
    """Who goes in the middle of a transaction, with a subscription or a name, leaves none of it to the next."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, maxConnections=3)
    for words in (["MULTI"], ["SUBSCRIBE", "c"], ["CLIENT", "SETNAME", "me"], ["SELECT", "5"], ["WATCH", "a"], ["HELLO", "3"], ["MONITOR"]):
        client = lab.at(relay.address("client"))
        client.send(encode(*words))
        assert client.read(1)
        client.close()
        relay.wait_stat("clients", "==", 0)
        after = lab.redis(relay)
        assert after.execute_command("CLIENT", "GETNAME") is None
        info = after.execute_command("CLIENT", "INFO")
        assert b" db=0 " in info and b" multi=-1 " in info and b" sub=0 " in info
        after.publish("c", "lost")
        after.connection_pool.disconnect()
        relay.wait_stat("clients", "==", 0)


def test_blocked_client_that_goes(lab: Lab) -> None:
    """A client that goes away while it waits in BLPOP costs nobody an element; one that waits gets it."""
    server = lab.redis_server()
    relay = lab.redis_relay(server)
    direct = server.direct()
    for how in ("close", "reset", "finish"):
        gone = lab.at(relay.address("client"))
        gone.send(encode("BLPOP", "q", "0"))
        until(lambda: direct.info("clients")["blocked_clients"] == 1, "blocked")
        getattr(gone, how)()
        until(lambda: direct.info("clients")["blocked_clients"] == 0, "not blocked")
        direct.rpush("q", "e")
        assert lab.redis(relay).blpop("q", 1) == (b"q", b"e")
    chatty = lab.at(relay.address("client"))
    chatty.send(encode("BLPOP", "q", "0") + encode("SET", "a", "x" * 70_000) * 20)  # more than the kernel holds
    until(lambda: direct.info("clients")["blocked_clients"] == 1, "blocked")
    chatty.finish()
    until(lambda: direct.info("clients")["blocked_clients"] == 0, "not blocked")
    waiting = Task(lab.redis(relay).blpop, "q", 5)
    until(lambda: direct.info("clients")["blocked_clients"] == 1, "blocked")
    assert lab.redis(relay).rpush("q", "f") == 1
    assert waiting.result() == (b"q", b"f")


def test_publish_and_subscribe(lab: Lab) -> None:
    """A subscriber gets the messages, others go on."""
    relay = lab.redis_relay(lab.redis_server())
    subscriber = lab.redis(relay).pubsub()
    subscriber.subscribe("news")
    assert subscriber.get_message(timeout=5)["type"] == "subscribe"
    other = lab.redis(relay)
    for number in range(20):
        assert other.publish("news", number) == 1
    assert [subscriber.get_message(timeout=5)["data"] for _ in range(20)] == [b"%d" % number for number in range(20)]
    subscriber.close()


def test_third_protocol(lab: Lab) -> None:
    """HELLO 3 is answered as by the server, maps and pushes included."""
    relay = lab.redis_relay(lab.redis_server())
    client = lab.at(relay.address("client"))
    client.send(encode("HELLO", "3"))
    assert client.read(4) == b"%7\r\n"
    client.send(encode("HSET", "h", "f", "v") + encode("HGETALL", "h") + encode("QUIT"))
    assert client.read_all().endswith(b":1\r\n%1\r\n$1\r\nf\r\n$1\r\nv\r\n+OK\r\n")


def test_big_values(lab: Lab) -> None:
    """A value of many megabytes goes through, both ways, while others work."""
    relay = lab.redis_relay(lab.redis_server())
    big = bytes(range(256)) * 4096 * volume(20)
    client, other = lab.redis(relay), lab.redis(relay)
    task = Task(lambda: (client.set("big", big), client.get("big")))
    for number in range(100):
        assert other.incr("n") == number + 1
    stored, got = task.result()
    assert stored is True and got == big
    assert SLOW or relay.memory() < 16 << 20  # a sanitizer keeps freed memory


# The server goes


def test_server_is_killed_and_comes_back(lab: Lab) -> None:
    """What may have been done gets an error that says so; what only reads is sent again; the next command works."""
    server = lab.redis_server()
    relay = lab.redis_relay(server).allow("server-lost", "dial-failed")
    client = lab.redis(relay)
    client.set("a", 1)
    other = lab.at(relay.address("client"))
    server.direct().execute_command("CLIENT", "PAUSE", 100_000, "ALL")
    other.send(encode("INCR", "a") + encode("GET", "a") + encode("INCR", "a"))
    relay.wait_stat("under_way", "==", 3)
    server.kill()
    server.start()
    lost = b"-ERR relay: connection to the server was lost; the command may have been executed\r\n"
    assert other.read(len(lost)) == lost
    assert other.read(5) == b"$-1\r\n"
    assert other.read(len(lost)) == lost
    assert client.incr("b") == 1
    assert relay.stats()["lost_commands"] == 2


def test_server_that_stays_away(lab: Lab) -> None:
    """Commands wait for the server as long as `timeout`, then get an error; once it is back they work."""
    server = lab.redis_server()
    server.kill()
    relay = lab.redis_relay(server, timeout="300ms", retry_max="200ms").allow("dial-failed")
    client = lab.redis(relay)
    for _ in range(2):
        with pytest.raises(redis.ResponseError, match="relay: cannot reach the server: Connection refused"):
            client.get("a")
    with pytest.raises(redis.ResponseError, match="relay: cannot reach the server"):
        client.blpop("a", 1)
    server.start()

    def back() -> bool:
        try:
            return bool(client.set("a", 1))
        except redis.ResponseError:
            return False

    until(back, "the server is back")
    assert client.get("a") == b"1"


def test_server_that_says_nothing(lab: Lab) -> None:
    """Something that takes connections and never answers is a server that cannot be reached, each time anew."""
    target = lab.target(stall)
    relay = lab.start("redis", "--listen", "127.0.0.1:0", "--url", target.address, "--timeout", "200ms", "--log-level", "debug").allow("server-lost")
    client = lab.redis(relay)
    for _ in range(3):
        with pytest.raises(redis.ResponseError, match="relay: cannot reach the server: it does not answer"):
            client.get("a")
    relay.wait_stat("upstreams_lost", ">=", 2)


def test_blocked_while_the_server_goes(lab: Lab) -> None:
    """Who waits in BLPOP is told; who has a transaction is closed, as the server would have done."""
    server = lab.redis_server()
    relay = lab.redis_relay(server).allow("server-lost", "dial-failed")
    blocked, other = lab.at(relay.address("client")), lab.at(relay.address("client"))
    blocked.send(encode("BLPOP", "q", "0"))
    other.send(encode("MULTI"))
    assert other.read(5) == b"+OK\r\n"
    until(lambda: server.direct().info("clients")["blocked_clients"] == 1, "blocked")
    server.kill()
    assert blocked.read(10) == b"-ERR relay"
    assert b"the transaction is discarded" in other.read_all()
    server.start()
    blocked.read(73)
    blocked.send(encode("PING"))
    assert blocked.read(7) == b"+PONG\r\n"


def test_password_and_database_of_the_url(lab: Lab) -> None:
    """The URL's password and database are everybody's; a wrong one is said."""
    server = lab.redis_server("--requirepass", "s3c@ret")
    relay = lab.redis_relay(server, url=f"redis://:s3c%40ret@{server.address}/3")
    assert lab.redis(relay).set("a", 1)
    assert server.direct(db=3, password="s3c@ret").get("a") == b"1"
    wrong = lab.redis_relay(server, url=f"redis://:wrong@{server.address}").allow("server-lost")
    with pytest.raises(redis.ResponseError, match="the server refused the login: WRONGPASS"):
        lab.redis(wrong).get("a")
    assert "s3c" not in str(relay.status()) + "".join(line.raw for line in relay.lines)


# Hostile clients


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"*1\r\n$999999999999\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"*99999999999\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\nGET\r\n", b"-ERR Protocol error: expected '$', got 'G'\r\n"),
        (b'GET "a\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"x" * 70_000, b"-ERR Protocol error: too big inline request\r\n"),
    ],
    ids=["bulk", "count", "dollar", "quotes", "line"],
)
def test_what_is_no_command(lab: Lab, said: bytes, answer: bytes) -> None:
    """Who says what is no command is told so in the server's words, after the replies that were due, and closed."""
    server = lab.redis_server()
    relay = lab.redis_relay(server)
    for address in (server.address, relay.address("client")):
        client = lab.at(address, None)
        client.send(encode("PING") + said)
        assert client.read(7 + len(answer)) == b"+PONG\r\n" + answer
        client.gone()


def fill(peer: Peer, command: bytes) -> None:
    """Says the same command again and again, as long as it is taken."""
    peer.sock.setblocking(False)
    try:
        while True:
            peer.sock.send(command * 100)
    except BlockingIOError:
        peer.sock.setblocking(True)


def test_clients_that_stall(lab: Lab) -> None:
    """Half a command for ever, or replies that nobody reads, cost the others nothing, and are ended within their limits."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, stall_timeout="300ms")
    other = lab.redis(relay)
    other.set("big", b"x" * 20_000)
    half = lab.at(relay.address("client"))
    half.send(b"*2\r\n$3\r\nGET\r\n$1")
    before = relay.memory()
    deaf = lab.add(relay.connect("client", rcvbuf=4096))
    fill(deaf, encode("GET", "big"))
    for number in range(100):
        assert other.incr("n") == number + 1
    relay.wait_stat("stalled", "==", 1)
    assert SLOW or relay.memory() < before + (4 << 20)
    half.send(b"\r\nn\r\n")
    assert half.read(9) == b"$3\r\n100\r\n"


def test_too_many(lab: Lab) -> None:
    """One client too many is closed at once; one who needs a connection when all are in use is told so in time."""
    relay = lab.redis_relay(lab.redis_server(), clients=3, maxConnections=2, shared_connections=1, timeout="200ms").allow("refused")
    holder, late = lab.redis(relay), lab.redis(relay)
    holder.execute_command("MULTI")
    with pytest.raises(redis.ResponseError, match="maxConnections"):
        late.execute_command("MULTI")
    assert late.get("a") is None
    holder.execute_command("DISCARD")
    until(lambda: late.execute_command("SELECT", 1), "a connection")
    third = lab.redis(relay)
    third.ping()
    assert lab.at(relay.address("client"), None).read_all() == b""


def test_drain(lab: Lab) -> None:
    """A relay that ends lets what is under way be answered."""
    server = lab.redis_server()
    relay = lab.redis_relay(server)
    idle, busy = lab.redis(relay), lab.at(relay.address("client"))
    idle.ping()
    busy.send(encode("BLPOP", "q", "1"))
    until(lambda: server.direct().info("clients")["blocked_clients"] == 1, "blocked")
    relay.signal(15)
    relay.wait_log("client-end", reason="drained")
    server.direct().rpush("q", "e")
    assert busy.read(4) == b"*2\r\n"
    relay.check_exit()


def test_fault_in_the_keys() -> None:
    """A fault in the keys has its place and a remedy, and never shows a password."""
    done = command("redis", "--listen", "127.0.0.1:1", "--url", "http://user:secret@x")
    assert done.returncode == 2
    assert "secret" not in done.stderr and "redis://10.0.0.9:6379" in done.stderr
    done = command("redis", "--listen", "127.0.0.1", "--url", "x")
    assert "has no port" in done.stderr
