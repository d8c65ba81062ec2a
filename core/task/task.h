// SPDX-License-Identifier: ISC
//
// What the parts of the task runtime share. Who does what:
//
//   task.c      a task from spawn to release: join, cancel, wakers; threads that wait like tasks
//   lane.c      run queues ("lanes") and the loop that polls
//   spread.c    how the balancer takes lanes from stuck workers, and spreads tasks over lanes
//   waitlist.h  how a task waits and is woken
//   reactor.c   descriptors
//   local.c     run queues that are a thread's own
//   slab.c      memory of tasks
//
// A *lane* is a run queue of tasks. A worker that finds one in the injection queue *serves* it, and
// is then the only one that touches the queue, without an atomic read-modify-write. There is one
// lane a CPU, but only as many are in use as pay.

#ifndef SS_TASK_H
#define SS_TASK_H

#include "os/fence.h"
#include "sched/duty.h"
#include "sched/executor.h"

#include <errno.h>

// Why a poll returned SMOLSCALE_PENDING; smolscale_cx.suspend.
enum ss_suspend {
    SS_SUSPEND_WAKER,   // it waits for a smolscale_waker
    SS_SUSPEND_YIELD,   // it lets others run first (the number stands in smolscale_async.h, too)
    SS_SUSPEND_LIST,    // it is on the waitlist `where`, whose lock is held
    SS_SUSPEND_UNBLOCK, // it is to be handed to the work queue `where`
    SS_SUSPEND_BUDGET,  // it has its result, and lets others run first
    SS_SUSPEND_YIELD_AWAITED // as a yield, and it wants a result (a number in smolscale.h, too)
};

// smolscale_task.ctl: flags, the number of interrupters at work (see waitlist.h), and the
// executor's generation: a task does not exist in children of fork(). So one comparison with
// ss_ctl_base() says that it may be polled.
#define SS_CTL_CANCELLED        1u
#define SS_CTL_TIMED_OUT        2u
#define SS_CTL_DEADLINE         4u // it has one
#define SS_CTL_FLAGS            (SS_CTL_CANCELLED | SS_CTL_TIMED_OUT | SS_CTL_DEADLINE)
#define SS_CTL_PIN              8u
#define SS_CTL_GENERATION_SHIFT 24

static inline unsigned ss_ctl_base(void)
{
    return ss.generation << SS_CTL_GENERATION_SHIFT;
}

static inline bool ss_ctl_exists(unsigned ctl)
{
    return (ctl ^ ss_ctl_base()) >> SS_CTL_GENERATION_SHIFT == 0;
}

// Not by a thread of the parent, which will not give it back here.
static inline bool ss_ctl_pinned(unsigned ctl)
{
    return (ctl & ((1u << SS_CTL_GENERATION_SHIFT) - 1)) >= SS_CTL_PIN && ss_ctl_exists(ctl);
}

// smolscale_task.wakes: of a smolscale_waker
enum { SS_WAKES_NONE, SS_WAKES_AWAITED, SS_WAKES_NOTIFIED };

// smolscale_task.join.lock, beside SS_LIST_HELD
#define SS_JOIN_ENDED    2u
#define SS_JOIN_RELEASED 4u // its handle was given back

#define SS_NO_TIMER UINT32_MAX

// Where a task must run, if not on any worker.
struct ss_home {
    void (*submit)(struct ss_home *home, struct smolscale_task *task);
    unsigned *waits; // counts the awaits of descriptors that its tasks are in; NULL: nobody asks
};

// Who is told of a task's end, by the runner, after it was published. Has the task's handle, and
// keeps it until it is told. Set before the task starts, or under the lock of `join`.
struct ss_owner {
    void (*ended)(struct ss_owner *owner, struct smolscale_task *task);
};

// Who may touch what: while it is polled, its runner; while it is on a waitlist, who holds the
// list's lock; after it was taken off, who did so, until it is in a run queue; there, who serves
// the queue. What others touch is atomic.
//
// The second part and the first 32 bytes of the frame are one cache line: all that a poll touches
// that does not wait.
struct smolscale_task {
    _Alignas(SS_CACHE_LINE) smolscale_waitlist join; // who waits for its end. `count`: wakers, and
                                                     // one until it is ended and released; atomic
    void *slot; // what the one who wakes it may use, see ss_wait(); link in the slab's lists
    struct smolscale_task *wait_prev; // set exactly while it is on a waitlist
    struct ss_home *home;             // NULL: any worker
    struct ss_owner *owner;           // or NULL
    uint64_t deadline;                // of its awaits, ns; 0: none; the runner's
    _Atomic uint32_t timer;           // place in the timer heap, or SS_NO_TIMER; the timers' lock
    _Atomic uint8_t wakes;            // SS_WAKES_*
    _Atomic bool joined;
    bool sleeping;                // its timer ends a sleep; the timers' lock
    unsigned char size_class : 7; // the slab's; constant
    bool deadline_tried : 1;      // an await was begun under the deadline; the runner's

