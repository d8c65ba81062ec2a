// SPDX-License-Identifier: ISC
//
// Reading a trace, and putting it together; see trace.h.

#include "trace.h"

#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    VERSION = 1,
    POOLS_MAX = 256,
    BUCKETS_MAX = 656,
    CHUNK_EVENTS_MAX = 2046,
    HEADER_SIZE = 120,
    POOL_SIZE = TRACE_POOL_NAME + 16,
    BUCKET_SIZE = 16,
    THREAD_SIZE = 16,
    CHUNK_SIZE = 8,
    EVENT_SIZE = 16,
};

// ---- bytes ----

struct reader {
    const unsigned char *at, *end;
    char *why;
    size_t why_size;
};

__attribute__((format(printf, 2, 3))) static bool refuse(const struct reader *in,
                                                         const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(in->why, in->why_size, format, arguments);
    va_end(arguments);
    return false;
}

static size_t left(const struct reader *in)
{
    return (size_t)(in->end - in->at);
}

static bool take(struct reader *in, void *to, size_t size)
{
    if (left(in) < size)
        return refuse(in, "it is cut off");
    memcpy(to, in->at, size);
    in->at += size;
    return true;
}

// Could so many of this size, at least, still follow?
static bool may_follow(const struct reader *in, uint64_t count, size_t size)
{
    return count <= left(in) / size || refuse(in, "it is cut off");
}

static bool is_text(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    if (length == size)
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return true;
}

// ---- the parts ----

struct header {
    uint32_t version, byte_order, pid, pools, threads, chunks;
    uint64_t begin, end, lost;
};

_Static_assert(sizeof(struct header) == 48, "as in the file");

static bool read_header(struct reader *in, struct trace *trace, struct header *header)
{
    char magic[8];
    if (left(in) < sizeof magic || memcmp(in->at, "smoltrce", sizeof magic) != 0)
        return refuse(in, "it is not a trace of smolscale");
    if (!take(in, magic, sizeof magic) || !take(in, header, sizeof *header) ||
        !take(in, trace->program, sizeof trace->program))
        return false;
    if (header->byte_order == 0x04030201)
        return refuse(in, "it was written on a machine of the other byte order");
    if (header->byte_order != 0x01020304)
        return refuse(in, "its header is damaged");
    if (header->version != VERSION)
        return refuse(in, "it has version %u of the format, and this program reads version %u",
                      header->version, VERSION);
    if (header->pools > POOLS_MAX || header->end < header->begin)
        return refuse(in, "its header is damaged");
    // A program may be called anything.
    trace->program[sizeof trace->program - 1] = '\0';
    for (char *c = trace->program; *c; c++)
        *c = *c < ' ' || *c > '~' ? '?' : *c;
    trace->pid = header->pid;
    trace->length = header->end - header->begin;
    trace->lost = header->lost;
    return may_follow(in, header->pools, POOL_SIZE) &&
           may_follow(in, header->threads, THREAD_SIZE) &&
           may_follow(in, header->chunks, CHUNK_SIZE + EVENT_SIZE);
}

static bool read_buckets(struct reader *in, struct trace_pool *pool)
{
    uint64_t before = 0;
    pool->buckets = must_alloc(pool->bucket_count * sizeof *pool->buckets);
    for (size_t i = 0; i < pool->bucket_count; i++) {
        struct trace_bucket *bucket = &pool->buckets[i];
        if (!take(in, bucket, sizeof *bucket))
            return false;
        bool follows = i == 0 || bucket->last > before;
        if (!follows || bucket->count == 0 ||
            __builtin_add_overflow(pool->count, bucket->count, &pool->count))
            return refuse(in, "the times in queue of pool '%s' are damaged", pool->name);
        before = bucket->last;
    }
    return true;
}

static bool read_pool(struct reader *in, struct trace_pool *pool)
{
    uint32_t numbers[2];
    if (!take(in, pool->name, sizeof pool->name) || !take(in, &pool->max, sizeof pool->max) ||
        !take(in, numbers, sizeof numbers))
        return false;
    if (!is_text(pool->name, sizeof pool->name) || numbers[0] > BUCKETS_MAX || numbers[1] != 0) {
        pool->name[0] = '\0';
        return refuse(in, "a pool is damaged");
    }
    pool->bucket_count = numbers[0];
    return may_follow(in, pool->bucket_count, BUCKET_SIZE) && read_buckets(in, pool);
}

