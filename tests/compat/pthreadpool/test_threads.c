// SPDX-License-Identifier: ISC
//
// The threads of a pool: whose they are, what they run, and that they have ended when destroy
// returns. This program is run natively, preloaded (also with SMOLSCALE_QUIET=1) and disabled, and
// linked with the layer with OURS defined, where children can go on with their parent's pools.

#include "threads.h"

#include <check.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <pthreadpool.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { threads = 4 };

// It has a thread of its own, and no thread can be made in the child of a process with threads.
#ifdef __SANITIZE_THREAD__
enum { thread_sanitizer = 1 };
#else
enum { thread_sanitizer = 0 };
#endif

// A call whose items meet, so that each thread of the pool runs one, and does `what` in it.
struct meeting {
    void (*what)(void *);
    void *argument;
    _Atomic int here;
};

static void meet(void *context, size_t i)
{
    struct meeting *m = context;
    (void)i;
    if (m->what)
        m->what(m->argument);
    m->here++;
    while (m->here < threads)
        sched_yield();
}

static void in_all_threads(pthreadpool_t pool, void (*what)(void *), void *argument)
{
    struct meeting m = {.what = what, .argument = argument};
    pthreadpool_parallelize_1d(pool, meet, &m, threads, PTHREADPOOL_FLAG_YIELD_WORKERS);
    ck_assert_int_eq(m.here, threads);
}

static void do_nothing(void *context, size_t i)
{
    (void)context, (void)i;
}

// After this a call of these items is expected to be too cheap for help, in any pool: the threads
// are then first needed by whoever finds that the call stands still.
static void make_cheap(void)
{
    pthreadpool_t pool = pthreadpool_create(threads);
    struct meeting m = {.here = threads};
    for (int round = 0; round < 20; round++)
        pthreadpool_parallelize_1d(pool, meet, &m, threads, PTHREADPOOL_FLAG_YIELD_WORKERS);
    pthreadpool_destroy(pool);
}

// A thread is listed until soon after it was joined.
static void wait_for_threads(int count)
{
    while (threads_now() != count)
        sched_yield();
}

// ---------------------------------------------------------------------------------------------
// The end
// ---------------------------------------------------------------------------------------------

static pthread_key_t key;
static _Atomic long merged;

static void merge(void *count)
{
    merged += *(long *)count;
    free(count);
}

static void count_in_thread(void *unused)
{
    (void)unused;
    long *count = pthread_getspecific(key);
    if (!count) {
        count = calloc(1, sizeof *count);
        ck_assert_ptr_nonnull(count);
        ck_assert_int_eq(pthread_setspecific(key, count), 0);
    }
    ++*count;
}

START_TEST(thread_local_data_is_destroyed_when_destroy_returns)
{
    ck_assert_int_eq(pthread_key_create(&key, merge), 0);
    for (int round = 1; round <= 10; round++) {
        merged = 0;
        if (round % 5 == 0)
            make_cheap();
        pthreadpool_t pool = pthreadpool_create(threads);
        for (int call = 0; call < 5; call++)
            in_all_threads(pool, count_in_thread, NULL);
        long *mine = pthread_getspecific(key);
        long own = *mine;
        pthread_setspecific(key, NULL);
        free(mine);
        pthreadpool_destroy(pool);
        ck_assert_int_eq(merged + own, 5 * threads);
    }
}
END_TEST

START_TEST(no_thread_is_left_after_the_last_pool)
{
    int before = threads_now();
    for (int round = 0; round < 10; round++) {
        pthreadpool_t pools[3];
        for (int p = 0; p < 3; p++)
            pools[p] = pthreadpool_create(threads);
        for (int p = 0; p < 3; p++)
            if ((round + p) % 3)
                in_all_threads(pools[p], NULL, NULL);
        for (int p = 0; p < 3; p++)
            pthreadpool_destroy(pools[(round + p) % 3]);
        wait_for_threads(before);
    }
}
END_TEST

static void *come_and_go(void *unused)
{
    (void)unused;
    for (int round = 0; round < 20; round++) {
        pthreadpool_t pool = pthreadpool_create(threads);
        if (round % 2)
            in_all_threads(pool, NULL, NULL);
        pthreadpool_destroy(pool);
    }
    return NULL;
}

START_TEST(no_thread_is_left_where_pools_came_and_went_in_several_threads)
{
    int before = threads_now();
    pthread_t thread[3];
    for (int t = 0; t < 3; t++)
        ck_assert_int_eq(pthread_create(&thread[t], NULL, come_and_go, NULL), 0);
    for (int t = 0; t < 3; t++)
        pthread_join(thread[t], NULL);
    wait_for_threads(before);
}
END_TEST

static void expect_exit(pid_t child, int code)
{
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status), "signal %d", WTERMSIG(status));
    ck_assert_int_eq(WEXITSTATUS(status), code);
}

static void use_a_pool(void)
{
    pthreadpool_t pool = pthreadpool_create(threads);
    in_all_threads(pool, NULL, NULL);
    pthreadpool_destroy(pool);
}

