#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Builds pthreadpool's own tests (googletest), unmodified, and runs them on smolscale.

The sources are not part of this project. They are taken from the folders named by
PTHREADPOOL_SOURCE (several with ":" between them), else from the distribution by
`apt-get source pthreadpool`; where there is neither, that is said and nothing runs.

The tests are compiled against the header they came with, as the programs in the world are, and
linked with our libpthreadpool.so.0; those of the C++ interface once more against our own header.
Every test must pass. A skipped one counts as a failure: they skip when the pool has one thread.

  suite.py BUILD [--full]      --full runs each test program ten times
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, "..", "..", "..")
sys.path.insert(0, os.path.join(HERE, "..", ".."))
import harness  # noqa: E402

PROGRAMS = ("pthreadpool", "pthreadpool-cxx", "pthreadpool_v2")
LIMIT = 300  # seconds a test program may take; each takes about 6 alone


def debian_source(folder):
    """The unpacked source package of the distribution, or the reason why there is none."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-source"):
        return None, "no apt-get or dpkg-source"
    os.makedirs(folder, exist_ok=True)
    result = subprocess.run(["apt-get", "source", "-qq", "pthreadpool"], cwd=folder,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, timeout=300)
    for entry in sorted(os.listdir(folder)):
        if os.path.isdir(os.path.join(folder, entry, "test")):
            return os.path.join(folder, entry), None
    lines = result.stdout.decode(errors="replace").strip().splitlines()
    return None, "apt-get source pthreadpool: " + (lines[-1] if lines else "failed")


def sources(work):
    given = os.environ.get("PTHREADPOOL_SOURCE", "")
    folders = [folder for folder in given.split(":") if folder]
    for folder in folders:
        if not os.path.isdir(os.path.join(folder, "test")):
            raise SystemExit(f"PTHREADPOOL_SOURCE: {folder} has no folder 'test'")
    if folders:
        return folders, None
    folder, why = debian_source(os.path.join(work, "debian"))
    return ([folder] if folder else []), why


def build(source, include, name, library, target, log):
    """Compiles and links a test program. True: it is there."""
    text = os.path.join(source, "test", name + ".cc")
    command = ["g++", "-std=c++17", "-O1", "-w", f"-I{include}", text, "-o", target, library,
               f"-Wl,-rpath,{os.path.dirname(library)}", "-lgtest_main", "-lgtest", "-lpthread"]
    stamp = target + ".from"
    with open(text, "rb") as file:
        key = hashlib.sha256(file.read() + repr(command).encode()).hexdigest()
    if os.path.exists(target) and os.path.exists(stamp) and open(stamp).read() == key:
        return True
    with open(log, "wb") as out:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out,
                                stderr=subprocess.STDOUT).returncode
    if status == 0:
        with open(stamp, "w") as file:
            file.write(key)
    return status == 0


def run(label, program, tally, log):
    """Runs a test program; every test in it counts."""
    finished = harness.execute([program, "--gtest_color=no"], env=dict(os.environ), cwd="/",
                               timeout=LIMIT, log=log)
    ran = re.search(r"^\[==========\] (\d+) tests? .* ran\.", finished.output, re.M)
    passed = len(re.findall(r"^\[       OK \] ", finished.output, re.M))
    for name in sorted(set(re.findall(r"^\[  FAILED  \] (\S+?\.\S+?)(?:,| \(|$)", finished.output, re.M))):
        tally.fail(f"{label} {name}", "it failed", log)
    for name in sorted(set(re.findall(r"^\[  SKIPPED \] (\S+?\.\S+?)(?:,| \(|$)", finished.output, re.M))):
        tally.fail(f"{label} {name}", "it was skipped, so the pool had one thread", log)
    if finished.status not in (0, 1) or not ran:
        last = re.findall(r"^\[ RUN      \] (\S+)", finished.output, re.M)
        tally.fail(label, f"{finished.reason()}, in {last[-1] if last else 'its start'}", log)
    elif passed != int(ran.group(1)) and finished.status == 0:
        tally.fail(label, f"{passed} of {ran.group(1)} tests passed", log)
    tally.passed += passed
    print(f"ok      {label}: {passed} tests in {finished.wall:.1f} s", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--full", action="store_true")
    args = parser.parse_args()
    tally = harness.Tally()
    work = os.path.abspath(os.path.join(args.build, "upstream-pthreadpool"))
    logs = os.path.abspath(os.path.join(args.build, "logs"))
    os.makedirs(work, exist_ok=True)
    os.makedirs(logs, exist_ok=True)
    library = os.path.abspath(os.path.join(args.build, "compat/pthreadpool/libpthreadpool.so.0"))

    if not os.path.exists(library):
        tally.skip("pthreadpool's tests", "the pthreadpool layer is not built")
        return tally.finish()
    if not shutil.which("g++") or not os.path.exists("/usr/include/gtest/gtest.h"):
        tally.skip("pthreadpool's tests", "no g++ or no googletest (packages g++, libgtest-dev)")
        return tally.finish()
    folders, why = sources(work)
    if not folders:
        tally.skip("pthreadpool's tests", f"no source: PTHREADPOOL_SOURCE is not set, and {why}")
        return tally.finish()

    ours = os.path.join(TOP, "compat", "pthreadpool")
    for number, source in enumerate(folders):
        base = os.path.basename(os.path.normpath(source))
        for name in PROGRAMS:
            if not os.path.exists(os.path.join(source, "test", name + ".cc")):
                continue  # the version of 2021 has two
            headers = [("", os.path.join(source, "include"))]
            if name != "pthreadpool":
                headers.append((" (our header)", ours))
            for note, include in headers:
                label = f"{base} {name}{note}"
                mark = f"{number}-{name}{'-ours' if note else ''}"
                target = os.path.join(work, mark)
                log = os.path.join(logs, f"upstream-pthreadpool-{mark}.log")
                if not build(source, include, name, library, target, log):
                    tally.fail(label, "does not compile", log)
                    continue
                for _ in range(10 if args.full else 1):
                    run(label, target, tally, log)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
