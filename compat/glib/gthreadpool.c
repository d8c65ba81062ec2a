// SPDX-License-Identifier: ISC
//
// GThreadPool on smolscale: the sixteen g_thread_pool_* functions, defined again for a library that
// is preloaded (or linked) in front of GLib. A pool becomes a work queue of the core; the queue
// does all the scheduling, and this file translates: arguments, limits, errors, complaints, and the
// stages of a pool's end. What a program sees is the behaviour of the GLib it runs with;
// docs/fidelity.md lists every point in which the two differ.
//
// Called by the program and its libraries, from any thread, at any time, also before constructors
// have run. There is no lock in this file. A pool's life is one atomic word, `state`; all else of a
// pool is written before it is shared, or is an atomic of its own. After fork() the child's pools
// are empty and usable, as the core's queues are.
//
// With SMOLSCALE_DISABLE=1 and in setuid programs pools are created by GLib itself. Such a pool is
// told from ours by the word at `state`, and every function hands it on. So nothing on the hot path
// asks whether the layer is enabled, and pools of both kinds may exist side by side.

#include "base/atomic.h"
#include "native.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <smolscale.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT    __attribute__((visibility("default")))
#define COLD      __attribute__((cold, noinline))
#define LIKELY(x) __builtin_expect(!!(x), 1)

// GLib's g_return_if_fail(), with the words GLib was compiled with: `assertion` is the source text
// of the condition in GLib, which names GLib's variables.
#define RETURN_IF_FAIL(condition, assertion)      \
    do {                                          \
        if (!LIKELY(condition)) {                 \
            native_critical(__func__, assertion); \
            return;                               \
        }                                         \
    } while (0)

#define RETURN_VALUE_IF_FAIL(condition, assertion, value) \
    do {                                                  \
        if (!LIKELY(condition)) {                         \
            native_critical(__func__, assertion);         \
            return value;                                 \
        }                                                 \
    } while (0)

// The stages of a pool. The values double as the mark of our pools: where they stand, a pool made
// by GLib has the address of its queue, and no address looks like these.
#define POOL_OPEN     UINT64_C(0xf01d5ca1e0000001) // takes items
#define POOL_STARVED  UINT64_C(0xf01d5ca1e0000002) // takes items; exclusive, and threads are missing
#define POOL_DRAINING UINT64_C(0xf01d5ca1e0000003) // being freed; what is queued still runs
#define POOL_DROPPING UINT64_C(0xf01d5ca1e0000004) // being freed; what is queued never runs

// An item that will never run and waits for its item_free_func.
struct dropped {
    struct dropped *next;
    gpointer item;
};

struct pool {
    GThreadPool public; // GLib's public part, at the same place; programs read it and may write it
    _Atomic uint64_t state;
    smolscale_queue *queue;
    _Atomic gint max_threads; // as the caller gave it; -1: unlimited
    GDestroyNotify item_free; // or NULL
    _Atomic(struct dropped *) dropped;
};

_Static_assert(offsetof(struct pool, state) >= sizeof(GThreadPool) &&
                   offsetof(struct pool, state) < sizeof(GThreadPool) + sizeof(uint64_t),
               "state lies where a pool of GLib's own holds its queue");

static struct pool *to_pool(GThreadPool *pool)
{
    return (struct pool *)pool;
}

static uint64_t pool_state(struct pool *pool)
{
    return load_relaxed(&pool->state);
}

static bool is_running(struct pool *pool)
{
    uint64_t state = pool_state(pool);
    return state == POOL_OPEN || state == POOL_STARVED;
}

// True for a pool that GLib itself has made. NULL is not foreign: the complaint about it is ours to
// make.
static bool is_foreign(GThreadPool *pool)
{
    if (pool == NULL)
        return false;
    uint64_t state = pool_state(to_pool(pool));
    return state < POOL_OPEN || state > POOL_DROPPING;
}

static unsigned to_limit(gint max_threads)
{
    return max_threads < 0 ? SMOLSCALE_UNLIMITED : (unsigned)max_threads;
}

static gint get_limit(struct pool *pool)
{
    return load_relaxed(&pool->max_threads);
}

// ---------------------------------------------------------------------------------------------
// Running items
// ---------------------------------------------------------------------------------------------

