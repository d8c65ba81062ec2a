// SPDX-License-Identifier: ISC
//
// What threads inherit: signal mask, scheduling, nice, affinity.

#include "os/linux/linux.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

// All that concerns scheduling; 0 where the kernel does not tell.
static void scheduling(struct ss_traits *traits)
{
    struct sched_param param = {0};
    if (!ss_may(SS_CALL_SCHEDULER))
        return;
    int policy = sched_getscheduler(0);
    if (!ss_noted(SS_CALL_SCHEDULER, policy >= 0) ||
        !ss_noted(SS_CALL_SCHEDULER, sched_getparam(0, &param) == 0))
        return;
    long nice = syscall(SYS_getpriority, PRIO_PROCESS, 0);
    if (!ss_noted(SS_CALL_SCHEDULER, nice > 0))
        return;
    traits->policy = policy;
    traits->priority = param.sched_priority;
    traits->nice = 20 - (int)nice; // the raw call's scale
}

// SCHED_RESET_ON_FORK: what the thread creates has no real-time policy and no negative nice value.
static void reset_as_children_do(struct ss_traits *traits)
{
    if (traits->policy < 0 || !(traits->policy & SCHED_RESET_ON_FORK))
        return;
    traits->policy &= ~SCHED_RESET_ON_FORK;
    bool real_time = traits->policy == SCHED_FIFO || traits->policy == SCHED_RR;
    if (real_time) {
        traits->policy = SCHED_OTHER;
        traits->priority = 0;
    }
    if (real_time || traits->nice < 0)
        traits->nice = 0;
}

void ss_linux_thread_traits(struct ss_traits *traits)
{
    int saved_errno = errno;
    memset(traits, 0, sizeof *traits); // compared as bytes
    pthread_sigmask(SIG_SETMASK, NULL, &traits->mask);
    // glibc's sigset_t is larger than the kernel's 64 signals; only those are defined
    memset((char *)&traits->mask + 8, 0, sizeof traits->mask - 8);
    scheduling(traits);
    ss_get_affinity(0, &traits->affinity);
    reset_as_children_do(traits);
    errno = saved_errno;
}

// Only what differs: each is a system call, which privileges may not allow.
void ss_linux_set_thread_traits(const struct ss_traits *traits)
{
    struct ss_traits mine;
    ss_linux_thread_traits(&mine);
    if (memcmp(&mine, traits, sizeof mine) == 0)
        return;
    int saved_errno = errno;
    if (!CPU_EQUAL(&mine.affinity, &traits->affinity))
        ss_set_affinity(0, &traits->affinity);
    bool may = ss_may(SS_CALL_SCHEDULER);
    struct sched_param param = {.sched_priority = traits->priority};
    if (may && (mine.policy != traits->policy || mine.priority != traits->priority))
        sched_setscheduler(0, traits->policy, &param);
    if (may && mine.nice != traits->nice)
        syscall(SYS_setpriority, PRIO_PROCESS, 0, traits->nice);
    errno = saved_errno;
}

void ss_linux_set_signal_mask(const sigset_t *mask)
{
    pthread_sigmask(SIG_SETMASK, mask, NULL);
}

void ss_linux_block_signals(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
}
