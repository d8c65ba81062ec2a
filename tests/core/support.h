// SPDX-License-Identifier: ISC
//
// What the core's tests share: counters that threads wait on, looks at the process through /proc,
// and a replaceable kernel (fake clock, failing thread creation, no /proc) behind `ss_os`.
//
// Check runs every test in a process of its own, so each test meets an executor that has not
// started. No test depends on how long something takes: threads meet at counters; where a state is
// reached "in the end", EVENTUALLY() looks again and again and gives up only after a minute.

#ifndef SUPPORT_H
#define SUPPORT_H

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "../counter.h"
#include "os/os.h"
#include "smolscale.h"

#if defined(__SANITIZE_THREAD__)
#define TEST_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEST_TSAN 1
#elif __has_feature(address_sanitizer)
#define TEST_ASAN 1
#endif
#endif

// Sizes of stress tests, smaller where every access is checked.
#if defined(TEST_TSAN)
#define SCALED(n) ((n) / 20 > 0 ? (n) / 20 : 1)
#elif defined(TEST_ASAN)
#define SCALED(n) ((n) / 5 > 0 ? (n) / 5 : 1)
#else
#define SCALED(n) (n)
#endif

// Seconds until a test that hangs is ended, and until EVENTUALLY() gives up.
#define TEST_TIMEOUT  400
#define TEST_PATIENCE 60

// Runs the tests (NULL at the end) and says how many passed; the value main() returns.
int test_suite(const char *name, const TTest *const *tests);

// The same for tests of which each runs several times, with _i counting from 0.
struct test_rounds {
    const TTest *test;
    int rounds;
};
int test_suite_of_rounds(const char *name, const struct test_rounds *tests, unsigned count);

// A linear congruential sequence: the same numbers on every machine, so that a failure repeats.
uint32_t test_random(uint64_t *state);

// Looks at `what`, and at what is expected of it, until the comparison holds.
#define EVENTUALLY(what, op, expected)                                                            \
    do {                                                                                          \
        uint64_t end_ = test_clock() + TEST_PATIENCE * SS_NS_PER_S;                               \
        long long got_, expected_;                                                                \
        while (!((got_ = (long long)(what)) op(expected_ = (long long)(expected))) &&             \
               test_clock() < end_)                                                               \
            test_breathe();                                                                       \
        ck_assert_msg(got_ op expected_, "expected in the end: %s %s %s (%lld), got %lld", #what, \
                      #op, #expected, expected_, got_);                                           \
    } while (0)
uint64_t test_clock(void);
void test_breathe(void);

// A shared queue (FIFO, no parent); fails the test when it cannot be had.
smolscale_queue *queue_new(smolscale_run_fn *run, void *user_data, unsigned max_active);

// smolscale_queue_push() that fails the test on any error.
void push(smolscale_queue *queue, void *item);

// Starts a thread, or fails the test.
pthread_t thread_start(void *(*main)(void *), void *arg);

struct smolscale_stats stats_now(void);

// Workers left when all have been sent away that were idle. Those of dedicated queues that are gone
// may serve others, until they are sent away.
unsigned workers_after_retiring(void);

// Workers of the group (NULL: the shared one) that sleep until they are called. One that is idle
// (has no job) may still be on its way there, and finds by itself what is pushed meanwhile.
unsigned parked_workers(smolscale_group *group);
// Waits until all workers are parked, and all are of the shared group.
void all_parked(void);

// The most workers that may stay asleep for good: "some for each CPU" (smolscale_set_max_idle).
static inline unsigned workers_kept(void)
{
    return 2 * smolscale_cpus() + 2;
}

// Threads of the executor beside its workers: the balancer, and the one that looks at /proc for it.
#define OWN_THREADS 2

// Items of tests that only need numbers: never NULL, back by number().
static inline void *item_of(uintptr_t number)
{
    return (void *)(number + 1);
}
static inline unsigned number_of(const void *item)
{
    return (unsigned)((uintptr_t)item - 1);
}

// ---------------------------------------------------------------------------------------------
// The process, seen from /proc
// ---------------------------------------------------------------------------------------------

#define TIDS_MAX 4096
struct tids {
    unsigned count;
    pid_t tid[TIDS_MAX];
};
// The threads of the process. Sanitizers have threads of their own: take `others` before first use.
void threads_now(struct tids *tids);
// Threads that are there now and not among `others` (NULL: none).
unsigned threads_new(const struct tids *others);
// Voluntary context switches of all threads now alive but `others`.
unsigned long voluntary_switches(const struct tids *others);
// How many of the threads that are not among `others` carry this name.
unsigned threads_named(const char *name, const struct tids *others);
// Starts and joins a thread, after which a sanitizer has its own threads, and lists what is there.
void threads_before_first_use(struct tids *others);

// No thread but the `others` and the caller wakes up by itself, once the executor has settled.
// Under the fake clock: for a year. Under the real one: for a second, or for ten where TEST_FULL is
// set.
void ck_nothing_wakes_up(const struct tids *others);

// ---------------------------------------------------------------------------------------------
// The kernel replaced
// ---------------------------------------------------------------------------------------------

// Time stands still until it is moved; sleepers with a limit wake only then. Costs are those of
// SMOLSCALE_COSTS, or else of machine A: nothing is learnt from such a clock. To be called before
// the executor starts.
void fake_clock_start(void);
void fake_clock_advance(uint64_t ns);
// A thread moves it, by 1 ms at a time, until ck_nothing_wakes_up() stops that: for what needs
// time to pass and does not care how much.
void fake_clock_run(void);
// Sleeps with a limit that are not over: what wakes up by itself.
unsigned fake_clock_timed_sleepers(void);
// Whether a thread sleeps on that word, and nothing that has happened yet ends its sleep.
bool fake_clock_sleeps_on(_Atomic uint32_t *word);
// Calls of the kernel for sleeping (with and without a limit) so far.
unsigned long fake_clock_sleeps(void);

// Lets thread creation fail: `plan(n)` is asked with the number (from 1) of each try.
void failing_threads_start(bool (*fails)(unsigned n));
unsigned failing_threads_tries(void);

// As if /proc did not exist; and neither the threads' clocks.
void no_proc_but_clocks_start(void);
void no_proc_start(void);

// ---- children of fork()

// Exit codes of children, so that a failure says where.
enum { CHILD_OK = 42 };
#define CHILD_CHECK(condition)                                                             \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "in the child, line %d: expected %s\n", __LINE__, #condition); \
            _exit(1);                                                                      \
        }                                                                                  \
    } while (0)

// Waits for the child, which must have ended well.
void ck_child_ok(pid_t pid);

// fork() whose child a hang does not outlive.
pid_t fork_child(void);

#endif // SUPPORT_H
