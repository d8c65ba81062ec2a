// SPDX-License-Identifier: ISC
//
// libuv's thread pool on smolscale's queues: sizes, submission, completion, cancelling, shutdown
// (see pool.h).
//
// Queues. Strict policy: one queue of UV_THREADPOOL_SIZE for everything. Slow I/O waits in a list
// of its own, for which one item in the queue stands, as in libuv: so that slow jobs count against
// the size, are at most half of it, and start after what was queued before them. Elastic policy:
// user work, files and name look-ups have a queue each, and jobs that are blocked do not count.
//
// Completion. Each loop has a list of finished work, a stack whose head is one word in the loop,
// FINISHED(loop). Workers push (compare and swap), the loop's thread takes all (exchange with NULL)
// and turns the order round. Only the push that finds the list empty wakes the loop: many
// completions, one wake-up. With the exchange
//
// S: every change of the head from NULL to work is followed by one uv_async_send,
// T: the loop takes the list only in the callback that such a send causes.
//
// Hence between two takes there is exactly one send, and it comes after the first push: no
// completion is lost. Only the thread that owes that send may be inside of it (the pusher, or the
// one that gives its notice: smolscale_notify_soon()), and no thread can take the work before the
// handle is marked. Threads inside of a send are counted, and settle() waits for them before the
// program can close the loop. So the loop outlives the send, and no lock is needed, as libuv holds
// one over its own. (Model: tests/model/uv-finished.pml.)
//
// Two marks in the list stand for a send that was made for something else, so that it is under the
// same rule:
//
// SENT (ss_uv_notify()): a preloaded libuv may have workers of its own, which finish their work in
// libuv's way.
//
// STAYING: a loop that has taken results while many more are in flight *stays up*: it sends to
// itself, so that no worker need wake it, and before it polls it lets the workers go on for
// STAY_UP_NS. With jobs as short as a file's stat() loop and workers then share the CPUs without a
// sleep or a wake-up, which cost more than the jobs (bench/libuv, "work-64", "stat-64"). Each time
// that this brings nothing doubles the number of occasions passed over. The send comes first, not
// when it is seen that something has finished: callbacks may do anything, also run the loop. When
// nothing has, it is taken back, where that can be done (withdraw()): else uv_run(UV_RUN_ONCE)
// would return without a callback.
//
// The orders: a push releases (the job's writes, the link) to the take, which acquires. The take
// also releases to the next push on NULL, which acquires: the loop has cleared the handle's
// `pending` mark before the take, so the uv_async_send after that push cannot see the old mark and
// be swallowed.

#include "pool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "smolscale.h"

#define DEFAULT_SIZE  4
#define MAX_SIZE      1024
#define FIXED_STACK   ((size_t)8 << 20)
#define DEFAULT_STACK ((size_t)2 << 20)

// libuv 1.45 gives its workers stacks of 8 MB, before it is RLIMIT_STACK; 1.50 a name; 1.52 reads
// the size into a buffer of 16 bytes and ignores what does not fit.
#define VERSION_ASYNC_BUSY    0x012d00u
#define VERSION_FIXED_STACK   0x012d00u
#define VERSION_NAMED_WORKERS 0x013200u
#define VERSION_SHORT_SIZE    0x013400u
#define SIZE_BUFFER           16

// `wq` is two pointers in every version: void *wq[2] up to 1.45, struct uv__queue from then on.
typedef void *ss_word __attribute__((may_alias));
typedef uint64_t ss_ticket __attribute__((may_alias));
typedef intptr_t ss_count __attribute__((may_alias));
typedef struct __attribute__((may_alias)) {
    uint32_t generation : 16; // the fork generation that last submitted
    uint32_t skip : 11;       // so many occasions yet
    uint32_t failures : 4;    // in a row
    uint32_t under_way : 1;
} ss_notes;
#define WQ(w) ((ss_word *)&(w)->wq)

_Static_assert(sizeof(((struct uv__work *)0)->wq) == 2 * sizeof(void *), "two words");

// Where the core writes the ticket. It must fit beside the link, which a worker writes while
// uv_cancel() may read the ticket; where it does not (32 bit), the queue is searched.
#if UINTPTR_MAX >= UINT64_MAX
#define TICKET(w)       ((uint64_t *)(void *)(ss_ticket *)&WQ(w)[1])
#define TICKET_VALUE(w) word_load_relaxed((ss_ticket *)&WQ(w)[1])
#else
#define TICKET(w)       NULL
#define TICKET_VALUE(w) 0
#endif

