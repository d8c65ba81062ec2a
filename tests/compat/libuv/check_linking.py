#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What the two libraries are to a linker: check_linking.py PRELOAD ARCHIVE CORE_ARCHIVE MAP PC COMPILER...

The preload library exports what its version script names, all of which libuv exports too, and needs
libsmolscale and libc alone. The archive defines the five symbols of libuv's threadpool object in one
object, and the documented link line, which the pkg-config file PC gives, takes it even for a program
that names none of them."""

import os
import re
import subprocess
import sys
import tempfile

FIVE = {"uv__threadpool_cleanup", "uv__work_done", "uv__work_submit", "uv_queue_work", "uv_cancel"}
PROGRAM = r"""
#include <uv.h>
extern _Bool smolscale_in_worker(void);
static int where = -1;
static void ended(uv_fs_t *req) { uv_fs_req_cleanup(req); }
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    (void)node; (void)service; (void)hints; (void)result;
    where = smolscale_in_worker();
    return -2;
}
static void looked_up(uv_getaddrinfo_t *req, int status, struct addrinfo *result)
{ (void)req; (void)status; (void)result; }
int main(void)
{
    uv_fs_t req;
    uv_getaddrinfo_t lookup;
    uv_fs_stat(uv_default_loop(), &req, "/", ended);
    uv_getaddrinfo(uv_default_loop(), &lookup, looked_up, "x", 0, 0);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return where == 1 ? 0 : 1;
}
"""


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()


def expect(what, got, wanted):
    if got != wanted:
        raise SystemExit(f"{what}: too many {sorted(got - wanted)}, missing {sorted(wanted - got)}")
    print(f"{what}: as it should be ({len(got)})")


def defined(path):
    return {line.split()[-1] for line in output("nm", "-D", "--defined-only", path).splitlines()
            if line.split()[-2] in "TWDBi"}


def link_line(folder, archive, core, pc):
    """What pkg-config says, as if the archives were installed in a folder."""
    for path in (archive, core):
        os.symlink(os.path.abspath(path), os.path.join(folder, os.path.basename(path)))
    return output("env", f"PKG_CONFIG_PATH={os.path.dirname(pc)}", "pkg-config",
                  f"--define-variable=libdir={folder}", "--libs", "smolscale-uv").split()


def main(preload, archive, core, script, pc, *compiler):
    with open(script) as file:
        named = set(re.findall(r"^\s+(\w+);$", file.read(), re.M))
    exported = defined(preload)
    expect("exported", exported, named)
    libuv = output(*compiler, "-print-file-name=libuv.so.1").strip()
    expect("exported and unknown to libuv", exported - defined(libuv), {"epoll_create1"})
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-d", preload)))
    expect("needed", needed, {"libsmolscale.so.0", "libc.so.6"})
    dynamic = output("readelf", "-d", preload)
    for flag in ("NODELETE", "NOW"):
        if flag not in dynamic:
            raise SystemExit(f"{preload}: no {flag} flag")

    members = {}
    for line in output("nm", "-A", "--defined-only", archive).splitlines():
        place, _, name = line.rpartition(" ")
        if place.endswith(" T") and not name.startswith("ss_"):
            members.setdefault(place.split(":")[1], set()).add(name)
    expect("archive members that define public symbols", set(members), set(members) and
           {next(iter(members))})
    expect("defined in it", set().union(*members.values()), FIVE)

    with tempfile.TemporaryDirectory() as folder:
        source, program = folder + "/program.c", folder + "/program"
        with open(source, "w") as file:
            file.write(PROGRAM)
        subprocess.run([*compiler, source, "-o", program, *link_line(folder, archive, core, pc)],
                       check=True)
        if subprocess.run([program], timeout=60).returncode != 0:
            raise SystemExit("the relinked program's work ran elsewhere")
        own = [line for line in output("nm", program).splitlines() if " uv__cancelled" in line]
        if own:
            raise SystemExit("libuv's own threadpool object was linked as well")
    print("relinked without naming any of the five: as it should be")


main(*sys.argv[1:])
