// SPDX-License-Identifier: ISC
//
// Pools as programs see them: create, count, destroy, and the executors that programs may bring.
// Also the list of all pools there ever were, which the watcher and the count of busy CPUs walk
// without a lock, and what happens to pools at fork().
//
// `lock` guards the list of unused pools and their count. Everything else of a pool is guarded as
// pool.h says.

#include "pool.h"
#include "forward.h"

#include <pthread.h>
#include <stdlib.h>

_Atomic(struct pthreadpool *) ptp_pools;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pthreadpool *unused;
static size_t alive; // pools between create and destroy

bool cpuinfo_initialize(void) __attribute__((weak));

// As natively: the CPUs that are online, whatever of them this process may use. Programs size their
// tables with it; how many helpers really run follows smolscale_cpus().
static size_t online_cpus(void)
{
    static _Atomic size_t count; // sysconf() reads a file for it
    size_t n = atomic_load_explicit(&count, memory_order_relaxed);
    if (n == 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        n = online > 0 ? (size_t)online : 1;
        atomic_store_explicit(&count, n, memory_order_relaxed);
    }
    return n;
}

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
    ptp_watch_before_fork();
}

static void after_fork_parent(void)
{
    ptp_watch_after_fork();
    pthread_mutex_unlock(&lock);
}

static void after_fork_child(void)
{
    ptp_watch_fork_child();
    pthread_mutex_unlock(&lock);
    ptp_fork_child();
}

static void first_use(void)
{
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

static struct pthreadpool *new_pool(size_t threads)
{
    struct pthreadpool *pool;
    size_t capacity = threads < 4 ? 4 : threads;
    size_t size;
    if (__builtin_mul_overflow(capacity, sizeof(struct share), &size) ||
        __builtin_add_overflow(size, sizeof *pool, &size) || capacity >= UINT32_MAX / DOOR_PRESENT)
        return NULL;
    pool = aligned_alloc(_Alignof(struct pthreadpool), size);
    if (!pool)
        return NULL;
    __builtin_memset(pool, 0, size);
    pool->capacity = capacity;
    struct pthreadpool *head = atomic_load(&ptp_pools);
    do
        atomic_store(&pool->next_pool, head);
    while (!atomic_compare_exchange_weak(&ptp_pools, &head, pool));
    return pool;
}

// Puts a pool away (NULL: it could not be had). The watcher ends with the last one; `lock` is held
// meanwhile, so that none is created, hence none is called.
static void put(struct pthreadpool *pool)
{
    pthread_mutex_lock(&lock);
    if (pool) {
        pool->next_free = unused;
        unused = pool;
    }
    if (--alive == 0)
        ptp_watch_stop();
    pthread_mutex_unlock(&lock);
}

// A pool of those that were destroyed may still belong to a caller; see ptp_settle().
static bool can_be_used_again(struct pthreadpool *pool, size_t threads)
{
    return pool->capacity >= threads && !(atomic_load(&pool->door) & DOOR_BUSY);
}

// A pool from the unused ones, or a new one. Its door is idle, its shares are empty. NULL: no
// memory.
static struct pthreadpool *get(size_t threads)
{
    pthread_mutex_lock(&lock);
    struct pthreadpool **at = &unused;
    while (*at && !can_be_used_again(*at, threads))
        at = &(*at)->next_free;
    struct pthreadpool *pool = *at;
    if (pool)
        *at = pool->next_free;
    alive++;
    pthread_mutex_unlock(&lock);
    if (!pool)
        pool = new_pool(threads);
    if (!pool)
        put(NULL);
    return pool;
}

SMOLSCALE_API pthreadpool_t pthreadpool_create_v2(struct pthreadpool_executor *executor,
                                                  void *executor_context, size_t max_num_threads)
{
    FORWARD(pthreadpool_create_v2, pthreadpool_t, (executor, executor_context, max_num_threads),
            struct pthreadpool_executor *, void *, size_t);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, first_use);
    if (cpuinfo_initialize && !cpuinfo_initialize())
        return NULL;
    size_t threads = max_num_threads ? max_num_threads : online_cpus();
    if (executor) {
        int theirs = executor->num_threads(executor_context);
        if (theirs >= 0 && (size_t)theirs < threads)
            threads = (size_t)theirs + 1;
    }
    struct pthreadpool *pool = get(threads);
    if (!pool)
        return NULL;
    if (!executor && threads > 1 && !ptp_threads_new(pool, threads - 1)) {
        put(pool);
        return NULL;
    }
    pool->max_threads = threads;
    pool->executor = executor ? *executor : (struct pthreadpool_executor){NULL, NULL};
    pool->executor_context = executor_context;
    atomic_store(&pool->linger, 0);
    atomic_store(&pool->last_end, 0);
    atomic_store(&pool->threads, threads);
    return pool;
}

SMOLSCALE_API pthreadpool_t pthreadpool_create(size_t threads_count)
{
    FORWARD(pthreadpool_create, pthreadpool_t, (threads_count), size_t);
    return pthreadpool_create_v2(NULL, NULL, threads_count);
}

