// SPDX-License-Identifier: ISC
//
// What a machine is and what it costs: read from a small text file (profiles/). Each line is a name
// and its numbers; "#" begins a comment. Times are in ns.

#ifndef SIM_PROFILE_H
#define SIM_PROFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_CPUS_MAX        256u
#define SIM_IDLE_STATES_MAX 4u
#define SIM_CALLS_MAX       32u

// Where a thread that is woken runs, if several CPUs would do.
enum sim_placement {
    SIM_PLACE_PREVIOUS, // where it ran last if that is idle, else an idle one near by, else there
    SIM_PLACE_LAST,  // where it ran last, idle or not: so does a machine whose CPUs are never idle
    SIM_PLACE_WAKER, // the waker's CPU
};

struct sim_profile {
    char name[32];
    unsigned cpus;
    unsigned per_core, per_complex, per_socket; // CPUs
    enum sim_placement placement;

    // memory: an access to a line that the CPU has, with the instructions around it, in ps; a
    // read-modify-write, or a store that is a fence, and a fence; and what a line costs that comes
    // from a CPU of the same core, complex, socket, or from farther away
    uint64_t access_ps;
    uint64_t rmw, fence;
    uint64_t from_core, from_complex, from_socket, from_far;
    uint64_t from_memory; // or from a cache behind that of the CPU
    uint64_t cache;       // lines that a CPU's own cache holds; 0: no end of them
    uint64_t pause, clock, ticks, memory;

    // the kernel
    uint64_t call; // a system call that is not named below
    struct {
        char name[32];
        uint64_t ns;
    } calls[SIM_CALLS_MAX];
    unsigned call_count;
    uint64_t thread_switch; // from one thread to another
    uint64_t wake_here;     // wakes a thread on the waker's CPU
    uint64_t wake_busy;     // on another one that runs
    uint64_t sleep;         // until a thread has fallen asleep, beyond the call
    uint64_t thread_life;   // what a thread takes of the CPU to begin and to end
    uint64_t overshoot;     // of a sleep, beside the slack, until the thread is switched to
    uint64_t slack;         // of a thread's timers
    uint64_t slice, granularity;
    uint64_t hot;     // a thread that ran less long ago is not taken by a CPU that has become idle
    uint64_t balance; // between looks of a CPU with too many threads for one with none

    // a CPU that has been idle for so long: what it costs to wake it, and until it runs
    struct {
        uint64_t after, call, arrival;
    } idle[SIM_IDLE_STATES_MAX];
    unsigned idle_count;

    // big and little: the first `big` CPUs have speed 100, the others this
    unsigned big, little_speed;
};

// The one that is called `name` (a file without ".txt" in `folder`). False: says why on stderr.
bool sim_profile_read(struct sim_profile *profile, const char *folder, const char *name);

uint64_t sim_profile_call(const struct sim_profile *profile, const char *what);

#endif // SIM_PROFILE_H
