// SPDX-License-Identifier: ISC
//
// What tasks meet at: oneshot, semaphore, mutex, wait group and barrier. Each is a waitlist
// (waitlist.h) and a number, both guarded by the list's lock.
//
// A thread that makes room takes the task that has waited longest off the list and gives it what it
// waits for, under the lock: nothing can come between, and the woken task looks at nothing again.
// An interrupted task was taken off the list before anything was given to it, so that nothing is
// lost with it. Dropping the lock is the last that a giver does to the object: the woken may free
// it.

#include "task/interrupt.h"

#include "task/waitlist.h"

// ---- those to be woken when the lock is dropped, in order, linked by `next`

struct woken {
    struct smolscale_task *first, **tail;
};

static void add_woken(struct woken *woken, struct smolscale_task *task, int result)
{
    task->result = result;
    if (woken->first)
        *woken->tail = task;
    else
        woken->first = task;
    woken->tail = &task->next;
}

static void wake(struct woken *woken)
{
    if (!woken->first)
        return;
    *woken->tail = NULL;
    ss_schedule_list(woken->first);
}

// The lock held.
static void pop_all(smolscale_waitlist *list, struct woken *woken)
{
    for (struct smolscale_task *task; (task = ss_list_pop(list));)
        add_woken(woken, task, 0);
}

// ---- oneshot: its state stands in the lock's word, beside SS_LIST_HELD

#define EMPTY  0u
#define SENT   2u // `value` is there
#define TAKEN  4u // received, or handed to the receiver
#define CLOSED 6u

static unsigned lock_oneshot(smolscale_oneshot *oneshot)
{
    ss_list_lock(&oneshot->waiters);
    return ss_list_flags(&oneshot->waiters);
}

int smolscale_oneshot_send(smolscale_oneshot *oneshot, void *value)
{
    unsigned state = lock_oneshot(oneshot);
    if (__builtin_expect(state != EMPTY, 0)) {
        ss_list_unlock_with(&oneshot->waiters, state);
        return -EALREADY;
    }
    struct smolscale_task *receiver = ss_list_pop(&oneshot->waiters);
    if (!receiver) {
        oneshot->value = value;
        ss_list_unlock_with(&oneshot->waiters, SENT);
        return 0;
    }
    void **slot = receiver->slot;
    *slot = value;
    ss_list_unlock_with(&oneshot->waiters, TAKEN);
    ss_wake_with(receiver, 0);
    return 0;
}

void smolscale_oneshot_close(smolscale_oneshot *oneshot)
{
    unsigned state = lock_oneshot(oneshot);
    struct smolscale_task *receiver = state == EMPTY ? ss_list_pop(&oneshot->waiters) : NULL;
    ss_list_unlock_with(&oneshot->waiters, state == EMPTY ? CLOSED : state);
    if (receiver)
        ss_wake_with(receiver, -EPIPE);
}

int smolscale_oneshot_recv(smolscale_cx *cx, smolscale_oneshot *oneshot, void **value)
{
    unsigned state = lock_oneshot(oneshot);
    if (state == EMPTY && !oneshot->waiters.first) {
        int interrupted = ss_interrupted(cx);
        if (!interrupted)
            return ss_wait(cx, &oneshot->waiters, value);
        ss_list_unlock(&oneshot->waiters);
        return interrupted;
    }
    if (state == SENT)
        *value = oneshot->value;
    ss_list_unlock_with(&oneshot->waiters, state == SENT ? TAKEN : state);
    switch (state) {
    case SENT:
        return ss_ready(cx, 0);
    case CLOSED:
        return -EPIPE;
    case TAKEN:
        return -EALREADY;
    default:
        return -EBUSY;
    }
}

// ---- semaphore. While there are permits, no task waits: they go to the waiting first.

void smolscale_semaphore_init(smolscale_semaphore *semaphore, unsigned permits)
{
    semaphore->waiters = (smolscale_waitlist){.count = permits};
}

int smolscale_semaphore_acquire(smolscale_cx *cx, smolscale_semaphore *semaphore)
{
    int interrupted = ss_interrupted(cx);
    if (interrupted)
        return interrupted;
    ss_list_lock(&semaphore->waiters);
    if (semaphore->waiters.count == 0)
        return ss_wait(cx, &semaphore->waiters, NULL);
    semaphore->waiters.count--;
    ss_list_unlock(&semaphore->waiters);
    return ss_ready(cx, 0);
}

