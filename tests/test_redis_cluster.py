# SPDX-License-Identifier: Apache-2.0
"""The Redis relay in front of a cluster: clients that know of no cluster see one server, with all keys."""
# Issue: point 10.

from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
import redis
from hypothesis import given, settings

from harness.lab import Lab
from harness.peers.redis_cluster import RedisCluster, slot_of
from harness.process import Relay
from harness.scale import volume
from harness.task import Task
from harness.until import until
from test_redis_sync import encode

CROSSSLOT = "CROSSSLOT Keys in request don't hash to the same slot"


@pytest.fixture(scope="module")
def calm() -> Iterator[tuple[Lab, RedisCluster, Relay, Any]]:
    """A cluster that nobody disturbs, a relay, and one server to compare with."""
    with Lab() as lab:
        cluster = lab.redis_cluster()
        relay = lab.cluster_relay(cluster).allow("server-lost")
        yield lab, cluster, relay, lab.redis_server().direct()


@pytest.fixture
def world(calm: tuple[Lab, RedisCluster, Relay, Any]) -> tuple[Lab, RedisCluster, Relay, Any]:
    """The same, without data."""
    _, cluster, _, single = calm
    cluster.flush()
    single.flushall()
    return calm


def raises(client: Any, *words: Any) -> str:
    """What the error says."""
    with pytest.raises(redis.ResponseError) as error:
        client.execute_command(*words)
    return str(error.value)


def answer(client: Any, *words: Any) -> Any:
    """The reply, as it is, or the error's text."""
    connection = client.connection
    connection.send_command(*words)
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return f"{type(error).__name__}: {error}"


# Where keys are


def test_every_key_is_reached(world: tuple) -> None:
    """A client that knows one server writes and reads keys of all nodes, and each is where the cluster wants it."""
    lab, cluster, relay, _ = world
    client = lab.redis(relay)
    keys = [f"key:{number}" for number in range(300)]
    for key in keys:
        assert client.set(key, key)
    assert [client.get(key) for key in keys] == [key.encode() for key in keys]
    at = {node.name: set(node.ask("KEYS", "*")) for node in cluster.masters()}
    for key in keys:
        assert key in at[cluster.master_of(key).name]
    assert all(len(some) > 50 for some in at.values())


def test_keys_that_are_not_the_first_argument(world: tuple) -> None:
    """Commands whose keys are anywhere go to the node that has them."""
    lab, cluster, relay, _ = world
    client = lab.redis(relay)
    for node in cluster.masters():
        tag = "{" + cluster.key_at(node) + "}"
        a, b, d = f"{tag}a", f"{tag}b", f"{tag}d"
        client.zadd(a, {"x": 1})
        client.zadd(b, {"x": 2, "y": 1})
        assert client.execute_command("ZUNIONSTORE", d, 2, a, b) == 2
        assert client.execute_command("ZINTERCARD", 2, a, b) == 1
        assert client.object("encoding", d) == b"listpack"
        assert client.memory_usage(d) > 0
        stream = f"{tag}s"
        client.execute_command("XGROUP", "CREATE", stream, "g", "$", "MKSTREAM")
        identity = client.execute_command("XADD", stream, "*", "f", "v")
        assert client.execute_command("XREAD", "COUNT", 1, "STREAMS", stream, 0)[0][0] == stream.encode()
        assert client.execute_command("XREADGROUP", "GROUP", "g", "c", "STREAMS", stream, ">")[0][1][0][0] == identity
        assert client.execute_command("XINFO", "GROUPS", stream)
        client.rpush(f"{tag}l", 2, 1)
        assert client.execute_command("SORT", f"{tag}l", "STORE", f"{tag}sorted") == 2
        assert client.execute_command("LMPOP", 2, f"{tag}none", f"{tag}l", "LEFT")[0] == f"{tag}l".encode()
        client.geoadd(f"{tag}g", (1, 2, "m"))
        assert client.georadius(f"{tag}g", 1, 2, 3, "km", store=f"{tag}near") == 1
        assert client.eval("return redis.call('GET', KEYS[1])", 1, f"{tag}none", "argument") is None
        assert client.execute_command("BITOP", "NOT", f"{tag}n", f"{tag}none") == 0
        client.set(f"{tag}old", 1)
        assert client.rename(f"{tag}old", f"{tag}new")


