#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Every reason to leave a libuv inside of an object alone: reasons.py PRELOAD INCLUDE... -- CC...

pretended.c is built into plug-ins, each with one thing that is not as it must be. A host, preloaded, loads
such a plug-in and has it create an epoll descriptor, as a libuv does for its first loop. What SMOLSCALE_VERBOSE
then says must be the reason; and each reason of verdict.h must have its case here."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
VERDICTS = os.path.join(HERE, "..", "..", "..", "..", "compat", "libuv", "inside", "verdict.h")
LIMIT = 60
CANNOT = 77

# host BEFORE PATH...: loads what is named, does BEFORE, and has each make its loop.
HOST = r"""
import ctypes, os, sys
before, paths = sys.argv[1], sys.argv[2:]
libc = ctypes.CDLL(None, use_errno=True)
plugins = [ctypes.CDLL(path) for path in paths]
if before == "unlink":
    os.unlink(paths[0])
elif before == "exchange":
    os.rename(paths.pop(), paths[0])
    plugins.pop()
elif before == "renounce":  # PR_SET_MDWE: no new executable memory
    if libc.prctl(65, 1, 0, 0, 0) != 0:
        sys.exit(77)
elif before == "breakpoint":
    at = ctypes.cast(plugins[0].uv_cancel, ctypes.c_void_p).value
    page = at & ~(os.sysconf("SC_PAGESIZE") - 1)
    if libc.mprotect(ctypes.c_void_p(page), 1, 7) != 0:
        sys.exit(77)
    ctypes.memset(at + 2, 0xcc, 1)
elif before == "file":  # of its own, where its standard error was
    os.close(2)
    os.open("own", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
for plugin in plugins:
    plugin.make_loop()
if before == "strange" and plugins[0].use_a_strange_loop() != 77:
    sys.exit("libuv's own function was not called")
"""

EXPORTED = ["-Wl,-Bsymbolic"]
NAMED = ["-fvisibility=hidden"]    # to be found by the symbol table only


class Case:
    def __init__(self, reason, *flags, before="", bound=EXPORTED, what=None):
        self.reason, self.flags, self.before, self.bound, self.what = reason, list(flags), before, bound, what


CASES = [
    Case("SERVED"),
    Case("SERVED", bound=NAMED),
    Case("SERVED", before="file"),
    Case("NO_LIBUV", "-s", bound=NAMED),
    Case("LIBRARY", "-Wl,-soname,libuv.so.1"),
    Case("UNREADABLE", before="unlink"),
    Case("OTHER_FILE", before="exchange"),
    Case("MISSING", "-DNO_CANCEL", what="uv_cancel"),
    Case("MISSING", "-DNO_CANCEL", bound=NAMED, what="uv_cancel"),
    Case("SEVERAL", "-DSECOND_CANCEL", bound=NAMED, what="uv_cancel"),
    Case("CLONED", "-DVARIANT_OF_CANCEL", bound=NAMED, what="uv_cancel"),
    Case("NOT_CODE", "-DCANCEL_IS_DATA", what="uv_cancel"),
    Case("NOT_CODE", "-DCANCEL_IS_DATA", bound=NAMED, what="uv_cancel"),
    Case("FEW", "-DFEW_USERS"),
    Case("FEW", "-DFEW_USERS", bound=NAMED),
    Case("NOT_CALLED", "-DUSER_WITH_SUBMIT_INLINED", bound=NAMED, what="uv_fs_open"),
    Case("NO_ENTRY", "-DUSER_WITH_SUBMIT_INLINED"),
    Case("NO_ENTRY", "-DENTRY_THAT_STARTS_NOTHING"),
    Case("NO_CLEANUP", "-DSHUTDOWN_WITHOUT_CLEANUP"),
    Case("SHORT", "-DSHORT_CANCEL", what="uv_cancel"),
    Case("CHANGED", before="breakpoint", what="uv_cancel"),
    Case("VERSION", "-DPRETENDED_VERSION=0x020000"),    # a fork says so
    Case("VERSION", "-DPRETENDED_VERSION=0x012800"),    # 1.40
    Case("LAYOUT", "-DLONGER_LOOP=8"),
    Case("LAYOUT", "-DLONGER_REQUEST=8"),
    Case("SPREAD", "-DFAR_CANCEL"),
    Case("FULL", before="seven"),
    Case("SWAP", before="renounce"),
    Case("LOOP", before="strange"),
]
SILENT = ["NO_LIBUV", "LIBRARY"]


def read_reasons():
    """The texts of verdict.h, by their names."""
    with open(VERDICTS) as file:
        return dict(re.findall(r'X\((\w+), "([^"]+)"\)', file.read()))


class Tester:
    def __init__(self, preload, includes, compiler, folder):
        self.preload, self.includes, self.compiler, self.folder = preload, includes, compiler, folder
        self.texts = read_reasons()

    def build(self, name, case):
        path = os.path.join(self.folder, name + ".so")
        sources = [os.path.join(HERE, part) for part in ("pretended.c", "pretended_sizes.c")]
        subprocess.run([*self.compiler, "-D_GNU_SOURCE", "-w", "-O1", "-fPIC", "-shared", *case.bound, *case.flags,
                        *[f"-I{include}" for include in self.includes], *sources, "-o", path], check=True)
        return path

    def run(self, number, case):
        """None, or what is wrong."""
        paths = [self.build(f"plugin{number}", case)]
        if case.before == "exchange":
            paths.append(self.build(f"other{number}", Case("", "-DFEW_USERS")))
        elif case.before == "seven":
            paths += [shutil.copy(paths[0], os.path.join(self.folder, f"copy{i}.so")) for i in range(6)]
        env = {key: value for key, value in os.environ.items() if not key.startswith("SMOLSCALE_")}
        done = subprocess.run([sys.executable, "-c", HOST, case.before, *paths], capture_output=True, text=True,
                              env={**env, "LD_PRELOAD": self.preload, "SMOLSCALE_VERBOSE": "1"}, timeout=LIMIT,
                              cwd=self.folder)
        if done.returncode == CANNOT:
            print(f"skipped {case.reason}: this kernel cannot do that")
            return None
        if done.returncode != 0:
            return f"status {done.returncode}: {done.stderr}"
        if case.before == "file":
            with open(os.path.join(self.folder, "own")) as file:
                text = file.read()
            return f"the host's own file has {text!r}" if text else None
        said = re.findall(r"^smolscale: libuv(?: [0-9.]+)? in \S+?: (.*)$", done.stderr, re.M)
        text = self.texts[case.reason]
        wanted = text if case.reason == "SERVED" else "left alone: " + text + (f": {case.what}" if case.what else "")
        if case.reason in SILENT:
            return f"said {said}" if said else None
        if not said or not said[-1].startswith(wanted):
            return f"said {said}, expected {wanted}"
        before = {"seven": 6, "strange": 1}.get(case.before, 0)
        return None if said[:-1] == ["served"] * before else f"said {said}"


def main():
    words = sys.argv[1:]
    end = words.index("--")
    with tempfile.TemporaryDirectory(prefix="smolscale-reasons-") as folder:
        tester = Tester(words[0], words[1:end], words[end + 1:], folder)
        wrong = [f"{name}: no case" for name in tester.texts if name not in {case.reason for case in CASES}]
        for number, case in enumerate(CASES):
            why = tester.run(number, case)
            if why:
                wrong.append(f"{case.reason} {' '.join(case.flags)} {case.before}: {why}")
    print("\n".join(wrong) or f"{len(CASES)} cases ok")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
