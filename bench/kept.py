# SPDX-License-Identifier: ISC
"""Kept results: a JSON file for a run of a suite, with every round's values of every side.

  {"suite": "glib", "title": ..., "note": ..., "date": "2026-01-31T12:00:00Z", "commit": "0123456789ab",
   "load": [before, after],            # 1-minute load averages: what else the machine did
   "machine": {"cpu": ..., "cpus": 2, "kernel": ..., "system_call_ns": 130, "wake_us": 4.9},
   "rounds": 5, "sides": ["native", "smolscale"],
   "rows": [{"name": ..., "text": ..., "absent": why, "figures": [
       {"name": "wall", "unit": "ns", "higher": true, "values": {"native": [310, null], "smolscale": [62, 60]}}]}]}

The place in a list is the round, null where a side has no value in that round. All sides run one after the other in a
round, so the values of one place are a pair: what disturbs one disturbs the other, and their ratio counts."""

import json
import os
import platform
import statistics
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def cpu_model():
    """The CPU's name; where the kernel has none, its implementer and part."""
    fields = {}
    with open("/proc/cpuinfo") as file:
        for line in file:
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    if "model name" in fields:
        return fields["model name"]
    if "CPU part" in fields:
        return f"{platform.machine()}, implementer {fields.get('CPU implementer')}, part {fields['CPU part']}"
    return platform.machine()


def costs(build):
    """What a system call and a wake-up cost here: {"system_call_ns": ..., "wake_us": ...}, as far as it is known."""
    program = os.path.join(build, "bench/costs/costs")
    if not os.path.exists(program):
        return {}
    tries = []
    for _ in range(3):  # the least: other programs only add to it
        done = subprocess.run([program], stdout=subprocess.PIPE, timeout=60, check=True)
        tries.append({f"{name}_{unit}": float(value)
                      for name, value, unit in (line.split() for line in done.stdout.decode().splitlines())})
    return {key: min(one[key] for one in tries) for key in tries[0]}


def machine(build):
    return {"cpu": cpu_model(), "cpus": len(os.sched_getaffinity(0)), "kernel": f"Linux {platform.release()}",
            **costs(build)}


def commit():
    """The commit that was measured; with a + where what is built from or run differs from it."""
    try:
        short = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=HERE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, check=True).stdout.decode().strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no", "--", "core", "compat", "bench",
                                  "tests/apps", "meson.build"], cwd=os.path.join(HERE, ".."), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
        return short + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def load():
    return round(os.getloadavg()[0], 1)


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


# ---- what follows from the values ----

def present(values):
    return [value for value in values if value is not None]


def median(values):
    values = present(values)
    return statistics.median(values) if values else None


def pairs(figure, side, first):
    """The ratio of a side to the first one, round by round, where both have a value."""
    return [mine / theirs for mine, theirs in zip(figure["values"].get(side, []), figure["values"].get(first, []))
            if mine is not None and theirs]


# ---- files ----

def compact(data):
    """JSON with a line for each figure: a change of one is one line of a diff."""
    head = {key: value for key, value in data.items() if key != "rows"}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    rows = []
    for row in data["rows"]:
        inner = ",\n".join("   " + json.dumps(figure) for figure in row["figures"])
        rest = {key: value for key, value in row.items() if key != "figures"}
        rows.append("  " + json.dumps(rest)[:-1] + ', "figures": [' + (f"\n{inner}]" if inner else "]") + "}")
    return "{\n" + "\n".join(lines) + '\n "rows": [\n' + ",\n".join(rows) + "\n ]\n}\n"


def write(path, data):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path + ".new", "w") as file:
        file.write(compact(data))
    os.rename(path + ".new", path)


def read(path):
    with open(path) as file:
        return json.load(file)
