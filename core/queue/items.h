// SPDX-License-Identifier: ISC
//
// The ordered list of items in a work queue. Plain data: the queue's lock guards it.
//
// Without a compare function they lie in a ring, a double-ended array; with one in a sorted list
// (sorted.h), and the ring is empty.
//
// An array and not a linked list, because the items are the caller's pointers: eight lie on a cache
// line that travels once from pusher to worker (bench/glib, "empty").
//
// What may have to be put back has a place kept for it from the moment it is taken, so that putting
// back needs no memory.

#ifndef SS_ITEMS_H
#define SS_ITEMS_H

#include "queue/sorted.h"

struct ss_items {
    void **ring; // capacity is ring_mask + 1; the slot of position p is ring[p & ring_mask]
    uint64_t ring_mask;
    uint64_t head, tail; // positions of the first item and past the last one
    uint64_t reserved;   // places kept for items that may be put back
    smolscale_compare_fn *compare;
    uint64_t holes; // slots in [head, tail) whose item was taken out: NULL
    bool displaced; // some item may be elsewhere than where it was pushed
    void *compare_data;
    struct ss_sorted sorted;
};

int ss_items_init(struct ss_items *items); // -ENOMEM
void ss_items_finish(struct ss_items *items);

// Forgets all items; keeps memory and order.
void ss_items_reset(struct ss_items *items);

static inline size_t ss_items_count(const struct ss_items *items)
{
    return (size_t)(items->tail - items->head - items->holes) + items->sorted.count;
}

int ss_items_push_slow(struct ss_items *items, void *item);

// Adds at the end, or where the order says. The item's ticket is the tail's position before the
// call. -ENOMEM: nothing changed.
static inline int ss_items_push(struct ss_items *items, void *item)
{
    if (__builtin_expect(items->compare != NULL ||
                             items->tail - items->head + items->reserved > items->ring_mask,
                         0))
        return ss_items_push_slow(items, item);
    items->ring[items->tail++ & items->ring_mask] = item;
    return 0;
}

// The same item `count` times. -ENOMEM: nothing changed.
int ss_items_push_many(struct ss_items *items, void *item, unsigned count);

// Takes up to `max` from the front; returns how many.
unsigned ss_items_pop(struct ss_items *items, void **out, unsigned max);

// Of a list without compare function: keeps as many places as were popped just now, or fewer, and
// gives them up again. put_back() makes the popped items the first again, in their order; the
// places that were kept for them are given up before, under the same lock.
void ss_items_keep_places(struct ss_items *items, unsigned count);
void ss_items_give_up_places(struct ss_items *items, unsigned count);
void ss_items_put_back(struct ss_items *items, void *const *popped, unsigned count);

// Takes out an item: at position `ticket` if it is there (a ticket is a hint, the item decides),
// else the one that starts last of those that are equal pointers. False when there is none; that is
// told without a search where a ticket is given and all items are where they were pushed.
bool ss_items_remove(struct ss_items *items, void *item, uint64_t ticket);

// Makes an item the first: of equal pointers the one that starts last. False: there is none. Needs
// no memory.
bool ss_items_move_to_front(struct ss_items *items, void *item);

// Changes the order, and orders what is there; stable. NULL keeps the present order. No places are
// kept. -ENOMEM: nothing changed.
int ss_items_set_compare(struct ss_items *items, smolscale_compare_fn *compare, void *compare_data);

#endif // SS_ITEMS_H
