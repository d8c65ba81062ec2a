// SPDX-License-Identifier: ISC
//
// What calls have cost lately: a small table over (function, items), shared by all pools, from
// which the caller judges whether helpers pay. Called at the begin and the end of every call.
//
// An entry is one word: 24 bits of the key, 40 bits of cost in ticks. Entries overwrite each other
// and updates get lost; all that can follow is a judgement that is off, and pieces (call.c) and the
// watcher (watch.c) put that right while the call runs.

#include "pool.h"

enum { entries = 1024 };
#define COST_BITS 40
#define COST_MASK ((UINT64_C(1) << COST_BITS) - 1)

static _Atomic uint64_t table[entries];

struct cost_key ptp_cost_key(const struct call *call)
{
    uint64_t h = ((uint64_t)(uintptr_t)call->task ^ (uint64_t)(uintptr_t)call->run) *
                     UINT64_C(0x9e3779b97f4a7c15) ^
                 (uint64_t)call->total;
    h *= UINT64_C(0xd6e8feb86659fd93);
    // Tag 0 means an empty entry.
    return (struct cost_key){(uint32_t)(h >> 54) % entries, ((uint32_t)(h >> 28) & 0xffffff) | 1};
}

bool ptp_cost_get(struct cost_key key, uint64_t *cost)
{
    uint64_t entry = atomic_load_explicit(&table[key.slot], memory_order_relaxed);
    bool known = entry >> COST_BITS == key.tag;
    *cost = known ? entry & COST_MASK : 0;
    return known;
}

// Follows a lower cost at once and a higher one by quarters: being preempted makes a call dearer,
// nothing makes it cheaper than it is.
void ptp_cost_put(struct cost_key key, bool known, uint64_t before, uint64_t cost)
{
    if (known && cost > before)
        cost = before + (cost - before) / 4;
    if (cost > COST_MASK)
        cost = COST_MASK;
    if (!known || cost != before)
        atomic_store_explicit(&table[key.slot], (uint64_t)key.tag << COST_BITS | cost,
                              memory_order_relaxed);
}
