// SPDX-License-Identifier: ISC
//
// Memory of tasks: blocks of a few sizes, cut from chunks, with a cache for each worker so that
// spawning and ending a task costs no lock. What the caches do not hold goes back to its chunk, and
// chunks that are wholly free, beyond some, to the system.
//
// A cache belongs to its worker's thread. Chunks and everything about them are guarded by one lock,
// which is taken once for many blocks. A cache has two lists, so that one of them can be given back
// as a whole while the other has what was freed last.

#include "task/slab.h"
#include "os/memory.h"

#include <string.h>

#define CHUNKS_KEPT 64 // wholly free ones: 16 MiB; fewer once smolscale_trim() was called
#define LIST_MAX    SS_SLAB_CHUNK // bytes in a list of a cache

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
    return (struct chunk *)((uintptr_t)block & ~(SS_SLAB_CHUNK - 1));
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
    struct chunk *chunk = ss_allocate_aligned(SS_SLAB_CHUNK, SS_SLAB_CHUNK);
    if (!chunk)
        return NULL;
    *chunk = (struct chunk){
        .class = class,
        .generation = ss.generation,
        .capacity = (unsigned)((SS_SLAB_CHUNK - CHUNK_HEADER) / ss_slab_block_size(class))};
    char *block = (char *)chunk + CHUNK_HEADER + chunk->capacity * ss_slab_block_size(class);
    for (unsigned i = 0; i < chunk->capacity; i++) { // the first block ends up first
        block -= ss_slab_block_size(class);
        struct ss_block *free = (struct ss_block *)block;
        free->next = chunk->free;
        chunk->free = free;
    }
    link_chunk(chunk);
    slab.wholly_free++;
    return chunk;
}

// All that is free in one chunk, as it is linked: to walk along the list would be one cache miss
// after another. `*count` tells how many blocks these are.
static struct ss_block *take_chunk(unsigned class, unsigned *count)
{
    ss_lock(&slab.lock);
    struct chunk *chunk = slab.partial[class];
    if (!chunk)
        chunk = new_chunk(class);
    struct ss_block *list = NULL;
    *count = 0;
    if (chunk) {
        slab.wholly_free -= chunk->used == 0;
        *count = chunk->capacity - chunk->used;
        chunk->used = chunk->capacity;
        list = chunk->free;
        chunk->free = NULL;
        unlink_chunk(chunk);
    }
    ss_unlock(&slab.lock);
    return list;
}

// One block, for threads that have no cache.
static struct ss_block *take_block(unsigned class)
{
    ss_lock(&slab.lock);
    struct chunk *chunk = slab.partial[class];
    if (!chunk)
        chunk = new_chunk(class);
    struct ss_block *block = NULL;
    if (chunk) {
        slab.wholly_free -= chunk->used++ == 0;
        block = chunk->free;
        chunk->free = block->next;
        if (!chunk->free)
            unlink_chunk(chunk);
    }
    ss_unlock(&slab.lock);
    return block;
}

// Those linked by `next`. Returns their bytes.
static size_t free_chunks(struct chunk *chunk)
{
    size_t bytes = 0;
    while (chunk) {
        struct chunk *next = chunk->next;
        ss_deallocate(chunk);
        chunk = next;
        bytes += SS_SLAB_CHUNK;
    }
    return bytes;
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
    free_chunks(superfluous);
}

struct smolscale_task *ss_slab_get_slow(unsigned class)
{
    ss_worker_duty_is(&ss_task_part_duty); // before any cache has a block
    if (!ss_self)
        return (struct smolscale_task *)take_block(class);
    struct ss_slab_cache *cache = &ss_slab_cache(ss_self)[class];
    unsigned count = cache->reserve_count;
    struct ss_block *block = cache->reserve;
    if (!block)
        block = take_chunk(class, &count);
    cache->reserve = NULL;
    if (block) {
        cache->first = block->next;
        cache->count = count - 1;
    }
    return (struct smolscale_task *)block;
}

struct smolscale_task *ss_slab_get_large(size_t frame_size)
{
    return frame_size < SIZE_MAX / 2 ? ss_allocate_aligned(SS_CACHE_LINE, ss_slab_size(frame_size))
                                     : NULL;
}

