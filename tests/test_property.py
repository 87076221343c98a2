# SPDX-License-Identifier: Apache-2.0
"""Random interleavings of connect, send, half-close, reset, close, stall and read on, on both sides, against the model."""
# Issue: points 1 to 4 and 12 (property tests), and "random interleavings of the two ends lose, repeat and reorder nothing".

from dataclasses import dataclass
from typing import Any

from hypothesis import example, given, note
from hypothesis import strategies as st

from harness.lab import CLIENT, GATEWAY, STRANGER, Lab
from harness.model import End, Model, Session
from harness.peers.target import Target
from harness.process import Relay
from harness.sockets import Gone, Peer
from harness.stream import Stream
from harness.until import until

SIZES = [1, 2, 100, 4096, 70_000, 300_000, 2_000_000]
Step = tuple[Any, ...]

which = st.integers(0, 5)
steps = st.one_of(
    st.tuples(st.just("connect"), st.sampled_from(["client", "gateway"])),
    st.tuples(st.just("connect"), st.sampled_from(["client", "gateway"])),
    st.tuples(st.just("stranger")),
    st.tuples(st.just("send"), which, st.sampled_from(SIZES)),
    st.tuples(st.just("send"), which, st.sampled_from(SIZES)),
    st.tuples(st.just("send"), which, st.sampled_from(SIZES)),
    st.tuples(st.sampled_from(["stall", "resume", "read", "finish", "reset", "close"]), which),
)


@dataclass
class Wire:
    """The real thing behind an End of the model."""

    peer: Peer
    stream: Stream
    reading: bool = True
    dead: bool = False  # the kernel takes and gives nothing any more


class Driver:
    """Does each step to the relay and to the model, and compares."""

    def __init__(self, lab: Lab, pairs: int, target_up: bool, queue: str) -> None:
        self.lab = lab
        self.model = Model(pairs, target_up)
        self.target: Target | None = lab.target() if target_up else None
        keys: dict[str, Any] = {"target": self.target} if self.target else {}
        self.relay: Relay = lab.relay(
            pairs=pairs, queue_size=queue, egress_queue_size=queue, client=[CLIENT], retry_min="50ms", retry_max="200ms", **keys
        ).allow("dial-failed", "refused", "session-end")
        self.wires: dict[End, Wire] = {}
        self.numbers: dict[Session, int] = {}  # as the relay's log has them

    # Steps

    def do(self, step: Step) -> None:
        kind, *rest = step
        if kind == "connect":
            self.connect(rest[0])
        elif kind == "stranger":
            self.connect("client", STRANGER)
        else:
            ends = self.model.ends()
            if ends:
                getattr(self, kind)(ends[rest[0] % len(ends)], *rest[1:])
        self.pump()

    def connect(self, role: str, source: str | None = None) -> None:
        self.settle()  # who is refused depends on which sessions are over
        mark = self.relay.mark()
        expected = self.model.connect(role, allowed=source != STRANGER)
        peer = self.lab.add(self.relay.connect(role, source or (CLIENT if role == "client" else GATEWAY)))
        if self.model.replaced:
            self.relay.wait_log("session-end", after=mark, session=self.numbers[self.model.replaced], reason="replaced")
        if isinstance(expected, str):
            data, _ = peer.read_end()
            assert data == b"", f"a refused {role} was sent something"
            return
        accepted = self.relay.wait_log("accepted", after=mark, peer=peer.local)
        assert accepted["role"] == role
        if not expected.session.joined:
            self.numbers[expected.session] = self.relay.wait_log("waiting", after=mark, role=role, peer=peer.local)["session"]
        self._wire(expected, peer)
        if role == "client" and not expected.session.joined and self.target:
            dialled = self.target.accept()
            self._wire(self.model.dialled(expected), dialled)
            self.relay.wait_log("paired", after=mark, client=peer.local)  # until then a gateway would be taken instead
        elif expected.session.joined:
            names = {end.role: self.wires[end].peer.local for end in expected.session.ends}
            assert self.relay.wait_log("paired", after=mark, **names)["session"] == self.numbers[expected.session]

    def _wire(self, end: End, peer: Peer) -> None:
        self.wires[end] = Wire(peer, Stream(f"{end.role} {end.number}"))

    def send(self, end: End, size: int) -> None:
        wire = self.wires[end]
        if end.finished or wire.dead:
            return
        try:
            end.sent += wire.peer.offer(wire.stream, end.sent, size)
        except Gone as gone:
            end.sent += gone.sent
            self._saw(end, "reset")

    def stall(self, end: End) -> None:
        self.wires[end].reading = False

    def resume(self, end: End) -> None:
        self.wires[end].reading = True

    def read(self, end: End) -> None:
        """One piece, also of a stalled reader."""
        self._receive(end, 50_000)

    def finish(self, end: End) -> None:
        wire = self.wires[end]
        if not end.finished and not wire.dead:
            try:
                wire.peer.finish()
            except OSError:
                self._saw(end, "reset")
                return
            end.finished = True
            self._heard(end)
            self._expect_end(end.partner)

    def _heard(self, end: End) -> None:
        """Whether one who comes next is refused or takes this one's place depends on whether the relay has heard of its end."""
        if end.partner is None and end.silent:
            self.relay.stats()

    def _expect_end(self, end: End | None) -> None:
        """Its partner has finished in order: one who reads on sees all and EOF now, not only when the session is over."""
        if end is None or end.gone or not self.wires[end].reading:
            return

        def seen() -> bool:
            self.pump()
            return bool(end.saw)

        until(seen, lambda: f"EOF at {end}, after {end.partner}", timeout=5)

    def reset(self, end: End) -> None:
        over = self.model.reset(end)
        self.wires[end].peer.reset()
        if over:
            self._wait_session_end(end.session)
            self.model.end(end.session)

    def close(self, end: End) -> None:
        end.closed = True
        self.wires[end].peer.close()
        self._heard(end)

    # What comes

    def pump(self) -> None:
        for end in self.model.ends():
            if self.wires[end].reading:
                self._receive(end, 1 << 30)

    def _receive(self, end: End, limit: int) -> None:
        wire = self.wires[end]
        while limit > 0 and not wire.dead and end.saw != "eof":
            try:
                data = wire.peer.take(min(limit, 1 << 18))
            except (ConnectionResetError, BrokenPipeError):
                self._saw(end, "reset")
                return
            if data is None:
                return
            if not data:
                self._saw(end, "eof")
                return
            assert end.partner is not None, f"{end} got bytes without a partner"
            wrong = self.wires[end.partner].stream.mismatch(data, end.received)
            assert not wrong, f"{end}: {wrong}"
            end.received += len(data)
            limit -= len(data)
            assert end.received <= end.partner.sent, f"{end} got more than {end.partner} sent"

    def _saw(self, end: End, how: str) -> None:
        if how == "reset":
            self.wires[end].dead = True
            if end.saw == "eof":  # a reset behind the EOF changes nothing
                partner = end.partner
                assert partner is not None and partner.gone, f"{end} was reset, its partner {partner} is there"
                return
        wrong = self.model.wrong_end(end, how)
        assert not wrong, wrong

    # The end of a session

    def settle(self) -> None:
        """Lets what is dying die: its ends read on, and one whose partner has closed finishes too."""
        self.pump()
        for session in [session for session in self.model.sessions if session.dying]:
            self._settle(session)

    def _settle(self, session: Session) -> None:
        alive = [end for end in session.ends if not end.gone]
        for end in alive:
            self.wires[end].reading = True
            if any(other.closed or other.kept for other in session.ends):
                self.finish(end)

        def ended() -> bool:
            self.pump()
            return bool(self.relay.find("session-end", session=self.numbers[session]))

        until(ended, lambda: f"session-end of {session}", timeout=5)
        until(lambda: self.pump() or all(end.saw for end in alive), lambda: f"both ends' ends: {session}", timeout=2)
        for end in alive:
            wrong = self.model.incomplete(end)
            assert not wrong, wrong
            self.wires[end].peer.close()
        self.model.end(session)

    def _wait_session_end(self, session: Session) -> None:
        self.relay.wait_log("session-end", session=self.numbers[session])

    def wind_up(self) -> None:
        """Everybody reads on, who waits gets his partner, everybody finishes in order, and all must have come."""
        for end in self.model.ends():
            self.resume(end)
        self.settle()
        while waiting := [session for session in self.model.sessions if not session.joined]:
            self.connect("gateway" if waiting[0].client else "client")
        for end in self.model.ends():
            self.finish(end)
        self.settle()
        assert not self.model.sessions
        stats = self.relay.wait_stat("pairs", "==", 0)
        assert stats["sessions"] == self.model.begun
        for reason in ("client-busy", "gateway-busy", "client-not-allowed"):
            assert stats["refused_" + reason.replace("-", "_")] == self.model.refusals.get(reason, 0), reason


