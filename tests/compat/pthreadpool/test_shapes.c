// SPDX-License-Identifier: ISC
//
// Every parallel function, one by one, by the table of shapes: for pools of no, 1, 2, 4 and 8
// threads and for sizes with all the edges, each index is visited exactly once, tiles begin and end
// where they must, and thread numbers and microarchitectures are those promised.
//
// What is expected is worked out here from ranges and tiles alone, not by the library's own loops.

#include "pthreadpool.h"
#include "shapes.h"

#include <check.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

enum { dims_max = 6, default_uarch = 7, max_uarch = 9 };

struct expectation {
    const char *name;
    int dims, tiled;
    bool dynamic, has_thread, has_uarch;
    size_t threads; // numbers are below this
    size_t range[dims_max];
    size_t tile[dims_max]; // 1 where there is none
    _Atomic unsigned *visits;
    _Atomic unsigned wrong; // calls with impossible arguments
};

// Checks one call of a callback and marks what it covers.
static void visited(struct expectation *e, uint64_t uarch, uint64_t thread, const size_t *v)
{
    size_t length[dims_max];
    int grown = 0; // dimensions with more than one tile
    for (int d = 0; d < e->dims; d++) {
        int t = d - (e->dims - e->tiled);
        length[d] = t >= 0 ? v[e->dims + t] : 1;
        size_t tile = e->tile[d];
        bool aligned = v[d] % tile == 0;
        bool inside = v[d] < e->range[d] && length[d] > 0 && length[d] <= e->range[d] - v[d];
        bool whole = length[d] % tile == 0 || v[d] + length[d] == e->range[d];
        grown += length[d] > tile;
        if (!aligned || !inside || !whole)
            e->wrong++;
        if (!inside)
            return;
    }
    if (grown > (e->dynamic ? 1 : 0))
        e->wrong++;
    if (e->has_thread && thread >= e->threads)
        e->wrong++;
    if (e->has_uarch && uarch != default_uarch)
        e->wrong++;

    size_t x[dims_max] = {0};
    for (;;) {
        size_t at = 0;
        for (int d = 0; d < e->dims; d++)
            at = at * e->range[d] + v[d] + x[d];
        e->visits[at]++;
        int d = e->dims - 1;
        while (d >= 0 && ++x[d] == length[d])
            x[d--] = 0;
        if (d < 0)
            return;
    }
}

// A callback and a call for every row of the tables.
#define BEFORE_PLAIN
#define BEFORE_THREAD   size_t thread,
#define BEFORE_THREAD32 uint32_t thread,
#define BEFORE_UARCH    uint32_t uarch,
#define BEFORE_BOTH     uint32_t uarch, size_t thread,
#define SEEN_PLAIN      0, 0
#define SEEN_THREAD     0, thread
#define SEEN_THREAD32   0, thread
#define SEEN_UARCH      uarch, 0
#define SEEN_BOTH       uarch, thread
#define GIVEN_PLAIN
#define GIVEN_THREAD
#define GIVEN_THREAD32
#define GIVEN_UARCH default_uarch, max_uarch,
#define GIVEN_BOTH  default_uarch, max_uarch,
#define RANGES_1(e) e->range[0]
#define RANGES_2(e) RANGES_1(e), e->range[1]
#define RANGES_3(e) RANGES_2(e), e->range[2]
#define RANGES_4(e) RANGES_3(e), e->range[3]
#define RANGES_5(e) RANGES_4(e), e->range[4]
#define RANGES_6(e) RANGES_5(e), e->range[5]
#define TILES_0(t)
#define TILES_1(t) , t[0]
#define TILES_2(t) TILES_1(t), t[1]
#define TILES_3(t) TILES_2(t), t[2]
#define TILES_4(t) TILES_3(t), t[3]

