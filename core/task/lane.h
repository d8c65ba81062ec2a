// SPDX-License-Identifier: ISC
//
// Lanes: run queues of tasks. A worker that finds one in the injection queue *serves* it, and is
// then the only one that touches the queue, without an atomic read-modify-write. There is one lane
// a CPU, but only as many are in use as pay. The protocols: lane.c.
//
// Letters: S the worker that serves the lane, inside a section; A atomic, anybody; L ss.lock;
// B the balancer only (spread.c).

#ifndef SS_LANE_H
#define SS_LANE_H

#include "os/fence.h"
#include "task/part.h"
#include "task/task.h"

enum { SS_LANE_IDLE, SS_LANE_LISTED };

struct ss_lane {
    struct ss_runnable runnable; // in the injection queue while it has no server and is not idle

    struct smolscale_task *slot;        // S: runs next, at most SLOT_RUNS times in a row
    struct smolscale_task *head, *tail; // S
    unsigned slot_runs;                 // S
    _Atomic unsigned length;            // S, read as a hint: tasks in slot and queue

    _Alignas(SS_CACHE_LINE) _Atomic(struct smolscale_task *) inbox; // A: last in, first out
    _Atomic unsigned state;                                         // A: SS_LANE_*
    _Atomic uint64_t called_at;        // A: when a worker was woken for it, ns; 0: none had to be
    _Atomic(struct ss_lane *) move_to; // A: the balancer asks the server to give tasks to that lane
    _Atomic unsigned move_count;       // A: as many

    struct ss_worker *worker;       // L: serves it
    struct ss_worker *retaken_from; // B: may still be in a section on it: it may not be served yet

    // ---- B: notes
    const struct ss_worker *seen_worker;
    uint64_t seen_progress, seen_since, seen_taken;
    uint64_t stuck_cpu;        // CPU time of a server that has begun nothing since, ns; 0: it has
    uint64_t retaken_at;       // ns
    bool busy;                 // served without a break since the look before
    bool paired;               // gives to another, or is given to, by this look
    struct ss_lane *opened_by; // that gave it tasks when lanes were last opened; NULL: none did
};

// The queue of a lane is guarded by a lock that is biased to its server (see "The biased lock" in
// lane.c). NULL: the lane was taken from this worker while it was in a poll.
static inline struct ss_lane *ss_section_enter(struct ss_worker *worker)
{
    struct ss_lane_server *server = ss_lane_server(worker);
    store_relaxed(&server->in_section, true);
    ss_light_fence();
    return load_relaxed(&server->lane);
}

static inline void ss_section_leave(struct ss_worker *worker)
{
    store_release(&ss_lane_server(worker)->in_section, false);
}

static inline void ss_lane_append(struct ss_lane *lane, struct smolscale_task *task)
{
    task->next = NULL;
    if (lane->head)
        lane->tail->next = task;
    else
        lane->head = task;
    lane->tail = task;
}

static inline void ss_lane_count(struct ss_lane *lane, int change)
{
    store_relaxed(&lane->length, load_relaxed(&lane->length) + (unsigned)change);
}

// Gives a task that runs nowhere and is on no list to a lane, or to its home. Returns as
// ss_follow_up() does.
int ss_submit(struct smolscale_task *task);

// Makes a suspended task ready that the caller has the right to wake. From a task: it runs on the
// same worker, next if nothing else has been promised that, and no thread is signalled.
static inline void ss_schedule(struct smolscale_task *task)
{
    struct ss_worker *worker = ss_self;
    if (__builtin_expect(worker && !task->home, 1)) {
        struct ss_lane *lane = ss_section_enter(worker);
        if (__builtin_expect(lane != NULL, 1)) {
            if (!lane->slot)
                lane->slot = task;
            else
                ss_lane_append(lane, task);
            ss_lane_count(lane, 1);
            ss_section_leave(worker);
            return;
        }
        ss_section_leave(worker);
    }
    ss_submit(task);
}

// The same for a list, linked by `next`.
static inline void ss_schedule_list(struct smolscale_task *list)
{
    while (list) {
        struct smolscale_task *task = list;
        list = task->next;
        ss_schedule(task);
    }
}

// Puts a new task at the end of the queue that the calling worker serves; false: it serves none.
static inline bool ss_lane_append_own(struct ss_worker *worker, struct smolscale_task *task)
{
    struct ss_lane *lane = ss_section_enter(worker);
    if (lane) {
        ss_lane_append(lane, task);
        ss_lane_count(lane, 1);
    }
    ss_section_leave(worker);
    return lane != NULL;
}

// Gives what the calling worker serves, if anything, to others, because it is about to wait in the
// kernel.
void ss_lane_hand_over(void);

#define SS_LANES_MAX 256

struct ss_lanes {
    struct ss_lane
        *lane[SS_LANES_MAX]; // B: the first is static, others made when first used; never freed
    _Atomic unsigned count;  // B, read by anybody
    _Atomic(struct ss_lane *) submit_to; // A: where tasks go that come from elsewhere; a hint
    _Atomic bool single;                 // A: no second one is ever used
    unsigned retaken; // L, written by B: lanes taken from a server that is still in a section
                      // on them
    _Atomic uint64_t served; // A: how often one began to be
};
extern struct ss_lanes ss_lanes;

// One more, idle; NULL: no memory. The balancer only.
struct ss_lane *ss_lane_add(void);

// Brings a lane to a worker that the caller has turned from IDLE to LISTED, or has taken from its
// server. 0, or a negative errno value: no worker can be had.
int ss_lane_list(struct ss_lane *lane);

// Has a lane been taken from that worker which still waits for it to leave its section? For the
// balancer, or while it does not look.
bool ss_lane_taken_from(const struct ss_worker *worker);

// Takes the lane from its server, which finds out when it next enters a section. ss.lock held.
void ss_lane_detach(struct ss_lane *lane);

#endif // SS_LANE_H
