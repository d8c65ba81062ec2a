// SPDX-License-Identifier: ISC
//
// The simulated machine's own core/base/atomic.h: the same names with the same promises. Each is a
// step of the machine (../../machine/sim.h), at which another thread may come to run. This file is
// found before the core's because its folder comes first on the search path.

#ifndef SS_ATOMIC_H
#define SS_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define SS_CACHE_LINE 64

// Orders, and what a read-modify-write does. Weaker orders are smaller.
enum sim_order { SIM_RELAXED, SIM_ACQUIRE, SIM_RELEASE, SIM_ACQ_REL, SIM_SEQ_CST };
enum sim_rmw { SIM_EXCHANGE, SIM_ADD, SIM_SUB, SIM_OR, SIM_AND };

uint64_t sim_load(const volatile void *p, unsigned size, enum sim_order order);
void sim_store(volatile void *p, uint64_t value, unsigned size, enum sim_order order);
uint64_t sim_rmw(volatile void *p, uint64_t operand, unsigned size, enum sim_rmw what,
                 enum sim_order order);

// True: it was *expected, and is `value` now. Else *expected is what it was.
bool sim_cas(volatile void *p, void *expected, uint64_t value, unsigned size, bool weak,
             enum sim_order order, enum sim_order failed);
void sim_fence(enum sim_order order);
void sim_relax(void);

// The type of what `p` points at, without _Atomic and const.
#define SIM_TYPE(p) __typeof__((void)0, *(p))

#define SIM_BITS(type, v)                           \
    ({                                              \
        type sim_v_ = (v);                          \
        uint64_t sim_bits_ = 0;                     \
        memcpy(&sim_bits_, &sim_v_, sizeof sim_v_); \
        sim_bits_;                                  \
    })
#define SIM_VALUE(type, bits)                      \
    ({                                             \
        uint64_t sim_raw_ = (bits);                \
        type sim_r_;                               \
        memcpy(&sim_r_, &sim_raw_, sizeof sim_r_); \
        sim_r_;                                    \
    })
#define SIM_LOAD(p, order) SIM_VALUE(SIM_TYPE(p), sim_load((p), sizeof *(p), (order)))
#define SIM_STORE(p, v, order) sim_store((p), SIM_BITS(SIM_TYPE(p), (v)), sizeof *(p), (order))
#define SIM_RMW(p, v, what, order) \
    SIM_VALUE(SIM_TYPE(p), sim_rmw((p), SIM_BITS(SIM_TYPE(p), (v)), sizeof *(p), (what), (order)))
#define SIM_CAS(p, expected, v, weak, order, failed) \
    sim_cas((p), (expected), SIM_BITS(SIM_TYPE(p), (v)), sizeof *(p), (weak), (order), (failed))

#define load_relaxed(p)         SIM_LOAD(p, SIM_RELAXED)
#define load_acquire(p)         SIM_LOAD(p, SIM_ACQUIRE)
#define load_seq_cst(p)         SIM_LOAD(p, SIM_SEQ_CST)
#define store_relaxed(p, v)     SIM_STORE(p, v, SIM_RELAXED)
#define store_release(p, v)     SIM_STORE(p, v, SIM_RELEASE)
#define store_seq_cst(p, v)     SIM_STORE(p, v, SIM_SEQ_CST)
#define exchange_acquire(p, v)  SIM_RMW(p, v, SIM_EXCHANGE, SIM_ACQUIRE)
#define exchange_release(p, v)  SIM_RMW(p, v, SIM_EXCHANGE, SIM_RELEASE)
#define exchange_seq_cst(p, v)  SIM_RMW(p, v, SIM_EXCHANGE, SIM_SEQ_CST)
#define exchange_acq_rel(p, v)  SIM_RMW(p, v, SIM_EXCHANGE, SIM_ACQ_REL)
#define fetch_add_relaxed(p, v) SIM_RMW(p, v, SIM_ADD, SIM_RELAXED)
#define fetch_add_release(p, v) SIM_RMW(p, v, SIM_ADD, SIM_RELEASE)
#define fetch_add_acq_rel(p, v) SIM_RMW(p, v, SIM_ADD, SIM_ACQ_REL)
#define fetch_add_seq_cst(p, v) SIM_RMW(p, v, SIM_ADD, SIM_SEQ_CST)
#define fetch_sub_relaxed(p, v) SIM_RMW(p, v, SIM_SUB, SIM_RELAXED)
#define fetch_sub_release(p, v) SIM_RMW(p, v, SIM_SUB, SIM_RELEASE)
#define fetch_sub_acq_rel(p, v) SIM_RMW(p, v, SIM_SUB, SIM_ACQ_REL)
#define fetch_sub_seq_cst(p, v) SIM_RMW(p, v, SIM_SUB, SIM_SEQ_CST)
#define fetch_or_relaxed(p, v)  SIM_RMW(p, v, SIM_OR, SIM_RELAXED)
#define fetch_or_release(p, v)  SIM_RMW(p, v, SIM_OR, SIM_RELEASE)
#define fetch_or_seq_cst(p, v)  SIM_RMW(p, v, SIM_OR, SIM_SEQ_CST)
#define fetch_and_relaxed(p, v) SIM_RMW(p, v, SIM_AND, SIM_RELAXED)
#define fetch_and_acq_rel(p, v) SIM_RMW(p, v, SIM_AND, SIM_ACQ_REL)

