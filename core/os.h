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

    // Sleeps while *word == expected, at most `timeout` ns (SS_FOREVER: no limit), and may return
    // at any time: the caller looks again in a loop. Returns false only when the time was up.
    bool (*futex_wait)(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout);

    // The same for a short sleep that should end on time: with the least timer slack.
    void (*nap)(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout);

    // Sleeps until one of `count` descriptors has an event, at most `timeout` ns. As poll(2), with
    // -1 where a signal came.
    int (*poll)(struct pollfd *fds, unsigned count, uint64_t timeout);

    // Lets other threads have the CPU.
    void (*yield)(void);

    // Sleeps for some 50 us, whoever holds a lock meanwhile. Of no clock that a test replaces: it
    // would stand still for the lock, too.
    void (*rest)(void);

    // Wakes up to `count` threads that sleep on `word`.
    void (*futex_wake)(_Atomic uint32_t *word, int count);

    // Starts a joinable thread with a stack of the C library's default size, or of `stack_size`
    // bytes; it inherits what threads inherit from the caller. Returns 0 or a negative errno value.
    int (*thread_create)(void *(*main)(void *), void *arg);
    int (*thread_create_sized)(void *(*main)(void *), void *arg, size_t stack_size);

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

    // Keeps this library's code in memory until the process ends, also when it is part of a plug-in
    // that is closed. May wait for a dlopen() or dlclose() that another thread is in: no lock held.
    void (*stay_loaded)(void);
};

extern struct ss_os ss_os;

#endif // SS_OS_H
