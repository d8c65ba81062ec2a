// SPDX-License-Identifier: ISC
//
// The list of items in a work queue, in the order in which they start. Plain data: the queue's lock
// guards it.
//
// Without a compare function the items lie in a ring, a double-ended array. With one they lie in a
// sorted list (sorted.h), and the ring is empty.
//
// The ring is an array, not a linked list: items are the caller's pointers, so eight of them lie on
// a cache line, which travels once from the pusher to the worker (bench/glib, "empty").
//
// Items that were popped may be put back. The list keeps a place for each of them, so that this
// needs no memory.

#ifndef SS_ITEMS_H
#define SS_ITEMS_H

#include "queue/sorted.h"

struct ss_items {
    void **ring; // capacity is ring_mask + 1; the slot of position p is ring[p & ring_mask]
    uint64_t ring_mask;
    uint64_t head, tail; // positions of the first item and past the last one
    uint64_t reserved;   // places kept for popped items
    smolscale_compare_fn *compare;
    uint64_t holes; // slots in [head, tail) whose item was taken out; they hold NULL
    bool displaced; // an item may be at another position than the one it was pushed to
    void *compare_data;
    struct ss_sorted sorted;
};

int ss_items_init(struct ss_items *items); // -ENOMEM
void ss_items_finish(struct ss_items *items);

// Forgets all items. Keeps the memory and the compare function.
void ss_items_reset(struct ss_items *items);

// Frees what the items and the places that are kept do not need. Returns how many bytes. Where
// there is no memory for a smaller ring the larger one stays.
size_t ss_items_trim(struct ss_items *items);

static inline size_t ss_items_count(const struct ss_items *items)
{
    return (size_t)(items->tail - items->head - items->holes) + items->sorted.count;
}

int ss_items_push_slow(struct ss_items *items, void *item);

// Adds an item at the end, or at its place in the order. Its ticket is `tail` before the call.
// -ENOMEM: nothing changed.
static inline int ss_items_push(struct ss_items *items, void *item)
{
    if (__builtin_expect(items->compare != NULL ||
                             items->tail - items->head + items->reserved > items->ring_mask,
                         0))
        return ss_items_push_slow(items, item);
    items->ring[items->tail++ & items->ring_mask] = item;
    return 0;
}

// Adds the same item `count` times. -ENOMEM: nothing changed.
int ss_items_push_many(struct ss_items *items, void *item, unsigned count);

// Takes up to `max` items from the front. Returns how many.
unsigned ss_items_pop(struct ss_items *items, void **out, unsigned max);

// Keeps places for `count` items that are to be pushed. -ENOMEM: nothing changed. They are given up
// just before the items are pushed, as below.
int ss_items_reserve(struct ss_items *items, unsigned count);

// For lists without a compare function. keep_places() keeps places for items that were just popped,
// give_up_places() ends that. put_back() makes popped items the first again, in their order. Their
// places are given up just before, in the same section of the queue's lock.
void ss_items_keep_places(struct ss_items *items, unsigned count);
void ss_items_give_up_places(struct ss_items *items, unsigned count);
void ss_items_put_back(struct ss_items *items, void *const *popped, unsigned count);

// Takes out an item: the one at position `ticket` if that is this item, else, of those that are
// equal pointers, the one that starts last. `ticket` 0: not known. False: there is none. No search
// is needed for that if a ticket is given and all items are where they were pushed.
bool ss_items_remove(struct ss_items *items, void *item, uint64_t ticket);

// Makes an item the first; of equal pointers, the one that starts last. False: there is none. Needs
// no memory.
bool ss_items_move_to_front(struct ss_items *items, void *item);

// Sets the compare function, and sorts the items by it; equal ones keep their order. NULL keeps the
// present order. No places may be kept meanwhile. -ENOMEM: nothing changed.
int ss_items_set_compare(struct ss_items *items, smolscale_compare_fn *compare, void *compare_data);

#endif // SS_ITEMS_H
