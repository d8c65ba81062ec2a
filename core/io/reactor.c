// SPDX-License-Identifier: ISC
//
// Descriptors whose events are reported.
//
// One poller for the process, made when something first has to wait for a descriptor. There a
// descriptor is registered when it is first waited for, *edge-triggered*, and stays until it is
// forgotten: a wait costs no system call beyond those that find that nothing is there. Each
// direction is registered when it is first awaited (most sockets are never awaited for writing, and
// those of AF_UNIX would report each byte that the other side takes).
//
// No event is lost. `edges` counts for each direction of a descriptor what the poller has reported.
//
//     awaiting (attempt(), task/descriptor.c)  a thread that gets the event (deliver())
//     1. e = edges                             1. lock the source
//     2. the system call: EAGAIN               2. edges + 1
//     3. register, if it is not                3. is a task on the list? take it off
//     4. lock the source                       4. unlock; schedule it
//     5. edges == e?  onto the list: suspended
//        else unlock, and again from 1
//
//   What makes the descriptor ready after 2 is reported after 2: by an edge, or, where it comes
//   before 3, because registering reports what is there. If that report is counted before 5, edges
//   has changed (or 1 has seen it, and 2 what it is about); else the task is on the list when it
//   comes. A task that is taken off does the system call anew, and waits anew if there was nothing
//   after all: a report too many does no harm. Nothing is ever cleared, so several tasks may go
//   through this with one descriptor (accept) and none hides an edge from another.
//   tests/model/reactor.pml checks this.
//
// A source is a descriptor's *number*. Forgetting begins a new `generation` of it: reports of old
// ones carry their own and are dropped, awaits of old ones give -EBADF.
//
// sched/duty.h says which threads look for reports.

#include "io/reactor.h"

#include "io/seat.h"
#include "os/descriptor.h"
#include "os/memory.h"

#include <errno.h>

static struct {
    struct ss_lock lock;              // of registering and forgetting
    _Atomic int poller;               // -1: none yet; published when the rest is there
    const struct ss_waiting *waiting; // constant from then on
} reactor = {.poller = -1};

// ---- sources, by number: segment k has FIRST << k of them, is made when one is needed, and never
// moves

#define FIRST_BITS 6
#define FIRST      (1u << FIRST_BITS)
#define SEGMENTS   (32 - FIRST_BITS)

static _Atomic(struct ss_source *) segments[SEGMENTS];

static unsigned segment_of(int fd, unsigned *place)
{
    unsigned n = (unsigned)fd + FIRST, segment = 31 - (unsigned)__builtin_clz(n) - FIRST_BITS;
    *place = n - (FIRST << segment);
    return segment;
}

struct ss_source *ss_source_find(int fd)
{
    unsigned place, segment = segment_of(fd, &place);
    struct ss_source *sources = load_acquire(&segments[segment]);
    return sources ? &sources[place] : NULL;
}

// Of a large segment only what is used is ever touched.
struct ss_source *ss_source_get(int fd)
{
    struct ss_source *source = ss_source_find(fd);
    if (source)
        return source;
    unsigned place, segment = segment_of(fd, &place);
    char *memory = ss_allocate_zeroed(((size_t)FIRST << segment) * sizeof *source + SS_CACHE_LINE);
    if (!memory)
        return NULL;
    char *aligned = memory + (-(uintptr_t)memory & (SS_CACHE_LINE - 1));
    struct ss_source *none = NULL;
    if (!cas_strong_acq_rel(&segments[segment], &none, (struct ss_source *)aligned))
        ss_deallocate(memory);
    return ss_source_find(fd);
}

// ---- registering

static const struct ss_event_duty duty = {ss_reactor_poll, ss_seat_wait, ss_seat_end_wait};

