// SPDX-License-Identifier: ISC
//
// max_active of queues with parents, of elastic queues and of dedicated ones.

#include "support.h"

// Jobs that say that they run and wait until they may end.
struct crowd {
    struct counter entered, leave;
    atomic_uint inside, peak;
};
#define CROWD_INIT                                     \
    {                                                  \
        .entered = COUNTER_INIT, .leave = COUNTER_INIT \
    }

static void enter_crowd(struct crowd *crowd)
{
    unsigned now = atomic_fetch_add(&crowd->inside, 1) + 1, peak = atomic_load(&crowd->peak);
    while (now > peak && !atomic_compare_exchange_weak(&crowd->peak, &peak, now))
        ;
    counter_add(&crowd->entered, 1);
}

static void join_crowd(void *item, void *user_data)
{
    (void)item;
    struct crowd *crowd = user_data;
    enter_crowd(crowd);
    counter_wait(&crowd->leave, 1);
    atomic_fetch_sub(&crowd->inside, 1);
}

static void pass_through_crowd(void *item, void *user_data)
{
    (void)item;
    struct crowd *crowd = user_data;
    enter_crowd(crowd);
    sched_yield();
    atomic_fetch_sub(&crowd->inside, 1);
}

static smolscale_queue *child_new(smolscale_queue *parent, smolscale_run_fn *run, void *user_data,
                                  unsigned max_active)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run;
    attr.user_data = user_data;
    attr.max_active = max_active;
    attr.parent = parent;
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    return queue;
}

START_TEST(jobs_of_siblings_count_together_against_the_parents_limit)
{
    struct crowd crowd = CROWD_INIT;
    smolscale_queue *parent = queue_new(join_crowd, &crowd, 3);
    smolscale_queue *child[2];
    for (unsigned c = 0; c < 2; c++)
        child[c] = child_new(parent, join_crowd, &crowd, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < 5; i++) {
        push(child[0], item_of(i));
        push(child[1], item_of(i));
        push(parent, item_of(i));
    }
    counter_wait(&crowd.entered, 3);
    ck_assert_uint_eq(smolscale_queue_pending(child[0]) + smolscale_queue_pending(child[1]) +
                          smolscale_queue_pending(parent),
                      12);
    counter_add(&crowd.leave, 1);
    smolscale_queue_wait(child[0]);
    smolscale_queue_wait(child[1]);
    smolscale_queue_wait(parent);
    ck_assert_uint_eq(counter_get(&crowd.entered), 15);
    ck_assert_uint_eq(atomic_load(&crowd.peak), 3);
    smolscale_queue_free(child[0]);
    smolscale_queue_free(child[1]);
    smolscale_queue_free(parent);
}
END_TEST

START_TEST(a_parents_limit_is_never_exceeded_under_stress)
{
    for (unsigned limit = 1; limit <= 3; limit++) {
        struct crowd crowd = CROWD_INIT;
        smolscale_queue *parent = queue_new(pass_through_crowd, &crowd, limit);
        enum { CHILDREN = 5 };
        smolscale_queue *child[CHILDREN];
        for (unsigned c = 0; c < CHILDREN; c++)
            child[c] = child_new(parent, pass_through_crowd, &crowd, c + 1);
        for (unsigned i = 0; i < SCALED(20000); i++)
            push(child[i % CHILDREN], item_of(i));
        for (unsigned c = 0; c < CHILDREN; c++)
            smolscale_queue_free(child[c]);
        smolscale_queue_free(parent);
        ck_assert_uint_eq(counter_get(&crowd.entered), SCALED(20000));
        ck_assert_msg(atomic_load(&crowd.peak) <= limit, "expected at most %u at once, got %u",
                      limit, atomic_load(&crowd.peak));
    }
}
END_TEST

START_TEST(a_childs_own_limit_holds_below_a_wider_parent)
{
    struct crowd crowd = CROWD_INIT, other = CROWD_INIT;
    smolscale_queue *parent = queue_new(join_crowd, &other, 8);
    smolscale_queue *child = child_new(parent, join_crowd, &crowd, 2);
    smolscale_queue *sibling = child_new(parent, join_crowd, &other, 8);
    for (unsigned i = 0; i < 6; i++) {
        push(child, item_of(i));
        push(sibling, item_of(i));
    }
    counter_wait(&crowd.entered, 2);
    counter_wait(&other.entered, 6); // 2 + 6 = the parent's 8
    counter_add(&other.leave, 1);
    counter_add(&crowd.leave, 1);
    smolscale_queue_free(child);
    smolscale_queue_free(sibling);
    smolscale_queue_free(parent);
    ck_assert_uint_eq(atomic_load(&crowd.peak), 2);
    ck_assert_uint_eq(counter_get(&crowd.entered), 6);
}
END_TEST