// The last is the one that events of an unknown pool belong to.
static bool read_pools(struct reader *in, struct trace *trace, size_t count)
{
    trace->pools = must_alloc((count + 1) * sizeof *trace->pools);
    trace->pool_count = count + 1;
    snprintf(trace->pools[count].name, sizeof trace->pools[count].name, "unknown");
    for (size_t i = 0; i < count; i++)
        if (!read_pool(in, &trace->pools[i]))
            return false;
    return true;
}

static bool read_threads(struct reader *in, struct trace *trace, size_t count)
{
    if (!may_follow(in, count, THREAD_SIZE))
        return false;
    trace->threads = must_alloc(count * sizeof *trace->threads);
    trace->thread_count = count;
    for (size_t i = 0; i < count; i++) {
        struct trace_thread *thread = &trace->threads[i];
        if (!take(in, &thread->tid, 4) || !take(in, &thread->role, 4) ||
            !take(in, &thread->lost, 8))
            return false;
        if (thread->role >= SS_ROLES ||
            __builtin_add_overflow(trace->lost, thread->lost, &trace->lost))
            return refuse(in, "a thread is damaged");
    }
    return true;
}

struct chunk {
    uint32_t thread, events;
    uint64_t first;
    const unsigned char *at;
};

static int by_thread_and_time(const void *a, const void *b)
{
    const struct chunk *left = a, *right = b;
    if (left->thread != right->thread)
        return left->thread < right->thread ? -1 : 1;
    if (left->first != right->first)
        return left->first < right->first ? -1 : 1;
    return (left->at > right->at) - (left->at < right->at);
}

static uint64_t word_at(const unsigned char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static bool find_chunks(struct reader *in, const struct trace *trace, struct chunk *chunks,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t numbers[2];
        if (!take(in, numbers, sizeof numbers))
            return false;
        if (numbers[0] >= trace->thread_count || numbers[1] == 0 || numbers[1] > CHUNK_EVENTS_MAX)
            return refuse(in, "a list of events is damaged");
        if (!may_follow(in, numbers[1], EVENT_SIZE))
            return false;
        chunks[i] = (struct chunk){numbers[0], numbers[1], word_at(in->at) >> 8, in->at};
        trace->threads[numbers[0]].event_count += numbers[1];
        in->at += (size_t)numbers[1] * EVENT_SIZE;
    }
    char end[8];
    if (!take(in, end, sizeof end))
        return false;
    if (memcmp(end, "endtrace", sizeof end) != 0 || left(in) > 0)
        return refuse(in, "its end is damaged");
    return true;
}

static bool has_pool(uint32_t kind)
{
    switch (kind) {
    case SS_EVENT_ENQUEUE:
    case SS_EVENT_START:
    case SS_EVENT_END:
    case SS_EVENT_REMOVE:
    case SS_EVENT_NAP:
    case SS_EVENT_NAP_END:
        return true;
    default:
        return false;
    }
}

static bool read_event(const struct reader *in, const struct trace *trace, uint64_t begin,
                       const unsigned char *at, struct trace_event *event)
{
    uint64_t when = word_at(at), what = word_at(at + 8);
    uint64_t time = when >> 8;
    *event = (struct trace_event){.time = time - begin,
                                  .value = what & TRACE_UNKNOWN,
                                  .which = (uint32_t)(what >> SS_EVENT_VALUE_BITS),
                                  .kind = (uint32_t)(when & 0xff)};
    if (event->kind == 0 || event->kind >= SS_EVENT_KINDS)
        return refuse(in, "an event has the unknown kind %u", event->kind);
    if (time < begin)
        return refuse(in, "an event is older than the trace");
    if (has_pool(event->kind)) {
        if (event->which == POOLS_MAX)
            event->which = (uint32_t)trace->pool_count - 1;
        else if (event->which >= trace->pool_count - 1)
            return refuse(in, "an event has the pool %u, which is not there", event->which);
    }
    if ((event->kind == SS_EVENT_ORDER && event->which >= SS_ORDERS) ||
        (event->kind == SS_EVENT_THREAD && event->which >= SS_ROLES))
        return refuse(in, "an event of kind %u is damaged", event->kind);
    return true;
}

