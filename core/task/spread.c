// SPDX-License-Identifier: ISC
//
// Lanes, as the balancer sees them. While any lane is served it looks every few ms, and
//
//   1. takes a lane from a worker that is stuck in a poll, blocked or computing, while other tasks
//      of the lane wait, and has another worker serve it (the biased lock in lane.c says why that
//      is safe);
//   2. spreads: where lanes are busy without a break and have queues, and CPUs are idle, orders
//      their servers to give half of their queues to other lanes.
//
// Spreading may hurt: tasks that talk to one another are fastest on one CPU (bench/tasks, "fanout":
// 3 to 10 times). Whether it pays cannot be told beforehand, so it is tried, with twice as many
// lanes or as many as there are idle CPUs. If the polls a second have not risen by a share of what
// is possible, the lanes that were opened give back what they were given, and the next trial comes
// much later, twice as late each time. Lanes of which more would not pay may be too many
// themselves, if the tasks have changed: so the trial after a failed one is of half as many. Long
// polls need no trial: they gain.

#include "task/spread.h"

#include "base/backoff.h"
#include "os/options.h"
#include "task/lane.h"
#include "trace/points.h"

#include <string.h>

static struct {
    uint64_t polls; // of lanes while they are busy; only differences tell something
    uint64_t looked_at, polls_then;
    double rate;       // polls per ns between the last two looks
    double rate_alone; // the same when the last look found but one lane busy
    enum { CALM, ORDERED, ON_TRIAL } state;
    unsigned lanes_before, lanes_wanted; // the latter by the trial; once it has begun: that it has
    bool halve;                          // the next trial is of fewer lanes
    unsigned looks;                      // since the order
    const struct ss_lane *kept;          // that takes what others give up
    uint64_t trial_began, trial_polls;
    double rate_before;
    struct ss_backoff backoff;
} spread;

static struct {
    uint64_t seen_served;
    unsigned looks; // without a lane to look at
} quiet;

// ---- 1. stuck servers

static enum ss_thread_state state_of(pid_t tid)
{
    enum ss_thread_state state;
    ss_os.thread_states(&tid, &state, 1);
    return state;
}

// Takes the lane from a server that is stuck in a poll. True: done, see free_retaken().
static bool retake(struct ss_lane *lane, uint64_t progress, uint64_t now)
{
    bool asleep = state_of(load_relaxed(&lane->seen_worker->tid)) == SS_THREAD_SLEEPING;
    ss_lock(&ss.lock); // not before: that was a system call
    struct ss_worker *worker = lane->worker;
    bool stuck = worker && load_relaxed(&worker->progress) == progress;
    if (stuck) {
        ss_lane_detach(lane);
        lane->retaken_from = worker;
        lane->retaken_at = now;
        ss_lanes.retaken++;
        ss_set_activity(worker, asleep ? SS_BLOCKED : SS_HOG);
    }
    ss_unlock(&ss.lock);
    if (!stuck)
        return false;
    fetch_add_relaxed(&ss.stats.takebacks, 1);
    ss_heavy_fence(); // pairs with ss_section_enter()
    return true;
}

// If the former server has left its section, the lane is brought to another worker. A section takes
// some ns, unless its thread stands still (a page that comes in slowly, throttling): looks come
// seldomer the longer that takes, but they come, for no other thread knows of the lane.
static uint64_t free_retaken(struct ss_lane *lane, uint64_t now)
{
    if (load_acquire(&ss_lane_server(lane->retaken_from)->in_section)) {
        uint64_t waited = now - lane->retaken_at;
        return waited < SS_LANES_LOOK_RETAKEN_NS ? SS_LANES_LOOK_RETAKEN_NS
               : waited < SS_LANES_LOOK_STUCK_NS ? waited
                                                 : SS_LANES_LOOK_STUCK_NS;
    }
    lane->retaken_from = NULL;
    ss_lanes.retaken--;
    ss_lane_list(lane);
    return SS_LANES_LOOK_NS;
}

// Has the server, which has begun nothing since the last look, gone to sleep in its poll, or
// computed for long? One that waits for a CPU is not stuck. Where the kernel does not tell the one
// from the other, time decides.
static bool is_stuck(struct ss_lane *lane, uint64_t now, bool waiting)
{
    pid_t tid = load_relaxed(&lane->seen_worker->tid);
    uint64_t cpu = ss_os.thread_cpu_time(tid), before = lane->stuck_cpu;
    if (before == 0)
        lane->stuck_cpu = cpu;
    enum ss_thread_state state = state_of(tid);
    if (state == SS_THREAD_SLEEPING)
        return before == cpu || now - lane->seen_since >= SS_LANE_STUCK_NS;
    if (!waiting)
        return false;
    if (cpu == UINT64_MAX || state == SS_THREAD_UNKNOWN)
        return now - lane->seen_since >= SS_LANE_STUCK_NS;
    return before != 0 && cpu - before >= SS_LANE_STUCK_NS;
}

