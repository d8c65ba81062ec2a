// SPDX-License-Identifier: ISC
//
// A lock in a bit, when it is held by another (bit_lock.h).

#include "os/bit_lock.h"
#include "os/os.h"

#define SPINS  200 // about 5 µs
#define YIELDS 20  // then the holder may have been preempted by the caller, which must not run

void ss_bit_lock_slow(unsigned *word)
{
    for (unsigned tries = 0;; tries++) {
        if (!(word_load_relaxed(word) & SS_BIT_HELD) &&
            !(word_fetch_or_acquire(word, SS_BIT_HELD) & SS_BIT_HELD))
            return;
        if (tries < SPINS)
            cpu_relax();
        else if (tries < SPINS + YIELDS)
            ss_os.yield();
        else
            ss_os.rest();
    }
}
