// SPDX-License-Identifier: ISC
//
// The reader of traces: what a trace says is put together as it happened, also where events are
// missing; what is damaged is refused, and said to be. And the reader of counters.

#include "counters.h"
#include "suite.h"
#include "trace.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

// ---- a file, made by hand ----

static unsigned char file[1 << 16];
static size_t size;

static void put(const void *bytes, size_t count)
{
    ck_assert_uint_le(size + count, sizeof file);
    memcpy(file + size, bytes, count);
    size += count;
}

static void put32(uint32_t number)
{
    put(&number, sizeof number);
}

static void put64(uint64_t number)
{
    put(&number, sizeof number);
}

static void put_text(const char *text, size_t room)
{
    char bytes[256] = {0};
    strncpy(bytes, text, room - 1);
    put(bytes, room);
}

enum { BEGIN = 1000, END = 2000, PID = 77, WORKER = 78 };

static void begin(uint32_t threads, uint32_t chunks)
{
    size = 0;
    put("smoltrce", 8);
    put32(1);
    put32(0x01020304);
    put32(PID);
    put32(2); // pools
    put32(threads);
    put32(chunks);
    put64(BEGIN);
    put64(END);
    put64(3); // lost
    put_text("program", 64);
    put_text("glib:work", 160);
    put64(90);
    put32(2);
    put32(0);
    put64(50), put64(99);
    put64(95), put64(1);
    put_text("uv", 160);
    put64(0);
    put32(0);
    put32(0);
}

static void put_thread(uint32_t tid, uint32_t role, uint64_t lost)
{
    put32(tid);
    put32(role);
    put64(lost);
}

static void put_chunk(uint32_t thread, uint32_t events)
{
    put32(thread);
    put32(events);
}

static void put_event(uint64_t time, enum ss_event kind, uint64_t which, uint64_t value)
{
    put64((BEGIN + time) << 8 | kind);
    put64(which << SS_EVENT_VALUE_BITS | value);
}

static void end(void)
{
    put("endtrace", 8);
}

static struct trace trace;
static struct picture picture;
static char why[256];

static void read_file(void)
{
    bool good = trace_parse(&trace, file, size, why, sizeof why);
    ck_assert_msg(good, "refused: %s", why);
    picture_make(&picture, &trace);
}

static void finish(void)
{
    picture_finish(&picture, &trace);
    trace_finish(&trace);
}

static void expect_refused(const char *needle)
{
    bool good = trace_parse(&trace, file, size, why, sizeof why);
    trace_finish(&trace);
    ck_assert_msg(!good, "accepted, and expected: %s", needle);
    ck_assert_msg(strstr(why, needle), "'%s' instead of '%s'", why, needle);
}

static void expect_slice(size_t row, size_t at, enum slice_kind kind, uint64_t start, uint64_t stop)
{
    ck_assert_uint_lt(at, picture.rows[row].count);
    const struct slice *slice = &picture.rows[row].slices[at];
    ck_assert_uint_eq(slice->kind, kind);
    ck_assert_uint_eq(slice->start, start);
    ck_assert_uint_eq(slice->end, stop);
}

// The main thread pushes, and a worker comes, runs one job, which blocks, naps and parks.
static void make_example(void)
{
    begin(2, 3);
    put_thread(WORKER, SS_ROLE_WORKER, 4);
    put_thread(PID, SS_ROLE_PROGRAM, 0);
    put_chunk(0, 3); // the later part of the worker's comes first
    put_event(300, SS_EVENT_END, 0, 0);
    put_event(310, SS_EVENT_NAP, 0, 0);
    put_event(350, SS_EVENT_NAP_END, 0, 0);
    put_chunk(1, 4);
    put_event(10, SS_EVENT_ENQUEUE, 0, 1);
    put_event(150, SS_EVENT_BLOCKED, 0, WORKER);
    put_event(200, SS_EVENT_RESUMED, 0, WORKER);
    put_event(400, SS_EVENT_ORDER, SS_ORDER_UNSTALLS, 2);
    put_chunk(0, 2);
    put_event(50, SS_EVENT_THREAD, SS_ROLE_WORKER, 0);
    put_event(100, SS_EVENT_START, 0, 90);
    end();
}

