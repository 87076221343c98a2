# SPDX-License-Identifier: Apache-2.0
"""Real clients in front of the Redis relay: php-redis, node's redis, redis-cli, redis-benchmark, redis-py. Each thinks it speaks to the server."""

import asyncio
import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
import redis
import redis.asyncio

from harness.lab import Lab
from harness.peers.redis import RedisServer
from harness.process import Relay, command
from harness.scale import seconds, volume
from harness.sockets import split_address
from harness.task import Task
from harness.until import until

Client = tuple[RedisServer, Relay]


@functools.cache
def modes() -> list[str]:
    """Those that this relay has."""
    return ["sync", "smart"] if "smart" in command("redis", "--help").stdout else ["sync"]


@pytest.fixture(params=["sync", "smart"])
def world(lab: Lab, request: pytest.FixtureRequest) -> Client:
    """A server, and a relay in front of it in each mode."""
    if request.param not in modes():
        pytest.skip(f"this relay has no mode {request.param}")
    server = lab.redis_server()
    return server, lab.redis_relay(server, mode=request.param)


def run(words: list[str], *, said: bytes = b"", env: dict[str, str] | None = None, timeout: float = 30.0, may_complain: bool = False) -> str:
    """A program that ends well; what it wrote. What it complains of is the failure's text."""
    done = subprocess.run(words, input=said, capture_output=True, timeout=seconds(timeout), env={**os.environ, **(env or {})}, check=False)
    wrote = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{words[0]} has ended with {done.returncode}: {wrote}{done.stderr.decode(errors='replace')}"
    assert may_complain or not done.stderr, done.stderr.decode(errors="replace")
    return wrote


def place(address: str) -> tuple[str, str]:
    host, port = split_address(address)
    return host, str(port)


