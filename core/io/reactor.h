// SPDX-License-Identifier: ISC
//
// Descriptors whose events are reported, each by its number; and what waits for them. That
// belongs to a room above: a report calls it back (struct ss_waiting).
//
// Letters: S the source's lock (that of `waiters`), R the reactor's; A atomic, read without either.

#ifndef SS_REACTOR_H
#define SS_REACTOR_H

#include "os/bit_lock.h"
#include "sched/duty.h"

// Everything about one descriptor number.
struct ss_source {
    _Alignas(SS_CACHE_LINE) smolscale_waitlist waiters; // S; the list itself is the waiting room's
    _Atomic unsigned edges[2];                          // S A; reports to readers and writers
    _Atomic unsigned generation; // S and R, A; counts the times it was forgotten
    _Atomic int reported;        // S and R, A; the events that the poller reports
    _Atomic(void *) spare[2];    // A; what the waiting room keeps here for the next wait
};
_Static_assert(sizeof(struct ss_source) == SS_CACHE_LINE, "a source is one cache line");

// What waits for events, as far as a report knows.
struct ss_waiting {
    // Takes off the source's list what waits for any of `events` (SMOLSCALE_READABLE,
    // SMOLSCALE_WRITABLE), gives it `result`, and puts it in front of `list`; returns the list. The
    // source's lock held.
    void *(*take)(struct ss_source *source, int events, int result, void *list);

    // Wakes a list that is not NULL. No lock held.
    void (*wake)(void *list);
};

static inline void ss_source_lock(struct ss_source *source)
{
    ss_bit_lock(&source->waiters.lock);
}

static inline void ss_source_unlock(struct ss_source *source)
{
    ss_bit_unlock(&source->waiters.lock, 0);
}

// NULL: nothing has waited for a descriptor of such a number. `fd` is 0 or more.
struct ss_source *ss_source_find(int fd);

// NULL: no memory.
struct ss_source *ss_source_get(int fd);

// Has the poller report these events; with `again` also if it is believed to do so. `waiting` is
// told; handed down with the first. 0 or a negative errno value.
int ss_source_subscribe(struct ss_source *source, int fd, int events, bool again,
                        const struct ss_waiting *waiting);

// What is known of the number is of a descriptor that was closed, or is about to be. What waits for
// it gets -EBADF. Leaves errno alone.
void ss_source_forget(int fd);

// Takes the reports and wakes what waits for them. Whether anything did.
bool ss_reactor_poll(void);

#endif // SS_REACTOR_H
