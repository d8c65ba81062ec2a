// SPDX-License-Identifier: ISC
//
// All schedules with at most so many preemptions, one after the other (depth first).
//
// A run is cut short where it comes to a state in which another has been with as many preemptions
// to spend. What stands for a state is what each thread has seen (sim_state_hash()): runs that
// differ only in the order of what does not touch the same are one.

#include "explore.h"

#include <stdlib.h>
#include <string.h>

struct node {
    uint32_t number;
    uint8_t way, count; // count: of the ways that may be taken
    bool costs;
};

#define NODES_MAX (1u << 18)

static struct node nodes[NODES_MAX];
static unsigned depth, at;
static unsigned spent, allowed;
static bool unpruned;

// ---- states that were seen

static uint64_t *seen;
static size_t seen_room, seen_count;

static void forget(void)
{
    if (seen_room > 1u << 20 || !seen) {
        free(seen);
        seen_room = 1u << 16;
        seen = calloc(seen_room, sizeof *seen);
        if (!seen)
            abort();
    } else {
        memset(seen, 0, seen_room * sizeof *seen);
    }
    seen_count = 0;
}

static uint64_t *slot_of(uint64_t state)
{
    size_t i = state & (seen_room - 1);
    while (seen[i] != 0 && seen[i] != state)
        i = (i + 1) & (seen_room - 1);
    return &seen[i];
}

static void grow(void)
{
    uint64_t *old = seen;
    size_t old_room = seen_room;
    seen_room *= 2;
    seen = calloc(seen_room, sizeof *seen);
    if (!seen)
        abort();
    for (size_t i = 0; i < old_room; i++)
        if (old[i])
            *slot_of(old[i]) = old[i];
    free(old);
}

// How many different ends there were: the same whether runs are cut short or not.
static uint64_t ends[1u << 16];
static uint64_t end_count;

static void note_end(void)
{
    uint64_t end = sim_state_hash() | 1;
    size_t i = end >> 48;
    while (ends[i] != 0 && ends[i] != end)
        i = (i + 1) & 0xffff;
    if (ends[i] == 0 && end_count < 60000) {
        ends[i] = end;
        end_count++;
    }
}

static bool was_seen(const struct decision *decision)
{
    uint64_t state =
        sim_mix(sim_state_hash(), (uint64_t)decision->self->id << 8 |
                                      (decision->threads != NULL) << 1 | (decision->free > 1));
    for (unsigned s = 0; s < spent; s++)
        if (*slot_of(sim_mix(state, s + 1) | 1))
            return true;
    uint64_t *slot = slot_of(sim_mix(state, spent + 1) | 1);
    if (*slot)
        return true;
    *slot = sim_mix(state, spent + 1) | 1;
    if (++seen_count > seen_room / 2)
        grow();
    return false;
}

// ---- the search

static void begin(void)
{
    at = spent = 0;
}

static unsigned decide(const struct decision *decision)
{
    unsigned count = spent < allowed ? decision->count : decision->free;
    struct node *node = &nodes[at];
    if (count <= 1)
        return 0;
    if (at == depth) {
        if ((!unpruned && was_seen(decision)) || depth == NODES_MAX) {
            sim_end_run(SIM_PRUNED);
            return 0;
        }
        *node = (struct node){decision->number, 0, (uint8_t)count, false};
        depth++;
    } else if (node->number != decision->number || node->count != count) {
        sim_fail("the same schedule led elsewhere: decision %u with %u ways, then %u with %u",
                 node->number, node->count, decision->number, count);
        return 0;
    }
    at++;
    if (node->way >= decision->free)
        spent++;
    return node->way;
}

// To the next schedule. False: there is none.
static bool advance(void)
{
    while (depth > 0 && nodes[depth - 1].way + 1 >= nodes[depth - 1].count)
        depth--;
    if (depth == 0)
        return false;
    nodes[depth - 1].way++;
    return true;
}

static const struct strategy complete = {"complete", begin, decide, NULL};

void explore_completely(const struct sim_program *program, const struct options *options,
                        struct outcome *outcome)
{
    double end = seconds_now() + options->seconds;
    allowed = options->preemptions;
    unpruned = options->unpruned;
    depth = 0;
    memset(ends, 0, sizeof ends);
    end_count = 0;
    forget();
    do {
        enum sim_verdict verdict = explore_run(program, &complete, options);
        outcome->runs++;
        outcome->steps += sim.steps;
        if (verdict == SIM_FAILED) {
            outcome->failed = true;
            memcpy(outcome->failure, sim.failure, sizeof outcome->failure);
            outcome->schedule = *explore_taken();
            break;
        }
        if (verdict == SIM_GOOD)
            note_end();
        if (explore_is_over(options, outcome, end))
            break;
        outcome->complete = !advance();
    } while (!outcome->complete);
    outcome->states = seen_count;
    outcome->ends = end_count;
}
