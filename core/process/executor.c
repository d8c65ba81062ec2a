// SPDX-License-Identifier: ISC
//
// The executor as a whole: its one instance, its start, what fork() does to it, and its counters.

#include "sched/executor.h"
#include "region/region.h"
#include "task/task.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct ss_executor ss;

// ---- counters ----

void smolscale_get_stats(struct smolscale_stats *out)
{
    struct smolscale_stats all = {.size = out->size};
#define COPY(field) all.field = load_relaxed(&ss.stats.field)
    COPY(jobs);
    COPY(wakes);
    COPY(wakes_saved);
    COPY(naps);
    COPY(ticks);
    COPY(takebacks);
    COPY(compensations);
    COPY(workers_created);
    COPY(workers_retired);
    COPY(create_failures);
    COPY(workers);
    COPY(workers_peak);
#undef COPY
    ss_lock(&ss.lock);
    for (struct ss_group *group = ss.groups; group; group = group->next)
        all.workers_blocked += group->blocked;
    ss_unlock(&ss.lock);
    // An older caller's structure is shorter: the fields are only ever added at the end.
    memcpy(out, &all, out->size < sizeof all ? out->size : sizeof all);
}

static void print_stats(FILE *file, const char *prefix)
{
    struct smolscale_stats s = {.size = sizeof s};
    smolscale_get_stats(&s);
#define PRINT(field) fprintf(file, "%s" #field " %llu\n", prefix, (unsigned long long)s.field)
    PRINT(jobs);
    PRINT(wakes);
    PRINT(wakes_saved);
    PRINT(naps);
    PRINT(ticks);
    PRINT(takebacks);
    PRINT(compensations);
    PRINT(workers_created);
    PRINT(workers_retired);
    PRINT(create_failures);
    PRINT(workers);
    PRINT(workers_peak);
    PRINT(workers_blocked);
#undef PRINT
}

// SMOLSCALE_STATS with %p replaced by the process id.
static void stats_path(const char *pattern, char *path, size_t size)
{
    const char *mark = strstr(pattern, "%p");
    if (mark)
        snprintf(path, size, "%.*s%d%s", (int)(mark - pattern), pattern, (int)getpid(), mark + 2);
    else
        snprintf(path, size, "%s", pattern);
}

static void at_exit(void)
{
    if (load_relaxed(&ss.stats.workers_created) == 0)
        return; // a forked child that did not use it
    const char *pattern = ss_option_text(SS_OPTION_STATS);
    if (pattern) {
        char path[4096];
        stats_path(pattern, path, sizeof path);
        FILE *file = fopen(path, "ae");
        if (file) {
            print_stats(file, "");
            fclose(file);
        } else {
            fprintf(stderr, "smolscale: SMOLSCALE_STATS: cannot write %s: %s\n", path,
                    strerror(errno));
        }
    }
    if (ss_option(SS_OPTION_VERBOSE))
        print_stats(stderr, "smolscale: ");
}

// ---- start ----

static void in_forked_child(void)
{
    // Other threads are gone, in whatever they were doing: nothing of what they shared is looked
    // at, all is begun anew. Only forward links are followed, which are whole at every moment.
    ss_options_after_fork();
    ss_os_after_fork();
    ss_lock_reset(&ss.lock);
    ss.generation++;
    ss.shared_workers = ss.busy = 0;
    ss_groups_after_fork();
    ss_spawners_after_fork();
    store_relaxed(&ss.keeper, NULL);
    memset(&ss.stats, 0, sizeof ss.stats);
    ss_balancer_after_fork();
    ss_asymmetric_after_fork();
    ss_task_after_fork();
    ss_lanes_after_fork();
    ss_timers_after_fork();
    ss_reactor_after_fork();
    ss_slab_after_fork();
    ss_rebalance_after_fork();
    // Backward links are made anew: another thread may have been half-way through a change of them.
    smolscale_queue **link = &ss.queues;
    ss.elastic_queues = 0;
    for (smolscale_queue *queue = ss.queues; queue; queue = queue->next) {
        queue->prev_link = link;
        link = &queue->next;
        ss.elastic_queues += (queue->flags & SMOLSCALE_QUEUE_ELASTIC) != 0;
        ss_queue_reset_after_fork(queue);
    }
    ss_region_after_fork();
    ss_workers_after_fork();
}

