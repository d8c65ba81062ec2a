// SPDX-License-Identifier: ISC
//
// Sleeps, intervals and deadlines. A task has at most one timer set. Either
//
//   it sleeps     The task is suspended (SS_PARKED_ASLEEP). Taking the timer out, under the timers'
//                 lock, gives the right to schedule the task, as with any waitlist.
//   a deadline    of its awaits: it interrupts whatever the task does when it is due. It is set
//                 when the task is first suspended under that deadline, and stays while one await
//                 follows another. A task that is never suspended sets it at its second await
//                 (interrupt.h).
//
// Without memory for a timer nothing waits: the await gives -ENOMEM.

#ifndef SS_SLEEP_H
#define SS_SLEEP_H

#include "task/task.h"

// The task sleeps no more; the timers' lock held.
void ss_sleep_end(struct smolscale_task *task);

// The interrupter's: if the task sleeps, it does not any more, and its await gives `result`. True:
// it is the caller's to schedule.
bool ss_sleep_interrupt(struct smolscale_task *task, int result);

// The task has a deadline and is about to be suspended: sees to it that its timer is set. False: no
// memory.
bool ss_deadline_arm(struct smolscale_task *task);

// The task has no deadline any more: its timer is not set, and no thread is at work on it.
void ss_deadline_disarm(struct smolscale_task *task);

#endif // SS_SLEEP_H