static bool read_events(const struct reader *in, struct trace *trace, uint64_t begin,
                        const struct chunk *chunks, size_t count)
{
    for (size_t i = 0; i < trace->thread_count; i++) {
        struct trace_thread *thread = &trace->threads[i];
        thread->events = must_alloc(thread->event_count * sizeof *thread->events);
        trace->event_count += thread->event_count;
        thread->event_count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        struct trace_thread *thread = &trace->threads[chunks[i].thread];
        for (uint32_t k = 0; k < chunks[i].events; k++) {
            size_t n = thread->event_count;
            struct trace_event *event = &thread->events[n];
            if (!read_event(in, trace, begin, chunks[i].at + k * EVENT_SIZE, event))
                return false;
            if (n > 0 && event->time < thread->events[n - 1].time)
                return refuse(in, "the events of thread %u are not in order", thread->tid);
            if (event->time > trace->length)
                trace->length = event->time; // it was under way when the file was written
            thread->event_count++;
        }
    }
    return true;
}

// Threads of the program first, each in the order in which they come.
static int by_arrival(const void *a, const void *b)
{
    const struct trace_thread *left = a, *right = b;
    if ((left->role == SS_ROLE_PROGRAM) != (right->role == SS_ROLE_PROGRAM))
        return left->role == SS_ROLE_PROGRAM ? -1 : 1;
    uint64_t first = left->event_count ? left->events[0].time : UINT64_MAX;
    uint64_t second = right->event_count ? right->events[0].time : UINT64_MAX;
    if (first != second)
        return first < second ? -1 : 1;
    return (left->tid > right->tid) - (left->tid < right->tid);
}

bool trace_parse(struct trace *trace, const void *bytes, size_t size, char *why, size_t why_size)
{
    struct reader in = {bytes, (const unsigned char *)bytes + size, why, why_size};
    struct header header;
    *trace = (struct trace){0};
    if (!read_header(&in, trace, &header) || !read_pools(&in, trace, header.pools) ||
        !read_threads(&in, trace, header.threads) ||
        !may_follow(&in, header.chunks, CHUNK_SIZE + EVENT_SIZE))
        return false;
    struct chunk *chunks = must_alloc(header.chunks * sizeof *chunks);
    bool good = find_chunks(&in, trace, chunks, header.chunks);
    if (good) {
        qsort(chunks, header.chunks, sizeof *chunks, by_thread_and_time);
        good = read_events(&in, trace, header.begin, chunks, header.chunks);
        qsort(trace->threads, trace->thread_count, sizeof *trace->threads, by_arrival);
    }
    free(chunks);
    return good;
}

void trace_finish(struct trace *trace)
{
    for (size_t i = 0; i < trace->pool_count; i++)
        free(trace->pools[i].buckets);
    for (size_t i = 0; i < trace->thread_count; i++)
        free(trace->threads[i].events);
    free(trace->pools);
    free(trace->threads);
    *trace = (struct trace){0};
}

uint64_t trace_quantile(const struct trace_pool *pool, unsigned permille)
{
    uint64_t wanted = pool->count / 1000 * permille + (pool->count % 1000 * permille + 999) / 1000;
    uint64_t seen = 0;
    for (size_t i = 0; i < pool->bucket_count; i++) {
        seen += pool->buckets[i].count;
        if (seen >= wanted)
            return pool->buckets[i].last < pool->max ? pool->buckets[i].last : pool->max;
    }
    return pool->count ? pool->max : 0;
}

// ---- files ----

static bool ends_with_number(const char *path, size_t from)
{
    return path[from] && path[from + strspn(path + from, "0123456789")] == '\0';
}

// A name with "?", "*" or "[" is a pattern: it is quoted.
static char *pattern_of(const char *name)
{
    char *pattern = must_alloc(2 * strlen(name) + 3), *to = pattern;
    for (; *name; name++) {
        if (strchr("?*[\\", *name))
            *to++ = '\\';
        *to++ = *name;
    }
    strcpy(to, ".*");
    return pattern;
}