static void keep_dropped(void *item, void *pool_pointer)
{
    struct pool *pool = pool_pointer;
    if (pool->item_free == NULL)
        return;
    struct dropped *node = malloc(sizeof *node);
    if (node == NULL) {
        pool->item_free(item);
        return;
    }
    node->item = item;
    node->next = load_relaxed(&pool->dropped);
    // Release: dispose() reads the nodes. Nobody takes single nodes off, so there is no ABA.
    while (!cas_weak_release(&pool->dropped, &node->next, node))
        ;
}

// The queue's run function. `func` and `user_data` are read at each call, because GLib does so and
// programs change them.
static void run_item(void *item, void *pool_pointer)
{
    struct pool *pool = pool_pointer;
    // Relaxed: an item pushed after free(immediate) had emptied the queue comes here through the
    // queue's own synchronisation, and so after the state was written.
    if (!LIKELY(pool_state(pool) != POOL_DROPPING)) {
        keep_dropped(item, pool);
        return;
    }
    pool->public.func(item, pool->public.user_data);
}

// ---------------------------------------------------------------------------------------------
// Pushing
// ---------------------------------------------------------------------------------------------

// Gives the queue the limit that was asked for last. Whichever of two concurrent callers finishes
// last has looked at max_threads after the other had written it, so the last word wins without a
// lock.
static int apply_limit(struct pool *pool)
{
    int err;
    gint max_threads = load_seq_cst(&pool->max_threads);
    gint applied;
    do {
        applied = max_threads;
        err = smolscale_queue_set_max_active(pool->queue, to_limit(applied));
        max_threads = load_seq_cst(&pool->max_threads);
    } while (max_threads != applied);
    return err;
}

// For an exclusive pool: creates the threads that are missing, and remembers whether some still
// are, so that each push tries again, as GLib's does.
static bool populate(struct pool *pool)
{
    bool complete = apply_limit(pool) == 0;
    uint64_t from = complete ? POOL_STARVED : POOL_OPEN;
    uint64_t to = complete ? POOL_OPEN : POOL_STARVED;
    // Only from the opposite stage: a pool that is being freed must not be opened again.
    cas_strong_relaxed(&pool->state, &from, to);
    return complete;
}

static int push_item(struct pool *pool, gpointer data)
{
    int err;
    while ((err = smolscale_queue_push(pool->queue, data, NULL)) == -ENOMEM)
        native_out_of_memory();
    return err;
}

// Everything about a push but its common case, for which see g_thread_pool_push().
static COLD gboolean push_uncommon(GThreadPool *public, gpointer data, GError **error)
{
    static const char function[] = "g_thread_pool_push";
    struct pool *pool = to_pool(public);
    if (is_foreign(public))
        return NATIVE(g_thread_pool_push)(public, data, error);
    if (pool == NULL) {
        native_critical(function, "real");
        return FALSE;
    }
    if (!is_running(pool)) {
        native_critical(function, "real->running");
        return FALSE;
    }
    if (data == NULL) {
        // GLib's pool does not look at the item, its queue does: the push counts as done.
        native_critical("g_async_queue_push_unlocked", "data");
        return TRUE;
    }
    bool has_threads = pool_state(pool) != POOL_STARVED || populate(pool);
    int err = push_item(pool, data);
    if (err == -ESHUTDOWN) {
        native_critical(function, "real->running");
        return FALSE;
    }
    if (err == 0 && has_threads)
        return TRUE;
    native_set_thread_error(error);
    return FALSE;
}

EXPORT gboolean g_thread_pool_push(GThreadPool *pool, gpointer data, GError **error)
{
    struct pool *real = to_pool(pool);
    if (LIKELY(real != NULL && data != NULL && pool_state(real) == POOL_OPEN)) {
        int err = smolscale_queue_push(real->queue, data, NULL);
        if (LIKELY(err == 0))
            return TRUE;
        if (err == -EAGAIN) { // the item is queued
            native_set_thread_error(error);
            return FALSE;
        }
    }
    return push_uncommon(pool, data, error);
}

// ---------------------------------------------------------------------------------------------
// The threads of shared pools
// ---------------------------------------------------------------------------------------------

// GLib's defaults differ from version to version: GLib is asked, once. Values below are what was
// set here, or NOT_SET.
#define NOT_SET INT64_C(-2)
static _Atomic int64_t max_unused_threads = NOT_SET;
static _Atomic int64_t max_idle_time = NOT_SET;

// 0 means "for ever".
static uint64_t idle_timeout_ns(guint interval)
{
    return interval == 0 ? SMOLSCALE_FOREVER : interval * UINT64_C(1000000);
}

