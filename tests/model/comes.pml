/* SPDX-License-Identifier: ISC
 *
 * A pusher leaves its item to a worker that is on its way (core/sched/executor.h, ss_worker_comes(); core/sched/idle.c, ss_arrive();
 * core/sched/worker.c, look_for_work(); docs/internals.md, "Parking a worker"). Two queues are listed, the first with work, the second
 * for nothing. A worker is on its way. It arrives under ss.lock, takes the first queue, and wakes another worker if there is work in the
 * second. Meanwhile an item is pushed to the second, under that queue's lock, which the worker does not take.
 * Holds: when all is quiet, a worker was called to the item.
 *
 * broken NO_PUSHER_FENCE: the pusher looks for the worker before its item can be seen
 * broken NO_WORKER_FENCE: the worker looks at the items before it can be seen that it has arrived
 * broken LOOK_BEFORE_ARRIVING: it looks first and says then that it has arrived
 * broken NEVER_ARRIVES: nothing says that it has arrived
 */
#define PROCESSES 2
#define WORDS 2
#include "memory.h"

#define pending 0 /* items in the second queue */
#define comes 1   /* group->comes_until */

bool ss_lock_held, called, pushed;

inline ss_lock()
{
    atomic { buffer[me].count == 0 && !ss_lock_held -> ss_lock_held = true }
}
inline ss_unlock()
{
    atomic { buffer[me].count == 0 -> ss_lock_held = false }
}

/* ss_group_has_demand(), and ss_recruit() */
inline look()
{
    load(pending, old);
    if
    :: old > 0 -> called = true
    :: else -> skip
    fi
}

proctype pusher(byte me)
{
    byte old;
    store(pending, 1);
#ifndef NO_PUSHER_FENCE
    fence();
#endif
    load(comes, old);
    if
    :: old > 0 -> skip
    :: else ->
        /* ss_queue_inject_and_recruit() */
        ss_lock();
        called = true;
        ss_unlock()
    fi;
    pushed = true
}

proctype worker(byte me)
{
    byte old;
    ss_lock();
#ifdef LOOK_BEFORE_ARRIVING
    look();
#endif
#ifndef NEVER_ARRIVES
    store(comes, 0);
#endif
#ifndef NO_WORKER_FENCE
    fence();
#endif
#ifndef LOOK_BEFORE_ARRIVING
    look();
#endif
    ss_unlock()
}

active proctype monitor()
{
    timeout;
    assert(pushed && called)
}

/* The buffers reach memory. */
init
{
    atomic {
        memory[comes] = 1;
        run pusher(0);
        run worker(1)
    }
}
