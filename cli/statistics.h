// SPDX-License-Identifier: ISC
//
// Few paired measurements, judged without assuming how they are distributed.

#ifndef SMOLSCALE_CLI_STATISTICS_H
#define SMOLSCALE_CLI_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>

enum { MAX_PAIRS = 200 };

struct spread {
    double low, median, high; // smallest, middle and largest value
};

// Of n > 0 values.
struct spread spread_of(const double *values, size_t n);

// By what factor the second of each pair differs from the first.
struct ratio {
    bool known;       // false: a value is not above zero, so there is no ratio
    double estimate;  // Hodges-Lehmann: the median of the means of all two (also equal) log ratios
    double low, high; // the factor lies between these ...
    double level;     // ... with this confidence: at least 0.95, or what so few pairs allow
    double p;         // two-sided, of Wilcoxon's signed-rank test of "no difference"; exact
};

// Of n pairs, 0 < n <= MAX_PAIRS.
struct ratio ratio_of(const double *first, const double *second, size_t n);

#endif // SMOLSCALE_CLI_STATISTICS_H
