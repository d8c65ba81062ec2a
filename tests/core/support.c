// SPDX-License-Identifier: ISC
//
// See support.h. The fake clock is a futex in user space: one lock guards the time and the list of
// sleepers, so that no wake-up and no step of the clock slips between a sleeper's last look at its
// word and its sleep.

#include "support.h"

#include "sched/costs.h"
#include "sched/executor.h"

#include <sys/wait.h>

#include <dirent.h>
#include <time.h>

#ifdef TEST_TSAN
// Tests fork in threaded processes on purpose.
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0:allocator_may_return_null=1";
}
#endif

#ifdef TEST_ASAN
// And ask for more memory than there can be.
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
#endif

// A case of its own for each: CK_RUN_CASE=name runs it alone.
static void add_test(Suite *suite, const TTest *test, int rounds)
{
    TCase *tcase = tcase_create(test->name);
    tcase_set_timeout(tcase, TEST_TIMEOUT);
    tcase_add_loop_test(tcase, test, 0, rounds);
    suite_add_tcase(suite, tcase);
}

static int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int run = srunner_ntests_run(runner);
    int failed = srunner_ntests_failed(runner);
    printf("%d passed, %d failed\n", run - failed, failed);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int test_suite(const char *name, const TTest *const *tests)
{
    Suite *suite = suite_create(name);
    for (; *tests; tests++)
        add_test(suite, *tests, 1);
    return run_suite(suite);
}

int test_suite_of_rounds(const char *name, const struct test_rounds *tests, unsigned count)
{
    Suite *suite = suite_create(name);
    for (unsigned i = 0; i < count; i++)
        add_test(suite, tests[i].test, tests[i].rounds);
    return run_suite(suite);
}

uint32_t test_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

uint64_t test_clock(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * SS_NS_PER_S + (uint64_t)ts.tv_nsec;
}

void test_breathe(void)
{
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

smolscale_queue *queue_new(smolscale_run_fn *run, void *user_data, unsigned max_active)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run;
    attr.user_data = user_data;
    attr.max_active = max_active;
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    return queue;
}

void push(smolscale_queue *queue, void *item)
{
    int err = smolscale_queue_push(queue, item, NULL);
    ck_assert_msg(err == 0, "expected the push to succeed, got %d (%s)", err, strerror(-err));
}

pthread_t thread_start(void *(*main)(void *), void *arg)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, main, arg), 0);
    return thread;
}

struct smolscale_stats stats_now(void)
{
    struct smolscale_stats stats = {.size = sizeof stats};
    smolscale_get_stats(&stats);
    return stats;
}

unsigned workers_after_retiring(void)
{
    smolscale_retire_idle();
    return stats_now().workers;
}

unsigned parked_workers(smolscale_group *group)
{
    ss_lock(&ss.lock);
    unsigned count = (group ? group : &ss.shared)->idle_count;
    ss_unlock(&ss.lock);
    return count;
}

void all_parked(void)
{
    EVENTUALLY(parked_workers(NULL), ==, stats_now().workers);
}

// ---------------------------------------------------------------------------------------------
// The process, seen from /proc
// ---------------------------------------------------------------------------------------------

void threads_now(struct tids *tids)
{
    tids->count = 0;
    DIR *dir = opendir("/proc/self/task");
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *entry; (entry = readdir(dir)) && tids->count < TIDS_MAX;)
        if (entry->d_name[0] != '.')
            tids->tid[tids->count++] = atoi(entry->d_name);
    closedir(dir);
}

static bool among(const struct tids *tids, pid_t tid)
{
    for (unsigned i = 0; tids && i < tids->count; i++)
        if (tids->tid[i] == tid)
            return true;
    return false;
}

unsigned threads_new(const struct tids *others)
{
    struct tids now;
    threads_now(&now);
    unsigned count = 0;
    for (unsigned i = 0; i < now.count; i++)
        count += !among(others, now.tid[i]);
    return count;
}

// Reads a file of a thread; empty when the thread has ended meanwhile.
static void read_of_thread(pid_t tid, const char *name, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/%s", (int)tid, name);
    FILE *file = fopen(path, "re");
    size_t length = file ? fread(text, 1, size - 1, file) : 0;
    text[length] = '\0';
    if (file)
        fclose(file);
}

