// SPDX-License-Identifier: ISC
//
// Linked into every Check program, in front of two functions of Check (-Wl,--wrap).
//
// A single test can be run by its name, whatever case it stands in, and the tests can be listed
// without running them. Check itself selects only whole cases (CK_RUN_CASE). tests/shaken.py and
// tests/valgrind need this.
//
//     TEST_ONLY=name PROGRAM     runs that test alone (all rounds of it)
//     TEST_SKIP=name,... PROGRAM runs all tests but these
//     TEST_LIST=1 PROGRAM        prints the tests' names, one a line, and runs none
//
// An assertion that holds costs a system call only the first time. Check writes its place to a
// pipe each time, in case the test crashes later, and a loop may have a million of them. Where a
// test has crashed, Check now names the place that was reached for the first time last.

#include <check.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
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

void __wrap__tcase_add_test(TCase *tcase, const TTest *test, int signal, int exit_value, int start,
                            int end)
{
    const char *only = getenv("TEST_ONLY"), *skipped = getenv("TEST_SKIP");
    if (getenv("TEST_LIST"))
        puts(test->name);
    else if ((!only || strcmp(only, test->name) == 0) && !lists(skipped, test->name))
        __real__tcase_add_test(tcase, test, signal, exit_value, start, end);
}

void __real__mark_point(const char *file, int line);
void __wrap__mark_point(const char *file, int line);

// Two places may share a mark: then one of them is not reported.
void __wrap__mark_point(const char *file, int line)
{
    enum { PLACES = 8192 };
    static atomic_bool reached[PLACES];
    atomic_bool *mark = &reached[((uintptr_t)file * 31 + (uintptr_t)line) % PLACES];
    if (!atomic_load_explicit(mark, memory_order_relaxed) && !atomic_exchange(mark, true))
        __real__mark_point(file, line);
}
