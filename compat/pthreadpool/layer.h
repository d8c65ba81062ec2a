// SPDX-License-Identifier: ISC
//
// Inside the pthreadpool layer: a pool is a team of the core (smolscale.h, "Teams"), under another
// name and with nothing of its own. pool.c makes and frees teams; shapes.c makes loops of the 51
// parallel functions; forward.c hands on to the native library.

#ifndef SS_PTP_LAYER_H
#define SS_PTP_LAYER_H

#include "base/atomic.h"
#include "pthreadpool.h"
#include "smolscale.h"

#define ptp_likely(x)   __builtin_expect(!!(x), 1)
#define ptp_unlikely(x) __builtin_expect(!!(x), 0)

static inline smolscale_team *ptp_team(pthreadpool_t pool)
{
    return (smolscale_team *)pool;
}

// ---- forward.c

enum { mode_unknown = 0, mode_ours, mode_native };
extern _Atomic int ptp_mode; // one of these
int ptp_decide_mode(void);
void *ptp_native(const char *name, void *ours);

#endif // SS_PTP_LAYER_H
