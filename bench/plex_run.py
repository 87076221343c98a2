#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the plex beside a proxy that does its work by gRPC C++, and writes plex.json and plex.md. See README.md in this folder."""

import argparse
import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

import measure
import plex_report
import rivals

PROGRAMS = f"{rivals.ROOT}/build/plex"
UPSTREAMS = ("h2", "grpc")
MIDDLES = ("relay", "grpc proxy")
WINDOWS = (64, 1024)
CLIENTS = 15_000  # in one process: most machines allow it 20,000 descriptors
PUSHED = 60_000_000
SCENARIOS = ("echo", "leg", "idle", "stalled", "killed")
TALKERS = 64  # clients of `killed`
KILLS_PER_SECOND = 4


def parse():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--quick", action="store_true", help="a smoke test: one short round, results in build/bench")
    p.add_argument("--rounds", type=int, help="interleaved rounds (5)")
    p.add_argument("--seconds", type=float, help="of each run (2)")
    p.add_argument("--only", help=f"scenarios, with commas between: {', '.join(SCENARIOS)}")
    p.add_argument("--relay", default=f"{rivals.ROOT}/bin/relay", help="our binary (bin/relay)")
    p.add_argument("--programs", default=PROGRAMS, help="the folder of the bench's own programs (build/plex)")
    p.add_argument("--out", help="folder of the results (doc/bench)")
    given = p.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 5)
    given.seconds = given.seconds or (0.3 if given.quick else 2.0)
    given.only = given.only.split(",") if given.only else list(SCENARIOS)
    return given


class World:
    """The programs: two upstreams, and what stands between them and the clients."""

    def __init__(self, given):
        self.programs = given.programs
        version = ["dpkg-query", "-W", "-f", "version ${Version}", "libgrpc++1.51"]
        plex = [given.relay, "plex", "--listen", "{listen}:{port}", "--upstream", "grpc://{target}", "--clients", "16000", "--client-queue", "8MiB",
                "--log-level", "error", "--admin", "none"]
        self.rivals = {
            "relay": rivals.Rival("relay", plex, version=[given.relay, "--version"],
                                  note="framing raw, one upstream, client-queue 8MiB, no log, no admin socket"),
            "grpc proxy": rivals.Rival("grpc proxy", [f"{self.programs}/grpc_proxy", "{port}", "{target}"], version=version,
                                       note="bench/plex/grpc_proxy.cpp: epoll for clients, gRPC C++ with the callback API to the upstream"),
        }
        self.upstreams = {
            "h2": rivals.Rival("h2", [f"{self.programs}/h2_echo", "{port}"], note="bench/plex/h2_echo.cpp: nghttp2, one thread"),
            "grpc": rivals.Rival("grpc", [f"{self.programs}/grpc_echo", "{listen}:{port}"], version=version,
                                 note="bench/plex/grpc_echo.cpp: gRPC C++, callback API"),
        }
        for rival in [*self.rivals.values(), *self.upstreams.values()]:
            if missing := rival.missing():
                raise SystemExit(f"{missing}: make bench-plex builds it")

    def upstream(self, name):
        return rivals.Running(self.upstreams[name])

    def between(self, name, upstream):
        return rivals.Running(self.rivals[name], target_port=upstream.port)

    @contextlib.contextmanager
    def pair(self, name, upstream_name):
        with self.upstream(upstream_name) as upstream, self.between(name, upstream) as middle:
            yield middle, upstream


