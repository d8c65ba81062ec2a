// SPDX-License-Identifier: ISC
//
// Memory from the C library's allocator. NULL: there is none, and errno is as it was.

#ifndef SS_MEMORY_H
#define SS_MEMORY_H

#include <stddef.h>

void *ss_allocate(size_t size);
void *ss_allocate_zeroed(size_t size);

// `size` is a multiple of `alignment`, which is a power of two.
void *ss_allocate_aligned(size_t alignment, size_t size);

// NULL is allowed.
void ss_deallocate(void *memory);

#endif // SS_MEMORY_H
