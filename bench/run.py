#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Runs a benchmark suite: every row on every side in turn, several rounds, and prints medians,
ratios to the first side (the native one) and the targets.

  run.py BUILD SUITE [FILTER...]    SUITE is a folder here with a suite.toml; FILTER picks rows whose
                                    name contains it

A suite.toml names the program, the sides and the rows:

  program = "bench/glib/bench-glib"     # below the build folder
  [[side]]
  name = "native"
  [[side]]
  name = "smolscale"
  layers = ["glib"]                     # preloaded; a side may also have its own program and env,
                                        # and be optional: skipped where it is not built
  [[row]]
  name = "empty-cpus"
  command = ["empty", "--max", "cpus"]
  text = "1 M empty jobs, max_threads = CPUs"
  first_rounds = 1                      # rounds of the first side, where it is very slow
  rounds = 1                            # rounds of all sides, where once tells all
  sides = ["native"]                    # where not every side has such a thing
  targets = { wall = { at_least = 50, aim = 25 }, cpu = { at_least = 80, aim = 37 } }

A target is a number in the figure's unit, a ratio to the first side ("at_least_ratio",
"aim_ratio") or a distance from it ("at_least_more"). With "higher = true" more is better. Absolute times mean little on a shared machine:
the sides are interleaved, so that what disturbs one disturbs all, and the ratio is what counts.

Where smolscale is compared with its like instead of preloaded under them, it is the first side and
the suite says `first_is_ours = true`: the targets are then its own, and a ratio is what another side
takes divided by what it takes.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests"))
import harness  # noqa: E402


def run_once(command, env, limit):
    """{figure: (value, unit)} of one run, or the reason why there is none."""
    try:
        result = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, timeout=limit,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except subprocess.TimeoutExpired:
        return f"no end within {limit} s"
    if result.returncode != 0:
        error = result.stderr.decode(errors="replace").strip().splitlines()
        return f"status {result.returncode}: {error[-1] if error else 'no message'}"
    figures = {}
    for line in result.stdout.decode().splitlines():
        words = line.split()
        if len(words) == 3:
            figures[words[0]] = (float(words[1]), words[2])
    return figures


def number(value):
    if value is None:
        return "-"
    for limit, form in ((100, ".0f"), (10, ".1f"), (0.1, ".2f"), (0, ".3g")):
        if abs(value) >= limit:
            return format(value, form)
    return str(value)


def check(target, value, first):
    """(text of the target, whether the value reaches it) for "at_least"."""
    bound = target.get("at_least")
    text = number(bound) if bound is not None else ""
    if "at_least_ratio" in target and first is not None:
        bound = target["at_least_ratio"] * first
        text = f"{target['at_least_ratio']:g} x"
    if "at_least_more" in target and first is not None:
        bound = target["at_least_more"] + first
        text = f"+ {target['at_least_more']:g}"
    if bound is None:
        return "", None
    if target.get("higher"):
        return ">= " + text, value >= bound
    return "<= " + text, value <= bound


def aim_text(target):
    if "aim_ratio" in target:
        return f"{target['aim_ratio']:g} x"
    return number(target["aim"]) if "aim" in target else ""


class Table:
    """Lines of equal columns, the first left-aligned."""

    def __init__(self, *head):
        self.rows = [head]

    def add(self, *cells):
        self.rows.append(cells)

    def print(self):
        widths = [max(len(row[i]) for row in self.rows) for i in range(len(self.rows[0]))]
        for index, row in enumerate(self.rows):
            cells = [cell.ljust(width) if i < 2 else cell.rjust(width)
                     for i, (cell, width) in enumerate(zip(row, widths))]
            print("  ".join(cells).rstrip())
            if index == 0:
                print("  ".join("-" * width for width in widths))


