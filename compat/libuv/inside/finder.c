// SPDX-License-Identifier: ISC
//
// Finds the thread pool's functions (see finder.h).

#include "finder.h"

#include <string.h>

#include "code.h"

#define USERS_MIN      20u
#define CANDIDATES_MAX 256u

// ---------------------------------------------------------------------------------------------
// Names
// ---------------------------------------------------------------------------------------------

const char *const ss_taken_names[] = {"uv__work_submit", "uv_queue_work", "uv_cancel",
                                      "uv__threadpool_cleanup"};
const char *const ss_called_names[] = {
#define X(name) "uv_" #name,
    SS_INSIDE_CALLED(X)
#undef X
};

static const char *const other_names[] = {"uv__work_done", "uv_library_shutdown", "uv_thread_join",
                                          "uv_once"};
enum { WORK_DONE, LIBRARY_SHUTDOWN, THREAD_JOIN, ONCE, OTHERS };

// Public functions that submit to the pool, in all versions from 1.41 on.
static const char *const user_names[] = {
    "uv_fs_access",   "uv_fs_chmod",     "uv_fs_chown",    "uv_fs_close",     "uv_fs_closedir",
    "uv_fs_copyfile", "uv_fs_fchmod",    "uv_fs_fchown",   "uv_fs_fdatasync", "uv_fs_fstat",
    "uv_fs_fsync",    "uv_fs_ftruncate", "uv_fs_futime",   "uv_fs_lchown",    "uv_fs_link",
    "uv_fs_lstat",    "uv_fs_lutime",    "uv_fs_mkdir",    "uv_fs_mkdtemp",   "uv_fs_mkstemp",
    "uv_fs_open",     "uv_fs_opendir",   "uv_fs_read",     "uv_fs_readdir",   "uv_fs_readlink",
    "uv_fs_realpath", "uv_fs_rename",    "uv_fs_rmdir",    "uv_fs_scandir",   "uv_fs_sendfile",
    "uv_fs_stat",     "uv_fs_statfs",    "uv_fs_symlink",  "uv_fs_unlink",    "uv_fs_utime",
    "uv_fs_write",    "uv_getaddrinfo",  "uv_getnameinfo", "uv_random",
};
#define USERS (sizeof(user_names) / sizeof(user_names[0]))

struct names {
    struct ss_symbol taken[SS_TAKEN_COUNT], called[SS_CALLED_COUNT], other[OTHERS], user[USERS];
    const char *cloned; // a function of which there are variants
};

struct list {
    const char *const *names;
    struct ss_symbol *symbols;
    size_t count;
};
#define LISTS 4

static void all_lists(struct names *names, struct list lists[LISTS])
{
    lists[0] = (struct list){ss_taken_names, names->taken, SS_TAKEN_COUNT};
    lists[1] = (struct list){ss_called_names, names->called, SS_CALLED_COUNT};
    lists[2] = (struct list){other_names, names->other, OTHERS};
    lists[3] = (struct list){user_names, names->user, USERS};
}

static void read_exports(struct names *names, const struct ss_object *object)
{
    struct list lists[LISTS];

    memset(names, 0, sizeof(*names));
    all_lists(names, lists);
    for (unsigned l = 0; l < LISTS; l++) {
        for (size_t i = 0; i < lists[l].count; i++)
            lists[l].symbols[i] = ss_object_export(object, lists[l].names[i]);
    }
}

// "name.part.0" is a variant of "name"; "name.cold" is its unlikely end, which nobody else enters.
static bool is_variant(const char *symbol, const char *name)
{
    size_t length = strlen(name);

    return strncmp(symbol, name, length) == 0 && symbol[length] == '.' &&
           strncmp(symbol + length, ".cold", 5) != 0;
}

static void note_symbol(void *context, const char *name, struct ss_symbol symbol)
{
    struct names *names = context;
    struct list lists[LISTS];

    all_lists(names, lists);
    for (unsigned l = 0; l < LISTS; l++) {
        for (size_t i = 0; i < lists[l].count; i++) {
            if (strcmp(name, lists[l].names[i]) == 0) {
                symbol.found = lists[l].symbols[i].found + 1;
                lists[l].symbols[i] = symbol;
                return;
            }
            if (l == 0 && is_variant(name, lists[l].names[i]))
                names->cloned = lists[l].names[i];
        }
    }
}

static struct ss_verdict refuse(enum ss_inside_reason reason, const char *what)
{
    return (struct ss_verdict){reason, what, 0};
}

