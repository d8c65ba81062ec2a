// SPDX-License-Identifier: ISC
//
// The balancer: the spawner (spawner.c) that also looks at the whole. It sleeps while nothing
// depends on it. While it is awake, it looks again and again. Each look is a *tick*:
//
//   1. It finds the workers that stand still, and puts back what they have taken and not started
//      (blocked.c).
//   2. It looks at what other rooms have it watch (duty.h), such as lanes of tasks.
//   3. It wakes or creates the workers that are missing (growth.c).
//   4. It looks after timers and events, where no other thread does, and counts the CPUs.
//
// The file has the ticks, what decides when the next one comes, and how the balancer goes to sleep
// and is woken.

#include "sched/balancer.h"

#include "os/fence.h"
#include "sched/blocked.h"
#include "sched/duty.h"
#include "sched/executor.h"
#include "sched/growth.h"
#include "sched/tick.h"

static unsigned quiet_ticks; // in a row, in which the queues had nothing to watch
static bool was_watching;    // at the last tick: something of other rooms

// Held during a tick. What the balancer has seen of workers in a tick it may look at without
// another lock until the tick ends, though they have ended meanwhile: trim() in worker.c frees no
// worker's structure in a tick.
static struct ss_lock looking = SS_LOCK_INIT;
static bool in_tick; // the balancer holds it; its own

// ---- a tick

// What is due is fired by workers that attend, or by the keeper; where there is neither, here.
static void fire_timers(void)
{
    uint64_t now = ss_os.now();
    if (ss_next_due() <= now && !ss_time_is_kept())
        ss_fire(now); // no thread does it, or the one that should is stuck
}

// SS_FOREVER: others do, or there is none.
static uint64_t until_timer(void)
{
    if (ss_time_is_kept() || ss_attended())
        return SS_FOREVER;
    uint64_t due = ss_next_due(), now = ss_os.now();
    return due > now + ss_policy(tick_ns) ? due - now : ss_policy(tick_ns);
}

// Affinity, cpuset and quota may change at any time, and no call tells. So the CPUs are counted
// again and again while there is work. Where the balancer sleeps meanwhile, the thread that wakes a
// worker wakes it as well when it is time (recruit.c).
static void count_cpus_if_due(uint64_t now)
{
    uint64_t due = load_relaxed(&ss.cpus_due);
    if (due != 0 && now < due)
        return;
    store_relaxed(&ss.cpus_due, now + (due ? SS_CPUS_LOOK_NS : SS_CPUS_FIRST_LOOK_NS));
    if (due != 0)
        ss_count_cpus();
}

// When the next tick is wanted, as times from now; SS_FOREVER: when the balancer is woken.
struct wanted {
    uint64_t by_queues;
    uint64_t by_watched; // what other rooms have it watch
};

static bool is_quiet(const struct wanted *wanted)
{
    return wanted->by_queues == SS_FOREVER && wanted->by_watched == SS_FOREVER;
}

static uint64_t before_deadline(const struct ss_tick *tick, uint64_t next)
{
    if (tick->deadline == SS_FOREVER || tick->now + next <= tick->deadline)
        return next;
    return tick->deadline > tick->now + ss_policy(tick_ns) ? tick->deadline - tick->now
                                                           : ss_policy(tick_ns);
}

// Work was published a moment ago, or may have been: one quiet tick does not say that none follows.
// Where a tick came for another reason, it does.
static void one_quiet_tick_is_enough(void)
{
    quiet_ticks = SS_TICKS_UNTIL_PARKED - 1;
}

static uint64_t doubled(uint64_t interval, uint64_t longest)
{
    return interval * 2 < longest ? interval * 2 : longest;
}

// `interval`: the time between the last two ticks.
static uint64_t wanted_by_queues(const struct ss_tick *tick, uint64_t interval)
{
    bool lingering = load_relaxed(&ss.lingering);
    if (lingering) // its cache line is read by many
        store_relaxed(&ss.lingering, false);
    if (!tick->backlog && !tick->unclaimed && !tick->growing) {
        if (lingering) {
            quiet_ticks = 0;
            return doubled(interval, SS_TICK_STILL_NS);
        }
        if (++quiet_ticks < SS_TICKS_UNTIL_PARKED)
            return interval;
        quiet_ticks = 0;
        return SS_FOREVER;
    }
    quiet_ticks = 0;
    if (tick->acted || (tick->suspicious && tick->moved))
        return ss_policy(tick_ns);
    uint64_t next = doubled(interval, tick->moved ? SS_TICK_MAX_NS : SS_TICK_STILL_NS);
    if (tick->notices && next > SS_TICK_NOTICES_NS)
        next = SS_TICK_NOTICES_NS;
    return before_deadline(tick, next);
}

