// SPDX-License-Identifier: ISC
//
// Pools as programs see them: create, count, destroy, and the executors that programs may bring.
// Each function is one of a team's, translated.

#include "forward.h"

#include <sys/prctl.h>
#include <unistd.h>

bool cpuinfo_initialize(void) __attribute__((weak));

// As natively: the CPUs that are online, whatever of them this process may use. Programs size their
// tables with it; how many helpers really run follows smolscale_cpus().
static size_t online_cpus(void)
{
    static _Atomic size_t count; // sysconf() reads a file for it
    size_t n = load_relaxed(&count);
    if (n == 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        n = online > 0 ? (size_t)online : 1;
        store_relaxed(&count, n);
    }
    return n;
}

// The two sides agree on what is lent and how.
static struct smolscale_lender lender_of(const struct pthreadpool_executor *executor, void *context)
{
    return (struct smolscale_lender){executor->num_threads, executor->schedule, context};
}

SMOLSCALE_API pthreadpool_t pthreadpool_create_v2(struct pthreadpool_executor *executor,
                                                  void *executor_context, size_t max_num_threads)
{
    FORWARD(pthreadpool_create_v2, pthreadpool_t, (executor, executor_context, max_num_threads),
            struct pthreadpool_executor *, void *, size_t);
    if (cpuinfo_initialize && !cpuinfo_initialize())
        return NULL;
    struct smolscale_team_attr attr = SMOLSCALE_TEAM_ATTR_INIT;
    attr.max_threads = max_num_threads ? max_num_threads : online_cpus();
    struct smolscale_lender lender;
    char name[16] = "";
    if (executor) {
        lender = lender_of(executor, executor_context);
        attr.lender = &lender;
    } else if (!smolscale_elastic()) {
        // As natively, the threads belong to the thread that makes the pool: they have its settings
        // and its name, whichever thread makes the first call.
        attr.flags = SMOLSCALE_TEAM_OWN_THREADS;
        if (!smolscale_quiet() && prctl(PR_GET_NAME, name) == 0)
            attr.thread_name = name;
    }
    smolscale_team *team;
    smolscale_team_new(&team, &attr); // NULL: it could not be had
    return (pthreadpool_t)team;
}

SMOLSCALE_API pthreadpool_t pthreadpool_create(size_t threads_count)
{
    FORWARD(pthreadpool_create, pthreadpool_t, (threads_count), size_t);
    return pthreadpool_create_v2(NULL, NULL, threads_count);
}

SMOLSCALE_API size_t pthreadpool_get_threads_count(pthreadpool_t pool)
{
    FORWARD(pthreadpool_get_threads_count, size_t, (pool), pthreadpool_t);
    return pool ? smolscale_team_threads(ptp_team(pool)) : 1;
}

SMOLSCALE_API size_t pthreadpool_set_threads_count(pthreadpool_t pool, size_t num_threads)
{
    FORWARD(pthreadpool_set_threads_count, size_t, (pool, num_threads), pthreadpool_t, size_t);
    return pool ? smolscale_team_set_threads(ptp_team(pool), num_threads) : 1;
}

// Helpers go back to their executor at the end of each call by themselves, soon.
SMOLSCALE_API void pthreadpool_release_executor_threads(struct pthreadpool *pool)
{
    FORWARD_VOID(pthreadpool_release_executor_threads, (pool), struct pthreadpool *);
    if (pool)
        smolscale_team_release_helpers(ptp_team(pool));
}

SMOLSCALE_API bool pthreadpool_update_executor(pthreadpool_t pool,
                                               struct pthreadpool_executor *executor,
                                               void *executor_context)
{
    FORWARD(pthreadpool_update_executor, bool, (pool, executor, executor_context), pthreadpool_t,
            struct pthreadpool_executor *, void *);
    struct smolscale_lender lender = lender_of(executor, executor_context);
    return smolscale_team_set_lender(ptp_team(pool), &lender);
}

SMOLSCALE_API void pthreadpool_destroy(pthreadpool_t pool)
{
    FORWARD_VOID(pthreadpool_destroy, (pool), pthreadpool_t);
    smolscale_team_free(ptp_team(pool));
}
