// SPDX-License-Identifier: ISC
//
// A work queue from its creation to its end: creation, waiting until it is idle, closing, and what
// fork() does to it.
//
// A closed queue ends when it is idle: the thread that makes it idle (note_idle) finishes it. Its
// memory lives until the last reference goes (runnable.h); the owner's is given up when it is
// finished.

#include "os/memory.h"
#include "queue/ages.h"
#include "queue/batch.h"
#include "queue/fronts.h"
#include "queue/limits.h"
#include "queue/queue.h"
#include "queue/server.h"
#include "queue/wake_policy.h"

#include <errno.h>
#include <string.h>

static smolscale_queue *all_queues;   // ss.lock
static smolscale_queue *next_to_trim; // ss.lock
static size_t queue_count;            // ss.lock
static uint64_t last_number;          // ss.lock

// ---- creation

static bool valid(const struct smolscale_queue_attr *attr)
{
    if (!attr || attr->size != sizeof *attr || !attr->run)
        return false;
    if (attr->flags & ~(SMOLSCALE_QUEUE_DEDICATED | SMOLSCALE_QUEUE_ELASTIC))
        return false;
    if (attr->flags & SMOLSCALE_QUEUE_DEDICATED)
        return attr->max_active != SMOLSCALE_UNLIMITED && !attr->parent;
    if (!attr->parent)
        return true;
    const struct ss_group *group = attr->group ? attr->group : attr->parent->group;
    return !attr->parent->parent && !group->owner && attr->parent->group == group;
}

static struct ss_group *group_of(smolscale_queue *queue, const struct smolscale_queue_attr *attr)
{
    if (attr->flags & SMOLSCALE_QUEUE_DEDICATED)
        return &queue->own_group;
    if (attr->group)
        return attr->group;
    return attr->parent ? attr->parent->group : &ss.shared;
}

// The queue by itself, which nothing refers to yet. NULL: no memory.
static smolscale_queue *allocate(const struct smolscale_queue_attr *attr)
{
    smolscale_queue *queue = ss_allocate_aligned(
        SS_CACHE_LINE, (sizeof *queue + SS_CACHE_LINE - 1) / SS_CACHE_LINE * SS_CACHE_LINE);
    if (!queue)
        return NULL;
    bool notices = attr->notify != NULL;
    *queue = (smolscale_queue){
        .runnable = {.ops = notices ? &ss_queue_ops_with_notices : &ss_queue_ops, .refs = 1},
        .dry = notices ? &ss_dry_policy_with_notices : &ss_dry_policy,
        .parent = attr->parent,
        .max_active = attr->max_active,
        .run = attr->run,
        .user_data = attr->user_data,
        .notify = attr->notify,
        .flags = attr->flags,
        .elastic = {.waiting = &queue->pending},
    };
    if (ss_items_init(&queue->items) != 0) {
        ss_deallocate(queue);
        return NULL;
    }
    queue->items.compare = attr->compare;
    queue->items.compare_data = attr->compare_data;
    ss_queue_publish_room(queue);
    if (attr->thread_name)
        strncpy(queue->name, attr->thread_name, sizeof queue->name - 1);
    queue->runnable.lock = attr->parent ? attr->parent->runnable.lock : &queue->own_lock;
    queue->group = group_of(queue, attr);
    if (queue->group == &queue->own_group) // where a child of fork() finds it as well
        queue->own_group.reserve = attr->group;
    return queue;
}

// Enters it where the scheduler knows it. ss.lock held.
static void join_scheduler(smolscale_queue *queue)
{
    if (queue->flags & SMOLSCALE_QUEUE_ELASTIC)
        ss_elastic_add(&queue->elastic);
    if (queue->flags & SMOLSCALE_QUEUE_DEDICATED)
        ss_group_init_dedicated(&queue->own_group, &queue->runnable, queue->max_active,
                                queue->own_group.reserve);
    else
        ss_group_ref(queue->group);
}