// The loop's words: the head of its finished work, its pool, how many are inside of wake_loop(),
// and what its thread notes of forks and of how staying up has paid. libuv zeroes the whole loop,
// uses neither `data` nor the last three reserved words of its own handle and does not show the
// handle to uv_walk().
#define FINISHED(loop) (&(loop)->wq_async.data)
#define POOL(loop)     ((ss_word *)&(loop)->wq_async.u.reserved[3])
#define SENDERS(loop)  ((ss_count *)&(loop)->wq_async.u.reserved[2])
#define NOTES(loop)    ((ss_notes *)(void *)&(loop)->wq_async.u.reserved[1])

// How many of its requests the pool has, or has finished and the loop not taken. The loop's thread
// only. The word is for handles that are being closed; libuv does not close this one.
#define FLYING(loop) (*(ss_count *)(void *)&(loop)->wq_async.next_closing)

_Static_assert(sizeof(ss_notes) <= sizeof(void *), "one word");

static pthread_mutex_t pools_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ss_uv_pool *pools; // all that have queues; pools_lock
static uint16_t generation;      // counts the forks between the first process and this one

// At the bottom of a list of finished work: a send is made for something else, which must come; or
// by the loop, which may yet take it back.
#define SENT          ((void *)1)
#define STAYING       ((void *)3)
#define IS_MARK(head) (((uintptr_t)(head)&1) != 0)

// A loop stays up for this long when it has taken MANY results or more at once and as many requests
// or more are in flight. Where it has not got the CPU back after LATE_NS, the CPU has too much to
// do.
#define STAY_UP_NS   3000u
#define LATE_NS      300000u
#define MANY         2u
#define MANY_FLYING  8u
#define FAILURES_MAX 10u // a power of two: occasions passed over

// ---------------------------------------------------------------------------------------------
// Submission and completion
// ---------------------------------------------------------------------------------------------

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

// As libuv's uv__async_send().
static void write_event(uv_loop_t *loop)
{
    static const uint64_t one = 1;
    int saved_errno = errno;
    ssize_t written;

    do {
        if (loop->async_wfd == -1)
            written = write(loop->async_io_watcher.fd, &one, sizeof(one)); // an eventfd
        else
            written = write(loop->async_wfd, "", 1); // a pipe
    } while (written < 0 && errno == EINTR);
    errno = saved_errno;
}

// Before wake_loop(): the pool is not shut down while somebody owes a loop a send.
static void owe_send(uv_loop_t *loop)
{
    word_fetch_add_relaxed(&ss_uv_pool_of(loop)->sends, 1);
}

// uv_async_send for wq_async. Before 1.45 libuv's own marks the handle as busy, writes to the event
// descriptor and then marks it as done; a loop that the write wakes on the writer's CPU spins for
// 28 µs until it gives that CPU back. So there the handle is marked as done first.
//
// Threads that may still be inside are counted; only one that is about to let go of the loop waits
// for them (settle()).
static void wake_loop(uv_loop_t *loop)
{
    struct ss_uv_pool *pool = ss_uv_pool_of(loop);
    int idle = 0;

    // Counted before the mark that lets the loop run: the fence, or libuv's own order, pairs with
    // the loop's acquiring read of the mark.
    word_fetch_add_relaxed(SENDERS(loop), 1);
    fence_release();
    if (!pool->early)
        (void)pool->async_send(&loop->wq_async);
    else if (word_cas_strong_acq_rel(&loop->wq_async.pending, &idle, 2))
        write_event(loop);
    // The end of all that touches the loop: to settle(), which may let it be freed.
    word_fetch_sub_release(SENDERS(loop), 1);
    word_fetch_sub_release(&pool->sends, 1);
}

// Waits, if the program may now close the loop, until no thread is inside of a send to it. With no
// request in the pool none will come: each take was preceded by the one send that it answers.
static void settle(uv_loop_t *loop)
{
    // In a child process the senders counted are the parent's, until something is submitted.
    if (FLYING(loop) > 0 || NOTES(loop)->generation != generation)
        return;
    while (word_load_acquire(SENDERS(loop)) != 0)
        sched_yield();
}

static void note_stay(ss_notes *notes, unsigned failures)
{
    failures = failures < FAILURES_MAX ? failures : FAILURES_MAX;
    notes->under_way = false;
    notes->failures = failures & 15u;
    notes->skip = ((1u << failures) - 1) & 2047u;
}

// The loop's thread has taken so many results: does it stay up for more?
static bool stays_up(uv_loop_t *loop, unsigned taken)
{
    ss_notes *notes = NOTES(loop);

    if (notes->under_way)
        note_stay(notes, taken > 0 ? 0 : notes->failures + 1u);
    if (taken < MANY || loop->active_reqs.count < MANY_FLYING)
        return false;
    if (notes->skip > 0)
        notes->skip--;
    else
        notes->under_way = true;
    return notes->under_way;
}

