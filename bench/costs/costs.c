// SPDX-License-Identifier: ISC
//
// What this machine asks for a system call, and for waking a thread on another CPU: two prices that
// decide how much a balancing executor can save. Every kept data file names them.
//
//     costs

#include "measure.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CALLS = 200000, TRIPS = 4000 };

// ---- a system call

static double system_call_ns(void)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        uint64_t begin = now_ns();
        for (int call = 0; call < CALLS; call++)
            syscall(SYS_getppid);
        uint64_t used = now_ns() - begin;
        best = used < best ? used : best;
    }
    return (double)best / CALLS;
}

// ---- a wake-up

// Whose turn it is: 0, the waker's; 1, the sleeper's.
static _Atomic uint32_t turn;

static void give(uint32_t to)
{
    atomic_store(&turn, to);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void await(uint32_t mine)
{
    while (atomic_load(&turn) != mine)
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, !mine, NULL, NULL, 0);
}

static void bind_to(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void *sleeper(void *cpu)
{
    bind_to(*(int *)cpu);
    for (int i = 0; i < TRIPS; i++) {
        await(1);
        give(0);
    }
    return NULL;
}

// The second CPU that this process may run on; -1: there is none.
static int first_cpus(int *first)
{
    cpu_set_t set;
    int found = 0;
    sched_getaffinity(0, sizeof set, &set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &set))
            continue;
        if (found++)
            return cpu;
        *first = cpu;
    }
    return -1;
}

// Half of a trip to a thread that sleeps on another CPU and back.
static uint64_t wake_ns(int here, int there)
{
    static uint64_t trips[TRIPS];
    pthread_t thread;
    bind_to(here);
    if (pthread_create(&thread, NULL, sleeper, &there))
        fail("no thread");
    for (int i = 0; i < TRIPS; i++) {
        uint64_t begin = now_ns();
        give(1);
        await(0);
        trips[i] = (now_ns() - begin) / 2;
    }
    pthread_join(thread, NULL);
    return percentile(trips, TRIPS, 50);
}

int main(void)
{
    figure("system_call", system_call_ns(), "ns");
    int here = 0, there = first_cpus(&here);
    if (there >= 0)
        figure("wake", (double)wake_ns(here, there) / 1e3, "us");
    return 0;
}
