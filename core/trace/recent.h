// SPDX-License-Identifier: ISC
//
// How long jobs of a pool have waited of late, for one that looks again and again: those that
// started since an earlier look, which was SS_RECENT_NS ago or up to twice as long; or since the
// last, if that was longer ago. The histogram of a pool counts for ever, so copies of it are kept,
// and what has come since the older one counts.
//
// For one thread. Nothing here concerns those that run jobs.

#ifndef SS_RECENT_H
#define SS_RECENT_H

#include "os/os.h"
#include "trace/pools.h"

#define SS_RECENT_NS (5 * SS_NS_PER_S)

struct ss_recent_pool; // two copies

struct ss_recent {
    uint64_t turned_at; // when the later copies were taken, ns
    struct ss_recent_pool *pool[SS_POOLS_MAX + 1];
};

struct ss_recent_times {
    uint64_t jobs; // 0: the rest means nothing
    uint64_t p50, p99, max;
};

// From here on. What was counted before is not of late.
void ss_recent_begin(struct ss_recent *recent, uint64_t now);

// Of one pool; NULL: not known. At most a sixteenth too long.
void ss_recent_of(struct ss_recent *recent, const struct ss_pool *pool,
                  struct ss_recent_times *times);

// After each look: takes new copies if the last are old enough.
void ss_recent_turn(struct ss_recent *recent, uint64_t now);

// Gives all memory back.
void ss_recent_end(struct ss_recent *recent);

#endif // SS_RECENT_H
