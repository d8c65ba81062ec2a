// SPDX-License-Identifier: ISC
//
// What has a libuv inside: compiled together with libuv's sources into a plug-in, or with
// -DPROGRAM into a program. Uses all that the thread pool does, several rounds, and checks what
// came of it.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define WORKS   200 // of which the last CANCELS are cancelled where that is possible
#define CANCELS 50
#define FILES   100
#define LOOKUPS 10
#define RANDOMS 10
#define ROUNDS  3

struct tally {
    unsigned ran, done, cancelled, files, lookups, randoms, bad;
    unsigned on_smolscale; // of `ran`
};

struct request {
    union {
        uv_work_t work;
        uv_fs_t file;
        uv_getaddrinfo_t lookup;
        uv_random_t random;
    } uv;
    struct tally *tally;
    char bytes[64];
};

static bool in_worker(void)
{
    bool (*asked)(void) = (bool (*)(void))dlsym(RTLD_DEFAULT, "smolscale_in_worker");

    return asked != NULL && asked();
}

static void work(uv_work_t *req)
{
    struct tally *tally = ((struct request *)req)->tally;

    __atomic_fetch_add(&tally->ran, 1, __ATOMIC_RELAXED);
    if (in_worker())
        __atomic_fetch_add(&tally->on_smolscale, 1, __ATOMIC_RELAXED);
    for (volatile int i = 0; i < 2000; i++)
        ;
}

static void worked(uv_work_t *req, int status)
{
    struct tally *tally = ((struct request *)req)->tally;

    tally->done += status == 0;
    tally->cancelled += status == UV_ECANCELED;
    tally->bad += status != 0 && status != UV_ECANCELED;
    free(req);
}

static void stated(uv_fs_t *req)
{
    struct tally *tally = ((struct request *)req)->tally;

    tally->files++;
    tally->bad += req->result != 0;
    uv_fs_req_cleanup(req);
    free(req);
}

static void looked_up(uv_getaddrinfo_t *req, int status, struct addrinfo *result)
{
    struct tally *tally = ((struct request *)req)->tally;

    tally->lookups++;
    tally->bad += status != 0;
    uv_freeaddrinfo(result);
    free(req);
}

static void drawn(uv_random_t *req, int status, void *bytes, size_t size)
{
    struct tally *tally = ((struct request *)req)->tally;

    (void)bytes;
    (void)size;
    tally->randoms++;
    tally->bad += status != 0;
    free(req);
}

static struct request *new_request(struct tally *tally)
{
    struct request *request = calloc(1, sizeof(*request));

    request->tally = tally;
    return request;
}

static void submit_all(uv_loop_t *loop, struct tally *tally)
{
    struct request *works[WORKS], *request;

    for (unsigned i = 0; i < WORKS; i++) {
        works[i] = new_request(tally);
        tally->bad += uv_queue_work(loop, &works[i]->uv.work, work, worked) != 0;
    }
    for (unsigned i = WORKS - CANCELS; i < WORKS; i++) {
        int err = uv_cancel((uv_req_t *)&works[i]->uv.work);
        tally->bad += err != 0 && err != UV_EBUSY;
    }
    for (unsigned i = 0; i < FILES; i++) {
        request = new_request(tally);
        tally->bad += uv_fs_stat(loop, &request->uv.file, "/", stated) != 0;
    }
    for (unsigned i = 0; i < LOOKUPS; i++) {
        request = new_request(tally);
        tally->bad +=
            uv_getaddrinfo(loop, &request->uv.lookup, looked_up, "127.0.0.1", "80", NULL) != 0;
    }
    for (unsigned i = 0; i < RANDOMS; i++) {
        request = new_request(tally);
        tally->bad += uv_random(loop, &request->uv.random, request->bytes, sizeof(request->bytes),
                                0, drawn) != 0;
    }
}

// STRANGE=first: every loop has been meddled with in a way that libuv does not notice;
// STRANGE=later: all but the first.
static void meddle(uv_loop_t *loop)
{
    static unsigned loops;
    unsigned before = __atomic_fetch_add(&loops, 1, __ATOMIC_RELAXED);
    const char *which = getenv("STRANGE");

    if (which != NULL && (before > 0 || strcmp(which, "first") == 0))
        loop->wq_async.data = loop;
}

// 0: all came as it should. Writes what was counted into `text`.
__attribute__((visibility("default"))) int use_libuv(char *text, size_t size)
{
    struct tally tally;
    uv_loop_t loop;

    memset(&tally, 0, sizeof(tally));
    if (uv_loop_init(&loop) != 0)
        return 1;
    meddle(&loop);
    for (unsigned round = 0; round < ROUNDS; round++) {
        submit_all(&loop, &tally);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    tally.bad += uv_loop_close(&loop) != 0;
    snprintf(text, size,
             "libuv %s: ran %u, on smolscale %u, done %u, cancelled %u, files %u, look-ups %u, "
             "random %u, bad %u",
             uv_version_string(), tally.ran, tally.on_smolscale, tally.done, tally.cancelled,
             tally.files, tally.lookups, tally.randoms, tally.bad);
    return tally.bad != 0 || tally.ran != tally.done ||
           tally.done + tally.cancelled != ROUNDS * WORKS || tally.files != ROUNDS * FILES ||
           tally.lookups != ROUNDS * LOOKUPS || tally.randoms != ROUNDS * RANDOMS;
}

#ifdef PROGRAM
static int failed;

static void use(void *unused)
{
    char text[400];

    (void)unused;
    if (use_libuv(text, sizeof(text)) != 0)
        __atomic_store_n(&failed, 1, __ATOMIC_RELAXED);
    puts(text);
}

int main(void)
{
    uv_thread_t threads[3];

    for (unsigned i = 0; i < 3; i++)
        uv_thread_create(&threads[i], use, NULL);
    use(NULL);
    for (unsigned i = 0; i < 3; i++)
        uv_thread_join(&threads[i]);
    return failed;
}
#endif
