// SPDX-License-Identifier: ISC
//
// Contract 3, zero idle: without work no thread of the process wakes up by itself; and contract 2,
// no lost wake-up: work that comes while workers go to sleep is never left lying.

#include "support.h"

#include "sched/executor.h"

#include <time.h>

static atomic_uint ran;

static void count(void *item, void *user_data)
{
    (void)item, (void)user_data;
    atomic_fetch_add(&ran, 1);
}

// ---------------------------------------------------------------------------------------------
// Zero idle
// ---------------------------------------------------------------------------------------------

// Round 0 is on the real system, round 1 under a clock of which a year passes.
static void begin(int round, struct tids *others)
{
    if (round == 1)
        fake_clock_run();
    threads_before_first_use(others);
}

START_TEST(after_a_few_jobs_nothing_wakes_up)
{
    struct tids others;
    begin(_i, &others);
    smolscale_queue *queue = queue_new(count, NULL, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < 10; i++) {
        push(queue, item_of(i));
        smolscale_queue_wait(queue);
    }
    ck_nothing_wakes_up(&others);
    smolscale_queue_free(queue);
}
END_TEST

// `smolscale top` may look at the process, and has not yet.
START_TEST(with_a_page_that_nobody_looks_at_nothing_wakes_up)
{
    setenv("SMOLSCALE_TOP", "1", 1);
    struct tids others;
    threads_before_first_use(&others);
    smolscale_queue *queue = queue_new(count, NULL, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < 10; i++) {
        push(queue, item_of(i));
        smolscale_queue_wait(queue);
    }
    EVENTUALLY(threads_named("smolscale-top", &others), ==, 1);
    ck_nothing_wakes_up(&others);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(after_many_tiny_jobs_nothing_wakes_up)
{
    struct tids others;
    begin(_i, &others);
    smolscale_queue *queue = queue_new(count, NULL, 2);
    for (unsigned i = 0; i < SCALED(500000); i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    ck_nothing_wakes_up(&others);
}
END_TEST

static struct counter came = COUNTER_INIT;

static void wait_for_200(void *item, void *user_data)
{
    (void)item, (void)user_data;
    counter_add(&came, 1);
    counter_wait(&came, 200);
}

START_TEST(after_a_burst_of_200_blocked_workers_nothing_wakes_up)
{
    struct tids others;
    begin(_i, &others);
    smolscale_queue *queue = queue_new(wait_for_200, NULL, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < 200; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    EVENTUALLY(stats_now().workers, <=, workers_kept());
    ck_nothing_wakes_up(&others);
}
END_TEST

static struct counter never = COUNTER_INIT;

static void wait_for_the_end(void *item, void *user_data)
{
    (void)item;
    counter_add(user_data, 1);
    counter_wait(&never, 1);
}

START_TEST(while_jobs_sleep_and_nothing_else_waits_nothing_wakes_up)
{
    struct tids others;
    begin(_i, &others);
    struct counter asleep = COUNTER_INIT;
    smolscale_queue *queue = queue_new(wait_for_the_end, &asleep, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < 12; i++)
        push(queue, item_of(i));
    counter_wait(&asleep, 12);
    ck_nothing_wakes_up(&others);
    counter_add(&never, 1);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(while_items_wait_behind_a_limit_that_sleeping_jobs_hold_nothing_wakes_up)
{
    struct tids others;
    begin(_i, &others);
    struct counter asleep = COUNTER_INIT;
    smolscale_queue *queue = queue_new(wait_for_the_end, &asleep, 2);
    smolscale_queue *paused = queue_new(count, NULL, 0);
    for (unsigned i = 0; i < 12; i++) {
        push(queue, item_of(i));
        push(paused, item_of(i));
    }
    counter_wait(&asleep, 2);
    ck_nothing_wakes_up(&others);
    counter_add(&never, 1);
    smolscale_queue_free(queue);
    smolscale_queue_clear(paused, NULL, NULL);
    smolscale_queue_free(paused);
}
END_TEST

START_TEST(idle_dedicated_threads_do_not_wake_up)
{
    struct tids others;
    begin(_i, &others);
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = count;
    attr.max_active = 4;
    attr.flags = SMOLSCALE_QUEUE_DEDICATED;
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    for (unsigned i = 0; i < 1000; i++)
        push(queue, item_of(i));
    smolscale_queue_wait(queue);
    ck_nothing_wakes_up(&others);
    smolscale_queue_free(queue);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// No lost wake-up
// ---------------------------------------------------------------------------------------------

struct player {
    struct counter done;
    smolscale_queue *queue;
    unsigned rounds;
    uint64_t state;
};

static void answer(void *item, void *user_data)
{
    (void)user_data;
    counter_add(item, 1);
}

// Pushes one and waits for it, again and again, with pauses of every length between: workers are
// met awake, napping, on their way to sleep and asleep.
static void *push_and_wait(void *arg)
{
    struct player *player = arg;
    for (unsigned i = 1; i <= player->rounds; i++) {
        push(player->queue, &player->done);
        counter_wait(&player->done, i);
        unsigned dice = test_random(&player->state) % 64;
        volatile unsigned spin = 0;
        for (unsigned n = 0; dice < 32 && n < 1u << (dice / 2); n++)
            spin = spin + 1;
        if (dice == 63)
            nanosleep(&(struct timespec){0, 100000}, NULL);
    }
    return NULL;
}

static void play(unsigned players, unsigned queues, unsigned max_active, unsigned rounds)
{
    smolscale_queue *queue[8];
    for (unsigned q = 0; q < queues; q++)
        queue[q] = queue_new(answer, NULL, max_active);
    struct player player[8];
    pthread_t thread[8];
    for (unsigned p = 0; p < players; p++) {
        player[p] = (struct player){COUNTER_INIT, queue[p % queues], rounds, p};
        thread[p] = thread_start(push_and_wait, &player[p]);
    }
    for (unsigned p = 0; p < players; p++)
        pthread_join(thread[p], NULL);
    for (unsigned q = 0; q < queues; q++)
        smolscale_queue_free(queue[q]);
}

START_TEST(no_push_of_a_single_producer_is_left_lying)
{
    play(1, 1, 1, SCALED(40000));
    play(1, 1, SMOLSCALE_UNLIMITED, SCALED(40000));
}
END_TEST

START_TEST(no_push_of_several_producers_is_left_lying)
{
    play(4, 1, 1, SCALED(15000));
    play(4, 1, 2, SCALED(15000));
    play(4, 4, 1, SCALED(15000));
    play(8, 3, SMOLSCALE_UNLIMITED, SCALED(8000));
}
END_TEST

// Two jobs that push each other: no thread outside ever pushes.
static smolscale_queue *ping_queue, *pong_queue;

static void pong(void *item, void *user_data)
{
    struct counter *done = user_data;
    unsigned n = number_of(item);
    if (n == 0)
        counter_add(done, 1);
    else
        push(smolscale_current_queue() == ping_queue ? pong_queue : ping_queue, item_of(n - 1));
}

START_TEST(jobs_that_push_each_other_never_stop)
{
    struct counter done = COUNTER_INIT;
    ping_queue = queue_new(pong, &done, 1);
    pong_queue = queue_new(pong, &done, 1);
    for (unsigned i = 0; i < 4; i++)
        push(ping_queue, item_of(SCALED(100000)));
    counter_wait(&done, 4);
    smolscale_queue_free(ping_queue);
    smolscale_queue_free(pong_queue);
}
END_TEST

static void *wait_again_and_again(void *arg)
{
    struct player *player = arg;
    for (unsigned i = 1; i <= player->rounds; i++) {
        push(player->queue, &player->done);
        smolscale_queue_wait(player->queue);
    }
    return NULL;
}

START_TEST(no_waiter_of_a_queue_is_forgotten)
{
    for (unsigned max_active = 1; max_active <= 2; max_active++) {
        smolscale_queue *queue = queue_new(answer, NULL, max_active);
        struct player player[4];
        pthread_t thread[4];
        for (unsigned p = 0; p < 4; p++) {
            player[p] = (struct player){COUNTER_INIT, queue, SCALED(10000), p};
            thread[p] = thread_start(wait_again_and_again, &player[p]);
        }
        for (unsigned p = 0; p < 4; p++)
            pthread_join(thread[p], NULL);
        for (unsigned p = 0; p < 4; p++)
            ck_assert_uint_eq(counter_get(&player[p].done), SCALED(10000));
        smolscale_queue_free(queue);
    }
}
END_TEST

// ---- a cascade

static _Thread_local bool is_pusher;
static atomic_uint woken_by_pusher;
static void (*real_futex_wake)(_Atomic uint32_t *word, int count);
static struct ss_worker *allocated; // those that there were when the pusher began

static void count_wakes(_Atomic uint32_t *word, int n)
{
    if (is_pusher)
        for (struct ss_worker *worker = allocated; worker; worker = worker->next_allocated)
            atomic_fetch_add(&woken_by_pusher, word == &worker->park);
    real_futex_wake(word, n);
}

enum { MEETING = 16 };

static void meet(void *item, void *user_data)
{
    (void)item;
    struct counter *met = user_data;
    counter_add(met, 1);
    counter_wait(met, MEETING);
}

START_TEST(the_pusher_of_many_wakes_two_or_three_and_these_wake_the_others)
{
    setenv("SMOLSCALE_WORKERS", "16", 1);
    real_futex_wake = ss_os.futex_wake;
    ss_os.futex_wake = count_wakes;
    struct counter met = COUNTER_INIT;
    smolscale_queue *queue = queue_new(meet, &met, SMOLSCALE_UNLIMITED);
    ck_assert_int_eq(smolscale_queue_push_many(queue, item_of(0), MEETING, NULL), 0);
    smolscale_queue_wait(queue);
    EVENTUALLY(parked_workers(NULL), >=, MEETING);
    met.value = 0;
    ss_lock(&ss.lock);
    allocated = ss.allocated;
    ss_unlock(&ss.lock);
    is_pusher = true;
    ck_assert_int_eq(smolscale_queue_push_many(queue, item_of(0), MEETING, NULL), 0);
    is_pusher = false;
    counter_wait(&met, MEETING);
    unsigned wakes = atomic_load(&woken_by_pusher);
    ck_assert_msg(wakes >= 1 && wakes <= 3, "the pusher woke %u", wakes);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(workers_retiring_while_work_comes_leave_nothing_lying)
{
    struct player player = {COUNTER_INIT, queue_new(answer, NULL, 2), SCALED(5000), 1};
    smolscale_set_max_idle(0);
    push_and_wait(&player);
    smolscale_set_max_idle(1);
    player.done = (struct counter)COUNTER_INIT;
    for (unsigned i = 1; i <= SCALED(5000); i++) {
        push(player.queue, &player.done);
        smolscale_retire_idle();
        counter_wait(&player.done, i);
    }
    smolscale_queue_free(player.queue);
}
END_TEST

START_TEST(an_idle_timeout_that_races_with_pushes_leaves_nothing_lying)
{
    smolscale_set_idle_timeout(30 * SS_NS_PER_US);
    play(2, 2, 1, SCALED(4000));
    smolscale_set_idle_timeout(1);
    play(2, 1, 2, SCALED(4000));
}
END_TEST

int main(void)
{
    const struct test_rounds tests[] = {
        {after_a_few_jobs_nothing_wakes_up, 2},
        {with_a_page_that_nobody_looks_at_nothing_wakes_up, 2},
        {after_many_tiny_jobs_nothing_wakes_up, 2},
        {after_a_burst_of_200_blocked_workers_nothing_wakes_up, 2},
        {while_jobs_sleep_and_nothing_else_waits_nothing_wakes_up, 2},
        {while_items_wait_behind_a_limit_that_sleeping_jobs_hold_nothing_wakes_up, 2},
        {idle_dedicated_threads_do_not_wake_up, 2},
        {no_push_of_a_single_producer_is_left_lying, 1},
        {no_push_of_several_producers_is_left_lying, 1},
        {jobs_that_push_each_other_never_stop, 1},
        {no_waiter_of_a_queue_is_forgotten, 1},
        {the_pusher_of_many_wakes_two_or_three_and_these_wake_the_others, 1},
        {workers_retiring_while_work_comes_leave_nothing_lying, 1},
        {an_idle_timeout_that_races_with_pushes_leaves_nothing_lying, 1},
    };
    return test_suite_of_rounds("idle", tests, sizeof tests / sizeof tests[0]);
}
