// SPDX-License-Identifier: ISC
//
// The rules that hold for every parallel function, each as one behaviour: who takes part, who waits
// for whom, what a thread is told and how it is left. The functions themselves are in
// test_shapes.c.

#include "os/fpu.h"
#include "pthreadpool.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __SANITIZE_THREAD__
// Tests fork in threaded processes on purpose.
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}
#endif

// ---------------------------------------------------------------------------------------------
// Who takes part
// ---------------------------------------------------------------------------------------------

struct meeting {
    _Atomic size_t here;
    size_t all;
    bool meet; // otherwise items just count
};

// Returns when all items of the call run.
static void meet(void *context, size_t i)
{
    struct meeting *m = context;
    (void)i;
    m->here++;
    while (m->meet && m->here < m->all)
        sched_yield();
}

START_TEST(items_may_wait_for_each_other_where_there_are_threads_for_all)
{
    for (size_t threads = 2; threads <= 8; threads++) {
        pthreadpool_t pool = pthreadpool_create(threads);
        for (int round = 0; round < 5; round++) {
            struct meeting m = {.all = threads, .meet = true};
            pthreadpool_parallelize_1d(pool, meet, &m, threads, 0);
            ck_assert_uint_eq(m.here, threads);
        }
        pthreadpool_destroy(pool);
    }
}
END_TEST

// Nobody is asked to help a call that has always been cheap: the balancer has to notice.
START_TEST(items_of_a_call_that_was_always_cheap_may_suddenly_wait_for_each_other)
{
    pthreadpool_t pool = pthreadpool_create(4);
    struct meeting m = {.all = 4};
    for (int round = 0; round < 20000; round++)
        pthreadpool_parallelize_1d(pool, meet, &m, 4, 0);
    ck_assert_uint_eq(m.here, 80000);
    for (int round = 0; round < 5; round++) {
        m = (struct meeting){.all = 4, .meet = true};
        pthreadpool_parallelize_1d(pool, meet, &m, 4, 0);
        ck_assert_uint_eq(m.here, 4);
    }
    pthreadpool_destroy(pool);
}
END_TEST

struct patience {
    _Atomic size_t done;
    size_t all;
};

static void first_item_waits_for_all_others(void *context, size_t i)
{
    struct patience *p = context;
    if (i == 0)
        while (p->done < p->all - 1)
            sched_yield();
    p->done++;
}

START_TEST(an_item_may_wait_until_all_others_are_done)
{
    pthreadpool_t pool = pthreadpool_create(2);
    for (size_t range = 2; range < 3000; range = range * 3 - 1) {
        struct patience p = {.all = range};
        pthreadpool_parallelize_1d(pool, first_item_waits_for_all_others, &p, range, 0);
        ck_assert_uint_eq(p.done, range);
    }
    pthreadpool_destroy(pool);
}
END_TEST

struct seats {
    size_t count;
    _Atomic int taken[16];
    _Atomic unsigned clashes;
    _Atomic unsigned seen;
};

static void sit(void *context, size_t thread, size_t i)
{
    struct seats *s = context;
    (void)i;
    if (thread >= s->count || s->taken[thread]++)
        s->clashes++;
    s->seen |= 1u << thread;
    for (volatile int n = 0; n < 2000; n++)
        ;
    s->taken[thread]--;
}

START_TEST(a_thread_number_is_below_the_count_and_no_two_threads_have_the_same)
{
    for (size_t threads = 1; threads <= 16; threads *= 2) {
        struct seats s = {.count = threads};
        pthreadpool_t pool = pthreadpool_create(threads);
        for (int round = 0; round < 50; round++)
            pthreadpool_parallelize_1d_with_thread(pool, sit, &s, 200, 0);
        ck_assert_uint_eq(s.clashes, 0);
        ck_assert(s.seen & 1); // the caller takes part
        pthreadpool_destroy(pool);
    }
}
END_TEST

static void note_thread(void *context, size_t i)
{
    ((pthread_t *)context)[i] = pthread_self();
}

