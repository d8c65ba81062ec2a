// SPDX-License-Identifier: ISC
//
// Memory of tasks: blocks of a few sizes, cut from chunks, with a cache for each worker so that
// spawning and ending a task costs no lock. What the caches do not hold goes back to its chunk, and
// chunks that are wholly free, beyond some, to the system.
//
// A cache belongs to its worker's thread. Chunks and everything about them are guarded by one lock,
// which is taken once for CACHE_BATCH blocks.

#include "task.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE  ((size_t)256 << 10) // also its alignment, by which a block finds its chunk
#define CHUNKS_KEPT 64                  // wholly free ones: 16 MiB
#define CACHE_BATCH 64
#define CACHE_MAX   256 // blocks of one size; half of them go back when there are more

// Sizes are multiples of the cache line up to SS_SLAB_CLASSES of them; class 0 is for what is
// larger.
static size_t block_size(unsigned class)
{
    return (size_t) class * SS_CACHE_LINE;
}

// A free block.
struct ss_block {
    struct ss_block *next;
};

struct chunk {
    struct chunk *next, **prev_link; // among those of its class that have free blocks
    struct ss_block *free;
    unsigned used, capacity;
    unsigned class;
    unsigned generation; // of the executor: chunks of before a fork() are left alone
};

#define CHUNK_HEADER ((sizeof(struct chunk) + SS_CACHE_LINE - 1) / SS_CACHE_LINE * SS_CACHE_LINE)

static struct {
    struct ss_lock lock;
    struct chunk *partial[SS_SLAB_CLASSES + 1];
    unsigned wholly_free;
} slab;

static struct chunk *chunk_of(struct ss_block *block)
{
    return (struct chunk *)((uintptr_t)block & ~(CHUNK_SIZE - 1));
}

static void link_chunk(struct chunk *chunk)
{
    struct chunk **head = &slab.partial[chunk->class];
    chunk->next = *head;
    chunk->prev_link = head;
    if (*head)
        (*head)->prev_link = &chunk->next;
    *head = chunk;
}

static void unlink_chunk(struct chunk *chunk)
{
    *chunk->prev_link = chunk->next;
    if (chunk->next)
        chunk->next->prev_link = chunk->prev_link;
}

static struct chunk *new_chunk(unsigned class)
{
    struct chunk *chunk = aligned_alloc(CHUNK_SIZE, CHUNK_SIZE);
    if (!chunk)
        return NULL;
    *chunk =
        (struct chunk){.class = class,
                       .generation = ss.generation,
                       .capacity = (unsigned)((CHUNK_SIZE - CHUNK_HEADER) / block_size(class))};
    char *block = (char *)chunk + CHUNK_HEADER + chunk->capacity * block_size(class);
    for (unsigned i = 0; i < chunk->capacity; i++) { // the first block ends up first
        block -= block_size(class);
        struct ss_block *free = (struct ss_block *)block;
        free->next = chunk->free;
        chunk->free = free;
    }
    link_chunk(chunk);
    slab.wholly_free++;
    return chunk;
}

// Up to `count` blocks, linked; `*got` tells how many.
static struct ss_block *take(unsigned class, unsigned count, unsigned *got)
{
    struct ss_block *list = NULL, **tail = &list;
    ss_lock(&slab.lock);
    for (*got = 0; *got < count; ++*got) {
        struct chunk *chunk = slab.partial[class];
        if (!chunk && *got > 0)
            break; // no new chunk for what nobody has asked for
        if (!chunk && !(chunk = new_chunk(class)))
            break;
        slab.wholly_free -= chunk->used++ == 0;
        *tail = chunk->free;
        tail = &chunk->free->next;
        chunk->free = *tail;
        if (!chunk->free)
            unlink_chunk(chunk);
    }
    *tail = NULL;
    ss_unlock(&slab.lock);
    return list;
}

static void give_back(struct ss_block *list)
{
    struct chunk *superfluous = NULL;
    ss_lock(&slab.lock);
    while (list) {
        struct ss_block *block = list;
        struct chunk *chunk = chunk_of(block);
        list = block->next;
        if (chunk->generation != ss.generation)
            continue;
        if (!chunk->free)
            link_chunk(chunk);
        block->next = chunk->free;
        chunk->free = block;
        if (--chunk->used > 0)
            continue;
        if (slab.wholly_free < CHUNKS_KEPT) {
            slab.wholly_free++;
            continue;
        }
        unlink_chunk(chunk);
        chunk->next = superfluous;
        superfluous = chunk;
    }
    ss_unlock(&slab.lock);
    while (superfluous) {
        struct chunk *chunk = superfluous;
        superfluous = chunk->next;
        free(chunk);
    }
}

static struct ss_block *get_slow(unsigned class)
{
    struct ss_worker *worker = ss_self;
    unsigned got;
    struct ss_block *list = take(class, worker ? CACHE_BATCH : 1, &got);
    if (worker && list) {
        worker->cache[class].first = list->next;
        worker->cache[class].count = got - 1;
    }
    return list;
}

static size_t size_for(size_t frame_size)
{
    return (SS_TASK_SIZE + frame_size + SS_CACHE_LINE - 1) & ~(size_t)(SS_CACHE_LINE - 1);
}

struct smolscale_task *ss_slab_get(size_t frame_size)
{
    struct smolscale_task *task;
    if (frame_size > block_size(SS_SLAB_CLASSES) - SS_TASK_SIZE) {
        task =
            frame_size < SIZE_MAX / 2 ? aligned_alloc(SS_CACHE_LINE, size_for(frame_size)) : NULL;
        if (task)
            task->size_class = 0;
        return task;
    }
    unsigned class = (unsigned)(size_for(frame_size) / SS_CACHE_LINE);
    struct ss_slab_cache *cache = ss_self ? &ss_self->cache[class] : NULL;
    struct ss_block *block;
    if (__builtin_expect(cache && cache->first, 1)) {
        block = cache->first;
        cache->first = block->next;
        cache->count--;
        __builtin_prefetch(cache->first);
    } else {
        block = get_slow(class);
    }
    task = (struct smolscale_task *)block;
    if (task)
        task->size_class = (uint8_t) class;
    return task;
}

static void trim(struct ss_slab_cache *cache, unsigned kept)
{
    struct ss_block **link = &cache->first;
    for (unsigned i = 0; i < kept; i++)
        link = &(*link)->next;
    struct ss_block *rest = *link;
    *link = NULL;
    cache->count = kept;
    give_back(rest);
}

void ss_slab_put(struct smolscale_task *task)
{
    if (task->size_class == 0) {
        free(task);
        return;
    }
    struct ss_worker *worker = ss_self;
    struct ss_slab_cache *cache = worker ? &worker->cache[task->size_class] : NULL;
    struct ss_block *block = (struct ss_block *)task; // from here on
    block->next = cache ? cache->first : NULL;
    if (!cache) {
        give_back(block);
        return;
    }
    cache->first = block;
    if (++cache->count > CACHE_MAX)
        trim(cache, CACHE_MAX / 2);
}

void ss_slab_flush(struct ss_worker *worker)
{
    for (unsigned class = 1; class <= SS_SLAB_CLASSES; class ++)
        if (worker->cache[class].count)
            trim(&worker->cache[class], 0);
}

// Other threads may have been anywhere: all chunks are left alone, and so is what the worker's
// cache holds of them.
void ss_slab_after_fork(void)
{
    memset(&slab, 0, sizeof slab);
    if (ss_self)
        memset(ss_self->cache, 0, sizeof ss_self->cache);
}
