# SPDX-License-Identifier: Apache-2.0
"""A name server on loopback, UDP and TCP on one port, that answers from a table, or fails in the way the test asks for.

Records: dns.add("f.test", a="127.0.0.1"), aaaa=, cname=, srv=(priority, weight, port, target); add() again for more.
Tempers (dns.temper = ..., for one name dns.tempers["f.test"] = ..., or for one question of it dns.tempers["AAAA f.test"] = ...;
dns.rotates: each answer begins with another record):

    answer     as it should be                 servfail   SERVFAIL                    refused    REFUSED
    silent     no answer at all                held       answers after release()     truncate   UDP answers are cut: ask by TCP
    garbage    random bytes behind a good id   empty      an answer of zero bytes     wrong-id   a forged answer with another id
    lie        an answer about another name                                           first; the true one follows
    loop       a CNAME that points at itself   huge       counts that promise 65,535 records
"""

import ipaddress
import random
import select
import socket
import struct
import threading
from dataclasses import dataclass

from harness.scale import seconds
from harness.until import until

A, CNAME, AAAA, SRV = 1, 5, 28, 33
TYPES = {A: "A", CNAME: "CNAME", AAAA: "AAAA", SRV: "SRV"}
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5
TRUNCATED = 0x0200


@dataclass(frozen=True)
class Query:
    name: str
    type: str
    transport: str


def encode_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".")) + b"\0"


def decode_question(packet: bytes) -> tuple[str, int, bytes]:
    """Name, type and the raw question of a query."""
    labels, place = [], 12
    while (length := packet[place]) != 0:
        labels.append(packet[place + 1 : place + 1 + length].decode())
        place += 1 + length
    (kind,) = struct.unpack_from("!H", packet, place + 1)
    return ".".join(labels).lower(), kind, packet[12 : place + 5]


