// SPDX-License-Identifier: ISC
//
// Descriptors, as the kernel knows them: what is done with one, the poller that reports what
// happens to many, and events that one thread sets and another waits for. `events` are
// SMOLSCALE_READABLE and SMOLSCALE_WRITABLE throughout. Errors are negative errno values, and a
// call that a signal interrupts is made again.

#ifndef SS_DESCRIPTOR_H
#define SS_DESCRIPTOR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sockaddr;

// ---- one descriptor, non-blocking. -EAGAIN: not now.

// Which of `events` hold, and SMOLSCALE_HANGUP. A peer that sends no more is the readers' affair.
int ss_fd_ready(int fd, int events);

// `size` is INT_MAX at most.
int ss_fd_read(int fd, void *buffer, size_t size);

// Writes some of it. Without SIGPIPE where the kernel can be told so (sockets).
ssize_t ss_fd_write(int fd, const void *buffer, size_t size);

// A new descriptor, non-blocking and closed on exec. Connections that were given up are passed
// over.
int ss_fd_accept(int fd);

// -EINPROGRESS: ss_fd_connected() tells. Not repeated after a signal: -EINTR says the same.
int ss_fd_connect(int fd, const struct sockaddr *address, unsigned length);

// 0: the connection that was begun has come about.
int ss_fd_connected(int fd);

void ss_fd_close(int fd);

// ---- the poller: reports each descriptor's events once, when they come ("edges")

struct ss_report {
    uint64_t data;
    int events; // both, where the other side is gone or there is an error
};

// A new one, as a descriptor that can be read while there are reports.
int ss_poller_new(void);

// Has it report these events of `fd`, with `data`. Any call reports what is there at that moment.
// The kernel forgets a descriptor by itself when it is closed.
int ss_poller_set(int poller, int fd, int events, uint64_t data);
void ss_poller_remove(int poller, int fd);

#define SS_REPORTS_MAX 64

// Takes up to SS_REPORTS_MAX reports, the oldest first. Does not wait. Their number.
unsigned ss_poller_take(int poller, struct ss_report reports[SS_REPORTS_MAX]);

// ---- an event, as a descriptor that can be read while it is set

int ss_event_new(void);
void ss_event_set(int event); // leaves errno alone
void ss_event_clear(int event);

#endif // SS_DESCRIPTOR_H