class Load:
    """bench/plex/load (or crowd) with phases: each line that it prints is one, and go() has it go on."""

    def __init__(self, programs, arguments, program="load"):
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen([f"{programs}/{program}", *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, preexec_fn=lambda: rivals.child_setup(rivals.END_CPUS))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def phase(self):
        """What it says of the phase that is over; load itself gives up after 30 s without progress."""
        line = self.process.stdout.readline()
        if not line:
            raise measure.Failed(self.process.stderr.read().strip() or "load ended")
        return json.loads(line)

    def has_said(self):
        """Whether phase() has something."""
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()


class Ledgers:
    """What the upstreams of `killed` have heard, in a file that outlives them: h2_echo.cpp says what stands there."""

    CLIENT = struct.Struct("=4Q")

    def __init__(self, folder, clients):
        self.path, self.clients = f"{folder}/ledger", clients
        with open(self.path, "wb") as file:
            file.write(bytes(self.CLIENT.size * clients))

    def sums(self):
        """Of all clients: the greatest numbers heard; how many came again; of these unmarked; out of order, or behind something that is missing."""
        with open(self.path, "rb") as file:
            return [sum(numbers) for numbers in zip(*self.CLIENT.iter_unpack(file.read()))]

    def greatest(self):
        with open(self.path, "rb") as file:
            return [entry[0] for entry in self.CLIENT.iter_unpack(file.read())]


class Peak(threading.Thread):
    """The most memory that a process has written, looked at every 10 ms."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.most, self.over = pid, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.01):
            self.most = max(self.most, measure.memory(self.pid)["written"])

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


class Bench(measure.Rounds):
    def round(self, number):
        turn = number % len(MIDDLES)
        order = MIDDLES[turn:] + MIDDLES[:turn]  # nobody is always the first
        if "echo" in self.given.only:
            for conns, cpus in ((1000, None), (1, None), (1, {max(rivals.END_CPUS)})):
                for upstream in UPSTREAMS:
                    for name in order:
                        self.note(number, f"echo {conns} {upstream}{', 1 CPU' if cpus else ''}", name,
                                  lambda n=name, u=upstream, c=conns, on=cpus: self.echo(n, u, c, on))
        if "leg" in self.given.only:
            for upstream in reversed(UPSTREAMS):
                with self.world.upstream(upstream) as running:
                    for window in WINDOWS:
                        for name, program in (("relay", "leg"), ("grpc", "grpc_leg"))[::1 if turn else -1]:
                            self.note(number, f"leg {window} {upstream}", name, lambda p=program, w=window, r=running: self.leg(p, w, r))
        if "idle" in self.given.only:
            for name in order:
                self.note(number, "idle", name, lambda n=name: self.idle(n))
        if "stalled" in self.given.only:
            for name in order:
                self.note(number, "stalled upstream", name, lambda n=name: self.stalled(n, 64, True))
                self.note(number, "stalled client", name, lambda n=name: self.stalled(n, 1, False))
        if "killed" in self.given.only:
            self.note(number, "killed", "relay", self.killed)

    # What is measured

    def echo(self, name, upstream_name, conns, cpus):
        """With `cpus` all three programs have these and no others: on idle cores most of a round trip is the waking of them."""
        with self.world.pair(name, upstream_name) as (middle, upstream):
            for pid in (middle.pid, upstream.pid) if cpus else ():
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(thread), cpus)
            seconds = self.given.seconds
            figures = measure.run_load(f"{self.world.programs}/load",
                                       ["echo", "--port", str(middle.port), "--conns", str(conns), "--seconds", str(seconds), "--warmup", str(seconds / 4),
                                        "--cpu-of", str(middle.pid), "--cpu-of", str(upstream.pid)], seconds, cpus or rivals.END_CPUS)
        trips = figures["trips"]
        of_middle, of_upstream = figures["cpu_s"]
        return {"per_s": figures["per_s"], "p50_us": figures["p50_us"], "p99_us": figures["p99_us"], "cpu_us": of_middle * 1e6 / trips,
                "per_cpu_s": trips / of_middle, "upstream_us": of_upstream * 1e6 / trips, "load_us": figures["own_cpu_s"] * 1e6 / trips}

    def leg(self, program, window, upstream):
        seconds = self.given.seconds
        figures = measure.run_load(f"{self.world.programs}/{program}", [str(upstream.port), str(window), str(seconds), str(seconds / 4)], seconds)
        return {"per_s": figures["per_s"], "per_cpu_s": figures["per_cpu_s"]}

    def idle(self, name):
        """Written memory a client when all are there, and when each has had an answer; CPU while they are silent; a broadcast to all."""
        clients = CLIENTS // (10 if self.given.quick else 1)
        with self.world.pair(name, "h2") as (middle, _):
            with Load(self.world.programs, ["hold", "--port", middle.port, "--conns", 1]) as first:  # what the first one costs for ever
                for _ in range(3):
                    first.phase()
                    first.go()
            before = measure.settled_memory(middle.pid)
            with Load(self.world.programs, ["hold", "--port", middle.port, "--conns", clients]) as load:
                load.phase()
                opened = measure.settled_memory(middle.pid)
                load.go()
                load.phase()
                carried = measure.settled_memory(middle.pid)
                began, cpu = time.monotonic(), time.clock_gettime((~middle.pid << 3) | 2)
                time.sleep(self.given.seconds)
                idle = (time.clock_gettime((~middle.pid << 3) | 2) - cpu) / (time.monotonic() - began)
                load.go()
                said = load.phase()
        return {"clients": clients, "bytes": (opened["written"] - before["written"]) / clients,
                "bytes_carried": (carried["written"] - before["written"]) / clients, "idle_percent": idle * 100,
                "broadcast_per_s": clients / said["median_s"], "broadcast_worst_per_s": clients / said["worst_s"]}

    def stalled(self, name, conns, stop_upstream):
        """The most memory while clients push at who does not read; then all goes on, and all must come back."""
        with self.world.pair(name, "h2") as (middle, upstream):
            with Load(self.world.programs, ["push", "--port", middle.port, "--conns", conns, "--bytes", PUSHED]) as load, Peak(middle.pid) as peak:
                load.phase()
                if stop_upstream:
                    os.kill(upstream.pid, signal.SIGSTOP)
                load.go()
                pushed = load.phase()
                time.sleep(0.1)
                most = max(peak.most, measure.memory(middle.pid)["written"])
                if stop_upstream:
                    os.kill(upstream.pid, signal.SIGCONT)
                load.go()
                echoed = load.phase()
        return {"offered": PUSHED, "taken": pushed["bytes"], "ended": pushed["ended"], "most_bytes": most, "most_bytes_later": peak.most,
                "mb_per_s_later": None if pushed["ended"] else echoed["bytes"] / 1e6 / echoed["seconds"]}  # none: not all came back

    def killed(self):
        """Clients that never stop talking, two upstreams that acknowledge, one of which is killed (SIGKILL) and started again all the time."""
        seconds = 4 * self.given.seconds
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            ledgers = Ledgers(folder, TALKERS)
            upstreams = [stack.enter_context(rivals.Running(rivals.Rival("h2", [f"{self.world.programs}/h2_echo", "{port}", ledgers.path]))) for _ in range(2)]
            plex = [self.given.relay, "plex", "--listen", "{listen}:{port}", "--framing", "line", "--retry-min", "10ms", "--retry-max", "100ms",
                    "--log-level", "error", "--admin", f"unix:{folder}/admin"]
            for upstream in upstreams:
                plex += ["--upstream", f"grpc://127.0.0.1:{upstream.port}"]
            middle = stack.enter_context(rivals.Running(rivals.Rival("relay", plex)))
            talk = ["flood", "--port", middle.port, "--clients", TALKERS, "--seconds", max(1, round(seconds))]
            load = stack.enter_context(Load(self.world.programs, talk, "crowd"))
            began, kills = time.monotonic(), 0
            while not load.has_said():
                time.sleep(1 / KILLS_PER_SECOND)
                upstreams[kills % 2].again()
                kills += 1
            said = load.phase()
            heard = measure.wait_for(lambda: (sums := ledgers.sums())[0] >= said["all"] and sums, 30) or ledgers.sums()
            took = time.monotonic() - began
            lost = sum(one - other for one, other in zip(said["said"], ledgers.greatest()))
            redelivered = measure.stats(f"{folder}/admin")["redelivered"]
        return {"per_s": heard[0] / took, "kills": kills, "messages": heard[0], "lost": lost, "disorder": heard[3], "unmarked": heard[2], "again": heard[1],
                "redelivered": redelivered}


def main():
    given = parse()
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: as in run.py
    for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signal_number, lambda number, _: sys.exit(128 + number))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    os.sync()  # pages of a program that was just built count as written memory until they are on the disk
    bench = Bench(given, World(given))
    try:
        for number in range(1, given.rounds + 1):
            bench.round(number)
    finally:
        rivals.stop_all()
    out = given.out or (f"{rivals.ROOT}/build/bench" if given.quick else f"{rivals.ROOT}/doc/bench")
    os.makedirs(out, exist_ok=True)
    result = plex_report.result(bench, began)
    plex_report.write(result, out)
    print(f"\n{plex_report.summary(result)}\n{out}/plex.md, plex.json", flush=True)
    return 1 if bench.errors else 0


if __name__ == "__main__":
    sys.exit(main())
