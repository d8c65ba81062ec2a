// SPDX-License-Identifier: ISC
//
// Linux behind the seam of os.h.

#include "os.h"

#include "os_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STACK_MIN ((size_t)8 << 20) // libuv's

static uint64_t now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * SS_NS_PER_S + (uint64_t)ts.tv_nsec;
}

bool ss_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout)
{
    int saved_errno = errno;
    struct timespec ts = {.tv_sec = (time_t)(timeout / SS_NS_PER_S),
                          .tv_nsec = (long)(timeout % SS_NS_PER_S)};
    long result = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected,
                          timeout == SS_FOREVER ? NULL : &ts, NULL, 0);
    bool time_up = result < 0 && errno == ETIMEDOUT;
    errno = saved_errno;
    return !time_up;
}

static void nap(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout)
{
    // Given back at once: children forked from a job would inherit it as their default. To what it
    // was, not to the default: a job, or who created the thread, may have set it.
    long slack = syscall(SYS_prctl, PR_GET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL);
    bool shortened = slack > 1 && prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL) == 0;
    ss_futex_wait(word, expected, timeout);
    if (shortened)
        prctl(PR_SET_TIMERSLACK, (unsigned long)slack, 0UL, 0UL, 0UL);
}

static int poll_fds(struct pollfd *fds, unsigned count, uint64_t timeout)
{
    int saved_errno = errno;
    struct timespec ts = {.tv_sec = (time_t)(timeout / SS_NS_PER_S),
                          .tv_nsec = (long)(timeout % SS_NS_PER_S)};
    int result = ppoll(fds, count, timeout == SS_FOREVER ? NULL : &ts, NULL);
    errno = saved_errno;
    return result;
}

static void yield(void)
{
    sched_yield();
}

static void rest(void)
{
    int saved_errno = errno;
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    errno = saved_errno;
}

void ss_futex_wake(_Atomic uint32_t *word, int count)
{
    int saved_errno = errno;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
    errno = saved_errno;
}

static int thread_create(void *(*main)(void *), void *arg)
{
    pthread_attr_t attr;
    int err = pthread_attr_init(&attr);
    if (err)
        return -err;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    // The default follows RLIMIT_STACK, which may be small or none (then it is 2 MiB). It is
    // address space only.
    size_t stack;
    if (pthread_attr_getstacksize(&attr, &stack) == 0 && stack < STACK_MIN)
        pthread_attr_setstacksize(&attr, STACK_MIN);
    pthread_t thread;
    err = pthread_create(&thread, &attr, main, arg);
    pthread_attr_destroy(&attr);
    return -err;
}

// The kernel's encoding of "CPU time of thread TID, as the scheduler counts it" (what
// pthread_getcpuclockid() returns, without the need for a pthread_t that is still valid).
static clockid_t thread_cpu_clock(pid_t tid)
{
    enum { CPUCLOCK_SCHED = 2, CPUCLOCK_PERTHREAD = 4 };
    return (clockid_t)(~(unsigned)tid << 3 | CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED);
}

static uint64_t thread_cpu_time(pid_t tid)
{
    struct timespec ts;
    if (clock_gettime(thread_cpu_clock(tid), &ts) != 0)
        return UINT64_MAX;
    return (uint64_t)ts.tv_sec * SS_NS_PER_S + (uint64_t)ts.tv_nsec;
}

enum ss_thread_state ss_parse_thread_state(const char *stat)
{
    const char *end_of_name = strrchr(stat, ')'); // the name may hold anything, ')' included
    if (!end_of_name || end_of_name[1] != ' ')
        return SS_THREAD_UNKNOWN;
    switch (end_of_name[2]) {
    case 'R':
        return SS_THREAD_RUNNABLE;
    case 'S': // interruptible
    case 'D': // uninterruptible: disk, NFS
    case 'T': // stopped
    case 't': // stopped by a debugger
        return SS_THREAD_SLEEPING;
    default:
        return SS_THREAD_UNKNOWN;
    }
}

unsigned ss_parse_runnable(const char *loadavg)
{
    unsigned runnable, all; // "0.52 0.58 0.59 2/211 4242"
    int fields = sscanf(loadavg, "%*s %*s %*s %u/%u", &runnable, &all);
    return fields == 2 ? runnable : 0;
}

unsigned ss_parse_cpu_max(const char *text)
{
    unsigned long long quota, period;
    if (sscanf(text, "%llu %llu", &quota, &period) != 2 || period == 0 || strchr(text, '-'))
        return UINT_MAX; // "max 100000": no limit
    unsigned long long cpus = quota / period + (quota % period != 0);
    return cpus == 0 ? 1 : cpus > UINT_MAX ? UINT_MAX : (unsigned)cpus;
}

bool ss_parse_cgroup_path(const char *proc_self_cgroup, const char *controller, char *path,
                          size_t size)
{
    for (const char *line = proc_self_cgroup; line && *line;) {
        const char *end = strchrnul(line, '\n');
        const char *first = memchr(line, ':', (size_t)(end - line));
        const char *second = first ? memchr(first + 1, ':', (size_t)(end - first - 1)) : NULL;
        if (second) {
            // "1:cpu,cpuacct:/path" in version 1, "0::/path" in version 2
            size_t names_len = (size_t)(second - first - 1);
            bool match = *controller == '\0' && names_len == 0;
            for (const char *name = first + 1; *controller && name < second;) {
                const char *comma = memchr(name, ',', (size_t)(second - name));
                size_t len = (size_t)((comma ? comma : second) - name);
                match = match || (len == strlen(controller) && memcmp(name, controller, len) == 0);
                name += len + 1;
            }
            size_t path_len = (size_t)(end - second - 1);
            if (match && path_len < size) {
                memcpy(path, second + 1, path_len);
                path[path_len] = '\0';
                return true;
            }
        }
        line = *end ? end + 1 : end;
    }
    return false;
}