    struct smolscale_task *next; // in a run queue, an inbox or a waitlist
    smolscale_poll_fn *poll;
    _Atomic(void *) parked; // the waitlist it is suspended on, SS_PARKED_WAKER, or NULL
    _Atomic unsigned ctl;   // SS_CTL_*
    int result;             // of the await it is in; of the task, once it has ended
};
_Static_assert(offsetof(struct smolscale_task, next) == SS_CACHE_LINE,
               "what a poll touches begins a cache line");

// What a task takes beside its frame. The structure is padded to whole cache lines; the frame
// begins before that.
#define SS_TASK_SIZE (offsetof(struct smolscale_task, result) + sizeof(int))
_Static_assert(SS_TASK_SIZE == 96, "the frame is aligned to 32 bytes");

#define SS_PARKED_WAKER ((void *)2)

static inline void *ss_frame(struct smolscale_task *task)
{
    return (char *)task + SS_TASK_SIZE;
}

// ---- lane.c

enum { SS_LANE_IDLE, SS_LANE_LISTED };

struct ss_lane {
    struct ss_runnable runnable; // in the injection queue while nobody serves it and it is not idle

    // ---- the serving worker's, between ss_section_enter() and ss_section_leave()
    struct smolscale_task *slot; // runs next, at most SS_SLOT_RUNS times in a row
    struct smolscale_task *head, *tail;
    unsigned slot_runs;
    _Atomic unsigned length; // tasks in slot and queue; others read it as a hint

    // ---- everybody's
    _Alignas(SS_CACHE_LINE) _Atomic(struct smolscale_task *) inbox; // last in, first out
    _Atomic unsigned state;
    _Atomic uint64_t called_at;      // when a worker was woken for it, ns; 0: none had to be
    _Atomic(struct ss_lane *) order; // the balancer asks the server to give tasks to that lane
    _Atomic unsigned order_count;    // as many

    // ---- ss.lock
    struct ss_worker *worker;       // who serves it
    struct ss_worker *retaken_from; // may still be in a section on it: nobody may serve it yet; the
                                    // balancer's

    // ---- the balancer's notes; see spread.c
    const struct ss_worker *seen_worker;
    uint64_t seen_progress, seen_since, seen_taken;
    uint64_t stuck_cpu;  // CPU time of a server that has begun nothing since, ns; 0: it has
    uint64_t retaken_at; // ns
    bool busy;           // served without a break since the look before
};

// The queue of a lane is guarded by a lock that is biased to its server (see "Lanes" in lane.c).
// NULL: the lane was taken from this worker while it was in a poll.
static inline struct ss_lane *ss_section_enter(struct ss_worker *worker)
{
    store_relaxed(&worker->in_section, true);
    ss_light_fence();
    return load_relaxed(&worker->lane);
}

static inline void ss_section_leave(struct ss_worker *worker)
{
    store_release(&worker->in_section, false);
}

static inline void ss_lane_append(struct ss_lane *lane, struct smolscale_task *task)
{
    task->next = NULL;
    if (lane->head)
        lane->tail->next = task;
    else
        lane->head = task;
    lane->tail = task;
}

static inline void ss_lane_count(struct ss_lane *lane, int change)
{
    store_relaxed(&lane->length, load_relaxed(&lane->length) + (unsigned)change);
}

// Gives a task that runs nowhere and is on no list to whoever shall poll it. Returns as
// ss_follow_up() does.
int ss_submit(struct smolscale_task *task);

// Makes a suspended task ready that the caller has the right to wake. From a task: it runs on the
// same worker, next if nothing else has been promised that, and nobody is signalled.
static inline void ss_schedule(struct smolscale_task *task)
{
    struct ss_worker *worker = ss_self;
    if (__builtin_expect(worker && !task->home, 1)) {
        struct ss_lane *lane = ss_section_enter(worker);
        if (__builtin_expect(lane != NULL, 1)) {
            if (!lane->slot)
                lane->slot = task;
            else
                ss_lane_append(lane, task);
            ss_lane_count(lane, 1);
            ss_section_leave(worker);
            return;
        }
        ss_section_leave(worker);
    }
    ss_submit(task);
}

// The same for a list, linked by `next`.
static inline void ss_schedule_list(struct smolscale_task *list)
{
    while (list) {
        struct smolscale_task *task = list;
        list = task->next;
        ss_schedule(task);
    }
}

// Puts a new task at the end of the queue that the calling worker serves; false: it serves none.
static inline bool ss_lane_append_own(struct ss_worker *worker, struct smolscale_task *task)
{
    struct ss_lane *lane = ss_section_enter(worker);
    if (lane) {
        ss_lane_append(lane, task);
        ss_lane_count(lane, 1);
    }
    ss_section_leave(worker);
    return lane != NULL;
}

