// SPDX-License-Identifier: ISC
//
// On which CPU a worker wakes.
//
// A thread that pushes a job and then waits for it, again and again, may be best served on its own
// CPU: the worker runs there as soon as the thread sleeps, while another CPU has to come out of its
// idle state first. This is *homing* (bench/glib, "round-trip"). But a thread that goes on working
// would be held up by it. So the last few wakes of the thread decide: a worker is homed only if the
// thread has slept between them, and if each came a short time after the one before (a *round
// trip*) or long after it (a *seldom* wake).
//
// After a long time other CPUs are deeply idle, and homing costs less in any case. In round trips,
// where a worker wakes otherwise is the kernel's choice, which differs from machine to machine, as
// do the costs of the system calls for homing. So both are tried, and the way whose round trips
// take less time is kept (base/choice.h): from one wake to the next, all that it has cost is in
// that. While the kernel's way is kept, none of the system calls is made.
//
// Some kernels leave a thread for a while on the CPU on which it slept, others take it to an idle
// one at once. So a worker that slept on its waker's CPU is left to the kernel at first. If it
// wakes on another CPU it went *astray*: then some are homed wherever they slept before one is left
// to the kernel again. They are 1, and 3, 7, ... if that one goes astray, too.
//
// Two corrections. If a woken worker is late, the next one is kept away from its waker's CPU. If a
// homed worker comes late, its waker's CPU has too much to do. Then no worker is homed in round
// trips for a while, and in seldom wakes by that thread some are passed over.
//
// A worker has its CPUs back before it runs a job.

#include "sched/placement.h"

#include "base/backoff.h"
#include "base/choice.h"
#include "sched/executor.h"

#include <string.h>

static struct ss_backoff homing; // when no worker is homed in round trips

enum { HOME, KERNEL }; // the ways of `way`
static struct ss_choice way;

// The last wakes by the calling thread.
static SS_THREAD_LOCAL struct {
    uint64_t last_wake;     // ns
    uint64_t sleeps;        // how often the thread had slept when that was last asked,
    unsigned wakes;         // and its wakes since then
    struct ss_skips looks;  // where it has not slept it is asked less often
    unsigned streak;        // wakes in a row that speak for homing
    bool judged;            // the last was a matter of the choice,
    unsigned gone;          // and this way was gone
    bool left_here;         // the last worker had slept on this CPU, and was left to the kernel
    bool homed_seldom;      // the last worker was homed in a seldom wake
    struct ss_skips seldom; // where such workers are late fewer are homed
    unsigned astray;        // the more often in a row that went wrong, the greater
    unsigned to_home;       // so many are homed wherever they slept
} waker;

void ss_placing_renew(struct ss_placing *placing)
{
    placing->placed = placing->keep_away = false;
    placing->homed_at = 0;
    placing->slept_on = -1;
}

void ss_placing_sleep(struct ss_placing *placing)
{
    placing->slept_on = ss_os.cpu();
}

void ss_keep_away(struct ss_worker *worker)
{
    worker->placing.keep_away = true;
}

// Has the calling thread slept as often as it has woken workers, since this was last asked? A
// system call.
static bool has_slept(void)
{
    uint64_t sleeps = ss_os.sleeps();
    bool as_often = sleeps - waker.sleeps >= waker.wakes;
    waker.sleeps = sleeps;
    waker.wakes = 0;
    ss_skips_note(&waker.looks, as_often, SS_HOMING_SKIPS_MAX);
    return as_often;
}

// Does the calling thread sleep between its wakes, again and again? Once it does that is looked at
// seldom, but before a worker is homed (`surely`).
static bool sleeps_between(bool surely)
{
    bool looks =
        surely || waker.streak < SS_HOMING_STREAK || waker.wakes >= SS_HOMING_WAKES_PER_LOOK;
    if (looks && ss_skip(&waker.looks))
        return false;
    if (looks)
        waker.streak = has_slept() ? waker.streak + 1 : 0;
    return waker.streak >= SS_HOMING_STREAK;
}

