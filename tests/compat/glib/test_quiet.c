// SPDX-License-Identifier: ISC
//
// Programs that rely on what a pool leaves alone: the lowest free descriptor, their timer slack,
// and the system calls that they have left themselves. Preloaded, this runs with SMOLSCALE_QUIET=1
// where it is about system calls.

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

// Sleeps by the call that every pool makes.
static void doze(long ns)
{
    static uint32_t word;
    struct timespec time = {.tv_nsec = ns};
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &time, NULL, 0);
}

// ---- system calls

// What GLib's pool makes: that of plain threads, their names and scheduling. And write(), by which
// a test complains. (malloc counts the CPUs for its second arena: there is none.)
static const int allowed[] = {
    SYS_futex,           SYS_clone3,          SYS_clone, SYS_mmap,           SYS_munmap,
    SYS_mprotect,        SYS_madvise,         SYS_brk,   SYS_rt_sigprocmask, SYS_rt_sigaction,
    SYS_rt_sigreturn,    SYS_set_robust_list, SYS_rseq,  SYS_exit,           SYS_exit_group,
    SYS_restart_syscall, SYS_write,           SYS_prctl, SYS_sched_getattr,  SYS_sched_setattr,
    SYS_gettid,
};

// False: this kernel has no such filter.
static bool forbid_all_others(void)
{
    struct sock_filter code[64];
    unsigned n = 0;
    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < G_N_ELEMENTS(allowed); i++) {
        code[n++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)allowed[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {(unsigned short)n, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

static struct counter done = COUNTER_INIT;

static void doze_and_count(gpointer item, gpointer user_data)
{
    (void)user_data;
    if (GPOINTER_TO_INT(item) == 2)
        doze(2000000);
    counter_add(&done, 1);
}

static void all_kinds_of_work(void)
{
    gulong before = counter_get(&done);
    GThreadPool *pool = g_thread_pool_new(doze_and_count, NULL, 8, FALSE, NULL);
    GThreadPool *exclusive = g_thread_pool_new(doze_and_count, NULL, 2, TRUE, NULL);
    for (guint i = 0; i < 64; i++)
        g_thread_pool_push(pool, ITEM(2), NULL);
    for (guint i = 0; i < 2000; i++)
        g_thread_pool_push(exclusive, ITEM(1), NULL);
    counter_wait(&done, before + 2064);
    for (guint i = 1; i <= 500; i++) { // there and back
        g_thread_pool_push(pool, ITEM(1), NULL);
        counter_wait(&done, before + 2064 + i);
    }
    g_thread_pool_free(exclusive, FALSE, TRUE);
    g_thread_pool_free(pool, FALSE, TRUE);
}

START_TEST(a_pool_works_where_only_the_calls_of_plain_threads_are_allowed)
{
    bool quiet = !preloaded() || g_strcmp0(g_getenv("SMOLSCALE_QUIET"), "1") == 0;
    if (!quiet)
        return;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        mallopt(M_ARENA_MAX, 1);
        if (_i == 1) // forbidden only later
            all_kinds_of_work();
        if (forbid_all_others())
            all_kinds_of_work();
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                  "expected a child that exits with 0, got %#x", status);
}
END_TEST

// ---- descriptors

START_TEST(the_lowest_free_descriptor_is_the_one_that_open_gives)
{
    enum { JOBS = 4000 };
    GThreadPool *pool = g_thread_pool_new(doze_and_count, NULL, 8, FALSE, NULL);
    for (guint i = 0; i < JOBS; i++)
        g_thread_pool_push(pool, ITEM(2), NULL);
    int lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(lowest, 0);
    while (counter_get(&done) < JOBS) {
        close(lowest);
        ck_assert_int_eq(open("/dev/null", O_RDONLY | O_CLOEXEC), lowest);
    }
    g_thread_pool_free(pool, FALSE, TRUE);
}
END_TEST

// ---- the timer slack

static GPrivate slack_was_set;

static long timer_slack(void)
{
    return syscall(SYS_prctl, PR_GET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL);
}

// A thread in which a job has once set the slack keeps it.
static void set_the_slack_once(gpointer item, gpointer user_data)
{
    (void)item, (void)user_data;
    if (!g_private_get(&slack_was_set)) {
        prctl(PR_SET_TIMERSLACK, 123456UL, 0UL, 0UL, 0UL);
        g_private_set(&slack_was_set, &slack_was_set);
    }
    ck_assert_int_eq(timer_slack(), 123456);
    counter_add(&done, 1);
}

START_TEST(the_timer_slack_that_a_job_has_set_stays)
{
    GThreadPool *pool = g_thread_pool_new(set_the_slack_once, NULL, 2, FALSE, NULL);
    for (guint i = 1; i <= 20000; i++) { // tiny, and with gaps: its worker naps in between
        g_thread_pool_push(pool, ITEM(1), NULL);
        if (i % 100 == 0)
            doze(20000);
    }
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&done), 20000);
}
END_TEST

int main(void)
{
    const struct test tests[] = {
        {a_pool_works_where_only_the_calls_of_plain_threads_are_allowed, 2},
        {the_lowest_free_descriptor_is_the_one_that_open_gives, 1},
        {the_timer_slack_that_a_job_has_set_stays, 1},
        {NULL, 0},
    };
    return test_suite("quiet", tests);
}
