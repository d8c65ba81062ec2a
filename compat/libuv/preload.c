// SPDX-License-Identifier: ISC
//
// libsmolscale-uv.so: preloaded into programs that load libuv.so.1, it moves user work, file
// system, name look-ups and random to smolscale. The program's libuv stays in charge of everything
// else.
//
// User work is public from end to end: uv_queue_work() here submits to our pool and libuv's is not
// touched.
//
// The others reach libuv's pool by a function that libuv hides. So its own uv_fs_stat() and so on
// run as they are, with all they do to request, path and buffers, up to the request's place in the
// queue of a pool that has no threads; there we take it out and submit it to ours:
//
// First, libuv starts its pool by uv_once(), uv_mutex_init(), uv_thread_create(), all public and
// called through its procedure linkage table, so they are ours to answer: we note the mutex and the
// threads' function, and start no thread (a thread created by libuv's own code inside of uv_once()
// is a pool thread).
//
// Second, each submission begins with that uv_once(); seeing it inside of a call of uv_fs_stat()
// tells that the request was queued, rather than refused or given to io_uring.
//
// Third, when uv_fs_stat() is back, we unlink the request under libuv's mutex.
//
// What finishes goes back by libuv's own uv__work_done(), found as the callback of loop->wq_async,
// in whose place we put ours: it moves our finished requests into loop->wq and calls it. So libuv's
// own book-keeping stays right.
//
// A submission outside of the functions we know (libuv falls back from io_uring to its pool, or a
// function newer than this file) makes libuv's threads start after all, late, and they serve just
// those requests.
//
// A libuv built so that its internal calls cannot be interposed is served for uv_queue_work() only.
//
// Locks: none of our own but `native_lock`, for starting libuv's threads; libuv's pool mutex and
// loop->wq_mutex as libuv itself takes them.

#include "pool.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#include "smolscale.h"

// ---------------------------------------------------------------------------------------------
// The libuv below
// ---------------------------------------------------------------------------------------------

// The next definition of a function after ours. A libuv that came by dlopen(RTLD_LOCAL), as in
// Python's uvloop, is in no global scope: it is found as the loaded object.
static void *find(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);

    if (function == NULL) {
        void *libuv = dlopen("libuv.so.1", RTLD_LAZY | RTLD_NOLOAD);
        if (libuv != NULL) {
            function = dlsym(libuv, name);
            dlclose(libuv); // whoever called us keeps it
        }
    }
    return function;
}

