// SPDX-License-Identifier: ISC
//
// The statistics of `smolscale compare` against their definitions, by brute force where that is
// possible.

#include "statistics.h"
#include "suite.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

static void assert_near(double value, double expected)
{
    ck_assert_msg(fabs(value - expected) < 1e-9, "%.12g instead of %.12g", value, expected);
}

// Pairs whose log ratios are the given numbers.
static struct ratio ratio_from_logs(const double *logs, size_t n)
{
    double first[MAX_PAIRS], second[MAX_PAIRS];
    for (size_t i = 0; i < n; i++) {
        first[i] = 1 + (double)i;
        second[i] = first[i] * exp(logs[i]);
    }
    return ratio_of(first, second, n);
}

START_TEST(spread_is_smallest_middle_largest)
{
    const double odd[] = {5, 1, 4};
    struct spread spread = spread_of(odd, 3);
    assert_near(spread.low, 1);
    assert_near(spread.median, 4);
    assert_near(spread.high, 5);
    const double even[] = {5, 1, 4, 2};
    assert_near(spread_of(even, 4).median, 3);
}
END_TEST

// The rank of each size among all, ties sharing their mean.
static double rank_of(const double *values, size_t n, size_t i)
{
    double smaller = 0, equal = 0;
    for (size_t j = 0; j < n; j++) {
        smaller += fabs(values[j]) < fabs(values[i]);
        equal += fabs(values[j]) == fabs(values[i]);
    }
    return smaller + (equal + 1) / 2;
}

// All 2^n ways to give the sizes signs: how many have a sum of ranks as far from the mean as the
// real one.
static double brute_force_p(const double *values, size_t n)
{
    double total = 0, observed = 0;
    for (size_t i = 0; i < n; i++) {
        total += rank_of(values, n, i);
        observed += values[i] > 0 ? rank_of(values, n, i) : 0;
    }
    unsigned extreme = 0;
    for (unsigned signs = 0; signs < 1u << n; signs++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += signs & (1u << i) ? rank_of(values, n, i) : 0;
        extreme += fabs(sum - total / 2) >= fabs(observed - total / 2) - 1e-9;
    }
    return extreme / (double)(1u << n);
}

// Pairs with exact differences: second = first * 2^k, so that ties stay ties.
static struct ratio ratio_from_powers(const double *powers, size_t n)
{
    double first[MAX_PAIRS], second[MAX_PAIRS];
    for (size_t i = 0; i < n; i++) {
        first[i] = 1;
        second[i] = exp2(powers[i]);
    }
    return ratio_of(first, second, n);
}

START_TEST(p_is_that_of_the_exact_test_with_ties)
{
    srand(1);
    for (int round = 0; round < 200; round++) {
        double powers[10];
        size_t n = 1 + (size_t)rand() % 10;
        for (size_t i = 0; i < n; i++)
            powers[i] = (1 + rand() % 4) * (rand() % 3 ? 1 : -1);
        assert_near(ratio_from_powers(powers, n).p, brute_force_p(powers, n));
    }
}
END_TEST

START_TEST(no_difference_at_all_is_none)
{
    const double logs[8] = {0};
    struct ratio ratio = ratio_from_logs(logs, 8);
    ck_assert(ratio.known);
    assert_near(ratio.estimate, 1);
    assert_near(ratio.low, 1);
    assert_near(ratio.high, 1);
    assert_near(ratio.p, 1);
}
END_TEST

START_TEST(interval_is_cut_where_the_tables_cut_it)
{
    // n, how many Walsh averages are cut off at each end (tables of the signed-rank test, 5 %
    // two-sided), confidence
    static const struct {
        size_t n, cut;
        double level;
    } table[] = {
        {6, 0, 1 - 2 / 64.}, {7, 2, 1 - 6 / 128.}, {8, 3, 1 - 10 / 256.}, {10, 8, 1 - 50 / 1024.}};
    for (size_t row = 0; row < sizeof table / sizeof *table; row++) {
        size_t n = table[row].n, larger = 0, smaller = 0;
        double logs[10], walsh[55];
        for (size_t i = 0; i < n; i++)
            logs[i] = sqrt(2. + (double)(i * i * i % 11)) - 2;
        size_t count = 0;
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j <= i; j++)
                walsh[count++] = (logs[i] + logs[j]) / 2;
        }
        struct ratio ratio = ratio_from_logs(logs, n);
        assert_near(ratio.level, table[row].level);
        for (size_t i = 0; i < count; i++) {
            smaller += walsh[i] < log(ratio.low) - 1e-9;
            larger += walsh[i] > log(ratio.high) + 1e-9;
        }
        ck_assert_uint_eq(smaller, table[row].cut);
        ck_assert_uint_eq(larger, table[row].cut);
    }
}
END_TEST

START_TEST(few_pairs_promise_no_more_than_they_can)
{
    const double logs[] = {0.1, 0.2, 0.3, 0.4, 0.5};
    struct ratio ratio = ratio_from_logs(logs, 5);
    assert_near(ratio.level, 1 - 2 / 32.);
    assert_near(ratio.p, 2 / 32.);
    assert_near(log(ratio.low), 0.1);
    assert_near(log(ratio.high), 0.5);
    assert_near(ratio_from_logs(logs, 1).level, 0);
}
END_TEST

START_TEST(values_without_a_ratio_are_said_to_have_none)
{
    const double first[] = {0, 1}, second[] = {1, 1};
    ck_assert(!ratio_of(first, second, 2).known);
    ck_assert(!ratio_of(second, first, 2).known);
}
END_TEST

START_TEST(as_many_pairs_as_allowed)
{
    double logs[MAX_PAIRS];
    for (size_t i = 0; i < MAX_PAIRS; i++)
        logs[i] = -0.2 - (double)i / 1e4;
    struct ratio ratio = ratio_from_logs(logs, MAX_PAIRS);
    ck_assert(ratio.p > 0 && ratio.p < 1e-30);
    ck_assert(ratio.level >= 0.95 && ratio.level < 0.951);
    ck_assert(ratio.low < ratio.estimate && ratio.estimate < ratio.high && ratio.high < 1);
}
END_TEST

int main(void)
{
    return run_tests("statistics", 300,
                     (const TTest *[]){
                         spread_is_smallest_middle_largest,
                         p_is_that_of_the_exact_test_with_ties,
                         no_difference_at_all_is_none,
                         interval_is_cut_where_the_tables_cut_it,
                         few_pairs_promise_no_more_than_they_can,
                         values_without_a_ratio_are_said_to_have_none,
                         as_many_pairs_as_allowed,
                         NULL,
                     });
}
