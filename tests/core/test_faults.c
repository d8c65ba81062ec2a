// SPDX-License-Identifier: ISC
//
// Faults of the real system, not of a replaced one: limits that are reached in the middle and
// lifted again, no descriptors, CPUs that come and go, a process that is stopped, threads that are
// cancelled, every way to end a process, real-time threads. What cannot be had on this machine is
// skipped, with a line that says why.

#include "support.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../ends.h"
#include "smolscale_async.h"

#define SKIP(why)                              \
    do {                                       \
        fprintf(stderr, "skipped: %s\n", why); \
        return;                                \
    } while (0)

static atomic_uint ran;

static void count(void *item, void *user_data)
{
    (void)item, (void)user_data;
    atomic_fetch_add(&ran, 1);
}

// Jobs that meet: each has a thread of its own as long as they wait.
static struct counter entered = COUNTER_INIT, may_leave = COUNTER_INIT;

static void meet(void *item, void *user_data)
{
    (void)item, (void)user_data;
    counter_add(&entered, 1);
    counter_wait(&may_leave, 1);
    atomic_fetch_add(&ran, 1);
}

static void in_child(void (*what)(void))
{
    pid_t pid = fork_child();
    if (pid == 0) {
        what();
        _exit(CHILD_OK);
    }
    ck_child_ok(pid);
}

#define CHILD_EVENTUALLY(condition)                                 \
    do {                                                            \
        uint64_t end_ = test_clock() + TEST_PATIENCE * SS_NS_PER_S; \
        while (!(condition) && test_clock() < end_)                 \
            test_breathe();                                         \
        CHILD_CHECK(condition);                                     \
    } while (0)

// ---------------------------------------------------------------------------------------------
// Limits
// ---------------------------------------------------------------------------------------------

static void set_soft_limit(int resource, rlim_t value)
{
    struct rlimit limit;
    CHILD_CHECK(getrlimit((__rlimit_resource_t)resource, &limit) == 0);
    limit.rlim_cur = value < limit.rlim_max ? value : limit.rlim_max;
    CHILD_CHECK(setrlimit((__rlimit_resource_t)resource, &limit) == 0);
}

static void *return_at_once(void *arg)
{
    return arg;
}

static bool threads_can_be_had(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, return_at_once, NULL) != 0)
        return false;
    pthread_join(thread, NULL);
    return true;
}

// While jobs run no further thread can be had; then it can. `forbid` and `allow` say how.
static void threads_go_and_come(void (*forbid)(void), void (*allow)(void))
{
    smolscale_queue *queue = queue_new(meet, NULL, SMOLSCALE_UNLIMITED), *dedicated;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = count;
    attr.max_active = 2;
    attr.flags = SMOLSCALE_QUEUE_DEDICATED;
    push(queue, item_of(0));
    counter_wait(&entered, 1);
    forbid();
    if (threads_can_be_had())
        SKIP("the system does not enforce this limit");
    for (unsigned i = 1; i < 8; i++) {
        int err = smolscale_queue_push(queue, item_of(i), NULL);
        CHILD_CHECK(err == 0 || err == -EAGAIN); // accepted, one way or the other
    }
    CHILD_CHECK(smolscale_queue_new(&dedicated, &attr) == -EAGAIN);
    CHILD_CHECK(dedicated == NULL);
    allow();
    CHILD_CHECK(threads_can_be_had());
    CHILD_EVENTUALLY(counter_get(&entered) == 8); // nobody has called anything since
    CHILD_CHECK(smolscale_queue_new(&dedicated, &attr) == 0);
    push(dedicated, item_of(0));
    smolscale_queue_free(dedicated);
    counter_add(&may_leave, 1);
    smolscale_queue_free(queue);
    CHILD_CHECK(atomic_load(&ran) == 9);
}

static void forbid_processes(void)
{
    set_soft_limit(RLIMIT_NPROC, 0);
}

static void allow_processes(void)
{
    set_soft_limit(RLIMIT_NPROC, RLIM_INFINITY);
}

static void live_without_processes(void)
{
    if (geteuid() == 0) {
        uid_t uid = 300000 + (uid_t)getpid() % 1000000;
        CHILD_CHECK(setgroups(0, NULL) == 0 && setgid(uid) == 0 && setuid(uid) == 0);
    }
    threads_go_and_come(forbid_processes, allow_processes);
}

