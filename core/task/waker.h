// SPDX-License-Identifier: ISC
//
// Wakers: what a task that waits for one looks at, and how it is given notice.

#ifndef SS_WAKER_H
#define SS_WAKER_H

#include "task/task.h"

enum ss_wakes {
    SS_WAKES_NONE,
    SS_WAKES_AWAITED, // the task is suspended for a waker and nothing else: the thread that changes
                      // this has the right to schedule it
    SS_WAKES_NOTIFIED, // a poll follows
};

// Gives notice to a task that waits, or is about to wait, for a waker. True: it was suspended, and
// is the caller's to schedule.
bool ss_waker_notify(struct smolscale_task *task);

#endif // SS_WAKER_H
