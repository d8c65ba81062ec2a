# SPDX-License-Identifier: ISC
"""libuv's own test suite with its libuv inside: the test runner linked with libuv's archive, plain, and with its names
exported and stripped, preloaded. What a test must say is what it says natively."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "libuv"))
import harness      # noqa: E402
import replacement  # noqa: E402
import suite        # noqa: E402


def check(folder, work, logs, preload, tally, full):
    if not suite.can_isolate(work, os.path.join(logs, "isolate.log")):
        tally.skip("libuv's own tests", "no network and mount namespaces of our own here")
        return
    log = os.path.join(logs, "own-suite.build.log")
    compiler = replacement.compiler(folder)
    objects = replacement.compile_all(suite.suite_sources(folder), os.path.join(work, "own-suite.objects"), compiler, log)
    archive = os.path.join(work, "libuv_a.a")
    members = replacement.compile_all(replacement.library_sources(folder), os.path.join(work, "library.objects"),
                                      compiler, log)
    if os.path.exists(archive):
        os.unlink(archive)
    replacement.run(["ar", "rcs", archive, *members], log)
    # Of itself the runner does not ask for uv_version(), without which a libuv is left alone.
    end = ["-Wl,-u,uv_version", archive, "-lpthread", "-ldl", "-lrt", "-lutil", "-lm"]
    plain, stripped = os.path.join(work, "own-suite"), os.path.join(work, "own-suite-stripped")
    replacement.run(["cc", *objects, "-o", plain, *end], log)
    replacement.run(["cc", "-rdynamic", *objects, "-o", stripped, *end], log)
    replacement.run(["strip", stripped], log)

    runner = suite.Runner(folder, logs, plain, tally)
    listed = suite.execute(suite.Side("native", plain), folder, ["--list"], suite.ONE_LIMIT, None).output.split()
    tests = [name for name in listed if suite.POOL_TESTS.match(name)]
    if len(tests) < 100:
        tally.fail("libuv's own tests", f"the runner lists {len(tests)} tests of the pool only")
        return
    sides = [suite.Side("inside", plain, preload=preload), suite.Side("inside, stripped", stripped, preload=preload)]
    if full:
        for side in sides:
            runner.whole(side, [name for name in listed if name.replace("_", "").isalnum()])
        return
    runner.one_by_one(sides[0], tests)
    runner.one_by_one(sides[1], [name for name in tests if name.startswith(("threadpool", "fs_file", "getaddrinfo"))])
