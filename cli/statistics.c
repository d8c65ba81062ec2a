// SPDX-License-Identifier: ISC
//
// The signed-rank test asks whether the differences of pairs lie round zero; its exact distribution
// is counted out, with ties. The interval inverts the same test: it is made of the ordered means of
// all two differences (Walsh averages), cut off at both ends where the test would reject.
//
// Wilcoxon, Biometrics Bulletin 1 (1945); Hodges and Lehmann, Annals of Mathematical Statistics 34
// (1963).

#include "statistics.h"

#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double middle(const double *sorted, size_t n)
{
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

struct spread spread_of(const double *values, size_t n)
{
    double *sorted = must_grow(NULL, n, sizeof *sorted);
    memcpy(sorted, values, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, ascending);
    struct spread spread = {sorted[0], middle(sorted, n), sorted[n - 1]};
    free(sorted);
    return spread;
}

// ---- the signed-rank test ----

// Ranks are doubled, so that those of ties, which share their mean, stay whole numbers.
struct ranked {
    double size;
    bool positive;
};

static int by_size(const void *a, const void *b)
{
    return ascending(&((const struct ranked *)a)->size, &((const struct ranked *)b)->size);
}

// The chance of each sum of ranks, if each rank is added or not by the toss of a coin. `chance` has
// sum + 1 places.
static void sum_chances(const unsigned *ranks, size_t n, double *chance, size_t sum)
{
    memset(chance, 0, (sum + 1) * sizeof *chance);
    chance[0] = 1;
    size_t reached = 0;
    for (size_t i = 0; i < n; i++) {
        reached += ranks[i];
        for (size_t s = reached + 1; s-- > 0;)
            chance[s] = (chance[s] + (s >= ranks[i] ? chance[s - ranks[i]] : 0)) / 2;
    }
}

// The chance that a sum is as far from its mean as `observed`, or farther.
static double two_sided(const unsigned *ranks, size_t n, size_t observed, size_t sum)
{
    double *chance = must_grow(NULL, sum + 1, sizeof *chance);
    sum_chances(ranks, n, chance, sum);
    size_t tail = observed < sum - observed ? observed : sum - observed;
    double p = 0;
    for (size_t s = 0; s <= tail; s++)
        p += 2 * chance[s];
    free(chance);
    return p < 1 ? p : 1;
}

static double signed_rank(const double *differences, size_t n)
{
    struct ranked *ranked = must_grow(NULL, n, sizeof *ranked);
    unsigned *ranks = must_grow(NULL, n, sizeof *ranks);
    size_t count = 0, sum = 0, positive = 0;
    for (size_t i = 0; i < n; i++) {
        if (differences[i] != 0) // zeros say nothing about a direction
            ranked[count++] = (struct ranked){fabs(differences[i]), differences[i] > 0};
    }
    qsort(ranked, count, sizeof *ranked, by_size);
    for (size_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count && ranked[next].size == ranked[i].size;)
            next++;
        for (size_t j = i; j < next; j++) {
            ranks[j] = (unsigned)(i + 1 + next); // twice the mean of the places i + 1 to next
            sum += ranks[j];
            if (ranked[j].positive)
                positive += ranks[j];
        }
    }
    double p = count ? two_sided(ranks, count, positive, sum) : 1;
    free(ranked);
    free(ranks);
    return p;
}

// ---- the interval ----

// How many Walsh averages are cut off at each end for 95 % confidence, and the confidence that this
// gives. If even cutting off none gives less, then that.
static size_t cut_off(size_t n, double *level)
{
    size_t sum = n * (n + 1); // of the doubled ranks
    unsigned *ranks = must_grow(NULL, n, sizeof *ranks);
    double *chance = must_grow(NULL, sum + 1, sizeof *chance);
    for (size_t i = 0; i < n; i++)
        ranks[i] = 2 * (unsigned)(i + 1);
    sum_chances(ranks, n, chance, sum);
    size_t cut = 0;
    double tail = chance[0];
    while (cut < sum / 4 && tail + chance[2 * (cut + 1)] <= 0.025)
        tail += chance[2 * ++cut];
    free(ranks);
    free(chance);
    *level = 1 - 2 * tail;
    return cut;
}

struct ratio ratio_of(const double *first, const double *second, size_t n)
{
    struct ratio ratio = {.p = 1};
    for (size_t i = 0; i < n; i++) {
        if (!(first[i] > 0) || !(second[i] > 0))
            return ratio;
    }
    double *differences = must_grow(NULL, n, sizeof *differences);
    double *walsh = must_grow(NULL, n * (n + 1) / 2, sizeof *walsh);
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        differences[i] = log(second[i] / first[i]);
        for (size_t j = 0; j <= i; j++)
            walsh[count++] = (differences[i] + differences[j]) / 2;
    }
    qsort(walsh, count, sizeof *walsh, ascending);
    size_t cut = cut_off(n, &ratio.level);
    ratio.known = true;
    ratio.estimate = exp(middle(walsh, count));
    ratio.low = exp(walsh[cut]);
    ratio.high = exp(walsh[count - 1 - cut]);
    ratio.p = signed_rank(differences, n);
    free(differences);
    free(walsh);
    return ratio;
}
