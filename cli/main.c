// SPDX-License-Identifier: ISC
//
// smolscale SUBCOMMAND: finds the subcommand and calls it. Each has a file of its own.

#include "cli.h"
#include "config.h"

#include <argp.h>
#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct subcommand {
    const char *name;
    int (*call)(int argc, char **argv);
    const char *purpose;
} subcommands[] = {
    {"run", command_run, "run a command with its thread pools on smolscale"},
    {"compare", command_compare, "run a command natively and on smolscale in turn, and compare"},
    {"doctor", command_doctor, "say which thread pools a program uses, and which are captured"},
    {"report", command_report, "show a trace as a page of HTML"},
    {"export", command_export, "write a trace as JSON for Perfetto and chrome://tracing"},
    {"top", command_top, "show what a process on smolscale does now"},
    {"options", command_options, "list the environment variables"},
};
enum { SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

const char *argp_program_version = "smolscale " CLI_VERSION;

static void print_help(FILE *file)
{
    fputs("Usage: smolscale SUBCOMMAND [OPTION...] ...\n"
          "  or:  smolscale --help | --version\n\n",
          file);
    for (size_t i = 0; i < SUBCOMMANDS; i++)
        fprintf(file, "  %-9s %s\n", subcommands[i].name, subcommands[i].purpose);
    fputs("\nSee smolscale SUBCOMMAND --help, and the man pages smolscale(1) and smolscale(7).\n",
          file);
}

// What was asked for went to stdout; whether it got there is part of the result. At exit, for
// argp's help ends the program, too.
static void check_output(void)
{
    if (!fflush(stdout) && !ferror(stdout))
        return;
    complain("cannot write to standard output: %s", strerror(errno));
    _exit(STATUS_FAILED);
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, ""); // numbers stay in the C locale
    argp_err_exit_status = STATUS_FAILED;
    if (atexit(check_output))
        fail(STATUS_FAILED, "no memory");
    if (argc < 2) {
        print_help(stderr);
        return STATUS_FAILED;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-?") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        puts(argp_program_version);
        return 0;
    }
    for (size_t i = 0; i < SUBCOMMANDS; i++) {
        if (strcmp(name, subcommands[i].name) == 0) {
            argv[1] = must_format("smolscale %s", name);
            return subcommands[i].call(argc - 1, argv + 1);
        }
    }
    complain("there is no subcommand '%s'; smolscale --help lists them", name);
    return STATUS_FAILED;
}

// ---- what all share ----

static void say(const char *format, va_list arguments)
{
    fflush(stdout);
    fputs("smolscale: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
}

void fail(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    exit(status);
}

static void *checked(void *memory)
{
    if (!memory)
        fail(STATUS_FAILED, "no memory");
    return memory;
}

void *must_alloc(size_t size)
{
    return checked(calloc(1, size ? size : 1));
}

void *must_grow(void *memory, size_t count, size_t size)
{
    return checked(reallocarray(memory, count ? count : 1, size));
}

char *must_copy(const char *text)
{
    return checked(strdup(text));
}

char *must_format(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text;
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    return checked(length < 0 ? NULL : text);
}

const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}
