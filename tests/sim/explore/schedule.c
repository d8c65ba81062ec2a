// SPDX-License-Identifier: ISC
//
// Schedules as text, played again, and made shorter.

#include "explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct schedule *played;
static void begin(void)
{
}

// The way under this number: a decision's, or what disturbs before it.
static unsigned way_at(uint32_t number, bool disturbs)
{
    for (unsigned i = 0; i < played->count; i++)
        if (played->ways[i].number == number && (played->ways[i].way >= STANDS_STILL) == disturbs)
            return played->ways[i].way;
    return 0;
}

static unsigned decide(const struct decision *decision)
{
    unsigned way = way_at(decision->number, false);
    return way < decision->count ? way : 0;
}

static enum disturbance disturb(uint32_t number, enum sim_kind kind)
{
    (void)kind;
    unsigned way = way_at(number, true);
    return way <= ALL_WOKEN ? (enum disturbance)way : UNDISTURBED;
}

static const struct strategy again = {"replay", begin, decide, disturb};

enum sim_verdict explore_replay(const struct sim_program *program, const struct options *options,
                                const struct schedule *schedule)
{
    played = schedule;
    return explore_run(program, &again, options);
}

// Leaves ways out, many at once and then one after the other, as long as it still fails.
void explore_shrink(const struct sim_program *program, const struct options *options,
                    struct outcome *outcome)
{
    static struct schedule best, tried;
    double end = seconds_now() + 10;
    best = outcome->schedule;
    for (unsigned chunk = best.count; chunk > 0; chunk /= 2)
        for (unsigned from = 0; from < best.count && seconds_now() < end;) {
            tried.count = 0;
            for (unsigned i = 0; i < best.count; i++)
                if (i < from || i >= from + chunk)
                    tried.ways[tried.count++] = best.ways[i];
            if (explore_replay(program, options, &tried) == SIM_FAILED) {
                best = *explore_taken();
                memcpy(outcome->failure, sim.failure, sizeof outcome->failure);
            } else {
                from += chunk;
            }
        }
    outcome->schedule = best;
}

bool schedule_parse(const char *text, struct schedule *schedule)
{
    schedule->count = 0;
    while (*text && schedule->count < WAYS_MAX) {
        char *end;
        unsigned long number = strtoul(text, &end, 10);
        if (end == text || *end != ':')
            return false;
        unsigned long way = strtoul(text = end + 1, &end, 10);
        if (end == text || (*end && *end != ','))
            return false;
        schedule->ways[schedule->count++] = (struct way){(uint32_t)number, (uint32_t)way};
        text = *end ? end + 1 : end;
    }
    return true;
}

void schedule_print(const struct schedule *schedule, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < schedule->count && length + 24 < size; i++)
        length += (size_t)snprintf(text + length, size - length, "%s%u:%u", i ? "," : "",
                                   schedule->ways[i].number, schedule->ways[i].way);
}
