/* SPDX-License-Identifier: ISC
 *
 * The gate of a team, here a door (core/region/gate.h, gate.c: ss_gate_lock(), ss_gate_ready(), ss_gate_enter(),
 * ss_gate_leave(), ss_gate_wait_empty(), ss_gate_end(); call.c: begin_call()). One caller makes a call; another lowers the number of threads, to one or two, and makes one. Two helpers come at any
 * time, also long after the call that they were asked for. Holds: a helper is only ever inside of a call whose
 * description it reads as it was written, the call does not end meanwhile, no more helpers are inside than
 * the call has threads for; and when all is quiet, all calls have ended.
 *
 * large
 *
 * broken END_LOOKS_THEN_STORES:   the caller sees nobody inside, then shuts the door
 * broken ENTER_WITHOUT_COMPARING: a helper sees the door open, then counts itself in
 * broken NO_CALL_NUMBER:          the door looks the same in each call
 * broken OPEN_BEFORE_WRITTEN:     the door opens before the call is written down
 * broken LEAVE_BEFORE_LAST_TOUCH: a helper counts itself out, then looks at the call
 * broken NO_SLEEPER_MARK:         the caller sleeps without saying so
 * broken MARK_LOST:               a helper that leaves wakes only if it was alone when it came
 * broken NO_LOOK_FOR_WAITERS:     who ends a call wakes no other caller
 * broken TURN_READ_LATE:          a waiting caller reads the turn after it has found the pool busy
 * broken FUTEX_DOES_NOT_COMPARE:  a sleep begun after the wake-up begins all the same
 */
#define PROCESSES 4
#define WORDS 5
#include "memory.h"

#define DOOR 0
#define WAITING 1
#define TURN 2
#define DATA 3    /* what describes the call: here only its number */
#define THREADS 4

#define BUSY 1
#define READY 2
#define OPEN 4
#define SLEEPER 8
#define PRESENT 16
#define STATE 63
#define present(door) (((door) & STATE) >> 4)
#ifdef NO_CALL_NUMBER
#define CALL 0
#else
#define CALL 64
#endif

byte inside, written, allowed, ended; /* what an onlooker sees: helpers inside, the call in progress, its threads */

inline ptp_lock()
{
    load(DOOR, door);
    do
    ::
        if
        :: !(door & BUSY) ->
            compare_and_swap(DOOR, door, door + CALL + BUSY, good);
            if
            :: good -> break
            :: else -> load(DOOR, door)
            fi
        :: else ->
            fetch_add(WAITING, 1, old);
#ifdef TURN_READ_LATE
            load(DOOR, door);
            load(TURN, turn);
#else
            load(TURN, turn);
            load(DOOR, door);
#endif
            if
            :: door & BUSY -> futex_wait(TURN, turn)
            :: else -> skip
            fi;
            fetch_add(WAITING, 255, old); /* minus one */
            load(DOOR, door)
        fi
    od;
    turn = 0;
    old = 0
}

inline wake_waiting_caller()
{
#ifndef NO_LOOK_FOR_WAITERS
    load(WAITING, old);
    if
    :: old != 0 -> fetch_add(TURN, 1, old); futex_wake_one(TURN)
    :: else -> skip
    fi;
    old = 0
#else
    skip
#endif
}

/* smolscale_team_set_threads(); a call writes down the limit of its own in the same way */
inline set_threads(n)
{
    ptp_lock();
    store(THREADS, n);
    load(DOOR, door);
    exchange(DOOR, door - (door & STATE), old);
    wake_waiting_caller()
}

inline call(number)
{
    ptp_lock();
    load(THREADS, threads);
    atomic { written = number; allowed = threads }
    /* begin_call() */
    load(DOOR, door);
    door = door | READY;
    if
    :: door = door | OPEN
    :: skip
    fi;
#ifdef OPEN_BEFORE_WRITTEN
    store(DOOR, door);
    store(DATA, number);
#else
    store(DATA, number);
    store(DOOR, door);
#endif
    /* the items; a door that was shut may be opened meanwhile */
    if
    :: !(door & OPEN) -> fetch_or(DOOR, OPEN, old)
    :: skip
    fi;
    /* ss_gate_end() */
    load(DOOR, door);
    do
    ::
        if
        :: present(door) != 0 ->
            /* ss_gate_wait_empty() */
            fetch_clear(DOOR, OPEN, door);
            door = door - (door & OPEN);
            do
            :: present(door) != 0 ->
#ifndef NO_SLEEPER_MARK
                compare_and_swap(DOOR, door, door | SLEEPER, good);
                if
                :: good -> door = door | SLEEPER; futex_wait(DOOR, door)
                :: else -> skip
                fi;
#else
                futex_wait(DOOR, door);
#endif
                load(DOOR, door)
            :: else -> break
            od
        :: else ->
#ifdef END_LOOKS_THEN_STORES
            store(DOOR, door - (door & STATE));
            break
#else
            atomic {
                compare_and_swap(DOOR, door, door - (door & STATE), good);
                if
                :: good -> assert(inside == 0); written = 0; break
                :: else -> skip
                fi
            }
            load(DOOR, door)
#endif
        fi
    od;
    wake_waiting_caller();
    ended++
}

proctype first_caller(byte me)
{
    byte door, turn, old, threads, i;
    bool good;
    call(1)
}

proctype second_caller(byte me)
{
    byte door, turn, old, threads, i;
    bool good;
    byte few;
    if
    :: few = 1
    :: few = 2
    fi;
    set_threads(few);
    call(2)
}

inline touch()
{
    load(DATA, data);
    assert(data == written)
}

proctype helper(byte me)
{
    byte door, threads, data, old, i;
    bool good, alone;
    /* ss_gate_enter() */
    load(DOOR, door);
    do
    ::
        load(THREADS, threads);
        if
        :: !(door & OPEN) || present(door) + 1 >= threads -> good = false; break
        :: else -> skip
        fi;
        atomic {
#ifdef ENTER_WITHOUT_COMPARING
            fetch_add(DOOR, PRESENT, old);
            good = true;
#else
            compare_and_swap(DOOR, door, door + PRESENT, good);
#endif
            if
            :: good ->
                alone = (present(door) == 0);
                inside++;
                assert(inside < allowed);
                break
            :: else -> skip
            fi
        }
        load(DOOR, door)
    od;
    if
    :: good ->
        touch();
#ifdef LEAVE_BEFORE_LAST_TOUCH
        atomic { fetch_sub(DOOR, PRESENT, old); inside-- }
        touch();
#else
        touch();
        atomic { fetch_sub(DOOR, PRESENT, old); inside-- }
#endif
        if
#ifdef MARK_LOST
        :: (old & SLEEPER) && alone -> futex_wake_one(DOOR)
#else
        :: (old & SLEEPER) && present(old) == 1 -> futex_wake_one(DOOR)
#endif
        :: else -> skip
        fi
    :: else -> skip
    fi
}

active proctype monitor()
{
    timeout;
    assert(ended == 2)
}

init
{
    atomic {
        memory[THREADS] = 3;
        run first_caller(0);
        run second_caller(1);
        run helper(2);
        run helper(3)
    }
}
