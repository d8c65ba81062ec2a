// SPDX-License-Identifier: ISC
//
// How long idle workers stay, and sending workers away (retire.c). The limits themselves are set by
// the public functions: smolscale.h, "Idle workers".

#ifndef SS_RETIRE_H
#define SS_RETIRE_H

#include <stdbool.h>
#include <stdint.h>

struct ss_group;

// How long a worker of the group that parks now may sleep, ns; SS_FOREVER: until it is woken.
// ss.lock held.
uint64_t ss_idle_time(const struct ss_group *group);

// Workers that run no job and were not called for one. ss.lock held.
unsigned ss_group_jobless(const struct ss_group *group);

// Wakes parked workers, the coldest first, until `kept` are left: to end, or to park again by new
// rules. No lock held.
void ss_group_dismiss(struct ss_group *group, unsigned kept, bool to_end);

// Ends all workers that run no job, those included that are on their way and will find nothing. No
// lock held.
void ss_group_retire_idle(struct ss_group *group);

// Ends all workers, each when its job has ended. No lock held.
void ss_group_send_away(struct ss_group *group);

#endif // SS_RETIRE_H
