# SPDX-License-Identifier: ISC
"""mixture.py FOLDER: one thread looks at all files of a folder by GIO (GLib's pool) while another looks names up with
uvloop (libuv's pool). Prints a digest of what both have found."""

import asyncio
import hashlib
import runpy
import os
import sys
import threading

import uvloop

HERE = os.path.dirname(os.path.abspath(__file__))
LOOKUPS = 3000


async def look_up(found):
    loop = asyncio.get_running_loop()
    for _ in range(LOOKUPS // 30):
        for answer in await asyncio.gather(*(loop.getaddrinfo("localhost", 80 + i) for i in range(30))):
            found.append(len(answer) > 0)


def main():
    found = []
    thread = threading.Thread(target=lambda: uvloop.new_event_loop().run_until_complete(look_up(found)))
    thread.start()
    sys.argv[2:] = ["2"]
    runpy.run_path(os.path.join(HERE, "../../tests/apps/demo/walk.py"), run_name="__main__")
    thread.join()
    print(f"{sum(found)} names, {hashlib.sha256(bytes(found)).hexdigest()}")


main()
