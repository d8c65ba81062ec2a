#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""No test of the build has a time limit that a slow or busy machine could meet without a fault. The limits are there
to end what hangs.

    tests/time_limits.py BUILD
"""

import json
import os
import sys

LEAST = 300  # seconds


def main(build):
    with open(os.path.join(build, "meson-info", "intro-tests.json")) as file:
        tests = json.load(file)
    short = [test for test in tests if 0 < test["timeout"] < LEAST]
    for test in short:
        print(f"{test['name']}: its limit is {test['timeout']} s; at least {LEAST} are wanted (Meson's own is 30)")
    return 1 if short or not tests else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
