// SPDX-License-Identifier: ISC
//
// Contract 10: after fork() the child finds a fresh executor that starts again at first use; no
// lock stays held and nothing waits for a thread that does not exist. Under the sanitizers
// sanitizer_fork.c guards fork() against a flaw of theirs.

#include "support.h"

#include <smolscale_async.h>

#include <sys/wait.h>

enum { CHUNK = 256 << 10 }; // bytes that tasks' memory is cut from; slab.h

static atomic_uint ran;

static void count(void *item, void *user_data)
{
    (void)item, (void)user_data;
    atomic_fetch_add(&ran, 1);
}

static void use_executor_in_child(unsigned jobs)
{
    unsigned before = atomic_load(&ran);
    smolscale_queue *queue;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = count;
    CHILD_CHECK(smolscale_queue_new(&queue, &attr) == 0);
    for (unsigned i = 0; i < jobs; i++)
        CHILD_CHECK(smolscale_queue_push(queue, item_of(i), NULL) == 0);
    smolscale_queue_wait(queue);
    CHILD_CHECK(atomic_load(&ran) - before == jobs);
    smolscale_queue_free(queue);
}

static void use_executor(unsigned jobs)
{
    smolscale_queue *queue = queue_new(count, NULL, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < jobs; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
}

START_TEST(a_child_forked_before_first_use_can_use_the_executor)
{
    pid_t pid = fork_child();
    if (pid == 0) {
        use_executor_in_child(100);
        _exit(CHILD_OK);
    }
    ck_child_ok(pid);
    use_executor(100);
}
END_TEST

START_TEST(a_child_can_use_the_executor_again_and_so_can_its_child)
{
    use_executor(1000);
    pid_t pid = fork_child();
    if (pid == 0) {
        CHILD_CHECK(stats_now().workers == 0);
        CHILD_CHECK(stats_now().jobs == 0);
        use_executor_in_child(1000);
        pid_t grandchild = fork_child();
        if (grandchild == 0) {
            use_executor_in_child(1000);
            _exit(CHILD_OK);
        }
        int status;
        CHILD_CHECK(waitpid(grandchild, &status, 0) == grandchild);
        CHILD_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == CHILD_OK);
        use_executor_in_child(1000);
        _exit(CHILD_OK);
    }
    ck_child_ok(pid);
    use_executor(1000);
}
END_TEST

struct gate {
    struct counter entered, open;
};
#define GATE_INIT                  \
    {                              \
        COUNTER_INIT, COUNTER_INIT \
    }

static void gate_or_count(void *item, void *user_data)
{
    struct gate *gate = user_data;
    if (item == gate) {
        counter_add(&gate->entered, 1);
        counter_wait(&gate->open, 1);
    } else {
        count(item, NULL);
    }
}

START_TEST(queues_of_the_parent_are_empty_idle_and_usable_in_the_child)
{
    struct gate gate = GATE_INIT;
    smolscale_queue *queue = queue_new(gate_or_count, &gate, 1);
    smolscale_queue *paused = queue_new(count, NULL, 0);
    push(queue, &gate);
    for (unsigned i = 0; i < 100; i++) {
        push(queue, item_of(i));
        push(paused, item_of(i));
    }
    counter_wait(&gate.entered, 1);
    pid_t pid = fork_child();
    if (pid == 0) {
        CHILD_CHECK(smolscale_queue_pending(queue) == 0);
        CHILD_CHECK(smolscale_queue_active(queue) == 0);
        CHILD_CHECK(smolscale_queue_pending(paused) == 0);
        smolscale_queue_wait(queue);
        CHILD_CHECK(atomic_load(&ran) == 0);
        for (unsigned i = 0; i < 100; i++) {
            CHILD_CHECK(smolscale_queue_push(queue, item_of(i), NULL) == 0);
            CHILD_CHECK(smolscale_queue_push(paused, item_of(i), NULL) == 0);
        }
        smolscale_queue_wait(queue);
        CHILD_CHECK(atomic_load(&ran) == 100);
        CHILD_CHECK(smolscale_queue_set_max_active(paused, 3) == 0);
        smolscale_queue_free(paused);
        CHILD_CHECK(atomic_load(&ran) == 200);
        smolscale_queue_free(queue);
        _exit(CHILD_OK);
    }
    ck_child_ok(pid);
    ck_assert_uint_eq(smolscale_queue_pending(queue), 100);
    counter_add(&gate.open, 1);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&ran), 100);
    smolscale_queue_clear(paused, NULL, NULL);
    smolscale_queue_free(paused);
}
END_TEST

