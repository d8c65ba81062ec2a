// SPDX-License-Identifier: ISC
//
// The seam to the kernel. Everything the core asks of the operating system goes through the table
// `ss_os`, so that a test can replace the clock, make thread creation fail, or hide /proc. The
// table is written only before the executor starts (by tests); the core only reads it.

#ifndef SS_OS_H
#define SS_OS_H

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SS_NS_PER_US UINT64_C(1000)
#define SS_NS_PER_MS UINT64_C(1000000)
#define SS_NS_PER_S  UINT64_C(1000000000)
#define SS_FOREVER   UINT64_MAX

enum ss_thread_state {
    SS_THREAD_UNKNOWN, // no /proc, or the thread is gone
    SS_THREAD_RUNNABLE,
    SS_THREAD_SLEEPING, // waits in the kernel, interruptibly or not
};

// What a new thread inherits from the one that creates it, as far as it matters to jobs. Compared
// as bytes.
struct ss_traits {
    sigset_t mask;
    int policy, priority, nice;
    cpu_set_t affinity;
};

struct ss_os {
    // Monotonic time in ns.
    uint64_t (*now)(void);

    // Sleeps while *word == expected, until now() is `until` (SS_FOREVER: no limit), and may return
    // at any time: the caller looks again in a loop. Returns false only when the time was up. The
    // limit is a point in time, here and in poll_until(), so that a wait which signals end again
    // and again is over when it should be.
    bool (*futex_wait_until)(_Atomic uint32_t *word, uint32_t expected, uint64_t until);

    // A short sleep of `ns` that should end on time: with the least timer slack. Not for loops: any
    // signal ends it.
    void (*nap)(_Atomic uint32_t *word, uint32_t expected, uint64_t ns);

    // Sleeps until one of `count` descriptors has an event, or now() is `until`. As poll(2), with
    // -1 where a signal came.
    int (*poll_until)(struct pollfd *fds, unsigned count, uint64_t until);

    // Lets other threads have the CPU.
    void (*yield)(void);

    // Sleeps for some 50 us, whoever holds a lock meanwhile. Of no clock that a test replaces: it
    // would stand still for the lock, too.
    void (*rest)(void);

    // Wakes up to `count` threads that sleep on `word`.
    void (*futex_wake)(_Atomic uint32_t *word, int count);

    // Starts a detached thread with a stack of the C library's default size; or a joinable one,
    // with a stack of `stack_size` bytes unless that is 0. It inherits what threads inherit from
    // the caller. Returns 0 or a negative errno value.
    int (*thread_create)(void *(*main)(void *), void *arg);
    int (*thread_create_joinable)(void *(*main)(void *), void *arg, size_t stack_size);

    // Does this process have such a thread?
    bool (*thread_exists)(pid_t tid);

    // CPU time used by a thread of this process in ns; UINT64_MAX when it cannot be told.
    uint64_t (*thread_cpu_time)(pid_t tid);

    // What the kernel says of a thread of this process.
    enum ss_thread_state (*thread_state)(pid_t tid);

    // How many threads of the machine run or wait for a CPU, the caller included; 0 when it cannot
    // be told.
    unsigned (*runnable_threads)(void);

    // CPUs this process may use: the affinity mask and the cgroup quota, rounded up; at least 1.
    unsigned (*cpu_count)(void);

    // The CPU the caller runs on, and how often it has gone to sleep so far.
    int (*cpu)(void);
    uint64_t (*sleeps)(void);

    // Restricts a sleeping thread to one CPU of those it may use (`on`), or to the others, and
    // keeps in *mask what it had. False: not done.
    bool (*place)(pid_t tid, int cpu, bool on, cpu_set_t *mask);

    // Gives the calling thread its CPUs back.
    void (*release)(const cpu_set_t *mask);

    // Asks the kernel to let this process use membarrier(2) (private, expedited); false: it will
    // not.
    bool (*membarrier_register)(void);

    // A full fence on every CPU that runs a thread of this process. After registration it cannot
    // fail.
    void (*membarrier)(void);

    // The traits that a thread created by the caller has.
    void (*thread_traits)(struct ss_traits *traits);

    // Gives them to the calling thread, as far as its privileges allow; the second only the mask.
    void (*set_thread_traits)(const struct ss_traits *traits);
    void (*set_signal_mask)(const sigset_t *mask);
};

extern struct ss_os ss_os;

// `ns` after `time`. What lies behind the end of the number range never comes. Every sum of a time
// and a length that a user has given is made here.
static inline uint64_t ss_time_after(uint64_t time, uint64_t ns)
{
    return ns < SS_FOREVER - time ? time + ns : SS_FOREVER;
}

// `ns` from now.
static inline uint64_t ss_time_in(uint64_t ns)
{
    return ss_time_after(ss_os.now(), ns);
}

#endif // SS_OS_H
