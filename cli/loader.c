// SPDX-License-Identifier: ISC
//
// Where a name of DT_NEEDED is looked for, in this order: DT_RPATH of the object that names it and
// of those that loaded it (unless it has a DT_RUNPATH), LD_LIBRARY_PATH, its DT_RUNPATH,
// /etc/ld.so.cache, the default folders. A file for another machine is passed over, as the dynamic
// linker does. Variants for newer processors (glibc-hwcaps) are not looked for: they define the
// same functions.

#include "loader.h"

#include "cli.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// An object, and by which other one it was loaded: its RPATH counts for those below it.
struct search {
    struct closure *closure;
    size_t *loaded_by; // by the number of the object; the program's own is 0
    size_t number;     // of the object whose needs are looked for
};

// ---- the cache ----

// The format of glibc 2.2 and newer, by itself or behind the older one. All offsets count from its
// header.
struct cache_entry {
    int32_t flags;
    uint32_t name, path;
    uint32_t os_version;
    uint64_t hwcap;
};
struct cache_header {
    char magic[17], version[3];
    uint32_t count, strings_size;
    uint8_t flags, padding[3];
    uint32_t extension;
    uint32_t unused[3];
    struct cache_entry entries[];
};
_Static_assert(sizeof(struct cache_header) == 48 && sizeof(struct cache_entry) == 24, "on disk");

static const char cache_path[] = "/etc/ld.so.cache";
static const char cache_magic[] = "glibc-ld.so.cache1.1";

