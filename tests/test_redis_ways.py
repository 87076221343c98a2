# SPDX-License-Identifier: Apache-2.0
"""Which ways lead to a Redis relay and from it to the server: TLS, Unix sockets; and a server that becomes another by a reload."""

import socket
import ssl

import pytest
import redis

from harness.certs import Authority, client_context
from harness.lab import Lab
from harness.process import has_tls
from harness.task import Task
from harness.until import until


def test_unix_sockets(lab: Lab) -> None:
    """Clients come to a Unix socket, and the server is at another."""
    server = lab.redis_server("--unixsocket", str(lab.folder / "server"))
    lab.start("redis", "--listen", f"unix:{lab.folder}/relay", "--url", f"unix:{lab.folder}/server", "--log-level", "debug")
    client = redis.Redis(unix_socket_path=f"{lab.folder}/relay", db=2)
    lab.clients.append(client)
    assert client.set("a", b"x" * 100_000)
    assert server.direct(db=2).strlen("a") == 100_000


@pytest.mark.skipif(not has_tls(), reason="built without TLS")
def test_tls_on_both_sides(lab: Lab) -> None:
    """Clients come with TLS, the server is reached with TLS, and its certificate must bear its name."""
    ca = Authority(lab.folder, "ca")
    own, other = ca.issue("relay", dns=["localhost"], ip=["127.0.0.1"]), ca.issue("other", dns=["other.example"])
    for issued, works in ((own, True), (other, False)):
        port = lab.port()
        server = lab.redis_server("--tls-port", str(port), "--tls-cert-file", str(issued.cert), "--tls-key-file", str(issued.key),
                                  "--tls-ca-cert-file", str(ca.cert), "--tls-auth-clients", "no")
        relay = lab.redis_relay(server, url=f"rediss://127.0.0.1:{port}", ca=ca.cert, listen="tls://127.0.0.1:0", cert=own.cert, key=own.key, timeout="10s" if works else "300ms")
        address = relay.address("client").removeprefix("tls://")
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 10) as plain, \
                client_context(ca.cert).wrap_socket(plain, server_hostname="localhost") as sock:
            # One thread: a TLS socket of Python's is not for two, and little comes back while it sends.
            sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$300000\r\n" + b"x" * 300_000 + b"\r\nSTRLEN a\r\nQUIT\r\n" if works else b"PING\r\nQUIT\r\n")
            answer = b""
            try:
                while piece := sock.recv(1 << 16):
                    answer += piece
            except ssl.SSLEOFError:
                pass
        if works:
            assert answer == b"+OK\r\n:300000\r\n+OK\r\n"
            assert relay.stats()["tls_handshakes"] >= 2
        else:
            relay.allow("dial-failed")
            assert answer.startswith(b"-ERR relay: cannot reach the server: ")


def test_another_server_by_a_reload(lab: Lab) -> None:
    """A changed URL is used from the next command on; who waits or has a transaction at the old server is not disturbed."""
    first, second = lab.redis_server(), lab.redis_server()

    def config(url: str) -> str:
        return f'log-level = "debug"\n[[relay]]\nkind = "redis"\nname = "r"\nlisten = "127.0.0.1:{port}"\nurl = "{url}"\n'

    port = lab.port()
    relay = lab.run(config(f"redis://{first.address}"))
    client, inside, waiting = lab.redis(relay), lab.redis(relay), lab.redis(relay)
    client.set("who", "first")
    inside.execute_command("MULTI")
    inside.execute_command("GET", "who")
    task = Task(waiting.blpop, "q", 10)
    until(lambda: first.direct().info("clients")["blocked_clients"] == 1, "blocked")
    lab.file("relay.toml", config(f"redis://{second.address}/1"))
    assert relay.reload().status == 200
    second.direct(db=1).set("who", "second")
    assert client.get("who") == b"second"
    assert inside.execute_command("EXEC") == [b"first"]
    assert inside.get("who") == b"second"
    first.direct().rpush("q", "e")
    assert task.result() == (b"q", b"e")
    assert waiting.get("who") == b"second"
    until(lambda: first.direct().info("clients")["connected_clients"] <= 4, "the old server is left")
    lab.file("relay.toml", config("redis://u@h"))
    relay.allow("reload-failed", "config-fault")
    assert relay.reload().status == 409
    assert client.get("who") == b"second"
