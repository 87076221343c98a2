# SPDX-License-Identifier: Apache-2.0
"""A real redis-server of a test's own: a free port, nothing on disk, killed, paused and started again at will."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import redis

from harness.peers.target import Refusing
from harness.until import until


class RedisServer:
    """`address` is HOST:PORT. A client of its own (`direct()`) sees what the server sees."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.transcript: list[str] = []
        self._held = Refusing("127.0.0.1", shared=True)  # so that nobody else gets the port while the server is down
        self.port = int(self._held.port)
        self.address = f"127.0.0.1:{self.port}"
        self._folder, self._words = folder, words
        self.password = dict(zip(words, words[1:])).get("--requirepass")
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[Any] = []
        self.start()

    def start(self) -> None:
        log = self._folder / f"redis-{self.port}.log"
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder), "--logfile", str(log), *self._words,
                 *self._extra_words()]
        self._process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers, lambda: f"redis-server on {self.address}: {log.read_text() if log.exists() else 'no log'}")

    def _extra_words(self) -> list[str]:
        """What depends on the port."""
        return []

    def _answers(self) -> bool:
        try:
            with redis.Redis(port=self.port, socket_timeout=2) as client:
                client.execute_command("PING")
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False
        return True

    def direct(self, **how: Any) -> Any:
        client = redis.Redis(port=self.port, socket_timeout=10, single_connection_client=True, **how)
        self._clients.append(client)
        return client

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """It says nothing more, as if it were far away; what is sent to it waits in the kernel."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def reset_peers(self) -> None:
        for client in self._clients:
            client.connection_pool.disconnect()

    def close(self) -> None:
        self.reset_peers()
        self.kill()
        self._held.close()
