// SPDX-License-Identifier: ISC
//
// Replaces pages of code (see text.h).
//
// Why nobody sees half a change: mremap() holds the address space's lock for writing from before
// the old pages go until the new ones are there. A thread that faults meanwhile waits for that lock
// and then finds the new pages. On x86-64 the flush of the address translations interrupts every
// CPU that runs a thread of the process, which also drops what it has fetched; on arm64 the new
// code is cleaned out to where instructions are fetched from before it is moved, and membarrier
// makes the CPUs forget what they have fetched.

#include "text.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)

#define PAD_SIZE  4u
#define JUMP_SIZE 14u
static const uint8_t pad[PAD_SIZE] = {0xf3, 0x0f, 0x1e, 0xfa};                   // endbr64
static const uint8_t jump[JUMP_SIZE - 8] = {0xff, 0x25, 0x00, 0x00, 0x00, 0x00}; // jmp *0(%rip)

static void synchronise(void)
{
}

#elif defined(__aarch64__)

#define PAD_SIZE  4u
#define JUMP_SIZE 16u
static const uint8_t pad[PAD_SIZE] = {0x5f, 0x24, 0x03, 0xd5};       // bti c
static const uint8_t jump[JUMP_SIZE - 8] = {0x50, 0x00, 0x00, 0x58,  // ldr x16, 8 bytes on
                                            0x00, 0x02, 0x1f, 0xd6}; // br x16

#define MEMBARRIER_SYNC_CORE          32 // MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE
#define MEMBARRIER_REGISTER_SYNC_CORE 64

// Without it the kernel is older than 4.16, or forbids the call; a thread that returns from the
// kernel, or moves to another CPU, is up to date all the same.
static void synchronise(void)
{
    (void)syscall(SYS_membarrier, MEMBARRIER_REGISTER_SYNC_CORE, 0, 0);
    (void)syscall(SYS_membarrier, MEMBARRIER_SYNC_CORE, 0, 0);
}

#else

#define PAD_SIZE  1u
#define JUMP_SIZE 0u
static const uint8_t pad[PAD_SIZE];

#endif

static size_t pad_size(const uint8_t *entry)
{
    return memcmp(entry, pad, PAD_SIZE) == 0 ? PAD_SIZE : 0;
}

size_t ss_jump_size(const uint8_t *entry)
{
    return JUMP_SIZE == 0 ? 0 : pad_size(entry) + JUMP_SIZE;
}

// The jump that belongs at a site, for the bytes [0, ss_jump_size()).
static void write_jump(const struct ss_text_site *site, uint8_t *out)
{
#if defined(__x86_64__) || defined(__aarch64__)
    size_t skip = pad_size(site->original);

    memcpy(out, site->original, skip);
    memcpy(out + skip, jump, sizeof(jump));
    memcpy(out + skip + sizeof(jump), &site->target, 8);
#else
    (void)site;
    (void)out;
#endif
}

// The pages of some sites.
struct range {
    uint8_t *begin;
    size_t length;
};

static struct range pages_of(const struct ss_text *text, unsigned first, unsigned count)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), low = UINTPTR_MAX, high = 0;

    for (unsigned i = first; i < first + count; i++) {
        uintptr_t at = (uintptr_t)text->site[i].at, end = at + ss_jump_size(text->site[i].at);
        low = at < low ? at : low;
        high = end > high ? end : high;
    }
    low &= ~(page - 1);
    high = (high + page - 1) & ~(page - 1);
    return (struct range){(uint8_t *)low, high - low};
}

bool ss_text_is_near(const struct ss_text *text)
{
    return pages_of(text, 0, text->count).length <=
           SS_TEXT_PAGES_MAX * (size_t)sysconf(_SC_PAGESIZE);
}

// Replaces the pages by copies that `change` has worked on.
static int replace(struct ss_text *text, unsigned first, unsigned count,
                   void (*change)(const struct ss_text_site *site, uint8_t *out))
{
    struct range range = pages_of(text, first, count);
    uint8_t *copy =
        mmap(NULL, range.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (copy == MAP_FAILED)
        return -errno;
    memcpy(copy, range.begin, range.length);
    for (unsigned i = first; i < first + count; i++)
        change(&text->site[i], copy + (text->site[i].at - range.begin));
    __builtin___clear_cache((char *)copy, (char *)copy + range.length);
    if (mprotect(copy, range.length, PROT_READ | PROT_EXEC) != 0 ||
        mremap(copy, range.length, range.length, MREMAP_MAYMOVE | MREMAP_FIXED, range.begin) ==
            MAP_FAILED) {
        int err = -errno;
        (void)munmap(copy, range.length);
        return err;
    }
    __builtin___clear_cache((char *)range.begin, (char *)range.begin + range.length);
    synchronise();
    return 0;
}

static void put_original(const struct ss_text_site *site, uint8_t *out)
{
    memcpy(out, site->original, ss_jump_size(site->original));
}

int ss_text_patch(struct ss_text *text)
{
    for (unsigned i = 0; i < text->count; i++)
        memcpy(text->site[i].original, text->site[i].at, ss_jump_size(text->site[i].at));
    return replace(text, 0, text->count, write_jump);
}

int ss_text_restore(struct ss_text *text, unsigned first, unsigned count)
{
    return replace(text, first, count, put_original);
}

bool ss_text_is_patched(const struct ss_text *text)
{
    uint8_t wanted[SS_JUMP_MAX];

    for (unsigned i = 0; i < text->count; i++) {
        write_jump(&text->site[i], wanted);
        if (memcmp(text->site[i].at, wanted, ss_jump_size(text->site[i].original)) != 0)
            return false;
    }
    return true;
}
