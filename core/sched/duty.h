// SPDX-License-Identifier: ISC
//
// Duties: what threads of the executor look after for the rooms above, which have no threads.
//
//   time      Something is due at `ss_duties.due`. Then a thread must fire it.
//   events    `ss_duties.waits` things wait for events that the kernel reports. A thread must look.
//   watches   Something that only the balancer notices, such as a server of tasks that is stuck.
//   workers   What a room keeps in struct ss_worker, at the worker's beginning and end.
//
// Which threads do it. A worker that *attends* looks after time and events between the runs of what
// it serves: then no other thread has to. Otherwise threads do it that sleep:
//
//   the keeper    the parked worker that wakes by itself when something is due (idle.c)
//   the seat      where one thread at a time sleeps until an event comes: the worker that parked
//                 last; or a thread that waits like a task, or for its local executor; or else the
//                 balancer
//   the balancer  where there is no keeper
//
// The rule of the seat. While anything waits for events, they are *covered*: a worker attends, or
// the seat is taken, or a worker is on its way, for it will look. A thread that begins to wait for
// an event, leaves the seat or stops to attend asks under ss.lock whether they still are
// (ss_events_covered). If not, it takes the seat or has the balancer do it.
//
// A room hands a table of functions down when its first duty arises. Before that nothing has to be
// looked after, and there is no table. A table is constant, and is published by a release store
// before the duty is (`due`, `waits`, the seat). A thread that sees the duty and not yet the table
// acts as if it had looked before the duty arose, which the protocols allow at any time. Tables
// stay in children of fork(), except that of the events, to which a descriptor belongs.
//
// Letters: L ss.lock; A atomic, anybody; B the balancer only.

#ifndef SS_DUTY_H
#define SS_DUTY_H

#include "sched/executor.h"

struct ss_time_duty {
    // Fires what is due at `now`. No lock held. Returns when the next is due; SS_FOREVER: none is.
    uint64_t (*fire)(uint64_t now);
};

struct ss_event_duty {
    // Looks for events, and has what waits for them go on. No lock held. Whether there were any
    // that were waited for.
    bool (*poll)(void);

    // In the seat: sleeps until there are events (true), until wake(), until `fd` can be read (-1:
    // none), until now() is `until` (*time_up, if not NULL), or for less: the caller looks in a
    // loop.
    bool (*sleep)(int fd, uint64_t until, bool *time_up);

    // Wakes the thread that sleeps in the seat, or costs the next that does so a look. The caller
    // has changed the sleeper's own word before.
    void (*wake)(void);
};

// One of what the balancer watches; static.
struct ss_watched {
    // Looks at it. No lock held. ns until the next look is wanted; SS_FOREVER: until the balancer
    // is woken.
    uint64_t (*look)(uint64_t now);

    // Does it depend on the balancer's looks? Then the balancer does not park. ss.lock held.
    bool (*is_wanted)(void);

    // Has something begun that the last look() did not know of, so that the next must come at once?
    // It is asked after the balancer has announced its sleep (with a full fence), and the thread
    // that begins something wakes the balancer after it has said so. ss.lock held. NULL: the time
    // that look() gave is soon enough for whatever begins.
    bool (*is_due)(void);

    struct ss_watched *next; // constant from when it is published
};

struct ss_worker_duty {
    // A life of the worker begins, or it is the only one in a child of fork(): what the one before
    // has left is as nothing. ss.lock held, or no other thread exists.
    void (*renew)(struct ss_worker *worker);

    // The worker ends, and gives back what it has put aside. No lock held.
    void (*end)(struct ss_worker *worker);

    // Will the room's part of a tick look at the structure of a worker that has ended? The balancer
    // does not look meanwhile.
    bool (*remembers)(const struct ss_worker *worker);
};

struct ss_duties {
    _Alignas(SS_CACHE_LINE) _Atomic uint64_t due;   // A when something is due first, ns; a hint.
                                                    // SS_FOREVER: never
    _Alignas(SS_CACHE_LINE) _Atomic unsigned waits; // A
    _Alignas(SS_CACHE_LINE) _Atomic unsigned attendants; // L, read as a hint: workers that attend
    bool seat_taken;                                     // L
    _Atomic(const struct ss_time_duty *) time;           // A
    _Atomic(const struct ss_event_duty *) events;        // A; NULL: there is no seat
    _Atomic(const struct ss_worker_duty *) worker;       // A
    _Atomic(struct ss_watched *) watched;                // L, read without
};
extern struct ss_duties ss_duties;

// ---- workers that attend

// The worker begins to attend, or ends. ss.lock held; after the end ss_events_cover() or
// ss_follow_up().
void ss_attend_begin(struct ss_worker *worker);
void ss_attend_end(struct ss_worker *worker);

static inline bool ss_attended(void)
{
    return load_relaxed(&ss_duties.attendants) > 0;
}

// ---- time

// The caller, which guards what is due, tells of a change.
static inline void ss_set_due(uint64_t due)
{
    store_relaxed(&ss_duties.due, due);
}

static inline uint64_t ss_next_due(void)
{
    return load_relaxed(&ss_duties.due);
}

static inline void ss_fire(uint64_t now)
{
    const struct ss_time_duty *duty = load_acquire(&ss_duties.time);
    if (duty)
        duty->fire(now);
}

// A parked worker wakes by itself in time for what is due, or nothing is. Exact under
// ss.lock.
static inline bool ss_time_is_kept(void)
{
    uint64_t next = ss_next_due();
    return next == SS_FOREVER ||
           (load_acquire(&ss.keeper) && load_relaxed(&ss.keeper_until) <= next);
}

// ---- events

static inline bool ss_events_awaited(void)
{
    return load_relaxed(&ss_duties.waits) > 0;
}

// One waits more, or less.
static inline void ss_events_count(int change)
{
    fetch_add_relaxed(&ss_duties.waits, (unsigned)change);
}

// Would an event be noticed, or is none waited for? ss.lock held.
bool ss_events_covered(void);

// Are events waited for that no thread would notice? No lock held.
bool ss_events_uncovered(void);

// If they are not covered, the balancer sees to it. No lock held.
void ss_events_cover(void);

static inline bool ss_events_poll(void)
{
    const struct ss_event_duty *duty = load_acquire(&ss_duties.events);
    return duty && duty->poll();
}

// Takes the seat if events are not covered. The thread that takes it leaves it, and then sees to it
// that they are.
bool ss_seat_take_locked(void); // ss.lock held
bool ss_seat_take(void);
void ss_seat_leave_locked(void); // ss.lock held
void ss_seat_leave(void);

// By the thread that has the seat: see struct ss_event_duty.
bool ss_seat_sleep(int fd, uint64_t until, bool *time_up);

// By a thread that has found another in it.
void ss_seat_wake(void);

// ---- what the balancer watches

// Has the balancer watch it from now on; nothing if it does already. No lock held.
void ss_watched_add(struct ss_watched *watched);

// Looks at all. ns until the next look is wanted. The balancer only; no lock held.
uint64_t ss_watched_look(uint64_t now);

// Does anything depend on the balancer's looks? ss.lock held.
bool ss_watched_wanted(void);

// Must the next look come at once? The balancer only. ss.lock held.
bool ss_watched_due(void);

// ---- what rooms keep in workers

static inline void ss_worker_duty_is(const struct ss_worker_duty *duty)
{
    if (__builtin_expect(!load_relaxed(&ss_duties.worker), 0))
        store_release(&ss_duties.worker, duty);
}

#endif // SS_DUTY_H
