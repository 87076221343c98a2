# SPDX-License-Identifier: Apache-2.0
"""Nobody waits for ever at the Redis relay: a server that cannot do things for now, a reload to another one, a client that does not read."""
# Issue: points 4, 5 and 7.

import threading

import pytest

from harness.lab import Lab
from harness.process import Relay
from harness.task import Task
from harness.until import until
from test_redis_hostile import OK, Fake, in_front_of
from test_redis_smart_lost import allowed
from test_redis_sync import encode

LOADING = b"-LOADING it loads its data\r\n"


class Loading(Fake):
    """A server that loads its data, as long as `loading` says, and takes `delay` seconds to say so."""

    def __init__(self, lab: Lab, delay: float = 0) -> None:
        self.loading, self.delay = True, delay
        super().__init__(lab, lambda _, words: self._say(words))

    def _say(self, words: list[bytes]) -> bytes:
        if words[0] != b"GET":
            return b"-ERR unknown command\r\n"
        threading.Event().wait(self.delay if self.loading else 0)
        return LOADING if self.loading else b"$1\r\nv\r\n"


def test_who_goes_while_the_server_loads(lab: Lab) -> None:
    """A client whose command is held for the server's sake may go: others get their answers when the server can give them."""
    server = Loading(lab)
    relay = in_front_of(lab, server)
    gone, other = lab.at(relay.address("client")), lab.at(relay.address("client"))
    gone.send(encode("GET", "a"))
    relay.wait_stat("held", ">=", 1)
    gone.reset()
    until(lambda: server.heard(b"GET", b"a") >= 2, "it is tried again")
    other.send(encode("GET", "b"))
    relay.wait_stat("clients", "==", 1)
    server.loading = False
    assert other.read(7) == b"$1\r\nv\r\n"


@pytest.mark.parametrize("delay", [0, 0.5, 1, 1.5])
def test_a_server_that_loads_for_longer_than_the_timeout(lab: Lab, delay: float) -> None:
    """A client hears of it then, whenever the answer of the last attempt comes; and the next one is served when the server can."""
    server = Loading(lab, delay)
    relay = in_front_of(lab, server, timeout="2s")
    first, second = lab.at(relay.address("client")), lab.at(relay.address("client"))
    for peer in (first, second):
        peer.send(encode("GET", "a"))
        assert peer.read(len(LOADING)) == LOADING
    server.loading = False
    second.send(encode("GET", "b"))
    assert second.read(7) == b"$1\r\nv\r\n"


def config(listen: str, url: str, **keys: str) -> str:
    more = "".join(f"{key.replace('_', '-')} = {value}\n" for key, value in keys.items())
    return f'log-level = "debug"\n[[relay]]\nkind = "redis"\nname = "r"\nlisten = "{listen}"\nurl = "{url}"\n{more}'


def change(lab: Lab, relay: Relay, text: str) -> None:
    lab.file("relay.toml", text)
    assert relay.reload().status == 200


def test_away_from_a_server_that_refuses(lab: Lab) -> None:
    """What was answered and the old server has refused for now goes to the new one, which serves clients at once."""
    old, new = lab.redis_server(), lab.redis_server()
    listen = f"127.0.0.1:{lab.port()}"
    relay = allowed(lab.run(config(listen, f"redis://{old.address}", mode='"smart"', timeout='"1s"')))
    client = lab.redis(relay)
    client.set("warm", 1)
    relay.wait_stat("early_queued", "==", 0)
    old.direct().config_set("min-replicas-to-write", 1)
    assert client.set("a", "kept")
    relay.wait_stat("held", ">=", 1)
    change(lab, relay, config(listen, f"redis://{new.address}", mode='"smart"', timeout='"1s"'))
    assert client.get("a") == b"kept"
    assert client.incr("n") == 1
    assert new.direct().get("a") == b"kept"


