// SPDX-License-Identifier: ISC
//
// The table of rooms: every file that has variables of its own, from the lowest room up. The first
// use and fork() go through it in this order; see base/room.h.

#include "base/room.h"

// What must come first within a room:
//   os      options, which the others ask;
//   sched   the executor's counts, to which the groups and then the workers add themselves again;
//           the groups, before workers and queues that refer to them.
#define ROOMS(X)          \
    X(os_options)         \
    X(os_linux_linux)     \
    X(os_linux_refused)   \
    X(os_linux_cpus)      \
    X(os_linux_placement) \
    X(os_linux_look)      \
    X(os_linux_process)   \
    X(os_fence)           \
    X(os_ticks)           \
    X(trace_points)       \
    X(trace_pools)        \
    X(trace_ring)         \
    X(sched_costs)        \
    X(sched_executor)     \
    X(sched_group)        \
    X(sched_spawner)      \
    X(sched_blocked)      \
    X(sched_balancer)     \
    X(sched_placement)    \
    X(sched_worker)       \
    X(sched_duty)         \
    X(queue_fronts)       \
    X(queue_life)         \
    X(region_history)     \
    X(region_lend)        \
    X(region_stand)       \
    X(region_team)        \
    X(region_for)         \
    X(io_timer)           \
    X(io_seat)            \
    X(io_reactor)         \
    X(task_slab)          \
    X(task_lane)          \
    X(task_spread)        \
    X(task_task)          \
    X(task_block_on)      \
    X(task_local)         \
    X(task_unblock)       \
    X(sync_channel)       \
    X(process_stats)      \
    X(process_trace)      \
    X(process_trim)       \
    X(process_page)

#define DECLARE(path) extern const struct ss_room ss_room_##path;
ROOMS(DECLARE)

#define ENTER(path) &ss_room_##path,
const struct ss_room *const ss_rooms[] = {ROOMS(ENTER) NULL};