START_TEST(the_limit_of_processes_is_reached_and_lifted_in_the_middle)
{
    in_child(live_without_processes);
}
END_TEST

#if !defined(TEST_TSAN) && !defined(TEST_ASAN) // they need address space without end

// The address space that the process has; one that is full has no room for a stack.
static rlim_t address_space(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHILD_CHECK(file != NULL && fscanf(file, "%lu", &pages) == 1);
    fclose(file);
    return pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void forbid_memory(void)
{
    set_soft_limit(RLIMIT_AS, address_space() + 2048 * 1024);
}

static void allow_memory(void)
{
    set_soft_limit(RLIMIT_AS, RLIM_INFINITY);
}

static void live_without_stacks(void)
{
    threads_go_and_come(forbid_memory, allow_memory);
}

START_TEST(the_limit_of_memory_is_reached_and_lifted_in_the_middle)
{
    in_child(live_without_stacks);
}
END_TEST

// What is accepted runs, what is not says -ENOMEM, and later all is well.
static void live_without_memory(void)
{
    static char *hoard[100000];
    unsigned hoarded = 0, accepted = 0;
    smolscale_queue *queue = queue_new(count, NULL, 0);
    smolscale_channel *channel;
    CHILD_CHECK(smolscale_channel_new(&channel, 4096, SMOLSCALE_UNLIMITED) == 0);
    char message[4096] = {0};
    set_soft_limit(RLIMIT_AS, address_space());
    while (hoarded < 100000 && (hoard[hoarded] = malloc(256)))
        hoarded++;
    int err;
    do
        accepted += (err = smolscale_queue_push(queue, item_of(0), NULL)) == 0;
    while (err == 0 && accepted < 10000000);
    CHILD_CHECK(err == -ENOMEM);
    unsigned sent = 0;
    do
        sent += (err = smolscale_try_send(channel, message)) == 0;
    while (err == 0 && sent < 1000000);
    CHILD_CHECK(err == -ENOMEM);
    smolscale_local *local;
    smolscale_group *group = NULL;
    struct smolscale_group_attr attr = SMOLSCALE_GROUP_ATTR_INIT;
    err = smolscale_group_new(&group, &attr);
    CHILD_CHECK(err == 0 || err == -ENOMEM);
    smolscale_group_free(group);
    err = smolscale_local_new(&local);
    CHILD_CHECK(err == 0 || err == -ENOMEM);
    smolscale_local_free(local);
    allow_memory();
    while (hoarded-- > 0)
        free(hoard[hoarded]);
    CHILD_CHECK(smolscale_queue_pending(queue) == accepted);
    CHILD_CHECK(smolscale_queue_push(queue, item_of(0), NULL) == 0);
    CHILD_CHECK(smolscale_queue_set_max_active(queue, SMOLSCALE_UNLIMITED) == 0);
    smolscale_queue_free(queue);
    CHILD_CHECK(atomic_load(&ran) == accepted + 1);
    while (smolscale_try_recv(channel, message) == 0)
        sent--;
    CHILD_CHECK(sent == 0);
    smolscale_channel_unref(channel);
}

START_TEST(an_address_space_that_is_full_is_an_error_and_later_forgotten)
{
    in_child(live_without_memory);
}
END_TEST

#endif

static void live_without_descriptors(void)
{
    set_soft_limit(RLIMIT_NOFILE, 64);
    int pair[2], last = -1, fd;
    CHILD_CHECK(pipe2(pair, O_NONBLOCK | O_CLOEXEC) == 0);
    while ((fd = dup(pair[0])) >= 0)
        last = fd;
    CHILD_CHECK(errno == EMFILE && last > 0);
    // Work needs none.
    smolscale_queue *queue = queue_new(count, NULL, 4);
    for (unsigned i = 0; i < 100; i++)
        push(queue, item_of(i));
    smolscale_queue_wait(queue);
    CHILD_CHECK(SMOLSCALE_BLOCK(smolscale_sleep(cx, 1000)) == 0);
    // What does says so.
    smolscale_local *local;
    CHILD_CHECK(smolscale_local_new(&local) == -EMFILE && local == NULL);
    CHILD_CHECK(SMOLSCALE_BLOCK(smolscale_ready(cx, pair[0], SMOLSCALE_READABLE)) == -EMFILE);
    char byte = 0;
    CHILD_CHECK(SMOLSCALE_BLOCK(smolscale_read(cx, pair[0], &byte, 1)) == -EMFILE);
    // And works when there are some again.
    for (fd = last; fd > last - 4; fd--)
        close(fd);
    CHILD_CHECK(smolscale_local_new(&local) == 0);
    smolscale_local_free(local);
    CHILD_CHECK(write(pair[1], "x", 1) == 1);
    CHILD_CHECK(SMOLSCALE_BLOCK(smolscale_ready(cx, pair[0], SMOLSCALE_READABLE)) ==
                SMOLSCALE_READABLE);
    CHILD_CHECK(SMOLSCALE_BLOCK(smolscale_read(cx, pair[0], &byte, 1)) == 1 && byte == 'x');
    smolscale_queue_free(queue);
    CHILD_CHECK(atomic_load(&ran) == 100);
}

START_TEST(without_descriptors_work_goes_on_and_who_needs_one_is_told)
{
    in_child(live_without_descriptors);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// CPUs
// ---------------------------------------------------------------------------------------------

static void push_in_turns(smolscale_queue *queue, unsigned rounds, void (*between)(unsigned round))
{
    for (unsigned round = 0; round < rounds; round++) {
        between(round);
        for (unsigned i = 0; i < 200; i++)
            push(queue, item_of(i));
    }
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(atomic_load(&ran), 200 * rounds);
}

// All threads of the process, as taskset -ap does it.
static cpu_set_t all_cpus;

static void give_cpus(unsigned round)
{
    struct tids tids;
    cpu_set_t set = all_cpus;
    if (round % 2)
        for (unsigned cpu = 0; CPU_COUNT(&set) > 1 && cpu < CPU_SETSIZE; cpu++)
            CPU_CLR(cpu, &set);
    threads_now(&tids);
    for (unsigned i = 0; i < tids.count; i++)
        sched_setaffinity(tids.tid[i], sizeof set, &set); // it may have ended
}

START_TEST(cpus_are_taken_and_given_while_jobs_run)
{
    ck_assert_int_eq(sched_getaffinity(0, sizeof all_cpus, &all_cpus), 0);
    smolscale_queue *queue = queue_new(count, NULL, SMOLSCALE_UNLIMITED);
    push_in_turns(queue, SCALED(400), give_cpus);
    give_cpus(0);
    smolscale_queue_free(queue);
}
END_TEST

static char quota_file[PATH_MAX];
static bool quota_version_2;

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

// Half a CPU, a tenth, two, no limit.
static void set_quota(unsigned round)
{
    const char *const quotas[] = {"50000", "10000", "200000", "none"};
    const char *quota = quotas[round % 4];
    char text[64];
    bool none = strcmp(quota, "none") == 0;
    if (quota_version_2)
        snprintf(text, sizeof text, "%s 100000", none ? "max" : quota);
    else
        snprintf(text, sizeof text, "%s", none ? "-1" : quota);
    if (!write_text(quota_file, text))
        ck_abort_msg("the quota cannot be set: %s", strerror(errno));
}

START_TEST(the_cgroups_quota_changes_while_jobs_run)
{
    const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/cpu"};
    char group[PATH_MAX - 32] = "", procs[PATH_MAX], number[32];
    for (unsigned i = 0; i < 2 && !quota_file[0]; i++) {
        snprintf(group, sizeof group, "%s/smolscale-test-%d", roots[i], getpid());
        if (mkdir(group, 0755) != 0)
            continue;
        snprintf(quota_file, sizeof quota_file, "%s/%s", group, i ? "cpu.cfs_quota_us" : "cpu.max");
        quota_version_2 = i == 0;
        if (access(quota_file, W_OK) != 0) {
            quota_file[0] = 0;
            rmdir(group);
        }
    }
    if (!quota_file[0])
        SKIP("no cgroup with a CPU quota can be made here");
    // A child: the group can be removed when it has ended.
    pid_t pid = fork_child();
    if (pid == 0) {
        snprintf(procs, sizeof procs, "%s/cgroup.procs", group);
        snprintf(number, sizeof number, "%d", getpid());
        if (write_text(procs, number)) {
            smolscale_queue *queue = queue_new(count, NULL, SMOLSCALE_UNLIMITED);
            push_in_turns(queue, 40, set_quota);
            smolscale_queue_free(queue);
        }
        _exit(CHILD_OK);
    }
    ck_child_ok(pid);
    while (rmdir(group) != 0 && errno == EBUSY)
        test_breathe();
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Signals
// ---------------------------------------------------------------------------------------------

struct napper {
    SMOLSCALE_FRAME;
    unsigned left;
};
SMOLSCALE_ASYNC(napper, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->left > 0; f->left--)
        SMOLSCALE_TRY(smolscale_sleep(cx, 500000));
    SMOLSCALE_END;
}

static void live_with_stops(void)
{
    smolscale_queue *queue = queue_new(count, NULL, 4);
    smolscale_task *tasks[20];
    for (unsigned i = 0; i < 20; i++)
        CHILD_CHECK(SMOLSCALE_SPAWN(&tasks[i], napper, .left = 200) == 0);
    for (unsigned i = 0; i < 2000; i++) {
        push(queue, item_of(i));
        if (i % 20 == 0)
            test_breathe();
    }
    for (unsigned i = 0; i < 20; i++) {
        CHILD_CHECK(SMOLSCALE_BLOCK(smolscale_join(cx, tasks[i])) == 0);
        smolscale_release(tasks[i]);
    }
    smolscale_queue_free(queue);
    CHILD_CHECK(atomic_load(&ran) == 2000);
}

START_TEST(a_process_is_stopped_and_continued_again_and_again)
{
    pid_t pid = fork_child();
    if (pid == 0) {
        live_with_stops();
        _exit(CHILD_OK);
    }
    stop_and_continue(pid);
    ck_child_ok(pid);
}
END_TEST

static void cancel_itself(void *item, void *user_data)
{
    (void)user_data;
    atomic_fetch_add(&ran, 1);
    if (number_of(item) % 2)
        pthread_cancel(pthread_self());
    pthread_testcancel();
    atomic_fetch_add(&ran, 1);
}

// A cancelled job counts as run, its thread is replaced, and nothing else happens.
START_TEST(a_job_whose_thread_is_cancelled_counts_as_run)
{
    const unsigned flags[] = {0, SMOLSCALE_QUEUE_DEDICATED, SMOLSCALE_QUEUE_ELASTIC};
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = cancel_itself;
    attr.max_active = 2;
    attr.flags = flags[_i];
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    for (unsigned i = 0; i < 100; i++)
        push(queue, item_of(i));
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(smolscale_queue_active(queue), 0);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&ran), 150);
}
END_TEST

