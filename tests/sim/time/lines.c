// SPDX-License-Identifier: ISC

#include "lines.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define WORDS (SIM_CPUS_MAX / 64)
#define NONE  UINT32_MAX

// A line that changes hands is with one CPU at a time; copies for readers are on their way side by
// side, as many as this. Assumed.
#define READERS_AT_ONCE 8

struct line {
    uintptr_t key;  // address / 64; 0: unused
    uint32_t owner; // has changed it last; NONE: it has many readers, or came from memory
    uint64_t sharers[WORDS];
    uint64_t free_at; // until then it is on its way
    uint64_t left_at; // until then the CPU that had changed it goes on with it: the request is on
                      // its way
    uint32_t leaves;  // that CPU
    uint64_t filled;  // lines that its last CPU had brought in when it touched this one
    uint32_t touched_by;
    uint64_t transfers, waited;
    const void *at; // code that waited for it
};

static struct line *lines;
static size_t room, used;
static struct sim_line_stats stats;
static uint64_t fills[SIM_CPUS_MAX]; // lines that a CPU has brought into its cache
static const struct sim_profile *profile;

void sim_lines_reset(const struct sim_profile *of)
{
    profile = of;
    stats = (struct sim_line_stats){0};
    memset(fills, 0, sizeof fills);
    used = 0;
    if (room > (size_t)1 << 16) {
        free(lines);
        lines = NULL;
        room = 0;
    }
    if (!lines) {
        room = (size_t)1 << 14;
        lines = calloc(room, sizeof *lines);
        if (!lines)
            abort();
    }
    memset(lines, 0, room * sizeof *lines);
}

static struct line *find(struct line *in, size_t in_room, uintptr_t key)
{
    size_t at = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (in_room - 1);
    while (in[at].key && in[at].key != key)
        at = (at + 1) & (in_room - 1);
    return &in[at];
}

static void grow(void)
{
    size_t more = room * 4;
    struct line *bigger = calloc(more, sizeof *bigger);
    if (!bigger)
        abort();
    for (size_t i = 0; i < room; i++)
        if (lines[i].key)
            *find(bigger, more, lines[i].key) = lines[i];
    free(lines);
    lines = bigger;
    room = more;
}

static struct line *line_of(const volatile void *p)
{
    uintptr_t key = (uintptr_t)p / SS_CACHE_LINE;
    struct line *line = find(lines, room, key);
    if (line->key)
        return line;
    if (++used * 2 > room) {
        grow();
        line = find(lines, room, key);
    }
    line->key = key;
    line->owner = NONE;
    line->touched_by = NONE;
    line->leaves = NONE;
    return line;
}

unsigned sim_distance(const struct sim_profile *p, unsigned a, unsigned b)
{
    if (a == b)
        return 0;
    if (a / p->per_core == b / p->per_core)
        return 1;
    if (a / p->per_complex == b / p->per_complex)
        return 2;
    return a / p->per_socket == b / p->per_socket ? 3 : 4;
}

static uint64_t cost_from(unsigned cpu, unsigned other)
{
    const uint64_t costs[] = {0, profile->from_core, profile->from_complex, profile->from_socket,
                              profile->from_far};
    return costs[sim_distance(profile, cpu, other)];
}

static bool shares(const struct line *line, unsigned cpu)
{
    return line->sharers[cpu / 64] >> cpu % 64 & 1;
}

// To fetch it from the one that has changed it, or, to change it, from all that have read it: those
// are told at once, so the farthest counts.
static uint64_t fetch_cost(const struct line *line, unsigned cpu, bool writes)
{
    if (line->owner != NONE)
        return line->owner == cpu ? 0 : cost_from(cpu, line->owner);
    uint64_t most = 0;
    bool any = false;
    for (unsigned w = 0; w < WORDS; w++)
        for (uint64_t left = line->sharers[w]; left; left &= left - 1) {
            unsigned other = w * 64 + (unsigned)__builtin_ctzll(left);
            any = true;
            if (other == cpu)
                continue;
            uint64_t cost = cost_from(cpu, other);
            if (cost > most && writes)
                most = cost;
            else if (!writes && (most == 0 || cost < most))
                most = cost;
        }
    if (!any)
        return profile->from_memory;
    return shares(line, cpu) && !writes ? 0 : most;
}

