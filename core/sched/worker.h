// SPDX-License-Identifier: ISC
//
// Workers (worker.c): the threads that run jobs and tasks, how they sleep, and how they are woken.
//
// Who may touch a field:
//
//   C    constant while the worker lives
//   S    under ss.lock
//   Q    under the lock of the runnable that the worker serves
//   SQ   written under both locks, read under either
//   O    the worker's own thread
//   O+   written by the worker's own thread, read by all; O+S, O+Q: written by it under that lock
//   W    the thread that wakes it: from the moment at which it takes the worker off the idle list
//        under ss.lock, until it sets `park` to AWAKE
//   B    the balancer
//
// The parts begin at cache lines of their own: what other threads write seldom shares no line with
// what the owner writes often.

#ifndef SS_WORKER_H
#define SS_WORKER_H

#include "base/atomic.h"
#include "os/os.h"
#include "sched/costs.h"
#include "smolscale.h"

struct ss_group;
struct ss_runnable;
struct ss_runnable_ops;

// Bytes of a worker that belong to the queue room, for its batch and its notices. That room lies
// above this one, so its structure cannot be named here. queue/server.h defines it, asserts that it
// fits, and has the only function that gets at it. Storage and not a pointer, because `progress`
// and the next job to claim are written together, once a job: they share a cache line.
#define SS_WORKER_QUEUE_PART 600

// The same for the task room: task/part.h.
#define SS_WORKER_TASK_PART 448

struct ss_worker {
    // ---- what it does
    _Alignas(SS_CACHE_LINE) _Atomic uint64_t progress; // O+: jobs and runnables started
    _Atomic bool in_job; // O+: runs user code. A worker that sleeps with this false is inside of
                         // the executor, and must not be counted as blocked
    _Alignas(uint64_t) unsigned char queue_part[SS_WORKER_QUEUE_PART]; // the queue room's

    // ---- what it serves, and its sleep
    _Alignas(SS_CACHE_LINE) _Atomic uint32_t park; // enum ss_park; futex word. The owner writes it
                                                   // before it sleeps, its waker after that
    struct ss_runnable *serves;                    // O+S: taken last, with a reference
    _Atomic(const struct ss_runnable_ops *) serves_ops; // O+: of the same, or of what it served
                                                        // before
    _Atomic(struct ss_runnable *) counted_in; // O+Q: the same as `serves` while that counts it
                                              // among its workers
    struct ss_group *group;                   // S
    struct ss_worker *idle_next, *idle_prev;  // S, then W: in group->idle, while parked
    bool idle;                                // S: is in group->idle
    bool kept;                                // S: sleeps there without a time limit
    bool arriving;                            // S: woken or created and not yet arrived
    bool exit;                                // S: is to end
    bool exit_if_idle;                        // S: the same if it finds nothing when it arrives
    bool attends;                             // S: see duty.h
    _Atomic uint32_t activity;                // SQ: enum ss_activity
    bool inherits;                            // C: its creator has its group's settings
    bool joinable;                            // C: its thread was created so
    bool is_joined;                // O: its end is waited for; set when it leaves its group
    ss_thread thread;              // O: then of the thread that joins it
    bool blocked_last;             // O: its last job was found blocked: the next may be too
    unsigned blocking_depth;       // O: smolscale_blocking_begin() calls that are open
    unsigned generation;           // C: of the executor that made it; differs after fork()
    _Atomic pid_t tid;             // O+: 0 until it runs
    char name[16];                 // O: the thread's name, if set
    bool placed;                   // W: its CPUs were restricted for the wake; then O
    bool keep_away;                // W: it is to wake elsewhere than on its waker's CPU
    struct ss_placement placement; // W: how; then O
    uint64_t homed_at; // W: when it was woken on its waker's CPU, ns; 0: it was not; then O

    struct ss_worker *next;           // S: all workers, or the free list
    struct ss_worker **prev_link;     // S
    struct ss_worker *next_allocated; // C

