// SPDX-License-Identifier: ISC
//
// Awaiting that descriptors can be read or written, by the protocol of io/reactor.c.
//
// The task that waits does the system call, not the thread that gets the report: when it runs next,
// on its own worker. While it waits, its poll function is go_on() below, which gives it its own
// back when the await has its result. What the await is about lies in a `struct wait` meanwhile,
// task->slot.

#include "task/descriptor.h"

#include "io/reactor.h"
#include "os/descriptor.h"
#include "os/memory.h"
#include "task/interrupt.h"
#include "task/lane.h"
#include "task/waitlist.h"

#include <limits.h>

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

// ---- the system calls. -EAGAIN: it must wait.

static int try_write(struct wait *wait)
{
    do {
        ssize_t n = ss_fd_write(wait->fd, wait->buffer + wait->done, wait->size - wait->done);
        if (n < 0)
            return (int)n;
        wait->done += (size_t)n;
    } while (wait->done < wait->size);
    return wait->size < INT_MAX ? (int)wait->size : INT_MAX;
}

// The number was free: what is known of it is of a descriptor that was closed and not forgotten.
static int try_accept(struct wait *wait)
{
    int fd = ss_fd_accept(wait->fd);
    struct ss_source *source = fd < 0 ? NULL : ss_source_find(fd);
    if (source && load_relaxed(&source->reported))
        ss_source_forget(fd);
    return fd;
}

static int try(struct wait *wait)
{
    switch (wait->operation) {
    case OP_READY:
        return ss_fd_ready(wait->fd, wait->events);
    case OP_READ:
        return ss_fd_read(wait->fd, wait->buffer, wait->size);
    case OP_WRITE:
        return try_write(wait);
    case OP_ACCEPT:
        return try_accept(wait);
    case OP_CONNECT:
        return ss_fd_connected(wait->fd);
    }
    return -EINVAL;
}

// ---- reports

static void *take(struct ss_source *source, int events, int result, void *list)
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

static void wake(void *list)
{
    ss_schedule_list(list);
}

static const struct ss_waiting waiting = {take, wake};

// ---- awaiting

static _Atomic(void *) *spare_of(struct ss_source *source, const struct wait *wait)
{
    return &source->spare[wait->events & SMOLSCALE_READABLE ? 0 : 1];
}

static void count_wait(const struct smolscale_task *task, int change)
{
    ss_events_count(change);
    if (task->home && task->home->waits)
        *task->home->waits += (unsigned)change; // its own thread
}

// The await has its result, and the task its poll function back.
static void end_wait(struct smolscale_task *task, struct wait *wait)
{
    task->poll = wait->poll;
    count_wait(task, -1);
    ss_deallocate(exchange_acq_rel(spare_of(ss_source_find(wait->fd), wait), wait));
}

static int go_on(smolscale_cx *cx, void *frame);

// Makes a wait of the caller's one that the task is in: from here on go_on() is polled.
static struct wait *begin_wait(smolscale_cx *cx, struct ss_source *source, const struct wait *first)
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

static bool changed(struct ss_source *source, const unsigned seen[2], int events)
{
    return (events & SMOLSCALE_READABLE && load_relaxed(&source->edges[0]) != seen[0]) ||
           (events & SMOLSCALE_WRITABLE && load_relaxed(&source->edges[1]) != seen[1]);
}

static bool busy(const struct ss_source *source, int events)
{
    for (struct smolscale_task *task = source->waiters.first; task; task = task->next)
        if (((struct wait *)task->slot)->events & events)
            return true;
    return false;
}

// Steps 4 and 5: suspends the task if nothing was reported since `edges` were read. -EAGAIN:
// something was.
static int wait_unless_changed(smolscale_cx *cx, struct ss_source *source, struct wait *wait,
                               const unsigned edges[2])
{
    ss_source_lock(source); // 4.
    bool forgotten = load_relaxed(&source->generation) != wait->generation;
    if (forgotten || busy(source, wait->events)) {
        ss_source_unlock(source);
        return forgotten ? -EBADF : -EBUSY;
    }
    if (!changed(source, edges, wait->events)) // 5.
        return ss_wait(cx, &source->waiters, wait);
    ss_source_unlock(source);
    int interrupted = ss_interrupted(cx);
    return interrupted ? interrupted : -EAGAIN;
}

// The protocol of io/reactor.c. `*wait` is the caller's at first, and the task's own once it had to
// wait; SMOLSCALE_PENDING: it has to.
static int attempt(smolscale_cx *cx, struct wait **wait, bool is_waiting)
{
    struct wait *w = *wait;
    struct ss_source *source = ss_source_find(w->fd);
    if (!is_waiting)
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
        if (!source && !(source = ss_source_get(w->fd)))
            return -ENOMEM;
        if (!is_waiting) {
            w = begin_wait(cx, source, w);
            if (!w)
                return -ENOMEM;
            *wait = w;
            is_waiting = true;
        }
        int err = ss_source_subscribe(source, w->fd, w->events, false, &waiting); // 3.
        if (err)
            return err;
        result = wait_unless_changed(cx, source, w, edges);
        if (result != -EAGAIN)
            return result;
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
    end_wait(cx->task, wait);
    cx->result = result;
    return cx->task->poll ? cx->task->poll(cx, frame) : result;
}

void ss_descriptor_abandon(struct smolscale_task *task)
{
    if (task->poll == go_on)
        end_wait(task, task->slot);
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
        end_wait(cx->task, wait);
    return ss_ready(cx, result);
}

// ---- the public functions

int smolscale_ready(smolscale_cx *cx, int fd, int events)
{
    if (events == 0 || events & ~(SMOLSCALE_READABLE | SMOLSCALE_WRITABLE))
        return -EINVAL;
    // No room is made for the numbers up to one that is no descriptor.
    if (fd < 0 || (!ss_source_find(fd) && ss_fd_ready(fd, events) == -EBADF))
        return -EBADF;
    struct ss_source *source = ss_source_get(fd);
    int err = source ? ss_source_subscribe(source, fd, events, false, &waiting) : -ENOMEM;
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
    int err = ss_fd_connect(fd, address, length);
    if (err != -EINPROGRESS && err != -EINTR && err != -EALREADY)
        return ss_ready(cx, err);
    struct ss_source *source = ss_source_get(fd);
    err = source ? ss_source_subscribe(source, fd, SMOLSCALE_WRITABLE, true, &waiting) : -ENOMEM;
    if (err)
        return err;
    return await(cx,
                 (struct wait){.operation = OP_CONNECT, .fd = fd, .events = SMOLSCALE_WRITABLE});
}

void smolscale_forget(int fd)
{
    ss_source_forget(fd);
}
