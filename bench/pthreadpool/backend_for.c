// SPDX-License-Identifier: ISC
//
// The functions of pthreadpool that main.c uses, on smolscale_parallel_for(): the core's own
// parallel loop, by a body that is called for some items at a time, without a team of its own.

#include <pthreadpool.h>
#include <smolscale.h>
#include <stdlib.h>

struct pthreadpool {
    struct smolscale_parallel_attr attr;
};

pthreadpool_t pthreadpool_create(size_t threads_count)
{
    pthreadpool_t pool = malloc(sizeof *pool);
    if (!pool)
        return NULL;
    pool->attr = (struct smolscale_parallel_attr)SMOLSCALE_PARALLEL_ATTR_INIT;
    pool->attr.max_threads = threads_count;
    return pool;
}

struct call {
    pthreadpool_task_1d_t function;
    void *context;
};

static void run(void *context, size_t begin, size_t end, size_t thread)
{
    const struct call *call = context;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        call->function(call->context, i);
}

void pthreadpool_parallelize_1d(pthreadpool_t pool, pthreadpool_task_1d_t function, void *context,
                                size_t range, uint32_t flags)
{
    struct call call = {function, context};
    (void)flags;
    smolscale_parallel_for(0, range, run, &call, &pool->attr);
}

void pthreadpool_destroy(pthreadpool_t pool)
{
    free(pool);
}
