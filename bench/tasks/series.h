// SPDX-License-Identifier: ISC
//
// Times an iteration again and again, in batches so long that reading the clock does not count. One
// benchmark a process, hence one series:
//
//     uint64_t left;
//     EACH_ITERATION(left) {
//         ...
//     }
//     series_print();
//
// In an async function `left` lives in the frame.

#ifndef SMOLSCALE_BENCH_TASKS_SERIES_H
#define SMOLSCALE_BENCH_TASKS_SERIES_H

#include <stdint.h>

#define EACH_ITERATION(left)             \
    while (((left) = series_next()) > 0) \
        for (; (left) > 0; (left)--)

// How many iterations to do next; 0 when it has been enough.
uint64_t series_next(void);

// All iterations so far, those of the warm-up included.
uint64_t series_iterations(void);

// Prints the median and the 99th percentile of the batches' means.
void series_print(void);

#endif
