// SPDX-License-Identifier: ISC
//
// Finds the functions of libuv's thread pool in an object that carries a libuv.
//
// By the names that it exports, else by the full symbol table of its file. An object that exports
// libuv's public functions and is stripped does not name the pool's entry, uv__work_submit(), nor
// its end, uv__threadpool_cleanup(). There:
//
// The entry is what all exported functions that use the pool call in common. Each of the 38 calls
// it, and compilers do not inline it into other files' functions. If the places that could be
// direct calls have exactly one target in common, stubs of the linkage table left out, and that
// calls uv_once(), that is it.
//
// The end is what uv_library_shutdown() calls that itself calls uv_thread_join().
//
// Nothing of the object is executed here, and it need not be an object of this machine.

#ifndef SS_INSIDE_FINDER_H
#define SS_INSIDE_FINDER_H

#include "object.h"
#include "verdict.h"

struct ss_function {
    uint64_t address, size;
};

// Functions called, by name.
#define SS_INSIDE_CALLED(X) \
    X(version)              \
    X(loop_size)            \
    X(handle_size)          \
    X(req_size)             \
    X(async_send)

enum ss_called {
#define X(name) SS_CALLED_##name,
    SS_INSIDE_CALLED(X)
#undef X
        SS_CALLED_COUNT
};

// Functions whose place smolscale takes.
enum ss_taken {
    SS_TAKEN_SUBMIT,
    SS_TAKEN_QUEUE_WORK,
    SS_TAKEN_CANCEL,
    SS_TAKEN_CLEANUP,
    SS_TAKEN_COUNT
};

struct ss_found {
    struct ss_function taken[SS_TAKEN_COUNT];
    struct ss_function called[SS_CALLED_COUNT];
    uint64_t work_done; // uv__work_done(); 0: not named
    unsigned users;     // functions that use the pool, as found
    bool by_names;      // of the full symbol table
};

extern const char *const ss_taken_names[SS_TAKEN_COUNT];
extern const char *const ss_called_names[SS_CALLED_COUNT];

// `file` may be NULL: exported names only. SERVED: all found.
struct ss_verdict ss_find(struct ss_found *found, const struct ss_object *object,
                          const struct ss_file *file);

#endif // SS_INSIDE_FINDER_H
