// SPDX-License-Identifier: ISC
//
// Atomic operations of sources that do not know the seam, as those of bench/: the compiler calls
// these functions, as it would those of the thread sanitizer's run-time library (plain.c). Each is
// a step like the core's own.

#include "sim.h"

static enum sim_order order_of(int order)
{
    return order == __ATOMIC_RELAXED                                ? SIM_RELAXED
           : order == __ATOMIC_ACQUIRE || order == __ATOMIC_CONSUME ? SIM_ACQUIRE
           : order == __ATOMIC_RELEASE                              ? SIM_RELEASE
           : order == __ATOMIC_ACQ_REL                              ? SIM_ACQ_REL
                                                                    : SIM_SEQ_CST;
}

#define OPERATIONS(bits, type)                                                              \
    type __tsan_atomic##bits##_load(const volatile type *p, int order);                     \
    type __tsan_atomic##bits##_load(const volatile type *p, int order)                      \
    {                                                                                       \
        return (type)sim_load(p, sizeof *p, order_of(order));                               \
    }                                                                                       \
    void __tsan_atomic##bits##_store(volatile type *p, type value, int order);              \
    void __tsan_atomic##bits##_store(volatile type *p, type value, int order)               \
    {                                                                                       \
        sim_store(p, (uint64_t)value, sizeof *p, order_of(order));                          \
    }                                                                                       \
    type __tsan_atomic##bits##_exchange(volatile type *p, type value, int order);           \
    type __tsan_atomic##bits##_exchange(volatile type *p, type value, int order)            \
    {                                                                                       \
        return (type)sim_rmw(p, (uint64_t)value, sizeof *p, SIM_EXCHANGE, order_of(order)); \
    }                                                                                       \
    type __tsan_atomic##bits##_fetch_add(volatile type *p, type value, int order);          \
    type __tsan_atomic##bits##_fetch_add(volatile type *p, type value, int order)           \
    {                                                                                       \
        return (type)sim_rmw(p, (uint64_t)value, sizeof *p, SIM_ADD, order_of(order));      \
    }                                                                                       \
    type __tsan_atomic##bits##_fetch_sub(volatile type *p, type value, int order);          \
    type __tsan_atomic##bits##_fetch_sub(volatile type *p, type value, int order)           \
    {                                                                                       \
        return (type)sim_rmw(p, (uint64_t)value, sizeof *p, SIM_SUB, order_of(order));      \
    }                                                                                       \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type *p, type *expected,     \
                                                      type value, int order, int failed);   \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type *p, type *expected,     \
                                                      type value, int order, int failed)    \
    {                                                                                       \
        return sim_cas(p, expected, (uint64_t)value, sizeof *p, false, order_of(order),     \
                       order_of(failed));                                                   \
    }

OPERATIONS(8, uint8_t)
OPERATIONS(32, uint32_t)
OPERATIONS(64, uint64_t)