static struct wanted run_tick(uint64_t interval)
{
    struct ss_tick tick = {.now = ss_os.now(), .deadline = SS_FOREVER};
    struct wanted wanted;
    ss_lock(&looking);
    in_tick = true;
    count_owned(&ss.stats.ticks);
    ss_survey(&tick);
    ss_examine(&tick);
    wanted.by_watched = ss_watched_look(tick.now); // what it lists may ask for a worker
    bool watching = wanted.by_watched != SS_FOREVER;
    if (watching && !was_watching)
        one_quiet_tick_is_enough(); // it came for what is watched from now on
    was_watching = watching;
    ss_add_workers(&tick);
    fire_timers();
    if (ss_events_uncovered()) // no other thread would see one before the next tick
        ss_events_poll();
    count_cpus_if_due(tick.now);
    ss_policies_follow();
    wanted.by_queues = wanted_by_queues(&tick, interval);
    in_tick = false;
    ss_unlock(&looking);
    return wanted;
}

void ss_balance_broken_off(void)
{
    if (in_tick) {
        ss_examine_broken_off();
        in_tick = false;
        ss_unlock(&looking);
    }
    ss_os.end_looks();
}

bool ss_balancer_pause(void)
{
    return ss_lock_soon(&looking);
}

void ss_balancer_resume(void)
{
    ss_unlock(&looking);
}

// ---- is it needed?

// Was the balancer asked for a worker? Orders for other spawners are theirs, and the thread that
// starts a group's first worker looks after the group. ss.lock held.
static bool any_request(void)
{
    for (struct ss_group *group = ss.groups; group; group = group->next)
        if (group->spawn_requested && !group->starting)
            return true;
    return ss_spawner_has_orders();
}

// Apart from what other rooms have it watch and what can wait for the time that they have given.
// ss.lock held.
static bool anything_urgent(void)
{
    bool any = ss_any_backlog() || !ss_events_covered() || any_request() || ss_watched_due();
    // What rests holds nothing.
    for (struct ss_worker *worker = ss.active.first; worker && !any; worker = worker->next)
        any = ss_holdings(worker, 0) != 0 || ss_is_counted_on(worker);
    return any;
}

// ss.lock held.
static bool anything_to_watch(void)
{
    return ss_watched_wanted() || anything_urgent();
}

static bool any_timer(void)
{
    return ss_next_due() != SS_FOREVER;
}

// Must it stay awake: to watch, to answer a thread that asks it to end, or because it may end?
static bool is_wanted(uint32_t how)
{
    ss_lock(&ss.lock);
    bool wanted = anything_urgent() || ss_balancer_is_asked() ||
                  (how != SS_BALANCER_DOZING && ss_watched_wanted()) ||
                  (how == SS_BALANCER_PARKED && ss_balancer_at_rest() && !any_timer());
    ss_unlock(&ss.lock);
    return wanted;
}

// ---- sleeping

// One sleep, on the futex or in the seat. True: it is needed, or the time is up.
static bool sleep_once(uint32_t how, uint64_t until)
{
    if (how != SS_BALANCER_SEATED)
        return !ss_os.futex_wait_until(&ss.balancer, how, until);
    bool time_up = false;
    if (!ss_seat_sleep(-1, until, &time_up))
        return time_up;
    ss_events_poll();
    return true;
}

// Going to sleep until something is published, for `limit` at most. Announce (an exchange, a full
// fence), then look. Pairs with ss_wake_balancer(): publish, fence, then look for the announcement.
// One of the two sees the other. True: the time was up, and nobody woke it.
static bool sleep_until_needed(uint32_t how, uint64_t limit)
{
    exchange_seq_cst(&ss.balancer, how);
    fence_seq_cst();
    bool wanted = is_wanted(how), up = wanted;
    uint64_t end = ss_time_in(limit);
    // Any other thread that ends the sleep changes the word first, so any return of the wait is
    // fine.
    while (!up && load_acquire(&ss.balancer) == how) {
        uint64_t timer = ss_time_in(until_timer());
        up = sleep_once(how, timer < end ? timer : end);
    }
    uint32_t asleep = how;
    if (up)
        cas_strong_acq_rel(&ss.balancer, &asleep, SS_BALANCER_AWAKE);
    return up && !wanted && asleep == how;
}

static void park(void)
{
    bool seated = ss_seat_take();
    sleep_until_needed(seated ? SS_BALANCER_SEATED : SS_BALANCER_PARKED, SS_FOREVER);
    if (seated)
        ss_seat_leave();
}

// While work waits. If a thread publishes more for which there is no room, and the balancer is
// slow, the thread hurries it (recruit.c). The ticks after that are quick at first. So this happens
// once in some ms at most.
static void sleep_between_ticks(uint64_t sleep)
{
    store_relaxed(&ss.balancer_is_slow, sleep >= SS_TICK_MAX_NS);
    ss_os.futex_wait_until(&ss.balancer, SS_BALANCER_AWAKE, ss_time_in(sleep));
    store_relaxed(&ss.balancer_is_slow, false);
}

