// SPDX-License-Identifier: ISC
//
// Waiting: the one way in which tasks wait for anything (channels, mutexes, joins, descriptors; and
// timers, whose heap takes the place of the list), and the protocol that makes it cheap.
//
// *Parking under the lock.* An awaitable that finds that it must wait puts the task on a waitlist
// and returns SMOLSCALE_PENDING through ss_wait() with the list's lock held. The runner drops the
// lock after the poll has returned. So a thread that takes the lock later and finds the task on the
// list knows that it is wholly suspended: taking it off the list gives the right, and the duty, to
// schedule it. There is no state word, and neither waiting nor waking has a read-modify-write of
// its own beside the lock's.
//
// *The result is handed over.* The thread that takes a task off a list has done for it what it
// wanted (copied the message into task->slot, given it the permit), and stores the result in
// task->result. A task that goes on looks at nothing again.
//
// *Interrupting* (cancel, the end of a timeout) comes from a thread that does not hold the lock and
// may not touch the list, which its owner may free as soon as the task goes on. It therefore *pins*
// the task first:
//
//   interrupter                              runner
//   ctl: flag set, pins + 1                  picks the task up: parked = NULL
//   heavy fence                              light fence
//   parked?                                  ctl has pins?  then back into the queue, later again
//
//                                            parks it: parked = list
//                                            light fence
//                                            ctl has a flag?  then it does not park
//
//   Either the interrupter sees where the task is parked, and the task stays suspended until it is
//   unpinned, so that the list is valid and can be locked; or the runner sees the flag before it
//   parks, and the pins before it polls. Under the lock the interrupter looks whether the task is
//   still on the list (else it has just been woken, which is as good).
//   tests/model/interrupt.pml checks this.

#ifndef SS_WAITLIST_H
#define SS_WAITLIST_H

#include "os/bit_lock.h"
#include "task/lane.h"
#include "task/task.h"

// Why a poll returned SMOLSCALE_PENDING; smolscale_cx.suspend.
enum ss_suspend {
    SS_SUSPEND_WAKER,         // it waits for a smolscale_waker
    SS_SUSPEND_YIELD,         // it lets others run first (a number in smolscale_async.h, too)
    SS_SUSPEND_LIST,          // it is on the waitlist `where`, whose lock is held
    SS_SUSPEND_UNBLOCK,       // it is to be handed to the work queue `where`
    SS_SUSPEND_BUDGET,        // it has its result, and lets others run first
    SS_SUSPEND_YIELD_AWAITED, // as a yield, and it wants a result (a number in smolscale.h, too)
    SS_SUSPEND_SLEEP,         // its timer is set to wake it; the timers' lock is held
};

// ---- the lock of a waitlist (bit_lock.h). The other bits of its word, the *flags*, belong to the
// owner of the list. The lock is held across the return of a poll function, and across no system
// call but those of the allocator, where a channel grows.

static inline void ss_list_lock(smolscale_waitlist *list)
{
    ss_bit_lock(&list->lock);
}

// The lock held.
static inline unsigned ss_list_flags(const smolscale_waitlist *list)
{
    return ss_bit_lock_others(&list->lock);
}

static inline void ss_list_unlock_with(smolscale_waitlist *list, unsigned flags)
{
    ss_bit_unlock(&list->lock, flags);
}

static inline void ss_list_unlock(smolscale_waitlist *list)
{
    ss_list_unlock_with(list, 0);
}

// ---- the list, under its lock. A ring through wait_prev, whose first one's is the last; `next`
// ends with NULL. A task is on a list exactly if wait_prev is set.

static inline void ss_list_append(smolscale_waitlist *list, struct smolscale_task *task)
{
    struct smolscale_task *first = list->first;
    task->next = NULL;
    if (first) {
        task->wait_prev = first->wait_prev;
        first->wait_prev->next = task;
        first->wait_prev = task;
    } else {
        task->wait_prev = task;
        list->first = task;
    }
}

static inline void ss_list_remove(smolscale_waitlist *list, struct smolscale_task *task)
{
    struct smolscale_task *first = list->first, *next = task->next;
    if (next)
        next->wait_prev = task->wait_prev;
    else
        first->wait_prev = task->wait_prev;
    if (task == first)
        list->first = next;
    else
        task->wait_prev->next = next;
    task->wait_prev = NULL;
}

// Takes off the task that has waited longest; NULL: no task waits.
static inline struct smolscale_task *ss_list_pop(smolscale_waitlist *list)
{
    struct smolscale_task *task = list->first;
    if (!task)
        return NULL;
    struct smolscale_task *next = task->next;
    list->first = next;
    if (next)
        next->wait_prev = task->wait_prev;
    task->wait_prev = NULL;
    return task;
}

// ---- what awaitables end with. They begin with ss_interrupted() (interrupt.h).

// Ends an awaitable that must wait: `list` is locked, and stays so. The thread that takes the task
// off may use `slot`.
static inline int ss_wait(smolscale_cx *cx, smolscale_waitlist *list, void *slot)
{
    cx->task->slot = slot;
    ss_list_append(list, cx->task);
    cx->suspend = SS_SUSPEND_LIST;
    cx->where = list;
    return SMOLSCALE_PENDING;
}

// Ends an awaitable that need not wait. Now and then (the budget) others are let run first.
static inline int ss_ready(smolscale_cx *cx, int result)
{
    if (__builtin_expect(--cx->budget != 0, 1))
        return result;
    cx->task->result = result;
    cx->suspend = SS_SUSPEND_BUDGET;
    return SMOLSCALE_PENDING;
}

// Schedules a task that the caller has taken off its list. No lock held, preferably.
static inline void ss_wake_with(struct smolscale_task *task, int result)
{
    task->result = result;
    ss_schedule(task);
}

#endif // SS_WAITLIST_H
