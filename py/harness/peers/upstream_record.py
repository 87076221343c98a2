# SPDX-License-Identifier: Apache-2.0
"""What an upstream has heard, in order, and the waits of a test for it. (Who hears: grpc_upstream.py.)

    upstream.wait(payload=b"hello").client_uuid          the first such message; a wanted field is a value, or a function that judges it
    upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=uuid, count=2)
    upstream.wait_payload(uuid, b"all that it has sent")
    mark = upstream.mark(); ...; upstream.wait(after=mark)
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.peers.upstream_proto import pb
from harness.scale import seconds
from harness.stream import Stream
from harness.until import Overdue


@dataclass(frozen=True)
class Heard:
    """One InputStreamRequest."""

    at: float  # time.time()
    stream: int  # of which bidirectional stream, counted from 0
    message: Any


class Record:
    """Filled by one thread for each stream, read by the test's."""

    def __init__(self) -> None:
        self.transcript: list[str] = []
        self.heard: list[Heard] = []
        self.counts: dict[str, int] = {}  # streams, over, readies, lives: how often so far
        self._bytes: dict[str, bytearray] = {}
        self._news = threading.Condition()

    # Filling

    def hear(self, at: float, stream: int, message: Any) -> None:
        with self._news:
            self.heard.append(Heard(at, stream, message))
            if message.event == pb.EVENT_DATA:
                self._bytes.setdefault(message.client_uuid, bytearray()).extend(message.payload)
            if len(self.heard) < 1000:
                self.transcript.append(f"{self}: {stream}: {brief(message)}")
            self._news.notify_all()

    def count(self, what: str, note: str = "") -> int:
        """Returns how often it was before."""
        with self._news:
            before = self.counts.get(what, 0)
            self.counts[what] = before + 1
            self.transcript.append(f"{self}: {what} {before + 1} {note}".rstrip())
            self._news.notify_all()
            return before

    # Reading

    def mark(self) -> int:
        """A place in what was heard, for `after=`."""
        return len(self.heard)

    def messages(self, after: int = 0, **wanted: Any) -> list[Any]:
        return [one.message for one in self.heard[after:] if fits(one.message, wanted)]

    def data(self, uuid: str | None = None, after: int = 0) -> list[Any]:
        """Messages of clients, or of one."""
        wanted = {} if uuid is None else {"client_uuid": uuid}
        return self.messages(after, event=pb.EVENT_DATA, **wanted)

    def payload(self, uuid: str) -> bytes:
        """All that a client has said here."""
        with self._news:
            return bytes(self._bytes.get(uuid, b""))

    def clients(self) -> list[str]:
        """Those that were heard of, in order."""
        return list(dict.fromkeys(one.message.client_uuid for one in self.heard))

    def _until(self, condition: Callable[[], Any], what: Callable[[], str], timeout: float) -> Any:
        deadline = time.monotonic() + seconds(timeout)
        with self._news:
            while not (answer := condition()):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Overdue(f"{self}: not within {seconds(timeout):g} s: {what()}")
                self._news.wait(left)
        return answer

    def wait(self, *, after: int = 0, count: int = 1, timeout: float = 10.0, **wanted: Any) -> Any:
        """The `count`th message that fits."""
        place, found = after, []

        def enough() -> bool:
            nonlocal place
            fresh = self.heard[place:]
            place += len(fresh)
            found.extend(one.message for one in fresh if fits(one.message, wanted))
            return len(found) >= count

        self._until(enough, lambda: f"message {count} with {wanted} ({len(found)} came, of {place - after})", timeout)
        return found[count - 1]

    def wait_bytes(self, uuid: str, total: int, timeout: float = 30.0) -> bytes:
        """At least so many bytes of a client."""
        self._until(lambda: len(self._bytes.get(uuid, b"")) >= total, lambda: f"{total} bytes of {uuid}, only {len(self._bytes.get(uuid, b''))}", timeout)
        return self.payload(uuid)

    def wait_payload(self, uuid: str, expected: bytes, timeout: float = 30.0) -> None:
        """All that a client has said, and no more."""
        got = self.wait_bytes(uuid, len(expected), timeout)
        assert got == expected, f"{self}: of {uuid}: {got[:64]!r}…, expected {expected[:64]!r}…"

    def wait_stream(self, uuid: str, stream: Stream, total: int, timeout: float = 60.0) -> None:
        """As wait_payload(), for stream[:total]."""
        got = self.wait_bytes(uuid, total, timeout)
        wrong = stream.mismatch(got)
        assert not wrong, f"{self}: {wrong}"
        assert len(got) == total

    def wait_count(self, what: str, least: int, timeout: float = 10.0) -> None:
        """Until e.g. two streams were opened: wait_count("streams", 2)."""
        self._until(lambda: self.counts.get(what, 0) >= least, lambda: f"{what} >= {least}: {self.counts}", timeout)


def fits(message: Any, wanted: dict[str, Any]) -> bool:
    for name, value in wanted.items():
        found = getattr(message, name)
        if not (value(found) if callable(value) else found == value):
            return False
    return True


def brief(message: Any) -> str:
    """A message in a line."""
    parts = [pb.name("Event", message.event), message.client_uuid]
    if message.seq:
        parts.append(f"seq={message.seq}")
    if message.payload:
        parts.append(f"{len(message.payload)} bytes {bytes(message.payload[:24])!r}")
    if message.HasField("close"):
        parts.append(pb.name("CloseReason", message.close.reason))
    if message.HasField("client"):
        parts.append(message.client.peer)
    if message.redelivered:
        parts.append("redelivered")
    if message.request_id:
        parts.append(f"request={message.request_id} {pb.name('DeliveryStatus', message.delivery)}")
    return " ".join(parts)
