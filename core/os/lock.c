// SPDX-License-Identifier: ISC
//
// The contended half of the core's mutex (lock.h).

#include "os/lock.h"

// Pauses between looks double up to this, three microseconds in all. A handful of looks is enough
// for that time, and threads that look seldom leave the cache line to the one that is to free it
// (./dev sim bench many-pushers: three times as many jobs a second on 64 CPUs as with a look after
// each pause, a quarter more than with half as many pauses). Depends on: the time of a PAUSE (20 to
// 26 ns), and that of a futex round trip, which is much longer.
#define PAUSES_MAX 64

bool ss_lock_soon(struct ss_lock *lock)
{
    for (unsigned pauses = 1; pauses <= PAUSES_MAX; pauses *= 2) {
        uint32_t free = SS_LOCK_FREE;
        if (load_relaxed(&lock->word) == SS_LOCK_FREE &&
            cas_strong_acquire(&lock->word, &free, SS_LOCK_HELD))
            return true;
        for (unsigned i = 0; i < pauses; i++)
            cpu_relax();
    }
    return false;
}

// Returns when the lock looks free, or after that time.
static void await_free(const struct ss_lock *lock)
{
    for (unsigned pauses = 1; pauses <= PAUSES_MAX; pauses *= 2) {
        if (load_relaxed(&lock->word) == SS_LOCK_FREE)
            return;
        for (unsigned i = 0; i < pauses; i++)
            cpu_relax();
    }
}

void ss_lock_slow(struct ss_lock *lock)
{
    if (ss_lock_soon(lock))
        return;
    // From here on the word says "with sleepers" whenever this thread may sleep. A thread that
    // takes the lock on this path leaves it so, because others may sleep, too. At worst one futex
    // wake finds no sleeper. Any return of the wait is fine: the exchange looks again.
    while (exchange_acquire(&lock->word, SS_LOCK_HELD_WITH_SLEEPERS) != SS_LOCK_FREE) {
        ss_os.futex_wait_until(&lock->word, SS_LOCK_HELD_WITH_SLEEPERS, SS_FOREVER);
        await_free(lock); // else each hand-over to a sleeper would take as long as a wake-up
    }
}
