// SPDX-License-Identifier: ISC
//
// Threads: their creation and end, identity, name, CPU time, and values of their own.

#include "os/thread.h"
#include "os/linux/linux.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int thread_create_with(int detach_state, size_t stack_size, void *(*main)(void *), void *arg)
{
    pthread_attr_t attr;
    int err = pthread_attr_init(&attr);
    if (err)
        return -err;
    int saved_errno = errno;
    pthread_attr_setdetachstate(&attr, detach_state);
    if (stack_size > 0)
        err = pthread_attr_setstacksize(&attr, stack_size); // refuses what is too small
    pthread_t thread;
    if (!err)
        err = pthread_create(&thread, &attr, main, arg);
    pthread_attr_destroy(&attr);
    errno = saved_errno;
    return -err;
}

int ss_linux_thread_create(void *(*main)(void *), void *arg)
{
    return thread_create_with(PTHREAD_CREATE_DETACHED, 0, main, arg);
}

int ss_linux_thread_create_joinable(void *(*main)(void *), void *arg, size_t stack_size)
{
    return thread_create_with(PTHREAD_CREATE_JOINABLE, stack_size, main, arg);
}

#define SMALL_STACK ((size_t)256 << 10)

int ss_linux_thread_create_small(void *(*main)(void *), void *arg)
{
    int err = thread_create_with(PTHREAD_CREATE_DETACHED, SMALL_STACK, main, arg);
    // The program's thread-local data are larger.
    return err == -EINVAL ? ss_linux_thread_create(main, arg) : err;
}

ss_thread ss_linux_thread_self(void)
{
    return pthread_self();
}

void ss_linux_thread_join(ss_thread thread)
{
    pthread_join(thread, NULL);
}

void ss_linux_thread_detach(ss_thread thread)
{
    pthread_detach(thread);
}

bool ss_linux_thread_exists(pid_t tid)
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

uint64_t ss_linux_thread_cpu_time(pid_t tid)
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

uint64_t ss_linux_sleeps(void)
{
    int saved_errno = errno;
    struct rusage usage = {.ru_nvcsw = 0};
    if (ss_may(SS_CALL_RUSAGE))
        ss_noted(SS_CALL_RUSAGE, getrusage(RUSAGE_THREAD, &usage) == 0);
    errno = saved_errno;
    return (uint64_t)usage.ru_nvcsw;
}

pid_t ss_linux_thread_id(void)
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

void ss_linux_name_thread(const char *name)
{
    int saved_errno = errno;
    errno = ss_may(SS_CALL_PRCTL) ? pthread_setname_np(pthread_self(), name) : 0;
    ss_noted(SS_CALL_PRCTL, errno == 0);
    errno = saved_errno;
}

void ss_once(struct ss_once *once, void (*what)(void))
{
    pthread_once(&once->flag, what);
}

void ss_thread_key_new(struct ss_thread_key *key, void (*at_end)(void *value))
{
    key->exists = pthread_key_create(&key->key, at_end) == 0;
}

void ss_thread_key_set(const struct ss_thread_key *key, void *value)
{
    if (key->exists)
        pthread_setspecific(key->key, value);
}
