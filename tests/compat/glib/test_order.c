// SPDX-License-Identifier: ISC
//
// The order in which items start: by their push, by a sort function, and with items moved to the
// front. A frozen pool is filled, then one thread empties it, so that the order is exact.

#include "support.h"

#define MOST_ITEMS 4000

// The order in which items ran.
struct record {
    struct counter ran;
    guint items[MOST_ITEMS];
};
#define RECORD_INIT         \
    {                       \
        .ran = COUNTER_INIT \
    }

static void record_item(gpointer item, gpointer record_pointer)
{
    struct record *record = record_pointer;
    record->items[counter_get(&record->ran)] = GPOINTER_TO_UINT(item);
    counter_add(&record->ran, 1);
}

static GThreadPool *frozen_pool(struct record *record)
{
    return new_pool(record_item, record, 0, false);
}

static void thaw_and_free(GThreadPool *pool)
{
    ck_assert(g_thread_pool_set_max_threads(pool, 1, NULL));
    g_thread_pool_free(pool, FALSE, TRUE);
}

static void expect_order(struct record *record, const guint *items, size_t count)
{
    ck_assert_uint_eq(counter_get(&record->ran), count);
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(record->items[i] == items[i], "place %zu: expected item %u, got %u", i,
                      items[i], record->items[i]);
}

#define EXPECT_ORDER(record, ...)                           \
    do {                                                    \
        const guint items_[] = {__VA_ARGS__};               \
        expect_order(record, items_, G_N_ELEMENTS(items_)); \
    } while (0)

#define PUSH(pool, ...)                                      \
    do {                                                     \
        const guint items_[] = {__VA_ARGS__};                \
        for (size_t i_ = 0; i_ < G_N_ELEMENTS(items_); i_++) \
            push(pool, items_[i_]);                          \
    } while (0)

// By the tens: 13 and 17 are equal to it. `user_data` counts the comparisons.
static gint compare_tens(gconstpointer a, gconstpointer b, gpointer count)
{
    if (count != NULL)
        ++*(gulong *)count;
    return (gint)GPOINTER_TO_UINT(a) / 10 - (gint)GPOINTER_TO_UINT(b) / 10;
}

static gint compare_tens_downwards(gconstpointer a, gconstpointer b, gpointer count)
{
    return compare_tens(b, a, count);
}

// ---------------------------------------------------------------------------------------------
// By push and by sort function
// ---------------------------------------------------------------------------------------------

START_TEST(items_start_in_the_order_of_their_push)
{
    struct record record = RECORD_INIT;
    GThreadPool *pool = frozen_pool(&record);
    PUSH(pool, 5, 3, 9, 1, 9, 2);
    thaw_and_free(pool);
    EXPECT_ORDER(&record, 5, 3, 9, 1, 9, 2);
}
END_TEST

START_TEST(items_start_in_the_order_of_the_sort_function)
{
    struct record record = RECORD_INIT;
    GThreadPool *pool = frozen_pool(&record);
    g_thread_pool_set_sort_function(pool, compare_tens, NULL);
    PUSH(pool, 50, 30, 90, 10, 40, 20);
    thaw_and_free(pool);
    EXPECT_ORDER(&record, 10, 20, 30, 40, 50, 90);
}
END_TEST

START_TEST(equal_items_start_in_the_order_of_their_push)
{
    struct record record = RECORD_INIT;
    GThreadPool *pool = frozen_pool(&record);
    g_thread_pool_set_sort_function(pool, compare_tens, NULL);
    PUSH(pool, 23, 11, 29, 17, 21, 13, 12, 20);
    thaw_and_free(pool);
    EXPECT_ORDER(&record, 11, 17, 13, 12, 23, 29, 21, 20);
}
END_TEST

START_TEST(a_sort_function_sorts_what_is_already_queued)
{
    struct record record = RECORD_INIT;
    GThreadPool *pool = frozen_pool(&record);
    PUSH(pool, 23, 11, 29, 17, 21);
    g_thread_pool_set_sort_function(pool, compare_tens, NULL);
    PUSH(pool, 15, 25, 5);
    thaw_and_free(pool);
    EXPECT_ORDER(&record, 5, 11, 17, 15, 23, 29, 21, 25);
}
END_TEST

