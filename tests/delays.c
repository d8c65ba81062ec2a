// SPDX-License-Identifier: ISC
//
// Preloaded into a Check program whose functions say that they begin and end
// (-finstrument-functions), it stops threads there now and then, as a scheduler may do anywhere and
// hardly ever does. Which functions are slow, and at which of their calls, is chosen by
// DELAY_SEED: one function in SLOW of those that begin or end, some of its first calls, and then
// ever fewer, so that a test takes seconds longer and no more. See ./dev test --delayed.

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    SLOW = 16,        // one function in so many
    FIRST = 32,       // of so many first calls
    DELAYED = 4,      // one in so many is delayed,
    LONGEST_MS = 8,   // from 1 ms to this
    PLACES = 2 * 4096 // the beginning and the end of each function
};

EXPORT void __cyg_profile_func_enter(void *function, void *caller);
EXPORT void __cyg_profile_func_exit(void *function, void *caller);

static uint64_t seed;
static atomic_uint calls[PLACES];

__attribute__((constructor)) static void take_seed(void)
{
    const char *given = getenv("DELAY_SEED");
    seed = given ? strtoull(given, NULL, 10) : 0;
}

// A number that follows from the two and the seed, and looks like chance (the finalizer of
// MurmurHash3, 64 bits).
static uint64_t chosen(uint64_t place, uint64_t call)
{
    uint64_t x = (seed << 40) ^ (place << 20) ^ call;
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccd;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53;
    return x ^ (x >> 33);
}

static int is_delayed(unsigned place)
{
    if (chosen(place, UINT32_MAX) % SLOW != 0)
        return 0;
    unsigned call = atomic_fetch_add_explicit(&calls[place], 1, memory_order_relaxed);
    return call < FIRST ? chosen(place, call) % DELAYED == 0 : (call & (call - 1)) == 0;
}

// By the address within its page, which is the same in each run. With the system call itself:
// nanosleep() is a cancellation point.
static void come_by(void *function, unsigned end)
{
    unsigned place = 2 * (unsigned)((uintptr_t)function % 4096) + end;
    if (!is_delayed(place))
        return;
    int before = errno;
    struct timespec time = {.tv_nsec = (long)(1 + chosen(place, 0) % LONGEST_MS) * 1000000};
    syscall(SYS_nanosleep, &time, NULL);
    errno = before;
}

void __cyg_profile_func_enter(void *function, void *caller)
{
    (void)caller;
    come_by(function, 0);
}

void __cyg_profile_func_exit(void *function, void *caller)
{
    (void)caller;
    come_by(function, 1);
}
