// SPDX-License-Identifier: ISC
//
// Calls that stand still. While calls are made the balancer looks whether one of them has not moved
// since its last look, and sends it a helper: the first a millisecond after the look at a call that
// came after a quiet time (up to 4 ms where calls keep coming and it has long found nothing to do),
// then twice as many as are there at each further look. That is what lets the caller skip asking
// for calls which lately were cheap, and what makes a barrier among the items of one call work
// whenever there are as many threads as items.
//
// It also does, off the callers' path, what takes its time once: registering for membarrier (16 ms
// in a process with threads) and learning the unit of ss_ticks().
//
// Zero idle: the balancer is awake from the first call after a quiet time for as long as it finds a
// call in progress at its looks. Where its thread cannot be had, the caller is told so, asks for
// all its helpers at once, and needs no looks.
//
//   W1  No call goes unwatched. A caller sets BUSY, then reads `watched`; the thread that ends the
//       watch takes `watched` away (to CHANGING), then looks at all gates once more, and only then
//       writes UNWATCHED, or WATCHED again. All these are sequentially consistent: if the caller
//       still saw WATCHED, the look comes later and finds BUSY.
//   W2  The balancer touches the call of a team only while it is counted as present (G2 keeps the
//       call from ending), and counts itself only where READY is set.
//   W3  WATCHED is written only while there is a balancer that cannot leave: it ends or parks only
//       if it finds UNWATCHED (balancer.c, "Going to sleep"), and the word was CHANGING from before
//       that was ascertained.

#include "region/region.h"

#include "os/fence.h"
#include "os/ticks.h"
#include "sched/duty.h"

_Atomic uint32_t ss_calls_watched;

// Where the balancer's thread could not be had: not tried again before.
#define RETRY_NS SS_NS_PER_S
static _Atomic uint64_t retry_at;

// The balancer's own.
static struct {
    uint64_t due;   // when it looks next, ns; 0: nobody has asked since it last stopped
    uint64_t step;  // between looks, ns
    uint64_t first; // before the first, ns
    bool found;     // something stood still since then
} looks = {.first = SS_STAND_FIRST_NS};

// Is there a call in progress that may need help later? One whose items have all begun may take as
// long as it wants.
static bool is_active(smolscale_team *team)
{
    return (load_seq_cst(&team->gate.word) & SS_GATE_BUSY) && !ss_team_is_drained(team);
}

static bool any_active(void)
{
    for (smolscale_team *team = load_acquire(&ss_teams); team; team = load_relaxed(&team->next))
        if (is_active(team))
            return true;
    return false;
}

// Has it moved since the last look? *left: its items that have not begun.
static bool has_moved(smolscale_team *team, uint64_t word, uint64_t before, size_t *left)
{
    size_t sum = 0;
    uint32_t used = load_relaxed(&team->shares.used);
    *left = 0;
    for (uint32_t i = 0; i < used; i++) {
        sum += word_load_relaxed(&team->of[i].next) * (i + 1);
        *left += ss_items_left(&team->of[i]);
    }
    bool same = ss_gate_call(word) == ss_gate_call(before) && sum == team->seen_sum;
    team->seen_sum = sum;
    return !same;
}

// Twice as many helpers as are there. False: it has all that it may have.
static bool send_help(smolscale_team *team, uint32_t helpers, size_t left)
{
    size_t most = load_relaxed(&team->limit) - 1;
    size_t want = helpers + (helpers ? helpers : 1);
    want = want < helpers + left ? want : helpers + left;
    want = want < most ? want : most;
    if (want <= helpers)
        return false;
    ss_gate_open(&team->gate);
    ss_team_ask(team, (uint32_t)want);
    return true;
}

// Helps the call if it has not moved since the last look. True: help was sent. Sets `active` if the
// call may need some later.
static bool look_at(smolscale_team *team, bool *active)
{
    uint64_t word = load_seq_cst(&team->gate.word), before = team->seen_word;
    team->seen_word = ss_gate_idle(word);
    if (!is_active(team))
        return false;
    *active = true;
    if (!(word & SS_GATE_READY) ||
        !cas_strong_seq_cst(&team->gate.word, &word, word + SS_GATE_PRESENT)) // W2
        return false;
    size_t left;
    bool stands = !has_moved(team, word, before, &left) && left > 0 &&
                  send_help(team, ss_gate_present(word), left);
    ss_team_leave(team);
    return stands;
}

