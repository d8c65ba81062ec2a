// SPDX-License-Identifier: ISC
//
// Descriptors on Linux: epoll and eventfd (../descriptor.h).

#include "os/descriptor.h"
#include "smolscale.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

// ---- one descriptor

static int look(struct pollfd *fd)
{
    while (poll(fd, 1, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int ss_fd_ready(int number, int events)
{
    // Writers would be told of POLLRDHUP again and again.
    struct pollfd fd = {number, 0, 0};
    fd.events = (short)((events & SMOLSCALE_READABLE ? POLLIN | POLLRDHUP : 0) |
                        (events & SMOLSCALE_WRITABLE ? POLLOUT : 0));
    int err = look(&fd);
    if (err)
        return err;
    if (fd.revents & POLLNVAL)
        return -EBADF;
    int found = (fd.revents & POLLIN ? SMOLSCALE_READABLE : 0) |
                (fd.revents & POLLOUT ? SMOLSCALE_WRITABLE : 0) |
                (fd.revents & (POLLHUP | POLLERR | POLLRDHUP) ? SMOLSCALE_HANGUP : 0);
    return found ? found : -EAGAIN;
}

int ss_fd_read(int fd, void *buffer, size_t size)
{
    ssize_t n;
    do
        n = read(fd, buffer, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}

ssize_t ss_fd_write(int fd, const void *buffer, size_t size)
{
    ssize_t n;
    do {
        n = send(fd, buffer, size, MSG_NOSIGNAL);
        if (n < 0 && errno == ENOTSOCK)
            n = write(fd, buffer, size);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int ss_fd_accept(int fd)
{
    for (;;) {
        int accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0)
            return accepted;
        if (errno != EINTR && errno != ECONNABORTED)
            return -errno;
    }
}

int ss_fd_connect(int fd, const struct sockaddr *address, unsigned length)
{
    return connect(fd, address, length) == 0 ? 0 : -errno;
}

int ss_fd_connected(int number)
{
    struct pollfd fd = {number, POLLOUT, 0};
    int err = look(&fd);
    if (err)
        return err;
    if (!fd.revents)
        return -EAGAIN;
    socklen_t size = sizeof err;
    return getsockopt(number, SOL_SOCKET, SO_ERROR, &err, &size) < 0 ? -errno : -err;
}

void ss_fd_close(int fd)
{
    close(fd);
}

// ---- the poller

int ss_poller_new(void)
{
    int poller = epoll_create1(EPOLL_CLOEXEC);
    return poller < 0 ? -errno : poller;
}

// A descriptor that was closed may stand as registered with the caller still: hence ENOENT.
int ss_poller_set(int poller, int fd, int events, uint64_t data)
{
    struct epoll_event event = {(events & SMOLSCALE_READABLE ? EPOLLIN | EPOLLRDHUP : 0u) |
                                    (events & SMOLSCALE_WRITABLE ? EPOLLOUT : 0u) | EPOLLET,
                                {.u64 = data}};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event) == 0 ||
        (errno == ENOENT && epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) == 0))
        return 0;
    return -errno;
}

void ss_poller_remove(int poller, int fd)
{
    epoll_ctl(poller, EPOLL_CTL_DEL, fd, NULL); // may be gone already
}

static int reported(uint32_t events)
{
    bool gone = events & (EPOLLHUP | EPOLLERR);
    return (events & (EPOLLIN | EPOLLRDHUP) || gone ? SMOLSCALE_READABLE : 0) |
           (events & EPOLLOUT || gone ? SMOLSCALE_WRITABLE : 0);
}

unsigned ss_poller_take(int poller, struct ss_report reports[SS_REPORTS_MAX])
{
    struct epoll_event events[SS_REPORTS_MAX];
    int count = epoll_wait(poller, events, SS_REPORTS_MAX, 0);
    for (int i = 0; i < count; i++)
        reports[i] = (struct ss_report){events[i].data.u64, reported(events[i].events)};
    return count > 0 ? (unsigned)count : 0;
}

// ---- events

int ss_event_new(void)
{
    int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return event < 0 ? -errno : event;
}

void ss_event_set(int event)
{
    int saved_errno = errno;
    uint64_t one = 1;
    while (write(event, &one, sizeof one) < 0 && errno == EINTR)
        ;
    errno = saved_errno;
}

void ss_event_clear(int event)
{
    uint64_t count;
    ssize_t cleared = read(event, &count, sizeof count);
    (void)cleared; // nobody else reads it
}
