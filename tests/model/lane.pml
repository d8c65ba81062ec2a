/* SPDX-License-Identifier: ISC
 *
 * A lane: its queue between server and balancer, and its inbox between server and submitter (core/task/lane.c: next_task(),
 * give_up(), serve(), push_inbox(); core/task/spread.c: retake(), free_retaken(); core/task/lane.h: ss_section_enter()). Worker 0
 * serves the lane with one task in its queue, which makes another ready. A third comes from outside. The balancer takes the
 * lane away at any moment, once, and looks again and again whether the former server is out of its section, which may
 * stand still for as long as it likes; either worker may get the lane. Only the compiler is kept from reordering
 * where the code has a light fence.
 * Holds: one worker at a time is at the queue; the lane is in the injection queue or served, once; when all is quiet,
 * each of the three tasks has been polled, and the lane is idle.
 *
 * broken NO_HEAVY_FENCE:            the balancer's fence is its own only
 * broken SECTION_NOT_AWAITED:       the balancer gives the lane away while its former server is in a section
 * broken LANE_READ_BEFORE_SECTION:  the server looks whether it has the lane, and then says that it is in a section
 * broken LEAVES_BEFORE_APPEND:      the section is left before the task is in the queue
 * broken RETAKES_ANY:               the balancer takes the lane from a worker that has given it up
 * broken PARKS_WITH_LANE_IN_HAND:   the balancer, which found the former server in a section, parks
 * broken LOOK_BEFORE_ANNOUNCING:    the server looks into the inbox, and then says that it goes idle
 * broken IDLE_STORED_PLAINLY:       it says so without a fence
 * broken LOOK_BEFORE_PUSH:          who submits looks at the lane's state, and then pushes
 * broken LISTED_WITHOUT_CAS:        both who submits and the server may bring the lane back from idle
 */
#define PROCESSES 4
#define WORDS 6
#include "memory.h"

#define in_section(w) (w)      /* 0, 1 */
#define lane_of(w) (2 + (w))   /* 2, 3: whether the worker serves the lane */
#define inbox 4                /* tasks in it */
#define state 5
#define IDLE 0
#define LISTED 1
#define NOBODY 9

/* the queue: in a section */
byte queued = 1, inside;
bool parent_queued = true;
/* under ss.lock */
bool ss_lock_held, injected = true;
byte server = NOBODY;

byte polled;

inline ss_lock()
{
    atomic { buffer[me].count == 0 && !ss_lock_held -> ss_lock_held = true }
}
inline ss_unlock()
{
    atomic { buffer[me].count == 0 -> ss_lock_held = false }
}

inline list_lane()
{
    ss_lock();
    assert(!injected && server == NOBODY);
    injected = true;
    ss_unlock()
}

inline submit()
{
#ifdef LOOK_BEFORE_PUSH
    load(state, seen);
    fetch_add(inbox, 1, old);
#else
    fetch_add(inbox, 1, old);
    load(state, seen);
#endif
    old = 0;
    if
    :: seen == IDLE ->
#ifdef LISTED_WITHOUT_CAS
        store(state, LISTED);
        done = true;
#else
        compare_and_swap(state, IDLE, LISTED, done);
#endif
        if
        :: done -> done = false; list_lane()
        :: else -> skip
        fi
    :: else -> seen = 0
    fi
}

inline section_enter()
{
#ifdef LANE_READ_BEFORE_SECTION
    load(lane_of(me), mine);
    store(in_section(me), 1);
#else
    store(in_section(me), 1);
    /* light fence */
    load(lane_of(me), mine);
#endif
    if
    :: mine -> inside++; assert(inside == 1)
    :: else -> skip
    fi
}
inline section_leave()
{
    if
    :: mine -> inside--
    :: else -> skip
    fi;
    store(in_section(me), 0)
}

/* pick(), and what its poll is to do. */
inline pick()
{
    if
    :: parent_queued -> parent_queued = false; queued--; makes_ready = true; picked = true
    :: else ->
        if
        :: queued > 0 -> queued--; picked = true
        :: else -> skip
        fi
    fi
}

