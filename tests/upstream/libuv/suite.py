#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Runs libuv's own test suite, unmodified, natively and on smolscale.

The source is the distribution's (source.py). Its test runner is built twice: against the static
libuv, natively and with libsmolscale-uv.a before it; and against the shared one, to be preloaded.
Each run has network and mount namespaces of its own, with the loopback interface up and a /tmp of
its own, so that the suite's fixed ports and paths meet nobody else's, and an unprivileged user.

Every day the tests that touch the thread pool run, one by one. In continuous integration and with
--full the whole suite runs, with --full also with UV_THREADPOOL_SIZE=1 and 64. What a test must say
is what it says natively in the same surroundings: ok, or skipped.

  suite.py BUILD [--full]
  suite.py BUILD --only TEST... [--repeat N]   these tests, N times
  suite.py BUILD --source FOLDER               another libuv: an unpacked source tree, whose libuv is
                                               built as well (relinked only)
"""

import argparse
import concurrent.futures
import glob
import os
import re
import shlex
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
sys.path.insert(0, os.path.join(HERE, "..", ".."))
import harness  # noqa: E402
import source   # noqa: E402

POOL_TESTS = re.compile(r"^(threadpool|fs_|fork_|getaddrinfo|getnameinfo|random_|loop_|metrics|async|"
                        r"default_loop|run_|embed|queue_foreach|thread)")
LIMIT = 300       # seconds the whole suite may take; 35 natively
ONE_LIMIT = 60    # seconds one test may take
RESULT = re.compile(r"^(ok|not ok) \d+ - (\S+)( # SKIP.*)?$", re.M)


def compiler(folder, static):
    flags = ["-O1", "-g", "-w", "-fPIC", "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64",
             "-D_LARGEFILE_SOURCE", f"-I{folder}/include", f"-I{folder}/src"]
    return ["cc"] + flags + ([] if static else ["-DUSING_UV_SHARED=1"])


def compile_all(sources, objects, command, log):
    """Compiles what is not compiled yet, two at a time; the object files."""
    os.makedirs(objects, exist_ok=True)
    pairs = [(path, os.path.join(objects, re.sub(r"[/.]", "_", os.path.relpath(path, "/")) + ".o"))
             for path in sources]

    def one(pair):
        if os.path.exists(pair[1]) and os.path.getmtime(pair[1]) > os.path.getmtime(pair[0]):
            return 0
        with open(log, "ab") as out:
            return subprocess.run(command + ["-c", pair[0], "-o", pair[1] + ".new"],
                                  stdout=out, stderr=out).returncode or os.replace(
                                      pair[1] + ".new", pair[1]) or 0

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        if any(pool.map(one, pairs)):
            raise SystemExit(f"the suite does not compile (log: {log})")
    return [target for _, target in pairs]


def link(command, log):
    with open(log, "ab") as out:
        if subprocess.run(command, stdout=out, stderr=out).returncode != 0:
            raise SystemExit(f"the suite does not link: {shlex.join(command[-8:])} (log: {log})")


def suite_sources(folder):
    return [path for path in sorted(glob.glob(f"{folder}/test/*.c"))
            if not re.search(r"/(benchmark-.*|run-benchmarks|runner-win)\.c$", path)]


def library_sources(folder):
    """What libuv's own CMakeLists.txt compiles on Linux."""
    with open(os.path.join(folder, "CMakeLists.txt")) as file:
        text = file.read()
    names = set(re.findall(r"^\s+(src/[a-z0-9-]+\.c)\)?$", text, re.M))
    for block in re.findall(r"list\(APPEND uv_sources([^)]*)\)", text):
        names.update(re.findall(r"src/unix/[a-z0-9-]+\.c", block))
    foreign = re.compile(r"(aix|android|bsd|cygwin|darwin|freebsd|fsevents|haiku|hurd|ibmi|kqueue|"
                         r"netbsd|openbsd|os390|qnx|sunos|getentropy|sysctl-?$|no-fsevents|no-proctitle|"
                         r"posix-hrtime|posix-poll)")
    return [os.path.join(folder, name) for name in sorted(names)
            if not foreign.search(name) or name.endswith("random-sysctl-linux.c")]