START_TEST(a_paused_parent_holds_its_children_until_it_is_raised)
{
    struct crowd crowd = CROWD_INIT, other = CROWD_INIT;
    counter_add(&crowd.leave, 1);
    counter_add(&other.leave, 1);
    smolscale_queue *parent = queue_new(join_crowd, &crowd, 0);
    smolscale_queue *child = child_new(parent, join_crowd, &crowd, SMOLSCALE_UNLIMITED);
    smolscale_queue *stranger = queue_new(join_crowd, &other, 1);
    for (unsigned i = 0; i < 10; i++)
        push(child, item_of(i));
    push(stranger, item_of(0));
    smolscale_queue_wait(stranger);
    ck_assert_uint_eq(counter_get(&crowd.entered), 0);
    ck_assert_uint_eq(smolscale_queue_pending(child), 10);
    ck_assert_int_eq(smolscale_queue_set_max_active(parent, 2), 0);
    smolscale_queue_wait(child);
    ck_assert_uint_eq(counter_get(&crowd.entered), 10);
    ck_assert_uint_le(atomic_load(&crowd.peak), 2);
    smolscale_queue_free(child);
    smolscale_queue_free(parent);
    smolscale_queue_free(stranger);
}
END_TEST

// A clock that goes on by a second whenever somebody looks at it: whoever was woken is late.
static uint64_t (*real_now)(void);
static atomic_uint looks;

static uint64_t now_in_leaps(void)
{
    return real_now() + (atomic_fetch_add(&looks, 1) + 1) * SS_NS_PER_S;
}

// Two children have items at once, and for each of them a worker is called; the first has not even
// been woken when it looks late. Both come, and both go on to live.
START_TEST(a_worker_called_for_a_family_is_woken_though_another_is_called_behind_it)
{
    smolscale_queue *parent, *child[2];
    struct crowd crowd = CROWD_INIT;
    // With one CPU the second worker would be left to the balancer, whose sleep leaps, too.
    setenv("SMOLSCALE_WORKERS", "2", 1);
    real_now = ss_os.now;
    ss_os.now = now_in_leaps;
    smolscale_set_idle_timeout(SMOLSCALE_FOREVER);
    for (unsigned round = 1; round <= SCALED(100); round++) {
        parent = queue_new(join_crowd, &crowd, 0);
        for (unsigned c = 0; c < 2; c++) {
            child[c] = child_new(parent, join_crowd, &crowd, 1);
            push(child[c], item_of(c));
        }
        ck_assert_int_eq(smolscale_queue_set_max_active(parent, 2), 0);
        counter_wait(&crowd.entered, 2 * round);
        if (round == 1)
            counter_add(&crowd.leave, 1); // the first time two workers are needed
        for (unsigned c = 0; c < 2; c++)
            smolscale_queue_free(child[c]);
        smolscale_queue_free(parent);
        all_parked();
    }
    EVENTUALLY(workers_after_retiring(), ==, 0);
}
END_TEST

START_TEST(a_child_that_is_freed_leaves_its_place_to_its_siblings)
{
    struct crowd crowd = CROWD_INIT, rest = CROWD_INIT;
    counter_add(&rest.leave, 1);
    smolscale_queue *parent = queue_new(join_crowd, &crowd, 1);
    smolscale_queue *child = child_new(parent, join_crowd, &crowd, 1);
    smolscale_queue *sibling = child_new(parent, join_crowd, &rest, 1);
    push(child, item_of(0));
    counter_wait(&crowd.entered, 1);
    for (unsigned i = 0; i < 100; i++)
        push(sibling, item_of(i));
    ck_assert_uint_eq(smolscale_queue_pending(sibling), 100);
    smolscale_queue_close(child, NULL, NULL);
    counter_add(&crowd.leave, 1);
    smolscale_queue_free(sibling);
    ck_assert_uint_eq(counter_get(&rest.entered), 100);
    smolscale_queue_free(parent);
}
END_TEST

START_TEST(many_children_below_a_parent_of_1_all_get_their_turn)
{
    enum { CHILDREN = 40 };
    struct crowd crowd = CROWD_INIT;
    smolscale_queue *parent = queue_new(pass_through_crowd, &crowd, 1);
    for (unsigned round = 0; round < SCALED(200); round++) {
        smolscale_queue *child[CHILDREN];
        for (unsigned c = 0; c < CHILDREN; c++) {
            child[c] = child_new(parent, pass_through_crowd, &crowd, 1);
            push(child[c], item_of(c));
        }
        for (unsigned c = 0; c < CHILDREN; c++)
            smolscale_queue_free(child[c]);
        ck_assert_uint_eq(counter_get(&crowd.entered), (round + 1) * CHILDREN);
    }
    smolscale_queue_free(parent);
    ck_assert_uint_eq(atomic_load(&crowd.peak), 1);
}
END_TEST

