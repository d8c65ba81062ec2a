// SPDX-License-Identifier: ISC
//
// A task from spawn to release; cancel; wakers; threads that wait like tasks.
//
// Whose memory it is. A task is freed when it has ended and its handle was released, whichever
// comes second, and no waker is left. The first two meet under the lock of its `join` list: the
// runner ends it there (SS_JOIN_ENDED, stored by the same store that drops the lock, so that it
// never touches the task again), the owner releases it there. A waker counts in `join.count`, as do
// those two together.

#include "task/slab.h"

#include "task/waitlist.h"

#include <stdlib.h>
#include <string.h>

// ---- the lock of a waitlist, when it is held

#define LOOKS  200 // about 5 µs
#define YIELDS 20  // then the holder may have been preempted by the caller, which must not run

void ss_list_lock_slow(smolscale_waitlist *list)
{
    for (unsigned tries = 0;; tries++) {
        if (!(word_load_relaxed(&list->lock) & SS_LIST_HELD) &&
            !(word_fetch_or_acquire(&list->lock, SS_LIST_HELD) & SS_LIST_HELD))
            return;
        if (tries < LOOKS)
            cpu_relax();
        else if (tries < LOOKS + YIELDS)
            ss_os.yield();
        else
            ss_os.rest();
    }
}

// ---- spawn

// Field by field: gcc would clear the whole by a string instruction that costs as much as all the
// rest (bench/tasks, "spawn").
static inline void init_task(struct smolscale_task *task, smolscale_poll_fn *poll,
                             struct ss_home *home)
{
    task->join = (smolscale_waitlist){.count = 1};
    task->wait_prev = NULL;
    task->home = home;
    task->owner = NULL;
    task->deadline = 0;
    store_relaxed(&task->timer, SS_NO_TIMER);
    store_relaxed(&task->wakes, SS_WAKES_NONE);
    store_relaxed(&task->joined, false);
    task->sleeping = false;
    task->deadline_tried = false;
    task->poll = poll;
    store_relaxed(&task->parked, NULL);
    store_relaxed(&task->ctl, ss_ctl_base());
}

static inline struct smolscale_task *new_task(smolscale_poll_fn *poll, const void *frame,
                                              size_t size, struct ss_home *home)
{
    struct smolscale_task *task = ss_slab_get(size);
    if (__builtin_expect(!task, 0))
        return NULL;
    init_task(task, poll, home);
    if (frame)
        memcpy(ss_frame(task), frame, size);
    else
        memset(ss_frame(task), 0, size);
    return task;
}

struct smolscale_task *ss_task_new(smolscale_poll_fn *poll, const void *frame, size_t size,
                                   struct ss_home *home)
{
    return new_task(poll, frame, size, home);
}

// The executor's first task: the traits of who spawns it are those of the workers.
void ss_first_use(void)
{
    static _Atomic bool done;
    ss_start();
    if (__builtin_expect(!load_relaxed(&done), 0)) {
        ss_group_settle(&ss.shared);
        store_relaxed(&done, true);
    }
}

static inline int start(struct ss_worker *worker, struct smolscale_task *task)
{
    if (worker && ss_lane_append_own(worker, task))
        return 0;
    return ss_submit(task);
}

int ss_task_start(struct smolscale_task *task)
{
    return start(ss_self, task);
}

int smolscale_spawn(smolscale_task **out, smolscale_poll_fn *poll, const void *frame, size_t size)
{
    struct ss_worker *worker = ss_self;
    if (!worker)
        ss_first_use();
    struct smolscale_task *task = new_task(poll, frame, size, NULL);
    if (out)
        *out = task;
    if (__builtin_expect(!task, 0))
        return -ENOMEM;
    if (!out)
        task->join.lock = SS_JOIN_RELEASED;
    return start(worker, task);
}

// ---- end, join, release

