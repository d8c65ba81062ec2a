// SPDX-License-Identifier: ISC
//
// Contract 8, no surprises, from the start of the process to its end: what a job's thread looks
// like, threads that end inside a job, use before main() and after it, options, and the CPUs
// counted.

#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "os/linux/linux.h"

extern char **environ;

static atomic_uint ran;

static void count(void *item, void *user_data)
{
    (void)item, (void)user_data;
    atomic_fetch_add(&ran, 1);
}

// ---------------------------------------------------------------------------------------------
// The thread that a job sees
// ---------------------------------------------------------------------------------------------

struct looks {
    atomic_uint wrong;
    struct counter came;
    unsigned crowd; // jobs wait for so many, so that new workers are made by whoever makes them
    sigset_t mask;
    int policy, nice;
    cpu_set_t affinity;
    size_t stack;
};

static void look_at_thread(void *item, void *user_data)
{
    (void)item;
    struct looks *looks = user_data;
    sigset_t mask;
    cpu_set_t affinity;
    sigemptyset(&mask);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (int sig = 1; sig < 32; sig++)
        if (sigismember(&mask, sig) != sigismember(&looks->mask, sig))
            atomic_fetch_add(&looks->wrong, 1);
    sched_getaffinity(0, sizeof affinity, &affinity);
    if (sched_getscheduler(0) != looks->policy)
        atomic_fetch_add(&looks->wrong, 100);
    if (getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid)) != looks->nice)
        atomic_fetch_add(&looks->wrong, 10000);
    if (!CPU_EQUAL(&affinity, &looks->affinity))
        atomic_fetch_add(&looks->wrong, 1000000);
    counter_add(&looks->came, 1);
    counter_wait(&looks->came, looks->crowd);
}

static void note_own(struct looks *looks)
{
    pthread_sigmask(SIG_SETMASK, NULL, &looks->mask);
    looks->policy = sched_getscheduler(0);
    looks->nice = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
    sched_getaffinity(0, sizeof looks->affinity, &looks->affinity);
}

static void run_crowd(smolscale_queue *queue, struct looks *looks)
{
    looks->came = (struct counter)COUNTER_INIT;
    for (unsigned i = 0; i < looks->crowd; i++)
        push(queue, item_of(i));
    smolscale_queue_wait(queue);
}

START_TEST(jobs_see_the_signal_mask_of_the_first_user)
{
    struct looks looks = {.crowd = 30};
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGHUP);
    pthread_sigmask(SIG_SETMASK, &blocked, NULL);
    note_own(&looks);
    smolscale_queue *queue = queue_new(look_at_thread, &looks, SMOLSCALE_UNLIMITED);
    // who pushes later has another mask
    sigfillset(&blocked);
    pthread_sigmask(SIG_SETMASK, &blocked, NULL);
    run_crowd(queue, &looks);
    ck_assert_uint_eq(atomic_load(&looks.wrong), 0);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(jobs_see_no_signal_blocked_when_the_first_user_blocked_none)
{
    struct looks looks = {.crowd = 30};
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    note_own(&looks);
    smolscale_queue *queue = queue_new(look_at_thread, &looks, SMOLSCALE_UNLIMITED);
    run_crowd(queue, &looks);
    ck_assert_uint_eq(atomic_load(&looks.wrong), 0);
    smolscale_queue_free(queue);
}
END_TEST

static void *push_crowd_as_another(void *arg)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 5);
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    for (unsigned i = 0; i < 30; i++)
        push(arg, item_of(i));
    return NULL;
}

START_TEST(which_thread_pushes_first_does_not_matter)
{
    struct looks looks = {.crowd = 30, .came = COUNTER_INIT};
    note_own(&looks);
    smolscale_queue *queue = queue_new(look_at_thread, &looks, SMOLSCALE_UNLIMITED);
    pthread_join(thread_start(push_crowd_as_another, queue), NULL);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&looks.wrong), 0);
}
END_TEST

