// SPDX-License-Identifier: ISC
//
// What things cost on this machine, and the policies that follow; see costs.h.
//
// Costs are learnt from what happens anyway: a waker and the worker that it woke take the time, a
// nap says when it was to end. What does not happen by itself the balancer measures now and then,
// off every caller's path. So there is no table of machines, and a virtual machine that is moved to
// another host, or a laptop that saves power, is followed.
//
// SMOLSCALE_COSTS fixes them, for tests and comparisons: "A" or "B" of docs/policies.md, or a list
// NAME=NS,... in which the first word may be one of the two. What it does not name is that of A.

#include "sched/costs.h"

#include "base/room.h"
#include "os/fence.h"
#include "os/options.h"
#include "os/process.h"
#include "os/thread.h"
#include "os/ticks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ss_costs ss_costs;
struct ss_policies ss_policies;

static const struct {
    const char *name;
    uint32_t a, b, least, most; // ns
} table[SS_COST_COUNT] = {
#define ROW(id, name, a, b, least, most) [SS_COST_##id] = {name, a, b, least, most},
    SS_COSTS(ROW)
#undef ROW
};

const char *ss_cost_name(enum ss_cost cost)
{
    return table[cost].name;
}

// ---- learning

static uint32_t bounded(uint64_t ns, uint64_t least, uint64_t most)
{
    return (uint32_t)(ns < least ? least : ns > most ? most : ns);
}

void ss_cost_learn(enum ss_cost cost, uint64_t ns)
{
    if (load_relaxed(&ss_costs.fixed))
        return;
    uint32_t mean = ss_cost(cost), step;
    if (ns < mean)
        step = mean - (mean - (uint32_t)ns) / 4;
    else
        step = mean + (bounded(ns, mean, 2 * (uint64_t)mean) - mean) / 16;
    step = bounded(step, table[cost].least, table[cost].most);
    // Written only where that moves it: the cache line is read at each wake-up.
    uint32_t moves = step < mean ? mean - step : step - mean;
    if (moves > mean / 64)
        store_relaxed(&ss_costs.ns[cost], step);
}

void ss_cost_learn_wake(uint64_t ns, uint64_t slept)
{
    ss_cost_learn(slept < SS_DEEP_SLEEP_NS ? SS_COST_WAKE : SS_COST_WAKE_DEEP, ns);
}

void ss_cost_learn_arrival(uint64_t ns, uint64_t slept, bool home)
{
    ss_cost_learn(home                       ? SS_COST_ARRIVAL_HOME
                  : slept < SS_DEEP_SLEEP_NS ? SS_COST_ARRIVAL
                                             : SS_COST_ARRIVAL_DEEP,
                  ns);
}

// Less is what came out of this CPU's own caches.
void ss_cost_learn_line(uint64_t ticks)
{
    uint64_t ns = ticks * SS_NS_PER_US / load_relaxed(&ss_ticks_per_us);
    if (ns >= table[SS_COST_LINE].least)
        ss_cost_learn(SS_COST_LINE, ns);
}

// ---- measuring, by the balancer

#define MEASURE_EVERY_NS SS_NS_PER_S
#define SAMPLES          4
#define NAP_NS           (20 * SS_NS_PER_US)

// The balancer's own.
static uint64_t measure_at; // ns; 0: nothing was measured yet
static bool membarrier_measured;

// The least of some: what disturbs one makes it longer.
static uint64_t least_time(void (*what)(void))
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < SAMPLES; i++) {
        uint64_t start = ss_os.now();
        what();
        uint64_t took = ss_os.now() - start;
        least = took < least ? took : least;
    }
    return least;
}

static void nothing(void)
{
}

static void ask_something(void)
{
    ss_os.sleeps();
}

// What is measured seldom would take a minute to be learnt, so the `first` measurement is believed.
static void measure(enum ss_cost cost, void (*what)(void), uint64_t clock, bool first)
{
    uint64_t took = least_time(what);
    took = took > clock ? took - clock : 0;
    if (took < table[cost].least)
        return; // the kernel was not asked: it is forbidden
    if (first)
        store_relaxed(&ss_costs.ns[cost], bounded(took, table[cost].least, table[cost].most));
    else
        ss_cost_learn(cost, took);
}

static void measure_nap(void)
{
    static _Atomic uint32_t word;
    uint64_t start = ss_os.now();
    ss_os.nap(&word, 0, NAP_NS);
    uint64_t took = ss_os.now() - start;
    if (took > NAP_NS)
        ss_cost_learn(SS_COST_OVERSHOOT, took - NAP_NS);
}

static void fence(void)
{
    ss_try_heavy_fence();
}

