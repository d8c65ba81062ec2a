// SPDX-License-Identifier: ISC
//
// The driver that has a strategy decide at each step. Time stands while any thread can run.

#include "explore.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct strategy *strategy;
static const struct options *options;
static struct schedule taken;
static uint32_t number;
static struct sim_thread *to; // preempts
static unsigned faults;       // so far
static unsigned choices;      // of them and of what is usual
static uint32_t disturbed_at; // the last number at which that was decided
static uint32_t plain_number; // of plain accesses

// So often in a run at most: sleeps that end again and again let no time pass.
#define CHOICES_MAX 12u
static struct sim_thread *runs; // has run since `slice_steps`
static uint64_t slice_steps;
static struct sim_thread *over_its_slice; // the others first
static uint64_t limit;                    // of the clock
static const struct sim_program *program;

const struct schedule *explore_taken(void)
{
    return &taken;
}

static void note_way(uint32_t at, unsigned way)
{
    if (way != 0 && taken.count < WAYS_MAX)
        taken.ways[taken.count++] = (struct way){at, way};
}

static unsigned decide_what(int what, unsigned count, unsigned free,
                            struct sim_thread *const *threads)
{
    number++;
    if (count <= 1 || !sim.choosing || sim.over)
        return 0;
    struct decision decision = {number, what, count, free, threads, sim.self};
    unsigned way = strategy->decide(&decision);
    note_way(number, way);
    return way;
}

static unsigned decide(unsigned count, unsigned free, struct sim_thread *const *threads)
{
    return decide_what(NO_CHOICE, count, free, threads);
}

// ---- what a run does, for a reader

static void trace(const struct sim_thread *self, const struct sim_op *op)
{
    static const char *const names[] = {"load",   "store",  "rmw",   "fence", "call",
                                        "create", "memory", "relax", "work",  "clock"};
    Dl_info info;
    printf("%6u  %llu us  thread %u  %s", number,
           (unsigned long long)(sim.clock - SS_NS_PER_S) / 1000, self->id, names[op->kind]);
    if (op->what)
        printf(" %s", op->what);
    if (op->p)
        printf(" %p", (const void *)(uintptr_t)op->p);
    if (op->p && dladdr((const void *)(uintptr_t)op->p, &info) && info.dli_sname)
        printf(" %s", info.dli_sname);
    if (op->at && dladdr(op->at, &info))
        printf("  at %s+%#tx", info.dli_sname ? info.dli_sname : "?",
               (const char *)op->at -
                   (const char *)(info.dli_saddr ? info.dli_saddr : info.dli_fbase));
    printf("\n");
}

// ---- steps

static bool can_run(const struct sim_thread *thread)
{
    return thread->state == SIM_RUNNABLE && !thread->spins && thread->still_until == 0;
}

// May the youngest store be seen before all others? One place has its stores in their order.
static bool may_overtake(const struct sim_thread *self)
{
    if (!sim.config.weak || self->store_count < 2)
        return false;
    const struct sim_stored *youngest = &self->stores[self->store_count - 1];
    for (unsigned i = 0; i + 1 < self->store_count; i++) {
        const struct sim_stored *older = &self->stores[i];
        if ((uintptr_t)older->p < (uintptr_t)youngest->p + youngest->size &&
            (uintptr_t)youngest->p < (uintptr_t)older->p + older->size)
            return false;
    }
    return youngest->order == SIM_RELAXED;
}

static void note_choice_of_stores(struct sim_thread *self, bool keep)
{
    if (keep && may_overtake(self)) {
        // Out of order: the youngest is seen first.
        struct sim_stored youngest = self->stores[self->store_count - 1];
        memmove(self->stores + 1, self->stores, (self->store_count - 1) * sizeof youngest);
        self->stores[0] = youngest;
        sim_flush_oldest(self);
    }
    if (keep)
        sim.kept = true;
    else
        sim_flush(self);
}

