/* SPDX-License-Identifier: ISC
 *
 * The balancer's end against those who need one (core/sched/balancer.c: resign(), sleep_until_needed(), ss_wake_balancer(),
 * ss_hurry_balancer(); core/sched/spawner.c: ss_balancer_end(), ss_start_balancer(), end_unneeded(); docs/internals.md,
 * "The end of a group, of a spawner, of the balancer"). The last worker leaves; whoever frees its group then asks
 * the balancer to end. Meanwhile a thread puts a timer in, without ss.lock; or one asks for a worker, under it,
 * and kicks. Two threads may have the role in turn: whoever finds none starts one. Holds: when all is quiet, timer
 * and request have been seen to, who asked has an answer, and no balancer is left, or said to be there.
 *
 * large
 *
 * broken KICK_OVERWRITES_NONE:   a kick is an exchange, as if there were a balancer
 * broken NO_LOOK_AFTER_ANNOUNCING: resign() looks before it announces NONE and not after
 * broken NO_BALANCER_FENCE:      NONE is announced by a plain store
 * broken NO_PUBLISHER_FENCE:     unlock is a plain store, and no fence follows it
 * broken ENDS_WITHOUT_LOCK:      resign() and being forgotten are not one section
 * broken REST_NOT_LOOKED_AT:     before it sleeps it looks neither whether it may end nor whether it was asked to
 */
#define PROCESSES 4
#define WORDS 4
#include "memory.h"

#define balancer_word 0
#define timer 1 /* ss_duties.due is not SS_FOREVER */
#define end_word(b) (2 + b)

#define NONE 0
#define PARKED 1
#define AWAKE 2
#define KICKED 3

#define RUNS 0
#define ASKED 1
#define REFUSED 2
#define GONE 3

/* under ss.lock */
bool ss_lock_held;
bool spawner[2]; /* is in ss.spawners */
byte workers = 1;
bool requested;

byte started[2]; /* threads created: start of a life */
bool alive[2];
byte fired, answered;
bool published, kicked, freed;

inline ss_lock()
{
    atomic { buffer[me].count == 0 && !ss_lock_held -> ss_lock_held = true }
}
inline ss_unlock()
{
    atomic { buffer[me].count == 0 -> ss_lock_held = false }
}

inline start_balancer()
{
    compare_and_swap(balancer_word, NONE, AWAKE, done);
    if
    :: done ->
        /* a structure that nobody has */
        if
        :: atomic { !alive[0] -> alive[0] = true; slot = 0 }
        :: atomic { alive[0] && !alive[1] -> alive[1] = true; slot = 1 }
        fi;
        ss_lock();
        spawner[slot] = true;
        store(end_word(slot), RUNS);
        ss_unlock();
        started[slot]++;
        slot = 0
    :: else -> skip
    fi
}

inline watch()
{
    load(balancer_word, old);
    if
    :: old == PARKED ->
        compare_and_swap(balancer_word, PARKED, AWAKE, done);
        if
        :: done -> futex_wake_all(balancer_word)
        :: else ->
            load(balancer_word, old);
            if
            :: old == NONE -> start_balancer()
            :: else -> skip
            fi
        fi
    :: old == NONE -> start_balancer()
    :: else -> skip
    fi
}

inline kick()
{
#ifdef KICK_OVERWRITES_NONE
    load(balancer_word, old);
    if
    :: old == NONE -> start_balancer()
    :: else -> skip
    fi;
    exchange(balancer_word, KICKED, old);
    if
    :: old != KICKED -> futex_wake_all(balancer_word)
    :: else -> skip
    fi
#else
    do
    :: load(balancer_word, old);
        if
        :: old == NONE -> start_balancer()
        :: else ->
            compare_and_swap(balancer_word, old, KICKED, done);
            if
            :: done -> break
            :: else -> skip
            fi
        fi
    od;
    if
    :: old != KICKED -> futex_wake_all(balancer_word)
    :: else -> skip
    fi
#endif
}

/* In `any`: is there something to watch? ss.lock held. */
inline look()
{
    load(timer, old);
    any = old > 0 || requested
}

/* Under ss.lock; in `ends`. */
inline resign()
{
    ends = false;
    look();
    if
    :: any -> skip
    :: else ->
#ifdef NO_BALANCER_FENCE
        store(balancer_word, NONE);
#else
        exchange(balancer_word, NONE, old);
#endif
#ifdef NO_LOOK_AFTER_ANNOUNCING
        any = false;
#else
        look();
#endif
        ends = true;
        if
        :: any -> compare_and_swap(balancer_word, NONE, AWAKE, done); ends = !done
        :: else -> skip
        fi
    fi
}

