// SPDX-License-Identifier: ISC
//
// Contract 4, progress: while jobs wait that their queue allows to run, one of them starts soon,
// whatever the other workers do: blocked, spinning, or waiting for that very job. And contract 5,
// economy: computing jobs make no more threads than there are CPUs, blocked ones get theirs, and
// what is surplus afterwards retires.

#include "smolscale_async.h"
#include "support.h"

// Jobs of a crowd that can end only when all of it has come.
struct crowd {
    unsigned size;
    struct counter came;
    atomic_uint spinning;
};

static void wait_for_crowd(void *item, void *user_data)
{
    (void)item;
    struct crowd *crowd = user_data;
    counter_add(&crowd->came, 1);
    counter_wait(&crowd->came, crowd->size);
}

static void spin_for_crowd(void *item, void *user_data)
{
    (void)item;
    struct crowd *crowd = user_data;
    atomic_fetch_add(&crowd->spinning, 1);
    while (atomic_load_explicit(&crowd->spinning, memory_order_relaxed) < crowd->size)
        ;
    counter_add(&crowd->came, 1);
}

static void yield_for_crowd(void *item, void *user_data)
{
    (void)item;
    struct crowd *crowd = user_data;
    atomic_fetch_add(&crowd->spinning, 1);
    while (atomic_load_explicit(&crowd->spinning, memory_order_relaxed) < crowd->size)
        sched_yield();
    counter_add(&crowd->came, 1);
}

static void nap_for_crowd(void *item, void *user_data)
{
    (void)item;
    struct crowd *crowd = user_data;
    atomic_fetch_add(&crowd->spinning, 1);
    while (atomic_load_explicit(&crowd->spinning, memory_order_relaxed) < crowd->size)
        test_breathe();
    counter_add(&crowd->came, 1);
}

static void crowd_meets(smolscale_run_fn *run, unsigned size, unsigned max_active)
{
    struct crowd crowd = {.size = size, .came = COUNTER_INIT};
    smolscale_queue *queue = queue_new(run, &crowd, max_active);
    for (unsigned i = 0; i < size; i++)
        push(queue, item_of(i));
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(counter_get(&crowd.came), size);
    smolscale_queue_free(queue);
}

START_TEST(jobs_asleep_for_one_another_all_get_a_thread)
{
    crowd_meets(wait_for_crowd, 200, SMOLSCALE_UNLIMITED);
    crowd_meets(wait_for_crowd, 3, 3);
    crowd_meets(wait_for_crowd, 50, 50);
}
END_TEST

START_TEST(jobs_spinning_for_one_another_all_get_a_thread)
{
    crowd_meets(spin_for_crowd, 6, 6);
    crowd_meets(spin_for_crowd, 3 * smolscale_cpus() + 1, SMOLSCALE_UNLIMITED);
}
END_TEST

START_TEST(spinning_jobs_beyond_four_times_the_cpus_still_get_a_thread)
{
    crowd_meets(spin_for_crowd, 5 * smolscale_cpus() + 1, SMOLSCALE_UNLIMITED);
}
END_TEST

START_TEST(jobs_yielding_and_napping_for_one_another_all_get_a_thread)
{
    crowd_meets(yield_for_crowd, 3 * smolscale_cpus() + 1, SMOLSCALE_UNLIMITED);
    crowd_meets(nap_for_crowd, 30, SMOLSCALE_UNLIMITED);
}
END_TEST

START_TEST(crowds_on_many_queues_of_limit_1_all_get_a_thread)
{
    enum { QUEUES = 24 };
    struct crowd crowd = {.size = QUEUES, .came = COUNTER_INIT};
    smolscale_queue *queue[QUEUES];
    for (unsigned q = 0; q < QUEUES; q++)
        push(queue[q] = queue_new(wait_for_crowd, &crowd, 1), item_of(q));
    for (unsigned q = 0; q < QUEUES; q++)
        smolscale_queue_free(queue[q]);
    ck_assert_uint_eq(counter_get(&crowd.came), QUEUES);
}
END_TEST

