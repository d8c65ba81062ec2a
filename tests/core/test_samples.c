// SPDX-License-Identifier: ISC
//
// Samples of how long jobs wait, while somebody looks at the process: they say of all jobs what
// each job's own time would, they are few, and nothing of them is left when nobody looks any more.

#include "observed.h"

#include "queue/observe.h"
#include "queue/samples.h"
#include "queue/view.h"
#include "trace/recent.h"

// ---- a queue in numbers: each job's own time beside the samples

enum { JOBS_MAX = 1 << 20, BATCH = 64 };

struct flow {
    struct ss_samples samples;
    struct ss_histogram own, sampled; // times of all, and of the samples
    uint64_t now, head, tail;
    unsigned pause, taken; // samples
    uint64_t pushed[JOBS_MAX];
};

static struct flow *flow_new(void)
{
    return calloc(1, sizeof(struct flow));
}

static void flow_push(struct flow *flow)
{
    flow->pushed[flow->tail] = flow->now;
    flow->tail++;
    if (flow->pause-- > 0)
        return;
    uint64_t stamp = ss_samples_stamp(&flow->samples, 1, flow->now);
    ss_samples_add(&flow->samples, flow->tail - 1, stamp);
    flow->pause = ss_samples_pause(&flow->samples);
    flow->taken++;
}

static void flow_take(struct flow *flow, unsigned count)
{
    uint64_t stamps[BATCH] = {0};
    for (unsigned i = 0; i < count; i++)
        ss_histogram_add(&flow->own, flow->now - flow->pushed[flow->head + i]);
    flow->head += count;
    ss_samples_take(&flow->samples, flow->head, stamps, count);
    for (unsigned i = 0; i < count; i++) {
        if (!stamps[i])
            continue;
        ck_assert_uint_eq(ss_stamp_time(stamps[i]), flow->pushed[flow->head - count + i]);
        ss_histogram_add_many(&flow->sampled, flow->now - ss_stamp_time(stamps[i]),
                              UINT64_C(1) << ss_stamp_shift(stamps[i]));
    }
    if (ss_samples_are_late(&flow->samples, flow->now))
        flow->pause = 0;
}

static unsigned waiting(const struct flow *flow)
{
    return (unsigned)(flow->tail - flow->head);
}

// Takes all, a job in so many ns.
static void flow_drain(struct flow *flow, unsigned ns)
{
    while (waiting(flow) > 0) {
        unsigned count = waiting(flow) < BATCH ? waiting(flow) : BATCH;
        flow->now += count * ns;
        flow_take(flow, count);
    }
}

static void ck_close(const char *what, uint64_t got, uint64_t expected, unsigned percent)
{
    uint64_t room = expected * percent / 100;
    ck_assert_msg(got + room >= expected && got <= expected + room,
                  "%s: expected %llu, at most %u %% more or less; got %llu", what,
                  (unsigned long long)expected, percent, (unsigned long long)got);
}

static void ck_samples_tell(struct flow *flow, unsigned percent)
{
    ck_close("jobs", ss_histogram_count(&flow->sampled), ss_histogram_count(&flow->own), percent);
    ck_close("p50", ss_histogram_quantile(&flow->sampled, 500),
             ss_histogram_quantile(&flow->own, 500), percent);
    ck_close("p99", ss_histogram_quantile(&flow->sampled, 990),
             ss_histogram_quantile(&flow->own, 990), percent);
}

START_TEST(few_samples_tell_of_a_steady_flow_what_all_times_do)
{
    struct flow *flow = flow_new();
    uint64_t state = 3;
    while (flow->tail < JOBS_MAX) {
        flow->now += 100;
        flow_push(flow);
        // What waits varies between nothing and some thousands.
        if (test_random(&state) % 64 == 0 && flow->tail / 5000 % 3 > 0)
            for (unsigned i = 0; i < 2 && waiting(flow) >= BATCH; i++)
                flow_take(flow, BATCH);
    }
    flow_drain(flow, 100);
    ck_samples_tell(flow, 20);
    ck_assert_uint_le(flow->taken, flow->now / SS_SAMPLE_GAP_NS * 2);
    free(flow);
}
END_TEST