proctype balancer(byte me)
{
    byte old, i;
    bool any, done, ends, asked, at_rest;
end_dormant:
    do
    :: atomic { started[me] > 0 -> started[me]-- };
        do
        ::
            /* tick() */
            ss_lock();
            if
            :: requested -> requested = false; answered++
            :: else -> skip
            fi;
            ss_unlock();
            load(timer, old);
            if
            :: old > 0 -> atomic { buffer[me].count == 0 -> memory[timer] = 0; fired++ }
            :: else -> skip
            fi;
            /* ss_balancer_end() */
            ss_lock();
            at_rest = workers == 0 && !spawner[1 - me];
            ends = false;
            if
            :: at_rest -> resign()
            :: else -> skip
            fi;
#ifdef ENDS_WITHOUT_LOCK
            ss_unlock();
            ss_lock();
#endif
            if
            :: ends -> spawner[me] = false
            :: else -> skip
            fi;
            load(end_word(me), old);
            asked = old == ASKED;
            if
            :: asked && !ends -> store(end_word(me), REFUSED)
            :: else -> skip
            fi;
            ss_unlock();
            if
            :: asked && !ends -> futex_wake_all(end_word(me))
            :: else -> skip
            fi;
            if
            :: ends -> break
            :: else -> skip
            fi;
            /* park() */
            exchange(balancer_word, PARKED, old);
            ss_lock();
            look();
            load(end_word(me), old);
#ifndef REST_NOT_LOOKED_AT
            any = any || old == ASKED || (workers == 0 && !spawner[1 - me]);
#endif
            ss_unlock();
            done = false;
            if
            :: any -> compare_and_swap(balancer_word, PARKED, AWAKE, done)
            :: else -> skip
            fi;
            if
            :: done || any -> skip
            :: else ->
                do
                :: load(balancer_word, old);
                    if
                    :: old == PARKED -> futex_wait(balancer_word, PARKED)
                    :: else -> break
                    fi
                od
            fi;
            compare_and_swap(balancer_word, KICKED, AWAKE, done)
        od;
        /* end() */
        ss_lock();
        load(end_word(me), old);
        asked = old == ASKED;
        store(end_word(me), GONE);
        ss_unlock();
        if
        :: asked -> futex_wake_all(end_word(me)) /* the structure is whoever asked's */
        :: else -> alive[me] = false
        fi
    od
}

/* A thread that is no worker sleeps until a time. */
proctype publisher(byte me)
{
    byte old, i, slot;
    bool done;
    store(timer, 1);
#ifndef NO_PUBLISHER_FENCE
    fence();
#endif
    watch();
    published = true
}

proctype requester(byte me)
{
    byte old, i, slot;
    bool done;
    ss_lock();
    requested = true;
    ss_unlock();
    kick();
    kicked = true
}

/* The last worker leaves; then its group is freed. */
proctype freer(byte me)
{
    byte old, i, slot, b = 9;
    bool done;
    ss_lock();
    workers = 0;
    ss_unlock();
    watch();
    ss_lock();
    if
    :: spawner[0] && !spawner[1] -> b = 0
    :: spawner[1] && !spawner[0] -> b = 1
    :: else -> skip
    fi;
    if
    :: b != 9 -> store(end_word(b), ASKED)
    :: else -> skip
    fi;
    ss_unlock();
    if
    :: b != 9 ->
        kick();
        do
        :: load(end_word(b), old);
            if
            :: old == ASKED -> futex_wait(end_word(b), ASKED)
            :: else -> break
            fi
        od;
        if
        :: old == GONE -> alive[b] = false
        :: else -> skip
        fi
    :: else -> skip
    fi;
    freed = true
}

active proctype monitor()
{
    timeout;
    assert((published || kicked) && freed);
    assert(fired == published);
    assert(answered == kicked);
    assert(!alive[0] && !alive[1]);
    assert(memory[balancer_word] == NONE)
}

init
{
    atomic {
        memory[balancer_word] = AWAKE;
        spawner[0] = true;
        alive[0] = true;
        started[0] = 1;
        run balancer(0);
        run balancer(1);
        if
        :: run publisher(2)
        :: run requester(2)
        fi;
        run freer(3)
    }
}
