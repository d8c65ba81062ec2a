#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Runs libuv's own test suite, unmodified, natively and on smolscale.

The source is the distribution's (source.py). Its test runner is built against the static libuv, natively
and with libsmolscale-uv.a before it (relinked); and against the shared one, to be preloaded, and to be
run with the libuv.so.1 that compat/libuv/replacement.py builds (replaced).
Each run has network and mount namespaces of its own, with the loopback interface up and a /tmp of
its own, so that the suite's fixed ports and paths meet nobody else's, and an unprivileged user.

First come plug-ins with libuvs of their own (plugins.py) and the sanitizers, over libuv and our pool in one program
(sanitized.py). Every day the tests that
touch the thread pool run, one by one. In continuous integration the whole suite
runs, and with --full also with UV_THREADPOOL_SIZE=1 and 64. What a test must say
is what it says natively in the same surroundings: ok, or skipped.

  suite.py BUILD [--full]
  suite.py BUILD --only TEST... [--repeat N]   these tests, N times
  suite.py BUILD --source FOLDER [--whole]     another libuv: an unpacked source tree, whose libuv is
                                               built as well
"""

import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", ".."))
sys.path.insert(0, os.path.join(HERE, "..", "..", "..", "compat", "libuv"))
import harness      # noqa: E402
import plugins      # noqa: E402
import replacement  # noqa: E402
import sanitized    # noqa: E402
import source       # noqa: E402

POOL_TESTS = re.compile(r"^(threadpool|fs_|fork_|getaddrinfo|getnameinfo|random_|loop_|metrics|async|"
                        r"default_loop|run_|embed|queue_foreach|thread)")
LIMIT = 300       # seconds the whole suite may take; 35 natively
ONE_LIMIT = 60    # seconds one test may take
USING = ("threadpool_queue_work_simple", "fs_file_async", "getaddrinfo_basic", "random_async")
DIFFERENT = {
    "thread_name_threadpool": "by design: it submits one job at a time until four threads have run one; here the "
                              "same thread does, as long as it keeps up",
}
RESULT = re.compile(r"^(ok|not ok) \d+ - (\S+)( # SKIP.*)?$", re.M)


def suite_sources(folder):
    return [path for path in sorted(glob.glob(f"{folder}/test/*.c"))
            if not re.search(r"/(benchmark-.*|run-benchmarks|runner-win)\.c$", path)]


def exported(library):
    shown = subprocess.run(["nm", "-D", "--defined-only", library], stdout=subprocess.PIPE, check=True)
    return {line.split()[-1] for line in shown.stdout.decode().splitlines()}


def find_library(name):
    return subprocess.run(["cc", "-print-file-name=" + name],
                          stdout=subprocess.PIPE).stdout.decode().strip()


class Programs:
    """The built test runners: native, relinked, and one that links the shared libuv, to be preloaded or to get the
    replaced library."""

    def __init__(self, build, folder, work, log, own_library):
        end = ["-lpthread", "-ldl", "-lrt", "-lutil", "-lm"]
        core = os.path.join(build, "core", "libsmolscale.a")
        self.native = os.path.join(work, "native")
        self.relinked = os.path.join(work, "relinked")
        self.replacement = os.path.dirname(replacement.build_shared(
            folder, build, os.path.join(work, "replacement"), log))
        static = replacement.compile_all(suite_sources(folder), os.path.join(work, "static"),
                                         replacement.compiler(folder), log)
        dynamic = replacement.compile_all(suite_sources(folder), os.path.join(work, "dynamic"),
                                          replacement.compiler(folder, "-DUSING_UV_SHARED=1"), log)
        self.shared = os.path.join(work, "shared")
        if own_library:
            library = os.path.join(work, "libuv_a.a")
            members = replacement.compile_all(replacement.library_sources(folder),
                                              os.path.join(work, "library"),
                                              replacement.compiler(folder), log)
            if os.path.exists(library):
                os.unlink(library)
            replacement.run(["ar", "rcs", library] + members, log)
            archive = os.path.join(self.replacement, "libsmolscale-uv.a")
            self.native_shared = os.path.join(work, "libuv.so.1")
            hidden = ["-fvisibility=hidden", "-DBUILDING_UV_SHARED=1"]
            members = replacement.compile_all(replacement.library_sources(folder),
                                              os.path.join(work, "library-shared"),
                                              replacement.compiler(folder, *hidden), log)
            replacement.run(["cc", "-shared", "-o", self.native_shared, "-Wl,-soname,libuv.so.1"] +
                            members + end, log)
        else:
            library = find_library("libuv_a.a")
            self.native_shared = find_library("libuv.so.1")
            archive = os.path.join(build, "compat", "libuv", "libsmolscale-uv.a")
        replacement.run(["cc"] + static + ["-o", self.native, library] + end, log)
        replacement.run(["cc"] + static + ["-o", self.relinked, archive, core, library] + end, log)
        replacement.run(["cc"] + dynamic + ["-o", self.shared, self.native_shared] + end, log)


class Side:
    """One way to run the suite."""

    def __init__(self, name, program, size=None, preload=None, libraries=None):
        self.name = name if size is None else f"{name}, size {size}"
        self.program = program
        self.size = size
        self.preload = preload      # a harness.Preload
        self.libraries = libraries  # a folder for LD_LIBRARY_PATH

    def env(self, box):
        env = {**box.env(), "RES_OPTIONS": "attempts:0", "UV_TEST_TIMEOUT_MULTIPLIER": "4"}
        if self.size is not None:
            env["UV_THREADPOOL_SIZE"] = str(self.size)
        # Copies, because the build folder may be closed to the user the tests run as, and /tmp is hidden.
        if self.preload is not None:
            copy = shutil.copytree(self.preload.folder, box.path("preload"))
            env["LD_PRELOAD"] = ":".join(os.path.join(copy, os.path.relpath(path, self.preload.folder))
                                         for path in self.preload.paths)
        if self.libraries is not None:
            env["LD_LIBRARY_PATH"] = shutil.copytree(self.libraries, box.path("libraries"),
                                                     ignore=shutil.ignore_patterns("objects"))
        env["SMOLSCALE_STATS"] = box.path("tmp/stats")
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


def jobs_run(path):
    """Jobs that ran on smolscale, by the statistics of all processes of a run."""
    if not os.path.exists(path):
        return 0
    with open(path) as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("jobs "))


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
        done = harness.execute(isolated(command + [program] + arguments, box.user),
                               env=box.env(), cwd=cwd, timeout=limit, log=log)
        done.jobs = jobs_run(box.path("tmp/stats"))
        return done


def results(output):
    """{test: "ok", "skip" or "not ok"}"""
    return {name: "skip" if skip else status for status, name, skip in RESULT.findall(output)}


def can_isolate(folder, log):
    with harness.Sandbox(parent="/var/tmp") as box:
        done = harness.execute(isolated(["true"], box.user), env=box.env(), cwd=box.path("cwd"),
                               timeout=60, log=log)
    return done.status == 0


class Runner:
    def __init__(self, folder, logs, native, tally):
        self.folder, self.logs, self.native, self.tally = folder, logs, native, tally
        self.reference = {}

    def log(self, side, what):
        return os.path.join(self.logs, re.sub(r"[^a-z0-9]+", "-", side.name.lower()) + "." + what + ".log")

    def natively(self, side, test):
        """What a test says natively in the same surroundings, asked once."""
        key = (test, side.size, side.libraries is not None)
        if key not in self.reference:
            # Some tests look at LD_LIBRARY_PATH.
            side = Side("native", self.native, side.size, libraries=side.libraries)
            done = execute(side, self.folder, [test], ONE_LIMIT, self.log(side, test))
            self.reference[key] = results(done.output).get(test, done.reason())
        return self.reference[key]

    def judge(self, side, test, said, log):
        name = f"{test} ({side.name})"
        native = "ok" if said == "ok" else self.natively(side, test)
        if said == "ok":
            self.tally.ok(name)
        elif said == native and said == "skip":
            self.tally.skip(name, "skipped natively as well")
        elif said == native:
            self.tally.skip(name, f"natively here as well: {said}")
        elif test in DIFFERENT:
            self.tally.skip(name, DIFFERENT[test])
        else:
            self.tally.fail(name, f"{said}; natively {native}", log)

    def one_by_one(self, side, tests):
        """Each in a process of its own. Most of them wait more than they compute, and each has a network and a /tmp
        of its own: some run side by side."""
        def one(test):
            log = self.log(side, test)
            done = execute(side, self.folder, [test], ONE_LIMIT, log)
            said = results(done.output).get(test, done.reason())
            if said == "ok" and test in USING and done.jobs == 0:
                said = "ok, but no job ran on smolscale"
            self.judge(side, test, said, log)

        with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            list(pool.map(one, tests))

    def whole(self, side, tests):
        log = self.log(side, "whole")
        done = execute(side, self.folder, [], LIMIT, log)
        said = results(done.output)
        print(f"        {side.name}: {sum(1 for s in said.values() if s == 'ok')} ok, "
              f"{sum(1 for s in said.values() if s == 'skip')} skipped, {done.wall:.0f} s, "
              f"{done.jobs} jobs on smolscale", flush=True)
        if done.jobs < 300:  # 400 in 1.44
            self.tally.fail(f"the suite ({side.name})", f"only {done.jobs} jobs ran on smolscale", log)
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

    native_folder = None
    if options.source:
        native_folder = os.path.join(work, "native-shared")
        os.makedirs(native_folder, exist_ok=True)
        shutil.copy(programs.native_shared, native_folder)
    preload = harness.Preload(build, ["libuv"])
    runner = Runner(folder, logs, programs.native, tally)
    missing = exported(programs.native_shared) - exported(os.path.join(programs.replacement,
                                                                       "libuv.so.1"))
    if missing:
        tally.fail("the replaced libuv.so.1", f"lacks {' '.join(sorted(missing))}")
    else:
        tally.ok("the replaced libuv.so.1 exports all that libuv exports")

    def sides(size):
        return [Side("relinked", programs.relinked, size),
                Side("preloaded", programs.shared, size, preload=preload, libraries=native_folder),
                Side("replaced", programs.shared, size, libraries=programs.replacement)]

    if not options.only:
        plugins.check(os.path.abspath(folder), work, logs, preload, tally)
        sanitized.check(os.path.abspath(folder), work, logs, tally)
    relinked, preloaded, replaced = sides(None)
    others = [side for size in (1, 64) for side in sides(size)]
    listed = execute(relinked, folder, ["--list"], ONE_LIMIT, None).output.split()
    tests = [name for name in listed if re.fullmatch(r"[a-z0-9_]+", name)]
    if len(tests) < 100:
        tally.fail("libuv's tests", f"the runner lists {len(tests)} tests only")
    elif options.only:
        for _ in range(options.repeat):
            for side in [relinked, preloaded, replaced]:
                runner.one_by_one(side, options.only)
    elif options.full or options.whole or os.environ.get("CI") == "true":
        for side in [relinked, preloaded, replaced] + (others if options.full else []):
            runner.whole(side, tests)
    else:
        of_the_pool = [name for name in tests if POOL_TESTS.match(name)]
        brief = [name for name in of_the_pool if name.startswith(("threadpool", "fs_file", "getaddrinfo"))]
        runner.one_by_one(relinked, of_the_pool)
        runner.one_by_one(preloaded, of_the_pool)
        for side in [replaced] + others:
            runner.one_by_one(side, brief)
    preload.close()
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
