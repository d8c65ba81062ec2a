// SPDX-License-Identifier: ISC
//
// Two copies of each pool's histogram, one behind the other in time; see recent.h. A pool that came
// after the last turn has none yet: all that it has counted is of late.

#include "trace/recent.h"

#include "os/memory.h"

#include <string.h>

struct ss_recent_pool {
    uint64_t older[SS_BUCKETS], later[SS_BUCKETS];
};

static void copy(uint64_t to[SS_BUCKETS], const struct ss_histogram *times)
{
    for (unsigned i = 0; i < SS_BUCKETS; i++)
        to[i] = load_relaxed(&times->bucket[i]);
}

// NULL: there is no memory, and its times are not known.
static struct ss_recent_pool *pool_at(struct ss_recent *recent, unsigned index)
{
    if (!recent->pool[index])
        recent->pool[index] = ss_allocate_zeroed(sizeof *recent->pool[index]);
    return recent->pool[index];
}

static void take_copies(struct ss_recent *recent, uint64_t now, bool both)
{
    recent->turned_at = now;
    for (unsigned i = 0; i < ss_pool_count(); i++) {
        struct ss_recent_pool *copies = pool_at(recent, i);
        if (!copies)
            continue;
        if (!both)
            memcpy(copies->older, copies->later, sizeof copies->older);
        copy(copies->later, &ss_pool_at(i)->times);
        if (both)
            memcpy(copies->older, copies->later, sizeof copies->older);
    }
}

void ss_recent_begin(struct ss_recent *recent, uint64_t now)
{
    take_copies(recent, now, true);
}

void ss_recent_turn(struct ss_recent *recent, uint64_t now)
{
    uint64_t since = now - recent->turned_at;
    if (since >= SS_RECENT_NS)
        take_copies(recent, now, since >= 2 * SS_RECENT_NS);
}

// The last bucket below which, with itself, at least `wanted` are.
static unsigned bucket_with(const uint64_t count[SS_BUCKETS], uint64_t wanted)
{
    unsigned i = 0;
    for (uint64_t seen = count[0]; seen < wanted && i + 1 < SS_BUCKETS;)
        seen += count[++i];
    return i;
}

void ss_recent_of(struct ss_recent *recent, const struct ss_pool *pool,
                  struct ss_recent_times *times)
{
    *times = (struct ss_recent_times){.jobs = 0};
    const struct ss_recent_pool *copies = pool ? pool_at(recent, pool->index) : NULL;
    if (!copies)
        return;
    uint64_t count[SS_BUCKETS], all = 0, max = load_relaxed(&pool->times.max);
    copy(count, &pool->times);
    for (unsigned i = 0; i < SS_BUCKETS; i++)
        all += count[i] -= copies->older[i];
    if (all == 0)
        return;
    const uint64_t wanted[] = {all - all / 2, all - all / 100, all};
    uint64_t *const out[] = {&times->p50, &times->p99, &times->max};
    for (unsigned i = 0; i < 3; i++) {
        uint64_t end = ss_bucket_end(bucket_with(count, wanted[i]));
        *out[i] = end < max ? end : max;
    }
    times->jobs = all;
}

void ss_recent_end(struct ss_recent *recent)
{
    for (unsigned i = 0; i <= SS_POOLS_MAX; i++)
        ss_deallocate(recent->pool[i]);
    *recent = (struct ss_recent){.turned_at = 0};
}
