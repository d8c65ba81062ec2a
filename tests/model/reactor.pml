/* SPDX-License-Identifier: ISC
 *
 * Descriptors (core/io/reactor.c, core/task/descriptor.c): awaiting one whose events are reported by edges, to any of two threads that look.
 * A peer sends twice, whenever it likes; the task reads both. What the kernel does (a system call, registering, taking
 * a report) is one step, and a fence, as is taking a lock; so memory is taken as sequentially consistent.
 * Holds: the task never sleeps while there is something to read and no report of it is on its way.
 *
 * broken SUSPEND_WITHOUT_LOOK:  the task is put on the list whatever was reported since its system call
 * broken EDGES_AFTER_CALL:      the edges to compare with are read after the system call
 * broken LOOK_BEFORE_LOCK:      the edges are compared before the list is locked
 * broken REPORT_UNLOCKED:       who has the report counts and looks for a waiter without the lock, the waiter first
 * broken REGISTERING_IS_SILENT: registering does not report what is there already, and no call is made after it
 */
byte data, got;      /* to be read; was read */
bool registered;     /* with the kernel */
bool believed;       /* registered, as far as the process knows */
bool event;          /* there is a report that nobody has taken */
byte edges;
bool locked, waiting, woken;

inline lock()
{
    atomic { !locked -> locked = true }
}
inline unlock()
{
    locked = false
}

proctype peer()
{
    byte i;
    for (i : 1 .. 2) {
        atomic { data++; event = event || registered }
    }
}

proctype looker()
{
    bool waits;
end_idle:
    do
    :: atomic { event -> event = false };
#ifdef REPORT_UNLOCKED
        waits = waiting;
        edges++;
        if
        :: waits -> waiting = false; woken = true
        :: else -> skip
        fi;
        waits = false
#else
        lock();
        edges++;
        if
        :: waiting -> waiting = false; woken = true
        :: else -> skip
        fi;
        unlock()
#endif
    od
}

proctype task()
{
    byte seen;
    bool same;
attempt:
    if
    :: got == 2 -> goto done
    :: else -> skip
    fi;
#ifndef EDGES_AFTER_CALL
    seen = edges;
#endif
    atomic {
        if
        :: data > 0 -> data--; got++; goto attempt
        :: else -> skip
        fi
    };
#ifdef EDGES_AFTER_CALL
    seen = edges;
#endif
    if
    :: believed -> skip
    :: else ->
#ifdef REGISTERING_IS_SILENT
        believed = true;
        registered = true /* and what is there already is not reported */
#else
        atomic { registered = true; event = event || data > 0 };
        believed = true
#endif
    fi;
#ifdef LOOK_BEFORE_LOCK
    same = (edges == seen);
    lock();
#else
    lock();
    same = (edges == seen);
#endif
#ifdef SUSPEND_WITHOUT_LOOK
    same = true;
#endif
    if
    :: same -> waiting = true; unlock()
    :: else -> unlock(); goto attempt
    fi;
    same = false;
    seen = 0;
end_asleep:
    atomic { woken -> woken = false };
    goto attempt;
done:
    skip
}

active proctype monitor()
{
    timeout;
    assert(got == 2)
}

init
{
    atomic {
        run peer();
        run looker();
        run looker();
        run task()
    }
}
