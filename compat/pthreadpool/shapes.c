// SPDX-License-Identifier: ISC
//
// All pthreadpool_parallelize_… and pthreadpool_compute_… functions, made from the table in
// shapes.h.
//
// Each row becomes two functions: the public one, which writes down ranges, tiles and callback and
// hands them to smolscale_team_run(); and a loop over a stretch of items, compiled for its shape,
// form and step. The loops are two inline functions, run_rows() for fixed steps and run_dynamic().
// They take the first item's coordinates apart by division, once a stretch, and count on from
// there.
//
// An item is one tile (one index where nothing is tiled). Before its callback is called it is
// claimed.

#include "shapes.h"
#include "forward.h"

#include <stddef.h>
#include <stdint.h>

#define inlined static inline __attribute__((always_inline))

enum form { PLAIN, THREAD, THREAD32, UARCH, BOTH };
enum { GUIDE_fixed = 0, GUIDE_dynamic = 1 };

enum { max_dims = 6 };

// Written by the public function; the team has a copy of what the shape needs of it.
struct call {
    struct smolscale_loop loop; // first; `what` is the callback
    void *context;
    uint32_t uarch_default;
    uint32_t uarch_max;
    bool wants_uarch;
    struct dimension {
        size_t range; // as the program gave it
        size_t tile;  // 1 where the shape has no tile
        size_t count; // tiles
    } dim[max_dims];
};
_Static_assert(sizeof(struct call) <= SMOLSCALE_LOOP_MAX, "a team has no room for it");

static inline size_t size_of_call(int dims)
{
    return offsetof(struct call, dim) + (size_t)dims * sizeof(struct dimension);
}

uint32_t cpuinfo_get_current_uarch_index_with_default(uint32_t) __attribute__((weak));

// Of the thread that runs the share: asked for once in each call.
static uint32_t uarch_here(const struct call *call, struct smolscale_share *share)
{
    if (!call->wants_uarch || !cpuinfo_get_current_uarch_index_with_default)
        return call->uarch_default;
    if (share->local == 0) {
        uint32_t uarch = cpuinfo_get_current_uarch_index_with_default(call->uarch_default);
        share->local = 1 + (uint64_t)(uarch > call->uarch_max ? call->uarch_default : uarch);
    }
    return (uint32_t)(share->local - 1);
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
    void (*task)(void) = (void (*)(void))(uintptr_t)call->loop.what;
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
        x[d] = item % call->dim[d].count;
        item /= call->dim[d].count;
    }
    x[0] = item;
}

// The next row: dimension d has come to its end.
inlined void carry(const struct call *call, int d, size_t *x)
{
    while (d > 0 && x[d] >= call->dim[d].count) {
        x[d] = 0;
        x[--d]++;
    }
}

// One callback an item. v[] is what it gets: the index in each dimension, then the length of each
// tile.
inlined size_t run_rows(const struct call *given, struct smolscale_share *share, size_t i,
                        size_t end, uint32_t uarch, size_t thread, const int dims, const int tiled,
                        const enum form form, const bool fenced)
{
    const struct call call = {.loop = {.what = given->loop.what}, .context = given->context};
    const int last = dims - 1;
    const size_t step = tiled ? given->dim[last].tile : 1;
    const size_t range = given->dim[last].range;
    size_t x[max_dims];
    size_t v[max_dims + 4];
    split(given, dims, i, x);
    for (;;) {
        size_t row_end = end;
        if (dims > 1 && given->dim[last].count - x[last] < end - i)
            row_end = i + given->dim[last].count - x[last];
        for (int d = 0; d < last; d++) {
            v[d] = x[d];
            if (d >= dims - tiled) {
                v[d] *= given->dim[d].tile;
                size_t left = given->dim[d].range - v[d];
                v[tiled + d] = left < given->dim[d].tile ? left : given->dim[d].tile;
            }
        }
        size_t row = row_end - i;
        for (size_t at = x[last] * step; row > 0; row--, at += step) {
            if (!smolscale_claim(share, ++i, fenced))
                return i - 1;
            v[last] = at;
            if (tiled)
                v[tiled + last] = range - at < step ? range - at : step;
            invoke(&call, form, dims + tiled, uarch, thread, v);
        }
        if (i == end)
            return i;
        x[last] = given->dim[last].count;
        carry(given, last, x);
    }
}