// Notes what became of the last worker that had slept on this CPU and was left to the kernel. This
// one slept on it, or not (`here`).
static void judge_straying(bool here)
{
    if (!waker.left_here)
        return;
    waker.left_here = false;
    if (here)
        waker.astray = 0;
    else if (waker.astray < SS_HOMING_ASTRAY_MAX)
        waker.astray = 2 * waker.astray + 1;
    waker.to_home = waker.astray;
}

static bool is_seldom(uint64_t gap)
{
    return gap >= SS_HOMING_SELDOM * (uint64_t)ss_policy(homing_gap_ns);
}

// Tells the choice what the last round trip has cost: a long one was none. And if the last wake was
// a seldom one, notes whether the worker was late: a thread that goes on working after such a wake
// is likely to do so each time. That is counted in wakes, for they may be far apart.
static void judge_last_wake(uint64_t gap, const struct ss_worker *worker)
{
    if (waker.judged && !is_seldom(gap))
        ss_choice_note(&way, waker.gone, gap);
    if (waker.homed_seldom)
        ss_skips_note(&waker.seldom, !worker->placing.was_late, SS_HOMING_SKIPS_MAX);
    waker.judged = waker.homed_seldom = false;
}

// The way for this wake, `gap` after the last one.
static unsigned way_for(uint64_t gap)
{
    if (is_seldom(gap))
        return HOME; // other CPUs idle deeply by now
    if (gap >= ss_policy(homing_gap_ns))
        return KERNEL; // a round trip that was disturbed, or none
    waker.judged = !ss_choice_keeps(&way, KERNEL);
    if (!waker.judged)
        ss_choice_count(&way);
    return ss_choice_way(&way);
}

static bool is_homed(const struct ss_worker *worker)
{
    if (ss_self || ss_spawner_self) // they go on with what they do
        return false;
    uint64_t now = ss_os.now(), gap = now - waker.last_wake;
    waker.last_wake = now;
    waker.wakes++;
    judge_last_wake(gap, worker);
    waker.gone = way_for(gap);
    if (waker.gone != HOME && !waker.judged) {
        waker.left_here = false;
        return false;
    }
    bool here = worker->placing.slept_on == ss_os.cpu();
    judge_straying(here);
    bool by_call = waker.gone == HOME && (!here || waker.to_home > 0);
    bool skips = is_seldom(gap) ? ss_skip(&waker.seldom) : ss_backed_off(&homing, now);
    if (skips || !sleeps_between(by_call)) {
        waker.judged = false;
        return false;
    }
    waker.left_here = waker.gone == HOME && !by_call;
    if (by_call && here)
        waker.to_home--;
    waker.homed_seldom = by_call && is_seldom(gap);
    return by_call;
}

void ss_place(struct ss_worker *worker)
{
    struct ss_placing *placing = &worker->placing;
    bool away = placing->keep_away, home = !away && is_homed(worker);
    pid_t tid = load_relaxed(&worker->tid);
    if (away)
        waker.left_here = waker.judged = waker.homed_seldom = false;
    if (tid != 0 && (home || away))
        placing->placed = ss_os.place(tid, ss_os.cpu(), home, &placing->placement);
    placing->homed_at = home ? waker.last_wake : 0;
    placing->keep_away = placing->was_late = false;
}

static void judge_homing(struct ss_placing *placing)
{
    uint64_t now = ss_os.now();
    placing->was_late = now - placing->homed_at > ss_policy(homing_late_ns);
    if (placing->was_late)
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
        judge_homing(placing);
}

static void after_fork(void)
{
    homing = (struct ss_backoff){0};
    way = (struct ss_choice){0};
    memset(&waker, 0, sizeof waker);
}

SS_ROOM(sched_placement, NULL, after_fork);
