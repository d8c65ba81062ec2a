// SPDX-License-Identifier: ISC
//
// Groups of workers (group.c): what kind of threads they are, how many there may be, and the work
// that they serve.
//
// Who may touch a field:
//
//   C    constant while the group exists
//   S    under ss.lock
//   S+   written under ss.lock, read without it as a hint
//   F    futex word: written under ss.lock, compared by the kernel

#ifndef SS_GROUP_H
#define SS_GROUP_H

#include "base/atomic.h"
#include "os/os.h"
#include "smolscale.h"

struct ss_runnable;
struct ss_spawner;
struct ss_worker;

// A set of workers of one kind and the runnables they serve: the default group, those that a user
// makes (smolscale_group_new), and one for each queue with dedicated workers. All but the dedicated
// ones share the CPUs.
struct ss_group {
    struct ss_group *next;     // S: all groups
    struct ss_runnable *owner; // C: of a dedicated group: what it serves, of which it is a part;
                               // NULL: any other
    unsigned max_workers;      // S: threads at most
    unsigned max_idle;     // S: idle workers kept at most; SMOLSCALE_UNLIMITED: see ss_idle_time()
    uint64_t idle_timeout; // S: ns; 0: see ss_idle_time(); SS_FOREVER: idle workers do not end
    size_t stack_size;     // C: bytes; 0: the C library's default
    struct ss_traits traits; // S: its workers' settings; constant while `settled`
    bool settled;            // S
    bool eager;              // S: a thread with these settings is kept while the group exists
    bool joined;             // S: its ended threads are joined by smolscale_group_free()
    bool ending;             // S: smolscale_group_free() has begun
    const struct ss_group *scheduled_as; // C: whose scheduling it takes; NULL: its own
    struct ss_spawner *spawner;          // S: the one with these settings; NULL: none (any more)
    unsigned ordered;                    // S: workers that the spawner is to create
    int create_error;                    // S: why the last order failed; 0: it did not
    unsigned counted;                    // S: of ss.busy, this group's part
    struct ss_worker *ended;             // S: the worker whose thread is to be joined
    unsigned leaving;                    // S: workers that will be `ended`
    unsigned coming; // S: workers of dissolved groups whose reserve it is, on their way to it
    _Atomic uint32_t ended_word; // F: of smolscale_group_free(): counts what has ended
    unsigned refs;               // S: owner, queues, workers; not of the default and dedicated ones
    struct ss_runnable *head;    // S: injection queue
    struct ss_runnable **tail_link; // S: the link at its end, unless it is empty
    _Atomic unsigned injected;      // S+: its length
    struct ss_worker *idle;         // S: parked workers, the last to park first
    unsigned idle_count;            // S
    unsigned kept;                  // S: of these, how many sleep without a time limit
    unsigned workers;               // S: all; those in creation included
    unsigned wanted;                // S: dedicated: how many there should be
    struct ss_group *reserve;       // C: of a dedicated group, with a reference: the group that its
                                    // workers come from and go back to; NULL: none
    uint64_t made_at;               // C: if it has a reserve: when it was made, ns
    unsigned blocked;               // S: workers known to be asleep in a job
    unsigned hogs;                  // S: workers known to have computed on one job for long
    unsigned arriving;              // S: woken or created, and not yet arrived
    _Atomic uint64_t comes_until;   // S+: until then one of these is in time, ns; 0: there is none
    unsigned growth; // S: workers added when the balancer last compensated, if they block
    unsigned ticks_since_blocked; // S: ticks since a worker was last found blocked; large: never
    _Atomic bool can_recruit;     // S+: ss_recruit() would find a worker
    _Atomic bool surplus;         // S+: a worker that finishes a job should leave
    bool spawn_requested;         // S: the balancer was asked to create a worker
    bool starting;  // S: a thread has found it without a worker, and is about to create one
    bool dissolved; // S: its queue is gone: workers leave
};

// ---- ss.lock held, except where noted

void ss_group_init(struct ss_group *group);
void ss_group_remove(struct ss_group *group);

// A dedicated group: `workers` threads that serve nothing but `owner`, of which it is a part. Where
// there is a reserve, they come from there and go back there, as far as they may.
void ss_group_init_dedicated(struct ss_group *group, struct ss_runnable *owner, unsigned workers,
                             struct ss_group *reserve);

// Would the group keep that worker, which has been a dedicated one, as an idle one of its own?
bool ss_group_keeps(const struct ss_group *reserve, const struct ss_worker *worker);

// Changes the number of a dedicated group's workers. Returns the parked ones that must be woken, to
// end or to park elsewhere, for ss_unpark_list(). If there are too few, ss_group_fill() follows.
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

// One worker more or less of the group.
void ss_group_count_worker(struct ss_group *group, int change);

// A reference less. At the last one the structure may be used for another group; it is never given
// back, so a pointer that has become stale is harmless. No lock held.
void ss_group_unref(struct ss_group *group);

// Refreshes the group's hints; after every change of what they depend on.
void ss_group_refresh(struct ss_group *group);

// Brings a dedicated group to the number of workers it wants. No lock held. 0 or a negative errno
// value.
int ss_group_fill(struct ss_group *group);

#endif // SS_GROUP_H
