// SPDX-License-Identifier: ISC
//
// Lanes: the run queues of tasks, the loop that polls what is in them, and how they change hands.
//
// A lane is *idle* (nothing in it), or it is in the injection queue of the shared group like a work
// queue that wants a worker, or a worker *serves* it. A task that is woken by a task goes to the
// lane that the waker's worker serves; one that is woken or spawned from elsewhere goes to a lane's
// *inbox*, and if the lane was idle, the lane into the injection queue. So tasks that talk to one
// another stay on one worker, and no thread is signalled.
//
// The biased lock. Only its server touches slot and queue of a lane, within a *section*, which
// costs it two plain stores: `in_section` set; light fence; look at worker->lane; work;
// `in_section` cleared. The balancer can take the lane away when the server is stuck in a poll,
// blocked or computing:
//
//     server                                   balancer (retake)
//     in_section = true                        worker->lane = NULL, under ss.lock
//     light fence                              heavy fence
//     lane = worker->lane                      in_section?  then the lane waits for a later look
//     ...                                      the lane is free for another worker
//     in_section = false (release)
//
//   Not both can read the old value: either the server sees NULL and keeps off, or the balancer
//   sees it inside and waits until it is out (acquire). While it waits no worker has the lane: the
//   balancer stays awake (is_wanted() in spread.c) until it has brought it to a worker.
//   tests/model/lane.pml checks this.
//
// Going idle. The server announces (state = IDLE, an exchange), then looks into the inbox; a
// thread that submits pushes (a CAS), then looks at the state. So one of them sees the other, and
// the one that turns IDLE into LISTED must bring the lane to a worker.
//
// While a lane is served the balancer looks at it every few ms (spread.c), for the server
// cannot say that it is stuck. That is all the supervision there is: a hop between two tasks
// announces nothing.

#include "task/lane.h"

#include "base/backoff.h"
#include "os/memory.h"
#include "task/poll.h"
#include "task/spread.h"
#include "trace/points.h"
#include "trace/pools.h"

#include <string.h>

#define SLOT_RUNS 3 // the next slot at most so often in a row, then one from the queue

// ---- bringing a lane to a worker

static void serve(struct ss_runnable *runnable, struct ss_worker *worker);
static void abandon(struct ss_runnable *runnable, struct ss_worker *worker);

// A lane has one server, and is in the injection queue only while it has none.
static unsigned demand(struct ss_runnable *runnable)
{
    (void)runnable;
    return 1;
}

static const struct ss_runnable_ops lane_ops = {
    .run = serve, .demand = demand, .abandon = abandon, .keeps_time = true};

static struct ss_lane first_lane = {.runnable = {.ops = &lane_ops}};

struct ss_lanes ss_lanes = {.lane = {&first_lane}, .count = 1, .submit_to = &first_lane};

struct ss_lane *ss_lane_add(void)
{
    unsigned count = load_relaxed(&ss_lanes.count);
    struct ss_lane *lane =
        count < SS_LANES_MAX ? ss_allocate_aligned(SS_CACHE_LINE, sizeof *lane) : NULL;
    if (!lane)
        return NULL;
    memset(lane, 0, sizeof *lane);
    lane->runnable = (struct ss_runnable){.ops = &lane_ops};
    ss_lanes.lane[count] = lane;
    store_release(&ss_lanes.count, count + 1);
    return lane;
}

bool ss_lane_taken_from(const struct ss_worker *worker)
{
    for (unsigned i = 0, count = load_relaxed(&ss_lanes.count); i < count; i++)
        if (ss_lanes.lane[i]->retaken_from == worker)
            return true;
    return false;
}

// Placing. This kernel likes to wake a worker on the waker's CPU, where it waits for milliseconds
// if the waker goes on computing. When one came late, those that are called in the next while are
// kept away from there; twice as long when that happens again soon.
static struct ss_backoff waker_cpu; // where no worker is to be woken for a while

static void judge_arrival(const struct ss_lane *lane, uint64_t now)
{
    uint64_t called_at = load_relaxed(&lane->called_at);
    if (called_at != 0 && now - called_at > ss_policy(late_ns) && !ss_backed_off(&waker_cpu, now))
        ss_back_off(&waker_cpu, now, SS_APART_MIN_NS, SS_APART_MAX_NS);
}

