// SPDX-License-Identifier: ISC
//
// Which workers stand still: asleep in their job (*blocked*), or computing on one job for long
// (*hogs*). What they have taken and not started is put back.
//
// A worker counts as blocked if it has started nothing between two ticks, its CPU clock has run for
// less than half of the time, and /proc says that it sleeps now. So a job that goes on for long and
// sleeps most of the time counts as often as it is found asleep, though it runs a little between
// any two ticks. Where neither can be had, stalls alone bring more workers (growth.c).
//
// The survey looks at the workers under ss.lock, a few at a time, and lists those to be examined.
// Each of these is then looked at without the lock. No structure of a worker is freed before the
// tick has ended (worker.c), so a pointer that has become stale is harmless. Before anything is
// noted, a second look under the locks tells whether the worker is still in the job in which the
// survey saw it.
//
// A look costs as much as there are active workers. Those that rest, thousands perhaps (worker.h),
// are not surveyed. Of these, a few in each tick are looked at, in turn, whether they run again.

#include "sched/blocked.h"

#include "os/ticks.h"
#include "sched/executor.h"
#include "sched/tick.h"

#define SUSPECTS_MAX 1024

static struct {
    struct ss_worker *worker[SUSPECTS_MAX]; // to be examined
    bool counted_on[SUSPECTS_MAX];          // see ss_is_counted_on()
    unsigned count;
    unsigned resting; // of these, the last ones
} suspects;

// The notices that are being given, from `next` on, and what they are of, with a reference to give
// up. Not on the stack: notify() is the program's, and may end the thread.
static struct {
    struct ss_taken_notices notices;
    unsigned next;
    struct ss_runnable *of;
} giving;

static uint64_t surveys; // so far; each worker notes the one that it was last seen by

// ---- the survey. ss.lock held.

unsigned ss_holdings(struct ss_worker *worker, uint64_t now)
{
    const struct ss_runnable_ops *ops = load_relaxed(&worker->serves_ops);
    return ops && ops->holds ? ops->holds(worker, now) : 0;
}

bool ss_is_counted_on(const struct ss_worker *worker)
{
    struct ss_runnable *served = worker->serves;
    if (!served || served->prev_link || ss_activity_of(&worker->doing) == SS_BLOCKED)
        return false;
    bool comes = served->lock && load_relaxed(&worker->counted_in) != served;
    return (comes || load_relaxed(&served->staffed)) && served->ops->demand(served) > 0;
}

static void survey_holdings(struct ss_tick *tick, struct ss_worker *worker)
{
    unsigned held = ss_holdings(worker, tick->now);
    bool gives_notices = worker->serves && worker->serves->ops->gives_notices;
    tick->unclaimed |= held != 0;
    tick->notices |= (held & SS_HOLDS_NOTICES) || (held && gives_notices);
}

// Reads `progress` as it is, and takes the time.
static uint64_t timed_progress(const struct ss_worker *worker, uint64_t *ticks)
{
    fence_seq_cst();
    uint64_t start = ss_ticks(), progress = load_acquire(&worker->progress);
    fence_seq_cst();
    *ticks = ss_ticks() - start;
    return progress;
}

// The same once a tick, learning from it: a worker that has got on has written the line since the
// last look, so that it must be fetched. What the second, which finds it here, takes longer or
// shorter is not the line's.
static uint64_t read_progress(struct ss_tick *tick, const struct ss_worker *worker)
{
    uint64_t first, second;
    if (tick->timed_line)
        return load_relaxed(&worker->progress);
    tick->timed_line = true;
    uint64_t progress = timed_progress(worker, &first);
    timed_progress(worker, &second);
    if (progress != worker->seen.progress && first > second)
        ss_cost_learn_line(first - second);
    return progress;
}

// Before what else of the worker is looked at, for the time that it takes.
static void survey_progress(struct ss_tick *tick, struct ss_worker *worker)
{
    uint64_t progress = read_progress(tick, worker);
    if (progress == worker->seen.progress)
        return;
    worker->seen.progress = progress;
    worker->seen.since = tick->now;
    tick->moved = true;
}

static bool is_at_work(const struct ss_worker *worker)
{
    return !worker->parking.listed && !worker->parking.arriving &&
           load_relaxed(&worker->tid) != 0 && load_relaxed(&worker->park) != SS_PARK_NAPPING;
}

static void add_suspect(struct ss_worker *worker, bool counted_on)
{
    suspects.counted_on[suspects.count] = counted_on;
    suspects.worker[suspects.count++] = worker;
}

