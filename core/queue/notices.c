// SPDX-License-Identifier: ISC
//
// Promising, taking and giving notices; see notices.h.

#include "queue/notices.h"
#include "queue/queue.h"
#include "queue/server.h"

bool smolscale_notify_soon(void *whom)
{
    smolscale_queue *queue = ss_queue_of_job();
    if (!queue || !queue->notify)
        return false;
    struct ss_server *server = ss_server_of(ss_self);
    struct ss_notices *notices = &server->notices;
    if (notices->count == SS_NOTICES_MAX)
        return false;
    if (notices->count == 0)
        store_relaxed(&notices->since, server->batch_start);
    store_release(&notices->owed[notices->count++], whom);
    return true;
}

void ss_notices_take(const smolscale_queue *queue, struct ss_notices *notices,
                     struct ss_taken_notices *taken)
{
    taken->notify = queue->notify;
    taken->count = 0;
    for (unsigned i = 0; i < SS_NOTICES_MAX; i++)
        if (load_relaxed(&notices->owed[i]) &&
            (taken->whom[taken->count] = exchange_acq_rel(&notices->owed[i], NULL)))
            taken->count++;
}

void ss_notices_give(const smolscale_queue *queue, struct ss_notices *notices)
{
    struct ss_taken_notices taken;
    ss_notices_take(queue, notices, &taken);
    notices->count = 0;
    ss_give_notices(&taken);
}
