// SPDX-License-Identifier: ISC
//
// How many CPUs the process may use.

#include "base/room.h"
#include "os/linux/linux.h"
#include "os/memory.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Adds the CPUs that a thread may use to `all`; false: `size` is too small for the kernel.
static bool add_affinity(pid_t tid, size_t size, cpu_set_t *all, cpu_set_t *one)
{
    if (!ss_may(SS_CALL_GETAFFINITY))
        return true;
    if (ss_noted(SS_CALL_GETAFFINITY, sched_getaffinity(tid, size, one) == 0))
        CPU_OR_S(size, all, all, one);
    else if (errno == EINVAL)
        return false;
    return true; // or the thread is gone
}

static unsigned count_affinity(const pid_t *tids, unsigned count, pid_t main_thread, size_t size,
                               cpu_set_t *all, cpu_set_t *one)
{
    CPU_ZERO_S(size, all);
    bool done = add_affinity(0, size, all, one) && add_affinity(main_thread, size, all, one);
    for (unsigned i = 0; i < count; i++)
        done = done && add_affinity(tids[i], size, all, one);
    return done ? (unsigned)CPU_COUNT_S(size, all) : 0;
}

// 0: cannot be told.
static unsigned affinity_cpus(const pid_t *tids, unsigned count, pid_t main_thread)
{
    unsigned found = 0;
    // Machines with more than 1024 CPUs need a larger set; grow until the kernel is content.
    for (size_t cpus = 1024; cpus <= 1u << 20 && found == 0 && ss_may(SS_CALL_GETAFFINITY);
         cpus *= 4) {
        size_t size = CPU_ALLOC_SIZE(cpus);
        cpu_set_t *all = ss_allocate(size), *one = ss_allocate(size);
        if (all && one)
            found = count_affinity(tids, count, main_thread, size, all, one);
        ss_deallocate(all);
        ss_deallocate(one);
    }
    return found;
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