static void survey_worker(struct ss_tick *tick, struct ss_worker *worker)
{
    bool counted_on = ss_is_counted_on(worker);
    if (!counted_on && !is_at_work(worker))
        return;
    survey_progress(tick, worker);
    survey_holdings(tick, worker);
    tick->backlog |= counted_on;
    // A worker that attends is looked at by what it serves, as long as it does. One that is counted
    // on may stand still outside of a job as well: its CPU may be taken away at any step.
    if ((load_relaxed(&worker->in_job) && !worker->attends) || counted_on)
        add_suspect(worker, counted_on);
}

static bool is_still(const struct ss_tick *tick, const struct ss_worker *worker)
{
    return worker->seen.since < tick->now; // in the same job as at the last tick
}

// Parked; or known to be blocked, since an earlier tick, and without anything that was to be taken
// back. What its job may promise before that ends (a notice) is seen when the worker has its turn.
static bool can_rest(const struct ss_tick *tick, struct ss_worker *worker)
{
    if (worker->parking.listed)
        return true;
    return ss_activity_of(&worker->doing) == SS_BLOCKED && !worker->attends &&
           is_still(tick, worker) && ss_holdings(worker, 0) == 0;
}

// The active workers, from those on that were not seen for longest. Those that were seen go to the
// end. False: there may be more.
static bool survey_some(struct ss_tick *tick)
{
    for (unsigned i = 0; i < SS_WORKERS_PER_HOLD; i++) {
        struct ss_worker *worker = ss.active.first;
        if (!worker || worker->seen.survey == surveys)
            return true;
        if (suspects.count == SUSPECTS_MAX) {
            tick->unclaimed = true; // for all that is known
            return true;
        }
        worker->seen.survey = surveys;
        survey_worker(tick, worker);
        if (can_rest(tick, worker))
            ss_rest_worker(worker);
        else
            ss_worker_to_end(worker);
    }
    return false;
}

static void survey_resting_worker(struct ss_worker *worker)
{
    if (worker->parking.listed) {
        ss_worker_to_end(worker);
    } else if (ss_holdings(worker, 0) != 0) {
        ss_end_rest(worker);
    } else {
        ss_worker_to_end(worker);
        if (load_relaxed(&worker->in_job)) {
            add_suspect(worker, false);
            suspects.resting++;
        }
    }
}

static void survey_resting(void)
{
    unsigned count = ss.resting.count / SS_TICKS_PER_BLOCKED_LOOK + 1;
    count = count < SS_WORKERS_PER_HOLD ? count : SS_WORKERS_PER_HOLD;
    for (; count > 0 && ss.resting.first && suspects.count < SUSPECTS_MAX; count--)
        survey_resting_worker(ss.resting.first);
}

static void survey_workers(struct ss_tick *tick)
{
    suspects.count = suspects.resting = 0;
    surveys++;
    for (bool done = false; !done;) {
        ss_lock(&ss.lock);
        done = survey_some(tick);
        ss_unlock(&ss.lock);
    }
}

void ss_survey(struct ss_tick *tick)
{
    survey_workers(tick);
    ss_lock(&ss.lock);
    survey_resting();
    tick->backlog |= ss_any_backlog();
    for (struct ss_group *group = ss.groups; group; group = group->next) {
        tick->growing |= !group->owner && group->growth > 0;
        ss_group_refresh(group); // what the other groups keep busy has changed
    }
    ss_unlock(&ss.lock);
}

// ---- which of them sleep

enum clock {
    CLOCK_NOT_READ,
    CLOCK_RUNS,
    CLOCK_NEW,     // nothing is known yet
    CLOCK_LAGS,    // it has run for less than half of the time
    CLOCK_WAITS,   // it has stood since the worker was found to wait for a CPU
    CLOCK_STOPPED, // the worker is asleep, or waits for a CPU
};

// A thread that waits for a CPU does not fall asleep before it has run, and its clock tells if it
// has. It is asked about again when as much time has passed as the balancer may sleep anyway: a
// kernel whose clocks are coarse tells late.
static bool waits_for_cpu(const struct ss_tick *tick, struct ss_seen *seen, bool stands)
{
    if (seen->waits_at != 0 && (!stands || tick->now - seen->waits_at >= SS_TICK_STILL_NS))
        seen->waits_at = 0;
    return seen->waits_at != 0;
}

static enum clock clock_since_last_look(const struct ss_tick *tick, struct ss_worker *worker)
{
    struct ss_seen *seen = &worker->seen;
    uint64_t cpu = ss_os.thread_cpu_time(load_relaxed(&worker->tid));
    uint64_t before = seen->cpu, at = seen->cpu_at;
    bool known = cpu != UINT64_MAX && before != UINT64_MAX && at != 0, stands = cpu == before;
    seen->cpu = cpu;
    seen->cpu_at = tick->now;
    bool waits = waits_for_cpu(tick, seen, known && stands);
    if (!known)
        return cpu != UINT64_MAX ? CLOCK_NEW : CLOCK_RUNS;
    if (stands && is_still(tick, worker))
        return waits ? CLOCK_WAITS : CLOCK_STOPPED;
    return cpu - before < (tick->now - at) / 2 ? CLOCK_LAGS : CLOCK_RUNS;
}

