#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the relay beside its rivals and writes results.json, results.md and results.svg. See README.md in this folder."""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time

import many
import measure
import plot
import report
import rivals

FLAGS = "-std=c++20 -O2 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Werror".split()
HERE = os.path.dirname(os.path.abspath(__file__))


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                epilog="scenarios:\n" + "\n".join(f"  {name:12} {what}" for name, what in measure.SCENARIOS.items()))
    p.add_argument("--quick", action="store_true", help="a smoke test: one short round, results in build/bench")
    p.add_argument("--rounds", type=int, help="interleaved rounds (5)")
    p.add_argument("--seconds", type=float, help="of each run, after 0.2 s that do not count (0.8)")
    p.add_argument("--only", help="scenarios, with commas between")
    p.add_argument("--rivals", help="rivals, with commas between; --program adds to them")
    p.add_argument("--program", action="append", default=[], metavar="NAME=COMMAND",
                   help="one more rival; {listen} {port} {target} {target_port} {pairs} in COMMAND are filled in; "
                        "it must stay in the foreground")
    p.add_argument("--relay", default=f"{rivals.ROOT}/bin/relay", help="our binary (bin/relay)")
    p.add_argument("--load", help="a load generator that is already built")
    p.add_argument("--lowat", type=int, default=256 << 10, help="bytes that a bulk receiver waits for (262144; 1: the kernel's default)")
    p.add_argument("--pin", action="store_true",
                   help="ends on the first CPU, the program between them on the last (default: the kernel decides)")
    p.add_argument("--patient", action="store_true",
                   help="on a busy machine: wait for quiet moments and repeat what others disturbed, for at most ten minutes in all")
    p.add_argument("--out", help="folder of the results (doc/bench)")
    return p.parse_args()


def build(name, *headers):
    """Compiles a program of this folder when it is newer than what was compiled last; under build/, so that the tree stays clean."""
    binary = f"{rivals.ROOT}/build/bench/{name}"
    sources = [f"{HERE}/{name}.cpp", *[f"{HERE}/{header}" for header in headers]]
    if not os.path.exists(binary) or os.path.getmtime(binary) < max(map(os.path.getmtime, sources)):
        os.makedirs(os.path.dirname(binary), exist_ok=True)
        print(f"building bench/{name}.cpp", flush=True)
        subprocess.run([os.environ.get("CXX", "g++"), *FLAGS, sources[0], "-o", binary], check=True)
    return binary


def fail(text):
    print(f"bench: {text}", file=sys.stderr)
    sys.exit(2)


def choose(args):
    """The scenarios and rivals asked for."""
    scenarios = args.only.split(",") if args.only else list(measure.SCENARIOS)
    everybody = rivals.known(args.relay)
    names = args.rivals.split(",") if args.rivals else list(everybody)
    for name in [s for s in scenarios if s not in measure.SCENARIOS]:
        fail(f"--only: no scenario {name}; there are {', '.join(measure.SCENARIOS)}")
    for text in args.program:
        name, equals, command = text.partition("=")
        if not (name and equals and command):
            fail("--program NAME=COMMAND, e.g. --program 'mine=./mine {port} {target}'")
        everybody[name] = rivals.Rival(name, command, note=command)
        if name not in names:
            names.append(name)
    for name in [n for n in names if n not in everybody]:
        fail(f"--rivals: no rival {name}; there are {', '.join(everybody)}")
    chosen = []
    for name in names:
        missing = everybody[name].missing()
        if missing:
            print(f"left out: {name}: {missing}", flush=True)
        else:
            chosen.append(everybody[name])
    return scenarios, chosen


def fits(scenario, rival):
    if scenario == "drain":
        return rival.queue
    if scenario == "many":
        return rival.name in many.PROGRAMS
    return not rival.direct or scenario not in measure.OTHERS


