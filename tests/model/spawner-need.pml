/* SPDX-License-Identifier: ISC
 *
 * A spawner that nobody needs any more ends (core/sched/spawner.c: spawn(), end_unneeded(), ss_spawner_group_left();
 * docs/internals.md, "Who creates a worker"). The last worker of its settings leaves, a thread that was about to
 * order another does not, and two groups are freed meanwhile, which keeps spawners from ending by themselves. All
 * else about spawners is in spawner.pml. Holds: when all is quiet, the spawner is gone, and whoever frees a group has
 * an answer.
 *
 * broken LEAVES_SILENTLY:         the last worker leaves, and the spawner is not told
 * broken GIVEN_UP_SILENTLY:       an order is not placed after all, and the spawner is not told
 * broken FREE_ENDS_SILENTLY:      the last free that has kept the spawner ends, and the spawner is not told
 * broken WORD_READ_LATE:          the spawner reads its word after it has looked whether it is needed
 * broken FUTEX_DOES_NOT_COMPARE:  a sleep begun after the wake-up begins all the same
 */
#define PROCESSES 5
#define WORDS 2
#include "memory.h"

#define word 0 /* spawner->word */
#define end_word 1

#define RUNS 0
#define ASKED 1
#define REFUSED 2
#define GONE 3

/* under ss.lock */
bool ss_lock_held;
bool listed = true; /* the spawner is in ss.spawners */
byte workers = 1;
byte demand = 1;
byte frees;

bool alive = true;
byte freed;

inline ss_lock()
{
    atomic { buffer[me].count == 0 && !ss_lock_held -> ss_lock_held = true }
}
inline ss_unlock()
{
    atomic { buffer[me].count == 0 -> ss_lock_held = false }
}

inline tell()
{
    load(word, old);
    store(word, old + 1);
    old = 0;
    futex_wake_all(word)
}

proctype spawner(byte me)
{
    byte old, seen, i;
    bool needed, asked;
    do
    ::
#ifndef WORD_READ_LATE
        load(word, seen);
#endif
        ss_lock();
        load(end_word, old);
        needed = workers > 0 || demand > 0 || (old != ASKED && frees > 0);
        if
        :: needed && old == ASKED -> store(end_word, REFUSED)
        :: !needed -> listed = false
        :: else -> skip
        fi;
        asked = old == ASKED;
        ss_unlock();
#ifdef WORD_READ_LATE
        load(word, seen);
#endif
        if
        :: needed && asked -> futex_wake_all(end_word)
        :: else -> skip
        fi;
        if
        :: needed -> futex_wait(word, seen)
        :: else -> break
        fi
    od;
    ss_lock();
    load(end_word, old);
    asked = old == ASKED;
    store(end_word, GONE);
    alive = false;
    ss_unlock();
    if
    :: asked -> futex_wake_all(end_word)
    :: else -> skip
    fi
}

#define unneeded (listed && workers == 0 && demand == 0)

/* smolscale_group_free() */
proctype freer(byte me)
{
    byte old, i;
    bool asks;
    ss_lock();
    frees++;
    ss_unlock();
    do
    ::
        ss_lock();
        load(end_word, old);
        asks = unneeded && old == RUNS;
        if
        :: asks -> store(end_word, ASKED); tell()
        :: else -> skip
        fi;
        ss_unlock();
        if
        :: asks ->
            do
            :: load(end_word, old);
                if
                :: old == ASKED -> futex_wait(end_word, ASKED)
                :: else -> break
                fi
            od;
            if
            :: old == REFUSED -> store(end_word, RUNS)
            :: else -> skip
            fi
        :: else -> break
        fi
    od;
    ss_lock();
    frees--;
#ifndef FREE_ENDS_SILENTLY
    if
    :: frees == 0 && unneeded -> tell()
    :: else -> skip
    fi;
#endif
    ss_unlock();
    freed++
}

proctype last_worker(byte me)
{
    byte old, i;
    ss_lock();
    workers = 0;
#ifndef LEAVES_SILENTLY
    tell();
#endif
    ss_unlock()
}

/* ss_group_first_worker(), where the work is taken back before a worker was created for it */
proctype pusher(byte me)
{
    byte old, i;
    ss_lock();
    demand = 0;
#ifndef GIVEN_UP_SILENTLY
    tell();
#endif
    ss_unlock()
}

active proctype monitor()
{
    timeout;
    assert(freed == 2);
    assert(!alive)
}

init
{
    atomic {
        run spawner(0);
        run freer(1);
        run freer(2);
        run last_worker(3);
        run pusher(4)
    }
}
