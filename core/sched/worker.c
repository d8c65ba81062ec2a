// SPDX-License-Identifier: ISC
//
// A worker from birth to its end: how it is created, finds work, sleeps, is woken, and ends.
//
// Everything about who sleeps is decided under ss.lock: work is published there (ss_inject), the
// sleeper puts itself on the idle list there after it has seen that nothing is published, and the
// waker takes it off there. So no wake-up can be lost between the two; only the sleep itself is
// outside the lock, on the worker's futex word `park`, which the waker sets to AWAKE before the
// wake: a sleep begun too late does not begin. Between being taken off the idle list and that
// moment a worker belongs to its waker, who may use its links.
//
// At most one worker is on its way for what pushers publish (`waking`). When it arrives it sees,
// under the same lock, what has come since, and wakes the next one if that is worth it.

#include "base/backoff.h"
#include "os/memory.h"
#include "os/thread.h"
#include "sched/duty.h"
#include "sched/executor.h"

#include <errno.h>
#include <string.h>

SS_THREAD_LOCAL struct ss_worker *ss_self;

// ---- the injection queue ----

static struct ss_runnable *pop(struct ss_group *group)
{
    struct ss_runnable *runnable = group->head;
    if (!runnable)
        return NULL;
    group->head = runnable->next;
    store_relaxed(&group->injected, load_relaxed(&group->injected) - 1);
    return runnable;
}

void ss_inject(struct ss_group *group, struct ss_runnable *runnable)
{
    runnable->next = NULL;
    if (group->head)
        group->tail->next = runnable;
    else
        group->head = runnable;
    group->tail = runnable;
    store_relaxed(&group->injected, load_relaxed(&group->injected) + 1);
}

void ss_inject_first(struct ss_group *group, struct ss_runnable *runnable)
{
    struct ss_runnable *before = NULL;
    for (struct ss_runnable *other = group->head; other != runnable; other = other->next)
        before = other;
    if (!before)
        return;
    before->next = runnable->next;
    if (group->tail == runnable)
        group->tail = before;
    runnable->next = group->head;
    group->head = runnable;
}

unsigned ss_group_demand(const struct ss_group *group)
{
    uint64_t demand = 0;
    for (struct ss_runnable *runnable = group->head; runnable; runnable = runnable->next)
        demand += runnable->ops->demand(runnable);
    return demand < SMOLSCALE_UNLIMITED ? (unsigned)demand : SMOLSCALE_UNLIMITED;
}

// ---- the idle list: the last to park is woken first, so the coldest retires ----

static void add_idle(struct ss_worker *worker, bool kept)
{
    struct ss_group *group = worker->group;
    worker->kept = kept;
    group->kept += kept;
    worker->idle_prev = NULL;
    worker->idle_next = group->idle;
    if (group->idle)
        group->idle->idle_prev = worker;
    group->idle = worker;
    group->idle_count++;
    worker->idle = true;
}

static void remove_idle(struct ss_worker *worker)
{
    struct ss_group *group = worker->group;
    if (load_relaxed(&ss.keeper) == worker)
        store_relaxed(&ss.keeper, NULL);
    *(worker->idle_prev ? &worker->idle_prev->idle_next : &group->idle) = worker->idle_next;
    if (worker->idle_next)
        worker->idle_next->idle_prev = worker->idle_prev;
    group->idle_count--;
    group->kept -= worker->kept;
    worker->idle = false;
}

// ---- waking ----

// Who looks for events of descriptors is left there if there is another.
static struct ss_worker *first_idle(struct ss_group *group)
{
    struct ss_worker *worker = group->idle;
    return worker && worker->idle_next && load_relaxed(&worker->park) == SS_PARK_SEATED
               ? worker->idle_next
               : worker;
}

struct ss_worker *ss_take_idle(struct ss_group *group)
{
    struct ss_worker *worker = first_idle(group);
    if (!worker)
        return NULL;
    remove_idle(worker);
    worker->arriving = true;
    if (group->arriving++ == 0)
        group->arriving_since = ss_os.now();
    fetch_add_relaxed(&ss.stats.wakes, 1);
    ss_group_refresh(group);
    return worker;
}

