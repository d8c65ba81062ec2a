// SPDX-License-Identifier: ISC
//
// A yardstick: a pool with one mutex and one condition for each queue, which creates a thread while
// fewer than its limit exist and none waits. As GLib's GThreadPool with GAsyncQueue does it: each
// push takes the mutex, and signals the condition if a thread waits; a signal is a system call.

#include "../machine/sim.h"
#include "os/lock.h"
#include "os/memory.h"
#include "pool.h"

struct queue {
    struct ss_lock lock;
    struct sim_job *first, **end;
    unsigned length, limit, threads, waiters;
    _Atomic uint32_t signals;
};

SIM_STATE static struct queue *queues;

static struct sim_job *take(struct queue *queue)
{
    while (!queue->first) {
        queue->waiters++;
        uint32_t signals = load_relaxed(&queue->signals);
        ss_unlock(&queue->lock);
        ss_os.futex_wait_until(&queue->signals, signals, SS_FOREVER);
        ss_lock(&queue->lock);
        queue->waiters--;
    }
    struct sim_job *job = queue->first;
    queue->first = job->next;
    if (!queue->first)
        queue->end = &queue->first;
    queue->length--;
    return job;
}

static void *work(void *arg)
{
    struct queue *queue = arg;
    for (;;) {
        ss_lock(&queue->lock);
        struct sim_job *job = take(queue);
        ss_unlock(&queue->lock);
        sim_job_run(job);
    }
    return NULL;
}

static void open(unsigned count, unsigned limit)
{
    queues = ss_allocate_zeroed(count * sizeof *queues);
    for (unsigned i = 0; i < count; i++) {
        queues[i].end = &queues[i].first;
        queues[i].limit = limit;
    }
}

static void push(unsigned i, struct sim_job *job)
{
    struct queue *queue = &queues[i];
    void *node = ss_allocate(64); // of the list; its end is where the job is taken
    ss_deallocate(node);
    ss_lock(&queue->lock);
    job->next = NULL;
    *queue->end = job;
    queue->end = &job->next;
    queue->length++;
    bool wants = queue->length > queue->waiters && queue->threads < queue->limit;
    if (wants)
        queue->threads++;
    bool signals = queue->waiters > 0;
    if (signals)
        fetch_add_relaxed(&queue->signals, 1);
    ss_unlock(&queue->lock);
    if (signals)
        ss_os.futex_wake(&queue->signals, 1);
    if (wants)
        SIM_CHECK(ss_os.thread_create(work, queue) == 0, "no thread");
}

const struct sim_pool sim_pool_mutex = {"one mutex", open, push};