@contextlib.contextmanager
def endless(words: list[str]) -> Iterator[TextIO]:
    """What a program writes that does not end by itself."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout
        finally:
            process.kill()


# PHP

PHP_BEGINS = "error_reporting(E_ALL); $out = []; $r = new Redis(); $r->connect($argv[1], (int) $argv[2]);\n"


@functools.cache
def has_php() -> bool:
    return shutil.which("php") is not None and "redis" in subprocess.run(["php", "-m"], capture_output=True, text=True, check=False).stdout.split()


needs_php = pytest.mark.skipif(not has_php(), reason="no php with its redis extension (php-cli php-redis)")


def php(address: str, code: str, *settings: str) -> Any:
    """What a script has left in $out. $r is a client that has connected."""
    words = ["php", *settings, "-d", "display_errors=stderr", "-r", f"{PHP_BEGINS}{code}\necho json_encode($out);", "--", *place(address)]
    return json.loads(run(words))


@needs_php
def test_php_types(world: Client) -> None:
    """A PHP page that works with all types of data gets the answers that the server itself would give it."""
    server, relay = world
    code = """
        $out['ping'] = $r->ping('hello');
        $out['set'] = [$r->set('a', "x\\r\\ny"), $r->get('a'), $r->get('none'), $r->setex('t', 100, 'v'), $r->ttl('t') > 90];
        $out['options'] = [$r->set('a', 'z', ['nx']), $r->set('nx', 'z', ['nx', 'ex' => 10]), $r->get('a')];
        $out['many'] = [$r->mset(['m1' => '1', 'm2' => '2']), $r->mget(['m1', 'm2', 'm3'])];
        $out['count'] = [$r->incr('n'), $r->incrBy('n', 41), $r->decr('n'), $r->incrByFloat('f', 1.5), $r->append('s', 'abc'), $r->strlen('s')];
        $out['hash'] = [$r->hSet('h', 'f', 'v'), $r->hMset('h', ['g' => 'w', 'i' => '1']), $r->hGetAll('h'), $r->hIncrBy('h', 'i', 5),
                        $r->hDel('h', 'g'), $r->hLen('h')];
        $out['list'] = [$r->rPush('l', 'a', 'b', 'c'), $r->lRange('l', 0, -1), $r->lPop('l'), $r->lLen('l'), $r->blPop(['l'], 1), $r->brPop(['none', 'l'], 1)];
        $out['set'] = [$r->sAdd('st', 'a'), $r->sAdd('st2', 'b'), $r->sUnion('st', 'st2') == ['a', 'b'], $r->sIsMember('st', 'a'), $r->sCard('st')];
        $out['sorted'] = [$r->zAdd('z', 1, 'a'), $r->zAdd('z', 2, 'b'), $r->zRange('z', 0, -1, true), $r->zRank('z', 'b'), $r->zIncrBy('z', 2, 'a')];
        $out['stream'] = [$r->xAdd('x', '1-1', ['f' => 'v']), $r->xRange('x', '-', '+'), $r->xRead(['x' => '0'])];
        $out['bits'] = [$r->setBit('b', 7, 1), $r->bitCount('b'), $r->pfAdd('p', ['a', 'b']), $r->pfCount('p')];
        $out['script'] = [$r->eval('return {KEYS[1], ARGV[1], redis.call("GET", KEYS[1])}', ['a', 'arg'], 1), $r->script('load', 'return 7'),
                          $r->evalSha(sha1('return 7'))];
        $out['error'] = [$r->hGet('a', 'f'), $r->getLastError(), $r->clearLastError(), $r->hGet('a', 'f') === false];
        try { $r->eval('return redis.error_reply("BAD things")'); } catch (RedisException $e) { $out['thrown'] = $e->getMessage(); }
        $out['gone'] = [$r->del('a'), $r->exists('a'), $r->expire('t', 10), $r->type('h'), $r->rename('h', 'h2'), $r->hGet('h2', 'f')];
        $out['size'] = $r->dbSize();
        """
    own = php(server.address, code)
    assert own["script"][2] == 7 and own["error"][1].startswith("WRONGTYPE")
    server.direct().flushall()
    assert php(relay.address("client"), code) == own


@needs_php
def test_php_pipeline_and_transactions(world: Client) -> None:
    """pipeline() brings the replies of a thousand commands in order; multi() and watch() do what they do at the server."""
    server, relay = world
    code = """
        $p = $r->pipeline();
        for ($i = 0; $i < 500; $i++) { $p->set("k$i", "v$i"); $p->get("k$i"); }
        $all = $p->exec();
        for ($i = 0; $i < 500; $i++) { $out['same'] = ($out['same'] ?? true) && $all[2 * $i] === true && $all[2 * $i + 1] === "v$i"; }
        $out['multi'] = $r->multi()->set('a', '1')->incr('a')->hGet('a', 'x')->get('a')->exec();
        $out['discard'] = [$r->multi()->set('a', '7')->discard(), $r->get('a')];
        $o = new Redis(); $o->connect($argv[1], (int) $argv[2]);
        $r->watch('a'); $o->set('a', 'changed'); $o->get('a');
        $out['watched'] = [$r->multi()->set('a', 'lost')->exec(), $r->get('a')];
        $r->watch('a'); $out['unwatched'] = [$r->unwatch(), $o->set('a', 'again'), $o->get('a'), $r->multi()->set('a', 'kept')->exec(), $r->get('a')];
        $out['both'] = $r->multi(Redis::PIPELINE)->set('x', '1')->incr('x')->exec();
        """
    own = php(server.address, code)
    assert own["same"] is True and own["watched"] == [False, "changed"]
    server.direct().flushall()
    assert php(relay.address("client"), code) == own


@needs_php
def test_php_databases_and_scan(world: Client) -> None:
    """select() and scan() through the relay see what they see at the server."""
    server, relay = world
    relay.allow("server-lost")  # a database that the server does not have
    code = """
        $out['select'] = [$r->select(3), $r->set('a', 'three'), $r->select(0), $r->get('a'), $r->select(3), $r->get('a'), $r->getDBNum(),
                          $r->select(99), $r->getLastError()];
        $r->select(5);
        $p = $r->pipeline(); for ($i = 0; $i < 1000; $i++) { $p->set("key:$i", 'v'); $p->sAdd('s', "m$i"); } $p->exec();
        $r->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
        $found = []; $it = null; while (($keys = $r->scan($it, 'key:*', 50)) !== false) { foreach ($keys as $k) { $found[$k] = 1; } }
        $members = []; $it = null; while (($ms = $r->sScan('s', $it)) !== false) { foreach ($ms as $m) { $members[$m] = 1; } }
        $out['scan'] = [count($found), count($members), $r->dbSize(), $r->swapdb(5, 6), $r->dbSize(), $r->flushDB(), $r->info('server')['redis_mode']];
        """
    own = php(server.address, code)
    assert own["scan"][:3] == [1000, 1000, 1001]
    server.direct().flushall()
    assert php(relay.address("client"), code) == own


@needs_php
def test_php_persistent_connections(world: Client) -> None:
    """Pages of one PHP process that use its persistent connection one after the other, and whatever the last one left, work."""
    _, relay = world
    out = php(relay.address("client"), """
        for ($page = 0; $page < 50; $page++) {
            $c = new Redis(); $c->pconnect($argv[1], (int) $argv[2], 2.0, 'pool');
            if ($page % 5 == 1) { $c->select($page % 3); } else { $c->select(0); }
            $c->set("p$page", str_repeat('x', $page * 100));
            $out[] = strlen($c->get("p$page")) === $page * 100;
            if ($page % 7 == 3) { $c->multi(); $c->set('open', 'transaction'); $c->discard(); }
            if ($page % 3 == 0) { $c->close(); }
            unset($c);
        }""", "-d", "redis.pconnect.pooling_enabled=1", "-d", "redis.pconnect.echo_check_liveness=1")
    assert out == [True] * 50


@needs_php
def test_php_publish_and_subscribe(world: Client) -> None:
    """A PHP worker that subscribes gets what others publish, while they go on."""
    server, relay = world
    code = PHP_BEGINS + """
        $r->setOption(Redis::OPT_READ_TIMEOUT, -1);
        $r->subscribe(['news', 'sport'], function ($redis, $channel, $message) { echo "$channel $message\n"; });"""
    with endless(["php", "-r", code, "--", *place(relay.address("client"))]) as lines:
        direct = server.direct()
        until(lambda: direct.pubsub_numsub("news", "sport") == [(b"news", 1), (b"sport", 1)], "subscribed")
        publisher = redis.Redis(port=split_address(relay.address("client"))[1])
        for number in range(20):
            assert publisher.publish("sport" if number % 2 else "news", number) == 1
        assert [lines.readline() for _ in range(20)] == [f"{'sport' if number % 2 else 'news'} {number}\n" for number in range(20)]
    publisher.close()


@needs_php
@pytest.mark.parametrize("mode", ["sync", "smart"])
def test_php_auth(lab: Lab, mode: str) -> None:
    """A PHP page that logs in as one user may do what that user may, and no more; without a password nothing."""
    if mode not in modes():
        pytest.skip(f"this relay has no mode {mode}")
    server = lab.redis_server("--requirepass", "secret", "--user", "reader", "on", ">r3ad", "~*", "+@read", "+@connection")
    direct = server.direct(password="secret")
    relay = lab.redis_relay(server, mode=mode).allow("server-lost", "dial-failed")
    code = """
        function attempt($what) { try { return $what(); } catch (RedisException $e) { return $e->getMessage(); } }
        $out[] = attempt(fn () => $r->get('a'));
        $out[] = attempt(fn () => $r->auth('wrong'));
        $out[] = attempt(fn () => $r->auth('secret'));
        $out[] = [$r->set('a', '1'), $r->get('a'), $r->acl('whoami')];
        $out[] = attempt(fn () => $r->auth(['reader', 'r3ad']));
        $out[] = [$r->get('a'), attempt(fn () => $r->incr('a')), attempt(fn () => $r->acl('whoami'))];
        """
    own = php(server.address, code)
    assert own[2:4] == [True, [True, "1", "default"]] and own[5][0] == "1"
    direct.flushall()
    assert php(relay.address("client"), code) == own


@needs_php
def test_php_sessions(world: Client) -> None:
    """PHP's own session handler, with locks, keeps its sessions through the relay: four pages that count to twenty each lose none."""
    _, relay = world
    host, port = place(relay.address("client"))
    settings = ["-d", "session.save_handler=redis", "-d", f'session.save_path="tcp://{host}:{port}?database=2&prefix=S:"', "-d", "redis.session.locking_enabled=1",
                "-d", "redis.session.lock_retries=5000", "-d", "redis.session.lock_wait_time=2000", "-d", "session.use_cookies=0", "-d", "session.cache_limiter="]
    code = """
        for ($i = 0; $i < 20; $i++) { session_id('one'); session_start(); $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1; session_write_close(); }"""
    for task in [Task(php, relay.address("client"), code, *settings) for _ in range(4)]:
        task.result()
    out = php(relay.address("client"), "session_id('one'); session_start(); $out[] = $_SESSION['n'];", *settings)
    assert out == [80]