// A thread that sleeps until then at most wakes; one that spins may do so for a time, and looks
// again.
static void let_pass(uint64_t ns)
{
    sim.clock += ns;
    for (unsigned id = 1; id <= sim.thread_count; id++)
        if (ns >= SS_NS_PER_US)
            sim_threads[id].spins = false;
    for (unsigned id = 1; id <= sim.thread_count; id++)
        if (sim_threads[id].state == SIM_ASLEEP && sim_threads[id].until <= sim.clock)
            sim_wake(&sim_threads[id], true);
    for (unsigned id = 1; id <= sim.thread_count; id++)
        if (sim_threads[id].still_until <= sim.clock)
            sim_threads[id].still_until = 0;
}

#define RELAX_NS 50u

static void spin(struct sim_thread *self)
{
    struct sim_thread *threads[2] = {NULL, NULL};
    if (self->spins_out) {
        let_pass(RELAX_NS); // some spin for a time
        return;
    }
    bool others = false;
    for (unsigned id = 1; id <= sim.thread_count; id++)
        others |= &sim_threads[id] != self && can_run(&sim_threads[id]);
    if (decide(others ? 2 : 1, 1, threads) == 1) {
        self->spins_out = true;
        return;
    }
    self->spins = true;
    sim_give_way();
}

// As fair as a kernel: a thread that runs for long without a pause, such as one that goes round a
// loop until another thread has changed something, lets the others run. Far more than what programs
// here take between two waits.
#define SLICE_STEPS  2000u
#define SLICE_NS     (20 * SS_NS_PER_US)
#define LONG_WORK_NS (10 * SS_NS_PER_US)

static bool is_over_its_slice(struct sim_thread *self)
{
    if (runs != self) {
        runs = self;
        slice_steps = self->steps;
    }
    if (self->steps - slice_steps < SLICE_STEPS)
        return false;
    slice_steps = self->steps;
    if (program->brief)
        sim_fail("thread %u goes round and round without a pause", self->id);
    let_pass(SLICE_NS);
    return true;
}

static void decide_step(struct sim_thread *self, const struct sim_op *op)
{
    if (++sim.steps > sim.config.steps_max) {
        sim_fail("no end after %llu steps", (unsigned long long)sim.steps);
        return;
    }
    if (op->kind == SIM_OP_RELAX) {
        spin(self);
        return;
    }
    if (op->kind == SIM_OP_WORK)
        let_pass(op->ns);
    // While it computes for long, the others do what they can.
    bool others_first = is_over_its_slice(self);
    if (others_first || (op->kind == SIM_OP_WORK && op->ns >= LONG_WORK_NS)) {
        over_its_slice = self;
        if (others_first)
            self->priority = -(int)(sim.steps / SLICE_STEPS) - 1000; // of PCT: below all others
        sim_give_way();
        over_its_slice = NULL;
        return;
    }
    if (op->kind > SIM_OP_CALL || op->kind == SIM_OP_FENCE || !sim.choosing) {
        number++;
        return;
    }
    // The thread itself; each other one; each other one with this one's stores held back.
    struct sim_thread *threads[1 + 2 * 32];
    unsigned count = 1, others;
    threads[0] = self;
    for (unsigned id = 1; id <= sim.thread_count && count < 32; id++)
        if (&sim_threads[id] != self && can_run(&sim_threads[id]))
            threads[count++] = &sim_threads[id];
    others = count - 1;
    if (self->store_count > 0)
        for (unsigned i = 0; i < others; i++)
            threads[count++] = threads[1 + i];
    unsigned way = decide(count, 1, threads);
    if (way == 0)
        return;
    note_choice_of_stores(self, way > others);
    to = threads[way];
    sim_give_way();
}

// ---- what disturbs

#define STILL_NS (10 * SS_NS_PER_MS)
#define JUMP_NS  (3600 * SS_NS_PER_S)

