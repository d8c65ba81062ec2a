// SPDX-License-Identifier: ISC
//
// How many lanes the balancer has tasks spread over (task/spread.c), on machines of any size: the
// source itself, on ideal lanes. A served lane makes its polls at a rate that only the number of
// lanes decides, servers come at once, and time is a number. So each run is the same.

#include "task/spread.c"

// Nobody observes.
struct ss_observed ss_observed;

void ss_note_order(enum ss_order which, uint64_t count)
{
    (void)which, (void)count;
}

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define STEP_NS (50 * SS_NS_PER_US)
#define POLLS   50.0 // of one lane alone, a step
#define TASKS   64000u

// ---- what the source asks of the others

struct ss_executor ss;
struct ss_duties ss_duties;
struct ss_os ss_os;
struct ss_policies ss_policies = {.long_poll_ns = 20 * SS_NS_PER_US};
static struct ss_lane first;
struct ss_lanes ss_lanes = {.lane = {&first}, .count = 1, .submit_to = &first};
static struct ss_worker workers[SS_LANES_MAX]; // each serves the lane of its number
static unsigned serving;

void ss_lock_slow(struct ss_lock *lock)
{
    (void)lock;
    abort();
}

void ss_heavy_fence(void)
{
}

long ss_option(enum ss_option_id id)
{
    (void)id;
    return 0;
}

void ss_set_activity(struct ss_worker *worker, enum ss_activity activity)
{
    (void)worker, (void)activity;
    abort();
}

void ss_lane_detach(struct ss_lane *lane)
{
    (void)lane;
    abort();
}

int ss_lane_list(struct ss_lane *lane)
{
    (void)lane;
    abort();
}

void ss_watched_add(struct ss_watched *watched)
{
    (void)watched;
}

struct ss_lane *ss_lane_add(void)
{
    unsigned count = load_relaxed(&ss_lanes.count);
    ck_assert_uint_lt(count, SS_LANES_MAX);
    struct ss_lane *lane = aligned_alloc(SS_CACHE_LINE, sizeof *lane);
    ck_assert_ptr_nonnull(lane);
    memset(lane, 0, sizeof *lane);
    ss_lanes.lane[count] = lane;
    store_relaxed(&ss_lanes.count, count + 1);
    return lane;
}

// ---- the machine

// How many times as fast `lanes` lanes are as one.
typedef double speed(unsigned lanes);

static double talking(unsigned lanes)
{
    (void)lanes;
    return 1;
}

static double slowed(unsigned lanes)
{
    return 1.0 / lanes;
}

static double independent(unsigned lanes)
{
    return lanes;
}

static double up_to_eight(unsigned lanes)
{
    return lanes < 8 ? lanes : 8;
}

// Each step of a lane's server costs the others something.
static double nearly_independent(unsigned lanes)
{
    double n = lanes;
    return n / (1 + 0.02 * (n - 1));
}

static void begin_serving(unsigned number)
{
    struct ss_lane *lane = ss_lanes.lane[number];
    lane->worker = &workers[number];
    store_relaxed(&lane->state, SS_LANE_LISTED);
    store_relaxed(&lane->runnable.taken, load_relaxed(&lane->runnable.taken) + 1);
    serving++;
}

static unsigned number_of_lane(const struct ss_lane *lane)
{
    unsigned i = 0;
    while (ss_lanes.lane[i] != lane)
        i++;
    return i;
}

// The server does what it was asked to.
static void obey(struct ss_lane *lane)
{
    struct ss_lane *other = load_relaxed(&lane->move_to);
    if (!other)
        return;
    store_relaxed(&lane->move_to, NULL);
    unsigned length = load_relaxed(&lane->length), asked = load_relaxed(&lane->move_count);
    unsigned given = asked < length ? asked : length;
    store_relaxed(&lane->length, length - given);
    store_relaxed(&other->length, load_relaxed(&other->length) + given);
    if (given > 0 && !other->worker)
        begin_serving(number_of_lane(other));
    if (given == length) {
        lane->worker = NULL;
        store_relaxed(&lane->state, SS_LANE_IDLE);
        serving--;
    }
}

static struct {
    uint64_t now, look_at;
    double owed; // polls
} machine;

static void start(unsigned cpus)
{
    store_relaxed(&ss.cpus, cpus);
    machine.now = machine.look_at = SS_NS_PER_S;
    store_relaxed(&first.length, TASKS);
    begin_serving(0);
    store_relaxed(&ss_duties.attendants, serving);
}

static void step(speed *faster)
{
    machine.now += STEP_NS;
    machine.owed += POLLS * faster(serving) / serving;
    uint64_t polls = (uint64_t)machine.owed;
    machine.owed -= (double)polls;
    for (unsigned i = 0; i < load_relaxed(&ss_lanes.count); i++) {
        struct ss_lane *lane = ss_lanes.lane[i];
        if (!lane->worker)
            continue;
        store_relaxed(&lane->worker->progress, load_relaxed(&lane->worker->progress) + polls);
        obey(lane);
    }
    ss.shared.workers = serving;
    store_relaxed(&ss_duties.attendants, serving);
    if (machine.now >= machine.look_at)
        machine.look_at = machine.now + look(machine.now);
}

