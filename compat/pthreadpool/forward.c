// SPDX-License-Identifier: ISC
//
// Finding the native implementation; see forward.h. The decision is taken once, at the first call
// of any function, and only for "native" if there is one: the library that stands in
// libpthreadpool's place, and programs linked with the archive, have nothing to hand on to and go
// on here.

#include "forward.h"

#include <dlfcn.h>

_Atomic int ptp_mode;

// The next definition of `name` after ours. Programs that got theirs by dlopen(RTLD_LOCAL) are not
// in the order of symbols; for them the library is looked up by its name.
void *ptp_native(const char *name, void *ours)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) {
        void *library = dlopen("libpthreadpool.so.0", RTLD_LAZY | RTLD_NOLOAD);
        found = library ? dlsym(library, name) : NULL;
        if (library)
            dlclose(library); // the object that loaded it keeps it
    }
    return found == ours ? NULL : found;
}

int ptp_decide_mode(void)
{
    bool native = smolscale_disabled() &&
                  ptp_native("pthreadpool_create", (void *)pthreadpool_create) != NULL;
    int mode = native ? mode_native : mode_ours;
    store_relaxed(&ptp_mode, mode);
    return mode;
}
