# SPDX-License-Identifier: ISC
"""A libuv inside of an arm64 program, on another machine: everything is compiled for arm64 and run under qemu-user,
where both are installed. Not a fast machine, and one whose caches need no care; but the same instructions."""

import glob
import os
import re
import shutil

import harness
import replacement

COMPILER = "aarch64-linux-gnu-gcc"
ROOT = "/usr/aarch64-linux-gnu"
TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
INSTANCES = range(6)


def compile_layer(folder, place, log):
    """libsmolscale-uv.so and the core for arm64, against this libuv's header; the former's path."""
    base = [COMPILER, "-std=gnu11", "-O2", "-g", "-w", "-D_GNU_SOURCE", "-fPIC", "-fvisibility=hidden",
            f"-I{TOP}/core", f"-I{folder}/include"]
    core = os.path.join(place, "libsmolscale.so.0")
    layer = os.path.join(place, "libsmolscale-uv.so")
    objects = replacement.compile_all(
        glob.glob(f"{TOP}/core/**/*.c", recursive=True), os.path.join(place, "core"), base, log)
    replacement.run([COMPILER, "-shared", "-o", core, "-Wl,-soname,libsmolscale.so.0", *objects, "-lpthread"], log)
    parts = [f"{TOP}/compat/libuv/preload.c", f"{TOP}/compat/libuv/pool.c"] + [
        path for path in glob.glob(f"{TOP}/compat/libuv/inside/*.c") if not path.endswith("/instance.c")]
    objects = replacement.compile_all(parts, os.path.join(place, "layer"), base, log)
    with open(f"{TOP}/compat/libuv/inside/meson.build") as file:
        defines = re.findall(r"'(-DSS_UV_(?!INSTANCE)\w+)'", file.read())
    for number in INSTANCES:
        objects += replacement.compile_all([f"{TOP}/compat/libuv/inside/instance.c"],
                                           os.path.join(place, f"instance-{number}"),
                                           base + [f"-DSS_UV_INSTANCE={number}", *defines], log)
    replacement.run([COMPILER, "-shared", "-o", layer,
                     f"-Wl,--version-script={TOP}/compat/libuv/libsmolscale-uv.map", "-Wl,-rpath,$ORIGIN",
                     *objects, core, "-lpthread", "-ldl"], log)
    return layer


def check(folder, work, logs, tally):
    qemu = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if os.uname().machine == "aarch64":
        return  # all that is here runs on it anyway
    if qemu is None or shutil.which(COMPILER) is None:
        tally.skip("arm64", f"qemu-user or {COMPILER} is not installed")
        return
    place, log = os.path.join(work, "arm64"), os.path.join(logs, "arm64.build.log")
    os.makedirs(place, exist_ok=True)
    layer = compile_layer(folder, place, log)
    sources = replacement.library_sources(folder) + [os.path.join(os.path.dirname(__file__), "user.c")]
    for name, flags in {"arm64": [], "arm64, branch targets marked": ["-mbranch-protection=standard"]}.items():
        target = os.path.join(place, re.sub(r"\W+", "-", name))
        command = [COMPILER, "-O2", "-g", "-w", "-fvisibility=hidden", "-DPROGRAM", *flags, *replacement.DEFINES,
                   f"-I{folder}/include", f"-I{folder}/src"]
        objects = replacement.compile_all(sources, target + ".objects", command, log)
        replacement.run([COMPILER, "-rdynamic", "-o", target, *objects, "-lpthread", "-ldl", "-lrt"], log)
        replacement.run(["aarch64-linux-gnu-strip", target], log)
        run = os.path.join(logs, re.sub(r"\W+", "-", name) + ".log")
        with harness.Sandbox() as box:
            done = harness.execute([qemu, "-L", ROOT, "-E", f"LD_PRELOAD={layer}", "-E", "SMOLSCALE_VERBOSE=1",
                                    target], env=box.env(), cwd=box.path("cwd"), timeout=300, log=run)
        counts = re.findall(r"ran (\d+), on smolscale (\d+)", done.output)
        if done.status != 0 or ": served" not in done.output or not counts or any(a != b for a, b in counts):
            tally.fail(name, done.reason() + ", or not served", run)
        else:
            tally.ok(name, "under qemu")
