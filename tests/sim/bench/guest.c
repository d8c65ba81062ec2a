// SPDX-License-Identifier: ISC
//
// bench/measure.h and the calls of guest.h, on the simulated machine. What counts and prints costs
// the programs no time; a round of spin_work() is one ns.

#include "guest.h"

#include "../../../bench/measure.h"
#include "../machine/sim.h"
#include "../time/time.h"
#include "program.h"

#include <errno.h>
#include <string.h>

// ---- the C library

static struct timespec to_timespec(uint64_t ns)
{
    return (struct timespec){(time_t)(ns / SS_NS_PER_S), (long)(ns % SS_NS_PER_S)};
}

int guest_clock_gettime(clockid_t id, struct timespec *now)
{
    if (id == CLOCK_PROCESS_CPUTIME_ID)
        *now = to_timespec(sim_time_stats().cpu);
    else if (id == CLOCK_THREAD_CPUTIME_ID)
        *now = to_timespec(sim.driver->cpu_time(sim.self));
    else
        *now = to_timespec(ss_os.now());
    return 0;
}

int guest_clock_nanosleep(clockid_t id, int flags, const struct timespec *when,
                          struct timespec *rest)
{
    (void)id, (void)flags, (void)rest;
    sim_call("nanosleep");
    uint64_t until = (uint64_t)when->tv_sec * SS_NS_PER_S + (uint64_t)when->tv_nsec;
    if (until > sim_now())
        sim_sleep(SIM_REST, until);
    return 0;
}

int guest_usleep(useconds_t us)
{
    sim_call("nanosleep");
    sim_sleep(SIM_REST, sim_now() + us * SS_NS_PER_US);
    return 0;
}

int guest_prctl(int what, unsigned long value)
{
    sim_call("prctl");
    if (what == PR_SET_TIMERSLACK)
        sim.self->slack = value;
    return 0;
}

int guest_getrusage(int whose, struct rusage *usage)
{
    memset(usage, 0, sizeof *usage);
    usage->ru_nvcsw =
        whose == RUSAGE_SELF ? (long)sim_time_stats().switches : (long)sim.self->sleeps;
    return 0;
}

void *guest_aligned_alloc(size_t alignment, size_t size)
{
    return ss_allocate_aligned(alignment, size);
}

int guest_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *),
                         void *arg)
{
    (void)attributes;
    *thread = (pthread_t)sim_spawn(main, arg);
    return 0;
}

int guest_pthread_join(pthread_t thread, void **result)
{
    (void)result;
    sim_join((struct sim_thread *)thread);
    return 0;
}

struct barrier {
    _Atomic uint32_t arrived;
    unsigned count;
};

_Static_assert(sizeof(struct barrier) <= sizeof(pthread_barrier_t), "it has room for ours");

int guest_barrier_init(pthread_barrier_t *barrier, unsigned count)
{
    struct barrier *own = (struct barrier *)barrier;
    *own = (struct barrier){.count = count};
    return 0;
}

// For one use.
int guest_barrier_wait(pthread_barrier_t *barrier)
{
    struct barrier *own = (struct barrier *)barrier;
    uint32_t arrived = fetch_add_seq_cst(&own->arrived, 1) + 1;
    if (arrived == own->count)
        ss_os.futex_wake(&own->arrived, INT32_MAX);
    while ((arrived = load_seq_cst(&own->arrived)) < own->count)
        ss_os.futex_wait_until(&own->arrived, arrived, SS_FOREVER);
    return 0;
}

// ---- bench/measure.h

void spin_clock(uint64_t ns)
{
    uint64_t end = now_ns() + ns, now;
    while ((now = now_ns()) < end)
        sim_work(end - now);
}

void spin_work(uint64_t rounds)
{
    sim_work(rounds);
}

uint64_t calibrate_work(uint64_t ns)
{
    return ns;
}

struct meter meter_start(void)
{
    struct sim_time_stats now = sim_time_stats();
    return (struct meter){.wall_ns = now.end, .cpu_ns = now.cpu, .switches = now.switches};
}

struct meter meter_stop(const struct meter *start)
{
    struct meter end = meter_start();
    return (struct meter){.wall_ns = end.wall_ns - start->wall_ns,
                          .cpu_ns = end.cpu_ns - start->cpu_ns,
                          .switches = end.switches - start->switches};
}

unsigned cpus_allowed(void)
{
    return sim.config.cpus;
}

unsigned peak_threads(void)
{
    return sim_time_stats().threads;
}

unsigned threads_now(void)
{
    return sim.alive;
}

// In a line of each thread's own: what bench/measure.c does costs two accesses.
static uint64_t tally[SIM_THREADS_MAX];

void tally_one(void)
{
    tally[sim.self->id]++;
    sim_work(1);
}

uint64_t tally_sum(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < SIM_THREADS_MAX; i++)
        sum += tally[i];
    return sum;
}

unsigned tally_threads(void)
{
    unsigned threads = 0;
    for (unsigned i = 0; i < SIM_THREADS_MAX; i++)
        threads += tally[i] > 0;
    return threads;
}

void tally_reset(void)
{
    memset(tally, 0, sizeof tally);
}

long option(int argc, char **argv, const char *name, long otherwise)
{
    for (int i = 1; i + 1 < argc; i++)
        if (!strncmp(argv[i], "--", 2) && !strcmp(argv[i] + 2, name))
            return !strcmp(argv[i + 1], "cpus") ? (long)cpus_allowed()
                                                : strtol(argv[i + 1], NULL, 10);
    return otherwise;
}
