#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""credible.py BUILD [--profile NAME] [--rounds N] [--short] [--gains] [WORD...]: is the simulated machine right?

Runs rows of the benchmarks (bench/tasks, bench/glib) here and on the simulated machine: the same sources, with the same
command lines. For each figure that has a target it prints what was simulated, what was measured, their ratio, and
whether it lies within 25 %. WORD picks rows. Tails (p99) are left out: here they are made by what else the machine does.

A machine that others use, too, gives two answers. The least of the rounds is what the work takes; that is what the
simulated machine is compared with, and the median is printed beside it. --short does a tenth of the work: to see
whether this runs, not what it says. --gains is for a machine that is not at hand: what smolscale gains over the native
pool there, to be compared with what was measured on such a machine. Ends with status 0, whatever it finds, unless a program fails."""

import argparse
import os
import subprocess
import sys
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(HERE, "..", "..", "bench")
sys.path[:0] = [HERE, BENCH]
import kept               # noqa: E402
import run as bench       # noqa: E402
from quiet import quietly  # noqa: E402

WITHIN = 0.25
# What the simulated machine has not, or what is no cost of a thread pool.
LEFT_OUT = {"glib": {"sorted", "gtask-64", "gtask-1", "startup", "empty-unlimited"}, "tasks": {"idle"}}
FIGURES_LEFT_OUT = {"p99", "threads", "first", "over"}
LIMIT = 600  # seconds


def rows(suite, words):
    with open(os.path.join(BENCH, suite, "suite.toml"), "rb") as file:
        read = tomllib.load(file)
    return read, [row for row in read["row"] if row["name"] not in LEFT_OUT[suite]
                  and (not words or any(word in f"{suite}/{row['name']}" for word in words))]


def shortened(command):
    """A tenth of the work."""
    options = {"empty": ["--jobs", "100000"], "producers": ["--jobs", "100000"], "sleeping": ["--jobs", "50"],
               "spinning": ["--total-ms", "40"], "round-trip": ["--trips", "500"], "churn": ["--pools", "200"],
               "part-load": ["--seconds", "1"], "mutual": ["--rounds", "3"]}.get(command[0], [])
    return command + options


def wanted_figures(row):
    return [name for name in row.get("targets", {"time": {}}) if name not in FIGURES_LEFT_OUT]


def simulate(sim, profile, suite, command):
    try:
        return bench.run_once(quietly([sim, "program", "--profile", profile, suite, *command]), None, LIMIT)[0]
    except bench.Failed as why:
        raise SystemExit(f"FAILED  simulated {suite} {' '.join(command)}: {why}") from None


def real(side, command, rounds):
    """{figure: values}"""
    values = {}
    for _ in range(rounds):
        try:
            found = bench.run_once(quietly([side.program, *command]), side.env, LIMIT)[0]
        except bench.Failed as why:  # a pace that a loaded machine does not keep
            print(f"  {' '.join(command)}: {why}", file=sys.stderr)
            continue
        for name, (value, _) in found.items():
            values.setdefault(name, []).append(value)
    return values


def compare(table, counts, name, figure, simulated, measured, higher):
    value, unit = simulated[figure]
    best = (max if higher else min)(measured[figure])
    ratio = value / best if best else 0
    within = 1 - WITHIN <= ratio <= 1 + WITHIN
    counts[within] += 1
    cells = (name, f"{figure} [{unit}]", bench.number(value), bench.number(best),
             bench.number(kept.median(measured[figure])), f"{ratio:.2f}", "yes" if within else "no")
    table.add(*cells)
    print("    " + "  ".join(cells), file=sys.stderr, flush=True)


def print_gains(sim, options):
    """What smolscale gains over the native pool on a machine that is not at hand: both sides simulated."""
    table = bench.Table("row", "figure", "native", "smolscale", "gain")
    for row in rows("glib", options.words)[1]:
        command = shortened(row["command"]) if options.short else row["command"]
        native, ours = (simulate(sim, options.profile, suite, command) for suite in ("glib-native", "glib"))
        for figure in wanted_figures(row):
            if figure in native and figure in ours and ours[figure][0]:
                gain = native[figure][0] / ours[figure][0]
                if row["targets"][figure].get("higher"):
                    gain = 1 / gain
                table.add(f"glib {row['name']}", f"{figure} [{native[figure][1]}]", bench.number(native[figure][0]),
                          bench.number(ours[figure][0]), f"{gain:.2f}")
    table.print()
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("build")
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--profile", default="machine-a", help="the simulated machine (machine-a)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the real benchmarks (5)")
    parser.add_argument("--short", action="store_true", help="a tenth of the work")
    parser.add_argument("--gains", action="store_true",
                        help="nothing is run here: what smolscale gains on the simulated machine")
    options = parser.parse_intermixed_args()
    sim = os.path.join(options.build, "tests/sim/sim")
    if options.gains:
        return print_gains(sim, options)
    table = bench.Table("row", "figure", "simulated", "measured", "its median", "ratio", "within 25 %")
    counts = {True: 0, False: 0}
    for suite in ("tasks", "glib"):
        read, wanted = rows(suite, options.words)
        program = os.path.join(options.build, read["program"])
        if not os.path.exists(program):
            print(f"{suite} is skipped: {program} is not built")
            continue
        names = ["smolscale"] if suite == "tasks" else ["native", "smolscale"]
        for side in (bench.Side(options.build, read, side) for side in read["side"] if side["name"] in names):
            for row in wanted:
                command = shortened(row["command"]) if options.short else row["command"]
                print(f"  {suite} {row['name']} {side.name} ...", file=sys.stderr, flush=True)
                simulated = simulate(sim, options.profile, "glib-native" if side.name == "native" else suite, command)
                measured = real(side, command, options.rounds)
                for figure in wanted_figures(row):
                    if figure in measured and figure in simulated:
                        compare(table, counts, f"{suite} {row['name']}{', native' if side.name == 'native' else ''}", figure,
                                simulated, measured, row.get("targets", {}).get(figure, {}).get("higher"))
            side.preload.close()
    table.print()
    print(f"{counts[True]} of {counts[True] + counts[False]} figures are within 25 %; {options.rounds} rounds, profile "
          f"{options.profile}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
