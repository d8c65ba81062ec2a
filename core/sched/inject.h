// SPDX-License-Identifier: ISC
//
// What waits for workers (inject.c): the injection queue of each group, and what the limits of
// work queues do not let start. All functions: ss.lock held.

#ifndef SS_INJECT_H
#define SS_INJECT_H

#include <stdbool.h>

struct ss_group;
struct ss_runnable;

// Adds a runnable at the end of the injection queue.
void ss_inject(struct ss_group *group, struct ss_runnable *runnable);

// Moves a runnable that is in the injection queue to its front.
void ss_inject_first(struct ss_group *group, struct ss_runnable *runnable);

// Takes this runnable out again. False: it is not there, a worker has taken it.
bool ss_inject_withdraw(struct ss_group *group, struct ss_runnable *runnable);

// Takes the first runnable out, with the queue's reference to it; NULL: there is none.
struct ss_runnable *ss_inject_pop(struct ss_group *group);

// Takes all out. Returns the first; the others follow by `next`.
struct ss_runnable *ss_inject_take_all(struct ss_group *group);

// Could a runnable of the injection queue use a worker?
bool ss_group_has_demand(const struct ss_group *group);

// How many workers those could use whose own will not do; at most `most`. A hint.
unsigned ss_group_unstaffed_demand(const struct ss_group *group, unsigned most);

// Does anything wait, in any group, or in something elastic (runnable.h)?
bool ss_any_backlog(void);

#endif // SS_INJECT_H
