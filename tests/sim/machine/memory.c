// SPDX-License-Identifier: ISC
//
// Memory: the core's heap and the stacks of simulated threads. All lies at the same place in each
// run. A block that was freed is not given out again, holds a pattern, and may not be touched: each
// atomic access is looked at, and the pattern at the end of the run.

#include "os/memory.h"
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HEAP_BASE  ((char *)0x200000000000)
#define HEAP_SIZE  ((size_t)4 << 30)
#define STACK_SIZE ((size_t)128 << 10)
#define STACK_BASE ((char *)0x300000000000)

#define GRAIN      16u
#define NEW_BYTE   0xa5
#define FREED_BYTE 0xdd
#define RED_ZONE   64u

// Before each block.
struct header {
    size_t size;
    size_t live; // MAGIC_*
};
#define MAGIC_LIVE  UINT64_C(0x6c6976656c697665)
#define MAGIC_FREED UINT64_C(0x6672656564667265)

static char *next;            // free from here on
static unsigned char *grains; // of the heap: 0 no block's, 1 live, 2 freed
static size_t live, blocks;
static char **block_list; // all of this run
static size_t block_room;
static uint64_t heap;      // stands for the allocator
static char *reusable[64]; // by size, in units of 64 bytes: for runs that reuse memory

static void *map(char *at, size_t size)
{
    void *memory = mmap(at, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    return memory;
}

void sim_memory_reset(void)
{
    if (!next) {
        map(HEAP_BASE, HEAP_SIZE);
        map(STACK_BASE, STACK_SIZE * SIM_THREADS_MAX);
        grains = map(HEAP_BASE + HEAP_SIZE, HEAP_SIZE / GRAIN);
        next = HEAP_BASE;
    }
    memset(grains, 0, (size_t)(next - HEAP_BASE) / GRAIN + 1);
    next = HEAP_BASE;
    live = blocks = 0;
    memset(reusable, 0, sizeof reusable);
}

void *sim_stack(unsigned id, size_t *size)
{
    *size = STACK_SIZE;
    // Not all at the same distance: they would share the sets of the real caches.
    return STACK_BASE + STACK_SIZE * (id + 1) - (id % 32) * 192;
}

bool sim_is_stack(const volatile void *p)
{
    return (const volatile char *)p >= STACK_BASE &&
           (const volatile char *)p < STACK_BASE + STACK_SIZE * SIM_THREADS_MAX;
}

static void note_block(char *block)
{
    if (blocks == block_room) {
        block_room = block_room ? 2 * block_room : 1024;
        block_list = realloc(block_list, block_room * sizeof *block_list);
        if (!block_list)
            abort();
    }
    block_list[blocks++] = block;
}

static struct header *header_of(const char *block)
{
    return (struct header *)(uintptr_t)(block - sizeof(struct header));
}

static void set_grains(const char *block, size_t size, unsigned char to)
{
    memset(grains + (size_t)(block - HEAP_BASE) / GRAIN, to, (size + GRAIN - 1) / GRAIN);
}

static char *take_reusable(size_t size, size_t alignment)
{
    size_t class = (size + 63) / 64;
    if (!sim.config.reuses_memory || class >= 64 || !reusable[class])
        return NULL;
    char *block = reusable[class];
    if ((uintptr_t)block % alignment)
        return NULL;
    memcpy(&reusable[class], block, sizeof reusable[class]); // the next of its size
    return block;
}

static void *allocate(size_t size, size_t alignment, int fill)
{
    struct sim_op op = {.kind = SIM_OP_MEMORY, .p = &heap, .size = sizeof heap};
    if (sim.self) {
        sim.driver->step(sim.self, &op);
        sim_changed(&heap);
        if (sim_call_fails(SIM_CHOOSE_MEMORY))
            return NULL;
    }
    char *block = take_reusable(size, alignment);
    if (!block) {
        uintptr_t at = (uintptr_t)next + RED_ZONE;
        at = (at + alignment - 1) / alignment * alignment;
        block = (char *)at;
        next = block + (size + 63) / 64 * 64;
        if (next > HEAP_BASE + HEAP_SIZE)
            return NULL;
        note_block(block);
    }
    *header_of(block) = (struct header){size, MAGIC_LIVE};
    memset(block, fill, size);
    set_grains(block, size, 1);
    live++;
    return block;
}

void *ss_allocate(size_t size)
{
    return allocate(size, 64, NEW_BYTE);
}

void *ss_allocate_zeroed(size_t size)
{
    return allocate(size, 64, 0);
}

void *ss_allocate_aligned(size_t alignment, size_t size)
{
    return allocate(size, alignment < 64 ? 64 : alignment, NEW_BYTE);
}

void ss_deallocate(void *memory)
{
    struct sim_op op = {.kind = SIM_OP_MEMORY, .p = memory};
    char *block = memory;
    if (!block)
        return;
    if (sim.self) {
        sim.driver->step(sim.self, &op);
        sim_changed(&heap);
    }
    struct header *header = header_of(block);
    SIM_CHECK(header->live == MAGIC_LIVE, "memory is freed twice, or was not allocated: %p",
              memory);
    // The store buffer may still hold stores to it: they were made before the free.
    if (sim.self)
        sim_flush(sim.self);
    header->live = MAGIC_FREED;
    memset(block, FREED_BYTE, header->size);
    set_grains(block, header->size, 2);
    live--;
    size_t class = (header->size + 63) / 64;
    if (sim.config.reuses_memory && class < 64 && class > 0) {
        memcpy(block, &reusable[class], sizeof reusable[class]);
        reusable[class] = block;
    }
}

void sim_memory_access(const volatile void *p, unsigned size, bool writes)
{
    size_t at = (size_t)((const volatile char *)p - HEAP_BASE);
    if (at >= HEAP_SIZE)
        return;
    (void)size;
    if (grains[at / GRAIN] != 1)
        sim_fail("thread %u %s memory that %s: %p", sim.self ? sim.self->id : 0,
                 writes ? "writes" : "reads",
                 grains[at / GRAIN] == 2 ? "was freed" : "is no block's",
                 (const void *)(uintptr_t)p);
}

void sim_memory_check(void)
{
    if (sim.config.reuses_memory)
        return;
    for (size_t i = 0; i < blocks; i++) {
        const struct header *header = header_of(block_list[i]);
        if (header->live != MAGIC_FREED && header->live != MAGIC_LIVE) {
            sim_fail("the bytes before a block were overwritten: %p", (void *)block_list[i]);
            return;
        }
        const unsigned char *bytes = (const unsigned char *)block_list[i];
        for (size_t k = 0; header->live == MAGIC_FREED && k < header->size; k++)
            if (bytes[k] != FREED_BYTE) {
                sim_fail("freed memory was written: %p, byte %zu of %zu", (void *)block_list[i], k,
                         header->size);
                return;
            }
    }
}

size_t sim_memory_live(void)
{
    return live;
}
