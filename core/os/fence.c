// SPDX-License-Identifier: ISC
//
// membarrier(2), with a fallback.

#include "os/fence.h"

#include "base/room.h"
#include "os/os.h"

_Atomic bool ss_asymmetric;

// A while in which the stores of every light fence that began before it have become visible.
#define SETTLE_RESTS 20 // of some 50 us each

static _Atomic bool forbidden; // since registration: it is not tried again
static _Atomic bool settling;  // forbidden a moment ago: light fences that were not full may be
                               // under way

// Forbidden since registration, by a filter. From now on light fences are full; those that began
// before may still stand between a store that no other CPU sees yet and a load that is done. No
// processor holds a store back for as long as this rests, and one that switches threads lets it go.
static void give_up(void)
{
    store_relaxed(&forbidden, true);
    store_release(&settling, true);
    store_seq_cst(&ss_asymmetric, false);
    for (unsigned i = 0; i < SETTLE_RESTS; i++)
        ss_os.rest();
    store_release(&settling, false);
    fence_seq_cst();
}

void ss_heavy_fence(void)
{
    fence_seq_cst();
    if (load_acquire(&ss_asymmetric)) {
        if (ss_os.membarrier())
            return;
        give_up();
    }
    // A thread that sees that another is giving up waits until it has (acquire: of ss_asymmetric).
    while (load_acquire(&settling))
        ss_os.rest();
    fence_seq_cst();
}

bool ss_try_heavy_fence(void)
{
    if (!load_acquire(&ss_asymmetric))
        return false;
    if (ss_os.membarrier())
        return true;
    give_up();
    return false;
}

// Order: registered, then announced. A thread that reads true early has its fences executed by the
// kernel; one that reads false late executes them itself.
void ss_asymmetric_register(void)
{
    if (!load_relaxed(&ss_asymmetric) && !load_relaxed(&forbidden) && ss_os.membarrier_register())
        store_seq_cst(&ss_asymmetric, true);
}

// The child is registered only if its parent was, on some kernels.
static void after_fork(void)
{
    store_relaxed(&ss_asymmetric, false);
    store_relaxed(&forbidden, false);
    store_relaxed(&settling, false);
}

SS_ROOM(os_fence, NULL, after_fork);
