// SPDX-License-Identifier: ISC
//
// What files of /proc and of the cgroup say.

#include "os/linux/linux.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum ss_thread_state ss_parse_thread_state(const char *stat)
{
    const char *end_of_name = strrchr(stat, ')'); // the name may hold anything, ')' included
    if (!end_of_name || end_of_name[1] != ' ')
        return SS_THREAD_UNKNOWN;
    switch (end_of_name[2]) {
    case 'R':
        return SS_THREAD_RUNNABLE;
    case 'S': // interruptible
    case 'D': // uninterruptible: disk, NFS
    case 'T': // stopped
    case 't': // stopped by a debugger
        return SS_THREAD_SLEEPING;
    default:
        return SS_THREAD_UNKNOWN;
    }
}

unsigned ss_parse_runnable(const char *loadavg)
{
    unsigned runnable, all; // "0.52 0.58 0.59 2/211 4242"
    int fields = sscanf(loadavg, "%*s %*s %*s %u/%u", &runnable, &all);
    return fields == 2 ? runnable : 0;
}

unsigned ss_parse_cpu_max(const char *text)
{
    unsigned long long quota, period;
    if (sscanf(text, "%llu %llu", &quota, &period) != 2 || period == 0 || strchr(text, '-'))
        return UINT_MAX; // "max 100000": no limit
    unsigned long long cpus = quota / period + (quota % period != 0);
    return cpus == 0 ? 1 : cpus > UINT_MAX ? UINT_MAX : (unsigned)cpus;
}

bool ss_parse_cgroup_path(const char *proc_self_cgroup, const char *controller, char *path,
                          size_t size)
{
    for (const char *line = proc_self_cgroup; line && *line;) {
        const char *end = strchrnul(line, '\n');
        const char *first = memchr(line, ':', (size_t)(end - line));
        const char *second = first ? memchr(first + 1, ':', (size_t)(end - first - 1)) : NULL;
        if (second) {
            // "1:cpu,cpuacct:/path" in version 1, "0::/path" in version 2
            size_t names_len = (size_t)(second - first - 1);
            bool match = *controller == '\0' && names_len == 0;
            for (const char *name = first + 1; *controller && name < second;) {
                const char *comma = memchr(name, ',', (size_t)(second - name));
                size_t len = (size_t)((comma ? comma : second) - name);
                match = match || (len == strlen(controller) && memcmp(name, controller, len) == 0);
                name += len + 1;
            }
            size_t path_len = (size_t)(end - second - 1);
            if (match && path_len < size) {
                memcpy(path, second + 1, path_len);
                path[path_len] = '\0';
                return true;
            }
        }
        line = *end ? end + 1 : end;
    }
    return false;
}
