// SPDX-License-Identifier: ISC
//
// The command line and the output of `report` and `export`; see output.h.

#include "output.h"

#include "cli.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct argp_option output_options[] = {
    {"output", 'o', "FILE", 0, "write to this file; -: to standard output", 0},
    {0},
};

error_t output_parse(int key, char *argument, struct argp_state *state)
{
    struct output_arguments *arguments = state->input;
    switch (key) {
    case 'o':
        if (!*argument)
            argp_error(state, "--output: the name of the file is empty");
        arguments->output = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->file)
            argp_error(state, "one file is expected");
        arguments->file = argument;
        return 0;
    case ARGP_KEY_END:
        if (!arguments->file)
            argp_error(state, "the file of a trace is expected");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static bool to_stdout(const struct output_arguments *arguments)
{
    return strcmp(arguments->output, "-") == 0;
}

// Also by another name.
static bool is_the_trace(const struct output_arguments *arguments)
{
    struct stat trace, output;
    return stat(arguments->file, &trace) == 0 && stat(arguments->output, &output) == 0 &&
           trace.st_dev == output.st_dev && trace.st_ino == output.st_ino;
}

FILE *output_must_open(struct output_arguments *arguments)
{
    if (!arguments->output)
        arguments->output = must_format("%s%s", arguments->file, arguments->suffix);
    if (to_stdout(arguments))
        return stdout;
    if (is_the_trace(arguments))
        fail(STATUS_FAILED, "%s: it is the trace itself, which would be lost", arguments->output);
    FILE *out = fopen(arguments->output, "we");
    if (!out)
        fail(STATUS_FAILED, "%s: %s", arguments->output, strerror(errno));
    return out;
}

void output_must_close(const struct output_arguments *arguments, FILE *out)
{
    if (to_stdout(arguments))
        return; // main() looks whether it got there
    bool failed = ferror(out);
    if (fclose(out) || failed)
        fail(STATUS_FAILED, "cannot write to %s: %s", arguments->output, strerror(errno));
    complain("wrote %s", arguments->output);
}

void output_json_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c < ' ' || *c > '~' || *c == '<' || *c == '&')
            fprintf(out, "\\u%04x", *c);
        else
            fputc(*c, out);
    }
    fputc('"', out);
}

void output_html_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<' || *text == '&' || *text == '"')
            fprintf(out, "&#%d;", *text);
        else
            fputc(*text, out);
    }
}
