# SPDX-License-Identifier: Apache-2.0
"""What the figures say: medians, ratios and bars, as JSON and as Markdown. The rounds themselves stay in the JSON."""

import json
import statistics
import subprocess

import many
import measure
import rivals

US = "relay"
KB = 1024

RELOADS = [("same", "nothing changed"), ("removed", f"{many.SOME} removed"), ("added", f"{many.SOME} added"), ("changed", "all changed")]

# column title, scenario, metric, divisor, decimals, more is better
TABLES = [
    ("Bulk, GB/s", [
        ("1 connection", "bulk1", "gb_per_s", 1, 2, True),
        ("1, both ways", "bulk1-both", "gb_per_s", 1, 2, True),
        ("64 connections", "bulk64", "gb_per_s", 1, 2, True),
        ("64, both ways", "bulk64-both", "gb_per_s", 1, 2, True),
    ]),
    ("CPU of the program in the middle, s per GB", [
        ("1 connection", "bulk1", "cpu_s_per_gb", 1, 3, False),
        ("1, both ways", "bulk1-both", "cpu_s_per_gb", 1, 3, False),
        ("64 connections", "bulk64", "cpu_s_per_gb", 1, 3, False),
        ("64, both ways", "bulk64-both", "cpu_s_per_gb", 1, 3, False),
    ]),
    ("64-byte round trips, µs", [
        ("p50", "rtt", "p50_us", 1, 1, False),
        ("p99", "rtt", "p99_us", 1, 1, False),
        ("p99.9", "rtt", "p999_us", 1, 1, False),
        ("CPU each", "rtt", "cpu_us_each", 1, 1, False),
        ("on one CPU: p50", "rtt-1cpu", "p50_us", 1, 1, False),
        ("p99", "rtt-1cpu", "p99_us", 1, 1, False),
        ("p99.9", "rtt-1cpu", "p999_us", 1, 1, False),
        ("CPU each", "rtt-1cpu", "cpu_us_each", 1, 1, False),
        ("16 at once: p50", "rtt16", "p50_us", 1, 0, False),
        ("p99", "rtt16", "p99_us", 1, 0, False),
        ("p99.9", "rtt16", "p999_us", 1, 0, False),
        ("CPU each", "rtt16", "cpu_us_each", 1, 1, False),
    ]),
    ("Connections: connect, a byte each way, close", [
        ("a second", "conns", "per_s", 1, 0, True),
        ("CPU µs each", "conns", "cpu_us_each", 1, 1, False),
        ("on one CPU: a second", "conns-1cpu", "per_s", 1, 0, True),
        ("CPU µs each", "conns-1cpu", "cpu_us_each", 1, 1, False),
        ("16 at a time: a second", "conns16", "per_s", 1, 0, True),
        ("CPU µs each", "conns16", "cpu_us_each", 1, 1, False),
    ]),
    ("Memory with no pair, KiB", [
        ("RSS", "memory", "rss_0", KB, 0, False),
        ("PSS", "memory", "pss_0", KB, 0, False),
        ("private", "memory", "private_0", KB, 0, False),
        ("written", "memory", "written_0", KB, 0, False),
    ]),
    (f"Memory with {measure.MANY} idle pairs, KiB", [
        ("RSS", "memory", "rss_open", KB, 0, False),
        ("PSS", "memory", "pss_open", KB, 0, False),
        ("private", "memory", "private_open", KB, 0, False),
        ("written", "memory", "written_open", KB, 0, False),
        ("written B a pair", "memory", "pair_bytes", 1, 0, False),
    ]),
    (f"The same pairs idle again after {measure.CARRY >> 10} KiB each way, KiB", [
        ("RSS", "memory", "rss_carried", KB, 0, False),
        ("PSS", "memory", "pss_carried", KB, 0, False),
        ("private", "memory", "private_carried", KB, 0, False),
        ("written", "memory", "written_carried", KB, 0, False),
        ("written B a pair", "memory", "pair_bytes_carried", 1, 0, False),
        ("written, all closed", "memory", "written_closed", KB, 0, False),
    ]),
    ("Size and start", [
        ("binary, KiB", "size", "file_bytes", KB, 0, False),
        ("stripped, KiB", "size", "stripped_bytes", KB, 0, False),
        ("shared libraries", "size", "shared_libraries", 1, 0, False),
        ("exec to accepting, ms", "start", "median_ms", 1, 2, False),
    ]),
    (f"{many.RELAYS:,} relays in one process", [
        ("start, s", "many", "start_s", 1, 3, False),
        ("PSS, B a relay", "many", "relay_bytes", 1, 0, False),
        ("RSS, KiB", "many", "rss", KB, 0, False),
        ("idle CPU, %", "many", "idle_cpu_percent", 1, 3, False),
        ("reload, nothing changed, s", "many", "reload_same_s", 1, 3, False),
        (f"{many.SOME} removed", "many", "reload_removed_s", 1, 3, False),
        (f"{many.SOME} added", "many", "reload_added_s", 1, 3, False),
        ("all changed", "many", "reload_changed_s", 1, 3, False),
    ]),
    (f"The longest of the 64-byte round trips through one of {many.RELAYS:,} relays, ms", [
        (f"{when}{what}", "many", f"{metric}_{kind}_ms", 1, 1, False)
        for kind, what in RELOADS
        for when, metric in (("reload, ", "stall"), ("before it", "quiet"))
        for what in [what if metric == "stall" else ""]
    ]),
    ("A full queue of 6400 KiB, read by a client that comes late", [
        ("first byte, ms", "drain", "first_byte_ms", 1, 2, False),
        ("all, ms", "drain", "ms", 1, 2, False),
        ("GB/s", "drain", "gb_per_s", 1, 2, True),
    ]),
]

