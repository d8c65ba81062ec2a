// SPDX-License-Identifier: ISC
//
// A plug-in with an executor of its own, for test_plugin.c.

#include "smolscale.h"

#include <stddef.h>

void plugin_use(void);

static void job(void *item, void *user_data)
{
    (void)item;
    (void)user_data;
}

__attribute__((visibility("default"))) void plugin_use(void)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    smolscale_queue *queue;
    attr.run = job;
    if (smolscale_queue_new(&queue, &attr) != 0)
        __builtin_trap();
    for (int i = 0; i < 40; i++)
        if (smolscale_queue_push(queue, &attr, NULL) != 0)
            __builtin_trap();
    smolscale_queue_free(queue);
}

#ifdef USED_BY_A_CONSTRUCTOR
__attribute__((constructor)) static void use_at_once(void)
{
    plugin_use();
}
#endif
