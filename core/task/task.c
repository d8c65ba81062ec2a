// SPDX-License-Identifier: ISC
//
// A task's life: spawn, end, join, release.
//
// Whose memory it is. A task is freed when it has ended and its handle was released, whichever
// comes second, and no waker is left. The first two meet under the lock of its `join` list: the
// runner ends it there (SS_JOIN_ENDED, stored by the same store that drops the lock, so that it
// never touches the task again), the owner releases it there. A waker counts in `join.count`, as do
// those two together.

#include "task/task.h"

#include "task/interrupt.h"
#include "task/lane.h"
#include "task/slab.h"
#include "task/sleep.h"
#include "task/waitlist.h"

#include <string.h>

// ---- spawn

static inline struct smolscale_task *new_task(smolscale_poll_fn *poll, const void *frame,
                                              size_t size, struct ss_home *home)
{
    struct smolscale_task *task = ss_slab_get(size);
    if (__builtin_expect(!task, 0))
        return NULL;
    ss_task_init(task, poll, home);
    if (frame)
        memcpy(ss_frame(task), frame, size);
    else
        memset(ss_frame(task), 0, size);
    return task;
}

struct smolscale_task *ss_task_new(smolscale_poll_fn *poll, const void *frame, size_t size,
                                   struct ss_home *home)
{
    return new_task(poll, frame, size, home);
}

static _Atomic bool settled;

// The executor's first task: the workers get the traits of the thread that spawns it.
void ss_first_use(void)
{
    ss_start();
    if (__builtin_expect(!load_relaxed(&settled), 0)) {
        ss_group_settle(&ss.shared);
        store_relaxed(&settled, true);
    }
}

static inline int start_task(struct ss_worker *worker, struct smolscale_task *task)
{
    if (worker && ss_lane_append_own(worker, task))
        return 0;
    return ss_submit(task);
}

int ss_task_start(struct smolscale_task *task)
{
    return start_task(ss_self, task);
}

int smolscale_spawn(smolscale_task **out, smolscale_poll_fn *poll, const void *frame, size_t size)
{
    struct ss_worker *worker = ss_self;
    if (!worker)
        ss_first_use();
    struct smolscale_task *task =
        __builtin_expect(poll != NULL, 1) ? new_task(poll, frame, size, NULL) : NULL;
    if (out)
        *out = task;
    if (__builtin_expect(!task, 0))
        return poll ? -ENOMEM : -EINVAL;
    if (!out)
        task->join.lock = SS_JOIN_RELEASED;
    return start_task(worker, task);
}

// ---- end, join, release

void ss_task_unref(struct smolscale_task *task)
{
    unsigned *refs = &task->join.count;
    // A thread that finds the only reference has it: another is made from a reference only.
    if (word_load_acquire(refs) == 1 || word_fetch_sub_acq_rel(refs, 1) == 1)
        ss_slab_put(task);
}

void ss_task_end(struct smolscale_task *task, int result)
{
    if (__builtin_expect(load_relaxed(&task->ctl) & SS_CTL_DEADLINE, 0))
        ss_deadline_disarm(task);
    ss_list_lock(&task->join);
    struct ss_owner *owner = task->owner;
    task->result = result;
    bool released = ss_list_flags(&task->join) & SS_JOIN_RELEASED;
    struct smolscale_task *joiner = ss_list_pop(&task->join);
    if (joiner)
        store_relaxed(&task->joined, true);
    ss_list_unlock_with(&task->join, SS_JOIN_ENDED); // from here on it is its owner's
    if (joiner)
        ss_wake_with(joiner, result);
    if (released)
        ss_task_unref(task);
    else if (owner)
        owner->ended(owner, task);
}

bool smolscale_finished(const smolscale_task *task)
{
    // Also while a thread holds the lock that came before, to take a joiner off.
    return word_load_acquire(&task->join.lock) & SS_JOIN_ENDED;
}

void smolscale_release(smolscale_task *task)
{
    if (!task)
        return;
    if (!smolscale_finished(task)) {
        ss_list_lock(&task->join);
        unsigned flags = ss_list_flags(&task->join);
        ss_list_unlock_with(&task->join, flags & SS_JOIN_ENDED ? flags : SS_JOIN_RELEASED);
        if (!(flags & SS_JOIN_ENDED))
            return;
    }
    ss_task_unref(task);
}

// Two that join an ended task at the same moment may both get its result: that is no harm, and it
// saves a read-modify-write.
static int joined_result(smolscale_task *task)
{
    if (load_relaxed(&task->joined))
        return -EALREADY;
    store_relaxed(&task->joined, true);
    return task->result;
}

int smolscale_join(smolscale_cx *cx, smolscale_task *task)
{
    if (smolscale_finished(task))
        return ss_ready(cx, joined_result(task));
    int interrupted = ss_interrupted(cx);
    if (interrupted)
        return interrupted;
    if (task == cx->task)
        return -EDEADLK;
    ss_list_lock(&task->join);
    if (ss_list_flags(&task->join) & SS_JOIN_ENDED) {
        ss_list_unlock_with(&task->join, SS_JOIN_ENDED);
        return ss_ready(cx, joined_result(task));
    }
    if (task->join.first) {
        ss_list_unlock(&task->join);
        return -EBUSY;
    }
    return ss_wait(cx, &task->join, NULL);
}

void *smolscale_frame(smolscale_task *task)
{
    return ss_frame(task);
}

static void after_fork(void)
{
    store_relaxed(&settled, false);
}

SS_ROOM(task_task, NULL, after_fork);
