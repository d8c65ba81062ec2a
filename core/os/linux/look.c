// SPDX-License-Identifier: ISC
//
// Looks at /proc and at the cgroup, for the balancer, by a thread that has a descriptor table of
// its own: the *looker*.
//
// A program may rely on the number that it gets next: close(0), then open() gives 0; and on it that
// there is one left. So a thread that opens a file while the program's threads run must not do so
// in their table. The looker leaves that table when it starts, by close_range(CLOSE_RANGE_UNSHARE)
// over all of it. The balancer itself must not: threads that it creates, the workers, share its
// table, and that has to be the program's.
//
// What close_range() does (Linux 5.9 and later, fs/file.c): it copies the first 64 descriptors into
// the new table, and closes them there. No POSIX lock of the program is lost, for these belong to
// the table through which they were taken. For some µs a file has a reference more. Each of the 64
// is closed as by close(), which may wait for a file server; hence no thread waits long for a
// looker that has not come up. Until it has, the kernel is said to tell nothing. Where the kernel
// refuses, the balancer opens the files itself.
//
// Asking is a call: the asker (one thread, the balancer) writes the request, counts `asked` up and
// sleeps until `answered` has the same count; in between the request is the looker's.
//
//     asker                                     looker
//     request; asked = n (release); wake        sees asked == n (acquire); reads the request
//     answered == n (acquire)? reads answers    answers; answered = n (release); wake
//
// Both words are compared by the kernel before a sleep begins, so no wake is lost. A round trip
// takes 4 µs where the looker runs on the asker's CPU and 12 where that was asleep, 2 of which are
// saved: what is read again and again stays open in the looker's table (bench/glib,
// sleeping-unlimited).

#include "base/atomic.h"
#include "base/room.h"
#include "os/linux/linux.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

#define STACK             ((size_t)256 << 10)
#define START_PATIENCE_NS SS_NS_PER_MS

enum looker_state {
    LOOKER_NONE,
    LOOKER_STARTING,
    LOOKER_READY,
    LOOKER_REFUSED, // the kernel gives it no table, or there is no thread
};

enum question { THREADS, LOAD, QUOTA, ONLINE, END };

static struct {
    _Atomic uint32_t state;    // enum looker_state; futex word
    _Atomic uint32_t asked;    // counts requests; futex word
    _Atomic uint32_t answered; // counts answers; futex word
    pthread_t thread;          // the asker's; exists
    bool exists;               // if this says so
    // ---- the request and its answer: the asker's, or the looker's while asked != answered
    enum question question;
    const pid_t *tids;
    enum ss_thread_state *states;
    unsigned count; // of tids and states
    unsigned number;
} looker;

// The files that the looker keeps open, in its own table; -1, as in any other thread: none, they
// are opened for each look.
static SS_THREAD_LOCAL struct {
    int tasks, load;
} kept = {-1, -1};

// The thread that has begun looks.
static SS_THREAD_LOCAL bool is_asker;

// ---- looking: the looker, or the asker itself

// By system calls, not by the C library's functions: the thread sanitizer takes a descriptor of the
// looker's table for the one that has the same number in the program's, and sees a race.
static int open_in(int folder, const char *path)
{
    return (int)syscall(SYS_openat, folder, path, O_RDONLY | O_CLOEXEC);
}

static ssize_t read_once(int fd, char *text, size_t size)
{
    return syscall(SYS_read, fd, text, size);
}

static ssize_t read_from_start(int fd, char *text, size_t size)
{
    return syscall(SYS_pread64, fd, text, size, 0L);
}

static void close_file(int fd)
{
    syscall(SYS_close, fd);
}

// `path` is relative to `folder`, unless that is AT_FDCWD.
static ssize_t read_file(int folder, const char *path, char *text, size_t size)
{
    int fd = open_in(folder, path);
    if (fd < 0)
        return -1;
    ssize_t n = read_once(fd, text, size - 1);
    close_file(fd);
    if (n >= 0)
        text[n] = '\0';
    return n;
}

static enum ss_thread_state look_at_thread(pid_t tid)
{
    char path[64], stat[256];
    bool relative = kept.tasks >= 0;
    snprintf(path, sizeof path, "%s%d/stat", relative ? "" : "/proc/self/task/", (int)tid);
    if (!ss_may(SS_CALL_OPEN))
        return SS_THREAD_UNKNOWN;
    ssize_t n = read_file(relative ? kept.tasks : AT_FDCWD, path, stat, sizeof stat);
    ss_noted(SS_CALL_OPEN, n >= 0);
    return n > 0 ? ss_parse_thread_state(stat) : SS_THREAD_UNKNOWN;
}

