// SPDX-License-Identifier: ISC
//
// What the first use and fork() mean for each part of the library.
//
// A source file that has variables of its own (static, or shared by a header) ends with SS_ROOM(),
// and is listed in process/rooms.c. There the order is: each after those that it uses. The check of
// the layers fails on a file that has variables and is not listed.

#ifndef SS_ROOM_H
#define SS_ROOM_H

#include "base/atomic.h"

#include <stddef.h>

struct ss_room {
    const char *name; // its path, with '_' for '/'

    // Before the executor starts. No lock held; perhaps by several threads at once, and again in a
    // child of fork(): what is done already is not done again. NULL: nothing to do.
    void (*init)(void);

    // fork(), in the child, whose only thread is the caller. Other threads of the parent may have
    // been anywhere in this file: no lock is waited for, and only forward links are followed, which
    // are whole at every moment. NULL: the variables mean in the child what they meant in the
    // parent; a comment says why.
    void (*after_fork)(void);

    // smolscale_trim(): gives back to the allocator what is kept for later use. Returns how many
    // bytes. No lock held but that of smolscale_trim() itself, so one thread at a time; it calls no
    // code of the program, and waits for none that does. NULL: nothing is kept.
    size_t (*trim)(void);

    // The process has another worker: it uses the executor, whatever its parent has done. No lock
    // held. NULL: nothing to do.
    void (*at_work)(void);

    // It has no worker any more, and the balancer's thread is about to end: from then on the
    // executor has no thread. A worker may come at any moment all the same. Called by that thread,
    // for which others may wait: it waits for no thread. No lock held. NULL: nothing to do.
    void (*at_rest)(void);
};

// Puts a node at the front of a list (by `next`) that a child of fork() follows, and takes the
// first one off. Another thread of the parent may be in the middle of it when the child's memory is
// copied: the list is whole at every moment, because the compiler keeps the order of the stores,
// and so does the copy. The caller has the list's lock.
#define ss_chain_push(head, node) \
    do {                          \
        (node)->next = (head);    \
        compiler_fence();         \
        (head) = (node);          \
        compiler_fence();         \
    } while (0)
#define ss_chain_take_first(head) \
    do {                          \
        (head) = (head)->next;    \
        compiler_fence();         \
    } while (0)

// `path` is that of the file, below core/, with '_' for '/' and without ".c". The second form is
// for a room that has more to say: SS_ROOM_WITH(..., .trim = trim).
#define SS_ROOM(path, init, after_fork) SS_ROOM_WITH(path, init, after_fork, .trim = NULL)
#define SS_ROOM_WITH(path, init, after_fork, ...) \
    extern const struct ss_room ss_room_##path;   \
    const struct ss_room ss_room_##path = {#path, init, after_fork, __VA_ARGS__}

// All of them, from the lowest room up; NULL at the end. The table is constant, and here before any
// constructor has run. It is handed down by the linker: process/rooms.c defines it.
extern const struct ss_room *const ss_rooms[];

#endif // SS_ROOM_H
