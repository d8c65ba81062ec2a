// SPDX-License-Identifier: ISC
//
// Work queues: pushing, taking back, limits, and how a worker serves one.
//
// A queue that may start another job is *listed* in its group's injection queue, where workers find
// it. The invariant, whenever the queue's lock is free:
//
//   (listed)   an item is queued and the limits allow it to start  =>  the queue is in the
//   injection queue, or
//              a worker that popped it is about to lock it;
//   (covered)  such a queue has a worker on its way, or has workers that serve it or others and
//              the balancer is awake to see whether they come.
//
// A listing may be stale (nothing queued): it costs a worker one look. It is left standing because
// taking it out would cost every short burst two turns at the executor's lock.
//
// Batches. A worker takes up to SS_BATCH_MAX jobs, or SS_BATCH_NS worth, at once. The first is
// started; the others are *claimed* one by one: fetch_add on batch_next by the owner. Whoever holds
// the queue's lock may recall the rest: an exchange of batch_next for BATCH_CLOSED. Both are
// read-modify-writes of one word, so each index is either claimed by the owner or recalled, never
// both and never neither. batch[] and batch_end are written by the owner under the queue's lock
// only. The list of items keeps places for what may be recalled, from the take to the recall or the
// end of the batch, so that a recall needs no memory. An ordered queue has no batches, so a later
// item that goes first does; and so that no worker ever calls its compare function.
//
// Naps. When jobs are tiny and keep coming, a worker that runs (nearly) dry sleeps for a while as
// it keeps its place: until then pushers have nobody to wake. A nap pays when two jobs or more
// waited at its end and they had kept coming: where all came at its beginning, their pushers wait
// for them, and the nap held everybody up. Each that does not pay doubles the number of occasions
// passed over. Pushers that wait for their jobs, many at a time, are better served by a worker that
// *lingers*: it yields for some µs before it leaves, so that one that shares its CPU can push all
// it has (bench/libuv, "work-64"). What holds for naps holds for that. A queue that gives notices
// (below) has such pushers: there naps are shorter and for the tiniest jobs only, and workers
// linger for longer, the more so the longer the pushers' round takes, hence their jobs ("stat-64").
//
// Notices. Who waits for results of tiny jobs is told once for many (smolscale_notify_soon): a
// wake-up costs as much as hundreds of them, and the one who is woken on the worker's CPU would
// take that CPU after each. A worker keeps whom it owes a notice in owed[], and gives them out when
// it has nothing more at hand, or before jobs after which they would be older than SS_OWED_NS, by
// what jobs of the queue take. Whoever takes an entry out (exchange for NULL) makes the call: the
// owner, or, under the queue's lock, the balancer, when the worker stands still or an entry is
// older than that: a job behind it takes longer than was to be expected. The balancer looks every
// NOTICE_TICK for that (balancer.c), not at once, because its waking up costs as much as a notice.
// So that a notice never waits for a job that blocks, the balancer is awake while a job runs and
// one is owed: the worker sees to that before the job (SS_WATCH), and the balancer does not park
// while jobs are unclaimed or notices owed. It looks at these in this order: the entry is written
// before the next job is claimed (release), hence seen by who sees the claim (acquire). Told last,
// before the worker gives up its place: what comes of it may arrive meanwhile (bench/libuv,
// "work-64").

#include "os/memory.h"
#include "sched/executor.h"

#include <errno.h>
#include <string.h>

#define BATCH_CLOSED (UINT32_MAX / 2) // above any index, with room for late claims

#define NAP_NS             50000u
#define NAP_NS_NOTICED     10000u // where who pushes waits for notices
#define TINY_JOB_NS        2000u  // naps and lingering are for jobs below this,
#define NAP_JOB_NS_NOTICED 400u   // and naps there for jobs below this
#define NAP_LEFT_NS \
    2000u // a worker with less than this to do has as good as run dry: else it would keep
          // pace with its pushers, taking a few jobs at a time for as much CPU as they use
#define NAP_GAP_NS        50000u // they keep coming when the queue was empty for less than this before,
#define NAP_MIN_JOBS      64u // or when a worker has served as many without leaving it
#define TRIAL_PENALTY_MAX 1024u
#define LINGER_NS         5000u
#define LINGER_NS_NOTICED 10000u // and LINGER_JOBS jobs more
#define LINGER_JOBS       10u
#define SURPLUS_STAY_NS   SS_NS_PER_MS

#define MEAN_SHIFT 8 // queue->mean is in ns << MEAN_SHIFT

// ---- accounts, all under the queue's lock ----

static smolscale_queue *family_head(smolscale_queue *queue)
{
    return queue->parent ? queue->parent : queue;
}

// Jobs that count against max_active.
static unsigned counted(const smolscale_queue *queue)
{
    return queue->flags & SMOLSCALE_QUEUE_ELASTIC ? queue->active - queue->blocked : queue->active;
}

static bool below_limit(const smolscale_queue *queue)
{
    return counted(queue) < queue->max_active;
}

bool ss_queue_may_start(const smolscale_queue *queue)
{
    return below_limit(queue) && (!queue->parent || below_limit(queue->parent));
}

static bool above_limit(const smolscale_queue *queue)
{
    return counted(queue) > queue->max_active || (queue->parent && above_limit(queue->parent));
}

// After a change of what counts, or of the limit.
static void publish_room(smolscale_queue *queue)
{
    store_relaxed(&queue->room, below_limit(queue) ? queue->max_active - counted(queue) : 0);
}

static void publish_pending(smolscale_queue *queue)
{
    store_relaxed(&queue->pending, ss_items_count(&queue->items));
}

