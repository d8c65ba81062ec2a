// SPDX-License-Identifier: ISC
//
// The functions of pthreadpool that main.c uses, on TBB, for orientation.

#include <pthreadpool.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

struct pthreadpool {
    explicit pthreadpool(int threads) : arena(threads)
    {
    }
    tbb::task_arena arena;
};

extern "C" pthreadpool_t pthreadpool_create(size_t threads_count)
{
    return new pthreadpool(static_cast<int>(threads_count));
}

extern "C" void pthreadpool_parallelize_1d(pthreadpool_t pool, pthreadpool_task_1d_t function,
                                           void *context, size_t range, uint32_t)
{
    pool->arena.execute(
        [=] { tbb::parallel_for(size_t(0), range, [=](size_t i) { function(context, i); }); });
}

extern "C" void pthreadpool_destroy(pthreadpool_t pool)
{
    delete pool;
}
