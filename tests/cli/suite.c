// SPDX-License-Identifier: ISC

#include "suite.h"

#include <stdio.h>

int run_tests(const char *name, double seconds, const TTest *const *tests)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create("all");
    tcase_set_timeout(tcase, seconds);
    for (; *tests; tests++)
        tcase_add_test(tcase, *tests);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner), run = srunner_ntests_run(runner);
    printf("%d passed, %d failed\n", run - failed, failed);
    srunner_free(runner);
    return failed != 0;
}
