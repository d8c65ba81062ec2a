// SPDX-License-Identifier: ISC
//
// Cache lines: which CPU has each, and what it costs another to get it.

#ifndef SIM_LINES_H
#define SIM_LINES_H

#include "../machine/sim.h"
#include "profile.h"

void sim_lines_reset(const struct sim_profile *profile);

// An access by `cpu` that begins at `now`: for how long it takes beyond an access to a line that
// the CPU has. Requests for one line come one after the other.
uint64_t sim_lines_access(unsigned cpu, uint64_t now, const struct sim_op *op);

// A plain access: for how long its line takes.
uint64_t sim_lines_plain(unsigned cpu, uint64_t now, const void *p, bool writes, const void *at);

// How often a line was handed over so far, and the time that was waited for lines, ns.
struct sim_line_stats {
    uint64_t transfers, waited;
};
struct sim_line_stats sim_lines_stats(void);

// The lines that were waited for longest.
void sim_lines_print(unsigned count);

// 0: the same CPU; 1: core; 2: complex; 3: socket; 4: farther.
unsigned sim_distance(const struct sim_profile *profile, unsigned a, unsigned b);

#endif // SIM_LINES_H