SMOLSCALE_API size_t pthreadpool_get_threads_count(pthreadpool_t pool)
{
    FORWARD(pthreadpool_get_threads_count, size_t, (pool), pthreadpool_t);
    return pool ? atomic_load_explicit(&pool->threads, memory_order_relaxed) : 1;
}

SMOLSCALE_API size_t pthreadpool_set_threads_count(pthreadpool_t pool, size_t num_threads)
{
    FORWARD(pthreadpool_set_threads_count, size_t, (pool, num_threads), pthreadpool_t, size_t);
    if (!pool)
        return 1;
    ptp_reclaim(pool, __builtin_frame_address(0));
    ptp_lock(pool);
    if (num_threads == 0 || num_threads > pool->max_threads)
        num_threads = pool->max_threads;
    atomic_store_explicit(&pool->threads, num_threads, memory_order_relaxed);
    ptp_unlock(pool);
    return num_threads;
}

// ---------------------------------------------------------------------------------------------
// Executors of the program. Tasks that they were given for a pool hold on to it, so destroy waits
// for them, as natively.
// ---------------------------------------------------------------------------------------------

// The last thing a task does.
void ptp_foreign_ended(struct pthreadpool *pool)
{
    if (atomic_fetch_sub(&pool->foreign, 1) == 1)
        futex_wake(&pool->foreign, 1);
}

static void wait_for_foreign(struct pthreadpool *pool)
{
    uint32_t count;
    while ((count = atomic_load(&pool->foreign)) != 0)
        futex_wait_until(&pool->foreign, count, 0); // woken, changed or interrupted: look again
}

// Nothing to do: helpers go back to their executor at the end of each call by themselves.
SMOLSCALE_API void pthreadpool_release_executor_threads(struct pthreadpool *pool)
{
    FORWARD_VOID(pthreadpool_release_executor_threads, (pool), struct pthreadpool *);
    if (pool)
        atomic_store_explicit(&pool->linger, 0, memory_order_relaxed);
}

SMOLSCALE_API bool pthreadpool_update_executor(pthreadpool_t pool,
                                               struct pthreadpool_executor *executor,
                                               void *executor_context)
{
    FORWARD(pthreadpool_update_executor, bool, (pool, executor, executor_context), pthreadpool_t,
            struct pthreadpool_executor *, void *);
    ptp_reclaim(pool, __builtin_frame_address(0));
    ptp_lock(pool);
    bool changes = pool->executor.num_threads != executor->num_threads ||
                   pool->executor.schedule != executor->schedule ||
                   pool->executor_context != executor_context;
    pool->executor = *executor;
    pool->executor_context = executor_context;
    ptp_unlock(pool);
    return changes;
}

SMOLSCALE_API void pthreadpool_destroy(pthreadpool_t pool)
{
    FORWARD_VOID(pthreadpool_destroy, (pool), pthreadpool_t);
    if (!pool)
        return;
    ptp_settle(pool);
    wait_for_foreign(pool);
    ptp_threads_free(pool);
    put(pool);
}

// ---------------------------------------------------------------------------------------------
// Fork
// ---------------------------------------------------------------------------------------------

// In the child there are no helpers, and no callers but this thread, if it forked from an item: as
// the caller of a call or as a helper of one, whose caller then is none of the child's. It goes on
// with what is left in its own share; items in the shares of others belong to the parent. Nobody
// can take back of the piece that it is in before the child has registered for membarrier (steal()
// then goes without), which the owner's plain stores rely on.
static void fork_pool(struct pthreadpool *pool, uintptr_t self)
{
    uint64_t door = atomic_load(&pool->door);
    struct share *mine = NULL;
    if ((door & DOOR_BUSY) && atomic_load(&pool->caller) == self)
        mine = &pool->shares[0];
    else
        atomic_store(&pool->caller, 0);
    for (size_t i = 1; i < pool->capacity; i++)
        if (atomic_load(&pool->shares[i].owner) == self)
            mine = &pool->shares[i];
    bool helps = mine && mine != &pool->shares[0];
    door &= ~(DOOR_CALL - 1);
    if (mine)
        door |= DOOR_BUSY | DOOR_READY | (helps ? DOOR_ORPHAN | DOOR_PRESENT : 0);
    atomic_store(&pool->door, door);
    atomic_store(&pool->steal_lock, 0);
    atomic_store(&pool->asked, 0);
    atomic_store(&pool->borrowed, 0);
    atomic_store(&pool->around, helps ? 1 : 0);
    atomic_store(&pool->foreign, 0); // and ptp_generation says so to a task that forked
    atomic_store(&pool->waiting_callers, 0);
    pool->tickets.count = 0;
    for (size_t i = 0; i < pool->capacity; i++) {
        struct share *share = &pool->shares[i];
        if (share == mine)
            continue;
        atomic_store(&share->limit, 0);
        atomic_store(&share->claimed, 0);
        atomic_store(&share->taken, 0);
        atomic_store(&share->owner, 0);
    }
}

void ptp_fork_child(void)
{
    uintptr_t self = this_thread();
    atomic_fetch_add(&ptp_generation, 1);
    for (struct pthreadpool *p = atomic_load(&ptp_pools); p; p = atomic_load(&p->next_pool))
        fork_pool(p, self);
}
