# SPDX-License-Identifier: Apache-2.0
"""Upstreams of a plex: real gRPC servers, which hear, answer, stall, fail, die and come back as a test wants it.

    Upstream(features=("EVENTS",))   in the test's own process; keywords are a Manner's (grpc_server.py)
    UpstreamProcess(...)             the same in a process of its own: kill() is SIGKILL, pause() SIGSTOP

Both have wait(), data(), ... of a Record, and:

    send(client_uuid=uuid, payload=b"...")    an OutputStreamRequest, over the newest stream
    change(live="no")                         the manner from now on
    end("UNAVAILABLE")                        ends the stream; without a code: in order
    stall(), go_on()                          reads nothing of any stream; reads on
    kill(), start()                           gone; there again, on the same port
"""

import os
import signal
import subprocess
import sys
import threading
from multiprocessing.connection import Pipe
from typing import Any

from harness.peers.grpc_server import Manner, Server
from harness.peers.target import Refusing
from harness.peers.upstream_proto import pb
from harness.peers.upstream_record import Record
from harness.scale import ROOT, seconds
from harness.until import Overdue, until


class Base(Record):
    """The port is held for as long as the upstream lives, that nobody else gets it while the server is down."""

    def __init__(self, **manner: Any) -> None:
        super().__init__()
        self.manner = Manner(**manner)
        self._held = Refusing("127.0.0.1", shared=True)
        self.port = int(self._held.port)
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"{'grpcs' if self.manner.tls else 'grpc'}://{self.address}"

    def __str__(self) -> str:
        return f"upstream {self.port}"

    def send(self, **fields: Any) -> None:
        self.send_message(pb.OutputStreamRequest(**fields))

    def command(self, uuid: str, name: str, **fields: Any) -> None:
        """command(uuid, "CLOSE", payload=b"bye")"""
        self.send(client_uuid=uuid, command=getattr(pb, f"COMMAND_{name}"), **fields)

    def join(self, group: str, *uuids: str) -> None:
        self.send(group=group, client_uuids=uuids, command=pb.COMMAND_JOIN)

    def leave(self, group: str, *uuids: str) -> None:
        self.send(group=group, client_uuids=uuids, command=pb.COMMAND_LEAVE)

    def broadcast(self, payload: bytes, to: str = "ALL", **fields: Any) -> None:
        self.send(broadcast=getattr(pb, to), payload=payload, **fields)

    def send_message(self, message: Any) -> None:
        raise NotImplementedError

    def reset_peers(self) -> None:
        """A relay comes to rest with its upstreams there."""


class Upstream(Base):
    def __init__(self, *, down: bool = False, **manner: Any) -> None:
        super().__init__(**manner)
        self.server = Server(self.manner, self.hear, self.count)
        if not down:
            self.start()

    def start(self) -> None:
        self.server.start(self.port)

    def change(self, **manner: Any) -> None:
        for name, value in manner.items():
            setattr(self.manner, name, value)

    def send_message(self, message: Any) -> None:
        self.server.send(message)

    def send_by(self, stream: int, **fields: Any) -> None:
        """By that stream, counted from 0: a plex of several workers has one for each."""
        self.server.send(pb.OutputStreamRequest(**fields), stream)

    def stream_of(self, uuid: str) -> int:
        """The one by which this client was last heard of."""
        return [one.stream for one in self.heard if one.message.client_uuid == uuid][-1]

    def end(self, code: str = "", details: str = "") -> None:
        self.server.end(code, details)

    def stall(self) -> None:
        self.server.stall()

    def go_on(self) -> None:
        self.server.go_on()

    def sent(self) -> int:
        """How many messages of the newest stream the transport has taken."""
        return self.server.talk().sent

    def leave_slowly(self, grace: float) -> None:
        """GOAWAY: no new streams, and the old ones have so many seconds."""
        self.server.stop(seconds(grace))

    def kill(self) -> None:
        self.server.stop()

    def close(self) -> None:
        self.server.stop()
        self._held.close()


class UpstreamProcess(Base):
    def __init__(self, *, down: bool = False, **manner: Any) -> None:
        super().__init__(**manner)
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False
        if not down:
            self.start()

    def start(self) -> None:
        ours, theirs = Pipe()
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "py")}
        words = [sys.executable, "-m", "harness.peers.grpc_server", str(theirs.fileno())]
        self._process = subprocess.Popen(words, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL)
        theirs.close()
        self._paused = False
        self._way = ours
        self._running = threading.Event()
        self._reader = threading.Thread(target=self._listen, args=(ours, self._running), daemon=True)
        self._reader.start()
        ours.send((self.manner, self.port))
        if not self._running.wait(seconds(30)):
            raise Overdue(f"{self} has not started")

    def _listen(self, way: Any, running: threading.Event) -> None:
        """Ends with the child; what that has said before its end is all heard."""
        base = self.counts.get("streams", 0)
        while True:
            try:
                what, *rest = way.recv()
            except (EOFError, OSError):
                return
            if what == "heard":
                at, stream, message = rest
                self.hear(at, base + stream, pb.InputStreamRequest.FromString(message))
            elif what == "count":
                self.count(*rest)
            else:
                running.set()

    def change(self, **manner: Any) -> None:
        for name, value in manner.items():
            setattr(self.manner, name, value)
            self._way.send(("change", name, value))

    def send_message(self, message: Any) -> None:
        self._way.send(("send", message.SerializeToString()))

    def end(self, code: str = "", details: str = "") -> None:
        self._way.send(("end", code, details))

    def stall(self) -> None:
        self._way.send(("stall",))

    def go_on(self) -> None:
        self._way.send(("go_on",))

    def pause(self) -> None:
        """It says nothing more, as if it were far away; what is sent to it waits in the kernel."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        stat = f"/proc/{self._process.pid}/stat"
        until(lambda: open(stat, encoding="ascii", errors="replace").read().rpartition(")")[2].split()[0] == "T", f"{self} is stopped")
        self._paused = True

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self._paused = False

    def kill(self) -> None:
        """SIGKILL; when this returns, all that it had heard has been recorded."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        self._reader.join(seconds(10))
        self._way.close()

    def close(self) -> None:
        self.kill()
        self._held.close()