// Lets workers that share the CPU finish something.
static void give_way(uv_loop_t *loop)
{
    uint64_t begin = clock_ns(CLOCK_MONOTONIC), passed;

    do {
        sched_yield();
        passed = clock_ns(CLOCK_MONOTONIC) - begin;
    } while (passed < STAY_UP_NS && word_load_relaxed(FINISHED(loop)) == STAYING);
    if (passed > LATE_NS)
        note_stay(NOTES(loop), FAILURES_MAX);
}

// Is another handle of the loop marked, among those that uv__async_io() has seen?
static bool another_is_marked(uv_loop_t *loop)
{
    ss_word *list = (ss_word *)(void *)&loop->async_handles;

    for (ss_word *node = list[0]; node != list; node = node[0]) {
        uv_async_t *handle = (uv_async_t *)(void *)((char *)node - offsetof(uv_async_t, queue));
        if (word_load_acquire(&handle->pending) != 0)
            return true;
    }
    return false;
}

// Takes back a send of the loop to itself for which nothing has come. As long as STAYING is at the
// head nobody else sends to this handle, so the mark is ours to clear. The event is all handles':
// a thread that marks one does so before it writes, so what the read takes away is seen as a mark,
// either here or, of a handle that uv__async_io() has yet to look at, by that. Work that is pushed
// meanwhile comes to lie on STAYING, and its pusher sends nothing: then we do.
static void withdraw(uv_loop_t *loop)
{
    struct ss_uv_pool *pool = ss_uv_pool_of(loop);
    void *head = STAYING;
    uint64_t event;
    int saved_errno = errno;

    if (!word_load_relaxed(&pool->knows_all_sends) || loop->async_wfd != -1 ||
        word_load_relaxed(FINISHED(loop)) != STAYING)
        return;
    note_stay(NOTES(loop), NOTES(loop)->failures + 1u);
    (void)word_fetch_and_acq_rel(&loop->wq_async.pending, pool->early ? ~3 : ~1);
    if (read(loop->async_io_watcher.fd, &event, sizeof(event)) > 0 && another_is_marked(loop))
        write_event(loop);
    errno = saved_errno;
    if (!word_cas_strong_acq_rel(FINISHED(loop), &head, NULL)) {
        owe_send(loop);
        wake_loop(loop);
    }
}

void ss_uv_leave(uv_loop_t *loop)
{
    if (NOTES(loop)->under_way) {
        if (loop->active_reqs.count >= MANY_FLYING)
            give_way(loop);
        withdraw(loop);
    }
    settle(loop);
}

// `soon`: the caller is the worker that ran it, and does nothing more: the loop may be told of it
// together with what the worker finishes next.
static void finish(struct uv__work *w, bool soon)
{
    uv_loop_t *loop = w->loop;
    void **head = FINISHED(loop);
    void *old = word_load_relaxed(head);

    do {
        WQ(w)[0] = old;
    } while (!word_cas_weak_acq_rel(head, &old, w));
    // From here on w belongs to the loop, and may be gone. The loop itself is still there if old is
    // NULL.
    if (old == NULL) {
        owe_send(loop);
        if (!(soon && smolscale_notify_soon(loop)))
            wake_loop(loop);
    }
}

static void notify(void *loop)
{
    wake_loop(loop);
}

static void run_slow(struct ss_uv_pool *pool);
static bool configure(struct ss_uv_pool *pool);

static void run(void *item, void *user_data)
{
    struct ss_uv_pool *pool = user_data;
    struct uv__work *w = item;

    if (__builtin_expect(item == &pool->slow, 0)) {
        run_slow(pool);
        return;
    }
    w->work(w);
    finish(w, true);
}

// Marks cancelled work in place of its work function; never called.
static void cancelled(struct uv__work *w)
{
    (void)w;
    abort();
}

// In a child process the loop has a new event descriptor, and whether the parent's last send got
// through is unknown. What was finished before the fork would then wait for a send that nobody
// makes: make it.
static void resend_after_fork(uv_loop_t *loop)
{
    *NOTES(loop) = (ss_notes){.generation = generation};
    *SENDERS(loop) = 0; // they are not here
    FLYING(loop) = 0;
    if (word_load_relaxed(FINISHED(loop)) != NULL) {
        loop->wq_async.pending = 0;
        owe_send(loop);
        wake_loop(loop);
    }
}