static uint64_t look_at(struct ss_lane *lane, uint64_t now)
{
    if (lane->retaken_from)
        return free_retaken(lane, now);
    ss_lock(&ss.lock);
    struct ss_worker *worker = lane->worker;
    uint64_t progress = worker ? load_relaxed(&worker->progress) : 0;
    ss_unlock(&ss.lock);
    uint64_t taken = load_relaxed(&lane->runnable.taken);
    bool waiting = load_relaxed(&lane->length) > 0 || load_relaxed(&lane->inbox) ||
                   ss_events_awaited(); // it would see their events
    lane->busy = worker && worker == lane->seen_worker && taken == lane->seen_taken;
    bool moved = !lane->busy || progress != lane->seen_progress;
    if (lane->busy)
        spread.polls += progress - lane->seen_progress;
    lane->seen_worker = worker;
    lane->seen_taken = taken;
    lane->seen_progress = progress;
    if (moved) {
        lane->seen_since = now;
        lane->stuck_cpu = 0;
    }
    // Take the lane from a sleeping server even if nothing waits, so that no lane counts as served
    // and the balancer can park.
    bool stuck = worker && !moved && is_stuck(lane, now, waiting);
    if (stuck && retake(lane, progress, now))
        return free_retaken(lane, now);
    return worker && waiting ? SS_LANES_LOOK_STUCK_NS : SS_LANES_LOOK_NS;
}

// ---- 2. spreading

static struct ss_lane *pick_lane(bool (*fits)(const struct ss_lane *lane), bool longest)
{
    struct ss_lane *found = NULL;
    for (unsigned i = 0; i < load_relaxed(&ss_lanes.count); i++) {
        struct ss_lane *lane = ss_lanes.lane[i];
        if (!fits(lane))
            continue;
        unsigned length = load_relaxed(&lane->length);
        unsigned best = found ? load_relaxed(&found->length) : 0;
        if (!found || (longest ? length > best : length < best))
            found = lane;
    }
    return found;
}

static bool is_busy(const struct ss_lane *lane)
{
    return lane->busy;
}

static bool is_unpaired(const struct ss_lane *lane)
{
    return lane->busy && !lane->paired;
}

// Busy, and nothing was asked of it that is still to be done.
static bool can_give(const struct ss_lane *lane)
{
    return lane->busy && !load_relaxed(&lane->move_to);
}

static bool can_give_up(const struct ss_lane *lane)
{
    return can_give(lane) && lane != spread.kept;
}

static bool can_be_opened(const struct ss_lane *lane)
{
    return load_relaxed(&lane->state) == SS_LANE_IDLE && !lane->opened_by;
}

static unsigned busy_lanes(void)
{
    unsigned busy = 0;
    for (unsigned i = 0; i < load_relaxed(&ss_lanes.count); i++)
        busy += ss_lanes.lane[i]->busy;
    return busy;
}

// Asks the server of `lane` to give `count` of its tasks to another lane.
static void order_move(struct ss_lane *lane, struct ss_lane *other, unsigned count)
{
    ss_point_order(SS_ORDER_MOVES, count);
    store_relaxed(&lane->move_count, count);
    store_release(&lane->move_to, other);
}

static unsigned idle_cpus(void)
{
    unsigned cpus = ss_cpus();
    ss_lock(&ss.lock);
    unsigned busy = ss_group_busy(&ss.shared);
    ss_unlock(&ss.lock);
    return busy < cpus ? cpus - busy : 0;
}

// Only the `left` longest lanes are to go on, and the longest takes what the others have.
static void merge(unsigned left)
{
    struct ss_lane *into = pick_lane(is_busy, true), *lane;
    spread.kept = into;
    for (unsigned busy = busy_lanes(); busy > left; busy--)
        if ((lane = pick_lane(can_give_up, false)))
            order_move(lane, into, UINT32_MAX);
}

// ---- opening lanes

// A lane that nobody uses, and that none of this step's has been given to.
static struct ss_lane *unused_lane(void)
{
    struct ss_lane *lane = pick_lane(can_be_opened, false);
    return !lane && load_relaxed(&ss_lanes.count) < ss_cpus() ? ss_lane_add() : lane;
}

// The longest lane is to give half of what it has to an unused one.
static bool open_lane(void)
{
    struct ss_lane *from = pick_lane(can_give, true);
    unsigned length = from ? load_relaxed(&from->length) : 0;
    struct ss_lane *to = length >= 2 ? unused_lane() : NULL;
    if (!to)
        return false;
    to->opened_by = from;
    order_move(from, to, length / 2);
    return true;
}

