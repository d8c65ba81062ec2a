// SPDX-License-Identifier: ISC
//
// Looks whether a loaded object carries a libuv that can be served, by all checks that can be made
// before it has a loop.

#ifndef SS_INSIDE_EXAMINE_H
#define SS_INSIDE_EXAMINE_H

#include "finder.h"
#include "object.h"
#include "text.h"
#include "verdict.h"

#include <link.h>
#include <uv.h>

// An object as the loader has it.
struct ss_loaded {
    uintptr_t low, high; // its addresses, [low, high)
    uintptr_t base;
    const Elf64_Phdr *headers; // in the object itself
    unsigned header_count;
    char path[1024];
};

// A libuv in an object.
struct ss_libuv {
    struct ss_object object;
    struct ss_found found;
    unsigned version; // as uv_version()
    int (*async_send)(uv_async_t *handle);
    struct ss_text text; // the places where functions are to be taken over, without targets
};

// The object that an address lies in. False: none, or its path is too long.
bool ss_loaded_at(struct ss_loaded *loaded, uintptr_t address);

// How many objects have been unloaded so far. While it is the same, what lay in an object lies in it.
unsigned long long ss_objects_unloaded(void);

// SERVED: all checks have passed, and `libuv` is complete. Calls functions of the object that only
// return constants: uv_version(), uv_loop_size(), uv_handle_size(), uv_req_size().
struct ss_verdict ss_examine(struct ss_libuv *libuv, const struct ss_loaded *loaded);

// Does one of the object's functions begin here, as far as its tables tell?
bool ss_libuv_has_function(const struct ss_libuv *libuv, uintptr_t address);

#endif // SS_INSIDE_EXAMINE_H