START_TEST(without_a_pool_or_with_one_thread_all_runs_in_the_caller)
{
    pthread_t ran[50];
    pthreadpool_t one = pthreadpool_create(1);
    pthreadpool_t pools[] = {NULL, one};
    for (int p = 0; p < 2; p++) {
        pthreadpool_parallelize_1d(pools[p], note_thread, ran, 50, 0);
        for (int i = 0; i < 50; i++)
            ck_assert(pthread_equal(ran[i], pthread_self()));
    }
    pthreadpool_destroy(one);
}
END_TEST

static void note_order(void *context, size_t i)
{
    size_t *next = context;
    *next = *next == i ? i + 1 : SIZE_MAX;
}

START_TEST(without_a_pool_items_run_in_order)
{
    size_t next = 0;
    pthreadpool_parallelize_1d(NULL, note_order, &next, 1000, 0);
    ck_assert_uint_eq(next, 1000);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Several callers, several pools
// ---------------------------------------------------------------------------------------------

struct shared_pool {
    pthreadpool_t pool;
    _Atomic(void *) current; // the call whose items run
    _Atomic unsigned mixed;
    _Atomic size_t total;
};

struct one_call {
    struct shared_pool *shared;
    _Atomic size_t items;
};

static void belongs_to_one_call(void *context, size_t i)
{
    struct one_call *c = context;
    (void)i;
    void *expected = NULL;
    if (!atomic_compare_exchange_strong(&c->shared->current, &expected, c) && expected != c)
        c->shared->mixed++;
    if (++c->items == 64)
        c->shared->current = NULL; // the last one: the next call may begin
    c->shared->total++;
}

static void *make_calls(void *argument)
{
    struct shared_pool *s = argument;
    for (int n = 0; n < 500; n++) {
        struct one_call c = {.shared = s};
        pthreadpool_parallelize_1d(s->pool, belongs_to_one_call, &c, 64, 0);
        if (c.items != 64)
            s->mixed++;
    }
    return NULL;
}

START_TEST(calls_of_several_threads_on_one_pool_do_not_mix)
{
    enum { callers = 4 };
    struct shared_pool s = {.pool = pthreadpool_create(3)};
    pthread_t threads[callers];
    for (int n = 0; n < callers; n++)
        ck_assert_int_eq(pthread_create(&threads[n], NULL, make_calls, &s), 0);
    for (int n = 0; n < callers; n++)
        pthread_join(threads[n], NULL);
    ck_assert_uint_eq(s.mixed, 0);
    ck_assert_uint_eq(s.total, callers * 500 * 64);
    pthreadpool_destroy(s.pool);
}
END_TEST

static void count(void *context, size_t i)
{
    (void)i;
    atomic_fetch_add((_Atomic size_t *)context, 1);
}

static void *use_own_pool(void *argument)
{
    _Atomic size_t *wrong = argument;
    for (int n = 0; n < 200; n++) {
        pthreadpool_t pool = pthreadpool_create((size_t)(2 + n % 3));
        _Atomic size_t items = 0;
        pthreadpool_parallelize_1d(pool, count, &items, 500, 0);
        *wrong += items != 500;
        pthreadpool_destroy(pool);
    }
    return NULL;
}

START_TEST(pools_come_and_go_in_several_threads)
{
    enum { users = 4 };
    _Atomic size_t wrong = 0;
    pthread_t threads[users];
    for (int n = 0; n < users; n++)
        ck_assert_int_eq(pthread_create(&threads[n], NULL, use_own_pool, (void *)&wrong), 0);
    for (int n = 0; n < users; n++)
        pthread_join(threads[n], NULL);
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

struct nest {
    pthreadpool_t inner;
    _Atomic size_t items;
    _Atomic size_t elsewhere; // inner items that ran in another thread
};

struct inner {
    struct nest *nest;
    pthread_t thread;
};

static void inner_item(void *context, size_t i)
{
    struct inner *in = context;
    (void)i;
    in->nest->items++;
    if (!pthread_equal(in->thread, pthread_self()))
        in->nest->elsewhere++;
}

static void outer_item(void *context, size_t i)
{
    struct nest *n = context;
    (void)i;
    struct inner in = {n, pthread_self()};
    pthreadpool_parallelize_1d(n->inner, inner_item, &in, 30, 0);
}

START_TEST(an_item_may_call_another_pool)
{
    pthreadpool_t outer = pthreadpool_create(3);
    struct nest n = {.inner = pthreadpool_create(2)};
    for (int round = 0; round < 50; round++)
        pthreadpool_parallelize_1d(outer, outer_item, &n, 20, 0);
    ck_assert_uint_eq(n.items, 50 * 20 * 30);
    pthreadpool_destroy(n.inner);
    pthreadpool_destroy(outer);
}
END_TEST

START_TEST(an_item_that_calls_its_own_pool_runs_that_call_itself)
{
    struct nest n = {.inner = pthreadpool_create(3)};
    pthreadpool_parallelize_1d(n.inner, outer_item, &n, 20, 0);
    ck_assert_uint_eq(n.items, 20 * 30);
    ck_assert_uint_eq(n.elsewhere, 0);
    pthreadpool_destroy(n.inner);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Flags and microarchitecture
// ---------------------------------------------------------------------------------------------

struct denormals {
    struct meeting meeting;
    _Atomic size_t flushed; // items that saw denormals disabled
};

static void look_at_fpu(void *context, size_t i)
{
    struct denormals *d = context;
    d->flushed += ss_fpu_get() == ss_fpu_without_denormals(ss_fpu_get());
    meet(&d->meeting, i);
}

// The items meet, so every one of them runs in a thread of its own.
START_TEST(denormals_are_disabled_in_every_thread_of_a_call_and_restored_after_it)
{
    ss_fpu before = ss_fpu_get();
    ck_assert(before != ss_fpu_without_denormals(before));
    pthreadpool_t pools[] = {NULL, pthreadpool_create(3)};
    for (int p = 0; p < 2; p++) {
        size_t items = p ? 3 : 1;
        for (int round = 0; round < 10; round++) {
            uint32_t flags = round % 2 ? 0 : PTHREADPOOL_FLAG_DISABLE_DENORMALS;
            struct denormals d = {.meeting = {.all = items, .meet = true}};
            pthreadpool_parallelize_1d(pools[p], look_at_fpu, &d, items, flags);
            ck_assert_uint_eq(d.flushed, flags ? items : 0);
            ck_assert(ss_fpu_get() == before);
        }
    }
    pthreadpool_destroy(pools[1]);
}
END_TEST

START_TEST(all_flags_are_accepted)
{
    pthreadpool_t pool = pthreadpool_create(3);
    for (uint32_t flags = 0; flags < 8; flags++) {
        _Atomic size_t items = 0;
        pthreadpool_parallelize_1d(pool, count, &items, 1000, flags);
        ck_assert_uint_eq(items, 1000);
    }
    pthreadpool_destroy(pool);
}
END_TEST

// This program is its own cpuinfo.
uint32_t cpuinfo_get_current_uarch_index_with_default(uint32_t otherwise);
uint32_t cpuinfo_get_current_uarch_index_with_default(uint32_t otherwise)
{
    (void)otherwise;
    return 3;
}

static void look_at_uarch(void *context, uint32_t uarch, size_t i)
{
    (void)i;
    *(_Atomic uint32_t *)context |= 1u << uarch;
}

START_TEST(the_microarchitecture_is_cpuinfos_up_to_the_maximum)
{
    pthreadpool_t pools[] = {NULL, pthreadpool_create(3)};
    for (int p = 0; p < 2; p++) {
        _Atomic uint32_t seen = 0;
        pthreadpool_parallelize_1d_with_uarch(pools[p], look_at_uarch, &seen, 1, 5, 100, 0);
        ck_assert_uint_eq(seen, 1u << 3);
        seen = 0;
        pthreadpool_parallelize_1d_with_uarch(pools[p], look_at_uarch, &seen, 1, 2, 100, 0);
        ck_assert_uint_eq(seen, 1u << 1);
    }
    pthreadpool_destroy(pools[1]);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Pools
// ---------------------------------------------------------------------------------------------

START_TEST(no_threads_means_as_many_as_cpus)
{
    pthreadpool_t pool = pthreadpool_create(0);
    ck_assert_uint_eq(pthreadpool_get_threads_count(pool), (size_t)sysconf(_SC_NPROCESSORS_ONLN));
    pthreadpool_destroy(pool);
}
END_TEST

START_TEST(a_pool_that_memory_is_too_small_for_is_not_made)
{
    ck_assert_ptr_null(pthreadpool_create(SIZE_MAX));
    ck_assert_ptr_null(pthreadpool_create(SIZE_MAX / 64));
}
END_TEST

START_TEST(no_pool_counts_as_one_thread_and_needs_no_end)
{
    ck_assert_uint_eq(pthreadpool_get_threads_count(NULL), 1);
    ck_assert_uint_eq(pthreadpool_set_threads_count(NULL, 4), 1);
    pthreadpool_release_executor_threads(NULL);
    pthreadpool_destroy(NULL);
}
END_TEST

START_TEST(the_number_of_threads_can_be_lowered_and_raised_up_to_that_of_the_start)
{
    pthreadpool_t pool = pthreadpool_create(6);
    static const struct {
        size_t asked, got;
    } steps[] = {{3, 3}, {1, 1}, {0, 6}, {2, 2}, {7, 6}, {SIZE_MAX, 6}};
    for (size_t n = 0; n < sizeof steps / sizeof steps[0]; n++) {
        ck_assert_uint_eq(pthreadpool_set_threads_count(pool, steps[n].asked), steps[n].got);
        ck_assert_uint_eq(pthreadpool_get_threads_count(pool), steps[n].got);
        struct seats s = {.count = steps[n].got};
        pthreadpool_parallelize_1d_with_thread(pool, sit, &s, 100, 0);
        ck_assert_uint_eq(s.clashes, 0);
    }
    pthreadpool_destroy(pool);
}
END_TEST

// An executor with one thread for each task. Whoever has one on the stack joins its threads before
// it goes: a thread touches the executor after its task, of which the pool knows nothing any more.
struct own_executor {
    int threads;
    _Atomic int scheduled, begun, ended;
    _Atomic(struct own_task *) tasks; // all there were
};

struct own_task {
    struct own_executor *executor;
    void *context;
    void (*task)(void *);
    pthread_t thread;
    struct own_task *next;
};

static int own_threads(void *self)
{
    return ((struct own_executor *)self)->threads;
}

static __thread bool in_own_thread;

static void *own_thread(void *argument)
{
    struct own_task *t = argument;
    in_own_thread = true;
    t->executor->begun++;
    t->task(t->context);
    t->executor->ended++;
    return NULL;
}

static void own_schedule(void *self, void *context, void (*task)(void *))
{
    struct own_executor *executor = self;
    struct own_task *t = malloc(sizeof *t);
    ck_assert_ptr_nonnull(t);
    *t = (struct own_task){.executor = executor, .context = context, .task = task};
    executor->scheduled++;
    ck_assert_int_eq(pthread_create(&t->thread, NULL, own_thread, t), 0);
    t->next = executor->tasks;
    while (!atomic_compare_exchange_weak(&executor->tasks, &t->next, t))
        ;
}

static void own_join(struct own_executor *executor)
{
    for (struct own_task *t = executor->tasks, *next; t; t = next) {
        next = t->next;
        pthread_join(t->thread, NULL);
        free(t);
    }
    executor->tasks = NULL;
}

struct guests {
    struct meeting meeting;
    pthread_t caller;
    _Atomic int theirs, strangers;
};

static void look_at_thread(void *context, size_t i)
{
    struct guests *g = context;
    if (in_own_thread)
        g->theirs++;
    else if (!pthread_equal(g->caller, pthread_self()))
        g->strangers++;
    meet(&g->meeting, i);
}

START_TEST(an_executor_of_the_programs_own_lends_the_threads)
{
    struct own_executor own = {.threads = 3};
    struct pthreadpool_executor executor = {own_threads, own_schedule};
    pthreadpool_t pool = pthreadpool_create_v2(&executor, &own, 0x10000);
    ck_assert_uint_eq(pthreadpool_get_threads_count(pool), 4);
    for (int round = 0; round < 10; round++) {
        struct guests g = {.meeting = {.all = 4, .meet = true}, .caller = pthread_self()};
        pthreadpool_parallelize_1d(pool, look_at_thread, &g, 4, 0);
        ck_assert_int_eq(g.strangers, 0);
        ck_assert_int_eq(g.theirs, 3);
    }
    pthreadpool_release_executor_threads(pool);
    pthreadpool_destroy(pool);
    // Tasks that had been given away have run before destroy returned.
    ck_assert_int_ge(own.scheduled, 3);
    ck_assert_int_eq(own.begun, own.scheduled);
    own_join(&own);
}
END_TEST

START_TEST(an_executor_can_be_exchanged)
{
    struct own_executor own[2] = {{.threads = 3}, {.threads = 3}};
    struct pthreadpool_executor executor = {own_threads, own_schedule};
    pthreadpool_t pool = pthreadpool_create_v2(&executor, &own[0], 3);
    ck_assert_uint_eq(pthreadpool_get_threads_count(pool), 3);
    ck_assert(!pthreadpool_update_executor(pool, &executor, &own[0]));
    ck_assert(pthreadpool_update_executor(pool, &executor, &own[1]));
    struct guests g = {.meeting = {.all = 3, .meet = true}, .caller = pthread_self()};
    pthreadpool_parallelize_1d(pool, look_at_thread, &g, 3, 0);
    ck_assert_int_eq(g.strangers, 0);
    ck_assert_int_eq(own[0].scheduled, 0);
    ck_assert_int_ge(own[1].scheduled, 2);
    pthreadpool_destroy(pool);
    own_join(&own[0]);
    own_join(&own[1]);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// The process around it
// ---------------------------------------------------------------------------------------------

START_TEST(a_child_can_use_the_pools_of_its_parent)
{
    pthreadpool_t pool = pthreadpool_create(3);
    struct meeting m = {.all = 3, .meet = true};
    pthreadpool_parallelize_1d(pool, meet, &m, 3, 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        m.here = 0;
        pthreadpool_parallelize_1d(pool, meet, &m, 3, 0);
        pthreadpool_t own = pthreadpool_create(2);
        _Atomic size_t items = 0;
        pthreadpool_parallelize_1d(own, count, &items, 10000, 0);
        _exit(m.here == 3 && items == 10000 ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    ck_assert_int_eq(status, 0);
    m.here = 0;
    pthreadpool_parallelize_1d(pool, meet, &m, 3, 0);
    ck_assert_uint_eq(m.here, 3);
    pthreadpool_destroy(pool);
}
END_TEST

static void fork_in_item(void *context, size_t i)
{
    if (i != 5)
        return;
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    int status = -1;
    waitpid(child, &status, 0);
    *(int *)context = WEXITSTATUS(status);
}

START_TEST(an_item_may_fork)
{
    pthreadpool_t pool = pthreadpool_create(3);
    for (int round = 0; round < 20; round++) {
        int seen = 0;
        pthreadpool_parallelize_1d(pool, fork_in_item, &seen, 20, 0);
        ck_assert_int_eq(seen, 7);
    }
    pthreadpool_destroy(pool);
}
END_TEST

#ifndef __SANITIZE_THREAD__
// The children below are forked by an item that a helper runs: their only thread is no caller.
struct helper_fork {
    pthreadpool_t pool;
    pthread_t caller;
    _Atomic int here;
    _Atomic bool forked;
    int status;
};

static void *use_the_pool_in_the_child(void *argument)
{
    struct helper_fork *f = argument;
    for (int round = 0; round < 3; round++) {
        struct meeting m = {.all = 2, .meet = true};
        pthreadpool_parallelize_1d(f->pool, meet, &m, 2, 0);
        if (m.here != 2)
            _exit(1);
    }
    pthreadpool_destroy(f->pool);
    _exit(7);
}

static void fork_in_helpers_item(void *context, size_t i)
{
    struct helper_fork *f = context;
    (void)i;
    f->here++;
    while (f->here < 2)
        sched_yield();
    if (pthread_equal(pthread_self(), f->caller)) {
        while (!f->forked)
            sched_yield();
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        _Atomic size_t items = 0;
        pthreadpool_parallelize_1d(f->pool, count, &items, 10, 0); // a nested call, as before
        pthread_t thread;
        if (items != 10 || pthread_create(&thread, NULL, use_the_pool_in_the_child, f) != 0)
            _exit(2);
        return;
    }
    waitpid(child, &f->status, 0);
    f->forked = true;
}

static void fork_in_a_helpers_item(pthreadpool_t pool)
{
    struct helper_fork f = {.pool = pool, .caller = pthread_self(), .status = -1};
    pthreadpool_parallelize_1d(pool, fork_in_helpers_item, &f, 2, 0);
    ck_assert_msg(WIFEXITED(f.status), "signal %d", WTERMSIG(f.status));
    ck_assert_int_eq(WEXITSTATUS(f.status), 7);
    pthreadpool_destroy(pool);
}

START_TEST(a_helpers_item_may_fork_and_the_child_use_the_pool)
{
    fork_in_a_helpers_item(pthreadpool_create(2));
}
END_TEST

START_TEST(an_item_in_a_thread_of_the_programs_executor_may_fork_as_well)
{
    struct own_executor own = {.threads = 1};
    struct pthreadpool_executor executor = {own_threads, own_schedule};
    fork_in_a_helpers_item(pthreadpool_create_v2(&executor, &own, 2));
    own_join(&own);
}
END_TEST

#endif

// More threads than anybody asks for by himself.
static size_t many_threads(void)
{
    return 2 * (size_t)sysconf(_SC_NPROCESSORS_ONLN) + 2;
}

// In a child, so that what it forbids itself is its own: the items of a call meet that has always
// been cheap, and of one that is new.
static void items_meet_in_a_child(bool (*prepare)(void *), void *argument,
                                  struct pthreadpool_executor *executor)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        size_t threads = many_threads();
        pthreadpool_t pool = pthreadpool_create_v2(executor, argument, threads);
        if (!prepare(argument))
            _exit(2);
        struct meeting m = {.all = threads, .meet = true};
        pthreadpool_parallelize_1d(pool, meet, &m, threads, 0);
        m = (struct meeting){.all = threads};
        for (int round = 0; round < 1000; round++)
            pthreadpool_parallelize_1d(pool, meet, &m, threads, 0);
        m = (struct meeting){.all = threads, .meet = true};
        pthreadpool_parallelize_1d(pool, meet, &m, threads, 0);
        _exit(m.here == threads ? 7 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    ck_assert_msg(WIFEXITED(status), "signal %d", WTERMSIG(status));
    ck_assert_int_eq(WEXITSTATUS(status), 7);
}

static bool without_pending_signals(void *unused)
{
    (void)unused;
    return setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){0, 0}) == 0;
}

START_TEST(items_may_wait_for_each_other_where_no_timer_can_be_had)
{
    items_meet_in_a_child(without_pending_signals, NULL, NULL);
}
END_TEST

// An executor whose threads wait for tasks from the start.
struct ready_executor {
    int threads;
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct own_task *first;
};

static int ready_threads(void *self)
{
    return ((struct ready_executor *)self)->threads;
}

static void ready_schedule(void *self, void *context, void (*task)(void *))
{
    struct ready_executor *executor = self;
    struct own_task *t = malloc(sizeof *t);
    ck_assert_ptr_nonnull(t);
    *t = (struct own_task){.context = context, .task = task};
    pthread_mutex_lock(&executor->lock);
    t->next = executor->first;
    executor->first = t;
    pthread_cond_signal(&executor->some);
    pthread_mutex_unlock(&executor->lock);
}

static void *ready_thread(void *self)
{
    struct ready_executor *executor = self;
    for (;;) {
        pthread_mutex_lock(&executor->lock);
        while (!executor->first)
            pthread_cond_wait(&executor->some, &executor->lock);
        struct own_task *t = executor->first;
        executor->first = t->next;
        pthread_mutex_unlock(&executor->lock);
        t->task(t->context);
        free(t);
    }
    return NULL;
}

// From here on the process gets no thread.
static bool forbid_threads(void)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof program[0], program};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

static bool with_threads_of_the_executor_alone(void *self)
{
    struct ready_executor *executor = self;
    pthread_t thread;
    for (int n = 0; n < executor->threads; n++)
        if (pthread_create(&thread, NULL, ready_thread, executor) != 0)
            return false;
    return forbid_threads();
}

// Nobody looks whether a call stands still, and so all help is asked for at its begin.
START_TEST(items_may_wait_for_each_other_where_no_thread_can_be_had_to_watch_them)
{
    struct ready_executor ready = {.threads = (int)many_threads(),
                                   .lock = PTHREAD_MUTEX_INITIALIZER,
                                   .some = PTHREAD_COND_INITIALIZER};
    struct pthreadpool_executor executor = {ready_threads, ready_schedule};
    items_meet_in_a_child(with_threads_of_the_executor_alone, &ready, &executor);
}
END_TEST

// Threads of this process whose name is this.
static int threads_named(const char *name)
{
    int found = 0;
    DIR *folder = opendir("/proc/self/task");
    ck_assert_ptr_nonnull(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[300], comm[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        if (fgets(comm, sizeof comm, file))
            comm[strcspn(comm, "\n")] = '\0';
        fclose(file);
        found += strcmp(comm, name) == 0;
    }
    closedir(folder);
    return found;
}

// With an executor of the program's own, whose threads are joined: what is left are the executor's
// own. One is listed until soon after its end, hence the wait.
START_TEST(who_watches_the_calls_ends_with_the_last_pool)
{
    for (int round = 0; round < 20; round++) {
        struct own_executor own = {.threads = 2};
        struct pthreadpool_executor executor = {own_threads, own_schedule};
        pthreadpool_t pools[2];
        for (int p = 0; p < 2; p++)
            pools[p] = pthreadpool_create_v2(&executor, &own, 3);
        for (int p = 0; p < 2; p++) {
            struct meeting m = {.all = 3, .meet = true};
            pthreadpool_parallelize_1d(pools[p], meet, &m, 3, 0);
        }
        pthreadpool_destroy(pools[round % 2]);
        struct meeting m = {.all = 3, .meet = true};
        pthreadpool_parallelize_1d(pools[1 - round % 2], meet, &m, 3, 0);
        while (threads_named("smolscale") == 0)
            sched_yield();
        pthreadpool_destroy(pools[1 - round % 2]);
        own_join(&own);
        while (threads_named("smolscale") != 0)
            sched_yield();
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pthreadpool rules");
    TCase *rules = tcase_create("rules");
    tcase_set_timeout(rules, 300);
    tcase_add_test(rules, items_may_wait_for_each_other_where_there_are_threads_for_all);
    tcase_add_test(rules, items_of_a_call_that_was_always_cheap_may_suddenly_wait_for_each_other);
    tcase_add_test(rules, an_item_may_wait_until_all_others_are_done);
    tcase_add_test(rules, a_thread_number_is_below_the_count_and_no_two_threads_have_the_same);
    tcase_add_test(rules, without_a_pool_or_with_one_thread_all_runs_in_the_caller);
    tcase_add_test(rules, without_a_pool_items_run_in_order);
    tcase_add_test(rules, calls_of_several_threads_on_one_pool_do_not_mix);
    tcase_add_test(rules, pools_come_and_go_in_several_threads);
    tcase_add_test(rules, an_item_may_call_another_pool);
    tcase_add_test(rules, an_item_that_calls_its_own_pool_runs_that_call_itself);
    tcase_add_test(rules, denormals_are_disabled_in_every_thread_of_a_call_and_restored_after_it);
    tcase_add_test(rules, all_flags_are_accepted);
    tcase_add_test(rules, the_microarchitecture_is_cpuinfos_up_to_the_maximum);
    tcase_add_test(rules, no_threads_means_as_many_as_cpus);
    tcase_add_test(rules, a_pool_that_memory_is_too_small_for_is_not_made);
    tcase_add_test(rules, no_pool_counts_as_one_thread_and_needs_no_end);
    tcase_add_test(rules, the_number_of_threads_can_be_lowered_and_raised_up_to_that_of_the_start);
    tcase_add_test(rules, an_executor_of_the_programs_own_lends_the_threads);
    tcase_add_test(rules, an_executor_can_be_exchanged);
    tcase_add_test(rules, a_child_can_use_the_pools_of_its_parent);
    tcase_add_test(rules, an_item_may_fork);
#ifndef __SANITIZE_THREAD__ // cannot follow a child that gets the stack of a parent's thread
    tcase_add_test(rules, a_helpers_item_may_fork_and_the_child_use_the_pool);
    tcase_add_test(rules, an_item_in_a_thread_of_the_programs_executor_may_fork_as_well);
#endif
    tcase_add_test(rules, items_may_wait_for_each_other_where_no_timer_can_be_had);
    tcase_add_test(rules, items_may_wait_for_each_other_where_no_thread_can_be_had_to_watch_them);
    tcase_add_test(rules, who_watches_the_calls_ends_with_the_last_pool);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
