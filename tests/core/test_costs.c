// SPDX-License-Identifier: ISC
//
// What things cost here, what is decided by it, and the choice between two ways. All is called
// directly, with costs and times that the test says; only the last ones start the executor.

#include "support.h"

#include "os/process.h"

#include "base/choice.h"
#include "sched/costs.h"
#include "sched/executor.h"

#define US SS_NS_PER_US

// ---------------------------------------------------------------------------------------------
// Policies
// ---------------------------------------------------------------------------------------------

static const struct {
    const char *name;
    uint32_t a, b, least, most;
} costs[] = {
#define ROW(id, name, a, b, least, most) {name, a, b, least, most},
    SS_COSTS(ROW)
#undef ROW
};

static const char *const policy_names[] = {
#define NAME(name) #name,
    SS_POLICIES(NAME)
#undef NAME
};

#define POLICIES (sizeof policy_names / sizeof *policy_names)

static void derive(const uint32_t *from, uint32_t *values)
{
    struct ss_policies derived;
    memset(&derived, 0xff, sizeof derived);
    ss_policies_derive(&derived, from);
    unsigned i = 0;
#define VALUE(name) values[i++] = load_relaxed(&derived.name);
    SS_POLICIES(VALUE)
#undef VALUE
}

enum machine { MACHINE_A, MACHINE_B, LEAST, MOST };

static void costs_of(enum machine machine, uint32_t *to)
{
    for (unsigned i = 0; i < SS_COST_COUNT; i++)
        to[i] = machine == MACHINE_A   ? costs[i].a
                : machine == MACHINE_B ? costs[i].b
                : machine == LEAST     ? costs[i].least
                                       : costs[i].most;
}

static void policies_of(enum machine machine, uint32_t *values)
{
    uint32_t from[SS_COST_COUNT];
    costs_of(machine, from);
    derive(from, values);
}

// As docs/policies.md writes it.
static void write_time(char *text, size_t size, uint32_t ns)
{
    if (ns == UINT32_MAX)
        snprintf(text, size, "never");
    else if (ns >= 1000)
        snprintf(text, size, "%g", ns / 1e3);
    else
        snprintf(text, size, "%g", ns / 1e3);
}

// The line of the table that begins with `name`.
static void find_row(const char *name, char *row, size_t size)
{
    char begin[64];
    snprintf(begin, sizeof begin, "| `%s` |", name);
    FILE *file = fopen(DOCUMENT, "re");
    ck_assert_msg(file != NULL, "expected %s", DOCUMENT);
    bool found = false;
    while (!found && fgets(row, (int)size, file))
        found = strncmp(row, begin, strlen(begin)) == 0;
    fclose(file);
    ck_assert_msg(found, "expected a row for %s in %s", name, DOCUMENT);
}

static void ck_row(const char *name, uint32_t a, uint32_t b)
{
    char row[1024], left[32], right[32], expected[128];
    find_row(name, row, sizeof row);
    write_time(left, sizeof left, a);
    write_time(right, sizeof right, b);
    snprintf(expected, sizeof expected, "| %s | %s |", left, right);
    ck_assert_msg(strstr(row, expected), "%s: expected \"%s\", got: %s", name, expected, row);
}

START_TEST(the_document_has_each_cost_and_each_policy_with_its_values)
{
    uint32_t a[POLICIES], b[POLICIES];
    policies_of(MACHINE_A, a);
    policies_of(MACHINE_B, b);
    for (unsigned i = 0; i < SS_COST_COUNT; i++)
        ck_row(costs[i].name, costs[i].a, costs[i].b);
    for (unsigned i = 0; i < POLICIES; i++)
        ck_row(policy_names[i], a[i], b[i]);
}
END_TEST

