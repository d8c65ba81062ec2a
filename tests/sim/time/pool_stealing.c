// SPDX-License-Identifier: ISC
//
// A yardstick: a work-stealing pool. A deque for each worker (Chase and Lev, 2005; with the orders
// of Le, Pop, Cohen and Zappa Nardelli, 2013), a shared queue for jobs from outside, and at most
// half of the workers searching at a time, each of which wakes another when it finds work, as tokio
// does it. A worker that comes to the shared queue takes its part of it into its own deque.

#include "../machine/sim.h"
#include "os/lock.h"
#include "os/memory.h"
#include "pool.h"

#define ROOM 256u

struct worker {
    _Alignas(SS_CACHE_LINE) _Atomic int64_t top;
    _Alignas(SS_CACHE_LINE) _Atomic int64_t bottom;
    _Atomic(struct sim_job *) jobs[ROOM];
    _Alignas(SS_CACHE_LINE) _Atomic uint32_t parked;
    unsigned id;
    uint64_t random;
};

SIM_STATE static struct {
    struct worker *workers;
    unsigned count;
    _Alignas(SS_CACHE_LINE) struct ss_lock lock; // of what follows
    struct sim_job *first, **end;
    unsigned sleepers[SIM_THREADS_MAX];
    unsigned sleeper_count;
    _Alignas(SS_CACHE_LINE) _Atomic unsigned length; // of the shared queue
    _Alignas(SS_CACHE_LINE) _Atomic unsigned searching;
    _Atomic unsigned awake;
} pool;

// ---- the deque

static bool deque_push(struct worker *self, struct sim_job *job)
{
    int64_t bottom = load_relaxed(&self->bottom), top = load_acquire(&self->top);
    if (bottom - top >= ROOM)
        return false;
    store_relaxed(&self->jobs[bottom % ROOM], job);
    store_release(&self->bottom, bottom + 1);
    return true;
}

static struct sim_job *deque_take(struct worker *self)
{
    int64_t bottom = load_relaxed(&self->bottom) - 1;
    store_relaxed(&self->bottom, bottom);
    fence_seq_cst();
    int64_t top = load_relaxed(&self->top);
    if (top > bottom) {
        store_relaxed(&self->bottom, bottom + 1);
        return NULL;
    }
    struct sim_job *job = load_relaxed(&self->jobs[bottom % ROOM]);
    if (top < bottom)
        return job;
    bool won = cas_strong_seq_cst(&self->top, &top, top + 1);
    store_relaxed(&self->bottom, bottom + 1);
    return won ? job : NULL;
}

static struct sim_job *deque_steal(struct worker *from)
{
    int64_t top = load_acquire(&from->top);
    fence_seq_cst();
    if (top >= load_acquire(&from->bottom))
        return NULL;
    struct sim_job *job = load_relaxed(&from->jobs[top % ROOM]);
    return cas_strong_seq_cst(&from->top, &top, top + 1) ? job : NULL;
}

// ---- sleepers

static void wake_one(void)
{
    fence_seq_cst();
    if (load_seq_cst(&pool.searching) > 0 || load_seq_cst(&pool.awake) == pool.count)
        return;
    struct worker *worker = NULL;
    ss_lock(&pool.lock);
    if (pool.sleeper_count > 0 && load_relaxed(&pool.searching) == 0) {
        worker = &pool.workers[pool.sleepers[--pool.sleeper_count]];
        fetch_add_seq_cst(&pool.searching, 1);
        fetch_add_seq_cst(&pool.awake, 1);
    }
    ss_unlock(&pool.lock);
    if (!worker)
        return;
    store_seq_cst(&worker->parked, 0);
    ss_os.futex_wake(&worker->parked, 1);
}

static bool any_work(void)
{
    if (load_seq_cst(&pool.length) > 0)
        return true;
    for (unsigned i = 0; i < pool.count; i++)
        if (load_seq_cst(&pool.workers[i].bottom) > load_seq_cst(&pool.workers[i].top))
            return true;
    return false;
}

// ---- the shared queue

