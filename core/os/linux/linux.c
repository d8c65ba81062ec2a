// SPDX-License-Identifier: ISC
//
// Linux behind the seam of os.h.

#include "os/os.h"

#include "base/atomic.h"
#include "os/linux/linux.h"

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

#define REST_NS 50000

// Bits of enum ss_call.
static _Atomic unsigned refused;

bool ss_may(unsigned calls)
{
    return (load_relaxed(&refused) & calls) == 0;
}

bool ss_noted(enum ss_call call, bool success)
{
    if (!success && (errno == EPERM || errno == EACCES || errno == ENOSYS))
        fetch_or_relaxed(&refused, (unsigned)call);
    return success;
}

static uint64_t now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * SS_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / SS_NS_PER_S),
                             .tv_nsec = (long)(ns % SS_NS_PER_S)};
}

// FUTEX_WAIT_BITSET takes a point in time of CLOCK_MONOTONIC, FUTEX_WAIT a length.
bool ss_futex_wait_until(_Atomic uint32_t *word, uint32_t expected, uint64_t until)
{
    int saved_errno = errno;
    struct timespec ts = timespec_of(until);
    long result = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
                          until == SS_FOREVER ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);
    bool time_up = result < 0 && errno == ETIMEDOUT;
    errno = saved_errno;
    return !time_up;
}

bool ss_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout)
{
    return ss_futex_wait_until(word, expected,
                               timeout == SS_FOREVER ? SS_FOREVER : ss_time_after(now(), timeout));
}

static void nap(_Atomic uint32_t *word, uint32_t expected, uint64_t ns)
{
    // Given back at once: children forked from a job would inherit it as their default. To what it
    // was, not to the default: a job, or who created the thread, may have set it.
    int saved_errno = errno;
    struct timespec ts = timespec_of(ns);
    long slack =
        ss_may(SS_CALL_PRCTL) ? syscall(SYS_prctl, PR_GET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL) : 0;
    bool shortened = ss_noted(SS_CALL_PRCTL, slack >= 0) && slack > 1 &&
                     prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL) == 0;
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &ts, NULL, 0);
    if (shortened)
        prctl(PR_SET_TIMERSLACK, (unsigned long)slack, 0UL, 0UL, 0UL);
    errno = saved_errno;
}

static int poll_until(struct pollfd *fds, unsigned count, uint64_t until)
{
    int saved_errno = errno;
    uint64_t time = until == SS_FOREVER ? 0 : now();
    struct timespec ts = timespec_of(until > time ? until - time : 0);
    int result = ppoll(fds, count, until == SS_FOREVER ? NULL : &ts, NULL);
    errno = saved_errno;
    return result;
}

// A sleep by the one call that every thread pool makes.
static void sleep_by_futex(uint64_t ns)
{
    static _Atomic uint32_t nothing;
    ss_futex_wait(&nothing, 0, ns);
}

static void yield(void)
{
    int saved_errno = errno;
    if (!ss_may(SS_CALL_YIELD) || !ss_noted(SS_CALL_YIELD, sched_yield() == 0))
        sleep_by_futex(1);
    errno = saved_errno;
}

static void rest(void)
{
    int saved_errno = errno;
    const struct timespec time = {.tv_nsec = REST_NS};
    // Any other error than a refusal: a signal came.
    if (ss_may(SS_CALL_SLEEP))
        ss_noted(SS_CALL_SLEEP, nanosleep(&time, NULL) == 0);
    if (!ss_may(SS_CALL_SLEEP))
        sleep_by_futex(REST_NS);
    errno = saved_errno;
}

void ss_futex_wake(_Atomic uint32_t *word, int count)
{
    int saved_errno = errno;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
    errno = saved_errno;
}

static int thread_create_with(int detach_state, size_t stack_size, void *(*main)(void *), void *arg)
{
    pthread_attr_t attr;
    int err = pthread_attr_init(&attr);
    if (err)
        return -err;
    pthread_attr_setdetachstate(&attr, detach_state);
    if (stack_size > 0)
        err = pthread_attr_setstacksize(&attr, stack_size); // refuses what is too small
    pthread_t thread;
    if (!err)
        err = pthread_create(&thread, &attr, main, arg);
    pthread_attr_destroy(&attr);
    return -err;
}

