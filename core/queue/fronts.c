// SPDX-License-Identifier: ISC
//
// Items of threads that push at once; see fronts.h.

#include "queue/fronts.h"

#include "os/memory.h"
#include "queue/limits.h"

#include <string.h>

_Static_assert(SS_FRONTS_MAX < 64, "a bit each, and SS_COMING");

static SS_THREAD_LOCAL unsigned my_number; // among threads that push to fronts; 0: none yet
static _Atomic unsigned last_number;

static unsigned choose_front(const struct ss_fronts *fronts)
{
    while (my_number == 0)
        my_number = fetch_add_relaxed(&last_number, 1) + 1;
    return my_number & (fronts->count - 1);
}

// ---- pushing

// Sets the bit of a front that is about to hold an item, if a pusher is coming. Else the caller is
// it, and sets nothing but that. The front's lock held.
static bool announce(struct ss_fronts *fronts, uint64_t bit)
{
    uint64_t filled = load_relaxed(&fronts->filled), next;
    do
        next = filled & SS_COMING ? filled | bit : filled | SS_COMING;
    while (!cas_weak_acq_rel(&fronts->filled, &filled, next));
    return filled & SS_COMING;
}

bool ss_fronts_push(struct ss_fronts *fronts, void *item)
{
    if (!load_relaxed(&fronts->served))
        return false;
    unsigned mine = choose_front(fronts);
    struct ss_front *front = &fronts->front[mine];
    ss_lock(&front->lock);
    bool left = front->open && front->count < SS_FRONT_ITEMS &&
                (front->count > 0 || announce(fronts, UINT64_C(1) << mine));
    if (left)
        front->item[front->count++] = item;
    ss_unlock(&front->lock);
    return left;
}

// ---- gathering. The queue's lock held.

// Brings what the front holds to the list of items, for which places were kept. Keeps others, or
// shuts the front.
static void empty(struct ss_items *items, struct ss_front *front, bool shut)
{
    ss_lock(&front->lock);
    if (front->open) {
        ss_items_give_up_places(items, front->count);
        for (unsigned i = 0; i < front->count; i++)
            ss_items_push(items, front->item[i]);
        if (shut || ss_items_reserve(items, front->count) != 0) {
            ss_items_give_up_places(items, SS_FRONT_ITEMS - front->count);
            front->open = false;
        }
        front->count = 0;
    }
    ss_unlock(&front->lock);
}

static void empty_all(smolscale_queue *queue, struct ss_fronts *fronts, uint64_t filled)
{
    for (uint64_t left = filled & ~SS_COMING; left; left &= left - 1)
        empty(&queue->items, &fronts->front[__builtin_ctzll(left)], false);
    ss_queue_publish_pending(queue);
}

void ss_fronts_gather(smolscale_queue *queue)
{
    struct ss_fronts *fronts = load_relaxed(&queue->fronts);
    empty_all(queue, fronts, fetch_and_acq_rel(&fronts->filled, SS_COMING));
}

// ---- opening and shutting. The queue's lock held.

static bool may_have_fronts(const smolscale_queue *queue)
{
    return !queue->parent && !queue->children && !queue->items.compare && !queue->closed &&
           queue->max_active > 1;
}

static bool open_front(struct ss_items *items, struct ss_front *front)
{
    if (ss_items_reserve(items, SS_FRONT_ITEMS) != 0)
        return false;
    ss_lock(&front->lock);
    front->open = true;
    ss_unlock(&front->lock);
    return true;
}

// One for each CPU. NULL: no memory.
static struct ss_fronts *allocate(void)
{
    unsigned count = 1;
    while (count < ss_cpus() && count < SS_FRONTS_MAX)
        count *= 2;
    struct ss_fronts *fronts;
    size_t size = sizeof *fronts + count * sizeof fronts->front[0];
    fronts = ss_allocate_aligned(SS_CACHE_LINE, size);
    if (!fronts)
        return NULL;
    memset(fronts, 0, size);
    fronts->count = count;
    return fronts;
}

void ss_fronts_open(smolscale_queue *queue)
{
    if (!may_have_fronts(queue) || load_relaxed(&queue->fronts))
        return;
    if (!queue->fronts_memory)
        queue->fronts_memory = allocate();
    struct ss_fronts *fronts = queue->fronts_memory;
    if (!fronts)
        return;
    for (unsigned i = 0; i < fronts->count && open_front(&queue->items, &fronts->front[i]); i++)
        ;
    queue->push_crowding = SS_FRONTS_CROWDING_MAX;
    store_relaxed(&fronts->served, queue->active > 0);
    store_release(&queue->fronts, fronts);
}

void ss_fronts_shut(smolscale_queue *queue)
{
    struct ss_fronts *fronts = load_relaxed(&queue->fronts);
    if (!fronts)
        return;
    store_relaxed(&queue->fronts, NULL);
    for (unsigned i = 0; i < fronts->count; i++)
        empty(&queue->items, &fronts->front[i], true);
    store_relaxed(&fronts->filled, 0); // no bit is set any more: that takes an open front
    ss_queue_publish_pending(queue);
    queue->push_crowding = 0;
}

// They pay where a pusher finds what others have left. Where it does not, and the lock was free,
// they will be shut some pushes later.
void ss_fronts_note_push(smolscale_queue *queue)
{
    struct ss_fronts *fronts = load_relaxed(&queue->fronts);
    queue->push_crowding--;
    if (fronts) {
        uint64_t filled = load_relaxed(&fronts->filled);
        if (filled)
            filled = exchange_acq_rel(&fronts->filled, 0);
        if (filled & ~SS_COMING) {
            empty_all(queue, fronts, filled);
            queue->push_crowding = SS_FRONTS_CROWDING_MAX;
        } else if (queue->push_crowding == 0) {
            ss_fronts_shut(queue);
        }
    } else if (queue->push_crowding >= SS_FRONTS_CROWDING_OPENS) {
        queue->push_crowding = 0; // unless they are opened
        ss_fronts_open(queue);
    }
}

void ss_fronts_reset(smolscale_queue *queue)
{
    store_relaxed(&queue->fronts, NULL);
    queue->push_crowding = 0;
    struct ss_fronts *fronts = queue->fronts_memory;
    for (unsigned i = 0; fronts && i < fronts->count; i++) {
        ss_lock_reset(&fronts->front[i].lock);
        fronts->front[i].open = false;
        fronts->front[i].count = 0;
    }
    if (fronts)
        store_relaxed(&fronts->filled, 0);
}

// A thread's number means in a child of fork() what it meant in the parent.
SS_ROOM(queue_fronts, NULL, NULL);
