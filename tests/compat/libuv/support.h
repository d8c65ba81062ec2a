// SPDX-License-Identifier: ISC
//
// What the tests of the libuv layer share. One program, built three times over: against the shared
// libuv, to run natively (do the tests say of libuv what is true?) and preloaded; and relinked. It
// has its own getaddrinfo(), pthread_create() and malloc(), through which tests hold jobs, let
// thread creation fail, and count allocations.

#ifndef SMOLSCALE_TEST_LIBUV_H
#define SMOLSCALE_TEST_LIBUV_H

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "../../counter.h"

Suite *bad_input_suite(void);
Suite *work_suite(void);
Suite *request_suite(void);
Suite *thread_suite(void);
Suite *process_suite(void);
Suite *quiet_suite(void);

// What the program does, as a test of that suite starts it.
int quiet_role(const char *role);

// A test case whose tests are added with tcase_add_test().
TCase *new_case(Suite *suite, const char *name);

// True when smolscale is there and not disabled.
bool on_smolscale(void);

// True in a worker of smolscale.
bool in_smolscale_worker(void);

// True when the program is linked with libuv's archive and ours.
bool is_relinked(void);

// ---- counters and gates

static inline void count(struct counter *counter)
{
    counter_add(counter, 1);
}

static inline void await(struct counter *counter, unsigned at_least)
{
    counter_wait(counter, at_least);
}

static inline unsigned counted(struct counter *counter)
{
    return (unsigned)counter_get(counter);
}

// Jobs that count their start and then wait until the gate opens.
struct gate {
    struct counter started, passed;
    struct counter open; // 1: open
    atomic_uint inside, most_inside;
};
extern struct gate gate; // the tests' own; each test runs in a process of its own
void pass_gate(void);
void open_gate(void);

// uv_queue_work callbacks: a job that passes the gate; one that only counts; callbacks that note
// what came.
void gate_job(uv_work_t *req);
void counting_job(uv_work_t *req);
extern struct counter jobs_run;

// After-work callback: appends the request to `order`, with its status in `statuses`.
void note_end(uv_work_t *req, int status);
#define MAX_NOTED 4096
extern uv_work_t *order[MAX_NOTED];
extern int statuses[MAX_NOTED];
extern unsigned noted;

// uv_queue_work with gate_job and note_end; must succeed.
void submit_gate_job(uv_loop_t *loop, uv_work_t *req);

// uv_run until nothing is left; then closes the loop, if it is not the default one.
void run_all(uv_loop_t *loop);

// ---- what the program interposes

// getaddrinfo() for the name "gate" passes the gate and then fails.
#define GATE_HOST "gate"

// So many next pthread_create() fail with EAGAIN.
extern atomic_int failing_creations;

// Calls of malloc, calloc, realloc and aligned_alloc so far.
extern atomic_ulong allocations;

// In the calling thread: which allocation from now on fails first (1: the next; 0: none), and
// whether all later ones do.
extern _Thread_local unsigned allocation_fails_in;
extern _Thread_local bool all_later_ones_fail;

#endif
