// SPDX-License-Identifier: ISC
//
// Timers: one heap of tasks for the process, ordered by when they are due. A task has at most one
// entry. It is either
//
//   sleeping    the task is suspended "on" ss_timers_list, whose lock guards the heap: taking the
//   entry out gives the right
//               to schedule the task, as with any waitlist; or
//   a deadline  of the task's awaits: it interrupts whatever the task does when it is due. It is
//   put in when the task is first
//               suspended under that deadline, and stays while one await follows another. A task
//               that is never suspended puts it in at its second await (waitlist.h).
//
// Without memory for an entry nothing waits: the await gives -ENOMEM.
//
// Who fires what is due: a worker that serves a lane, every 10 µs or so; else the *keeper*, an idle
// worker that sleeps until then (worker.c); else the balancer; and a thread that waits like a task
// for itself (task.c).
//
// The heap lies in segments that are never moved, so that the lock is held for no longer than a
// path in it takes.

#include "task/task.h"

#include "os/memory.h"
#include "task/waitlist.h"

#include <string.h>

#define SEGMENT_BITS  12
#define SEGMENT       (1u << SEGMENT_BITS)
#define SEGMENTS      4096u // 16 M timers
#define FIRED_AT_ONCE 64

struct entry {
    uint64_t when;
    struct smolscale_task *task;
};

smolscale_waitlist ss_timers_list;

static struct {
    struct entry *segment[SEGMENTS];
    uint32_t count, capacity;
} heap;

// ---- the heap; the lock held

static struct entry *at(uint32_t i)
{
    return &heap.segment[i >> SEGMENT_BITS][i & (SEGMENT - 1)];
}

static void put(uint32_t i, struct entry entry)
{
    *at(i) = entry;
    store_relaxed(&entry.task->timer, i);
}

static void sift_up(uint32_t i, struct entry entry)
{
    while (i > 0 && at((i - 1) / 2)->when > entry.when) {
        put(i, *at((i - 1) / 2));
        i = (i - 1) / 2;
    }
    put(i, entry);
}

static void sift_down(uint32_t i, struct entry entry)
{
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= heap.count)
            break;
        if (child + 1 < heap.count && at(child + 1)->when < at(child)->when)
            child++;
        if (at(child)->when >= entry.when)
            break;
        put(i, *at(child));
        i = child;
    }
    put(i, entry);
}

static void publish_next(void)
{
    ss_set_due(heap.count ? at(0)->when : SS_FOREVER);
}

static void remove_at(uint32_t i)
{
    store_relaxed(&at(i)->task->timer, SS_NO_TIMER);
    struct entry last = *at(--heap.count);
    if (i < heap.count) {
        if (i > 0 && at((i - 1) / 2)->when > last.when)
            sift_up(i, last);
        else
            sift_down(i, last);
    }
    publish_next();
}

// The task's index may be one in the parent's heap, where its poll has forked and goes on in the
// child.
static bool has_entry(const struct smolscale_task *task)
{
    uint32_t i = load_relaxed(&task->timer);
    return i < heap.count && at(i)->task == task; // SS_NO_TIMER is larger than any
}

// Takes out what the task has in the heap.
static void remove_entry(struct smolscale_task *task)
{
    if (has_entry(task))
        remove_at(load_relaxed(&task->timer));
    else
        store_relaxed(&task->timer, SS_NO_TIMER);
}

static void insert(struct smolscale_task *task, uint64_t when)
{
    sift_up(heap.count++, (struct entry){when, task});
    publish_next();
}

static void lock(void)
{
    ss_list_lock(&ss_timers_list);
}

static void unlock(void)
{
    ss_list_unlock(&ss_timers_list);
}

static const struct ss_time_duty duty = {ss_timers_fire};

// Takes the lock with room for the task's entry. False: no memory, and no lock.
static bool lock_with_room_for(const struct smolscale_task *task)
{
    lock();
    while (heap.count == heap.capacity && !has_entry(task)) {
        if (heap.capacity == SEGMENTS * SEGMENT) {
            unlock();
            return false;
        }
        unlock();                              // not across the allocator
        store_release(&ss_duties.time, &duty); // for the first entry
        struct entry *segment = ss_allocate(SEGMENT * sizeof *segment);
        if (!segment)
            return false;
        lock();
        if (heap.count == heap.capacity && heap.capacity < SEGMENTS * SEGMENT) {
            heap.segment[heap.capacity >> SEGMENT_BITS] = segment;
            heap.capacity += SEGMENT;
        } else {
            ss_deallocate(segment); // another has brought one; seldom enough to do it here
        }
    }
    return true;
}

// ---- sleeping

uint64_t smolscale_now(void)
{
    return ss_os.now();
}

// The await gives `result` then, and not before the interval, if there is one, has taken its tick.
static int suspend_until(smolscale_cx *cx, uint64_t when, int result, smolscale_interval *interval)
{
    struct smolscale_task *task = cx->task;
    bool cut = task->deadline && task->deadline < when;
    if (!lock_with_room_for(task))
        return -ENOMEM;
    remove_entry(task); // the deadline's; it is put in again at the next await
    insert(task, cut ? task->deadline : when);
    task->sleeping = true;
    task->result = cut ? -ETIMEDOUT : result;
    task->slot = cut ? NULL : interval;
    cx->suspend = SS_SUSPEND_LIST;
    cx->where = &ss_timers_list;
    return SMOLSCALE_PENDING;
}

