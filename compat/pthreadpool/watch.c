// SPDX-License-Identifier: ISC
//
// The watcher: one thread that looks, while calls are made, whether one of them stands still, and
// sends it a helper: the first a millisecond after it was armed (up to 4 ms where calls keep coming
// and it has long found nothing to do) and has seen the call, then twice as many as are there at
// each further look. That is what lets the caller skip asking for calls which lately were cheap,
// and what makes a barrier among the items of one call work whenever there are as many threads as
// items.
//
// It also does, off the callers' path, what takes its time once: registering for membarrier (16 ms
// in a process with threads) and learning the unit of ticks().
//
// Zero idle: its timer is armed by the first call after a quiet time (one system call that wakes
// nobody) and by itself for as long as it finds a call in progress. The timer's signal is directed
// to this thread alone, where it is blocked and taken by sigwaitinfo(): no descriptor that a
// program could close, no handler, no effect on any other thread.
//
//   W1  No call goes unwatched. A caller sets BUSY, then reads `armed`; the watcher clears `armed`,
//       then looks at all doors once more. All four are sequentially consistent: if the caller saw
//       `armed` still set, the look comes later and finds BUSY.
//   W2  The watcher touches the call of a pool only while it is counted as present (D2 keeps the
//       call from ending), and counts itself only where READY is set.

#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

enum { look_first_ms = 1, look_last_ms = 4, retry_ms = 1000 };
enum {
    timer_signal = 32
}; // reserved for timers by glibc and musl: no program can send or handle it

_Atomic uint32_t ptp_watch_armed;
_Atomic bool ptp_membarrier_ready;
_Atomic uint64_t ptp_ticks_per_us = 2500;

// The life of the thread; changed by compare-and-swap, except by the thread itself.
enum { state_none, state_starting, state_ready, state_failed };
static _Atomic int state;
static _Atomic uint64_t failed_at; // monotonic ns
static timer_t timer;              // valid in state_ready
static _Atomic uint32_t first_ms = look_first_ms;

static const uint64_t timer_set = UINT64_C(1) << (timer_signal - 1); // as the kernel has it

static void arm(uint64_t ms)
{
    struct itimerspec when = {.it_value = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000}};
    timer_settime(timer, 0, &when, NULL);
}

static void learn_ticks(void)
{
#if defined(__aarch64__)
    uint64_t hz;
    __asm__ __volatile__("mrs %0, cntfrq_el0" : "=r"(hz));
    atomic_store(&ptp_ticks_per_us, hz / 1000000 ? hz / 1000000 : 1);
#else
    uint64_t ns = monotonic_ns();
    uint64_t start = ticks();
    struct timespec while_ = {0, 2000000};
    nanosleep(&while_, NULL);
    uint64_t passed = ticks() - start;
    ns = monotonic_ns() - ns;
    if (passed * 1000 / ns > 0)
        atomic_store(&ptp_ticks_per_us, passed * 1000 / ns);
#endif
}

// Helps the pool if its call has not moved since the last look. True: help was sent.
static bool look_at(struct pthreadpool *pool, bool *active)
{
    uint64_t door = atomic_load(&pool->door);
    uint64_t before = pool->watch_door;
    pool->watch_door = door & ~(DOOR_CALL - 1);
    if (!(door & DOOR_BUSY))
        return false;
    *active = true;
    if (!(door & DOOR_READY) ||
        !atomic_compare_exchange_strong(&pool->door, &door, door + DOOR_PRESENT)) // W2
        return false;

    size_t left = 0;
    size_t sum = 0;
    uint32_t helpers = door_present(door);
    uint32_t used = atomic_load_explicit(&pool->shares_used, memory_order_relaxed);
    for (uint32_t i = 0; i < used; i++) {
        size_t next = atomic_load_explicit(&pool->shares[i].next, memory_order_relaxed);
        size_t limit = atomic_load_explicit(&pool->shares[i].limit, memory_order_relaxed);
        sum += next * (i + 1);
        left += next < limit ? limit - next : 0;
    }
    bool stands = door_call(door) == door_call(before) && sum == pool->watch_sum && left > 0;
    pool->watch_sum = sum;
    if (stands) {
        size_t most = atomic_load_explicit(&pool->threads, memory_order_relaxed) - 1;
        size_t want = helpers + (helpers ? helpers : 1);
        want = want < helpers + left ? want : helpers + left;
        want = want < most ? want : most;
        if (want <= helpers) {
            ptp_leave(pool);
            return false;
        }
        atomic_fetch_or_explicit(&pool->door, DOOR_OPEN, memory_order_release);
        ptp_ask(pool, (uint32_t)want, NULL);
    }
    ptp_leave(pool);
    return stands;
}

