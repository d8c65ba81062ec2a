// SPDX-License-Identifier: ISC
//
// Descriptors: awaiting that sockets and pipes can be read or written; and who looks for that.
//
// One epoll instance for the process, made when a task first has to wait for a descriptor. There a
// descriptor is registered when it is first waited for, *edge-triggered*, and stays until it is
// forgotten: a wait costs no system call beyond those that find that nothing is there. Each
// direction is registered when it is first awaited (most sockets are never awaited for writing, and
// those of AF_UNIX would report each byte that the other side takes).
//
// No event is lost. `edges` counts for each direction of a descriptor what epoll has reported.
//
//     awaiting (attempt)                       whoever gets the event (report)
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
//   comes. Who is taken off does the system call anew, and waits anew if there was nothing after
//   all: a report too many does no harm. Nothing is ever cleared, so several tasks may go through
//   this with one descriptor (accept) and none hides an edge from another.
//
// Who does the system call. Not who gets the event, but the task, when it runs next, on its own
// worker: while it waits, its poll function is go_on() below, which gives it its own back when the
// await has its result. What the await is about lies in a `struct wait` meanwhile, task->slot.
//
// A source is a descriptor's *number*. Forgetting begins a new `generation` of it: reports of old
// ones carry their own and are dropped, awaits of old ones give -EBADF.
//
// Who looks for events, while anybody waits (`ss_reactor_waits`; otherwise nobody does). A worker
// that serves a lane does, now and then and before it leaves the lane (lane.c). Where no lane is
// served, one thread sleeps in *the seat*: in the kernel until an event, its own wake-up or its
// time comes. It is the worker that parked last (worker.c, park()); or a thread that waits like a
// task, or for the tasks of its local executor; or else the balancer. The rule by which nobody is
// missing: who begins to wait for a descriptor, who leaves the seat and who leaves a lane looks,
// under ss.lock, whether somebody covers (ss_reactor_covered), and if not takes the seat or has the
// balancer do it. A worker that is on its way counts, for it will look.
//
// Waking who sits. There is one seat, hence one eventfd for all who sit there. The waker changes
// the sleeper's own word (worker->park and its like) first and then writes the eventfd; the sleeper
// empties the eventfd first and then looks at its word. So a wake-up meant for somebody who sat
// there before costs a look, and none is lost: one that the sleeper has swallowed has changed its
// word before.
//
// tests/model/reactor.pml and seat.pml check the two protocols.

#include "task/task.h"

#include "os/memory.h"
#include "task/waitlist.h"

#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 64

// Everything about one descriptor number.
struct source {
    _Alignas(SS_CACHE_LINE) smolscale_waitlist waiters; // one for each direction, or one for both
    _Atomic unsigned edges[2];       // reports to readers and writers; changed under the lock
    _Atomic unsigned generation;     // counts the times it was forgotten; changed under both locks
    _Atomic uint32_t watched;        // what epoll reports of it; changed under both locks
    _Atomic(struct wait *) spare[2]; // kept for the next wait
};

enum operation { OP_READY, OP_READ, OP_WRITE, OP_ACCEPT, OP_CONNECT };

// An await that may have to wait.
struct wait {
    smolscale_poll_fn *poll; // the task's own
    enum operation operation;
    int fd;
    int events; // SMOLSCALE_READABLE, SMOLSCALE_WRITABLE
    char *buffer;
    size_t size, done;
    unsigned generation; // of the source, when the await began
};

_Atomic unsigned ss_reactor_waits;

static struct {
    struct ss_lock lock; // of registering and forgetting
    _Atomic int epoll;
    int wake;   // the eventfd of the seat
    bool taken; // the seat is; ss.lock
} reactor = {.epoll = -1, .wake = -1};

// ---- sources, by number: segment k has FIRST << k of them, is made when one is needed, and never
// moves

#define FIRST_BITS 6
#define FIRST      (1u << FIRST_BITS)
#define SEGMENTS   (32 - FIRST_BITS)

static _Atomic(struct source *) segments[SEGMENTS];

static unsigned segment_of(int fd, unsigned *place)
{
    unsigned n = (unsigned)fd + FIRST, segment = 31 - (unsigned)__builtin_clz(n) - FIRST_BITS;
    *place = n - (FIRST << segment);
    return segment;
}

// NULL: nobody has waited for a descriptor of such a number.
static struct source *find_source(int fd)
{
    unsigned place, segment = segment_of(fd, &place);
    struct source *sources = load_acquire(&segments[segment]);
    return sources ? &sources[place] : NULL;
}

