// SPDX-License-Identifier: ISC
//
// The threads of pools: those that belong to an exclusive pool, and what a job sees of the thread
// it runs in. Where a test runs twice, round 0 is about a shared pool and round 1 about an
// exclusive one.

#include "support.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

// ---------------------------------------------------------------------------------------------
// Exclusive pools
// ---------------------------------------------------------------------------------------------

START_TEST(an_exclusive_pool_has_all_its_threads_from_the_start)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, 3, true);
    ck_assert_uint_eq(g_thread_pool_get_num_threads(pool), 3);
    for (guint i = 1; i <= 10; i++)
        push(pool, i);
    counter_wait(&gate.started, 3);
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 7);
    ck_assert_uint_eq(g_thread_pool_get_num_threads(pool), 3);
    gate_open(&gate);
    counter_wait(&gate.ended, 10);
    ck_assert_uint_eq(g_thread_pool_get_num_threads(pool), 3);
    ck_assert_int_eq(atomic_load(&gate.most_running), 3);
    g_thread_pool_free(pool, FALSE, TRUE);
}
END_TEST

START_TEST(an_exclusive_pool_of_size_0_fills_and_runs_when_raised)
{
    struct gate gate = GATE_INIT;
    gate_open(&gate);
    GThreadPool *pool = gate_pool(&gate, 0, true);
    for (guint i = 1; i <= 500; i++)
        push(pool, i);
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 500);
    ck_assert_uint_eq(g_thread_pool_get_num_threads(pool), 0);
    ck_assert(g_thread_pool_set_max_threads(pool, 4, NULL));
    ck_assert_uint_eq(g_thread_pool_get_num_threads(pool), 4);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&gate.ended), 500);
}
END_TEST

START_TEST(an_exclusive_pool_can_be_raised_and_lowered)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, 1, true);
    for (guint i = 1; i <= 6; i++)
        push(pool, i);
    counter_wait(&gate.started, 1);
    ck_assert(g_thread_pool_set_max_threads(pool, 4, NULL));
    counter_wait(&gate.started, 4);
    ck_assert(g_thread_pool_set_max_threads(pool, 2, NULL));
    ck_assert_int_eq(g_thread_pool_get_max_threads(pool), 2);
    gate_open(&gate);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&gate.ended), 6);
    ck_assert_int_eq(atomic_load(&gate.most_running), 4);
}
END_TEST

// Threads that are to go, and have not gone yet, are wanted again.
START_TEST(an_exclusive_pool_lowered_and_raised_at_once_goes_on)
{
    struct gate gate = GATE_INIT;
    gate_open(&gate);
    GThreadPool *pool = gate_pool(&gate, 3, true);
    for (guint i = 1; i <= 1000; i++) {
        ck_assert(g_thread_pool_set_max_threads(pool, 2, NULL));
        ck_assert(g_thread_pool_set_max_threads(pool, 1, NULL));
        if (i % 2)
            ck_assert(g_thread_pool_set_max_threads(pool, 3, NULL));
        push(pool, i);
        EVENTUALLY(g_thread_pool_unprocessed(pool), ==, 0);
    }
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&gate.ended), 1000);
}
END_TEST

START_TEST(a_frozen_exclusive_pool_thaws)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, 2, true);
    for (guint i = 1; i <= 6; i++)
        push(pool, i);
    counter_wait(&gate.started, 2);
    ck_assert(g_thread_pool_set_max_threads(pool, 0, NULL));
    gate_open(&gate);
    EVENTUALLY(g_thread_pool_get_num_threads(pool), ==, 0);
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 4);
    ck_assert(g_thread_pool_set_max_threads(pool, 2, NULL));
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&gate.ended), 6);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Threads as a job sees them
// ---------------------------------------------------------------------------------------------

struct look {
    struct counter looked;
    char name[16];
    GThread *self;
    sigset_t mask;
    int policy, niceness;
};
#define LOOK_INIT              \
    {                          \
        .looked = COUNTER_INIT \
    }

