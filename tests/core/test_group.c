// SPDX-License-Identifier: ISC
//
// Worker groups: what their threads are, who serves whom, their limits and their end.

#include "queue/queue.h"
#include "sched/executor.h"
#include "support.h"

#include <smolscale_async.h>

#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static smolscale_group *group_new(unsigned max_workers, uint64_t idle_timeout, unsigned flags)
{
    struct smolscale_group_attr attr = SMOLSCALE_GROUP_ATTR_INIT;
    attr.max_workers = max_workers;
    attr.idle_timeout = idle_timeout;
    attr.flags = flags;
    smolscale_group *group;
    ck_assert_int_eq(smolscale_group_new(&group, &attr), 0);
    return group;
}

static smolscale_queue *queue_of(smolscale_group *group, smolscale_run_fn *run, void *user_data)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run;
    attr.user_data = user_data;
    attr.group = group;
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    return queue;
}

// ---- threads seen by jobs

static struct {
    pthread_mutex_t lock;
    unsigned count;
    pid_t tid[64];
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void note_thread(void *item, void *user_data)
{
    (void)item, (void)user_data;
    pthread_mutex_lock(&seen.lock);
    unsigned i = 0;
    while (i < seen.count && seen.tid[i] != gettid())
        i++;
    seen.tid[i] = gettid();
    seen.count += i == seen.count;
    pthread_mutex_unlock(&seen.lock);
}

static void note_thread_and_sleep(void *item, void *user_data)
{
    note_thread(item, user_data);
    test_breathe();
}

START_TEST(a_group_of_one_worker_is_one_thread_always_the_same)
{
    smolscale_group *group = group_new(1, SMOLSCALE_FOREVER, 0);
    smolscale_queue *queue = queue_of(group, note_thread_and_sleep, NULL);
    smolscale_queue *other = queue_of(group, note_thread, NULL);
    for (unsigned i = 0; i < 50; i++) {
        push(queue, item_of(i));
        push(other, item_of(i));
    }
    smolscale_queue_free(queue);
    smolscale_queue_free(other);
    ck_assert_uint_eq(seen.count, 1);
    smolscale_group_free(group);
}
END_TEST

static _Thread_local bool of_first_group;
static atomic_uint leftovers;

static void leave_something(void *item, void *user_data)
{
    (void)item, (void)user_data;
    of_first_group = true;
    test_breathe();
}

static void look_for_it(void *item, void *user_data)
{
    (void)item, (void)user_data;
    atomic_fetch_add(&leftovers, of_first_group);
    test_breathe();
}

START_TEST(what_a_groups_jobs_leave_in_a_thread_no_other_groups_job_finds)
{
    smolscale_group *a = group_new(SMOLSCALE_UNLIMITED, 0, 0);
    smolscale_group *b = group_new(SMOLSCALE_UNLIMITED, 0, 0);
    smolscale_queue *dirty = queue_of(a, leave_something, NULL);
    smolscale_queue *clean = queue_of(b, look_for_it, NULL),
                    *plain = queue_new(look_for_it, NULL, 8);
    for (unsigned i = 0; i < 60; i++) {
        push(dirty, item_of(i));
        push(clean, item_of(i));
        push(plain, item_of(i));
    }
    smolscale_queue_free(dirty);
    smolscale_queue_free(clean);
    smolscale_queue_free(plain);
    smolscale_group_free(a);
    smolscale_group_free(b);
    ck_assert_uint_eq(atomic_load(&leftovers), 0);
}
END_TEST

// ---- the end

static atomic_uint destroyed;
static pthread_key_t key;

static void destroy(void *value)
{
    (void)value;
    for (unsigned i = 0; i < 20; i++)
        sched_yield(); // so that who does not wait comes too early
    atomic_fetch_add(&destroyed, 1);
}

static struct counter came = COUNTER_INIT;
enum { CROWD = 6 };

static void set_key_and_meet(void *item, void *user_data)
{
    (void)item, (void)user_data;
    pthread_setspecific(key, &destroyed);
    counter_add(&came, 1);
    counter_wait(&came, CROWD);
}

static void crowd_in(smolscale_group *group)
{
    smolscale_queue *queue = queue_of(group, set_key_and_meet, NULL);
    for (unsigned i = 0; i < CROWD; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
}

START_TEST(free_returns_after_the_threads_destructors_have_run)
{
    ck_assert_int_eq(pthread_key_create(&key, destroy), 0);
    uint64_t timeout[] = {0, SMOLSCALE_FOREVER};
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, timeout[_i], 0);
    crowd_in(group);
    smolscale_group_free(group);
    ck_assert_uint_eq(atomic_load(&destroyed), CROWD);
}
END_TEST

// In the end: the kernel lists a thread for a moment after it was joined.
START_TEST(after_the_last_group_no_thread_of_the_executor_is_left)
{
    struct tids others;
    threads_before_first_use(&others);
    ck_assert_int_eq(pthread_key_create(&key, destroy), 0);
    for (unsigned round = 0; round < 5; round++) {
        counter_add(&came, 0UL - counter_get(&came));
        smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, SMOLSCALE_FOREVER,
                                           round % 2 ? SMOLSCALE_GROUP_EAGER : 0);
        crowd_in(group);
        smolscale_group_free(group);
        ck_assert_uint_eq(stats_now().workers, 0);
        EVENTUALLY(threads_new(&others), ==, 0); // the kernel lists joined ones for a moment longer
    }
}
END_TEST

START_TEST(a_group_that_was_never_used_leaves_no_thread)
{
    struct tids others;
    threads_before_first_use(&others);
    smolscale_group_free(group_new(4, 0, 0));
    smolscale_group_free(group_new(4, SMOLSCALE_FOREVER, SMOLSCALE_GROUP_EAGER));
    EVENTUALLY(threads_new(&others), ==, 0);
    smolscale_group_free(NULL);
}
END_TEST

static smolscale_group *own_group;
static atomic_bool freed_from_within;

static void free_own_group(void *queue, void *user_data)
{
    (void)queue, (void)user_data;
    smolscale_group_free(own_group);
    atomic_store(&freed_from_within, true);
}