static void register_fork_handler(void)
{
    pthread_atfork(NULL, NULL, in_forked_child);
}

// Once for all children: handlers survive fork(). This is the one thing done when the library is
// loaded, because a fork() that has begun calls no handler that is registered meanwhile: were it
// done at first use, another thread could hold a lock by then that the child finds held for ever.
// Calls that come before constructors do it themselves.
__attribute__((constructor)) static void prepare_for_fork(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_fork_handler);
}

// Not under a lock: atexit() has one. Once for all children, too.
static void register_exit_handler(void)
{
    static _Atomic bool registered;
    if (ss_option_text(SS_OPTION_STATS) || ss_option(SS_OPTION_VERBOSE))
        if (!exchange_seq_cst(&registered, true))
            atexit(at_exit);
}

static void start_locked(void)
{
    long workers = ss_option(SS_OPTION_WORKERS);
    if (smolscale_quiet())
        ss_os_be_quiet();
    // Without the quota, for which files would have to be read: the balancer adds it at once.
    store_relaxed(&ss.cpus, workers > 0 ? (unsigned)workers : ss_os.cpu_count(NULL, 0));
    ss.max_threads = (unsigned)ss_option(SS_OPTION_MAX_THREADS);
    ss_group_init(&ss.shared, NULL);
    if (ss_option(SS_OPTION_VERBOSE))
        fprintf(stderr, "smolscale: started, %u CPUs, %s policy\n", ss_cpus(),
                smolscale_elastic() ? "elastic" : "strict");
    store_release(&ss.started, true);
}

void ss_start_slow(void)
{
    int saved_errno = errno;
    prepare_for_fork();
    register_exit_handler();
    // Before there are threads, which outlast a plug-in that this is part of. Where the first use
    // is in a constructor under dlopen(), this thread has the loader's lock already.
    ss_os.stay_loaded();
    ss_lock(&ss.lock);
    if (!load_relaxed(&ss.started))
        start_locked();
    ss_unlock(&ss.lock);
    errno = saved_errno;
}

// Of how many workers' affinity masks the CPUs are the union, at most.
#define CPUS_WORKERS 16

void ss_count_cpus(void)
{
    pid_t tids[CPUS_WORKERS];
    unsigned count = 0, cpus = ss_cpus();
    ss_lock(&ss.lock);
    for (struct ss_worker *worker = ss.workers; worker && count < CPUS_WORKERS;
         worker = worker->next)
        if (load_relaxed(&worker->tid) != 0)
            tids[count++] = load_relaxed(&worker->tid);
    ss_unlock(&ss.lock);
    if (ss_option(SS_OPTION_WORKERS) == 0)
        cpus = ss_os.cpu_count(tids, count);
    ss_lock(&ss.lock);
    if (cpus != ss_cpus()) {
        store_relaxed(&ss.cpus, cpus);
        for (struct ss_group *group = ss.groups; group; group = group->next)
            ss_group_refresh(group); // its hints depend on them
    }
    ss_unlock(&ss.lock);
}

unsigned smolscale_cpus(void)
{
    ss_start();
    if (load_relaxed(&ss.cpus_due) == 0)
        ss_count_cpus(); // else the balancer does it, and knows more
    return ss_cpus();
}

bool smolscale_disabled(void)
{
    return ss_option(SS_OPTION_DISABLE) != 0;
}

bool smolscale_quiet(void)
{
    return ss_option(SS_OPTION_QUIET) != 0;
}

long smolscale_option(const char *name)
{
    return ss_option_by_name(name);
}

bool smolscale_elastic(void)
{
    return ss_option(SS_OPTION_POLICY) == SS_POLICY_ELASTIC;
}
