// SPDX-License-Identifier: ISC
//
// smolscale doctor: which thread pools a program uses, which of them are captured, and why the
// others are not. Reads files, and of a process what /proc shows; executes nothing.

#include "cli.h"
#include "inside.h"
#include "interfaces.h"
#include "layers.h"
#include "loader.h"
#include "program.h"

#include <argp.h>
#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ALL_CAPTURED = 0,
    SOME_NATIVE = 1, // a pool is found that is not captured
    NOTHING_FOUND = 2,
};

// A program, before it runs or while it does.
struct patient {
    struct closure closure;           // all objects, the program first
    struct use (*uses)[LAYER_COUNT];  // of each object
    char *obstacle;                   // why nothing can be preloaded; NULL: it can
    pid_t pid;                        // 0: it does not run
    const char *command;              // how it was named; NULL: it runs
    unsigned loaded;                  // of a process: the layers whose library is in it
    bool disabled;                    // of a process: SMOLSCALE_DISABLE is set
    unsigned found, captured, native; // findings so far
};

// ---- findings ----

static void print_finding(struct patient *patient, enum layer layer, bool captured, char *text)
{
    printf("  %-20s %-13s %s\n", interface_of(layer)->title, captured ? "captured" : "NOT captured",
           text);
    patient->found++;
    if (captured)
        patient->captured++;
    else
        patient->native++;
    free(text);
}

// Why nothing of a layer is captured, whatever the program does with it; NULL: no reason. To be
// freed.
static char *layer_obstacle(const struct patient *patient, enum layer layer)
{
    if (patient->obstacle)
        return must_copy(patient->obstacle);
    if (!patient->pid)
        return layer_library(layer) ? NULL : must_copy("the layer's library is not installed");
    if (!(patient->loaded & (1u << layer)))
        return must_copy("the process was started without it; start it with 'smolscale run'");
    return patient->disabled ? must_copy("SMOLSCALE_DISABLE is set in the process") : NULL;
}

static const char *name_of(const struct object *object)
{
    return object->soname ? object->soname : last_part(object->path);
}

// What the interface's own library has of it, if that is among the objects; else NULL.
static const struct use *provider(const struct patient *patient, enum layer layer)
{
    for (size_t i = 0; i < patient->closure.count; i++) {
        if (patient->uses[i][layer].provider)
            return &patient->uses[i][layer];
    }
    return NULL;
}

// Whether the program itself defines an interface's functions for all: it comes before every
// preload.
static bool program_comes_first(const struct patient *patient, enum layer layer)
{
    return patient->uses[0][layer].exported > 0 && !patient->uses[0][layer].provider;
}

// An object calls the interface in a library.
static void find_calls(struct patient *patient, enum layer layer, const struct object *object,
                       const struct use *use)
{
    char *obstacle = layer_obstacle(patient, layer);
    if (obstacle) {
        print_finding(patient, layer, false,
                      must_format("%s calls it; %s", name_of(object), obstacle));
    } else if (program_comes_first(patient, layer)) {
        const char *program = name_of(patient->closure.objects[0]);
        if (layer == LAYER_UV) // its own line says whether that libuv is captured
            printf("  %-20s %-13s %s calls the one inside of %s\n", interface_of(layer)->title, "",
                   name_of(object), program);
        else
            print_finding(patient, layer, false,
                          must_format("%s calls it in the program itself, which has it inside and "
                                      "comes before any preload",
                                      name_of(object)));
    } else if (use->unknown == use->calls) {
        print_finding(
            patient, layer, false,
            must_format("%s calls only functions that the layer does not know", name_of(object)));
    } else {
        const struct use *library = provider(patient, layer);
        bool only_work = layer == LAYER_UV && library && !library->indirect_start;
        const char *limit = only_work ? "; only uv_queue_work(): this libuv.so.1 was linked so "
                                        "that its inner calls cannot be taken"
                                      : "";
        print_finding(patient, layer, true,
                      must_format("%s calls it (%s%s)%s", name_of(object), use->example,
                                  use->calls > 1 ? ", ..." : "", limit));
    }
    free(obstacle);
}

