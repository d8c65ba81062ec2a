/* SPDX-License-Identifier: ISC
 *
 * Batches (core/queue/batch.h): a worker takes several items at once and claims them one by one, while others
 * take back what is not claimed: the balancer, and a thread that cancels one item. Twice: the worker takes what was
 * put back again. Holds: each item is run once, or cancelled and not run.
 *
 * broken CLAIM_IS_LOAD_AND_STORE:  the owner's claim is not one read-modify-write
 * broken RECALL_IS_LOAD_AND_STORE: taking back is not one read-modify-write
 * broken RECALL_DOES_NOT_CLOSE:    taking back leaves the rest to be claimed
 * broken RECALL_WITHOUT_LOCK:      the balancer takes back while the owner takes the next batch
 * broken BATCH_ENDS_WITHOUT_LOCK:  the owner takes its next batch without the queue's lock
 */
#define PROCESSES 3
#define WORDS 2
#include "memory.h"

#define batch_next 0
#define batch_end 1
#define CLOSED 100 /* above any index, with room for late claims */

#define ITEMS 4

bool queue_lock_held;
byte queue[8], queued;     /* under the lock: the items, the front one first */
byte batch[ITEMS];         /* written by the owner under the lock */
byte runs[ITEMS + 1], cancelled[ITEMS + 1]; /* by item, from 1 */

inline queue_lock()
{
    atomic { buffer[me].count == 0 && !queue_lock_held -> queue_lock_held = true }
}
inline queue_unlock()
{
    atomic { buffer[me].count == 0 -> queue_lock_held = false }
}

inline push_front(item)
{
    d_step {
        assert(queued < 8);
        k = queued;
        do
        :: k > 0 -> queue[k] = queue[k - 1]; k--
        :: else -> break
        od;
        queue[0] = item;
        queued++
    }
}

inline pop_front(item)
{
    d_step {
        item = queue[0];
        k = 1;
        do
        :: k < queued -> queue[k - 1] = queue[k]; k++
        :: else -> break
        od;
        queued--;
        queue[queued] = 0;
        k = 0
    }
}

/* ss_batch_recall(), with the lock held */
inline recall()
{
    load(batch_end, end);
#ifdef RECALL_IS_LOAD_AND_STORE
    load(batch_next, next);
    store(batch_next, CLOSED);
#else
#ifdef RECALL_DOES_NOT_CLOSE
    fetch_add(batch_next, 0, next);
#else
    exchange(batch_next, CLOSED, next);
#endif
#endif
    do
    :: next < end -> end--; push_front(batch[end])
    :: else -> break
    od
}

proctype worker(byte me)
{
    byte end, i, k, item, n;
    do
    ::
#ifdef BATCH_ENDS_WITHOUT_LOCK
        fence();
#else
        queue_lock();
#endif
        store(batch_end, 0);
        if
        :: queued == 0 -> break
        :: else -> skip
        fi;
        /* take() */
        n = 0;
        do
        :: n < queued && n < 3 -> batch[n] = queue[n]; n++
        :: else -> break
        od;
        i = n;
        do
        :: i > 0 -> pop_front(item); i--
        :: else -> break
        od;
        store(batch_end, n);
        store(batch_next, 1);
        end = n;
#ifdef BATCH_ENDS_WITHOUT_LOCK
        fence();
#else
        queue_unlock();
#endif
        /* run_batch() */
        i = 0;
        do
        ::
            runs[batch[i]]++;
            if
            :: end == 1 -> break
            :: else -> skip
            fi;
#ifdef CLAIM_IS_LOAD_AND_STORE
            load(batch_next, i);
            store(batch_next, i + 1);
#else
            fetch_add(batch_next, 1, i);
#endif
            if
            :: i >= end -> break
            :: else -> skip
            fi
        od;
        i = 0; item = 0
    od;
    queue_unlock()
}

proctype balancer(byte me)
{
    byte rounds = 2, next, end, k;
    do
    :: rounds > 0 ->
        rounds--;
#ifndef RECALL_WITHOUT_LOCK
        queue_lock();
#endif
        recall();
#ifndef RECALL_WITHOUT_LOCK
        queue_unlock();
#endif
        next = 0; end = 0; k = 0
    :: else -> break
    od
}

/* Cancels item 3, wherever it is. */
proctype canceller(byte me)
{
    byte next, end, k, at;
    queue_lock();
    recall();
    at = 0;
    do
    :: at < queued && queue[at] != 3 -> at++
    :: else -> break
    od;
    if
    :: at < queued ->
        cancelled[3] = 1;
        d_step {
            k = at + 1;
            do
            :: k < queued -> queue[k - 1] = queue[k]; k++
            :: else -> break
            od;
            queued--
        }
    :: else -> skip
    fi;
    queue_unlock()
}

active proctype monitor()
{
    byte i = 1;
    timeout;
    do
    :: i <= ITEMS ->
        /* what was put back after the worker had left is still queued: another worker's */
        assert(runs[i] + cancelled[i] <= 1);
        i++
    :: else -> break
    od;
    assert(runs[1] + runs[2] + runs[3] + runs[4] + cancelled[3] + queued == ITEMS)
}

init
{
    atomic {
        queue[0] = 1; queue[1] = 2; queue[2] = 3; queue[3] = 4;
        queued = 4;
        memory[batch_next] = CLOSED;
        run worker(0);
        run balancer(1);
        run canceller(2)
    }
}