static void look_around(gpointer item, gpointer look_pointer)
{
    struct look *look = look_pointer;
    (void)item;
    pthread_getname_np(pthread_self(), look->name, sizeof look->name);
    look->self = g_thread_self();
    pthread_sigmask(SIG_SETMASK, NULL, &look->mask);
    look->policy = sched_getscheduler(0);
    look->niceness = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
    counter_add(&look->looked, 1);
}

static void look_from_a_pool(struct look *look, bool exclusive)
{
    GThreadPool *pool = new_pool(look_around, look, 1, exclusive);
    push(pool, 1);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&look->looked), 1);
}

START_TEST(threads_are_called_pool_and_the_programs_name)
{
    struct look look = LOOK_INIT;
    g_set_prgname("a-program-with-a-long-name");
    look_from_a_pool(&look, _i == 1);
    if (glib_at_least(2, 83, 1))
        ck_assert_msg(strncmp(look.name, "pool-", 5) == 0, "the thread is called %s", look.name);
    else
        ck_assert_str_eq(look.name, "pool-a-program-");
}
END_TEST

START_TEST(threads_are_called_pool_when_the_program_has_no_name)
{
    struct look look = LOOK_INIT;
    look_from_a_pool(&look, false);
    ck_assert_msg(strncmp(look.name, "pool", 4) == 0, "the thread is called %s", look.name);
}
END_TEST

START_TEST(a_job_has_a_GThread_of_its_own)
{
    struct look look = LOOK_INIT;
    look_from_a_pool(&look, _i == 1);
    ck_assert_ptr_nonnull(look.self);
    ck_assert_ptr_ne(look.self, g_thread_self());
}
END_TEST

static void count_destroyed(gpointer counter)
{
    counter_add(counter, 1);
}
static GPrivate thread_data = G_PRIVATE_INIT(count_destroyed);

static void set_thread_data(gpointer item, gpointer counter)
{
    (void)item;
    g_private_set(&thread_data, counter);
}

START_TEST(GPrivate_destructors_run_when_the_threads_end)
{
    struct counter destroyed = COUNTER_INIT;
    GThreadPool *pool = new_pool(set_thread_data, &destroyed, 1, _i == 1);
    push(pool, 1);
    g_thread_pool_free(pool, FALSE, TRUE);
    g_thread_pool_set_max_unused_threads(0);
    counter_wait(&destroyed, 1);
}
END_TEST

START_TEST(exclusive_threads_inherit_the_signal_mask_of_their_creator)
{
    struct look look = LOOK_INIT;
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    GThreadPool *pool = new_pool(look_around, &look, 1, true);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    push(pool, 1);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert(sigismember(&look.mask, SIGUSR1));
    ck_assert(!sigismember(&look.mask, SIGUSR2));
}
END_TEST

static void *create_nicely(void *look)
{
    // Linux keeps niceness per thread.
    ck_assert_int_eq(setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 7), 0);
    return new_pool(look_around, look, 1, true);
}

static void *create_shared_nicely(void *look)
{
    ck_assert_int_eq(setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 7), 0);
    return new_pool(look_around, look, 1, false);
}

START_TEST(threads_have_the_scheduling_of_the_thread_that_created_the_pool)
{
    struct look look = LOOK_INIT;
    bool exclusive = _i == 1;
    pthread_t creator;
    void *pool;
    pthread_create(&creator, NULL, exclusive ? create_nicely : create_shared_nicely, &look);
    pthread_join(creator, &pool);
    push(pool, 1); // from a thread with niceness 0
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_int_eq(look.policy, sched_getscheduler(0));
    // A thread that runs only when nothing else does has no use for a nice value, and the system
    // call by which GLib sets a shared thread's scheduling leaves it out.
    if (look.policy != SCHED_IDLE || exclusive || preloaded())
        ck_assert_int_eq(look.niceness, 7);
}
END_TEST

// ---- what a thread is

struct confinement {
    int cpus, no_new_privs;
    bool key_set;
};

static GPrivate leftover;

