// SPDX-License-Identifier: ISC
//
// When a libuv inside of an object is taken over: the preloaded library's part of it.
//
// Every libuv from 1.34 on calls epoll_create1() in uv_loop_init(), through the linkage table,
// before the loop exists. So the preloaded library stands in for that function. Its return address
// lies in the object to be looked at; and as that libuv has no loop yet, no thread can be inside of
// the functions that take one: nothing is running that is about to be changed, however many threads
// there are. What the process does without epoll costs nothing.
//
// An object is examined once. What came out is kept with the object's place and name, so a program
// that creates many descriptors pays a look at the list of loaded objects each time (a few µs). An
// object that was refused stays refused, for it may have loops by now. One that was served and has
// its own code again was closed and loaded anew: it is examined again.
//
// Locks: `lock` guards all that is here; taken over fork(), so that a child finds no half-made
// change.

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "capture.h"
#include "examine.h"
#include "instance.h"
#include "layout.h"

#include "base/atomic.h"
#include "smolscale.h"

#define RECORDS 32

struct record {
    struct ss_loaded loaded; // its path is empty: a free record
    struct ss_verdict verdict;
    const struct ss_uv_instance *instance; // when served
    struct ss_libuv libuv;                 // when served
    bool has_loops;                        // a loop was taken over
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct record records[RECORDS];

extern const struct ss_uv_instance ss_uv_instance_0, ss_uv_instance_1, ss_uv_instance_2,
    ss_uv_instance_3, ss_uv_instance_4, ss_uv_instance_5;
const struct ss_uv_instance *const ss_uv_instances[SS_UV_INSTANCES] = {
    &ss_uv_instance_0, &ss_uv_instance_1, &ss_uv_instance_2,
    &ss_uv_instance_3, &ss_uv_instance_4, &ss_uv_instance_5,
};

// An instance's queues are set up for one version of libuv, at their first use.
static unsigned instance_version[SS_UV_INSTANCES]; // 0: not used yet

// ---------------------------------------------------------------------------------------------
// What is said
// ---------------------------------------------------------------------------------------------

static void say(const struct record *record)
{
    char line[1280], path[1024], version[32] = "", why[160] = "";
    const struct ss_verdict *verdict = &record->verdict;
    int saved_errno = errno;

    if (verdict->reason == SS_INSIDE_NO_LIBUV || verdict->reason == SS_INSIDE_LIBRARY ||
        smolscale_option("SMOLSCALE_VERBOSE") != 1)
        return;
    if (record->libuv.version != 0)
        snprintf(version, sizeof(version), " %u.%u.%u", record->libuv.version >> 16,
                 record->libuv.version >> 8 & 0xffu, record->libuv.version & 0xffu);
    if (verdict->reason != SS_INSIDE_SERVED)
        snprintf(why, sizeof(why), "left alone: %s%s%s%s%s", ss_verdict_text(verdict->reason),
                 verdict->what != NULL ? ": " : "", verdict->what != NULL ? verdict->what : "",
                 verdict->error != 0 ? ": " : "",
                 verdict->error != 0 ? strerrordesc_np(-verdict->error) : "");
    ssize_t end = readlink(record->loaded.path, path, sizeof(path) - 1); // /proc/self/exe
    path[end > 0 ? end : 0] = '\0';
    snprintf(line, sizeof(line), "smolscale: libuv%s in %s: %s\n", version,
             end > 0 ? path : record->loaded.path,
             verdict->reason == SS_INSIDE_SERVED ? "served" : why);
    smolscale_say(line);
    errno = saved_errno;
}

// ---------------------------------------------------------------------------------------------
// Taking over (with the lock)
// ---------------------------------------------------------------------------------------------

static bool is_same(const struct ss_loaded *a, const struct ss_loaded *b)
{
    return a->low == b->low && a->high == b->high && a->base == b->base &&
           strcmp(a->path, b->path) == 0;
}

static bool is_loaded(const struct record *record)
{
    struct ss_loaded now;

    return ss_loaded_at(&now, record->loaded.low) && is_same(&now, &record->loaded);
}

static struct record *free_record(void)
{
    for (unsigned i = 0; i < RECORDS; i++) {
        if (records[i].loaded.path[0] == '\0' || !is_loaded(&records[i]))
            return &records[i];
    }
    return NULL;
}

static const struct ss_uv_instance *free_instance(unsigned version)
{
    for (unsigned i = 0; i < SS_UV_INSTANCES; i++) {
        bool used = instance_version[i] != 0 && instance_version[i] != version;
        for (unsigned r = 0; r < RECORDS && !used; r++)
            used = records[r].instance == ss_uv_instances[i] && is_loaded(&records[r]);
        if (!used)
            return ss_uv_instances[i];
    }
    return NULL;
}

static struct ss_verdict take_over(struct record *record)
{
    struct ss_libuv *libuv = &record->libuv;
    const struct ss_uv_instance *instance = free_instance(libuv->version);
    uintptr_t base = libuv->object.base;

