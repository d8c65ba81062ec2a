// SPDX-License-Identifier: ISC
//
// What tasks cost in memory: a million alive at once, by what the kernel counts as resident. Prints
// bytes per idle task. Under a sanitizer there are fewer, and only that they all run is checked.

#include "support.h"

#include <smolscale_async.h>

#include <malloc.h>

enum { TASKS = SCALED(1000000) };

static size_t resident(void)
{
    unsigned long total = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%lu %lu", &total, &pages), 2);
    fclose(file);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static atomic_uint begun, ended;
static smolscale_task *tasks[TASKS];

struct small {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    int got;
};
SMOLSCALE_ASYNC(small, f)
{
    SMOLSCALE_BEGIN(f);
    atomic_fetch_add(&begun, 1);
    SMOLSCALE_AWAIT(f->got, smolscale_recv(cx, f->channel, NULL));
    atomic_fetch_add(&ended, 1);
    SMOLSCALE_END;
}

struct large {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    int got;
    unsigned char bytes[170];
};
SMOLSCALE_ASYNC(large, f)
{
    SMOLSCALE_BEGIN(f);
    memset(f->bytes, 1, sizeof f->bytes);
    atomic_fetch_add(&begun, 1);
    SMOLSCALE_AWAIT(f->got, smolscale_recv(cx, f->channel, NULL));
    atomic_fetch_add(&ended, 1);
    SMOLSCALE_END;
}

// `frame` is the channel's, of `size` bytes.
static void a_million(const char *name, smolscale_poll_fn *poll, void *frame, size_t size,
                      smolscale_channel *channel)
{
    memset(tasks, 1, sizeof tasks); // the array's own pages are not the tasks'
    smolscale_task *first;          // nor are threads
    ck_assert_int_eq(smolscale_spawn(&first, poll, frame, size), 0);
    EVENTUALLY(atomic_load(&begun), ==, 1);
    size_t before = resident();
    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(smolscale_spawn(&tasks[i], poll, frame, size), 0);
    EVENTUALLY(atomic_load(&begun), ==, TASKS + 1);
    size_t full = resident();
    ck_assert_uint_eq(atomic_load(&ended), 0);
    double each = (double)(full - before) / TASKS;
    printf("%s: a frame of %zu bytes, %.1f bytes a task (%u tasks, %.1f MB)\n", name, size, each,
           TASKS, (double)(full - before) / 1e6);
    fflush(stdout);
    smolscale_close(channel);
    for (unsigned i = 0; i < TASKS; i++) {
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, tasks[i])), 0);
        smolscale_release(tasks[i]);
    }
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, first)), 0);
    smolscale_release(first);
    ck_assert_uint_eq(atomic_load(&ended), TASKS + 1);
#if !defined(TEST_TSAN) && !defined(TEST_ASAN)
    size_t rounded = (size + 63) / 64 * 64;
    ck_assert_msg(each <= 1.04 * (double)(128 + rounded),
                  "expected at most 128 + %zu bytes, got %.1f", rounded, each);
    malloc_trim(0); // what the allocator keeps is not ours
    size_t after = resident();
    ck_assert_msg(after - before < (full - before) / 4,
                  "expected three quarters of %zu bytes to be given back, %zu are still there",
                  full - before, after - before);
#endif
}

START_TEST(a_million_tasks_take_128_bytes_and_their_frame_each)
{
    struct small frame = {.got = 0};
    ck_assert_int_eq(smolscale_channel_new(&frame.channel, 0, 0), 0);
    a_million("small", small, &frame, sizeof frame, frame.channel);
    smolscale_channel_unref(frame.channel);
}
END_TEST

START_TEST(a_million_tasks_with_larger_frames_take_that_much_more)
{
    struct large frame = {.got = 0};
    ck_assert_int_eq(smolscale_channel_new(&frame.channel, 0, 0), 0);
    a_million("large", large, &frame, sizeof frame, frame.channel);
    smolscale_channel_unref(frame.channel);
}
END_TEST

int main(void)
{
    return test_suite("memory", (const TTest *[]){
                                    a_million_tasks_take_128_bytes_and_their_frame_each,
                                    a_million_tasks_with_larger_frames_take_that_much_more,
                                    NULL,
                                });
}
