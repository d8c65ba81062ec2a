#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Does the text of each fault of mutations.py occur once in its source, so that it can be put in? Takes no build and
no time: so the change of a line that is the place of a fault is seen at once, by the unit tests. That each fault is
found takes minutes: mutate.py."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from mutations import MUTATIONS  # noqa: E402

CORE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "core")


def read_core(path):
    """A source below core/; "" where there is none."""
    try:
        with open(os.path.join(CORE, path), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def complaint(mutation):
    """Why the fault cannot be put into its source; None: it can."""
    _, path, original, mutated = mutation[:4]
    count = read_core(path).count(original)
    if count != 1:
        return f"its text occurs {count} times in core/{path}: say in tests/sim/mutations.py what the fault is now"
    if mutated == original:
        return "it changes nothing"
    gone = [source for source in (mutation[5].split() if len(mutation) > 5 else []) if not read_core(source)]
    return f"it is to be compiled into {', '.join(gone)}, which core/ has not" if gone else None


def main():
    wrong = [(mutation[0], why) for mutation in MUTATIONS if (why := complaint(mutation))]
    for name, why in wrong:
        print(f"{name}: {why}")
    print(f"{len(MUTATIONS)} faults, {len(wrong)} of which cannot be put in")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
