// SPDX-License-Identifier: ISC
//
// What the executor takes when there is little to do, and when there is nothing. The main thread,
// which is none of its workers, drives these.

#include "bench.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define HOPS    30
#define ENTRIES (TASKS / HOPS)
#define WARM_UP 500 // tokens

static uint64_t clock_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void sleep_until(uint64_t at)
{
    struct timespec time = {(time_t)(at / NS_PER_S), (long)(at % NS_PER_S)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) != 0)
        ;
}

// ---- part load ----
//
// Tokens come into a ring of tasks at a steady pace. A token makes 30 hops, at each of which 1 us
// of work is done. The ten entries are as many hops apart, so that tokens meet only when one is
// late.

struct token {
    uint32_t index;
    int hops;
    uint64_t sent;
};

static smolscale_channel *channels[TASKS];
static uint64_t work;          // rounds of spin_work in 1 us
static _Atomic uint64_t *late; // ns from sent to done, of each token
static atomic_uint tokens_done;

struct hop {
    SMOLSCALE_FRAME;
    smolscale_channel *from, *to;
    struct token token;
};

SMOLSCALE_ASYNC(hop, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_TRY(smolscale_recv(cx, f->from, &f->token));
        spin_work(work);
        if (++f->token.hops < HOPS) {
            SMOLSCALE_TRY(smolscale_send(cx, f->to, &f->token));
        } else {
            atomic_store_explicit(&late[f->token.index], now_ns() - f->token.sent,
                                  memory_order_relaxed);
            atomic_fetch_add(&tokens_done, 1);
        }
    }
    SMOLSCALE_END;
}

struct share { // of one CPU, in percent
    double process, pacer;
};

// Lets `count` tokens pass at `rate`, or only the time in which they would.
static struct share pace(uint32_t first, uint32_t count, uint64_t rate, bool inject)
{
    uint64_t begin = now_ns();
    uint64_t process = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t thread = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (uint32_t i = 0; i < count; i++) {
        sleep_until(begin + (i + 1) * NS_PER_S / rate);
        struct token token = {.index = first + i, .sent = now_ns()};
        if (inject)
            MUST(SMOLSCALE_BLOCK(smolscale_send(cx, channels[i % ENTRIES * HOPS], &token)) == 0);
    }
    uint64_t wall = now_ns() - begin;
    uint64_t ideal = count * NS_PER_S / rate;
    MUST(wall < ideal + ideal / 20 + 20 * NS_PER_MS); // else this is another rate
    while (inject && atomic_load(&tokens_done) < first + count)
        sleep_until(now_ns() + NS_PER_MS);
    process = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - process;
    thread = clock_ns(CLOCK_THREAD_CPUTIME_ID) - thread;
    return (struct share){(double)process * 100 / (double)wall,
                          (double)thread * 100 / (double)wall};
}

// ns of CPU time that the work of one token takes by itself, right now.
static double pure_work(void)
{
    const int tokens = 2000;
    uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < tokens * HOPS; i++)
        spin_work(work);
    return (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - start) / tokens;
}

void part_load(uint64_t rate)
{
    MUST(rate > 0 && rate <= 1000000);
    uint32_t measured = (uint32_t)(3 * rate);
    uint64_t *values = calloc(WARM_UP + measured, sizeof *values);
    MUST(values != NULL);
    late = (_Atomic uint64_t *)values;
    work = calibrate_work(NS_PER_US);
    for (int i = 0; i < TASKS; i++)
        MUST(smolscale_channel_new(&channels[i], sizeof(struct token), 1) == 0);
    for (int i = 0; i < TASKS; i++)
        MUST(SMOLSCALE_SPAWN(NULL, hop, .from = channels[i], .to = channels[(i + 1) % TASKS]) == 0);

    prctl(PR_SET_TIMERSLACK, 1UL); // sleeps end when they should, not up to 50 us later
    double pacing = pace(0, (uint32_t)rate, rate, false).process;
    pace(0, WARM_UP, rate, true);
    double pure = pure_work();
    struct share used = pace(WARM_UP, measured, rate, true);
    pure = (pure + pure_work()) / 2;
    double work_share = pure * (double)rate * 100 / NS_PER_S;

    for (uint32_t i = 0; i < measured; i++)
        MUST(values[WARM_UP + i] > 0);
    figure("over", used.process - pacing - work_share, "%"); // the submitter's part, too
    values += WARM_UP;
    figure("p50", ((double)percentile(values, measured, 50) - pure) / NS_PER_US, "us");
    figure("p99", ((double)percentile(values, measured, 99) - pure) / NS_PER_US, "us");
    figure("cpu", used.process, "%");
    figure("pacer", used.pacer, "%");
    figure("work", work_share, "%");
}

// ---- idle ----

struct some_work {
    SMOLSCALE_FRAME;
    int i, j, result;
    smolscale_task *tasks[LIGHT_TASKS];
};

SMOLSCALE_ASYNC(some_work, f)
{
    SMOLSCALE_BEGIN(f);
    for (f->i = 0; f->i < 20; f->i++) {
        for (int j = 0; j < LIGHT_TASKS; j++)
            MUST(smolscale_spawn(&f->tasks[j], light_task, NULL, 0) == 0);
        for (f->j = 0; f->j < LIGHT_TASKS; f->j++) {
            SMOLSCALE_TRY(smolscale_join(cx, f->tasks[f->j]));
            smolscale_release(f->tasks[f->j]);
        }
        SMOLSCALE_TRY(smolscale_sleep(cx, NS_PER_MS));
    }
    SMOLSCALE_END;
}

// CPU time of all threads but this one, which only sleeps. The two clocks are not read at once, so
// some of this thread's own may be missing from the difference: the largest is the truest.
static uint64_t cpu_of_others(void)
{
    uint64_t most = 0;
    for (int i = 0; i < 10; i++) {
        uint64_t process = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        uint64_t thread = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        if (process > thread && process - thread > most)
            most = process - thread;
    }
    return most;
}

// Their context switches.
static uint64_t switches_of_others(void)
{
    struct rusage process, thread;
    getrusage(RUSAGE_SELF, &process);
    getrusage(RUSAGE_THREAD, &thread);
    return (uint64_t)(process.ru_nvcsw + process.ru_nivcsw - thread.ru_nvcsw - thread.ru_nivcsw);
}

void idle(void)
{
    drive(some_work, sizeof(struct some_work), false);
    sleep_until(now_ns() + 2 * NS_PER_S);
    uint64_t cpu = cpu_of_others();
    uint64_t switches = switches_of_others();
    sleep_until(now_ns() + 10 * NS_PER_S);
    uint64_t cpu_end = cpu_of_others();
    cpu = cpu_end > cpu ? cpu_end - cpu : 0;
    figure("cpu", (double)(cpu / NS_PER_US), "us"); // whole us: what two clocks can tell
    figure("switches", (double)(switches_of_others() - switches), "count");
}