// What stands in the way of an only file called NAME.PID.
static _Noreturn void say_which(const char *name, char *const *found, size_t count)
{
    if (count == 0)
        fail(STATUS_FAILED,
             "%s: there is no such file, and none with a process id behind it (a process that ran "
             "no job on smolscale, or was killed, leaves none)",
             name);
    complain("%s: there are several traces of that name, one of each process; name one:", name);
    for (size_t i = 0; i < count; i++) {
        struct stat status;
        long long size = stat(found[i], &status) == 0 ? (long long)status.st_size : 0;
        fprintf(stderr, "  %s (%lld KiB)\n", found[i], (size + 1023) / 1024);
    }
    exit(STATUS_FAILED);
}

static char *find_file(const char *name)
{
    if (access(name, F_OK) == 0 || errno != ENOENT)
        return must_copy(name);
    char *pattern = pattern_of(name), *found = NULL;
    glob_t files = {0};
    size_t count = 0;
    if (glob(pattern, 0, NULL, &files) == 0)
        for (size_t i = 0; i < files.gl_pathc; i++)
            if (ends_with_number(files.gl_pathv[i], strlen(name) + 1))
                files.gl_pathv[count++] = files.gl_pathv[i];
    if (count != 1)
        say_which(name, files.gl_pathv, count);
    found = must_copy(files.gl_pathv[0]);
    free(pattern);
    return found; // the list goes with the process: its order was changed
}

static void *must_map(const char *path, size_t *size)
{
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status) != 0)
        fail(STATUS_FAILED, "%s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        fail(STATUS_FAILED, "%s: it is not a file", path);
    *size = (size_t)status.st_size;
    // Of an empty file nothing can be mapped; it is told like any other that is no trace.
    void *bytes = *size ? mmap(NULL, *size, PROT_READ, MAP_PRIVATE, file, 0) : must_alloc(1);
    if (bytes == MAP_FAILED)
        fail(STATUS_FAILED, "%s: %s", path, strerror(errno));
    close(file);
    return bytes;
}

char *trace_must_read(struct trace *trace, const char *name)
{
    char *path = find_file(name), why[256];
    size_t size;
    void *bytes = must_map(path, &size);
    if (!trace_parse(trace, bytes, size, why, sizeof why))
        fail(STATUS_FAILED, "%s: %s", path, why);
    if (size > 0)
        munmap(bytes, size);
    else
        free(bytes);
    return path;
}

char *trace_thread_name(const struct trace *trace, const struct trace_thread *thread)
{
    if (thread->role == SS_ROLE_WORKER)
        return must_format("worker %u", thread->tid);
    if (thread->role == SS_ROLE_SPAWNER)
        return must_format("balancer %u", thread->tid);
    return thread->tid == trace->pid ? must_copy("main thread")
                                     : must_format("thread %u", thread->tid);
}

// ---- slices ----

// Room for one more element behind `count`.
static void *grown(void *list, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return list;
    *capacity = *capacity ? 2 * *capacity : 64;
    return must_grow(list, *capacity, size);
}

static struct slice *add_slice(struct row *row, struct slice slice)
{
    row->slices = grown(row->slices, row->count, &row->capacity, sizeof *row->slices);
    row->slices[row->count] = slice;
    return &row->slices[row->count++];
}

enum { DEPTH_MAX = 32 };

// What a thread is in, while its events are gone through: places in its row.
struct state {
    size_t jobs[DEPTH_MAX];
    unsigned depth;
    bool idle; // parked or napping: the slice `idle_at`
    size_t idle_at;
};

static void close_slice(struct row *row, size_t at, uint64_t time)
{
    row->slices[at].end = time;
    row->slices[at].open = false;
}

static void open_idle(struct row *row, struct state *state, const struct trace_event *event,
                      enum slice_kind kind)
{
    if (state->idle)
        close_slice(row, state->idle_at, event->time);
    state->idle = true;
    state->idle_at = row->count;
    add_slice(row, (struct slice){.start = event->time,
                                  .waited = TRACE_UNKNOWN,
                                  .pool = kind == SLICE_NAP ? event->which : 0,
                                  .jobs = 1,
                                  .kind = (uint8_t)kind,
                                  .open = true});
}

static void close_idle(struct row *row, struct state *state, uint64_t time)
{
    if (state->idle)
        close_slice(row, state->idle_at, time);
    state->idle = false;
}

