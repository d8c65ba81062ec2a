// SPDX-License-Identifier: ISC
//
// What loops have cost lately: a small table over (function, items), shared by all teams, from
// which the caller judges whether helpers pay. Called at the begin and the end of every call.
//
// An entry is one word: 24 bits of the key, 40 bits of cost in ticks. Entries overwrite each other
// and updates get lost; all that can follow is a judgement that is off, and pieces (pieces.c) and
// the balancer's look (stand.c) put that right while the call runs.

#include "region/history.h"
#include "base/room.h"

#include "base/atomic.h"

enum { ENTRIES = 1024 };
#define COST_BITS 40
#define COST_MASK ((UINT64_C(1) << COST_BITS) - 1)

static _Atomic uint64_t table[ENTRIES];

struct ss_cost_key ss_cost_key(uintptr_t run, uintptr_t what, size_t items)
{
    uint64_t h = ((uint64_t)what ^ (uint64_t)run) * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)items;
    h *= UINT64_C(0xd6e8feb86659fd93);
    // Tag 0 means an empty entry.
    return (struct ss_cost_key){(uint32_t)(h >> 54) % ENTRIES,
                                ((uint32_t)(h >> 28) & 0xffffff) | 1};
}

bool ss_cost_get(struct ss_cost_key key, uint64_t *cost)
{
    uint64_t entry = load_relaxed(&table[key.slot]);
    bool known = entry >> COST_BITS == key.tag;
    *cost = known ? entry & COST_MASK : 0;
    return known;
}

// Follows a lower cost at once and a higher one by quarters: being preempted makes a call dearer,
// nothing makes it cheaper than it is.
void ss_cost_put(struct ss_cost_key key, bool known, uint64_t before, uint64_t cost)
{
    if (known && cost > before)
        cost = before + (cost - before) / 4;
    if (cost > COST_MASK)
        cost = COST_MASK;
    if (!known || cost != before)
        store_relaxed(&table[key.slot], (uint64_t)key.tag << COST_BITS | cost);
}

SS_ROOM(region_history, NULL, NULL); // what loops cost is the same in the child