@needs_php
def test_php_serializer_and_big_values(world: Client) -> None:
    """What phpredis packs itself, and a value of megabytes, come back as they went."""
    server, relay = world
    code = """
        $r->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_PHP); $r->setOption(Redis::OPT_PREFIX, 'app:');
        $value = ['a' => [1, 2.5, null, true], 'text' => "\\0\\r\\n$5\\r\\n"];
        $out['packed'] = [$r->set('v', $value), $r->get('v') === $value, $r->hSet('h', 'f', $value), $r->hGet('h', 'f') === $value];
        $r->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_NONE);
        $big = random_bytes(8 * 1024 * 1024);
        $out['big'] = [$r->set('big', $big), $r->get('big') === $big, $r->strlen('big'), $r->getRange('big', 5, 9) === substr($big, 5, 5)];
        """
    out = php(relay.address("client"), code)
    assert out == {"packed": [True, True, 1, True], "big": [True, True, 8 << 20, True]}
    assert server.direct().strlen("app:big") == 8 << 20


# node


@functools.cache
def has_node() -> bool:
    node = shutil.which("node")
    return node is not None and subprocess.run([node, "-e", "require('redis')"], env=NODE, capture_output=True, check=False).returncode == 0


NODE = {**os.environ, "NODE_PATH": "/usr/share/nodejs"}
needs_node = pytest.mark.skipif(not has_node(), reason="no node with its redis client (nodejs node-redis)")