// Fenced claims, a fence each, in a loop of their own: a test in the common one would cost a
// register.
inlined size_t run_fixed(const struct call *given, struct smolscale_share *share, size_t i,
                         size_t end, uint32_t uarch, size_t thread, const int dims, const int tiled,
                         const enum form form)
{
    if (ptp_unlikely(given->loop.fenced))
        return run_rows(given, share, i, end, uarch, thread, dims, tiled, form, true);
    return run_rows(given, share, i, end, uarch, thread, dims, tiled, form, false);
}

// One callback for several tiles of one row: in the innermost dimension, or in the one before where
// the innermost has a single tile. Without `guide` a whole row; else a fixed part of what is left
// in the share, so that pieces shrink towards the end and can be balanced.
inlined size_t run_dynamic(const struct call *given, struct smolscale_share *share, size_t i,
                           size_t end, uint32_t uarch, size_t thread, const int dims,
                           const int tiled, const enum form form)
{
    const int along = tiled == 2 && given->dim[dims - 1].count == 1 ? dims - 2 : dims - 1;
    size_t x[max_dims];
    size_t v[max_dims + 4];
    split(given, dims, i, x);
    while (i < end) {
        size_t n = given->dim[along].count - x[along];
        if (n > end - i)
            n = end - i;
        size_t part = smolscale_loop_part(&given->loop, share, i);
        if (n > part)
            n = part;
        if (!smolscale_claim(share, i + n, given->loop.fenced))
            return i;
        for (int d = 0; d < dims; d++) {
            v[d] = x[d];
            if (d < dims - tiled)
                continue;
            size_t tiles = d == along ? n : 1;
            v[d] *= given->dim[d].tile;
            v[tiled + d] = x[d] + tiles == given->dim[d].count ? given->dim[d].range - v[d]
                                                               : tiles * given->dim[d].tile;
        }
        invoke(given, form, dims + tiled, uarch, thread, v);
        i += n;
        x[along] += n;
        if (along < dims - 1 && x[along] < given->dim[along].count)
            continue;
        if (along == dims - 1)
            carry(given, dims - 1, x);
        else
            carry(given, dims - 2, x);
    }
    return i;
}

static void parallelize(pthreadpool_t pool, struct call *call, int dims, int tiled,
                        const size_t *ranges, const size_t *tiles)
{
    size_t total = 1;
    for (int d = 0; d < dims; d++) {
        size_t tile = d >= dims - tiled ? tiles[d - (dims - tiled)] : 1;
        if (tile == 0)
            tile = 1; // natively a division by zero or an endless loop
        size_t count = tile == 1 ? ranges[d] : ranges[d] / tile + (ranges[d] % tile != 0);
        call->dim[d].range = ranges[d];
        call->dim[d].tile = tile;
        call->dim[d].count = count;
        if (count == 0)
            return;
        if (__builtin_mul_overflow(total, count, &total))
            total = SIZE_MAX - 1; // nobody sees the end of it
    }
    call->loop.items = total;
    smolscale_team_run(ptp_team(pool), &call->loop, size_of_call(dims));
}

// The public flags in the core's words. (Helpers that yield between calls do not spin for long.)
static unsigned flags_of(uint32_t flags)
{
    return (flags & PTHREADPOOL_FLAG_DISABLE_DENORMALS ? SMOLSCALE_LOOP_FLUSH_DENORMALS : 0) |
           (flags & PTHREADPOOL_FLAG_DONT_SPIN_WORKERS ? SMOLSCALE_LOOP_NO_LINGER : 0);
}

