// SPDX-License-Identifier: ISC
//
// What `report` and `export` share: their command line, and the file that they write.

#ifndef SMOLSCALE_CLI_OUTPUT_H
#define SMOLSCALE_CLI_OUTPUT_H

#include <argp.h>
#include <stdio.h>

struct output_arguments {
    const char *suffix; // set by the caller: that of a name which is not given
    char *file;         // what is read
    char *output;       // NULL: `file` and the suffix; "-": standard output
};

extern const struct argp_option output_options[];
error_t output_parse(int key, char *argument, struct argp_state *state);

// Each ends the process if it cannot. Closing says on standard error what was written.
FILE *output_must_open(struct output_arguments *arguments);
void output_must_close(const struct output_arguments *arguments, FILE *out);

// A text as a JSON string, which may also stand in a script in HTML.
void output_json_text(FILE *out, const char *text);

// A text in HTML.
void output_html_text(FILE *out, const char *text);

#endif // SMOLSCALE_CLI_OUTPUT_H
