// SPDX-License-Identifier: ISC
//
// Cache lines. A line has an owner that has written it last, and sharers that have read it since. A
// read by another costs a transfer from the owner; a write costs one from the farthest that has a
// copy. Transfers of one line come one after the other: that is what contention costs.

#include "time.h"

#include <string.h>

#define LINES (1u << 17)

struct line {
    uintptr_t number;
    uint32_t run;
    int16_t owner;
    uint64_t sharers[CPUS_MAX / 64];
    uint64_t free_at;
};

static struct line lines[LINES];
static uint32_t run;
uint64_t line_transfers;

void lines_reset(void)
{
    run++;
    line_transfers = 0;
}

static struct line *line_of(uintptr_t number)
{
    uint64_t at = number * UINT64_C(0x9e3779b97f4a7c15) >> 47;
    for (unsigned tries = 0;; tries++, at++) {
        struct line *line = &lines[at % LINES];
        if (line->run != run || tries == 64) // very full: the one that was there is forgotten
            *line = (struct line){.number = number, .run = run, .owner = -1};
        if (line->number == number)
            return line;
    }
}

static bool shares(const struct line *line, unsigned cpu)
{
    return line->sharers[cpu / 64] >> cpu % 64 & 1;
}

static uint64_t transfer(unsigned distance)
{
    const uint64_t costs[] = {0, profile.line_complex, profile.line_socket, profile.line_far};
    return costs[distance];
}

static unsigned farthest(const struct line *line, unsigned cpu)
{
    unsigned most = 0;
    for (unsigned word = 0; word < CPUS_MAX / 64; word++)
        for (uint64_t bits = line->sharers[word]; bits; bits &= bits - 1) {
            unsigned other = word * 64 + (unsigned)__builtin_ctzll(bits);
            unsigned distance = cpu_distance(cpu, other);
            most = distance > most ? distance : most;
        }
    return most;
}

uint64_t lines_access(const volatile void *p, unsigned cpu, bool writes, uint64_t now)
{
    struct line *line = line_of((uintptr_t)p / 64);
    uint64_t cost = 0;
    if (writes) {
        if (line->owner >= 0)
            cost = transfer(farthest(line, cpu));
        memset(line->sharers, 0, sizeof line->sharers);
        line->owner = (int16_t)cpu;
    } else if (line->owner >= 0 && !shares(line, cpu)) {
        cost = transfer(cpu_distance(cpu, (unsigned)line->owner));
    }
    line->sharers[cpu / 64] |= UINT64_C(1) << cpu % 64;
    if (line->owner < 0)
        line->owner = (int16_t)cpu;
    if (cost == 0)
        return 0;
    line_transfers++;
    uint64_t begins = line->free_at > now ? line->free_at : now;
    line->free_at = begins + cost;
    return begins + cost - now;
}
