// SPDX-License-Identifier: ISC
//
// Asking for helpers. They are workers of a group, which come by the group's injection queue as
// they do for a work queue; or threads that the program lends.
//
//   L1  Under ss.lock: while `asked` of a team of workers is not 0, the team is `listed`: in the
//       injection queue, or popped by a worker that is about to take an order. So the balancer sees
//       what is wanted, and makes up for wake-ups that were not worth it or failed.
//   L2  Who asks looks at `group` under ss.lock, and holds a reference until it has followed up.
//       Close clears it under that lock, takes the listing out, and waits for a worker that has
//       popped it. So nobody is asked for later, and a group that is freed then has nobody to wait
//       for.
//
// The program's code (`lend`) runs in no thread of the executor but a worker: the balancer, which
// must not wait for anybody, has a worker of the team's group call it.

#include "region/region.h"

#include "os/ticks.h"

#include <string.h>

_Atomic(smolscale_team *) ss_teams;
_Atomic unsigned ss_region_generation;

// ---- by the injection queue

// Lists the team, and wakes up to `count` workers on other CPUs than the caller's, which goes on
// working. ss.lock held on entry, and dropped.
static void call_workers(smolscale_team *team, uint32_t count)
{
    struct ss_group *group = team->group;
    enum ss_follow_up todo;
    if (!team->listed)
        ss_inject(group, &team->runnable);
    team->listed = true;
    struct ss_worker *wake = ss_recruit(group, &todo), *others = NULL;
    if (wake) {
        ss_keep_away(wake);
        others = ss_recruit_others(group, count);
    }
    ss_group_ref(group);
    ss_unlock(&ss.lock);
    ss_unpark_all(others);
    ss_follow_up(group, wake, todo); // if it fails, they come as soon as a thread can be had
    ss_group_unref(group);
}

static void ask_workers(smolscale_team *team, uint32_t count)
{
    ss_lock(&ss.lock);
    if (!team->group) { // the caller does it alone
        ss_unlock(&ss.lock);
        return;
    }
    fetch_add_relaxed(&team->asked, count);
    call_workers(team, count);
}

bool ss_team_take_order(smolscale_team *team, struct ss_worker *worker)
{
    struct smolscale_lender lender;
    uint32_t to_lend;
    ss_lock(&ss.lock);
    team->listed = false;
    store_relaxed(&team->runnable.taken, load_relaxed(&team->runnable.taken) + 1);
    to_lend = team->to_lend;
    team->to_lend = 0;
    lender = team->lender;
    bool helps = !lender.lend && load_relaxed(&team->asked) > 0;
    if (helps) {
        fetch_add_relaxed(&team->around, 1); // before it goes from `asked`: it always counts
        if (fetch_sub_relaxed(&team->asked, 1) > 1)
            call_workers(team, 1); // L1
        else
            ss_unlock(&ss.lock);
    } else {
        ss_unlock(&ss.lock);
    }
    if (helps) {
        fetch_add_relaxed(&worker->counters->jobs, 1);
        ss_name_worker(worker, team->thread_name);
    }
    if (to_lend > 0)
        store_relaxed(&worker->in_job, true);
    for (; to_lend > 0; to_lend--)
        lender.lend(lender.context, team, ss_team_help_lent);
    return helps;
}

// ---- lent threads

static void ask_lender(smolscale_team *team, uint32_t count)
{
    ss_lock(&ss.lock);
    if (!team->group) {
        ss_unlock(&ss.lock);
        return;
    }
    struct smolscale_lender lender = team->lender;
    fetch_add_relaxed(&team->asked, count);
    fetch_add_relaxed(&team->lent, count);
    if (ss_spawner_self) {
        team->to_lend += count;
        call_workers(team, 1);
        return;
    }
    ss_unlock(&ss.lock);
    while (count--)
        lender.lend(lender.context, team, ss_team_help_lent);
}

void ss_team_lent_ended(smolscale_team *team)
{
    if (fetch_sub_seq_cst(&team->lent, 1) == 1)
        ss_os.futex_wake(&team->lent, 1);
}

// ---- how many