static int thread_create(void *(*main)(void *), void *arg)
{
    return thread_create_with(PTHREAD_CREATE_DETACHED, 0, main, arg);
}

static int thread_create_joinable(void *(*main)(void *), void *arg, size_t stack_size)
{
    return thread_create_with(PTHREAD_CREATE_JOINABLE, stack_size, main, arg);
}

#define SMALL_STACK ((size_t)256 << 10)

static int thread_create_small(void *(*main)(void *), void *arg)
{
    int err = thread_create_with(PTHREAD_CREATE_DETACHED, SMALL_STACK, main, arg);
    // The program's thread-local data are larger.
    return err == -EINVAL ? thread_create(main, arg) : err;
}

static bool thread_exists(pid_t tid)
{
    int saved_errno = errno;
    bool exists = ss_may(SS_CALL_TGKILL) &&
                  ss_noted(SS_CALL_TGKILL, syscall(SYS_tgkill, getpid(), tid, 0) == 0);
    errno = saved_errno;
    return exists;
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
    int saved_errno = errno;
    struct timespec ts;
    bool done = ss_may(SS_CALL_CPU_CLOCK) &&
                ss_noted(SS_CALL_CPU_CLOCK, clock_gettime(thread_cpu_clock(tid), &ts) == 0);
    errno = saved_errno;
    if (!done)
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
    if (!ss_may(SS_CALL_GETAFFINITY))
        return true;
    if (ss_noted(SS_CALL_GETAFFINITY, sched_getaffinity(tid, size, one) == 0))
        CPU_OR_S(size, all, all, one);
    else if (errno == EINVAL)
        return false;
    return true; // or the thread is gone
}

static unsigned count_affinity(const pid_t *tids, unsigned count, pid_t main_thread, size_t size,
                               cpu_set_t *all, cpu_set_t *one)
{
    CPU_ZERO_S(size, all);
    bool done = add_affinity(0, size, all, one) && add_affinity(main_thread, size, all, one);
    for (unsigned i = 0; i < count; i++)
        done = done && add_affinity(tids[i], size, all, one);
    return done ? (unsigned)CPU_COUNT_S(size, all) : 0;
}

// 0: cannot be told.
static unsigned affinity_cpus(const pid_t *tids, unsigned count, pid_t main_thread)
{
    unsigned found = 0;
    // Machines with more than 1024 CPUs need a larger set; grow until the kernel is content.
    for (size_t cpus = 1024; cpus <= 1u << 20 && found == 0 && ss_may(SS_CALL_GETAFFINITY);
         cpus *= 4) {
        cpu_set_t *all = CPU_ALLOC(cpus), *one = CPU_ALLOC(cpus);
        if (all && one)
            found = count_affinity(tids, count, main_thread, CPU_ALLOC_SIZE(cpus), all, one);
        CPU_FREE(all);
        CPU_FREE(one);
    }
    return found;
}

// SMOLSCALE_QUIET: the CPUs are counted when the library is loaded, before the program can forbid
// it, and never again; not at all if SMOLSCALE_WORKERS says how many. (glibc's malloc counts
// them, too, for its second thread.)
static unsigned counted_early;

__attribute__((constructor)) static void count_early(void)
{
    const char *quiet = secure_getenv("SMOLSCALE_QUIET"), *workers = getenv("SMOLSCALE_WORKERS");
    if (quiet && strcmp(quiet, "1") == 0 && (!workers || strcmp(workers, "0") == 0))
        counted_early = affinity_cpus(NULL, 0, 0);
}

// The affinity mask of one thread alone says little: the first pool may be made by a thread that is
// pinned. So those of the main thread and of some workers count, too.
static unsigned cpu_count(const pid_t *tids, unsigned count)
{
    int saved_errno = errno;
    pid_t main_thread = ss_may(SS_CALL_GETAFFINITY) ? getpid() : 0; // 0: the caller
    unsigned cpus = affinity_cpus(tids, count, main_thread), quota = ss_look_at_quota();
    if (cpus == 0)
        cpus = counted_early ? counted_early : ss_look_at_online();
    cpus = cpus < quota ? cpus : quota;
    errno = saved_errno;
    return cpus ? cpus : 1;
}

