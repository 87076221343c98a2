# SPDX-License-Identifier: Apache-2.0
"""A program that controls a plex by gRPC, with grpcio, which knows nothing of us.

    rpc = Rpc(relay)                        over the relay's admin address, whatever that is
    rpc.call("Send", client_uuid=uuid, payload=b"...")
    rpc.fails("Send", ...) == ("NOT_FOUND", "...")
    watch = rpc.watch(); watch.wait("CONNECTED", client_uuid=uuid)
"""

import queue
import subprocess
import threading
from pathlib import Path
from typing import Any

import grpc

from harness.peers.native_upstream import program
from harness.peers.upstream_proto import control
from harness.process import Relay
from harness.scale import seconds
from harness.until import until

SERVICE = "relay.plex.control.PlexControl"
METHODS = {
    "Send": ("SendRequest", "SendResult"), "Broadcast": ("BroadcastRequest", "SendResult"), "Close": ("CloseRequest", "SendResult"),
    "List": ("ListRequest", "ListResult"), "Get": ("GetRequest", "ClientState"), "Upstreams": ("UpstreamsRequest", "UpstreamsResult"),
    "AddUpstream": ("UpstreamRequest", "UpstreamsResult"), "RemoveUpstream": ("UpstreamRequest", "UpstreamsResult"),
    "Watch": ("WatchRequest", "WatchEvent"),
}  # fmt: skip


class Events:
    """What a watch has heard."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def named(self, kind: str, **wanted: Any) -> list[Any]:
        return [one for one in list(self.events) if one.kind == getattr(control, f"WATCH_{kind}") and all(getattr(one, name) == value for name, value in wanted.items())]

    def wait(self, kind: str, count: int = 1, **wanted: Any) -> Any:
        """The last of `count` events of that kind."""
        return until(lambda: self.named(kind, **wanted)[count - 1 :], f"{count} of {kind} {wanted}")[0]


class Watching(Events):
    """A stream of events, read by a thread unless it is `slow`."""

    def __init__(self, call: Any, slow: bool) -> None:
        super().__init__()
        self.stream = call
        self.error: grpc.RpcError | None = None
        call.initial_metadata()  # from now on nothing is missed
        self._thread = threading.Thread(target=self._read, daemon=True)
        if not slow:
            self.read_on()

    def read_on(self) -> None:
        self._thread.start()

    def _read(self) -> None:
        try:
            for event in self.stream:
                self.events.append(event)
        except grpc.RpcError as error:
            self.error = error

    def end(self) -> str:
        """Waits for the stream's end, and returns its status."""
        until(lambda: not self._thread.is_alive(), "the end of the watch")
        return "OK" if self.error is None else str(self.error.code().name)

    def cancel(self) -> None:
        self.stream.cancel()


class Rpc:
    def __init__(self, relay: Relay, token: str = "", ca: Path | None = None, place: str = "", **options: Any) -> None:
        where = place or relay.admin_place.removeprefix("tls:")
        settings = [*{"grpc.use_local_subchannel_pool": 1, "grpc.enable_retries": 0, **options}.items()]
        self._channel = grpc.secure_channel(where, grpc.ssl_channel_credentials(ca.read_bytes()), settings) if ca else grpc.insecure_channel(where, settings)
        self._metadata = [("authorization", f"Bearer {token}")] if token else []

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> "Rpc":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def raw(self, method: str, message: bytes, timeout: float = 10.0, **how: Any) -> bytes:
        """A call of bytes; `method` may be a whole path."""
        path = method if method.startswith("/") else f"/{SERVICE}/{method}"
        return bytes(self._channel.unary_unary(path)(message, timeout=seconds(timeout), metadata=self._metadata, **how))

    def call(self, method: str, *, timeout: float = 10.0, **fields: Any) -> Any:
        asks, answers = METHODS[method]
        return getattr(control, answers).FromString(self.raw(method, getattr(control, asks)(**fields).SerializeToString(), timeout))

    def fails(self, method: str, message: bytes | None = None, **fields: Any) -> tuple[str, str]:
        """The code and the words with which a call is refused."""
        try:
            if message is None:
                self.call(method, **fields)
            else:
                self.raw(method, message)
        except grpc.RpcError as error:
            return error.code().name, str(error.details())
        raise AssertionError(f"{method} was not refused")

    def watch(self, slow: bool = False, timeout: float | None = None, **fields: Any) -> Watching:
        stub = self._channel.unary_stream(
            f"/{SERVICE}/Watch", request_serializer=lambda one: one.SerializeToString(), response_deserializer=control.WatchEvent.FromString
        )
        return Watching(stub(control.WatchRequest(**fields), metadata=self._metadata, timeout=timeout), slow)


class NativeRpc(Events):
    """The same by gRPC C++, a process of its own (tests/peers/control_cpp.cpp), with one watch at most, whose events are its own."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self._process = subprocess.Popen([str(program("control_cpp")), relay.admin_place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._answers: queue.Queue[list[str]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            words = line.split()
            if words[0] == "event":
                self.events.append(control.WatchEvent.FromString(bytes.fromhex(words[1])))
            else:
                self._answers.put(words)

    def _tell(self, *words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(words) + "\n")

    def _ask(self, method: str, fields: dict[str, Any]) -> tuple[int, bytes]:
        """Its status, and the answer or what is wrong."""
        self._tell(method, getattr(control, METHODS[method][0])(**fields).SerializeToString().hex())
        return self._answer(method)

    def _answer(self, method: str) -> tuple[int, bytes]:
        said, code, *rest = self._answers.get(timeout=seconds(20))
        assert said == method
        return int(code), bytes.fromhex("".join(rest))

    def call(self, method: str, **fields: Any) -> Any:
        code, answer = self._ask(method, fields)
        assert code == 0, (code, answer)
        return getattr(control, METHODS[method][1]).FromString(answer)

    def fails(self, method: str, **fields: Any) -> tuple[str, str]:
        """The code and the words with which a call is refused."""
        code, answer = self._ask(method, fields)
        return next(one.name for one in grpc.StatusCode if one.value[0] == code), answer.decode()

    def watch(self, **fields: Any) -> None:
        """From now on nothing is missed."""
        self._tell("Watch", control.WatchRequest(**fields).SerializeToString().hex())
        assert self._answers.get(timeout=seconds(20)) == ["headers"]

    def cancel(self) -> int:
        """Ends the watch; its status."""
        self._tell("cancel")
        return self._answer("Watch")[0]

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(seconds(20))
        self._reader.join(seconds(20))
        self._process.stdout.close()