void ss_slab_put_slow(struct smolscale_task *task, unsigned class)
{
    if (class == 0) {
        ss_deallocate(task);
        return;
    }
    struct ss_block *block = (struct ss_block *)task;
    if (!ss_self) {
        block->next = NULL;
        give_back(block);
        return;
    }
    struct ss_slab_cache *cache = &ss_slab_cache(ss_self)[class];
    if (cache->reserve)
        give_back(cache->reserve);
    cache->reserve = cache->first;
    cache->reserve_count = cache->count;
    block->next = NULL;
    cache->first = block;
    cache->count = 1;
}

// Of all classes.
static void give_back_caches(struct ss_slab_cache *caches)
{
    for (unsigned class = 1; class <= SS_SLAB_CLASSES; class ++) {
        struct ss_slab_cache *cache = &caches[class];
        if (cache->first)
            give_back(cache->first);
        if (cache->reserve)
            give_back(cache->reserve);
        *cache = (struct ss_slab_cache){0};
    }
}

void ss_slab_flush(struct ss_worker *worker)
{
    give_back_caches(ss_slab_cache(worker));
}

// ---- memory given back

static bool holds_any(struct ss_worker *worker)
{
    const struct ss_slab_cache *cache = ss_slab_cache(worker);
    for (unsigned class = 1; class <= SS_SLAB_CLASSES; class ++)
        if (cache[class].first || cache[class].reserve)
            return true;
    return false;
}

// A parked worker that has put something aside; NULL: none. A worker on the idle list went there
// under ss.lock and does nothing before it has been taken off it under that lock: until then what
// is its own may be taken by the thread that has the lock. ss.lock held.
static struct ss_worker *parked_holder(void)
{
    for (struct ss_group *group = ss.groups; group; group = group->next)
        for (struct ss_worker *worker = group->idle; worker; worker = worker->parking.next)
            if (holds_any(worker))
                return worker;
    return NULL;
}

// Takes over what one parked worker has put aside. False: none has any.
static bool take_from_parked(struct ss_slab_cache *caches)
{
    ss_lock(&ss.lock);
    struct ss_worker *worker = parked_holder();
    if (worker) {
        memcpy(caches, ss_slab_cache(worker), sizeof ss_task_part(worker)->cache);
        ss_slab_forget(worker);
    }
    ss_unlock(&ss.lock);
    return worker != NULL;
}

// Takes the wholly free chunks out, linked by `next`.
static struct chunk *take_wholly_free(void)
{
    struct chunk *taken = NULL;
    ss_lock(&slab.lock);
    for (unsigned class = 1; class <= SS_SLAB_CLASSES && slab.wholly_free > 0; class ++)
        for (struct chunk *chunk = slab.partial[class], *next; chunk; chunk = next) {
            next = chunk->next;
            if (chunk->used > 0)
                continue;
            unlink_chunk(chunk);
            slab.wholly_free--;
            chunk->next = taken;
            taken = chunk;
        }
    ss_unlock(&slab.lock);
    return taken;
}

static size_t trim(void)
{
    struct ss_slab_cache caches[SS_SLAB_CLASSES + 1];
    if (ss_self)
        ss_slab_flush(ss_self);
    size_t bytes = free_chunks(take_wholly_free());
    while (take_from_parked(caches)) {
        give_back_caches(caches);
        bytes += free_chunks(take_wholly_free()); // before they are too many, and freed uncounted
    }
    return bytes;
}

// ---- fork

// Other threads may have been anywhere: all chunks are left alone, and so is what the workers'
// caches hold of them (ss_slab_forget(), for each worker that the child has).
static void after_fork(void)
{
    // Only so that a leak detector finds them.
    static struct chunk *left_alone[SS_SLAB_CLASSES + 1];
    for (unsigned class = 1; class <= SS_SLAB_CLASSES; class ++) {
        struct chunk **end = &slab.partial[class];
        while (*end)
            end = &(*end)->next;
        *end = left_alone[class];
        left_alone[class] = slab.partial[class];
    }
    memset(&slab, 0, sizeof slab);
}

void ss_slab_forget(struct ss_worker *worker)
{
    memset(ss_slab_cache(worker), 0, sizeof ss_task_part(worker)->cache);
}

SS_ROOM_WITH(task_slab, NULL, after_fork, .trim = trim);
