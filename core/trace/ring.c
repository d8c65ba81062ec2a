// SPDX-License-Identifier: ISC
//
// Recording events; see ring.h.

#include "trace/ring.h"

#include "base/room.h"
#include "os/lock.h"
#include "os/memory.h"
#include "os/os.h"
#include "os/thread.h"

static struct ss_lock lock = SS_LOCK_INIT;
static struct ss_tracer *tracers;          // lock
static struct ss_chunk *chunks;            // lock
static struct ss_chunk *unused;            // lock
static struct ss_chunk *full;              // lock: the one that has been full for the longest time
static struct ss_chunk **full_end = &full; // lock
static uint64_t memory_left;               // lock: bytes
static _Atomic uint64_t lost_of_nobody;

// Tells of the end of each thread that has recorded, also of the program's own.
static struct ss_thread_key end_key;

static SS_THREAD_LOCAL struct ss_tracer *self;

// ---- chunks. The lock held.

static bool take_memory(uint64_t size)
{
    if (memory_left < size)
        return false;
    memory_left -= size;
    return true;
}

static struct ss_chunk *new_chunk(void)
{
    struct ss_chunk *chunk = unused;
    if (chunk) {
        ss_chain_take_first(unused);
        return chunk;
    }
    if (!take_memory(sizeof *chunk))
        return NULL;
    chunk = ss_allocate_aligned(SS_CACHE_LINE, (sizeof *chunk + SS_CACHE_LINE - 1) / SS_CACHE_LINE *
                                                   SS_CACHE_LINE);
    if (!chunk)
        return NULL;
    store_relaxed(&chunk->count, 0);
    chunk->owner = NULL;
    chunk->all = chunks;
    compiler_fence(); // fork() may copy the list at any moment
    chunks = chunk;
    return chunk;
}

// Its events are lost.
static struct ss_chunk *oldest_chunk(void)
{
    struct ss_chunk *chunk = full;
    if (!chunk)
        return NULL;
    full = chunk->next;
    if (!full)
        full_end = &full;
    fetch_add_relaxed(&chunk->owner->lost, load_relaxed(&chunk->count));
    return chunk;
}

static void put_full(struct ss_chunk *chunk)
{
    chunk->next = NULL;
    *full_end = chunk;
    full_end = &chunk->next;
}

static void change_chunk(struct ss_tracer *tracer)
{
    if (tracer->chunk)
        put_full(tracer->chunk);
    struct ss_chunk *chunk = new_chunk();
    if (!chunk)
        chunk = oldest_chunk();
    if (chunk) {
        store_relaxed(&chunk->count, 0);
        chunk->owner = tracer;
    }
    tracer->chunk = chunk;
}

// ---- threads

static struct ss_tracer *new_tracer(void)
{
    struct ss_tracer *tracer = NULL;
    pid_t tid = ss_os.thread_id();
    ss_lock(&lock);
    if (take_memory(sizeof *tracer))
        tracer = ss_allocate_zeroed(sizeof *tracer);
    if (tracer) {
        tracer->tid = tid;
        tracer->all = tracers;
        compiler_fence(); // as above
        tracers = tracer;
    }
    ss_unlock(&lock);
    return tracer;
}

// A destructor that comes later may record more: then the thread is entered once more.
static void on_thread_end(void *value)
{
    struct ss_tracer *tracer = self;
    (void)value; // in a child of fork() it is that of the parent's thread
    if (!tracer)
        return;
    self = NULL;
    ss_lock(&lock);
    if (tracer->chunk)
        put_full(tracer->chunk);
    tracer->chunk = NULL;
    ss_unlock(&lock);
}

static struct ss_tracer *enter(void)
{
    struct ss_tracer *tracer = new_tracer();
    if (!tracer)
        return NULL;
    self = tracer;
    ss_thread_key_set(&end_key, tracer);
    return tracer;
}

// ---- recording

void ss_trace_record(enum ss_event event, unsigned which, uint64_t value, uint64_t now)
{
    struct ss_tracer *tracer = self ? self : enter();
    if (!tracer) {
        fetch_add_relaxed(&lost_of_nobody, 1);
        return;
    }
    struct ss_chunk *chunk = tracer->chunk;
    if (!chunk || load_relaxed(&chunk->count) == SS_CHUNK_EVENTS) {
        ss_lock(&lock);
        change_chunk(tracer);
        ss_unlock(&lock);
        chunk = tracer->chunk;
    }
    if (!chunk) {
        fetch_add_relaxed(&tracer->lost, 1);
        return;
    }
    uint32_t at = load_relaxed(&chunk->count);
    value = value < SS_EVENT_UNKNOWN ? value : SS_EVENT_UNKNOWN;
    chunk->event[at] =
        (struct ss_event_words){now << 8 | event, (uint64_t)which << SS_EVENT_VALUE_BITS | value};
    store_release(&chunk->count, at + 1); // pairs with the acquire of a reader of the chunk
}

void ss_trace_set_role(enum ss_role role)
{
    if (self || enter())
        store_relaxed(&self->role, role);
}

static void new_end_key(void)
{
    ss_thread_key_new(&end_key, on_thread_end);
}

void ss_trace_begin(uint64_t memory)
{
    static struct ss_once once = SS_ONCE_INIT;
    ss_once(&once, new_end_key);
    ss_lock(&lock);
    uint64_t inherited = 0; // of the parent
    for (struct ss_chunk *chunk = chunks; chunk; chunk = chunk->all)
        inherited += sizeof *chunk;
    memory_left = memory > inherited ? memory - inherited : 0;
    ss_unlock(&lock);
}

// ---- reading it

void ss_trace_lock(void)
{
    ss_lock(&lock);
}

void ss_trace_unlock(void)
{
    ss_unlock(&lock);
}

struct ss_tracer *ss_tracers(void)
{
    return tracers;
}

struct ss_chunk *ss_chunks(void)
{
    return chunks;
}

uint64_t ss_trace_lost_of_nobody(void)
{
    return load_relaxed(&lost_of_nobody);
}

// The child begins anew, with the memory of its parent's chunks. What another thread of the parent
// was about to enter is lost, no more.
static void after_fork(void)
{
    ss_lock_reset(&lock);
    self = NULL;
    tracers = NULL;
    unused = full = NULL;
    full_end = &full;
    for (struct ss_chunk *chunk = chunks; chunk; chunk = chunk->all) {
        store_relaxed(&chunk->count, 0);
        chunk->owner = NULL;
        ss_chain_push(unused, chunk);
    }
    memory_left = 0; // until ss_trace_begin()
    store_relaxed(&lost_of_nobody, 0);
}

SS_ROOM(trace_ring, NULL, after_fork);