START_TEST(blocked_jobs_of_an_elastic_queue_do_not_count)
{
    struct crowd crowd = CROWD_INIT;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = join_crowd;
    attr.user_data = &crowd;
    attr.max_active = 1;
    attr.flags = SMOLSCALE_QUEUE_ELASTIC;
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    for (unsigned i = 0; i < 8; i++)
        push(queue, item_of(i));
    counter_wait(&crowd.entered, 8);
    counter_add(&crowd.leave, 1);
    smolscale_queue_free(queue);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Dedicated queues
// ---------------------------------------------------------------------------------------------

static smolscale_queue *dedicated_new(smolscale_run_fn *run, void *user_data, unsigned threads)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run;
    attr.user_data = user_data;
    attr.max_active = threads;
    attr.flags = SMOLSCALE_QUEUE_DEDICATED;
    attr.thread_name = "dedicated";
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    return queue;
}

START_TEST(a_dedicated_queue_has_its_threads_from_its_creation_to_its_end)
{
    struct tids others;
    threads_before_first_use(&others);
    struct crowd crowd = CROWD_INIT;
    smolscale_queue *queue = dedicated_new(join_crowd, &crowd, 3);
    ck_assert_uint_eq(stats_now().workers, 3);
    for (unsigned i = 0; i < 7; i++)
        push(queue, item_of(i));
    counter_wait(&crowd.entered, 3);
    EVENTUALLY(threads_named("dedicated", &others), ==, 3);
    ck_assert_uint_eq(smolscale_queue_pending(queue), 4);
    counter_add(&crowd.leave, 1);
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(counter_get(&crowd.entered), 7);
    ck_assert_uint_eq(atomic_load(&crowd.peak), 3);
    EVENTUALLY(threads_named("dedicated", &others), ==, 3);
    smolscale_queue_free(queue);
    EVENTUALLY(workers_after_retiring(), ==, 0);
    EVENTUALLY(threads_named("dedicated", &others), ==, 0);
}
END_TEST

static atomic_uint strangers;
static pthread_t dedicated_thread;

static void note_dedicated(void *item, void *user_data)
{
    (void)item, (void)user_data;
    dedicated_thread = pthread_self();
}

static void note_stranger(void *item, void *user_data)
{
    (void)item, (void)user_data;
    atomic_fetch_add(&strangers, pthread_equal(pthread_self(), dedicated_thread) != 0);
}

START_TEST(dedicated_threads_serve_nothing_else)
{
    smolscale_queue *dedicated = dedicated_new(note_dedicated, NULL, 1);
    smolscale_queue *shared = queue_new(note_stranger, NULL, SMOLSCALE_UNLIMITED);
    push(dedicated, item_of(0));
    smolscale_queue_wait(dedicated);
    for (unsigned i = 0; i < 10000; i++)
        push(shared, item_of(i));
    smolscale_queue_wait(shared);
    ck_assert_uint_eq(atomic_load(&strangers), 0);
    pthread_t first = dedicated_thread;
    push(dedicated, item_of(1));
    smolscale_queue_free(dedicated);
    ck_assert(pthread_equal(first, dedicated_thread));
    smolscale_queue_free(shared);
}
END_TEST

START_TEST(the_limit_of_a_dedicated_queue_adds_and_gives_back_threads)
{
    struct crowd crowd = CROWD_INIT;
    smolscale_queue *queue = dedicated_new(join_crowd, &crowd, 1);
    for (unsigned i = 0; i < 12; i++)
        push(queue, item_of(i));
    counter_wait(&crowd.entered, 1);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 4), 0);
    ck_assert_uint_eq(stats_now().workers, 4);
    counter_wait(&crowd.entered, 4);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, SMOLSCALE_UNLIMITED), -EINVAL);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 2), 0);
    counter_add(&crowd.leave, 1);
    smolscale_queue_wait(queue);
    EVENTUALLY(workers_after_retiring(), ==, 2);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(counter_get(&crowd.entered), 12);
    EVENTUALLY(workers_after_retiring(), ==, 0);
}
END_TEST

START_TEST(a_paused_dedicated_queue_keeps_its_items)
{
    struct crowd crowd = CROWD_INIT;
    counter_add(&crowd.leave, 1);
    smolscale_queue *queue = dedicated_new(join_crowd, &crowd, 1);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 0), 0);
    EVENTUALLY(workers_after_retiring(), ==, 0);
    push(queue, item_of(0));
    ck_assert_uint_eq(smolscale_queue_pending(queue), 1);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 2), 0);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(counter_get(&crowd.entered), 1);
}
END_TEST

