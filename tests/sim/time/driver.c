// SPDX-License-Identifier: ISC
//
// CPUs and the kernel's scheduler, as far as they matter to a thread pool: one run queue a CPU, by
// the time that threads have run; a slice; a woken thread that has run for much less preempts;
// where it is woken; what it costs to wake a CPU that has been idle for long; and idle CPUs that
// take what waits elsewhere. Modelled on the Linux scheduler of 2.6.23 to 6.5 (CFS).

#include "events.h"
#include "lines.h"
#include "time.h"

#include <string.h>

struct cpu {
    struct sim_thread *current; // NULL: idle, or a thread is on its way
    struct sim_thread *queue;   // waits, linked by `queued`
    unsigned queued;
    bool is_coming;    // a thread, to this idle CPU
    bool is_balancing; // an event for that is planned
    bool must_switch;  // after the step that it is in
    uint64_t idle_since, until, charged, slice_end;
    uint64_t left_at; // until then its last thread is falling asleep
    uint64_t debt;    // of the running thread: what it has done for others
    uint64_t plain;   // since its last step: accesses, in ps
    uint64_t min_run; // as in CFS: the least that a thread here has run
    uint64_t valid;   // of its event
};

// What the driver knows of a thread, beside what is in the thread.
struct place {
    uint64_t run;       // weighted run time, comparable on one CPU
    uint64_t remaining; // of a step that was preempted
    uint64_t last_ran;
    int only, not_on; // CPU; -1: any, none
};

static const struct sim_profile *profile;
static struct cpu cpus[SIM_CPUS_MAX];
static struct place places[SIM_THREADS_MAX];
static uint64_t time_now;
static unsigned waiting; // threads in all queues
static struct sim_time_stats stats;

#define BEGIN     SS_NS_PER_S // of time: 0 means "never" to some
#define PS_PER_NS 1000u

static struct place *place_of(const struct sim_thread *thread)
{
    return &places[thread->id];
}

// ---- time on a CPU

static void charge(struct cpu *cpu)
{
    if (!cpu->current)
        return;
    uint64_t ran = time_now > cpu->charged ? time_now - cpu->charged : 0;
    struct place *place = place_of(cpu->current);
    cpu->charged = time_now;
    cpu->current->cpu_ns += ran;
    stats.cpu += ran;
    place->run += ran;
    place->last_ran = time_now;
    uint64_t least = place->run;
    for (struct sim_thread *t = cpu->queue; t; t = t->queued)
        if (place_of(t)->run < least)
            least = place_of(t)->run;
    if (least > cpu->min_run)
        cpu->min_run = least;
}

static uint64_t at_speed(unsigned cpu, uint64_t ns)
{
    return profile->big && cpu >= profile->big ? ns * 100 / profile->little_speed : ns;
}

// Its event is the one that ends its step at `until`.
static void plan(struct cpu *cpu)
{
    sim_events_add((struct sim_event){.time = cpu->until,
                                      .kind = SIM_STEP_ENDS,
                                      .cpu = (unsigned)(cpu - cpus),
                                      .valid = ++cpu->valid});
}

static void start(struct cpu *cpu, struct sim_thread *thread)
{
    struct place *place = place_of(thread);
    uint64_t begin = cpu->left_at > time_now ? cpu->left_at : time_now;
    cpu->current = thread;
    thread->cpu = (int)(cpu - cpus);
    cpu->charged = begin;
    cpu->until = begin + profile->thread_switch + place->remaining;
    place->remaining = 0;
    cpu->slice_end = time_now + profile->slice;
    cpu->must_switch = false;
    stats.switches++;
    plan(cpu);
}

// ---- run queues

static void enqueue(struct cpu *cpu, struct sim_thread *thread)
{
    struct sim_thread **end = &cpu->queue;
    while (*end)
        end = &(*end)->queued;
    thread->queued = NULL;
    *end = thread;
    cpu->queued++;
    waiting++;
}