static _Atomic(pthread_t) waiting_thread;

static void wait_in_the_kernel(void *item, void *user_data)
{
    (void)item, (void)user_data;
    atomic_store(&waiting_thread, pthread_self());
    counter_add(&entered, 1);
    for (;;)
#ifdef TEST_TSAN
        // A thread that is cancelled inside of an interceptor never leaves it: from then on the
        // thread sanitizer sees no order between it and others, whatever locks it takes.
        pthread_testcancel(), sched_yield();
#else
        pause(); // a cancellation point
#endif
}

START_TEST(a_job_that_sleeps_is_cancelled_from_outside)
{
    smolscale_queue *queue = queue_new(wait_in_the_kernel, NULL, 1);
    for (unsigned i = 1; i <= 20; i++) {
        push(queue, item_of(i));
        counter_wait(&entered, i);
        ck_assert_int_eq(pthread_cancel(atomic_load(&waiting_thread)), 0);
    }
    smolscale_queue_free(queue);
}
END_TEST

static void jump_within(void *item, void *user_data)
{
    jmp_buf place;
    volatile unsigned jumps = 0;
    (void)item, (void)user_data;
    if (setjmp(place) < 5) {
        jumps = jumps + 1;
        longjmp(place, (int)jumps);
    }
    atomic_fetch_add(&ran, jumps);
}