// One that is about to go looks at the gate once more (helper.c): either it sees that the gate is
// open, or we see that it has gone.
void ss_team_ask(smolscale_team *team, uint32_t want)
{
    fence_seq_cst(); // pairs with the decrement of `around` in helper.c
    uint32_t have = load_relaxed(&team->around) + load_relaxed(&team->asked);
    if (want <= have)
        return;
    if (team->lender.lend)
        ask_lender(team, want - have);
    else
        ask_workers(team, want - have);
}

void ss_team_ask_for(smolscale_team *team, size_t items, size_t can)
{
    size_t want = load_relaxed(&team->limit) - 1;
    if (want > items)
        want = items;
    // A thread that is created for this starts with the control word of its creator.
    ss_fpu fpu = ss_fpu_get();
    ss_fpu_leave(team->call.loop.flags, team->fpu);
    ss_team_ask(team, (uint32_t)(want < can ? want : can));
    ss_fpu_leave(team->call.loop.flags, fpu);
}

// CPUs of this process that no team keeps busy at the moment: the caller's own does not count as
// free, nor does one whose team was called just now and will be again.
static uint32_t free_cpus(smolscale_team *team)
{
    enum { WORDS = 16 };
    uint64_t seen[WORDS] = {0};
    uint32_t busy = 0;
    uint64_t now = ss_ticks();
    for (smolscale_team *t = load_acquire(&ss_teams); t; t = load_relaxed(&t->next)) {
        uint64_t word = load_relaxed(&t->gate.word);
        bool called = (word & SS_GATE_BUSY) ||
                      now - load_relaxed(&t->last_end) < ss_ticks_of_ns(ss_policy(look_later_ns));
        if (!called && t != team)
            continue;
        uint32_t used = ss_gate_present(word) ? (uint32_t)t->capacity : 1;
        for (uint32_t i = 0; i < used; i++) {
            if (i > 0 && !word_load_relaxed(&t->of[i].taken))
                continue;
            uint32_t cpu = word_load_relaxed(&t->of[i].cpu);
            uint64_t bit = UINT64_C(1) << (cpu % 64);
            if (!(seen[cpu / 64 % WORDS] & bit)) {
                seen[cpu / 64 % WORDS] |= bit;
                busy++;
            }
        }
    }
    uint32_t cpus = smolscale_cpus();
    return cpus > busy ? cpus - busy : 0;
}

void ss_team_ask_for_free_cpus(smolscale_team *team, size_t items)
{
    uint32_t present = ss_gate_present(load_relaxed(&team->gate.word));
    ss_team_ask_for(team, items, (size_t)present + free_cpus(team));
}

// ---- no more

void ss_team_withdraw(smolscale_team *team)
{
    if (load_relaxed(&team->asked) == 0)
        return;
    ss_lock(&ss.lock);
    if (!team->lender.lend) // what was asked of a lender comes
        store_relaxed(&team->asked, 0);
    ss_unlock(&ss.lock);
}

// L2. A worker that has popped the listing is running, and past all that could hold it up.
static void take_listing_out(smolscale_team *team, struct ss_group *group)
{
    ss_lock(&ss.lock);
    if (team->listed && ss_inject_withdraw(group, &team->runnable))
        team->listed = false;
    while (team->listed) {
        ss_unlock(&ss.lock);
        ss_os.rest();
        ss_lock(&ss.lock);
    }
    ss_unlock(&ss.lock);
}

static void wait_for_lent(smolscale_team *team)
{
    uint32_t count;
    while ((count = load_seq_cst(&team->lent)) != 0)
        ss_os.futex_wait_until(&team->lent, count, SS_FOREVER); // changed, interrupted: look again
}

void ss_team_close(smolscale_team *team)
{
    ss_lock(&ss.lock);
    struct ss_group *group = team->group;
    team->group = NULL;
    if (!team->lender.lend)
        store_relaxed(&team->asked, 0);
    // Those that were to be lent will not be.
    fetch_sub_relaxed(&team->asked, team->to_lend);
    fetch_sub_seq_cst(&team->lent, team->to_lend);
    team->to_lend = 0;
    ss_unlock(&ss.lock);
    if (!group)
        return;
    take_listing_out(team, group);
    wait_for_lent(team);
    if (team->owns_group)
        smolscale_group_free(group);
    else
        ss_group_unref(group);
}

SS_ROOM(region_lend, NULL, NULL); // team.c, which makes the teams, resets them all
