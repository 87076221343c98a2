# SPDX-License-Identifier: Apache-2.0
"""One test's world: its folder, its relays, its peers and fakes. Leaving it is a test: the relay must be as it began.

    lab.relay(target=..., pairs=3)   a relay on 127.0.0.1, port chosen by the kernel, log level debug;
                                     gateways are 127.0.0.2, everybody else is a client. Keywords are options: queue_size="64KiB"
                                     is --queue-size 64KiB, a list repeats one, None leaves a default of the lab's out.
    lab.run(toml)                    relay run -c FILE
    lab.client(relay)                a connection from 127.0.0.3, lab.gateway(relay) one from 127.0.0.2
    lab.target(echo)                 a fake that is closed at the end; lab.keep(x) for any other
"""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from harness import scale
from harness.peers.distance import Distance
from harness.peers.dns import Dns
from harness.peers.target import Behaviour, Blackhole, Refusing, Target
from harness.process import Relay
from harness.sockets import Peer, connect, split_address

if TYPE_CHECKING:
    from harness.peers.grpc_upstream import Upstream, UpstreamProcess
    from harness.peers.http2 import Liar
    from harness.peers.native_upstream import NativeUpstream
    from harness.peers.redis import RedisServer
    from harness.peers.redis_cluster import RedisCluster

GATEWAY = "127.0.0.2"
CLIENT = "127.0.0.3"
STRANGER = "127.0.0.9"


class Fake(Protocol):
    transcript: list[str]

    def close(self) -> None: ...
    def reset_peers(self) -> None: ...


def options(**keys: Any) -> list[str]:
    """Keywords as the words of a command line."""
    words = []
    for key, value in keys.items():
        name = "--" + key.replace("_", "-")
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is None:
                continue
            if isinstance(item, bool):
                words.append(f"{name}={str(item).lower()}")
            else:
                words += [name, str(getattr(item, "address", item))]
    return words