bool smolscale_semaphore_try_acquire(smolscale_semaphore *semaphore)
{
    ss_list_lock(&semaphore->waiters);
    bool got = semaphore->waiters.count > 0;
    semaphore->waiters.count -= got;
    ss_list_unlock(&semaphore->waiters);
    return got;
}

void smolscale_semaphore_release(smolscale_semaphore *semaphore, unsigned permits)
{
    smolscale_waitlist *waiters = &semaphore->waiters;
    struct woken woken = {0};
    ss_list_lock(waiters);
    for (struct smolscale_task *task; permits > 0 && (task = ss_list_pop(waiters)); permits--)
        add_woken(&woken, task, 0);
    unsigned room = SMOLSCALE_UNLIMITED - waiters->count;
    waiters->count += permits < room ? permits : room;
    ss_list_unlock(waiters);
    wake(&woken);
}

// ---- mutex: a semaphore with one permit

void smolscale_mutex_init(smolscale_mutex *mutex)
{
    smolscale_semaphore_init(&mutex->semaphore, 1);
}

int smolscale_mutex_lock(smolscale_cx *cx, smolscale_mutex *mutex)
{
    return smolscale_semaphore_acquire(cx, &mutex->semaphore);
}

bool smolscale_mutex_try_lock(smolscale_mutex *mutex)
{
    return smolscale_semaphore_try_acquire(&mutex->semaphore);
}

int smolscale_mutex_unlock(smolscale_mutex *mutex)
{
    smolscale_waitlist *waiters = &mutex->semaphore.waiters;
    ss_list_lock(waiters);
    bool locked = waiters->count == 0;
    struct smolscale_task *next = locked ? ss_list_pop(waiters) : NULL;
    if (!next)
        waiters->count = 1;
    ss_list_unlock(waiters);
    if (next)
        ss_wake_with(next, 0);
    return locked ? 0 : -EPERM;
}

// ---- wait group

void smolscale_waitgroup_init(smolscale_waitgroup *group, unsigned count)
{
    group->waiters = (smolscale_waitlist){.count = count};
}

int smolscale_waitgroup_add(smolscale_waitgroup *group, unsigned count)
{
    ss_list_lock(&group->waiters);
    bool fits = count <= UINT32_MAX - group->waiters.count;
    if (fits)
        group->waiters.count += count;
    ss_list_unlock(&group->waiters);
    return fits ? 0 : -EOVERFLOW;
}

int smolscale_waitgroup_done(smolscale_waitgroup *group)
{
    struct woken woken = {0};
    ss_list_lock(&group->waiters);
    bool counted = group->waiters.count > 0;
    if (counted && --group->waiters.count == 0)
        pop_all(&group->waiters, &woken);
    ss_list_unlock(&group->waiters);
    wake(&woken);
    return counted ? 0 : -EINVAL;
}

int smolscale_waitgroup_wait(smolscale_cx *cx, smolscale_waitgroup *group)
{
    int interrupted = ss_interrupted(cx);
    if (interrupted)
        return interrupted;
    ss_list_lock(&group->waiters);
    if (group->waiters.count > 0)
        return ss_wait(cx, &group->waiters, NULL);
    ss_list_unlock(&group->waiters);
    return ss_ready(cx, 0);
}

// ---- barrier. `count` is how many have come, and an upper bound of how many wait: an interruption
// takes its task off the list and knows nothing of barriers. So the list is counted when it seems
// complete, which costs no more than waking it.

void smolscale_barrier_init(smolscale_barrier *barrier, unsigned parties)
{
    barrier->waiters = (smolscale_waitlist){0};
    barrier->parties = parties ? parties : 1;
}

static unsigned length(const smolscale_waitlist *list)
{
    unsigned n = 0;
    for (const struct smolscale_task *task = list->first; task; task = task->next)
        n++;
    return n;
}

int smolscale_barrier_wait(smolscale_cx *cx, smolscale_barrier *barrier)
{
    smolscale_waitlist *waiters = &barrier->waiters;
    int interrupted = ss_interrupted(cx);
    if (interrupted)
        return interrupted;
    ss_list_lock(waiters);
    if (waiters->count + 1 >= barrier->parties)
        waiters->count = length(waiters);
    if (waiters->count + 1 < barrier->parties) {
        waiters->count++;
        return ss_wait(cx, waiters, NULL);
    }
    waiters->count = 0;
    struct woken woken = {0};
    pop_all(waiters, &woken);
    ss_list_unlock(waiters);
    wake(&woken);
    return ss_ready(cx, 1);
}
