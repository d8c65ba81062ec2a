// SPDX-License-Identifier: ISC
//
// Suspending a task (poll.h), by the protocol of waitlist.h. The functions return true if the task
// is not suspended, and is to run again.

#include "task/poll.h"

#include "task/interrupt.h"
#include "task/sleep.h"
#include "task/unblock.h"
#include "task/waker.h"

static inline bool suspend_for_waker(struct smolscale_task *task)
{
    bool armed = !(load_relaxed(&task->ctl) & SS_CTL_DEADLINE) || ss_deadline_arm(task);
    store_relaxed(&task->parked, SS_PARKED_FOR_WAKER);
    ss_light_fence(); // pairs with the heavy fence in ss_interrupt()
    uint8_t none = SS_WAKES_NONE;
    if (armed && !(load_relaxed(&task->ctl) & (SS_CTL_CANCELLED | SS_CTL_TIMED_OUT)) &&
        cas_strong_acq_rel(&task->wakes, &none, SS_WAKES_AWAITED))
        return false;
    // It was notified meanwhile, or will look why, or looks again and again for want of memory. An
    // exchange: what wakers did before they wrote the word is seen by the poll that follows, and
    // no word is overwritten after that poll has looked.
    exchange_acq_rel(&task->wakes, SS_WAKES_NONE);
    return true;
}

// Publishes where the task is parked, whose lock is held. True: it stays. Otherwise it must be
// taken off, and its result says why; `armed` is false where its deadline could not be set: it
// cannot wait, since nothing would wake it in time.
static inline bool stays_parked(struct smolscale_task *task, void *where, bool armed)
{
    store_release(&task->parked, where); // its content, too
    ss_light_fence();                    // pairs with the heavy fence in ss_interrupt()
    unsigned ctl = load_relaxed(&task->ctl);
    bool stays = armed && !(ctl & (SS_CTL_CANCELLED | SS_CTL_TIMED_OUT));
    if (__builtin_expect(!stays, 0))
        task->result = ctl & SS_CTL_CANCELLED   ? -ECANCELED
                       : ctl & SS_CTL_TIMED_OUT ? -ETIMEDOUT
                                                : -ENOMEM;
    return stays;
}

static inline bool suspend_on_list(struct smolscale_task *task, smolscale_waitlist *list)
{
    bool armed = true;
    if (__builtin_expect(load_relaxed(&task->ctl) & SS_CTL_DEADLINE, 0))
        armed = ss_deadline_arm(task);
    bool stays = stays_parked(task, list, armed);
    if (__builtin_expect(!stays, 0))
        ss_list_remove(list, task);
    ss_list_unlock(list);
    return !stays;
}

static inline bool suspend_asleep(struct smolscale_task *task)
{
    bool stays = stays_parked(task, SS_PARKED_ASLEEP, true);
    if (!stays)
        ss_sleep_end(task);
    ss_timers_unlock();
    return !stays;
}

// A parent's task, woken in the child; or one with a pin. The thread that has set the pin may wait
// for this CPU.
bool ss_poll_kept(unsigned ctl)
{
    if (!ss_ctl_exists(ctl))
        return false;
    ss_os.yield();
    return true;
}

bool ss_suspend(struct smolscale_task *task, smolscale_cx *cx)
{
    switch ((enum ss_suspend)cx->suspend) {
    case SS_SUSPEND_LIST:
        return suspend_on_list(task, cx->where);
    case SS_SUSPEND_WAKER:
        return suspend_for_waker(task);
    case SS_SUSPEND_SLEEP:
        return suspend_asleep(task);
    case SS_SUSPEND_UNBLOCK:
        return ss_unblock_start(task, cx->where);
    case SS_SUSPEND_YIELD_AWAITED:
        task->result = ss_interrupted_now(task);
        return true;
    case SS_SUSPEND_YIELD:
    case SS_SUSPEND_BUDGET:
        return true;
    }
    return true;
}
