// SPDX-License-Identifier: ISC
//
// Whatever may go wrong, at every place in turn: the first call that creates a thread fails, then
// the second, and so on; a thread stands still for 10 ms before its first step, its second. Each
// run has one such *turn*, or one from which on all calls of the kind fail. How many there are, a
// run without shows: up to its turn, each run is that one.
//
// That is a *round*. In the first one threads run in their usual order, in the others by chance.

#include "explore.h"

#include <string.h>

enum how { FAILS_ONCE, FAILS_FOR_EVER, DISTURBS, DISTURBS_PLAIN };

static const struct kind {
    const char *name;
    enum how how;
    unsigned what; // enum sim_choice or enum disturbance
} kinds[] = {
    {"a thread cannot be created", FAILS_ONCE, SIM_CHOOSE_THREAD},
    {"threads cannot be created any more", FAILS_FOR_EVER, SIM_CHOOSE_THREAD},
    {"an allocation fails", FAILS_ONCE, SIM_CHOOSE_MEMORY},
    {"memory is gone", FAILS_FOR_EVER, SIM_CHOOSE_MEMORY},
    {"a membarrier fails", FAILS_ONCE, SIM_CHOOSE_MEMBARRIER},
    {"membarrier is forbidden", FAILS_FOR_EVER, SIM_CHOOSE_MEMBARRIER},
    {"a look at /proc fails", FAILS_ONCE, SIM_CHOOSE_PROC},
    {"/proc is gone", FAILS_FOR_EVER, SIM_CHOOSE_PROC},
    {"a call for events fails", FAILS_ONCE, SIM_CHOOSE_EVENTS},
    {"calls for events fail", FAILS_FOR_EVER, SIM_CHOOSE_EVENTS},
    {"a thread's CPUs cannot be set", FAILS_ONCE, SIM_CHOOSE_AFFINITY},
    {"threads' CPUs cannot be set", FAILS_FOR_EVER, SIM_CHOOSE_AFFINITY},
    {"a wait returns at once", FAILS_ONCE, SIM_CHOOSE_SPURIOUS},
    {"the clock jumps", DISTURBS, CLOCK_JUMPS},
    {"all wake up", DISTURBS, ALL_WOKEN},
    {"CPUs are taken away", DISTURBS, CPUS_TAKEN},
    {"a thread stands still", DISTURBS, STANDS_STILL},
    {"a thread waits for a page", DISTURBS, WAITS_FOR_PAGE},
    {"a thread waits for a page at a plain access", DISTURBS_PLAIN, WAITS_FOR_PAGE},
};

#define KINDS (sizeof kinds / sizeof *kinds)

static const struct kind *kind;                              // of this run; NULL: none
static uint64_t turn;                                        // from 1
static uint64_t failing[SIM_CHOICES], steps, clocks, plains; // so far in this run
static uint64_t round_number, seed;
static uint64_t state;

static uint64_t chance(void)
{
    state = sim_mix(state, 1);
    return state >> 16;
}

static void begin(void)
{
    memset(failing, 0, sizeof failing);
    steps = clocks = plains = 0;
    state = sim_mix(seed, round_number);
}

static unsigned decide(const struct decision *decision)
{
    if (decision->what == SIM_CHOOSE_ACTION)
        return round_number == 0 ? 0 : (unsigned)(chance() % decision->count);
    if (decision->what != NO_CHOICE) {
        uint64_t at = ++failing[decision->what];
        bool mine = kind && kind->how < DISTURBS && (int)kind->what == decision->what;
        return mine && (kind->how == FAILS_FOR_EVER ? at >= turn : at == turn);
    }
    if (round_number == 0)
        return 0;
    if (decision->free > 1)
        return (unsigned)(chance() % decision->free);
    return chance() % 16 ? 0 : (unsigned)(chance() % decision->count);
}

