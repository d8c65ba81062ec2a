// SPDX-License-Identifier: ISC
//
// Work queues whose fronts are open (queue/fronts.h). They open by themselves where threads find
// the queue's lock taken often; here the tests open them, so that it depends on nothing.

#include "queue/fronts.h"
#include "support.h"

#define PUSHERS 8
#define EACH    SCALED(20000) // more than a front has room for

static smolscale_queue *queue;
static _Atomic unsigned runs[PUSHERS * EACH];
static atomic_uint done;

static void *numbered(unsigned pusher, unsigned i)
{
    return (void *)(uintptr_t)(pusher * EACH + i + 1);
}

static unsigned number_in(void *item)
{
    return (unsigned)(uintptr_t)item - 1;
}

static void run(void *item, void *user_data)
{
    (void)user_data;
    atomic_fetch_add(&runs[number_in(item)], 1);
    atomic_fetch_add(&done, 1);
}

static void open_fronts(void)
{
    ss_lock(queue->runnable.lock);
    ss_fronts_open(queue);
    ss_unlock(queue->runnable.lock);
}

static void make_queue(smolscale_run_fn *fn, unsigned max_active)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = fn;
    attr.max_active = max_active;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    open_fronts();
    ck_assert_ptr_nonnull(load_relaxed(&queue->fronts));
}

static void *push_each(void *arg)
{
    unsigned pusher = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; i < EACH; i++) {
        if (i % 64 == 0)
            open_fronts(); // they may have been shut
        ck_assert_int_eq(smolscale_queue_push(queue, numbered(pusher, i), NULL), 0);
    }
    return NULL;
}

static void start_pushers(pthread_t *threads)
{
    for (unsigned i = 0; i < PUSHERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, push_each, (void *)(uintptr_t)i), 0);
}

static void join_pushers(const pthread_t *threads)
{
    for (unsigned i = 0; i < PUSHERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

START_TEST(each_item_runs_once)
{
    pthread_t threads[PUSHERS];
    make_queue(run, SMOLSCALE_UNLIMITED);
    start_pushers(threads);
    join_pushers(threads);
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(atomic_load(&done), PUSHERS * EACH);
    for (unsigned i = 0; i < PUSHERS * EACH; i++)
        ck_assert_uint_eq(atomic_load(&runs[i]), 1);
    smolscale_queue_free(queue);
}
END_TEST

// ---- while nothing may start

static atomic_uint blocked, may_go;

static void run_or_block(void *item, void *user_data)
{
    if (item == &blocked || item == &may_go) {
        atomic_fetch_add(&blocked, 1);
        while (!atomic_load(&may_go))
            test_breathe();
        return;
    }
    run(item, user_data);
}

static void block_queue(void)
{
    make_queue(run_or_block, 2);
    ck_assert_int_eq(smolscale_queue_push(queue, &blocked, NULL), 0);
    ck_assert_int_eq(smolscale_queue_push(queue, &may_go, NULL), 0);
    EVENTUALLY(atomic_load(&blocked), ==, 2);
}

static unsigned next_of[PUSHERS];

static void drop(void *item, void *user_data)
{
    (void)user_data;
    unsigned number = number_in(item), pusher = number / EACH;
    ck_assert_uint_eq(number % EACH, next_of[pusher]++);
}

START_TEST(items_lie_in_the_order_of_each_thread)
{
    pthread_t threads[PUSHERS];
    block_queue();
    start_pushers(threads);
    join_pushers(threads);
    ck_assert_uint_eq(smolscale_queue_pending(queue), PUSHERS * EACH);
    ck_assert_uint_eq(smolscale_queue_clear(queue, drop, NULL), PUSHERS * EACH);
    for (unsigned i = 0; i < PUSHERS; i++)
        ck_assert_uint_eq(next_of[i], EACH);
    atomic_store(&may_go, 1);
    smolscale_queue_free(queue);
}
END_TEST

// A thread always finds what it has pushed, wherever it lies.
static void *push_and_take_back(void *arg)
{
    unsigned pusher = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; i < EACH / 10; i++) {
        ck_assert_int_eq(smolscale_queue_push(queue, numbered(pusher, i), NULL), 0);
        if (i % 3 == 0)
            ck_assert(smolscale_queue_move_to_front(queue, numbered(pusher, i)));
        ck_assert(smolscale_queue_cancel(queue, numbered(pusher, i), 0));
        open_fronts();
    }
    return NULL;
}

START_TEST(what_was_pushed_can_be_taken_back)
{
    pthread_t threads[PUSHERS];
    block_queue();
    for (unsigned i = 0; i < PUSHERS; i++)
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, push_and_take_back, (void *)(uintptr_t)i), 0);
    join_pushers(threads);
    ck_assert_uint_eq(smolscale_queue_pending(queue), 0);
    atomic_store(&may_go, 1);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&done), 0);
}
END_TEST

// ---- fronts come and go

static int by_number(const void *a, const void *b, void *user_data)
{
    (void)user_data;
    return (uintptr_t)a < (uintptr_t)b ? -1 : (uintptr_t)a > (uintptr_t)b;
}

START_TEST(settings_change_while_threads_push)
{
    pthread_t threads[PUSHERS];
    make_queue(run, SMOLSCALE_UNLIMITED);
    start_pushers(threads);
    for (unsigned i = 0; i < EACH / 100; i++) {
        ck_assert_int_eq(smolscale_queue_set_max_active(queue, i % 3), 0);
        ck_assert_int_eq(smolscale_queue_set_compare(queue, i % 2 ? by_number : NULL, NULL), 0);
    }
    ck_assert_int_eq(smolscale_queue_set_compare(queue, NULL, NULL), 0);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 2), 0);
    join_pushers(threads);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&done), PUSHERS * EACH);
}
END_TEST

START_TEST(a_queue_that_may_not_have_fronts_has_none)
{
    make_queue(run, SMOLSCALE_UNLIMITED);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 1), 0);
    open_fronts();
    ck_assert_ptr_null(load_relaxed(&queue->fronts));
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 2), 0);
    open_fronts();
    ck_assert_ptr_nonnull(load_relaxed(&queue->fronts));
    ck_assert_int_eq(smolscale_queue_set_compare(queue, by_number, NULL), 0);
    open_fronts();
    ck_assert_ptr_null(load_relaxed(&queue->fronts));
    ck_assert_int_eq(smolscale_queue_set_compare(queue, NULL, NULL), 0);
    open_fronts();
    smolscale_queue *child;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run;
    attr.parent = queue;
    ck_assert_int_eq(smolscale_queue_new(&child, &attr), 0);
    open_fronts();
    ck_assert_ptr_null(load_relaxed(&queue->fronts));
    smolscale_queue_free(child);
    smolscale_queue_free(queue);
}
END_TEST

// One thread alone pays for them with no more than a look, and only for a while. (The balancer may
// have the lock at some of the pushes.)
START_TEST(fronts_that_are_no_use_are_shut)
{
    block_queue();
    unsigned pushed = 0;
    for (; load_relaxed(&queue->fronts) && pushed < EACH; pushed++)
        ck_assert_int_eq(smolscale_queue_push(queue, numbered(0, pushed), NULL), 0);
    ck_assert_ptr_null(load_relaxed(&queue->fronts));
    atomic_store(&may_go, 1);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&done), pushed);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        each_item_runs_once,
        items_lie_in_the_order_of_each_thread,
        what_was_pushed_can_be_taken_back,
        settings_change_while_threads_push,
        a_queue_that_may_not_have_fronts_has_none,
        fronts_that_are_no_use_are_shut,
        NULL,
    };
    return test_suite("fronts", tests);
}
