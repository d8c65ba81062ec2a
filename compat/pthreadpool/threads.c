// SPDX-License-Identifier: ISC
//
// The threads of a pool: a group of workers of the executor that the pool owns from create to
// destroy, and the queue through which calls ask for them. They run nothing else, and they have
// ended when destroy returns, as natively: what items left in thread-local storage is destroyed by
// then. With SMOLSCALE_POLICY=elastic all pools share the executor's own workers instead, which
// stay: pools then cost nothing to make and to destroy. Pools of one thread, and those with an
// executor of the program's own, have none.
//
//   Q1  Who uses the queue has borrowed it: it raises `borrowed`, then reads `queue`. Destroy
//   clears
//       `queue`, then waits until `borrowed` is 0. All four are sequentially consistent: either the
//       borrower finds no queue, or destroy waits for it. So the caller of a call, the watcher, and
//       one who comes back from a call that destroy has not waited for (ptp_settle) can always ask.
//   Q2  Who gives the queue back lowers `borrowed`, then reads `queue`; if that is clear, it wakes
//       destroy, which sleeps only while `borrowed` is what it was after `queue` was cleared. (The
//       memory of a pool is never given back, so a late wake harms nobody.)

#include "pool.h"

#include <errno.h>
#include <limits.h>
#include <sys/prctl.h>

// ---- the shared queue ----

static smolscale_queue *shared_queue(void)
{
    static _Atomic(smolscale_queue *) queue;
    smolscale_queue *q = atomic_load_explicit(&queue, memory_order_acquire);
    if (q)
        return q;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = ptp_help;
    if (smolscale_queue_new(&q, &attr) != 0)
        return NULL;
    smolscale_queue *other = NULL;
    if (atomic_compare_exchange_strong(&queue, &other, q))
        return q;
    smolscale_queue_free(q);
    return other;
}

// ---- a pool's own ----

// As natively, the threads belong to the thread that makes the pool: they have its settings and its
// name, whichever thread makes the first call.
static smolscale_queue *new_queue(smolscale_group *group)
{
    char name[16] = "";
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = ptp_help;
    attr.group = group;
    if (!smolscale_quiet() && prctl(PR_GET_NAME, name) == 0)
        attr.thread_name = name;
    smolscale_queue *queue;
    return smolscale_queue_new(&queue, &attr) == 0 ? queue : NULL;
}

bool ptp_threads_new(struct pthreadpool *pool, size_t helpers)
{
    if (smolscale_elastic()) {
        smolscale_queue *shared = shared_queue();
        atomic_store(&pool->queue, shared);
        return shared != NULL;
    }
    struct smolscale_group_attr attr = SMOLSCALE_GROUP_ATTR_INIT;
    attr.max_workers = (unsigned)helpers;
    attr.idle_timeout = SMOLSCALE_FOREVER;
    attr.flags = SMOLSCALE_GROUP_EAGER;
    smolscale_group *group;
    if (smolscale_group_new(&group, &attr) != 0)
        return false;
    smolscale_queue *queue = new_queue(group);
    if (!queue) {
        smolscale_group_free(group);
        return false;
    }
    pool->group = group;
    atomic_store(&pool->queue, queue);
    return true;
}

// A helper that was asked for and has not started.
static void drop(void *item, void *unused)
{
    struct pthreadpool *pool = item;
    (void)unused;
    atomic_fetch_sub_explicit(&pool->asked, 1, memory_order_relaxed);
}

void ptp_threads_free(struct pthreadpool *pool)
{
    smolscale_queue *queue = atomic_exchange(&pool->queue, NULL); // Q1
    for (uint32_t count; (count = atomic_load(&pool->borrowed)) != 0;)
        futex_wait_until(&pool->borrowed, count, 0); // Q2; woken, changed, interrupted: look again
    if (!pool->group)
        return;
    smolscale_queue_clear(queue, drop, NULL);
    smolscale_queue_free(queue);
    smolscale_group_free(pool->group);
    pool->group = NULL;
}

// ---- who uses the queue ----

static smolscale_queue *borrow(struct pthreadpool *pool)
{
    atomic_fetch_add(&pool->borrowed, 1);
    return atomic_load(&pool->queue);
}

static void give_back(struct pthreadpool *pool)
{
    if (atomic_fetch_sub(&pool->borrowed, 1) == 1 && ptp_unlikely(!atomic_load(&pool->queue)))
        futex_wake(&pool->borrowed, INT_MAX);
}

bool ptp_threads_ask(struct pthreadpool *pool, uint32_t count, uint64_t *ticket)
{
    smolscale_queue *queue = borrow(pool);
    int err = queue ? smolscale_queue_push_many(queue, pool, count, ticket) : -1;
    give_back(pool);
    return err == 0 || err == -EAGAIN; // then they come as soon as a thread can be had
}

void ptp_threads_withdraw(struct pthreadpool *pool, const struct tickets *tickets)
{
    smolscale_queue *queue = borrow(pool);
    for (uint32_t i = 0; queue && i < tickets->count; i++)
        if (atomic_load_explicit(&pool->asked, memory_order_relaxed) > 0 &&
            smolscale_queue_cancel(queue, pool, tickets->first + i))
            atomic_fetch_sub_explicit(&pool->asked, 1, memory_order_relaxed);
    give_back(pool);
}
