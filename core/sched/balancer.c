// SPDX-License-Identifier: ISC
//
// The balancer: the spawner (spawner.c) that also looks at the whole. It sleeps while nothing
// depends on it. While it is awake, it looks again and again. Each look is a *tick*:
//
//   1. It finds the workers that stand still: asleep in their job (*blocked*), or computing on one
//      job for long (*hogs*). It puts back what they have taken and not started.
//   2. Where work waits and fewer workers than CPUs are busy, it wakes or creates the missing ones:
//      four times as many each time that those added before are found blocked, too.
//   3. Where a queue that may start a job has started none for some ms, it adds one worker: the
//      jobs that run may be waiting for those that do not.
//
// A worker counts as blocked when its CPU clock has stood still between two ticks and /proc says
// that it sleeps. Where neither can be had only rule 3 remains.
//
// Fields named seen_* and *_since of workers and queues are the balancer's own, under ss.lock or
// not.

#include "os/fence.h"
#include "sched/duty.h"
#include "sched/executor.h"

// What one tick found.
struct look {
    uint64_t now;
    bool backlog;      // work waits that could run
    bool growing;      // workers were added a moment ago: do they block?
    bool unclaimed;    // a worker holds jobs that it has not started, or owes a notice
    bool notices;      // a worker owes one, or holds jobs of a queue that gives notices
    bool moved;        // some worker has started something since the last tick
    bool suspicious;   // some worker used little CPU: may be blocked at the next tick
    bool acted;        // workers were added
    unsigned blocked;  // workers found newly blocked
    uint64_t deadline; // of rule 3, the earliest
};

// Workers to be examined outside ss.lock. Structures of workers are never freed, so a stale pointer
// is harmless.
static struct ss_worker *suspects[1024];
static unsigned suspect_count;
static unsigned suspects_from; // where in a longer list of workers the next tick begins

static unsigned quiet_ticks; // in which there was nothing to watch

// ---- 1. who stands still ----

static bool elastic_backlog(void)
{
    for (struct ss_elastic *elastic = ss.elastic; elastic; elastic = elastic->next)
        if (load_relaxed(elastic->waiting) > 0)
            return true;
    return false;
}

static bool any_backlog(void)
{
    for (struct ss_group *group = ss.groups; group; group = group->next)
        if (ss_group_demand(group) > 0)
            return true;
    return elastic_backlog();
}

// What the worker has taken and not dealt with, bits of enum ss_holding. Any locks, or none.
static unsigned holdings(struct ss_worker *worker, uint64_t now)
{
    const struct ss_runnable_ops *ops = load_relaxed(&worker->serves_ops);
    return ops && ops->holds ? ops->holds(worker, now) : 0;
}

// ss.lock held.
static void survey_holdings(struct look *look, struct ss_worker *worker)
{
    unsigned held = holdings(worker, look->now);
    bool gives_notices = worker->serves && worker->serves->ops->gives_notices;
    look->unclaimed |= held != 0;
    look->notices |= (held & SS_HOLDS_NOTICES) || (held && gives_notices);
}

static void survey_worker(struct look *look, struct ss_worker *worker)
{
    if (worker->idle || worker->arriving || load_relaxed(&worker->tid) == 0 ||
        load_relaxed(&worker->park) == SS_PARK_NAPPING)
        return;
    survey_holdings(look, worker);
    uint64_t progress = load_relaxed(&worker->progress);
    if (progress != worker->seen_progress) {
        worker->seen_progress = progress;
        worker->seen_since = look->now;
        look->moved = true;
    }
    // Who attends is looked at by what it serves, as long as it does.
    if (load_relaxed(&worker->in_job) && !worker->attends &&
        suspect_count < sizeof suspects / sizeof *suspects)
        suspects[suspect_count++] = worker;
}

