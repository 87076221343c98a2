# SPDX-License-Identifier: Apache-2.0
"""What stands between a Redis client and its server in this bench: a distance, and before it nothing, nutcracker, or the relay.

    client --> [ nothing | nutcracker | relay ] --> distance (bench/distance.cpp) --> redis-server

Everything is a Rival of rivals.py, started anew for each round; all of them share one server.
"""

import os
import socket
import subprocess
import time

import measure
import rivals

NUTCRACKER = """bench:
  listen: {listen}:{port}
  redis: true
  preconnect: true
  auto_eject_hosts: false
  servers:
    - {target}:1
"""
SERVER = ["redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--maxclients", "20000", "--dir", "{folder}"]
RELAY = ["redis", "--listen", "{listen}:{port}", "--listen", "unix:{folder}/socket", "--url", "redis://{target}", "--clients", "10100",
         "--log-level", "warn", "--admin", "none"]


def encode(*words):
    """A command as it stands on the wire."""
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class World:
    """Knows which programs there are, starts them, and asks the server how far it is."""

    def __init__(self, relay, distance):
        self.distance_binary = distance
        words = subprocess.run([relay, "redis", "--help"], capture_output=True, text=True, check=False).stdout
        self.smart = "smart" in words
        self.read_queued = "--readQueued" in words
        self.rivals = {rival.name: rival for rival in self._rivals(relay)}
        self.server = rivals.Running(rivals.Rival("redis-server", SERVER)).__enter__()

    def _rivals(self, relay):
        def ours(name, *words, note):
            return rivals.Rival(name, [relay, *RELAY, *words], version=[relay, "--version"], note=note)

        yield rivals.Rival("direct", [], note="no program but the distance")
        nutcracker = rivals.Rival("nutcracker", ["nutcracker", "-c", "{config}", "-s", "{spare_port}", "-a", "127.0.0.1", "-v", "0"], NUTCRACKER,
                                  ["nutcracker", "-V"], "redis: true, preconnect, one connection to the server, no ejecting; it knows no SELECT")
        if missing := nutcracker.missing():
            print(f"left out: nutcracker: {missing}", flush=True)
        else:
            yield nutcracker
        yield ours("relay sync", "--mode", "sync", note="mode sync")
        if self.smart:
            yield ours("relay smart", "--mode", "smart", note="mode smart")
        if self.read_queued:
            yield ours("relay smart, readQueued", "--mode", "smart", "--readQueued", "true", note="mode smart with readQueued")

    def distance(self, microseconds):
        """A running distance; its port is what a program in the middle has as its server."""
        words = [self.distance_binary, "--port", "{port}", "--target-port", "{target_port}", "--us", str(microseconds)]
        return rivals.Running(rivals.Rival("distance", words), target_port=self.server.port)

    def between(self, name, server_port, big_keys=False):
        """The program, running. The scripts delete a key of 40 kB, for which nutcracker needs larger buffers than it has by default."""
        rival = self.rivals[name]
        if big_keys and name == "nutcracker":
            rival = rivals.Rival(name, [*rival.command, "-m", "65536"], rival.config)
        return rivals.Running(rival, target_port=server_port)

    def ask(self, *words):
        """One command to the server, directly; its reply as it stands on the wire."""
        with socket.create_connection(("127.0.0.1", self.server.port), 30) as sock:
            sock.sendall(encode(*words) + encode("QUIT"))
            answer = b""
            while piece := sock.recv(1 << 16):
                answer += piece
        return answer.decode(errors="replace")

    def info(self, field):
        text = self.ask("INFO", "ALL")
        return next(int(line.partition(":")[2]) for line in text.splitlines() if line.startswith(field + ":"))

    def settle(self):
        """Waits until the server has no more to do: what was answered early has been carried out."""
        last, until = None, time.monotonic() + 60
        while time.monotonic() < until:
            now = self.info("total_net_input_bytes")
            if last is not None and now - last < 200:  # our own question
                return
            last = now
            time.sleep(0.1)
        raise measure.Failed("the server still gets commands after 60 s")

    def empty(self):
        self.settle()
        self.ask("FLUSHALL")

    def stop(self):
        self.server.stop()


def cpu_seconds(pid):
    """User and system time of a process so far, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2) if pid else 0.0


def unix_socket(running):
    """Where a relay listens beside its port; None for others."""
    path = f"{running.folder}/socket"
    return f"unix:{path}" if os.path.exists(path) else None
