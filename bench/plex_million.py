#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A million idle clients of one plex with many workers, both ends on this machine, in a network namespace of its own. See README.md in this folder."""

import argparse
import contextlib
import ctypes
import fcntl
import json
import math
import os
import resource
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import measure
import report
import rivals

PROGRAMS = f"{rivals.ROOT}/build/plex"
INSIDE = "RELAY_BENCH_INSIDE"
PAIR = 12_000  # bytes of memory for a pair, the kernel's and ours, and some to spare
SETTINGS = {"net/ipv4/ip_local_port_range": "1024 65535", "net/core/somaxconn": "65535", "net/ipv4/tcp_max_syn_backlog": "65535",
            "net/ipv4/tcp_max_tw_buckets": "2000000"}
BARS = [("user memory of an idle client, only connected, B", "bytes", "at most", 256), ("the same after an answer each, B", "bytes_carried", "at most", 256),
        ("idle CPU, % of one", "idle_percent", "under", 1), ("a broadcast, s", "broadcast_s", "at most", 1.2)]


def parse():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--clients", type=int, default=1_000_000, help="in all (1000000)")
    p.add_argument("--broadcast-to", type=int, default=100_000, help="how many of these stay for the broadcasts (100000)")
    p.add_argument("--workers", type=int, help="processes of the relay (as many as the limit of descriptors wants)")
    p.add_argument("--seconds", type=float, default=20, help="for which they are idle (20)")
    p.add_argument("--relay", default=f"{rivals.ROOT}/bin/relay", help="our binary (bin/relay)")
    p.add_argument("--programs", default=PROGRAMS, help="the folder of the bench's own programs (build/plex)")
    p.add_argument("--out", default=f"{rivals.ROOT}/doc/bench", help="folder of the results (doc/bench)")
    given = p.parse_args()
    given.descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = given.descriptors - 500  # of one process
    given.workers = given.workers or (1 if given.clients <= most else math.ceil(given.clients * 1.1 / most))  # they are dealt out by chance
    given.crowds = most
    given.broadcast_to = min(given.broadcast_to, given.clients)
    return given


def check(given):
    """What is asked for would fit."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    with open("/proc/sys/fs/file-max", encoding="ascii") as text:
        files = int(text.read())
    if available < given.clients * PAIR:
        raise SystemExit(f"{given.clients} clients need {given.clients * PAIR >> 20} MiB of memory, {available >> 20} are available")
    if files < given.clients * 2.1:
        raise SystemExit(f"{given.clients} clients need fs.file-max of {given.clients * 2.1:.0f}, it is {files}")


def go_inside():
    """Starts itself again in a network namespace of its own, which takes root."""
    try:
        os.execvpe("unshare", ["unshare", "-n", sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})
    except OSError as why:
        raise SystemExit(f"unshare -n: {why}") from None


def set_up():
    """Loopback up, and limits that are the namespace's own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x41))  # SIOCSIFFLAGS: up, running
    for name, value in SETTINGS.items():
        try:
            with open(f"/proc/sys/{name}", "w", encoding="ascii") as file:
                file.write(value)
        except OSError as why:
            print(f"sysctl {name}: {why}", flush=True)


