// SPDX-License-Identifier: ISC
//
// Pools, as observers see them: a name, how many jobs wait, and how long they have waited. Several
// queues may be one pool: those with the same label and the same code. So a program that makes and
// frees pools for ever has a few all the same. A pool that was found stays for good.
//
// A pool is found at the first job that is observed, under the lock of its queue: the label and the
// address are kept then, and no symbol is looked up. The loader's lock is taken at the end of the
// process only (process/trace.c).

#ifndef SS_POOLS_H
#define SS_POOLS_H

#include "trace/histogram.h"

#include <stdint.h>

#define SS_POOLS_MAX      255 // what comes later shares one, named "others"
#define SS_POOL_LABEL_MAX 32  // bytes, with the zero

struct ss_pool {
    char label[SS_POOL_LABEL_MAX];
    const void *code;         // of the function whose calls are the jobs; NULL: many
    unsigned index;           // in the table
    _Atomic uint64_t waiting; // jobs
    struct ss_histogram times;
};

// The pool with this label and this code. NULL: no memory.
struct ss_pool *ss_pool_find(const char *label, const void *code);

// How many there are, and the one of an index below that.
unsigned ss_pool_count(void);
struct ss_pool *ss_pool_at(unsigned index);

// A name for people, without spaces: "glib:libgio-2.0.so.0+0x7b3a0". Looks the code up among what
// is loaded: no lock held.
void ss_pool_name(const struct ss_pool *pool, char *name, unsigned size);

// ---- of any pool; NULL is allowed and counts nothing

static inline const char *ss_pool_label(const struct ss_pool *pool)
{
    return pool ? pool->label : "unknown";
}

static inline const void *ss_pool_code(const struct ss_pool *pool)
{
    return pool ? pool->code : (const void *)0;
}

static inline unsigned ss_pool_index(const struct ss_pool *pool)
{
    return pool ? pool->index : SS_POOLS_MAX + 1;
}

// Returns how many wait now.
static inline uint64_t ss_pool_count_waiting(struct ss_pool *pool, int64_t change)
{
    return pool ? fetch_add_relaxed(&pool->waiting, (uint64_t)change) + (uint64_t)change : 0;
}

static inline void ss_pool_note_time(struct ss_pool *pool, uint64_t ns, uint64_t jobs)
{
    if (pool)
        ss_histogram_add_many(&pool->times, ns, jobs);
}

#endif // SS_POOLS_H
