// SPDX-License-Identifier: ISC
//
// A plug-in that the static library is linked into is closed while its threads live:
// `test-plugin PLUGIN...`.

#include <check.h>
#include <dlfcn.h>
#include <stdlib.h>

static char **paths;

static void *open_plugin(const char *path, int flags)
{
    return dlopen(path, RTLD_NOW | RTLD_LOCAL | flags);
}

static void use(void *plugin)
{
    void (*function)(void) = (void (*)(void))dlsym(plugin, "plugin_use");
    ck_assert_ptr_nonnull(function);
    function();
}

START_TEST(a_plugin_that_was_used_stays_for_its_threads_when_it_is_closed)
{
    void *plugin = open_plugin(paths[_i], 0);
    ck_assert_msg(plugin != NULL, "%s", dlerror());
    use(plugin);
    ck_assert_int_eq(dlclose(plugin), 0);
    // Its workers are still there.
    plugin = open_plugin(paths[_i], RTLD_NOLOAD);
    ck_assert_msg(plugin != NULL, "the plug-in was unloaded");
    use(plugin);
}
END_TEST

START_TEST(a_plugin_that_was_not_used_goes)
{
    void *plugin = open_plugin(paths[0], 0);
    ck_assert_msg(plugin != NULL, "%s", dlerror());
    ck_assert_int_eq(dlclose(plugin), 0);
    ck_assert_ptr_null(open_plugin(paths[0], RTLD_NOLOAD));
}
END_TEST

int main(int argc, char **argv)
{
    if (argc < 2)
        return EXIT_FAILURE;
    paths = argv + 1;
    Suite *suite = suite_create("plugin");
    TCase *tcase = tcase_create("plugin");
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, a_plugin_that_was_used_stays_for_its_threads_when_it_is_closed, 0,
                        argc - 1);
    tcase_add_test(tcase, a_plugin_that_was_not_used_goes);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
