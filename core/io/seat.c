// SPDX-License-Identifier: ISC
//
// Waking the thread that sleeps in the seat. There is one seat, hence one event for all that sit
// there. The waker changes the sleeper's own word (worker->park and its like) first and then sets
// the event; the sleeper clears the event first and then looks at its word. So a wake-up meant for
// a thread that sat there before costs a look, and none is lost: one that the sleeper has swallowed
// has changed its word before.
//
// tests/model/seat.pml checks this and the rule of duty.h.

#include "io/seat.h"

#include "base/room.h"
#include "os/descriptor.h"
#include "os/os.h"

// Set before anybody can sit (struct ss_duties, `events`).
static struct {
    int poller, wake;
} seat = {-1, -1};

int ss_seat_open(int poller)
{
    int wake = ss_event_new();
    if (wake < 0)
        return wake;
    seat.poller = poller;
    seat.wake = wake;
    return 0;
}

bool ss_seat_wait(int fd, uint64_t until, bool *time_up)
{
    struct pollfd fds[3] = {
        {seat.poller, POLLIN, 0}, {seat.wake, POLLIN, 0}, {fd, POLLIN, 0}}; // poll() passes -1 over
    int count = ss_os.poll_until(fds, 3, until);
    if (time_up)
        *time_up = count == 0;
    if (count > 0 && fds[1].revents)
        ss_event_clear(seat.wake);
    return count > 0 && fds[0].revents;
}

void ss_seat_end_wait(void)
{
    ss_event_set(seat.wake);
}

// Shared with the parent: the child leaves it alone and makes its own.
static void after_fork(void)
{
    if (seat.wake >= 0)
        ss_fd_close(seat.wake);
    seat.poller = seat.wake = -1;
}

SS_ROOM(io_seat, NULL, after_fork);
