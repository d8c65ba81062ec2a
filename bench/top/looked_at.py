#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""looked_at.py ARGUMENT...: runs bench-glib with these arguments; with LOOK=1 while `smolscale top` looks at it ten
times a second, on a terminal that nobody reads."""

import os
import pty
import subprocess
import sys
import threading

BUILD = os.environ["SMOLSCALE_BENCH_BUILD"]


def drain(master):
    try:
        while os.read(master, 65536):
            pass
    except OSError:  # nobody has the other side any more
        pass


def look_at(process):
    """Tries until there is something to see, and then until the process ends."""
    env = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    command = [os.path.join(BUILD, "cli/smolscale"), "top", "-d", "0.1", str(process.pid)]
    while process.poll() is None:
        master, slave = pty.openpty()
        threading.Thread(target=drain, args=(master,), daemon=True).start()
        top = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL,
                               env={**env, "TERM": "xterm"})
        os.close(slave)
        if top.wait() == 0:
            return


def main():
    process = subprocess.Popen([os.path.join(BUILD, "bench/glib/bench-glib"), *sys.argv[1:]])
    if os.environ.get("LOOK"):
        look_at(process)
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
