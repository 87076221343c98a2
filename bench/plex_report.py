# SPDX-License-Identifier: Apache-2.0
"""What the figures of plex_run.py say: medians, ratios and bars, as JSON and as Markdown."""

import json
import statistics

import measure
import report

MB = 1024 * 1024

# what, scenario, metric, ours, compared with (None: the figure itself), how, limit. The measure is ours / theirs.
BARS = [
    ("echo, 1,000 clients, a second", "echo 1000 h2", "per_s", None, "at least", 150_000),
    ("echo, 1,000 clients, a CPU second", "echo 1000 h2", "per_cpu_s", "grpc proxy", "at least", 2.5),
    ("echo, 1,000 clients, a CPU second, upstream by gRPC C++", "echo 1000 grpc", "per_cpu_s", "grpc proxy", "at least", 2.5),
    ("echo, 1 client, p50", "echo 1 h2", "p50_us", None, "at most", 40),
    ("echo, 1 client, p50, all on one CPU", "echo 1 h2, 1 CPU", "p50_us", None, "at most", 40),
    ("leg, 64 under way, a CPU second", "leg 64 grpc", "per_cpu_s", None, "at least", 300_000),
    ("leg, 1,024 under way, a CPU second", "leg 1024 grpc", "per_cpu_s", None, "at least", 1_000_000),
    ("an idle client, only connected", "idle", "bytes", None, "at most", 256),
    ("an idle client, after an answer", "idle", "bytes_carried", None, "at most", 256),
    ("idle CPU", "idle", "idle_percent", None, "under", 1),
    ("broadcast, clients a second", "idle", "broadcast_per_s", None, "at least", 83_000),
    ("60 MB at a stalled upstream, memory", "stalled upstream", "most_bytes", None, "under", 16 * MB),
    ("60 MB by a stalled client, memory", "stalled client", "most_bytes", None, "under", 16 * MB),
    ("upstreams killed, acknowledgement on, a second", "killed", "per_s", None, "at least", 50_000),
    ("the same, messages lost", "killed", "lost", None, "at most", 0),
    ("the same, out of order", "killed", "disorder", None, "at most", 0),
    ("the same, again and not marked so", "killed", "unmarked", None, "at most", 0),
]
UNITS = {"per_s": "", "per_cpu_s": "", "p50_us": "µs", "bytes": "B", "bytes_carried": "B", "idle_percent": "%", "broadcast_per_s": "", "most_bytes": "MiB",
         "lost": "", "disorder": "", "unmarked": ""}
WORST = ("ended", "lost", "disorder", "unmarked")  # for these it is not the median of the rounds that counts


def median(runs, scenario, name, metric):
    values = [value for value in runs.get(scenario, {}).get(name, {}).get(metric, []) if value is not None]
    if metric in WORST and values:
        return max(values)
    return statistics.median(values) if values else None


def bars(runs):
    rows = []
    for what, scenario, metric, other, how, limit in BARS:
        ours = median(runs, scenario, "relay", metric)
        theirs = median(runs, scenario, other, metric) if other else 1
        measured = ours / theirs if ours is not None and theirs else None
        met = None
        if measured is not None:
            met = measured >= limit if how == "at least" else measured <= limit if how == "at most" else measured < limit
        unit = "x" if other else UNITS[metric]
        rows.append({"what": what, "against": other, "bar": f"{how} {text(limit, unit)}", "measured": measured, "unit": unit, "met": met})
    return rows


def text(value, unit):
    if value is None:
        return "-"
    if unit == "MiB":
        return f"{value / MB:.3g} MiB"
    if unit == "x":
        return f"{value:.3g}x"
    return f"{value:,.0f}{' ' if unit else ''}{unit}" if value >= 100 else f"{value:.3g}{' ' if unit else ''}{unit}"


def result(bench, began):
    everybody = {**bench.world.rivals, **{f"upstream {name}": rival for name, rival in bench.world.upstreams.items()}}
    described = {name: {"version": rival.version(), "note": rival.note} for name, rival in everybody.items()}
    about = report.about(bench, began, measure.machine(), rounds=bench.given.rounds, quick=bench.given.quick)
    return {"about": about, "rivals": described, "bars": bars(bench.runs), "failed": bench.errors, "runs": bench.runs}


def summary(found):
    return report.summary(found, lambda row: text(row["measured"], row["unit"]), (70, 20))


