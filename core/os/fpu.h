// SPDX-License-Identifier: ISC
//
// The floating-point control word of the calling thread, and the same with denormals flushed to
// zero. Inline and without state: compatibility layers and tests may include it.

#ifndef SS_FPU_H
#define SS_FPU_H

#include <stdint.h>

#if defined(__SSE__)
typedef uint32_t ss_fpu;
static inline ss_fpu ss_fpu_get(void)
{
    return __builtin_ia32_stmxcsr();
}
static inline void ss_fpu_set(ss_fpu word)
{
    __builtin_ia32_ldmxcsr(word);
}
static inline ss_fpu ss_fpu_without_denormals(ss_fpu word)
{
    return word | 0x8040u; // flush to zero, denormals are zero
}
#elif defined(__aarch64__)
typedef uint64_t ss_fpu;
static inline ss_fpu ss_fpu_get(void)
{
    ss_fpu word;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(word));
    return word;
}
static inline void ss_fpu_set(ss_fpu word)
{
    __asm__ __volatile__("msr fpcr, %0" ::"r"(word));
}
static inline ss_fpu ss_fpu_without_denormals(ss_fpu word)
{
    return word | 0x1080000u; // FZ, FZ16
}
#else
typedef uint32_t ss_fpu;
static inline ss_fpu ss_fpu_get(void)
{
    return 0;
}
static inline void ss_fpu_set(ss_fpu word)
{
    (void)word;
}
static inline ss_fpu ss_fpu_without_denormals(ss_fpu word)
{
    return word;
}
#endif

#endif // SS_FPU_H
