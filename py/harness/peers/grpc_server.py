# SPDX-License-Identifier: Apache-2.0
"""A server of UpstreamPeerService, by grpcio. It runs in the test's process (grpc_upstream.Upstream) or in one of its own, which may be stopped
and killed: `python3 -m harness.peers.grpc_server FD` speaks to grpc_upstream.UpstreamProcess over that descriptor."""

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import grpc

from harness.peers.upstream_proto import SERVICE, pb
from harness.until import until

Send = Callable[[Any], None]
THREADS = 16  # a stream takes one for as long as it lasts


@dataclass
class Manner:
    """How an upstream behaves. All may be changed while it runs."""

    does: str = "echo"  # with what clients say: a name in DEEDS
    features: tuple[str | int, ...] = ()  # without FEATURE_: ("EVENTS", "ACK"), or their numbers
    weight: int = 0
    max_clients: int = 0
    not_ready: int = 0  # so many answers are no, before they are yes; -1: all of them
    ready: str = ""  # "hang": no answer; else the name of the status code that it fails with
    live: str = "yes"  # "no", "silent", "end" of the stream at the first question, or the name of a status code
    talk: str = ""  # "end": the stream ends at once; else the name of a status code
    without: tuple[str, ...] = ()  # methods that this server does not have
    options: tuple[tuple[str, Any], ...] = ()  # grpcio's own
    tls: tuple[bytes, bytes, bytes | None] | None = None  # key, certificate, and who vouches for clients


# What is done with each message. The stream's own reader does it: as long as it takes, nothing more is read.


def silent(message: Any, send: Send) -> None:
    pass


def echo(message: Any, send: Send) -> None:
    """Gives back what clients say."""
    if message.event == pb.EVENT_DATA and message.payload:
        send(pb.OutputStreamRequest(client_uuid=message.client_uuid, payload=message.payload))


def ack(message: Any, send: Send) -> None:
    """Says that it has what clients say, and nothing else."""
    if message.event == pb.EVENT_DATA:
        send(pb.OutputStreamRequest(client_uuid=message.client_uuid, ack_seq=message.seq))


def echo_ack(message: Any, send: Send) -> None:
    if message.event == pb.EVENT_DATA:
        send(pb.OutputStreamRequest(client_uuid=message.client_uuid, payload=message.payload, ack_seq=message.seq))


def accept(message: Any, send: Send) -> None:
    """Lets everybody in, and echoes."""
    if message.event in (pb.EVENT_CONNECTED, pb.EVENT_REHOMED):
        send(pb.OutputStreamRequest(client_uuid=message.client_uuid, command=pb.COMMAND_ACCEPT))
    echo(message, send)


def hang_up(message: Any, send: Send) -> None:
    """Answers, and ends the client."""
    if message.event == pb.EVENT_DATA:
        send(pb.OutputStreamRequest(client_uuid=message.client_uuid, payload=message.payload, command=pb.COMMAND_CLOSE))


DEEDS: dict[str, Callable[[Any, Send], None]] = {deed.__name__: deed for deed in (silent, echo, ack, echo_ack, accept, hang_up)}


@dataclass
class End:
    """Of a stream, instead of a message."""

    code: str = ""  # empty: OK
    details: str = ""


@dataclass
class Talk:
    """One bidirectional stream."""

    number: int
    context: Any
    out: "queue.SimpleQueue[Any]" = field(default_factory=queue.SimpleQueue)
    sent: int = 0  # that the transport has taken
    over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def finish(self) -> None:
        """From here on nothing is heard of it: who hears of its end may say again elsewhere what was not acknowledged."""
        with self.lock:
            self.over = True

    def close(self) -> None:
        self.finish()
        self.out.put(None)