#define cas_weak_relaxed(p, expected, v) SIM_CAS(p, expected, v, true, SIM_RELAXED, SIM_RELAXED)
#define cas_weak_seq_cst(p, expected, v) SIM_CAS(p, expected, v, true, SIM_SEQ_CST, SIM_RELAXED)
#define cas_weak_release(p, expected, v) SIM_CAS(p, expected, v, true, SIM_RELEASE, SIM_RELAXED)
#define cas_weak_acq_rel(p, expected, v) SIM_CAS(p, expected, v, true, SIM_ACQ_REL, SIM_ACQUIRE)
#define cas_strong_seq_cst(p, expected, v) SIM_CAS(p, expected, v, false, SIM_SEQ_CST, SIM_SEQ_CST)
#define cas_strong_relaxed(p, expected, v) SIM_CAS(p, expected, v, false, SIM_RELAXED, SIM_RELAXED)
#define cas_strong_acquire(p, expected, v) SIM_CAS(p, expected, v, false, SIM_ACQUIRE, SIM_RELAXED)
#define cas_strong_acq_rel(p, expected, v) SIM_CAS(p, expected, v, false, SIM_ACQ_REL, SIM_ACQUIRE)

#define word_load_relaxed(p)         load_relaxed(p)
#define word_load_acquire(p)         load_acquire(p)
#define word_store_relaxed(p, v)     store_relaxed(p, v)
#define word_store_release(p, v)     store_release(p, v)
#define word_exchange_acquire(p, v)  exchange_acquire(p, v)
#define word_exchange_acq_rel(p, v)  exchange_acq_rel(p, v)
#define word_fetch_or_acquire(p, v)  SIM_RMW(p, v, SIM_OR, SIM_ACQUIRE)
#define word_fetch_add_relaxed(p, v) fetch_add_relaxed(p, v)
#define word_fetch_sub_acq_rel(p, v) fetch_sub_acq_rel(p, v)
#define word_fetch_sub_release(p, v) fetch_sub_release(p, v)
#define word_fetch_and_acq_rel(p, v) fetch_and_acq_rel(p, v)
#define word_cas_strong_acq_rel(p, expected, v) cas_strong_acq_rel(p, expected, v)
#define word_cas_weak_acq_rel(p, expected, v) SIM_CAS(p, expected, v, true, SIM_ACQ_REL, SIM_RELAXED)

#define fence_seq_cst()   sim_fence(SIM_SEQ_CST)
#define fence_acquire()   sim_fence(SIM_ACQUIRE)
#define fence_release()   sim_fence(SIM_RELEASE)
#define compiler_fence()  __asm__ __volatile__("" ::: "memory")
#define fence_after_rmw() sim_fence_after_rmw()

// In one section, which the machine copies out and in when it switches threads.
#define SS_THREAD_LOCAL __attribute__((section("sim_thread_local")))

#define count_owned(p) store_relaxed((p), load_relaxed(p) + 1)

// What the public header inlines into programs.
#define __atomic_load_n(p, order)     SIM_LOAD(p, SIM_RELAXED)
#define __atomic_store_n(p, v, order) SIM_STORE(p, v, SIM_RELAXED)
#define __atomic_signal_fence(order)  compiler_fence()
#define __atomic_thread_fence(order)  sim_fence(SIM_SEQ_CST)

// As in the core: on x86 the read-modify-write was the fence already, elsewhere it is issued.
void sim_fence_after_rmw(void);

static inline void cpu_relax(void)
{
    sim_relax();
}

#endif // SS_ATOMIC_H
