# SPDX-License-Identifier: Apache-2.0
"""A Peer that speaks TLS, with its ends told apart: close_notify, a reset, and a connection that was cut off.

OpenSSL works on memory here and the socket is the Peer's own. So finish() is a half-close (close_notify, and the reading goes
on), which an ssl.SSLSocket cannot do.
"""

import hashlib
import ssl

from harness.peers.target import Behaviour
from harness.sockets import CHUNK, Peer
from harness.stream import Stream


class TlsPeer(Peer):
    """REQUIRES: `peer` is connected. The handshake is done when it is made, or it raises what ssl or the socket says."""

    def __init__(
        self, peer: Peer, context: ssl.SSLContext, *, server: bool = False, name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        super().__init__(peer.sock, peer.name, peer.local)
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._ahead = b""  # read before anybody asked
        self.tls = context.wrap_bio(self._in, self._out, server_side=server, server_hostname=name, session=session)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            except ssl.SSLError:
                self._flush()
                raise
        self._flush()

    def _flush(self) -> None:
        while data := self._out.read():
            self.sock.sendall(data)

    def _feed(self) -> None:
        data = self.sock.recv(CHUNK)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view[:CHUNK]) :]
            self._flush()

    def send_stream(self, stream: Stream, total: int, offset: int = 0) -> int:
        end = offset + total
        while offset < end:
            piece = stream.at(offset, min(CHUNK, end - offset))
            self.send(piece)
            offset += len(piece)
        return total

    def finish(self) -> None:
        """close_notify, without closing TCP: no more from us."""
        # unwrap() looks for the other side's close_notify and chokes on bytes that come before it.
        try:
            while piece := self.tls.read(CHUNK):
                self._ahead += piece
        except (ssl.SSLWantReadError, ssl.SSLError):
            pass
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
        self._flush()

    def close(self) -> None:
        """close_notify and close()."""
        self.finish()
        self.sock.close()

    def cut(self) -> None:
        """TCP's end without TLS's."""
        self.sock.shutdown(1)

    def _recv(self, limit: int) -> bytes:
        if self._ahead:
            piece, self._ahead = self._ahead[:limit], self._ahead[limit:]
            return piece
        while True:
            try:
                return self.tls.read(limit)
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            except ssl.SSLZeroReturnError:
                return b""

    def hash_all(self) -> tuple[int, str]:
        digest, length = hashlib.sha256(), 0
        while piece := self._recv(CHUNK):
            digest.update(piece)
            length += len(piece)
        return length, digest.hexdigest()


def over_tls(context: ssl.SSLContext, behaviour: Behaviour) -> Behaviour:
    """A target that does the handshake first. One that fails is the other side's affair."""

    def behave(peer: Peer) -> None:
        try:
            secure = TlsPeer(peer, context, server=True)
        except (ssl.SSLError, ConnectionError):
            peer.close()
            return
        behaviour(secure)

    return behave


def tls_echo(peer: Peer) -> None:
    """As `echo`, by way of the TlsPeer's own reading."""
    assert isinstance(peer, TlsPeer)
    while data := peer._recv(1 << 16):  # pylint: disable=protected-access
        peer.send(data)
    peer.finish()