class Server:
    """Listens from start() to stop(), on one port. `hear` and `count` are a Record's, or lead to one."""

    def __init__(self, manner: Manner, hear: Callable[[float, int, Any], None], count: Callable[[str, str], int], host: str = "127.0.0.1") -> None:
        self.manner, self.host = manner, host
        self.port = 0
        self.talks: list[Talk] = []
        self._hear, self._count = hear, count
        self._flow = threading.Event()
        self._flow.set()
        self._closing = threading.Event()
        self._grpc: Any = None

    # Life

    def start(self, port: int) -> None:
        self._closing.clear()
        self._flow.set()
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), *self.manner.options]
        self._grpc = grpc.server(futures.ThreadPoolExecutor(THREADS), handlers=(self._handlers(),), options=options)
        place = f"{self.host}:{port}"
        if self.manner.tls is None:
            self.port = until(lambda: self._bind(lambda: self._grpc.add_insecure_port(place)), f"a server may listen on {place}")
        else:
            key, cert, ca = self.manner.tls
            credentials = grpc.ssl_server_credentials([(key, cert)], root_certificates=ca, require_client_auth=ca is not None)
            self.port = until(lambda: self._bind(lambda: self._grpc.add_secure_port(place, credentials)), f"a server may listen on {place}")
        self._grpc.start()

    @staticmethod
    def _bind(work: Callable[[], int]) -> int:
        """0 while the port is not free: a server that was stopped may hold it for a moment."""
        try:
            return work()
        except RuntimeError:
            return 0

    def stop(self, grace: float | None = None) -> None:
        """At once; or, with `grace`, as a server that is replaced does it: GOAWAY, and its streams may go on for so long."""
        if self._grpc is None:
            return
        if grace is not None:
            self._grpc.stop(grace)
            return
        self._closing.set()
        for talk in self.talks:
            talk.close()
        self._flow.set()
        self._grpc.stop(None).wait(20)
        self._grpc = None

    # What a test does

    def talk(self, number: int | None = None) -> Talk:
        """That stream, or the newest one that is open; the next one, if there is none."""
        return until(lambda: [talk for talk in self.talks if not talk.over and number in (None, talk.number)], "a stream is open")[-1]

    def send(self, message: Any, number: int | None = None) -> None:
        self.talk(number).out.put(message)

    def end(self, code: str = "", details: str = "") -> None:
        """Ends the stream behind what was sent."""
        self.talk().out.put(End(code, details))

    def stall(self) -> None:
        """From the next message on nothing is read of any stream."""
        self._flow.clear()

    def go_on(self) -> None:
        self._flow.set()

    # Methods

    def _handlers(self) -> Any:
        def of(request: Any) -> dict[str, Any]:
            return {"request_deserializer": request.FromString, "response_serializer": lambda answer: answer.SerializeToString()}

        methods = {
            "ready": grpc.unary_unary_rpc_method_handler(self._ready, **of(pb.Empty)),
            "live": grpc.stream_stream_rpc_method_handler(self._live, **of(pb.Empty)),
            "bidirectionalStreaming": grpc.stream_stream_rpc_method_handler(self._talk, **of(pb.InputStreamRequest)),
        }
        return grpc.method_handlers_generic_handler(SERVICE, {name: method for name, method in methods.items() if name not in self.manner.without})

    def _ready(self, _: Any, context: Any) -> Any:
        before = self._count("readies", "")
        manner = self.manner
        if manner.ready == "hang":
            self._closing.wait()
        elif manner.ready:
            context.abort(grpc.StatusCode[manner.ready], "not now")
        if manner.not_ready < 0 or before < manner.not_ready:
            return pb.ReadyResult(ready=False)
        features = [name if isinstance(name, int) else getattr(pb, f"FEATURE_{name}") for name in manner.features]
        return pb.ReadyResult(ready=True, features=features, weight=manner.weight, max_clients=manner.max_clients)

    def _live(self, questions: Iterator[Any], context: Any) -> Iterator[Any]:
        for _ in questions:
            self._count("lives", "")
            mode = self.manner.live
            if mode == "end":
                return
            if mode == "silent":
                continue
            if mode not in ("yes", "no"):
                context.abort(grpc.StatusCode[mode], "asked too much")
            yield pb.LiveResult(live=mode == "yes")

    def _talk(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        talk = Talk(self._count("streams", context.peer()), context)
        self.talks.append(talk)
        if not context.add_callback(talk.close):
            talk.close()
        if self.manner.talk:
            talk.out.put(End("" if self.manner.talk == "end" else self.manner.talk))
        threading.Thread(target=self._read, args=(requests, talk), daemon=True).start()
        try:
            while (item := talk.out.get()) is not None:
                if isinstance(item, End):
                    talk.finish()
                    if item.code:
                        context.abort(grpc.StatusCode[item.code], item.details)
                    return
                yield item
                talk.sent += 1
        finally:
            talk.finish()
            self._count("over", f"stream {talk.number}")

    def _read(self, requests: Iterator[Any], talk: Talk) -> None:
        try:
            while True:
                self._flow.wait()
                message = next(requests)
                with talk.lock:
                    if talk.over:
                        return
                    self._hear(time.time(), talk.number, message)
                    DEEDS[self.manner.does](message, talk.out.put)
        except StopIteration:
            self._count("said all", f"stream {talk.number}")
            talk.out.put(None)  # behind the answers
        except grpc.RpcError:
            talk.close()


def main() -> None:
    """A child of the test: says what it hears to `parent`, and does what that says, until that is gone."""
    parent = Connection(int(sys.argv[1]))
    lock = threading.Lock()
    counts: dict[str, int] = {}

    def tell(*what: Any) -> None:
        with lock:
            parent.send(what)

    def count(what: str, note: str) -> int:
        with lock:
            before = counts.get(what, 0)
            counts[what] = before + 1
            parent.send(("count", what, note))
        return before

    manner, port = parent.recv()
    server = Server(manner, lambda at, stream, message: tell("heard", at, stream, message.SerializeToString()), count)
    server.start(port)
    tell("port", server.port)
    while True:
        try:
            what, *rest = parent.recv()
        except EOFError:
            break
        if what == "send":
            server.send(pb.OutputStreamRequest.FromString(rest[0]))
        elif what == "change":
            setattr(manner, *rest)
        else:
            getattr(server, what)(*rest)
    server.stop()


if __name__ == "__main__":
    main()