// False: there is no memory to queue it.
static bool push(struct ss_uv_pool *pool, enum ss_uv_kind kind, void *item, uint64_t *ticket)
{
    smolscale_queue *queue = pool->queues[kind];
    int err = queue ? smolscale_queue_push(queue, item, ticket) : -ENOMEM;

    return err == 0 || err == -EAGAIN; // -EAGAIN: it is queued, a thread will come
}

static void submit_slow(struct ss_uv_pool *pool, struct uv__work *w);

struct ss_uv_pool *ss_uv_pool_of(uv_loop_t *loop)
{
    return word_load_relaxed(POOL(loop));
}

void ss_uv_adopt(struct ss_uv_pool *pool, uv_loop_t *loop)
{
    if (ss_uv_pool_of(loop) != pool)
        word_store_relaxed(POOL(loop), pool);
}

void ss_uv_submit(struct uv__work *w, enum ss_uv_kind kind)
{
    struct ss_uv_pool *pool = ss_uv_pool_of(w->loop);

    if (__builtin_expect(word_load_acquire(&pool->state) != SS_UV_READY, 0) && !configure(pool))
        return; // as in libuv, it never runs
    if (__builtin_expect(NOTES(w->loop)->generation != generation, 0))
        resend_after_fork(w->loop);
    FLYING(w->loop)++;
    if (kind == SS_UV_SLOW_IO) {
        submit_slow(pool, w);
    } else if (!push(pool, kind, w, TICKET(w))) {
        w->work(w); // libuv's submission cannot fail
        finish(w, false);
    }
}

// Makes a send under a mark, if none is under way that will come. True: it made one.
static bool send_for(uv_loop_t *loop, void *mark)
{
    void *head = NULL;

    if (!word_cas_strong_acq_rel(FINISHED(loop), &head, mark))
        return false;
    owe_send(loop);
    wake_loop(loop);
    return true;
}

void ss_uv_notify(uv_loop_t *loop)
{
    void *head;

    do {
        if (send_for(loop, SENT))
            return;
        // The send serves that is made for what is there. One that the loop made for itself does
        // so if the loop cannot take it back.
        head = STAYING;
    } while (!word_cas_strong_acq_rel(FINISHED(loop), &head, SENT) && head == NULL);
}

struct uv__work *ss_uv_take(uv_loop_t *loop)
{
    struct uv__work *newest = word_exchange_acq_rel(FINISHED(loop), (void *)NULL);
    struct uv__work *oldest = NULL;
    unsigned taken = 0;

    for (; newest != NULL && !IS_MARK(newest); taken++) {
        struct uv__work *older = WQ(newest)[0];
        WQ(newest)[0] = oldest;
        if (newest->work != cancelled)
            newest->work = NULL;
        oldest = newest;
        newest = older;
    }
    // What a child takes may be its parent's.
    FLYING(loop) -= (ss_count)taken < FLYING(loop) ? (ss_count)taken : FLYING(loop);
    if (stays_up(loop, taken))
        (void)send_for(loop, STAYING);
    return oldest;
}

struct uv__work *ss_uv_next(const struct uv__work *w)
{
    return WQ((struct uv__work *)w)[0];
}

int ss_uv_conclude(struct uv__work *w)
{
    if (w->work == NULL)
        return 0;
    w->work = NULL;
    return UV_ECANCELED;
}

// ---------------------------------------------------------------------------------------------
// Slow I/O
// ---------------------------------------------------------------------------------------------

// With the lock held: is somebody to be sent for the next of the list? The caller then calls push()
// without the lock.
static bool slow_wants_post(struct ss_uv_slow *slow)
{
    if (slow->posted || slow->queued == 0 || slow->running >= slow->limit)
        return false;
    slow->posted = true;
    return true;
}

static void slow_unlink(struct ss_uv_slow *slow, struct uv__work *w)
{
    ss_word *next = WQ(w)[0], *previous = WQ(w)[1];

    next[1] = previous;
    previous[0] = next;
    WQ(w)[1] = NULL;
    slow->queued--;
}

// Runs the first of the list, on a worker that came for the item that stands for it. Goes on with
// the others only if there is no memory to queue that item again.
static void run_slow(struct ss_uv_pool *pool)
{
    struct ss_uv_slow *slow = &pool->slow;
    bool post;

    do {
        pthread_mutex_lock(&slow->lock);
        slow->posted = false;
        if (slow->queued == 0 || slow->running >= slow->limit) {
            pthread_mutex_unlock(&slow->lock); // cancelled, or the next one to finish posts again
            return;
        }
        struct uv__work *w =
            (struct uv__work *)(void *)((char *)slow->list[0] - offsetof(struct uv__work, wq));
        slow_unlink(slow, w);
        slow->running++;
        post = slow_wants_post(slow);
        pthread_mutex_unlock(&slow->lock);
        if (post && !push(pool, SS_UV_SLOW_IO, slow, NULL)) {
            pthread_mutex_lock(&slow->lock);
            slow->posted = false;
            pthread_mutex_unlock(&slow->lock);
        }

        w->work(w);
        finish(w, false);

        pthread_mutex_lock(&slow->lock);
        slow->running--;
        post = slow_wants_post(slow);
        pthread_mutex_unlock(&slow->lock);
    } while (post && !push(pool, SS_UV_SLOW_IO, slow, NULL));
}