static enum clock read_clock(const struct ss_tick *tick, struct ss_worker *worker, bool rests)
{
    if (!tick->backlog && !tick->growing)
        return CLOCK_NOT_READ;
    if (!rests && ss_activity_of(&worker->doing) == SS_BLOCKED)
        return CLOCK_NOT_READ; // it is about to rest
    return clock_since_last_look(tick, worker);
}

// Workers whose clocks have stopped are asked about one by one. A crowd of them, as when many jobs
// block, needs but one look: if the machine has no more runnable threads than CPUs, none of them
// waits for a CPU (bench/glib, "sleeping-unlimited": a look costs a third of what creating a thread
// does).
static bool all_asleep(void)
{
    unsigned runnable = ss_os.runnable_threads();
    return runnable > 0 && runnable <= ss_cpus();
}

// Is the worker to be asked about? One whose clock runs from time to time is not asked about each
// time that it lags: it may wait for a CPU again and again.
static bool is_to_be_asked(const struct ss_tick *tick, const struct ss_worker *worker,
                           enum clock clock, bool rests)
{
    if (clock == CLOCK_STOPPED)
        return !rests; // one that rests has not run since it was asleep
    return clock == CLOCK_LAGS && is_still(tick, worker) &&
           tick->now - worker->seen.lags_at >= SS_LAGGARD_NS;
}

// As far as is known without asking.
static bool is_asleep(const struct ss_tick *tick, const struct ss_worker *worker, enum clock clock)
{
    bool was = ss_activity_of(&worker->doing) == SS_BLOCKED && is_still(tick, worker);
    return clock == CLOCK_STOPPED || (clock == CLOCK_LAGS && was);
}

// Which of the suspects are asleep, and which wait for a CPU. `stopped`: how many do not rest and
// have clocks that have stopped.
static void find_sleepers(const struct ss_tick *tick, enum clock *clocks, unsigned stopped,
                          bool *sleeps)
{
    static pid_t tids[SUSPECTS_MAX];
    static unsigned of[SUSPECTS_MAX]; // which suspects they are
    static enum ss_thread_state states[SUSPECTS_MAX];
    bool presumed = stopped >= SS_CROWD && all_asleep();
    unsigned asked = 0, active = suspects.count - suspects.resting;
    for (unsigned i = 0; i < suspects.count; i++) {
        struct ss_worker *worker = suspects.worker[i];
        sleeps[i] = is_asleep(tick, worker, clocks[i]);
        if (!is_to_be_asked(tick, worker, clocks[i], i >= active) ||
            (presumed && clocks[i] == CLOCK_STOPPED))
            continue;
        if (clocks[i] == CLOCK_LAGS)
            worker->seen.lags_at = tick->now;
        of[asked] = i;
        tids[asked++] = load_relaxed(&worker->tid);
    }
    if (asked > 0)
        ss_os.thread_states(tids, states, asked);
    for (unsigned k = 0; k < asked; k++) {
        unsigned i = of[k];
        sleeps[i] = states[k] == SS_THREAD_SLEEPING;
        if (states[k] == SS_THREAD_RUNNABLE && clocks[i] == CLOCK_STOPPED) {
            suspects.worker[i]->seen.waits_at = tick->now;
            clocks[i] = CLOCK_WAITS;
        }
    }
}

static enum ss_activity judge(const struct ss_tick *tick, const struct ss_worker *worker,
                              bool sleeps)
{
    if (sleeps)
        return SS_BLOCKED;
    bool hog = is_still(tick, worker) && tick->now - worker->seen.since >= SS_HOG_NS;
    return hog ? SS_HOG : SS_RUNNING;
}

// ---- noting it, and taking back what is held

// Is the worker still in the job in which the survey saw it? ss.lock held, and the lock of what it
// serves, if any: a worker takes these at the end of its job, to end what it was found to do.
static bool in_seen_job(const struct ss_worker *worker)
{
    return load_relaxed(&worker->in_job) &&
           load_relaxed(&worker->progress) == worker->seen.progress;
}

// What the worker serves, if that has a lock of its own, with a reference. ss.lock held.
static struct ss_runnable *served_with_lock(struct ss_worker *worker)
{
    struct ss_runnable *served = worker->serves;
    if (!served || !served->lock)
        return NULL;
    ss_runnable_ref(served);
    return served;
}