static void note_exit(void)
{
    _exit(7);
}

START_TEST(the_process_ends_with_its_main_thread)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        atexit(note_exit);
        use_a_pool();
        pthread_exit(NULL); // the last thread: that is exit(0)
    }
    expect_exit(child, 7);
}
END_TEST

// Allowed to processes of one thread, if at all.
START_TEST(the_process_may_have_a_user_namespace_of_its_own)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        use_a_pool();
        while (unshare(CLONE_NEWUSER) != 0 && errno == EINVAL)
            sched_yield(); // a thread that was joined counts until a moment later
        _exit(7);
    }
    expect_exit(child, 7);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// What they are
// ---------------------------------------------------------------------------------------------

// Without a name, nice value and CPUs with SMOLSCALE_QUIET=1, which cannot ask for them.
struct settings {
    sigset_t mask;
    char name[16];
    int nice;
    int cpus;
};

static void look(struct settings *s)
{
    cpu_set_t cpus;
    memset(s, 0, sizeof *s);
    pthread_sigmask(SIG_SETMASK, NULL, &s->mask);
    if (getenv("SMOLSCALE_QUIET"))
        return;
    prctl(PR_GET_NAME, s->name);
    s->nice = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
    sched_getaffinity(0, sizeof cpus, &cpus);
    s->cpus = CPU_COUNT(&cpus);
}

struct expectation {
    struct settings settings;
    pthread_t caller;
    _Atomic int different;
};

static void compare(void *argument)
{
    struct expectation *e = argument;
    struct settings mine;
    look(&mine);
    if (pthread_equal(pthread_self(), e->caller))
        return;
    e->different += sigismember(&mine.mask, SIGUSR1) != sigismember(&e->settings.mask, SIGUSR1) ||
                    sigismember(&mine.mask, SIGUSR2) != sigismember(&e->settings.mask, SIGUSR2) ||
                    strcmp(mine.name, e->settings.name) != 0 || mine.nice != e->settings.nice ||
                    mine.cpus != e->settings.cpus;
}

static void *make_a_pool(void *argument)
{
    struct expectation *e = argument;
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    prctl(PR_SET_NAME, "maker");
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 3);
    cpu_set_t cpus;
    sched_getaffinity(0, sizeof cpus, &cpus);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&cpus) > 1; cpu++)
        CPU_CLR(cpu, &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
    look(&e->settings);
    return pthreadpool_create(threads);
}

START_TEST(they_are_like_the_thread_that_made_the_pool)
{
    for (int cheap = 0; cheap < 2; cheap++) {
        if (cheap)
            make_cheap();
        struct expectation e = {.caller = pthread_self()};
        pthread_t maker;
        void *pool;
        ck_assert_int_eq(pthread_create(&maker, NULL, make_a_pool, &e), 0);
        pthread_join(maker, &pool);
        in_all_threads(pool, compare, &e);
        ck_assert_int_eq(e.different, 0);
        pthreadpool_destroy(pool);
    }
}
END_TEST

// The number that a thread got from the first pool that ran an item in it.
static _Thread_local int pool_of_thread;

struct owner {
    int number;
    pthread_t caller;
    _Atomic int strangers;
};

static void enter(void *argument)
{
    struct owner *o = argument;
    if (pthread_equal(pthread_self(), o->caller))
        return;
    o->strangers += pool_of_thread != 0 && pool_of_thread != o->number;
    pool_of_thread = o->number;
}

START_TEST(they_run_items_of_their_pool_alone)
{
    enum { pools = 3 };
    pthreadpool_t pool[pools];
    struct owner owner[pools];
    for (int p = 0; p < pools; p++) {
        pool[p] = pthreadpool_create(threads);
        owner[p] = (struct owner){.number = p + 1, .caller = pthread_self()};
    }
    for (int round = 0; round < 15; round++)
        for (int p = 0; p < pools; p++)
            in_all_threads(pool[p], enter, &owner[p]);
    for (int p = 0; p < pools; p++) {
        pthreadpool_destroy(pool[p]);
        ck_assert_int_eq(owner[p].strangers, 0);
    }
}
END_TEST

struct crowd {
    pthread_mutex_t lock;
    pthread_t known[64];
    int count;
};

static void note_thread(void *argument)
{
    struct crowd *c = argument;
    pthread_mutex_lock(&c->lock);
    int i = 0;
    while (i < c->count && !pthread_equal(c->known[i], pthread_self()))
        i++;
    if (i == c->count && c->count < 64)
        c->known[c->count++] = pthread_self();
    pthread_mutex_unlock(&c->lock);
}