def test_hash_tags(world: tuple) -> None:
    """Keys with the same tag are together, so commands over several of them are done as a whole."""
    lab, cluster, relay, _ = world
    client = lab.redis(relay)
    assert client.msetnx({"{t}a": 1, "{t}b": 2}) is True
    assert client.msetnx({"{t}b": 3, "{t}c": 3}) is False
    assert client.mget("{t}a", "{t}b", "{t}c") == [b"1", b"2", None]
    before = cluster.calls("mget")
    client.mget("{t}a", "x{t}b", "{t}{u}")
    assert cluster.calls("mget") == before + 1


# Commands over several slots


def compare(client: Any, single: Any, *words: Any) -> None:
    assert answer(client, *words) == answer(single, *words), words


def test_many_slots_are_as_one_server(world: tuple) -> None:
    """MGET, MSET, DEL, UNLINK, EXISTS, TOUCH, DBSIZE, FLUSHALL over keys of all nodes give what one server gives."""
    lab, cluster, relay, single = world
    client = lab.redis(relay)
    keys = [f"k{number}" for number in range(100)]
    pairs = [word for key in keys for word in (key, f"value of {key}")]
    compare(client, single, "MSET", *pairs)
    compare(client, single, "MGET", *keys, "none", keys[0], keys[0])
    compare(client, single, "mget", *reversed(keys))
    compare(client, single, "EXISTS", *keys, keys[1], "none")
    compare(client, single, "TOUCH", *keys[50:], "none")
    compare(client, single, "DBSIZE")
    compare(client, single, "MSET", "a", 1, "b", 2, "a", 3)
    compare(client, single, "MGET", "a", "b")
    compare(client, single, "DEL", *keys[:10], keys[0], "none")
    compare(client, single, "UNLINK", *keys[10:20])
    compare(client, single, "LPUSH", "list", 1)
    compare(client, single, "MGET", "list", "a")
    for wrong in (["MGET"], ["MSET", "a"], ["MSET", "a", 1, "b"], ["DEL"], ["EXISTS"], ["DBSIZE", "x"], ["FLUSHALL", "x"], ["KEYS"]):
        compare(client, single, *wrong)
    assert sorted(client.keys("k*")) == sorted(single.keys("k*"))
    assert cluster.keys() == sorted(key.decode() for key in single.keys())
    compare(client, single, "FLUSHALL")
    compare(client, single, "DBSIZE")
    assert cluster.keys() == []


KEYS = ["a", "b", "c", "{a}2", "{b}2", "d"]
key = st.sampled_from(KEYS)
value = st.sampled_from(["1", "", "x\r\ny", "v" * 3000])
COMMAND = st.one_of(
    st.lists(key, min_size=1, max_size=6).flatmap(lambda keys: st.sampled_from(["MGET", "DEL", "EXISTS", "UNLINK", "TOUCH"]).map(lambda name: [name, *keys])),
    st.lists(st.tuples(key, value), min_size=1, max_size=5).map(lambda pairs: ["MSET", *(word for pair in pairs for word in pair)]),
    st.tuples(st.sampled_from(["GET", "INCR", "STRLEN", "TYPE", "DEL"]), key).map(list),
    st.tuples(st.sampled_from(["SET", "APPEND", "LPUSH", "GETSET"]), key, value).map(list),
    st.sampled_from([["DBSIZE"], ["PING"], ["ECHO", "x"], ["FLUSHALL"], ["FLUSHDB"], ["NOSUCH", "a"], ["GET"], ["MSET", "a"]]),
)


@settings(max_examples=volume(100), deadline=None)
@given(commands=st.lists(COMMAND, max_size=30))
def test_same_answers_as_one_server(calm: tuple, commands: list[list[str]]) -> None:
    """Whatever a client says in a pipeline, it is answered in order, as by one server, and the data are the same."""
    lab, cluster, relay, single = calm
    cluster.flush()
    single.flushall()
    client = lab.redis(relay)
    replies = []
    for connection in (client.connection, single.connection):
        for words in commands:
            connection.send_command(*words)
        replies.append([])
        for _ in commands:
            try:
                replies[-1].append(connection.read_response())
            except redis.ResponseError as error:
                replies[-1].append(str(error))
    client.connection_pool.disconnect()
    assert replies[0] == replies[1]
    assert cluster.keys() == sorted(name.decode() for name in single.keys())