// Declares `real`, libuv's own function of that name, found at the first call.
#define REAL(name)                                                             \
    static __typeof__(&name) found_##name;                                     \
    __typeof__(&name) real = __atomic_load_n(&found_##name, __ATOMIC_RELAXED); \
    if (__builtin_expect(real == NULL, 0)) {                                   \
        real = (__typeof__(&name))find(#name);                                 \
        __atomic_store_n(&found_##name, real, __ATOMIC_RELAXED);               \
    }

static bool disabled(void)
{
    static int answer; // 0: not asked yet
    int known = __atomic_load_n(&answer, __ATOMIC_RELAXED);

    if (__builtin_expect(known == 0, 0)) {
        known = smolscale_disabled() ? 1 : 2;
        __atomic_store_n(&answer, known, __ATOMIC_RELAXED);
    }
    return known == 1;
}

unsigned ss_uv_version(void)
{
    REAL(uv_version);
    return real != NULL ? real() : UV_VERSION_HEX;
}

void ss_uv_async_send(uv_async_t *handle)
{
    REAL(uv_async_send);
    (void)real(handle);
}

static void lock(uv_mutex_t *mutex)
{
    REAL(uv_mutex_lock);
    real(mutex);
}

static void unlock(uv_mutex_t *mutex)
{
    REAL(uv_mutex_unlock);
    real(mutex);
}

// libuv's circular lists: words (next, previous), in every version.
typedef void *ss_word __attribute__((may_alias));

static void list_append(ss_word *list, ss_word *node)
{
    ss_word *last = list[1];

    node[0] = list;
    node[1] = last;
    last[0] = node;
    list[1] = node;
}

static void list_unlink(ss_word *node)
{
    ss_word *next = node[0], *previous = node[1];

    next[1] = previous;
    previous[0] = next;
}

// ---------------------------------------------------------------------------------------------
// libuv's own pool, without its threads
// ---------------------------------------------------------------------------------------------

// What the calling thread is in the middle of.
static _Thread_local struct {
    uv_once_t *once;    // uv_once(), which initialises this
    uv_mutex_t *mutex;  // the first mutex initialised in it
    unsigned threads;   // pool threads asked for in it
    bool in_request;    // a function of preload_functions.h, with a callback
    bool submitted;     // it has submitted to libuv's pool
    bool forwarding;    // a call of ours to libuv, which submits nothing
    bool native_worker; // the thread is one of libuv's pool after all
} here __attribute__((tls_model("initial-exec")));

// Written inside of libuv's uv_once(), and so visible to whoever has passed it.
static struct {
    uv_once_t *once;
    uv_mutex_t *mutex;
    uv_thread_cb worker;
    uv_thread_t *threads; // libuv's array
    unsigned count;
    unsigned started; // of these, after all; native_lock
} native;
static pthread_mutex_t native_lock = PTHREAD_MUTEX_INITIALIZER;

static bool belongs_to_libuv(uv_thread_cb function)
{
    Dl_info of_function, of_libuv;
    void *libuv = find("uv_version");

    return libuv != NULL && dladdr((void *)function, &of_function) != 0 &&
           dladdr(libuv, &of_libuv) != 0 && of_function.dli_fbase == of_libuv.dli_fbase;
}

// Is this the creation of a pool thread? Then it is noted and not made: its check-in, which libuv
// waits for, is done here.
static bool is_pool_thread(uv_thread_t *tid, uv_thread_cb entry, void *check_in)
{
    if (here.once == NULL || here.mutex == NULL || disabled() || !belongs_to_libuv(entry))
        return false;
    if (here.threads++ == 0) {
        // Also in a child process, where libuv starts its pool anew and no thread is left.
        pthread_mutex_init(&native_lock, NULL);
        native.mutex = here.mutex;
        native.worker = entry;
        native.threads = tid;
        native.count = 0;
        native.started = 0;
        __atomic_store_n(&native.once, here.once, __ATOMIC_RELEASE);
    }
    native.count++;

    REAL(uv_sem_post);
    real(check_in);
    return true;
}

static void native_worker(void *check_in)
{
    here.native_worker = true;
    native.worker(check_in);
}

// Posted by libuv's threads when they begin, and never waited for.
static uv_sem_t *late_check_in(void)
{
    static uv_sem_t semaphore;
    REAL(uv_sem_init);

    (void)real(&semaphore, 0);
    return &semaphore;
}

static void start_native_threads(void)
{
    static uv_sem_t *check_in; // native_lock
    REAL(uv_thread_create);

    pthread_mutex_lock(&native_lock);
    if (check_in == NULL)
        check_in = late_check_in();
    while (native.started < native.count &&
           real(native.threads + native.started, native_worker, check_in) == 0)
        native.started++;
    pthread_mutex_unlock(&native_lock);
}

SMOLSCALE_API void uv_once(uv_once_t *guard, void (*callback)(void))
{
    REAL(uv_once);
    uv_once_t *outer_once = here.once;
    uv_mutex_t *outer_mutex = here.mutex;
    unsigned outer_threads = here.threads;

    here.once = guard;
    here.mutex = NULL;
    here.threads = 0;
    real(guard, callback);
    here.once = outer_once;
    here.mutex = outer_mutex;
    here.threads = outer_threads;

    if (__atomic_load_n(&native.once, __ATOMIC_ACQUIRE) == guard) {
        if (here.in_request)
            here.submitted = true;
        else if (!here.forwarding)
            start_native_threads();
    }
}

SMOLSCALE_API int uv_mutex_init(uv_mutex_t *mutex)
{
    REAL(uv_mutex_init);

    if (here.once != NULL && here.mutex == NULL)
        here.mutex = mutex;
    return real(mutex);
}

SMOLSCALE_API int uv_thread_create(uv_thread_t *tid, uv_thread_cb entry, void *arg)
{
    REAL(uv_thread_create);

    return is_pool_thread(tid, entry, arg) ? 0 : real(tid, entry, arg);
}

SMOLSCALE_API int uv_thread_create_ex(uv_thread_t *tid, const uv_thread_options_t *params,
                                      uv_thread_cb entry, void *arg)
{
    REAL(uv_thread_create_ex);

    return is_pool_thread(tid, entry, arg) ? 0 : real(tid, params, entry, arg);
}

SMOLSCALE_API int uv_thread_join(uv_thread_t *tid)
{
    REAL(uv_thread_join);

    if (native.threads != NULL && tid >= native.threads + native.started &&
        tid < native.threads + native.count)
        return 0; // a pool thread that never was
    return real(tid);
}

// ---------------------------------------------------------------------------------------------
// Completion
// ---------------------------------------------------------------------------------------------

static uv_async_cb native_work_done;

static void work_done(uv_async_t *handle)
{
    uv_loop_t *loop = handle->loop;
    struct uv__work *w = ss_uv_take(loop);

    lock(&loop->wq_mutex);
    while (w != NULL) {
        struct uv__work *next = ss_uv_next(w);
        list_append((ss_word *)&loop->wq, (ss_word *)&w->wq);
        w = next;
    }
    unlock(&loop->wq_mutex);
    native_work_done(handle);
    ss_uv_leave(loop);
}

// Puts our callback in the place of libuv's. Before the loop's first submission, or, by a pool
// thread of libuv, before it wakes the loop; two threads may do it at once, to the same end.
static void attach(uv_loop_t *loop)
{
    uv_async_cb callback = __atomic_load_n(&loop->wq_async.async_cb, __ATOMIC_RELAXED);

    if (__builtin_expect(callback != work_done, 0)) {
        __atomic_store_n(&native_work_done, callback, __ATOMIC_RELEASE);
        __atomic_store_n(&loop->wq_async.async_cb, work_done, __ATOMIC_RELEASE);
    }
}

// A pool thread of libuv wakes the loop for what it has put into loop->wq.
SMOLSCALE_API int uv_async_send(uv_async_t *handle)
{
    REAL(uv_async_send);

    if (here.native_worker && handle == &handle->loop->wq_async) {
        attach(handle->loop);
        ss_uv_notify(handle->loop);
        return 0;
    }
    return real(handle);
}

// For each type of request libuv's own end of a request, and ours, which it is called from: to tell
// of cancelling, and as the mark of a request that is ours.
#define DONE(request)                                                      \
    static void (*native_done_##request)(struct uv__work * w, int status); \
    static void done_##request(struct uv__work *w, int status)             \
    {                                                                      \
        (void)status;                                                      \
        native_done_##request(w, ss_uv_conclude(w));                       \
    }

DONE(uv_fs_t)
DONE(uv_getaddrinfo_t)
DONE(uv_getnameinfo_t)
DONE(uv_random_t)

static bool is_ours(const uv_req_t *req, const struct uv__work *w)
{
    return req->type == UV_WORK || w->done == done_uv_fs_t || w->done == done_uv_getaddrinfo_t ||
           w->done == done_uv_getnameinfo_t || w->done == done_uv_random_t;
}

// ---------------------------------------------------------------------------------------------
// Requests
// ---------------------------------------------------------------------------------------------

// Takes a request out of libuv's queue. False: one of libuv's threads has been faster.
static bool seize(struct uv__work *w)
{
    uv_loop_t *loop = w->loop;
    ss_word *node = (ss_word *)&w->wq;
    bool mine;

    // Both locks, for libuv's threads link finished work into loop->wq: as libuv does to cancel.
    lock(native.mutex);
    lock(&loop->wq_mutex);
    mine = w->work != NULL && node[0] != node;
    if (mine)
        list_unlink(node);
    unlock(&loop->wq_mutex);
    unlock(native.mutex);
    return mine;
}

static bool begin_request(void)
{
    bool outer = here.in_request;

    here.in_request = true;
    here.submitted = false;
    return outer;
}

static bool end_request(bool outer)
{
    bool submitted = here.submitted;

    here.in_request = outer;
    here.submitted = false;
    return submitted;
}

#define POOL_FUNCTION(kind, request, name, parameters, arguments)                           \
    SMOLSCALE_API int name parameters                                                       \
    {                                                                                       \
        REAL(name);                                                                         \
        if (real == NULL)                                                                   \
            return UV_ENOSYS; /* newer than the libuv that is there */                      \
        if (cb == NULL || disabled())                                                       \
            return real arguments;                                                          \
        bool outer = begin_request();                                                       \
        int result = real arguments;                                                        \
        if (end_request(outer) && seize(&req->work_req)) {                                  \
            __atomic_store_n(&native_done_##request, req->work_req.done, __ATOMIC_RELAXED); \
            req->work_req.done = done_##request;                                            \
            attach(loop);                                                                   \
            ss_uv_submit(&req->work_req, kind);                                             \
        }                                                                                   \
        return result;                                                                      \
    }

#include "preload_functions.h"

SMOLSCALE_API int uv_queue_work(uv_loop_t *loop, uv_work_t *req, uv_work_cb work_cb,
                                uv_after_work_cb after_work_cb)
{
    REAL(uv_queue_work);
    if (disabled())
        return real(loop, req, work_cb, after_work_cb);
    int err = ss_uv_prepare_work(loop, req, work_cb, after_work_cb);
    if (err == 0) {
        attach(loop);
        ss_uv_submit(&req->work_req, SS_UV_CPU);
    }
    return err;
}

SMOLSCALE_API int uv_cancel(uv_req_t *req)
{
    REAL(uv_cancel);
    struct uv__work *w;
    enum ss_uv_kind kind;

    if (!disabled() && ss_uv_work_of(req, &w, &kind) && is_ours(req, w))
        return ss_uv_cancel(w, kind);
    here.forwarding = true;
    int err = real(req);
    here.forwarding = false;
    return err;
}

SMOLSCALE_API void uv_library_shutdown(void)
{
    REAL(uv_library_shutdown);

    ss_uv_shutdown();
    if (real != NULL)
        real();
}

// At exit libuv shuts down from a destructor, which no call can be caught of. Ours runs before it;
// it waits as libuv would and leaves everything in place.
__attribute__((destructor)) static void shutdown_at_exit(void)
{
    ss_uv_shutdown();
}
