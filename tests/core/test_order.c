// SPDX-License-Identifier: ISC
//
// The order in which a queue's items start, against a reference: a plain list, searched and
// inserted into step by step, as the documentation of the calls has it. Random operations go to
// both; then the queue runs, one job at a time, and must start the items as the list has them.
//
// The rule for a sorted queue: a new item is compared with the queued ones from the last to the
// first, and stops behind the first that is not greater. Items moved to the front are no longer at
// their sorted place, but they are compared all the same, once the item is ahead of every sorted
// one.

#include "support.h"

#include <limits.h>
#include <math.h>

// ---------------------------------------------------------------------------------------------
// Items and the reference
// ---------------------------------------------------------------------------------------------

struct item {
    int key;
    unsigned serial;
    uint64_t ticket;
};

// How two items compare; the queue has the same through compare_items().
static int sign_of_keys(const struct item *a, const struct item *b)
{
    return (a->key > b->key) - (a->key < b->key);
}

static atomic_ulong comparisons;

static int compare_items(const void *a, const void *b, void *compare_data)
{
    if (compare_data)
        atomic_fetch_add_explicit(&comparisons, 1, memory_order_relaxed);
    return sign_of_keys(a, b);
}

#define ITEMS_MAX 4096

struct model {
    bool sorted;
    size_t length;
    struct item *list[ITEMS_MAX]; // [0] starts next
};

static void model_insert(struct model *m, size_t at, struct item *item)
{
    memmove(&m->list[at + 1], &m->list[at], (m->length - at) * sizeof m->list[0]);
    m->list[at] = item;
    m->length++;
}

static void model_remove(struct model *m, size_t at)
{
    m->length--;
    memmove(&m->list[at], &m->list[at + 1], (m->length - at) * sizeof m->list[0]);
}

static void model_push(struct model *m, struct item *item)
{
    size_t at = m->length;
    while (m->sorted && at > 0 && sign_of_keys(m->list[at - 1], item) > 0)
        at--;
    model_insert(m, at, item);
}

// The position of the item nearest to the end; SIZE_MAX when it is not there.
static size_t model_find(const struct model *m, const struct item *item)
{
    for (size_t at = m->length; at > 0; at--)
        if (m->list[at - 1] == item)
            return at - 1;
    return SIZE_MAX;
}

static bool model_cancel(struct model *m, const struct item *item)
{
    size_t at = model_find(m, item);
    if (at == SIZE_MAX)
        return false;
    model_remove(m, at);
    return true;
}

static bool model_move_to_front(struct model *m, struct item *item)
{
    if (!model_cancel(m, item))
        return false;
    model_insert(m, 0, item);
    return true;
}

// Stable.
static void model_sort(struct model *m)
{
    for (size_t i = 1; i < m->length; i++) {
        struct item *item = m->list[i];
        size_t at = i;
        for (; at > 0 && sign_of_keys(m->list[at - 1], item) > 0; at--)
            m->list[at] = m->list[at - 1];
        m->list[at] = item;
    }
}

// ---------------------------------------------------------------------------------------------
// Both side by side
// ---------------------------------------------------------------------------------------------

struct order {
    smolscale_queue *queue;
    struct model model;
    struct counter entered, open; // of the job that keeps the queue busy meanwhile
    struct item gate;
    size_t length;
    struct item *started[ITEMS_MAX];
    struct item item[ITEMS_MAX];
    size_t items;
};

static void start_item(void *item, void *user_data)
{
    struct order *order = user_data;
    if (item == &order->gate) {
        counter_add(&order->entered, 1);
        counter_wait(&order->open, 1);
        return;
    }
    order->started[order->length++] = item;
}

static struct order *order_new(bool sorted)
{
    struct order *order = calloc(1, sizeof *order);
    order->queue = queue_new(start_item, order, 0);
    order->model.sorted = sorted;
    if (sorted)
        ck_assert_int_eq(smolscale_queue_set_compare(order->queue, compare_items, NULL), 0);
    return order;
}

static void order_push(struct order *order, int key)
{
    struct item *item = &order->item[order->items];
    item->key = key;
    item->serial = (unsigned)order->items++;
    ck_assert_int_eq(smolscale_queue_push(order->queue, item, &item->ticket), 0);
    model_push(&order->model, item);
}

