// SPDX-License-Identifier: ISC
//
// Atomic operations (seam/base/atomic.h): each is a step, then it takes place at once. Where there
// are store buffers, a store is seen by its own CPU first, and by the others when it leaves the
// buffer: at a full fence, a read-modify-write, a call of the kernel, when the buffer is full, or
// when the driver lets it.

#include "sim.h"

#include <string.h>

// ---- memory itself

static uint64_t get(const volatile void *p, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, (const void *)(uintptr_t)p, size);
    return value;
}

static void put(volatile void *p, uint64_t value, unsigned size)
{
    memcpy((void *)(uintptr_t)p, &value, size);
}

// ---- what has been seen and changed: a number for each thread that stands for all that has led to
// where it is. Two runs that differ only in the order of what does not touch the same have the same
// numbers.

struct place {
    const volatile void *p;
    uint64_t run; // in which it is meant
    uint64_t written, read;
};

#define PLACES (1u << 16)

static struct place places[PLACES];
static uint64_t run;

void sim_places_reset(void);
void sim_places_reset(void)
{
    run++;
}

static struct place *place_of(const volatile void *p)
{
    uint64_t at = ((uintptr_t)p >> 1) * UINT64_C(0x9e3779b97f4a7c15) >> 48;
    for (unsigned tries = 0;; tries++, at++) {
        struct place *place = &places[at % PLACES];
        if (place->run != run || tries == PLACES)
            *place = (struct place){.p = p, .run = run, .written = (uintptr_t)p};
        if (place->p == p)
            return place;
    }
}

void sim_saw(const volatile void *p)
{
    if (sim.driver->counts_time)
        return;
    struct place *place = place_of(p);
    sim.self->hash = sim_mix(sim.self->hash, place->written);
    place->read += sim.self->hash;
}

// A thread that spins for the place looks again.
static void tell_spinners(const volatile void *p)
{
    for (unsigned id = 1; id <= sim.thread_count; id++)
        if (sim_threads[id].spins && sim_threads[id].looked_at == p)
            sim_threads[id].spins = false;
}

static void changed_by(struct sim_thread *thread, uint64_t hash, const volatile void *p)
{
    struct place *place = place_of(p);
    hash = sim_mix(sim_mix(hash, place->written), place->read);
    place->written = hash;
    place->read = 0;
    if (thread)
        thread->hash = hash;
    tell_spinners(p);
}

void sim_changed(const volatile void *p)
{
    if (sim.driver->counts_time)
        return;
    changed_by(sim.self, sim.self->hash, p);
}

uint64_t sim_state_hash(void)
{
    uint64_t all = sim.clock;
    for (unsigned id = 1; id <= sim.thread_count; id++) {
        const struct sim_thread *t = &sim_threads[id];
        all += sim_mix(t->hash, (uint64_t)id << 8 | (unsigned)t->state << 6 | t->store_count << 2 |
                                    (unsigned)t->spins << 1 | t->spins_out);
    }
    return all;
}

// ---- stores that wait

static void let_out(struct sim_thread *thread, unsigned at)
{
    struct sim_stored *stored = &thread->stores[at];
    put(stored->p, stored->value, stored->size);
    changed_by(thread == sim.self ? thread : NULL, stored->hash, stored->p);
    memmove(stored, stored + 1, (--thread->store_count - at) * sizeof *stored);
}

void sim_flush_oldest(struct sim_thread *thread)
{
    if (thread->store_count)
        let_out(thread, 0);
}

void sim_flush(struct sim_thread *thread)
{
    while (thread->store_count)
        let_out(thread, 0);
}

void sim_flush_all(void)
{
    for (unsigned id = 1; id <= sim.thread_count; id++)
        sim_flush(&sim_threads[id]);
}

static void hold_back(struct sim_thread *self, volatile void *p, uint64_t value, unsigned size,
                      enum sim_order order)
{
    if (self->store_count == SIM_STORES_MAX)
        let_out(self, 0);
    self->hash = sim_mix(self->hash, (uintptr_t)p);
    self->stores[self->store_count++] =
        (struct sim_stored){p, value, size, order, sim_mix(self->hash, value)};
}