static void look_at_threads(const pid_t *tids, enum ss_thread_state *states, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        states[i] = look_at_thread(tids[i]);
}

static unsigned look_at_load(void)
{
    char text[128];
    ssize_t n;
    if (!ss_may(SS_CALL_OPEN))
        return 0;
    if (kept.load < 0) {
        n = read_file(AT_FDCWD, "/proc/loadavg", text, sizeof text);
    } else {
        n = read_from_start(kept.load, text, sizeof text - 1);
        text[n > 0 ? n : 0] = '\0';
    }
    ss_noted(SS_CALL_OPEN, n >= 0);
    return n > 0 ? ss_parse_runnable(text) : 0;
}

// The tightest quota on the way from the process's cgroup up to the root of the mounted hierarchy.
static unsigned quota_along(const char *mount, char *path, unsigned (*quota_of)(const char *dir))
{
    unsigned cpus = UINT_MAX;
    for (;;) {
        char dir[PATH_MAX];
        if (snprintf(dir, sizeof dir, "%s%s", mount, strcmp(path, "/") == 0 ? "" : path) <
            (int)sizeof dir) {
            unsigned here = quota_of(dir);
            cpus = here < cpus ? here : cpus;
        }
        char *slash = strrchr(path, '/');
        if (!slash || path[1] == '\0')
            return cpus;
        slash[slash == path ? 1 : 0] = '\0';
    }
}

static unsigned quota_v2(const char *dir)
{
    char file[PATH_MAX + 16], text[64];
    snprintf(file, sizeof file, "%s/cpu.max", dir);
    return read_file(AT_FDCWD, file, text, sizeof text) > 0 ? ss_parse_cpu_max(text) : UINT_MAX;
}

static unsigned quota_v1(const char *dir)
{
    char file[PATH_MAX + 32], quota[32], period[32], both[80];
    snprintf(file, sizeof file, "%s/cpu.cfs_quota_us", dir);
    if (read_file(AT_FDCWD, file, quota, sizeof quota) <= 0 || quota[0] == '-')
        return UINT_MAX;
    snprintf(file, sizeof file, "%s/cpu.cfs_period_us", dir);
    if (read_file(AT_FDCWD, file, period, sizeof period) <= 0)
        return UINT_MAX;
    snprintf(both, sizeof both, "%s %s", quota, period);
    return ss_parse_cpu_max(both);
}

static unsigned look_at_quota(void)
{
    static char text[8192]; // of the one thread that looks
    if (!ss_may(SS_CALL_OPEN) ||
        !ss_noted(SS_CALL_OPEN, read_file(AT_FDCWD, "/proc/self/cgroup", text, sizeof text) > 0))
        return UINT_MAX;
    char path[PATH_MAX];
    unsigned cpus = UINT_MAX;
    if (ss_parse_cgroup_path(text, "", path, sizeof path))
        cpus = quota_along("/sys/fs/cgroup", path, quota_v2);
    if (ss_parse_cgroup_path(text, "cpu", path, sizeof path)) {
        unsigned v1 = quota_along("/sys/fs/cgroup/cpu", path, quota_v1);
        cpus = v1 < cpus ? v1 : cpus;
    }
    return cpus;
}

// glibc reads a file for it.
static unsigned look_at_online(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 0;
}

// ---- the looker

// In its own table from here on. `asked` counts what came before; nothing can.
static bool leave_table(void)
{
    // The asker shares the old table and waits for the answer, or for the end: so it is shared, and
    // it is a copy of which all is closed.
    return ss_noted(SS_CALL_CLOSE_RANGE,
                    syscall(SYS_close_range, 0U, ~0U, CLOSE_RANGE_UNSHARE) == 0);
}

static void answer(void)
{
    switch (looker.question) {
    case THREADS:
        look_at_threads(looker.tids, looker.states, looker.count);
        break;
    case LOAD:
        looker.number = look_at_load();
        break;
    case QUOTA:
        ss_learn_cpuset();
        looker.number = look_at_quota();
        break;
    case ONLINE:
        looker.number = look_at_online();
        break;
    case END:
        break;
    }
}

static void serve(uint32_t answered)
{
    for (;;) {
        while (load_acquire(&looker.asked) == answered)
            ss_futex_wait(&looker.asked, answered, SS_FOREVER);
        bool end = looker.question == END;
        answer();
        store_release(&looker.answered, ++answered);
        ss_futex_wake(&looker.answered, 1);
        if (end)
            return;
    }
}