def node(address: str, code: str) -> Any:
    """What a script has left in `out`. `client` has connected; `make()` makes another."""
    text = """
        const { createClient, commandOptions, WatchError } = require('redis');
        const out = {};
        const made = [];
        const make = async (more = {}) => {
          const client = createClient({ socket: { host: process.argv[1], port: Number(process.argv[2]) }, ...more });
          client.on('error', (error) => { console.error(String(error)); process.exit(1); });
          await client.connect();
          made.push(client);
          return client;
        };
        (async () => {
          const client = await make();
          %s
          for (const one of made) if (one.isOpen) await one.quit();
          console.log(JSON.stringify(out));
        })().catch((error) => { console.error(error); process.exit(1); });
    """
    return json.loads(run(["node", "-e", text % code, "--", *place(address)], env=NODE))


@needs_node
def test_node(world: Client) -> None:
    """A node program with hundreds of commands under way, transactions, scans and buffers gets the server's answers."""
    server, relay = world
    code = """
        out.basic = [await client.set('a', 'x'), await client.get('a'), await client.get('none'), await client.ping()];
        const all = await Promise.all(Array.from({ length: 500 }, async (_, i) => { await client.set('k' + i, String(i)); return client.get('k' + i); }));
        out.all = all.every((value, i) => value === String(i));
        out.multi = await client.multi().set('n', '1').incr('n').get('n').exec();
        out.pipelined = await client.multi().set('n', '5').get('n').execAsPipeline();
        await client.hSet('h', { f: 'v', g: '1' });
        out.hash = [await client.hGetAll('h'), await client.hIncrBy('h', 'g', 2)];
        out.sorted = [await client.zAdd('z', [{ score: 1, value: 'a' }]), await client.zRangeWithScores('z', 0, -1)];
        let scanned = 0;
        for await (const key of client.scanIterator({ MATCH: 'k*', COUNT: 20 })) scanned++;
        out.scanned = scanned;
        const bytes = Buffer.from([0, 13, 10, 255]);
        await client.set('bytes', bytes);
        out.bytes = bytes.equals(await client.get(commandOptions({ returnBuffers: true }), 'bytes'));
        out.error = await client.hGet('a', 'f').catch((error) => error.message);
        out.script = [await client.eval('return KEYS[1]', { keys: ['q'] }), await client.sendCommand(['ECHO', 'e'])];
        await client.select(4); await client.set('a', 'four'); await client.select(0);
        out.databases = await client.get('a');
        """
    own = node(server.address, code)
    assert own["all"] is True and own["bytes"] is True and own["multi"] == ["OK", 2, "2"] and own["scanned"] == 500
    server.direct().flushall()
    assert node(relay.address("client"), code) == own