def test_scan_sees_every_key(world: tuple) -> None:
    """SCAN goes through all nodes, with MATCH, COUNT and TYPE; a cursor of another connection's goes on."""
    lab, _, relay, _ = world
    client = lab.redis(relay)
    names = {b"key:%d" % number for number in range(1000)}
    for name in names:
        client.set(name, 1)
    client.rpush("list", 1)
    assert set(client.scan_iter(count=100)) == names | {b"list"}
    assert set(client.scan_iter("key:1*")) == {name for name in names if name.startswith(b"key:1")}
    assert list(client.scan_iter(_type="list")) == [b"list"]
    cursor, seen, first = 0, set(), True
    while first or cursor:
        first = False
        cursor, some = lab.redis(relay).scan(cursor, count=200)
        seen |= set(some)
    assert seen == names | {b"list"}
    for bad in ("x", "1x", "99999999999999999999"):
        assert raises(client, "SCAN", bad) == "invalid cursor"


def test_what_cannot_be_split(world: tuple) -> None:
    """Commands that need keys of several slots at once get the server's own words."""
    lab, cluster, relay, _ = world
    client = lab.redis(relay)
    direct = cluster.nodes[0].direct()
    for words in (["RENAME", "a", "b"], ["SUNION", "a", "b"], ["MSETNX", "a", 1, "b", 2], ["EVAL", "return 1", 2, "a", "b"], ["LMPOP", 2, "a", "b", "LEFT"],
                  ["BLPOP", "a", "b", 0], ["PFMERGE", "a", "b"], ["SMOVE", "a", "b", "c"], ["XREAD", "STREAMS", "a", "b", 0, 0], ["COPY", "a", "b"]):
        assert answer(client, *words) == answer(direct, *words)
        assert raises(client, *words) == CROSSSLOT
    assert client.set("a", 1) and client.get("a") == b"1"


def test_pipeline_over_all_nodes_in_order(world: tuple) -> None:
    """Replies of a pipeline come in the order of its commands, whichever nodes are quick; clients share the connections."""
    lab, cluster, relay, _ = world
    slow = cluster.masters()[1]
    clients = [lab.redis(relay) for _ in range(5)]

    def work(number: int) -> list[Any]:
        pipeline = clients[number].pipeline(transaction=False)
        for turn in range(volume(400)):
            pipeline.set(f"{number}:{turn}", turn)
            pipeline.get(f"{number}:{turn}")
            pipeline.mget(f"{number}:{turn}", f"{number}:0", f"{number}:{turn}")
        return pipeline.execute()

    slow.ask("CLIENT", "PAUSE", 300, "ALL")
    tasks = [Task(work, number) for number in range(len(clients))]
    expected = [reply for turn in range(volume(400)) for reply in (True, b"%d" % turn, [b"%d" % turn, b"0", b"%d" % turn])]
    for task in tasks:
        assert task.result(60) == expected


# State


def test_transactions_are_at_the_node_of_their_keys(world: tuple) -> None:
    """MULTI, WATCH and EXEC work on any node's keys; keys of two nodes get CROSSSLOT and nothing is done."""
    lab, cluster, relay, _ = world
    client, other = lab.redis(relay), lab.redis(relay)
    for node in cluster.masters():
        name = cluster.key_at(node)
        with client.pipeline() as pipeline:
            pipeline.set(name, 1)
            pipeline.incr(name)
            pipeline.get("{" + name + "}other")
            assert pipeline.execute() == [True, 2, None]
        with client.pipeline() as pipeline:
            pipeline.watch(name)
            assert pipeline.get(name) == b"2"
            other.incr(name)
            pipeline.multi()
            pipeline.set(name, 0)
            with pytest.raises(redis.WatchError):
                pipeline.execute()
        assert client.get(name) == b"3"
    first, second = (cluster.key_at(node) for node in cluster.masters()[:2])
    client.execute_command("MULTI")
    assert answer(client, "SET", first, "x") == b"QUEUED"
    assert answer(client, "SET", second, "x") != b"QUEUED"
    assert raises(client, "EXEC").startswith("Transaction discarded because of previous errors")
    assert client.get(first) == b"3" and client.get(second) == b"3"
    client.execute_command("MULTI")
    assert answer(client, "PING") == b"QUEUED"
    assert client.execute_command("EXEC") == [b"PONG"]
    client.execute_command("MULTI")
    assert client.execute_command("DISCARD") == b"OK"
    relay.wait_stat("pinned", "==", 0)


