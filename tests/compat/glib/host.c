// SPDX-License-Identifier: ISC
//
// A program without GLib that loads a module which has it, out of everybody else's sight, as
// interpreters do with their extension modules.

#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    void *plugin = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (plugin == NULL) {
        fprintf(stderr, "%s\n", argc > 1 ? dlerror() : "usage: host PLUGIN");
        return 1;
    }
    int (*run)(void) = (int (*)(void))dlsym(plugin, "plugin_run");
    return run != NULL ? run() : 1;
}
