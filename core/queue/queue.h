// SPDX-License-Identifier: ISC
//
// The work queue's structure. Private to queue/; the public functions are in smolscale.h.
//
// The first line of each comment names what guards the field:
//
//   C  nothing: constant after creation
//   L  the family's lock, `runnable.lock`: that of the head (the parent) and of all its children
//   l  written under that lock; read without it as a hint
//   S  ss.lock
//   A  nothing: atomic

#ifndef SS_QUEUE_H
#define SS_QUEUE_H

#include "queue/items.h"
#include "sched/executor.h"

struct ss_batch;

// How often something is passed over that did not pay.
struct ss_trial {
    unsigned penalty, skip;
};

struct smolscale_queue {
    struct ss_runnable runnable;         // in the injection queue while `listed`
    void (*notify)(void *whom);          // C
    smolscale_queue *parent;             // C: NULL, or the head of the family
    smolscale_queue *children, *sibling; // L: of a parent
    struct ss_items items;               // L
    _Atomic size_t pending;              // l: items
    _Atomic unsigned room;               // l: how many more may start, the parent's limit apart
    unsigned max_active;                 // L
    unsigned active;  // L: workers serving it; a parent counts its children's too
    unsigned blocked; // L: of these, known to be asleep in a job (likewise)
    bool
        listed; // L: in the injection queue, or just taken out by a worker that is about to lock it
    bool closed;                                  // L: no more pushes
    bool done;                                    // L: closed, and its last job has run
    unsigned waiters;                             // L: threads in smolscale_queue_wait()
    struct ss_batch *oldest_batch, *newest_batch; // L: of those of two jobs and more
    struct ss_worker *napper;                     // L
    uint64_t dry_since;                           // L: when a worker left it last, ns
    bool steady;                                  // L: jobs keep coming
    struct ss_trial nap, linger;                  // L
    unsigned wakes_saved;                         // L: not yet added to the counters
    uint64_t taken_at;                            // L: when a worker last took jobs, ns
    unsigned pushes_since_take;                   // L
    uint64_t pushed_at;                           // L: a recent push, ns
    uint64_t mean;              // L: of recent jobs' duration, ns * 256; 0: not known
    _Atomic uint32_t idle_word; // l: futex word of the waiters: counts the times it became idle

    smolscale_run_fn *run;              // C
    void *user_data;                    // C
    void (*closed_fn)(void *user_data); // L
    void *closed_data;                  // L
    unsigned flags;                     // C
    char name[16];                      // C
    struct ss_group *group;             // C
    struct ss_group own_group;          // S: with dedicated workers
    struct ss_lock own_lock;

    struct ss_elastic elastic;          // S
    smolscale_queue *next, **prev_link; // S: all queues
};

_Static_assert(offsetof(smolscale_queue, runnable) == 0, "ss_queue_of() relies on it");

static inline smolscale_queue *ss_queue_of(struct ss_runnable *runnable)
{
    return (smolscale_queue *)runnable;
}

// fork(), in the child, when the groups are as new and the workers still as they were.
void ss_queues_after_fork(void);

#endif // SS_QUEUE_H
