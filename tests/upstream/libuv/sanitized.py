# SPDX-License-Identifier: ISC
"""libuv, our pool and the core, all compiled with a sanitizer, in one program: the benchmarks, which count what they
submit, what runs and what comes back. Only so does the thread sanitizer see both sides of a loop and its pool."""

import glob
import os
import shutil
import subprocess

import replacement

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
LIMIT = 120  # seconds for one run; a few natively

SANITIZERS = {
    "thread": {"TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1:atexit_sleep_ms=50"},
    "address,undefined": {"ASAN_OPTIONS": "detect_stack_use_after_return=1",
                          "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"},
}
RUNS = {
    "work with 64 in flight": "work --jobs 60000 --in-flight 64",
    "work with 1024 in flight": "work --jobs 60000 --in-flight 1024",
    "four loops": "loops --jobs 60000",
    "stats": "stat --jobs 20000",
    "reads": "read --jobs 20000",
    "one job at a time": "trip --trips 3000",
    "stats behind slow jobs, elastic": "behind --ms 50 --elastic 1",
    "a paced producer": "part-load --rate 5000 --seconds 1",
}


def build(sanitizer, source, work, log):
    """The instrumented program; its path."""
    folder = os.path.join(work, "sanitized-" + sanitizer.split(",")[0])
    libuv = [path for path in replacement.library_sources(source) if not path.endswith("/threadpool.c")]
    ours = replacement.OURS + sorted(glob.glob(os.path.join(TOP, "core", "**", "*.c"), recursive=True))
    ours += sorted(glob.glob(os.path.join(TOP, "bench", "*.c")) + glob.glob(os.path.join(TOP, "bench", "libuv", "*.c")))
    flags = ["-O1", "-std=gnu11", "-fno-omit-frame-pointer", "-fsanitize=" + sanitizer]
    # Anew each time: what a source includes may have changed.
    shutil.rmtree(folder, ignore_errors=True)
    # libuv's own code is not held to more than races and memory.
    objects = replacement.compile_all(libuv, folder, replacement.compiler(
        source, *flags, *(["-fno-sanitize=undefined"] if "undefined" in sanitizer else [])), log)
    objects += replacement.compile_all(ours, folder, replacement.compiler(
        source, *flags, "-I" + os.path.join(TOP, "core")), log)
    program = os.path.join(folder, "bench-libuv-sanitized")
    replacement.run(["cc", "-fsanitize=" + sanitizer, "-o", program] + objects +
                    ["-lpthread", "-ldl", "-lrt", "-lm"], log)
    return program


def plain():
    """A prefix that turns address-space randomisation off, which is too much for gcc 12's thread sanitizer."""
    prefix = ["setarch", os.uname().machine, "-R"]
    return prefix if subprocess.run(prefix + ["true"], stderr=subprocess.DEVNULL).returncode == 0 else []


def check(source, work, logs, tally):
    for sanitizer, options in SANITIZERS.items():
        program = build(sanitizer, source, work, os.path.join(logs, "sanitized-build.log"))
        if sanitizer == "thread":
            options = {"TSAN_OPTIONS": options["TSAN_OPTIONS"] + ":suppressions=" +
                       os.path.join(TOP, "tests", "tsan.supp")}
        for what, arguments in RUNS.items():
            name = f"{what} ({sanitizer} sanitizer)"
            log = os.path.join(logs, f"sanitized-{sanitizer.split(',')[0]}-{arguments.split()[0]}.log")
            with open(log, "wb") as out:
                try:
                    status = subprocess.run(plain() + [program] + arguments.split(), env={**os.environ, **options},
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            timeout=LIMIT).returncode
                except subprocess.TimeoutExpired:
                    status = f"none within {LIMIT} s"
            if status == 0:
                tally.ok(name)
            else:
                tally.fail(name, f"status {status}", log)
