// SPDX-License-Identifier: ISC
//
// Contract 1, exactly once: an accepted item runs once, or its cancel returned true and it never
// runs, or clear() handed it out. Several threads do random things to the same queues; afterwards
// every item must be accounted for exactly once.

#include "support.h"

enum { THREADS = 6, QUEUES = 3 };

enum fate { PUSHED = 1, REFUSED };

struct item {
    atomic_uint runs, cancels, drops;
    atomic_int fate;
    uint64_t ticket;
    smolscale_queue *queue; // where it was pushed
};

static struct item *items;
static size_t items_total;

static void run_item(void *item, void *user_data)
{
    (void)user_data;
    atomic_fetch_add(&((struct item *)item)->runs, 1);
}

static void run_slowly(void *item, void *user_data)
{
    volatile unsigned spin = 0;
    for (unsigned i = 0; i < 500; i++)
        spin = spin + 1;
    run_item(item, user_data);
}

static void run_yielding(void *item, void *user_data)
{
    sched_yield();
    run_item(item, user_data);
}

static void drop_item(void *item, void *user_data)
{
    (void)user_data;
    atomic_fetch_add(&((struct item *)item)->drops, 1);
}

static int compare_addresses(const void *a, const void *b, void *compare_data)
{
    (void)compare_data;
    return ((uintptr_t)a >> 6) % 7 < ((uintptr_t)b >> 6) % 7 ? -1 : 1; // not even consistent
}

static void ck_items(size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        struct item *item = &items[i];
        unsigned ends = item->runs + item->cancels + item->drops;
        unsigned expected = item->fate == PUSHED;
        ck_assert_msg(ends == expected,
                      "item %zu: expected %u end(s), got %u run(s), %u cancel(s), %u drop(s)", i,
                      expected, item->runs, item->cancels, item->drops);
    }
}

static smolscale_queue *queues[QUEUES];

struct actor {
    size_t first, count; // its items
    unsigned kinds;      // how many kinds of operations it may use
    uint64_t state;
};

enum operation { CANCEL, CANCEL_UNTICKETED, MOVE, LOOK, LIMIT, CLEAR, COMPARE, RETIRE, KINDS };

static void act(struct actor *actor, size_t pushed)
{
    uint32_t dice = test_random(&actor->state);
    struct item *item = &items[actor->first + dice % pushed];
    smolscale_queue *queue = queues[dice % QUEUES];
    switch ((enum operation)(test_random(&actor->state) % actor->kinds)) {
    case CANCEL:
        if (item->fate == PUSHED && smolscale_queue_cancel(item->queue, item, item->ticket))
            atomic_fetch_add(&item->cancels, 1);
        break;
    case CANCEL_UNTICKETED:
        if (item->fate == PUSHED && smolscale_queue_cancel(item->queue, item, 0))
            atomic_fetch_add(&item->cancels, 1);
        break;
    case MOVE:
        smolscale_queue_move_to_front(item->queue ? item->queue : queue, item);
        break;
    case LOOK:
        smolscale_queue_pending(queue);
        smolscale_queue_active(queue);
        smolscale_idle_workers();
        break;
    case LIMIT:
        smolscale_queue_set_max_active(queue, dice % 5);
        break;
    case CLEAR:
        if (dice % 64 == 0)
            smolscale_queue_clear(queue, drop_item, NULL);
        break;
    case COMPARE:
        if (dice % 16 == 0)
            smolscale_queue_set_compare(queue, dice % 32 ? NULL : compare_addresses, NULL);
        break;
    case RETIRE:
        smolscale_retire_idle();
        break;
    case KINDS:
        break;
    }
}

static void *actor_main(void *arg)
{
    struct actor *actor = arg;
    for (size_t i = 0; i < actor->count; i++) {
        struct item *item = &items[actor->first + i];
        item->queue = queues[test_random(&actor->state) % QUEUES];
        int err = smolscale_queue_push(item->queue, item, &item->ticket);
        atomic_store(&item->fate, err ? REFUSED : PUSHED);
        while (actor->kinds && test_random(&actor->state) % 2)
            act(actor, i + 1);
        if (test_random(&actor->state) % 512 == 0)
            sched_yield();
    }
    return NULL;
}

