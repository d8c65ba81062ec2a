// SPDX-License-Identifier: ISC
//
// The items of a work queue with a compare function; see sorted.h.

#include "queue/sorted.h"
#include "base/atomic.h"
#include "os/memory.h"

#include <errno.h>
#include <string.h>

#define LEAVES_KEPT 4u // when the list runs empty
#define PLACES_MIN  8u // of the array of leaves

// A place between two items: before item[at] of the n-th leaf. The end of a leaf and the beginning
// of the next are the same place.
struct place {
    size_t n;
    unsigned at;
};

static struct ss_leaf *leaf_at(const struct ss_sorted *sorted, size_t n)
{
    return sorted->leaf[sorted->first_leaf + n];
}

// ---- memory
//
// All leaves are in one chain. A fork() in another thread may copy it at any moment and finds it
// whole: a leaf is linked before the head points to it, and the head is cleared before any is
// freed.

static struct ss_leaf *take_spare(struct ss_sorted *sorted)
{
    struct ss_leaf *leaf = sorted->spares;
    sorted->spares = leaf->spare;
    leaf->first = leaf->end = 0;
    return leaf;
}

static void put_spare(struct ss_sorted *sorted, struct ss_leaf *leaf)
{
    leaf->spare = sorted->spares;
    sorted->spares = leaf;
}

static int reserve_leaves(struct ss_sorted *sorted, size_t leaves)
{
    for (; sorted->leaves + leaves > sorted->all_count; sorted->all_count++) {
        struct ss_leaf *leaf = ss_allocate(sizeof *leaf);
        if (!leaf)
            return -ENOMEM;
        leaf->older = sorted->all;
        compiler_fence();
        sorted->all = leaf;
        put_spare(sorted, leaf);
    }
    return 0;
}

// Makes room for so many more leaves in the array of leaves.
static int reserve_places(struct ss_sorted *sorted, size_t leaves)
{
    size_t wanted = sorted->leaves + leaves;
    if (sorted->first_leaf + wanted <= sorted->capacity)
        return 0;
    if (wanted <= sorted->capacity / 2) {
        memmove(sorted->leaf, sorted->leaf + sorted->first_leaf,
                sorted->leaves * sizeof *sorted->leaf);
        sorted->first_leaf = 0;
        return 0;
    }
    size_t capacity = wanted * 2 > PLACES_MIN ? wanted * 2 : PLACES_MIN;
    struct ss_leaf **array = ss_allocate(capacity * sizeof *array), **old = sorted->leaf;
    if (!array)
        return -ENOMEM;
    if (sorted->leaves)
        memcpy(array, old + sorted->first_leaf, sorted->leaves * sizeof *array);
    // A child of fork() in between uses the pointer and the capacity only: the array is large
    // enough.
    sorted->leaf = array;
    sorted->first_leaf = 0;
    compiler_fence();
    sorted->capacity = capacity;
    compiler_fence();
    ss_deallocate(old);
    return 0;
}

static int reserve(struct ss_sorted *sorted, size_t leaves)
{
    int err = reserve_places(sorted, leaves);
    return err ? err : reserve_leaves(sorted, leaves);
}

// Gives memory back when the list has run empty after a flood.
static void trim(struct ss_sorted *sorted)
{
    if (sorted->count > 0 || sorted->all_count <= LEAVES_KEPT)
        return;
    struct ss_leaf *leaf = sorted->all;
    sorted->all = sorted->spares = NULL;
    sorted->all_count = 0;
    compiler_fence();
    while (leaf) {
        struct ss_leaf *older = leaf->older;
        ss_deallocate(leaf);
        leaf = older;
    }
}

// A child of fork() uses the pointer and the capacity only: the array is never smaller than that.
static size_t trim_places(struct ss_sorted *sorted)
{
    size_t before = sorted->capacity, after = sorted->leaves ? sorted->leaves * 2 : 0;
    struct ss_leaf **array = NULL, **old = sorted->leaf;
    if (after < PLACES_MIN && after > 0)
        after = PLACES_MIN;
    if (after >= before || (after > 0 && !(array = ss_allocate(after * sizeof *array))))
        return 0;
    if (array)
        memcpy(array, old + sorted->first_leaf, sorted->leaves * sizeof *array);
    sorted->capacity = after;
    compiler_fence();
    sorted->leaf = array;
    sorted->first_leaf = 0;
    compiler_fence();
    ss_deallocate(old);
    return (before - after) * sizeof *array;
}

