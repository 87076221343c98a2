# SPDX-License-Identifier: Apache-2.0
"""A real Redis Cluster of a test's own on loopback: three masters with a replica each, that can be killed, paused, failed over and resharded.

    cluster = lab.redis_cluster()              ready: all slots, all replicas linked
    cluster.master_of("key"), cluster.replicas_of(node), cluster.alive()
    node.kill(), node.start(), node.pause(), node.resume()
    cluster.fail_over(node)                    asks the node's replica to take over, without losing anything
    move = cluster.open_move(slot, to); move.take(10); move.close()     the time in which a slot's keys are in two places
"""

from pathlib import Path
from typing import Any

import redis

from harness.peers.redis import RedisServer
from harness.peers.target import Refusing
from harness.until import until

SLOTS = 16384
NODE_TIMEOUT_MS = 1000
WORDS = [
    "--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-replica-validity-factor", "0",
    "--cluster-allow-replica-migration", "no",
    "--repl-diskless-sync-delay", "0", "--repl-timeout", "5",
    "--repl-ping-replica-period", "1",  # a replica that has got nothing yet is not in the map
]


def slot_of(key: str | bytes) -> int:
    """By the book: CRC16 of the key or of its hash tag."""
    data = key.encode() if isinstance(key, str) else key
    start = data.find(b"{")
    end = data.find(b"}", start + 1)
    if start >= 0 and end > start + 1:
        data = data[start + 1 : end]
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return crc % SLOTS


