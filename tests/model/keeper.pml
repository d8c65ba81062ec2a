/* SPDX-License-Identifier: ISC
 *
 * Who wakes for a timer (core/sched/idle.c: keep_time(), ss_park(); core/sched/worker.c: next(); core/sched/balancer.c: park(), until_timer();
 * ss_time_is_kept() in core/sched/duty.h). Worker 0 puts in a timer that is due soon, while there is one that is due very late; then
 * it parks, or takes a job that lasts for ever. Worker 1 is parked and keeps the late time, or is just about to park; perhaps
 * another thread gives it to a dedicated queue. The balancer sleeps, or is about to.
 * Holds: the soon timer is fired, although the late one's time does not come.
 *
 * broken LATER_KEEPER_COUNTS:       a keeper counts whenever it wakes
 * broken PARKS_WITHOUT_KEEPING:     who parks does not become the keeper where there is none
 * broken JOB_WITHOUT_WATCH:         who takes a job does not tell the balancer
 * broken ADOPTED_WITHOUT_WATCH:     who takes the keeper away does not tell the balancer
 * broken ADOPTED_KEEPER_COUNTS:     the keeper still counts when it was taken away
 * broken LOOK_BEFORE_ANNOUNCING:    the balancer looks for timers, and then says that it sleeps
 * broken WATCH_WITHOUT_FENCE:       the timer may still be on its way to memory when its worker looks for the balancer
 */
#define PROCESSES 4
#define WORDS 4
#include "memory.h"

#define next_due 0
#define keeper 1 /* 0: nobody; else the worker's number + 1 */
#define until 2
#define balancer 3
#define SOON 1
#define LATE 2
#define PARKED 1
#define AWAKE 2

bool ss_lock_held, parked_one, adopted;
bool fired;

inline ss_lock()
{
    atomic { buffer[me].count == 0 && !ss_lock_held -> ss_lock_held = true }
}
inline ss_unlock()
{
    atomic { buffer[me].count == 0 -> ss_lock_held = false }
}

/* ss_time_is_kept(), with or without the lock */
inline is_kept()
{
    load(next_due, due);
    load(keeper, who);
    load(until, when);
#ifdef LATER_KEEPER_COUNTS
    kept = (who != 0);
#else
    kept = (who != 0 && when <= due);
#endif
    due = 0;
    who = 0;
    when = 0
}

inline watch()
{
    load(balancer, who);
    if
    :: who == PARKED -> compare_and_swap(balancer, PARKED, AWAKE, kept)
    :: else -> skip
    fi;
    who = 0
}

/* With the lock held. */
inline keep_time()
{
    load(next_due, due);
    load(keeper, who);
    load(until, when);
    if
#ifdef PARKS_WITHOUT_KEEPING
    :: who == 0 && due == SOON -> skip
#endif
    :: who != 0 && when <= due -> skip
    :: else ->
        store(until, due);
        store(keeper, me + 1)
    fi;
    due = 0;
    who = 0;
    when = 0
}

inline fire()
{
    store(next_due, LATE);
    fired = true
}

proctype inserter(byte me)
{
    byte due, who, when;
    bool kept;
    fence(); /* the timers' lock, which is dropped by a plain store */
    store(next_due, SOON);
    if
    :: /* parks */
        ss_lock();
        keep_time();
        ss_unlock();
        memory[keeper] == me + 1 && memory[until] == SOON; /* nobody else is asked */
        fire()
    :: /* a job */
#ifndef WATCH_WITHOUT_FENCE
        ss_lock();
        ss_unlock();
#endif
        is_kept();
#ifndef JOB_WITHOUT_WATCH
        if
        :: !kept -> watch()
        :: else -> skip
        fi
#endif
    fi
}

/* Parked on the idle list, unless it was adopted. */
proctype other(byte me; bool parked_before)
{
    byte due, who, when;
    if
    :: parked_before -> skip
    :: else ->
        ss_lock();
        keep_time();
        parked_one = true;
        ss_unlock()
    fi;
    memory[keeper] == me + 1 && memory[until] == SOON;
    ss_lock();
    if
    :: !adopted -> fire()
    :: else -> skip /* it looks, and sleeps on */
    fi;
    ss_unlock()
}

proctype adopter(byte me)
{
    byte due, who, when;
    bool kept;
    if
    :: skip
    ::
        parked_one;
        ss_lock();
        adopted = true;
        load(keeper, who);
        if
#ifndef ADOPTED_KEEPER_COUNTS
        :: who == 2 -> store(keeper, 0)
#endif
        :: else -> skip
        fi;
        who = 0;
        ss_unlock();
#ifndef ADOPTED_WITHOUT_WATCH
        is_kept();
        if
        :: !kept -> watch()
        :: else -> skip
        fi
#endif
    fi
}

proctype the_balancer(byte me)
{
    byte due, who, when;
    bool kept;
end_sleep:
    do
    ::
        memory[balancer] == AWAKE;
        is_kept();
        if
        :: !kept ->
            /* it sleeps until the next timer is due, and fires it unless it is kept by now */
            if
            :: memory[next_due] == SOON -> fire()
            :: memory[next_due] == LATE -> skip
            fi
        :: else -> skip
        fi;
#ifdef LOOK_BEFORE_ANNOUNCING
        ss_lock();
        is_kept();
        ss_unlock();
        exchange(balancer, PARKED, who);
#else
        exchange(balancer, PARKED, who);
        ss_lock();
        is_kept();
        ss_unlock();
#endif
        who = 0;
        if
        :: !kept && !fired -> compare_and_swap(balancer, PARKED, AWAKE, kept)
        :: else -> skip
        fi
    od
}

active proctype monitor()
{
    timeout;
    assert(fired)
}

init
{
    atomic {
        memory[next_due] = LATE;
        memory[until] = SOON; /* of a keeper that was */
        if
        :: memory[keeper] = 2; memory[until] = LATE; parked_one = true; run other(1, true)
        :: run other(1, false)
        fi;
        if
        :: memory[balancer] = AWAKE
        :: memory[balancer] = PARKED
        fi;
        run inserter(0);
        run adopter(2);
        run the_balancer(3)
    }
}