static void *looker_main(void *arg)
{
    (void)arg;
    ss_os.name_thread("smolscale-look");
    uint32_t answered = load_relaxed(&looker.answered);
    bool left = leave_table();
    if (left) {
        kept.tasks = open_in(AT_FDCWD, "/proc/self/task");
        kept.load = open_in(AT_FDCWD, "/proc/loadavg");
    }
    store_release(&looker.state, left ? LOOKER_READY : LOOKER_REFUSED);
    ss_futex_wake(&looker.state, 1);
    if (left)
        serve(answered);
    return NULL;
}

// ---- asking

// Nothing of the program's may run in the looker: no signal handler.
static int create_looker(void)
{
    sigset_t mine;
    ss_linux_block_signals(&mine);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    int err = pthread_create(&looker.thread, &attr, looker_main, NULL);
    if (err == EINVAL) // the program's thread-local data are larger
        err = pthread_create(&looker.thread, NULL, looker_main, NULL);
    pthread_attr_destroy(&attr);
    ss_linux_set_signal_mask(&mine);
    return err;
}

static void ask(enum question question)
{
    uint32_t before = load_relaxed(&looker.asked);
    looker.question = question;
    store_release(&looker.asked, before + 1);
    ss_futex_wake(&looker.asked, 1);
    while (load_acquire(&looker.answered) == before)
        ss_futex_wait(&looker.answered, before, SS_FOREVER);
}

static void start_looker(void)
{
    store_relaxed(&looker.state, LOOKER_STARTING);
    looker.exists = create_looker() == 0;
    if (!looker.exists)
        store_relaxed(&looker.state, LOOKER_REFUSED);
}

enum way { BY_LOOKER, BY_CALLER, NOT_AT_ALL };

static enum way way(void)
{
    if (!ss_may(SS_CALL_OPEN))
        return NOT_AT_ALL;
    if (!is_asker || !ss_may(SS_CALL_CLOSE_RANGE))
        return BY_CALLER;
    if (load_relaxed(&looker.state) == LOOKER_NONE)
        start_looker();
    if (load_acquire(&looker.state) == LOOKER_STARTING)
        ss_futex_wait(&looker.state, LOOKER_STARTING, START_PATIENCE_NS);
    switch (load_acquire(&looker.state)) {
    case LOOKER_READY:
        return BY_LOOKER;
    case LOOKER_REFUSED:
        return BY_CALLER;
    default:
        return NOT_AT_ALL;
    }
}

void ss_begin_looks(void)
{
    is_asker = true;
}

void ss_end_looks(void)
{
    is_asker = false;
    if (looker.exists) {
        while (load_acquire(&looker.state) == LOOKER_STARTING)
            ss_futex_wait(&looker.state, LOOKER_STARTING, SS_FOREVER);
        if (load_relaxed(&looker.state) == LOOKER_READY)
            ask(END);
        pthread_join(looker.thread, NULL);
        looker.exists = false;
    }
    store_relaxed(&looker.state, LOOKER_NONE);
}

void ss_look_at_threads(const pid_t *tids, enum ss_thread_state *states, unsigned count)
{
    int saved_errno = errno;
    switch (way()) {
    case BY_LOOKER:
        looker.tids = tids;
        looker.states = states;
        looker.count = count;
        ask(THREADS);
        break;
    case BY_CALLER:
        look_at_threads(tids, states, count);
        break;
    case NOT_AT_ALL:
        for (unsigned i = 0; i < count; i++)
            states[i] = SS_THREAD_UNKNOWN;
        break;
    }
    errno = saved_errno;
}

static unsigned ask_number(enum question question, unsigned (*look)(void), unsigned unknown)
{
    int saved_errno = errno;
    unsigned number = unknown;
    enum way how = way();
    if (how == BY_LOOKER) {
        ask(question);
        number = looker.number;
    } else if (how == BY_CALLER) {
        number = look();
    }
    errno = saved_errno;
    return number;
}

unsigned ss_look_at_load(void)
{
    return ask_number(LOAD, look_at_load, 0);
}

unsigned ss_look_at_quota(void)
{
    return is_asker ? ask_number(QUOTA, look_at_quota, UINT_MAX) : UINT_MAX;
}

unsigned ss_look_at_online(void)
{
    return is_asker ? ask_number(ONLINE, look_at_online, 0) : 0;
}

// The child has no thread that looks.
static void after_fork(void)
{
    looker.exists = false;
    store_relaxed(&looker.state, LOOKER_NONE);
    store_relaxed(&looker.asked, 0);
    store_relaxed(&looker.answered, 0);
}

SS_ROOM(os_linux_look, NULL, after_fork);
