#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Has every public function its wrong arguments? bad_input.py COMMANDS LIBRARY TEST...

LIBRARY is a shared library; each function that it exports must be called in the sources TEST, whose tables
say what wrong arguments give. They are looked at as the compiler sees them (COMMANDS is the build's
compile_commands.json), so that a table may put names together. What headers say does not count. A new
function without a row is a line of the output, and fails the check.
"""

import json
import os
import re
import shlex
import subprocess
import sys

# Functions for which no argument and no state is wrong, and why.
WITHOUT = {
    "smolscale_disabled": "takes nothing",
    "smolscale_elastic": "takes nothing",
    "smolscale_now": "takes nothing",
    "smolscale_permanently_single_threaded": "takes nothing",
    "smolscale_quiet": "takes nothing",
    "uv_library_shutdown": "takes nothing",
    # Preloaded only to learn of a call; the native function gets the arguments as they are.
    "epoll_create1": "passed on",
    "uv_async_send": "passed on",
    "uv_mutex_init": "passed on",
    "uv_once": "passed on",
    "uv_thread_create": "passed on",
    "uv_thread_create_ex": "passed on",
    "uv_thread_join": "passed on",
}


def exported(library):
    out = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    return sorted(line.split()[-1].split("@")[0] for line in out.splitlines())


def preprocessed(commands, source):
    """The text of the source itself, macros expanded."""
    for entry in commands:
        if os.path.realpath(os.path.join(entry["directory"], entry["file"])) == os.path.realpath(source):
            break
    else:
        raise SystemExit(f"bad_input: {source} is not built")
    words = shlex.split(entry["command"])
    words[words.index("-o") + 1] = "-"
    words[words.index("-c")] = "-E"
    words = [word for word in words if word not in ("-MD", "-MQ", "-MF") and not word.endswith((".d", ".c.o"))]
    out = subprocess.run(words, capture_output=True, text=True, check=True, cwd=entry["directory"]).stdout
    text, own = [], False
    for line in out.splitlines():
        mark = re.match(r'# \d+ "([^"]*)"', line)
        if mark:
            own = os.path.basename(mark[1]) == os.path.basename(source)
        elif own:
            text.append(line)
    return "\n".join(text)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        commands = json.load(file)
    functions = exported(sys.argv[2])
    text = "\n".join(preprocessed(commands, source) for source in sys.argv[3:])
    named = set(re.findall(r"\w+", text))
    bad = [f"{name}: no test has wrong arguments for it" for name in functions
           if name not in named and name not in WITHOUT]
    bad += [f"{name}: has a row, and is said to need none" for name in functions if name in named and name in WITHOUT]
    if not functions or not named:
        bad.append("nothing was found")
    for line in bad:
        print(line)
    print(f"{len(functions)} functions, {len(bad)} faults")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
