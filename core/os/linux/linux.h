// SPDX-License-Identifier: ISC
//
// What the files behind os.h share, and their parsers, which are tested with texts of other
// machines.

#ifndef SS_OS_LINUX_H
#define SS_OS_LINUX_H

#include "os/os.h"

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

// ---- linux/linux.c: calls that may be refused, by a seccomp filter or a security module

enum ss_call {
    SS_CALL_OPEN = 1 << 0,        // openat, read, pread64, close of /proc
    SS_CALL_CLOSE_RANGE = 1 << 1, // and a thread for it
    SS_CALL_CPU_CLOCK = 1 << 2,   // clock_gettime of a thread's CPU clock
    SS_CALL_GETAFFINITY = 1 << 3,
    SS_CALL_SETAFFINITY = 1 << 4,
    SS_CALL_SCHEDULER = 1 << 5, // sched_getscheduler, sched_getparam, getpriority, and their like
    SS_CALL_RUSAGE = 1 << 6,
    SS_CALL_PRCTL = 1 << 7,
    SS_CALL_MEMBARRIER = 1 << 8,
    SS_CALL_YIELD = 1 << 9,
    SS_CALL_SLEEP = 1 << 10, // clock_nanosleep
    SS_CALL_GETTID = 1 << 11,
    SS_CALL_GETCPU = 1 << 12, // where the vDSO has none
    SS_CALL_TGKILL = 1 << 13, // of no signal: is there such a thread?
};

// May all of these calls be made?
bool ss_may(unsigned calls);

// Notes, by errno, that a call was refused; returns `success`.
bool ss_noted(enum ss_call call, bool success);

// ---- the real ones, whatever a test has put in their place

bool ss_futex_wait_until(_Atomic uint32_t *word, uint32_t expected, uint64_t until);
bool ss_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout);
void ss_futex_wake(_Atomic uint32_t *word, int count);

// What CPUs the cpuset has; by the thread that looks, which may use all of them for some µs.
void ss_learn_cpuset(void);

// ---- linux/look.c: see os.h

void ss_begin_looks(void);
void ss_end_looks(void);
void ss_look_at_threads(const pid_t *tids, enum ss_thread_state *states, unsigned count);
unsigned ss_look_at_load(void);

// The CPUs that are online; 0: cannot be told, or the caller has not begun looks.
unsigned ss_look_at_online(void);

// The cgroup quota in CPUs, rounded up; UINT_MAX: none, or the caller has not begun looks.
unsigned ss_look_at_quota(void);

#endif // SS_OS_LINUX_H
