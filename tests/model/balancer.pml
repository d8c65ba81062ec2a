/* SPDX-License-Identifier: ISC
 *
 * The balancer goes to sleep while work is published (core/sched/balancer.c, sleep_until_needed(), ss_wake_balancer() and
 * ss_hurry_balancer(); docs/internals.md, "Waking the balancer"). One thread publishes work twice, under its
 * queue's lock, which the balancer does not take; another asks for a worker (under ss.lock) and kicks.
 * Holds: when all is quiet, the balancer has seen all of it. (DOZING is PARKED with a limit in time; here it never ends by itself.)
 *
 * broken NO_PUBLISHER_FENCE:     unlock is a plain store, and no fence follows it
 * broken NO_BALANCER_FENCE:      PARKED is announced by a plain store
 * broken NO_SECOND_LOOK:         the balancer sleeps without having looked after its announcement
 * broken LOOK_BEFORE_ANNOUNCING: it looks first and announces then
 * broken WAKE_WITHOUT_WORD:      the publisher wakes but leaves the word PARKED
 * broken FUTEX_DOES_NOT_COMPARE: a sleep begun after the wake-up begins all the same
 * broken REQUEST_NOT_LOOKED_AT:  park() does not look for requests, and its exchange takes a kick away
 */
#define PROCESSES 3
#define WORDS 3
#include "memory.h"

#define balancer_word 0
#define pending 1   /* what the hints of the queues say: items that wait */
#define requested 2 /* ss.shared.spawn_requested; under ss.lock */

#define PARKED 1
#define AWAKE 2
#define KICKED 3

bool ss_lock_held;
byte served, answered;
bool published_all, kicked_all;

inline ss_lock()
{
    atomic { buffer[me].count == 0 && !ss_lock_held -> ss_lock_held = true }
}
inline ss_unlock()
{
    atomic { buffer[me].count == 0 -> ss_lock_held = false }
}

/* Returns in `any` whether there is something to watch. */
inline look()
{
    ss_lock();
    load(pending, old);
    any = old > 0;
#ifndef REQUEST_NOT_LOOKED_AT
    load(requested, old);
    any = any || old > 0;
#endif
    ss_unlock()
}

proctype publisher(byte me)
{
    byte rounds = 2, old, i;
    bool done;
    do
    :: rounds > 0 ->
        rounds--;
        /* an item, under the queue's lock; taken by a worker sooner or later, here by the balancer */
        memory[pending] == 0;
        store(pending, 1);
#ifndef NO_PUBLISHER_FENCE
        fence(); /* the unlock's exchange; elsewhere fence_after_rmw() */
#endif
        load(balancer_word, old);
        if
        :: old == PARKED ->
#ifdef WAKE_WITHOUT_WORD
            futex_wake_all(balancer_word)
#else
            compare_and_swap(balancer_word, PARKED, AWAKE, done);
            if
            :: done -> futex_wake_all(balancer_word)
            :: else -> skip
            fi
#endif
        :: else -> skip
        fi
    :: else -> break
    od;
    published_all = true
}

proctype requester(byte me)
{
    byte old, i;
    ss_lock();
    store(requested, 1);
    ss_unlock();
    /* ss_hurry_balancer() */
    exchange(balancer_word, KICKED, old);
    if
    :: old != KICKED -> futex_wake_all(balancer_word)
    :: else -> skip
    fi;
    kicked_all = true
}

proctype balancer(byte me)
{
    byte old, quiet;
    bool any, done;
    do
    ::
        /* tick() */
        ss_lock();
        load(requested, old);
        if
        :: old > 0 -> store(requested, 0); answered++
        :: else -> skip
        fi;
        load(pending, old);
        ss_unlock();
        if
        :: old > 0 ->
            atomic { memory[pending] = 0; served++ };
            quiet = 0
        :: else -> quiet++
        fi;
        if
        :: quiet < 2 -> skip /* a timed sleep, which ends by itself */
        :: else ->
            quiet = 0;
            /* park() */
#ifdef LOOK_BEFORE_ANNOUNCING
            look();
            exchange(balancer_word, PARKED, old);
#else
#ifdef NO_BALANCER_FENCE
            store(balancer_word, PARKED);
#else
            exchange(balancer_word, PARKED, old);
#endif
#ifdef NO_SECOND_LOOK
            any = false;
#else
#ifdef NO_BALANCER_FENCE
            load(pending, old); /* in look() the lock would stand in for the fence */
            any = old > 0;
#else
            look();
#endif
#endif
#endif
            done = false;
            if
            :: any -> compare_and_swap(balancer_word, PARKED, AWAKE, done)
            :: else -> skip
            fi;
            if
            :: done -> skip
            :: else ->
                do
                :: load(balancer_word, old);
                    if
                    :: old == PARKED -> futex_wait(balancer_word, PARKED)
                    :: else -> break
                    fi
                od
            fi
        fi;
        compare_and_swap(balancer_word, KICKED, AWAKE, done)
    od
}

active proctype monitor()
{
    timeout;
    assert(published_all && kicked_all);
    assert(served == 2);
    assert(answered == 1)
}

init
{
    atomic {
        memory[balancer_word] = AWAKE;
        run publisher(0);
        run requester(1);
        run balancer(2)
    }
}
