// SPDX-License-Identifier: ISC
//
// Finds GLib in the process; see native.h for the rules.

#include "native.h"
#include "base/atomic.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>

static const char *const symbol_names[NATIVE_SYMBOLS] = {
#define SYMBOL(name) [NATIVE_##name] = #name,
    NATIVE_POOL_SYMBOLS(SYMBOL) NATIVE_OTHER_SYMBOLS(SYMBOL)
#undef SYMBOL
};

static _Atomic(void *) symbol_addresses[NATIVE_SYMBOLS];

// RTLD_NEXT sees the libraries of the global scope only. A GLib that came in by dlopen(RTLD_LOCAL),
// as below a scripting language's extension module, is found by its name; RTLD_NODELETE pins it,
// because the addresses are kept.
static void *find(const char *name)
{
    void *address = dlsym(RTLD_NEXT, name);
    if (address != NULL)
        return address;
    void *glib = dlopen("libglib-2.0.so.0", RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    if (glib == NULL)
        return NULL;
    address = dlsym(glib, name);
    dlclose(glib);
    return address;
}

void *native_lookup(enum native_symbol symbol)
{
    // Relaxed: the pointed-to code was mapped by the loader before any thread could find its
    // address.
    void *address = load_relaxed(&symbol_addresses[symbol]);
    if (address == NULL) {
        address = find(symbol_names[symbol]);
        store_relaxed(&symbol_addresses[symbol], address);
    }
    return address;
}

bool native_version_at_least(guint major, guint minor, guint micro)
{
    const guint *our_major = NATIVE(glib_major_version);
    const guint *our_minor = NATIVE(glib_minor_version);
    const guint *our_micro = NATIVE(glib_micro_version);
    if (our_major == NULL || our_minor == NULL || our_micro == NULL)
        return false;
    if (*our_major != major)
        return *our_major > major;
    if (*our_minor != minor)
        return *our_minor > minor;
    return *our_micro >= micro;
}

void native_critical(const char *function, const char *expression)
{
    __typeof__(&g_return_if_fail_warning) warn = NATIVE(g_return_if_fail_warning);
    if (warn != NULL)
        warn("GLib", function, expression);
}

void native_set_thread_error(GError **error)
{
    if (error == NULL)
        return;
    __typeof__(&g_set_error_literal) set_error = NATIVE(g_set_error_literal);
    __typeof__(&g_thread_error_quark) quark = NATIVE(g_thread_error_quark);
    __typeof__(&g_strerror) words = NATIVE(g_strerror);
    if (set_error == NULL || quark == NULL || words == NULL)
        return;
    char message[200];
    snprintf(message, sizeof message, "Error creating thread: %s", words(EAGAIN));
    set_error(error, quark(), G_THREAD_ERROR_AGAIN, message);
}

void native_out_of_memory(void)
{
    // More than the core asks for at once, so that its next try is likely to succeed if this does.
    __typeof__(&g_malloc) allocate = NATIVE(g_malloc);
    __typeof__(&g_free) release = NATIVE(g_free);
    if (allocate != NULL && release != NULL)
        release(allocate(256 * 1024));
}