class Bench:
    """The figures so far: runs[scenario][rival][metric] is a list, one value a round."""

    def __init__(self, load, how, scenarios, chosen):
        self.load, self.how, self.scenarios, self.rivals = load, how, scenarios, chosen
        self.runs = {scenario: {} for scenario in scenarios}
        self.patient = how["patient"] > 0
        self.errors = []
        self.remarks = []
        self.began = time.monotonic()

    def note(self, scenario, rival, figures):
        into = self.runs[scenario].setdefault(rival.name, {})
        for metric, value in figures.items():
            into.setdefault(metric, []).append(value)

    def guarded(self, round_number, scenario, rival, run):
        """One run and its figures; a failure is noted and the bench goes on."""
        try:
            figures = run()
        except (measure.Failed, RuntimeError, OSError, subprocess.TimeoutExpired) as why:
            self.errors.append(f"round {round_number}, {scenario}, {rival.name}: {why}")
            print(f"FAILED {self.errors[-1]}", flush=True)
            return None
        self.note(scenario, rival, figures)
        print(f"[{time.monotonic() - self.began:4.0f} s] {round_number}/{self.how['rounds']} {scenario:12} {rival.name:15} "
              f"{report.brief(scenario, figures)}", flush=True)
        return figures

    def remark(self, text):
        """Something odd that did not cost a figure."""
        self.remarks.append(text)
        print(f"REMARK {text}", flush=True)

    def one_round(self, number):
        up = {}
        try:
            for rival in self.rivals:
                self.begin(rival, up, number)
            for i, scenario in enumerate(s for s in self.scenarios if s in measure.LOADS):
                shift = (number + i) % len(self.rivals)  # nobody is always the first or always behind the same one
                for rival in self.rivals[shift:] + self.rivals[:shift]:
                    if rival.name not in up or not fits(scenario, rival):
                        continue
                    figures = self.guarded(number, scenario, rival,
                                           lambda s=scenario, r=rival: measure.load_run(self.load, s, up[r.name], self.how))
                    if figures and figures["left_open"]:
                        self.remark(f"round {number}, {scenario}, {rival.name}: {figures['left_open']} sockets "
                                    "still open 3 s after both ends were gone")
                    if not figures or figures["left_open"]:  # what was left behind must not disturb the next run
                        up.pop(rival.name).stop()
                        self.begin(rival, up, number)
        finally:
            for running in up.values():
                running.stop()
        for rival in self.rivals:
            if "memory" in self.scenarios and fits("memory", rival):
                self.guarded(number, "memory", rival, lambda r=rival: measure.memory_run(self.load, r))
            if "start" in self.scenarios and fits("start", rival):
                self.guarded(number, "start", rival, lambda r=rival: measure.start_run(self.load, r, self.how))
            if "many" in self.scenarios and fits("many", rival):
                self.guarded(number, "many", rival, lambda r=rival: many.run(r, self.how["rounds"] == 1))

    def begin(self, rival, up, number):
        try:
            up[rival.name] = rivals.Running(rival, measure.PAIRS).__enter__()
        except RuntimeError as why:
            self.errors.append(f"round {number}: {why}")
            print(f"FAILED {self.errors[-1]}", flush=True)


def main():
    args = parse()
    # Whatever ends us, the rivals end too; their orphans come to us (prctl 36: child subreaper), so that they are waited for.
    ctypes.CDLL(None).prctl(36, 1)
    for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signal_number, lambda number, _: sys.exit(128 + number))
    how = measure.settings(args.quick)
    how.update({key: value for key, value in (("rounds", args.rounds), ("seconds", args.seconds)) if value is not None})
    how.update(pinned=args.pin, lowat=args.lowat, patient=600.0 if args.patient else 0.0)
    if args.pin:
        rivals.pin()
    scenarios, chosen = choose(args)
    if not chosen:
        fail("no rival is left")
    load = args.load or build("load", "ends.h")
    bench = Bench(load, how, scenarios, chosen)
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    try:
        if "size" in scenarios:
            for rival in [r for r in chosen if not r.direct]:
                bench.guarded(1, "size", rival, lambda r=rival: measure.size_run(r))
        for number in range(1, how["rounds"] + 1):
            bench.one_round(number)
    finally:
        rivals.stop_all()
    out = args.out or (f"{rivals.ROOT}/build/bench" if args.quick else f"{rivals.ROOT}/doc/bench")
    os.makedirs(out, exist_ok=True)
    results = report.results(bench, began, measure.machine())
    report.write(results, out)
    plot.write(results, f"{out}/results.svg")
    print(f"\n{report.summary(results)}\n{out}/results.md, results.json, results.svg", flush=True)
    return 1 if bench.errors else 0


if __name__ == "__main__":
    sys.exit(main())
