// SPDX-License-Identifier: ISC
//
// What the parts of the executor share. Who does what:
//
//   queue.c     work queues: push, cancel, limits, and serving one (on a worker)
//   group.c     groups of workers: their settings, limits and injection queues; what is public of
//   them worker.c    a worker from birth to its end; waking it spawner.c   the threads that create
//   workers, so that these inherit the settings of their group balancer.c  what one of these also
//   does: watch for blocked workers, stuck queues, growth executor.c  the whole: start, fork,
//   counters
//
// Two locks. A work queue's lock (shared by a family: a queue and its children) guards the queue.
// The executor's lock `ss.lock` guards everything else here. Order: queue before executor. Neither
// is held while a job runs or a thread is woken.

#ifndef SS_EXECUTOR_H
#define SS_EXECUTOR_H

#include "base/atomic.h"
#include "os/lock.h"
#include "os/os.h"
#include "process/options.h"
#include "queue/items.h"
#include "smolscale.h"

#include <pthread.h>

// What waking a sleeping worker costs in all, and hence what queued work must be worth to do it.
#define SS_WAKE_COST_NS 30000u

// Jobs a worker takes at once, by number and by expected duration.
#define SS_BATCH_MAX 64u
#define SS_BATCH_NS  10000u

// Consumers that a worker may owe a notice at a time, and for how long it should.
#define SS_OWED_MAX 4u
#define SS_OWED_NS  50000u

struct ss_worker;
struct ss_lane;
struct smolscale_task;

// Something a worker can run: a work queue that wants to be served (or a task).
struct ss_runnable {
    struct ss_runnable *next;
    void (*run)(struct ss_runnable *runnable, struct ss_worker *worker);
    // How many workers it could use now. A hint, read without the lock that guards the answer.
    unsigned (*hunger)(struct ss_runnable *runnable);
    smolscale_queue
        *queue; // if it is a work queue: the queue, of which the injection queue has a reference
    _Atomic uint64_t taken; // counts what of it was begun; who guards it writes
    uint64_t seen_taken;    // the balancer's notes
    uint64_t stalled_since; // ns; 0: not seen yet
};

// A set of workers of one kind and the runnables they serve: the default group, those that a user
// makes (smolscale_group_new), and one for each queue with dedicated workers. All but the dedicated
// ones share the CPUs. Guarded by ss.lock.
struct ss_group {
    struct ss_group *next;   // all groups
    smolscale_queue *owner;  // of a dedicated group; NULL: any other
    unsigned max_workers;    // threads at most
    unsigned max_idle;       // idle workers kept at most; SMOLSCALE_UNLIMITED: see idle_time()
    uint64_t idle_timeout;   // ns; 0: see idle_time(); SS_FOREVER: idle workers do not end
    size_t stack_size;       // bytes; 0: the C library's default
    struct ss_traits traits; // its workers' settings, once they are settled
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

struct ss_worker {
    // ---- the batch: jobs taken from a queue and not yet started. See "Batches" in queue.c.
    _Alignas(SS_CACHE_LINE) _Atomic uint32_t batch_next; // next to claim
    _Atomic uint32_t batch_end; // jobs in the batch; written under the queue's lock
    _Atomic uint64_t progress;  // jobs and runnables started; the owner counts
    _Atomic bool
        in_job; // runs user code; the owner writes. Asleep elsewhere it waits for a lock of ours
    void *batch[SS_BATCH_MAX];
    _Atomic(void *) owed[SS_OWED_MAX]; // notices that are due soon; see "Notices" in queue.c
    unsigned owed_count;               // the owner only
    _Atomic uint64_t owed_since;       // ns; the owner writes
    struct ss_worker *batcher_next, *batcher_prev; // among workers with batches; the queue's lock