START_TEST(a_worker_may_free_its_own_group)
{
    struct tids others;
    threads_before_first_use(&others);
    own_group = group_new(4, SMOLSCALE_FOREVER, 0);
    smolscale_queue *queue = queue_of(own_group, free_own_group, NULL);
    push(queue, item_of(0));
    smolscale_queue_close(queue, NULL, NULL);
    EVENTUALLY(atomic_load(&freed_from_within), ==, true);
    EVENTUALLY(stats_now().workers, ==, 0);
    EVENTUALLY(threads_new(&others), ==, 0);
}
END_TEST

static void *make_use_and_free_groups(void *arg)
{
    for (unsigned i = 0; i < SCALED(200) + 4; i++) {
        smolscale_group *group = group_new(1 + i % 3, i % 2 ? SMOLSCALE_FOREVER : 1000,
                                           i % 5 == 0 ? SMOLSCALE_GROUP_EAGER : 0);
        smolscale_queue *queue = queue_of(group, note_thread, arg);
        for (unsigned k = 0; k < i % 7; k++)
            push(queue, item_of(k));
        smolscale_queue_free(queue);
        pthread_mutex_lock(&seen.lock);
        seen.count = 0;
        pthread_mutex_unlock(&seen.lock);
        smolscale_group_free(group);
    }
    return NULL;
}

START_TEST(groups_come_and_go_in_many_threads)
{
    struct tids others;
    threads_before_first_use(&others);
    pthread_t thread[4];
    for (unsigned i = 0; i < 4; i++)
        thread[i] = thread_start(make_use_and_free_groups, NULL);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    EVENTUALLY(threads_new(&others), ==, 0); // two that were freed at once wait for one balancer
}
END_TEST

static void end_thread(void *item, void *user_data)
{
    (void)item, (void)user_data;
    pthread_exit(NULL);
}

