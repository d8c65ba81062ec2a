// SPDX-License-Identifier: ISC
//
// The ordered list of items in a work queue; see items.h.

#include "items.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define RING_MIN 32u

// Positions start in the middle, so that push_front never goes below 0 and no ticket is 0.
#define FIRST_POSITION (UINT64_C(1) << 62)

int ss_items_init(struct ss_items *items)
{
    *items = (struct ss_items){
        .ring_mask = RING_MIN - 1, .head = FIRST_POSITION, .tail = FIRST_POSITION};
    items->ring = malloc(RING_MIN * sizeof *items->ring);
    return items->ring ? 0 : -ENOMEM;
}

void ss_items_finish(struct ss_items *items)
{
    free(items->ring);
    free(items->heap);
}

void ss_items_reset(struct ss_items *items)
{
    items->head = items->tail;
    items->holes = 0;
    items->heap_len = 0;
}

static void **slot(const struct ss_items *items, uint64_t position)
{
    return &items->ring[position & items->ring_mask];
}

static uint64_t ring_span(const struct ss_items *items)
{
    return items->tail - items->head;
}

// Every item keeps its position, hence its ticket. A fork() in another thread may copy the process
// between any two steps: the ring must never be smaller than the mask says, nor given back while it
// is still referred to.
static int resize_ring(struct ss_items *items, uint64_t capacity)
{
    void **ring = malloc((size_t)capacity * sizeof *ring), **old = items->ring;
    if (!ring)
        return -ENOMEM;
    for (uint64_t p = items->head; p != items->tail; p++)
        ring[p & (capacity - 1)] = *slot(items, p);
    bool shrinks = capacity - 1 < items->ring_mask;
    if (shrinks)
        items->ring_mask = capacity - 1;
    atomic_signal_fence(memory_order_seq_cst);
    items->ring = ring;
    atomic_signal_fence(memory_order_seq_cst);
    items->ring_mask = capacity - 1;
    atomic_signal_fence(memory_order_seq_cst);
    free(old);
    return 0;
}

static void close_holes(struct ss_items *items)
{
    uint64_t to = items->head;
    for (uint64_t p = items->head; p != items->tail; p++)
        if (*slot(items, p))
            *slot(items, to++) = *slot(items, p);
    items->tail = to;
    items->holes = 0;
    items->displaced = true;
}

static int make_room(struct ss_items *items)
{
    if (ring_span(items) <= items->ring_mask)
        return 0;
    if (items->holes > ring_span(items) / 2) {
        close_holes(items);
        return 0;
    }
    return resize_ring(items, (items->ring_mask + 1) * 2);
}

// Keeps the first and last slot of a non-empty ring filled, and gives memory back after a flood.
static void trim(struct ss_items *items)
{
    if (items->head == items->tail)
        items->displaced = false;
    while (items->holes && !*slot(items, items->head))
        items->head++, items->holes--;
    while (items->holes && !*slot(items, items->tail - 1))
        items->tail--, items->holes--;
    if (items->ring_mask >= 64 * RING_MIN && ring_span(items) < items->ring_mask / 64)
        resize_ring(items, (items->ring_mask + 1) / 16); // on failure the larger one serves as well
}

// ---- the heap: four children a node, which halves the depth and keeps children on one cache line
// ----

static bool before(const struct ss_items *items, const struct ss_heap_entry *a,
                   const struct ss_heap_entry *b)
{
    int order = items->compare(a->item, b->item, items->compare_data);
    return order < 0 || (order == 0 && a->order < b->order);
}

static void sift_up(struct ss_items *items, size_t i)
{
    struct ss_heap_entry entry = items->heap[i];
    while (i > 0) {
        size_t parent = (i - 1) / 4;
        if (!before(items, &entry, &items->heap[parent]))
            break;
        items->heap[i] = items->heap[parent];
        i = parent;
    }
    items->heap[i] = entry;
}

static void sift_down(struct ss_items *items, size_t i)
{
    struct ss_heap_entry entry = items->heap[i];
    for (;;) {
        size_t best = i * 4 + 1, last = i * 4 + 4;
        if (best >= items->heap_len)
            break;
        for (size_t child = best + 1; child <= last && child < items->heap_len; child++)
            if (before(items, &items->heap[child], &items->heap[best]))
                best = child;
        if (!before(items, &items->heap[best], &entry))
            break;
        items->heap[i] = items->heap[best];
        i = best;
    }
    items->heap[i] = entry;
}

static int reserve_heap(struct ss_items *items, size_t capacity)
{
    if (capacity <= items->heap_capacity)
        return 0;
    size_t doubled = items->heap_capacity ? items->heap_capacity * 2 : RING_MIN;
    if (capacity < doubled)
        capacity = doubled;
    // Not realloc(): see resize_ring() about fork().
    struct ss_heap_entry *heap = malloc(capacity * sizeof *heap), *old = items->heap;
    if (!heap)
        return -ENOMEM;
    if (items->heap_len)
        memcpy(heap, old, items->heap_len * sizeof *heap);
    items->heap = heap;
    atomic_signal_fence(memory_order_seq_cst);
    items->heap_capacity = capacity;
    atomic_signal_fence(memory_order_seq_cst);
    free(old);
    return 0;
}

