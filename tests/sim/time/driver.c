// SPDX-License-Identifier: ISC
//
// The driver: what a step costs, who runs then, and sleeps that end by time.

#include "time.h"

#include <stdlib.h>
#include <string.h>

struct time_counts time_counts;
static uint64_t runs_until; // of the thread that runs: another CPU is behind then
static unsigned timer_count, timer_room;

void time_reset(void)
{
    cpus_reset();
    lines_reset();
    memset(&time_counts, 0, sizeof time_counts);
    timer_count = 0;
    runs_until = 0;
}

static struct cpu *cpu_of(const struct sim_thread *thread)
{
    return &cpus[thread->cpu];
}

// ---- sleeps that end by time. An entry whose thread has woken meanwhile is passed over.

struct timer {
    uint64_t until;
    struct sim_thread *thread;
    uint64_t sleep; // which of the thread's
};

static struct timer *heap;

static void add_timer(struct sim_thread *thread)
{
    if (timer_count == timer_room) {
        timer_room = timer_room ? 2 * timer_room : 1024;
        heap = realloc(heap, timer_room * sizeof *heap);
        if (!heap)
            abort();
    }
    unsigned at = timer_count++;
    struct timer timer = {thread->until + profile.timer_late, thread, thread->sleeps};
    for (; at > 0 && heap[(at - 1) / 2].until > timer.until; at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = timer;
}

static void pop_timer(void)
{
    struct timer timer = heap[--timer_count];
    unsigned at = 0;
    for (;;) {
        unsigned child = 2 * at + 1;
        if (child >= timer_count)
            break;
        if (child + 1 < timer_count && heap[child + 1].until < heap[child].until)
            child++;
        if (heap[child].until >= timer.until)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = timer;
}

// The first that still stands; SS_FOREVER: none.
static uint64_t next_timer(void)
{
    while (timer_count > 0 &&
           (heap[0].thread->state != SIM_ASLEEP || heap[0].thread->sleeps != heap[0].sleep))
        pop_timer();
    return timer_count > 0 ? heap[0].until : SS_FOREVER;
}

// ---- threads come and go

static void asleep(struct sim_thread *thread)
{
    if (thread->until != SS_FOREVER)
        add_timer(thread);
}

static void awake(struct sim_thread *thread, struct sim_thread *waker)
{
    uint64_t now = waker ? cpu_of(waker)->now : thread->until + profile.timer_late;
    time_counts.wakes += waker != NULL;
    cpus_enqueue(thread, waker, now, 0);
    if (thread->due < runs_until)
        runs_until = thread->due;
}

static void created(struct sim_thread *thread, struct sim_thread *creator)
{
    thread->cpu = creator ? creator->cpu : 0;
    if (creator)
        cpu_of(creator)->now += profile.create;
    cpus_enqueue(thread, NULL, creator ? cpu_of(creator)->now : cpus[0].now,
                 creator ? profile.create_latency : 0);
    if (thread->due < runs_until)
        runs_until = thread->due;
}

// ---- steps

static void charge(struct sim_thread *self, uint64_t ns)
{
    struct cpu *cpu = cpu_of(self);
    cpu->now += ns;
    cpu->busy += ns;
    self->cpu_ns += ns;
}

// Others come to run: a CPU that is behind, or a thread that waits for this one.
static void let_others(struct sim_thread *self)
{
    struct cpu *cpu = cpu_of(self);
    if (cpu->first && cpu->first->due <= cpu->now && cpu->now - cpu->since >= profile.slice) {
        cpus_take_off(cpu, true);
        sim_give_way();
    } else if (cpu->now >= runs_until) {
        sim_give_way();
    }
}

static uint64_t cost_of_call(const char *what)
{
    if (strcmp(what, "membarrier") == 0)
        return profile.membarrier;
    if (strcmp(what, "clock_gettime of a thread") == 0)
        return profile.cpu_clock;
    if (strcmp(what, "read /proc") == 0 || strcmp(what, "read /proc/loadavg") == 0)
        return profile.read_stat;
    return profile.call;
}

static void work(struct sim_thread *self, uint64_t ns)
{
    while (ns > 0) {
        uint64_t part = ns < profile.preempt_after ? ns : profile.preempt_after;
        charge(self, part);
        ns -= part;
        let_others(self);
    }
}

static void step(struct sim_thread *self, const struct sim_op *op)
{
    self->steps++;
    switch (op->kind) {
    case SIM_OP_LOAD:
        charge(self,
               profile.step + lines_access(op->p, (unsigned)self->cpu, false, cpu_of(self)->now));
        break;
    case SIM_OP_STORE:
        charge(self,
               profile.step + lines_access(op->p, (unsigned)self->cpu, true, cpu_of(self)->now));
        break;
    case SIM_OP_RMW:
        charge(self,
               profile.rmw + lines_access(op->p, (unsigned)self->cpu, true, cpu_of(self)->now));
        break;
    case SIM_OP_FENCE:
        charge(self, profile.fence);
        break;
    case SIM_OP_CALL:
        time_counts.calls++;
        charge(self, cost_of_call(op->what));
        break;
    case SIM_OP_CREATE:
        break; // created()
    case SIM_OP_MEMORY:
        charge(self, profile.malloc);
        break;
    case SIM_OP_RELAX:
        charge(self, profile.pause);
        break;
    case SIM_OP_WORK:
        work(self, op->ns);
        return;
    }
    let_others(self);
}

static void gives_way(struct sim_thread *self)
{
    struct cpu *cpu = cpu_of(self);
    if (cpu->first && cpu->first->due <= cpu->now) {
        cpus_take_off(cpu, true);
        sim_give_way();
    }
}

static struct sim_thread *next(void)
{
    struct sim_thread *self = sim.self;
    if (self && self->state != SIM_RUNNABLE && cpu_of(self)->current == self)
        cpus_take_off(cpu_of(self), false);
    if (sim_threads[1].state == SIM_ENDED)
        return NULL;
    for (;;) {
        uint64_t timer = next_timer();
        struct cpu *cpu = cpus_next(&runs_until);
        if (!cpu && timer == SS_FOREVER) {
            sim_fail("lost: all threads sleep for ever, and the program has not ended");
            return NULL;
        }
        if (cpu && cpu->now <= timer) {
            if (timer < runs_until)
                runs_until = timer;
            return cpu->current;
        }
        struct sim_thread *thread = heap[0].thread;
        pop_timer();
        sim_wake(thread, true);
    }
}

static unsigned choose(enum sim_choice what, unsigned count)
{
    (void)what, (void)count;
    return 0;
}

static uint64_t now(void)
{
    return sim.self ? cpu_of(sim.self)->now : cpus[0].now;
}

const struct sim_driver time_driver = {
    .step = step,
    .next = next,
    .choose = choose,
    .now = now,
    .asleep = asleep,
    .awake = awake,
    .created = created,
    .gives_way = gives_way,
};
