// SPDX-License-Identifier: ISC
//
// What the files of this benchmark share.

#ifndef SMOLSCALE_BENCH_TASKS_BENCH_H
#define SMOLSCALE_BENCH_TASKS_BENCH_H

#include "measure.h"

#include <smolscale_async.h>
#include <stdbool.h>

#define TASKS       300
#define LIGHT_TASKS 25000

// Ends the program unless what must hold holds.
#define MUST(condition)                                                \
    do {                                                               \
        if (!(condition))                                              \
            fail("%s:%d: not so: %s", __FILE__, __LINE__, #condition); \
    } while (0)

// A task that ends at once.
int light_task(smolscale_cx *cx, void *frame);

// Runs a benchmark's driver, whose frame begins as zeros, on the executor or on this thread.
void drive(smolscale_poll_fn *driver, size_t frame_size, bool outside);

// load.c: benchmarks whose driver is the main thread.
void part_load(uint64_t rate);
void idle(void);

#endif