// Enters it among all queues, and in its family.
static void link_queue(smolscale_queue *queue)
{
    ss_lock(&ss.lock);
    queue->next = all_queues;
    queue->prev_link = &all_queues;
    if (all_queues)
        all_queues->prev_link = &queue->next;
    compiler_fence(); // a child of fork() follows the list, which is whole at every moment
    all_queues = queue;
    queue_count++;
    queue->number = ++last_number;
    join_scheduler(queue);
    ss_unlock(&ss.lock);
    if (!queue->parent)
        return;
    ss_runnable_ref(&queue->parent->runnable);
    ss_lock(queue->runnable.lock);
    ss_fronts_shut(queue->parent);
    queue->sibling = queue->parent->children;
    queue->parent->children = queue;
    ss_unlock(queue->runnable.lock);
}

int smolscale_queue_new(smolscale_queue **out, const struct smolscale_queue_attr *attr)
{
    *out = NULL;
    ss_start();
    if (!valid(attr))
        return -EINVAL;
    smolscale_queue *queue = allocate(attr);
    if (!queue)
        return -ENOMEM;
    if (!(queue->flags & SMOLSCALE_QUEUE_DEDICATED))
        ss_group_settle(queue->group);
    link_queue(queue);
    int err = queue->group->owner ? ss_group_fill(queue->group) : 0;
    if (err)
        smolscale_queue_free(queue);
    else
        *out = queue;
    return err;
}

smolscale_queue *ss_queues_first(void)
{
    return all_queues;
}

size_t ss_queues_count(void)
{
    return queue_count;
}

// ---- the end

static void leave_family(smolscale_queue *queue)
{
    ss_lock(queue->runnable.lock);
    smolscale_queue **link = &queue->parent->children;
    while (*link != queue)
        link = &(*link)->sibling;
    *link = queue->sibling;
    ss_unlock(queue->runnable.lock);
}

static void unlink_queue(smolscale_queue *queue)
{
    if (queue->parent)
        leave_family(queue);
    struct ss_worker *leaving = NULL;
    ss_lock(&ss.lock);
    if (next_to_trim == queue)
        next_to_trim = queue->next;
    *queue->prev_link = queue->next;
    if (queue->next)
        queue->next->prev_link = queue->prev_link;
    queue_count--;
    if (queue->flags & SMOLSCALE_QUEUE_DEDICATED)
        leaving = ss_group_dissolve(&queue->own_group);
    if (queue->flags & SMOLSCALE_QUEUE_ELASTIC)
        ss_elastic_remove(&queue->elastic);
    ss_unlock(&ss.lock);
    ss_unpark_list(leaving);
}

// It is closed and idle. No lock held.
static void finish(smolscale_queue *queue)
{
    unsigned generation = ss.generation;
    unlink_queue(queue);
    if (queue->closed_fn)
        queue->closed_fn(queue->closed_data);
    // If the callback has forked, this may be the child. This queue was in no list then, so the
    // child does not count its references to its parent and its group: it must not give them up.
    if (generation == ss.generation)
        ss_runnable_unref(&queue->runnable); // the owner's
}

void ss_queue_release(struct ss_runnable *runnable)
{
    smolscale_queue *queue = ss_queue_of(runnable), *parent = queue->parent;
    ss_items_finish(&queue->items);
    ss_ages_free(queue->ages);
    ss_deallocate(queue->samples);
    ss_deallocate(queue->fronts_memory);
    struct ss_group *shared = queue->group->owner ? queue->group->reserve : queue->group;
    if (shared)
        ss_group_unref(shared);
    ss_deallocate(queue);
    if (parent)
        ss_runnable_unref(&parent->runnable);
}

// ---- becoming idle

enum outcome { GOES_ON, WAKES_WAITERS, FINISHED };

