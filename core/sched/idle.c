// SPDX-License-Identifier: ISC
//
// Parked workers: the idle list of each group, how its workers sleep, and how they are woken.
//
// Which worker sleeps is decided under ss.lock. Work is published there (ss_inject). A worker that
// has seen that nothing is published puts itself on the idle list there. A waker takes it off
// there. So no wake-up is lost between the two. Only the sleep itself is outside of the lock, on
// the worker's futex word `park`: the waker sets it to AWAKE before the wake, so a sleep that
// begins too late does not begin. Between being taken off the list and that moment the worker
// belongs to its waker, which may use its links, and may hand it, with these, to a worker that it
// wakes (ss_unpark_all).
//
// The worker that parked last is woken first, so that the coldest retires.

#include "sched/idle.h"

#include "sched/duty.h"
#include "sched/executor.h"
#include "sched/retire.h"
#include "trace/points.h"

// ---- the idle list

static void add(struct ss_worker *worker, bool kept)
{
    struct ss_group *group = worker->group;
    struct ss_parking *parking = &worker->parking;
    parking->kept = kept;
    group->kept += kept;
    parking->prev = NULL;
    parking->next = group->idle;
    if (group->idle)
        group->idle->parking.prev = worker;
    group->idle = worker;
    group->idle_count++;
    parking->listed = true;
}

void ss_take_off_idle(struct ss_worker *worker)
{
    struct ss_group *group = worker->group;
    struct ss_parking *parking = &worker->parking;
    if (load_relaxed(&ss.keeper) == worker)
        store_relaxed(&ss.keeper, NULL);
    *(parking->prev ? &parking->prev->parking.next : &group->idle) = parking->next;
    if (parking->next)
        parking->next->parking.prev = parking->prev;
    group->idle_count--;
    group->kept -= parking->kept;
    parking->to_wake = NULL;
    parking->listed = false;
}

struct ss_worker *ss_coldest(const struct ss_group *group)
{
    struct ss_worker *worker = group->idle;
    while (worker && worker->parking.next)
        worker = worker->parking.next;
    return worker;
}

struct ss_worker *ss_next_warmer(const struct ss_worker *worker)
{
    return worker->parking.prev;
}

void ss_parking_renew(struct ss_parking *parking)
{
    *parking = (struct ss_parking){0};
}

// ---- on its way

void ss_expect(struct ss_worker *worker)
{
    struct ss_group *group = worker->group;
    worker->parking.arriving = true;
    if (group->arriving++ == 0)
        ss_comes_from(group, ss_os.now());
    ss_group_refresh(group);
}

void ss_arrive(struct ss_worker *worker)
{
    struct ss_group *group = worker->group;
    worker->parking.arriving = false;
    if (--group->arriving == 0)
        store_relaxed(&group->comes_until, 0);
    ss_group_refresh(group);
    fence_seq_cst(); // see ss_worker_comes()
}

// ---- waking

// The worker that looks for events of descriptors is left there if there is another.
static struct ss_worker *first(struct ss_group *group)
{
    struct ss_worker *worker = group->idle;
    return worker && worker->parking.next && load_relaxed(&worker->park) == SS_PARK_SEATED
               ? worker->parking.next
               : worker;
}

struct ss_worker *ss_take_idle(struct ss_group *group)
{
    struct ss_worker *worker = first(group);
    if (!worker)
        return NULL;
    ss_take_off_idle(worker);
    ss_expect(worker);
    worker->slept.timed = fetch_add_relaxed(&ss.stats.wakes, 1) % SS_WAKES_PER_TIMED == 0;
    return worker;
}

// The wake-up itself. From the exchange on the worker may end, and its structure be used again or
// freed: the futex wake names an address and reads nothing there (worker.c).
static void wake(struct ss_worker *worker)
{
    if (exchange_acq_rel(&worker->park, SS_PARK_AWAKE) == SS_PARK_SEATED)
        ss_seat_wake();
    else
        ss_os.futex_wake(&worker->park, 1);
}

