// SPDX-License-Identifier: ISC
//
// The reader of what SMOLSCALE_STATS leaves: lines `NAME VALUE`. The file is untrusted, as any
// process of the command may write into its folder.

#ifndef SMOLSCALE_CLI_COUNTERS_H
#define SMOLSCALE_CLI_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct counter {
    char name[256];
    uint64_t value;
};

// Reads on to the next line that is a counter. False: there is none. Lines of another form, or that
// are too long, are passed over.
bool counters_next(FILE *file, struct counter *counter);

#endif // SMOLSCALE_CLI_COUNTERS_H
