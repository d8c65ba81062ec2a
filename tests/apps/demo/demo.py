#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The demonstration behind `./dev run`: unmodified programs, one for each interface and one that gains
nothing, natively and on smolscale in turn. `smolscale compare` does the work; this file prepares the
programs and draws what it says: demo.py BUILD [WORD...] (only the programs whose name contains a WORD)."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap

HERE = os.path.dirname(os.path.abspath(__file__))
APPS = os.path.join(HERE, "..")
sys.path[:0] = [os.path.join(APPS, "createrepo"), os.path.join(APPS, "node")]
import node      # noqa: E402
import packages  # noqa: E402

ROUNDS = 6         # the fewest that can show a difference with 95 % confidence
FOLDERS, FILES = 60, 60
WIDTH = 40


class Absent(Exception):
    """A program cannot be shown here; says why."""


class Show:
    """One program: what is printed above it, its command, and what is put before `smolscale compare`."""

    def __init__(self, title, command, before=()):
        self.title = title
        self.command = command
        self.before = list(before)


def make_tree(top):
    for i in range(FOLDERS):
        folder = os.path.join(top, f"folder-{i:02}")
        os.makedirs(folder)
        for j in range(FILES):
            with open(os.path.join(folder, f"file-{j:02}"), "w") as file:
                file.write(f"file {j} of folder {i}\n" * (1 + j % 7))


# ---- the programs: each takes (place, build) and gives a Show, or raises Absent ----

def gio(place, build):
    for python in ("/usr/bin/python3", sys.executable):
        if subprocess.run([python, "-c", "import gi; gi.require_version('Gio', '2.0')"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0:
            return Show(f"GLib: Python looks at {FOLDERS * FILES} files by GIO's asynchronous calls, four times",
                        [python, os.path.join(HERE, "walk.py"), place.tree, "4"])
    raise Absent("no Python with GObject introspection (packages python3-gi, gir1.2-glib-2.0)")


def node_walk(place, build):
    words = [os.path.join(HERE, "walk.js"), place.tree, "4"]
    title = f"libuv: Node.js looks at {FOLDERS * FILES} files, four times"
    installed = shutil.which("node")
    if installed and subprocess.run([place.smolscale, "doctor", installed], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL).returncode == 0:
        return Show(title, [installed, *words])
    root, why = node.unpack(os.path.abspath(os.path.join(build, "apps", "node")), place.path("unpack.log"))
    if root is None:
        raise Absent(f"no Node.js with the shared libuv: {why}")
    place.node = node.Node(root)
    if subprocess.run(place.node.outer() + place.node.inner(["--version"]), stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL).returncode != 0:
        raise Absent("Debian's Node.js cannot be started in a mount namespace here")
    return Show(title, place.node.inner(words), place.node.outer())


def xnnpack(place, build):
    threads = 2 * len(os.sched_getaffinity(0))
    program = place.path("network")
    result = subprocess.run(["cc", "-O2", os.path.join(APPS, "xnnpack/network.c"), "-o", program, "-lXNNPACK",
                             "-lpthreadpool", "-lm"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if result.returncode != 0:
        raise Absent("no XNNPACK to compile with (packages libxnnpack-dev, libpthreadpool-dev)")
    return Show(f"pthreadpool: a neural network by XNNPACK, 20 times a second, on {threads} threads",
                [program, "20", str(threads), "50"])


def createrepo(place, build):
    if not shutil.which("createrepo_c") or not shutil.which("rpmbuild"):
        raise Absent("no createrepo_c, or no rpmbuild (packages createrepo-c, rpm)")
    folder = packages.make(build)
    script = ('rm -rf "$2" && mkdir "$2" && createrepo_c --quiet --no-database --revision 1 '
              '--set-timestamp-to-revision --outputdir "$2" "$1" && cd "$2/repodata" && sha256sum *')
    return Show(f"GLib, jobs that compute for long (nothing to gain): createrepo_c over {len(os.listdir(folder))} packages",
                ["sh", "-c", script, "sh", folder, place.path("index")])


PROGRAMS = {"gio": gio, "node": node_walk, "xnnpack": xnnpack, "createrepo_c": createrepo}


# ---- drawing ----

def bar(share):
    """A bar of so many parts of WIDTH, in eighths of a character where the terminal can."""
    eighths = max(1, round(share * WIDTH * 8))
    if "utf" not in (sys.stdout.encoding or "").lower():
        return "#" * max(1, round(eighths / 8))
    full, rest = divmod(eighths, 8)
    return "█" * full + (chr(0x2590 - rest) if rest else "")


def draw(found):
    for key, name in (("cpu", "CPU "), ("wall", "wall")):
        medians = [statistics.median(found[side][key]) for side in ("native", "smolscale")]
        for i, side in enumerate(("native", "smolscale")):
            print(f"  {name if i == 0 else '    '}  {side:10}{bar(medians[i] / max(medians)):{WIDTH}} "
                  f"{medians[i] * 1e3:7.0f} ms")
    print(textwrap.fill(found["verdict"], 100, initial_indent="  ", subsequent_indent="  "))
    digests = [found[side]["stdout"]["sha256"][:16] for side in ("native", "smolscale")]
    print(f"  output, SHA-256: natively {digests[0]}, on smolscale {digests[1]}; "
          f"{statistics.median(found['jobs']):.0f} jobs\n", flush=True)


class Place:
    def __init__(self, build):
        self.folder = tempfile.mkdtemp(prefix="smolscale-demo-")
        self.smolscale = os.path.abspath(os.path.join(build, "cli/smolscale"))
        self.tree = self.path("tree")
        self.node = None
        make_tree(self.tree)

    def path(self, name):
        return os.path.join(self.folder, name)

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.node:
            self.node.close()


def show(place, program, build):
    """True if output and exit status are the same and jobs ran; None if the program cannot be shown."""
    try:
        what = program(place, build)
    except Absent as why:
        print(f"(not shown: {why})\n")
        return None
    print(what.title, flush=True)
    result = subprocess.run(what.before + [place.smolscale, "compare", "--json", "-n", str(ROUNDS), "--"] + what.command,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    if result.returncode not in (0, 1):
        return False
    found = json.loads(result.stdout)
    draw(found)
    return found["same"] and found["native"]["end"] == "exit status 0" and max(found["jobs"]) > 0


def main(build, *words):
    print(f"Unmodified programs, each natively and on smolscale in turn, medians of {ROUNDS} rounds.\n")
    place = Place(build)
    try:
        good = [show(place, program, build) for name, program in PROGRAMS.items()
                if not words or any(word in name for word in words)]
    finally:
        place.close()
    command = os.path.relpath(place.smolscale)
    print(f"A program of your own:  {command} compare COMMAND...\n"
          f"Is it captured?         {command} doctor COMMAND")
    return 0 if all(result is not False for result in good) and any(good) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