static bool nothing_left(const smolscale_queue *queue)
{
    return load_relaxed(&queue->pending) == 0 && queue->active == 0;
}

static uint64_t expected_ns(const smolscale_queue *queue)
{
    return load_relaxed(&queue->pending) * queue->mean >> MEAN_SHIFT;
}

static void learn(smolscale_queue *queue, uint64_t elapsed, unsigned jobs)
{
    uint64_t sample = (elapsed << MEAN_SHIFT) / jobs + 1;
    queue->mean = queue->mean ? queue->mean - queue->mean / 4 + sample / 4 : sample;
}

// ---- batches ----

unsigned ss_unclaimed(struct ss_worker *worker)
{
    // Acquires: who sees that a job is claimed also sees the notices owed by those before it.
    uint32_t next = load_acquire(&worker->batch_next), end = load_relaxed(&worker->batch_end);
    return next < end ? end - next : 0;
}

static void add_batcher(smolscale_queue *queue, struct ss_worker *worker)
{
    worker->batcher_next = NULL;
    worker->batcher_prev = queue->batchers_tail;
    *(queue->batchers_tail ? &queue->batchers_tail->batcher_next : &queue->batchers) = worker;
    queue->batchers_tail = worker;
}

static void remove_batcher(smolscale_queue *queue, struct ss_worker *worker)
{
    *(worker->batcher_prev ? &worker->batcher_prev->batcher_next : &queue->batchers) =
        worker->batcher_next;
    *(worker->batcher_next ? &worker->batcher_next->batcher_prev : &queue->batchers_tail) =
        worker->batcher_prev;
}

// The first to close a batch, or its owner at its end, gives up the places that were kept for it.
static void give_up_places(smolscale_queue *queue, uint32_t end, uint32_t next)
{
    if (end > 1 && next < BATCH_CLOSED)
        ss_items_give_up_places(&queue->items, end - 1);
}

bool ss_recall_batch(smolscale_queue *queue, struct ss_worker *worker)
{
    uint32_t end = load_relaxed(&worker->batch_end);
    uint32_t next = exchange_acq_rel(&worker->batch_next, BATCH_CLOSED);
    give_up_places(queue, end, next);
    if (next >= end)
        return false;
    ss_items_put_back(&queue->items, &worker->batch[next], end - next);
    publish_pending(queue);
    return true;
}

// The youngest batch first, so that the front of the queue ends up in the order of the push.
static bool recall_all(smolscale_queue *queue)
{
    bool any = false;
    for (struct ss_worker *worker = queue->batchers_tail; worker; worker = worker->batcher_prev)
        any |= ss_recall_batch(queue, worker);
    return any;
}

static unsigned batch_size(const smolscale_queue *queue)
{
    if (queue->mean == 0 || queue->items.compare)
        return 1;
    uint64_t by_time = ((uint64_t)SS_BATCH_NS << MEAN_SHIFT) / queue->mean;
    // Leave the others their part of what there is, if there is so much that others are woken for
    // it.
    unsigned cpus = ss_cpus(), sharers = queue->max_active < cpus ? queue->max_active : cpus;
    if (queue->active < sharers && expected_ns(queue) <= (uint64_t)SS_WAKE_COST_NS * queue->active)
        sharers = queue->active;
    uint64_t by_share = load_relaxed(&queue->pending) / (sharers ? sharers : 1);
    uint64_t size = by_time < by_share ? by_time : by_share;
    return size < 1 ? 1 : size > SS_BATCH_MAX ? SS_BATCH_MAX : (unsigned)size;
}

static unsigned take(smolscale_queue *queue, struct ss_worker *worker)
{
    unsigned n = ss_items_pop(&queue->items, worker->batch, batch_size(queue));
    publish_pending(queue);
    store_relaxed(&queue->runnable.taken, load_relaxed(&queue->runnable.taken) + n);
    queue->taken_at = worker->batch_start;
    queue->pushes_since_take = 0;
    store_relaxed(&worker->batch_end, n);
    store_relaxed(&worker->batch_next, 1); // job 0 is the owner's
    if (n > 1) {
        ss_items_keep_places(&queue->items, n - 1);
        add_batcher(queue, worker);
    }
    return n;
}

// ---- notices ----

bool smolscale_notify_soon(void *whom)
{
    struct ss_worker *worker = ss_self;
    smolscale_queue *queue = worker ? load_relaxed(&worker->job_queue) : NULL;
    if (!queue || !queue->notify || worker->owed_count == SS_OWED_MAX)
        return false;
    if (worker->owed_count == 0)
        store_relaxed(&worker->owed_since, worker->batch_start);
    store_release(&worker->owed[worker->owed_count++], whom);
    return true;
}

bool ss_owes(struct ss_worker *worker)
{
    for (unsigned i = 0; i < SS_OWED_MAX; i++)
        if (load_relaxed(&worker->owed[i]))
            return true;
    return false;
}

unsigned ss_take_notices(struct ss_worker *worker, void *whom[SS_OWED_MAX])
{
    unsigned count = 0;
    for (unsigned i = 0; i < SS_OWED_MAX; i++)
        if (load_relaxed(&worker->owed[i]) &&
            (whom[count] = exchange_acq_rel(&worker->owed[i], NULL)))
            count++;
    return count;
}

// The worker itself, without a lock.
static void give_notice(smolscale_queue *queue, struct ss_worker *worker)
{
    void *whom[SS_OWED_MAX];
    unsigned count = ss_take_notices(worker, whom);
    worker->owed_count = 0;
    for (unsigned i = 0; i < count; i++)
        queue->notify(whom[i]);
}

