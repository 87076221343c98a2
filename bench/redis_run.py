#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the Redis relay beside nutcracker and beside nothing, and writes redis.json and redis.md. See README.md in this folder."""

import argparse
import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import time

import measure
import redis_report
import redis_world
import rivals
import run

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = {
    "noget": ["php", f"{HERE}/redis/noget.php"],
    "get": ["php", f"{HERE}/redis/get.php"],
    "noget.py": ["/usr/bin/python3", f"{HERE}/redis/scripts.py", "noget"],
    "get.py": ["/usr/bin/python3", f"{HERE}/redis/scripts.py", "get"],
}
WAITS = {"noget": (5, 0), "get": (10, 1)}  # round trips a turn: direct, and at best through a relay that answers early
DELAYS = (0, 250, 500, 1000, 5000)  # microseconds, one way
LOADS = {"P1 64 B": ("1", "64", 60_000), "P16 64 B": ("16", "64", 500_000), "P16 10 kB": ("16", "10000", 40_000)}
CLIENTS = 10_000
SCENARIOS = ("scripts", "load", "idle")


def parse():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--quick", action="store_true", help="a smoke test: one short round at 0.5 ms, results in build/bench")
    p.add_argument("--rounds", type=int, help="interleaved rounds (5)")
    p.add_argument("--delays", help=f"one-way delays of the scripts in microseconds, with commas between ({','.join(map(str, DELAYS))})")
    p.add_argument("--only", help=f"scenarios, with commas between: {', '.join(SCENARIOS)}")
    p.add_argument("--rivals", help="rivals, with commas between; 'smart' stands for all that have it in their name")
    p.add_argument("--relay", default=f"{rivals.ROOT}/bin/relay", help="our binary (bin/relay)")
    p.add_argument("--out", help="folder of the results (doc/bench)")
    given = p.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 5)
    given.delays = [int(word) for word in given.delays.split(",")] if given.delays else [500] if given.quick else list(DELAYS)
    given.only = given.only.split(",") if given.only else list(SCENARIOS)
    return given


