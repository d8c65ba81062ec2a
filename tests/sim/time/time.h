// SPDX-License-Identifier: ISC
//
// The driver that counts time. Each virtual CPU has a clock; of those that have something to do the
// one whose clock is behind runs, for one step, which costs what the profile says. So a run is
// determined by program and profile, and two CPUs never see each other's future.
//
//   profile.c   what things cost on a machine: a small text file
//   lines.c     cache lines: who has a copy, what an access costs
//   cpus.c      CPUs, their run queues, where a thread wakes
//   driver.c    the driver itself: steps, sleeps, timers
//   bench.c     workloads, and what is printed of them

#ifndef SIM_TIME_H
#define SIM_TIME_H

#include "../machine/sim.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CPUS_MAX 256

// Times in ns; each by its name in the file.
#define PROFILE(X)                                                                          \
    X(cpus)                                                                                 \
    X(cpus_per_complex) /* that share a cache */                                            \
    X(cpus_per_socket)                                                                      \
    X(step) /* an access that hits, and what the code does between two */                   \
    X(rmw)  /* a read-modify-write that hits */                                             \
    X(fence)                                                                                \
    X(pause)                                                                                \
    X(line_complex) /* a line from a CPU that shares the cache */                           \
    X(line_socket)                                                                          \
    X(line_far)                                                                             \
    X(call)      /* a call of the kernel */                                                 \
    X(cpu_clock) /* of another thread */                                                    \
    X(read_stat) /* of one thread, from /proc */                                            \
    X(membarrier)                                                                           \
    X(create)         /* a thread: what its creator pays */                                 \
    X(create_latency) /* until it runs */                                                   \
    X(switch_)        /* from one thread to another on a CPU */                             \
    X(wake_call)      /* waking a thread of an idle CPU: what the waker pays */             \
    X(wake_latency)   /* until it runs */                                                   \
    X(wake_deep_call) /* the same of a CPU that has been idle for deep_after */             \
    X(wake_deep_latency)                                                                    \
    X(deep_after)                                                                           \
    X(wake_same)     /* waking a thread that is to run on the waker's CPU */                \
    X(timer_late)    /* how late a sleep ends */                                            \
    X(slice)         /* of a thread while others wait for its CPU */                        \
    X(preempt_after) /* a thread that wakes takes the CPU from one that has run for this */ \
    X(malloc)

#define DECLARE_COST(name) uint64_t name;
struct profile {
    char title[64];
    PROFILE(DECLARE_COST)
};
#undef DECLARE_COST

extern struct profile profile;

// 0, or a negative errno value with the line in *line. `cpus`: 0: as in the file.
int profile_read(const char *path, unsigned cpus, unsigned *line);

// ---- CPUs

struct cpu {
    uint64_t now; // its clock
    struct sim_thread *current;
    struct sim_thread *first, **last; // run queue
    unsigned queued;
    uint64_t idle_since; // while it has nothing to do
    bool idle;
    uint64_t since; // current has run since
    uint64_t busy;  // ns in all
};

extern struct cpu cpus[CPUS_MAX];

void cpus_reset(void);
unsigned cpu_distance(unsigned a, unsigned b); // 0: the same, 1: a complex, 2: a socket, 3: far

// A thread that can run: chooses a CPU for it and puts it there. `waker`: NULL: a timer.
void cpus_enqueue(struct sim_thread *thread, struct sim_thread *waker, uint64_t now,
                  uint64_t latency);

// The CPU that is to run next, with its thread as `current`; NULL: all are idle. *until: how far it
// may run before another is to be asked.
struct cpu *cpus_next(uint64_t *until);

// The current thread of the CPU sleeps, has ended, or goes to the end of the queue.
void cpus_take_off(struct cpu *cpu, bool to_queue);

// ---- lines

void lines_reset(void);

// What the access costs a thread of `cpu` that makes it at `now`.
uint64_t lines_access(const volatile void *p, unsigned cpu, bool writes, uint64_t now);

extern uint64_t line_transfers; // of this run

// ---- the driver

extern const struct sim_driver time_driver;
void time_reset(void);

struct time_counts {
    uint64_t calls, wakes, switches, migrations;
};
extern struct time_counts time_counts;

// Has something counted as work of the calling simulated thread.
int time_bench(int argc, char **argv);

#endif // SIM_TIME_H