static const struct ss_verdict fine = {SS_INSIDE_SERVED, NULL, 0};

static struct ss_verdict check_name(const struct ss_object *object, const struct ss_symbol *symbol,
                                    const char *name)
{
    if (symbol->found == 0)
        return refuse(SS_INSIDE_MISSING, name);
    if (symbol->found > 1)
        return refuse(SS_INSIDE_SEVERAL, name);
    if (!symbol->function || !ss_object_is_code(object, symbol->address) || symbol->size == 0 ||
        ss_object_at(object, symbol->address, symbol->size) == NULL)
        return refuse(SS_INSIDE_NOT_CODE, name);
    return fine;
}

static struct ss_verdict check_names(const struct names *names, const struct ss_object *object,
                                     const enum ss_taken *needed, unsigned count)
{
    struct ss_verdict verdict = fine;

    for (unsigned i = 0; i < count && verdict.reason == SS_INSIDE_SERVED; i++)
        verdict = check_name(object, &names->taken[needed[i]], ss_taken_names[needed[i]]);
    for (unsigned i = 0; i < SS_CALLED_COUNT && verdict.reason == SS_INSIDE_SERVED; i++)
        verdict = check_name(object, &names->called[i], ss_called_names[i]);
    return verdict;
}

// ---------------------------------------------------------------------------------------------
// The functions that use the pool
// ---------------------------------------------------------------------------------------------

struct candidates {
    const struct ss_object *object;
    uint64_t target[CANDIDATES_MAX];
    unsigned count;
    bool overflow;
};

static bool add_candidate(void *context, uint64_t target)
{
    struct candidates *candidates = context;

    for (unsigned i = 0; i < candidates->count; i++) {
        if (candidates->target[i] == target)
            return true;
    }
    if (ss_code_stub_slot(candidates->object, target) != 0)
        return true;
    candidates->overflow = candidates->count == CANDIDATES_MAX;
    if (!candidates->overflow)
        candidates->target[candidates->count++] = target;
    return !candidates->overflow;
}

static void keep_common(struct candidates *candidates, const struct ss_symbol *function)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < candidates->count; i++) {
        if (ss_code_calls(candidates->object, function->address, function->size,
                          candidates->target[i]))
            candidates->target[kept++] = candidates->target[i];
    }
    candidates->count = kept;
}

// Checks the functions found, counts them, and leaves in `candidates` what all of them may call.
static struct ss_verdict check_users(const struct names *names, const struct ss_object *object,
                                     struct candidates *candidates, unsigned *count)
{
    *candidates = (struct candidates){.object = object};
    *count = 0;
    for (size_t i = 0; i < USERS; i++) {
        const struct ss_symbol *user = &names->user[i];
        if (user->found == 0)
            continue;
        struct ss_verdict verdict = check_name(object, user, user_names[i]);
        if (verdict.reason != SS_INSIDE_SERVED)
            return verdict;
        if ((*count)++ == 0)
            ss_code_targets(object, user->address, user->size, add_candidate, candidates);
        else
            keep_common(candidates, user);
    }
    return *count < USERS_MIN ? refuse(SS_INSIDE_FEW, NULL) : fine;
}

// ---------------------------------------------------------------------------------------------
// By exported names
// ---------------------------------------------------------------------------------------------

struct cleanup {
    const struct ss_object *object;
    uint64_t join;
    struct ss_function found;
    unsigned count;
};

static bool calls_name(const struct ss_object *object, const struct ss_function *function,
                       const char *name, uint64_t address)
{
    return function->size != 0 && ss_object_at(object, function->address, function->size) != NULL &&
           ss_code_calls_name(object, function->address, function->size, name, address);
}

static bool look_for_cleanup(void *context, uint64_t target)
{
    struct cleanup *cleanup = context;
    struct ss_function function = {target, ss_object_function_size(cleanup->object, target)};

    if (target != cleanup->found.address &&
        calls_name(cleanup->object, &function, other_names[THREAD_JOIN], cleanup->join)) {
        cleanup->found = function;
        cleanup->count++;
    }
    return true;
}

