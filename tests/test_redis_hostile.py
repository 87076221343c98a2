# SPDX-License-Identifier: Apache-2.0
"""The Redis relay among people who mean no good: clients and servers that say what nobody should; it costs nobody else anything."""
# Issue: points 3, 5, 8 and 10.

import contextlib
import signal
import socket
import threading
from collections.abc import Callable

import pytest
import redis

from harness.lab import Lab
from harness.peers.redis_cluster import slot_of
from harness.process import Relay
from harness.scale import seconds
from harness.sockets import Peer
from harness.task import Task
from harness.until import until
from test_redis_smart import settled
from test_redis_smart_lost import allowed
from test_redis_sync import encode

OK = b"+OK\r\n"
# Where the keys are, as a server's COMMAND says it.
COMMANDS = b"*4\r\n" + b"".join(b"*6\r\n$%d\r\n%s\r\n:-2\r\n*0\r\n:%d\r\n:%d\r\n:1\r\n" % (len(name), name, first, last)
                               for name, first, last in [(b"get", 1, 1), (b"del", 1, -1), (b"watch", 1, -1), (b"eval", 3, 3)])


class Fake:
    """A server that says what `answer` tells it to: bytes; nothing: it is silent from then on."""

    def __init__(self, lab: Lab, answer: Callable[["Fake", list[bytes]], bytes | None]) -> None:
        self.said: list[list[bytes]] = []
        self._answer = answer
        self.target = lab.target(self._serve)
        self.address, self.port = self.target.address, self.target.port

    def _serve(self, peer: Peer) -> None:
        with contextlib.suppress(ConnectionResetError), peer.sock.makefile("rb") as source:
            while head := source.readline():
                words = [source.read(int(source.readline()[1:]) + 2)[:-2] for _ in range(int(head[1:]))]
                self.said.append(words)
                reply = self._answer(self, words)
                if reply is None:
                    threading.Event().wait(seconds(60))
                else:
                    peer.send(reply)

    def cut(self) -> None:
        """Ends all connections."""
        for peer in self.target.peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)

    def heard(self, *words: bytes) -> int:
        return self.said.count(list(words))


def in_front_of(lab: Lab, fake: Fake, **keys: str) -> Relay:
    words = [word for key, value in {"url": f"redis://{fake.address}", **keys}.items() for word in ("--" + key.replace("_", "-"), value)]
    return allowed(lab.start("redis", "--listen", "127.0.0.1:0", "--log-level", "debug", *words))


def raises(client: redis.Redis, *words: object) -> str:
    with pytest.raises(redis.RedisError) as error:
        client.execute_command(*words)
    return str(error.value)


# ---- clients

