// SPDX-License-Identifier: ISC
//
// The functions of pthreadpool that main.c uses, on OpenMP: for orientation what its runtimes
// (GNU's and LLVM's) make of the same loops. Tiny chunks and guided scheduling, as stealing is not
// to be had.

#include <omp.h>
#include <pthreadpool.h>
#include <stdlib.h>

struct pthreadpool {
    int threads;
};

pthreadpool_t pthreadpool_create(size_t threads_count)
{
    pthreadpool_t pool = malloc(sizeof *pool);
    if (pool)
        pool->threads = (int)threads_count;
    return pool;
}

void pthreadpool_parallelize_1d(pthreadpool_t pool, pthreadpool_task_1d_t function, void *context,
                                size_t range, uint32_t flags)
{
    (void)flags;
#pragma omp parallel for schedule(guided) num_threads(pool->threads)
    for (size_t i = 0; i < range; i++)
        function(context, i);
}

void pthreadpool_destroy(pthreadpool_t pool)
{
    free(pool);
}