START_TEST(jobs_see_policy_and_niceness_of_the_first_user)
{
    struct looks looks = {.crowd = 30};
    ck_assert_int_eq(sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0}), 0);
    ck_assert_int_eq(setpriority(PRIO_PROCESS, 0, 3), 0);
    note_own(&looks);
    smolscale_queue *queue = queue_new(look_at_thread, &looks, SMOLSCALE_UNLIMITED);
    run_crowd(queue, &looks);
    ck_assert_uint_eq(atomic_load(&looks.wrong), 0);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(jobs_see_their_whole_affinity_mask_after_many_round_trips)
{
    struct looks looks = {.crowd = 1};
    note_own(&looks);
    smolscale_queue *queue = queue_new(look_at_thread, &looks, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < SCALED(5000); i++)
        run_crowd(queue, &looks);
    ck_assert_uint_eq(atomic_load(&looks.wrong), 0);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(dedicated_workers_have_their_creators_settings)
{
    struct looks first = {.crowd = 1}, looks = {.crowd = 3};
    note_own(&first);
    smolscale_queue *shared = queue_new(look_at_thread, &first, SMOLSCALE_UNLIMITED);
    run_crowd(shared, &first);

    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    ck_assert_int_eq(setpriority(PRIO_PROCESS, 0, 4), 0);
    note_own(&looks);
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = look_at_thread;
    attr.user_data = &looks;
    attr.max_active = 3;
    attr.flags = SMOLSCALE_QUEUE_DEDICATED;
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    run_crowd(queue, &looks);
    ck_assert_uint_eq(atomic_load(&looks.wrong), 0);
    smolscale_queue_free(queue);

    first.crowd = 20;
    run_crowd(shared, &first);
    ck_assert_uint_eq(atomic_load(&first.wrong), 0);
    smolscale_queue_free(shared);
}
END_TEST

static char name_seen[64];

static void look_at_name(void *item, void *user_data)
{
    (void)item, (void)user_data;
    pthread_getname_np(pthread_self(), name_seen, sizeof name_seen);
}

START_TEST(a_worker_carries_the_name_of_the_queue_it_serves)
{
    static const char *const names[] = {"pool", "a name that is longer than fifteen", "x"};
    static const char *const seen[] = {"pool", "a name that is ", "x"};
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 3; i++) {
            struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
            char name[64];
            strcpy(name, names[i]);
            attr.run = look_at_name;
            attr.thread_name = name;
            smolscale_queue *queue;
            ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
            strcpy(name, "gone"); // it is copied
            push(queue, item_of(0));
            smolscale_queue_wait(queue);
            ck_assert_str_eq(name_seen, seen[i]);
            smolscale_queue_free(queue);
        }
    }
}
END_TEST

static void lose_errno(void *item, void *user_data)
{
    (void)user_data;
    errno = (int)number_of(item);
}

START_TEST(pushing_waiting_and_looking_keep_errno)
{
    smolscale_queue *queue = queue_new(lose_errno, NULL, 2);
    for (unsigned i = 0; i < 1000; i++) {
        errno = 12345;
        ck_assert_int_eq(smolscale_queue_push(queue, item_of(i), NULL), 0);
        ck_assert_int_eq(errno, 12345);
        smolscale_queue_wait(queue);
        ck_assert_int_eq(errno, 12345);
    }
    smolscale_queue_free(queue);
    ck_assert_int_eq(errno, 12345);
}
END_TEST

static void on_signal(int sig)
{
    (void)sig;
    atomic_fetch_add(&ran, 1);
}

START_TEST(signals_that_hit_workers_disturb_nothing)
{
    // no SA_RESTART: every wait in the kernel is cut short
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_signal}, NULL);
    struct tids others, tids;
    threads_before_first_use(&others);
    smolscale_queue *queue = queue_new(lose_errno, NULL, 2);
    for (unsigned i = 0; i < SCALED(1000); i++) {
        push(queue, item_of(i));
        threads_now(&tids);
        for (unsigned t = 0; t < tids.count; t++)
            syscall(SYS_tgkill, getpid(), tids.tid[t], SIGUSR1);
        smolscale_queue_wait(queue);
    }
    smolscale_queue_free(queue);
    ck_assert_uint_ge(atomic_load(&ran), SCALED(1000));
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Threads that end inside a job
// ---------------------------------------------------------------------------------------------

