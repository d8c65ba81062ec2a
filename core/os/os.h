// SPDX-License-Identifier: ISC
//
// The seam to the kernel. What the core asks of the operating system again and again goes through
// the table `ss_os`, so that a test or a simulation can replace it: the clock, sleeping, threads,
// /proc. The table is written only before the executor starts, by tests; the core only reads it.
// Every entry keeps errno: the core runs on the program's threads, too.
//
// What no test replaces are functions: thread.h, process.h, memory.h.

#ifndef SS_OS_H
#define SS_OS_H

#include <poll.h>
#include <pthread.h>
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

// A thread that was created joinable, to be joined or detached.
typedef pthread_t ss_thread;

// What place() does to a thread: the CPUs that it had, and those that it has until release().
struct ss_placement {
    cpu_set_t had, set;
};

struct ss_os {
    // Monotonic time in ns.
    uint64_t (*now)(void);

    // Sleeps while *word == expected, until now() is `until` (SS_FOREVER: no limit), and may return
    // at any time: the caller looks again in a loop. Returns false only when the time was up. The
    // limit is a point in time, here and in poll_until(), so that a wait which signals end again
    // and again is over when it should be.
    bool (*futex_wait_until)(_Atomic uint32_t *word, uint32_t expected, uint64_t until);

    // A short sleep of `ns` that should end on time: with the least timer slack; afterwards the
    // thread has the slack that it had. Not for loops: any signal ends it.
    void (*nap)(_Atomic uint32_t *word, uint32_t expected, uint64_t ns);

    // Sleeps until one of `count` descriptors has an event, or now() is `until`. As poll(2), with
    // -1 where a signal came.
    int (*poll_until)(struct pollfd *fds, unsigned count, uint64_t until);

    // Lets other threads have the CPU.
    void (*yield)(void);

    // Sleeps for some 50 us of real time, even under a clock that a test replaces: a thread that
    // waits for another to get on would stand still with that clock.
    void (*rest)(void);

    // Wakes up to `count` threads that sleep on `word`.
    void (*futex_wake)(_Atomic uint32_t *word, int count);

    // Starts a detached thread with a stack of the C library's default size; or a joinable one,
    // with a stack of `stack_size` bytes unless that is 0. It inherits what threads inherit from
    // the caller. Returns 0 or a negative errno value.
    int (*thread_create)(void *(*main)(void *), void *arg);
    int (*thread_create_joinable)(void *(*main)(void *), void *arg, size_t stack_size);

    // The same, detached and with a small stack: for what runs nothing of the program's. It can be
    // had where memory is too scarce for another.
    int (*thread_create_small)(void *(*main)(void *), void *arg);

    // The calling thread.
    ss_thread (*thread_self)(void);

    // Waits for the end of a joinable thread; or gives up the right to. One of the two, once for
    // each thread.
    void (*thread_join)(ss_thread thread);
    void (*thread_detach)(ss_thread thread);

    // Does this process have such a thread?
    bool (*thread_exists)(pid_t tid);

    // CPU time used by a thread of this process in ns; UINT64_MAX when it cannot be told.
    uint64_t (*thread_cpu_time)(pid_t tid);

    // The caller, a thread of the executor's own, is from now on the one that looks at /proc and at
    // the cgroup by the next three: without a descriptor of the program's table being taken, where
    // the kernel allows it (linux/look.c). Until end_looks(), after which another thread may begin.
    void (*begin_looks)(void);
    void (*end_looks)(void);

    // What the kernel says of `count` threads of this process, each at one moment after the call.
    void (*thread_states)(const pid_t *tids, enum ss_thread_state *states, unsigned count);

    // How many threads of the machine run or wait for a CPU, the caller included; 0 when it cannot
    // be told.
    unsigned (*runnable_threads)(void);

    // CPUs this process may use, at least 1: the union of the affinity masks of the caller, of the
    // main thread and of `count` others; and, to the thread that has begun looks, no more than the
    // cgroup quota, rounded up.
    unsigned (*cpu_count)(const pid_t *tids, unsigned count);

    // The CPU the caller runs on, and how often it has gone to sleep so far.
    int (*cpu)(void);
    uint64_t (*sleeps)(void);

    // Restricts a sleeping thread to one CPU of those it may use (`on`), or to the others. False:
    // not done.
    bool (*place)(pid_t tid, int cpu, bool on, struct ss_placement *placement);

    // Gives the calling thread its CPUs back, unless others were set for it meanwhile.
    void (*release)(const struct ss_placement *placement);

    // Asks the kernel to let this process use membarrier(2) (private, expedited); false: it will
    // not.
    bool (*membarrier_register)(void);

    // A full fence on every CPU that runs a thread of this process. False: it is forbidden since
    // registration, and there was none.
    bool (*membarrier)(void);

    // The calling thread's id; where it cannot be had, any number above 0.
    pid_t (*thread_id)(void);

    // Names the calling thread (15 bytes).
    void (*name_thread)(const char *name);

    // The traits that a thread created by the caller has.
    void (*thread_traits)(struct ss_traits *traits);

    // Gives them to the calling thread, as far as its privileges allow; the second only the mask.
    void (*set_thread_traits)(const struct ss_traits *traits);
    void (*set_signal_mask)(const sigset_t *mask);

    // Blocks all signals in the calling thread, and gives the mask that it had.
    void (*block_signals)(sigset_t *before);

    // Keeps this library's code in memory until the process ends, also when it is part of a plug-in
    // that is closed. May wait for a dlopen() or dlclose() that another thread is in: no lock held.
    void (*stay_loaded)(void);
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
// SMOLSCALE_QUIET: from now on none of the calls that docs/system-calls.md lists. They are treated
// as refused, as is each that the kernel did refuse once (EPERM, EACCES, ENOSYS): none of them is
// made again.
void ss_os_be_quiet(void);

#endif // SS_OS_H
