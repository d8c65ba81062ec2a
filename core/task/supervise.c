// SPDX-License-Identifier: ISC
//
// Supervision: reapers and nurseries, which hold tasks.
//
// A reaper or nursery (a *holder*) has its tasks as *members* on a ring, under the lock of its
// waitlist. The runner of a task that has ended calls reaped() or left_nursery(), which takes it
// off the ring; until then the handle is the holder's, so every member on the ring may be used
// under the lock. The holder's memory lives until it was freed by its owner and its last member has
// ended.

#include "task/interrupt.h"

#include "os/memory.h"
#include "task/waitlist.h"

#include <string.h>

struct member {
    struct ss_owner owner;      // of its task; first
    struct member *next, *prev; // on a ring; the ring itself is one, too
    struct smolscale_task *task;
    struct holder *holder;
};

struct holder {
    smolscale_waitlist waiters;
    struct member running; // ring
    size_t holds;          // members that have not ended, and one until it is freed
};

static void ring_init(struct member *ring)
{
    ring->next = ring->prev = ring;
}

static bool ring_empty(const struct member *ring)
{
    return ring->next == ring;
}

static void ring_append(struct member *ring, struct member *member)
{
    member->prev = ring->prev;
    member->next = ring;
    ring->prev->next = member;
    ring->prev = member;
}

static void ring_remove(struct member *member)
{
    member->prev->next = member->next;
    member->next->prev = member->prev;
}

