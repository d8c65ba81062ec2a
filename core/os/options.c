// SPDX-License-Identifier: ISC
//
// Options: read once from the environment, judged against one table. A value that makes no sense
// yields one line on stderr and the default; it never stops the program, which is not ours.

#include "os/options.h"

#include "base/atomic.h"
#include "base/room.h"
#include "os/lock.h"
#include "os/process.h"
#include "smolscale.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { NUMBER, CHOICE, TEXT };

struct option {
    const char *name;
    enum kind kind;
    long fallback;
    long min, max;       // of a NUMBER
    const char *choices; // of a CHOICE: the words, separated by '|'; the value is the word's place
    const char *meaning;
};

static const struct option table[SS_OPTION_COUNT] = {
    [SS_OPTION_DISABLE] = {"SMOLSCALE_DISABLE", CHOICE, 0, 0, 1, "0|1",
                           "1: compatibility layers leave everything to the native thread pools"},
    [SS_OPTION_POLICY] =
        {"SMOLSCALE_POLICY", CHOICE, SS_POLICY_STRICT, 0, 1, "strict|elastic",
         "strict: limits mean what they mean natively; elastic: blocked jobs and jobs of "
         "another kind may exceed them"},
    [SS_OPTION_WORKERS] = {"SMOLSCALE_WORKERS", NUMBER, 0, 0, 4096, NULL,
                           "runnable workers to aim at; 0: the CPUs this process may use"},
    [SS_OPTION_MAX_THREADS] = {"SMOLSCALE_MAX_THREADS", NUMBER, 16384, 1, 1 << 20, NULL,
                               "most shared workers at once, blocked ones included"},
    [SS_OPTION_SINGLE] = {"SMOLSCALE_SINGLE", CHOICE, 0, 0, 1, "0|1",
                          "1: all tasks run on one worker at a time"},
    [SS_OPTION_QUIET] = {"SMOLSCALE_QUIET", CHOICE, 0, 0, 1, "0|1",
                         "1: makes no system call that a plain thread pool would not make, for "
                         "programs that forbid themselves system calls"},
    [SS_OPTION_COSTS] = {"SMOLSCALE_COSTS", TEXT, 0, 0, 0, NULL,
                         "what things cost on this machine, instead of learning it: A, B, or "
                         "NAME=NS,...; for tests and comparisons"},
    [SS_OPTION_STATS] =
        {"SMOLSCALE_STATS", TEXT, 0, 0, 0, NULL,
         "file that gets the counters and the times in queue at exit, a line `name value` each; %p in it stands "
         "for the process id; an existing file is appended to"},
    [SS_OPTION_TIMES] = {"SMOLSCALE_TIMES", CHOICE, 1, 0, 1, "0|1",
                         "0: SMOLSCALE_STATS has no times in queue, and no clock is read for them"},
    [SS_OPTION_TRACE] =
        {"SMOLSCALE_TRACE", TEXT, 0, 0, 0, NULL,
         "file that gets the trace at exit, for smolscale report and smolscale export; %p in it "
         "stands for the process id, which is added to a name without"},
    [SS_OPTION_TRACE_MEMORY] = {"SMOLSCALE_TRACE_MEMORY", NUMBER, 64, 1, 65536, NULL,
                                "MiB that a trace may take; then the oldest events are lost"},
    [SS_OPTION_VERBOSE] = {"SMOLSCALE_VERBOSE", CHOICE, 0, 0, 1, "0|1",
                           "1: say on stderr when the executor starts, and its counters at exit; "
                           "which libuv inside of a program is served, or why not"},
    [SS_OPTION_TOP] = {"SMOLSCALE_TOP", CHOICE, 0, 0, 1, "0|1",
                       "1: `smolscale top` can look at the process; `smolscale run` sets it"},
    [SS_OPTION_INSIDE] = {"SMOLSCALE_INSIDE", CHOICE, 1, 0, 1, "0|1",
                          "0: a libuv inside of a program or plug-in is left alone"},
};

static struct {
    _Atomic int ready;
    struct ss_lock lock;
    long value[SS_OPTION_COUNT];
    const char *text[SS_OPTION_COUNT];
} options;

