#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The drawing of the house, docs/house.svg, the table of its rooms in docs/README.md, the list of their files,
docs/files.md, and the check of all three: house.py [--check].

The rooms and their order come from tests/layers/layers.py. The files and the arrows are read from the sources:
a room uses another if one of its files includes a file of that room, or names a function that is defined there.
Each room lists all that it uses; an arrow is drawn where no other arrows lead there. An arrow against the
order is always drawn, in red.

In the list stands the first sentence of each file's opening comment.

Without an option all are made anew. --check compares them with the sources and says what differs.
"""

import os
import re
import sys
import textwrap
from xml.sax.saxutils import escape

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SVG = os.path.join(TOP, "docs", "house.svg")
README = os.path.join(TOP, "docs", "README.md")
FILES = os.path.join(TOP, "docs", "files.md")
sys.path.insert(0, os.path.join(TOP, "tests", "layers"))
sys.dont_write_bytecode = True

import layers  # noqa: E402

PURPOSE = {
    "base": "Atomic operations, whose names state the memory order.",
    "os": "The only door to the kernel, to libc's threads, to the clock and to memory. The mutex, the "
          "fences and the options are here and not in base/, because they ask the kernel and the environment.",
    "trace": "What observers see: the points at which jobs and workers are observed, times in queue, the memory of a "
             "trace, USDT probes.",
    "sched": "The executor: its start, groups of workers, the injection queue, parking and waking, the threads that create workers, and the "
             "balancer.",
    "queue": "Work queues: pushing, limits, batches, notices.",
    "io": "Timers, and descriptors that are waited for.",
    "region": "Parallel calls: the caller and its helpers share the items of one call.",
    "task": "Tasks, the lanes that they run in, waiting, supervision.",
    "sync": "Channels, mutexes, semaphores and what else tasks meet at.",
    "process": "The table of rooms, from which the first use and fork() work, and the counters at exit.",
    "compat/glib": "GThreadPool",
    "compat/libuv": "libuv's pool",
    "compat/pthreadpool": "pthreadpool",
    "cli": "the command",
}
OUTSIDE = ["compat/glib", "compat/pthreadpool", "compat/libuv", "cli"]
PUBLIC = "public"


# ---- what the sources say ----

class House:
    """rooms: room -> its files; uses: room -> the rooms that it uses."""

    def __init__(self, top):
        core = os.path.join(top, "core")
        texts = {f"core/{path}": text for path, text in layers.sources(core)}
        for folder in OUTSIDE:
            texts.update((f"{folder}/{path}", text) for path, text in layers.sources(os.path.join(top, folder)))
        self.rooms, self.uses, self.sentences, home = {}, {}, {}, {}
        for path in texts:
            room = self.room_of(path)
            if room != PUBLIC:
                self.rooms.setdefault(room, []).append(path[len(self.folder(room)) + 1:])
                self.uses.setdefault(room, set())
            self.sentences[path] = first_sentence(path, texts[path])
            if room in layers.RANK or room == PUBLIC:  # the layers have names of their own
                for name in defined(texts[path]):
                    home[name] = room
        unknown = sorted(set(self.rooms) - set(PURPOSE))
        if unknown:
            raise SystemExit(f"house: add to PURPOSE in docs/house.py: {', '.join(unknown)}")
        for path, text in texts.items():
            room = self.room_of(path)
            if room == PUBLIC:
                continue
            code = layers.without_comments(text)
            inside = room in layers.RANK
            for include in re.findall(r'#\s*include\s*["<]([^">]+)[">]', code):
                beside = os.path.normpath(os.path.join(os.path.dirname(path), include))
                if include in layers.PUBLIC:
                    self.add(room, None if inside else PUBLIC)
                else:
                    found = [path for path in (beside, f"core/{include}") if path in texts]
                    self.add(room, self.room_of(found[0]) if found else None)
            if inside:
                for name in set(re.findall(r"\b(?:ss|smolscale)_\w+", code)):
                    self.add(room, home.get(name))

    @staticmethod
    def room_of(path):
        for folder in OUTSIDE:
            if path.startswith(folder + "/"):
                return folder
        return layers.room_of(path[len("core/"):]) or PUBLIC

    @staticmethod
    def folder(room):
        return room if room in OUTSIDE else f"core/{room}"

    def add(self, room, used):
        if used and used != room and (used == PUBLIC or used in self.rooms):
            self.uses[room].add(used)

    def arrows(self):
        """(from, to, whether the order allows it), without those that others make superfluous."""
        allowed = {room: {used for used in uses if used == PUBLIC or room in OUTSIDE or layers.may_use(room, used)}
                   for room, uses in self.uses.items()}
        for room in sorted(self.rooms):
            for used in sorted(self.uses[room]):
                if room in OUTSIDE and used in layers.RANK:
                    continue  # said below the drawing
                if used not in allowed[room]:
                    yield room, used, False
                elif not any(used in self.reach(allowed, other) for other in allowed[room] - {used}):
                    yield room, used, True

    def reach(self, allowed, room):
        found, todo = set(), [room]
        while todo:
            for used in allowed.get(todo.pop(), ()):
                if used not in found:
                    found.add(used)
                    todo.append(used)
        return found


def defined(text):
    """Names of functions that the file defines for others."""
    code = layers.without_comments(text)
    for match in re.finditer(r"^(?!static\b)[A-Za-z_][\w \t*]*?\b((?:ss|smolscale)_\w+)\(", code, re.M):
        rest = code[match.end():]
        end = re.search(r";|\n\{", rest)
        if end and end.group() != ";":
            yield match.group(1)


def first_sentence(path, text):
    """Of the comment at the head of the file, behind the licence."""
    lines = []
    for line in text.split("\n")[1:]:
        if not line.startswith("//"):
            break
        line = line[2:].strip()
        if lines and not line:
            break
        if line:
            lines.append(line)
    sentences = re.split(r"(?<=[.:]) ", " ".join(lines))
    sentence = sentences[0]
    if len(sentence.split()) < 4 and len(sentences) > 1 and not sentence.endswith(":"):  # it is a title
        sentence = f"{sentence[:-1]}: {sentences[1]}"
    elif sentence.endswith(":") and len(sentences) > 1:
        sentence += f" {sentences[1]}"
    if not sentence and path.startswith("core/"):
        raise SystemExit(f"house: {path} does not say in its head what it is")
    return sentence.rstrip(".:") + "."


# ---- the drawing ----

WIDTH, LEFT, RIGHT, GAP = 820, 70, 90, 34  # of a level, beside it, and between levels
LINE, PAD = 16, 10
CHARACTER = 7.4  # width of one, and of its part of the space between names, px


def file_names(files):
    """a.c and a.h as a.c/.h"""
    names = {}
    for name in sorted(files):
        stem, ending = os.path.splitext(name)
        names.setdefault(stem, []).append(ending)
    return [stem + "/".join(sorted(endings)) for stem, endings in sorted(names.items())]


class Box:
    def __init__(self, room, width, house):
        self.room, self.width = room, width
        self.title = f"{house.folder(room)}/"
        columns = int((width - 2 * PAD) / CHARACTER)
        self.lines = [("purpose", line) for line in textwrap.wrap(PURPOSE[room], columns)]
        if room in layers.RANK:  # the files of others are their own business
            names = " ".join(file_names(house.rooms[room]))
            self.lines += [("files", line) for line in textwrap.wrap(names, columns, break_on_hyphens=False)]
            uses = [other for rooms in layers.ORDER for other in rooms if other in house.uses[room]]
            text = "uses " + " ".join(uses) if uses else "uses no other room"
            self.lines += [("uses", line) for line in textwrap.wrap(text, columns)]
        self.height = 2 * PAD + LINE * (1 + len(self.lines))

    def at(self, x, y):
        self.x, self.y = x, y
        return self

    def draw(self):
        out = [f'<g id="room-{self.room.replace("/", "-")}" class="room">',
               f'<rect x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="4"/>']
        y = self.y + PAD + 12
        out.append(f'<text x="{self.x + PAD}" y="{y}" class="title">{escape(self.title)}</text>')
        for kind, line in self.lines:
            y += LINE
            out.append(f'<text x="{self.x + PAD}" y="{y}" class="{kind}">{escape(line)}</text>')
        return out + ["</g>"]


class PublicBox(Box):
    def __init__(self):
        self.room, self.title, self.width = PUBLIC, "core/smolscale.h  core/smolscale_async.h", WIDTH
        self.lines = [("purpose", "the public headers: all that programs and layers know of the core")]
        self.height = 2 * PAD + LINE * 2


def levels(house):
    """From the top: those who use the core, its public headers, its rooms."""
    yield [Box(room, (WIDTH - GAP * (len(OUTSIDE) - 1)) // len(OUTSIDE), house) for room in OUTSIDE]
    yield [PublicBox()]
    for rooms in reversed(layers.ORDER):
        rooms = [room for room in rooms if room in house.rooms]
        if rooms:
            yield [Box(room, (WIDTH - GAP * (len(rooms) - 1)) // len(rooms), house) for room in rooms]


def draw(house):
    boxes, level_of, y = {}, {}, 20
    for number, level in enumerate(levels(house)):
        height = max(box.height for box in level)
        x = LEFT
        for box in level:
            box.height = height
            boxes[box.room], level_of[box.room] = box.at(x, y), number
            x += box.width + GAP
        y += height + GAP
    floor = y
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {floor + 60}" '
           f'width="{LEFT + WIDTH + RIGHT}" height="{floor + 60}">',
           "<!-- Made by docs/house.py (./dev house) from the sources. Do not edit. -->",
           "<title>The rooms of smolscale</title>",
           "<style>text{font:12px sans-serif;fill:#222}.title{font-weight:bold;font-size:14px}"
           ".files{font:11px monospace;word-spacing:6px}.uses{fill:#666}.room rect{fill:#f4f1ea;stroke:#8a8272}"
           "#room-public rect{fill:#e3ecf5;stroke:#5b7ba0}.arrow,.against{fill:none;stroke-width:1.5}"
           ".arrow{stroke:#333;marker-end:url(#tip)}"
           ".against{stroke:#c22;stroke-dasharray:4 3;marker-end:url(#redtip)}</style>",
           "<defs>" + "".join(
               f'<marker id="{name}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
               f'orient="auto"><path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
               for name, colour in (("tip", "#333"), ("redtip", "#c22"))) + "</defs>",
           f'<rect width="{LEFT + WIDTH + RIGHT}" height="{floor + 60}" fill="#fff"/>']
    for box in boxes.values():
        out += box.draw()
    arrows = list(house.arrows())
    against = [arrow for arrow in arrows if not arrow[2]]
    lanes = {True: 0, False: 0}
    ports = {}

    def port(room, side):
        """Each line meets the side of a box at a place of its own."""
        ports[room, side] = ports.get((room, side), 0) + 1
        return boxes[room].y + PAD + 11 * ports[room, side]

    for room, used, allowed in arrows:
        source, target = boxes[room], boxes[used]
        name = f'{room}-uses-{used}'.replace("/", "-")
        if level_of[used] == level_of[room]:
            edges = (source.x, target.x + target.width) if source.x > target.x else (source.x + source.width, target.x)
            path = f"M{edges[0]} {source.y + source.height // 2}H{edges[1]}"
        elif allowed and level_of[used] == level_of[room] + 1:
            narrow = source if source.width < target.width else target
            middle = narrow.x + narrow.width // 2
            path = f"M{middle} {source.y + source.height}V{target.y}"
        else:
            lanes[allowed] += 1
            if allowed:
                edges = source.x + source.width, target.x + target.width
                lane = LEFT + WIDTH + 14 * lanes[allowed]
            else:
                edges = source.x, target.x
                lane = LEFT - 8 * lanes[allowed]
            path = f"M{edges[0]} {port(room, allowed)}H{lane}V{port(used, allowed)}H{edges[1]}"
        kind = "arrow" if allowed else "against"
        out.append(f'<path id="{name}" class="{kind}" d="{path}"><title>{escape(room)} uses {escape(used)}'
                   f'</title></path>')
    legend = ["An arrow goes from a room to a room that it uses. Each room lists all that it uses; an arrow is left "
              "out where others lead there.",
              "The layers also have their atomic operations from base/, and the command its table of options from os/."]
    if against:
        legend.append("Red arrows go against the order.")
    for number, line in enumerate(legend):
        out.append(f'<text x="{LEFT}" y="{floor + LINE * (number + 1)}">{escape(line)}</text>')
    return "\n".join(out + ["</svg>", ""])


def structure(svg):
    """What the drawing says, as lines."""
    for room, inside in re.findall(r'<g id="room-([\w-]+)" class="room">(.*?)</g>', svg, re.S):
        yield f"room {room}"
        for kind, text in re.findall(r'<text [^>]*class="(files|uses)">([^<]*)<', inside):
            for word in text.split():
                yield f"room {room}: {'file ' if kind == 'files' else ''}{word}"
    for name in re.findall(r'<path id="([\w-]+)"', svg):
        yield f"arrow {name}"


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def with_table(text, house):
    """The text of docs/README.md with the table of the rooms, from the highest, as the drawing has them."""
    rows = ["| room | what it does |", "|---|---|"]
    for rooms in reversed(layers.ORDER):
        rows += [f"| `{room}/` | {PURPOSE[room]} |" for room in rooms if room in house.rooms]
    begin, end = "<!-- rooms: ./dev house -->\n", "<!-- end -->"
    if begin not in text:
        raise SystemExit("docs/README.md: the marks of the table of rooms are missing")
    before, rest = text.split(begin, 1)
    return before + begin + "\n".join(rows) + "\n" + end + rest.split(end, 1)[1]


def file_list(house):
    out = ["# What is in each file", "",
           "The rooms of `core/` from the highest to the lowest, and the first sentence of each file. "
           "Made by `./dev house`."]
    for rooms in reversed(layers.ORDER):
        for room in rooms:
            if room not in house.rooms:
                continue
            out += ["", f"## {room}/", "", PURPOSE[room], "", "| file | what it is |", "|---|---|"]
            for name in sorted(house.rooms[room]):
                path = f"core/{room}/{name}"
                sentence = house.sentences[path].replace("|", "\\|")
                out.append(f"| [{name}](../{path}) | {sentence} |")
    return "\n".join(out) + "\n"


def check(svg, texts):
    old, status = read(SVG), 0
    if old != svg:
        is_now, was = set(structure(svg)), set(structure(old))
        for line in sorted(is_now - was):
            print(f"docs/house.svg lacks: {line}")
        for line in sorted(was - is_now):
            print(f"docs/house.svg still has: {line}")
        print("docs/house.svg is not what the sources say: make it anew by ./dev house")
        status = 1
    for path, text in texts.items():
        for line in sorted(set(text.split("\n")) ^ set(read(path).split("\n"))):
            print(f"{os.path.relpath(path, TOP)}: {'lacks' if line in text else 'still has'}: {line}")
            status = 1
        if status:
            print(f"{os.path.relpath(path, TOP)} is not what the sources say: make it anew by ./dev house")
    return status


def main():
    house = House(TOP)
    svg, texts = draw(house), {README: with_table(read(README), house), FILES: file_list(house)}
    if sys.argv[1:] == ["--check"]:
        return check(svg, texts)
    if sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 2
    for path, content in {SVG: svg, **texts}.items():
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