def test_from_a_cluster_to_one_server(lab: Lab) -> None:
    """After a reload clients who were there before are served by the new server as well, also those who wait for a connection of their own."""
    cluster, new = lab.redis_cluster(), lab.redis_server()
    listen = f"127.0.0.1:{lab.port()}"
    relay = allowed(lab.run(config(listen, cluster.url, maxConnections="4"))).allow("cluster-unknown")
    clients = [lab.redis(relay) for _ in range(3)]
    for client, master in zip(clients, cluster.masters()):
        client.set(cluster.key_at(master), "cluster")
    waiting, inside = lab.redis(relay), lab.at(relay.address("client"))
    holds = Task(clients[0].blpop, "{a}q", 20)
    relay.wait_stat("pinned", "==", 1)
    waits = Task(waiting.blpop, "{a}r", 20)
    relay.wait_stat("pinned", "==", 2)
    inside.send(encode("MULTI"))
    assert inside.read(5) == OK
    change(lab, relay, config(listen, f"redis://{new.address}", maxConnections="4"))
    for number, client in enumerate(clients[1:]):
        assert client.set(f"k{number}", "new")
    new.direct().rpush("{a}r", "e")
    assert waits.result() == (b"{a}r", b"e")
    inside.send(encode("SET", "in", "1") + encode("EXEC"))
    assert inside.read(18) == b"+QUEUED\r\n*1\r\n+OK\r\n"
    assert sorted(new.direct().keys("*")) == [b"in", b"k0", b"k1"]
    cluster.master_of("{a}q").ask("RPUSH", "{a}q", "old")
    assert holds.result() == (b"{a}q", b"old")


def test_a_longer_queue_by_a_reload(lab: Lab) -> None:
    """With smart mode, or a longer queue, by a reload, commands are taken that had no room before."""
    server = lab.redis_server()
    listen = f"127.0.0.1:{lab.port()}"
    relay = allowed(lab.run(config(listen, f"redis://{server.address}")))
    client = lab.redis(relay)
    client.set("a", 1)
    change(lab, relay, config(listen, f"redis://{server.address}", mode='"smart"', queue_size='"16MiB"'))
    assert client.set("a", b"x" * 5_000_000)
    assert client.strlen("a") == 5_000_000


def test_who_does_not_read_the_reply_to_a_transaction(lab: Lab) -> None:
    """It is ended by stall-timeout, and its connection is free for others."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server, stall_timeout="300ms", maxConnections=2))
    lab.redis(relay).set("big", b"x" * 20_000_000)
    deaf = lab.add(relay.connect("client", rcvbuf=4096))
    deaf.send(encode("MULTI") + encode("GET", "big") + encode("EXEC"))
    relay.wait_stat("stalled", "==", 1)
    relay.wait_stat("pinned", "==", 0)
    with lab.redis(relay).pipeline() as pipeline:
        assert pipeline.set("a", 1).get("a").execute() == [True, b"1"]


def passed(relay: Relay, seconds: float) -> None:
    start = relay.age()
    until(lambda: relay.age() >= start + seconds, "time goes by")


def test_half_a_long_command_does_not_keep_the_relay_busy(lab: Lab) -> None:
    """A client that stops in the middle of a command over a connection of its own costs no turns of the relay."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server, timeout="1s"))
    peer = lab.at(relay.address("client"))
    peer.send(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$30000000\r\n" + b"x" * 200_000)
    relay.wait_stat("pinned", "==", 1)
    passed(relay, 1.2)
    before = relay.sleeps()
    passed(relay, 1)
    assert relay.sleeps() - before < 100
    peer.send(b"x" * 29_800_000 + b"\r\n")
    assert peer.read(5) == OK


def test_a_way_round_who_does_not_read(lab: Lab) -> None:
    """When all shared connections wait for clients that do not read, others get one of their own."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server, stall_timeout="60s", maxConnections="8"))
    other = lab.redis(relay)
    other.set("big", b"x" * 20_000_000)
    deaf = []
    for count in (1, 2):
        deaf.append(lab.add(relay.connect("client", rcvbuf=4096)))
        deaf[-1].send(encode("GET", "big"))
        until(lambda count=count: sum(c["queued_bytes"] > 250_000 for c in relay.relay_status()["connections"]) == count, "it is waited for")
    for number, client in enumerate([other, lab.redis(relay), lab.redis(relay)]):
        assert client.incr("n") == number + 1
    assert relay.stats()["stalled"] == 0
    for peer in deaf:
        peer.reset()
