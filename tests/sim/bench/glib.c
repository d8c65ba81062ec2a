// SPDX-License-Identifier: ISC
//
// What bench/glib asks of GLib: mutexes, conditions and threads, and the thread pool itself, in
// GLib's own way or by smolscale's layer (compat/glib, its source unchanged). The model of GLib's
// pool does what 2.74 does: an asynchronous queue, which is a list, a mutex and a condition; a
// thread more at a push that finds none waiting, first of those that no pool uses, and else created
// by the pools' own spawner; threads of shared pools leave after half a second.

#include "glib.h"

#include "../machine/sim.h"
#include "glib_pool.h"
#include "program.h"

#define UNUSED_MAX    2u
#define HALF_A_SECOND (SS_NS_PER_S / 2)
#define FIFTEEN_S     (15 * SS_NS_PER_S)

// ---- mutexes and conditions: gthread-posix.c

enum { EMPTY, OWNED, CONTENDED };

static _Atomic uint32_t *word_of(void *lock)
{
    return (_Atomic uint32_t *)lock;
}

void g_mutex_init(GMutex *mutex)
{
    store_relaxed(word_of(mutex), EMPTY);
}

void g_cond_init(GCond *cond)
{
    store_relaxed(word_of(cond), 0);
}

void(g_mutex_lock)(GMutex *mutex)
{
    uint32_t expected = EMPTY;
    if (cas_strong_acquire(word_of(mutex), &expected, OWNED))
        return;
    while (exchange_acquire(word_of(mutex), CONTENDED) != EMPTY)
        ss_os.futex_wait_until(word_of(mutex), CONTENDED, SS_FOREVER);
}

void(g_mutex_unlock)(GMutex *mutex)
{
    if (exchange_release(word_of(mutex), EMPTY) == CONTENDED)
        ss_os.futex_wake(word_of(mutex), 1);
}

static bool cond_wait_until(GCond *cond, GMutex *mutex, uint64_t until)
{
    uint32_t seen = load_relaxed(word_of(cond));
    g_mutex_unlock(mutex);
    bool woken = ss_os.futex_wait_until(word_of(cond), seen, until);
    g_mutex_lock(mutex);
    return woken;
}

void g_cond_wait(GCond *cond, GMutex *mutex)
{
    cond_wait_until(cond, mutex, SS_FOREVER);
}

// A system call each time: it does not know whether anybody waits.
void g_cond_signal(GCond *cond)
{
    fetch_add_seq_cst(word_of(cond), 1);
    ss_os.futex_wake(word_of(cond), 1);
}

void g_cond_broadcast(GCond *cond)
{
    fetch_add_seq_cst(word_of(cond), 1);
    ss_os.futex_wake(word_of(cond), INT32_MAX);
}

// ---- gasyncqueue.c

struct node {
    struct node *next;
    void *data;
};

struct async_queue {
    GMutex mutex;
    GCond changed;
    struct node *first, **end;
    int length, waiting;
};

static void push_unlocked(struct async_queue *queue, void *data)
{
    struct node *node = ss_allocate(sizeof *node);
    *node = (struct node){.data = data};
    *queue->end = node;
    queue->end = &node->next;
    queue->length++;
    if (queue->waiting > 0)
        g_cond_signal(&queue->changed);
}

static int length_unlocked(const struct async_queue *queue)
{
    return queue->length - queue->waiting;
}

static void *pop_unlocked(struct async_queue *queue, uint64_t within)
{
    if (!queue->first) {
        uint64_t until = within == SS_FOREVER ? SS_FOREVER : ss_os.now() + within;
        queue->waiting++;
        while (!queue->first && cond_wait_until(&queue->changed, &queue->mutex, until))
            ;
        queue->waiting--;
    }
    struct node *node = queue->first;
    if (!node)
        return NULL;
    queue->first = node->next;
    if (!queue->first)
        queue->end = &queue->first;
    queue->length--;
    void *data = node->data;
    ss_deallocate(node);
    return data;
}

// ---- gthreadpool.c

struct pool {
    GThreadPool public;
    struct async_queue queue;
    GCond cond;
    int max_threads, num_threads;
    bool running, immediate, waiting;
};

static struct async_queue unused = {.end = &unused.first};
static _Atomic uint32_t unused_count;

static struct pool *wait_for_new_pool(void)
{
    if (fetch_add_seq_cst(&unused_count, 1) >= UNUSED_MAX) {
        fetch_sub_seq_cst(&unused_count, 1);
        return NULL;
    }
    g_mutex_lock(&unused.mutex);
    struct pool *pool = pop_unlocked(&unused, FIFTEEN_S);
    g_mutex_unlock(&unused.mutex);
    fetch_sub_seq_cst(&unused_count, 1);
    return pool;
}

static void *wait_for_new_task(struct pool *pool)
{
    if (!pool->running && (pool->immediate || length_unlocked(&pool->queue) <= 0))
        return NULL;
    if (pool->max_threads != -1 && pool->num_threads > pool->max_threads)
        return NULL;
    return pop_unlocked(&pool->queue, pool->public.exclusive ? SS_FOREVER : HALF_A_SECOND);
}