// NULL: no memory. Of a large segment only what is used is ever touched.
static struct source *get_source(int fd)
{
    struct source *source = find_source(fd);
    if (source)
        return source;
    unsigned place, segment = segment_of(fd, &place);
    char *memory = ss_allocate_zeroed(((size_t)FIRST << segment) * sizeof *source + SS_CACHE_LINE);
    if (!memory)
        return NULL;
    char *aligned = memory + (-(uintptr_t)memory & (SS_CACHE_LINE - 1));
    struct source *none = NULL;
    if (!cas_strong_acq_rel(&segments[segment], &none, (struct source *)aligned))
        ss_deallocate(memory);
    return find_source(fd);
}

// ---- registering

static int start(void)
{
    if (load_relaxed(&reactor.epoll) >= 0)
        return 0;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int wake = epoll < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake < 0) {
        int err = -errno;
        if (epoll >= 0)
            close(epoll);
        return err;
    }
    reactor.wake = wake;
    store_release(&reactor.epoll, epoll);
    return 0;
}

static uint32_t epoll_events(int events)
{
    return (events & SMOLSCALE_READABLE ? EPOLLIN | EPOLLRDHUP : 0u) |
           (events & SMOLSCALE_WRITABLE ? EPOLLOUT : 0u);
}

static bool watches(struct source *source, int events)
{
    return (epoll_events(events) & ~load_acquire(&source->watched)) == 0;
}

// Any change has epoll report what is there at that moment. The kernel forgets a descriptor by
// itself when it is closed, and here it may stand as registered still: hence ENOENT.
static int change(int fd, unsigned generation, uint32_t events)
{
    struct epoll_event event = {events | EPOLLET,
                                {.u64 = (uint64_t)generation << 32 | (uint32_t)fd}};
    int epoll = load_relaxed(&reactor.epoll);
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) == 0 ||
        (errno == ENOENT && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0))
        return 0;
    return -errno;
}

// Has epoll report these events; with `again` also if it is believed to do so.
static int watch(struct source *source, int fd, int events, bool again)
{
    if (!again && watches(source, events))
        return 0;
    ss_lock(&reactor.lock);
    int err = start();
    if (!err) {
        uint32_t all = load_relaxed(&source->watched) | epoll_events(events);
        err = change(fd, load_relaxed(&source->generation), all);
        if (!err)
            store_release(&source->watched, all);
    }
    ss_unlock(&reactor.lock);
    return err;
}

// ---- reports

// Takes the tasks off that wait for any of `events` (the list's lock held), and puts them in front
// of `list`.
static struct smolscale_task *take_waiters(struct source *source, int events, int result,
                                           struct smolscale_task *list)
{
    for (struct smolscale_task *task = source->waiters.first, *following; task; task = following) {
        following = task->next;
        if (!(((struct wait *)task->slot)->events & events))
            continue;
        ss_list_remove(&source->waiters, task);
        task->result = result;
        task->next = list;
        list = task;
    }
    return list;
}

static void count_edge(struct source *source, int events)
{
    if (events & SMOLSCALE_READABLE)
        store_release(&source->edges[0], load_relaxed(&source->edges[0]) + 1);
    if (events & SMOLSCALE_WRITABLE)
        store_release(&source->edges[1], load_relaxed(&source->edges[1]) + 1);
}

static struct smolscale_task *report(const struct epoll_event *event, struct smolscale_task *list)
{
    struct source *source = find_source((int)(uint32_t)event->data.u64);
    if (!source)
        return list; // of before a fork
    bool gone = event->events & (EPOLLHUP | EPOLLERR);
    int events = (event->events & (EPOLLIN | EPOLLRDHUP) || gone ? SMOLSCALE_READABLE : 0) |
                 (event->events & EPOLLOUT || gone ? SMOLSCALE_WRITABLE : 0);
    ss_list_lock(&source->waiters);
    if (load_relaxed(&source->generation) == (unsigned)(event->data.u64 >> 32)) {
        count_edge(source, events);
        list = take_waiters(source, events, 0, list);
    }
    ss_list_unlock(&source->waiters);
    return list;
}

bool ss_reactor_poll(void)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    bool woken = false;
    int epoll = load_acquire(&reactor.epoll), count = EVENTS_AT_ONCE;
    while (epoll >= 0 && count == EVENTS_AT_ONCE) {
        count = epoll_wait(epoll, events, EVENTS_AT_ONCE, 0);
        struct smolscale_task *list = NULL;
        for (int i = count - 1; i >= 0; i--)
            list = report(&events[i], list); // so that the first comes first
        woken |= list != NULL;
        ss_schedule_list(list);
    }
    return woken;
}

