// SPDX-License-Identifier: ISC
//
// Calling a worker for work that was published (recruit.c). In two halves: under the locks it is
// decided what is to be done, and when they are free it is done.

#ifndef SS_RECRUIT_H
#define SS_RECRUIT_H

struct ss_group;
struct ss_worker;

// What the publisher of new work must do after it has dropped its locks, so that the work is not
// forgotten. In the order of urgency.
enum ss_follow_up {
    SS_DO_NOTHING,    // a worker that is on its way will see the work
    SS_WAKE_BALANCER, // busy workers will come to the work; the balancer must see if they are stuck
    SS_HURRY_BALANCER, // have the balancer look now: it was asked for a worker
    SS_CREATE_WORKER,  // the group has no worker
};

// Takes a parked worker that is to be woken for work that was published before, under ss.lock, if
// waking one pays: none is on its way, and a CPU is free. The caller drops its locks and calls
// ss_follow_up() with both results. NULL: none is to be woken. ss.lock held. (ss_take_idle()
// takes one in any case.)
struct ss_worker *ss_recruit(struct ss_group *group, enum ss_follow_up *todo);

// By a worker that has arrived, beside ss_recruit(): another, if more runnables wait than workers
// are on their way. So these double until there is one for each. NULL: none. ss.lock held.
struct ss_worker *ss_recruit_another(struct ss_group *group);

// One worker has been recruited for work that has use for `count`: takes others as far as there are
// parked ones and CPUs. They are to wake elsewhere than on the CPU of the caller, which is likely
// to go on working. Returns them for ss_unpark_all(). ss.lock held.
struct ss_worker *ss_recruit_others(struct ss_group *group, unsigned count);

// Does what ss_recruit() has decided. No lock held. 0, or a negative errno value when there is no
// worker and none can be created.
int ss_follow_up(struct ss_group *group, struct ss_worker *wake, enum ss_follow_up todo);

#endif // SS_RECRUIT_H
