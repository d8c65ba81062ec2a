// SPDX-License-Identifier: ISC
//
// What may befall a process: it ends from a job or beside jobs in every way there is, it is
// stopped and continued, memory runs out.

#include "support.h"

#include "../../ends.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

// ---- the allocator of the program and of all its libraries

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

// In the calling thread: which allocation fails next (1: the first; 0: none), and how many from
// there on. Small, so that it is in the static block and needs no allocation itself.
static _Thread_local unsigned fails_in, fails_for;

static bool fails(void)
{
    if (fails_in == 0 || --fails_in > 0)
        return false;
    fails_in = fails_for > 1;
    fails_for -= fails_for > 0;
    return true;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails() ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __libc_memalign(alignment, size);
}

static void child_begins(void)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    alarm(TEST_PATIENCE);
}

// ---- ends

static void end_process(gpointer item, gpointer user_data)
{
    (void)user_data;
    ends[GPOINTER_TO_UINT(item) - 1].how();
}

START_TEST(a_process_ends_from_a_job_and_beside_jobs)
{
    guint how = (guint)_i % ENDS;
    pid_t pid = fork();
    if (pid == 0) {
        struct gate gate = GATE_INIT;
        child_begins();
        GThreadPool *others = gate_pool(&gate, 2, false);
        for (guint i = 1; i <= 10; i++)
            push(others, i);
        counter_wait(&gate.started, 2);
        if (_i < ENDS)
            push(new_pool(end_process, NULL, 1, false), how + 1);
        else
            ends[how].how();
        for (;;)
            pause();
    }
    ck_ended(pid, how);
}
END_TEST

static struct counter started = COUNTER_INIT;

static void start_program(gpointer item, gpointer user_data)
{
    (void)user_data;
    start_true(GPOINTER_TO_UINT(item) % 2);
    counter_add(&started, 1);
}

START_TEST(jobs_start_programs_by_vfork_and_posix_spawn)
{
    GThreadPool *pool = new_pool(start_program, NULL, 4, false);
    for (guint i = 1; i <= 40; i++)
        push(pool, i);
    start_program(ITEM(1), NULL);
    start_program(ITEM(2), NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&started), 42);
}
END_TEST

// ---- stopped

static void rest(gpointer item, gpointer user_data)
{
    (void)item;
    g_usleep(200);
    counter_add(user_data, 1);
}

START_TEST(a_process_is_stopped_and_continued_again_and_again)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct counter rested = COUNTER_INIT;
        child_begins();
        GThreadPool *pool = new_pool(rest, &rested, 3, _i);
        for (guint i = 1; i <= 500; i++)
            push(pool, i);
        g_thread_pool_free(pool, FALSE, TRUE);
        _exit(counter_get(&rested) == 500 ? 42 : 1);
    }
    stop_and_continue(pid);
    int status = status_of(pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 42, "status %#x", (unsigned)status);
}
END_TEST

// ---- memory

static void count_run(gpointer item, gpointer user_data)
{
    (void)item;
    counter_add(user_data, 1);
}

// Either the call does what it should, or GLib ends the program, by its message about memory: as
// many items run as were pushed.
static int use_pool_short_of_memory(guint nth, guint many)
{
    struct counter run = COUNTER_INIT;
    GThreadPool *pool = new_pool(count_run, &run, 2, false);
    push(pool, 1);
    counter_wait(&run, 1);
    guint pushed = 1;
    for (guint i = 0; i < 200; i++) {
        fails_for = many;
        fails_in = nth;
        gboolean done = g_thread_pool_push(pool, ITEM(2), NULL);
        fails_in = 0;
        pushed += done ? 1 : 0;
    }
    g_thread_pool_free(pool, FALSE, TRUE);
    return counter_get(&run) == pushed ? 42 : 1;
}

START_TEST(a_push_without_memory_runs_or_ends_the_program_as_glib_does)
{
    guint nth = 1 + (guint)_i % 3, many = _i < 3 ? 1 : 1000;
    pid_t pid = fork();
    if (pid == 0) {
        child_begins();
        fclose(stderr);
        _exit(use_pool_short_of_memory(nth, many));
    }
    int status = status_of(pid);
    ck_assert_msg(
        (WIFEXITED(status) && WEXITSTATUS(status) == 42) ||
            (WIFSIGNALED(status) && (WTERMSIG(status) == SIGTRAP || WTERMSIG(status) == SIGABRT)),
        "allocation %u fails: status %#x", nth, (unsigned)status);
    // The layer tries again when GLib has found memory.
    if (preloaded() && many == 1)
        ck_assert_msg(WIFEXITED(status), "one allocation fails: status %#x", (unsigned)status);
}
END_TEST

int main(void)
{
    const struct test tests[] = {
        {a_process_ends_from_a_job_and_beside_jobs, 2 * ENDS},
        {jobs_start_programs_by_vfork_and_posix_spawn, 1},
        {a_process_is_stopped_and_continued_again_and_again, 2},
        {a_push_without_memory_runs_or_ends_the_program_as_glib_does, 6},
        {NULL, 0},
    };
    return test_suite("faults", tests);
}