// Whoever may have made the queue idle calls this, with the lock held, and act_on() when it has
// dropped the lock.
static enum outcome note_idle(smolscale_queue *queue)
{
    if (!ss_queue_is_idle(queue) || ss_fronts_hold_items(queue))
        return GOES_ON; // what is in fronts will be gathered by the pusher that comes
    if (queue->waiters) {
        store_relaxed(&queue->idle_word, load_relaxed(&queue->idle_word) + 1);
        return WAKES_WAITERS;
    }
    if (!queue->closed || queue->done)
        return GOES_ON;
    queue->done = true;
    return FINISHED;
}

// The caller has a reference, or it is the caller's business that the queue lives.
static void act_on(smolscale_queue *queue, enum outcome outcome)
{
    if (outcome == WAKES_WAITERS)
        ss_os.futex_wake(&queue->idle_word, INT32_MAX);
    else if (outcome == FINISHED)
        finish(queue);
}

int ss_queue_unlock_and_follow_up(smolscale_queue *queue)
{
    enum ss_follow_up todo;
    struct ss_worker *wake = ss_queue_offer(queue, &todo);
    enum outcome outcome = note_idle(queue);
    struct ss_group *group = queue->group;
    ss_unlock(queue->runnable.lock);
    int err = ss_follow_up(group, wake, todo);
    act_on(queue, outcome);
    return err;
}

// ---- waiting, closing, freeing

// Does work wait that no worker will come to? Those of other groups do not. Lock held.
static bool has_no_worker(const smolscale_queue *queue)
{
    if (!ss_queue_wants_worker(queue))
        return false;
    ss_lock(&ss.lock);
    bool none = queue->group->workers == 0;
    ss_unlock(&ss.lock);
    return none;
}

// Lock held on entry and exit.
static void ask_again(smolscale_queue *queue)
{
    enum ss_follow_up todo;
    struct ss_worker *wake = ss_queue_offer(queue, &todo);
    ss_unlock(queue->runnable.lock);
    ss_follow_up(queue->group, wake, todo);
    ss_lock(queue->runnable.lock);
}

// Lock held on entry and exit.
static void wait_idle(smolscale_queue *queue)
{
    while (!ss_queue_is_idle(queue) || ss_fronts_hold_items(queue)) {
        uint32_t seen = load_relaxed(&queue->idle_word);
        bool asks = has_no_worker(queue);
        queue->waiters++;
        ss_queue_end_nap(queue);
        ss_unlock(queue->runnable.lock);
        // note_idle() counts under the lock, where it sees this waiter: a wait begun too late finds
        // another number. Any return is safe, the loop looks again.
        ss_os.futex_wait_until(&queue->idle_word, seen,
                               asks ? ss_time_in(SS_WAIT_RETRY_NS) : ss_balancer_wait_limit());
        ss_lock(queue->runnable.lock);
        if (asks && has_no_worker(queue))
            ask_again(queue);
        queue->waiters--; // only now: a thread that finds no waiter may free a closed queue
    }
}

// Lock held on entry, not on exit. The queue may be closed, and finished here.
static void wait_and_unlock(smolscale_queue *queue)
{
    wait_idle(queue);
    enum outcome outcome = note_idle(queue);
    ss_unlock(queue->runnable.lock);
    act_on(queue, outcome);
}

void smolscale_queue_wait(smolscale_queue *queue)
{
    ss_runnable_ref(&queue->runnable);
    ss_queue_lock(queue);
    wait_and_unlock(queue);
    ss_runnable_unref(&queue->runnable);
}

void smolscale_queue_close(smolscale_queue *queue, void (*closed)(void *user_data), void *user_data)
{
    ss_runnable_ref(&queue->runnable); // its last job may end, and free it, before this call does
    ss_lock(queue->runnable.lock);
    ss_fronts_shut(queue);
    queue->closed_fn = closed;
    queue->closed_data = user_data;
    queue->closed = true;
    ss_queue_end_nap(queue);
    ss_queue_unlock_and_follow_up(queue);
    ss_runnable_unref(&queue->runnable);
}

