// SPDX-License-Identifier: ISC
//
// CPUs and their run queues. A thread that wakes goes to the CPU where it ran, if that is idle;
// else to its waker's or to the idle one that is nearest; else it waits where it ran. A CPU without
// work takes a thread that waits at another one (as the kernel does when it becomes idle).

#include "time.h"

#include <string.h>

struct cpu cpus[CPUS_MAX];

void cpus_reset(void)
{
    memset(cpus, 0, sizeof cpus);
    for (unsigned i = 0; i < profile.cpus; i++) {
        cpus[i].now = SS_NS_PER_S;
        cpus[i].idle = true;
        cpus[i].idle_since = cpus[i].now;
        cpus[i].last = &cpus[i].first;
    }
}

unsigned cpu_distance(unsigned a, unsigned b)
{
    if (a == b)
        return 0;
    if (a / profile.cpus_per_complex == b / profile.cpus_per_complex)
        return 1;
    return a / profile.cpus_per_socket == b / profile.cpus_per_socket ? 2 : 3;
}

static bool has_nothing(const struct cpu *cpu)
{
    return !cpu->current && !cpu->first;
}

static int nearest_idle(unsigned from)
{
    int best = -1;
    unsigned distance = 4;
    for (unsigned k = 0; k < profile.cpus; k++) {
        unsigned i = (from + k) % (unsigned)profile.cpus;
        if (has_nothing(&cpus[i]) && cpu_distance(from, i) < distance) {
            best = (int)i;
            distance = cpu_distance(from, i);
        }
    }
    return best;
}

static void append(struct cpu *cpu, struct sim_thread *thread)
{
    thread->queued = NULL;
    *cpu->last = thread;
    cpu->last = &thread->queued;
    cpu->queued++;
}

static struct sim_thread *pop(struct cpu *cpu)
{
    struct sim_thread *thread = cpu->first;
    if (!thread)
        return NULL;
    cpu->first = thread->queued;
    if (!cpu->first)
        cpu->last = &cpu->first;
    cpu->queued--;
    return thread;
}

void cpus_enqueue(struct sim_thread *thread, struct sim_thread *waker, uint64_t now,
                  uint64_t latency)
{
    unsigned before = (unsigned)thread->cpu;
    int idle = has_nothing(&cpus[before]) ? (int)before
                                          : nearest_idle(waker ? (unsigned)waker->cpu : before);
    struct cpu *cpu = &cpus[idle >= 0 ? (unsigned)idle : before];
    time_counts.migrations += cpu != &cpus[before];
    thread->cpu = (int)(cpu - cpus);
    if (idle >= 0) {
        bool deep = now - cpu->idle_since >= profile.deep_after && now > cpu->idle_since;
        latency += deep ? profile.wake_deep_latency : profile.wake_latency;
        if (waker)
            cpus[waker->cpu].now += deep ? profile.wake_deep_call : profile.wake_call;
    } else if (waker) {
        cpus[waker->cpu].now += profile.wake_same;
    }
    thread->due = now + latency;
    append(cpu, thread);
}

void cpus_take_off(struct cpu *cpu, bool to_queue)
{
    struct sim_thread *thread = cpu->current;
    cpu->current = NULL;
    if (to_queue && thread) {
        thread->due = cpu->now;
        append(cpu, thread);
    } else if (!cpu->first) {
        cpu->idle_since = cpu->now;
    }
}

// When the CPU would go on.
static uint64_t ready_at(const struct cpu *cpu)
{
    if (cpu->current)
        return cpu->now;
    if (!cpu->first)
        return UINT64_MAX;
    return cpu->first->due > cpu->now ? cpu->first->due : cpu->now;
}

// From the CPU where most threads wait.
static void steal_for(struct cpu *cpu, uint64_t now)
{
    struct cpu *victim = NULL;
    for (unsigned i = 0; i < profile.cpus; i++)
        if (cpus[i].queued > 0 && cpus[i].current && (!victim || cpus[i].queued > victim->queued))
            victim = &cpus[i];
    if (!victim)
        return;
    struct sim_thread *thread = pop(victim);
    thread->cpu = (int)(cpu - cpus);
    if (cpu->now < now)
        cpu->now = now;
    append(cpu, thread);
    time_counts.migrations++;
}

struct cpu *cpus_next(uint64_t *until)
{
    struct cpu *best = NULL;
    uint64_t at = UINT64_MAX, then = UINT64_MAX;
    for (unsigned i = 0; i < profile.cpus; i++) {
        uint64_t ready = ready_at(&cpus[i]);
        if (ready < at) {
            then = at;
            at = ready;
            best = &cpus[i];
        } else if (ready < then) {
            then = ready;
        }
    }
    *until = then;
    if (!best)
        return NULL;
    if (best->current && best->queued > 0) {
        int idle = nearest_idle((unsigned)(best - cpus));
        if (idle >= 0)
            steal_for(&cpus[idle], best->now + profile.wake_latency);
    }
    best->now = at;
    if (!best->current) {
        best->current = pop(best);
        best->now += profile.switch_;
        best->since = best->now;
        time_counts.switches++;
    }
    return best;
}
