#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A libuv inside of plug-ins and programs, built in many ways: served where all checks pass, else left
alone, and correct either way.

libuv's sources are the distribution's (../libuv/source.py). Together with user.c they become plug-ins,
which host.c loads, uses from several threads, closes and loads again; and programs. Each runs natively and
preloaded. What is said under SMOLSCALE_VERBOSE must be the verdict expected, and user.c counts which jobs
ran on smolscale: all of them, or none. Then libuv's own tests, with the libuv inside (own_suite.py).

  matrix.py BUILD [--full]                every day one run each; with --full twenty
  matrix.py BUILD --source FOLDER...      other versions of libuv: unpacked source trees
  matrix.py BUILD --only WORD...          variants whose name contains one of these words; "own-suite":
                                          libuv's own tests; "arm64"
"""

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", ".."))
sys.path.insert(0, os.path.join(HERE, "..", "libuv"))
sys.path.insert(0, os.path.join(HERE, "..", "..", "..", "compat", "libuv"))
import arm64        # noqa: E402
import harness      # noqa: E402
import own_suite    # noqa: E402
import replacement  # noqa: E402
import source       # noqa: E402

LIMIT = 120
SKIPPED = 77
COMPUTED = re.compile(r"ran (\d+), on smolscale (\d+)")


class Variant:
    """One way to build: a plug-in or a program. `verdict`: None if it is to be served, "" if it is left alone
    and nothing need be said, else what is said of it."""

    def __init__(self, name, compiler, flags, link=(), program=False, strip=False, verdict=None,
                 interposed=False):
        self.name, self.compiler, self.flags, self.link = name, compiler, flags, link
        self.program, self.strip, self.verdict, self.interposed = program, strip, verdict, interposed


# Plug-ins call their own public functions directly (-Bsymbolic), as programs do.
HIDDEN = ["-fPIC", "-fvisibility=hidden"]
BOUND = ["-Wl,-Bsymbolic"]
STATIC = ["-fvisibility=hidden"]


def plugin(name, compiler, *flags, link=(), strip=False, verdict=None):
    return Variant("plug-in, " + name, compiler, HIDDEN + list(flags), BOUND + list(link), False, strip, verdict)


def program(name, compiler, *flags, link=(), strip=False, verdict=None):
    return Variant("program, " + name, compiler, STATIC + list(flags), list(link), True, strip, verdict)


VARIANTS = [
    plugin("gcc -O0", "gcc", "-O0"),
    plugin("gcc -O1", "gcc", "-O1"),
    plugin("gcc -O2", "gcc", "-O2"),
    plugin("gcc -O3", "gcc", "-O3"),
    plugin("gcc -Os", "gcc", "-Os"),
    plugin("gcc -O2, stripped", "gcc", "-O2", strip=True),
    plugin("gcc -O2 -fcf-protection", "gcc", "-O2", "-fcf-protection", strip=True),
    plugin("gcc -O2 -fno-plt", "gcc", "-O2", "-fno-plt", strip=True),
    plugin("gcc -O2, sections of their own", "gcc", "-O2", "-ffunction-sections", link=["-Wl,--gc-sections"]),
    plugin("gcc -O2, all stacks protected", "gcc", "-O2", "-fstack-protector-all", strip=True),
    plugin("clang -O0", "clang", "-O0"),
    plugin("clang -O2", "clang", "-O2", strip=True),
    plugin("clang -Os", "clang", "-Os", strip=True),
    Variant("plug-in, calls through its linkage table", "gcc", HIDDEN + ["-O2"]),
    Variant("plug-in, stripped, calls through its linkage table", "gcc", HIDDEN + ["-O2"], strip=True),
    program("gcc -O2", "gcc", "-O2", "-no-pie", link=["-no-pie"]),
    program("gcc -O2 -fPIE", "gcc", "-O2", "-fPIE", link=["-pie"]),
    program("clang -O2", "clang", "-O2", "-fPIE", link=["-pie"]),
    program("gcc -O3, exports, stripped", "gcc", "-O3", "-no-pie", link=["-no-pie", "-rdynamic"], strip=True),
    program("gcc -O2 -fPIE, exports, stripped", "gcc", "-O2", "-fPIE", link=["-pie", "-rdynamic"], strip=True),
    program("gcc -O2 -fPIE, stripped, no exports", "gcc", "-O2", "-fPIE", link=["-pie"], strip=True, verdict=""),
    plugin("gcc -O2 -flto", "gcc", "-O2", "-flto", link=["-flto", "-O2"], verdict="left alone: "),
    program("gcc -O2 -flto", "gcc", "-O2", "-flto", link=["-flto", "-O2"], verdict=""),
    # All its calls go through its linkage table: it may be served by interposition.
    Variant("plug-in, all names visible", "gcc", ["-O2", "-fPIC"], verdict="left alone: ", interposed=True),
]

# What the host does to a plug-in, and what is then said.
TREATMENTS = [
    (["mdwe"], "left alone: its pages cannot be replaced"),
    (["sealed"], "left alone: its pages cannot be replaced"),
    (["breakpoint"], "left alone: a function in memory is not what it is on disk"),
]


COMPILING = {}  # a lock for each folder of objects


def compile_variant(variant, folder, work, log):
    """The plug-in or program of a variant; its path. Variants that are only linked in other ways share their objects."""
    place = os.path.join(work, re.sub(r"[^a-z0-9]+", "-", variant.name.lower()))
    flags = [variant.compiler, *variant.flags] + (["-DPROGRAM"] if variant.program else [])
    command = [*flags, "-w", *replacement.DEFINES, f"-I{folder}/include", f"-I{folder}/src"]
    sources = replacement.library_sources(folder) + [os.path.join(HERE, "user.c")]
    shared = os.path.join(work, "objects" + "".join(flags).replace("/", "-"))
    with COMPILING.setdefault(shared, threading.Lock()):
        objects = replacement.compile_all(sources, shared, command, log)
    path = place + ("" if variant.program else ".so")
    replacement.run([variant.compiler, *([] if variant.program else ["-shared"]), *variant.link, "-o", path] +
                    objects + ["-lpthread", "-ldl", "-lrt"], log)
    if variant.strip:
        replacement.run(["strip", path], log)
    return path


class Matrix:
    def __init__(self, build, work, logs, tally):
        self.work, self.logs, self.tally = work, logs, tally
        self.preload = harness.Preload(build, ["libuv"])
        self.host = os.path.join(work, "host")
        replacement.run(["cc", "-O2", "-g", os.path.join(HERE, "host.c"), "-o", self.host, "-lpthread", "-ldl"])

    def execute(self, command, log, **variables):
        with harness.Sandbox() as box:
            env = {**box.env(), **variables}
            return harness.execute(command, env=env, cwd=box.path("cwd"), timeout=LIMIT, log=log)

    def check(self, name, command, verdict, runs=1, places=1, interposed=False):
        """`verdict` as of a Variant; `places` libuvs must be spoken of."""
        base = os.path.join(self.logs, re.sub(r"[^a-z0-9]+", "-", name.lower()))
        done = self.execute(command, base + ".native.log")
        if done.status == SKIPPED:
            self.tally.skip(name, "this kernel or machine cannot do that")
            return
        if done.status != 0:
            self.tally.fail(name, f"natively: {done.reason()}", base + ".native.log")
            return
        for run in range(runs):
            log = f"{base}.{run}.log"
            done = self.execute(command, log, LD_PRELOAD=self.preload.value(), SMOLSCALE_VERBOSE="1")
            why = self.why_not(done, verdict, places, interposed)
            if why:
                self.tally.fail(name, why, log)
                return
        self.tally.ok(name)

    def check_variant(self, variant, version, folder, place, runs):
        """Builds it and checks it; its path."""
        name = f"{version}: {variant.name}"
        path = compile_variant(variant, folder, place, os.path.join(self.logs, "build.log"))
        command = [path] if variant.program else [self.host, path]
        self.check(name, command, variant.verdict, runs, interposed=variant.interposed)
        if variant.name == "plug-in, gcc -O2":
            for which in ("first", "later"):
                # On one thread: it must be certain which loop is the first.
                self.check_strange(f"{name}, strange loops, {which}", [self.host, "alone", path], which, runs)
            for treatment, verdict in TREATMENTS:
                self.check(f"{name}, {treatment[0]}", [self.host] + treatment + [path], verdict, runs)
        return path

    def check_strange(self, name, command, which, runs):
        """Loops that are not as expected: the libuv is left alone at the first submission, or, where another loop
        has been taken over, only those loops are."""
        for run in range(runs):
            log = os.path.join(self.logs, re.sub(r"[^a-z0-9]+", "-", name.lower()) + f".{run}.log")
            done = self.execute(command, log, LD_PRELOAD=self.preload.value(), SMOLSCALE_VERBOSE="1", STRANGE=which)
            left = "left alone: a loop is not as expected" in done.output
            ours = sum(int(ours) for _, ours in COMPUTED.findall(done.output))
            if done.status != 0 or left != (which == "first") or (ours > 0) != (which == "later"):
                self.tally.fail(name, f"{done.reason()}, left alone: {left}, jobs on smolscale: {ours}", log)
                return
        self.tally.ok(name)

    def why_not(self, done, verdict, places, interposed):
        if done.status != 0:
            return done.reason()
        said = set(re.findall(r"^smolscale: libuv\S* ?\S* in (/\S+): (.*)$", done.output, re.M))
        counts = [(int(ran), int(ours)) for ran, ours in COMPUTED.findall(done.output)]
        if not counts:
            return "no job was counted"
        if verdict is None:
            if len([where for where, what in said if what == "served"]) != places:
                return f"not served: {said}"
            if any(ran != ours for ran, ours in counts):
                return "not all jobs ran on smolscale"
            return None
        if any(what == "served" for _, what in said):
            return f"served: {said}"
        if verdict and not all(what.startswith(verdict) for _, what in said) or (verdict and not said):
            return f"said {said or 'nothing'}, expected {verdict}"
        if any(ours for _, ours in counts) and not interposed:
            return "left alone, and yet jobs ran on smolscale"
        return None


def version_of(folder):
    with open(os.path.join(folder, "include", "uv", "version.h")) as file:
        numbers = re.findall(r"#define UV_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", file.read())
    return ".".join(numbers)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("build")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--source", nargs="+", default=[])
    parser.add_argument("--only", nargs="+", default=[])
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    logs = os.path.join(build, "logs", "libuv-inside")
    work = os.path.join(build, "upstream", "libuv-inside")
    os.makedirs(logs, exist_ok=True)
    os.makedirs(work, exist_ok=True)
    tally = harness.Tally()

    folders = [os.path.abspath(folder) for folder in options.source]
    if not folders:
        # The same folder as ../libuv.
        common = os.path.join(build, "upstream", "libuv")
        folder, why = source.fetch(common, os.path.join(logs, "fetch.log"))
        if folder is None:
            (tally.fail if os.environ.get("CI") == "true" else tally.skip)("a libuv inside", why)
            return tally.finish()
        folders = [folder]

    matrix = Matrix(build, work, logs, tally)
    runs = 20 if options.full else 1
    plugins = []
    for folder in folders:
        version = version_of(folder)
        place = os.path.join(work, version)
        os.makedirs(place, exist_ok=True)
        wanted = [variant for variant in VARIANTS
                  if not options.only or any(word in f"{version}: {variant.name}" for word in options.only)]
        # One is compiled while another, which mostly waits, is checked.
        with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            paths = list(pool.map(lambda variant: matrix.check_variant(variant, version, folder, place, runs), wanted))
        plugins += [path for variant, path in zip(wanted, paths) if not variant.program and variant.verdict is None]
    if len(plugins) >= 2:
        some = plugins[-3:]
        matrix.check("several plug-ins at once", [matrix.host, "together"] + some, None, runs, len(some))
    for folder in folders if not options.only or "own-suite" in options.only else []:
        own_suite.check(folder, os.path.join(work, version_of(folder)), logs, matrix.preload, tally, options.full)
    if not options.only or "arm64" in options.only:
        arm64.check(folders[0], work, logs, tally)
    matrix.preload.close()
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