static void end_thread_or_count(void *item, void *user_data)
{
    (void)user_data;
    unsigned n = number_of(item);
    if (n % 10 == 3)
        pthread_exit(NULL);
    atomic_fetch_add(&ran, 1);
}

static void exit_threads(unsigned flags, unsigned max_active)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = end_thread_or_count;
    attr.max_active = max_active;
    attr.flags = flags;
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    atomic_store(&ran, 0);
    uint64_t jobs = stats_now().jobs;
    for (unsigned i = 0; i < 200; i++)
        push(queue, item_of(i));
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(atomic_load(&ran), 180);
    ck_assert_uint_eq(stats_now().jobs - jobs, 200);
    for (unsigned i = 0; i < 200; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&ran), 360);
    ck_assert_uint_eq(stats_now().jobs - jobs, 400);
}

START_TEST(a_job_that_ends_its_thread_counts_as_run_and_holds_nothing_up)
{
    exit_threads(0, 1);
    exit_threads(0, 2);
    exit_threads(0, SMOLSCALE_UNLIMITED);
    EVENTUALLY(workers_after_retiring(), ==, 0);
    ck_assert_uint_eq(stats_now().workers_created, stats_now().workers_retired);
}
END_TEST

START_TEST(a_dedicated_thread_that_a_job_ends_is_replaced)
{
    exit_threads(SMOLSCALE_QUEUE_DEDICATED, 1);
    exit_threads(SMOLSCALE_QUEUE_DEDICATED, 3);
}
END_TEST

static unsigned values_gone;

static void note_value_gone(void *value)
{
    (void)value;
    values_gone++;
}

struct keys {
    unsigned count;
    pthread_key_t key[PTHREAD_KEYS_MAX];
    atomic_uint values; // that a job has found in its thread
};

static void look_for_values(void *item, void *user_data)
{
    (void)item;
    struct keys *keys = user_data;
    for (unsigned i = 0; i < keys->count; i++)
        if (pthread_getspecific(keys->key[i]))
            atomic_fetch_add(&keys->values, 1);
    atomic_fetch_add(&ran, 1);
}

START_TEST(a_program_that_has_all_keys_finds_nothing_in_them)
{
    static struct keys keys;
    while (keys.count < PTHREAD_KEYS_MAX &&
           pthread_key_create(&keys.key[keys.count], note_value_gone) == 0)
        keys.count++;
    pthread_key_t none;
    ck_assert_int_eq(pthread_key_create(&none, NULL), EAGAIN);
    smolscale_queue *queue = queue_new(look_for_values, &keys, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < 100; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&ran), 100);
    ck_assert_uint_eq(atomic_load(&keys.values), 0);
    EVENTUALLY(workers_after_retiring(), ==, 0);
    ck_assert_uint_eq(values_gone, 0);
}
END_TEST

static void begin_blocking_only(void *item, void *user_data)
{
    (void)item, (void)user_data;
    smolscale_blocking_begin();
    atomic_fetch_add(&ran, 1);
}

