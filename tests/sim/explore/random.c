// SPDX-License-Identifier: ISC
//
// Schedules at random: by chance at each decision; or PCT ("A randomized scheduler with
// probabilistic guarantees of finding bugs", Burckhardt and others, 2010), where threads have
// random priorities and lose them at a few random decisions. PCT of depth d finds a fault that
// takes d such orders with a probability of at least 1/(n * k^(d-1)).

#include "explore.h"

#include <string.h>

#define DEPTH 3

static uint64_t state;
static unsigned rarity;
static uint64_t decisions, longest; // of this run, of the longest so far
static uint64_t changes[DEPTH - 1];
static int lowest;

// xorshift64*
static uint64_t chance(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(0x2545f4914f6cdd1d) >> 16;
}

static void begin_random(void)
{
    static const unsigned rarities[] = {2, 4, 8, 16, 32, 64, 128};
    rarity = rarities[chance() % (sizeof rarities / sizeof *rarities)];
}

static unsigned decide_random(const struct decision *decision)
{
    if (decision->free > 1)
        return (unsigned)(chance() % decision->free);
    return chance() % rarity ? 0 : (unsigned)(chance() % decision->count);
}

static void begin_pct(void)
{
    longest = decisions > longest ? decisions : longest;
    decisions = 0;
    lowest = 0;
    for (unsigned i = 0; i < DEPTH - 1; i++)
        changes[i] = longest ? chance() % longest : 0;
}

static unsigned decide_pct(const struct decision *decision)
{
    decisions++;
    if (decision->what == SIM_CHOOSE_ACTION)
        return (unsigned)(chance() % decision->count);
    if (!decision->threads || !decision->threads[0]) // fails or not, spins or not
        return chance() % 64 ? 0 : (unsigned)(chance() % decision->count);
    for (unsigned i = 0; i < DEPTH - 1; i++)
        if (changes[i] == decisions && decision->self)
            decision->self->priority = --lowest;
    unsigned best = 0;
    for (unsigned i = 0; i < decision->count; i++) {
        struct sim_thread *thread = decision->threads[i];
        if (thread->priority == 0)
            thread->priority = 1 + (int)(chance() % 1000000);
        if (thread->priority > decision->threads[best]->priority ||
            (thread == decision->threads[best] && (chance() & 1))) // the same, stores held back
            best = i;
    }
    return best;
}

static const struct strategy by_chance = {"random", begin_random, decide_random, NULL};
static const struct strategy by_priority = {"PCT", begin_pct, decide_pct, NULL};

static void explore(const struct strategy *strategy, const struct sim_program *program,
                    const struct options *options, struct outcome *outcome)
{
    double end = seconds_now() + options->seconds;
    decisions = longest = 0;
    for (uint64_t run = 0;; run++) {
        state = sim_mix(options->seed + 1, run) | 1;
        chance();
        enum sim_verdict verdict = explore_run(program, strategy, options);
        outcome->runs++;
        outcome->steps += sim.steps;
        if (verdict == SIM_FAILED) {
            outcome->failed = true;
            memcpy(outcome->failure, sim.failure, sizeof outcome->failure);
            outcome->schedule = *explore_taken();
            return;
        }
        if (explore_is_over(options, outcome, end))
            return;
    }
}

void explore_randomly(const struct sim_program *program, const struct options *options,
                      struct outcome *outcome)
{
    explore(&by_chance, program, options, outcome);
}

void explore_by_priority(const struct sim_program *program, const struct options *options,
                         struct outcome *outcome)
{
    explore(&by_priority, program, options, outcome);
}
