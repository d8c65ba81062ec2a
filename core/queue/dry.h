// SPDX-License-Identifier: ISC
//
// What a worker does when a queue runs dry whose jobs keep coming: it stays for a moment, for more
// will come and waking it again costs as much as hundreds of tiny ones.
//
// If jobs are tiny it *naps*: it sleeps for some µs with its place kept, so that pushers have
// nobody to wake. A nap pays if two jobs or more wait at its end and if they had kept coming. If
// all jobs came at the start of the nap, the pushers were waiting for results and the nap only
// delayed them: it counts as failed. After a failure some occasions are skipped, more after each
// (base/backoff.h).
//
// It *lingers*: it yields its CPU for some µs before it leaves. A pusher that shares the CPU can
// push all that it has then, and one on another CPU need not wake it. This serves pushers that wait
// for what they have pushed, whatever time the jobs take (bench/libuv, "work-64"; bench/glib,
// "round-trip"). If jobs have come, it has gained what a sleep costs, less the time; if not, it has
// lost the time. While it loses in the mean it backs off in the same way. The balancer does not
// park while workers linger: what is left to one needs it awake (ss_note_lingering).
//
// A queue that gives notices (notices.h) has such pushers, so it has another policy: naps are
// shorter and only for the tiniest jobs, and workers linger for longer; the more so, the longer the
// pushers' round takes, hence their jobs (bench/libuv, "stat-64").

#ifndef SS_DRY_H
#define SS_DRY_H

#include "queue/limits.h"
#include "queue/server.h"

// Chosen when the queue is created. The times are policies of sched/costs.h.
struct ss_dry_policy {
    const _Atomic uint32_t *nap_ns;       // how long a nap is
    const _Atomic uint32_t *nap_below_ns; // naps are for jobs that take less
    const _Atomic uint32_t *linger_ns;    // what lingering is thought to save,
    unsigned linger_jobs;                 // and so many times what a tiny job takes:
    unsigned linger_times;                // a worker lingers for so many times that,
    unsigned gain_times;                  // and if jobs come it has gained so many times that
};

extern const struct ss_dry_policy ss_dry_policy;
extern const struct ss_dry_policy ss_dry_policy_with_notices;

// All functions: the queue's lock held.

// Tiny jobs that keep coming?
static inline bool ss_queue_has_tiny_jobs(const smolscale_queue *queue)
{
    return queue->steady && ss_queue_jobs_below(queue, ss_policy(tiny_job_ns));
}

// The queue has little or nothing left: naps or lingers if that may pay. Drops the lock meanwhile,
// and may give the worker's notices. `server->batch_start` is the present time before and after.
void ss_queue_await_jobs(smolscale_queue *queue, struct ss_worker *worker);

// Ends the nap in the queue, if there is one: the caller does not want to wait for its end. This
// wakes a thread under the lock, but one that sleeps for some µs only, where the caller is about to
// drop the lock.
void ss_queue_end_nap(smolscale_queue *queue);

#endif // SS_DRY_H