// What a user may write for the value, and what it is by default, as words.
static void describe(const struct option *o, char *values, char *fallback, size_t size)
{
    if (o->kind == NUMBER) {
        snprintf(values, size, "a number from %ld to %ld", o->min, o->max);
        snprintf(fallback, size, "%ld", o->fallback);
    } else if (o->kind == CHOICE) {
        snprintf(values, size, "%s", o->choices);
        const char *word = o->choices;
        for (long i = 0; i < o->fallback; i++)
            word = strchr(word, '|') + 1;
        snprintf(fallback, size, "%.*s", (int)strcspn(word, "|"), word);
    } else {
        snprintf(values, size, "a text");
        snprintf(fallback, size, "(not set)");
    }
}

static bool parse_number(const struct option *o, const char *text, long *value)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno || end == text || *end || number < o->min || number > o->max)
        return false;
    *value = number;
    return true;
}

static bool parse_choice(const struct option *o, const char *text, long *value)
{
    size_t len = strlen(text);
    long place = 0;
    for (const char *word = o->choices;; word++, place++) {
        size_t word_len = strcspn(word, "|");
        if (word_len == len && memcmp(word, text, len) == 0) {
            *value = place;
            return true;
        }
        word += word_len;
        if (!*word)
            return false;
    }
}

static void complain(const struct option *o, const char *text)
{
    char values[128], fallback[128], shown[101], line[512];
    describe(o, values, fallback, sizeof values);
    size_t len = strnlen(text, sizeof shown - 1);
    for (size_t i = 0; i < len; i++)
        shown[i] =
            text[i] < ' ' || text[i] > '~' ? '?' : text[i]; // one line, and no terminal's business
    shown[len] = '\0';
    snprintf(line, sizeof line, "smolscale: %s=\"%s\" is not %s%s; using %s\n", o->name, shown,
             o->kind == CHOICE ? "one of " : "", values, fallback);
    ss_write_to_stderr(line);
}

static void read_one(enum ss_option_id id, bool secure)
{
    const struct option *o = &table[id];
    options.value[id] = o->fallback;
    const char *text = secure ? NULL : ss_process_environment(o->name);
    if (!text || !*text)
        return;
    options.text[id] = text;
    bool good = o->kind == TEXT || (o->kind == NUMBER ? parse_number(o, text, &options.value[id])
                                                      : parse_choice(o, text, &options.value[id]));
    if (!good)
        complain(o, text);
}

static void read_all(void)
{
    if (load_acquire(&options.ready))
        return;
    int saved_errno = errno;
    ss_lock(&options.lock);
    if (!load_relaxed(&options.ready)) {
        bool secure = ss_process_is_privileged();
        for (unsigned id = 0; id < SS_OPTION_COUNT; id++)
            read_one((enum ss_option_id)id, secure);
        if (secure)
            options.value[SS_OPTION_DISABLE] = 1;
        store_release(&options.ready, 1);
    }
    ss_unlock(&options.lock);
    errno = saved_errno;
}

long ss_option(enum ss_option_id id)
{
    read_all();
    return options.value[id];
}

long ss_option_by_name(const char *name)
{
    for (unsigned id = 0; id < SS_OPTION_COUNT; id++) {
        if (table[id].kind != TEXT && strcmp(table[id].name, name) == 0)
            return ss_option((enum ss_option_id)id);
    }
    return -1;
}

const char *ss_option_text(enum ss_option_id id)
{
    read_all();
    return options.text[id];
}

const struct ss_option_help *ss_option_help(unsigned i)
{
    static char values[128], fallback[128];
    static struct ss_option_help help;
    if (i >= SS_OPTION_COUNT)
        return NULL;
    describe(&table[i], values, fallback, sizeof values);
    help = (struct ss_option_help){table[i].name, values, fallback, table[i].meaning};
    return &help;
}

// ---- what smolscale.h says of them

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

// Another thread of the parent may have been reading them.
static void after_fork(void)
{
    ss_lock_reset(&options.lock);
}

SS_ROOM(os_options, read_all, after_fork);
