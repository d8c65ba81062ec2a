#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Runs Debian's installed GLib tests (package libglib2.0-tests), unmodified.

Each test runs as an unprivileged user, under a session bus of its own, in folders of its own, two
at a time. Natively, or with the GLib layer preloaded; then the number of TAP subtests that passed
must be what it is natively, test by test. That reference stands in native.tsv together with the
GLib version that it was recorded on; where a count differs, or the version does, the test is run
natively as well, here and now, and that decides: subtest by subtest, by name. Where one passes on the one side and is
skipped on the other, that is no agreement, unless the subtest is one that skips itself by chance (BY_CHANCE).

  suite.py BUILD                  the tests in pool-tests.txt, preloaded
  suite.py BUILD --full           all of them
  suite.py --native [--full]      natively: shows what the reference is
  suite.py --native --full --record   writes native.tsv
  suite.py --find-pool-tests      writes pool-tests.txt: the tests that call a thread-pool function,
                                  seen by a counting library preloaded (touch.c)
  suite.py BUILD --only NAME...   these tests; --repeat N runs each N times
"""

import argparse
import concurrent.futures
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", ".."))
import harness  # noqa: E402

META = "/usr/share/installed-tests/glib"
LIMIT = 300  # seconds a test may take; the slowest takes about 60 alone

# Subtests that look for a race, and skip themselves if it did not come out both ways often enough on this machine at
# this moment: by test, the name, and the reason that they then give. They check the same either way: each turn of
# theirs ends the program if it goes wrong. gio/tests/gdbus-export.c, test_threaded_unregistration().
BY_CHANCE = {
    "gdbus-export": (re.compile(r"/gdbus/threaded-unregistration/(object|subtree)"), "Failed to reproduce race"),
}

# Tests that end themselves by a race of their own: by test, the last words. Such a run says nothing, and is made again.
# gapplication: the subtests dbus/activate, dbus/open and dbus/command-line count on time-outs. One that comes late finds
# an application that has been freed, or half of what it has waited for. Beside five of its like on two CPUs every second
# run ends so natively (27 of 56) and, as often or less, preloaded (24 of 93).
ENDS_BY_CHANCE = {
    "gapplication": re.compile(r"^Bail out! GLib-GIO(-FATAL-CRITICAL: g_application_quit: assertion 'G_IS_APPLICATION "
                               r"\(application\)' failed|:ERROR:\S+: assertion failed \(n_command_lines == 2\): "
                               r"\(1 == 2\))$", re.MULTILINE),
}
TRIES = 10  # of one that ends by chance


def read_meta(name):
    """The command of a test and whether it speaks TAP."""
    fields = {}
    with open(os.path.join(META, name + ".test")) as file:
        for line in file:
            key, equals, value = line.strip().partition("=")
            if equals:
                fields[key] = value
    return shlex.split(fields["Exec"]), fields.get("Output") == "TAP"


def all_tests():
    return sorted(entry[:-len(".test")] for entry in os.listdir(META) if entry.endswith(".test"))


def pool_tests():
    """{test: the thread-pool functions that it calls}"""
    with open(os.path.join(HERE, "pool-tests.txt")) as file:
        lines = [line.split() for line in file if line.strip() and not line.startswith("#")]
    return {words[0]: words[1:] for words in lines}


def glib_version():
    result = subprocess.run(["dpkg-query", "-W", "-f=${Version}", "libglib2.0-tests"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return result.stdout.decode().strip() or "unknown"


def read_reference():
    """{test: (ok, skipped)} recorded on this GLib version, or nothing."""
    path = os.path.join(HERE, "native.tsv")
    reference = {}
    if not os.path.exists(path):
        return reference
    with open(path) as file:
        for line in file:
            if line.startswith("# version"):
                if line.split()[2] != glib_version():
                    return {}
            elif not line.startswith("#") and line.strip():
                name, ok, skipped = line.split()
                reference[name] = (int(ok), int(skipped))
    return reference


class Outcome:
    def __init__(self, name, finished, tap, stats):
        self.name = name
        self.jobs = stats.get("jobs", 0)  # that ended on smolscale
        # A program may exit while its only job still runs, but somebody had to be there for it.
        self.captured = self.jobs + stats.get("workers_created", 0) > 0
        self.ok, self.skipped, self.bad = harness.tap_counts(finished.output) if tap else (0, 0, 0)
        self.subtests = harness.tap_subtests(finished.output) if tap else []
        self.wall = finished.wall
        self.good = finished.status == 0 and self.bad == 0
        self.reason = finished.reason() if finished.status != 0 else f"{self.bad} subtests not ok"
        self.output = finished.output
        self.ended_by_chance = (finished.status != 0 and self.bad == 0 and name in ENDS_BY_CHANCE and
                                ENDS_BY_CHANCE[name].search(finished.output) is not None)
        # A whole program that cannot run here says so with status 77 (automake's convention).
        self.whole_skip = finished.status == 77


def with_preload(command, preload):
    """A test that sets LD_PRELOAD itself (by env LD_PRELOAD=...) gets ours before its own."""
    return [f"LD_PRELOAD={preload.value(word[len('LD_PRELOAD='):])}"
            if word.startswith("LD_PRELOAD=") and preload.paths else word for word in command]


def run_test(name, preload, log, extra_env=None):
    for _ in range(TRIES):
        outcome = run_once(name, preload, log, extra_env)
        if not outcome.ended_by_chance:
            break
    return outcome


def run_once(name, preload, log, extra_env):
    command, tap = read_meta(name)
    with harness.Sandbox() as box:
        # The bus runs natively: only the test gets the preload.
        env = box.env()
        env.update(extra_env or {})
        inner = with_preload(command, preload)
        value = preload.value(env.pop("LD_PRELOAD", ""))
        if value:
            inner = ["env", f"LD_PRELOAD={value}"] + inner
        stats = box.path("tmp/smolscale-stats")
        env["SMOLSCALE_STATS"] = stats
        finished = harness.execute(["dbus-run-session", "--"] + inner, env=env,
                                   cwd=box.path("cwd"), timeout=LIMIT, user=box.user, log=log)
        return Outcome(name, finished, tap, harness.read_stats(stats))


def slowest_first(names):
    """Long tests first, so that two at a time end together."""
    slow = ("thread-pool-slow", "gdbus-", "gsocketclient-slow", "asyncqueue", "mainloop", "task",
            "thread-pool", "threadtests", "performance", "unix-streams", "signal")
    return sorted(names, key=lambda name: (not name.startswith(slow), name))


def run_many(names, preload, logs, jobs, extra_env=lambda name: None):
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(run_test, name, preload, os.path.join(logs, name + ".log"),
                               extra_env(name)): name for name in slowest_first(names)}
        for future in concurrent.futures.as_completed(waiting):
            yield future.result()


def without_chance(outcome):
    """[(subtest, "ok", "skipped" or "not ok")] in their order; "chance" for one that passed or skipped itself by it."""
    pattern, reason = BY_CHANCE.get(outcome.name, (None, None))

    def of(name, state, note):
        left_out = state == "skipped" and note.startswith(reason or "\0")
        return "chance" if pattern and pattern.fullmatch(name) and (state == "ok" or left_out) else state

    return [(name, of(name, state, note)) for name, state, note in outcome.subtests]


def judge(outcome, reference, nothing, logs, tally):
    """Compares a preloaded outcome with the native one."""
    log = os.path.join(logs, outcome.name + ".log")
    wanted = reference.get(outcome.name)
    counted = (outcome.ok, outcome.skipped)
    note = f"{outcome.ok} subtests, {outcome.wall:.1f} s, {outcome.jobs} jobs"
    # A test that pushes a single job may do so in a forked child that leaves no counters. Those that
    # also ask for the length of the queue push several, and live long enough to be counted.
    if "g_thread_pool_unprocessed" in pool_tests().get(outcome.name, []) and not outcome.captured:
        tally.fail(outcome.name, "smolscale did nothing: the preload did not take effect", log)
        return
    if outcome.good and counted == wanted:
        tally.ok(outcome.name, note)
        return
    native = run_test(outcome.name, nothing, os.path.join(logs, outcome.name + ".native.log"))
    if outcome.good and native.good and counted == (native.ok, native.skipped):
        tally.ok(outcome.name, note + " (as natively now; the record differs)")
    elif outcome.good and native.good and without_chance(outcome) == without_chance(native):
        tally.ok(outcome.name, note + f" (natively {native.ok} and {native.skipped} skipped: by chance)")
    elif outcome.whole_skip and native.whole_skip:
        tally.skip(outcome.name, "cannot run here, natively neither")
    elif not native.good and not outcome.good:
        tally.skip(outcome.name, f"fails natively here as well: {native.reason} (log: {log})")
    elif not outcome.good:
        tally.fail(outcome.name, outcome.reason, log)
    else:
        tally.fail(outcome.name, f"{counted[0]} subtests ok and {counted[1]} skipped; natively "
                   f"{native.ok} and {native.skipped}", log)


def find_pool_tests(jobs):
    """Which tests call g_thread_pool_*: a library that counts and forwards is preloaded."""
    with tempfile.TemporaryDirectory(prefix="smolscale-touch-") as folder:
        os.chmod(folder, 0o1777)
        library = os.path.join(folder, "touch.so")
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library,
                        os.path.join(HERE, "touch.c")], check=True)
        os.chmod(library, 0o755)
        preload = harness.Preload("", [])
        preload.paths = [library]
        found = {}
        names = all_tests()
        for outcome in run_many(names, preload, folder, jobs, lambda name: {
                "TOUCH_FILE": os.path.join(folder, name + ".touched")}):
            path = os.path.join(folder, outcome.name + ".touched")
            if os.path.exists(path):
                with open(path) as file:
                    found[outcome.name] = sorted(set(file.read().split()))
            print(f"{outcome.name}: {' '.join(found.get(outcome.name, ['-']))}", flush=True)
    with open(os.path.join(HERE, "pool-tests.txt"), "w") as file:
        file.write(f"# The tests of libglib2.0-tests {glib_version()} that call a thread-pool "
                   "function, and which\n# (written by suite.py --find-pool-tests).\n")
        for name in sorted(found):
            file.write(f"{name} {' '.join(found[name])}\n")
    print(f"{len(found)} of {len(names)} tests call a thread-pool function")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("build", nargs="?", help="the build folder (not with --native)")
    parser.add_argument("--full", action="store_true", help="every test, not the pool's alone")
    parser.add_argument("--native", action="store_true", help="without preloading")
    parser.add_argument("--record", action="store_true", help="write native.tsv")
    parser.add_argument("--find-pool-tests", action="store_true", help="write pool-tests.txt")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    parser.add_argument("--logs", help="folder for the outputs")
    options = parser.parse_args()

    if not os.path.isdir(META) or not shutil.which("dbus-run-session"):
        print("skipped: packages libglib2.0-tests and dbus-daemon are not installed")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    if options.find_pool_tests:
        return find_pool_tests(options.jobs)
    if not options.native and not options.build:
        parser.error("which build folder?")

    names = options.only or (all_tests() if options.full else list(pool_tests()))
    logs = options.logs or (os.path.join(options.build, "logs", "upstream-glib")
                            if options.build else tempfile.mkdtemp(prefix="smolscale-glib-"))
    os.makedirs(logs, exist_ok=True)
    logs = os.path.abspath(logs)
    tally = harness.Tally()
    reference = read_reference()
    subtests = 0
    recorded = {}
    nothing = harness.Preload("", [])
    preload = nothing if options.native else harness.Preload(options.build, ["glib"])
    with preload:
        for _ in range(options.repeat):
            for outcome in run_many(names, preload, logs, options.jobs):
                subtests += outcome.ok
                recorded[outcome.name] = (outcome.ok, outcome.skipped)
                if not options.native:
                    judge(outcome, reference, nothing, logs, tally)
                elif outcome.good:
                    tally.ok(outcome.name, f"{outcome.ok} subtests, {outcome.wall:.1f} s")
                elif outcome.whole_skip:
                    tally.skip(outcome.name, "says that it cannot run here")
                else:
                    tally.fail(outcome.name, outcome.reason, os.path.join(logs,
                                                                          outcome.name + ".log"))
    print(f"{subtests} subtests ok ({'natively' if options.native else 'preloaded'}), GLib "
          f"{glib_version()}")
    if options.record:
        with open(os.path.join(HERE, "native.tsv"), "w") as file:
            file.write("# Natively: test, subtests ok, subtests skipped "
                       f"(written by suite.py --native --full --record)\n# version "
                       f"{glib_version()}\n")
            for name in sorted(recorded):
                file.write(f"{name}\t{recorded[name][0]}\t{recorded[name][1]}\n")
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