static void submit_slow(struct ss_uv_pool *pool, struct uv__work *w)
{
    struct ss_uv_slow *slow = &pool->slow;
    pthread_mutex_lock(&slow->lock);
    ss_word *last = slow->list[1];
    WQ(w)[0] = slow->list;
    WQ(w)[1] = last;
    last[0] = WQ(w);
    slow->list[1] = WQ(w);
    slow->queued++;
    bool post = slow_wants_post(slow);
    pthread_mutex_unlock(&slow->lock);
    if (post && !push(pool, SS_UV_SLOW_IO, slow, NULL))
        run_slow(pool);
}

static bool cancel_slow(struct ss_uv_slow *slow, struct uv__work *w)
{
    pthread_mutex_lock(&slow->lock);
    bool queued = WQ(w)[1] != NULL;
    if (queued)
        slow_unlink(slow, w);
    pthread_mutex_unlock(&slow->lock);
    return queued;
}

// ---------------------------------------------------------------------------------------------
// Requests
// ---------------------------------------------------------------------------------------------

static void call_work(struct uv__work *w)
{
    uv_work_t *req = (uv_work_t *)(void *)((char *)w - offsetof(uv_work_t, work_req));

    req->work_cb(req);
}

static void call_after_work(struct uv__work *w, int status)
{
    uv_work_t *req = (uv_work_t *)(void *)((char *)w - offsetof(uv_work_t, work_req));

    // A preloaded libuv does not know what we cancelled.
    if (status == 0)
        status = ss_uv_conclude(w);
    req->loop->active_reqs.count--;
    if (req->after_work_cb != NULL)
        req->after_work_cb(req, status);
}

int ss_uv_prepare_work(uv_loop_t *loop, uv_work_t *req, uv_work_cb work_cb,
                       uv_after_work_cb after_work_cb)
{
    if (work_cb == NULL)
        return UV_EINVAL;
    req->type = UV_WORK;
    req->loop = loop;
    req->work_cb = work_cb;
    req->after_work_cb = after_work_cb;
    req->work_req.loop = loop;
    req->work_req.work = call_work;
    req->work_req.done = call_after_work;
    loop->active_reqs.count++;
    return 0;
}

bool ss_uv_is_user_work(const struct uv__work *w)
{
    return w->done == call_after_work;
}

bool ss_uv_work_of(uv_req_t *req, struct uv__work **w, uv_loop_t **loop, enum ss_uv_kind *kind)
{
    switch (req->type) {
    case UV_WORK:
        *w = &((uv_work_t *)req)->work_req;
        *loop = ((uv_work_t *)req)->loop;
        *kind = SS_UV_CPU;
        return true;
    case UV_RANDOM:
        *w = &((uv_random_t *)req)->work_req;
        *loop = ((uv_random_t *)req)->loop;
        *kind = SS_UV_CPU;
        return true;
    case UV_FS:
        *w = &((uv_fs_t *)req)->work_req;
        *loop = ((uv_fs_t *)req)->loop;
        *kind = SS_UV_FAST_IO;
        return true;
    case UV_GETADDRINFO:
        *w = &((uv_getaddrinfo_t *)req)->work_req;
        *loop = ((uv_getaddrinfo_t *)req)->loop;
        *kind = SS_UV_SLOW_IO;
        return true;
    case UV_GETNAMEINFO:
        *w = &((uv_getnameinfo_t *)req)->work_req;
        *loop = ((uv_getnameinfo_t *)req)->loop;
        *kind = SS_UV_SLOW_IO;
        return true;
    default:
        return false;
    }
}

int ss_uv_cancel(struct uv__work *w, enum ss_uv_kind kind)
{
    if (w->work == cancelled)
        return 0; // it is on its way to the loop already
    // Without a work function it has finished, or went another way than the pool (io_uring in newer
    // versions).
    struct ss_uv_pool *pool = ss_uv_pool_of(w->loop);
    if (w->work == NULL || pool == NULL || pool->queues[kind] == NULL)
        return UV_EBUSY;
    if (!(kind == SS_UV_SLOW_IO ? cancel_slow(&pool->slow, w)
                                : smolscale_queue_cancel(pool->queues[kind], w, TICKET_VALUE(w))))
        return UV_EBUSY;
    w->work = cancelled;
    finish(w, false);
    return 0;
}

