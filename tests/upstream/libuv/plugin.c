// SPDX-License-Identifier: ISC
//
// A plug-in with a libuv of its own in it, for plugin_host.c: linked with libuv's objects, whose
// public functions are exported and called through the plug-in's linkage table.

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define EXPORT __attribute__((visibility("default")))

extern _Bool smolscale_in_worker(void) __attribute__((weak));

struct tally {
    unsigned done, cancelled, files, lookups, randoms, wrong;
};

static void look(uv_work_t *req)
{
    unsigned *on_smolscale = req->data;
    if (smolscale_in_worker != NULL && smolscale_in_worker())
        __atomic_fetch_add(on_smolscale, 1, __ATOMIC_RELAXED);
}

static void work_ended(uv_work_t *req, int status)
{
    struct tally *tally = req->loop->data;
    tally->done += status == 0;
    tally->cancelled += status == UV_ECANCELED;
}

static void file_ended(uv_fs_t *req)
{
    struct tally *tally = req->loop->data;
    tally->files++;
    tally->wrong += req->result != 0;
    uv_fs_req_cleanup(req);
}

static void lookup_ended(uv_getaddrinfo_t *req, int status, struct addrinfo *result)
{
    struct tally *tally = req->loop->data;
    tally->lookups++;
    tally->wrong += status != 0;
    uv_freeaddrinfo(result);
}

static void random_ended(uv_random_t *req, int status, void *buffer, size_t size)
{
    struct tally *tally = req->loop->data;
    (void)buffer;
    (void)size;
    tally->randoms++;
    tally->wrong += status != 0;
}

#define REQUIRE(condition)   \
    do {                     \
        if (!(condition))    \
            return __LINE__; \
    } while (0)

#define WORKS  200
#define OTHERS 20

static int one_round(uv_loop_t *loop, unsigned *on_smolscale)
{
    uv_work_t works[WORKS];
    uv_fs_t files[OTHERS], synchronous;
    uv_getaddrinfo_t lookups[OTHERS];
    uv_random_t randoms[OTHERS];
    char bytes[OTHERS][8];
    struct tally tally = {0};
    unsigned cancelled = 0;
    loop->data = &tally;
    for (int i = 0; i < WORKS; i++) {
        works[i].data = on_smolscale;
        REQUIRE(uv_queue_work(loop, &works[i], look, work_ended) == 0);
    }
    for (int i = WORKS - 1; i >= WORKS / 2; i--)
        cancelled += uv_cancel((uv_req_t *)&works[i]) == 0;
    for (int i = 0; i < OTHERS; i++) {
        REQUIRE(uv_fs_stat(loop, &files[i], "/", file_ended) == 0);
        REQUIRE(uv_getaddrinfo(loop, &lookups[i], lookup_ended, "127.0.0.1", "80", NULL) == 0);
        REQUIRE(uv_random(loop, &randoms[i], bytes[i], sizeof bytes[i], 0, random_ended) == 0);
    }
    REQUIRE(uv_fs_stat(NULL, &synchronous, "/", NULL) == 0);
    uv_fs_req_cleanup(&synchronous);
    REQUIRE(uv_run(loop, UV_RUN_DEFAULT) == 0);
    REQUIRE(tally.cancelled == cancelled && tally.done == WORKS - cancelled);
    REQUIRE(tally.files == OTHERS && tally.lookups == OTHERS && tally.randoms == OTHERS);
    REQUIRE(tally.wrong == 0);
    return 0;
}

// Everything that uses the pool, on a loop of its own: 0, or the line that was not true.
EXPORT int plugin_use(unsigned *on_smolscale);
EXPORT int plugin_use(unsigned *on_smolscale)
{
    uv_loop_t loop;
    REQUIRE(uv_loop_init(&loop) == 0);
    for (int round = 0; round < 5; round++) {
        int line = one_round(&loop, on_smolscale);
        if (line != 0)
            return line;
    }
    REQUIRE(uv_loop_close(&loop) == 0);
    return 0;
}

// Jobs of the caller's on a loop that plugin_finish() runs, or nobody.
struct call {
    uv_work_t req; // first
    void (*job)(void *);
    void *data;
};

static uv_loop_t common;
static unsigned calls_ended;

static void make_call(uv_work_t *req)
{
    struct call *call = (struct call *)req;
    call->job(call->data);
}

static void call_ended(uv_work_t *req, int status)
{
    calls_ended += status == 0;
    free(req);
}

EXPORT int plugin_submit(void (*job)(void *), void *data, unsigned times);
EXPORT int plugin_submit(void (*job)(void *), void *data, unsigned times)
{
    static _Bool initialised;
    if (!initialised)
        REQUIRE(uv_loop_init(&common) == 0);
    initialised = 1;
    for (unsigned i = 0; i < times; i++) {
        struct call *call = calloc(1, sizeof *call);
        REQUIRE(call != NULL);
        call->job = job;
        call->data = data;
        REQUIRE(uv_queue_work(&common, &call->req, make_call, call_ended) == 0);
    }
    return 0;
}

EXPORT int plugin_finish(unsigned expected);
EXPORT int plugin_finish(unsigned expected)
{
    REQUIRE(uv_run(&common, UV_RUN_DEFAULT) == 0);
    REQUIRE(calls_ended == expected);
    calls_ended = 0;
    return 0;
}
