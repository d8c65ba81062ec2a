/* SPDX-License-Identifier: ISC
 *
 * The end of a group (core/sched/group.c: smolscale_group_free(), wait_for_end(); core/sched/worker.c: leave(), end_joined(),
 * ss_start_worker(); docs/internals.md, "The end of a group"). Three workers: one is being created, which may
 * fail; each leaves by itself at any time, or when it is told to. smolscale_group_free() is called by a thread
 * outside, or by the first worker in its job. How a sleeping worker is told is park.pml's affair. Holds: free
 * returns; by then every thread that left after it had begun has ended and was joined, once; when all is quiet,
 * each other thread was detached.
 *
 * broken END_NOT_COUNTED:             a worker that has ended wakes who frees, but the word stays as it is
 * broken FAILED_CREATION_NOT_COUNTED: the same where a worker could not be created
 * broken LEAVING_NOT_WAITED_FOR:      free waits for the number of workers only
 * broken NO_CHAIN:                    a worker that ends does not join the one that ended before it
 * broken TAKEN_WITHOUT_LOCK:          it looks for that one and puts itself there in two steps
 * broken WAITS_FOR_ITSELF:            a worker that frees its own group waits for itself as well
 * broken JOINED_FOR_EVER:             the group still promises to join after free has joined
 * broken LATE_PROMISE:                whether its thread will be joined a worker decides after it has left
 * broken FUTEX_DOES_NOT_COMPARE:      a sleep begun after the wake-up begins all the same
 */
#define WORKERS 3
#define PROCESSES 4
#define WORDS 1
#include "memory.h"

#define ended_word 0
#define NONE 9

/* under ss.lock */
bool ss_lock_held;
byte workers = WORKERS, leaving, ended = NONE;
bool ending, joins = true, told[WORKERS];

bool is_joined[WORKERS], gone[WORKERS], was_joined[WORKERS], detached[WORKERS];
bool from_within, freed;

inline ss_lock()
{
    atomic { buffer[me].count == 0 && !ss_lock_held -> ss_lock_held = true }
}
inline ss_unlock()
{
    atomic { buffer[me].count == 0 -> ss_lock_held = false }
}

inline count_end()
{
    load(ended_word, old);
    store(ended_word, old + 1);
    old = 0
}

inline join(w)
{
    gone[w];
    d_step {
        assert(!was_joined[w] && !detached[w]);
        was_joined[w] = true
    }
}

inline free_group()
{
    ss_lock();
    d_step { ending = true; told[0] = true; told[1] = true; told[2] = true };
    ss_unlock();
    do
    ::
        ss_lock();
        load(ended_word, old);
#ifdef WAITS_FOR_ITSELF
        done = workers == 0 && leaving == 0;
#else
#ifdef LEAVING_NOT_WAITED_FOR
        done = workers == from_within;
#else
        done = workers == from_within && leaving == 0;
#endif
#endif
        ss_unlock();
        if
        :: done -> break
        :: else -> futex_wait(ended_word, old)
        fi
    od;
    ss_lock();
    last = ended;
    ended = NONE;
#ifndef JOINED_FOR_EVER
    joins = false;
#endif
    ss_unlock();
    if
    :: last != NONE -> join(last)
    :: else -> skip
    fi;
    d_step {
        assert(!is_joined[0] || was_joined[0]);
        assert(!is_joined[1] || was_joined[1]);
        assert(!is_joined[2] || was_joined[2]);
        freed = true
    }
}

proctype worker(byte me)
{
    byte old, last, i;
    bool done;
    if
    :: me == 0 && from_within -> free_group()
    :: me == 2 -> /* it could not be created */
        ss_lock();
        workers--;
#ifndef FAILED_CREATION_NOT_COUNTED
        count_end();
#endif
        ss_unlock();
        futex_wake_all(ended_word);
        goto over
    :: !(me == 0 && from_within) -> skip /* leaves by itself */
    :: !(me == 0 && from_within) -> told[me]
    fi;
    /* leave() */
    ss_lock();
    workers--;
#ifdef LATE_PROMISE
    ss_unlock();
    ss_lock();
#endif
    is_joined[me] = joins && ending;
    leaving = leaving + is_joined[me];
    ss_unlock();
    /* end() */
    if
    :: !is_joined[me] -> detached[me] = true
    :: else ->
        ss_lock();
        last = ended;
#ifdef TAKEN_WITHOUT_LOCK
        ss_unlock();
        ss_lock();
#endif
        ended = me;
        leaving--;
#ifndef END_NOT_COUNTED
        count_end();
#endif
        ss_unlock();
        futex_wake_all(ended_word);
#ifndef NO_CHAIN
        if
        :: last != NONE -> join(last)
        :: else -> skip
        fi
#endif
    fi;
    gone[me] = true;
over:
    skip
}

proctype thread(byte me)
{
    byte old, last, i;
    bool done;
    free_group()
}

active proctype monitor()
{
    timeout;
    assert(freed);
    assert(!gone[0] || was_joined[0] || detached[0]);
    assert(!gone[1] || was_joined[1] || detached[1]);
    assert(!gone[2] || was_joined[2] || detached[2])
}

init
{
    atomic {
        if
        :: from_within = true
        :: run thread(3)
        fi;
        run worker(0);
        run worker(1);
        run worker(2)
    }
}
