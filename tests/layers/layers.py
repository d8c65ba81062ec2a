#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The order of the core's rooms, and the check of it: layers.py OBJECTS CORE COMPAT.

A room is a folder of core/. Each may use those below it, and never one above or beside it: by an include,
or by a symbol that another room's object defines. And only base/atomic.h and os/ may name what belongs to
the compiler's atomics, the C library's threads, the allocator and the kernel: nothing else of the core
depends on the machine, so that it runs on a simulated one.

A source file whose object has variables (writable static data, thread-locals included) says at its end, by
SS_ROOM(), what the first use and fork() mean for them, and is listed in process/rooms.c, in the order of the
rooms. One that is forgotten is found here: a child of fork() would see what its parent's threads have left.

The compat layers know the core's public header, and of its inside only base/, from where they have their
atomic operations, too.

OBJECTS is the folder of the library's objects, CORE and COMPAT are source folders. A wrong arrow is a line
of the output, and fails the check.
"""

import argparse
import collections
import os
import re
import subprocess
import sys

# From the lowest. Rooms of one line do not know each other.
ORDER = [
    ["base"],
    ["os"],
    ["trace"],
    ["sched"],
    ["queue", "io", "region"],
    ["task"],
    ["sync"],
    ["process"],
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
HANDED_DOWN = {"ss_rooms"}  # the table of process/rooms.c: the linker gives it to the room that starts and forks
ROOMS = "process/rooms.c"
PUBLIC = {"smolscale.h", "smolscale_async.h"}  # the manual; declarations that every room may see

# What of the C library has no state, asks nothing of the kernel and takes no memory.
PURE = set("""memcpy memmove memset memcmp memchr strlen strnlen strcmp strchr strrchr strstr strncpy strcspn
    snprintf strtol strerror __errno_location __stack_chk_fail _GLOBAL_OFFSET_TABLE_ __sched_cpucount
    __isoc99_sscanf strchrnul __tls_get_addr qsort""".split())

RAW = [
    ("atomic", r"__atomic_\w+|\batomic_(?!signal_fence)\w+|\bmemory_order_\w+|#\s*include\s*<stdatomic\.h>"),
    ("thread-local", r"\b_Thread_local\b|\b__thread\b"),
]
# A public header stands alone: what it inlines into programs names the compiler's own.
RAW_ALLOWED = ("base/atomic.h", "os/", "smolscale.h")


def room_of(path):
    return path.split("/")[0] if "/" in path else ""


def sources(core):
    for folder, _, names in sorted(os.walk(core)):
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                path = os.path.relpath(os.path.join(folder, name), core)
                with open(os.path.join(core, path), encoding="utf-8") as file:
                    yield path, file.read()


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"(?<!\.h\")", "", text, flags=re.S)


def may_use(user, used):
    return user == used or (user in RANK and used in RANK and RANK[used] < RANK[user])


def symbols(objects):
    """(path of the source, defined, undefined, variables) for each object."""
    names = sorted(name for name in os.listdir(objects) if name.endswith(".c.o"))
    out = subprocess.run(["nm", "-f", "sysv", *names], cwd=objects, capture_output=True, text=True, check=True).stdout
    for part in re.split(r"^Symbols from ", out, flags=re.M)[1:]:
        name, _, table = part.partition(":\n")
        defined, undefined, variables = set(), set(), set()
        for line in table.splitlines():
            fields = [field.strip() for field in line.split("|")]
            if len(fields) != 7:
                continue
            symbol, kind, section = fields[0], fields[2], fields[6]
            if kind == "U":
                undefined.add(symbol)
            elif kind.isupper() or kind in "wv":
                defined.add(symbol)
            if re.match(r"\.t?(bss|data)\b(?!\.rel\.ro)|\*COM\*", section):
                variables.add(symbol)
        yield name, defined, undefined, variables


def source_of(name, paths):
    """Meson names the object of a/b.c `a_b.c.o`."""
    for path in paths:
        if path.replace("/", "_") + ".o" == name:
            return path
    raise SystemExit(f"layers: the object {name} has no source")


def findings(objects, core):
    """What breaks the rule, as lines `FILE: what`, each with an explanation."""
    found = {}
    texts = dict(sources(core))
    for path, text in texts.items():
        room = room_of(path)
        if room and room not in RANK:
            found[f"{path}: room"] = "core/ has no such room"
        code = without_comments(text)
        for include in re.findall(r'#\s*include\s*"([^"]+)"', code):
            if include in PUBLIC:
                continue
            if not may_use(room, room_of(include)):
                found[f"{path}: include {include}"] = f"{room} may not know {room_of(include)}"
        if path.startswith(RAW_ALLOWED):
            continue
        for what, pattern in RAW:
            for name in re.findall(pattern, code):
                found[f"{path}: {what} {name}"] = "only base/atomic.h and os/ may"

    objects_read = [(source_of(name, texts), *rest) for name, *rest in symbols(objects)]
    missing = {path for path in texts if path.endswith(".c")} - {path for path, *_ in objects_read}
    if missing:
        raise SystemExit(f"layers: no object of {', '.join(sorted(missing))} in {objects}")
    home = {symbol: path for path, defined, *_ in objects_read for symbol in defined}
    for path, _, undefined, _ in objects_read:
        room = room_of(path)
        for symbol in sorted(undefined - HANDED_DOWN):
            if symbol in home:
                if not may_use(room, room_of(home[symbol])):
                    found[f"{path}: symbol {symbol}"] = f"{room} may not use {home[symbol]}"
            elif room != "os" and symbol not in PURE and not sanitizer(symbol):
                found[f"{path}: call {symbol}"] = "only os/ may"
    found.update(forgotten(objects_read, texts[ROOMS]))
    return found


def forgotten(objects_read, table):
    """Files with variables of which the first use and fork() do not know, and a table out of order."""
    found = {}
    listed = re.findall(r"\bX\((?!X\))(\w+)\)", without_comments(table))
    for path, defined, _, variables in objects_read:
        entry = path.removesuffix(".c").replace("/", "_")
        if variables and f"ss_room_{entry}" not in defined:
            found[f"{path}: variables"] = f"SS_ROOM({entry}, ...) does not say what fork() does to {min(variables)}"
        for name in sorted(symbol.removeprefix("ss_room_") for symbol in defined if symbol.startswith("ss_room_")):
            if name != entry:
                found[f"{path}: room {name}"] = f"its name must be {entry}"
            elif name not in listed:
                found[f"{path}: room {name}"] = f"{ROOMS} does not list it"
    ranks = [RANK[name.split("_")[0]] for name in listed]
    if ranks != sorted(ranks):
        found[f"{ROOMS}: order"] = "an entry comes before one of a lower room"
    return found


def sanitizer(symbol):
    return symbol.startswith(("__asan", "__tsan", "__ubsan", "__sanitizer", "__gcov", "llvm_gcov"))


def circles(core):
    """Headers that include each other in a circle."""
    graph = collections.defaultdict(set)
    for path, text in sources(core):
        graph[path].update(include for include in re.findall(r'#\s*include\s*"([^"]+)"', text))
    state, found = {}, []

    def visit(path, way):
        state[path] = 1
        for other in sorted(graph.get(path, ())):
            if state.get(other) == 1:
                found.append(" -> ".join(way[way.index(other):] + [other]) if other in way else other)
            elif other not in state:
                visit(other, way + [other])
        state[path] = 2

    for path in sorted(graph):
        if path not in state:
            visit(path, [path])
    return found


def layer_findings(compat):
    """The compat layers know the public header and their own API, and of the core's inside base/ alone."""
    found = {}
    for path, text in sources(compat):
        code = without_comments(text)
        for include in re.findall(r'#\s*include\s*"([^"]+)"', code):
            if room_of(include) in RANK and room_of(include) != "base":
                found[f"compat/{path}: include {include}"] = "a layer knows the public header and base/ only"
        for what, pattern in RAW:
            for name in re.findall(pattern, code):
                found[f"compat/{path}: {what} {name}"] = "base/atomic.h has a name for it"
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("objects")
    parser.add_argument("core")
    parser.add_argument("compat")
    args = parser.parse_args()
    bad = [f"core/{key}: {why}" for key, why in sorted(findings(args.objects, args.core).items())]
    bad += [f"{key}: {why}" for key, why in sorted(layer_findings(args.compat).items())]
    bad += [f"headers include each other: {circle}" for circle in circles(args.core)]
    for line in bad:
        print(line)
    print(f"{len(bad)} faults")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
