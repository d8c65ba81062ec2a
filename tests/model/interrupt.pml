/* SPDX-License-Identifier: ISC
 *
 * A task that waits, and those who end its waiting (core/task/waitlist.h; core/task/poll.h: ss_poll(); core/task/poll.c: ss_suspend(); core/task/interrupt.c:
 * ss_interrupt(), smolscale_cancel(); core/task/sleep.c: end_wait(), fire_due(), ss_deadline_disarm()). The task awaits a message on list 1
 * under a deadline, drops the deadline, and awaits on list 2, which nobody but the canceller ends. It frees a list
 * as soon as it has gone on. Two workers may poll it. Another thread sends the message, one cancels, one fires the
 * deadline. Only the compiler is kept from reordering where the code has a light fence.
 * Holds: the task is in a run queue at most once; nobody touches a list after it was freed; a cancellation is
 * never lost; the message is received or still there; the deadline hits no later await.
 *
 * broken NO_HEAVY_FENCE:         the interrupter's fence is its own only
 * broken PIN_NOT_CHECKED:        a task is polled while an interrupter may be at its list
 * broken PARKED_NOT_CLEARED:     who polls the task leaves `parked` as it was
 * broken FLAG_BEFORE_PARKED:     the runner looks for a flag, and then says where the task is parked
 * broken FLAG_AFTER_UNLOCK:      the runner looks for a flag when it has dropped the list's lock
 * broken LIST_NOT_RECHECKED:     the interrupter takes the task off without a look whether it is on the list
 * broken UNPIN_BEFORE_TAKING_OFF: the interrupter gives its pin back before it has locked the list
 * broken FLAG_AFTER_LOOK:        the interrupter sets its flag after it has looked where the task is parked
 * broken DISARM_DOES_NOT_WAIT:   dropping a deadline does not wait for who is just firing it
 * broken DISARM_LOOKS_INTO_HEAP: dropping a deadline is left out where the heap does not have it any more
 */
#define PROCESSES 5
#define WORDS 5
#include "memory.h"

#define ctl 0
#define parked 1
#define lock_of(l) (1 + (l)) /* 2, 3 */
#define timers_lock 4

#define CANCELLED 1
#define TIMED_OUT 2
#define PIN 8
#define OK 4 /* a result; the others are CANCELLED and TIMED_OUT */

/* under the list's lock */
bool on_list[3];
byte messages;
bool freed[3];
/* under the timers' lock */
bool armed;
/* the task's */
bool ready = true, was_armed;
byte stage, result, first, second;
bool ended, sent, cancelled;

inline lock(w)
{
    atomic { buffer[me].count == 0 && memory[w] == 0 -> memory[w] = 1 }
}
inline unlock(w)
{
    store(w, 0)
}
inline lock_list(l)
{
    assert(!freed[l]);
    lock(lock_of(l));
    assert(!freed[l])
}
inline unlock_list(l)
{
    assert(!freed[l]);
    unlock(lock_of(l))
}

/* Another thread's queue is entered by a read-modify-write. */
inline schedule()
{
    atomic { buffer[me].count == 0 -> assert(!ready); ready = true }
}

/* ss_interrupt(), of a task that is flagged and pinned */
inline interrupt(why)
{
#ifdef NO_HEAVY_FENCE
    fence();
#else
    heavy_fence();
#endif
    load(parked, where);
#ifdef FLAG_AFTER_LOOK
    fetch_or(ctl, why, seen);
#endif
#ifdef UNPIN_BEFORE_TAKING_OFF
    fetch_sub(ctl, PIN, seen);
#endif
    wakes = false;
    if
    :: where == 0 -> skip
    :: else ->
        lock_list(where);
#ifndef LIST_NOT_RECHECKED
        if
        :: on_list[where] -> on_list[where] = false; result = why; wakes = true
        :: else -> skip
        fi;
#else
        on_list[where] = false; result = why; wakes = true;
#endif
        unlock_list(where)
    fi;
#ifndef UNPIN_BEFORE_TAKING_OFF
    fetch_sub(ctl, PIN, seen);
#endif
    if
    :: wakes -> schedule()
    :: else -> skip
    fi;
    where = 0;
    seen = 0;
    wakes = false
}

inline set_flag(why)
{
    fetch_add(ctl, PIN, seen);
#ifndef FLAG_AFTER_LOOK
    fetch_or(ctl, why, seen);
#endif
    seen = 0
}