struct ss_worker *ss_recruit(struct ss_group *group, enum ss_follow_up *todo)
{
    *todo = SS_DO_NOTHING;
    bool late = group->arriving && ss_os.now() - group->arriving_since > SS_ARRIVAL_NS;
    if (group->arriving && !late)
        return NULL;
    bool room = ss_group_busy(group) < ss_group_limit(group);
    if (room && group->idle) {
        struct ss_worker *worker = ss_take_idle(group);
        worker->keep_away = late;
        group->arriving_since = ss_os.now();
        if (group->arriving_since >= load_relaxed(&ss.cpus_due))
            *todo = SS_WAKE_BALANCER; // it would sleep on, and see no change of the CPUs
        return worker;
    }
    *todo = SS_WAKE_BALANCER;
    if (group->workers == 0) {
        *todo = SS_CREATE_WORKER;
        group->starting = !group->owner;
    } else if (room && ss_group_can_grow(group) && !group->spawn_requested) {
        group->spawn_requested = true;
        *todo = SS_HURRY_BALANCER;
    }
    return NULL;
}

// Placing. A thread that pushes a job and then waits for it, again and again, is best served on its
// own CPU: the worker is there as soon as it sleeps, 2 µs instead of the 22 µs that another, halted
// CPU takes to come
// (*homing*; bench/glib, "round-trip"). But a thread that goes on working would be held up. So the
// last few wakes of the thread tell: each a short time after the one before, with a sleep between.
// Conversely, where a woken worker is late, the next one is kept away from the waker's CPU. Where a
// homed worker comes late nevertheless, its waker's CPU has too much to do: no homing for a while.
// A worker has its CPUs back before it runs a job.

static struct ss_backoff homing;

static void judge_homing(uint64_t homed_at)
{
    uint64_t now = ss_os.now();
    if (now - homed_at > SS_HOMING_LATE_NS)
        ss_back_off(&homing, now, SS_HOMING_PAUSE_MIN_NS, SS_HOMING_PAUSE_MAX_NS);
}

static SS_THREAD_LOCAL struct {
    uint64_t last_wake, sleeps;
    unsigned streak;
} waker;

static bool waker_sleeps_soon(void)
{
    if (ss_self) // a worker goes on to the job it came for
        return false;
    uint64_t now = ss_os.now(), gap = now - waker.last_wake;
    waker.last_wake = now;
    if (gap >= SS_HOMING_GAP_NS) {
        waker.streak = 0; // not worth the system call
        return false;
    }
    uint64_t sleeps = ss_os.sleeps();
    waker.streak = sleeps != waker.sleeps ? waker.streak + 1 : 0;
    waker.sleeps = sleeps;
    return waker.streak >= SS_HOMING_STREAK && !ss_backed_off(&homing, now);
}

// The worker is asleep and the caller's alone.
static void place(struct ss_worker *worker)
{
    bool home = !worker->keep_away && waker_sleeps_soon();
    pid_t tid = load_relaxed(&worker->tid);
    if (tid != 0 && (home || worker->keep_away))
        worker->placed = ss_os.place(tid, ss_os.cpu(), home, &worker->placement);
    worker->homed_at = home ? waker.last_wake : 0;
    worker->keep_away = false;
}

void ss_unpark(struct ss_worker *worker)
{
    place(worker);
    uint32_t slept = exchange_acq_rel(&worker->park, SS_PARK_AWAKE);
    // From here on it may have ended: its structure stays, and whoever uses it next survives a wake
    // for nothing.
    if (slept == SS_PARK_SEATED)
        ss_seat_wake();
    else
        ss_os.futex_wake(&worker->park, 1);
}

void ss_unpark_list(struct ss_worker *list)
{
    while (list) {
        struct ss_worker *worker = list;
        list = worker->idle_next; // before the wake, after which the link is no longer ours
        ss_unpark(worker);
    }
}

