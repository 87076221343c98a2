# SPDX-License-Identifier: Apache-2.0
"""What a cluster relay should do, in a page: the judge of the property tests. It knows no sockets.

A session is at most one client and one gateway. Who comes takes the oldest one waiting on the other side, else waits (a client may
be dialled for: then its gateway comes at once, if the target is up). More than `pairs` of a kind are refused, but one who waits, has
finished and has said nothing gives way.

What an end may see, of the bytes of its partner and no others:

    always      a prefix of them
    all, EOF    if the partner finished in order and this end read on
    a reset     only if the partner reset or closed
    EOF, too    after what is left by a gateway that reset before the client came
"""

from dataclasses import dataclass, field


@dataclass(eq=False)
class End:
    """One connection to the relay."""

    number: int
    role: str  # client or gateway
    session: "Session"
    sent: int = 0  # bytes that its kernel has taken
    received: int = 0
    finished: bool = False  # has half-closed
    closed: bool = False  # has closed both ways, by FIN or, with unread bytes, by RST
    reset: bool = False
    kept: bool = False  # a gateway that has reset while it waited: its bytes stay, and end like those of one that has closed
    saw: str = ""  # how the other side's stream ended for it: eof or reset

    @property
    def silent(self) -> bool:
        """Finished without a byte."""
        return self.sent == 0 and (self.finished or self.closed)

    @property
    def gone(self) -> bool:
        return self.closed or self.reset

    @property
    def partner(self) -> "End | None":
        return self.session.gateway if self.role == "client" else self.session.client

    def __repr__(self) -> str:
        marks = [name for name in ("finished", "closed", "reset") if getattr(self, name)]
        return f"<{self.role} {self.number} sent {self.sent} received {self.received} {' '.join(marks)} saw {self.saw or 'no end'}>"


@dataclass(eq=False)
class Session:
    client: End | None = None
    gateway: End | None = None
    over: bool = False

    @property
    def ends(self) -> list[End]:
        return [end for end in (self.client, self.gateway) if end]

    @property
    def joined(self) -> bool:
        return self.client is not None and self.gateway is not None

    @property
    def dying(self) -> bool:
        """Joined, and something has happened after which it cannot last."""
        return self.joined and not self.over and (any(end.gone for end in self.ends) or all(end.finished for end in self.ends))


@dataclass
class Model:
    pairs: int
    target_up: bool
    sessions: list[Session] = field(default_factory=list)
    begun: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    replaced: Session | None = None  # by the last connect()
    _count: int = 0

    def ends(self) -> list[End]:
        """Those that a test can still do something with."""
        return [end for session in self.sessions for end in session.ends if not end.gone]

    # What a test does; what should follow

    def connect(self, role: str, allowed: bool = True) -> End | str:
        """A new connection: its End (in a session that is `joined` now, or waits), or the reason why it is refused."""
        self.replaced = None
        if not allowed:
            return self._refuse(f"{role}-not-allowed")
        if sum(getattr(session, role) is not None for session in self.sessions) >= self.pairs:
            silent = [session for session in self.sessions if not session.joined and (end := getattr(session, role)) and end.silent]
            if not silent:
                return self._refuse(f"{role}-busy")
            self.replaced = silent[0]
            self.end(silent[0])
        waiting = [session for session in self.sessions if getattr(session, role) is None]
        session = waiting[0] if waiting else Session()
        if not waiting:
            self.sessions.append(session)
            self.begun += 1
        return self._add(session, role)

    def dialled(self, client: End) -> End:
        """The target has accepted the relay's connection for a client."""
        assert self.target_up and client.session.gateway is None
        return self._add(client.session, "gateway")

    def _add(self, session: Session, role: str) -> End:
        self._count += 1
        end = End(self._count, role, session)
        setattr(session, role, end)
        return end

    def _refuse(self, reason: str) -> str:
        self.refusals[reason] = self.refusals.get(reason, 0) + 1
        return reason

    def reset(self, end: End) -> bool:
        """Whether the session is over by that alone: nobody on the other side, and no bytes to keep for him.

        A gateway's bytes are kept for the client. A client's are not: else a target that cannot be reached would keep its place for ever.
        """
        end.reset = True
        end.kept = not end.session.joined and end.sent > 0 and end.role == "gateway"
        return not end.session.joined and not end.kept

    def end(self, session: Session) -> None:
        session.over = True
        self.sessions.remove(session)

    # What a test sees; whether it may

    def wrong_end(self, end: End, how: str) -> str:
        """Why `end` should not have seen EOF, or a reset, now; empty if it may."""
        end.saw = how
        partner = end.partner
        if partner is None:
            return f"{end} saw {how} without a partner"
        if how == "reset":
            return "" if partner.gone else f"{end} was reset, but its partner {partner} neither reset nor closed"
        if not (partner.finished or partner.closed or partner.kept):
            return f"{end} saw EOF, but its partner {partner} has not finished"
        if self.in_order(partner) and end.received != partner.sent:
            return f"{end} saw EOF after {end.received} of {partner.sent} bytes of {partner}"
        return ""

    def incomplete(self, end: End) -> str:
        """At the end of its session: why `end`, which read on, should have seen more; empty if all is well."""
        partner = end.partner
        if end.gone or partner is None:
            return ""
        if not end.saw:
            return f"{end} has seen no end, though its session is over"
        if self.in_order(partner) and (end.received != partner.sent or end.saw != "eof"):
            return f"{end} should have all {partner.sent} bytes of {partner} and EOF"
        if partner.reset and not partner.finished and not partner.kept and end.saw != "reset":
            return f"{end} should have been reset, as {partner} was"
        return ""

    @staticmethod
    def in_order(end: End) -> bool:
        """Finished, and nothing since then that could have overtaken its bytes."""
        partner = end.partner
        quiet = partner is None or partner.sent == 0
        return not end.reset and ((end.finished and not end.closed) or (end.closed and quiet))