static int push_heap(struct ss_items *items, void *item)
{
    int err = reserve_heap(items, items->heap_len + 1);
    if (err)
        return err;
    items->heap[items->heap_len] = (struct ss_heap_entry){item, items->next_order++};
    sift_up(items, items->heap_len++);
    return 0;
}

static void remove_from_heap(struct ss_items *items, size_t i)
{
    items->heap[i] = items->heap[--items->heap_len];
    if (i < items->heap_len) {
        sift_down(items, i);
        sift_up(items, i);
    }
}

static void *pop_heap(struct ss_items *items)
{
    void *item = items->heap[0].item;
    remove_from_heap(items, 0);
    return item;
}

// ---- the whole ----

// Where things were moved to the front, a new item that precedes every ordered one is held against
// those too, from the last to the first, and stops behind the first that does not come after it:
// what an insertion sort from the end of the list does (GLib, g_queue_insert_sorted). Where that is
// the last one, it is the first of the ordered ones.
static int push_ordered(struct ss_items *items, void *item)
{
    bool ahead_of_heap =
        items->heap_len == 0 || items->compare(items->heap[0].item, item, items->compare_data) > 0;
    if (ring_span(items) == 0 || !ahead_of_heap ||
        items->compare(*slot(items, items->tail - 1), item, items->compare_data) <= 0)
        return push_heap(items, item);
    int err = make_room(items);
    if (err)
        return err;
    uint64_t p = items->tail++;
    while (p != items->head) {
        void *other = *slot(items, p - 1);
        if (other && items->compare(other, item, items->compare_data) <= 0)
            break;
        *slot(items, p) = other;
        p--;
    }
    *slot(items, p) = item;
    return 0;
}

int ss_items_push_slow(struct ss_items *items, void *item)
{
    if (items->compare)
        return push_ordered(items, item);
    int err = make_room(items);
    if (err)
        return err;
    *slot(items, items->tail++) = item;
    return 0;
}

int ss_items_push_front(struct ss_items *items, void *item)
{
    int err = make_room(items);
    if (err)
        return err;
    *slot(items, --items->head) = item;
    items->displaced = true;
    return 0;
}

unsigned ss_items_pop(struct ss_items *items, void **out, unsigned max)
{
    unsigned n = 0;
    while (n < max && items->head != items->tail) {
        void *item = *slot(items, items->head++);
        if (item)
            out[n++] = item;
        else
            items->holes--;
    }
    while (n < max && items->heap_len)
        out[n++] = pop_heap(items);
    trim(items);
    return n;
}

static void punch(struct ss_items *items, uint64_t position)
{
    *slot(items, position) = NULL;
    items->holes++;
    trim(items);
}

bool ss_items_remove(struct ss_items *items, void *item, uint64_t ticket)
{
    if (ticket - items->head < ring_span(items) && *slot(items, ticket) == item) {
        punch(items, ticket);
        return true;
    }
    if (ticket && !items->displaced && !items->compare)
        return false;
    size_t newest = items->heap_len;
    for (size_t i = 0; i < items->heap_len; i++)
        if (items->heap[i].item == item &&
            (newest == items->heap_len || items->heap[i].order > items->heap[newest].order))
            newest = i;
    if (newest < items->heap_len) {
        remove_from_heap(items, newest);
        return true;
    }
    for (uint64_t p = items->tail; p != items->head; p--) {
        if (*slot(items, p - 1) == item) {
            punch(items, p - 1);
            return true;
        }
    }
    return false;
}

// Moves the heap behind the ring, in order.
static int flatten(struct ss_items *items)
{
    items->displaced = true;
    uint64_t capacity = items->ring_mask + 1;
    while (capacity < ring_span(items) + items->heap_len)
        capacity *= 2;
    if (capacity > items->ring_mask + 1 && resize_ring(items, capacity) != 0)
        return -ENOMEM;
    while (items->heap_len)
        *slot(items, items->tail++) = pop_heap(items);
    return 0;
}

int ss_items_set_compare(struct ss_items *items, smolscale_compare_fn *compare, void *compare_data)
{
    if (compare) {
        int err = reserve_heap(items, ss_items_count(items));
        if (err)
            return err;
    }
    int err = flatten(items);
    if (err)
        return err;
    items->compare = compare;
    items->compare_data = compare_data;
    if (!compare)
        return 0;
    for (uint64_t p = items->head; p != items->tail; p++)
        if (*slot(items, p))
            push_heap(items, *slot(items, p)); // room was reserved
    items->head = items->tail;
    items->holes = 0;
    trim(items);
    return 0;
}
