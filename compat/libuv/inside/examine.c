// SPDX-License-Identifier: ISC
//
// The checks (see examine.h), in the order of what they cost and of what they rely on: first that
// the file is what is loaded, then what its tables say, then what its functions say.

#include "examine.h"

#include <string.h>

#include "layout.h"

#define LIBRARY "libuv.so.1" // preload.c serves it

// ---------------------------------------------------------------------------------------------
// Which object
// ---------------------------------------------------------------------------------------------

struct search {
    uintptr_t address;
    struct ss_loaded *loaded;
    bool found;
};

static int look_at_object(struct dl_phdr_info *info, size_t size, void *context)
{
    struct search *search = context;
    struct ss_loaded *loaded = search->loaded;
    uintptr_t low = UINTPTR_MAX, high = 0;

    (void)size;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_LOAD)
            continue;
        uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        uintptr_t end = begin + info->dlpi_phdr[i].p_memsz;
        low = begin < low ? begin : low;
        high = end > high ? end : high;
    }
    if (search->address < low || search->address >= high)
        return 0;
    // The program itself has no name here.
    const char *path =
        info->dlpi_name != NULL && info->dlpi_name[0] != '\0' ? info->dlpi_name : "/proc/self/exe";
    if (strlen(path) < sizeof(loaded->path)) {
        *loaded = (struct ss_loaded){
            .low = low,
            .high = high,
            .base = info->dlpi_addr,
            .headers = info->dlpi_phdr,
            .header_count = info->dlpi_phnum,
        };
        strcpy(loaded->path, path);
        search->found = true;
    }
    return 1;
}

bool ss_loaded_at(struct ss_loaded *loaded, uintptr_t address)
{
    struct search search = {address, loaded, false};

    (void)dl_iterate_phdr(look_at_object, &search);
    return search.found;
}

static int note_unloaded(struct dl_phdr_info *info, size_t size, void *count)
{
    (void)size;
    *(unsigned long long *)count = info->dlpi_subs;
    return 1; // any object has it
}

unsigned long long ss_objects_unloaded(void)
{
    unsigned long long count = 0;

    (void)dl_iterate_phdr(note_unloaded, &count);
    return count;
}

// ---------------------------------------------------------------------------------------------
// Checks
// ---------------------------------------------------------------------------------------------

static struct ss_verdict refuse(enum ss_inside_reason reason, const char *what)
{
    return (struct ss_verdict){reason, what, 0};
}

static const struct ss_verdict fine = {SS_INSIDE_SERVED, NULL, 0};

static bool is_unchanged(const struct ss_object *memory, const struct ss_object *disk,
                         const struct ss_function *function)
{
    const uint8_t *now = ss_object_at(memory, function->address, function->size);
    const uint8_t *then = ss_object_at(disk, function->address, function->size);

    return now != NULL && then != NULL && memcmp(now, then, function->size) == 0;
}

static struct ss_verdict check_code(const struct ss_found *found, const struct ss_object *memory,
                                    const struct ss_object *disk)
{
    for (unsigned i = 0; i < SS_TAKEN_COUNT; i++) {
        if (!is_unchanged(memory, disk, &found->taken[i]))
            return refuse(SS_INSIDE_CHANGED, ss_taken_names[i]);
        size_t jump = ss_jump_size(ss_object_at(memory, found->taken[i].address, 1));
        if (jump == 0 || found->taken[i].size < SS_JUMP_MAX || found->taken[i].size < jump)
            return refuse(SS_INSIDE_SHORT, ss_taken_names[i]);
    }
    for (unsigned i = 0; i < SS_CALLED_COUNT; i++) {
        if (!is_unchanged(memory, disk, &found->called[i]))
            return refuse(SS_INSIDE_CHANGED, ss_called_names[i]);
    }
    return fine;
}

static uintptr_t address_of(const struct ss_libuv *libuv, enum ss_called which)
{
    return libuv->object.base + libuv->found.called[which].address;
}

static struct ss_verdict ask(struct ss_libuv *libuv)
{
    unsigned (*version)(void) = (unsigned (*)(void))address_of(libuv, SS_CALLED_version);
    struct ss_layout_source source = {
        (size_t(*)(void))address_of(libuv, SS_CALLED_loop_size),
        (size_t(*)(uv_handle_type))address_of(libuv, SS_CALLED_handle_size),
        (size_t(*)(uv_req_type))address_of(libuv, SS_CALLED_req_size),
    };

    libuv->version = version();
    libuv->async_send = (int (*)(uv_async_t *))address_of(libuv, SS_CALLED_async_send);
    if (!ss_version_is_known(libuv->version))
        return refuse(SS_INSIDE_VERSION, NULL);
    return ss_layout_is_known(&source) ? fine : refuse(SS_INSIDE_LAYOUT, NULL);
}

static struct ss_verdict examine_file(struct ss_libuv *libuv, const struct ss_loaded *loaded,
                                      const struct ss_file *file)
{
    struct ss_object disk;
    struct ss_verdict verdict;

    if (!ss_file_has_headers(file, loaded->headers, loaded->header_count))
        return refuse(SS_INSIDE_OTHER_FILE, NULL);
    if (!ss_object_of_file(&disk, file))
        return refuse(SS_INSIDE_UNREADABLE, NULL);
    verdict = ss_find(&libuv->found, &libuv->object, file);
    if (verdict.reason == SS_INSIDE_SERVED)
        verdict = check_code(&libuv->found, &libuv->object, &disk);
    if (verdict.reason == SS_INSIDE_SERVED)
        verdict = ask(libuv);
    if (verdict.reason != SS_INSIDE_SERVED)
        return verdict;
    libuv->text.count = SS_TAKEN_COUNT;
    for (unsigned i = 0; i < SS_TAKEN_COUNT; i++)
        libuv->text.site[i].at = (uint8_t *)(libuv->object.base + libuv->found.taken[i].address);
    return ss_text_is_near(&libuv->text) ? fine : refuse(SS_INSIDE_SPREAD, NULL);
}

struct ss_verdict ss_examine(struct ss_libuv *libuv, const struct ss_loaded *loaded)
{
    struct ss_file file;
    const char *name;

    memset(libuv, 0, sizeof(*libuv));
    if (!ss_object_of_memory(&libuv->object, loaded->base, loaded->headers, loaded->header_count))
        return refuse(SS_INSIDE_UNREADABLE, NULL);
    name = libuv->object.name != 0 ? ss_object_string(&libuv->object, libuv->object.name) : NULL;
    if (name != NULL && strcmp(name, LIBRARY) == 0)
        return refuse(SS_INSIDE_LIBRARY, NULL);
    struct ss_verdict verdict = refuse(SS_INSIDE_UNREADABLE, NULL);
    if (ss_file_open(&file, loaded->path)) {
        verdict = examine_file(libuv, loaded, &file);
        ss_file_close(&file);
    }
    // Of an object that shows no libuv, and whose file is of no use, there is nothing to say.
    if ((verdict.reason == SS_INSIDE_UNREADABLE || verdict.reason == SS_INSIDE_OTHER_FILE) &&
        ss_object_export(&libuv->object, "uv_version").found == 0)
        return refuse(SS_INSIDE_NO_LIBUV, NULL);
    return verdict;
}

bool ss_libuv_has_function(const struct ss_libuv *libuv, uintptr_t address)
{
    uint64_t own = address - libuv->object.base;

    if (libuv->found.work_done != 0)
        return own == libuv->found.work_done;
    return ss_object_is_code(&libuv->object, own) &&
           ss_object_function_size(&libuv->object, own) != 0;
}
