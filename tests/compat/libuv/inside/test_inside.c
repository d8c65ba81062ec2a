// SPDX-License-Identifier: ISC
//
// The parts that serve a libuv inside of an object, each by itself: object reader, finder, checks,
// layout, change of code. The program has a libuv inside: it is linked with libuv's archive, and
// exports its names.

#include <check.h>
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "code.h"
#include "examine.h"
#include "layout.h"
#include "victim.h"

#define SET_MDWE    65 // PR_SET_MDWE
#define REFUSE_GAIN 1
#define SYS_MSEAL   462

extern void *const users_kept[];

// Of libuv's archive, where they are no secret.
void uv__work_submit(void);
void uv__threadpool_cleanup(void);
void uv__work_done(void);

// So that all users of the pool are linked.
void *const users_kept[] = {(void *)uv_fs_stat, (void *)uv_getaddrinfo, (void *)uv_getnameinfo,
                            (void *)uv_random};

static struct ss_loaded own; // this program
static struct ss_file file;
static struct ss_object memory, disk;

static void open_own(void)
{
    ck_assert(ss_loaded_at(&own, (uintptr_t)&open_own));
    ck_assert(ss_file_open(&file, own.path));
    ck_assert(ss_object_of_memory(&memory, own.base, own.headers, own.header_count));
    ck_assert(ss_object_of_file(&disk, &file));
}

static void close_own(void)
{
    ss_file_close(&file);
}

static uintptr_t here(uint64_t address)
{
    return memory.base + address;
}

// ---------------------------------------------------------------------------------------------
// Object reader
// ---------------------------------------------------------------------------------------------

START_TEST(exports_are_found_as_the_loader_finds_them)
{
    for (unsigned i = 0; i < SS_CALLED_COUNT; i++) {
        struct ss_symbol symbol = ss_object_export(&memory, ss_called_names[i]);
        ck_assert_uint_eq(symbol.found, 1);
        ck_assert(symbol.function);
        ck_assert_ptr_eq((void *)here(symbol.address), dlsym(RTLD_DEFAULT, ss_called_names[i]));
        struct ss_symbol on_disk = ss_object_export(&disk, ss_called_names[i]);
        ck_assert_uint_eq(on_disk.address, symbol.address);
    }
}
END_TEST

START_TEST(what_is_not_there_is_not_found)
{
    ck_assert_uint_eq(ss_object_export(&memory, "uv_no_such_function").found, 0);
    ck_assert_uint_eq(ss_object_export(&memory, "").found, 0);
    ck_assert_uint_eq(ss_object_export(&memory, "gnu_get_libc_version").found,
                      0); // used, not defined
    ck_assert_ptr_null(ss_object_at(&memory, UINT64_MAX, 1));
    ck_assert_ptr_null(ss_object_at(&memory, memory.segment[0].address, UINT64_MAX));
    ck_assert_ptr_null(ss_object_string(&memory, UINT64_MAX));
}
END_TEST

START_TEST(the_file_is_told_from_another)
{
    struct ss_file other;
    ck_assert(ss_file_has_headers(&file, own.headers, own.header_count));
    ck_assert(!ss_file_has_headers(&file, own.headers, own.header_count - 1));
    ck_assert(ss_file_open(&other, "/bin/sh"));
    ck_assert(!ss_file_has_headers(&other, own.headers, own.header_count));
    ss_file_close(&other);
    ck_assert(!ss_file_open(&other, "/no/such/file"));
    ck_assert(!ss_file_open(&other, "/"));
}
END_TEST

static void compare_sizes(void *context, const char *name, struct ss_symbol symbol)
{
    unsigned *compared = context;
    uint64_t size = symbol.function ? ss_object_function_size(&memory, symbol.address) : 0;

    if (size != 0) {
        ck_assert_msg(size == symbol.size, "%s: %lu by the unwind table, %lu by its symbol", name,
                      (unsigned long)size, (unsigned long)symbol.size);
        ck_assert_uint_eq(ss_object_function_size(&memory, symbol.address + 1), 0);
        (*compared)++;
    }
}

START_TEST(sizes_of_functions_are_those_of_the_symbol_table)
{
    unsigned compared = 0;
    ck_assert(ss_file_symbols(&file, "uv_", compare_sizes, &compared));
    ck_assert_uint_gt(compared, 200);
}
END_TEST

