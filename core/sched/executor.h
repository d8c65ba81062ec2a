// SPDX-License-Identifier: ISC
//
// What the parts of the executor share. Who does what:
//
//   runnable.h  what a worker can serve: work queues, lanes of tasks
//   group.c     groups of workers: their settings, limits and injection queues
//   worker.c    a worker from birth to its end; waking it
//   spawner.c   the threads that create workers, so that these inherit their group's settings
//   balancer.c  what one of these also does: it looks for blocked workers and stuck runnables
//
// Two kinds of locks. A runnable's lock guards its accounts. The executor's lock `ss.lock` guards
// everything else here. Order: the runnable's, then the executor's.

#ifndef SS_EXECUTOR_H
#define SS_EXECUTOR_H

#include "base/atomic.h"
#include "base/backoff.h"
#include "os/lock.h"
#include "os/os.h"
#include "process/options.h"
#include "sched/runnable.h"
#include "smolscale.h"

#include <pthread.h>

// What waking a sleeping worker costs in all, and hence what queued work must be worth to do it.
#define SS_WAKE_COST_NS 30000u

struct ss_lane;
struct smolscale_task;

// A set of workers of one kind and the runnables they serve: the default group, those that a user
// makes (smolscale_group_new), and one for each queue with dedicated workers. All but the dedicated
// ones share the CPUs. Guarded by ss.lock.
struct ss_group {
    struct ss_group *next;     // all groups
    struct ss_runnable *owner; // of a dedicated group: what it serves, and is a part of; else NULL
    unsigned max_workers;      // threads at most
    unsigned max_idle;         // idle workers kept at most; SMOLSCALE_UNLIMITED: see idle_time()
    uint64_t idle_timeout;     // ns; 0: see idle_time(); SS_FOREVER: idle workers do not end
    size_t stack_size;         // bytes; 0: the C library's default
    struct ss_traits traits;   // its workers' settings, once they are settled
    bool settled;
    bool eager;  // a thread with these settings is kept while the group exists
    bool joined; // its ended threads are joined by smolscale_group_free()
    bool ending; // smolscale_group_free() has begun
    const struct ss_group *scheduled_as; // whose scheduling it takes; NULL: its own
    struct ss_spawner *spawner;          // who has these settings; NULL: nobody (any more)
    unsigned ordered;                    // workers that the spawner is to create
    int create_error;                    // why the last order failed; 0: it did not
    unsigned counted;                    // of ss.busy, this group's part
    struct ss_worker *ended;             // whose thread is to be joined
    unsigned leaving;                    // workers that will be `ended`
    _Atomic uint32_t ended_word; // futex word of smolscale_group_free(): counts what has ended
    unsigned refs;               // owner, queues, workers; not of the default and dedicated ones
    struct ss_runnable *head, *tail; // injection queue
    _Atomic unsigned injected;       // its length; read without the lock as a hint
    struct ss_worker *idle;          // parked workers, the last to park first
    unsigned idle_count;
    unsigned untimed;         // of these, how many sleep without a time limit
    unsigned workers;         // all; those in creation included
    unsigned wanted;          // dedicated: how many there should be
    unsigned blocked;         // workers known to be asleep in a job
    unsigned hogs;            // workers known to have computed on one job for long
    unsigned waking;          // woken or created, and not yet arrived
    uint64_t waking_since;    // when the first of these was, ns
    unsigned growth;          // workers added when the balancer last compensated, if they block
    unsigned growth_age;      // ticks since a worker was last found blocked; large: never
    _Atomic bool can_recruit; // hint: ss_recruit() would find somebody
    _Atomic bool surplus;     // hint: a worker that finishes a job should leave
    bool spawn_requested;     // the balancer was asked to create a worker
    bool starting;            // whoever found it without a worker is about to create one
    bool dissolved;           // its queue is gone: workers leave
};

// A thread that creates workers, and has their settings because it was itself created by a thread
// that has them. It runs no job, so nothing of a job's is inherited. One of them balances.
struct ss_spawner {
    struct ss_spawner *next; // all; ss.lock
    struct ss_traits traits; // as it was created; constant
    _Atomic pid_t tid;       // set by the thread itself
    _Atomic uint32_t word;   // futex word: counts what it was asked for; written under ss.lock
    _Atomic uint32_t end;    // futex word, enum ss_spawner_end
    bool balances;           // has that role; ss.lock
};