int ss_follow_up(struct ss_group *group, struct ss_worker *wake, enum ss_follow_up todo)
{
    if (wake)
        ss_unpark(wake);
    switch (todo) {
    case SS_DO_NOTHING:
        return 0;
    case SS_WAKE_BALANCER:
        ss_wake_balancer();
        return 0;
    case SS_HURRY_BALANCER:
        ss_hurry_balancer();
        return 0;
    case SS_CREATE_WORKER:
        return group->owner ? ss_group_fill(group) : ss_group_first_worker(group);
    }
    return 0;
}

// ---- activity ----

static void count_activity(struct ss_worker *worker, enum ss_activity activity, int change)
{
    struct ss_group *group = worker->group;
    if (activity == SS_HOG)
        group->hogs += (unsigned)change;
    if (activity == SS_BLOCKED) {
        struct ss_runnable *runnable = load_relaxed(&worker->counted_in);
        group->blocked += (unsigned)change;
        if (runnable)
            runnable->ops->count_blocked(runnable, change);
    }
}

void ss_set_activity(struct ss_worker *worker, enum ss_activity activity)
{
    count_activity(worker, load_relaxed(&worker->activity), -1);
    count_activity(worker, activity, 1);
    store_relaxed(&worker->activity, activity);
    ss_group_refresh(worker->group);
}

void ss_resume_slow(struct ss_worker *worker)
{
    worker->blocked_last = load_relaxed(&worker->activity) == SS_BLOCKED;
    ss_lock(&ss.lock);
    ss_set_activity(worker, SS_RUNNING);
    ss_unlock(&ss.lock);
}

// Under ss.lock, so the balancer's verdict on a worker in a task's poll either precedes this and is
// undone here, or finds in_job false.
void ss_leave_job(struct ss_worker *worker)
{
    ss_lock(&ss.lock);
    store_relaxed(&worker->in_job, false);
    unsigned activity = load_relaxed(&worker->activity);
    if (activity != SS_RUNNING) {
        worker->blocked_last = activity == SS_BLOCKED;
        ss_set_activity(worker, SS_RUNNING);
    }
    ss_unlock(&ss.lock);
    worker->blocking_depth = 0; // whatever its job or its tasks have left open
}

// ---- a worker's life ----

// Parked workers of a group that are kept without a time limit, where the executor decides.
static unsigned idle_kept(const struct ss_group *group)
{
    unsigned kept = SS_IDLE_KEPT_PER_CPU * ss_cpus();
    if (kept < SS_IDLE_KEPT_MIN)
        kept = SS_IDLE_KEPT_MIN;
    return group->max_idle < kept ? group->max_idle : kept;
}

// ss.lock held; the worker is on no list but that of all workers.
static void leave_group(struct ss_worker *worker)
{
    struct ss_group *group = worker->group;
    ss_group_count_worker(group, -1);
    if (group->dissolved && group->workers == 0)
        ss_group_remove(group);
    else
        ss_group_refresh(group);
}

struct ss_worker *ss_group_shrink(struct ss_group *group)
{
    struct ss_worker *leaving = NULL;
    for (unsigned surplus = group->workers > group->wanted ? group->workers - group->wanted : 0;
         group->idle && surplus > 0; surplus--) {
        struct ss_worker *worker = group->idle;
        remove_idle(worker);
        worker->exit = true;
        worker->idle_next = leaving;
        leaving = worker;
    }
    if (group->dissolved && group->workers == 0)
        ss_group_remove(group);
    return leaving;
}

static void unlink_worker(struct ss_worker *worker)
{
    *worker->prev_link = worker->next;
    if (worker->next)
        worker->next->prev_link = worker->prev_link;
}

// How long a worker that parks may sleep, those on the idle list apart.
static uint64_t idle_time(const struct ss_group *group)
{
    if (group->owner)
        return SS_FOREVER;
    if (group->idle_count >= group->max_idle)
        return SS_IDLE_EXCESS_NS;
    if (group->idle_timeout)
        return group->idle_timeout;
    return group->kept < idle_kept(group) ? SS_FOREVER : SS_IDLE_SURPLUS_NS;
}

