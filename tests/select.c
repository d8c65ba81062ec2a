// SPDX-License-Identifier: ISC
//
// Linked into every Check program, in front of the function that adds a test to a case: a single
// test can be run by its name, whatever case it stands in, and the tests can be listed without
// running them.
//
//     TEST_ONLY=name PROGRAM   runs that test alone (all rounds of it)
//     TEST_LIST=1 PROGRAM      prints the tests' names, one a line, and runs none
//
// Check itself selects only whole cases (CK_RUN_CASE). tests/shaken.py needs both.

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void __real__tcase_add_test(TCase *tcase, const TTest *test, int signal, int exit_value, int start,
                            int end);
void __wrap__tcase_add_test(TCase *tcase, const TTest *test, int signal, int exit_value, int start,
                            int end);

// The linker puts it in place of _tcase_add_test(): -Wl,--wrap.
void __wrap__tcase_add_test(TCase *tcase, const TTest *test, int signal, int exit_value, int start,
                            int end)
{
    const char *only = getenv("TEST_ONLY");
    if (getenv("TEST_LIST"))
        puts(test->name);
    else if (!only || strcmp(only, test->name) == 0)
        __real__tcase_add_test(tcase, test, signal, exit_value, start, end);
}
