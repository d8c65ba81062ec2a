// SPDX-License-Identifier: ISC
//
// What decisions are made by: times and numbers that come from what a machine does, or from what a
// contract promises. None of them is needed for correctness, except that nothing is later than its
// contract has it.
//
// Each names what it depends on, and the benchmark or the contract that decided it. The costs were
// measured on a virtual machine with two CPUs on which a system call takes 0.13 us, and a wake-up
// of a thread on a halted CPU 7 us for the waker and 22 us until the thread runs.

#ifndef SS_COSTS_H
#define SS_COSTS_H

#include "os/os.h"

// ---- wake-ups

// What queued work must be worth to wake a worker for it. Depends on: the cost of a wake-up, both
// threads together. bench/glib empty-*, part-load-*.
#define SS_WAKE_COST_NS 30000u

// A woken worker that has not come after this time waits for a CPU, perhaps behind its waker: then
// another is woken, elsewhere. Depends on: the latency of a wake-up (22 us), several times.
#define SS_ARRIVAL_NS (100 * SS_NS_PER_US)

// ---- jobs taken at once, and notices

// A worker takes as many jobs as this, or as take this long by the queue's mean. Depends on: what
// the two turns at the queue's lock cost that each batch needs; what a batch holds is not to be had
// by others until it is recalled. bench/glib empty-*.
#define SS_BATCH_MAX 64u
#define SS_BATCH_NS  10000u

// For how long a worker may owe a notice. Depends on: the cost of a wake-up; a notice costs one.
// bench/libuv work-64.
#define SS_OWED_NS 50000u

// ---- queues that run dry (queue/dry.h)

// Jobs below this are tiny: waking a worker for one costs many times what it takes. Depends on: the
// cost of a wake-up.
#define SS_TINY_JOB_NS 2000u

// Jobs keep coming if the queue was empty for less than this before they came, or when a worker has
// served so many without leaving. Depends on: the cost of a wake-up.
#define SS_STEADY_GAP_NS 50000u
#define SS_STEADY_JOBS   64u

// A worker that has less than this to do counts as run dry. Otherwise it would keep pace with its
// pushers, taking a few jobs at a time for as much CPU as they use. bench/glib producers.
#define SS_DRY_NS 2000u

// How long a nap is, and how long a worker lingers; and the same where pushers wait for notices,
// where naps are for jobs below the third, and a worker lingers for the time that so many jobs
// take, too. Depends on: the cost of a wake-up and of a yield; how much a nap overshoots.
// bench/glib empty-*; bench/libuv work-64, stat-64.
#define SS_NAP_NS               50000u
#define SS_LINGER_NS            5000u
#define SS_NOTICED_NAP_NS       10000u
#define SS_NOTICED_NAP_BELOW_NS 400u
#define SS_NOTICED_LINGER_NS    10000u
#define SS_NOTICED_LINGER_JOBS  10u

// After a failure that follows failures, at most about twice as many occasions are skipped.
#define SS_DRY_SKIPS_MAX 1024u

// A worker too many leaves after it has served a queue for this long. Not before: it may have come
// because no other did (growth.c, "stall").
#define SS_SURPLUS_STAY_NS SS_NS_PER_MS

// If no thread could be had, a thread that waits for a queue asks for one again after this long:
// there is no other that could.
#define SS_WAIT_RETRY_NS (100 * SS_NS_PER_MS)

// ---- homing: waking the worker on its waker's CPU (placement.c)

// Wakes that come one after the other within this time, so many of them, with a sleep of the waker
// between. Depends on: the time of a round trip on one CPU, and the cost of the system call that
// tells whether the thread has slept. bench/glib round-trip.
#define SS_HOMING_GAP_NS (60 * SS_NS_PER_US)
#define SS_HOMING_STREAK 4u

// A homed worker that comes later than this found its waker's CPU busy: no homing for a while,
// twice as long each time that it happens again soon. Depends on: the latency of a wake-up on the
// same CPU (2 us), many times. bench/glib part-load-50k.
#define SS_HOMING_LATE_NS      (50 * SS_NS_PER_US)
#define SS_HOMING_PAUSE_MIN_NS (4 * SS_NS_PER_MS)
#define SS_HOMING_PAUSE_MAX_NS SS_NS_PER_S

// ---- idle workers

// As many parked workers of a group are kept for good. Depends on: the memory of a sleeping thread,
// against the creation of one; as many again as CPUs for jobs that block.
#define SS_IDLE_KEPT_PER_CPU 2u
#define SS_IDLE_KEPT_MIN     4u

// A parked worker ends after this time where more are parked than are kept for good: the contract
// of smolscale_set_max_idle().
#define SS_IDLE_SURPLUS_NS SS_NS_PER_S

