# SPDX-License-Identifier: ISC
"""Plug-ins that each have a libuv of their own in them (plugin.c), built with libuv's own sources as uvloop's wheels are,
in a program that has none (plugin_host.c)."""

import os
import shutil
import subprocess

import replacement

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 120  # seconds; one natively
END = ["-lpthread", "-ldl", "-lrt"]


def build(source, work, log):
    """The host and two plug-ins; their paths."""
    folder = os.path.join(work, "plugins")
    os.makedirs(folder, exist_ok=True)
    command = replacement.compiler(source, "-fvisibility=hidden", "-DBUILDING_UV_SHARED=1")
    objects = replacement.compile_all(replacement.library_sources(source), folder, command, log)
    objects += replacement.compile_all([os.path.join(HERE, "plugin.c")], folder, command, log)
    host, first, second = (os.path.join(folder, name) for name in ("host", "first.so", "second.so"))
    replacement.run(["cc", "-shared", "-o", first] + objects + END, log)
    shutil.copy(first, second)
    replacement.run(replacement.compiler(source, os.path.join(HERE, "plugin_host.c"), "-o", host) + END, log)
    return host, first, second


def check(source, work, logs, preload, tally):
    host, *plugins = build(source, work, os.path.join(logs, "plugins-build.log"))
    paths = ":".join(preload.paths)
    for what, expected, env in (
            ("native", "native", {}),
            ("preloaded", "smolscale", {"LD_PRELOAD": paths}),
            ("preloaded, disabled", "native", {"LD_PRELOAD": paths, "SMOLSCALE_DISABLE": "1"})):
        name = f"plug-ins with libuvs of their own ({what})"
        log = os.path.join(logs, f"plugins-{what.replace(', ', '-')}.log")
        with open(log, "wb") as out:
            try:
                status = subprocess.run([host, expected] + plugins, env={**os.environ, **env},
                                        stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=LIMIT).returncode
            except subprocess.TimeoutExpired:
                status = f"none within {LIMIT} s"
        if status == 0:
            tally.ok(name)
        else:
            tally.fail(name, f"status {status}", log)