// The newest store of its own to the place; what overlaps otherwise leaves first.
static bool forwarded(struct sim_thread *self, const volatile void *p, unsigned size,
                      uint64_t *value)
{
    for (unsigned i = self->store_count; i-- > 0;) {
        const struct sim_stored *stored = &self->stores[i];
        if (stored->p == p && stored->size == size) {
            *value = stored->value;
            return true;
        }
        if ((uintptr_t)stored->p < (uintptr_t)p + size &&
            (uintptr_t)p < (uintptr_t)stored->p + stored->size) {
            sim_flush(self);
            return false;
        }
    }
    return false;
}

// ---- the operations

#define HERE __builtin_return_address(0)

static void step(struct sim_thread *self, enum sim_kind kind, const volatile void *p, unsigned size,
                 enum sim_order order, const void *at)
{
    struct sim_op op = {.kind = kind, .p = p, .size = size, .order = order, .at = at};
    sim.driver->step(self, &op);
    if (p)
        sim_memory_access(p, size, kind != SIM_OP_LOAD);
}

uint64_t sim_load(const volatile void *p, unsigned size, enum sim_order order)
{
    struct sim_thread *self = sim.self;
    if (!self)
        return get(p, size);
    step(self, SIM_OP_LOAD, p, size, order, HERE);
    self->looked_at = p;
    self->looked_size = size;
    uint64_t value;
    if (self->store_count && forwarded(self, p, size, &value)) {
        self->hash = sim_mix(self->hash, value);
        return value;
    }
    sim_saw(p);
    return get(p, size);
}

void sim_store(volatile void *p, uint64_t value, unsigned size, enum sim_order order)
{
    struct sim_thread *self = sim.self;
    if (!self) {
        put(p, value, size);
        return;
    }
    step(self, SIM_OP_STORE, p, size, order, HERE);
    self->spins_out = false;
    // On a stack, a store that leaves late would meet what a later call keeps there.
    if (sim.config.store_buffers && order != SIM_SEQ_CST && !sim_is_stack(p)) {
        hold_back(self, p, value, size, order);
        return;
    }
    sim_flush(self);
    put(p, value, size);
    sim_changed(p);
}

static uint64_t combined(uint64_t old, uint64_t operand, enum sim_rmw what)
{
    switch (what) {
    case SIM_EXCHANGE:
        return operand;
    case SIM_ADD:
        return old + operand;
    case SIM_SUB:
        return old - operand;
    case SIM_OR:
        return old | operand;
    default:
        return old & operand;
    }
}

uint64_t sim_rmw(volatile void *p, uint64_t operand, unsigned size, enum sim_rmw what,
                 enum sim_order order)
{
    struct sim_thread *self = sim.self;
    uint64_t old;
    if (self) {
        step(self, SIM_OP_RMW, p, size, order, HERE);
        self->spins_out = false;
        self->looked_at = p;
        sim_flush(self);
    }
    old = get(p, size);
    put(p, combined(old, operand, what), size);
    if (self && combined(old, operand, what) == old)
        sim_saw(p);
    else if (self)
        sim_changed(p);
    return old;
}

bool sim_cas(volatile void *p, void *expected, uint64_t value, unsigned size, bool weak,
             enum sim_order order, enum sim_order failed)
{
    struct sim_thread *self = sim.self;
    (void)failed;
    if (self) {
        step(self, SIM_OP_RMW, p, size, order, HERE);
        self->spins_out = false;
        self->looked_at = p;
        sim_flush(self);
    }
    uint64_t old = get(p, size), wanted = get(expected, size);
    bool done = old == wanted;
    if (done && weak && self && sim.config.weak && sim.driver->choose(SIM_CHOOSE_WEAK, 2))
        done = false;
    if (done)
        put(p, value, size);
    else
        put(expected, old, size);
    if (self && done)
        sim_changed(p);
    else if (self)
        sim_saw(p);
    return done;
}

void sim_fence(enum sim_order order)
{
    struct sim_thread *self = sim.self;
    if (!self || order != SIM_SEQ_CST)
        return;
    step(self, SIM_OP_FENCE, NULL, 0, order, HERE);
    sim_flush(self);
}

void sim_fence_after_rmw(void)
{
}

void sim_relax(void)
{
    struct sim_thread *self = sim.self;
    if (!self)
        return;
    step(self, SIM_OP_RELAX, NULL, 0, SIM_RELAXED, HERE);
}