static enum disturbance disturb(uint32_t number, enum sim_kind step)
{
    (void)number;
    if (step == SIM_OP_PLAIN)
        return ++plains == turn && kind && kind->how == DISTURBS_PLAIN
                   ? (enum disturbance)kind->what
                   : UNDISTURBED;
    steps++;
    clocks += step == SIM_OP_CLOCK;
    if (!kind || kind->how != DISTURBS)
        return UNDISTURBED;
    bool comes = kind->what == CLOCK_JUMPS ? step == SIM_OP_CLOCK && clocks == turn : steps == turn;
    return comes ? (enum disturbance)kind->what : UNDISTURBED;
}

static const struct strategy in_turn = {"turns", begin, decide, disturb};

// How many turns there are, by the run that has just been.
static uint64_t turns_of(const struct kind *which)
{
    if (which->how < DISTURBS)
        return failing[which->what];
    if (which->how == DISTURBS_PLAIN)
        return plains;
    return which->what == CLOCK_JUMPS ? clocks : steps;
}

// Without threads and memory for ever, there is nobody for a job that another waits for.
static bool is_spared(const struct kind *which, const struct sim_program *program)
{
    if (which->how != FAILS_FOR_EVER)
        return false;
    bool threads = which->what == SIM_CHOOSE_THREAD || which->what == SIM_CHOOSE_MEMORY;
    return (threads && (program->needs_threads || program->needs_threads_later)) ||
           (which->what == SIM_CHOOSE_PROC && program->needs_proc);
}

// True: goes on.
static bool run(const struct sim_program *program, const struct options *options,
                struct outcome *outcome)
{
    enum sim_verdict verdict = explore_run(program, &in_turn, options);
    outcome->runs++;
    outcome->steps += sim.steps;
    if (verdict != SIM_FAILED)
        return true;
    outcome->failed = true;
    memcpy(outcome->failure, sim.failure, sizeof outcome->failure);
    outcome->turn = kind ? kind->name : NULL;
    outcome->schedule = *explore_taken();
    return false;
}

// Where all turns would take more than `steps_left`, every so-manieth: another part in each round.
static bool run_round(const struct sim_program *program, const struct options *options,
                      struct outcome *outcome, uint64_t steps_left, double end)
{
    uint64_t turns[KINDS], all = 0;
    kind = NULL;
    if (!run(program, options, outcome))
        return false;
    uint64_t steps_of_run = sim.steps;
    for (unsigned i = 0; i < KINDS; i++)
        all += turns[i] = is_spared(&kinds[i], program) ? 0 : turns_of(&kinds[i]);
    uint64_t apart = all * steps_of_run / (steps_left ? steps_left : 1) + 1;
    for (unsigned i = 0; i < KINDS; i++) {
        // Calls that fail are few, and each of them counts.
        uint64_t by = kinds[i].how >= DISTURBS && kinds[i].what != CLOCK_JUMPS ? apart : 1;
        for (turn = 1 + (seed + round_number) % by; turn <= turns[i]; turn += by) {
            kind = &kinds[i];
            if (!run(program, options, outcome))
                return false;
            outcome->turns++;
            if ((outcome->runs & 15) == 0 && seconds_now() > end)
                return false;
        }
    }
    outcome->complete |= apart == 1;
    return true;
}

// More of them show little that is new.
#define ROUNDS_MAX 20

void explore_in_turn(const struct sim_program *program, const struct options *options,
                     struct outcome *outcome)
{
    double end = seconds_now() + options->seconds;
    seed = options->seed;
    // When each turn has been taken in the usual order, a quarter of the steps is enough for
    // others.
    uint64_t enough = options->steps / 4;
    for (round_number = 0; !explore_is_over(options, outcome, end); round_number++) {
        if (round_number > 0 && outcome->steps >= enough)
            return;
        uint64_t left = round_number == 0 ? options->steps : enough - outcome->steps;
        if (!run_round(program, options, outcome, left, end))
            return;
        outcome->rounds++;
        if (round_number == ROUNDS_MAX)
            return;
    }
}
