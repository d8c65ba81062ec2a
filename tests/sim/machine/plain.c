// SPDX-License-Identifier: ISC
//
// Plain accesses of the core. The compiler calls these functions at each, as it would those of the
// thread sanitizer's run-time library, which is not linked. A plain access is no step. It must not
// touch memory that is nobody's, and it sees, or overwrites, what its own thread has stored there
// atomically before.

#include "sim.h"

#include <string.h>

static void plain(const void *p, size_t size, bool writes, const void *at)
{
    struct sim_thread *self = sim.self;
    if (!self)
        return;
    if (sim.driver->plain)
        sim.driver->plain(self, p, writes, at);
    sim_memory_access(p, (unsigned)size, writes);
    for (unsigned i = 0; i < self->store_count; i++) {
        const struct sim_stored *stored = &self->stores[i];
        if ((uintptr_t)stored->p < (uintptr_t)p + size &&
            (uintptr_t)p < (uintptr_t)stored->p + stored->size) {
            sim_flush(self);
            return;
        }
    }
}

#define HERE __builtin_return_address(0)

#define ACCESS(name, size, writes)    \
    void name(void *p);               \
    void name(void *p)                \
    {                                 \
        plain(p, size, writes, HERE); \
    }

ACCESS(__tsan_read1, 1, false)
ACCESS(__tsan_read2, 2, false)
ACCESS(__tsan_read4, 4, false)
ACCESS(__tsan_read8, 8, false)
ACCESS(__tsan_read16, 16, false)
ACCESS(__tsan_write1, 1, true)
ACCESS(__tsan_write2, 2, true)
ACCESS(__tsan_write4, 4, true)
ACCESS(__tsan_write8, 8, true)
ACCESS(__tsan_write16, 16, true)
ACCESS(__tsan_unaligned_read2, 2, false)
ACCESS(__tsan_unaligned_read4, 4, false)
ACCESS(__tsan_unaligned_read8, 8, false)
ACCESS(__tsan_unaligned_read16, 16, false)
ACCESS(__tsan_unaligned_write2, 2, true)
ACCESS(__tsan_unaligned_write4, 4, true)
ACCESS(__tsan_unaligned_write8, 8, true)
ACCESS(__tsan_unaligned_write16, 16, true)

void __tsan_read_range(void *p, size_t size);
void __tsan_read_range(void *p, size_t size)
{
    plain(p, size, false, HERE);
}

void __tsan_write_range(void *p, size_t size);
void __tsan_write_range(void *p, size_t size)
{
    plain(p, size, true, HERE);
}

// Of constants, as through a table of functions.
void __tsan_vptr_read(void **p);
void __tsan_vptr_read(void **p)
{
    plain(p, sizeof *p, false, HERE);
}

void __tsan_init(void);
void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller);
void __tsan_func_entry(void *caller)
{
    (void)caller;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}

void *sim_memset(void *p, int byte, size_t size)
{
    plain(p, size, true, HERE);
    return (memset)(p, byte, size);
}

void *sim_memcpy(void *to, const void *from, size_t size)
{
    plain(from, size, false, HERE);
    plain(to, size, true, HERE);
    return (memcpy)(to, from, size);
}