// A leaf that is used has an item. A child of fork() follows the chain: a leaf leaves it before it
// is freed.
size_t ss_sorted_trim(struct ss_sorted *sorted)
{
    size_t bytes = 0;
    for (struct ss_leaf *leaf = sorted->spares; leaf; leaf = leaf->spare)
        leaf->first = leaf->end = 0;
    sorted->spares = NULL;
    for (struct ss_leaf **at = &sorted->all; *at;) {
        struct ss_leaf *leaf = *at;
        if (leaf->first != leaf->end) {
            at = &leaf->older;
            continue;
        }
        *at = leaf->older;
        sorted->all_count--;
        compiler_fence();
        ss_deallocate(leaf);
        bytes += sizeof *leaf;
    }
    return bytes + trim_places(sorted);
}

void ss_sorted_finish(struct ss_sorted *sorted)
{
    sorted->count = 0;
    while (sorted->all) {
        struct ss_leaf *leaf = sorted->all;
        sorted->all = leaf->older;
        ss_deallocate(leaf);
    }
    ss_deallocate(sorted->leaf);
}

void ss_sorted_reset(struct ss_sorted *sorted)
{
    sorted->first_leaf = sorted->leaves = sorted->count = sorted->moved = 0;
    sorted->spares = NULL;
    sorted->all_count = 0;
    for (struct ss_leaf *leaf = sorted->all; leaf; leaf = leaf->older) {
        put_spare(sorted, leaf);
        sorted->all_count++;
    }
}

// ---- leaves in the array

// The caller has reserved room.
static struct ss_leaf *add_leaf(struct ss_sorted *sorted, size_t n)
{
    struct ss_leaf **at = sorted->leaf + sorted->first_leaf + n;
    if (n == 0 && sorted->first_leaf > 0) {
        sorted->first_leaf--;
        at--;
    } else {
        memmove(at + 1, at, (sorted->leaves - n) * sizeof *at);
    }
    sorted->leaves++;
    return *at = take_spare(sorted);
}

static void drop_leaf(struct ss_sorted *sorted, size_t n)
{
    struct ss_leaf **at = sorted->leaf + sorted->first_leaf + n;
    put_spare(sorted, *at);
    sorted->leaves--;
    if (n == 0)
        sorted->first_leaf++;
    else
        memmove(at, at + 1, (sorted->leaves - n) * sizeof *at);
}

// ---- items in a leaf

static void insert_into(struct ss_leaf *leaf, unsigned at, void *item)
{
    bool to_left = leaf->end == SS_LEAF || (leaf->first > 0 && at - leaf->first < leaf->end - at);
    if (to_left) {
        memmove(&leaf->item[leaf->first - 1], &leaf->item[leaf->first],
                (at - leaf->first) * sizeof item);
        leaf->first--;
        at--;
    } else {
        memmove(&leaf->item[at + 1], &leaf->item[at], (leaf->end - at) * sizeof item);
        leaf->end++;
    }
    leaf->item[at] = item;
}

static void take_out_of(struct ss_leaf *leaf, unsigned at)
{
    if (at - leaf->first < leaf->end - at) {
        memmove(&leaf->item[leaf->first + 1], &leaf->item[leaf->first],
                (at - leaf->first) * sizeof(void *));
        leaf->first++;
    } else {
        memmove(&leaf->item[at], &leaf->item[at + 1], (leaf->end - at - 1) * sizeof(void *));
        leaf->end--;
    }
}

static bool is_full(const struct ss_leaf *leaf)
{
    return leaf->end - leaf->first == SS_LEAF;
}

// Moves the second half of a full leaf to a new leaf behind it. The caller has reserved room.
static void split(struct ss_sorted *sorted, size_t n)
{
    struct ss_leaf *leaf = leaf_at(sorted, n), *second = add_leaf(sorted, n + 1);
    second->end = SS_LEAF / 2;
    leaf->end -= SS_LEAF / 2;
    memcpy(second->item, &leaf->item[leaf->end], SS_LEAF / 2 * sizeof(void *));
}

