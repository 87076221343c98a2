# SPDX-License-Identifier: Apache-2.0
"""Random days of a plex: clients come, speak, leave; programs stall, end, die, come back. In the end a ledger has the last word."""

import random
from dataclasses import dataclass
from typing import Any

from hypothesis import example, given, note, settings
from hypothesis import strategies as st

from harness.lab import Lab
from harness.plex import Ledger, ask, lines
from harness.scale import THRIFT
from harness.sockets import Peer
from harness.until import until

Step = tuple[Any, ...]

which = st.integers(0, 7)
steps = st.one_of(
    st.tuples(st.just("connect")),
    st.tuples(st.just("connect")),
    st.tuples(st.just("say"), which, st.integers(1, 200)),
    st.tuples(st.just("say"), which, st.integers(1, 200)),
    st.tuples(st.just("say"), which, st.integers(1, 200)),
    st.tuples(st.sampled_from(["half", "finish", "reset"]), which),
    st.tuples(st.sampled_from(["end", "fail", "stall", "go_on", "kill", "start", "start"]), which),
    st.tuples(st.just("broadcast"), which),
)


@dataclass
class Client:
    peer: Peer
    said: list[bytes]
    finished: bool = False
    cut: bool = False
    ended: bool = False  # with half a message: no better than an error
    uuid: str = ""


class Driver:
    """Does the steps; what it cannot do now it leaves out."""

    def __init__(self, lab: Lab, count: int, balance: str = "sticky") -> None:
        self.lab = lab
        self.balance = balance
        self.upstreams = [lab.upstream(does="ack", features=("EVENTS", "ACK")) for _ in range(count)]
        self.up = [True] * count
        limits = {"ack_queue": "8KiB", "max_message": "4KiB", "upstream_queue": "128KiB", "half_close_timeout": "10m"}
        self.relay = lab.plex(*self.upstreams, balance=balance, framing="line", **limits).allow("upstream-lost", "dial-failed", "upstream-not-ready", "messages-lost")
        self.clients: list[Client] = []
        self.rng = random.Random(count)

    def do(self, step: Step) -> None:
        kind, *rest = step
        if kind == "connect":
            self.clients.append(Client(self.lab.client(self.relay), []))
        elif kind in ("say", "half", "finish", "reset"):
            able = [client for client in self.clients if not client.finished and not client.cut]
            if able:
                getattr(self, kind)(able[rest[0] % len(able)], *rest[1:])
        else:
            place = rest[0] % len(self.upstreams)
            self.disturb(kind, place, self.upstreams[place])

    def say(self, client: Client, count: int) -> None:
        said = lines(count, self.rng, 60)
        client.peer.send(b"".join(said))
        client.said += said

    def half(self, client: Client) -> None:
        """Says half a line, which is nobody's business."""
        client.peer.send(b"half a line")
        client.finished = client.ended = True
        client.peer.finish()

    def finish(self, client: Client) -> None:
        client.finished = True
        client.peer.finish()

    def reset(self, client: Client) -> None:
        client.cut = True
        client.peer.reset()

    def disturb(self, kind: str, place: int, upstream: Any) -> None:
        if kind == "start":
            if not self.up[place]:
                upstream.start()
                self.up[place] = True
        elif self.up[place]:
            if kind == "kill":
                upstream.kill()
                self.up[place] = False
                return
            if kind in ("stall", "go_on"):
                getattr(upstream, kind)()
            elif kind == "broadcast":
                upstream.broadcast(b"hear, hear\n")
            else:
                upstream.end("" if kind == "end" else "UNAVAILABLE")

    def judge(self) -> None:
        for place, upstream in enumerate(self.upstreams):
            if not self.up[place]:
                upstream.start()
            upstream.go_on()
        self.relay.wait_stat("upstreams", "==", len(self.upstreams))
        ledger = Ledger(*self.upstreams)
        for client in self.clients:
            for upstream in self.upstreams:
                for message in upstream.heard:
                    if message.message.HasField("client") and message.message.client.peer == client.peer.local:
                        client.uuid = message.message.client_uuid
            silent = client.cut or (client.ended and not client.said)  # such a one may have been heard of by nobody
            if not client.uuid:
                until(lambda client=client, silent=silent: silent or self.named(client), lambda: f"each is heard of:\n{self.lab.report()}")
            if client.uuid:
                ledger.said[client.uuid] = client.said
                if client.cut:
                    ledger.cut.add(client.uuid)
        until(ledger.complete, lambda: f"all came: {self.relay.stats()}", timeout=30)
        if self.balance == "round-robin":
            self.relay.signal_stats()  # so that the log up to now has been read
            ledger.check_dealt_out(len(self.relay.find("upstream-lost")) + len(self.relay.find("upstream-left")))
        else:
            ledger.check()
        heard = {uuid for upstream in self.upstreams for uuid in upstream.clients()}
        for client in self.clients:  # one that was reset may have been heard of only now
            self.named(client)
        strangers = heard - {client.uuid for client in self.clients}
        assert not strangers, strangers
        alive = sum(not client.cut and not client.ended for client in self.clients)
        self.relay.wait_stat("clients", "==", alive)
        for client in self.clients:
            if not client.cut and not client.finished:
                client.peer.send(b"the end\n")
                until(lambda client=client: any(upstream.payload(client.uuid).endswith(b"the end\n") for upstream in self.upstreams), "the last words")

    def named(self, client: Client) -> bool:
        for upstream in self.upstreams:
            found = upstream.messages(client=lambda info: info.peer == client.peer.local)
            if found:
                client.uuid = found[0].client_uuid
        return bool(client.uuid) or self.known_by_words(client)

    def known_by_words(self, client: Client) -> bool:
        """CONNECTED may be lost with an upstream, and who has ended by then is not rehomed; what he has said is heard without it."""
        others = {one.uuid for one in self.clients}
        for upstream in self.upstreams:
            for uuid in set(upstream.clients()) - others:
                data = upstream.data(uuid)
                if data and all(message.seq <= len(client.said) and message.payload == client.said[message.seq - 1] for message in data):
                    client.uuid = uuid
        return bool(client.uuid)


