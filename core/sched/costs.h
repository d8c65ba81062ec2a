// SPDX-License-Identifier: ISC
//
// What decisions are made by.
//
//   costs      What things cost on this machine, learnt while the program runs (costs.c).
//   policies   Times that follow from the costs: a wake-up pays for what takes longer than it. The
//              formulas are in costs.c, one line each; docs/policies.md has the values on two
//              machines that differ, and the benchmark that shows each.
//   constants  Times and numbers that come from a contract or from logic, whatever a machine does.
//
// None of them is needed for correctness, except that nothing is later than its contract has it:
// each policy has bounds within which all contracts hold.

#ifndef SS_COSTS_H
#define SS_COSTS_H

#include "base/atomic.h"
#include "os/os.h"

// ---- costs, ns

// X(name, its name in SMOLSCALE_COSTS and in the counters, at first, machine B, least, most)
//
// At first they are those of machine A of docs/policies.md.
#define SS_COSTS(X)                                                                             \
    /* A system call that does nothing. */                                                      \
    X(SYSCALL, "syscall", 135, 980, 30, 20000)                                                  \
    /* Waking a thread that has slept for a short time, for the waker; and what a deep sleeper  \
       (SS_DEEP_SLEEP_NS) costs it. */                                                          \
    X(WAKE, "wake", 7300, 6100, 300, 200000)                                                    \
    X(WAKE_DEEP, "wake_deep", 8000, 32000, 300, 400000)                                         \
    /* From the begin of such a wake-up until the woken worker has arrived: on the waker's CPU; \
       elsewhere, after a short sleep; elsewhere, after a deep one. */                          \
    X(ARRIVAL_HOME, "arrival_home", 2000, 3400, 500, 200000)                                    \
    X(ARRIVAL, "arrival", 22000, 10000, 1000, 400000)                                           \
    X(ARRIVAL_DEEP, "arrival_deep", 25000, 90000, 1000, 400000)                                 \
    /* Giving up the CPU where no other thread wants it. */                                     \
    X(YIELD, "yield", 400, 1400, 50, 50000)                                                     \
    /* By how much a nap is longer than was asked for. */                                       \
    X(OVERSHOOT, "overshoot", 20000, 41000, 1000, 400000)                                       \
    /* A heavy fence (os/fence.h). */                                                           \
    X(MEMBARRIER, "membarrier", 450, 36000, 100, 400000)                                        \
    /* Creating a thread, until it runs. */                                                     \
    X(CREATION, "creation", 60000, 150000, 5000, 2000000)                                       \
    /* A cache line that another CPU has written. */                                            \
    X(LINE, "line", 57, 246, 10, 5000)

enum ss_cost {
#define NAME(id, name, first, other, least, most) SS_COST_##id,
    SS_COSTS(NAME)
#undef NAME
        SS_COST_COUNT,
};

// A thread that has slept for longer is likely to wake on a CPU that is in a deeper idle state.
#define SS_DEEP_SLEEP_NS (200 * SS_NS_PER_US)

// Their present values. Any thread writes one, without a lock: an update that is lost between two
// makes a mean follow a little later.
struct ss_costs {
    _Alignas(SS_CACHE_LINE) _Atomic uint32_t ns[SS_COST_COUNT];
    _Atomic bool fixed; // SMOLSCALE_COSTS is set: nothing is learnt
};
extern struct ss_costs ss_costs;

static inline uint32_t ss_cost(enum ss_cost cost)
{
    return load_relaxed(&ss_costs.ns[cost]);
}

// The name in SMOLSCALE_COSTS and in the counters.
const char *ss_cost_name(enum ss_cost cost);

// Moves the mean towards what was seen. Quickly down and slowly up: much makes a thing take longer
// than it costs (the CPU was wanted by others), nothing makes it cheaper.
void ss_cost_learn(enum ss_cost cost, uint64_t ns);

// The same for a wake-up, by the waker: it took so long; and by the worker that has arrived, after
// that time. `slept`: for how long it had, ns. `home`: it is on its waker's CPU.
void ss_cost_learn_wake(uint64_t ns, uint64_t slept);
void ss_cost_learn_arrival(uint64_t ns, uint64_t slept, bool home);