// Adds the CPUs that a thread may use to `all`; false: `size` is too small for the kernel.
static bool add_affinity(pid_t tid, size_t size, cpu_set_t *all, cpu_set_t *one)
{
    if (sched_getaffinity(tid, size, one) == 0)
        CPU_OR_S(size, all, all, one);
    else if (errno == EINVAL)
        return false;
    return true; // or the thread is gone
}

static unsigned count_affinity(const pid_t *tids, unsigned count, size_t size, cpu_set_t *all,
                               cpu_set_t *one)
{
    CPU_ZERO_S(size, all);
    bool done = add_affinity(0, size, all, one) && add_affinity(getpid(), size, all, one);
    for (unsigned i = 0; i < count; i++)
        done = done && add_affinity(tids[i], size, all, one);
    return done ? (unsigned)CPU_COUNT_S(size, all) : 0;
}

static unsigned affinity_cpus(const pid_t *tids, unsigned count)
{
    unsigned found = 0;
    // Machines with more than 1024 CPUs need a larger set; grow until the kernel is content.
    for (size_t cpus = 1024; cpus <= 1u << 20 && found == 0; cpus *= 4) {
        cpu_set_t *all = CPU_ALLOC(cpus), *one = CPU_ALLOC(cpus);
        if (all && one)
            found = count_affinity(tids, count, CPU_ALLOC_SIZE(cpus), all, one);
        CPU_FREE(all);
        CPU_FREE(one);
    }
    return found ? found : 1;
}

// The affinity mask of one thread alone says little: the first pool may be made by a thread that is
// pinned. So those of the main thread and of some workers count, too.
static unsigned cpu_count(const pid_t *tids, unsigned count)
{
    int saved_errno = errno;
    unsigned affinity = affinity_cpus(tids, count), quota = ss_look_at_quota();
    errno = saved_errno;
    return affinity < quota ? affinity : quota;
}

static uint64_t sleeps(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? (uint64_t)usage.ru_nvcsw : 0;
}

static bool place(pid_t tid, int cpu, bool on, struct ss_placement *placement)
{
    int saved_errno = errno;
    cpu_set_t one, *had = &placement->had, *set = &placement->set;
    CPU_ZERO(&one);
    bool done = cpu >= 0 && cpu < CPU_SETSIZE && sched_getaffinity(tid, sizeof *had, had) == 0;
    if (done) {
        CPU_SET((size_t)cpu, &one);
        *set = *had;
        if (CPU_ISSET((size_t)cpu, had))
            CPU_XOR(set, had, &one);
        if (on)
            CPU_AND(set, had, &one);
        done = CPU_COUNT(set) > 0 && !CPU_EQUAL(set, had) &&
               sched_setaffinity(tid, sizeof *set, set) == 0;
    }
    errno = saved_errno;
    return done;
}

// A mask that was changed meanwhile, by taskset(1) or because a CPU has gone, is left alone.
static void release(const struct ss_placement *placement)
{
    int saved_errno = errno;
    cpu_set_t now;
    if (sched_getaffinity(0, sizeof now, &now) == 0 && CPU_EQUAL(&now, &placement->set))
        sched_setaffinity(0, sizeof placement->had, &placement->had);
    errno = saved_errno;
}

static bool membarrier_register(void)
{
    int saved_errno = errno;
    long done = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    errno = saved_errno;
    return done == 0;
}

static void membarrier(void)
{
    int saved_errno = errno;
    syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    errno = saved_errno;
}

static void thread_traits(struct ss_traits *traits)
{
    int saved_errno = errno;
    memset(traits, 0, sizeof *traits); // compared as bytes
    pthread_sigmask(SIG_SETMASK, NULL, &traits->mask);
    // glibc's sigset_t is larger than the kernel's 64 signals; only those are defined
    memset((char *)&traits->mask + 8, 0, sizeof traits->mask - 8);
    traits->policy = sched_getscheduler(0);
    struct sched_param param = {0};
    sched_getparam(0, &param);
    traits->priority = param.sched_priority;
    traits->nice = 20 - (int)syscall(SYS_getpriority, PRIO_PROCESS, 0); // the raw call's scale
    sched_getaffinity(0, sizeof traits->affinity, &traits->affinity);
    errno = saved_errno;
}

static void set_thread_traits(const struct ss_traits *traits)
{
    struct ss_traits mine;
    thread_traits(&mine);
    if (memcmp(&mine, traits, sizeof mine) == 0)
        return;
    int saved_errno = errno;
    sched_setaffinity(0, sizeof traits->affinity, &traits->affinity);
    struct sched_param param = {.sched_priority = traits->priority};
    sched_setscheduler(0, traits->policy, &param);
    syscall(SYS_setpriority, PRIO_PROCESS, 0, traits->nice);
    pthread_sigmask(SIG_SETMASK, &traits->mask, NULL);
    errno = saved_errno;
}

struct ss_os ss_os = {
    .now = now,
    .futex_wait = ss_futex_wait,
    .nap = nap,
    .poll = poll_fds,
    .yield = yield,
    .rest = rest,
    .futex_wake = ss_futex_wake,
    .thread_create = thread_create,
    .thread_cpu_time = thread_cpu_time,
    .begin_looks = ss_begin_looks,
    .thread_states = ss_look_at_threads,
    .runnable_threads = ss_look_at_load,
    .cpu_count = cpu_count,
    .cpu = sched_getcpu,
    .sleeps = sleeps,
    .place = place,
    .release = release,
    .membarrier_register = membarrier_register,
    .membarrier = membarrier,
    .thread_traits = thread_traits,
    .set_thread_traits = set_thread_traits,
};
