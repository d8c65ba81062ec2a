// SPDX-License-Identifier: ISC
//
// Tasks and fork(): the child finds none of the parent's tasks, whatever they were doing, and can
// use tasks of its own; the parent notices nothing.

#include "support.h"

#include <smolscale_async.h>

#include <sys/wait.h>

#define MS SS_NS_PER_MS

// ---- what the child does: a little of everything

struct echo {
    SMOLSCALE_FRAME;
    smolscale_channel *in, *out;
    int message, got;
};
SMOLSCALE_ASYNC(echo, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_TRY(smolscale_recv(cx, f->in, &f->message));
        SMOLSCALE_TRY(smolscale_sleep(cx, 1000));
        SMOLSCALE_TRY(smolscale_send(cx, f->out, &f->message));
    }
    SMOLSCALE_END;
}

static bool use_tasks(void)
{
    smolscale_channel *in, *out;
    smolscale_task *task;
    bool ok = smolscale_channel_new(&in, sizeof(int), 2) == 0 &&
              smolscale_channel_new(&out, sizeof(int), 0) == 0 &&
              SMOLSCALE_SPAWN(&task, echo, .in = in, .out = out) == 0;
    for (int i = 0; ok && i < 10; i++) {
        int got;
        ok = SMOLSCALE_BLOCK(smolscale_send(cx, in, &i)) == 0 &&
             SMOLSCALE_BLOCK(smolscale_recv(cx, out, &got)) == 0 && got == i;
    }
    smolscale_close(in);
    ok = ok && SMOLSCALE_BLOCK(smolscale_join(cx, task)) == -EPIPE;
    smolscale_release(task);
    smolscale_channel_unref(in);
    smolscale_channel_unref(out);
    return ok;
}

// ---- the parent's tasks

static atomic_uint steps; // of the parent's tasks
static atomic_bool stop;

struct stepper {
    SMOLSCALE_FRAME;
    int kind, got;
    smolscale_channel *channel;
};
enum { YIELDS, SLEEPS, SENDS, WAITS, KINDS };
SMOLSCALE_ASYNC(stepper, f)
{
    SMOLSCALE_BEGIN(f);
    while (!atomic_load(&stop)) {
        atomic_fetch_add(&steps, 1);
        switch (f->kind) {
        case YIELDS:
            SMOLSCALE_YIELD();
            break;
        case SLEEPS:
            SMOLSCALE_AWAIT(f->got, smolscale_sleep(cx, 20000));
            break;
        case SENDS:
            SMOLSCALE_AWAIT(f->got, smolscale_send(cx, f->channel, NULL));
            SMOLSCALE_AWAIT(f->got, smolscale_recv(cx, f->channel, NULL));
            break;
        case WAITS:
            SMOLSCALE_TIMEOUT(f->got, 50000, smolscale_recv(cx, f->channel, NULL));
            break;
        }
    }
    SMOLSCALE_END;
}

enum { TASKS = 12 };
static smolscale_channel *bounded;
static smolscale_task *tasks[TASKS];

static void start_tasks(unsigned kinds)
{
    ck_assert_int_eq(smolscale_channel_new(&bounded, 0, 1), 0);
    unsigned started = 0;
    for (int i = 0; i < TASKS; i++)
        if (kinds & (1u << (i % KINDS))) {
            ck_assert_int_eq(
                SMOLSCALE_SPAWN(&tasks[i], stepper, .kind = i % KINDS, .channel = bounded), 0);
            started++;
        }
    EVENTUALLY(atomic_load(&steps), >=, started);
}

static void end_tasks(void)
{
    unsigned before = atomic_load(&steps);
    EVENTUALLY(atomic_load(&steps), >, before); // they go on
    atomic_store(&stop, true);
    smolscale_close(bounded);
    for (int i = 0; i < TASKS; i++)
        if (tasks[i]) {
            ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, tasks[i])), 0);
            smolscale_release(tasks[i]);
        }
    smolscale_channel_unref(bounded);
}

static void fork_often(unsigned kinds)
{
    start_tasks(kinds);
    for (unsigned i = 0; i < SCALED(100); i++) {
        pid_t pid = fork_child();
        if (pid == 0) {
            unsigned before = atomic_load(&steps);
            CHILD_CHECK(use_tasks());
            CHILD_CHECK(atomic_load(&steps) == before); // none of the parent's has run
            _exit(CHILD_OK);
        }
        ck_child_ok(pid);
    }
    end_tasks();
}

START_TEST(a_child_forked_before_the_first_task_can_use_tasks)
{
    pid_t pid = fork_child();
    if (pid == 0) {
        CHILD_CHECK(use_tasks());
        _exit(CHILD_OK);
    }
    ck_child_ok(pid);
    ck_assert(use_tasks());
}
END_TEST

