// SPDX-License-Identifier: ISC
//
// Blocking functions, awaited: they run as jobs of a work queue without a limit, whose item is the
// task itself.
//
// The task is handed to the queue when its poll has returned (SS_SUSPEND_UNBLOCK), and belongs to
// the job until `run` has returned: it is on no list, and an interruption finds it parked nowhere
// and only leaves its flag.

#include "task/unblock.h"

#include "os/guard.h"
#include "task/interrupt.h"
#include "task/waitlist.h"

// What the call needs lies in fields that serve waiting on lists otherwise: no memory is wanted.
// No thread looks at wait_prev: the task is parked nowhere.
static void keep_call(struct smolscale_task *task, int (*run)(void *), void *arg)
{
    task->wait_prev = (void *)run;
    task->slot = arg;
}

static int (*kept_run(const struct smolscale_task *task))(void *)
{
    return (int (*)(void *))task->wait_prev;
}

static void end_call(struct smolscale_task *task, int result)
{
    unsigned ctl = load_acquire(&task->ctl);
    if (ctl & SS_CTL_CANCELLED)
        result = -ECANCELED;
    else if (task->deadline && task->deadline <= ss_os.now())
        result = -ETIMEDOUT;
    task->wait_prev = NULL;
    ss_wake_with(task, result);
}

static void end_without_thread(void *task)
{
    end_call(task, -ECANCELED);
}

static void run_call(void *item, void *user_data)
{
    struct smolscale_task *task = item;
    (void)user_data;
    unsigned generation = ss.generation;
    int result = ss_call_guarded(kept_run(task), task->slot, end_without_thread, task);
    if (generation == ss.generation) // else this is a child, where the task does not exist
        end_call(task, result);
}

// Created at first use and never freed. A thread that comes second frees its own.
static smolscale_queue *the_queue(int *err)
{
    static _Atomic(smolscale_queue *) calls;
    smolscale_queue *queue = load_acquire(&calls), *mine;
    if (queue)
        return queue;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run_call;
    *err = smolscale_queue_new(&mine, &attr);
    if (*err)
        return NULL;
    smolscale_queue_set_label(mine, "unblock", NULL);
    if (cas_strong_acq_rel(&calls, &queue, mine))
        return mine;
    smolscale_queue_free(mine);
    return queue;
}

int smolscale_unblock(smolscale_cx *cx, int (*run)(void *arg), void *arg)
{
    int err = ss_interrupted(cx);
    if (err || !run)
        return err ? err : -EINVAL;
    cx->where = the_queue(&err);
    if (!cx->where)
        return err;
    keep_call(cx->task, run, arg);
    cx->suspend = SS_SUSPEND_UNBLOCK;
    return SMOLSCALE_PENDING;
}

bool ss_unblock_start(struct smolscale_task *task, void *queue)
{
    int err = smolscale_queue_push(queue, task, NULL);
    if (err == 0 || err == -EAGAIN) // then it is queued, too
        return false;
    task->wait_prev = NULL;
    task->result = err;
    return true;
}

SS_ROOM(task_unblock, NULL, NULL); // the queue resets itself
