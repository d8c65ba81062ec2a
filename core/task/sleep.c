// SPDX-License-Identifier: ISC
//
// Sleeps, intervals and deadlines (sleep.h), and what is done when one is due.

#include "task/sleep.h"

#include "io/timer.h"
#include "task/interrupt.h"
#include "task/lane.h"
#include "task/waitlist.h"

#define FIRED_AT_ONCE 64

static uint64_t fire(uint64_t now);

// sched/duty.h says which threads fire.
static const struct ss_time_duty duty = {fire};

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
    if (!ss_timers_lock_with_room(&task->timer, &duty))
        return -ENOMEM;
    ss_timer_unset(&task->timer); // the deadline's; it is set again at the next await
    ss_timer_set(&task->timer, cut ? task->deadline : when);
    task->sleeping = true;
    task->result = cut ? -ETIMEDOUT : result;
    task->slot = cut ? NULL : interval;
    cx->suspend = SS_SUSPEND_SLEEP;
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

void ss_sleep_end(struct smolscale_task *task)
{
    task->sleeping = false;
    ss_timer_unset(&task->timer);
}

bool ss_sleep_interrupt(struct smolscale_task *task, int result)
{
    ss_timers_lock();
    bool asleep = task->sleeping;
    if (asleep) {
        ss_sleep_end(task);
        task->result = result;
    }
    ss_timers_unlock();
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
        ss_deadline_disarm(task);
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

bool ss_deadline_arm(struct smolscale_task *task)
{
    if (ss_timer_is_set(&task->timer) || load_relaxed(&task->ctl) & SS_CTL_TIMED_OUT)
        return true;
    if (!ss_timers_lock_with_room(&task->timer, &duty))
        return false;
    task->deadline_armed = true;
    ss_timer_set(&task->timer, task->deadline);
    ss_timers_unlock();
    return true;
}

// The thread that takes the timer out when it is due sets flag and pin under the lock, so both are
// seen here; the pin is given back after the interruption, which then cannot hit a later await.
static void take_out(struct smolscale_task *task)
{
    ss_timers_lock();
    ss_timer_unset(&task->timer);
    ss_timers_unlock();
    while (ss_ctl_pinned(load_acquire(&task->ctl)))
        ss_os.yield();
    task->deadline_armed = false;
}

// Most are dropped before their task was ever suspended under them: then no other thread knows of
// them, and the lock, which all tasks share, is left alone.
void ss_deadline_disarm(struct smolscale_task *task)
{
    if (task->deadline_armed)
        take_out(task);
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

static struct smolscale_task *task_of(struct ss_timer *timer)
{
    return (struct smolscale_task *)((char *)timer - offsetof(struct smolscale_task, timer));
}

// What was due, in that order.
struct due {
    unsigned count;
    bool any_deadline;
    bool is_deadline[FIRED_AT_ONCE];
    struct smolscale_task *task[FIRED_AT_ONCE];
};

// The timers' lock held.
static void end_wait(struct smolscale_task *task, bool is_deadline)
{
    if (is_deadline) {
        fetch_add_relaxed(&task->ctl, SS_CTL_PIN);
        fetch_or_seq_cst(&task->ctl, SS_CTL_TIMED_OUT);
        return;
    }
    task->sleeping = false; // its result stands there already
    if (task->slot)
        take_tick(task->slot);
}

static void take_due(uint64_t now, struct due *due)
{
    due->count = 0;
    due->any_deadline = false;
    ss_timers_lock();
    while (due->count < FIRED_AT_ONCE) {
        struct ss_timer *timer = ss_timers_take_due(now);
        if (!timer)
            break;
        struct smolscale_task *task = task_of(timer);
        bool is_deadline = !task->sleeping;
        end_wait(task, is_deadline);
        due->is_deadline[due->count] = is_deadline;
        due->any_deadline |= is_deadline;
        due->task[due->count++] = task;
    }
    ss_timers_unlock();
}

// One fence for all deadlines: their tasks have their flags and pins.
static void fire_due(const struct due *due)
{
    if (due->any_deadline)
        ss_interrupt_fence();
    for (unsigned i = 0; i < due->count; i++)
        if (due->is_deadline[i])
            ss_interrupt(due->task[i], -ETIMEDOUT);
        else
            ss_schedule(due->task[i]);
}

static uint64_t fire(uint64_t now)
{
    struct due due;
    while (ss_next_due() <= now) {
        take_due(now, &due);
        fire_due(&due);
    }
    return ss_next_due();
}