// A job that reads from a pipe which only the last job writes to.
static int pipes[64][2];
enum { PIPES = sizeof pipes / sizeof *pipes };

static void read_or_write_pipes(void *item, void *user_data)
{
    struct counter *done = user_data;
    unsigned n = number_of(item);
    char c = 'x';
    if (n < PIPES)
        ck_assert_int_eq(read(pipes[n][0], &c, 1), 1);
    else
        for (unsigned i = 0; i < PIPES; i++)
            ck_assert_int_eq(write(pipes[i][1], &c, 1), 1);
    counter_add(done, 1);
}

START_TEST(a_job_behind_many_blocked_readers_starts_and_frees_them)
{
    struct counter done = COUNTER_INIT;
    for (unsigned i = 0; i < PIPES; i++)
        ck_assert_int_eq(pipe(pipes[i]), 0);
    smolscale_queue *queue = queue_new(read_or_write_pipes, &done, PIPES + 1);
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i <= PIPES; i++)
            push(queue, item_of(i));
        smolscale_queue_wait(queue);
        ck_assert_uint_eq(counter_get(&done), (round + 1) * (PIPES + 1));
    }
    smolscale_queue_free(queue);
}
END_TEST

// A job that pushes the job it waits for, to any depth.
struct chain {
    struct counter ended[16];
    smolscale_queue *queue;
};

static void chain_job(void *item, void *user_data)
{
    struct chain *chain = user_data;
    unsigned depth = number_of(item);
    if (depth + 1 < 16) {
        push(chain->queue, item_of(depth + 1));
        counter_wait(&chain->ended[depth + 1], 1);
    }
    counter_add(&chain->ended[depth], 1);
}

START_TEST(a_job_may_wait_for_a_job_pushed_behind_it)
{
    for (unsigned round = 0; round < SCALED(100); round++) {
        struct chain chain;
        for (unsigned i = 0; i < 16; i++)
            chain.ended[i] = (struct counter)COUNTER_INIT;
        chain.queue = queue_new(chain_job, &chain, 16);
        push(chain.queue, item_of(0));
        counter_wait(&chain.ended[0], 1);
        smolscale_queue_free(chain.queue);
    }
}
END_TEST

// Tiny jobs with a blocking one among them: the worker that meets it has claimed the others
// already.
struct mixed {
    struct counter tiny, release;
    unsigned blocking; // number of the job that blocks
    bool spins;
    atomic_bool released;
};

static void mixed_job(void *item, void *user_data)
{
    struct mixed *mixed = user_data;
    if (number_of(item) != mixed->blocking) {
        counter_add(&mixed->tiny, 1);
        return;
    }
    if (mixed->spins)
        while (!atomic_load(&mixed->released))
            ;
    else
        counter_wait(&mixed->release, 1);
}

static void others_overtake(unsigned max_active, unsigned jobs, unsigned blocking, bool spins)
{
    struct mixed mixed = {
        .tiny = COUNTER_INIT, .release = COUNTER_INIT, .blocking = UINT32_MAX, .spins = spins};
    smolscale_queue *queue = queue_new(mixed_job, &mixed, max_active);
    for (unsigned i = 0; i < 2000; i++) // the queue's jobs are known to be tiny now
        push(queue, item_of(i));
    smolscale_queue_wait(queue);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 0), 0);
    mixed.blocking = blocking;
    for (unsigned i = 0; i < jobs; i++)
        push(queue, item_of(i));
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, max_active), 0);
    counter_wait(&mixed.tiny, 2000 + jobs - 1); // all but the blocking one
    counter_add(&mixed.release, 1);
    atomic_store(&mixed.released, true);
    smolscale_queue_free(queue);
}

START_TEST(a_blocking_job_among_tiny_ones_does_not_hold_them)
{
    others_overtake(2, 100, 3, false);
    others_overtake(2, 64, 0, false);
    others_overtake(2, 64, 62, false);
    others_overtake(SMOLSCALE_UNLIMITED, 1000, 500, false);
}
END_TEST

