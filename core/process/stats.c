// SPDX-License-Identifier: ISC
//
// The executor's counters, as programs see them: smolscale_get_stats(), the file that
// SMOLSCALE_STATS names, and what SMOLSCALE_VERBOSE says at exit.

#include "os/options.h"
#include "os/process.h"
#include "process/path.h"
#include "sched/costs.h"
#include "sched/executor.h"
#include "trace/points.h"
#include "trace/pools.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void smolscale_get_stats(struct smolscale_stats *out)
{
    struct smolscale_stats all = {.size = out->size};
#define COPY(field) all.field = load_relaxed(&ss.stats.field)
    COPY(wakes);
    COPY(ticks);
    COPY(takebacks);
    COPY(compensations);
    COPY(workers_created);
    COPY(workers_retired);
    COPY(create_failures);
    COPY(workers);
    COPY(workers_peak);
#undef COPY
    all.jobs = ss_jobs_run();
    for (unsigned i = 0; i < SS_WORK_COUNTERS; i++) {
        all.wakes_saved += load_relaxed(&ss.work[i].wakes_saved);
        all.naps += load_relaxed(&ss.work[i].naps);
    }
    ss_lock(&ss.lock);
    for (struct ss_group *group = ss.groups; group; group = group->next)
        all.workers_blocked += group->blocked;
    ss_unlock(&ss.lock);
    // An older caller's structure is shorter: the fields are only ever added at the end.
    memcpy(out, &all, out->size < sizeof all ? out->size : sizeof all);
}

#define TEXT_MAX 2048 // 13 counters, the CPU time and 11 costs; four lines with the name of a pool

// A line `NAME VALUE` for each counter and each cost, after `prefix`. Returns the length. The CPU
// time is that of the whole process.
static size_t write_stats(char *text, const char *prefix)
{
    struct smolscale_stats s = {.size = sizeof s};
    size_t length = 0;
    smolscale_get_stats(&s);
#define WRITE(field)                                                                            \
    length += (size_t)snprintf(text + length, TEXT_MAX - length, "%s" #field " %llu\n", prefix, \
                               (unsigned long long)s.field)
    WRITE(jobs);
    WRITE(wakes);
    WRITE(wakes_saved);
    WRITE(naps);
    WRITE(ticks);
    WRITE(takebacks);
    WRITE(compensations);
    WRITE(workers_created);
    WRITE(workers_retired);
    WRITE(create_failures);
    WRITE(workers);
    WRITE(workers_peak);
    WRITE(workers_blocked);
#undef WRITE
    length += (size_t)snprintf(text + length, TEXT_MAX - length, "%scpu_ns %llu\n", prefix,
                               (unsigned long long)ss_process_cpu_ns());
    for (unsigned i = 0; i < SS_COST_COUNT; i++)
        length += (size_t)snprintf(text + length, TEXT_MAX - length, "%scost_%s %u\n", prefix,
                                   ss_cost_name((enum ss_cost)i), ss_cost((enum ss_cost)i));
    return length;
}

// The times in queue of one pool, in the form in which Prometheus has a summary.
static size_t write_times(const struct ss_pool *pool, char *text, size_t size)
{
    char name[160];
    const struct ss_histogram *times = &pool->times;
    uint64_t count = ss_histogram_count(times);
    if (count == 0)
        return 0;
    ss_pool_name(pool, name, sizeof name);
    int length =
        snprintf(text, size,
                 "time_in_queue_ns{pool=\"%s\",quantile=\"0.5\"} %llu\n"
                 "time_in_queue_ns{pool=\"%s\",quantile=\"0.99\"} %llu\n"
                 "time_in_queue_ns_max{pool=\"%s\"} %llu\n"
                 "time_in_queue_ns_count{pool=\"%s\"} %llu\n",
                 name, (unsigned long long)ss_histogram_quantile(times, 500), name,
                 (unsigned long long)ss_histogram_quantile(times, 990), name,
                 (unsigned long long)load_relaxed(&times->max), name, (unsigned long long)count);
    return length > 0 && (size_t)length < size ? (size_t)length : 0;
}

void smolscale_say(const char *text)
{
    ss_write_to_stderr(text);
}

// One call for each part: lines of several processes may come between them, and are whole.
static int append_all(const char *path)
{
    char text[TEXT_MAX];
    int err = ss_append_to_file(path, text, write_stats(text, ""));
    // What only `smolscale top` has asked for are samples.
    bool times = ss_option(SS_OPTION_TIMES);
    for (unsigned i = 0; times && !err && i < ss_pool_count(); i++) {
        size_t length = write_times(ss_pool_at(i), text, sizeof text);
        if (length > 0)
            err = ss_append_to_file(path, text, length);
    }
    return err;
}

static void append_to_file(const char *pattern)
{
    char path[SS_PATH_SIZE];
    bool fits = ss_path_of_process(pattern, path, sizeof path);
    int err = fits ? append_all(path) : -ENAMETOOLONG;
    if (err)
        ss_path_complain("SMOLSCALE_STATS", fits ? path : pattern, -err);
}

static void at_exit(void)
{
    if (load_relaxed(&ss.stats.workers_created) == 0)
        return; // a forked child that did not use it
    const char *pattern = ss_option_text(SS_OPTION_STATS);
    if (pattern)
        append_to_file(pattern);
    if (ss_option(SS_OPTION_VERBOSE)) {
        char text[TEXT_MAX];
        write_stats(text, "smolscale: ");
        ss_write_to_stderr(text);
    }
}

// Once for all children: handlers survive fork().
static void init(void)
{
    static _Atomic bool registered;
    if (ss_option_text(SS_OPTION_STATS) || ss_option(SS_OPTION_VERBOSE))
        if (!exchange_seq_cst(&registered, true))
            ss_process_at_exit(at_exit);
    if (ss_option_text(SS_OPTION_STATS) && ss_option(SS_OPTION_TIMES))
        ss_observe(SS_OBSERVED_FOR_TIMES);
}

SS_ROOM(process_stats, init, NULL); // the counters themselves are reset with the executor
