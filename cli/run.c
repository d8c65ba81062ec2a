// SPDX-License-Identifier: ISC
//
// smolscale run: sets a command's environment and becomes the command. Nothing of smolscale stays
// between the caller and the command: process id, exit status, signals and terminal are the
// command's own.

#include "cli.h"
#include "environment.h"
#include "loader.h"
#include "program.h"

#include <argp.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct arguments {
    struct settings settings;
    const char *stats, *trace; // NULL: none
    bool no_top, dry_run, verbose;
};

enum { NO_TOP = 256 };

static const struct argp_option options[] = {
    {"stats", 's', "FILE", OPTION_ARG_OPTIONAL,
     "when a process ends, write its counters to FILE, or to standard error; %p in FILE stands for the process id, and .%p is "
     "added to a name that has none",
     0},
    {"trace", 't', "FILE", 0,
     "when a process ends, write a trace of its jobs and workers to FILE, for smolscale report and smolscale export; %p as for "
     "--stats",
     0},
    {"no-top", NO_TOP, NULL, 0, "the processes cannot be looked at by 'smolscale top'", 0},
    {"dry-run", 'n', NULL, 0, "print the command as a line for the shell and run nothing", 0},
    {"verbose", 'v', NULL, 0,
     "write to standard error what is preloaded, and at the end the counters", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->settings;
        return 0;
    case 's':
        arguments->stats = argument ? argument : "/dev/stderr";
        if (!*arguments->stats)
            argp_error(state, "--stats: the name of the file is empty");
        return 0;
    case 't':
        arguments->trace = argument;
        if (!*arguments->trace)
            argp_error(state, "--trace: the name of the file is empty");
        return 0;
    case NO_TOP:
        arguments->no_top = true;
        return 0;
    case 'n':
        arguments->dry_run = true;
        return 0;
    case 'v':
        arguments->verbose = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse,
    NULL, // the command is settings_parser's
    "Runs COMMAND with its thread pools on smolscale: sets LD_PRELOAD, and becomes COMMAND.\v"
    "The exit status is that of the command. It is 125 if smolscale itself fails, 126 if the command cannot be executed, and 127 "
    "if it is not found.",
    settings_parser,
    NULL,
    NULL,
};

// ---- the environment ----

// The file of SMOLSCALE_STATS or SMOLSCALE_TRACE. The command may change its folder before it ends,
// so the name is made absolute; and processes do not write into one another's file.
static char *path_of_process(const char *name)
{
    if (strncmp(name, "/dev/", 5) == 0)
        return must_copy(name);
    const char *mark = strstr(name, "%p") ? "" : ".%p";
    char *folder = *name == '/' ? NULL : getcwd(NULL, 0);
    // A folder with "%p" in its own name cannot be spelled out: the first one in the value is
    // replaced.
    char *path = folder && !strstr(folder, "%p") ? must_format("%s/%s%s", folder, name, mark)
                                                 : must_format("%s%s", name, mark);
    free(folder);
    return path;
}

// A word as a POSIX shell reads it back.
static void print_quoted(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "%+,-./:=@_";
    if (*word && word[strspn(word, plain)] == '\0') {
        fputs(word, stdout);
        return;
    }
    putchar('\'');
    for (; *word; word++) {
        if (*word == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*word);
    }
    putchar('\'');
}

// Sets a variable or, in a dry run, prints that it would be set.
static void set(const struct arguments *arguments, const char *name, const char *value)
{
    if (!arguments->dry_run) {
        if (setenv(name, value, 1))
            fail(STATUS_FAILED, "cannot set %s: %s", name, strerror(errno));
        return;
    }
    printf("%s=", name);
    print_quoted(value);
    putchar(' ');
}

static void say_obstacle(const char *command, const struct program *program)
{
    if (program->obstacle == OBSTACLE_NOT_ELF)
        return; // a shell may well run it, and what that starts is captured
    bool script = program->interpreter_count > 0;
    complain("%s%s%s: %s: nothing can be preloaded, it runs as natively", command,
             script ? ", which runs " : "", script ? program->object : "", program->detail);
}

// The dynamic linker would say it too, later and in other words.
static void say_missing(const char *command, const char *object)
{
    struct closure closure;
    if (closure_load(object, &closure))
        return;
    for (size_t i = 0; i < closure.missing_count; i++) {
        const struct missing *missing = &closure.missing[i];
        if (strcmp(missing->wanted_by, object) == 0)
            complain("%s needs the library %s, which is not found", command, missing->name);
        else
            complain("%s needs %s, which needs the library %s, which is not found", command,
                     last_part(missing->wanted_by), missing->name);
    }
    closure_finish(&closure);
}

static void set_environment(const struct arguments *arguments, const struct program *program)
{
    if (!program->obstacle || program->obstacle == OBSTACLE_NOT_ELF) {
        char *preload = preload_value(&arguments->settings, getenv("LD_PRELOAD"));
        set(arguments, "LD_PRELOAD", preload);
        if (arguments->verbose)
            complain("LD_PRELOAD=%s", preload);
        free(preload);
    }
    if (arguments->settings.policy)
        set(arguments, "SMOLSCALE_POLICY", arguments->settings.policy);
    if (arguments->settings.workers)
        set(arguments, "SMOLSCALE_WORKERS", arguments->settings.workers);
    if (arguments->no_top)
        set(arguments, "SMOLSCALE_TOP", "0");
    else if (!getenv("SMOLSCALE_TOP"))
        set(arguments, "SMOLSCALE_TOP", "1");
    if (arguments->verbose)
        set(arguments, "SMOLSCALE_VERBOSE", "1");
    if (arguments->stats) {
        char *path = path_of_process(arguments->stats);
        set(arguments, "SMOLSCALE_STATS", path);
        free(path);
    }
    if (arguments->trace) {
        char *path = path_of_process(arguments->trace);
        set(arguments, "SMOLSCALE_TRACE", path);
        free(path);
    }
}

int command_run(int argc, char **argv)
{
    struct arguments arguments = {0};
    if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &arguments))
        return STATUS_FAILED;
    const char *command = arguments.settings.command[0];
    struct program program;
    program_must_examine(command, &program);
    if (program.obstacle)
        say_obstacle(command, &program);
    else
        say_missing(command, program.object);
    set_environment(&arguments, &program);
    program_finish(&program);
    if (arguments.dry_run) {
        for (char **word = arguments.settings.command; *word; word++) {
            print_quoted(*word);
            putchar(word[1] ? ' ' : '\n');
        }
        return 0;
    }
    execvp(command, arguments.settings.command);
    int err = errno;
    fail(err == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE, "%s: %s", command,
         strerror(err));
}