START_TEST(another_sort_function_sorts_anew)
{
    struct record record = RECORD_INIT;
    GThreadPool *pool = frozen_pool(&record);
    g_thread_pool_set_sort_function(pool, compare_tens, NULL);
    PUSH(pool, 23, 11, 35, 29, 17);
    g_thread_pool_set_sort_function(pool, compare_tens_downwards, NULL);
    PUSH(pool, 18, 40, 22);
    thaw_and_free(pool);
    EXPECT_ORDER(&record, 40, 35, 23, 29, 22, 11, 17, 18);
}
END_TEST

START_TEST(without_sort_function_the_order_stays_and_items_are_appended)
{
    struct record record = RECORD_INIT;
    GThreadPool *pool = frozen_pool(&record);
    g_thread_pool_set_sort_function(pool, compare_tens, NULL);
    PUSH(pool, 30, 10, 20);
    g_thread_pool_set_sort_function(pool, NULL, NULL);
    PUSH(pool, 5, 25, 1);
    thaw_and_free(pool);
    EXPECT_ORDER(&record, 10, 20, 30, 5, 25, 1);
}
END_TEST

START_TEST(the_sort_function_gets_its_user_data)
{
    struct record record = RECORD_INIT;
    gulong comparisons = 0;
    GThreadPool *pool = frozen_pool(&record);
    g_thread_pool_set_sort_function(pool, compare_tens, &comparisons);
    PUSH(pool, 30, 10);
    thaw_and_free(pool);
    ck_assert_uint_ge(comparisons, 1);
    EXPECT_ORDER(&record, 10, 30);
}
END_TEST

START_TEST(sorted_items_of_a_running_pool_overtake_those_that_wait)
{
    struct record record = RECORD_INIT;
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, 1, _i == 1);
    push(pool, 1);
    counter_wait(&gate.started, 1);
    pool->func = record_item;
    pool->user_data = &record;
    g_thread_pool_set_sort_function(pool, compare_tens, NULL);
    PUSH(pool, 40, 20, 30, 21, 10);
    gate_open(&gate);
    g_thread_pool_free(pool, FALSE, TRUE);
    EXPECT_ORDER(&record, 10, 20, 21, 30, 40);
}
END_TEST

struct talkative {
    GThreadPool *other;
    struct counter heard;
};

static gint compare_and_tell(gconstpointer a, gconstpointer b, gpointer talkative)
{
    push(((struct talkative *)talkative)->other, 1);
    return compare_tens(a, b, NULL);
}

static void hear(gpointer item, gpointer talkative)
{
    (void)item;
    counter_add(&((struct talkative *)talkative)->heard, 1);
}

START_TEST(a_sort_function_can_push_to_another_pool)
{
    struct record record = RECORD_INIT;
    struct talkative talkative = {NULL, COUNTER_INIT};
    talkative.other = new_pool(hear, &talkative, 1, false);
    GThreadPool *pool = frozen_pool(&record);
    g_thread_pool_set_sort_function(pool, compare_and_tell, &talkative);
    PUSH(pool, 50, 30, 90, 10, 40, 20);
    counter_wait(&talkative.heard, 5);
    thaw_and_free(pool);
    g_thread_pool_free(talkative.other, FALSE, TRUE);
    EXPECT_ORDER(&record, 10, 20, 30, 40, 50, 90);
}
END_TEST

static GRecMutex pushers_lock;
static GThread *the_pusher;
static gint calls_by_others;

static gint compare_under_the_pushers_lock(gconstpointer a, gconstpointer b, gpointer unused)
{
    (void)unused;
    if (g_thread_self() != the_pusher)
        g_atomic_int_inc(&calls_by_others);
    g_rec_mutex_lock(&pushers_lock);
    gint order = compare_tens(a, b, NULL);
    g_rec_mutex_unlock(&pushers_lock);
    return order;
}

static void count_item(gpointer item, gpointer ran)
{
    (void)item;
    counter_add(ran, 1);
}

START_TEST(a_sort_function_is_called_by_pushers_only_and_may_take_a_lock_that_they_hold)
{
    enum { ROUNDS = 500, ITEMS = 50 };
    struct counter ran = COUNTER_INIT;
    the_pusher = g_thread_self();
    GThreadPool *pool = new_pool(count_item, &ran, 2, false);
    g_thread_pool_set_sort_function(pool, compare_under_the_pushers_lock, NULL);
    for (guint round = 0; round < ROUNDS; round++) {
        g_rec_mutex_lock(&pushers_lock);
        for (guint i = 0; i < ITEMS; i++)
            push(pool, 1 + i * 37 % 1000);
        g_rec_mutex_unlock(&pushers_lock);
    }
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&ran), ROUNDS * ITEMS);
    ck_assert_int_eq(g_atomic_int_get(&calls_by_others), 0);
}
END_TEST

