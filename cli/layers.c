// SPDX-License-Identifier: ISC

#include "layers.h"

#include "cli.h"
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name, *build_folder, *file;
} table[LAYER_COUNT] = {
    [LAYER_GLIB] = {"glib", "compat/glib", "libsmolscale-glib.so"},
    [LAYER_UV] = {"uv", "compat/libuv", "libsmolscale-uv.so"},
    [LAYER_PTHREADPOOL] = {"pthreadpool", "compat/pthreadpool", "libsmolscale-pthreadpool.so"},
};

const char *layer_name(enum layer layer)
{
    return table[layer].name;
}

int layers_parse(const char *list, unsigned *set, char **bad)
{
    *set = 0;
    *bad = NULL;
    for (const char *word = list;; word++) {
        size_t length = strcspn(word, ",");
        int layer = 0;
        while (layer < LAYER_COUNT && (strlen(table[layer].name) != length ||
                                       strncmp(table[layer].name, word, length) != 0))
            layer++;
        if (layer == LAYER_COUNT) {
            *bad = must_format("%.*s", (int)length, word);
            return -EINVAL;
        }
        *set |= 1u << layer;
        word += length;
        if (!*word)
            return 0;
    }
}

// The folder of this command, without a slash at its end.
static char *own_folder(void)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0)
        return NULL;
    path[length] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash)
        return NULL;
    *slash = '\0';
    return must_copy(path);
}

// The real path, if the file is there: a relative part in it would hang on to what the command was
// called by.
static char *existing(char *path)
{
    char *real = access(path, R_OK) == 0 ? realpath(path, NULL) : NULL;
    free(path);
    return real;
}

// A text without what must be its end; NULL if it is not. To be freed.
static char *without_end(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    if (length < tail || strcmp(text + length - tail, end) != 0)
        return NULL;
    return must_format("%.*s", (int)(length - tail), text);
}

static char *find(enum layer layer)
{
    char *folder = own_folder();
    char *found = NULL;
    if (folder && strcmp(last_part(folder), "cli") == 0)
        found = existing(
            must_format("%s/../%s/%s", folder, table[layer].build_folder, table[layer].file));
    char *prefix = folder ? without_end(folder, "/" CLI_BINDIR) : NULL;
    if (!found && prefix)
        found = existing(must_format("%s/%s/%s", prefix, CLI_LIBDIR, table[layer].file));
    if (!found)
        found = existing(must_format("%s/%s", CLI_WHOLE_LIBDIR, table[layer].file));
    free(prefix);
    free(folder);
    return found;
}

const char *layer_library(enum layer layer)
{
    static bool known[LAYER_COUNT];
    static char *path[LAYER_COUNT];
    if (!known[layer])
        path[layer] = find(layer);
    known[layer] = true;
    return path[layer];
}

bool is_layer_library(const char *path)
{
    const char *name = last_part(path);
    for (int layer = 0; layer < LAYER_COUNT; layer++) {
        if (strcmp(name, table[layer].file) == 0)
            return true;
    }
    return false;
}
