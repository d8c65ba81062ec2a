#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""looked_at.py WHAT ARGUMENT...: what it costs that a process can be looked at, and that it is.

  bursts [--turns N] ARGUMENT...   on one CPU, processes of `bench-glib bursts` take turns: one without a page, another one, for
                                   what chance alone makes of it, one with a page, and one that is looked at. Figures:
                                   what each takes divided by what the first takes, the median of the turns.
  instructions [--pushes N]        what a push takes, counted by valgrind. There a push is slow, and so more of them are
                                   samples than in truth: the figure for "looked-at" is too high.
  another NAME ARGUMENT...         bench-glib NAME ARGUMENT..., with LOOK=1 while it is looked at.

To look is `smolscale top` on a terminal that nobody reads, ten times a second."""

import argparse
import os
import pty
import random
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time

BUILD = os.environ["SMOLSCALE_BENCH_BUILD"]
BENCH = os.path.join(BUILD, "bench/glib/bench-glib")
KINDS = ("off", "again", "on", "looked-at")
ABSENT = 77  # as ../run.py has it


def environment(kind):
    env = {key: value for key, value in os.environ.items() if key != "SMOLSCALE_TOP"}
    return env if kind in ("off", "again") else {**env, "SMOLSCALE_TOP": "1"}


def drain(master):
    try:
        while os.read(master, 65536):
            pass
    except OSError:  # nobody has the other side any more
        pass
    os.close(master)


class Look(threading.Thread):
    """Tries until there is something to see, and then looks until the process ends. stop() ends it before."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.seen, self.stopped, self.top = process, False, False, None
        self.start()

    def run(self):
        env = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
        command = [os.path.join(BUILD, "cli/smolscale"), "top", "-d", "0.1", str(self.process.pid)]
        while self.process.poll() is None and not self.stopped:
            master, slave = pty.openpty()
            threading.Thread(target=drain, args=(master,), daemon=True).start()
            self.top = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL,
                                        env={**env, "TERM": "xterm"})
            os.close(slave)
            if self.top.wait() == 0:
                self.seen = True
                return

    def stop(self):
        self.stopped = True
        if self.top and self.top.poll() is None:
            self.top.terminate()
        self.join()


def another(words):
    process = subprocess.Popen([BENCH, *words])
    if os.environ.get("LOOK"):
        Look(process)
    return process.wait()


# ---- in turn

class Bursts:
    """A process that does a burst when it is asked to."""

    def __init__(self, kind, words):
        self.process = subprocess.Popen([BENCH, "bursts", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=environment(kind))
        self.look = Look(self.process) if kind == "looked-at" else None

    def burst(self):
        """{figure: value} of one."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return {name: float(value) for name, value, _ in (self.process.stdout.readline().split() for _ in range(3))}

    def end(self):
        self.process.stdin.close()
        status = self.process.wait()
        if self.look:
            self.look.stop()
        return status


def bursts(words):
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=40)
    options, words = parser.parse_known_args(words)
    # How the threads of a process happen to lie on several CPUs may double or halve what all its bursts take.
    os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
    processes = {kind: Bursts(kind, words) for kind in KINDS}
    for process in processes.values():
        process.burst()
    time.sleep(1)  # the page is there, and is looked at
    ratios = {(kind, figure): [] for kind in KINDS[1:] for figure in ("wall", "cpu")}
    chance = random.Random(1)
    for _ in range(options.turns):
        # None of them always finds what the same other one has left behind.
        took = {kind: processes[kind].burst() for kind in chance.sample(KINDS, len(KINDS))}
        for kind, figure in ratios:
            ratios[kind, figure].append(took[kind][figure] / took["off"][figure])
    status = max([process.end() for process in processes.values()])
    for (kind, figure), values in ratios.items():
        print(f"{kind}-{figure} {statistics.median(values):.4f} of-off")
    return status


# ---- counted

def count(kind, pushes):
    """The instructions of that many pushes, of which none is served meanwhile."""
    process = subprocess.Popen(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=push",
                                BENCH, "gated", "--jobs", str(pushes)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment(kind))
    look = Look(process) if kind == "looked-at" else None
    error = process.communicate()[1]
    if look:
        look.stop()
    found = re.search(r"Collected : (\d+)", error)
    if process.returncode or not found:
        raise SystemExit(f"valgrind: status {process.returncode}: {error[-300:]}")
    return int(found.group(1))


def instructions(words):
    parser = argparse.ArgumentParser()
    parser.add_argument("--pushes", type=int, default=500000)
    options = parser.parse_args(words)
    if not shutil.which("valgrind"):
        print("valgrind is not installed", file=sys.stderr)
        return ABSENT
    counts = {kind: count(kind, options.pushes) for kind in KINDS}
    print(f"off {counts['off'] / options.pushes:.1f} a-push")
    for kind in KINDS[1:]:
        print(f"{kind} {counts[kind] / counts['off']:.5f} of-off")
    return 0


def main():
    what, words = sys.argv[1], sys.argv[2:]
    return {"bursts": bursts, "instructions": instructions, "another": another}[what](words)


if __name__ == "__main__":
    sys.exit(main())