START_TEST(jobs_that_end_their_threads_are_replaced_and_the_threads_joined)
{
    struct tids others;
    threads_before_first_use(&others);
    smolscale_group *group = group_new(2, SMOLSCALE_FOREVER, 0);
    smolscale_queue *queue = queue_of(group, end_thread, NULL);
    for (unsigned i = 0; i < 40; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    smolscale_group_free(group);
    EVENTUALLY(threads_new(&others), ==, 0);
}
END_TEST

// ---- settings

struct settings {
    int nice, policy, cpus, no_new_privs;
    bool usr1_blocked;
};

static struct settings settings_now(void)
{
    cpu_set_t cpus;
    sigset_t mask;
    sched_getaffinity(0, sizeof cpus, &cpus);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return (struct settings){
        .nice = getpriority(PRIO_PROCESS, 0),
        .policy = sched_getscheduler(0),
        .cpus = CPU_COUNT(&cpus),
        .no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
        .usr1_blocked = sigismember(&mask, SIGUSR1),
    };
}

#define ck_same_settings(got, expected)                                \
    do {                                                               \
        ck_assert_int_eq((got).nice, (expected).nice);                 \
        ck_assert_int_eq((got).policy, (expected).policy);             \
        ck_assert_int_eq((got).cpus, (expected).cpus);                 \
        ck_assert_int_eq((got).no_new_privs, (expected).no_new_privs); \
        ck_assert_int_eq((got).usr1_blocked, (expected).usr1_blocked); \
    } while (0)

static void look_at_settings(void *settings, void *user_data)
{
    (void)user_data;
    *(struct settings *)settings = settings_now();
}

static void lower_settings(void)
{
    cpu_set_t all, one;
    sched_getaffinity(0, sizeof all, &all);
    CPU_ZERO(&one);
    for (size_t cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
    int nice = getpriority(PRIO_PROCESS, 0); // the process may have been started with a low one
    setpriority(PRIO_PROCESS, 0, nice < 12 ? nice + 7 : 19);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &mask, NULL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static smolscale_group *of_lowered;
static unsigned lowered_flags;
static struct settings lowered;

static void *make_group_of_lowered(void *use)
{
    lower_settings();
    lowered = settings_now();
    of_lowered = group_new(SMOLSCALE_UNLIMITED, 0, lowered_flags);
    if (use) {
        struct settings got;
        smolscale_queue *queue = queue_of(of_lowered, look_at_settings, NULL);
        push(queue, &got);
        smolscale_queue_free(queue);
        ck_same_settings(got, lowered);
    }
    return NULL;
}

START_TEST(workers_have_the_settings_of_the_thread_that_made_their_group)
{
    struct settings mine = settings_now(), got;
    smolscale_group *of_main = group_new(SMOLSCALE_UNLIMITED, 0, 0);
    bool used_first = _i & 1, eager = _i & 2;
    lowered_flags = eager ? SMOLSCALE_GROUP_EAGER : 0;
    pthread_join(thread_start(make_group_of_lowered, used_first ? &got : NULL), NULL);
    ck_assert(smolscale_group_suits(of_main));
    ck_assert(!smolscale_group_suits(of_lowered));

    smolscale_queue *queue = queue_of(of_lowered, look_at_settings, NULL);
    push(queue, &got);
    smolscale_queue_free(queue);
    if (!used_first && !eager)
        lowered.no_new_privs = 0; // no thread is left to inherit that from
    ck_same_settings(got, lowered);

    queue = queue_of(of_main, look_at_settings, NULL);
    push(queue, &got);
    smolscale_queue_free(queue);
    ck_same_settings(got, mine);
    smolscale_group_free(of_main);
    smolscale_group_free(of_lowered);
}
END_TEST

static void *make_eager_group_confined(void *unused)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    of_lowered = group_new(SMOLSCALE_UNLIMITED, 0, SMOLSCALE_GROUP_EAGER);
    return unused;
}

// It cannot be told by looking at the thread that needs the worker.
START_TEST(workers_of_an_eager_group_are_confined_as_its_maker_whichever_thread_needs_the_first)
{
    pthread_join(thread_start(make_eager_group_confined, NULL), NULL);
    smolscale_queue *queue = queue_of(of_lowered, look_at_settings, NULL);
    struct settings got;
    push(queue, &got);
    smolscale_queue_free(queue);
    ck_assert_int_eq(got.no_new_privs, 1);
    smolscale_group_free(of_lowered);
}
END_TEST

// ---- spawners that are needed no more, or not yet

static smolscale_group *group_of_lowered_thread(unsigned flags)
{
    lowered_flags = flags;
    pthread_join(thread_start(make_group_of_lowered, NULL), NULL);
    return of_lowered;
}

START_TEST(a_worker_that_frees_its_own_group_leaves_no_thread_behind)
{
    struct tids others;
    threads_before_first_use(&others);
    smolscale_group *of_main = group_new(4, 0, SMOLSCALE_GROUP_EAGER);
    own_group = group_of_lowered_thread(SMOLSCALE_GROUP_EAGER); // with a spawner of its own
    smolscale_group_free(of_main);
    smolscale_queue *queue = queue_of(own_group, free_own_group, NULL);
    push(queue, item_of(0));
    smolscale_queue_close(queue, NULL, NULL);
    EVENTUALLY(atomic_load(&freed_from_within), ==, true);
    EVENTUALLY(threads_new(&others), ==, 0);
}
END_TEST

static bool (*real_futex_wait_until)(_Atomic uint32_t *word, uint32_t expected, uint64_t until);
static struct tids before_group;
static atomic_bool comes_last;

// The thread that has ordered a worker and waits for it gets no CPU until that worker and its
// spawner have gone, and the balancer (with the thread that looks for it) sleeps.
static bool come_back_last(_Atomic uint32_t *word, uint32_t expected, uint64_t until)
{
    bool woken = real_futex_wait_until(word, expected, until);
    if (word == &ss.spawn_answers && atomic_load(&comes_last)) {
        EVENTUALLY(atomic_load(&freed_from_within), ==, true);
        EVENTUALLY(threads_new(&before_group), <=, 2);
        EVENTUALLY(atomic_load(&ss.balancer), <, SS_BALANCER_DOZING);
    }
    return woken;
}

static void free_own_queue_and_group(void *item, void *user_data)
{
    (void)item, (void)user_data;
    smolscale_queue_close(smolscale_current_queue(), NULL, NULL);
    free_own_group(NULL, NULL);
}

START_TEST(the_balancer_ends_when_a_thread_that_waited_for_a_worker_goes_on_last)
{
    threads_before_first_use(&before_group);
    real_futex_wait_until = ss_os.futex_wait_until;
    ss_os.futex_wait_until = come_back_last; // before there are threads that use it
    smolscale_group *of_main = group_new(4, 0, SMOLSCALE_GROUP_EAGER);
    own_group = group_of_lowered_thread(SMOLSCALE_GROUP_EAGER); // with a spawner of its own
    smolscale_group_free(of_main);
    atomic_store(&comes_last, true);
    smolscale_queue *queue = queue_of(own_group, free_own_queue_and_group, NULL);
    push(queue, item_of(0));
    EVENTUALLY(atomic_load(&freed_from_within), ==, true);
    EVENTUALLY(threads_new(&before_group), ==, 0);
}
END_TEST

static unsigned groups_there(void)
{
    unsigned count = 0;
    ss_lock(&ss.lock);
    for (struct ss_group *group = ss.groups; group; group = group->next)
        count++;
    ss_unlock(&ss.lock);
    return count;
}

static void list_a_queue_and_free_all(void *queue, void *user_data)
{
    (void)user_data;
    smolscale_queue *taken_back = queue_of(own_group, note_thread, NULL);
    push(taken_back, item_of(0));
    ck_assert(smolscale_queue_cancel(taken_back, item_of(0), 0));
    smolscale_queue_free(taken_back); // which the only worker has not come to see
    smolscale_queue_close(queue, NULL, NULL);
    smolscale_group_free(own_group);
}

START_TEST(a_group_is_gone_though_items_were_taken_back_before_a_worker_came)
{
    unsigned before = groups_there();
    own_group = group_new(1, SMOLSCALE_FOREVER, 0);
    smolscale_queue *queue = queue_of(own_group, list_a_queue_and_free_all, NULL);
    push(queue, queue);
    EVENTUALLY(groups_there(), ==, before + 1); // the default one
}
END_TEST

static int awaited[2];

struct await {
    SMOLSCALE_FRAME;
    bool descriptor;
    int n;
};

SMOLSCALE_ASYNC(await, f)
{
    SMOLSCALE_BEGIN(f);
    if (f->descriptor)
        SMOLSCALE_AWAIT(f->n, smolscale_ready(cx, awaited[0], SMOLSCALE_READABLE));
    else
        SMOLSCALE_AWAIT(f->n, smolscale_sleep(cx, 3600 * SS_NS_PER_S));
    SMOLSCALE_RETURN(f->n);
    SMOLSCALE_END;
}

START_TEST(free_does_not_wait_for_what_tasks_wait_for)
{
    ck_assert_int_eq(pipe(awaited), 0);
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, await, .descriptor = _i), 0);
    EVENTUALLY(workers_after_retiring(), ==, 0); // only the balancer looks after the task
    smolscale_group *group = group_new(1, SMOLSCALE_FOREVER, 0);
    smolscale_queue *queue = queue_of(group, note_thread, NULL);
    push(queue, item_of(0));
    smolscale_queue_free(queue);
    smolscale_group_free(group);
    smolscale_cancel(task);
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, task));
    ck_assert_int_eq(result, -ECANCELED);
    smolscale_release(task);
}
END_TEST

static bool creation_is_forbidden;

static bool none(unsigned n)
{
    (void)n;
    return __atomic_load_n(&creation_is_forbidden, __ATOMIC_RELAXED);
}

static void forbid_creation(bool forbidden)
{
    __atomic_store_n(&creation_is_forbidden, forbidden, __ATOMIC_RELAXED);
}

static void end_thread_or_look(void *settings, void *user_data)
{
    if (settings == user_data) {
        forbid_creation(true);
        pthread_exit(NULL);
    }
    look_at_settings(settings, NULL);
}

START_TEST(settings_stay_with_a_group_whose_work_waits_for_a_thread)
{
    failing_threads_start(none);
    smolscale_group *of_main = group_new(1, SMOLSCALE_FOREVER, SMOLSCALE_GROUP_EAGER);
    struct settings got;
    lowered_flags = 0;
    pthread_join(thread_start(make_group_of_lowered, &got), NULL);
    smolscale_queue *queue = queue_of(of_lowered, end_thread_or_look, &got);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 0), 0);
    smolscale_group_set_max_workers(of_lowered, 1);
    push(queue, &got); // ends the only thread that runs jobs
    struct settings later;
    push(queue, &later);
    smolscale_queue_set_max_active(queue, 1);
    EVENTUALLY(stats_now().workers, ==, 0);
    EVENTUALLY(stats_now().create_failures, >, 0);
    smolscale_group_free(of_main); // and looks for spawners that nobody needs
    forbid_creation(false);
    smolscale_queue_free(queue);
    ck_same_settings(later, lowered);
    smolscale_group_free(of_lowered);
}
END_TEST