void ss_costs_measure(uint64_t now)
{
    bool membarrier = load_relaxed(&ss_asymmetric) && !membarrier_measured;
    ss_ticks_learn(now);
    if (load_relaxed(&ss_costs.fixed) || (now < measure_at && !membarrier))
        return;
    uint64_t clock = least_time(nothing);
    if (membarrier) {
        membarrier_measured = true;
        measure(SS_COST_MEMBARRIER, fence, clock, true);
    }
    if (now < measure_at)
        return;
    bool first = measure_at == 0;
    if (first)
        measure_nap(); // from then on naps tell
    measure_at = now + MEASURE_EVERY_NS;
    measure(SS_COST_SYSCALL, ask_something, clock, first);
    measure(SS_COST_YIELD, ss_os.yield, clock, first);
}

// ---- policies

// To two digits and in steps of a fifth, so that what is decided does not flutter with what is
// measured.
static uint64_t rounded(uint64_t ns)
{
    static const uint8_t steps[] = {10, 12, 16, 20, 25, 30, 40, 50, 60, 80, 100};
    uint64_t unit = 1;
    while (ns >= 100 * unit)
        unit *= 10;
    unsigned i = 0;
    while (i + 1 < sizeof steps && 2 * ns >= (steps[i] + steps[i + 1]) * unit)
        i++;
    return ns < 10 ? ns : steps[i] * unit;
}

// `ns` rounded, within bounds.
static uint32_t policy(uint64_t ns, uint64_t least, uint64_t most)
{
    return bounded(rounded(ns), least, most);
}

static uint64_t most_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#define US SS_NS_PER_US

void ss_policies_derive(struct ss_policies *to, const uint32_t *cost)
{
#define SET(name, ns, least, most) store_relaxed(&to->name, policy((ns), (least), (most)))
#define C(name)                    ((uint64_t)cost[SS_COST_##name])
    // A wake-up, both threads together. Whether the worker sleeps deeply is not known: half. Not
    // less than a bound: where wake-ups cost less that is because there are many, which keep the
    // CPUs from their idle states. They would go on to look cheap, and cost more than they bring
    // (bench/glib, "empty-cpus").
    uint64_t wake = (C(WAKE) + C(ARRIVAL) + C(WAKE_DEEP) + C(ARRIVAL_DEEP)) / 2;
    wake = wake < 30 * US ? 30 * US : wake > 60 * US ? 60 * US : wake;
    SET(wake_ns, wake, 30 * US, 60 * US);
    SET(late_ns, 4 * most_of(C(ARRIVAL), C(ARRIVAL_DEEP)), 100 * US, 300 * US);
    // Both turns at a lock that others have used: some eight lines, a twentieth of the batch.
    SET(batch_ns, 175 * C(LINE), 10 * US, 50 * US);
    SET(owed_ns, wake * 5 / 3, 30 * US, 100 * US);
    SET(tiny_job_ns, wake / 15, 1 * US, 4 * US);
    SET(steady_gap_ns, wake * 5 / 3, 30 * US, 200 * US);
    // A nap is worth more than two wake-ups, all in all; one for pushers that wait is worth one,
    // and none if it would end too late for that.
    uint64_t late = C(OVERSHOOT), naps = wake * 7 / 3;
    SET(nap_ns, naps > late ? naps - late : 0, 20 * US, 60 * US);
    SET(noticed_nap_ns, wake * 19 / 20 > late ? wake * 19 / 20 - late : 0, 5 * US, 40 * US);
    SET(noticed_nap_below_ns, wake > late ? wake / 78 : 0, 0, 1 * US);
    // What a sleep takes of CPU: the wake-up, two system calls, and the changes of threads.
    SET(linger_ns, C(WAKE) + 4 * C(SYSCALL), 5 * US, 20 * US);
    SET(noticed_linger_ns, most_of(wake / 3, 8 * C(YIELD)), 4 * US, 40 * US);
    SET(homing_gap_ns, 2 * wake, 30 * US, 200 * US);
    SET(homing_late_ns, 25 * C(ARRIVAL_HOME), 50 * US, 200 * US);
    // A sleep that is well longer than its overshoot.
    SET(tick_ns, 5 * C(OVERSHOOT), 100 * US, 200 * US);
    SET(stall_soon_ns, C(CREATION) * 5 / 2, 100 * US, 1000 * US);
    SET(events_every_ns, 370 * C(SYSCALL), 50 * US, 200 * US); // a third of a percent
    SET(long_poll_ns, 350 * C(LINE), 20 * US, 100 * US);
    SET(help_ns, wake * 4 / 3, 15 * US, 150 * US);
    SET(awake_help_ns, 140 * C(LINE), 5 * US, 40 * US);
    SET(helper_lingers_ns, wake * 2 / 3, 10 * US, 50 * US);
    SET(look_soon_ns, wake * 8 / 15, 6 * US, 60 * US);
    SET(look_later_ns, wake * 10 / 3, 50 * US, 300 * US);
    // An announcement and a look at the clock, and the line that helpers look at: a hundredth.
    SET(piece_ns, 70 * C(LINE), 4 * US, 20 * US);
    SET(long_piece_ns, 850 * C(LINE), 50 * US, 100 * US);
    SET(theft_ns, 35 * C(LINE), 1 * US, 10 * US);
    // Longer than the short pieces at a call's end, and than what a membarrier takes from both.
    SET(take_back_ns, 4 * C(MEMBARRIER) + 3 * 35 * C(LINE), 4 * US, 200 * US);
    // A full fence is some 20 ns: a hundredth of such an item.
    store_relaxed(&to->fenced_item_ns, C(MEMBARRIER) < 10 * US ? UINT32_MAX : (uint32_t)(2 * US));
    SET(wait_spin_ns, wake, 10 * US, 60 * US);
#undef SET
#undef C
}

