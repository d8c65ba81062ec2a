// SPDX-License-Identifier: ISC
//
// What a layer stands in for is read from its preload library; so this file cannot fall behind it.

#include "interfaces.h"

#include "cli.h"

#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const struct interface table[LAYER_COUNT] = {
    [LAYER_GLIB] = {.title = "GLib's GThreadPool",
                    .library = "libglib-2.0.so",
                    .users = {"libgio-2.0.so", "libgobject-2.0.so"},
                    .advice = "build the program with GLib's shared library"},
    [LAYER_UV] = {.title = "libuv's thread pool",
                  .library = "libuv.so",
                  .users = {"libnode.so"},
                  .advice = "use a build with the shared libuv (as Debian's nodejs has it), or "
                            "relink the program with 'pkg-config --libs smolscale-uv'"},
    [LAYER_PTHREADPOOL] = {.title = "pthreadpool",
                           .library = "libpthreadpool.so",
                           .users = {"libXNNPACK.so", "libtorch_cpu.so"},
                           .advice = "build the program with the shared libpthreadpool, or relink "
                                     "it with 'pkg-config --libs smolscale-pthreadpool'"},
};

const struct interface *interface_of(enum layer layer)
{
    return &table[layer];
}

// ---- which functions ----

static bool starts(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

// Whether a function gives work to libuv's pool. (uv_fs_event_, uv_fs_poll_ and so on do not.)
static bool is_uv_work(const char *name)
{
    static const char *const others[] = {"event_", "poll_", "get_", "req_cleanup"};
    if (strcmp(name, "uv_queue_work") == 0 || strcmp(name, "uv_getaddrinfo") == 0 ||
        strcmp(name, "uv_getnameinfo") == 0 || strcmp(name, "uv_random") == 0)
        return true;
    if (!starts(name, "uv_fs_"))
        return false;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (starts(name + strlen("uv_fs_"), others[i]))
            return false;
    }
    return true;
}

// The interface whose pool a function belongs to; LAYER_COUNT: none.
static enum layer layer_of(const char *name)
{
    if (starts(name, "g_thread_pool_"))
        return LAYER_GLIB;
    if (starts(name, "pthreadpool_"))
        return LAYER_PTHREADPOOL;
    return is_uv_work(name) ? LAYER_UV : LAYER_COUNT;
}

// ---- what the layers stand in for ----

struct names {
    char **names; // in order
    size_t count;
};

static bool collect(const struct symbol *symbol, void *data)
{
    struct names *names = data;
    if (symbol->defined && symbol->visible) {
        names->names = must_grow(names->names, names->count + 1, sizeof *names->names);
        names->names[names->count++] = must_copy(symbol->name);
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// What a layer's library exports; nothing where there is no library.
static const struct names *exports(enum layer layer)
{
    static struct names known[LAYER_COUNT];
    static bool read[LAYER_COUNT];
    struct names *names = &known[layer];
    struct object *library;
    if (read[layer])
        return names;
    read[layer] = true;
    const char *path = layer_library(layer);
    if (path && object_open(path, &library) == 0) {
        object_symbols(library, true, collect, names);
        object_free(library);
        if (names->count)
            qsort(names->names, names->count, sizeof *names->names, by_name);
    }
    return names;
}

static bool stands_in(enum layer layer, const char *name)
{
    const struct names *names = exports(layer);
    return names->count &&
           bsearch(&name, names->names, names->count, sizeof *names->names, by_name);
}

bool captures_inside(void)
{
    return stands_in(LAYER_UV, "epoll_create1");
}

// ---- an object ----

// Functions of libuv that its layer replaces where libuv is inside of an object.
static const char *const replaced[] = {"uv__work_submit", "uv_queue_work", "uv_cancel",
                                       "uv__threadpool_cleanup"};
enum { REPLACED = sizeof replaced / sizeof *replaced };

struct examination {
    struct use *uses;
    unsigned machine;
    bool dynamic; // which of the two tables is looked at
    unsigned replaced_found[REPLACED];
};

// uv_version() is nothing but the return of a constant: on x86-64 "mov $version, %eax".
static unsigned read_version(const struct symbol *symbol, unsigned machine)
{
    static const unsigned char endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
    const unsigned char *code = symbol->code;
    size_t size = symbol->size;
    if (!code || machine != EM_X86_64)
        return 0;
    if (size > sizeof endbr64 && memcmp(code, endbr64, sizeof endbr64) == 0) {
        code += sizeof endbr64;
        size -= sizeof endbr64;
    }
    if (size < 6 || code[0] != 0xb8 || code[5] != 0xc3)
        return 0;
    return (unsigned)code[1] | (unsigned)code[2] << 8 | (unsigned)code[3] << 16 |
           (unsigned)code[4] << 24;
}

static void examine_uv(const struct symbol *symbol, struct examination *examination)
{
    struct use *use = &examination->uses[LAYER_UV];
    if (!symbol->defined)
        return;
    if (strcmp(symbol->name, "uv_version") == 0 && !use->version)
        use->version = read_version(symbol, examination->machine);
    if (strcmp(symbol->name, "uv_once") == 0 && symbol->relocated)
        use->indirect_start = true;
    for (size_t i = 0; i < REPLACED; i++) {
        if (strcmp(symbol->name, replaced[i]) == 0)
            examination->replaced_found[i]++;
    }
}

static bool examine_symbol(const struct symbol *symbol, void *data)
{
    struct examination *examination = data;
    // Few of a program's symbols begin like one of ours.
    if (symbol->name[0] != 'u' && symbol->name[0] != 'g' && symbol->name[0] != 'p')
        return true;
    if (starts(symbol->name, "uv_"))
        examine_uv(symbol, examination);
    enum layer layer = layer_of(symbol->name);
    if (layer == LAYER_COUNT)
        return true;
    struct use *use = &examination->uses[layer];
    if (!symbol->defined && examination->dynamic) {
        use->calls++;
        if (exports(layer)->count && !stands_in(layer, symbol->name))
            use->unknown++;
        else
            use->example = symbol->name;
    } else if (symbol->defined && symbol->function) {
        if (!examination->dynamic) {
            use->internal++;
        } else if (symbol->visible) {
            use->exported++;
            use->rebindable += symbol->relocated;
        }
    }
    return true;
}

void interfaces_examine(struct object *object, struct use *uses)
{
    struct examination examination = {.uses = uses, .machine = object->machine};
    memset(uses, 0, LAYER_COUNT * sizeof *uses);
    // .symtab has all that .dynsym has, where it was not stripped; what is exported counts as that.
    object_symbols(object, false, examine_symbol, &examination);
    uses[LAYER_UV].pool_named = true;
    for (size_t i = 0; i < REPLACED; i++) {
        if (examination.replaced_found[i] != 1)
            uses[LAYER_UV].pool_named = false;
    }
    examination.dynamic = true;
    object_symbols(object, true, examine_symbol, &examination);
    const char *name = object->soname ? object->soname : last_part(object->path);
    for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
        uses[layer].internal -= uses[layer].exported < uses[layer].internal ? uses[layer].exported
                                                                            : uses[layer].internal;
        uses[layer].provider = starts(name, table[layer].library);
    }
}
