#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Writes docs/results.md and its plots from kept data files (kept.py), and nothing else: the same files give the same
bytes. Gnuplot draws.

  report.py [--from FOLDER] [--to FOLDER]     docs/results/data, docs"""

import argparse
import glob
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import kept  # noqa: E402

# In this order, what is not named here behind them.
ORDER = ["apps", "glib", "libuv", "pthreadpool", "node", "tasks"]
COLOURS = ["#8a8f98", "#d1495b", "#2e7d8c", "#edae49", "#5b5f97"]
# What a plot has; a table has everything.
PLOTTED = ["wall", "cpu", "p50", "time"]
SMALLEST = 1e-3  # ratios below are drawn here

INTRODUCTION = """\
# Results

Written by `./dev bench --report` from the data files below [results/data](results/data), which have every round's
values of every side. A ratio is what a side takes divided by what the first side takes, in the same round: the table has
the median of the rounds' ratios and from where to where they go; less than 1 is less time. The plots show the same: a
point is the median, its bar the range, the grey bar the range of the first side around its own median.

A ratio whose range includes 1 says nothing. Absolute times are the machine's.
"""


def number(value):
    if value is None:
        return "-"
    for limit, form in ((1000, ",.0f"), (100, ".0f"), (10, ".1f"), (0.1, ".2f"), (0, ".2g")):
        if abs(value) >= limit:
            return format(value, form)
    return str(value)


def ratio(ratios):
    if not ratios:
        return "-"
    middle = number(kept.median(ratios))
    return middle if len(ratios) == 1 else f"{middle} ({number(min(ratios))}–{number(max(ratios))})"


# ---- plots ----

def plotted(data):
    """[(label, {side: (median, least, most)})]: ratios to the first side's median, of what a plot has."""
    first = data["sides"][0]
    lines = []
    for row in data["rows"]:
        for figure in row["figures"]:
            middle = kept.median(figure["values"].get(first, []))
            if figure["name"] not in PLOTTED or not middle or len(figure["values"]) < 2:
                continue
            spread = {}
            for side in data["sides"]:
                values = kept.present(figure["values"].get(side, []))
                ratios = [value / middle for value in values] if side == first else kept.pairs(figure, side, first)
                if ratios:
                    spread[side] = tuple(max(SMALLEST, one) for one in (kept.median(ratios), min(ratios), max(ratios)))
            lines.append((f"{row['name']}, {figure['name']}", spread))
    return lines


def script(data, lines, path):
    """What gnuplot is told."""
    height = 70 + 17 * len(lines)
    words = [f"set terminal svg size 760,{height} noenhanced font 'sans-serif,11' background rgb 'white' "
             f"name 'smolscale_{data['suite']}'",
             f"set output '{path}'", "set logscale x", "set border 1", "set tics nomirror",
             "set grid xtics lt 1 lc rgb '#e0e0e0'", f"set lmargin {max(len(label) for label, _ in lines) * 0.8:.1f}", "set rmargin 4", "set bmargin 3.5",
             "set xtics (" + ", ".join(f"'{x}' {x}" for x in ("0.001", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1",
                                                               "2", "5", "10", "100")) + ")",
             "set key outside top center horizontal samplen 2",
             f"set xlabel 'ratio to {data['sides'][0]} (log scale; left of 1 is less)'",
             f"set yrange [{len(lines) - 0.4}:-0.6]", "set ytics scale 0 font ',10' ("
             + ", ".join(f"'{label}' {place}" for place, (label, _) in enumerate(lines)) + ")",
             "set arrow 1 from 1, graph 0 to 1, graph 1 nohead lc rgb '#404040' lw 1 back"]
    values = [one for _, spread in lines for side in spread.values() for one in side]
    words.append(f"set xrange [{min(min(values) / 1.15, 0.8):.6g}:{max(max(values) * 1.15, 1.25):.6g}]")
    plots = []
    for index, side in enumerate(data["sides"]):
        block = [f"$side{index} << END"]
        # The first side behind the others, which have a place each.
        shift = 0 if index == 0 else (index - len(data["sides"]) / 2) * 0.6 / max(1, len(data["sides"]) - 1)
        for place, (_, spread) in enumerate(lines):
            if side in spread:
                block.append(f"{spread[side][0]:.6g} {place + shift:.4g} {spread[side][1]:.6g} {spread[side][2]:.6g}")
        words += block + ["END"]
        if len(block) == 1:
            continue
        width, shape = ("6", "pt 0") if index == 0 else ("2", "pt 7 ps 0.45")
        plots.append(f"$side{index} using 1:2:3:4 with xerrorbars lw {width} {shape} lc rgb '{COLOURS[index % len(COLOURS)]}' "
                     f"title '{side}'")
    words += ["set bars 0", "plot " + ", ".join(plots)]
    return "\n".join(words) + "\n"


