# SPDX-License-Identifier: Apache-2.0
"""A plex of several processes: its workers, and clients of which each worker has some."""

import socket
from typing import Any

from harness.lab import Lab
from harness.plex import Met, announced
from harness.process import Relay
from harness.until import until

FEATURES = ("EVENTS", "DELIVERY_REPORT")


def world(lab: Lab, workers: int, each: int = 2, **keys: Any) -> tuple[Any, Relay, list[Met]]:
    """A plex of so many workers, each of which has at least so many clients, in the order of their workers."""
    upstream = lab.upstream(does="silent", features=FEATURES)
    relay = lab.plex(upstream, workers=workers, **keys)
    return upstream, relay, everywhere(lab, relay, upstream, workers, each)


def everywhere(lab: Lab, relay: Relay, upstream: Any, workers: int, each: int) -> list[Met]:
    met: list[Met] = []

    def enough() -> bool:
        met.append(announced(lab, relay, upstream))
        return all(len([one for one in met if worker_of(one.uuid) == number]) >= each for number in range(workers))

    until(enough, "the kernel has given each worker some clients", 30)
    return sorted(met, key=lambda one: worker_of(one.uuid))


def worker_of(uuid: str) -> int:
    return int(uuid[-4:], 16)


def of_worker(met: list[Met], number: int) -> list[Met]:
    return [one for one in met if worker_of(one.uuid) == number]


def workers(relay: Relay) -> list[Any]:
    return list(relay.relay_status()["workers"])


class Question:
    """A GET that is under way."""

    def __init__(self, relay: Relay, target: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(relay.admin_place.removeprefix("unix:"))
        self.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def __enter__(self) -> Any:
        return lambda: int(self.socket.recv(65536).split()[1])

    def __exit__(self, *_: object) -> None:
        self.socket.close()