// ---------------------------------------------------------------------------------------------
// Set-up at the first submission, in each process
// ---------------------------------------------------------------------------------------------

static unsigned pool_size(unsigned version)
{
    const char *value = getenv("UV_THREADPOOL_SIZE");

    if (value == NULL || (version >= VERSION_SHORT_SIZE && strlen(value) >= SIZE_BUFFER))
        return DEFAULT_SIZE;
    // As libuv reads it: what is no number is 0 and so 1, what is negative is a very large number
    // and so the maximum.
    unsigned size = (unsigned)atoi(value);
    if (size == 0)
        return 1;
    return size > MAX_SIZE ? MAX_SIZE : size;
}

static smolscale_queue *new_queue(struct ss_uv_pool *pool, unsigned max_active, const char *name,
                                  const char *label)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    smolscale_queue *queue = NULL;

    attr.run = run;
    attr.user_data = pool;
    attr.max_active = max_active;
    attr.flags = smolscale_elastic() ? SMOLSCALE_QUEUE_ELASTIC : 0;
    attr.thread_name = name;
    attr.notify = notify;
    attr.group = pool->group;
    (void)smolscale_queue_new(&queue, &attr); // NULL when it fails: jobs then run at submission
    if (queue != NULL)
        smolscale_queue_set_label(queue, label, NULL);
    return queue;
}

static void reset_slow(struct ss_uv_slow *slow)
{
    pthread_mutex_init(&slow->lock, NULL);
    slow->list[0] = slow->list[1] = slow->list;
    slow->queued = 0;
    slow->running = 0;
    slow->posted = false;
}

// The queues of a pool that was shut down have no workers any more.
static void forget_queues(struct ss_uv_pool *pool)
{
    if (pool->state == SS_UV_ENDED)
        memset(pool->queues, 0, sizeof(pool->queues));
}

// A child reads its own UV_THREADPOOL_SIZE; the queues exist there already, empty.
static void after_fork_in_child(void)
{
    generation++;
    pthread_mutex_init(&pools_lock, NULL);
    for (struct ss_uv_pool *pool = pools; pool != NULL; pool = pool->next) {
        pthread_mutex_init(&pool->lock, NULL);
        forget_queues(pool);
        pool->state = SS_UV_UNUSED;
        pool->sends = 0; // the parent's
        reset_slow(&pool->slow);
    }
}

static bool exiting; // exit() has been called

static void note_exit(void)
{
    exiting = true;
}

static void register_handlers(void)
{
    (void)pthread_atfork(NULL, NULL, after_fork_in_child);
    (void)atexit(note_exit);
}

// When the library is loaded, because a fork() that has begun calls no handler that is registered
// meanwhile. Calls that come before constructors do it themselves.
__attribute__((constructor)) static void prepare_process(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_handlers);
}

// The stack of libuv's threads in bytes.
static size_t stack_size(unsigned version)
{
    struct rlimit limit;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), least = (size_t)sysconf(_SC_THREAD_STACK_MIN);

    if (version >= VERSION_FIXED_STACK)
        return FIXED_STACK;
    if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        limit.rlim_cur - limit.rlim_cur % page < least)
        return DEFAULT_STACK;
    return limit.rlim_cur - limit.rlim_cur % page;
}

// Workers of the pool's own, as libuv's threads are: as many as the size says, until the pool is
// shut down. With the elastic policy there are more while jobs block, and these end again.
static void create_group(struct ss_uv_pool *pool, unsigned size, unsigned version)
{
    struct smolscale_group_attr attr = SMOLSCALE_GROUP_ATTR_INIT;

    attr.stack_size = stack_size(version);
    attr.flags =
        SMOLSCALE_GROUP_EAGER; // of the thread that starts the pool, not of the one that needs more
    attr.idle_timeout = SMOLSCALE_FOREVER;
    if (smolscale_elastic())
        attr.max_idle = size;
    else
        attr.max_workers = size;
    (void)smolscale_group_new(&pool->group, &attr); // NULL when it fails: the default group serves
}