void smolscale_queue_free(smolscale_queue *queue)
{
    if (!queue)
        return;
    ss_lock(queue->runnable.lock);
    ss_fronts_shut(queue);
    queue->closed = true;
    wait_and_unlock(queue);
}

// ---- memory given back

// The next queue to be trimmed, with a reference; NULL: no more. Its owner's reference goes only
// after it has left the list.
static smolscale_queue *take_next_to_trim(void)
{
    ss_lock(&ss.lock);
    smolscale_queue *queue = next_to_trim;
    if (queue) {
        next_to_trim = queue->next;
        ss_runnable_ref(&queue->runnable);
    }
    ss_unlock(&ss.lock);
    return queue;
}

// One whose lock is not to be had soon is left as it is: a compare function may run under it.
static size_t trim(void)
{
    size_t bytes = 0;
    ss_lock(&ss.lock);
    next_to_trim = all_queues;
    ss_unlock(&ss.lock);
    for (smolscale_queue *queue; (queue = take_next_to_trim());) {
        if (ss_lock_soon(queue->runnable.lock)) {
            bytes += ss_items_trim(&queue->items);
            ss_unlock(queue->runnable.lock);
        }
        ss_runnable_unref(&queue->runnable);
    }
    return bytes;
}

// ---- fork(), in the child

// What it held belongs to the parent. Another thread may have been anywhere in a change of it.
static void reset(smolscale_queue *queue)
{
    ss_lock_reset(&queue->own_lock);
    queue->runnable.next = NULL;
    queue->runnable.prev_link = NULL;
    store_relaxed(&queue->runnable.taken, 0);
    store_relaxed(&queue->runnable.job_ns, 0);
    queue->runnable.seen_taken = queue->runnable.stalled_since = 0;
    ss_items_reset(&queue->items);
    ss_fronts_reset(queue);
    queue->ages = NULL; // another thread may have been in it: its memory is lost
    queue->samples = NULL;
    ss_queue_publish_pending(queue);
    queue->active = queue->blocked = queue->waiters = 0;
    ss_queue_publish_room(queue);
    ss_queue_set_staffed(queue, false);
    queue->listed = queue->awaited = false;
    queue->oldest = queue->newest = NULL;
    queue->napper = NULL;
    queue->lingering = 0;
    queue->dry_since = queue->taken_at = queue->pushed_at = queue->mean = queue->ended = 0;
    queue->steady = false;
    queue->nap = (struct ss_skips){0};
    queue->linger = (struct ss_gains){0};
    queue->wakes_saved = queue->pushes_since_take = 0;
    // A queue that was being freed stays as it is.
    store_relaxed(&queue->runnable.refs, 1 + (queue->closed ? 1u : 0u));
    for (smolscale_queue *child = queue->children; child; child = child->sibling)
        ss_runnable_ref(&queue->runnable);
    join_scheduler(queue);
}

// The calling thread, if it is a worker, goes on in its job, and claims no other of its batch.
static void reset_server(struct ss_worker *worker)
{
    struct ss_server *server = ss_server_of(worker);
    memset(server, 0, sizeof *server);
    if (worker == ss_self)
        store_relaxed(&server->batch.next, SS_BATCH_CLOSED);
}

static void after_fork(void)
{
    next_to_trim = NULL;
    // Backward links are made anew: another thread may have been half-way through a change of them.
    smolscale_queue **link = &all_queues;
    queue_count = 0;
    for (smolscale_queue *queue = all_queues; queue; queue = queue->next) {
        queue_count++;
        queue->prev_link = link;
        link = &queue->next;
        reset(queue);
    }
    for (struct ss_worker *worker = ss.allocated; worker; worker = worker->next_allocated)
        reset_server(worker);
}

SS_ROOM_WITH(queue_life, NULL, after_fork, .trim = trim);