START_TEST(a_job_that_forgets_blocking_end_spoils_no_counts)
{
    smolscale_queue *queue = queue_new(begin_blocking_only, NULL, 2);
    for (unsigned i = 0; i < 1000; i++)
        push(queue, item_of(i));
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(atomic_load(&ran), 1000);
    ck_assert_uint_eq(stats_now().workers_blocked, 0);
    smolscale_queue_free(queue);
    EVENTUALLY(workers_after_retiring(), ==, 0);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Before main(), at exit, options: in processes started for that, which are this program again
// ---------------------------------------------------------------------------------------------

struct outcome {
    int status;
    char out[4096], err[4096];
};

static void read_all(int fd, char *text, size_t size)
{
    size_t length = 0;
    for (ssize_t n; length < size - 1 && (n = read(fd, text + length, size - 1 - length)) > 0;)
        length += (size_t)n;
    text[length] = '\0';
    close(fd);
}

// Runs this program with the arguments "--as WHAT", after `name` was set to `value` in the
// environment.
static bool stderr_is_a_socket; // as that of a service is

static struct outcome run_self(const char *what, const char *name, const char *value)
{
    struct outcome outcome;
    int out[2], err[2];
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    if (stderr_is_a_socket)
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, err), 0);
    else
        ck_assert_int_eq(pipe2(err, O_CLOEXEC), 0);
    if (name)
        setenv(name, value, 1);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    char *argv[] = {(char *)"test-life", (char *)"--as", (char *)what, NULL};
    pid_t pid;
    ck_assert_int_eq(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    if (name)
        unsetenv(name);
    close(out[1]);
    close(err[1]);
    read_all(out[0], outcome.out,
             sizeof outcome.out); // small: cannot fill the other pipe meanwhile
    read_all(err[0], outcome.err, sizeof outcome.err);
    ck_assert_int_eq(waitpid(pid, &outcome.status, 0), pid);
    return outcome;
}

static void ck_exit(const struct outcome *outcome, int code)
{
    ck_assert_msg(WIFEXITED(outcome->status) && WEXITSTATUS(outcome->status) == code,
                  "expected exit %d, got status 0x%x, stderr: %s", code, (unsigned)outcome->status,
                  outcome->err);
}

static const char *role; // of a process started by run_self()

static void use(unsigned jobs)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = count;
    smolscale_queue *queue;
    if (smolscale_queue_new(&queue, &attr) != 0)
        _exit(99);
    for (unsigned i = 0; i < jobs; i++)
        smolscale_queue_push(queue, item_of(i), NULL);
    smolscale_queue_free(queue);
}

__attribute__((constructor)) static void before_main(int argc, char **argv)
{
    if (argc != 3 || strcmp(argv[1], "--as") != 0)
        return;
    role = argv[2];
    alarm(TEST_PATIENCE);
    if (strcmp(role, "constructor") == 0)
        use(100);
}

static void use_at_exit(void)
{
    use(100);
    printf("%u", atomic_load(&ran));
    fflush(stdout);
}

static void exit_in_job(void *item, void *user_data)
{
    (void)item, (void)user_data;
    exit(7);
}

static struct counter never = COUNTER_INIT;

static void sleep_or_spin(void *item, void *user_data)
{
    counter_add(user_data, 1);
    if (number_of(item) % 2)
        counter_wait(&never, 1);
    for (;;)
        ;
}

static int play_role(void)
{
    smolscale_queue *queue;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    if (strcmp(role, "constructor") == 0) {
        printf("%u", atomic_load(&ran));
    } else if (strcmp(role, "atexit") == 0) {
        use(100);
        atexit(use_at_exit);
    } else if (strcmp(role, "exit in job") == 0) {
        attr.run = exit_in_job;
        smolscale_queue_new(&queue, &attr);
        smolscale_queue_push(queue, item_of(0), NULL);
        smolscale_queue_wait(queue);
    } else if (strcmp(role, "exit while jobs run") == 0) {
        struct counter entered = COUNTER_INIT;
        attr.run = sleep_or_spin;
        attr.user_data = &entered;
        smolscale_queue_new(&queue, &attr);
        for (unsigned i = 0; i < 4; i++)
            smolscale_queue_push(queue, item_of(i), NULL);
        counter_wait(&entered, 4);
        exit(8);
    } else if (strcmp(role, "exit while threads push") == 0) {
        attr.run = count;
        smolscale_queue_new(&queue, &attr);
        for (unsigned i = 0; i < 1000000 && atomic_load(&ran) < 1000; i++)
            smolscale_queue_push(queue, item_of(i), NULL);
        exit(9);
    } else if (strcmp(role, "options") == 0) {
        printf("cpus %u disabled %d elastic %d", smolscale_cpus(), smolscale_disabled(),
               smolscale_elastic());
        use(100);
        smolscale_cpus();
    } else {
        return 98;
    }
    return 0;
}

