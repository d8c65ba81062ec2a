// SPDX-License-Identifier: ISC
//
// How many CPUs the process may use.

#include "base/room.h"
#include "os/linux/linux.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// As many CPUs as a kernel can be built for. On the stack: memory of the allocator would be lost in
// a child that another thread forks meanwhile.
struct cpus {
    cpu_set_t part[8192 / CPU_SETSIZE];
};

// Adds the CPUs that a thread may use; nothing if it is gone.
static void add_affinity(pid_t tid, struct cpus *all)
{
    struct cpus one;
    if (ss_may(SS_CALL_GETAFFINITY) &&
        ss_noted(SS_CALL_GETAFFINITY, sched_getaffinity(tid, sizeof one, one.part) == 0))
        CPU_OR_S(sizeof one, all->part, all->part, one.part);
}

// 0: cannot be told.
static unsigned affinity_cpus(const pid_t *tids, unsigned count, pid_t main_thread)
{
    struct cpus all = {0};
    add_affinity(0, &all);
    add_affinity(main_thread, &all);
    for (unsigned i = 0; i < count; i++)
        add_affinity(tids[i], &all);
    return (unsigned)CPU_COUNT_S(sizeof all, all.part);
}

// SMOLSCALE_QUIET: the CPUs are counted when the library is loaded, before the program can forbid
// it, and never again; not at all if SMOLSCALE_WORKERS says how many. (glibc's malloc counts
// them, too, for its second thread.)
static unsigned counted_early; // 0: they were not

__attribute__((constructor)) void ss_count_cpus_early(void)
{
    if (counted_early > 0)
        return;
    const char *quiet = secure_getenv("SMOLSCALE_QUIET"), *workers = getenv("SMOLSCALE_WORKERS");
    if (quiet && strcmp(quiet, "1") == 0 && (!workers || strcmp(workers, "0") == 0))
        counted_early = affinity_cpus(NULL, 0, 0);
}

// The affinity mask of one thread alone says little: the first pool may be made by a thread that is
// pinned. So those of the main thread and of some workers count, too.
unsigned ss_linux_cpu_count(const pid_t *tids, unsigned count)
{
    int saved_errno = errno;
    pid_t main_thread = ss_may(SS_CALL_GETAFFINITY) ? getpid() : 0; // 0: the caller
    unsigned cpus = affinity_cpus(tids, count, main_thread), quota = ss_look_at_quota();
    if (cpus == 0)
        cpus = counted_early ? counted_early : ss_look_at_online();
    cpus = cpus < quota ? cpus : quota;
    errno = saved_errno;
    return cpus ? cpus : 1;
}

SS_ROOM(os_linux_cpus, NULL, NULL); // a child may not count them again
