// SPDX-License-Identifier: ISC
//
// sim bench: benchmarks on 1 to 256 simulated CPUs. Each row is a ratio of two runs, or a time;
// beside it stands the same of the two yardsticks, where they can do it. A run is the same each
// time, but one step more or less may lead to another order of thousands. So a row is measured in
// several runs that differ by a few jobs, and its median counts.

#include "bench.h"

#include "../machine/sim.h"
#include "lines.h"
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS_MAX 99u

static const char *folder = "tests/sim/time/profiles";
static const char *profile_name; // NULL: the one that fits the number of CPUs
static unsigned only_cpus, where_lines, runs = 5;
static unsigned variant; // 0 to runs - 1: how many jobs more than the row says
static bool details, has_failed;

static struct sim_profile machine(unsigned cpus)
{
    struct sim_profile profile;
    const char *name = profile_name ? profile_name
                       : cpus <= 16 ? "desktop-16"
                       : cpus <= 64 ? "sockets-64"
                                    : "nodes-256";
    if (!sim_profile_read(&profile, folder, name))
        exit(2);
    profile.cpus = cpus;
    return profile;
}

static struct sim_measured run(unsigned cpus, const struct sim_load *load)
{
    struct sim_profile profile = machine(cpus);
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    struct sim_measured m = sim_measure(&profile, load);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (!m.good) {
        printf("    FAILED on %u CPUs, %s: %s\n", cpus, load->pool ? load->pool->name : "tasks",
               sim.failure);
        has_failed = true;
    } else if (details) {
        printf(
            "    %3u CPUs %-13s %9.0f ns wall, %8.0f ns CPU, %.3f wakes, %.2f lines, %6.0f ns of waiting for "
            "them, %.2f calls, %.2f switches a job; %u threads; p50 %.1f p99 %.1f max %.1f us  [%.1f s]\n",
            cpus, load->pool ? load->pool->name : "tasks", (double)m.wall_ns / m.jobs,
            (double)m.cpu_ns / m.jobs, (double)m.wakes / m.jobs, (double)m.transfers / m.jobs,
            (double)m.waited_ns / m.jobs, (double)m.calls / m.jobs, (double)m.switches / m.jobs,
            m.threads, (double)m.p50_ns / 1e3, (double)m.p99_ns / 1e3, (double)m.max_ns / 1e3,
            (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
        if (where_lines)
            sim_lines_print(where_lines);
        fflush(stdout);
    }
    return m;
}

static struct sim_load varied(const struct sim_load *load)
{
    struct sim_load l = *load;
    l.jobs += l.jobs && !l.blocked ? variant : 0;
    l.blocked += l.blocked ? variant : 0;
    l.hops += l.ring_size * variant;
    l.spawns += l.spawns ? variant : 0;
    l.yields += l.yields ? variant : 0;
    return l;
}

// A run is the same each time: what several rows or yardsticks ask for is run once.
static struct sim_measured measure(unsigned cpus, const struct sim_load *of)
{
    const struct sim_load varied_load = varied(of), *load = &varied_load;
    static struct {
        unsigned cpus;
        struct sim_load load;
        struct sim_measured measured;
    } known[1024];
    static unsigned count;
    for (unsigned i = 0; i < count; i++)
        if (known[i].cpus == cpus && memcmp(&known[i].load, load, sizeof *load) == 0)
            return known[i].measured;
    struct sim_measured measured = run(cpus, load);
    if (count < sizeof known / sizeof *known) {
        known[count].cpus = cpus;
        known[count].load = *load;
        known[count++].measured = measured;
    }
    return measured;
}

// ---- rows

typedef double row_fn(const struct sim_pool *pool, unsigned cpus);

static double efficiency(const struct sim_measured *m, unsigned cpus)
{
    return m->good ? 100.0 * (double)m->work_ns / ((double)m->wall_ns * cpus) : -1;
}

static double many_pushers(const struct sim_pool *pool, unsigned cpus)
{
    struct sim_load load = {.pool = pool,
                            .queues = 1,
                            .active_queues = 1,
                            .limit = cpus,
                            .pushers = cpus,
                            .jobs = 400,
                            .job_ns = 10000};
    struct sim_measured m = measure(cpus, &load);
    return efficiency(&m, cpus);
}

static double one_pusher(const struct sim_pool *pool, unsigned cpus)
{
    struct sim_load load = {.pool = pool,
                            .queues = 1,
                            .active_queues = 1,
                            .limit = cpus,
                            .pushers = 1,
                            .jobs = 100 * cpus,
                            .job_ns = 100000};
    struct sim_measured m = measure(cpus, &load);
    return efficiency(&m, cpus);
}

static double empty_rate(const struct sim_pool *pool, unsigned cpus, unsigned pairs,
                         unsigned pushers, unsigned jobs)
{
    struct sim_load load = {.pool = pool,
                            .queues = pairs,
                            .active_queues = pairs,
                            .limit = cpus,
                            .pushers = pushers,
                            .jobs = jobs};
    struct sim_measured m = measure(cpus, &load);
    return m.good ? m.jobs * 1e9 / (double)m.wall_ns : -1;
}

// A queue and a pusher for each pair of CPUs, against as many times one of them on two.
static double empty_pairs(const struct sim_pool *pool, unsigned cpus)
{
    double one = empty_rate(pool, 2, 1, 1, 4000);
    return empty_rate(pool, cpus, cpus / 2, cpus / 2, 4000) / (one * (cpus / 2));
}

static double empty_many(const struct sim_pool *pool, unsigned cpus)
{
    return empty_rate(pool, cpus, 1, 64, 1000) / empty_rate(&sim_pool_mutex, cpus, 1, 64, 1000);
}

static double task_time(unsigned cpus, const struct sim_load *load)
{
    struct sim_measured m = measure(cpus, load);
    return m.good ? (double)m.wall_ns / m.jobs : -1;
}

static double rings(const struct sim_pool *pool, unsigned cpus)
{
    (void)pool;
    struct sim_load load = {.rings = cpus, .ring_size = 10, .hops = 100000, .hop_ns = 500};
    return task_time(1, &load) / task_time(cpus, &load);
}

static double spawn_many(const struct sim_pool *pool, unsigned cpus)
{
    (void)pool;
    struct sim_load load = {.spawns = 25000};
    return task_time(1, &load) / task_time(cpus, &load);
}

static double yield_now(const struct sim_pool *pool, unsigned cpus)
{
    (void)pool;
    struct sim_load load = {.yielders = 300, .yields = 300};
    return task_time(1, &load) / task_time(cpus, &load);
}

// A tenth of what the CPUs can do comes from outside.
static struct sim_measured part_load(const struct sim_pool *pool, unsigned cpus)
{
    unsigned pushers = cpus / 4 ? cpus / 4 : 1;
    struct sim_load load = {.pool = pool,
                            .queues = 1,
                            .active_queues = 1,
                            .limit = cpus,
                            .pushers = pushers,
                            .jobs = 40000 / pushers,
                            .job_ns = 5000,
                            .between_ns = (uint64_t)5000 * 10 * pushers / cpus};
    return measure(cpus, &load);
}

static double beyond_work(const struct sim_measured *m)
{
    return (double)m->cpu_ns - (double)m->work_ns;
}

static double part_load_cpu(const struct sim_pool *pool, unsigned cpus)
{
    struct sim_measured ours = part_load(pool, cpus), theirs = part_load(&sim_pool_stealing, cpus);
    return ours.good && theirs.good ? beyond_work(&ours) / beyond_work(&theirs) : -1;
}

static double part_load_p99(const struct sim_pool *pool, unsigned cpus)
{
    struct sim_measured m = part_load(pool, cpus);
    return m.good ? (double)m.p99_ns / 1e3 : -1;
}

static double behind_blocked(const struct sim_pool *pool, unsigned cpus)
{
    struct sim_load load = {.pool = pool,
                            .queues = 1,
                            .active_queues = 1,
                            .limit = UINT32_MAX,
                            .pushers = 1,
                            .jobs = 1,
                            .job_ns = 1000,
                            .blocked = 10000};
    struct sim_measured m = measure(cpus, &load);
    return m.good ? (double)m.max_ns / 1e6 : -1;
}

static double many_queues(const struct sim_pool *pool, unsigned cpus)
{
    struct sim_load load = {.pool = pool,
                            .queues = 10000,
                            .active_queues = 10,
                            .limit = cpus,
                            .pushers = 10,
                            .jobs = 1000,
                            .job_ns = 2000};
    struct sim_measured many = measure(cpus, &load);
    load.queues = 10;
    struct sim_measured few = measure(cpus, &load);
    return many.good && few.good ? (double)many.cpu_ns / (double)few.cpu_ns : -1;
}

struct row {
    const char *name, *text, *unit;
    row_fn *measure;
    unsigned cpus[3];
    double at_least[3], aim[3]; // 0: none
    bool less_is_better, tasks, no_yardsticks;
};

static const struct row rows[] = {
    {"many-pushers",
     "jobs of 10 us, one queue, as many pushers as CPUs: efficiency",
     "%",
     many_pushers,
     {16, 64, 256},
     {90, 80, 60},
     {96, 92, 85},
     false,
     false,
     false},
    {"one-pusher",
     "jobs of 100 us, one pusher: efficiency",
     "%",
     one_pusher,
     {16, 64, 256},
     {97, 93, 80},
     {99, 97, 92},
     false,
     false,
     false},
    {"empty-pairs",
     "empty jobs, a queue and a pusher for each pair of CPUs: of linear",
     "x",
     empty_pairs,
     {16, 64, 256},
     {0.8, 0.8, 0.8},
     {0.95, 0.95, 0.95},
     false,
     false,
     false},
    {"empty-many",
     "empty jobs, one queue, 64 pushers: throughput against one mutex",
     "x",
     empty_many,
     {64, 0, 0},
     {20, 0, 0},
     {50, 0, 0},
     false,
     false,
     false},
    {"rings",
     "rings of tasks, one for each CPU, spawned from one: speed-up",
     "x",
     rings,
     {16, 64, 0},
     {13, 48, 0},
     {15, 60, 0},
     false,
     true,
     false},
    {"spawn-many",
     "25 000 tasks spawned and joined: speed-up",
     "x",
     spawn_many,
     {16, 0, 0},
     {5, 0, 0},
     {10, 0, 0},
     false,
     true,
     false},
    {"yield-now",
     "300 tasks yield 300 times: speed-up",
     "x",
     yield_now,
     {16, 0, 0},
     {5, 0, 0},
     {10, 0, 0},
     false,
     true,
     false},
    {"part-load",
     "a tenth of capacity in 5 us jobs: CPU beyond the work against work-stealing",
     "x",
     part_load_cpu,
     {64, 0, 0},
     {0.35, 0, 0},
     {0.2, 0, 0},
     true,
     false,
     false},
    {"part-load-p99",
     "the same: p99 from push to start",
     "us",
     part_load_p99,
     {64, 0, 0},
     {100, 0, 0},
     {40, 0, 0},
     true,
     false,
     false},
    {"behind-blocked",
     "10 000 blocked jobs: the first short one starts after",
     "ms",
     behind_blocked,
     {64, 0, 0},
     {1, 0, 0},
     {0.2, 0, 0},
     true,
     false,
     true},
    {"many-queues",
     "10 000 queues, ten of them active: CPU a job against ten queues",
     "x",
     many_queues,
     {16, 0, 0},
     {1.2, 0, 0},
     {1.05, 0, 0},
     true,
     false,
     true},
};

// ---- printing

static const char *verdict(const struct row *row, unsigned i, double value)
{
    if (value < 0)
        return "FAILED";
    bool least = row->less_is_better ? value <= row->at_least[i] : value >= row->at_least[i];
    bool aim = row->less_is_better ? value <= row->aim[i] : value >= row->aim[i];
    return aim ? "aim" : least ? "yes" : "no";
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

struct result {
    double least, median, most; // negative: a run has failed
};

static struct result measure_row(const struct row *row, const struct sim_pool *pool, unsigned cpus)
{
    double values[RUNS_MAX];
    for (variant = 0; variant < runs; variant++)
        values[variant] = row->measure(pool, cpus);
    qsort(values, runs, sizeof *values, by_value);
    double median = values[0] < 0 ? values[0] : values[runs / 2];
    return (struct result){values[0], median, values[runs - 1]};
}

static void print_yardstick(const struct row *row, const struct sim_pool *pool, const char *name,
                            unsigned cpus)
{
    printf("%s %.2f", name, measure_row(row, pool, cpus).median);
}

static void run_row(const struct row *row)
{
    printf("%s (%s)\n", row->text, row->name);
    for (unsigned i = 0; i < 3 && row->cpus[i]; i++) {
        unsigned cpus = only_cpus ? only_cpus : row->cpus[i];
        struct result ours = measure_row(row, &sim_pool_core, cpus);
        printf("  %3u CPUs: %8.2f %-2s (%.2f to %.2f)  at least %g, aim %g: %s", cpus, ours.median,
               row->unit, ours.least, ours.most, row->at_least[i], row->aim[i],
               verdict(row, i, ours.median));
        if (!row->tasks && !row->no_yardsticks && row->measure != part_load_cpu) {
            print_yardstick(row, &sim_pool_mutex, "; one mutex", cpus);
            print_yardstick(row, &sim_pool_stealing, ", work-stealing", cpus);
        }
        printf("\n");
        fflush(stdout);
        if (only_cpus)
            break;
    }
}

static const char help[] =
    "usage: sim bench [ROW...] [OPTION...]\n"
    "\n"
    "Benchmarks on simulated machines of 1 to 256 CPUs. The same each time.\n"
    "\n"
    "  --profile NAME    the machine (tests/sim/time/profiles; default: one with as many CPUs)\n"
    "  --profiles FOLDER where the profiles are\n"
    "  --cpus N          with this number of CPUs instead of the row's\n"
    "  --runs N          of each row, with a job more each time; the median counts (default 5)\n"
    "  --details         each run: time, CPU, wake-ups, lines, calls a job\n"
    "  --lines N         and the N cache lines that were waited for longest\n"
    "  --list            the rows\n";

int sim_bench(int argc, char **argv)
{
    const char *names[16];
    int count = 0;
    for (int i = 0; i < argc; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--help")) {
            fputs(help, stdout);
            return 0;
        } else if (!strcmp(argv[i], "--profile") && more) {
            profile_name = argv[++i];
        } else if (!strcmp(argv[i], "--profiles") && more) {
            folder = argv[++i];
        } else if (!strcmp(argv[i], "--cpus") && more) {
            only_cpus = (unsigned)strtoul(argv[++i], NULL, 10);
        } else if (!strcmp(argv[i], "--runs") && more) {
            runs = (unsigned)strtoul(argv[++i], NULL, 10);
            if (runs < 1 || runs > RUNS_MAX) {
                fprintf(stderr, "sim: --runs takes 1 to %u\n", RUNS_MAX);
                return 2;
            }
        } else if (!strcmp(argv[i], "--lines") && more) {
            details = true;
            where_lines = (unsigned)strtoul(argv[++i], NULL, 10);
        } else if (!strcmp(argv[i], "--details")) {
            details = true;
        } else if (!strcmp(argv[i], "--list")) {
            for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
                printf("%-16s %s\n", rows[k].name, rows[k].text);
            return 0;
        } else if (argv[i][0] != '-' && count < 16) {
            names[count++] = argv[i];
        } else {
            fprintf(stderr, "sim: what is %s? See: ./dev sim bench --help\n", argv[i]);
            return 2;
        }
    }
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        bool wanted = count == 0;
        for (int i = 0; i < count; i++)
            wanted |= strcmp(names[i], rows[k].name) == 0;
        if (wanted)
            run_row(&rows[k]);
    }
    return has_failed;
}
