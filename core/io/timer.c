// SPDX-License-Identifier: ISC
//
// The heap of timers (timer.h). It lies in segments that are never moved, so that the lock is held
// for no longer than a path in it takes.

#include "io/timer.h"

#include "os/bit_lock.h"
#include "os/memory.h"

#define SEGMENT_BITS 12
#define SEGMENT      (1u << SEGMENT_BITS)
#define SEGMENTS     4096u // 16 M timers

struct entry {
    uint64_t when;
    struct ss_timer *timer;
};

static struct {
    unsigned lock; // os/bit_lock.h
    struct entry *segment[SEGMENTS];
    uint32_t count, capacity;
} heap;

// ---- the heap; the lock held

static struct entry *at(uint32_t i)
{
    return &heap.segment[i >> SEGMENT_BITS][i & (SEGMENT - 1)];
}

static void put(uint32_t i, struct entry entry)
{
    *at(i) = entry;
    store_relaxed(&entry.timer->place, i);
}

static void sift_up(uint32_t i, struct entry entry)
{
    while (i > 0 && at((i - 1) / 2)->when > entry.when) {
        put(i, *at((i - 1) / 2));
        i = (i - 1) / 2;
    }
    put(i, entry);
}

static void sift_down(uint32_t i, struct entry entry)
{
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= heap.count)
            break;
        if (child + 1 < heap.count && at(child + 1)->when < at(child)->when)
            child++;
        if (at(child)->when >= entry.when)
            break;
        put(i, *at(child));
        i = child;
    }
    put(i, entry);
}

static void publish_next(void)
{
    ss_set_due(heap.count ? at(0)->when : SS_FOREVER);
}

static void remove_at(uint32_t i)
{
    ss_timer_init(at(i)->timer);
    struct entry last = *at(--heap.count);
    if (i < heap.count) {
        if (i > 0 && at((i - 1) / 2)->when > last.when)
            sift_up(i, last);
        else
            sift_down(i, last);
    }
    publish_next();
}

// Its place may be one in the parent's heap, where a poll has forked and its task goes on in the
// child.
static bool is_in(const struct ss_timer *timer)
{
    uint32_t i = load_relaxed(&timer->place);
    return i < heap.count && at(i)->timer == timer; // SS_NOT_SET is larger than any
}

void ss_timer_set(struct ss_timer *timer, uint64_t when)
{
    sift_up(heap.count++, (struct entry){when, timer});
    publish_next();
}

void ss_timer_unset(struct ss_timer *timer)
{
    if (is_in(timer))
        remove_at(load_relaxed(&timer->place));
    else
        ss_timer_init(timer);
}

struct ss_timer *ss_timers_take_due(uint64_t now)
{
    if (heap.count == 0 || at(0)->when > now)
        return NULL;
    struct ss_timer *timer = at(0)->timer;
    remove_at(0);
    return timer;
}

// ---- the lock

void ss_timers_lock(void)
{
    ss_bit_lock(&heap.lock);
}

void ss_timers_unlock(void)
{
    ss_bit_unlock(&heap.lock, 0);
}

bool ss_timers_lock_with_room(const struct ss_timer *timer, const struct ss_time_duty *duty)
{
    ss_timers_lock();
    while (heap.count == heap.capacity && !is_in(timer)) {
        if (heap.capacity == SEGMENTS * SEGMENT) {
            ss_timers_unlock();
            return false;
        }
        ss_timers_unlock(); // not across the allocator
        store_release(&ss_duties.time, duty);
        struct entry *segment = ss_allocate(SEGMENT * sizeof *segment);
        if (!segment)
            return false;
        ss_timers_lock();
        if (heap.count == heap.capacity && heap.capacity < SEGMENTS * SEGMENT) {
            heap.segment[heap.capacity >> SEGMENT_BITS] = segment;
            heap.capacity += SEGMENT;
        } else {
            ss_deallocate(segment); // another has brought one; seldom enough to do it here
        }
    }
    return true;
}

// ---- memory given back

// The last segment, if no timer is in it. A thread that has the lock "with room" keeps it until the
// timer is in, so room that was promised is never taken away. A child of fork() counts the segments
// by their pointers: the last one goes before it is freed.
static struct entry *take_last_segment(void)
{
    struct entry *segment = NULL;
    ss_timers_lock();
    if (heap.capacity > 0 && heap.capacity - SEGMENT >= heap.count) {
        struct entry **last = &heap.segment[(heap.capacity >> SEGMENT_BITS) - 1];
        segment = *last;
        *last = NULL;
        heap.capacity -= SEGMENT;
        compiler_fence();
    }
    ss_timers_unlock();
    return segment;
}

static size_t trim(void)
{
    size_t bytes = 0;
    for (struct entry *segment; (segment = take_last_segment());) {
        ss_deallocate(segment);
        bytes += SEGMENT * sizeof *segment;
    }
    return bytes;
}

// ---- fork

static void after_fork(void)
{
    heap.lock = 0;
    heap.count = heap.capacity = 0; // which another thread may have been about to change
    while (heap.capacity < SEGMENTS * SEGMENT && heap.segment[heap.capacity >> SEGMENT_BITS])
        heap.capacity += SEGMENT;
}

SS_ROOM_WITH(io_timer, NULL, after_fork, .trim = trim);