static void timed_wake(struct ss_worker *worker)
{
    struct ss_slept *sleep = &worker->slept;
    uint64_t begin = ss_os.now(), slept = begin - sleep->parked_at;
    ss_place(worker);
    bool placed = worker->placing.placed;
    sleep->called_at = begin;
    sleep->called_on = ss_os.cpu();
    wake(worker);
    if (!placed) // else there were more system calls
        ss_cost_learn_wake(ss_os.now() - begin, slept);
}

void ss_unpark(struct ss_worker *worker)
{
    ss_point_wake(load_relaxed(&worker->tid));
    if (worker->slept.timed) {
        timed_wake(worker);
        return;
    }
    ss_place(worker);
    wake(worker);
}

// By the worker that was woken: how long it took to come.
static void learn_arrival(struct ss_slept *sleep)
{
    if (sleep->called_at != 0)
        ss_cost_learn_arrival(ss_os.now() - sleep->called_at, sleep->called_at - sleep->parked_at,
                              sleep->called_on == ss_os.cpu());
}

void ss_add_to_list(struct ss_worker **list, struct ss_worker *worker)
{
    worker->parking.next = *list;
    *list = worker;
}

void ss_unpark_list(struct ss_worker *list)
{
    while (list) {
        struct ss_worker *worker = list;
        list = worker->parking.next; // before the wake, after which the link is no longer ours
        ss_unpark(worker);
    }
}

// Cuts the list after half of it, rounded up. Returns the second half.
static struct ss_worker *second_half(struct ss_worker *list)
{
    struct ss_worker *middle = list;
    for (struct ss_worker *end = list; end && (end = end->parking.next);)
        if ((end = end->parking.next))
            middle = middle->parking.next;
    struct ss_worker *half = middle ? middle->parking.next : NULL;
    if (middle)
        middle->parking.next = NULL;
    return half;
}

static void unpark_to_wake(struct ss_worker *worker, struct ss_worker *others)
{
    worker->parking.to_wake = others;
    ss_unpark(worker);
}

// A cascade: a waker takes some us for each, and with many CPUs the last would come late, and the
// caller to its own work (push_many, a parallel call).
void ss_unpark_all(struct ss_worker *list)
{
    if (!list)
        return;
    struct ss_worker *first = list, *second = first->parking.next;
    if (!second) {
        ss_unpark(first);
        return;
    }
    struct ss_worker *others = second->parking.next, *half = second_half(others);
    unpark_to_wake(first, others);
    unpark_to_wake(second, half);
}

// What was handed to the worker is its own to wake, as it was its waker's.
static void wake_others(struct ss_worker *worker)
{
    struct ss_worker *others = worker->parking.to_wake;
    worker->parking.to_wake = NULL;
    ss_unpark_all(others);
}

// ---- sleeping

// The keeper is the one of the parked workers that wakes by itself when a timer is due. The thread
// that starts a timer is awake, and looks here before it parks: if no worker sleeps until then or
// for less, it keeps the time itself. ss.lock held.
static void keep_time(struct ss_worker *worker)
{
    uint64_t next = ss_next_due();
    if (worker->group != &ss.shared || next == SS_FOREVER ||
        (load_relaxed(&ss.keeper) && load_relaxed(&ss.keeper_until) <= next))
        return;
    store_relaxed(&ss.keeper_until, next);
    store_release(&ss.keeper, worker);
}

// When the sleep ends by itself.
static uint64_t sleep_end(const struct ss_worker *worker)
{
    uint64_t until = worker->slept.wakes_at;
    if (load_relaxed(&ss.keeper) == worker && load_relaxed(&ss.keeper_until) < until)
        until = load_relaxed(&ss.keeper_until);
    return until;
}

// The keeper's time has come, or descriptors have events. First the worker counts as on its way to
// what they bring, so that firing wakes no second one. ss.lock held on entry and exit.
static void fire(struct ss_worker *worker, bool events)
{
    ss_take_off_idle(worker);
    ss_expect(worker);
    ss_unlock(&ss.lock);
    ss_fire(ss_os.now());
    if (events)
        ss_events_poll();
    ss_lock(&ss.lock);
    store_relaxed(&worker->park, SS_PARK_AWAKE);
}