// One of the pool's threads has ended its part.
static void one_less(struct pool *pool)
{
    pool->num_threads--;
    bool done = !pool->running && length_unlocked(&pool->queue) == -pool->num_threads;
    bool gone = done && !pool->waiting && pool->num_threads == 0;
    if (done && pool->waiting)
        g_cond_broadcast(&pool->cond);
    g_mutex_unlock(&pool->queue.mutex);
    if (gone)
        ss_deallocate(pool);
}

static void *proxy(void *arg)
{
    struct pool *pool = arg;
    g_mutex_lock(&pool->queue.mutex);
    for (;;) {
        void *task = wait_for_new_task(pool);
        if (task) {
            if (pool->running || !pool->immediate) {
                g_mutex_unlock(&pool->queue.mutex);
                pool->public.func(task, pool->public.user_data);
                g_mutex_lock(&pool->queue.mutex);
            }
            continue;
        }
        one_less(pool);
        pool = wait_for_new_pool();
        if (!pool)
            return NULL;
        g_mutex_lock(&pool->queue.mutex);
    }
}

// The threads of shared pools are created by a thread of their own.
static struct {
    GMutex mutex;
    GCond changed;
    bool exists, created;
    struct pool *wanted;
} spawner;

static void *spawn_threads(void *arg)
{
    (void)arg;
    g_mutex_lock(&spawner.mutex);
    for (;;) {
        while (!spawner.wanted)
            g_cond_wait(&spawner.changed, &spawner.mutex);
        struct pool *pool = spawner.wanted;
        spawner.wanted = NULL;
        ss_os.thread_create(proxy, pool);
        spawner.created = true;
        g_cond_broadcast(&spawner.changed);
    }
}

static void create_thread(struct pool *pool)
{
    if (pool->public.exclusive) {
        ss_os.thread_create(proxy, pool);
        return;
    }
    g_mutex_lock(&spawner.mutex);
    if (!spawner.exists) {
        spawner.exists = true;
        ss_os.thread_create(spawn_threads, NULL);
    }
    spawner.created = false;
    spawner.wanted = pool;
    g_cond_broadcast(&spawner.changed);
    while (!spawner.created)
        g_cond_wait(&spawner.changed, &spawner.mutex);
    g_mutex_unlock(&spawner.mutex);
}

static void start_thread(struct pool *pool)
{
    if (pool->max_threads != -1 && pool->num_threads >= pool->max_threads)
        return;
    bool found = false;
    g_mutex_lock(&unused.mutex);
    if (length_unlocked(&unused) < 0) {
        push_unlocked(&unused, pool);
        found = true;
    }
    g_mutex_unlock(&unused.mutex);
    if (!found)
        create_thread(pool);
    pool->num_threads++;
}

static GThreadPool *native_new(GFunc func, gpointer data, gint max_threads, gboolean exclusive)
{
    struct pool *pool = ss_allocate_zeroed(sizeof *pool);
    pool->public = (GThreadPool){func, data, exclusive};
    pool->queue.end = &pool->queue.first;
    pool->max_threads = max_threads;
    pool->running = true;
    if (exclusive) {
        g_mutex_lock(&pool->queue.mutex);
        while (pool->num_threads < pool->max_threads) {
            create_thread(pool);
            pool->num_threads++;
        }
        g_mutex_unlock(&pool->queue.mutex);
    }
    return &pool->public;
}

static void native_push(GThreadPool *public, gpointer data)
{
    struct pool *pool = (struct pool *)public;
    g_mutex_lock(&pool->queue.mutex);
    if (length_unlocked(&pool->queue) >= 0)
        start_thread(pool);
    push_unlocked(&pool->queue, data);
    g_mutex_unlock(&pool->queue.mutex);
}

static void native_free(GThreadPool *public)
{
    struct pool *pool = (struct pool *)public;
    g_mutex_lock(&pool->queue.mutex);
    pool->running = false;
    pool->waiting = true;
    while (length_unlocked(&pool->queue) != -pool->num_threads)
        g_cond_wait(&pool->cond, &pool->queue.mutex);
    pool->waiting = false;
    int threads = pool->num_threads;
    pool->immediate = true;
    for (int i = 0; i < threads; i++)
        push_unlocked(&pool->queue, (void *)1);
    g_mutex_unlock(&pool->queue.mutex);
    if (threads == 0)
        ss_deallocate(pool);
}

// ---- what the program calls

GThreadPool *(g_thread_pool_new)(GFunc func, gpointer data, gint max_threads, gboolean exclusive,
                                 GError **error)
{
    return guest_has_layer ? layer_g_thread_pool_new(func, data, max_threads, exclusive, error)
                           : native_new(func, data, max_threads, exclusive);
}

gboolean(g_thread_pool_push)(GThreadPool *pool, gpointer data, GError **error)
{
    if (guest_has_layer)
        return layer_g_thread_pool_push(pool, data, error);
    native_push(pool, data);
    return TRUE;
}

void(g_thread_pool_free)(GThreadPool *pool, gboolean immediate, gboolean wait)
{
    if (guest_has_layer)
        layer_g_thread_pool_free(pool, immediate, wait);
    else
        native_free(pool);
}
