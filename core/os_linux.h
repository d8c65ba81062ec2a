// SPDX-License-Identifier: ISC
//
// The parsers of os_linux.c, apart so that they can be tested with texts of other machines.

#ifndef SS_OS_LINUX_H
#define SS_OS_LINUX_H

#include "os.h"

// The state field of a /proc/PID/task/TID/stat line.
enum ss_thread_state ss_parse_thread_state(const char *stat);

// Of the text of /proc/loadavg, the threads that run or wait for a CPU; 0 when it is not there.
unsigned ss_parse_runnable(const char *loadavg);

// "QUOTA PERIOD" as in cgroup v2's cpu.max, in CPUs rounded up; UINT_MAX when there is no limit.
unsigned ss_parse_cpu_max(const char *text);

// The path of the process in the hierarchy that has `controller` (version 1), or in the unified
// hierarchy (version 2, controller ""). False when the text of /proc/self/cgroup names none, or it
// does not fit.
bool ss_parse_cgroup_path(const char *proc_self_cgroup, const char *controller, char *path,
                          size_t size);

#endif // SS_OS_LINUX_H