static void unref(struct smolscale_task *task)
{
    unsigned *refs = &task->join.count;
    // Who finds the only reference has it: nobody can make another without one.
    if (word_load_acquire(refs) == 1 || word_fetch_sub_acq_rel(refs, 1) == 1)
        ss_slab_put(task);
}

void ss_task_end(struct smolscale_task *task, int result)
{
    if (__builtin_expect(load_relaxed(&task->ctl) & SS_CTL_DEADLINE, 0))
        ss_timer_disarm(task);
    ss_list_lock(&task->join);
    struct ss_owner *owner = task->owner;
    task->result = result;
    bool released = ss_list_flags(&task->join) & SS_JOIN_RELEASED;
    struct smolscale_task *joiner = ss_list_pop(&task->join);
    if (joiner)
        store_relaxed(&task->joined, true);
    ss_list_unlock_with(&task->join, SS_JOIN_ENDED); // from here on it is its owner's
    if (joiner)
        ss_wake_with(joiner, result);
    if (released)
        unref(task);
    else if (owner)
        owner->ended(owner, task);
}

bool smolscale_finished(const smolscale_task *task)
{
    // Also while somebody holds the lock, who had come before to take a joiner off.
    return word_load_acquire(&task->join.lock) & SS_JOIN_ENDED;
}

void smolscale_release(smolscale_task *task)
{
    if (!task)
        return;
    if (!smolscale_finished(task)) {
        ss_list_lock(&task->join);
        unsigned flags = ss_list_flags(&task->join);
        ss_list_unlock_with(&task->join, flags & SS_JOIN_ENDED ? flags : SS_JOIN_RELEASED);
        if (!(flags & SS_JOIN_ENDED))
            return;
    }
    unref(task);
}

// Two that join an ended task at the same moment may both get its result: that is no harm, and it
// saves a read-modify-write.
static int joined_result(smolscale_task *task)
{
    if (load_relaxed(&task->joined))
        return -EALREADY;
    store_relaxed(&task->joined, true);
    return task->result;
}

int smolscale_join(smolscale_cx *cx, smolscale_task *task)
{
    if (smolscale_finished(task))
        return ss_ready(cx, joined_result(task));
    int interrupted = ss_interrupted(cx);
    if (interrupted)
        return interrupted;
    if (task == cx->task)
        return -EDEADLK;
    ss_list_lock(&task->join);
    if (ss_list_flags(&task->join) & SS_JOIN_ENDED) {
        ss_list_unlock_with(&task->join, SS_JOIN_ENDED);
        return ss_ready(cx, joined_result(task));
    }
    if (task->join.first) {
        ss_list_unlock(&task->join);
        return -EBUSY;
    }
    return ss_wait(cx, &task->join, NULL);
}

void *smolscale_frame(smolscale_task *task)
{
    return ss_frame(task);
}

// ---- interruption

// Gives notice to a task that waits, or is about to wait, for a waker. True: it was suspended, and
// is the caller's to schedule. AWAITED says that it is suspended for a waker and nothing else; who
// changes it has the right to schedule. tests/model/waker.pml checks this.
static bool notify(struct smolscale_task *task)
{
    uint8_t state = load_acquire(&task->wakes);
    for (;;) {
        bool awaited = state == SS_WAKES_AWAITED;
        // Also where it is notified already: what the caller has done before is to be seen by the
        // poll.
        uint8_t next = awaited ? SS_WAKES_NONE : SS_WAKES_NOTIFIED;
        if (cas_strong_acq_rel(&task->wakes, &state, next))
            return awaited;
    }
}

