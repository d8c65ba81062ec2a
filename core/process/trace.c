// SPDX-License-Identifier: ISC
//
// The file that SMOLSCALE_TRACE names: at exit, what the threads have recorded (trace/ring.h) is
// written to it, in the format of docs/trace-format.md. A process that has recorded nothing leaves
// none. A child of fork() records anew, and has a file of its own.

#include "base/room.h"
#include "os/lock.h"
#include "os/memory.h"
#include "os/options.h"
#include "os/process.h"
#include "process/path.h"
#include "sched/worker.h"
#include "trace/points.h"
#include "trace/pools.h"
#include "trace/ring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct ss_lock lock = SS_LOCK_INIT;
static bool begun;        // lock: in this process
static uint64_t begun_at; // ns

// ---- the parts of the file; all numbers as the machine has them

#define VERSION    1
#define MAGIC      "smoltrce"
#define END        "endtrace"
#define ORDER_MARK UINT32_C(0x01020304)

struct header {
    char magic[8];
    uint32_t version, byte_order;
    uint32_t pid, pools, threads, chunks;
    uint64_t begin, end; // ns
    uint64_t lost;       // events of threads that are not in the file
    char program[64];
};

struct pool {
    char name[160];
    uint64_t max; // ns
    uint32_t buckets, zero;
};

struct bucket {
    uint64_t last; // ns
    uint64_t count;
};

struct thread {
    uint32_t tid, role;
    uint64_t lost; // events
};

struct chunk {
    uint32_t thread, events;
};

_Static_assert(sizeof(struct header) == 120 && sizeof(struct pool) == 176, "the file has no gaps");

// ---- writing

struct output {
    int file;
    bool failed;
};

static void put(struct output *out, const void *bytes, size_t size)
{
    out->failed = out->failed || !ss_output_write(out->file, bytes, size);
}

static unsigned number_tracers(void)
{
    unsigned count = 0;
    for (struct ss_tracer *tracer = ss_tracers(); tracer; tracer = tracer->all)
        tracer->number = count++;
    return count;
}

// Decides which events go into the file: those of now, and none of the parent's. Returns in how
// many chunks they are.
static unsigned choose_events(void)
{
    unsigned count = 0;
    for (struct ss_chunk *chunk = ss_chunks(); chunk; chunk = chunk->all) {
        chunk->written = chunk->owner ? load_acquire(&chunk->count) : 0;
        count += chunk->written > 0;
    }
    return count;
}

// What the file has besides the events themselves.
struct contents {
    unsigned chunks, pools;
    char (*names)[160]; // of the pools; NULL: no memory
};

// To name a pool takes the loader's lock. A thread that has it, in a dlopen(), may record: so the
// names come before the ring's lock.
static void name_pools(struct contents *contents)
{
    contents->pools = ss_pool_count();
    contents->names = ss_allocate(contents->pools * sizeof *contents->names);
    for (unsigned i = 0; contents->names && i < contents->pools; i++)
        ss_pool_name(ss_pool_at(i), contents->names[i], sizeof contents->names[i]);
}

// With the ring's lock on exit. The pool of an event is counted before the event is there, so if no
// pool has come, those that were named are all that the events have.
static void lock_contents(struct contents *contents)
{
    for (;;) {
        name_pools(contents);
        ss_trace_lock();
        contents->chunks = choose_events();
        if (ss_pool_count() == contents->pools)
            return;
        ss_trace_unlock();
        ss_deallocate(contents->names);
    }
}

static void put_pool(struct output *out, const struct ss_pool *pool, const char *name)
{
    struct pool head = {.max = load_relaxed(&pool->times.max)};
    struct bucket buckets[SS_BUCKETS];
    snprintf(head.name, sizeof head.name, "%s", name);
    for (unsigned i = 0; i < SS_BUCKETS; i++) {
        uint64_t count = load_relaxed(&pool->times.bucket[i]);
        if (count > 0)
            buckets[head.buckets++] = (struct bucket){ss_bucket_end(i), count};
    }
    put(out, &head, sizeof head);
    put(out, buckets, head.buckets * sizeof *buckets);
}

