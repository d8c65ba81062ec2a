// SPDX-License-Identifier: ISC
//
// The USDT probes, for points.c alone. Provider: smolscale. Without <sys/sdt.h> (-Dusdt=disabled,
// or not installed) there are none, and a probe is nothing.

#ifndef SS_PROBES_H
#define SS_PROBES_H

#ifdef SS_USDT

#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

// All have one semaphore, which is `ss_observed`.
#define SS_PROBE_SEMAPHORE(name)                                                              \
    extern unsigned short smolscale_##name##_semaphore __attribute__((visibility("hidden"))); \
    __asm__(".hidden smolscale_" #name "_semaphore\n"                                         \
            ".globl smolscale_" #name "_semaphore\n"                                          \
            ".set smolscale_" #name "_semaphore, ss_observed")

#define SS_PROBE0(name)          STAP_PROBE(smolscale, name)
#define SS_PROBE1(name, a)       STAP_PROBE1(smolscale, name, a)
#define SS_PROBE2(name, a, b)    STAP_PROBE2(smolscale, name, a, b)
#define SS_PROBE3(name, a, b, c) STAP_PROBE3(smolscale, name, a, b, c)

#else

#define SS_PROBE_SEMAPHORE(name) _Static_assert(1, "")
#define SS_PROBE0(name)          ((void)0)
#define SS_PROBE1(name, a)       ((void)(a))
#define SS_PROBE2(name, a, b)    ((void)(a), (void)(b))
#define SS_PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))

#endif

#endif // SS_PROBES_H
