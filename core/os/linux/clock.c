// SPDX-License-Identifier: ISC
//
// Time, and sleeping: the clock, futexes, short sleeps.

#include "os/linux/linux.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define REST_NS (50 * SS_NS_PER_US)

uint64_t ss_linux_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * SS_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / SS_NS_PER_S),
                             .tv_nsec = (long)(ns % SS_NS_PER_S)};
}

// FUTEX_WAIT_BITSET takes a point in time of CLOCK_MONOTONIC, FUTEX_WAIT a length.
bool ss_futex_wait_until(_Atomic uint32_t *word, uint32_t expected, uint64_t until)
{
    int saved_errno = errno;
    struct timespec ts = timespec_of(until);
    long result = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
                          until == SS_FOREVER ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);
    bool time_up = result < 0 && errno == ETIMEDOUT;
    errno = saved_errno;
    return !time_up;
}

bool ss_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout)
{
    return ss_futex_wait_until(word, expected,
                               timeout == SS_FOREVER ? SS_FOREVER
                                                     : ss_time_after(ss_linux_now(), timeout));
}

void ss_linux_nap(_Atomic uint32_t *word, uint32_t expected, uint64_t ns)
{
    // The slack is given back at once: children forked from a job would inherit it as their
    // default. It is set to what it was, not to the default: a job, or the thread's creator, may
    // have set it.
    int saved_errno = errno;
    struct timespec ts = timespec_of(ns);
    long slack =
        ss_may(SS_CALL_PRCTL) ? syscall(SYS_prctl, PR_GET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL) : 0;
    bool shortened = ss_noted(SS_CALL_PRCTL, slack >= 0) && slack > 1 &&
                     prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL) == 0;
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &ts, NULL, 0);
    if (shortened)
        prctl(PR_SET_TIMERSLACK, (unsigned long)slack, 0UL, 0UL, 0UL);
    errno = saved_errno;
}

int ss_linux_poll_until(struct pollfd *fds, unsigned count, uint64_t until)
{
    int saved_errno = errno;
    uint64_t time = until == SS_FOREVER ? 0 : ss_linux_now();
    struct timespec ts = timespec_of(until > time ? until - time : 0);
    int result = ppoll(fds, count, until == SS_FOREVER ? NULL : &ts, NULL);
    errno = saved_errno;
    return result;
}

// A sleep by the one call that every thread pool makes.
static void sleep_by_futex(uint64_t ns)
{
    _Atomic uint32_t nothing = 0;
    ss_futex_wait(&nothing, 0, ns);
}

void ss_linux_yield(void)
{
    int saved_errno = errno;
    if (!ss_may(SS_CALL_YIELD) || !ss_noted(SS_CALL_YIELD, sched_yield() == 0))
        sleep_by_futex(1);
    errno = saved_errno;
}

void ss_linux_rest(void)
{
    int saved_errno = errno;
    const struct timespec time = {.tv_nsec = (long)REST_NS};
    // Any other error than a refusal: a signal came.
    if (ss_may(SS_CALL_SLEEP))
        ss_noted(SS_CALL_SLEEP, nanosleep(&time, NULL) == 0);
    if (!ss_may(SS_CALL_SLEEP))
        sleep_by_futex(REST_NS);
    errno = saved_errno;
}

void ss_futex_wake(_Atomic uint32_t *word, int count)
{
    int saved_errno = errno;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
    errno = saved_errno;
}