// Will the notices that it owes be late after the `jobs` that it has taken? The queue's lock held.
static bool notice_is_due(const smolscale_queue *queue, const struct ss_worker *worker,
                          unsigned jobs)
{
    uint64_t age = worker->batch_start - load_relaxed(&worker->owed_since);
    return age + (jobs * queue->mean >> MEAN_SHIFT) >= SS_OWED_NS;
}

// ---- calling workers ----

static bool wants_worker(const smolscale_queue *queue)
{
    return load_relaxed(&queue->pending) > 0 && ss_queue_may_start(queue);
}

// ss.lock held.
static void list(smolscale_queue *queue)
{
    if (queue->listed)
        return;
    queue->listed = true;
    fetch_add_relaxed(&queue->refs, 1);
    ss_inject(queue->group, &queue->runnable);
}

// Do those who serve the queue lag behind what its jobs should take? They may be waiting for a CPU,
// perhaps the one the pusher runs on. The clock is looked at when the pushes since the last take
// come to 1, 2, 4, ... 64 and then every 64th time: a flood pays little, a trickle is looked at
// closely.
static bool lags(smolscale_queue *queue)
{
    unsigned pushes = ++queue->pushes_since_take;
    if ((pushes & (pushes - 1)) != 0 && pushes % 64 != 0)
        return false;
    queue->pushed_at = ss_os.now();
    return !queue->napper &&
           queue->pushed_at - queue->taken_at > SS_WAKE_COST_NS + expected_ns(queue);
}

static bool jobs_below(const smolscale_queue *queue, unsigned ns)
{
    return queue->mean <= (uint64_t)ns << MEAN_SHIFT;
}

// Tiny jobs that keep coming: workers nap or linger before they park.
static bool has_tiny_jobs(const smolscale_queue *queue)
{
    return queue->steady && jobs_below(queue, TINY_JOB_NS);
}

static unsigned nap_time(const smolscale_queue *queue)
{
    return queue->notify ? NAP_NS_NOTICED : NAP_NS;
}

static uint64_t linger_time(const smolscale_queue *queue)
{
    return queue->notify ? LINGER_NS_NOTICED + (LINGER_JOBS * queue->mean >> MEAN_SHIFT)
                         : LINGER_NS;
}

static bool needs_worker(smolscale_queue *queue)
{
    if (queue->active == 0 || queue->mean == 0)
        return true;
    // Where workers nap, a nap's harvest is no reason to wake another.
    uint64_t patience = (uint64_t)SS_WAKE_COST_NS * queue->active;
    if (has_tiny_jobs(queue))
        patience += 2 * nap_time(queue);
    return lags(queue) || expected_ns(queue) > patience;
}

// Lists the queue if it may start a job, and decides whether somebody is woken for it: when nobody
// serves it, when its jobs are unknown, when what is queued would keep those who serve it for
// longer than a wake-up costs, or when they lag.
static struct ss_worker *call_worker(smolscale_queue *queue, enum ss_cover *cover)
{
    if (!wants_worker(queue)) {
        *cover = SS_COVERED; // by whoever leaves the queue: it offers it again
        if ((queue->flags & SMOLSCALE_QUEUE_ELASTIC) && load_relaxed(&queue->pending) > 0)
            *cover = SS_WATCH; // those who serve it may be asleep, which only the balancer sees
        return NULL;
    }
    bool needed = needs_worker(queue);
    store_relaxed(&queue->attended, !needed && queue->active > queue->blocked);
    queue->wakes_saved += !needed;
    if (queue->napper && !needed && queue->listed) {
        *cover = SS_COVERED;
        return NULL;
    }
    // The hint may be wrong for a moment; then the balancer, who is awake, makes up for it.
    if (queue->listed &&
        (!needed || (queue->active && !load_relaxed(&queue->group->can_recruit)))) {
        *cover = SS_WATCH;
        return NULL;
    }
    struct ss_worker *wake = NULL;
    ss_lock(&ss.lock);
    list(queue);
    if (needed)
        wake = ss_recruit(queue->group, cover);
    else
        *cover = queue->napper ? SS_COVERED : SS_WATCH;
    ss_unlock(&ss.lock);
    return wake;
}

void ss_queue_list(smolscale_queue *queue)
{
    smolscale_queue *head = family_head(queue);
    ss_lock(&ss.lock);
    for (smolscale_queue *member = head; member;
         member = member == head ? head->children : member->sibling)
        if (wants_worker(member))
            list(member);
    ss_unlock(&ss.lock);
}

struct ss_worker *ss_queue_offer(smolscale_queue *queue, enum ss_cover *cover)
{
    *cover = SS_COVERED;
    smolscale_queue *head = family_head(queue);
    struct ss_worker *wake = NULL;
    for (smolscale_queue *member = head; member;
         member = member == head ? head->children : member->sibling) {
        if (load_relaxed(&member->pending) == 0)
            continue;
        enum ss_cover member_cover;
        struct ss_worker *other = call_worker(member, &member_cover);
        if (other && wake)
            ss_unpark(wake); // it looked late to ss_recruit(), which gave another
        wake = other ? other : wake;
        *cover = member_cover > *cover ? member_cover : *cover;
    }
    return wake;
}

static unsigned hunger(struct ss_runnable *runnable)
{
    smolscale_queue *queue = runnable->queue;
    size_t wanted = load_relaxed(&queue->pending);
    unsigned room = load_relaxed(&queue->room);
    if (queue->parent && load_relaxed(&queue->parent->room) < room)
        room = load_relaxed(&queue->parent->room);
    return wanted < room ? (unsigned)wanted : room;
}

// ---- becoming idle ----

enum outcome { GOES_ON, WAKES_WAITERS, FINISHED };

