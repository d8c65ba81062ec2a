#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Runs a benchmark suite: every row on every side in turn, several rounds, and prints medians,
ratios to the first side (the native one; medians of the rounds' ratios, and their range) and the targets.

  run.py BUILD SUITE [FILTER...]    SUITE is a folder here with a suite.toml; FILTER picks rows whose
                                    name contains it

A suite.toml names the program, the sides and the rows:

  title = "GThreadPool"
  program = "bench/glib/bench-glib"     # below the build folder; or script = "bench/...", below the top folder
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
  targets = { wall = { at_least = 8, aim = 20 }, threads = { at_most = 4 } }

A program prints a line `name value unit` for each figure. It may print `output DIGEST`, which must then be the same in
all runs of a row, and end with status 77 and a reason on standard error where it cannot be run here.

A target is a *gain*: what the first side takes divided by what smolscale takes, the median of the rounds. With
"higher = true" more is better, and the gain is the other way round. So a target says the same on every machine; no
time does. A count that no machine changes may have a bound, "at_most". --check says which targets of "at_least" are
missed, and ends with status 1 if any is. kept.py says what the data file has.

Where smolscale is compared with its like instead of preloaded under them, it is the first side and the suite says
`first_is_ours = true`: the gain is then that over the best of the others. The ratio in the table is always what another
side takes divided by what the first takes.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "tests")]
import harness  # noqa: E402
import kept     # noqa: E402

ABSENT = 77  # the exit status of a program that says it cannot run here


class Failed(Exception):
    """A run gave no figures, for this reason."""


class Absent(Exception):
    """A row cannot be run here, for this reason."""