static void open_job(struct row *row, struct state *state, const struct trace_event *event)
{
    close_idle(row, state, event->time);
    if (state->depth == DEPTH_MAX)
        return;
    state->jobs[state->depth] = row->count;
    add_slice(row, (struct slice){.start = event->time,
                                  .waited = event->value,
                                  .pool = event->which,
                                  .jobs = 1,
                                  .kind = SLICE_JOB,
                                  .depth = (uint8_t)state->depth,
                                  .open = true});
    state->depth++;
}

// Ends the job of this pool, and those in it whose end is missing. One whose start is missing has
// no slice.
static void close_job(struct row *row, struct state *state, const struct trace_event *event)
{
    unsigned at = state->depth;
    while (at > 0 && row->slices[state->jobs[at - 1]].pool != event->which)
        at--;
    if (at == 0)
        return;
    while (state->depth >= at)
        close_slice(row, state->jobs[--state->depth], event->time);
}

static void close_all(struct row *row, struct state *state, uint64_t time)
{
    close_idle(row, state, time);
    while (state->depth > 0)
        close_slice(row, state->jobs[--state->depth], time);
}

static void make_row(struct row *row, const struct trace *trace, const struct trace_thread *thread)
{
    struct state state = {0};
    for (size_t i = 0; i < thread->event_count; i++) {
        const struct trace_event *event = &thread->events[i];
        switch (event->kind) {
        case SS_EVENT_START:
            open_job(row, &state, event);
            break;
        case SS_EVENT_END:
            close_job(row, &state, event);
            break;
        case SS_EVENT_PARK:
            open_idle(row, &state, event, SLICE_PARKED);
            break;
        case SS_EVENT_NAP:
            open_idle(row, &state, event, SLICE_NAP);
            break;
        case SS_EVENT_UNPARK:
        case SS_EVENT_NAP_END:
            close_idle(row, &state, event->time);
            break;
        case SS_EVENT_THREAD_END:
            close_all(row, &state, event->time);
            break;
        default:
            break;
        }
    }
    for (size_t i = 0; i < row->count; i++)
        if (row->slices[i].open)
            row->slices[i].end = trace->length;
}

// ---- what threads say of others, and of pools: all events by time ----

struct told {
    const struct trace_event *event;
};

static int by_time(const void *a, const void *b)
{
    const struct trace_event *left = ((const struct told *)a)->event;
    const struct trace_event *right = ((const struct told *)b)->event;
    if (left->time != right->time)
        return left->time < right->time ? -1 : 1;
    return (left > right) - (left < right);
}

static bool is_told(const struct trace_event *event)
{
    return event->kind == SS_EVENT_ENQUEUE || event->kind == SS_EVENT_REMOVE ||
           event->kind == SS_EVENT_BLOCKED || event->kind == SS_EVENT_RESUMED ||
           event->kind == SS_EVENT_ORDER ||
           (event->kind == SS_EVENT_START && event->value != TRACE_UNKNOWN);
}

static size_t collect(const struct trace *trace, struct told *told)
{
    size_t count = 0;
    for (size_t i = 0; i < trace->thread_count; i++)
        for (size_t k = 0; k < trace->threads[i].event_count; k++)
            if (is_told(&trace->threads[i].events[k]))
                told[count++].event = &trace->threads[i].events[k];
    qsort(told, count, sizeof *told, by_time);
    return count;
}

static void add_sample(struct length *length, uint64_t time, uint64_t waiting)
{
    length->most = waiting > length->most ? waiting : length->most;
    if (length->count > 0 && length->samples[length->count - 1].time == time) {
        length->samples[length->count - 1].waiting = waiting;
        return;
    }
    length->samples =
        grown(length->samples, length->count, &length->capacity, sizeof *length->samples);
    length->samples[length->count++] = (struct sample){time, waiting};
}

static uint64_t waiting_now(const struct length *length)
{
    return length->count ? length->samples[length->count - 1].waiting : 0;
}

// The threads by their ids. An id may be there twice: of a thread that ended, and of a later one.
struct index {
    uint32_t tid, row;
    struct blocked *open; // the block that it is in; NULL: none
};

struct blocked {
    size_t row;
    struct slice slice;
};

