// SPDX-License-Identifier: ISC
//
// Interrupting a task: cancelling, and what the end of a deadline shares with it (interrupt.h). The
// protocol stands in waitlist.h; tests/model/interrupt.pml checks it.

#include "task/interrupt.h"

#include "os/fence.h"
#include "task/lane.h"
#include "task/sleep.h"
#include "task/waitlist.h"
#include "task/waker.h"

// Pairs with the light fences of the runner where it stores `parked`; see waitlist.h.
void ss_interrupt_fence(void)
{
    ss_heavy_fence();
}

void ss_interrupt(struct smolscale_task *task, int result)
{
    bool wake = false;
    void *parked = load_acquire(&task->parked);
    if (parked == SS_PARKED_FOR_WAKER) {
        // Not only if it is suspended: its runner may be between its look for a flag and that.
        wake = ss_waker_notify(task);
    } else if (parked == SS_PARKED_ASLEEP) {
        wake = ss_sleep_interrupt(task, result);
    } else if (parked) {
        smolscale_waitlist *list = parked;
        ss_list_lock(list);
        unsigned flags = ss_list_flags(list);
        if (task->wait_prev) {
            ss_list_remove(list, task);
            task->result = result;
            wake = true;
        }
        ss_list_unlock_with(list, flags);
    }
    // If it was taken off here, it is this thread's to schedule; before that no thread polls it.
    fetch_sub_release(&task->ctl, SS_CTL_PIN);
    if (wake)
        ss_schedule(task);
}

// Whether it was not cancelled before.
static bool begin_cancel(struct smolscale_task *task)
{
    fetch_add_acq_rel(&task->ctl, SS_CTL_PIN);
    return !(fetch_or_seq_cst(&task->ctl, SS_CTL_CANCELLED) & SS_CTL_CANCELLED);
}

bool smolscale_cancel(smolscale_task *task)
{
    if (smolscale_finished(task))
        return false;
    bool first = begin_cancel(task);
    ss_interrupt_fence();
    ss_interrupt(task, -ECANCELED);
    return first;
}

void ss_cancel_all(smolscale_task *const *tasks, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        begin_cancel(tasks[i]);
    ss_interrupt_fence();
    for (unsigned i = 0; i < count; i++)
        ss_interrupt(tasks[i], -ECANCELED);
}

bool smolscale_clear_cancel(smolscale_cx *cx)
{
    unsigned before = fetch_and_acq_rel(&cx->task->ctl, ~SS_CTL_CANCELLED);
    if (!(before & SS_CTL_CANCELLED))
        return false;
    // The thread that has set it may be about to interrupt: not the next await, which knows nothing
    // of it.
    while (ss_ctl_pinned(load_acquire(&cx->task->ctl)))
        ss_os.yield();
    return true;
}

int ss_why_interrupted(struct smolscale_task *task, unsigned ctl)
{
    if (ctl & SS_CTL_CANCELLED)
        return -ECANCELED;
    return ctl & SS_CTL_TIMED_OUT || task->deadline <= ss_os.now() ? -ETIMEDOUT : 0;
}

// As often as the task goes on without a wait, the clock is asked once: then the deadline is in the
// heap, and the thread that fires it sets the flag. Without memory for that, it is asked each time.
int ss_why_await_ends(struct smolscale_task *task, unsigned ctl)
{
    bool flagged = ctl & (SS_CTL_CANCELLED | SS_CTL_TIMED_OUT);
    if (!flagged && ss_timer_is_set(&task->timer))
        return 0;
    int why = ss_why_interrupted(task, ctl);
    if (why == 0)
        ss_deadline_arm(task);
    return why;
}

int smolscale_interrupted(smolscale_cx *cx)
{
    return ss_interrupted_now(cx->task);
}
