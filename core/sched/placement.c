// SPDX-License-Identifier: ISC
//
// On which CPU a worker wakes.
//
// A thread that pushes a job and then waits for it, again and again, is best served on its own CPU.
// The worker runs there as soon as the thread sleeps, after 2 µs. Another CPU, which is halted,
// takes 22 µs. This is *homing* (bench/glib, "round-trip"). But a thread that goes on working would
// be held up by it. So the last few wakes of the thread decide: a worker is homed if each came a
// short time after the one before, and the thread has slept in between.
//
// Two corrections. If a woken worker is late, the next one is kept away from its waker's CPU. If a
// homed worker comes late, its waker's CPU has too much to do, and no worker is homed for a while.
//
// A worker has its CPUs back before it runs a job.

#include "sched/placement.h"

#include "base/backoff.h"
#include "sched/executor.h"

#include <string.h>

static struct ss_backoff homing; // when no worker is homed

// The last wakes by the calling thread.
static SS_THREAD_LOCAL struct {
    uint64_t last_wake; // ns
    uint64_t sleeps;    // how often the thread had slept by then
    unsigned streak;    // wakes in a row that speak for homing
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

static bool waker_sleeps_soon(void)
{
    if (ss_self) // a worker goes on to the job that it came for
        return false;
    uint64_t now = ss_os.now(), gap = now - waker.last_wake;
    waker.last_wake = now;
    if (gap >= SS_HOMING_GAP_NS) {
        waker.streak = 0; // not worth the system call
        return false;
    }
    uint64_t sleeps = ss_os.sleeps();
    waker.streak = sleeps != waker.sleeps ? waker.streak + 1 : 0;
    waker.sleeps = sleeps;
    return waker.streak >= SS_HOMING_STREAK && !ss_backed_off(&homing, now);
}

void ss_place(struct ss_worker *worker)
{
    struct ss_placing *placing = &worker->placing;
    bool away = placing->keep_away, home = !away && waker_sleeps_soon();
    pid_t tid = load_relaxed(&worker->tid);
    if (tid != 0 && (home || away))
        placing->placed = ss_os.place(tid, ss_os.cpu(), home, &placing->placement);
    placing->homed_at = home ? waker.last_wake : 0;
    placing->keep_away = false;
}

static void judge_homing(uint64_t homed_at)
{
    uint64_t now = ss_os.now();
    if (now - homed_at > SS_HOMING_LATE_NS)
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
    memset(&waker, 0, sizeof waker);
}

SS_ROOM(sched_placement, NULL, after_fork);
