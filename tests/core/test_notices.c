// SPDX-License-Identifier: ISC
//
// smolscale_notify_soon(): each notice comes once, and waits for no job that blocks.

#include "sched/executor.h"
#include "support.h"

#include <semaphore.h>

static struct counter notices = COUNTER_INIT;
static atomic_ulong noticed[64]; // by number

static void note(void *whom)
{
    if (number_of(whom) < 64)
        atomic_fetch_add(&noticed[number_of(whom)], 1);
    counter_add(&notices, 1);
}

static smolscale_queue *notifying_queue(smolscale_run_fn *run, void *user_data, unsigned max_active,
                                        void (*notify)(void *))
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run;
    attr.user_data = user_data;
    attr.max_active = max_active;
    attr.notify = notify;
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    return queue;
}

static atomic_ulong promised;

static void promise(void *item, void *user_data)
{
    (void)user_data;
    if (smolscale_notify_soon(item_of(number_of(item) % 8)))
        atomic_fetch_add(&promised, 1);
}

START_TEST(each_promised_notice_comes_once)
{
    for (unsigned max_active = 1; max_active <= 4; max_active++) {
        smolscale_queue *queue = notifying_queue(promise, NULL, max_active, note);
        for (unsigned i = 0; i < SCALED(50000); i++)
            push(queue, item_of(i));
        smolscale_queue_free(queue);
    }
    ck_assert_uint_gt(atomic_load(&promised), 0);
    EVENTUALLY(counter_get(&notices), ==, atomic_load(&promised));
}
END_TEST

static void promise_nothing(void *item, void *user_data)
{
    (void)item;
    ck_assert(!smolscale_notify_soon(item));
    counter_add(user_data, 1);
}

START_TEST(without_a_notify_function_and_outside_of_jobs_nothing_is_promised)
{
    struct counter done = COUNTER_INIT;
    smolscale_queue *queue = queue_new(promise_nothing, &done, 1);
    ck_assert(!smolscale_notify_soon(item_of(0)));
    push(queue, item_of(0));
    smolscale_queue_free(queue);
    ck_assert_uint_eq(counter_get(&done), 1);
}
END_TEST

// ---- jobs that block ----

enum { TINY = 200, PROMISING = 201, BLOCKING = 202, HOLDING = 203 };

struct scene {
    struct counter holding, go, blocking, leave;
};

static void act(void *item, void *user_data)
{
    struct scene *scene = user_data;
    switch (number_of(item)) {
    case HOLDING:
        counter_add(&scene->holding, 1);
        counter_wait(&scene->go, 1);
        break;
    case PROMISING:
        if (smolscale_notify_soon(item_of(1)))
            atomic_fetch_add(&promised, 1);
        else
            note(item_of(1));
        break;
    case BLOCKING:
        counter_add(&scene->blocking, 1);
        counter_wait(&scene->leave, 1);
        break;
    }
}

// Until the last job blocks. The tiny jobs have become the expectation when the last two are taken,
// in one batch.
static void promise_and_block_behind_it(smolscale_queue *queue, struct scene *scene)
{
    push(queue, item_of(HOLDING));
    counter_wait(&scene->holding, 1);
    for (unsigned i = 0; i < TINY; i++)
        push(queue, item_of(i));
    push(queue, item_of(PROMISING));
    push(queue, item_of(BLOCKING));
    counter_add(&scene->go, 1);
    counter_wait(&scene->blocking, 1);
}

START_TEST(a_notice_does_not_wait_for_the_job_behind_it)
{
    for (unsigned round = 0; round < 20; round++) {
        struct scene scene = {COUNTER_INIT, COUNTER_INIT, COUNTER_INIT, COUNTER_INIT};
        smolscale_queue *queue = notifying_queue(act, &scene, 1, note);
        promise_and_block_behind_it(queue, &scene);
        counter_wait(&notices, round + 1); // while the job is blocked
        counter_add(&scene.leave, 1);
        smolscale_queue_free(queue);
        ck_assert_uint_eq(counter_get(&notices), round + 1);
    }
    ck_assert_uint_gt(atomic_load(&promised), 0);
}
END_TEST

// ---- notices that end the thread which gives them

static atomic_uint ended_outside; // of the workers: the balancer's threads

static void note_and_exit(void *whom)
{
    atomic_fetch_add(&ended_outside, !smolscale_in_worker());
    note(whom);
    pthread_exit(NULL);
}

static void promise_many_and_block(void *item, void *user_data)
{
    struct scene *scene = user_data;
    if (number_of(item) == HOLDING) {
        counter_add(&scene->holding, 1);
        counter_wait(&scene->go, 1);
    } else if (number_of(item) == BLOCKING) {
        counter_add(&scene->blocking, 1);
        counter_wait(&scene->leave, 1);
    } else if (number_of(item) >= PROMISING) {
        for (unsigned i = 0; i < 3; i++)
            if (!smolscale_notify_soon(item_of(i)))
                note(item_of(i));
    }
}

