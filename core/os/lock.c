// SPDX-License-Identifier: ISC
//
// The contended half of the core's mutex (lock.h).

#include "os/lock.h"

// About 1 µs of looking: longer than any section when its holder runs, much less than a futex round
// trip. Depends on: the time of a PAUSE (20 to 26 ns).
#define LOOKS_BEFORE_SLEEP 40

bool ss_lock_soon(struct ss_lock *lock)
{
    for (int i = 0; i < LOOKS_BEFORE_SLEEP; i++) {
        uint32_t free = SS_LOCK_FREE;
        if (load_relaxed(&lock->word) == SS_LOCK_FREE &&
            cas_strong_acquire(&lock->word, &free, SS_LOCK_HELD))
            return true;
        cpu_relax();
    }
    return false;
}

void ss_lock_slow(struct ss_lock *lock)
{
    if (ss_lock_soon(lock))
        return;
    // From here on the word says "with sleepers" whenever this thread may sleep. A thread that
    // takes the lock on this path leaves it so, because others may sleep, too. At worst one futex
    // wake finds no sleeper. Any return of the wait is fine: the exchange looks again.
    while (exchange_acquire(&lock->word, SS_LOCK_HELD_WITH_SLEEPERS) != SS_LOCK_FREE)
        ss_os.futex_wait_until(&lock->word, SS_LOCK_HELD_WITH_SLEEPERS, SS_FOREVER);
}
