# SPDX-License-Identifier: ISC
"""The real programs of this suite. What takes long to prepare is kept below the build folder."""

import functools
import glob
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
APPS = os.path.join(HERE, "..", "..", "tests", "apps")
sys.path[:0] = [APPS, os.path.join(APPS, "createrepo")]
import apps      # noqa: E402
import npm       # noqa: E402
import packages  # noqa: E402

FOLDERS, FILES = 60, 60


class Absent(Exception):
    """A program cannot be run here, for this reason."""


class Program:
    """What is measured: a command in a fresh folder. `digest(box, output)` is what it has made (None: its output
    has times in it). A service has a `client`
    beside it, and `figures(output, said by the client)`."""

    def __init__(self, command, digest, env=None, has_jobs=True, client=None, figures=None):
        self.command = command
        self.digest = digest
        self.env = env or {}
        self.has_jobs = has_jobs  # whether jobs must have run on smolscale
        self.client = client
        self.figures = figures


class Place:
    """A fresh folder for a run, and one for what is kept between runs."""

    def __init__(self, box):
        self.box = box
        self.build = os.environ["SMOLSCALE_BENCH_BUILD"]

    def kept(self, name, make):
        """The path of something that `make(path)` makes once. It appears whole or not at all."""
        path = os.path.join(self.build, "apps", name)
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            part = f"{path}.{os.getpid()}.part"
            make(part)
            os.rename(part, path)
        return path

    def tree(self):
        return self.kept("tree", make_tree)


def make_tree(top):
    for i in range(FOLDERS):
        folder = os.path.join(top, f"folder-{i:02}")
        os.makedirs(folder)
        for j in range(FILES):
            with open(os.path.join(folder, f"file-{j:02}"), "w") as file:
                file.write(f"file {j} of folder {i}\n" * (1 + 50 * (j % 7)))


