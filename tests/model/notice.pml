/* SPDX-License-Identifier: ISC
 *
 * A notice that is owed while its worker blocks (core/queue/notices.h; core/sched/blocked.c: ss_holdings(); core/sched/balancer.c: park()). A worker
 * runs two jobs, of one batch or of two: the first leaves a notice (smolscale_notify_soon()), the second never ends,
 * or it does. The balancer parks when it has found nothing twice.
 * Holds: when all is quiet, the notice has been given, once.
 *
 * broken NO_WATCH:            the worker does not see to it that the balancer is awake before a job
 * broken WATCH_FOR_BATCH:     it does so for jobs that it holds, not for notices that it owes
 * broken CLAIMS_ONLY:         the balancer looks only for jobs that have not been claimed
 * broken ENTRIES_THEN_CLAIMS: it looks for notices first, and for jobs that have not been claimed then
 * broken READ_THEN_CLEAR:     a notice is taken in two steps
 */
#define PROCESSES 2
#define WORDS 4
#include "memory.h"

#define balancer_word 0
#define next 1 /* batch.next */
#define end 2  /* batch.end */
#define owed 3

#define PARKED 1
#define AWAKE 2

byte given;
bool stuck;

inline give()
{
#ifdef READ_THEN_CLEAR
    load(owed, old);
    if
    :: old == 1 -> store(owed, 0)
    :: else -> skip
    fi;
#else
    exchange(owed, 0, old);
#endif
    if
    :: old == 1 -> given++
    :: else -> skip
    fi
}

/* ss_follow_up(SS_WAKE_BALANCER); ss_unlock() before it is a fence */
inline watch()
{
    fence();
    load(balancer_word, old);
    if
    :: old == PARKED ->
        compare_and_swap(balancer_word, PARKED, AWAKE, done);
        if
        :: done -> futex_wake_all(balancer_word)
        :: else -> skip
        fi
    :: else -> skip
    fi
}

inline second_job()
{
    if
    :: true -> stuck = true; false /* for ever */
    :: true -> skip
    fi
}

proctype worker(byte me)
{
    byte old, i;
    bool done;
    if
    :: true -> /* both at once: job 0 is the owner's, job 1 is claimed */
        store(end, 2);
        store(next, 1);
#ifdef NO_WATCH
        fence();
#else
        watch();
#endif
        store(owed, 1);
        exchange(next, 2, old);
        second_job()
    :: true -> /* a batch each */
        store(owed, 1);
#ifdef NO_WATCH
        fence();
#else
#ifdef WATCH_FOR_BATCH
        fence();
#else
        watch();
#endif
#endif
        second_job()
    fi;
    give()
}

/* Returns in `any` whether there is something to watch. */
inline look()
{
    any = false;
#ifdef ENTRIES_THEN_CLAIMS
    load(owed, old);
    any = any || old == 1;
#endif
    load(next, old);
    claimed = old;
    load(end, old);
    any = any || claimed < old;
#ifndef ENTRIES_THEN_CLAIMS
#ifndef CLAIMS_ONLY
    load(owed, old);
    any = any || old == 1;
#endif
#endif
}

proctype balancer(byte me)
{
    byte old, quiet, claimed, i;
    bool any, done;
    do
    ::
        look();
        if
        :: any -> give(); quiet = 0 /* the worker seems to stand still */
        :: any && !stuck -> quiet = 0
        :: else -> quiet++
        fi;
        if
        :: quiet < 2 -> skip
        :: else ->
            quiet = 0;
            exchange(balancer_word, PARKED, old);
            look();
            done = false;
            if
            :: any -> compare_and_swap(balancer_word, PARKED, AWAKE, done)
            :: else -> skip
            fi;
            if
            :: !any ->
                do
                :: load(balancer_word, old);
                    if
                    :: old == PARKED -> futex_wait(balancer_word, PARKED)
                    :: else -> break
                    fi
                od
            :: else -> skip
            fi
        fi
    od
}

active proctype monitor()
{
    timeout;
    assert(given == 1)
}

init
{
    atomic {
        memory[balancer_word] = AWAKE;
        run worker(0);
        run balancer(1)
    }
}
