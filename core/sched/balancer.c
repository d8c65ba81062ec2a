// SPDX-License-Identifier: ISC
//
// The balancer: the spawner (spawner.c) that also looks at the whole. It sleeps while nobody
// depends on it. Awake, it looks again and again ("ticks"), and at each tick
//
//   1. finds out which workers stand still: asleep in their job (blocked), or computing on it for
//      long (hogs), and puts back what they have taken but not started;
//   2. where work waits and fewer workers than CPUs are busy, wakes or creates as many as are
//   missing, four times
//      as many each time that those added before are found blocked too;
//   3. where a queue that may start a job has started none for some ms, whatever the workers do,
//   adds one: the
//      jobs that run may be waiting for the ones that do not.
//
// A worker counts as blocked when its CPU clock has stood still between two ticks and /proc says
// that it sleeps. Where neither can be had only rule 3 remains.
//
// Fields named seen_* and *_since of workers and queues are the balancer's own, under ss.lock or
// not.

#include "sched/executor.h"
#include "sched/watch.h"
#include "task/task.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define TICK_MIN       (100 * SS_NS_PER_US)
#define TICK_MAX       SS_NS_PER_MS         // while things move
#define TICK_MAX_STILL (4 * SS_NS_PER_MS)   // while work waits and nothing changes
#define NOTICE_TICK    (500 * SS_NS_PER_US) // while notices are owed, or soon may be
#define QUIET_TICKS    2                    // without work to watch, before it parks

#define BLOCKED_LOOK_EVERY 8 // ticks
#define CROWD              8 // workers found still at once that are looked at as one
#define GROWTH_FACTOR      4
#define GROWTH_MEMORY      4 // ticks for which workers that were added and blocked allow for more

#define HOG_NS (20 * SS_NS_PER_MS)

// Rule 3: how long a queue may stand. Quick for the first two added workers, so that a handful of
// jobs that wait for one another meet soon; then so that one starts every 10 ms, the contract's
// time, and once there are four workers a CPU every 100 ms: less what the looks before and after
// take.
#define STALL_FIRST_NS   (4 * SS_NS_PER_MS)
#define STALL_NS         (8 * SS_NS_PER_MS)
#define STALL_CROWDED_NS (95 * SS_NS_PER_MS)

#define CPUS_LOOK_NS       SS_NS_PER_S
#define CPUS_FIRST_LOOK_NS (5 * SS_NS_PER_MS) // when the first workers have come

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
    if (ss.elastic_queues == 0)
        return false;
    for (smolscale_queue *queue = ss.queues; queue; queue = queue->next)
        if ((queue->flags & SMOLSCALE_QUEUE_ELASTIC) && load_relaxed(&queue->pending) > 0)
            return true;
    return false;
}

static bool any_backlog(void)
{
    for (struct ss_group *group = ss.groups; group; group = group->next)
        if (ss_group_hunger(group) > 0)
            return true;
    return elastic_backlog();
}

