// SPDX-License-Identifier: ISC
//
// Wakers (waker.h). tests/model/waker.pml checks them.

#include "task/waker.h"

#include "task/lane.h"

bool ss_waker_notify(struct smolscale_task *task)
{
    uint8_t state = load_acquire(&task->wakes);
    for (;;) {
        bool awaited = state == SS_WAKES_AWAITED;
        // Also where it is notified already: what the caller has done before is to be seen by the
        // poll.
        uint8_t next = awaited ? SS_WAKES_NONE : SS_WAKES_NOTIFIED;
        if (cas_strong_acq_rel(&task->wakes, &state, next))
            return awaited;
    }
}

smolscale_waker smolscale_waker_new(smolscale_cx *cx)
{
    return smolscale_waker_clone((smolscale_waker){cx->task});
}

smolscale_waker smolscale_waker_clone(smolscale_waker waker)
{
    if (waker.task)
        word_fetch_add_relaxed(&waker.task->join.count, 1);
    return waker;
}

void smolscale_waker_drop(smolscale_waker waker)
{
    if (waker.task)
        ss_task_unref(waker.task);
}

void smolscale_wake(smolscale_waker waker)
{
    if (waker.task && ss_waker_notify(waker.task))
        ss_schedule(waker.task);
}