@given(
    pairs=st.integers(1, 3),
    target_up=st.booleans(),
    queue=st.sampled_from(["1", "1000", "64KiB", "6400KiB"]),
    script=st.lists(steps, min_size=5, max_size=30),
)
@example(pairs=1, target_up=False, queue="64KiB", script=[
    ("connect", "gateway"), ("send", 0, 300_000), ("reset", 0), ("connect", "gateway"), ("connect", "client"), ("connect", "client"),
])  # fmt: skip
@example(pairs=1, target_up=False, queue="64KiB", script=[
    ("connect", "gateway"), ("finish", 0), ("connect", "gateway"), ("connect", "gateway"), ("send", 0, 100), ("reset", 0), ("connect", "client"),
    ("send", 0, 100), ("connect", "client"), ("finish", 0), ("connect", "client"), ("connect", "client"),
])  # fmt: skip
@example(pairs=2, target_up=False, queue="1000", script=[
    ("connect", "gateway"), ("send", 0, 70_000), ("finish", 0), ("connect", "gateway"), ("send", 1, 2), ("close", 1), ("connect", "client"),
    ("stall", 1), ("send", 1, 2_000_000), ("connect", "client"), ("connect", "client"),
])  # fmt: skip
@example(pairs=1, target_up=True, queue="64KiB", script=[
    ("connect", "client"), ("stall", 0), ("stall", 1), ("send", 0, 2_000_000), ("send", 1, 2_000_000), ("send", 0, 2_000_000),
    ("send", 1, 2_000_000), ("finish", 0), ("reset", 1), ("connect", "client"),
])  # fmt: skip
def test_any_interleaving(pairs: int, target_up: bool, queue: str, script: list[Step]) -> None:
    """Whatever the two sides do in whatever order: only their partner's bytes, in order, none missing, and roles as promised."""
    with Lab() as lab:
        driver = Driver(lab, pairs, target_up, queue)
        try:
            for step in script:
                driver.do(step)
            driver.wind_up()
            lab.finish()
        except BaseException:
            note(lab.report())
            note(f"model: {driver.model.sessions}")
            raise