static int insert(struct ss_sorted *sorted, struct place place, void *item)
{
    struct ss_leaf *leaf = sorted->leaves ? leaf_at(sorted, place.n) : NULL;
    if (!leaf || is_full(leaf)) {
        int err = reserve(sorted, 1);
        if (err)
            return err;
        if (!leaf || (place.n == sorted->leaves - 1 && place.at == leaf->end)) {
            leaf = add_leaf(sorted, sorted->leaves); // items that come in order fill their leaves
            place.at = leaf->end;
        } else {
            split(sorted, place.n);
            if (place.at > leaf->end) {
                place.at -= leaf->end;
                leaf = leaf_at(sorted, place.n + 1);
            }
        }
    }
    insert_into(leaf, place.at, item);
    sorted->count++;
    return 0;
}

// ---- places

// The place behind the `moved` first items.
static struct place behind_moved(const struct ss_sorted *sorted)
{
    size_t n = 0, left = sorted->moved;
    for (; n + 1 < sorted->leaves; n++) {
        struct ss_leaf *leaf = leaf_at(sorted, n);
        if (left < leaf->end - leaf->first)
            break;
        left -= leaf->end - leaf->first;
    }
    return (struct place){n, leaf_at(sorted, n)->first + (unsigned)left};
}

// The place behind the last item that does not come after `item`. Among the ordered ones, which
// begin at `from`; there is one at least.
static struct place find_place(const struct ss_sorted *sorted, struct place from, const void *item,
                               smolscale_compare_fn *compare, void *compare_data)
{
    size_t last = sorted->leaves - 1;
    struct ss_leaf *leaf = leaf_at(sorted, last);
    if (compare(leaf->item[leaf->end - 1], item, compare_data) <= 0)
        return (struct place){last, leaf->end};
    // Look for the last leaf whose first item does not come after `item`.
    size_t n = from.n;
    for (size_t end = last + 1; end - n > 1;) {
        size_t middle = n + (end - n) / 2;
        leaf = leaf_at(sorted, middle);
        if (compare(leaf->item[leaf->first], item, compare_data) <= 0)
            n = middle;
        else
            end = middle;
    }
    leaf = leaf_at(sorted, n);
    unsigned at = n == from.n ? from.at : leaf->first + 1, end = leaf->end;
    while (at < end) {
        unsigned middle = at + (end - at) / 2;
        if (compare(leaf->item[middle], item, compare_data) <= 0)
            at = middle + 1;
        else
            end = middle;
    }
    return (struct place){n, at};
}

// Moves the place back by one item. False: there is none before it.
static bool step_back(const struct ss_sorted *sorted, struct place *place)
{
    if (place->at == leaf_at(sorted, place->n)->first) {
        if (place->n == 0)
            return false;
        place->n--;
        place->at = leaf_at(sorted, place->n)->end;
    }
    place->at--;
    return true;
}

// The same among those that were moved to the front, which end at `from`.
static struct place find_among_moved(const struct ss_sorted *sorted, struct place from,
                                     const void *item, smolscale_compare_fn *compare,
                                     void *compare_data)
{
    struct place place = from, before = from;
    while (step_back(sorted, &before) &&
           compare(leaf_at(sorted, before.n)->item[before.at], item, compare_data) > 0)
        place = before;
    return place;
}

static bool is_same(struct place a, struct place b)
{
    return a.n == b.n && a.at == b.at;
}

int ss_sorted_push(struct ss_sorted *sorted, void *item, smolscale_compare_fn *compare,
                   void *compare_data)
{
    if (sorted->count == 0)
        return insert(sorted, (struct place){0, 0}, item);
    struct place from = behind_moved(sorted), place = from;
    if (sorted->count > sorted->moved)
        place = find_place(sorted, from, item, compare, compare_data);
    bool among_moved = false;
    if (sorted->moved > 0 && is_same(place, from)) {
        place = find_among_moved(sorted, from, item, compare, compare_data);
        among_moved = !is_same(place, from);
    }
    int err = insert(sorted, place, item);
    if (!err)
        sorted->moved += among_moved;
    return err;
}

