// SPDX-License-Identifier: ISC
//
// The simulated machine's own core/os/ticks.h: its counter is its clock, in ns.

#ifndef SS_TICKS_H
#define SS_TICKS_H

#include "base/atomic.h"
#include "os/os.h"

extern _Atomic uint64_t ss_ticks_per_us; // 1000

uint64_t sim_ticks(void);

static inline uint64_t ss_ticks(void)
{
    return sim_ticks();
}

static inline uint64_t ss_ticks_of_us(uint64_t us)
{
    return us * SS_NS_PER_US;
}

static inline uint64_t ss_ticks_of_ns(uint64_t ns)
{
    return ns;
}

static inline void ss_ticks_learn(uint64_t now)
{
    (void)now;
}

#endif // SS_TICKS_H
