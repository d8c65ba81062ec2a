// SPDX-License-Identifier: ISC
//
// What observers see: times in queue, and the events that threads record. Threads record into
// memory of a limited size, of which the newest events stay; nothing is lost without being counted.

#include "observed.h"

#include "queue/ages.h"
#include "trace/histogram.h"
#include "trace/pools.h"
#include "trace/ring.h"

#include <sys/wait.h>

// ---- the histogram

START_TEST(buckets_follow_each_other_without_a_gap)
{
    for (unsigned i = 0; i < SS_BUCKETS; i++) {
        uint64_t end = ss_bucket_end(i);
        ck_assert_uint_eq(ss_bucket_of(end), i);
        if (i + 1 < SS_BUCKETS)
            ck_assert_uint_eq(ss_bucket_of(end + 1), i + 1);
        uint64_t begin = i ? ss_bucket_end(i - 1) + 1 : 0;
        ck_assert_uint_le((end - begin) * 16, begin); // a time is known to a sixteenth
    }
    ck_assert_uint_eq(ss_bucket_of(UINT64_MAX), SS_BUCKETS - 1);
}
END_TEST

START_TEST(quantiles_are_those_of_the_sorted_times)
{
    static struct ss_histogram histogram;
    ck_assert_uint_eq(ss_histogram_quantile(&histogram, 500), 0);
    for (uint64_t ns = 1000; ns >= 1; ns--)
        ss_histogram_add(&histogram, ns * 1000);
    ck_assert_uint_eq(ss_histogram_count(&histogram), 1000);
    uint64_t p50 = ss_histogram_quantile(&histogram, 500);
    uint64_t p99 = ss_histogram_quantile(&histogram, 990);
    ck_assert_uint_ge(p50, 500000);
    ck_assert_uint_le(p50, 500000 / 16 * 17);
    ck_assert_uint_ge(p99, 990000);
    ck_assert_uint_le(p99, 1000000);
    ck_assert_uint_eq(ss_histogram_quantile(&histogram, 1000), 1000000);
}
END_TEST

// ---- when items were pushed

START_TEST(an_item_is_as_old_as_its_push)
{
    struct ss_ages *ages = ss_ages_new();
    for (uintptr_t i = 0; i < 1000; i++)
        ck_assert(ss_ages_push(ages, item_of(i), 1, 1 + i));
    for (uintptr_t i = 1000; i-- > 0;)
        ck_assert_uint_eq(ss_ages_take(ages, item_of(i)), 1 + i);
    ck_assert_uint_eq(ss_ages_take(ages, item_of(5)), 0);
    ss_ages_free(ages);
}
END_TEST

START_TEST(of_equal_items_the_oldest_is_taken_first)
{
    struct ss_ages *ages = ss_ages_new();
    for (uint64_t time = 1; time <= 500; time++)
        ss_ages_push(ages, item_of(7), 2, time);
    for (uint64_t time = 1; time <= 500; time++) {
        ck_assert_uint_eq(ss_ages_take(ages, item_of(7)), time);
        ck_assert_uint_eq(ss_ages_take(ages, item_of(7)), time);
    }
    ck_assert_uint_eq(ss_ages_take(ages, item_of(7)), 0);
    ss_ages_push(ages, item_of(7), 1, 20);
    ss_ages_put_back(ages, item_of(7), 10);
    ck_assert_uint_eq(ss_ages_take(ages, item_of(7)), 10);
    ck_assert_uint_eq(ss_ages_take(ages, item_of(7)), 20);
    ss_ages_free(ages);
}
END_TEST

// Against a list of pairs, with few different items so that chains are shared.
START_TEST(ages_are_those_of_a_simple_list)
{
    enum { MOST = 4000 };
    static uint64_t times[16][MOST];
    static unsigned first[16], last[16];
    struct ss_ages *ages = ss_ages_new();
    uint64_t state = 1, now = 1;
    for (unsigned i = 0; i < MOST; i++) {
        unsigned item = test_random(&state) % 16;
        if (test_random(&state) % 3 > 0) {
            ss_ages_push(ages, item_of(item), 1, now);
            times[item][last[item]++] = now++;
        } else {
            uint64_t expected = first[item] < last[item] ? times[item][first[item]++] : 0;
            ck_assert_uint_eq(ss_ages_take(ages, item_of(item)), expected);
        }
    }
    ss_ages_free(ages);
}
END_TEST