START_TEST(samples_tell_of_bursts_what_all_times_do)
{
    struct flow *flow = flow_new();
    uint64_t state = 5;
    for (unsigned burst = 0; burst < 50; burst++) {
        for (unsigned jobs = 1000 + test_random(&state) % 4000; jobs > 0; jobs--) {
            flow->now += 50;
            flow_push(flow);
        }
        flow_drain(flow, 200);
        flow->now += 10 * SS_NS_PER_MS;
    }
    ck_samples_tell(flow, 25);
    free(flow);
}
END_TEST

START_TEST(samples_of_a_flood_are_spread_over_all_of_it)
{
    struct flow *flow = flow_new();
    unsigned most = 0; // that waited
    while (flow->tail < JOBS_MAX) {
        flow->now += 20;
        flow_push(flow);
        most = flow->samples.count > most ? flow->samples.count : most;
    }
    ck_assert_uint_le(most, SS_SAMPLES_MAX);
    ck_assert_uint_ge(flow->samples.count, SS_SAMPLES_MAX / 2);
    flow_drain(flow, 100);
    ck_samples_tell(flow, 10);
    free(flow);
}
END_TEST

START_TEST(where_jobs_are_rare_each_is_a_sample_also_soon_after_a_flood)
{
    struct flow *flow = flow_new();
    while (flow->tail < JOBS_MAX / 2) {
        flow->now += 20;
        flow_push(flow);
        if (flow->tail % BATCH == 0)
            flow_take(flow, BATCH);
    }
    ck_assert_uint_gt(ss_samples_pause(&flow->samples), 100);
    unsigned before = flow->taken;
    for (unsigned i = 0; i < 100; i++) {
        flow->now += SS_NS_PER_MS;
        flow_push(flow);
        flow->now += SS_NS_PER_US;
        flow_take(flow, 1);
    }
    ck_assert_uint_ge(flow->taken - before, 99); // the first only says that they are rare
    free(flow);
}
END_TEST

// ---- real queues

static uint64_t times_counted(void)
{
    return ss_histogram_count(&pool()->times);
}

static int by_address(const void *a, const void *b, void *data)
{
    (void)data;
    return (a > b) - (a < b);
}

static void begin(void)
{
    fake_clock_start();
    ss_observe_in_part(true);
}