@pytest.mark.parametrize("code", ["LOADING", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY"])
def test_errors_that_a_script_makes_up(lab: Lab, code: str) -> None:
    """An error that a client's script returns is the client's: it is not taken for a server's that cannot work, and the script not run again."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server, shared_connections="1"))
    client, other = lab.redis(relay), lab.redis(relay)
    other.set("x", 1)
    for name in ("EVAL", "eVal"):
        assert "made up" in raises(client, name, f"redis.call('INCR', 'n') return {{err='{code} made up'}}", "0")
    assert other.get("n") == b"2"
    assert relay.stats()["held"] == 0 and relay.stats()["upstreams_lost"] == 0


@pytest.mark.parametrize("size", [20_000, 1_000_000])
def test_long_errors(lab: Lab, size: int) -> None:
    """However long an error is, the client gets it, and the connection that it shares stays."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server, shared_connections="1"))
    client, other = lab.at(relay.address("client")), lab.redis(relay)
    other.set("x", 1)
    client.send(encode("EVAL", f"return {{err='ERR ' .. string.rep('x', {size})}}", "0") + encode("PING"))
    assert client.read(size + 14) == b"-ERR " + b"x" * size + b"\r\n" + b"+PONG\r\n"
    assert other.get("x") == b"1" and relay.stats()["upstreams_lost"] == 0


def test_many_errors_unread(lab: Lab) -> None:
    """A client that says much and reads late has all its errors, too."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server, pipeline="10000", stall_timeout="20s"))
    peer = lab.add(relay.connect("client", rcvbuf=4096))
    count, wrong = 8000, encode("NOSUCH" + "x" * 100, "y" * 100)
    sender = Task(peer.send, wrong * count)
    relay.wait_stat("commands", ">=", 2000)
    relay.wait_stat("under_way", "==", 0)
    answer = b"-ERR unknown command 'NOSUCH" + b"x" * 100 + b"', with args beginning with: '" + b"y" * 100 + b"' \r\n"
    assert peer.read(len(answer) * count) == answer * count
    sender.result()


@pytest.mark.parametrize("said", [b"POST / HTTP/1.1\r\n", b"Host: localhost\r\n", b"*1\r\n$5\r\nhOsT:\r\n", b"*2\r\n$4\r\npost\r\n$1\r\n/\r\n"], ids=["post", "host", "host2", "post2"])
def test_who_speaks_http(lab: Lab, said: bytes) -> None:
    """A server closes the connection on which HTTP is spoken: not one that others use."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server, shared_connections="1"))
    other = lab.redis(relay)
    other.incr("n")
    server.pause()
    task = Task(other.incr, "n")
    relay.wait_stat("under_way", "==", 1)
    peer = lab.at(relay.address("client"))
    peer.send(said)
    relay.wait_stat("clients", "==", 2)
    server.resume()
    assert task.result() == 2
    peer.gone()
    assert other.incr("n") == 3


def test_half_a_command_is_none(lab: Lab) -> None:
    """Behind a command that is none, nothing is done: no words within its values either."""
    server = lab.redis_server("--busy-reply-threshold", "0")
    relay = allowed(lab.redis_relay(server, mode="smart"))
    client = lab.redis(relay)
    client.set("x", 1)
    settled(relay)
    peer = lab.at(relay.address("client"))
    hidden = encode("SET", "hidden", "1")
    value = hidden * (300_000 // len(hidden))
    server.pause()
    peer.send(encode("GET", "x"))
    relay.wait_stat("under_way", "==", 1)
    with contextlib.suppress(ConnectionResetError):
        peer.send(b"*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\n$2\r\nEX\r\n$x\r\n" % (len(value), value))
    server.resume()
    assert peer.read_all() == b"$1\r\n1\r\n" + b"-ERR Protocol error: invalid bulk length\r\n"
    assert server.direct().keys("*") == [b"x"]


# ---- connections of one's own

@pytest.mark.parametrize("said", [b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$30000000\r\n" + b"x" * 200_000, encode("WATCH", "a") + encode("BLPOP", "a", "0") + encode("EXEC"),
                                  encode("BLPOP", "a", "0") + encode("MULTI") + encode("EXEC")], ids=["half", "watch", "behind"])
def test_who_finishes_in_the_middle(lab: Lab, said: bytes) -> None:
    """A client that goes in the middle of a long command, or behind one that waits, leaves no connection behind."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server))
    peer = lab.at(relay.address("client"))
    peer.send(said)
    relay.wait_stat("pinned", "==", 1)
    peer.finish()
    peer.gone()
    relay.wait_stat("pinned", "==", 0)
    assert server.direct().ping()


def test_who_has_gone_before_its_command_waits(lab: Lab) -> None:
    """A client that goes while its first command is under way does not wait for ever in its second one, whatever is behind that."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server))
    lab.redis(relay).client_list()  # its connection is in hand from now on
    relay.wait_stat("pinned", "==", 0)
    peer = lab.at(relay.address("client"))
    server.pause()
    peer.send(encode("GET", "a") + encode("BLPOP", "q", "0") + encode("QUIT"))
    relay.wait_stat("under_way", "==", 1)
    peer.finish()
    server.resume()
    assert peer.read(5) == b"$-1\r\n"
    peer.gone()
    relay.wait_stat("clients", "==", 1)
    relay.wait_stat("pinned", "==", 0)


def test_a_connection_is_found_when_a_shared_one_is_idle(lab: Lab) -> None:
    """With all connections in use, who waits for one of its own gets it once a shared one is not used any more."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server, maxConnections="2", shared_connections="1"))
    client, other = lab.redis(relay), lab.at(relay.address("client"))
    client.set("x", 1)
    other.send(encode("SELECT", "3"))
    assert other.read(5) == OK
    server.pause()
    other.send(encode("GET", "x"))
    relay.wait_stat("under_way", "==", 1)
    pipe = client.pipeline()
    pipe.get("x")
    task = Task(pipe.execute)
    relay.wait_stat("pinned", "==", 1)
    server.resume()
    assert task.result() == [b"1"]
    assert relay.stats()["upstreams"] <= 2


def test_who_goes_before_the_connection_is_there(lab: Lab) -> None:
    """A connection that is made for a client who has waited for a place, and is gone when it is ready, is not his any more."""
    hold = threading.Event()

    def answer(fake: Fake, words: list[bytes]) -> bytes:
        if words[0] == b"AUTH" and len(fake.target.peers) > 2:
            hold.wait(seconds(10))
        return OK

    fake = Fake(lab, answer)
    relay = in_front_of(lab, fake, url=f"redis://:pw@{fake.address}", maxConnections="2", shared_connections="1")
    first, second = lab.at(relay.address("client")), lab.at(relay.address("client"))
    first.send(encode("WATCH", "a"))
    assert first.read(5) == OK
    second.send(encode("WATCH", "a"))
    relay.wait_stat("pinned", "==", 2)
    first.reset()
    relay.wait_stat("dials", "==", 3)
    second.reset()
    relay.wait_stat("clients", "==", 0)
    hold.set()
    third = lab.at(relay.address("client"))
    third.send(encode("WATCH", "a"))
    assert third.read(5) == OK


def test_a_server_that_goes_while_a_database_is_chosen(lab: Lab) -> None:
    """The client is told, and can go on."""

    def answer(fake: Fake, words: list[bytes]) -> bytes | None:
        if words[0] != b"SELECT":
            return OK
        return b"-ERR DB index is out of range\r\n" if words[1] == b"9" else None

    fake = Fake(lab, answer)
    relay = in_front_of(lab, fake)
    peer = lab.at(relay.address("client"))
    peer.send(encode("SELECT", "9"))
    assert peer.read(31) == b"-ERR DB index is out of range\r\n"
    peer.send(encode("SELECT", "3"))
    relay.wait_stat("under_way", "==", 1)
    fake.cut()
    assert peer.read(5) == b"-ERR "
    peer.send(encode("QUIT"))
    assert peer.read_all().endswith(OK)


# ---- servers

def test_a_command_that_the_server_does_not_want_whole(lab: Lab) -> None:
    """A server that refuses a write before it has come to its end, and closes, has refused it: that is said, and what came behind is done."""
    server = lab.redis_server("--proto-max-bulk-len", "1mb")
    relay = allowed(lab.redis_relay(server, mode="smart"))
    client = lab.redis(relay)
    client.set("x", 1)
    assert client.set("big", b"x" * 8_000_000)
    assert client.set("x", 2)
    relay.wait_stat("early_queued", "==", 0)
    assert server.direct().get("x") == b"2" and relay.stats()["early_refused"] == 1


class Hasty(Fake):
    """It answers `word` to the first SET of its first connection before it has come to its end, and reads no more of it."""

    def __init__(self, lab: Lab, word: bytes) -> None:
        self._word = word
        super().__init__(lab, lambda fake, words: OK)

    def _serve(self, peer: Peer) -> None:
        if len(self.target.peers) > 1:
            return super()._serve(peer)
        said = b""
        while b"SET" not in said:
            said += peer.sock.recv(1000)
            if said.endswith(b"COMMAND\r\n"):
                peer.send(b"-ERR unknown command\r\n")
        peer.send(self._word)
        peer.gone()


@pytest.mark.parametrize(("word", "refused", "again"), [(b"-ERR Protocol error: invalid bulk length\r\n", 1, 0), (b"-LOADING x\r\n", 0, 1), (OK, 0, 0)],
                         ids=["error", "loading", "ok"])
def test_an_answer_to_half_a_command(lab: Lab, word: bytes, refused: int, again: int) -> None:
    """A server that answers a command of which it has not read the end costs its connection, and no more."""
    server = Hasty(lab, word)
    relay = in_front_of(lab, server, mode="smart")
    client = lab.at(relay.address("client"))
    big = b"x" * 16_000_000
    client.send(encode("SET", "a", big) + encode("SET", "b", "1"))
    assert client.read(10) == OK * 2
    relay.wait_stat("early_queued", "==", 0)
    assert server.heard(b"SET", b"b", b"1") == 1 and server.heard(b"SET", b"a", big) == again
    assert relay.stats()["early_refused"] == refused


@pytest.mark.parametrize("word", [b"+OK\r\n", b"-ERR x\r\n", b"-LOADING x\r\n", b">1\r\n+x\r\n", b"$100000\r\n" + b"x" * 50_000, b"*1000000000\r\n", b"garbage", b"\0"])
@pytest.mark.parametrize("mode", ["sync", "smart"])
def test_replies_that_nobody_asked_for(lab: Lab, mode: str, word: bytes) -> None:
    """A server that answers before it is asked, and more often, loses the connection, and the relay goes on."""

    def answer(fake: Fake, words: list[bytes]) -> bytes | None:
        if words[0] == b"SET" and len(words[2]) < 1000:
            return OK + word
        return OK

    fake = Fake(lab, answer)
    relay = in_front_of(lab, fake, mode=mode, timeout="1s")
    client = lab.at(relay.address("client"))
    for _ in range(3):
        client.send(encode("SET", "a", "1") + encode("SET", "b", "x" * 60_000) * 20)
    for one in fake.target.peers:
        with contextlib.suppress(OSError):
            one.send(word * 10)
    relay.wait_stat("under_way", "<=", 63)
    client.reset()
    assert relay.status()


def test_a_reply_that_takes_its_time(lab: Lab) -> None:
    """A reply that keeps coming is no silence, however long it takes."""
    more = threading.Event()

    def slowly(fake: Fake, words: list[bytes]) -> bytes | None:
        if words[0] != b"GET":
            return OK
        fake.target.peers[-1].send(b"$100\r\n")
        for _ in range(9):
            more.wait(seconds(0.25))
            fake.target.peers[-1].send(b"x" * 10)
        return b"x" * 10 + b"\r\n"

    fake = Fake(lab, slowly)
    relay = in_front_of(lab, fake, timeout=f"{seconds(1.5) * 1000:.0f}ms")
    client = lab.at(relay.address("client"))
    client.send(encode("GET", "a"))
    assert client.read(108) == b"$100\r\n" + b"x" * 100 + b"\r\n"


def test_a_database_that_is_refused_later(lab: Lab) -> None:
    """What was meant for a database is not done in another, when a server comes back that has it not."""
    has = True

    def answer(fake: Fake, words: list[bytes]) -> bytes | None:
        if words[0] == b"SELECT" and not has:
            return b"-ERR DB index is out of range\r\n"
        return OK

    fake = Fake(lab, answer)
    relay = in_front_of(lab, fake)
    client = lab.at(relay.address("client"))
    client.send(encode("SELECT", "3") + encode("SET", "a", "1"))
    assert client.read(10) == OK * 2
    has = False
    fake.cut()
    relay.wait_stat("upstreams_lost", ">=", 1)
    client.send(encode("FLUSHDB") + encode("MULTI"))
    assert client.read(4) == b"-ERR"
    client.send(encode("QUIT"))
    client.read_all()
    assert not fake.heard(b"FLUSHDB") and not fake.heard(b"MULTI")


@pytest.mark.parametrize("mood", [b"-BUSY Redis is busy\r\n", b"-ERR max number of clients reached\r\n", b"-LOADING x\r\n"], ids=["busy", "full", "loading"])
def test_a_server_that_greets_nobody_for_now(lab: Lab, mood: bytes) -> None:
    """What was answered early for a database stays when the server, back again, cannot choose it yet."""
    moody = False

    def answer(fake: Fake, words: list[bytes]) -> bytes | None:
        return mood if words[0] == b"SELECT" and moody else OK

    fake = Fake(lab, answer)
    relay = in_front_of(lab, fake, mode="smart", retry_max="50ms", retry_min="10ms")
    client = lab.at(relay.address("client"))
    client.send(encode("SELECT", "3") + encode("SET", "a", "1"))
    assert client.read(10) == OK * 2
    relay.wait_stat("early_queued", "==", 0)
    moody = True
    fake.cut()
    relay.wait_stat("upstreams_lost", ">=", 1)
    client.send(encode("SET", "a", "2"))
    assert client.read(5) == OK
    relay.wait_stat("upstreams_lost", ">=", 4)
    moody = False
    relay.wait_stat("early_queued", "==", 0)
    assert fake.heard(b"SET", b"a", b"2") == 1 and relay.stats()["early_lost"] == 0


# ---- clusters

class Nodes:
    """Three nodes of a cluster that do nothing but answer; `also` may know better."""

    def __init__(self, lab: Lab, also: Callable[[Fake, list[bytes]], bytes | None] = lambda fake, words: None, most: int = 16384) -> None:
        self._also, self._most = also, most
        self.ready = threading.Event()
        self.nodes = [Fake(lab, self._answer) for _ in range(3)]
        self.url = "redis-cluster://" + ",".join(node.address for node in self.nodes)
        self.ready.set()

    def _answer(self, fake: Fake, words: list[bytes]) -> bytes | None:
        self.ready.wait(seconds(10))
        reply = self._also(fake, words)
        if reply is not None:
            return reply
        if words == [b"COMMAND"]:
            return COMMANDS
        if words[:2] != [b"CLUSTER", b"SLOTS"]:
            return OK
        share = self._most // 3
        return b"*3\r\n" + b"".join(b"*3\r\n:%d\r\n:%d\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % (i * share, (i + 1) * share - 1, node.port) for i, node in enumerate(self.nodes))

    def relay(self, lab: Lab, **keys: str) -> Relay:
        words = [word for key, value in keys.items() for word in ("--" + key.replace("_", "-"), value)]
        return allowed(lab.start("redis", "--listen", "127.0.0.1:0", "--url", self.url, "--log-level", "debug", *words)).allow("cluster-unknown")

    def of(self, key: str) -> Fake:
        return self.nodes[slot_of(key) // (self._most // 3)]

    def keys(self) -> list[str]:
        """One for each node."""
        return [next(key for key in map(str, range(1000)) if slot_of(key) // (self._most // 3) == node) for node in range(3)]


@pytest.mark.parametrize("code", ["MOVED", "ASK"])
def test_a_redirection_that_a_script_makes_up(lab: Lab, code: str) -> None:
    """A client's script sends nobody, and no password, to a place that the cluster does not know."""
    evil = Fake(lab, lambda fake, words: OK)

    def also(fake: Fake, words: list[bytes]) -> bytes | None:
        return b"-%s %d %s\r\n" % (code.encode(), slot_of("a"), evil.address.encode()) if words[0].upper() == b"EVAL" else b"$1\r\n1\r\n" if words[0] == b"GET" else None

    nodes = Nodes(lab, also)
    relay = nodes.relay(lab)
    client, other = lab.redis(relay), lab.redis(relay)
    assert other.get("a") == b"1"
    raises(client, "EVAL", "return {err='…'}", "1", "a")
    assert other.get("a") == b"1"
    assert not evil.target.connections


def test_parts_when_connections_are_few(lab: Lab) -> None:
    """A command of several parts has all its replies though there is not a connection for each."""
    nodes = Nodes(lab, lambda fake, words: b":1\r\n" if words[0] == b"DEL" else b"%1\r\n+proto\r\n:3\r\n" if words[0] == b"HELLO" else None)
    relay = nodes.relay(lab, maxConnections="5", shared_connections="1", timeout="500ms")
    peer = lab.at(relay.address("client"))
    peer.send(encode("HELLO", "3"))
    assert peer.read(16) == b"%1\r\n+proto\r\n:3\r\n"
    peer.send(encode("DEL", *nodes.keys()))
    reply = peer.read(4)
    assert reply == b":3\r\n" or reply.startswith(b"-")
    peer.send(encode("QUIT"))
    peer.read_all()
    relay.wait_stat("under_way", "==", 0)


def test_a_connection_to_another_node(lab: Lab) -> None:
    """Who waits for a connection to one node gets it when one to another is not needed any more."""
    nodes = Nodes(lab, lambda fake, words: b"*0\r\n" if words[0] == b"EXEC" else None)
    relay = nodes.relay(lab, maxConnections="4", shared_connections="1")
    relay.wait_stat("upstreams", "==", 3)
    first, second = lab.at(relay.address("client")), lab.at(relay.address("client"))
    here, there, _ = nodes.keys()
    first.send(encode("WATCH", here))
    assert first.read(5) == OK
    second.send(encode("WATCH", there))
    relay.wait_stat("pinned", "==", 2)
    first.send(encode("UNWATCH"))
    assert first.read(5) == OK
    assert second.read(5) == OK


def test_a_reload_of_a_cluster(lab: Lab) -> None:
    """Connections to nodes go on after a reload, and come back to the same nodes."""
    nodes = Nodes(lab, lambda fake, words: b"$%d\r\n%d\r\n" % (len(str(fake.port)), fake.port) if words[0] == b"GET" else None)
    config = f'[[relay]]\nkind = "redis"\nlisten = "127.0.0.1:0"\nurl = "{nodes.url}"\nretry-min = "10ms"\n'
    relay = allowed(lab.run(config)).allow("cluster-unknown")
    client = lab.redis(relay)
    for _ in range(3):
        for key in reversed(nodes.keys()):
            assert client.get(key) == b"%d" % nodes.of(key).port
        mark = relay.mark()
        relay.signal(signal.SIGHUP)
        relay.wait_log("reloaded", after=mark)
        for node in nodes.nodes[1:]:
            node.cut()
        assert relay.status()


def test_a_slot_that_nobody_has_and_a_deaf_client(lab: Lab) -> None:
    """A client that waits for a slot and does not read is ended as any that does not read."""
    nodes = Nodes(lab, lambda fake, words: b"$50000\r\n" + b"x" * 50_000 + b"\r\n" if words[0] == b"GET" else None, most=16380)
    relay = nodes.relay(lab, stall_timeout="300ms", timeout="60s")
    other = lab.redis(relay)
    key = nodes.keys()[0]
    assert len(other.get(key)) == 50_000
    nowhere = next(key for key in map(str, range(100_000)) if slot_of(key) >= 16380)
    deaf = lab.add(relay.connect("client", rcvbuf=4096))
    deaf.send(encode("GET", key) * 300 + encode("GET", nowhere))
    relay.wait_stat("stalled", "==", 1)
    assert len(other.get(key)) == 50_000


@pytest.mark.parametrize("how", ["dies", "says nothing"])
def test_who_has_finished_is_told_of_a_lost_server(lab: Lab, how: str) -> None:
    """A client that has finished and waits for its last reply gets an error when the server is lost, and its connection is closed."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server, timeout="300ms" if how == "says nothing" else "10s"))
    peer = lab.at(relay.address("client"))
    peer.send(encode("GET", "n"))
    assert peer.read(5) == b"$-1\r\n"  # so that the server is known before it says nothing more
    server.pause()
    peer.send(encode("INCR", "n"))
    relay.wait_stat("under_way", "==", 1)
    peer.finish()
    if how == "dies":
        server.kill()
    what = b"connection to the server was lost" if how == "dies" else b"no answer from the server within the timeout"
    assert peer.read_all() == b"-ERR relay: %b; the command may have been executed\r\n" % what
    relay.wait_stat("clients", "==", 0)


def test_a_silent_server_behind_a_connection_of_ones_own(lab: Lab) -> None:
    """A transaction, or another command that does not wait, is told of a server that says nothing; one that waits is left alone."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server, timeout="300ms"))
    waiting, inside, asking = (lab.at(relay.address("client")) for _ in range(3))
    waiting.send(encode("BLPOP", "q", "0"))
    inside.send(encode("MULTI") + encode("SET", "a", "1"))
    assert inside.read(14) == b"+OK\r\n+QUEUED\r\n"
    relay.wait_stat("pinned", "==", 2)
    server.pause()
    silent = b"-ERR relay: no answer from the server within the timeout; the command may have been executed\r\n"
    asking.send(encode("CLIENT", "KILL", "ID", "999999"))
    inside.send(encode("EXEC"))
    assert inside.read_all() == silent
    answer = asking.read(len(b"-ERR relay: "))
    assert answer == b"-ERR relay: "  # it may have had to wait for its connection
    server.resume()
    server.direct().rpush("q", "e")
    assert waiting.read(len(b"*2\r\n$1\r\nq\r\n$1\r\ne\r\n")) == b"*2\r\n$1\r\nq\r\n$1\r\ne\r\n"


@pytest.mark.parametrize("way", ["get", "multi", "much", "answer"])
def test_what_nobody_waits_for_goes_out_together(lab: Lab, way: str) -> None:
    """Behind a command that is under way others are gathered, until its answer comes, somebody waits for them, or they are many."""
    said = bytearray()

    def serve(peer: Peer) -> None:
        with contextlib.suppress(OSError):
            while data := peer.sock.recv(1 << 20):
                said.extend(data)
                if said.endswith(b"COMMAND\r\n"):
                    peer.send(b"-ERR unknown command\r\n")

    target = lab.target(serve)
    relay = allowed(lab.start("redis", "--listen", "127.0.0.1:0", "--mode", "smart", "--url", f"redis://{target.address}"))
    client, other = lab.at(relay.address("client")), lab.at(relay.address("client"))
    client.send(encode("SET", "a", "1"))
    assert client.read(5) == OK
    until(lambda: encode("SET", "a", "1") in said, "the first command")
    client.send(encode("SET", "b", "1"))
    assert client.read(5) == OK
    for _ in range(3):  # turns of the relay, in which it could have gone
        other.send(encode("PING"))
        assert other.read(7) == b"+PONG\r\n"
    assert encode("SET", "b", "1") not in said
    if way == "answer":
        target.peers[0].send(OK)
    else:
        other.send({"get": encode("GET", "c"), "multi": encode("MULTI"), "much": encode("SET", "d", b"x" * 300_000)}[way])
    until(lambda: encode("SET", "b", "1") in said, "the second command")
    relay.kill()
    lab.relays.remove(relay)  # what it owes nobody takes
