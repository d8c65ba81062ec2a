// SPDX-License-Identifier: ISC
//
// What users do with a work queue while it lives: push, take back, look, change its settings. Its
// creation and end are in life.c, how workers serve it in serve.c.

#include "queue/queue.h"
#include "os/memory.h"
#include "queue/batch.h"
#include "queue/fronts.h"
#include "queue/limits.h"
#include "queue/observe.h"
#include "queue/wake_policy.h"

#include <errno.h>

// ---- pushing

enum observed { NOT, IN_PART, IN_FULL };

// Others have the lock.
static __attribute__((noinline)) void lock_in_crowd(smolscale_queue *queue)
{
    ss_lock(queue->runnable.lock);
    ss_fronts_note_crowd(queue);
}

// Nothing was pushed. But the caller may have gathered what others have left to it. Lock held on
// entry, not on exit.
static __attribute__((noinline)) int fail_and_unlock(smolscale_queue *queue, int err)
{
    ss_queue_unlock_and_follow_up(queue);
    return err;
}

// `observed` is a constant where it is called.
static inline __attribute__((always_inline)) int push(smolscale_queue *queue, void *item,
                                                      uint64_t *ticket, enum observed observed)
{
    if (!ss_lock_at_once(queue->runnable.lock))
        lock_in_crowd(queue);
    if (__builtin_expect(queue->closed, 0)) {
        ss_unlock(queue->runnable.lock);
        return -ESHUTDOWN;
    }
    if (__builtin_expect(queue->push_crowding > 0, 0))
        ss_fronts_note_push(queue);
    if (ticket)
        *ticket = queue->items.tail;
    int err = ss_items_push(&queue->items, item);
    if (__builtin_expect(err, 0))
        return fail_and_unlock(queue, err);
    if (observed == IN_FULL)
        ss_observe_push(queue, item, 1);
    else if (observed == IN_PART && queue->pass_over-- == 0)
        ss_observe_sample(queue, item, 1);
    ss_queue_publish_pending(queue);
    enum ss_follow_up todo;
    struct ss_worker *wake = ss_queue_call_worker(queue, &todo);
    // Read before the lock goes: the item may run, and its queue be freed, at any time after.
    struct ss_group *group = queue->group;
    ss_unlock(queue->runnable.lock);
    return ss_follow_up(group, wake, todo);
}

// The first push of the process, or one that is observed.
static __attribute__((noinline)) int push_otherwise(smolscale_queue *queue, void *item,
                                                    uint64_t *ticket)
{
    ss_start();
    if (ss_is_observed())
        return push(queue, item, ticket, IN_FULL);
    return push(queue, item, ticket, NOT);
}

static __attribute__((noinline)) int push_in_part(smolscale_queue *queue, void *item,
                                                  uint64_t *ticket)
{
    return push(queue, item, ticket, IN_PART);
}

int smolscale_queue_push(smolscale_queue *queue, void *item, uint64_t *ticket)
{
    if (__builtin_expect(!item, 0))
        return -EINVAL;
    if (!ss_is_started_unobserved())
        return ss_is_observed_in_part() ? push_in_part(queue, item, ticket)
                                        : push_otherwise(queue, item, ticket);
    struct ss_fronts *fronts = load_acquire(&queue->fronts);
    if (__builtin_expect(fronts != NULL, 0) && !ticket && ss_fronts_push(fronts, item))
        return 0;
    return push(queue, item, ticket, NOT);
}

// One worker has been woken for many jobs: calls others for the rest of them, as far as there are
// CPUs. Returns those that must be woken, for ss_unpark_all(). The queue's lock held.
static struct ss_worker *call_others(const smolscale_queue *queue, unsigned jobs)
{
    unsigned room = queue->max_active - queue->active;
    ss_lock(&ss.lock);
    struct ss_worker *list = ss_recruit_others(queue->group, jobs < room ? jobs : room);
    ss_unlock(&ss.lock);
    return list;
}

// The queue's lock held on entry, not on exit.
static int call_workers_and_unlock(smolscale_queue *queue, unsigned jobs)
{
    ss_queue_publish_pending(queue);
    enum ss_follow_up todo;
    struct ss_worker *wake = ss_queue_call_worker(queue, &todo), *others = NULL;
    if (wake) {
        ss_keep_away(wake);
        others = call_others(queue, jobs);
    }
    struct ss_group *group = queue->group; // read now, as in smolscale_queue_push()
    ss_unlock(queue->runnable.lock);
    ss_unpark_all(others);
    return ss_follow_up(group, wake, todo);
}

int smolscale_queue_push_many(smolscale_queue *queue, void *item, unsigned count, uint64_t *ticket)
{
    if (!item)
        return -EINVAL;
    ss_start();
    ss_queue_lock(queue);
    if (queue->closed) {
        ss_unlock(queue->runnable.lock);
        return -ESHUTDOWN;
    }
    if (ticket)
        *ticket = queue->items.tail;
    int err = ss_items_push_many(&queue->items, item, count);
    if (err || count == 0)
        return fail_and_unlock(queue, err);
    if (ss_is_observed())
        ss_observe_push(queue, item, count);
    else if (ss_is_observed_in_part())
        ss_observe_sample(queue, item, count);
    return call_workers_and_unlock(queue, count);
}

// ---- taking back

