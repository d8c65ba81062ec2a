// SPDX-License-Identifier: ISC
//
// Coroutines, from Boost.Context (context.cc).

#ifndef SIM_CONTEXT_H
#define SIM_CONTEXT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// A new one on the stack that ends at `top`. `entry` must not return.
void *sim_context_new(void *top, size_t size, void (*entry)(void));

// Goes to `to`. The coroutine that comes back stores in `*from` where the caller is to go on.
void sim_context_switch(void **from, void *to);

#ifdef __cplusplus
}
#endif

#endif // SIM_CONTEXT_H
