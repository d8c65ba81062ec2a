/* SPDX-License-Identifier: ISC
 *
 * Waiting until a queue is idle (core/queue/life.c: wait_idle(), note_idle()): two threads wait, a worker ends the last
 * job, another thread pushes one more job in between. Holds: no waiter sleeps for ever, and none returns while
 * something is queued or runs.
 *
 * broken WORD_NOT_COUNTED:       becoming idle does not change the waiters' word
 * broken WORD_READ_UNLOCKED:     the waiter reads the word after it has dropped the lock
 * broken NO_LOOP:                the waiter takes its first wake-up for the end
 * broken FUTEX_DOES_NOT_COMPARE: a sleep begun after the wake-up begins all the same
 */
#define PROCESSES 4
#define WORDS 1
#include "memory.h"

#define idle_word 0

bool lock_held;
byte pending, serving = 1, waiters; /* under the lock; a job runs already */
byte returned;

inline lock()
{
    atomic { buffer[me].count == 0 && !lock_held -> lock_held = true }
}
inline unlock()
{
    atomic { buffer[me].count == 0 -> lock_held = false }
}

/* note_idle() with the lock held, act_on() without. */
inline unlock_and_follow_up()
{
    wakes = false;
    if
    :: pending == 0 && serving == 0 && waiters > 0 ->
        load(idle_word, seen);
#ifndef WORD_NOT_COUNTED
        store(idle_word, seen + 1);
#endif
        wakes = true
    :: else -> skip
    fi;
    unlock();
    if
    :: wakes -> futex_wake_all(idle_word)
    :: else -> skip
    fi
}

proctype waiter(byte me)
{
    byte seen;
    lock();
    do
    :: pending > 0 || serving > 0 ->
#ifndef WORD_READ_UNLOCKED
        load(idle_word, seen);
#endif
        waiters++;
        unlock();
#ifdef WORD_READ_UNLOCKED
        load(idle_word, seen);
#endif
        futex_wait(idle_word, seen);
        lock();
        waiters--;
#ifdef NO_LOOP
        break
#endif
    :: else -> break
    od;
    assert(pending == 0 && serving == 0);
    returned++;
    unlock()
}

proctype worker(byte me)
{
    byte seen, i, jobs;
    bool wakes;
    do
    :: lock();
        if
        :: serving == 1 -> serving = 0; jobs++; unlock_and_follow_up()
        :: else ->
            if
            :: pending > 0 -> pending--; serving = 1; unlock()
            :: else -> unlock(); pending > 0 || jobs == 2
            fi
        fi;
        if
        :: jobs == 2 -> break
        :: else -> skip
        fi
    od
}

proctype pusher(byte me)
{
    lock();
    pending++;
    unlock()
}

active proctype monitor()
{
    timeout;
    assert(returned == 2)
}

init
{
    atomic {
        run waiter(0);
        run waiter(1);
        run worker(2);
        run pusher(3)
    }
}