START_TEST(families_and_dedicated_queues_of_the_parent_work_in_the_child)
{
    smolscale_queue *parent = queue_new(count, NULL, 1), *child, *dedicated;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = count;
    attr.parent = parent;
    ck_assert_int_eq(smolscale_queue_new(&child, &attr), 0);
    attr.parent = NULL;
    attr.max_active = 2;
    attr.flags = SMOLSCALE_QUEUE_DEDICATED;
    ck_assert_int_eq(smolscale_queue_new(&dedicated, &attr), 0);
    for (unsigned i = 0; i < 50; i++) {
        push(child, item_of(i));
        push(parent, item_of(i));
        push(dedicated, item_of(i));
    }
    pid_t pid = fork_child();
    if (pid == 0) {
        atomic_store(&ran, 0);
        for (unsigned i = 0; i < 50; i++) {
            CHILD_CHECK(smolscale_queue_push(child, item_of(i), NULL) == 0);
            CHILD_CHECK(smolscale_queue_push(parent, item_of(i), NULL) == 0);
            CHILD_CHECK(smolscale_queue_push(dedicated, item_of(i), NULL) == 0);
        }
        smolscale_queue_wait(dedicated);
        CHILD_CHECK(smolscale_queue_set_max_active(dedicated, 3) == 0);
        smolscale_queue_free(dedicated);
        smolscale_queue_free(child);
        smolscale_queue_free(parent);
        CHILD_CHECK(atomic_load(&ran) == 150);
        _exit(CHILD_OK);
    }
    ck_child_ok(pid);
    smolscale_queue_free(dedicated);
    smolscale_queue_free(child);
    smolscale_queue_free(parent);
    ck_assert_uint_eq(atomic_load(&ran), 150);
}
END_TEST

START_TEST(a_child_counts_its_own_cpus)
{
    smolscale_queue *queue = queue_new(count, NULL, SMOLSCALE_UNLIMITED);
    push(queue, item_of(0));
    smolscale_queue_wait(queue);
    pid_t pid = fork();
    if (pid == 0) {
        cpu_set_t all, one;
        CHILD_CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
        unsigned cpu = 0;
        while (!CPU_ISSET(cpu, &all))
            cpu++;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        CHILD_CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
        CHILD_CHECK(smolscale_cpus() == 1);
        push(queue, item_of(1));
        smolscale_queue_wait(queue);
        CHILD_CHECK(atomic_load(&ran) == 2);
        _exit(CHILD_OK);
    }
    ck_child_ok(pid);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(a_child_may_exec)
{
    struct gate gate = GATE_INIT;
    smolscale_queue *queue = queue_new(gate_or_count, &gate, 1);
    push(queue, &gate);
    counter_wait(&gate.entered, 1);
    pid_t pid = fork_child();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", "exit 42", (char *)NULL);
        _exit(1);
    }
    ck_child_ok(pid);
    counter_add(&gate.open, 1);
    smolscale_queue_free(queue);
}
END_TEST

static void exit_handler(void)
{
    // exit() in a child runs handlers, which may use what the parent used
    smolscale_idle_workers();
}

START_TEST(a_child_may_exit_though_jobs_of_the_parent_run)
{
    struct gate gate = GATE_INIT;
    smolscale_queue *queue = queue_new(gate_or_count, &gate, 1);
    push(queue, &gate);
    counter_wait(&gate.entered, 1);
    atexit(exit_handler);
    pid_t pid = fork_child();
    if (pid == 0)
        exit(CHILD_OK);
    ck_child_ok(pid);
    counter_add(&gate.open, 1);
    smolscale_queue_free(queue);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// What the parent's workers were about
// ---------------------------------------------------------------------------------------------

static void notify_nobody(void *whom)
{
    (void)whom;
}

static smolscale_queue *notifying_queue(smolscale_run_fn *run, void *user_data)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run;
    attr.user_data = user_data;
    attr.max_active = 1;
    attr.notify = notify_nobody;
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    return queue;
}

