// SPDX-License-Identifier: ISC
//
// smolscale compare: runs a command natively and on smolscale in turn. Which of the two begins
// changes from round to round, so that what drifts with time (clock rate, temperature, caches)
// touches both alike.

#include "cli.h"
#include "counters.h"
#include "environment.h"
#include "measure.h"
#include "program.h"
#include "report.h"
#include "statistics.h"

#include <argp.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIFFERENT = 1 }; // the exit status if output or exit status are not as natively

enum { KEY_JSON = 1000 };

struct arguments {
    struct settings settings;
    size_t rounds;
    double time_limit;
    bool json;
};

static const struct argp_option options[] = {
    {"rounds", 'n', "N", 0, "compare N rounds, after one to warm up (default: 7)", 0},
    {"timeout", 't', "SECONDS", 0, "end a run that takes longer (default: no limit)", 0},
    {"json", KEY_JSON, NULL, 0, "print all measurements as JSON", 0},
    {0},
};

static double parse_number(struct argp_state *state, const char *name, const char *text, double low,
                           double high)
{
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    if (errno || end == text || *end || !(number >= low && number <= high))
        argp_error(state, "--%s: '%s' is not a number from %g to %g", name, text, low, high);
    return number;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    double number;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->settings;
        return 0;
    case 'n':
        number = parse_number(state, "rounds", argument, 1, MAX_PAIRS);
        if (number != floor(number))
            argp_error(state, "--rounds: '%s' is not a whole number", argument);
        arguments->rounds = (size_t)number;
        return 0;
    case 't':
        arguments->time_limit = parse_number(state, "timeout", argument, 0.001, 1e6);
        return 0;
    case KEY_JSON:
        arguments->json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse,
    NULL, // the command is settings_parser's
    "Runs COMMAND natively and on smolscale in turn and compares time, context switches, threads, memory, output and exit "
    "status.\v"
    "The command gets an empty standard input, or the file that standard input is. Its output is not shown.\n\n"
    "The exit status is 0 if output and exit status on smolscale are as natively, 1 if they are not; 125 if smolscale "
    "itself fails, 126 if the command cannot be executed, 127 if it is not found.",
    settings_parser,
    NULL,
    NULL,
};

// ---- statistics of the command's processes ----

// A folder for the files that SMOLSCALE_STATS names. The command may change its user, so that
// anybody may create a file in it; nobody else can list it.
static char *make_folder(void)
{
    const char *parent = getenv("TMPDIR");
    char *folder = must_format("%s/smolscale-XXXXXX", parent && *parent ? parent : "/tmp");
    if (!mkdtemp(folder) || chmod(folder, 01733))
        fail(STATUS_FAILED, "cannot make the folder %s: %s", folder, strerror(errno));
    return folder;
}

static double read_jobs(int folder, const char *name)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    if (!file) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    struct counter counter;
    double jobs = 0;
    while (counters_next(file, &counter)) {
        if (strcmp(counter.name, "jobs") == 0)
            jobs += (double)counter.value;
    }
    fclose(file);
    return jobs;
}

// The jobs of all processes that have left a file, which is removed. Below zero: none has.
static double take_jobs(const char *folder)
{
    double jobs = -1;
    DIR *dir = opendir(folder);
    if (!dir)
        return jobs;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        jobs = (jobs < 0 ? 0 : jobs) + read_jobs(dirfd(dir), entry->d_name);
        unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
    return jobs;
}

// ---- the two environments ----

// Whether two settings, "NAME=value", are of one variable.
static bool same_name(const char *one, const char *other)
{
    size_t length = strcspn(one, "=");
    return strncmp(one, other, length) == 0 && other[length] == '=';
}

// This process' environment with the settings of `values` (NULL at the end), and with no other
// LD_PRELOAD.
static char **make_environment(const char *const *values)
{
    size_t count = 0, added = 0;
    while (environ[count])
        count++;
    while (values[added])
        added++;
    char **copy = must_alloc((count + added + 1) * sizeof *copy);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool replaced = same_name(environ[i], "LD_PRELOAD=");
        for (size_t j = 0; j < added; j++)
            replaced = replaced || same_name(environ[i], values[j]);
        if (!replaced)
            copy[kept++] = environ[i];
    }
    for (size_t j = 0; j < added; j++)
        copy[kept++] = must_copy(values[j]);
    return copy;
}