static void dequeue(struct cpu *cpu, struct sim_thread *thread)
{
    struct sim_thread **at = &cpu->queue;
    while (*at != thread)
        at = &(*at)->queued;
    *at = thread->queued;
    cpu->queued--;
    waiting--;
}

static struct sim_thread *least_run(const struct cpu *cpu)
{
    struct sim_thread *least = cpu->queue;
    for (struct sim_thread *t = least; t; t = t->queued)
        if (place_of(t)->run < place_of(least)->run)
            least = t;
    return least;
}

static bool may_run_on(const struct sim_thread *thread, unsigned cpu)
{
    const struct place *place = place_of(thread);
    return place->only >= 0 ? place->only == (int)cpu : place->not_on != (int)cpu;
}

static bool is_idle(const struct cpu *cpu)
{
    return !cpu->current && !cpu->is_coming && !cpu->queue;
}

// Its run time is comparable with others' of its new CPU; a thread that has slept long does not
// save it up.
static void move_run_time(struct sim_thread *thread, const struct cpu *to, bool woken)
{
    struct place *place = place_of(thread);
    const struct cpu *from = &cpus[thread->cpu];
    if (from != to)
        place->run = place->run > from->min_run ? to->min_run + (place->run - from->min_run)
                     : to->min_run > from->min_run - place->run
                         ? to->min_run - (from->min_run - place->run)
                         : 0;
    uint64_t least = to->min_run > profile->slice ? to->min_run - profile->slice : 0;
    if (woken && place->run < least)
        place->run = least;
    thread->cpu = (int)(to - cpus);
}

// ---- a CPU that becomes free

// A thread that waits elsewhere and has not run a moment ago: the nearest first, and there the
// first.
static struct sim_thread *pull(unsigned self, bool also_hot)
{
    struct sim_thread *best = NULL;
    unsigned best_distance = 5;
    for (unsigned i = 0; waiting > 0 && i < profile->cpus; i++) {
        unsigned distance = sim_distance(profile, self, i);
        if (distance >= best_distance || i == self)
            continue;
        for (struct sim_thread *t = cpus[i].queue; t; t = t->queued)
            if (may_run_on(t, self) &&
                (also_hot || time_now - place_of(t)->last_ran >= profile->hot)) {
                best = t;
                best_distance = distance;
                break;
            }
    }
    if (best) {
        dequeue(&cpus[best->cpu], best);
        move_run_time(best, &cpus[self], false);
    }
    return best;
}

static void schedule(struct cpu *cpu)
{
    struct sim_thread *next = least_run(cpu);
    if (next)
        dequeue(cpu, next);
    else
        next = pull((unsigned)(cpu - cpus), false);
    cpu->current = NULL;
    cpu->debt = 0;
    cpu->valid++;
    if (next)
        start(cpu, next);
    else
        cpu->idle_since = time_now;
}

// The running thread goes back into the queue.
static void put_back(struct cpu *cpu)
{
    struct sim_thread *current = cpu->current;
    charge(cpu);
    enqueue(cpu, current);
    schedule(cpu);
}

// ---- threads that come

static void plan_balance(struct cpu *cpu)
{
    if (cpu->is_balancing || !cpu->queue)
        return;
    cpu->is_balancing = true;
    sim_events_add((struct sim_event){
        .time = time_now + profile->balance, .kind = SIM_BALANCES, .cpu = (unsigned)(cpu - cpus)});
}

// What the CPU takes to wake up is time of the thread that it wakes up for: Linux counts it so.
static void arrive_later(struct cpu *cpu, struct sim_thread *thread, uint64_t after)
{
    cpu->is_coming = true;
    thread->cpu_ns += after;
    stats.cpu += after;
    sim_events_add((struct sim_event){.time = time_now + after,
                                      .kind = SIM_ARRIVES,
                                      .cpu = (unsigned)(cpu - cpus),
                                      .thread = thread->id});
}

static unsigned idle_depth(const struct cpu *cpu)
{
    unsigned depth = 0;
    for (unsigned i = 0; i < profile->idle_count; i++)
        if (time_now - cpu->idle_since >= profile->idle[i].after)
            depth = i;
    return depth;
}

