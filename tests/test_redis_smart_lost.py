# SPDX-License-Identifier: Apache-2.0
"""The Redis relay in smart mode: what was answered is not lost, whatever becomes of the server, within what the relay may hold."""
# Issue: point 7.

import contextlib
import random
import select
import threading
from typing import Any

import pytest
import redis

from harness.lab import Lab
from harness.process import Relay
from harness.scale import volume
from harness.sockets import Peer
from harness.task import Task
from harness.until import until
from test_redis_smart import OK, ONE, settled, warm
from test_redis_sync import encode

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


def allowed(relay: Relay) -> Relay:
    return relay.allow("server-lost", "dial-failed", "early-refused", "early-uncertain")


def test_a_burst(lab: Lab) -> None:
    """20,000 SETs in one burst are all answered and all stored."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart")
    count = volume(20_000)
    client = lab.at(relay.address("client"))
    sender = Task(client.send, b"".join(encode("SET", f"k{number}", str(number)) for number in range(count)))
    assert client.read(5 * count) == OK * count
    sender.result()
    settled(relay)
    direct = server.direct()
    assert direct.dbsize() == count
    assert direct.mget([f"k{number}" for number in range(count)]) == [b"%d" % number for number in range(count)]


def test_the_server_is_down(lab: Lab) -> None:
    """500 SETs without a server are answered, and stored once it is up; so are those that it comes to stand in the middle of."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server, mode="smart", timeout="300ms", retry_max="200ms"))
    client = warm(lab, relay)
    server.kill()
    count = volume(500)
    for number in range(count):
        assert client.set(f"k{number}", number)
    with pytest.raises(redis.ResponseError, match="cannot reach the server"):
        client.get("k1")
    assert client.set("last", "1")
    server.start()
    direct = server.direct()
    until(lambda: direct.dbsize() == count + 1, "all are stored")
    assert direct.mget([f"k{number}" for number in range(count)]) == [b"%d" % number for number in range(count)]
    settled(relay)


def test_a_server_that_was_never_there(lab: Lab) -> None:
    """Writes are answered before the first connection to the server, and wait for it."""
    server = lab.redis_server()
    server.kill()
    relay = allowed(lab.redis_relay(server, mode="smart", retry_max="200ms"))
    client = lab.redis(relay)
    assert client.set("a", 1) and client.hset("h", "f", "v") == 1 and client.ping()
    server.start()
    until(lambda: server.direct().get("a") == b"1" and server.direct().hget("h", "f") == b"v", "stored")


class Ledger:
    """A client, and what it was answered: the last value of each key, and all that was added to a set and must be there for good."""

    def __init__(self, peer: Peer, name: str, greeting: bytes = b"", welcome: bytes = b"", db: int = 0) -> None:
        self.peer, self.name, self.db = peer, name, db
        self.values: dict[bytes, bytes] = {}
        self.members: set[bytes] = set()
        self.written = 0
        peer.send(greeting)
        said = b""
        while not said.endswith(welcome):
            said += peer.read(1)

    def say(self, answer: bytes, *words: str) -> None:
        self.peer.send(encode(*words))
        assert self.peer.read(len(answer)) == answer

    def write(self) -> None:
        number = self.written
        key, value = f"{self.name}-{number % 20}", f"{number}"
        self.say(OK, "SET", key, value)
        self.values[key.encode()] = value.encode()
        if number % 3 == 0:
            self.say(ONE, "SADD", f"{self.name}-set", value)
            self.members.add(value.encode())
        if number % 7 == 0:
            self.say(ONE, "DEL", key)
            del self.values[key.encode()]
        self.written += 1

    def check(self, direct: Any) -> None:
        found = {key: direct.get(key) for key in direct.keys(f"{self.name}-[0-9]*")}
        assert found == self.values
        assert direct.smembers(f"{self.name}-set") == self.members