// A copy of the file's beginning, with a byte changed, or cut off.
START_TEST(a_broken_file_is_no_more_than_not_found)
{
    size_t size = file.size;
    uint8_t *bytes = malloc(size);
    struct ss_file broken = {bytes, size, false};
    struct ss_object object;
    struct ss_found found;

    memcpy(bytes, file.bytes, size);
    for (size_t at = 0; at < 1024; at++) {
        for (unsigned change = 1; change < 256; change *= 2) {
            bytes[at] ^= (uint8_t)change;
            if (ss_object_of_file(&object, &broken))
                (void)ss_find(&found, &object, &broken);
            bytes[at] ^= (uint8_t)change;
        }
    }
    for (size_t cut = 0; cut < size; cut += 1 + cut / 8) {
        // Exactly so large, so that a read behind its end is seen by the sanitizers.
        uint8_t *part = malloc(cut > 0 ? cut : 1);
        memcpy(part, bytes, cut);
        struct ss_file shorter = {part, cut, false};
        if (ss_object_of_file(&object, &shorter))
            (void)ss_find(&found, &object, &shorter);
        free(part);
    }
    free(bytes);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Finder and checks
// ---------------------------------------------------------------------------------------------

static void expect_own(const struct ss_found *found)
{
    ck_assert_uint_eq(here(found->taken[SS_TAKEN_SUBMIT].address), (uintptr_t)uv__work_submit);
    ck_assert_uint_eq(here(found->taken[SS_TAKEN_QUEUE_WORK].address), (uintptr_t)uv_queue_work);
    ck_assert_uint_eq(here(found->taken[SS_TAKEN_CANCEL].address), (uintptr_t)uv_cancel);
    ck_assert_uint_eq(here(found->taken[SS_TAKEN_CLEANUP].address),
                      (uintptr_t)uv__threadpool_cleanup);
    ck_assert_uint_eq(here(found->called[SS_CALLED_async_send].address), (uintptr_t)uv_async_send);
    ck_assert_uint_ge(found->users, 38);
}

START_TEST(the_pool_is_found_by_exported_names_alone)
{
    struct ss_found found;
    struct ss_verdict verdict = ss_find(&found, &memory, NULL);
    ck_assert_msg(verdict.reason == SS_INSIDE_SERVED, "%s", ss_verdict_text(verdict.reason));
    ck_assert(!found.by_names);
    expect_own(&found);
}
END_TEST

START_TEST(the_pool_is_found_by_the_symbol_table)
{
    struct ss_found found;
    memory.gnu_hash = 0; // it exports nothing
    struct ss_verdict verdict = ss_find(&found, &memory, &file);
    ck_assert_msg(verdict.reason == SS_INSIDE_SERVED, "%s", ss_verdict_text(verdict.reason));
    ck_assert(found.by_names);
    expect_own(&found);
    ck_assert_uint_eq(here(found.work_done), (uintptr_t)uv__work_done);
    verdict = ss_find(&found, &memory, NULL);
    ck_assert_int_eq(verdict.reason, SS_INSIDE_NO_LIBUV);
}
END_TEST

START_TEST(the_pool_is_found_in_the_shared_library)
{
    struct ss_loaded library;
    struct ss_object object;
    struct ss_found found;
    void *handle = dlopen("libuv.so.1", RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return; // only its archive is installed
    ck_assert(ss_loaded_at(&library, (uintptr_t)dlsym(handle, "uv_queue_work")));
    ck_assert(ss_object_of_memory(&object, library.base, library.headers, library.header_count));
    struct ss_verdict verdict = ss_find(&found, &object, NULL);
    ck_assert_msg(verdict.reason == SS_INSIDE_SERVED, "%s", ss_verdict_text(verdict.reason));
    // Whoever calls the entry is a user of the pool, and the entry is none of them.
    for (unsigned i = 0; i < SS_TAKEN_COUNT; i++)
        ck_assert_uint_ge(found.taken[i].size, SS_JUMP_MAX);
    // It is served by interposition.
    struct ss_libuv libuv;
    ck_assert_int_eq(ss_examine(&libuv, &library).reason, SS_INSIDE_LIBRARY);
    dlclose(handle);
}
END_TEST

START_TEST(an_object_without_libuv_is_left_alone)
{
    struct ss_loaded libc;
    struct ss_libuv libuv;
    ck_assert(ss_loaded_at(&libc, (uintptr_t)gnu_get_libc_version));
    ck_assert_int_eq(ss_examine(&libuv, &libc).reason, SS_INSIDE_NO_LIBUV);
}
END_TEST

START_TEST(all_checks_pass_for_a_libuv_of_this_program)
{
    struct ss_libuv libuv;
    struct ss_verdict verdict = ss_examine(&libuv, &own);
    ck_assert_msg(verdict.reason == SS_INSIDE_SERVED, "%s", ss_verdict_text(verdict.reason));
    ck_assert_uint_eq(libuv.version, uv_version());
    ck_assert_uint_eq(libuv.text.count, SS_TAKEN_COUNT);
}
END_TEST

// The thread sanitizer has no notes of code.
__attribute__((no_sanitize("thread"))) static void flip(uint8_t *byte)
{
    *byte ^= 0xff;
}

START_TEST(changed_code_is_left_alone)
{
    struct ss_libuv libuv;
    uint8_t *last = (uint8_t *)(uintptr_t)uv_cancel + 3;
    void *page = (void *)((uintptr_t)last & ~(uintptr_t)(sysconf(_SC_PAGESIZE) - 1));
    if (mprotect(page, 1, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        return; // this system does not allow what a debugger does
    flip(last);
    struct ss_verdict verdict = ss_examine(&libuv, &own);
    flip(last);
    ck_assert_int_eq(verdict.reason, SS_INSIDE_CHANGED);
    ck_assert_str_eq(verdict.what, "uv_cancel");
    ck_assert_int_eq(ss_examine(&libuv, &own).reason, SS_INSIDE_SERVED);
}
END_TEST

START_TEST(another_file_is_not_what_is_loaded)
{
    struct ss_libuv libuv;
    strcpy(own.path, "/bin/sh");
    ck_assert_int_eq(ss_examine(&libuv, &own).reason, SS_INSIDE_OTHER_FILE);
    strcpy(own.path, "/no/such/file");
    ck_assert_int_eq(ss_examine(&libuv, &own).reason, SS_INSIDE_UNREADABLE);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Layout
// ---------------------------------------------------------------------------------------------

static size_t wrong_size(void)
{
    return sizeof(uv_loop_t) + 8;
}

static size_t wrong_req_size(uv_req_type type)
{
    return uv_req_size(type) + (type == UV_GETNAMEINFO ? 8 : 0);
}

START_TEST(a_libuv_with_other_sizes_is_not_known)
{
    ck_assert(
        ss_layout_is_known(&(struct ss_layout_source){uv_loop_size, uv_handle_size, uv_req_size}));
    ck_assert(
        !ss_layout_is_known(&(struct ss_layout_source){wrong_size, uv_handle_size, uv_req_size}));
    ck_assert(!ss_layout_is_known(
        &(struct ss_layout_source){uv_loop_size, uv_handle_size, wrong_req_size}));
}
END_TEST

START_TEST(versions_from_1_41_on_are_known_but_no_fork_that_says_2)
{
    ck_assert(!ss_version_is_known(0x012800));
    ck_assert(ss_version_is_known(0x012900));
    ck_assert(ss_version_is_known(0x013401));
    ck_assert(!ss_version_is_known(0x020000));
}
END_TEST

START_TEST(a_fresh_loop_is_told_from_others)
{
    uv_loop_t loop;
    uv_async_cb callback;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert(ss_loop_is_fresh(&loop, &callback));
    ck_assert_ptr_eq((void *)callback, (void *)uv__work_done);
    loop.wq_async.loop = NULL;
    ck_assert(!ss_loop_is_fresh(&loop, &callback));
    loop.wq_async.loop = &loop;
    loop.wq_async.type = UV_TIMER;
    ck_assert(!ss_loop_is_fresh(&loop, &callback));
    loop.wq_async.type = UV_ASYNC;
    loop.wq_async.data = &loop;
    ck_assert(!ss_loop_is_fresh(&loop, &callback));
    loop.wq_async.data = NULL;
    ck_assert(ss_loop_is_fresh(&loop, &callback));
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Change of code
// ---------------------------------------------------------------------------------------------

static unsigned replaced_one(unsigned n)
{
    return n + 1;
}

static unsigned replaced_two(unsigned n)
{
    return n + 2;
}

static struct ss_text victims(void)
{
    return (struct ss_text){
        .site = {{.at = (uint8_t *)(uintptr_t)victim_one, .target = (const void *)replaced_one},
                 {.at = (uint8_t *)(uintptr_t)victim_two, .target = (const void *)replaced_two}},
        .count = 2,
    };
}

START_TEST(patched_functions_go_elsewhere_and_come_back)
{
    unsigned one = victim_one(5), bystander = victim_bystander(5), two = victim_two(5);
    struct ss_text text = victims();
    ck_assert(ss_text_is_near(&text));
    ck_assert_int_eq(ss_text_patch(&text), 0);
    ck_assert(ss_text_is_patched(&text));
    ck_assert_uint_eq(victim_one(5), 6);
    ck_assert_uint_eq(victim_two(5), 7);
    ck_assert_uint_eq(victim_bystander(5), bystander);
    ck_assert_int_eq(ss_text_restore(&text, 0, 1), 0); // one of them
    ck_assert(!ss_text_is_patched(&text));
    ck_assert_uint_eq(victim_one(5), one);
    ck_assert_uint_eq(victim_two(5), 7);
    ck_assert_int_eq(ss_text_restore(&text, 1, 1), 0);
    ck_assert_uint_eq(victim_two(5), two);
}
END_TEST

START_TEST(functions_far_apart_are_told)
{
    struct ss_text text = victims();
    text.site[1].at = (uint8_t *)(uintptr_t)gnu_get_libc_version;
    ck_assert(!ss_text_is_near(&text));
}
END_TEST

// What a child ends with that cannot do what the test is about.
#define CANNOT 77

static int in_child(int (*run)(void))
{
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(run());
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

// The exit status says which of what must hold does not.
static int refused_and_unchanged(void)
{
    unsigned one = victim_one(5), two = victim_two(5);
    struct ss_text text = victims();

    if (ss_text_patch(&text) >= 0)
        return 1;
    if (ss_text_is_patched(&text))
        return 2;
    return victim_one(5) == one && victim_two(5) == two ? 0 : 3;
}

static int without_new_code(void)
{
    return prctl(SET_MDWE, REFUSE_GAIN, 0, 0, 0) != 0 ? CANNOT : refused_and_unchanged();
}

static int with_sealed_code(void)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)victim_one & ~(page - 1);

    return syscall(SYS_MSEAL, begin, page, 0) != 0 ? CANNOT : refused_and_unchanged();
}

START_TEST(nothing_changes_where_new_code_is_forbidden)
{
    int status = in_child(without_new_code);
    ck_assert_msg(status == 0 || status == CANNOT, "%d", status);
}
END_TEST

START_TEST(nothing_changes_where_code_is_sealed)
{
    int status = in_child(with_sealed_code);
    ck_assert_msg(status == 0 || status == CANNOT, "%d", status);
}
END_TEST

static atomic_bool stop;
static atomic_uint calls, wrong;

static unsigned one_natively, bystander_natively;

static void *call_all_the_time(void *unused)
{
    do {
        unsigned now = victim_one(9);
        if (victim_bystander(9) != bystander_natively || (now != one_natively && now != 10))
            atomic_fetch_add(&wrong, 1);
        atomic_fetch_add(&calls, 1);
    } while (!atomic_load(&stop));
    return unused;
}

START_TEST(threads_on_the_same_pages_see_one_or_the_other)
{
    struct ss_text text = victims();
    pthread_t threads[3];
    one_natively = victim_one(9);
    bystander_natively = victim_bystander(9);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, call_all_the_time, NULL), 0);
    for (unsigned round = 0; round < 500; round++) {
        unsigned before = atomic_load(&calls);
        ck_assert_int_eq(ss_text_patch(&text), 0);
        ck_assert_int_eq(ss_text_restore(&text, 0, 2), 0);
        while (round % 50 == 0 && atomic_load(&calls) < before + 2)
            sched_yield();
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(atomic_load(&wrong), 0);
}
END_TEST

// ---------------------------------------------------------------------------------------------

static TCase *new_case(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, open_own, close_own);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("inside");
    TCase *tcase = new_case(suite, "object");
    tcase_add_test(tcase, exports_are_found_as_the_loader_finds_them);
    tcase_add_test(tcase, what_is_not_there_is_not_found);
    tcase_add_test(tcase, the_file_is_told_from_another);
    tcase_add_test(tcase, sizes_of_functions_are_those_of_the_symbol_table);
    tcase_add_test(tcase, a_broken_file_is_no_more_than_not_found);
    tcase = new_case(suite, "finder");
    tcase_add_test(tcase, the_pool_is_found_by_exported_names_alone);
    tcase_add_test(tcase, the_pool_is_found_by_the_symbol_table);
    tcase_add_test(tcase, the_pool_is_found_in_the_shared_library);
    tcase = new_case(suite, "checks");
    tcase_add_test(tcase, an_object_without_libuv_is_left_alone);
    tcase_add_test(tcase, all_checks_pass_for_a_libuv_of_this_program);
    tcase_add_test(tcase, changed_code_is_left_alone);
    tcase_add_test(tcase, another_file_is_not_what_is_loaded);
    tcase_add_test(tcase, a_libuv_with_other_sizes_is_not_known);
    tcase_add_test(tcase, versions_from_1_41_on_are_known_but_no_fork_that_says_2);
    tcase_add_test(tcase, a_fresh_loop_is_told_from_others);
    tcase = new_case(suite, "text");
    tcase_add_test(tcase, patched_functions_go_elsewhere_and_come_back);
    tcase_add_test(tcase, functions_far_apart_are_told);
    tcase_add_test(tcase, nothing_changes_where_new_code_is_forbidden);
    tcase_add_test(tcase, nothing_changes_where_code_is_sealed);
    tcase_add_test(tcase, threads_on_the_same_pages_see_one_or_the_other);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
