// SPDX-License-Identifier: ISC
//
// Which workers stand still: asleep in their job (*blocked*), or computing on one job for long
// (*hogs*). What they have taken and not started is put back.
//
// A worker counts as blocked if it has started nothing between two ticks, its CPU clock has stood
// still, and /proc says that it sleeps. Where neither can be had, stalls alone bring more workers
// (growth.c).
//
// The survey looks at all workers under ss.lock and lists those to be examined. Each of these is
// then looked at without the lock. Structures of workers are never freed, so a pointer that has
// become stale is harmless. Before anything is noted, a second look under the locks tells whether
// the worker is still in the job in which the survey saw it.

#include "sched/blocked.h"

#include "os/ticks.h"
#include "sched/executor.h"
#include "sched/tick.h"

#define SUSPECTS_MAX 1024

static struct ss_worker *suspects[SUSPECTS_MAX]; // to be examined
static unsigned suspect_count;
static unsigned suspects_from; // where in a longer list of workers the next tick begins

// ---- the survey. ss.lock held.

unsigned ss_holdings(struct ss_worker *worker, uint64_t now)
{
    const struct ss_runnable_ops *ops = load_relaxed(&worker->serves_ops);
    return ops && ops->holds ? ops->holds(worker, now) : 0;
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

static void survey_worker(struct ss_tick *tick, struct ss_worker *worker)
{
    if (!is_at_work(worker))
        return;
    survey_progress(tick, worker);
    survey_holdings(tick, worker);
    // A worker that attends is looked at by what it serves, as long as it does.
    if (load_relaxed(&worker->in_job) && !worker->attends && suspect_count < SUSPECTS_MAX)
        suspects[suspect_count++] = worker;
}

static void survey_workers(struct ss_tick *tick)
{
    suspect_count = 0;
    unsigned place = 0;
    for (struct ss_worker *worker = ss.workers; worker; worker = worker->next, place++)
        if (place >= suspects_from)
            survey_worker(tick, worker);
    suspects_from = suspect_count == SUSPECTS_MAX ? suspects_from + suspect_count : 0;
}

void ss_survey(struct ss_tick *tick)
{
    ss_lock(&ss.lock);
    survey_workers(tick);
    tick->backlog = ss_any_backlog();
    for (struct ss_group *group = ss.groups; group; group = group->next) {
        tick->growing |= !group->owner && group->growth > 0;
        ss_group_refresh(group); // what the other groups keep busy has changed
    }
    ss_unlock(&ss.lock);
}

// ---- which of them sleep

static bool is_still(const struct ss_tick *tick, const struct ss_worker *worker)
{
    return worker->seen.since < tick->now; // in the same job as at the last tick
}

// Has the worker's clock stood still since the last look? Then it is asleep, or waits for a CPU.
static bool clock_stopped(struct ss_tick *tick, struct ss_worker *worker)
{
    struct ss_seen *seen = &worker->seen;
    uint64_t cpu = ss_os.thread_cpu_time(load_relaxed(&worker->tid));
    uint64_t before = seen->cpu, at = seen->cpu_at;
    seen->cpu = cpu;
    seen->cpu_at = tick->now;
    if (cpu == UINT64_MAX || before == UINT64_MAX || at == 0) {
        tick->suspicious |= cpu != UINT64_MAX;
        return false;
    }
    if (cpu - before < (tick->now - at) / 2)
        tick->suspicious = true;
    return is_still(tick, worker) && cpu == before;
}

enum clock { CLOCK_NOT_READ, CLOCK_RUNS, CLOCK_STOPPED };

// Those known to be blocked are many when there are many, and change seldom: they are looked at in
// turn.
static enum clock read_clock(struct ss_tick *tick, struct ss_worker *worker, unsigned turn)
{
    if (!tick->backlog && !tick->growing)
        return CLOCK_NOT_READ;
    if (ss_activity_of(&worker->doing) == SS_BLOCKED && turn % SS_TICKS_PER_BLOCKED_LOOK != 0)
        return CLOCK_NOT_READ;
    return clock_stopped(tick, worker) ? CLOCK_STOPPED : CLOCK_RUNS;
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

// Which of those whose clocks have stopped are asleep. `stopped`: how many there are.
static void find_sleepers(const enum clock *clocks, unsigned stopped, bool *sleeps)
{
    static pid_t tids[SUSPECTS_MAX];
    static enum ss_thread_state states[SUSPECTS_MAX];
    bool presumed = stopped >= SS_CROWD && all_asleep();
    unsigned asked = 0;
    for (unsigned i = 0; i < suspect_count; i++)
        if (clocks[i] == CLOCK_STOPPED)
            tids[asked++] = load_relaxed(&suspects[i]->tid);
    if (!presumed && asked > 0)
        ss_os.thread_states(tids, states, asked);
    for (unsigned i = 0, k = 0; i < suspect_count; i++)
        sleeps[i] = clocks[i] == CLOCK_STOPPED && (states[k++] == SS_THREAD_SLEEPING || presumed);
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
    if (ss_lock_soon(served->lock)) {
        struct ss_taken_notices notices = {.count = 0};
        note_locked(served, worker, activity, &notices);
        ss_unlock(served->lock);
        ss_give_notices(&notices);
    }
    ss_runnable_unref(served);
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
    if (ss_lock_soon(served->lock)) { // else at the next tick; see note()
        struct ss_taken_notices notices = {.count = 0};
        if (load_relaxed(&worker->counted_in) == served)
            served->ops->reclaim(served, worker, SS_HOLDS_NOTICES, &notices);
        ss_unlock(served->lock);
        ss_give_notices(&notices);
    }
    ss_runnable_unref(served);
}

// Acts on what was found of one worker: `is` is what it does.
static void settle(struct ss_tick *tick, struct ss_worker *worker, enum ss_activity was,
                   enum ss_activity is)
{
    bool changed = is != was, still = is_still(tick, worker);
    tick->blocked += changed && is == SS_BLOCKED;
    if (changed && still) {
        note(worker, is);
        return;
    }
    unsigned held = ss_holdings(worker, tick->now);
    if (held && still)
        take_back(worker);
    else if (held & SS_HOLDS_LATE_NOTICES)
        give_notices(worker);
}

void ss_examine(struct ss_tick *tick)
{
    static enum clock clocks[SUSPECTS_MAX];
    static bool sleeps[SUSPECTS_MAX];
    unsigned ticks = (unsigned)load_relaxed(&ss.stats.ticks), stopped = 0;
    for (unsigned i = 0; i < suspect_count; i++) {
        clocks[i] = read_clock(tick, suspects[i], i + ticks);
        stopped += clocks[i] == CLOCK_STOPPED;
    }
    find_sleepers(clocks, stopped, sleeps);
    for (unsigned i = 0; i < suspect_count; i++) {
        struct ss_worker *worker = suspects[i];
        enum ss_activity was = ss_activity_of(&worker->doing);
        bool known = clocks[i] != CLOCK_NOT_READ;
        settle(tick, worker, was, known ? judge(tick, worker, sleeps[i]) : was);
    }
}

static void after_fork(void)
{
    suspect_count = suspects_from = 0;
}

SS_ROOM(sched_blocked, NULL, after_fork);
