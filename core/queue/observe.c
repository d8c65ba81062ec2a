// SPDX-License-Identifier: ISC
//
// Work queues under observation; see observe.h.

#include "queue/observe.h"

#include "os/memory.h"
#include "queue/ages.h"
#include "queue/samples.h"
#include "trace/pools.h"

struct ss_pool *ss_queue_pool(smolscale_queue *queue)
{
    struct ss_pool *pool = load_relaxed(&queue->pool);
    if (pool)
        return pool;
    const char *label = queue->label ? queue->label : queue->name[0] ? queue->name : "queue";
    // Without a label of its layer it is a queue of the program, or of the core.
    const void *code = queue->label ? queue->code : (const void *)queue->run;
    pool = ss_pool_find(label, code);
    store_release(&queue->pool, pool); // pairs with ss_queue_view()
    return pool;
}

void ss_observe_push(smolscale_queue *queue, const void *item, unsigned count)
{
    struct ss_pool *pool = ss_queue_pool(queue);
    if (!queue->ages)
        queue->ages = ss_ages_new();
    bool known = queue->ages && ss_ages_push(queue->ages, item, count, ss_os.now());
    ss_note_enqueue(pool, known ? count : 0); // only these are counted out again
}

// Where there is an order, an item has no place.
static void add_sample(smolscale_queue *queue, const void *item, unsigned count, uint64_t stamp)
{
    if (!queue->items.compare) {
        ss_samples_add(queue->samples, queue->items.tail - 1 - count / 2, stamp);
        return;
    }
    if (!queue->ages)
        queue->ages = ss_ages_new();
    if (queue->ages)
        ss_ages_push(queue->ages, item, 1, stamp);
}

void ss_observe_sample(smolscale_queue *queue, const void *item, unsigned count)
{
    queue->pass_over = 0;
    if (!queue->samples)
        queue->samples = ss_allocate_zeroed(sizeof *queue->samples);
    if (!queue->samples)
        return;
    add_sample(queue, item, count, ss_samples_stamp(queue->samples, count, ss_os.now()));
    queue->pass_over = ss_samples_pause(queue->samples);
}

void ss_observe_reorder(smolscale_queue *queue)
{
    if (queue->samples)
        ss_samples_keep(queue->samples, 1, 0);
}

void ss_observe_removal(smolscale_queue *queue, void *const *items, unsigned count)
{
    unsigned known = 0;
    for (unsigned i = 0; queue->ages && i < count; i++) {
        uint64_t stamp = ss_ages_take(queue->ages, items[i]);
        known += stamp != 0 && !(stamp & SS_STAMP_SAMPLE);
    }
    if (known > 0)
        ss_note_remove(ss_queue_pool(queue), known);
    if (queue->samples)
        ss_samples_keep(queue->samples, queue->items.head, queue->items.tail);
}

// Nobody observes any more: the queue keeps nothing but what still waits and was counted.
static void forget(smolscale_queue *queue, const struct ss_batch *batch, unsigned count)
{
    ss_observe_removal(queue, batch->item, count);
    ss_deallocate(queue->samples);
    queue->samples = NULL;
    queue->pass_over = 0;
    if (!queue->ages || !ss_ages_are_empty(queue->ages))
        return;
    ss_ages_free(queue->ages);
    queue->ages = NULL;
}

// True: of one at least it is known.
static bool take_times(smolscale_queue *queue, struct ss_batch *batch, unsigned count)
{
    bool sampled = queue->samples && ss_samples_are_due(queue->samples, queue->items.head);
    bool any = sampled;
    for (unsigned i = 0; i < count && (queue->ages || sampled); i++) {
        batch->times[i] = queue->ages ? ss_ages_take(queue->ages, batch->item[i]) : 0;
        any |= batch->times[i] != 0;
    }
    if (sampled)
        ss_samples_take(queue->samples, queue->items.head, batch->times, count);
    return any;
}

struct ss_pool *ss_observe_take(smolscale_queue *queue, struct ss_batch *batch, unsigned count)
{
    bool in_full = ss_is_observed();
    if (!in_full && !ss_has_samples()) { // any more
        forget(queue, batch, count);
        return NULL;
    }
    batch->times_known = take_times(queue, batch, count);
    if (queue->samples && ss_samples_are_late(queue->samples, queue->taken_at))
        queue->pass_over = 0;
    return in_full || batch->times_known ? ss_queue_pool(queue) : NULL;
}

static void put_back(smolscale_queue *queue, const void *item, uint64_t place, uint64_t stamp)
{
    if (stamp & SS_STAMP_SAMPLE && queue->samples)
        ss_samples_put_back(queue->samples, place, stamp);
    else if (!(stamp & SS_STAMP_SAMPLE) && queue->ages)
        ss_ages_put_back(queue->ages, item, stamp);
}

// The last first: each goes before those that are there. That of `next` is the queue's first now.
void ss_observe_recall(smolscale_queue *queue, const struct ss_batch *batch, uint32_t next,
                       uint32_t end)
{
    while (batch->times_known && end > next) {
        end--;
        if (batch->times[end] != 0)
            put_back(queue, batch->item[end], queue->items.head + (end - next), batch->times[end]);
    }
}