def test_scripts_are_at_the_node_of_their_keys(world: tuple) -> None:
    """EVAL runs where its keys are; a script or a function that was loaded is known at all nodes."""
    lab, cluster, relay, _ = world
    client = lab.redis(relay)
    sha = client.script_load("return {redis.call('INCR', KEYS[1]), ARGV[1]}")
    assert client.script_exists(sha) == [True]
    code = "#!lua name=lib\nredis.register_function('twice', function(k, a) return redis.call('INCRBY', k[1], 2) end)"
    client.execute_command("FUNCTION", "LOAD", "REPLACE", code)
    for node in cluster.masters():
        name = cluster.key_at(node)
        assert client.eval("return redis.call('INCR', KEYS[1])", 1, name) == 1
        assert client.evalsha(sha, 1, name, "x") == [2, b"x"]
        assert client.execute_command("FCALL", "twice", 1, name) == 4
    assert client.eval("return 7", 0) == 7
    client.script_flush()
    assert client.script_exists(sha) == [False]


def test_blocking(world: tuple) -> None:
    """Clients wait at all nodes at once, each gets its element, and one that goes away costs nobody an element."""
    lab, cluster, relay, _ = world
    names = [cluster.key_at(node, "queue") for node in cluster.masters()]
    waiting = [Task(lab.redis(relay).blpop, name, 20) for name in names]
    for node in cluster.masters():
        until(lambda node=node: node.ask("INFO", "clients")["blocked_clients"] == 1, "a client is blocked")
    client = lab.redis(relay)
    for name in names:
        assert client.rpush(name, name) == 1
    assert [task.result() for task in waiting] == [(name.encode(), name.encode()) for name in names]
    gone = lab.redis(relay)
    gone.connection.send_command("BLPOP", names[0], 0)
    until(lambda: cluster.master_of(names[0]).ask("INFO", "clients")["blocked_clients"] == 1, "a client is blocked")
    gone.connection_pool.disconnect()
    until(lambda: cluster.master_of(names[0]).ask("INFO", "clients")["blocked_clients"] == 0, "none is blocked")
    client.rpush(names[0], "kept")
    assert client.lrange(names[0], 0, -1) == [b"kept"]


def test_publish_and_subscribe(world: tuple) -> None:
    """A message reaches its subscribers, whichever nodes they and the publisher have got."""
    lab, _, relay, _ = world
    subscribers = [lab.redis(relay).pubsub() for _ in range(4)]
    for subscriber in subscribers:
        subscriber.subscribe("news")
        assert subscriber.get_message(timeout=5)["type"] == "subscribe"
    lab.redis(relay).publish("news", "now")
    for subscriber in subscribers:
        assert subscriber.get_message(timeout=5)["data"] == b"now"
        subscriber.close()


def test_reads_from_replicas(lab: Lab) -> None:
    """With `replica-reads` what only reads is asked of replicas, too, and sees what was written before long; all else is not."""
    cluster = lab.redis_cluster()
    relay = lab.cluster_relay(cluster, replica_reads=True)
    client = lab.redis(relay)
    name = cluster.key_at(cluster.masters()[0])
    client.set(name, 1)
    replica = cluster.replicas_of(cluster.masters()[0])[0]

    def asked() -> int:
        return replica.ask("INFO", "commandstats").get("cmdstat_get", {}).get("calls", 0)

    until(lambda: client.get(name) == b"1" and asked() > 0, "a replica is asked")
    assert client.incr(name) == 2
    until(lambda: client.get(name) == b"2", "the replica has it")


