// SPDX-License-Identifier: ISC
//
// A helper, from check-in to its end: a worker of the executor that came for the team's runnable,
// or a thread that the program lends.
//
// It is counted in `asked` until it starts and in `around` until it goes. When it has nothing to do
// any more it may stay for a moment, if calls have lately come that fast. It counts itself out,
// then looks at the gate once more; the thread that opens the gate fences, then looks at `around`
// (ss_team_ask). So a caller either finds it gone, and asks for another, or it finds the call.

#include "os/ticks.h"
#include "region/region.h"

// Fewer than `limit` - 1 others are inside and each has one share: one is free. Others may be
// changing seats meanwhile, so it can take more than one round to meet it.
static size_t take_share(smolscale_team *team)
{
    for (;;) {
        size_t threads = load_relaxed(&team->limit);
        for (uint32_t i = 1; i < threads; i++) {
            struct smolscale_share *share = &team->of[i];
            if (word_load_relaxed(&share->taken) || word_exchange_acquire(&share->taken, 1u))
                continue;
            word_store_relaxed(&share->owner, ss_this_thread());
            word_store_relaxed(&share->cpu, ss_this_cpu());
            share->local = 0;
            uint32_t used = load_relaxed(&team->shares.used);
            while (used <= i && !cas_weak_seq_cst(&team->shares.used, &used, i + 1))
                ;
            return i;
        }
    }
}

static void help(smolscale_team *team)
{
    uint64_t start = ss_ticks();
    size_t thread = take_share(team);
    struct ss_pool *pool = ss_region_observe_start(&team->call.loop);
    struct smolscale_share *mine = &team->of[thread];
    unsigned flags = team->call.loop.flags;
    ss_fpu fpu = ss_fpu_enter(flags);
    struct ss_pace pace = {load_relaxed(&team->shares.item_ticks), SIZE_MAX, UINT64_MAX};
    ss_run_stolen(team, mine, thread, &pace);
    ss_fpu_leave(flags, fpu);
    ss_region_observe_end(pool);
    fetch_add_relaxed(&team->helper_ticks, ss_ticks() - start);
    word_store_relaxed(&mine->owner, (uintptr_t)0);
    word_store_release(&mine->taken, 0u);
    ss_team_leave(team);
}

static bool is_open(uint64_t word, uint32_t seen)
{
    return (word & SS_GATE_OPEN) && ss_gate_call(word) != seen;
}

// Waits a moment for another call than `seen`, if such have been coming in quick succession; not in
// the way of the caller, if it has to run here.
static bool next_call_is_open(smolscale_team *team, uint32_t seen)
{
    if (load_relaxed(&team->linger) == 0)
        return false;
    uint64_t lingers = ss_ticks_of_ns(ss_policy(helper_lingers_ns));
    for (uint64_t start = ss_ticks(); ss_ticks() - start < lingers;) {
        if (is_open(load_relaxed(&team->gate.word), seen))
            return true;
        if (ss_this_cpu() == word_load_relaxed(&team->of[0].cpu))
            return false;
        cpu_relax();
    }
    return false;
}

// Helps with calls until there is none. It counts as around already.
static void help_with_calls(smolscale_team *team)
{
    uint32_t call = ss_gate_call(load_relaxed(&team->gate.word)) - 1;
    for (;;) {
        do {
            if (ss_gate_enter(&team->gate, &team->limit, &call))
                help(team);
        } while (next_call_is_open(team, call));
        fetch_sub_seq_cst(&team->around, 1);
        // A thread that opens the gate from here on finds this one gone.
        if (!is_open(load_seq_cst(&team->gate.word), call))
            return;
        fetch_add_relaxed(&team->around, 1);
    }
}

void ss_team_serve(struct ss_runnable *runnable, struct ss_worker *worker)
{
    smolscale_team *team =
        (smolscale_team *)((char *)runnable - offsetof(smolscale_team, runnable));
    if (ss_team_take_order(team, worker)) {
        count_owned(&worker->progress);
        store_relaxed(&worker->in_job, true);
        help_with_calls(team);
    }
    if (load_relaxed(&worker->in_job))
        ss_leave_job(worker);
}

void ss_team_help_lent(void *given)
{
    smolscale_team *team = given;
    unsigned generation = load_relaxed(&ss_region_generation);
    fetch_add_relaxed(&team->around, 1);
    fetch_sub_relaxed(&team->asked, 1);
    help_with_calls(team);
    if (generation == load_relaxed(&ss_region_generation))
        ss_team_lent_ended(team); // otherwise it is counted in the parent
}