def needs(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        raise Absent(f"{' and '.join(missing)} not installed")


def run(command, cwd=None, limit=300):
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=limit)
    if done.returncode != 0:
        last = (done.stdout.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise Absent(f"{os.path.basename(command[0])} fails: {last[:100]}")
    return done.stdout.decode()


def of_output(box, output):
    return hashlib.sha256(output.encode()).hexdigest()[:16]


def of_files(pattern):
    return lambda box, output: apps.hash_files(sorted(glob.glob(box.path(pattern))))[:16]


def module(path):
    """A runner of tests/apps as a module: its file has no ending."""
    loader = importlib.machinery.SourceFileLoader("runner", os.path.join(APPS, path))
    it = importlib.util.module_from_spec(importlib.util.spec_from_loader("runner", loader))
    loader.exec_module(it)
    return it


# ---- Python ----

def python_with(*modules):
    """A Python that has these modules; the distribution's has its packages."""
    for python in ("/usr/bin/python3", sys.executable):
        if subprocess.run([python, "-c", "import " + ", ".join(modules)], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0:
            return python
    raise Absent(f"no Python with {' and '.join(modules)}")


def gio_walk(place):
    return Program([python_with("gi"), os.path.join(APPS, "demo/walk.py"), place.tree(), "4"], of_output)


def mixture(place):
    return Program([python_with("gi", "uvloop"), os.path.join(HERE, "mixture.py"), place.tree()], of_output)


def torch(place):
    return Program([python_with("torch"), os.path.join(HERE, "network.py")], of_output)


# ---- GLib ----

def createrepo(place):
    needs("createrepo_c", "rpmbuild")
    folder = packages.make(place.build)
    script = ('for i in 1 2 3 4 5 6 7 8 9 10; do createrepo_c --quiet --no-database --revision 1 '
              '--set-timestamp-to-revision --outputdir . "$1"; done')
    return Program(["sh", "-c", script, "sh", folder], of_files("cwd/repodata/*"))


def compositor(place):
    needs("gst-launch-1.0")
    it = module("gstreamer/run")
    it.FRAMES = 1500
    return Program(it.command(place.box), of_files("cwd/frames"),
                   env={"GST_REGISTRY_FORK": "no", "GST_REGISTRY": os.path.join(place.build, "apps/gst-registry")})


def ostree_commit(place):
    needs("ostree")
    repository = place.box.path("cwd/repository")
    run(["ostree", f"--repo={repository}", "init", "--mode=archive"])
    return Program(["ostree", f"--repo={repository}", "commit", "--branch=main", f"--tree=dir={place.tree()}",
                    "--timestamp=2026-01-01 00:00:00 +0000", "--owner-uid=0", "--owner-gid=0", "--no-xattrs",
                    "--fsync=false"], of_output, has_jobs=False)  # its own threads do it


# A session bus of its own, on which nothing else is started.
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>
"""
INDEXED = ("SELECT nie:url(?file) ?size { GRAPH tracker:FileSystem { ?file a nfo:FileDataObject ; nfo:fileSize ?size } } "
           "ORDER BY nie:url(?file)")


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    return path


def what_is_indexed(box, tree):
    """Of the tree: the index also has the home folder, which is another one in each run."""
    rows = run(["tracker3", "sparql", f"--database={box.path('home/.cache/tracker3/files')}", f"--query={INDEXED}"])
    of_tree = [row for row in rows.splitlines() if f"file://{tree}/" in row]
    if len(of_tree) != FOLDERS * (1 + FILES):
        raise RuntimeError(f"{len(of_tree)} of {FOLDERS * (1 + FILES)} files and folders are in the index")
    return hashlib.sha256("\n".join(of_tree).encode()).hexdigest()[:16]


def tracker(place):
    """The indexer of files makes its database and ends. It runs with SCHED_IDLE: a machine that is busy otherwise may
    have no time for it."""
    miner = "/usr/libexec/tracker-miner-fs-3"
    needs("tracker3", "dbus-run-session", miner)
    write(place.box.path("home/.config/user-dirs.dirs"), f'XDG_DOCUMENTS_DIR="{place.tree()}"\n')
    return Program(["dbus-run-session", f"--config-file={write(place.box.path('tmp/bus.conf'), BUS)}", "--",
                    miner, "--no-daemon", "--initial-sleep=0"],
                   lambda box, output: what_is_indexed(box, place.tree()), env={"GSETTINGS_BACKEND": "memory"})


# ---- libuv ----

def neovim(place):
    needs("nvim")
    script = os.path.join(APPS, "neovim/work.lua")
    return Program(["sh", "-c", 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do '
                    'nvim --headless -u NONE -i NONE -c "luafile $1" -c "qa!"; done', "sh", script],
                   of_files("cwd/result"))


@functools.cache
def node(build):
    """The installed Node.js where its libuv is captured, else the one that bench/node has fetched."""
    found = shutil.which("node")
    smolscale = os.path.join(build, "cli/smolscale")
    if found and os.path.exists(smolscale) and subprocess.run([smolscale, "doctor", found], stdout=subprocess.DEVNULL,
                                                              stderr=subprocess.DEVNULL).returncode == 0:
        return found
    folder = os.path.join(build, "apps/node-official", os.uname().machine)
    fetched = npm.newest_fetched(folder, "", "package/bin/node")
    if not fetched:
        raise Absent("no Node.js whose libuv is captured")
    return fetched


def node_walk(place):
    return Program([node(place.build), os.path.join(APPS, "demo/walk.js"), place.tree(), "8"], of_output)


def node_bench(place, what):
    """What bench/node measures, as a whole process."""
    return Program([node(place.build), os.path.join(HERE, "../node/bench.js"), what], None)


def node_http(place, rate):
    script, port = os.path.join(HERE, "http.js"), place.box.path("tmp/port")
    return Program([node(place.build), script, "serve", os.path.join(place.tree(), "folder-00"), port],
                   lambda box, output: str(json.loads(output)["bytes"]),
                   client=[node(place.build), script, "ask", port, rate, "5"], figures=of_service)


def of_service(output, said):
    used, asked = json.loads(output), json.loads(said)
    return [("cpu", used["cpu"] / asked["requests"], "us/request"),
            ("switches", used["switches"] / asked["requests"], "per-request"),
            ("p50", asked["p50"], "us"), ("p99", asked["p99"], "us")]


def make_package(top):
    os.makedirs(top)
    with open(os.path.join(top, "package.json"), "w") as file:
        json.dump({"name": "many-files", "version": "1.0.0", "license": "ISC"}, file)
    for i in range(2000):
        folder = os.path.join(top, "lib", f"{i % 40:02}")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"{i:04}.js"), "w") as file:
            file.write(f"'use strict';\nexports.n{i} = {i};\n" * (1 + i % 40))


def npm_pack(place):
    needs("npm")
    return Program([node(place.build), os.path.realpath(shutil.which("npm")), "pack", "--offline", "--silent",
                    "--ignore-scripts", f"--cache={place.box.path('tmp/cache')}", "--no-update-notifier",
                    "--pack-destination=.", place.kept("npm-package", make_package)], of_files("cwd/*.tgz"))


def make_webpack(top):
    os.makedirs(os.path.join(top, "src"))
    needs("npm")
    run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", top, "webpack@5.88.2"], cwd=top)
    count = 1000
    for i in range(count):
        with open(os.path.join(top, "src", f"m{i}.js"), "w") as file:
            uses = [j for j in (2 * i + 1, 2 * i + 2) if j < count]
            file.write("".join(f"import {{ f{j} }} from './m{j}.js';\n" for j in uses) +
                       f"export function f{i}(x) {{ return x + {i}" + "".join(f" + f{j}(x)" for j in uses) + "; }\n")
    with open(os.path.join(top, "src/index.js"), "w") as file:
        file.write("import { f0 } from './m0.js';\nconsole.log(f0(1));\n")
    with open(os.path.join(top, "build.js"), "w") as file:
        file.write("require('webpack')({mode: 'production', context: __dirname, entry: './src/index.js', cache: false,\n"
                   "  devtool: 'source-map', optimization: {minimize: false, concatenateModules: false},\n"
                   "  output: {path: process.argv[2]}}, (error, stats) => {\n"
                   "  if (error || stats.hasErrors()) { console.error(error || stats.toString()); process.exit(1); }\n"
                   "});\n")


def webpack(place):
    folder = place.kept("webpack", make_webpack)
    return Program([node(place.build), os.path.join(folder, "build.js"), place.box.path("cwd")], of_files("cwd/*.js*"))


# ---- pthreadpool ----

def compile_network(target):
    needs("cc")
    if not os.path.exists("/usr/include/xnnpack.h"):
        raise Absent("no XNNPACK (package libxnnpack-dev)")
    run(["cc", "-O2", os.path.join(APPS, "xnnpack/network.c"), "-o", target, "-lXNNPACK", "-lpthreadpool", "-lm"])


def xnnpack(place, threads, load):
    """A round computes for some 2 ms."""
    rounds, period = ("300", "0") if load == "full" else ("100", "20")
    return Program([place.kept("network", compile_network), rounds, threads, period], of_output,
                   has_jobs=threads != "1")


PROGRAMS = {
    "gio-walk": gio_walk, "createrepo_c": createrepo, "compositor": compositor, "ostree-commit": ostree_commit,
    "tracker": tracker,
    "neovim": neovim, "node-walk": node_walk, "node-http": node_http, "node-bench": node_bench,
    "npm-pack": npm_pack, "webpack": webpack, "xnnpack": xnnpack, "torch": torch, "mixture": mixture,
}
