/* SPDX-License-Identifier: ISC
 *
 * Who looks for the events of descriptors (core/sched/duty.c, core/io/seat.c; idle.c, ss_park(); balancer.c, park()). Two
 * workers run jobs that are pushed (and may wait for what the event brings), and park; the balancer parks; some thread
 * begins to wait for a descriptor and then sleeps elsewhere; there the event comes. What is done under ss.lock is one
 * step. All else are read-modify-writes and system calls, so memory is taken as sequentially consistent.
 * Holds: when nothing moves any more, the event was seen and all jobs have run.
 *
 * large
 *
 * broken JOB_UNCOVERED:         a worker that leaves the seat for a job does not look whether somebody covers
 * broken WAIT_UNCOVERED:        who begins to wait does not
 * broken NO_LOOK_ANNOUNCED:     the balancer announces its sleep, and does not look again
 * broken LOOK_THEN_EMPTY:       the sleeper looks at its word, and then empties the eventfd
 * broken WRITE_THEN_WORD:       the waker writes the eventfd, and then changes the sleeper's word
 * broken TWO_SEATS:             who parks sits although the seat is taken
 * broken ON_ITS_WAY_UNCOUNTED:  a worker that is on its way does not look when it arrives
 */
#define WORKERS 2
#define JOBS 2

mtype = { AWAKE, PARKED, SEATED };

bool waits, taken, event, seen, eventfd;
byte waking, work, ran;
mtype park[WORKERS] = AWAKE;
bool idle[WORKERS], summoned[WORKERS];
mtype balancer = AWAKE;

#define covered (!waits || taken || waking > 0)

inline write_eventfd()
{
    eventfd = true
}

/* ss_wake_balancer() */
inline watch(how)
{
    how = balancer;
    do
    :: how == AWAKE -> break
    :: else ->
        atomic {
            if
            :: balancer == how -> balancer = AWAKE; done = true
            :: else -> how = balancer
            fi
        };
        if
        :: done ->
            if
            :: how == SEATED -> write_eventfd()
            :: else -> skip
            fi;
            break
        :: else -> skip
        fi
    od;
    done = false
}

/* ss_events_cover() */
inline cover(how)
{
    atomic { uncovered = !covered };
    if
    :: uncovered -> watch(how)
    :: else -> skip
    fi;
    uncovered = false
}

inline poll()
{
    atomic {
        if
        :: event -> event = false; seen = true; waits = false
        :: else -> skip
        fi
    }
}

proctype worker(byte me)
{
    mtype how;
    bool done, uncovered, seated, job;
next:
    atomic {
        if
        :: seated -> taken = false; seated = false
        :: else -> skip
        fi;
        if
        :: summoned[me] -> summoned[me] = false; waking--
        :: else -> skip
        fi;
        if
        :: work > 0 -> work--; job = true
        :: else ->
#ifdef TWO_SEATS
            seated = waits;
#else
#ifdef ON_ITS_WAY_UNCOUNTED
            seated = false;
#else
            seated = !covered;
#endif
#endif
            if
            :: seated -> taken = true; park[me] = SEATED
            :: else -> park[me] = PARKED
            fi;
            idle[me] = true
        fi
    };
    if
    :: job ->
        job = false;
#ifndef JOB_UNCOVERED
        cover(how);
#endif
        if
        :: true -> skip
        :: true -> seen /* a job that waits for what the event brings */
        fi;
        ran++;
        goto next
    :: else -> skip
    fi;
    if
    :: !seated ->
end_parked:
        park[me] == AWAKE
    :: else ->
end_seated:
        do
        ::
#ifdef LOOK_THEN_EMPTY
            (eventfd || event);
            if
            :: park[me] == AWAKE -> break
            :: else -> skip
            fi;
            eventfd = false;
#else
            (eventfd || event);
            eventfd = false;
#endif
            atomic {
                if
                :: event && idle[me] ->
                    idle[me] = false; summoned[me] = true; waking++; park[me] = AWAKE
                :: else -> skip
                fi
            };
            poll();
#ifndef LOOK_THEN_EMPTY
            if
            :: park[me] == AWAKE -> break
            :: else -> skip
            fi
#endif
        od
    fi;
    goto next
}

proctype pusher()
{
    byte i, who;
    mtype how;
    for (i : 1 .. JOBS) {
        atomic {
            work++;
            who = WORKERS;
            if
            :: waking == 0 && idle[0] -> who = 0
            :: waking == 0 && idle[1] -> who = 1
            :: else -> skip
            fi;
            if
            :: who < WORKERS -> idle[who] = false; summoned[who] = true; waking++
            :: else -> skip
            fi
        };
        if
        :: who < WORKERS ->
#ifdef WRITE_THEN_WORD
            how = park[who];
            if
            :: how == SEATED -> write_eventfd()
            :: else -> skip
            fi;
            park[who] = AWAKE
#else
            atomic { how = park[who]; park[who] = AWAKE };
            if
            :: how == SEATED -> write_eventfd()
            :: else -> skip
            fi
#endif
        :: else -> skip
        fi
    }
}

proctype waiter()
{
    mtype how;
    bool done, uncovered;
    waits = true;
#ifndef WAIT_UNCOVERED
    cover(how);
#endif
    event = true
}

proctype balance()
{
    bool uncovered, seated;
    mtype how;
tick:
    atomic { uncovered = !covered };
    if
    :: uncovered -> poll()
    :: else -> skip
    fi;
    atomic {
        seated = !covered;
        if
        :: seated -> taken = true; how = SEATED
        :: else -> how = PARKED
        fi
    };
    balancer = how;
#ifndef NO_LOOK_ANNOUNCED
    atomic { uncovered = !covered };
    if
    :: uncovered -> balancer = AWAKE
    :: else -> skip
    fi;
#endif
    if
    :: how == PARKED ->
end_parked:
        balancer != PARKED
    :: else ->
end_seated:
        do
        :: balancer != SEATED -> break
        :: else ->
end_asleep:
            (eventfd || event);
            eventfd = false;
            if
            :: event -> poll(); balancer = AWAKE
            :: else -> skip
            fi
        od
    fi;
    atomic {
        if
        :: seated -> taken = false; seated = false
        :: else -> skip
        fi
    };
    goto tick
}

active proctype monitor()
{
    timeout;
    assert(seen && ran == JOBS && work == 0)
}

init
{
    atomic {
        run worker(0);
        run worker(1);
        run balance();
        run pusher();
        run waiter()
    }
}