static void ck_bool_eq(const char *what, const struct item *item, bool expected, bool got)
{
    ck_assert_msg(expected == got, "%s of item %u (key %d): expected %d, got %d", what,
                  item->serial, item->key, expected, got);
}

static void ck_orders_eq(struct order *order)
{
    for (size_t i = 0; i < order->model.length && i < order->length; i++)
        ck_assert_msg(order->started[i] == order->model.list[i],
                      "position %zu: expected item %u (key %d), got item %u (key %d)", i,
                      order->model.list[i]->serial, order->model.list[i]->key,
                      order->started[i]->serial, order->started[i]->key);
    ck_assert_uint_eq(order->length, order->model.length);
}

static void order_run_and_compare(struct order *order)
{
    ck_assert_uint_eq(smolscale_queue_pending(order->queue), order->model.length);
    ck_assert_int_eq(smolscale_queue_set_max_active(order->queue, 1), 0);
    smolscale_queue_wait(order->queue);
    ck_orders_eq(order);
}

static void order_free(struct order *order)
{
    smolscale_queue_free(order->queue);
    free(order);
}

// One random operation on both. `kinds`: how many of the operations below take part.
enum operation { PUSH, PUSH_AHEAD, MOVE, CANCEL, CANCEL_UNTICKETED, SORT, UNSORT, OPERATIONS };

static void random_operation(struct order *order, uint64_t *state, unsigned keys, unsigned kinds)
{
    struct item *item = order->items ? &order->item[test_random(state) % order->items] : NULL;
    switch (item ? (enum operation)(test_random(state) % kinds) : PUSH) {
    case PUSH_AHEAD: // of all, or nearly
        order_push(order, -(int)(test_random(state) % 3));
        break;
    case MOVE:
        ck_bool_eq("move_to_front", item, model_move_to_front(&order->model, item),
                   smolscale_queue_move_to_front(order->queue, item));
        break;
    case CANCEL:
        ck_bool_eq("cancel", item, model_cancel(&order->model, item),
                   smolscale_queue_cancel(order->queue, item, item->ticket));
        break;
    case CANCEL_UNTICKETED:
        ck_bool_eq("cancel without ticket", item, model_cancel(&order->model, item),
                   smolscale_queue_cancel(order->queue, item, 0));
        break;
    case SORT:
        order->model.sorted = true;
        model_sort(&order->model);
        ck_assert_int_eq(smolscale_queue_set_compare(order->queue, compare_items, NULL), 0);
        break;
    case UNSORT:
        order->model.sorted = false;
        ck_assert_int_eq(smolscale_queue_set_compare(order->queue, NULL, NULL), 0);
        break;
    default:
        order_push(order, (int)(test_random(state) % keys));
    }
}

// Operations on a paused queue, then all items run.
static void random_orders(bool sorted, unsigned keys, unsigned kinds, unsigned operations,
                          unsigned rounds)
{
    uint64_t state = keys * 1000 + kinds;
    for (unsigned round = 0; round < rounds; round++) {
        struct order *order = order_new(sorted);
        unsigned n = test_random(&state) % operations + 1;
        for (unsigned i = 0; i < n; i++)
            random_operation(order, &state, keys, kinds);
        order_run_and_compare(order);
        order_free(order);
    }
}

START_TEST(a_fifo_queue_keeps_its_order_through_moves_and_cancels)
{
    random_orders(false, 8, SORT, 300, SCALED(400));
}
END_TEST

START_TEST(a_sorted_queue_starts_items_in_stable_order)
{
    random_orders(true, 8, MOVE, 300, SCALED(300));
    random_orders(true, 1000000, MOVE, 300, SCALED(100));
}
END_TEST

START_TEST(moved_items_stay_ahead_of_the_sorted_part_and_are_compared_from_the_last)
{
    random_orders(true, 4, CANCEL, 40, SCALED(2000));
    random_orders(true, 100, CANCEL, 300, SCALED(300));
}
END_TEST

START_TEST(a_sorted_queue_keeps_its_order_through_moves_and_cancels)
{
    random_orders(true, 8, SORT, 300, SCALED(400));
    random_orders(true, 1000, SORT, 2000, SCALED(20));
}
END_TEST