unsigned ss_sorted_pop(struct ss_sorted *sorted, void **out, unsigned max)
{
    unsigned n = 0;
    while (n < max && sorted->leaves > 0) {
        struct ss_leaf *leaf = leaf_at(sorted, 0);
        while (n < max && leaf->first < leaf->end)
            out[n++] = leaf->item[leaf->first++];
        if (leaf->first == leaf->end)
            drop_leaf(sorted, 0);
    }
    sorted->count -= n;
    sorted->moved -= n < sorted->moved ? n : sorted->moved;
    trim(sorted);
    return n;
}

// Looks for the item; of equal pointers, for the one that starts last. False: there is none.
static bool find(const struct ss_sorted *sorted, const void *item, struct place *place)
{
    for (size_t n = sorted->leaves; n > 0; n--) {
        struct ss_leaf *leaf = leaf_at(sorted, n - 1);
        for (unsigned at = leaf->end; at > leaf->first; at--) {
            if (leaf->item[at - 1] != item)
                continue;
            *place = (struct place){n - 1, at - 1};
            return true;
        }
    }
    return false;
}

static bool is_moved(const struct ss_sorted *sorted, struct place place)
{
    struct place from = behind_moved(sorted);
    return sorted->moved > 0 && (place.n < from.n || (place.n == from.n && place.at < from.at));
}

static void take_out(struct ss_sorted *sorted, struct place place)
{
    sorted->moved -= is_moved(sorted, place);
    struct ss_leaf *leaf = leaf_at(sorted, place.n);
    take_out_of(leaf, place.at);
    if (leaf->first == leaf->end)
        drop_leaf(sorted, place.n);
    sorted->count--;
}

bool ss_sorted_remove(struct ss_sorted *sorted, const void *item)
{
    struct place place;
    if (!find(sorted, item, &place))
        return false;
    take_out(sorted, place);
    trim(sorted);
    return true;
}

// All items before it move on by one, from leaf to leaf, which needs no memory.
bool ss_sorted_move_to_front(struct ss_sorted *sorted, void *item)
{
    struct place place;
    if (!find(sorted, item, &place))
        return false;
    sorted->moved += !is_moved(sorted, place);
    void *carried = item;
    for (size_t n = 0; n <= place.n; n++) {
        struct ss_leaf *leaf = leaf_at(sorted, n);
        unsigned last = n == place.n ? place.at : leaf->end - 1;
        void *next = leaf->item[last];
        memmove(&leaf->item[leaf->first + 1], &leaf->item[leaf->first],
                (last - leaf->first) * sizeof item);
        leaf->item[leaf->first] = carried;
        carried = next;
    }
    return true;
}

int ss_sorted_reserve(struct ss_sorted *sorted, size_t count)
{
    int err = reserve(sorted, (count + SS_LEAF - 1) / SS_LEAF);
    if (err)
        trim(sorted);
    return err;
}

void ss_sorted_fill(struct ss_sorted *sorted, void *const *items, size_t count)
{
    while (sorted->leaves > 0)
        drop_leaf(sorted, 0);
    for (size_t done = 0; done < count;) {
        struct ss_leaf *leaf = add_leaf(sorted, sorted->leaves);
        leaf->end = count - done < SS_LEAF ? (unsigned)(count - done) : SS_LEAF;
        memcpy(leaf->item, items + done, leaf->end * sizeof *items);
        done += leaf->end;
    }
    sorted->count = count;
    sorted->moved = 0;
}

void ss_sorted_copy(const struct ss_sorted *sorted, void **out)
{
    for (size_t n = 0; n < sorted->leaves; n++) {
        struct ss_leaf *leaf = leaf_at(sorted, n);
        memcpy(out, &leaf->item[leaf->first], (leaf->end - leaf->first) * sizeof *out);
        out += leaf->end - leaf->first;
    }
}

// Merge sort from the bottom up: n log2 n comparisons at most, and no recursion.
void ss_sort(void **items, void **room, size_t count, smolscale_compare_fn *compare,
             void *compare_data)
{
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t left = start, middle = count - start < width ? count : start + width;
            size_t right = middle, end = count - middle < width ? count : middle + width;
            for (size_t to = start; to < end; to++) {
                bool take_left =
                    left < middle &&
                    (right == end || compare(items[left], items[right], compare_data) <= 0);
                room[to] = take_left ? items[left++] : items[right++];
            }
        }
        memcpy(items, room, count * sizeof *items);
    }
}
