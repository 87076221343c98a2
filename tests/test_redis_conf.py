# SPDX-License-Identifier: Apache-2.0
"""The configuration of Redis relays: files of the smart-relayer of old, and passwords, which nobody gets to see."""
# Issue: "What a user does".

import socket
from pathlib import Path

import pytest
import redis

from harness.lab import Lab
from harness.process import Relay, command

SECRET = "hush-do-not-tell"


def ask(lab: Lab, address: str) -> redis.Redis:
    """A client of a relay, by where it listens."""
    client = redis.Redis(unix_socket_path=address[5:]) if address.startswith("unix:") else redis.Redis(port=int(address.rpartition(":")[2]), socket_timeout=10)
    lab.clients.append(client)
    return client


def check(lab: Lab, text: str) -> tuple[int, str, str]:
    done = command("check", "-c", str(lab.file("relayer.conf", text)))
    return done.returncode, done.stdout, done.stderr.replace(f"relay: {lab.folder}/relayer.conf:", "")


def places(relay: Relay) -> dict[str, list[str]]:
    return {one["name"]: [place["addr"] for place in one["listening"]] for one in relay.status()["relays"]}


def test_a_file_of_old_starts(lab: Lab) -> None:
    """A relayer.conf is run as it is, beside a relay of our own form: its ports are those of all addresses, its numbers seconds."""
    server = lab.redis_server()
    port, bare = lab.port("0.0.0.0"), lab.port("0.0.0.0")
    path = lab.file("relayer.conf", f"""
        comment = "Smart-relayer configuration"
        log-level = "debug"
        [[relayer]]
        protocol = "redis"
        mode = "sync"
        listen = "tcp://:{port}"
        url = "tcp://{server.address}"
        maxConnections = 20
        maxIdleConnections = 10
        [[relayer]]
        protocol = "redis2"
        listen = "unix:{lab.folder}/a.sock"
        url = "tcp://{server.address}"
        timeout = 5
        [[relayer]]
        protocol = "redis"
        listen = "unix:{lab.folder}/b.sock"
        url = "tcp://{server.address}"
        [[relayer]]
        protocol = "redis"
        listen = {bare}
        url = "tcp://{server.address}"
        [[relay]]
        listen = "127.0.0.1:0"
        target = "127.0.0.1:9"
        """)
    relay = lab.start("--config", str(path)).allow("few-descriptors")
    found = places(relay)
    assert set(found) - {"cluster-127.0.0.1:0"} == {f"redis-{port}", f"redis-{bare}", f"redis-unix:{lab.folder}/a.sock", f"redis-unix:{lab.folder}/b.sock"}
    assert found[f"redis-{port}"] in ([f"[::]:{port}"], [f"0.0.0.0:{port}"])
    for number, name in enumerate(sorted(name for name in found if name.startswith("redis"))):
        assert ask(lab, found[name][0]).set(f"key{number}", number)
    assert server.direct().dbsize() == 4


def test_each_key_of_old_is_known(lab: Lab) -> None:
    """A relayer.conf with each of its keys has no fault."""
    status, shown, said = check(lab, """
        [[relayer]]
        protocol = "redis"
        mode = "smart"
        listen = "unix:/tmp/redis.sock"
        url = "tcp://192.168.0.149:6379"
        maxConnections = 20
        maxIdleConnections = 10
        minIdleConnections = 1
        maxConnectedSecs = 60
        compress = true
        uncompress = true
        gzip = 6
        gunzip = true
        pipeline = 100
        timeout = 5
        asynCommands = "LPUSH RPUSH"
        ignoreCommands = "SLOWLOG"
        [[relayer]]
        protocol = "redis-cluster"
        listen = 6390
        url = "tcp://10.0.0.1:7000 tcp://10.0.0.2:7000"
        """)
    assert (status, said) == (0, "")
    assert 'maxConnectedSecs = "60s"\n' in shown and 'asynCommands = ["LPUSH", "RPUSH"]\n' in shown


def test_command_line_with_schemes(lab: Lab) -> None:
    """`--listen tcp://127.0.0.1:PORT`, `tcp://:PORT` and a bare port are places to listen."""
    server = lab.redis_server()
    relay = lab.start("redis", "--listen", "tcp://127.0.0.1:0", "--listen", "tcp://:0", "--listen", "localhost:0", "--url", f"redis://{server.address}", "--mode", "sync",
                      "--timeout", "5")
    (found,) = places(relay).values()
    assert [place.rpartition(":")[0] for place in found] in (["127.0.0.1", "[::]", "127.0.0.1"], ["127.0.0.1", "0.0.0.0", "127.0.0.1"])
    for place in found:
        assert ask(lab, place).ping()


