// SPDX-License-Identifier: ISC
//
// How a worker serves a queue. It arrives; then again and again it takes a batch of jobs, runs it
// and settles its accounts; then it leaves, so that other queues get their turn. Also here: what
// the balancer asks about the worker meanwhile, and what a job may say about itself.

#include "queue/fronts.h"
#include "queue/limits.h"
#include "queue/observe.h"
#include "queue/queue.h"
#include "queue/server.h"
#include "queue/wake_policy.h"

#include <string.h>

// One worker at one queue.
struct visit {
    smolscale_queue *queue;
    struct ss_worker *worker;
    struct ss_server *server;
    uint64_t arrived;     // ns
    unsigned served;      // jobs
    unsigned generation;  // of the executor when it began
    struct ss_pool *pool; // of the batch, if any of it is observed; else NULL
};

// ---- a batch

// Lock held on entry, not on exit. What is left to others is brought to them before the jobs run.
static void take_batch(struct visit *visit)
{
    smolscale_queue *queue = visit->queue;
    struct ss_server *server = visit->server;
    unsigned jobs = ss_batch_take(queue, &server->batch, server->batch_start);
    bool observed = ss_is_observed() || ss_queue_is_timed(queue);
    visit->pool = observed ? ss_observe_take(queue, &server->batch, jobs) : NULL;
    ss_forget_blocked(&visit->worker->doing);
    enum ss_follow_up todo;
    struct ss_worker *wake = ss_queue_call_worker(queue, &todo);
    ss_unlock(queue->runnable.lock);
    // Should the first job block, the balancer must see to the others and to the notices.
    bool holds_more = jobs > 1 || server->notices.count > 0;
    ss_follow_up(queue->group, wake, holds_more && todo == SS_DO_NOTHING ? SS_WAKE_BALANCER : todo);
    if (wake)
        server->batch_start = ss_os.now(); // the wake-up is not the jobs' time
}

// Returns how many jobs the worker has run; others may have recalled the rest. `observed` is a
// constant where it is called. A job may be the last that this process does with the batch: it
// forks, and this is the child.
static inline __attribute__((always_inline)) unsigned run_jobs(const struct visit *visit,
                                                               bool observed)
{
    smolscale_run_fn *run = visit->queue->run;
    void *user_data = visit->queue->user_data;
    struct ss_batch *batch = &visit->server->batch;
    const uint64_t *pushed = observed && batch->times_known ? batch->times : NULL;
    uint32_t end = load_relaxed(&batch->end), i = 0;
    unsigned jobs = 0;
    do {
        count_owned(&visit->worker->progress);
        if (observed)
            ss_note_start(visit->pool, pushed ? pushed[i] : 0, true);
        if (i + 2 < end)
            __builtin_prefetch(batch->item[i + 2]); // items are often the callers' structures
        run(batch->item[i], user_data);
        if (observed)
            ss_note_end(visit->pool);
        jobs++;
        if (end == 1)
            break;
        i = ss_batch_claim(batch);
    } while (i < end);
    return jobs;
}

// The same, in a function of its own: the other loop stays small.
static __attribute__((noinline)) unsigned run_jobs_observed(const struct visit *visit)
{
    return run_jobs(visit, true);
}

// No lock held. As run_jobs().
static unsigned run_batch(const struct visit *visit)
{
    visit->server->batch_progress = load_relaxed(&visit->worker->progress);
    store_relaxed(&visit->worker->in_job, true);
    bool observed = __builtin_expect(visit->pool != NULL, 0);
    unsigned jobs = observed ? run_jobs_observed(visit) : run_jobs(visit, false);
    store_relaxed(&visit->worker->in_job, false);
    return jobs;
}

// Takes the lock, and notes whether others had it (batch.h). Returns the time at which it had the
// lock, `now` if that was at once.
static uint64_t lock_and_note(smolscale_queue *queue, uint64_t now)
{
    bool taken = ss_lock_and_tell(queue->runnable.lock);
    queue->crowding = ss_crowding_next(queue->crowding, taken, SS_CROWDING_MAX);
    return taken ? ss_os.now() : now;
}

// Lock held on exit, not on entry.
static void settle_batch(struct visit *visit, unsigned jobs)
{
    smolscale_queue *queue = visit->queue;
    struct ss_server *server = visit->server;
    uint64_t end = ss_os.now(), now = lock_and_note(queue, end);
    if (load_relaxed(&queue->pending) < SS_BATCH_MAX && ss_fronts_hold_items(queue))
        ss_fronts_gather(queue);
    ss_batch_end(queue, &server->batch);
    ss_queue_learn(queue, end - server->batch_start, jobs);
    fetch_add_relaxed(&visit->worker->counters->jobs, jobs);
    queue->ended += jobs;
    ss_resume(visit->worker);
    ss_blocking_end(&visit->worker->doing); // whatever its job has left open
    server->batch_start = now;              // the wait for the lock is not the jobs' time
    server->batch_progress = load_relaxed(&visit->worker->progress); // what was run is counted
    visit->served += jobs;
    queue->steady |= visit->served >= SS_STEADY_JOBS;
}