// Memory for tasks that a worker has put aside, by size in cache lines; see slab.c.
#define SS_SLAB_CLASSES 16
struct ss_slab_cache {
    struct ss_block *first, *reserve;
    unsigned count, reserve_count;
};

// Bytes of a worker that belong to the queue room, for its batch and its notices. That room lies
// above this one, so its structure cannot be named here. queue/server.h defines it, asserts that it
// fits, and has the only function that gets at it. Storage and not a pointer, because `progress`
// and the next job to claim are written together, once a job: they share a cache line.
#define SS_WORKER_QUEUE_PART 600

struct ss_worker {
    // ---- what it does
    // Jobs and runnables started; the owner counts.
    _Alignas(SS_CACHE_LINE) _Atomic uint64_t progress;
    // True only while user code runs; the owner writes. A worker that sleeps with this false is
    // inside the executor and must not be counted as blocked.
    _Atomic bool in_job;
    _Alignas(uint64_t) unsigned char queue_part[SS_WORKER_QUEUE_PART]; // the queue room's

    // ---- what it serves, and its sleep
    _Alignas(SS_CACHE_LINE) _Atomic uint32_t park; // futex word, enum ss_park
    // What it took last out of the injection queue, with a reference. Written by the owner under
    // ss.lock.
    struct ss_runnable *serves;
    // The operations of the same, or of what it served before. Written by the owner; read by
    // anyone.
    _Atomic(const struct ss_runnable_ops *) serves_ops;
    // The same as `serves` while that counts it among its workers. Written by the owner under the
    // runnable's lock.
    _Atomic(struct ss_runnable *) counted_in;
    struct ss_group *group;                  // ss.lock
    struct ss_worker *idle_next, *idle_prev; // in group->idle, while parked
    bool idle;                               // is in group->idle; ss.lock
    bool untimed;                            // sleeps there without a time limit; ss.lock
    bool summoned;                           // woken or created and not yet arrived; ss.lock
    bool exit;                               // is to end; ss.lock
    bool exit_if_idle;         // the same if it finds nothing when it arrives; ss.lock
    _Atomic uint32_t activity; // enum ss_activity; both locks, see ss_set_activity()
    bool inherits;             // its creator has its group's settings; constant
    bool joinable;             // its thread was created so; constant
    bool is_joined;            // its end is waited for; set when it leaves its group
    pthread_t thread;          // set by the thread itself
    bool blocked_last;       // its last job was found blocked: the next may be too; the owner only
    unsigned blocking_depth; // smolscale_blocking_begin() calls that are open; the owner only
    unsigned generation;     // of the executor that made it; differs after fork()
    _Atomic pid_t tid;       // 0 until it runs
    char name[16];           // the thread's name, if set
    bool placed;    // its CPUs were restricted for the wake; written before `park` becomes AWAKE
    bool keep_away; // it is to wake elsewhere than on its waker's CPU; the waker's
    struct ss_placement placement; // how
    uint64_t homed_at;             // when it was woken on its waker's CPU, ns; 0: it was not

    struct ss_worker *next; // all workers, or the free list; ss.lock
    struct ss_worker **prev_link;
    struct ss_worker *next_allocated; // constant

    // ---- the lane of tasks that it serves; see task.h
    _Alignas(SS_CACHE_LINE) _Atomic bool in_section;
    _Atomic(struct ss_lane *) lane; // NULL: none, or it was taken away; changed under ss.lock
    struct smolscale_task *task;    // that it polls; the owner only
    struct ss_slab_cache cache[SS_SLAB_CLASSES + 1]; // memory for tasks; the owner only

    // ---- the balancer's notes, its own
    _Alignas(SS_CACHE_LINE) uint64_t seen_progress;
    uint64_t seen_since; // when that progress was seen first, ns
    uint64_t seen_cpu;   // CPU time at the last look, ns; UINT64_MAX: not known
    uint64_t seen_cpu_at;
};

