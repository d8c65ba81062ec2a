// SPDX-License-Identifier: ISC
//
// The executor as a whole: its one instance, its start, what fork() does to it, and its CPUs.
//
// It starts at first use. Both its start and fork() work from the table of rooms (base/room.h): the
// table is the only thing here that comes from above.

#include "sched/executor.h"

#include "os/options.h"
#include "os/process.h"
#include "os/thread.h"
#include "trace/points.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct ss_executor ss;

// ---- fork

// Other threads are gone, in whatever they were doing: nothing of what they shared is looked at,
// all is begun anew.
static void in_forked_child(void)
{
    for (const struct ss_room *const *room = ss_rooms; *room; room++)
        if ((*room)->after_fork)
            (*room)->after_fork();
}

static void register_fork_handler(void)
{
    ss_process_at_fork(in_forked_child);
}

// Once for all children: handlers survive fork(). This is the one thing done when the library is
// loaded, because a fork() that has begun calls no handler that is registered meanwhile: were it
// done at first use, another thread could hold a lock by then that the child finds held for ever.
// Calls that come before constructors do it themselves.
__attribute__((constructor)) static void prepare_for_fork(void)
{
    static struct ss_once once = SS_ONCE_INIT;
    ss_once(&once, register_fork_handler);
}

// Before all others of this room: they count themselves again.
static void after_fork(void)
{
    ss_lock_reset(&ss.lock);
    ss.generation++;
    ss.shared_workers = ss.busy = 0;
    store_relaxed(&ss.keeper, NULL);
    memset(&ss.stats, 0, sizeof ss.stats);
    memset(ss.work, 0, sizeof ss.work);
}

// ---- counters

uint64_t ss_jobs_run(void)
{
    uint64_t jobs = 0;
    for (unsigned i = 0; i < SS_WORK_COUNTERS; i++)
        jobs += load_relaxed(&ss.work[i].jobs);
    return jobs;
}

// ---- start

static void say_that_it_started(void)
{
    char line[128];
    snprintf(line, sizeof line, "smolscale: started, %u CPUs, %s policy\n", ss_cpus(),
             smolscale_elastic() ? "elastic" : "strict");
    ss_write_to_stderr(line);
}

static void start_locked(void)
{
    long workers = ss_option(SS_OPTION_WORKERS);
    if (smolscale_quiet())
        ss_os_be_quiet();
    // Without the quota, for which files would have to be read: the balancer adds it at once.
    store_relaxed(&ss.cpus, workers > 0 ? (unsigned)workers : ss_os.cpu_count(NULL, 0));
    ss.max_threads = (unsigned)ss_option(SS_OPTION_MAX_THREADS);
    ss_group_init(&ss.shared);
    if (ss_option(SS_OPTION_VERBOSE))
        say_that_it_started();
    store_release(&ss.started, true);
    ss_note_started();
}

void ss_start_slow(void)
{
    int saved_errno = errno;
    prepare_for_fork();
    for (const struct ss_room *const *room = ss_rooms; *room; room++)
        if ((*room)->init)
            (*room)->init();
    // Before there are threads, which outlast a plug-in that this is part of. Where the first use
    // is in a constructor under dlopen(), this thread has the loader's lock already.
    ss_os.stay_loaded();
    ss_lock(&ss.lock);
    if (!load_relaxed(&ss.started))
        start_locked();
    ss_unlock(&ss.lock);
    errno = saved_errno;
}

// ---- CPUs

void ss_count_cpus(void)
{
    pid_t tids[SS_CPUS_MASKS];
    unsigned count = 0, cpus = ss_cpus();
    ss_lock(&ss.lock);
    for (struct ss_worker *worker = ss_first_worker(); worker && count < SS_CPUS_MASKS;
         worker = ss_next_worker(worker))
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

SS_ROOM(sched_executor, NULL, after_fork);
