// SPDX-License-Identifier: ISC
//
// What a preloaded library costs a program that never uses a thread pool: the start-up of /bin/true
// with this process's own environment (and so its LD_PRELOAD), and this process's own threads.

#include "bench.h"

#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void bench_startup(int argc, char **argv)
{
    size_t count = (size_t)option(argc, argv, "count", 200);
    g_autofree uint64_t *times = g_new(uint64_t, count);
    char *const command[] = {(char *)"true", NULL};
    for (size_t i = 0; i < count; i++) {
        uint64_t begin = now_ns();
        pid_t child;
        int error = posix_spawn(&child, "/bin/true", NULL, NULL, command, environ);
        if (error != 0)
            fail("posix_spawn: %s", strerror(error));
        int status;
        while (waitpid(child, &status, 0) < 0)
            if (errno != EINTR)
                fail("waitpid: %s", strerror(errno));
        if (status != 0)
            fail("true ended with status %d", status);
        times[i] = now_ns() - begin;
    }
    figure("p50", (double)percentile(times, count, 50) / 1e6, "ms");
    figure("own_threads", threads_now(), "count");
}
