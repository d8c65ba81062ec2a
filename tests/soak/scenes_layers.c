// SPDX-License-Identifier: ISC
//
// Scenes of the replaced APIs, called as any program calls them: GLib's pools, libuv's loops,
// parallel calls of pthreadpool. Run with the layers preloaded; natively it is a test of itself.

#include "soak.h"

#include <glib.h>
#include <pthread.h>
#include <pthreadpool.h>
#include <sched.h>
#include <uv.h>

// ---- GLib

enum { ITEMS_MAX = 1000 };

struct pool_play {
    struct actor *actor;
    atomic_ulong run, freed;
    pthreadpool_t helpers; // NULL: items compute alone
    GThreadPool *second;   // where some items push another one
    atomic_ulong second_given, second_run;
    struct pool_item {
        struct pool_play *play;
        atomic_uint ends;
        unsigned kind;
    } item[ITEMS_MAX];
};

static void add_one(void *context, size_t i)
{
    (void)i;
    atomic_fetch_add((atomic_ulong *)context, 1);
}

static void run_second(gpointer data, gpointer user_data)
{
    struct pool_play *play = data;
    (void)user_data;
    atomic_fetch_add(&play->second_run, 1);
}

static void run_pool_item(gpointer data, gpointer user_data)
{
    struct pool_item *item = data;
    struct pool_play *play = item->play;
    (void)user_data;
    EXPECT_EQUAL(play->actor, atomic_fetch_add(&item->ends, 1), 0);
    if (item->kind % 64 == 0)
        g_usleep(item->kind % 600);
    else if (item->kind % 64 == 1)
        soak_compute(item->kind % 2000);
    else if (item->kind % 64 == 2) {
        atomic_ulong done = 0;
        pthreadpool_parallelize_1d(play->helpers, add_one, &done, 1 + item->kind % 50, 0);
        EXPECT_EQUAL(play->actor, done, 1 + item->kind % 50);
        book(ITEMS_GIVEN, 1 + item->kind % 50);
        book(ITEMS_RUN, done);
    } else if (item->kind % 64 == 3) {
        atomic_fetch_add(&play->second_given, 1);
        EXPECT(play->actor, g_thread_pool_push(play->second, play, NULL), "no push from a job");
    }
    atomic_fetch_add(&play->run, 1);
}

static void free_pool_item(gpointer data)
{
    struct pool_item *item = data;
    EXPECT_EQUAL(item->play->actor, atomic_fetch_add(&item->ends, 1), 0);
    atomic_fetch_add(&item->play->freed, 1);
}

static gint compare_items(gconstpointer a, gconstpointer b, gpointer user_data)
{
    const struct pool_item *of_a = a, *of_b = b;
    (void)user_data;
    return (gint)(of_a->kind % 13) - (gint)(of_b->kind % 13);
}

static void glib_pools(struct actor *actor)
{
    struct pool_play *play = calloc(1, sizeof *play);
    unsigned count = 1 + roll(actor, roll(actor, 4) ? 100 : ITEMS_MAX);
    bool exclusive = roll(actor, 3) == 0;
    int limit = !exclusive && roll(actor, 4) == 0 ? -1 : 1 + (int)roll(actor, 4);
    play->actor = actor;
    play->helpers = roll(actor, 2) ? pthreadpool_create(1 + roll(actor, 3)) : NULL;
    play->second = g_thread_pool_new(run_second, NULL, 2, FALSE, NULL);
    GThreadPool *pool =
        g_thread_pool_new_full(run_pool_item, NULL, free_pool_item, limit, exclusive, NULL);
    EXPECT(actor, pool && play->second, "no pool");
    for (unsigned i = 0; i < count; i++) {
        struct pool_item *item = &play->item[i];
        item->play = play;
        item->kind = roll(actor, 1 << 20);
        EXPECT(actor, g_thread_pool_push(pool, item, NULL), "no push");
        switch (roll(actor, 24)) {
        case 0:
            g_thread_pool_set_max_threads(pool, 1 + (gint)roll(actor, 4), NULL);
            break;
        case 1:
            g_thread_pool_set_sort_function(pool, roll(actor, 2) ? compare_items : NULL, NULL);
            break;
        case 2:
            if (g_thread_pool_unprocessed(pool) < 200)
                g_thread_pool_move_to_front(pool, &play->item[roll(actor, i + 1)]);
            break;
        case 3:
            g_thread_pool_get_num_threads(pool);
            g_thread_pool_get_num_unused_threads();
            break;
        case 4:
            if (!exclusive && roll(actor, 4) == 0) { // frozen and thawed
                g_thread_pool_set_max_threads(pool, 0, NULL);
                sched_yield();
                g_thread_pool_set_max_threads(pool, 2, NULL);
            }
            break;
        case 5:
            if (roll(actor, 8) == 0)
                g_thread_pool_stop_unused_threads();
            break;
        case 6:
            g_thread_pool_set_max_unused_threads((gint)roll(actor, 4) - 1);
            break;
        default:
            break;
        }
    }
    bool immediate = roll(actor, 2), wait = roll(actor, 2);
    g_thread_pool_free(pool, immediate, wait);
    if (!wait)
        AWAIT_THAT(play->run + play->freed >= count);
    EXPECT_EQUAL(actor, play->run + play->freed, count);
    for (unsigned i = 0; i < count; i++)
        EXPECT_EQUAL(actor, play->item[i].ends, 1);
    g_thread_pool_free(play->second, FALSE, TRUE);
    EXPECT_EQUAL(actor, play->second_given, play->second_run);
    book(GLIB_PUSHED, count + play->second_given);
    book(GLIB_RUN, play->run + play->second_run);
    book(GLIB_FREED, play->freed);
    pthreadpool_destroy(play->helpers);
    free(play);
}

