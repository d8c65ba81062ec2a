// SPDX-License-Identifier: ISC
//
// The memory that events are recorded in. It is cut into chunks. Each thread that records has a
// chunk of its own, into which it alone writes, without a lock: an event, then the number of events
// (release). A thread that reads the number (acquire) may read so many events, at any time.
//
// Only when its chunk is full, once in SS_CHUNK_EVENTS, a thread takes the lock and gets another:
//
//   1. one that is not in use, or new memory, as long as the limit allows it;
//   2. else the chunk that has been full for the longest time, of whichever thread. Its events are
//      lost, and counted at the thread that had recorded them. So the newest stay.
//   3. If there is none, because every chunk is being written by some thread, the events of this
//      thread are lost and counted, until there is one.
//
// A thread that ends leaves its chunk as a full one. Its events are in the file like all others.

#ifndef SS_RING_H
#define SS_RING_H

#include "base/atomic.h"
#include "trace/points.h"

#include <stddef.h>

#define SS_CHUNK_EVENTS 2046u // 32 KiB with what is before them

// Two words; the file has them as they are.
struct ss_event_words {
    uint64_t when; // ns << 8 | enum ss_event
    uint64_t what; // which << SS_EVENT_VALUE_BITS | value
};

struct ss_tracer;

// Guards: L the lock of ring.c; O written by the thread that has the chunk; = constant.
struct ss_chunk {
    struct ss_tracer *owner;                      // L, read by the owner: whose events are in it
    struct ss_chunk *next;                        // L: in the list of full, or of unused ones
    struct ss_chunk *all;                         // =: all there ever were; only grows
    _Atomic uint32_t count;                       // O: events
    uint32_t written;                             // L: of these, those that go into the file
    struct ss_event_words event[SS_CHUNK_EVENTS]; // O
};

// A thread that records. Never given back: a few dozen bytes.
struct ss_tracer {
    struct ss_tracer *all;  // =: all there ever were; only grows
    unsigned number;        // L: in the file
    pid_t tid;              // =
    _Atomic uint32_t role;  // O: enum ss_role
    struct ss_chunk *chunk; // O: the one it writes; NULL: none
    _Atomic uint64_t lost;  // events
};

// Begins with at most so many bytes of memory. Once in a process.
void ss_trace_begin(uint64_t memory);

// Records an event of the calling thread at the time `now`, ns.
void ss_trace_record(enum ss_event event, unsigned which, uint64_t value, uint64_t now);

// Says what the calling thread is.
void ss_trace_set_role(enum ss_role role);

// ---- reading it

// No thread gets a new chunk between the two: those that record go on in theirs.
void ss_trace_lock(void);
void ss_trace_unlock(void);

// All of them, by `all`; with the lock. Which are not of this process's life have no events.
struct ss_tracer *ss_tracers(void);
struct ss_chunk *ss_chunks(void);

// Events that were lost because their thread could not be entered.
uint64_t ss_trace_lost_of_nobody(void);

#endif // SS_RING_H