// Workers of shared pools, by their settings; normally there is one kind. And the unused threads of
// exclusive pools, of one kind: those that have other settings end with their pool. Never freed, as
// GLib never forgets its unused threads. The last to come is the first in the list.
struct workers {
    struct workers *next;
    smolscale_group *group;
    bool exclusive;
};
static _Atomic(struct workers *) all_workers;

static struct workers *newest_workers(void)
{
    // Acquire: pairs with the release in add_workers().
    return load_acquire(&all_workers);
}

static const smolscale_group *oldest_shared_group(void)
{
    const smolscale_group *oldest = NULL;
    for (struct workers *w = newest_workers(); w != NULL; w = w->next)
        if (!w->exclusive)
            oldest = w->group;
    return oldest;
}

static smolscale_group *add_workers(bool exclusive)
{
    struct smolscale_group_attr attr = SMOLSCALE_GROUP_ATTR_INIT;
    attr.max_idle = to_limit(g_thread_pool_get_max_unused_threads());
    attr.idle_timeout = idle_timeout_ns(g_thread_pool_get_max_idle_time());
    if (!exclusive && native_version_at_least(2, 75, 3))
        attr.flags = SMOLSCALE_GROUP_EAGER;
    else if (!exclusive)
        attr.scheduled_as = oldest_shared_group();

    struct workers *mine;
    while ((mine = malloc(sizeof *mine)) == NULL)
        native_out_of_memory();
    mine->exclusive = exclusive;
    while (smolscale_group_new(&mine->group, &attr) == -ENOMEM)
        native_out_of_memory();
    // Where two threads add workers of one kind at the same time there are two groups of it, which
    // does no harm.
    mine->next = newest_workers();
    while (!cas_weak_acq_rel(&all_workers, &mine->next, mine))
        ;
    return mine->group;
}

// Whose settings the threads of shared pools have. Since 2.75.3 GLib has one thread create them
// all, which the first shared pool starts. Before that each is created by the thread whose push
// needs it, which is taken to be the pool's creator; scheduling is that of the creator of the first
// shared pool. The threads of an exclusive pool are created by the thread that creates the pool, or
// are unused ones of another, which has what its creator had: the core takes those with the same
// settings only.
static smolscale_group *workers_for_caller(bool exclusive)
{
    bool one_kind = exclusive || native_version_at_least(2, 75, 3);
    for (struct workers *w = newest_workers(); w != NULL; w = w->next)
        if (w->exclusive == exclusive && (one_kind || smolscale_group_suits(w->group)))
            return w->group;
    return add_workers(exclusive);
}

// ---------------------------------------------------------------------------------------------
// Creating
// ---------------------------------------------------------------------------------------------

// The name GLib's threads have: from 2.83.1 on they are numbered, before that they carry the
// program's name, if it was set. A worker changes its name when it changes to a queue with another
// one, which is a system call: hence one number for all shared pools.
static void format_thread_name(char *name, size_t size, bool exclusive)
{
    static _Atomic int exclusive_pools = 1;
    if (native_version_at_least(2, 83, 1)) {
        int number = exclusive ? fetch_add_seq_cst(&exclusive_pools, 1) : 0;
        snprintf(name, size, "pool-%d", number);
        return;
    }
    __typeof__(&g_get_prgname) get_program_name = NATIVE(g_get_prgname);
    const char *program = get_program_name != NULL ? get_program_name() : NULL;
    if (program != NULL)
        snprintf(name, size, "pool-%s", program);
    else
        snprintf(name, size, "pool");
}

static int new_queue(struct pool *pool, unsigned max_active, unsigned flags)
{
    char name[16];
    format_thread_name(name, sizeof name, pool->public.exclusive);

    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run_item;
    attr.user_data = pool;
    attr.max_active = max_active;
    attr.flags = flags;
    attr.thread_name = name;
    attr.group = workers_for_caller(pool->public.exclusive);

    int err;
    while ((err = smolscale_queue_new(&pool->queue, &attr)) == -ENOMEM)
        native_out_of_memory();
    if (pool->queue != NULL)
        smolscale_queue_set_label(pool->queue, pool->public.exclusive ? "glib-exclusive" : "glib",
                                  (const void *)pool->public.func);
    return err;
}

static struct pool *allocate_pool(void)
{
    // On a cache line of its own: workers read it for each item.
    struct pool *pool;
    while ((pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64)) == NULL)
        native_out_of_memory();
    memset(pool, 0, sizeof *pool);
    return pool;
}