// The same of a cache line, in ticks of ss_ticks().
void ss_cost_learn_line(uint64_t ticks);

// By the balancer, between two looks, now and then: measures what is not learnt otherwise. Some us;
// the first time also a nap of some 50 us, and the price of a membarrier.
void ss_costs_measure(uint64_t now);

// By the balancer, in each tick: has the policies follow the costs, where these have changed.
void ss_policies_follow(void);

// ---- policies

// X(name, unit)
#define SS_POLICIES(X)                                                                             \
    /* What queued work must be worth to wake a worker for it. */                                  \
    X(wake_ns)                                                                                     \
    /* A woken worker that has not come after this time waits for a CPU, perhaps behind its waker: \
       then another is woken, elsewhere; and those that are woken in the next while are kept away  \
       from their wakers' CPUs. */                                                                 \
    X(late_ns)                                                                                     \
    /* A worker takes as many jobs as take this long by the queue's mean. */                       \
    X(batch_ns)                                                                                    \
    /* For how long a worker may owe a notice. */                                                  \
    X(owed_ns)                                                                                     \
    /* Jobs below this are tiny; and a worker that has less than this to do counts as run dry:     \
       otherwise it would keep pace with its pushers, taking a few jobs at a time for as much CPU  \
       as they use. */                                                                             \
    X(tiny_job_ns)                                                                                 \
    /* Jobs keep coming if the queue was empty for less than this before they came. */             \
    X(steady_gap_ns)                                                                               \
    /* How long a nap is, and what lingering is worth. The same where pushers wait for notices:    \
       there, naps are for jobs below the third (queue/dry.h). */                                  \
    X(nap_ns)                                                                                      \
    X(linger_ns)                                                                                   \
    X(noticed_nap_ns)                                                                              \
    X(noticed_nap_below_ns)                                                                        \
    X(noticed_linger_ns)                                                                           \
    /* Wakes by one thread that come one after the other within this time are round trips; and a   \
       homed worker that comes later than the second found its waker's CPU busy. */                \
    X(homing_gap_ns)                                                                               \
    X(homing_late_ns)                                                                              \
    /* The shortest time between the balancer's looks. */                                          \
    X(tick_ns)                                                                                     \
    /* After this time without a start a queue gets a worker, if its jobs ought to have ended. */  \
    X(stall_soon_ns)                                                                               \
    /* How often a thread that runs tasks looks for events, while any are waited for. */           \
    X(events_every_ns)                                                                             \
    /* Spreading tasks over a second lane gains in any case where polls are longer. */             \
    X(long_poll_ns)                                                                                \
    /* Parallel calls. From what rest on helpers are woken; from what cost on those that are awake \
       are let in. */                                                                              \
    X(help_ns)                                                                                     \
    X(awake_help_ns)                                                                               \
    /* How long a helper waits for the next call. */                                               \
    X(helper_lingers_ns)                                                                           \
    /* The caller thinks of asking for help this often: first, and then. */                        \
    X(look_soon_ns)                                                                                \
    X(look_later_ns)                                                                               \
    /* A piece takes an eighth of its share, but this long at least and at most. */                \
    X(piece_ns)                                                                                    \
    X(long_piece_ns)                                                                               \
    /* Rests that their owner will have done sooner are not stolen: without a membarrier, and with \
       one. */                                                                                     \
    X(theft_ns)                                                                                    \
    X(take_back_ns)                                                                                \
    /* Items that take longer announce themselves by fences of their own, so that a theft needs no \
       membarrier. UINT32_MAX: membarriers are cheap, none does. */                                \
    X(fenced_item_ns)                                                                              \
    /* How long the caller spins for the last helper's last item. */                               \
    X(wait_spin_ns)

// Written by the balancer, and before the first thread; read by all, each value by itself.
struct ss_policies {
#define FIELD(name) _Atomic uint32_t name;
    _Alignas(SS_CACHE_LINE) SS_POLICIES(FIELD)
#undef FIELD
};
extern struct ss_policies ss_policies;

#define ss_policy(name) load_relaxed(&ss_policies.name)

// All of them, from these costs (SS_COST_COUNT of them).
void ss_policies_derive(struct ss_policies *policies, const uint32_t *costs);

// ---- constants: jobs taken at once, and notices

