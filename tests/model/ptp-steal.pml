/* SPDX-License-Identifier: ISC
 *
 * Shares of items, pieces and theft (core/region/shares.h, shares.c: ss_announce_piece(), ss_look_again(), ss_steal(); smolscale.h: smolscale_claim()). Two
 * participants: one begins with all items, the other with none, and each steals from the other when it has run dry. The
 * owner announces a piece with a fence, and an item within it with a plain store. The thief cuts the limit, and reads the
 * announcement: of pieces after its own fence, of items after a membarrier. In one of two cases the door was shut when the
 * call began: then all items are one piece. In one of two the first item waits until all others have run, so that the rest
 * of its piece has to be taken back. Holds: no item runs twice, and when all is quiet, all have run and both have left.
 *
 * broken NO_MEMBARRIER:          the thief reads the announced item behind a fence of its own only
 * broken NO_FENCE_BY_OWNER:      a piece is announced by a plain store
 * broken NO_FENCE_BY_THIEF:      the thief cuts the limit by a plain store, and reads the announced piece
 * broken GIVE_UP_WITHOUT_LOCK:   an owner that met a thief does not look again under the lock
 * broken SHUT_DOOR_ANNOUNCES_NOTHING: a call behind a shut door runs its items with no piece announced
 * broken NO_TAKE_BACK:           only what is beyond the announced piece can be stolen
 * broken ITEM_LOOKS_FIRST:       the owner looks at the limit, then announces the item
 */
#define PROCESSES 2
#define WORDS 6
#include "memory.h"

#define ITEMS 4
#define PIECE 2
#define NEXT(p) (3 * (p))
#define CLAIMED(p) (3 * (p) + 1)
#define LIMIT(p) (3 * (p) + 2)

bool steal_lock_held, shut, waits;
byte ran[ITEMS], done, left;

inline steal_lock()
{
    atomic { buffer[me].count == 0 && !steal_lock_held -> steal_lock_held = true }
}
inline steal_unlock() /* a release: what was stored before comes before it, as stores keep their order */
{
    atomic { buffer[me].count == 0 -> steal_lock_held = false }
}

inline run_item(i)
{
    atomic {
        ran[i]++;
        assert(ran[i] == 1)
    }
    if
    :: i == 0 && waits -> done == ITEMS - 1
    :: else -> skip
    fi;
    done++
}

/* The items of a piece: i runs up to end, or to the first that was taken back. */
inline run_piece()
{
    do
    :: i < end ->
#ifdef ITEM_LOOKS_FIRST
        load(LIMIT(me), limit);
        store(NEXT(me), i + 1);
#else
        store(NEXT(me), i + 1);
        load(LIMIT(me), limit);
#endif
        if
        :: i < limit -> run_item(i); i++
        :: else -> break
        fi
    :: else -> break
    od
}

inline run_share()
{
    do
    ::
        load(LIMIT(me), limit);
        if
        :: i < limit ->
            end = (i + PIECE < limit -> i + PIECE : limit);
            store(CLAIMED(me), end);
#ifndef NO_FENCE_BY_OWNER
            fence();
#endif
            load(LIMIT(me), limit);
            if
            :: end <= limit -> run_piece()
            :: else -> skip
            fi
        :: else -> end = i + 1 /* not the end of a piece */
        fi;
        if
        :: i == end -> skip
        :: else ->
#ifdef GIVE_UP_WITHOUT_LOCK
            break;
#endif
            steal_lock();
            load(LIMIT(me), limit);
            end = (i < limit -> i : limit);
            store(NEXT(me), end);
            store(CLAIMED(me), end);
            steal_unlock();
            if
            :: i >= limit -> break
            :: else -> skip
            fi
        fi
    od
}

/* The two-sided decision; `announced` is the word to read. Under the lock. */
inline cut_off(announced)
{
    cut = limit - (limit - seen + 1) / 2;
    store(LIMIT(other), cut);
    if
    :: announced == CLAIMED(other) ->
#ifndef NO_FENCE_BY_THIEF
        fence()
#else
        skip
#endif
    :: else ->
#ifdef NO_MEMBARRIER
        fence()
#else
        heavy_fence()
#endif
    fi;
    load(announced, seen);
    if
    :: seen <= cut ->
        store(NEXT(me), cut);
        store(CLAIMED(me), cut);
        store(LIMIT(me), limit);
        i = cut;
        stolen = true
    :: else -> store(LIMIT(other), limit)
    fi
}

/* The share of the other is the only one that can have something. */
inline steal()
{
    stolen = false;
    steal_lock();
    do
    ::
        load(LIMIT(other), limit);
        load(CLAIMED(other), seen);
        if
        :: seen < limit -> cut_off(CLAIMED(other))
        :: else ->
#ifdef NO_TAKE_BACK
            break
#else
            load(NEXT(other), seen);
            if
            :: seen < limit -> cut_off(NEXT(other))
            :: else -> break
            fi
#endif
        fi;
        if
        :: stolen -> break
        :: else -> skip
        fi
    od;
    steal_unlock()
}

proctype participant(byte me)
{
    byte other = 1 - me, i, end, limit, seen, cut;
    bool stolen;
    if
    :: me == 0 && shut -> end = ITEMS; run_piece()
    :: else -> skip
    fi;
    if
    :: me == 0 && shut && i == ITEMS -> skip
    :: me == 0 && !(shut && i == ITEMS) -> run_share()
    :: else -> skip
    fi;
    do
    ::
        steal();
        if
        :: stolen -> run_share()
        :: else -> break
        fi
    od;
    left++
}

active proctype monitor()
{
    timeout;
    assert(done == ITEMS && left == 2)
}

init
{
    atomic {
        if
        :: shut = true
        :: skip
        fi;
        if
        :: waits = true
        :: skip
        fi;
        memory[LIMIT(0)] = ITEMS;
#ifndef SHUT_DOOR_ANNOUNCES_NOTHING
        memory[CLAIMED(0)] = (shut -> ITEMS : 0);
#endif
        run participant(0);
        run participant(1)
    }
}