// The keeper: the one of the parked workers that wakes by itself when a timer is due. Whoever puts
// a timer in is awake, and looks here before it parks: if nobody sleeps until then or shorter, it
// keeps the time itself. ss.lock held.
static void keep_time(struct ss_worker *worker)
{
    uint64_t next = ss_next_due();
    if (worker->group != &ss.shared || next == SS_FOREVER ||
        (load_relaxed(&ss.keeper) && load_relaxed(&ss.keeper_until) <= next))
        return;
    store_relaxed(&ss.keeper_until, next);
    store_release(&ss.keeper, worker);
}

// When the sleep ends by itself; `until` is when an idle worker ends.
static uint64_t sleep_time(const struct ss_worker *worker, uint64_t until)
{
    if (load_relaxed(&ss.keeper) == worker && load_relaxed(&ss.keeper_until) < until)
        until = load_relaxed(&ss.keeper_until);
    return until;
}

// The keeper's time has come, or descriptors have events. It is on its way to whatever they bring,
// so nobody else is woken for that. ss.lock held on entry and exit.
static void fire(struct ss_worker *worker, bool events)
{
    struct ss_group *group = worker->group;
    remove_idle(worker);
    worker->arriving = true;
    if (group->arriving++ == 0)
        group->arriving_since = ss_os.now();
    ss_group_refresh(group);
    ss_unlock(&ss.lock);
    ss_fire(ss_os.now());
    if (events)
        ss_events_poll();
    ss_lock(&ss.lock);
}

// Sleeps in the seat or on the futex. True: there are events of descriptors, or the time is up.
static bool sleep_parked(struct ss_worker *worker, bool seated, uint64_t until, bool *events)
{
    if (!seated)
        return !ss_os.futex_wait_until(&worker->park, SS_PARK_PARKED, until);
    bool time_up;
    *events = ss_seat_sleep(-1, until, &time_up);
    return *events || time_up;
}

// ss.lock held on entry and exit. Returns when somebody has woken the worker, it keeps the time and
// that has come, descriptors have events, or it has set worker->exit.
static void sleep_until_woken(struct ss_worker *worker, bool seated)
{
    uint64_t timeout = idle_time(worker->group);
    uint64_t until = timeout == SS_FOREVER ? SS_FOREVER : ss_time_in(timeout);
    add_idle(worker, timeout == SS_FOREVER);
    keep_time(worker);
    store_relaxed(&worker->park, seated ? SS_PARK_SEATED : SS_PARK_PARKED);
    ss_group_refresh(worker->group);
    uint64_t sleep = sleep_time(worker, until);
    ss_unlock(&ss.lock);
    // Every return of the wait is safe: only who took the worker off the idle list makes it AWAKE.
    while (load_acquire(&worker->park) != SS_PARK_AWAKE) {
        bool events = false;
        if (!sleep_parked(worker, seated, sleep, &events))
            continue;
        ss_lock(&ss.lock);
        if (worker->idle && (events || load_relaxed(&ss.keeper) == worker)) {
            fire(worker, events);
            store_relaxed(&worker->park, SS_PARK_AWAKE);
            return;
        }
        if (worker->idle && until != SS_FOREVER && ss_os.now() >= until) {
            remove_idle(worker);
            worker->exit = true;
            return;
        }
        // Woken, or it kept a time that another keeps now.
        sleep = worker->idle ? sleep_time(worker, until) : SS_FOREVER;
        ss_unlock(&ss.lock);
        if (events) // and its waker is about to say so
            ss_events_poll();
    }
    if (worker->placed) {
        worker->placed = false;
        ss_os.release(&worker->placement);
        if (worker->homed_at)
            judge_homing(worker->homed_at);
    }
    ss_lock(&ss.lock);
}

// ss.lock held on entry and exit.
static void park(struct ss_worker *worker)
{
    bool seated = worker->group == &ss.shared && ss_seat_take_locked();
    sleep_until_woken(worker, seated);
    if (seated)
        ss_seat_leave_locked();
}

// A dedicated worker that its group no longer wants ends. ss.lock held.
static bool is_unwanted(const struct ss_worker *worker)
{
    const struct ss_group *group = worker->group;
    return group->owner && group->workers > group->wanted;
}

