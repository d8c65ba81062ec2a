// SPDX-License-Identifier: ISC
//
// Spawners (spawner.c): the threads that create workers.
//
// Who may touch a field:
//
//   C    constant while the spawner exists
//   S    under ss.lock
//   S+   written under ss.lock, read without it
//   O+   written by its own thread, read by all

#ifndef SS_SPAWNER_H
#define SS_SPAWNER_H

#include "base/atomic.h"
#include "os/os.h"

struct ss_group;

// A thread that creates workers, and has their settings because it was itself created by a thread
// that has them. It runs no job, so nothing of a job's is inherited. One of them balances.
struct ss_spawner {
    struct ss_spawner *next; // S: all
    struct ss_traits traits; // C: as it was created
    _Atomic pid_t tid;       // O+
    _Atomic uint32_t word;   // S+: futex word: counts what it was asked for
    _Atomic uint32_t end;    // S+: futex word, enum ss_spawner_end; written without ss.lock only in
                             // wait_for_end(), by a compare-and-swap
    bool balances;           // S: has that role
    unsigned generation;     // C: of the executor that made it; differs after fork()
};

// The spawner that the calling thread is; NULL elsewhere.
extern SS_THREAD_LOCAL struct ss_spawner *ss_spawner_self;

// Creates the balancer if there is none. No lock held. 0 or a negative errno value.
int ss_start_balancer(void);

// Sees to it that there is a thread that has the group's settings, if the caller has them. No lock
// held. 0 or a negative errno value.
int ss_group_start_spawner(struct ss_group *group);

// Has the group's spawner create `count` workers more; the balancer, if it is the balancer's
// business, must be hurried, or be the caller. ss.lock held.
void ss_spawner_order(struct ss_group *group, unsigned count);

// There is no worker at all: creates one, or has one created and waits for the outcome. No lock
// held. 0 or a negative errno value.
int ss_group_first_worker(struct ss_group *group);

// Creates what was ordered of the calling spawner. No lock held.
void ss_spawner_serve(void);

// For the balancer. Passes its role on to a spawner that is better at it: true. No lock held.
bool ss_hand_over(void);

// Has a thread asked the calling balancer to end? No lock held, or ss.lock.
bool ss_balancer_is_asked(void);

// Does nothing but what it may watch itself keep it from ending? ss.lock held.
bool ss_balancer_at_rest(void);

// Ends it if it is at rest and `resign`, called under ss.lock, gives up the role: true. Otherwise
// the thread that asked it to end, if there is one, is told that it is needed. No lock held.
bool ss_balancer_end(bool (*resign)(void));

// Is there an order that the calling spawner has to deal with? ss.lock held.
bool ss_spawner_has_orders(void);

// The last worker of a group that was freed from within has left. ss.lock held.
void ss_spawner_group_left(struct ss_group *group);

// The end of smolscale_group_free(), which has counted itself in ss.frees. Ends the spawners that
// no group needs, and waits for their threads' end, that of the balancer included if there is
// nothing to watch. No lock held.
void ss_spawners_retire(void);

#endif // SS_SPAWNER_H
