# SPDX-License-Identifier: Apache-2.0
"""What the figures of redis_run.py say: medians, ratios and bars, as JSON and as Markdown."""

import json
import statistics

import measure
import report

SMART, READ_QUEUED, SYNC = "relay smart", "relay smart, readQueued", "relay sync"

# what, scenario, metric, ours, compared with (None: the figure itself), how, limit. The measure is ours / theirs; theirs / ours for "times faster".
BARS = [
    *[(f"script without GET, {many}", f"noget 500 x{count}", "us", SMART, "direct", "times faster", limit)
      for many, count, limit in (("one process", 1, 45), ("two processes", 2, 30))],
    ("script with GET", "get 500 x1", "us", SMART, "direct", "times faster", 8),
    ("script with GET, readQueued", "get 500 x1", "us", READ_QUEUED, "direct", "times faster", 25),
    *[row for ours in (SYNC, SMART) for command in ("SET", "GET") for row in (
        (f"{command} P16 64 B, CPU", f"{command} P16 64 B", "cpu_us", ours, None, "at most", 0.8),
        (f"{command} P16 64 B, a second", f"{command} P16 64 B", "per_s", ours, "nutcracker", "at least", 1.6),
        (f"{command} P1 64 B, CPU", f"{command} P1 64 B", "cpu_us", ours, "nutcracker", "at most", 1.0),
        (f"{command} P1 64 B, a second", f"{command} P1 64 B", "per_s", ours, "nutcracker", "at least", 1.0),
        (f"{command} P16 10 kB, CPU", f"{command} P16 10 kB", "cpu_us", ours, None, "at most", 4.5),
    )],
    *[(f"an idle client, {when}", "idle", metric, ours, None, "under", 1024)
      for ours in (SYNC, SMART) for metric, when in (("bytes", "only connected"), ("bytes_served", "after a kilobyte each way"))],
]
UNITS = {"cpu_us": "µs", "bytes": "B", "bytes_served": "B"}


def median(runs, scenario, name, metric):
    values = runs.get(scenario, {}).get(name, {}).get(metric)
    return statistics.median(values) if values else None


def bars(runs):
    rows = []
    for what, scenario, metric, name, other, how, limit in BARS:
        ours = median(runs, scenario, name, metric)
        theirs = median(runs, scenario, other, metric) if other else 1
        measured = None
        if ours and theirs:
            measured = theirs / ours if how == "times faster" else ours / theirs
        met = None
        if measured is not None:
            met = measured >= limit if how in ("times faster", "at least") else measured <= limit if how == "at most" else measured < limit
        unit = "x" if other else UNITS[metric]
        bar = f"{limit}x faster" if how == "times faster" else f"{how} {limit}{'' if other else ' ' + unit}"
        rows.append({"what": what, "who": name, "against": other, "bar": bar, "measured": measured, "unit": unit, "met": met})
    return rows


def result(bench, began):
    described = {name: {"version": rival.version(), "note": rival.note} for name, rival in bench.world.rivals.items()}
    about = report.about(bench, began, measure.machine(), rounds=bench.given.rounds, quick=bench.given.quick)
    return {"about": about, "rivals": described, "bars": bars(bench.runs), "failed": bench.errors, "runs": bench.runs}


def measured_text(row):
    if row["measured"] is None:
        return "-"
    return f"{row['measured']:.0f} B" if row["unit"] == "B" else f"{row['measured']:.2f}" + ("" if row["unit"] == "x" else f" {row['unit']}")


def summary(found):
    return report.summary(found, measured_text, (62, 16))


def script_tables(runs, names):
    """One for each script and number of processes: µs a turn by delay, and how much faster than direct."""
    lines = []
    titles = {"noget": "without GET, PHP", "get": "with GET and a new connection each turn, PHP", "noget.py": "without GET, Python", "get.py": "with GET, Python"}
    for script, title in titles.items():
        for count in (1, 2):
            found = sorted({int(scenario.split()[1]) for scenario in runs if scenario.split()[0] == script and scenario.endswith(f" x{count}")})
            if not found:
                continue
            rows = []
            for name in names:
                for metric, suffix in (("us", ""), ("us_tcp", ", TCP")):
                    row, any_value = [name + suffix], False
                    for delay in found:
                        ours, direct = (median(runs, f"{script} {delay} x{count}", *who) for who in ((name, metric), ("direct", "us")))
                        any_value = any_value or ours is not None
                        faster = f" ({direct / ours:.1f}x)" if ours and direct and name != "direct" else ""
                        row.append(report.cell(ours) + faster)
                    if any_value:
                        rows.append(row)
            rows += [[f"{name}: its CPU", *[report.cell(median(runs, f"{script} {delay} x{count}", name, "cpu_us")) for delay in found]] for name in names
                     if any(median(runs, f"{script} {delay} x{count}", name, "cpu_us") for delay in found)]
            processes = "one process" if count == 1 else "two processes at once"
            lines += [f"## Script {title}, {processes}: µs a turn (times faster than direct)", ""]
            lines += report.table(["one-way delay", *[f"{delay / 1000:g} ms" for delay in found]], rows) + [""]
    return lines


def load_tables(runs, names):
    lines = []
    shown = [scenario for scenario in runs if scenario.split()[0] in ("SET", "GET")]
    for title, metric, decimals in (("requests a second", "per_s", 0), ("CPU of the program, µs a request", "cpu_us", 2),
                                    ("CPU of the server, µs a request", "server_us", 2)):
        rows = [[name, *[report.cell(median(runs, scenario, name, metric), 1, decimals) for scenario in shown]] for name in names
                if not (name == "direct" and metric == "cpu_us")]
        if shown:
            lines += [f"## redis-benchmark, 50 clients: {title}", ""] + report.table(["", *shown], rows) + [""]
    return lines


def idle_table(runs, names):
    if "idle" not in runs:
        return []
    columns = (("clients", "clients", 0), ("connections to the server", "upstreams", 0), ("written B a client, only connected", "bytes", 0),
               ("written B a client, after a kilobyte each way", "bytes_served", 0), ("RSS B a client then", "rss_bytes_served", 0))
    rows = [[name, *[report.cell(median(runs, "idle", name, metric), 1, decimals) for _, metric, decimals in columns]] for name in names if name in runs["idle"]]
    return ["## Idle clients", ""] + report.table(["", *[title for title, _, _ in columns]], rows) + [""]


def markdown(found):
    about, runs, names = found["about"], found["runs"], list(found["rivals"])
    used = about["used_by_others"]
    lines = [
        "# Results of the Redis bench", "",
        "Written by `make bench`; how it is measured is in `bench/README.md`. Absolute figures move with the machine: compare ratios.", "",
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
        lines += report.table(["what", "who", "against", "bar", "measured", ""],
                              [[row["what"], row["who"], row["against"] or "", row["bar"], measured_text(row), report.verdict(row)] for row in shown])
    lines += ["", *script_tables(runs, names), *load_tables(runs, names), *idle_table(runs, names), "## Who was measured", ""]
    lines += report.table(["", "version", "how"], [[name, r["version"] or "-", r["note"]] for name, r in found["rivals"].items()]) + [""]
    if found["failed"]:
        lines += ["## Failed runs", ""] + [f"- {error}" for error in found["failed"]] + [""]
    return "\n".join(lines)


def write(found, folder):
    with open(f"{folder}/redis.json", "w", encoding="utf-8") as out:
        json.dump(found, out, indent=1)
        out.write("\n")
    with open(f"{folder}/redis.md", "w", encoding="utf-8") as out:
        out.write(markdown(found))
