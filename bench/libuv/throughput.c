// SPDX-License-Identifier: ISC
//
// How much goes through the pool: a loop keeps a number of requests in flight, each of which is
// submitted again from its own callback until enough have run.

#include "bench.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- empty jobs ----

struct feed {
    uv_loop_t loop;
    uint64_t left;  // to be submitted yet
    uint64_t ended; // callbacks seen
    uv_work_t *requests;
    unsigned in_flight;
};

static void empty_job(uv_work_t *request)
{
    (void)request;
    tally_one();
}

static void submit_next(struct feed *feed, uv_work_t *request);

static void job_ended(uv_work_t *request, int status)
{
    struct feed *feed = request->data;
    check(status, "a job");
    feed->ended++;
    if (feed->left > 0)
        submit_next(feed, request);
}

static void submit_next(struct feed *feed, uv_work_t *request)
{
    feed->left--;
    check(uv_queue_work(&feed->loop, request, empty_job, job_ended), "uv_queue_work");
}

static void feed_init(struct feed *feed, uint64_t jobs, unsigned in_flight)
{
    memset(feed, 0, sizeof *feed);
    check(uv_loop_init(&feed->loop), "uv_loop_init");
    feed->left = jobs;
    feed->in_flight = in_flight;
    feed->requests = calloc(in_flight, sizeof *feed->requests);
    if (feed->requests == NULL)
        fail("no memory");
}

static void feed_run(struct feed *feed)
{
    for (unsigned i = 0; i < feed->in_flight && feed->left > 0; i++) {
        feed->requests[i].data = feed;
        submit_next(feed, &feed->requests[i]);
    }
    run_and_close(&feed->loop);
    free(feed->requests);
}

static void expect_jobs(uint64_t jobs, uint64_t ended)
{
    if (tally_sum() != jobs || ended != jobs)
        fail("%llu jobs, %llu run, %llu callbacks", (unsigned long long)jobs,
             (unsigned long long)tally_sum(), (unsigned long long)ended);
}

void bench_work(int argc, char **argv)
{
    uint64_t jobs = (uint64_t)option(argc, argv, "jobs", 1000000);
    struct feed feed;
    feed_init(&feed, jobs, (unsigned)option(argc, argv, "in-flight", 1024));

    struct meter start = meter_start();
    feed_run(&feed);
    struct meter used = meter_stop(&start);

    expect_jobs(jobs, feed.ended);
    figure_meter(&used, jobs, "ns");
    figure("threads", peak_threads() - 1, "count");
}

// ---- several loops ----

struct loop_thread {
    struct feed feed;
    pthread_t thread;
    pthread_barrier_t *ready;
};

static void *loop_main(void *argument)
{
    struct loop_thread *self = argument;
    pthread_barrier_wait(self->ready);
    feed_run(&self->feed);
    return NULL;
}

void bench_loops(int argc, char **argv)
{
    unsigned loops = (unsigned)option(argc, argv, "loops", 4);
    uint64_t jobs = (uint64_t)option(argc, argv, "jobs", 1000000) / loops;
    unsigned in_flight = (unsigned)option(argc, argv, "in-flight", 256);
    struct loop_thread *threads = calloc(loops, sizeof *threads);
    pthread_barrier_t ready;
    uint64_t ended = 0;

    if (threads == NULL)
        fail("no memory");
    pthread_barrier_init(&ready, NULL, loops + 1);
    for (unsigned i = 0; i < loops; i++) {
        threads[i].ready = &ready;
        feed_init(&threads[i].feed, jobs, in_flight);
        if (pthread_create(&threads[i].thread, NULL, loop_main, &threads[i]) != 0)
            fail("pthread_create");
    }
    struct meter start = meter_start();
    pthread_barrier_wait(&ready);
    for (unsigned i = 0; i < loops; i++)
        pthread_join(threads[i].thread, NULL);
    struct meter used = meter_stop(&start);

    for (unsigned i = 0; i < loops; i++)
        ended += threads[i].feed.ended;
    expect_jobs(jobs * loops, ended);
    figure_meter(&used, jobs * loops, "ns");
    pthread_barrier_destroy(&ready);
    free(threads);
}

// ---- files ----

#define BLOCK 4096

struct files {
    uv_loop_t loop;
    uint64_t left;
    uint64_t ended;
    char path[64];
    uv_file file;
    char *blocks; // one for each request in flight
    uv_fs_t *requests;
    void (*submit)(struct files *files, uv_fs_t *request);
};

static void file_ended(uv_fs_t *request)
{
    struct files *files = request->data;
    if (request->result < 0)
        check((int)request->result, "a file request");
    if (request->fs_type == UV_FS_READ && request->result != BLOCK)
        fail("%d bytes read", (int)request->result);
    if (request->fs_type == UV_FS_STAT && request->statbuf.st_size != BLOCK)
        fail("wrong size");
    uv_fs_req_cleanup(request);
    files->ended++;
    if (files->left > 0) {
        files->left--;
        files->submit(files, request);
    }
}

static void submit_stat(struct files *files, uv_fs_t *request)
{
    check(uv_fs_stat(&files->loop, request, files->path, file_ended), "uv_fs_stat");
}

static void submit_read(struct files *files, uv_fs_t *request)
{
    uv_buf_t buffer = uv_buf_init(files->blocks + (request - files->requests) * BLOCK, BLOCK);
    check(uv_fs_read(&files->loop, request, files->file, &buffer, 1, 0, file_ended), "uv_fs_read");
}

static void bench_files(int argc, char **argv, void (*submit)(struct files *, uv_fs_t *))
{
    uint64_t jobs = (uint64_t)option(argc, argv, "jobs", 400000);
    unsigned in_flight = (unsigned)option(argc, argv, "in-flight", 64);
    struct files files = {.left = jobs, .path = "/tmp/smolscale-bench-XXXXXX", .submit = submit};
    static const char zeros[BLOCK];

    files.file = mkstemp(files.path);
    files.requests = calloc(in_flight, sizeof *files.requests);
    files.blocks = malloc((size_t)in_flight * BLOCK);
    if (files.file < 0 || write(files.file, zeros, BLOCK) != BLOCK || files.requests == NULL ||
        files.blocks == NULL)
        fail("no file or memory");
    memset(files.blocks, 1, (size_t)in_flight * BLOCK);
    check(uv_loop_init(&files.loop), "uv_loop_init");

    struct meter start = meter_start();
    for (unsigned i = 0; i < in_flight && files.left > 0; i++) {
        files.requests[i].data = &files;
        files.left--;
        submit(&files, &files.requests[i]);
    }
    run_and_close(&files.loop);
    struct meter used = meter_stop(&start);

    unlink(files.path);
    if (files.ended != jobs)
        fail("%llu requests ended", (unsigned long long)files.ended);
    figure_meter(&used, jobs, "ns");
    free(files.requests);
    free(files.blocks);
}

void bench_stat(int argc, char **argv)
{
    bench_files(argc, argv, submit_stat);
}

void bench_read(int argc, char **argv)
{
    bench_files(argc, argv, submit_read);
}
