# SPDX-License-Identifier: Apache-2.0
"""The Redis part of the demo: a program, a relay beside it, and a real redis-server behind a distance of 5 ms.

    program ──► relay ──► 5 ms ──► redis-server

Two hundred SETs directly, then through the relay in mode smart, which answers at once; then the server is killed, the program goes on
writing, the server comes back, and has everything. The server keeps a log that it writes before it answers, so that what it has
answered itself survives its death.
"""

import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from demo_stage import BIN, Event, Failed, Process, check, die_with_the_demo, heading, tell
from harness.peers.distance import Distance
from harness.until import Overdue, until

PLACE = "redis"
DELAY = 0.005
WRITES = 200


class Client:
    """As much of a Redis client as is needed here; it waits for each answer, as most do."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._sock = socket.create_connection((host, int(port)), 15)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._sock.makefile("rb")

    def ask(self, *words: str) -> str:
        """The answer, which is one of a line."""
        parts = [word.encode() for word in words]
        self._sock.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        line = self._answers.readline()
        if not line or line.startswith(b"-"):
            raise Failed(f"{' '.join(words)[:40]}: {line.decode(errors='replace').strip() or 'the connection was closed'}")
        return line.decode().strip()

    def write(self, name: str) -> float:
        """WRITES values; how long that took."""
        began = time.monotonic()
        for number in range(WRITES):
            if self.ask("SET", f"{name}:{number}", f"value {number}") != "+OK":
                raise Failed(f"SET {name}:{number} is not answered OK")
        return time.monotonic() - began

    def close(self) -> None:
        self._answers.close()
        self._sock.close()


class Server:
    """redis-server on a port that stays its own while it is down."""

    def __init__(self, folder: Path) -> None:
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(("127.0.3.1", 0))
        self._port = self._held.getsockname()[1]
        self._folder = folder
        self.address = f"127.0.3.1:{self._port}"
        self.start()

    def start(self) -> None:
        words = ["redis-server", "--bind", "127.0.3.1", "--port", str(self._port), "--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        tell(PLACE, "", f"$ {shlex.join(words[:5])} --appendonly yes …")
        self._process = subprocess.Popen([*words, "--dir", str(self._folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                         preexec_fn=die_with_the_demo)
        until(self._answers, "redis-server answers")

    def _answers(self) -> bool:
        try:
            return self.keys() >= 0
        except (OSError, Failed):
            return False

    def keys(self) -> int:
        client = Client(self.address)
        try:
            return int(client.ask("DBSIZE").removeprefix(":"))
        finally:
            client.close()

    def wait_keys(self, number: int) -> None:
        until(lambda: self.keys() == number, lambda: f"{number} keys at the server; there are {self.keys()}")

    def kill(self) -> None:
        tell(PLACE, "", f"$ kill -9 {self._process.pid}      # the server")
        self.end()

    def end(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def story(event: Event) -> str:
    match event:
        case {"event": "listening", "addr": addr}:
            return f"listens on {addr}"
        case {"event": "draining"}:
            return "drains"
        case {"event": "server-lost"}:
            return "it has lost its server: it goes on taking writes, and tries again"
    return ""


def start_relay(url: str) -> Process:
    words = ["redis", "--listen", "127.0.3.2:0", "--url", url, "--mode", "smart", "--log-level", "debug", "--log-format", "json"]
    tell(PLACE, "", f"$ {shlex.join(['bin/relay', *words[:7]])}")
    relay = Process(PLACE, "relay", [str(BIN), *words], story, log=True)
    relay.wait("ready")
    return relay


def missing() -> str:
    """Why this cannot be played, or nothing."""
    words = subprocess.run([BIN, "redis", "--help"], capture_output=True, text=True, check=False).stdout
    if "smart" not in words:
        return "this relay has no mode smart"
    return "" if shutil.which("redis-server") else "redis-server is not there"


def play(number: int) -> None:
    """The headings begin at `number`."""
    heading(number, "A program writes to a Redis server that is 5 ms away, and waits for each answer.")
    if why := missing():
        tell(PLACE, "", f"left out: {why}")
        return
    folder = Path(tempfile.mkdtemp(prefix="demo-redis-"))
    server = Server(folder)
    distance = Distance(server.address, DELAY)
    try:
        acts(number, server, distance)
    except Overdue as late:
        raise Failed(str(late)) from None
    finally:
        server.end()
        distance.close()
        shutil.rmtree(folder, ignore_errors=True)


def acts(number: int, server: Server, distance: Distance) -> None:
    direct = Client(distance.address)
    slow = direct.write("direct")
    direct.close()
    tell(PLACE, "program", f"{WRITES} SETs directly: {slow:.3f} s")

    heading(number + 1, "The same through a relay beside the program: it answers at once, and works in the background.")
    relay = start_relay(f"redis://{distance.address}")
    program = Client(relay.wait("listening")["addr"])
    fast = program.write("relayed")
    tell(PLACE, "program", f"{WRITES} SETs through the relay: {fast:.3f} s")
    check(fast * 10 < slow, f"that is {slow / fast:.0f} times faster")
    server.wait_keys(2 * WRITES)
    check(True, f"and all {WRITES} are at the server")

    heading(number + 2, "The server is killed. The program goes on writing, and does not notice.")
    server.kill()
    tell(PLACE, "program", f"{WRITES} SETs without a server: {program.write('meanwhile'):.3f} s, each answered OK")
    server.start()
    server.wait_keys(3 * WRITES)
    check(True, f"the server is back, and all {3 * WRITES} are there")
    check(program.ask("STRLEN", f"meanwhile:{WRITES - 1}") == f":{len(f'value {WRITES - 1}')}", "the program reads what it has written meanwhile")
    program.close()
    relay.terminate()
    check(relay.wait_exit() == 0, "the relay has ended by itself, exit status 0")
