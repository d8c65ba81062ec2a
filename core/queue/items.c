// SPDX-License-Identifier: ISC
//
// The list of items in a work queue; see items.h.

#include "queue/items.h"
#include "base/atomic.h"
#include "os/memory.h"

#include <errno.h>
#include <string.h>

#define RING_MIN 32u

// Positions begin in the middle of their range: push_front() never goes below 0, no ticket is 0.
#define FIRST_POSITION (UINT64_C(1) << 62)

int ss_items_init(struct ss_items *items)
{
    *items = (struct ss_items){
        .ring_mask = RING_MIN - 1, .head = FIRST_POSITION, .tail = FIRST_POSITION};
    items->ring = ss_allocate(RING_MIN * sizeof *items->ring);
    return items->ring ? 0 : -ENOMEM;
}

void ss_items_finish(struct ss_items *items)
{
    ss_deallocate(items->ring);
    ss_sorted_finish(&items->sorted);
}

void ss_items_reset(struct ss_items *items)
{
    items->head = items->tail;
    items->holes = items->reserved = 0;
    ss_sorted_reset(&items->sorted);
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
// between any two steps. So at no moment is the ring smaller than the mask says, and it is not
// freed while `ring` still points to it.
static int resize_ring(struct ss_items *items, uint64_t capacity)
{
    void **ring = ss_allocate((size_t)capacity * sizeof *ring), **old = items->ring;
    if (!ring)
        return -ENOMEM;
    for (uint64_t p = items->head; p != items->tail; p++)
        ring[p & (capacity - 1)] = *slot(items, p);
    bool shrinks = capacity - 1 < items->ring_mask;
    if (shrinks)
        items->ring_mask = capacity - 1;
    compiler_fence();
    items->ring = ring;
    compiler_fence();
    items->ring_mask = capacity - 1;
    compiler_fence();
    ss_deallocate(old);
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

// Makes room for `more` items, beside the places that are kept.
static int make_room(struct ss_items *items, uint64_t more)
{
    if (ring_span(items) + items->reserved + more <= items->ring_mask + 1)
        return 0;
    if (items->holes > ring_span(items) / 2)
        close_holes(items);
    uint64_t capacity = items->ring_mask + 1;
    while (ring_span(items) + items->reserved + more > capacity)
        capacity *= 2;
    return capacity > items->ring_mask + 1 ? resize_ring(items, capacity) : 0;
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
    if (items->ring_mask >= 64 * RING_MIN &&
        ring_span(items) + items->reserved < items->ring_mask / 64)
        resize_ring(items, (items->ring_mask + 1) / 16); // on failure the larger one serves as well
}

size_t ss_items_trim(struct ss_items *items)
{
    uint64_t before = items->ring_mask + 1, after = RING_MIN;
    while (after < ring_span(items) + items->reserved)
        after *= 2;
    size_t bytes = ss_sorted_trim(&items->sorted);
    if (after < before && resize_ring(items, after) == 0)
        bytes += (size_t)(before - after) * sizeof *items->ring;
    return bytes;
}

// ---- the whole ----

int ss_items_push_slow(struct ss_items *items, void *item)
{
    if (items->compare)
        return ss_sorted_push(&items->sorted, item, items->compare, items->compare_data);
    int err = make_room(items, 1);
    if (err)
        return err;
    *slot(items, items->tail++) = item;
    return 0;
}

int ss_items_push_many(struct ss_items *items, void *item, unsigned count)
{
    int err = items->compare ? 0 : make_room(items, count);
    for (unsigned i = 0; i < count && !err; i++) {
        err = ss_items_push(items, item);
        if (err) // of an ordered list only
            while (i-- > 0)
                ss_sorted_remove(&items->sorted, item);
    }
    return err;
}

// The caller has seen to it that there is room.
static void push_front(struct ss_items *items, void *item)
{
    *slot(items, --items->head) = item;
    items->displaced = true;
}

int ss_items_reserve(struct ss_items *items, unsigned count)
{
    int err = make_room(items, count);
    if (!err)
        items->reserved += count;
    return err;
}

void ss_items_keep_places(struct ss_items *items, unsigned count)
{
    items->reserved += count;
}

void ss_items_give_up_places(struct ss_items *items, unsigned count)
{
    items->reserved -= count;
}

void ss_items_put_back(struct ss_items *items, void *const *popped, unsigned count)
{
    while (count > 0)
        push_front(items, popped[--count]);
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
    if (items->compare)
        n += ss_sorted_pop(&items->sorted, out + n, max - n);
    trim(items);
    return n;
}

static void punch(struct ss_items *items, uint64_t position)
{
    *slot(items, position) = NULL;
    items->holes++;
    trim(items);
}

// Looks in the ring for the item; of equal pointers, for the one that starts last. False: there is
// none.
static bool find(const struct ss_items *items, const void *item, uint64_t *position)
{
    for (uint64_t p = items->tail; p != items->head; p--) {
        if (*slot(items, p - 1) == item) {
            *position = p - 1;
            return true;
        }
    }
    return false;
}

bool ss_items_remove(struct ss_items *items, void *item, uint64_t ticket)
{
    if (items->compare)
        return ss_sorted_remove(&items->sorted, item);
    uint64_t position = ticket;
    bool found = ticket - items->head < ring_span(items) && *slot(items, ticket) == item;
    if (!found && (ticket == 0 || items->displaced))
        found = find(items, item, &position);
    if (found)
        punch(items, position);
    return found;
}

bool ss_items_move_to_front(struct ss_items *items, void *item)
{
    if (items->compare)
        return ss_sorted_move_to_front(&items->sorted, item);
    uint64_t position;
    if (!find(items, item, &position))
        return false;
    if (ring_span(items) + items->reserved <= items->ring_mask) {
        punch(items, position);
        push_front(items, item);
        return true;
    }
    // There is no room: all items before it move on by one, which needs no memory.
    for (; position != items->head; position--)
        *slot(items, position) = *slot(items, position - 1);
    *slot(items, position) = item;
    items->displaced = true;
    return true;
}

// An array of all items in their order, with room for as many more. NULL: no memory.
static void **copy_all(const struct ss_items *items, size_t room)
{
    void **array = ss_allocate((ss_items_count(items) + room) * sizeof *array + 1), **to = array;
    if (!array)
        return NULL;
    for (uint64_t p = items->head; p != items->tail; p++)
        if (*slot(items, p))
            *to++ = *slot(items, p);
    ss_sorted_copy(&items->sorted, to);
    return array;
}

// Sorts the items of the ring, or those of another order.
static int sort(struct ss_items *items, smolscale_compare_fn *compare, void *compare_data)
{
    size_t count = ss_items_count(items);
    void **array = copy_all(items, count);
    if (!array)
        return -ENOMEM;
    int err = ss_sorted_reserve(&items->sorted, count);
    if (!err) {
        ss_sort(array, array + count, count, compare, compare_data);
        ss_sorted_fill(&items->sorted, array, count);
        items->head = items->tail;
        items->holes = 0;
        trim(items);
    }
    ss_deallocate(array);
    return err;
}

// Moves the items of an order to the ring, which is empty.
static int unsort(struct ss_items *items)
{
    size_t count = ss_items_count(items);
    int err = make_room(items, count);
    while (!err && items->sorted.count > 0)
        items->tail += ss_sorted_pop(&items->sorted, slot(items, items->tail), 1);
    items->displaced = true;
    return err;
}

int ss_items_set_compare(struct ss_items *items, smolscale_compare_fn *compare, void *compare_data)
{
    int err = 0;
    if (ss_items_count(items) > 0) {
        if (compare)
            err = sort(items, compare, compare_data);
        else if (items->compare)
            err = unsort(items);
    }
    if (err)
        return err;
    items->compare = compare;
    items->compare_data = compare_data;
    return 0;
}