static void random_actors(smolscale_run_fn *run, unsigned max_active, unsigned kinds, size_t each,
                          smolscale_queue *parent)
{
    items_total = THREADS * each;
    items = calloc(items_total, sizeof *items);
    for (unsigned q = 0; q < QUEUES; q++) {
        struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
        attr.run = run;
        attr.max_active = max_active;
        attr.parent = parent;
        ck_assert_int_eq(smolscale_queue_new(&queues[q], &attr), 0);
    }
    uint64_t jobs_before = stats_now().jobs;
    struct actor actor[THREADS];
    pthread_t thread[THREADS];
    for (unsigned t = 0; t < THREADS; t++) {
        actor[t] = (struct actor){t * each, each, kinds, t + 1};
        thread[t] = thread_start(actor_main, &actor[t]);
    }
    for (unsigned t = 0; t < THREADS; t++)
        pthread_join(thread[t], NULL);
    for (unsigned q = 0; q < QUEUES; q++) {
        smolscale_queue_set_max_active(queues[q], 2);
        smolscale_queue_free(queues[q]);
    }
    ck_items(0, items_total);
    uint64_t runs = 0;
    for (size_t i = 0; i < items_total; i++)
        runs += items[i].runs;
    ck_assert_uint_eq(stats_now().jobs - jobs_before, runs);
    free(items);
}

START_TEST(every_push_from_many_threads_runs_once)
{
    random_actors(run_item, SMOLSCALE_UNLIMITED, 0, SCALED(300000), NULL);
    random_actors(run_slowly, 2, 0, SCALED(100000), NULL);
    random_actors(run_yielding, 4, 0, SCALED(20000), NULL);
}
END_TEST

START_TEST(cancelled_items_never_run_and_others_run_once)
{
    random_actors(run_item, SMOLSCALE_UNLIMITED, CANCEL + 1, SCALED(200000), NULL);
    random_actors(run_item, 1, CANCEL + 1, SCALED(200000), NULL);
    random_actors(run_slowly, 2, CANCEL + 1, SCALED(50000), NULL);
}
END_TEST

START_TEST(items_moved_and_cancelled_by_search_end_once)
{
    random_actors(run_item, 2, MOVE + 1, SCALED(10000), NULL);
    random_actors(run_slowly, 1, MOVE + 1, SCALED(5000), NULL);
}
END_TEST

START_TEST(everything_at_once_accounts_for_every_item)
{
    for (unsigned round = 0; round < 3; round++) {
        random_actors(run_item, 2, KINDS, SCALED(15000), NULL);
        random_actors(run_slowly, SMOLSCALE_UNLIMITED, KINDS, SCALED(10000), NULL);
        random_actors(run_yielding, 1, KINDS, SCALED(10000), NULL);
    }
}
END_TEST

START_TEST(everything_at_once_below_a_parent_accounts_for_every_item)
{
    smolscale_queue *parent = queue_new(run_item, NULL, 2);
    for (unsigned round = 0; round < 3; round++) {
        random_actors(run_item, SMOLSCALE_UNLIMITED, KINDS, SCALED(15000), parent);
        random_actors(run_slowly, 1, KINDS, SCALED(10000), parent);
    }
    smolscale_queue_free(parent);
}
END_TEST

// Queues that are closed while jobs of theirs push, cancel and clear.
struct family {
    smolscale_queue *queue;
    atomic_uint accepted, ended;
    atomic_bool closed;
    struct counter freed;
};

static atomic_ulong families_late;

static void family_closed(void *user_data)
{
    struct family *family = user_data;
    atomic_store(&family->closed, true);
    counter_add(&family->freed, 1);
}

static void family_dropped(void *item, void *user_data)
{
    (void)item;
    atomic_fetch_add(&((struct family *)user_data)->ended, 1);
}

static void family_job(void *item, void *user_data)
{
    struct family *family = user_data;
    unsigned n = number_of(item);
    if (atomic_load(&family->closed))
        atomic_fetch_add(&families_late, 1);
    smolscale_queue *queue = smolscale_current_queue();
    for (unsigned child = 2 * n + 1; child <= 2 * n + 2 && child < 64; child++) {
        atomic_fetch_add(&family->accepted, 1); // before it can end
        if (smolscale_queue_push(queue, item_of(child), NULL) != 0)
            atomic_fetch_sub(&family->accepted, 1);
    }
    if (n % 11 == 5)
        smolscale_queue_clear(queue, family_dropped, family);
    if (n % 7 == 3 && smolscale_queue_cancel(queue, item_of(n + 1), 0))
        atomic_fetch_add(&family->ended, 1);
    if (n == 20)
        smolscale_queue_close(queue, family_closed, family);
    atomic_fetch_add(&family->ended, 1);
}

