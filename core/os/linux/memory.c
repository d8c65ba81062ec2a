// SPDX-License-Identifier: ISC
//
// The C library's allocator, in one place: a test or a simulation puts another one here.

#include "os/memory.h"

#include <errno.h>
#include <stdlib.h>

// Whether it is there is what the caller looks at; the program's errno is none of its business.
void *ss_allocate(size_t size)
{
    int saved_errno = errno;
    void *memory = malloc(size);
    errno = saved_errno;
    return memory;
}

void *ss_allocate_zeroed(size_t size)
{
    int saved_errno = errno;
    void *memory = calloc(1, size);
    errno = saved_errno;
    return memory;
}

void *ss_allocate_aligned(size_t alignment, size_t size)
{
    int saved_errno = errno;
    void *memory = aligned_alloc(alignment, size);
    errno = saved_errno;
    return memory;
}

void ss_deallocate(void *memory)
{
    free(memory);
}
