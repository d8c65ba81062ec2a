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
// Zero idle: it sleeps without a time limit until the first call after a quiet time wakes it, and
// then from look to look for as long as it finds a call in progress. It needs nothing but a thread
// and a futex, no timer or descriptor that the process could run out of. Where the thread cannot be
// had, the caller is told so, asks for all its helpers at once, and needs nobody who looks.
//
//   W1  No call goes unwatched. A caller sets BUSY, then reads `armed`; the watcher clears `armed`,
//       then looks at all doors once more. All four are sequentially consistent: if the caller saw
//       `armed` still set, the look comes later and finds BUSY.
//   W2  The watcher touches the call of a pool only while it is counted as present (D2 keeps the
//       call from ending), and counts itself only where READY is set.
//   W3  `armed` is the futex that the thread sleeps on: it sleeps only while the word is what it
//       looked for, and whoever changes the word wakes it. ENDING is set by ptp_watch_stop() alone,
//       when no pool is left, hence no caller; nothing but the thread's end replaces it.

#include "pool.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

enum { look_first_ms = 1, look_last_ms = 4, retry_ms = 1000 };

enum { WATCH_DISARMED, WATCH_ARMED, WATCH_ENDING };
_Atomic uint32_t ptp_watch_armed; // one of these
_Atomic bool ptp_membarrier_ready;
_Atomic uint64_t ptp_ticks_per_us = 2500;

// The thread's life, under `lock`; `running` is read without it.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool running;
static pthread_t thread;
static uint64_t retry_at; // monotonic ns: not started again before, if it could not be

// The thread's own.
static _Atomic uint32_t first_ms = look_first_ms;
static bool learnt;     // what a tick is
static bool registered; // for membarrier, or it is not to be used

// The unit of ticks(), from a stretch of at least a look.
static void learn_ticks(uint64_t passed, uint64_t ns)
{
#if defined(__aarch64__)
    uint64_t hz;
    (void)passed;
    (void)ns;
    __asm__ __volatile__("mrs %0, cntfrq_el0" : "=r"(hz));
    atomic_store(&ptp_ticks_per_us, hz / 1000000 ? hz / 1000000 : 1);
#else
    if (ns > 0 && passed * 1000 / ns > 0)
        atomic_store(&ptp_ticks_per_us, passed * 1000 / ns);
#endif
}

// Helps the pool if its call has not moved since the last look. True: help was sent. Sets `active`
// if the call may need some later.
static bool look_at(struct pthreadpool *pool, bool *active)
{
    uint64_t door = atomic_load(&pool->door);
    uint64_t before = pool->watch_door;
    pool->watch_door = door & ~(DOOR_CALL - 1);
    if (!(door & DOOR_BUSY))
        return false;
    if (ptp_is_drained(pool)) // all its items have begun: it may take as long as it wants
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

// Sleeps while `armed` has this value, until `deadline` (monotonic ns; 0: without limit). Woken,
// interrupted, changed or late: the caller looks again.
static void sleep_while(uint32_t value, uint64_t deadline)
{
    while (atomic_load(&ptp_watch_armed) == value) {
        if (deadline != 0 && monotonic_ns() >= deadline)
            return;
        futex_wait_until(&ptp_watch_armed, value, deadline);
    }
}

static void sleep_until_look(uint64_t ms)
{
    uint64_t start = ticks();
    uint64_t ns = monotonic_ns();
    sleep_while(WATCH_ARMED, ns + ms * 1000000);
    ns = monotonic_ns() - ns;
    if (learnt || ns < look_first_ms * 1000000)
        return;
    learnt = true;
    learn_ticks(ticks() - start, ns);
}

// Looks until no call is in progress, and disarms.
static void watch_calls(void)
{
    uint64_t ms = atomic_load_explicit(&first_ms, memory_order_relaxed);
    bool found = false; // something stood still since it was armed
    for (;;) {
        sleep_until_look(ms);
        bool active = false;
        if (look_at_all(&active)) {
            found = true;
            atomic_store_explicit(&first_ms, look_first_ms, memory_order_relaxed);
            ms = look_first_ms;
            continue;
        }
        if (!registered) { // nothing stands still: time for what takes long
            registered = true;
            atomic_store(&ptp_membarrier_ready, !smolscale_quiet() && membarrier_register());
        }
        if (active) {
            ms = ms < look_last_ms ? ms * 2 : look_last_ms;
            continue;
        }
        uint32_t armed = WATCH_ARMED;
        if (!atomic_compare_exchange_strong(&ptp_watch_armed, &armed, WATCH_DISARMED)) // W1
            return;
        look_at_all(&active);
        if (!active)
            break;
        armed = WATCH_DISARMED;
        atomic_compare_exchange_strong(&ptp_watch_armed, &armed, WATCH_ARMED);
        ms = atomic_load_explicit(&first_ms, memory_order_relaxed);
    }
    uint32_t next = atomic_load_explicit(&first_ms, memory_order_relaxed) * 2;
    if (!found && next <= look_last_ms)
        atomic_store_explicit(&first_ms, next, memory_order_relaxed);
}

static void *watch_thread(void *unused)
{
    (void)unused;
    if (!smolscale_quiet())
        prctl(PR_SET_NAME, "smolscale-watch");
    while (atomic_load(&ptp_watch_armed) != WATCH_ENDING) {
        sleep_while(WATCH_DISARMED, 0);
        watch_calls();
    }
    return NULL;
}

// ---------------------------------------------------------------------------------------------
// Its life
// ---------------------------------------------------------------------------------------------

static bool start(void)
{
    uint64_t now = monotonic_ns();
    if (now < retry_at)
        return false;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&thread, NULL, watch_thread, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0) {
        retry_at = now + retry_ms * UINT64_C(1000000);
        return false;
    }
    atomic_store(&running, true);
    return true;
}

// Called by a caller that found `armed` clear. False: there is no watcher.
bool ptp_watch_arm(void)
{
    if (ptp_unlikely(!atomic_load_explicit(&running, memory_order_acquire))) {
        pthread_mutex_lock(&lock);
        bool runs = atomic_load_explicit(&running, memory_order_relaxed) || start();
        pthread_mutex_unlock(&lock);
        if (!runs)
            return false;
    }
    if (atomic_exchange(&ptp_watch_armed, WATCH_ARMED) == WATCH_DISARMED)
        futex_wake(&ptp_watch_armed, 1);
    return true;
}

// No pool is left: the thread has ended when this returns.
void ptp_watch_stop(void)
{
    pthread_mutex_lock(&lock);
    if (atomic_load_explicit(&running, memory_order_relaxed)) {
        atomic_store(&ptp_watch_armed, WATCH_ENDING);
        futex_wake(&ptp_watch_armed, 1);
        pthread_join(thread, NULL);
        atomic_store(&ptp_watch_armed, WATCH_DISARMED);
        atomic_store(&running, false);
    }
    pthread_mutex_unlock(&lock);
}

void ptp_watch_before_fork(void)
{
    pthread_mutex_lock(&lock);
}

void ptp_watch_after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

// The child has no such thread, and is not registered.
void ptp_watch_fork_child(void)
{
    atomic_store(&ptp_watch_armed, WATCH_DISARMED);
    atomic_store(&ptp_membarrier_ready, false);
    atomic_store(&running, false);
    registered = false;
    retry_at = 0;
    pthread_mutex_unlock(&lock);
}
