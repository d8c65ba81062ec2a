// SPDX-License-Identifier: ISC
//
// Workers (worker.c): the threads that run jobs and tasks. A worker consists of parts. Each belongs
// to the file that is named with it, and only that file and its header touch what is in it.
//
// Who may touch a field:
//
//   C    constant while the worker lives
//   S    under ss.lock
//   Q    under the lock of the runnable that the worker serves
//   O    the worker's own thread
//   O+   written by the worker's own thread, read by all; O+S, O+Q: written by it under that lock
//   F    futex word: written by the worker before it sleeps, by its waker after that; see idle.c
//   P    a part: its header says
//
// The parts begin at cache lines of their own: what other threads write seldom shares no line with
// what the owner writes often.

#ifndef SS_WORKER_H
#define SS_WORKER_H

#include "base/atomic.h"
#include "os/os.h"
#include "sched/activity.h"
#include "sched/blocked.h"
#include "sched/idle.h"
#include "sched/placement.h"
#include "smolscale.h"

#include <stddef.h>

struct ss_group;
struct ss_runnable;
struct ss_runnable_ops;
struct ss_work_counters;

// Bytes of a worker that belong to the queue room, for its batch and its notices. That room lies
// above this one, so its structure cannot be named here. queue/server.h defines it, asserts that it
// fits, and has the only function that gets at it. Storage and not a pointer, because `progress`
// and the next job to claim are written together, once a job: they share a cache line.
#define SS_WORKER_QUEUE_PART 1120

// The same for the task room: task/part.h.
#define SS_WORKER_TASK_PART 448

struct ss_worker {
    // ---- what it runs
    _Alignas(SS_CACHE_LINE) _Atomic uint64_t progress; // O+: jobs and runnables started
    _Atomic bool in_job; // O+: runs user code. A worker that sleeps with this false is inside of
                         // the executor, and must not be counted as blocked
    _Alignas(uint64_t) unsigned char queue_part[SS_WORKER_QUEUE_PART]; // P: queue/server.h

    // ---- what it serves, and its sleep
    _Alignas(SS_CACHE_LINE) _Atomic uint32_t park; // F: enum ss_park
    bool attends;                                  // S: see duty.h
    bool exit;                                     // S: is to end; no dedicated worker looks at it
    bool exit_if_idle; // S until it has arrived, then O: the same if it finds nothing there
    struct ss_runnable *serves;                         // O+S: taken last, with a reference
    _Atomic(const struct ss_runnable_ops *) serves_ops; // O+: of the same, or of what it served
                                                        // before
    _Atomic(struct ss_runnable *) counted_in; // O+Q: the same as `serves` while that counts it
                                              // among its workers
    struct ss_group *group;                   // S
    struct ss_parking parking;                // P: idle.h

    // ---- what it is found to do, its life, and where it wakes
    struct ss_doing doing;     // P: activity.h
    bool inherits;             // C: its creator has its group's settings
    bool joinable;             // C: its thread was created so
    bool is_joined;            // O: its end is waited for; set when it leaves its group
    bool goes_back;            // C: dedicated: it may become one of the group's reserve
    bool lent;                 // S: has come from there
    bool forgotten;            // of smolscale_trim(): kept by nobody, and about to be freed
    ss_thread thread;          // O: then of the thread that joins it
    unsigned generation;       // C: of the executor that made it; differs after fork()
    _Atomic pid_t tid;         // O+: 0 until it runs
    char name[16];             // O: the thread's name, if set
    struct ss_slept slept;     // P: idle.h
    struct ss_placing placing; // P: placement.h

    struct ss_worker *next;            // S: in ss.active or ss.resting, or the free list
    struct ss_worker *prev;            // S
    bool rests;                        // S: it is in ss.resting
    struct ss_work_counters *counters; // C: where it counts (executor.h)
    struct ss_worker *next_allocated;  // C

    _Alignas(SS_CACHE_LINE) unsigned char task_part[SS_WORKER_TASK_PART]; // P: task/part.h

    _Alignas(SS_CACHE_LINE) struct ss_seen seen; // P: blocked.h
};

// A pusher, a waker and the balancer read `park` to `parking`: one line. The line of `progress`
// holds what is written once a job (queue/server.h).
_Static_assert(offsetof(struct ss_worker, doing) - offsetof(struct ss_worker, park) ==
                   SS_CACHE_LINE,
               "what wakers look at fills one cache line");

struct ss_worker_list {
    struct ss_worker *first, *last;
    unsigned count;
};

// ---- all workers that live. ss.lock held.
//
// In two lists. What rests has nothing to show to the balancer, however many there are: a parked
// worker, or one that is known to be blocked and from which all was taken back. The balancer moves
// it there when it finds it so (blocked.c). The worker itself, or a thread that finds that it runs,
// moves it back.

struct ss_worker *ss_first_worker(void);
struct ss_worker *ss_next_worker(const struct ss_worker *worker);

void ss_rest_worker(struct ss_worker *worker);
void ss_end_rest_slow(struct ss_worker *worker);
static inline void ss_end_rest(struct ss_worker *worker)
{
    if (__builtin_expect(worker->rests, 0))
        ss_end_rest_slow(worker);
}

// To the end of its list.
void ss_worker_to_end(struct ss_worker *worker);

// The worker that the calling thread is; NULL elsewhere.
extern SS_THREAD_LOCAL struct ss_worker *ss_self;

// A new worker of the group, which counts as on its way; NULL: no memory. `inherits`: the thread
// that will call ss_start_worker() has the settings that the worker is to have, the signal mask
// apart. ss.lock held.
struct ss_worker *ss_new_worker(struct ss_group *group, bool inherits);

// Starts its thread. No lock held. 0 or a negative errno value; the worker is gone then.
int ss_start_worker(struct ss_worker *worker);

// Waits for the end of a worker's thread that was found in group->ended. No lock held.
void ss_join_worker(struct ss_worker *worker);

// Gives the calling worker's thread a name, of at most 15 bytes and zero behind it; not if it is
// empty. No lock held.
void ss_name_worker(struct ss_worker *worker, const char name[16]);

// Ends what the balancer has found the worker to do, at the end of a job; see ss_resume_slow().
static inline void ss_resume(struct ss_worker *worker)
{
    if (__builtin_expect(ss_activity_of(&worker->doing) != SS_RUNNING, 0))
        ss_resume_slow(worker);
}

#endif // SS_WORKER_H
