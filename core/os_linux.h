// SPDX-License-Identifier: ISC
//
// What the files behind os.h share, and their parsers, which are tested with texts of other
// machines.

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

// ---- os_linux.c: the real ones, whatever a test has put in their place

bool ss_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout);
void ss_futex_wake(_Atomic uint32_t *word, int count);

// ---- os_look.c: see os.h

void ss_begin_looks(void);
void ss_look_at_threads(const pid_t *tids, enum ss_thread_state *states, unsigned count);
unsigned ss_look_at_load(void);

// The cgroup quota in CPUs, rounded up; UINT_MAX: none, or the caller has not begun looks.
unsigned ss_look_at_quota(void);

#endif // SS_OS_LINUX_H