static const struct cache {
    const char *bytes; // from the header on
    size_t size;
} * open_cache(void)
{
    static struct cache cache;
    static bool tried;
    if (tried)
        return cache.bytes ? &cache : NULL;
    tried = true;
    int fd = open(cache_path, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (fd < 0)
        return NULL;
    if (fstat(fd, &stat) == 0 && stat.st_size > 0) {
        size_t size = (size_t)stat.st_size;
        const char *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        const char *start =
            bytes == MAP_FAILED ? NULL : memmem(bytes, size, cache_magic, sizeof cache_magic - 1);
        if (start && (uintptr_t)start % _Alignof(struct cache_entry) == 0 &&
            size - (size_t)(start - bytes) >= sizeof(struct cache_header))
            cache = (struct cache){start, size - (size_t)(start - bytes)};
    }
    close(fd);
    return cache.bytes ? &cache : NULL;
}

static const char *cache_text(const struct cache *cache, uint32_t offset)
{
    if (offset >= cache->size || !memchr(cache->bytes + offset, '\0', cache->size - offset))
        return NULL;
    return cache->bytes + offset;
}

// ---- candidates ----

// An object at this path, if it can be loaded into the program.
static struct object *try_path(const struct search *search, const char *path)
{
    struct object *object;
    if (object_open(path, &object))
        return NULL;
    if (object->type == ET_DYN && object_fits(object, search->closure->objects[0]))
        return object;
    object_free(object);
    return NULL;
}

static struct object *search_cache(const struct search *search, const char *name)
{
    const struct cache *cache = open_cache();
    if (!cache)
        return NULL;
    const struct cache_header *header = (const void *)cache->bytes;
    size_t room = (cache->size - sizeof *header) / sizeof header->entries[0];
    size_t count = header->count < room ? header->count : room;
    for (size_t i = 0; i < count; i++) {
        const char *known = cache_text(cache, header->entries[i].name);
        const char *path =
            known && strcmp(known, name) == 0 ? cache_text(cache, header->entries[i].path) : NULL;
        struct object *object = path ? try_path(search, path) : NULL;
        if (object)
            return object;
    }
    return NULL;
}

// Debian's name for a kind of machine, after which its library folders are called; NULL: none.
static const char *triplet(const struct object *object)
{
    switch (object->machine) {
    case EM_X86_64:
        return object->elf_class == ELFCLASS64 ? "x86_64-linux-gnu" : "x86_64-linux-gnux32";
    case EM_386:
        return "i386-linux-gnu";
    case EM_AARCH64:
        return "aarch64-linux-gnu";
    case EM_ARM:
        return "arm-linux-gnueabihf";
    case EM_RISCV:
        return "riscv64-linux-gnu";
    case EM_PPC64:
        return "powerpc64le-linux-gnu";
    case EM_S390:
        return "s390x-linux-gnu";
    default:
        return NULL;
    }
}

static struct object *search_defaults(const struct search *search, const char *name)
{
    static const char *const folders[] = {"/lib64", "/usr/lib64", "/lib", "/usr/lib"};
    const char *machine = triplet(search->closure->objects[0]);
    struct object *object = NULL;
    for (int usr = 0; machine && !object && usr < 2; usr++) {
        char *path = must_format("%s/lib/%s/%s", usr ? "/usr" : "", machine, name);
        object = try_path(search, path);
        free(path);
    }
    for (size_t i = 0; !object && i < sizeof folders / sizeof *folders; i++) {
        char *path = must_format("%s/%s", folders[i], name);
        object = try_path(search, path);
        free(path);
    }
    return object;
}

// The folder that an object lies in, by its real path: what $ORIGIN stands for.
static char *origin(const struct object *object)
{
    char *real = realpath(object->path, NULL);
    char *folder = real ? real : must_copy(object->path);
    char *slash = strrchr(folder, '/');
    if (slash)
        *(slash == folder ? slash + 1 : slash) = '\0';
    return folder;
}

static bool takes_token(const char **at, const char *token)
{
    size_t length = strlen(token);
    const char *text = *at;
    bool braced = *text == '{';
    text += braced;
    if (strncmp(text, token, length) != 0 || (braced && text[length] != '}'))
        return false;
    *at = text + length + braced;
    return true;
}

// A folder of a search path with $ORIGIN, $LIB and $PLATFORM replaced. To be freed.
static char *expand(const struct object *object, const char *text, size_t length)
{
    char *given = must_format("%.*s", (int)length, text);
    char *result = must_copy("");
    const char *at = given;
    while (*at) {
        size_t plain = strcspn(at, "$");
        char *value = NULL;
        const char *behind = at + plain;
        if (*behind == '$') {
            behind++;
            const char *machine = triplet(object);
            if (takes_token(&behind, "ORIGIN"))
                value = origin(object);
            else if (takes_token(&behind, "LIB"))
                value = machine ? must_format("lib/%s", machine) : must_copy("lib64");
            else if (takes_token(&behind, "PLATFORM"))
                value = must_copy(object->machine == EM_X86_64    ? "x86_64"
                                  : object->machine == EM_AARCH64 ? "aarch64"
                                                                  : "");
            else
                value = must_copy("$");
        }
        char *longer = must_format("%s%.*s%s", result, (int)plain, at, value ? value : "");
        free(value);
        free(result);
        result = longer;
        at = behind;
    }
    free(given);
    return result;
}

// Looks for a name in a list of folders. `owner` is the object whose list it is.
static struct object *search_path(const struct search *search, const struct object *owner,
                                  const char *path, const char *delimiters, const char *name)
{
    struct object *found = NULL;
    while (path && *path && !found) {
        size_t length = strcspn(path, delimiters);
        char *folder = expand(owner, path, length);
        char *candidate = must_format("%s/%s", *folder ? folder : ".", name);
        found = try_path(search, candidate);
        free(candidate);
        free(folder);
        path += length;
        path += *path != '\0';
    }
    return found;
}

// The RPATHs that count for an object: its own, then those of the objects that loaded it, up to the
// program.
static struct object *search_rpaths(const struct search *search, const char *name)
{
    size_t number = search->number;
    for (;;) {
        const struct object *owner = search->closure->objects[number];
        struct object *found =
            owner->runpath ? NULL : search_path(search, owner, owner->rpath, ":", name);
        if (found || number == 0)
            return found;
        number = search->loaded_by[number];
    }
}

static struct object *find(const struct search *search, const char *name)
{
    const struct object *asking = search->closure->objects[search->number];
    struct object *found;
    if (strchr(name, '/')) {
        char *path = expand(asking, name, strlen(name));
        found = try_path(search, path);
        free(path);
        return found;
    }
    found = asking->runpath ? NULL : search_rpaths(search, name);
    if (!found)
        found =
            search_path(search, search->closure->objects[0], getenv("LD_LIBRARY_PATH"), ":;", name);
    if (!found)
        found = search_path(search, asking, asking->runpath, ":", name);
    if (!found && !asking->no_default)
        found = search_cache(search, name);
    if (!found && !asking->no_default)
        found = search_defaults(search, name);
    return found;
}

// ---- the closure ----

void closure_add(struct closure *closure, struct object *object)
{
    closure->objects = must_grow(closure->objects, closure->count + 1, sizeof(*closure->objects));
    closure->objects[closure->count++] = object;
}

// Whether a needed name is there already: by the name it is called, or the one it calls itself.
static bool is_loaded(const struct closure *closure, const char *name)
{
    for (size_t i = 1; i < closure->count; i++) {
        const struct object *object = closure->objects[i];
        if ((object->soname && strcmp(object->soname, name) == 0) ||
            strcmp(last_part(object->path), last_part(name)) == 0)
            return true;
    }
    return false;
}

static bool is_missing(const struct closure *closure, const char *name)
{
    for (size_t i = 0; i < closure->missing_count; i++) {
        if (strcmp(closure->missing[i].name, name) == 0)
            return true;
    }
    return false;
}

static void add_missing(struct closure *closure, const char *name, const char *wanted_by)
{
    closure->missing =
        must_grow(closure->missing, closure->missing_count + 1, sizeof *closure->missing);
    closure->missing[closure->missing_count++] =
        (struct missing){must_copy(name), must_copy(wanted_by)};
}

int closure_load(const char *path, struct closure *closure)
{
    *closure = (struct closure){0};
    struct object *program;
    int err = object_open(path, &program);
    if (err)
        return err;
    closure_add(closure, program);
    struct search search = {.closure = closure};
    search.loaded_by = must_grow(NULL, 1, sizeof *search.loaded_by);
    search.loaded_by[0] = 0;
    // Breadth first, as the dynamic linker does: the list grows while it is walked.
    for (; search.number < closure->count; search.number++) {
        const struct object *asking = closure->objects[search.number];
        for (size_t i = 0; i < asking->needed_count; i++) {
            const char *name = asking->needed[i];
            if (is_loaded(closure, name) || is_missing(closure, name))
                continue;
            struct object *found = find(&search, name);
            if (!found) {
                add_missing(closure, name, asking->path);
                continue;
            }
            closure_add(closure, found);
            search.loaded_by =
                must_grow(search.loaded_by, closure->count, sizeof *search.loaded_by);
            search.loaded_by[closure->count - 1] = search.number;
        }
    }
    free(search.loaded_by);
    return 0;
}

void closure_finish(struct closure *closure)
{
    for (size_t i = 0; i < closure->count; i++)
        object_free(closure->objects[i]);
    for (size_t i = 0; i < closure->missing_count; i++) {
        free(closure->missing[i].name);
        free(closure->missing[i].wanted_by);
    }
    free(closure->objects);
    free(closure->missing);
    *closure = (struct closure){0};
}
