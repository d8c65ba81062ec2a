// SPDX-License-Identifier: ISC
//
// Arguments without sense for every function that uses the pool: what libuv refuses at once is
// refused, what it finds out in the pool comes through the callback, and what ends a process ends
// it. All of it holds natively.

#include "support.h"

#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOP uv_default_loop()

static ssize_t results[64];
static unsigned ends;

static void note_result(uv_fs_t *req)
{
    results[ends++] = req->result;
    uv_fs_req_cleanup(req);
    free(req);
}

static void never_address(uv_getaddrinfo_t *req, int status, struct addrinfo *result)
{
    (void)req, (void)status, (void)result;
    ck_abort_msg("a refused request came back");
}

static void never_name(uv_getnameinfo_t *req, int status, const char *host, const char *service)
{
    (void)req, (void)status, (void)host, (void)service;
    ck_abort_msg("a refused request came back");
}

static void never_random(uv_random_t *req, int status, void *buffer, size_t size)
{
    (void)req, (void)status, (void)buffer, (void)size;
    ck_abort_msg("a refused request came back");
}

#define GIVES(call, expected)                                                               \
    do {                                                                                    \
        int got_ = (call);                                                                  \
        ck_assert_msg(got_ == (expected), "%s: expected %s (%d), got %d", #call, #expected, \
                      (int)(expected), got_);                                               \
    } while (0)

// ---- refused at once

