// SPDX-License-Identifier: ISC
//
// See support.h; and the main program.

#include "support.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>

#define TIME_LIMIT 300 // seconds for one test

// Weak: the relinked program has them, a preload library brings them, natively nobody does.
extern bool smolscale_disabled(void) __attribute__((weak));
extern bool smolscale_in_worker(void) __attribute__((weak));
extern void uv__work_submit(void) __attribute__((weak)); // hidden in the shared libuv

bool on_smolscale(void)
{
    return smolscale_disabled != NULL && !smolscale_disabled();
}

bool in_smolscale_worker(void)
{
    return smolscale_in_worker != NULL && smolscale_in_worker();
}

bool is_relinked(void)
{
    return uv__work_submit != NULL;
}

TCase *new_case(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, TIME_LIMIT);
    suite_add_tcase(suite, tcase);
    return tcase;
}

// ---- counters and gates

struct gate gate = {COUNTER_INIT, COUNTER_INIT, COUNTER_INIT, 0, 0};

void pass_gate(void)
{
    unsigned inside = atomic_fetch_add(&gate.inside, 1) + 1;
    unsigned most = atomic_load(&gate.most_inside);
    while (inside > most && !atomic_compare_exchange_weak(&gate.most_inside, &most, inside))
        ;
    count(&gate.started);
    await(&gate.open, 1);
    atomic_fetch_sub(&gate.inside, 1);
    count(&gate.passed);
}

void open_gate(void)
{
    count(&gate.open);
}

// ---- jobs

struct counter jobs_run = COUNTER_INIT;
uv_work_t *order[MAX_NOTED];
int statuses[MAX_NOTED];
unsigned noted;

void gate_job(uv_work_t *req)
{
    (void)req;
    pass_gate();
}

void counting_job(uv_work_t *req)
{
    (void)req;
    count(&jobs_run);
}

void note_end(uv_work_t *req, int status)
{
    ck_assert_uint_lt(noted, MAX_NOTED);
    order[noted] = req;
    statuses[noted++] = status;
}

void submit_gate_job(uv_loop_t *loop, uv_work_t *req)
{
    ck_assert_int_eq(uv_queue_work(loop, req, gate_job, note_end), 0);
}

void run_all(uv_loop_t *loop)
{
    ck_assert_int_eq(uv_run(loop, UV_RUN_DEFAULT), 0);
    if (loop != uv_default_loop())
        ck_assert_int_eq(uv_loop_close(loop), 0);
}

// ---- what the program interposes

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    typedef int function(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (node != NULL && strcmp(node, GATE_HOST) == 0) {
        pass_gate();
        return EAI_NONAME;
    }
    function *real = (function *)dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, result);
}

atomic_int failing_creations;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *),
                   void *argument)
{
    typedef int function(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (atomic_load(&failing_creations) > 0 && atomic_fetch_sub(&failing_creations, 1) > 0)
        return EAGAIN;
    function *real = (function *)dlsym(RTLD_NEXT, "pthread_create");
    return real(thread, attributes, main, argument);
}

atomic_ulong allocations;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

_Thread_local unsigned allocation_fails_in;
_Thread_local bool all_later_ones_fail;

// Counts, and says whether this one fails.
static bool fails(void)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    if (allocation_fails_in == 0 || --allocation_fails_in > 0)
        return false;
    allocation_fails_in = all_later_ones_fail;
    return true;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t members, size_t size)
{
    return fails() ? NULL : __libc_calloc(members, size);
}

void *realloc(void *old, size_t size)
{
    return fails() ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __libc_memalign(alignment, size);
}

int main(void)
{
    const char *role = getenv("QUIET_ROLE");
    if (role)
        return quiet_role(role);
    SRunner *runner = srunner_create(work_suite());
    srunner_add_suite(runner, request_suite());
    srunner_add_suite(runner, thread_suite());
    srunner_add_suite(runner, process_suite());
    srunner_add_suite(runner, bad_input_suite());
    srunner_add_suite(runner, quiet_suite());
    srunner_run_all(runner, CK_ENV);
    int run = srunner_ntests_run(runner), failed = srunner_ntests_failed(runner);
    printf("%s: %d passed, %d failed\n",
           is_relinked()    ? "relinked"
           : on_smolscale() ? "preloaded"
                            : "native",
           run - failed, failed);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