START_TEST(a_child_finds_none_of_the_tasks_that_run)
{
    fork_often(1u << YIELDS | 1u << SENDS);
}
END_TEST

START_TEST(a_child_finds_none_of_the_tasks_that_sleep_or_have_a_deadline)
{
    fork_often(1u << SLEEPS | 1u << WAITS);
}
END_TEST

START_TEST(a_child_finds_none_of_the_tasks_of_any_kind)
{
    fork_often(1u << YIELDS | 1u << SLEEPS | 1u << SENDS | 1u << WAITS);
}
END_TEST

START_TEST(a_grandchild_can_use_tasks)
{
    ck_assert(use_tasks());
    pid_t pid = fork_child();
    if (pid == 0) {
        CHILD_CHECK(use_tasks());
        pid_t grandchild = fork_child();
        if (grandchild == 0) {
            CHILD_CHECK(use_tasks());
            _exit(CHILD_OK);
        }
        int status;
        CHILD_CHECK(waitpid(grandchild, &status, 0) == grandchild);
        CHILD_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == CHILD_OK);
        _exit(CHILD_OK);
    }
    ck_child_ok(pid);
    ck_assert(use_tasks());
}
END_TEST

// What waits at the parent's channel is not there in the child, though its list may say so.
struct receiver {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    int message, got;
};
SMOLSCALE_ASYNC(receiver, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_TRY(smolscale_recv(cx, f->channel, &f->message));
    atomic_fetch_add(&steps, 1);
    SMOLSCALE_RETURN(f->message);
    SMOLSCALE_END;
}

START_TEST(a_child_that_wakes_a_task_of_the_parent_has_it_not_run)
{
    smolscale_channel *channel;
    ck_assert_int_eq(smolscale_channel_new(&channel, sizeof(int), 4), 0);
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, receiver, .channel = channel), 0);
    ck_assert(use_tasks()); // it came later, so the receiver waits by now
    EVENTUALLY(smolscale_running_threads(), ==, 0);
    pid_t pid = fork_child();
    if (pid == 0) {
        CHILD_CHECK(smolscale_try_send(channel, &(int){1}) == 0); // wakes it, or not
        CHILD_CHECK(use_tasks());
        CHILD_CHECK(atomic_load(&steps) == 0);
        _exit(CHILD_OK);
    }
    ck_child_ok(pid);
    ck_assert(!smolscale_finished(task));
    ck_assert_int_eq(smolscale_try_send(channel, &(int){7}), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), 7);
    smolscale_release(task);
    smolscale_channel_unref(channel);
}
END_TEST

// ---- fork() in a poll

struct exiting {
    SMOLSCALE_FRAME;
    int unused;
};
SMOLSCALE_ASYNC(exiting, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_YIELD();
    CHILD_CHECK(use_tasks());
    _exit(CHILD_OK);
    SMOLSCALE_END;
}

struct forking {
    SMOLSCALE_FRAME;
    int then;
    pid_t *pid;
    int got;
};
enum { USES_TASKS, ENDS, AWAITS, YIELDS_THEN };
SMOLSCALE_ASYNC(forking, f)
{
    SMOLSCALE_BEGIN(f);
    *f->pid = fork_child();
    if (*f->pid == 0) {
        if (f->then == USES_TASKS) {
            CHILD_CHECK(use_tasks());
            _exit(CHILD_OK);
        }
        // Its worker goes on as the child's only one, and runs what the child spawns; not this
        // task.
        CHILD_CHECK(SMOLSCALE_SPAWN(NULL, exiting, .unused = 0) == 0);
    }
    if (f->then == AWAITS)
        SMOLSCALE_AWAIT(f->got, smolscale_sleep(cx, MS));
    if (f->then == YIELDS_THEN)
        SMOLSCALE_YIELD();
    CHILD_CHECK(*f->pid != 0 || f->then == ENDS);
    SMOLSCALE_RETURN(5);
    SMOLSCALE_END;
}