// ---- times in queue

START_TEST(no_clock_is_asked_and_nothing_kept_unless_somebody_observes)
{
    smolscale_queue *queue = labelled(2);
    for (uintptr_t i = 0; i < 100; i++)
        push(queue, item_of(i));
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(ss_pool_count(), 0);
    ck_assert_ptr_null(ss_tracers());
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(a_job_waits_from_its_push_to_its_start)
{
    fake_clock_start();
    ss_observe(SS_OBSERVED_FOR_TIMES);
    smolscale_queue *queue = labelled(0);
    push(queue, item_of(1));
    fake_clock_advance(3000000);
    push(queue, item_of(2));
    ck_assert_uint_eq(load_relaxed(&pool()->waiting), 2);
    fake_clock_advance(1000000);
    ck_assert_uint_eq(ss_histogram_count(&pool()->times), 0);
    smolscale_queue_set_max_active(queue, 1);
    counter_wait(&ran, 2);
    ck_assert_uint_eq(load_relaxed(&pool()->times.max), 4000000);
    ck_assert_uint_eq(ss_histogram_quantile(&pool()->times, 500),
                      ss_bucket_end(ss_bucket_of(1000000)));
    ck_assert_uint_eq(ss_histogram_count(&pool()->times), 2);
    ck_assert_uint_eq(load_relaxed(&pool()->waiting), 0);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(what_is_taken_back_waits_no_more_and_is_not_counted)
{
    ss_observe(SS_OBSERVED_FOR_TIMES);
    smolscale_queue *queue = labelled(0);
    for (uintptr_t i = 0; i < 10; i++)
        push(queue, item_of(i));
    ck_assert(smolscale_queue_cancel(queue, item_of(3), 0));
    ck_assert_uint_eq(load_relaxed(&pool()->waiting), 9);
    ck_assert_uint_eq(smolscale_queue_clear(queue, NULL, NULL), 9);
    ck_assert_uint_eq(load_relaxed(&pool()->waiting), 0);
    smolscale_queue_push_many(queue, item_of(5), 4, NULL);
    ck_assert_uint_eq(load_relaxed(&pool()->waiting), 4);
    smolscale_queue_set_max_active(queue, 2);
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(load_relaxed(&pool()->waiting), 0);
    ck_assert_uint_eq(ss_histogram_count(&pool()->times), 4);
    smolscale_queue_free(queue);
}
END_TEST

// A job that is recalled from a batch has waited since its push, not since the recall.
START_TEST(a_job_that_is_recalled_has_waited_all_the_while)
{
    ss_observe(SS_OBSERVED_FOR_TIMES);
    smolscale_queue *queue = queue_of_batches();
    for (uintptr_t i = 1; i <= 64; i++)
        push(queue, item_of(i));
    smolscale_queue_set_max_active(queue, 1);
    counter_wait(&in_batch, 1);
    ck_assert_uint_eq(smolscale_queue_pending(queue), 63);
    ck_assert_uint_eq(load_relaxed(&queue->pending), 0);      // all of them are in the batch
    ck_assert(smolscale_queue_cancel(queue, item_of(64), 0)); // recalls
    ck_assert_uint_eq(load_relaxed(&pool()->waiting), 62);
    counter_add(&go_on, 1);
    counter_wait(&ran, 63);
    ck_assert_uint_eq(load_relaxed(&pool()->waiting), 0);
    ck_assert_uint_eq(ss_histogram_count(&pool()->times), 63);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(pools_beyond_the_table_share_one)
{
    for (uintptr_t i = 0; i < SS_POOLS_MAX; i++)
        ck_assert_uint_eq(ss_pool_find("many", item_of(i))->index, i);
    const struct ss_pool *others = ss_pool_find("more", NULL);
    ck_assert_str_eq(others->label, "others");
    ck_assert_ptr_eq(ss_pool_find("and more", item_of(1)), others);
    ck_assert_uint_eq(ss_pool_find("many", item_of(9))->index, 9);
    ck_assert_uint_eq(ss_pool_count(), SS_POOLS_MAX + 1);
}
END_TEST

// ---- the memory of a trace

enum { PIECE = sizeof(struct ss_chunk) + 64, ROOM = 4096 }; // a chunk, and tracers beside it

static void begin(unsigned pieces)
{
    ss_trace_begin(pieces * PIECE + ROOM);
    ss_observe(SS_OBSERVED_FOR_TRACE);
}

static void record_many(uint64_t from, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        ss_trace_record(SS_EVENT_WAKE, 0, from + i, from + i);
}

struct found {
    uint64_t events, lost, least, most;
};

static struct found look_at_trace(void)
{
    struct found found = {.least = UINT64_MAX};
    bool whole = true; // one check for all: each is a system call
    ss_trace_lock();
    for (const struct ss_chunk *chunk = ss_chunks(); chunk; chunk = chunk->all) {
        uint32_t count = chunk->owner ? load_acquire(&chunk->count) : 0;
        for (uint32_t i = 0; i < count; i++) {
            uint64_t value = chunk->event[i].what & SS_EVENT_UNKNOWN;
            whole &= chunk->event[i].when == (value << 8 | SS_EVENT_WAKE);
            found.least = value < found.least ? value : found.least;
            found.most = value > found.most ? value : found.most;
        }
        found.events += count;
    }
    for (const struct ss_tracer *tracer = ss_tracers(); tracer; tracer = tracer->all)
        found.lost += load_relaxed(&tracer->lost);
    found.lost += ss_trace_lost_of_nobody();
    ss_trace_unlock();
    ck_assert(whole);
    return found;
}

START_TEST(when_the_memory_is_full_the_oldest_events_are_lost_and_counted)
{
    enum { MANY = 10 * SS_CHUNK_EVENTS + 7 };
    begin(3);
    record_many(1, MANY);
    struct found found = look_at_trace();
    ck_assert_uint_eq(found.events + found.lost, MANY);
    ck_assert_uint_eq(found.most, MANY);
    ck_assert_uint_eq(found.events, 2 * SS_CHUNK_EVENTS + 7);
    ck_assert_uint_eq(found.least, MANY - found.events + 1);
}
END_TEST

static void *record_as_thread(void *from)
{
    record_many((uint64_t)(uintptr_t)from, 5);
    return NULL;
}

START_TEST(events_of_threads_that_have_ended_are_kept)
{
    enum { THREADS = 20 };
    begin(THREADS + 1);
    for (uintptr_t i = 1; i <= THREADS; i++)
        pthread_join(thread_start(record_as_thread, (void *)(i * 5)), NULL);
    struct found found = look_at_trace();
    ck_assert_uint_eq(found.events, THREADS * 5);
    ck_assert_uint_eq(found.lost, 0);
}
END_TEST

// Threads that have ended hold no memory for ever: it is used again, from the oldest on.
START_TEST(a_thread_finds_memory_where_others_have_ended)
{
    enum { THREADS = 30 };
    begin(4);
    for (uintptr_t i = 1; i <= THREADS; i++)
        pthread_join(thread_start(record_as_thread, (void *)(i * 5)), NULL);
    struct found found = look_at_trace();
    ck_assert_uint_eq(found.events + found.lost, THREADS * 5);
    ck_assert_uint_eq(found.events, 4 * 5);
    ck_assert_uint_eq(found.least, (THREADS - 3) * 5);
}
END_TEST

START_TEST(without_memory_events_are_counted_as_lost)
{
    ss_trace_begin(0);
    ss_observe(SS_OBSERVED_FOR_TRACE);
    record_many(1, 100);
    struct found found = look_at_trace();
    ck_assert_uint_eq(found.events, 0);
    ck_assert_uint_eq(found.lost, 100);
}
END_TEST

static atomic_uint recorders_done;

static void *record_for_long(void *from)
{
    for (unsigned i = 0; i < SCALED(20); i++)
        record_many((uint64_t)(uintptr_t)from, SS_CHUNK_EVENTS);
    atomic_fetch_add(&recorders_done, 1);
    return NULL;
}

// Every event that a reader finds is whole, while threads record and take each other's memory.
START_TEST(a_trace_can_be_read_while_it_is_written)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    begin(THREADS + 2);
    for (uintptr_t i = 0; i < THREADS; i++)
        threads[i] = thread_start(record_for_long, (void *)(1 + i * 1000));
    while (atomic_load(&recorders_done) < THREADS) {
        look_at_trace();
        sched_yield();
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    struct found found = look_at_trace();
    ck_assert_uint_eq(found.events + found.lost, (uint64_t)THREADS * SCALED(20) * SS_CHUNK_EVENTS);
}
END_TEST

START_TEST(a_child_has_none_of_its_parents_events)
{
    begin(3);
    record_many(1, 3 * SS_CHUNK_EVENTS);
    pid_t pid = fork();
    if (pid == 0) {
        struct found found = look_at_trace();
        if (found.events != 0 || found.lost != 0)
            _exit(1);
        ss_trace_begin(3 * PIECE + ROOM);
        record_many(7, 10);
        found = look_at_trace();
        _exit(found.events == 10 && found.least == 7 ? 0 : 2);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_ge(look_at_trace().events, 2 * SS_CHUNK_EVENTS);
}
END_TEST

// ---- events of the executor

static unsigned count_events(enum ss_event event)
{
    unsigned events = 0;
    ss_trace_lock();
    for (const struct ss_chunk *chunk = ss_chunks(); chunk; chunk = chunk->all)
        for (uint32_t i = 0; chunk->owner && i < load_acquire(&chunk->count); i++)
            events += (chunk->event[i].when & 0xff) == (uint64_t)event;
    ss_trace_unlock();
    return events;
}

START_TEST(each_job_is_pushed_started_and_ended_once)
{
    enum { JOBS = 1000 };
    ss_trace_begin(64u << 20);
    ss_observe(SS_OBSERVED_FOR_TRACE);
    smolscale_queue *queue = labelled(2);
    for (uintptr_t i = 0; i < JOBS; i++)
        push(queue, item_of(i));
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(count_events(SS_EVENT_ENQUEUE), JOBS);
    ck_assert_uint_eq(count_events(SS_EVENT_START), JOBS);
    ck_assert_uint_eq(count_events(SS_EVENT_END), JOBS);
    ck_assert_uint_ge(count_events(SS_EVENT_THREAD), 1);
    EVENTUALLY(count_events(SS_EVENT_PARK), >=, 1);
    smolscale_queue_free(queue);
}
END_TEST

static void block_itself(void *item, void *user_data)
{
    (void)item, (void)user_data;
    smolscale_blocking_begin();
    smolscale_blocking_end();
}

START_TEST(a_job_that_says_that_it_blocks_is_blocked_and_resumes)
{
    ss_trace_begin(1u << 20);
    ss_observe(SS_OBSERVED_FOR_TRACE);
    smolscale_queue *queue = queue_new(block_itself, NULL, 1);
    push(queue, item_of(1));
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(count_events(SS_EVENT_BLOCKED), 1);
    ck_assert_uint_eq(count_events(SS_EVENT_RESUMED), 1);
    smolscale_queue_free(queue);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        buckets_follow_each_other_without_a_gap,
        quantiles_are_those_of_the_sorted_times,
        an_item_is_as_old_as_its_push,
        of_equal_items_the_oldest_is_taken_first,
        ages_are_those_of_a_simple_list,
        no_clock_is_asked_and_nothing_kept_unless_somebody_observes,
        a_job_waits_from_its_push_to_its_start,
        what_is_taken_back_waits_no_more_and_is_not_counted,
        a_job_that_is_recalled_has_waited_all_the_while,
        pools_beyond_the_table_share_one,
        when_the_memory_is_full_the_oldest_events_are_lost_and_counted,
        events_of_threads_that_have_ended_are_kept,
        a_thread_finds_memory_where_others_have_ended,
        without_memory_events_are_counted_as_lost,
        a_trace_can_be_read_while_it_is_written,
        a_child_has_none_of_its_parents_events,
        each_job_is_pushed_started_and_ended_once,
        a_job_that_says_that_it_blocks_is_blocked_and_resumes,
        NULL,
    };
    return test_suite("trace", tests);
}
