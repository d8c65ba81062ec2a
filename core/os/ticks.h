// SPDX-License-Identifier: ISC
//
// A counter that goes up with time: 10 ns a look on x86, a third of what the clock costs. Only
// estimates are made of it: a counter that jumps, or that differs between CPUs, costs speed and
// never a result. The clock of os.h measures what must be right.

#ifndef SS_TICKS_H
#define SS_TICKS_H

#include "base/atomic.h"
#include "os/os.h"

// Ticks in a microsecond: a guess until ss_ticks_learn() has measured it.
extern _Atomic uint64_t ss_ticks_per_us;

static inline uint64_t ss_ticks(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return ss_os.now();
#endif
}

static inline uint64_t ss_ticks_of_us(uint64_t us)
{
    return us * load_relaxed(&ss_ticks_per_us);
}

static inline uint64_t ss_ticks_of_ns(uint64_t ns)
{
    return ns * load_relaxed(&ss_ticks_per_us) / SS_NS_PER_US;
}

// Measures the unit between two of its calls that are a millisecond or more apart, once. To be
// called now and then by one thread at a time, off every caller's path.
void ss_ticks_learn(uint64_t now);

#endif // SS_TICKS_H