@given(count=st.integers(1, 3), todo=st.lists(steps, min_size=4, max_size=40))
@example(count=1, todo=[("connect",), ("say", 0, 200), ("kill", 0), ("say", 0, 200), ("start", 0), ("say", 0, 100)])
@example(count=2, todo=[("connect",), ("connect",), ("stall", 0), ("say", 0, 200), ("say", 1, 200), ("kill", 0), ("finish", 0), ("reset", 1)])
@example(count=2, todo=[("connect",), ("say", 0, 50), ("end", 0), ("end", 1), ("say", 0, 50), ("fail", 0), ("fail", 1), ("half", 0)])
def test_random_days(count: int, todo: list[Step]) -> None:
    """Whatever comes and goes: of what a client has said nothing is lost, nothing is changed, nothing overtakes, nothing comes twice unsaid."""
    note(f"{todo}")
    with Lab() as lab:
        driver = Driver(lab, count)
        for step in todo:
            driver.do(step)
        driver.judge()


@settings(max_examples=max(3, 16 // THRIFT))
@given(balance=st.sampled_from(["round-robin", "least-clients", "hash"]), count=st.integers(2, 3), todo=st.lists(steps, min_size=4, max_size=40))
@example(balance="round-robin", count=2, todo=[("connect",), ("say", 0, 200), ("kill", 0), ("say", 0, 200), ("start", 0), ("kill", 1), ("say", 0, 100)])
@example(balance="round-robin", count=3, todo=[("connect",), ("stall", 0), ("say", 0, 200), ("stall", 1), ("say", 0, 200), ("kill", 0), ("end", 1)])
@example(balance="least-clients", count=2, todo=[*[("connect",)] * 4, ("say", 0, 200), ("say", 1, 200), ("kill", 0), ("start", 0), ("connect",), ("kill", 1)])
def test_random_days_of_other_balances(balance: str, count: int, todo: list[Step]) -> None:
    """The same where clients are dealt out in other ways; and where messages are, order is each program's own, and by number nothing is missing."""
    note(f"{balance} {todo}")
    with Lab() as lab:
        driver = Driver(lab, count, balance)
        for step in todo:
            driver.do(step)
        driver.judge()


writes = st.lists(st.tuples(st.integers(0, 3), st.binary(min_size=1, max_size=3000)), min_size=1, max_size=40)


@given(said=writes, up=st.sampled_from(["1KiB", "64KiB"]))
def test_any_bytes_of_several_clients(said: list[tuple[int, bytes]], up: str) -> None:
    """Random bytes of several clients at once: each of them gets its own back, and the program has heard each as it was."""
    with Lab() as lab:
        upstream = lab.upstream()
        relay = lab.plex(upstream, max_message=up)
        clients = [lab.client(relay) for _ in range(4)]
        sums = [b""] * 4
        for number, data in said:
            clients[number].send(data)
            sums[number] += data
        for client, data in zip(clients, sums):
            assert client.read(len(data)) == data
        heard = {upstream.payload(uuid) for uuid in upstream.clients()}
        assert heard == {data for data in sums if data}
        ask(clients[0], b"one more")