// As above, but for the balancer's thread: each notice ends one. Each round needs it again.
START_TEST(a_notice_that_ends_the_balancers_thread_is_no_balancers_end)
{
    for (unsigned round = 1; round <= 20; round++) {
        struct scene scene = {COUNTER_INIT, COUNTER_INIT, COUNTER_INIT, COUNTER_INIT};
        smolscale_queue *queue = notifying_queue(promise_many_and_block, &scene, 1, note_and_exit);
        promise_and_block_behind_it(queue, &scene);
        counter_wait(&notices, 3 * round); // while the job is blocked
        counter_add(&scene.leave, 1);
        smolscale_queue_free(queue);
        ck_assert_uint_eq(counter_get(&notices), 3 * round);
    }
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(atomic_load(&noticed[i]), 20);
    ck_assert_uint_gt(atomic_load(&ended_outside), 0);
    ck_assert_uint_eq(stats_now().jobs, 20 * (TINY + 3));
    EVENTUALLY(ss_balancer_pause(), ==, true); // no tick that has no end
    ss_balancer_resume();
}
END_TEST

// Of the three, the first ends the worker that gives it; the others come all the same.
START_TEST(a_notice_that_ends_a_worker_leaves_no_other_behind)
{
    struct scene scene = {COUNTER_INIT, COUNTER_INIT, COUNTER_INIT, COUNTER_INIT};
    smolscale_queue *queue = notifying_queue(promise_many_and_block, &scene, 2, note_and_exit);
    for (unsigned i = 1; i <= 50; i++) {
        push(queue, item_of(PROMISING)); // alone, so that the notices are given after it
        smolscale_queue_wait(queue);
        counter_wait(&notices, 3 * i);
    }
    smolscale_queue_free(queue);
    EVENTUALLY(stats_now().jobs, ==, 50);
    ck_assert_uint_eq(counter_get(&notices), 150);
}
END_TEST

static void count_behind(void *item, void *user_data)
{
    struct counter *ran = ((void **)user_data)[1];
    promise_many_and_block(item, ((void **)user_data)[0]);
    if (number_of(item) < TINY)
        counter_add(ran, 1);
}

// A notice is due when more is queued than one batch takes: the job that is first in the next one
// runs all the same.
START_TEST(a_notice_that_ends_a_worker_between_two_batches_loses_no_job)
{
    for (unsigned round = 1; round <= 20; round++) {
        struct scene scene = {COUNTER_INIT, COUNTER_INIT, COUNTER_INIT, COUNTER_INIT};
        struct counter ran = COUNTER_INIT;
        void *both[] = {&scene, &ran};
        smolscale_queue *queue = notifying_queue(count_behind, both, 1, note_and_exit);
        push(queue, item_of(HOLDING));
        counter_wait(&scene.holding, 1);
        push(queue, item_of(PROMISING));
        for (unsigned i = 0; i < TINY; i++)
            push(queue, item_of(i));
        counter_add(&scene.go, 1);
        smolscale_queue_wait(queue);
        smolscale_queue_free(queue);
        ck_assert_uint_eq(counter_get(&ran), TINY);
    }
}
END_TEST

static void promise_and_block(void *item, void *user_data)
{
    struct scene *scene = user_data;
    (void)item;
    if (!smolscale_notify_soon(item_of(2)))
        return;
    smolscale_blocking_begin();
    counter_add(&scene->blocking, 1);
    counter_wait(&scene->leave, 1);
    smolscale_blocking_end();
}

START_TEST(a_job_that_says_it_blocks_gives_its_notices_first)
{
    struct scene scene = {COUNTER_INIT, COUNTER_INIT, COUNTER_INIT, COUNTER_INIT};
    smolscale_queue *queue = notifying_queue(promise_and_block, &scene, 1, note);
    push(queue, item_of(0));
    counter_wait(&scene.blocking, 1);
    ck_assert_uint_eq(counter_get(&notices), 1);
    counter_add(&scene.leave, 1);
    smolscale_queue_free(queue);
}
END_TEST

static void promise_and_exit(void *item, void *user_data)
{
    (void)item;
    (void)user_data;
    ck_assert(smolscale_notify_soon(item_of(3)));
    pthread_exit(NULL);
}

START_TEST(a_job_that_ends_its_thread_leaves_no_notice_behind)
{
    smolscale_queue *queue = notifying_queue(promise_and_exit, NULL, 1, note);
    push(queue, item_of(0));
    smolscale_queue_free(queue);
    counter_wait(&notices, 1);
    ck_assert_uint_eq(atomic_load(&noticed[3]), 1);
}
END_TEST

// ---- a consumer ----

// Results are pushed onto a stack; whoever makes it non-empty has its consumer told, once. A notice
// that is lost stops the consumer for ever.
struct result {
    struct result *next;
    unsigned blocks;
};

