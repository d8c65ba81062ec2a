// SPDX-License-Identifier: ISC
//
// Which workers stand still (blocked.c). For the balancer only; no lock held, except where noted.
//
//   B    the balancer's own, under ss.lock or not

#ifndef SS_BLOCKED_H
#define SS_BLOCKED_H

#include <stdbool.h>
#include <stdint.h>

struct ss_tick;
struct ss_worker;

// The worker's part: what the balancer has seen of it.
struct ss_seen {
    uint64_t survey;   // B: the last in which it was looked at
    uint64_t progress; // B: its progress at that
    uint64_t since;    // B: when that progress was seen first, ns
    uint64_t cpu;      // B: CPU time at the last look at its clock, ns; UINT64_MAX: not known
    uint64_t cpu_at;   // B: when that was, ns; 0: never
    uint64_t waits_at; // B: when it was found to wait for a CPU, with that CPU time, ns; 0: was not
    uint64_t lags_at;  // B: when it was last asked about though its clock had run, ns; 0: never
};

// Looks at all workers: which have moved, what waits and what is held.
void ss_survey(struct ss_tick *tick);

// Then at those that are in a job: notes which are blocked or compute for long, and takes back what
// those that stand still have taken and not started.
void ss_examine(struct ss_tick *tick);

// A notice has ended the thread in that: gives the others that it had taken.
void ss_examine_broken_off(void);

// What the worker has taken and not dealt with, bits of enum ss_holding; `now`: see
// ss_runnable_ops.holds. Any locks, or none.
unsigned ss_holdings(struct ss_worker *worker, uint64_t now);

// Does work wait in what the worker serves, that is left to it, and so is not listed
// (queue/wake_policy.h)? Or has it taken that out of the injection queue, and not arrived? A hint.
// ss.lock held.
bool ss_is_counted_on(const struct ss_worker *worker);

#endif // SS_BLOCKED_H