static void survey(struct look *look)
{
    suspect_count = 0;
    ss_lock(&ss.lock);
    unsigned place = 0;
    for (struct ss_worker *worker = ss.workers; worker; worker = worker->next, place++)
        if (place >= suspects_from)
            survey_worker(look, worker);
    suspects_from =
        suspect_count == sizeof suspects / sizeof *suspects ? suspects_from + suspect_count : 0;
    look->backlog = any_backlog();
    for (struct ss_group *group = ss.groups; group; group = group->next) {
        look->growing |= !group->owner && group->growth > 0;
        ss_group_refresh(group); // what the other groups keep busy has changed
    }
    ss_unlock(&ss.lock);
}

// Is the worker still in the job in which the survey saw it? ss.lock held, and the lock of what it
// serves, if any: a worker takes these at the end of its job, to end what it was found to do.
static bool in_seen_job(const struct ss_worker *worker)
{
    return load_relaxed(&worker->in_job) &&
           load_relaxed(&worker->progress) == worker->seen_progress;
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

// The part of set_activity() under the lock of what the worker serves.
static void set_activity_of_server(struct ss_runnable *served, struct ss_worker *worker,
                                   enum ss_activity activity, struct ss_taken_notices *notices)
{
    ss_lock(&ss.lock);
    // A worker that naps, or gives notices, has left its job.
    bool there = worker->serves == served && load_relaxed(&worker->counted_in) == served &&
                 in_seen_job(worker);
    bool resumed = activity == SS_RUNNING && load_relaxed(&worker->activity) != SS_RUNNING;
    if (there)
        ss_set_activity(worker, activity);
    ss_unlock(&ss.lock);
    if (there && !resumed && served->ops->reclaim(served, worker, SS_HOLDS_ALL, notices))
        fetch_add_relaxed(&ss.stats.takebacks, 1);
    served->ops->inject(served);
}

// Notes what a worker does if it is still where the survey saw it. Unless it runs again, takes back
// what it holds. If the lock is not to be had soon, does nothing: a compare function may run under
// it, and wait for what the balancer has to do for others. The next tick finds the same again,
// since what led here (work that waits, jobs that were not started, notices) keeps the balancer
// awake.
static void set_activity(struct ss_worker *worker, enum ss_activity activity)
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
        set_activity_of_server(served, worker, activity, &notices);
        ss_unlock(served->lock);
        ss_give_notices(&notices);
    }
    ss_runnable_unref(served);
}

// Takes back what a worker holds that has not moved since the last tick, blocked or not.
static void take_back(struct ss_worker *worker)
{
    set_activity(worker, (enum ss_activity)load_relaxed(&worker->activity));
}

// Gives the notices that a worker owes, whatever it does.
static void give_notices(struct ss_worker *worker)
{
    ss_lock(&ss.lock);
    struct ss_runnable *served = served_with_lock(worker);
    ss_unlock(&ss.lock);
    if (!served)
        return;
    if (ss_lock_soon(served->lock)) { // else at the next tick; see set_activity()
        struct ss_taken_notices notices = {.count = 0};
        if (load_relaxed(&worker->counted_in) == served)
            served->ops->reclaim(served, worker, SS_HOLDS_NOTICES, &notices);
        ss_unlock(served->lock);
        ss_give_notices(&notices);
    }
    ss_runnable_unref(served);
}

static bool is_still(const struct look *look, const struct ss_worker *worker)
{
    return worker->seen_since < look->now; // in the same job as at the last tick
}

// Whether the worker's clock has stood still since the last look: asleep, or waiting for a CPU.
static bool clock_stands(struct look *look, struct ss_worker *worker)
{
    uint64_t cpu = ss_os.thread_cpu_time(load_relaxed(&worker->tid));
    uint64_t before = worker->seen_cpu, at = worker->seen_cpu_at;
    worker->seen_cpu = cpu;
    worker->seen_cpu_at = look->now;
    if (cpu == UINT64_MAX || before == UINT64_MAX || at == 0) {
        look->suspicious |= cpu != UINT64_MAX;
        return false;
    }
    if (cpu - before < (look->now - at) / 2)
        look->suspicious = true;
    return is_still(look, worker) && cpu == before;
}

