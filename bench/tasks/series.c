// SPDX-License-Identifier: ISC
//
// See series.h. While it warms up, a batch doubles until it takes 100 us; then it is measured for a
// second, or for as long as 20 batches take.

#include "series.h"

#include "measure.h"

#define BATCH (100 * NS_PER_US)
#ifdef SERIES_SHORT // on a simulated machine, where nothing disturbs
#define WARM_UP  (20 * NS_PER_MS)
#define MEASURED (20 * NS_PER_MS)
#else
#define WARM_UP  (300 * NS_PER_MS)
#define MEASURED NS_PER_S
#endif
#define AT_LEAST  20
#define PS_PER_NS 1000
#define PS_PER_US 1e6

static struct {
    uint64_t begin, last;
    uint64_t batch; // iterations of it; 0 before the first
    uint64_t iterations;
    size_t count;
    uint64_t ps[1 << 15]; // for one iteration: the means of the batches measured
} series;

uint64_t series_next(void)
{
    uint64_t now = now_ns();
    uint64_t took = now - series.last;
    series.iterations += series.batch;
    if (series.batch == 0) {
        series.begin = now;
        series.batch = 1;
    } else if (now < series.begin + WARM_UP) {
        if (took < BATCH)
            series.batch *= 2;
    } else {
        if (series.count == sizeof series.ps / sizeof series.ps[0])
            fail("more batches than there is room for");
        series.ps[series.count++] = took * PS_PER_NS / series.batch;
        if (now > series.begin + WARM_UP + MEASURED && series.count >= AT_LEAST)
            return 0;
    }
    series.last = now_ns();
    return series.batch;
}

uint64_t series_iterations(void)
{
    return series.iterations;
}

void series_print(void)
{
    figure("time", (double)percentile(series.ps, series.count, 50) / PS_PER_US, "us");
    figure("p99", (double)percentile(series.ps, series.count, 99) / PS_PER_US, "us");
}
