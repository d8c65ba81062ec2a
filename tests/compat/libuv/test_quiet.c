// SPDX-License-Identifier: ISC
//
// A program that has left itself the system calls that libuv and its pool make, by a filter that
// kills: natively, and with SMOLSCALE_QUIET=1 on smolscale. Each test starts this program anew, in
// a role, because the variable is read when a program is loaded. MALLOC_ARENA_MAX=1 keeps glibc's
// malloc from counting CPUs.

#include "support.h"

#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// What libuv 1.44 makes for work and for uv_fs_stat(): the calls of plain threads, its loop's, and
// what its pool asks at its start and closes at its end.
static const int allowed[] = {
    SYS_futex,           SYS_clone3,          SYS_clone,       SYS_mmap,           SYS_munmap,
    SYS_mprotect,        SYS_madvise,         SYS_brk,         SYS_rt_sigprocmask, SYS_rt_sigaction,
    SYS_rt_sigreturn,    SYS_set_robust_list, SYS_rseq,        SYS_exit,           SYS_exit_group,
    SYS_restart_syscall, SYS_write,           SYS_read,        SYS_epoll_wait,     SYS_epoll_pwait,
    SYS_epoll_ctl,       SYS_statx,           SYS_sched_yield, SYS_prlimit64,      SYS_close,
};

// False: this kernel has no such filter.
static bool forbid_all_others(void)
{
    struct sock_filter code[2 * (sizeof allowed / sizeof *allowed) + 2];
    unsigned n = 0;
    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        code[n++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)allowed[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {(unsigned short)n, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

static void doze_job(uv_work_t *req)
{
    static uint32_t word;
    struct timespec time = {.tv_nsec = 2000000};
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &time, NULL, 0);
    counting_job(req);
}

static unsigned ended, cancelled;

static void note_work(uv_work_t *req, int status)
{
    (void)req;
    ended++;
    cancelled += status == UV_ECANCELED;
}

static void note_file(uv_fs_t *req)
{
    ended += req->result == 0;
    uv_fs_req_cleanup(req);
}

static bool all_kinds_of_work(uv_loop_t *loop)
{
    enum { DOZES = 40, TINY = 1000, FILES = 200 };
    static uv_work_t works[DOZES + TINY];
    static uv_fs_t files[FILES];
    unsigned before = counted(&jobs_run);
    ended = cancelled = 0;
    for (unsigned i = 0; i < DOZES + TINY; i++)
        if (uv_queue_work(loop, &works[i], i < DOZES ? doze_job : counting_job, note_work) != 0)
            return false;
    for (unsigned i = 0; i < FILES; i++)
        if (uv_fs_stat(loop, &files[i], "/", note_file) != 0)
            return false;
    uv_cancel((uv_req_t *)&works[DOZES + TINY - 1]);
    uv_run(loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < 300; i++) { // there and back
        if (uv_queue_work(loop, &works[0], counting_job, note_work) != 0)
            return false;
        uv_run(loop, UV_RUN_DEFAULT);
    }
    unsigned all = DOZES + TINY + 300;
    return ended == all + FILES && counted(&jobs_run) - before == all - cancelled;
}

int quiet_role(const char *role)
{
    static uv_loop_t loop; // the last job outlives main()
    if (uv_loop_init(&loop) != 0)
        return 1;
    if (strcmp(role, "late") == 0 && !all_kinds_of_work(&loop))
        return 2;
    if (!forbid_all_others())
        return 0;
    if (!all_kinds_of_work(&loop))
        return 3;
    // And the end of the process, while a job runs.
    static uv_work_t last;
    return uv_queue_work(&loop, &last, doze_job, note_work) == 0 ? 0 : 4;
}

START_TEST(work_is_done_where_only_the_calls_of_libuv_are_allowed)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        setenv("QUIET_ROLE", _i % 2 ? "late" : "early", 1);
        setenv("SMOLSCALE_QUIET", "1", 1);
        setenv("SMOLSCALE_POLICY", _i / 2 ? "elastic" : "strict", 1);
        setenv("MALLOC_ARENA_MAX", "1", 1);
        execl("/proc/self/exe", "test-libuv", (char *)NULL);
        _exit(99);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                  "expected a child that exits with 0, got %#x", (unsigned)status);
}
END_TEST

Suite *quiet_suite(void)
{
    Suite *suite = suite_create("quiet");
    TCase *tcase = new_case(suite, "quiet");
    tcase_add_loop_test(tcase, work_is_done_where_only_the_calls_of_libuv_are_allowed, 0, 4);
    return suite;
}