unsigned long voluntary_switches(const struct tids *others)
{
    static const char key[] = "\nvoluntary_ctxt_switches:";
    struct tids now;
    threads_now(&now);
    unsigned long sum = 0;
    for (unsigned i = 0; i < now.count; i++) {
        if (among(others, now.tid[i]))
            continue;
        char text[4096];
        read_of_thread(now.tid[i], "status", text, sizeof text);
        const char *at = strstr(text, key);
        if (at)
            sum += strtoul(at + sizeof key - 1, NULL, 10);
    }
    return sum;
}

unsigned threads_named(const char *name, const struct tids *others)
{
    struct tids now;
    threads_now(&now);
    unsigned count = 0;
    for (unsigned i = 0; i < now.count; i++) {
        if (among(others, now.tid[i]))
            continue;
        char text[64];
        read_of_thread(now.tid[i], "comm", text, sizeof text);
        text[strcspn(text, "\n")] = '\0';
        count += strcmp(text, name) == 0;
    }
    return count;
}

static void *nothing(void *arg)
{
    return arg;
}

void threads_before_first_use(struct tids *others)
{
    pthread_join(thread_start(nothing, NULL), NULL);
    threads_now(others);
}

// ---------------------------------------------------------------------------------------------
// The kernel replaced
// ---------------------------------------------------------------------------------------------

struct sleeper {
    struct sleeper *next;
    _Atomic uint32_t *word;
    bool woken;
    bool timed;
    uint64_t end;
    pthread_cond_t changed; // its own: one that is woken does not rouse thousands
};

static struct {
    pthread_mutex_t lock;
    uint64_t now;
    unsigned long sleeps;
    struct sleeper *sleepers;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .now = 1000 * SS_NS_PER_S};

// What the thread has read last and not slept after. A nap counts from there, not from a step that
// the test makes in between: in that, a thread would lie for ever under a clock that stands still.
static _Thread_local uint64_t seen_now;

static uint64_t fake_now(void)
{
    pthread_mutex_lock(&fake.lock);
    uint64_t now = seen_now = fake.now;
    pthread_mutex_unlock(&fake.lock);
    return now;
}

// The lock held.
static void enter(struct sleeper *self)
{
    seen_now = 0;
    self->next = fake.sleepers;
    fake.sleepers = self;
    fake.sleeps++;
}

static void leave(struct sleeper *self)
{
    struct sleeper **at = &fake.sleepers;
    while (*at != self)
        at = &(*at)->next;
    *at = self->next;
}

static bool fake_futex_wait_until(_Atomic uint32_t *word, uint32_t expected, uint64_t until)
{
    pthread_mutex_lock(&fake.lock);
    struct sleeper self = {NULL,
                           word,
                           atomic_load(word) != expected,
                           until != SS_FOREVER,
                           until,
                           PTHREAD_COND_INITIALIZER};
    enter(&self);
    while (!self.woken && fake.now < until)
        pthread_cond_wait(&self.changed, &fake.lock);
    leave(&self);
    pthread_mutex_unlock(&fake.lock);
    return self.woken;
}

static void fake_nap(_Atomic uint32_t *word, uint32_t expected, uint64_t ns)
{
    uint64_t from = seen_now ? seen_now : fake_now();
    fake_futex_wait_until(word, expected, from + ns);
}

// The kernel looks for events, a millisecond at a time, until the clock has come that far.
static int fake_poll_until(struct pollfd *fds, unsigned count, uint64_t until)
{
    struct sleeper self = {NULL, NULL, false, until != SS_FOREVER, until, PTHREAD_COND_INITIALIZER};
    pthread_mutex_lock(&fake.lock);
    enter(&self);
    bool time_up = fake.now >= until;
    int result;
    do {
        pthread_mutex_unlock(&fake.lock);
        result = poll(fds, count, time_up ? 0 : until == SS_FOREVER ? -1 : 1);
        pthread_mutex_lock(&fake.lock);
        if (result != 0 || time_up)
            break;
        time_up = fake.now >= until; // then one more look
    } while (true);
    leave(&self);
    pthread_mutex_unlock(&fake.lock);
    return result;
}