static bool preempts(struct cpu *cpu, const struct sim_thread *thread)
{
    charge(cpu);
    return cpu->current &&
           place_of(cpu->current)->run > place_of(thread)->run + profile->granularity;
}

// To a CPU that runs another.
static void join_queue(struct cpu *cpu, struct sim_thread *thread)
{
    bool at_once = preempts(cpu, thread);
    enqueue(cpu, thread);
    plan_balance(cpu);
    if (!at_once)
        return;
    if (cpu->current == sim.self && cpu->until <= time_now) {
        cpu->must_switch = true; // it is between two steps, or has just ended
        return;
    }
    place_of(cpu->current)->remaining = cpu->until > time_now ? cpu->until - time_now : 0;
    put_back(cpu);
}

static void arrive(struct cpu *cpu, struct sim_thread *thread)
{
    cpu->is_coming = false;
    if (cpu->current)
        join_queue(cpu, thread);
    else
        start(cpu, thread);
}

static int nearest_idle(const struct sim_thread *thread, unsigned near)
{
    unsigned complex = near / profile->per_complex;
    for (unsigned i = 0; i < profile->per_complex; i++) {
        unsigned cpu = complex * profile->per_complex +
                       (near % profile->per_complex + i) % profile->per_complex;
        if (cpu < profile->cpus && is_idle(&cpus[cpu]) && may_run_on(thread, cpu))
            return (int)cpu;
    }
    return -1;
}

static unsigned choose_cpu(const struct sim_thread *thread, const struct sim_thread *waker)
{
    const struct place *place = place_of(thread);
    unsigned previous = (unsigned)thread->cpu;
    if (place->only >= 0)
        return (unsigned)place->only;
    if (waker && profile->placement == SIM_PLACE_WAKER && may_run_on(thread, (unsigned)waker->cpu))
        return (unsigned)waker->cpu;
    bool may = may_run_on(thread, previous);
    if (may && (is_idle(&cpus[previous]) || profile->placement == SIM_PLACE_LAST))
        return previous;
    int idle = waker ? nearest_idle(thread, (unsigned)waker->cpu) : -1;
    if (idle < 0)
        idle = nearest_idle(thread, previous);
    if (idle >= 0)
        return (unsigned)idle;
    for (unsigned i = 0; !may && i < profile->cpus; i++)
        if (may_run_on(thread, i))
            return i;
    return previous;
}

static void bring(struct sim_thread *thread, unsigned to, struct cpu *waker, uint64_t here)
{
    struct cpu *cpu = &cpus[to];
    int previous = thread->cpu;
    move_run_time(thread, cpu, true);
    if (is_idle(cpu)) {
        unsigned depth = idle_depth(cpu);
        if (waker)
            waker->debt += profile->idle[depth].call;
        bool is_timer = !waker && (unsigned)previous == to; // which went off on that CPU itself
        arrive_later(cpu, thread,
                     is_timer ? profile->overshoot + profile->idle[depth].arrival -
                                    profile->idle[0].arrival
                              : profile->idle[depth].arrival);
        return;
    }
    if (waker)
        waker->debt += cpu == waker ? here : profile->wake_busy;
    if (cpu->current)
        join_queue(cpu, thread);
    else
        enqueue(cpu, thread);
}

// ---- steps

static uint64_t cost_of(struct sim_thread *self, const struct sim_op *op)
{
    switch (op->kind) {
    case SIM_OP_LOAD:
    case SIM_OP_STORE:
    case SIM_OP_RMW:
        cpus[self->cpu].plain += profile->access_ps;
        return sim_lines_access((unsigned)self->cpu, time_now, op);
    case SIM_OP_FENCE:
        return profile->fence;
    case SIM_OP_CALL:
        stats.calls++;
        return sim_profile_call(profile, op->what);
    case SIM_OP_CREATE:
        return 0; // the call before it
    case SIM_OP_MEMORY:
        return profile->memory;
    case SIM_OP_RELAX:
        return profile->pause;
    case SIM_OP_CLOCK:
        return op->what ? profile->ticks : profile->clock;
    case SIM_OP_WORK:
        return op->ns;
    case SIM_OP_PLAIN:
        break;
    }
    return 0;
}

