// SPDX-License-Identifier: ISC
//
// The page by which `smolscale top` looks at the process (page.h has its layout and its protocol).
// With SMOLSCALE_TOP=1 a thread is started when the process has its first worker. It makes the
// page, and then sleeps until a reader asks. Without the option there is neither page nor thread.
// With it no other thread does anything for it, unless a reader asks again and again: then some
// jobs are samples of how long jobs wait (queue/samples.h). That ends some seconds after the last
// look.
//
// If the thread or the page cannot be had, there is none, and SMOLSCALE_VERBOSE says why.
//
// It is there as long as the executor has threads: a program whose pools are gone may count its
// threads, or do what only a process of one thread may (unshare(2), setns(2)). So it is asked to
// leave when the executor comes to rest, and started again with the next worker. It leaves by
// itself, a moment after the last thread of the executor: nobody waits for it, because it may wait
// for the dynamic linker's lock, which the one who waits may have.
//
// A child of fork() has neither the mapping nor the thread; it makes its own at its first use.
// After exec() the thread is gone, by which a reader sees that the file is left over.

#include "process/page.h"

#include "os/options.h"
#include "os/process.h"
#include "os/shared.h"
#include "queue/view.h"
#include "sched/costs.h"
#include "sched/executor.h"
#include "sched/view.h"
#include "trace/points.h"
#include "trace/recent.h"

#include <stdio.h>
#include <string.h>

_Static_assert((unsigned)SS_WORKER_PARKED == SS_PAGE_PARKED &&
                   (unsigned)SS_WORKER_IN_JOB == SS_PAGE_IN_JOB,
               "the states are passed on as they are");
_Static_assert(sizeof(struct ss_page_worker) == 24 && sizeof(struct ss_page_queue) == 136 &&
                   sizeof(struct ss_page) % 8 == 0,
               "the layout has no holes that depend on the machine");

// Guards: L `lock`; T the thread; A atomic.
static struct {
    _Atomic bool wanted;     // A: the executor has threads
    struct ss_lock lock;     // orders coming and leaving, and the making of the file and the exit
    bool there;              // L: the thread is, or is about to be
    bool ended;              // L: the process exits: no file is made any more
    struct ss_shared shared; // L: written by the thread before it reads it without

    // T: how long jobs wait.
    uint64_t until;    // when that is of no interest any more, ns; 0: it is of none
    bool sampling;     // jobs that are pushed now become samples
    uint64_t paced_at; // when it was last decided whether they do, ns
    uint64_t pace_at;  // and is decided again
    uint64_t jobs;     // how many had run then
    struct ss_recent recent;
} page;

// ---- the body. By the thread.

static void write_counters(struct ss_page_body *body)
{
    struct smolscale_stats stats = {.size = sizeof stats};
    smolscale_get_stats(&stats);
    body->counters[SS_PAGE_JOBS] = stats.jobs;
    body->counters[SS_PAGE_WAKES] = stats.wakes;
    body->counters[SS_PAGE_WAKES_SAVED] = stats.wakes_saved;
    body->counters[SS_PAGE_NAPS] = stats.naps;
    body->counters[SS_PAGE_TICKS] = stats.ticks;
    body->counters[SS_PAGE_TAKEBACKS] = stats.takebacks;
    body->counters[SS_PAGE_COMPENSATIONS] = stats.compensations;
    body->counters[SS_PAGE_WORKERS_CREATED] = stats.workers_created;
    body->counters[SS_PAGE_WORKERS_RETIRED] = stats.workers_retired;
    body->counters[SS_PAGE_CREATE_FAILURES] = stats.create_failures;
    body->counters[SS_PAGE_WORKERS_PEAK] = stats.workers_peak;
}

static void write_queue(struct ss_page_queue *queue, const struct ss_queue_view *view)
{
    *queue = (struct ss_page_queue){
        .number = view->number,
        .parent = view->parent,
        .pending = view->pending,
        .ended = view->ended,
        .mean = view->mean,
        .active = view->active,
        .blocked = view->blocked,
        .max_active = view->max_active,
        .flags = view->flags | (view->seen ? 0 : SS_PAGE_UNSEEN),
    };
    struct ss_recent_times times = {.jobs = 0};
    if (page.until)
        ss_recent_of(&page.recent, view->pool, &times);
    queue->waits = times.jobs;
    queue->wait_p50 = times.p50;
    queue->wait_p99 = times.p99;
    queue->wait_max = times.max;
    memcpy(queue->name, view->name, sizeof queue->name);
    ss_process_object_of((void (*)(void))view->run, queue->object, sizeof queue->object);
}

static enum ss_page_kind kind_of(const struct ss_runnable_ops *ops)
{
    if (!ops)
        return SS_PAGE_NOTHING;
    if (ops->keeps_time)
        return SS_PAGE_TASKS;
    return ops->release ? SS_PAGE_QUEUE : SS_PAGE_LOOP;
}