void ss_os_be_quiet(void)
{
    if (counted_early == 0)
        count_early();
    store_relaxed(&refused, ~0u);
}

static uint64_t sleeps(void)
{
    int saved_errno = errno;
    struct rusage usage = {.ru_nvcsw = 0};
    if (ss_may(SS_CALL_RUSAGE))
        ss_noted(SS_CALL_RUSAGE, getrusage(RUSAGE_THREAD, &usage) == 0);
    errno = saved_errno;
    return (uint64_t)usage.ru_nvcsw;
}

static int cpu(void)
{
    int saved_errno = errno;
    int number = ss_may(SS_CALL_GETCPU) ? sched_getcpu() : -1;
    if (ss_may(SS_CALL_GETCPU))
        ss_noted(SS_CALL_GETCPU, number >= 0);
    errno = saved_errno;
    return number;
}

static bool get_affinity(pid_t tid, cpu_set_t *set)
{
    return ss_may(SS_CALL_GETAFFINITY) &&
           ss_noted(SS_CALL_GETAFFINITY, sched_getaffinity(tid, sizeof *set, set) == 0);
}

static bool set_affinity(pid_t tid, const cpu_set_t *set)
{
    return ss_may(SS_CALL_SETAFFINITY) &&
           ss_noted(SS_CALL_SETAFFINITY, sched_setaffinity(tid, sizeof *set, set) == 0);
}

static bool place(pid_t tid, int cpu, bool on, struct ss_placement *placement)
{
    int saved_errno = errno;
    cpu_set_t one, *had = &placement->had, *set = &placement->set;
    CPU_ZERO(&one);
    bool done =
        cpu >= 0 && cpu < CPU_SETSIZE && ss_may(SS_CALL_SETAFFINITY) && get_affinity(tid, had);
    if (done) {
        CPU_SET((size_t)cpu, &one);
        *set = *had;
        if (CPU_ISSET((size_t)cpu, had))
            CPU_XOR(set, had, &one);
        if (on)
            CPU_AND(set, had, &one);
        done = CPU_COUNT(set) > 0 && !CPU_EQUAL(set, had) && set_affinity(tid, set);
    }
    errno = saved_errno;
    return done;
}

// The CPUs of the cpuset: those that a thread gets that asks for all. None until they are known.
static _Atomic unsigned long cpuset[CPU_SETSIZE / (8 * sizeof(unsigned long))];

#define CPUSET_WORDS (sizeof cpuset / sizeof *cpuset)

// By one thread, now and then. Who reads words of the old and of the new one takes a mask for a
// restricted one; the next placing puts that right.
static void note_cpuset(const cpu_set_t *set)
{
    unsigned long words[CPUSET_WORDS];
    memcpy(words, set, sizeof words);
    for (unsigned i = 0; i < CPUSET_WORDS; i++)
        store_relaxed(&cpuset[i], words[i]);
}

static bool is_cpuset(const cpu_set_t *set)
{
    unsigned long words[CPUSET_WORDS];
    memcpy(words, set, sizeof words);
    for (unsigned i = 0; i < CPUSET_WORDS; i++)
        if (load_relaxed(&cpuset[i]) != words[i])
            return false;
    return true;
}

// Since Linux 6.2 a thread that has once asked for CPUs gets no others when its cpuset grows. So
// who may use the whole cpuset asks for all there may ever be. Where that brings others than it
// had, the cpuset has changed since it was learnt, and what it had may have been a restriction.
static void give_back(const cpu_set_t *set)
{
    cpu_set_t all, got;
    memset(&all, 0xff, sizeof all);
    if (!is_cpuset(set) || !set_affinity(0, &all) || !get_affinity(0, &got) ||
        !CPU_EQUAL(&got, set))
        set_affinity(0, set);
}

void ss_learn_cpuset(void)
{
    cpu_set_t mine, all, got;
    memset(&all, 0xff, sizeof all);
    if (!get_affinity(0, &mine) || !set_affinity(0, &all))
        return;
    if (get_affinity(0, &got))
        note_cpuset(&got);
    give_back(&mine);
}

