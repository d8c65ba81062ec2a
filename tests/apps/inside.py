# SPDX-License-Identifier: ISC
"""A JavaScript runtime that has its libuv inside, on smolscale: what the parts that test one share."""

import glob
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402

LIMIT = 120
SERVED = r"^smolscale: libuv \S+ in \S+/%s: served$"
THEN = "+"    # between the words of two commands


class Place:
    """The program and the scripts where any user can read them."""

    def __init__(self, name, program, scripts):
        self.folder = "/var/tmp/smolscale-%s-%d" % (name, os.getpid())
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.program = shutil.copy(program, self.folder)
        for script in glob.glob(scripts + "/*.js"):
            shutil.copy(script, self.folder)

    def open_up(self):
        for path, folders, files in os.walk(self.folder):
            for name in [path] + [os.path.join(path, file) for file in files]:
                os.chmod(name, 0o755)

    def script(self, name):
        return os.path.join(self.folder, name)

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Runtime:
    """`version` names it in what is said; each check is made `runs` times. In arguments, "BOX" is a folder of the
    run's own, and THEN begins a further command of the program in the same place."""

    def __init__(self, part, version, place, preload, logs, tally, runs):
        self.part, self.version, self.place, self.preload = part, version, place, preload
        self.logs, self.tally, self.runs = logs, tally, runs

    def execute(self, what, arguments, preloaded, before=(), **variables):
        log = os.path.join(self.logs, f"{self.part}-{self.version}-{what.replace(' ', '-')}" +
                           ("" if preloaded else ".native") + ".log")
        with harness.Sandbox() as box:
            env = {**box.env(), **variables}
            if preloaded:
                env["LD_PRELOAD"] = self.preload.value()
            done = None
            for step in split([word.replace("BOX", box.path("tmp")) for word in arguments], THEN):
                done = harness.execute([*before, self.place.program, *step], env=env, cwd=box.path("cwd"),
                                       user=box.user, timeout=LIMIT, log=log)
                if done.status != 0:
                    break
            done.log = log
            done.output = re.sub(r"/\S*ss-\w+", "BOX", done.output)
            return done

    def served(self, what, arguments, expected):
        """Its libuv is served, and all goes well."""
        name = f"{self.version}: {what}, served"
        done = self.execute(what + " served", arguments, True, SMOLSCALE_VERBOSE="1")
        program = re.escape(os.path.basename(self.place.program))
        if not re.search(SERVED % program, done.output, re.M):
            self.tally.fail(name, "nothing says so", done.log)
        elif expected not in done.output or done.status != 0:
            self.tally.fail(name, done.reason(), done.log)
        else:
            jobs = re.search(r"^smolscale: jobs (\d+)$", done.output, re.M)
            self.tally.ok(name, f"{jobs.group(1) if jobs else '?'} jobs")

    def switched_off(self, arguments):
        name = f"{self.version}: switched off"
        done = self.execute("off", arguments, True, SMOLSCALE_VERBOSE="1", SMOLSCALE_INSIDE="0")
        if done.status != 0 or "smolscale:" in done.output:
            self.tally.fail(name, done.reason(), done.log)
        else:
            self.tally.ok(name)

    def storm(self, size, cpus, arguments):
        name = f"{self.version}: storm, pool of {size}, CPUs {cpus}"
        before = ["taskset", "-c", cpus] if shutil.which("taskset") else []
        for _ in range(self.runs):
            done = self.execute(f"storm-{size}-{cpus}", arguments, True, before, UV_THREADPOOL_SIZE=str(size))
            if done.status != 0 or done.output != "all ok\n":
                self.tally.fail(name, done.reason(), done.log)
                return
        self.tally.ok(name)

    def storms(self, arguments):
        cpus = sorted(os.sched_getaffinity(0))
        for some in [cpus[:1], cpus[:2]]:
            for size in (1, 2, 4, 6):
                self.storm(size, ",".join(map(str, some)), arguments)

    def same(self, what, arguments, compare_output=True):
        """The same end and the same output as natively."""
        name = f"{self.version}: {what}"
        native = self.execute(what, arguments, False)
        if native.timed_out:
            self.tally.skip(name, "does not end natively")
            return
        for _ in range(self.runs):
            done = self.execute(what, arguments, True)
            if done.status != native.status or (compare_output and done.output != native.output):
                self.tally.fail(name, f"{done.reason()}, natively {native.reason()}; or another output",
                                done.log)
                return
        self.tally.ok(name, native.reason())


def split(words, separator):
    steps = [[]]
    for word in words:
        if word == separator:
            steps.append([])
        else:
            steps[-1].append(word)
    return steps