// What contracts bound: smolscale.h promises a notice after 0.6 ms, and contract 4 a replacement of
// a blocked worker "well below 1 ms", which takes two looks.
static void ck_contracts(const uint32_t *from)
{
    struct ss_policies derived;
    ss_policies_derive(&derived, from);
    ck_assert_uint_le(load_relaxed(&derived.owed_ns), 100 * US);
    ck_assert_uint_le(load_relaxed(&derived.tick_ns), 200 * US);
    ck_assert_uint_le(load_relaxed(&derived.nap_ns), 100 * US);
    ck_assert_uint_le(load_relaxed(&derived.late_ns), 300 * US);
    ck_assert_uint_le(load_relaxed(&derived.events_every_ns), 200 * US);
    ck_assert_uint_ge(load_relaxed(&derived.tick_ns), 100 * US);
    ck_assert_uint_ge(load_relaxed(&derived.batch_ns), 10 * US);
    ck_assert_uint_ge(load_relaxed(&derived.piece_ns), 4 * US);
}

START_TEST(whatever_the_costs_are_the_policies_keep_the_contracts)
{
    uint32_t from[SS_COST_COUNT];
    uint64_t state = 1;
    for (enum machine machine = MACHINE_A; machine <= MOST; machine++) {
        costs_of(machine, from);
        ck_contracts(from);
    }
    for (unsigned round = 0; round < 10000; round++) {
        for (unsigned i = 0; i < SS_COST_COUNT; i++)
            from[i] = costs[i].least +
                      (uint32_t)((uint64_t)test_random(&state) % (costs[i].most - costs[i].least));
        ck_contracts(from);
    }
}
END_TEST

START_TEST(dearer_wake_ups_make_workers_be_woken_for_more)
{
    uint32_t cheap[SS_COST_COUNT], dear[SS_COST_COUNT];
    costs_of(MACHINE_A, cheap);
    costs_of(MACHINE_A, dear);
    dear[SS_COST_WAKE] *= 3;
    dear[SS_COST_ARRIVAL] *= 3;
    struct ss_policies before, after;
    ss_policies_derive(&before, cheap);
    ss_policies_derive(&after, dear);
    ck_assert_uint_gt(load_relaxed(&after.wake_ns), load_relaxed(&before.wake_ns));
    ck_assert_uint_gt(load_relaxed(&after.help_ns), load_relaxed(&before.help_ns));
}
END_TEST