void ss_interrupt(struct smolscale_task *task, int result)
{
    bool wake = false;
    // Pairs with the light fences of the runner where it stores `parked`; see waitlist.h.
    ss_heavy_fence();
    void *parked = load_acquire(&task->parked);
    if (parked == SS_PARKED_WAKER) {
        // Not only if it is suspended: its runner may be between its look for a flag and that.
        wake = notify(task);
    } else if (parked == &ss_timers_list) {
        wake = ss_timer_wake_sleeper(task, result);
    } else if (parked) {
        smolscale_waitlist *list = parked;
        ss_list_lock(list);
        unsigned flags = ss_list_flags(list);
        if (task->wait_prev) {
            ss_list_remove(list, task);
            task->result = result;
            wake = true;
        }
        ss_list_unlock_with(list, flags);
    }
    // If it was taken off here, it is this thread's to schedule; before that nobody polls it.
    fetch_sub_release(&task->ctl, SS_CTL_PIN);
    if (wake)
        ss_schedule(task);
}

bool smolscale_cancel(smolscale_task *task)
{
    if (smolscale_finished(task))
        return false;
    fetch_add_acq_rel(&task->ctl, SS_CTL_PIN);
    unsigned before = fetch_or_seq_cst(&task->ctl, SS_CTL_CANCELLED);
    ss_interrupt(task, -ECANCELED);
    return !(before & SS_CTL_CANCELLED);
}

int ss_why_interrupted(struct smolscale_task *task, unsigned ctl)
{
    if (ctl & SS_CTL_CANCELLED)
        return -ECANCELED;
    return ctl & SS_CTL_TIMED_OUT || task->deadline <= ss_os.now() ? -ETIMEDOUT : 0;
}

// As often as the task goes on without a wait, the clock is asked once: then the deadline is in the
// heap, and who fires it sets the flag. Without memory for that, it is asked each time.
int ss_why_await_ends(struct smolscale_task *task, unsigned ctl)
{
    bool flagged = ctl & (SS_CTL_CANCELLED | SS_CTL_TIMED_OUT);
    if (!flagged && load_relaxed(&task->timer) != SS_NO_TIMER)
        return 0;
    int why = ss_why_interrupted(task, ctl);
    if (why == 0)
        ss_timer_arm(task);
    return why;
}

int smolscale_interrupted(smolscale_cx *cx)
{
    return ss_interrupted_now(cx->task);
}

bool smolscale_clear_cancel(smolscale_cx *cx)
{
    unsigned before = fetch_and_acq_rel(&cx->task->ctl, ~SS_CTL_CANCELLED);
    if (!(before & SS_CTL_CANCELLED))
        return false;
    // Who has set it may be about to interrupt: not the next await, which knows nothing of it.
    while (ss_ctl_pinned(load_acquire(&cx->task->ctl)))
        ss_os.yield();
    return true;
}

// ---- wakers

smolscale_waker smolscale_waker_new(smolscale_cx *cx)
{
    return smolscale_waker_clone((smolscale_waker){cx->task});
}

smolscale_waker smolscale_waker_clone(smolscale_waker waker)
{
    if (waker.task)
        word_fetch_add_relaxed(&waker.task->join.count, 1);
    return waker;
}

void smolscale_waker_drop(smolscale_waker waker)
{
    if (waker.task)
        unref(waker.task);
}

void smolscale_wake(smolscale_waker waker)
{
    if (waker.task && notify(waker.task))
        ss_schedule(waker.task);
}

// ---- threads that wait like tasks

enum { WOKEN = 1, SEATED };

struct thread {
    struct smolscale_task task; // of SMOLSCALE_BLOCK
    smolscale_cx cx;
    struct ss_home home;
    _Atomic uint32_t woken; // futex word: 0, WOKEN, or SEATED while it sleeps in the seat
};
_Static_assert(sizeof(struct thread) <= sizeof(smolscale_thread), "room for a thread's task");

static void wake_thread(struct ss_home *home, struct smolscale_task *task)
{
    (void)task;
    struct thread *thread = (struct thread *)((char *)home - offsetof(struct thread, home));
    _Atomic uint32_t *word = &thread->woken;
    uint32_t slept = exchange_acq_rel(word, WOKEN);
    // From here on the thread may have gone, and its stack be used otherwise: a wake for nothing
    // there does no harm.
    if (slept == SEATED)
        ss_reactor_wake();
    else
        ss_os.futex_wake(word, 1);
}

