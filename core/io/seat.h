// SPDX-License-Identifier: ISC
//
// The kernel's half of the seat: how the thread that sits there sleeps, and is woken. Which
// thread sits there is decided in sched/duty.h.

#ifndef SS_SEAT_H
#define SS_SEAT_H

#include <stdbool.h>
#include <stdint.h>

// Makes the seat ready for threads that sleep until `poller` has reports. 0 or a negative errno
// value.
int ss_seat_open(int poller);

// See struct ss_event_duty.
bool ss_seat_wait(int fd, uint64_t until, bool *time_up);
void ss_seat_end_wait(void);

#endif // SS_SEAT_H
