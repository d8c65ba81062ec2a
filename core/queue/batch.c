// SPDX-License-Identifier: ISC
//
// Taking, ending and recalling batches; see batch.h.

#include "queue/batch.h"
#include "queue/limits.h"
#include "queue/observe.h"

// ---- the list of batches: the oldest first

static void add(smolscale_queue *queue, struct ss_batch *batch)
{
    batch->newer = NULL;
    batch->older = queue->newest;
    *(queue->newest ? &queue->newest->newer : &queue->oldest) = batch;
    queue->newest = batch;
}

static void remove_from_list(smolscale_queue *queue, struct ss_batch *batch)
{
    *(batch->older ? &batch->older->newer : &queue->oldest) = batch->newer;
    *(batch->newer ? &batch->newer->older : &queue->newest) = batch->older;
}

// ---- taking and ending

// How many workers are to share what is queued: all that may serve it if there is so much that
// others are woken for it, else those that do.
static unsigned sharers(const smolscale_queue *queue)
{
    unsigned cpus = ss_cpus(), most = queue->max_active < cpus ? queue->max_active : cpus;
    bool others_come = ss_queue_expected_ns(queue) > (uint64_t)ss_policy(wake_ns) * queue->active;
    unsigned count = queue->active < most && !others_come ? queue->active : most;
    return count ? count : 1;
}

unsigned ss_batch_size(const smolscale_queue *queue)
{
    if (queue->mean == 0 || queue->items.compare)
        return 1;
    uint64_t ns = (uint64_t)ss_policy(batch_ns) << queue->crowding / SS_CROWDING_DOUBLES;
    uint64_t by_time = (ns << SS_MEAN_SHIFT) / queue->mean;
    uint64_t by_share = load_relaxed(&queue->pending) / sharers(queue);
    uint64_t size = by_time < by_share ? by_time : by_share;
    return size < 1 ? 1 : size > SS_BATCH_MAX ? SS_BATCH_MAX : (unsigned)size;
}

unsigned ss_batch_take(smolscale_queue *queue, struct ss_batch *batch, uint64_t now)
{
    unsigned n = ss_items_pop(&queue->items, batch->item, ss_batch_size(queue));
    ss_queue_publish_pending(queue);
    store_relaxed(&queue->runnable.taken, load_relaxed(&queue->runnable.taken) + n);
    queue->taken_at = now;
    queue->pushes_since_take = 0;
    store_relaxed(&batch->end, n);
    store_relaxed(&batch->next, 1); // job 0 is the owner's
    batch->times_known = false;
    if (n > 1) {
        ss_items_keep_places(&queue->items, n - 1);
        add(queue, batch);
    }
    return n;
}

// The first to close a batch, or its owner at its end, gives up the places that were kept for it.
static void give_up_places(smolscale_queue *queue, uint32_t end, uint32_t next)
{
    if (end > 1 && next < SS_BATCH_CLOSED)
        ss_items_give_up_places(&queue->items, end - 1);
}

void ss_batch_end(smolscale_queue *queue, struct ss_batch *batch)
{
    uint32_t end = load_relaxed(&batch->end);
    give_up_places(queue, end, load_relaxed(&batch->next));
    if (end > 1)
        remove_from_list(queue, batch);
    store_relaxed(&batch->end, 0);
}

// ---- recalling

bool ss_batch_recall(smolscale_queue *queue, struct ss_batch *batch)
{
    uint32_t end = load_relaxed(&batch->end);
    uint32_t next = exchange_acq_rel(&batch->next, SS_BATCH_CLOSED);
    give_up_places(queue, end, next);
    if (next >= end)
        return false;
    ss_items_put_back(&queue->items, &batch->item[next], end - next);
    if (__builtin_expect(batch->times_known, 0))
        ss_observe_recall(queue, batch, next, end);
    ss_queue_publish_pending(queue);
    return true;
}

// The newest batch first, so that the front of the queue ends up in the order of the pushes.
bool ss_batch_recall_all(smolscale_queue *queue)
{
    bool any = false;
    for (struct ss_batch *batch = queue->newest; batch; batch = batch->older)
        any |= ss_batch_recall(queue, batch);
    return any;
}
