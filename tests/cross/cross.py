# SPDX-License-Identifier: ISC
"""Builds for another machine: what the two runners here share."""

import os
import re
import shutil
import subprocess

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


class Failure(Exception):
    pass


class Skip(Exception):
    pass


class Machine:
    """A machine, and a folder for what is built for it. `triplet` names its compiler, `emulator` the program that runs
    what is built."""

    def __init__(self, build, name, triplet, family, emulator=()):
        self.name, self.triplet, self.family, self.emulator = name, triplet, family, list(emulator)
        self.folder = os.path.abspath(os.path.join(build, "cross", name))
        self.root = os.path.join(self.folder, "root")  # packages of that machine, unpacked
        self.log = os.path.abspath(os.path.join(build, "logs", f"cross-{name}.log"))
        os.makedirs(self.folder, exist_ok=True)
        os.makedirs(os.path.dirname(self.log), exist_ok=True)
        with open(self.log, "w"):
            pass
        missing = [tool for tool in [f"{triplet}-gcc", *self.emulator[:1]] if not shutil.which(tool)]
        if missing:
            raise Skip(f"{' and '.join(missing)} not installed")

    def run(self, command, limit=900, cwd=TOP):
        """(exit status, output), which also goes into the log."""
        with open(self.log, "a") as log:
            print("$", " ".join(command), file=log, flush=True)
            try:
                done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, timeout=limit)
            except subprocess.TimeoutExpired:
                raise Failure(f"{command[0]}: no end within {limit} s") from None
            output = done.stdout.decode(errors="replace")
            log.write(output)
        return done.returncode, output

    def unpack(self, packages):
        """Debian packages of that machine, unpacked and not installed: apt gets a folder of its own for what it knows,
        and the system's stays as it is. Whether they are there."""
        if os.path.exists(os.path.join(self.root, "complete")):
            return True
        if not shutil.which("apt-get"):
            return False
        shutil.rmtree(self.root, ignore_errors=True)
        place = os.path.join(self.folder, "apt")
        for name in ("lists/partial", "cache/archives/partial", "packages"):
            os.makedirs(os.path.join(place, name), exist_ok=True)
        apt = ["apt-get", "-qq", "-o", f"APT::Architecture={self.name}", "-o", f"APT::Architectures::={self.name}",
               "-o", f"Dir::State::lists={place}/lists", "-o", f"Dir::Cache={place}/cache",
               "-o", "Dir::State::status=/dev/null", "-o", "APT::Sandbox::User="]
        if self.run([*apt, "update"], 300)[0]:
            return False
        if self.run([*apt, "download", *packages], 300, cwd=os.path.join(place, "packages"))[0]:
            return False
        for name in sorted(os.listdir(os.path.join(place, "packages"))):
            if self.run(["dpkg", "-x", os.path.join(place, "packages", name), self.root])[0]:
                return False
        with open(os.path.join(self.root, "complete"), "w"):
            pass
        return True

    def setup(self, *options):
        """Configures a build folder: (exit status, output)."""
        path = os.path.join(self.folder, "cross.ini")
        tools = {"c": [f"{self.triplet}-gcc"], "ar": [f"{self.triplet}-ar"], "strip": [f"{self.triplet}-strip"],
                 "pkgconfig": ["pkg-config"]}
        if self.emulator:
            tools["exe_wrapper"] = self.emulator
        with open(path, "w") as file:
            file.write("[binaries]\n" + "".join(f"{name} = {words}\n" for name, words in tools.items()))
            file.write(f"[properties]\nsys_root = '{self.root}'\n"
                       f"pkg_config_libdir = '{self.root}/usr/lib/{self.triplet}/pkgconfig'\n")
            file.write(f"[host_machine]\nsystem = 'linux'\ncpu_family = '{self.family}'\ncpu = '{self.family}'\n"
                       "endian = 'little'\n")
        build = os.path.join(self.folder, "build")
        shutil.rmtree(build, ignore_errors=True)
        return self.run(["meson", "setup", build, f"--cross-file={path}", *options])


def last_line(output):
    """The line of Meson's output that says why."""
    lines = [line for line in output.splitlines() if "ERROR" in line] or output.splitlines() or ["no message"]
    return re.sub(r"^\S*meson\.build:\S+ ", "", lines[-1])[:300]