bool smolscale_queue_cancel(smolscale_queue *queue, void *item, uint64_t ticket)
{
    ss_queue_lock(queue);
    bool found = ss_items_remove(&queue->items, item, ticket);
    if (!found && ss_batch_recall_all(queue))
        found = ss_items_remove(&queue->items, item, ticket);
    if (found && ss_queue_is_timed(queue))
        ss_observe_removal(queue, &item, 1);
    ss_queue_publish_pending(queue);
    ss_queue_unlock_and_follow_up(queue);
    return found;
}

bool smolscale_queue_move_to_front(smolscale_queue *queue, void *item)
{
    ss_queue_lock(queue);
    ss_batch_recall_all(queue);
    bool found = ss_items_move_to_front(&queue->items, item);
    ss_queue_publish_pending(queue);
    ss_queue_unlock_and_follow_up(queue);
    return found;
}

static void drop_all(void *const *items, size_t count, smolscale_run_fn *drop, void *user_data)
{
    for (size_t i = 0; drop && i < count; i++)
        drop(items[i], user_data);
}

// Takes out up to `max` items. The queue's lock held on entry, not on exit.
static unsigned pop_and_unlock(smolscale_queue *queue, void **items, unsigned max)
{
    unsigned n = ss_items_pop(&queue->items, items, max);
    if (ss_queue_is_timed(queue))
        ss_observe_removal(queue, items, n);
    ss_queue_publish_pending(queue);
    ss_queue_unlock_and_follow_up(queue);
    return n;
}

// At most `most` items, without memory for all at once: a part at a time, between which jobs may
// start.
static size_t clear_in_parts(smolscale_queue *queue, size_t most, smolscale_run_fn *drop,
                             void *user_data)
{
    size_t done = 0;
    while (done < most) {
        void *items[SS_BATCH_MAX];
        ss_queue_lock(queue);
        ss_batch_recall_all(queue);
        unsigned n = pop_and_unlock(queue, items, SS_BATCH_MAX);
        drop_all(items, n, drop, user_data);
        if (n == 0)
            break;
        done += n;
    }
    return done;
}

size_t smolscale_queue_clear(smolscale_queue *queue, smolscale_run_fn *drop, void *user_data)
{
    ss_queue_lock(queue);
    ss_batch_recall_all(queue);
    size_t n = ss_items_count(&queue->items);
    void **items = n <= UINT32_MAX ? ss_allocate(n * sizeof *items + 1) : NULL;
    if (!items) {
        ss_queue_unlock_and_follow_up(queue);
        return clear_in_parts(queue, n, drop, user_data);
    }
    pop_and_unlock(queue, items, (unsigned)n);
    drop_all(items, n, drop, user_data);
    ss_deallocate(items);
    return n;
}

// ---- looking

size_t smolscale_queue_pending(smolscale_queue *queue)
{
    ss_queue_lock(queue);
    size_t pending = load_relaxed(&queue->pending);
    for (struct ss_batch *batch = queue->oldest; batch; batch = batch->newer)
        pending += ss_batch_unclaimed(batch);
    ss_unlock(queue->runnable.lock);
    return pending;
}

unsigned smolscale_queue_active(smolscale_queue *queue)
{
    ss_lock(queue->runnable.lock);
    unsigned active = queue->active;
    ss_unlock(queue->runnable.lock);
    return active;
}

// ---- settings

void smolscale_queue_set_label(smolscale_queue *queue, const char *label, const void *code)
{
    ss_lock(queue->runnable.lock);
    queue->label = label;
    queue->code = code;
    ss_unlock(queue->runnable.lock);
}

// Changes the number of a dedicated queue's workers. Returns those that must be woken to
// end, for ss_unpark_list(). The queue's lock held.
static struct ss_worker *want_workers(smolscale_queue *queue, unsigned workers)
{
    ss_lock(&ss.lock);
    struct ss_worker *leaving = ss_group_want(queue->group, workers);
    ss_unlock(&ss.lock);
    return leaving;
}

int smolscale_queue_set_max_active(smolscale_queue *queue, unsigned max_active)
{
    bool dedicated = queue->flags & SMOLSCALE_QUEUE_DEDICATED;
    if (dedicated && max_active == SMOLSCALE_UNLIMITED)
        return -EINVAL;
    ss_queue_lock(queue);
    queue->max_active = max_active;
    if (max_active <= 1)
        ss_fronts_shut(queue);
    ss_queue_publish_room(queue);
    struct ss_worker *leaving = dedicated ? want_workers(queue, max_active) : NULL;
    if (ss_queue_above_limit(queue))
        ss_batch_recall_all(queue);
    ss_unlock(queue->runnable.lock);
    ss_unpark_list(leaving);
    int err = dedicated ? ss_group_fill(queue->group) : 0;
    ss_queue_lock(queue);
    int no_worker = ss_queue_unlock_and_follow_up(queue);
    return err ? err : no_worker;
}

int smolscale_queue_set_compare(smolscale_queue *queue, smolscale_compare_fn *compare,
                                void *compare_data)
{
    ss_queue_lock(queue);
    ss_fronts_shut(queue);
    ss_batch_recall_all(queue);
    ss_observe_reorder(queue);
    int err = ss_items_set_compare(&queue->items, compare, compare_data);
    ss_queue_publish_pending(queue);
    ss_queue_unlock_and_follow_up(queue);
    return err;
}
