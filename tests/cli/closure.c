// SPDX-License-Identifier: ISC
//
// closure PROGRAM: prints the path of each library that the dynamic linker would load for it, a
// line each, and "missing NAME" for what it would not find.

#include "loader.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct closure closure;
    int err = argc == 2 ? closure_load(argv[1], &closure) : -1;
    if (err) {
        fprintf(stderr, "%s\n", strerror(-err));
        return 1;
    }
    for (size_t i = 1; i < closure.count; i++)
        puts(closure.objects[i]->path);
    for (size_t i = 0; i < closure.missing_count; i++)
        printf("missing %s\n", closure.missing[i].name);
    closure_finish(&closure);
    return 0;
}
