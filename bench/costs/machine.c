// SPDX-License-Identifier: ISC
//
// What this machine takes for all that a thread pool asks of it: the numbers of a profile of the
// simulated machine (docs/simulation.md), in ns, one a line.
//
//     machine [CPU...]     a line's way from the first CPU to each of the others, too
//
// Each is measured many times in short stretches. Other programs can only make a stretch longer, so
// the least is what it costs; where a stretch has two ends (a wake-up), a low percentile, because
// the least may be a stroke of luck.

#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STRETCHES = 400, TRIPS = 600, SLEEPS = 200, LOW = 25 };

static cpu_set_t all_cpus;
static int cpus[64];
static unsigned cpu_count;

static void bind_to(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static uint64_t thread_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

// ---- what one thread does: the least of many stretches of `times`, for one

#define LEAST(times, ...)                                          \
    ({                                                             \
        double least_ = 1e18;                                      \
        for (int stretch_ = 0; stretch_ < STRETCHES; stretch_++) { \
            uint64_t begin_ = now_ns();                            \
            for (int i_ = 0; i_ < (times); i_++)                   \
                __VA_ARGS__;                                       \
            double took_ = (double)(now_ns() - begin_) / (times);  \
            least_ = took_ < least_ ? took_ : least_;              \
        }                                                          \
        least_;                                                    \
    })

static _Atomic uint64_t word;
static _Atomic uint32_t futex_word;
static volatile uint64_t sink;

static long futex(_Atomic uint32_t *at, int operation, uint32_t value)
{
    return syscall(SYS_futex, at, operation, value, NULL, NULL, 0);
}

static uint64_t counter(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t value;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
#else
    return now_ns();
#endif
}

static void measure_memory(void)
{
    figure("rmw", LEAST(500, atomic_fetch_add(&word, 1)), "ns");
    figure("fence", LEAST(500, atomic_thread_fence(memory_order_seq_cst)), "ns");
    figure("pause", LEAST(500, pause_cpu()), "ns");
    figure("clock", LEAST(500, sink = now_ns()), "ns");
    figure("ticks", LEAST(500, sink = counter()), "ns");
    void *volatile block;
    figure("memory", LEAST(500, (block = malloc(64), free(block))) / 2, "ns");
}

// A walk through lines in random order, which does not fit into the CPU's own cache: what one costs
// that is not there.
static void measure_misses(void)
{
    long own = sysconf(_SC_LEVEL2_CACHE_SIZE);
    own = own > 0 ? own : 1 << 20;
    figure("cache", (double)own / 64, "lines");
    size_t count = 2 * (size_t)own / 64;
    uint64_t *lines = aligned_alloc(64, count * 64), random = 1;
    size_t *order = malloc(count * sizeof *order);
    if (!lines || !order)
        fail("no memory");
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = count - 1; i > 0; i--) {
        random = random * 6364136223846793005ULL + 1442695040888963407ULL;
        size_t other = (size_t)(random >> 33) % (i + 1), kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
    for (size_t i = 0; i < count; i++)
        lines[order[i] * 8] = order[(i + 1) % count] * 8;
    uint64_t at = order[0] * 8;
    figure("from_memory", LEAST(1000, at = lines[at]), "ns");
    sink = at;
    free(order);
    free(lines);
}

static void *runs(void *unused)
{
    (void)unused;
    while (atomic_load_explicit(&futex_word, memory_order_relaxed) == 0)
        ;
    return NULL;
}

static void read_file(const char *path)
{
    char text[1024];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file >= 0 && read(file, text, sizeof text) >= 0)
        close(file);
}

static void *ends(void *unused)
{
    return unused;
}

static void measure_calls(void)
{
    figure("call", LEAST(200, syscall(SYS_getppid)), "ns");
    figure("call_futex_wake", LEAST(200, futex(&futex_word, FUTEX_WAKE_PRIVATE, 1)), "ns");
    figure("call_futex_wait", LEAST(200, futex(&futex_word, FUTEX_WAIT_PRIVATE, 1)), "ns");
    figure("call_sched_yield", LEAST(200, sched_yield()), "ns");
    figure("call_open_proc",
           LEAST(20, ({
                     int folder = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                     if (folder >= 0)
                         close(folder);
                 })),
           "ns");
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)syscall(SYS_gettid));
    figure("call_read_proc", LEAST(20, read_file(path)), "ns");
    figure("call_read_proc_loadavg", LEAST(20, read_file("/proc/loadavg")), "ns");

    pthread_t thread;
    clockid_t clock;
    struct timespec time;
    if (pthread_create(&thread, NULL, runs, NULL))
        fail("no thread");
    pthread_getcpuclockid(thread, &clock);
    figure("call_clock_gettime_of_a_thread", LEAST(50, clock_gettime(clock, &time)), "ns");
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0)
        figure("call_membarrier",
               LEAST(5, syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0)), "ns");
    atomic_store(&futex_word, 1);
    pthread_join(thread, NULL);
    atomic_store(&futex_word, 0);

    double clone = 1e18;
    struct meter life = meter_start();
    for (int i = 0; i < STRETCHES; i++) {
        uint64_t begin = now_ns();
        if (pthread_create(&thread, NULL, ends, NULL))
            fail("no thread");
        double took = (double)(now_ns() - begin);
        clone = took < clone ? took : clone;
        pthread_join(thread, NULL);
    }
    figure("call_clone", clone, "ns");
    life = meter_stop(&life);
    figure("thread_cpu", (double)life.cpu_ns / STRETCHES, "ns");
}

