# SPDX-License-Identifier: Apache-2.0
"""What is measured: the scenarios, each one run of `load` against one rival, and the memory of a tree of processes."""

import contextlib
import http.client
import json
import os
import resource
import socket
import subprocess
import time

import rivals

PAIRS = 64  # the most connections a run of load opens at a time, but for the memory scenario
MANY = 1000  # pairs of the memory scenario
CARRY = 256 << 10  # bytes each way that each of them carries
HZ = os.sysconf("SC_CLK_TCK")

# name: (arguments of load, what it is). PAIRS and MANY above are said again in README.md and in the report.
LOADS = {
    "bulk1": (["bulk", "--way", "up"], "bulk, 1 connection, client to gateway"),
    "bulk1-both": (["bulk", "--way", "both"], "bulk, 1 connection, both ways at once"),
    "bulk64": (["bulk", "--way", "up", "--conns", "64"], "bulk, 64 connections, client to gateway"),
    "bulk64-both": (["bulk", "--way", "both", "--conns", "64"], "bulk, 64 connections, both ways at once"),
    "rtt": (["rtt"], "64-byte round trips, 1 connection"),
    "rtt16": (["rtt", "--conns", "16"], "64-byte round trips, 16 connections at once"),
    "rtt-1cpu": (["rtt"], "64-byte round trips, 1 connection, everything on one CPU"),
    "conns": (["rate"], "connect, a byte each way, close; one at a time"),
    "conns16": (["rate", "--conns", "16"], "connect, a byte each way, close; 16 at a time"),
    "conns-1cpu": (["rate"], "connect, a byte each way, close; one at a time, everything on one CPU"),
    "drain": (["drain", "--from", rivals.GATEWAY], "a full queue of 6400 KiB, read by a client that comes late"),
}
# Where the kernel spreads ends and middle over idle cores, waking those cores is most of a round trip, and whether it does is luck.
# On one CPU only the work counts, and runs agree within a few per cent. Both are reported.
ONE_CPU = ("rtt-1cpu", "conns-1cpu")
OTHERS = {
    "memory": f"resident memory at 0 and {MANY} pairs, and after they carried {CARRY >> 10} KiB each way",
    "start": "exec to accepting",
    "size": "size of the binary",
    "many": "10,000 relays in one process: start, memory, idle CPU, reload, and the longest stall of traffic during it",
}
SCENARIOS = {**{name: what for name, (_, what) in LOADS.items()}, **OTHERS}


class Failed(Exception):
    """A run that gave no figures; says why."""


def settings(quick):
    if quick:
        return {"rounds": 1, "seconds": 0.3, "warmup": 0.1, "starts": 5}
    return {"rounds": 5, "seconds": 0.8, "warmup": 0.2, "starts": 20}