class Dns:
    """The server and its one thread."""

    def __init__(self) -> None:
        self.temper = "answer"
        self.tempers: dict[str, str] = {}
        self.rotates = False
        self.forged_address = "127.0.0.66"
        self.queries: list[Query] = []
        self._records: dict[str, list[tuple[int, bytes]]] = {}
        self._held: list[tuple[bytes, object]] = []
        self._lock = threading.Lock()
        self._udp, self._tcp = self._bind()
        self.address = "127.0.0.1:%d" % self._udp.getsockname()[1]
        self._wake_reader, self._wake = socket.socketpair()
        self._open = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @staticmethod
    def _bind() -> tuple[socket.socket, socket.socket]:
        for _ in range(50):
            tcp = socket.create_server(("127.0.0.1", 0))
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                udp.bind(tcp.getsockname())
                return udp, tcp
            except OSError:
                udp.close()
                tcp.close()
        raise AssertionError("no port is free for both UDP and TCP")

    # What the test says

    def add(self, name: str, *, a: str = "", aaaa: str = "", cname: str = "", srv: tuple[int, int, int, str] | None = None) -> None:
        records = []
        if a:
            records.append((A, ipaddress.IPv4Address(a).packed))
        if aaaa:
            records.append((AAAA, ipaddress.IPv6Address(aaaa).packed))
        if cname:
            records.append((CNAME, encode_name(cname)))
        if srv:
            records.append((SRV, struct.pack("!HHH", *srv[:3]) + encode_name(srv[3])))
        with self._lock:
            self._records.setdefault(name.lower(), []).extend(records)

    def drop(self, name: str) -> None:
        """The name exists no more."""
        with self._lock:
            self._records.pop(name.lower(), None)

    def asked(self, name: str, kind: str | None = None, transport: str | None = None) -> int:
        """How often a name has been asked for."""
        return sum(q.name == name and kind in (None, q.type) and transport in (None, q.transport) for q in list(self.queries))

    def wait_asked(self, name: str, count: int = 1, kind: str | None = None, timeout: float = 10.0) -> None:
        until(lambda: self.asked(name, kind) >= count, lambda: f"{count} queries for {name} {kind or ''}; seen: {self.queries}", timeout)

    def release(self) -> None:
        """Sends what temper `held` has kept back, and answers from now on."""
        with self._lock:
            self.temper = "answer"
            held, self._held = self._held, []
        for packet, where in held:
            self._udp.sendto(self._answer(packet), where)  # type: ignore[arg-type]

    @property
    def transcript(self) -> list[str]:
        return [f"dns {self.address}: {query.transport} {query.name} {query.type}" for query in self.queries]

    def close(self) -> None:
        self._open = False
        self._wake.send(b"x")
        self._thread.join(seconds(10))
        for sock in (self._udp, self._tcp, self._wake, self._wake_reader):
            sock.close()

    def reset_peers(self) -> None:
        pass

    # What the thread does

    def _run(self) -> None:
        while self._open:
            ready, _, _ = select.select([self._udp, self._tcp, self._wake_reader], [], [])
            if self._udp in ready:
                packet, where = self._udp.recvfrom(4096)
                self._serve_udp(packet, where)
            if self._tcp in ready:
                connection, _ = self._tcp.accept()
                threading.Thread(target=self._serve_tcp, args=(connection,), daemon=True).start()

    def _temper_for(self, name: str, kind: int) -> str:
        return self.tempers.get(f"{TYPES.get(kind, kind)} {name}", self.tempers.get(name, self.temper))

    def _serve_udp(self, packet: bytes, where: object) -> None:
        name, kind, question = decode_question(packet)
        self.queries.append(Query(name, TYPES.get(kind, str(kind)), "udp"))
        temper = self._temper_for(name, kind)
        if temper == "silent":
            return
        if temper == "held":
            with self._lock:
                self._held.append((packet, where))
            return
        if temper == "wrong-id":
            forged = bytearray(self._reply(packet, question, self._forged(question, kind)))
            forged[0] ^= 0x5A
            self._udp.sendto(bytes(forged), where)  # type: ignore[arg-type]
        self._udp.sendto(self._answer(packet), where)  # type: ignore[arg-type]

    def _serve_tcp(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(seconds(5))
            try:
                while len(head := connection.recv(2, socket.MSG_WAITALL)) == 2:
                    packet = connection.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL)
                    name, kind, _ = decode_question(packet)
                    self.queries.append(Query(name, TYPES.get(kind, str(kind)), "tcp"))
                    if self._temper_for(name, kind) == "silent":
                        continue
                    reply = self._answer(packet, tcp=True)
                    connection.sendall(struct.pack("!H", len(reply)) + reply)
            except OSError:
                pass

    @staticmethod
    def _reply(packet: bytes, question: bytes, answers: list[bytes], rcode: int = 0, flags: int = 0, promised: int | None = None) -> bytes:
        bits = 0x8180 | flags | rcode  # a response, recursion desired and available
        head = packet[:2] + struct.pack("!HHHHH", bits, 1, len(answers) if promised is None else promised, 0, 0)
        return head + question + b"".join(answers)

    @staticmethod
    def _record(name: bytes, kind: int, data: bytes) -> bytes:
        return name + struct.pack("!HHIH", kind, 1, 0, len(data)) + data

    def _forged(self, question: bytes, kind: int) -> list[bytes]:
        name = question[:-4]
        return [self._record(name, A, ipaddress.IPv4Address(self.forged_address).packed)] if kind == A else []

    def _answer(self, packet: bytes, tcp: bool = False) -> bytes:
        name, kind, question = decode_question(packet)
        temper = self._temper_for(name, kind)
        if temper == "servfail":
            return self._reply(packet, question, [], SERVFAIL)
        if temper == "refused":
            return self._reply(packet, question, [], REFUSED)
        if temper == "truncate" and not tcp:
            return self._reply(packet, question, [], 0, TRUNCATED)
        if temper == "empty":
            return b""
        if temper == "garbage":
            return packet[:2] + b"\x81\x80" + random.Random(name).randbytes(200)
        if temper == "huge":
            return self._reply(packet, question, [], promised=65_535)
        if temper == "loop":
            return self._reply(packet, question, [self._record(question[:-4], CNAME, question[:-4])])
        if temper == "lie":
            other = encode_name("somebody-else.test") + question[-4:]
            return self._reply(packet, other, self._forged(other, kind))
        answers = self._look_up(name, kind)
        if answers is None:
            return self._reply(packet, question, [], NXDOMAIN)
        return self._reply(packet, question, answers)

    def _look_up(self, name: str, kind: int, depth: int = 0) -> list[bytes] | None:
        """The records for a name, its CNAMEs followed; None if there is no such name."""
        with self._lock:
            records = list(self._records.get(name, []))
            known = name in self._records
        if self.rotates and records:
            first = len(self.queries) * 7 % len(records)
            records = records[first:] + records[:first]
        if not known:
            return None
        answers = [self._record(encode_name(name), have, data) for have, data in records if have in (kind, CNAME)]
        for have, data in records:
            if have == CNAME and kind != CNAME and depth < 8:
                answers += self._look_up(decode_question(bytes(12) + data + bytes(4))[0], kind, depth + 1) or []
        return answers