// Those whose clock stands are asked one by one. A crowd of them, as when many jobs block, needs
// but one look: where the machine has no more runnable threads than CPUs, none of them waits for
// one (bench/glib, "sleeping-unlimited": a look costs a third of what creating a thread does).
static bool all_asleep(void)
{
    unsigned runnable = ss_os.runnable_threads();
    return runnable > 0 && runnable <= ss_cpus();
}

static enum ss_activity judge(const struct look *look, struct ss_worker *worker, bool sleeps)
{
    if (sleeps)
        return SS_BLOCKED;
    bool hog = is_still(look, worker) && look->now - worker->seen_since >= SS_HOG_NS;
    return hog ? SS_HOG : SS_RUNNING;
}

enum clock { NOT_LOOKED, MOVES, STANDS };

// Which of those whose clock stands are asleep.
static void find_sleepers(const char *clocks, unsigned standing, bool *sleeps)
{
    static pid_t tids[sizeof suspects / sizeof *suspects];
    static enum ss_thread_state states[sizeof suspects / sizeof *suspects];
    bool presumed = standing >= SS_CROWD && all_asleep();
    unsigned asked = 0;
    for (unsigned i = 0; i < suspect_count; i++)
        if (clocks[i] == STANDS)
            tids[asked++] = load_relaxed(&suspects[i]->tid);
    if (!presumed && asked > 0)
        ss_os.thread_states(tids, states, asked);
    for (unsigned i = 0, k = 0; i < suspect_count; i++)
        sleeps[i] = clocks[i] == STANDS && (states[k++] == SS_THREAD_SLEEPING || presumed);
}

static void examine(struct look *look)
{
    static char clocks[sizeof suspects / sizeof *suspects];
    static bool sleeps[sizeof suspects / sizeof *suspects];
    unsigned ticks = (unsigned)load_relaxed(&ss.stats.ticks), standing = 0;
    for (unsigned i = 0; i < suspect_count; i++) {
        struct ss_worker *worker = suspects[i];
        clocks[i] = NOT_LOOKED;
        if (!look->backlog && !look->growing)
            continue;
        // Those known to be blocked are many when there are many, and change seldom.
        if (load_relaxed(&worker->activity) != SS_BLOCKED ||
            (i + ticks) % SS_TICKS_PER_BLOCKED_LOOK == 0)
            clocks[i] = clock_stands(look, worker) ? STANDS : MOVES;
        standing += clocks[i] == STANDS;
    }
    find_sleepers(clocks, standing, sleeps);
    for (unsigned i = 0; i < suspect_count; i++) {
        struct ss_worker *worker = suspects[i];
        bool still = is_still(look, worker);
        enum ss_activity was = (enum ss_activity)load_relaxed(&worker->activity), is = was;
        if (clocks[i] != NOT_LOOKED)
            is = judge(look, worker, sleeps[i]);
        look->blocked += is == SS_BLOCKED && was != SS_BLOCKED;
        unsigned held = is != was && still ? 0 : holdings(worker, look->now);
        if (is != was && still)
            set_activity(worker, is);
        else if (held && still)
            take_back(worker);
        else if (held & SS_HOLDS_LATE_NOTICES)
            give_notices(worker);
    }
}

// ---- 2. and 3. more workers ----

// Adds up to `count` workers; returns how many had to be created. ss.lock held; those woken go to
// `list`.
static unsigned summon(struct ss_group *group, unsigned count, struct ss_worker **list)
{
    while (count > 0) {
        struct ss_worker *worker = ss_take_idle(group);
        if (!worker)
            break;
        worker->idle_next = *list;
        *list = worker;
        count--;
    }
    return group->owner ? 0 : count;
}

// How many more workers would pay. A runnable is left to those who serve it while these will do,
// until rule 3 says otherwise.
static unsigned unstaffed_demand(const struct ss_group *group)
{
    uint64_t sum = 0;
    for (struct ss_runnable *runnable = group->head; runnable; runnable = runnable->next)
        if (!load_relaxed(&runnable->staffed))
            sum += runnable->ops->demand(runnable);
    return sum < SMOLSCALE_UNLIMITED ? (unsigned)sum : SMOLSCALE_UNLIMITED;
}