    if (instance == NULL)
        return (struct ss_verdict){SS_INSIDE_FULL, NULL, 0};
    for (unsigned i = 0; i < SS_TAKEN_COUNT; i++)
        libuv->text.site[i].target = instance->entry[i];
    instance->serve(&(struct ss_served){
        libuv->version,
        (unsigned (*)(void))(base + libuv->found.called[SS_CALLED_version].address),
        libuv->async_send,
        (ss_submit_fn *)(base + libuv->found.taken[SS_TAKEN_SUBMIT].address),
        (ss_queue_work_fn *)(base + libuv->found.taken[SS_TAKEN_QUEUE_WORK].address),
    });
    int err = ss_text_patch(&libuv->text);
    if (err != 0)
        return (struct ss_verdict){SS_INSIDE_SWAP, NULL, err};
    record->instance = instance;
    for (unsigned i = 0; i < SS_UV_INSTANCES; i++) {
        if (ss_uv_instances[i] == instance)
            instance_version[i] = libuv->version;
    }
    return (struct ss_verdict){SS_INSIDE_SERVED, NULL, 0};
}

static struct record *record_of(const struct ss_loaded *loaded)
{
    for (unsigned i = 0; i < RECORDS; i++) {
        if (is_same(&records[i].loaded, loaded))
            return &records[i];
    }
    return NULL;
}

// What is known of an object, which is examined if nothing is; NULL: there is no room to note it.
static const struct record *examine(const struct ss_loaded *loaded)
{
    struct record *record = record_of(loaded);

    if (record != NULL &&
        (record->verdict.reason != SS_INSIDE_SERVED || ss_text_is_patched(&record->libuv.text)))
        return record;
    if (record == NULL && (record = free_record()) == NULL)
        return NULL;
    memset(record, 0, sizeof(*record));
    record->loaded = *loaded;
    record->verdict = ss_examine(&record->libuv, loaded);
    if (record->verdict.reason == SS_INSIDE_SERVED)
        record->verdict = take_over(record);
    say(record);
    return record;
}

// ---------------------------------------------------------------------------------------------
// When
// ---------------------------------------------------------------------------------------------

static void lock_for_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void unlock_after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

static void unlock_in_child(void)
{
    pthread_mutex_init(&lock, NULL);
}

static void look_after_fork(void)
{
    (void)pthread_atfork(lock_for_fork, unlock_after_fork, unlock_in_child);
}

static bool is_wanted(void)
{
    static int answer; // 0: not asked yet
    int known = word_load_relaxed(&answer);

    if (known == 0) {
        // A program that forbids itself system calls may be ended for ours.
        known = smolscale_disabled() || smolscale_option("SMOLSCALE_INSIDE") == 0 ||
                        smolscale_option("SMOLSCALE_QUIET") == 1
                    ? 1
                    : 2;
        word_store_relaxed(&answer, known);
    }
    return known == 2;
}

static int native_epoll_create1(int flags)
{
    static int (*found)(int flags);
    int (*native)(int flags) = word_load_relaxed(&found);

    if (native == NULL) {
        native = (int (*)(int))dlsym(RTLD_NEXT, "epoll_create1");
        word_store_relaxed(&found, native);
    }
    return native != NULL ? native(flags) : (int)syscall(SYS_epoll_create1, flags);
}

// Where the last one was that asked and is not served: what has no libuv makes descriptors, too,
// and some of it many (libostree two for each file). With the lock.
static struct stranger {
    const void *address;
    unsigned long long unloaded; // objects, before it was looked at
} stranger;

static bool is_stranger(const struct stranger *caller)
{
    pthread_mutex_lock(&lock);
    bool same = caller->address == stranger.address && caller->unloaded == stranger.unloaded;
    pthread_mutex_unlock(&lock);
    return same;
}

bool ss_inside_serves(const void *address)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct ss_loaded loaded;

    if (!is_wanted())
        return false;
    pthread_once(&once, look_after_fork);
    struct stranger caller = {address, ss_objects_unloaded()};
    if (is_stranger(&caller) || !ss_loaded_at(&loaded, (uintptr_t)address))
        return false;
    pthread_mutex_lock(&lock);
    const struct record *record = examine(&loaded);
    bool serves = record != NULL && record->verdict.reason == SS_INSIDE_SERVED;
    if (record != NULL && !serves)
        stranger = caller;
    pthread_mutex_unlock(&lock);
    return serves;
}

const void *ss_inside_origin(uv_async_cb callback)
{
    for (unsigned i = 0; i < SS_UV_INSTANCES; i++) {
        if (ss_uv_instances[i]->work_done == callback)
            return (const void *)ss_uv_instances[i]->libuv->async_send;
    }
    return NULL;
}

SMOLSCALE_API int epoll_create1(int flags)
{
    (void)ss_inside_serves(__builtin_return_address(0));
    return native_epoll_create1(flags);
}

// ---------------------------------------------------------------------------------------------
// A loop's first submission
// ---------------------------------------------------------------------------------------------

static struct record *record_served_by(const struct ss_uv_instance *instance)
{
    for (unsigned i = 0; i < RECORDS; i++) {
        if (records[i].instance == instance && records[i].loaded.path[0] != '\0')
            return &records[i];
    }
    return NULL;
}

enum ss_adoption ss_inside_adopt(const struct ss_uv_instance *instance, const uv_loop_t *loop)
{
    enum ss_adoption adoption = SS_LOOP_ASIDE;
    uv_async_cb callback;

    pthread_mutex_lock(&lock);
    struct record *record = record_served_by(instance);
    if (record != NULL && record->verdict.reason == SS_INSIDE_LOOP) {
        adoption = SS_LOOP_LEFT; // while this thread was on its way
    } else if (record != NULL) {
        struct ss_libuv *libuv = &record->libuv;
        if (ss_loop_is_fresh(loop, &callback) &&
            ss_libuv_has_function(libuv, (uintptr_t)callback)) {
            adoption = SS_LOOP_TAKEN;
            record->has_loops = true;
        } else if (!record->has_loops && ss_text_restore(&libuv->text, 0, libuv->text.count) == 0) {
            adoption = SS_LOOP_LEFT;
            record->verdict = (struct ss_verdict){SS_INSIDE_LOOP, NULL, 0};
            say(record);
        }
    }
    pthread_mutex_unlock(&lock);
    return adoption;
}