static void fake_futex_wake(_Atomic uint32_t *word, int count)
{
    pthread_mutex_lock(&fake.lock);
    for (struct sleeper *s = fake.sleepers; s && count > 0; s = s->next) {
        if (s->word == word && !s->woken) {
            s->woken = true;
            pthread_cond_signal(&s->changed);
            count--;
        }
    }
    pthread_mutex_unlock(&fake.lock);
}

void fake_clock_start(void)
{
    setenv("SMOLSCALE_COSTS", "A", 0);
    store_relaxed(&ss_costs.fixed, true); // where it has been read; nothing was learnt yet
    ss_os.now = fake_now;
    ss_os.futex_wait_until = fake_futex_wait_until;
    ss_os.futex_wake = fake_futex_wake;
    ss_os.nap = fake_nap;
    ss_os.poll_until = fake_poll_until;
}

void fake_clock_advance(uint64_t ns)
{
    pthread_mutex_lock(&fake.lock);
    fake.now += ns;
    for (struct sleeper *s = fake.sleepers; s; s = s->next)
        pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&fake.lock);
}

unsigned fake_clock_timed_sleepers(void)
{
    pthread_mutex_lock(&fake.lock);
    unsigned count = 0;
    for (struct sleeper *s = fake.sleepers; s; s = s->next)
        count += s->timed && !s->woken;
    pthread_mutex_unlock(&fake.lock);
    return count;
}

bool fake_clock_sleeps_on(_Atomic uint32_t *word)
{
    pthread_mutex_lock(&fake.lock);
    bool sleeps = false;
    for (struct sleeper *s = fake.sleepers; s; s = s->next)
        sleeps |= s->word == word && !s->woken && fake.now < s->end;
    pthread_mutex_unlock(&fake.lock);
    return sleeps;
}

unsigned long fake_clock_sleeps(void)
{
    pthread_mutex_lock(&fake.lock);
    unsigned long sleeps = fake.sleeps;
    pthread_mutex_unlock(&fake.lock);
    return sleeps;
}

static atomic_bool clock_stops;
static pthread_t clock_mover;
static bool clock_runs;

static void *move_clock(void *arg)
{
    while (!atomic_load(&clock_stops)) {
        fake_clock_advance(SS_NS_PER_MS);
        nanosleep(&(struct timespec){0, 100000}, NULL);
    }
    return arg;
}

// The thread that looks at /proc for the balancer would come up in real time, and until then the
// kernel is said to tell nothing: the balancer looks itself.
static void look_itself(void)
{
}

void fake_clock_run(void)
{
    fake_clock_start();
    ss_os.begin_looks = look_itself;
    clock_runs = true;
    clock_mover = thread_start(move_clock, NULL);
}

// ---- nothing wakes up

static unsigned watched_s(void)
{
    return getenv("TEST_FULL") ? 10 : 1;
}

// What the kernel has counted, over some time.
static bool threads_slept_anew(const struct tids *others, struct timespec watched)
{
    unsigned long before = voluntary_switches(others);
    nanosleep(&watched, NULL);
    return voluntary_switches(others) != before;
}

// Threads that have something left to do may wait for a CPU longer than any time that is given to
// them here. So they are watched until they have slept all the time, which those that wake up again
// and again never do; under the fake clock, too.
static void ck_real_sleep(const struct tids *others)
{
    uint64_t end = test_clock() + TEST_PATIENCE * SS_NS_PER_S;
    while (threads_slept_anew(others, (struct timespec){watched_s(), 0}))
        ck_assert_msg(test_clock() < end,
                      "expected no voluntary context switch within %u s (%u threads)", watched_s(),
                      threads_new(others));
}

// Surplus workers retire, naps end, the balancer parks: until nothing is left that would wake up.
static void settle_fake_clock(void)
{
    uint64_t end = test_clock() + TEST_PATIENCE * SS_NS_PER_S;
    unsigned long sleeps = fake_clock_sleeps();
    for (unsigned quiet = 0; quiet < 20 && test_clock() < end; quiet++) {
        fake_clock_advance(50 * SS_NS_PER_MS);
        test_breathe();
        if (fake_clock_timed_sleepers() > 0 || fake_clock_sleeps() != sleeps)
            quiet = 0;
        sleeps = fake_clock_sleeps();
    }
}