int ss_lane_list(struct ss_lane *lane)
{
    enum ss_follow_up todo;
    uint64_t now = ss_os.now();
    ss_lock(&ss.lock);
    ss_inject(&ss.shared, &lane->runnable);
    struct ss_worker *wake = ss_recruit(&ss.shared, &todo);
    store_relaxed(&lane->called_at, wake ? now : 0);
    if (wake && ss_backed_off(&waker_cpu, now))
        ss_keep_away(wake);
    ss_unlock(&ss.lock);
    return ss_follow_up(&ss.shared, wake, todo);
}

// Adds a chain of tasks, whose last is `last`. True: the lane was idle, and the caller must bring
// it to a worker.
static bool push_inbox(struct ss_lane *lane, struct smolscale_task *chain,
                       struct smolscale_task *last)
{
    struct smolscale_task *first = load_relaxed(&lane->inbox);
    do
        last->next = first;
    while (!cas_weak_seq_cst(&lane->inbox, &first, chain));
    // Pairs with give_up(): one of us sees the other.
    fence_after_rmw();
    unsigned idle = SS_LANE_IDLE;
    return load_relaxed(&lane->state) == SS_LANE_IDLE &&
           cas_strong_acq_rel(&lane->state, &idle, SS_LANE_LISTED);
}

// Where tasks go that come from elsewhere than from a task: a lane that is served anyway, if there
// is one, so that a low load keeps to few workers.
static struct ss_lane *lane_for_submission(void)
{
    struct ss_lane *lane = load_relaxed(&ss_lanes.submit_to);
    if (load_relaxed(&lane->state) == SS_LANE_LISTED)
        return lane;
    for (unsigned i = 0, count = load_acquire(&ss_lanes.count); count > 1 && i < count; i++) {
        struct ss_lane *other = ss_lanes.lane[i];
        if (load_relaxed(&other->state) != SS_LANE_LISTED)
            continue;
        store_relaxed(&ss_lanes.submit_to, other);
        return other;
    }
    return lane;
}

int ss_submit(struct smolscale_task *task)
{
    if (task->home) {
        task->home->submit(task->home, task);
        return 0;
    }
    struct ss_lane *lane = lane_for_submission();
    return push_inbox(lane, task, task) ? ss_lane_list(lane) : 0;
}

// ---- the server's side

// In a section. What others have submitted, in the order they came.
static void drain_inbox(struct ss_lane *lane)
{
    struct smolscale_task *task = exchange_acquire(&lane->inbox, NULL), *list = NULL, *last = task;
    if (!task)
        return;
    int n = 0;
    while (task) {
        struct smolscale_task *next = task->next;
        task->next = list;
        list = task;
        task = next;
        n++;
    }
    if (lane->head)
        lane->tail->next = list;
    else
        lane->head = list;
    lane->tail = last;
    ss_lane_count(lane, n);
}

// In a section. Takes the first of the queue, which is not empty.
static inline struct smolscale_task *pick_queued(struct ss_lane *lane)
{
    struct smolscale_task *task = lane->head;
    lane->head = task->next;
    lane->slot_runs = 0;
    if (lane->head)
        __builtin_prefetch(&lane->head->next);
    return task;
}

// In a section. NULL: there is none.
static inline struct smolscale_task *pick(struct ss_lane *lane)
{
    struct smolscale_task *task = lane->slot;
    if (task && (lane->slot_runs < SLOT_RUNS || !lane->head)) {
        lane->slot = NULL;
        lane->slot_runs++;
    } else if (lane->head) {
        task = pick_queued(lane);
    } else {
        return NULL;
    }
    ss_lane_count(lane, -1);
    return task;
}

// The next task to poll; `again`, if not NULL, goes to the end of the queue first. NULL: there is
// none, or the lane is not this worker's any more.
static inline struct smolscale_task *next_task(struct ss_worker *worker,
                                               struct smolscale_task *again)
{
    struct smolscale_task *task;
    struct ss_lane *lane = ss_section_enter(worker);
    if (__builtin_expect(!lane, 0)) {
        task = NULL;
    } else if (again) { // one comes and one goes: the count stays
        ss_lane_append(lane, again);
        if (lane->slot) {
            ss_lane_count(lane, 1);
            task = pick(lane);
        } else {
            task = pick_queued(lane);
        }
    } else {
        task = pick(lane);
        if (!task) {
            drain_inbox(lane);
            task = pick(lane);
        }
    }
    ss_section_leave(worker);
    return task;
}