static void create_queues(struct ss_uv_pool *pool, unsigned size, unsigned version)
{
    // Before libuv names its workers they carry the name of the thread that starts the pool.
    char name[16] = "libuv-worker";
    if (version < VERSION_NAMED_WORKERS && !smolscale_quiet())
        (void)prctl(PR_GET_NAME, name);

    create_group(pool, size, version);
    pool->queues[SS_UV_CPU] = new_queue(pool, size, name, "uv");
    if (smolscale_elastic()) {
        pool->queues[SS_UV_FAST_IO] = new_queue(pool, size, name, "uv-fast-io");
        pool->queues[SS_UV_SLOW_IO] = new_queue(pool, (size + 1) / 2, name, "uv-slow-io");
    } else {
        pool->queues[SS_UV_FAST_IO] = pool->queues[SS_UV_SLOW_IO] = pool->queues[SS_UV_CPU];
    }
}

static void resize(struct ss_uv_pool *pool, unsigned size)
{
    if (pool->group != NULL && !smolscale_elastic())
        (void)smolscale_group_set_max_workers(pool->group, size);
    for (int kind = 0; kind < SS_UV_KINDS; kind++) {
        bool half = kind == SS_UV_SLOW_IO && smolscale_elastic();
        if (pool->queues[kind] != NULL)
            (void)smolscale_queue_set_max_active(pool->queues[kind], half ? (size + 1) / 2 : size);
    }
}

static void configure_locked(struct ss_uv_pool *pool)
{
    unsigned version = pool->version(), size = pool_size(version);

    // With a queue of its own, that queue limits slow I/O, which leaves out what is blocked.
    pool->slow.limit = smolscale_elastic() ? UINT_MAX : (size + 1) / 2;
    pool->early = version < VERSION_ASYNC_BUSY;
    if (pool->queues[SS_UV_CPU] != NULL) {
        resize(pool, size);
        return;
    }
    reset_slow(&pool->slow);
    create_queues(pool, size, version);
    pthread_mutex_lock(&pools_lock);
    if (!pool->listed) {
        pool->listed = true;
        pool->next = pools;
        pools = pool;
    }
    pthread_mutex_unlock(&pools_lock);
}

void ss_uv_pool_init(struct ss_uv_pool *pool, unsigned (*version)(void),
                     int (*async_send)(uv_async_t *handle))
{
    forget_queues(pool); // nobody is inside of a libuv that was closed
    pthread_mutex_init(&pool->lock, NULL);
    pool->version = version;
    pool->async_send = async_send;
    pool->knows_all_sends = false;
    pool->sends = 0;
    pool->state = SS_UV_UNUSED;
}

// False: the pool has been shut down.
static bool configure(struct ss_uv_pool *pool)
{
    prepare_process();
    (void)smolscale_cpus(); // starts the executor, which may wait for the loader: no lock held
    pthread_mutex_lock(&pool->lock);
    if (pool->state == SS_UV_UNUSED) {
        configure_locked(pool);
        word_store_release(&pool->state, SS_UV_READY);
    }
    bool ready = word_load_relaxed(&pool->state) == SS_UV_READY;
    pthread_mutex_unlock(&pool->lock);
    return ready;
}

// ---------------------------------------------------------------------------------------------
// Shutdown
// ---------------------------------------------------------------------------------------------

// libuv joins its threads in uv_library_shutdown(), which is also its destructor: what is queued
// when that begins runs, what comes later never does, and no job runs any more when it returns. So
// a job that never ends keeps the process from ending. That holds here, too, with the strict
// policy.
//
// With the elastic policy a process that exits gives up jobs that stand in the kernel: when none
// has ended for a second, and nobody has computed, read or written meanwhile. A program that calls
// uv_library_shutdown() itself may free next what its jobs use, so there they are waited for. A job
// that itself ends the process gives up likewise: natively it joins itself and aborts.
#define PATIENCE_NS  UINT64_C(1000000000)
#define LOOK_NS      UINT64_C(100000000)
#define COMPUTING_NS UINT64_C(10000000)
#define POLL_MIN_NS  50000
#define POLL_MAX_NS  8000000

// Does a job of the pool call?
static bool called_by_a_job(const struct ss_uv_pool *pool)
{
    const smolscale_queue *current = smolscale_current_queue();
    bool is_one = false;

    for (int kind = 0; kind < SS_UV_KINDS; kind++)
        is_one |= current != NULL && pool->queues[kind] == current;
    return is_one;
}

// Jobs that are queued or run, but for the calling one, and sends that are owed.
static size_t outstanding(struct ss_uv_pool *pool)
{
    smolscale_queue *current = smolscale_current_queue();
    size_t count = 0;

    for (int kind = 0; kind < SS_UV_KINDS; kind++) {
        smolscale_queue *queue = pool->queues[kind];
        if (queue == NULL || (kind > 0 && queue == pool->queues[kind - 1]))
            continue;
        count += smolscale_queue_pending(queue) + smolscale_queue_active(queue);
        if (queue == current && count > 0)
            count--; // the job that calls exit() does not wait for itself
    }
    pthread_mutex_lock(&pool->slow.lock);
    count += pool->slow.queued;
    pthread_mutex_unlock(&pool->slow.lock);
    // After the jobs: a thread that owes a send was counted while its job was.
    return count + word_load_acquire(&pool->sends);
}