enum ss_park {
    SS_PARK_AWAKE,
    SS_PARK_PARKED,
    SS_PARK_SEATED, // parked in the reactor's seat (reactor.c): woken by ss_reactor_wake()
    SS_PARK_NAPPING,
};

// What the balancer found a worker to do.
enum ss_activity {
    SS_RUNNING,
    SS_BLOCKED, // asleep in its job: another may take its CPU
    SS_HOG,     // computing on one job for long: others may share its CPU
};

enum ss_balancer_state {
    SS_BALANCER_NONE,   // no such thread (yet, or it could not be created)
    SS_BALANCER_PARKED, // asleep until somebody needs it
    SS_BALANCER_SEATED, // the same, or until a descriptor has an event (reactor.c)
    SS_BALANCER_AWAKE,  // looks, or sleeps until its next look
    SS_BALANCER_KICKED, // is to look now
};

// What the publisher must do after unlocking so that the work is not forgotten; see ss_follow_up().
enum ss_cover {
    SS_COVERED, // a worker that is on its way will see it
    SS_WATCH,   // busy workers will come to it, unless they are stuck: the balancer must be awake
    SS_KICK,    // the balancer was asked for a worker: it must look now
    SS_NOBODY,  // there is no worker at all
};

struct ss_executor {
    struct ss_lock lock;
    _Atomic bool started;
    unsigned generation;       // counts fork()s
    _Atomic unsigned cpus;     // that it plans with; changed under `lock`
    _Atomic uint64_t cpus_due; // when the balancer is to count them anew, ns; 0: no balancer yet
    unsigned max_threads;
    struct ss_elastic *elastic; // all
    struct ss_group shared;     // the default group
    unsigned shared_workers;    // of all groups but the dedicated ones
    unsigned busy;              // of these, the sum of ss_group_busy()
    unsigned eager_groups;
    unsigned frees;                 // smolscale_group_free() calls under way; ss.lock
    struct ss_spawner *spawners;    // all
    struct ss_group *groups;        // all
    struct ss_worker *workers;      // all that live
    struct ss_worker *free_workers; // never given back: a late wake may touch one
    struct ss_worker *allocated;    // all that there ever were; only grows
    _Atomic(struct ss_worker *)
        keeper;                    // the parked worker that looks after timers; set under `lock`
    _Atomic uint64_t keeper_until; // when it wakes by itself, ns; set before `keeper`
    _Atomic uint32_t balancer;     // enum ss_balancer_state; futex word
    _Atomic uint32_t
        spawn_answers;        // futex word: counts the orders for workers that were dealt with
    uint64_t create_retry_at; // after a failure no attempt before this time, ns
    unsigned waiting;         // threads that wait for spawn_answers; ss.lock
    struct {
        _Atomic uint64_t jobs, wakes, wakes_saved, naps, ticks, takebacks, compensations;
        _Atomic uint64_t workers_created, workers_retired, create_failures;
        _Atomic unsigned workers, workers_peak;
    } stats;
};

extern struct ss_executor ss;

// Changes at run time: read once for one decision.
static inline unsigned ss_cpus(void)
{
    return load_relaxed(&ss.cpus);
}

// The worker that the calling thread is; NULL elsewhere.
extern SS_THREAD_LOCAL struct ss_worker *ss_self;

// ---- executor.c

// Starts the executor if it has not started. Cheap afterwards.
void ss_start_slow(void);
static inline void ss_start(void)
{
    if (__builtin_expect(!load_acquire(&ss.started), 0))
        ss_start_slow();
}

// Counts the CPUs anew, if they are counted at all (SMOLSCALE_WORKERS). No lock held.
void ss_count_cpus(void);

// ---- group.c. ss.lock held, except where noted.

void ss_group_init(struct ss_group *group);
void ss_group_remove(struct ss_group *group);

// A dedicated group: `workers` threads that serve nothing but `owner`, of which it is a part.
void ss_group_init_dedicated(struct ss_group *group, struct ss_runnable *owner, unsigned workers);