static COLD GThreadPool *forward_new(GFunc func, gpointer user_data, GDestroyNotify item_free_func,
                                     gint max_threads, gboolean exclusive, GError **error)
{
    __typeof__(&g_thread_pool_new_full) new_full = NATIVE(g_thread_pool_new_full);
    if (new_full != NULL)
        return new_full(func, user_data, item_free_func, max_threads, exclusive, error);
    // GLib before 2.70
    return NATIVE(g_thread_pool_new)(func, user_data, max_threads, exclusive, error);
}

// An exclusive pool whose threads could not all be created: before GLib 2.85.3 a valid pool with
// the threads there are, and an error; since then an error alone.
static COLD GThreadPool *new_starved(struct pool *pool, GError **error)
{
    if (native_version_at_least(2, 85, 3)) {
        native_set_thread_error(error);
        free(pool);
        return NULL;
    }
    new_queue(pool, 0, SMOLSCALE_QUEUE_DEDICATED);
    if (!populate(pool))
        native_set_thread_error(error);
    return &pool->public;
}

static void *return_at_once(void *arg)
{
    return arg;
}

// Since 2.85.2 GLib refuses the first shared pool when it cannot create the helper thread that is
// to make all others. The layer needs no such thread, but programs that handle this failure expect
// to see it.
static COLD bool can_create_threads(void)
{
    static _Atomic bool seen;
    if (load_relaxed(&seen) || !native_version_at_least(2, 85, 2))
        return true;
    pthread_t thread;
    if (pthread_create(&thread, NULL, return_at_once, NULL) != 0)
        return false;
    pthread_join(thread, NULL);
    store_relaxed(&seen, true);
    return true;
}

EXPORT GThreadPool *g_thread_pool_new_full(GFunc func, gpointer user_data,
                                           GDestroyNotify item_free_func, gint max_threads,
                                           gboolean exclusive, GError **error)
{
    if (smolscale_disabled())
        return forward_new(func, user_data, item_free_func, max_threads, exclusive, error);

    RETURN_VALUE_IF_FAIL(func != NULL, "func", NULL);
    RETURN_VALUE_IF_FAIL(!exclusive || max_threads != -1, "!exclusive || max_threads != -1", NULL);
    RETURN_VALUE_IF_FAIL(max_threads >= -1, "max_threads >= -1", NULL);
    if (!exclusive && !can_create_threads()) {
        native_set_thread_error(error);
        return NULL;
    }

    struct pool *pool = allocate_pool();
    pool->public.func = func;
    pool->public.user_data = user_data;
    pool->public.exclusive = exclusive;
    pool->item_free = item_free_func;
    store_relaxed(&pool->max_threads, max_threads);
    store_relaxed(&pool->state, POOL_OPEN);

    unsigned flags = exclusive ? SMOLSCALE_QUEUE_DEDICATED : 0;
    if (new_queue(pool, to_limit(max_threads), flags) == -EAGAIN)
        return new_starved(pool, error);
    return &pool->public;
}

EXPORT GThreadPool *g_thread_pool_new(GFunc func, gpointer user_data, gint max_threads,
                                      gboolean exclusive, GError **error)
{
    // GLib does it this way too, so a complaint names new_full in both cases.
    return g_thread_pool_new_full(func, user_data, NULL, max_threads, exclusive, error);
}

// ---------------------------------------------------------------------------------------------
// Freeing
// ---------------------------------------------------------------------------------------------

// The end of a pool: no job of it runs any more, and its queue is gone or about to go. The state is
// left as it is, so a push to the freed pool is likely to be complained about instead of crashing.
static void dispose(void *pool_pointer)
{
    struct pool *pool = pool_pointer;
    // Newest first, as GLib does it. Acquire: pairs with the release in keep_dropped().
    struct dropped *node = load_acquire(&pool->dropped);
    while (node != NULL) {
        struct dropped *next = node->next;
        pool->item_free(node->item);
        free(node);
        node = next;
    }
    free(pool);
}

