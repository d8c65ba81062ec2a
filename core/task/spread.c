// SPDX-License-Identifier: ISC
//
// Lanes, as the balancer sees them. While any lane is served it looks every few ms, and
//
//   1. takes a lane from a worker that is stuck in a poll, blocked or computing, while other tasks
//      of the lane wait, and has another worker serve it (the biased lock in lane.c says why that
//      is safe);
//   2. spreads: where a lane is busy without a break and has a queue, and a CPU is idle, orders the
//      lane's server to give half of the queue to another lane.
//
// Spreading may hurt: tasks that talk to one another are fastest on one CPU (bench/tasks, "fanout":
// 3 to 10 times). Whether it pays cannot be told beforehand, so it is tried: if the polls a second
// have not risen as they should, all is merged into one lane again, and the next trial comes much
// later, twice as late each time. Long polls need no trial: they gain.

#include "task/spread.h"

#include "base/backoff.h"
#include "os/options.h"
#include "task/lane.h"
#include "trace/points.h"

#include <string.h>

static struct {
    uint64_t polls; // of lanes while they are busy; only differences tell something
    uint64_t looked_at, polls_then;
    double rate; // polls per ns between the last two looks
    enum { CALM, ORDERED, ON_TRIAL } state;
    unsigned lanes_before, looks;
    uint64_t trial_began, trial_polls;
    double rate_before;
    struct ss_backoff backoff;
} spread;

static struct {
    uint64_t seen_served;
    unsigned looks; // without a lane to look at
} quiet;

// ---- 1. stuck servers

static bool sleeps(pid_t tid)
{
    enum ss_thread_state state;
    ss_os.thread_states(&tid, &state, 1);
    return state == SS_THREAD_SLEEPING;
}

// Takes the lane from a server that is stuck in a poll. True: done, see free_retaken().
static bool retake(struct ss_lane *lane, uint64_t progress, uint64_t now)
{
    bool asleep = sleeps(load_relaxed(&lane->seen_worker->tid)); // not under the lock
    ss_lock(&ss.lock);
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
// computed for long? One that waits for a CPU is not stuck. Where the kernel does not tell, time
// decides.
static bool is_stuck(struct ss_lane *lane, uint64_t now, bool waiting)
{
    pid_t tid = load_relaxed(&lane->seen_worker->tid);
    uint64_t cpu = ss_os.thread_cpu_time(tid), before = lane->stuck_cpu;
    if (before == 0)
        lane->stuck_cpu = cpu;
    if (sleeps(tid))
        return before == cpu || now - lane->seen_since >= SS_LANE_STUCK_NS;
    if (!waiting)
        return false;
    if (cpu == UINT64_MAX)
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

static bool is_idle(const struct ss_lane *lane)
{
    return load_relaxed(&lane->state) == SS_LANE_IDLE;
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

static bool cpu_is_idle(void)
{
    ss_lock(&ss.lock);
    bool idle = ss_group_busy(&ss.shared) < ss_cpus();
    ss_unlock(&ss.lock);
    return idle;
}

static void merge(void)
{
    struct ss_lane *into = pick_lane(is_busy, true);
    for (unsigned i = 0; i < load_relaxed(&ss_lanes.count); i++)
        if (ss_lanes.lane[i] != into && ss_lanes.lane[i]->busy)
            order_move(ss_lanes.lane[i], into, UINT32_MAX);
}

static void judge_trial(uint64_t now)
{
    double rate = (double)(spread.polls - spread.trial_polls) / (double)(now - spread.trial_began);
    spread.state = CALM;
    if (rate >= SS_TRIAL_GAIN * spread.rate_before) {
        ss_backoff_reset(&spread.backoff);
        return;
    }
    merge();
    ss_back_off_longer(&spread.backoff, now, SS_TRIAL_BACKOFF_MIN_NS, SS_TRIAL_BACKOFF_MAX_NS);
}

// The trial begins when both lanes have been busy for a while, and is given up when that does not
// come.
static void attend_trial(uint64_t now)
{
    if (spread.state == ON_TRIAL) {
        if (now - spread.trial_began >= SS_TRIAL_NS)
            judge_trial(now);
    } else if (busy_lanes() > spread.lanes_before) {
        spread.state = ON_TRIAL;
        spread.trial_began = now;
        spread.trial_polls = spread.polls;
    } else if (++spread.looks >= SS_ORDER_LOOKS) {
        spread.state = CALM;
        ss_back_off_once(&spread.backoff, now, SS_TRIAL_BACKOFF_MIN_NS);
    }
}

// Gives half of what the longest lane has to an idle one.
static bool spread_out(uint64_t now)
{
    struct ss_lane *from = pick_lane(is_busy, true);
    unsigned length = from ? load_relaxed(&from->length) : 0;
    bool long_polls = spread.rate * SS_LONG_POLL_NS < busy_lanes();
    if (length < 2 || load_relaxed(&from->move_to) ||
        (ss_backed_off(&spread.backoff, now) && !long_polls) || !cpu_is_idle())
        return false;
    struct ss_lane *to = pick_lane(is_idle, false);
    if (!to && load_relaxed(&ss_lanes.count) < ss_cpus())
        to = ss_lane_add();
    if (!to)
        return false;
    order_move(from, to, length / 2);
    spread.state = long_polls ? CALM : ORDERED;
    spread.looks = 0;
    spread.lanes_before = busy_lanes();
    spread.rate_before = spread.rate;
    return true;
}

// Two lanes that are both busy are to have about as much to do.
static void even_out(void)
{
    struct ss_lane *longest = pick_lane(is_busy, true), *shortest = pick_lane(is_busy, false);
    if (!longest || longest == shortest)
        return;
    unsigned most = load_relaxed(&longest->length), least = load_relaxed(&shortest->length);
    if (most > 2 * least + SS_EVEN_ENOUGH)
        order_move(longest, shortest, (most - least) / 2);
}

// One lane is to do for all tasks.
static bool is_single(void)
{
    return load_relaxed(&ss_lanes.single) || ss_option(SS_OPTION_SINGLE);
}

static void note_rate(uint64_t now)
{
    double polls = (double)(spread.polls - spread.polls_then);
    spread.rate = now > spread.looked_at ? polls / (double)(now - spread.looked_at) : 0;
    spread.polls_then = spread.polls;
    spread.looked_at = now;
}

// ns until the next look is wanted.
static uint64_t spread_or_merge(uint64_t now)
{
    note_rate(now);
    unsigned busy = busy_lanes();
    bool single = is_single();
    if (single || busy == 0) {
        spread.state = CALM;
        if (busy > 1)
            merge();
        return SS_LANES_LOOK_NS;
    }
    if (spread.state != CALM) {
        attend_trial(now);
        return SS_LANES_LOOK_BUSY_NS;
    }
    unsigned cpus = ss_cpus();
    if (busy >= cpus) {
        if (busy > cpus)
            merge(); // CPUs were taken away
        else
            even_out();
        return SS_LANES_LOOK_NS;
    }
    if (spread_out(now))
        return SS_LANES_LOOK_BUSY_NS;
    return load_relaxed(&pick_lane(is_busy, true)->length) >= 2 &&
                   !ss_backed_off(&spread.backoff, now)
               ? SS_LANES_LOOK_BUSY_NS
               : SS_LANES_LOOK_NS;
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
