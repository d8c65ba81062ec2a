// SPDX-License-Identifier: ISC

#include "victim.h"

// On pages of their own: nothing that the test is in the middle of.
#define NEAR __attribute__((noinline, section(".text.victim"), aligned(64)))

NEAR unsigned victim_one(unsigned n)
{
    for (unsigned i = 0; i < 3; i++)
        n = n * 7 + i;
    return n % 1000 + 1000;
}

NEAR unsigned victim_bystander(unsigned n)
{
    for (unsigned i = 0; i < 3; i++)
        n = n * 11 + i;
    return n % 1000 + 2000;
}

NEAR unsigned victim_two(unsigned n)
{
    for (unsigned i = 0; i < 3; i++)
        n = n * 13 + i;
    return n % 1000 + 3000;
}