// To be called, with the lock held, by whoever may have made the queue idle; act_on() follows when
// the lock is dropped.
static enum outcome note_idle(smolscale_queue *queue)
{
    if (!nothing_left(queue))
        return GOES_ON;
    if (queue->waiters) {
        store_relaxed(&queue->idle_word, load_relaxed(&queue->idle_word) + 1);
        return WAKES_WAITERS;
    }
    if (!queue->closed || queue->done)
        return GOES_ON;
    queue->done = true;
    return FINISHED;
}

static void unlink_queue(smolscale_queue *queue)
{
    smolscale_queue *parent = queue->parent;
    if (parent) {
        ss_lock(queue->lock);
        smolscale_queue **link = &parent->children;
        while (*link != queue)
            link = &(*link)->sibling;
        *link = queue->sibling;
        ss_unlock(queue->lock);
    }
    ss_lock(&ss.lock);
    *queue->prev_link = queue->next;
    if (queue->next)
        queue->next->prev_link = queue->prev_link;
    struct ss_worker *leaving = NULL;
    bool listed = false;
    if (queue->group == &queue->own_group) {
        queue->own_group.wanted = 0;
        queue->own_group.dissolved = true;
        listed = queue->own_group.head != NULL; // a stale listing that nobody will look at any more
        queue->own_group.head = NULL;
        leaving = ss_group_shrink(&queue->own_group);
    }
    if (queue->flags & SMOLSCALE_QUEUE_ELASTIC)
        ss.elastic_queues--;
    ss_unlock(&ss.lock);
    ss_unpark_list(leaving);
    if (listed)
        ss_queue_unref(queue); // the injection queue's reference; the owner's is still held
}

static void finish(smolscale_queue *queue)
{
    unlink_queue(queue);
    if (queue->closed_fn)
        queue->closed_fn(queue->closed_data);
    ss_queue_unref(queue);
}

void ss_queue_unref(smolscale_queue *queue)
{
    if (fetch_sub_acq_rel(&queue->refs, 1) > 1)
        return;
    ss_items_finish(&queue->items);
    smolscale_queue *parent = queue->parent;
    if (!queue->group->owner)
        ss_group_unref(queue->group);
    ss_deallocate(queue);
    if (parent)
        ss_queue_unref(parent);
}

static void act_on(smolscale_queue *queue, enum outcome outcome)
{
    if (outcome ==
        WAKES_WAITERS) // a worker's reference, or the caller's business, keeps the queue alive
        ss_os.futex_wake(&queue->idle_word, INT32_MAX);
    else if (outcome == FINISHED)
        finish(queue);
}

// Drops the lock after a change that may have made the queue idle or able to start jobs. Returns as
// ss_follow_up() does.
static int unlock_and_follow_up(smolscale_queue *queue)
{
    enum ss_cover cover;
    struct ss_worker *wake = ss_queue_offer(queue, &cover);
    enum outcome outcome = note_idle(queue);
    struct ss_group *group = queue->group;
    ss_unlock(queue->lock);
    int err = ss_follow_up(group, wake, cover);
    act_on(queue, outcome);
    return err;
}

// ---- serving, on a worker ----

static void set_thread_name(struct ss_worker *worker, const smolscale_queue *queue)
{
    if (queue->name[0] == '\0' || memcmp(worker->name, queue->name, sizeof worker->name) == 0)
        return;
    memcpy(worker->name, queue->name, sizeof worker->name);
    ss_os.name_thread(worker->name);
}

static unsigned run_batch(smolscale_queue *queue, struct ss_worker *worker)
{
    smolscale_run_fn *run = queue->run;
    void *user_data = queue->user_data;
    uint32_t end = load_relaxed(&worker->batch_end), i = 0;
    unsigned jobs = 0;
    do {
        count_owned(&worker->progress);
        if (i + 2 < end)
            __builtin_prefetch(worker->batch[i + 2]); // items are often the callers' structures
        run(worker->batch[i], user_data);
        jobs++;
        if (end == 1)
            break;
        i = fetch_add_release(&worker->batch_next, 1);
    } while (i < end);
    return jobs;
}

void ss_resume(struct ss_worker *worker)
{
    if (__builtin_expect(load_relaxed(&worker->standing) == SS_RUNNING, 1))
        return;
    worker->blocked_last = load_relaxed(&worker->standing) == SS_BLOCKED;
    ss_lock(&ss.lock);
    ss_set_standing(worker, SS_RUNNING);
    ss_unlock(&ss.lock);
}

// Ends the nap of the queue's napper, if it has one: the caller does not want to wait for it.
static void end_nap(smolscale_queue *queue)
{
    struct ss_worker *napper = queue->napper;
    if (!napper)
        return;
    store_release(&napper->park, SS_PARK_AWAKE);
    ss_os.futex_wake(&napper->park, 1);
}

// What is tried in the hope that it pays, and passed over for longer and longer when it does not.
static bool worth_trying(struct ss_trial *trial)
{
    if (trial->skip == 0)
        return true;
    trial->skip--;
    return false;
}

static void note_trial(struct ss_trial *trial, bool paid)
{
    if (paid)
        trial->penalty = 0;
    else if (trial->penalty < TRIAL_PENALTY_MAX)
        trial->penalty = trial->penalty * 2 + 1;
    trial->skip = trial->penalty;
}

static bool nap_pays(smolscale_queue *queue)
{
    if (queue->napper || queue->closed || queue->waiters || above_limit(queue))
        return false;
    if (!has_tiny_jobs(queue) || (queue->notify && !jobs_below(queue, NAP_JOB_NS_NOTICED)))
        return false;
    return worth_trying(&queue->nap);
}