static bool look_at_all(bool *active)
{
    bool stands = false;
    for (struct pthreadpool *p = atomic_load_explicit(&ptp_pools, memory_order_acquire); p;
         p = atomic_load_explicit(&p->next_pool, memory_order_relaxed))
        stands |= look_at(p, active);
    return stands;
}

static void watch(void)
{
    uint64_t ms = look_first_ms;
    bool found = false; // something stood still since it was armed
    for (;;) {
        if (syscall(SYS_rt_sigtimedwait, &timer_set, NULL, NULL, sizeof timer_set) < 0 &&
            errno != EINTR)
            return; // cannot happen; then calls go unwatched, but nothing spins
        bool active = false;
        if (look_at_all(&active)) {
            found = true;
            atomic_store_explicit(&first_ms, look_first_ms, memory_order_relaxed);
            ms = look_first_ms;
        } else if (active) {
            ms = ms < look_last_ms ? ms * 2 : look_last_ms;
        } else {
            atomic_store(&ptp_watch_armed, 0); // W1
            look_at_all(&active);
            if (!active || atomic_exchange(&ptp_watch_armed, 1)) {
                uint32_t next = atomic_load_explicit(&first_ms, memory_order_relaxed) * 2;
                if (!found && next <= look_last_ms)
                    atomic_store_explicit(&first_ms, next, memory_order_relaxed);
                found = false;
                continue; // disarmed, or armed by a caller in the meantime
            }
            ms = atomic_load_explicit(&first_ms, memory_order_relaxed);
        }
        arm(ms);
    }
}

static void *watch_thread(void *unused)
{
    (void)unused;
    prctl(PR_SET_NAME, "smolscale-watch");
    // By system call: the C library would leave its own signals out of any set.
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, &timer_set, NULL, sizeof timer_set);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = timer_signal};
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) {
        atomic_store(&failed_at, monotonic_ns());
        atomic_store(&ptp_watch_armed, 0);
        atomic_store(&state, state_failed);
        return NULL;
    }
    atomic_store(&state, state_ready);
    arm(look_first_ms); // for the caller that started us
    learn_ticks();
    if (membarrier_register())
        atomic_store(&ptp_membarrier_ready, true);
    watch();
    return NULL;
}

// Starts the thread; the timer counts as armed as soon as it can be: the thread arms it first
// thing.
static bool start(void)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&thread, &attr, watch_thread, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (err == 0)
        return true;
    atomic_store(&failed_at, monotonic_ns());
    atomic_store(&ptp_watch_armed, 0);
    atomic_store(&state, state_failed);
    return false;
}

// Called by a caller that found `armed` clear. False: there is no watcher, ask for help at once.
bool ptp_watch_arm(void)
{
    int now = atomic_load(&state);
    if (now == state_failed &&
        monotonic_ns() - atomic_load(&failed_at) < retry_ms * UINT64_C(1000000))
        return false;
    if (atomic_exchange(&ptp_watch_armed, 1))
        return true; // another caller does it
    if (now == state_ready) {
        arm(atomic_load_explicit(&first_ms, memory_order_relaxed));
        return true;
    }
    if (now == state_starting || !atomic_compare_exchange_strong(&state, &now, state_starting))
        return true; // it arms itself
    return start();
}

// The child has neither the thread nor the timer, and is not registered.
void ptp_watch_fork_child(void)
{
    atomic_store(&ptp_watch_armed, 0);
    atomic_store(&ptp_membarrier_ready, false);
    atomic_store(&state, state_none);
}
