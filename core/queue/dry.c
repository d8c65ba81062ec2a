// SPDX-License-Identifier: ISC
//
// Napping and lingering; see dry.h.

#include "queue/dry.h"
#include "queue/observe.h"

const struct ss_dry_policy ss_dry_policy = {
    .nap_ns = &ss_policies.nap_ns,
    .nap_below_ns = &ss_policies.tiny_job_ns,
    .linger_ns = &ss_policies.linger_ns,
    .linger_jobs = 0,
    .linger_times = 2, // two threads that hand work to one another are quicker once neither sleeps
    .gain_times = 1,
};

const struct ss_dry_policy ss_dry_policy_with_notices = {
    .nap_ns = &ss_policies.noticed_nap_ns,
    .nap_below_ns = &ss_policies.noticed_nap_below_ns,
    .linger_ns = &ss_policies.noticed_linger_ns,
    .linger_jobs = SS_NOTICED_LINGER_JOBS,
    .linger_times = 1,
    .gain_times = 3,
};

static bool nap_may_pay(smolscale_queue *queue)
{
    if (queue->napper || queue->closed || queue->waiters || ss_queue_above_limit(queue))
        return false;
    return ss_queue_has_tiny_jobs(queue) &&
           ss_queue_jobs_below(queue, load_relaxed(queue->dry->nap_below_ns)) &&
           !ss_skip(&queue->nap);
}

static void observe(smolscale_queue *queue, void (*note)(struct ss_pool *pool))
{
    if (ss_is_observed())
        note(ss_queue_pool(queue));
}

static void nap(smolscale_queue *queue, struct ss_worker *worker)
{
    struct ss_server *server = ss_server_of(worker);
    observe(queue, ss_note_nap);
    queue->napper = worker;
    queue->pushes_since_take = 0;
    queue->pushed_at = 0;
    store_relaxed(&worker->park, SS_PARK_NAPPING);
    ss_unlock(queue->runnable.lock);
    uint64_t begin = server->batch_start, length = load_relaxed(queue->dry->nap_ns);
    if (server->notices.count > 0) {
        ss_notices_give(queue, &server->notices);
        begin = ss_os.now();
    }
    fetch_add_relaxed(&worker->counters->naps, 1);
    ss_os.nap(&worker->park, SS_PARK_NAPPING, length);
    bool time_up = load_relaxed(&worker->park) == SS_PARK_NAPPING;
    ss_lock(queue->runnable.lock);
    store_relaxed(&worker->park, SS_PARK_AWAKE);
    queue->napper = NULL;
    observe(queue, ss_note_nap_end);
    server->batch_start = ss_os.now();
    if (time_up && server->batch_start > begin + length)
        ss_cost_learn(SS_COST_OVERSHOOT, server->batch_start - begin - length);
    // The clock is looked at when the pushes come to 1, 2, 4, ... (wake_policy.h).
    bool kept_coming = server->batch_start - queue->pushed_at < length * 3 / 4;
    ss_skips_note(&queue->nap, load_relaxed(&queue->pending) >= 2 && kept_coming, SS_DRY_SKIPS_MAX);
}

void ss_queue_end_nap(smolscale_queue *queue)
{
    struct ss_worker *napper = queue->napper;
    if (!napper)
        return;
    store_release(&napper->park, SS_PARK_AWAKE);
    ss_os.futex_wake(&napper->park, 1);
}

static uint64_t linger_time(const smolscale_queue *queue)
{
    uint64_t time = load_relaxed(queue->dry->linger_ns);
    if (ss_queue_has_tiny_jobs(queue))
        time += queue->dry->linger_jobs * queue->mean >> SS_MEAN_SHIFT;
    return time;
}

// Ends before its time if another queue of the group gets work.
static void linger(smolscale_queue *queue, struct ss_server *server)
{
    const struct ss_dry_policy *dry = queue->dry;
    const struct ss_group *group = queue->group;
    uint64_t begin = server->batch_start, time = linger_time(queue),
             most = dry->linger_times * time;
    unsigned yields = 0, injected = load_relaxed(&group->injected);
    observe(queue, ss_note_nap);
    queue->lingering++;
    ss_unlock(queue->runnable.lock);
    ss_note_lingering();
    do
        ss_os.yield();
    while (load_relaxed(&queue->pending) == 0 && load_relaxed(&group->injected) <= injected &&
           ss_os.now() < begin + most && ++yields < SS_LINGER_YIELDS);
    ss_lock(queue->runnable.lock);
    queue->lingering--;
    observe(queue, ss_note_nap_end);
    server->batch_start = ss_os.now();
    uint64_t took = server->batch_start - begin;
    took = took < most ? took : most; // others have had the CPU for the rest
    uint64_t gained = load_relaxed(&queue->pending) > 0 ? dry->gain_times * time : 0;
    ss_gains_note(&queue->linger, (int64_t)(gained - took), (int64_t)time, SS_DRY_SKIPS_MAX);
}

// Does anything wait in the family, whose limits the queue shares?
static bool family_waits(smolscale_queue *queue)
{
    for (smolscale_queue *member = ss_queue_head(queue); member;
         member = ss_queue_next_member(member))
        if (load_relaxed(&member->pending) > 0)
            return true;
    return false;
}

static bool linger_may_pay(smolscale_queue *queue)
{
    return queue->steady && !queue->closed && !queue->waiters && !family_waits(queue) &&
           !ss_skip(&queue->linger.skips);
}

void ss_queue_await_jobs(smolscale_queue *queue, struct ss_worker *worker)
{
    if (ss_queue_expected_ns(queue) < ss_policy(tiny_job_ns) && nap_may_pay(queue))
        nap(queue, worker);
    else if (linger_may_pay(queue))
        linger(queue, ss_server_of(worker));
}