// Makes the worker the lane's server.
static void attach(struct ss_worker *worker, struct ss_lane *lane)
{
    ss_lock(&ss.lock);
    lane->worker = worker;
    store_release(&ss_lane_server(worker)->lane, lane);
    ss_attend_begin(worker);
    ss_unlock(&ss.lock);
}

void ss_lane_detach(struct ss_lane *lane)
{
    store_relaxed(&ss_lane_server(lane->worker)->lane, NULL);
    ss_attend_end(lane->worker);
    lane->worker = NULL;
}

// Takes the lane from the calling worker. NULL: it was taken already.
static struct ss_lane *detach(struct ss_worker *worker)
{
    ss_lock(&ss.lock);
    struct ss_lane *lane = load_relaxed(&ss_lane_server(worker)->lane);
    if (lane)
        ss_lane_detach(lane);
    ss_unlock(&ss.lock);
    return lane;
}

// The lane is empty. True: it stays so, and is given up.
static bool give_up(struct ss_worker *worker)
{
    struct ss_lane *lane = detach(worker);
    if (!lane)
        return true;
    exchange_acq_rel(&lane->state, SS_LANE_IDLE);
    // Pairs with push_inbox().
    fence_after_rmw();
    unsigned idle = SS_LANE_IDLE;
    if (!load_relaxed(&lane->inbox) || !cas_strong_acq_rel(&lane->state, &idle, SS_LANE_LISTED))
        return true;
    attach(worker, lane);
    return false;
}

void ss_lane_hand_over(void)
{
    struct ss_lane *lane = ss_self ? detach(ss_self) : NULL;
    if (lane)
        ss_lane_list(lane); // even if it is empty: its next server finds out
}

static void end_serving(struct ss_worker *worker)
{
    ss_lane_server(worker)->task = NULL;
    ss_leave_job(worker);
    if (ss_is_observed())
        ss_note_end(ss_pool_find("tasks", NULL));
}

static void abandon(struct ss_runnable *runnable, struct ss_worker *worker)
{
    (void)runnable; // the worker may not have the lane any more
    struct smolscale_task *task = ss_lane_server(worker)->task;
    if (!task)
        return;
    struct ss_lane *lane = detach(worker);
    ss_task_end(task, -ECANCELED);
    end_serving(worker);
    if (lane)
        ss_lane_list(lane);
}

// In a section, where the balancer has asked for it: gives the front of the queue to another lane's
// inbox. Returns that lane if it must be brought to a worker.
static struct ss_lane *move_tasks(struct ss_lane *lane)
{
    struct ss_lane *other = exchange_acquire(&lane->move_to, NULL);
    if (!other)
        return NULL;
    struct smolscale_task *last = lane->head, *chain = NULL;
    unsigned left = load_relaxed(&lane->move_count), given = 0;
    for (; lane->head && given < left; given++) { // the inbox is read backwards
        struct smolscale_task *task = lane->head;
        lane->head = task->next;
        task->next = chain;
        chain = task;
    }
    if (!chain)
        return NULL;
    ss_lane_count(lane, -(int)given);
    return push_inbox(other, chain, last) ? other : NULL;
}

// ---- the loop

// What a server attends to every 10 µs or so, beside polling.
struct attention {
    uint64_t slice_start, looked_at;
    unsigned interval; // polls
};

// The number of polls until it is due again; 0: the worker is wanted elsewhere.
static unsigned begin_attention(struct attention *a)
{
    a->slice_start = a->looked_at = ss_os.now();
    a->interval = 1;
    return a->interval;
}

// As many polls until the next look as fit into SS_ATTEND_NS: fewer at once where they are long,
// more step by step.
static void adapt(struct attention *a, uint64_t now)
{
    uint64_t took = now - a->looked_at;
    if (took > 2 * SS_ATTEND_NS)
        a->interval = 1 + (unsigned)(a->interval * SS_ATTEND_NS / took);
    else if (took < SS_ATTEND_NS * 3 / 4 && a->interval < SS_ATTEND_POLLS)
        a->interval *= 2;
    a->looked_at = now;
}