START_TEST(a_constructor_may_use_the_executor)
{
    struct outcome outcome = run_self("constructor", NULL, NULL);
    ck_exit(&outcome, 0);
    ck_assert_str_eq(outcome.out, "100");
}
END_TEST

START_TEST(an_exit_handler_may_use_the_executor)
{
    struct outcome outcome = run_self("atexit", NULL, NULL);
    ck_exit(&outcome, 0);
    ck_assert_str_eq(outcome.out, "200");
}
END_TEST

START_TEST(a_job_may_end_the_process)
{
    struct outcome outcome = run_self("exit in job", NULL, NULL);
    ck_exit(&outcome, 7);
}
END_TEST

START_TEST(the_process_may_end_while_jobs_run)
{
    struct outcome outcome = run_self("exit while jobs run", NULL, NULL);
    ck_exit(&outcome, 8);
    for (unsigned i = 0; i < 20; i++) {
        outcome = run_self("exit while threads push", NULL, NULL);
        ck_exit(&outcome, 9);
    }
}
END_TEST

static unsigned lines(const char *text)
{
    unsigned n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

START_TEST(a_nonsensical_option_gives_one_line_and_the_default)
{
    static const struct {
        const char *name, *value;
    } nonsense[] = {
        {"SMOLSCALE_WORKERS", "abc"},
        {"SMOLSCALE_WORKERS", "-1"},
        {"SMOLSCALE_WORKERS", "4x"},
        {"SMOLSCALE_WORKERS", "3.5"},
        {"SMOLSCALE_WORKERS", "1000000"},
        {"SMOLSCALE_WORKERS", "99999999999999999999999999"},
        {"SMOLSCALE_MAX_THREADS", "0"},
        {"SMOLSCALE_MAX_THREADS", "many"},
        {"SMOLSCALE_MAX_THREADS", "-5"},
        {"SMOLSCALE_POLICY", "lax"},
        {"SMOLSCALE_POLICY", "strict "},
        {"SMOLSCALE_POLICY", "ELASTIC"},
        {"SMOLSCALE_POLICY", "strict|elastic"},
        {"SMOLSCALE_DISABLE", "yes"},
        {"SMOLSCALE_DISABLE", "2"},
        {"SMOLSCALE_VERBOSE", "loud"},
        {"SMOLSCALE_VERBOSE", "-"},
    };
    struct outcome plain = run_self("options", NULL, NULL);
    ck_exit(&plain, 0);
    ck_assert_str_eq(plain.err, "");
    for (unsigned i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        const char *name = nonsense[i].name, *value = nonsense[i].value;
        struct outcome outcome = run_self("options", name, value);
        ck_exit(&outcome, 0);
        ck_assert_msg(lines(outcome.err) == 1, "%s=%s: expected one line, got: %s", name, value,
                      outcome.err);
        ck_assert_msg(strstr(outcome.err, name) && strstr(outcome.err, value),
                      "%s=%s: expected a line with both, got: %s", name, value, outcome.err);
        ck_assert_msg(strstr(outcome.err, "using "),
                      "%s=%s: expected what is used instead, got: %s", name, value, outcome.err);
        ck_assert_str_eq(outcome.out, plain.out);
    }
}
END_TEST

START_TEST(a_hostile_option_gives_one_line_too)
{
    static char long_value[10001];
    memset(long_value, '7', sizeof long_value - 1);
    static const char *const values[] = {long_value, "two\nlines", "%s%s%n", "\"",
                                         "\x1b[31m\xff\x80"};
    for (unsigned i = 0; i < sizeof values / sizeof *values; i++) {
        struct outcome outcome = run_self("options", "SMOLSCALE_WORKERS", values[i]);
        ck_exit(&outcome, 0);
        ck_assert_msg(lines(outcome.err) == 1, "value %u: expected one line, got: %s", i,
                      outcome.err);
        ck_assert_ptr_nonnull(strstr(outcome.err, "SMOLSCALE_WORKERS"));
        for (const char *c = outcome.err; *c && *c != '\n'; c++)
            ck_assert_msg((unsigned char)*c >= ' ',
                          "value %u: expected no control character, got 0x%x", i,
                          (unsigned)(unsigned char)*c);
    }
}
END_TEST

START_TEST(sensible_options_are_silent_and_followed)
{
    struct outcome outcome = run_self("options", "SMOLSCALE_WORKERS", "1");
    ck_exit(&outcome, 0);
    ck_assert_str_eq(outcome.err, "");
    ck_assert_str_eq(outcome.out, "cpus 1 disabled 0 elastic 0");
    outcome = run_self("options", "SMOLSCALE_POLICY", "elastic");
    ck_assert_str_eq(outcome.err, "");
    ck_assert_ptr_nonnull(strstr(outcome.out, "elastic 1"));
    outcome = run_self("options", "SMOLSCALE_POLICY", "strict");
    ck_assert_str_eq(outcome.err, "");
    ck_assert_ptr_nonnull(strstr(outcome.out, "elastic 0"));
    outcome = run_self("options", "SMOLSCALE_DISABLE", "1");
    ck_assert_str_eq(outcome.err, "");
    ck_assert_ptr_nonnull(strstr(outcome.out, "disabled 1"));
    outcome = run_self("options", "SMOLSCALE_POLICY", ""); // as if not set
    ck_assert_str_eq(outcome.err, "");
    outcome = run_self("options", "SMOLSCALE_VERBOSE", "1");
    ck_exit(&outcome, 0);
    ck_assert_ptr_nonnull(strstr(outcome.err, "smolscale: "));
}
END_TEST

START_TEST(counters_go_to_any_standard_error)
{
    for (int i = 0; i < 2; i++) {
        stderr_is_a_socket = i == 1;
        struct outcome outcome = run_self("options", "SMOLSCALE_STATS", "/dev/stderr");
        ck_exit(&outcome, 0);
        ck_assert_ptr_nonnull(strstr(outcome.err, "jobs 100\n"));
    }
}
END_TEST

// ---------------------------------------------------------------------------------------------
// CPUs
// ---------------------------------------------------------------------------------------------

START_TEST(the_affinity_mask_bounds_the_cpus)
{
    cpu_set_t one, all;
    ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    ck_assert_uint_eq(smolscale_cpus(), 1);
    ck_assert_int_eq(sched_setaffinity(0, sizeof all, &all), 0);
    use(1000);
    ck_assert_uint_eq(atomic_load(&ran), 1000);
}
END_TEST

// For each thread of the process, as `taskset -ap` does.
static void confine_all_threads(const cpu_set_t *set)
{
    DIR *tasks = opendir("/proc/self/task");
    ck_assert_ptr_nonnull(tasks);
    for (struct dirent *entry; (entry = readdir(tasks));)
        if (entry->d_name[0] != '.')
            sched_setaffinity((pid_t)atoi(entry->d_name), sizeof *set, set); // or it has ended
    closedir(tasks);
}

static unsigned cpus_when_confined(const cpu_set_t *set)
{
    confine_all_threads(set); // those that have come meanwhile, too
    use(100);
    return smolscale_cpus();
}

START_TEST(the_cpus_follow_the_affinity_masks_at_run_time)
{
    cpu_set_t one, all;
    ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    use(100);
    unsigned cpus = smolscale_cpus();
    ck_assert_uint_le(cpus, (unsigned)CPU_COUNT(&all)); // a quota may leave less
    EVENTUALLY(cpus_when_confined(&one), ==, 1);
    EVENTUALLY(cpus_when_confined(&all), ==, cpus);
}
END_TEST

static void *confine_and_use(void *arg)
{
    ck_assert_int_eq(sched_setaffinity(0, sizeof(cpu_set_t), arg), 0);
    use(100);
    return NULL;
}

START_TEST(a_first_pool_of_a_confined_thread_does_not_confine_the_process)
{
    cpu_set_t one, all;
    ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    pthread_join(thread_start(confine_and_use, &one), NULL);
    ck_assert_uint_eq(smolscale_cpus(), ss_os.cpu_count(NULL, 0));
}
END_TEST

START_TEST(a_cpu_quota_of_version_2_is_rounded_up)
{
    ck_assert_uint_eq(ss_parse_cpu_max("max 100000\n"), UINT_MAX);
    ck_assert_uint_eq(ss_parse_cpu_max("100000 100000\n"), 1);
    ck_assert_uint_eq(ss_parse_cpu_max("50000 100000\n"), 1);
    ck_assert_uint_eq(ss_parse_cpu_max("100001 100000\n"), 2);
    ck_assert_uint_eq(ss_parse_cpu_max("150000 100000\n"), 2);
    ck_assert_uint_eq(ss_parse_cpu_max("800000 100000\n"), 8);
    ck_assert_uint_eq(ss_parse_cpu_max("1000 1000000\n"), 1);
}
END_TEST

START_TEST(a_cpu_quota_that_makes_no_sense_is_no_limit)
{
    static const char *const texts[] = {"",
                                        "\n",
                                        "max",
                                        "nonsense",
                                        "100000",
                                        "100000 0\n",
                                        "-1 100000\n",
                                        "-1\n 100000",
                                        "99999999999999999999 100000",
                                        "0x10 zz"};
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++)
        ck_assert_msg(ss_parse_cpu_max(texts[i]) == UINT_MAX, "\"%s\": expected no limit, got %u",
                      texts[i], ss_parse_cpu_max(texts[i]));
}
END_TEST

