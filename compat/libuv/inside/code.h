// SPDX-License-Identifier: ISC
//
// What machine code says, as far as it is asked here: which functions a function calls. x86-64 and
// arm64, each of which can be read on the other. Instructions are not decoded one after the other:
// every place that could be a direct call counts. So what is found is more than what is there,
// never less; the finder asks for what *all* of many functions have in common (finder.c).

#ifndef SS_INSIDE_CODE_H
#define SS_INSIDE_CODE_H

#include "object.h"

// Calls `each` with the target of everything in the function that could be a direct call or jump
// (E8/E9 rel32; BL/B), as far as the target is code of the object. Ends early when it says false.
typedef bool ss_target_fn(void *context, uint64_t target);
void ss_code_targets(const struct ss_object *object, uint64_t function, uint64_t size,
                     ss_target_fn *each, void *context);

// Could the function call this target directly?
bool ss_code_calls(const struct ss_object *object, uint64_t function, uint64_t size,
                   uint64_t target);

// Could it call `name`, which the object exports at `address`, directly or through the linkage
// table?
bool ss_code_calls_name(const struct ss_object *object, uint64_t function, uint64_t size,
                        const char *name, uint64_t address);

// The pointer through which the stub at this address jumps; 0: not a stub of a linkage table.
uint64_t ss_code_stub_slot(const struct ss_object *object, uint64_t address);

#endif // SS_INSIDE_CODE_H