START_TEST(a_trace_is_put_together_as_it_happened)
{
    make_example();
    read_file();
    ck_assert_str_eq(trace.program, "program");
    ck_assert_uint_eq(trace.pid, PID);
    ck_assert_uint_eq(trace.length, END - BEGIN);
    ck_assert_uint_eq(trace.lost, 7);
    ck_assert_str_eq(trace.pools[0].name, "glib:work");
    ck_assert_uint_eq(trace.pools[0].count, 100);
    ck_assert_uint_eq(trace_quantile(&trace.pools[0], 500), 50);
    ck_assert_uint_eq(trace_quantile(&trace.pools[0], 990), 50);
    ck_assert_uint_eq(trace_quantile(&trace.pools[0], 1000),
                      90); // the longest, not the bucket's end
    ck_assert_uint_eq(trace_quantile(&trace.pools[1], 500), 0);

    ck_assert_uint_eq(trace.threads[0].tid, PID); // the program's own comes first
    char *main_name = trace_thread_name(&trace, &trace.threads[0]);
    char *worker_name = trace_thread_name(&trace, &trace.threads[1]);
    ck_assert_str_eq(main_name, "main thread");
    ck_assert_str_eq(worker_name, "worker 78");
    free(main_name);
    free(worker_name);

    ck_assert_uint_eq(picture.rows[0].count, 0);
    ck_assert_uint_eq(picture.rows[1].count, 3);
    expect_slice(1, 0, SLICE_JOB, 100, 300);
    ck_assert_uint_eq(picture.rows[1].slices[0].waited, 90);
    expect_slice(1, 1, SLICE_BLOCKED, 150, 200);
    expect_slice(1, 2, SLICE_NAP, 310, 350);
    ck_assert_uint_eq(picture.lengths[0].count, 2);
    ck_assert_uint_eq(picture.lengths[0].samples[1].time, 100);
    ck_assert_uint_eq(picture.lengths[0].samples[1].waiting, 0);
    ck_assert_uint_eq(picture.lengths[0].most, 1);
    ck_assert_uint_eq(picture.order_count, 1);
    ck_assert_uint_eq(picture.orders[0].count, 2);
    finish();
}
END_TEST

START_TEST(a_job_may_run_in_a_job)
{
    begin(1, 1);
    put_thread(WORKER, SS_ROLE_WORKER, 0);
    put_chunk(0, 4);
    put_event(1, SS_EVENT_START, 0, 0);
    put_event(2, SS_EVENT_START, 1, TRACE_UNKNOWN);
    put_event(3, SS_EVENT_END, 1, 0);
    put_event(4, SS_EVENT_END, 0, 0);
    end();
    read_file();
    expect_slice(0, 0, SLICE_JOB, 1, 4);
    expect_slice(0, 1, SLICE_JOB, 2, 3);
    ck_assert_uint_eq(picture.rows[0].slices[1].depth, 1);
    ck_assert_uint_eq(picture.rows[0].slices[1].waited, TRACE_UNKNOWN);
    finish();
}
END_TEST

START_TEST(an_event_whose_partner_is_missing_changes_nothing_else)
{
    begin(1, 1);
    put_thread(WORKER, SS_ROLE_WORKER, 0);
    put_chunk(0, 9);
    put_event(1, SS_EVENT_END, 0, 0);    // its start is lost
    put_event(2, SS_EVENT_UNPARK, 0, 0); // the same
    put_event(3, SS_EVENT_START, 1, 0);  // its end is lost: it ends with the job around it
    put_event(4, SS_EVENT_END, 0, 0);    // of no job that is open
    put_event(5, SS_EVENT_THREAD_END, 0, 0);
    put_event(6, SS_EVENT_BLOCKED, 0, WORKER); // in no job
    put_event(7, SS_EVENT_BLOCKED, 0, 12345);  // of no thread that is known
    put_event(8, SS_EVENT_PARK, 0, 0);
    put_event(9, SS_EVENT_ENQUEUE, 256, 1); // of the pool without a name
    end();
    read_file();
    ck_assert_uint_eq(picture.rows[0].count, 2);
    expect_slice(0, 0, SLICE_JOB, 3, 5);
    expect_slice(0, 1, SLICE_PARKED, 8, END - BEGIN);
    ck_assert(picture.rows[0].slices[1].open);
    ck_assert_str_eq(trace.pools[trace.pool_count - 1].name, "unknown");
    ck_assert_uint_eq(picture.lengths[trace.pool_count - 1].most, 1);
    finish();
}
END_TEST

START_TEST(merged_slices_stand_for_as_many_jobs)
{
    enum { JOBS = 100 };
    begin(1, 1);
    put_thread(WORKER, SS_ROLE_WORKER, 0);
    put_chunk(0, 2 * JOBS);
    for (uint64_t i = 0; i < JOBS; i++) {
        put_event(4 * i, SS_EVENT_START, 0, i);
        put_event(4 * i + 3, SS_EVENT_END, 0, 0);
    }
    end();
    read_file();
    ck_assert_uint_gt(picture_merge(&picture, &trace, 10), 0);
    uint64_t jobs = 0, last = 0;
    for (size_t i = 0; i < picture.rows[0].count; i++) {
        jobs += picture.rows[0].slices[i].jobs;
        last = picture.rows[0].slices[i].end;
    }
    ck_assert_uint_eq(jobs, JOBS);
    ck_assert_uint_eq(last, 4 * (JOBS - 1) + 3);
    ck_assert_uint_le(picture.rows[0].count, 10);
    finish();
}
END_TEST