class Programs:
    """The built test runners: native, relinked, and one for preloading."""

    def __init__(self, build, folder, work, log, own_library):
        sources = suite_sources(folder)
        objects = compile_all(sources, os.path.join(work, "static"), compiler(folder, True), log)
        end = ["-lpthread", "-ldl", "-lrt", "-lutil", "-lm"]
        self.native = os.path.join(work, "native")
        self.relinked = os.path.join(work, "relinked")
        self.shared = None
        core = os.path.join(build, "core", "libsmolscale.a")
        if own_library:
            library = os.path.join(work, "libuv_a.a")
            members = compile_all(library_sources(folder), os.path.join(work, "library"),
                                  compiler(folder, True), log)
            if os.path.exists(library):
                os.unlink(library)
            link(["ar", "rcs", library] + members, log)
            # Our archive for that libuv, the way compat/libuv/README.md says.
            archive = os.path.join(work, "libsmolscale-uv.a")
            ours = [os.path.join(TOP, "compat/libuv", name) for name in ("relink.c", "pool.c")]
            mine = compile_all(ours, os.path.join(work, "ours"),
                               ["cc", "-O2", "-g", "-fPIC", "-D_GNU_SOURCE", "-Wall", "-Wextra",
                                f"-I{folder}/include", f"-I{folder}/src", f"-I{TOP}/core"], log)
            link(["ar", "rcs", archive] + mine, log)
        else:
            library = subprocess.run(["cc", "-print-file-name=libuv_a.a"],
                                     stdout=subprocess.PIPE).stdout.decode().strip()
            archive = os.path.join(build, "compat", "libuv", "libsmolscale-uv.a")
            self.shared = os.path.join(work, "shared")
            dynamic = compile_all(sources, os.path.join(work, "dynamic"), compiler(folder, False), log)
            link(["cc"] + dynamic + ["-o", self.shared, "-luv"] + end, log)
        link(["cc"] + objects + ["-o", self.native, library] + end, log)
        link(["cc"] + objects + ["-o", self.relinked, archive, core, library] + end, log)


class Side:
    """One way to run the suite."""

    def __init__(self, name, program, preload, size=None):
        self.name = name if size is None else f"{name}, size {size}"
        self.program = program
        self.preload = preload
        self.size = size

    def env(self, box):
        env = {**box.env(), "RES_OPTIONS": "attempts:0", "UV_TEST_TIMEOUT_MULTIPLIER": "4"}
        if self.size is not None:
            env["UV_THREADPOOL_SIZE"] = str(self.size)
        if self.preload is not None:
            env["LD_PRELOAD"] = self.preload.value()
        return env


# In the new namespaces: loopback, a /tmp of its own, and no more rights than any user has. The
# environment of the test is set last, so that nothing but the test is preloaded.
INSIDE = "ip link set lo up && mount -t tmpfs -o mode=1777 tmpfs /tmp && exec \"$@\""


def isolated(command, user):
    if user is not None:
        return (["unshare", "--net", "--mount", "sh", "-c", INSIDE, "sh", "setpriv",
                 f"--reuid={user}", f"--regid={user}", "--clear-groups"] + command)
    return (["unshare", "--user", "--map-current-user", "--keep-caps", "--net", "--mount", "sh",
             "-c", INSIDE, "sh", "setpriv", "--ambient-caps=-all", "--inh-caps=-all"] + command)


def execute(side, folder, arguments, limit, log):
    """Runs the test program; its Finished."""
    # Not below /tmp, which the suite gets anew.
    with harness.Sandbox(parent="/var/tmp") as box:
        cwd = box.path("cwd")
        program = os.path.join(cwd, "uv_run_tests")
        shutil.copy(side.program, program)
        shutil.copytree(os.path.join(folder, "test", "fixtures"), os.path.join(cwd, "test", "fixtures"))
        if box.user is not None:
            for path, _, files in os.walk(cwd):
                for name in [path] + [os.path.join(path, file) for file in files]:
                    os.chown(name, box.user, box.user)
        env = side.env(box)
        # TMPDIR is part of what the suite tests.
        env.pop("TMPDIR")
        command = ["env", "-i"] + [f"{name}={value}" for name, value in env.items()]
        return harness.execute(isolated(command + [program] + arguments, box.user),
                               env=box.env(), cwd=cwd, timeout=limit, log=log)