// Is there a year in which nothing happens?
static bool sleeps_for_a_year(const struct tids *others)
{
    settle_fake_clock();
    struct smolscale_stats stats = stats_now();
    unsigned threads = threads_new(others);
    unsigned long sleeps = fake_clock_sleeps();
    bool timed = fake_clock_timed_sleepers() > 0;
    fake_clock_advance(365 * 86400 * SS_NS_PER_S);
    test_breathe();
    return !timed && fake_clock_sleeps() == sleeps && threads_new(others) == threads &&
           stats_now().ticks == stats.ticks;
}

static void ck_fake_sleep(const struct tids *others)
{
    uint64_t end = test_clock() + TEST_PATIENCE * SS_NS_PER_S;
    while (!sleeps_for_a_year(others))
        ck_assert_msg(test_clock() < end, "expected that nothing happens in a year (%u threads)",
                      threads_new(others));
}

void ck_nothing_wakes_up(const struct tids *others)
{
    if (clock_runs) {
        atomic_store(&clock_stops, true);
        pthread_join(clock_mover, NULL);
        clock_runs = false;
    }
    if (ss_os.now == fake_now)
        ck_fake_sleep(others);
    else
        ck_real_sleep(others);
}

// ---- what the kernel refuses

static int (*real_thread_create)(void *(*main)(void *), void *arg);
static int (*real_thread_create_joinable)(void *(*main)(void *), void *arg, size_t stack_size);
static int (*real_thread_create_small)(void *(*main)(void *), void *arg);
static bool (*creation_fails)(unsigned n);
static atomic_uint creation_tries;

static int failing_thread_create(void *(*main)(void *), void *arg)
{
    unsigned n = atomic_fetch_add(&creation_tries, 1) + 1;
    return creation_fails(n) ? -EAGAIN : real_thread_create(main, arg);
}

static int failing_thread_create_joinable(void *(*main)(void *), void *arg, size_t stack_size)
{
    unsigned n = atomic_fetch_add(&creation_tries, 1) + 1;
    return creation_fails(n) ? -EAGAIN : real_thread_create_joinable(main, arg, stack_size);
}

static int failing_thread_create_small(void *(*main)(void *), void *arg)
{
    unsigned n = atomic_fetch_add(&creation_tries, 1) + 1;
    return creation_fails(n) ? -EAGAIN : real_thread_create_small(main, arg);
}

void failing_threads_start(bool (*fails)(unsigned n))
{
    real_thread_create = ss_os.thread_create;
    real_thread_create_joinable = ss_os.thread_create_joinable;
    real_thread_create_small = ss_os.thread_create_small;
    creation_fails = fails;
    ss_os.thread_create = failing_thread_create;
    ss_os.thread_create_joinable = failing_thread_create_joinable;
    ss_os.thread_create_small = failing_thread_create_small;
}

unsigned failing_threads_tries(void)
{
    return atomic_load(&creation_tries);
}

static uint64_t no_cpu_time(pid_t tid)
{
    (void)tid;
    return UINT64_MAX;
}

static void no_states(const pid_t *tids, enum ss_thread_state *states, unsigned count)
{
    (void)tids;
    for (unsigned i = 0; i < count; i++)
        states[i] = SS_THREAD_UNKNOWN;
}

static unsigned no_count(void)
{
    return 0;
}

void no_proc_but_clocks_start(void)
{
    ss_os.runnable_threads = no_count;
    ss_os.thread_states = no_states;
}

void no_proc_start(void)
{
    no_proc_but_clocks_start();
    ss_os.thread_cpu_time = no_cpu_time;
}

void ck_child_ok(pid_t pid)
{
    ck_assert_int_gt(pid, 0);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == CHILD_OK,
                  "expected exit %d, got %s %d", CHILD_OK, WIFSIGNALED(status) ? "signal" : "exit",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

pid_t fork_child(void)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        alarm(TEST_PATIENCE);
    return pid;
}