static void stand_still(struct sim_thread *self, bool asleep)
{
    limit += STILL_NS;
    sim.disturbed_ns += STILL_NS;
    sim_flush(self);
    self->still_until = sim.clock + STILL_NS;
    self->still_asleep = asleep;
    sim_give_way();
}

static void jump(void)
{
    limit += JUMP_NS;
    sim.disturbed_ns += JUMP_NS;
    let_pass(JUMP_NS);
}

static void wake_all(void)
{
    for (unsigned id = 1; id <= sim.thread_count; id++)
        if (sim_threads[id].state == SIM_ASLEEP)
            sim_wake(&sim_threads[id], false);
}

#define PLAIN_NUMBER (UINT32_C(1) << 31)

static void plain_access(struct sim_thread *self, const void *p, bool writes, const void *at_code)
{
    (void)p, (void)writes, (void)at_code;
    if (!strategy->disturb || !sim.choosing || sim.over)
        return;
    uint32_t at = PLAIN_NUMBER | ++plain_number;
    enum disturbance what = strategy->disturb(at, SIM_OP_PLAIN);
    note_way(at, what);
    if (what != UNDISTURBED)
        stand_still(self, what == WAITS_FOR_PAGE);
}

// At most once before a step's decision, which comes to have the number.
static void disturb(struct sim_thread *self, const struct sim_op *op)
{
    if (!strategy->disturb || !sim.choosing || sim.over || disturbed_at == number + 1)
        return;
    disturbed_at = number + 1;
    enum disturbance what = strategy->disturb(disturbed_at, op->kind);
    note_way(disturbed_at, what);
    if (what && options->trace)
        printf("%6u  thread %u is disturbed: %u\n", disturbed_at, self->id, (unsigned)what);
    switch (what) {
    case STANDS_STILL:
    case WAITS_FOR_PAGE:
        stand_still(self, what == WAITS_FOR_PAGE);
        break;
    case CLOCK_JUMPS:
        jump();
        break;
    case CPUS_TAKEN:
        sim.config.cpus = 1;
        break;
    case ALL_WOKEN:
        wake_all();
        break;
    case UNDISTURBED:
        break;
    }
}

// A step is part of what has led to where the thread is, even if it touches nothing.
static void step(struct sim_thread *self, const struct sim_op *op)
{
    self->steps++;
    if (options->trace)
        trace(self, op);
    disturb(self, op);
    decide_step(self, op);
    self->hash = sim_mix(self->hash, op->kind);
}

// ---- which thread is next

// Less often while a thread stands still that they may spin for.
#define STILL_LOOK_NS (50 * SS_NS_PER_US)

// Nobody can run: those that spin look again, a little later.
static bool let_spinners_look(void)
{
    bool any = false, still = false;
    for (unsigned id = 1; id <= sim.thread_count; id++) {
        struct sim_thread *thread = &sim_threads[id];
        still |= thread->still_until != 0;
        if (thread->state == SIM_RUNNABLE && thread->spins && thread->still_until == 0) {
            thread->spins = false;
            any = true;
        }
    }
    if (any)
        let_pass(still ? STILL_LOOK_NS : SS_NS_PER_US);
    return any;
}

// All sleep: to the time at which the first of them wakes by itself.
static bool let_time_pass(void)
{
    uint64_t first = SS_FOREVER;
    for (unsigned id = 1; id <= sim.thread_count; id++)
        if (sim_threads[id].state == SIM_ASLEEP && sim_threads[id].until < first)
            first = sim_threads[id].until;
    for (unsigned id = 1; id <= sim.thread_count; id++)
        if (sim_threads[id].still_until != 0 && sim_threads[id].still_until < first)
            first = sim_threads[id].still_until;
    if (first == SS_FOREVER)
        return false;
    if (first > limit) {
        if (sim.main->state != SIM_ENDED)
            sim_fail("not done after %llu us", (unsigned long long)(limit - SS_NS_PER_S) / 1000);
        return false;
    }
    let_pass(first > sim.clock ? first - sim.clock : 0);
    return true;
}

