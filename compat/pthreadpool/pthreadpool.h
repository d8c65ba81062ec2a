// SPDX-License-Identifier: ISC
//
// pthreadpool on smolscale: the whole C interface of pthreadpool, both of 2021 (as Debian's
// libpthreadpool0 has it: 30 functions) and of today (58), for programs that are compiled against
// this library instead. Programs that were compiled against pthreadpool's own header need no
// change.
//
// Overview
//
//   A pool runs all items of a loop nest, in no particular order, each exactly once, in the calling
//   thread and in up to threads_count - 1 others. Those are the pool's own, created when calls are
//   first worth them; they take part as far as there is work and a CPU for it, and sleep otherwise.
//   A call returns when its last item has run.
//
// Typical use
//
//        static void square(void *context, size_t i) { float *x = context; x[i] *= x[i]; }
//
//        pthreadpool_t pool = pthreadpool_create(0);                   // as many threads as CPUs
//        pthreadpool_parallelize_1d(pool, square, x, count, 0);
//        pthreadpool_destroy(pool);
//
// Names
//
//   pthreadpool_parallelize_<N>d[_tile_<M>d][_dynamic][_with_uarch][_with_thread]
//   N      dimensions of the loop nest. The callback gets one index for each.
//   tile   the last M dimensions are cut into tiles of the given size; the callback gets the first
//          index of the tile and its length, which is smaller at the end of the range. A size of 0
//          is taken for 1.
//   dynamic      a callback may get several tiles that lie side by side at once: the length is
//                then a multiple of the tile, except at the end of the range.
//   with_uarch   the callback gets the index of the CPU's microarchitecture as cpuinfo tells it,
//                if the program is linked with cpuinfo, and default_uarch_index otherwise, or
//                where the index is greater than max_uarch_index.
//   with_thread  the callback gets the number of the thread that it runs in: below threads_count,
//                and never the same in two threads at once.
//
// Rules
//
//   * A NULL pool, or one with a single thread, runs everything in the calling thread.
//   * Calls on one pool, from several threads, wait for each other.
//   * An item may make calls on other pools. One on its own pool runs in the item's thread.
//   * If there are as many threads as items, the items of a call may wait for each other.
//   * After fork() the child can use its pools; in the middle of a call it runs only those items
//     that the forking thread had as its own.

#ifndef SMOLSCALE_PTHREADPOOL_H
#define SMOLSCALE_PTHREADPOOL_H
#define __PTHREADPOOL_INCLUDE_PTHREADPOOL_H_ // stands for the original; never both
#define PTHREADPOOL_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define PTHREADPOOL_API        __attribute__((visibility("default")))
#define PTHREADPOOL_DEPRECATED __attribute__((deprecated))
#else
#define PTHREADPOOL_API
#define PTHREADPOOL_DEPRECATED
#endif

typedef struct pthreadpool *pthreadpool_t;

// Flags of a call.
// Denormal floating-point numbers count as zero in every thread that takes part, for as long as it
// does.
#define PTHREADPOOL_FLAG_DISABLE_DENORMALS 0x00000001
// Accepted: threads go back to the executor after a call anyway.
#define PTHREADPOOL_FLAG_YIELD_WORKERS 0x00000002
// Threads do not wait even for a moment for the next call.
#define PTHREADPOOL_FLAG_DONT_SPIN_WORKERS 0x00000004