static void ck_path(const char *text, const char *controller, const char *expected)
{
    char path[64] = "unchanged";
    bool found = ss_parse_cgroup_path(text, controller, path, sizeof path);
    ck_assert_msg(found == (expected != NULL) && (!found || strcmp(path, expected) == 0),
                  "%s of \"%s\": expected %s, got %s", controller, text,
                  expected ? expected : "none", found ? path : "none");
}

START_TEST(the_cgroup_of_the_process_is_found)
{
    static const char v2[] = "0::/user.slice/app.scope\n";
    static const char v1[] =
        "12:memory:/m\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/set\n1:name=systemd:/x\n";
    static const char hybrid[] = "5:cpuacct,cpu:/\n1:name=systemd:/init\n0::/init.scope";
    ck_path(v2, "", "/user.slice/app.scope");
    ck_path(v2, "cpu", NULL);
    ck_path(v1, "cpu", "/docker/abc");
    ck_path(v1, "cpuset", "/set");
    ck_path(v1, "", NULL);
    ck_path(hybrid, "cpu", "/");
    ck_path(hybrid, "", "/init.scope");
    ck_path("0::/with:colons:inside\n", "", "/with:colons:inside");
    ck_path("", "", NULL);
    ck_path("garbage", "cpu", NULL);
    ck_path("\n\n::\n0:", "cpu", NULL);
    ck_path("0::/a/path/that/is/much/longer/than/the/buffer/that/the/caller/has/brought/along\n",
            "", NULL);
}
END_TEST