proctype worker(byte me)
{
    byte mine, seen, old;
    bool picked, makes_ready, done;
end_idle:
    do
    :: atomic { injected -> skip };
        /* popped, under ss.lock; begin_serving() */
        ss_lock();
        if
        :: !injected -> ss_unlock(); goto next
        :: else -> skip
        fi;
        injected = false;
        assert(server == NOBODY);
        server = me;
        store(lane_of(me), 1);
        ss_unlock();
        do
        ::
            /* next_task() */
            section_enter();
            if
            :: mine ->
                pick();
                if
                :: !picked ->
                    exchange(inbox, 0, seen);
                    queued = queued + seen;
                    pick()
                :: else -> skip
                fi
            :: else -> skip
            fi;
            section_leave();
            seen = 0;
            if
            :: picked ->
                picked = false;
                polled++;
                if
                :: makes_ready ->
                    makes_ready = false;
                    /* ss_schedule() */
                    section_enter();
                    if
                    :: mine ->
#ifdef LEAVES_BEFORE_APPEND
                        section_leave();
                        store(in_section(me), 0);
                        inside++;
                        assert(inside == 1);
                        queued++;
                        inside--
#else
                        queued++;
                        section_leave()
#endif
                    :: else ->
                        section_leave();
                        submit()
                    fi
                :: else -> skip
                fi
            :: !picked && !mine -> break /* lost */
            :: else ->
                /* give_up() */
                ss_lock();
                load(lane_of(me), mine);
                if
                :: !mine -> ss_unlock(); break
                :: else -> skip
                fi;
                store(lane_of(me), 0);
                server = NOBODY;
                ss_unlock();
#ifdef LOOK_BEFORE_ANNOUNCING
                load(inbox, seen);
                exchange(state, IDLE, old);
#else
#ifdef IDLE_STORED_PLAINLY
                store(state, IDLE);
#else
                exchange(state, IDLE, old);
#endif
                load(inbox, seen);
#endif
                old = 0;
                if
                :: seen == 0 -> break
                :: else ->
#ifdef LISTED_WITHOUT_CAS
                    store(state, LISTED);
                    done = true;
#else
                    compare_and_swap(state, IDLE, LISTED, done);
#endif
                    seen = 0;
                    if
                    :: !done -> break
                    :: else -> done = false
                    fi
                fi;
                ss_lock();
                assert(!injected && server == NOBODY);
                server = me;
                store(lane_of(me), 1);
                ss_unlock()
            fi
        od;
next:
        mine = 0;
        seen = 0
    od
}

proctype submitter(byte me)
{
    byte seen, old;
    bool done;
    submit()
}

proctype balancer(byte me)
{
    byte from, inside_still;
    server != NOBODY ->
    /* retake() */
#ifdef RETAKES_ANY
    from = server;
#endif
    ss_lock();
#ifndef RETAKES_ANY
    from = server;
#endif
    if
    :: from == NOBODY -> ss_unlock(); goto end
    :: else -> skip
    fi;
    store(lane_of(from), 0);
    server = NOBODY;
    ss_unlock();
#ifdef NO_HEAVY_FENCE
    fence();
#else
    heavy_fence();
#endif
    /* free_retaken(): a look, and then another one, or no more */
#ifndef SECTION_NOT_AWAITED
    do
    ::
        load(in_section(from), inside_still);
        if
        :: !inside_still -> break
        :: else ->
            inside_still = 0;
#ifdef PARKS_WITH_LANE_IN_HAND
            /* quiet; who begins to serve the lane would wake it: begin_serving(), ss_wake_balancer() */
            server != NOBODY
#endif
        fi
    od;
#endif
    list_lane();
end:
    from = 0
}

active proctype monitor()
{
    timeout;
    assert(polled == 3 && queued == 0 && inside == 0);
    assert(memory[state] == IDLE && memory[inbox] == 0 && !injected && server == NOBODY)
}

init
{
    atomic {
        memory[state] = LISTED;
        run worker(0);
        run worker(1);
        run submitter(2);
        run balancer(3)
    }
}