static void forget_opened(void)
{
    for (unsigned i = 0; i < load_relaxed(&ss_lanes.count); i++)
        ss_lanes.lane[i]->opened_by = NULL;
}

// Opens as many as `most`, and as there are idle CPUs. Returns how many.
static unsigned open_lanes(unsigned most)
{
    unsigned opened = 0, idle = idle_cpus();
    forget_opened();
    while (opened < most && opened < idle && open_lane())
        opened++;
    return opened;
}

// Those that were opened last give all that they have to the lanes that they were opened by.
static void close_opened(void)
{
    for (unsigned i = 0; i < load_relaxed(&ss_lanes.count); i++) {
        struct ss_lane *lane = ss_lanes.lane[i];
        if (lane->opened_by && lane->busy)
            order_move(lane, lane->opened_by, UINT32_MAX);
    }
}

// ---- trials

// A trial of `wanted` lanes begins when they have been busy for a while.
static void order_trial(unsigned before, unsigned wanted)
{
    spread.state = ORDERED;
    spread.looks = 0;
    spread.lanes_before = before;
    spread.lanes_wanted = wanted;
    spread.rate_before = spread.rate;
}

// Does the rate of more lanes, against that of fewer, have a share of what is possible?
static bool gains(double rate_of_more, double rate_of_fewer, unsigned more, unsigned fewer)
{
    double possible = (double)more / (double)fewer - 1;
    return rate_of_more >= (1 + SS_TRIAL_SHARE * possible) * rate_of_fewer;
}

static void fail_trial(uint64_t now)
{
    ss_back_off_longer(&spread.backoff, now, SS_TRIAL_BACKOFF_MIN_NS, SS_TRIAL_BACKOFF_MAX_NS);
}

// This many lanes are right, until the tasks change.
static void rest(uint64_t now)
{
    ss_back_off_once(&spread.backoff, now, SS_TRIAL_BACKOFF_MAX_NS);
}

static void judge_more(uint64_t now, double rate)
{
    if (gains(rate, spread.rate_before, spread.lanes_wanted, spread.lanes_before)) {
        ss_backoff_reset(&spread.backoff);
        if (spread.lanes_wanted >= ss_cpus())
            rest(now);
        return;
    }
    close_opened();
    spread.halve = spread.lanes_before > 1;
    fail_trial(now);
}

// Where fewer do as well, the next trial is of fewer still, and soon.
static void judge_fewer(uint64_t now, double rate)
{
    if (gains(spread.rate_before, rate, spread.lanes_before, spread.lanes_wanted)) {
        open_lanes(spread.lanes_before - spread.lanes_wanted);
        rest(now);
        return;
    }
    spread.halve = spread.lanes_wanted > 1;
    ss_back_off_once(&spread.backoff, now, SS_TRIAL_BACKOFF_MIN_NS);
}

static void judge_trial(uint64_t now)
{
    double rate = (double)(spread.polls - spread.trial_polls) / (double)(now - spread.trial_began);
    spread.state = CALM;
    if (spread.lanes_wanted > spread.lanes_before)
        judge_more(now, rate);
    else
        judge_fewer(now, rate);
}

// Are as many lanes busy as the trial wants; or, after the time that this may take, at least some
// of those?
static bool trial_can_begin(unsigned busy)
{
    bool fewer = spread.lanes_wanted < spread.lanes_before, late = spread.looks >= SS_ORDER_LOOKS;
    unsigned wanted = late ? spread.lanes_before + (fewer ? -1u : 1u) : spread.lanes_wanted;
    return fewer ? busy <= wanted : busy >= wanted;
}

// It is given up when the lanes do not come.
static void attend_trial(uint64_t now, unsigned busy)
{
    if (spread.state == ON_TRIAL) {
        if (now - spread.trial_began >= SS_TRIAL_NS)
            judge_trial(now);
        return;
    }
    spread.looks++;
    if (trial_can_begin(busy)) {
        spread.state = ON_TRIAL;
        spread.lanes_wanted = busy;
        spread.trial_began = now;
        spread.trial_polls = spread.polls;
    } else if (spread.looks >= SS_ORDER_LOOKS) {
        spread.state = CALM;
        ss_back_off_once(&spread.backoff, now, SS_TRIAL_BACKOFF_MIN_NS);
    }
}

// Not fewer, so that each can open one again if they are missed.
static void try_half(unsigned busy)
{
    unsigned left = busy - busy / 2;
    spread.halve = false;
    merge(left);
    order_trial(busy, left);
}