static unsigned compensate(struct look *look, struct ss_group *group, struct ss_worker **list)
{
    unsigned demand = unstaffed_demand(group), busy = ss_group_busy(group),
             limit = ss_group_limit(group);
    if (look->blocked)
        group->ticks_since_blocked = 0;
    else if (group->ticks_since_blocked < SS_GROWTH_TICKS)
        group->ticks_since_blocked++;
    if (group->ticks_since_blocked >= SS_GROWTH_TICKS)
        group->growth = 0;
    if (demand == 0 || busy >= limit)
        return 0;
    unsigned missing = limit - busy;
    uint64_t count = (uint64_t)group->growth * SS_GROWTH_FACTOR;
    count = count > missing ? count : missing;
    count = count < demand ? count : demand;
    group->growth = (unsigned)count;
    fetch_add_relaxed(&ss.stats.compensations, count);
    look->acted = true;
    return summon(group, (unsigned)count, list);
}

static uint64_t stall_ns(const struct ss_group *group)
{
    unsigned running = group->workers - group->idle_count - group->blocked, cpus = ss_cpus();
    if (running < cpus + 2)
        return SS_STALL_FIRST_NS;
    return running < 4 * cpus ? SS_STALL_NS : SS_STALL_CROWDED_NS;
}

// Returns the runnable that has stood for too long, if there is one.
static struct ss_runnable *stalled(struct look *look, struct ss_group *group)
{
    struct ss_runnable *found = NULL;
    for (struct ss_runnable *runnable = group->head; runnable; runnable = runnable->next) {
        if (runnable->ops->demand(runnable) == 0)
            continue;
        uint64_t taken = load_relaxed(&runnable->taken);
        if (taken != runnable->seen_taken || runnable->stalled_since == 0) {
            runnable->seen_taken = taken;
            runnable->stalled_since = look->now;
        }
        uint64_t deadline = runnable->stalled_since + stall_ns(group);
        if (deadline <= look->now && !found) {
            found = runnable;
            runnable->stalled_since = look->now;
        } else if (deadline < look->deadline) {
            look->deadline = deadline;
        }
    }
    return found;
}

static unsigned unstall(struct look *look, struct ss_group *group, struct ss_worker **list)
{
    struct ss_runnable *runnable = stalled(look, group);
    if (!runnable)
        return 0;
    ss_inject_first(group, runnable);
    fetch_add_relaxed(&ss.stats.compensations, 1);
    look->acted = true;
    unsigned extra = group->workers - group->idle_count - group->blocked - ss_cpus();
    return summon(group, extra == 1 ? 2 : 1, list);
}

// A pusher found fewer workers than CPUs. ss.lock held.
static unsigned answer_request(struct ss_group *group)
{
    bool requested = group->spawn_requested;
    group->spawn_requested = false;
    return requested && ss_group_can_grow(group) && ss_group_busy(group) < ss_group_limit(group);
}

// How many workers are to be created for the group; those that can be woken go to `list`. ss.lock
// held.
static unsigned strengthen(struct look *look, struct ss_group *group, struct ss_worker **list)
{
    if (group->starting)
        return 0; // by a thread that has the group's settings
    bool acted = look->acted;
    look->acted = false;
    unsigned to_create = answer_request(group);
    unsigned more = group->arriving ? 0 : compensate(look, group, list);
    if (!look->acted)
        more = unstall(look, group, list);
    look->acted |= acted;
    return more > to_create ? more : to_create;
}

static void add_workers(struct look *look)
{
    struct ss_worker *list = NULL;
    ss_lock(&ss.lock);
    for (struct ss_group *group = ss.groups; group; group = group->next) {
        unsigned to_create = strengthen(look, group, &list);
        if (to_create > 0 && look->now >= ss.create_retry_at)
            ss_spawner_order(group, to_create);
    }
    ss_unlock(&ss.lock);
    ss_unpark_list(list);
    ss_spawner_serve();
}

// ---- the thread ----

