# SPDX-License-Identifier: Apache-2.0
"""Relays of one file: its text, the process that runs it, and one of its relays."""

from typing import Any

from harness.lab import CLIENT, GATEWAY, Lab
from harness.process import Relay
from harness.sockets import Peer

HEAD = 'log-level = "debug"\n'


def table(name: str, **keys: Any) -> str:
    """A [[relay]] on 127.0.0.1 whose gateways are 127.0.0.2, with a target that nobody is."""
    defaults = {"name": name, "listen": "127.0.0.1", "port": 0, "gateway": GATEWAY, "target": "127.0.0.1:9"}
    lines = []
    for key, value in {**defaults, **keys}.items():
        if value is None:
            continue
        text = str(getattr(value, "address", value))
        lines.append(f"{key.replace('_', '-')} = " + (str(value) if isinstance(value, int) else str(value) if isinstance(value, list) else f'"{text}"'))
    return "[[relay]]\n" + "\n".join(lines) + "\n"


def start(lab: Lab, *tables: str, head: str = HEAD, words: tuple[str, ...] = (), **process: Any) -> Relay:
    path = lab.file("relay.toml", head + "\n".join(tables))
    return lab.start("run", "-c", str(path), *words, config=path.read_text(), **process)


def change(lab: Lab, relay: Relay, *tables: str, head: str = HEAD) -> Any:
    """The file with these relays, taken into use; the `reloaded` line."""
    lab.file("relay.toml", head + "\n".join(tables))
    mark = relay.mark()
    answer = relay.reload()
    assert (answer.status, answer.json()) == (200, {"ok": True, "faults": []}), answer
    return relay.wait_log("reloaded", after=mark)


def counts(line: Any) -> dict[str, int]:
    return {key: line[key] for key in ("kept", "changed", "added", "removed") if line[key]}


def places(relay: Relay) -> dict[str, list[str]]:
    """Where each relay listens now."""
    return {one["name"]: [place["addr"] for place in one["listening"]] for one in relay.status()["relays"] if not one["removed"]}


def pair(lab: Lab, relay: Relay, name: str) -> tuple[Peer, Peer]:
    """Client and gateway of one relay, met."""
    place = places(relay)[name][0]
    mark = relay.mark()
    gateway = lab.at(place, GATEWAY)
    relay.wait_log("accepted", after=mark, peer=gateway.local)
    client = lab.at(place, CLIENT)
    relay.wait_log("paired", after=mark, relay=name, client=client.local, gateway=gateway.local)
    return client, gateway


def several(count: int, target: str, **keys: str) -> str:
    """A file of `count` relays, named r0, r1, …, on ports that the kernel chooses."""
    more = "".join(f'{key.replace("_", "-")} = "{value}"\n' for key, value in keys.items())
    return "\n".join(f'[[relay]]\nname = "r{i}"\nlisten = "127.0.0.1"\nport = 0\ntarget = "{target}"\n{more}' for i in range(count))
