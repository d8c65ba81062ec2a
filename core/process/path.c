// SPDX-License-Identifier: ISC
//
// Names of files, of each process its own; see path.h.

#include "process/path.h"

#include "os/process.h"

#include <stdio.h>
#include <string.h>

bool ss_path_of_process(const char *pattern, char *path, size_t size)
{
    const char *mark = strstr(pattern, "%p");
    int length = mark ? snprintf(path, size, "%.*s%d%s", (int)(mark - pattern), pattern,
                                 (int)ss_process_id(), mark + 2)
                      : snprintf(path, size, "%s", pattern);
    return length >= 0 && (size_t)length < size;
}

void ss_path_complain(const char *option, const char *path, int err)
{
    char line[SS_PATH_SIZE + 128];
    snprintf(line, sizeof line, "smolscale: %s: cannot write %s: %s\n", option, path,
             strerror(err));
    ss_write_to_stderr(line);
}
