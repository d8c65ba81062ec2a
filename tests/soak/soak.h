// SPDX-License-Identifier: ISC
//
// The soak test: threads (actors) play short scenes at random, all in one process, for as long as
// one likes. A scene uses one API from its beginning to its end, next to all the others, and keeps
// account: what was accepted has run once, or was taken back once, and nothing else. After each
// episode everything is quiet for a moment, and threads, descriptors and memory are counted.
//
// What is random comes from the seed and the actor's number, so a seed repeats each actor's course,
// though not how the threads meet.

#ifndef SOAK_H
#define SOAK_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "smolscale.h"
#include "smolscale_async.h"

struct actor {
    unsigned number;
    uint64_t random;
    _Atomic(const char *) scene; // NULL: between two
    atomic_ulong played;
};

struct scene {
    const char *name;
    unsigned weight; // how often, compared to the others
    void (*play)(struct actor *actor);
};
extern const struct scene queue_scenes[], task_scenes[], layer_scenes[]; // end with name NULL

// A number below `n`.
unsigned roll(struct actor *actor, unsigned n);

// What all scenes together have done. Each line is a sum that was checked in each scene, too.
enum account {
    JOBS_ACCEPTED, // = run + taken back + cleared
    JOBS_RUN,
    JOBS_TAKEN_BACK,
    JOBS_CLEARED,
    TASKS_STARTED, // = ended + dropped
    TASKS_ENDED,
    TASKS_DROPPED,
    MESSAGES_SENT, // = received + left
    MESSAGES_RECEIVED,
    MESSAGES_LEFT,
    BYTES_WRITTEN, // = read
    BYTES_READ,
    CHILDREN,
    GLIB_PUSHED, // = run + freed
    GLIB_RUN,
    GLIB_FREED,
    UV_SUBMITTED, // = run + cancelled
    UV_RUN,
    UV_CANCELLED,
    ITEMS_GIVEN, // of parallel calls; = run
    ITEMS_RUN,
    ACCOUNTS
};
void book(enum account account, unsigned long n);

// Ends the process with what was expected and what came, and which scene it was.
#define EXPECT(actor, condition, ...)                                        \
    do {                                                                     \
        if (!(condition))                                                    \
            soak_broken(actor, __FILE__, __LINE__, #condition, __VA_ARGS__); \
    } while (0)
#define EXPECT_EQUAL(actor, a, b)                                          \
    do {                                                                   \
        long long a_ = (long long)(a), b_ = (long long)(b);                \
        EXPECT(actor, a_ == b_, "%s is %lld, %s is %lld", #a, a_, #b, b_); \
    } while (0)
__attribute__((noreturn, format(printf, 5, 6))) void soak_broken(struct actor *actor,
                                                                 const char *file, int line,
                                                                 const char *condition,
                                                                 const char *format, ...);

// Waits until the condition holds. The watchdog sees to it that this ends.
#define AWAIT_THAT(condition) \
    while (!(condition))      \
    soak_rest()
void soak_rest(void);

// Has a task wait for a descriptor, in vain. What the executor opens for that (an epoll instance,
// an eventfd) it keeps.
void soak_open_what_stays_open(void);

// Lets the CPU pass the time: some 100 ns for each.
void soak_compute(unsigned n);

#endif // SOAK_H