// The first lines of each public function. (No initialiser: it would clear the dimensions, too.)
inlined void describe(struct call *call, smolscale_loop_fn *run, void (*task)(void), void *context,
                      uint32_t flags, bool guided)
{
    call->loop.run = run;
    call->loop.what = (const void *)(uintptr_t)task;
    call->loop.max_threads = 0;
    call->loop.flags = flags_of(flags);
    call->loop.guided = guided;
    call->loop.fenced = false;
    call->loop.guide = 0;
    call->context = context;
    call->uarch_default = 0;
    call->uarch_max = 0;
    call->wants_uarch = false;
}

#define PARALLELIZE(NAME, DIMS, TILED, FORM, STEP, TYPE)                                         \
    static size_t run_##NAME(const struct smolscale_loop *loop, struct smolscale_share *share,   \
                             size_t first, size_t end, size_t thread)                            \
    {                                                                                            \
        const struct call *call = (const struct call *)loop;                                     \
        return run_##STEP(call, share, first, end, uarch_here(call, share), thread, DIMS, TILED, \
                          FORM);                                                                 \
    }                                                                                            \
    SMOLSCALE_API void pthreadpool_parallelize_##NAME(                                           \
        pthreadpool_t pool, pthreadpool_##TYPE function, void *context,                          \
        UARCH_PARAMS_##FORM RANGE_PARAMS_##DIMS TILE_PARAMS_##TILED, uint32_t flags)             \
    {                                                                                            \
        FORWARD_VOID(pthreadpool_parallelize_##NAME,                                             \
                     (pool, function, context,                                                   \
                      UARCH_NAMES_##FORM RANGE_NAMES_##DIMS TILE_NAMES_##TILED, flags),          \
                     pthreadpool_t, pthreadpool_##TYPE, void *,                                  \
                     UARCH_TYPES_##FORM SIZES_##DIMS TILE_TYPES_##TILED, uint32_t)               \
        struct call call;                                                                        \
        describe(&call, run_##NAME, (void (*)(void))function, context, flags, GUIDE_##STEP);     \
        UARCH_GIVEN_##FORM parallelize(pool, &call, DIMS, TILED,                                 \
                                       (const size_t[]){RANGE_NAMES_##DIMS},                     \
                                       (const size_t[]){0 TILE_NAMES_##TILED} + 1);              \
    }

PARALLELIZE_TABLE(PARALLELIZE)

// Natively these call pthreadpool_parallelize_… through the linker; here they stay inside. They are
// deprecated for callers, not for this file, which names them.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#define COMPUTE(NAME, DIMS, TILED, TYPE)                                                           \
    static size_t compute_##NAME(const struct smolscale_loop *loop, struct smolscale_share *share, \
                                 size_t first, size_t end, size_t thread)                          \
    {                                                                                              \
        return run_fixed((const struct call *)loop, share, first, end, 0, thread, DIMS, TILED,     \
                         PLAIN);                                                                   \
    }                                                                                              \
    SMOLSCALE_API void pthreadpool_compute_##NAME(pthreadpool_t pool, pthreadpool_##TYPE function, \
                                                  void *context,                                   \
                                                  RANGE_PARAMS_##DIMS TILE_PARAMS_##TILED)         \
    {                                                                                              \
        FORWARD_VOID(pthreadpool_compute_##NAME,                                                   \
                     (pool, function, context, RANGE_NAMES_##DIMS TILE_NAMES_##TILED),             \
                     pthreadpool_t, pthreadpool_##TYPE, void *, SIZES_##DIMS TILE_TYPES_##TILED)   \
        struct call call;                                                                          \
        describe(&call, compute_##NAME, (void (*)(void))function, context, 0, false);              \
        parallelize(pool, &call, DIMS, TILED, (const size_t[]){RANGE_NAMES_##DIMS},                \
                    (const size_t[]){0 TILE_NAMES_##TILED} + 1);                                   \
    }

COMPUTE_TABLE(COMPUTE)
