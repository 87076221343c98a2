# SPDX-License-Identifier: Apache-2.0
"""The Redis relay with a spool: what was answered outlives the relay, in its order, and is done twice only where that does no harm."""
# Issue: point 7.

import contextlib
import random
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from harness.lab import Lab
from harness.peers.redis import RedisServer
from harness.process import Relay, command
from harness.scale import volume
from harness.sockets import Peer
from harness.task import Task
from harness.until import until
from test_redis_smart import OK, ONE, settled, warm
from test_redis_smart_lost import DURABLE
from test_redis_sync import encode


class Spooled:
    """A relay that is started again and again, over one spool."""

    def __init__(self, lab: Lab, server: RedisServer, **keys: Any) -> None:
        self.lab, self.server = lab, server
        self.folder = lab.folder / "spool"
        self.folder.mkdir()
        self.keys = {"mode": "smart", "spool": self.folder, "name": "app", "retry_min": "10ms", "retry_max": "100ms", "asynCommands": "INCR APPEND", **keys}
        self.relay = self.start()

    def start(self, **keys: Any) -> Relay:
        self.relay = self.lab.redis_relay(self.server, **{**self.keys, **keys}).allow("server-lost", "dial-failed", "spool-torn", "spool-kept", "early-uncertain")
        return self.relay

    def kill(self) -> None:
        """As the machine's operator would, or the kernel for want of memory."""
        self.relay.process.kill()
        self.relay.kill()
        self.lab.relays.remove(self.relay)

    def end(self) -> Relay:
        """In good order, as for an upgrade."""
        self.lab.close_peers()
        self.relay.signal(signal.SIGTERM)
        self.relay.check_exit()
        self.lab.relays.remove(self.relay)
        return self.relay

    def client(self) -> Peer:
        return self.lab.at(self.relay.address("client"))

    def segments(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.suffix != ".mark" and path.stat().st_size > 0)

    def done(self) -> None:
        """Waits until the server has all."""
        self.relay.wait_stat("spool_bytes", "==", 0)
        settled(self.relay)


def say(peer: Peer, answer: bytes, *commands: bytes) -> None:
    peer.send(b"".join(commands))
    assert peer.read(len(answer)) == answer


def read_until(peer: Peer, end: bytes) -> bytes:
    answer = b""
    while not answer.endswith(end):
        try:
            answer += peer.read(1)
        except AssertionError as late:
            raise AssertionError(f"only {answer!r}") from late
    return answer


@pytest.mark.parametrize("fsync", ["always", "everysec", "no"])
def test_killed_with_the_server_down(lab: Lab, fsync: str) -> None:
    """500 SETs without a server are answered; the relay is killed and started again; the server comes, and has all."""
    server = lab.redis_server()
    server.kill()
    spooled = Spooled(lab, server, fsync=fsync)
    count = volume(500)
    client = lab.redis(spooled.relay)
    for number in range(count):
        assert client.set(f"k{number}", number)
        assert client.append("order", f"{number},")
    assert spooled.relay.stats()["spooled"] == 2 * count
    spooled.kill()
    spooled.start()
    spooled.kill()
    spooled.start()
    server.start()
    spooled.done()
    direct = server.direct()
    assert direct.mget([f"k{number}" for number in range(count)]) == [b"%d" % number for number in range(count)]
    assert direct.get("order") == b"".join(b"%d," % number for number in range(count))
    assert spooled.relay.stats()["early_lost"] == 0
    assert spooled.end().find("spool-kept") == []
    assert spooled.segments() == []


def test_ended_with_the_server_away(lab: Lab) -> None:
    """A relay that is told to end does not wait for a server that is away; it says what it leaves, and the next one delivers it."""
    server = lab.redis_server()
    spooled = Spooled(lab, server)
    client = spooled.client()
    say(client, OK, encode("SET", "before", "1"))
    spooled.done()
    server.kill()
    say(client, OK * 3, *(encode("SET", f"k{number}", "1") for number in range(3)))
    kept = spooled.end().wait_log("spool-kept")
    assert kept["commands"] == 3
    server.start()
    spooled.start()
    spooled.done()
    assert sorted(server.direct().keys()) == [b"k0", b"k1", b"k2"]


