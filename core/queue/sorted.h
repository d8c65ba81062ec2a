// SPDX-License-Identifier: ISC
//
// What a work queue with a compare function holds: its items in their order. Plain data: the
// queue's lock guards it.
//
// User code, the compare function, is called in push() and in sort() alone, hence by whoever pushes
// or sets the function, never by a worker (GLib's pools call it there; a function that takes a lock
// which pushers hold would stop the workers).
//
// Leaves of up to SS_LEAF items, and an array of the leaves in order. A push compares about log2(n)
// times and then moves some hundred pointers in one leaf; a pop moves nothing. Arrays and not a
// tree of nodes, because a comparison is a miss in the item and should not be one in the node, too.

#ifndef SS_SORTED_H
#define SS_SORTED_H

#include "smolscale.h"

#define SS_LEAF 124u // items; 1 KiB

struct ss_leaf {
    struct ss_leaf *older; // all that the list has, in use or spare: only grows, or goes at once
    struct ss_leaf *spare; // next of the spare ones
    unsigned first, end;   // the items are item[first] to item[end - 1]; in use: at least one
    void *item[SS_LEAF];
};

struct ss_sorted {
    struct ss_leaf **leaf; // leaf[first_leaf] to leaf[first_leaf + leaves - 1], in order
    size_t first_leaf, leaves, capacity;
    size_t count; // items
    size_t moved; // of these, how many at the front are there past their order
    struct ss_leaf *all, *spares;
    size_t all_count;
};

void ss_sorted_finish(struct ss_sorted *sorted);

// Forgets all items. Whatever another thread was about to do at the moment of a fork().
void ss_sorted_reset(struct ss_sorted *sorted);

// Adds behind the last item that does not come after it; those moved to the front are looked at
// only where it precedes all others, from the last to the first: what an insertion sort from the
// end of the list does (GLib, g_queue_insert_sorted). -ENOMEM: nothing changed.
int ss_sorted_push(struct ss_sorted *sorted, void *item, smolscale_compare_fn *compare,
                   void *compare_data);

// Takes up to `max` from the front; returns how many.
unsigned ss_sorted_pop(struct ss_sorted *sorted, void **out, unsigned max);

// Takes an item out, or moves it to the front: of equal pointers the one that starts last. False:
// there is none. Need no memory.
bool ss_sorted_remove(struct ss_sorted *sorted, const void *item);
bool ss_sorted_move_to_front(struct ss_sorted *sorted, void *item);

// Memory for fill() with `count` items. -ENOMEM: nothing changed.
int ss_sorted_reserve(struct ss_sorted *sorted, size_t count);

// Has these items, which are in order, instead of what it has.
void ss_sorted_fill(struct ss_sorted *sorted, void *const *items, size_t count);

// Sorts an array; stable. `room` is another one of the same size.
void ss_sort(void **items, void **room, size_t count, smolscale_compare_fn *compare,
             void *compare_data);

// Copies all items to `out`, in order.
void ss_sorted_copy(const struct ss_sorted *sorted, void **out);

#endif // SS_SORTED_H
