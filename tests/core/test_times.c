// SPDX-License-Identifier: ISC
//
// The contracts that name a time: progress every 10 ms (100 ms once runnable workers are four times
// the CPUs), replacements for blocked workers below 1 ms, notices, retirement, and no look at all
// while there is nothing to do. Time is what the test says. It moves in steps; after each of them
// the balancer is let do what it has to do, and after all of them the clock stands still until the
// threads have done what they were told to. So nothing here depends on how fast a thread gets its
// CPU, and what comes later than the contract has it does not come at all.

#include "support.h"

#include "queue/batch.h"
#include "sched/executor.h"
#include "task/lane.h"

#include <smolscale_async.h>

enum { CPUS = 2 };

#define US SS_NS_PER_US
#define MS SS_NS_PER_MS

// The balancer looks at /proc itself: a thread that does so for it would come up in real time, and
// until then the kernel is said to tell nothing.
static void look_itself(void)
{
}

static void begin_with(const char *workers)
{
    setenv("SMOLSCALE_WORKERS", workers, 1);
    fake_clock_start();
    ss_os.begin_looks = look_itself;
    ck_assert_uint_eq(smolscale_cpus(), (unsigned)atoi(workers));
}

static void begin(void)
{
    begin_with("2");
}

static struct counter started = COUNTER_INIT, go = COUNTER_INIT;

// Jobs of a test of which each keeps its worker.
static unsigned keeping_jobs;

static unsigned jobs_with_a_worker(void)
{
    unsigned idle = smolscale_idle_workers(); // one that came when another had the queue in hand
    unsigned workers = stats_now().workers - idle;
    return workers < keeping_jobs ? workers : keeping_jobs;
}

// Time moves, and the balancer has looked, if it was to; whom it called has come to a job.
static void pass(uint64_t time, uint64_t step)
{
    for (uint64_t passed = 0; passed < time; passed += step) {
        fake_clock_advance(step);
        EVENTUALLY(fake_clock_sleeps_on(&ss.balancer), ==, true);
        EVENTUALLY(counter_get(&started), >=, jobs_with_a_worker());
    }
}

static void balancer_parks(void)
{
    do
        pass(MS, MS);
    while (load_relaxed(&ss.balancer) != SS_BALANCER_PARKED);
}

// ---- jobs

static atomic_bool stop;
static pid_t tids[64];

static void spin(void *item, void *user_data)
{
    (void)item, (void)user_data;
    counter_add(&started, 1);
    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        ;
}

static void sleep_in_kernel(void *item, void *user_data)
{
    (void)user_data;
    tids[number_of(item)] = gettid();
    counter_add(&started, 1);
    counter_wait(&go, 1);
}

static void announce_and_sleep(void *item, void *user_data)
{
    smolscale_blocking_begin();
    sleep_in_kernel(item, user_data);
    smolscale_blocking_end();
}

static enum ss_thread_state state_of(pid_t tid)
{
    enum ss_thread_state state;
    ss_os.thread_states(&tid, &state, 1);
    return state;
}

// The first `count` that have started have reached the kernel.
static void all_asleep(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        EVENTUALLY(state_of(tids[i]), ==, SS_THREAD_SLEEPING);
}

// Jobs of the queue keep as many workers as there are CPUs.
static void keep_workers(smolscale_queue *queue)
{
    keeping_jobs = CPUS;
    for (unsigned i = 0; i < CPUS; i++)
        push(queue, item_of(i));
    while (counter_get(&started) < CPUS)
        pass(MS, 100 * US);
}

// ---- progress

