#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""walk.py FOLDER ROUNDS: looks at all files of a folder by GIO's asynchronous calls, and prints a digest of
names and sizes. GIO does these calls in GLib's thread pool."""

import hashlib
import sys

import gi
gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

ATTRIBUTES = "standard::name,standard::type,standard::size,time::modified"


class Walk:
    def __init__(self, folder):
        self.loop = GLib.MainLoop()
        self.pending = 0
        self.found = []
        self.look_into(Gio.File.new_for_path(folder))
        self.loop.run()

    def begin(self):
        self.pending += 1

    def end(self):
        self.pending -= 1
        if self.pending == 0:
            self.loop.quit()

    def look_into(self, folder):
        self.begin()
        folder.enumerate_children_async(ATTRIBUTES, Gio.FileQueryInfoFlags.NONE, GLib.PRIORITY_DEFAULT, None,
                                        self.opened, None)

    def opened(self, folder, result, _):
        entries = folder.enumerate_children_finish(result)
        entries.next_files_async(1000, GLib.PRIORITY_DEFAULT, None, self.listed, None)

    def listed(self, entries, result, _):
        folder = entries.get_container()
        for info in entries.next_files_finish(result):
            child = folder.get_child(info.get_name())
            if info.get_file_type() == Gio.FileType.DIRECTORY:
                self.look_into(child)
            else:
                self.begin()
                child.query_info_async(ATTRIBUTES, Gio.FileQueryInfoFlags.NONE, GLib.PRIORITY_DEFAULT, None,
                                       self.asked, None)
        self.end()

    def asked(self, file, result, _):
        info = file.query_info_finish(result)
        self.found.append(f"{file.get_path()} {info.get_size()}")
        self.end()


def main():
    digest = hashlib.sha256()
    for _ in range(int(sys.argv[2])):
        found = sorted(Walk(sys.argv[1]).found)
        digest.update("\n".join(found).encode())
    print(f"{len(found)} files, {digest.hexdigest()}")


main()
