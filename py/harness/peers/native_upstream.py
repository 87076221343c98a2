# SPDX-License-Identifier: Apache-2.0
"""Upstreams of a plex by other gRPC libraries than grpcio: tests/peers/grpc_cpp.cpp and grpc_go.go, each in a process of its own.

    NativeUpstream("grpc_cpp", folder, does="echo_ack", features=("EVENTS", "ACK"))

As an UpstreamProcess (grpc_upstream.py), of whose Manner it knows `does` (echo, ack, echo_ack, silent), `features`, `live` (yes, no, silent), `tls`, and of
`options` "grpc.max_receive_message_length".
What it is told is a word and its argument, a line each; what it says is a length in four bytes, a letter and the rest: H, a message that it has
heard, behind its time (nanoseconds) and its stream's number, eight bytes each; C, what has happened once more; U, it is there.
"""

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from harness.peers.grpc_upstream import Base
from harness.peers.upstream_proto import pb
from harness.scale import PEERS, seconds
from harness.sockets import connect
from harness.until import Overdue, until

KNOWN = ("does", "features", "live", "options", "tls")


def program(name: str) -> Path:
    """Of those that CMake's target `peers` builds; a test that wants one that is not there is skipped."""
    path = PEERS / name
    if not path.is_file():
        pytest.skip(f"{path} is not built: what it needs is not installed, or no `make check` was there")
    return path


class NativeUpstream(Base):
    def __init__(self, name: str, folder: Path, *, down: bool = False, **manner: Any) -> None:
        super().__init__(**manner)
        assert all(one in KNOWN for one in manner), manner
        self.name = name
        self._program = program(name)
        self._most = dict(self.manner.options).get("grpc.max_receive_message_length", 4 << 20)
        self._files = []
        for number, text in enumerate(self.manner.tls or ()):
            if text is not None:
                path = folder / f"{name}-{self.port}-{number}.pem"
                path.write_bytes(text)
                self._files.append(str(path))
        self._process: subprocess.Popen[bytes] | None = None
        if not down:
            self.start()

    def __str__(self) -> str:
        return f"{self.name} {self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen([str(self._program), self.address, str(self._most), *self._files], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._running = threading.Event()
        self._reader = threading.Thread(target=self._listen, args=(self._process, self._running), daemon=True)
        self._reader.start()
        self.tell("does", self.manner.does)
        self.tell("live", self.manner.live)
        for feature in self.manner.features:
            self.tell("feature", str(getattr(pb, f"FEATURE_{feature}")))
        self.tell("begin")
        if not self._running.wait(seconds(30)):
            raise Overdue(f"{self} has not started: {self._process.poll()}")
        until(self._listens, f"{self} listens")

    def _listens(self) -> bool:
        try:
            connect(self.address).close()
        except OSError:
            return False
        return True

    def _listen(self, process: subprocess.Popen[bytes], running: threading.Event) -> None:
        """Ends with the child; what that has said before its end is all heard."""
        base = self.counts.get("streams", 0)
        out = process.stdout
        assert out is not None
        while len(head := out.read(5)) == 5:
            rest = out.read(int.from_bytes(head[:4], "big") - 1)
            if head[4:] == b"H":
                self.hear(int.from_bytes(rest[:8], "big") / 1e9, base + int.from_bytes(rest[8:16], "big"), pb.InputStreamRequest.FromString(rest[16:]))
            elif head[4:] == b"C":
                self.count(rest.decode())
            else:
                running.set()

    def tell(self, *words: str) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(" ".join(words).encode() + b"\n")
        self._process.stdin.flush()

    def change(self, **manner: Any) -> None:
        for name, value in manner.items():
            assert name in ("does", "live"), name
            setattr(self.manner, name, value)
            self.tell(name, value)

    def send_message(self, message: Any) -> None:
        self.tell("send", message.SerializeToString().hex())

    def stall(self) -> None:
        self.tell("stall")

    def go_on(self) -> None:
        self.tell("go_on")

    def leave_slowly(self, grace: float) -> None:
        """GOAWAY: no new streams, and the old ones have so many seconds; grpc-go's have for ever."""
        self.tell("leave", str(int(seconds(grace) * 1000)))

    def pause(self) -> None:
        """It says nothing more, as if it were far away; what is sent to it waits in the kernel."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL; when this returns, all that it had heard has been recorded."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        self._reader.join(seconds(10))
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def close(self) -> None:
        self.kill()
        self._held.close()