START_TEST(a_job_may_jump_within_itself)
{
    smolscale_queue *queue = queue_new(jump_within, NULL, 4);
    for (unsigned i = 0; i < 1000; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&ran), 5000);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Ends of the process
// ---------------------------------------------------------------------------------------------

static void end_in_job(void *item, void *user_data)
{
    (void)user_data;
    ends[number_of(item)].how();
}

// In a job, in a task, and in another thread beside jobs that run and wait.
static int end_in_task(smolscale_cx *cx, void *frame)
{
    (void)cx;
    ends[*(unsigned *)frame].how();
    return 0;
}

START_TEST(a_process_ends_from_a_job_a_task_and_beside_jobs)
{
    unsigned how = (unsigned)_i % ENDS, where = (unsigned)_i / ENDS;
    pid_t pid = fork_child();
    if (pid == 0) {
        smolscale_queue *others = queue_new(meet, NULL, 3);
        for (unsigned i = 0; i < 10; i++)
            push(others, item_of(i));
        counter_wait(&entered, 3);
        if (where == 0)
            push(queue_new(end_in_job, NULL, 1), item_of(how));
        else if (where == 1)
            smolscale_spawn(NULL, end_in_task, &how, sizeof how);
        else
            ends[how].how();
        for (;;)
            pause();
    }
    ck_ended(pid, how);
}
END_TEST