static struct {
    struct counter came;
    struct settings got[CROWD];
} crowd = {.came = COUNTER_INIT};

static void look_and_meet(void *item, void *user_data)
{
    (void)user_data;
    crowd.got[number_of(item)] = settings_now();
    counter_add(&crowd.came, 1);
    counter_wait(&crowd.came, CROWD);
}

// As `taskset -a -p` and `renice` of all threads do.
static void lower_all_threads(void)
{
    struct tids all;
    threads_now(&all);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    for (unsigned i = 0; i < all.count; i++) {
        sched_setaffinity(all.tid[i], sizeof one, &one);
        setpriority(PRIO_PROCESS, (id_t)all.tid[i], 5);
    }
}

START_TEST(workers_created_later_follow_what_was_changed_from_outside)
{
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, SMOLSCALE_FOREVER, 0);
    struct settings got;
    smolscale_queue *queue = queue_of(group, look_at_settings, NULL);
    push(queue, &got);
    smolscale_queue_free(queue);
    lower_all_threads();
    queue = queue_of(group, look_and_meet, NULL);
    for (unsigned i = 0; i < CROWD; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    for (unsigned i = 0; i < CROWD; i++) {
        ck_assert_int_eq(crowd.got[i].cpus, 1);
        ck_assert_int_eq(crowd.got[i].nice, 5);
    }
    smolscale_group_free(group);
}
END_TEST

// ---- sharing, limits, errors

START_TEST(groups_that_wait_for_one_another_all_get_workers)
{
    enum { GROUPS = 5 };
    smolscale_group *group[GROUPS];
    smolscale_queue *queue[GROUPS];
    for (unsigned i = 0; i < GROUPS; i++) {
        group[i] = group_new(SMOLSCALE_UNLIMITED, 0, 0);
        queue[i] = queue_of(group[i], look_and_meet, NULL);
        push(queue[i], item_of(i));
    }
    push(queue[0], item_of(GROUPS));
    for (unsigned i = 0; i < GROUPS; i++) {
        smolscale_queue_free(queue[i]);
        smolscale_group_free(group[i]);
    }
    ck_assert_uint_eq(counter_get(&crowd.came), CROWD);
}
END_TEST

START_TEST(a_group_never_has_more_workers_than_it_may)
{
    smolscale_group *group = group_new(3, SMOLSCALE_FOREVER, 0);
    smolscale_queue *queue = queue_of(group, note_thread_and_sleep, NULL);
    for (unsigned i = 0; i < 100; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    ck_assert_uint_le(seen.count, 3);
    ck_assert_int_eq(smolscale_group_set_max_workers(group, 0), -EINVAL);
    smolscale_group_free(group);
}
END_TEST

// ---- dedicated queues that name a group: their threads come from there and go back there

static smolscale_queue *dedicated_of(smolscale_group *group, smolscale_run_fn *run, void *user_data,
                                     unsigned threads)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run;
    attr.user_data = user_data;
    attr.group = group;
    attr.max_active = threads;
    attr.flags = SMOLSCALE_QUEUE_DEDICATED;
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    return queue;
}

static size_t queues(void)
{
    ss_lock(&ss.lock);
    size_t count = ss_queues_count();
    ss_unlock(&ss.lock);
    return count;
}

static unsigned workers_of(smolscale_group *group)
{
    ss_lock(&ss.lock);
    unsigned count = group->workers;
    ss_unlock(&ss.lock);
    return count;
}

START_TEST(a_dedicated_queue_has_the_threads_of_one_that_is_gone)
{
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, SMOLSCALE_FOREVER, 0);
    for (unsigned i = 0; i < 50; i++) {
        smolscale_queue *queue = dedicated_of(group, note_thread, NULL, 1);
        ck_assert_uint_eq(workers_of(group), 0);
        push(queue, item_of(i));
        if (i % 2)
            smolscale_queue_wait(queue); // else the queue may be gone before its thread has parked
        smolscale_queue_free(queue);
        EVENTUALLY(parked_workers(group), ==, 1);
    }
    ck_assert_uint_eq(seen.count, 1);
    ck_assert_uint_eq(stats_now().workers_created, 1);
    smolscale_group_free(group);
    ck_assert_uint_eq(stats_now().workers, 0);
}
END_TEST

// They are asleep when it gets them.
START_TEST(a_full_dedicated_queue_that_is_raised_runs_in_threads_of_its_group)
{
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, SMOLSCALE_FOREVER, 0);
    smolscale_queue_free(dedicated_of(group, note_thread, NULL, CROWD));
    EVENTUALLY(parked_workers(group), ==, CROWD);
    ck_assert_int_eq(pthread_key_create(&key, destroy), 0);
    smolscale_queue *queue = dedicated_of(group, set_key_and_meet, NULL, 0);
    for (unsigned i = 0; i < CROWD; i++)
        push(queue, item_of(i));
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, CROWD), 0);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(stats_now().workers_created, CROWD);
    smolscale_group_free(group);
    ck_assert_uint_eq(atomic_load(&destroyed), CROWD);
}
END_TEST

START_TEST(threads_that_a_lowered_dedicated_queue_gives_up_serve_another)
{
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, SMOLSCALE_FOREVER, 0);
    smolscale_queue *queue = dedicated_of(group, note_thread, NULL, 3);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 1), 0);
    EVENTUALLY(parked_workers(group), ==, 2);
    smolscale_queue *other = dedicated_of(group, note_thread, NULL, 2);
    ck_assert_uint_eq(workers_of(group), 0);
    push(queue, item_of(0));
    push(other, item_of(0));
    smolscale_queue_free(queue);
    smolscale_queue_free(other);
    EVENTUALLY(parked_workers(group), ==, 3);
    ck_assert_uint_eq(stats_now().workers_created, 3);
    smolscale_group_free(group);
}
END_TEST

