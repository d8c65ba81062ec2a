// SPDX-License-Identifier: ISC
//
// Threads that wait like tasks (thread.h): SMOLSCALE_BLOCK().

#include "task/thread.h"

#include "task/lane.h"
#include "task/poll.h"
#include "task/sleep.h"

// `woken`: SEATED while the thread sleeps in the seat (duty.h)
enum { WOKEN = 1, SEATED };

void ss_thread_task_wake(struct ss_thread_task *thread)
{
    _Atomic uint32_t *word = &thread->woken;
    uint32_t slept = exchange_acq_rel(word, WOKEN);
    // From here on the thread may have gone, and its stack be used otherwise: a wake for nothing
    // there does no harm.
    if (slept == SEATED)
        ss_seat_wake();
    else
        ss_os.futex_wake(word, 1);
}

static void submit(struct ss_home *home, struct smolscale_task *task)
{
    (void)task;
    ss_thread_task_wake(
        (struct ss_thread_task *)((char *)home - offsetof(struct ss_thread_task, home)));
}

struct ss_thread_task *ss_thread_task_init(smolscale_thread *storage)
{
    ss_first_use();
    struct ss_thread_task *thread = (struct ss_thread_task *)storage->storage;
    thread->home = (struct ss_home){submit, NULL};
    store_relaxed(&thread->woken, 0);
    return thread;
}

// In the seat, in which the thread is already.
static void sleep_seated(struct ss_thread_task *thread, uint64_t until)
{
    uint32_t none = 0, seated = SEATED;
    if (cas_strong_acq_rel(&thread->woken, &none, SEATED)) {
        if (ss_seat_sleep(-1, until, NULL))
            ss_events_poll();
        cas_strong_acq_rel(&thread->woken, &seated, 0);
    }
    ss_seat_leave();
}

// Any return of the wait is fine: only a waker sets the word. The thread also looks after timers
// and descriptors, since what it waits for may be among them. False: it is not woken, and `until`
// has come.
bool ss_thread_task_sleep(struct ss_thread_task *thread, uint64_t until)
{
    bool woken = load_acquire(&thread->woken);
    if (!woken) {
        ss_lane_hand_over();
        smolscale_blocking_begin();
        while (!(woken = load_acquire(&thread->woken))) {
            uint64_t timer = ss_next_due(), limit = ss_balancer_wait_limit();
            uint64_t next = timer < until ? timer : until;
            uint64_t now = next == SS_FOREVER ? 0 : ss_os.now();
            next = limit < next ? limit : next;
            if (timer <= now)
                ss_fire(now);
            else if (until <= now)
                break;
            else if (ss_seat_take())
                sleep_seated(thread, next);
            else
                ss_os.futex_wait_until(&thread->woken, 0, next);
        }
        smolscale_blocking_end();
    }
    if (woken)
        store_relaxed(&thread->woken, 0);
    return woken;
}

smolscale_cx *smolscale_thread_begin(smolscale_thread *storage)
{
    struct ss_thread_task *thread = ss_thread_task_init(storage);
    ss_task_init(&thread->task, NULL, &thread->home);
    thread->cx = (smolscale_cx){.task = &thread->task, .budget = UINT32_MAX};
    return &thread->cx;
}

int smolscale_thread_end(smolscale_thread *storage, int result)
{
    struct ss_thread_task *thread = (struct ss_thread_task *)storage->storage;
    struct smolscale_task *task = &thread->task;
    while (result == SMOLSCALE_PENDING) {
        if (thread->cx.suspend == SS_SUSPEND_WAKER)
            return -EINVAL; // only smolscale_block_on() polls again
        if (!ss_suspend(task, &thread->cx))
            ss_thread_task_sleep(thread, SS_FOREVER);
        if (!task->poll) {
            result = task->result;
            break;
        }
        // A descriptor is ready, and what it is wanted for remains to be done (descriptor.c).
        thread->cx.result = task->result;
        thread->cx.suspend = SS_SUSPEND_WAKER;
        result = task->poll(&thread->cx, NULL);
    }
    if (task->deadline != 0)
        ss_deadline_disarm(task); // which would outlive it
    ss_events_cover();            // it may have left the seat
    return result;
}