// A worker takes as many jobs as this at most. A structure's size.
#define SS_BATCH_MAX 64u

// How crowded a lock is: each time that a worker finds it taken counts so much, each time that it
// does not takes one away. So it grows where that is more than one time in five.
//
//   a queue's lock    batches last twice as long for each _DOUBLES, 16 times at most: longer ones
//                     end unevenly
//   the executor's    before it goes to others, the only worker of a queue stays there for _STAY_NS
//                     times that number (./dev sim bench empty-pairs)
#define SS_CROWDING_STEP    4u
#define SS_CROWDING_DOUBLES 8u
#define SS_CROWDING_MAX     32u
#define SS_CROWDING_STAY_NS (8 * SS_NS_PER_US)

// The number after the next look, which has found the lock `taken` or not. `most`: what it may be.
static inline unsigned ss_crowding_next(unsigned crowding, bool taken, unsigned most)
{
    if (!taken)
        return crowding - (crowding > 0);
    return crowding <= most - SS_CROWDING_STEP ? crowding + SS_CROWDING_STEP : crowding;
}

// Pushes are counted in the same way. From _OPENS on they have fronts, which stay until as many
// pushes as _MAX in a row have been no use to each other. How many fronts a queue has then at most,
// and for how many items each. Structures' sizes.
#define SS_FRONTS_CROWDING_OPENS 64u
#define SS_FRONTS_CROWDING_MAX   256u
#define SS_FRONTS_MAX            32u
#define SS_FRONT_ITEMS           126u

// A worker that has served so many jobs without leaving has a queue whose jobs keep coming.
#define SS_STEADY_JOBS 64u

// Where somebody looks how long jobs wait, one in so many pushes of a queue is a sample
// (queue/samples.h): in twice as many after _IN_ROW samples that were less than _GAP apart, in
// fewer after a gap of more than _LATE, and never in more than 1 << _SHIFT_MAX. A sample costs some
// 0.2 us. bench/top.
#define SS_SAMPLE_GAP_NS    (50 * SS_NS_PER_US)
#define SS_SAMPLE_LATE_NS   (200 * SS_NS_PER_US)
#define SS_SAMPLE_SHIFT_MAX 12u
#define SS_SAMPLES_IN_ROW   8u

// A push that may become a sample costs some ns more. So where more than _JOBS_MAX jobs a second
// run, samples are taken for _ON, then not for _OFF, and so on. Where fewer run, they are taken all
// the time, and each _LOOK it is looked at how many run.
#define SS_SAMPLE_JOBS_MAX 200000u
#define SS_SAMPLES_ON_NS   (10 * SS_NS_PER_MS)
#define SS_SAMPLES_OFF_NS  (90 * SS_NS_PER_MS)
#define SS_SAMPLES_LOOK_NS SS_NS_PER_S

// Where pushers wait for notices a worker lingers for the time that so many jobs take, too: the
// pushers' round is the longer, the longer their jobs. bench/libuv stat-64.
#define SS_NOTICED_LINGER_JOBS 10u

// A worker that lingers yields so often at most: the clock may be a test's. Depends on: the
// cheapest yield, 0.1 us; no worker is to linger for longer than 80 us.
#define SS_LINGER_YIELDS 800u

// After a failure that follows failures, at most about twice as many occasions are skipped.
#define SS_DRY_SKIPS_MAX 1024u

// A worker too many leaves after it has served a queue for this long. Not before: it may have come
// because no other did (growth.c, "stall").
#define SS_SURPLUS_STAY_NS SS_NS_PER_MS

// If no thread could be had, a thread that waits for a queue or a task asks for one again after
// this long: there is no other that could.
#define SS_WAIT_RETRY_NS (100 * SS_NS_PER_MS)

// ---- constants: homing, waking the worker on its waker's CPU (placement.c)

// Round trips in a row until it is thought of, with a sleep of the waker between. bench/glib
// round-trip.
#define SS_HOMING_STREAK 4u

// And then, how often it is asked whether it has slept, where no worker has to be homed: a system
// call. bench/glib round-trip.
#define SS_HOMING_WAKES_PER_LOOK 8u

// So many workers in a row are homed at most before one that slept on its waker's CPU is left to
// the kernel, to see whether it stays there. bench/glib round-trip.
#define SS_HOMING_ASTRAY_MAX 63u

