#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Builds a libuv whose thread pool is smolscale's, from libuv's own source (1.44 and newer).

  replacement.py SOURCE BUILD FOLDER    SOURCE: an unpacked libuv source tree, e.g. that of
                                        "apt-get source libuv1"; BUILD: smolscale's build folder

FOLDER then has a complete libuv.so.1 (all symbols, the same SONAME), beside it libsmolscale.so.0, for

  LD_LIBRARY_PATH=FOLDER program

and libsmolscale-uv.a, the archive for relinking with just this libuv's static library. Compiled with
libuv's internal headers, so that a change of what relink.c takes for granted is a compile error.
"""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
CORE = os.path.join(HERE, "..", "..", "core")
OURS = [os.path.join(HERE, name) for name in ("relink.c", "pool.c")]
DEFINES = ["-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-D_LARGEFILE_SOURCE"]


def library_sources(folder):
    """What libuv's CMakeLists.txt adds to uv_sources on Linux: under no condition, under `UNIX` or one
    that mentions Linux, or in the `else` of others."""
    found, conditions = [], []
    with open(os.path.join(folder, "CMakeLists.txt")) as file:
        for line in file:
            text = line.split("#")[0]
            condition = re.match(r"\s*(if|else|elseif|endif)\s*\((.*)\)", text)
            if condition:
                word, what = condition.groups()
                before = conditions.pop() if word != "if" else False
                if word == "else":
                    conditions.append(not before)
                elif word != "endif":
                    conditions.append(bool(re.search(r"\bLinux\b", what)) or what.strip() == "UNIX")
            elif all(conditions):
                found += re.findall(r"\bsrc/[a-z0-9/-]+\.c\b", text)
    return [os.path.join(folder, name) for name in dict.fromkeys(found)]


def run(command, log=None):
    with open(log or os.devnull, "ab") as out:
        target = out if log else None
        if subprocess.run(command, stdout=target, stderr=target).returncode != 0:
            raise SystemExit(f"{' '.join(command[-6:])}: fails" + (f" (log: {log})" if log else ""))


def compile_all(sources, objects, command, log=None):
    """Compiles, two at a time, what is newer than its object; the object files."""
    os.makedirs(objects, exist_ok=True)
    pairs = [(path, os.path.join(objects, re.sub(r"[/.]+", "_", os.path.abspath(path)[1:]) + ".o"))
             for path in sources]

    def one(pair):
        source, target = pair
        if not os.path.exists(target) or os.path.getmtime(target) < os.path.getmtime(source):
            run(command + ["-c", source, "-o", target + ".new"], log)
            os.replace(target + ".new", target)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, pairs))
    return [target for _, target in pairs]


def compiler(source, *more):
    return [os.environ.get("CC", "cc"), "-O2", "-g", "-w", "-fPIC", *DEFINES, f"-I{source}/include",
            f"-I{source}/src", *more]


def build_archive(source, folder, log=None):
    """libsmolscale-uv.a for this libuv; its path."""
    archive = os.path.join(folder, "libsmolscale-uv.a")
    objects = compile_all(OURS, os.path.join(folder, "objects"), compiler(source, f"-I{CORE}"), log)
    if os.path.exists(archive):
        os.unlink(archive)
    run(["ar", "rcs", archive] + objects, log)
    return archive


def build_shared(source, build, folder, log=None):
    """libuv.so.1 with our pool in it; its path."""
    build_archive(source, folder, log)
    theirs = [path for path in library_sources(source) if not path.endswith("/threadpool.c")]
    hidden = ["-fvisibility=hidden", "-DBUILDING_UV_SHARED=1"]
    objects = compile_all(theirs, os.path.join(folder, "objects", "shared"),
                          compiler(source, *hidden), log)
    objects += compile_all(OURS, os.path.join(folder, "objects", "shared"),
                           compiler(source, *hidden, "-ftls-model=initial-exec", f"-I{CORE}"), log)
    core = os.path.join(folder, "libsmolscale.so.0")
    shutil.copy(os.path.realpath(os.path.join(build, "core", "libsmolscale.so.0")), core)
    library = os.path.join(folder, "libuv.so.1")
    run([os.environ.get("CC", "cc"), "-shared", "-o", library, "-Wl,-soname,libuv.so.1",
         "-Wl,-z,now", "-Wl,-z,nodelete", "-Wl,-rpath,$ORIGIN"] + objects +
        [core, "-lpthread", "-ldl", "-lrt"], log)
    return library


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    os.makedirs(sys.argv[3], exist_ok=True)
    print(build_shared(sys.argv[1], sys.argv[2], sys.argv[3]))
