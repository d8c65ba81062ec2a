// SPDX-License-Identifier: ISC
//
// Profiles: lines "NAME VALUE   # source"; "title TEXT". A name that is left out is an error.

#include "time.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct profile profile;

static const struct {
    const char *name;
    size_t offset;
} fields[] = {
#define FIELD(name) {#name, offsetof(struct profile, name)},
    PROFILE(FIELD)
#undef FIELD
};

#define FIELDS (sizeof fields / sizeof *fields)

static bool set(const char *name, uint64_t value, bool *given)
{
    for (size_t i = 0; i < FIELDS; i++)
        if (strcmp(name, fields[i].name) == 0) {
            memcpy((char *)&profile + fields[i].offset, &value, sizeof value);
            given[i] = true;
            return true;
        }
    return false;
}

static bool read_line(char *text, bool *given)
{
    char name[64], *comment = strchr(text, '#');
    unsigned long long value;
    if (comment)
        *comment = '\0';
    if (sscanf(text, "title %63[^\n]", profile.title) == 1)
        return true;
    int fields_read = sscanf(text, "%63s %llu", name, &value);
    return fields_read <= 0 || (fields_read == 2 && set(name, value, given));
}

int profile_read(const char *path, unsigned count, unsigned *line)
{
    char text[256];
    bool given[FIELDS] = {false}, good = true;
    FILE *file = fopen(path, "r");
    *line = 0;
    if (!file)
        return -errno;
    memset(&profile, 0, sizeof profile);
    while (good && fgets(text, sizeof text, file)) {
        ++*line;
        good = read_line(text, given);
    }
    fclose(file);
    for (size_t i = 0; i < FIELDS; i++)
        good &= given[i];
    if (count)
        profile.cpus = count;
    return good && profile.cpus > 0 && profile.cpus <= CPUS_MAX ? 0 : -EINVAL;
}
