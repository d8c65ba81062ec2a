// SPDX-License-Identifier: ISC
//
// Linked into every Check program, in front of the function that adds a test to a case: a single
// test can be run by its name, whatever case it stands in, and the tests can be listed without
// running them.
//
//     TEST_ONLY=name PROGRAM     runs that test alone (all rounds of it)
//     TEST_SKIP=name,... PROGRAM runs all tests but these
//     TEST_LIST=1 PROGRAM        prints the tests' names, one a line, and runs none
//
// Check itself selects only whole cases (CK_RUN_CASE). tests/shaken.py and tests/valgrind need this.

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void __real__tcase_add_test(TCase *tcase, const TTest *test, int signal, int exit_value, int start,
                            int end);
void __wrap__tcase_add_test(TCase *tcase, const TTest *test, int signal, int exit_value, int start,
                            int end);

// Whether `list`, of names between commas, has the name.
static int lists(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return 1;
    }
    return 0;
}

// The linker puts it in place of _tcase_add_test(): -Wl,--wrap.
void __wrap__tcase_add_test(TCase *tcase, const TTest *test, int signal, int exit_value, int start,
                            int end)
{
    const char *only = getenv("TEST_ONLY"), *skipped = getenv("TEST_SKIP");
    if (getenv("TEST_LIST"))
        puts(test->name);
    else if ((!only || strcmp(only, test->name) == 0) && !lists(skipped, test->name))
        __real__tcase_add_test(tcase, test, signal, exit_value, start, end);
}