// It is part of the next step: nobody can come in between.
static void plain_access(struct sim_thread *self, const void *p, bool writes, const void *at)
{
    struct cpu *cpu = &cpus[self->cpu];
    stats.plain++;
    cpu->plain += profile->access_ps;
    cpu->debt += sim_lines_plain((unsigned)self->cpu, time_now + cpu->debt, p, writes, at);
}

static bool has_to_give_way(const struct cpu *cpu)
{
    return cpu->must_switch || (cpu->queue && time_now >= cpu->slice_end);
}

static void step(struct sim_thread *self, const struct sim_op *op)
{
    struct cpu *cpu = &cpus[self->cpu];
    self->steps++;
    stats.steps++;
    uint64_t cost = cost_of(self, op);
    cpu->until =
        time_now + at_speed((unsigned)self->cpu, cost + cpu->debt + cpu->plain / PS_PER_NS);
    cpu->debt = 0;
    cpu->plain %= PS_PER_NS;
    bool yields = op->kind == SIM_OP_CALL && strcmp(op->what, "sched_yield") == 0;
    if (sim_events_first() > cpu->until && !yields && !has_to_give_way(cpu)) {
        time_now = cpu->until; // nothing happens meanwhile
        return;
    }
    plan(cpu);
    sim_give_way();
    if (yields && cpu->current == self && cpu->queue) {
        struct sim_thread *other = least_run(cpu);
        if (place_of(self)->run < place_of(other)->run)
            place_of(self)->run = place_of(other)->run;
        dequeue(cpu, other);
        charge(cpu);
        enqueue(cpu, self);
        start(cpu, other);
        sim_give_way();
    }
}

// ---- what the machine tells

static void asleep(struct sim_thread *self)
{
    struct cpu *cpu = &cpus[self->cpu];
    charge(cpu);
    cpu->left_at = time_now + profile->sleep;
    self->cpu_ns += profile->sleep;
    stats.cpu += profile->sleep;
    if (self->until != SS_FOREVER) {
        uint64_t until = self->until > time_now ? self->until : time_now;
        uint64_t slack = self->slack ? self->slack : profile->slack;
        sim_events_add((struct sim_event){
            .time = until + slack, .kind = SIM_TIME_UP, .thread = self->id, .valid = self->sleeps});
    }
    schedule(cpu);
}

static void awake(struct sim_thread *thread, struct sim_thread *waker)
{
    struct cpu *cpu = waker && cpus[waker->cpu].current == waker ? &cpus[waker->cpu] : NULL;
    stats.wakes += cpu != NULL;
    bring(thread, choose_cpu(thread, cpu ? waker : NULL), cpu, profile->wake_here);
}

static void created(struct sim_thread *thread, struct sim_thread *creator)
{
    struct place *place = place_of(thread);
    *place = (struct place){.only = -1, .not_on = -1, .last_ran = time_now};
    if (sim.alive > stats.threads)
        stats.threads = sim.alive;
    if (!creator) {
        thread->cpu = 0;
        start(&cpus[0], thread);
        return;
    }
    // A new thread goes to an idle CPU near by if there is one, else it waits behind its creator.
    struct cpu *cpu = &cpus[creator->cpu];
    thread->cpu = creator->cpu;
    place->run = cpu->min_run;
    place->remaining = profile->thread_life;
    int idle = nearest_idle(thread, (unsigned)creator->cpu);
    for (unsigned i = 0; idle < 0 && i < profile->cpus; i++)
        if (is_idle(&cpus[i]))
            idle = (int)i;
    bring(thread, idle >= 0 ? (unsigned)idle : (unsigned)creator->cpu, cpu, 0);
}

static unsigned choose(enum sim_choice what, unsigned count)
{
    (void)what, (void)count;
    return 0;
}

static uint64_t now(void)
{
    return time_now;
}