// A queue of which a reference is held is where it was, so equal addresses mean the same queue.
static uint64_t number_of(const struct ss_runnable *runnable, const struct ss_queue_view *views,
                          unsigned count)
{
    for (unsigned i = 0; runnable && i < count; i++)
        if (views[i].runnable == runnable)
            return views[i].number;
    return 0;
}

static void write_worker(struct ss_page_worker *worker, const struct ss_worker_view *view)
{
    *worker = (struct ss_page_worker){
        .tid = view->tid,
        .state = (uint8_t)view->state,
        .serves = (uint8_t)kind_of(view->ops),
        .started = view->started,
    };
}

static void write_whole(struct ss_page_body *body, const struct ss_executor_view *view)
{
    body->workers = view->workers;
    body->parked = view->parked;
    body->blocked = view->blocked;
    body->hogs = view->hogs;
    body->arriving = view->arriving;
    body->groups = view->groups;
    body->injected = view->injected;
    body->cpus = view->cpus;
    body->balancer = view->balancer;
    body->elastic = smolscale_elastic();
}

static void write_body(struct ss_page_body *body)
{
    static smolscale_queue *queues[SS_PAGE_QUEUES];
    static struct ss_queue_view queue_views[SS_PAGE_QUEUES];
    static struct ss_worker_view worker_views[SS_PAGE_WORKERS];
    struct ss_executor_view whole;
    size_t all;
    unsigned count = ss_queues_hold(queues, SS_PAGE_QUEUES, &all);
    unsigned workers = ss_view_workers(worker_views, SS_PAGE_WORKERS, &whole);
    body->time = ss_os.now();
    body->queues = all;
    body->queue_count = count;
    body->worker_count = workers;
    write_whole(body, &whole);
    write_counters(body);
    for (unsigned i = 0; i < count; i++) {
        ss_queue_view(queues[i], &queue_views[i]);
        write_queue(&body->queue[i], &queue_views[i]);
    }
    for (unsigned i = 0; i < workers; i++) {
        write_worker(&body->worker[i], &worker_views[i]);
        body->worker[i].queue = number_of(worker_views[i].serves, queue_views, count);
    }
    for (unsigned i = 0; i < count; i++)
        ss_queue_unhold(queues[i]);
}

// ---- how long jobs wait. By the thread.

static void begin_times(uint64_t now)
{
    ss_recent_begin(&page.recent, now);
    ss_observe_in_part(true);
    page.sampling = true;
    page.paced_at = now;
    page.pace_at = now + SS_SAMPLES_ON_NS;
    page.jobs = ss_jobs_run();
}

static void end_times(void)
{
    ss_observe_in_part(false);
    ss_recent_end(&page.recent);
    page.until = 0;
}

// Always where jobs are few, else now and then.
static void pace(uint64_t now)
{
    if (now < page.pace_at)
        return;
    uint64_t jobs = ss_jobs_run() - page.jobs, elapsed = now - page.paced_at;
    bool many = jobs > elapsed / (SS_NS_PER_S / SS_SAMPLE_JOBS_MAX);
    page.sampling = !many || !page.sampling;
    ss_observe_samples(page.sampling);
    page.paced_at = now;
    page.jobs += jobs;
    page.pace_at = now + (!many           ? SS_SAMPLES_LOOK_NS
                          : page.sampling ? SS_SAMPLES_ON_NS
                                          : SS_SAMPLES_OFF_NS);
}

static bool end_times_if_over(uint64_t now)
{
    bool over = page.until && now >= page.until;
    if (over)
        end_times();
    return over;
}

// A reader looks, and may say that it will look again.
static void want_times(uint32_t again)
{
    uint64_t now = ss_os.now();
    end_times_if_over(now); // where looks follow each other await() may not come to it
    if (again == 0)
        return;
    if (!page.until)
        begin_times(now);
    uint32_t seconds = again < SS_PAGE_AGAIN_MAX ? again : SS_PAGE_AGAIN_MAX;
    uint64_t until = now + (seconds + SS_PAGE_GRACE_S) * SS_NS_PER_S;
    page.until = until > page.until ? until : page.until;
}

// Sleeps until there is another request, or nobody wants times any more. False: it cannot.
static bool await(_Atomic uint32_t *word, uint32_t request)
{
    if (!page.until)
        return ss_shared_wait(word, request, SS_FOREVER);
    uint64_t now = ss_os.now();
    if (end_times_if_over(now))
        return true;
    pace(now);
    uint64_t end = page.until < page.pace_at ? page.until : page.pace_at;
    return ss_shared_wait(word, request, end - now);
}

// ---- the thread