static int by_tid(const void *a, const void *b)
{
    const struct index *left = a, *right = b;
    if (left->tid != right->tid)
        return left->tid < right->tid ? -1 : 1;
    return (left->row > right->row) - (left->row < right->row);
}

static struct index *make_index(const struct trace *trace)
{
    struct index *index = must_alloc(trace->thread_count * sizeof *index);
    for (size_t i = 0; i < trace->thread_count; i++)
        index[i] = (struct index){trace->threads[i].tid, (uint32_t)i, NULL};
    qsort(index, trace->thread_count, sizeof *index, by_tid);
    return index;
}

// The first entry with this id, or the one before which it would be.
static size_t find_tid(const struct index *index, size_t count, uint64_t tid)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (index[middle].tid < tid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// The innermost job of the row at that time; NULL: none that is known.
static const struct slice *job_at(const struct row *row, uint64_t time)
{
    size_t low = 0, high = row->count; // the first slice that starts later
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (row->slices[middle].start <= time)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t back = low; back > 0 && low - back < 2 * DEPTH_MAX; back--) {
        const struct slice *slice = &row->slices[back - 1];
        if (slice->kind == SLICE_JOB && slice->end >= time)
            return slice;
    }
    return NULL;
}

// It ends with its job, unless it is said before that the job goes on.
static void open_blocked(const struct picture *picture, struct index *index,
                         const struct trace_event *event, struct blocked *found, size_t *count)
{
    const struct slice *job = job_at(&picture->rows[index->row], event->time);
    if (!job)
        return;
    index->open = &found[(*count)++];
    *index->open = (struct blocked){index->row, *job};
    index->open->slice.start = event->time;
    index->open->slice.waited = TRACE_UNKNOWN;
    index->open->slice.kind = SLICE_BLOCKED;
}

static void close_blocked(struct index *index, uint64_t time)
{
    if (index->open && time < index->open->slice.end) {
        index->open->slice.end = time;
        index->open->slice.open = false;
    }
    index->open = NULL;
}

// Returns how many there are.
static size_t find_blocked(const struct picture *picture, const struct trace *trace,
                           const struct told *told, size_t count, struct blocked *found)
{
    struct index *index = make_index(trace);
    size_t found_count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct trace_event *event = told[i].event;
        bool begins = event->kind == SS_EVENT_BLOCKED;
        if (!begins && event->kind != SS_EVENT_RESUMED)
            continue;
        size_t at = find_tid(index, trace->thread_count, event->value);
        for (; at < trace->thread_count && index[at].tid == event->value; at++) {
            close_blocked(&index[at], event->time);
            size_t before = found_count;
            if (begins)
                open_blocked(picture, &index[at], event, found, &found_count);
            if (found_count > before)
                break; // one event is of one thread
        }
    }
    free(index);
    return found_count;
}

static int by_start(const void *a, const void *b)
{
    const struct slice *left = a, *right = b;
    if (left->start != right->start)
        return left->start < right->start ? -1 : 1;
    if (left->end != right->end)
        return left->end > right->end ? -1 : 1; // the outer one first
    return (left->kind > right->kind) - (left->kind < right->kind);
}

static void add_blocked(struct picture *picture, const struct trace *trace,
                        const struct blocked *found, size_t count)
{
    for (size_t i = 0; i < count; i++)
        add_slice(&picture->rows[found[i].row], found[i].slice);
    for (size_t i = 0; count > 0 && i < trace->thread_count; i++)
        if (picture->rows[i].count > 0)
            qsort(picture->rows[i].slices, picture->rows[i].count, sizeof(struct slice), by_start);
}

static void add_order(struct picture *picture, const struct trace_event *event)
{
    picture->orders = grown(picture->orders, picture->order_count, &picture->order_capacity,
                            sizeof *picture->orders);
    picture->orders[picture->order_count++] =
        (struct order){event->time, event->value, event->which};
}

