# SPDX-License-Identifier: ISC
"""Programs that come as npm packages, for the parts that test them. They stay in the build folder."""

import glob
import json
import os
import re
import shutil
import subprocess

LIMIT = 300


def numbers(version):
    """For comparing: npm lists versions by when they came and as words, not by number."""
    return [int(part) for part in re.findall(r"\d+", version)]


def is_release(version):
    return re.fullmatch(r"\d+(\.\d+)*", version) is not None


def call(arguments, folder, log):
    with open(log, "ab") as out:
        return subprocess.run(["npm"] + arguments, cwd=folder, stdout=subprocess.PIPE, stderr=out,
                              stdin=subprocess.DEVNULL, timeout=LIMIT)


def newest(package, line, folder, log):
    """The newest version of a line ("" is all), or (None, why)."""
    wanted = f"{package}@{line}" if line else package
    asked = call(["view", wanted, "version", "--json"], folder, log)
    # One version is told as a word, several as a list.
    told = json.loads(asked.stdout or "[]") if asked.returncode == 0 else []
    versions = list(filter(is_release, [told] if isinstance(told, str) else told))
    if not versions:
        return None, f"npm does not reach its registry, or it has no {wanted} (log: {log})"
    return max(versions, key=numbers), None


def fetch(package, line, member, folder, log):
    """A program in the newest version of a line of a package: its path, or (None, why)."""
    if not shutil.which("npm"):
        return None, "npm is not installed"
    os.makedirs(folder, exist_ok=True)
    known = glob.glob(os.path.join(folder, f"v{line}.*" if line else "v*", member))
    known = [path for path in known if is_release(os.path.relpath(path, folder).split(os.sep)[0][1:])]
    if known:
        return max(known, key=lambda path: numbers(os.path.relpath(path, folder).split(os.sep)[0])), None
    try:
        version, why = newest(package, line, folder, log)
        if version is None:
            return None, why
        packed = call(["pack", "--silent", f"{package}@{version}"], folder, log)
    except subprocess.TimeoutExpired:
        return None, "npm does not reach its registry in time"
    archive = os.path.join(folder, f"{package}-{version}.tgz")
    if packed.returncode != 0 or not os.path.exists(archive):
        return None, f"npm pack fails (log: {log})"
    target = os.path.join(folder, "v" + version)
    os.makedirs(target + ".new", exist_ok=True)
    subprocess.run(["tar", "xzf", archive, "-C", target + ".new", member], check=True)
    os.unlink(archive)
    os.rename(target + ".new", target)
    return os.path.join(target, member), None


def install(packages, folder, log):
    """Packages in FOLDER/node_modules, with none of their scripts run; None, or why not."""
    if not shutil.which("npm"):
        return "npm is not installed"
    os.makedirs(folder, exist_ok=True)
    if all(os.path.isdir(os.path.join(folder, "node_modules", name)) for name in packages):
        return None
    with open(os.path.join(folder, "package.json"), "w") as file:
        file.write("{}\n")
    try:
        done = call(["install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", *packages], folder, log)
    except subprocess.TimeoutExpired:
        return "npm does not reach its registry in time"
    return None if done.returncode == 0 else f"npm does not reach its registry, or it has no {packages} (log: {log})"
