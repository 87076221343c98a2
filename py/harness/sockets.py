# SPDX-License-Identifier: Apache-2.0
"""One end of a conversation: a client, a gateway, or what a target accepted. Every wait has a time-out, nothing is retried."""

import errno
import fcntl
import hashlib
import os
import select
import socket
import ssl
import struct
import termios
import time
from typing import Any

from harness.scale import seconds
from harness.stream import Stream
from harness.until import Overdue

WAIT = 10.0
IP_BIND_ADDRESS_NO_PORT = 24
CHUNK = 1 << 18


def address_text(address: Any) -> str:
    """An address as the relay's log writes it."""
    if not isinstance(address, tuple):
        return "unix"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(text: str) -> tuple[str, int]:
    """`127.0.0.1:80` or `[::1]:80` as host and port."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def connect(address: str, source: str | None = None, rcvbuf: int = 0, sndbuf: int = 0) -> "Peer":
    """Connects to `HOST:PORT`, `[V6]:PORT` or `unix:PATH`, from the loopback address `source`. Fails at the first refusal."""
    path = address.removeprefix("unix:") if address.startswith("unix:") else None
    if path is not None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    else:
        host, port = split_address(address)
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if sndbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        if source and path is None:
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
        code = sock.connect_ex(path if path is not None else (host, port))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, f"{os.strerror(code)}: {address}")
        local = address_text(sock.getsockname())
        return Peer(sock, local=local, born_dead=not _connected(sock, address))
    except BaseException:
        sock.close()
        raise


def _connected(sock: socket.socket, address: str) -> bool:
    """Waits for the connection. False if it has been reset before we could look: a peer on the same machine may be that quick.

    (socket.connect() would raise then, and lose what was sent before the reset.)
    """
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    events = poll.poll(seconds(WAIT) * 1000)
    if not events:
        raise Overdue(f"no connection with {address} within {seconds(WAIT):g} s")
    if not events[0][1] & select.POLLERR:
        return True
    if fcntl.ioctl(sock, termios.FIONREAD, b"\0\0\0\0") != b"\0\0\0\0":
        return True  # the reset comes behind the bytes
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code not in (0, errno.ECONNRESET, errno.EPIPE):
        raise OSError(code, f"{os.strerror(code)}: {address}")
    return False


class Gone(ConnectionResetError):
    """The other side has reset; `sent` bytes had been taken before we heard of it."""

    def __init__(self, sent: int) -> None:
        super().__init__(errno.ECONNRESET, f"reset after {sent} bytes")
        self.sent = sent


class Peer:
    """A connected socket, and what a test does with one."""

    def __init__(self, sock: socket.socket, name: str = "", local: str = "", born_dead: bool = False) -> None:
        self.sock = sock
        self.sock.settimeout(seconds(WAIT))
        self.local = local or address_text(sock.getsockname())
        self.name = name or self.local
        self._born_dead = born_dead

    def fileno(self) -> int:
        return self.sock.fileno()

    @property
    def open(self) -> bool:
        return self.sock.fileno() >= 0

    # Writing

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_urgent(self, data: bytes) -> None:
        """Out-of-band data (the urgent mark stands behind the last byte)."""
        self.sock.send(data, socket.MSG_OOB)

    def offer(self, stream: Stream, offset: int, limit: int) -> int:
        """Sends what the kernel takes at once of stream[offset:offset+limit]; returns how much that was. Raises Gone."""
        sent = 0
        while sent < limit:
            piece = stream.at(offset + sent, min(CHUNK, limit - sent))
            try:
                sent += os.write(self.sock.fileno(), piece)  # (a socket with a time-out is non-blocking underneath)
            except BlockingIOError:
                break
            except (BrokenPipeError, ConnectionResetError) as error:
                raise Gone(sent) from error
        return sent

    def fill(self, stream: Stream, limit: int, quiet: float = 0.5) -> int:
        """Sends until nobody has taken a byte for `quiet` seconds, or `limit` bytes are gone; returns how many went."""
        sent = 0
        while sent < limit:
            if not select.select([], [self], [], seconds(quiet))[1]:
                break
            sent += self.offer(stream, sent, limit - sent)
        return sent

    def send_stream(self, stream: Stream, total: int, offset: int = 0) -> int:
        """Sends stream[offset:offset+total], waiting as long as somebody takes bytes."""
        end = offset + total
        while offset < end:
            piece = memoryview(stream.at(offset, min(CHUNK, end - offset)))
            while piece:
                taken = self.sock.send(piece)
                piece = piece[taken:]
                offset += taken
        return total

    def finish(self) -> None:
        """Half-close: no more from us."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """An ordinary close(): a FIN, or a reset if the kernel holds bytes that we did not read."""
        self.sock.close()

    def reset(self) -> None:
        """A TCP reset, now; what the kernel had not sent yet is lost."""
        if self.open:
            if self.sock.family != socket.AF_UNIX:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.close()

    # Reading

    def _recv(self, limit: int) -> bytes:
        data = self.sock.recv(limit)
        if not data and self._born_dead:
            raise ConnectionResetError(errno.ECONNRESET, "reset while connecting")
        return data

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        data = bytearray()
        while len(data) < count:
            try:
                piece = self._recv(min(CHUNK, count - len(data)))
            except TimeoutError:
                raise Overdue(f"{self.name}: {len(data)} of {count} bytes came in {seconds(WAIT):g} s: {bytes(data[-64:])!r}") from None
            if not piece:
                raise AssertionError(f"{self.name}: end after {len(data)} of {count} bytes: {bytes(data[-64:])!r}")
            data += piece
        return bytes(data)

    def take(self, limit: int) -> bytes | None:
        """What is there now, at most `limit` bytes; empty at the end; None if there is nothing yet."""
        try:
            data = os.read(self.sock.fileno(), limit)
        except BlockingIOError:
            return None
        if not data and self._born_dead:
            raise ConnectionResetError(errno.ECONNRESET, "reset while connecting")
        return data

    def read_end(self) -> tuple[bytes, str]:
        """Everything up to the end, and which end it was: `eof`, `reset`, or, of TLS without its close_notify, `cut`."""
        data = bytearray()
        while True:
            try:
                piece = self._recv(CHUNK)
            except (ConnectionResetError, BrokenPipeError):
                return bytes(data), "reset"
            except ssl.SSLEOFError:
                return bytes(data), "cut"
            except TimeoutError:
                raise Overdue(f"{self.name}: no end after {len(data)} bytes and {seconds(WAIT):g} s of silence") from None
            if not piece:
                return bytes(data), "eof"
            data += piece

    def read_all(self) -> bytes:
        """Everything up to the peer's orderly end."""
        data, end = self.read_end()
        assert end == "eof", f"{self.name}: reset after {len(data)} bytes, an orderly end was due"
        return data

    def read_to_reset(self) -> bytes:
        """Everything up to the peer's reset."""
        data, end = self.read_end()
        assert end == "reset", f"{self.name}: orderly end after {len(data)} bytes, a reset was due"
        return data

    def read_stream(self, stream: Stream, total: int, offset: int = 0) -> None:
        """Exactly stream[offset:offset+total]."""
        end = offset + total
        while offset < end:
            piece = self.read(min(CHUNK, end - offset))
            wrong = stream.mismatch(piece, offset)
            assert not wrong, f"{self.name}: {wrong}"
            offset += len(piece)

    def hash_all(self) -> tuple[int, str]:
        """Length and SHA-256 of everything up to the orderly end."""
        digest, length, buffer = hashlib.sha256(), 0, bytearray(1 << 20)
        while got := self.sock.recv_into(buffer):
            digest.update(memoryview(buffer)[:got])
            length += got
        return length, digest.hexdigest()

    def gone(self, within: float = WAIT) -> str:
        """Waits for the other side's end, throwing away what comes before it; `eof` or `reset`."""
        deadline = time.monotonic() + seconds(within)
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self], [], [], left)[0]:
                try:
                    if not self._recv(CHUNK):
                        return "eof"
                except (ConnectionResetError, BrokenPipeError):
                    return "reset"
        raise Overdue(f"{self.name}: still connected after {seconds(within):g} s")

    def hung_up(self, within: float) -> float:
        """Waits, without reading a byte, until the kernel knows that the connection is dead; how long that took."""
        start = time.monotonic()
        poll = select.poll()
        poll.register(self, 0)  # POLLERR and POLLHUP alone
        if not poll.poll(seconds(within) * 1000):
            raise Overdue(f"{self.name}: nothing was noticed for {seconds(within):g} s")
        return time.monotonic() - start

    def silent(self, for_seconds: float) -> bool:
        """Whether nothing, not even an end, comes in that time."""
        return not select.select([self], [], [], for_seconds)[0]


def send_hashed(peer: Peer, total: int, chunk: int = 1 << 18) -> str:
    """Sends `total` random bytes, each chunk numbered, then finishes; the SHA-256 of what went."""
    block, digest, sent, number = bytearray(os.urandom(chunk)), hashlib.sha256(), 0, 0
    while sent < total:
        block[:8] = number.to_bytes(8, "big")
        piece = memoryview(block)[: min(chunk, total - sent)]
        peer.send(piece)
        digest.update(piece)
        sent += len(piece)
        number += 1
    peer.finish()
    return digest.hexdigest()
