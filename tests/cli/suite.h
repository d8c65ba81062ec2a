// SPDX-License-Identifier: ISC
//
// The main part of the command's test programs in C.

#ifndef CLI_SUITE_H
#define CLI_SUITE_H

#include <check.h>

// Runs the tests, up to a NULL, each for so many seconds at most. Returns the program's status.
int run_tests(const char *name, double seconds, const TTest *const *tests);

#endif // CLI_SUITE_H