class ClusterNode(RedisServer):
    """One of them. It keeps its name and its ports when it is killed and started again."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._bus = Refusing("127.0.0.1", shared=True)
        self.bus_port = int(self._bus.port)
        self.running = False
        super().__init__(folder, *WORDS, "--cluster-port", str(self.bus_port), *words)
        self.name = str(self.ask("CLUSTER", "MYID"))

    def _extra_words(self) -> list[str]:
        return ["--cluster-config-file", f"nodes-{self.port}.conf"]

    def ask(self, *words: Any) -> Any:
        """On a connection for this alone."""
        with redis.Redis(port=self.port, socket_timeout=10, decode_responses=True, password=self.password) as client:
            return client.execute_command(*words)

    def info(self) -> dict[str, str]:
        """CLUSTER INFO."""
        return dict(line.split(":", 1) for line in str(self.ask("CLUSTER", "INFO")).split())

    def start(self) -> None:
        super().start()
        self.running = True

    def kill(self) -> None:
        self.running = False
        super().kill()

    def pause(self) -> None:
        self.running = False
        super().pause()

    def resume(self) -> None:
        super().resume()
        self.running = True

    def close(self) -> None:
        super().close()
        self._bus.close()


class Move:
    """A slot on its way from its node to another: until close(), keys that are not there any more are asked for at the other (ASK)."""

    def __init__(self, cluster: "RedisCluster", slot: int, to: ClusterNode) -> None:
        self.cluster, self.slot, self.to, self.source = cluster, slot, to, cluster.master_of_slot(slot)
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", self.source.name)
        self.source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.name)

    def take(self, count: int) -> int:
        """So many keys at most, and how many there were."""
        keys = self.source.ask("CLUSTER", "GETKEYSINSLOT", self.slot, count)
        return self.take_keys(*keys) if keys else 0

    def take_keys(self, *keys: str) -> int:
        login = ["AUTH", self.to.password] if self.to.password else []
        self.source.ask("MIGRATE", "127.0.0.1", self.to.port, "", 0, 5000, "REPLACE", *login, "KEYS", *keys)
        return len(keys)

    def close(self) -> None:
        """The rest of the keys, and the slot."""
        while self.take(100):
            pass
        for node in (self.to, self.source, *self.cluster.masters()):
            node.ask("CLUSTER", "SETSLOT", self.slot, "NODE", self.to.name)


class RedisCluster:
    """`nodes`: first three masters, then their replicas, as it begins."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.transcript: list[str] = []
        self.nodes: list[ClusterNode] = []
        self.questions = 0  # CLUSTER SLOTS that were not a relay's
        try:
            for _ in range(6):
                self.nodes.append(ClusterNode(folder, *words))
            self._join()
        except BaseException:
            self.close()
            raise

    def _join(self) -> None:
        bounds = [SLOTS * number // 3 for number in range(4)]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            for other in self.nodes[:number]:
                node.ask("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus_port)
        for number in range(3):
            self.nodes[number].ask("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
        until(lambda: all(node.info()["cluster_state"] == "ok" and node.info()["cluster_known_nodes"] == "6" for node in self.nodes), self.story, timeout=30)
        for number in range(3):
            self.nodes[3 + number].ask("CLUSTER", "REPLICATE", self.nodes[number].name)
        self.wait_ok()

    # What it looks like

    @property
    def url(self) -> str:
        """With the first two as seeds."""
        return "redis-cluster://" + ",".join(node.address for node in self.nodes[:2])

    def alive(self) -> list[ClusterNode]:
        return [node for node in self.nodes if node.running]

    def _at(self, port: int) -> ClusterNode:
        return next(node for node in self.nodes if node.port == port)

    def _slots(self, node: ClusterNode) -> list[tuple[int, int, list[int]]]:
        """As the node sees it: first slot, last slot, the ports of the master and its replicas."""
        self.questions += 1
        return sorted((first, last, [where[1] for where in places]) for first, last, *places in node.ask("CLUSTER", "SLOTS"))

    def _has(self, node: ClusterNode, slot: int) -> int | None:
        """The port of the master, as the node sees it."""
        return next((ports[0] for first, last, ports in self._slots(node) if first <= slot <= last), None)

    def master_of_slot(self, slot: int) -> ClusterNode:
        port = self._has(self.alive()[0], slot)
        assert port is not None, f"nobody has slot {slot}"
        return self._at(port)

    def master_of(self, key: str | bytes) -> ClusterNode:
        return self.master_of_slot(slot_of(key))

    def masters(self) -> list[ClusterNode]:
        """By their first slots."""
        return list(dict.fromkeys(self._at(ports[0]) for _, _, ports in self._slots(self.alive()[0])))

    def replicas_of(self, master: ClusterNode) -> list[ClusterNode]:
        return list(dict.fromkeys(self._at(port) for _, _, ports in self._slots(self.alive()[0]) if ports[0] == master.port for port in ports[1:]))

    def other_than(self, master: ClusterNode) -> ClusterNode:
        return next(node for node in self.masters() if node is not master)

    def key_at(self, master: ClusterNode, prefix: str = "key") -> str:
        """A key of that node's."""
        ranges = [(first, last) for first, last, ports in self._slots(self.alive()[0]) if ports[0] == master.port]
        return next(f"{prefix}{n}" for n in range(100_000) if any(first <= slot_of(f"{prefix}{n}") <= last for first, last in ranges))

    def keys(self) -> list[str]:
        """All there are, sorted."""
        return sorted(key for node in self.masters() for key in node.ask("KEYS", "*"))

    def flush(self) -> None:
        for node in self.masters():
            node.ask("FLUSHALL")

    def calls(self, command: str) -> int:
        """How often the nodes that are alive have been asked that: "get", "cluster|slots"."""
        return sum(node.ask("INFO", "commandstats").get(f"cmdstat_{command}", {}).get("calls", 0) for node in self.alive())

    # Changes

    def wait_ok(self, timeout: float = 30) -> None:
        """All that are alive are of one opinion, and each replica has its master."""

        def good() -> bool:
            try:
                views = [self._slots(node) for node in self.alive()]
                states = {node.info()["cluster_state"] for node in self.alive()}
                masters = {ports[0] for _, _, ports in views[0]}
                roles = [node.ask("ROLE") for node in self.alive() if node.port not in masters]
            except redis.RedisError:
                return False
            sorted_views = [[(first, last, ports[0], sorted(ports[1:])) for first, last, ports in view] for view in views]
            known = {port for _, _, ports in views[0] for port in ports}
            agreed = states == {"ok"} and all(view == sorted_views[0] for view in sorted_views)
            linked = all(role[0] == "slave" and role[3] == "connected" for role in roles)
            return agreed and linked and known >= {node.port for node in self.alive()}

        until(good, self.story, timeout=timeout)

    def wait_master(self, key: str | bytes, node: ClusterNode, timeout: float = 30) -> None:
        """All that are alive say that the key is that node's."""
        slot = slot_of(key)

        def moved() -> bool:
            try:
                return node.info()["cluster_state"] == "ok" and all(self._has(one, slot) == node.port for one in self.alive())
            except redis.RedisError:
                return False

        until(moved, self.story, timeout=timeout)

    def fail_over(self, master: ClusterNode) -> ClusterNode:
        """The replica that has taken over. Nothing is lost: the master has waited for it."""
        heir = self.replicas_of(master)[0]
        heir.ask("CLUSTER", "FAILOVER")
        until(lambda: heir.ask("ROLE")[0] == "master", self.story)
        return heir

    def open_move(self, slot: int, to: ClusterNode) -> Move:
        return Move(self, slot, to)

    def reshard(self, slots: list[int], to: ClusterNode) -> None:
        for slot in slots:
            self.open_move(slot, to).close()

    def story(self) -> str:
        parts = []
        for node in self.nodes:
            try:
                parts.append(f"{node.address}: {node.ask('CLUSTER', 'NODES')}" if node.running else f"{node.address}: not running")
            except redis.RedisError as error:
                parts.append(f"{node.address}: {error!r}")
        return "\n".join(parts)

    # As a fake of a Lab

    def reset_peers(self) -> None:
        for node in self.nodes:
            node.reset_peers()

    def close(self) -> None:
        for node in self.nodes:
            node.close()
