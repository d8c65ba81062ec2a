// SPDX-License-Identifier: ISC
//
// One look of the balancer at the whole, a *tick*. What its steps find is passed on here: from
// blocked.c to growth.c and to balancer.c, which decides by it when the next tick comes.
//
// All of it is the balancer's own: no lock.

#ifndef SS_TICK_H
#define SS_TICK_H

#include <stdbool.h>
#include <stdint.h>

struct ss_tick {
    uint64_t now;      // when it began, ns
    bool backlog;      // work waits that could run
    bool growing;      // workers were added a moment ago: do they block?
    bool unclaimed;    // a worker holds jobs that it has not started, or owes a notice
    bool notices;      // a worker owes one, or holds jobs of a queue that gives notices
    bool moved;        // some worker has started something since the last tick
    bool suspicious;   // some worker used little CPU: may be blocked at the next tick
    bool computing;    // some worker has computed on one job since the last tick
    bool acted;        // workers were added
    bool timed_line;   // what fetching a cache line costs was learnt
    unsigned blocked;  // workers found newly blocked
    uint64_t deadline; // when the first queue will have stood for too long, ns; SS_FOREVER: none
};

#endif // SS_TICK_H
