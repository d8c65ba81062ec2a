#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""mutate.py BUILD [--seconds N] [WORD...]: puts each fault of mutations.py into a copy of the core, and has the
explorer look for it. Each must be found. Ends with "N passed, N failed".

Only the sources that see the changed file are compiled anew, by the commands of BUILD/compile_commands.json; the
library is linked, and loaded in place of the sound one. As control, the sound core is explored in the same way
by ./dev sim explore.
"""

import argparse
import concurrent.futures
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from mutations import MUTATIONS  # noqa: E402
from texts import CORE, complaint, read_core  # noqa: E402


def core_commands(build):
    """{source below core/ or the seam: (command, object)} of the library."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    commands = {}
    for entry in entries:
        if "libsim-core.so.p/" not in entry.get("output", ""):
            continue
        source = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
        commands[source] = (shlex.split(entry["command"]), os.path.join(entry["directory"], entry["output"]))
    return commands


def compile_one(command, source, output, before, build):
    """By the recorded command, with another source, output and a folder first on the search path."""
    words = []
    skip = 0
    for word in command[:-1]:
        if skip:
            skip -= 1
            continue
        if word in ("-o", "-MF", "-MQ", "-MT"):
            skip = 1
            continue
        if word in ("-MD", "-MMD", "-c"):
            continue
        words.append(word)
    at = next(i for i, word in enumerate(words) if word.startswith("-I"))
    # Behind the seam's own folder, which replaces what it has.
    seam = next((i for i, word in enumerate(words) if word.startswith("-I") and word.endswith("tests/sim/seam")), at)
    words[seam + 1:seam + 1] = ["-I" + before]
    subprocess.run(words + ["-o", output, "-c", source], cwd=build, check=True, capture_output=True, text=True)


def mutated_library(build, commands, sources, folder, path, text):
    changed = os.path.join(CORE, path)
    copies = os.path.join(folder, "core")
    objects = []
    for source, (command, output) in commands.items():
        if source == changed or os.path.relpath(source, CORE) in sources:
            # The copy keeps its place in the tree: quoted includes look beside it first.
            name = os.path.relpath(source, CORE)
            copy = os.path.join(copies, name)
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copy(source, copy)
            if source == changed:
                with open(copy, "w", encoding="utf-8") as file:
                    file.write(text)
            objects.append((command, copy, os.path.join(folder, name.replace("/", "_") + ".o")))
        else:
            objects.append((None, None, output))
    if path.endswith(".h"):
        os.makedirs(os.path.dirname(os.path.join(copies, path)), exist_ok=True)
        with open(os.path.join(copies, path), "w", encoding="utf-8") as file:
            file.write(text)
    for command, copy, output in objects:
        if command:
            compile_one(command, copy, output, copies, build)
    library = os.path.join(folder, "libsim-core.so")
    subprocess.run(["cc", "-shared", "-o", library, "-Wl,-Bsymbolic", "-Wl,-z,undefs", "-Wl,-z,now", "-Wl,-z,relro",
                    "-Wl,-soname,libsim-core.so"] + [output for _, _, output in objects], check=True)
    return library


def look_for(sim, folder, how, limits):
    words = how.split()
    command = [sim, "explore", *words, "--quiet", "--until-failure",
               *limits]
    environment = dict(os.environ, LD_LIBRARY_PATH=folder)
    start = time.monotonic()
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    lines = [line for line in result.stdout.splitlines() if line.startswith("FAILED")]
    if result.returncode < 0:
        lines = [f"FAILED  ended by signal {-result.returncode}"]
    return (lines[0] if lines else None), time.monotonic() - start


def try_one(build, sim, limits, mutation, commands):
    """(was it found, what to say)"""
    name, path, original, mutated, how = mutation[:5]
    sources = mutation[5].split() if len(mutation) > 5 else []
    why = complaint(mutation)
    if why:
        return False, f"FAILED  {name}: {why}"
    text = read_core(path)
    with tempfile.TemporaryDirectory() as folder:
        try:
            mutated_library(build, commands, sources, folder, path, text.replace(original, mutated))
        except subprocess.CalledProcessError as error:
            return False, f"FAILED  {name}: does not compile: {error.stderr}"
        found, took = look_for(sim, folder, how, limits)
    if found:
        return True, f"found   {name} (core/{path}, {took:.1f} s): {found[8:90]}"
    return False, f"FAILED  {name} (core/{path}): not found in {took:.1f} s by: {how}"


def main():
    parser = argparse.ArgumentParser(description="Puts faults into the core that the explorer must find.")
    parser.add_argument("build")
    parser.add_argument("words", nargs="*", help="only faults whose name or file contains one of them")
    parser.add_argument("--sim", help="the program (default: that of BUILD)")
    parser.add_argument("--seconds", type=float, default=5, help="of CPU for each program and strategy")
    parser.add_argument("--steps", type=int, default=2 ** 63, help="the same in steps, as many on each machine")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    sim = options.sim or os.path.join(build, "tests/sim/sim")
    commands = core_commands(build)
    wanted = [mutation for mutation in MUTATIONS
              if not options.words or any(word in mutation[0] or word in mutation[1] for word in options.words)]
    limits = ["--seconds", str(options.seconds), "--steps", str(options.steps)]
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        tries = [pool.submit(try_one, build, sim, limits, mutation, commands)
                 for mutation in wanted]
        for one in concurrent.futures.as_completed(tries):
            good, line = one.result()
            passed += good
            failed += not good
            print(line, flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
