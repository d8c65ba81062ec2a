// SPDX-License-Identifier: ISC

#include "environment.h"

#include "cli.h"
#include "layers.h"
#include "loader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// ---- the options ----

static const struct argp_option options[] = {
    {"only", 'o', "LAYERS", 0,
     "preload only these layers, separated by commas: glib, uv, pthreadpool", 1},
    {"policy", 'p', "POLICY", 0,
     "strict (limits mean what they mean natively) or elastic (blocked jobs may exceed them)", 1},
    {"workers", 'w', "N", 0, "plan with N CPUs, and not with those that the command may use", 1},
    {0},
};

static void parse_workers(struct argp_state *state, const char *text)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno || end == text || *end || number < 1 || number > 4096)
        argp_error(state, "--workers: '%s' is not a number from 1 to 4096", text);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct settings *settings = state->input;
    char *bad;
    switch (key) {
    case ARGP_KEY_INIT:
        *settings = (struct settings){0};
        return 0;
    case 'o':
        if (layers_parse(argument, &settings->layers, &bad))
            argp_error(state, "--only: '%s' is no layer; there are glib, uv and pthreadpool", bad);
        return 0;
    case 'p':
        if (strcmp(argument, "strict") != 0 && strcmp(argument, "elastic") != 0)
            argp_error(state, "--policy: '%s' is neither strict nor elastic", argument);
        settings->policy = argument;
        return 0;
    case 'w':
        parse_workers(state, argument);
        settings->workers = argument;
        return 0;
    case ARGP_KEY_ARG: // the rest is the command's own
        settings->command = state->argv + state->next - 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "no command is given");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {options, parse, "[--] COMMAND [ARGUMENT...]", NULL, NULL,
                                 NULL,    NULL};

const struct argp_child settings_parser[] = {{&argp, 0, NULL, 0}, {0}};

// ---- LD_PRELOAD ----

// The dynamic linker separates the names in LD_PRELOAD by colons and spaces, and knows no quoting.
static const char separators[] = ": ";

// Appends a name to a list that is separated by colons; the list is grown or, where it was NULL,
// made.
static char *append(char *list, const char *name, size_t length)
{
    char *longer = list ? must_format("%s:%.*s", list, (int)length, name)
                        : must_format("%.*s", (int)length, name);
    free(list);
    return longer;
}

static bool contains(const char *list, const char *name)
{
    size_t wanted = strlen(name);
    while (list && *list) {
        size_t length = strcspn(list, separators);
        if (length == wanted && memcmp(list, name, length) == 0)
            return true;
        list += length;
        list += strspn(list, separators);
    }
    return false;
}

// A library that itself lacks one (libsmolscale.so.0, most likely) would be left out by the dynamic
// linker, with one line of its own, and the program would run natively.
static void must_be_complete(const char *path)
{
    struct closure closure;
    int err = closure_load(path, &closure);
    if (err)
        fail(STATUS_FAILED, "%s: %s", path, strerror(-err));
    if (closure.missing_count)
        fail(STATUS_FAILED, "%s needs the library %s, which is not found", path,
             closure.missing[0].name);
    closure_finish(&closure);
}

// Whether a name is that of a layer's library, but not of the one that belongs to this command.
static bool is_of_another_installation(const char *name)
{
    for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
        const char *path = layer_library(layer);
        if (path && strcmp(path, name) == 0)
            return false;
    }
    return is_layer_library(name);
}

// The names of a list for which `drop` does not hold; NULL: none.
static char *without(const char *list, bool (*drop)(const char *name))
{
    char *value = NULL;
    list += list ? strspn(list, separators) : 0;
    while (list && *list) {
        size_t length = strcspn(list, separators);
        char *name = must_format("%.*s", (int)length, list);
        if (!drop(name))
            value = append(value, name, length);
        free(name);
        list += length;
        list += strspn(list, separators);
    }
    return value;
}

// A library of another installation would stand before ours, and bring another core.
char *preload_value(const struct settings *settings, const char *existing)
{
    bool by_name = settings->layers != 0;
    unsigned wanted = by_name ? settings->layers : ALL_LAYERS;
    bool any = false;
    char *value = without(existing, is_of_another_installation);
    for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
        if (!(wanted & (1u << layer)))
            continue;
        const char *path = layer_library(layer);
        if (!path && by_name)
            fail(STATUS_FAILED,
                 "the library of the layer %s is missing: it was not built, or not "
                 "installed beside this command",
                 layer_name(layer));
        if (!path)
            continue;
        if (strpbrk(path, separators) || strchr(path, '$'))
            fail(STATUS_FAILED, "%s: LD_PRELOAD cannot name a path with a space, a colon or a '$'",
                 path);
        must_be_complete(path);
        any = true;
        if (!contains(value, path))
            value = append(value, path, strlen(path));
    }
    if (!any)
        fail(STATUS_FAILED, "no library to preload was found: build the project, or install it");
    return value;
}

char *native_preload_value(const char *existing)
{
    return without(existing, is_layer_library);
}
