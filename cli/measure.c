// SPDX-License-Identifier: ISC
//
// One thread waits, by poll(2), for the command's end (a pidfd), its two outputs (pipes, hashed as
// they come), signals, and the time for the next sample of its threads.
//
// The command is the leader of a process group of its own, so that it can be ended with what it has
// started. Processes that it leaves behind are not waited for, even if they keep the pipes open.

#include "measure.h"

#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sha2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PIPE_SIZE = 1 << 20, TAKE_SIZE = 1 << 16 };

static int signals = -1;       // a signalfd
static sigset_t original_mask; // what the command gets
static int received;           // the signal that asked us to end

void measure_init(void)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGHUP);
    sigprocmask(SIG_BLOCK, &mask, &original_mask);
    signals = signalfd(-1, &mask, SFD_CLOEXEC);
    if (signals < 0)
        fail(STATUS_FAILED, "signalfd: %s", strerror(errno));
}

void measure_interrupted(void)
{
    signal(received, SIG_DFL);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, received);
    raise(received);
    sigprocmask(SIG_UNBLOCK, &mask, NULL);
    _exit(128 + received);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

// ---- start ----

struct child {
    pid_t pid;
    int pidfd;
    int pipes[2]; // its stdout and stderr, to read from
};

static _Noreturn void become(const struct run *run, const int ends[2], int report)
{
    setpgid(0, 0);
    sigprocmask(SIG_SETMASK, &original_mask, NULL);
    if (dup2(run->input, STDIN_FILENO) >= 0 && dup2(ends[0], STDOUT_FILENO) >= 0 &&
        dup2(ends[1], STDERR_FILENO) >= 0)
        execvpe(run->command[0], run->command, run->environment);
    int err = errno;
    ssize_t ignored = write(report, &err, sizeof err);
    (void)ignored;
    _exit(STATUS_NOT_EXECUTABLE);
}

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

// Makes the pipes: outputs 0 and 1, and the one by which the child says why it could not execute.
static int make_pipes(int pipes[6])
{
    for (int i = 0; i < 6; i++)
        pipes[i] = -1;
    for (int i = 0; i < 6; i += 2) {
        if (pipe2(pipes + i, O_CLOEXEC)) {
            int err = errno;
            close_all(pipes, 6);
            return -err;
        }
    }
    for (int i = 0; i < 4; i += 2) {
        // As large as an unprivileged user may have it, so that the command seldom waits for its
        // reader.
        fcntl(pipes[i], F_SETPIPE_SZ, PIPE_SIZE);
        fcntl(pipes[i], F_SETFL, O_NONBLOCK);
    }
    return 0;
}

static int start(const struct run *run, struct child *child)
{
    int pipes[6];
    int err = make_pipes(pipes);
    if (err)
        return err;
    child->pid = fork();
    if (child->pid == 0)
        become(run, (const int[2]){pipes[1], pipes[3]}, pipes[5]);
    if (child->pid < 0) {
        err = -errno;
        close_all(pipes, 6);
        return err;
    }
    setpgid(child->pid, child->pid); // in both processes: either may come first
    close(pipes[1]);
    close(pipes[3]);
    close(pipes[5]);
    ssize_t got = read(pipes[4], &err, sizeof err);
    close(pipes[4]);
    child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    if (got != sizeof err)
        err = child->pidfd < 0 ? errno : 0;
    if (err) {
        kill(child->pid, SIGKILL);
        waitpid(child->pid, NULL, 0);
        close(pipes[0]);
        close(pipes[2]);
        if (child->pidfd >= 0)
            close(child->pidfd);
        return -err;
    }
    child->pipes[0] = pipes[0];
    child->pipes[1] = pipes[2];
    return 0;
}

// ---- threads ----

// A small file of /proc, as text.
static bool read_small(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, size - 1);
    close(fd);
    if (got <= 0)
        return false;
    text[got] = '\0';
    return true;
}

// The threads of a process, and those of what its main thread has started. The other threads'
// children cannot be had without a look at each thread.
static unsigned long threads_of(pid_t pid, int depth)
{
    enum { DEPTH = 8 };
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (!read_small(path, text, sizeof text))
        return 0;
    // The 20th field; the second is a name in brackets, which may hold anything.
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 20; field++)
        at = strchr(at + 1, ' ');
    unsigned long threads = at ? strtoul(at + 1, NULL, 10) : 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    if (depth == DEPTH || !read_small(path, text, sizeof text))
        return threads;
    char *end;
    for (char *word = text;; word = end) {
        long child = strtol(word, &end, 10);
        if (end == word)
            return threads;
        threads += threads_of((pid_t)child, depth + 1);
    }
}