def machine():
    model = "unknown CPU"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{len(os.sched_getaffinity(0))} CPUs ({model}), Linux {platform.release()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("build")
    parser.add_argument("suite")
    parser.add_argument("filter", nargs="*")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every row (5)")
    parser.add_argument("--prefix", default="",
                        help="put before every command, e.g. \"taskset -c 0\"")
    parser.add_argument("--limit", type=int, default=120, help="seconds one run may take (120)")
    parser.add_argument("--json", help="where the raw figures go")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    options = parser.parse_intermixed_args()

    with open(os.path.join(HERE, options.suite, "suite.toml"), "rb") as file:
        suite = tomllib.load(file)
    rows = [row for row in suite["row"]
            if not options.filter or any(part in row["name"] for part in options.filter)]
    if options.list:
        for row in rows:
            print(f"{row['name']:24} {row.get('text', '')}")
        return 0
    if not rows:
        raise SystemExit("no row has such a name; --list shows them")

    sides = []
    for side in suite["side"]:
        preload = harness.Preload(options.build, side.get("layers", []))
        env = preload.env()
        env.update(side.get("env", {}))
        program = os.path.join(options.build, side.get("program", suite["program"]))
        if not os.path.exists(program):
            if side.get("optional"):
                print(f"side {side['name']} is skipped: {program} is not built")
                preload.close()
                continue
            raise SystemExit(f"{program} is not built: run ./dev build first")
        sides.append((side["name"], preload, env, program))
    names = [side[0] for side in sides]
    ours_first = suite.get("first_is_ours", False)
    ratio_names = [f"{name}/{names[0]}" if ours_first else f"{names[0]}/{name}"
                   for name in names[1:]]
    judged = names[:1] if ours_first else names[1:]

    print(f"{options.suite}: {options.rounds} rounds, sides in turn, medians; {machine()}")
    raw = {"machine": machine(), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
           "rows": {}}
    table = Table("benchmark", "figure", *names, *ratio_names, "at least", "aim", "reached")
    failures = missed = 0
    for row in rows:
        print(f"  {row['name']} ...", file=sys.stderr, flush=True)
        seen = {name: [] for name in names}
        for turn in range(options.rounds):
            for index, (name, _, env, program) in enumerate(sides):
                rounds = row.get("first_rounds", options.rounds) if index == 0 else options.rounds
                if turn >= min(rounds, row.get("rounds", rounds)):
                    continue
                if name not in row.get("sides", names):
                    continue
                command = shlex.split(options.prefix) + [program] + row["command"]
                result = run_once(command, env, options.limit)
                if isinstance(result, str):
                    failures += 1
                    print(f"FAILED  {row['name']} {name}: {result}", flush=True)
                else:
                    seen[name].append(result)
        raw["rows"][row["name"]] = {"command": row["command"], "runs": seen}
        figures = next((runs[0] for runs in seen.values() if runs), {})
        for figure, (_, unit) in figures.items():
            medians = {name: statistics.median(run[figure][0] for run in runs) if runs else None
                       for name, runs in seen.items()}
            first = medians[names[0]]
            target = row.get("targets", {}).get(figure, {})
            ratios, reached, text = [], [], ""
            for name in names[1:]:
                mine = medians[name]
                above, below = (mine, first) if ours_first else (first, mine)
                ratios.append(f"{above / below:.2f}" if above is not None and below else "-")
            for name in judged:
                mine = medians[name]
                if mine is not None and target.get("side", name) == name:
                    text, good = check(target, mine, first)
                    if good is not None:
                        reached.append("yes" if good else "NO")
                        missed += not good
            table.add(row["name"], f"{figure} [{unit}]", *(number(medians[n]) for n in names),
                      *ratios, text, aim_text(target), " ".join(reached))
    table.print()
    print(f"{missed} targets missed, {failures} runs failed")
    path = options.json or os.path.join(options.build, "logs", f"bench-{options.suite}.json")
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w") as file:
        json.dump(raw, file, indent=1)
    print(f"every run's figures: {path}")
    for _, preload, _, _ in sides:
        preload.close()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