#define PARALLELIZE(NAME, DIMS, TILED, FORM, STEP, TYPE)                                        \
    static void on_##NAME(void *context, BEFORE_##FORM RANGE_PARAMS_##DIMS TILE_PARAMS_##TILED) \
    {                                                                                           \
        visited(context, SEEN_##FORM, (const size_t[]){RANGE_NAMES_##DIMS TILE_NAMES_##TILED}); \
    }                                                                                           \
    static void call_##NAME(pthreadpool_t pool, struct expectation *e, const size_t *tiles)     \
    {                                                                                           \
        (void)tiles;                                                                            \
        pthreadpool_parallelize_##NAME(pool, on_##NAME, e,                                      \
                                       GIVEN_##FORM RANGES_##DIMS(e) TILES_##TILED(tiles), 0);  \
    }
PARALLELIZE_TABLE(PARALLELIZE)

#define COMPUTE(NAME, DIMS, TILED, TYPE)                                                  \
    static void on_compute_##NAME(void *context, RANGE_PARAMS_##DIMS TILE_PARAMS_##TILED) \
    {                                                                                     \
        visited(context, 0, 0, (const size_t[]){RANGE_NAMES_##DIMS TILE_NAMES_##TILED});  \
    }                                                                                     \
    static void call_compute_##NAME(pthreadpool_t pool, struct expectation *e,            \
                                    const size_t *tiles)                                  \
    {                                                                                     \
        (void)tiles;                                                                      \
        pthreadpool_compute_##NAME(pool, on_compute_##NAME, e,                            \
                                   RANGES_##DIMS(e) TILES_##TILED(tiles));                \
    }
COMPUTE_TABLE(COMPUTE)

static const struct row {
    const char *name;
    int dims, tiled;
    const char *form, *step;
    void (*call)(pthreadpool_t, struct expectation *, const size_t *);
} rows[] = {
#define ROW(NAME, DIMS, TILED, FORM, STEP, TYPE) \
    {"parallelize_" #NAME, DIMS, TILED, #FORM, #STEP, call_##NAME},
    PARALLELIZE_TABLE(ROW)
#define COMPUTE_ROW(NAME, DIMS, TILED, TYPE) \
    {"compute_" #NAME, DIMS, TILED, "PLAIN", "fixed", call_compute_##NAME},
        COMPUTE_TABLE(COMPUTE_ROW)};

enum { row_count = sizeof rows / sizeof rows[0] };

// Sizes for up to six dimensions; a tile counts only where the shape has one.
static const struct sizes {
    const char *what;
    size_t range[dims_max];
    size_t tile[dims_max];
} all_sizes[] = {
    {"primes", {5, 3, 7, 3, 5, 11}, {2, 2, 3, 2, 3, 4}},
    {"tiles fit exactly", {4, 2, 6, 4, 6, 8}, {2, 2, 3, 2, 3, 4}},
    {"tile of one", {3, 5, 2, 3, 4, 5}, {1, 1, 1, 1, 1, 1}},
    {"tile larger than the range", {3, 4, 2, 3, 4, 5}, {9, 9, 9, 9, 9, 9}},
    {"only the innermost tile is larger", {6, 4, 8, 6, 7, 5}, {2, 2, 3, 2, 3, 9}},
    {"one item", {1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}},
    {"one row", {1, 1, 1, 1, 1, 13}, {3, 3, 3, 3, 3, 3}},
    {"one column", {17, 1, 1, 1, 1, 1}, {3, 3, 3, 3, 3, 3}},
    {"nothing in the first", {0, 3, 2, 3, 2, 3}, {2, 2, 2, 2, 2, 2}},
    {"nothing in the last", {3, 2, 3, 2, 3, 0}, {2, 2, 2, 2, 2, 2}},
    {"tile of nothing counts as one", {3, 4, 2, 3, 2, 5}, {0, 0, 0, 0, 0, 0}},
};

static void check(const struct row *row, const struct sizes *sizes, size_t threads)
{
    struct expectation e = {.name = row->name, .dims = row->dims, .tiled = row->tiled};
    size_t tiles[4] = {0};
    size_t total = 1;
    e.threads = threads ? threads : 1;
    e.dynamic = strcmp(row->step, "dynamic") == 0;
    e.has_thread = strncmp(row->form, "THREAD", 6) == 0 || strcmp(row->form, "BOTH") == 0;
    e.has_uarch = strcmp(row->form, "UARCH") == 0 || strcmp(row->form, "BOTH") == 0;
    for (int d = 0; d < row->dims; d++) {
        // The innermost dimensions of the sizes, so that "last" means last.
        int s = d == 0 ? 0 : dims_max - row->dims + d;
        if (row->dims == 1)
            s = sizes->range[0] == 0 || sizes->range[5] == 0 ? (sizes->range[0] ? 5 : 0) : 5;
        e.range[d] = sizes->range[s];
        int t = d - (row->dims - row->tiled);
        e.tile[d] = t >= 0 && sizes->tile[s] ? sizes->tile[s] : 1;
        if (t >= 0)
            tiles[t] = sizes->tile[s];
        total *= e.range[d];
    }
    e.visits = calloc(total + 1, sizeof *e.visits);
    ck_assert_ptr_nonnull(e.visits);
    pthreadpool_t pool = threads ? pthreadpool_create(threads) : NULL;
    ck_assert_uint_eq(pthreadpool_get_threads_count(pool), e.threads);
    // Twice: the second time the costs are known, and nobody is asked for help.
    for (unsigned round = 1; round <= 2; round++) {
        row->call(pool, &e, tiles);
        for (size_t i = 0; i < total; i++)
            ck_assert_msg(e.visits[i] == round,
                          "%s, %s, %zu threads: index %zu visited %u times in %u calls", row->name,
                          sizes->what, threads, i, e.visits[i], round);
    }
    ck_assert_msg(e.wrong == 0, "%s, %s, %zu threads: %u callbacks with wrong arguments", row->name,
                  sizes->what, threads, e.wrong);
    pthreadpool_destroy(pool);
    free((void *)e.visits);
}

START_TEST(visits_each_index_once_with_the_right_arguments)
{
    static const size_t pools[] = {0, 1, 2, 4, 8};
    for (size_t p = 0; p < sizeof pools / sizeof pools[0]; p++)
        for (size_t s = 0; s < sizeof all_sizes / sizeof all_sizes[0]; s++)
            check(&rows[_i], &all_sizes[s], pools[p]);
}
END_TEST

// The sum over all indices does not depend on the order, and a large range gives thieves time.
static void add(void *context, size_t i)
{
    atomic_fetch_add((_Atomic uint64_t *)context, (uint64_t)i * i + 1);
}

START_TEST(large_ranges_add_up)
{
    uint64_t expected = 0;
    for (uint64_t i = 0; i < 200000; i++)
        expected += i * i + 1;
    for (size_t threads = 2; threads <= 8; threads *= 2) {
        pthreadpool_t pool = pthreadpool_create(threads);
        for (int round = 0; round < 20; round++) {
            _Atomic uint64_t sum = 0;
            pthreadpool_parallelize_1d(pool, add, &sum, 200000, 0);
            ck_assert_uint_eq(sum, expected);
        }
        pthreadpool_destroy(pool);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pthreadpool shapes");
    TCase *each = tcase_create("each function");
    tcase_set_timeout(each, 300);
    tcase_add_loop_test(each, visits_each_index_once_with_the_right_arguments, 0, row_count);
    tcase_add_test(each, large_ranges_add_up);
    suite_add_tcase(suite, each);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
