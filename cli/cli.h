// SPDX-License-Identifier: ISC
//
// What the files of the `smolscale` command share: its subcommands, its exit statuses, its way to
// complain.

#ifndef SMOLSCALE_CLI_H
#define SMOLSCALE_CLI_H

#include <stddef.h>

// A wrapper's own failures have the statuses that env(1), nohup(1) and nice(1) give them, so that
// they can be told from those of the command it runs.
enum {
    STATUS_FAILED = 125,         // smolscale itself failed, or was not called correctly
    STATUS_NOT_EXECUTABLE = 126, // the command was found but cannot be executed
    STATUS_NOT_FOUND = 127,      // the command was not found
};

// The subcommands. argv[0] is the subcommand's whole name, "smolscale run"; the result is an exit
// status.
int command_run(int argc, char **argv);
int command_compare(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_report(int argc, char **argv);
int command_export(int argc, char **argv);
int command_top(int argc, char **argv);
int command_options(int argc, char **argv);

// One line on stderr, after "smolscale: ".
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);
// The same, then the process ends.
_Noreturn __attribute__((format(printf, 2, 3))) void fail(int status, const char *format, ...);

// Memory, or the process ends: each subcommand is short-lived and cannot do without.
void *must_alloc(size_t size); // zeroed
void *must_grow(void *memory, size_t count, size_t size);
char *must_copy(const char *text);
__attribute__((format(printf, 1, 2))) char *must_format(const char *format, ...);

// The last part of a path.
const char *last_part(const char *path);

#endif // SMOLSCALE_CLI_H