// ---- two threads

static _Atomic uint32_t turn; // whose: 0, the first's; 1, the second's
static _Atomic bool over;

// A line that two CPUs change in turn: half of a round.
struct spinner {
    int cpu;
};

static void *answer_spinning(void *arg)
{
    bind_to(((struct spinner *)arg)->cpu);
    while (!atomic_load(&over))
        if (atomic_load_explicit(&turn, memory_order_acquire) == 1)
            atomic_store_explicit(&turn, 0, memory_order_release);
    return NULL;
}

static void measure_line(int here, int there)
{
    pthread_t thread;
    struct spinner other = {there};
    static uint64_t rounds[20 * STRETCHES];
    bind_to(here);
    atomic_store(&over, false);
    atomic_store(&turn, 0);
    if (pthread_create(&thread, NULL, answer_spinning, &other))
        fail("no thread");
    size_t count = sizeof rounds / sizeof *rounds;
    for (size_t i = 0; i < count; i++) {
        uint64_t begin = now_ns();
        for (int k = 0; k < 10; k++) {
            atomic_store_explicit(&turn, 1, memory_order_release);
            while (atomic_load_explicit(&turn, memory_order_acquire) != 0)
                ;
        }
        rounds[i] = (now_ns() - begin) / 20;
    }
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    printf("line_%d_%d %llu ns\n", here, there, (unsigned long long)percentile(rounds, count, 5));
}

// A thread that sleeps until it is its turn, and says when it came to run.
struct sleeper {
    int cpu;
    bool leaves; // after the first time it may run anywhere
    _Atomic uint64_t ran_at;
    _Atomic int ran_on;
    _Atomic uint64_t cpu_ns;
};

static void *answer_waking(void *arg)
{
    struct sleeper *self = arg;
    bind_to(self->cpu);
    for (;;) {
        while (atomic_load(&turn) != 1)
            futex(&turn, FUTEX_WAIT_PRIVATE, 0);
        atomic_store(&self->ran_at, now_ns());
        atomic_store(&self->ran_on, sched_getcpu());
        atomic_store(&self->cpu_ns, thread_cpu_ns());
        if (atomic_load(&over))
            return NULL;
        if (self->leaves)
            sched_setaffinity(0, sizeof all_cpus, &all_cpus);
        self->leaves = false;
        atomic_store(&turn, 0);
    }
}

struct wake {
    double call, arrival, woken_cpu;
    double same_cpu; // of all wakes
};

static void give_turn(void)
{
    atomic_store(&turn, 1);
    futex(&turn, FUTEX_WAKE_PRIVATE, 1);
}

// What it takes the waker, and until the woken thread runs, after it has slept for `ns`.
static struct wake measure_wake(int here, int there, uint64_t idle_ns, bool leaves)
{
    static uint64_t calls[TRIPS], arrivals[TRIPS];
    struct sleeper sleeper = {.cpu = there, .leaves = leaves};
    pthread_t thread;
    unsigned trips = idle_ns > 100 * NS_PER_US ? TRIPS / 2 : TRIPS, same = 0;
    bind_to(here);
    atomic_store(&over, false);
    atomic_store(&turn, 0);
    if (pthread_create(&thread, NULL, answer_waking, &sleeper))
        fail("no thread");
    usleep(2000);
    uint64_t cpu = atomic_load(&sleeper.cpu_ns);
    for (unsigned i = 0; i < trips; i++) {
        spin_clock(idle_ns);
        int on = sched_getcpu();
        uint64_t begin = now_ns();
        give_turn();
        uint64_t end = now_ns();
        while (atomic_load(&turn) != 0)
            sched_yield(); // it may be on this CPU
        calls[i] = end - begin;
        arrivals[i] = atomic_load(&sleeper.ran_at) - begin;
        same += atomic_load(&sleeper.ran_on) == on;
    }
    cpu = atomic_load(&sleeper.cpu_ns) - cpu;
    atomic_store(&over, true);
    give_turn();
    pthread_join(thread, NULL);
    return (struct wake){(double)percentile(calls, trips, LOW),
                         (double)percentile(arrivals, trips, LOW), (double)cpu / trips,
                         (double)same / trips};
}

