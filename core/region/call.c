// SPDX-License-Identifier: ISC
//
// The caller: a call from begin to end. region.h says what it guarantees, gate.h and shares.h how.

#include "os/fence.h"
#include "os/ticks.h"
#include "region/region.h"

#include <string.h>

// The number of the thread as which the calling thread runs items of the team; SIZE_MAX: it runs
// none. A call from there runs in its own thread, for it would wait for itself for ever; and under
// that number, if it may have so many threads.
static size_t seat_of_this_thread(smolscale_team *team)
{
    uintptr_t self = ss_this_thread();
    if (load_relaxed(&team->caller) == self)
        return 0;
    uint32_t used = load_relaxed(&team->shares.used);
    for (uint32_t i = 1; i < used; i++)
        if (word_load_relaxed(&team->of[i].owner) == self)
            return i;
    return SIZE_MAX;
}

// Calls that follow each other within what a helper would linger make the next helpers linger.
static void judge_gap(smolscale_team *team, uint64_t now)
{
    uint64_t gap = now - load_relaxed(&team->last_end);
    uint32_t linger = load_relaxed(&team->linger);
    if (gap > ss_ticks_of_ns(ss_policy(helper_lingers_ns)) ||
        (team->call.loop.flags & SMOLSCALE_LOOP_NO_LINGER))
        linger = linger > 2 ? linger - 2 : 0;
    else if (linger < 4)
        linger++;
    store_relaxed(&team->linger, linger);
}

// What the caller expects of a call.
struct forecast {
    struct ss_cost_key key;
    uint64_t ticks;
    bool known;
    bool watched; // somebody looks whether it stands still
};

// Are items to announce themselves by full fences (shares.h)? Where there is no membarrier; and
// where one is dear, if items are so long that a fence for each does not matter.
static bool is_fenced(const struct forecast *forecast, size_t items)
{
    uint32_t from = ss_policy(fenced_item_ns);
    if (!load_acquire(&ss_asymmetric))
        return true;
    return from != UINT32_MAX && forecast->known && forecast->ticks / items >= ss_ticks_of_ns(from);
}

// Writes down the call, and opens the gate if `open`.
static void begin_call(smolscale_team *team, const struct smolscale_loop *given, size_t size,
                       size_t threads, const struct forecast *forecast, bool open)
{
    struct smolscale_share *mine = &team->of[0];
    store_relaxed(&team->caller, ss_this_thread());
    store_relaxed(&team->limit, threads);
    memcpy(team->call.bytes, given, size);
    team->call.loop.guide = given->guided ? threads * 2 : 0;
    team->call.loop.fenced = is_fenced(forecast, given->items);
    mine->local = 0;
    word_store_relaxed(&mine->next, (size_t)0);
    // Behind a shut gate all is one piece that needs no announcement.
    word_store_relaxed(&mine->claimed, open ? 0 : given->items);
    word_store_relaxed(&mine->limit, given->items);
    store_relaxed(&team->shares.used, 1);
    store_relaxed(&team->helper_ticks, 0);
    if (open) {
        judge_gap(team, ss_ticks());
        word_store_relaxed(&mine->cpu, ss_this_cpu());
    }
    ss_gate_ready(&team->gate, open);
}

// Asks for the helpers that are worth it from the start. Returns the caller's pace.
static struct ss_pace open_pace(smolscale_team *team, const struct smolscale_loop *given,
                                const struct forecast *forecast)
{
    struct ss_pace pace = {0, 1, 0};
    // In integers: floating-point flags are the program's.
    if (forecast->known)
        pace = (struct ss_pace){forecast->ticks * 16 / given->items + 1, SIZE_MAX, 0};
    store_relaxed(&team->shares.item_ticks, pace.item);
    if (!forecast->watched)
        ss_team_ask_for(team, given->items - 1, SIZE_MAX); // nobody would send more of them
    else if (!forecast->known || forecast->ticks >= ss_ticks_of_ns(ss_policy(help_ns)))
        ss_team_ask_for_free_cpus(team, given->items - 1);
    return pace;
}

// Runs the loop with the gate locked, and ends the call.
static void run_call(smolscale_team *team, const struct smolscale_loop *given,
                     const struct forecast *forecast, bool open)
{
    struct smolscale_share *mine = &team->of[0];
    const struct smolscale_loop *loop = &team->call.loop;
    struct ss_pool *pool = ss_region_observe_start(given);
    team->fpu = ss_fpu_enter(given->flags);
    size_t i = 0;
    struct ss_pace pace = {0, 1, 0};
    uint64_t start = ss_ticks();
    if (!open) {
        i = loop->run(loop, mine, 0, given->items, 0);
    } else {
        pace = open_pace(team, given, forecast);
        start = ss_ticks(); // what asking costs is not the call's
        pace.look = start + ss_ticks_of_ns(ss_policy(look_soon_ns));
    }
    // A shut call whose items its caller has all claimed met no thief: nothing is left to look for.
    if (open || i < given->items) {
        ss_run_pieces(team, mine, i, 0, &pace);
        ss_run_stolen(team, mine, 0, &pace);
    }
    ss_fpu_leave(given->flags, team->fpu);
    ss_region_observe_end(pool);

    ss_team_withdraw(team);
    uint64_t now = ss_ticks();
    uint64_t spent = now - start, spin = ss_ticks_of_ns(ss_policy(wait_spin_ns));
    if (open) {
        if (ss_gate_present(load_acquire(&team->gate.word)) != 0)
            ss_gate_wait_empty(&team->gate, spin);
        spent += load_relaxed(&team->helper_ticks);
        store_relaxed(&team->last_end, now);
    }
    ss_cost_put(forecast->key, forecast->known, forecast->ticks, spent);
    store_relaxed(&team->caller, 0);
    ss_gate_end(&team->gate, spin);
}

// How many threads may run it.
static size_t limit_of(const smolscale_team *team, const struct smolscale_loop *loop)
{
    size_t threads = load_relaxed(&team->threads);
    return loop->max_threads && loop->max_threads < threads ? loop->max_threads : threads;
}

// (No address sanitizer: it would have the mark on a stack of its own.)
__attribute__((no_sanitize("address"))) void smolscale_team_run(smolscale_team *team,
                                                                const struct smolscale_loop *given,
                                                                size_t size)
{
    size_t threads = team ? limit_of(team, given) : 1;
    if (threads <= 1 || given->items <= 1 || __builtin_expect(size > SMOLSCALE_LOOP_MAX, 0)) {
        ss_run_serially(given, 0);
        return;
    }
    volatile uint64_t mark = 0;
    if (__builtin_expect(ss_gate_is_busy(&team->gate), 0)) {
        ss_team_reclaim(team, (const void *)&mark);
        size_t seat = seat_of_this_thread(team);
        if (seat != SIZE_MAX) {
            ss_run_serially(given, seat < threads ? seat : 0);
            return;
        }
    }
    ss_gate_lock(&team->gate);
    threads = limit_of(team, given); // it may have been changed meanwhile
    struct forecast forecast = {
        .key = ss_cost_key((uintptr_t)given->run, (uintptr_t)given->what, given->items)};
    forecast.known = ss_cost_get(forecast.key, &forecast.ticks);
    forecast.watched = ss_watch_calls();
    bool open = !forecast.watched || !forecast.known ||
                forecast.ticks >= ss_ticks_of_ns(ss_policy(awake_help_ns));
    begin_call(team, given, size, threads, &forecast, open);
    team->mark = &mark;
    team->mark_value = mark = load_relaxed(&team->gate.word) ^ (uintptr_t)team;
    run_call(team, given, &forecast, open);
}
