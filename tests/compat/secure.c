// SPDX-License-Identifier: ISC
//
// Preloaded before everything else it makes a process believe that it runs setuid: the kernel's
// word for that is AT_SECURE.

#include <elf.h>
#include <sys/auxv.h>

unsigned long getauxval(unsigned long type)
{
    return type == AT_SECURE;
}