static void put_threads(struct output *out)
{
    for (const struct ss_tracer *tracer = ss_tracers(); tracer; tracer = tracer->all) {
        struct thread thread = {(uint32_t)tracer->tid, load_relaxed(&tracer->role),
                                load_relaxed(&tracer->lost)};
        put(out, &thread, sizeof thread);
    }
}

static void put_chunks(struct output *out)
{
    for (const struct ss_chunk *chunk = ss_chunks(); chunk; chunk = chunk->all) {
        if (chunk->written == 0)
            continue;
        struct chunk head = {chunk->owner->number, chunk->written};
        put(out, &head, sizeof head);
        put(out, chunk->event, chunk->written * sizeof *chunk->event);
    }
}

// With the lock of the ring.
static void put_all(struct output *out, const struct contents *contents)
{
    struct header header = {.magic = MAGIC, .version = VERSION, .byte_order = ORDER_MARK};
    header.pid = (uint32_t)ss_process_id();
    header.pools = contents->pools;
    header.threads = number_tracers();
    header.chunks = contents->chunks;
    header.begin = begun_at;
    header.end = ss_os.now();
    header.lost = ss_trace_lost_of_nobody();
    snprintf(header.program, sizeof header.program, "%s", ss_process_name());
    put(out, &header, sizeof header);
    for (unsigned i = 0; i < header.pools; i++)
        put_pool(out, ss_pool_at(i), contents->names ? contents->names[i] : "unnamed");
    put_threads(out);
    put_chunks(out);
    put(out, END, 8);
}

// SMOLSCALE_TRACE with the process id: each process has a file of its own.
static bool trace_path(char *path, size_t size)
{
    char pattern[SS_PATH_SIZE];
    const char *given = ss_option_text(SS_OPTION_TRACE);
    int length = snprintf(pattern, sizeof pattern, "%s%s", given, strstr(given, "%p") ? "" : ".%p");
    return length >= 0 && (size_t)length < sizeof pattern &&
           ss_path_of_process(pattern, path, size);
}

static void write_file(const struct contents *contents)
{
    char path[SS_PATH_SIZE];
    if (!trace_path(path, sizeof path)) {
        ss_path_complain("SMOLSCALE_TRACE", ss_option_text(SS_OPTION_TRACE), ENAMETOOLONG);
        return;
    }
    struct output out = {.file = ss_output_create(path)};
    out.failed = out.file < 0;
    if (!out.failed)
        put_all(&out, contents);
    int err = errno;
    if (out.file >= 0 && !ss_output_close(out.file) && !out.failed) {
        out.failed = true;
        err = errno;
    }
    if (out.failed)
        ss_path_complain("SMOLSCALE_TRACE", path, err);
}

// ---- begin and end

// Other threads may still record: what they have begun to write is not in the file.
static void at_exit(void)
{
    int saved_errno = errno;
    struct contents contents;
    ss_observe_no_more(SS_OBSERVED_FOR_TRACE);
    lock_contents(&contents);
    if (ss_tracers())
        write_file(&contents);
    ss_trace_unlock();
    ss_deallocate(contents.names);
    errno = saved_errno;
}

static void begin(void)
{
    begun = true;
    begun_at = ss_os.now();
    ss_trace_begin((uint64_t)ss_option(SS_OPTION_TRACE_MEMORY) << 20);
    ss_observe(SS_OBSERVED_FOR_TRACE);
}

// The handler once for all children: handlers survive fork().
static void init(void)
{
    static _Atomic bool registered;
    if (!ss_option_text(SS_OPTION_TRACE))
        return;
    if (!exchange_seq_cst(&registered, true))
        ss_process_at_exit(at_exit);
    ss_lock(&lock);
    if (!begun)
        begin();
    ss_unlock(&lock);
}

// The executor counts as started in the child: nothing calls init() again.
static void after_fork(void)
{
    ss_lock_reset(&lock);
    if (!begun)
        return;
    begin();
    if (ss_self)
        ss_note_thread(SS_ROLE_WORKER);
}

SS_ROOM(process_trace, init, after_fork);