# what, scenario, metric, compared with, at least / at most / under, limit, unit
BARS = [
    ("bulk, 1 connection", "bulk1", "gb_per_s", "haproxy", "at least", 2.2, "x"),
    ("bulk, 1 connection", "bulk1", "gb_per_s", "nginx", "at least", 1.5, "x"),
    ("bulk, 1 connection", "bulk1", "gb_per_s", "direct", "at least", 0.70, "x"),
    ("bulk, 64 connections", "bulk64", "gb_per_s", "haproxy", "at least", 2.2, "x"),
    ("bulk, 64 connections", "bulk64", "gb_per_s", "nginx", "at least", 1.5, "x"),
    ("CPU per GB, 1 connection", "bulk1", "cpu_s_per_gb", "haproxy", "at most", 0.333, "x"),
    ("CPU per GB, 1 connection", "bulk1", "cpu_s_per_gb", "nginx", "at most", 0.5, "x"),
    ("CPU per GB, 64 connections", "bulk64", "cpu_s_per_gb", "haproxy", "at most", 0.333, "x"),
    ("CPU per GB, 64 connections", "bulk64", "cpu_s_per_gb", "nginx", "at most", 0.5, "x"),
    ("round trip, p50", "rtt", "p50_us", "haproxy", "at most", 0.90, "x"),
    ("round trip, p50", "rtt", "p50_us", "nginx", "at most", 1.05, "x"),
    ("round trip, p99", "rtt", "p99_us", "haproxy", "at most", 1.0, "x"),
    ("round trip, p99", "rtt", "p99_us", "nginx", "at most", 1.0, "x"),
    ("round trip on one CPU, p50", "rtt-1cpu", "p50_us", "haproxy", "at most", 0.90, "x"),
    ("round trip on one CPU, p50", "rtt-1cpu", "p50_us", "nginx", "at most", 1.05, "x"),
    ("round trip on one CPU, p99", "rtt-1cpu", "p99_us", "haproxy", "at most", 1.0, "x"),
    ("round trip on one CPU, p99", "rtt-1cpu", "p99_us", "nginx", "at most", 1.0, "x"),
    ("connections a second", "conns", "per_s", "haproxy", "at least", 1.0, "x"),
    ("CPU a connection", "conns", "cpu_us_each", "nginx", "at most", 1.0, "x"),
    ("connections a second, one CPU", "conns-1cpu", "per_s", "haproxy", "at least", 1.0, "x"),
    ("CPU a connection, one CPU", "conns-1cpu", "cpu_us_each", "nginx", "at most", 1.0, "x"),
    ("idle process, RSS", "memory", "rss_0", None, "under", 1.2 * 1024, "KiB"),
    ("idle process, private and written", "memory", "written_0", None, "under", 300, "KiB"),
    ("an idle pair", "memory", "pair_bytes", None, "under", 512, "B"),
    ("an idle pair after traffic", "memory", "pair_bytes_carried", None, "under", 512, "B"),
    ("exec to accepting", "start", "median_ms", None, "under", 2, "ms"),
    (f"start of {many.RELAYS:,} relays", "many", "start_s", None, "under", 2, "s"),
    (f"one of {many.RELAYS:,} relays", "many", "relay_bytes", None, "under", 4, "KiB"),
    (f"idle CPU of {many.RELAYS:,} relays", "many", "idle_cpu_percent", None, "under", 0.1, "%"),
    *[(f"reload, {what}", "many", f"reload_{kind}_s", None, "under", 1, "s") for kind, what in RELOADS],
    *[(f"longest round trip during it, {what}", "many", f"stall_{kind}_ms", None, "under", 20, "ms") for kind, what in RELOADS],
    ("binary, stripped", "size", "stripped_bytes", None, "under", 7 * 1024, "KiB"),
]