static struct thread *init_thread(smolscale_thread *storage)
{
    ss_first_use();
    struct thread *thread = (struct thread *)storage->storage;
    thread->home = (struct ss_home){wake_thread, NULL};
    store_relaxed(&thread->woken, 0);
    return thread;
}

// In the seat, in which the thread is already.
static void sleep_seated(struct thread *thread, uint64_t until)
{
    uint32_t none = 0, seated = SEATED;
    if (cas_strong_acq_rel(&thread->woken, &none, SEATED)) {
        if (ss_reactor_sleep(-1, until, NULL))
            ss_reactor_poll();
        cas_strong_acq_rel(&thread->woken, &seated, 0);
    }
    ss_seat_leave();
}

// Any return of the wait is fine: only who wakes sets the word. It also looks after timers and
// descriptors, since what it waits for may be among them. False: it is not woken, and `until` has
// come.
static bool sleep_until_woken(struct thread *thread, uint64_t until)
{
    bool woken = load_acquire(&thread->woken);
    if (!woken) {
        ss_lane_hand_over();
        smolscale_blocking_begin();
        while (!(woken = load_acquire(&thread->woken))) {
            uint64_t timer = ss_next_due(), next = timer < until ? timer : until,
                     now = next == SS_FOREVER ? 0 : ss_os.now();
            if (timer <= now)
                ss_timers_fire(now);
            else if (until <= now)
                break;
            else if (ss_seat_take())
                sleep_seated(thread, next);
            else
                ss_os.futex_wait_until(&thread->woken, 0, next);
        }
        smolscale_blocking_end();
    }
    if (woken)
        store_relaxed(&thread->woken, 0);
    return woken;
}

smolscale_cx *smolscale_thread_begin(smolscale_thread *storage)
{
    struct thread *thread = init_thread(storage);
    init_task(&thread->task, NULL, &thread->home);
    thread->cx = (smolscale_cx){.task = &thread->task, .budget = UINT32_MAX};
    return &thread->cx;
}

int smolscale_thread_end(smolscale_thread *storage, int result)
{
    struct thread *thread = (struct thread *)storage->storage;
    struct smolscale_task *task = &thread->task;
    while (result == SMOLSCALE_PENDING) {
        if (thread->cx.suspend == SS_SUSPEND_WAKER)
            return -EINVAL; // only smolscale_block_on() polls again
        if (!ss_suspend(task, &thread->cx))
            sleep_until_woken(thread, SS_FOREVER);
        if (!task->poll) {
            result = task->result;
            break;
        }
        // A descriptor is ready, and what it is wanted for remains to be done (reactor.c).
        thread->cx.result = task->result;
        thread->cx.suspend = SS_SUSPEND_WAKER;
        result = task->poll(&thread->cx, NULL);
    }
    if (task->deadline != 0)
        ss_timer_disarm(task); // which would outlive it
    ss_events_cover();         // it may have left the seat
    return result;
}

// ---- smolscale_block_on()
//
// The function is polled on the calling thread at first. One that has to wait again and again is
// better off among the tasks it waits for: each wait of a thread costs two wake-ups. So after some
// turns its task is *offered* to the workers, and the thread sleeps until it has ended. But it may
// be that no worker comes, because no thread can be had or all are stuck; then the thread takes the
// task back and goes on itself.
//
// What is offered must not lie in a run queue from where nobody can take it back. So a small task,
// the *carrier*, lies there instead. Exactly one of the two changes OFFER_MADE: the carrier to
// TAKEN (from then on the task is the workers'), or the thread to WITHDRAWN. While it is MADE the
// task is ready to run and in no queue, so nobody schedules it.

#define TURNS_ON_THREAD 2
#define OFFER_NS        (10 * SS_NS_PER_MS)

enum { OFFER_NONE, OFFER_MADE, OFFER_TAKEN, OFFER_WITHDRAWN };

