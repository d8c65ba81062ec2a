// SPDX-License-Identifier: ISC
//
// How many more workers (growth.c). For the balancer only.

#ifndef SS_GROWTH_H
#define SS_GROWTH_H

struct ss_tick;

// Wakes or creates the workers that are missing, by what the tick has found. No lock held.
void ss_add_workers(struct ss_tick *tick);

#endif // SS_GROWTH_H
