/* SPDX-License-Identifier: ISC
 *
 * The end of a call whose caller has left it (core/region/orphan.c: abandon(), end_orphan(), ss_team_leave(); gate.h: ss_gate_lock()).
 * The call has two items when its caller, back from elsewhere, makes an orphan of it and then makes its next call, for which it
 * waits as any other caller does (ptp-door.pml). The helper that was asked for comes when the door opens, takes items until there
 * are none, and leaves; the balancer looks in at any time, counted as present, and takes none. Holds: the call
 * ends when its items have run and nobody is inside, and then the pool can be had.
 *
 * broken END_WITH_ITEMS_LEFT:  whoever leaves last ends the call
 * broken LAST_DOES_NOT_END:    a helper leaves and looks no further
 * broken MAKER_DOES_NOT_END:   the one that makes the orphan leaves it to the helpers, which may have gone
 * broken END_STORES:           the end is a look and a store
 */
#define PROCESSES 3
#define WORDS 4
#include "memory.h"

#define DOOR 0
#define WAITING 1
#define TURN 2
#define LEFT 3 /* items that nobody has taken */

#define BUSY 1
#define READY 2
#define OPEN 4
#define ORPHAN 8
#define PRESENT 16
#define STATE 63
#define CALL 64
#define present(door) (((door) & STATE) >> 4)

byte inside, ran; /* what an onlooker sees */
bool ended, got;

inline wake_waiting_caller()
{
    load(WAITING, old);
    if
    :: old != 0 -> fetch_add(TURN, 1, old); futex_wake_one(TURN)
    :: else -> skip
    fi
}

inline end_orphan()
{
    load(DOOR, door);
    do
    ::
        if
        :: !(door & ORPHAN) || present(door) != 0 -> break
        :: else -> skip
        fi;
#ifndef END_WITH_ITEMS_LEFT
        load(LEFT, left);
        if
        :: left != 0 -> break
        :: else -> skip
        fi;
#endif
        atomic {
#ifdef END_STORES
            store(DOOR, door - (door & STATE));
            good = true;
#else
            compare_and_swap(DOOR, door, door - (door & STATE), good);
#endif
            if
            :: good ->
                assert(inside == 0 && ran == 2 && !ended);
                ended = true
            :: else -> skip
            fi
        }
        if
        :: good -> wake_waiting_caller(); break
        :: else -> load(DOOR, door)
        fi
    od
}

inline leave()
{
    atomic { fetch_sub(DOOR, PRESENT, old); inside-- }
#ifndef LAST_DOES_NOT_END
    if
    :: present(old) == 1 && (old & ORPHAN) -> end_orphan()
    :: else -> skip
    fi
#endif
}

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
            load(TURN, turn);
            load(DOOR, door);
            if
            :: door & BUSY -> futex_wait(TURN, turn)
            :: else -> skip
            fi;
            fetch_add(WAITING, 255, old); /* minus one */
            load(DOOR, door)
        fi
    od
}

/* A call with a shut door, and its end. */
inline another_call()
{
    ptp_lock();
    assert(ended);
    load(DOOR, door);
    assert(!(door & OPEN) && present(door) == 0);
    exchange(DOOR, door - (door & STATE), old);
    wake_waiting_caller();
    got = true
}

proctype leaver(byte me)
{
    byte door, left, old, turn, i;
    bool good;
    fetch_or(DOOR, OPEN, old);
    fetch_or(DOOR, ORPHAN, old);
#ifndef MAKER_DOES_NOT_END
    end_orphan();
#endif
    another_call()
}

/* Those that were asked for find the door open, if the call has not ended. */
proctype helper(byte me)
{
    byte door, left, old, i;
    bool good;
    load(DOOR, door);
    do
    ::
        if
        :: (door & BUSY) && !(door & OPEN) && !ended -> load(DOOR, door) /* not asked for yet */
        :: else ->
            if
            :: !(door & OPEN) -> good = false; break
            :: else -> skip
            fi;
            atomic {
                compare_and_swap(DOOR, door, door + PRESENT, good);
                if
                :: good -> inside++; break
                :: else -> skip
                fi
            }
            load(DOOR, door)
        fi
    od;
    if
    :: good ->
        do
        ::
            atomic { /* under the lock of thieves */
                load(LEFT, left);
                if
                :: left != 0 -> fetch_sub(LEFT, 1, old)
                :: else -> break
                fi
            }
            ran++
        od;
        leave()
    :: else -> skip
    fi
}

proctype watcher(byte me)
{
    byte door, left, old, i;
    bool good;
    load(DOOR, door);
    if
    :: (door & READY) ->
        atomic {
            compare_and_swap(DOOR, door, door + PRESENT, good);
            if
            :: good -> inside++
            :: else -> skip
            fi
        }
        if
        :: good -> leave()
        :: else -> skip
        fi
    :: else -> skip
    fi
}

active proctype monitor()
{
    timeout;
    assert(ended && ran == 2 && got)
}

init
{
    atomic {
        memory[DOOR] = CALL + BUSY + READY;
        memory[LEFT] = 2;
        run leaver(0);
        run helper(1);
        run watcher(2)
    }
}
