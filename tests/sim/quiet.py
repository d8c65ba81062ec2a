# SPDX-License-Identifier: ISC
"""quiet.py COMMAND...: runs it with as much of the CPUs as the scheduler gives: in a session of its own, with the least
nice value, as far as this process may have it. For figures on a machine that others use, too.

A module: quietly(command) is the command line that does so."""

import os
import sys


def quietly(command):
    return [sys.executable, os.path.abspath(__file__), *command]


def ask_for_all():
    try:
        os.setsid()
    except OSError:
        pass  # it leads one already
    try:
        with open("/proc/self/autogroup", "w", encoding="ascii") as file:
            file.write("-20")
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    except OSError:
        pass  # as it is


if __name__ == "__main__":
    ask_for_all()
    os.execvp(sys.argv[1], sys.argv[1:])