static void arrive(struct ss_worker *worker)
{
    worker->arriving = false;
    worker->group->arriving--;
    ss_group_refresh(worker->group);
}

// The worker's end begins: no list has it any more but, where its thread is to be joined, that of
// its group. ss.lock held. Returns a worker to wake for what is left to do.
static struct ss_worker *leave(struct ss_worker *worker, enum ss_follow_up *todo)
{
    struct ss_group *group = worker->group;
    leave_group(worker);
    unlink_worker(worker);
    // One that idles for too long may be forgotten; where workers stay, and at the group's end, all
    // are joined.
    worker->is_joined =
        worker->joinable && group->joined && (group->ending || group->idle_timeout == SS_FOREVER);
    group->leaving += worker->is_joined;
    if (group->ending && !group->joined && group->workers == 0)
        ss_spawner_group_left(group); // smolscale_group_free() has returned and looks no more
    struct ss_worker *wake = ss_group_demand(group) > 0 ? ss_recruit(group, todo) : NULL;
    if (*todo == SS_CREATE_WORKER) { // a new one shall inherit nothing of what jobs have left here
        group->starting = false;
        group->spawn_requested = true;
        *todo = SS_HURRY_BALANCER;
    }
    return wake;
}

// What the worker runs next; NULL: it ends. Sleeps while there is nothing.
static struct ss_runnable *next(struct ss_worker *worker)
{
    struct ss_runnable *served = worker->serves; // its reference goes when no lock is held
    if (served && !ss_runnable_is_counted(served))
        served = NULL;
    struct ss_runnable *runnable = NULL;
    struct ss_worker *wake = NULL;
    enum ss_follow_up todo = SS_DO_NOTHING;

    ss_lock(&ss.lock);
    worker->serves = NULL;
    for (;;) {
        bool arrived = worker->arriving;
        if (arrived)
            arrive(worker);
        if (worker->exit || is_unwanted(worker))
            break;
        struct ss_group *group = worker->group;
        bool surplus =
            !arrived && !group->owner && !worker->blocked_last && load_relaxed(&group->surplus);
        if (!surplus)
            runnable = pop(group);
        if (runnable) {
            worker->exit_if_idle = false;
            worker->serves = runnable;
            store_relaxed(&worker->serves_ops, runnable->ops);
            if (arrived && ss_group_demand(group))
                wake = ss_recruit(group, &todo);
            break;
        }
        if (worker->exit_if_idle)
            break;
        bool leaves_work = surplus && ss_group_demand(group);
        if (served || leaves_work) {
            ss_unlock(&ss.lock);
            if (served)
                ss_runnable_unref(served);
            if (leaves_work)
                ss_wake_balancer();
            ss_lock(&ss.lock);
            served = NULL;
            // Look again: it was published while the lock was free.
            bool news = worker->arriving || group->head || group->dissolved;
            if (worker->exit || (news && !leaves_work))
                continue;
        }
        park(worker);
    }
    struct ss_group *group = worker->group;
    if (!runnable) // it ends
        wake = leave(worker, &todo);
    bool last = ss.workers == NULL;
    ss_unlock(&ss.lock);
    if (served)
        ss_runnable_unref(served);
    if (last)
        ss_wake_balancer(); // the balancer may have nothing left to do
    // A worker that serves a lane fires timers. One that runs jobs, or ends, leaves them to the
    // balancer if no other keeps the time.
    bool keeps_time = runnable && runnable->ops->keeps_time;
    if (!keeps_time && !ss_time_is_kept())
        ss_wake_balancer();
    if (!keeps_time)
        ss_events_cover();
    ss_follow_up(group, wake, todo);
    return runnable;
}

static struct ss_thread_key death_key;

// The structure may be used for another thread.
static void recycle(struct ss_worker *worker)
{
    ss_lock(&ss.lock);
    worker->next = ss.free_workers;
    ss.free_workers = worker;
    ss_unlock(&ss.lock);
}

