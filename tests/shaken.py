#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Runs the unit tests again and again where the scheduler is at its worst, so that a test that leans on
the machine's speed falls, and so does code that leans on it.

    tests/shaken.py BUILD [--rounds N] [--seed N] [--delays LIBRARY] [PART...]

A round runs each test, in a process of its own and in a random order, under each of these conditions:

    burning   beside eight processes that burn CPU
    one CPU   bound to a single CPU
    idle      SCHED_IDLE: whoever else wants the CPU gets it first
    batch     SCHED_BATCH: what wakes up preempts nobody

With --delays it is this alone, for the tests of the core:

    delayed   threads are stopped for some ms at functions chosen at random, others in each run (delays.c)

PART is a word of a Meson test's name ("core-group", "libuv preloaded"); without one all Check programs run,
those of the compat layers natively and on smolscale. The same seed gives the same order. Each failure is
printed with the command that repeats it, which is good for a loop.
"""

import argparse
import collections
import concurrent.futures
import ctypes
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys

import harness

SUITES = {"core", "glib", "libuv", "pthreadpool", "cli"}
BURNERS = 8
# Seconds for one test. It says what the threads were doing, so it comes before Check's own limits, which
# are meant for a machine of one's own.
LIMIT = 600
CHECK_LIMIT_FACTOR = 100
PR_SET_PDEATHSIG = 1


class Burners:
    """Processes that burn CPU. They end with this process, however it ends: the kernel sees to it."""

    def __init__(self, count):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.pids = [self._start() for _ in range(count)]

    def _start(self):
        parent = os.getpid()
        pid = os.fork()
        if pid != 0:
            return pid
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() != parent:
                os._exit(1)
            # Where the kernel shares the CPU between sessions, each burner counts like a test.
            os.setsid()
            while True:
                pass
        finally:
            os._exit(1)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        for pid in self.pids:
            os.waitpid(pid, 0)


# name: (command in front of the test's, burning processes beside it)
CONDITIONS = {
    "burning": ([], BURNERS),
    "one CPU": (["taskset", "-c", str(min(os.sched_getaffinity(0)))], 0),
    "idle": (["chrt", "--idle", "0"], 0),
    "batch": (["chrt", "--batch", "0"], 0),
}
DELAYED = {"delayed": ([], 0)}
# Its programs count the system calls, or allow some alone.
NEVER_DELAYED = {"core-quiet"}


class Test:
    """One test of a Check program in one of the program's forms (native, preloaded, ...)."""

    def __init__(self, form, env, folder, command, name):
        self.form, self.env, self.folder, self.command, self.name = form, env, folder, command, name

    def run(self, condition, number, delays, log):
        """Runs it; None when all is well, else what went wrong. `number` is one at random."""
        prefix, burners = condition
        own = {"MALLOC_PERTURB_": str(number % 255 + 1), **self.env, "TEST_ONLY": self.name}
        if delays:
            own |= {"LD_PRELOAD": delays, "DELAY_SEED": str(number)}
        own["CK_TIMEOUT_MULTIPLIER"] = str(CHECK_LIMIT_FACTOR)
        # In front of `env`, so that taskset and chrt are not preloaded.
        command = prefix + ["env", "-C", self.folder] \
            + [f"{key}={value}" for key, value in own.items()] + self.command
        done = harness.execute(command, env=os.environ, cwd=os.getcwd(), timeout=LIMIT, log=log)
        if done.status == 0 and ran_a_test(done.output):
            os.unlink(log)
            return None
        what = done.reason() if done.status != 0 else "no test was run"
        beside = f" beside {burners} burning processes" if burners else ""
        return f"{what}\n        repeat: {shlex.join(command)}{beside}\n       "


def ran_a_test(output):
    """Whether Check's summary counts a check."""
    return any(line.split("Checks: ")[1].split(",")[0] != "0"
               for line in output.splitlines() if "Checks: " in line)


def tests_of(build, suites_asked, parts):
    """The tests of all Check programs of these suites that a part names."""
    with open(os.path.join(build, "meson-info", "intro-tests.json")) as file:
        declared = json.load(file)
    found = []
    folder = os.path.abspath(build)  # where Meson starts its tests
    inside = os.path.join(folder, "")
    for entry in declared:
        suites = {suite.rpartition(":")[2] for suite in entry["suite"]}
        asked = any(part in entry["name"] for part in parts) if parts \
            else "disabled" not in entry["name"]
        # A script is no Check program.
        if not asked or not suites & suites_asked or not entry["cmd"][0].startswith(inside):
            continue
        env = {**os.environ, **entry["env"], "TEST_LIST": "1"}
        listed = subprocess.run(entry["cmd"], env=env, cwd=folder, stdin=subprocess.DEVNULL, timeout=60,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        names = [line for line in listed.stdout.splitlines() if line.isidentifier()]
        found += [Test(entry["name"], entry["env"], folder, entry["cmd"], name) for name in names]
    return found


def main():
    how = "--delayed" if "--delays" in sys.argv else "--shaken"
    parser = argparse.ArgumentParser(prog=f"./dev test {how}")
    parser.add_argument("build")
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1000000))
    parser.add_argument("--delays", metavar="LIBRARY", type=os.path.abspath)
    options = parser.parse_intermixed_args()
    conditions = DELAYED if options.delays else CONDITIONS

    # Ctrl-C, too, takes along what runs.
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
    tests = tests_of(options.build, {"core"} if options.delays else SUITES, options.parts)
    if options.delays:
        tests = [test for test in tests if test.form not in NEVER_DELAYED]
    if not tests:
        print(f"FAILED  shaken: no test's name contains {' or '.join(options.parts) or 'anything'}")
        print("0 passed, 1 failed")
        return 1
    logs = os.path.abspath(os.path.join(options.build, "logs", how[2:]))
    os.makedirs(logs, exist_ok=True)
    print(f"{len(tests)} tests, {options.rounds} rounds, seed {options.seed}: "
          f"{parser.prog} --rounds {options.rounds} --seed {options.seed} "
          f"{shlex.join(options.parts)}", flush=True)

    tally = harness.Tally()
    failures = collections.Counter()  # of a condition
    rng = random.Random(options.seed)
    side_by_side = len(os.sched_getaffinity(0)) * (4 if options.delays else 1)  # a delay takes no CPU

    def run(number, condition, test, at_random):
        name = f"{test.form}: {test.name} ({condition}, round {number})"
        log = os.path.join(logs, f"{os.getpid()}-{re.sub(r'[^a-zA-Z0-9_]+', '-', name)}.log")
        wrong = test.run(conditions[condition], at_random, options.delays, log)
        if wrong:
            tally.fail(name, wrong, log)
            failures[condition] += 1
        else:
            tally.count()

    for number in range(1, options.rounds + 1):
        for condition, (_, burners) in conditions.items():
            order = [(test, rng.randrange(1000000)) for test in tests]
            rng.shuffle(order)
            with Burners(burners), \
                    concurrent.futures.ThreadPoolExecutor(side_by_side) as threads:
                for done in [threads.submit(run, number, condition, *each) for each in order]:
                    done.result()
            print(f"round {number}, {condition}: {tally.passed} passed, {tally.failed} failed so far",
                  flush=True)
    print("failures: " + ", ".join(f"{name} {failures[name]}" for name in conditions))
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