// Sleeps with the place kept, and judges by what it finds afterwards. Drops the lock meanwhile.
static void nap(smolscale_queue *queue, struct ss_worker *worker)
{
    queue->napper = worker;
    queue->pushes_since_take = 0;
    queue->pushed_at = 0;
    store_relaxed(&worker->park, SS_PARK_NAPPING);
    ss_unlock(queue->lock);
    if (worker->owed_count > 0)
        give_notice(queue, worker);
    fetch_add_relaxed(&ss.stats.naps, 1);
    ss_os.nap(&worker->park, SS_PARK_NAPPING, nap_time(queue));
    ss_lock(queue->lock);
    store_relaxed(&worker->park, SS_PARK_AWAKE);
    queue->napper = NULL;
    worker->batch_start = ss_os.now();
    bool kept_coming =
        worker->batch_start - queue->pushed_at < nap_time(queue) * 3 / 4; // at 1, 2, 4, ... pushes
    note_trial(&queue->nap, load_relaxed(&queue->pending) >= 2 && kept_coming);
}

// Gives its CPU to a pusher that may stand behind it, and looks again, for some µs. Drops the
// lock meanwhile.
static void linger(smolscale_queue *queue, struct ss_worker *worker)
{
    uint64_t end = worker->batch_start + linger_time(queue);
    ss_unlock(queue->lock);
    do
        ss_os.yield();
    while (load_relaxed(&queue->pending) == 0 && ss_os.now() < end);
    ss_lock(queue->lock);
    worker->batch_start = ss_os.now();
    note_trial(&queue->linger, load_relaxed(&queue->pending) > 0);
}

// Each queue gets its turn. One worker too many leaves, but not before it has done something for
// the queue: it may have come because nobody else did (balancer.c, "stalls").
static bool must_leave(const smolscale_queue *queue, const struct ss_worker *worker,
                       uint64_t arrived)
{
    struct ss_group *group = queue->group;
    bool others_wait = load_relaxed(&group->injected) > (queue->listed ? 1 : 0);
    bool surplus = load_relaxed(&group->surplus) && !worker->blocked_last &&
                   worker->batch_start - arrived >= SURPLUS_STAY_NS;
    return others_wait || surplus || above_limit(queue);
}

// After a batch, with the lock held: does the worker stay with the queue?
static bool stays(smolscale_queue *queue, struct ss_worker *worker, uint64_t arrived)
{
    bool leaves = must_leave(queue, worker, arrived);
    if (worker->owed_count > 0 && (leaves || load_relaxed(&queue->pending) == 0)) {
        ss_unlock(queue->lock);
        give_notice(queue, worker);
        ss_lock(queue->lock);
        worker->batch_start = ss_os.now();
        leaves = must_leave(queue, worker, arrived);
    }
    if (leaves)
        return false;
    if (expected_ns(queue) < NAP_LEFT_NS && nap_pays(queue))
        nap(queue, worker);
    else if (load_relaxed(&queue->pending) == 0 && has_tiny_jobs(queue) &&
             worth_trying(&queue->linger))
        linger(queue, worker);
    return load_relaxed(&queue->pending) > 0 && !above_limit(queue);
}

static void count_active(smolscale_queue *queue, int change)
{
    for (; queue; queue = queue->parent) {
        queue->active += (unsigned)change;
        store_relaxed(&queue->attended, false); // until somebody counts again
        publish_room(queue);
    }
}

void ss_queue_count_blocked(smolscale_queue *queue, int change)
{
    for (; queue; queue = queue->parent) {
        queue->blocked += (unsigned)change;
        store_relaxed(&queue->attended, false);
        publish_room(queue);
    }
}

static void end_batch(smolscale_queue *queue, struct ss_worker *worker)
{
    uint32_t end = load_relaxed(&worker->batch_end);
    give_up_places(queue, end, load_relaxed(&worker->batch_next));
    if (end > 1)
        remove_batcher(queue, worker);
    store_relaxed(&worker->batch_end, 0);
}

static void serve(struct ss_runnable *runnable, struct ss_worker *worker)
{
    smolscale_queue *queue = runnable->queue;
    unsigned generation = ss.generation, served = 0;
    set_thread_name(worker, queue);
    ss_lock(queue->lock);
    queue->listed = false;
    if (load_relaxed(&queue->pending) == 0 || !ss_queue_may_start(queue)) {
        ss_unlock(queue->lock);
        return;
    }
    count_active(queue, 1);
    store_relaxed(&worker->job_queue, queue);
    worker->batch_start = ss_os.now();
    uint64_t arrived = worker->batch_start;
    queue->steady = arrived - queue->dry_since < NAP_GAP_NS;
    do {
        unsigned n = take(queue, worker);
        worker->blocked_last = false;
        enum ss_cover cover;
        struct ss_worker *wake = call_worker(queue, &cover);
        bool give = worker->owed_count > 0 && notice_is_due(queue, worker, n);
        ss_unlock(queue->lock);
        if (give)
            give_notice(queue, worker);
        bool leaves_others = n > 1 || worker->owed_count > 0; // should its job block
        ss_follow_up(queue->group, wake, leaves_others && cover == SS_COVERED ? SS_WATCH : cover);
        worker->batch_progress = load_relaxed(&worker->progress);
        store_relaxed(&worker->in_job, true);
        if (wake)
            worker->batch_start = ss_os.now(); // the wake-up is not the jobs' time
        unsigned jobs = run_batch(queue, worker);
        store_relaxed(&worker->in_job, false);
        if (generation != ss.generation) {
            ss_worker_out_of_job(worker);
            return; // forked in the job, and this is the child, where the queue was reset
        }
        uint64_t end = ss_os.now();
        ss_lock(queue->lock);
        end_batch(queue, worker);
        learn(queue, end - worker->batch_start, jobs);
        fetch_add_relaxed(&ss.stats.jobs, jobs);
        ss_resume(worker);
        worker->blocking_depth = 0; // whatever its job has left open
        worker->batch_start = end;
        served += jobs;
        queue->steady |= served >= NAP_MIN_JOBS;
    } while (stays(queue, worker, arrived));
    queue->dry_since = worker->batch_start;
    if (queue->wakes_saved)
        fetch_add_relaxed(&ss.stats.wakes_saved, queue->wakes_saved);
    queue->wakes_saved = 0;
    store_relaxed(&worker->job_queue, NULL);
    count_active(queue, -1);
    unlock_and_follow_up(queue);
}