// Changes the number of a dedicated group's workers. Returns a list (by idle_next) of parked ones
// that must be woken to end; if there are too few, ss_group_fill() follows.
struct ss_worker *ss_group_want(struct ss_group *group, unsigned workers);

// The owner of a dedicated group ends: so do the workers. Returns as ss_group_want(). The caller
// has a reference to the owner.
struct ss_worker *ss_group_dissolve(struct ss_group *group);

// Takes the settings of the calling thread for the group's workers, unless it has some. No lock
// held.
void ss_group_settle(struct ss_group *group);

static inline bool ss_same_scheduling(const struct ss_traits *a, const struct ss_traits *b)
{
    return a->policy == b->policy && a->priority == b->priority && a->nice == b->nice;
}

// May the group have another worker? A group that has none always may.
static inline bool ss_group_can_grow(const struct ss_group *group)
{
    if (group->owner || group->ending)
        return false;
    return group->workers == 0 ||
           (group->workers < group->max_workers && ss.shared_workers < ss.max_threads);
}

// One worker more or less of the group.
void ss_group_count_worker(struct ss_group *group, int change);

// A reference more.
static inline void ss_group_ref(struct ss_group *group)
{
    if (group != &ss.shared)
        group->refs++;
}

// A reference less. At the last one the structure may be used for another group; it is never given
// back, so a pointer that has become stale is harmless. No lock held.
void ss_group_unref(struct ss_group *group);

// fork(), in the child.
void ss_groups_after_fork(void);

// ---- spawner.c

// The spawner that the calling thread is; NULL elsewhere.
extern SS_THREAD_LOCAL struct ss_spawner *ss_spawner_self;

// Creates the balancer if there is none. No lock held. 0 or a negative errno value.
int ss_start_balancer(void);

// Sees to it that there is a thread that has the group's settings, if the caller has them. No lock
// held. 0 or a negative errno value.
int ss_group_start_spawner(struct ss_group *group);

// Has the group's spawner create `count` workers more; the balancer, if it is the balancer's
// business, must be kicked, or be the caller. ss.lock held.
void ss_spawner_order(struct ss_group *group, unsigned count);

// There is no worker at all: creates one, or has one created and waits for the outcome. No lock
// held. 0 or a negative errno value.
int ss_group_first_worker(struct ss_group *group);

// Creates what was ordered of the calling spawner. No lock held.
void ss_spawner_serve(void);

// For the balancer. Passes its role on to a spawner that is better at it: true. No lock held.
bool ss_hand_over(void);

// Has somebody asked it to end?
bool ss_balancer_is_asked(void);

// Does nothing but what it may watch itself keep it from ending? ss.lock held.
bool ss_balancer_at_rest(void);

// Ends it if it is at rest and `resign`, called under ss.lock, gives up the role: true. Otherwise
// whoever asked it to end is told that it is needed. No lock held.
bool ss_balancer_end(bool (*resign)(void));

// Is there an order that the calling spawner has to deal with? ss.lock held.
bool ss_spawner_has_orders(void);

// The last worker of a group that was freed from within has left. ss.lock held.
void ss_spawner_group_left(struct ss_group *group);

// The end of smolscale_group_free(), which has counted itself in ss.frees. Ends the spawners that
// no group needs, and waits for their threads' end, that of the balancer included if there is
// nothing to watch. No lock held.
void ss_spawners_retire(void);

// fork(), in the child.
void ss_spawners_after_fork(void);

// ---- worker.c

// All of these: ss.lock held, except ss_unpark() and where noted.

// Adds a runnable at the end (or the front) of the injection queue.
void ss_inject(struct ss_group *group, struct ss_runnable *runnable);

// Picks a parked worker to be woken for work that was published before, under ss.lock, marks it
// awake and returns it: the caller drops its locks and calls ss_unpark(). NULL: *cover says why.
struct ss_worker *ss_recruit(struct ss_group *group, enum ss_cover *cover);

// Takes the parked worker that parked last, whoever else is on the way; NULL if there is none.
struct ss_worker *ss_summon(struct ss_group *group);

// The kernel half of a wake-up. No lock held.
void ss_unpark(struct ss_worker *worker);