START_TEST(while_all_workers_compute_a_job_starts_every_10_ms)
{
    begin();
    smolscale_queue *queue = queue_new(spin, NULL, SMOLSCALE_UNLIMITED);
    keeping_jobs = 4 * CPUS;
    for (unsigned i = 0; i < 4 * CPUS; i++)
        push(queue, item_of(i));
    counter_wait(&started, 1);
    for (unsigned n = 2; n <= 4 * CPUS; n++) {
        pass(10 * MS, 200 * US);
        counter_wait(&started, n);
    }
    atomic_store(&stop, true);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(in_a_crowd_of_computing_workers_a_job_starts_every_100_ms)
{
    begin();
    smolscale_queue *queue = queue_new(spin, NULL, SMOLSCALE_UNLIMITED);
    keeping_jobs = 4 * CPUS + 3;
    for (unsigned i = 0; i < 4 * CPUS + 3; i++)
        push(queue, item_of(i));
    while (counter_get(&started) < 4 * CPUS)
        pass(10 * MS, 200 * US);
    for (unsigned n = (unsigned)counter_get(&started) + 1; n <= 4 * CPUS + 3; n++) {
        pass(100 * MS, MS);
        counter_wait(&started, n);
    }
    atomic_store(&stop, true);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(a_job_of_another_queue_starts_within_10_ms_though_all_workers_compute)
{
    begin();
    smolscale_queue *spinners = queue_new(spin, NULL, CPUS);
    smolscale_queue *other = queue_new(spin, NULL, 1);
    keep_workers(spinners);
    balancer_parks(); // it has to be called
    push(other, item_of(0));
    pass(10 * MS, 200 * US);
    counter_wait(&started, CPUS + 1);
    atomic_store(&stop, true);
    smolscale_queue_free(spinners);
    smolscale_queue_free(other);
}
END_TEST

// Clocks of workers that compute, until their jobs fall asleep: of all at the same time.

static _Atomic uint64_t asleep_since; // 0: they compute

static uint64_t clock_that_runs(pid_t tid)
{
    (void)tid;
    uint64_t since = atomic_load(&asleep_since);
    return since ? since : ss_os.now();
}

static void all_as_their_clocks(const pid_t *of, enum ss_thread_state *states, unsigned count)
{
    (void)of;
    for (unsigned i = 0; i < count; i++)
        states[i] = atomic_load(&asleep_since) ? SS_THREAD_SLEEPING : SS_THREAD_RUNNABLE;
}

static unsigned not_told(void)
{
    return 0;
}

static void jobs_compute(void)
{
    ss_os.thread_cpu_time = clock_that_runs;
    ss_os.thread_states = all_as_their_clocks;
    ss_os.runnable_threads = not_told;
}

enum { A_MILLISECOND = 1000, NO_TIME }; // what a job is known to take, or else it spins

static void spin_or_end(void *item, void *user_data)
{
    if (number_of(item) == A_MILLISECOND)
        fake_clock_advance(MS);
    else if (number_of(item) != NO_TIME)
        spin(item, user_data);
}

// A worker that takes its job while the balancer creates the next one may have it think that no
// more is to be done, and one that comes while another has the queue in hand parks. So here each
// new thread waits until the balancer sleeps, and the one before it has started its job.

static int (*create_thread)(void *(*main)(void *), void *arg);

struct birth {
    void *(*main)(void *);
    void *arg;
    unsigned before; // threads
};

static void *begin_in_turn(void *arg)
{
    struct birth birth = *(struct birth *)arg;
    free(arg);
    EVENTUALLY(fake_clock_sleeps_on(&ss.balancer), ==, true);
    counter_wait(&started, CPUS + birth.before);
    return birth.main(birth.arg);
}

static int create_in_turn(void *(*main)(void *), void *arg)
{
    struct birth *birth = malloc(sizeof *birth);
    static unsigned births;
    *birth = (struct birth){main, arg, births++};
    return create_thread(begin_in_turn, birth);
}

// Where all CPUs compute, the balancer gets one late, and so must do much each time: it adds one
// worker, then two, then as many as are left.
START_TEST(eight_jobs_of_which_nothing_is_known_meet_within_5_ms_and_few_orders)
{
    begin();
    jobs_compute();
    smolscale_queue *queue = queue_new(spin, NULL, SMOLSCALE_UNLIMITED);
    keep_workers(queue);
    create_thread = ss_os.thread_create;
    ss_os.thread_create = create_in_turn;
    uint64_t before = stats_now().compensations;
    keeping_jobs = 4 * CPUS;
    for (unsigned i = CPUS; i < 4 * CPUS; i++)
        push(queue, item_of(i));
    pass(5 * MS, 100 * US);
    counter_wait(&started, 4 * CPUS);
    ck_assert_uint_le(stats_now().compensations - before, 3);
    atomic_store(&stop, true);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(jobs_that_are_known_to_take_long_make_no_worker_too_many_in_3_ms)
{
    begin();
    jobs_compute();
    smolscale_queue *queue = queue_new(spin_or_end, NULL, SMOLSCALE_UNLIMITED);
    push(queue, item_of(A_MILLISECOND));
    smolscale_queue_wait(queue);
    keeping_jobs = CPUS;
    for (unsigned i = 0; i < 6; i++)
        push(queue, item_of(i));
    while (counter_get(&started) < CPUS)
        pass(100 * US, 100 * US);
    pass(3 * MS, 100 * US);
    ck_assert_uint_eq(counter_get(&started), CPUS);
    atomic_store(&stop, true);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(a_short_job_starts_within_1_ms_though_all_workers_compute)
{
    begin();
    jobs_compute();
    smolscale_queue *spinners = queue_new(spin, NULL, CPUS);
    smolscale_queue *shorts = queue_new(spin_or_end, NULL, 1);
    push(shorts, item_of(NO_TIME));
    smolscale_queue_wait(shorts);
    keep_workers(spinners);
    balancer_parks();
    keeping_jobs = CPUS + 1;
    push(shorts, item_of(0)); // it starts, and shows that
    pass(MS, 100 * US);
    counter_wait(&started, CPUS + 1);
    atomic_store(&stop, true);
    smolscale_queue_free(spinners);
    smolscale_queue_free(shorts);
}
END_TEST

// ---- what a tick costs

static atomic_ulong clocks_read, states_asked;

static uint64_t clock_that_stands(pid_t tid)
{
    (void)tid;
    atomic_fetch_add(&clocks_read, 1);
    return 1;
}

static void all_sleep(const pid_t *of, enum ss_thread_state *states, unsigned count)
{
    (void)of;
    atomic_fetch_add(&states_asked, count);
    for (unsigned i = 0; i < count; i++)
        states[i] = SS_THREAD_SLEEPING;
}

// Whatever is in a job counts as blocked when a tick sees it for the second time.
static void jobs_are_blocked(void)
{
    ss_os.thread_cpu_time = clock_that_stands;
    ss_os.thread_states = all_sleep;
    ss_os.runnable_threads = not_told;
}

static void wait_for_go(void *item, void *user_data)
{
    (void)item, (void)user_data;
    counter_add(&started, 1);
    counter_wait(&go, 1);
}

static unsigned long ticks(void)
{
    return (unsigned long)stats_now().ticks;
}

// That many jobs have started, and wait. In how many ticks, but for those that leave workers idle:
// they came while others had the queue in hand, which is the scheduler's doing.
static unsigned long block(smolscale_queue *queue, unsigned jobs)
{
    unsigned long count = 0, before = ticks();
    keeping_jobs = jobs;
    for (unsigned i = 0; i < jobs; i++)
        push(queue, item_of(i));
    for (; counter_get(&started) < jobs; before = ticks()) {
        pass(100 * US, 100 * US);
        if (smolscale_idle_workers() == 0)
            count += ticks() - before;
    }
    return count;
}

START_TEST(a_tick_looks_at_few_of_the_workers_that_are_known_to_be_blocked)
{
    enum { JOBS = SCALED(600), TICKS = 50 };
    setenv("SMOLSCALE_MAX_THREADS", JOBS == 600 ? "600" : JOBS == 120 ? "120" : "30", 1);
    begin();
    jobs_are_blocked();
    smolscale_queue *queue = queue_new(wait_for_go, NULL, SMOLSCALE_UNLIMITED);
    block(queue, JOBS);
    push(queue, item_of(0)); // for which there is no worker: the balancer stays awake
    pass(20 * MS, MS);
    unsigned long before = ticks();
    atomic_store(&clocks_read, 0);
    atomic_store(&states_asked, 0);
    while (ticks() - before < TICKS)
        pass(4 * MS, 4 * MS);
    unsigned long count = ticks() - before, most = JOBS / 8 + 2;
    most = most < 64 ? most : 64;
    ck_assert_msg(atomic_load(&clocks_read) <= count * most, "%lu clocks in %lu ticks",
                  atomic_load(&clocks_read), count);
    ck_assert_msg(atomic_load(&clocks_read) >= count, "it does not look at all");
    ck_assert_msg(atomic_load(&states_asked) <= count, "%lu threads were asked about in %lu ticks",
                  atomic_load(&states_asked), count);
    counter_add(&go, 1);
    smolscale_queue_free(queue);
}
END_TEST

static void all_wait_for_a_cpu(const pid_t *of, enum ss_thread_state *states, unsigned count)
{
    (void)of;
    atomic_fetch_add(&states_asked, count);
    for (unsigned i = 0; i < count; i++)
        states[i] = SS_THREAD_RUNNABLE;
}

START_TEST(a_worker_that_waits_for_a_cpu_is_asked_about_once_in_4_ms)
{
    enum { LOOKS = 200 }; // one each 100 us
    setenv("SMOLSCALE_MAX_THREADS", "1", 1);
    begin_with("1");
    ss_os.thread_cpu_time = clock_that_stands;
    ss_os.thread_states = all_wait_for_a_cpu;
    smolscale_queue *queue = queue_new(wait_for_go, NULL, SMOLSCALE_UNLIMITED);
    block(queue, 1);
    push(queue, item_of(0)); // for which there is no worker: the balancer stays awake
    pass(20 * MS, MS);
    unsigned long before = ticks();
    atomic_store(&states_asked, 0);
    for (unsigned i = 0; i < LOOKS; i++) {
        ss_hurry_balancer();
        pass(100 * US, 100 * US);
    }
    unsigned long asked = atomic_load(&states_asked), count = ticks() - before;
    ck_assert_uint_ge(count, LOOKS / 2);
    ck_assert_msg(asked <= LOOKS / 40 + 1, "asked %lu times in %lu ticks", asked, count);
    ck_assert_msg(asked > 0, "never asked in %lu ticks", count);
    counter_add(&go, 1);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(thousands_of_jobs_that_wait_for_one_another_meet_in_few_ticks)
{
    enum { JOBS = SCALED(3000) };
    begin();
    jobs_are_blocked();
    smolscale_queue *queue = queue_new(wait_for_go, NULL, SMOLSCALE_UNLIMITED);
    unsigned long count = block(queue, JOBS);
    ck_assert_msg(count < 100, "%lu ticks until %d jobs have started", count, JOBS);
    counter_add(&go, 1);
    smolscale_queue_free(queue);
}
END_TEST

// Runnables of the test's own.

static atomic_ulong asked_for_demand, runnables_run;

static unsigned counted_demand(struct ss_runnable *runnable)
{
    (void)runnable;
    atomic_fetch_add(&asked_for_demand, 1);
    return 1;
}

static void count_run(struct ss_runnable *runnable, struct ss_worker *worker)
{
    (void)runnable, (void)worker;
    atomic_fetch_add(&runnables_run, 1);
}

START_TEST(a_tick_looks_at_few_of_the_queues_that_wait)
{
    enum { WAITING = 5000, TICKS = 50 };
    static const struct ss_runnable_ops ops = {.run = count_run, .demand = counted_demand};
    static struct ss_runnable waiting[WAITING];
    setenv("SMOLSCALE_MAX_THREADS", "1", 1);
    begin_with("1");
    jobs_are_blocked();
    smolscale_queue *queue = queue_new(wait_for_go, NULL, 1);
    block(queue, 1);
    ss_lock(&ss.lock);
    for (unsigned i = 0; i < WAITING; i++) {
        waiting[i].ops = &ops;
        ss_inject(&ss.shared, &waiting[i]);
    }
    ss_unlock(&ss.lock);
    ss_wake_balancer();
    pass(20 * MS, MS);
    unsigned long before = ticks();
    atomic_store(&asked_for_demand, 0);
    while (ticks() - before < TICKS)
        pass(4 * MS, 4 * MS);
    unsigned long count = ticks() - before, asked = atomic_load(&asked_for_demand);
    ck_assert_msg(asked >= count && asked <= count * WAITING / 5,
                  "%lu times a queue was asked what waits, in %lu ticks", asked, count);
    counter_add(&go, 1); // each has its turn
    EVENTUALLY(atomic_load(&runnables_run), ==, WAITING);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(what_waits_is_taken_out_from_any_place_and_the_others_keep_their_order)
{
    enum { WAITING = 5 };
    static struct ss_runnable waiting[WAITING];
    struct ss_group group = {.head = NULL};
    for (unsigned i = 0; i < WAITING; i++)
        ss_inject(&group, &waiting[i]);
    ck_assert(ss_inject_withdraw(&group, &waiting[4]));
    ck_assert(ss_inject_withdraw(&group, &waiting[0]));
    ck_assert(!ss_inject_withdraw(&group, &waiting[0]));
    ss_inject_first(&group, &waiting[3]);
    ss_inject_first(&group, &waiting[3]);
    ss_inject(&group, &waiting[4]);
    ck_assert_uint_eq(load_relaxed(&group.injected), 4);
    static const unsigned order[] = {3, 1, 2, 4};
    for (unsigned i = 0; i < 4; i++)
        ck_assert_ptr_eq(ss_inject_pop(&group), &waiting[order[i]]);
    ck_assert_ptr_null(ss_inject_pop(&group));
    ck_assert_uint_eq(load_relaxed(&group.injected), 0);
}
END_TEST

// Looks for events, of which there are none.

static atomic_ulong looks;

static bool count_look(void)
{
    atomic_fetch_add(&looks, 1);
    return false;
}

// In the seat, which a worker may take while a lane changes hands.
static bool sleep_a_while(int fd, uint64_t until, bool *time_up)
{
    (void)fd, (void)until;
    test_breathe();
    if (time_up)
        *time_up = false;
    return false;
}

static void wake_nobody(void)
{
}

static const struct ss_event_duty no_events = {count_look, sleep_a_while, wake_nobody};

struct yielder {
    SMOLSCALE_FRAME;
};
SMOLSCALE_ASYNC(yielder, f)
{
    SMOLSCALE_BEGIN(f);
    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        SMOLSCALE_YIELD();
    SMOLSCALE_END;
}

static struct ss_worker *server_of(const struct ss_lane *lane)
{
    ss_lock(&ss.lock);
    struct ss_worker *worker = lane->worker;
    ss_unlock(&ss.lock);
    return worker;
}

// One worker, which may be another than before, has served the lane for so many polls.
static void poll_often(const struct ss_lane *lane)
{
    const struct ss_worker *server = NULL;
    uint64_t before = 0, polls = 0;
    for (unsigned i = 0; i < TEST_PATIENCE * 1000 && polls < 1000; i++) {
        struct ss_worker *now = server_of(lane);
        if (now != server) {
            server = now;
            before = now ? load_relaxed(&now->progress) : 0;
        }
        polls = now ? load_relaxed(&now->progress) - before : 0;
        test_breathe();
    }
    ck_assert_uint_ge(polls, 1000);
}

START_TEST(of_all_threads_that_serve_lanes_one_looks_for_events)
{
    enum { STEPS = 10 };
    begin();
    struct ss_lane *lane = ss_lanes.lane[0], *other = ss_lane_add(); // there is no balancer yet
    for (unsigned i = 0; i < 8; i++)
        ck_assert_int_eq(SMOLSCALE_SPAWN(NULL, yielder), 0);
    EVENTUALLY(server_of(lane) != NULL, ==, true);
    poll_often(lane); // all tasks are in its queue
    store_relaxed(&lane->move_count, 4);
    store_release(&lane->move_to, other);
    while (!server_of(other))
        pass(100 * US, 100 * US); // a second worker is to be created
    store_release(&ss_duties.events, &no_events);
    ss_events_count(1);
    for (unsigned i = 0; i < STEPS; i++) {
        fake_clock_advance(ss_policy(events_every_ns));
        poll_often(lane);
        poll_often(other);
    }
    ss_events_count(-1);
    unsigned long count = atomic_load(&looks);
    ck_assert_msg(count >= STEPS && count <= STEPS + STEPS / 2, "%lu looks in %d intervals", count,
                  STEPS);
    atomic_store(&stop, true);
    EVENTUALLY(smolscale_running_threads(), ==, 0);
}
END_TEST

// ---- replacements for blocked workers

START_TEST(blocked_workers_are_replaced_within_1_ms_and_several_at_a_time)
{
    enum { JOBS = 40 };
    begin();
    smolscale_queue *queue = queue_new(sleep_in_kernel, NULL, SMOLSCALE_UNLIMITED);
    keeping_jobs = JOBS;
    for (unsigned i = 0; i < JOBS; i++)
        push(queue, item_of(i));
    counter_wait(&started, 1);
    unsigned rounds = 0;
    for (unsigned count; (count = (unsigned)counter_get(&started)) < JOBS; rounds++) {
        all_asleep(count);
        pass(MS, 100 * US);
        counter_wait(&started, count + 1);
        test_breathe(); // those that were called with it may come, too; or else count later
    }
    ck_assert_uint_lt(rounds, JOBS / 2);
    counter_add(&go, 1);
    smolscale_queue_free(queue);
}
END_TEST

static uint64_t clock_that_lags(pid_t tid)
{
    (void)tid;
    return ss_os.now() / 10;
}

// As the threads of a pipeline, each of which runs a little for each frame.
START_TEST(jobs_that_sleep_most_of_the_time_are_replaced_within_1_ms)
{
    begin();
    jobs_are_blocked();
    ss_os.thread_cpu_time = clock_that_lags;
    smolscale_queue *queue = queue_new(wait_for_go, NULL, SMOLSCALE_UNLIMITED);
    keep_workers(queue);
    balancer_parks();
    keeping_jobs = CPUS + 1;
    push(queue, item_of(CPUS));
    pass(MS, 100 * US);
    counter_wait(&started, CPUS + 1);
    counter_add(&go, 1);
    smolscale_queue_free(queue);
}
END_TEST

// The workers compute, and nothing changes: the balancer's looks have become seldom.
START_TEST(new_work_hurries_the_balancer_that_has_not_seen_the_workers_fall_asleep)
{
    begin();
    jobs_compute();
    smolscale_queue *spinners = queue_new(spin, NULL, SMOLSCALE_UNLIMITED);
    smolscale_queue *other = queue_new(spin, NULL, 1);
    keeping_jobs = 4 * CPUS;
    for (unsigned i = 0; i < 4 * CPUS + 1; i++) // the last one waits
        push(spinners, item_of(i));
    while (counter_get(&started) < 4 * CPUS || !load_relaxed(&ss.balancer_is_slow))
        pass(100 * US, 100 * US);
    atomic_store(&asleep_since, ss_os.now());
    keeping_jobs = 4 * CPUS + 2;
    push(other, item_of(0));
    pass(MS, 100 * US);
    counter_wait(&started, 4 * CPUS + 2);
    atomic_store(&stop, true);
    smolscale_queue_free(spinners);
    smolscale_queue_free(other);
}
END_TEST

// The balancer looks for lanes at first, as after tasks have run: every 8 ms, until it is told of
// something else.
START_TEST(a_balancer_that_looks_for_lanes_alone_comes_for_a_blocked_worker_within_1_ms)
{
    begin_with("1");
    smolscale_queue *queue = queue_new(sleep_in_kernel, NULL, SMOLSCALE_UNLIMITED);
    keeping_jobs = 2;
    push(queue, item_of(0));
    counter_wait(&started, 1);
    all_asleep(1);
    for (unsigned i = 0; i < 10 && load_relaxed(&ss.balancer) != SS_BALANCER_DOZING; i++)
        pass(100 * US, 100 * US);
    push(queue, item_of(1));
    pass(MS, 100 * US);
    counter_wait(&started, 2);
    counter_add(&go, 1);
    smolscale_queue_free(queue);
}
END_TEST

// ---- a queue has run dry

static smolscale_queue *dry;
static atomic_uint to_push; // jobs that come while a worker lingers
static atomic_uint yields;

static uint64_t job_time; // so long that no worker naps

static void take_time(void *item, void *user_data)
{
    (void)item, (void)user_data;
    fake_clock_advance(job_time);
    counter_add(&started, 1);
}

static void job_comes(void)
{
    if (!ss_self || atomic_load(&to_push) == 0)
        return;
    atomic_fetch_sub(&to_push, 1);
    push(dry, item_of(0));
}

// Of one worker that lingers.
static void time_passes(void)
{
    if (!ss_self)
        return;
    atomic_fetch_add(&yields, 1);
    fake_clock_advance(US);
}

// After this a job that comes at once is one of those that keep coming.
static void begin_dry(uint64_t time, void (*yield)(void))
{
    begin();
    job_time = time;
    dry = queue_new(take_time, NULL, CPUS);
    push(dry, item_of(0));
    counter_wait(&started, 1);
    all_parked();
    ss_os.yield = yield;
}

static void jobs_come_while_a_worker_lingers(uint64_t time)
{
    enum { JOBS = 20 };
    begin_dry(time, job_comes);
    struct smolscale_stats before = stats_now();
    atomic_store(&to_push, JOBS);
    push(dry, item_of(0));
    counter_wait(&started, 2 + JOBS);
    ck_assert_uint_eq(stats_now().wakes, before.wakes + 1);
    ck_assert_uint_eq(stats_now().workers_created, before.workers_created);
    smolscale_queue_free(dry);
}

START_TEST(for_a_job_that_comes_while_a_worker_lingers_no_worker_is_woken)
{
    jobs_come_while_a_worker_lingers(10 * US);
}
END_TEST

START_TEST(nor_for_one_that_is_worth_a_wake_up)
{
    ck_assert_uint_lt(ss_policy(wake_ns), 50 * US);
    jobs_come_while_a_worker_lingers(50 * US);
}
END_TEST

START_TEST(lingering_for_which_no_jobs_come_is_left_alone)
{
    enum { JOBS = 200 };
    begin_dry(10 * US, time_passes);
    unsigned lingered_at = 0;
    for (unsigned i = 0; i < JOBS; i++) {
        unsigned before = atomic_load(&yields);
        push(dry, item_of(0));
        counter_wait(&started, 2 + i);
        all_parked();
        lingered_at += atomic_load(&yields) > before;
    }
    ck_assert_uint_ge(lingered_at, 2);
    ck_assert_uint_le(lingered_at, JOBS / 5);
    smolscale_queue_free(dry);
}
END_TEST

// ---- nothing to do

START_TEST(with_nothing_to_do_no_thread_wakes_up_for_a_year)
{
    begin();
    smolscale_queue *queue = queue_new(sleep_in_kernel, NULL, 2);
    counter_add(&go, 1);
    for (unsigned i = 0; i < 20; i++)
        push(queue, item_of(i));
    while (smolscale_queue_active(queue) > 0 || smolscale_queue_pending(queue) > 0 ||
           smolscale_idle_workers() < stats_now().workers) {
        fake_clock_advance(10 * US); // a worker that has run dry may nap, or linger
        test_breathe();
    }
    balancer_parks();
    EVENTUALLY(fake_clock_timed_sleepers(), ==, 0);
    uint64_t ticks = stats_now().ticks;
    unsigned long sleeps = fake_clock_sleeps();
    fake_clock_advance(365 * 86400 * SS_NS_PER_S);
    test_breathe();
    ck_assert_uint_eq(stats_now().ticks, ticks);
    ck_assert_uint_eq(fake_clock_sleeps(), sleeps);
    smolscale_queue_free(queue);
}
END_TEST

// ---- retirement

// Workers that sleep with a limit in time; the balancer may, too.
static unsigned timed_workers(void)
{
    bool awake = load_relaxed(&ss.balancer) >= SS_BALANCER_DOZING;
    return fake_clock_timed_sleepers() - (awake && fake_clock_sleeps_on(&ss.balancer));
}

// As many workers as can be had without the clock, asleep one after the other; `kept` of them
// without a limit in time.
static void many_sleep(unsigned count, unsigned kept)
{
    smolscale_queue *queue = queue_new(announce_and_sleep, NULL, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < count; i++)
        push(queue, item_of(i));
    counter_wait(&started, count);
    counter_add(&go, 1);
    smolscale_queue_free(queue);
    all_parked();
    ck_assert_uint_ge(stats_now().workers, count);
    EVENTUALLY(timed_workers(), ==, stats_now().workers - kept);
}

// After `timeout` and not before, `kept` are left.
static void retire_after(uint64_t timeout, unsigned kept)
{
    unsigned workers = stats_now().workers;
    fake_clock_advance(timeout - 1);
    test_breathe();
    ck_assert_uint_eq(stats_now().workers, workers);
    fake_clock_advance(1);
    EVENTUALLY(stats_now().workers, ==, kept);
}

START_TEST(surplus_workers_retire_after_a_second)
{
    begin();
    many_sleep(20, 2 * CPUS);
    retire_after(SS_NS_PER_S, 2 * CPUS);
}
END_TEST

START_TEST(workers_beyond_max_idle_retire_after_half_a_second)
{
    begin();
    smolscale_set_max_idle(1);
    many_sleep(20, 1);
    retire_after(SS_NS_PER_S / 2, 1);
}
END_TEST

START_TEST(workers_retire_after_the_idle_timeout)
{
    begin();
    smolscale_set_idle_timeout(20 * MS);
    many_sleep(20, 0);
    retire_after(20 * MS, 0);
}
END_TEST

// ---- notices

enum { HOLDING = 1000, PROMISING, COMPUTING, LONG, PACING };

static struct counter notices = COUNTER_INIT, computing = COUNTER_INIT;

static void note(void *whom)
{
    (void)whom;
    counter_add(&notices, 1);
}

static void act(void *item, void *user_data)
{
    (void)user_data;
    switch (number_of(item)) {
    case HOLDING:
        counter_add(&started, 1);
        counter_wait(&go, 1);
        break;
    case PROMISING:
        ck_assert(smolscale_notify_soon(item));
        break;
    case COMPUTING:
        counter_add(&computing, 1);
        while (!atomic_load(&stop))
            ;
        break;
    case PACING: // the balancer finds something else at each look, which come slower and slower
        pass(MS, MS);
        break;
    case LONG:
        fake_clock_advance(200 * US);
        break;
    }
}

static smolscale_queue *notifying_queue(void)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = act;
    attr.max_active = 1;
    attr.notify = note;
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    return queue;
}

static void push_times(smolscale_queue *queue, unsigned count, unsigned number)
{
    for (unsigned i = 0; i < count; i++)
        push(queue, item_of(number));
}

// Until then all that was pushed waits behind a job that holds it.
static void promise_and_compute(smolscale_queue *queue)
{
    push(queue, item_of(PROMISING));
    push(queue, item_of(COMPUTING));
    counter_add(&go, 1);
    while (counter_get(&computing) == 0) { // the worker may nap on its way
        fake_clock_advance(US);
        test_breathe();
    }
}

START_TEST(behind_a_job_that_takes_unexpectedly_long_a_notice_comes_within_5_ms)
{
    begin();
    smolscale_queue *queue = notifying_queue();
    push(queue, item_of(HOLDING));
    counter_wait(&started, 1);
    push_times(queue, SS_BATCH_MAX, 0); // then jobs are known to be tiny, and the rest is one batch
    push_times(queue, 5, PACING);
    push_times(queue, SS_BATCH_MAX - 7, 0);
    promise_and_compute(queue);
    // 0.6 ms where something had moved at the balancer's last look; else its sleep is a longer one.
    for (uint64_t passed = 0; passed < 5 * MS && counter_get(&notices) == 0; passed += 50 * US)
        pass(50 * US, 50 * US);
    ck_assert_uint_eq(counter_get(&notices), 1);
    atomic_store(&stop, true);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(counter_get(&notices), 1);
}
END_TEST

START_TEST(a_notice_is_given_before_a_job_that_is_likely_to_take_long)
{
    begin();
    smolscale_queue *queue = notifying_queue();
    for (unsigned i = 0; i < 10; i++) { // one by one, so that each is known to have taken 200 us
        push(queue, item_of(LONG));
        smolscale_queue_wait(queue);
    }
    push(queue, item_of(HOLDING));
    counter_wait(&started, 1);
    promise_and_compute(queue);
    counter_wait(&notices, 1); // time stands still
    atomic_store(&stop, true);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(counter_get(&notices), 1);
}
END_TEST

int main(void)
{
    return test_suite(
        "times", (const TTest *[]){
                     while_all_workers_compute_a_job_starts_every_10_ms,
                     in_a_crowd_of_computing_workers_a_job_starts_every_100_ms,
                     a_job_of_another_queue_starts_within_10_ms_though_all_workers_compute,
                     eight_jobs_of_which_nothing_is_known_meet_within_5_ms_and_few_orders,
                     jobs_that_are_known_to_take_long_make_no_worker_too_many_in_3_ms,
                     a_short_job_starts_within_1_ms_though_all_workers_compute,
                     a_tick_looks_at_few_of_the_workers_that_are_known_to_be_blocked,
                     a_worker_that_waits_for_a_cpu_is_asked_about_once_in_4_ms,
                     a_tick_looks_at_few_of_the_queues_that_wait,
                     what_waits_is_taken_out_from_any_place_and_the_others_keep_their_order,
                     of_all_threads_that_serve_lanes_one_looks_for_events,
                     thousands_of_jobs_that_wait_for_one_another_meet_in_few_ticks,
                     blocked_workers_are_replaced_within_1_ms_and_several_at_a_time,
                     jobs_that_sleep_most_of_the_time_are_replaced_within_1_ms,
                     new_work_hurries_the_balancer_that_has_not_seen_the_workers_fall_asleep,
                     a_balancer_that_looks_for_lanes_alone_comes_for_a_blocked_worker_within_1_ms,
                     for_a_job_that_comes_while_a_worker_lingers_no_worker_is_woken,
                     nor_for_one_that_is_worth_a_wake_up,
                     lingering_for_which_no_jobs_come_is_left_alone,
                     with_nothing_to_do_no_thread_wakes_up_for_a_year,
                     surplus_workers_retire_after_a_second,
                     workers_beyond_max_idle_retire_after_half_a_second,
                     workers_retire_after_the_idle_timeout,
                     behind_a_job_that_takes_unexpectedly_long_a_notice_comes_within_5_ms,
                     a_notice_is_given_before_a_job_that_is_likely_to_take_long,
                     NULL,
                 });
}
