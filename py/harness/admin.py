# SPDX-License-Identifier: Apache-2.0
"""The admin socket of a relay, as its operator's tools see it: HTTP/1.1 over a Unix socket or a port, no third party's library."""

import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from harness.scale import seconds
from harness.sockets import Peer, split_address

PATIENCE = 60.0  # the relay's own answers to what takes long (a wait, a reload) come before that


@dataclass(frozen=True)
class Answer:
    """`headers` has its names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Connection(http.client.HTTPConnection):
    """http.client's, to `unix:PATH` or `IP:PORT`."""

    def __init__(self, place: str, timeout: float = PATIENCE) -> None:
        super().__init__("localhost", timeout=seconds(timeout))
        self.place = place

    def connect(self) -> None:
        self.sock = raw(self.place, self.timeout)


def raw(place: str, timeout: float | None = None) -> socket.socket:
    """A connected socket, for a test that says its own bytes."""
    unix = place.startswith("unix:")
    sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET6 if "[" in place else socket.AF_INET)
    sock.settimeout(timeout or seconds(10))
    try:
        sock.connect(place.removeprefix("unix:") if unix else split_address(place))
    except BaseException:
        sock.close()
        raise
    return sock


class Dialogue:
    """One connection, byte by byte as the test wants it; answers are read strictly, and nothing behind them."""

    def __init__(self, place: str, data: bytes = b"", rcvbuf: int = 0) -> None:
        sock = raw(place)
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.peer = Peer(sock, f"admin client of {place}")
        self._read = b""
        if data:
            self.peer.send(data)

    def send(self, data: bytes) -> None:
        self.peer.send(data)

    def _more(self) -> None:
        piece = self.peer.sock.recv(1 << 16)
        assert piece, f"end after {self._read!r}"
        self._read += piece

    def _take(self, count: int) -> bytes:
        while len(self._read) < count:
            self._more()
        taken, self._read = self._read[:count], self._read[count:]
        return taken

    def _line(self, end: bytes = b"\r\n") -> bytes:
        while end not in self._read:
            self._more()
        line, _, self._read = self._read.partition(end)
        return line

    def answer(self, method: str = "GET") -> Answer:
        """The next response, to a request of that method."""
        first, *rest = self._line(b"\r\n\r\n").decode().split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1", first
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}
        if method == "HEAD":
            return Answer(int(status), headers, b"")
        if headers.get("transfer-encoding") != "chunked":
            return Answer(int(status), headers, self._take(int(headers["content-length"])))
        body = b""
        while size := int(self._line(), 16):
            body += self._take(size)
            assert self._take(2) == b"\r\n"
        assert self._take(2) == b"\r\n"
        return Answer(int(status), headers, body)

    def end(self) -> None:
        """Nothing came behind the last answer but an orderly end."""
        assert (self._read, self.peer.read_all()) == (b"", b"")
        self.close()

    def close(self) -> None:
        self.peer.close()


def ask(place: str, method: str, target: str, headers: dict[str, str] | None = None, body: bytes | None = None, timeout: float = PATIENCE) -> Answer:
    """One request on a connection of its own."""
    connection = Connection(place, timeout)
    try:
        return _ask(connection, method, target, headers, body)
    finally:
        connection.close()


def _ask(connection: Connection, method: str, target: str, headers: dict[str, str] | None, body: bytes | None) -> Answer:
    connection.request(method, target, body=body, headers=headers or {})
    response = connection.getresponse()
    content = response.read()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)


class AdminClient:
    """One connection that is kept, so that asking changes nothing that a test counts. For any thread, one at a time."""

    def __init__(self, place: str, token: str = "") -> None:
        self.place = place
        self._headers = {"Authorization": "Bearer " + token} if token else {}
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def ask(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Answer:
        headers = {**self._headers, **(headers or {})}
        with self._lock:
            if self._connection is not None:
                try:
                    return _ask(self._connection, method, target, headers, body)
                except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                    self._close()  # idle for too long: the relay has closed it; GETs alone are asked again
                    if method != "GET":
                        raise
            self._connection = Connection(self.place)
            try:
                return _ask(self._connection, method, target, headers, body)
            except BaseException:
                self._close()
                raise

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def close(self) -> None:
        with self._lock:
            self._close()


def mode_of(place: str) -> int:
    """The permissions of a Unix socket."""
    return Path(place.removeprefix("unix:")).stat().st_mode & 0o777


def say(place: str, data: bytes) -> Peer:
    """A connection on which these bytes have gone."""
    peer = Peer(raw(place), f"admin client of {place}")
    peer.send(data)
    return peer


def request(target: str, method: str = "GET", *headers: str) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def wait_for(stat: str, op: str, value: int, timeout: str = "20s", **more: str) -> str:
    return "/wait?" + urlencode({"stat": stat, "op": op, "value": value, "timeout": timeout, **more})


def check_metrics(text: str) -> dict[str, float]:
    """Prometheus' own checker has nothing to say; each family is there once, with help and type. The samples."""
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=seconds(20), check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stdout + done.stderr
    samples, families = {}, []
    for line in text.splitlines():
        head = re.match(r"# (HELP|TYPE) (\S+) (.+)", line)
        if head:
            families += [head[2]] * (head[1] == "TYPE")
            continue
        sample = re.fullmatch(r'((\w+)(?:\{\w+="(?:[^"\\]|\\.)*"\})?) (\S+)', line)
        assert sample, line
        assert sample[2] == families[-1], line
        assert sample[1] not in samples, line
        samples[sample[1]] = float(sample[3])
    assert len(families) == len(set(families))
    return samples
