// SPDX-License-Identifier: ISC
//
// The thief's side of shares.h, and what owners do under the lock.

#include "region/shares.h"

#include "os/fence.h"
#include "os/ticks.h"
#include "region/history.h"
#include "sched/costs.h"

size_t ss_shares_left(struct ss_shares *shares)
{
    size_t left = 0;
    uint32_t used = load_relaxed(&shares->used);
    for (uint32_t i = 0; i < used; i++)
        left += ss_items_left(&shares->of[i]);
    return left;
}

bool ss_look_again(struct ss_shares *shares, struct smolscale_share *mine, size_t i)
{
    ss_lock(&shares->lock);
    size_t limit = word_load_relaxed(&mine->limit);
    bool more = i < limit;
    word_store_relaxed(&mine->next, more ? i : limit);
    word_store_relaxed(&mine->claimed, more ? i : limit);
    ss_unlock(&shares->lock);
    return more;
}

void ss_leave_piece(struct ss_shares *shares, struct smolscale_share *mine)
{
    ss_lock(&shares->lock);
    word_store_relaxed(&mine->claimed, word_load_relaxed(&mine->next));
    ss_unlock(&shares->lock);
}

// What has not even been announced: it can be stolen without a membarrier.
static size_t items_free(const struct smolscale_share *share)
{
    size_t claimed = word_load_relaxed(&share->claimed), limit = word_load_relaxed(&share->limit);
    return claimed < limit ? limit - claimed : 0;
}

typedef size_t count_fn(const struct smolscale_share *share);

// The share with most of what is counted; NULL when all are empty. Exact with the lock held, a hint
// without.
static struct smolscale_share *richest(struct ss_shares *shares, count_fn *count, size_t *most)
{
    struct smolscale_share *found = NULL;
    *most = 0;
    uint32_t used = load_relaxed(&shares->used);
    for (uint32_t i = 0; i < used; i++) {
        size_t n = count(&shares->of[i]);
        if (n > *most) {
            *most = n;
            found = &shares->of[i];
        }
    }
    return found;
}

// A rest that its owner finishes in less time than a theft takes is not worth one. Gives the owner
// that time; it may stand still, so no longer.
static void let_finish(struct ss_shares *shares, count_fn *count, uint64_t ns)
{
    size_t left;
    uint64_t item = load_relaxed(&shares->item_ticks);
    struct smolscale_share *victim = richest(shares, count, &left);
    uint64_t patience = ss_ticks_of_ns(ns);
    if (!victim || !item || left > patience * 16 / item)
        return;
    for (uint64_t start = ss_ticks(); ss_ticks() - start < patience && count(victim);)
        cpu_relax();
}

// (B) against the owner's items. False: the threads that run these pieces have to end them.
static bool item_barrier(bool fenced)
{
    if (fenced) {
        fence_seq_cst();
        return true;
    }
    uint64_t start = ss_os.now();
    bool done = ss_try_heavy_fence();
    if (done)
        ss_cost_learn(SS_COST_MEMBARRIER, ss_os.now() - start);
    return done;
}

// One try, with the lock held; *more: another may do better.
static bool try_to_steal(struct ss_shares *shares, struct smolscale_share *mine, bool fenced,
                         bool *more)
{
    size_t left;
    bool barrier = true;
    struct smolscale_share *victim = richest(shares, items_free, &left);
    size_t *announced = victim ? &victim->claimed : NULL;
    if (!victim) {
        victim = richest(shares, ss_items_left, &left);
        *more = victim != NULL;
        if (!victim)
            return false;
        announced = &victim->next;
    }
    size_t limit = word_load_relaxed(&victim->limit);
    size_t cut = limit - (left + 1) / 2;
    word_store_relaxed(&victim->limit, cut); // (c)
    if (announced == &victim->claimed)
        fence_seq_cst(); // (B)
    else
        barrier = item_barrier(fenced);
    if (barrier && word_load_relaxed(announced) <= cut) { // (d)
        word_store_relaxed(&mine->next, cut);
        word_store_relaxed(&mine->claimed, cut);
        word_store_relaxed(&mine->limit, limit);
        return true;
    }
    word_store_relaxed(&victim->limit, limit);
    *more = barrier;
    return false;
}

bool ss_steal(struct ss_shares *shares, struct smolscale_share *mine, bool fenced)
{
    let_finish(shares, items_free, ss_policy(theft_ns));
    let_finish(shares, ss_items_left, fenced ? ss_policy(theft_ns) : ss_policy(take_back_ns));
    ss_lock(&shares->lock);
    bool stolen, more = true;
    do
        stolen = try_to_steal(shares, mine, fenced, &more);
    while (!stolen && more);
    ss_unlock(&shares->lock);
    return stolen;
}