# Changes


def test_slot_on_its_way(lab: Lab) -> None:
    """While a slot moves, keys that have moved, that have not and that are new are all reached, together or alone, without an error."""
    cluster = lab.redis_cluster()
    relay = lab.cluster_relay(cluster)
    client = lab.redis(relay)
    names = [f"{{t}}{number}" for number in range(20)]
    for name in names:
        client.set(name, name)
    slot = slot_of("{t}")
    move = cluster.open_move(slot, cluster.other_than(cluster.master_of("{t}")))
    for step in (0, 10):
        move.take(step) if step else None
        for name in names:
            assert client.get(name) == name.encode()
            assert client.append(name, "") == len(name)
        assert client.mget(names) == [name.encode() for name in names]
        assert client.exists(*names) == len(names)
        assert client.incr(f"{{t}}new{step}") == 1
        assert client.mset({name: name for name in names})
    assert client.delete("{t}new0", "{t}new10", "{t}none") == 2
    move.close()
    assert client.mget(names) == [name.encode() for name in names]
    assert cluster.keys() == sorted(names)


def test_live_resharding(lab: Lab) -> None:
    """Slots move to another node and back while clients work: no error, no lost increment, no pile of questions about the cluster."""
    cluster = lab.redis_cluster()
    relay = lab.cluster_relay(cluster)
    names = [f"n{number}" for number in range(60)]
    stop = False

    def work(number: int) -> int:
        client = lab.redis(relay)
        turns = 0
        while not stop:
            for name in names:
                client.incr(f"{name}:{number}")
            turns += 1
            got = dict(zip(names, client.mget([f"{name}:{number}" for name in names])))
            wrong = {name: value for name, value in got.items() if value != b"%d" % turns}
            assert not wrong, f"turn {turns} of {number}: {wrong}; {cluster.story()}"
        return turns

    tasks = [Task(work, number) for number in range(4)]
    source = cluster.masters()[0]
    mine = sorted({slot_of(f"{name}:{number}") for name in names for number in range(4)} & set(range(0, 5461)))[:volume(40)]
    target = cluster.other_than(source)
    before, own = cluster.calls("cluster|slots") + cluster.calls("cluster|shards"), cluster.questions
    cluster.reshard(mine, target)
    cluster.reshard(mine, source)
    asked = cluster.calls("cluster|slots") + cluster.calls("cluster|shards") - before - (cluster.questions - own)
    stop = True
    turns = [task.result(60) for task in tasks]
    assert asked < 4 * len(mine)
    client = lab.redis(relay)
    for number, count in enumerate(turns):
        assert {client.get(f"{name}:{number}") for name in names} == {b"%d" % count}


def test_order_while_a_slot_is_on_its_way(lab: Lab) -> None:
    """What a client says behind a command whose keys are at two nodes is done behind it."""
    cluster = lab.redis_cluster()
    relay = lab.cluster_relay(cluster, timeout="300ms")
    client = lab.redis(relay)
    client.mset({"{t}a": 1, "{t}b": 1})
    move = cluster.open_move(slot_of("{t}"), cluster.other_than(cluster.master_of("{t}")))
    move.take_keys("{t}b")
    peer = lab.at(relay.address("client"))
    peer.send(encode("DEL", "{t}a", "{t}b") + encode("SET", "{t}a", "behind") + encode("QUIT"))
    said = peer.read_all()
    assert said.endswith(b"\r\n+OK\r\n+OK\r\n") and said.startswith((b":2", b"-TRYAGAIN"))
    assert client.get("{t}a") == b"behind"
    move.close()


def test_transaction_of_which_a_command_was_refused(lab: Lab) -> None:
    """EXEC does nothing then, as with a server: not what came behind alone."""
    cluster = lab.redis_cluster()
    relay = lab.cluster_relay(cluster, timeout="300ms", maxConnections=4).allow("server-lost")
    client = lab.redis(relay)
    for master in cluster.masters():
        client.set(cluster.key_at(master), 1)
    holder = Task(lab.redis(relay).blpop, "{q}", 20)
    relay.wait_stat("pinned", "==", 1)
    client.execute_command("MULTI")
    assert "maxConnections" in raises(client, "SET", "{t}a", "1")
    lab.redis(relay).rpush("{q}", "e")
    assert holder.result() == (b"{q}", b"e")
    assert answer(client, "SET", "{t}b", "1") == b"QUEUED"
    assert "previous errors" in answer(client, "EXEC")
    assert client.exists("{t}a", "{t}b") == 0


