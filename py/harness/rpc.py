# SPDX-License-Identifier: Apache-2.0
"""A program that controls a plex by gRPC, with grpcio, which knows nothing of us.

    rpc = Rpc(relay)                        over the relay's admin address, whatever that is
    rpc.call("Send", client_uuid=uuid, payload=b"...")
    rpc.fails("Send", ...) == ("NOT_FOUND", "...")
    watch = rpc.watch(); watch.wait("CONNECTED", client_uuid=uuid)
"""

import threading
from pathlib import Path
from typing import Any

import grpc

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


class Watching:
    """A stream of events, read by a thread unless it is `slow`."""

    def __init__(self, call: Any, slow: bool) -> None:
        self.stream = call
        self.events: list[Any] = []
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

    def named(self, kind: str, **wanted: Any) -> list[Any]:
        return [one for one in list(self.events) if one.kind == getattr(control, f"WATCH_{kind}") and all(getattr(one, name) == value for name, value in wanted.items())]

    def wait(self, kind: str, count: int = 1, **wanted: Any) -> Any:
        """The last of `count` events of that kind."""
        return until(lambda: self.named(kind, **wanted)[count - 1 :], f"{count} of {kind} {wanted}")[0]

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
