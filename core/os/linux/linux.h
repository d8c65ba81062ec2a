// SPDX-License-Identifier: ISC
//
// What the files behind os.h share, and their parsers, which are tested with texts of other
// machines.

#ifndef SS_OS_LINUX_H
#define SS_OS_LINUX_H

#include "os/os.h"

// ---- linux/parse.c

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

// ---- linux/refused.c: calls that may be refused, by a seccomp filter or a security module

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

// ---- the rows of the table ss_os, as os.h describes them: the real ones, whatever a test has put
// in their place. Each keeps errno.

// linux/clock.c
uint64_t ss_linux_now(void);
bool ss_futex_wait_until(_Atomic uint32_t *word, uint32_t expected, uint64_t until);
bool ss_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout);
void ss_futex_wake(_Atomic uint32_t *word, int count);
void ss_linux_nap(_Atomic uint32_t *word, uint32_t expected, uint64_t ns);
int ss_linux_poll_until(struct pollfd *fds, unsigned count, uint64_t until);
void ss_linux_yield(void);
void ss_linux_rest(void);

// linux/thread.c
int ss_linux_thread_create(void *(*main)(void *), void *arg);
int ss_linux_thread_create_joinable(void *(*main)(void *), void *arg, size_t stack_size);
int ss_linux_thread_create_small(void *(*main)(void *), void *arg);
ss_thread ss_linux_thread_self(void);
void ss_linux_thread_join(ss_thread thread);
void ss_linux_thread_detach(ss_thread thread);
bool ss_linux_thread_exists(pid_t tid);
uint64_t ss_linux_thread_cpu_time(pid_t tid);
uint64_t ss_linux_sleeps(void);
pid_t ss_linux_thread_id(void);
void ss_linux_name_thread(const char *name);

// linux/traits.c
void ss_linux_thread_traits(struct ss_traits *traits);
void ss_linux_set_thread_traits(const struct ss_traits *traits);
void ss_linux_set_signal_mask(const sigset_t *mask);
void ss_linux_block_signals(sigset_t *before);

// linux/placement.c
int ss_linux_cpu(void);
bool ss_linux_place(pid_t tid, int cpu, bool on, struct ss_placement *placement);
void ss_linux_release(const struct ss_placement *placement);

// linux/cpus.c
unsigned ss_linux_cpu_count(const pid_t *tids, unsigned count);

// linux/membarrier.c
bool ss_linux_membarrier_register(void);
bool ss_linux_membarrier(void);

// linux/process.c
void ss_linux_stay_loaded(void);

// ---- what these files use of each other

// linux/cpus.c: counts the CPUs if SMOLSCALE_QUIET is set and they were not counted yet.
void ss_count_cpus_early(void);

// linux/placement.c: a thread's affinity; 0: the caller's. False: the kernel refuses. They change
// errno.
bool ss_get_affinity(pid_t tid, cpu_set_t *set);
bool ss_set_affinity(pid_t tid, const cpu_set_t *set);

// linux/placement.c: learns which CPUs the cpuset has. For the thread that looks: it may use all of
// them for some us.
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