    // ---- the task room's
    _Alignas(SS_CACHE_LINE) unsigned char task_part[SS_WORKER_TASK_PART];

    // ---- the balancer's notes
    _Alignas(SS_CACHE_LINE) uint64_t seen_progress; // B
    uint64_t seen_since;                            // B: when that progress was seen first, ns
    uint64_t seen_cpu;    // B: CPU time at the last look, ns; UINT64_MAX: not known
    uint64_t seen_cpu_at; // B
};

enum ss_park {
    SS_PARK_AWAKE,
    SS_PARK_PARKED,
    SS_PARK_SEATED, // parked in the seat (duty.h): woken by ss_seat_wake()
    SS_PARK_NAPPING,
};

// What the balancer found a worker to do.
enum ss_activity {
    SS_RUNNING,
    SS_BLOCKED, // asleep in its job: another may take its CPU
    SS_HOG,     // computing on one job for long: others may share its CPU
};

// What the publisher of new work must do after it has dropped its locks, so that the work is not
// forgotten.
enum ss_follow_up {
    SS_DO_NOTHING,     // nothing: a worker that is on its way will see the work
    SS_WAKE_BALANCER,  // wake the balancer: busy workers will come to the work, unless they are
                       // stuck
    SS_HURRY_BALANCER, // have the balancer look now: it was asked for a worker
    SS_CREATE_WORKER,  // create a worker: there is none
};

// The worker that the calling thread is; NULL elsewhere.
extern SS_THREAD_LOCAL struct ss_worker *ss_self;

// ---- ss.lock held, except where noted

// Adds a runnable at the end of the injection queue.
void ss_inject(struct ss_group *group, struct ss_runnable *runnable);

// Moves a runnable that is in the injection queue to its front.
void ss_inject_first(struct ss_group *group, struct ss_runnable *runnable);

// Picks a parked worker to be woken for work that was published before, under ss.lock, marks it
// awake and returns it: the caller drops its locks and calls ss_unpark(). NULL: *todo says why.
struct ss_worker *ss_recruit(struct ss_group *group, enum ss_follow_up *todo);

// Takes the worker that parked last, even if another is on its way; NULL if none is parked.
struct ss_worker *ss_take_idle(struct ss_group *group);

// The kernel half of a wake-up: of one worker, or of a list by idle_next. No lock held.
void ss_unpark(struct ss_worker *worker);
void ss_unpark_list(struct ss_worker *list);

// Follows up on what ss_recruit() returned. No lock held.
// Returns 0, or a negative errno value when there is no worker and none can be created.
int ss_follow_up(struct ss_group *group, struct ss_worker *wake, enum ss_follow_up todo);

// A new worker of the group, which counts as on its way; NULL: no memory. `inherits`: the thread
// that will call ss_start_worker() has the settings that the worker is to have, the signal mask
// apart.
struct ss_worker *ss_new_worker(struct ss_group *group, bool inherits);

// Starts its thread. No lock held. 0 or a negative errno value; the worker is gone then.
int ss_start_worker(struct ss_worker *worker);

// Waits for the end of a worker's thread that was found in group->ended. No lock held.
void ss_join_worker(struct ss_worker *worker);

// A worker that is counted in no runnable and has left user code ends what it did there. No lock
// held.
void ss_leave_job(struct ss_worker *worker);

// Notes what a worker does. The lock of the runnable that it is counted in, if any, and ss.lock
// held.
void ss_set_activity(struct ss_worker *worker, enum ss_activity activity);

// A worker that was found blocked or long computing has finished that job. The lock of the runnable
// that it is counted in held, ss.lock not.
void ss_resume_slow(struct ss_worker *worker);
static inline void ss_resume(struct ss_worker *worker)
{
    if (__builtin_expect(load_relaxed(&worker->activity) != SS_RUNNING, 0))
        ss_resume_slow(worker);
}

#endif // SS_WORKER_H