// ---- staying or leaving. Lock held.

// Where many workers go from queue to queue they wait for ss.lock, and those that hold a queue's
// lock keep its pushers waiting. So the more crowded ss.lock is, the longer the only worker of a
// queue stays with it.
static bool stays_in_crowd(const struct visit *visit)
{
    uint64_t stay = load_relaxed(&ss.crowding) * SS_CROWDING_STAY_NS;
    return visit->queue->active == 1 && visit->server->batch_start - visit->arrived < stay;
}

static bool must_leave(const struct visit *visit)
{
    const smolscale_queue *queue = visit->queue;
    const struct ss_group *group = queue->group;
    // Where a worker is about to come to those, this one stays with its own.
    bool others_wait = load_relaxed(&group->injected) > (queue->listed ? 1 : 0) &&
                       !ss_expects_worker(group, visit->server->batch_start) &&
                       !stays_in_crowd(visit);
    bool surplus = load_relaxed(&group->surplus) && !ss_blocked_last(&visit->worker->doing) &&
                   visit->server->batch_start - visit->arrived >= SS_SURPLUS_STAY_NS;
    return others_wait || surplus || ss_queue_above_limit(queue);
}

// Will the notices that the worker owes be late after the jobs that it would take now?
static bool notices_are_due(const struct visit *visit)
{
    const smolscale_queue *queue = visit->queue;
    const struct ss_server *server = visit->server;
    if (load_relaxed(&queue->pending) == 0)
        return true;
    uint64_t age = server->batch_start - load_relaxed(&server->notices.since);
    return age + (ss_batch_size(queue) * queue->mean >> SS_MEAN_SHIFT) >= ss_policy(owed_ns);
}

// May drop the lock meanwhile. Notices are given here, where no job is taken: notify() may end the
// thread.
static bool stays(const struct visit *visit)
{
    smolscale_queue *queue = visit->queue;
    struct ss_server *server = visit->server;
    bool leaves = must_leave(visit);
    if (server->notices.count > 0 && (leaves || notices_are_due(visit))) {
        ss_unlock(queue->runnable.lock);
        ss_notices_give(queue, &server->notices);
        ss_lock(queue->runnable.lock);
        server->batch_start = ss_os.now();
        leaves = must_leave(visit);
    }
    if (leaves)
        return false;
    ss_queue_await_jobs(queue, visit->worker);
    return load_relaxed(&queue->pending) > 0 && !ss_queue_above_limit(queue);
}

// ---- a visit

// Lock held. False: there is nothing to do.
static bool arrive(struct visit *visit)
{
    smolscale_queue *queue = visit->queue;
    queue->listed = queue->awaited = false;
    if (!ss_queue_wants_worker(queue))
        return false;
    ss_queue_count_active(queue, 1);
    store_relaxed(&visit->worker->counted_in, &queue->runnable);
    visit->arrived = visit->server->batch_start = ss_os.now();
    queue->steady = visit->arrived - queue->dry_since < ss_policy(steady_gap_ns);
    return true;
}

// Lock held on entry, not on exit.
static void leave(const struct visit *visit)
{
    smolscale_queue *queue = visit->queue;
    queue->dry_since = visit->server->batch_start;
    if (queue->wakes_saved)
        fetch_add_relaxed(&visit->worker->counters->wakes_saved, queue->wakes_saved);
    queue->wakes_saved = 0;
    store_relaxed(&visit->worker->counted_in, NULL);
    ss_queue_count_active(queue, -1);
    ss_queue_unlock_and_follow_up(queue);
}

static void serve(struct ss_runnable *runnable, struct ss_worker *worker)
{
    struct visit visit = {.queue = ss_queue_of(runnable),
                          .worker = worker,
                          .server = ss_server_of(worker),
                          .generation = ss.generation};
    ss_name_worker(worker, visit.queue->name);
    ss_lock(runnable->lock);
    if (!arrive(&visit)) {
        ss_unlock(runnable->lock);
        return;
    }
    do {
        take_batch(&visit);
        unsigned jobs = run_batch(&visit);
        if (visit.generation != ss.generation) {
            ss_leave_job(worker);
            return; // a job forked, and this is the child, where the queue was reset
        }
        settle_batch(&visit, jobs);
    } while (stays(&visit));
    leave(&visit);
}