def results(output):
    """{test: "ok", "skip" or "not ok"}"""
    return {name: "skip" if skip else status for status, name, skip in RESULT.findall(output)}


def can_isolate(folder, log):
    with harness.Sandbox(parent="/var/tmp") as box:
        done = harness.execute(isolated(["true"], box.user), env=box.env(), cwd=box.path("cwd"),
                               timeout=30, log=log)
    return done.status == 0


class Runner:
    def __init__(self, folder, logs, native, tally):
        self.folder, self.logs, self.native, self.tally = folder, logs, native, tally
        self.reference = {}

    def log(self, side, what):
        return os.path.join(self.logs, re.sub(r"[^a-z0-9]+", "-", side.name.lower()) + "." + what + ".log")

    def natively(self, test, size):
        """What a test says natively, asked once."""
        key = (test, size)
        if key not in self.reference:
            side = Side("native", self.native, None, size)
            done = execute(side, self.folder, [test], ONE_LIMIT, self.log(side, test))
            self.reference[key] = results(done.output).get(test, done.reason())
        return self.reference[key]

    def judge(self, side, test, said, log):
        name = f"{test} ({side.name})"
        native = "ok" if said == "ok" else self.natively(test, side.size)
        if said == "ok":
            self.tally.ok(name)
        elif said == native and said == "skip":
            self.tally.skip(name, "skipped natively as well")
        elif said == native:
            self.tally.skip(name, f"natively here as well: {said}")
        else:
            self.tally.fail(name, f"{said}; natively {native}", log)

    def one_by_one(self, side, tests):
        for test in tests:
            log = self.log(side, test)
            done = execute(side, self.folder, [test], ONE_LIMIT, log)
            self.judge(side, test, results(done.output).get(test, done.reason()), log)

    def whole(self, side, tests):
        log = self.log(side, "whole")
        done = execute(side, self.folder, [], LIMIT, log)
        said = results(done.output)
        print(f"        {side.name}: {sum(1 for s in said.values() if s == 'ok')} ok, "
              f"{sum(1 for s in said.values() if s == 'skip')} skipped, {done.wall:.0f} s", flush=True)
        for test in tests:
            self.judge(side, test, said.get(test, done.reason()), log)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("build")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--whole", action="store_true", help="the whole suite, default size")
    parser.add_argument("--source")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    logs = os.path.join(build, "logs", "upstream-libuv")
    work = os.path.join(build, "upstream", "libuv" + ("-own" if options.source else ""))
    os.makedirs(logs, exist_ok=True)
    os.makedirs(work, exist_ok=True)
    tally = harness.Tally()

    if not can_isolate(work, os.path.join(logs, "isolate.log")):
        tally.skip("libuv's tests", "no network and mount namespaces of our own here")
        return tally.finish()
    folder, why = (options.source, None) if options.source else source.fetch(
        work, os.path.join(logs, "fetch.log"))
    if folder is None:
        (tally.fail if os.environ.get("CI") == "true" else tally.skip)("libuv's tests", why)
        return tally.finish()
    programs = Programs(build, os.path.abspath(folder), work, os.path.join(logs, "build.log"),
                        bool(options.source))

    preload = harness.Preload(build, ["libuv"]) if programs.shared else None
    runner = Runner(folder, logs, programs.native, tally)
    relinked = [Side("relinked", programs.relinked, None, size) for size in (None, 1, 64)]
    preloaded = [Side("preloaded", programs.shared, preload, size) for size in (None, 1, 64)
                 if programs.shared]
    listed = execute(relinked[0], folder, ["--list"], ONE_LIMIT, None).output.split()
    tests = [name for name in listed if re.fullmatch(r"[a-z0-9_]+", name)]
    if len(tests) < 100:
        tally.fail("libuv's tests", f"the runner lists {len(tests)} tests only")
    elif options.only:
        for _ in range(options.repeat):
            for side in relinked + preloaded:
                runner.one_by_one(side, options.only)
    elif options.full or options.whole or os.environ.get("CI") == "true":
        runs = relinked + preloaded
        for side in runs if options.full else [side for side in runs if side.size is None]:
            runner.whole(side, tests)
    else:
        for side in relinked + preloaded[:1]:
            runner.one_by_one(side, [name for name in tests if POOL_TESTS.match(name)])
    if preload is not None:
        preload.close()
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