static void give(uint32_t to)
{
    atomic_store(&turn, to);
    futex(&turn, FUTEX_WAKE_PRIVATE, 1);
}

static void await(uint32_t mine)
{
    while (atomic_load(&turn) != mine)
        futex(&turn, FUTEX_WAIT_PRIVATE, !mine);
}

static void *answers(void *arg)
{
    bind_to(*(int *)arg);
    for (int i = 0; i < 10 * TRIPS; i++) {
        await(1);
        give(0);
    }
    return NULL;
}

// Two threads of one CPU that wake each other and sleep: half of a trip.
static double trip_ns(int cpu)
{
    static uint64_t trips[TRIPS];
    pthread_t thread;
    bind_to(cpu);
    atomic_store(&turn, 0);
    if (pthread_create(&thread, NULL, answers, &cpu))
        fail("no thread");
    for (int i = 0; i < TRIPS; i++) {
        uint64_t begin = now_ns();
        for (int k = 0; k < 10; k++) {
            give(1);
            await(0);
        }
        trips[i] = (now_ns() - begin) / 20;
    }
    pthread_join(thread, NULL);
    return (double)percentile(trips, TRIPS, LOW);
}

static void *yields(void *arg)
{
    bind_to(*(int *)arg);
    while (!atomic_load(&over))
        sched_yield();
    return NULL;
}

// From one thread to another on one CPU, by giving it up in turn.
static double switch_ns(int cpu)
{
    pthread_t thread;
    bind_to(cpu);
    atomic_store(&over, false);
    if (pthread_create(&thread, NULL, yields, &cpu))
        fail("no thread");
    for (int i = 0; i < 100; i++)
        sched_yield();
    double two = LEAST(50, sched_yield());
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    return two / 2;
}

// By how much a sleep is longer than was asked for, and what it takes of the CPU.
static void measure_sleep(const char *name, uint64_t ns)
{
    static uint64_t late[SLEEPS];
    char text[32];
    uint64_t cpu = thread_cpu_ns();
    for (int i = 0; i < SLEEPS; i++) {
        uint64_t due = now_ns() + ns;
        struct timespec when = {(time_t)(due / NS_PER_S), (long)(due % NS_PER_S)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
        late[i] = now_ns() - due;
    }
    cpu = thread_cpu_ns() - cpu;
    snprintf(text, sizeof text, "sleep_%s", name);
    figure(text, (double)percentile(late, SLEEPS, LOW), "ns");
    snprintf(text, sizeof text, "sleep_cpu_%s", name);
    figure(text, (double)cpu / SLEEPS, "ns");
}

static void measure_sleeps(void)
{
    measure_sleep("with_slack", 20 * NS_PER_US);
    prctl(PR_SET_TIMERSLACK, 1UL);
    measure_sleep("short", 20 * NS_PER_US);
    measure_sleep("long", NS_PER_MS);
}

static void measure_wakes(int here, int there)
{
    // Where does the kernel wake a thread that may run anywhere? On its waker's CPU: if that is
    // where it ran last; if it ran elsewhere.
    if (there >= 0) {
        struct wake same = measure_wake(here, here, 50 * NS_PER_US, true);
        figure("stays_with_waker", same.same_cpu, "part");
        struct wake other = measure_wake(here, there, 50 * NS_PER_US, true);
        figure("comes_to_waker", other.same_cpu, "part");
    }
    figure("switch", switch_ns(here), "ns");
    struct wake home = measure_wake(here, here, 20 * NS_PER_US, false);
    figure("wake_here", home.arrival, "ns");
    figure("trip_here", trip_ns(here), "ns");
    if (there < 0)
        return;
    struct wake soon = measure_wake(here, there, 20 * NS_PER_US, false);
    figure("wake_soon_call", soon.call, "ns");
    figure("wake_soon_arrival", soon.arrival, "ns");
    figure("wake_soon_cpu", soon.woken_cpu, "ns");
    struct wake later = measure_wake(here, there, NS_PER_MS, false);
    figure("wake_later_call", later.call, "ns");
    figure("wake_later_arrival", later.arrival, "ns");
    figure("wake_later_cpu", later.woken_cpu, "ns");
}

int main(int argc, char **argv)
{
    sched_getaffinity(0, sizeof all_cpus, &all_cpus);
    for (int cpu = 0; cpu < CPU_SETSIZE && cpu_count < 64; cpu++)
        if (CPU_ISSET((size_t)cpu, &all_cpus))
            cpus[cpu_count++] = cpu;
    measure_wakes(cpus[0], cpu_count > 1 ? cpus[1] : -1);
    bind_to(cpus[0]);
    measure_memory();
    measure_misses();
    sched_setaffinity(0, sizeof all_cpus, &all_cpus);
    measure_calls();
    measure_sleeps();
    for (int i = 2; i < argc; i++)
        measure_line(atoi(argv[1]), atoi(argv[i]));
    return 0;
}
