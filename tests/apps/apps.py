# SPDX-License-Identifier: ISC
"""Runs a real program natively and preloaded, many times, and compares what it made.

A folder here describes a program by an App and calls main() with it; nothing in this file knows a
particular program or compat layer.
"""

import argparse
import hashlib
import os
import shutil
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402


class App:
    """What is run. `command(box)` gives the command for a fresh harness.Sandbox, `digest(box,
    output)` what of its results must be the same in every run."""

    def __init__(self, name, layers, needs, command, digest, limit=60, env=None):
        self.name = name
        self.layers = layers    # compat layers that it is run on
        self.needs = needs      # programs that must be installed
        self.command = command
        self.digest = digest
        self.limit = limit      # seconds a run may take
        self.env = env or {}


class Run:
    """One run: how it ended, what it made, and the library's own statistics (empty natively)."""

    def __init__(self, finished, digest, stats):
        self.finished = finished
        self.digest = digest
        self.stats = stats


def hash_files(paths):
    """One hash over files, in the given order."""
    total = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            total.update(file.read())
    return total.hexdigest()


def run_once(app, preload, log=None, watch=None):
    with harness.Sandbox() as box:
        stats = box.path("tmp/stats")
        env = {**box.env(), **app.env}
        if preload.paths:
            env["LD_PRELOAD"] = preload.value()
            env["SMOLSCALE_STATS"] = stats
        finished = harness.execute(app.command(box), env=env, cwd=box.path("cwd"), user=box.user,
                                   timeout=app.limit, log=log, watch=watch)
        digest = app.digest(box, finished.output) if finished.status == 0 else None
        return Run(finished, digest, harness.read_stats(stats))


def median_line(name, runs):
    return (f"        {name}: wall {statistics.median(r.finished.wall for r in runs) * 1e3:.0f} ms, "
            f"CPU {statistics.median(r.finished.cpu for r in runs) * 1e3:.0f} ms, "
            f"{statistics.median(r.finished.switches for r in runs):.0f} context switches")


def check(app, build, runs, tally, logs):
    """`runs` runs on smolscale, a few natively in between; all must make the same thing."""
    missing = [program for program in app.needs if shutil.which(program) is None]
    if missing:
        tally.skip(app.name, f"{' and '.join(missing)} not installed")
        return
    absent = [layer for layer in app.layers if layer not in harness.layers_built(build)]
    if absent:
        tally.skip(app.name, f"layer {' and '.join(absent)} not built")
        return
    nothing = harness.Preload(build, [])
    native, ours = [], []
    with harness.Preload(build, app.layers) as preload:
        for turn in range(runs):
            if turn % 10 == 0:
                log = os.path.join(logs, f"{app.name}.native.log")
                native.append(run_once(app, nothing, log))
                if native[-1].digest is None:
                    tally.fail(app.name, f"natively: {native[-1].finished.reason()}", log)
                    return
                if native[-1].digest != native[0].digest:
                    tally.fail(app.name, "natively not the same output twice", log)
                    return
            log = os.path.join(logs, f"{app.name}.log")
            run = run_once(app, preload, log)
            if run.digest is None:
                tally.fail(app.name, f"run {turn + 1} of {runs}: {run.finished.reason()}", log)
                return
            if run.digest != native[0].digest:
                tally.fail(app.name, f"run {turn + 1} of {runs} made {run.digest}, natively "
                           f"{native[0].digest}", log)
                return
            if run.stats.get("jobs", 0) == 0:
                tally.fail(app.name, f"run {turn + 1} of {runs}: no job ran on smolscale "
                           f"(statistics: {run.stats})", log)
                return
            ours.append(run)
    tally.ok(app.name, f"{runs} runs, output as natively ({native[0].digest[:16]})")
    print(median_line("natively    ", native))
    print(median_line("on smolscale", ours), flush=True)


def main(apps, runs=50):
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--full", action="store_true", help="four times as many runs")
    parser.add_argument("--runs", type=int, default=runs)
    options = parser.parse_args()
    logs = os.path.abspath(os.path.join(options.build, "logs", "apps"))
    os.makedirs(logs, exist_ok=True)
    tally = harness.Tally()
    for app in apps:
        check(app, options.build, options.runs * (4 if options.full else 1), tally, logs)
    return tally.finish()
