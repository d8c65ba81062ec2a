// SPDX-License-Identifier: ISC
//
// The driver that counts time: the machine has CPUs, each step takes what its profile says, and
// what happens first comes first. A run is the same each time.

#ifndef SIM_TIME_H
#define SIM_TIME_H

#include "../machine/sim.h"
#include "profile.h"

struct sim_time_stats {
    uint64_t end;   // ns since the beginning
    uint64_t cpu;   // of all threads, ns
    uint64_t wakes; // of threads by threads
    uint64_t calls; // of the kernel
    uint64_t switches;
    uint64_t plain; // accesses that are no steps
    uint64_t steps;
    unsigned threads; // that there were at once
};

// Runs `main` on the machine, until it returns. False: it failed, sim.failure says why.
bool sim_time_run(const struct sim_profile *profile, void *(*main)(void *), void *arg);

// While a run goes on.
struct sim_time_stats sim_time_stats(void);

#endif // SIM_TIME_H
