// SPDX-License-Identifier: ISC
//
// A convolution (3x3, 64x64 pixels, 32 to 48 channels) and a fully-connected layer (48 channels to
// 40, for each pixel) through XNNPACK, which runs them on pthreadpool:
//
//     network [ROUNDS [THREADS [PERIOD]]]
//
// Prints, for pools of 1, 2 and 4 threads, or for one of THREADS only, the sum of all bits of the
// results of all rounds. With a PERIOD a round begins every so many milliseconds. Weights and
// pictures come from a fixed generator, so the lines are the same everywhere the arithmetic is.

#include <math.h>
#include <pthreadpool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xnnpack.h>

enum { side = 64, in_channels = 32, mid_channels = 48, out_channels = 40, slack = 64 };

static float *numbers(size_t count, uint64_t seed)
{
    float *values = calloc(count + slack, sizeof *values); // XNNPACK may read a little beyond
    for (size_t i = 0; values && i < count; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        values[i] = (float)((double)(seed >> 40) / (1 << 24) - 0.5);
    }
    return values;
}

static uint64_t hash(uint64_t h, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        h = (h ^ bits) * 1099511628211u;
    }
    return h;
}

static void must(enum xnn_status status, const char *what)
{
    if (status == xnn_status_success)
        return;
    fprintf(stderr, "%s: status %d\n", what, (int)status);
    exit(1);
}

// Waits until the next round is due; one that is late is not made up for.
static void wait_for_round(struct timespec *next, long period)
{
    if (!period)
        return;
    next->tv_nsec += period * 1000000;
    next->tv_sec += next->tv_nsec / 1000000000;
    next->tv_nsec %= 1000000000;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL);
    clock_gettime(CLOCK_MONOTONIC, next);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 20;
    size_t only = argc > 2 ? (size_t)atoi(argv[2]) : 0;
    long period = argc > 3 ? atol(argv[3]) : 0;
    const size_t pixels = side * side;
    float *middle = numbers(pixels * mid_channels, 0);
    float *result = numbers(pixels * out_channels, 0);
    float *kernel = numbers(mid_channels * 9 * in_channels, 2);
    float *bias = numbers(mid_channels, 3);
    float *matrix = numbers(out_channels * mid_channels, 4);
    float *offset = numbers(out_channels, 5);
    must(xnn_initialize(NULL), "initialize");

    xnn_operator_t convolution, connected;
    must(xnn_create_convolution2d_nhwc_f32(1, 1, 1, 1, 3, 3, 1, 1, 1, 1, 1, in_channels,
                                           mid_channels, in_channels, mid_channels, kernel, bias,
                                           -INFINITY, INFINITY, 0, &convolution),
         "create convolution");
    must(xnn_create_fully_connected_nc_f32(mid_channels, out_channels, mid_channels, out_channels,
                                           matrix, offset, -INFINITY, INFINITY, 0, &connected),
         "create fully connected");

    uint64_t first = 0;
    for (size_t threads = only ? only : 1; threads <= (only ? only : 4); threads *= 2) {
        float *picture = numbers(pixels * in_channels, 1);
        pthreadpool_t pool = pthreadpool_create(threads);
        uint64_t h = 14695981039346656037u;
        struct timespec next;
        clock_gettime(CLOCK_MONOTONIC, &next);
        for (int round = 0; round < rounds; round++) {
            wait_for_round(&next, period);
            picture[round % (int)pixels] += 1.0f;
            must(
                xnn_setup_convolution2d_nhwc_f32(convolution, 1, side, side, picture, middle, pool),
                "set up convolution");
            must(xnn_run_operator(convolution, pool), "run convolution");
            must(xnn_setup_fully_connected_nc_f32(connected, pixels, middle, result, pool),
                 "set up fully connected");
            must(xnn_run_operator(connected, pool), "run fully connected");
            h = hash(hash(h, middle, pixels * mid_channels), result, pixels * out_channels);
        }
        printf("%zu threads (%zu): %016llx\n", threads, pthreadpool_get_threads_count(pool),
               (unsigned long long)h);
        pthreadpool_destroy(pool);
        free(picture);
        if (threads == 1 || only)
            first = h;
        if (h != first) {
            fprintf(stderr, "%zu threads make another result than one\n", threads);
            return 1;
        }
    }
    return 0;
}