void picture_make(struct picture *picture, const struct trace *trace)
{
    *picture = (struct picture){0};
    picture->rows = must_alloc(trace->thread_count * sizeof *picture->rows);
    picture->lengths = must_alloc(trace->pool_count * sizeof *picture->lengths);
    for (size_t i = 0; i < trace->thread_count; i++)
        make_row(&picture->rows[i], trace, &trace->threads[i]);

    struct told *told = must_alloc(trace->event_count * sizeof *told);
    struct blocked *found = must_alloc(trace->event_count * sizeof *found);
    size_t count = collect(trace, told);
    for (size_t i = 0; i < count; i++) {
        const struct trace_event *event = told[i].event;
        switch (event->kind) {
        case SS_EVENT_ENQUEUE:
        case SS_EVENT_REMOVE:
            add_sample(&picture->lengths[event->which], event->time, event->value);
            break;
        case SS_EVENT_START: {
            struct length *length = &picture->lengths[event->which];
            uint64_t waiting = waiting_now(length);
            add_sample(length, event->time, waiting ? waiting - 1 : 0);
            break;
        }
        case SS_EVENT_ORDER:
            add_order(picture, event);
            break;
        default:
            break;
        }
    }
    add_blocked(picture, trace, found, find_blocked(picture, trace, told, count, found));
    free(found);
    free(told);
}

void picture_finish(struct picture *picture, const struct trace *trace)
{
    for (size_t i = 0; i < trace->thread_count; i++)
        free(picture->rows[i].slices);
    for (size_t i = 0; i < trace->pool_count; i++)
        free(picture->lengths[i].samples);
    free(picture->rows);
    free(picture->lengths);
    free(picture->orders);
    *picture = (struct picture){0};
}

// ---- merging ----

static bool can_be_merged(const struct slice *one, const struct slice *next, uint64_t resolution)
{
    return one->kind == next->kind && one->pool == next->pool && one->depth == next->depth &&
           next->start >= one->end && next->start - one->end <= resolution &&
           next->end - next->start <= resolution && !next->open;
}

static size_t merge_row(struct row *row, uint64_t resolution)
{
    size_t kept = 0;
    for (size_t i = 0; i < row->count; i++) {
        const struct slice slice = row->slices[i];
        struct slice *last = kept ? &row->slices[kept - 1] : NULL;
        if (last && can_be_merged(last, &slice, resolution)) {
            last->end = slice.end;
            last->jobs += slice.jobs;
            if (last->waited == TRACE_UNKNOWN ||
                (slice.waited != TRACE_UNKNOWN && slice.waited > last->waited))
                last->waited = slice.waited;
        } else if (!last || slice.kind == SLICE_JOB || slice.end - slice.start > resolution ||
                   slice.start > last->end) {
            row->slices[kept++] = slice;
        } else {
            last->end = slice.end > last->end ? slice.end : last->end; // a nap between jobs
        }
    }
    row->count = kept;
    return kept;
}

static size_t thin_out(struct length *length, uint64_t resolution)
{
    size_t kept = 0;
    for (size_t i = 0; i < length->count; i++) {
        // Of what comes within the resolution, the largest and the last stay.
        if (kept > 1 && length->samples[i].time - length->samples[kept - 2].time <= resolution) {
            if (length->samples[kept - 1].waiting > length->samples[kept - 2].waiting)
                length->samples[kept - 2].waiting = length->samples[kept - 1].waiting;
            length->samples[kept - 1] = length->samples[i];
        } else {
            length->samples[kept++] = length->samples[i];
        }
    }
    length->count = kept;
    return kept;
}

static size_t merge_all(struct picture *picture, const struct trace *trace, uint64_t resolution)
{
    size_t total = 0;
    for (size_t i = 0; i < trace->thread_count; i++)
        total += merge_row(&picture->rows[i], resolution);
    for (size_t i = 0; i < trace->pool_count; i++)
        total += thin_out(&picture->lengths[i], resolution);
    return total;
}

uint64_t picture_merge(struct picture *picture, const struct trace *trace, size_t most)
{
    size_t total = picture->order_count;
    for (size_t i = 0; i < trace->thread_count; i++)
        total += picture->rows[i].count;
    for (size_t i = 0; i < trace->pool_count; i++)
        total += picture->lengths[i].count;
    uint64_t resolution = 0;
    while (total > most && resolution < trace->length) {
        if (resolution == 0)
            resolution = trace->length / 1000000 + 1;
        else // not twice the end of the number range
            resolution = resolution < trace->length / 2 ? 2 * resolution : trace->length;
        total = merge_all(picture, trace, resolution);
    }
    return resolution;
}
