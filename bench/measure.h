// SPDX-License-Identifier: ISC
//
// What every benchmark program measures with: clocks, what the process used between two moments,
// percentiles, and how many threads it had at most. A program prints one line a figure,
//
//     name value unit
//
// and nothing else on standard output; bench/run.py reads these lines. A program that finds its
// work not done, done twice or done in the wrong order calls fail() instead: a fast wrong answer is
// no figure.

#ifndef SMOLSCALE_BENCH_MEASURE_H
#define SMOLSCALE_BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define NS_PER_US 1000ULL
#define NS_PER_MS 1000000ULL
#define NS_PER_S  1000000000ULL

// Nanoseconds of the monotonic clock.
static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

// Tells the CPU that this is a spin loop.
static inline void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Keeps the CPU busy until `ns` have passed on the clock (also while preempted).
void spin_clock(uint64_t ns);

// Keeps the CPU busy for a fixed amount of work: `rounds` dependent multiplications.
void spin_work(uint64_t rounds);

// How many rounds of spin_work take `ns` on this CPU, the best of several tries.
uint64_t calibrate_work(uint64_t ns);

// What the process spent since meter_start.
struct meter {
    uint64_t wall_ns;
    uint64_t cpu_ns;
    uint64_t switches; // context switches, voluntary or not
};

struct meter meter_start(void);
struct meter meter_stop(const struct meter *start);

// CPUs that this process may run on.
unsigned cpus_allowed(void);

// The most threads that lived at once so far, the first one included. Counted by a pthread_create
// of the program's own that the libraries below it find first; see measure.c.
unsigned peak_threads(void);

// Threads of the process right now, from /proc.
unsigned threads_now(void);

// Prints `name value unit`.
void figure(const char *name, double value, const char *unit);

// Prints the usual three of a metered stretch: wall and cpu, each for one of `count` pieces of work
// and in `unit` (ns, us, ms), and the context switches of the whole stretch.
void figure_meter(const struct meter *used, uint64_t count, const char *unit);

// The p-th percentile (0..100) of `values`, which get sorted.
uint64_t percentile(uint64_t *values, size_t count, double p);

// Prints why to standard error and ends the program with status 1.
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

// Exactly-once accounting without a shared counter in the measured path: each thread counts the
// jobs it ran in a cache line of its own. tally_sum() is exact once the jobs have ended.
void tally_one(void);
uint64_t tally_sum(void);
unsigned tally_threads(void); // how many threads ran at least one job
void tally_reset(void);       // only while no job runs

// "--name value" from the command line, or the default. `cpus` as a value means cpus_allowed().
long option(int argc, char **argv, const char *name, long otherwise);

#endif