@needs_node
def test_node_subscribes_and_blocks(world: Client) -> None:
    """Subscriptions, blocking reads and WATCH on isolated connections of a node program work side by side."""
    server, relay = world
    code = """
        const subscriber = await make(), got = [];
        let all;
        const heard = new Promise((resolve) => { all = resolve; });
        const hear = (what) => { if (got.push(what) === 40) all(); };
        await subscriber.subscribe('news', (message) => hear(message));
        await subscriber.pSubscribe('ne*', (message, channel) => hear(channel));
        for (let i = 0; i < 20; i++) await client.publish('news', String(i));
        await heard;
        out.got = [got.length, got.filter((message) => message !== 'news').join(' ')];
        await subscriber.unsubscribe('news'); await subscriber.pUnsubscribe('ne*');
        const waiting = client.executeIsolated((one) => one.blPop('list', 5));
        await client.rPush('list', 'element');
        out.blocked = await waiting;
        const count = () => client.executeIsolated(async (one) => {
          await one.watch('n');
          const n = Number(await one.get('n'));
          return one.multi().set('n', String(n + 1)).exec();
        }).catch((error) => { if (error instanceof WatchError) return count(); throw error; });
        await Promise.all(Array.from({ length: 20 }, count));
        out.counted = await client.get('n');
        """
    assert node(relay.address("client"), code) == {"got": [40, " ".join(map(str, range(20)))], "blocked": {"key": "list", "element": "element"}, "counted": "20"}
    assert server.direct().get("n") == b"20"


# redis-cli and redis-benchmark


def cli_words(address: str, *words: str) -> list[str]:
    host, port = place(address)
    return ["redis-cli", "-h", host, "-p", port, *words]


def cli(address: str, *words: str, said: bytes = b"") -> str:
    return run(cli_words(address, *words), said=said)


def test_cli(world: Client) -> None:
    """What somebody types into redis-cli is answered as by the server."""
    server, relay = world
    typed = "\n".join([
        "PING", "SET a 'x y'", "GET a", "INCR a", "LPUSH l 1 2 3", "LRANGE l 0 -1", "HSET h f v", "HGETALL h", "MULTI", "SET b 1", "INCR b", "EXEC",
        "SELECT 3", "SET c 3", "SELECT 0", "GET c", "EVAL 'return {1,2,{3}}' 0", "NOSUCH", "OBJECT ENCODING l", "HELLO 3", "HGETALL h", "CONFIG GET maxmemory",
        "DEBUG SLEEP 0", "ACL WHOAMI", "RESET", "GET a", "COMMAND COUNT", "XADD s 1-1 f v", "XRANGE s - +",
    ]).encode()
    own = [re.sub(r"\b(id|port)\b.*", "", line) for line in cli(server.address, said=typed).splitlines()]
    server.direct().flushall()
    through = [re.sub(r"\b(id|port)\b.*", "", line) for line in cli(relay.address("client"), said=typed).splitlines()]
    # The third protocol's HELLO says the connection's number.
    assert [line for line in through if not line.isdigit()] == [line for line in own if not line.isdigit()]
    for words in (["--no-auth-warning", "-3", "HGETALL", "h"], ["-r", "5", "INCR", "n"], ["--csv", "LRANGE", "l", "0", "-1"], ["-n", "3", "GET", "c"]):
        server.direct().delete("n")
        own_answer = cli(server.address, *words)
        server.direct().delete("n")
        assert cli(relay.address("client"), *words) == own_answer
    assert cli(relay.address("client"), "-x", "SET", "piped", said=b"from standard input") == "OK\n"
    assert server.direct().get("piped") == b"from standard input"


def test_cli_mass_insertion(world: Client) -> None:
    """redis-cli --pipe brings everything there, and counts every reply."""
    server, relay = world
    count = volume(20_000)
    said = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\nkey:%d\r\n$%d\r\nvalue %d\r\n" % (4 + len(str(i)), i, 6 + len(str(i)), i) for i in range(count))
    assert f"errors: 0, replies: {count}" in cli(relay.address("client"), "--pipe", said=said)
    direct = server.direct()
    until(lambda: direct.dbsize() == count, "all there")
    assert direct.get(f"key:{count - 1}") == b"value %d" % (count - 1)


