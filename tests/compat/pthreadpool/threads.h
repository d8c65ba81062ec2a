// SPDX-License-Identifier: ISC
//
// How many threads the process has, as the kernel lists them.

#ifndef TEST_THREADS_H
#define TEST_THREADS_H

#include <check.h>
#include <dirent.h>
#include <stddef.h>

static inline int threads_now(void)
{
    int found = 0;
    DIR *folder = opendir("/proc/self/task");
    ck_assert_ptr_nonnull(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        found += entry->d_name[0] != '.';
    closedir(folder);
    return found;
}

#endif // TEST_THREADS_H