// The reactor's lock held.
static int open_reactor(const struct ss_waiting *waiting)
{
    if (load_relaxed(&reactor.poller) >= 0)
        return 0;
    int poller = ss_poller_new();
    if (poller < 0)
        return poller;
    int err = ss_seat_open(poller);
    if (err) {
        ss_fd_close(poller);
        return err;
    }
    reactor.waiting = waiting;
    store_release(&reactor.poller, poller);
    store_release(&ss_duties.events, &duty);
    return 0;
}

static bool is_reported(struct ss_source *source, int events)
{
    return (events & ~load_acquire(&source->reported)) == 0;
}

int ss_source_subscribe(struct ss_source *source, int fd, int events, bool again,
                        const struct ss_waiting *waiting)
{
    if (!again && is_reported(source, events))
        return 0;
    ss_lock(&reactor.lock);
    int err = open_reactor(waiting);
    if (!err) {
        int all = load_relaxed(&source->reported) | events;
        uint64_t data = (uint64_t)load_relaxed(&source->generation) << 32 | (uint32_t)fd;
        err = ss_poller_set(load_relaxed(&reactor.poller), fd, all, data);
        if (!err)
            store_release(&source->reported, all);
    }
    ss_unlock(&reactor.lock);
    return err;
}

// ---- reports

static void count_edge(struct ss_source *source, int events)
{
    if (events & SMOLSCALE_READABLE)
        store_release(&source->edges[0], load_relaxed(&source->edges[0]) + 1);
    if (events & SMOLSCALE_WRITABLE)
        store_release(&source->edges[1], load_relaxed(&source->edges[1]) + 1);
}

static void *deliver(const struct ss_report *report, void *list)
{
    struct ss_source *source = ss_source_find((int)(uint32_t)report->data);
    if (!source)
        return list; // of before a fork
    ss_source_lock(source);
    if (load_relaxed(&source->generation) == (unsigned)(report->data >> 32)) {
        count_edge(source, report->events);
        list = reactor.waiting->take(source, report->events, 0, list);
    }
    ss_source_unlock(source);
    return list;
}

bool ss_reactor_poll(void)
{
    struct ss_report reports[SS_REPORTS_MAX];
    bool woken = false;
    int poller = load_acquire(&reactor.poller);
    unsigned count = SS_REPORTS_MAX;
    while (poller >= 0 && count == SS_REPORTS_MAX) {
        count = ss_poller_take(poller, reports);
        void *list = NULL;
        for (unsigned i = count; i-- > 0;)
            list = deliver(&reports[i], list); // so that the first comes first
        if (!list)
            continue;
        woken = true;
        reactor.waiting->wake(list);
    }
    return woken;
}

void ss_source_forget(int fd)
{
    struct ss_source *source = fd < 0 ? NULL : ss_source_find(fd);
    if (!source)
        return;
    int saved_errno = errno;
    void *list = NULL;
    ss_lock(&reactor.lock);
    int poller = load_relaxed(&reactor.poller);
    if (load_relaxed(&source->reported))
        ss_poller_remove(poller, fd);
    ss_source_lock(source);
    store_release(&source->reported, 0);
    store_release(&source->generation, load_relaxed(&source->generation) + 1);
    if (poller >= 0) // else nothing has ever waited
        list = reactor.waiting->take(source, SMOLSCALE_READABLE | SMOLSCALE_WRITABLE, -EBADF, NULL);
    ss_source_unlock(source);
    ss_unlock(&reactor.lock);
    errno = saved_errno;
    if (list)
        reactor.waiting->wake(list);
}

// ---- fork

// The poller is shared with the parent: the child leaves it alone and makes its own. Waits that the
// parent's tasks are in belong to the parent.
static void after_fork(void)
{
    ss_lock_reset(&reactor.lock);
    if (load_relaxed(&reactor.poller) >= 0)
        ss_fd_close(load_relaxed(&reactor.poller));
    store_relaxed(&reactor.poller, -1);
    for (unsigned i = 0; i < SEGMENTS; i++)
        store_relaxed(&segments[i], NULL); // other threads may have been anywhere in them
}

SS_ROOM(io_reactor, NULL, after_fork);
