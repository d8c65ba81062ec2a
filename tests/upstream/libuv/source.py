# SPDX-License-Identifier: ISC
"""Fetches libuv's source package as the distribution has it, in the version that is installed.

Machines seldom have source entries among their package sources, and this project names no host. So
the machine's own entries are copied, as source entries, into a private apt configuration below the
build folder; the machine's is left alone.
"""

import glob
import os
import re
import subprocess


def codename():
    with open("/etc/os-release") as file:
        for line in file:
            name, _, value = line.strip().partition("=")
            if name == "VERSION_CODENAME":
                return value.strip('"')
    return ""


def source_entries():
    """The entries of the distribution itself (other sources need not have source packages)."""
    name = codename()
    entries = []
    for path in glob.glob("/etc/apt/sources.list.d/*.sources"):
        with open(path) as file:
            stanzas = re.split(r"\n\s*\n", file.read())
        for stanza in stanzas:
            suites = re.search(r"^Suites:(.*)$", stanza, re.M)
            if suites and name and name in suites.group(1) and re.search(r"^Types:", stanza, re.M):
                entries.append(("sources", re.sub(r"^Types:.*$", "Types: deb-src", stanza,
                                                  flags=re.M).strip() + "\n"))
    for path in ["/etc/apt/sources.list"] + glob.glob("/etc/apt/sources.list.d/*.list"):
        if not os.path.exists(path):
            continue
        with open(path) as file:
            for line in file:
                words = line.split()
                if words and words[0] == "deb" and name and any(name in word for word in words):
                    entries.append(("list", "deb-src" + line.strip()[len("deb"):] + "\n"))
    return entries


def private_apt(folder):
    """Writes an apt configuration that knows the source entries only; returns its environment."""
    parts = os.path.join(folder, "sources.list.d")
    for name in (parts, os.path.join(folder, "lists", "partial"),
                 os.path.join(folder, "cache", "archives", "partial")):
        os.makedirs(name, exist_ok=True)
    for old in glob.glob(os.path.join(parts, "*")):
        os.unlink(old)
    for index, (kind, text) in enumerate(source_entries()):
        with open(os.path.join(parts, f"source{index}.{kind}"), "w") as file:
            file.write(text)
    config = os.path.join(folder, "apt.conf")
    with open(config, "w") as file:
        file.write(f'Dir::Etc::sourcelist "/dev/null";\n'
                   f'Dir::Etc::sourceparts "{parts}";\n'
                   f'Dir::State::lists "{folder}/lists";\n'
                   f'Dir::Cache "{folder}/cache";\n'
                   f'APT::Sandbox::User "root";\n')
    return {**os.environ, "APT_CONFIG": config}


def installed_version():
    """The source version of the installed libuv1-dev, or nothing."""
    result = subprocess.run(["dpkg-query", "-W", "-f=${db:Status-Status} ${source:Version}",
                             "libuv1-dev"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    status, _, version = result.stdout.decode().partition(" ")
    return version if status == "installed" else None


def fetch(folder, log):
    """The folder of the unpacked source, or (None, why)."""
    version = installed_version()
    if version is None:
        return None, "libuv1-dev is not installed as a Debian package"
    done = os.path.join(folder, "fetched")
    if os.path.exists(done):
        with open(done) as file:
            have, _, path = file.read().strip().partition(" ")
        if have == version and os.path.isdir(path):
            return path, None
    os.makedirs(folder, exist_ok=True)
    env = private_apt(os.path.join(folder, "apt"))
    with open(log, "wb") as out:
        for command in (["apt-get", "update"], ["apt-get", "source", "libuv1=" + version]):
            if subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=out,
                              stderr=subprocess.STDOUT, timeout=300).returncode != 0:
                return None, f"{' '.join(command)} fails (log: {log})"
    found = [path for path in sorted(glob.glob(os.path.join(folder, "libuv1-*")))
             if os.path.isdir(path)]
    if not found:
        return None, f"no source folder after apt-get source (log: {log})"
    path = os.path.abspath(found[-1])
    with open(done, "w") as file:
        file.write(f"{version} {path}\n")
    return path, None