START_TEST(a_spinning_job_among_tiny_ones_does_not_hold_them)
{
    others_overtake(2, 100, 3, true);
    others_overtake(SMOLSCALE_UNLIMITED, 1000, 500, true);
}
END_TEST

// While every CPU is taken by a job that never ends by itself, others still start.
static atomic_bool stop_spinning;

static void spin_until_stopped(void *item, void *user_data)
{
    (void)item;
    counter_add(user_data, 1);
    while (!atomic_load_explicit(&stop_spinning, memory_order_relaxed))
        ;
}

static void count_job(void *item, void *user_data)
{
    (void)item;
    counter_add(user_data, 1);
}

START_TEST(jobs_of_another_queue_start_while_all_cpus_spin)
{
    struct counter spinning = COUNTER_INIT, done = COUNTER_INIT;
    unsigned cpus = smolscale_cpus();
    smolscale_queue *spinners = queue_new(spin_until_stopped, &spinning, cpus);
    smolscale_queue *others = queue_new(count_job, &done, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < cpus; i++)
        push(spinners, item_of(i));
    counter_wait(&spinning, cpus);
    for (unsigned i = 1; i <= 20; i++) {
        push(others, item_of(i));
        counter_wait(&done, i);
    }
    atomic_store(&stop_spinning, true);
    smolscale_queue_free(spinners);
    smolscale_queue_free(others);
}
END_TEST

START_TEST(a_worker_behind_spinning_jobs_runs_all_that_waits)
{
    struct counter spinning = COUNTER_INIT, done = COUNTER_INIT;
    unsigned cpus = smolscale_cpus();
    fake_clock_start();
    smolscale_queue *spinners = queue_new(spin_until_stopped, &spinning, cpus);
    smolscale_queue *others = queue_new(count_job, &done, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < cpus; i++)
        push(spinners, item_of(i));
    counter_wait(&spinning, cpus);
    for (unsigned i = 0; i < 20; i++)
        push(others, item_of(i));
    while (counter_get(&done) == 0) {
        fake_clock_advance(100 * SS_NS_PER_US);
        test_breathe();
    }
    counter_wait(&done, 20); // from here on time stands still
    atomic_store(&stop_spinning, true);
    smolscale_queue_free(spinners);
    smolscale_queue_free(others);
}
END_TEST

START_TEST(a_crowd_meets_without_proc_and_cpu_clocks)
{
    no_proc_start();
    crowd_meets(wait_for_crowd, 20, SMOLSCALE_UNLIMITED);
    crowd_meets(spin_for_crowd, 6, 6);
    others_overtake(2, 100, 3, false);
}
END_TEST

// A task waits, asleep in its poll, for the one behind it in its lane.

static struct counter task_waits = COUNTER_INIT, task_may_go = COUNTER_INIT;

static int poll_waiting(smolscale_cx *cx, void *frame)
{
    (void)cx, (void)frame;
    counter_add(&task_waits, 1);
    counter_wait(&task_may_go, 1);
    return 0;
}

static int poll_freeing(smolscale_cx *cx, void *frame)
{
    (void)cx, (void)frame;
    counter_add(&task_may_go, 1);
    return 0;
}

static void a_task_frees_the_one_before_it(void)
{
    smolscale_task *waiting, *freeing;
    ck_assert_int_eq(smolscale_spawn(&waiting, poll_waiting, "", 1), 0);
    counter_wait(&task_waits, 1);
    ck_assert_int_eq(smolscale_spawn(&freeing, poll_freeing, "", 1), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, freeing)), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, waiting)), 0);
    smolscale_release(freeing);
    smolscale_release(waiting);
}

START_TEST(a_lane_is_taken_from_a_server_that_sleeps)
{
    a_task_frees_the_one_before_it();
}
END_TEST

START_TEST(a_lane_is_taken_without_proc)
{
    no_proc_but_clocks_start();
    a_task_frees_the_one_before_it();
}
END_TEST