// What is due is fired by workers that attend, or by the keeper; where there is neither, here.
static void fire_timers(void)
{
    uint64_t now = ss_os.now();
    if (ss_next_due() <= now && !ss_time_is_kept())
        ss_fire(now); // nobody does it, or whoever should is stuck
}

// SS_FOREVER: others do, or there is none.
static uint64_t until_timer(void)
{
    if (ss_time_is_kept() || ss_attended())
        return SS_FOREVER;
    uint64_t due = ss_next_due(), now = ss_os.now();
    return due > now + SS_TICK_MIN_NS ? due - now : SS_TICK_MIN_NS;
}

// A descriptor's event that nobody would see before the next tick.
static void poll_if_uncovered(void)
{
    if (!ss_events_awaited())
        return;
    ss_lock(&ss.lock);
    bool covered = ss_events_covered();
    ss_unlock(&ss.lock);
    if (!covered)
        ss_events_poll();
}

// What work queues want. SS_FOREVER: nothing that they do not say when they want it.
static uint64_t until_next_tick(const struct look *look, uint64_t interval)
{
    if (!look->backlog && !look->unclaimed && !look->growing) {
        if (++quiet_ticks < SS_TICKS_UNTIL_PARKED)
            return interval;
        quiet_ticks = 0;
        return SS_FOREVER;
    }
    quiet_ticks = 0;
    if (look->acted || (look->suspicious && look->moved))
        return SS_TICK_MIN_NS;
    uint64_t longest = look->moved ? SS_TICK_MAX_NS : SS_TICK_STILL_NS;
    uint64_t next = interval * 2 < longest ? interval * 2 : longest;
    if (look->notices && next > SS_TICK_NOTICES_NS)
        next = SS_TICK_NOTICES_NS;
    if (look->deadline != SS_FOREVER && look->now + next > look->deadline)
        next = look->deadline > look->now + SS_TICK_MIN_NS ? look->deadline - look->now
                                                           : SS_TICK_MIN_NS;
    return next;
}

// Affinity, cpuset and quota may change at any time, and nobody tells: so they are looked at again
// and again while there is work. Where that is done without the balancer, who wakes a worker wakes
// it, too, when it is time (ss_recruit).
static void look_at_cpus(uint64_t now)
{
    uint64_t due = load_relaxed(&ss.cpus_due);
    if (due != 0 && now < due)
        return;
    store_relaxed(&ss.cpus_due, now + (due ? SS_CPUS_LOOK_NS : SS_CPUS_FIRST_LOOK_NS));
    if (due != 0)
        ss_count_cpus();
}

// Returns the time until queues want the next tick, and in *lanes that until lanes do; SS_FOREVER:
// there is nothing to watch.
static uint64_t tick(uint64_t interval, uint64_t *lanes)
{
    struct look look = {.now = ss_os.now(), .deadline = SS_FOREVER};
    count_owned(&ss.stats.ticks);
    survey(&look);
    examine(&look);
    *lanes = ss_watched_look(look.now); // what it lists may ask for a worker
    add_workers(&look);
    fire_timers();
    poll_if_uncovered();
    look_at_cpus(look.now);
    return until_next_tick(&look, interval);
}

// What was asked of the balancer: orders for others are theirs, and who starts a group's first
// worker looks after the group. ss.lock held.
static bool any_request(void)
{
    for (struct ss_group *group = ss.groups; group; group = group->next)
        if (group->spawn_requested && !group->starting)
            return true;
    return ss_spawner_has_orders();
}

