/* SPDX-License-Identifier: ISC
 *
 * The end of a task, who joins it, who releases it, and who has a waker of it (core/task/task.c: ss_task_end(), smolscale_join(),
 * smolscale_release(), unref(), ss_interrupt()). The joiner has the only handle; it joins, perhaps is cancelled while it waits,
 * and releases; or it releases at once. How it is held while a canceller is at the list is shown by interrupt.pml and
 * simply so here. The join list's lock is dropped by a plain store, which carries the mark that the task has ended.
 * Holds: the task is freed once, when it has ended and was released and the waker was dropped, by
 * whoever comes last, and touched by nobody after that; the joiner goes on, with the result or cancelled.
 *
 * broken END_STORED_APART:       the lock is dropped first, and then the task marked as ended
 * broken END_LOOKS_UNLOCKED:     the runner looks whether the task was released before it takes the lock
 * broken END_LOOKS_AFTERWARDS:   the runner looks whether the task was released after it has dropped the lock
 * broken RELEASE_UNLOCKED:       releasing does not take the lock
 * broken JOIN_NOT_RECHECKED:     the joiner does not look under the lock whether the task has ended
 * broken FLAGS_DROPPED:          the canceller drops the lock without the mark that stood beside it
 * broken CANCEL_ANYWAY:          the canceller wakes the joiner whether it was still on the list or not
 * broken JOINER_NOT_PINNED:      the joiner goes on while a canceller is at the list
 * broken UNREF_NOT_ATOMIC:       the count of references is loaded and stored
 */
#define PROCESSES 4
#define WORDS 3
#include "memory.h"

#define join_lock 0
#define refs 1
#define result 2
#define HELD 1
#define ENDED 2

#define RESULT 7
#define CANCELLED 9

/* under the join list's lock */
bool on_list, released;
bool freed;
/* the joiner's */
bool suspended, pinned, done;
byte woken, outcome, handed;

inline touch()
{
    assert(!freed)
}
inline lock(flags)
{
    touch();
    atomic {
        buffer[me].count == 0 && !(memory[join_lock] & HELD) ->
        flags = memory[join_lock];
        memory[join_lock] = flags | HELD
    };
    touch()
}
inline unlock_with(flags)
{
    touch();
    store(join_lock, flags)
}

inline unref()
{
    touch();
    load(refs, count);
    if
    :: count == 1 -> skip
    :: else ->
#ifdef UNREF_NOT_ATOMIC
        store(refs, count - 1);
        fence()
#else
        touch();
        fetch_sub(refs, 1, count)
#endif
    fi;
    if
    :: count == 1 -> touch(); freed = true
    :: else -> skip
    fi;
    count = 0
}

/* smolscale_release() */
inline release()
{
    touch();
    load(join_lock, word);
    if
    :: word & ENDED -> unref()
    :: else ->
#ifdef RELEASE_UNLOCKED
        released = true;
#else
        lock(word);
        released = true;
        unlock_with(word);
#endif
        if
        :: word & ENDED -> unref()
        :: else -> skip
        fi
    fi;
    word = 0
}

/* ss_task_end() */
proctype runner(byte me)
{
    byte word, count;
    bool was_released, joiner;
#ifdef END_LOOKS_UNLOCKED
    was_released = released;
#endif
    lock(word);
    store(result, RESULT);
#ifndef END_LOOKS_UNLOCKED
    was_released = released;
#endif
    joiner = on_list;
    on_list = false;
#ifdef END_STORED_APART
    unlock_with(0);
    touch();
    store(join_lock, ENDED);
#else
    unlock_with(ENDED);
#endif
#ifdef END_LOOKS_AFTERWARDS
    touch();
    was_released = released;
#endif
    word = 0;
    if
    :: joiner -> fence(); handed = RESULT; woken++
    :: else -> skip
    fi;
    if
    :: was_released -> unref()
    :: else -> skip
    fi
}

proctype joiner(byte me)
{
    byte word, count;
    if
    :: outcome = CANCELLED; goto give_back /* it does not join */
    :: skip
    fi;
    touch();
    load(join_lock, word);
    if
    :: word & ENDED -> load(result, outcome); goto give_back
    :: else -> lock(word)
    fi;
#ifndef JOIN_NOT_RECHECKED
    if
    :: word & ENDED -> unlock_with(word); load(result, outcome); goto give_back
    :: else -> skip
    fi;
#endif
    on_list = true;
    suspended = true; /* who looks for it meets the lock */
    unlock_with(word);
    word = 0;
#ifdef JOINER_NOT_PINNED
    atomic { woken > 0 -> suspended = false };
#else
    atomic { woken > 0 && !pinned -> suspended = false };
#endif
    outcome = handed;
give_back:
    word = 0;
    release();
    done = true
}

proctype canceller(byte me)
{
    byte word;
    bool taken;
    if
    :: skip
    ::
        atomic {
            if
            :: suspended -> pinned = true
            :: else -> skip
            fi
        };
        if
        :: pinned ->
            lock(word);
            taken = on_list;
#ifdef CANCEL_ANYWAY
            taken = true;
#endif
            on_list = false;
#ifdef FLAGS_DROPPED
            unlock_with(0);
#else
            unlock_with(word);
#endif
            fence();
            if
            :: taken -> handed = CANCELLED; woken++
            :: else -> skip
            fi;
            pinned = false
        :: else -> skip
        fi
    fi
}

proctype waker(byte me)
{
    byte count;
    unref()
}

active proctype monitor()
{
    timeout;
    assert(done && freed);
    assert(woken <= 1);
    assert(outcome == RESULT || outcome == CANCELLED)
}

init
{
    atomic {
        memory[refs] = 2;
        run runner(0);
        run joiner(1);
        run canceller(2);
        run waker(3)
    }
}