// All of `from` goes to the end of `to`.
static void ring_move(struct member *to, struct member *from)
{
    if (ring_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    ring_init(from);
}

static void holder_init(struct holder *holder)
{
    holder->waiters = (smolscale_waitlist){0};
    ring_init(&holder->running);
    holder->holds = 1;
}

static void add_member(struct holder *holder, struct member *member)
{
    ss_list_lock(&holder->waiters);
    ring_append(&holder->running, member);
    holder->holds++;
    ss_list_unlock(&holder->waiters);
}

#define CANCELLED_AT_ONCE 64

// Cancelling is not done under the lock, which tasks that end want. So some references are taken
// under it at a time; what still has its turn stands on a ring of its own, from where members that
// end leave as from any.
static void cancel_all(struct holder *holder)
{
    struct member left;
    ring_init(&left);
    ss_list_lock(&holder->waiters);
    ring_move(&left, &holder->running);
    ss_list_unlock(&holder->waiters);
    for (;;) {
        smolscale_task *tasks[CANCELLED_AT_ONCE];
        unsigned n = 0;
        ss_list_lock(&holder->waiters);
        while (n < CANCELLED_AT_ONCE && !ring_empty(&left)) {
            struct member *member = left.next;
            ring_remove(member);
            ring_append(&holder->running, member);
            tasks[n++] = smolscale_waker_clone((smolscale_waker){member->task}).task;
        }
        ss_list_unlock(&holder->waiters);
        if (n == 0)
            return;
        ss_cancel_all(tasks, n);
        for (unsigned i = 0; i < n; i++)
            smolscale_waker_drop((smolscale_waker){tasks[i]});
    }
}

// ---- reapers

struct smolscale_reaper {
    struct holder holder;
};

int smolscale_reaper_new(smolscale_reaper **out)
{
    *out = ss_allocate(sizeof **out);
    if (!*out)
        return -ENOMEM;
    holder_init(&(*out)->holder);
    return 0;
}

static void reaped(struct ss_owner *owner, struct smolscale_task *task)
{
    struct member *member = (struct member *)owner;
    struct holder *holder = member->holder;
    ss_list_lock(&holder->waiters);
    ring_remove(member);
    bool last = --holder->holds == 0;
    ss_list_unlock(&holder->waiters);
    ss_deallocate(member);
    smolscale_release(task);
    if (last)
        ss_deallocate(holder);
}

// False: it has ended, and nobody will call.
static bool call_at_end(struct smolscale_task *task, struct member *member)
{
    ss_list_lock(&task->join);
    unsigned flags = ss_list_flags(&task->join);
    task->owner = &member->owner;
    ss_list_unlock_with(&task->join, flags);
    return !(flags & SS_JOIN_ENDED);
}

int smolscale_reaper_attach(smolscale_reaper *reaper, smolscale_task *task)
{
    if (!task)
        return -EINVAL;
    struct member *member = ss_allocate(sizeof *member);
    if (!member)
        return -ENOMEM;
    *member = (struct member){.owner = {reaped}, .task = task, .holder = &reaper->holder};
    add_member(&reaper->holder, member);
    if (!call_at_end(task, member))
        reaped(&member->owner, task);
    return 0;
}

size_t smolscale_reaper_count(smolscale_reaper *reaper)
{
    ss_list_lock(&reaper->holder.waiters);
    size_t running = reaper->holder.holds - 1;
    ss_list_unlock(&reaper->holder.waiters);
    return running;
}

void smolscale_reaper_free(smolscale_reaper *reaper)
{
    if (!reaper)
        return;
    cancel_all(&reaper->holder);
    ss_list_lock(&reaper->holder.waiters);
    bool last = --reaper->holder.holds == 0;
    ss_list_unlock(&reaper->holder.waiters);
    if (last)
        ss_deallocate(reaper);
}

// ---- nurseries. A member lies behind its task's frame and goes with it. Ended members wait on
// `ended` for next() or wait(); while one waits, the ring is empty.

struct smolscale_nursery {
    struct holder holder;
    struct member ended; // ring
    int first_error;     // of those that wait() has seen
    bool freed;
};

int smolscale_nursery_new(smolscale_nursery **out)
{
    *out = ss_allocate(sizeof **out);
    if (!*out)
        return -ENOMEM;
    holder_init(&(*out)->holder);
    ring_init(&(*out)->ended);
    (*out)->first_error = 0;
    (*out)->freed = false;
    return 0;
}

// The lock held.
static void note_result(smolscale_nursery *nursery, int result)
{
    if (result < 0 && nursery->first_error == 0)
        nursery->first_error = result;
}

static int take_first_error(smolscale_nursery *nursery)
{
    int result = nursery->first_error;
    nursery->first_error = 0;
    return result;
}

// What becomes of the task that has ended; the lock held. True: nobody wants its handle. *wake: to
// be scheduled with *result.
static bool settle(smolscale_nursery *nursery, struct member *member, struct smolscale_task **wake,
                   int *result)
{
    if (nursery->freed)
        return true;
    struct smolscale_task *waiter = nursery->holder.waiters.first;
    if (!waiter) {
        ring_append(&nursery->ended, member);
        return false;
    }
    if (waiter->slot) { // it is in next()
        smolscale_task **handle = waiter->slot;
        *handle = member->task;
        *wake = ss_list_pop(&nursery->holder.waiters);
        *result = 0;
        return false;
    }
    note_result(nursery, member->task->result);
    if (nursery->holder.holds == 1) {
        *wake = ss_list_pop(&nursery->holder.waiters);
        *result = take_first_error(nursery);
    }
    return true;
}

static void left_nursery(struct ss_owner *owner, struct smolscale_task *task)
{
    struct member *member = (struct member *)owner;
    smolscale_nursery *nursery = (smolscale_nursery *)member->holder;
    struct smolscale_task *wake = NULL;
    int result = 0;
    ss_list_lock(&nursery->holder.waiters);
    ring_remove(member);
    bool last = --nursery->holder.holds == 0;
    bool unwanted = settle(nursery, member, &wake, &result);
    ss_list_unlock(&nursery->holder.waiters);
    if (unwanted)
        smolscale_release(task);
    if (wake)
        ss_wake_with(wake, result);
    if (last)
        ss_deallocate(nursery);
}

int smolscale_nursery_spawn(smolscale_nursery *nursery, smolscale_poll_fn *poll, const void *frame,
                            size_t size)
{
    size_t at = (size + _Alignof(struct member) - 1) & ~(_Alignof(struct member) - 1);
    if (!poll)
        return -EINVAL;
    if (at < size || at > SIZE_MAX - sizeof(struct member))
        return -ENOMEM;
    ss_first_use();
    struct smolscale_task *task = ss_task_new(poll, NULL, at + sizeof(struct member), NULL);
    if (!task)
        return -ENOMEM;
    if (frame && size)
        memcpy(ss_frame(task), frame, size);
    struct member *member = (struct member *)((char *)ss_frame(task) + at);
    *member = (struct member){.owner = {left_nursery}, .task = task, .holder = &nursery->holder};
    task->owner = &member->owner;
    add_member(&nursery->holder, member);
    return ss_task_start(task);
}

int smolscale_nursery_next(smolscale_cx *cx, smolscale_nursery *nursery, smolscale_task **ended)
{
    smolscale_waitlist *waiters = &nursery->holder.waiters;
    *ended = NULL;
    ss_list_lock(waiters);
    if (!ring_empty(&nursery->ended)) {
        struct member *member = nursery->ended.next;
        ring_remove(member);
        ss_list_unlock(waiters);
        *ended = member->task;
        return ss_ready(cx, 0);
    }
    int result = ss_interrupted(cx);
    if (nursery->holder.holds == 1)
        result = -ENOENT;
    else if (waiters->first)
        result = -EBUSY;
    if (result == 0)
        return ss_wait(cx, waiters, ended);
    ss_list_unlock(waiters);
    return result;
}

static void release_all(struct member *ring)
{
    while (!ring_empty(ring)) {
        struct member *member = ring->next;
        ring_remove(member);
        smolscale_release(member->task);
    }
}

// Releases those that have ended. Returns with the lock held.
static void lock_and_clear(smolscale_nursery *nursery)
{
    ss_list_lock(&nursery->holder.waiters);
    while (!ring_empty(&nursery->ended)) {
        struct member seen;
        ring_init(&seen);
        ring_move(&seen, &nursery->ended);
        for (struct member *member = seen.next; member != &seen; member = member->next)
            note_result(nursery, member->task->result);
        ss_list_unlock(&nursery->holder.waiters);
        release_all(&seen);
        ss_list_lock(&nursery->holder.waiters);
    }
}

int smolscale_nursery_wait(smolscale_cx *cx, smolscale_nursery *nursery)
{
    smolscale_waitlist *waiters = &nursery->holder.waiters;
    lock_and_clear(nursery);
    if (nursery->holder.holds == 1) {
        int result = take_first_error(nursery);
        ss_list_unlock(waiters);
        return ss_ready(cx, result);
    }
    int result = waiters->first ? -EBUSY : ss_interrupted(cx);
    if (result == 0)
        return ss_wait(cx, waiters, NULL);
    ss_list_unlock(waiters);
    return result;
}

void smolscale_nursery_cancel(smolscale_nursery *nursery)
{
    cancel_all(&nursery->holder);
}

void smolscale_nursery_free(smolscale_nursery *nursery)
{
    if (!nursery)
        return;
    struct member unwanted;
    ring_init(&unwanted);
    ss_list_lock(&nursery->holder.waiters);
    nursery->freed = true;
    ring_move(&unwanted, &nursery->ended);
    ss_list_unlock(&nursery->holder.waiters);
    release_all(&unwanted);
    cancel_all(&nursery->holder);
    ss_list_lock(&nursery->holder.waiters);
    bool last = --nursery->holder.holds == 0;
    ss_list_unlock(&nursery->holder.waiters);
    if (last)
        ss_deallocate(nursery);
}