// With a deadline that is in the heap: which is the parent's, too.
struct late {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    pid_t *pid;
    bool sleeps;
    int got;
};
SMOLSCALE_ASYNC(late, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_TRY(smolscale_recv(cx, f->channel, NULL));
    *f->pid = fork_child();
    if (*f->pid == 0)
        CHILD_CHECK(SMOLSCALE_SPAWN(NULL, exiting, .unused = 0) == 0);
    if (f->sleeps)
        SMOLSCALE_TRY(smolscale_sleep(cx, MS));
    SMOLSCALE_END;
}
struct limited {
    SMOLSCALE_FRAME;
    struct late callee;
    int got;
};
SMOLSCALE_ASYNC(limited, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_CALL_TIMEOUT(f->got, 3600 * SS_NS_PER_S, late, f->callee,
                           .channel = f->callee.channel, .pid = f->callee.pid,
                           .sleeps = f->callee.sleeps);
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

START_TEST(a_poll_with_a_deadline_may_fork)
{
    smolscale_channel *channel;
    ck_assert_int_eq(smolscale_channel_new(&channel, 0, 0), 0);
    for (unsigned i = 0; i < 10; i++) {
        pid_t pid = -1;
        smolscale_task *task;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, limited, .callee.channel = channel,
                                         .callee.pid = &pid, .callee.sleeps = i % 2),
                         0);
        ck_assert(use_tasks()); // it came later, so the other waits by now
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_send(cx, channel, NULL)), 0);
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), 0);
        smolscale_release(task);
        ck_child_ok(pid);
    }
    smolscale_channel_unref(channel);
}
END_TEST

static void fork_in_poll(int then)
{
    start_tasks(1u << YIELDS | 1u << SLEEPS);
    for (unsigned i = 0; i < SCALED(40); i++) {
        pid_t pid = -1;
        smolscale_task *task;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, forking, .then = then, .pid = &pid), 0);
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), 5);
        smolscale_release(task);
        ck_child_ok(pid);
    }
    end_tasks();
}

START_TEST(a_poll_may_fork_and_the_child_use_tasks)
{
    fork_in_poll(USES_TASKS);
}
END_TEST
START_TEST(a_poll_may_fork_and_end_in_the_child)
{
    fork_in_poll(ENDS);
}
END_TEST
START_TEST(a_poll_may_fork_and_await_in_the_child)
{
    fork_in_poll(AWAITS);
}
END_TEST
START_TEST(a_poll_may_fork_and_yield_in_the_child)
{
    fork_in_poll(YIELDS_THEN);
}
END_TEST

// ---- fork() and blocking functions

static int give_value(void *value)
{
    return *(int *)value;
}

static struct counter blocked = COUNTER_INIT, go_on = COUNTER_INIT;

static int block_until_told(void *value)
{
    counter_add(&blocked, 1);
    counter_wait(&go_on, 1);
    return *(int *)value;
}

struct unblocking {
    SMOLSCALE_FRAME;
    int (*run)(void *value);
    int value, result;
};
SMOLSCALE_ASYNC(unblocking, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->result, smolscale_unblock(cx, f->run, &f->value));
    SMOLSCALE_RETURN(f->result);
    SMOLSCALE_END;
}

START_TEST(a_child_awaits_blocking_functions_of_its_own)
{
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, unblocking, .run = block_until_told, .value = 6), 0);
    counter_wait(&blocked, 1);
    pid_t pid = fork_child();
    if (pid == 0) {
        int value = CHILD_OK;
        _exit(SMOLSCALE_BLOCK(smolscale_unblock(cx, give_value, &value)));
    }
    ck_child_ok(pid);
    counter_add(&go_on, 1);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), 6);
    smolscale_release(task);
}
END_TEST

// In the child it returns into an executor in which its task does not exist.
static int fork_and_return(void *pid)
{
    *(pid_t *)pid = fork_child();
    if (*(pid_t *)pid == 0)
        CHILD_CHECK(SMOLSCALE_SPAWN(NULL, exiting, .unused = 0) == 0);
    return 5;
}

START_TEST(a_blocking_function_may_fork_and_end_in_the_child)
{
    start_tasks(1u << YIELDS | 1u << SLEEPS);
    for (unsigned i = 0; i < SCALED(40); i++) {
        smolscale_task *task;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, unblocking, .run = fork_and_return), 0);
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), 5);
        ck_child_ok(((struct unblocking *)smolscale_frame(task))->value);
        smolscale_release(task);
    }
    end_tasks();
}
END_TEST

int main(void)
{
    return test_suite("task-fork",
                      (const TTest *[]){
                          a_child_forked_before_the_first_task_can_use_tasks,
                          a_child_finds_none_of_the_tasks_that_run,
                          a_child_finds_none_of_the_tasks_that_sleep_or_have_a_deadline,
                          a_child_finds_none_of_the_tasks_of_any_kind,
                          a_grandchild_can_use_tasks,
                          a_child_that_wakes_a_task_of_the_parent_has_it_not_run,
                          a_poll_may_fork_and_the_child_use_tasks,
                          a_poll_with_a_deadline_may_fork,
                          a_poll_may_fork_and_end_in_the_child,
                          a_poll_may_fork_and_await_in_the_child,
                          a_poll_may_fork_and_yield_in_the_child,
                          a_child_awaits_blocking_functions_of_its_own,
                          a_blocking_function_may_fork_and_end_in_the_child,
                          NULL,
                      });
}
