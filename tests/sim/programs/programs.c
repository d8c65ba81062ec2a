// SPDX-License-Identifier: ISC
//
// All programs.

#include "program.h"

#include <stddef.h>

#define PROGRAMS(X) \
    X(first_push) \
    X(push_park) \
    X(two_pushers) \
    X(blocked) \
    X(elastic) \
    X(announced) \
    X(family) \
    X(push_many) \
    X(notices) \
    X(cancel) \
    X(limit) \
    X(free) \
    X(close) \
    X(dedicated) \
    X(group) \
    X(group_limit) \
    X(retire) \
    X(eager) \
    X(fork_child) \
    X(fork_pushed) \
    X(loop) \
    X(loop_twice) \
    X(team) \
    X(spawn) \
    X(join_task) \
    X(cancel_task) \
    X(waker) \
    X(channel) \
    X(sleep) \
    X(deadline) \
    X(block_on) \
    X(unblock) \
    X(pipe) \
    X(local) \
    X(lanes) \
    X(stuck_lane)

#define DECLARE(name) extern const struct sim_program program_##name;
PROGRAMS(DECLARE)

#define ENTER(name) &program_##name,
const struct sim_program *const sim_programs[] = {PROGRAMS(ENTER) NULL};