static struct sim_job *take_shared(struct worker *self)
{
    if (load_relaxed(&pool.length) == 0)
        return NULL;
    ss_lock(&pool.lock);
    unsigned length = load_relaxed(&pool.length), part = length / pool.count + 1, taken = 0;
    struct sim_job *first = pool.first;
    part = part < ROOM / 2 ? part : ROOM / 2;
    for (; pool.first && taken < part; taken++) {
        struct sim_job *job = pool.first;
        pool.first = job->next;
        if (job != first && !deque_push(self, job)) {
            pool.first = job;
            break;
        }
    }
    if (!pool.first)
        pool.end = &pool.first;
    store_seq_cst(&pool.length, length - taken);
    ss_unlock(&pool.lock);
    return taken ? first : NULL;
}

// ---- a worker

static struct sim_job *search(struct worker *self)
{
    for (int round = 0; round < 4; round++) {
        self->random = sim_mix(self->random, self->id);
        unsigned from = (unsigned)(self->random % pool.count);
        for (unsigned i = 0; i < pool.count; i++) {
            struct worker *other = &pool.workers[(from + i) % pool.count];
            struct sim_job *job = other == self ? NULL : deque_steal(other);
            if (job)
                return job;
        }
        struct sim_job *job = take_shared(self);
        if (job)
            return job;
    }
    return NULL;
}

// True: it was searching when it was woken.
static void park(struct worker *self, bool searching)
{
    store_seq_cst(&self->parked, 1);
    ss_lock(&pool.lock);
    pool.sleepers[pool.sleeper_count++] = self->id;
    fetch_sub_seq_cst(&pool.awake, 1);
    bool last = searching && fetch_sub_seq_cst(&pool.searching, 1) == 1;
    ss_unlock(&pool.lock);
    fence_seq_cst();
    if (last && any_work())
        wake_one();
    while (load_acquire(&self->parked))
        ss_os.futex_wait_until(&self->parked, 1, SS_FOREVER);
}

static bool begin_search(void)
{
    if (2 * load_relaxed(&pool.searching) >= pool.count)
        return false;
    fetch_add_seq_cst(&pool.searching, 1);
    return true;
}

static void *work(void *arg)
{
    struct worker *self = arg;
    bool searching = false;
    for (unsigned turn = 1;; turn++) {
        struct sim_job *job = turn % 61 == 0 ? take_shared(self) : NULL;
        if (!job)
            job = deque_take(self);
        if (!job)
            job = take_shared(self);
        if (!job && (searching || (searching = begin_search())))
            job = search(self);
        if (!job) {
            park(self, searching);
            searching = true; // the thread that woke it has counted it
            continue;
        }
        if (searching && fetch_sub_seq_cst(&pool.searching, 1) == 1)
            wake_one();
        searching = false;
        sim_job_run(job);
    }
    return NULL;
}

static void open(unsigned queues, unsigned limit)
{
    (void)queues, (void)limit; // as many workers as CPUs, one shared queue
    pool.count = ss_os.cpu_count(NULL, 0);
    pool.end = &pool.first;
    store_relaxed(&pool.awake, pool.count);
    pool.workers = ss_allocate_aligned(SS_CACHE_LINE, pool.count * sizeof *pool.workers);
    for (unsigned i = 0; i < pool.count; i++) {
        pool.workers[i].id = i;
        pool.workers[i].random = i;
        store_relaxed(&pool.workers[i].top, 0);
        store_relaxed(&pool.workers[i].bottom, 0);
        store_relaxed(&pool.workers[i].parked, 0);
    }
    for (unsigned i = 0; i < pool.count; i++)
        SIM_CHECK(ss_os.thread_create(work, &pool.workers[i]) == 0, "no thread");
}

static void push(unsigned queue, struct sim_job *job)
{
    (void)queue;
    job->next = NULL;
    ss_lock(&pool.lock);
    *pool.end = job;
    pool.end = &job->next;
    store_seq_cst(&pool.length, load_relaxed(&pool.length) + 1);
    ss_unlock(&pool.lock);
    wake_one();
}

const struct sim_pool sim_pool_stealing = {"work-stealing", open, push};
