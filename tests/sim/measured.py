#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""measured.py BUILD: that the commands about real machines work (./dev sim program, measure, credible). No figure is
judged: they depend on the machine. Ends with "N passed, N failed"."""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 600  # seconds
# Of each profile, whoever wrote it.
NAMES = {"cpus", "access_ps", "rmw", "from_socket", "call", "thread_switch", "wake_here", "overshoot", "idle"}


def output(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LIMIT, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: status {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def figures(text):
    return {line.split()[0]: float(line.split()[1]) for line in text.splitlines()}


def a_program_is_the_same_each_time(build):
    command = [f"{build}/tests/sim/sim", "program", "tasks", "context_switch_quiet"]
    first, second = output(command), output(command)
    assert first == second, f"two runs differ:\n{first}{second}"
    assert figures(first)["time"] > 0, first


def what_accesses_cost_shows(build):
    # A machine on which each access takes ten times as long is slower.
    with tempfile.TemporaryDirectory() as folder, open(f"{HERE}/time/profiles/machine-a.txt", encoding="utf-8") as file:
        lines = file.read().splitlines()
        dear = [f"access_ps {10 * int(line.split()[1])}" if line.startswith("access_ps ") else line for line in lines]
        with open(f"{folder}/dear.txt", "w", encoding="utf-8") as copy:
            copy.write("\n".join(dear) + "\n")
        command = [f"{build}/tests/sim/sim", "program"]
        cheap = figures(output([*command, "tasks", "context_switch_quiet"]))["time"]
        slow = figures(output([*command, "--profiles", folder, "--profile", "dear", "tasks", "context_switch_quiet"]))["time"]
        assert slow > 2 * cheap, f"{slow} and {cheap} us"


def a_profile_is_measured_and_read(build):
    text = output([sys.executable, f"{HERE}/measure.py", build, "--rounds", "1"])
    names = {line.split()[0] for line in text.splitlines() if line and not line.startswith("#")}
    assert NAMES <= names, f"missing: {NAMES - names}"
    without = [line for line in text.splitlines() if line and not line.startswith("#") and " # " not in line]
    assert not without, f"no source: {without}"
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/here.txt", "w", encoding="utf-8") as file:
            file.write(text)
        found = figures(output([f"{build}/tests/sim/sim", "program", "--profiles", folder, "--profile", "here", "tasks",
                                "context_switch_quiet"]))
    assert found["time"] > 0, found


def rows_are_compared(build):
    text = output([sys.executable, f"{HERE}/credible.py", build, "--rounds", "1", "--short", "context_switch_quiet",
                   "sleeping-max-50"])
    assert "figures are within 25 %" in text, text
    wanted = ["tasks context_switch_quiet"]
    if os.path.exists(f"{build}/bench/glib/bench-glib"):
        wanted += ["glib sleeping-max-50, native", "glib sleeping-max-50 "]
    for row in wanted:
        assert any(line.startswith(row) and line.split()[-1] in ("yes", "no") for line in text.splitlines()), text


def main():
    build, failed = sys.argv[1], 0
    tests = [a_program_is_the_same_each_time, what_accesses_cost_shows, a_profile_is_measured_and_read, rows_are_compared]
    for test in tests:
        try:
            test(build)
        except (AssertionError, subprocess.TimeoutExpired) as why:
            failed += 1
            print(f"FAILED  {test.__name__}: {why}")
    print(f"{len(tests) - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
