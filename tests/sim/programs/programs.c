// SPDX-License-Identifier: ISC
//
// All programs.

#include "program.h"

#include <stddef.h>

#define PROGRAMS(X) \
    X(first_push)   \
    X(push_park)    \
    X(two_pushers)  \
    X(blocked)      \
    X(cancel)       \
    X(limit)        \
    X(free)         \
    X(close)        \
    X(dedicated)

#define DECLARE(name) extern const struct sim_program program_##name;
PROGRAMS(DECLARE)

#define ENTER(name) &program_##name,
const struct sim_program *const sim_programs[] = {PROGRAMS(ENTER) NULL};