// Wakes are seldom if they are so many times further apart than those of round trips.
#define SS_HOMING_SELDOM 4u

// After a look at a thread that had not slept at most about twice as many of its wakes are skipped,
// and as many seldom ones after a homed worker that was late.
#define SS_HOMING_SKIPS_MAX 64u

// A homed worker was late: no homing for a while, twice as long each time that it happens again
// soon. bench/glib part-load-50k.
#define SS_HOMING_PAUSE_MIN_NS (4 * SS_NS_PER_MS)
#define SS_HOMING_PAUSE_MAX_NS SS_NS_PER_S

// ---- constants: idle workers

// As many parked workers of a group are kept for good. Depends on: the memory of a sleeping thread,
// against the creation of one; as many again as CPUs for jobs that block.
#define SS_IDLE_KEPT_PER_CPU 2u
#define SS_IDLE_KEPT_MIN     4u

// A parked worker ends after this time where more are parked than are kept for good: the contract
// of smolscale_set_max_idle().
#define SS_IDLE_SURPLUS_NS SS_NS_PER_S

// The same for one that exceeds the user's limit on idle workers: long enough to be there for the
// next of a series of round trips. A thread that is created twice a second costs less than a
// thousandth of a CPU on any machine. bench/glib round-trip.
#define SS_IDLE_EXCESS_NS (SS_NS_PER_S / 2)

// After a failure to create a worker the next attempt waits so long, unless a thread waits for the
// outcome.
// Depends on: nothing measured. Often enough to go on soon, and seldom enough to cost nothing.
#define SS_CREATE_RETRY_NS (100 * SS_NS_PER_MS)

// ---- constants: the balancer's looks ("ticks")

// The time between ticks begins with ss_policy(tick_ns) and doubles up to this while workers get
// on, and to the second while work waits and nothing changes: the stall of a queue (below) is to be
// seen in time.
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

// ss.lock is dropped after a look at so many workers, or at so many runnables that wait. Depends
// on: the cost of a cache miss (0.1 us), a few for each worker.
#define SS_WORKERS_PER_HOLD   64
#define SS_RUNNABLES_PER_LOOK 256

// A worker that goes on with one job, and whose clock has run a little, is asked about once in so
// much time whether it sleeps. Depends on: the cost of such a look in /proc, 3 to 10 us.
#define SS_LAGGARD_NS SS_NS_PER_MS

// So many workers whose clocks stand are asked about by one question (how many threads of the
// machine are runnable?) before each is looked at in /proc. Both are looks there: the ratio of
// their costs is the same everywhere. bench/glib sleeping-unlimited.
#define SS_CROWD 8

// ---- constants: how many workers

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
// others do. Quick for the first two added workers; then so that one starts every 10 ms, and once
// they are a crowd every 100 ms: contract 4's times, less what the looks before and after take.
// bench/libuv behind-computing. The contract's crowd is four workers a CPU. The least makes no
// difference but on one CPU, where the fifth of a handful of jobs that wait for one another would
// be crowded out. bench/glib mutual.
//
// Where a worker computes on one job meanwhile, less: ss_policy(stall_soon_ns), or the time of so
// many jobs of the queue. Its jobs ought to have ended, or wait behind longer ones; on threads of
// their own they would run. Where nothing is known of them there are twice as many workers each
// time, so that a handful of jobs that wait for one another meet soon. bench/glib mutual,
// bench/apps compositor.
#define SS_STALL_FIRST_NS   (4 * SS_NS_PER_MS)
#define SS_STALL_NS         (8 * SS_NS_PER_MS)
#define SS_STALL_CROWDED_NS (95 * SS_NS_PER_MS)
#define SS_STALL_JOBS       8u

#define SS_STALL_CROWD_PER_CPU 4u
#define SS_STALL_CROWD_MIN     8u

// ---- constants: the CPUs that the process may use

// They are counted again so often while there is work, for the first time when the first workers
// have come; as the union of the masks of so many workers at most. Depends on: the cost of a count,
// a system call for each mask and some files of the cgroup.
#define SS_CPUS_LOOK_NS       SS_NS_PER_S
#define SS_CPUS_FIRST_LOOK_NS (5 * SS_NS_PER_MS)
#define SS_CPUS_MASKS         16

