// SPDX-License-Identifier: ISC
//
// On which CPU a worker wakes.
//
// A thread that pushes a job and then waits for it, again and again, may be best served on its own
// CPU: the worker runs there as soon as the thread sleeps, while another CPU has to come out of its
// idle state first. This is *homing* (bench/glib, "round-trip"). But a thread that goes on working
// would be held up by it. So the last few wakes of the thread decide: a worker is homed only if
// each came a short time after the one before, and the thread has slept in between.
//
// And where it wakes otherwise is the kernel's choice, which differs from machine to machine, as do
// the costs of the system calls for homing. So both are tried, and the way whose round trips take
// less time is kept (base/choice.h): from one wake to the next, all that it has cost is in that.
// While the kernel's way is kept, none of the system calls is made.
//
// Two corrections. If a woken worker is late, the next one is kept away from its waker's CPU. If a
// homed worker comes late, its waker's CPU has too much to do, and no worker is homed for a while.
//
// A worker has its CPUs back before it runs a job.

#include "sched/placement.h"

#include "base/backoff.h"
#include "base/choice.h"
#include "sched/executor.h"

#include <string.h>

static struct ss_backoff homing; // when no worker is homed

enum { HOME, KERNEL }; // the ways of `way`
static struct ss_choice way;

// The last wakes by the calling thread.
static SS_THREAD_LOCAL struct {
    uint64_t last_wake; // ns
    uint64_t sleeps;    // how often the thread had slept by then
    unsigned streak;    // wakes in a row that speak for homing
    bool judged;        // the last was a matter of the choice,
    unsigned gone;      // and this way was gone
} waker;

void ss_placing_renew(struct ss_placing *placing)
{
    placing->placed = placing->keep_away = false;
    placing->homed_at = 0;
}

void ss_keep_away(struct ss_worker *worker)
{
    worker->placing.keep_away = true;
}

// Does the calling thread sleep soon? `gap`: since its last wake.
static bool waker_sleeps_soon(uint64_t gap)
{
    if (gap >= ss_policy(homing_gap_ns)) {
        waker.streak = 0; // not worth the system call
        return false;
    }
    if (ss_choice_keeps(&way, KERNEL)) {
        ss_choice_count(&way);
        return false;
    }
    uint64_t sleeps = ss_os.sleeps();
    waker.streak = sleeps != waker.sleeps ? waker.streak + 1 : 0;
    waker.sleeps = sleeps;
    return waker.streak >= SS_HOMING_STREAK;
}

// Tells the choice what the last round trip has cost. A long one was none.
static void judge_last_wake(uint64_t gap)
{
    if (waker.judged && gap < 4 * (uint64_t)ss_policy(homing_gap_ns))
        ss_choice_note(&way, waker.gone, gap);
    waker.judged = false;
}

static bool is_homed(uint64_t now)
{
    if (ss_self) // a worker goes on to the job that it came for
        return false;
    uint64_t gap = now - waker.last_wake;
    waker.last_wake = now;
    judge_last_wake(gap);
    if (!waker_sleeps_soon(gap) || ss_backed_off(&homing, now))
        return false;
    waker.judged = true;
    waker.gone = ss_choice_way(&way);
    return waker.gone == HOME;
}

void ss_place(struct ss_worker *worker, uint64_t now)
{
    struct ss_placing *placing = &worker->placing;
    bool away = placing->keep_away, home = !away && is_homed(now);
    pid_t tid = load_relaxed(&worker->tid);
    if (tid != 0 && (home || away))
        placing->placed = ss_os.place(tid, ss_os.cpu(), home, &placing->placement);
    placing->homed_at = home ? now : 0;
    placing->keep_away = false;
}

static void judge_homing(uint64_t homed_at)
{
    uint64_t now = ss_os.now();
    if (now - homed_at > ss_policy(homing_late_ns))
        ss_back_off(&homing, now, SS_HOMING_PAUSE_MIN_NS, SS_HOMING_PAUSE_MAX_NS);
}

void ss_placing_end(struct ss_worker *worker)
{
    struct ss_placing *placing = &worker->placing;
    if (!placing->placed)
        return;
    placing->placed = false;
    ss_os.release(&placing->placement);
    if (placing->homed_at)
        judge_homing(placing->homed_at);
}

static void after_fork(void)
{
    homing = (struct ss_backoff){0};
    way = (struct ss_choice){0};
    memset(&waker, 0, sizeof waker);
}

SS_ROOM(sched_placement, NULL, after_fork);