// ---- what the scheduler asks meanwhile; see runnable.h

static unsigned holds(struct ss_worker *worker, uint64_t now)
{
    const struct ss_server *server = ss_server_of(worker);
    unsigned held = ss_batch_unclaimed(&server->batch) > 0 ? SS_HOLDS_JOBS : 0;
    if (ss_notices_owed(&server->notices)) { // looked at after the claims: see notices.h
        uint64_t since = load_relaxed(&server->notices.since);
        bool late = since < now && now - since >= ss_policy(owed_ns);
        held |= late ? SS_HOLDS_NOTICES | SS_HOLDS_LATE_NOTICES : SS_HOLDS_NOTICES;
    }
    return held;
}

static bool reclaim(struct ss_runnable *runnable, struct ss_worker *worker, unsigned what,
                    struct ss_taken_notices *notices)
{
    smolscale_queue *queue = ss_queue_of(runnable);
    struct ss_server *server = ss_server_of(worker);
    if (what & SS_HOLDS_NOTICES)
        ss_notices_take(queue, &server->notices, notices);
    return (what & SS_HOLDS_JOBS) && ss_batch_recall(queue, &server->batch);
}

static void abandon(struct ss_runnable *runnable, struct ss_worker *worker)
{
    if (load_relaxed(&worker->counted_in) != runnable)
        return; // not in a job of it
    smolscale_queue *queue = ss_queue_of(runnable);
    struct ss_server *server = ss_server_of(worker);
    ss_notices_give(queue, &server->notices);
    ss_lock(runnable->lock);
    if (queue->napper == worker)
        queue->napper = NULL; // a notice that it gave before its nap has ended it
    uint64_t jobs = load_relaxed(&worker->progress) - server->batch_progress;
    fetch_add_relaxed(&worker->counters->jobs, jobs);
    queue->ended += jobs;
    ss_batch_recall(queue, &server->batch);
    ss_batch_end(queue, &server->batch);
    ss_resume(worker);
    store_relaxed(&worker->counted_in, NULL);
    ss_queue_count_active(queue, -1);
    ss_queue_unlock_and_follow_up(queue);
}

#define OPS                                                                                        \
    .run = serve, .demand = ss_queue_demand, .holds = holds, .reclaim = reclaim,                   \
    .inject = ss_queue_inject_family, .count_blocked = ss_queue_count_blocked, .abandon = abandon, \
    .release = ss_queue_release, .times_jobs = true

const struct ss_runnable_ops ss_queue_ops = {OPS};
const struct ss_runnable_ops ss_queue_ops_with_notices = {OPS, .gives_notices = true};

// ---- what a job may say about itself

smolscale_queue *smolscale_current_queue(void)
{
    return ss_queue_of_job();
}

// Marks the worker as blocked. Returns a worker to wake for other queues of the group. Lock held.
static struct ss_worker *give_up_cpu(struct ss_worker *worker, enum ss_follow_up *todo)
{
    *todo = SS_DO_NOTHING;
    ss_lock(&ss.lock);
    ss_set_activity(worker, SS_BLOCKED);
    struct ss_group *group = worker->group;
    struct ss_worker *wake = ss_group_has_demand(group) ? ss_recruit(group, todo) : NULL;
    ss_unlock(&ss.lock);
    return wake;
}

void smolscale_blocking_begin(void)
{
    struct ss_worker *worker = ss_self;
    if (!worker || !ss_blocking_open(&worker->doing))
        return;
    smolscale_queue *queue = ss_queue_of_job();
    if (!queue)
        return;
    struct ss_server *server = ss_server_of(worker);
    if (server->notices.count > 0)
        ss_notices_give(queue, &server->notices);
    enum ss_follow_up todo, own_todo;
    ss_lock(queue->runnable.lock);
    ss_batch_recall(queue, &server->batch);
    struct ss_worker *wake = give_up_cpu(worker, &todo);
    struct ss_worker *own_wake = ss_queue_offer(queue, &own_todo);
    ss_unlock(queue->runnable.lock);
    ss_follow_up(queue->group, wake, todo);
    ss_follow_up(queue->group, own_wake, own_todo);
}

void smolscale_blocking_end(void)
{
    struct ss_worker *worker = ss_self;
    if (!worker || !ss_blocking_close(&worker->doing))
        return;
    smolscale_queue *queue = ss_queue_of_job();
    if (!queue)
        return;
    ss_lock(queue->runnable.lock);
    ss_resume(worker);
    ss_unlock(queue->runnable.lock);
}
