# SPDX-License-Identifier: Apache-2.0
"""The plex's part of the demo: three clients that stay connected, a relay that names them, and two gRPC servers, one of which dies.

    client ──┐            ┌──► upstream A
    client ──┼──► relay ══╡
    client ──┘            └──► upstream B

The upstreams are examples/plex/echo_upstream.py. When the one that has two of the clients is killed, these get the other one, and notice
nothing of it.
"""

import importlib.util
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from demo_stage import BIN, ROOT, Event, Failed, Process, check, heading, tell
from harness.until import Overdue, until

PLACE = "plex"
PROGRAM = ROOT / "examples" / "plex" / "echo_upstream.py"
EMPTY = Path("/usr/include/google/protobuf/empty.proto")


class Client:
    """As nc: what it sends are lines, and so is what it gets."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        host, _, port = address.rpartition(":")
        self._sock = socket.create_connection((host, int(port)), 15)
        self._lines = self._sock.makefile("rb")

    def say(self, text: str) -> None:
        self._sock.sendall(text.encode() + b"\n")

    def hear(self) -> str:
        try:
            line = self._lines.readline().decode().rstrip()
        except OSError as error:
            raise Failed(f"client {self.name}: {error}") from None
        if not line:
            raise Failed(f"client {self.name}: the connection was closed")
        return line

    def ask(self, text: str) -> str:
        """Who has answered."""
        self.say(text)
        line = self.hear()
        tell(PLACE, f"client {self.name}", f'"{text}" is answered "{line}"')
        who, _, rest = line.partition(": ")
        if rest != text:
            raise Failed(f"client {self.name}: {text!r} is answered {line!r}")
        return who

    def close(self) -> None:
        self._lines.close()
        self._sock.close()


class Upstream(Process):
    """An upstream on a port that stays its own."""

    def __init__(self, name: str) -> None:
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(("127.0.4.1", 0))
        self.address = f"127.0.4.1:{self._held.getsockname()[1]}"
        tell(PLACE, "", f"$ examples/plex/echo_upstream.py {self.address} &")
        super().__init__(PLACE, name, [sys.executable, str(PROGRAM), self.address], lambda _: "")

    def names(self, event: str) -> list[str]:
        """The clients of which it has heard this."""
        words = [one["text"].split() for one in self.events]
        return [found[0] for found in words if found[1:] == [event]]

    def close(self) -> None:
        self._held.close()


def story(event: Event) -> str:
    match event:
        case {"event": "listening", "addr": addr}:
            return f"listens on {addr}"
        case {"event": "accepted", "client": name, "peer": peer}:
            return f"{peer} is {name} from now on"
        case {"event": "upstream-up", "upstream": upstream}:
            return f"{upstream} is ready"
        case {"event": "upstream-lost", "upstream": upstream, "clients": clients}:
            return f"{upstream} is lost; its {clients} clients are kept, and get another"
        case {"event": "draining"}:
            return "drains"
    return ""


def start_relay(*upstreams: Upstream) -> Process:
    words = ["plex", "--listen", "127.0.4.2:0", "--framing", "line"]
    for upstream in upstreams:
        words += ["--upstream", f"grpc://{upstream.address}"]
    tell(PLACE, "", f"$ {shlex.join(['bin/relay', *words])}")
    return Process(PLACE, "relay", [str(BIN), *words, "--log-level", "debug", "--log-format", "json"], story, log=True)


def has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of what it is in
        return False


def missing() -> str:
    """Why this cannot be played, or nothing."""
    if subprocess.run([BIN, "plex", "--help"], capture_output=True, check=False).returncode != 0:
        return "this relay has no plex"
    if not has("grpc") or not has("google.protobuf"):
        return "python3-grpcio or python3-protobuf is not there"
    return "" if shutil.which("protoc") and EMPTY.exists() else "protobuf-compiler or libprotobuf-dev is not there"


def play(number: int) -> None:
    """The headings begin at `number`."""
    heading(number, "Three clients connect to a plex, and stay. Behind it are two upstreams, gRPC servers.")
    if why := missing():
        tell(PLACE, "", f"left out: {why}")
        return
    upstreams = [Upstream("A"), Upstream("B")]
    try:
        acts(number, *upstreams)
    except Overdue as late:
        raise Failed(str(late)) from None
    finally:
        for upstream in upstreams:
            upstream.close()


def acts(number: int, one: Upstream, other: Upstream) -> None:
    for upstream in (one, other):
        upstream.wait("says")  # that it listens
    relay = start_relay(one, other)
    relay.wait("ready")
    until(lambda: sum(event["event"] == "upstream-up" for event in relay.events) == 2, "both upstreams are up")
    clients = [Client(name, relay.wait("listening")["addr"]) for name in "123"]
    answered = [client.ask(f"hello from {client.name}") for client in clients]
    check(set(answered) == {one.address, other.address}, "each is answered; they are shared between the two upstreams")

    heading(number + 1, "One upstream is killed. Its clients stay connected.")
    dying, staying = (one, other) if answered.count(one.address) == 2 else (other, one)
    until(lambda: len(dying.names("CONNECTED")) == 2, f"upstream {dying.who} has told of two")
    names = dying.names("CONNECTED")
    check(len(set(names)) == 2, f"upstream {dying.who} has two of them")
    tell(PLACE, "", f"$ kill -9 {dying.child.pid}      # upstream {dying.who}")
    dying.child.send_signal(signal.SIGKILL)
    until(lambda: sorted(staying.names("REHOMED")) == sorted(names), f"upstream {staying.who} hears of them")
    answered = [client.ask(f"who is there, asks {client.name}") for client in clients]
    check(answered == [staying.address] * 3, f"all three have their answers, under the same names, from upstream {staying.who}")

    heading(number + 2, "A client speaks to all.")
    clients[0].say("/all good news")
    check([client.hear() for client in clients] == ["good news"] * 3, "all three have it")
    for client in clients:
        client.close()
    relay.terminate()
    check(relay.wait_exit() == 0, "the relay has ended by itself, exit status 0")
