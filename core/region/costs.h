// SPDX-License-Identifier: ISC
//
// What the parallel call decides by: all lengths of it that depend on the machine, each with the
// row of bench/pthreadpool that shows it.

#ifndef SS_REGION_COSTS_H
#define SS_REGION_COSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    // What waking costs, and so from what rest on a helper is asked for; and the cost from which on
    // helpers that are awake already are let in ("part-load", "two-pools-*").
    SS_HELP_PAYS_US = 40,
    SS_AWAKE_HELP_PAYS_US = 8,

    // How long a helper waits for the next call, if the recent ones came sooner than that
    // ("100us-*").
    SS_HELPER_LINGERS_US = 20,

    // The caller thinks of asking for help this often: first, and then while it might ask for more.
    SS_LOOK_SOON_US = 16,
    SS_LOOK_LATER_US = 100,

    // A piece takes about an eighth of its share, but this long at least and at most. An
    // announcement and a look at the clock, 30 ns, are 1 % of the shortest ("100us-items-*",
    // "20ms-items-10ns").
    SS_PIECE_US = 4,
    SS_LONG_PIECE_US = 50,
    SS_PIECES_OF_SHARE = 8,

    // What a theft costs, and one that needs a membarrier: rests that their owner will have done
    // sooner are left alone for so long. The latter is longer than the short pieces at a call's
    // end.
    SS_THEFT_US = 2,
    SS_TAKE_BACK_US = 8,

    // How long the caller spins for the last helper's last item before it sleeps.
    SS_WAIT_SPIN_US = 30,

    // After how long a call that stands still is first helped, and between looks where calls keep
    // coming and none stands still.
    SS_STAND_FIRST_MS = 1,
    SS_STAND_LAST_MS = 4,
};

// ---- what loops have cost lately (costs.c)

struct ss_cost_key {
    uint32_t slot;
    uint32_t tag;
};

// Of a loop function, what else tells loops apart, and the number of items.
struct ss_cost_key ss_cost_key(uintptr_t run, uintptr_t what, size_t items);

// Ticks of all threads together; false: not known.
bool ss_cost_get(struct ss_cost_key key, uint64_t *cost);
void ss_cost_put(struct ss_cost_key key, bool known, uint64_t before, uint64_t cost);

#endif // SS_REGION_COSTS_H
