// SPDX-License-Identifier: ISC
//
// find-pool FILE...: looks for libuv's pool in files, of whatever machine, by exported names alone,
// and by the full symbol table; both must say the same. Exit status 0: so they do, for each.

#include <stdio.h>
#include <stdlib.h>

#include "finder.h"

static bool look(const char *path)
{
    struct ss_file file;
    struct ss_object object, silent;
    struct ss_found exported, named;
    bool same = true;

    if (!ss_file_open(&file, path) || !ss_object_of_file(&object, &file)) {
        printf("%s: cannot be read\n", path);
        return false;
    }
    struct ss_verdict by_exports = ss_find(&exported, &object, NULL);
    silent = object;
    silent.gnu_hash = 0;
    struct ss_verdict by_names = ss_find(&named, &silent, &file);
    printf("%s: by exports: %s; by names: %s\n", path, ss_verdict_text(by_exports.reason),
           ss_verdict_text(by_names.reason));
    for (unsigned i = 0; i < SS_TAKEN_COUNT; i++) {
        printf("  %-22s %#lx, %#lx\n", ss_taken_names[i], (unsigned long)exported.taken[i].address,
               (unsigned long)named.taken[i].address);
        same &= exported.taken[i].address == named.taken[i].address &&
                exported.taken[i].size == named.taken[i].size;
    }
    ss_file_close(&file);
    return same && by_exports.reason == SS_INSIDE_SERVED && by_names.reason == SS_INSIDE_SERVED;
}

int main(int argc, char **argv)
{
    bool good = argc > 1;

    for (int i = 1; i < argc; i++)
        good &= look(argv[i]);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