// Why a libuv inside of an object is not captured; NULL: it is, if the checks at run time agree.
static char *inside_obstacle(const struct object *object, const struct use *use)
{
    if (!captures_inside())
        return must_copy("this build of the layer captures only libuv.so.1");
    if (use->version && (use->version >> 16 != 1 || (use->version >> 8 & 0xff) < 41))
        return must_copy("its version is not known");
#ifdef CLI_INSIDE
    return inside_refusal(object->path);
#else
    (void)object;
    return use->pool_named ? NULL : must_copy("its functions cannot be found by name");
#endif
}

static char *version_text(const struct use *use)
{
    if (!use->version)
        return must_copy("");
    return must_format(" %u.%u.%u", use->version >> 16, use->version >> 8 & 0xff,
                       use->version & 0xff);
}

static void find_uv_inside(struct patient *patient, const struct object *object,
                           const struct use *use)
{
    char *obstacle = layer_obstacle(patient, LAYER_UV);
    char *why = obstacle ? NULL : inside_obstacle(object, use);
    char *version = version_text(use);
    print_finding(
        patient, LAYER_UV, !obstacle && !why,
        must_format("%s has a libuv%s inside; %s", name_of(object), version,
                    obstacle ? obstacle
                    : why    ? why
                             : "unless a check at run time refuses (SMOLSCALE_VERBOSE=1 tells)"));
    if (why)
        printf("  %-20s %-13s to do: %s\n", "", "", interface_of(LAYER_UV)->advice);
    free(obstacle);
    free(why);
    free(version);
}

// An object that is not the interface's library defines its functions: they were linked into it.
static void find_inside(struct patient *patient, enum layer layer, const struct object *object,
                        const struct use *use)
{
    if (layer == LAYER_UV) {
        find_uv_inside(patient, object, use);
        return;
    }
    char *obstacle = layer_obstacle(patient, layer);
    bool program = object == patient->closure.objects[0];
    bool captured = !obstacle && use->rebindable && !object->symbolic && !program;
    print_finding(patient, layer, captured,
                  must_format("%s has it inside; %s", name_of(object),
                              obstacle        ? obstacle
                              : captured      ? "it calls it by the dynamic linker"
                              : program       ? "a program's own functions come before any preload"
                              : use->exported ? "it calls it directly, past the dynamic linker"
                                              : "its functions are hidden in it"));
    if (!captured && !obstacle)
        printf("  %-20s %-13s to do: %s\n", "", "", interface_of(layer)->advice);
    free(obstacle);
}

// An object names the interface's library, or one that brings it along, in a constant: it may load
// it later.
static void find_later(struct patient *patient, enum layer layer, struct object *object)
{
    const struct interface *interface = interface_of(layer);
    char *name = object_names_library(object, interface->library);
    for (size_t i = 0; !name && interface->users[i]; i++)
        name = object_names_library(object, interface->users[i]);
    if (!name)
        return;
    char *obstacle = layer_obstacle(patient, layer);
    print_finding(patient, layer, !obstacle,
                  must_format("%s names %s, which it may load later%s%s", name_of(object),
                              last_part(name), obstacle ? "; " : "", obstacle ? obstacle : ""));
    free(obstacle);
    free(name);
}

static void find_all(struct patient *patient, size_t number)
{
    struct object *object = patient->closure.objects[number];
    if (is_layer_library(object->path) || strncmp(name_of(object), "libsmolscale.so", 15) == 0)
        return;
    for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
        const struct use *use = &patient->uses[number][layer];
        if (use->provider)
            continue;
        // A few names alone are no library: a program may define a replacement for one function.
        if (use->exported + use->internal >= 3)
            find_inside(patient, layer, object, use);
        else if (use->calls)
            find_calls(patient, layer, object, use);
        else if (!provider(patient, layer))
            find_later(patient, layer, object);
    }
}

// ---- the whole ----

static void print_missing(const struct patient *patient)
{
    for (size_t i = 0; i < patient->closure.missing_count; i++) {
        const struct missing *missing = &patient->closure.missing[i];
        printf("  missing              %s, which %s needs: the program will not start\n",
               missing->name, missing->wanted_by);
    }
}