// Apart from lanes, which want a look now and then. ss.lock held.
static bool anything_urgent(void)
{
    bool any = any_backlog() || !ss_events_covered() || any_request();
    for (struct ss_worker *worker = ss.workers; worker && !any; worker = worker->next)
        any = holdings(worker, 0) != 0;
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

// Must it stay awake: to watch, to answer who asks it to end, or because it may end?
static bool is_wanted(uint32_t how)
{
    ss_lock(&ss.lock);
    bool wanted = anything_urgent() || ss_balancer_is_asked() ||
                  (how != SS_BALANCER_DOZING && ss_watched_wanted()) ||
                  (how == SS_BALANCER_PARKED && ss_balancer_at_rest() && !any_timer());
    ss_unlock(&ss.lock);
    return wanted;
}

// Going to sleep for as long as nothing is published, on the futex or in the seat; or, if
// lanes want another look, for `limit` at most. Announce (an exchange, a full fence), then
// look; pairs with ss_wake_balancer(): publish, fence, then look for the announcement. One of the
// two sees the other.
static void sleep_until_needed(uint32_t how, uint64_t limit)
{
    exchange_seq_cst(&ss.balancer, how);
    fence_seq_cst();
    bool up = is_wanted(how);
    uint64_t end = ss_time_in(limit);
    // Whoever else ends the sleep changes the word first, so any return of the wait is fine.
    while (!up && load_acquire(&ss.balancer) == how) {
        uint64_t timer = ss_time_in(until_timer()), until = timer < end ? timer : end;
        if (how == SS_BALANCER_SEATED) {
            if (ss_seat_sleep(-1, until, &up)) {
                ss_events_poll();
                up = true;
            }
        } else {
            up = !ss_os.futex_wait_until(&ss.balancer, how, until);
        }
    }
    uint32_t asleep = how;
    if (up)
        cas_strong_acq_rel(&ss.balancer, &asleep, SS_BALANCER_AWAKE);
}

static void park(void)
{
    bool seated = ss_seat_take();
    sleep_until_needed(seated ? SS_BALANCER_SEATED : SS_BALANCER_PARKED, SS_FOREVER);
    if (seated)
        ss_seat_leave();
}

// Gives the role up if there is nothing to watch. As with going to sleep: announce, fence, look.
// Whoever needs a balancer after the announcement starts one; if that has begun there will be
// another, which this one would not know from itself: it ends all the same. ss.lock held: the new
// one enters the list of spawners after this one has left it.
static bool resign(void)
{
    if (anything_to_watch() || any_timer())
        return false;
    ss_os.end_looks(); // the next balancer may begin its own; nobody has work who would wait for
                       // this
    exchange_seq_cst(&ss.balancer, SS_BALANCER_NONE);
    fence_seq_cst();
    uint32_t none = SS_BALANCER_NONE;
    return !(anything_to_watch() || any_timer()) ||
           !cas_strong_acq_rel(&ss.balancer, &none, SS_BALANCER_AWAKE);
}

bool ss_balance(void)
{
    ss_os.begin_looks();
    uint64_t interval = SS_TICK_MIN_NS, lanes;
    for (;;) {
        if (ss_hand_over())
            return false;
        if (ss_attended())
            ss_asymmetric_register(); // once: a worker that attends relies on its fences
        interval = tick(interval, &lanes);
        bool quiet = interval == SS_FOREVER && lanes == SS_FOREVER;
        if (quiet || ss_balancer_is_asked()) {
            if (ss_balancer_end(resign))
                return true;
            ss_os.begin_looks(); // again, if it has ended them
        }
        if (quiet) {
            park();
            interval = SS_TICK_MIN_NS;
        } else if (interval == SS_FOREVER) {
            sleep_until_needed(SS_BALANCER_DOZING, lanes);
            interval = SS_TICK_MIN_NS;
        } else {
            uint64_t timer = until_timer(), sleep = interval < lanes ? interval : lanes;
            ss_os.futex_wait_until(&ss.balancer, SS_BALANCER_AWAKE,
                                   ss_time_in(timer < sleep ? timer : sleep));
        }
        // A kick from here on is answered by the tick that follows.
        uint32_t kicked = SS_BALANCER_HURRIED;
        cas_strong_acq_rel(&ss.balancer, &kicked, SS_BALANCER_AWAKE);
    }
}

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

// NONE is never overwritten: it may come at any moment, and a kick that took its place would pass
// for a balancer from then on.
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
    store_relaxed(&ss.cpus_due, 0);
    suspect_count = suspects_from = quiet_ticks = 0;
}

SS_ROOM(sched_balancer, NULL, after_fork);