// Those of a dedicated queue become idle workers of the group like any other.
START_TEST(the_limits_of_a_group_hold_for_threads_of_dedicated_queues)
{
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, SMOLSCALE_FOREVER, 0);
    smolscale_group_set_max_idle(group, 2);
    smolscale_queue_free(dedicated_of(group, note_thread, NULL, 5));
    EVENTUALLY(stats_now().workers, ==, 2);
    EVENTUALLY(smolscale_group_idle_workers(group), ==, 2);
    smolscale_queue *queue = dedicated_of(group, note_thread, NULL, 1);
    smolscale_group_retire_idle(group);
    EVENTUALLY(stats_now().workers, ==, 1);
    push(queue, item_of(0));
    smolscale_queue_free(queue);
    EVENTUALLY(parked_workers(group), ==, 1);
    smolscale_group_set_max_idle(group, 0);
    EVENTUALLY(stats_now().workers, ==, 0);
    smolscale_queue_free(dedicated_of(group, note_thread, NULL, 3));
    EVENTUALLY(stats_now().workers, ==, 0);
    smolscale_group_free(group);
}
END_TEST

// Round 0: asleep for longer than it may idle, it is woken when the queue goes. Round 1: one that
// was lent sleeps on, and ends by itself all the same.
START_TEST(a_thread_of_a_dedicated_queue_that_is_gone_ends_when_it_has_idled)
{
    fake_clock_start();
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, 15 * SS_NS_PER_S, 0);
    for (int i = 0; i <= _i; i++) {
        smolscale_queue *queue = dedicated_of(group, note_thread, NULL, 1);
        push(queue, item_of(0));
        smolscale_queue_wait(queue);
        fake_clock_advance(SS_NS_PER_S);
        smolscale_queue_free(queue);
        EVENTUALLY(parked_workers(group), ==, 1);
    }
    fake_clock_advance(14 * SS_NS_PER_S);
    for (int i = 0; i < 20; i++)
        test_breathe();
    ck_assert_uint_eq(stats_now().workers, 1);
    EVENTUALLY((fake_clock_advance(SS_NS_PER_S), stats_now().workers), ==, 0);
    smolscale_group_free(group);
}
END_TEST

// It may wake once, to see that it is not unused.
START_TEST(a_thread_that_a_group_has_lent_sleeps_until_it_is_called)
{
    fake_clock_start();
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, 15 * SS_NS_PER_S, 0);
    smolscale_queue_free(dedicated_of(group, note_thread, NULL, 1));
    EVENTUALLY(parked_workers(group), ==, 1);
    smolscale_queue *queue = dedicated_of(group, note_thread, NULL, 1);
    push(queue, item_of(0));
    smolscale_queue_wait(queue);
    EVENTUALLY((fake_clock_advance(SS_NS_PER_S), fake_clock_timed_sleepers()), ==, 0);
    push(queue, item_of(1));
    smolscale_queue_wait(queue);
    EVENTUALLY((fake_clock_advance(SS_NS_PER_MS), fake_clock_timed_sleepers()), ==, 0);
    ck_assert_uint_eq(seen.count, 1);
    ck_assert_uint_eq(stats_now().workers, 1);
    smolscale_queue_free(queue);
    smolscale_group_free(group);
}
END_TEST

struct use_of_group {
    smolscale_group *group;
    smolscale_queue *raised; // by this thread; NULL: it makes one
    struct settings got;
    struct counter *freed;
};

static void *use_group_blocking_usr1(void *arg)
{
    struct use_of_group *use = arg;
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &mask, NULL);
    smolscale_queue *queue = use->raised;
    if (queue)
        ck_assert_int_eq(smolscale_queue_set_max_active(queue, 1), 0);
    else
        queue = dedicated_of(use->group, look_at_settings, NULL, 1);
    push(queue, &use->got);
    smolscale_queue_free(queue);
    return NULL;
}

// Neither does it get threads with other settings than its creator's, nor do others get its own.
START_TEST(dedicated_threads_with_other_settings_are_new_and_end_with_their_queue)
{
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, SMOLSCALE_FOREVER, 0);
    smolscale_queue_free(dedicated_of(group, look_at_settings, NULL, 1));
    EVENTUALLY(parked_workers(group), ==, 1);
    struct use_of_group use = {.group = group};
    if (_i == 1)
        use.raised = dedicated_of(group, look_at_settings, NULL, 0);
    pthread_join(thread_start(use_group_blocking_usr1, &use), NULL);
    ck_assert(use.got.usr1_blocked);
    EVENTUALLY(stats_now().workers, ==, 1);
    ck_assert_uint_eq(parked_workers(group), 1);
    ck_assert_uint_eq(stats_now().workers_created, 2);
    smolscale_queue *queue = dedicated_of(group, look_at_settings, NULL, 1);
    push(queue, &use.got);
    smolscale_queue_free(queue);
    ck_assert(!use.got.usr1_blocked);
    smolscale_group_free(group);
}
END_TEST

// A group without threads takes on the settings of the next that needs one.
START_TEST(a_group_that_is_left_lends_to_threads_with_other_settings)
{
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, SMOLSCALE_FOREVER, 0);
    smolscale_queue_free(dedicated_of(group, look_at_settings, NULL, 1));
    EVENTUALLY(parked_workers(group), ==, 1);
    smolscale_group_retire_idle(group);
    EVENTUALLY(stats_now().workers, ==, 0);
    struct use_of_group use = {.group = group};
    pthread_join(thread_start(use_group_blocking_usr1, &use), NULL);
    ck_assert(use.got.usr1_blocked);
    EVENTUALLY(parked_workers(group), ==, 1);
    smolscale_group_free(group);
}
END_TEST

START_TEST(a_dedicated_thread_that_its_job_ends_does_not_go_back)
{
    struct tids others;
    threads_before_first_use(&others);
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, SMOLSCALE_FOREVER, 0);
    smolscale_queue *queue = dedicated_of(group, end_thread, NULL, 2);
    for (unsigned i = 0; i < 40; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    smolscale_group_free(group);
    EVENTUALLY(stats_now().workers, ==, 0);
    EVENTUALLY(threads_new(&others), ==, 0);
}
END_TEST

static void leave_key(void *item, void *user_data)
{
    (void)item, (void)user_data;
    pthread_setspecific(key, &destroyed);
}

static void free_its_group(void *use_pointer)
{
    struct use_of_group *use = use_pointer;
    smolscale_group_free(use->group);
    counter_add(use->freed, 1);
}