EXPORT void g_thread_pool_free(GThreadPool *pool, gboolean immediate, gboolean wait_)
{
    struct pool *real = to_pool(pool);
    if (is_foreign(pool)) {
        NATIVE(g_thread_pool_free)(pool, immediate, wait_);
        return;
    }
    RETURN_IF_FAIL(real != NULL, "real");
    RETURN_IF_FAIL(is_running(real), "real->running");
    RETURN_IF_FAIL(immediate || get_limit(real) != 0 || smolscale_queue_pending(real->queue) == 0,
                   "immediate || real->max_threads != 0 || "
                   "g_async_queue_length (real->queue) == 0");

    store_seq_cst(&real->state, immediate ? POOL_DROPPING : POOL_DRAINING);

    // Items that never run are kept until the last job has ended: only then GLib calls
    // item_free_func.
    if (immediate)
        smolscale_queue_clear(real->queue, keep_dropped, real);

    // A job of this pool that runs now may be just past the look at `state` in push: what it queues
    // behind our back must not wait for ever in a pool without threads.
    if (get_limit(real) == 0 && !real->public.exclusive)
        smolscale_queue_set_max_active(real->queue, 1);

    if (wait_) {
        smolscale_queue_free(real->queue);
        dispose(real);
    } else {
        smolscale_queue_close(real->queue, dispose, real);
    }
}

// ---------------------------------------------------------------------------------------------
// Order
// ---------------------------------------------------------------------------------------------

static bool lies_in_gio(const void *address)
{
    Dl_info info;
    if (dladdr(address, &info) == 0 || info.dli_fname == NULL)
        return false;
    const char *slash = strrchr(info.dli_fname, '/');
    const char *file = slash != NULL ? slash + 1 : info.dli_fname;
    return strncmp(file, "libgio-2.0", strlen("libgio-2.0")) == 0;
}

// SMOLSCALE_POLICY=elastic lets GTask's pool run more than ten tasks while some are blocked.
// GTask's is the one pool of libgio that is sorted, and it is sorted before the first push, so its
// queue can still be replaced by an elastic one.
static COLD void make_gtask_pool_elastic(struct pool *pool, GCompareDataFunc func)
{
    if (pool->public.exclusive || !lies_in_gio((void *)pool->public.func) ||
        !lies_in_gio((void *)func))
        return;
    smolscale_queue *strict = pool->queue;
    if (new_queue(pool, to_limit(get_limit(pool)), SMOLSCALE_QUEUE_ELASTIC) == 0)
        smolscale_queue_free(strict);
    else
        pool->queue = strict;
}

EXPORT void g_thread_pool_set_sort_function(GThreadPool *pool, GCompareDataFunc func,
                                            gpointer user_data)
{
    struct pool *real = to_pool(pool);
    if (is_foreign(pool)) {
        NATIVE(g_thread_pool_set_sort_function)(pool, func, user_data);
        return;
    }
    RETURN_IF_FAIL(real != NULL, "real");
    RETURN_IF_FAIL(is_running(real), "real->running");
    if (func != NULL && smolscale_elastic())
        make_gtask_pool_elastic(real, func);
    while (smolscale_queue_set_compare(real->queue, func, user_data) == -ENOMEM)
        native_out_of_memory();
}

EXPORT gboolean g_thread_pool_move_to_front(GThreadPool *pool, gpointer data)
{
    if (is_foreign(pool))
        return NATIVE(g_thread_pool_move_to_front)(pool, data);
    if (data == NULL) { // the queue below GLib's pool complains
        native_critical("g_async_queue_remove_unlocked", "item != NULL");
        return FALSE;
    }
    // GLib does not check the pool here and crashes at NULL; so do we.
    return smolscale_queue_move_to_front(to_pool(pool)->queue, data);
}

EXPORT guint g_thread_pool_unprocessed(GThreadPool *pool)
{
    struct pool *real = to_pool(pool);
    if (is_foreign(pool))
        return NATIVE(g_thread_pool_unprocessed)(pool);
    RETURN_VALUE_IF_FAIL(real != NULL, "real", 0);
    RETURN_VALUE_IF_FAIL(is_running(real), "real->running", 0);
    return (guint)smolscale_queue_pending(real->queue);
}

// ---------------------------------------------------------------------------------------------
// Threads of a pool
// ---------------------------------------------------------------------------------------------

EXPORT gboolean g_thread_pool_set_max_threads(GThreadPool *pool, gint max_threads, GError **error)
{
    struct pool *real = to_pool(pool);
    if (is_foreign(pool))
        return NATIVE(g_thread_pool_set_max_threads)(pool, max_threads, error);
    RETURN_VALUE_IF_FAIL(real != NULL, "real", FALSE);
    RETURN_VALUE_IF_FAIL(is_running(real), "real->running", FALSE);
    RETURN_VALUE_IF_FAIL(!real->public.exclusive || max_threads != -1,
                         "!real->pool.exclusive || max_threads != -1", FALSE);
    RETURN_VALUE_IF_FAIL(max_threads >= -1, "max_threads >= -1", FALSE);

    store_seq_cst(&real->max_threads, max_threads);
    bool done = real->public.exclusive ? populate(real) : apply_limit(real) == 0;
    if (!done)
        native_set_thread_error(error);
    return done;
}