#ifdef __cplusplus
extern "C" {
#endif

// ---------------------------------------------------------------------------------------------
// Pools
// ---------------------------------------------------------------------------------------------

// An executor of the program's own, whose threads a pool is to use instead of smolscale's.
struct pthreadpool_executor {
    int (*num_threads)(void *executor_context); // how many threads it has
    // Has task(context) called once, soon, in one of them.
    void (*schedule)(void *executor_context, void *context, void (*task)(void *context));
};

// A pool of `threads_count` threads, the caller's included; 0: as many as CPUs are online. NULL: no
// memory. Starts no thread.
PTHREADPOOL_API pthreadpool_t pthreadpool_create(size_t threads_count);

// The same with an executor of the program's own (copied); NULL: smolscale's. The pool has at most
// max_num_threads threads, and at most one more than the executor.
PTHREADPOOL_API pthreadpool_t pthreadpool_create_v2(struct pthreadpool_executor *executor,
                                                    void *executor_context, size_t max_num_threads);

// Threads that a call may use, the caller's included. 1 for a NULL pool.
PTHREADPOOL_API size_t pthreadpool_get_threads_count(pthreadpool_t pool);

// Lets the calls that follow use `num_threads` threads, at most those the pool was created with; 0:
// all. Waits for a call in progress. Returns what was set.
PTHREADPOOL_API size_t pthreadpool_set_threads_count(pthreadpool_t pool, size_t num_threads);

// Gives threads back to the program's executor. They go by themselves at the end of a call.
PTHREADPOOL_API void pthreadpool_release_executor_threads(struct pthreadpool *pool);

// Uses another executor from now on. False: it was that one already.
PTHREADPOOL_API bool pthreadpool_update_executor(pthreadpool_t pool,
                                                 struct pthreadpool_executor *executor,
                                                 void *executor_context);

// Ends the pool. Waits for a call in progress, and for tasks that an executor of the program's own
// was given. The pool's threads have ended when it returns: what items left in thread-local storage
// is destroyed (not with SMOLSCALE_POLICY=elastic, where pools share threads, which stay). NULL is
// ignored.
PTHREADPOOL_API void pthreadpool_destroy(pthreadpool_t pool);

// ---------------------------------------------------------------------------------------------
// Callbacks. `id` is the index of the microarchitecture, in calls _with_uarch, or the number of the
// thread, in those only _with_thread.
// ---------------------------------------------------------------------------------------------

typedef void (*pthreadpool_task_1d_t)(void *context, size_t i);
typedef void (*pthreadpool_task_1d_with_thread_t)(void *context, size_t thread, size_t i);
typedef void (*pthreadpool_task_1d_with_id_t)(void *context, uint32_t id, size_t i);
typedef void (*pthreadpool_task_1d_tile_1d_t)(void *context, size_t i, size_t tile_i);
typedef void (*pthreadpool_task_1d_tile_1d_dynamic_t)(void *context, size_t i, size_t tile_i);
typedef void (*pthreadpool_task_1d_tile_1d_dynamic_with_id_t)(void *context, uint32_t id, size_t i,
                                                              size_t tile_i);
typedef void (*pthreadpool_task_1d_tile_1d_dynamic_with_id_with_thread_t)(void *context,
                                                                          uint32_t id,
                                                                          size_t thread, size_t i,
                                                                          size_t tile_i);
typedef void (*pthreadpool_task_2d_t)(void *context, size_t i, size_t j);
typedef void (*pthreadpool_task_2d_with_thread_t)(void *context, size_t thread, size_t i, size_t j);
typedef void (*pthreadpool_task_2d_tile_1d_t)(void *context, size_t i, size_t j, size_t tile_j);
typedef void (*pthreadpool_task_2d_tile_1d_with_id_t)(void *context, uint32_t id, size_t i,
                                                      size_t j, size_t tile_j);
typedef void (*pthreadpool_task_2d_tile_1d_with_id_with_thread_t)(void *context, uint32_t id,
                                                                  size_t thread, size_t i, size_t j,
                                                                  size_t tile_j);
typedef void (*pthreadpool_task_2d_tile_1d_dynamic_t)(void *context, size_t i, size_t j,
                                                      size_t tile_j);
typedef void (*pthreadpool_task_2d_tile_1d_dynamic_with_id_t)(void *context, uint32_t id, size_t i,
                                                              size_t j, size_t tile_j);
typedef void (*pthreadpool_task_2d_tile_1d_dynamic_with_id_with_thread_t)(void *context,
                                                                          uint32_t id,
                                                                          size_t thread, size_t i,
                                                                          size_t j, size_t tile_j);
typedef void (*pthreadpool_task_2d_tile_2d_t)(void *context, size_t i, size_t j, size_t tile_i,
                                              size_t tile_j);
typedef void (*pthreadpool_task_2d_tile_2d_with_id_t)(void *context, uint32_t id, size_t i,
                                                      size_t j, size_t tile_i, size_t tile_j);
typedef void (*pthreadpool_task_2d_tile_2d_dynamic_t)(void *context, size_t i, size_t j,
                                                      size_t tile_i, size_t tile_j);
typedef void (*pthreadpool_task_2d_tile_2d_dynamic_with_id_t)(void *context, uint32_t id, size_t i,
                                                              size_t j, size_t tile_i,
                                                              size_t tile_j);
typedef void (*pthreadpool_task_3d_t)(void *context, size_t i, size_t j, size_t k);
typedef void (*pthreadpool_task_3d_tile_1d_t)(void *context, size_t i, size_t j, size_t k,
                                              size_t tile_k);
typedef void (*pthreadpool_task_3d_tile_1d_with_thread_t)(void *context, size_t thread, size_t i,
                                                          size_t j, size_t k, size_t tile_k);
typedef void (*pthreadpool_task_3d_tile_1d_with_id_t)(void *context, uint32_t id, size_t i,
                                                      size_t j, size_t k, size_t tile_k);
typedef void (*pthreadpool_task_3d_tile_1d_with_id_with_thread_t)(void *context, uint32_t id,
                                                                  size_t thread, size_t i, size_t j,
                                                                  size_t k, size_t tile_k);
typedef void (*pthreadpool_task_3d_tile_1d_dynamic_t)(void *context, size_t i, size_t j, size_t k,
                                                      size_t tile_k);
typedef void (*pthreadpool_task_3d_tile_1d_dynamic_with_id_t)(void *context, uint32_t id, size_t i,
                                                              size_t j, size_t k, size_t tile_k);
typedef void (*pthreadpool_task_3d_tile_1d_dynamic_with_id_with_thread_t)(
    void *context, uint32_t id, size_t thread, size_t i, size_t j, size_t k, size_t tile_k);
typedef void (*pthreadpool_task_3d_tile_2d_t)(void *context, size_t i, size_t j, size_t k,
                                              size_t tile_j, size_t tile_k);
typedef void (*pthreadpool_task_3d_tile_2d_with_id_t)(void *context, uint32_t id, size_t i,
                                                      size_t j, size_t k, size_t tile_j,
                                                      size_t tile_k);
typedef void (*pthreadpool_task_3d_tile_2d_dynamic_t)(void *context, size_t i, size_t j, size_t k,
                                                      size_t tile_j, size_t tile_k);
typedef void (*pthreadpool_task_3d_tile_2d_dynamic_with_id_t)(void *context, uint32_t id, size_t i,
                                                              size_t j, size_t k, size_t tile_j,
                                                              size_t tile_k);
typedef void (*pthreadpool_task_4d_t)(void *context, size_t i, size_t j, size_t k, size_t l);
typedef void (*pthreadpool_task_4d_tile_1d_t)(void *context, size_t i, size_t j, size_t k, size_t l,
                                              size_t tile_l);
typedef void (*pthreadpool_task_4d_tile_2d_t)(void *context, size_t i, size_t j, size_t k, size_t l,
                                              size_t tile_k, size_t tile_l);
typedef void (*pthreadpool_task_4d_tile_2d_with_id_t)(void *context, uint32_t id, size_t i,
                                                      size_t j, size_t k, size_t l, size_t tile_k,
                                                      size_t tile_l);
typedef void (*pthreadpool_task_4d_tile_2d_dynamic_t)(void *context, size_t i, size_t j, size_t k,
                                                      size_t l, size_t tile_k, size_t tile_l);
typedef void (*pthreadpool_task_4d_tile_2d_dynamic_with_id_t)(void *context, uint32_t id, size_t i,
                                                              size_t j, size_t k, size_t l,
                                                              size_t tile_k, size_t tile_l);
typedef void (*pthreadpool_task_5d_t)(void *context, size_t i, size_t j, size_t k, size_t l,
                                      size_t m);
typedef void (*pthreadpool_task_5d_tile_1d_t)(void *context, size_t i, size_t j, size_t k, size_t l,
                                              size_t m, size_t tile_m);
typedef void (*pthreadpool_task_5d_tile_2d_t)(void *context, size_t i, size_t j, size_t k, size_t l,
                                              size_t m, size_t tile_l, size_t tile_m);
typedef void (*pthreadpool_task_6d_t)(void *context, size_t i, size_t j, size_t k, size_t l,
                                      size_t m, size_t n);
typedef void (*pthreadpool_task_6d_tile_1d_t)(void *context, size_t i, size_t j, size_t k, size_t l,
                                              size_t m, size_t n, size_t tile_n);
typedef void (*pthreadpool_task_6d_tile_2d_t)(void *context, size_t i, size_t j, size_t k, size_t l,
                                              size_t m, size_t n, size_t tile_m, size_t tile_n);

// ---------------------------------------------------------------------------------------------
// 1 dimension
// ---------------------------------------------------------------------------------------------

PTHREADPOOL_API void pthreadpool_parallelize_1d(pthreadpool_t pool, pthreadpool_task_1d_t function,
                                                void *context, size_t range, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_1d_with_thread(
    pthreadpool_t pool, pthreadpool_task_1d_with_thread_t function, void *context, size_t range,
    uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_1d_with_uarch(
    pthreadpool_t pool, pthreadpool_task_1d_with_id_t function, void *context,
    uint32_t default_uarch_index, uint32_t max_uarch_index, size_t range, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_1d_tile_1d(pthreadpool_t pool,
                                                        pthreadpool_task_1d_tile_1d_t function,
                                                        void *context, size_t range, size_t tile,
                                                        uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_1d_tile_1d_dynamic(
    pthreadpool_t pool, pthreadpool_task_1d_tile_1d_dynamic_t function, void *context, size_t range,
    size_t tile, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_1d_tile_1d_dynamic_with_thread(
    pthreadpool_t pool, pthreadpool_task_1d_tile_1d_dynamic_with_id_t function, void *context,
    size_t range, size_t tile, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_1d_tile_1d_dynamic_with_uarch_with_thread(
    pthreadpool_t pool, pthreadpool_task_1d_tile_1d_dynamic_with_id_with_thread_t function,
    void *context, uint32_t default_uarch_index, uint32_t max_uarch_index, size_t range,
    size_t tile, uint32_t flags);

// ---------------------------------------------------------------------------------------------
// 2 dimensions
// ---------------------------------------------------------------------------------------------

PTHREADPOOL_API void pthreadpool_parallelize_2d(pthreadpool_t pool, pthreadpool_task_2d_t function,
                                                void *context, size_t range_i, size_t range_j,
                                                uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_2d_with_thread(
    pthreadpool_t pool, pthreadpool_task_2d_with_thread_t function, void *context, size_t range_i,
    size_t range_j, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_2d_tile_1d(pthreadpool_t pool,
                                                        pthreadpool_task_2d_tile_1d_t function,
                                                        void *context, size_t range_i,
                                                        size_t range_j, size_t tile_j,
                                                        uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_2d_tile_1d_with_uarch(
    pthreadpool_t pool, pthreadpool_task_2d_tile_1d_with_id_t function, void *context,
    uint32_t default_uarch_index, uint32_t max_uarch_index, size_t range_i, size_t range_j,
    size_t tile_j, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_2d_tile_1d_with_uarch_with_thread(
    pthreadpool_t pool, pthreadpool_task_2d_tile_1d_with_id_with_thread_t function, void *context,
    uint32_t default_uarch_index, uint32_t max_uarch_index, size_t range_i, size_t range_j,
    size_t tile_j, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_2d_tile_1d_dynamic(
    pthreadpool_t pool, pthreadpool_task_2d_tile_1d_dynamic_t function, void *context,
    size_t range_i, size_t range_j, size_t tile_j, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_2d_tile_1d_dynamic_with_thread(
    pthreadpool_t pool, pthreadpool_task_2d_tile_1d_dynamic_with_id_t function, void *context,
    size_t range_i, size_t range_j, size_t tile_j, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_2d_tile_1d_dynamic_with_uarch_with_thread(
    pthreadpool_t pool, pthreadpool_task_2d_tile_1d_dynamic_with_id_with_thread_t function,
    void *context, uint32_t default_uarch_index, uint32_t max_uarch_index, size_t range_i,
    size_t range_j, size_t tile_j, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_2d_tile_2d(pthreadpool_t pool,
                                                        pthreadpool_task_2d_tile_2d_t function,
                                                        void *context, size_t range_i,
                                                        size_t range_j, size_t tile_i,
                                                        size_t tile_j, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_2d_tile_2d_with_uarch(
    pthreadpool_t pool, pthreadpool_task_2d_tile_2d_with_id_t function, void *context,
    uint32_t default_uarch_index, uint32_t max_uarch_index, size_t range_i, size_t range_j,
    size_t tile_i, size_t tile_j, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_2d_tile_2d_dynamic(
    pthreadpool_t pool, pthreadpool_task_2d_tile_2d_dynamic_t function, void *context,
    size_t range_i, size_t range_j, size_t tile_i, size_t tile_j, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_2d_tile_2d_dynamic_with_uarch(
    pthreadpool_t pool, pthreadpool_task_2d_tile_2d_dynamic_with_id_t function, void *context,
    uint32_t default_uarch_index, uint32_t max_uarch_index, size_t range_i, size_t range_j,
    size_t tile_i, size_t tile_j, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_2d_tile_2d_dynamic_with_thread(
    pthreadpool_t pool, pthreadpool_task_2d_tile_2d_dynamic_with_id_t function, void *context,
    size_t range_i, size_t range_j, size_t tile_i, size_t tile_j, uint32_t flags);

// ---------------------------------------------------------------------------------------------
// 3 dimensions
// ---------------------------------------------------------------------------------------------

PTHREADPOOL_API void pthreadpool_parallelize_3d(pthreadpool_t pool, pthreadpool_task_3d_t function,
                                                void *context, size_t range_i, size_t range_j,
                                                size_t range_k, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_3d_tile_1d(pthreadpool_t pool,
                                                        pthreadpool_task_3d_tile_1d_t function,
                                                        void *context, size_t range_i,
                                                        size_t range_j, size_t range_k,
                                                        size_t tile_k, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_3d_tile_1d_with_thread(
    pthreadpool_t pool, pthreadpool_task_3d_tile_1d_with_thread_t function, void *context,
    size_t range_i, size_t range_j, size_t range_k, size_t tile_k, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_3d_tile_1d_with_uarch(
    pthreadpool_t pool, pthreadpool_task_3d_tile_1d_with_id_t function, void *context,
    uint32_t default_uarch_index, uint32_t max_uarch_index, size_t range_i, size_t range_j,
    size_t range_k, size_t tile_k, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_3d_tile_1d_with_uarch_with_thread(
    pthreadpool_t pool, pthreadpool_task_3d_tile_1d_with_id_with_thread_t function, void *context,
    uint32_t default_uarch_index, uint32_t max_uarch_index, size_t range_i, size_t range_j,
    size_t range_k, size_t tile_k, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_3d_tile_1d_dynamic(
    pthreadpool_t pool, pthreadpool_task_3d_tile_1d_dynamic_t function, void *context,
    size_t range_i, size_t range_j, size_t range_k, size_t tile_k, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_3d_tile_1d_dynamic_with_thread(
    pthreadpool_t pool, pthreadpool_task_3d_tile_1d_dynamic_with_id_t function, void *context,
    size_t range_i, size_t range_j, size_t range_k, size_t tile_k, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_3d_tile_1d_dynamic_with_uarch_with_thread(
    pthreadpool_t pool, pthreadpool_task_3d_tile_1d_dynamic_with_id_with_thread_t function,
    void *context, uint32_t default_uarch_index, uint32_t max_uarch_index, size_t range_i,
    size_t range_j, size_t range_k, size_t tile_k, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_3d_tile_2d(
    pthreadpool_t pool, pthreadpool_task_3d_tile_2d_t function, void *context, size_t range_i,
    size_t range_j, size_t range_k, size_t tile_j, size_t tile_k, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_3d_tile_2d_with_uarch(
    pthreadpool_t pool, pthreadpool_task_3d_tile_2d_with_id_t function, void *context,
    uint32_t default_uarch_index, uint32_t max_uarch_index, size_t range_i, size_t range_j,
    size_t range_k, size_t tile_j, size_t tile_k, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_3d_tile_2d_dynamic(
    pthreadpool_t pool, pthreadpool_task_3d_tile_2d_dynamic_t function, void *context,
    size_t range_i, size_t range_j, size_t range_k, size_t tile_j, size_t tile_k, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_3d_tile_2d_dynamic_with_uarch(
    pthreadpool_t pool, pthreadpool_task_3d_tile_2d_dynamic_with_id_t function, void *context,
    uint32_t default_uarch_index, uint32_t max_uarch_index, size_t range_i, size_t range_j,
    size_t range_k, size_t tile_j, size_t tile_k, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_3d_tile_2d_dynamic_with_thread(
    pthreadpool_t pool, pthreadpool_task_3d_tile_2d_dynamic_with_id_t function, void *context,
    size_t range_i, size_t range_j, size_t range_k, size_t tile_j, size_t tile_k, uint32_t flags);

// ---------------------------------------------------------------------------------------------
// 4 dimensions
// ---------------------------------------------------------------------------------------------

PTHREADPOOL_API void pthreadpool_parallelize_4d(pthreadpool_t pool, pthreadpool_task_4d_t function,
                                                void *context, size_t range_i, size_t range_j,
                                                size_t range_k, size_t range_l, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_4d_tile_1d(
    pthreadpool_t pool, pthreadpool_task_4d_tile_1d_t function, void *context, size_t range_i,
    size_t range_j, size_t range_k, size_t range_l, size_t tile_l, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_4d_tile_2d(
    pthreadpool_t pool, pthreadpool_task_4d_tile_2d_t function, void *context, size_t range_i,
    size_t range_j, size_t range_k, size_t range_l, size_t tile_k, size_t tile_l, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_4d_tile_2d_with_uarch(
    pthreadpool_t pool, pthreadpool_task_4d_tile_2d_with_id_t function, void *context,
    uint32_t default_uarch_index, uint32_t max_uarch_index, size_t range_i, size_t range_j,
    size_t range_k, size_t range_l, size_t tile_k, size_t tile_l, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_4d_tile_2d_dynamic(
    pthreadpool_t pool, pthreadpool_task_4d_tile_2d_dynamic_t function, void *context,
    size_t range_i, size_t range_j, size_t range_k, size_t range_l, size_t tile_k, size_t tile_l,
    uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_4d_tile_2d_dynamic_with_uarch(
    pthreadpool_t pool, pthreadpool_task_4d_tile_2d_dynamic_with_id_t function, void *context,
    uint32_t default_uarch_index, uint32_t max_uarch_index, size_t range_i, size_t range_j,
    size_t range_k, size_t range_l, size_t tile_k, size_t tile_l, uint32_t flags);

// ---------------------------------------------------------------------------------------------
// 5 dimensions
// ---------------------------------------------------------------------------------------------

PTHREADPOOL_API void pthreadpool_parallelize_5d(pthreadpool_t pool, pthreadpool_task_5d_t function,
                                                void *context, size_t range_i, size_t range_j,
                                                size_t range_k, size_t range_l, size_t range_m,
                                                uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_5d_tile_1d(
    pthreadpool_t pool, pthreadpool_task_5d_tile_1d_t function, void *context, size_t range_i,
    size_t range_j, size_t range_k, size_t range_l, size_t range_m, size_t tile_m, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_5d_tile_2d(
    pthreadpool_t pool, pthreadpool_task_5d_tile_2d_t function, void *context, size_t range_i,
    size_t range_j, size_t range_k, size_t range_l, size_t range_m, size_t tile_l, size_t tile_m,
    uint32_t flags);

// ---------------------------------------------------------------------------------------------
// 6 dimensions
// ---------------------------------------------------------------------------------------------

PTHREADPOOL_API void pthreadpool_parallelize_6d(pthreadpool_t pool, pthreadpool_task_6d_t function,
                                                void *context, size_t range_i, size_t range_j,
                                                size_t range_k, size_t range_l, size_t range_m,
                                                size_t range_n, uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_6d_tile_1d(
    pthreadpool_t pool, pthreadpool_task_6d_tile_1d_t function, void *context, size_t range_i,
    size_t range_j, size_t range_k, size_t range_l, size_t range_m, size_t range_n, size_t tile_n,
    uint32_t flags);
PTHREADPOOL_API void pthreadpool_parallelize_6d_tile_2d(
    pthreadpool_t pool, pthreadpool_task_6d_tile_2d_t function, void *context, size_t range_i,
    size_t range_j, size_t range_k, size_t range_l, size_t range_m, size_t range_n, size_t tile_m,
    size_t tile_n, uint32_t flags);

// ---------------------------------------------------------------------------------------------
// Old names, without flags
// ---------------------------------------------------------------------------------------------

#ifndef PTHREADPOOL_NO_DEPRECATED_API
typedef void (*pthreadpool_function_1d_t)(void *context, size_t i);
typedef void (*pthreadpool_function_1d_tiled_t)(void *context, size_t i, size_t tile_i);
typedef void (*pthreadpool_function_2d_t)(void *context, size_t i, size_t j);
typedef void (*pthreadpool_function_2d_tiled_t)(void *context, size_t i, size_t j, size_t tile_i,
                                                size_t tile_j);
typedef void (*pthreadpool_function_3d_tiled_t)(void *context, size_t i, size_t j, size_t k,
                                                size_t tile_i, size_t tile_j, size_t tile_k);
typedef void (*pthreadpool_function_4d_tiled_t)(void *context, size_t i, size_t j, size_t k,
                                                size_t l, size_t tile_i, size_t tile_j,
                                                size_t tile_k, size_t tile_l);
PTHREADPOOL_API void pthreadpool_compute_1d(pthreadpool_t pool, pthreadpool_function_1d_t function,
                                            void *context, size_t range) PTHREADPOOL_DEPRECATED;
PTHREADPOOL_API void pthreadpool_compute_1d_tiled(pthreadpool_t pool,
                                                  pthreadpool_function_1d_tiled_t function,
                                                  void *context, size_t range,
                                                  size_t tile) PTHREADPOOL_DEPRECATED;
PTHREADPOOL_API void pthreadpool_compute_2d(pthreadpool_t pool, pthreadpool_function_2d_t function,
                                            void *context, size_t range_i,
                                            size_t range_j) PTHREADPOOL_DEPRECATED;
PTHREADPOOL_API void pthreadpool_compute_2d_tiled(pthreadpool_t pool,
                                                  pthreadpool_function_2d_tiled_t function,
                                                  void *context, size_t range_i, size_t range_j,
                                                  size_t tile_i,
                                                  size_t tile_j) PTHREADPOOL_DEPRECATED;
PTHREADPOOL_API void pthreadpool_compute_3d_tiled(pthreadpool_t pool,
                                                  pthreadpool_function_3d_tiled_t function,
                                                  void *context, size_t range_i, size_t range_j,
                                                  size_t range_k, size_t tile_i, size_t tile_j,
                                                  size_t tile_k) PTHREADPOOL_DEPRECATED;
PTHREADPOOL_API void pthreadpool_compute_4d_tiled(pthreadpool_t pool,
                                                  pthreadpool_function_4d_tiled_t function,
                                                  void *context, size_t range_i, size_t range_j,
                                                  size_t range_k, size_t range_l, size_t tile_i,
                                                  size_t tile_j, size_t tile_k,
                                                  size_t tile_l) PTHREADPOOL_DEPRECATED;
#endif

#ifdef __cplusplus
} // extern "C"

// ---------------------------------------------------------------------------------------------
// C++: the same functions with anything callable in place of function and context
// ---------------------------------------------------------------------------------------------

namespace smolscale_pthreadpool
{
// A C callback that calls *context with the arguments it gets.
template <class Callable, class... Sizes> void call(void *context, Sizes... sizes)
{
    (*static_cast<const Callable *>(context))(sizes...);
}
} // namespace smolscale_pthreadpool

// One overload for each: sizes are ranges and tiles; `flags` may be left out.
#define PTHREADPOOL_SIZES_1(name) size_t name##0
#define PTHREADPOOL_SIZES_2(name) PTHREADPOOL_SIZES_1(name), size_t name##1
#define PTHREADPOOL_SIZES_3(name) PTHREADPOOL_SIZES_2(name), size_t name##2
#define PTHREADPOOL_SIZES_4(name) PTHREADPOOL_SIZES_3(name), size_t name##3
#define PTHREADPOOL_SIZES_5(name) PTHREADPOOL_SIZES_4(name), size_t name##4
#define PTHREADPOOL_SIZES_6(name) PTHREADPOOL_SIZES_5(name), size_t name##5
#define PTHREADPOOL_SIZES_7(name) PTHREADPOOL_SIZES_6(name), size_t name##6
#define PTHREADPOOL_SIZES_8(name) PTHREADPOOL_SIZES_7(name), size_t name##7
#define PTHREADPOOL_NAMES_1       s0
#define PTHREADPOOL_NAMES_2       PTHREADPOOL_NAMES_1, s1
#define PTHREADPOOL_NAMES_3       PTHREADPOOL_NAMES_2, s2
#define PTHREADPOOL_NAMES_4       PTHREADPOOL_NAMES_3, s3
#define PTHREADPOOL_NAMES_5       PTHREADPOOL_NAMES_4, s4
#define PTHREADPOOL_NAMES_6       PTHREADPOOL_NAMES_5, s5
#define PTHREADPOOL_NAMES_7       PTHREADPOOL_NAMES_6, s6
#define PTHREADPOOL_NAMES_8       PTHREADPOOL_NAMES_7, s7
#define PTHREADPOOL_FOR_CALLABLES(shape, sizes)                                                   \
    template <class Callable>                                                                     \
    inline void pthreadpool_parallelize_##shape(pthreadpool_t pool, const Callable &callable,     \
                                                PTHREADPOOL_SIZES_##sizes(s), uint32_t flags = 0) \
    {                                                                                             \
        pthreadpool_task_##shape##_t task = smolscale_pthreadpool::call<const Callable>;          \
        pthreadpool_parallelize_##shape(pool, task,                                               \
                                        const_cast<void *>(static_cast<const void *>(&callable)), \
                                        PTHREADPOOL_NAMES_##sizes, flags);                        \
    }
PTHREADPOOL_FOR_CALLABLES(1d, 1)
PTHREADPOOL_FOR_CALLABLES(1d_tile_1d, 2)
PTHREADPOOL_FOR_CALLABLES(1d_tile_1d_dynamic, 2)
PTHREADPOOL_FOR_CALLABLES(2d, 2)
PTHREADPOOL_FOR_CALLABLES(2d_tile_1d, 3)
PTHREADPOOL_FOR_CALLABLES(2d_tile_1d_dynamic, 3)
PTHREADPOOL_FOR_CALLABLES(2d_tile_2d, 4)
PTHREADPOOL_FOR_CALLABLES(2d_tile_2d_dynamic, 4)
PTHREADPOOL_FOR_CALLABLES(3d, 3)
PTHREADPOOL_FOR_CALLABLES(3d_tile_1d, 4)
PTHREADPOOL_FOR_CALLABLES(3d_tile_1d_dynamic, 4)
PTHREADPOOL_FOR_CALLABLES(3d_tile_2d, 5)
PTHREADPOOL_FOR_CALLABLES(3d_tile_2d_dynamic, 5)
PTHREADPOOL_FOR_CALLABLES(4d, 4)
PTHREADPOOL_FOR_CALLABLES(4d_tile_1d, 5)
PTHREADPOOL_FOR_CALLABLES(4d_tile_2d, 6)
PTHREADPOOL_FOR_CALLABLES(4d_tile_2d_dynamic, 6)
PTHREADPOOL_FOR_CALLABLES(5d, 5)
PTHREADPOOL_FOR_CALLABLES(5d_tile_1d, 6)
PTHREADPOOL_FOR_CALLABLES(5d_tile_2d, 7)
PTHREADPOOL_FOR_CALLABLES(6d, 6)
PTHREADPOOL_FOR_CALLABLES(6d_tile_1d, 7)
PTHREADPOOL_FOR_CALLABLES(6d_tile_2d, 8)
#undef PTHREADPOOL_FOR_CALLABLES

// An executor as a class: give it to pthreadpool_create_v2() with GetContext() as its context.
class PthreadpoolExecutor : public pthreadpool_executor
{
  public:
    using TaskFunction = void (*)(void *);

    PthreadpoolExecutor()
    {
        num_threads = [](void *self) {
            return static_cast<PthreadpoolExecutor *>(self)->NumThreads();
        };
        schedule = [](void *self, void *context, TaskFunction task) {
            static_cast<PthreadpoolExecutor *>(self)->Schedule(context, task);
        };
    }
    virtual ~PthreadpoolExecutor() = default;

    void *GetContext()
    {
        return this;
    }

    virtual int NumThreads() = 0;
    virtual void Schedule(void *context, TaskFunction task) = 0;
};
#endif // __cplusplus

#endif // SMOLSCALE_PTHREADPOOL_H
