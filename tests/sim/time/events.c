// SPDX-License-Identifier: ISC

#include "events.h"

#include <stdlib.h>

static struct sim_event *heap;
static unsigned count, room;
static uint64_t number;

void sim_events_reset(void)
{
    count = 0;
    number = 0;
}

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->time != b->time ? a->time < b->time : a->number < b->number;
}

void sim_events_add(struct sim_event event)
{
    if (count == room) {
        room = room ? room * 2 : 1024;
        heap = realloc(heap, room * sizeof *heap);
        if (!heap)
            abort();
    }
    event.number = ++number;
    unsigned at = count++;
    for (; at > 0 && is_before(&event, &heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = event;
}

bool sim_events_take(struct sim_event *event)
{
    if (count == 0)
        return false;
    *event = heap[0];
    struct sim_event last = heap[--count];
    unsigned at = 0;
    for (;;) {
        unsigned child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (!is_before(&heap[child], &last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return true;
}

uint64_t sim_events_first(void)
{
    return count ? heap[0].time : UINT64_MAX;
}
