# SPDX-License-Identifier: Apache-2.0
"""What a Redis client can see of its connection's state is the same through the relay as at the server."""
# Issue: points 1 and 2.

import socket

import pytest

from harness.lab import Lab
from harness.scale import volume
from harness.until import until
from test_redis_smart_lost import allowed
from test_redis_sync import encode, talk

OK = b"+OK\r\n"
CONVERSATIONS = {
    "reply off": ["CLIENT REPLY OFF", "SET a 1", "GET a", "CLIENT REPLY ON", "GET a"],
    "reply skip": ["SET a 0", "CLIENT REPLY SKIP", "SET a 2", "GET a"],
    "reply off in a transaction": ["MULTI", "SET a 3", "CLIENT REPLY OFF", "EXEC", "CLIENT REPLY ON", "GET a"],
    "no-evict": ["CLIENT NO-EVICT ON", "GET a", "CLIENT NO-EVICT maybe"],
    "names": ["CLIENT SETNAME one", "CLIENT GETNAME", "CLIENT SETNAME", "RESET", "CLIENT GETNAME"],
    "tracking": ["HELLO 3x", "CLIENT TRACKINGINFO", "CLIENT GETREDIR", "CLIENT TRACKING ON REDIRECT 999999", "CLIENT CACHING YES", "CLIENT TRACKING OFF"],
    "client": ["CLIENT", "CLIENT HELP", "CLIENT KILL ID 999999", "CLIENT UNPAUSE", "CLIENT UNBLOCK 999999", "CLIENT NONSENSE"],
    "cluster words": ["ASKING", "READONLY", "READWRITE", "CLUSTER INFO"],
    "databases": ["SELECT 99", "SELECT abc", "SELECT -1", "SELECT", "SELECT 1", "SET a 1", "SWAPDB 0 1", "GET a", "SELECT 0", "GET a", "MOVE a 2"],
    "login": ["AUTH x", "AUTH a b", "AUTH a b c", "ACL WHOAMI", "ACL CAT nonsense"],
    "subscribed": ["SUBSCRIBE c d", "GET a", "PING", "PING x", "UNSUBSCRIBE c", "PUNSUBSCRIBE", "UNSUBSCRIBE", "GET a"],
    "shards": ["SSUBSCRIBE c", "SUNSUBSCRIBE", "SPUBLISH c x", "PUBSUB SHARDNUMSUB c"],
    "transactions": ["EXEC", "DISCARD", "MULTI", "MULTI", "WATCH a", "SELECT 1", "SET a 1", "EXEC", "SELECT 0", "GET a"],
    "aborted": ["MULTI", "SET a", "SET a 1", "EXEC", "GET a", "UNWATCH", "WATCH a", "UNWATCH", "EXEC"],
    "waits": ["WAIT 0 0", "BLPOP q 0.01", "BLMOVE q r LEFT LEFT 0.01", "XREAD BLOCK 10 STREAMS s $", "BLPOP q x"],
    "about commands": ["COMMAND COUNT", "COMMAND GETKEYS MSET a 1 b 2", "COMMAND INFO nonsense", "COMMAND DOCS nonsense", "OBJECT HELP"],
    "about keys": ["SET a 1", "OBJECT ENCODING a", "OBJECT FREQ a", "DUMP a", "TYPE a", "TOUCH a b", "COPY a b", "RENAME b c", "RENAMENX c a"],
    "scripts": ["SCRIPT DEBUG NO", "SCRIPT EXISTS x", "FUNCTION LIST", "EVAL return_nothing 0", "EVALSHA x 0", "FCALL f 0", "SCRIPT KILL"],
    "nonsense": ["NOSUCHCOMMAND a b", "GET", "GET a b", "SET a 1 NONSENSE", "DEBUG SLEEP 0", "DEBUG", "CONFIG GET nonsense", "SHUTDOWN NONSENSE"],
}



@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversations(lab: Lab, name: str) -> None:
    """Word for word, at once or one by one."""
    said = [encode(*line.split()) for line in CONVERSATIONS[name]] + [encode("QUIT")]
    server = lab.redis_server()
    expected = talk(server.address, said)
    for mode in ({}, {"mode": "smart", "early": "exact"}):
        relay = allowed(lab.redis_relay(server, **mode))
        for pieces in (said, [b"".join(said)]):
            server.direct().flushall()
            server.direct().config_resetstat()
            assert talk(relay.address("client"), pieces) == expected, f"{mode} {len(pieces)}"


def test_tracking(lab: Lab) -> None:
    """A client that caches hears of what others change, and nobody else does."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server))
    caches, other, third = lab.at(relay.address("client")), lab.redis(relay), lab.at(relay.address("client"))
    caches.send(encode("HELLO", "3") + encode("CLIENT", "TRACKING", "ON") + encode("GET", "a"))
    until(lambda: caches.sock.recv(1 << 16, socket.MSG_PEEK).endswith(OK + b"_\r\n"), "tracking")
    caches.sock.recv(1 << 16)
    other.set("a", 1)
    push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n"
    assert caches.read(len(push)) == push
    third.send(encode("HELLO", "3") + encode("PING"))
    until(lambda: third.sock.recv(1 << 16, socket.MSG_PEEK).endswith(b"+PONG\r\n"), "no push")


def test_shutdown(lab: Lab) -> None:
    """It is the server's to decide. When it is gone the client is told so; the relay stays, and serves clients again when it is back."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server, retry_min="10ms", retry_max="50ms"))
    peer = lab.at(relay.address("client"))
    peer.send(encode("SHUTDOWN", "NOSAVE"))
    told = b"-ERR relay: connection to the server was lost; the command may have been executed\r\n"
    assert peer.read(len(told)) == told
    server.kill()
    server.start()
    client = lab.redis(relay)
    until(lambda: client.ping(), "the server is back")


def test_many_clients_over_few_connections(lab: Lab) -> None:
    """A thousand clients, each with something under way, have no more connections to the server than there may be."""
    server = lab.redis_server()
    relay = allowed(lab.redis_relay(server, maxConnections="3", clients="2000"))
    peers = [lab.at(relay.address("client")) for _ in range(volume(1000))]
    for number, peer in enumerate(peers):
        peer.send(encode("SET", f"k{number}", str(number)) + encode("GET", f"k{number}"))
    for number, peer in enumerate(peers):
        expected = OK + b"$%d\r\n%d\r\n" % (len(str(number)), number)
        assert peer.read(len(expected)) == expected
    assert relay.stats()["upstreams"] <= 3
    assert server.direct().info("clients")["connected_clients"] <= 4


@pytest.mark.parametrize("mode", ["sync", "smart"])
def test_every_type_of_the_third_protocol(lab: Lab, mode: str) -> None:
    """Attributes, pushes, maps, sets, doubles, big numbers and the like come as the server says them."""
    server = lab.redis_server("--enable-debug-command", "yes")
    types = ["string", "integer", "double", "null", "array", "set", "map", "attrib", "push", "verbatim", "true", "false", "bignum"]

    def said(address: str) -> bytes:
        # Which connection it is differs, in the greeting; behind that nothing does.
        answer = talk(address, [encode("HELLO", "3")] + [encode("DEBUG", "PROTOCOL", name) for name in types] + [encode("QUIT")])
        greeting, end, rest = answer.partition(b"modules\r\n*0\r\n")
        assert greeting.startswith(b"%7\r\n") and end
        return rest

    expected = said(server.address)
    assert b"|1\r\n" in expected and b">2\r\n" in expected and b"(" in expected
    assert said(allowed(lab.redis_relay(server, mode=mode)).address("client")) == expected
