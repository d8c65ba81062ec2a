// SPDX-License-Identifier: ISC
//
// All programs.

#include "program.h"

#include <stddef.h>

#define PROGRAMS(X)      \
    X(first_push)        \
    X(push_park)         \
    X(two_pushers)       \
    X(batch)             \
    X(batch_blocked)     \
    X(blocked)           \
    X(blocked_late)      \
    X(blocked_waited)    \
    X(left)              \
    X(left_to_come)      \
    X(left_taken_out)    \
    X(left_by_end)       \
    X(elastic)           \
    X(announced)         \
    X(family)            \
    X(family_late)       \
    X(push_many)         \
    X(notices)           \
    X(notices_late)      \
    X(cancel)            \
    X(limit)             \
    X(limit_left)        \
    X(free)              \
    X(close)             \
    X(close_waited)      \
    X(dedicated)         \
    X(dedicated_twice)   \
    X(dedicated_lowered) \
    X(dedicated_closed)  \
    X(fronts)            \
    X(fronts_wait)       \
    X(fronts_order)      \
    X(fronts_cancel)     \
    X(fronts_shut)       \
    X(fronts_close)      \
    X(fronts_fork)       \
    X(group)             \
    X(group_limit)       \
    X(group_second)      \
    X(group_ended)       \
    X(spawner)           \
    X(spawner_kept)      \
    X(family_raised)     \
    X(ended_timer)       \
    X(retire_limit)      \
    X(retire_called)     \
    X(retire)            \
    X(eager)             \
    X(mix)               \
    X(mix_tasks)         \
    X(mix_fork)          \
    X(mix_more_tasks)    \
    X(mix_loops)         \
    X(fork_child)        \
    X(fork_pushed)       \
    X(fork_used)         \
    X(fork_blocked)      \
    X(fork_closed)       \
    X(loop)              \
    X(loop_twice)        \
    X(team)              \
    X(callers)           \
    X(dozing)            \
    X(spawn)             \
    X(join_task)         \
    X(cancel_task)       \
    X(cancel_recv)       \
    X(waker)             \
    X(channel)           \
    X(sleep)             \
    X(deadline)          \
    X(block_on)          \
    X(unblock)           \
    X(pipe)              \
    X(pipe_push)         \
    X(local)             \
    X(lanes)             \
    X(stuck_lane)        \
    X(stuck_joined)

#define DECLARE(name) extern const struct sim_program program_##name;
PROGRAMS(DECLARE)

#define ENTER(name) &program_##name,
const struct sim_program *const sim_programs[] = {PROGRAMS(ENTER) NULL};