static struct sim_thread *next(void)
{
    struct sim_thread *threads[64];
    if (to) {
        struct sim_thread *preempts = to;
        to = NULL;
        return preempts;
    }
    for (;;) {
        unsigned count = 0, from = sim.self ? sim.self->id : 0;
        if (sim.kept && sim.self)
            sim_flush_all();
        sim.kept = false;
        for (unsigned i = 1; i <= sim.thread_count && count < 64; i++) {
            struct sim_thread *thread = &sim_threads[(from + i - 1) % sim.thread_count + 1];
            if (can_run(thread) && thread != over_its_slice)
                threads[count++] = thread;
        }
        if (count == 0 && over_its_slice && can_run(over_its_slice))
            threads[count++] = over_its_slice;
        over_its_slice = NULL;
        if (count > 0) {
            unsigned way = decide(count, count, threads);
            return sim.over ? NULL : threads[way];
        }
        if (let_spinners_look())
            continue;
        if (sim.main->state == SIM_ENDED)
            return NULL; // what sleeps on may do so
        if (!let_time_pass()) {
            if (!sim.over)
                sim_fail("lost: all threads sleep for ever, and the program has not ended");
            return NULL;
        }
    }
}

static unsigned choose(enum sim_choice what, unsigned count)
{
    if (what == SIM_CHOOSE_ACTION)
        return decide_what(what, count, count, NULL);
    bool usual = what < SIM_CHOOSE_THREAD;
    bool spared =
        (what == SIM_CHOOSE_THREAD || what == SIM_CHOOSE_MEMORY) && program->needs_threads;
    bool asked = (options->faults || usual) && !spared && choices < CHOICES_MAX;
    if (!asked && !strategy->disturb) {
        number++;
        return 0;
    }
    unsigned way = decide_what(what, count, 1, NULL);
    choices += way != 0;
    if (way != 0 && !usual && faults++ == 0) {
        limit += SS_NS_PER_S; // what failed is tried again after 100 ms
        sim.disturbed_ns += SS_NS_PER_S;
    }
    return way;
}

// The program gives up: an error that a fault explains is a good answer.
void sim_answered(int err)
{
    if (faults > 0 && (err == -ENOMEM || err == -EAGAIN || err == -EMFILE))
        sim_end_run(SIM_GOOD);
}

static uint64_t now(void)
{
    return sim.clock;
}

static const struct sim_driver driver = {
    .step = step,
    .plain = plain_access,
    .next = next,
    .choose = choose,
    .now = now,
};

static void *run_program(void *arg)
{
    (void)arg;
    program->run();
    sim_explore_end();
    return NULL;
}

bool explore_is_over(const struct options *what, const struct outcome *outcome, double end)
{
    return outcome->steps >= what->steps || ((outcome->runs & 15) == 0 && seconds_now() > end);
}

enum sim_verdict explore_run(const struct sim_program *which, const struct strategy *how,
                             const struct options *what)
{
    struct sim_config config = {
        .cpus = which->cpus ? which->cpus : 2,
        .store_buffers = what->store_buffers,
        .weak = what->weak,
        .no_membarrier = which->no_membarrier,
        .steps_max = 200000,
    };
    program = which;
    strategy = how;
    options = what;
    taken.count = 0;
    number = 0;
    to = runs = over_its_slice = NULL;
    limit = SS_NS_PER_S + (which->limit_ns ? which->limit_ns : 10 * SS_NS_PER_MS);
    faults = choices = disturbed_at = plain_number = 0;
    sim_environment = which->environment;
    how->begin();
    enum sim_verdict verdict = sim_run(&driver, &config, run_program, NULL);
    if (verdict == SIM_GOOD)
        count_check(which->jobs);
    if (verdict == SIM_GOOD && which->check)
        which->check();
    return verdict == SIM_GOOD ? sim.verdict : verdict;
}
