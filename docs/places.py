#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The places of functions that documents name, and the check of them: places.py [--check].

A document names a function with the file that defines it, as a link in Markdown:

    `ss_inject()` ([sched/group.c](../core/sched/group.c))

In a table the link may stand in a column of its own: it then belongs to all functions of the line. Without an
option the links are changed to the files that define the functions now. --check fails if a link is wrong. In
both cases a function that is defined nowhere is an error; so is `ss_...()` or `smolscale_...()` elsewhere in a
document if there is no such function, a `file.c` or `file.h` that no folder has, a name of five words or more, as
tests have them, that no source has, and a link to a file or a heading that does not exist.
"""

import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "layers"))
sys.dont_write_bytecode = True

import layers  # noqa: E402

SOURCES = ["core", "compat", "cli"]
FOREIGN = {"uv.h"}
LANGUAGES = {".c", ".h", ".cc", ".py", ".js", ".lua", ".pml", ""}  # "": a script such as tests/cli/run
LONG_NAME = re.compile(r"\b[a-z0-9]+(?:_[a-z0-9]+){4,}\b")
PLACE = re.compile(r"\[([\w/.-]+\.[ch])\]\(([\w/.-]+\.[ch])\)")


def definitions():
    """name of a function or macro -> the files that define it"""
    found = {}
    for folder in SOURCES:
        for path, text in layers.sources(os.path.join(TOP, folder)):
            code = re.sub(r"\b__attribute__\(\([^\n]*?\)\) ", "", layers.without_comments(text))
            names = re.findall(r"^#\s*define\s+(\w+)\(", code, re.M)
            for match in re.finditer(r"^[A-Za-z_][\w \t*()]*?\b(\w+)\(", code, re.M):
                end = re.search(r";|\n\{", code[match.end():])
                if end and end.group() != ";":
                    names.append(match.group(1))
            for name in names:
                found.setdefault(name, set()).add(f"{folder}/{path}")
    return found


def source_files():
    """/path of each source and header, with a slash before it"""
    for folder in SOURCES + ["tests", "bench", "docs"]:
        for path, _ in layers.sources(os.path.join(TOP, folder)):
            yield f"/{folder}/{path}"


def long_names():
    """The names of five words or more in all sources: those of tests, which in Python have
    test_ before them, and some others."""
    found = set()
    for folder in SOURCES + ["tests", "bench", "docs"]:
        for base, _, names in os.walk(os.path.join(TOP, folder)):
            for name in names:
                if os.path.splitext(name)[1] in LANGUAGES:
                    with open(os.path.join(base, name), encoding="utf-8", errors="replace") as file:
                        long = LONG_NAME.findall(file.read())
                        found.update(long, (name.removeprefix("test_") for name in long))
    return found


def nearest(files, old, names):
    """Of the files that define the names, the one that is meant: the old one, one of its room, or the only one.
    A name without a prefix may stand for something else elsewhere."""
    if old in files:
        return old
    room = [path for path in sorted(files) if os.path.dirname(path) == os.path.dirname(old)]
    if room:
        return room[0] if len(room) == 1 else None
    return sorted(files)[0] if len(files) == 1 and all("_" in name for name in names) else None


def shown(path):
    """core/ is left out, because most are there."""
    return path[len("core/"):] if path.startswith("core/") else path


def anchors(path):
    """The names by which links reach the headings of a document."""
    with open(path, encoding="utf-8") as file:
        headings = re.findall(r"^#+ (.*)$", file.read(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


class Document:
    def __init__(self, path, where, files, long):
        self.path, self.where, self.errors = path, where, []
        with open(os.path.join(TOP, path), encoding="utf-8") as file:
            self.old = file.read()
        self.new = "\n".join(self.line(number, line) for number, line in enumerate(self.old.split("\n"), 1))
        for name in sorted(set(re.findall(r"`((?:ss|smolscale)_\w+)\(\)`", self.new)) - set(where)):
            self.errors.append(f"{path}: {name}() is defined nowhere")
        for name in sorted(set(re.findall(r"`([\w/]+\.[ch])`", self.new)) - FOREIGN):
            if not any(file.endswith(f"/{name}") for file in files):
                self.errors.append(f"{path}: there is no file {name}")
        for code in re.findall(r"`([^`\n]+)`", self.new):
            for name in sorted(set(LONG_NAME.findall(code)) - long):
                self.errors.append(f"{path}: nothing is called {name}")
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", self.new):
            file = os.path.join(TOP, os.path.dirname(path), target) if target else os.path.join(TOP, path)
            if not os.path.exists(file):
                self.errors.append(f"{path}: there is no {target}")
            elif anchor and anchor not in anchors(file):
                self.errors.append(f"{path}: there is no heading {target}#{anchor}")

    def line(self, number, line):
        if not PLACE.search(line):
            return line
        if line.startswith("|"):
            names = re.findall(r"`(\w+)\(\)`", line)
            return PLACE.sub(lambda match: self.place(number, names, match), line)
        pair = re.compile(r"`(\w+)\(\)` \(" + PLACE.pattern + r"\)")
        return pair.sub(lambda match: f"`{match.group(1)}()` ("
                        + self.place(number, [match.group(1)], PLACE.search(match.group())) + ")", line)

    def place(self, number, names, match):
        folder = os.path.dirname(self.path)
        old = os.path.normpath(os.path.join(folder, match.group(2)))
        files = None
        for name in names:
            if name not in self.where:
                self.errors.append(f"{self.path}:{number}: {name}() is defined nowhere")
                return match.group()
            files = self.where[name] if files is None else files & self.where[name]
        if files is None:
            return match.group()  # a file by itself
        new = nearest(files, old, names) if files else None
        if not new:
            self.errors.append(f"{self.path}:{number}: no one file defines {', '.join(names)}: {old}?")
            return match.group()
        return f"[{shown(new)}]({os.path.relpath(new, folder or '.')})"


def main():
    checks = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not checks:
        print(__doc__, file=sys.stderr)
        return 2
    where, files, long, status = definitions(), list(source_files()), long_names(), 0
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=TOP, capture_output=True, text=True)
    paths = listed.stdout.split() if listed.returncode == 0 else []
    if not paths:  # not from a repository
        paths = [os.path.join(os.path.relpath(folder, TOP), name) for folder, _, names in os.walk(TOP)
                 for name in names if name.endswith(".md") and not os.path.relpath(folder, TOP).startswith("build")]
    for path in sorted({os.path.normpath(path) for path in paths} - {"docs/files.md"}):  # that is house.py's
        document = Document(path, where, files, long)
        for error in document.errors:
            print(error)
        status |= bool(document.errors)
        if document.new == document.old:
            continue
        if checks:
            print(f"{path}: names files that do not define the functions any more: run ./dev house")
            status = 1
        else:
            with open(os.path.join(TOP, path), "w", encoding="utf-8") as file:
                file.write(document.new)
    return status


if __name__ == "__main__":
    sys.exit(main())
