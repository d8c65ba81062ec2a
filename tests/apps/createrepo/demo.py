#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The demonstration behind `./dev run`: createrepo_c, an unmodified program, over a few hundred small
rpm packages, natively and on smolscale in turn; shows that both make the same repository, and what
each needed for it."""

import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import createrepo  # noqa: E402
import packages  # noqa: E402

sys.path.insert(0, os.path.join(HERE, ".."))
import apps  # noqa: E402
import harness  # noqa: E402

ROUNDS = 11


class MostThreads:
    """Watches a running process and remembers the most threads it was seen with."""

    def __init__(self):
        self.most = 0

    def __call__(self, pid):
        try:
            with open(f"/proc/{pid}/status") as file:
                for line in file:
                    if line.startswith("Threads:"):
                        self.most = max(self.most, int(line.split()[1]))
                        return
        except OSError:
            pass


def measure(app, preload):
    watch = MostThreads()
    run = apps.run_once(app, preload, watch=watch)
    if run.digest is None:
        raise SystemExit(f"createrepo_c: {run.finished.reason()}\n{run.finished.output}")
    run.threads = watch.most
    return run


def main(build):
    folder = packages.make(build)
    count = len(os.listdir(folder))
    print(f"createrepo_c over {count} packages, {ROUNDS} times natively and on smolscale in turn")
    native, ours = [], []
    with packages.readable(folder) as readable, harness.Preload(build, ["glib"]) as preload:
        app = createrepo.app(readable)
        nothing = harness.Preload(build, [])
        for _ in range(ROUNDS):
            native.append(measure(app, nothing))
            ours.append(measure(app, preload))

    def median(runs, value):
        return statistics.median(value(run) for run in runs)

    def stat(name):
        values = [run.stats[name] for run in ours if name in run.stats]
        return f"{statistics.median(values):.0f}" if values else "?"

    rows = [("", "native", "smolscale")]
    for text, form, value in (
            ("wall time", "{:.1f} ms", lambda run: run.finished.wall * 1e3),
            ("CPU time", "{:.1f} ms", lambda run: run.finished.cpu * 1e3),
            ("context switches", "{:.0f}", lambda run: run.finished.switches),
            ("threads at most", "{:.0f}", lambda run: run.threads)):
        rows.append((text, form.format(median(native, value)), form.format(median(ours, value))))
    rows.append(("jobs on the pool", "-", stat("jobs")))
    rows.append(("wake-ups of a worker", "-", stat("wakes")))
    digests = {run.digest for run in native}, {run.digest for run in ours}
    rows.append(("SHA-256 of the index", *(next(iter(d))[:16] if len(d) == 1 else "varies"
                                           for d in digests)))
    print()
    for text, left, right in rows:
        print(f"  {text:22}{left:>18}{right:>18}")
    print()
    same = len(digests[0] | digests[1]) == 1
    print("same output in every run" if same else "THE OUTPUT DIFFERS")
    worked = all(run.stats.get("jobs", 0) > 0 for run in ours)
    if not worked:
        print("but no job ran on smolscale: the preload did not take effect")
    return 0 if same and worked else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