# title, the scenarios' first word, columns: title, metric, decimals, factor
TABLES = [
    ("Echo: clients with one message of 64 bytes under way each", "echo",
     [("round trips a second", "per_s", 0, 1), ("a CPU second of the program", "per_cpu_s", 0, 1), ("its CPU, µs", "cpu_us", 2, 1),
      ("the upstream's", "upstream_us", 2, 1), ("the clients'", "load_us", 2, 1), ("p50 µs", "p50_us", 1, 1), ("p99 µs", "p99_us", 1, 1)]),
    ("Leg: HTTP/2 and codec alone, 64 bytes, with so many under way", "leg", [("round trips a second", "per_s", 0, 1), ("a CPU second", "per_cpu_s", 0, 1)]),
    ("Idle clients", "idle",
     [("clients", "clients", 0, 1), ("written B a client, only connected", "bytes", 0, 1), ("after an answer each", "bytes_carried", 0, 1),
      ("idle CPU, %", "idle_percent", 3, 1), ("broadcast, clients a second", "broadcast_per_s", 0, 1), ("the slowest of five", "broadcast_worst_per_s", 0, 1)]),
    ("60 MB pushed at who does not read", "stalled",
     [("MB taken, kernel's queues and all", "taken", 1, 1e-6), ("most memory, MiB", "most_bytes", 1, 1 / MB),
      ("when it goes on", "most_bytes_later", 1, 1 / MB), ("clients ended, at worst", "ended", 0, 1), ("echoed then, MB a second", "mb_per_s_later", 0, 1)]),
    ("Two upstreams with acknowledgement, one of which is killed all the time", "killed",
     [("messages a second", "per_s", 0, 1), ("messages", "messages", 0, 1), ("kills", "kills", 0, 1), ("redelivered", "redelivered", 0, 1),
      ("of these heard before", "again", 0, 1), ("lost, at worst", "lost", 0, 1), ("out of order", "disorder", 0, 1), ("again, not marked", "unmarked", 0, 1)]),
]


def tables(runs):
    lines = []
    for title, first, columns in TABLES:
        rows = [[scenario, name, *[report.cell(None if (value := median(runs, scenario, name, metric)) is None else value * factor, 1, decimals)
                                   for _, metric, decimals, factor in columns]]
                for scenario, by_name in runs.items() if scenario.split()[0] == first for name in sorted(by_name, reverse=True)]
        if rows:
            lines += [f"## {title}", ""] + report.table(["", "", *[column[0] for column in columns]], rows) + [""]
    return lines


def markdown(found):
    about = found["about"]
    used = about["used_by_others"]
    lines = [
        "# Results of the plex' bench", "",
        "Written by `make bench-plex`; how it is measured is in `bench/README.md`. Absolute figures move with the machine: compare ratios.", "",
        f"- {about['began']}, revision {about['revision']}",
        f"- {about['cores']} cores of {about['cpu']}, {about['memory_gb']:g} GB, {about['kernel']}, {about['system']}",
        f"- {about['rounds']} interleaved round{'s' * (about['rounds'] != 1)}; figures are medians of the rounds",
        f"- used by other processes and the host during a run: median {used['median']:.0%}, worst {used['worst']:.0%} of the machine",
    ]
    if about["rounds"] < 5:
        lines.append("- fewer than 5 rounds: an indication, not a result")
    shown = [row for row in found["bars"] if row["met"] is not None]
    if shown:
        lines += ["", "## Bars", ""]
        lines += report.table(["what", "against", "bar", "measured", ""],
                              [[row["what"], row["against"] or "", row["bar"], text(row["measured"], row["unit"]), report.verdict(row)] for row in shown])
    lines += ["", *tables(found["runs"]), "## Who was measured", ""]
    lines += report.table(["", "version", "how"], [[name, r["version"] or "-", r["note"]] for name, r in found["rivals"].items()]) + [""]
    if found["failed"]:
        lines += ["## Failed runs", ""] + [f"- {error}" for error in found["failed"]] + [""]
    return "\n".join(lines)


def write(found, folder):
    with open(f"{folder}/plex.json", "w", encoding="utf-8") as out:
        json.dump(found, out, indent=1)
        out.write("\n")
    with open(f"{folder}/plex.md", "w", encoding="utf-8") as out:
        out.write(markdown(found))