// ---- what is damaged ----

START_TEST(a_file_that_is_cut_off_anywhere_is_refused)
{
    make_example();
    size_t whole = size;
    for (size = 0; size < whole; size++)
        expect_refused(size < 8 ? "not a trace" : "cut off");
}
END_TEST

START_TEST(what_is_wrong_is_said)
{
    make_example();
    file[0] ^= 1;
    expect_refused("not a trace of smolscale");
    make_example();
    file[8] = 2;
    expect_refused("version 2");
    make_example();
    memcpy(file + 12, "\1\2\3\4", 4);
    expect_refused("other byte order");
    make_example();
    size += 1;
    expect_refused("its end is damaged");
    begin(1, 1);
    put_thread(WORKER, SS_ROLES, 0);
    put_chunk(0, 1);
    put_event(0, SS_EVENT_PARK, 0, 0);
    end();
    expect_refused("a thread is damaged");
}
END_TEST

static void expect_event_refused(uint64_t time, unsigned kind, uint64_t which, const char *needle)
{
    begin(1, 1);
    put_thread(WORKER, SS_ROLE_WORKER, 0);
    put_chunk(0, 1);
    put_event(time, (enum ss_event)kind, which, 0);
    end();
    expect_refused(needle);
}

START_TEST(events_that_cannot_be_are_refused)
{
    expect_event_refused(1, 0, 0, "unknown kind 0");
    expect_event_refused(1, SS_EVENT_KINDS, 0, "unknown kind");
    expect_event_refused(1, SS_EVENT_START, 2, "pool 2");
    expect_event_refused(1, SS_EVENT_ORDER, SS_ORDERS, "damaged");
    expect_event_refused((uint64_t)-BEGIN, SS_EVENT_PARK, 0, "older than the trace");
    begin(1, 1);
    put_thread(WORKER, SS_ROLE_WORKER, 0);
    put_chunk(0, 2);
    put_event(2, SS_EVENT_PARK, 0, 0);
    put_event(1, SS_EVENT_UNPARK, 0, 0);
    end();
    expect_refused("not in order");
}
END_TEST

// Whatever is in it, nothing outside of the file is read (the sanitizers see that) and memory
// follows from its size.
START_TEST(a_damaged_file_is_refused_or_read)
{
    make_example();
    unsigned char good[4096];
    size_t whole = size;
    memcpy(good, file, whole);
    for (size_t at = 0; at < whole; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(file, good, whole);
            file[at] ^= (unsigned char)(1u << bit);
            if (trace_parse(&trace, file, whole, why, sizeof why)) {
                picture_make(&picture, &trace);
                picture_merge(&picture, &trace, 2);
                picture_finish(&picture, &trace);
            }
            trace_finish(&trace);
        }
    }
}
END_TEST

// ---- counters ----

START_TEST(counters_are_read_and_what_is_none_is_passed_over)
{
    char text[2048] = "jobs 12\nno number\nwakes -3\n\nhalf", *to = text + strlen(text);
    memset(to, 'x', 1000);
    strcpy(to + 1000, " 5\ntime_in_queue_ns{pool=\"a\",quantile=\"0.5\"} 77\n"
                      "big 99999999999999999999\nnan nan\njobs 1");
    FILE *in = fmemopen(text, strlen(text), "r");
    struct counter counter;
    ck_assert(counters_next(in, &counter));
    ck_assert_str_eq(counter.name, "jobs");
    ck_assert_uint_eq(counter.value, 12);
    ck_assert(counters_next(in, &counter));
    ck_assert_str_eq(counter.name, "time_in_queue_ns{pool=\"a\",quantile=\"0.5\"}");
    ck_assert_uint_eq(counter.value, 77);
    ck_assert(counters_next(in, &counter));
    ck_assert_uint_eq(counter.value, 1);
    ck_assert(!counters_next(in, &counter));
    fclose(in);
}
END_TEST

int main(void)
{
    return run_tests("trace", 120,
                     (const TTest *[]){
                         a_trace_is_put_together_as_it_happened,
                         a_job_may_run_in_a_job,
                         an_event_whose_partner_is_missing_changes_nothing_else,
                         merged_slices_stand_for_as_many_jobs,
                         a_file_that_is_cut_off_anywhere_is_refused,
                         what_is_wrong_is_said,
                         events_that_cannot_be_are_refused,
                         a_damaged_file_is_refused_or_read,
                         counters_are_read_and_what_is_none_is_passed_over,
                         NULL,
                     });
}
