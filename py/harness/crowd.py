# SPDX-License-Identifier: Apache-2.0
"""The programs of bench/plex that are fast enough for very many clients, or very many messages; both number what they say and look at what they hear.

    Crowd("hold", relay, clients=15_000)           all are let in: ask("echo"), ask("expect 3"), ask("close")
    Crowd("flood", relay, clients=16, messages=N)  they talk; answer() when all is said
    ledger = FloodLedger(folder, clients=16); FastUpstream(ledger)   acknowledges, and enters all that it hears
"""

import json
import mmap
import select
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.peers.native_upstream import program
from harness.peers.target import Refusing
from harness.process import Relay
from harness.scale import seconds
from harness.sockets import connect, split_address
from harness.until import Overdue, until

CLIENT = struct.Struct("=4Q")


class Crowd:
    def __init__(self, run: str, relay: Relay, source: str = "127.0.0.1", **options: int) -> None:
        self.transcript: list[str] = []
        port = split_address(relay.address("client"))[1]
        words = [str(program("crowd")), run, "--port", str(port), "--from", source, "--patience", str(int(seconds(20)))]
        for name, value in options.items():
            words += [f"--{name}", str(value)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def answer(self, timeout: float = 60.0) -> Any:
        """The next line that it says, or {} if it has ended."""
        out = self._process.stdout
        assert out is not None
        if not select.select([out], [], [], seconds(timeout))[0]:
            raise Overdue(f"the crowd has said nothing for {seconds(timeout):g} s")
        said = out.readline().decode()
        self.transcript.append(f"crowd: {said.strip()[:300]}")
        return json.loads(said or "{}")

    def said(self) -> bool:
        """Whether answer() has one."""
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()

    def ask(self, command: str, timeout: float = 60.0) -> Any:
        self.tell(command)
        return self.answer(timeout)

    def reset_peers(self) -> None:
        """Ends the process, and with it all of its clients."""
        self._process.kill()
        self._process.communicate()

    def close(self) -> None:
        self.reset_peers()


@dataclass(frozen=True)
class Entry:
    greatest: int  # number that was heard of this client
    again: int
    unmarked: int  # came again, and it was not said so
    wrong: int  # came out of order, or something before it is missing


class FloodLedger:
    """A file that FastUpstreams share, and that outlives them."""

    def __init__(self, folder: Path, clients: int) -> None:
        self.clients = clients
        self.path = folder / "ledger"
        self.path.write_bytes(bytes(CLIENT.size * clients))
        with self.path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

    def entries(self) -> list[Entry]:
        return [Entry(*CLIENT.unpack_from(self._map, CLIENT.size * number)) for number in range(self.clients)]

    def total(self) -> int:
        return sum(entry.greatest for entry in self.entries())


class FastUpstream:
    def __init__(self, ledger: FloodLedger) -> None:
        self.transcript: list[str] = []
        self._ledger = ledger
        self._held = Refusing("127.0.0.1", shared=True)
        self.port = int(self._held.port)
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"grpc://{self.address}"
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen([str(program("h2_echo")), str(self.port), str(self._ledger.path)])
        until(self._listens, f"{self.address} listens")

    def _listens(self) -> bool:
        assert self._process.poll() is None
        try:
            connect(self.address).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def reset_peers(self) -> None:
        """A relay comes to rest with its upstreams there."""

    def close(self) -> None:
        self.kill()
        self._held.close()
