// SPDX-License-Identifier: ISC
//
// What `run` and `compare` change in a command's environment, and the part of their command lines
// that decides it: options, and the command behind them.

#ifndef SMOLSCALE_CLI_ENVIRONMENT_H
#define SMOLSCALE_CLI_ENVIRONMENT_H

#include <argp.h>
#include <stdbool.h>

struct settings {
    unsigned layers;     // a set, see layers.h
    const char *policy;  // NULL: as it is in the environment
    const char *workers; // NULL: as it is in the environment
    char **command;      // with its arguments; NULL at the end
};

// --only, --policy, --workers and the command, which must be there and ends the options: the child
// parser for argp's `children`. Its input is a struct settings, which it fills.
extern const struct argp_child settings_parser[];

// The value of LD_PRELOAD with the libraries of these layers at its end. `existing` may be NULL;
// what is in it stays where it is, and is not named twice. Ends the process if a layer that was
// asked for by name is not there, or if the dynamic linker could not read the path of one. To be
// freed.
char *preload_value(const struct settings *settings, const char *existing);

// The value of LD_PRELOAD without any library of smolscale; NULL if nothing is left. To be freed.
char *native_preload_value(const char *existing);

#endif // SMOLSCALE_CLI_ENVIRONMENT_H