static void complain(int err)
{
    if (!ss_option(SS_OPTION_VERBOSE))
        return;
    char line[256];
    snprintf(line, sizeof line, "smolscale: SMOLSCALE_TOP: nothing to look at: %s\n",
             strerror(-err));
    ss_write_to_stderr(line);
}

// The page, with its head; NULL: there is none.
static struct ss_page *make(void)
{
    int err = 0;
    ss_lock(&page.lock);
    bool ended = page.ended;
    if (!ended)
        err = ss_shared_make(&page.shared, sizeof(struct ss_page));
    ss_unlock(&page.lock);
    if (err)
        complain(err);
    if (ended || err)
        return NULL;
    struct ss_page *made = page.shared.memory;
    made->head.size = sizeof *made;
    made->head.pid = page.shared.pid;
    made->head.tid = ss_os.thread_id();
    made->head.version = SS_PAGE_VERSION;
    fence_release(); // a reader that finds the magic finds the rest
    memcpy(made->head.magic, SS_PAGE_MAGIC, sizeof SS_PAGE_MAGIC);
    return made;
}

// Each fence orders what the kernel copies for a reader: pairs with those around the read of the
// body in cli/page.c. An odd number is seen before any part of the new body; the even one after
// all of it.
static void answer(struct ss_page *made, uint32_t request)
{
    want_times(load_relaxed(&made->head.again));
    uint32_t sequence = load_relaxed(&made->head.sequence);
    store_relaxed(&made->head.sequence, sequence | 1);
    fence_seq_cst();
    write_body(&made->body);
    fence_seq_cst();
    store_relaxed(&made->head.sequence, (sequence | 1) + 1);
    store_release(&made->head.answered, request);
    ss_shared_wake(&made->head.answered);
    if (page.until)
        ss_recent_turn(&page.recent, ss_os.now());
}

// `wanted` is looked at under the lock under which at_work() finds whether the thread is there. So
// one that is wanted again stays, or another is started.
static bool leave(bool at_once)
{
    ss_lock(&page.lock);
    bool leaves = at_once || !load_seq_cst(&page.wanted);
    if (leaves) {
        if (page.until)
            end_times();
        ss_shared_end(&page.shared, sizeof(struct ss_page));
        page.there = false;
    }
    ss_unlock(&page.lock);
    return leaves;
}

static void *page_main(void *unused)
{
    (void)unused;
    ss_os.name_thread("smolscale-top");
    struct ss_page *made = make();
    if (!made) {
        leave(true);
        return NULL;
    }
    // A reader that asks between the look and the sleep has changed the word, and so has at_rest():
    // the sleep does not begin.
    for (;;) {
        uint32_t request = load_acquire(&made->head.request);
        if (!load_seq_cst(&page.wanted) && leave(false))
            return NULL;
        if (request != load_relaxed(&made->head.answered))
            answer(made, request);
        else if (!await(&made->head.request, request))
            break;
    }
    leave(true);
    return NULL;
}

// ---- from the first worker to the end

static void at_exit(void)
{
    ss_lock(&page.lock);
    page.ended = true;
    ss_shared_remove(&page.shared);
    ss_unlock(&page.lock);
}

static void at_work(void)
{
    static _Atomic bool registered;
    if (load_relaxed(&page.wanted) || !ss_option(SS_OPTION_TOP) || smolscale_disabled() ||
        smolscale_quiet() || exchange_seq_cst(&page.wanted, true))
        return;
    ss_lock(&page.lock);
    bool there = page.there;
    page.there = true;
    ss_unlock(&page.lock);
    if (there)
        return;                               // it was to leave, and stays
    if (!exchange_seq_cst(&registered, true)) // once for all children: handlers survive fork()
        ss_process_at_exit(at_exit);
    // Signals are for the program's own threads.
    sigset_t mask;
    ss_os.block_signals(&mask);
    int err = ss_os.thread_create_small(page_main, NULL);
    ss_os.set_signal_mask(&mask);
    if (!err)
        return;
    complain(err);
    leave(true);
}

// Under the lock the mapping stays.
static void at_rest(void)
{
    if (!exchange_seq_cst(&page.wanted, false))
        return;
    ss_lock(&page.lock);
    struct ss_page *made = page.shared.memory;
    if (made) {
        fetch_add_seq_cst(&made->head.request, 1);
        ss_shared_wake(&made->head.request);
    }
    ss_unlock(&page.lock);
}

static void after_fork(void)
{
    store_relaxed(&page.wanted, false);
    page.there = false;
    ss_lock_reset(&page.lock);
    page.ended = false;
    page.shared = (struct ss_shared){.memory = NULL};
    ss_observe_in_part(false);
    page.until = 0;
    page.recent = (struct ss_recent){.turned_at = 0}; // its thread may have been in it
}

SS_ROOM_WITH(process_page, NULL, after_fork, .at_work = at_work, .at_rest = at_rest);
