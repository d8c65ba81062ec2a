// SPDX-License-Identifier: ISC
//
// The thread-pool interfaces that smolscale knows, and what an object has to do with each: it calls
// it, provides it, has it inside, or names it to load it later.

#ifndef SMOLSCALE_CLI_INTERFACES_H
#define SMOLSCALE_CLI_INTERFACES_H

#include "layers.h"
#include "object.h"

#include <stdbool.h>

// One per layer, under the same number.
struct interface {
    const char *title;    // "GLib's GThreadPool"
    const char *library;  // how its library's name begins: "libglib-2.0.so"
    const char *users[4]; // libraries that bring it along, by name; NULL at the end
    const char *advice;   // what to do where it is inside of a program and not captured
};
const struct interface *interface_of(enum layer layer);

// What one object has to do with one interface.
struct use {
    unsigned calls;      // functions that it takes from elsewhere, ...
    unsigned unknown;    // ... and how many of them the layer does not stand in for
    const char *example; // one of the calls; holds until the object is freed
    unsigned exported;   // functions that it defines for others ...
    unsigned rebindable; // ... and that it refers to itself by the dynamic linker, so that a
                         // preload can take them
    unsigned internal;   // functions that it defines and exports to nobody
    bool provider;       // it is the interface's own library
    // Of libuv, for capture inside of an object:
    bool pool_named;     // all functions that would have to be replaced have a name
    unsigned version;    // as uv_version() gives it; 0: not known
    bool indirect_start; // it starts its pool by functions that a preload can stand in for
};

// Looks at the object's symbols, once for all interfaces. uses[LAYER_COUNT]
void interfaces_examine(struct object *object, struct use *uses);

// Whether the preload library of the libuv layer captures a libuv inside of an object: one that
// does stands in for epoll_create1(), by which it sees that libuv begin.
bool captures_inside(void);

#endif // SMOLSCALE_CLI_INTERFACES_H