static bool look_at_all(bool *active)
{
    bool stands = false;
    for (smolscale_team *team = load_acquire(&ss_teams); team; team = load_relaxed(&team->next))
        stands |= look_at(team, active);
    return stands;
}

// W1. True: the watch has ended.
static bool unwatch(void)
{
    uint32_t watched = SS_WATCHED;
    if (!cas_strong_seq_cst(&ss_calls_watched, &watched, SS_WATCH_CHANGING))
        return watched == SS_UNWATCHED;
    bool active = any_active();
    store_seq_cst(&ss_calls_watched, active ? SS_WATCHED : SS_UNWATCHED);
    return !active;
}

void ss_unwatch_calls(void)
{
    unwatch();
}

static uint64_t next_look(uint64_t now, uint64_t ns)
{
    looks.step = ns;
    looks.due = now + ns;
    return ns;
}

static uint64_t end_looks(void)
{
    if (!looks.found && looks.first * 2 <= SS_STAND_LAST_NS)
        looks.first *= 2;
    looks.found = false;
    looks.due = 0;
    return SS_FOREVER;
}

// The balancer's tick: the time until it is to look again.
static uint64_t look(uint64_t now)
{
    if (load_seq_cst(&ss_calls_watched) == SS_UNWATCHED)
        return looks.due ? end_looks() : SS_FOREVER;
    ss_ticks_learn(now);
    if (looks.due == 0)
        return next_look(now, looks.first);
    if (now < looks.due)
        return looks.due - now;
    bool active = false;
    if (look_at_all(&active)) {
        looks.found = true;
        looks.first = SS_STAND_FIRST_NS;
        return next_look(now, SS_STAND_FIRST_NS);
    }
    ss_asymmetric_register(); // once; nothing stands still: time for what takes long
    if (active)
        return next_look(now,
                         looks.step * 2 < SS_STAND_LAST_NS ? looks.step * 2 : SS_STAND_LAST_NS);
    return unwatch() ? end_looks() : next_look(now, looks.first);
}

static bool is_wanted(void)
{
    return load_seq_cst(&ss_calls_watched) != SS_UNWATCHED;
}

// A call has begun after a quiet time, and no look at it is planned.
static bool is_due(void)
{
    return is_wanted() && looks.due == 0;
}

static struct ss_watched calls = {.look = look, .is_wanted = is_wanted, .is_due = is_due};

void ss_watch_register_calls(void)
{
    ss_watched_add(&calls);
}

// W3: from CHANGING on the balancer, if there is one, stays; if there is none, one is started. Also
// called where WATCHED was written for one whose thread could not be created after all.
bool ss_watch_calls_slow(void)
{
    uint64_t retry = load_relaxed(&retry_at);
    if (retry != 0 && ss_os.now() < retry)
        return false;
    uint32_t seen = SS_UNWATCHED;
    if (!cas_strong_seq_cst(&ss_calls_watched, &seen, SS_WATCH_CHANGING) &&
        seen == SS_WATCH_CHANGING)
        return false; // another caller is at it, or the watch is ending
    ss_wake_balancer();
    bool exists = load_relaxed(&ss.balancer) != SS_BALANCER_NONE || ss_start_balancer() == 0;
    store_relaxed(&retry_at, exists ? 0 : ss_time_in(RETRY_NS));
    if (seen == SS_UNWATCHED)
        store_seq_cst(&ss_calls_watched, exists ? SS_WATCHED : SS_UNWATCHED);
    return exists;
}

static void after_fork(void)
{
    store_relaxed(&ss_calls_watched, SS_UNWATCHED);
    store_relaxed(&retry_at, 0);
    looks.due = 0;
    looks.found = false;
}

SS_ROOM(region_stand, NULL, after_fork);
