/* SPDX-License-Identifier: ISC
 *
 * A spawner's orders and its end (core/sched/spawner.c: spawn(), ss_spawner_serve(), order_and_wait(), forget(), end(),
 * end_unneeded(), ss_hand_over(); docs/internals.md, "Who creates a worker"). Two pushers need the first worker of
 * the spawner's group and wait for it; each creation may fail, that of the spawner's own thread included. A worker
 * of another group that has the same spawner leaves; whoever frees that group then asks the spawner to end. The
 * balancer passes its role on to the spawner at any time. A kick is a wake-up like any other here: balancer.pml
 * and role.pml have the rest. Holds: when all is quiet, each pusher has a worker or the error of a creation, who
 * frees the group has an answer, the spawner is gone if nobody needs it, and the role is a living thread's.
 *
 * large
 *
 * broken NO_ANSWER_AT_END:        a spawner that ends does not count an answer
 * broken NO_WAKE_AT_END:          it counts one and wakes nobody
 * broken ENDS_IN_TWO_STEPS:       it finds that nobody needs it, drops the lock, and is forgotten then
 * broken ANSWER_NOT_COUNTED:      served orders wake who waits, but the word stays as it is
 * broken ORDER_NOT_COUNTED:       an order wakes the spawner, but its word stays as it is
 * broken WORD_READ_LATE:          the spawner reads its word after it has looked at the orders
 * broken UNBORN_DOES_NOT_ANSWER:  where its thread could not be created nobody tells who asked it to end
 * broken NO_REFUSAL:              a spawner that was asked to end and is needed does not say so
 * broken FAILURE_KEEPS_ORDERS:    after a failed creation the orders stand, and no error is noted
 * broken ROLE_TO_UNBORN:          the role may go to a spawner whose thread is not there yet
 * broken FUTEX_DOES_NOT_COMPARE:  a sleep begun after the wake-up begins all the same
 */
#define PROCESSES 5
#define WORDS 3
#include "memory.h"

#define answers 0 /* ss.spawn_answers */
#define word 1    /* spawner->word */
#define end_word 2

#define RUNS 0
#define ASKED 1
#define REFUSED 2
#define GONE 3

/* under ss.lock */
bool ss_lock_held;
bool listed = true; /* the spawner is in ss.spawners */
bool born;          /* its tid is there */
bool balances;
byte ordered, workers, waiting; /* of the pushers' group */
bool failed;
byte others = 1; /* workers of the other group */

byte finished; /* pushers */
bool freed, handed_over, alive;
byte failures = 2; /* that may still happen: without a bound there would be no quiet */

inline ss_lock()
{
    atomic { buffer[me].count == 0 && !ss_lock_held -> ss_lock_held = true }
}
inline ss_unlock()
{
    atomic { buffer[me].count == 0 -> ss_lock_held = false }
}

/* Under the lock, counted and woken, as all of tell(), answers and end are. */
inline add_one(w)
{
    load(w, old);
    store(w, old + 1);
    old = 0
}

inline tell()
{
#ifndef ORDER_NOT_COUNTED
    add_one(word);
#endif
    futex_wake_all(word)
}

inline forget()
{
    listed = false;
    ordered = 0;
#ifndef NO_ANSWER_AT_END
    add_one(answers)
#endif
}

inline create(ok)
{
    if
    :: ok = true
    :: atomic { failures > 0 -> failures--; ok = false }
    fi
}

proctype pusher(byte me)
{
    byte old, seen, i;
    bool ok, error;
    ss_lock();
    do
    :: workers > 0 -> break
    :: workers == 0 && !listed ->
        workers++;
        ss_unlock();
        create(ok);
        ss_lock();
        if
        :: ok -> skip
        :: else -> workers--; error = true; break
        fi
    :: workers == 0 && listed ->
        waiting++;
        failed = false;
        ordered = 1;
        tell();
        do
        :: ordered > 0 && workers == 0 ->
            load(answers, seen);
            ss_unlock();
            futex_wait(answers, seen);
            ss_lock()
        :: else -> break
        od;
        waiting--;
        error = failed;
        if
        :: error -> break
        :: else -> skip
        fi
    od;
    assert(workers > 0 || error);
    ss_unlock();
    finished++
}