class Lab:
    """A context manager; leave it without an exception and it checks that everything came to rest."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="relay-"))  # short: Unix sockets live here
        self.relays: list[Relay] = []
        self.peers: list[Peer] = []
        self.fakes: list[Fake] = []
        self.clients: list[Any] = []

    # Relays

    def relay(self, *words: str, nofile: int = 0, journal: bool = False, env: dict[str, str] | None = None, token: str = "",
              **keys: Any) -> Relay:
        """`relay start` with the lab's defaults, READY."""
        defaults = {"listen": "127.0.0.1", "port": 0, "gateway": GATEWAY, "log_level": "debug"}
        if "target" not in keys:
            defaults["target"] = self.refusing()
        return self.start("start", *options(**{**defaults, **keys}), *words, nofile=nofile, journal=journal, env=env, token=token)

    def run(self, config: str, **process: Any) -> Relay:
        """`relay run -c FILE` with that text in the file, READY."""
        path = self.file("relay.toml", config)
        return self.start("run", "-c", str(path), config=config, **process)

    def start(self, *args: str, **process: Any) -> Relay:
        relay = Relay(args, self.folder, **process)
        self.relays.append(relay)
        return relay.wait_ready()

    # Peers

    def add(self, peer: Peer) -> Peer:
        self.peers.append(peer)
        return peer

    def client(self, relay: Relay, source: str | None = CLIENT, **how: Any) -> Peer:
        return self.add(relay.connect("client", source, **how))

    def gateway(self, relay: Relay, source: str | None = GATEWAY, **how: Any) -> Peer:
        return self.add(relay.connect("gateway", source, **how))

    def survivor(self, relay: Relay) -> Peer:
        """A client that has read all that a gateway has left: that came first, said `last words` and crashed."""
        gateway = self.gateway(relay)
        gateway.send(b"last words")
        relay.wait_stat("queued_bytes", "==", 10)
        gateway.reset()
        client = self.client(relay)
        assert client.read_all() == b"last words"
        return client

    def converse(self, client: Peer) -> None:
        """A whole session with a target that echoes, after which the lab has forgotten the client, its newest peer."""
        client.send(b"hello")
        assert client.read(5) == b"hello"
        client.finish()
        assert client.read_all() == b""
        self.peers.pop().close()

    def at(self, address: str, source: str | None = CLIENT) -> Peer:
        """A connection to an address that the test knows."""
        return self.add(connect(address, source))

    def pair(self, relay: Relay) -> tuple[Peer, Peer]:
        """A client and a gateway that the relay has joined: the gateway came first."""
        mark = relay.mark()
        gateway = self.gateway(relay)
        relay.wait_log("accepted", after=mark, peer=gateway.local)
        client = self.client(relay)
        relay.wait_log("paired", after=mark, client=client.local, gateway=gateway.local)
        return client, gateway

    # Fakes

    def keep(self, fake: Any) -> Any:
        self.fakes.append(fake)
        return fake

    def target(self, behaviour: Behaviour | None = None, **how: Any) -> Target:
        return self.keep(Target(behaviour, **how))

    def refusing(self, host: str = "127.0.0.1") -> Refusing:
        return self.keep(Refusing(host))

    def blackhole(self) -> Blackhole:
        return self.keep(Blackhole())

    def port(self, host: str = "127.0.0.1") -> int:
        """A port that a relay may listen on and that the kernel gives to nobody else meanwhile."""
        held = Refusing(host, shared=True)
        return int(self.keep(held).port)

    # Redis; who does not need it need not have its client installed.

    def redis_server(self, *words: str) -> "RedisServer":
        from harness.peers.redis import RedisServer

        return self.keep(RedisServer(self.folder, *words))

    def redis_relay(self, server: "RedisServer", **keys: Any) -> Relay:
        """`relay redis` in front of that server, READY."""
        return self.start("redis", *options(**{"listen": "127.0.0.1:0", "url": f"redis://{server.address}", "log_level": "debug", **keys}))

    def distance(self, target: str, delay: float) -> Distance:
        """A way to `target` that takes so many seconds."""
        return self.keep(Distance(target, delay))

    def redis_cluster(self, *words: str) -> "RedisCluster":
        from harness.peers.redis_cluster import RedisCluster

        return self.keep(RedisCluster(self.folder, *words))

    def cluster_relay(self, cluster: "RedisCluster", **keys: Any) -> Relay:
        """`relay redis` in front of that cluster, READY."""
        return self.start("redis", *options(**{"listen": "127.0.0.1:0", "url": cluster.url, "log_level": "debug", **keys}))

    def redis(self, relay: Relay, **how: Any) -> Any:
        """A redis-py client of the relay, on one connection."""
        import redis

        client = redis.Redis(port=split_address(relay.address("client"))[1], socket_timeout=scale.seconds(10), single_connection_client=True, **how)
        self.clients.append(client)
        return client

    # Plex; who does not need it need not have grpcio.

    def upstream(self, **manner: Any) -> "Upstream":
        from harness.peers.grpc_upstream import Upstream

        return self.keep(Upstream(**manner))

    def upstream_process(self, **manner: Any) -> "UpstreamProcess":
        from harness.peers.grpc_upstream import UpstreamProcess

        return self.keep(UpstreamProcess(**manner))

    def native_upstream(self, name: str, **manner: Any) -> "NativeUpstream":
        """By another gRPC library: "grpc_cpp" or "grpc_go"; skips the test if that is not there."""
        from harness.peers.native_upstream import NativeUpstream

        return self.keep(NativeUpstream(name, self.folder, **manner))

    def liar(self, **faults: Any) -> "Liar":
        from harness.peers.http2 import Liar

        return self.keep(Liar(**faults))

    def plex(self, *upstreams: Any, up: int | None = None, **keys: Any) -> Relay:
        """`relay plex` in front of these upstreams (or URLs), READY, and `up` of them in use, by each worker: all, if it is not said how many."""
        defaults = {
            "listen": "tcp://127.0.0.1:0", "upstream": [getattr(one, "url", one) for one in upstreams], "log_level": "debug",
            "retry_min": "10ms", "retry_max": "200ms", "ready_interval": "50ms",
        }
        process = {name: keys.pop(name) for name in ("nofile", "env", "journal", "token", "listening") if name in keys}
        relay = self.start("plex", *options(**{**defaults, **keys}), **process)
        relay.wait_stat("upstreams", ">=", (len(upstreams) if up is None else up) * int(keys.get("workers", 1)))
        return relay

    def dns(self) -> Dns:
        return self.keep(Dns())

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    # The end

    def close_peers(self) -> None:
        """By reset: a peer that is simply gone, with nothing for the relay to wait for."""
        for peer in self.peers:
            peer.reset()
        for client in self.clients:
            client.connection_pool.disconnect()
        for fake in self.fakes:
            fake.reset_peers()

    def finish(self) -> None:
        """The end of a test that went well so far; fails if the relay is not at rest without its peers."""
        self.close_peers()
        for relay in self.relays:
            relay.finish()

    def release(self) -> None:
        """Gives everything back, whatever happened."""
        self.close_peers()
        for relay in self.relays:
            relay.kill()
        for fake in self.fakes:
            fake.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def report(self) -> str:
        parts = [relay.report() for relay in self.relays]
        parts += ["\n".join(fake.transcript[-100:]) for fake in self.fakes if fake.transcript]
        return "\n\n".join(parts)

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self.release()
