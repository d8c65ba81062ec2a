// SPDX-License-Identifier: ISC
//
// Thread pools that run on the simulated machine: the core, and two yardsticks beside it.

#ifndef SIM_POOL_H
#define SIM_POOL_H

#include <stdbool.h>
#include <stdint.h>

struct sim_job {
    struct sim_job *next; // of the pool that has it
    uint64_t ns;          // that it computes for
    uint64_t pushed;      // when; 0: its start is of no interest
    struct sim_flag *waits_for;
};

struct sim_pool {
    const char *name;

    // `queues` queues, of which each may have `limit` jobs running.
    void (*open)(unsigned queues, unsigned limit);
    void (*push)(unsigned queue, struct sim_job *job);
};

extern const struct sim_pool sim_pool_core;     // smolscale's queues
extern const struct sim_pool sim_pool_mutex;    // one mutex and one condition, as GLib's pool
extern const struct sim_pool sim_pool_stealing; // deques, thieves that search, as tokio's

// What each pool calls for a job (workload.c).
void sim_job_run(struct sim_job *job);

#endif // SIM_POOL_H
