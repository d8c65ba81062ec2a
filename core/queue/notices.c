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

// Each is taken once, whether by its worker or by another thread. NULL: there is none.
static void *take(struct ss_notices *notices, unsigned i)
{
    return load_relaxed(&notices->owed[i]) ? exchange_acq_rel(&notices->owed[i], NULL) : NULL;
}

void ss_notices_take(const smolscale_queue *queue, struct ss_notices *notices,
                     struct ss_taken_notices *taken)
{
    taken->notify = queue->notify;
    taken->count = 0;
    for (unsigned i = 0; i < SS_NOTICES_MAX; i++)
        if ((taken->whom[taken->count] = take(notices, i)))
            taken->count++;
}

// One by one: should notify() end the thread, the others are given by that thread's end
// (ss_queue_ops.abandon), or by the balancer.
void ss_notices_give(const smolscale_queue *queue, struct ss_notices *notices)
{
    notices->count = 0;
    for (unsigned i = 0; i < SS_NOTICES_MAX; i++) {
        void *whom = take(notices, i);
        if (whom)
            queue->notify(whom);
    }
}
