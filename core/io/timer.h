// SPDX-License-Identifier: ISC
//
// Timers: one heap for the process, ordered by when they are due. A timer is embedded in what it is
// about, and belongs to a room above, which takes out what is due (struct ss_time_duty) and knows
// what that means.
//
// One lock guards the heap, and what the room above ties to a timer's being in it. Letters: T that
// lock; A atomic.

#ifndef SS_TIMER_H
#define SS_TIMER_H

#include "sched/duty.h"

#define SS_NOT_SET UINT32_MAX

struct ss_timer {
    _Atomic uint32_t place; // T, read without as a hint: in the heap, or SS_NOT_SET
};

static inline void ss_timer_init(struct ss_timer *timer)
{
    store_relaxed(&timer->place, SS_NOT_SET);
}

// A hint without the lock.
static inline bool ss_timer_is_set(const struct ss_timer *timer)
{
    return load_relaxed(&timer->place) != SS_NOT_SET;
}

// The lock may be held across the return of a poll function: it need not be dropped by the thread
// that took it.
void ss_timers_lock(void);
void ss_timers_unlock(void);

// Takes the lock, with room for the timer. `duty` is what fires; it is handed down with the first
// timer. False: no memory, and the lock is not held.
bool ss_timers_lock_with_room(const struct ss_timer *timer, const struct ss_time_duty *duty);

// ---- the lock held

// Puts it in; there is room, and it is not in.
void ss_timer_set(struct ss_timer *timer, uint64_t when);

// Takes it out, if it is in.
void ss_timer_unset(struct ss_timer *timer);

// Takes out the first, if it is due at `now`; else NULL.
struct ss_timer *ss_timers_take_due(uint64_t now);

#endif // SS_TIMER_H
