// SPDX-License-Identifier: ISC
//
// smolscale_block_on().
//
// The function is polled on the calling thread at first. One that has to wait again and again is
// better off among the tasks it waits for: each wait of a thread costs two wake-ups. So after some
// turns its task is *offered* to the workers, and the thread sleeps until it has ended. But it may
// be that no worker comes, because no thread can be had or all are stuck; then the thread takes the
// task back and goes on itself.
//
// What is offered must not lie in a run queue, because nothing can be taken out of one. So a small
// task, the *carrier*, lies there instead. Exactly one of the two changes OFFER_MADE: the carrier
// to TAKEN (from then on the task is the workers'), or the thread to WITHDRAWN. While it is MADE
// the task is ready to run and in no queue, so no thread schedules it.

#include "task/block_on.h"

#include "task/lane.h"
#include "task/poll.h"
#include "task/thread.h"

enum { OFFER_NONE, OFFER_MADE, OFFER_TAKEN, OFFER_WITHDRAWN };

// The frame of the task, which lies in memory of its own, because wakers of it and the carrier may
// outlive the call.
struct guest {
    smolscale_poll_fn *poll;
    void *frame;
    struct ss_thread_task *thread;
    struct ss_owner owner; // is told of its end on a worker
    _Atomic unsigned offer;
};

// Carriers in run queues whose offer was withdrawn. While there are any, no worker has come since,
// and none is expected: nothing is offered, so that they do not pile up.
static _Atomic unsigned stale_carriers;

static void after_fork(void)
{
    store_relaxed(&stale_carriers, 0); // as the lanes in which they were
}

static int poll_guest(smolscale_cx *cx, void *frame)
{
    struct guest *guest = frame;
    return guest->poll(cx, guest->frame);
}

// The thread sleeps until it is woken here, whatever else it has seen: the frame is there.
static void guest_ended(struct ss_owner *owner, struct smolscale_task *task)
{
    (void)task;
    struct guest *guest = (struct guest *)((char *)owner - offsetof(struct guest, owner));
    ss_thread_task_wake(guest->thread);
}

static int carry(smolscale_cx *cx, void *frame)
{
    struct smolscale_task *task = *(struct smolscale_task **)frame;
    struct guest *guest = ss_frame(task);
    unsigned made = OFFER_MADE;
    (void)cx;
    if (cas_strong_acq_rel(&guest->offer, &made, OFFER_TAKEN)) {
        task->home = NULL;
        task->owner = &guest->owner;
        ss_schedule(task);
    } else {
        store_release(&guest->offer, OFFER_NONE);
        fetch_sub_relaxed(&stale_carriers, 1);
    }
    ss_task_unref(task);
    return 0;
}

// The task is ready to run. True: the workers have run it to its end. False: it is the thread's.
static bool run_on_workers(struct ss_thread_task *thread, struct smolscale_task *task)
{
    struct guest *guest = ss_frame(task);
    if (load_acquire(&guest->offer) != OFFER_NONE || load_relaxed(&stale_carriers) > 0)
        return false;
    struct smolscale_task *carrier = ss_task_new(carry, &task, sizeof task, NULL);
    if (!carrier)
        return false;
    carrier->join.lock = SS_JOIN_RELEASED;
    smolscale_waker_clone((smolscale_waker){task}); // the carrier's reference
    store_release(&guest->offer, OFFER_MADE);
    bool runs_somewhere = ss_submit(carrier) == 0;
    if (runs_somewhere && ss_thread_task_sleep(thread, ss_time_in(SS_OFFER_NS)))
        return true;
    unsigned made = OFFER_MADE;
    fetch_add_relaxed(&stale_carriers, 1);
    if (cas_strong_acq_rel(&guest->offer, &made, OFFER_WITHDRAWN))
        return false;
    fetch_sub_relaxed(&stale_carriers, 1);
    ss_thread_task_sleep(thread, SS_FOREVER);
    return true;
}

// While the thread does not sleep, and there may be no worker.
static void fire_due_timers(void)
{
    uint64_t next = ss_next_due(), now = next == SS_FOREVER ? 0 : ss_os.now();
    if (next <= now)
        ss_fire(now);
}

int smolscale_block_on(smolscale_poll_fn *poll, void *frame)
{
    if (!poll)
        return -EINVAL;
    smolscale_thread storage;
    struct ss_thread_task *thread = ss_thread_task_init(&storage);
    struct guest mine = {.poll = poll, .frame = frame, .thread = thread, .owner = {guest_ended}};
    struct smolscale_task *task = ss_task_new(poll_guest, &mine, sizeof mine, &thread->home);
    if (!task)
        return -ENOMEM;
    for (unsigned turns = 0; !smolscale_finished(task); turns++) {
        if (turns > SS_TURNS_ON_THREAD && run_on_workers(thread, task))
            break;
        if (ss_poll(task, &thread->cx))
            fire_due_timers();
        else if (!smolscale_finished(task))
            ss_thread_task_sleep(thread, SS_FOREVER);
    }
    int result = task->result;
    ss_task_unref(task);
    ss_events_cover(); // it may have left the seat
    return result;
}

SS_ROOM(task_block_on, NULL, after_fork);