START_TEST(a_group_is_freed_by_the_last_of_a_dedicated_queue)
{
    struct tids others;
    threads_before_first_use(&others);
    ck_assert_int_eq(pthread_key_create(&key, destroy), 0);
    for (unsigned i = 1; i <= 20; i++) {
        struct counter freed = COUNTER_INIT;
        struct use_of_group use = {.group = group_new(4, SMOLSCALE_FOREVER, 0), .freed = &freed};
        smolscale_queue *queue = dedicated_of(use.group, leave_key, NULL, i % 3 + 1);
        push(queue, item_of(i));
        smolscale_queue_close(queue, free_its_group, &use);
        counter_wait(&freed, 1);
        EVENTUALLY(atomic_load(&destroyed), ==, i);
    }
    EVENTUALLY(threads_new(&others), ==, 0);
}
END_TEST

// Forked while some are idle and some serve: none of these threads is in the child.
START_TEST(a_child_of_fork_has_dedicated_queues_of_the_parents_group)
{
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, SMOLSCALE_FOREVER, 0);
    smolscale_queue_free(dedicated_of(group, note_thread, NULL, 2));
    EVENTUALLY(parked_workers(group), ==, 2);
    smolscale_queue *old = dedicated_of(group, note_thread, NULL, 1);
    pid_t pid = fork_child();
    if (pid == 0) {
        push(old, item_of(0));
        smolscale_queue_free(old);
        for (unsigned i = 0; i < 10; i++) {
            smolscale_queue *queue = dedicated_of(group, note_thread, NULL, 2);
            push(queue, item_of(i));
            smolscale_queue_free(queue);
        }
        smolscale_group_free(group);
        CHILD_CHECK(stats_now().workers == 0);
        _exit(CHILD_OK);
    }
    ck_child_ok(pid);
    smolscale_queue_free(old);
    smolscale_group_free(group);
}
END_TEST

struct maker {
    smolscale_group *group;
    uint64_t state;
    atomic_uint ran;
    unsigned pushed;
};

static void count_run(void *item, void *maker)
{
    (void)item;
    atomic_fetch_add(&((struct maker *)maker)->ran, 1);
}

static void *make_and_free_dedicated(void *arg)
{
    struct maker *maker = arg;
    for (unsigned i = 0; i < SCALED(300) + 10; i++) {
        unsigned dice = test_random(&maker->state);
        smolscale_queue *queue = dedicated_of(maker->group, count_run, maker, dice % 3);
        for (unsigned k = 0; k < dice / 4 % 5; k++, maker->pushed++)
            push(queue, item_of(k));
        if (dice % 3 == 0)
            ck_assert_int_eq(smolscale_queue_set_max_active(queue, 2), 0);
        if (dice / 16 % 4 == 0)
            ck_assert_int_eq(smolscale_queue_set_max_active(queue, 1), 0);
        if (dice / 64 % 8 == 0)
            smolscale_group_retire_idle(maker->group);
        if (dice / 512 % 8 == 0)
            smolscale_group_set_max_idle(maker->group, dice / 4096 % 4);
        if (dice / 32 % 2)
            smolscale_queue_free(queue);
        else
            smolscale_queue_close(queue, NULL, NULL);
    }
    return NULL;
}

START_TEST(dedicated_queues_of_one_group_come_and_go_in_many_threads)
{
    struct tids others;
    threads_before_first_use(&others);
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, _i ? SMOLSCALE_FOREVER : 1000, 0);
    struct maker maker[4];
    pthread_t thread[4];
    for (unsigned i = 0; i < 4; i++) {
        maker[i] = (struct maker){.group = group, .state = i};
        thread[i] = thread_start(make_and_free_dedicated, &maker[i]);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < 4; i++)
        EVENTUALLY(atomic_load(&maker[i].ran), ==, maker[i].pushed);
    // Queues that were closed go when their last job has ended; only then may the group.
    EVENTUALLY(queues(), ==, 0);
    smolscale_group_free(group);
    EVENTUALLY(stats_now().workers, ==, 0);
    EVENTUALLY(threads_new(&others), ==, 0);
}
END_TEST

START_TEST(wrong_attributes_are_refused)
{
    struct smolscale_group_attr attr = SMOLSCALE_GROUP_ATTR_INIT;
    smolscale_group *group = (smolscale_group *)&attr;
    ck_assert_int_eq(smolscale_group_new(&group, NULL), -EINVAL);
    ck_assert_ptr_null(group);
    attr.max_workers = 0;
    ck_assert_int_eq(smolscale_group_new(&group, &attr), -EINVAL);
    attr = (struct smolscale_group_attr)SMOLSCALE_GROUP_ATTR_INIT;
    attr.flags = 0x80;
    ck_assert_int_eq(smolscale_group_new(&group, &attr), -EINVAL);

    smolscale_group *real = group_new(1, 0, 0);
    struct smolscale_queue_attr queue_attr = SMOLSCALE_QUEUE_ATTR_INIT;
    queue_attr.run = note_thread;
    queue_attr.group = real;
    smolscale_queue *queue;
    queue_attr.parent = queue_new(note_thread, NULL, 1); // of the default group
    ck_assert_int_eq(smolscale_queue_new(&queue, &queue_attr), -EINVAL);
    smolscale_queue_free(queue_attr.parent);
    smolscale_group_free(real);
}
END_TEST

// While the thread of a better balancer is created, and then is not.
static bool after_some_looks(unsigned n)
{
    (void)n;
    if (!__atomic_exchange_n(&creation_is_forbidden, false, __ATOMIC_RELAXED))
        return false;
    uint64_t ticks = stats_now().ticks;
    for (unsigned i = 0; i < 200 && stats_now().ticks < ticks + 5; i++) {
        ss_hurry_balancer();
        test_breathe();
    }
    return true;
}

START_TEST(the_balancers_role_does_not_go_to_a_thread_that_is_not_created)
{
    failing_threads_start(after_some_looks);
    group_of_lowered_thread(SMOLSCALE_GROUP_EAGER);
    forbid_creation(true);
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, 0, SMOLSCALE_GROUP_EAGER);
    smolscale_queue *queue = queue_of(group, look_and_meet, NULL);
    for (unsigned i = 0; i < CROWD; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    smolscale_group_free(group);
    smolscale_group_free(of_lowered);
}
END_TEST