def brief(scenario, figures):
    """One run in a few words, for the progress lines."""
    of = figures.get
    if scenario.startswith("bulk"):
        return f"{of('gb_per_s'):.2f} GB/s, CPU {of('cpu_s_per_gb'):.3f} s/GB"
    if scenario.startswith("rtt"):
        return f"p50 {of('p50_us'):.1f} p99 {of('p99_us'):.1f} p99.9 {of('p999_us'):.1f} µs, CPU {of('cpu_us_each'):.1f} µs"
    if scenario.startswith("conns"):
        return f"{of('per_s'):.0f} /s, CPU {of('cpu_us_each'):.1f} µs each"
    if scenario == "drain":
        return f"{of('ms'):.2f} ms, first byte after {of('first_byte_ms'):.2f} ms"
    if scenario == "memory":
        return (f"RSS {of('rss_0') / KB:.0f} KiB, private {of('private_0') / KB:.0f}, of it written {of('written_0') / KB:.0f}; "
                f"{of('written_open') / KB:.0f} with {measure.MANY} pairs, {of('written_carried') / KB:.0f} after traffic")
    if scenario == "many":
        return (f"start {of('start_s'):.2f} s, {of('relay_bytes'):.0f} B each, idle CPU {of('idle_cpu_percent'):.3f} %; reload, s / stall, ms (before it): "
                + ", ".join(f"{kind} {of(f'reload_{kind}_s'):.3f} / {of(f'stall_{kind}_ms'):.1f} ({of(f'quiet_{kind}_ms'):.1f})" for kind in many.RELOADS))
    if scenario == "start":
        return f"{of('median_ms'):.2f} ms"
    return f"{of('stripped_bytes', 0) / KB:.0f} KiB stripped"


