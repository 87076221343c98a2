# SPDX-License-Identifier: Apache-2.0
"""Targets: what the relay dials. A listener, a thread for each connection, and a transcript for the failure report.

    Target(behaviour)  accepts; `behaviour(peer)` runs in a thread, or, if there is none, the test drives what accept() gives it
    Refusing()         a port that is held but where nobody listens
    Blackhole()        a listener whose backlog is full: connection attempts get no answer

Behaviours: echo, answer, greet, sink, stall, reset, hang_up.
"""

import os
import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from harness.scale import seconds
from harness.sockets import WAIT, Peer, address_text
from harness.until import Overdue

Behaviour = Callable[[Peer], None]
FAMILIES = {True: socket.AF_INET6, False: socket.AF_INET}


def echo(peer: Peer) -> None:
    """Sends back what comes, and its own end after the peer's."""
    while data := peer.sock.recv(1 << 16):
        peer.send(data)
    peer.finish()


def answer(peer: Peer) -> None:
    """Reads the request up to its end, then answers with the same bytes turned round, and finishes."""
    peer.send(peer.read_all()[::-1])
    peer.finish()


def greet(peer: Peer) -> None:
    """Speaks first, then as `echo`."""
    peer.send(b"220 ready\r\n")
    echo(peer)


def sink(peer: Peer) -> None:
    """Reads everything and says nothing."""
    while peer.sock.recv(1 << 18):
        pass
    peer.finish()


def stall(peer: Peer) -> None:
    """Reads nothing: only holds the connection."""
    del peer


def reset(peer: Peer) -> None:
    """Resets what it has accepted."""
    peer.reset()


def hang_up(peer: Peer) -> None:
    """Closes what it has accepted."""
    peer.close()


class Target:
    """A TCP (or, with `path`, Unix) server on a port that the kernel chose."""

    def __init__(self, behaviour: Behaviour | None = None, *, host: str = "127.0.0.1", path: Path | None = None, rcvbuf: int = 0,
                 at: socket.socket | None = None) -> None:
        self._behaviour = behaviour
        if at is not None:
            self._listener = at
        elif path is not None:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
        else:
            self._listener = socket.socket(FAMILIES[":" in host])
            self._listener.bind((host, 0))
        if rcvbuf:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.address = f"unix:{path}" if path else address_text(self._listener.getsockname())
        self.port = 0 if path else self._listener.getsockname()[1]
        self.transcript: list[str] = []
        self.peers: list[Peer] = []
        self._fresh: queue.Queue[Peer] = queue.Queue()
        self._listener.listen(512)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, where = self._listener.accept()
            except OSError:
                return  # closed
            peer = Peer(sock, f"target {self.address}")
            self.transcript.append(f"{self.address}: accepted {address_text(where)}")
            self.peers.append(peer)
            if self._behaviour is None:
                self._fresh.put(peer)
            else:
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: Peer) -> None:
        assert self._behaviour is not None
        try:
            self._behaviour(peer)
        except (OSError, AssertionError, ValueError) as error:
            self.transcript.append(f"{self.address}: {self._behaviour.__name__}: {error!r}")
        else:
            self.transcript.append(f"{self.address}: {self._behaviour.__name__}: done")
        if self._behaviour is not stall:
            peer.sock.close()

    def accept(self, timeout: float = WAIT) -> Peer:
        """The next connection, for a target without behaviour."""
        try:
            return self._fresh.get(timeout=seconds(timeout))
        except queue.Empty:
            raise Overdue(f"nobody has connected to {self.address} within {seconds(timeout):g} s") from None

    @property
    def connections(self) -> int:
        return len(self.peers)

    def forget(self) -> None:
        """Drops the peers of a long test's past."""
        self.peers = [peer for peer in self.peers if peer.open]

    def close(self) -> None:
        """Stops listening; the connections stay until reset_peers()."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        except OSError:
            pass
        self._listener.close()
        self._thread.join(seconds(WAIT))

    def reset_peers(self) -> None:
        for peer in self.peers:
            try:
                # A thread may be in recv() on it: shutdown wakes that, close alone would not.
                peer.reset() if self._behaviour in (None, stall) else peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Refusing:
    """A port that refuses connections, and that nobody else can get meanwhile. open() makes it a Target.

    With `shared` somebody else may listen there who asks for just this port.
    """

    transcript: list[str] = []

    def __init__(self, host: str = "127.0.0.1", shared: bool = False) -> None:
        self._held = socket.socket(FAMILIES[":" in host])
        if shared:
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind((host, 0))
        self.address = address_text(self._held.getsockname())
        self.port = self._held.getsockname()[1]
        self._target: Target | None = None

    def open(self, behaviour: Behaviour | None = None) -> Target:
        """From now on somebody listens there. Close the Target yourself, or give it to a Lab."""
        self._target = Target(behaviour, at=self._held)
        return self._target

    def close(self) -> None:
        if self._target is not None:
            self._target.close()
        self._held.close()

    def reset_peers(self) -> None:
        if self._target is not None:
            self._target.reset_peers()


class Blackhole:
    """A listener that answers no more: its backlog is full, and nobody ever accepts."""

    transcript: list[str] = []

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._listener = socket.socket(FAMILIES[":" in host])
        self._listener.bind((host, 0))
        self._listener.listen(0)
        self.address = address_text(self._listener.getsockname())
        self.port = self._listener.getsockname()[1]
        self._fillers = []
        for _ in range(3):  # a backlog of 0 takes one; the others make sure of it
            filler = socket.socket(FAMILIES[":" in host])
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())
            self._fillers.append(filler)

    def close(self) -> None:
        for sock in (*self._fillers, self._listener):
            sock.close()

    def reset_peers(self) -> None:
        pass


def unused_path(folder: Path, name: str) -> Path:
    """A path for a Unix socket, short enough for one."""
    path = folder / name
    assert len(os.fsencode(path)) < 100, path
    return path