// By pointers they could not be told apart.
START_TEST(equal_pointers_have_each_its_own_time)
{
    begin();
    smolscale_queue *queue = labelled(0);
    for (unsigned i = 0; i < 3; i++) {
        push(queue, item_of(1));
        fake_clock_advance(SS_NS_PER_MS);
    }
    smolscale_queue_set_max_active(queue, 1);
    counter_wait(&ran, 3);
    ck_assert_uint_eq(times_counted(), 3);
    ck_assert_uint_eq(load_relaxed(&pool()->times.max), 3 * SS_NS_PER_MS);
    ck_assert_uint_eq(ss_histogram_quantile(&pool()->times, 1),
                      ss_bucket_end(ss_bucket_of(SS_NS_PER_MS)));
    ck_assert_uint_eq(load_relaxed(&pool()->waiting), 0);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(an_ordered_queue_has_samples_too)
{
    begin();
    struct smolscale_queue_attr attr = {.size = sizeof attr, .run = count, .max_active = 0};
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    smolscale_queue_set_label(queue, "test", NULL);
    ck_assert_int_eq(smolscale_queue_set_compare(queue, by_address, NULL), 0);
    push(queue, item_of(2));
    fake_clock_advance(SS_NS_PER_MS);
    push(queue, item_of(1));
    fake_clock_advance(SS_NS_PER_MS);
    smolscale_queue_set_max_active(queue, 1);
    counter_wait(&ran, 2);
    ck_assert_uint_eq(times_counted(), 2);
    ck_assert_uint_eq(load_relaxed(&pool()->times.max), 2 * SS_NS_PER_MS);
    ck_assert_uint_eq(load_relaxed(&pool()->waiting), 0);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(what_is_taken_back_leaves_its_time_to_nobody)
{
    begin();
    smolscale_queue *queue = labelled(0);
    push(queue, item_of(1));
    push(queue, item_of(2));
    ck_assert(smolscale_queue_cancel(queue, item_of(2), 0)); // the last
    ck_assert(smolscale_queue_cancel(queue, item_of(1), 0)); // the first
    fake_clock_advance(SS_NS_PER_S);
    push(queue, item_of(3)); // at the place of one of them
    ck_assert_uint_eq(smolscale_queue_clear(queue, NULL, NULL), 1);
    fake_clock_advance(SS_NS_PER_S);
    push(queue, item_of(4));
    fake_clock_advance(SS_NS_PER_MS);
    smolscale_queue_set_max_active(queue, 1);
    counter_wait(&ran, 1);
    ck_assert_uint_eq(times_counted(), 1);
    ck_assert_uint_eq(load_relaxed(&pool()->times.max), SS_NS_PER_MS);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(items_that_are_ordered_and_no_more_have_no_times_of_others)
{
    begin();
    smolscale_queue *queue = labelled(0);
    push(queue, item_of(2));
    push(queue, item_of(1));
    ck_assert_int_eq(smolscale_queue_set_compare(queue, by_address, NULL), 0);
    ck_assert_int_eq(smolscale_queue_set_compare(queue, NULL, NULL), 0);
    ck_assert_uint_eq(queue->samples->count, 0);
    smolscale_queue_set_max_active(queue, 1);
    counter_wait(&ran, 2);
    ck_assert_uint_eq(times_counted(), 0);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(a_sample_of_many_pushed_at_once_stands_for_them)
{
    begin();
    smolscale_queue *queue = labelled(0);
    ck_assert_int_eq(smolscale_queue_push_many(queue, item_of(1), 64, NULL), 0);
    fake_clock_advance(SS_NS_PER_MS);
    smolscale_queue_set_max_active(queue, 1);
    counter_wait(&ran, 64);
    ck_assert_uint_eq(times_counted(), 64);
    smolscale_queue_free(queue);
}
END_TEST

// On a clock that stands still samples become rarer with each push, so all of them find room: none
// is dropped to make some.
START_TEST(a_sample_that_is_recalled_keeps_its_time_and_its_place)
{
    smolscale_queue *queue = queue_of_batches();
    ss_observe_in_part(true);
    uint64_t first = queue->items.tail;
    for (uintptr_t i = 1; i <= 64; i++)
        push(queue, item_of(i));
    unsigned count = queue->samples->count;
    struct ss_sample before[SS_SAMPLES_MAX];
    memcpy(before, queue->samples->sample, sizeof before);
    ck_assert_uint_gt(count, 1);
    ck_assert_uint_eq(before[0].place, first);
    smolscale_queue_set_max_active(queue, 1);
    counter_wait(&in_batch, 1);
    ck_assert_uint_eq(smolscale_queue_pending(queue), 63);
    ck_assert_uint_eq(load_relaxed(&queue->pending), 0);      // all of them are in the batch
    ck_assert(smolscale_queue_cancel(queue, item_of(64), 0)); // recalls
    ss_lock(queue->runnable.lock);
    ck_assert_uint_eq(queue->samples->count, count - 1 - (before[count - 1].place == first + 63));
    for (unsigned i = 0; i < queue->samples->count; i++) {
        unsigned at = (queue->samples->first + i) % SS_SAMPLES_MAX;
        ck_assert_uint_eq(queue->samples->sample[at].place, before[i + 1].place);
        ck_assert_uint_eq(queue->samples->sample[at].stamp, before[i + 1].stamp);
    }
    ss_unlock(queue->runnable.lock);
    counter_add(&go_on, 1);
    counter_wait(&ran, 63);
    ck_assert_uint_gt(times_counted(), 0);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(when_nobody_looks_any_more_a_queue_keeps_nothing)
{
    ss_observe_in_part(true);
    smolscale_queue *queue = labelled(1), *ordered = labelled(0);
    ck_assert_int_eq(smolscale_queue_set_compare(ordered, by_address, NULL), 0);
    for (uintptr_t i = 0; i < 1000; i++) {
        push(queue, item_of(i));
        push(ordered, item_of(i));
    }
    smolscale_queue_wait(queue);
    ck_assert(ss_queue_is_timed(queue));
    ck_assert(ss_queue_is_timed(ordered));
    uint64_t counted = times_counted();
    ss_observe_in_part(false);
    push(queue, item_of(1));
    smolscale_queue_set_max_active(ordered, 1);
    smolscale_queue_wait(queue);
    smolscale_queue_wait(ordered);
    ck_assert(!ss_queue_is_timed(queue));
    ck_assert(!ss_queue_is_timed(ordered));
    ck_assert_uint_eq(queue->pass_over, 0);
    ck_assert_uint_eq(times_counted(), counted);
    smolscale_queue_free(queue);
    smolscale_queue_free(ordered);
}
END_TEST

// So a look that comes while a thread with the lock waits for a CPU shows the times all the same.
START_TEST(a_queue_whose_lock_is_held_has_its_times)
{
    begin();
    smolscale_queue *queue = labelled(1);
    struct ss_queue_view view;
    ss_queue_view(queue, &view);
    ck_assert_ptr_null(view.pool);
    push(queue, item_of(1));
    counter_wait(&ran, 1);
    ss_lock(queue->runnable.lock);
    ss_queue_view(queue, &view);
    ss_unlock(queue->runnable.lock);
    ck_assert_ptr_eq(view.pool, pool());
    ck_assert_uint_eq(ss_histogram_count(&view.pool->times), 1);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(samples_that_wait_are_counted_while_none_are_taken)
{
    begin();
    smolscale_queue *queue = labelled(0);
    push(queue, item_of(1));
    ss_observe_samples(false); // for a while
    push(queue, item_of(2));
    fake_clock_advance(SS_NS_PER_MS);
    smolscale_queue_set_max_active(queue, 1);
    counter_wait(&ran, 2);
    ck_assert_uint_eq(times_counted(), 1);
    ck_assert_uint_eq(load_relaxed(&pool()->times.max), SS_NS_PER_MS);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(a_full_observer_that_comes_meanwhile_counts_each_job)
{
    ss_observe_in_part(true);
    smolscale_queue *queue = labelled(0);
    push(queue, item_of(1));
    ss_observe(SS_OBSERVED_FOR_TIMES);
    for (uintptr_t i = 2; i <= 200; i++)
        push(queue, item_of(i));
    ck_assert_uint_eq(load_relaxed(&pool()->waiting), 199);
    smolscale_queue_set_max_active(queue, 2);
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(times_counted(), 200);
    ck_assert_uint_eq(load_relaxed(&pool()->waiting), 0);
    smolscale_queue_free(queue);
}
END_TEST

// Pushed, taken back and run at once, by several threads.
static void *push_and_cancel(void *queue)
{
    uint64_t state = (uintptr_t)&state;
    for (uintptr_t i = 0; i < SCALED(100000); i++) {
        uint64_t ticket;
        void *item = item_of(test_random(&state) % 8);
        smolscale_queue_push(queue, item, &ticket);
        if (test_random(&state) % 4 == 0)
            smolscale_queue_cancel(queue, item, ticket);
        if (test_random(&state) % 64 == 0)
            smolscale_queue_move_to_front(queue, item);
    }
    return NULL;
}

START_TEST(looks_may_begin_and_end_at_any_time)
{
    smolscale_queue *queue = labelled(2);
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++)
        threads[i] = thread_start(push_and_cancel, queue);
    for (unsigned i = 0; i < SCALED(2000); i++) {
        ss_observe_in_part(true);
        sched_yield();
        ss_observe_samples(i % 2);
        sched_yield();
        if (i % 16 == 0)
            ss_observe(SS_OBSERVED_FOR_TIMES);
        ss_observe_in_part(i % 3 == 0);
        ss_observe_no_more(SS_OBSERVED_FOR_TIMES);
    }
    ss_observe_in_part(false);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(load_relaxed(&pool()->waiting), 0);
    smolscale_queue_free(queue);
}
END_TEST

// ---- of late

static void add(uint64_t ns, unsigned jobs)
{
    for (unsigned i = 0; i < jobs; i++)
        ss_histogram_add(&ss_pool_find("test", NULL)->times, ns);
}

START_TEST(of_late_is_since_a_look_of_five_to_ten_seconds_ago)
{
    static struct ss_recent recent;
    struct ss_recent_times times;
    uint64_t now = 1000 * SS_NS_PER_S;
    add(1000000, 5);
    ss_recent_begin(&recent, now);
    ss_recent_of(&recent, pool(), &times);
    ck_assert_uint_eq(times.jobs, 0);
    // One of 500 ns a second, but for one in second 3.
    for (unsigned second = 1; second <= 30; second++) {
        add(second == 3 ? 9000 : 500, 1);
        now += SS_NS_PER_S;
        ss_recent_of(&recent, pool(), &times);
        ck_assert_uint_ge(times.jobs, second < 5 ? second : 5);
        ck_assert_uint_le(times.jobs, second < 10 ? second : 10);
        ck_assert_uint_eq(times.p50,
                          ss_bucket_end(ss_bucket_of(second == 3 && times.jobs == 1 ? 9000 : 500)));
        bool has_long = second >= 3 && times.jobs > second - 3;
        ck_assert_uint_eq(times.max, ss_bucket_end(ss_bucket_of(has_long ? 9000 : 500)));
        ss_recent_turn(&recent, now);
    }
    // Looks that are far apart: all since the last.
    for (unsigned look = 0; look < 3; look++) {
        add(700, 7);
        now += 60 * SS_NS_PER_S;
        ss_recent_of(&recent, pool(), &times);
        ck_assert_uint_ge(times.jobs, 7);
        ck_assert_uint_le(times.jobs, look ? 7 : 17);
        ss_recent_turn(&recent, now);
    }
    ss_recent_end(&recent);
}
END_TEST

START_TEST(quantiles_of_late_are_those_of_the_times)
{
    static struct ss_recent recent;
    struct ss_recent_times times;
    add(1, 1000);
    ss_recent_begin(&recent, 1);
    for (unsigned i = 1; i <= 100; i++)
        add(i * 1000, 1);
    ss_recent_of(&recent, pool(), &times);
    ck_assert_uint_eq(times.jobs, 100);
    ck_close("p50", times.p50, 50000, 7);
    ck_close("p99", times.p99, 99000, 7);
    ck_assert_uint_eq(times.max, 100000);
    ss_recent_of(&recent, NULL, &times);
    ck_assert_uint_eq(times.jobs, 0);
    ss_recent_end(&recent);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        few_samples_tell_of_a_steady_flow_what_all_times_do,
        samples_tell_of_bursts_what_all_times_do,
        samples_of_a_flood_are_spread_over_all_of_it,
        where_jobs_are_rare_each_is_a_sample_also_soon_after_a_flood,
        equal_pointers_have_each_its_own_time,
        an_ordered_queue_has_samples_too,
        what_is_taken_back_leaves_its_time_to_nobody,
        items_that_are_ordered_and_no_more_have_no_times_of_others,
        a_sample_of_many_pushed_at_once_stands_for_them,
        a_sample_that_is_recalled_keeps_its_time_and_its_place,
        when_nobody_looks_any_more_a_queue_keeps_nothing,
        a_queue_whose_lock_is_held_has_its_times,
        samples_that_wait_are_counted_while_none_are_taken,
        a_full_observer_that_comes_meanwhile_counts_each_job,
        looks_may_begin_and_end_at_any_time,
        of_late_is_since_a_look_of_five_to_ten_seconds_ago,
        quantiles_of_late_are_those_of_the_times,
        NULL,
    };
    return test_suite("samples", tests);
}
