// SPDX-License-Identifier: ISC
//
// What a room above has the balancer look after: at each of its ticks, and for as long as there is
// something. See balancer.c; ss_watch() in executor.h makes sure that it looks at what was just
// published.

#ifndef SS_WATCH_H
#define SS_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct ss_watched {
    struct ss_watched *next;

    // By the balancer, no lock held. Returns the time until it is to be called again, in ns;
    // SS_FOREVER: when somebody calls ss_watch(). It may be called sooner.
    uint64_t (*look)(uint64_t now);

    // Must the balancer stay? Read after it has announced its sleep or its end (with a full fence),
    // so it must be read sequentially consistent. ss.lock held.
    bool (*is_wanted)(void);

    bool added; // ss.lock
};

// For good; the structure is static. Once or more often. No lock held.
void ss_watched_add(struct ss_watched *watched);

#endif // SS_WATCH_H
