/* SPDX-License-Identifier: ISC
 *
 * Workers that park, submitters that wake them, the hand-over from a worker on its way to the next, and retirement
 * (core/sched/worker.c: next(); idle.c: ss_park(), ss_take_idle(), ss_unpark_list(); recruit.c: ss_recruit(); core/queue/wake_policy.h: ss_queue_call_worker();
 * core/queue/serve.c: serve()).
 * One work queue of three items, two workers. One submitter pushes a single item, another a burst, waking
 * several by a list whose links are the workers' own. The last two jobs wait for one another: both must run at once.
 * The balancer, who would make up for much, is left out. Holds: when all is
 * quiet, all three jobs have run.
 *
 * broken LOOK_AND_PARK_APART:     a worker looks for work, drops the lock, and goes onto the idle list
 * broken NO_HAND_OVER:            a worker that arrives does not wake the next
 * broken WAKE_BEFORE_WORD:        the waker wakes before it changes the word
 * broken FUTEX_DOES_NOT_COMPARE:  a sleep begun after the wake-up begins all the same
 * broken AWAKE_BEFORE_LINK_READ:  a worker is set free before its waker has read the list's link in it
 * broken LISTED_FOR_EVER:         who pops the queue does not say so, so that later pushes do not list it
 */
#define WORKERS 2
#define PROCESSES 4
#define WORDS 2 /* park, of each worker */
#include "memory.h"

#define AWAKE 0
#define PARKED 1
#define NONE 9

/* under the queue's lock */
bool queue_lock_held;
byte pending, serving;
bool listed;

/* under ss.lock */
bool ss_lock_held;
bool injected;
byte idle_head = NONE, idle_next[WORKERS], workers = WORKERS, waking;
bool idle[WORKERS], summoned[WORKERS], gone[WORKERS];

byte started, ended;
byte retirements = 1; /* that may still happen; without a bound there would be no quiet */

inline queue_lock()
{
    atomic { buffer[me].count == 0 && !queue_lock_held -> queue_lock_held = true }
}
inline queue_unlock()
{
    atomic { buffer[me].count == 0 -> queue_lock_held = false }
}
inline ss_lock()
{
    atomic { buffer[me].count == 0 && !ss_lock_held -> ss_lock_held = true }
}
inline ss_unlock()
{
    atomic { buffer[me].count == 0 -> ss_lock_held = false }
}

inline remove_idle(w)
{
    d_step {
        if
        :: idle_head == w -> idle_head = idle_next[w]
        :: else -> idle_next[idle_head] = idle_next[w] /* two workers: the other one is the head */
        fi;
        idle[w] = false
    }
}

/* ss_take_idle(): the head of the idle list; the waker owns it from now on. */
inline summon(w)
{
    w = idle_head;
    remove_idle(w);
    summoned[w] = true;
    waking++;
#ifdef AWAKE_BEFORE_LINK_READ
    store(w, AWAKE)
#endif
}

/* A new worker in the structure of one that has retired; on its way as one that was woken. */
inline create()
{
    d_step {
        i = 0;
        do
        :: !gone[i] -> i++
        :: else -> break
        od;
        gone[i] = false;
        summoned[i] = true;
        workers++;
        waking++;
        i = 0
    }
}

/* call_worker(): lists the queue if it may start a job, and recruits. Queue's lock held. */
inline call_worker(w)
{
    w = NONE;
    if
    :: pending > 0 && serving < 2 ->
        ss_lock();
        if
        :: !listed -> listed = true; injected = true
        :: else -> skip
        fi;
        /* ss_recruit() */
        if
        :: waking > 0 -> skip /* covered: it will look, and wake the next */
        :: waking == 0 && idle_head != NONE -> summon(w)
        :: waking == 0 && idle_head == NONE && workers < WORKERS -> create()
        :: else -> skip /* all are busy, and come by when they finish */
        fi;
        ss_unlock()
    :: else -> skip
    fi
}

/* ss_unpark() */
inline unpark(w)
{
    if
    :: w != NONE ->
#ifdef WAKE_BEFORE_WORD
        futex_wake_all(w);
        store(w, AWAKE)
#else
        store(w, AWAKE);
        futex_wake_all(w)
#endif
    :: else -> skip
    fi
}

/* Sections under a lock are one step each, as far as they do not wait: nobody else sees what is in between. */
proctype submitter(byte me)
{
    byte w, i;
    atomic {
        queue_lock();
        pending++;
        call_worker(w);
        queue_unlock()
    }
    unpark(w);
    w = 0
}

/* smolscale_queue_push_many(), and the balancer's way to wake several. */
proctype burst(byte me)
{
    byte w, i, list = NONE;
    atomic {
        queue_lock();
        pending = pending + 2;
        call_worker(w);
        ss_lock();
        if
        :: w != NONE -> idle_next[w] = NONE; list = w
        :: else -> skip
        fi;
        do
        :: idle_head != NONE -> summon(w); idle_next[w] = list; list = w
        :: else -> break
        od;
        ss_unlock();
        queue_unlock()
    }
    /* ss_unpark_list() */
    do
    :: list != NONE ->
        w = list;
        list = idle_next[w];
        unpark(w)
    :: else -> break
    od;
    w = 0
}

proctype worker(byte me)
{
    byte w, i, word, number;
    bool exits;
next:
    do
    :: atomic {
            ss_lock();
            if
            :: summoned[me] -> summoned[me] = false; waking--
            :: else -> skip
            fi;
            if
            :: injected -> injected = false; ss_unlock(); goto serve
            :: !injected && exits ->
                exits = false;
                workers--;
                gone[me] = true;
                ss_unlock();
                !gone[me]; /* a new one starts here */
                goto next
            :: else -> skip
            fi;
#ifdef LOOK_AND_PARK_APART
            ss_unlock()
        }
        atomic {
            ss_lock();
#endif
            /* park() */
            idle_next[me] = idle_head;
            idle_head = me;
            idle[me] = true;
            store(me, PARKED);
            ss_unlock()
        }
        do
        ::
            load(me, word);
            if
            :: word != PARKED -> word = 0; break
            :: else -> word = 0
            fi;
            if
            :: futex_wait(me, PARKED)
            :: atomic {
                    retirements > 0 -> /* the time is up */
                    retirements--;
                    ss_lock();
                    if
                    :: idle[me] -> remove_idle(me); exits = true; word = 0; ss_unlock(); break
                    :: else -> ss_unlock()
                    fi
                }
            fi
        od
    od;

serve:
    atomic {
        queue_lock();
#ifndef LISTED_FOR_EVER
        listed = false;
#endif
        if
        :: pending == 0 || serving == 2 -> queue_unlock(); goto next
        :: else -> skip
        fi;
        serving++
    }
    do
    ::
        atomic {
            pending--;
            w = NONE;
#ifndef NO_HAND_OVER
            call_worker(w);
#endif
            queue_unlock()
        }
        unpark(w);
        /* the job */
        atomic { started++; number = started };
        if
        :: number >= 2 -> started >= 3
        :: else -> skip
        fi;
        atomic {
            number = 0;
            ended++;
            queue_lock();
            if
            :: pending == 0 -> break
            :: else -> skip
            fi
        }
    od;
    atomic {
        serving--;
        call_worker(w);
        queue_unlock()
    }
    unpark(w);
    w = 0;
    goto next
}

active proctype monitor()
{
    timeout;
    assert(ended == 3)
}

init
{
    atomic {
        run worker(0);
        run worker(1);
        run submitter(2);
        run burst(3)
    }
}