// ---- libuv

enum { REQUESTS_MAX = 400 };

struct loop_play {
    struct actor *actor;
    atomic_ulong run;
    unsigned long back, cancelled, other_back, again;
    struct {
        uv_work_t req;
        unsigned kind;
    } work[REQUESTS_MAX];
    uv_fs_t fs[20];
    uv_random_t random;
    unsigned char bytes[16];
    uv_timer_t timer;
};

static void run_work(uv_work_t *req)
{
    struct loop_play *play = req->loop->data;
    unsigned kind = (unsigned)((uintptr_t)req->data);
    if (kind % 64 == 0)
        usleep(kind % 500);
    else if (kind % 64 == 1)
        soak_compute(kind % 1000);
    atomic_fetch_add(&play->run, 1);
}

static void after_work(uv_work_t *req, int status)
{
    struct loop_play *play = req->loop->data;
    play->back++;
    play->cancelled += status == UV_ECANCELED;
    EXPECT(play->actor, status == 0 || status == UV_ECANCELED, "status %d", status);
    if (play->again > 0) { // from the callback
        play->again--;
        EXPECT_EQUAL(play->actor, uv_queue_work(req->loop, req, run_work, after_work), 0);
    }
}

static void after_fs(uv_fs_t *req)
{
    struct loop_play *play = req->loop->data;
    play->other_back++;
    EXPECT(play->actor, req->result >= 0 || req->result == UV_ECANCELED, "a stat gives %ld",
           (long)req->result);
    uv_fs_req_cleanup(req);
}

static void after_random(uv_random_t *req, int status, void *buffer, size_t size)
{
    struct loop_play *play = req->loop->data;
    (void)status, (void)buffer, (void)size;
    play->other_back++;
}

static void on_timer(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, NULL);
}

static void uv_loops(struct actor *actor)
{
    struct loop_play *play = calloc(1, sizeof *play);
    uv_loop_t *loop = malloc(sizeof *loop);
    unsigned count = 1 + roll(actor, REQUESTS_MAX), others = roll(actor, 20);
    EXPECT_EQUAL(actor, uv_loop_init(loop), 0);
    play->actor = actor;
    loop->data = play;
    play->again = roll(actor, 50);
    unsigned long given = count + play->again;
    for (unsigned i = 0; i < count; i++) {
        play->work[i].req.data = (void *)(uintptr_t)roll(actor, 1 << 20);
        EXPECT_EQUAL(actor, uv_queue_work(loop, &play->work[i].req, run_work, after_work), 0);
        if (roll(actor, 8) == 0)
            uv_cancel((uv_req_t *)&play->work[roll(actor, i + 1)].req);
        if (roll(actor, 32) == 0 && play->back == 0)
            sched_yield();
    }
    for (unsigned i = 0; i < others; i++) {
        EXPECT_EQUAL(actor, uv_fs_stat(loop, &play->fs[i], "/", after_fs), 0);
        if (roll(actor, 8) == 0)
            uv_cancel((uv_req_t *)&play->fs[i]);
    }
    bool random = roll(actor, 4) == 0;
    if (random)
        EXPECT_EQUAL(
            actor, uv_random(loop, &play->random, play->bytes, sizeof play->bytes, 0, after_random),
            0);
    if (roll(actor, 4) == 0) {
        uv_timer_init(loop, &play->timer);
        uv_timer_start(&play->timer, on_timer, roll(actor, 5), 0);
    }
    EXPECT_EQUAL(actor, uv_run(loop, UV_RUN_DEFAULT), 0);
    EXPECT_EQUAL(actor, uv_loop_close(loop), 0);
    free(loop);
    EXPECT_EQUAL(actor, play->back, given);
    EXPECT_EQUAL(actor, play->run + play->cancelled, given);
    EXPECT_EQUAL(actor, play->other_back, others + random);
    book(UV_SUBMITTED, given);
    book(UV_RUN, play->run);
    book(UV_CANCELLED, play->cancelled);
    free(play);
}

// ---- pthreadpool

static void add_tile(void *context, size_t i, size_t j, size_t tile_i, size_t tile_j)
{
    (void)i, (void)j;
    atomic_fetch_add((atomic_ulong *)context, tile_i * tile_j);
}

static void compute_one(void *context, size_t i)
{
    soak_compute((unsigned)i % 7);
    atomic_fetch_add((atomic_ulong *)context, 1);
}

static void parallel_calls(struct actor *actor)
{
    pthreadpool_t pool = pthreadpool_create(1 + roll(actor, 4));
    EXPECT(actor, pool != NULL, "no pool");
    for (unsigned call = roll(actor, 20); call > 0; call--) {
        atomic_ulong done = 0;
        size_t x = roll(actor, 60), y = roll(actor, 60);
        uint32_t flags = roll(actor, 2) ? PTHREADPOOL_FLAG_YIELD_WORKERS : 0;
        switch (roll(actor, 3)) {
        case 0:
            pthreadpool_parallelize_1d(pool, add_one, &done, x * y, flags);
            break;
        case 1:
            pthreadpool_parallelize_1d(pool, compute_one, &done, x * y, flags);
            break;
        default:
            pthreadpool_parallelize_2d_tile_2d(pool, add_tile, &done, x, y, 1 + roll(actor, 9),
                                               1 + roll(actor, 9), flags);
            break;
        }
        EXPECT_EQUAL(actor, done, x * y);
        book(ITEMS_GIVEN, x * y);
        book(ITEMS_RUN, done);
    }
    pthreadpool_destroy(pool);
}

const struct scene layer_scenes[] = {
    {"glib_pools", 15, glib_pools},
    {"uv_loops", 10, uv_loops},
    {"parallel_calls", 10, parallel_calls},
    {NULL, 0, NULL},
};
