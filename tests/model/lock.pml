/* SPDX-License-Identifier: ISC
 *
 * The core's mutex (core/os/lock.h, core/os/lock.c): three threads take and release it twice each.
 * Holds: never two inside; nobody sleeps for ever while it is free.
 *
 * broken UNLOCK_DOES_NOT_WAKE:    the releaser does not look whether somebody sleeps
 * broken SLOW_PATH_TAKES_AS_HELD: who has slept takes it as HELD, so that further sleepers are forgotten
 * broken FUTEX_DOES_NOT_COMPARE:  a sleep begun after the release begins all the same
 * broken LOAD_THEN_STORE:         the fast path is not one read-modify-write
 */
#define PROCESSES 3
#define WORDS 1
#include "memory.h"

#define lock_word 0
#define FREE 0
#define HELD 1
#define HELD_WITH_SLEEPERS 2

byte inside, finished;

proctype thread(byte me)
{
    byte rounds = 2, old;
    bool done;
    do
    :: rounds > 0 ->
        rounds--;
        /* ss_lock() */
#ifdef LOAD_THEN_STORE
        load(lock_word, old);
        if
        :: old == FREE -> store(lock_word, HELD); done = true
        :: else -> done = false
        fi;
#else
        compare_and_swap(lock_word, FREE, HELD, done);
#endif
        if
        :: done -> skip
        :: else ->
            /* ss_lock_slow() */
            do
            ::
#ifdef SLOW_PATH_TAKES_AS_HELD
                compare_and_swap(lock_word, FREE, HELD, done);
                old = (done -> FREE : HELD);
                if
                :: done -> skip
                :: else -> exchange(lock_word, HELD_WITH_SLEEPERS, old);
                    if
                    :: old == FREE -> done = true
                    :: else -> skip
                    fi
                fi;
#else
                exchange(lock_word, HELD_WITH_SLEEPERS, old);
#endif
                if
                :: old == FREE -> break
                :: else -> futex_wait(lock_word, HELD_WITH_SLEEPERS)
                fi
            od
        fi;
        inside++;
        assert(inside == 1);
        inside--;
        /* ss_unlock() */
        exchange(lock_word, FREE, old);
#ifndef UNLOCK_DOES_NOT_WAKE
        if
        :: old == HELD_WITH_SLEEPERS -> futex_wake_one(lock_word)
        :: else -> skip
        fi
#endif
    :: else -> break
    od;
    finished++
}

active proctype monitor()
{
    timeout;
    assert(finished == 3)
}

init
{
    atomic {
        run thread(0);
        run thread(1);
        run thread(2)
    }
}
