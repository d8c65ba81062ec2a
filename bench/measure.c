// SPDX-License-Identifier: ISC
//
// See measure.h. The one part that needs care is counting threads: looking into /proc now and then
// would miss a burst of a millisecond, so the program defines pthread_create itself. The dynamic
// linker finds the program's symbols before those of any library, preloaded or not, so every
// library of the process creates its threads through here. It costs the same on every side of a
// comparison.

#include "measure.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

// ---- work ----

void spin_clock(uint64_t ns)
{
    uint64_t end = now_ns() + ns;
    while (now_ns() < end)
        pause_cpu();
}

void spin_work(uint64_t rounds)
{
    uint64_t x = rounds | 1;
    for (uint64_t i = 0; i < rounds; i++) {
        x *= 0x9e3779b97f4a7c15ULL;
        __asm__ volatile("" : "+r"(x)); // keeps the chain from being folded away
    }
}

uint64_t calibrate_work(uint64_t ns)
{
    const uint64_t rounds = 1000000;
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 9; i++) {
        uint64_t start = now_ns();
        spin_work(rounds);
        uint64_t took = now_ns() - start;
        if (took < best)
            best = took;
    }
    return rounds * ns / best;
}

// ---- meter ----

static struct meter meter_now(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    return (struct meter){
        .wall_ns = now_ns(),
        .cpu_ns = (uint64_t)cpu.tv_sec * NS_PER_S + (uint64_t)cpu.tv_nsec,
        .switches = (uint64_t)(usage.ru_nvcsw + usage.ru_nivcsw),
    };
}

struct meter meter_start(void)
{
    return meter_now();
}

struct meter meter_stop(const struct meter *start)
{
    struct meter end = meter_now();
    return (struct meter){
        .wall_ns = end.wall_ns - start->wall_ns,
        .cpu_ns = end.cpu_ns - start->cpu_ns,
        .switches = end.switches - start->switches,
    };
}

unsigned cpus_allowed(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

// ---- threads ----

static atomic_uint live_threads = 1;
static atomic_uint most_threads = 1;

struct thread_start {
    void *(*function)(void *);
    void *argument;
};

static void thread_ended(void *unused)
{
    (void)unused;
    atomic_fetch_sub(&live_threads, 1);
}

static void *thread_main(void *argument)
{
    struct thread_start start = *(struct thread_start *)argument;
    free(argument);
    void *result;
    pthread_cleanup_push(thread_ended, NULL); // also runs on pthread_exit
    result = start.function(start.argument);
    pthread_cleanup_pop(1);
    return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *),
                   void *argument)
{
    typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    static create *_Atomic next;
    create *real = atomic_load(&next);
    if (real == NULL) {
        real = (create *)dlsym(RTLD_NEXT, "pthread_create");
        atomic_store(&next, real);
    }
    struct thread_start *start = malloc(sizeof *start);
    if (start == NULL)
        abort();
    *start = (struct thread_start){function, argument};
    unsigned live = atomic_fetch_add(&live_threads, 1) + 1;
    unsigned most = atomic_load(&most_threads);
    while (live > most && !atomic_compare_exchange_weak(&most_threads, &most, live))
        ;
    int error = real(thread, attributes, thread_main, start);
    if (error != 0) {
        atomic_fetch_sub(&live_threads, 1);
        free(start);
    }
    return error;
}

unsigned peak_threads(void)
{
    return atomic_load(&most_threads);
}

unsigned threads_now(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    if (file == NULL)
        return 0;
    char line[256];
    unsigned threads = 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Threads: %u", &threads) == 1)
            break;
    fclose(file);
    return threads;
}

// ---- exactly-once accounting ----

#define TALLY_SLOTS 8192

struct tally_slot {
    _Atomic uint64_t count; // written by one thread only
    char pad[64 - sizeof(uint64_t)];
};

static struct tally_slot tally_slots[TALLY_SLOTS] __attribute__((aligned(64)));
static atomic_uint tally_used;
static __thread struct tally_slot *tally_mine;

void tally_one(void)
{
    struct tally_slot *slot = tally_mine;
    if (slot == NULL) {
        unsigned index = atomic_fetch_add(&tally_used, 1);
        if (index >= TALLY_SLOTS)
            fail("more than %d threads ran jobs", TALLY_SLOTS);
        slot = tally_mine = &tally_slots[index];
    }
    uint64_t count = atomic_load_explicit(&slot->count, memory_order_relaxed);
    atomic_store_explicit(&slot->count, count + 1, memory_order_release);
}

uint64_t tally_sum(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < TALLY_SLOTS; i++)
        sum += atomic_load_explicit(&tally_slots[i].count, memory_order_acquire);
    return sum;
}

unsigned tally_threads(void)
{
    unsigned threads = 0;
    for (unsigned i = 0; i < TALLY_SLOTS; i++)
        threads += atomic_load_explicit(&tally_slots[i].count, memory_order_acquire) > 0;
    return threads;
}

void tally_reset(void)
{
    for (unsigned i = 0; i < TALLY_SLOTS; i++)
        atomic_store_explicit(&tally_slots[i].count, 0, memory_order_release);
}

// ---- command line ----

long option(int argc, char **argv, const char *name, long otherwise)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (strncmp(argv[i], "--", 2) != 0 || strcmp(argv[i] + 2, name) != 0)
            continue;
        if (strcmp(argv[i + 1], "cpus") == 0)
            return (long)cpus_allowed();
        char *end;
        long value = strtol(argv[i + 1], &end, 10);
        if (*end != '\0')
            fail("--%s takes a number or \"cpus\", not %s", name, argv[i + 1]);
        return value;
    }
    return otherwise;
}
