# SPDX-License-Identifier: ISC
"""Debian's Node.js, which links the shared libuv.

Its packages are unpacked and not installed, for another Node.js may be. It loads a few of its own files
from /usr/share/nodejs; a mount namespace of its own shows them there."""

import glob
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = ["nodejs", "libnode108", "node-acorn", "node-cjs-module-lexer", "node-undici"]


def debian_version(package):
    """The newest version of a package that names Debian as its maker (others offer a nodejs too)."""
    shown = subprocess.run(["apt-cache", "show", package], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL).stdout.decode()
    for stanza in shown.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line[:40])
        if "Debian" in fields.get("Maintainer", "") and "Version" in fields:
            return fields["Version"]
    return None


def unpack(folder, log):
    """The folder with Debian's Node.js in it, or (None, why). What other users read must lie where they may go:
    not below /root."""
    root = os.path.join(folder, "root")
    if os.path.exists(os.path.join(folder, "complete")):
        return root, None
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    versions = {package: debian_version(package) for package in PACKAGES}
    absent = [package for package, version in versions.items() if version is None]
    if absent:
        return None, f"no Debian package {' and '.join(absent)}"
    with open(log, "wb") as out:
        if subprocess.run(["apt-get", "download"] + [f"{p}={v}" for p, v in versions.items()],
                          cwd=folder, stdout=out, stderr=out, timeout=300).returncode != 0:
            return None, f"apt-get download fails (log: {log})"
        for package in glob.glob(folder + "/*.deb"):
            if subprocess.run(["dpkg", "-x", package, root], stdout=out, stderr=out).returncode != 0:
                return None, f"dpkg -x fails (log: {log})"
            os.unlink(package)
    with open(os.path.join(folder, "complete"), "w"):
        pass
    return root, None


class Node:
    """Node.js in a place where any user can read it, for as long as the object lives."""

    def __init__(self, unpacked):
        self.folder = "/var/tmp/smolscale-node-%d" % os.getpid()
        shutil.copytree(unpacked, self.folder, symlinks=True)
        for path, folders, files in os.walk(self.folder):
            os.chmod(path, 0o755)

    def outer(self):
        """What makes the place where Node.js finds its files, to be put before a command."""
        inside = (f"mount -t overlay -o lowerdir={self.folder}/usr/share:/usr/share overlay /usr/share"
                  " && exec \"$@\"")
        return ["unshare", "--user", "--map-current-user", "--keep-caps", "--mount", "sh", "-c", inside,
                "sh", "setpriv", "--ambient-caps=-all", "--inh-caps=-all"]

    def inner(self, words):
        """The command that runs Node.js with these arguments, in that place."""
        library = glob.glob(self.folder + "/usr/lib/*/libnode.so.108")[0]
        return ["env", f"LD_LIBRARY_PATH={os.path.dirname(library)}", self.folder + "/usr/bin/node", *words]

    def command(self, box, script):
        target = shutil.copy(os.path.join(HERE, script), box.path("tmp/" + script))
        os.chmod(target, 0o644)
        if box.user is not None:
            os.chown(target, box.user, box.user)
        return self.outer() + self.inner([target])

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)