static void take(struct line *line, unsigned cpu, bool writes)
{
    if (writes) {
        memset(line->sharers, 0, sizeof line->sharers);
        line->owner = cpu;
    } else {
        if (line->owner != NONE)
            line->sharers[line->owner / 64] |= UINT64_C(1) << line->owner % 64;
        line->owner = NONE;
    }
    line->sharers[cpu / 64] |= UINT64_C(1) << cpu % 64;
}

static bool has(const struct line *line, unsigned cpu, bool writes)
{
    return line->owner == cpu || (!writes && line->owner == NONE && shares(line, cpu));
}

// The CPU has brought in as many others since as its cache holds: the line has left it. As a queue
// would; a real cache keeps what is used often for longer.
static bool has_left(const struct line *line, unsigned cpu)
{
    return profile->cache && line->touched_by == cpu && fills[cpu] - line->filled > profile->cache;
}

static void touch(struct line *line, unsigned cpu)
{
    line->touched_by = cpu;
    line->filled = fills[cpu];
}

// Has the line come to the CPU. For how long that takes.
static uint64_t fetch(unsigned cpu, uint64_t now, const volatile void *p, bool writes,
                      const void *at)
{
    struct line *line = line_of(p);
    if (line->leaves == cpu && now < line->left_at)
        return 0;
    if (has(line, cpu, writes)) {
        bool gone = has_left(line, cpu);
        fills[cpu] += gone;
        touch(line, cpu);
        return gone ? profile->from_memory : 0;
    }
    uint64_t cost = fetch_cost(line, cpu, writes);
    uint64_t begin = line->free_at > now ? line->free_at : now;
    uint64_t waits = begin + cost - now;
    line->free_at = begin + (writes ? cost : cost / READERS_AT_ONCE);
    line->leaves = line->owner;
    line->left_at = begin + cost / 2;
    take(line, cpu, writes);
    fills[cpu]++;
    touch(line, cpu);
    line->transfers++;
    line->waited += waits;
    line->at = at;
    stats.transfers++;
    stats.waited += waits;
    return waits;
}

uint64_t sim_lines_access(unsigned cpu, uint64_t now, const struct sim_op *op)
{
    uint64_t waits = fetch(cpu, now, op->p, op->kind != SIM_OP_LOAD, op->at);
    if (op->kind == SIM_OP_LOAD)
        return waits;
    // A store goes on while its line is on its way, unless it is a fence, too.
    return op->kind == SIM_OP_STORE && op->order != SIM_SEQ_CST ? 0 : profile->rmw + waits;
}

uint64_t sim_lines_plain(unsigned cpu, uint64_t now, const void *p, bool writes, const void *at)
{
    uint64_t waits = fetch(cpu, now, p, writes, at);
    return writes ? 0 : waits;
}

struct sim_line_stats sim_lines_stats(void)
{
    return stats;
}

static int more_waited(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    return x->waited < y->waited ? 1 : x->waited > y->waited ? -1 : 0;
}

void sim_lines_print(unsigned count)
{
    Dl_info info;
    qsort(lines, room, sizeof *lines, more_waited);
    for (unsigned i = 0; i < count && i < room && lines[i].waited; i++) {
        const void *p = (const void *)(lines[i].key * SS_CACHE_LINE);
        printf("    line %p", p);
        if (dladdr(p, &info) && info.dli_sname)
            printf(" (%s+%#tx)", info.dli_sname, (const char *)p - (const char *)info.dli_saddr);
        printf(": %llu transfers, %llu us waited", (unsigned long long)lines[i].transfers,
               (unsigned long long)lines[i].waited / 1000);
        if (lines[i].at && dladdr(lines[i].at, &info))
            printf(", last in %s", info.dli_sname ? info.dli_sname : "?");
        printf("\n");
    }
    used = 0;
    memset(lines, 0, room * sizeof *lines);
}
