// SPDX-License-Identifier: ISC
//
// What this layer needs of processor and kernel: a cheap clock, a pause, futexes, the barrier that
// a thief makes its victims pay nothing for, the floating-point control word, the current CPU.
// Everything is inline and without state of its own.

#ifndef SS_PTP_MACHINE_H
#define SS_PTP_MACHINE_H

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#define ptp_likely(x)   __builtin_expect(!!(x), 1)
#define ptp_unlikely(x) __builtin_expect(!!(x), 0)

static inline void cpu_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    _mm_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ __volatile__("yield" ::: "memory");
#else
    __asm__ __volatile__("" ::: "memory");
#endif
}

static inline uint64_t monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// A counter that goes up with time: 10 ns a look on x86, a third of clock_gettime(). Its unit is
// learnt by ptp_watch (watch.c). Only estimates are made of it: a counter that jumps or differs
// between CPUs costs speed, never a result.
static inline uint64_t ticks(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __rdtsc();
#elif defined(__aarch64__)
    uint64_t t;
    __asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(t));
    return t;
#else
    return monotonic_ns();
#endif
}

// Sleeps while the word has this value, until `deadline` (of monotonic_ns(); 0: without limit). It
// is a point in time, so that one who is interrupted by signals all the time and begins anew does
// not sleep for ever.
static inline void futex_wait_until(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline)
{
    struct timespec t = {(time_t)(deadline / 1000000000u), (long)(deadline % 1000000000u)};
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, deadline ? &t : NULL, NULL,
            FUTEX_BITSET_MATCH_ANY);
}

static inline void futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static inline bool membarrier_register(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

// A full barrier on every CPU that runs a thread of this process. False: not possible (forbidden by
// a filter, or not registered).
static inline bool membarrier_all(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

static inline unsigned current_cpu(void)
{
    int cpu = sched_getcpu();
    return cpu < 0 ? 0 : (unsigned)cpu;
}

// The floating-point control word, and the same with denormals flushed to zero.
#if defined(__SSE__)
typedef uint32_t fpu_state;
static inline fpu_state fpu_get(void)
{
    return _mm_getcsr();
}
static inline void fpu_set(fpu_state state)
{
    _mm_setcsr(state);
}
static inline fpu_state fpu_without_denormals(fpu_state state)
{
    return state | 0x8040u; // flush to zero, denormals are zero
}
#elif defined(__aarch64__)
typedef uint64_t fpu_state;
static inline fpu_state fpu_get(void)
{
    fpu_state state;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(state));
    return state;
}
static inline void fpu_set(fpu_state state)
{
    __asm__ __volatile__("msr fpcr, %0" ::"r"(state));
}
static inline fpu_state fpu_without_denormals(fpu_state state)
{
    return state | 0x1080000u; // FZ, FZ16
}
#else
typedef uint32_t fpu_state;
static inline fpu_state fpu_get(void)
{
    return 0;
}
static inline void fpu_set(fpu_state state)
{
    (void)state;
}
static inline fpu_state fpu_without_denormals(fpu_state state)
{
    return state;
}
#endif

#endif // SS_PTP_MACHINE_H
