// SPDX-License-Identifier: ISC
//
// System calls that are forbidden: by a filter that kills, with SMOLSCALE_QUIET=1, and by one that
// lets them fail, without it; from the start, and after some work. The calls are those of
// docs/system-calls.md.
//
// Each test starts this program anew, in a role, because the variable is read, and CPUs are
// counted, when a program is loaded. MALLOC_ARENA_MAX=1 keeps glibc's malloc from counting CPUs.

#include "support.h"

#include "os/fence.h"

#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <smolscale_async.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

// ---------------------------------------------------------------------------------------------
// The roles
// ---------------------------------------------------------------------------------------------

static const int listed[] = {
    SYS_openat,
    SYS_read,
    SYS_close,
    SYS_pread64,
    SYS_close_range,
    SYS_clock_gettime,
    SYS_sched_getaffinity,
    SYS_sched_setaffinity,
    SYS_sched_getscheduler,
    SYS_sched_getparam,
    SYS_getpriority,
    SYS_sched_setscheduler,
    SYS_setpriority,
    SYS_getrusage,
    SYS_prctl,
    SYS_membarrier,
    SYS_sched_yield,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettid,
    SYS_getcpu,
    SYS_getpid,
};

// What a pool of plain threads on glibc does, and this program's jobs.
static const int plain[] = {
    SYS_futex,           SYS_clone3,       SYS_clone, SYS_mmap,           SYS_munmap,
    SYS_mprotect,        SYS_madvise,      SYS_brk,   SYS_rt_sigprocmask, SYS_rt_sigreturn,
    SYS_set_robust_list, SYS_rseq,         SYS_exit,  SYS_exit_group,     SYS_write,
    SYS_restart_syscall, SYS_rt_sigaction,
};

// The kernel's answer to the calls of a list, and to all others.
static int install(const int *calls, unsigned count, uint32_t these, uint32_t others,
                   unsigned flags)
{
    struct sock_filter code[2 * 64 + 2];
    unsigned n = 0;
    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < count; i++) {
        code[n++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, these);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, others);
    struct sock_fprog program = {(unsigned short)n, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) != 0)
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC | flags,
                        &program);
}

static atomic_ulong refusals;
static int listener;

// Answers each call that the filter reports by an error, and counts it.
static void *refuse(void *arg)
{
    struct seccomp_notif call;
    for (;;) {
        memset(&call, 0, sizeof call);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0)
            continue;
        struct seccomp_notif_resp answer = {.id = call.id, .error = -*(int *)arg};
        atomic_fetch_add(&refusals, 1);
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    return NULL;
}

// Sleeps without a call of the list.
static void doze(uint64_t ns)
{
    static uint32_t word;
    struct timespec time = {.tv_nsec = (long)ns};
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &time, NULL, 0);
}

static void doze_job(void *item, void *user_data)
{
    (void)item;
    doze(2000000);
    counter_add(user_data, 1);
}

static void count_job(void *item, void *user_data)
{
    (void)item;
    counter_add(user_data, 1);
}

struct sleeper {
    SMOLSCALE_FRAME;
    unsigned turns;
    int got;
};
SMOLSCALE_ASYNC(sleeper, f)
{
    SMOLSCALE_BEGIN(f);
    while (f->turns-- > 0) {
        SMOLSCALE_TIMEOUT(f->got, SS_NS_PER_S, smolscale_sleep(cx, 200000));
        doze(100000); // its lane is taken away now and then
    }
    SMOLSCALE_RETURN(7);
    SMOLSCALE_END;
}

static bool all_kinds_of_work(void)
{
    struct counter done = COUNTER_INIT;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.user_data = &done;
    attr.thread_name = "quiet";
    smolscale_queue *blocking, *tiny;
    attr.run = doze_job;
    if (smolscale_queue_new(&blocking, &attr) != 0)
        return false;
    attr.run = count_job;
    if (smolscale_queue_new(&tiny, &attr) != 0)
        return false;
    for (unsigned i = 0; i < 200; i++)
        smolscale_queue_push(blocking, item_of(i), NULL);
    counter_wait(&done, 200);
    for (unsigned i = 0; i < 20000; i++)
        smolscale_queue_push(tiny, item_of(i), NULL);
    counter_wait(&done, 20200);
    for (unsigned i = 0; i < 500; i++) { // there and back
        smolscale_queue_push(tiny, item_of(i), NULL);
        counter_wait(&done, 20201 + i);
    }
    smolscale_task *tasks[20];
    unsigned right = 0;
    for (unsigned i = 0; i < 20; i++)
        if (SMOLSCALE_SPAWN(&tasks[i], sleeper, .turns = 10) != 0)
            return false;
    for (unsigned i = 0; i < 20; i++) {
        right += SMOLSCALE_BLOCK(smolscale_join(cx, tasks[i])) == 7;
        smolscale_release(tasks[i]);
    }
    smolscale_queue_free(blocking);
    smolscale_queue_free(tiny);
    return counter_get(&done) == 20700 && right == 20;
}