static void look_at_confinement(gpointer item, gpointer out)
{
    (void)item;
    struct confinement *seen = out;
    cpu_set_t cpus;
    sched_getaffinity(0, sizeof cpus, &cpus);
    seen->cpus = CPU_COUNT(&cpus);
    seen->no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    seen->key_set = g_private_get(&leftover) != NULL;
}

static void pin(void)
{
    cpu_set_t all, one;
    sched_getaffinity(0, sizeof all, &all);
    CPU_ZERO(&one);
    for (size_t cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static void *use_exclusive_pool_confined(void *seen)
{
    pin();
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    GThreadPool *pool = new_pool(look_at_confinement, seen, 1, true);
    push(pool, 1);
    g_thread_pool_free(pool, FALSE, TRUE);
    return NULL;
}

static void leave_something(gpointer item, gpointer unused)
{
    (void)unused;
    g_private_set(&leftover, item);
}

START_TEST(threads_of_an_exclusive_pool_are_confined_as_their_creator_is)
{
    // A shared thread that could be taken, busy with a pool of its own, and one with leftovers.
    struct gate gate = GATE_INIT;
    GThreadPool *shared = gate_pool(&gate, 2, false);
    push(shared, 1);
    counter_wait(&gate.started, 1);
    struct confinement seen;
    pthread_t creator;
    pthread_create(&creator, NULL, use_exclusive_pool_confined, &seen);
    pthread_join(creator, NULL);
    ck_assert_int_eq(seen.cpus, 1);
    ck_assert_int_eq(seen.no_new_privs, 1);
    ck_assert(!seen.key_set);
    gate_open(&gate);
    g_thread_pool_free(shared, FALSE, TRUE);
}
END_TEST

static sigset_t set_usr1(int how)
{
    sigset_t mask, before;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    pthread_sigmask(how, &mask, &before);
    return before;
}

// Round 0: of a shared pool. Round 1: of an exclusive one that is made by a thread with other
// settings, for which the unused thread is no good either.
START_TEST(what_an_exclusive_pool_leaves_is_not_found_by_a_pool_of_another_kind)
{
    ONLY_PRELOADED; // natively the thread becomes an unused one, and any pool may get it
    GThreadPool *pool = new_pool(leave_something, NULL, 1, true);
    push(pool, 1);
    g_thread_pool_free(pool, FALSE, TRUE);
    EVENTUALLY(g_thread_pool_get_num_unused_threads(), ==, 1);
    sigset_t before = set_usr1(SIG_BLOCK);
    for (int i = 0; i < 3; i++) {
        struct confinement seen;
        struct look look = LOOK_INIT;
        pool = new_pool(look_at_confinement, &seen, 1, _i == 1);
        push(pool, 1);
        g_thread_pool_free(pool, FALSE, TRUE);
        ck_assert(!seen.key_set);
        look_from_a_pool(&look, _i == 1);
        ck_assert(sigismember(&look.mask, SIGUSR1));
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    struct look look = LOOK_INIT;
    look_from_a_pool(&look, _i == 1);
    ck_assert(!sigismember(&look.mask, SIGUSR1));
}
END_TEST

static void *make_pool_pinned(void *use)
{
    pin();
    struct confinement seen;
    GThreadPool *pool = new_pool(look_at_confinement, &seen, 2, false);
    if (use != NULL)
        push(pool, 1);
    g_thread_pool_free(pool, FALSE, TRUE);
    return NULL;
}

START_TEST(a_first_pool_made_by_a_pinned_thread_pins_no_other)
{
    if (glib_at_least(2, 75, 3))
        return; // there it does: all shared threads are created by one that it starts
    cpu_set_t cpus;
    sched_getaffinity(0, sizeof cpus, &cpus);
    pthread_t creator;
    pthread_create(&creator, NULL, make_pool_pinned, NULL);
    pthread_join(creator, NULL);
    for (int i = 0; i < 20; i++) {
        struct confinement seen;
        GThreadPool *pool = new_pool(look_at_confinement, &seen, 8, false);
        push(pool, 1);
        g_thread_pool_free(pool, FALSE, TRUE);
        ck_assert_int_eq(seen.cpus, CPU_COUNT(&cpus));
    }
}
END_TEST

static void look_at_stack(gpointer item, gpointer size)
{
    (void)item;
    pthread_attr_t attr;
    ck_assert_int_eq(pthread_getattr_np(pthread_self(), &attr), 0);
    pthread_attr_getstacksize(&attr, size);
    pthread_attr_destroy(&attr);
}

START_TEST(stacks_have_the_size_that_the_limit_says)
{
    pthread_attr_t attr;
    size_t expected, got;
    pthread_attr_init(&attr);
    pthread_attr_getstacksize(&attr, &expected); // the C library's default
    GThreadPool *pool = new_pool(look_at_stack, &got, 1, _i == 1);
    push(pool, 1);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(got, expected);

    expected = 512 << 10;
    pthread_attr_setstacksize(&attr, expected);
    ck_assert_int_eq(pthread_setattr_default_np(&attr), 0);
    g_thread_pool_stop_unused_threads();
    EVENTUALLY(g_thread_pool_get_num_unused_threads(), ==, 0);
    pool = new_pool(look_at_stack, &got, 1, true);
    push(pool, 1);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(got, expected);
    pthread_attr_destroy(&attr);
}
END_TEST

static unsigned threads_now(void)
{
    unsigned count = 0;
    GDir *dir = g_dir_open("/proc/self/task", 0, NULL);
    while (g_dir_read_name(dir) != NULL)
        count++;
    g_dir_close(dir);
    return count;
}

START_TEST(when_the_unused_threads_have_been_stopped_no_thread_is_left)
{
    if (glib_at_least(2, 75, 3))
        return; // there the thread that creates the others stays
    unsigned before = threads_now();
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, 4, _i == 1);
    for (guint i = 1; i <= 4; i++)
        push(pool, i);
    counter_wait(&gate.started, 4);
    gate_open(&gate);
    g_thread_pool_free(pool, FALSE, TRUE);
    g_thread_pool_set_max_unused_threads(0);
    EVENTUALLY(threads_now(), ==, before);
}
END_TEST

static void count_if_in_worker(gpointer item, gpointer counter)
{
    (void)item;
    counter_add(counter, in_smolscale_worker() ? 1 : 0);
}

START_TEST(jobs_run_on_the_executor)
{
    ONLY_PRELOADED;
    struct counter inside = COUNTER_INIT;
    GThreadPool *pool = new_pool(count_if_in_worker, &inside, 2, _i == 1);
    for (guint i = 1; i <= 100; i++)
        push(pool, i);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&inside), 100);
}
END_TEST
int main(void)
{
    const struct test tests[] = {
        {an_exclusive_pool_has_all_its_threads_from_the_start, 1},
        {an_exclusive_pool_of_size_0_fills_and_runs_when_raised, 1},
        {an_exclusive_pool_can_be_raised_and_lowered, 1},
        {an_exclusive_pool_lowered_and_raised_at_once_goes_on, 1},
        {a_frozen_exclusive_pool_thaws, 1},
        {threads_are_called_pool_and_the_programs_name, 2},
        {threads_are_called_pool_when_the_program_has_no_name, 1},
        {a_job_has_a_GThread_of_its_own, 2},
        {GPrivate_destructors_run_when_the_threads_end, 2},
        {exclusive_threads_inherit_the_signal_mask_of_their_creator, 1},
        {threads_have_the_scheduling_of_the_thread_that_created_the_pool, 2},
        {threads_of_an_exclusive_pool_are_confined_as_their_creator_is, 1},
        {what_an_exclusive_pool_leaves_is_not_found_by_a_pool_of_another_kind, 2},
        {a_first_pool_made_by_a_pinned_thread_pins_no_other, 1},
        {stacks_have_the_size_that_the_limit_says, 2},
        {when_the_unused_threads_have_been_stopped_no_thread_is_left, 2},
        {jobs_run_on_the_executor, 2},
        {NULL, 0},
    };
    return test_suite("threads", tests);
}
