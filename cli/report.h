// SPDX-License-Identifier: ISC
//
// What `compare` says of its measurements: as a table with a verdict, or as JSON.

#ifndef SMOLSCALE_CLI_REPORT_H
#define SMOLSCALE_CLI_REPORT_H

#include "measure.h"

#include <stdbool.h>
#include <stddef.h>

// The measurements of all rounds: element i of both lists is from round i.
struct comparison {
    char **command;
    size_t rounds;
    const struct measurement *native, *ours;
    const double *jobs; // that ran on smolscale; below zero: the command left no statistics
};

void report_table(const struct comparison *comparison);
void report_json(const struct comparison *comparison);

// Whether output and exit status on smolscale are as natively, where they are the same in every
// native run.
bool report_same(const struct comparison *comparison);

#endif // SMOLSCALE_CLI_REPORT_H