def run_once(command, env, limit):
    """({figure: (value, unit)}, digest of the output or None) of one run."""
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        stdout, stderr = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.terminate()  # what has started others takes them along
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise Failed(f"no end within {limit} s") from None
    error = (stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
    if process.returncode == ABSENT:
        raise Absent(error)
    if process.returncode != 0:
        raise Failed(f"status {process.returncode}: {error}")
    figures, digest = {}, None
    for words in map(str.split, stdout.decode().splitlines()):
        if len(words) == 3:
            figures[words[0]] = (float(words[1]), words[2])
        elif len(words) == 2 and words[0] == "output":
            digest = words[1]
    return figures, digest


def number(value):
    if value is None:
        return "-"
    for limit, form in ((100, ".0f"), (10, ".1f"), (0.1, ".2f"), (0, ".2g")):
        if abs(value) >= limit:
            return format(value, form)
    return str(value)


def gain(figure, target, ours, others):
    """The median of the rounds' gains of the side `ours` over `others`, in each round the best of these; None: there is
    no round with both."""
    higher, gains = target.get("higher"), []
    for turn, mine in enumerate(figure["values"].get(ours, [])):
        theirs = [figure["values"][name][turn] for name in others
                  if turn < len(figure["values"].get(name, [])) and figure["values"][name][turn] is not None]
        if mine is None or not theirs:
            continue
        best = max(theirs) if higher else min(theirs)
        top, bottom = (mine, best) if higher else (best, mine)
        if bottom > 0 and top >= 0:
            gains.append(top / bottom)
    return kept.median(gains)


def check(target, value, gained):
    """(text of the target, whether it is reached) for "at_most" and "at_least". `value` is our median, `gained` the gain
    or None, which judges nothing."""
    if "at_most" in target:
        return f"at most {target['at_most']:g}", None if value is None else value <= target["at_most"]
    if "at_least" not in target:
        return "", None
    return f"{target['at_least']:g} x", None if gained is None else gained >= target["at_least"]


def aim_text(target):
    return f"{target['aim']:g} x" if "aim" in target else ""


class Table:
    """Lines of equal columns, the first two left-aligned."""

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


class Side:
    """One of the programs or preloads that are compared."""

    def __init__(self, build, suite, side):
        self.name = side["name"]
        self.program = os.path.join(HERE, "..", suite["script"]) if "script" in suite else \
            os.path.join(build, side.get("program", suite["program"]))
        self.missing = not os.path.exists(self.program)
        if self.missing and not side.get("optional"):
            raise SystemExit(f"{self.program} is not built: run ./dev build first")
        self.preload = harness.Preload(build, [] if self.missing else side.get("layers", []))
        self.env = {**self.preload.env(), "SMOLSCALE_BENCH_BUILD": os.path.abspath(build), **side.get("env", {})}


class Measurement:
    """The rounds of a suite: runs them, and gathers what a data file has."""

    def __init__(self, suite, sides, options):
        self.suite, self.sides, self.options = suite, sides, options
        self.names = [side.name for side in sides]
        self.failures = 0

    def run_row(self, row):
        """The row of the data file."""
        result = {"name": row["name"], "text": row.get("text", ""), "figures": []}
        rounds = min(row.get("rounds", self.options.rounds), self.options.rounds)
        runs = {name: [None] * rounds for name in self.names}
        digests = set()
        for turn in range(rounds):
            order = list(enumerate(self.sides))
            # Who comes first changes, so that no side always runs on what the other has left behind.
            for index, side in order if turn % 2 == 0 else reversed(order):
                if index == 0 and turn >= row.get("first_rounds", rounds):
                    continue
                if side.name not in row.get("sides", self.names):
                    continue
                command = shlex.split(self.options.prefix) + [side.program] + row["command"]
                try:
                    runs[side.name][turn], digest = run_once(command, side.env, self.options.limit)
                    digests.add(digest)
                except Absent as why:
                    result["absent"] = str(why)
                    return result
                except Failed as why:
                    self.fail(f"{row['name']} {side.name}: {why}")
        if len(digests) > 1:
            self.fail(f"{row['name']}: the sides differ in what they make")
        units = {}
        for run in (run for side in runs.values() for run in side if run):
            units.update({figure: unit for figure, (_, unit) in run.items()})
        for figure, unit in units.items():
            entry = {"name": figure, "unit": unit}
            if row.get("targets", {}).get(figure, {}).get("higher"):
                entry["higher"] = True
            entry["values"] = {name: [run[figure][0] if run and figure in run else None for run in side]
                               for name, side in runs.items() if any(run and figure in run for run in side)}
            result["figures"].append(entry)
        return result

    def fail(self, text):
        self.failures += 1
        print(f"FAILED  {text}", flush=True)


def ratio_text(ratios):
    """The median of pairs, and from where to where they go."""
    if not ratios:
        return "-"
    middle = number(kept.median(ratios))
    return middle if len(ratios) == 1 else f"{middle} ({number(min(ratios))}-{number(max(ratios))})"


def judgements(suite, names, row, figure):
    """(side, text, gain or value, reached) for each side of ours that the figure's target judges."""
    target = row.get("targets", {}).get(figure["name"], {})
    ours_first = suite.get("first_is_ours", False)
    found = []
    for name in names[:1] if ours_first else names[1:]:
        value = kept.median(figure["values"].get(name, []))
        if value is None or target.get("side", name) != name:
            continue
        gained = gain(figure, target, name, names[1:] if ours_first else names[:1])
        text, good = check(target, value, gained)
        if text:
            found.append((name, text, value if "at_most" in target else gained, good))
    return found


def print_table(suite, names, wanted, data):
    """Prints the results. Returns a line for each target that is missed."""
    table = Table("benchmark", "figure", *names, *(f"{name}/{names[0]}" for name in names[1:]), "gain", "at least", "aim",
                  "reached")
    missed = []
    for row, found in zip(wanted, data["rows"]):
        if "absent" in found:
            table.add(row["name"], "absent: " + found["absent"], *[""] * (2 * len(names) + 3))
        for figure in found["figures"]:
            medians = {name: kept.median(figure["values"].get(name, [])) for name in names}
            ratios = {name: kept.pairs(figure, name, names[0]) for name in names[1:]}
            judged = judgements(suite, names, row, figure)
            missed += [f"{row['name']} {figure['name']}, {name}: {number(got)}, and {text} is wanted"
                       for name, text, got, good in judged if good is False]
            words = {True: "yes", False: "NO", None: "?"}
            table.add(row["name"], f"{figure['name']} [{figure['unit']}]", *(number(medians[n]) for n in names),
                      *(ratio_text(ratios[n]) for n in names[1:]), " ".join(number(got) for _, _, got, _ in judged),
                      judged[0][1] if judged else "", aim_text(row.get("targets", {}).get(figure["name"], {})),
                      " ".join(words[good] for *_, good in judged))
    table.print()
    return missed


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("build")
    parser.add_argument("suite")
    parser.add_argument("filter", nargs="*")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every row (5)")
    parser.add_argument("--prefix", default="",
                        help="put before every command, e.g. \"taskset -c 0\"")
    parser.add_argument("--limit", type=int, default=120, help="seconds one run may take (120)")
    parser.add_argument("--json", help="where the data file goes (below the build folder)")
    parser.add_argument("--check", action="store_true",
                        help="only the rows with targets; name the targets that are missed, and end with status 1 if there are any")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    return parser.parse_intermixed_args()


def main():
    options = parse_arguments()
    with open(os.path.join(HERE, options.suite, "suite.toml"), "rb") as file:
        suite = tomllib.load(file)
    rows = [row for row in suite["row"]
            if (not options.filter or any(part in row["name"] for part in options.filter))
            and (row.get("targets") or not options.check)]
    if options.list:
        for row in rows:
            print(f"{row['name']:24} {row.get('text', '')}")
        return 0
    if not rows and options.check:
        print(f"{options.suite}: no targets")
        return 0
    if not rows:
        raise SystemExit("no row has such a name; --list shows them")
    sides = []
    for side in (Side(options.build, suite, side) for side in suite["side"]):
        if side.missing:
            print(f"side {side.name} is skipped: {side.program} is not built")
        else:
            sides.append(side)
    measurement = Measurement(suite, sides, options)
    data = {"suite": options.suite, "title": suite["title"], "date": kept.now(), "commit": kept.commit(),
            "load": [kept.load()], "machine": kept.machine(options.build), "rounds": options.rounds,
            "sides": measurement.names, "rows": []}
    it = data["machine"]
    print(f"{options.suite}: {options.rounds} rounds, sides in turn, medians, ratios of pairs; {it['cpus']} CPUs "
          f"({it['cpu']}), {it['kernel']}", flush=True)
    for row in rows:
        print(f"  {row['name']} ...", file=sys.stderr, flush=True)
        data["rows"].append(measurement.run_row(row))
    data["load"].append(kept.load())
    missed = print_table(suite, measurement.names, rows, data)
    print(f"{len(missed)} targets missed, {measurement.failures} runs failed")
    path = options.json or os.path.join(options.build, "logs", f"bench-{options.suite}.json")
    kept.write(path, data)
    print(f"every round's values: {path}")
    for side in sides:
        side.preload.close()
    if options.check:
        for line in missed:
            print(f"SHORT   {options.suite}: {line}")
    return 1 if measurement.failures or (options.check and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
