// SPDX-License-Identifier: ISC
//
// Descriptors (core/os/descriptor.h): events, pollers that report edges, and pipes. Of a pipe only
// the number of bytes is kept.

#include "os/descriptor.h"
#include "sim.h"
#include "smolscale.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

enum kind { FREE, EVENT, POLLER, READ_END, WRITE_END };

#define FIRST_FD    100
#define FDS_MAX     64
#define PIPE_ROOM   16u
#define WATCHED_MAX 32u

struct watch {
    int fd, events;
    uint64_t data;
    bool edge; // to be reported
};

struct descriptor {
    enum kind kind;
    uint64_t bytes; // of an event its count; of the read end what may be read
    int other;      // end of the pipe; -1: closed
    struct watch watches[WATCHED_MAX];
    unsigned watch_count;
};

static struct descriptor table[FDS_MAX];
static unsigned used;

void sim_descriptors_reset(void)
{
    memset(table, 0, used * sizeof *table);
    used = 0;
}

static struct descriptor *of(int fd)
{
    return fd >= FIRST_FD && fd < FIRST_FD + FDS_MAX && table[fd - FIRST_FD].kind != FREE
               ? &table[fd - FIRST_FD]
               : NULL;
}

static int new_descriptor(enum kind kind)
{
    for (unsigned i = 0; i < FDS_MAX; i++) {
        if (table[i].kind != FREE)
            continue;
        memset(&table[i], 0, sizeof table[i]);
        table[i].kind = kind;
        table[i].other = -1;
        used = i + 1 > used ? i + 1 : used;
        return FIRST_FD + (int)i;
    }
    return -EMFILE;
}

// Bits of POLL*.
static int state(const struct descriptor *d)
{
    const struct descriptor *peer;
    int bits = 0;
    switch (d->kind) {
    case EVENT:
        return d->bytes ? POLLIN : 0;
    case POLLER:
        for (unsigned i = 0; i < d->watch_count; i++)
            if (d->watches[i].edge)
                bits = POLLIN;
        return bits;
    case READ_END:
        return (d->bytes ? POLLIN : 0) | (d->other < 0 ? POLLHUP : 0);
    case WRITE_END:
        peer = of(d->other);
        return !peer ? POLLERR : peer->bytes < PIPE_ROOM ? POLLOUT : 0;
    default:
        return POLLNVAL;
    }
}

static int wanted(int events)
{
    return (events & SMOLSCALE_READABLE ? POLLIN : 0) |
           (events & SMOLSCALE_WRITABLE ? POLLOUT : 0) | POLLHUP | POLLERR;
}

// The descriptor has something new: pollers note it, sleepers wake.
static void news(int fd)
{
    sim_changed(of(fd));
    for (unsigned i = 0; i < used; i++)
        for (unsigned k = 0; table[i].kind == POLLER && k < table[i].watch_count; k++) {
            struct watch *watch = &table[i].watches[k];
            if (watch->fd == fd && (state(of(fd)) & wanted(watch->events))) {
                watch->edge = true;
                sim_changed(&table[i]);
            }
        }
    sim_descriptors_wake();
}

void sim_descriptors_wake(void)
{
    for (unsigned id = 1; id <= sim.thread_count; id++) {
        struct sim_thread *thread = &sim_threads[id];
        if (thread->state == SIM_ASLEEP && thread->wait == SIM_POLL) {
            struct pollfd *fds = thread->fds;
            for (unsigned i = 0; i < thread->fd_count; i++) {
                const struct descriptor *d = of(fds[i].fd);
                if (d && (state(d) & (fds[i].events | POLLHUP | POLLERR))) {
                    sim_wake(thread, false);
                    break;
                }
            }
        }
    }
}

int sim_descriptors_ready(struct pollfd *fds, unsigned count)
{
    int ready = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct descriptor *d = of(fds[i].fd);
        fds[i].revents = 0;
        if (fds[i].fd < 0)
            continue;
        if (d)
            sim_saw(d);
        fds[i].revents = d ? (short)(state(d) & (fds[i].events | POLLHUP | POLLERR)) : POLLNVAL;
        ready += fds[i].revents != 0;
    }
    return ready;
}

// ---- one descriptor

int ss_fd_ready(int fd, int events)
{
    sim_call("poll");
    const struct descriptor *d = of(fd);
    if (!d)
        return -EBADF;
    sim_saw(d);
    int bits = state(d) & wanted(events);
    int found = (bits & POLLIN ? SMOLSCALE_READABLE : 0) |
                (bits & POLLOUT ? SMOLSCALE_WRITABLE : 0) |
                (bits & (POLLHUP | POLLERR) ? SMOLSCALE_HANGUP : 0);
    return found ? found : -EAGAIN;
}