static bool find_dlopen(const struct symbol *symbol, void *data)
{
    if (!symbol->defined &&
        (strcmp(symbol->name, "dlopen") == 0 || strcmp(symbol->name, "g_module_open") == 0))
        *(bool *)data = true;
    return !*(bool *)data;
}

static void print_conclusion(const struct patient *patient)
{
    bool loads = false;
    if (!patient->pid && patient->closure.count)
        object_symbols(patient->closure.objects[0], true, find_dlopen, &loads);
    if (!patient->found)
        printf("  no thread pool that smolscale knows was found\n");
    if (patient->obstacle)
        printf("  %s: nothing can be preloaded\n", patient->obstacle);
    if (loads && !patient->obstacle)
        printf("  It can load modules while it runs, which are captured as they come; "
               "'smolscale doctor PID' shows them then.\n");
    if (patient->captured && !patient->pid)
        printf(
            "  To run it on smolscale: smolscale run %s; to see what that brings: smolscale compare %s\n",
            patient->command, patient->command);
}

static int diagnose(struct patient *patient)
{
    size_t count = patient->closure.count;
    patient->uses = must_alloc(count * sizeof *patient->uses);
    for (size_t i = 0; i < count; i++)
        interfaces_examine(patient->closure.objects[i], patient->uses[i]);
    print_missing(patient);
    for (size_t i = 0; i < count; i++)
        find_all(patient, i);
    print_conclusion(patient);
    free(patient->uses);
    return patient->native ? SOME_NATIVE : patient->found ? ALL_CAPTURED : NOTHING_FOUND;
}

// ---- a command ----

static int diagnose_command(const char *command)
{
    struct patient patient = {.command = command};
    struct program program;
    program_must_examine(command, &program);
    printf("%s", program.path);
    for (size_t i = 0; i < program.interpreter_count; i++)
        printf("%s%s", i ? ", then by " : ", a script, run by ", program.interpreters[i]);
    putchar('\n');
    patient.obstacle = program.detail ? must_copy(program.detail) : NULL;
    int err = closure_load(program.object, &patient.closure);
    if (err && err != -ENOEXEC)
        fail(STATUS_FAILED, "%s: %s", program.object, strerror(-err));
    int status = diagnose(&patient);
    closure_finish(&patient.closure);
    program_finish(&program);
    free(patient.obstacle);
    return status;
}

// ---- a process ----

// A file of /proc/PID, whole; NULL with errno. To be freed.
static char *read_proc(pid_t pid, const char *name, size_t *size)
{
    char *path = must_format("/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    if (fd < 0)
        return NULL;
    char *text = NULL;
    size_t room = 0;
    ssize_t got;
    *size = 0;
    do {
        if (room - *size < 4096)
            text = must_grow(text, room += 1 << 16, 1);
        got = read(fd, text + *size, room - *size - 1);
        if (got > 0)
            *size += (size_t)got;
    } while (got > 0);
    int err = errno;
    close(fd);
    if (got < 0) {
        free(text);
        errno = err;
        return NULL;
    }
    text[*size] = '\0';
    return text;
}

static bool is_known(const struct closure *closure, const char *path)
{
    for (size_t i = 0; i < closure->count; i++) {
        if (strcmp(closure->objects[i]->path, path) == 0)
            return true;
    }
    return false;
}

// Opens a file that a process has mapped, by its path as that process sees it.
static void add_mapped(struct patient *patient, char *path)
{
    static const char deleted[] = " (deleted)";
    size_t length = strlen(path), tail = sizeof deleted - 1;
    if (length > tail && strcmp(path + length - tail, deleted) == 0) {
        path[length - tail] = '\0';
        printf(
            "  changed              %s was replaced since it was loaded; what is said of it is of the new file\n",
            path);
    }
    char *seen = must_format("/proc/%d/root%s", (int)patient->pid, path);
    struct object *object;
    if (!is_known(&patient->closure, path) &&
        (object_open(seen, &object) == 0 || object_open(path, &object) == 0)) {
        free(object->path);
        object->path = must_copy(path);
        closure_add(&patient->closure, object);
        for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
            if (is_layer_library(path) && strstr(last_part(path), layer_name(layer)))
                patient->loaded |= 1u << layer;
        }
    }
    free(seen);
}

