// SPDX-License-Identifier: ISC
//
// The table of all parallel calls. A call's *shape* is its number of dimensions and how many of the
// last ones are tiled; its *form* is what the callback is told besides the indices; its *step* is
// one tile at a time (fixed) or several of the innermost dimension at once (dynamic).
//
//   X(name, dimensions, tiled, form, step, type of the callback)
//
// Forms, and what stands between the context and the indices in the callback:
//   PLAIN     nothing
//   THREAD    size_t thread
//   THREAD32  uint32_t thread (so does the API have it for dynamic tiles)
//   UARCH     uint32_t uarch
//   BOTH      uint32_t uarch, size_t thread

#ifndef SS_PTP_SHAPES_H
#define SS_PTP_SHAPES_H

#define PARALLELIZE_TABLE(X)                                                                       \
    X(1d, 1, 0, PLAIN, fixed, task_1d_t)                                                           \
    X(1d_with_thread, 1, 0, THREAD, fixed, task_1d_with_thread_t)                                  \
    X(1d_with_uarch, 1, 0, UARCH, fixed, task_1d_with_id_t)                                        \
    X(1d_tile_1d, 1, 1, PLAIN, fixed, task_1d_tile_1d_t)                                           \
    X(1d_tile_1d_dynamic, 1, 1, PLAIN, dynamic, task_1d_tile_1d_dynamic_t)                         \
    X(1d_tile_1d_dynamic_with_thread, 1, 1, THREAD32, dynamic, task_1d_tile_1d_dynamic_with_id_t)  \
    X(1d_tile_1d_dynamic_with_uarch_with_thread, 1, 1, BOTH, dynamic,                              \
      task_1d_tile_1d_dynamic_with_id_with_thread_t)                                               \
    X(2d, 2, 0, PLAIN, fixed, task_2d_t)                                                           \
    X(2d_with_thread, 2, 0, THREAD, fixed, task_2d_with_thread_t)                                  \
    X(2d_tile_1d, 2, 1, PLAIN, fixed, task_2d_tile_1d_t)                                           \
    X(2d_tile_1d_with_uarch, 2, 1, UARCH, fixed, task_2d_tile_1d_with_id_t)                        \
    X(2d_tile_1d_with_uarch_with_thread, 2, 1, BOTH, fixed, task_2d_tile_1d_with_id_with_thread_t) \
    X(2d_tile_1d_dynamic, 2, 1, PLAIN, dynamic, task_2d_tile_1d_dynamic_t)                         \
    X(2d_tile_1d_dynamic_with_thread, 2, 1, THREAD32, dynamic, task_2d_tile_1d_dynamic_with_id_t)  \
    X(2d_tile_1d_dynamic_with_uarch_with_thread, 2, 1, BOTH, dynamic,                              \
      task_2d_tile_1d_dynamic_with_id_with_thread_t)                                               \
    X(2d_tile_2d, 2, 2, PLAIN, fixed, task_2d_tile_2d_t)                                           \
    X(2d_tile_2d_with_uarch, 2, 2, UARCH, fixed, task_2d_tile_2d_with_id_t)                        \
    X(2d_tile_2d_dynamic, 2, 2, PLAIN, dynamic, task_2d_tile_2d_dynamic_t)                         \
    X(2d_tile_2d_dynamic_with_uarch, 2, 2, UARCH, dynamic, task_2d_tile_2d_dynamic_with_id_t)      \
    X(2d_tile_2d_dynamic_with_thread, 2, 2, THREAD32, dynamic, task_2d_tile_2d_dynamic_with_id_t)  \
    X(3d, 3, 0, PLAIN, fixed, task_3d_t)                                                           \
    X(3d_tile_1d, 3, 1, PLAIN, fixed, task_3d_tile_1d_t)                                           \
    X(3d_tile_1d_with_thread, 3, 1, THREAD, fixed, task_3d_tile_1d_with_thread_t)                  \
    X(3d_tile_1d_with_uarch, 3, 1, UARCH, fixed, task_3d_tile_1d_with_id_t)                        \
    X(3d_tile_1d_with_uarch_with_thread, 3, 1, BOTH, fixed, task_3d_tile_1d_with_id_with_thread_t) \
    X(3d_tile_1d_dynamic, 3, 1, PLAIN, dynamic, task_3d_tile_1d_dynamic_t)                         \
    X(3d_tile_1d_dynamic_with_thread, 3, 1, THREAD32, dynamic, task_3d_tile_1d_dynamic_with_id_t)  \
    X(3d_tile_1d_dynamic_with_uarch_with_thread, 3, 1, BOTH, dynamic,                              \
      task_3d_tile_1d_dynamic_with_id_with_thread_t)                                               \
    X(3d_tile_2d, 3, 2, PLAIN, fixed, task_3d_tile_2d_t)                                           \
    X(3d_tile_2d_with_uarch, 3, 2, UARCH, fixed, task_3d_tile_2d_with_id_t)                        \
    X(3d_tile_2d_dynamic, 3, 2, PLAIN, dynamic, task_3d_tile_2d_dynamic_t)                         \
    X(3d_tile_2d_dynamic_with_uarch, 3, 2, UARCH, dynamic, task_3d_tile_2d_dynamic_with_id_t)      \
    X(3d_tile_2d_dynamic_with_thread, 3, 2, THREAD32, dynamic, task_3d_tile_2d_dynamic_with_id_t)  \
    X(4d, 4, 0, PLAIN, fixed, task_4d_t)                                                           \
    X(4d_tile_1d, 4, 1, PLAIN, fixed, task_4d_tile_1d_t)                                           \
    X(4d_tile_2d, 4, 2, PLAIN, fixed, task_4d_tile_2d_t)                                           \
    X(4d_tile_2d_with_uarch, 4, 2, UARCH, fixed, task_4d_tile_2d_with_id_t)                        \
    X(4d_tile_2d_dynamic, 4, 2, PLAIN, dynamic, task_4d_tile_2d_dynamic_t)                         \
    X(4d_tile_2d_dynamic_with_uarch, 4, 2, UARCH, dynamic, task_4d_tile_2d_dynamic_with_id_t)      \
    X(5d, 5, 0, PLAIN, fixed, task_5d_t)                                                           \
    X(5d_tile_1d, 5, 1, PLAIN, fixed, task_5d_tile_1d_t)                                           \
    X(5d_tile_2d, 5, 2, PLAIN, fixed, task_5d_tile_2d_t)                                           \
    X(6d, 6, 0, PLAIN, fixed, task_6d_t)                                                           \
    X(6d_tile_1d, 6, 1, PLAIN, fixed, task_6d_tile_1d_t)                                           \
    X(6d_tile_2d, 6, 2, PLAIN, fixed, task_6d_tile_2d_t)

