/* SPDX-License-Identifier: ISC
 *
 * Wakers (core/task/waker.c: smolscale_wake(); core/task/task.c: ss_task_unref(); core/task/poll.h). A task waits until two
 * threads have each set a value, told by a waker each, which they drop at once after the wake. Two workers may poll
 * it. Or it waits for a third value that never comes, and is cancelled. Whoever has the handle releases it.
 * Holds: a value set before a wake is seen by a poll after it; the task is in a run queue at
 * most once; a cancellation is not lost; the task is freed once, by the last, and not touched after that.
 *
 * large
 *
 * broken WAKE_IN_POLL_IGNORED:   a wake that does not find the task suspended does nothing
 * broken WAKE_WITHOUT_CAS:       two wakes may both find it suspended
 * broken SUSPEND_WITHOUT_CAS:    the runner suspends the task without a look whether it was notified
 * broken NOTICE_TAKEN_BY_STORE:  the runner takes the notice with a plain store, which may reach memory after the
 *                                poll has read the values
 * broken NOTICE_GIVEN_ONCE:      who finds the task notified does not write the word again
 * broken NO_HEAVY_FENCE:         the canceller's fence is its own only
 * broken FLAG_BEFORE_PARKED:     the runner looks for a flag, and then says where the task is parked
 * broken CANCEL_WITHOUT_CAS:     the canceller schedules without taking the right to
 * broken CANCEL_IN_SUSPEND_IGNORED: the canceller takes the right to schedule, but gives no notice to a runner that is
 *                                between its look for a flag and the suspension
 * broken REFS_NOT_ATOMIC:        the count of wakers is loaded and stored
 * broken DROPPED_BEFORE_WAKE:    a waker is used after it was dropped
 */
#define PROCESSES 5
#define WORDS 6
#include "memory.h"

#define ctl 0
#define parked 1
#define wakes 2
#define refs 3
#define value(i) (4 + (i)) /* 4, 5 */

#define CANCELLED 1
#define PIN 8
#define NONE 0
#define AWAITED 1
#define NOTIFIED 2
#define WAKER 2 /* parked */

bool ready = true;
bool ended, freed;
byte wanted = 2;
byte halves; /* of the end and the release; in truth under the lock of the join list: see join.pml */

inline touch()
{
    assert(!freed)
}
inline schedule()
{
    atomic { buffer[me].count == 0 -> touch(); assert(!ready && !ended); ready = true }
}

inline unref()
{
    touch();
#ifdef REFS_NOT_ATOMIC
    load(refs, state);
    store(refs, state - 1);
    fence();
#else
    load(refs, state);
    if
    :: state == 1 -> skip
    :: else -> touch(); fetch_sub(refs, 1, state)
    fi;
#endif
    if
    :: state == 1 -> touch(); freed = true
    :: else -> skip
    fi;
    state = 0
}

inline half()
{
    atomic { buffer[me].count == 0 -> halves++; last = (halves == 2) };
    if
    :: last -> unref()
    :: else -> skip
    fi
}

/* notify(): whether the caller has the right to schedule. */
inline notify(right)
{
    touch();
    load(wakes, state);
    do
    ::
        touch();
#ifdef WAKE_IN_POLL_IGNORED
        if
        :: state != AWAITED -> right = false; break
        :: else -> skip
        fi;
#endif
#ifdef NOTICE_GIVEN_ONCE
        if
        :: state == NOTIFIED -> right = false; break
        :: else -> skip
        fi;
#endif
#ifdef WAKE_WITHOUT_CAS
        store(wakes, ((state == AWAITED) -> NONE : NOTIFIED));
        fence();
        done = true;
#else
        compare_and_swap(wakes, state, ((state == AWAITED) -> NONE : NOTIFIED), done);
#endif
        if
        :: done -> right = (state == AWAITED); break
        :: else -> load(wakes, state)
        fi
    od;
    state = 0;
    done = false
}

inline wake()
{
    notify(right);
    if
    :: right -> right = false; schedule()
    :: else -> skip
    fi
}

proctype waker(byte me; byte i)
{
    byte state;
    bool done, right;
    store(value(i), 1);
#ifdef DROPPED_BEFORE_WAKE
    unref();
    wake()
#else
    wake();
    unref()
#endif
}

proctype owner(byte me)
{
    byte state, where;
    bool done, last, right;
    if
    :: wanted == 2 -> skip
    :: else ->
        fetch_add(ctl, PIN, state);
        fetch_or(ctl, CANCELLED, state);
#ifdef NO_HEAVY_FENCE
        fence();
#else
        heavy_fence();
#endif
        touch();
        load(parked, where);
        if
        :: where == WAKER ->
#ifdef CANCEL_WITHOUT_CAS
            load(wakes, state);
            right = (state == AWAITED)
#else
#ifdef CANCEL_IN_SUSPEND_IGNORED
            compare_and_swap(wakes, AWAITED, NONE, right)
#else
            notify(right)
#endif
#endif
        :: else -> skip
        fi;
        fetch_sub(ctl, PIN, state);
        state = 0;
        where = 0;
        if
        :: right -> right = false; schedule()
        :: else -> skip
        fi
    fi;
    half()
}

proctype worker(byte me)
{
    byte state, a, b;
    bool done, last;
end_idle:
    do
    :: atomic { ready -> ready = false };
pick_up:
        /* ss_poll() */
        touch();
        store(parked, 0);
        /* light fence */
        load(ctl, state);
        if
        :: state >= PIN ->
            state = 0;
            if
            :: goto pick_up
            :: schedule(); goto next
            fi
        :: else -> skip
        fi;
        /* the poll */
        if
        :: state & CANCELLED -> goto end
        :: else -> state = 0
        fi;
        load(value(0), a);
        load(value(1), b);
        if
        :: a + b == wanted -> goto end
        :: else -> a = 0; b = 0
        fi;
        /* ss_suspend() */
        touch();
#ifdef FLAG_BEFORE_PARKED
        load(ctl, state);
        store(parked, WAKER);
#else
        store(parked, WAKER);
        /* light fence */
        load(ctl, state);
#endif
        if
        :: state & CANCELLED -> done = false
        :: else ->
#ifdef SUSPEND_WITHOUT_CAS
            exchange(wakes, AWAITED, state); done = true
#else
            compare_and_swap(wakes, NONE, AWAITED, done)
#endif
        fi;
        state = 0;
        if
        :: done -> done = false; goto next
        :: else -> skip
        fi;
#ifdef NOTICE_TAKEN_BY_STORE
        store(wakes, NONE);
#else
        exchange(wakes, NONE, state);
#endif
        state = 0;
        goto pick_up;
end:
        a = 0;
        b = 0;
        state = 0;
        touch();
        ended = true;
        half();
next:
        last = false
    od
}

active proctype monitor()
{
    timeout;
    assert(ended && freed && !ready)
}

init
{
    atomic {
        memory[refs] = 3;
        if
        :: wanted = 2
        :: wanted = 3
        fi;
        run worker(0);
        run worker(1);
        run waker(2, 0);
        run waker(3, 1);
        run owner(4)
    }
}
