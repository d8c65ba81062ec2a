// SPDX-License-Identifier: ISC
//
// Which threads look after time and events, and what the balancer watches (duty.h).

#include "sched/duty.h"

struct ss_duties ss_duties = {.due = SS_FOREVER};

static void after_fork(void)
{
    ss_set_due(SS_FOREVER);
    store_relaxed(&ss_duties.waits, 0);
    store_relaxed(&ss_duties.looked_at, 0);
    store_relaxed(&ss_duties.attendants, 0);
    ss_duties.seat_taken = false;
    store_relaxed(&ss_duties.events, NULL);
}

// ---- workers that attend

void ss_attend_begin(struct ss_worker *worker)
{
    worker->attends = true;
    fetch_add_relaxed(&ss_duties.attendants, 1);
}

void ss_attend_end(struct ss_worker *worker)
{
    worker->attends = false;
    fetch_sub_acq_rel(&ss_duties.attendants, 1);
}

// ---- events and the seat

bool ss_events_covered(void)
{
    return !ss_events_awaited() || ss_duties.seat_taken || ss.shared.arriving > 0 || ss_attended();
}

bool ss_events_uncovered(void)
{
    if (!ss_events_awaited())
        return false;
    ss_lock(&ss.lock);
    bool covered = ss_events_covered();
    ss_unlock(&ss.lock);
    return !covered;
}

void ss_events_cover(void)
{
    if (ss_events_uncovered())
        ss_wake_balancer();
}

// One look is enough for all. The thread that puts its time there makes it at once.
void ss_events_attend_slow(uint64_t now)
{
    uint64_t last = load_relaxed(&ss_duties.looked_at);
    if (now >= last + ss_policy(events_every_ns) &&
        cas_strong_relaxed(&ss_duties.looked_at, &last, now))
        ss_events_poll();
}

bool ss_seat_take_locked(void)
{
    if (ss_events_covered() || !load_acquire(&ss_duties.events))
        return false;
    ss_duties.seat_taken = true;
    return true;
}

bool ss_seat_take(void)
{
    if (!ss_events_awaited())
        return false;
    ss_lock(&ss.lock);
    bool taken = ss_seat_take_locked();
    ss_unlock(&ss.lock);
    return taken;
}

void ss_seat_leave_locked(void)
{
    ss_duties.seat_taken = false;
}

void ss_seat_leave(void)
{
    ss_lock(&ss.lock);
    ss_seat_leave_locked();
    ss_unlock(&ss.lock);
}

bool ss_seat_sleep(int fd, uint64_t until, bool *time_up)
{
    return load_relaxed(&ss_duties.events)->sleep(fd, until, time_up);
}

void ss_seat_wake(void)
{
    const struct ss_event_duty *duty = load_acquire(&ss_duties.events);
    if (duty)
        duty->wake();
}

// ---- what the balancer watches

static bool is_watched(const struct ss_watched *watched)
{
    const struct ss_watched *other = load_acquire(&ss_duties.watched);
    while (other && other != watched)
        other = other->next;
    return other != NULL;
}

void ss_watched_add(struct ss_watched *watched)
{
    if (is_watched(watched))
        return;
    ss_lock(&ss.lock);
    if (!is_watched(watched)) {
        watched->next = load_relaxed(&ss_duties.watched);
        store_release(&ss_duties.watched, watched); // from here on a fork() keeps it
    }
    ss_unlock(&ss.lock);
}

uint64_t ss_watched_look(uint64_t now)
{
    uint64_t next = SS_FOREVER;
    for (struct ss_watched *watched = load_acquire(&ss_duties.watched); watched;
         watched = watched->next) {
        uint64_t wanted = watched->look(now);
        next = wanted < next ? wanted : next;
    }
    return next;
}

bool ss_watched_due(void)
{
    for (struct ss_watched *watched = load_acquire(&ss_duties.watched); watched;
         watched = watched->next)
        if (watched->is_due && watched->is_due())
            return true;
    return false;
}

bool ss_watched_wanted(void)
{
    for (struct ss_watched *watched = load_acquire(&ss_duties.watched); watched;
         watched = watched->next)
        if (watched->is_wanted())
            return true;
    return false;
}

SS_ROOM(sched_duty, NULL, after_fork);