// A new worker of the group, which counts as on its way; NULL: no memory. `inherits`: the thread
// that will call ss_start_worker() has the settings that the worker is to have, the signal mask
// apart.
struct ss_worker *ss_new_worker(struct ss_group *group, bool inherits);

// Starts its thread. No lock held. 0 or a negative errno value; the worker is gone then.
int ss_start_worker(struct ss_worker *worker);

// Waits for the end of a worker's thread that was found in group->ended. No lock held.
void ss_join_worker(struct ss_worker *worker);

// Wakes parked workers, the coldest first, until `kept` are left: to end, or to park again by new
// rules. No lock held.
void ss_group_dismiss(struct ss_group *group, unsigned kept, bool to_end);

// Ends all workers that run no job, those included that are on their way and will find nothing. No
// lock held.
void ss_group_retire_idle(struct ss_group *group);

// Ends all workers, each when its job has ended. No lock held.
void ss_group_send_away(struct ss_group *group);

// Workers that run no job and were not called for one.
unsigned ss_group_jobless(const struct ss_group *group);

// Hogs that others may share the CPUs with, a CPU: with their own worker that makes four.
#define SS_HOGS_PER_CPU 3u

// Workers of the group that have a claim to a CPU of their own.
static inline unsigned ss_group_busy(const struct ss_group *group)
{
    unsigned most = SS_HOGS_PER_CPU * ss_cpus();
    unsigned hogs = group->hogs < most ? group->hogs : most;
    return group->workers - group->idle_count - group->blocked - hogs;
}

// How many of them the executor aims at: as many as there are CPUs that the other groups leave, and
// at least one.
static inline unsigned ss_group_limit(const struct ss_group *group)
{
    if (group->owner)
        return SMOLSCALE_UNLIMITED;
    unsigned others = ss.busy - group->counted;
    return ss_cpus() > others + 1 ? ss_cpus() - others : 1;
}

// fork(), in the child, when the groups are as new: the calling thread, if it was a worker, is the
// only one now. The structures of the others serve again.
void ss_workers_after_fork(void);

// A worker that is counted in no runnable and has left user code ends what it did there. No lock
// held.
void ss_worker_out_of_job(struct ss_worker *worker);

// Sends parked workers of a dedicated group away of which it has more than it wants. Returns a list
// (by idle_next) of those that must be woken to end.
struct ss_worker *ss_group_shrink(struct ss_group *group);

// Wakes the workers of a list (by idle_next). No lock held.
void ss_unpark_list(struct ss_worker *list);

// Brings a dedicated group to the number of workers it wants. No lock held. 0 or a negative errno
// value.
int ss_group_fill(struct ss_group *group);

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

// Refreshes the group's hints; after every change of what they depend on.
void ss_group_refresh(struct ss_group *group);

// How many workers the runnables of the injection queue could use.
unsigned ss_group_demand(const struct ss_group *group);

// Moves a runnable that is in the injection queue to its front.
void ss_inject_first(struct ss_group *group, struct ss_runnable *runnable);

// Follows up on what ss_recruit() returned. No lock held.
// Returns 0, or a negative errno value when there is no worker and none can be created.
int ss_follow_up(struct ss_group *group, struct ss_worker *wake, enum ss_cover cover);

// ---- balancer.c. No lock held.

// Makes sure the balancer looks at what the caller has just published (after an atomic
// read-modify-write that follows the publication, see fence_after_rmw()).
void ss_watch_slow(void);
static inline void ss_watch(void)
{
    // Publish, fence, look for the sleeper; the balancer announces its sleep, fences, looks for
    // work (balancer.c, "Going to sleep").
    fence_after_rmw();
    if (__builtin_expect(load_relaxed(&ss.balancer) < SS_BALANCER_AWAKE, 0))
        ss_watch_slow();
}

// The same, but starts no balancer if there is none.
void ss_watch_if_running(void);

// Makes the balancer look now.
void ss_kick_balancer(void);

// Balances until the role goes to another spawner, or there is nothing left to do: true then, and
// the thread is to end.
bool ss_balance(void);

void ss_balancer_after_fork(void);

#endif // SS_EXECUTOR_H