START_TEST(the_state_of_a_thread_is_read_behind_any_name)
{
    ck_assert_int_eq(ss_parse_thread_state("1 (x) R 1 2"), SS_THREAD_RUNNABLE);
    ck_assert_int_eq(ss_parse_thread_state("1 (x) S 1 2"), SS_THREAD_SLEEPING);
    ck_assert_int_eq(ss_parse_thread_state("1 (x) D 1 2"), SS_THREAD_SLEEPING);
    ck_assert_int_eq(ss_parse_thread_state("1 (a) S b) R 1"), SS_THREAD_RUNNABLE);
    ck_assert_int_eq(ss_parse_thread_state("1 ())) S 1"), SS_THREAD_SLEEPING);
    ck_assert_int_eq(ss_parse_thread_state("1 (x) Z 1"), SS_THREAD_UNKNOWN);
    ck_assert_int_eq(ss_parse_thread_state(""), SS_THREAD_UNKNOWN);
    ck_assert_int_eq(ss_parse_thread_state("1 (x"), SS_THREAD_UNKNOWN);
    ck_assert_int_eq(ss_parse_thread_state("1 (x)"), SS_THREAD_UNKNOWN);
    ck_assert_uint_eq(ss_parse_runnable("0.52 0.58 0.59 2/211 4242\n"), 2);
    ck_assert_uint_eq(ss_parse_runnable("0.52 0.58 0.59"), 0);
    ck_assert_uint_eq(ss_parse_runnable(""), 0);
}
END_TEST