// Threads that were told to go, and have not gone yet, are wanted again; and those that go twice
// are no more than were too many.
START_TEST(a_dedicated_queue_keeps_as_many_threads_as_its_last_limit_says)
{
    struct crowd crowd = CROWD_INIT;
    counter_add(&crowd.leave, 1);
    smolscale_queue *queue = dedicated_new(join_crowd, &crowd, 3);
    for (unsigned round = 0; round < SCALED(2000); round++) {
        const unsigned limits[] = {0, 3, 2, 1, 3, 2, 1, 0, 2};
        unsigned last = 1 + round % 9;
        for (unsigned i = 0; i < last; i++)
            ck_assert_int_eq(smolscale_queue_set_max_active(queue, limits[i]), 0);
        if (limits[last - 1] == 0)
            ck_assert_int_eq(smolscale_queue_set_max_active(queue, 3), 0);
        push(queue, item_of(round));
        EVENTUALLY(smolscale_queue_pending(queue), ==, 0);
    }
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(counter_get(&crowd.entered), SCALED(2000));
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(a_closed_dedicated_queue_ends_with_its_last_job)
{
    struct crowd crowd = CROWD_INIT;
    smolscale_queue *queue = dedicated_new(join_crowd, &crowd, 2);
    for (unsigned i = 0; i < 4; i++)
        push(queue, item_of(i));
    counter_wait(&crowd.entered, 2);
    smolscale_queue_close(queue, NULL, NULL);
    counter_add(&crowd.leave, 1);
    EVENTUALLY(workers_after_retiring(), ==, 0);
    ck_assert_uint_eq(counter_get(&crowd.entered), 4);
}
END_TEST

START_TEST(dedicated_queues_come_and_go)
{
    struct crowd crowd = CROWD_INIT;
    for (unsigned round = 0; round < SCALED(1000); round++) {
        smolscale_queue *queue = dedicated_new(pass_through_crowd, &crowd, round % 3 + 1);
        for (unsigned i = 0; i < 5; i++)
            push(queue, item_of(i));
        if (round % 2)
            smolscale_queue_close(queue, NULL, NULL);
        else
            smolscale_queue_free(queue);
    }
    EVENTUALLY(counter_get(&crowd.entered), ==, SCALED(1000) * 5);
    EVENTUALLY(workers_after_retiring(), ==, 0);
}
END_TEST

START_TEST(a_dedicated_queue_exactly_once_under_stress)
{
    struct crowd crowd = CROWD_INIT;
    smolscale_queue *queue = dedicated_new(pass_through_crowd, &crowd, 2);
    unsigned long cancelled = 0;
    for (unsigned i = 0; i < SCALED(100000); i++) {
        uint64_t ticket;
        ck_assert_int_eq(smolscale_queue_push(queue, item_of(i), &ticket), 0);
        if (i % 3 == 0)
            cancelled += smolscale_queue_cancel(queue, item_of(i), ticket);
        if (i % 1000 == 0)
            ck_assert_int_eq(smolscale_queue_set_max_active(queue, i / 1000 % 3 + 1), 0);
    }
    smolscale_queue_free(queue);
    ck_assert_uint_eq(counter_get(&crowd.entered) + cancelled, SCALED(100000));
}
END_TEST

int main(void)
{
    return test_suite("limits",
                      (const TTest *[]){
                          jobs_of_siblings_count_together_against_the_parents_limit,
                          a_parents_limit_is_never_exceeded_under_stress,
                          a_childs_own_limit_holds_below_a_wider_parent,
                          a_paused_parent_holds_its_children_until_it_is_raised,
                          a_worker_called_for_a_family_is_woken_though_another_is_called_behind_it,
                          a_child_that_is_freed_leaves_its_place_to_its_siblings,
                          many_children_below_a_parent_of_1_all_get_their_turn,
                          blocked_jobs_of_an_elastic_queue_do_not_count,
                          a_dedicated_queue_has_its_threads_from_its_creation_to_its_end,
                          dedicated_threads_serve_nothing_else,
                          the_limit_of_a_dedicated_queue_adds_and_gives_back_threads,
                          a_paused_dedicated_queue_keeps_its_items,
                          a_dedicated_queue_keeps_as_many_threads_as_its_last_limit_says,
                          a_closed_dedicated_queue_ends_with_its_last_job,
                          dedicated_queues_come_and_go,
                          a_dedicated_queue_exactly_once_under_stress,
                          NULL,
                      });
}