// In the parent there is a worker and no balancer, which would give the notice.
static bool is_parent = true;

static bool fails_but_once(unsigned n)
{
    return is_parent && n != 2; // the first is the balancer's
}

struct debt {
    struct counter owed;
    atomic_bool paid;
};

static void owe_and_compute(void *item, void *user_data)
{
    struct debt *debt = user_data;
    ck_assert(smolscale_notify_soon(item));
    counter_add(&debt->owed, 1);
    while (!atomic_load(&debt->paid))
        ;
}

START_TEST(a_notice_that_the_parent_owes_is_not_given_in_the_child)
{
    failing_threads_start(fails_but_once);
    struct debt debt = {.owed = COUNTER_INIT};
    smolscale_queue *queue = notifying_queue(owe_and_compute, &debt);
    push(queue, item_of(0));
    counter_wait(&debt.owed, 1);
    pid_t pid = fork_child();
    if (pid == 0) {
        is_parent = false;
        // Queues that give no notices have no function to give them with.
        use_executor_in_child(100);
        _exit(CHILD_OK);
    }
    ck_child_ok(pid);
    atomic_store(&debt.paid, true);
    smolscale_queue_free(queue);
}
END_TEST

static void *frame_of_child_task;

static int do_nothing(smolscale_cx *cx, void *frame)
{
    (void)cx, (void)frame;
    return 0;
}

// Spawns a task from a task, hence with memory that the worker has put aside, if it has any.
static int spawn_one(smolscale_cx *cx, void *frame)
{
    (void)cx, (void)frame;
    smolscale_task *task;
    if (smolscale_spawn(&task, do_nothing, NULL, 64) == 0) {
        frame_of_child_task = smolscale_frame(task);
        smolscale_release(task);
    }
    return 0;
}

static int run_task(smolscale_poll_fn *poll)
{
    smolscale_task *task;
    int err = smolscale_spawn(&task, poll, NULL, 64);
    if (err)
        return err;
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, task));
    smolscale_release(task);
    return result;
}