def test_cli_looks_around(world: Client) -> None:
    """--scan, --bigkeys, --memkeys, --stat and --latency of redis-cli work."""
    server, relay = world
    server.direct().mset({f"key:{i}": "v" * i for i in range(300)})
    address = relay.address("client")
    assert sorted(cli(address, "--scan", "--pattern", "key:*").split()) == sorted(f"key:{i}" for i in range(300))
    assert "key:299" in cli(address, "--bigkeys")
    assert "Sampled 300 keys" in cli(address, "--memkeys")
    with endless(cli_words(address, "--stat", "-i", "0.05")) as lines:
        head = [lines.readline() for _ in range(3)]
        assert "keys" in head[1] and head[2].split()[0] == "300"
    assert re.match(r"\d+ \d+ [\d.]+ \d+", cli(address, "--latency", "-i", "0.2"))


def test_cli_backup(lab: Lab, tmp_path: Path) -> None:
    """redis-cli --rdb fetches a whole backup, and nothing of the replica that it has played is left."""
    server = lab.redis_server("--repl-diskless-sync-delay", "0")
    relay = lab.redis_relay(server)
    server.direct().mset({f"key:{i}": "v" * i for i in range(500)})
    run(cli_words(relay.address("client"), "--rdb", str(tmp_path / "dump.rdb")), may_complain=True)
    assert "500 keys read" in run(["redis-check-rdb", str(tmp_path / "dump.rdb")])
    assert lab.redis(relay).get("key:9") == b"v" * 9
    until(lambda: server.direct().info("replication")["connected_slaves"] == 0, "no replica is left")


def test_cli_monitor(world: Client) -> None:
    """MONITOR shows what all clients of the server do, and is over when its client goes."""
    server, relay = world
    with endless(cli_words(relay.address("client"), "MONITOR")) as lines:
        assert lines.readline() == "OK\n"
        server.direct().set("seen", 1)
        assert '"SET" "seen" "1"' in lines.readline()
    until(lambda: b"cmd=monitor" not in server.direct().execute_command("CLIENT", "LIST", parse_response=False), "nobody monitors")


def benchmark(address: str, *words: str) -> dict[str, float]:
    """Requests a second by test."""
    host, port = place(address)
    rows = run(["redis-benchmark", "-h", host, "-p", port, "--csv", *words], timeout=60, may_complain="-k" in words).splitlines()
    assert rows[0].startswith('"test","rps"'), rows
    return {name: float(rate) for name, rate in (re.match(r'"([^"]*)","([\d.]+)"', row).groups() for row in rows[1:])}  # type: ignore[union-attr]


@pytest.mark.parametrize("words", [("-n", "500"), ("-n", "4000", "-P", "16", "-r", "1000"), ("-n", "2000", "-3", "-P", "4"), ("-n", "200", "-k", "0", "-c", "20")],
                         ids=["plain", "pipelined", "resp3", "reconnecting"])
def test_benchmark(world: Client, words: tuple[str, ...]) -> None:
    """All default tests of redis-benchmark run through the relay."""
    _, relay = world
    found = benchmark(relay.address("client"), *words)
    assert {"PING_INLINE", "SET", "GET", "INCR", "LPUSH", "LRANGE_600 (first 600 elements)", "MSET (10 keys)"} <= set(found)
    assert len(found) == 20 and all(rate > 0 for rate in found.values())


# redis-py


@pytest.fixture
def pool(world: Client) -> Iterator[redis.ConnectionPool]:
    pool = redis.ConnectionPool(port=split_address(world[1].address("client"))[1], socket_timeout=seconds(20), decode_responses=True)
    yield pool
    pool.disconnect()


def together(work: Callable[[int], Any], count: int = 8) -> list[Any]:
    return [task.result(60) for task in [Task(work, number) for number in range(count)]]


def test_python_pool(world: Client, pool: redis.ConnectionPool) -> None:
    """Threads of a program that share a pool of connections each read what they have written."""
    def work(number: int) -> bool:
        client = redis.Redis(connection_pool=pool)
        return all(client.set(f"k{number}", i) and client.get(f"k{number}") == str(i) for i in range(volume(200)))

    assert together(work) == [True] * 8
    assert world[0].direct().dbsize() == 8


def test_python_transactions(pool: redis.ConnectionPool) -> None:
    """Eight threads that count with WATCH and MULTI lose nothing, and a lock keeps others out."""
    rounds = volume(25)

    def count(pipe: Any) -> None:
        number = int(pipe.get("n") or 0)
        pipe.multi()
        pipe.set("n", number + 1)

    def work(number: int) -> None:
        client = redis.Redis(connection_pool=pool)
        for _ in range(rounds):
            client.transaction(count, "n")
        for _ in range(rounds):
            with client.lock("lock", timeout=20, sleep=0.001):
                client.set("locked", int(client.get("locked") or 0) + 1)

    together(work)
    client = redis.Redis(connection_pool=pool)
    assert (client.get("n"), client.get("locked")) == (str(8 * rounds), str(8 * rounds))


