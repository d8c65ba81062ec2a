// SPDX-License-Identifier: ISC
//
// Memory given back: smolscale_trim() asks every room that keeps some for later use (base/room.h).

#include "base/room.h"
#include "os/lock.h"
#include "smolscale.h"

static struct ss_lock trimming = SS_LOCK_INIT; // one thread at a time

// Nothing that the rooms do here waits for the program, so a thread that waits for another's trim
// waits for the work of that alone.
size_t smolscale_trim(void)
{
    size_t bytes = 0;
    ss_lock(&trimming);
    for (const struct ss_room *const *room = ss_rooms; *room; room++)
        if ((*room)->trim)
            bytes += (*room)->trim();
    ss_unlock(&trimming);
    return bytes;
}

static void after_fork(void)
{
    ss_lock_reset(&trimming);
}

SS_ROOM(process_trim, NULL, after_fork);