// ---- the seat

bool ss_reactor_covered(void)
{
    return load_relaxed(&ss_reactor_waits) == 0 || reactor.taken || ss.shared.waking > 0 ||
           ss_lanes_attended();
}

bool ss_reactor_sit_locked(void)
{
    if (ss_reactor_covered() || load_acquire(&reactor.epoll) < 0)
        return false;
    reactor.taken = true;
    return true;
}

bool ss_reactor_sit(void)
{
    if (load_relaxed(&ss_reactor_waits) == 0)
        return false;
    ss_lock(&ss.lock);
    bool sits = ss_reactor_sit_locked();
    ss_unlock(&ss.lock);
    return sits;
}

bool ss_reactor_sleep(int fd, uint64_t until, bool *time_up)
{
    struct pollfd fds[3] = {{load_relaxed(&reactor.epoll), POLLIN, 0},
                            {reactor.wake, POLLIN, 0},
                            {fd, POLLIN, 0}}; // poll() passes -1 over
    int count = ss_os.poll_until(fds, 3, until);
    if (time_up)
        *time_up = count == 0;
    uint64_t wakes;
    ssize_t emptied = count > 0 && fds[1].revents ? read(reactor.wake, &wakes, sizeof wakes) : 0;
    (void)emptied; // nobody else reads it
    return count > 0 && fds[0].revents;
}

void ss_reactor_leave_locked(void)
{
    reactor.taken = false;
}

void ss_reactor_leave(void)
{
    ss_lock(&ss.lock);
    ss_reactor_leave_locked();
    ss_unlock(&ss.lock);
}

void ss_reactor_wake(void)
{
    int saved_errno = errno;
    uint64_t one = 1;
    while (write(reactor.wake, &one, sizeof one) < 0 && errno == EINTR)
        ;
    errno = saved_errno;
}

void ss_reactor_cover(void)
{
    if (load_relaxed(&ss_reactor_waits) == 0)
        return;
    ss_lock(&ss.lock);
    bool covered = ss_reactor_covered();
    ss_unlock(&ss.lock);
    if (!covered)
        ss_watch();
}

// ---- the system calls. -EAGAIN: it must wait.

