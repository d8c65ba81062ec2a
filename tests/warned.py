#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""warned.py FOLDER: the targets of a build folder in which every warning is an error, a line each.

All objects that are compiled with warnings, and all that is linked but for the simulated machine: the core in it is
compiled once more, instrumented and without a warning, and so are the benchmarks.
"""

import json
import os
import shlex
import sys


def main():
    folder = os.path.abspath(sys.argv[1])
    with open(os.path.join(folder, "compile_commands.json"), encoding="utf-8") as file:
        objects = [entry["output"] for entry in json.load(file) if "-w" not in shlex.split(entry["command"])]
    with open(os.path.join(folder, "meson-info/intro-targets.json"), encoding="utf-8") as file:
        linked = [os.path.relpath(name, folder) for target in json.load(file) if target["build_by_default"]
                  and not target["defined_in"].endswith("tests/sim/meson.build") for name in target["filename"]]
    print("\n".join(objects + linked))


if __name__ == "__main__":
    main()