// Returns how many lanes were served on the average.
static double run(speed *faster, uint64_t ns)
{
    double sum = 0;
    uint64_t end = machine.now + ns, steps = 0;
    for (; machine.now < end; steps++) {
        step(faster);
        sum += serving;
    }
    unsigned tasks = 0;
    for (unsigned i = 0; i < load_relaxed(&ss_lanes.count); i++)
        tasks += load_relaxed(&ss_lanes.lane[i]->length);
    ck_assert_uint_eq(tasks, TASKS);
    return sum / (double)steps;
}

static void ck_between(const char *what, double got, double least, double most)
{
    ck_assert_msg(got >= least && got <= most, "%s: expected %.2f to %.2f lanes, got %.2f", what,
                  least, most, got);
}

static const unsigned sizes[] = {1, 2, 3, 4, 6, 12, 16, 48, 64, 100, 256};
#define SIZES (int)(sizeof sizes / sizeof *sizes)

// ---- what they do

START_TEST(tasks_that_gain_by_every_cpu_are_spread_over_all)
{
    unsigned cpus = sizes[_i];
    start(cpus);
    run(independent, 100 * SS_NS_PER_MS);
    ck_assert_uint_eq(serving, cpus);
    ck_between("afterwards", run(independent, 4 * SS_NS_PER_S), 0.98 * cpus, cpus);
}
END_TEST

START_TEST(tasks_that_gain_less_the_more_there_are_are_spread_too)
{
    start(64);
    ck_between("on 64 CPUs", run(nearly_independent, 4 * SS_NS_PER_S), 30, 64);
}
END_TEST

START_TEST(tasks_that_gain_nothing_stay_on_one_lane)
{
    start(sizes[_i]);
    ck_between("of no use", run(talking, 4 * SS_NS_PER_S), 1, 1.02);
    ck_between("harmful", run(slowed, 4 * SS_NS_PER_S), 1, 1.02);
}
END_TEST

START_TEST(a_failed_trial_leaves_the_lanes_that_pay)
{
    start(64);
    run(up_to_eight, 100 * SS_NS_PER_MS);
    ck_between("with use for eight", run(up_to_eight, 4 * SS_NS_PER_S), 7.8, 8.2);
}
END_TEST

START_TEST(tasks_that_come_to_gain_nothing_are_brought_together)
{
    unsigned cpus = sizes[_i];
    if (cpus == 2) // where two lanes are left alone
        return;
    start(cpus);
    run(independent, SS_NS_PER_S);
    run(talking, 3 * SS_NS_PER_S);
    ck_between("afterwards", run(talking, 4 * SS_NS_PER_S), 1, 1.02);
    run(independent, 2 * SS_NS_PER_S);
    ck_assert_uint_eq(serving, cpus);
}
END_TEST

START_TEST(where_cpus_are_taken_away_only_as_many_lanes_are_given_up)
{
    start(64);
    run(independent, 100 * SS_NS_PER_MS);
    store_relaxed(&ss.cpus, 48);
    run(independent, 100 * SS_NS_PER_MS);
    ck_between("on 48 of 64 CPUs", run(independent, SS_NS_PER_S), 47, 48);
}
END_TEST

START_TEST(busy_lanes_get_about_as_many_tasks)
{
    start(64);
    run(independent, SS_NS_PER_S - 50 * SS_NS_PER_MS);
    unsigned most = 0, least = TASKS;
    for (unsigned i = 0; i < load_relaxed(&ss_lanes.count); i++) {
        unsigned length = load_relaxed(&ss_lanes.lane[i]->length);
        most = length > most ? length : most;
        least = length < least ? length : least;
    }
    ck_assert_uint_le(most, 2 * least + SS_EVEN_ENOUGH);
}
END_TEST

static void add(Suite *suite, const TTest *test, int rounds)
{
    TCase *tcase = tcase_create(test->name);
    tcase_set_timeout(tcase, 180);
    tcase_add_loop_test(tcase, test, 0, rounds);
    suite_add_tcase(suite, tcase);
}

int main(void)
{
    Suite *suite = suite_create("spread");
    add(suite, tasks_that_gain_by_every_cpu_are_spread_over_all, SIZES);
    add(suite, tasks_that_gain_less_the_more_there_are_are_spread_too, 1);
    add(suite, tasks_that_gain_nothing_stay_on_one_lane, SIZES);
    add(suite, a_failed_trial_leaves_the_lanes_that_pay, 1);
    add(suite, tasks_that_come_to_gain_nothing_are_brought_together, SIZES);
    add(suite, where_cpus_are_taken_away_only_as_many_lanes_are_given_up, 1);
    add(suite, busy_lanes_get_about_as_many_tasks, 1);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int count = srunner_ntests_run(runner), failed = srunner_ntests_failed(runner);
    printf("%d passed, %d failed\n", count - failed, failed);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
