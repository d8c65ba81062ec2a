// SPDX-License-Identifier: ISC
//
// Fuzzes the reader of traces and all that is made of a trace, and the reader of counters: any file
// must be read without touching what is not its own, in bounded time.

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "counters.h"
#include "trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

// A slice lies in the trace, and rows are in order.
static void check(const struct trace *trace, const struct picture *picture)
{
    for (size_t i = 0; i < trace->thread_count; i++) {
        const struct row *row = &picture->rows[i];
        for (size_t k = 0; k < row->count; k++) {
            const struct slice *slice = &row->slices[k];
            assert(slice->start <= slice->end && slice->end <= trace->length);
            assert(slice->pool < trace->pool_count && slice->kind < SLICE_KINDS);
            assert(k == 0 || row->slices[k - 1].start <= slice->start);
        }
    }
}

static void read_trace(const uint8_t *bytes, size_t size)
{
    struct trace trace;
    char why[256] = "";
    if (trace_parse(&trace, bytes, size, why, sizeof why)) {
        struct picture picture;
        picture_make(&picture, &trace);
        check(&trace, &picture);
        picture_merge(&picture, &trace, 4);
        check(&trace, &picture);
        for (size_t i = 0; i < trace.pool_count; i++)
            assert(trace_quantile(&trace.pools[i], 500) <= trace_quantile(&trace.pools[i], 990));
        for (size_t i = 0; i < trace.thread_count; i++)
            free(trace_thread_name(&trace, &trace.threads[i]));
        picture_finish(&picture, &trace);
    } else {
        assert(why[0]);
    }
    trace_finish(&trace);
}

static void read_counters(const uint8_t *bytes, size_t size)
{
    FILE *file = size ? fmemopen((void *)(uintptr_t)bytes, size, "r") : NULL;
    struct counter counter;
    while (file && counters_next(file, &counter))
        assert(strlen(counter.name) > 0 && !strchr(counter.name, ' '));
    if (file)
        fclose(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    read_trace(bytes, size);
    read_counters(bytes, size);
    return 0;
}