START_TEST(a_lane_is_taken_without_proc_and_cpu_clocks)
{
    no_proc_start();
    a_task_frees_the_one_before_it();
}
END_TEST

START_TEST(with_one_cpu_a_crowd_meets)
{
    setenv("SMOLSCALE_WORKERS", "1", 1);
    ck_assert_uint_eq(smolscale_cpus(), 1);
    crowd_meets(wait_for_crowd, 30, SMOLSCALE_UNLIMITED);
    crowd_meets(spin_for_crowd, 4, 4);
    others_overtake(2, 100, 3, false);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// blocking_begin() and blocking_end()
// ---------------------------------------------------------------------------------------------

static void announce_and_spin_for_crowd(void *item, void *user_data)
{
    smolscale_blocking_begin();
    smolscale_blocking_begin(); // pairs nest
    smolscale_blocking_end();
    spin_for_crowd(item, user_data);
    smolscale_blocking_end();
}

START_TEST(an_announced_block_gives_its_place_away_without_the_clock)
{
    fake_clock_start(); // time stands still: nobody notices anything by himself
    crowd_meets(announce_and_spin_for_crowd, 4 * smolscale_cpus(), SMOLSCALE_UNLIMITED);
}
END_TEST

static void announce_and_wait_for_crowd(void *item, void *user_data)
{
    smolscale_blocking_begin();
    wait_for_crowd(item, user_data);
    smolscale_blocking_end();
}

START_TEST(announced_blocks_keep_the_counts_right)
{
    for (unsigned round = 0; round < 20; round++)
        crowd_meets(announce_and_wait_for_crowd, 40, SMOLSCALE_UNLIMITED);
    EVENTUALLY(stats_now().workers_blocked, ==, 0);
    EVENTUALLY(workers_after_retiring(), ==, 0);
    crowd_meets(announce_and_wait_for_crowd, 40, SMOLSCALE_UNLIMITED);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Economy
// ---------------------------------------------------------------------------------------------

// Where other programs take the CPUs, a worker stands still for milliseconds at any place, and the
// balancer cannot tell that from a job that waits for others: it adds a worker, as contract 4 has
// it. So that economy is asked for on any machine, the clock goes with the workers: a millisecond
// has passed when each of them has begun another job, has had a millisecond of CPU, or sleeps.
struct pace {
    atomic_int tid;
    atomic_uint jobs;
    unsigned jobs_seen; // when the clock moved last
    uint64_t cpu_seen;
};
static struct pace paces[256];
static atomic_uint pace_count;
static _Thread_local struct pace *own_pace;

static void keep_pace(void)
{
    if (!own_pace) {
        unsigned index = atomic_fetch_add(&pace_count, 1);
        ck_assert_uint_lt(index, sizeof paces / sizeof *paces);
        own_pace = &paces[index];
        atomic_store(&own_pace->tid, gettid());
    }
    atomic_fetch_add(&own_pace->jobs, 1);
}

static bool waits_for_its_cpu(const struct pace *pace)
{
    pid_t tid = atomic_load(&pace->tid);
    if (tid == 0 || atomic_load(&pace->jobs) != pace->jobs_seen ||
        ss_os.thread_cpu_time(tid) - pace->cpu_seen >= SS_NS_PER_MS)
        return false;
    enum ss_thread_state state;
    ss_os.thread_states(&tid, &state, 1);
    return state == SS_THREAD_RUNNABLE;
}

static void let_a_millisecond_pass(void)
{
    unsigned count = atomic_load(&pace_count);
    for (unsigned i = 0; i < count; i++)
        while (waits_for_its_cpu(&paces[i]))
            test_breathe();
    for (unsigned i = 0; i < count; i++) {
        paces[i].jobs_seen = atomic_load(&paces[i].jobs);
        paces[i].cpu_seen = ss_os.thread_cpu_time(atomic_load(&paces[i].tid));
    }
    fake_clock_advance(SS_NS_PER_MS);
}

static unsigned run_with_the_clock(smolscale_run_fn *run, unsigned jobs, const struct tids *others)
{
    atomic_uint done = 0;
    unsigned threads = 0;
    fake_clock_start();
    smolscale_queue *queue = queue_new(run, &done, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < jobs; i++) {
        push(queue, item_of(i));
        if (i % 1000 == 999)
            let_a_millisecond_pass();
    }
    while (atomic_load(&done) < jobs) {
        unsigned now = threads_new(others);
        threads = now > threads ? now : threads;
        test_breathe();
        let_a_millisecond_pass();
    }
    while (smolscale_idle_workers() <
           stats_now().workers) // who lingers at the queue looks at the clock
        let_a_millisecond_pass();
    smolscale_queue_free(queue);
    return threads;
}

static void compute(void *item, void *user_data)
{
    (void)item;
    keep_pace();
    volatile unsigned x = 1;
    for (unsigned i = 0; i < 20000; i++)
        x = x * 3 + i;
    atomic_fetch_add((atomic_uint *)user_data, 1);
}

START_TEST(computing_jobs_make_no_more_threads_than_cpus_and_two)
{
    struct tids others;
    threads_before_first_use(&others);
    unsigned threads = run_with_the_clock(compute, SCALED(20000), &others);
    unsigned most = smolscale_cpus() + 2;
    struct smolscale_stats stats = stats_now();
    ck_assert_msg(stats.workers_peak <= most, "expected at most %u workers, got %u", most,
                  stats.workers_peak);
    ck_assert_msg(threads <= most + OWN_THREADS, "expected at most %u threads and %d, got %u", most,
                  OWN_THREADS, threads);
}
END_TEST

static void count_atomically(void *item, void *user_data)
{
    (void)item;
    keep_pace();
    atomic_fetch_add((atomic_uint *)user_data, 1);
}

START_TEST(empty_jobs_make_no_more_threads_than_cpus_and_two)
{
    struct tids others;
    threads_before_first_use(&others);
    run_with_the_clock(count_atomically, SCALED(200000), &others);
    unsigned most = smolscale_cpus() + 2;
    struct smolscale_stats stats = stats_now();
    ck_assert_msg(stats.workers_peak <= most,
                  "expected at most %u workers, got %u (%llu added by the balancer)", most,
                  stats.workers_peak, (unsigned long long)stats.compensations);
}
END_TEST

START_TEST(the_surplus_of_a_blocked_crowd_retires)
{
    crowd_meets(wait_for_crowd, 200, SMOLSCALE_UNLIMITED);
    ck_assert_uint_ge(stats_now().workers_peak, 200);
    EVENTUALLY(stats_now().workers, <=, workers_kept());
    crowd_meets(wait_for_crowd, 200, SMOLSCALE_UNLIMITED);
}
END_TEST

START_TEST(retire_idle_ends_every_sleeping_worker)
{
    struct tids others;
    threads_before_first_use(&others);
    struct counter done = COUNTER_INIT;
    for (unsigned round = 1; round <= 50; round++) {
        crowd_meets(wait_for_crowd, 10, SMOLSCALE_UNLIMITED);
        EVENTUALLY(smolscale_idle_workers(), ==, stats_now().workers);
        smolscale_retire_idle();
        EVENTUALLY(stats_now().workers, ==, 0);
        ck_assert_uint_eq(smolscale_idle_workers(), 0);
        smolscale_queue *queue = queue_new(count_job, &done, 1);
        push(queue, item_of(0));
        smolscale_queue_free(queue);
        ck_assert_uint_eq(counter_get(&done), round);
    }
    struct smolscale_stats stats = stats_now();
    ck_assert_uint_eq(stats.workers_created - stats.workers_retired, stats.workers);
    EVENTUALLY(threads_new(&others), <=, stats.workers + OWN_THREADS);
}
END_TEST

START_TEST(max_idle_bounds_the_sleeping_workers)
{
    smolscale_set_max_idle(1);
    for (unsigned round = 0; round < 20; round++) {
        crowd_meets(wait_for_crowd, 10, SMOLSCALE_UNLIMITED);
        EVENTUALLY(stats_now().workers, <=, 1);
    }
    smolscale_set_max_idle(0);
    EVENTUALLY(stats_now().workers, ==, 0);
    crowd_meets(wait_for_crowd, 10, SMOLSCALE_UNLIMITED);
    EVENTUALLY(stats_now().workers, ==, 0);
}
END_TEST

START_TEST(an_idle_timeout_ends_all_workers)
{
    smolscale_set_idle_timeout(20 * SS_NS_PER_MS);
    crowd_meets(wait_for_crowd, 10, SMOLSCALE_UNLIMITED);
    EVENTUALLY(stats_now().workers, ==, 0);
    crowd_meets(wait_for_crowd, 10, SMOLSCALE_UNLIMITED);
    EVENTUALLY(stats_now().workers, ==, 0);
}
END_TEST

START_TEST(the_counters_add_up)
{
    crowd_meets(wait_for_crowd, 64, SMOLSCALE_UNLIMITED);
    atomic_uint done = 0;
    smolscale_queue *queue = queue_new(compute, &done, 2);
    for (unsigned i = 0; i < 1000; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    EVENTUALLY(stats_now().workers, <=, workers_kept());
    struct smolscale_stats stats = stats_now();
    ck_assert_uint_eq(stats.jobs, 1064);
    ck_assert_uint_eq(stats.workers_created - stats.workers_retired, stats.workers);
    ck_assert_uint_ge(stats.workers_peak, 64);
    ck_assert_uint_le(stats.workers_peak, stats.workers_created);
    ck_assert_uint_eq(stats.create_failures, 0);
    EVENTUALLY(stats_now().workers_blocked, ==, 0);
}
END_TEST

START_TEST(stats_of_an_older_caller_do_not_write_beyond_its_size)
{
    struct smolscale_stats stats;
    memset(&stats, 0xa5, sizeof stats);
    stats.size = offsetof(struct smolscale_stats, wakes);
    smolscale_get_stats(&stats);
    ck_assert_uint_eq(stats.jobs, 0);
    ck_assert_uint_eq(stats.wakes, UINT64_C(0xa5a5a5a5a5a5a5a5));
}
END_TEST

int main(void)
{
    return test_suite("progress", (const TTest *[]){
                                      jobs_asleep_for_one_another_all_get_a_thread,
                                      jobs_spinning_for_one_another_all_get_a_thread,
                                      spinning_jobs_beyond_four_times_the_cpus_still_get_a_thread,
                                      jobs_yielding_and_napping_for_one_another_all_get_a_thread,
                                      crowds_on_many_queues_of_limit_1_all_get_a_thread,
                                      a_job_behind_many_blocked_readers_starts_and_frees_them,
                                      a_job_may_wait_for_a_job_pushed_behind_it,
                                      a_blocking_job_among_tiny_ones_does_not_hold_them,
                                      a_spinning_job_among_tiny_ones_does_not_hold_them,
                                      jobs_of_another_queue_start_while_all_cpus_spin,
                                      a_worker_behind_spinning_jobs_runs_all_that_waits,
                                      a_crowd_meets_without_proc_and_cpu_clocks,
                                      a_lane_is_taken_from_a_server_that_sleeps,
                                      a_lane_is_taken_without_proc,
                                      a_lane_is_taken_without_proc_and_cpu_clocks,
                                      with_one_cpu_a_crowd_meets,
                                      an_announced_block_gives_its_place_away_without_the_clock,
                                      announced_blocks_keep_the_counts_right,
                                      computing_jobs_make_no_more_threads_than_cpus_and_two,
                                      empty_jobs_make_no_more_threads_than_cpus_and_two,
                                      the_surplus_of_a_blocked_crowd_retires,
                                      retire_idle_ends_every_sleeping_worker,
                                      max_idle_bounds_the_sleeping_workers,
                                      an_idle_timeout_ends_all_workers,
                                      the_counters_add_up,
                                      stats_of_an_older_caller_do_not_write_beyond_its_size,
                                      NULL,
                                  });
}