    // ---- what it serves, and its sleep
    _Alignas(SS_CACHE_LINE) _Atomic uint32_t park; // futex word, enum ss_park
    smolscale_queue *queue; // popped last, with a reference; written by the owner under ss.lock
    _Atomic(smolscale_queue *) job_queue; // the same while counted in its `active`; written by the
                                          // owner under the queue's lock
    struct ss_group *group;               // ss.lock
    struct ss_worker *idle_next, *idle_prev; // in group->idle, while parked
    bool idle;                               // is in group->idle; ss.lock
    bool untimed;                            // sleeps there without a time limit; ss.lock
    bool summoned;                           // woken or created and not yet arrived; ss.lock
    bool exit;                               // is to end; ss.lock
    bool exit_if_idle;         // the same if it finds nothing when it arrives; ss.lock
    _Atomic uint32_t standing; // enum ss_standing; changed under the queue's lock and ss.lock
    bool inherits;             // its creator has its group's settings; constant
    bool joinable;             // its thread was created so; constant
    bool is_joined;            // its end is waited for; set when it leaves its group
    pthread_t thread;          // set by the thread itself
    bool blocked_last;       // its last job was found blocked: the next may be too; the owner only
    unsigned blocking_depth; // smolscale_blocking_begin() calls that are open; the owner only
    unsigned generation;     // of the executor that made it; differs after fork()
    uint64_t batch_progress; // `progress` when the running batch was begun; the owner only
    uint64_t batch_start;    // when the running batch was begun, ns; the owner only
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
enum ss_standing {
    SS_RUNNING,
    SS_BLOCKED, // asleep in its job: another may take its CPU
    SS_HOG,     // computing on one job for long: others may share its CPU
};

// How often something is passed over that did not pay.
struct ss_trial {
    unsigned penalty, skip;
};

struct smolscale_queue {
    struct ss_runnable runnable;         // in the injection queue while `listed`
    struct ss_lock *lock;                // own_lock, or the parent's
    smolscale_queue *parent;             // NULL, or the head of the family
    smolscale_queue *children, *sibling; // of a parent

    // ---- guarded by the lock
    struct ss_items items;
    _Atomic size_t pending; // items; read without the lock as a hint
    _Atomic unsigned room;  // how many more may start, the parent's limit apart; likewise
    _Atomic bool attended;  // those who serve it will do, by the economics of waking; likewise
    unsigned max_active;
    unsigned active;  // workers serving it; a parent counts its children's too
    unsigned blocked; // of these, known to be asleep in a job (likewise)
    bool listed;      // in the injection queue, or just popped by a worker that is about to look
    bool closed;      // no more pushes
    bool done;        // closed, and its last job has run
    unsigned waiters; // threads in smolscale_queue_wait()
    struct ss_worker *batchers; // workers that hold a batch of more than one, the oldest first
    struct ss_worker *batchers_tail;
    struct ss_worker *napper;
    uint64_t dry_since; // when a worker left it last, ns
    bool steady;        // jobs keep coming; with the next two: see "Naps" in queue.c
    struct ss_trial nap, linger;
    unsigned wakes_saved; // not yet added to the counters
    uint64_t taken_at;    // when a worker last took jobs, ns
    unsigned pushes_since_take;
    uint64_t pushed_at;         // a recent push, ns
    uint64_t mean;              // of recent jobs' duration, ns * 256; 0: not known
    _Atomic uint32_t idle_word; // futex word of the waiters: counts the times it became idle

    // ---- constant, or set once
    smolscale_run_fn *run;
    void *user_data;
    void (*notify)(void *whom);
    void (*closed_fn)(void *user_data);
    void *closed_data;
    unsigned flags;
    char name[16];
    struct ss_group *group;
    struct ss_group own_group; // with dedicated workers
    struct ss_lock own_lock;

