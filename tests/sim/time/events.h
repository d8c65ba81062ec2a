// SPDX-License-Identifier: ISC
//
// What is to happen, by time; of the same time in the order in which it was asked for.

#ifndef SIM_EVENTS_H
#define SIM_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

enum sim_event_kind {
    SIM_STEP_ENDS, // of the thread that a CPU runs
    SIM_ARRIVES,   // a thread at an idle CPU
    SIM_TIME_UP,   // for a thread that sleeps
    SIM_BALANCES,  // a CPU with threads that wait
};

struct sim_event {
    uint64_t time, number;
    enum sim_event_kind kind;
    unsigned cpu, thread;
    uint64_t valid; // counts: an event that does not fit any more is none
};

void sim_events_reset(void);
void sim_events_add(struct sim_event event);
bool sim_events_take(struct sim_event *event);
uint64_t sim_events_first(void); // UINT64_MAX: none

#endif // SIM_EVENTS_H
