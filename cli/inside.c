// SPDX-License-Identifier: ISC
//
// Compiled where the layer has such checks. They are the very code that the layer runs in the
// process; it reads the file and executes nothing of it.

#include "inside.h"

#include "../compat/libuv/inside/finder.h"
#include "cli.h"

char *inside_refusal(const char *path)
{
    struct ss_file file;
    struct ss_object object;
    struct ss_found found;
    struct ss_verdict verdict = {.reason = SS_INSIDE_UNREADABLE};
    if (ss_file_open(&file, path)) {
        if (ss_object_of_file(&object, &file))
            verdict = ss_find(&found, &object, &file);
        ss_file_close(&file);
    }
    if (verdict.reason == SS_INSIDE_SERVED)
        return NULL;
    return verdict.what ? must_format("%s (%s)", ss_verdict_text(verdict.reason), verdict.what)
                        : must_copy(ss_verdict_text(verdict.reason));
}
