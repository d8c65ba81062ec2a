// SPDX-License-Identifier: ISC
//
// What runs on the simulated machine to be timed.

#ifndef SIM_WORKLOAD_H
#define SIM_WORKLOAD_H

#include "pool.h"
#include "profile.h"
#include "time.h"

struct sim_load {
    const struct sim_pool *pool;
    unsigned queues, active_queues, limit; // of jobs that run at once, of each queue
    unsigned pushers, jobs;                // a pusher
    uint64_t job_ns;
    uint64_t between_ns; // of a pusher's jobs, on average; 0: as fast as it can
    unsigned blocked;    // jobs that block for ever come before

    // Instead of a pool: tasks. Rings of `ring_size` tasks each with one token that goes round.
    unsigned rings, ring_size, hops, hop_ns;
    unsigned spawns, yielders, yields; // spawn_many; yield_now
};

struct sim_measured {
    bool good;
    uint64_t wall_ns, cpu_ns, work_ns;
    double jobs;
    uint64_t transfers, waited_ns, wakes, calls, switches;
    unsigned threads;
    uint64_t p50_ns, p99_ns, max_ns; // from push to start
};

// One run, after a warm-up in the same run.
struct sim_measured sim_measure(const struct sim_profile *profile, const struct sim_load *load);

#endif // SIM_WORKLOAD_H