static uint32_t followed[SS_COST_COUNT]; // the costs that the policies are of; the balancer's own

// By a quarter: a cost that is not as learnt yet changes its steps only a few times.
static bool has_changed(uint32_t before, uint32_t now)
{
    return now > before + before / 4 || before > now + now / 4;
}

void ss_policies_follow(void)
{
    bool changed = false;
    for (unsigned i = 0; i < SS_COST_COUNT; i++)
        changed |= has_changed(followed[i], ss_cost((enum ss_cost)i));
    if (!changed)
        return;
    for (unsigned i = 0; i < SS_COST_COUNT; i++)
        followed[i] = ss_cost((enum ss_cost)i);
    ss_policies_derive(&ss_policies, followed);
}

// ---- SMOLSCALE_COSTS

static int find(const char *name, size_t length)
{
    for (int i = 0; i < SS_COST_COUNT; i++)
        if (strlen(table[i].name) == length && memcmp(table[i].name, name, length) == 0)
            return i;
    return -1;
}

// One entry, from `entry` to `end`. NULL, or what is wrong with it.
static const char *read_entry(const char *entry, const char *end, bool first, uint32_t *costs)
{
    if (first && end - entry == 1 && (*entry == 'A' || *entry == 'B')) {
        for (unsigned i = 0; i < SS_COST_COUNT; i++)
            costs[i] = *entry == 'A' ? table[i].a : table[i].b;
        return NULL;
    }
    const char *equals = memchr(entry, '=', (size_t)(end - entry));
    if (!equals)
        return first ? "is neither A, B nor NAME=NS" : "is not NAME=NS";
    int i = find(entry, (size_t)(equals - entry));
    if (i < 0)
        return "names no cost";
    char *rest;
    errno = 0;
    long ns = strtol(equals + 1, &rest, 10);
    if (errno || rest == equals + 1 || rest != end)
        return "has no whole number of ns";
    if (ns < (long)table[i].least || ns > (long)table[i].most)
        return "is out of bounds";
    costs[i] = (uint32_t)ns;
    return NULL;
}

static void complain(const char *entry, size_t length, const char *what)
{
    char shown[33], line[512];
    size_t n = length < sizeof shown - 1 ? length : sizeof shown - 1;
    for (size_t i = 0; i < n; i++)
        shown[i] = entry[i] < ' ' || entry[i] > '~' ? '?' : entry[i];
    shown[n] = '\0';
    int used =
        snprintf(line, sizeof line,
                 "smolscale: SMOLSCALE_COSTS: \"%s\" %s; costs are learnt. Costs:", shown, what);
    for (unsigned i = 0; i < SS_COST_COUNT && used < (int)sizeof line; i++)
        used += snprintf(line + used, sizeof line - (size_t)used, " %s", table[i].name);
    if (used < (int)sizeof line)
        snprintf(line + used, sizeof line - (size_t)used, "\n");
    ss_write_to_stderr(line);
}

// True: the text makes sense.
static bool read_costs(const char *text, uint32_t *costs)
{
    for (const char *entry = text, *end;; entry = end + 1) {
        end = strchrnul(entry, ',');
        const char *wrong = read_entry(entry, end, entry == text, costs);
        if (wrong)
            complain(entry, (size_t)(end - entry), wrong);
        if (wrong || !*end)
            return !wrong;
    }
}

// ---- start

static void begin(void)
{
    uint32_t costs[SS_COST_COUNT];
    for (unsigned i = 0; i < SS_COST_COUNT; i++)
        costs[i] = table[i].a;
    const char *text = ss_option_text(SS_OPTION_COSTS);
    bool fixed = text && read_costs(text, costs);
    for (unsigned i = 0; i < SS_COST_COUNT; i++) {
        followed[i] = text && !fixed ? table[i].a : costs[i];
        store_relaxed(&ss_costs.ns[i], followed[i]);
    }
    store_relaxed(&ss_costs.fixed, fixed);
    ss_policies_derive(&ss_policies, followed);
}

static void init(void)
{
    static struct ss_once once = SS_ONCE_INIT;
    ss_once(&once, begin);
}

// The costs are the same in the child. Its balancer measures again.
static void after_fork(void)
{
    measure_at = 0;
    membarrier_measured = false;
}

SS_ROOM(sched_costs, init, after_fork);
