// SPDX-License-Identifier: ISC
//
// smolscale options: the environment variables, from the core's own table, and what this
// environment sets.

#include "os/options.h" // the core's
#include "cli.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static error_t parse(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    if (key == ARGP_KEY_ARG)
        argp_error(state, "no argument is expected");
    return ARGP_ERR_UNKNOWN;
}

static const struct argp argp = {
    NULL,
    parse,
    NULL,
    "Lists the environment variables that smolscale knows, with their values, default and meaning, and the value that is set now.",
    NULL,
    NULL,
    NULL,
};

// Prints a text in lines of at most `width` bytes, each after `indent` spaces.
static void print_wrapped(const char *text, int indent, int width)
{
    while (*text) {
        size_t length = strlen(text);
        if (length > (size_t)width) {
            length = (size_t)width;
            while (length && text[length] != ' ')
                length--;
            if (!length)
                length = strcspn(text, " ");
        }
        printf("%*s%.*s\n", indent, "", (int)length, text);
        text += length;
        text += strspn(text, " ");
    }
}

int command_options(int argc, char **argv)
{
    if (argp_parse(&argp, argc, argv, 0, NULL, NULL))
        return STATUS_FAILED;
    const struct ss_option_help *option;
    for (unsigned i = 0; (option = ss_option_help(i)); i++) {
        const char *set = getenv(option->name);
        printf("%s\n    %s; default: %s\n", option->name, option->values, option->fallback);
        if (set && *set)
            printf("    set to: %s\n", set);
        print_wrapped(option->meaning, 4, 76);
    }
    return 0;
}
