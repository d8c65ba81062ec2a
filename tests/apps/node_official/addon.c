// SPDX-License-Identifier: ISC
//
// An addon that uses the libuv that Node.js exports: user work, cancelling, and files, on the main
// loop.

#include <stdbool.h>
#include <stdio.h>
#include <uv.h>

#define WORKS   200
#define CANCELS 100

void *napi_register_module_v1(void *env, void *exports);

static uv_work_t works[WORKS];
static uv_fs_t file;
static unsigned ran, done, cancelled;

static void work(uv_work_t *req)
{
    (void)req;
    __atomic_fetch_add(&ran, 1, __ATOMIC_RELAXED);
    for (volatile int i = 0; i < 100000; i++)
        ;
}

static void ended(uv_work_t *req, int status)
{
    (void)req;
    done += status == 0;
    cancelled += status == UV_ECANCELED;
    if (done + cancelled == WORKS)
        printf("addon: %s\n", ran == done && cancelled > 0 ? "all ok" : "wrong");
    fflush(stdout);
}

static void stated(uv_fs_t *req)
{
    if (req->result != 0)
        printf("addon: stat %d\n", (int)req->result);
    uv_fs_req_cleanup(req);
}

void *napi_register_module_v1(void *env, void *exports)
{
    uv_loop_t *loop = uv_default_loop();

    (void)env;
    for (unsigned i = 0; i < WORKS; i++)
        uv_queue_work(loop, &works[i], work, ended);
    for (unsigned i = WORKS; i-- > WORKS - CANCELS;)
        uv_cancel((uv_req_t *)&works[i]);
    uv_fs_stat(loop, &file, "/", stated);
    return exports;
}
