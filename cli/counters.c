// SPDX-License-Identifier: ISC
//
// Reading counters; see counters.h.

#include "counters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Without its newline. False: it is too long, or holds a zero byte; it is passed over. *end: there
// is none.
static bool read_line(FILE *file, char *line, size_t size, bool *end)
{
    size_t length = 0;
    bool good = true;
    int c = getc(file);
    *end = c == EOF;
    for (; c != EOF && c != '\n'; c = getc(file)) {
        good = good && c != '\0' && length + 1 < size;
        if (good)
            line[length++] = (char)c;
    }
    line[length] = '\0';
    return good;
}

static bool parse(const char *line, struct counter *counter)
{
    const char *space = strchr(line, ' ');
    if (!space || space == line || (size_t)(space - line) >= sizeof counter->name)
        return false;
    const char *digits = space + 1;
    if (!*digits || digits[strspn(digits, "0123456789")] != '\0')
        return false;
    errno = 0;
    counter->value = strtoull(digits, NULL, 10);
    if (errno)
        return false;
    memcpy(counter->name, line, (size_t)(space - line));
    counter->name[space - line] = '\0';
    return true;
}

bool counters_next(FILE *file, struct counter *counter)
{
    char line[512];
    for (;;) {
        bool end, good = read_line(file, line, sizeof line, &end);
        if (end)
            return false;
        if (good && parse(line, counter))
            return true;
    }
}