void ss_queue_abandon(struct ss_worker *worker)
{
    smolscale_queue *queue = load_relaxed(&worker->job_queue);
    if (!queue)
        return;
    give_notice(queue, worker);
    ss_lock(queue->lock);
    fetch_add_relaxed(&ss.stats.jobs, load_relaxed(&worker->progress) - worker->batch_progress);
    ss_recall_batch(queue, worker);
    end_batch(queue, worker);
    ss_resume(worker);
    store_relaxed(&worker->job_queue, NULL);
    count_active(queue, -1);
    unlock_and_follow_up(queue);
}

// ---- the public functions ----

static bool valid(const struct smolscale_queue_attr *attr)
{
    if (!attr || attr->size != sizeof *attr || !attr->run)
        return false;
    if (attr->flags & ~(SMOLSCALE_QUEUE_DEDICATED | SMOLSCALE_QUEUE_ELASTIC))
        return false;
    if (attr->flags & SMOLSCALE_QUEUE_DEDICATED)
        return attr->max_active != SMOLSCALE_UNLIMITED && !attr->parent && !attr->group;
    if (!attr->parent)
        return true;
    const struct ss_group *group = attr->group ? attr->group : attr->parent->group;
    return !attr->parent->parent && !group->owner && attr->parent->group == group;
}

static void register_queue(smolscale_queue *queue)
{
    ss_lock(&ss.lock);
    queue->next = ss.queues;
    queue->prev_link = &ss.queues;
    if (ss.queues)
        ss.queues->prev_link = &queue->next;
    ss.queues = queue;
    if (queue->flags & SMOLSCALE_QUEUE_ELASTIC)
        ss.elastic_queues++;
    if (queue->flags & SMOLSCALE_QUEUE_DEDICATED) {
        ss_group_init(&queue->own_group, queue);
        queue->own_group.wanted = queue->max_active;
    } else {
        ss_group_ref(queue->group);
    }
    ss_unlock(&ss.lock);
    if (queue->parent) {
        ss_lock(queue->lock);
        queue->sibling = queue->parent->children;
        queue->parent->children = queue;
        ss_unlock(queue->lock);
    }
}

static struct ss_group *group_of(smolscale_queue *queue, const struct smolscale_queue_attr *attr)
{
    if (attr->flags & SMOLSCALE_QUEUE_DEDICATED)
        return &queue->own_group;
    if (attr->group)
        return attr->group;
    return attr->parent ? attr->parent->group : &ss.shared;
}

int smolscale_queue_new(smolscale_queue **out, const struct smolscale_queue_attr *attr)
{
    *out = NULL;
    ss_start();
    if (!valid(attr))
        return -EINVAL;
    smolscale_queue *queue = ss_allocate_aligned(
        SS_CACHE_LINE, (sizeof *queue + SS_CACHE_LINE - 1) / SS_CACHE_LINE * SS_CACHE_LINE);
    if (!queue)
        return -ENOMEM;
    *queue = (smolscale_queue){
        .runnable = {.run = serve, .hunger = hunger},
        .parent = attr->parent,
        .max_active = attr->max_active,
        .run = attr->run,
        .user_data = attr->user_data,
        .notify = attr->notify,
        .flags = attr->flags,
        .refs = 1,
    };
    queue->runnable.queue = queue;
    publish_room(queue);
    if (ss_items_init(&queue->items) != 0) {
        ss_deallocate(queue);
        return -ENOMEM;
    }
    queue->items.compare = attr->compare;
    queue->items.compare_data = attr->compare_data;
    if (attr->thread_name)
        strncpy(queue->name, attr->thread_name, sizeof queue->name - 1);
    queue->lock = queue->parent ? queue->parent->lock : &queue->own_lock;
    queue->group = group_of(queue, attr);
    if (queue->parent)
        fetch_add_relaxed(&queue->parent->refs, 1);
    if (!(queue->flags & SMOLSCALE_QUEUE_DEDICATED))
        ss_group_settle(queue->group);
    register_queue(queue);
    int err = queue->group->owner ? ss_group_fill(queue->group) : 0;
    if (err)
        smolscale_queue_free(queue);
    else
        *out = queue;
    return err;
}

int smolscale_queue_push(smolscale_queue *queue, void *item, uint64_t *ticket)
{
    if (__builtin_expect(!item, 0))
        return -EINVAL;
    ss_start();
    ss_lock(queue->lock);
    if (__builtin_expect(queue->closed, 0)) {
        ss_unlock(queue->lock);
        return -ESHUTDOWN;
    }
    if (ticket)
        *ticket = queue->items.tail;
    int err = ss_items_push(&queue->items, item);
    if (__builtin_expect(err, 0)) {
        ss_unlock(queue->lock);
        return err;
    }
    publish_pending(queue);
    enum ss_cover cover;
    struct ss_worker *wake = call_worker(queue, &cover);
    // Read before the lock goes: the item may run, and its queue be freed, at any time after.
    struct ss_group *group = queue->group;
    ss_unlock(queue->lock);
    return ss_follow_up(group, wake, cover);
}

