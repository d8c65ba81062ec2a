// SPDX-License-Identifier: ISC
//
// The way from this layer to the GLib of the process. Nothing here links against GLib: every symbol
// is looked up when it is first needed, so the layer loads into programs without GLib, works when
// it is called before any constructor has run, and serves whatever version the program brought
// along.
//
// Called by gthreadpool.c, from any thread. There is no lock: each lookup is idempotent and its
// result is cached in one atomic pointer. (A lock would invite a deadlock: one thread inside
// dlopen() holds the loader's lock and calls a pool function from a constructor, another holds ours
// and calls dlsym().)

#ifndef SMOLSCALE_COMPAT_GLIB_NATIVE_H
#define SMOLSCALE_COMPAT_GLIB_NATIVE_H

#include <glib.h>
#include <stdbool.h>

// Every symbol of GLib this layer may use, by name: the sixteen functions it replaces ...
#define NATIVE_POOL_SYMBOLS(SYMBOL)              \
    SYMBOL(g_thread_pool_new)                    \
    SYMBOL(g_thread_pool_new_full)               \
    SYMBOL(g_thread_pool_free)                   \
    SYMBOL(g_thread_pool_push)                   \
    SYMBOL(g_thread_pool_unprocessed)            \
    SYMBOL(g_thread_pool_set_sort_function)      \
    SYMBOL(g_thread_pool_move_to_front)          \
    SYMBOL(g_thread_pool_set_max_threads)        \
    SYMBOL(g_thread_pool_get_max_threads)        \
    SYMBOL(g_thread_pool_get_num_threads)        \
    SYMBOL(g_thread_pool_set_max_unused_threads) \
    SYMBOL(g_thread_pool_get_max_unused_threads) \
    SYMBOL(g_thread_pool_get_num_unused_threads) \
    SYMBOL(g_thread_pool_stop_unused_threads)    \
    SYMBOL(g_thread_pool_set_max_idle_time)      \
    SYMBOL(g_thread_pool_get_max_idle_time)

// ... and what it needs to answer as GLib would.
#define NATIVE_OTHER_SYMBOLS(SYMBOL) \
    SYMBOL(g_return_if_fail_warning) \
    SYMBOL(g_set_error_literal)      \
    SYMBOL(g_thread_error_quark)     \
    SYMBOL(g_strerror)               \
    SYMBOL(g_get_prgname)            \
    SYMBOL(g_malloc)                 \
    SYMBOL(g_free)                   \
    SYMBOL(glib_major_version)       \
    SYMBOL(glib_minor_version)       \
    SYMBOL(glib_micro_version)

enum native_symbol {
#define SYMBOL(name) NATIVE_##name,
    NATIVE_POOL_SYMBOLS(SYMBOL) NATIVE_OTHER_SYMBOLS(SYMBOL)
#undef SYMBOL
        NATIVE_SYMBOLS
};

// Address of GLib's own symbol, or NULL where GLib does not have it.
void *native_lookup(enum native_symbol symbol);

// The same with the type it has in GLib's headers.
#define NATIVE(name) ((__typeof__(&name))native_lookup(NATIVE_##name))

// True when the process' GLib is at least this version; false without GLib.
bool native_version_at_least(guint major, guint minor, guint micro);

// What g_return_if_fail() would have said in `function` of GLib.
void native_critical(const char *function, const char *expression);

// Sets G_THREAD_ERROR_AGAIN with GLib's own words, as g_thread_try_new() does. `error` may be NULL.
void native_set_thread_error(GError **error);

// Called when the core is short of memory: lets GLib do what it always does then, that is, end the
// program with its own message unless g_malloc() succeeds after all. The caller tries again.
void native_out_of_memory(void);

#endif // SMOLSCALE_COMPAT_GLIB_NATIVE_H