START_TEST(twenty_thousand_sorted_pushes_take_few_comparisons)
{
    ONLY_PRELOADED; // natively the number is quadratic
    static struct record record = RECORD_INIT;
    gulong comparisons = 0;
    guint64 seed = 1;
    GThreadPool *pool = frozen_pool(&record);
    g_thread_pool_set_sort_function(pool, compare_tens, &comparisons);
    for (guint i = 0; i < 20000; i++)
        push(pool, 1 + test_random(&seed) % 1000000);
    ck_assert_uint_lt(comparisons, 20000 * 2 * 15); // log2(20000) is 14.3
    g_thread_pool_free(pool, TRUE, TRUE);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// To the front
// ---------------------------------------------------------------------------------------------

START_TEST(an_item_moved_to_the_front_starts_next)
{
    struct record record = RECORD_INIT;
    GThreadPool *pool = frozen_pool(&record);
    PUSH(pool, 1, 2, 3, 4, 5);
    ck_assert(g_thread_pool_move_to_front(pool, ITEM(4)));
    ck_assert(g_thread_pool_move_to_front(pool, ITEM(2)));
    ck_assert(g_thread_pool_move_to_front(pool, ITEM(2)));
    thaw_and_free(pool);
    EXPECT_ORDER(&record, 2, 4, 1, 3, 5);
}
END_TEST

START_TEST(an_item_that_is_not_queued_cannot_be_moved)
{
    struct record record = RECORD_INIT;
    GThreadPool *pool = frozen_pool(&record);
    PUSH(pool, 1, 2);
    ck_assert(!g_thread_pool_move_to_front(pool, ITEM(3)));
    ck_assert(g_thread_pool_set_max_threads(pool, 1, NULL));
    counter_wait(&record.ran, 2);
    ck_assert(!g_thread_pool_move_to_front(pool, ITEM(2)));
    g_thread_pool_free(pool, FALSE, TRUE);
    EXPECT_ORDER(&record, 1, 2);
}
END_TEST

START_TEST(of_equal_items_the_one_pushed_last_is_moved)
{
    struct record record = RECORD_INIT;
    GThreadPool *pool = frozen_pool(&record);
    PUSH(pool, 1, 7, 2, 7, 3);
    ck_assert(g_thread_pool_move_to_front(pool, ITEM(7)));
    thaw_and_free(pool);
    EXPECT_ORDER(&record, 7, 1, 7, 2, 3);
}
END_TEST

START_TEST(an_item_moved_to_the_front_of_sorted_ones_starts_next)
{
    struct record record = RECORD_INIT;
    GThreadPool *pool = frozen_pool(&record);
    g_thread_pool_set_sort_function(pool, compare_tens, NULL);
    PUSH(pool, 10, 20, 30, 40);
    ck_assert(g_thread_pool_move_to_front(pool, ITEM(30)));
    thaw_and_free(pool);
    EXPECT_ORDER(&record, 30, 10, 20, 40);
}
END_TEST

START_TEST(a_moved_item_is_overtaken_only_by_one_that_beats_it_and_all_sorted_ones)
{
    struct record record = RECORD_INIT;
    GThreadPool *pool = frozen_pool(&record);
    g_thread_pool_set_sort_function(pool, compare_tens, NULL);
    PUSH(pool, 20, 30, 40);
    ck_assert(g_thread_pool_move_to_front(pool, ITEM(40)));
    push(pool, 25); // beats 40 but not 20: sorted in behind 20
    push(pool, 21); // equal to 20
    push(pool, 10); // beats 20, and so gets to 40, and beats it too
    thaw_and_free(pool);
    EXPECT_ORDER(&record, 10, 40, 20, 25, 21, 30);
}
END_TEST

START_TEST(a_moved_item_stops_one_that_beats_all_sorted_ones_but_not_it)
{
    struct record record = RECORD_INIT;
    GThreadPool *pool = frozen_pool(&record);
    g_thread_pool_set_sort_function(pool, compare_tens, NULL);
    PUSH(pool, 50, 60, 10);
    ck_assert(g_thread_pool_move_to_front(pool, ITEM(60)));
    ck_assert(g_thread_pool_move_to_front(pool, ITEM(10)));
    push(pool, 40); // beats 50 and 60, not 10
    thaw_and_free(pool);
    EXPECT_ORDER(&record, 10, 40, 60, 50);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Everything together
// ---------------------------------------------------------------------------------------------

// A queue as simple as can be; items[0] starts next.
struct model {
    guint items[MOST_ITEMS];
    size_t count;
    GCompareDataFunc compare;
};

static void model_insert(struct model *model, size_t at, guint item)
{
    memmove(&model->items[at + 1], &model->items[at], (model->count - at) * sizeof(guint));
    model->items[at] = item;
    model->count++;
}

static gint model_compare(struct model *model, guint a, guint b)
{
    return model->compare(ITEM(a), ITEM(b), NULL);
}

// From the end, past all that are to start later.
static void model_push(struct model *model, guint item)
{
    size_t at = model->count;
    while (model->compare != NULL && at > 0 && model_compare(model, model->items[at - 1], item) > 0)
        at--;
    model_insert(model, at, item);
}

static void model_sort(struct model *model, GCompareDataFunc compare)
{
    struct model old = *model;
    model->compare = compare;
    if (compare == NULL)
        return;
    model->count = 0;
    for (size_t i = 0; i < old.count; i++)
        model_push(model, old.items[i]);
}

static bool model_move_to_front(struct model *model, guint item)
{
    for (size_t at = model->count; at-- > 0;) {
        if (model->items[at] != item)
            continue;
        memmove(&model->items[at], &model->items[at + 1], (--model->count - at) * sizeof(guint));
        model_insert(model, 0, item);
        return true;
    }
    return false;
}

// One random sequence of calls on a pool and on the model.
static void compare_with_model(guint64 seed, guint calls)
{
    static struct model model;
    static struct record record;
    record = (struct record)RECORD_INIT;
    model.count = 0;
    model.compare = NULL;
    GThreadPool *pool = frozen_pool(&record);
    guint range = 1 + test_random(&seed) % 200;
    for (guint i = 0; i < calls; i++) {
        guint item = 1 + test_random(&seed) % range;
        switch (test_random(&seed) % 16) {
        case 0: {
            static const GCompareDataFunc orders[] = {NULL, compare_tens, compare_tens_downwards};
            GCompareDataFunc order = orders[test_random(&seed) % G_N_ELEMENTS(orders)];
            g_thread_pool_set_sort_function(pool, order, NULL);
            model_sort(&model, order);
            break;
        }
        case 1:
        case 2:
        case 3:
            ck_assert_int_eq(g_thread_pool_move_to_front(pool, ITEM(item)),
                             model_move_to_front(&model, item));
            break;
        default:
            push(pool, item);
            model_push(&model, item);
        }
        ck_assert_uint_eq(g_thread_pool_unprocessed(pool), model.count);
    }
    thaw_and_free(pool);
    expect_order(&record, model.items, model.count);
}

START_TEST(any_mixture_of_push_sort_and_move_keeps_the_order_of_the_model)
{
    for (guint64 seed = 1; seed <= 300; seed++)
        compare_with_model(seed, 100);
    for (guint64 seed = 301; seed <= 310; seed++)
        compare_with_model(seed, MOST_ITEMS / 2);
}
END_TEST

int main(void)
{
    const struct test tests[] = {
        {items_start_in_the_order_of_their_push, 1},
        {items_start_in_the_order_of_the_sort_function, 1},
        {equal_items_start_in_the_order_of_their_push, 1},
        {a_sort_function_sorts_what_is_already_queued, 1},
        {another_sort_function_sorts_anew, 1},
        {without_sort_function_the_order_stays_and_items_are_appended, 1},
        {the_sort_function_gets_its_user_data, 1},
        {sorted_items_of_a_running_pool_overtake_those_that_wait, 2},
        {a_sort_function_can_push_to_another_pool, 1},
        {a_sort_function_is_called_by_pushers_only_and_may_take_a_lock_that_they_hold, 1},
        {twenty_thousand_sorted_pushes_take_few_comparisons, 1},
        {an_item_moved_to_the_front_starts_next, 1},
        {an_item_that_is_not_queued_cannot_be_moved, 1},
        {of_equal_items_the_one_pushed_last_is_moved, 1},
        {an_item_moved_to_the_front_of_sorted_ones_starts_next, 1},
        {a_moved_item_is_overtaken_only_by_one_that_beats_it_and_all_sorted_ones, 1},
        {a_moved_item_stops_one_that_beats_all_sorted_ones_but_not_it, 1},
        {any_mixture_of_push_sort_and_move_keeps_the_order_of_the_model, 1},
        {NULL, 0},
    };
    return test_suite("order", tests);
}