// ---- the run ----

struct watch {
    struct child child;
    SHA2_CTX hash[2];
    uint64_t size[2];
    double start, next_sample, most_threads;
};

// Takes what is in a pipe, in at most `reads` pieces; closes it at its end.
static void take(struct watch *watch, int which, int reads)
{
    static char buffer[TAKE_SIZE];
    int *fd = &watch->child.pipes[which];
    while (*fd >= 0 && reads-- > 0) {
        ssize_t got = read(*fd, buffer, sizeof buffer);
        if (got > 0) {
            SHA256Update(&watch->hash[which], (const uint8_t *)buffer, (size_t)got);
            watch->size[which] += (uint64_t)got;
        } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            close_all(fd, 1);
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

// The more time has passed, the longer the next sample can wait: what a peak lasts for is a part of
// the run. So the samples of a short run are close together, and a long one is not disturbed.
static void sample(struct watch *watch, double time)
{
    double threads = (double)threads_of(watch->child.pid, 0);
    if (threads > watch->most_threads)
        watch->most_threads = threads;
    double interval = (time - watch->start) / 64;
    watch->next_sample = time + (interval < 0.001 ? 0.001 : interval > 0.02 ? 0.02 : interval);
}

// Waits until the command has ended, its time is over, or a signal comes. Returns 0, -ETIMEDOUT or
// -EINTR.
static int watch_until_end(struct watch *watch, double time_limit)
{
    for (;;) {
        double time = now();
        if (time >= watch->next_sample)
            sample(watch, time);
        if (time_limit > 0 && time - watch->start > time_limit)
            return -ETIMEDOUT;
        struct pollfd fds[] = {
            {watch->child.pidfd, POLLIN, 0},
            {watch->child.pipes[0], POLLIN, 0}, // a closed one is -1, which poll passes over
            {watch->child.pipes[1], POLLIN, 0},
            {signals, POLLIN, 0},
        };
        double pause = watch->next_sample - now();
        struct timespec timeout = {0, pause > 0 ? (long)(pause * 1e9) : 0};
        if (ppoll(fds, 4, &timeout, NULL) < 0 && errno != EINTR)
            fail(STATUS_FAILED, "poll: %s", strerror(errno));
        if (fds[3].revents) {
            struct signalfd_siginfo info;
            if (read(signals, &info, sizeof info) == sizeof info) {
                received = (int)info.ssi_signo;
                return -EINTR;
            }
        }
        for (int i = 0; i < 2; i++) {
            if (fds[i + 1].revents)
                take(watch, i, 1);
        }
        if (fds[0].revents)
            return 0;
    }
}

int measure(const struct run *run, struct measurement *out)
{
    struct watch watch = {.start = now()};
    SHA256Init(&watch.hash[0]);
    SHA256Init(&watch.hash[1]);
    lseek(run->input, 0, SEEK_SET);
    int err = start(run, &watch.child);
    if (err)
        return err;
    int end = watch_until_end(&watch, run->time_limit);
    double wall = now() - watch.start;
    if (end)
        kill(-watch.child.pid, SIGKILL);
    struct rusage usage;
    while (wait4(watch.child.pid, &out->status, 0, &usage) < 0 && errno == EINTR)
        ;
    // What was still in the pipes; what a process left behind may write from now on is not the
    // command's.
    enum { PIPE_READS = 2 * PIPE_SIZE / TAKE_SIZE };
    struct output *outputs[] = {&out->out, &out->err};
    for (int i = 0; i < 2; i++) {
        take(&watch, i, PIPE_READS);
        outputs[i]->size = watch.size[i];
        SHA256Final(outputs[i]->hash, &watch.hash[i]);
    }
    close_all(watch.child.pipes, 2);
    close(watch.child.pidfd);
    if (end == -EINTR)
        return end;
    out->timed_out = end == -ETIMEDOUT;
    out->wall = wall;
    out->cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    out->switches = (double)(usage.ru_nvcsw + usage.ru_nivcsw);
    out->memory = (double)usage.ru_maxrss * 1024;
    out->threads = watch.most_threads;
    return 0;
}
