// SPDX-License-Identifier: ISC
//
// A plugin that links libuv, for test_preload.c. Each function returns 0 or the line that was not
// true.

#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

int plugin_use_pool(void);
int plugin_past_the_layer(void);
int plugin_mix(void);
int plugin_cancel_past_the_layer(void);
int plugin_make_descriptor(void);

extern bool smolscale_in_worker(void) __attribute__((weak));

#define REQUIRE(condition)   \
    do {                     \
        if (!(condition))    \
            return __LINE__; \
    } while (0)

static unsigned ended, good;
static bool in_worker;

static void look(uv_work_t *req)
{
    (void)req;
    in_worker = smolscale_in_worker != NULL && smolscale_in_worker();
}

static void work_ended(uv_work_t *req, int status)
{
    (void)req;
    ended++;
    good += status == 0;
}

static void file_ended(uv_fs_t *req)
{
    ended++;
    good += req->result == 0;
    uv_fs_req_cleanup(req);
}

int plugin_use_pool(void)
{
    uv_work_t work;
    uv_fs_t file;
    REQUIRE(uv_queue_work(uv_default_loop(), &work, look, work_ended) == 0);
    REQUIRE(uv_fs_stat(uv_default_loop(), &file, "/", file_ended) == 0);
    REQUIRE(uv_run(uv_default_loop(), UV_RUN_DEFAULT) == 0);
    REQUIRE(ended == 2 && good == 2);
    REQUIRE(in_worker);
    return 0;
}

// libuv's own functions, as its internal callers reach them.
static void *libuv(const char *name)
{
    void *handle = dlopen("libuv.so.1", RTLD_LAZY | RTLD_NOLOAD);
    return handle != NULL ? dlsym(handle, name) : NULL;
}

typedef int stat_function(uv_loop_t *loop, uv_fs_t *req, const char *path, uv_fs_cb cb);

int plugin_past_the_layer(void)
{
    stat_function *stat = (stat_function *)libuv("uv_fs_stat");
    uv_fs_t files[20];
    REQUIRE(stat != NULL && stat != uv_fs_stat);
    for (int i = 0; i < 20; i++)
        REQUIRE(stat(uv_default_loop(), &files[i], "/", file_ended) == 0);
    REQUIRE(uv_run(uv_default_loop(), UV_RUN_DEFAULT) == 0);
    REQUIRE(ended == 20 && good == 20);
    uv_library_shutdown(); // joins libuv's threads
    return 0;
}

int plugin_mix(void)
{
    stat_function *stat = (stat_function *)libuv("uv_fs_stat");
    static uv_fs_t files[600];
    static uv_work_t works[600];
    for (int round = 0; round < 20; round++) {
        uv_loop_t loop;
        ended = good = 0;
        REQUIRE(uv_loop_init(&loop) == 0);
        for (int i = 0; i < 600; i++) {
            REQUIRE((i % 2 ? stat : uv_fs_stat)(&loop, &files[i], "/", file_ended) == 0);
            REQUIRE(uv_queue_work(&loop, &works[i], look, work_ended) == 0);
            if (i % 50 == 0)
                uv_run(&loop, UV_RUN_NOWAIT);
        }
        REQUIRE(uv_run(&loop, UV_RUN_DEFAULT) == 0);
        REQUIRE(uv_loop_close(&loop) == 0);
        REQUIRE(ended == 1200 && good == 1200);
    }
    return 0;
}

static int cancelled;

static void note_cancelled(uv_fs_t *req)
{
    ended++;
    cancelled += req->result == UV_ECANCELED;
    uv_fs_req_cleanup(req);
}

// A FIFO keeps libuv's only thread busy.
int plugin_cancel_past_the_layer(void)
{
    typedef int open_function(uv_loop_t *, uv_fs_t *, const char *, int, int, uv_fs_cb);
    open_function *open_past = (open_function *)libuv("uv_fs_open");
    stat_function *stat_past = (stat_function *)libuv("uv_fs_stat");
    char folder[] = "/tmp/smolscale-test-XXXXXX", fifo[64];
    uv_fs_t open_req, stat_req;
    setenv("UV_THREADPOOL_SIZE", "1", 1);
    REQUIRE(mkdtemp(folder) != NULL);
    snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    REQUIRE(mkfifo(fifo, 0600) == 0);
    REQUIRE(open_past(uv_default_loop(), &open_req, fifo, O_RDONLY, 0, note_cancelled) == 0);
    REQUIRE(stat_past(uv_default_loop(), &stat_req, "/", note_cancelled) == 0);
    // Whichever of the two the thread has not begun: the second, for it runs them in order.
    REQUIRE(uv_cancel((uv_req_t *)&stat_req) == 0);
    while (ended == 0)
        uv_run(uv_default_loop(), UV_RUN_ONCE);
    REQUIRE(cancelled == 1);
    int writer = open(fifo, O_WRONLY);
    REQUIRE(writer >= 0);
    REQUIRE(uv_run(uv_default_loop(), UV_RUN_DEFAULT) == 0);
    REQUIRE(ended == 2 && cancelled == 1);
    close(writer);
    unlink(fifo);
    rmdir(folder);
    return 0;
}

int plugin_make_descriptor(void)
{
    return close(epoll_create1(EPOLL_CLOEXEC)) == 0 ? 0 : __LINE__;
}
