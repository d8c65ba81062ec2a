// SPDX-License-Identifier: ISC
//
// What the points do when somebody observes; see points.h.

#include "trace/points.h"

#include "base/room.h"
#include "os/os.h"
#include "trace/pools.h"
#include "trace/probes.h"
#include "trace/ring.h"

// Not in .bss: the kernel finds a semaphore by its place in the file.
__attribute__((section(".probes"), visibility("hidden"))) struct ss_observed ss_observed = {0};

#if defined(SS_USDT) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernel counts tracers in the first two bytes of ss_observed"
#endif

SS_PROBE_SEMAPHORE(enqueue);
SS_PROBE_SEMAPHORE(start);
SS_PROBE_SEMAPHORE(end);
SS_PROBE_SEMAPHORE(remove);
SS_PROBE_SEMAPHORE(nap);
SS_PROBE_SEMAPHORE(nap_end);
SS_PROBE_SEMAPHORE(park);
SS_PROBE_SEMAPHORE(unpark);
SS_PROBE_SEMAPHORE(wake);
SS_PROBE_SEMAPHORE(blocked);
SS_PROBE_SEMAPHORE(resumed);
SS_PROBE_SEMAPHORE(order);
SS_PROBE_SEMAPHORE(thread_start);
SS_PROBE_SEMAPHORE(thread_end);

void ss_note_started(void)
{
    fetch_or_seq_cst(&ss_observed.by, SS_STARTED);
}

void ss_observe(uint32_t what)
{
    fetch_or_seq_cst(&ss_observed.by, what);
}

void ss_observe_no_more(uint32_t what)
{
    fetch_and_acq_rel(&ss_observed.by, ~what);
}

void ss_observe_samples(bool are_taken)
{
    if (are_taken)
        ss_observe(SS_OBSERVED_IN_PART);
    else
        ss_observe_no_more(SS_OBSERVED_IN_PART);
}

void ss_observe_in_part(bool begins)
{
    store_relaxed(&ss_observed.in_part, begins);
    ss_observe_samples(begins);
}

static void record(enum ss_event event, unsigned which, uint64_t value)
{
    if (load_relaxed(&ss_observed.by) & SS_OBSERVED_FOR_TRACE)
        ss_trace_record(event, which, value, ss_os.now());
}

void ss_note_enqueue(struct ss_pool *pool, unsigned count)
{
    uint64_t waiting = ss_pool_count_waiting(pool, count);
    SS_PROBE3(enqueue, ss_pool_label(pool), ss_pool_code(pool), waiting);
    record(SS_EVENT_ENQUEUE, ss_pool_index(pool), waiting);
}

void ss_note_remove(struct ss_pool *pool, unsigned count)
{
    uint64_t waiting = ss_pool_count_waiting(pool, -(int64_t)count);
    SS_PROBE3(remove, ss_pool_label(pool), ss_pool_code(pool), waiting);
    record(SS_EVENT_REMOVE, ss_pool_index(pool), waiting);
}

void ss_note_start(struct ss_pool *pool, uint64_t pushed, bool waits)
{
    bool traced = load_relaxed(&ss_observed.by) & SS_OBSERVED_FOR_TRACE;
    uint64_t now = traced || pushed != 0 ? ss_os.now() : 0, time = SS_EVENT_UNKNOWN;
    if (pushed != 0 && waits) {
        uint64_t since = ss_stamp_time(pushed);
        time = now > since ? now - since : 0;
        if (!(pushed & SS_STAMP_SAMPLE)) // which is never counted as waiting
            ss_pool_count_waiting(pool, -1);
        ss_pool_note_time(pool, time, UINT64_C(1) << ss_stamp_shift(pushed));
    }
    SS_PROBE3(start, ss_pool_label(pool), ss_pool_code(pool), time);
    if (traced)
        ss_trace_record(SS_EVENT_START, ss_pool_index(pool), time, now);
}

void ss_note_end(struct ss_pool *pool)
{
    SS_PROBE2(end, ss_pool_label(pool), ss_pool_code(pool));
    record(SS_EVENT_END, ss_pool_index(pool), 0);
}

void ss_note_nap(struct ss_pool *pool)
{
    SS_PROBE2(nap, ss_pool_label(pool), ss_pool_code(pool));
    record(SS_EVENT_NAP, ss_pool_index(pool), 0);
}

void ss_note_nap_end(struct ss_pool *pool)
{
    SS_PROBE2(nap_end, ss_pool_label(pool), ss_pool_code(pool));
    record(SS_EVENT_NAP_END, ss_pool_index(pool), 0);
}

void ss_note_park(void)
{
    SS_PROBE0(park);
    record(SS_EVENT_PARK, 0, 0);
}

void ss_note_unpark(void)
{
    SS_PROBE0(unpark);
    record(SS_EVENT_UNPARK, 0, 0);
}

void ss_note_wake(pid_t tid)
{
    SS_PROBE1(wake, tid);
    record(SS_EVENT_WAKE, 0, (uint64_t)tid);
}

void ss_note_blocked(pid_t tid, bool blocked)
{
    if (blocked)
        SS_PROBE1(blocked, tid);
    else
        SS_PROBE1(resumed, tid);
    record(blocked ? SS_EVENT_BLOCKED : SS_EVENT_RESUMED, 0, (uint64_t)tid);
}

void ss_note_order(enum ss_order which, uint64_t count)
{
    SS_PROBE2(order, which, count);
    record(SS_EVENT_ORDER, which, count);
}

void ss_note_thread(enum ss_role role)
{
    SS_PROBE1(thread_start, role);
    if (load_relaxed(&ss_observed.by) & SS_OBSERVED_FOR_TRACE)
        ss_trace_set_role(role);
    record(SS_EVENT_THREAD, role, 0);
}

void ss_note_thread_end(void)
{
    SS_PROBE0(thread_end);
    record(SS_EVENT_THREAD_END, 0, 0);
}

// The options are the same in the child. Tracers that are attached stay so: the kernel has copied
// the number with the memory.
SS_ROOM(trace_points, NULL, NULL);