static void survey_worker(struct look *look, struct ss_worker *worker)
{
    if (worker->idle || worker->summoned || load_relaxed(&worker->tid) == 0 ||
        load_relaxed(&worker->park) == SS_PARK_NAPPING)
        return;
    bool unclaimed = ss_unclaimed(worker) > 0, owes = ss_owes(worker);
    look->unclaimed |= unclaimed || owes;
    look->notices |= owes || (unclaimed && worker->queue && worker->queue->notify);
    uint64_t progress = load_relaxed(&worker->progress);
    if (progress != worker->seen_progress) {
        worker->seen_progress = progress;
        worker->seen_since = look->now;
        look->moved = true;
    }
    // Who serves a lane is looked at with the lane, until that is taken away.
    if (load_relaxed(&worker->in_job) && !load_relaxed(&worker->lane) &&
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

// Under the locks that guard it, and only if the worker is still where it was seen. Not when the
// queue's lock is not to be had: a compare function may run under it, and wait for what the
// balancer has to do for others. The next tick finds the same again, since what led here (work that
// waits, jobs that were not started, notices) keeps the balancer awake.
static void set_standing(struct ss_worker *worker, enum ss_standing standing)
{
    ss_lock(&ss.lock);
    smolscale_queue *queue = worker->queue;
    if (queue)
        fetch_add_relaxed(&queue->refs, 1);
    else if (load_relaxed(&worker->progress) == worker->seen_progress &&
             load_relaxed(&worker->in_job))
        ss_set_standing(worker, standing); // it is in a task's poll
    ss_unlock(&ss.lock);
    if (!queue)
        return;
    if (!ss_lock_soon(queue->lock)) {
        ss_queue_unref(queue);
        return;
    }
    ss_lock(&ss.lock);
    // In its job still, at whose end it takes the queue's lock to end its standing. One that naps,
    // or gives notices, has done that.
    bool there = worker->queue == queue && load_relaxed(&worker->job_queue) == queue &&
                 load_relaxed(&worker->in_job) &&
                 load_relaxed(&worker->progress) == worker->seen_progress;
    bool resumed = standing == SS_RUNNING && load_relaxed(&worker->standing) != SS_RUNNING;
    if (there)
        ss_set_standing(worker, standing);
    ss_unlock(&ss.lock);
    void *owed[SS_OWED_MAX];
    unsigned notices = 0;
    if (there && !resumed) {
        notices = ss_take_notices(worker, owed);
        if (ss_recall_batch(queue, worker))
            fetch_add_relaxed(&ss.stats.takebacks, 1);
    }
    ss_queue_list(queue);
    ss_unlock(queue->lock);
    while (notices > 0)
        queue->notify(owed[--notices]);
    ss_queue_unref(queue);
}

// Puts back what a worker holds that has not moved since the last tick, blocked or not, and gives
// the notices that it owes.
static void take_back(struct ss_worker *worker)
{
    set_standing(worker, (enum ss_standing)load_relaxed(&worker->standing));
}

static bool owes_for_long(const struct look *look, struct ss_worker *worker)
{
    uint64_t since = load_relaxed(&worker->owed_since);
    return ss_owes(worker) && since < look->now && look->now - since >= SS_OWED_NS;
}

// Gives the notices that a worker owes, whatever it does.
static void give_notices(struct ss_worker *worker)
{
    ss_lock(&ss.lock);
    smolscale_queue *queue = worker->queue;
    if (queue)
        fetch_add_relaxed(&queue->refs, 1);
    ss_unlock(&ss.lock);
    if (!queue)
        return;
    void *owed[SS_OWED_MAX];
    unsigned notices = 0;
    if (ss_lock_soon(queue->lock)) { // else at the next tick; see set_standing()
        if (load_relaxed(&worker->job_queue) == queue)
            notices = ss_take_notices(worker, owed);
        ss_unlock(queue->lock);
    }
    while (notices > 0)
        queue->notify(owed[--notices]);
    ss_queue_unref(queue);
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

static enum ss_standing judge(const struct look *look, struct ss_worker *worker, bool sleeps)
{
    if (sleeps)
        return SS_BLOCKED;
    bool hog = is_still(look, worker) && look->now - worker->seen_since >= HOG_NS;
    return hog ? SS_HOG : SS_RUNNING;
}

enum clock { NOT_LOOKED, MOVES, STANDS };

// Which of those whose clock stands are asleep.
static void find_sleepers(const char *clocks, unsigned standing, bool *sleeps)
{
    static pid_t tids[sizeof suspects / sizeof *suspects];
    static enum ss_thread_state states[sizeof suspects / sizeof *suspects];
    bool presumed = standing >= CROWD && all_asleep();
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
        if (load_relaxed(&worker->standing) != SS_BLOCKED || (i + ticks) % BLOCKED_LOOK_EVERY == 0)
            clocks[i] = clock_stands(look, worker) ? STANDS : MOVES;
        standing += clocks[i] == STANDS;
    }
    find_sleepers(clocks, standing, sleeps);
    for (unsigned i = 0; i < suspect_count; i++) {
        struct ss_worker *worker = suspects[i];
        bool still = is_still(look, worker);
        enum ss_standing was = (enum ss_standing)load_relaxed(&worker->standing), is = was;
        if (clocks[i] != NOT_LOOKED)
            is = judge(look, worker, sleeps[i]);
        look->blocked += is == SS_BLOCKED && was != SS_BLOCKED;
        if (is != was && still)
            set_standing(worker, is);
        else if (still && (ss_unclaimed(worker) > 0 || ss_owes(worker)))
            take_back(worker);
        else if (owes_for_long(look, worker))
            give_notices(worker);
    }
}

// ---- 2. and 3. more workers ----

// Adds up to `count` workers; returns how many had to be created. ss.lock held; those woken go to
// `list`.
static unsigned summon(struct ss_group *group, unsigned count, struct ss_worker **list)
{
    while (count > 0) {
        struct ss_worker *worker = ss_summon(group);
        if (!worker)
            break;
        worker->idle_next = *list;
        *list = worker;
        count--;
    }
    return group->owner ? 0 : count;
}

// How many workers would pay. Queues to which those who serve them come soon enough are left to
// them, until rule 3 says otherwise.
static unsigned appetite(const struct ss_group *group)
{
    uint64_t sum = 0;
    for (struct ss_runnable *runnable = group->head; runnable; runnable = runnable->next)
        if (!runnable->queue || !load_relaxed(&runnable->queue->attended))
            sum += runnable->hunger(runnable);
    return sum < SMOLSCALE_UNLIMITED ? (unsigned)sum : SMOLSCALE_UNLIMITED;
}

static unsigned compensate(struct look *look, struct ss_group *group, struct ss_worker **list)
{
    unsigned hunger = appetite(group), busy = ss_group_busy(group), limit = ss_group_limit(group);
    if (look->blocked)
        group->growth_age = 0;
    else if (group->growth_age < GROWTH_MEMORY)
        group->growth_age++;
    if (group->growth_age >= GROWTH_MEMORY)
        group->growth = 0;
    if (hunger == 0 || busy >= limit)
        return 0;
    unsigned missing = limit - busy;
    uint64_t count = (uint64_t)group->growth * GROWTH_FACTOR;
    count = count > missing ? count : missing;
    count = count < hunger ? count : hunger;
    group->growth = (unsigned)count;
    fetch_add_relaxed(&ss.stats.compensations, count);
    look->acted = true;
    return summon(group, (unsigned)count, list);
}

static uint64_t stall_ns(const struct ss_group *group)
{
    unsigned running = group->workers - group->idle_count - group->blocked, cpus = ss_cpus();
    if (running < cpus + 2)
        return STALL_FIRST_NS;
    return running < 4 * cpus ? STALL_NS : STALL_CROWDED_NS;
}

// Returns the runnable that has stood for too long, if there is one.
static struct ss_runnable *stalled(struct look *look, struct ss_group *group)
{
    struct ss_runnable *found = NULL;
    for (struct ss_runnable *runnable = group->head; runnable; runnable = runnable->next) {
        if (runnable->hunger(runnable) == 0)
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
    unsigned more = group->waking ? 0 : compensate(look, group, list);
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

// Timers are fired by workers that serve lanes, or by the keeper; where there is neither, here.
static void fire_timers(void)
{
    uint64_t now = ss_os.now();
    if (load_relaxed(&ss_timers_next) <= now && !ss_time_is_kept())
        ss_timers_fire(now); // nobody does it, or whoever should is stuck
}

// SS_FOREVER: others do, or there is none.
static uint64_t until_timer(void)
{
    if (ss_time_is_kept() || ss_lanes_served())
        return SS_FOREVER;
    uint64_t due = load_relaxed(&ss_timers_next), now = ss_os.now();
    return due > now + TICK_MIN ? due - now : TICK_MIN;
}

// A descriptor's event that nobody would see before the next tick.
static void poll_if_uncovered(void)
{
    if (load_relaxed(&ss_reactor_waits) == 0)
        return;
    ss_lock(&ss.lock);
    bool covered = ss_reactor_covered();
    ss_unlock(&ss.lock);
    if (!covered)
        ss_reactor_poll();
}

// What work queues want, beside what lanes want.
static uint64_t until_next_tick(const struct look *look, uint64_t interval, uint64_t others)
{
    if (!look->backlog && !look->unclaimed && !look->growing) {
        if (others == SS_FOREVER && ++quiet_ticks < QUIET_TICKS)
            return interval;
        quiet_ticks = 0;
        return others;
    }
    quiet_ticks = 0;
    if (look->acted || (look->suspicious && look->moved))
        return TICK_MIN;
    uint64_t longest = look->moved ? TICK_MAX : TICK_MAX_STILL;
    uint64_t next = interval * 2 < longest ? interval * 2 : longest;
    if (look->notices && next > NOTICE_TICK)
        next = NOTICE_TICK;
    if (look->deadline != SS_FOREVER && look->now + next > look->deadline)
        next = look->deadline > look->now + TICK_MIN ? look->deadline - look->now : TICK_MIN;
    return next < others ? next : others;
}

// Affinity, cpuset and quota may change at any time, and nobody tells: so they are looked at again
// and again while there is work. Where that is done without the balancer, who wakes a worker wakes
// it, too, when it is time (ss_recruit).
static void look_at_cpus(uint64_t now)
{
    uint64_t due = load_relaxed(&ss.cpus_due);
    if (due != 0 && now < due)
        return;
    store_relaxed(&ss.cpus_due, now + (due ? CPUS_LOOK_NS : CPUS_FIRST_LOOK_NS));
    if (due != 0)
        ss_count_cpus();
}

// ---- what other rooms have it look after ----

static struct ss_watched *all_watched; // only grows, at its front; written under ss.lock

void ss_watched_add(struct ss_watched *watched)
{
    ss_lock(&ss.lock);
    if (!watched->added) {
        watched->added = true;
        watched->next = all_watched;
        compiler_fence(); // fork() may copy the list at any moment
        all_watched = watched;
    }
    ss_unlock(&ss.lock);
}

// The time until the next look.
static uint64_t look_at_watched(uint64_t now)
{
    ss_lock(&ss.lock);
    struct ss_watched *watched = all_watched;
    ss_unlock(&ss.lock);
    uint64_t next = SS_FOREVER;
    for (; watched; watched = watched->next) {
        uint64_t wanted = watched->look(now);
        next = wanted < next ? wanted : next;
    }
    return next;
}

// ss.lock held.
static bool any_watched(void)
{
    for (const struct ss_watched *watched = all_watched; watched; watched = watched->next)
        if (watched->is_wanted())
            return true;
    return false;
}

// Returns the time to the next tick; SS_FOREVER: there is nothing to watch.
static uint64_t tick(uint64_t interval)
{
    struct look look = {.now = ss_os.now(), .deadline = SS_FOREVER};
    count_owned(&ss.stats.ticks);
    survey(&look);
    examine(&look);
    // What these two list may ask for a worker.
    uint64_t lanes = ss_lanes_look(look.now), watched = look_at_watched(look.now);
    add_workers(&look);
    fire_timers();
    poll_if_uncovered();
    look_at_cpus(look.now);
    return until_next_tick(&look, interval, lanes < watched ? lanes : watched);
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

// ss.lock held.
static bool anything_to_watch(void)
{
    bool any = any_backlog() || !ss_reactor_covered() || any_request() || ss_lanes_watched() ||
               any_watched();
    for (struct ss_worker *worker = ss.workers; worker && !any; worker = worker->next)
        any = ss_unclaimed(worker) > 0 || ss_owes(worker);
    return any;
}

static bool any_timer(void)
{
    return load_relaxed(&ss_timers_next) != SS_FOREVER;
}

// Must it stay awake: to watch, to answer who asks it to end, or because it may end?
static bool is_wanted(uint32_t how)
{
    ss_lock(&ss.lock);
    bool wanted = anything_to_watch() || ss_balancer_is_asked() ||
                  (how == SS_BALANCER_PARKED && ss_balancer_at_rest() && !any_timer());
    ss_unlock(&ss.lock);
    return wanted;
}

// Going to sleep, on the futex or in the reactor's seat. Announce (an exchange, a full fence), then
// look; pairs with ss_watch(): publish, fence, then look for the announcement. One of the two sees
// the other.
static void sleep_until_needed(uint32_t how)
{
    exchange_seq_cst(&ss.balancer, how);
    fence_seq_cst();
    bool up = is_wanted(how);
    // Whoever else ends the sleep changes the word first, so any return of the wait is fine.
    while (!up && load_acquire(&ss.balancer) == how) {
        if (how == SS_BALANCER_PARKED) {
            up = !ss_os.futex_wait_until(&ss.balancer, how, ss_time_in(until_timer()));
        } else if (ss_reactor_sleep(-1, ss_time_in(until_timer()), &up)) {
            ss_reactor_poll();
            up = true;
        }
    }
    uint32_t asleep = how;
    if (up)
        cas_strong_acq_rel(&ss.balancer, &asleep, SS_BALANCER_AWAKE);
}

static void park(void)
{
    bool seated = ss_reactor_sit();
    sleep_until_needed(seated ? SS_BALANCER_SEATED : SS_BALANCER_PARKED);
    if (seated)
        ss_reactor_leave();
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
    uint64_t interval = TICK_MIN;
    for (;;) {
        if (ss_hand_over())
            return false;
        if (ss_lanes_served())
            ss_asymmetric_register(); // once
        interval = tick(interval);
        if (interval == SS_FOREVER || ss_balancer_is_asked()) {
            if (ss_balancer_end(resign))
                return true;
            ss_os.begin_looks(); // again, if it has ended them
        }
        if (interval == SS_FOREVER) {
            park();
            interval = TICK_MIN;
        } else {
            uint64_t timer = until_timer();
            ss_os.futex_wait_until(&ss.balancer, SS_BALANCER_AWAKE,
                                   ss_time_in(timer < interval ? timer : interval));
        }
        // A kick from here on is answered by the tick that follows.
        uint32_t kicked = SS_BALANCER_KICKED;
        cas_strong_acq_rel(&ss.balancer, &kicked, SS_BALANCER_AWAKE);
    }
}

static void wake(uint32_t how)
{
    if (how == SS_BALANCER_SEATED)
        ss_reactor_wake();
    else
        ss_os.futex_wake(&ss.balancer, 1);
}

void ss_watch_slow(void)
{
    uint32_t asleep = load_relaxed(&ss.balancer);
    while (asleep == SS_BALANCER_PARKED || asleep == SS_BALANCER_SEATED) {
        uint32_t how = asleep;
        if (cas_strong_acq_rel(&ss.balancer, &asleep, SS_BALANCER_AWAKE)) {
            wake(how);
            return;
        }
    }
    if (asleep == SS_BALANCER_NONE)
        ss_start_balancer();
}

void ss_watch_if_running(void)
{
    if (load_relaxed(&ss.balancer) != SS_BALANCER_NONE)
        ss_watch();
}

// NONE is never overwritten: it may come at any moment, and a kick that took its place would pass
// for a balancer from then on.
void ss_kick_balancer(void)
{
    uint32_t how = load_relaxed(&ss.balancer);
    for (;;) {
        if (how == SS_BALANCER_NONE && ss_start_balancer() != 0)
            return;
        if (how == SS_BALANCER_NONE)
            how = load_relaxed(&ss.balancer);
        else if (cas_strong_acq_rel(&ss.balancer, &how, SS_BALANCER_KICKED))
            break;
    }
    if (how != SS_BALANCER_KICKED)
        wake(how);
}

void ss_balancer_after_fork(void)
{
    store_relaxed(&ss.balancer, SS_BALANCER_NONE);
    store_relaxed(&ss.cpus_due, 0);
    suspect_count = suspects_from = quiet_ticks = 0;
}
