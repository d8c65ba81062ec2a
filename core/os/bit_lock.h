// SPDX-License-Identifier: ISC
//
// A lock in bit 0 of a word, whose other bits belong to the owner of the word. For what there are
// many of (each task has one), and what is held across the return of a poll function: so the thread
// that unlocks need not know how the lock was taken.
//
// It is held for some tens of nanoseconds, and across no call of user code. A thread that finds it
// held looks again, then gives its CPU away, and at last sleeps a little, so that a holder of lower
// priority comes to run.

#ifndef SS_BIT_LOCK_H
#define SS_BIT_LOCK_H

#include "base/atomic.h"

#define SS_BIT_HELD 1u

void ss_bit_lock_slow(unsigned *word);

static inline void ss_bit_lock(unsigned *word)
{
    if (__builtin_expect(word_fetch_or_acquire(word, SS_BIT_HELD) & SS_BIT_HELD, 0))
        ss_bit_lock_slow(word);
}

// The other bits of the word; the lock held. Atomic because others try for the lock meanwhile.
static inline unsigned ss_bit_lock_others(const unsigned *word)
{
    return word_load_relaxed(word) & ~SS_BIT_HELD;
}

// A plain store, which also sets the other bits of the word to `others`.
static inline void ss_bit_unlock(unsigned *word, unsigned others)
{
    word_store_release(word, others);
}

#endif // SS_BIT_LOCK_H
