// SPDX-License-Identifier: ISC
//
// Backoff. What did not pay is left alone, for longer each time that it fails again. Three forms:
//
//   ss_backoff  counts time. Several threads may use one: a step that is lost between them makes a
//               pause somewhat longer or shorter.
//   ss_skips    counts occasions. Only success makes it forget. Its user's lock guards it.
//   ss_gains    the same for what gains or loses some time: it fails while it loses in the mean.

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

// It did not pay: twice as long as the last time, if that ended less than four times its length
// ago.
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

// A trial begins with a credit and ends when that is lost. So one loss does not end it: what is
// tried may pay only when it was done some times in a row. If it has lasted for so many times it
// has paid.
#define SS_GAINS_TRIAL 32u

struct ss_gains {
    int64_t mean;   // of this trial, ns; what is left of the credit is in it
    unsigned tried; // so often in this trial
    struct ss_skips skips;
};

// It was tried, and has gained `ns`, or lost that if below 0. `worth`: what it gains at best.
static inline void ss_gains_note(struct ss_gains *gains, int64_t ns, int64_t worth,
                                 unsigned longest)
{
    int64_t mean = gains->tried ? gains->mean : worth;
    ns = ns < -2 * worth ? -2 * worth : ns > 2 * worth ? 2 * worth : ns;
    gains->mean = mean + (ns - mean) / 8;
    gains->tried += gains->tried < SS_GAINS_TRIAL;
    if (gains->mean < 0) {
        ss_skips_note(&gains->skips, false, longest);
        gains->tried = 0;
    } else if (gains->tried == SS_GAINS_TRIAL) {
        ss_skips_note(&gains->skips, true, longest);
    }
}

#endif // SS_BACKOFF_H