START_TEST(sorting_and_unsorting_a_filled_queue_follow_the_list)
{
    random_orders(true, 8, OPERATIONS, 60, SCALED(2000));
    random_orders(false, 50, OPERATIONS, 300, SCALED(300));
}
END_TEST

// The same while a job of the queue runs whose worker may have claimed the following items already.
static void random_orders_behind_a_job(bool sorted, unsigned kinds)
{
    uint64_t state = kinds + sorted;
    for (unsigned round = 0; round < SCALED(300); round++) {
        struct order *order = order_new(sorted);
        // many tiny jobs: the queue is worth claiming from in batches
        for (unsigned i = 0; i < 300; i++)
            order_push(order, (int)(test_random(&state) % 8));
        order_run_and_compare(order);
        order->length = order->model.length = order->items = 0;

        ck_assert_int_eq(smolscale_queue_set_max_active(order->queue, 0), 0);
        order->gate.key = -1000;
        push(order->queue, &order->gate);
        unsigned n = test_random(&state) % 200 + 1;
        for (unsigned i = 0; i < n; i++)
            order_push(order, (int)(test_random(&state) % 8));
        ck_assert_int_eq(smolscale_queue_set_max_active(order->queue, 1), 0);
        counter_wait(&order->entered, 1);
        n = test_random(&state) % 200;
        for (unsigned i = 0; i < n; i++) {
            random_operation(order, &state, 8, kinds);
            if (i % 16 == 0)
                ck_assert_uint_eq(smolscale_queue_pending(order->queue), order->model.length);
        }
        counter_add(&order->open, 1);
        smolscale_queue_wait(order->queue);
        ck_orders_eq(order);
        order_free(order);
    }
}

START_TEST(the_order_of_a_fifo_queue_holds_behind_a_running_job)
{
    random_orders_behind_a_job(false, SORT);
}
END_TEST

START_TEST(the_order_of_a_sorted_queue_holds_behind_a_running_job)
{
    random_orders_behind_a_job(true, SORT);
}
END_TEST

START_TEST(sorting_and_unsorting_hold_behind_a_running_job)
{
    random_orders_behind_a_job(true, OPERATIONS);
}
END_TEST

START_TEST(clear_returns_the_items_of_a_sorted_queue_in_order)
{
    uint64_t state = 5;
    for (unsigned round = 0; round < SCALED(200); round++) {
        struct order *order = order_new(true);
        for (unsigned i = 0; i < 100; i++)
            random_operation(order, &state, 8, SORT);
        size_t cleared = smolscale_queue_clear(order->queue, start_item, order);
        ck_assert_uint_eq(cleared, order->model.length);
        ck_orders_eq(order);
        order_free(order);
    }
}
END_TEST

START_TEST(equal_items_of_a_sorted_queue_are_first_in_first_out)
{
    random_orders(true, 1, PUSH_AHEAD, ITEMS_MAX, SCALED(20));
}
END_TEST

START_TEST(an_item_pushed_twice_is_moved_and_cancelled_from_the_end)
{
    struct order *order = order_new(false);
    struct item *twice = &order->item[0];
    order_push(order, 0);
    order_push(order, 1);
    push(order->queue, twice);
    model_push(&order->model, twice);
    order_push(order, 2);
    ck_assert(smolscale_queue_move_to_front(order->queue, twice));
    ck_assert(model_move_to_front(&order->model, twice));
    order_run_and_compare(order);
    order_free(order);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// What ordering costs, in comparisons
// ---------------------------------------------------------------------------------------------

static void skip(void *item, void *user_data)
{
    (void)item, (void)user_data;
}

// `moved`: one item that precedes all others has been moved to the front before.
static unsigned long count_comparisons(size_t n, int (*key)(size_t i, uint64_t *state), bool moved)
{
    struct item first = {.key = INT_MIN};
    struct item *item = calloc(n, sizeof *item);
    uint64_t state = 1;
    smolscale_queue *queue = queue_new(skip, NULL, 0);
    ck_assert_int_eq(smolscale_queue_set_compare(queue, compare_items, &comparisons), 0);
    push(queue, &first);
    if (moved)
        ck_assert(smolscale_queue_move_to_front(queue, &first));
    atomic_store(&comparisons, 0);
    for (size_t i = 0; i < n; i++) {
        item[i].key = key(i, &state);
        push(queue, &item[i]);
    }
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 1), 0);
    smolscale_queue_wait(queue);
    smolscale_queue_free(queue);
    free(item);
    return atomic_load(&comparisons);
}