static int say(const char *what)
{
    ssize_t ignored = write(STDERR_FILENO, what, strlen(what));
    (void)ignored;
    return 1;
}

// ROLE: "plain", "kill CALL", or "refuse CALL ERROR"; then "early" or "late".
static int play(const char *role)
{
    static int error;
    int call = -1;
    char when[8] = "";
    bool late, killed;
    if (sscanf(role, "plain %7s", when) == 1)
        killed = true;
    else if (sscanf(role, "kill %d %7s", &call, when) == 2)
        killed = true;
    else if (sscanf(role, "refuse %d %d %7s", &call, &error, when) == 3)
        killed = false;
    else
        return say("no such role\n");
    late = strcmp(when, "late") == 0;
    void *volatile first = malloc(1); // glibc asks for random bytes then
    free(first);
    if (late && !all_kinds_of_work())
        return say("the work was not done, without a filter\n");
    if (late)
        ss_asymmetric_register(); // if the balancer has not
    if (call < 0) {
        if (install(plain, sizeof plain / sizeof *plain, SECCOMP_RET_ALLOW,
                    SECCOMP_RET_KILL_PROCESS, 0) != 0)
            return 77;
    } else if (killed) {
        if (install(&call, 1, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ALLOW, 0) != 0)
            return 77;
    } else {
        listener = install(&call, 1, SECCOMP_RET_USER_NOTIF, SECCOMP_RET_ALLOW,
                           SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_TSYNC_ESRCH);
        pthread_t thread;
        if (listener < 0 || pthread_create(&thread, NULL, refuse, &error) != 0)
            return 77;
    }
    if (!killed)
        ss_heavy_fence();
    if (call == SYS_membarrier && load_relaxed(&ss_asymmetric))
        return say("light fences are still light though there is no membarrier\n");
    if (!all_kinds_of_work())
        return say("the work was not done\n");
    // Each thread may be refused once, all at the same time; and some calls are not the pool's.
    if (!killed && atomic_load(&refusals) > 40 + stats_now().workers_created)
        return say("a call was made again and again though it was refused\n");
    return 0;
}

// ---------------------------------------------------------------------------------------------
// The tests
// ---------------------------------------------------------------------------------------------

static void ck_role(const char *role, const char *quiet)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        setenv("QUIET_ROLE", role, 1);
        setenv("SMOLSCALE_QUIET", quiet, 1);
        setenv("MALLOC_ARENA_MAX", "1", 1);
        execl("/proc/self/exe", "test-quiet", (char *)NULL);
        _exit(99);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        return; // this kernel has no such filter
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                  "role \"%s\", SMOLSCALE_QUIET=%s: expected exit 0, got %s %d", role, quiet,
                  WIFSIGNALED(status) ? "signal" : "exit",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

START_TEST(quiet_it_makes_no_call_that_a_plain_pool_does_not_make)
{
    ck_role("plain early", "1");
    ck_role("plain late", "1");
}
END_TEST

START_TEST(quiet_it_survives_a_filter_that_kills_for_a_listed_call)
{
    for (unsigned i = 0; i < sizeof listed / sizeof *listed; i++) {
        char role[32];
        snprintf(role, sizeof role, "kill %d early", listed[i]);
        ck_role(role, "1");
        snprintf(role, sizeof role, "kill %d late", listed[i]);
        ck_role(role, "1");
    }
}
END_TEST

static void ck_refused(int error)
{
    for (unsigned i = 0; i < sizeof listed / sizeof *listed; i++) {
        if (listed[i] == SYS_read || listed[i] == SYS_close)
            continue; // no program does without
        char role[48];
        snprintf(role, sizeof role, "refuse %d %d early", listed[i], error);
        ck_role(role, "0");
        snprintf(role, sizeof role, "refuse %d %d late", listed[i], error);
        ck_role(role, "0");
    }
}

START_TEST(jobs_run_although_a_listed_call_is_not_permitted)
{
    ck_refused(EPERM);
}
END_TEST

START_TEST(jobs_run_although_a_listed_call_does_not_exist)
{
    ck_refused(ENOSYS);
}
END_TEST

int main(void)
{
    const char *role = getenv("QUIET_ROLE");
    if (role)
        return play(role);
#if defined(TEST_TSAN) || defined(TEST_ASAN)
    puts("0 passed, 0 failed: the sanitizers make such calls themselves");
    return 0;
#else
    return test_suite("quiet", (const TTest *[]){
                                   quiet_it_makes_no_call_that_a_plain_pool_does_not_make,
                                   quiet_it_survives_a_filter_that_kills_for_a_listed_call,
                                   jobs_run_although_a_listed_call_is_not_permitted,
                                   jobs_run_although_a_listed_call_does_not_exist,
                                   NULL,
                               });
#endif
}
