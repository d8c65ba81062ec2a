// SPDX-License-Identifier: ISC
//
// What the dynamic linker would load for a program, found by its rules (ld.so(8)) and without
// running it.

#ifndef SMOLSCALE_CLI_LOADER_H
#define SMOLSCALE_CLI_LOADER_H

#include "object.h"

struct missing {
    char *name;      // the library that is not found
    char *wanted_by; // the path of the object that names it
};

struct closure {
    struct object **objects; // in the order of loading: the program first
    size_t count;
    struct missing *missing;
    size_t missing_count;
};

// The program at `path` and all that it needs, directly or indirectly. Returns 0, or a negative
// errno if the program itself cannot be read.
int closure_load(const char *path, struct closure *closure);
void closure_finish(struct closure *closure);

// Adds an object, which the closure then owns.
void closure_add(struct closure *closure, struct object *object);

#endif // SMOLSCALE_CLI_LOADER_H