int smolscale_queue_push_many(smolscale_queue *queue, void *item, unsigned count, uint64_t *ticket)
{
    if (!item)
        return -EINVAL;
    ss_start();
    ss_lock(queue->lock);
    if (queue->closed) {
        ss_unlock(queue->lock);
        return -ESHUTDOWN;
    }
    if (ticket)
        *ticket = queue->items.tail;
    int err = ss_items_push_many(&queue->items, item, count);
    if (err || count == 0) {
        ss_unlock(queue->lock);
        return err;
    }
    publish_pending(queue);
    enum ss_cover cover;
    struct ss_worker *wake = call_worker(queue, &cover), *more = NULL;
    struct ss_group *group = queue->group;
    if (wake) {
        wake->keep_away = true;
        unsigned room = queue->max_active - queue->active;
        ss_lock(&ss.lock);
        for (unsigned i = 1; i < count && i < room && ss_group_busy(group) < ss_group_limit(group);
             i++) {
            struct ss_worker *other = ss_summon(group);
            if (!other)
                break;
            other->keep_away = true;
            other->idle_next = more;
            more = other;
        }
        ss_unlock(&ss.lock);
    }
    ss_unlock(queue->lock);
    ss_unpark_list(more);
    return ss_follow_up(group, wake, cover);
}

bool smolscale_queue_cancel(smolscale_queue *queue, void *item, uint64_t ticket)
{
    ss_lock(queue->lock);
    bool found = ss_items_remove(&queue->items, item, ticket);
    if (!found && recall_all(queue))
        found = ss_items_remove(&queue->items, item, ticket);
    publish_pending(queue);
    unlock_and_follow_up(queue);
    return found;
}

bool smolscale_queue_move_to_front(smolscale_queue *queue, void *item)
{
    ss_lock(queue->lock);
    recall_all(queue);
    bool found = ss_items_move_to_front(&queue->items, item);
    publish_pending(queue);
    unlock_and_follow_up(queue);
    return found;
}

// Without memory for all at once: a part at a time, between which jobs may start.
static size_t clear_part(smolscale_queue *queue, smolscale_run_fn *drop, void *user_data)
{
    void *items[SS_BATCH_MAX];
    ss_lock(queue->lock);
    recall_all(queue);
    unsigned n = ss_items_pop(&queue->items, items, SS_BATCH_MAX);
    publish_pending(queue);
    unlock_and_follow_up(queue);
    for (unsigned i = 0; drop && i < n; i++)
        drop(items[i], user_data);
    return n;
}

size_t smolscale_queue_clear(smolscale_queue *queue, smolscale_run_fn *drop, void *user_data)
{
    ss_lock(queue->lock);
    recall_all(queue);
    size_t n = ss_items_count(&queue->items), done = 0;
    void **items = n <= UINT32_MAX ? ss_allocate(n * sizeof *items + 1) : NULL;
    if (items) {
        ss_items_pop(&queue->items, items, (unsigned)n);
        publish_pending(queue);
        unlock_and_follow_up(queue);
        for (; done < n; done++)
            if (drop)
                drop(items[done], user_data);
        ss_deallocate(items);
        return n;
    }
    unlock_and_follow_up(queue);
    while (done < n) {
        size_t part = clear_part(queue, drop, user_data);
        if (part == 0)
            break;
        done += part;
    }
    return done;
}

size_t smolscale_queue_pending(smolscale_queue *queue)
{
    ss_lock(queue->lock);
    size_t pending = load_relaxed(&queue->pending);
    for (struct ss_worker *worker = queue->batchers; worker; worker = worker->batcher_next)
        pending += ss_unclaimed(worker);
    ss_unlock(queue->lock);
    return pending;
}

unsigned smolscale_queue_active(smolscale_queue *queue)
{
    ss_lock(queue->lock);
    unsigned active = queue->active;
    ss_unlock(queue->lock);
    return active;
}

int smolscale_queue_set_max_active(smolscale_queue *queue, unsigned max_active)
{
    bool dedicated = queue->flags & SMOLSCALE_QUEUE_DEDICATED;
    if (dedicated && max_active == SMOLSCALE_UNLIMITED)
        return -EINVAL;
    struct ss_worker *leaving = NULL;
    ss_lock(queue->lock);
    queue->max_active = max_active;
    publish_room(queue);
    if (dedicated) {
        ss_lock(&ss.lock);
        queue->group->wanted = max_active;
        leaving = ss_group_shrink(queue->group);
        ss_group_refresh(queue->group);
        ss_unlock(&ss.lock);
    }
    if (above_limit(queue))
        recall_all(queue);
    ss_unlock(queue->lock);
    ss_unpark_list(leaving);
    int err = dedicated ? ss_group_fill(queue->group) : 0;
    ss_lock(queue->lock);
    int no_worker = unlock_and_follow_up(queue);
    return err ? err : no_worker;
}

int smolscale_queue_set_compare(smolscale_queue *queue, smolscale_compare_fn *compare,
                                void *compare_data)
{
    ss_lock(queue->lock);
    recall_all(queue);
    int err = ss_items_set_compare(&queue->items, compare, compare_data);
    publish_pending(queue);
    unlock_and_follow_up(queue);
    return err;
}

// Where no thread could be had at all, nobody but the waiting one can ask for it again.
#define WAIT_RETRY_NS (100 * SS_NS_PER_MS)