static struct consumer {
    _Atomic(struct result *) head;
    sem_t told;
} consumers[3];

static void tell(void *whom)
{
    sem_post(&((struct consumer *)whom)->told);
}

static void produce(void *item, void *user_data)
{
    struct result *result = item;
    struct consumer *consumer = &consumers[result->blocks % 3];
    (void)user_data;
    if (result->blocks % 97 == 0)
        usleep(300); // no synchronisation: a job that blocks now and then
    struct result *old = atomic_load(&consumer->head);
    do
        result->next = old;
    while (!atomic_compare_exchange_weak(&consumer->head, &old, result));
    if (!old && !smolscale_notify_soon(consumer))
        tell(consumer);
}

static void *consume(void *argument)
{
    struct consumer *consumer = argument;
    for (unsigned left = SCALED(60000); left > 0;) {
        while (sem_wait(&consumer->told) != 0)
            ;
        struct result *result = atomic_exchange(&consumer->head, NULL);
        ck_assert_ptr_nonnull(result);
        for (; result; result = result->next)
            left--;
    }
    return NULL;
}

START_TEST(consumers_that_are_told_once_for_many_results_get_all)
{
    enum { RESULTS = 3 * SCALED(60000) };
    struct result *results = calloc(RESULTS, sizeof *results);
    pthread_t threads[3];
    smolscale_queue *queue = notifying_queue(produce, NULL, 4, tell);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(sem_init(&consumers[i].told, 0, 0), 0);
        threads[i] = thread_start(consume, &consumers[i]);
    }
    for (unsigned i = 0; i < RESULTS; i++) {
        results[i].blocks = i;
        push(queue, &results[i]);
    }
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    smolscale_queue_free(queue);
    free(results);
}
END_TEST

// ---- jobs that end while the balancer looks at them ----

static void (*real_thread_states)(const pid_t *tids, enum ss_thread_state *states, unsigned count);
static struct counter may_end = COUNTER_INIT, has_ended = COUNTER_INIT;
static atomic_ulong tick_of_the_look;

// The first thread that is found asleep goes on, and ends its job, before the balancer is told.
static void look_late(const pid_t *tids, enum ss_thread_state *states, unsigned count)
{
    real_thread_states(tids, states, count);
    for (unsigned i = 0; i < count; i++) {
        if (states[i] == SS_THREAD_SLEEPING && atomic_load(&tick_of_the_look) == 0) {
            counter_add(&may_end, 1);
            counter_wait(&has_ended, 1);
            atomic_store(&tick_of_the_look, stats_now().ticks);
        }
    }
}

// Between its job and its leaving the queue: until the balancer has drawn its conclusions.
static void hold_the_worker(void *whom)
{
    (void)whom;
    counter_add(&has_ended, 1);
    EVENTUALLY(atomic_load(&tick_of_the_look), !=, 0);
    EVENTUALLY(stats_now().ticks, >, atomic_load(&tick_of_the_look));
}

static void sleep_if_first(void *item, void *user_data)
{
    (void)user_data;
    if (number_of(item) != 0)
        return;
    counter_wait(&may_end, 1);
    // Only now, while the balancer waits in its look: else it might give the notice itself.
    ck_assert(smolscale_notify_soon(item));
}

static smolscale_queue *elastic_queue(unsigned max_active)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = sleep_if_first;
    attr.notify = hold_the_worker;
    attr.max_active = max_active;
    attr.flags = SMOLSCALE_QUEUE_ELASTIC;
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    return queue;
}

START_TEST(a_job_that_ends_while_it_is_looked_at_leaves_no_blocked_worker_behind)
{
    real_thread_states = ss_os.thread_states;
    ss_os.thread_states = look_late;
    smolscale_queue *paused = elastic_queue(0), *queue = elastic_queue(1);
    push(paused, item_of(1)); // a reason for the balancer to look
    push(queue, item_of(0));
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(stats_now().workers_blocked, 0);
    push(queue, item_of(1)); // below its limit, that is
    smolscale_queue_free(queue);
    smolscale_queue_clear(paused, NULL, NULL);
    smolscale_queue_free(paused);
}
END_TEST

int main(void)
{
    return test_suite("notices",
                      (const TTest *[]){
                          each_promised_notice_comes_once,
                          without_a_notify_function_and_outside_of_jobs_nothing_is_promised,
                          a_notice_does_not_wait_for_the_job_behind_it,
                          a_notice_that_ends_the_balancers_thread_is_no_balancers_end,
                          a_notice_that_ends_a_worker_leaves_no_other_behind,
                          a_notice_that_ends_a_worker_between_two_batches_loses_no_job,
                          a_job_that_says_it_blocks_gives_its_notices_first,
                          a_job_that_ends_its_thread_leaves_no_notice_behind,
                          consumers_that_are_told_once_for_many_results_get_all,
                          a_job_that_ends_while_it_is_looked_at_leaves_no_blocked_worker_behind,
                          NULL,
                      });
}