START_TEST(there_is_a_balancer_after_others_have_come_and_gone)
{
    pthread_t thread[2];
    for (unsigned i = 0; i < 2; i++)
        thread[i] = thread_start(make_use_and_free_groups, NULL);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    smolscale_queue *queue = queue_new(look_and_meet, NULL, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < CROWD; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
}
END_TEST

static void (*real_futex_wake)(_Atomic uint32_t *word, int count);
static smolscale_group *answered_first, *ordering;
static struct counter answered = COUNTER_INIT;

static bool is_ordered(struct ss_group *group)
{
    ss_lock(&ss.lock);
    bool ordered = group->ordered > 0;
    ss_unlock(&ss.lock);
    return ordered;
}

// Does the calling thread create that group's workers? The balancer is a spawner and answers, too.
static bool serves(struct ss_group *group)
{
    ss_lock(&ss.lock);
    bool mine = ss_spawner_self && group->spawner == ss_spawner_self;
    ss_unlock(&ss.lock);
    return mine;
}

// As if another thread waited for a worker: who deals with an order answers, though the one that
// gave it has seen the worker already.
static void somebody_waits(bool waits)
{
    ss_lock(&ss.lock);
    ss.waiting += waits ? 1 : 0U - 1;
    ss_unlock(&ss.lock);
}

// The first time that the spawner answers, another order comes before it goes on.
static void answer_and_be_asked_again(_Atomic uint32_t *word, int count)
{
    static atomic_bool done;
    real_futex_wake(word, count);
    if (word != &ss.spawn_answers || !serves(answered_first) || atomic_exchange(&done, true))
        return;
    counter_add(&answered, 1);
    EVENTUALLY(is_ordered(ordering), ==, true);
}

static void *push_when_answered(void *arg)
{
    counter_wait(&answered, 1);
    smolscale_queue *queue = queue_of(ordering, note_thread, NULL);
    push(queue, item_of(0));
    smolscale_queue_free(queue);
    return arg;
}

START_TEST(an_order_that_comes_while_the_spawner_answers_is_served)
{
    smolscale_group *of_main = group_new(1, 0, SMOLSCALE_GROUP_EAGER); // with the balancer
    answered_first = group_of_lowered_thread(SMOLSCALE_GROUP_EAGER);
    ordering = group_of_lowered_thread(SMOLSCALE_GROUP_EAGER); // with the same spawner
    real_futex_wake = ss_os.futex_wake;
    ss_os.futex_wake = answer_and_be_asked_again;
    somebody_waits(true);
    pthread_t pusher = thread_start(push_when_answered, NULL);
    smolscale_queue *queue = queue_of(answered_first, note_thread, NULL);
    push(queue, item_of(0));
    smolscale_queue_free(queue);
    pthread_join(pusher, NULL);
    somebody_waits(false);
    smolscale_group_free(answered_first);
    smolscale_group_free(ordering);
    smolscale_group_free(of_main);
}
END_TEST

// ---- spawners that nobody needs end, whatever else goes on

static unsigned spawners_beside_the_balancer(void)
{
    unsigned count = 0;
    ss_lock(&ss.lock);
    for (struct ss_spawner *spawner = ss.spawners; spawner; spawner = spawner->next)
        count += !spawner->balances;
    ss_unlock(&ss.lock);
    return count;
}

struct freeing {
    pthread_barrier_t meet;
    smolscale_group *group;
    unsigned rounds;
};

static void *free_a_group_each_round(void *arg)
{
    struct freeing *freeing = arg;
    for (unsigned i = 0; i < freeing->rounds; i++) {
        pthread_barrier_wait(&freeing->meet);
        for (volatile unsigned spin = 0; spin < i * 7919 % 20000; spin++)
            ;
        smolscale_group_free(freeing->group);
        pthread_barrier_wait(&freeing->meet);
    }
    return NULL;
}

// Used by a thread whose settings no other has: a spawner is created with the first worker.
static void *use_default_group_lowered(void *retire)
{
    lower_settings();
    smolscale_queue *queue = queue_new(note_thread, NULL, 1);
    push(queue, item_of(0));
    smolscale_queue_wait(queue);
    if (retire) {
        ck_assert_uint_eq(spawners_beside_the_balancer(), 1);
        EVENTUALLY(workers_after_retiring(), ==, 0);
    }
    smolscale_queue_free(queue);
    return NULL;
}

START_TEST(a_spawner_ends_when_the_last_worker_of_its_settings_has_retired)
{
    struct tids others;
    threads_before_first_use(&others);
    smolscale_group *of_main = group_new(1, 0, SMOLSCALE_GROUP_EAGER); // with the balancer
    pthread_join(thread_start(use_default_group_lowered, &others), NULL);
    EVENTUALLY(spawners_beside_the_balancer(), ==, 0);
    smolscale_group_free(of_main);
    EVENTUALLY(threads_new(&others), ==, 0);
}
END_TEST

// While a group is being freed no spawner ends by itself: one that is needed no more since then
// ends all the same.
START_TEST(a_spawner_that_a_groups_end_kept_ends_after_it)
{
    struct freeing freeing = {.rounds = SCALED(2000) + 10};
    pthread_barrier_init(&freeing.meet, NULL, 2);
    smolscale_group *of_main = group_new(1, 0, SMOLSCALE_GROUP_EAGER); // with the balancer
    smolscale_set_idle_timeout(1);                                     // ns: at once
    pthread_t thread = thread_start(free_a_group_each_round, &freeing);
    for (unsigned i = 0; i < freeing.rounds; i++) {
        seen.count = 0;
        freeing.group = group_new(1, 0, SMOLSCALE_GROUP_EAGER);
        pthread_t user = thread_start(use_default_group_lowered, NULL);
        pthread_barrier_wait(&freeing.meet);
        pthread_barrier_wait(&freeing.meet);
        pthread_join(user, NULL);
        EVENTUALLY(spawners_beside_the_balancer(), ==, 0);
    }
    pthread_join(thread, NULL);
    smolscale_group_free(of_main);
}
END_TEST

// ---- fork

// Not under gcc 12's thread sanitizer, which ends a child whose thread gets the place of one that
// the parent has not joined.
#ifndef TEST_TSAN
START_TEST(a_group_of_the_parent_works_in_the_child_with_the_childs_settings)
{
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, SMOLSCALE_FOREVER, 0);
    smolscale_queue *queue = queue_of(group, look_at_settings, NULL);
    struct settings got;
    push(queue, &got);
    smolscale_queue_wait(queue);
    pid_t pid = fork_child();
    if (pid == 0) {
        struct tids others;
        threads_now(&others);
        lower_settings();
        struct settings mine = settings_now();
        CHILD_CHECK(smolscale_queue_push(queue, &got, NULL) == 0);
        smolscale_queue_free(queue);
        CHILD_CHECK(got.nice == mine.nice && got.cpus == mine.cpus && got.usr1_blocked &&
                    got.no_new_privs == mine.no_new_privs);
        smolscale_group_free(group);
        while (threads_new(&others) > 0) // the kernel lists a joined thread for a moment
            test_breathe();
        _exit(CHILD_OK);
    }
    ck_child_ok(pid);
    smolscale_queue_free(queue);
    smolscale_group_free(group);
}
END_TEST

