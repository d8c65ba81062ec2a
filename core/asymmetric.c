// SPDX-License-Identifier: ISC
//
// membarrier(2), with a fallback.

#include "asymmetric.h"

#include "os.h"

_Atomic bool ss_asymmetric;

void ss_heavy_fence(void)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (load_relaxed(&ss_asymmetric))
        ss_os.membarrier();
}

// Order: registered, then announced. A thread that reads true early has its fences executed by the
// kernel; one that reads false late executes them itself.
void ss_asymmetric_register(void)
{
    if (!load_relaxed(&ss_asymmetric) && ss_os.membarrier_register())
        atomic_store_explicit(&ss_asymmetric, true, memory_order_seq_cst);
}

void ss_asymmetric_after_fork(void)
{
    store_relaxed(&ss_asymmetric, false);
}
