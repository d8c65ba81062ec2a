// SPDX-License-Identifier: ISC
//
// On which CPU a worker wakes (placement.c).
//
// Who may touch a field:
//
//   W    the thread that wakes the worker: from the moment at which it takes the worker off the
//        idle list under ss.lock, until it sets `park` to AWAKE
//   WO   the same until then; after that the worker's own thread, until it is on the idle list

#ifndef SS_PLACEMENT_H
#define SS_PLACEMENT_H

#include "os/os.h"

#include <stdbool.h>
#include <stdint.h>

struct ss_worker;

// The worker's part.
struct ss_placing {
    bool placed;                   // WO: its CPUs were restricted for the wake
    bool keep_away;                // W: it is to wake elsewhere than on its waker's CPU
    int slept_on;                  // WO: the CPU on which it parked; -1: not known
    bool was_late;                 // WO: it was homed, and came late
    uint64_t homed_at;             // WO: when it was woken on its waker's CPU, ns; 0: it was not
    struct ss_placement placement; // WO: how its CPUs were restricted
};

// A life of the worker begins.
void ss_placing_renew(struct ss_placing *placing);

// The worker is to wake elsewhere than on the CPU of the calling thread, which is to wake it.
void ss_keep_away(struct ss_worker *worker);

// By the worker, which is about to sleep. ss.lock held.
void ss_placing_sleep(struct ss_placing *placing);

// Before the wake, by the waker: chooses the CPU of a worker that is asleep. No lock held.
void ss_place(struct ss_worker *worker);

// After the wake, by the worker: it has its CPUs back. No lock held.
void ss_placing_end(struct ss_worker *worker);

#endif // SS_PLACEMENT_H
