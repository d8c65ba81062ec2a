// SPDX-License-Identifier: ISC
//
// The ordered list of items in a work queue. Plain data: the queue's lock guards it.
//
// Two parts, the front one first:
//   ring   a double-ended array of items, in order. Without a compare function it is the whole
//          queue. With one it holds what was moved to the front, past the order.
//   heap   with a compare function: everything else; equal items in the order of their push.
//
// An array and not a linked list, because the items are the caller's pointers: eight lie on a cache
// line that travels once from pusher to worker (bench/glib, "empty").

#ifndef SS_ITEMS_H
#define SS_ITEMS_H

#include "smolscale.h"

struct ss_heap_entry {
    void *item;
    uint64_t order; // place among equals
};

struct ss_items {
    void **ring; // capacity is ring_mask + 1; the slot of position p is ring[p & ring_mask]
    uint64_t ring_mask;
    uint64_t head, tail; // positions of the first item and past the last one
    uint64_t holes;      // slots in [head, tail) whose item was taken out: NULL
    bool displaced;      // some item may be elsewhere than where it was pushed
    struct ss_heap_entry *heap;
    size_t heap_len, heap_capacity;
    uint64_t next_order;
    smolscale_compare_fn *compare;
    void *compare_data;
};

int ss_items_init(struct ss_items *items); // -ENOMEM
void ss_items_finish(struct ss_items *items);

// Forgets all items; keeps memory and order.
void ss_items_reset(struct ss_items *items);

static inline size_t ss_items_count(const struct ss_items *items)
{
    return (size_t)(items->tail - items->head - items->holes) + items->heap_len;
}

int ss_items_push_slow(struct ss_items *items, void *item);

// Adds at the end, or where the order says. The item's ticket is the tail's position before the
// call. -ENOMEM: nothing changed.
static inline int ss_items_push(struct ss_items *items, void *item)
{
    if (__builtin_expect(items->compare != NULL || items->tail - items->head > items->ring_mask, 0))
        return ss_items_push_slow(items, item);
    items->ring[items->tail++ & items->ring_mask] = item;
    return 0;
}

// Adds before all others. Cannot fail when an item has been popped or removed just before.
int ss_items_push_front(struct ss_items *items, void *item);

// Takes up to `max` from the front; returns how many.
unsigned ss_items_pop(struct ss_items *items, void **out, unsigned max);

// Takes out an item: at position `ticket` if it is there (a ticket is a hint, the item decides),
// else the one pushed last of those that are equal pointers. False when there is none; that is told
// without a search where a ticket is given and all items are where they were pushed.
bool ss_items_remove(struct ss_items *items, void *item, uint64_t ticket);

// Changes the order, and orders what is there; stable. NULL keeps the present order. -ENOMEM:
// nothing changed.
int ss_items_set_compare(struct ss_items *items, smolscale_compare_fn *compare, void *compare_data);

#endif // SS_ITEMS_H