// Opens up to as many lanes as there are. Whether something was ordered.
static bool spread_out(uint64_t now, unsigned busy, bool long_polls)
{
    if (ss_backed_off(&spread.backoff, now) && !long_polls)
        return false;
    if (spread.halve && busy > 1 && !long_polls) {
        try_half(busy);
        return true;
    }
    unsigned opened = open_lanes(busy);
    if (opened > 0 && !long_polls)
        order_trial(busy, busy + opened);
    return opened > 0;
}

// Busy lanes are to have about as much to do. The longest gives to the shortest, the next longest
// to the next shortest, and so on.
static void even_out(void)
{
    for (unsigned i = 0; i < load_relaxed(&ss_lanes.count); i++)
        ss_lanes.lane[i]->paired = false;
    for (;;) {
        struct ss_lane *longest = pick_lane(is_unpaired, true),
                       *shortest = pick_lane(is_unpaired, false);
        if (!longest || longest == shortest)
            return;
        unsigned most = load_relaxed(&longest->length), least = load_relaxed(&shortest->length);
        if (most <= 2 * least + SS_EVEN_ENOUGH)
            return;
        order_move(longest, shortest, (most - least) / 2);
        longest->paired = shortest->paired = true;
    }
}

// ---- all of it

// One lane is to do for all tasks.
static bool is_single(void)
{
    return load_relaxed(&ss_lanes.single) || ss_option(SS_OPTION_SINGLE);
}

static void note_rate(uint64_t now, unsigned busy)
{
    double polls = (double)(spread.polls - spread.polls_then);
    spread.rate = now > spread.looked_at ? polls / (double)(now - spread.looked_at) : 0;
    spread.polls_then = spread.polls;
    spread.looked_at = now;
    if (busy == 1)
        spread.rate_alone = spread.rate;
}

// Polls that were short on one lane may be long because there are many, which hinder one another.
static bool has_long_polls(unsigned busy)
{
    return spread.rate * ss_policy(long_poll_ns) < busy &&
           spread.rate_alone * ss_policy(long_poll_ns) < 1;
}

// ns until the next look is wanted.
static uint64_t spread_or_merge(uint64_t now)
{
    unsigned busy = busy_lanes();
    note_rate(now, busy);
    bool single = is_single();
    if (single || busy == 0) {
        spread.state = CALM;
        if (busy > 1)
            merge(1);
        return SS_LANES_LOOK_NS;
    }
    if (spread.state != CALM) {
        attend_trial(now, busy);
        return SS_LANES_LOOK_BUSY_NS;
    }
    unsigned cpus = ss_cpus();
    bool long_polls = has_long_polls(busy);
    if (busy > cpus) {
        merge(cpus); // some were taken away
        return SS_LANES_LOOK_NS;
    }
    if (busy < cpus && spread_out(now, busy, long_polls))
        return SS_LANES_LOOK_BUSY_NS;
    bool may_try = !ss_backed_off(&spread.backoff, now);
    if (busy == cpus && busy > SS_LANES_LEFT_ALONE && may_try && !long_polls) {
        try_half(busy);
        return SS_LANES_LOOK_BUSY_NS;
    }
    if (busy == cpus)
        even_out();
    bool soon = busy < cpus && may_try && load_relaxed(&pick_lane(is_busy, true)->length) >= 2;
    return soon ? SS_LANES_LOOK_BUSY_NS : SS_LANES_LOOK_NS;
}

// One that was taken from its server and not yet brought to another is known to the balancer
// alone.
static bool is_wanted(void)
{
    return ss_attended() || ss_lanes.retaken > 0;
}

static uint64_t look(uint64_t now)
{
    uint64_t served = load_relaxed(&ss_lanes.served);
    quiet.looks = is_wanted() || served != quiet.seen_served ? 0 : quiet.looks + 1;
    quiet.seen_served = served;
    if (quiet.looks > SS_LANES_QUIET_LOOKS)
        return SS_FOREVER;
    uint64_t next = SS_LANES_LOOK_NS;
    for (unsigned i = 0; i < load_relaxed(&ss_lanes.count); i++) {
        uint64_t wanted = look_at(ss_lanes.lane[i], now);
        next = wanted < next ? wanted : next;
    }
    uint64_t wanted = spread_or_merge(now);
    return wanted < next ? wanted : next;
}

void ss_lanes_be_watched(void)
{
    static struct ss_watched lanes = {.look = look, .is_wanted = is_wanted};
    ss_watched_add(&lanes);
}

static void after_fork(void)
{
    memset(&spread, 0, sizeof spread);
    memset(&quiet, 0, sizeof quiet);
}

SS_ROOM(task_spread, NULL, after_fork);
