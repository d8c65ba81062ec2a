// SPDX-License-Identifier: ISC
//
// CPUs of single threads: where the caller runs, and restricting a sleeping thread for its wake-up.

#include "base/atomic.h"
#include "base/room.h"
#include "os/linux/linux.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

int ss_linux_cpu(void)
{
    int saved_errno = errno;
    int number = ss_may(SS_CALL_GETCPU) ? sched_getcpu() : -1;
    if (ss_may(SS_CALL_GETCPU))
        ss_noted(SS_CALL_GETCPU, number >= 0);
    errno = saved_errno;
    return number;
}

bool ss_get_affinity(pid_t tid, cpu_set_t *set)
{
    return ss_may(SS_CALL_GETAFFINITY) &&
           ss_noted(SS_CALL_GETAFFINITY, sched_getaffinity(tid, sizeof *set, set) == 0);
}

bool ss_set_affinity(pid_t tid, const cpu_set_t *set)
{
    return ss_may(SS_CALL_SETAFFINITY) &&
           ss_noted(SS_CALL_SETAFFINITY, sched_setaffinity(tid, sizeof *set, set) == 0);
}

bool ss_linux_place(pid_t tid, int cpu, bool on, struct ss_placement *placement)
{
    int saved_errno = errno;
    cpu_set_t one, *had = &placement->had, *set = &placement->set;
    CPU_ZERO(&one);
    bool done =
        cpu >= 0 && cpu < CPU_SETSIZE && ss_may(SS_CALL_SETAFFINITY) && ss_get_affinity(tid, had);
    if (done) {
        CPU_SET((size_t)cpu, &one);
        *set = *had;
        if (CPU_ISSET((size_t)cpu, had))
            CPU_XOR(set, had, &one);
        if (on)
            CPU_AND(set, had, &one);
        done = CPU_COUNT(set) > 0 && !CPU_EQUAL(set, had) && ss_set_affinity(tid, set);
    }
    errno = saved_errno;
    return done;
}

// The CPUs of the cpuset: those that a thread gets that asks for all. None until they are known.
static _Atomic unsigned long cpuset[CPU_SETSIZE / (8 * sizeof(unsigned long))];

#define CPUSET_WORDS (sizeof cpuset / sizeof *cpuset)

// By one thread, now and then. A reader that sees some words of the old set and some of the new one
// takes a mask for a restricted one. The next placing puts that right.
static void note_cpuset(const cpu_set_t *set)
{
    unsigned long words[CPUSET_WORDS];
    memcpy(words, set, sizeof words);
    for (unsigned i = 0; i < CPUSET_WORDS; i++)
        store_relaxed(&cpuset[i], words[i]);
}

static bool is_cpuset(const cpu_set_t *set)
{
    unsigned long words[CPUSET_WORDS];
    memcpy(words, set, sizeof words);
    for (unsigned i = 0; i < CPUSET_WORDS; i++)
        if (load_relaxed(&cpuset[i]) != words[i])
            return false;
    return true;
}

// Since Linux 6.2 a thread that has once asked for certain CPUs gets no others when its cpuset
// grows. So a thread that may use the whole cpuset asks for all CPUs there may ever be. If it then
// has others than before, the cpuset has changed since it was learnt, and the set that it had may
// have been a restriction: that is set again.
static void give_back(const cpu_set_t *set)
{
    cpu_set_t all, got;
    memset(&all, 0xff, sizeof all);
    if (!is_cpuset(set) || !ss_set_affinity(0, &all) || !ss_get_affinity(0, &got) ||
        !CPU_EQUAL(&got, set))
        ss_set_affinity(0, set);
}

void ss_learn_cpuset(void)
{
    cpu_set_t mine, all, got;
    memset(&all, 0xff, sizeof all);
    if (!ss_get_affinity(0, &mine) || !ss_set_affinity(0, &all))
        return;
    if (ss_get_affinity(0, &got))
        note_cpuset(&got);
    give_back(&mine);
}

// A mask that was changed meanwhile, by taskset(1) or because a CPU has gone, is left alone.
void ss_linux_release(const struct ss_placement *placement)
{
    int saved_errno = errno;
    cpu_set_t now;
    if (!ss_get_affinity(0, &now) || CPU_EQUAL(&now, &placement->set))
        give_back(&placement->had);
    errno = saved_errno;
}

SS_ROOM(os_linux_placement, NULL,
        NULL); // a child begins in its parent's cpuset, and learns of changes