@pytest.mark.parametrize("seed", range(3))
def test_faults_at_random(lab: Lab, seed: int) -> None:
    """While the server is killed, paused, restarted and throws clients out, nothing that was answered is lost, or undone by something older."""
    chance = random.Random(seed)
    server = lab.redis_server(*DURABLE)
    relay = allowed(lab.redis_relay(server, mode="smart", timeout="20s", retry_min="10ms", retry_max="50ms"))
    ledgers = [
        Ledger(lab.at(relay.address("client")), "plain"),
        Ledger(lab.at(relay.address("client")), "resp3", encode("HELLO", "3"), b"modules\r\n*0\r\n"),
        Ledger(lab.at(relay.address("client")), "db", encode("SELECT", "1"), OK, db=1),
    ]
    stop = threading.Event()

    def go_on(ledger: Ledger) -> None:
        while not stop.is_set():
            ledger.write()

    def more(most: int) -> None:
        """Waits until some more have been answered, of each."""
        goals = [(ledger, ledger.written + chance.randrange(most)) for ledger in ledgers]
        until(lambda: all(ledger.written >= goal for ledger, goal in goals), lambda: f"{[ledger.written for ledger in ledgers]} answered")

    tasks = [Task(go_on, ledger) for ledger in ledgers]
    for _ in range(volume(16)):
        more(60)
        fault = chance.choice(["kill", "pause", "throw out", "stop and start"])
        if fault == "throw out":
            server.direct().execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            continue
        if fault != "kill":
            server.pause()
            more(200)
        if fault == "pause":
            server.resume()
            continue
        server.kill()
        more(60)
        server.start()
    stop.set()
    for task in tasks:
        task.result()
    settled(relay)
    for ledger in ledgers:
        ledger.check(server.direct(db=ledger.db))


def test_what_may_not_be_done_twice(lab: Lab) -> None:
    """An INCR that may have been done when the connection was lost is not done again; it is counted and logged."""
    server = lab.redis_server(*DURABLE)
    relay = allowed(lab.redis_relay(server, mode="smart", asynCommands="INCR", retry_min="10ms", retry_max="50ms"))
    client = warm(lab, relay)
    count, rounds = 20, volume(8)
    for _ in range(rounds):
        server.pause()
        for _ in range(count):
            client.execute_command("INCR", "n")
        server.kill()
        server.start()
        until(lambda: client.get("warm") is None, "the server is back")
    settled(relay)
    done = int(server.direct().get("n") or 0)
    unknown = relay.stats()["early_lost"]
    assert done <= count * rounds and done + unknown >= count * rounds


def fill(peer: Peer, size: int) -> tuple[int, bytes]:
    """Sends SETs of different keys until nobody takes any more; returns how many it began, and what is left of the last one."""
    sent, number = 0, 0
    while True:
        words = encode("SET", f"k{number}", "x" * size)
        number += 1
        while words:
            if not select.select([], [peer], [], 0.5)[1]:
                return number, words
            taken = peer.sock.send(words)
            sent += taken
            words = words[taken:]


def test_a_full_queue(lab: Lab) -> None:
    """When the queue is full the client waits, and with it nobody's write is lost; the relay does not grow."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart", queue_size="256KiB", timeout="60s")
    warm(lab, relay)
    server.pause()
    before = relay.memory()
    peers = [lab.add(relay.connect("client", sndbuf=16384, rcvbuf=65536)) for _ in range(3)]
    counts, tasks = [], []
    for number, peer in enumerate(peers):
        count, rest = fill(peer, 2000 + number)
        counts.append(count)
        tasks.append(Task(peer.send, rest))
    assert relay.memory() < before + (4 << 20)
    late = lab.at(relay.address("client"))
    late.send(encode("SET", "late", "1"))
    server.resume()
    for peer, count, task in zip(peers, counts, tasks):
        assert peer.read(5 * count) == OK * count
        task.result()
    assert late.read(5) == OK
    settled(relay)
    assert server.direct().dbsize() == max(counts) + 1


def test_drain(lab: Lab) -> None:
    """A relay that is told to end first sends all that it has answered."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart")
    client = warm(lab, relay)
    server.pause()
    count = volume(2000)
    peer = lab.at(relay.address("client"))
    peer.send(b"".join(encode("SET", f"k{number}", "v" * 100) for number in range(count)))
    assert peer.read(5 * count) == OK * count
    relay.signal(15)
    relay.wait_log("draining")
    peer.close()
    client.connection_pool.disconnect()
    server.resume()
    relay.check_exit()
    assert server.direct().dbsize() == count


def test_drain_without_a_server(lab: Lab) -> None:
    """A relay that ends while the server is away waits for it."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server, mode="smart", retry_max="100ms"))
    client = warm(lab, relay)
    server.kill()
    assert client.set("a", 1)
    relay.signal(15)
    relay.wait_log("draining")
    server.start()
    relay.check_exit()
    assert server.direct().get("a") == b"1"


def test_a_client_that_goes_at_once(lab: Lab) -> None:
    """A client that writes, is answered and goes, by whichever way, has written."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, mode="smart")
    warm(lab, relay)
    server.pause()
    for how in ("close", "reset", "finish"):
        peer = lab.at(relay.address("client"))
        peer.send(encode("SET", how, "1"))
        assert peer.read(5) == OK
        getattr(peer, how)()
    server.resume()
    settled(relay)
    assert sorted(server.direct().keys("*")) == [b"close", b"finish", b"reset"]