class Crowd:
    """A process of crowd.cpp with some of the clients."""

    def __init__(self, given, number, port, clients):
        self.clients = clients
        words = ["hold", "--port", port, "--from", f"127.1.{number // 250}.{number % 250 + 1}", "--clients", clients, "--patience", 60]
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen([f"{given.programs}/crowd", *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        preexec_fn=lambda: rivals.child_setup(rivals.END_CPUS))

    def tell(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()

    def answer(self, key=None):
        """What it says next; with `key`, that all of its clients are meant."""
        if not select.select([self.process.stdout], [], [], 300)[0]:
            raise measure.Failed("a crowd says nothing for 300 s")
        line = self.process.stdout.readline()
        if not line:
            raise measure.Failed(f"a crowd has ended: {self.process.wait()}")
        said = json.loads(line)
        if key and (said[key] != self.clients or said.get("wrong") or said.get("gone")):
            raise measure.Failed(f"of {self.clients} clients: {line.strip()}")
        return said

    def stop(self):
        self.process.kill()
        self.process.communicate()


class Run:
    def __init__(self, given, stack):
        self.given, self.crowds = given, []
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        self.admin = f"{folder}/admin"
        self.upstream = stack.enter_context(rivals.Running(rivals.Rival("h2", [f"{given.programs}/h2_echo", "{port}"])))
        plex = [given.relay, "plex", "--listen", "127.0.0.1:{port}", "--upstream", f"grpc://127.0.0.1:{self.upstream.port}",
                "--clients", str(given.clients + 1000), "--log-level", "warn", "--admin", f"unix:{self.admin}"]
        if given.workers > 1:
            plex += ["--workers", str(given.workers)]
        self.relay = stack.enter_context(rivals.Running(rivals.Rival("relay", plex)))
        stack.callback(self.stop_crowds)

    def stop_crowds(self):
        for crowd in self.crowds:
            crowd.stop()
        self.crowds = []

    def note(self, text):
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    def memory(self):
        return measure.settled_memory(self.relay.pid, 10.0)["written"]

    def stats(self):
        """Of the relay, all workers together."""
        return measure.stats(self.admin)

    def wait_clients(self, number):
        if not measure.wait_for(lambda: self.stats()["clients"] == number, 120):
            raise measure.Failed(f"{self.stats()['clients']} clients, not {number}")

    def come(self, clients):
        """So many more, a few processes at a time."""
        while clients > 0:
            some = []
            for _ in range(4):
                if (share := min(clients, self.given.crowds)) > 0:
                    some.append(Crowd(self.given, len(self.crowds), self.relay.port, share))
                    self.crowds.append(some[-1])
                    clients -= share
            for crowd in some:
                crowd.answer("open")

    def echo(self):
        """All at once would be more than the one upstream is there for."""
        for first in range(0, len(self.crowds), 4):
            for crowd in self.crowds[first : first + 4]:
                crowd.tell("echo")
            for crowd in self.crowds[first : first + 4]:
                crowd.answer("echoed")

    def cpu(self):
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in measure.tree(self.relay.pid))

    def broadcast(self, number):
        """From the word of one client to the last byte of the last one."""
        first, *others = self.crowds
        for crowd in others:
            crowd.tell(f"expect {number}")
        first.tell(f"say {number}")
        began = first.answer()["at_ns"]
        first.tell(f"expect {number}")
        return (max(crowd.answer("heard")["at_ns"] for crowd in self.crowds) - began) / 1e9

    def all(self):
        given = self.given
        if not measure.wait_for(lambda: self.stats()["upstreams"] >= 1, 60):
            raise measure.Failed("no upstream is up")
        self.come(min(given.clients, 50 * given.workers))  # what the first ones of each worker cost for ever
        self.echo()
        self.stop_crowds()
        self.wait_clients(0)
        empty, kernel = self.memory(), available()
        self.note(f"{given.workers} workers, {empty >> 10} KiB written by all; {given.clients} clients come")

        began = time.monotonic()
        self.come(given.broadcast_to)
        staying = len(self.crowds)
        self.come(given.clients - given.broadcast_to)
        self.wait_clients(given.clients)
        opened = time.monotonic() - began
        figures = {"clients": given.clients, "workers": given.workers, "processes": len(measure.tree(self.relay.pid)), "open_s": opened, "empty_bytes": empty,
                   "bytes": (self.memory() - empty) / given.clients, "machine_bytes": (kernel - available()) / given.clients}
        self.note(f"all there after {opened:.1f} s, {figures['bytes']:.0f} B written each, {figures['machine_bytes']:.0f} B of the machine's memory each")
        self.echo()
        figures["bytes_carried"] = (self.memory() - empty) / given.clients
        self.note(f"each has had an answer: {figures['bytes_carried']:.0f} B written each; now they are idle")

        began, cpu = time.monotonic(), self.cpu()
        time.sleep(given.seconds)
        figures["idle_percent"] = (self.cpu() - cpu) / (time.monotonic() - began) * 100
        self.note(f"idle CPU of all workers {figures['idle_percent']:.2f} %; {given.clients - given.broadcast_to} go")

        for crowd in self.crowds[staying:]:
            crowd.stop()
        self.crowds = self.crowds[:staying]
        self.wait_clients(given.broadcast_to)
        took = [self.broadcast(number) for number in range(1, 6)]
        figures |= {"broadcast_to": given.broadcast_to, "broadcast_s": statistics.median(took), "broadcast_worst_s": max(took)}
        self.note(f"broadcast to {given.broadcast_to}: {figures['broadcast_s']:.3f} s, the slowest of five {figures['broadcast_worst_s']:.3f} s")
        return figures


def available():
    with open("/proc/meminfo", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def write(given, figures, others, began):
    about = {"began": began, "revision": report.git_version(), **measure.machine(), "used_by_others": round(others, 3)}
    bars = []
    for what, metric, how, limit in BARS:
        measured = figures[metric]
        bars.append({"what": what, "bar": f"{how} {limit}", "measured": measured, "met": measured <= limit if how == "at most" else measured < limit})
    os.makedirs(given.out, exist_ok=True)
    with open(f"{given.out}/plex-million.json", "w", encoding="utf-8") as out:
        json.dump({"about": about, "bars": bars, "figures": figures}, out, indent=1)
        out.write("\n")
    lines = ["# Very many clients of one plex", "", "Written by `bench/plex_million.py`; how it is measured is in `bench/README.md`.", "",
             f"- {about['began']}, revision {about['revision']}",
             f"- {about['cores']} cores of {about['cpu']}, {about['memory_gb']:g} GB, {about['kernel']}, {about['system']}",
             f"- used by other processes and the host meanwhile: {others:.0%} of the machine",
             f"- {figures['clients']:,} clients, {figures['workers']} workers, {figures['processes']} processes of the relay; all had come after "
             f"{figures['open_s']:.1f} s; {figures['machine_bytes']:,.0f} B of the machine's memory for each pair of ends, the kernel's included",
             f"- the processes had written {figures['empty_bytes'] / 1e6:.1f} MB before the first client came, which is not counted below",
             f"- broadcasts of 64 B to {figures['broadcast_to']:,} clients, the others gone; the slowest of five took {figures['broadcast_worst_s']:.2f} s", ""]
    lines += report.table(["what", "bar", "measured", ""],
                          [[bar["what"], bar["bar"], f"{bar['measured']:.3g}", "ok" if bar["met"] else "MISSED"] for bar in bars])
    with open(f"{given.out}/plex-million.md", "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
    for bar in bars:
        print(f"{'ok    ' if bar['met'] else 'MISSED'} {bar['what']:55} {bar['bar']:14} measured {bar['measured']:.3g}")
    print(f"{given.out}/plex-million.md, plex-million.json")


def main():
    given = parse()
    if INSIDE not in os.environ:
        check(given)
        go_inside()
    set_up()
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: as in run.py
    for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signal_number, lambda number, _: sys.exit(128 + number))
    resource.setrlimit(resource.RLIMIT_NOFILE, (given.descriptors, given.descriptors))
    began, watch = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), measure.Watch()
    try:
        with contextlib.ExitStack() as stack:
            figures = Run(given, stack).all()
    except (measure.Failed, RuntimeError, OSError) as why:
        print(f"FAILED: {why}", flush=True)
        return 1
    finally:
        rivals.stop_all()
    write(given, figures, measure.Watch().others_since(watch), began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
