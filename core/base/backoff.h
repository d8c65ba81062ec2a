// SPDX-License-Identifier: ISC
//
// Leaving alone for a while what did not pay.

#ifndef SS_BACKOFF_H
#define SS_BACKOFF_H

#include "base/atomic.h"

#include <stdbool.h>
#include <stdint.h>

// A time for which something that did not pay is left alone: twice as long each time that it
// happens again soon. Threads that pause it at once may set different lengths; either will do.
struct ss_pause {
    _Atomic uint64_t until, length; // ns
};

static inline bool ss_paused(const struct ss_pause *pause, uint64_t now)
{
    return now <= load_relaxed(&pause->until);
}

static inline void ss_pause(struct ss_pause *pause, uint64_t now, uint64_t shortest,
                            uint64_t longest)
{
    uint64_t length = load_relaxed(&pause->length);
    bool again = now - load_relaxed(&pause->until) < 4 * length;
    length = again ? length * 2 : shortest;
    length = length < longest ? length : longest;
    store_relaxed(&pause->length, length);
    store_relaxed(&pause->until, now + length);
}

#endif // SS_BACKOFF_H