static struct ss_verdict find_unnamed(struct ss_found *found, const struct names *names,
                                      const struct ss_object *object)
{
    const struct ss_symbol *shutdown = &names->other[LIBRARY_SHUTDOWN];
    struct cleanup cleanup = {object, names->other[THREAD_JOIN].address, {0, 0}, 0};
    struct candidates candidates;
    struct ss_verdict verdict = check_users(names, object, &candidates, &found->users);

    if (verdict.reason == SS_INSIDE_SERVED)
        verdict = check_name(object, shutdown, other_names[LIBRARY_SHUTDOWN]);
    if (verdict.reason != SS_INSIDE_SERVED)
        return verdict;
    if (candidates.count != 1 || candidates.overflow)
        return refuse(SS_INSIDE_NO_ENTRY, NULL);
    found->taken[SS_TAKEN_SUBMIT] = (struct ss_function){
        candidates.target[0], ss_object_function_size(object, candidates.target[0])};
    // The functions for files have one more in common, which does the work of a synchronous call.
    // What starts the pool's threads is the entry.
    if (!calls_name(object, &found->taken[SS_TAKEN_SUBMIT], other_names[ONCE],
                    names->other[ONCE].address))
        return refuse(SS_INSIDE_NO_ENTRY, "it does not call uv_once()");
    ss_code_targets(object, shutdown->address, shutdown->size, look_for_cleanup, &cleanup);
    if (cleanup.count != 1)
        return refuse(SS_INSIDE_NO_CLEANUP, NULL);
    found->taken[SS_TAKEN_CLEANUP] = cleanup.found;
    return fine;
}

static void copy_names(struct ss_found *found, const struct names *names)
{
    for (unsigned i = 0; i < SS_TAKEN_COUNT; i++)
        found->taken[i] = (struct ss_function){names->taken[i].address, names->taken[i].size};
    for (unsigned i = 0; i < SS_CALLED_COUNT; i++)
        found->called[i] = (struct ss_function){names->called[i].address, names->called[i].size};
    found->work_done = names->other[WORK_DONE].address;
}

static struct ss_verdict find_exported(struct ss_found *found, const struct names *names,
                                       const struct ss_object *object)
{
    static const enum ss_taken needed[] = {SS_TAKEN_QUEUE_WORK, SS_TAKEN_CANCEL};
    struct ss_verdict verdict = check_names(names, object, needed, 2);

    if (verdict.reason != SS_INSIDE_SERVED)
        return verdict;
    copy_names(found, names);
    return find_unnamed(found, names, object);
}

// ---------------------------------------------------------------------------------------------
// By the full symbol table
// ---------------------------------------------------------------------------------------------

static struct ss_verdict find_named(struct ss_found *found, const struct names *names,
                                    const struct ss_object *object)
{
    static const enum ss_taken needed[] = {SS_TAKEN_SUBMIT, SS_TAKEN_QUEUE_WORK, SS_TAKEN_CANCEL,
                                           SS_TAKEN_CLEANUP};
    struct candidates candidates;

    if (names->called[SS_CALLED_version].found == 0 && names->taken[SS_TAKEN_QUEUE_WORK].found == 0)
        return refuse(SS_INSIDE_NO_LIBUV, NULL);
    struct ss_verdict verdict = check_names(names, object, needed, SS_TAKEN_COUNT);
    if (verdict.reason != SS_INSIDE_SERVED)
        return verdict;
    if (names->cloned != NULL)
        return refuse(SS_INSIDE_CLONED, names->cloned);
    verdict = check_name(object, &names->other[WORK_DONE], other_names[WORK_DONE]);
    if (verdict.reason != SS_INSIDE_SERVED)
        return verdict;
    copy_names(found, names);
    found->by_names = true;
    verdict = check_users(names, object, &candidates, &found->users);
    if (verdict.reason != SS_INSIDE_SERVED)
        return verdict;
    for (size_t i = 0; i < USERS; i++) {
        const struct ss_symbol *user = &names->user[i];
        if (user->found != 0 && !ss_code_calls(object, user->address, user->size,
                                               found->taken[SS_TAKEN_SUBMIT].address))
            return refuse(SS_INSIDE_NOT_CALLED, user_names[i]);
    }
    return fine;
}

struct ss_verdict ss_find(struct ss_found *found, const struct ss_object *object,
                          const struct ss_file *file)
{
    struct names names;

    memset(found, 0, sizeof(*found));
    read_exports(&names, object);
    if (names.called[SS_CALLED_version].found != 0 && names.taken[SS_TAKEN_QUEUE_WORK].found != 0)
        return find_exported(found, &names, object);
    memset(&names, 0, sizeof(names));
    if (file == NULL || !ss_file_symbols(file, "uv_", note_symbol, &names))
        return refuse(SS_INSIDE_NO_LIBUV, NULL);
    return find_named(found, &names, object);
}
