#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Turns Meson's testlog.json into the lines that ./dev reads: for each failed test a line and the
end of what it printed, and the counts at the end."""

import json
import os
import sys

# Lines of each output, standard and error, which tell what failed: a log may be out of reach.
END_LINES = 12


def end_of(output):
    return [f"    | {line}" for line in output.splitlines()[-END_LINES:]]


def main(path):
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    if os.path.exists(path):
        with open(path) as file:
            for line in file:
                test = json.loads(line)
                if test["result"] in ("OK", "EXPECTEDFAIL"):
                    counts["passed"] += 1
                elif test["result"] == "SKIP":
                    counts["skipped"] += 1
                    print(f"skipped {test['name']}")
                else:
                    counts["failed"] += 1
                    log = os.path.join(os.path.dirname(path), "testlog.txt")
                    print(f"FAILED  {test['name']}: {test['result'].lower()} (log: {log})")
                    print("\n".join(end_of(test.get("stdout", "")) + end_of(test.get("stderr", ""))))
    tail = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    print(f"{counts['passed']} passed, {counts['failed']} failed{tail}")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