@pytest.mark.parametrize(
    "text, says",
    [
        ('[[relayer]]\nprotocol = "firehose"\nstreamName = "testing"\nregion = "eu-west-1"\n', '2: protocol: "firehose" is not built in; take this [[relayer]] out of the file; '),
        ('[[relayer]]\nlisten = 6389\nurl = "tcp://a:1"\n', "1: protocol: required in [[relayer]]; there is redis,"),
        ('[[relayer]]\nprotocol = "redis"\nlisten = 6389\nurl = "tcp://a:1"\nmaxConnection = 2\n', '5: unknown key "maxConnection" in [[relayer]]; did you mean "maxConnections"?'),
        ('[[relayer]]\nprotocol = "redis"\nlisten = 6389\nurl = "tcp://a:1"\nstall-timeout = 5\n', '5: stall-timeout: "5" is not a duration'),
        ('[[relayer]]\nprotocol = "redis"\nlisten = 6389\nurl = "tcp://a:1 tcp://b:1"\n', "4: the URL names several servers; if they are a cluster"),
        ('[[relayer]]\nprotocol = "redis-cluster"\nlisten = 6389\nurl = "tcp://a:1/2"\n', "4: a cluster has no other database than 0"),
        ('[[relayer]]\nprotocol = "redis"\nlisten = 6389\nurl = "tcp://a:1"\n[[relayer]]\nprotocol = "redis"\nlisten = "tcp://:6389"\nurl = "tcp://a:1"\n', "where the relay of"),
    ],
)
def test_faults_of_a_file_of_old(lab: Lab, text: str, says: str) -> None:
    """What is not to be had is named with its line and what to do."""
    status, _, said = check(lab, text)
    assert status == 2
    assert says in said


# Passwords


def test_password_of_the_url_is_not_shown(lab: Lab) -> None:
    """No page, no line of the log, no fault has the password; the server has."""
    server = lab.redis_server("--requirepass", SECRET)
    text = f'[[relay]]\nkind = "redis"\nname = "r"\nlisten = "127.0.0.1:0"\nurl = "redis://default:{SECRET}@{server.address}"\n'
    status, shown, said = check(lab, text)
    assert (status, said) == (0, "")
    assert f'url = "redis://default:***@{server.address}"' in shown
    relay = lab.start("run", "-c", str(lab.file("relayer.conf", 'log-level = "debug"\n' + text)))
    assert ask(lab, relay.address("client")).set("a", 1)
    said += shown + str(relay.status()) + relay.admin("GET", "/metrics").text() + "\n".join(line.raw for line in relay.lines)
    for bad in (text.replace("127.0.0.1:0", server.address), text.replace(server.address, "h:x"), text.replace('"redis://', "redis://").replace(server.address + '"', "h"),
                text.replace("redis://", "http://"), text.replace(f"@{server.address}", "@h\\u0007"), text + text):
        status, shown, fault = check(lab, bad)
        assert status == 2 and fault
        said += shown + fault
    for words in (["--listen", "127.0.0.1:0", f"redis://u:{SECRET}@h"], ["--listen", "127.0.0.1:0", "--url", f"redis://u:{SECRET}@h:x"], [f"--url=redis://u:{SECRET}@h"]):
        done = command("redis", *words)
        assert done.returncode == 2
        said += done.stderr
    assert SECRET not in said


def config(lab: Lab, server: str, secret: Path, user: str = "") -> Path:
    return lab.file("relay.toml", f'log-level = "debug"\n[[relay]]\nkind = "redis"\nname = "r"\nlisten = "127.0.0.1:0"\nurl = "redis://{user}{server}"\npassword-file = "{secret}"\n')


@pytest.mark.parametrize("user", ["", "default@"])
def test_password_from_a_file(lab: Lab, user: str) -> None:
    """The password stands in a file of its own, is read again at a reload, and a bad file changes nothing."""
    server = lab.redis_server("--requirepass", "first")
    secret = lab.file("secret", "first\n")
    relay = lab.start("run", "-c", str(config(lab, server.address, secret, user))).allow("config-fault", "reload-failed")
    client = ask(lab, relay.address("client"))
    assert client.set("a", 1)
    direct = server.direct(password="first")
    secret.write_text("")
    assert relay.reload().status != 200
    assert client.incr("a") == 2
    secret.write_text("second\r\n")
    direct.config_set("requirepass", "second")
    assert relay.reload().status == 200
    assert client.incr("a") == 3


@pytest.mark.parametrize("content, says", [(None, "No such file"), ("", "is empty"), ("\n", "is empty"), ("a\nb\n", "on one line"), ("a\0", "on one line"), ("x" * 5000, "too large")])
def test_faults_of_a_password_file(lab: Lab, content: str | None, says: str) -> None:
    """A file that cannot be a password's is a fault with the line of the key, and what is in it is not shown."""
    secret = lab.folder / "secret"
    if content is not None:
        secret.write_text(content)
    path = config(lab, "h:1", secret)
    done = command("check", "-c", str(path))
    assert done.returncode == 2
    assert done.stderr.startswith(f"relay: {path}:7: ") and str(secret) in done.stderr and says in done.stderr, done.stderr
    assert "xxxx" not in done.stderr


def test_password_twice_or_not_at_all(lab: Lab) -> None:
    """A password both in the URL and in a file, or in neither though there is a user, is a fault."""
    secret = lab.file("secret", "x")
    done = command("check", "-c", str(config(lab, "h:1", secret, ":p@")))
    assert "keep one of the two" in done.stderr
    done = command("redis", "--listen", "127.0.0.1:0", "--url", "redis://app@h:1")
    assert "--url: the URL has a user and no password" in done.stderr and "password-file" in done.stderr


def test_keepalive(lab: Lab) -> None:
    """The kernel watches over clients as the keys say."""
    relay = lab.redis_relay(lab.redis_server(), keepalive="7s", keepalive_interval="3s", keepalive_count=2, user_timeout="1500ms")
    peer = lab.client(relay)
    peer.send(b"*1\r\n$4\r\nPING\r\n")
    assert peer.read(7) == b"+PONG\r\n"
    names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    assert [relay.option_of(peer, socket.IPPROTO_TCP, name) for name in names] == [7, 3, 2, 1500]
