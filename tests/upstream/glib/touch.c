// SPDX-License-Identifier: ISC
//
// A library to preload that writes the name of each GThreadPool function to the file named by
// TOUCH_FILE when a process first calls it, and then forwards the call to GLib. suite.py uses it to
// find which of GLib's own tests touch the thread pool at all. It is no part of smolscale.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void note(const char *name)
{
    const char *path = getenv("TOUCH_FILE");
    if (path == NULL)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0)
        return;
    char line[80];
    size_t length = strlen(name);
    memcpy(line, name, length);
    line[length] = '\n';
    if (write(fd, line, length + 1) < 0)
        _exit(99);
    close(fd);
}

// Every argument of these functions is an integer or a pointer, so six machine words stand for any
// of their signatures, and a word for any result.
#define FORWARD(function)                                                                     \
    long function(long a, long b, long c, long d, long e, long f)                             \
    {                                                                                         \
        static long (*next)(long, long, long, long, long, long);                              \
        if (next == NULL) {                                                                   \
            note(#function);                                                                  \
            next = (long (*)(long, long, long, long, long, long))dlsym(RTLD_NEXT, #function); \
        }                                                                                     \
        return next(a, b, c, d, e, f);                                                        \
    }

FORWARD(g_thread_pool_new)
FORWARD(g_thread_pool_new_full)
FORWARD(g_thread_pool_free)
FORWARD(g_thread_pool_push)
FORWARD(g_thread_pool_unprocessed)
FORWARD(g_thread_pool_set_sort_function)
FORWARD(g_thread_pool_move_to_front)
FORWARD(g_thread_pool_set_max_threads)
FORWARD(g_thread_pool_get_max_threads)
FORWARD(g_thread_pool_get_num_threads)
FORWARD(g_thread_pool_set_max_unused_threads)
FORWARD(g_thread_pool_get_max_unused_threads)
FORWARD(g_thread_pool_get_num_unused_threads)
FORWARD(g_thread_pool_stop_unused_threads)
FORWARD(g_thread_pool_set_max_idle_time)
FORWARD(g_thread_pool_get_max_idle_time)