static void start_program(void *item, void *user_data)
{
    (void)user_data;
    start_true(number_of(item) % 2);
    atomic_fetch_add(&ran, 1);
}

START_TEST(jobs_start_programs_by_vfork_and_posix_spawn)
{
    smolscale_queue *queue = queue_new(start_program, NULL, 4);
    for (unsigned i = 0; i < 40; i++)
        push(queue, item_of(i));
    start_program(item_of(0), NULL); // and beside them
    start_program(item_of(1), NULL);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&ran), 42);
}
END_TEST

static bool use_it_in_the_destructor;

// As late as a program can: after main() and its exit handlers.
__attribute__((destructor(101))) static void use_it_late(void)
{
    if (!use_it_in_the_destructor)
        return;
    smolscale_queue *queue;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = count;
    CHILD_CHECK(smolscale_queue_new(&queue, &attr) == 0);
    for (unsigned i = 0; i < 100; i++)
        CHILD_CHECK(smolscale_queue_push(queue, item_of(i), NULL) == 0);
    smolscale_queue_free(queue);
    CHILD_CHECK(atomic_load(&ran) == 100);
    CHILD_CHECK(SMOLSCALE_BLOCK_ON(napper, .left = 3) == 0);
    _exit(CHILD_OK);
}

START_TEST(a_destructor_may_use_the_executor)
{
    pid_t pid = fork_child();
    if (pid == 0) {
        if (_i) { // started before, or not
            smolscale_queue *queue = queue_new(count, NULL, 1);
            push(queue, item_of(0));
            smolscale_queue_free(queue);
            atomic_store(&ran, 0);
        }
        use_it_in_the_destructor = true;
        exit(1);
    }
    ck_child_ok(pid);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Real-time threads
// ---------------------------------------------------------------------------------------------

static atomic_bool fifo_ended;

struct forever {
    SMOLSCALE_FRAME;
};
SMOLSCALE_ASYNC(forever, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_TRY(smolscale_sleep(cx, UINT64_MAX));
    SMOLSCALE_END;
}

// A thread of high priority, alone on one CPU with workers of low priority, cancels what they are
// in the middle of, and pushes, takes back and frees. If it ever spun for one of them, that one
// would never get the CPU.
static void *live_as_fifo(void *arg)
{
    struct sched_param high = {.sched_priority = 10};
    bool *privileged = arg;
    *privileged = pthread_setschedparam(pthread_self(), SCHED_FIFO, &high) == 0;
    for (unsigned round = 0; *privileged && round < SCALED(1000); round++) {
        smolscale_task *tasks[8];
        smolscale_queue *queue = queue_new(count, NULL, 2);
        for (unsigned i = 0; i < 8; i++)
            ck_assert_int_eq(round % 2 ? SMOLSCALE_SPAWN(&tasks[i], forever)
                                       : SMOLSCALE_SPAWN(&tasks[i], napper, .left = 5),
                             0);
        uint64_t ticket[16];
        for (unsigned i = 0; i < 16; i++)
            ck_assert_int_eq(smolscale_queue_push(queue, item_of(i), &ticket[i]), 0);
        if (round % 3)
            nanosleep(&(struct timespec){0, 30000}, NULL); // they begin
        for (unsigned i = 0; i < 16; i += 3)
            smolscale_queue_cancel(queue, item_of(i), ticket[i]);
        for (unsigned i = 0; i < 8; i++)
            smolscale_cancel(tasks[i]);
        for (unsigned i = 0; i < 8; i++) {
            SMOLSCALE_BLOCK(smolscale_join(cx, tasks[i]));
            smolscale_release(tasks[i]);
        }
        smolscale_queue_free(queue);
    }
    atomic_store(&fifo_ended, true);
    return NULL;
}

struct receiver {
    SMOLSCALE_FRAME;
    smolscale_channel *in;
    unsigned message;
    int n;
};
SMOLSCALE_ASYNC(receiver, f)
{
    SMOLSCALE_BEGIN(f);
    do
        SMOLSCALE_AWAIT(f->n, smolscale_recv(cx, f->in, &f->message));
    while (f->n >= 0);
    SMOLSCALE_END;
}

struct sender {
    SMOLSCALE_FRAME;
    smolscale_channel *out;
    unsigned message;
    int n;
};
SMOLSCALE_ASYNC(sender, f)
{
    SMOLSCALE_BEGIN(f);
    do
        SMOLSCALE_AWAIT(f->n, smolscale_send(cx, f->out, &f->message));
    while (f->n >= 0);
    SMOLSCALE_END;
}

// The caller sleeps now and then, so that helpers come into the middle of an item.
static void nap_or_compute(void *context, size_t begin, size_t end, size_t thread)
{
    for (size_t i = begin; i < end; i++)
        atomic_fetch_add((atomic_uint *)context, 1);
    if (thread == 0)
        nanosleep(&(struct timespec){0, 30000}, NULL);
    else
        for (volatile unsigned spin = 0; spin < 20000; spin++)
            ;
}

// The same with what such a thread has of its own, while workers are in the middle of it: a run
// queue whose tasks they wake, and the loops that they help with.
static void *own_and_share_as_fifo(void *arg)
{
    struct sched_param high = {.sched_priority = 10};
    bool *privileged = arg;
    *privileged = pthread_setschedparam(pthread_self(), SCHED_FIFO, &high) == 0;
    for (unsigned round = 0; *privileged && round < SCALED(400) + 20; round++) {
        smolscale_channel *channel;
        smolscale_local *local;
        smolscale_task *senders[4];
        ck_assert_int_eq(smolscale_channel_new(&channel, sizeof(unsigned), 2), 0);
        ck_assert_int_eq(smolscale_local_new(&local), 0);
        for (unsigned i = 0; i < 4; i++) {
            struct receiver first = {.in = channel};
            ck_assert_int_eq(smolscale_local_spawn(local, NULL, receiver, &first, sizeof first), 0);
            ck_assert_int_eq(SMOLSCALE_SPAWN(&senders[i], sender, .out = channel), 0);
        }
        for (unsigned i = 0; i < round % 8; i++)
            smolscale_local_tick(local);
        nanosleep(&(struct timespec){0, 30000}, NULL); // they wake its tasks
        smolscale_local_free(local);
        for (unsigned i = 0; i < 4; i++) {
            smolscale_cancel(senders[i]);
            SMOLSCALE_BLOCK(smolscale_join(cx, senders[i]));
            smolscale_release(senders[i]);
        }
        smolscale_channel_unref(channel);

        struct smolscale_parallel_attr attr = SMOLSCALE_PARALLEL_ATTR_INIT;
        atomic_uint items = 0;
        attr.grain = 1, attr.max_threads = 4;
        smolscale_parallel_for(0, 40, nap_or_compute, &items, &attr);
        ck_assert_uint_eq(atomic_load(&items), 40);
    }
    atomic_store(&fifo_ended, true);
    return NULL;
}

static void alone_on_one_cpu(void *(*fifo_main)(void *))
{
    cpu_set_t all, one;
    bool privileged = false;
    ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (unsigned cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    // The first use is by a thread of low priority: so are the workers.
    smolscale_queue *queue = queue_new(count, NULL, 1);
    push(queue, item_of(0));
    smolscale_queue_free(queue);
    pthread_t fifo = thread_start(fifo_main, &privileged);
    pthread_join(fifo, NULL);
    if (!privileged)
        SKIP("no permission for SCHED_FIFO");
    ck_assert(atomic_load(&fifo_ended));
}

START_TEST(a_real_time_thread_does_not_wait_spinning_for_workers)
{
    alone_on_one_cpu(live_as_fifo);
}
END_TEST

START_TEST(a_real_time_threads_run_queue_and_loops_wait_asleep_for_workers)
{
    alone_on_one_cpu(own_and_share_as_fifo);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Another user
// ---------------------------------------------------------------------------------------------

// Of each thread: it must be among those that the C library has given the new user.
static bool all_threads_are_of(uid_t uid)
{
    struct tids tids;
    bool all = true;
    threads_now(&tids);
    for (unsigned i = 0; i < tids.count; i++) {
        char path[64], line[256];
        unsigned real = uid, effective = uid;
        snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)tids.tid[i]);
        FILE *file = fopen(path, "r");
        while (file && fgets(line, sizeof line, file))
            if (sscanf(line, "Uid: %u %u", &real, &effective) == 2)
                break;
        if (file) // else it has ended
            fclose(file);
        all &= real == uid && effective == uid;
    }
    return all;
}

// Workers are blocked, parked and busy, and the balancer looks. The C library stops each thread for
// a moment by a signal, and waits for all of them.
static void live_as_another_user(void)
{
    smolscale_queue *blocked = queue_new(meet, NULL, SMOLSCALE_UNLIMITED);
    smolscale_queue *queue = queue_new(count, NULL, 4);
    smolscale_task *task;
    uid_t uid = 300000 + (uid_t)getpid() % 1000000;
    CHILD_CHECK(SMOLSCALE_SPAWN(&task, napper, .left = 20) == 0);
    for (unsigned i = 0; i < 10; i++)
        push(blocked, item_of(i));
    counter_wait(&entered, 10);
    for (unsigned i = 0; i < 1000; i++)
        push(queue, item_of(i));
    CHILD_CHECK(setgroups(0, NULL) == 0 && setgid(uid) == 0 && setuid(uid) == 0);
    CHILD_CHECK(all_threads_are_of(uid));
    for (unsigned i = 0; i < 1000; i++)
        push(queue, item_of(i));
    counter_add(&may_leave, 1);
    smolscale_queue_free(blocked);
    smolscale_queue_free(queue);
    CHILD_CHECK(SMOLSCALE_BLOCK(smolscale_join(cx, task)) == 0);
    smolscale_release(task);
    CHILD_CHECK(atomic_load(&ran) == 2010);
    CHILD_CHECK(all_threads_are_of(uid)); // the new ones, too
}

START_TEST(a_process_becomes_another_users_while_jobs_run)
{
    if (geteuid() != 0)
        SKIP("not root");
    in_child(live_as_another_user);
}
END_TEST

int main(void)
{
    const struct test_rounds tests[] = {
        {a_process_becomes_another_users_while_jobs_run, 1},
        {the_limit_of_processes_is_reached_and_lifted_in_the_middle, 1},
#if !defined(TEST_TSAN) && !defined(TEST_ASAN)
        {the_limit_of_memory_is_reached_and_lifted_in_the_middle, 1},
        {an_address_space_that_is_full_is_an_error_and_later_forgotten, 1},
#endif
        {without_descriptors_work_goes_on_and_who_needs_one_is_told, 1},
        {cpus_are_taken_and_given_while_jobs_run, 1},
        {the_cgroups_quota_changes_while_jobs_run, 1},
        {a_process_is_stopped_and_continued_again_and_again, 1},
        {a_job_whose_thread_is_cancelled_counts_as_run, 3},
        {a_job_that_sleeps_is_cancelled_from_outside, 1},
        {a_job_may_jump_within_itself, 1},
        {a_process_ends_from_a_job_a_task_and_beside_jobs, 3 * ENDS},
        {jobs_start_programs_by_vfork_and_posix_spawn, 1},
        {a_destructor_may_use_the_executor, 2},
        {a_real_time_thread_does_not_wait_spinning_for_workers, 1},
        {a_real_time_threads_run_queue_and_loops_wait_asleep_for_workers, 1},
    };
    return test_suite_of_rounds("faults", tests, sizeof tests / sizeof tests[0]);
}