def test_python_pipelines_and_scripts(pool: redis.ConnectionPool) -> None:
    """Pipelines with and without a transaction, errors in them, registered scripts and scans do what they do at the server."""
    client = redis.Redis(connection_pool=pool)
    for transaction in (True, False):
        pipe = client.pipeline(transaction=transaction)
        for number in range(300):
            pipe.set(f"k{number}", number).get(f"k{number}")
        assert pipe.execute() == [part for number in range(300) for part in (True, str(number))]
        answers = client.pipeline(transaction=transaction).set("text", "x").incr("text").get("text").execute(raise_on_error=False)
        assert answers[0] is True and isinstance(answers[1], redis.ResponseError) and answers[2] == "x"
    script = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert [script(keys=["s"], args=[3]), script(keys=["s"], args=[4])] == [3, 7]
    client.script_flush()
    assert script(keys=["s"], args=[1]) == 8
    assert len(set(client.scan_iter("k*", count=25))) == 300


def test_python_pubsub_and_monitor(world: Client, pool: redis.ConnectionPool) -> None:
    """A thread that listens gets all messages in order; monitor() shows commands; the connections go back to the pool clean."""
    client = redis.Redis(connection_pool=pool)
    got: list[str] = []
    done = threading.Event()

    def heard(message: dict[str, Any]) -> None:
        got.append(message["data"])
        if message["data"] == "end":
            done.set()

    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(**{"news": heard})
    thread = pubsub.run_in_thread(sleep_time=0.05, daemon=True)
    until(lambda: client.pubsub_numsub("news")[0][1] == 1, "subscribed")
    for number in range(100):
        client.publish("news", number)
    client.publish("news", "end")
    assert done.wait(seconds(10))
    thread.stop()
    thread.join(seconds(10))
    assert got == [*map(str, range(100)), "end"]
    with client.monitor() as monitor:
        world[0].direct().set("seen", "1")
        assert monitor.next_command()["command"] == "SET seen 1"
    assert client.get("seen") == "1"


def test_python_asyncio(world: Client) -> None:
    """Two hundred tasks of an asyncio program, over a pool of connections, get their own answers."""
    port = split_address(world[1].address("client"))[1]

    async def program() -> list[bool]:
        client = redis.asyncio.Redis(port=port, max_connections=20, decode_responses=True)
        limit = asyncio.Semaphore(20)

        async def work(number: int) -> bool:
            async with limit:
                await client.set(f"k{number}", number)
                async with client.pipeline(transaction=number % 2 == 0) as pipe:
                    answers = await pipe.get(f"k{number}").incr("n").execute()
                return answers[0] == str(number)

        try:
            answers = await asyncio.gather(*(work(number) for number in range(200)))
            return [*answers, await client.get("n") == "200"]
        finally:
            await client.close(close_connection_pool=True)

    assert asyncio.run(program()) == [True] * 201


@pytest.mark.skipif(int(redis.__version__.split(".")[0]) < 5, reason="this redis-py has no RESP3")
def test_python_third_protocol(world: Client) -> None:
    """With protocol=3 redis-py gets maps as maps."""
    client = redis.Redis(port=split_address(world[1].address("client"))[1], protocol=3, decode_responses=True)
    client.hset("h", "f", "v")
    assert client.execute_command("HGETALL", "h") == {"f": "v"}
    assert client.execute_command("HELLO")["proto"] == 3
    client.close()


# The distance


def test_far_away(lab: Lab) -> None:
    """A server that is 20 ms away answers after a round trip; what twenty clients ask at once is all on its way at once."""
    server = lab.redis_server()
    relay = lab.redis_relay(server, url=f"redis://{lab.distance(server.address, 0.02).address}")
    clients = [lab.redis(relay) for _ in range(20)]
    clients[0].get("a")
    began = relay.age()
    clients[0].get("a")
    assert relay.age() - began >= 0.04
    server.pause()
    tasks = [Task(client.get, "a") for client in clients]
    relay.wait_stat("under_way", "==", len(clients))
    server.resume()
    assert [task.result() for task in tasks] == [None] * len(clients)