EXPORT gint g_thread_pool_get_max_threads(GThreadPool *pool)
{
    struct pool *real = to_pool(pool);
    if (is_foreign(pool))
        return NATIVE(g_thread_pool_get_max_threads)(pool);
    RETURN_VALUE_IF_FAIL(real != NULL, "real", 0);
    RETURN_VALUE_IF_FAIL(is_running(real), "real->running", 0);
    return get_limit(real);
}

// The threads GLib would have for the pool: one for each running job, and one for each waiting item
// as far as the limit allows, because GLib starts it within push. So "0" means what programs take
// it for: everything pushed has run (unless the pool is frozen).
EXPORT guint g_thread_pool_get_num_threads(GThreadPool *pool)
{
    struct pool *real = to_pool(pool);
    if (is_foreign(pool))
        return NATIVE(g_thread_pool_get_num_threads)(pool);
    RETURN_VALUE_IF_FAIL(real != NULL, "real", 0);
    RETURN_VALUE_IF_FAIL(is_running(real), "real->running", 0);

    // In this order: an item leaves "pending" after it has become "active".
    size_t pending = smolscale_queue_pending(real->queue);
    unsigned active = smolscale_queue_active(real->queue);
    unsigned limit = to_limit(get_limit(real));
    if (active >= limit || pool_state(real) == POOL_STARVED)
        return active;
    if (real->public.exclusive || pending >= limit - active)
        return limit;
    return active + (guint)pending;
}

// ---------------------------------------------------------------------------------------------
// Unused threads
// ---------------------------------------------------------------------------------------------

EXPORT gint g_thread_pool_get_max_unused_threads(void)
{
    int64_t set = load_seq_cst(&max_unused_threads);
    if (set != NOT_SET)
        return (gint)set;
    __typeof__(&g_thread_pool_get_max_unused_threads) get =
        NATIVE(g_thread_pool_get_max_unused_threads);
    return get != NULL ? get() : 2;
}

EXPORT void g_thread_pool_set_max_unused_threads(gint max_threads)
{
    if (smolscale_disabled()) {
        NATIVE(g_thread_pool_set_max_unused_threads)(max_threads);
        return;
    }
    RETURN_IF_FAIL(max_threads >= -1, "max_threads >= -1");
    store_seq_cst(&max_unused_threads, max_threads);
    for (struct workers *w = newest_workers(); w != NULL; w = w->next)
        smolscale_group_set_max_idle(w->group, to_limit(max_threads));
}

EXPORT guint g_thread_pool_get_num_unused_threads(void)
{
    if (smolscale_disabled())
        return NATIVE(g_thread_pool_get_num_unused_threads)();
    // Idle workers above the limit are on their way out, or are what GLib counts to a pool for
    // another half a second.
    unsigned idle = 0;
    for (struct workers *w = newest_workers(); w != NULL; w = w->next)
        idle += smolscale_group_idle_workers(w->group);
    unsigned limit = to_limit(g_thread_pool_get_max_unused_threads());
    return idle < limit ? idle : limit;
}

EXPORT void g_thread_pool_stop_unused_threads(void)
{
    if (smolscale_disabled()) {
        NATIVE(g_thread_pool_stop_unused_threads)();
        return;
    }
    for (struct workers *w = newest_workers(); w != NULL; w = w->next)
        smolscale_group_retire_idle(w->group);
}

EXPORT void g_thread_pool_set_max_idle_time(guint interval)
{
    if (smolscale_disabled()) {
        NATIVE(g_thread_pool_set_max_idle_time)(interval);
        return;
    }
    store_seq_cst(&max_idle_time, interval);
    for (struct workers *w = newest_workers(); w != NULL; w = w->next)
        smolscale_group_set_idle_timeout(w->group, idle_timeout_ns(interval));
}

EXPORT guint g_thread_pool_get_max_idle_time(void)
{
    int64_t set = load_seq_cst(&max_idle_time);
    if (set != NOT_SET)
        return (guint)set;
    __typeof__(&g_thread_pool_get_max_idle_time) get = NATIVE(g_thread_pool_get_max_idle_time);
    return get != NULL ? get() : 15 * 1000;
}
