// SPDX-License-Identifier: ISC
//
// The core's mutex: one futex word, so that it needs no destruction, can be reset after fork()
// whatever its state was, and costs two uncontended read-modify-writes. Sections are short (tens of
// ns), hence a waiter looks for a moment before it sleeps.
//
// Lock order: a work queue's lock before the executor's lock. No user code runs under the
// executor's lock; a queue's compare function runs under the queue's lock.

#ifndef SS_LOCK_H
#define SS_LOCK_H

#include "base/atomic.h"
#include "os/os.h"

struct ss_lock {
    _Atomic uint32_t word; // one of SS_LOCK_*
};

enum { SS_LOCK_FREE, SS_LOCK_HELD, SS_LOCK_HELD_WITH_SLEEPERS };

#define SS_LOCK_INIT \
    {                \
        SS_LOCK_FREE \
    }

void ss_lock_slow(struct ss_lock *lock);

// False: another thread has it.
static inline bool ss_lock_at_once(struct ss_lock *lock)
{
    uint32_t free = SS_LOCK_FREE;
    return __builtin_expect(cas_strong_acquire(&lock->word, &free, SS_LOCK_HELD), 1);
}

static inline void ss_lock(struct ss_lock *lock)
{
    if (!ss_lock_at_once(lock))
        ss_lock_slow(lock);
}

// The same. True: another thread had it.
static inline bool ss_lock_and_tell(struct ss_lock *lock)
{
    bool taken = !ss_lock_at_once(lock);
    if (taken)
        ss_lock_slow(lock);
    return taken;
}

// For a caller that must not wait for code that runs under the lock, such as a compare function:
// looks for about as long as a section of the core's own takes. False: not taken.
bool ss_lock_soon(struct ss_lock *lock);

// Is a read-modify-write: fence_after_rmw() may follow it.
static inline void ss_unlock(struct ss_lock *lock)
{
    if (__builtin_expect(exchange_release(&lock->word, SS_LOCK_FREE) == SS_LOCK_HELD_WITH_SLEEPERS,
                         0))
        ss_os.futex_wake(&lock->word, 1);
}

// After fork(), in the child: the thread that held the lock does not exist any more.
static inline void ss_lock_reset(struct ss_lock *lock)
{
    store_relaxed(&lock->word, SS_LOCK_FREE);
}

#endif // SS_LOCK_H
