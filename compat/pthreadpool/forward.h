// SPDX-License-Identifier: ISC
//
// SMOLSCALE_DISABLE=1, and setuid programs: every function of the library hands the call on to the
// native implementation that it was preloaded before. Each begins with one of these macros; they
// cost one predicted branch.

#ifndef SS_PTP_FORWARD_H
#define SS_PTP_FORWARD_H

#include "layer.h"

// True: calls are to be handed on.
static inline bool ptp_forwards(void)
{
    int mode = load_relaxed(&ptp_mode);
    return ptp_unlikely(mode != mode_ours) &&
           (mode == mode_native || ptp_decide_mode() == mode_native);
}

#define FORWARD(name, result, arguments, ...)                                                    \
    if (ptp_forwards()) {                                                                        \
        result (*native)(__VA_ARGS__) = (result(*)(__VA_ARGS__))ptp_native(#name, (void *)name); \
        if (native)                                                                              \
            return native arguments;                                                             \
    }

#define FORWARD_VOID(name, arguments, ...)                                                    \
    if (ptp_forwards()) {                                                                     \
        void (*native)(__VA_ARGS__) = (void (*)(__VA_ARGS__))ptp_native(#name, (void *)name); \
        if (native) {                                                                         \
            native arguments;                                                                 \
            return;                                                                           \
        }                                                                                     \
    }

#endif // SS_PTP_FORWARD_H