// ---- constants: lanes of tasks (task/lane.c)

// A worker that serves a lane looks at the clock, the inbox and what else wants it this often: by
// time, and by polls. How late a timer may be for it, beside polls that do not end. bench/tasks
// yield_now, jitter.
#define SS_ATTEND_NS    (10 * SS_NS_PER_US)
#define SS_ATTEND_POLLS 64

// For how long a worker serves a lane before other runnables get their turn. Contract 7.
#define SS_SLICE_NS (200 * SS_NS_PER_US)

// A worker that came to a lane late has waited behind its waker on one CPU: then those called in
// the next while are kept away from the waker's CPU, for these times. Meant for bench/tasks
// part-load-20k; its gain was not measured apart.
#define SS_APART_MIN_NS (16 * SS_NS_PER_MS)
#define SS_APART_MAX_NS SS_NS_PER_S

// How often smolscale_block_on() polls on the calling thread before it offers the task to the
// workers, and for how long an offer stands. A turn costs two wake-ups, and so does the offer: who
// waits for so many turns has paid at most about twice what the better choice would have cost, on
// any machine. bench/tasks ping_pong from outside.
#define SS_TURNS_ON_THREAD 2
#define SS_OFFER_NS        (10 * SS_NS_PER_MS)

// An immortal task that ends at once, so often in a row, rests for this long. A delay that is
// shorter than the quotient of the two is none.
#define SS_LIVES_WITHOUT_REST  100
#define SS_LIFE_REST_NS        SS_NS_PER_MS
#define SS_LIFE_SHORT_DELAY_NS (SS_LIFE_REST_NS / SS_LIVES_WITHOUT_REST)

// ---- constants: lanes, as the balancer sees them (task/spread.c)

// How often it looks at them: while they are served; when a server has not got on; when spreading
// may pay, or is on trial; when a lane was taken from a server that is still in a section. And for
// how many looks without a lane served it goes on. Contract 4: a server that goes to sleep right
// after a look is found at the second one after that, so the first two together are below 10 ms.
#define SS_LANES_LOOK_NS         (5 * SS_NS_PER_MS)
#define SS_LANES_LOOK_STUCK_NS   (4 * SS_NS_PER_MS)
#define SS_LANES_LOOK_BUSY_NS    SS_NS_PER_MS
#define SS_LANES_LOOK_RETAKEN_NS (100 * SS_NS_PER_US)
#define SS_LANES_QUIET_LOOKS     2

// A server that computes in one poll for this long loses its lane. Contract 4.
#define SS_LANE_STUCK_NS (4 * SS_NS_PER_MS)

// Spreading tasks over more lanes is a trial of this time where polls are short, which must raise
// the polls a second by this share of what the lanes added could (n lanes to m: by a factor of m /
// n), or is not repeated for the times that follow. What it costs here, the trial itself tells.
// bench/tasks fanout, spawn_many.
#define SS_TRIAL_NS    (2 * SS_NS_PER_MS)
#define SS_TRIAL_SHARE 0.25

// Where all CPUs have lanes, and these are more than so many, half as many are tried each
// SS_TRIAL_BACKOFF_MAX_NS. Two are left alone: a trial that a loaded machine makes fail costs half
// of the speed. bench/tasks spawn_many.
#define SS_LANES_LEFT_ALONE 2

#define SS_TRIAL_BACKOFF_MIN_NS (10 * SS_NS_PER_MS)
#define SS_TRIAL_BACKOFF_MAX_NS SS_NS_PER_S

// Looks until an order to move tasks must have had its effect; tasks that one lane may have more
// than another.
#define SS_ORDER_LOOKS 4
#define SS_EVEN_ENOUGH 8

// ---- constants: parallel calls (region/)

// A piece takes about this part of its share. bench/pthreadpool 100us-items-*.
#define SS_PIECES_OF_SHARE 8u

// After how long a call that stands still is first helped, and between looks where calls keep
// coming and none stands still.
#define SS_STAND_FIRST_NS SS_NS_PER_MS
#define SS_STAND_LAST_NS  (4 * SS_NS_PER_MS)

#endif // SS_COSTS_H