static unsigned attend(struct ss_worker *worker, struct attention *a)
{
    uint64_t now = ss_os.now();
    adapt(a, now);
    if (now >= ss_next_due())
        ss_fire(now);
    ss_events_attend(now);
    struct ss_lane *lane = ss_section_enter(worker), *other = NULL;
    if (lane) {
        if (load_relaxed(&lane->inbox))
            drain_inbox(lane);
        if (load_relaxed(&lane->move_to))
            other = move_tasks(lane);
    }
    ss_section_leave(worker);
    if (other)
        ss_lane_list(other);
    if (now - a->slice_start < SS_SLICE_NS)
        return a->interval;
    a->slice_start = now;
    bool stay = load_relaxed(&ss.shared.injected) == 0 && !load_relaxed(&ss.shared.surplus);
    return stay ? a->interval : 0;
}

static void begin_serving(struct ss_worker *worker, struct ss_lane *lane, uint64_t now)
{
    judge_arrival(lane, now);
    ss_lanes_be_watched();
    ss_worker_duty_is(&ss_task_part_duty);
    store_relaxed(&lane->move_to, NULL); // that was asked of the server before
    store_relaxed(&lane->runnable.taken, load_relaxed(&lane->runnable.taken) + 1);
    attach(worker, lane);
    fetch_add_relaxed(&ss_lanes.served, 1);
    ss_wake_balancer_for_lanes(); // it looks while lanes are served: spread.c
    ss_forget_blocked(&worker->doing);
    store_relaxed(&worker->in_job, true);
    if (ss_is_observed())
        ss_note_start(ss_pool_find("tasks", NULL), 0, false);
}

// Nothing is left to poll, or the lane was taken from the worker; only then is there a task that
// wants to run again. True: there may be something to poll now.
static bool find_more(struct ss_worker *worker, struct smolscale_task *again)
{
    if (again && !load_relaxed(&ss_lane_server(worker)->lane))
        ss_submit(again);
    if (ss_events_awaited() && ss_events_poll())
        return true;
    return !give_up(worker);
}

// The worker is wanted elsewhere.
static void leave_to_others(struct ss_worker *worker, struct smolscale_task *again)
{
    if (again && !ss_lane_append_own(worker, again))
        ss_submit(again);
    ss_lane_hand_over();
}

static void serve(struct ss_runnable *runnable, struct ss_worker *worker)
{
    unsigned generation = ss.generation;
    struct attention attention;
    unsigned left = begin_attention(&attention);
    begin_serving(worker, (struct ss_lane *)runnable, attention.looked_at);
    smolscale_cx cx;
    struct smolscale_task *again = NULL;
    while (left > 0) {
        struct smolscale_task *task = next_task(worker, again);
        if (__builtin_expect(!task, 0)) {
            if (generation != ss.generation) // this is the child of a fork() in a poll
                break;
            if (!find_more(worker, again))
                break;
            again = NULL;
            continue;
        }
        count_owned(&worker->progress);
        ss_lane_server(worker)->task = task;
        again = ss_poll(task, &cx) ? task : NULL;
        if (__builtin_expect(--left > 0, 1))
            continue;
        left = attend(worker, &attention);
        if (left == 0)
            leave_to_others(worker, again);
    }
    end_serving(worker);
}

static void after_fork(void)
{
    waker_cpu = (struct ss_backoff){0};
    ss_lanes.retaken = 0;
    for (unsigned i = 0; i < load_relaxed(&ss_lanes.count); i++) {
        memset(ss_lanes.lane[i], 0, sizeof *ss_lanes.lane[i]);
        ss_lanes.lane[i]->runnable = (struct ss_runnable){.ops = &lane_ops};
    }
}

unsigned smolscale_running_threads(void)
{
    return load_relaxed(&ss_duties.attendants);
}

void smolscale_permanently_single_threaded(void)
{
    store_relaxed(&ss_lanes.single, true);
}

SS_ROOM(task_lane, NULL, after_fork);