// While the pool lives none of them ends, also if its number of threads is lowered meanwhile.
START_TEST(they_are_the_same_as_long_as_the_pool_lives)
{
    pthreadpool_t pool = pthreadpool_create(threads);
    struct crowd c = {.lock = PTHREAD_MUTEX_INITIALIZER};
    for (int round = 0; round < 20; round++) {
        in_all_threads(pool, note_thread, &c);
        for (int call = 0; call < 3; call++)
            pthreadpool_parallelize_1d(pool, do_nothing, NULL, 1000,
                                       PTHREADPOOL_FLAG_YIELD_WORKERS);
    }
    pthreadpool_destroy(pool);
    ck_assert_int_eq(c.count, threads);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// System calls
// ---------------------------------------------------------------------------------------------

// What the native library makes, and write(), by which a test complains. (malloc counts the CPUs
// for its second arena: there is none.)
static const unsigned allowed[] = {
    SYS_futex,
    SYS_clone3,
    SYS_clone,
    SYS_mmap,
    SYS_munmap,
    SYS_mprotect,
    SYS_madvise,
    SYS_brk,
    SYS_exit,
    SYS_rt_sigaction,
    SYS_rt_sigreturn,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_exit_group,
    SYS_rt_sigprocmask,
    SYS_write,
    SYS_prctl /* forbidding */,
    SYS_restart_syscall,
};

// False: this kernel has no such filter.
static bool forbid_all_others(void)
{
    enum { count = sizeof allowed / sizeof allowed[0] };
    struct sock_filter code[2 * count + 6];
    unsigned short n = 0;
    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < count; i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {n, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

struct patience {
    _Atomic size_t done;
    size_t all;
};

static void first_item_waits_for_all_others(void *context, size_t i)
{
    struct patience *p = context;
    while (i == 0 && p->done < p->all - 1)
        ;
    p->done++;
}

static void all_kinds_of_calls(void)
{
    pthreadpool_t pool = pthreadpool_create(threads);
    for (int round = 0; round < 20; round++)
        for (size_t range = 2; range < 3000; range = range * 8 - 1) {
            struct patience p = {.all = range};
            pthreadpool_parallelize_1d(pool, first_item_waits_for_all_others, &p, range,
                                       PTHREADPOOL_FLAG_YIELD_WORKERS);
            if (p.done != range)
                _exit(1);
        }
    for (int round = 0; round < 300; round++)
        pthreadpool_parallelize_1d(pool, do_nothing, NULL, 100, PTHREADPOOL_FLAG_YIELD_WORKERS);
    pthreadpool_destroy(pool);
}

START_TEST(calls_work_where_only_the_system_calls_of_plain_threads_are_allowed)
{
    const char *preloaded = getenv("LD_PRELOAD");
    const char *quiet = getenv("SMOLSCALE_QUIET");
#ifdef OURS
    preloaded = "linked";
#endif
    if (preloaded && *preloaded && !quiet && !getenv("SMOLSCALE_DISABLE"))
        return;
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        mallopt(M_ARENA_MAX, 1);
        if (_i == 1) // forbidden only later
            all_kinds_of_calls();
        if (forbid_all_others())
            all_kinds_of_calls();
        _exit(7);
    }
    expect_exit(child, 7);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Children
// ---------------------------------------------------------------------------------------------

#ifdef OURS
// Natively destroy waits for threads that the child does not have.
START_TEST(a_child_can_destroy_the_pools_of_its_parent)
{
    pthreadpool_t used = pthreadpool_create(threads);
    pthreadpool_t unused = pthreadpool_create(threads);
    in_all_threads(used, NULL, NULL);
    for (int calls = 0; calls < 2; calls++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(60);
            if (calls)
                in_all_threads(used, NULL, NULL);
            pthreadpool_destroy(used);
            in_all_threads(unused, NULL, NULL);
            pthreadpool_destroy(unused);
            use_a_pool();
            wait_for_threads(1);
            _exit(7);
        }
        expect_exit(child, 7);
    }
    in_all_threads(unused, NULL, NULL);
    pthreadpool_destroy(unused);
    pthreadpool_destroy(used);
    wait_for_threads(1);
}
END_TEST
#endif

int main(void)
{
    Suite *suite = suite_create("pthreadpool threads");
    TCase *tests = tcase_create("threads");
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, thread_local_data_is_destroyed_when_destroy_returns);
    if (!thread_sanitizer) {
        tcase_add_test(tests, no_thread_is_left_after_the_last_pool);
        tcase_add_test(tests, no_thread_is_left_where_pools_came_and_went_in_several_threads);
        tcase_add_test(tests, the_process_ends_with_its_main_thread);
        tcase_add_test(tests, the_process_may_have_a_user_namespace_of_its_own);
    }
    tcase_add_test(tests, they_are_like_the_thread_that_made_the_pool);
    tcase_add_test(tests, they_run_items_of_their_pool_alone);
    tcase_add_test(tests, they_are_the_same_as_long_as_the_pool_lives);
    tcase_add_loop_test(tests, calls_work_where_only_the_system_calls_of_plain_threads_are_allowed,
                        0, 2);
#ifdef OURS
    if (!thread_sanitizer)
        tcase_add_test(tests, a_child_can_destroy_the_pools_of_its_parent);
#endif
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