// A mask that was changed meanwhile, by taskset(1) or because a CPU has gone, is left alone.
static void release(const struct ss_placement *placement)
{
    int saved_errno = errno;
    cpu_set_t now;
    if (!get_affinity(0, &now) || CPU_EQUAL(&now, &placement->set))
        give_back(&placement->had);
    errno = saved_errno;
}

static bool membarrier_command(int command)
{
    int saved_errno = errno;
    bool done = ss_may(SS_CALL_MEMBARRIER) &&
                ss_noted(SS_CALL_MEMBARRIER, syscall(SYS_membarrier, command, 0, 0) == 0);
    errno = saved_errno;
    return done;
}

static bool membarrier_register(void)
{
    return membarrier_command(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
}

static bool membarrier(void)
{
    return membarrier_command(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

static pid_t thread_id(void)
{
    int saved_errno = errno;
    long tid = 0;
    if (ss_may(SS_CALL_GETTID)) {
        tid = syscall(SYS_gettid);
        ss_noted(SS_CALL_GETTID, tid > 0);
    }
    errno = saved_errno;
    return tid > 0 ? (pid_t)tid : 1;
}

static void name_thread(const char *name)
{
    int saved_errno = errno;
    errno = ss_may(SS_CALL_PRCTL) ? pthread_setname_np(pthread_self(), name) : 0;
    ss_noted(SS_CALL_PRCTL, errno == 0);
    errno = saved_errno;
}

// All that concerns scheduling; 0 where the kernel does not tell.
static void scheduling(struct ss_traits *traits)
{
    struct sched_param param = {0};
    if (!ss_may(SS_CALL_SCHEDULER))
        return;
    int policy = sched_getscheduler(0);
    if (!ss_noted(SS_CALL_SCHEDULER, policy >= 0) ||
        !ss_noted(SS_CALL_SCHEDULER, sched_getparam(0, &param) == 0))
        return;
    long nice = syscall(SYS_getpriority, PRIO_PROCESS, 0);
    if (!ss_noted(SS_CALL_SCHEDULER, nice > 0))
        return;
    traits->policy = policy;
    traits->priority = param.sched_priority;
    traits->nice = 20 - (int)nice; // the raw call's scale
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
    scheduling(traits);
    get_affinity(0, &traits->affinity);
    reset_as_children_do(traits);
    errno = saved_errno;
}

// Only what differs: each is a system call, which privileges may not allow.
static void set_thread_traits(const struct ss_traits *traits)
{
    struct ss_traits mine;
    thread_traits(&mine);
    if (memcmp(&mine, traits, sizeof mine) == 0)
        return;
    int saved_errno = errno;
    if (!CPU_EQUAL(&mine.affinity, &traits->affinity))
        set_affinity(0, &traits->affinity);
    bool may = ss_may(SS_CALL_SCHEDULER);
    struct sched_param param = {.sched_priority = traits->priority};
    if (may && (mine.policy != traits->policy || mine.priority != traits->priority))
        sched_setscheduler(0, traits->policy, &param);
    if (may && mine.nice != traits->nice)
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
    .futex_wait_until = ss_futex_wait_until,
    .nap = nap,
    .poll_until = poll_until,
    .yield = yield,
    .rest = rest,
    .futex_wake = ss_futex_wake,
    .thread_create = thread_create,
    .thread_create_joinable = thread_create_joinable,
    .thread_create_small = thread_create_small,
    .thread_exists = thread_exists,
    .thread_cpu_time = thread_cpu_time,
    .begin_looks = ss_begin_looks,
    .end_looks = ss_end_looks,
    .thread_states = ss_look_at_threads,
    .runnable_threads = ss_look_at_load,
    .cpu_count = cpu_count,
    .cpu = cpu,
    .sleeps = sleeps,
    .place = place,
    .release = release,
    .membarrier_register = membarrier_register,
    .membarrier = membarrier,
    .thread_id = thread_id,
    .name_thread = name_thread,
    .thread_traits = thread_traits,
    .set_thread_traits = set_thread_traits,
    .set_signal_mask = set_signal_mask,
    .stay_loaded = stay_loaded,
};
