# SPDX-License-Identifier: Apache-2.0
"""The people of the demo that are not the relay, each a process of its own: a gateway and a function.

    demo_peers.py gateway IP
        A small TCP forwarder. Says `relay PORT` (connect there and you reach the other cluster) and `peer PORT` (for the
        other cluster's gateway), then reads one line from its standard input, `PEER RELAY`: where the other gateway is, and
        where its own relay is. From then on: from the relay to the peer, from the peer to the relay. Ends when its standard
        input does.

    demo_peers.py ask IP RELAY TEXT BYTES
        A function that has a question: sends the text and BYTES more bytes, finishes its half, waits for the answer.

    demo_peers.py answer IP RELAY TEXT
        A function that has an answer: reads to the end, says what it got, sends the text, closes.

Both connect from IP. What they say is one JSON object a line on standard output.
"""

import hashlib
import json
import socket
import sys
import threading

PIECE = 1 << 16
PATIENCE = 40.0  # seconds; the demo itself waits less


def say(**what: str | int) -> None:
    print(json.dumps(what), flush=True)


def place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def name(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def connect(to: str, source: str) -> socket.socket:
    return socket.create_connection(place(to), timeout=PATIENCE, source_address=(source, 0))


# A gateway


def pump(source: socket.socket, sink: socket.socket) -> None:
    """One direction: bytes, then the end. A failure of either side ends both."""
    try:
        while piece := source.recv(PIECE):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # not connected any more


def forward(near: socket.socket, to: str, source: str) -> None:
    with near:
        try:
            far = connect(to, source)
        except OSError as error:
            say(event="failed", to=to, error=str(error))
            return
        with far:
            far.settimeout(None)
            back = threading.Thread(target=pump, args=(far, near), daemon=True)
            back.start()
            pump(near, far)
            back.join()


def serve(listener: socket.socket, to: str, source: str, event: str) -> None:
    while True:
        near, peer = listener.accept()
        say(event=event, peer=name(peer), to=to)
        threading.Thread(target=forward, args=(near, to, source), daemon=True).start()


def gateway(ip: str) -> None:
    for_relay = socket.create_server((ip, 0))
    for_peer = socket.create_server((ip, 0))
    say(event="listening", relay=name(for_relay.getsockname()), peer=name(for_peer.getsockname()))
    peer, relay = sys.stdin.readline().split()
    threading.Thread(target=serve, args=(for_relay, peer, ip, "outward"), daemon=True).start()
    threading.Thread(target=serve, args=(for_peer, relay, ip, "inward"), daemon=True).start()
    say(event="ready")
    sys.stdin.read()


# A function


def sample(size: int) -> bytes:
    """Bytes of which no two stretches are alike: one lost, repeated or moved shows in the hash."""
    return b"".join(hashlib.sha256(b"%d" % i).digest() for i in range((size + 31) // 32))[:size]


def read_to_end(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(PIECE):
        pieces.append(piece)
    return b"".join(pieces)


def tell(event: str, message: bytes) -> None:
    text, _, rest = message.partition(b"\n")
    say(event=event, text=text.decode(errors="replace"), bytes=len(message), rest=len(rest), sha256=hashlib.sha256(rest).hexdigest())


def ask(ip: str, relay: str, text: str, size: int) -> None:
    message = text.encode() + b"\n" + sample(size)
    with connect(relay, ip) as connection:
        say(event="connected", relay=relay)
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        tell("sent", message)
        tell("got", read_to_end(connection))


def answer(ip: str, relay: str, text: str) -> None:
    with connect(relay, ip) as connection:
        say(event="connected", relay=relay)
        tell("got", read_to_end(connection))
        message = text.encode() + b"\n"
        connection.sendall(message)
        tell("sent", message)


def main() -> int:
    match sys.argv[1:]:
        case ["gateway", ip]:
            gateway(ip)
        case ["ask", ip, relay, text, size]:
            ask(ip, relay, text, int(size))
        case ["answer", ip, relay, text]:
            answer(ip, relay, text)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        say(event="failed", error=str(error))
        sys.exit(1)
