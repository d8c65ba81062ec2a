// SPDX-License-Identifier: ISC
//
// The table of pools; see pools.h. It only grows: an entry is complete before it is counted, and a
// reader takes the count first (acquire, pairs with the release in add()).

#include "trace/pools.h"

#include "base/room.h"
#include "os/lock.h"
#include "os/memory.h"
#include "os/process.h"

#include <stdio.h>
#include <string.h>

static struct ss_lock lock = SS_LOCK_INIT;
static struct ss_pool *table[SS_POOLS_MAX + 1]; // the last is that of all others
static _Atomic unsigned count;

unsigned ss_pool_count(void)
{
    return load_acquire(&count);
}

struct ss_pool *ss_pool_at(unsigned index)
{
    return table[index];
}

// What is longer than a label can be is cut off.
static bool same_label(const char *kept, const char *label)
{
    size_t length = strnlen(label, SS_POOL_LABEL_MAX - 1);
    return memcmp(kept, label, length) == 0 && kept[length] == '\0';
}

static struct ss_pool *look(const char *label, const void *code)
{
    unsigned end = ss_pool_count();
    for (unsigned i = 0; i < end; i++)
        if (table[i]->code == code && same_label(table[i]->label, label))
            return table[i];
    return end > SS_POOLS_MAX ? table[SS_POOLS_MAX] : NULL;
}

// The lock held.
static struct ss_pool *add(const char *label, const void *code)
{
    unsigned index = load_relaxed(&count);
    struct ss_pool *pool = ss_allocate_zeroed(sizeof *pool);
    if (!pool)
        return NULL;
    bool others = index == SS_POOLS_MAX;
    snprintf(pool->label, sizeof pool->label, "%s", others ? "others" : label);
    pool->code = others ? NULL : code;
    pool->index = index;
    table[index] = pool;
    store_release(&count, index + 1);
    return pool;
}

struct ss_pool *ss_pool_find(const char *label, const void *code)
{
    struct ss_pool *pool = look(label, code);
    if (pool)
        return pool;
    ss_lock(&lock);
    pool = look(label, code);
    if (!pool)
        pool = add(label, code);
    ss_unlock(&lock);
    return pool;
}

void ss_pool_name(const struct ss_pool *pool, char *name, unsigned size)
{
    char symbol[128];
    if (pool->code) {
        ss_process_symbol(pool->code, symbol, sizeof symbol);
        snprintf(name, size, "%s:%s", pool->label, symbol);
    } else {
        snprintf(name, size, "%s", pool->label);
    }
    for (char *c = name; *c; c++)
        if (*c <= ' ' || *c > '~' || *c == '"' || *c == '\\')
            *c = '_';
}

// What waited and what was counted is the parent's.
static void after_fork(void)
{
    ss_lock_reset(&lock);
    for (unsigned i = 0; i < load_relaxed(&count); i++) {
        store_relaxed(&table[i]->waiting, 0);
        memset(&table[i]->times, 0, sizeof table[i]->times);
    }
}

SS_ROOM(trace_pools, NULL, after_fork);
