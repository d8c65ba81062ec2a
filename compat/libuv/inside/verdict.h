// SPDX-License-Identifier: ISC
//
// Why a libuv inside of an object is served, or left alone.

#ifndef SS_INSIDE_VERDICT_H
#define SS_INSIDE_VERDICT_H

#include <stddef.h>

// The first column is the reason's name (SS_INSIDE_...), the second completes "left alone: ...".
// Several of them name the function concerned.
#define SS_INSIDE_REASONS(X)                                                                 \
    X(SERVED, "served")                                                                      \
    X(NO_LIBUV, "there is no libuv in it")                                                   \
    X(LIBRARY, "libuv.so.1 is served by interposition")                                      \
    X(UNREADABLE, "its file cannot be read, or it is not an object of this machine")         \
    X(OTHER_FILE, "its file is not what is loaded")                                          \
    X(MISSING, "a function is missing")                                                      \
    X(SEVERAL, "a name stands for several functions")                                        \
    X(CLONED, "the compiler has made variants of a function")                                \
    X(NOT_CODE, "a name does not stand for a function in a code segment")                    \
    X(FEW, "fewer than 20 functions that use the pool were found")                           \
    X(NOT_CALLED, "a function does not call the pool's entry, which may be inlined into it") \
    X(NO_ENTRY, "the functions that use the pool have no single function in common")         \
    X(NO_CLEANUP, "the end of the pool was not found in uv_library_shutdown()")              \
    X(SHORT, "a function is too short to be patched")                                        \
    X(CHANGED, "a function in memory is not what it is on disk (breakpoint, probe, patch)")  \
    X(VERSION, "its version is not known")                                                   \
    X(LAYOUT, "its structures are not of the sizes known")                                   \
    X(SPREAD, "its functions lie too far apart")                                             \
    X(FULL, "there are more libuvs than can be served")                                      \
    X(SWAP, "its pages cannot be replaced")                                                  \
    X(LOOP, "a loop is not as expected")

enum ss_inside_reason {
#define X(name, text) SS_INSIDE_##name,
    SS_INSIDE_REASONS(X)
#undef X
};

struct ss_verdict {
    enum ss_inside_reason reason;
    const char *what; // the function concerned; NULL: none
    int error;        // of the system, with SWAP
};

static inline const char *ss_verdict_text(enum ss_inside_reason reason)
{
    static const char *const texts[] = {
#define X(name, text) text,
        SS_INSIDE_REASONS(X)
#undef X
    };

    return texts[reason];
}

#endif // SS_INSIDE_VERDICT_H