int ss_fd_read(int fd, void *buffer, size_t size)
{
    sim_call("read");
    struct descriptor *d = of(fd);
    if (!d || d->kind != READ_END)
        return -EBADF;
    if (d->bytes == 0) {
        sim_saw(d);
        return d->other < 0 ? 0 : -EAGAIN;
    }
    uint64_t n = size < d->bytes ? size : d->bytes;
    bool was_full = d->bytes == PIPE_ROOM;
    memset(buffer, 'x', n);
    d->bytes -= n;
    sim_changed(d);
    if (was_full && d->other >= 0)
        news(d->other);
    return (int)n;
}

ssize_t ss_fd_write(int fd, const void *buffer, size_t size)
{
    (void)buffer;
    sim_call("write");
    struct descriptor *d = of(fd), *peer = d && d->kind == WRITE_END ? of(d->other) : NULL;
    if (!d || d->kind != WRITE_END)
        return -EBADF;
    if (!peer)
        return -EPIPE;
    uint64_t n = PIPE_ROOM - peer->bytes;
    n = size < n ? size : n;
    if (n == 0)
        return -EAGAIN;
    peer->bytes += n;
    news(d->other);
    return (ssize_t)n;
}

int ss_fd_accept(int fd)
{
    (void)fd;
    return -EOPNOTSUPP;
}

int ss_fd_connect(int fd, const struct sockaddr *address, unsigned length)
{
    (void)fd, (void)address, (void)length;
    return -EOPNOTSUPP;
}

int ss_fd_connected(int fd)
{
    (void)fd;
    return -EOPNOTSUPP;
}

void ss_fd_close(int fd)
{
    sim_call("close");
    struct descriptor *d = of(fd);
    if (!d)
        return;
    int other = d->kind == READ_END || d->kind == WRITE_END ? d->other : -1;
    for (unsigned i = 0; i < used; i++)
        if (table[i].kind == POLLER)
            ss_poller_remove(FIRST_FD + (int)i, fd);
    d->kind = FREE;
    if (other >= 0 && of(other)) {
        of(other)->other = -1;
        news(other);
    }
}

int sim_pipe(int fds[2])
{
    sim_call("pipe");
    fds[0] = new_descriptor(READ_END);
    fds[1] = fds[0] < 0 ? fds[0] : new_descriptor(WRITE_END);
    if (fds[1] < 0)
        return fds[1];
    of(fds[0])->other = fds[1];
    of(fds[1])->other = fds[0];
    return 0;
}

// ---- the poller

int ss_poller_new(void)
{
    sim_call("epoll_create");
    return sim_call_fails(SIM_CHOOSE_EVENTS) ? -EMFILE : new_descriptor(POLLER);
}

int ss_poller_set(int poller, int fd, int events, uint64_t data)
{
    sim_call("epoll_ctl");
    struct descriptor *p = of(poller), *d = of(fd);
    if (!d)
        return -EBADF;
    if (sim_call_fails(SIM_CHOOSE_EVENTS))
        return -ENOMEM;
    struct watch *watch = NULL;
    for (unsigned i = 0; i < p->watch_count; i++)
        if (p->watches[i].fd == fd)
            watch = &p->watches[i];
    if (!watch && p->watch_count == WATCHED_MAX)
        return -ENOSPC;
    if (!watch)
        watch = &p->watches[p->watch_count++];
    *watch = (struct watch){fd, events, data, state(d) & wanted(events)};
    sim_saw(d);
    sim_changed(p);
    sim_descriptors_wake();
    return 0;
}

void ss_poller_remove(int poller, int fd)
{
    struct descriptor *p = of(poller);
    for (unsigned i = 0; i < p->watch_count; i++)
        if (p->watches[i].fd == fd)
            p->watches[i--] = p->watches[--p->watch_count];
}

unsigned ss_poller_take(int poller, struct ss_report reports[SS_REPORTS_MAX])
{
    struct descriptor *p = of(poller);
    unsigned count = 0;
    sim_call("epoll_wait");
    sim_changed(p);
    for (unsigned i = 0; i < p->watch_count; i++) {
        struct watch *watch = &p->watches[i];
        int bits = of(watch->fd) ? state(of(watch->fd)) & wanted(watch->events) : POLLHUP;
        bool gone = bits & (POLLHUP | POLLERR);
        if (watch->edge && bits)
            reports[count++] = (struct ss_report){
                watch->data, (bits & POLLIN || gone ? SMOLSCALE_READABLE : 0) |
                                 (bits & POLLOUT || gone ? SMOLSCALE_WRITABLE : 0)};
        watch->edge = false;
    }
    return count;
}

// ---- events

int ss_event_new(void)
{
    sim_call("eventfd");
    return sim_call_fails(SIM_CHOOSE_EVENTS) ? -EMFILE : new_descriptor(EVENT);
}

void ss_event_set(int event)
{
    sim_call("write");
    struct descriptor *d = of(event);
    if (!d)
        return;
    d->bytes++;
    news(event);
}

void ss_event_clear(int event)
{
    sim_call("read");
    struct descriptor *d = of(event);
    if (!d)
        return;
    d->bytes = 0;
    sim_changed(d);
}