void ss_join_worker(struct ss_worker *worker)
{
    ss_os.thread_join(worker->thread);
    recycle(worker);
}

// The last that a worker's thread does for the executor; destructors of thread-local data may still
// run after it. Where threads are joined, it is left to the next of its group that ends, or to
// smolscale_group_free(): so no more than one thread of a group waits to be joined.
static void end(struct ss_worker *worker)
{
    ss_self = NULL;
    fetch_add_relaxed(&ss.stats.workers_retired, 1);
    fetch_sub_relaxed(&ss.stats.workers, 1);
    struct ss_group *group = worker->group;
    struct ss_runnable *owner = group->owner;
    if (!worker->is_joined) {
        if (worker->joinable)
            ss_os.thread_detach(worker->thread);
        recycle(worker);
        if (owner)
            ss_runnable_unref(owner);
        else
            ss_group_unref(group);
        return;
    }
    ss_lock(&ss.lock);
    struct ss_worker *before = group->ended;
    group->ended = worker;
    group->leaving--;
    store_relaxed(&group->ended_word, load_relaxed(&group->ended_word) + 1);
    ss_unlock(&ss.lock);
    ss_os.futex_wake(&group->ended_word, INT32_MAX);
    if (before)
        ss_join_worker(before);
    ss_group_unref(group);
}

// What the rooms above keep in the worker.
static void end_parts(struct ss_worker *worker)
{
    const struct ss_worker_duty *duty = load_acquire(&ss_duties.worker);
    if (duty)
        duty->end(worker);
}

// The destructor of the thread's key: reached with the key set only when a job ended its thread
// (pthread_exit, cancellation). The job counts as run; what hangs on the worker is settled.
static void on_thread_death(void *arg)
{
    struct ss_worker *worker = arg;
    if (worker->generation != ss.generation)
        return;
    struct ss_runnable *served = worker->serves;
    if (served)
        served->ops->abandon(served, worker);
    end_parts(worker);
    enum ss_follow_up todo = SS_DO_NOTHING;
    struct ss_group *group = worker->group;
    ss_lock(&ss.lock);
    worker->serves = NULL;
    struct ss_worker *wake = leave(worker, &todo);
    bool last = ss.workers == NULL;
    ss_unlock(&ss.lock);
    if (served)
        ss_runnable_unref(served);
    if (group->owner)
        ss_group_fill(group); // a dedicated thread is replaced, as far as that is possible here
    ss_follow_up(group, wake, todo);
    if (last)
        ss_wake_balancer();
    end(worker);
}

static void new_death_key(void)
{
    ss_thread_key_new(&death_key, on_thread_death);
}

// Before the first worker.
static void make_death_key(void)
{
    static struct ss_once once = SS_ONCE_INIT;
    ss_once(&once, new_death_key);
}

// A dedicated worker is what it has inherited. Others were created with signals blocked, or by a
// thread with another mask than their group's.
static void take_settings(const struct ss_worker *worker)
{
    const struct ss_group *group = worker->group;
    if (group->owner)
        return;
    if (!worker->inherits)
        ss_os.set_thread_traits(&group->traits);
    ss_os.set_signal_mask(&group->traits.mask);
}

static void *worker_main(void *arg)
{
    struct ss_worker *worker = arg;
    ss_self = worker;
    worker->thread = ss_os.thread_self();
    ss_thread_key_set(&death_key, worker);
    take_settings(worker);
    store_release(&worker->tid, ss_os.thread_id());
    for (struct ss_runnable *runnable; (runnable = next(worker));) {
        count_owned(&worker->progress);
        runnable->ops->run(runnable, worker);
    }
    end_parts(worker);
    ss_thread_key_set(&death_key, NULL);
    end(worker);
    return NULL;
}

// ---- creating workers ----