int smolscale_sleep_until(smolscale_cx *cx, uint64_t when)
{
    int interrupted = ss_interrupted(cx);
    if (interrupted)
        return interrupted;
    return ss_os.now() >= when ? ss_ready(cx, 0) : suspend_until(cx, when, 0, NULL);
}

int smolscale_sleep(smolscale_cx *cx, uint64_t ns)
{
    return smolscale_sleep_until(cx, ss_time_in(ns));
}

void ss_timer_unsleep(struct smolscale_task *task)
{
    task->sleeping = false;
    remove_entry(task);
}

bool ss_timer_wake_sleeper(struct smolscale_task *task, int result)
{
    lock();
    bool asleep = task->sleeping;
    if (asleep) {
        ss_timer_unsleep(task);
        task->result = result;
    }
    unlock();
    return asleep;
}

// ---- deadlines

uint64_t smolscale_deadline(smolscale_cx *cx, uint64_t when)
{
    struct smolscale_task *task = cx->task;
    uint64_t before = task->deadline;
    if (before == when)
        return before;
    if (before != 0)
        ss_timer_disarm(task);
    task->deadline = when;
    task->deadline_tried = false;
    if (when != 0)
        fetch_or_relaxed(&task->ctl, SS_CTL_DEADLINE);
    return before;
}

// Where a sooner deadline holds, nothing changes: the awaits under it that were tried count.
uint64_t smolscale_begin_timeout(smolscale_cx *cx, uint64_t ns)
{
    uint64_t when = ss_time_in(ns), before = cx->task->deadline;
    return before != 0 && before <= when ? before : smolscale_deadline(cx, when);
}

bool ss_timer_arm(struct smolscale_task *task)
{
    if (load_relaxed(&task->timer) != SS_NO_TIMER || load_relaxed(&task->ctl) & SS_CTL_TIMED_OUT)
        return true;
    if (!lock_with_room_for(task))
        return false;
    insert(task, task->deadline);
    unlock();
    return true;
}

// Whoever has taken the entry out has set flag and pin under the lock, so both are seen here; the
// pin is given back after the interruption, which then cannot hit a later await.
void ss_timer_disarm(struct smolscale_task *task)
{
    lock();
    remove_entry(task);
    unlock();
    while (ss_ctl_pinned(load_acquire(&task->ctl)))
        ss_os.yield();
    fetch_and_acq_rel(&task->ctl, ~(SS_CTL_TIMED_OUT | SS_CTL_DEADLINE));
    task->deadline = 0;
}

// ---- intervals. `next` is the first tick that no await has given. An await that sleeps takes its
// tick when that comes (firing, below), so one that is cut off has taken none.

void smolscale_interval_init(smolscale_interval *interval, uint64_t period)
{
    interval->period = period ? period : 1;
    interval->next = ss_time_in(interval->period);
}

static void take_tick(smolscale_interval *interval)
{
    interval->next = ss_time_after(interval->next, interval->period);
}

int smolscale_interval_wait(smolscale_cx *cx, smolscale_interval *interval)
{
    int interrupted = ss_interrupted(cx);
    if (interrupted)
        return interrupted;
    uint64_t now = ss_os.now();
    if (now < interval->next)
        return suspend_until(cx, interval->next, 1, interval);
    uint64_t missed = (now - interval->next) / interval->period;
    interval->next += missed * interval->period; // not beyond now
    take_tick(interval);
    return ss_ready(cx, missed < INT32_MAX ? (int)missed + 1 : INT32_MAX);
}

// ---- firing

// Takes up to FIRED_AT_ONCE sleepers that are due out, as a list; or one deadline.
static struct smolscale_task *take_due(uint64_t now, struct smolscale_task **timed_out)
{
    struct smolscale_task *list = NULL, **tail = &list;
    lock();
    for (unsigned n = 0; n < FIRED_AT_ONCE && heap.count && at(0)->when <= now; n++) {
        struct smolscale_task *task = at(0)->task;
        remove_at(0);
        if (!task->sleeping) {
            fetch_add_relaxed(&task->ctl, SS_CTL_PIN);
            fetch_or_seq_cst(&task->ctl, SS_CTL_TIMED_OUT);
            *timed_out = task;
            break;
        }
        task->sleeping = false; // its result stands there already
        if (task->slot)
            take_tick(task->slot);
        *tail = task;
        tail = &task->next;
    }
    *tail = NULL;
    unlock();
    return list;
}

uint64_t ss_timers_fire(uint64_t now)
{
    while (ss_next_due() <= now) {
        struct smolscale_task *timed_out = NULL, *list = take_due(now, &timed_out);
        ss_schedule_list(list);
        if (timed_out)
            ss_interrupt(timed_out, -ETIMEDOUT);
    }
    return ss_next_due();
}

// ---- fork

void ss_timers_after_fork(void)
{
    memset(&ss_timers_list, 0, sizeof ss_timers_list);
    heap.count = heap.capacity = 0; // which another thread may have been about to change
    while (heap.capacity < SEGMENTS * SEGMENT && heap.segment[heap.capacity >> SEGMENT_BITS])
        heap.capacity += SEGMENT;
}