def draw(data, path):
    """Whether there was anything to draw."""
    lines = plotted(data)
    if not lines:
        return False
    subprocess.run(["gnuplot", "-d"], input=script(data, lines, path).encode(), check=True, timeout=60,
                   env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"})
    return True


# ---- text ----

def paragraph(data):
    it = data["machine"]
    costs = [f"a system call {number(it['system_call_ns'])} ns"] if "system_call_ns" in it else []
    costs += [f"to wake a thread on another CPU {number(it['wake_us'])} µs"] if "wake_us" in it else []
    before, after = data["load"]
    return (f"{data['date'][:10]}, commit {data['commit']}, {data['rounds']} rounds. {it['cpus']} CPUs "
            f"({it['cpu']}), {it['kernel']}" + ("; costs: " + ", ".join(costs) if costs else "") +
            f". Load average {before} before, {after} after.")


def table(data):
    first, others = data["sides"][0], data["sides"][1:]
    lines = ["| | figure | " + " | ".join([first] + [f"{side} | ratio" for side in others]) + " |",
             "|---|---|" + "---|" * (1 + 2 * len(others))]
    for row in data["rows"]:
        label = row["text"] or row["name"]
        label = label if label == row["name"] else f"**{row['name']}**: {label}"
        if "absent" in row:
            lines.append(f"| {label} | not run: {row['absent']} |" + " |" * (1 + 2 * len(others)))
        for figure in row["figures"]:
            cells = [number(kept.median(figure["values"].get(first, [])))]
            for side in others:
                cells += [number(kept.median(figure["values"].get(side, []))), ratio(kept.pairs(figure, side, first))]
            unit = figure["unit"] + (", more is better" if figure.get("higher") else "")
            lines.append(f"| {label} | {figure['name']} [{unit}] | " + " | ".join(cells) + " |")
            label = ""
    return "\n".join(lines)


def read_all(folder):
    found = [kept.read(path) for path in glob.glob(os.path.join(folder, "*.json"))]
    return sorted(found, key=lambda data: (ORDER.index(data["suite"]) if data["suite"] in ORDER else len(ORDER),
                                           data["suite"]))


def write(source, target):
    """docs/results.md and the plots beside the data files; the names of what was written."""
    written, parts = ["results.md"], [INTRODUCTION]
    os.makedirs(os.path.join(target, "results"), exist_ok=True)
    for data in read_all(source):
        suite = data["suite"]
        parts += [f"## {data['title']}", paragraph(data)]
        notes = os.path.join(source, f"{suite}.md")
        if draw(data, os.path.join(target, "results", f"{suite}.svg")):
            written.append(f"results/{suite}.svg")
            parts.append(f"![{data['title']}: ratios to {data['sides'][0]}](results/{suite}.svg)")
        if os.path.exists(notes):  # what somebody has found out about these values
            with open(notes) as file:
                parts.append(file.read().strip())
        parts.append(table(data))
    with open(os.path.join(target, "results.md"), "w") as file:
        file.write("\n\n".join(part.strip() for part in parts) + "\n")
    return written


def main():
    docs = os.path.join(HERE, "..", "docs")
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--from", dest="source", default=os.path.join(docs, "results/data"))
    parser.add_argument("--to", dest="target", default=docs)
    options = parser.parse_args()
    if not shutil.which("gnuplot"):
        raise SystemExit("gnuplot is not installed")
    for name in write(options.source, options.target):
        print(os.path.normpath(os.path.join(options.target, name)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
