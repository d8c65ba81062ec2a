// SPDX-License-Identifier: ISC
//
// What only the preloaded library has to do: requests that reach libuv past it, a libuv that came
// by dlopen(RTLD_LOCAL), one that it does not know, and callers without any. Run preloaded;
// `test-libuv-preload PLUGIN FOREIGN`, which itself links no libuv (see plugin.c and foreign.c).

#include <check.h>
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>

static const char *plugin_path, *foreign_path;

static int call_plugin(const char *name)
{
    void *plugin = dlopen(plugin_path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(plugin != NULL, "%s", dlerror());
    // That is the point: libuv is loaded, but in no global scope.
    ck_assert_ptr_null(dlsym(RTLD_NEXT, "uv_loop_init"));
    int (*function)(void) = (int (*)(void))dlsym(plugin, name);
    ck_assert_ptr_nonnull(function);
    return function();
}

START_TEST(a_libuv_of_a_plugin_in_a_local_scope_is_found)
{
    ck_assert_int_eq(call_plugin("plugin_use_pool"), 0);
}
END_TEST

START_TEST(requests_past_the_layer_are_served_by_libuvs_own_threads)
{
    ck_assert_int_eq(call_plugin("plugin_past_the_layer"), 0);
}
END_TEST

START_TEST(requests_past_the_layer_and_others_mix)
{
    ck_assert_int_eq(call_plugin("plugin_mix"), 0);
}
END_TEST

START_TEST(requests_past_the_layer_are_cancelled_by_libuv)
{
    ck_assert_int_eq(call_plugin("plugin_cancel_past_the_layer"), 0);
}
END_TEST

static void use_foreign_libuv(void)
{
    void *plugin = dlopen(foreign_path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(plugin != NULL, "%s", dlerror());
    int (*function)(void) = (int (*)(void))dlsym(plugin, "foreign_use");
    ck_assert_ptr_nonnull(function);
    ck_assert_int_eq(function(), 0);
    ck_assert_int_eq(dlclose(plugin), 0);
}

START_TEST(a_libuv_of_a_version_to_come_is_left_alone)
{
    use_foreign_libuv();
    use_foreign_libuv();
}
END_TEST

START_TEST(a_libuv_of_a_version_to_come_is_left_alone_beside_one_that_is_served)
{
    ck_assert_int_eq(call_plugin("plugin_use_pool"), 0);
    use_foreign_libuv();
    ck_assert_int_eq(call_plugin("plugin_mix"), 0);
}
END_TEST

// ---- what it costs those who use no libuv

struct look {
    int (*at)(struct dl_phdr_info *info, size_t size, void *data);
    void *data;
};

static unsigned objects_looked_at;

static int count_look(struct dl_phdr_info *info, size_t size, void *data)
{
    const struct look *look = data;
    objects_looked_at++;
    return look->at(info, size, look->data);
}

// In the place of libc's, which it calls.
int dl_iterate_phdr(int (*at)(struct dl_phdr_info *info, size_t size, void *data), void *data)
{
    int (*libc)(int (*)(struct dl_phdr_info *, size_t, void *), void *) =
        (int (*)(int (*)(struct dl_phdr_info *, size_t, void *), void *))dlsym(RTLD_NEXT,
                                                                               "dl_iterate_phdr");
    struct look look = {at, data};
    return libc(count_look, &look);
}

START_TEST(who_has_no_libuv_is_looked_for_once_until_something_is_unloaded)
{
    ck_assert_int_eq(call_plugin("plugin_make_descriptor"), 0);
    ck_assert_uint_gt(objects_looked_at, 3); // all that were loaded before it
    unsigned searched = objects_looked_at;
    for (unsigned i = 0; i < 10; i++)
        ck_assert_int_eq(call_plugin("plugin_make_descriptor"), 0);
    ck_assert_uint_le(objects_looked_at - searched, 10);
    void *other = dlopen(foreign_path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_ptr_nonnull(other);
    ck_assert_int_eq(dlclose(other), 0);
    searched = objects_looked_at;
    ck_assert_int_eq(call_plugin("plugin_make_descriptor"), 0);
    ck_assert_uint_gt(objects_looked_at - searched, 3);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc != 3)
        return EXIT_FAILURE;
    plugin_path = argv[1];
    foreign_path = argv[2];
    Suite *suite = suite_create("preload");
    TCase *tcase = tcase_create("preload");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, a_libuv_of_a_plugin_in_a_local_scope_is_found);
    tcase_add_test(tcase, requests_past_the_layer_are_served_by_libuvs_own_threads);
    tcase_add_test(tcase, requests_past_the_layer_and_others_mix);
    tcase_add_test(tcase, requests_past_the_layer_are_cancelled_by_libuv);
    tcase_add_test(tcase, who_has_no_libuv_is_looked_for_once_until_something_is_unloaded);
    tcase_add_test(tcase, a_libuv_of_a_version_to_come_is_left_alone);
    tcase_add_test(tcase, a_libuv_of_a_version_to_come_is_left_alone_beside_one_that_is_served);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