// The old names: no flags, always PLAIN and fixed.
//   X(name, dimensions, tiled, type of the callback)
#define COMPUTE_TABLE(X)                   \
    X(1d, 1, 0, function_1d_t)             \
    X(1d_tiled, 1, 1, function_1d_tiled_t) \
    X(2d, 2, 0, function_2d_t)             \
    X(2d_tiled, 2, 2, function_2d_tiled_t) \
    X(3d_tiled, 3, 3, function_3d_tiled_t) \
    X(4d_tiled, 4, 4, function_4d_tiled_t)

// Lists that follow the shape: parameters, their names, their types.
#define RANGE_PARAMS_1 size_t r0
#define RANGE_PARAMS_2 RANGE_PARAMS_1, size_t r1
#define RANGE_PARAMS_3 RANGE_PARAMS_2, size_t r2
#define RANGE_PARAMS_4 RANGE_PARAMS_3, size_t r3
#define RANGE_PARAMS_5 RANGE_PARAMS_4, size_t r4
#define RANGE_PARAMS_6 RANGE_PARAMS_5, size_t r5
#define RANGE_NAMES_1  r0
#define RANGE_NAMES_2  RANGE_NAMES_1, r1
#define RANGE_NAMES_3  RANGE_NAMES_2, r2
#define RANGE_NAMES_4  RANGE_NAMES_3, r3
#define RANGE_NAMES_5  RANGE_NAMES_4, r4
#define RANGE_NAMES_6  RANGE_NAMES_5, r5
#define TILE_PARAMS_0
#define TILE_PARAMS_1 , size_t t0
#define TILE_PARAMS_2 TILE_PARAMS_1, size_t t1
#define TILE_PARAMS_3 TILE_PARAMS_2, size_t t2
#define TILE_PARAMS_4 TILE_PARAMS_3, size_t t3
#define TILE_NAMES_0
#define TILE_NAMES_1 , t0
#define TILE_NAMES_2 TILE_NAMES_1, t1
#define TILE_NAMES_3 TILE_NAMES_2, t2
#define TILE_NAMES_4 TILE_NAMES_3, t3
#define SIZES_1      size_t
#define SIZES_2      SIZES_1, size_t
#define SIZES_3      SIZES_2, size_t
#define SIZES_4      SIZES_3, size_t
#define SIZES_5      SIZES_4, size_t
#define SIZES_6      SIZES_5, size_t
#define SIZES_7      SIZES_6, size_t
#define SIZES_8      SIZES_7, size_t
#define TILE_TYPES_0
#define TILE_TYPES_1 , SIZES_1
#define TILE_TYPES_2 , SIZES_2
#define TILE_TYPES_3 , SIZES_3
#define TILE_TYPES_4 , SIZES_4

// Parameters that only the forms with a microarchitecture have.
#define UARCH_PARAMS_PLAIN
#define UARCH_PARAMS_THREAD
#define UARCH_PARAMS_THREAD32
#define UARCH_PARAMS_UARCH uint32_t uarch_default, uint32_t uarch_max,
#define UARCH_PARAMS_BOTH  UARCH_PARAMS_UARCH
#define UARCH_NAMES_PLAIN
#define UARCH_NAMES_THREAD
#define UARCH_NAMES_THREAD32
#define UARCH_NAMES_UARCH uarch_default, uarch_max,
#define UARCH_NAMES_BOTH  UARCH_NAMES_UARCH
#define UARCH_TYPES_PLAIN
#define UARCH_TYPES_THREAD
#define UARCH_TYPES_THREAD32
#define UARCH_TYPES_UARCH uint32_t, uint32_t,
#define UARCH_TYPES_BOTH  UARCH_TYPES_UARCH
#define UARCH_GIVEN_PLAIN
#define UARCH_GIVEN_THREAD
#define UARCH_GIVEN_THREAD32
#define UARCH_GIVEN_UARCH               \
    call.uarch_default = uarch_default; \
    call.uarch_max = uarch_max;         \
    call.wants_uarch = true;
#define UARCH_GIVEN_BOTH UARCH_GIVEN_UARCH

#endif // SS_PTP_SHAPES_H