    // ---- the executor's
    _Atomic unsigned refs; // owner, injection queue, serving workers, dedicated workers, visits
    smolscale_queue *next, **prev_link; // all queues; ss.lock
};

enum ss_balancer_state {
    SS_BALANCER_NONE,   // no such thread (yet, or it could not be created)
    SS_BALANCER_PARKED, // asleep until somebody needs it
    SS_BALANCER_SEATED, // the same, or until a descriptor has an event (reactor.c)
    SS_BALANCER_AWAKE,  // looks, or sleeps until its next look
    SS_BALANCER_KICKED, // is to look now
};

// What holds for work that was just published.
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
    unsigned elastic_queues; // queues with SMOLSCALE_QUEUE_ELASTIC
    struct ss_group shared;  // the default group
    unsigned shared_workers; // of all groups but the dedicated ones
    unsigned busy;           // of these, the sum of ss_group_busy()
    unsigned eager_groups;
    unsigned frees;                 // smolscale_group_free() calls under way; ss.lock
    struct ss_spawner *spawners;    // all
    struct ss_group *groups;        // all
    struct ss_worker *workers;      // all that live
    struct ss_worker *free_workers; // never given back: a late wake may touch one
    struct ss_worker *allocated;    // all that there ever were; only grows
    smolscale_queue *queues;        // all
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

// A time for which something that did not pay is left alone: twice as long each time that it
// happens again soon.
struct ss_pause {
    _Atomic uint64_t until, length; // ns
};

static inline bool ss_paused(const struct ss_pause *pause, uint64_t now)
{
    return now <= load_relaxed(&pause->until);
}

static inline void ss_pause(struct ss_pause *pause, uint64_t now, uint64_t shortest,
                            uint64_t longest)
{
    uint64_t length = load_relaxed(&pause->length);
    bool again = now - load_relaxed(&pause->until) < 4 * length;
    length = again ? length * 2 : shortest;
    length = length < longest ? length : longest;
    store_relaxed(&pause->length, length);
    store_relaxed(&pause->until, now + length);
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

void ss_group_init(struct ss_group *group, smolscale_queue *owner);
void ss_group_remove(struct ss_group *group);

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

// Takes it out again. False: it is not there, a worker has taken it.
bool ss_uninject(struct ss_group *group, struct ss_runnable *runnable);

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

// Gives the calling worker's thread a name, of at most 15 bytes and zero behind it; not if it is
// empty. No lock held.
void ss_name_worker(struct ss_worker *worker, const char name[16]);

// A worker that is in no queue's job any more ends what it did, and its standing with it. No lock
// held.
void ss_worker_out_of_job(struct ss_worker *worker);

// Sends parked workers of a dedicated group away of which it has more than it wants. Returns a list
// (by idle_next) of those that must be woken to end.
struct ss_worker *ss_group_shrink(struct ss_group *group);
void ss_unpark_list(struct ss_worker *list); // no lock held

// Brings a dedicated group to the number of workers it wants. No lock held. 0 or a negative errno
// value.
int ss_group_fill(struct ss_group *group);

// Notes what a worker does. The lock of the queue that it serves, if any, and ss.lock held.
void ss_set_standing(struct ss_worker *worker, enum ss_standing standing);

// Refreshes the group's hints; after every change of what they depend on.
void ss_group_refresh(struct ss_group *group);

// How many workers the runnables of the injection queue could use.
unsigned ss_group_hunger(const struct ss_group *group);

// Moves a runnable that is in the injection queue to its front.
void ss_inject_first(struct ss_group *group, struct ss_runnable *runnable);

// Follows up on what ss_recruit() and ss_queue_offer() returned. No lock held.
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

// ---- queue.c

void ss_queue_unref(smolscale_queue *queue);

// Puts what the worker has not started of its batch back into the queue. Queue's lock held. True if
// there was something.
bool ss_recall_batch(smolscale_queue *queue, struct ss_worker *worker);

// Sees to it that a queue that may start more jobs is in the injection queue, and likewise its
// family. Queue's lock held. Returns a worker to unpark, or NULL.
struct ss_worker *ss_queue_offer(smolscale_queue *queue, enum ss_cover *cover);

// The same without waking anybody, for the balancer, who counts for himself.
void ss_queue_list(smolscale_queue *queue);

// May another of its jobs start? Queue's lock held.
bool ss_queue_may_start(const smolscale_queue *queue);

// Counts a serving worker as asleep (1) or no longer so (-1), for the queue and its parent. Queue's
// lock held.
void ss_queue_count_blocked(smolscale_queue *queue, int change);

// Jobs of its batch that the worker has not started: a hint unless the queue's lock is held.
unsigned ss_unclaimed(struct ss_worker *worker);

// Does it owe somebody a notice? A hint.
bool ss_owes(struct ss_worker *worker);

// Takes out whom it owes a notice, for the caller to call queue->notify with each. The owner, or
// with the lock held of the queue that it serves. Their number.
unsigned ss_take_notices(struct ss_worker *worker, void *whom[SS_OWED_MAX]);

// A worker that was found blocked or long computing has finished that job.
void ss_resume(struct ss_worker *worker);

// The worker's thread ends inside a job (pthread_exit): settles its account.
void ss_queue_abandon(struct ss_worker *worker);

// fork(), in the child.
void ss_queue_reset_after_fork(smolscale_queue *queue);

#endif // SS_EXECUTOR_H
