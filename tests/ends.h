// SPDX-License-Identifier: ISC
//
// What may befall a process, for the tests of the core and of the layers: every way to end,
// programs that are started from within, and being stopped. Included by one file of a test program,
// after <check.h>.

#ifndef ENDS_H
#define ENDS_H

#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static char *const true_command[] = {(char[]){"/bin/true"}, NULL};

// ---- every way to end

static void end_by_exit(void)
{
    exit(7);
}
static void end_by__exit(void)
{
    _exit(7);
}
static void end_by_abort(void)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    abort();
}
static void end_by_exec(void)
{
    execv("/bin/true", true_command);
}
static void end_by_signal(void)
{
    kill(getpid(), SIGUSR2);
}

static const struct {
    const char *name;
    void (*how)(void);
    int status, signal;
} ends[] = {
    {"exit", end_by_exit, 7, 0},         {"_exit", end_by__exit, 7, 0},
    {"abort", end_by_abort, 0, SIGABRT}, {"exec", end_by_exec, 0, 0},
    {"kill", end_by_signal, 0, SIGUSR2},
};
enum { ENDS = sizeof ends / sizeof ends[0] };

// How a child has ended, as waitpid() has it.
static int status_of(pid_t pid)
{
    int status = -1;
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

// The child has ended by ends[how].
static void ck_ended(pid_t pid, unsigned how)
{
    int status = status_of(pid);
    ck_assert_msg(ends[how].signal ? WIFSIGNALED(status) && WTERMSIG(status) == ends[how].signal
                                   : WIFEXITED(status) && WEXITSTATUS(status) == ends[how].status,
                  "%s: status %#x", ends[how].name, (unsigned)status);
}

// ---- programs

// Starts a program by posix_spawn() or by vfork() and execv(), and waits for its good end.
static void start_true(bool spawn)
{
    pid_t pid;
    if (spawn) {
        ck_assert_int_eq(posix_spawn(&pid, "/bin/true", NULL, NULL, true_command, environ), 0);
    } else {
        pid = vfork();
        if (pid == 0) {
            execv("/bin/true", true_command);
            _exit(1);
        }
    }
    ck_assert_int_eq(status_of(pid), 0);
}

// ---- stopped

// Stops a child and has it go on, again and again, until it ends or has had enough of that.
static void stop_and_continue(pid_t pid)
{
    for (unsigned stops = 0; stops < 20; stops++) {
        siginfo_t info;
        if (kill(pid, SIGSTOP) != 0 ||
            waitid(P_PID, (id_t)pid, &info, WSTOPPED | WEXITED | WNOWAIT) != 0 ||
            info.si_code != CLD_STOPPED)
            break; // it has ended
        nanosleep(&(struct timespec){0, 1000000}, NULL);
        kill(pid, SIGCONT);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    kill(pid, SIGCONT);
}

#endif // ENDS_H
