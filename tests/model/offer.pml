/* SPDX-License-Identifier: ISC
 *
 * smolscale_block_on() and the workers (core/task/block_on.c: run_on_workers(), carry(), guest_ended()). The thread has a task that is
 * ready to run. It offers it by a carrier, which lies in a run queue, and sleeps; when its time is up it takes the task back,
 * polls it once, and may offer it again if the carrier has been polled meanwhile. A worker polls carriers, or never comes. Who
 * has the task may end it at any poll. The thread leaves, and its stack with it, when the task has ended.
 * Holds: the task is polled by one at a time and ends once; the thread leaves, whether a worker comes or not; nobody touches
 * its stack after that, nor the task after it was freed.
 *
 * broken WITHDRAWN_BY_STORE:     the thread looks at the offer, and then takes it back
 * broken TAKEN_BY_STORE:         the carrier looks at the offer, and then takes it
 * broken LEAVES_AT_THE_END:      the thread leaves when it sees that the task has ended, not when it is told
 * broken CARRIER_HAS_NO_REFERENCE: the carrier may find the task freed
 * broken NEVER_WITHDRAWN:        the thread waits for a worker for ever
 * broken OFFERED_BEFORE_READY:   the task is offered while the thread still polls it
 */
#define PROCESSES 2
#define WORDS 3
#include "memory.h"

#define offer 0
#define woken 1
#define refs 2
#define NONE 0
#define MADE 1
#define TAKEN 2
#define WITHDRAWN 3

bool polled, ended, freed, left, offered_again;
byte carriers; /* in run queues */

inline touch()
{
    assert(!freed)
}
inline unref()
{
    touch();
    fetch_sub(refs, 1, old);
    if
    :: old == 1 -> freed = true
    :: else -> skip
    fi;
    old = 0
}

/* One poll, which may end the task. */
inline poll_once()
{
    touch();
    assert(!polled && !ended);
    polled = true;
    polled = false;
    if
    :: ended = true
    :: skip
    fi
}

proctype worker(byte me)
{
    byte old;
    bool done;
end_never_comes:
    do
    :: atomic { carriers > 0 -> carriers-- };
        touch();
#ifdef TAKEN_BY_STORE
        load(offer, old);
        done = (old == MADE);
        if
        :: done -> store(offer, TAKEN); fence()
        :: else -> skip
        fi;
        old = 0;
#else
        compare_and_swap(offer, MADE, TAKEN, done);
#endif
        if
        :: done ->
            do
            :: !ended -> poll_once()
            :: else -> break
            od;
            /* ss_task_end() has published the end; guest_ended() */
            touch();
            assert(!left);
            exchange(woken, 1, old);
            old = 0
        :: else -> store(offer, NONE)
        fi;
        done = false;
#ifndef CARRIER_HAS_NO_REFERENCE
        unref()
#endif
    od
}

proctype thread(byte me)
{
    byte old;
    bool done;
again:
#ifdef OFFERED_BEFORE_READY
    polled = true;
#endif
#ifndef CARRIER_HAS_NO_REFERENCE
    fetch_add(refs, 1, old);
#endif
    store(offer, MADE);
    fence();
    carriers++;
#ifdef OFFERED_BEFORE_READY
    polled = false;
#endif
    if
    :: memory[woken] == 1 -> goto leave
#ifdef LEAVES_AT_THE_END
    :: ended -> goto leave
#endif
#ifndef NEVER_WITHDRAWN
    :: skip /* its time is up */
#endif
    fi;
#ifdef WITHDRAWN_BY_STORE
    load(offer, old);
    done = (old == MADE);
    if
    :: done -> store(offer, WITHDRAWN); fence()
    :: else -> skip
    fi;
    old = 0;
#else
    compare_and_swap(offer, MADE, WITHDRAWN, done);
#endif
    if
    :: !done ->
#ifdef LEAVES_AT_THE_END
        ended
#else
        memory[woken] == 1
#endif
    :: else ->
        done = false;
        do
        :: !ended ->
            poll_once();
            if
            :: !ended && !offered_again ->
                load(offer, old);
                if
                :: old == NONE -> old = 0; offered_again = true; goto again
                :: else -> old = 0
                fi
            :: else -> skip
            fi
        :: else -> break
        od
    fi;
leave:
    assert(ended);
    left = true;
    unref()
}

active proctype monitor()
{
    timeout;
    assert(left);
    assert(carriers > 0 || freed)
}

init
{
    atomic {
        memory[refs] = 1;
        run thread(0);
        if
        :: run worker(1)
        :: skip /* no thread can be had */
        fi
    }
}