START_TEST(a_file_function_without_a_request_is_refused)
{
    uv_buf_t buffer = uv_buf_init(NULL, 0);
#define FS(name, ...)                                        \
    GIVES(uv_fs_##name(LOOP, NULL, __VA_ARGS__), UV_EINVAL); \
    GIVES(uv_fs_##name(NULL, NULL, __VA_ARGS__), UV_EINVAL)
    FS(access, "/", 0, note_result);
    FS(chmod, "/", 0, note_result);
    FS(chown, "/", 0, 0, note_result);
    FS(close, 0, note_result);
    FS(closedir, NULL, note_result);
    FS(copyfile, "/", "/", 0, note_result);
    FS(fchmod, 0, 0, note_result);
    FS(fchown, 0, 0, 0, note_result);
    FS(fdatasync, 0, note_result);
    FS(fstat, 0, note_result);
    FS(fsync, 0, note_result);
    FS(ftruncate, 0, 0, note_result);
    FS(futime, 0, 0, 0, note_result);
    FS(lchown, "/", 0, 0, note_result);
    FS(link, "/", "/", note_result);
    FS(lstat, "/", note_result);
    FS(lutime, "/", 0, 0, note_result);
    FS(mkdir, "/", 0, note_result);
    FS(mkdtemp, "XXXXXX", note_result);
    FS(mkstemp, "XXXXXX", note_result);
    FS(open, "/", 0, 0, note_result);
    FS(opendir, "/", note_result);
    FS(read, 0, &buffer, 1, 0, note_result);
    FS(readdir, NULL, note_result);
    FS(readlink, "/", note_result);
    FS(realpath, "/", note_result);
    FS(rename, "/", "/", note_result);
    FS(rmdir, "/", note_result);
    FS(scandir, "/", 0, note_result);
    FS(sendfile, 0, 0, 0, 0, note_result);
    FS(stat, "/", note_result);
    FS(statfs, "/", note_result);
    FS(symlink, "/", "/", 0, note_result);
    FS(unlink, "/", note_result);
    FS(utime, "/", 0, 0, note_result);
    FS(write, 1, &buffer, 1, 0, note_result);
#undef FS
    ck_assert_int_eq(uv_loop_alive(LOOP), 0);
}
END_TEST

START_TEST(what_makes_no_sense_is_refused_at_once)
{
    uv_fs_t fs;
    uv_buf_t buffer = uv_buf_init(NULL, 0);
    uv_dir_t dir = {0};
    GIVES(uv_fs_read(LOOP, &fs, 0, NULL, 1, 0, note_result), UV_EINVAL);
    GIVES(uv_fs_read(LOOP, &fs, 0, &buffer, 0, 0, note_result), UV_EINVAL);
    GIVES(uv_fs_write(LOOP, &fs, 0, NULL, UINT_MAX, 0, note_result), UV_EINVAL);
    GIVES(uv_fs_write(LOOP, &fs, 0, &buffer, 0, 0, note_result), UV_EINVAL);
    GIVES(uv_fs_copyfile(LOOP, &fs, "/", "/", -1, note_result), UV_EINVAL);
    GIVES(uv_fs_readdir(LOOP, &fs, NULL, note_result), UV_EINVAL);
    GIVES(uv_fs_readdir(LOOP, &fs, &dir, note_result), UV_EINVAL);
    GIVES(uv_fs_closedir(LOOP, &fs, NULL, note_result), UV_EINVAL);

    uv_getaddrinfo_t address;
    char *name = malloc(100000);
    memset(name, 'a', 99999);
    name[99999] = 0;
    GIVES(uv_getaddrinfo(LOOP, NULL, never_address, "localhost", NULL, NULL), UV_EINVAL);
    GIVES(uv_getaddrinfo(LOOP, &address, never_address, NULL, NULL, NULL), UV_EINVAL);
    GIVES(uv_getaddrinfo(LOOP, &address, never_address, name, NULL, NULL) < 0, true);
    free(name);

    uv_getnameinfo_t back;
    struct sockaddr nobody = {.sa_family = AF_MAX};
    GIVES(uv_getnameinfo(LOOP, NULL, never_name, &nobody, 0), UV_EINVAL);
    GIVES(uv_getnameinfo(LOOP, &back, never_name, NULL, 0), UV_EINVAL);
    GIVES(uv_getnameinfo(LOOP, &back, never_name, &nobody, 0), UV_EINVAL);

    uv_random_t random;
    char byte;
    GIVES(uv_random(LOOP, &random, &byte, 1, 1, never_random), UV_EINVAL);
    GIVES(uv_random(LOOP, &random, &byte, 1, UINT_MAX, never_random), UV_EINVAL);
    GIVES(uv_random(LOOP, &random, &byte, (size_t)INT_MAX + 1, 0, never_random), UV_E2BIG);
    GIVES(uv_random(LOOP, &random, &byte, SIZE_MAX, 0, never_random), UV_E2BIG);

    GIVES(uv_getaddrinfo(NULL, NULL, never_address, "localhost", NULL, NULL), UV_EINVAL);
    GIVES(uv_getnameinfo(NULL, NULL, never_name, &nobody, 0), UV_EINVAL);
    GIVES(uv_random(NULL, NULL, NULL, SIZE_MAX, 0, never_random), UV_E2BIG);

    uv_work_t work;
    GIVES(uv_queue_work(LOOP, &work, NULL, note_end), UV_EINVAL);
    GIVES(uv_queue_work(LOOP, NULL, NULL, note_end), UV_EINVAL);
    GIVES(uv_queue_work(NULL, &work, NULL, NULL), UV_EINVAL);
    ck_assert_int_eq(uv_loop_alive(LOOP), 0);
}
END_TEST

START_TEST(what_was_never_submitted_cannot_be_cancelled)
{
    union {
        uv_req_t req;
        uv_work_t work;
    } zero;
    memset(&zero, 0, sizeof zero);
    GIVES(uv_cancel(&zero.req), UV_EINVAL);
    const int kinds[] = {UV_CONNECT, UV_WRITE, UV_SHUTDOWN, UV_UDP_SEND, UV_REQ_TYPE_MAX, 1000, -1};
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        memset(&zero, 0, sizeof zero);
        zero.req.type = (uv_req_type)kinds[i];
        GIVES(uv_cancel(&zero.req), UV_EINVAL);
    }
}
END_TEST

// ---- found out in the pool

#define COMES_BACK_WITH(expected, name, ...)                          \
    do {                                                              \
        uv_fs_t *req_ = malloc(sizeof *req_);                         \
        unsigned before_ = ends;                                      \
        GIVES(uv_fs_##name(LOOP, req_, __VA_ARGS__, note_result), 0); \
        uv_run(LOOP, UV_RUN_DEFAULT);                                 \
        ck_assert_uint_eq(ends, before_ + 1);                         \
        GIVES((int)results[before_], expected);                       \
    } while (0)

START_TEST(what_the_system_refuses_comes_through_the_callback)
{
    char byte;
    uv_buf_t buffer = uv_buf_init(&byte, 1);
    COMES_BACK_WITH(UV_EBADF, close, INT_MAX);
    COMES_BACK_WITH(UV_EBADF, fstat, -1);
    COMES_BACK_WITH(UV_EBADF, fsync, INT_MIN);
    COMES_BACK_WITH(UV_EBADF, read, INT_MAX, &buffer, 1, -1);
    COMES_BACK_WITH(UV_EBADF, write, -1, &buffer, 1, INT64_MAX);
    COMES_BACK_WITH(UV_EINVAL, ftruncate, 0, INT64_MIN);
    COMES_BACK_WITH(UV_ENOENT, stat, "");
    COMES_BACK_WITH(UV_ENOENT, open, "", -1 & ~0x440000, -1);
    COMES_BACK_WITH(UV_EINVAL, mkdtemp, "without a pattern");
    COMES_BACK_WITH(UV_EINVAL, access, "/", -1);
}
END_TEST

// ---- what ends the process

static void work_without_end(uv_work_t *req)
{
    (void)req;
}

static void ck_ended_by(const char *call, int signal, pid_t pid)
{
    int status;
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == signal,
                  "%s: expected signal %d, got status %#x", call, signal, (unsigned)status);
}

#define ENDS_BY(signal, call)                               \
    do {                                                    \
        pid_t pid_ = fork();                                \
        if (pid_ == 0) {                                    \
            setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); \
            (void)(call);                                   \
            _exit(0);                                       \
        }                                                   \
        ck_ended_by(#call, signal, pid_);                   \
    } while (0)

START_TEST(NULL_that_libuv_looks_into_ends_the_process)
{
    static uv_work_t work;
    static uv_fs_t fs;
    void *volatile null = NULL;
    ENDS_BY(SIGSEGV, uv_cancel(null));
    ENDS_BY(SIGSEGV, uv_queue_work(null, &work, work_without_end, note_end));
    ENDS_BY(SIGSEGV, uv_queue_work(LOOP, null, work_without_end, note_end));
    ENDS_BY(SIGSEGV, uv_fs_stat(null, &fs, "/", note_result));
}
END_TEST

Suite *bad_input_suite(void)
{
    Suite *suite = suite_create("bad input");
    TCase *tcase = new_case(suite, "bad input");
    tcase_add_test(tcase, a_file_function_without_a_request_is_refused);
    tcase_add_test(tcase, what_makes_no_sense_is_refused_at_once);
    tcase_add_test(tcase, what_was_never_submitted_cannot_be_cancelled);
    tcase_add_test(tcase, what_the_system_refuses_comes_through_the_callback);
    tcase_add_test(tcase, NULL_that_libuv_looks_into_ends_the_process);
    return suite;
}
