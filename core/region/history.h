// SPDX-License-Identifier: ISC
//
// What loops have cost lately (history.c): the caller judges by it whether helpers pay.

#ifndef SS_HISTORY_H
#define SS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ss_cost_key {
    uint32_t slot;
    uint32_t tag;
};

// Of a loop function, what else tells loops apart, and the number of items.
struct ss_cost_key ss_cost_key(uintptr_t run, uintptr_t what, size_t items);

// Ticks of all threads together; false: not known.
bool ss_cost_get(struct ss_cost_key key, uint64_t *cost);
void ss_cost_put(struct ss_cost_key key, bool known, uint64_t before, uint64_t cost);

#endif // SS_HISTORY_H