static bool has_nobody(const smolscale_queue *queue)
{
    if (!wants_worker(queue))
        return false;
    ss_lock(&ss.lock);
    bool nobody = queue->group->workers == 0; // those of other groups will not come
    ss_unlock(&ss.lock);
    return nobody;
}

static void call_again(smolscale_queue *queue)
{
    enum ss_cover cover;
    struct ss_worker *wake = ss_queue_offer(queue, &cover);
    ss_unlock(queue->lock);
    ss_follow_up(queue->group, wake, cover);
    ss_lock(queue->lock);
}

// Waits with the lock held on entry and exit.
static void wait_idle(smolscale_queue *queue)
{
    while (!nothing_left(queue)) {
        uint32_t seen = load_relaxed(&queue->idle_word);
        bool alone = has_nobody(queue);
        queue->waiters++;
        end_nap(queue);
        ss_unlock(queue->lock);
        // note_idle() counts under the lock, where it sees this waiter: a wait begun too late finds
        // another number. Any return is fine, the loop looks again.
        ss_os.futex_wait_until(&queue->idle_word, seen,
                               alone ? ss_time_in(WAIT_RETRY_NS) : SS_FOREVER);
        ss_lock(queue->lock);
        if (alone && has_nobody(queue))
            call_again(queue);
        queue->waiters--; // only now: who finds no waiter may free a closed queue
    }
}

void smolscale_queue_wait(smolscale_queue *queue)
{
    fetch_add_relaxed(&queue->refs, 1);
    ss_lock(queue->lock);
    wait_idle(queue);
    enum outcome outcome = note_idle(queue); // it may have been closed meanwhile
    ss_unlock(queue->lock);
    act_on(queue, outcome);
    ss_queue_unref(queue);
}

void smolscale_queue_close(smolscale_queue *queue, void (*closed)(void *user_data), void *user_data)
{
    ss_lock(queue->lock);
    queue->closed_fn = closed;
    queue->closed_data = user_data;
    queue->closed = true;
    end_nap(queue);
    unlock_and_follow_up(queue);
}

void smolscale_queue_free(smolscale_queue *queue)
{
    if (!queue)
        return;
    ss_lock(queue->lock);
    queue->closed = true;
    wait_idle(queue);
    enum outcome outcome = note_idle(queue);
    ss_unlock(queue->lock);
    act_on(queue, outcome);
}

smolscale_queue *smolscale_current_queue(void)
{
    return ss_self ? load_relaxed(&ss_self->job_queue) : NULL;
}

void smolscale_blocking_begin(void)
{
    struct ss_worker *worker = ss_self;
    if (!worker || worker->blocking_depth++ > 0 || !load_relaxed(&worker->job_queue))
        return;
    smolscale_queue *queue = load_relaxed(&worker->job_queue);
    if (worker->owed_count > 0)
        give_notice(queue, worker);
    ss_lock(queue->lock);
    ss_recall_batch(queue, worker);
    ss_lock(&ss.lock);
    ss_set_standing(worker, SS_BLOCKED);
    enum ss_cover cover = SS_COVERED;
    struct ss_group *group = worker->group;
    struct ss_worker *wake = ss_group_hunger(group) ? ss_recruit(group, &cover) : NULL;
    ss_unlock(&ss.lock);
    enum ss_cover own_cover;
    struct ss_worker *own_wake = ss_queue_offer(queue, &own_cover);
    ss_unlock(queue->lock);
    ss_follow_up(group, wake, cover);
    ss_follow_up(group, own_wake, own_cover);
}

void smolscale_blocking_end(void)
{
    struct ss_worker *worker = ss_self;
    smolscale_queue *queue = worker ? load_relaxed(&worker->job_queue) : NULL;
    if (!worker || worker->blocking_depth == 0 || --worker->blocking_depth > 0 || !queue)
        return;
    ss_lock(queue->lock);
    ss_resume(worker);
    ss_unlock(queue->lock);
}

static void reset_after_fork(smolscale_queue *queue)
{
    ss_lock_reset(&queue->own_lock);
    queue->runnable.next = NULL;
    store_relaxed(&queue->runnable.taken, 0);
    queue->runnable.seen_taken = queue->runnable.stalled_since = 0;
    ss_items_reset(&queue->items);
    publish_pending(queue);
    queue->active = queue->blocked = queue->waiters = 0;
    publish_room(queue);
    store_relaxed(&queue->attended, false);
    queue->listed = false;
    queue->batchers = queue->batchers_tail = queue->napper = NULL;
    queue->dry_since = queue->taken_at = queue->pushed_at = queue->mean = 0;
    queue->steady = false;
    queue->nap = queue->linger = (struct ss_trial){0};
    queue->wakes_saved = queue->pushes_since_take = 0;
    store_relaxed(&queue->refs,
                  1 + (queue->closed ? 1u : 0u)); // what was being freed stays as it is
    for (smolscale_queue *child = queue->children; child; child = child->sibling)
        fetch_add_relaxed(&queue->refs, 1);
    if (queue->group == &queue->own_group) {
        ss_group_init(&queue->own_group, queue);
        queue->own_group.wanted = queue->max_active;
    } else {
        ss_group_ref(queue->group);
    }
}

// Backward links are made anew: another thread may have been half-way through a change of them.
static void after_fork(void)
{
    smolscale_queue **link = &ss.queues;
    ss.elastic_queues = 0;
    for (smolscale_queue *queue = ss.queues; queue; queue = queue->next) {
        queue->prev_link = link;
        link = &queue->next;
        ss.elastic_queues += (queue->flags & SMOLSCALE_QUEUE_ELASTIC) != 0;
        reset_after_fork(queue);
    }
}

SS_ROOM(queue_queue, NULL, after_fork);