static int random_key(size_t i, uint64_t *state)
{
    (void)i;
    return (int)(test_random(state) >> 2);
}
static int ascending_key(size_t i, uint64_t *state)
{
    (void)state;
    return (int)i;
}
static int descending_key(size_t i, uint64_t *state)
{
    (void)state;
    return -(int)i;
}
static int equal_key(size_t i, uint64_t *state)
{
    (void)i, (void)state;
    return 0;
}

START_TEST(ordering_n_items_takes_n_log_n_comparisons)
{
    static const struct {
        const char *name;
        int (*key)(size_t, uint64_t *);
    } input[] = {{"random", random_key},
                 {"ascending", ascending_key},
                 {"descending", descending_key},
                 {"equal", equal_key}};
    for (size_t n = 16; n <= SCALED(200000); n *= 8) {
        for (size_t k = 0; k < sizeof input / sizeof *input; k++) {
            unsigned long most = (unsigned long)(4.0 * (double)n * log2((double)n));
            for (unsigned moved = 0; moved < 2; moved++) {
                unsigned long got = count_comparisons(n, input[k].key, moved);
                ck_assert_msg(got <= most,
                              "%zu %s keys, %u moved: expected at most %lu comparisons, got %lu", n,
                              input[k].name, moved, most, got);
            }
        }
    }
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Who calls the compare function
// ---------------------------------------------------------------------------------------------

static pthread_t pusher;
static atomic_ulong calls, calls_by_others;

static int compare_and_see_who(const void *a, const void *b, void *compare_data)
{
    (void)compare_data;
    atomic_fetch_add(&calls, 1);
    if (!pthread_equal(pthread_self(), pusher))
        atomic_fetch_add(&calls_by_others, 1);
    return sign_of_keys(a, b);
}

// Takes items back, moves them, counts them and changes the limit.
static void *meddle(void *argument)
{
    struct order *order = argument;
    uint64_t state = 3;
    for (unsigned i = 0; i < 2000; i++) {
        struct item *item = &order->item[test_random(&state) % 400];
        if (i % 2)
            smolscale_queue_move_to_front(order->queue, item);
        else
            smolscale_queue_cancel(order->queue, item, 0);
        smolscale_queue_pending(order->queue);
        if (i % 100 == 0)
            smolscale_queue_set_max_active(order->queue, 1 + i / 100 % 3);
        if (i % 500 == 0)
            smolscale_queue_clear(order->queue, NULL, NULL);
    }
    return NULL;
}

static void count_start(void *item, void *user_data)
{
    (void)item, (void)user_data;
}

START_TEST(only_a_thread_that_pushes_or_sets_the_compare_function_calls_it)
{
    pusher = pthread_self();
    struct order *order = order_new(false);
    smolscale_queue_free(order->queue);
    order->queue = queue_new(count_start, NULL, 2);
    uint64_t state = 9;
    for (unsigned i = 0; i < 400; i++)
        order->item[i].key = (int)(test_random(&state) % 100);
    for (unsigned i = 0; i < 200; i++)
        push(order->queue, &order->item[i]);
    ck_assert_int_eq(smolscale_queue_set_compare(order->queue, compare_and_see_who, NULL), 0);
    pthread_t meddler = thread_start(meddle, order);
    for (unsigned round = 0; round < 50; round++)
        for (unsigned i = 0; i < 400; i++)
            push(order->queue, &order->item[i]);
    pthread_join(meddler, NULL);
    smolscale_queue_wait(order->queue);
    ck_assert_int_eq(smolscale_queue_set_compare(order->queue, NULL, NULL), 0);
    ck_assert_uint_eq(atomic_load(&calls_by_others), 0);
    ck_assert_uint_gt(atomic_load(&calls), 0);
    order_free(order);
}
END_TEST

static struct counter comparing = COUNTER_INIT, other_ran = COUNTER_INIT, running = COUNTER_INIT,
                      may_end = COUNTER_INIT;

static int compare_when_the_other_has_run(const void *a, const void *b, void *compare_data)
{
    (void)compare_data;
    counter_add(&comparing, 1);
    counter_wait(&other_ran, 1);
    return sign_of_keys(a, b);
}

static void block(void *item, void *user_data)
{
    (void)item, (void)user_data;
    counter_add(&running, 1);
    counter_wait(&may_end, 1);
}

static void *push_second(void *argument)
{
    struct order *order = argument;
    push(order->queue, &order->item[2]);
    return NULL;
}

static void note_that_it_ran(void *item, void *user_data)
{
    (void)item, (void)user_data;
    counter_add(&other_ran, 1);
}

START_TEST(a_compare_function_may_wait_for_a_job_of_another_queue)
{
    setenv("SMOLSCALE_WORKERS", "1", 1); // only the balancer can have that job run
    struct order *order = order_new(false);
    smolscale_queue_free(order->queue);
    order->queue = queue_new(block, NULL, 1);
    smolscale_queue *other = queue_new(note_that_it_ran, NULL, 1);
    push(order->queue, &order->item[0]);
    counter_wait(&running, 1);
    ck_assert_int_eq(
        smolscale_queue_set_compare(order->queue, compare_when_the_other_has_run, NULL), 0);
    push(order->queue, &order->item[1]);
    pthread_t thread = thread_start(push_second, order);
    counter_wait(&comparing, 1);
    push(other, item_of(0));
    counter_wait(&other_ran, 1);
    pthread_join(thread, NULL);
    counter_add(&may_end, 1);
    order_free(order);
    smolscale_queue_free(other);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Compare functions that are wrong
// ---------------------------------------------------------------------------------------------

static uint64_t whim = 7;

static int compare_by_whim(const void *a, const void *b, void *compare_data)
{
    (void)a, (void)b, (void)compare_data;
    return (int)(test_random(&whim) % 3) - 1; // under the queue's lock
}

static atomic_uint times_run[ITEMS_MAX];

static void count_item(void *item, void *user_data)
{
    (void)user_data;
    atomic_fetch_add(&times_run[number_of(item)], 1);
}

START_TEST(an_inconsistent_compare_function_loses_no_item)
{
    smolscale_queue *queue = queue_new(count_item, NULL, 2);
    ck_assert_int_eq(smolscale_queue_set_compare(queue, compare_by_whim, NULL), 0);
    for (unsigned i = 0; i < ITEMS_MAX; i++)
        push(queue, item_of(i));
    unsigned cancelled = 0;
    for (unsigned i = 0; i < ITEMS_MAX; i += 7) {
        smolscale_queue_move_to_front(queue, item_of((i * 3) % ITEMS_MAX));
        if (smolscale_queue_cancel(queue, item_of(i), 0)) {
            ck_assert_uint_eq(atomic_load(&times_run[i]), 0);
            atomic_store(&times_run[i], 1);
            cancelled++;
        }
    }
    smolscale_queue_free(queue);
    for (unsigned i = 0; i < ITEMS_MAX; i++)
        ck_assert_msg(atomic_load(&times_run[i]) == 1,
                      "item %u: expected 1 run, got %u (%u cancelled)", i,
                      atomic_load(&times_run[i]), cancelled);
}
END_TEST

int main(void)
{
    return test_suite("order",
                      (const TTest *[]){
                          a_fifo_queue_keeps_its_order_through_moves_and_cancels,
                          a_sorted_queue_starts_items_in_stable_order,
                          moved_items_stay_ahead_of_the_sorted_part_and_are_compared_from_the_last,
                          a_sorted_queue_keeps_its_order_through_moves_and_cancels,
                          sorting_and_unsorting_a_filled_queue_follow_the_list,
                          the_order_of_a_fifo_queue_holds_behind_a_running_job,
                          the_order_of_a_sorted_queue_holds_behind_a_running_job,
                          sorting_and_unsorting_hold_behind_a_running_job,
                          clear_returns_the_items_of_a_sorted_queue_in_order,
                          equal_items_of_a_sorted_queue_are_first_in_first_out,
                          an_item_pushed_twice_is_moved_and_cancelled_from_the_end,
                          ordering_n_items_takes_n_log_n_comparisons,
                          only_a_thread_that_pushes_or_sets_the_compare_function_calls_it,
                          a_compare_function_may_wait_for_a_job_of_another_queue,
                          an_inconsistent_compare_function_loses_no_item,
                          NULL,
                      });
}