proctype canceller(byte me)
{
    byte where, seen;
    bool wakes;
    set_flag(CANCELLED);
    interrupt(CANCELLED);
    cancelled = true
}

/* Takes the deadline out of the heap when it is due, which may be at any time. */
proctype timer(byte me)
{
    byte where, seen;
    bool wakes;
end_of_time:
    do
    :: armed ->
        lock(timers_lock);
        if
        :: armed ->
            armed = false;
            set_flag(TIMED_OUT);
            unlock(timers_lock);
            interrupt(TIMED_OUT);
            break
        :: else -> unlock(timers_lock)
        fi
    od
}

proctype sender(byte me)
{
    bool wakes;
    lock_list(1);
    if
    :: on_list[1] -> on_list[1] = false; result = OK; wakes = true
    :: else -> messages++
    fi;
    unlock_list(1);
    fence();
    sent = true;
    if
    :: wakes -> wakes = false; schedule()
    :: else -> skip
    fi
}

/* ss_suspend(): the task is on the list, whose lock is held. */
inline suspend(l)
{
    again = false;
#ifdef FLAG_BEFORE_PARKED
    load(ctl, seen);
    store(parked, l);
#else
    store(parked, l);
    /* light fence */
#ifdef FLAG_AFTER_UNLOCK
    unlock_list(l);
#endif
    load(ctl, seen);
#endif
    if
    :: seen & (CANCELLED | TIMED_OUT) ->
        on_list[l] = false;
        result = ((seen & CANCELLED) -> CANCELLED : TIMED_OUT);
        again = true
    :: else -> skip
    fi;
    seen = 0;
#ifndef FLAG_AFTER_UNLOCK
    unlock_list(l)
#endif
}

proctype worker(byte me)
{
    byte seen;
    bool again;
end_idle:
    do
    :: atomic { ready -> ready = false };
pick_up:
        /* ss_poll() */
#ifndef PARKED_NOT_CLEARED
        store(parked, 0);
#endif
        /* light fence */
        load(ctl, seen);
#ifndef PIN_NOT_CHECKED
        if
        :: seen >= PIN ->
            seen = 0;
            if
            :: goto pick_up
            :: schedule(); goto next /* to the other worker, which costs a fence */
            fi
        :: else -> seen = 0
        fi;
#endif
        /* the poll */
        if
        :: stage == 0 ->
            load(ctl, seen);
            if
            :: seen & (CANCELLED | TIMED_OUT) ->
                result = ((seen & CANCELLED) -> CANCELLED : TIMED_OUT)
            :: else ->
                lock_list(1);
                if
                :: messages > 0 -> messages--; result = OK; unlock_list(1)
                :: else ->
                    on_list[1] = true;
                    stage = 1;
                    /* ss_deadline_arm() */
                    was_armed = true;
                    lock(timers_lock);
                    armed = true;
                    unlock(timers_lock);
                    suspend(1);
                    if
                    :: again -> goto pick_up
                    :: else -> goto next
                    fi
                fi
            fi
        :: else -> skip
        fi;
        seen = 0;
        if
        :: stage <= 1 ->
            first = result;
            freed[1] = sent;
            /* ss_deadline_disarm() */
            if
#ifdef DISARM_LOOKS_INTO_HEAP
            :: armed ->
#else
            :: was_armed ->
#endif
                lock(timers_lock);
                armed = false;
                unlock(timers_lock);
#ifndef DISARM_DOES_NOT_WAIT
                memory[ctl] < PIN /* nobody's store to it is ever in a buffer */
#endif
            :: else -> skip /* no other thread has known of it */
            fi;
            fetch_clear(ctl, TIMED_OUT, seen);
            load(ctl, seen);
            if
            :: seen & CANCELLED -> result = CANCELLED
            :: else ->
                lock_list(2);
                on_list[2] = true;
                stage = 2;
                suspend(2);
                if
                :: again -> goto pick_up
                :: else -> goto next
                fi
            fi
        :: else -> skip
        fi;
        seen = 0;
        second = result;
        freed[2] = true;
        assert(second == CANCELLED);
        ended = true;
next:
        seen = 0;
        again = false
    od
}

active proctype monitor()
{
    timeout;
    assert(ended && sent && cancelled && !ready);
    assert(messages + (first == OK -> 1 : 0) == 1);
    assert(memory[ctl] == CANCELLED)
}

init
{
    atomic {
        run worker(0);
        run worker(1);
        run sender(2);
        run canceller(3);
        run timer(4)
    }
}
