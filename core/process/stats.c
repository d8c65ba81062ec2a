// SPDX-License-Identifier: ISC
//
// The executor's counters, as programs see them: smolscale_get_stats(), the file that
// SMOLSCALE_STATS names, and what SMOLSCALE_VERBOSE says at exit.

#include "os/options.h"
#include "os/process.h"
#include "sched/costs.h"
#include "sched/executor.h"

#include <stdio.h>
#include <string.h>

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

#define TEXT_MAX 2048 // 13 counters and 11 costs

// A line `NAME VALUE` for each counter and each cost, after `prefix`. Returns the length.
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
    for (unsigned i = 0; i < SS_COST_COUNT; i++)
        length += (size_t)snprintf(text + length, TEXT_MAX - length, "%scost_%s %u\n", prefix,
                                   ss_cost_name((enum ss_cost)i), ss_cost((enum ss_cost)i));
    return length;
}

// SMOLSCALE_STATS with %p replaced by the process id.
static void stats_path(const char *pattern, char *path, size_t size)
{
    const char *mark = strstr(pattern, "%p");
    if (mark)
        snprintf(path, size, "%.*s%d%s", (int)(mark - pattern), pattern, (int)ss_process_id(),
                 mark + 2);
    else
        snprintf(path, size, "%s", pattern);
}

static void append_to_file(const char *pattern)
{
    char path[4096], text[TEXT_MAX];
    stats_path(pattern, path, sizeof path);
    int err = ss_append_to_file(path, text, write_stats(text, ""));
    if (err) {
        char line[sizeof path + 128];
        snprintf(line, sizeof line, "smolscale: SMOLSCALE_STATS: cannot write %s: %s\n", path,
                 strerror(-err));
        ss_write_to_stderr(line);
    }
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
}

SS_ROOM(process_stats, init, NULL); // the counters themselves are reset with the executor
