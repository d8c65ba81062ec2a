// SPDX-License-Identifier: ISC
//
// Parked workers (idle.c): the list of them that each group has, their sleep, and their wake-up.
//
// Who may touch a field:
//
//   S    under ss.lock
//   SW   the same while the worker is on the idle list; then the thread that wakes it, from the
//        moment at which it takes the worker off the list until it sets `park` to AWAKE

#ifndef SS_IDLE_H
#define SS_IDLE_H

#include <stdbool.h>
#include <stdint.h>

struct ss_group;
struct ss_worker;

// Of a worker's futex word `park`. The owner writes it before it sleeps, its waker after that.
enum ss_park {
    SS_PARK_AWAKE,
    SS_PARK_PARKED,
    SS_PARK_SEATED,  // parked in the seat (duty.h): woken by ss_seat_wake()
    SS_PARK_NAPPING, // asleep in a queue that it serves (queue/dry.h), and on no idle list
};

// The worker's part.
struct ss_parking {
    struct ss_worker *next; // SW: in group->idle; a waker links by it those that it has taken off
    union {
        struct ss_worker *prev;    // SW: in group->idle
        struct ss_worker *to_wake; // SW: off that list: those that it wakes first, linked by
                                   // `next`
    };
    bool listed;   // S: is in group->idle
    bool kept;     // S: sleeps there without a time limit
    bool arriving; // S: woken or created, and not yet arrived
};

// One wake-up of so many is timed: after an idle time the lines that this touches are cold
// (bench/glib, "round-trip-idle").
#define SS_WAKES_PER_TIMED 8

// The worker's part: the last sleep, when it ends, and what costs are learnt from it.
struct ss_slept {
    uint64_t parked_at; // SW: ns
    uint64_t until;     // S: when it has idled for long enough, ns
    uint64_t wakes_at;  // S: not later than that: when it wakes by itself, to see whether it has
    uint64_t called_at; // SW: when its waker began to wake it, or its creator to create it, ns; 0:
                        // this wake-up is not timed
    int called_on;      // SW: its waker's CPU then
    bool timed;         // SW: this wake-up is
};

// ---- ss.lock held

// Takes a worker off the idle list to be woken, even if another is on its way: mostly the one that
// parked last. It counts as on its way. The caller drops its locks and calls ss_unpark(). NULL:
// none is parked. See ss_recruit() for when waking one pays.
struct ss_worker *ss_take_idle(struct ss_group *group);

// Takes that worker, which is parked, off the idle list. It does not count as on its way: it is to
// be woken to end, or to park again.
void ss_take_off_idle(struct ss_worker *worker);

// Has a parked worker go over to another group, asleep: it is counted there, and no longer where it
// was. True: it must be woken to park there, because it would sleep for too long. It is on no idle
// list then.
bool ss_park_in(struct ss_worker *worker, struct ss_group *group);

// The parked worker that has slept for longest, and the next one before it; NULL: no more.
struct ss_worker *ss_coldest(const struct ss_group *group);
struct ss_worker *ss_next_warmer(const struct ss_worker *worker);

// The worker counts as on its way, until it arrives.
void ss_expect(struct ss_worker *worker);
void ss_arrive(struct ss_worker *worker);

// Sleeps until the worker is woken, or wakes by itself: for a timer, for events of descriptors, or
// because it has idled for long enough (worker->exit is set then). ss.lock held on entry and exit,
// not in between. By the worker's own thread.
void ss_park(struct ss_worker *worker);

// ---- no lock held

// The kernel half of a wake-up.
void ss_unpark(struct ss_worker *worker);
void ss_unpark_list(struct ss_worker *list);

// The same for workers that have been called to the work of one call: the caller wakes two, and
// hands to each a half of the others.
void ss_unpark_all(struct ss_worker *list);

// ---- lists of workers that were taken off the idle list, for ss_unpark_list()

void ss_add_to_list(struct ss_worker **list, struct ss_worker *worker);

// A life of the worker begins.
void ss_parking_renew(struct ss_parking *parking);

#endif // SS_IDLE_H