START_TEST(memory_that_the_parents_workers_put_aside_is_left_alone)
{
    ck_assert_int_eq(run_task(spawn_one), 0);
    void *before = frame_of_child_task;
    all_parked();
    pid_t pid = fork_child();
    if (pid == 0) {
        CHILD_CHECK(run_task(spawn_one) == 0);
        // Of another chunk: the parent's are left as they are.
        CHILD_CHECK((uintptr_t)frame_of_child_task / CHUNK != (uintptr_t)before / CHUNK);
        _exit(CHILD_OK);
    }
    ck_child_ok(pid);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// From a job
// ---------------------------------------------------------------------------------------------

static pid_t pid_of_job;

static void fork_in_job(void *item, void *user_data)
{
    (void)item;
    pid_t pid = fork_child();
    if (pid == 0) {
        // the job's thread is the only one now; it uses the queues of the parent and new ones
        smolscale_queue *queue = user_data;
        CHILD_CHECK(smolscale_queue_pending(queue) == 0);
        use_executor_in_child(100);
        _exit(CHILD_OK);
    }
    pid_of_job = pid;
}

START_TEST(a_job_may_fork_and_the_child_use_the_executor)
{
    smolscale_queue *other = queue_new(count, NULL, 1);
    smolscale_queue *queue = queue_new(fork_in_job, other, 1);
    for (unsigned i = 0; i < SCALED(20); i++) {
        push(queue, item_of(i));
        smolscale_queue_wait(queue);
        ck_child_ok(pid_of_job);
    }
    smolscale_queue_free(queue);
    smolscale_queue_free(other);
}
END_TEST

// The child does not leave the job by _exit(): the job returns in it, and its thread becomes a
// worker there.
static int to_parent[2];

static void report_and_exit(void *item, void *user_data)
{
    (void)item, (void)user_data;
    char c = 'y';
    CHILD_CHECK(write(to_parent[1], &c, 1) == 1);
    _exit(CHILD_OK);
}

static void fork_and_return(void *item, void *user_data)
{
    (void)user_data;
    if (number_of(item) != 5)
        return;
    pid_t pid = fork_child();
    if (pid != 0) {
        pid_of_job = pid;
        return;
    }
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = report_and_exit;
    smolscale_queue *queue;
    CHILD_CHECK(smolscale_queue_new(&queue, &attr) == 0);
    CHILD_CHECK(smolscale_queue_push(queue, item_of(0), NULL) == 0);
}

START_TEST(a_job_that_forks_may_return_in_the_child)
{
    for (unsigned max_active = 1; max_active <= 2; max_active++) {
        for (unsigned i = 0; i < SCALED(20); i++) {
            ck_assert_int_eq(pipe(to_parent), 0);
            smolscale_queue *queue = queue_new(fork_and_return, NULL, max_active);
            for (unsigned n = 0; n < 50; n++) // the job may be one of a batch
                push(queue, item_of(n));
            smolscale_queue_free(queue);
            char c = 'n';
            ck_assert_int_eq(read(to_parent[0], &c, 1), 1);
            ck_assert_int_eq(c, 'y');
            ck_child_ok(pid_of_job);
            close(to_parent[0]);
            close(to_parent[1]);
        }
    }
}
END_TEST

// ---------------------------------------------------------------------------------------------
// While other threads use the executor
// ---------------------------------------------------------------------------------------------

static atomic_bool stop;
static smolscale_queue *busy_queue[3];

static int compare_numbers(const void *a, const void *b, void *compare_data)
{
    (void)compare_data;
    return number_of(a) % 101 < number_of(b) % 101 ? -1 : number_of(a) % 101 > number_of(b) % 101;
}

static void *push_hard(void *arg)
{
    uint64_t state = number_of(arg);
    while (!atomic_load(&stop)) {
        unsigned dice = test_random(&state);
        smolscale_queue *queue = busy_queue[dice % 3];
        unsigned n = dice % 200;
        for (unsigned i = 0; i < n; i++)
            push(queue, item_of(i + 1));
        if (dice % 7 == 0)
            smolscale_queue_wait(queue);
        if (dice % 5 == 0)
            smolscale_queue_free(queue_new(count, NULL, 1));
        if (dice % 11 == 0)
            smolscale_queue_set_max_active(queue, dice % 3 + 1);
        if (dice % 13 == 0)
            smolscale_queue_clear(queue, NULL, NULL);
    }
    return NULL;
}

START_TEST(forks_while_other_threads_push_hard_meet_a_usable_executor)
{
    pthread_t thread[3];
    for (unsigned q = 0; q < 3; q++)
        busy_queue[q] = queue_new(count, NULL, q + 1);
    ck_assert_int_eq(smolscale_queue_set_compare(busy_queue[2], compare_numbers, NULL), 0);
    for (unsigned t = 0; t < 3; t++)
        thread[t] = thread_start(push_hard, item_of(t));
    for (unsigned i = 0; i < SCALED(300); i++) {
        pid_t pid = fork_child();
        if (pid == 0) {
            atomic_store(&ran, 0);
            for (unsigned n = 0; n < 300; n++)
                for (unsigned q = 0; q < 3; q++)
                    CHILD_CHECK(smolscale_queue_push(busy_queue[q], item_of(n), NULL) == 0);
            for (unsigned q = 0; q < 3; q++)
                smolscale_queue_wait(busy_queue[q]);
            CHILD_CHECK(atomic_load(&ran) == 900);
            use_executor_in_child(10);
            _exit(CHILD_OK);
        }
        ck_child_ok(pid);
    }
    atomic_store(&stop, true);
    for (unsigned t = 0; t < 3; t++)
        pthread_join(thread[t], NULL);
    for (unsigned q = 0; q < 3; q++)
        smolscale_queue_free(busy_queue[q]);
}
END_TEST

static void *first_use(void *arg)
{
    use_executor(1);
    return arg;
}

static atomic_bool stop_making;

static void *make_and_free_queues(void *arg)
{
    while (!atomic_load(&stop_making))
        smolscale_queue_free(queue_new(count, NULL, 1));
    return arg;
}

START_TEST(forks_while_other_threads_make_and_free_queues_meet_whole_lists)
{
    for (unsigned i = 0; i < SCALED(100); i++) {
        atomic_store(&stop_making, false);
        pthread_t maker = thread_start(make_and_free_queues, NULL);
        smolscale_queue *queue[4];
        for (unsigned q = 0; q < 4; q++)
            queue[q] = queue_new(count, NULL, 1);
        pid_t pid = fork_child();
        if (pid == 0) {
            for (unsigned q = 4; q > 0;
                 q--) // the last may be linked to one half made or half freed
                smolscale_queue_free(queue[q - 1]);
            use_executor_in_child(10);
            pid_t grandchild = fork_child(); // goes along the list of all queues
            if (grandchild == 0) {
                use_executor_in_child(10);
                _exit(CHILD_OK);
            }
            int status;
            CHILD_CHECK(waitpid(grandchild, &status, 0) == grandchild);
            CHILD_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == CHILD_OK);
            _exit(CHILD_OK);
        }
        atomic_store(&stop_making, true);
        pthread_join(maker, NULL);
        ck_child_ok(pid);
        for (unsigned q = 0; q < 4; q++)
            smolscale_queue_free(queue[q]);
    }
}
END_TEST