// The same for one that exceeds the user's limit on idle workers: long enough to be there for the
// next of a series of round trips. Depends on: the cost of creating a thread. bench/glib
// round-trip.
#define SS_IDLE_EXCESS_NS (SS_NS_PER_S / 2)

// After a failure to create a worker the next attempt waits so long, unless a thread waits for the
// outcome.
// Depends on: nothing measured. Often enough to go on soon, and seldom enough to cost nothing.
#define SS_CREATE_RETRY_NS (100 * SS_NS_PER_MS)

// ---- the balancer's looks ("ticks")

// While something is suspicious. Depends on: the cost of a look (0.4 us for each thread's clock)
// and of a wake-up; contract 4: a replacement for a blocked worker comes well below 1 ms.
// bench/glib sleeping-*.
#define SS_TICK_MIN_NS (100 * SS_NS_PER_US)

// The time between ticks doubles up to this while workers get on, and to the second while work
// waits and nothing changes: the stall of a queue (below) is to be seen in time.
#define SS_TICK_MAX_NS   SS_NS_PER_MS
#define SS_TICK_STILL_NS (4 * SS_NS_PER_MS)

// While notices are owed, or soon may be: the header promises them after 0.6 ms at most. Less would
// cost as much as the notices do: a wake-up each. bench/libuv work-64.
#define SS_TICK_NOTICES_NS (500 * SS_NS_PER_US)

// Ticks without anything to watch before the balancer parks.
#define SS_TICKS_UNTIL_PARKED 2

// Workers that are known to be blocked are looked at in one tick of so many, and no more in a tick
// than ss.lock may be held for: where there are thousands, the looks at them would take the time of
// those that matter. bench/glib sleeping-unlimited.
#define SS_TICKS_PER_BLOCKED_LOOK 8

// ss.lock is dropped after a look at so many workers. Depends on: the cost of a cache miss (0.1
// us), a few for each worker.
#define SS_WORKERS_PER_HOLD 64

// So many workers whose clocks stand are asked about by one question (how many threads of the
// machine are runnable?) before each is looked at in /proc. Depends on: a look at a thread's stat
// (2.7 us) costs a third of the creation of a thread. bench/glib sleeping-unlimited.
#define SS_CROWD 8

// ---- how many workers

// As many times more workers are added each time that those added last were found blocked, and for
// how many ticks this is remembered. bench/glib sleeping-unlimited (200 threads in about 3 ms).
#define SS_GROWTH_FACTOR 4
#define SS_GROWTH_TICKS  4

// A worker that computes on one job for this time is a hog: its CPU is shared with others, up to so
// many hogs a CPU: with their own worker that makes four. Depends on: the scheduler's time slices,
// some ms each. Contract 4: short jobs flow beside long ones.
#define SS_HOG_NS       (20 * SS_NS_PER_MS)
#define SS_HOGS_PER_CPU 3u

// How long a queue that may start a job may stand before it gets one more worker, whatever the
// others do. Quick for the first two added workers, so that a handful of jobs that wait for one
// another meet soon; then so that one starts every 10 ms, and once there are four workers a CPU
// every 100 ms: contract 4's times, less what the looks before and after take. bench/libuv
// behind-computing, bench/glib mutual.
#define SS_STALL_FIRST_NS   (4 * SS_NS_PER_MS)
#define SS_STALL_NS         (8 * SS_NS_PER_MS)
#define SS_STALL_CROWDED_NS (95 * SS_NS_PER_MS)

// ---- the CPUs that the process may use

// They are counted again so often while there is work, for the first time when the first workers
// have come; as the union of the masks of so many workers at most. Depends on: the cost of a count,
// a system call for each mask and some files of the cgroup.
#define SS_CPUS_LOOK_NS       SS_NS_PER_S
#define SS_CPUS_FIRST_LOOK_NS (5 * SS_NS_PER_MS)
#define SS_CPUS_MASKS         16

// ---- lanes of tasks (task/lane.c)

// A worker that serves a lane looks at the clock, the inbox and what else wants it this often: by
// time, and by polls. Depends on: the cost of the clock (20 ns) beside that of a poll. bench/tasks
// yield_now, jitter.
#define SS_ATTEND_NS    (10 * SS_NS_PER_US)
#define SS_ATTEND_POLLS 64

// How often a thread that runs tasks looks for events, while any are waited for. Depends on: the
// cost of a system call. bench/descriptors.
#define SS_EVENTS_EVERY_NS (50 * SS_NS_PER_US)

// For how long a worker serves a lane before other runnables get their turn. Contract 7.
#define SS_SLICE_NS (200 * SS_NS_PER_US)

