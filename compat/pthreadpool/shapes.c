// SPDX-License-Identifier: ISC
//
// All pthreadpool_parallelize_… and pthreadpool_compute_… functions, made from the table in
// shapes.h.
//
// Each row becomes two functions: the public one, which writes down ranges, tiles and callback and
// hands them to ptp_call(); and a loop over a stretch of items, compiled for its shape, form and
// step. The loops are two inline functions, run_rows() for fixed steps and run_dynamic(). They take
// the first item's coordinates apart by division, once a stretch, and count on from there.
//
// An item is one tile (one index where nothing is tiled). Before its callback is called it is
// claimed; the rules of claim() are those of call.c.

#include "shapes.h"
#include "forward.h"
#include "pool.h"

#include <stdint.h>

#define inlined static inline __attribute__((always_inline))

enum form { PLAIN, THREAD, THREAD32, UARCH, BOTH };
enum { GUIDE_fixed = 0, GUIDE_dynamic = 1 };

// Announces that the items below `upto` are taken, then looks whether a thief was first (call.c, a,
// A, b).
inlined bool claim(struct share *share, size_t upto, bool fenced)
{
    atomic_store_explicit(&share->next, upto, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (fenced)
        atomic_thread_fence(memory_order_seq_cst);
    return ptp_likely(upto <= atomic_load_explicit(&share->limit, memory_order_relaxed));
}

// Calls the callback with `n` sizes. Everything but v[] and the pointers is constant after
// inlining.
#define SIZES_OF_1(v) v[0]
#define SIZES_OF_2(v) SIZES_OF_1(v), v[1]
#define SIZES_OF_3(v) SIZES_OF_2(v), v[2]
#define SIZES_OF_4(v) SIZES_OF_3(v), v[3]
#define SIZES_OF_5(v) SIZES_OF_4(v), v[4]
#define SIZES_OF_6(v) SIZES_OF_5(v), v[5]
#define SIZES_OF_7(v) SIZES_OF_6(v), v[6]
#define SIZES_OF_8(v) SIZES_OF_7(v), v[7]
#define CASES(X)      X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)

inlined void invoke(const struct call *call, enum form form, int n, uint32_t uarch, size_t thread,
                    const size_t *v)
{
    void (*task)(void) = call->task;
    void *context = call->context;
#define CASE(N)                                                                            \
    case N:                                                                                \
        if (form == PLAIN)                                                                 \
            ((void (*)(void *, SIZES_##N))task)(context, SIZES_OF_##N(v));                 \
        else if (form == THREAD)                                                           \
            ((void (*)(void *, size_t, SIZES_##N))task)(context, thread, SIZES_OF_##N(v)); \
        else if (form == BOTH)                                                             \
            ((void (*)(void *, uint32_t, size_t, SIZES_##N))task)(context, uarch, thread,  \
                                                                  SIZES_OF_##N(v));        \
        else                                                                               \
            ((void (*)(void *, uint32_t, SIZES_##N))task)(                                 \
                context, form == UARCH ? uarch : (uint32_t)thread, SIZES_OF_##N(v));       \
        break;
    switch (n) {
        CASES(CASE)
    }
#undef CASE
}

inlined void split(const struct call *call, int dims, size_t item, size_t *x)
{
    for (int d = dims - 1; d > 0; d--) {
        x[d] = item % call->count[d];
        item /= call->count[d];
    }
    x[0] = item;
}

// The next row: dimension d has come to its end.
inlined void carry(const struct call *call, int d, size_t *x)
{
    while (d > 0 && x[d] >= call->count[d]) {
        x[d] = 0;
        x[--d]++;
    }
}

// One callback an item. v[] is what it gets: the index in each dimension, then the length of each
// tile.
inlined size_t run_rows(const struct call *given, struct share *share, size_t i, size_t end,
                        uint32_t uarch, size_t thread, const int dims, const int tiled,
                        const enum form form, const bool fenced)
{
    const struct call call = {.task = given->task, .context = given->context};
    const int last = dims - 1;
    const size_t step = tiled ? given->tile[last] : 1;
    const size_t range = given->range[last];
    size_t x[max_dims];
    size_t v[max_dims + 4];
    split(given, dims, i, x);
    for (;;) {
        size_t row_end = end;
        if (dims > 1 && given->count[last] - x[last] < end - i)
            row_end = i + given->count[last] - x[last];
        for (int d = 0; d < last; d++) {
            v[d] = x[d];
            if (d >= dims - tiled) {
                v[d] *= given->tile[d];
                size_t left = given->range[d] - v[d];
                v[tiled + d] = left < given->tile[d] ? left : given->tile[d];
            }
        }
        size_t row = row_end - i;
        for (size_t at = x[last] * step; row > 0; row--, at += step) {
            if (!claim(share, ++i, fenced))
                return i - 1;
            v[last] = at;
            if (tiled)
                v[tiled + last] = range - at < step ? range - at : step;
            invoke(&call, form, dims + tiled, uarch, thread, v);
        }
        if (i == end)
            return i;
        x[last] = given->count[last];
        carry(given, last, x);
    }
}

// Fenced claims, a fence each, in a loop of their own: a test in the common one would cost a
// register.
inlined size_t run_fixed(const struct call *given, struct share *share, size_t i, size_t end,
                         uint32_t uarch, size_t thread, const int dims, const int tiled,
                         const enum form form)
{
    if (ptp_unlikely(given->fenced))
        return run_rows(given, share, i, end, uarch, thread, dims, tiled, form, true);
    return run_rows(given, share, i, end, uarch, thread, dims, tiled, form, false);
}

// One callback for several tiles of one row: in the innermost dimension, or in the one before where
// the innermost has a single tile. Without `guide` a whole row; else a fixed part of what is left
// in the share, so that pieces shrink towards the end and can be balanced.
inlined size_t run_dynamic(const struct call *given, struct share *share, size_t i, size_t end,
                           uint32_t uarch, size_t thread, const int dims, const int tiled,
                           const enum form form)
{
    const int along = tiled == 2 && given->count[dims - 1] == 1 ? dims - 2 : dims - 1;
    size_t x[max_dims];
    size_t v[max_dims + 4];
    split(given, dims, i, x);
    while (i < end) {
        size_t n = given->count[along] - x[along];
        if (n > end - i)
            n = end - i;
        if (given->guide) {
            size_t limit = atomic_load_explicit(&share->limit, memory_order_relaxed);
            size_t part = limit > i ? (limit - i) / given->guide : 0;
            if (n > part)
                n = part ? part : 1;
        }
        if (!claim(share, i + n, given->fenced))
            return i;
        for (int d = 0; d < dims; d++) {
            v[d] = x[d];
            if (d < dims - tiled)
                continue;
            size_t tiles = d == along ? n : 1;
            v[d] *= given->tile[d];
            v[tiled + d] =
                x[d] + tiles == given->count[d] ? given->range[d] - v[d] : tiles * given->tile[d];
        }
        invoke(given, form, dims + tiled, uarch, thread, v);
        i += n;
        x[along] += n;
        if (along < dims - 1 && x[along] < given->count[along])
            continue;
        if (along == dims - 1)
            carry(given, dims - 1, x);
        else
            carry(given, dims - 2, x);
    }
    return i;
}

static void parallelize(struct pthreadpool *pool, struct call *call, int dims, int tiled,
                        const size_t *ranges, const size_t *tiles)
{
    size_t total = 1;
    for (int d = 0; d < dims; d++) {
        size_t tile = d >= dims - tiled ? tiles[d - (dims - tiled)] : 1;
        if (tile == 0)
            tile = 1; // natively a division by zero or an endless loop
        size_t count = tile == 1 ? ranges[d] : ranges[d] / tile + (ranges[d] % tile != 0);
        call->range[d] = ranges[d];
        call->tile[d] = tile;
        call->count[d] = count;
        if (count == 0)
            return;
        if (__builtin_mul_overflow(total, count, &total))
            total = SIZE_MAX - 1; // nobody sees the end of it
    }
    call->total = total;
    ptp_call(pool, call);
}

#define PARALLELIZE(NAME, DIMS, TILED, FORM, STEP, TYPE)                                 \
    static size_t run_##NAME(const struct call *call, struct share *share, size_t first, \
                             size_t end, uint32_t uarch, size_t thread)                  \
    {                                                                                    \
        return run_##STEP(call, share, first, end, uarch, thread, DIMS, TILED, FORM);    \
    }                                                                                    \
    SMOLSCALE_API void pthreadpool_parallelize_##NAME(                                   \
        pthreadpool_t pool, pthreadpool_##TYPE function, void *context,                  \
        UARCH_PARAMS_##FORM RANGE_PARAMS_##DIMS TILE_PARAMS_##TILED, uint32_t flags)     \
    {                                                                                    \
        FORWARD_VOID(pthreadpool_parallelize_##NAME,                                     \
                     (pool, function, context,                                           \
                      UARCH_NAMES_##FORM RANGE_NAMES_##DIMS TILE_NAMES_##TILED, flags),  \
                     pthreadpool_t, pthreadpool_##TYPE, void *,                          \
                     UARCH_TYPES_##FORM SIZES_##DIMS TILE_TYPES_##TILED, uint32_t)       \
        struct call call;                                                                \
        call.run = run_##NAME;                                                           \
        call.task = (void (*)(void))function;                                            \
        call.context = context;                                                          \
        call.flags = flags;                                                              \
        call.uarch_default = 0;                                                          \
        call.uarch_max = 0;                                                              \
        call.guide = GUIDE_##STEP;                                                       \
        call.wants_uarch = false;                                                        \
        call.fenced = false;                                                             \
        UARCH_GIVEN_##FORM parallelize(pool, &call, DIMS, TILED,                         \
                                       (const size_t[]){RANGE_NAMES_##DIMS},             \
                                       (const size_t[]){0 TILE_NAMES_##TILED} + 1);      \
    }

PARALLELIZE_TABLE(PARALLELIZE)

// Natively these call pthreadpool_parallelize_… through the linker; here they stay inside. They are
// deprecated for those who call them, not for us who name them.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#define COMPUTE(NAME, DIMS, TILED, TYPE)                                                           \
    static size_t compute_##NAME(const struct call *call, struct share *share, size_t first,       \
                                 size_t end, uint32_t uarch, size_t thread)                        \
    {                                                                                              \
        return run_fixed(call, share, first, end, uarch, thread, DIMS, TILED, PLAIN);              \
    }                                                                                              \
    SMOLSCALE_API void pthreadpool_compute_##NAME(pthreadpool_t pool, pthreadpool_##TYPE function, \
                                                  void *context,                                   \
                                                  RANGE_PARAMS_##DIMS TILE_PARAMS_##TILED)         \
    {                                                                                              \
        FORWARD_VOID(pthreadpool_compute_##NAME,                                                   \
                     (pool, function, context, RANGE_NAMES_##DIMS TILE_NAMES_##TILED),             \
                     pthreadpool_t, pthreadpool_##TYPE, void *, SIZES_##DIMS TILE_TYPES_##TILED)   \
        struct call call;                                                                          \
        call.run = compute_##NAME;                                                                 \
        call.task = (void (*)(void))function;                                                      \
        call.context = context;                                                                    \
        call.flags = 0;                                                                            \
        call.uarch_default = 0;                                                                    \
        call.uarch_max = 0;                                                                        \
        call.guide = 0;                                                                            \
        call.wants_uarch = false;                                                                  \
        call.fenced = false;                                                                       \
        parallelize(pool, &call, DIMS, TILED, (const size_t[]){RANGE_NAMES_##DIMS},                \
                    (const size_t[]){0 TILE_NAMES_##TILED} + 1);                                   \
    }

COMPUTE_TABLE(COMPUTE)
