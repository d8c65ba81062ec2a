// SPDX-License-Identifier: ISC
//
// The unit of ss_ticks().

#include "os/ticks.h"
#include "base/room.h"

_Atomic uint64_t ss_ticks_per_us = 2500;

#if defined(__aarch64__)

void ss_ticks_learn(uint64_t now)
{
    uint64_t hz;
    (void)now;
    __asm__ __volatile__("mrs %0, cntfrq_el0" : "=r"(hz));
    store_relaxed(&ss_ticks_per_us, hz / 1000000 ? hz / 1000000 : 1);
}

#else

#define STRETCH_NS SS_NS_PER_MS // as long at least is measured

// Where the stretch begins; of ss_ticks_learn() alone.
static uint64_t from_ticks, from_ns;
static bool learnt;

void ss_ticks_learn(uint64_t now)
{
    if (learnt)
        return;
    uint64_t ticks = ss_ticks();
    if (from_ns == 0) {
        from_ticks = ticks;
        from_ns = now;
        return;
    }
    if (now - from_ns < STRETCH_NS)
        return;
    learnt = true;
    uint64_t per_us = (ticks - from_ticks) * SS_NS_PER_US / (now - from_ns);
    if (per_us > 0)
        store_relaxed(&ss_ticks_per_us, per_us);
}

#endif

SS_ROOM(os_ticks, NULL, NULL); // a tick is as long in the child