// Everything that a worker's life leaves behind, as it is when none has begun: of the one before
// it, or of the parent's in a child of fork(), where that life may have ended anywhere. Only the
// balancer's notes, and the count they are held against, go on: it may still look at what it knew,
// and hence what it reads without a lock is set atomically. The parts of higher rooms are as new
// whenever the worker serves nothing, and these rooms see to them after a fork().
static void renew(struct ss_worker *worker, struct ss_group *group)
{
    store_relaxed(&worker->progress, load_relaxed(&worker->progress) + 1);
    store_relaxed(&worker->in_job, false);
    store_relaxed(&worker->park, SS_PARK_AWAKE);
    worker->serves = NULL;
    store_relaxed(&worker->serves_ops, NULL);
    store_relaxed(&worker->counted_in, NULL);
    worker->group = group;
    worker->idle_next = worker->idle_prev = NULL;
    worker->idle = worker->kept = worker->arriving = false;
    worker->exit = worker->exit_if_idle = worker->attends = false;
    store_relaxed(&worker->activity, SS_RUNNING);
    worker->joinable = group->joined;
    worker->inherits = worker->is_joined = false;
    worker->blocked_last = worker->placed = worker->keep_away = false;
    worker->blocking_depth = 0;
    worker->generation = ss.generation;
    worker->homed_at = 0;
    store_relaxed(&worker->tid, 0);
    memset(worker->name, 0, sizeof worker->name);
    const struct ss_worker_duty *duty = load_acquire(&ss_duties.worker);
    if (duty)
        duty->renew(worker);
}

// ss.lock held. Worker structures are never given back to the allocator: a waker may still touch
// `park` of one that has ended, at worst waking its next user for nothing.
static struct ss_worker *new_worker(struct ss_group *group)
{
    struct ss_worker *worker = ss.free_workers;
    if (worker) {
        ss.free_workers = worker->next;
    } else {
        worker = ss_allocate_aligned(SS_CACHE_LINE, sizeof *worker);
        if (!worker)
            return NULL;
        memset(worker, 0, sizeof *worker);
        worker->next_allocated = ss.allocated;
        compiler_fence(); // fork() may copy the list at any moment
        ss.allocated = worker;
    }
    renew(worker, group);
    worker->arriving = true; // so that what is pushed from now on counts on it
    ss_group_count_worker(group, 1);
    if (group->arriving++ == 0)
        group->arriving_since = ss_os.now();
    worker->next = ss.workers;
    worker->prev_link = &ss.workers;
    if (ss.workers)
        ss.workers->prev_link = &worker->next;
    ss.workers = worker;
    ss_group_refresh(group);
    return worker;
}

static void count_created(void)
{
    fetch_add_relaxed(&ss.stats.workers_created, 1);
    unsigned now = fetch_add_relaxed(&ss.stats.workers, 1) + 1;
    unsigned peak = load_relaxed(&ss.stats.workers_peak);
    while (now > peak && !cas_weak_relaxed(&ss.stats.workers_peak, &peak, now))
        ;
}

struct ss_worker *ss_new_worker(struct ss_group *group, bool inherits)
{
    struct ss_worker *worker = new_worker(group);
    if (worker)
        worker->inherits = inherits;
    return worker;
}

int ss_start_worker(struct ss_worker *worker)
{
    struct ss_group *group = worker->group;
    count_created();
    int err = worker->joinable
                  ? ss_os.thread_create_joinable(worker_main, worker, group->stack_size)
                  : ss_os.thread_create(worker_main, worker);
    if (!err)
        return 0;
    fetch_add_relaxed(&ss.stats.create_failures, 1);
    fetch_sub_relaxed(&ss.stats.workers_created, 1);
    fetch_sub_relaxed(&ss.stats.workers, 1);
    struct ss_runnable *owner = group->owner;
    ss_lock(&ss.lock);
    arrive(worker); // it never will
    leave_group(worker);
    unlink_worker(worker);
    worker->next = ss.free_workers;
    ss.free_workers = worker;
    bool missed = ss_group_demand(group) > 0 || !ss_events_covered();
    store_relaxed(&group->ended_word, load_relaxed(&group->ended_word) + 1);
    ss_unlock(&ss.lock);
    ss_os.futex_wake(&group->ended_word, INT32_MAX);
    if (missed)
        ss_wake_balancer(); // for those who counted on it
    if (owner)
        ss_runnable_unref(owner); // never the last: the caller has one
    else
        ss_group_unref(group);
    return err;
}