def run_load(load, arguments, seconds, cpus=rivals.END_CPUS):
    """One run of load: its JSON object."""
    done = subprocess.run([load, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                          timeout=seconds + 60, preexec_fn=lambda: rivals.child_setup(cpus))
    if done.returncode != 0:
        raise Failed(done.stderr.strip() or f"load ended with {done.returncode}")
    return json.loads(done.stdout)


def load_run(load, scenario, running, how):
    """The scenario once against a rival that is already up. With how["patient"] in a quiet moment, as far as there are any."""
    best = None
    while True:
        began = time.monotonic()
        if how["patient"] > 0:
            wait_for_quiet(min(10.0, how["patient"]))
        before = Watch(running.pid)
        figures = load_once(load, scenario, running, how)
        figures["others"] = Watch(running.pid).others_since(before)
        how["patient"] -= time.monotonic() - began - how["seconds"]  # what was spent on quiet; 600 s for the whole bench
        if best is None or figures["others"] < best["others"]:
            best = figures
        if best["others"] < QUIET or how["patient"] <= 0:
            return best
        how["patient"] -= how["seconds"]


def load_once(load, scenario, running, how):
    arguments = [*LOADS[scenario][0], "--port", str(running.port), "--target-port", str(running.target_port),
                 "--cpu-of", str(running.pid), "--seconds", str(how["seconds"]), "--warmup", str(how["warmup"]),
                 "--lowat", str(how["lowat"])]
    one = {max(rivals.END_CPUS)} if scenario in ONE_CPU else None
    for pid in tree(running.pid):
        os.sched_setaffinity(pid, one or rivals.MIDDLE_CPUS)
    result = run_load(load, arguments, how["seconds"], one or rivals.END_CPUS)
    left = running.settle()
    if not running.alive():
        raise Failed(f"the program ended: {running.output()}")
    return {"left_open": left, **{key: value for key, value in result.items() if type(value) in (int, float)}}


def start_run(load, rival, how):
    """Exec to accepting: a median of its own, because the first start after a pause is not like the others."""
    running = rivals.Running(rival, PAIRS)  # makes folder and config; load does the starting
    try:
        result = run_load(load, ["start", "--port", str(running.port), "--count", str(how["starts"]), "--", *running.command], 60)
        return {key: result[key] for key in ("median_ms", "min_ms", "max_ms")}
    finally:
        running.stop()


def size_run(rival):
    """The file as it is, and without its symbols. Shared libraries are not counted: the report says who has them."""
    binary = os.path.realpath(rival.binary())
    sizes = {"file_bytes": os.path.getsize(binary)}
    stripped = f"/tmp/bench-strip-{os.getpid()}"
    try:
        if subprocess.run(["strip", "-o", stripped, binary], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            sizes["stripped_bytes"] = os.path.getsize(stripped)
    except FileNotFoundError:
        pass
    finally:
        if os.path.exists(stripped):
            os.remove(stripped)
    libraries = subprocess.run(["ldd", binary], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    sizes["shared_libraries"] = sum("=>" in line for line in libraries.splitlines())
    return sizes


# ---- memory ----


def tree(pid):
    """The process and its descendants; none for pid 0."""
    pids = [pid] if pid else []
    for parent in pids:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children", encoding="ascii") as children:
                    pids.extend(int(child) for child in children.read().split())
        except OSError:
            pass
    return pids


_ROLLUP = {"Rss": ["rss"], "Pss": ["pss"], "Private_Clean": ["private"], "Private_Dirty": ["private", "written"]}


def memory(pid):
    """Bytes, summed over the tree.

    Private is Private_Clean + Private_Dirty; its clean part is mostly the program's own text, which counts as private only as long
    as nobody else runs the same file. Written is Private_Dirty alone: heap, stacks, changed data; the user memory that a program costs.
    """
    sums = {"rss": 0, "pss": 0, "private": 0, "written": 0}
    for each in tree(pid):
        try:
            with open(f"/proc/{each}/smaps_rollup", encoding="ascii") as lines:
                for line in lines:
                    key, _, rest = line.partition(":")
                    for into in _ROLLUP.get(key, ()):
                        sums[into] += int(rest.split()[0]) * 1024
        except OSError:
            pass
    return sums


def settled_memory(pid, seconds=3.0):
    """Memory once it has stood still for a quarter of a second, or after SECONDS of waiting for that."""
    until = time.monotonic() + seconds
    last, still = memory(pid), 0
    while still < 5 and time.monotonic() < until:
        time.sleep(0.05)
        now = memory(pid)
        still = still + 1 if now == last else 0
        last = now
    return last


def memory_run(load, rival):
    """0 pairs, MANY idle pairs, the same after traffic, and after all have closed.

    What the first pair costs for ever (a process-wide buffer, the first pages of the heap) is no cost of a pair: one pair has come,
    carried its traffic and gone before "a pair" is reckoned.
    """
    figures = {}

    def take(phase):
        for kind, value in settled_memory(running.pid).items():
            figures[f"{kind}_{phase}"] = value

    with rivals.Running(rival, MANY) as running:
        take("0")
        hold(load, running, 1, {"closed": lambda: take("first")})
        hold(load, running, MANY, {phase: lambda phase=phase: take(phase) for phase in ("open", "carried", "closed")})
        if not running.alive():
            raise Failed(f"the program ended: {running.output()}")
    figures["pair_bytes"] = (figures["written_open"] - figures["written_first"]) / MANY
    figures["pair_bytes_carried"] = (figures["written_carried"] - figures["written_first"]) / MANY
    return figures


def hold(load, running, pairs, at):
    """PAIRS are opened, carry their traffic and are closed; at[phase] is called when that has been done."""
    # pylint: disable-next=consider-using-with
    holder = subprocess.Popen([load, "hold", "--conns", str(pairs), "--bytes", str(CARRY), "--port", str(running.port),
                               "--target-port", str(running.target_port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, preexec_fn=lambda: rivals.child_setup(rivals.END_CPUS))
    try:
        for phase in ("open", "carried", "closed"):
            if not holder.stdout.readline():  # load itself gives up after 30 s without progress
                raise Failed(f"{pairs} pairs, {phase}: {holder.stderr.read().strip() or 'load ended'}")
            if phase == "closed" and running.settle():
                raise Failed(f"{pairs} pairs: some are still open 3 s after both ends closed them")
            at.get(phase, lambda: None)()
            holder.stdin.write("\n")
            holder.stdin.flush()
    finally:
        holder.kill()
        holder.communicate()


# ---- the machine ----

QUIET = 0.10  # of the machine used by others: about what cannot be told from the noise of a run of a second


def wait_for(condition, seconds):
    """What the condition says, as soon as that is true; or after so many seconds."""
    until = time.monotonic() + seconds
    while not (answer := condition()) and time.monotonic() < until:
        time.sleep(0.01)
    return answer


class _Admin(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def stats(path):
    """What the one relay counts whose admin socket that is."""
    with contextlib.closing(_Admin(path)) as admin:
        admin.request("GET", "/status?connections=0")
        return json.loads(admin.getresponse().read())["relays"][0]["stats"]


class Watch:
    """A moment, by which to tell how much of the machine others used since an earlier one."""

    def __init__(self, middle=0):
        self.time = time.monotonic()
        with open("/proc/stat", encoding="ascii") as stat:
            user, nice, system, _idle, _wait, irq, softirq, steal = (int(word) for word in stat.readline().split()[1:9])
        self.busy = (user + nice + system + irq + softirq + steal) / HZ
        self.own = sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
        for pid in tree(middle):
            try:
                self.own += time.clock_gettime((~pid << 3) | 2)  # the process's CPU clock, as clock_getcpuclockid(3) makes it
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
                    self.own += sum(map(int, stat.read().rpartition(")")[2].split()[13:15])) / HZ  # of children it has reaped
            except OSError:
                pass

    def others_since(self, then):
        used = (self.busy - then.busy) - (self.own - then.own)
        return max(0.0, used / ((self.time - then.time) * os.cpu_count()))


class Rounds:
    """The figures so far: runs[scenario][who][metric] is a list, one value a round."""

    def __init__(self, given, world):
        self.given, self.world = given, world
        self.runs, self.errors = {}, []
        self.began = time.monotonic()

    def note(self, number, scenario, who, work):
        """One run and its figures; a failure is noted and the bench goes on."""
        try:
            before = Watch()
            figures = work()
            figures["others"] = Watch().others_since(before)
        except (Failed, RuntimeError, OSError, subprocess.SubprocessError) as why:
            self.errors.append(f"round {number}, {scenario}, {who}: {why}")
            print(f"FAILED {self.errors[-1]}", flush=True)
            return
        into = self.runs.setdefault(scenario, {}).setdefault(who, {})
        for metric, value in figures.items():
            into.setdefault(metric, []).append(value)
        shown = ", ".join(f"{metric} {value:.6g}" for metric, value in figures.items() if metric != "others" and value is not None)
        print(f"[{time.monotonic() - self.began:4.0f} s] {number}/{self.given.rounds} {scenario:20} {who:16} {shown}", flush=True)


def wait_for_quiet(seconds):
    """Until others leave the machine alone for a fifth of a second, or SECONDS have passed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        before = Watch()
        time.sleep(0.2)
        if Watch().others_since(before) < QUIET:
            return


def machine():
    def first(path, key):
        with open(path, encoding="utf-8") as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "?")

    about = os.uname()
    system = "?"
    if os.path.exists("/etc/os-release"):
        with open("/etc/os-release", encoding="utf-8") as lines:
            system = next((line.split("=", 1)[1].strip().strip('"') for line in lines if line.startswith("PRETTY_NAME=")), "?")
    return {"cores": len(os.sched_getaffinity(0)), "cpu": first("/proc/cpuinfo", "model name"),
            "kernel": f"{about.sysname} {about.release} {about.machine}",
            "memory_gb": round(int(first("/proc/meminfo", "MemTotal").split()[0]) / 1e6, 1), "system": system}
