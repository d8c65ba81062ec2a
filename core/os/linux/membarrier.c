// SPDX-License-Identifier: ISC
//
// membarrier(2).

#include "os/linux/linux.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool membarrier_command(int command)
{
    int saved_errno = errno;
    bool done = ss_may(SS_CALL_MEMBARRIER) &&
                ss_noted(SS_CALL_MEMBARRIER, syscall(SYS_membarrier, command, 0, 0) == 0);
    errno = saved_errno;
    return done;
}

bool ss_linux_membarrier_register(void)
{
    return membarrier_command(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
}

bool ss_linux_membarrier(void)
{
    return membarrier_command(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}
