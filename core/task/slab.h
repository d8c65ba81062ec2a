// SPDX-License-Identifier: ISC
//
// Memory of tasks: what the common case needs, inline. See slab.c.

#ifndef SS_SLAB_H
#define SS_SLAB_H

#include "task/part.h"
#include "task/task.h"

#define SS_SLAB_CHUNK ((size_t)256 << 10) // bytes of a chunk and of a list in a worker's cache

// A free block.
struct ss_block {
    struct ss_block *next;
};

// Sizes are multiples of the cache line up to SS_SLAB_CLASSES of them; class 0 is for what is
// larger.
static inline size_t ss_slab_block_size(unsigned class)
{
    return (size_t) class * SS_CACHE_LINE;
}

static inline size_t ss_slab_size(size_t frame_size)
{
    return (SS_TASK_SIZE + frame_size + SS_CACHE_LINE - 1) & ~(size_t)(SS_CACHE_LINE - 1);
}

struct smolscale_task *ss_slab_get_slow(unsigned class);
struct smolscale_task *ss_slab_get_large(size_t frame_size);
void ss_slab_put_slow(struct smolscale_task *task, unsigned class);

// Memory for a task with a frame of that size, aligned to 64 bytes; NULL: none.
static inline struct smolscale_task *ss_slab_get(size_t frame_size)
{
    unsigned class = 0;
    struct smolscale_task *task;
    if (__builtin_expect(frame_size > SS_SLAB_CLASSES * SS_CACHE_LINE - SS_TASK_SIZE, 0)) {
        task = ss_slab_get_large(frame_size);
    } else {
        class = (unsigned)(ss_slab_size(frame_size) / SS_CACHE_LINE);
        struct ss_slab_cache *cache = ss_self ? &ss_slab_cache(ss_self)[class] : NULL;
        struct ss_block *block = cache ? cache->first : NULL;
        if (__builtin_expect(block != NULL, 1)) {
            cache->first = block->next;
            cache->count--;
            __builtin_prefetch(block->next);
            task = (struct smolscale_task *)block;
        } else {
            task = ss_slab_get_slow(class);
        }
    }
    if (__builtin_expect(task != NULL, 1))
        task->size_class = class & 0x3fu;
    return task;
}

static inline void ss_slab_put(struct smolscale_task *task)
{
    unsigned class = task->size_class;
    struct ss_slab_cache *cache = ss_self ? &ss_slab_cache(ss_self)[class] : NULL;
    if (__builtin_expect(
            !cache || class == 0 || cache->count >= SS_SLAB_CHUNK / SS_CACHE_LINE / class, 0)) {
        ss_slab_put_slow(task, class);
        return;
    }
    struct ss_block *block = (struct ss_block *)task; // from here on
    block->next = cache->first;
    cache->first = block;
    cache->count++;
}

// What the calling worker has put aside goes back to all.
void ss_slab_flush(struct ss_worker *worker);

// The worker begins with nothing put aside. What was is lost.
void ss_slab_forget(struct ss_worker *worker);

#endif // SS_SLAB_H