def test_slot_that_has_moved_for_commands_of_their_own(lab: Lab) -> None:
    """A command that waits, or is in a transaction, finds the node of its keys also when the slot has moved since the relay has asked."""
    cluster = lab.redis_cluster()
    relay = lab.cluster_relay(cluster)
    client, other = lab.redis(relay), lab.redis(relay)
    client.set("warm", 1)
    cluster.reshard([slot_of("q")], cluster.other_than(cluster.master_of("q")))
    task = Task(client.blpop, "q", 10)
    until(lambda: other.rpush("q", "e") == 1, "pushed")
    assert task.result() == (b"q", b"e")
    cluster.reshard([slot_of("q")], cluster.other_than(cluster.master_of("q")))
    other.execute_command("MULTI")
    assert raises(other, "GET", "q").startswith("TRYAGAIN relay") or answer(other, "GET", "q") == b"QUEUED"
    other.execute_command("DISCARD")
    with other.pipeline() as pipeline:
        assert pipeline.set("{q}a", 1).get("{q}a").execute() == [True, b"1"]


def test_failover_by_hand(lab: Lab) -> None:
    """A replica takes over in good order while clients write: no error, nothing lost."""
    cluster = lab.redis_cluster()
    relay = lab.cluster_relay(cluster, timeout="20s").allow("server-lost", "dial-failed")
    name = cluster.key_at(cluster.masters()[0])
    stop = False

    def work() -> int:
        client = lab.redis(relay)
        count = 0
        while not stop:
            count += 1
            assert client.incr(name) == count
        return count

    task = Task(work)
    for _ in range(2):
        heir = cluster.fail_over(cluster.master_of(name))
        cluster.wait_ok()
        assert cluster.master_of(name) is heir
    stop = True
    assert lab.redis(relay).get(name) == b"%d" % task.result(60)


def stored(client: Any, name: str) -> bool:
    """Whether a SET is done; it may not be when it was sent before the relay could know of the new master, and says so."""
    try:
        return bool(client.set(name, 100))
    except redis.ResponseError as error:
        assert "may have been executed" in str(error)
        return False


def outage(lab: Lab, cluster: RedisCluster, relay: Relay, hurt: Any) -> None:
    """`hurt` befalls the master of some keys: reads get no error, writes at most one that says they may have been done, and all goes on."""
    master = cluster.masters()[0]
    name, elsewhere = cluster.key_at(master), cluster.key_at(cluster.masters()[1])
    heir = cluster.replicas_of(master)[0]
    reader, writer = lab.redis(relay), lab.redis(relay)
    writer.set(name, 1)
    assert master.ask("WAIT", 1, 5000) == 1
    stop = False

    def read() -> int:
        turns = 0
        while not stop:
            assert reader.get(name) is not None
            turns += 1
        return turns

    def write() -> list[str]:
        errors = []
        while not stop:
            try:
                writer.incr(name)
            except redis.ResponseError as error:
                errors.append(str(error))
        return errors

    tasks = Task(read), Task(write)
    hurt(master)
    other = lab.redis(relay)
    for number in range(100):  # who needs other nodes does not notice
        assert other.set(elsewhere, number)
    cluster.wait_master(name, heir)
    until(lambda: stored(lab.redis(relay), name), "the heir takes writes", timeout=30)
    stop = True
    assert tasks[0].result(60) > 0
    errors = tasks[1].result(60)
    assert len(errors) <= 1 and all("may have been executed" in error for error in errors), errors


def test_master_is_killed(lab: Lab) -> None:
    """A master dies: its replica takes over, and no client gets an error that trying again would have spared it."""
    cluster = lab.redis_cluster()
    relay = lab.cluster_relay(cluster, timeout="30s").allow("server-lost", "dial-failed")
    outage(lab, cluster, relay, lambda node: node.kill())


