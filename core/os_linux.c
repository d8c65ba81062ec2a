// SPDX-License-Identifier: ISC
//
// Linux behind the seam of os.h.

#include "os.h"

#include "os_linux.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
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

static uint64_t now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * SS_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static bool futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout)
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
    // Given back at once: children forked from a job would inherit it as their default.
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    futex_wait(word, expected, timeout);
    prctl(PR_SET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL);
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

static void futex_wake(_Atomic uint32_t *word, int count)
{
    int saved_errno = errno;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
    errno = saved_errno;
}

static int thread_create(void *(*main)(void *), void *arg)
{
    pthread_t thread;
    return -pthread_create(&thread, NULL, main, arg);
}

static int thread_create_sized(void *(*main)(void *), void *arg, size_t stack_size)
{
    pthread_attr_t attr;
    int err = pthread_attr_init(&attr);
    if (err)
        return -err;
    err = pthread_attr_setstacksize(&attr, stack_size); // refuses what is too small
    pthread_t thread;
    if (!err)
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

// Opened for this one look: a descriptor per worker would make the process's table grow, which
// stalls a threaded process for milliseconds.
static ssize_t read_file(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    if (n >= 0)
        text[n] = '\0';
    return n;
}

static enum ss_thread_state thread_state(pid_t tid)
{
    int saved_errno = errno;
    char path[64], stat[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
    ssize_t n = read_file(path, stat, sizeof stat);
    errno = saved_errno;
    return n > 0 ? ss_parse_thread_state(stat) : SS_THREAD_UNKNOWN;
}

unsigned ss_parse_runnable(const char *loadavg)
{
    unsigned runnable, all; // "0.52 0.58 0.59 2/211 4242"
    int fields = sscanf(loadavg, "%*s %*s %*s %u/%u", &runnable, &all);
    return fields == 2 ? runnable : 0;
}

static unsigned runnable_threads(void)
{
    int saved_errno = errno;
    char text[128];
    ssize_t n = read_file("/proc/loadavg", text, sizeof text);
    errno = saved_errno;
    return n > 0 ? ss_parse_runnable(text) : 0;
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
    return read_file(file, text, sizeof text) > 0 ? ss_parse_cpu_max(text) : UINT_MAX;
}

static unsigned quota_v1(const char *dir)
{
    char file[PATH_MAX + 32], quota[32], period[32], both[80];
    snprintf(file, sizeof file, "%s/cpu.cfs_quota_us", dir);
    if (read_file(file, quota, sizeof quota) <= 0 || quota[0] == '-')
        return UINT_MAX;
    snprintf(file, sizeof file, "%s/cpu.cfs_period_us", dir);
    if (read_file(file, period, sizeof period) <= 0)
        return UINT_MAX;
    snprintf(both, sizeof both, "%s %s", quota, period);
    return ss_parse_cpu_max(both);
}

static unsigned cgroup_cpus(void)
{
    static char text[8192]; // once, under the caller's lock
    if (read_file("/proc/self/cgroup", text, sizeof text) <= 0)
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

static unsigned affinity_cpus(void)
{
    // Machines with more than 1024 CPUs need a larger set; grow until the kernel is content.
    for (size_t cpus = 1024; cpus <= 1u << 20; cpus *= 4) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set)
            break;
        size_t size = CPU_ALLOC_SIZE(cpus);
        int result = sched_getaffinity(0, size, set);
        int count = result == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0)
            return (unsigned)count;
        if (errno != EINVAL)
            break;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

static unsigned cpu_count(void)
{
    int saved_errno = errno;
    unsigned affinity = affinity_cpus(), quota = cgroup_cpus();
    errno = saved_errno;
    return affinity < quota ? affinity : quota;
}

static uint64_t sleeps(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? (uint64_t)usage.ru_nvcsw : 0;
}

static bool place(pid_t tid, int cpu, bool on, cpu_set_t *mask)
{
    int saved_errno = errno;
    cpu_set_t one, wanted;
    CPU_ZERO(&one);
    bool done = cpu >= 0 && cpu < CPU_SETSIZE && sched_getaffinity(tid, sizeof *mask, mask) == 0;
    if (done) {
        CPU_SET((size_t)cpu, &one);
        wanted = *mask;
        if (CPU_ISSET((size_t)cpu, mask))
            CPU_XOR(&wanted, mask, &one);
        if (on)
            CPU_AND(&wanted, mask, &one);
        done = CPU_COUNT(&wanted) > 0 && sched_setaffinity(tid, sizeof wanted, &wanted) == 0;
    }
    errno = saved_errno;
    return done;
}

static void release(const cpu_set_t *mask)
{
    int saved_errno = errno;
    sched_setaffinity(0, sizeof *mask, mask);
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

// SCHED_RESET_ON_FORK: what the thread creates has no real-time policy and no negative nice value.
static void reset_as_children_do(struct ss_traits *traits)
{
    if (traits->policy < 0 || !(traits->policy & SCHED_RESET_ON_FORK))
        return;
    traits->policy &= ~SCHED_RESET_ON_FORK;
    bool real_time = traits->policy == SCHED_FIFO || traits->policy == SCHED_RR;
    if (real_time) {
        traits->policy = SCHED_OTHER;
        traits->priority = 0;
    }
    if (real_time || traits->nice < 0)
        traits->nice = 0;
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
    reset_as_children_do(traits);
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
    errno = saved_errno;
}

// The dynamic section of the object that this file is part of; none in a static program, which need
// not have a loader either.
extern ElfW(Dyn) _DYNAMIC[] __attribute__((weak, visibility("hidden")));
#pragma weak dladdr1
#pragma weak dlopen

// Can it be unloaded? Not a program, which alone has DT_DEBUG, nor what was linked with -z
// nodelete.
static bool can_be_unloaded(void)
{
    if (_DYNAMIC == NULL || dladdr1 == NULL || dlopen == NULL)
        return false;
    for (const ElfW(Dyn) *entry = _DYNAMIC; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_DEBUG)
            return false;
        if (entry->d_tag == DT_FLAGS_1 && (entry->d_un.d_val & DF_1_NODELETE) != 0)
            return false;
    }
    return true;
}

static void stay_loaded(void)
{
    Dl_info info;
    struct link_map *map = NULL;
    if (!can_be_unloaded())
        return;
    int saved_errno = errno;
    // By the name that the loader knows it by, so that no file is opened. What dlopen() returns is
    // never closed.
    if (dladdr1(&ss_os, &info, (void **)&map, RTLD_DL_LINKMAP) != 0 && map != NULL)
        dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    errno = saved_errno;
}

static void set_signal_mask(const sigset_t *mask)
{
    pthread_sigmask(SIG_SETMASK, mask, NULL);
}

struct ss_os ss_os = {
    .now = now,
    .futex_wait = futex_wait,
    .nap = nap,
    .poll = poll_fds,
    .yield = yield,
    .rest = rest,
    .futex_wake = futex_wake,
    .thread_create = thread_create,
    .thread_create_sized = thread_create_sized,
    .thread_cpu_time = thread_cpu_time,
    .thread_state = thread_state,
    .runnable_threads = runnable_threads,
    .cpu_count = cpu_count,
    .cpu = sched_getcpu,
    .sleeps = sleeps,
    .place = place,
    .release = release,
    .membarrier_register = membarrier_register,
    .membarrier = membarrier,
    .thread_traits = thread_traits,
    .set_thread_traits = set_thread_traits,
    .set_signal_mask = set_signal_mask,
    .stay_loaded = stay_loaded,
};