def git_version():
    done = subprocess.run(["git", "-C", rivals.ROOT, "describe", "--always", "--dirty"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout.strip() or "unknown"


def about(bench, began, machine, **more):
    """What was measured, where, and how much of the machine others used meanwhile."""
    others = [share for by_name in bench.runs.values() for metrics in by_name.values() for share in metrics.get("others", [])] or [0.0]
    return {"began": began, "revision": git_version(), **machine, **more,
            "used_by_others": {"median": round(statistics.median(others), 3), "worst": round(max(others), 3)}}


def results(bench, began, machine):
    medians = {scenario: {name: {metric: statistics.median(values) for metric, values in metrics.items()}
                          for name, metrics in by_rival.items()} for scenario, by_rival in bench.runs.items()}
    described = {r.name: {"command": " ".join(r.command), "version": r.version(), "note": r.note} for r in bench.rivals}
    return {"about": about(bench, began, machine, **{**bench.how, "patient": bench.patient}), "rivals": described, "medians": medians, "bars": bars(medians), "failed": bench.errors, "remarks": bench.remarks, "runs": bench.runs}


def median_of(medians, scenario, name, metric):
    return medians.get(scenario, {}).get(name, {}).get(metric)


def bars(medians):
    rows = []
    for what, scenario, metric, rival, how, limit, unit in BARS:
        ours = median_of(medians, scenario, US, metric)
        theirs = median_of(medians, scenario, rival, metric) if rival else {"KiB": 1024}.get(unit, 1)
        measured = ours / theirs if ours is not None and theirs else None
        met = None
        if measured is not None:
            met = measured >= limit if how == "at least" else measured <= limit if how == "at most" else measured < limit
        rows.append({"what": what, "against": rival, "bar": f"{how} {limit:g}{'' if unit == 'x' else ' ' + unit}",
                     "measured": measured, "unit": unit, "met": met})
    return rows


def bar_text(row):
    if row["measured"] is None:
        return "-"
    if row["unit"] in ("s", "%", "KiB") and row["measured"] < 10:
        return f"{row['measured']:.3f} {row['unit']}"
    return f"{row['measured']:.2f}" if row["unit"] in ("x", "ms") else f"{row['measured']:.0f} {row['unit']}"


def verdict(row):
    return {True: "ok", False: "**missed**", None: "not measured"}[row["met"]]


def summary(result, text=bar_text, widths=(36, 18)):
    """The bars, for the terminal; text(row) is what was measured."""
    measured = [row for row in result["bars"] if row["met"] is not None]
    wide, narrow = widths
    lines = []
    for row in measured:
        what = row["what"] + (f", {row['who']}" if "who" in row else "") + (f" / {row['against']}" if row["against"] else "")
        lines.append(f"{'ok    ' if row['met'] else 'MISSED'} {what:{wide}} {row['bar']:{narrow}} measured {text(row)}")
    used = result["about"]["used_by_others"]
    lines.append(f"bars met: {sum(row['met'] for row in measured)} of {len(measured)} measured, {len(result['bars'])} in all; "
                 f"others used {used['median']:.0%} of the machine during a run, {used['worst']:.0%} at worst")
    lines.extend(f"FAILED {error}" for error in result["failed"])
    return "\n".join(lines)


def cell(value, divisor=1, decimals=0):
    return "-" if value is None else f"{value / divisor:,.{decimals}f}"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join([" --- "] + [" ---: "] * (len(header) - 1)) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def markdown(result):
    about, medians = result["about"], result["medians"]
    names = list(result["rivals"])
    rounds = about["rounds"]
    lines = [
        "# Results of the bench", "",
        "Written by `make bench`; how it is measured is in `bench/README.md`. Absolute figures move with the machine: compare ratios.", "",
        "![results](results.svg)", "",
        f"- {about['began']}, revision {about['revision']}",
        f"- {about['cores']} cores of {about['cpu']}, {about['memory_gb']:g} GB, {about['kernel']}, {about['system']}",
        f"- {rounds} interleaved round{'s' * (rounds != 1)} of {about['seconds']:g} s a run; figures are medians of the rounds; "
        + ("ends pinned to the first CPU, the program between them to the last" if about["pinned"] else "nothing is pinned"),
        f"- used by other processes and the host during a run: median {about['used_by_others']['median']:.0%}, "
        f"worst {about['used_by_others']['worst']:.0%} of the machine"
        + ("; runs that others disturbed were repeated as far as there was time" if about["patient"] else ""),
    ]
    if rounds < 5:
        lines.append("- fewer than 5 rounds: an indication, not a result")
    if any(row["met"] is not None for row in result["bars"]):
        lines += ["", "## Bars", ""]
        lines += table(["relay", "against", "bar", "measured", ""],
                       [[row["what"], row["against"] or "", row["bar"], bar_text(row), verdict(row)] for row in result["bars"]])
        lines += ["", "Where a rival is named the bar is on the ratio relay / rival. Bars on correctness are the tests' (`make test`)."]
    lines.append("")
    for title, columns in TABLES:
        shown = [c for c in columns if any(median_of(medians, c[1], name, c[2]) is not None for name in names)]
        if not shown:
            continue
        rows = []
        for name in names:
            values = [median_of(medians, scenario, name, metric) for _, scenario, metric, *_ in shown]
            if name == "direct" and "CPU" in title:
                continue
            if any(value is not None for value in values):
                rows.append([name] + ["-" if name == "direct" and c[2].startswith("cpu") else cell(value, c[3], c[4])
                                      for value, c in zip(values, shown)])
        if rows:
            lines += [f"## {title}", ""] + table([""] + [c[0] for c in shown], rows) + [""]
    lines += ratios(medians, names)
    lines += ["## Who was measured", ""]
    lines += table(["", "version", "how"], [[name, r["version"] or "-", r["note"]] for name, r in result["rivals"].items()])
    lines += ["", "Commands are in `results.json`, with every round. Memory is summed over all processes of a program. "
              "Private is Private_Clean + Private_Dirty of smaps_rollup; its clean part is the program's text, private as long as only one process runs that file. "
              "Written is Private_Dirty: what the program costs beside its file. Bars on private memory and on pairs are on that.", ""]
    if result["failed"]:
        lines += ["## Failed runs", ""] + [f"- {error}" for error in result["failed"]] + [""]
    if result["remarks"]:
        lines += ["## Remarks", ""] + [f"- {remark}" for remark in result["remarks"]] + [""]
    return "\n".join(lines)


def ratios(medians, names):
    others = [name for name in names if name != US]
    rows = []
    for title, columns in TABLES[:4]:
        for column, scenario, metric, _, _, more in columns:
            ours = median_of(medians, scenario, US, metric)
            if not ours:
                continue
            row = [f"{scenario}: {title.split(',')[0].split(':')[0]}, {column}" + (" (more is better)" if more else "")]
            for other in others:
                theirs = median_of(medians, scenario, other, metric)
                row.append(f"{ours / theirs:.2f}" if theirs else "-")
            rows.append(row)
    if not rows:
        return []
    return ["## Ratios, relay / rival", ""] + table([""] + others, rows) + [""]


def write(result, folder):
    with open(f"{folder}/results.json", "w", encoding="utf-8") as out:
        json.dump(result, out, indent=1)
        out.write("\n")
    with open(f"{folder}/results.md", "w", encoding="utf-8") as out:
        out.write(markdown(result))
