// SPDX-License-Identifier: ISC

#include "victim.h"

// On pages of their own: nothing that the test is in the middle of.
#define NEAR __attribute__((noinline, section(".text.victim"), aligned(64)))

// Threads call this one while a jump is put over its first bytes, and none may stand among these
// (text.h). So its first instruction goes over them: a thread is before it or behind.
#if defined(__x86_64__)
__asm__(".pushsection .text.victim, \"ax\", @progbits\n"
        ".p2align 6\n"
        ".globl victim_one\n"
        ".type victim_one, @function\n"
        "victim_one:\n"
        "    jmp 1f\n"
        "    .skip 20, 0x90\n"
        "1:  leal 1000(%rdi, %rdi, 2), %eax\n"
        "    ret\n"
        ".size victim_one, . - victim_one\n"
        ".popsection\n");
#elif defined(__aarch64__)
__asm__(".pushsection .text.victim, \"ax\", %progbits\n"
        ".p2align 6\n"
        ".globl victim_one\n"
        ".type victim_one, %function\n"
        "victim_one:\n"
        "    b 1f\n"
        "    nop\n"
        "    nop\n"
        "    nop\n"
        "    nop\n"
        "1:  add w0, w0, w0, lsl #1\n"
        "    add w0, w0, #1000\n"
        "    ret\n"
        ".size victim_one, . - victim_one\n"
        ".popsection\n");
#else
NEAR unsigned victim_one(unsigned n)
{
    return 3 * n + 1000;
}
#endif

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
