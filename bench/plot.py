# SPDX-License-Identifier: Apache-2.0
"""results.svg: a panel for each figure, a bar for each rival, whiskers from the least to the greatest round. Plain SVG, no library.

The ground is transparent and the greys are chosen to be read on white and on black; where the viewer says which, they are better.
"""

from html import escape

WIDTH, COLUMNS, ROW, LABEL, VALUE = 350, 3, 19, 92, 52
HEAD, GAP = 44, 22

# title, scenario, metric, divisor, decimals, more is better
PANELS = [
    ("Bulk, 1 connection, GB/s", "bulk1", "gb_per_s", 1, 2, True),
    ("Bulk, 64 connections, GB/s", "bulk64", "gb_per_s", 1, 2, True),
    ("Bulk, 1 connection both ways, GB/s", "bulk1-both", "gb_per_s", 1, 2, True),
    ("CPU s per GB, 1 connection", "bulk1", "cpu_s_per_gb", 1, 2, False),
    ("CPU s per GB, 64 connections", "bulk64", "cpu_s_per_gb", 1, 2, False),
    ("Connections a second", "conns", "per_s", 1, 0, True),
    ("Round trip of 64 bytes, p50, µs", "rtt", "p50_us", 1, 1, False),
    ("The same, all on one CPU: p50, µs", "rtt-1cpu", "p50_us", 1, 1, False),
    ("p99, all on one CPU, µs", "rtt-1cpu", "p99_us", 1, 1, False),
    ("RSS with no pair, MiB", "memory", "rss_0", 1 << 20, 1, False),
    ("Written memory, 1,000 pairs after traffic, MiB", "memory", "written_carried", 1 << 20, 2, False),
    ("Exec to accepting, ms", "start", "median_ms", 1, 1, False),
]

STYLE = """
 text { font: 12px system-ui, sans-serif; fill: #75808c }
 .title { font-weight: 600 } .small { font-size: 10.5px } .us { font-weight: 600; fill: #c2661a }
 .bar { fill: #8d99a6 } .bar.us { fill: #e07b2a } .bar.direct { fill: none; stroke: #8d99a6; stroke-dasharray: 3 2 }
 .whisker { stroke: #5b6570; stroke-width: 1 } .axis { stroke: #8d99a6; stroke-width: 1 }
 @media (prefers-color-scheme: light) { text { fill: #333b44 } .us { fill: #a8500c } }
 @media (prefers-color-scheme: dark) { text { fill: #d5dbe1 } .us { fill: #f5a55f } .whisker { stroke: #e6eaee } }
"""


def clip(values):
    """The end of the scale: the greatest value, but one that dwarfs all others is cut (and drawn so)."""
    ordered = sorted(values, reverse=True)
    if len(ordered) > 2 and ordered[0] > 6 * ordered[1] > 0:
        return ordered[1] * 1.25
    return ordered[0] or 1


def panel(x, y, spec, result):
    title, scenario, metric, divisor, decimals, more = spec
    runs = result["runs"].get(scenario, {})
    rows = [(name, [v / divisor for v in runs[name][metric]], result["medians"][scenario][name][metric] / divisor)
            for name in result["rivals"] if metric in runs.get(name, {}) and not (name == "direct" and metric.startswith("cpu"))]
    if not rows:
        return None, 0
    top = clip([median for _, _, median in rows])
    room = WIDTH - LABEL - VALUE
    out = [f'<text class="title" x="{x}" y="{y + 14}">{escape(title)}</text>',
           f'<text class="small" x="{x}" y="{y + 28}">{"more" if more else "less"} is better</text>']
    for i, (name, rounds, median) in enumerate(rows):
        line = y + HEAD - 8 + i * ROW
        middle = line + ROW / 2
        width = max(1.0, min(median / top, 1) * room)
        kind = " us" if name == "relay" else ""
        out.append(f'<text class="small{kind}" x="{x + LABEL - 6}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>')
        out.append(f'<rect class="bar{kind or (" direct" if name == "direct" else "")}" x="{x + LABEL}" y="{line + 3}" '
                   f'width="{width:.1f}" height="{ROW - 6}"/>')
        end = width
        if median > top:  # cut: two slanted lines through the end
            out.append(f'<path class="whisker" d="M{x + LABEL + width - 12:.1f} {line + ROW - 1}l5 {2 - ROW}m4 0l-5 {ROW - 2}"/>')
        elif len(rounds) > 1:
            low, high = (min(max(v / top, 0), 1.04) * room for v in (min(rounds), max(rounds)))
            out.append(f'<path class="whisker" d="M{x + LABEL + low:.1f} {middle}H{x + LABEL + high:.1f}"/>')
            end = max(width, high)
        out.append(f'<text class="small{kind}" x="{x + LABEL + end + 4:.1f}" y="{middle + 4}">{median:,.{decimals}f}</text>')
    bottom = y + HEAD - 8 + len(rows) * ROW
    out.append(f'<path class="axis" d="M{x + LABEL - .5} {y + HEAD - 8}V{bottom}"/>')
    return out, bottom - y


def write(result, path):
    body, y, in_row, height = [], 48, 0, 0
    for spec in PANELS:
        drawn, used = panel(16 + in_row * (WIDTH + GAP), y, spec, result)
        if drawn is None:
            continue
        body += drawn
        height = max(height, used)
        in_row += 1
        if in_row == COLUMNS:
            y, in_row, height = y + height + GAP, 0, 0
    whole = y + height + 8
    about = result["about"]
    heading = (f"relay and its rivals, median of {about['rounds']} interleaved round{'s' * (about['rounds'] != 1)}; "
               f"{about['cores']} cores, {about['kernel']}; {about['began']}")
    width = 32 + COLUMNS * WIDTH + (COLUMNS - 1) * GAP
    with open(path, "w", encoding="utf-8") as out:
        out.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{whole}" viewBox="0 0 {width} {whole}" role="img">\n'
                  f"<!-- SPDX-License-Identifier: Apache-2.0 -->\n<title>Results of the bench</title>\n<style>{STYLE}</style>\n"
                  f'<text class="title" x="16" y="24">{escape(heading)}</text>\n' + "\n".join(body) + "\n</svg>\n")