/* Whatever is ordered; the lock is not held before and after. */
inline serve()
{
    ss_lock();
    do
    :: ordered > 0 ->
        ordered--;
        workers++;
        ss_unlock();
        create(ok);
        ss_lock();
        if
        :: ok -> skip
        :: else ->
            workers--;
#ifdef FAILURE_KEEPS_ORDERS
            ordered = 1;
#else
            ordered = 0;
            failed = true;
#endif
            break
        fi
    :: else -> break
    od;
    any = waiting > 0;
    if
    :: any ->
#ifndef ANSWER_NOT_COUNTED
        add_one(answers)
#else
        skip
#endif
    :: else -> skip
    fi;
    ss_unlock();
    if
    :: any -> futex_wake_all(answers)
    :: else -> skip
    fi
}

proctype spawner(byte me)
{
    byte old, seen, i;
    bool ok, any, needed, refused, asked;
    create(ok); /* its own thread, by whoever made it */
    if
    :: !ok ->
        ss_lock();
        forget();
        ss_unlock();
#ifdef UNBORN_DOES_NOT_ANSWER
        futex_wake_all(answers);
        goto over
#else
        goto ends
#endif
    :: else -> skip
    fi;
    ss_lock();
    born = true;
    alive = true;
    ss_unlock();
    do
    ::
#ifndef WORD_READ_LATE
        load(word, seen);
#endif
        serve();
        ss_lock();
#ifdef WORD_READ_LATE
        load(word, seen);
#endif
        needed = balances || workers > 0 || ordered > 0 || others > 0;
#ifdef ENDS_IN_TWO_STEPS
        ss_unlock();
        ss_lock();
#endif
        if
        :: !needed -> forget()
        :: else -> skip
        fi;
        load(end_word, old);
        refused = needed && old == ASKED;
#ifdef NO_REFUSAL
        refused = false;
#endif
        if
        :: refused -> store(end_word, REFUSED)
        :: else -> skip
        fi;
        ss_unlock();
        if
        :: refused -> futex_wake_all(end_word)
        :: else -> skip
        fi;
        if
        :: needed -> futex_wait(word, seen)
        :: else -> break
        fi
    od;
ends: /* end() */
    ss_lock();
    load(end_word, old);
    asked = old == ASKED;
    store(end_word, GONE);
    alive = false;
    ss_unlock();
#ifndef NO_WAKE_AT_END
    futex_wake_all(answers);
#endif
    if
    :: asked -> futex_wake_all(end_word)
    :: else -> skip
    fi;
over:
    skip
}

/* The other group: its last worker leaves, and smolscale_group_free() looks for spawners to end. */
proctype freer(byte me)
{
    byte old, i;
    bool asks;
    ss_lock();
    others = 0;
    ss_unlock();
    ss_lock();
    asks = listed && !balances && workers == 0 && ordered == 0;
    if
    :: asks -> store(end_word, ASKED)
    :: else -> skip
    fi;
    tell(); /* if it needs none, the last worker's spawner looks itself, here and in the code's groups freed from within */
    ss_unlock();
    if
    :: asks ->
        do
        :: load(end_word, old);
            if
            :: old == ASKED -> futex_wait(end_word, ASKED)
            :: else -> break
            fi
        od
    :: else -> skip
    fi;
    freed = true
}

proctype balancer(byte me)
{
    byte old, i;
    if
    :: true -> /* it may come to that, or not */
        ss_lock();
        if
#ifdef ROLE_TO_UNBORN
        :: listed ->
#else
        :: listed && born ->
#endif
            balances = true;
            handed_over = true;
            tell()
        :: else -> skip
        fi;
        ss_unlock()
    :: true -> skip
    fi
}

active proctype monitor()
{
    timeout;
    assert(finished == 2);
    assert(freed);
    assert(!handed_over || alive);
    assert(!alive || handed_over || workers > 0)
}

init
{
    atomic {
        run pusher(0);
        run pusher(1);
        run spawner(2);
        run freer(3);
        run balancer(4)
    }
}
