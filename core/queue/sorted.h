// SPDX-License-Identifier: ISC
//
// The items of a work queue with a compare function, in their order. Plain data: the queue's lock
// guards it.
//
// Only ss_sorted_push() and ss_sort() call the compare function, which is user code. So it runs in
// threads that push or set the function, as in GLib, and never in a worker: a function that takes a
// lock which a pusher holds would stop the workers.
//
// The items lie in leaves of up to SS_LEAF, and the leaves in an array. A push compares about
// log2(n) times and then moves at most some hundred pointers in one leaf; a pop moves nothing. A
// tree of nodes would add a cache miss in a node to each comparison, which has one in the item.

#ifndef SS_SORTED_H
#define SS_SORTED_H

#include "smolscale.h"

#define SS_LEAF 124u // items; 1 KiB

struct ss_leaf {
    struct ss_leaf *older; // in the chain of all leaves, used or spare
    struct ss_leaf *spare; // in the list of spare ones
    unsigned first, end;   // its items are item[first] to item[end - 1]; if used, at least one
    void *item[SS_LEAF];
};

struct ss_sorted {
    struct ss_leaf **leaf; // those in use: leaf[first_leaf] to leaf[first_leaf + leaves - 1]
    size_t first_leaf, leaves, capacity;
    size_t count;        // items
    size_t moved;        // of these, how many at the front were moved there, against the order
    struct ss_leaf *all; // the chain of all leaves
    struct ss_leaf *spares;
    size_t all_count; // leaves
};

void ss_sorted_finish(struct ss_sorted *sorted);

// Frees the leaves that are not used. Returns their bytes.
size_t ss_sorted_trim(struct ss_sorted *sorted);

// Forgets all items. For a child of fork(): another thread may have been anywhere in a change.
void ss_sorted_reset(struct ss_sorted *sorted);

// Adds an item behind the last one that does not come after it. Items that were moved to the front
// are compared only if it precedes all others, from the last to the first. So it comes to lie where
// an insertion sort from the end of the list puts it (GLib, g_queue_insert_sorted). -ENOMEM:
// nothing changed.
int ss_sorted_push(struct ss_sorted *sorted, void *item, smolscale_compare_fn *compare,
                   void *compare_data);

// Takes up to `max` items from the front. Returns how many.
unsigned ss_sorted_pop(struct ss_sorted *sorted, void **out, unsigned max);

// Takes an item out, or moves it to the front; of equal pointers, the one that starts last. False:
// there is none. Neither needs memory.
bool ss_sorted_remove(struct ss_sorted *sorted, const void *item);
bool ss_sorted_move_to_front(struct ss_sorted *sorted, void *item);

// Takes the memory that ss_sorted_fill() needs for `count` items. -ENOMEM: nothing changed.
int ss_sorted_reserve(struct ss_sorted *sorted, size_t count);

// Replaces all items by these, which are in order.
void ss_sorted_fill(struct ss_sorted *sorted, void *const *items, size_t count);

// Sorts an array; equal items keep their order. `room` is another array of the same size.
void ss_sort(void **items, void **room, size_t count, smolscale_compare_fn *compare,
             void *compare_data);

// Copies all items to `out`, in order.
void ss_sorted_copy(const struct ss_sorted *sorted, void **out);

#endif // SS_SORTED_H
