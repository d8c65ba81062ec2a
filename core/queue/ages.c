// SPDX-License-Identifier: ISC
//
// A hash table with chains; see ages.h. A chain has its entries in the order of the pushes. Entries
// lie in one array and refer to each other by their place in it, so that the array can grow.

#include "queue/ages.h"

#include "os/memory.h"

#include <string.h>

#define NONE     UINT32_MAX
#define AT_FIRST 64u // entries; a power of two

struct entry {
    const void *item;
    uint64_t time;
    unsigned count; // items
    uint32_t next;  // in the chain, or of the unused entries
};

struct chain {
    uint32_t first, last;
};

struct ss_ages {
    uint32_t capacity; // entries, and chains; a power of two
    uint32_t held;     // entries with an item
    uint32_t used;     // entries that were ever taken
    uint32_t unused;   // the first of those given back
    struct entry *entry;
    struct chain *chain;
};

static struct chain *chain_of(const struct ss_ages *ages, const void *item)
{
    uint64_t hash = (uint64_t)(uintptr_t)item * UINT64_C(0x9e3779b97f4a7c15);
    return &ages->chain[(hash >> 32) & (ages->capacity - 1)];
}

static bool allocate(struct ss_ages *ages, uint32_t capacity)
{
    ages->entry = ss_allocate(capacity * sizeof *ages->entry);
    ages->chain = ss_allocate(capacity * sizeof *ages->chain);
    if (!ages->entry || !ages->chain) {
        ss_deallocate(ages->entry);
        ss_deallocate(ages->chain);
        return false;
    }
    memset(ages->chain, 0xff, capacity * sizeof *ages->chain); // NONE
    ages->capacity = capacity;
    ages->held = ages->used = 0;
    ages->unused = NONE;
    return true;
}

struct ss_ages *ss_ages_new(void)
{
    struct ss_ages *ages = ss_allocate(sizeof *ages);
    if (ages && allocate(ages, AT_FIRST))
        return ages;
    ss_deallocate(ages);
    return NULL;
}

void ss_ages_free(struct ss_ages *ages)
{
    if (!ages)
        return;
    ss_deallocate(ages->entry);
    ss_deallocate(ages->chain);
    ss_deallocate(ages);
}

// NONE: it is full.
static uint32_t take_entry(struct ss_ages *ages)
{
    uint32_t at = ages->unused;
    if (at != NONE)
        ages->unused = ages->entry[at].next;
    else if (ages->used < ages->capacity)
        at = ages->used++;
    ages->held += at != NONE;
    return at;
}

static void append(struct ss_ages *ages, uint32_t at)
{
    struct chain *chain = chain_of(ages, ages->entry[at].item);
    ages->entry[at].next = NONE;
    if (chain->first == NONE)
        chain->first = at;
    else
        ages->entry[chain->last].next = at;
    chain->last = at;
}

// Twice as large, with each chain in its order.
static bool grow(struct ss_ages *ages)
{
    struct ss_ages larger;
    if (ages->capacity > NONE / 4 || !allocate(&larger, ages->capacity * 2))
        return false;
    for (uint32_t i = 0; i < ages->capacity; i++) {
        for (uint32_t at = ages->chain[i].first; at != NONE; at = ages->entry[at].next) {
            uint32_t to = take_entry(&larger);
            larger.entry[to] = ages->entry[at];
            append(&larger, to);
        }
    }
    ss_deallocate(ages->entry);
    ss_deallocate(ages->chain);
    *ages = larger;
    return true;
}

static uint32_t new_entry(struct ss_ages *ages, const void *item, unsigned count, uint64_t time)
{
    uint32_t at = take_entry(ages);
    if (at == NONE && grow(ages))
        at = take_entry(ages);
    if (at != NONE)
        ages->entry[at] = (struct entry){.item = item, .time = time, .count = count};
    return at;
}

bool ss_ages_push(struct ss_ages *ages, const void *item, unsigned count, uint64_t time)
{
    uint32_t at = new_entry(ages, item, count, time);
    if (at != NONE)
        append(ages, at);
    return at != NONE;
}

void ss_ages_put_back(struct ss_ages *ages, const void *item, uint64_t time)
{
    uint32_t at = new_entry(ages, item, 1, time);
    if (at == NONE)
        return;
    struct chain *chain = chain_of(ages, item);
    ages->entry[at].next = chain->first;
    if (chain->first == NONE)
        chain->last = at;
    chain->first = at;
}

static void remove_entry(struct ss_ages *ages, struct chain *chain, uint32_t before, uint32_t at)
{
    uint32_t next = ages->entry[at].next;
    if (before == NONE)
        chain->first = next;
    else
        ages->entry[before].next = next;
    if (chain->last == at)
        chain->last = before;
    ages->entry[at].next = ages->unused;
    ages->unused = at;
    ages->held--;
}

bool ss_ages_are_empty(const struct ss_ages *ages)
{
    return ages->held == 0;
}

uint64_t ss_ages_take(struct ss_ages *ages, const void *item)
{
    struct chain *chain = chain_of(ages, item);
    uint32_t before = NONE, at = chain->first;
    while (at != NONE && ages->entry[at].item != item) {
        before = at;
        at = ages->entry[at].next;
    }
    if (at == NONE)
        return 0;
    uint64_t time = ages->entry[at].time;
    if (--ages->entry[at].count == 0)
        remove_entry(ages, chain, before, at);
    return time;
}
