// SPDX-License-Identifier: ISC
//
// Fences of unequal cost. Where a thread does something very often and another rarely looks into
// what it does, both need a full fence between "write mine" and "read yours" (Dekker). Here the
// frequent side has a *light* one, which only keeps the compiler from reordering, and the rare side
// a *heavy* one, membarrier(2), which executes a full fence on every CPU that runs a thread of the
// process. So it is as if each light fence had been full: whichever of the two comes first, the
// other side's read sees the write before it.
//
// Until the kernel has registered the process, and where it refuses, light fences are full ones and
// the heavy one is, too. Registration takes some 16 ms, hence the balancer does it.

#ifndef SS_FENCE_H
#define SS_FENCE_H

#include "base/atomic.h"

#include <stdbool.h>
#include <stdint.h>

// membarrier is in use. Set once, before any thread relies on it: one that still sees false pays
// for a full fence.
extern _Atomic bool ss_asymmetric;

static inline void ss_light_fence(void)
{
    // Acquire: a thread that sees true must not have read before it what the fence is to order.
    if (__builtin_expect(load_acquire(&ss_asymmetric), 1))
        compiler_fence();
    else
        fence_seq_cst();
}

// 0.4 to 7 µs.
void ss_heavy_fence(void);

// For pairs whose light side cannot change over: it has found ss_asymmetric true once, and goes on
// without a fence of its own. False: there was no fence, because membarrier has been forbidden
// since, or this is a child of fork(); the caller has to do without what it wanted.
bool ss_try_heavy_fence(void);

// Registers the process. Slow; by the balancer.
void ss_asymmetric_register(void);

#endif // SS_FENCE_H
