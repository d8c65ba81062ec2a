// SPDX-License-Identifier: ISC
//
// What the tests of the GLib layer share. Every program here is built once and run twice: natively,
// where it shows what GLib does, and with the layer preloaded, where the same must hold. A test
// that means only one of the two says so with ONLY_PRELOADED.
//
// Check runs each test in a process of its own, so each test meets a GLib that has made no thread
// yet. No test depends on how long something takes: threads meet at counters; what happens "in the
// end" is looked for again and again by EVENTUALLY(), which gives up only after a minute.

#ifndef SUPPORT_H
#define SUPPORT_H

#include <check.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../counter.h"

// Seconds until a test that hangs is ended, and until EVENTUALLY() gives up.
#define TEST_TIMEOUT  300
#define TEST_PATIENCE 60

// A test and how often it runs, with _i counting from 0. A list of them ends with {NULL, 0}.
struct test {
    const TTest *test;
    int rounds;
};

// Runs the tests and says how many passed; the value main() returns.
int test_suite(const char *name, const struct test *tests);

// A job, and a sort function, that are there to be passed.
void do_nothing(gpointer item, gpointer user_data);
gint compare_nothing(gconstpointer a, gconstpointer b, gpointer user_data);

// True when the program runs with the layer, not switched off.
bool preloaded(void);

// True in a thread of smolscale's executor; false natively.
bool in_smolscale_worker(void);

#define ONLY_PRELOADED    \
    do {                  \
        if (!preloaded()) \
            return;       \
    } while (0)

// True when the GLib of this process is at least that version.
bool glib_at_least(guint major, guint minor, guint micro);

// Looks at `what`, and at what is expected of it, until the comparison holds.
#define EVENTUALLY(what, op, expected)                                                            \
    do {                                                                                          \
        gint64 end_ = g_get_monotonic_time() + TEST_PATIENCE * G_USEC_PER_SEC;                    \
        long long got_, expected_;                                                                \
        while (!((got_ = (long long)(what)) op(expected_ = (long long)(expected))) &&             \
               g_get_monotonic_time() < end_)                                                     \
            g_usleep(500);                                                                        \
        ck_assert_msg(got_ op expected_, "expected in the end: %s %s %s (%lld), got %lld", #what, \
                      #op, #expected, expected_, got_);                                           \
    } while (0)

// The jobs of most tests: count that they have started, wait until they may end, count that they
// have ended. A gate is the pool's user_data.
struct gate {
    struct counter started;
    struct counter may_end;
    struct counter ended;
    _Atomic int running;      // jobs inside now
    _Atomic int most_running; // most at once
};
#define GATE_INIT                                      \
    {                                                  \
        COUNTER_INIT, COUNTER_INIT, COUNTER_INIT, 0, 0 \
    }
void pass_gate(gpointer item, gpointer gate);
void gate_open(struct gate *gate); // for all jobs, for ever

// A pool whose items pass a gate, and a pool in general; they fail the test when there is an error.
GThreadPool *gate_pool(struct gate *gate, gint max_threads, bool exclusive);
GThreadPool *new_pool(GFunc func, gpointer user_data, gint max_threads, bool exclusive);

// g_thread_pool_push() that fails the test on any error.
void push(GThreadPool *pool, guint item);

// Items are small numbers, never 0.
#define ITEM(number) GUINT_TO_POINTER(number)

// A linear congruential sequence: the same numbers on every machine, so that a failure repeats.
guint test_random(guint64 *state);

// Messages that GLib would have printed, caught from now on; `take_message` gives the oldest one,
// with its domain before it ("GLib: ..."), or NULL, and forgets it. The caller frees it.
void catch_messages(void);
char *take_message(void);

// From now on no thread of this process can be created (until told otherwise), for real: the
// process gives up root and lowers RLIMIT_NPROC. False where the system does not enforce that.
bool forbid_threads(void);
void allow_threads(void);

#endif // SUPPORT_H
