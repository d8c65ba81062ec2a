// SPDX-License-Identifier: ISC
//
// Work queues under observation; see observe.h.

#include "queue/observe.h"

#include "os/memory.h"
#include "queue/ages.h"
#include "trace/pools.h"

struct ss_pool *ss_queue_pool(smolscale_queue *queue)
{
    if (queue->pool)
        return queue->pool;
    const char *label = queue->label ? queue->label : queue->name[0] ? queue->name : "queue";
    // Without a label of its layer it is a queue of the program, or of the core.
    const void *code = queue->label ? queue->code : (const void *)queue->run;
    return queue->pool = ss_pool_find(label, code);
}

void ss_observe_push(smolscale_queue *queue, const void *item, unsigned count)
{
    struct ss_pool *pool = ss_queue_pool(queue);
    if (!queue->ages)
        queue->ages = ss_ages_new();
    bool known = queue->ages && ss_ages_push(queue->ages, item, count, ss_os.now());
    ss_note_enqueue(pool, known ? count : 0); // only these are counted out again
}

void ss_observe_removal(smolscale_queue *queue, void *const *items, unsigned count)
{
    unsigned known = 0;
    for (unsigned i = 0; queue->ages && i < count; i++)
        known += ss_ages_take(queue->ages, items[i]) != 0;
    if (known > 0)
        ss_note_remove(ss_queue_pool(queue), known);
}

struct ss_pool *ss_observe_take(smolscale_queue *queue, struct ss_batch *batch, unsigned count)
{
    if (!ss_is_observed()) { // any more
        ss_observe_removal(queue, batch->item, count);
        return NULL;
    }
    if (!batch->times)
        batch->times = ss_allocate(SS_BATCH_MAX * sizeof *batch->times);
    batch->pushed = batch->times;
    if (!batch->pushed)
        ss_observe_removal(queue, batch->item, count);
    for (unsigned i = 0; batch->pushed && i < count; i++)
        batch->pushed[i] = queue->ages ? ss_ages_take(queue->ages, batch->item[i]) : 0;
    return ss_queue_pool(queue);
}

// The last first: each goes before those that are there.
void ss_observe_recall(smolscale_queue *queue, const struct ss_batch *batch, uint32_t next,
                       uint32_t end)
{
    while (batch->pushed && queue->ages && end > next) {
        end--;
        if (batch->pushed[end] != 0)
            ss_ages_put_back(queue->ages, batch->item[end], batch->pushed[end]);
    }
}