// The frame of the task, which lies in memory of its own, because wakers of it and the carrier may
// outlive the call.
struct guest {
    smolscale_poll_fn *poll;
    void *frame;
    struct thread *thread;
    struct ss_owner owner; // is told of its end on a worker
    _Atomic unsigned offer;
};

// Carriers in run queues whose offer was withdrawn. While there are any, no worker has come since,
// and none is expected: nobody offers, so that they do not pile up.
static _Atomic unsigned stale_carriers;

void ss_task_after_fork(void)
{
    store_relaxed(&stale_carriers, 0); // as the lanes in which they were
}

static int poll_guest(smolscale_cx *cx, void *frame)
{
    struct guest *guest = frame;
    return guest->poll(cx, guest->frame);
}

// The thread sleeps until it is woken here, whatever else it has seen: the frame is there.
static void guest_ended(struct ss_owner *owner, struct smolscale_task *task)
{
    struct guest *guest = (struct guest *)((char *)owner - offsetof(struct guest, owner));
    wake_thread(&guest->thread->home, task);
}

static int carry(smolscale_cx *cx, void *frame)
{
    struct smolscale_task *task = *(struct smolscale_task **)frame;
    struct guest *guest = ss_frame(task);
    unsigned made = OFFER_MADE;
    (void)cx;
    if (cas_strong_acq_rel(&guest->offer, &made, OFFER_TAKEN)) {
        task->home = NULL;
        task->owner = &guest->owner;
        ss_schedule(task);
    } else {
        store_release(&guest->offer, OFFER_NONE);
        fetch_sub_relaxed(&stale_carriers, 1);
    }
    unref(task);
    return 0;
}

// The task is ready to run. True: the workers have run it to its end. False: it is the thread's.
static bool run_on_workers(struct thread *thread, struct smolscale_task *task)
{
    struct guest *guest = ss_frame(task);
    if (load_acquire(&guest->offer) != OFFER_NONE || load_relaxed(&stale_carriers) > 0)
        return false;
    struct smolscale_task *carrier = ss_task_new(carry, &task, sizeof task, NULL);
    if (!carrier)
        return false;
    carrier->join.lock = SS_JOIN_RELEASED;
    smolscale_waker_clone((smolscale_waker){task}); // the carrier's reference
    store_release(&guest->offer, OFFER_MADE);
    int nobody = ss_submit(carrier);
    if (!nobody && sleep_until_woken(thread, ss_time_in(OFFER_NS)))
        return true;
    unsigned made = OFFER_MADE;
    fetch_add_relaxed(&stale_carriers, 1);
    if (cas_strong_acq_rel(&guest->offer, &made, OFFER_WITHDRAWN))
        return false;
    fetch_sub_relaxed(&stale_carriers, 1);
    sleep_until_woken(thread, SS_FOREVER);
    return true;
}

// While the thread does not sleep, and there may be no worker.
static void fire_due_timers(void)
{
    uint64_t next = ss_next_due(), now = next == SS_FOREVER ? 0 : ss_os.now();
    if (next <= now)
        ss_timers_fire(now);
}

int smolscale_block_on(smolscale_poll_fn *poll, void *frame)
{
    smolscale_thread storage;
    struct thread *thread = init_thread(&storage);
    struct guest mine = {.poll = poll, .frame = frame, .thread = thread, .owner = {guest_ended}};
    struct smolscale_task *task = ss_task_new(poll_guest, &mine, sizeof mine, &thread->home);
    if (!task)
        return -ENOMEM;
    for (unsigned turns = 0; !smolscale_finished(task); turns++) {
        if (turns > TURNS_ON_THREAD && run_on_workers(thread, task))
            break;
        if (ss_poll_once(task, &thread->cx))
            fire_due_timers();
        else if (!smolscale_finished(task))
            sleep_until_woken(thread, SS_FOREVER);
    }
    int result = task->result;
    unref(task);
    ss_events_cover(); // it may have left the seat
    return result;
}