// The sum of the numbers in a thread's /proc/self/task/TID/io; 0: it cannot be read.
static uint64_t io_of(const char *tid)
{
    char path[64], text[512];
    uint64_t sum = 0;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%.16s/io", tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (size <= 0)
        return 0;
    text[size] = '\0';
    for (const char *colon = strchr(text, ':'); colon != NULL; colon = strchr(colon + 1, ':'))
        sum += strtoull(colon + 1, NULL, 10);
    return sum;
}

// What the other threads have read and written, in no particular unit: it changes when they do.
// Quiet: it never does, and neither does their CPU time.
static uint64_t io_of_others(void)
{
    DIR *tasks = smolscale_quiet() ? NULL : opendir("/proc/self/task");
    const struct dirent *task;
    uint64_t sum = 0;
    char own[16] = "";

    if (tasks != NULL)
        (void)snprintf(own, sizeof(own), "%d", (int)gettid());
    while (tasks != NULL && (task = readdir(tasks)) != NULL) {
        if (task->d_name[0] != '.' && strcmp(task->d_name, own) != 0)
            sum += io_of(task->d_name);
    }
    if (tasks != NULL)
        closedir(tasks);
    return sum;
}

// When something was last seen to go on.
struct progress {
    uint64_t at, looked_at; // ns
    uint64_t cpu, io;       // of the other threads
    size_t least;           // outstanding jobs
};

static uint64_t cpu_of_others(void)
{
    if (smolscale_quiet())
        return 0;
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID) - clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

// Has everything stood still for too long?
static bool is_stuck(struct progress *progress, size_t count)
{
    uint64_t now = clock_ns(CLOCK_MONOTONIC);

    if (progress->at != 0 && count >= progress->least && now - progress->looked_at < LOOK_NS)
        return false;
    uint64_t cpu = cpu_of_others(), io = io_of_others();
    progress->looked_at = now;
    if (progress->at == 0 || count < progress->least || io != progress->io ||
        cpu - progress->cpu > COMPUTING_NS) {
        progress->at = now;
        progress->cpu = cpu;
        progress->io = io;
        progress->least = count;
    }
    return now - progress->at > PATIENCE_NS;
}

// By futex: a program may have left itself no call but those that the native pool makes.
static void rest(uint64_t ns)
{
    uint64_t end = clock_ns(CLOCK_MONOTONIC) + ns;
    struct timespec until = {(time_t)(end / 1000000000u), (long)(end % 1000000000u)};
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_condattr_t attr;
    pthread_cond_t never;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&never, &attr);
    pthread_mutex_lock(&lock);
    (void)pthread_cond_timedwait(&never, &lock, &until);
    pthread_mutex_unlock(&lock);
    pthread_cond_destroy(&never);
    pthread_condattr_destroy(&attr);
}

// Ends the pool's threads and waits for them: so what jobs have left in thread-local storage is
// destroyed. A thread that has begun a submission before may yet come to a queue; so the queues
// stay, and start nothing.
static void end_workers(struct ss_uv_pool *pool)
{
    smolscale_group *group = word_exchange_acq_rel(&pool->group, NULL);

    if (group == NULL)
        return;
    for (int kind = 0; kind < SS_UV_KINDS; kind++) {
        if (pool->queues[kind] != NULL)
            (void)smolscale_queue_set_max_active(pool->queues[kind], 0);
    }
    smolscale_group_free(group);
}

void ss_uv_shutdown(struct ss_uv_pool *pool)
{
    bool patient = !(smolscale_elastic() && exiting) && !called_by_a_job(pool);
    uint64_t pause = POLL_MIN_NS;
    struct progress progress = {0};
    enum ss_uv_state ready = SS_UV_READY;
    size_t count;

    if (!word_cas_strong_acq_rel(&pool->state, &ready, SS_UV_ENDED) && ready != SS_UV_ENDED)
        return; // nothing was submitted in this process
    while ((count = outstanding(pool)) > 0 && (patient || !is_stuck(&progress, count))) {
        rest(pause);
        if (pause < POLL_MAX_NS)
            pause *= 2;
    }
    if (count == 0 && !called_by_a_job(pool))
        end_workers(pool);
}
