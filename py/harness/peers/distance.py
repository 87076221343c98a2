# SPDX-License-Identifier: Apache-2.0
"""A server that is far away: a TCP proxy that hands each byte on a fixed time after it came, in both directions.

For tests and the demo, where a tenth of a millisecond does not matter; the bench has its own (bench/distance.cpp). Ends are passed on
like bytes, later: a half-close as a half-close, a reset as a reset. Nothing but the standard library: the demo has nothing else.
"""

import queue
import socket
import struct
import threading
import time
from dataclasses import dataclass

PIECE = 1 << 16
PIECES = 4096  # under way in one direction; then it is not read any more
RESET = struct.pack("ii", 1, 0)


def abort(sock: socket.socket) -> None:
    """Closes by reset; the thread that reads from it is woken."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.shutdown(socket.SHUT_RD)
    except OSError:
        pass  # not connected any more
    sock.close()


@dataclass(frozen=True)
class Piece:
    """Bytes, or none for the end; None for a reset."""

    data: bytes | None
    due: float


class Flow:
    """One direction of one connection: a thread that reads, a thread that writes what is due."""

    def __init__(self, source: socket.socket, sink: socket.socket, delay: float, not_before: float) -> None:
        self._source, self._sink, self._delay, self._not_before = source, sink, delay, not_before
        self._pieces: queue.Queue[Piece] = queue.Queue(PIECES)
        self._pause = threading.Event()  # never set: to wait for a moment
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._write)]

    def _read(self) -> None:
        data: bytes | None = b"-"
        while data:
            try:
                data = self._source.recv(PIECE)
            except OSError:
                data = None
            self._pieces.put(Piece(data, max(time.monotonic(), self._not_before) + self._delay))

    def _write(self) -> None:
        gone = False
        while True:
            piece = self._pieces.get()
            if (left := piece.due - time.monotonic()) > 0:
                self._pause.wait(left)
            if piece.data is None:
                abort(self._sink)
                abort(self._source)
                return
            try:
                if piece.data and not gone:
                    self._sink.sendall(piece.data)
                elif not gone:
                    self._sink.shutdown(socket.SHUT_WR)
            except OSError:
                gone = True  # goes on reading, as whoever sends does not know it yet
            if not piece.data:
                return


class Distance:
    """Listens on `address`; what connects there reaches `target` (HOST:PORT) over `delay` seconds each way."""

    def __init__(self, target: str, delay: float) -> None:
        host, _, port = target.rpartition(":")
        self.target, self.delay = (host, int(port)), delay
        self.transcript: list[str] = []
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(near, time.monotonic()), daemon=True).start()

    def _pass_on(self, near: socket.socket, since: float) -> None:
        """A connection costs its round trip: what the client says first goes no earlier."""
        try:
            far = socket.create_connection(self.target, 10)
        except OSError as error:
            self.transcript.append(f"cannot reach {self.target}: {error}")
            threading.Event().wait(2 * self.delay)
            abort(near)
            return
        with near, far:
            far.settimeout(None)
            with self._lock:
                self._sockets |= {near, far}
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            flows = [Flow(near, far, self.delay, since + 2 * self.delay), Flow(far, near, self.delay, since + self.delay)]
            threads = [thread for flow in flows for thread in flow.threads]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            with self._lock:
                self._sockets -= {near, far}

    def reset_peers(self) -> None:
        """All connections are gone, at once."""
        with self._lock:
            for sock in self._sockets:
                abort(sock)

    def close(self) -> None:
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes _accept()
        except OSError:
            pass
        self._listener.close()
        self.reset_peers()
