// SPDX-License-Identifier: ISC
//
// Fronts: where threads that push to the same queue at once leave their items, so that they do not
// all wait for its lock. There only while the lock is found taken often.
//
// A front has a lock and a cache line of its own, and room for some items. A thread keeps to one
// front, so its items stay in the order in which it has pushed them. Whoever has the queue's lock
// *gathers* what is in the fronts into the list of items.
//
// `filled` has a bit for each front that holds items, and SS_COMING: a pusher is on its way to the
// queue's lock and will gather. The rules, of which each step is one change of `filled`:
//
//   1. A pusher that finds its front empty, and SS_COMING set, sets the front's bit and leaves its
//      item. If SS_COMING is not set it sets that, leaves nothing, and takes the queue's lock. It
//      holds the front's lock meanwhile.
//   2. One that finds items in its front adds its own: the bit is set already.
//   3. A thread that gathers has the queue's lock. It takes bits out (fetch_and), and then empties
//      each of their fronts under the front's lock. A pusher that comes takes SS_COMING out, too.
//
// So a front that holds items has its bit set, or a thread that holds the queue's lock is about to
// empty it. And where a bit is set, SS_COMING was set before it and a pusher has not gathered
// since: that one will come, gather, and call workers for all that it finds. Nobody else needs to.
// It has not pushed its own item, so the queue lives until it has come. A pusher that has left its
// item touches the queue no more, except its front's lock, which a thread that gathers waits for.
//
// That one may lose its CPU on its way. So that others' items do not wait for it, items are left
// only while workers serve the queue (`served`), which gather between their batches.
//
// Every other thread that looks at what waits gathers first (ss_queue_lock): so whatever was pushed
// before it looks, is there. Workers gather when little is left in the list.
//
// The list of items keeps a place for each item that the open fronts have room for: gathering needs
// no memory. A front for which no places can be kept any more is shut, and shut fronts send
// pushers to the queue's lock. All are shut, and gathered, before the queue is closed, gets a
// compare function, children or a limit of one job at a time. (With that limit the program may
// rely on the order of pushes by several threads that know of each other.)
//
// Lock order: the queue's lock, then a front's. tests/sim/programs/fronts.c explores the rules.

#ifndef SS_FRONTS_H
#define SS_FRONTS_H

#include "os/lock.h"
#include "queue/queue.h"

#define SS_COMING (UINT64_C(1) << 63)

// Guards: f the front's lock; l the queue's lock, read without it as a hint.
struct ss_front {
    _Alignas(SS_CACHE_LINE) struct ss_lock lock;
    bool open;                  // f
    unsigned count;             // f
    void *item[SS_FRONT_ITEMS]; // f
};

struct ss_fronts {
    _Alignas(SS_CACHE_LINE) _Atomic uint64_t filled; // see above
    _Alignas(SS_CACHE_LINE) unsigned count;          // constant; a power of two
    _Atomic bool served;                             // l: do workers serve the queue? A hint
    struct ss_front front[];                         // `count` of them
};

// Leaves the item in the calling thread's front. False: the caller is to take the queue's lock. No
// lock held. True: the item may run, and its queue be freed, at any time.
bool ss_fronts_push(struct ss_fronts *fronts, void *item);

// Does any front hold items? Exact for what was pushed before; the queue's lock held.
static inline bool ss_fronts_hold_items(const smolscale_queue *queue)
{
    const struct ss_fronts *fronts = load_relaxed(&queue->fronts);
    return __builtin_expect(fronts != NULL, 0) && (load_relaxed(&fronts->filled) & ~SS_COMING) != 0;
}

// The following: the queue's lock held.

// The number of workers that serve the queue has changed.
static inline void ss_fronts_note_served(smolscale_queue *queue)
{
    struct ss_fronts *fronts = load_relaxed(&queue->fronts);
    if (__builtin_expect(fronts != NULL, 0) && load_relaxed(&fronts->served) != (queue->active > 0))
        store_relaxed(&fronts->served, queue->active > 0);
}

// Gathers. A pusher that comes says so in ss_fronts_note_push().
void ss_fronts_gather(smolscale_queue *queue);

// A push has found the lock taken.
static inline void ss_fronts_note_crowd(smolscale_queue *queue)
{
    queue->push_crowding = ss_crowding_next(queue->push_crowding, true, SS_FRONTS_CROWDING_MAX);
}

// A pusher has the queue's lock, and `push_crowding` is not 0: gathers; opens the fronts if that
// pays, and shuts them if it does not.
void ss_fronts_note_push(smolscale_queue *queue);

// Opens them if the queue may have them.
void ss_fronts_open(smolscale_queue *queue);

// Gathers, and shuts them, if they are open.
void ss_fronts_shut(smolscale_queue *queue);

// For a child of fork(): what they held is the parent's.
void ss_fronts_reset(smolscale_queue *queue);

// Takes the lock for more than a push: what was pushed before lies in the list of items then.
static inline void ss_queue_lock(smolscale_queue *queue)
{
    ss_lock(queue->runnable.lock);
    if (ss_fronts_hold_items(queue))
        ss_fronts_gather(queue);
}

#endif // SS_FRONTS_H
