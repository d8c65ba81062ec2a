// SPDX-License-Identifier: ISC
//
// Backoff. What did not pay is left alone, for longer each time that it fails again. Two forms:
//
//   ss_pause  counts time. It forgets by itself: a failure long after the last pause begins with
//   the
//             shortest again. Several threads may use one; a race between them makes a pause
//             somewhat longer or shorter.
//   ss_skips  counts occasions. Only success makes it forget. Its user's lock guards it.

#ifndef SS_BACKOFF_H
#define SS_BACKOFF_H

#include "base/atomic.h"

#include <stdbool.h>
#include <stdint.h>

// The length that follows `length` when it did not help; 0: there was none.
static inline uint64_t ss_backoff_longer(uint64_t length, uint64_t shortest, uint64_t longest)
{
    uint64_t longer = length ? length * 2 : shortest;
    return longer < longest ? longer : longest;
}

struct ss_pause {
    _Atomic uint64_t until, length; // ns
};

static inline bool ss_paused(const struct ss_pause *pause, uint64_t now)
{
    return now <= load_relaxed(&pause->until);
}

// It has failed: begins a pause. Twice as long as the last one if that ended less than four times
// its length ago.
static inline void ss_pause(struct ss_pause *pause, uint64_t now, uint64_t shortest,
                            uint64_t longest)
{
    uint64_t length = load_relaxed(&pause->length);
    bool again = now - load_relaxed(&pause->until) < 4 * length;
    length = ss_backoff_longer(again ? length : 0, shortest, longest);
    store_relaxed(&pause->length, length);
    store_relaxed(&pause->until, now + length);
}

struct ss_skips {
    unsigned length; // occasions to skip after the last failure; 0: it did not fail
    unsigned left;   // of these, still to come
};

// Is this occasion to be skipped? Counts it if so.
static inline bool ss_skip(struct ss_skips *skips)
{
    if (skips->left == 0)
        return false;
    skips->left--;
    return true;
}

// It was tried. Failures are followed by 1, 3, 7, ... skips, at most 2 * longest - 1.
static inline void ss_skips_note(struct ss_skips *skips, bool paid, unsigned longest)
{
    if (paid)
        skips->length = 0;
    else if (skips->length < longest)
        skips->length = skips->length * 2 + 1;
    skips->left = skips->length;
}

#endif // SS_BACKOFF_H