// The sleep has ended without a waker. True: the worker has taken itself off the idle list. False:
// a waker has, or it is to sleep on. ss.lock held on entry and exit.
static bool wakes_itself(struct ss_worker *worker, bool events)
{
    if (!worker->parking.listed)
        return false;
    if (events || load_relaxed(&ss.keeper) == worker) {
        fire(worker, events);
        return true;
    }
    worker->slept.wakes_at = worker->slept.until;
    if (worker->slept.until == SS_FOREVER || ss_os.now() < worker->slept.until)
        return false;
    ss_take_off_idle(worker);
    worker->exit = true;
    return true;
}

// Sleeps in the seat or on the futex. True: there are events of descriptors, or the time is up.
static bool sleep_once(struct ss_worker *worker, bool seated, uint64_t end, bool *events)
{
    *events = false;
    if (!seated)
        return !ss_os.futex_wait_until(&worker->park, SS_PARK_PARKED, end);
    bool time_up;
    *events = ss_seat_sleep(-1, end, &time_up);
    return *events || time_up;
}

// From the idle list until a waker, or the worker itself, has taken it off. ss.lock held on entry
// and exit.
static void sleep_listed(struct ss_worker *worker, bool seated)
{
    uint64_t end = sleep_end(worker);
    ss_unlock(&ss.lock);
    // Every return of the wait is safe: only the thread that took the worker off the idle list
    // makes it AWAKE.
    while (load_acquire(&worker->park) != SS_PARK_AWAKE) {
        bool events;
        if (!sleep_once(worker, seated, end, &events))
            continue;
        ss_lock(&ss.lock);
        if (wakes_itself(worker, events))
            return;
        // A waker has it, or it kept a time that another keeps now.
        end = worker->parking.listed ? sleep_end(worker) : SS_FOREVER;
        ss_unlock(&ss.lock);
        if (events) // and its waker is about to say so
            ss_events_poll();
    }
    learn_arrival(&worker->slept);
    ss_placing_end(worker);
    wake_others(worker);
    ss_lock(&ss.lock);
}

// A worker that its reserve has lent to a group may go back there soon. If its sleep ends no later
// than it would there, it can do so asleep (bench/glib, "churn-exclusive"). Not for long: in time
// the group turns out to be one that stays, and its workers sleep until they are called.
static uint64_t wakes_at(const struct ss_worker *worker, uint64_t now, uint64_t until)
{
    const struct ss_group *group = worker->group;
    if (!worker->lent || !group->reserve)
        return until;
    uint64_t idle = ss_idle_time(group->reserve);
    return now - group->made_at < idle ? ss_time_after(now, idle) : until;
}

void ss_park(struct ss_worker *worker)
{
    bool seated = worker->group == &ss.shared && ss_seat_take_locked();
    uint64_t timeout = ss_idle_time(worker->group);
    uint64_t now = ss_os.now(), until = ss_time_after(now, timeout);
    worker->slept = (struct ss_slept){
        .parked_at = now, .until = until, .wakes_at = wakes_at(worker, now, until)};
    ss_placing_sleep(&worker->placing);
    add(worker, timeout == SS_FOREVER);
    keep_time(worker);
    store_relaxed(&worker->park, seated ? SS_PARK_SEATED : SS_PARK_PARKED);
    ss_group_refresh(worker->group);
    ss_point_park();
    sleep_listed(worker, seated);
    ss_point_unpark();
    ss_end_rest(worker);
    if (seated)
        ss_seat_leave_locked();
}

bool ss_park_in(struct ss_worker *worker, struct ss_group *group)
{
    struct ss_slept *sleep = &worker->slept;
    ss_take_off_idle(worker);
    ss_group_refresh(worker->group);
    worker->group = group;
    uint64_t timeout = ss_idle_time(group);
    sleep->until = ss_time_in(timeout);
    bool asleep = sleep->wakes_at <= sleep->until;
    if (asleep)
        add(worker, timeout == SS_FOREVER);
    ss_group_refresh(group);
    return !asleep;
}
