// SPDX-License-Identifier: ISC
//
// The names of the files that a process leaves at its end.

#ifndef SS_PATH_H
#define SS_PATH_H

#include <stdbool.h>
#include <stddef.h>

#define SS_PATH_SIZE 4096

// `pattern` with its first "%p" replaced by the process id. False: it does not fit.
bool ss_path_of_process(const char *pattern, char *path, size_t size);

// A line on standard error: `option` cannot be obeyed, since `path` cannot be written.
void ss_path_complain(const char *option, const char *path, int err);

#endif // SS_PATH_H
