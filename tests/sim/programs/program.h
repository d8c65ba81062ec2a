// SPDX-License-Identifier: ISC
//
// Programs: what the explorer runs, again and again.

#ifndef SIM_PROGRAM_H
#define SIM_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

struct sim_program {
    const char *name;
    const char *what;
    void (*run)(void);   // by the first simulated thread
    void (*check)(void); // afterwards, when no thread can run; NULL: nothing more
    unsigned cpus;       // 0: two
    uint64_t limit_ns;   // within which it is done; 0: 10 ms (the core's contract of progress)
    bool no_membarrier;
    const char *const *environment;
};

extern const struct sim_program *const sim_programs[]; // NULL at the end
extern const char *const *sim_environment;

#endif // SIM_PROGRAM_H
