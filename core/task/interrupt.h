// SPDX-License-Identifier: ISC
//
// Ending a task's wait from outside: smolscale_cancel(), and the end of its deadline. The protocol
// stands in waitlist.h.

#ifndef SS_INTERRUPT_H
#define SS_INTERRUPT_H

#include "task/task.h"

// Has the await that the task is in give `result`. The caller has set a flag and a pin in ctl and
// then made the fence, one for as many tasks as it likes: while a task is pinned it is not polled,
// and nobody waits for its pin with a lock. This gives the pin back.
void ss_interrupt_fence(void);
void ss_interrupt(struct smolscale_task *task, int result);

// Cancels them, as smolscale_cancel() does each. The caller has references to them.
void ss_cancel_all(smolscale_task *const *tasks, unsigned count);

// Why the task, whose ctl is not 0, waits no more; 0: it may. The second is for an await that is
// about to wait: see ss_interrupted().
int ss_why_interrupted(struct smolscale_task *task, unsigned ctl);
int ss_why_await_ends(struct smolscale_task *task, unsigned ctl);

// At the beginning of an await: 0, or why the task does not wait any more. A deadline comes into
// the timers' heap when its task is first suspended under it, or begins a second await. The first
// does not look at the clock: what it waits for may have come, and then it is given, however late.
static inline int ss_interrupted(const smolscale_cx *cx)
{
    unsigned ctl = load_relaxed(&cx->task->ctl);
    if (__builtin_expect(ctl & SS_CTL_FLAGS, 0)) {
        if (ctl & (SS_CTL_CANCELLED | SS_CTL_TIMED_OUT) || cx->task->deadline_tried)
            return ss_why_await_ends(cx->task, ctl);
        cx->task->deadline_tried = true;
    }
    return 0;
}

// The same of a task that has let others run, and waits for nothing.
static inline int ss_interrupted_now(struct smolscale_task *task)
{
    unsigned ctl = load_relaxed(&task->ctl);
    return __builtin_expect(ctl & SS_CTL_FLAGS, 0) ? ss_why_interrupted(task, ctl) : 0;
}

#endif // SS_INTERRUPT_H