START_TEST(queues_closed_by_their_own_jobs_end_each_item_once_and_call_back_once)
{
    for (unsigned round = 0; round < SCALED(3000); round++) {
        struct family family = {.freed = COUNTER_INIT};
        bool close_in_job = round % 2;
        smolscale_queue *queue = queue_new(family_job, &family, round % 4 + 1);
        atomic_store(&family.accepted, 1);
        push(queue, item_of(close_in_job ? 20 : 21));
        if (!close_in_job)
            smolscale_queue_close(queue, family_closed, &family);
        counter_wait(&family.freed, 1);
        ck_assert_uint_eq(counter_get(&family.freed), 1);
        ck_assert_uint_eq(atomic_load(&family.ended), atomic_load(&family.accepted));
        ck_assert_uint_eq(atomic_load(&families_late), 0);
    }
}
END_TEST

// Nested pushes: a job pushes two more, down to the leaves.
static atomic_uint leaves;
static smolscale_queue *tree_queue[2];

static void grow_tree(void *item, void *user_data)
{
    (void)user_data;
    unsigned depth = number_of(item);
    if (depth == 0) {
        atomic_fetch_add(&leaves, 1);
        return;
    }
    push(tree_queue[0], item_of(depth - 1));
    push(tree_queue[1], item_of(depth - 1));
}

START_TEST(a_tree_of_nested_pushes_is_run_completely)
{
    enum { DEPTH = 16 };
    unsigned depth = SCALED(1000) == 1000 ? DEPTH : DEPTH - 4;
    for (unsigned limit = 1; limit <= 4; limit++) {
        atomic_store(&leaves, 0);
        tree_queue[0] = queue_new(grow_tree, NULL, limit);
        tree_queue[1] = queue_new(grow_tree, NULL, SMOLSCALE_UNLIMITED);
        push(tree_queue[0], item_of(depth));
        EVENTUALLY(atomic_load(&leaves), ==, 1u << depth);
        smolscale_queue_free(tree_queue[0]);
        smolscale_queue_free(tree_queue[1]);
    }
}
END_TEST

// A queue's limit must never be exceeded, whatever else happens.
static atomic_uint running, running_peak;

static void note_running(void *item, void *user_data)
{
    (void)item, (void)user_data;
    unsigned now = atomic_fetch_add(&running, 1) + 1, peak = atomic_load(&running_peak);
    while (now > peak && !atomic_compare_exchange_weak(&running_peak, &peak, now))
        ;
    if (now % 3 == 0)
        sched_yield();
    atomic_fetch_sub(&running, 1);
}

static void *push_many_times(void *queue)
{
    for (unsigned i = 0; i < SCALED(50000); i++)
        push(queue, item_of(i));
    return NULL;
}

START_TEST(a_limit_is_never_exceeded_under_stress)
{
    for (unsigned limit = 1; limit <= 5; limit += 2) {
        atomic_store(&running_peak, 0);
        smolscale_queue *queue = queue_new(note_running, NULL, limit);
        pthread_t thread[THREADS];
        for (unsigned t = 0; t < THREADS; t++)
            thread[t] = thread_start(push_many_times, queue);
        for (unsigned t = 0; t < THREADS; t++)
            pthread_join(thread[t], NULL);
        smolscale_queue_free(queue);
        ck_assert_msg(atomic_load(&running_peak) <= limit, "expected at most %u at once, got %u",
                      limit, atomic_load(&running_peak));
    }
}
END_TEST

START_TEST(pushes_from_threads_that_end_are_not_lost)
{
    items = calloc(1, sizeof *items);
    smolscale_queue *queue = queue_new(run_item, NULL, 2);
    for (unsigned i = 0; i < SCALED(2000); i++) {
        struct actor actor = {0, 1, 0, i};
        queues[0] = queues[1] = queues[2] = queue;
        pthread_join(thread_start(actor_main, &actor), NULL);
    }
    smolscale_queue_free(queue);
    ck_assert_uint_eq(items[0].runs, SCALED(2000));
    free(items);
}
END_TEST

int main(void)
{
    return test_suite("stress",
                      (const TTest *[]){
                          every_push_from_many_threads_runs_once,
                          cancelled_items_never_run_and_others_run_once,
                          items_moved_and_cancelled_by_search_end_once,
                          everything_at_once_accounts_for_every_item,
                          everything_at_once_below_a_parent_accounts_for_every_item,
                          queues_closed_by_their_own_jobs_end_each_item_once_and_call_back_once,
                          a_tree_of_nested_pushes_is_run_completely,
                          a_limit_is_never_exceeded_under_stress,
                          pushes_from_threads_that_end_are_not_lost,
                          NULL,
                      });
}
