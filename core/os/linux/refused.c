// SPDX-License-Identifier: ISC
//
// Calls that the kernel, a seccomp filter or a security module refuses: each is noted at its first
// refusal, and not made again.

#include "base/atomic.h"
#include "base/room.h"
#include "os/linux/linux.h"

#include <errno.h>

// Bits of enum ss_call.
static _Atomic unsigned refused;

bool ss_may(unsigned calls)
{
    return (load_relaxed(&refused) & calls) == 0;
}

bool ss_noted(enum ss_call call, bool success)
{
    if (!success && (errno == EPERM || errno == EACCES || errno == ENOSYS))
        fetch_or_relaxed(&refused, (unsigned)call);
    return success;
}

void ss_os_be_quiet(void)
{
    ss_count_cpus_early();
    store_relaxed(&refused, ~0u);
}

SS_ROOM(os_linux_refused, NULL, NULL); // a child of fork() has the filters of its parent