// Polls a task once, on whatever thread, and suspends it. True: it wants to run again after others.
bool ss_poll_once(struct smolscale_task *task, smolscale_cx *cx);

// Suspends the task after a poll that returned SMOLSCALE_PENDING. From where this drops the list's
// lock (or sets the waker's state) the task is not the caller's any more, and may be gone. True: it
// is not suspended, and is to run again.
bool ss_suspend(struct smolscale_task *task, smolscale_cx *cx);

// Gives what the calling worker serves, if anything, to others, because it is about to wait in the
// kernel.
void ss_lane_hand_over(void);

// What a worker keeps of tasks. Handed down before it keeps anything.
extern const struct ss_worker_duty ss_task_worker_duty;

#define SS_LANES_MAX 256

struct ss_lanes {
    struct ss_lane
        *lane[SS_LANES_MAX]; // the first is static, others made when first used; never freed
    _Atomic unsigned count;
    _Atomic(struct ss_lane *) entrance; // where tasks go that come from elsewhere; a hint
    _Atomic bool single;                // no second one is ever used
    unsigned retaken;                   // lanes taken from a server that is still in a section on
                                        // them; the balancer's
    _Atomic uint64_t served;            // how often one began to
};
extern struct ss_lanes ss_lanes;

// One more, idle; NULL: no memory. The balancer only.
struct ss_lane *ss_lane_add(void);

// Brings a lane to a worker that the caller has turned from IDLE to LISTED, or has taken from its
// server. 0, or a negative errno value: no worker can be had.
int ss_lane_list(struct ss_lane *lane);

// Takes the lane from its server, who is told when it next enters a section. ss.lock held.
void ss_lane_detach(struct ss_lane *lane);

void ss_lanes_after_fork(void);

// ---- spread.c, on the balancer

// Has the balancer look at the lanes from now on.
void ss_lanes_be_watched(void);
void ss_rebalance_after_fork(void);

// ---- task.c

// A new task, not scheduled; NULL: no memory.
struct smolscale_task *ss_task_new(smolscale_poll_fn *poll, const void *frame, size_t size,
                                   struct ss_home *home);

// Gives a new task of ss_task_new() to whoever shall poll it, as smolscale_spawn() does. Between
// the two calls it is the caller's. ss_first_use() comes before both.
int ss_task_start(struct smolscale_task *task);
void ss_first_use(void);

void ss_task_after_fork(void);

// The runner's: the task has returned `result`.
void ss_task_end(struct smolscale_task *task, int result);

// Why the task, whose ctl is not 0, waits no more; 0: it may. See ss_interrupted().
int ss_why_interrupted(struct smolscale_task *task, unsigned ctl);
int ss_why_await_ends(struct smolscale_task *task, unsigned ctl);

// Has the await that the task is in give `result`. The caller has set a flag and a pin in ctl, and
// this gives the pin back.
void ss_interrupt(struct smolscale_task *task, int result);

// ---- unblock.c

// The runner's: pushes the suspended task to the queue. True: it is not suspended, and is to run
// again.
bool ss_unblock_start(struct smolscale_task *task, void *queue);

// ---- timer.c

// The task has a deadline and is about to be suspended: sees to it that the deadline is in the
// heap. False: no memory.
bool ss_timer_arm(struct smolscale_task *task);

// The task's timer is taken out, and nobody is at work on it any more.
void ss_timer_disarm(struct smolscale_task *task);

// Takes a sleeping task's entry out; the timers' lock held.
void ss_timer_unsleep(struct smolscale_task *task);

// The interrupter's: if the task sleeps on the timers' list, it does not any more, and is woken.
bool ss_timer_wake_sleeper(struct smolscale_task *task, int result);

// Wakes what is due. When the next is; SS_FOREVER: there is none.
uint64_t ss_timers_fire(uint64_t now);

extern smolscale_waitlist ss_timers_list;

void ss_timers_after_fork(void);

// ---- reactor.c

// Schedules the tasks whose descriptors have events. Whether there were any.
bool ss_reactor_poll(void);

// In the seat (duty.h): sleeps until there are events (true), until ss_reactor_wake(), until `fd`
// can be read (-1: none), until now() is `until`, or for less. The caller looks in a loop.
bool ss_reactor_sleep(int fd, uint64_t until, bool *time_up);
void ss_reactor_wake(void);

// The task ends where it stands, and waits for nothing any more.
void ss_reactor_drop(struct smolscale_task *task);
void ss_reactor_after_fork(void);

// ---- slab.c; see also slab.h

// What the calling worker has put aside goes back to all.
void ss_slab_flush(struct ss_worker *worker);

// What the worker has put aside is nobody's: it begins with nothing.
void ss_slab_forget(struct ss_worker *worker);
void ss_slab_after_fork(void);

#endif // SS_TASK_H