START_TEST(a_fork_during_first_use_meets_a_usable_executor)
{
    for (unsigned i = 0; i < SCALED(100); i++) {
        // in a child, whose executor has not started
        pid_t outer = fork_child();
        if (outer == 0) {
            pthread_t thread;
            CHILD_CHECK(pthread_create(&thread, NULL, first_use, NULL) == 0);
            for (volatile unsigned spin = 0; spin < i * 500; spin = spin + 1)
                ;
            pid_t pid = fork_child();
            if (pid == 0) {
                use_executor_in_child(5);
                _exit(CHILD_OK);
            }
            int status;
            CHILD_CHECK(waitpid(pid, &status, 0) == pid);
            CHILD_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == CHILD_OK);
            pthread_join(thread, NULL);
            _exit(CHILD_OK);
        }
        ck_child_ok(outer);
    }
}
END_TEST

static void run_shell(void *item, void *user_data)
{
    (void)item;
    if (system("exit 7") == 7 << 8)
        atomic_fetch_add((atomic_uint *)user_data, 1);
}

START_TEST(jobs_may_start_programs)
{
    atomic_uint good = 0;
    smolscale_queue *queue = queue_new(run_shell, &good, 4);
    for (unsigned i = 0; i < 20; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&good), 20);
}
END_TEST

int main(void)
{
    return test_suite("fork", (const TTest *[]){
                                  a_child_forked_before_first_use_can_use_the_executor,
                                  a_child_can_use_the_executor_again_and_so_can_its_child,
                                  queues_of_the_parent_are_empty_idle_and_usable_in_the_child,
                                  families_and_dedicated_queues_of_the_parent_work_in_the_child,
                                  a_child_counts_its_own_cpus,
                                  a_notice_that_the_parent_owes_is_not_given_in_the_child,
                                  memory_that_the_parents_workers_put_aside_is_left_alone,
                                  a_child_may_exec,
                                  a_child_may_exit_though_jobs_of_the_parent_run,
                                  a_job_may_fork_and_the_child_use_the_executor,
                                  a_job_that_forks_may_return_in_the_child,
                                  forks_while_other_threads_push_hard_meet_a_usable_executor,
                                  forks_while_other_threads_make_and_free_queues_meet_whole_lists,
                                  a_fork_during_first_use_meets_a_usable_executor,
                                  jobs_may_start_programs,
                                  NULL,
                              });
}