class Bench(measure.Rounds):
    def __init__(self, given, world):
        super().__init__(given, world)
        wanted = given.rivals.split(",") if given.rivals else None
        self.names = [name for name in world.rivals if wanted is None or any(word in name for word in wanted)]

    def round(self, number):
        shift = number % len(self.names)
        order = self.names[shift:] + self.names[:shift]
        if "scripts" in self.given.only:
            for microseconds in self.given.delays:
                self.scripts(number, order, microseconds)
        if "load" in self.given.only:
            self.load(number, order)
        if "idle" in self.given.only:
            for name in order:
                if name != "direct":
                    self.note(number, "idle", name, lambda name=name: self.idle(name))

    # The scripts

    def scripts(self, number, order, microseconds):
        with contextlib.ExitStack() as stack:
            far = stack.enter_context(self.world.distance(microseconds)).port if microseconds else self.world.server.port
            up = {name: stack.enter_context(self.world.between(name, far, big_keys=True)) for name in order}
            for script in SCRIPTS:
                if script.endswith(".py") and microseconds != 500:
                    continue
                for count in (1, 2):
                    for name in order:
                        if name == "nutcracker" and script.startswith("get"):
                            continue  # it has no SELECT
                        self.note(number, f"{script} {microseconds} x{count}", name,
                                  lambda s=script, c=count, n=name: self.script(s, c, up[n], n, microseconds))

    def script(self, script, count, running, name, microseconds):
        """`count` processes of the script at once; through a relay over its Unix socket, and over TCP beside it."""
        figures = {}
        places = {"us": redis_world.unix_socket(running) or f"127.0.0.1:{running.port}"}
        if places["us"].startswith("unix:") and count == 1:
            places["us_tcp"] = f"127.0.0.1:{running.port}"
        for metric, place in places.items():
            self.world.empty()
            before = redis_world.cpu_seconds(running.pid)
            turns = self.turns(script, name, microseconds)
            children = [
                subprocess.Popen([*SCRIPTS[script], place, str(turns)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True, preexec_fn=lambda: rivals.child_setup(rivals.END_CPUS))
                for _ in range(count)
            ]
            said = [child.communicate(timeout=120) for child in children]
            for child, (_, wrong) in zip(children, said):
                if child.returncode != 0:
                    raise measure.Failed(f"the script: {wrong.strip()[:500]}")
            figures[metric] = sum(float(text.split()[-4]) for text, _ in said) / count
            if metric == "us" and running.pid:
                self.world.settle()
                figures["cpu_us"] = (redis_world.cpu_seconds(running.pid) - before) * 1e6 / (turns * count)
        return figures

    def turns(self, script, name, microseconds):
        """About a second's worth; a thousand at most, as in the original."""
        waits = WAITS[script.removesuffix(".py")]
        trips = waits[1] if "smart" in name else waits[0]
        about = trips * 2 * microseconds + 250
        return max(10, min(1000, round((0.3 if self.given.quick else 1.0) * 1e6 / about)))

    # redis-benchmark

    def load(self, number, order):
        with contextlib.ExitStack() as stack:
            up = {name: stack.enter_context(self.world.between(name, self.world.server.port)) for name in order}
            for title, (pipeline, size, requests) in LOADS.items():
                for command in ("SET", "GET"):
                    for name in order:
                        self.note(number, f"{command} {title}", name,
                                  lambda n=name, c=command, p=pipeline, d=size, r=requests: self.benchmark(up[n], c, p, d, r))

    def benchmark(self, running, command, pipeline, size, requests):
        """Requests a second, and processor time a request of the program and of the server."""
        requests = requests // (5 if self.given.quick else 1) * (1 if running.pid else 2)
        words = ["redis-benchmark", "-p", str(running.port), "-c", "50", "-P", pipeline, "-d", size, "--csv"]
        self.world.empty()
        for words_of in ([*words, "-n", "2000", "-t", "set"], [*words, "-n", "2000", "-t", command.lower()]):  # the key is there, all is warm
            subprocess.run(words_of, check=True, capture_output=True, timeout=60)
        self.world.settle()
        pids = {"cpu_us": running.pid, "server_us": self.world.server.pid}
        before = {metric: redis_world.cpu_seconds(pid) for metric, pid in pids.items()}
        done = subprocess.run([*words, "-n", str(requests), "-t", command.lower()], check=True, capture_output=True, text=True, timeout=120)
        self.world.settle()  # what was answered early is work, too
        rate = float(done.stdout.splitlines()[-1].split(",")[1].strip('"'))
        figures = {"per_s": rate}
        for metric, pid in pids.items():
            figures[metric] = (redis_world.cpu_seconds(pid) - before[metric]) * 1e6 / requests
        return figures

    # Idle clients

    def idle(self, name):
        """Written memory a client, when each has connected, and when each has had an answer; how many connections the server has."""
        clients = CLIENTS // (10 if self.given.quick else 1)
        self.world.empty()
        with self.world.between(name, self.world.server.port) as running:
            converse([socket.create_connection(("127.0.0.1", running.port), 10)])  # what the first one costs for ever
            first = measure.settled_memory(running.pid)
            everybody = [socket.create_connection(("127.0.0.1", running.port), 10) for _ in range(clients)]
            try:
                opened = measure.settled_memory(running.pid)
                converse(everybody, close=False)
                served = measure.settled_memory(running.pid)
                upstreams = self.world.info("connected_clients") - 1
            finally:
                for one in everybody:
                    one.close()
        return {"clients": clients, "upstreams": upstreams, "bytes": (opened["written"] - first["written"]) / clients,
                "bytes_served": (served["written"] - first["written"]) / clients, "rss_bytes_served": (served["rss"] - first["rss"]) / clients}


def converse(sockets, close=True):
    """Each stores a kilobyte and reads it back."""
    said = redis_world.encode("SET", "k", "v" * 1024) + redis_world.encode("GET", "k")
    size = len(b"+OK\r\n$1024\r\n" + 1024 * b"v" + b"\r\n")
    for one in sockets:
        one.sendall(said)
        got = 0
        while got < size:
            piece = one.recv(1 << 16)  # with the time-out that it was connected with
            if not piece:
                raise measure.Failed(f"an idle client to be got {got} bytes of {size}")
            got += len(piece)
        if close:
            one.close()


def main():
    given = parse()
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: as in run.py
    for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signal_number, lambda number, _: sys.exit(128 + number))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    world = redis_world.World(given.relay, run.build("distance"))
    try:
        bench = Bench(given, world)
        for number in range(1, given.rounds + 1):
            bench.round(number)
    finally:
        world.stop()
        rivals.stop_all()
    out = given.out or (f"{rivals.ROOT}/build/bench" if given.quick else f"{rivals.ROOT}/doc/bench")
    os.makedirs(out, exist_ok=True)
    result = redis_report.result(bench, began)
    redis_report.write(result, out)
    print(f"\n{redis_report.summary(result)}\n{out}/redis.md, redis.json", flush=True)
    return 1 if bench.errors else 0


if __name__ == "__main__":
    sys.exit(main())