int ss_group_fill(struct ss_group *group)
{
    for (;;) {
        ss_lock(&ss.lock);
        bool full = group->workers >= group->wanted;
        struct ss_worker *worker = full ? NULL : ss_new_worker(group, true);
        if (worker)
            ss_runnable_ref(group->owner);
        ss_unlock(&ss.lock);
        if (full)
            return 0;
        int err = worker ? ss_start_worker(worker) : -ENOMEM;
        if (err)
            return err;
    }
}

// ---- limits on idle workers ----

void ss_group_dismiss(struct ss_group *group, unsigned kept, bool to_end)
{
    struct ss_worker *list = NULL;
    ss_lock(&ss.lock);
    struct ss_worker *coldest = group->idle;
    while (coldest && coldest->idle_next)
        coldest = coldest->idle_next;
    while (coldest && group->idle_count > kept) {
        struct ss_worker *worker = coldest;
        coldest = worker->idle_prev;
        remove_idle(worker);
        worker->exit = to_end;
        worker->idle_next = list;
        list = worker;
    }
    ss_group_refresh(group);
    ss_unlock(&ss.lock);
    ss_unpark_list(list);
}

// Runs no job. The owner clears counted_in before it stops to count as active in the queue, so that
// a worker is always one of the two. One that was woken for work is neither.
static bool is_jobless(const struct ss_worker *worker, const struct ss_group *group)
{
    return worker->group == group && !worker->arriving && !load_relaxed(&worker->counted_in);
}

unsigned ss_group_jobless(const struct ss_group *group)
{
    unsigned jobless = 0;
    for (struct ss_worker *worker = ss.workers; worker; worker = worker->next)
        jobless += is_jobless(worker, group) && !worker->exit;
    return jobless;
}

void ss_group_retire_idle(struct ss_group *group)
{
    ss_lock(&ss.lock);
    for (struct ss_worker *worker = ss.workers; worker; worker = worker->next) {
        if (worker->group != group || worker->idle)
            continue;
        if (worker->arriving)
            worker->exit_if_idle = true; // for work that may be gone when it arrives
        else if (is_jobless(worker, group))
            worker->exit = true; // on its way to park
    }
    ss_unlock(&ss.lock);
    ss_group_dismiss(group, 0, true);
}

void ss_group_send_away(struct ss_group *group)
{
    ss_lock(&ss.lock);
    for (struct ss_worker *worker = ss.workers; worker; worker = worker->next)
        if (worker->group == group && !worker->idle)
            worker->exit = true;
    ss_unlock(&ss.lock);
    ss_group_dismiss(group, 0, true);
}

bool smolscale_in_worker(void)
{
    return ss_self != NULL;
}

// The calling thread goes on in its job, which the child's queues know nothing of.
static void adopt_after_fork(struct ss_worker *worker)
{
    char name[sizeof worker->name];
    memcpy(name, worker->name, sizeof name);
    bool in_job = load_relaxed(&worker->in_job);
    renew(worker, worker->group->owner ? &ss.shared : worker->group); // a dedicated one is new
    memcpy(worker->name, name, sizeof name);
    store_relaxed(&worker->in_job, in_job);
    store_relaxed(&worker->tid, ss_os.thread_id());
    worker->next = NULL;
    worker->prev_link = &ss.workers;
    ss.workers = worker;
    store_relaxed(&ss.stats.workers, 1);
    ss_group_count_worker(worker->group, 1);
    ss_group_refresh(worker->group);
}

static void after_fork(void)
{
    homing = (struct ss_backoff){0};
    memset(&waker, 0, sizeof waker);
    ss.workers = NULL;
    ss.free_workers = NULL;
    for (struct ss_worker *worker = ss.allocated; worker; worker = worker->next_allocated) {
        if (worker == ss_self)
            continue;
        worker->next = ss.free_workers;
        ss.free_workers = worker; // renewed when it is used again
    }
    if (ss_self)
        adopt_after_fork(ss_self);
}

SS_ROOM(sched_worker, make_death_key, after_fork);