static uint64_t cpu_time(const struct sim_thread *thread)
{
    const struct cpu *cpu = &cpus[thread->cpu];
    bool runs = cpu->current == thread && time_now > cpu->charged;
    return thread->cpu_ns + (runs ? time_now - cpu->charged : 0) + 1; // never 0
}

static bool place(struct sim_thread *thread, int cpu, bool on)
{
    struct place *place = place_of(thread);
    if (cpu < 0 || (!on && profile->cpus < 2))
        return false;
    place->only = on ? cpu : -1;
    place->not_on = on ? -1 : cpu;
    return true;
}

static void release(struct sim_thread *thread)
{
    place_of(thread)->only = place_of(thread)->not_on = -1;
}

// ---- what happens next

// An idle CPU takes a thread that waits here.
static void balance(struct cpu *cpu)
{
    cpu->is_balancing = false;
    for (unsigned i = 0; cpu->queue && i < profile->cpus; i++) {
        if (!is_idle(&cpus[i]))
            continue;
        struct sim_thread *thread = cpu->queue;
        while (thread && !may_run_on(thread, i))
            thread = thread->queued;
        if (!thread)
            continue;
        dequeue(cpu, thread);
        move_run_time(thread, &cpus[i], false);
        arrive_later(&cpus[i], thread, profile->idle[0].arrival);
        break;
    }
    plan_balance(cpu);
}

// The thread that goes on, if one does.
static struct sim_thread *happen(const struct sim_event *event)
{
    struct cpu *cpu = &cpus[event->cpu];
    struct sim_thread *thread = &sim_threads[event->thread];
    switch (event->kind) {
    case SIM_STEP_ENDS:
        if (event->valid != cpu->valid || !cpu->current)
            return NULL;
        charge(cpu);
        if (!has_to_give_way(cpu))
            return cpu->current;
        put_back(cpu);
        return NULL;
    case SIM_ARRIVES:
        arrive(cpu, thread);
        return NULL;
    case SIM_TIME_UP:
        if (thread->state == SIM_ASLEEP && thread->sleeps == event->valid)
            sim_wake(thread, true);
        return NULL;
    case SIM_BALANCES:
        balance(cpu);
        return NULL;
    }
    return NULL;
}

static struct sim_thread *next(void)
{
    struct sim_thread *self = sim.self, *goes_on;
    struct sim_event event;
    if (self && self->state == SIM_ENDED && cpus[self->cpu].current == self) {
        charge(&cpus[self->cpu]);
        schedule(&cpus[self->cpu]);
    }
    if (sim.main->state == SIM_ENDED)
        return NULL;
    while (sim_events_take(&event)) {
        time_now = event.time;
        if ((goes_on = happen(&event)))
            return goes_on;
    }
    sim_fail("lost: all threads sleep for ever, and the program has not ended");
    return NULL;
}

static const struct sim_driver driver = {
    .counts_time = true,
    .step = step,
    .plain = plain_access,
    .next = next,
    .choose = choose,
    .now = now,
    .asleep = asleep,
    .awake = awake,
    .created = created,
    .cpu_time = cpu_time,
    .place = place,
    .release = release,
};

// ---- a run

bool sim_time_run(const struct sim_profile *of, void *(*main)(void *), void *arg)
{
    struct sim_config config = {.cpus = of->cpus, .steps_max = UINT64_MAX, .reuses_memory = true};
    profile = of;
    memset(cpus, 0, sizeof cpus);
    memset(&stats, 0, sizeof stats);
    sim_events_reset();
    sim_lines_reset(of);
    waiting = 0;
    time_now = BEGIN;
    for (unsigned i = 0; i < of->cpus; i++)
        cpus[i].idle_since = BEGIN;
    return sim_run(&driver, &config, main, arg) == SIM_GOOD;
}

struct sim_time_stats sim_time_stats(void)
{
    struct sim_time_stats now_stats = stats;
    for (unsigned i = 0; i < profile->cpus; i++)
        if (cpus[i].current)
            now_stats.cpu += time_now > cpus[i].charged ? time_now - cpus[i].charged : 0;
    now_stats.end = time_now - BEGIN;
    return now_stats;
}