START_TEST(where_a_membarrier_is_dear_long_items_announce_themselves)
{
    uint32_t from[SS_COST_COUNT];
    struct ss_policies derived;
    costs_of(MACHINE_A, from);
    ss_policies_derive(&derived, from);
    ck_assert_uint_eq(load_relaxed(&derived.fenced_item_ns), UINT32_MAX);
    from[SS_COST_MEMBARRIER] = 36 * US;
    ss_policies_derive(&derived, from);
    ck_assert_uint_lt(load_relaxed(&derived.fenced_item_ns), 10 * US);
    ck_assert_uint_gt(load_relaxed(&derived.take_back_ns), 36 * US);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Learning
// ---------------------------------------------------------------------------------------------

START_TEST(a_cost_follows_what_is_seen)
{
    ss_start();
    uint32_t before = ss_cost(SS_COST_WAKE);
    for (unsigned i = 0; i < 100; i++)
        ss_cost_learn(SS_COST_WAKE, 2000);
    ck_assert_uint_lt(ss_cost(SS_COST_WAKE), 2200);
    for (unsigned i = 0; i < 300; i++)
        ss_cost_learn(SS_COST_WAKE, 4 * before);
    ck_assert_uint_gt(ss_cost(SS_COST_WAKE), 3 * before);
}
END_TEST

START_TEST(what_was_disturbed_hardly_counts)
{
    ss_start();
    for (unsigned i = 0; i < 100; i++)
        ss_cost_learn(SS_COST_ARRIVAL, 10 * US);
    uint32_t before = ss_cost(SS_COST_ARRIVAL);
    ss_cost_learn(SS_COST_ARRIVAL, 4 * SS_NS_PER_MS);
    ck_assert_uint_le(ss_cost(SS_COST_ARRIVAL), before + before / 8);
    ck_assert_uint_gt(ss_cost(SS_COST_ARRIVAL), before);
}
END_TEST

START_TEST(a_cost_stays_within_its_bounds)
{
    ss_start();
    for (unsigned i = 0; i < SS_COST_COUNT; i++) {
        enum ss_cost cost = (enum ss_cost)i;
        for (unsigned k = 0; k < 1000; k++)
            ss_cost_learn(cost, UINT64_MAX);
        ck_assert_uint_le(ss_cost(cost), costs[i].most);
        ck_assert_uint_ge(ss_cost(cost), costs[i].most / 4 * 3);
        for (unsigned k = 0; k < 1000; k++)
            ss_cost_learn(cost, 0);
        ck_assert_uint_ge(ss_cost(cost), costs[i].least);
        ck_assert_uint_le(ss_cost(cost), costs[i].least * 2);
    }
}
END_TEST

START_TEST(policies_follow_costs_that_have_changed_much)
{
    ss_start();
    uint32_t help = ss_policy(help_ns);
    ss_policies_follow();
    ck_assert_uint_eq(ss_policy(help_ns), help);
    for (unsigned i = 0; i < 300; i++) {
        ss_cost_learn(SS_COST_WAKE, 60 * US);
        ss_cost_learn(SS_COST_ARRIVAL, 60 * US);
    }
    ck_assert_uint_eq(ss_policy(help_ns), help); // not by the thread that learns
    ss_policies_follow();
    ck_assert_uint_gt(ss_policy(help_ns), help);
}
END_TEST

static void count_job(void *item, void *user_data)
{
    (void)item;
    counter_add(user_data, 1);
}

START_TEST(a_program_learns_what_a_system_call_costs)
{
    // From an impossible beginning, so that what is learnt differs from it on any machine.
    struct counter done = COUNTER_INIT;
    ss_start();
    for (unsigned i = 0; i < 1000; i++)
        ss_cost_learn(SS_COST_SYSCALL, UINT64_MAX);
    uint32_t impossible = ss_cost(SS_COST_SYSCALL);
    smolscale_queue *queue = queue_new(count_job, &done, SMOLSCALE_UNLIMITED);
    push(queue, item_of(0));
    EVENTUALLY(ss_cost(SS_COST_SYSCALL), <, impossible);
    smolscale_queue_free(queue);
}
END_TEST

static uint64_t measured_now;

static uint64_t clock_for_measures(void)
{
    return measured_now;
}

static uint64_t sleeps_in_3_us(void)
{
    measured_now += 3 * US;
    return 0;
}

static void yield_in_2_us(void)
{
    measured_now += 2 * US;
}

START_TEST(the_first_measurement_is_believed)
{
    ss_start();
    ss_os.now = clock_for_measures;
    ss_os.sleeps = sleeps_in_3_us;
    ss_os.yield = yield_in_2_us;
    ss_costs_measure(1);
    ck_assert_uint_eq(ss_cost(SS_COST_SYSCALL), 3 * US);
    ck_assert_uint_eq(ss_cost(SS_COST_YIELD), 2 * US);
}
END_TEST

START_TEST(nothing_is_learnt_from_a_clock_that_a_test_moves)
{
    struct counter done = COUNTER_INIT;
    fake_clock_start();
    smolscale_queue *queue = queue_new(count_job, &done, SMOLSCALE_UNLIMITED);
    uint32_t before[SS_COST_COUNT];
    for (unsigned i = 0; i < SS_COST_COUNT; i++)
        before[i] = ss_cost((enum ss_cost)i);
    for (unsigned i = 1; i <= 100; i++) {
        push(queue, item_of(i));
        counter_wait(&done, i);
        fake_clock_advance(SS_NS_PER_MS);
    }
    smolscale_queue_free(queue);
    for (unsigned i = 0; i < SS_COST_COUNT; i++)
        ck_assert_uint_eq(ss_cost((enum ss_cost)i), before[i]);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// SMOLSCALE_COSTS
// ---------------------------------------------------------------------------------------------

// What the start says on standard error.
static void start_with(const char *value, char *said, size_t size)
{
    int before = dup(2), pipe_fds[2];
    ck_assert_int_eq(pipe(pipe_fds), 0);
    dup2(pipe_fds[1], 2);
    close(pipe_fds[1]);
    setenv("SMOLSCALE_COSTS", value, 1);
    ss_note_output();
    ss_start();
    dup2(before, 2);
    ss_note_output();
    close(before);
    ssize_t length = read(pipe_fds[0], said, size - 1);
    said[length > 0 ? length : 0] = '\0';
    close(pipe_fds[0]);
}

static const struct {
    const char *value;
    uint32_t syscall, wake;
} good[] = {
    {"A", 135, 7300},
    {"B", 980, 6100},
    {"syscall=200", 200, 7300},
    {"wake=5000,syscall=200", 200, 5000},
    {"B,syscall=200", 200, 6100},
};

START_TEST(costs_can_be_fixed)
{
    char said[1024];
    start_with(good[_i].value, said, sizeof said);
    ck_assert_str_eq(said, "");
    for (unsigned i = 0; i < 1000; i++) {
        ss_cost_learn(SS_COST_SYSCALL, 5000);
        ss_cost_learn(SS_COST_WAKE, 100);
    }
    ck_assert_uint_eq(ss_cost(SS_COST_SYSCALL), good[_i].syscall);
    ck_assert_uint_eq(ss_cost(SS_COST_WAKE), good[_i].wake);
}
END_TEST

static const struct {
    const char *value, *wrong, *why;
} bad[] = {
    {"C", "\"C\"", "neither A, B"},
    {"syscall", "\"syscall\"", "NAME=NS"},
    {"sysc=12", "\"sysc=12\"", "names no cost"},
    {"syscall=", "\"syscall=\"", "no whole number"},
    {"syscall=1us", "\"syscall=1us\"", "no whole number"},
    {"syscall=1", "\"syscall=1\"", "out of bounds"},
    {"syscall=99999999999999999999", "\"syscall=9999", "no whole number"},
    {"syscall=-135", "\"syscall=-135\"", "out of bounds"},
    {"wake=5000,,syscall=200", "\"\"", "NAME=NS"},
    {"wake=5000,A", "\"A\"", "NAME=NS"},
    {"wake=5000,\n\x1b", "\"\?\?\"", "NAME=NS"},
};

START_TEST(bad_costs_give_one_line_and_are_learnt_instead)
{
    char said[1024];
    start_with(bad[_i].value, said, sizeof said);
    ck_assert_msg(strstr(said, "SMOLSCALE_COSTS") && strstr(said, bad[_i].wrong) &&
                      strstr(said, bad[_i].why) && strstr(said, "arrival_home"),
                  "%s: expected %s, %s and the names, got: %s", bad[_i].value, bad[_i].wrong,
                  bad[_i].why, said);
    ck_assert_ptr_eq(strchr(said, '\n'), said + strlen(said) - 1);
    ck_assert_uint_eq(ss_cost(SS_COST_WAKE), 7300);
    for (unsigned i = 0; i < 100; i++)
        ss_cost_learn(SS_COST_WAKE, 1000);
    ck_assert_uint_lt(ss_cost(SS_COST_WAKE), 1200);
}
END_TEST

START_TEST(the_counters_at_exit_have_the_costs)
{
    char name[] = "/tmp/smolscale-costs-XXXXXX", text[4096];
    int file = mkstemp(name);
    ck_assert_int_ge(file, 0);
    pid_t pid = fork_child();
    if (pid == 0) {
        struct counter done = COUNTER_INIT;
        setenv("SMOLSCALE_STATS", name, 1);
        setenv("SMOLSCALE_COSTS", "syscall=777", 1);
        smolscale_queue *queue = queue_new(count_job, &done, 1);
        push(queue, item_of(0));
        smolscale_queue_free(queue);
        exit(CHILD_OK);
    }
    ck_child_ok(pid);
    ssize_t length = read(file, text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    close(file);
    unlink(name);
    ck_assert_msg(strstr(text, "\ncost_syscall 777\n") && strstr(text, "\ncost_line 57\n"),
                  "expected the costs, got: %s", text);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// The choice between two ways
// ---------------------------------------------------------------------------------------------

// Goes `times` times as is chosen; the ways cost so much. How often the second was gone.
static unsigned go(struct ss_choice *choice, unsigned times, uint64_t first, uint64_t second)
{
    unsigned gone = 0;
    for (unsigned i = 0; i < times; i++) {
        unsigned way = ss_choice_way(choice);
        gone += way;
        ss_choice_note(choice, way, way ? second : first);
    }
    return gone;
}

START_TEST(the_cheaper_way_is_kept)
{
    struct ss_choice choice = {0};
    go(&choice, SS_CHOICE_TRIAL, 10, 20);
    ck_assert(ss_choice_keeps(&choice, 0));
    ck_assert_uint_eq(go(&choice, SS_CHOICE_STAY_MIN, 10, 20), 0);
    choice = (struct ss_choice){0};
    go(&choice, SS_CHOICE_TRIAL, 20, 10);
    ck_assert(ss_choice_keeps(&choice, 1));
    ck_assert_uint_eq(go(&choice, SS_CHOICE_STAY_MIN, 20, 10), SS_CHOICE_STAY_MIN);
}
END_TEST

START_TEST(a_trial_is_seldom)
{
    struct ss_choice choice = {0};
    unsigned gone = go(&choice, 100000, 10, 20);
    ck_assert_uint_lt(gone, 100000 / 500);
    ck_assert_uint_ge(gone, 2 * SS_CHOICE_TRIAL / 2);
}
END_TEST

START_TEST(what_changes_is_noticed)
{
    struct ss_choice choice = {0};
    go(&choice, 5000, 10, 20);
    ck_assert(ss_choice_keeps(&choice, 0));
    go(&choice, 20000, 30, 20);
    ck_assert_uint_eq(ss_choice_way(&choice), 1);
}
END_TEST

START_TEST(equal_ways_are_not_changed)
{
    struct ss_choice choice = {0};
    go(&choice, SS_CHOICE_TRIAL, 20, 10);
    ck_assert(ss_choice_keeps(&choice, 1));
    go(&choice, SS_CHOICE_STAY_MIN + 1 + SS_CHOICE_TRIAL, 100, 104);
    ck_assert(ss_choice_keeps(&choice, 1));
}
END_TEST

START_TEST(a_disturbed_occasion_decides_nothing)
{
    struct ss_choice choice = {0};
    for (unsigned i = 0; i < SS_CHOICE_TRIAL; i++) {
        unsigned way = ss_choice_way(&choice);
        ss_choice_note(&choice, way, way ? 20 : i % SS_CHOICE_TURN == 0 ? 100000 : 10);
    }
    ck_assert(ss_choice_keeps(&choice, 0));
}
END_TEST

// How often it was tried on so many occasions, where it gains or loses so much each time.
static unsigned tries(struct ss_gains *gains, unsigned occasions, int64_t us)
{
    unsigned tried = 0;
    for (unsigned i = 0; i < occasions; i++) {
        if (ss_skip(&gains->skips))
            continue;
        ss_gains_note(gains, us * (int64_t)US, 10 * US, 64);
        tried++;
    }
    return tried;
}

START_TEST(what_gains_in_the_mean_goes_on)
{
    struct ss_gains gains = {0};
    ck_assert_uint_eq(tries(&gains, 100, 3), 100);
    for (unsigned i = 0; i < 100; i++) {
        tries(&gains, 1, -10000); // a disturbance counts as a loss
        tries(&gains, 4, 8);
    }
    ck_assert_uint_eq(tries(&gains, 1, 3), 1);
}
END_TEST

START_TEST(what_loses_is_left_alone_until_it_gains_again)
{
    struct ss_gains gains = {0};
    tries(&gains, 1000, -3);
    ck_assert_uint_le(tries(&gains, 1000, -3), 150);
    tries(&gains, 1000, 9);
    ck_assert_uint_eq(tries(&gains, 100, 9), 100);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Placing, on a machine that the test says: round trips of one thread, with a wake-up in each
// ---------------------------------------------------------------------------------------------

static struct {
    uint64_t now, sleeps;
    uint64_t home_ns, kernel_ns; // what a round trip takes there
    uint64_t late_ns;            // how long a homed worker waits for its waker's CPU
    bool keeps;                  // the kernel leaves a thread on the CPU on which it slept
    unsigned cpu, placed, asked;
} machine;

static uint64_t machine_now(void)
{
    return machine.now;
}

static uint64_t machine_sleeps(void)
{
    machine.asked++;
    return machine.sleeps;
}

static int machine_cpu(void)
{
    return (int)machine.cpu;
}

static bool machine_place(pid_t tid, int cpu, bool on, struct ss_placement *placement)
{
    (void)tid, (void)cpu, (void)placement;
    ck_assert(on);
    machine.placed++;
    return true;
}

static void machine_release(const struct ss_placement *placement)
{
    (void)placement;
}

static void machine_is(uint64_t home_us, uint64_t kernel_us)
{
    setenv("SMOLSCALE_COSTS", "A", 0);
    ss_start();
    machine.now = 1000 * SS_NS_PER_S;
    machine.home_ns = home_us * US;
    machine.kernel_ns = kernel_us * US;
    ss_os.now = machine_now;
    ss_os.sleeps = machine_sleeps;
    ss_os.cpu = machine_cpu;
    ss_os.place = machine_place;
    ss_os.release = machine_release;
}

static struct ss_worker woken; // by the thread that makes the round trips, which is on CPU 0

// The worker goes to sleep, and the other thread goes on.
static void worker_sleeps(bool away)
{
    machine.cpu = away;
    ss_placing_sleep(&woken.placing);
    machine.cpu = 0;
}

// How many of the wakes were homed.
static unsigned wakes(unsigned count, uint64_t apart)
{
    unsigned before = machine.placed;
    store_relaxed(&woken.tid, 1);
    for (unsigned i = 0; i < count; i++) {
        ss_place(&woken);
        bool away = !woken.placing.placed && !(machine.keeps && woken.placing.slept_on == 0);
        uint64_t comes = woken.placing.placed && machine.late_ns ? machine.late_ns : 2 * US;
        machine.now += comes;
        ss_placing_end(&woken);
        machine.now += (away ? machine.kernel_ns : machine.home_ns) - 2 * US + apart;
        machine.sleeps++;
        worker_sleeps(away);
    }
    return machine.placed - before;
}

static unsigned round_trips(unsigned count)
{
    return wakes(count, 0);
}

START_TEST(where_homing_costs_less_a_worker_is_homed)
{
    machine_is(9, 25);
    round_trips(10 * SS_CHOICE_TRIAL);
    ck_assert_uint_ge(round_trips(500), 480);
}
END_TEST

START_TEST(where_the_kernel_keeps_a_worker_on_its_cpu_it_is_homed_when_it_went_astray)
{
    machine_is(9, 25);
    machine.keeps = true;
    round_trips(2 * SS_CHOICE_TRIAL);
    for (unsigned i = 0; i < 3; i++) {
        worker_sleeps(true);
        ck_assert_uint_eq(round_trips(8), 2); // and the next one, to be sure
        unsigned asked = machine.asked;
        ck_assert_uint_eq(round_trips(80), 0);
        ck_assert_uint_le(machine.asked - asked, 10); // nor is it asked each time whether it sleeps
    }
}
END_TEST

START_TEST(a_worker_that_is_seldom_woken_is_homed_whatever_round_trips_cost)
{
    machine_is(25, 20);
    round_trips(2 * SS_CHOICE_TRIAL);
    ck_assert_uint_eq(round_trips(100), 0);
    wakes(SS_HOMING_STREAK + 64, SS_NS_PER_MS);
    ck_assert_uint_ge(wakes(200, SS_NS_PER_MS), 190);
}
END_TEST

START_TEST(where_homed_workers_are_late_each_time_few_are_homed)
{
    machine_is(9, 25);
    machine.late_ns = 3 * SS_NS_PER_MS; // a thread that computes for a while at each picture, say
    wakes(200, 33 * SS_NS_PER_MS);
    ck_assert_uint_le(wakes(1000, 33 * SS_NS_PER_MS), 1000 / 100);
    machine.late_ns = 0; // no more
    wakes(200, 33 * SS_NS_PER_MS);
    ck_assert_uint_ge(wakes(100, 33 * SS_NS_PER_MS), 90);
}
END_TEST

// So many times a seldom wake, and one soon after it.
static unsigned pairs_of_wakes(unsigned count)
{
    unsigned homed = 0;
    for (unsigned i = 0; i < count; i++) {
        homed += wakes(1, 50 * US);
        homed += wakes(1, 33 * SS_NS_PER_MS);
    }
    return homed;
}

START_TEST(a_late_worker_counts_though_another_wake_follows_soon)
{
    machine_is(9, 25);
    machine.late_ns = 100 * US;
    wakes(1, 33 * SS_NS_PER_MS);
    pairs_of_wakes(200);
    ck_assert_uint_le(pairs_of_wakes(1000), 1000 / 100);
}
END_TEST

START_TEST(a_thread_that_never_sleeps_is_asked_seldom)
{
    machine_is(9, 25);
    for (unsigned i = 0; i < 1000; i++) {
        wakes(1, SS_NS_PER_MS);
        machine.sleeps--;
    }
    ck_assert_uint_le(machine.asked, 20);
    ck_assert_uint_le(machine.placed, 1);
}
END_TEST

START_TEST(where_homing_costs_more_a_worker_is_left_to_the_kernel)
{
    machine_is(25, 20);
    round_trips(2 * SS_CHOICE_TRIAL);
    unsigned asked = machine.asked;
    ck_assert_uint_eq(round_trips(SS_CHOICE_STAY_MIN / 2), 0);
    ck_assert_uint_eq(machine.asked, asked); // and no system call is made for it
}
END_TEST

START_TEST(both_are_tried_again_seldom)
{
    machine_is(25, 20);
    round_trips(2 * SS_CHOICE_TRIAL);
    unsigned homed = round_trips(50000);
    ck_assert_uint_gt(homed, 0);
    ck_assert_uint_lt(homed, 50000 / 300);
    machine.home_ns = 8 * US; // a program was moved to another host, say
    round_trips(100000);
    ck_assert_uint_ge(round_trips(100), 90);
}
END_TEST

START_TEST(a_thread_that_does_not_sleep_is_not_held_up)
{
    machine_is(9, 25);
    round_trips(500);
    for (unsigned i = 0; i < 10; i++) {
        machine.sleeps--; // it has not
        if (i > 0)
            ck_assert_uint_eq(round_trips(1), 0);
        else
            round_trips(1);
    }
}
END_TEST

int main(void)
{
    unsetenv("SMOLSCALE_COSTS"); // of a run of all tests with other costs
    const struct test_rounds tests[] = {
        {the_document_has_each_cost_and_each_policy_with_its_values, 1},
        {whatever_the_costs_are_the_policies_keep_the_contracts, 1},
        {dearer_wake_ups_make_workers_be_woken_for_more, 1},
        {where_a_membarrier_is_dear_long_items_announce_themselves, 1},
        {a_cost_follows_what_is_seen, 1},
        {what_was_disturbed_hardly_counts, 1},
        {a_cost_stays_within_its_bounds, 1},
        {policies_follow_costs_that_have_changed_much, 1},
        {a_program_learns_what_a_system_call_costs, 1},
        {the_first_measurement_is_believed, 1},
        {nothing_is_learnt_from_a_clock_that_a_test_moves, 1},
        {costs_can_be_fixed, sizeof good / sizeof *good},
        {bad_costs_give_one_line_and_are_learnt_instead, sizeof bad / sizeof *bad},
        {the_counters_at_exit_have_the_costs, 1},
        {the_cheaper_way_is_kept, 1},
        {a_trial_is_seldom, 1},
        {what_changes_is_noticed, 1},
        {equal_ways_are_not_changed, 1},
        {a_disturbed_occasion_decides_nothing, 1},
        {what_gains_in_the_mean_goes_on, 1},
        {what_loses_is_left_alone_until_it_gains_again, 1},
        {where_homing_costs_less_a_worker_is_homed, 1},
        {where_the_kernel_keeps_a_worker_on_its_cpu_it_is_homed_when_it_went_astray, 1},
        {a_worker_that_is_seldom_woken_is_homed_whatever_round_trips_cost, 1},
        {where_homed_workers_are_late_each_time_few_are_homed, 1},
        {a_late_worker_counts_though_another_wake_follows_soon, 1},
        {a_thread_that_never_sleeps_is_asked_seldom, 1},
        {where_homing_costs_more_a_worker_is_left_to_the_kernel, 1},
        {both_are_tried_again_seldom, 1},
        {a_thread_that_does_not_sleep_is_not_held_up, 1},
    };
    return test_suite_of_rounds("costs", tests, sizeof tests / sizeof *tests);
}
