# SPDX-License-Identifier: Apache-2.0
"""A small world of certificates, a relay in it that listens with TLS, and who comes to that."""

import shutil
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.certs import Authority, Issued
from harness.lab import CLIENT, Lab
from harness.peers.tls import TlsPeer
from harness.process import Relay
from harness.sockets import Peer

VERSIONS = ["1.2", "1.3"]


@dataclass
class World:
    folder: Path
    ca: Authority
    other: Authority
    relay: Issued  # localhost, 127.0.0.1
    func: Issued   # DNS:func1.example


def make_world() -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="relay-tls-"))
    ca, other = Authority(folder, "ca"), Authority(folder, "other")
    relay = ca.issue("relay", dns=["localhost"], ip=["127.0.0.1"])
    yield World(folder, ca, other, relay, ca.issue("func", dns=["func1.example"]))
    shutil.rmtree(folder)


def listening(lab: Lab, world: World, **keys: Any) -> Relay:
    """A relay with TLS for clients, and a plain port for gateways."""
    ways: dict[str, Any] = {"gateway_listen": "127.0.0.1", "gateway_port": 0, "cert": world.relay.cert, "key": world.relay.key}
    return lab.relay(listen="tls://127.0.0.1", **{**ways, **keys})


def tls_client(
    lab: Lab, relay: Relay, context: ssl.SSLContext, name: str = "localhost", session: ssl.SSLSession | None = None, **how: Any,
) -> TlsPeer:
    return lab.add(TlsPeer(relay.connect("client", CLIENT, **how), context, name=name, session=session))  # type: ignore[return-value]


def tls_pair(lab: Lab, relay: Relay, context: ssl.SSLContext, **how: Any) -> tuple[TlsPeer, Peer]:
    mark = relay.mark()
    gateway = lab.gateway(relay)
    relay.wait_log("accepted", after=mark, peer=gateway.local)
    client = tls_client(lab, relay, context, **how)
    relay.wait_log("paired", after=mark)
    return client, gateway