// Notes the activity of a worker that `served` counts, whose lock is held. Unless the worker runs
// again, takes back what it holds.
static void note_locked(struct ss_runnable *served, struct ss_worker *worker,
                        enum ss_activity activity, struct ss_taken_notices *notices)
{
    ss_lock(&ss.lock);
    // A worker that naps, or gives notices, has left its job.
    bool there = worker->serves == served && load_relaxed(&worker->counted_in) == served &&
                 in_seen_job(worker);
    bool resumed = activity == SS_RUNNING && ss_activity_of(&worker->doing) != SS_RUNNING;
    if (there)
        ss_set_activity(worker, activity);
    ss_unlock(&ss.lock);
    if (there && !resumed && served->ops->reclaim(served, worker, SS_HOLDS_ALL, notices))
        fetch_add_relaxed(&ss.stats.takebacks, 1);
    served->ops->inject(served);
}

// Gives what it has to give. No lock held but the balancer's own.
static void give(void)
{
    while (giving.next < giving.notices.count) {
        void *whom = giving.notices.whom[giving.next++];
        giving.notices.notify(whom);
    }
    struct ss_runnable *of = giving.of;
    giving.of = NULL;
    giving.next = giving.notices.count = 0;
    if (of)
        ss_runnable_unref(of);
}

void ss_examine_broken_off(void)
{
    give();
}

// Notes what a worker does if it is still where the survey saw it. Unless it runs again, takes back
// what it holds.
//
// If the lock is not to be had soon, does nothing: a compare function may run under it, and wait
// for what the balancer has to do for others. The next tick finds the same again, because what led
// here (work that waits, jobs that were not started, notices) keeps the balancer awake.
static void note(struct ss_worker *worker, enum ss_activity activity)
{
    ss_lock(&ss.lock);
    struct ss_runnable *served = served_with_lock(worker);
    if (!served && in_seen_job(worker)) // in a task's poll
        ss_set_activity(worker, activity);
    ss_unlock(&ss.lock);
    if (!served)
        return;
    giving.of = served;
    if (ss_lock_soon(served->lock)) {
        note_locked(served, worker, activity, &giving.notices);
        ss_unlock(served->lock);
    }
    give();
}

// Takes back what a worker holds that has not moved since the last tick, blocked or not.
static void take_back(struct ss_worker *worker)
{
    note(worker, ss_activity_of(&worker->doing));
}

// Gives the notices that a worker owes, whatever it does.
static void give_notices(struct ss_worker *worker)
{
    ss_lock(&ss.lock);
    struct ss_runnable *served = served_with_lock(worker);
    ss_unlock(&ss.lock);
    if (!served)
        return;
    giving.of = served;
    if (ss_lock_soon(served->lock)) { // else at the next tick; see note()
        if (load_relaxed(&worker->counted_in) == served)
            served->ops->reclaim(served, worker, SS_HOLDS_NOTICES, &giving.notices);
        ss_unlock(served->lock);
    }
    give();
}

// Acts on what was found of one worker: `is` is what it does.
static void settle(struct ss_tick *tick, struct ss_worker *worker, bool counted_on,
                   enum ss_activity was, enum ss_activity is)
{
    bool changed = is != was, still = is_still(tick, worker);
    tick->blocked += changed && is == SS_BLOCKED;
    if (changed && still) {
        note(worker, is);
        return;
    }
    unsigned held = ss_holdings(worker, tick->now);
    if ((held || counted_on) && still)
        take_back(worker);
    else if (held & SS_HOLDS_LATE_NOTICES)
        give_notices(worker);
}

void ss_examine(struct ss_tick *tick)
{
    static enum clock clocks[SUSPECTS_MAX];
    static bool sleeps[SUSPECTS_MAX];
    unsigned stopped = 0, active = suspects.count - suspects.resting;
    for (unsigned i = 0; i < suspects.count; i++) {
        clocks[i] = read_clock(tick, suspects.worker[i], i >= active);
        stopped += i < active && clocks[i] == CLOCK_STOPPED;
    }
    find_sleepers(tick, clocks, stopped, sleeps);
    for (unsigned i = 0; i < active; i++)
        tick->suspicious |=
            clocks[i] == CLOCK_NEW || clocks[i] == CLOCK_LAGS || clocks[i] == CLOCK_STOPPED;
    for (unsigned i = 0; i < suspects.count; i++) {
        struct ss_worker *worker = suspects.worker[i];
        enum ss_activity was = ss_activity_of(&worker->doing);
        bool known = clocks[i] != CLOCK_NOT_READ;
        tick->computing |= clocks[i] == CLOCK_RUNS && is_still(tick, worker);
        settle(tick, worker, suspects.counted_on[i], was,
               known ? judge(tick, worker, sleeps[i]) : was);
    }
}

static void after_fork(void)
{
    suspects.count = suspects.resting = 0;
    giving.of = NULL; // the reference is the parent's
    giving.next = giving.notices.count = 0;
}

SS_ROOM(sched_blocked, NULL, after_fork);
