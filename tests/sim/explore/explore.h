// SPDX-License-Identifier: ISC
//
// Trying schedules. A *decision* is a point at which a run can go on in several ways: at a step the
// thread goes on or another comes to run; at a sleep one of those that can run does; a call fails
// or not. Decisions are numbered within a run. A *strategy* says which way is taken. What it has
// not taken by default is the run's schedule: "NUMBER:WAY" for each, separated by commas.
//
// Way 0 is the usual one. The ways below `free` cost nothing; each of the others counts as a
// preemption.
//
// Beside that, what disturbs the machine may come before any step. It stands in the schedule as a
// way, too, under the number of the step's decision; before a plain access, under that one's.

#ifndef SIM_EXPLORE_H
#define SIM_EXPLORE_H

#include "../machine/sim.h"
#include "../programs/program.h"

enum disturbance {
    UNDISTURBED,
    STANDS_STILL = 1000, // the thread does so for 10 ms: others have its CPU
    WAITS_FOR_PAGE,      // the same, and it is seen asleep
    CLOCK_JUMPS,         // forward by an hour
    CPUS_TAKEN,          // but for one
    ALL_WOKEN,           // whatever sleeps wakes up for no reason, as after SIGCONT
};

struct decision {
    uint32_t number;
    int what; // enum sim_choice; NO_CHOICE: of threads
    unsigned count, free;
    struct sim_thread *const *threads; // that each way has run; NULL: it is no such decision
    struct sim_thread *self;
};

#define NO_CHOICE (-1)

struct strategy {
    const char *name;
    void (*begin)(void); // a run begins
    unsigned (*decide)(const struct decision *decision);
    // Called before each step and each plain access; NULL: nothing disturbs. Such a strategy is
    // asked of all that may fail, too.
    enum disturbance (*disturb)(uint32_t number, enum sim_kind kind);
};

struct way {
    uint32_t number, way;
};

#define WAYS_MAX 4096

struct schedule {
    unsigned count;
    struct way ways[WAYS_MAX];
};

struct options {
    unsigned preemptions; // of the complete search
    double seconds;       // for each strategy and program
    uint64_t steps;       // the same in steps, as many on each machine
    uint64_t seed;
    bool faults, store_buffers, weak;
    bool unpruned; // no run is cut short
    bool trace, quiet;
};

struct outcome {
    bool failed;
    uint64_t runs, states, steps, ends;
    bool complete;
    uint64_t turns, rounds; // of explore_in_turn(),
    const char *turn;       // and what went wrong when it failed
    char failure[512];
    struct schedule schedule;
};

// Is it enough? `end`: by seconds_now().
bool explore_is_over(const struct options *options, const struct outcome *outcome, double end);

// One run. The schedule that it took is left in explore_taken().
enum sim_verdict explore_run(const struct sim_program *program, const struct strategy *strategy,
                             const struct options *options);
const struct schedule *explore_taken(void);

// Strategies: each tries until the time is up, all is tried, or a run fails.
void explore_completely(const struct sim_program *program, const struct options *options,
                        struct outcome *outcome);
void explore_randomly(const struct sim_program *program, const struct options *options,
                      struct outcome *outcome);
void explore_by_priority(const struct sim_program *program, const struct options *options,
                         struct outcome *outcome); // PCT
void explore_in_turn(const struct sim_program *program, const struct options *options,
                     struct outcome *outcome); // one disturbance a run, wherever it may come

// Fewer ways that fail as well.
void explore_shrink(const struct sim_program *program, const struct options *options,
                    struct outcome *outcome);
enum sim_verdict explore_replay(const struct sim_program *program, const struct options *options,
                                const struct schedule *schedule);

bool schedule_parse(const char *text, struct schedule *schedule);
void schedule_print(const struct schedule *schedule, char *text, size_t size);

double seconds_now(void); // of CPU that this process has used: no matter how busy the machine is

#endif // SIM_EXPLORE_H
