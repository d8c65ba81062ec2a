// SPDX-License-Identifier: ISC
//
// The reader of traces (docs/trace-format.md), and what a trace says, put together: which thread
// did what from when to when, and how many jobs waited. A file is untrusted: each number in it is
// checked before it is used, and what is taken of memory follows from the size of the file.

#ifndef SMOLSCALE_CLI_TRACE_H
#define SMOLSCALE_CLI_TRACE_H

#include "trace/points.h" // the core's: kinds of events, roles, orders

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_POOL_NAME 160
#define TRACE_UNKNOWN   SS_EVENT_UNKNOWN

struct trace_bucket {
    uint64_t last, count; // the longest time that it counts, ns; jobs
};

struct trace_pool {
    char name[TRACE_POOL_NAME];
    uint64_t max; // ns
    uint64_t count;
    struct trace_bucket *buckets;
    size_t bucket_count;
};

struct trace_event {
    uint64_t time; // ns since the trace began
    uint64_t value;
    uint32_t which;
    uint32_t kind; // enum ss_event
};

struct trace_thread {
    uint32_t tid, role; // enum ss_role
    uint64_t lost;
    struct trace_event *events; // in their order
    size_t event_count;
};

struct trace {
    char program[64];
    uint32_t pid;
    uint64_t length; // ns
    uint64_t lost;   // events, of all threads and of those that are not in the file
    struct trace_pool *pools;
    size_t pool_count; // with one for "unknown" at the end, if an event needs it
    struct trace_thread *threads;
    size_t thread_count, event_count;
};

// Reads it out of memory. False: `why` says what is wrong. To be finished in both cases.
bool trace_parse(struct trace *trace, const void *bytes, size_t size, char *why, size_t why_size);
void trace_finish(struct trace *trace);

// Reads the file of that name or, if there is none, the only one that is called NAME.PID. Ends the
// process if it cannot. Returns the file's name, to be freed.
char *trace_must_read(struct trace *trace, const char *name);

// The time that `permille` of a pool's jobs have not waited longer than, ns; 0: there were none.
uint64_t trace_quantile(const struct trace_pool *pool, unsigned permille);

// ---- put together

enum slice_kind { SLICE_JOB, SLICE_BLOCKED, SLICE_NAP, SLICE_PARKED, SLICE_KINDS };

struct slice {
    uint64_t start, end; // ns
    uint64_t waited;     // of a job: its time in queue, ns, or TRACE_UNKNOWN
    uint32_t pool;       // of a job or a nap
    uint32_t jobs;       // that it stands for: more than 1 if short ones were merged
    uint8_t kind;
    uint8_t depth; // of a job: how many jobs of the thread it is in
    bool open;     // the trace ended first
};

struct row {
    struct slice *slices; // by start; an outer one before those in it
    size_t count, capacity;
};

struct sample {
    uint64_t time, waiting; // ns; jobs of the pool
};

struct length {
    struct sample *samples;
    size_t count, capacity;
    uint64_t most;
};

struct order {
    uint64_t time, count;
    uint32_t what; // enum ss_order
};

struct picture {
    struct row *rows;       // of each thread
    struct length *lengths; // of each pool
    struct order *orders;
    size_t order_count, order_capacity;
};

void picture_make(struct picture *picture, const struct trace *trace);
void picture_finish(struct picture *picture, const struct trace *trace);

// Merges neighbours of one kind, in which nothing can be told apart at `resolution` ns, until no
// more than `most` slices are left. Returns the resolution; 0: nothing was merged.
uint64_t picture_merge(struct picture *picture, const struct trace *trace, size_t most);

// "worker 1234", "main thread"
char *trace_thread_name(const struct trace *trace, const struct trace_thread *thread);

#endif // SMOLSCALE_CLI_TRACE_H