// The files of executable mappings, in the order of the address space; the program is put first.
static void read_maps(struct patient *patient)
{
    size_t size;
    char *maps = read_proc(patient->pid, "maps", &size);
    if (!maps)
        fail(STATUS_FAILED, "process %d: %s", (int)patient->pid,
             errno == ENOENT ? "there is none" : strerror(errno));
    char *exe = must_format("/proc/%d/exe", (int)patient->pid);
    char program[4096];
    ssize_t length = readlink(exe, program, sizeof program - 1);
    if (length < 0)
        fail(STATUS_FAILED, "%s: %s", exe, strerror(errno));
    program[length] = '\0';
    printf("process %d: %s\n", (int)patient->pid, program);
    add_mapped(patient, program);
    char *save;
    for (char *line = strtok_r(maps, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char permissions[5];
        int at = 0;
        if (sscanf(line, "%*s %4s %*s %*s %*s %n", permissions, &at) == 1 && at &&
            permissions[2] == 'x' && line[at] == '/')
            add_mapped(patient, line + at);
    }
    free(exe);
    free(maps);
}

// Whether the kernel has told a process' dynamic linker to ignore preloads.
static bool is_secure(pid_t pid)
{
    size_t size;
    char *auxv = read_proc(pid, "auxv", &size);
    bool secure = false;
    for (size_t at = 0; auxv && at + 2 * sizeof(unsigned long) <= size;
         at += 2 * sizeof(unsigned long)) {
        unsigned long entry[2];
        memcpy(entry, auxv + at, sizeof entry);
        if (entry[0] == AT_SECURE && entry[1])
            secure = true;
    }
    free(auxv);
    return secure;
}

static bool is_disabled(pid_t pid)
{
    static const char setting[] = "SMOLSCALE_DISABLE=1";
    size_t size;
    char *variables = read_proc(pid, "environ", &size);
    bool disabled = false;
    for (char *at = variables; at && at < variables + size; at += strlen(at) + 1)
        disabled = disabled || strcmp(at, setting) == 0;
    free(variables);
    return disabled;
}

static int diagnose_process(pid_t pid)
{
    struct patient patient = {.pid = pid};
    read_maps(&patient);
    if (!patient.closure.count)
        fail(STATUS_FAILED, "process %d: its program cannot be read", (int)pid);
    struct program program;
    char *exe = must_format("/proc/%d/exe", (int)pid); // the file itself, wherever it now is
    if (program_examine(exe, &program) == 0) {
        // What the file says of privilege may be said otherwise to this caller than to that
        // process.
        if (program.detail && program.obstacle != OBSTACLE_SETUID)
            patient.obstacle = must_copy(program.detail);
        program_finish(&program);
    }
    free(exe);
    if (!patient.obstacle && is_secure(pid))
        patient.obstacle = must_copy("it runs with more privilege than its caller (setuid)");
    patient.disabled = is_disabled(pid);
    int status = diagnose(&patient);
    closure_finish(&patient.closure);
    free(patient.obstacle);
    return status;
}

// ---- the command line ----

static error_t parse(int key, char *argument, struct argp_state *state)
{
    char **what = state->input;
    switch (key) {
    case ARGP_KEY_ARG: // arguments of the command may follow, and say nothing
        *what = argument;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "neither a command nor a process is given");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    NULL,
    parse,
    "COMMAND|PID",
    "Says which thread pools a command or a running process uses, whether smolscale captures each of them, and what to do "
    "if it does not. Nothing of the program is executed.\v"
    "The exit status is 0 if all that was found is captured, 1 if something is not, 2 if no thread pool was found; 125 if "
    "smolscale itself fails, 126 if the command cannot be executed, 127 if it is not found.",
    NULL,
    NULL,
    NULL,
};

int command_doctor(int argc, char **argv)
{
    char *what = NULL;
    if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &what))
        return STATUS_FAILED;
    if (!*what || what[strspn(what, "0123456789")])
        return diagnose_command(what);
    errno = 0;
    long pid = strtol(what, NULL, 10);
    if (errno || pid > INT_MAX)
        fail(STATUS_FAILED, "process %s: there is none", what);
    return diagnose_process((pid_t)pid);
}