// A worker that comes to a lane later than this has waited behind its waker on one CPU: then those
// called in the next while are kept away from the waker's CPU, for the times that follow. Depends
// on: the latency of a wake-up; where the kernel wakes a thread. Meant for bench/tasks
// part-load-20k; its gain was not measured apart.
#define SS_LANE_LATE_NS (100 * SS_NS_PER_US)
#define SS_APART_MIN_NS (16 * SS_NS_PER_MS)
#define SS_APART_MAX_NS SS_NS_PER_S

// How often smolscale_block_on() polls on the calling thread before it offers the task to the
// workers, and for how long an offer stands. Depends on: the cost of two wake-ups a wait of a
// thread. bench/tasks ping_pong from outside.
#define SS_TURNS_ON_THREAD 2
#define SS_OFFER_NS        (10 * SS_NS_PER_MS)

// An immortal task that ends at once, so often in a row, rests for this long. A delay that is
// shorter than the quotient of the two is none.
#define SS_LIVES_WITHOUT_REST  100
#define SS_LIFE_REST_NS        SS_NS_PER_MS
#define SS_LIFE_SHORT_DELAY_NS (SS_LIFE_REST_NS / SS_LIVES_WITHOUT_REST)

// ---- lanes, as the balancer sees them (task/spread.c)

// How often it looks at them: while they are served; when a server has not got on; when spreading
// may pay, or is on trial; when a lane was taken from a server that is still in a section. And for
// how many looks without a lane served it goes on. Depends on: the cost of a tick.
#define SS_LANES_LOOK_NS         (8 * SS_NS_PER_MS)
#define SS_LANES_LOOK_STUCK_NS   (4 * SS_NS_PER_MS)
#define SS_LANES_LOOK_BUSY_NS    SS_NS_PER_MS
#define SS_LANES_LOOK_RETAKEN_NS (100 * SS_NS_PER_US)
#define SS_LANES_QUIET_LOOKS     2

// A server that computes in one poll for this long loses its lane. Contract 4.
#define SS_LANE_STUCK_NS (4 * SS_NS_PER_MS)

// Spreading tasks over more lanes: polls longer than this gain in any case; else it is a trial of
// this time, which must raise the polls a second by this share of what the lanes added could (n
// lanes to m: by a factor of m / n), or is not repeated for the times that follow. Depends on: what
// handing a cache line over costs. bench/tasks fanout, spawn_many.
#define SS_LONG_POLL_NS         (20 * SS_NS_PER_US)
#define SS_TRIAL_NS             (2 * SS_NS_PER_MS)
#define SS_TRIAL_SHARE          0.25
#define SS_TRIAL_BACKOFF_MIN_NS (10 * SS_NS_PER_MS)
#define SS_TRIAL_BACKOFF_MAX_NS SS_NS_PER_S

// Looks until an order to move tasks must have had its effect; tasks that one lane may have more
// than another.
#define SS_ORDER_LOOKS 4
#define SS_EVEN_ENOUGH 8

// ---- parallel calls (region/), each with the row of bench/pthreadpool that shows it

enum {
    // What waking costs, and so from what rest on a helper is asked for; and the cost from which on
    // helpers that are awake already are let in ("part-load", "two-pools-*").
    SS_HELP_PAYS_US = 40,
    SS_AWAKE_HELP_PAYS_US = 8,

    // How long a helper waits for the next call, if the recent ones came sooner than that
    // ("100us-*").
    SS_HELPER_LINGERS_US = 20,

    // The caller thinks of asking for help this often: first, and then while it might ask for more.
    SS_LOOK_SOON_US = 16,
    SS_LOOK_LATER_US = 100,

    // A piece takes about an eighth of its share, but this long at least and at most. An
    // announcement and a look at the clock, 30 ns, are 1 % of the shortest ("100us-items-*",
    // "20ms-items-10ns").
    SS_PIECE_US = 4,
    SS_LONG_PIECE_US = 50,
    SS_PIECES_OF_SHARE = 8,

    // What a theft costs, and one that needs a membarrier: rests that their owner will have done
    // sooner are left alone for so long. The latter is longer than the short pieces at a call's
    // end.
    SS_THEFT_US = 2,
    SS_TAKE_BACK_US = 8,

    // How long the caller spins for the last helper's last item before it sleeps.
    SS_WAIT_SPIN_US = 30,

    // After how long a call that stands still is first helped, and between looks where calls keep
    // coming and none stands still.
    SS_STAND_FIRST_MS = 1,
    SS_STAND_LAST_MS = 4,
};

#endif // SS_COSTS_H