static int look(struct pollfd *fd)
{
    while (poll(fd, 1, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static int try_ready(struct wait *wait)
{
    // A peer that sends no more is the readers' affair: writers would be told again and again.
    struct pollfd fd = {wait->fd, 0, 0};
    fd.events = (short)((wait->events & SMOLSCALE_READABLE ? POLLIN | POLLRDHUP : 0) |
                        (wait->events & SMOLSCALE_WRITABLE ? POLLOUT : 0));
    int err = look(&fd);
    if (err)
        return err;
    if (fd.revents & POLLNVAL)
        return -EBADF;
    int events = (fd.revents & POLLIN ? SMOLSCALE_READABLE : 0) |
                 (fd.revents & POLLOUT ? SMOLSCALE_WRITABLE : 0) |
                 (fd.revents & (POLLHUP | POLLERR | POLLRDHUP) ? SMOLSCALE_HANGUP : 0);
    return events ? events : -EAGAIN;
}

static int try_read(struct wait *wait)
{
    ssize_t n;
    do
        n = read(wait->fd, wait->buffer, wait->size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}

// Without SIGPIPE where the kernel can be told so.
static ssize_t write_some(int fd, const char *buffer, size_t size)
{
    ssize_t n = send(fd, buffer, size, MSG_NOSIGNAL);
    return n < 0 && errno == ENOTSOCK ? write(fd, buffer, size) : n;
}

static int try_write(struct wait *wait)
{
    do {
        ssize_t n = write_some(wait->fd, wait->buffer + wait->done, wait->size - wait->done);
        if (n < 0 && errno != EINTR)
            return -errno;
        wait->done += n < 0 ? 0 : (size_t)n;
    } while (wait->done < wait->size);
    return wait->size < INT_MAX ? (int)wait->size : INT_MAX;
}

// The number was free: what is known of it is of a descriptor that was closed and not forgotten.
static int renewed(int fd)
{
    struct source *source = find_source(fd);
    if (source && load_relaxed(&source->watched))
        smolscale_forget(fd);
    return fd;
}

static int try_accept(struct wait *wait)
{
    for (;;) {
        int fd = accept4(wait->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            return renewed(fd);
        if (errno != EINTR && errno != ECONNABORTED)
            return -errno;
    }
}

// Whether the connection that was begun has come about.
static int try_connect(struct wait *wait)
{
    struct pollfd fd = {wait->fd, POLLOUT, 0};
    int err = look(&fd);
    if (err)
        return err;
    if (!fd.revents)
        return -EAGAIN;
    socklen_t size = sizeof err;
    return getsockopt(wait->fd, SOL_SOCKET, SO_ERROR, &err, &size) < 0 ? -errno : -err;
}

static int try(struct wait *wait)
{
    switch (wait->operation) {
    case OP_READY:
        return try_ready(wait);
    case OP_READ:
        return try_read(wait);
    case OP_WRITE:
        return try_write(wait);
    case OP_ACCEPT:
        return try_accept(wait);
    case OP_CONNECT:
        return try_connect(wait);
    }
    return -EINVAL;
}

// ---- awaiting

static _Atomic(struct wait *) *spare_of(struct source *source, const struct wait *wait)
{
    return &source->spare[wait->events & SMOLSCALE_READABLE ? 0 : 1];
}

static void count_wait(const struct smolscale_task *task, unsigned change)
{
    fetch_add_relaxed(&ss_reactor_waits, change);
    if (task->home && task->home->waits)
        *task->home->waits += change; // its own thread
}

// The await has its result, and the task its poll function back.
static void finish(struct smolscale_task *task, struct wait *wait)
{
    task->poll = wait->poll;
    count_wait(task, (unsigned)-1);
    ss_deallocate(exchange_acq_rel(spare_of(find_source(wait->fd), wait), wait));
}

static int go_on(smolscale_cx *cx, void *frame);

// Makes a wait of the caller's one that the task is in: from here on go_on() is polled.
static struct wait *begin(smolscale_cx *cx, struct source *source, const struct wait *first)
{
    struct wait *wait = exchange_acq_rel(spare_of(source, first), NULL);
    if (!wait)
        wait = ss_allocate(sizeof *wait);
    if (!wait)
        return NULL;
    *wait = *first;
    wait->poll = cx->task->poll;
    cx->task->poll = go_on;
    count_wait(cx->task, 1);
    return wait;
}

static bool changed(struct source *source, const unsigned seen[2], int events)
{
    return (events & SMOLSCALE_READABLE && load_relaxed(&source->edges[0]) != seen[0]) ||
           (events & SMOLSCALE_WRITABLE && load_relaxed(&source->edges[1]) != seen[1]);
}

static bool busy(const struct source *source, int events)
{
    for (struct smolscale_task *task = source->waiters.first; task; task = task->next)
        if (((struct wait *)task->slot)->events & events)
            return true;
    return false;
}

// The protocol of the file's head. `*wait` is the caller's at first, and the task's own once it had
// to wait; SMOLSCALE_PENDING: it has to.
static int attempt(smolscale_cx *cx, struct wait **wait, bool waiting)
{
    struct wait *w = *wait;
    struct source *source = find_source(w->fd);
    if (!waiting)
        w->generation = source ? load_acquire(&source->generation) : 0;
    for (;;) {
        if (source && load_acquire(&source->generation) != w->generation)
            return -EBADF;
        unsigned edges[2] = {0, 0};
        for (unsigned i = 0; i < 2 && source; i++)
            edges[i] = load_acquire(&source->edges[i]); // 1.
        int result = try(w);                            // 2.
        if (result != -EAGAIN)
            return result;
        if (!source && !(source = get_source(w->fd)))
            return -ENOMEM;
        if (!waiting) {
            w = begin(cx, source, w);
            if (!w)
                return -ENOMEM;
            *wait = w;
            waiting = true;
        }
        int err = watch(source, w->fd, w->events, false); // 3.
        if (err)
            return err;
        ss_list_lock(&source->waiters); // 4.
        bool forgotten = load_relaxed(&source->generation) != w->generation;
        if (forgotten || busy(source, w->events)) {
            ss_list_unlock(&source->waiters);
            return forgotten ? -EBADF : -EBUSY;
        }
        if (!changed(source, edges, w->events)) // 5.
            return ss_wait(cx, &source->waiters, w);
        ss_list_unlock(&source->waiters);
        int interrupted = ss_interrupted(cx);
        if (interrupted)
            return interrupted;
    }
}

// The poll function of a task that waits for a descriptor. cx->result says whether it was woken by
// an event or interrupted. A thread has no poll function: then the result is its own.
static int go_on(smolscale_cx *cx, void *frame)
{
    struct wait *wait = cx->task->slot;
    int result = cx->result < 0 ? cx->result : attempt(cx, &wait, true);
    if (result == SMOLSCALE_PENDING)
        return result;
    finish(cx->task, wait);
    cx->result = result;
    return cx->task->poll ? cx->task->poll(cx, frame) : result;
}

void ss_reactor_drop(struct smolscale_task *task)
{
    if (task->poll == go_on)
        finish(task, task->slot);
}

static int await(smolscale_cx *cx, struct wait first)
{
    int interrupted = ss_interrupted(cx);
    if (interrupted)
        return interrupted;
    if (first.fd < 0)
        return -EBADF;
    struct wait *wait = &first;
    int result = attempt(cx, &wait, false);
    if (result == SMOLSCALE_PENDING)
        return result;
    if (wait != &first)
        finish(cx->task, wait);
    return ss_ready(cx, result);
}

// ---- the public functions

int smolscale_ready(smolscale_cx *cx, int fd, int events)
{
    if (events == 0 || events & ~(SMOLSCALE_READABLE | SMOLSCALE_WRITABLE))
        return -EINVAL;
    // No room for descriptors up to a number that is none.
    struct pollfd known = {fd, 0, 0};
    if (fd < 0 || (!find_source(fd) && look(&known) == 0 && known.revents & POLLNVAL))
        return -EBADF;
    struct source *source = get_source(fd);
    int err = source ? watch(source, fd, events, false) : -ENOMEM;
    if (err)
        return err;
    return await(cx, (struct wait){.operation = OP_READY, .fd = fd, .events = events});
}

int smolscale_read(smolscale_cx *cx, int fd, void *buffer, size_t size)
{
    return await(cx, (struct wait){.operation = OP_READ,
                                   .fd = fd,
                                   .events = SMOLSCALE_READABLE,
                                   .buffer = buffer,
                                   .size = size < INT_MAX ? size : INT_MAX});
}

int smolscale_write(smolscale_cx *cx, int fd, const void *buffer, size_t size)
{
    return await(cx, (struct wait){.operation = OP_WRITE,
                                   .fd = fd,
                                   .events = SMOLSCALE_WRITABLE,
                                   .buffer = (char *)(uintptr_t)buffer,
                                   .size = size});
}

int smolscale_accept(smolscale_cx *cx, int fd)
{
    return await(cx, (struct wait){.operation = OP_ACCEPT, .fd = fd, .events = SMOLSCALE_READABLE});
}

// A new socket, so what is known of its number may be of a descriptor that was closed and not
// forgotten: it is registered in any case.
int smolscale_connect(smolscale_cx *cx, int fd, const struct sockaddr *address, unsigned length)
{
    int interrupted = ss_interrupted(cx);
    if (interrupted)
        return interrupted;
    if (connect(fd, address, length) == 0)
        return ss_ready(cx, 0);
    if (errno != EINPROGRESS && errno != EINTR && errno != EALREADY)
        return ss_ready(cx, -errno);
    struct source *source = get_source(fd);
    int err = source ? watch(source, fd, SMOLSCALE_WRITABLE, true) : -ENOMEM;
    if (err)
        return err;
    return await(cx,
                 (struct wait){.operation = OP_CONNECT, .fd = fd, .events = SMOLSCALE_WRITABLE});
}

void smolscale_forget(int fd)
{
    struct source *source = fd < 0 ? NULL : find_source(fd);
    if (!source)
        return;
    int saved_errno = errno;
    ss_lock(&reactor.lock);
    if (load_relaxed(&source->watched))
        epoll_ctl(load_relaxed(&reactor.epoll), EPOLL_CTL_DEL, fd, NULL); // may be gone already
    ss_list_lock(&source->waiters);
    store_release(&source->watched, 0);
    store_release(&source->generation, load_relaxed(&source->generation) + 1);
    struct smolscale_task *list =
        take_waiters(source, SMOLSCALE_READABLE | SMOLSCALE_WRITABLE, -EBADF, NULL);
    ss_list_unlock(&source->waiters);
    ss_unlock(&reactor.lock);
    errno = saved_errno;
    ss_schedule_list(list);
}

// The epoll instance is shared with the parent: the child leaves it alone and makes its own. Waits
// that the parent's tasks are in belong to the parent.
static void after_fork(void)
{
    ss_lock_reset(&reactor.lock);
    if (load_relaxed(&reactor.epoll) >= 0) {
        close(load_relaxed(&reactor.epoll));
        close(reactor.wake);
    }
    store_relaxed(&reactor.epoll, -1);
    reactor.wake = -1;
    reactor.taken = false;
    store_relaxed(&ss_reactor_waits, 0);
    for (unsigned i = 0; i < SEGMENTS; i++)
        store_relaxed(&segments[i], NULL); // other threads may have been anywhere in them
}

SS_ROOM(io_reactor, NULL, after_fork);
