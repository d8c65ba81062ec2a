/* SPDX-License-Identifier: ISC
 *
 * Finished work on its way to a libuv loop (compat/libuv/pool.c): two workers run jobs and push them on the loop's
 * list; who finds it empty owes a send, which it makes at once or leaves as a notice (smolscale_notify_soon()), that
 * the worker itself or the balancer gives; the send is wake_loop()'s. The loop takes all in the callback of its
 * handle, may stay up (send to itself) and take that back when nothing has come, submits a further job from a callback or
 * runs the loop within it, and closes when nothing is in flight. Another thread sends to another handle, which shares the
 * event descriptor. The list's head, `pending` and the notices are changed by read-modify-writes only, so memory is taken
 * as sequentially consistent.
 * Holds: every job's callback runs, the other handle's too, the loop is closed, and no thread is inside of a send to a
 * closed loop.
 *
 * large
 *
 * broken SEND_THEN_PUSH:    who finds the list empty sends, and then pushes
 * broken TAKE_THEN_CLEAR:   the loop takes the list, and then clears `pending`
 * broken UNCOUNTED_SEND:    a send is counted only when the handle is marked
 * broken NO_SETTLE:         the loop is closed while a thread may still write
 * broken SENDS_BESIDE:      a loop that stays up sends without SENT in its list
 * broken SENDS_WHEN_LEAVING: it puts SENT there first, and sends at the end of the callback
 * broken EVENT_TAKEN_AWAY:  a send is taken back together with another handle's
 * broken CLEARED_LAST:      a send is taken back in the list first, and its mark is cleared then
 * broken TAKEN_BACK_BLINDLY: work that came meanwhile is not sent for
 * broken NOTICE_NOT_TAKEN:  a notice is read and cleared in two steps
 */
#define WORKERS 2
#define JOBS 3
#define FIRST 2 /* submitted at the beginning */

#define SENT 128 /* in the list: a bit beside those of the jobs */

byte head; /* the list of finished work, as a set */
bool pending, event, closed;
byte senders, queued, flying, ended, submitted;
bool other_marked, other_answered; /* the other handle */
bool owed[WORKERS];

inline send()
{
    assert(!closed);
#ifndef UNCOUNTED_SEND
    senders++;
#endif
    atomic {
        assert(!closed);
        marks = !pending;
        pending = true
    };
#ifdef UNCOUNTED_SEND
    senders++;
#endif
    if
    :: marks -> assert(!closed); event = true
    :: else -> skip
    fi;
    assert(!closed);
    senders--
}

/* give_notice(), of the worker itself or the balancer */
inline give(who)
{
#ifdef NOTICE_NOT_TAKEN
    gives = owed[who];
    owed[who] = false;
#else
    atomic { gives = owed[who]; owed[who] = false };
#endif
    if
    :: gives -> send()
    :: else -> skip
    fi;
    gives = false
}

proctype worker(byte me)
{
    byte job;
    bool marks, gives, first;
    do
    :: atomic { queued > 0 -> queued--; job = 1 };
#ifdef SEND_THEN_PUSH
        first = (head == 0);
        if
        :: first -> send()
        :: else -> skip
        fi;
        head++;
#else
        atomic { first = (head == 0); head++ };
        if
        :: first ->
            if
            :: true -> send()
            :: !owed[me] -> owed[me] = true
            fi
        :: else -> skip
        fi;
#endif
        if
        :: owed[me] -> give(me) /* nothing more at hand */
        :: true -> skip         /* the next job is claimed first */
        fi
    :: atomic { queued == 0 && owed[me] }; give(me)
    :: ended == JOBS && !owed[me] -> break
    od
}

proctype balancer()
{
    bool marks, gives;
    do
    :: owed[0] -> give(0)
    :: owed[1] -> give(1)
    :: ended == JOBS && !owed[0] && !owed[1] -> break
    od
}

proctype other()
{
    other_marked = true;
    event = true
}

inline submit()
{
    atomic { submitted++; flying++; queued++ }
}

inline take()
{
    atomic { taken = head; head = 0 };
    taken = taken & 127
}

/* ss_uv_notify() by a loop that stays up */
inline stay_up()
{
#ifdef SENDS_BESIDE
    send();
#else
    atomic { stays = (head == 0); head = (stays -> SENT : head) };
#ifndef SENDS_WHEN_LEAVING
    if
    :: stays -> send()
    :: else -> skip
    fi
#endif
#endif
}

/* withdraw() */
inline withdraw()
{
#ifdef CLEARED_LAST
    atomic { back = (head == SENT); head = (back -> 0 : head) };
#endif
    pending = false;
    event = false;
#ifndef EVENT_TAKEN_AWAY
    if
    :: other_marked -> event = true
    :: else -> skip
    fi;
#endif
#ifndef CLEARED_LAST
    atomic { back = (head == SENT); head = (back -> 0 : head) };
#endif
#ifndef TAKEN_BACK_BLINDLY
    if
    :: !back -> send()
    :: else -> skip
    fi
#endif
}

active proctype loop()
{
    byte taken, more;
    bool marks, stays, called, back;
    for (more : 1 .. FIRST) {
        submit()
    };
poll:
    if
    :: flying == 0 && other_answered -> goto close
    :: else -> skip
    fi;
    event;
    event = false;
    if
    :: other_marked -> other_marked = false; other_answered = true
    :: else -> skip
    fi;
#ifdef TAKE_THEN_CLEAR
    called = pending;
    if
    :: called -> take(); pending = false
    :: else -> goto poll
    fi;
#else
    atomic { called = pending; pending = false };
    if
    :: called -> take()
    :: else -> goto poll
    fi;
#endif
    stays = false;
    if
    :: taken > 0 -> stay_up()
    :: true -> skip
    fi;
    /* the callbacks */
    do
    :: taken == 0 -> break
    :: taken > 0 ->
        taken--; flying--; ended++;
        if
        :: submitted < JOBS -> submit()
        :: true -> skip
        fi;
        if
        :: taken == 0 && flying > 0 -> goto poll /* runs the loop within the last one, for good */
        :: true -> skip
        fi
    od;
#ifdef SENDS_WHEN_LEAVING
    if
    :: stays -> send()
    :: else -> skip
    fi;
#else
    if
    :: stays && head == SENT -> withdraw()
    :: true -> skip
    fi;
#endif
    goto poll;
close:
#ifndef NO_SETTLE
    senders == 0;
#endif
    closed = true
}

active proctype monitor()
{
    timeout;
    assert(closed && flying == 0 && ended == submitted && other_answered)
}

init
{
    atomic {
        run worker(0);
        run worker(1);
        run balancer();
        run other()
    }
}