// Sleeps until the next tick. Returns the interval that this tick counts as.
static uint64_t sleep_until_tick(const struct wanted *wanted)
{
    if (is_quiet(wanted)) {
        park();
        return ss_policy(tick_ns);
    }
    if (wanted->by_queues == SS_FOREVER) {
        if (sleep_until_needed(SS_BALANCER_DOZING, wanted->by_watched))
            one_quiet_tick_is_enough();
        return ss_policy(tick_ns);
    }
    uint64_t timer = until_timer(), sleep = wanted->by_queues;
    sleep = wanted->by_watched < sleep ? wanted->by_watched : sleep;
    sleep_between_ticks(timer < sleep ? timer : sleep);
    return wanted->by_queues;
}

// ---- its life

// Gives the role up if there is nothing to watch. As with going to sleep: announce, fence, look. A
// thread that needs a balancer after the announcement starts one. If that has begun there will be
// another, which this one could not tell from itself: it ends all the same. ss.lock held: the new
// one enters the list of spawners after this one has left it.
static bool resign(void)
{
    if (anything_to_watch() || any_timer())
        return false;
    ss_os.end_looks(); // the next balancer may begin its own; there is no work that waits for this
    store_relaxed(&ss.balancer_runs, false);
    exchange_seq_cst(&ss.balancer, SS_BALANCER_NONE);
    fence_seq_cst();
    uint32_t none = SS_BALANCER_NONE;
    return !(anything_to_watch() || any_timer()) ||
           !cas_strong_acq_rel(&ss.balancer, &none, SS_BALANCER_AWAKE);
}

// True: the thread is to end.
static bool end_if_possible(void)
{
    if (ss_balancer_end(resign))
        return true;
    store_relaxed(&ss.balancer_runs, true);
    ss_os.begin_looks(); // again, if it has ended them
    return false;
}

bool ss_balance(void)
{
    store_relaxed(&ss.balancer_runs, true);
    ss_os.begin_looks();
    uint64_t interval = ss_policy(tick_ns);
    for (;;) {
        if (ss_hand_over())
            return false;
        if (ss_attended())
            ss_asymmetric_register(); // once: a worker that attends relies on its fences
        struct wanted wanted = run_tick(interval);
        if ((is_quiet(&wanted) || ss_balancer_is_asked()) && end_if_possible())
            return true;
        ss_costs_measure(ss_os.now()); // when what was pressing is done
        interval = sleep_until_tick(&wanted);
        // From here on a thread that hurries the balancer is answered by the tick that follows.
        uint32_t hurried = SS_BALANCER_HURRIED;
        if (cas_strong_acq_rel(&ss.balancer, &hurried, SS_BALANCER_AWAKE))
            interval = ss_policy(tick_ns); // for it something has changed
    }
}

// ---- waking it

static void wake(uint32_t how)
{
    if (how == SS_BALANCER_SEATED)
        ss_seat_wake();
    else
        ss_os.futex_wake(&ss.balancer, 1);
}

void ss_wake_balancer_slow(enum ss_balancer_state enough)
{
    uint32_t asleep = load_relaxed(&ss.balancer);
    while (asleep != SS_BALANCER_NONE && asleep < enough) {
        uint32_t how = asleep;
        if (cas_strong_acq_rel(&ss.balancer, &asleep, SS_BALANCER_AWAKE)) {
            wake(how);
            return;
        }
    }
    if (asleep == SS_BALANCER_NONE)
        ss_start_balancer();
}

void ss_wake_balancer_if_any(void)
{
    if (load_relaxed(&ss.balancer) != SS_BALANCER_NONE)
        ss_wake_balancer();
}

uint64_t ss_balancer_wait_limit(void)
{
    if (load_relaxed(&ss.balancer_runs) || load_relaxed(&ss.stats.workers) == 0)
        return SS_FOREVER;
    ss_start_balancer();
    return ss_time_in(SS_WAIT_RETRY_NS); // if it comes to nothing, or another thread's try does
}

// NONE is never overwritten: it may come at any moment, and HURRIED in its place would pass for a
// balancer from then on.
void ss_hurry_balancer(void)
{
    uint32_t how = load_relaxed(&ss.balancer);
    for (;;) {
        if (how == SS_BALANCER_NONE && ss_start_balancer() != 0)
            return;
        if (how == SS_BALANCER_NONE)
            how = load_relaxed(&ss.balancer);
        else if (cas_strong_acq_rel(&ss.balancer, &how, SS_BALANCER_HURRIED))
            break;
    }
    if (how != SS_BALANCER_HURRIED)
        wake(how);
}

static void after_fork(void)
{
    store_relaxed(&ss.balancer, SS_BALANCER_NONE);
    store_relaxed(&ss.balancer_runs, false);
    store_relaxed(&ss.balancer_is_slow, false);
    store_relaxed(&ss.lingering, false);
    store_relaxed(&ss.cpus_due, 0);
    quiet_ticks = 0;
    was_watching = in_tick = false;
    ss_lock_reset(&looking);
}

SS_ROOM(sched_balancer, NULL, after_fork);
