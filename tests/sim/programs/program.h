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
    unsigned jobs;       // afterwards, when no thread can run, the first so many have run once,
    void (*check)(void); // and this holds; NULL: nothing more
    unsigned cpus;       // 0: two
    uint64_t limit_ns;   // within which it is done; 0: 10 ms (the core's contract of progress)
    bool brief;          // no thread goes round a loop without a pause for 2000 steps
    bool fair;           // it measures times: no schedule in which a thread waits for long
    bool no_membarrier;
    bool needs_threads; // their creation does not fail, nor does memory: a job waits for another,
                        // and without a second thread, and one that creates it later, it would wait
                        // for good
    bool needs_threads_later; // sooner or later: they do not fail for ever
    bool needs_proc;          // only /proc tells which jobs its limit does not count
    const char *const *environment;
};

extern const struct sim_program *const sim_programs[]; // NULL at the end
extern const char *const *sim_environment;

// Each of the `n` first jobs has run once (count.c).
void count_check(unsigned n);

// A call has answered so. An error that an injected fault explains is right, and ends the run.
void sim_answered(int err);

#endif // SIM_PROGRAM_H