def test_master_says_nothing(lab: Lab) -> None:
    """A master stops without a word: its replica takes over; what was under way there is not waited for longer than for the takeover."""
    cluster = lab.redis_cluster()
    relay = lab.cluster_relay(cluster, timeout="30s").allow("server-lost", "dial-failed")
    stopped = []
    outage(lab, cluster, relay, lambda node: (node.pause(), stopped.append(node)))
    stopped[0].resume()
    cluster.wait_ok()
    assert lab.redis(relay).set(cluster.key_at(cluster.masters()[0]), 1)


def test_shard_that_is_gone(lab: Lab) -> None:
    """A master and its replica are dead: keys of others are served, its own get an error after `timeout`, and work once it is back."""
    cluster = lab.redis_cluster("--cluster-require-full-coverage", "no")
    relay = lab.cluster_relay(cluster, timeout="500ms").allow("server-lost", "dial-failed")
    client = lab.redis(relay)
    master = cluster.masters()[0]
    lost, kept = cluster.key_at(master), cluster.key_at(cluster.masters()[1])
    client.mset({lost: 1, kept: 1})
    replica = cluster.replicas_of(master)[0]
    replica.kill()
    master.kill()
    for number in range(20):
        assert client.set(kept, number)
    raises(client, "GET", lost)
    raises(client, "MGET", kept, lost)
    assert client.set(kept, 1)
    master.start()
    replica.start()
    cluster.wait_ok()

    def back() -> bool:
        try:
            return bool(client.set(lost, 2))
        except redis.ResponseError:
            return False

    until(back, "the shard is back", timeout=20)
    assert client.mget(lost, kept) == [b"2", b"1"]


def test_seeds(lab: Lab) -> None:
    """One living node of the URL is enough; with none commands wait and get an error, until one is back."""
    cluster = lab.redis_cluster()
    dead = lab.refusing()
    relay = lab.cluster_relay(cluster, url=f"redis-cluster://{dead.address},{cluster.nodes[5].address}").allow("dial-failed", "cluster-unknown")
    client = lab.redis(relay)
    for node in cluster.masters():
        assert client.set(cluster.key_at(node), 1)
    alone = lab.cluster_relay(cluster, url=f"redis-cluster://{dead.address}", timeout="300ms").allow("dial-failed", "cluster-unknown")
    assert "relay" in raises(lab.redis(alone), "GET", "a")


def test_no_cluster(lab: Lab) -> None:
    """A server that is none of a cluster is no cluster: the client is told so."""
    server = lab.redis_server()
    relay = lab.start("redis", "--listen", "127.0.0.1:0", "--url", f"redis-cluster://{server.address}", "--timeout", "300ms", "--log-level", "debug")
    relay.allow("cluster-unknown")
    assert "relay" in raises(lab.redis(relay), "GET", "a")


def test_password(lab: Lab) -> None:
    """The URL's password is used at every node."""
    cluster = lab.redis_cluster("--requirepass", "s3cret", "--masterauth", "s3cret")
    relay = lab.cluster_relay(cluster, url=cluster.url.replace("://", "://:s3cret@"))
    client = lab.redis(relay)
    for node in cluster.masters():
        assert client.set(cluster.key_at(node), 1)
    assert client.dbsize() == 3


def test_databases(world: tuple) -> None:
    """A cluster has database 0 alone, and says so."""
    lab, cluster, relay, _ = world
    client = lab.redis(relay)
    assert client.execute_command("SELECT", 0) is True
    assert raises(client, "SELECT", 1) == answer(cluster.nodes[0].direct(), "SELECT", 1).partition(": ")[2]


def test_client_that_knows_clusters(world: tuple) -> None:
    """A client library for clusters works through the relay as well as one for a single server, as long as the nodes can be reached by it."""
    lab, cluster, relay, _ = world
    port = int(relay.address("client").rpartition(":")[2])
    client = redis.RedisCluster(host="127.0.0.1", port=port)
    for node in cluster.masters():
        assert client.set(cluster.key_at(node), 1)
    client.close()