def test_a_server_that_is_full(lab: Lab) -> None:
    """What the server refuses later is said with the key and counted; what it took is there."""
    server = lab.redis_server("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    relay = allowed(lab.redis_relay(server, mode="smart"))
    client = warm(lab, relay)
    count = 120
    for number in range(count):
        assert client.set(f"k{number}", "x" * 50_000)
    settled(relay)
    stored = server.direct().dbsize()
    assert 0 < stored < count
    assert relay.stats()["early_different"] == count - stored
    line = relay.wait_log("early-refused")
    assert "OOM" in line.raw and "k" in line.raw


def test_a_server_that_loads(lab: Lab) -> None:
    """What a server that still loads its data has refused is done later, and not after what came behind it."""
    server = lab.redis_server("--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024")
    relay = allowed(lab.redis_relay(server, mode="smart", timeout="20s"))
    client, direct = warm(lab, relay), server.direct()
    direct.mset({f"k{number}": "x" * 100 for number in range(500)})
    direct.config_set("key-load-delay", 300)
    peer = lab.at(relay.address("client"))
    reload, written, held = Task(direct.execute_command, "DEBUG", "RELOAD"), 0, 0
    while not reload.done():
        peer.send(b"".join(encode("SET", f"a{i % 5}", str(written + i)) for i in range(500)))
        assert peer.read(2500) == OK * 500
        written += 500
    reload.result()
    settled(relay)
    assert relay.stats()["held"] > 0
    assert [int(client.get(f"a{i}")) for i in range(5)] == [written - 5 + i for i in range(5)]


def test_a_server_that_is_busy(lab: Lab) -> None:
    """While a script keeps the server busy, what was answered is not lost."""
    server = lab.redis_server("--busy-reply-threshold", "20")
    relay = allowed(lab.redis_relay(server, mode="smart", timeout="20s"))
    client = warm(lab, relay)
    count = volume(4000)
    script = Task(server.direct().eval, "local n = redis.call('TIME')[2] + 0 for i = 1, 30000000 do n = n + i end return 1", 0)
    for number in range(count):
        assert client.set(f"k{number}", number)
    script.result()
    settled(relay)
    assert server.direct().dbsize() == count


class Moody:
    """As much of a server as a lane needs: it keeps what is SET, and gives the answers of `moods` to the next SETs and INCRs instead of doing them."""

    def __init__(self) -> None:
        self.moods: list[bytes] = []
        self.values: dict[bytes, bytes] = {}
        self.log: list[bytes] = []

    def serve(self, peer: Peer) -> None:
        with contextlib.suppress(ConnectionResetError), peer.sock.makefile("rb") as source:
            while head := source.readline():
                words = [source.read(int(source.readline()[1:]) + 2)[:-2] for _ in range(int(head[1:]))]
                peer.send(self.answer(words))

    def answer(self, words: list[bytes]) -> bytes:
        name = words[0].upper()
        if name == b"COMMAND":
            return b"*1\r\n*6\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n"
        if name == b"GET":
            value = self.values.get(words[1])
            return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
        if name not in (b"SET", b"INCR"):
            return b"-ERR unknown command\r\n"
        self.log.append(b" ".join(words))
        if self.moods and (mood := self.moods.pop(0)):
            return mood
        self.values[words[1]] = words[2] if name == b"SET" else b"%d" % (int(self.values.get(words[1], b"0")) + 1)
        return OK if name == b"SET" else b":%b\r\n" % self.values[words[1]]


@pytest.mark.parametrize("mood", [b"-LOADING x\r\n", b"-BUSY x\r\n", b"-MASTERDOWN x\r\n", b"-TRYAGAIN x\r\n"], ids=["loading", "busy", "masterdown", "tryagain"])
def test_what_was_refused_for_now_is_not_done_after_what_came_later(lab: Lab, mood: bytes) -> None:
    """A server that refuses a write and takes the next one has in the end what was written last."""
    moody = Moody()
    target = lab.target(moody.serve)
    relay = allowed(lab.start("redis", "--listen", "127.0.0.1:0", "--url", target.address, "--mode", "smart", "--log-level", "debug"))
    client = lab.at(relay.address("client"))
    moody.moods = [mood, b"", mood, b"", b""]
    client.send(b"".join(encode("SET", "a", str(number)) for number in range(5)) + encode("GET", "a"))
    assert client.read(25) == OK * 5
    settled(relay)
    assert moody.values == {b"a": b"4"}, moody.log
    assert relay.stats()["early_refused"] == 0
    answer = b"$1\r\n4\r\n"
    assert client.read(len(answer)) == answer


def moody_relay(lab: Lab, **keys: str) -> tuple[Moody, Relay]:
    moody = Moody()
    target = lab.target(moody.serve)
    words = [word for key, value in keys.items() for word in (f"--{key}", value)]
    return moody, allowed(lab.start("redis", "--listen", "127.0.0.1:0", "--url", target.address, "--mode", "smart", *words))


def test_reads_behind_what_was_refused_for_now(lab: Lab) -> None:
    """A read that the server has answered though it had refused the write before it is asked again."""
    moody, relay = moody_relay(lab)
    client = lab.at(relay.address("client"))
    client.send(encode("GET", "warm"))  # so that it knows which commands read
    assert client.read(5) == b"$-1\r\n"
    moody.moods = [b"-LOADING x\r\n", b"-LOADING x\r\n"]
    client.send(encode("SET", "a", "1") + encode("GET", "a") + encode("SET", "b", "2") + encode("GET", "b") + encode("GET", "a"))
    answer = OK + b"$1\r\n1\r\n" + OK + b"$1\r\n2\r\n$1\r\n1\r\n"
    assert client.read(len(answer)) == answer
    assert relay.stats()["held"] > 0


def test_a_server_that_refuses_writes_for_long(lab: Lab) -> None:
    """Who waits behind a write that was answered and is refused for now is told why after the timeout; nothing is lost, and then all is well again."""
    moody, relay = moody_relay(lab, timeout="1s")
    client = lab.at(relay.address("client"))
    moody.moods = [b"-MISCONF no disk\r\n"] * 1000
    client.send(encode("SET", "a", "1") + encode("SET", "b", "2") + encode("GET", "a"))
    told = b"-ERR relay: what was answered before waits, for the server says: MISCONF no disk\r\n"
    assert client.read(10 + len(told)) == OK * 2 + told
    client.send(encode("GET", "b") + encode("MULTI") + encode("SET", "c", "3"))
    assert client.read(2 * len(told) + 5) == told * 2 + OK
    moody.moods = []
    settled(relay)
    client.send(encode("GET", "a") + encode("GET", "b") + encode("GET", "c"))
    assert client.read(21) == b"$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n"
    assert relay.stats()["early_refused"] == 0


def test_a_transaction_without_a_server(lab: Lab) -> None:
    """MULTI behind a write that was answered gets an error after the timeout, while the server is away."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server, mode="smart", timeout="300ms", retry_max="100ms"))
    client = warm(lab, relay)
    server.kill()
    assert client.set("a", 1)
    for command in (["MULTI"], ["BLPOP", "q", "0"], ["SUBSCRIBE", "c"]):
        with pytest.raises(redis.ResponseError, match="cannot reach the server"):
            client.execute_command(*command)
    server.start()
    until(lambda: server.direct().get("a") == b"1", "stored")


def test_a_script_is_killed(lab: Lab) -> None:
    """SCRIPT KILL goes to a busy server at once, though what was answered waits for that; and a client who waits is told that it is busy."""
    server = lab.redis_server("--busy-reply-threshold", "20")
    relay = allowed(lab.redis_relay(server, mode="smart", timeout="60s"))
    client = warm(lab, relay)

    def run() -> None:
        with contextlib.suppress(redis.ResponseError):
            server.direct().eval("while true do end", 0)

    script = Task(run)
    until(lambda: client.set("a", 1) and relay.stats()["held"] > 0, "the server is busy")
    assert client.execute_command("SCRIPT", "KILL") in (True, b"OK")
    script.result()
    assert client.get("a") == b"1"


def test_a_command_that_the_server_does_not_survive(lab: Lab) -> None:
    """What was answered is not given up, but who runs the relay hears which command it is; once the server takes it, all is done."""
    server = lab.redis_server("--client-query-buffer-limit", "1mb")
    relay = lab.redis_relay(server, mode="smart", retry_min="5ms", retry_max="10ms").allow("server-lost", "early-stuck")
    client = lab.redis(relay)
    assert client.set("big", b"x" * 3_000_000)
    assert client.set("behind", "1")
    line = relay.wait_log("early-stuck")
    assert (line["command"], line["key"]) == ("SET", "big")
    server.direct().config_set("client-query-buffer-limit", "64mb")
    relay.wait_stat("early_queued", "==", 0)
    assert server.direct().strlen("big") == 3_000_000
    assert server.direct().get("behind") == b"1"
