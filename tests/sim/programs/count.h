// SPDX-License-Identifier: ISC
//
// What programs have in common: jobs that are counted, and waiting until all have run.

#ifndef SIM_COUNT_H
#define SIM_COUNT_H

#include "../machine/sim.h"
#include "program.h"
#include "smolscale.h"

#define SIM_JOBS_MAX 16

// Of one program: SIM_STATE, a function begins it.
struct count {
    _Atomic unsigned runs[SIM_JOBS_MAX];
    _Atomic unsigned done;
    unsigned wanted;
    bool begins; // exploring begins when all have run, before that is said
    struct sim_flag all;
};

extern struct count count;

// So many jobs are to run.
void count_begin(unsigned wanted);

// The item of job `i`, and its run function: counts it.
void *count_item(unsigned i);
void count_run(void *item, void *user_data);

// A job that is not to run: it was cancelled.
void count_cancelled(void);

void count_wait(void);

// Has a job run and waits for it, and then begins: exploring from the moment at which the job is
// about to end, when its worker looks for more.
void count_warm_up(smolscale_queue *queue, unsigned wanted);

// A queue of such jobs; and one of jobs that `run` runs, which calls count_run().
smolscale_queue *count_queue(unsigned max_active, unsigned flags);
smolscale_queue *count_queue_of(smolscale_run_fn *run, unsigned max_active, unsigned flags);

void push(smolscale_queue *queue, unsigned i);

// Waits until so many workers of the group are left.
void wait_for_workers(struct ss_group *group, unsigned left);

// Sends idle workers away until none is left but the calling thread, if it is one.
void end_workers(void);

#endif // SIM_COUNT_H
