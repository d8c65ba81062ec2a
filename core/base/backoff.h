// SPDX-License-Identifier: ISC
//
// Leaving something alone for a time because it did not pay: the longer, the more often that
// happens. Several threads may use one; a step that is lost between them does no harm.

#ifndef SS_BACKOFF_H
#define SS_BACKOFF_H

#include "base/atomic.h"

#include <stdbool.h>
#include <stdint.h>

struct ss_backoff {
    _Atomic uint64_t until, length; // ns
};

// Is it to be left alone at `now`?
static inline bool ss_backed_off(const struct ss_backoff *backoff, uint64_t now)
{
    return now <= load_relaxed(&backoff->until);
}

// It did not pay: twice as long as the last time.
static inline void ss_back_off_longer(struct ss_backoff *backoff, uint64_t now, uint64_t shortest,
                                      uint64_t longest)
{
    uint64_t length = load_relaxed(&backoff->length);
    length = length ? 2 * length : shortest;
    length = length < longest ? length : longest;
    store_relaxed(&backoff->length, length);
    store_relaxed(&backoff->until, now + length);
}

// It paid: the next time is short again.
static inline void ss_backoff_reset(struct ss_backoff *backoff)
{
    store_relaxed(&backoff->length, 0);
}

// It did not pay: twice as long as the last time, if that was not long ago.
static inline void ss_back_off(struct ss_backoff *backoff, uint64_t now, uint64_t shortest,
                               uint64_t longest)
{
    if (now - load_relaxed(&backoff->until) >= 4 * load_relaxed(&backoff->length))
        ss_backoff_reset(backoff);
    ss_back_off_longer(backoff, now, shortest, longest);
}

// Leaves it alone once, which says nothing about the next time.
static inline void ss_back_off_once(struct ss_backoff *backoff, uint64_t now, uint64_t ns)
{
    store_relaxed(&backoff->until, now + ns);
}

#endif // SS_BACKOFF_H
