// SPDX-License-Identifier: ISC
//
// One poll of a task, and its suspension. The poll is inline: the loop of a lane does little else.
// The suspension is not: inline it would take registers from that loop (bench/tasks, "yield_now").

#ifndef SS_POLL_H
#define SS_POLL_H

#include "os/fence.h"
#include "task/waitlist.h"

// Awaits that need not wait, in one poll, before others are let run.
#define SS_POLL_BUDGET 128

// Suspends the task after a poll that returned SMOLSCALE_PENDING. From where this drops a lock (or
// sets the waker's state) the task is not the caller's any more, and may be gone. True: it is not
// suspended, and is to run again.
bool ss_suspend(struct smolscale_task *task, smolscale_cx *cx);

// What ss_poll() answers of a task that it may not poll now.
bool ss_poll_kept(unsigned ctl);

// Polls a task once, on whatever thread, and suspends it. True: it wants to run again after others.
static inline bool ss_poll(struct smolscale_task *task, smolscale_cx *cx)
{
    // Pairs with the heavy fence in ss_interrupt(): an interrupter that has not seen NULL here has
    // its pin seen.
    store_relaxed(&task->parked, NULL);
    ss_light_fence();
    unsigned ctl = load_acquire(&task->ctl);
    if (__builtin_expect((ctl & ~SS_CTL_FLAGS) != ss_ctl_base(), 0))
        return ss_poll_kept(ctl);
    cx->task = task;
    cx->result = task->result;
    cx->budget = SS_POLL_BUDGET;
    cx->suspend = SS_SUSPEND_WAKER;
    int result = task->poll(cx, ss_frame(task));
    if (result == SMOLSCALE_PENDING)
        return cx->suspend == SS_SUSPEND_YIELD || ss_suspend(task, cx);
    ss_task_end(task, result);
    return false;
}

#endif // SS_POLL_H