static char **native_environment(void)
{
    char *preload = native_preload_value(getenv("LD_PRELOAD"));
    const char *values[] = {preload ? must_format("LD_PRELOAD=%s", preload) : NULL, NULL};
    return make_environment(values);
}

static char **our_environment(const struct settings *settings, const char *preload,
                              const char *folder)
{
    const char *values[6] = {NULL};
    size_t count = 0;
    values[count++] = must_format("LD_PRELOAD=%s", preload);
    values[count++] = must_format("SMOLSCALE_STATS=%s/%%p", folder);
    // Only how many jobs ran is asked: what is measured is the run that nobody observes.
    values[count++] = must_copy("SMOLSCALE_TIMES=0");
    if (settings->policy)
        values[count++] = must_format("SMOLSCALE_POLICY=%s", settings->policy);
    if (settings->workers)
        values[count++] = must_format("SMOLSCALE_WORKERS=%s", settings->workers);
    return make_environment(values);
}

// ---- the rounds ----

struct state {
    struct run native, ours;
    const char *folder;
    struct measurement *native_results, *our_results; // element 0 is the warm-up
    double *jobs;
};

static void run_side(struct state *state, bool ours, size_t round)
{
    int err = measure(ours ? &state->ours : &state->native,
                      ours ? &state->our_results[round] : &state->native_results[round]);
    if (ours)
        state->jobs[round] = take_jobs(state->folder);
    if (!err)
        return;
    take_jobs(state->folder);
    rmdir(state->folder);
    if (err == -EINTR)
        measure_interrupted();
    fail(err == -ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE, "%s: %s",
         state->native.command[0], strerror(-err));
}

static void run_rounds(struct state *state, size_t rounds)
{
    bool progress = isatty(STDERR_FILENO);
    for (size_t round = 0; round <= rounds; round++) {
        if (progress && round)
            fprintf(stderr, "\rround %zu of %zu", round, rounds);
        else if (progress)
            fputs("warming up", stderr);
        run_side(state, round % 2, round);
        run_side(state, !(round % 2), round);
    }
    if (progress)
        fputs("\r\033[K", stderr);
}

// What each run gets as standard input: the file that ours is, by an offset of its own, else
// nothing.
static int open_input(void)
{
    struct stat stat;
    int fd = -1;
    if (fstat(STDIN_FILENO, &stat) == 0 && S_ISREG(stat.st_mode))
        fd = open("/proc/self/fd/0", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail(STATUS_FAILED, "/dev/null: %s", strerror(errno));
    return fd;
}

static void must_be_capturable(const char *command)
{
    struct program program;
    program_must_examine(command, &program);
    if (program.obstacle && program.obstacle != OBSTACLE_NOT_ELF)
        fail(STATUS_FAILED, "%s: %s: nothing can be preloaded, so there is nothing to compare",
             command, program.detail);
    program_finish(&program);
}

int command_compare(int argc, char **argv)
{
    struct arguments arguments = {.rounds = 7};
    if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &arguments))
        return STATUS_FAILED;
    must_be_capturable(arguments.settings.command[0]);

    size_t places = arguments.rounds + 1;
    int input = open_input();
    char *preload = preload_value(&arguments.settings, getenv("LD_PRELOAD"));
    char *folder = make_folder();
    struct state state = {
        .native = {arguments.settings.command, native_environment(), input, arguments.time_limit},
        .ours = {arguments.settings.command, our_environment(&arguments.settings, preload, folder),
                 input, arguments.time_limit},
        .folder = folder,
        .native_results = must_alloc(places * sizeof(struct measurement)),
        .our_results = must_alloc(places * sizeof(struct measurement)),
        .jobs = must_alloc(places * sizeof(double)),
    };
    measure_init();
    run_rounds(&state, arguments.rounds);
    rmdir(folder);

    struct comparison comparison = {
        .command = arguments.settings.command,
        .rounds = arguments.rounds,
        .native = state.native_results + 1,
        .ours = state.our_results + 1,
        .jobs = state.jobs + 1,
    };
    if (arguments.json)
        report_json(&comparison);
    else
        report_table(&comparison);
    return report_same(&comparison) ? 0 : DIFFERENT;
}
