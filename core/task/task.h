// SPDX-License-Identifier: ISC
//
// A task, from spawn to release. The room, a header and its file each:
//
//   task        a task's life: spawn, end, join, release
//   poll        what happens at one poll of a task, and after it
//   waitlist    how a task waits and is woken
//   interrupt   how a wait is ended from outside: cancelling, the end of a deadline
//   waker       wakers, for code that is not written with awaitables
//   sleep       sleeps, intervals and deadlines
//   descriptor  awaiting descriptors
//   unblock     awaiting functions that block
//   lane        run queues ("lanes"), and the worker that serves one
//   spread      how the balancer takes lanes from stuck workers, and spreads tasks over lanes
//   thread      threads that wait like tasks
//   block_on    running an async function to its end from a thread
//   local       run queues that are a thread's own
//   immortal    tasks that begin anew when they end
//   supervise   reapers and nurseries, which hold tasks
//   slab        memory of tasks
//   part        what a worker keeps of all this
//
// Who may touch a task:
//
//   while it is                only this may touch it
//   -------------------------  ----------------------------------------------
//   new                        the thread that makes it
//   polled                     the thread that polls it (the *runner*)
//   on a waitlist              the holder of the list's lock
//   taken off, not yet queued  the thread that took it off
//   in an inbox, a run queue   the thread that empties the one, serves the other
//   ended                      the owner of its handle
//
// What other threads touch meanwhile is atomic. Letters for the fields: X what may touch the task,
// by the table; R its runner; J the lock of `join`; T the timers' lock; A atomic, anybody;
// C constant.

#ifndef SS_TASK_H
#define SS_TASK_H

#include "io/timer.h"
#include "sched/executor.h"

#include <errno.h>

// ctl: flags, the number of interrupters at work (see waitlist.h), and the executor's generation: a
// task does not exist in children of fork(). So one comparison with ss_ctl_base() says that it may
// be polled.
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

// join.lock, beside SS_BIT_HELD
#define SS_JOIN_ENDED    2u
#define SS_JOIN_RELEASED 4u // its handle was given back

// Where a task must run, if not on any worker.
struct ss_home {
    void (*submit)(struct ss_home *home, struct smolscale_task *task);
    unsigned *waits; // counts the awaits of descriptors that its tasks are in; NULL: not wanted
};

// What is told of a task's end, by the runner, after the end was published. It has the task's
// handle, and keeps it until it is told. Set before the task starts, or under the lock of `join`.
struct ss_owner {
    void (*ended)(struct ss_owner *owner, struct smolscale_task *task);
};

// The second part and the first 32 bytes of the frame are one cache line: all that a poll touches
// that does not wait.
struct smolscale_task {
    _Alignas(SS_CACHE_LINE)
        smolscale_waitlist join;      // J: what waits for its end. `count`, A: wakers,
                                      // and one until it is ended and released
    void *slot;                       // X: for the thread that wakes it, see ss_wait()
    struct smolscale_task *wait_prev; // X: set exactly while it is on a waitlist
    struct ss_home *home;             // X: NULL: any worker
    struct ss_owner *owner;           // J: or NULL
    uint64_t deadline;                // R: of its awaits, ns; 0: none
    struct ss_timer timer;            // T: ends a sleep, or is the deadline's
    _Atomic uint8_t wakes;            // A: enum ss_wakes
    _Atomic bool joined;              // A
    bool sleeping;                    // T: the timer ends a sleep
    unsigned char size_class : 6;     // C: the slab's
    bool deadline_tried : 1;          // R: an await was begun under the deadline
    bool deadline_armed : 1;          // R: the deadline has been in the timers' heap

    struct smolscale_task *next; // X: in a run queue, an inbox or a waitlist
    smolscale_poll_fn *poll;     // X
    _Atomic(void *) parked; // A, written by R: the waitlist it is suspended on, SS_PARKED_*, or
                            // NULL
    _Atomic unsigned ctl;   // A: SS_CTL_*
    int result;             // X: of the await it is in; of the task, once it has ended
};
_Static_assert(offsetof(struct smolscale_task, next) == SS_CACHE_LINE,
               "what a poll touches begins a cache line");

// What a task takes beside its frame. The structure is padded to whole cache lines; the frame
// begins before that.
#define SS_TASK_SIZE (offsetof(struct smolscale_task, result) + sizeof(int))
_Static_assert(SS_TASK_SIZE == 96, "the frame is aligned to 32 bytes");

// Suspended, but on no waitlist: until a waker wakes it, or its timer.
#define SS_PARKED_FOR_WAKER ((void *)2)
#define SS_PARKED_ASLEEP    ((void *)4)

static inline void *ss_frame(struct smolscale_task *task)
{
    return (char *)task + SS_TASK_SIZE;
}

// Field by field: gcc would clear the whole by a string instruction that costs as much as all the
// rest (bench/tasks, "spawn").
static inline void ss_task_init(struct smolscale_task *task, smolscale_poll_fn *poll,
                                struct ss_home *home)
{
    task->join = (smolscale_waitlist){.count = 1};
    task->wait_prev = NULL;
    task->home = home;
    task->owner = NULL;
    task->deadline = 0;
    ss_timer_init(&task->timer);
    store_relaxed(&task->wakes, 0);
    store_relaxed(&task->joined, false);
    task->sleeping = false;
    task->deadline_tried = task->deadline_armed = false;
    task->poll = poll;
    store_relaxed(&task->parked, NULL);
    store_relaxed(&task->ctl, ss_ctl_base());
}

// A new task, not scheduled; NULL: no memory.
struct smolscale_task *ss_task_new(smolscale_poll_fn *poll, const void *frame, size_t size,
                                   struct ss_home *home);

// Gives a new task of ss_task_new() to a lane, or to its home, as smolscale_spawn() does. Between
// the two calls it is the caller's. ss_first_use() comes before both.
int ss_task_start(struct smolscale_task *task);
void ss_first_use(void);

// The runner's: the task has returned `result`.
void ss_task_end(struct smolscale_task *task, int result);

// A reference less: the handle's, together with the runner's, or a waker's.
void ss_task_unref(struct smolscale_task *task);

#endif // SS_TASK_H