static enum ss_thread_state state_of(pid_t tid)
{
    enum ss_thread_state state;
    ss_os.thread_states(&tid, &state, 1);
    return state;
}

START_TEST(the_kernel_says_whether_a_thread_sleeps_and_what_it_used)
{
    pid_t tid = (pid_t)syscall(SYS_gettid), nobody = (1 << 22) + 1; // above the kernel's limit
    ck_assert_int_eq(state_of(tid), SS_THREAD_RUNNABLE);
    ck_assert_uint_ne(ss_os.thread_cpu_time(tid), UINT64_MAX);
    ck_assert_uint_gt(ss_os.thread_cpu_time(tid), 0);
    ck_assert_int_eq(state_of(nobody), SS_THREAD_UNKNOWN);
    ck_assert_uint_eq(ss_os.thread_cpu_time(nobody), UINT64_MAX);
}
END_TEST

int main(void)
{
    if (role)
        return play_role();
    return test_suite("life", (const TTest *[]){
                                  jobs_see_the_signal_mask_of_the_first_user,
                                  jobs_see_no_signal_blocked_when_the_first_user_blocked_none,
                                  which_thread_pushes_first_does_not_matter,
                                  jobs_see_policy_and_niceness_of_the_first_user,
                                  jobs_see_their_whole_affinity_mask_after_many_round_trips,
                                  dedicated_workers_have_their_creators_settings,
                                  a_worker_carries_the_name_of_the_queue_it_serves,
                                  pushing_waiting_and_looking_keep_errno,
                                  signals_that_hit_workers_disturb_nothing,
                                  a_job_that_ends_its_thread_counts_as_run_and_holds_nothing_up,
                                  a_dedicated_thread_that_a_job_ends_is_replaced,
                                  a_program_that_has_all_keys_finds_nothing_in_them,
                                  a_job_that_forgets_blocking_end_spoils_no_counts,
                                  a_constructor_may_use_the_executor,
                                  an_exit_handler_may_use_the_executor,
                                  a_job_may_end_the_process,
                                  the_process_may_end_while_jobs_run,
                                  a_nonsensical_option_gives_one_line_and_the_default,
                                  a_hostile_option_gives_one_line_too,
                                  sensible_options_are_silent_and_followed,
                                  counters_go_to_any_standard_error,
                                  counters_go_to_any_standard_error,
                                  the_affinity_mask_bounds_the_cpus,
                                  the_cpus_follow_the_affinity_masks_at_run_time,
                                  a_first_pool_of_a_confined_thread_does_not_confine_the_process,
                                  a_cpu_quota_of_version_2_is_rounded_up,
                                  a_cpu_quota_that_makes_no_sense_is_no_limit,
                                  the_cgroup_of_the_process_is_found,
                                  the_state_of_a_thread_is_read_behind_any_name,
                                  the_kernel_says_whether_a_thread_sleeps_and_what_it_used,
                                  NULL,
                              });
}