def test_ended_with_the_server_there(lab: Lab) -> None:
    """With a server that answers, a relay that is told to end leaves nothing behind that was on its way."""
    server = lab.redis_server()
    spooled = Spooled(lab, server)
    client = spooled.client()
    count = volume(20_000)
    say(client, ONE * count, *(encode("INCR", "n") for _ in range(count)))
    assert spooled.end().find("spool-kept") == []
    assert server.direct().get("n") == b"%d" % count


class Writer:
    """A client that writes until it is told to stop, or its relay is gone, and remembers what it was answered."""

    def __init__(self, name: str, db: int) -> None:
        self.name, self.db = name, db
        self.asked = self.answered = 0

    def run(self, peer: Peer, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                batch = 1 + self.asked % 5
                numbers = range(self.asked, self.asked + batch)
                self.asked += batch
                peer.send(b"".join(encode("SET", f"{self.name}-{number % 7}", str(number)) + encode("SADD", self.name, str(number)) for number in numbers))
                for _ in numbers:
                    assert peer.read(9) == OK + ONE
                    self.answered += 1
        except (OSError, AssertionError):
            assert not stop.is_set()  # the relay was killed

    def check(self, direct: Any) -> None:
        """What was answered is there; what was asked may be; and each key has what was written last, or what was not answered any more."""
        stored = {int(member) for member in direct.smembers(self.name)}
        assert set(range(self.answered)) <= stored <= set(range(self.asked)), (self.answered, self.asked)
        for key in range(7):
            last = max((number for number in range(self.answered) if number % 7 == key), default=-1)
            value = int(direct.get(f"{self.name}-{key}") or -1)
            assert value >= last and value % 7 in (key, 6), (key, value, last)


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random(lab: Lab, seed: int) -> None:
    """The relay is killed again and again while clients write, with the server there, silent or down: nothing that was answered is lost."""
    chance = random.Random(seed)
    server = lab.redis_server(*DURABLE)
    spooled = Spooled(lab, server, fsync=["no", "everysec", "always"][seed], queue_size=["64KiB", "64MiB", "64KiB"][seed], spool_size="64MiB", timeout="60s")
    for round_ in range(volume(6)):
        writers = [Writer(f"w{round_}-{number}", number % 2) for number in range(3)]
        stop = threading.Event()
        peers = [spooled.client() for _ in writers]
        for peer, writer in zip(peers, writers):
            say(peer, OK, encode("SELECT", str(writer.db)))
        tasks = [Task(writer.run, peer, stop) for peer, writer in zip(peers, writers)]
        goal = chance.randrange(20, 600)
        mood = chance.choice(["there", "silent", "down"])
        if mood == "silent":
            server.pause()
        if mood == "down":
            server.kill()
        until(lambda: all(writer.answered >= goal for writer in writers), lambda: f"{[writer.answered for writer in writers]} answered")
        spooled.kill()
        for task in tasks:
            task.result()
        if mood == "silent":
            server.resume()
        if mood == "down":
            server.start()
        spooled.start()
        spooled.done()
        for writer in writers:
            writer.check(server.direct(db=writer.db))
    assert spooled.relay.stats()["spool_damaged"] == 0


def test_what_may_not_be_done_twice(lab: Lab) -> None:
    """Of INCRs that were on their way when the relay was killed none is done again, and those that were not are all done."""
    server = lab.redis_server(*DURABLE)
    spooled = Spooled(lab, server, timeout="60s")
    warm(lab, spooled.relay)
    total, unknown = 0, 0
    for round_ in range(volume(6)):
        before = spooled.relay.stats()["early_lost"]
        server.pause()
        client = spooled.client()
        for _ in range(10):
            say(client, ONE * 20, *(encode("INCR", "n") for _ in range(20)))
            total += 20
        if round_ % 2:
            server.kill()
            say(client, ONE * 300, *(encode("INCR", "n") for _ in range(300)))
            total += 300
            spooled.relay.wait_stat("upstreams_lost", ">=", 1)  # what was on its way then is in doubt already
            unknown += spooled.relay.stats()["early_lost"] - before
        spooled.kill()
        if round_ % 2:
            server.start()
        else:
            server.resume()
        spooled.start()
        spooled.done()
        unknown += spooled.relay.stats()["early_lost"]
        done = int(server.direct().get("n") or 0)
        assert done <= total <= done + unknown, (done, total, unknown)
        assert unknown <= (round_ + 1) * 200, (done, total, unknown)


def test_few_are_in_doubt(lab: Lab) -> None:
    """Of many INCRs for a server that is slow, those alone are in doubt after a kill that may have gone out, and no more."""
    server = lab.redis_server(*DURABLE)
    spooled = Spooled(lab, server, timeout="60s")
    warm(lab, spooled.relay)
    server.pause()
    client = spooled.client()
    count, value = 4000, "x" * 4000  # more than sockets hold
    sender = Task(client.send, b"".join(encode("APPEND", f"k{number}", value) for number in range(count)))
    assert client.read(4 * count) == ONE * count
    sender.result()
    spooled.relay.wait_stat("early_queued", ">", 0)
    spooled.kill()
    server.resume()
    spooled.start()
    spooled.done()
    doubt = spooled.relay.stats()["early_lost"]
    stored = len(server.direct().keys())
    assert doubt < count * 3 // 4 and stored + doubt >= count, (stored, doubt)


def test_a_burst(lab: Lab) -> None:
    """20,000 SETs in one burst are all answered and all stored."""
    server = lab.redis_server()
    spooled = Spooled(lab, server)
    count = volume(20_000)
    client = spooled.client()
    sender = Task(client.send, b"".join(encode("SET", f"k{number}", str(number)) for number in range(count)))
    assert client.read(5 * count) == OK * count
    sender.result()
    spooled.done()
    direct = server.direct()
    assert direct.mget([f"k{number}" for number in range(count)]) == [b"%d" % number for number in range(count)]
    assert spooled.relay.stats()["spooled"] == count


@pytest.mark.parametrize("protocol", [2, 3])
def test_more_than_memory(lab: Lab, protocol: int) -> None:
    """What does not fit into memory waits in the file, in its order: who reads behind it sees the last that was written."""
    server = lab.redis_server()
    spooled = Spooled(lab, server, queue_size="64KiB", spool_size="64MiB", timeout="60s")
    warm(lab, spooled.relay)
    server.pause()
    client, other = spooled.client(), spooled.client()
    if protocol == 3:
        client.send(encode("HELLO", "3"))
        server.resume()
        read_until(client, b"modules\r\n*0\r\n")
        server.pause()
    count = volume(8000)
    value = "x" * 100
    sender = Task(client.send, b"".join(encode("SET", "a", f"{number}{value}") + encode("APPEND", "b", f"{number},") for number in range(count)))
    assert client.read(9 * count) == (OK + ONE) * count
    sender.result()
    status = spooled.relay.relay_status()["spool"]
    assert status["not_loaded"] > 64 * 1024
    assert spooled.relay.stats()["early_bytes"] <= 64 * 1024
    client.send(encode("GET", "a"))
    other.send(encode("MULTI") + encode("GET", "a") + encode("EXEC"))
    server.resume()
    wanted = f"{count - 1}{value}".encode()
    wanted = b"$%d\r\n%s\r\n" % (len(wanted), wanted)
    assert client.read(len(wanted)) == wanted
    answer = OK + b"+QUEUED\r\n*1\r\n" + wanted
    assert other.read(len(answer)) == answer
    spooled.done()
    assert server.direct().get("b") == b"".join(b"%d," % number for number in range(count))


def test_reads_between_writes(lab: Lab) -> None:
    """Writes and reads of one pipeline are answered in their order, each read with what was written before it."""
    server = lab.redis_server()
    spooled = Spooled(lab, server)
    client = spooled.client()
    count = volume(300)
    said, wanted = b"", b""
    for number in range(count):
        said += encode("SET", "a", f"{number:05}") + encode("GET", "a") + encode("PING") + encode("SET", "a", "x") + encode("INCR", "n")
        wanted += OK + b"$5\r\n%05d\r\n" % number + b"+PONG\r\n" + OK + ONE
    sender = Task(client.send, said)
    assert client.read(len(wanted)) == wanted
    sender.result()
    spooled.done()
    assert server.direct().get("n") == b"%d" % count


def test_a_full_spool(lab: Lab) -> None:
    """When the spool is full its clients wait, and none is answered before it is in the file; once the server takes some they go on."""
    server = lab.redis_server()
    spooled = Spooled(lab, server, queue_size="64KiB", spool_size="256KiB", timeout="60s")
    warm(lab, spooled.relay)
    server.pause()
    count, value = volume(2000), "x" * 500
    clients = [spooled.client() for _ in range(3)]
    senders = [Task(client.send, b"".join(encode("SET", f"k{place}-{number}", value) for number in range(count))) for place, client in enumerate(clients)]
    stats = spooled.relay.wait_stat("spool_full", ">", 0)
    assert stats["spooled"] * 550 <= 256 * 1024
    assert sum(path.stat().st_size for path in spooled.folder.iterdir()) <= 256 * 1024 + 9 * 1024
    server.resume()
    for client, sender in zip(clients, senders):
        assert client.read(5 * count) == OK * count
        sender.result()
    spooled.done()
    assert server.direct().dbsize() == 3 * count


@contextlib.contextmanager
def faults(lab: Lab, relay: Relay, *calls: str) -> Iterator[None]:
    """These calls of the relay fail meanwhile."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace")
    words = [word for call in calls for word in ("-e", f"inject={call}")]
    log = lab.folder / "strace"
    with log.open("w") as said, subprocess.Popen(["strace", "-p", str(relay.pid), *words], stderr=said) as process:
        try:
            until(lambda: "attached" in log.read_text() or process.poll() is not None, "strace")
            if process.poll() is not None:
                pytest.skip(f"strace does not work here: {log.read_text()}")
            yield
        finally:
            process.terminate()


def limit_files(relay: Relay, size: int) -> None:
    """No file may be longer: to the relay that is a disk that is full."""
    hard = resource.prlimit(relay.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(relay.pid, resource.RLIMIT_FSIZE, (size, hard))


def test_a_full_disk(lab: Lab) -> None:
    """When the disk takes no more, commands wait for the server's own answer; when it does again, they are answered early again."""
    server = lab.redis_server()
    spooled = Spooled(lab, server)
    relay = spooled.relay.allow("spool-write-failed")
    client = spooled.client()
    say(client, ONE, encode("SADD", "s", "1"))
    spooled.done()
    limit_files(relay, 100)
    say(client, b":0\r\n" + OK + ONE, encode("SADD", "s", "1"), encode("SET", "a", "1"), encode("SADD", "s", "2"))
    assert server.direct().get("a") == b"1"
    stats = relay.stats()
    assert stats["spool_failures"] > 0 and stats["spool_passed"] > 0
    assert relay.relay_status()["spool"]["failing"]
    relay.wait_log("spool-write-failed")
    count = volume(3000)
    sender = Task(client.send, b"".join(encode("APPEND", "b", f"{number},") for number in range(count)) + encode("STRLEN", "b"))
    total = len("".join(f"{number}," for number in range(count)))
    read_until(client, b":%d\r\n" % total * 2)
    sender.result()
    limit_files(relay, resource.RLIM_INFINITY)
    until(lambda: not relay.relay_status()["spool"]["failing"], "the pause is over")
    before = relay.stats()["spooled"]
    say(client, ONE, encode("SADD", "s", "1"))
    assert relay.stats()["spooled"] == before + 1
    spooled.done()
    direct = server.direct()
    assert direct.get("b") == "".join(f"{number}," for number in range(count)).encode() and direct.smembers("s") == {b"1", b"2"}


def test_a_full_disk_without_a_server(lab: Lab) -> None:
    """When the disk takes no more and the server is away, clients are told; what was answered before is still done, and nothing else."""
    server = lab.redis_server()
    spooled = Spooled(lab, server, timeout="300ms", queue_size="64KiB")
    relay = spooled.relay.allow("spool-write-failed")
    warm(lab, relay)
    server.kill()
    limit_files(relay, 200_000)
    client = lab.redis(relay)
    stored = []
    with pytest.raises(redis.ResponseError, match="cannot reach the server"):
        for number in range(2000):
            client.set(f"k{number}", "x" * 500)
            stored.append(f"k{number}".encode())
    assert len(stored) > 100
    with pytest.raises(redis.ResponseError, match="cannot reach the server"):
        client.get("k1")
    spooled.kill()
    server.start()
    spooled.start()
    spooled.done()
    assert set(server.direct().keys()) == set(stored)


def test_a_disk_that_does_not_sync(lab: Lab) -> None:
    """With fsync = always, when the disk fails: who waits for it is answered when the server has done the command, or told; others wait for the server."""
    server = lab.redis_server()
    spooled = Spooled(lab, server, fsync="always", timeout="2s", no_seccomp=True)
    relay = spooled.relay.allow("spool-sync-failed", "sync-waits", "early-uncertain")
    client, other = spooled.client(), spooled.client()
    say(client, ONE, encode("SADD", "s", "1"))
    spooled.done()
    with faults(lab, relay, "io_submit:error=EAGAIN", "fdatasync:error=EIO"):
        server.pause()
        client.send(encode("SADD", "s", "1"))
        relay.wait_log("spool-sync-failed")
        server.resume()
        assert client.read(4) == ONE  # not its own, but it is done
        say(client, b":0\r\n", encode("SADD", "s", "1"))
        assert relay.relay_status()["spool"]["failing"]
    until(lambda: not relay.relay_status()["spool"]["failing"], "the disk is well again")
    say(client, ONE, encode("SADD", "s", "1"))
    spooled.done()
    server.kill()
    with faults(lab, relay, "io_submit:error=EAGAIN", "fdatasync:error=EIO"):
        client.send(encode("SET", "a", "1"))
        read_until(client, b"the disk of the spool has failed; the command will be executed, unless the machine fails, too\r\n")
        other.send(encode("SET", "a", "2"))
        assert b"cannot reach the server" in read_until(other, b"\r\n")
    server.start()
    spooled.done()
    assert server.direct().get("a") == b"1"


def test_two_databases_and_one_that_there_is_not(lab: Lab) -> None:
    """Each command is done in its own database; what is for one that the server does not have is counted, and holds up nothing."""
    server = lab.redis_server()
    spooled = Spooled(lab, server)
    client, other, third = (spooled.client() for _ in range(3))
    say(other, OK, encode("SELECT", "3"))
    say(third, OK, encode("SELECT", "9"))
    server.kill()
    for number in range(volume(100)):
        say(client, OK, encode("SET", "a", f"zero {number}"))
        say(other, OK, encode("SET", "a", f"three {number}"))
    say(third, OK, encode("SET", "a", "nine"))
    spooled.kill()
    server._words = ("--databases", "4")
    server.start()
    spooled.start().allow("early-lost")
    spooled.done()
    last = volume(100) - 1
    assert server.direct().get("a") == b"zero %d" % last and server.direct(db=3).get("a") == b"three %d" % last
    assert spooled.relay.stats()["early_lost"] == 1
    assert spooled.relay.wait_log("early-lost")["commands"] == 1


def test_a_damaged_record(lab: Lab) -> None:
    """A record that the disk has spoiled is passed over, said and counted; the others are delivered."""
    server = lab.redis_server()
    server.kill()
    spooled = Spooled(lab, server)
    client = spooled.client()
    count = 300
    say(client, OK * count, *(encode("SET", f"k{number:03}", f"value-{number:03}") for number in range(count)))
    spooled.kill()
    path = spooled.segments()[0]
    bytes_ = bytearray(path.read_bytes())
    bytes_[bytes_.index(b"value-100")] ^= 1
    bytes_[bytes_.index(b"k200")] ^= 1
    path.write_bytes(bytes_)
    server.start()
    relay = spooled.start().allow("spool-damaged")
    spooled.done()
    assert relay.stats()["spool_damaged"] == 2
    relay.wait_log("spool-damaged", count=2)
    assert set(server.direct().keys()) == {b"k%03d" % number for number in range(count)} - {b"k100", b"k200"}


def test_what_the_server_refuses(lab: Lab) -> None:
    """What the server refuses after a restart is logged and counted as ever, and what is behind it is done."""
    server = lab.redis_server()
    server.kill()
    spooled = Spooled(lab, server)
    client = spooled.client()
    say(client, ONE + OK, encode("HSET", "a", "f", "v"), encode("SET", "b", "1"))
    spooled.kill()
    server.start()
    server.direct().set("a", "1")
    relay = spooled.start().allow("early-refused")
    spooled.done()
    assert relay.stats()["early_refused"] == 1
    assert relay.wait_log("early-refused")["key"] == "a"
    assert server.direct().get("b") == b"1"


def test_a_cluster(lab: Lab) -> None:
    """In front of a cluster each command goes to the node of its key, also after a restart, and in the order of its node."""
    cluster = lab.redis_cluster()
    folder = lab.folder / "spool"
    folder.mkdir()
    keys = {"mode": "smart", "spool": folder, "name": "app", "asynCommands": "APPEND", "queue_size": "64KiB", "timeout": "60s"}
    relay = lab.cluster_relay(cluster, **keys)
    count = volume(300)
    client = lab.at(relay.address("client"))
    said = [encode("APPEND", f"k{number % 50}", f"{number},") for number in range(count)]
    say(client, ONE * (count // 2), *said[: count // 2])
    relay.wait_stat("spool_bytes", "==", 0)
    before = relay.stats()["early_lost"]
    relay.process.kill()
    relay.kill()
    lab.relays.remove(relay)
    relay = lab.cluster_relay(cluster, **keys)
    client = lab.at(relay.address("client"))
    say(client, ONE * (count - count // 2), *said[count // 2 :])
    for key in range(min(50, count)):
        wanted = "".join(f"{number}," for number in range(key, count, 50)).encode()
        say(client, b"$%d\r\n%s\r\n" % (len(wanted), wanted), encode("GET", f"k{key}"))
    relay.wait_stat("spool_bytes", "==", 0)
    assert before == relay.stats()["early_lost"] == 0


def test_a_login_of_its_own(lab: Lab) -> None:
    """A client with a login of its own waits for the server: its password is in no file."""
    server = lab.redis_server()
    server.direct().execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
    spooled = Spooled(lab, server)
    client = spooled.client()
    say(client, OK, encode("AUTH", "app", "secret"))
    say(client, b":1\r\n:0\r\n", encode("SADD", "s", "1"), encode("SADD", "s", "1"))
    assert spooled.relay.stats()["spooled"] == 0
    assert not any(b"secret" in path.read_bytes() for path in spooled.folder.iterdir())


def test_two_relays_with_one_spool(lab: Lab) -> None:
    """A second relay with the same name and folder does not start, and says why; with a name of its own it does."""
    server = lab.redis_server()
    spooled = Spooled(lab, server)
    words = ["redis", "--listen", "127.0.0.1:0", "--url", server.address, "--mode", "smart", "--spool", str(spooled.folder), "--name"]
    done = command(*words, "app")
    assert done.returncode == 1 and "it is in use; another relay has it" in done.stderr, done.stderr
    lab.start(*words, "other")


def test_no_folder(lab: Lab) -> None:
    """A folder that is not there is said at the start, with what to do."""
    server = lab.redis_server()
    done = command("redis", "--listen", "127.0.0.1:0", "--url", server.address, "--mode", "smart", "--spool", str(lab.folder / "none"))
    assert done.returncode == 1 and "spool: cannot open" in done.stderr and "install -d" in done.stderr, done.stderr


def test_a_reload(lab: Lab) -> None:
    """The bound and fsync change while it works; another folder needs a restart, which is said; what is in the spool stays in use."""
    server = lab.redis_server()
    folder, other = lab.folder / "one", lab.folder / "two"
    folder.mkdir()
    other.mkdir()

    def text(**keys: str) -> str:
        all_ = {"kind": "redis", "name": "app", "listen": "127.0.0.1:0", "url": server.address, "mode": "smart", "spool": str(folder), "retry-max": "100ms", **keys}
        return "[[relay]]\n" + "".join(f'{key} = "{value}"\n' for key, value in all_.items())

    relay = lab.run(text()).allow("server-lost", "dial-failed", "needs-restart")
    client = lab.at(relay.address("client"))
    server.kill()
    say(client, OK, encode("SET", "a", "1"))

    def reload(**keys: str) -> Any:
        lab.file("relay.toml", text(**keys))
        assert relay.reload().status == 200
        return relay.relay_status()["spool"]

    assert reload(**{"spool-size": "1MiB", "fsync": "always"})["bound"] == 1 << 20
    say(client, OK, encode("SET", "b", "1"))
    assert relay.relay_status()["spool"]["not_synced"] == 0
    assert reload(spool=str(other))["dir"] == str(folder)
    assert relay.wait_log("needs-restart")["key"] == "spool"
    reload(mode="sync")
    server.start()
    relay.wait_stat("spool_bytes", "==", 0)
    assert server.direct().mget("a", "b") == [b"1", b"1"]
    say(client, b"$1\r\n1\r\n", encode("GET", "a"))


def test_clients_that_go(lab: Lab) -> None:
    """What a client wrote that has gone is done all the same, if it was answered; and the others notice nothing."""
    server = lab.redis_server()
    spooled = Spooled(lab, server, fsync="always")
    gone: list[Callable[[Peer], None]] = [Peer.reset, Peer.finish]
    for number in range(volume(60)):
        client = spooled.client()
        client.send(encode("SET", f"k{number}", "1") * 3)
        if number % 3:
            assert client.read(5) == OK
        gone[number % 2](client)
    spooled.done()
    stored = {int(key[1:]) for key in server.direct().keys()}
    assert {number for number in range(volume(60)) if number % 3} <= stored
