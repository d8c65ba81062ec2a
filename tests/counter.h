// SPDX-License-Identifier: ISC
//
// A number that threads raise and wait for, asleep in the kernel, for the tests of the core and of
// the layers. It has no lock: a child of fork() uses it whatever other threads of the parent were
// doing with it.

#ifndef COUNTER_H
#define COUNTER_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

struct counter {
    _Atomic uint32_t value; // a futex word
};
#define COUNTER_INIT \
    {                \
        0            \
    }

// Returns the new value.
static inline unsigned long counter_add(struct counter *c, unsigned long n)
{
    uint32_t value = atomic_fetch_add(&c->value, (uint32_t)n) + (uint32_t)n;
    syscall(SYS_futex, &c->value, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    return value;
}

static inline unsigned long counter_get(struct counter *c)
{
    return atomic_load(&c->value);
}

static inline void counter_wait(struct counter *c, unsigned long at_least)
{
    for (uint32_t seen; (seen = atomic_load(&c->value)) < at_least;)
        syscall(SYS_futex, &c->value, FUTEX_WAIT, seen, NULL, NULL, 0);
}

#endif // COUNTER_H