#endif

static void fork_in_job(void *pid, void *queue)
{
    *(pid_t *)pid = fork_child();
    if (*(pid_t *)pid != 0)
        return;
    smolscale_queue **other = queue;
    struct settings got = {.nice = -99};
    CHILD_CHECK(smolscale_queue_push(*other, &got, NULL) == 0);
    smolscale_queue_wait(*other);
    CHILD_CHECK(got.nice != -99);
    _exit(CHILD_OK);
}

START_TEST(a_job_may_fork_and_use_its_group_in_the_child)
{
    smolscale_group *group = group_new(2, SMOLSCALE_FOREVER, 0);
    static smolscale_queue *other;
    other = queue_of(group, look_at_settings, NULL);
    smolscale_queue *queue = queue_of(group, fork_in_job, &other);
    pid_t pid = -1;
    push(queue, &pid);
    smolscale_queue_free(queue);
    ck_child_ok(pid);
    smolscale_queue_free(other);
    smolscale_group_free(group);
}
END_TEST

// ---- idle workers on their way

START_TEST(workers_on_their_way_to_work_that_is_gone_end_when_idle_ones_are_sent_away)
{
    smolscale_group *group = group_new(SMOLSCALE_UNLIMITED, SMOLSCALE_FOREVER, 0);
    smolscale_queue *queue = queue_of(group, note_thread_and_sleep, NULL);
    for (unsigned round = 0; round < 60; round++) {
        for (unsigned i = 0; i < 30; i++)
            push(queue, item_of(i));
        smolscale_queue_wait(queue);
        smolscale_group_retire_idle(group);
        EVENTUALLY(smolscale_group_idle_workers(group), ==, 0);
        pthread_mutex_lock(&seen.lock);
        seen.count = 0;
        pthread_mutex_unlock(&seen.lock);
    }
    smolscale_queue_free(queue);
    smolscale_group_free(group);
}
END_TEST

int main(void)
{
    const struct test_rounds tests[] = {
        {a_group_of_one_worker_is_one_thread_always_the_same, 1},
        {what_a_groups_jobs_leave_in_a_thread_no_other_groups_job_finds, 1},
        {free_returns_after_the_threads_destructors_have_run, 2},
        {after_the_last_group_no_thread_of_the_executor_is_left, 1},
        {a_group_that_was_never_used_leaves_no_thread, 1},
        {a_worker_may_free_its_own_group, 1},
        {groups_come_and_go_in_many_threads, 1},
        {jobs_that_end_their_threads_are_replaced_and_the_threads_joined, 1},
        {workers_have_the_settings_of_the_thread_that_made_their_group, 4},
        {workers_of_an_eager_group_are_confined_as_its_maker_whichever_thread_needs_the_first, 1},
        {workers_created_later_follow_what_was_changed_from_outside, 1},
        {a_worker_that_frees_its_own_group_leaves_no_thread_behind, 1},
        {the_balancer_ends_when_a_thread_that_waited_for_a_worker_goes_on_last, 1},
        {a_group_is_gone_though_items_were_taken_back_before_a_worker_came, 1},
        {free_does_not_wait_for_what_tasks_wait_for, 2},
        {settings_stay_with_a_group_whose_work_waits_for_a_thread, 1},
        {an_order_that_comes_while_the_spawner_answers_is_served, 1},
        {a_spawner_ends_when_the_last_worker_of_its_settings_has_retired, 1},
        {a_spawner_that_a_groups_end_kept_ends_after_it, 1},
        {the_balancers_role_does_not_go_to_a_thread_that_is_not_created, 1},
        {there_is_a_balancer_after_others_have_come_and_gone, 1},
        {groups_that_wait_for_one_another_all_get_workers, 1},
        {a_group_never_has_more_workers_than_it_may, 1},
        {a_dedicated_queue_has_the_threads_of_one_that_is_gone, 1},
        {a_full_dedicated_queue_that_is_raised_runs_in_threads_of_its_group, 1},
        {threads_that_a_lowered_dedicated_queue_gives_up_serve_another, 1},
        {the_limits_of_a_group_hold_for_threads_of_dedicated_queues, 1},
        {a_thread_of_a_dedicated_queue_that_is_gone_ends_when_it_has_idled, 2},
        {a_thread_that_a_group_has_lent_sleeps_until_it_is_called, 1},
        {dedicated_threads_with_other_settings_are_new_and_end_with_their_queue, 2},
        {a_group_that_is_left_lends_to_threads_with_other_settings, 1},
        {a_dedicated_thread_that_its_job_ends_does_not_go_back, 1},
        {a_group_is_freed_by_the_last_of_a_dedicated_queue, 1},
        {dedicated_queues_of_one_group_come_and_go_in_many_threads, 2},
        {wrong_attributes_are_refused, 1},
#ifndef TEST_TSAN
        {a_group_of_the_parent_works_in_the_child_with_the_childs_settings, 1},
        {a_child_of_fork_has_dedicated_queues_of_the_parents_group, 1},
#endif
        {a_job_may_fork_and_use_its_group_in_the_child, 1},
        {workers_on_their_way_to_work_that_is_gone_end_when_idle_ones_are_sent_away, 1},
    };
    return test_suite_of_rounds("group", tests, sizeof tests / sizeof tests[0]);
}
