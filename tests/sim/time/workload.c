// SPDX-License-Identifier: ISC

#include "workload.h"

#include "lines.h"
#include "os/memory.h"
#include "smolscale_async.h"

#include <stdlib.h>
#include <string.h>

// Of the simulator, not of the simulated machine: counting costs the programs nothing.
static const struct sim_load *load;
static struct sim_measured measured;
static uint64_t *waits; // from push to start
static unsigned wait_count, wait_room;
static uint64_t started, wanted, done; // jobs of this phase
static struct sim_time_stats before;
static struct sim_line_stats lines_before;

SIM_STATE static struct sim_flag all_done, never;

static void note_wait(uint64_t ns)
{
    if (wait_count == wait_room) {
        wait_room = wait_room ? 2 * wait_room : 4096;
        waits = realloc(waits, wait_room * sizeof *waits);
        if (!waits)
            abort();
    }
    waits[wait_count++] = ns;
}

void sim_job_run(struct sim_job *job)
{
    if (job->waits_for) {
        started++;
        sim_flag_wait(job->waits_for);
        return;
    }
    if (job->pushed)
        note_wait(sim_now() - job->pushed);
    if (job->ns)
        sim_work(job->ns);
    if (++done == wanted)
        sim_flag_set(&all_done);
}

// ---- phases

static void begin_phase(uint64_t jobs)
{
    done = 0;
    wanted = jobs;
    wait_count = 0;
    store_relaxed(&all_done.set, 0);
    before = sim_time_stats();
    lines_before = sim_lines_stats();
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void end_phase(uint64_t jobs, uint64_t work_ns)
{
    struct sim_time_stats after = sim_time_stats();
    struct sim_line_stats lines_after = sim_lines_stats();
    measured.wall_ns = after.end - before.end;
    measured.cpu_ns = after.cpu - before.cpu;
    measured.wakes = after.wakes - before.wakes;
    measured.calls = after.calls - before.calls;
    measured.switches = after.switches - before.switches;
    measured.threads = after.threads;
    measured.transfers = lines_after.transfers - lines_before.transfers;
    measured.waited_ns = lines_after.waited - lines_before.waited;
    measured.work_ns = work_ns;
    measured.jobs = (double)jobs;
    if (wait_count) {
        qsort(waits, wait_count, sizeof *waits, by_size);
        measured.p50_ns = waits[wait_count / 2];
        measured.p99_ns = waits[(uint64_t)wait_count * 99 / 100];
        measured.max_ns = waits[wait_count - 1];
    }
}

// ---- jobs

struct pusher {
    unsigned id, jobs;
    uint64_t job_ns, between_ns, random;
    struct sim_job *job;
    _Atomic uint32_t rest;
};

SIM_STATE static struct pusher pushers[SIM_CPUS_MAX];

static void sleep_until(struct pusher *self, uint64_t until)
{
    while (ss_os.futex_wait_until(&self->rest, 0, until))
        ;
}

// Poisson would need a logarithm; evenly between none and twice the mean does as well here.
static uint64_t next_gap(struct pusher *self)
{
    self->random = sim_mix(self->random, self->id + 1);
    return self->random % (2 * self->between_ns);
}

// Pushers begin at once, when all are there: to create them takes longer than many a row's jobs.
SIM_STATE static _Atomic unsigned pushers_ready;
SIM_STATE static _Atomic bool pushers_go;

static void *push_jobs(void *arg)
{
    struct pusher *self = arg;
    fetch_add_relaxed(&pushers_ready, 1);
    while (!load_acquire(&pushers_go))
        sim_work(200);
    uint64_t due = sim_now();
    for (unsigned i = 0; i < self->jobs; i++) {
        struct sim_job *job = &self->job[i];
        if (self->between_ns) {
            due += next_gap(self);
            if (due > sim_now())
                sleep_until(self, due);
        }
        job->ns = self->job_ns;
        job->waits_for = NULL;
        job->pushed = sim_now();
        load->pool->push((self->id + i * load->pushers) % load->active_queues, job);
    }
    return NULL;
}

// A phase: from when all pushers are there until all their jobs have run.
static void run_pushers(unsigned jobs)
{
    struct sim_thread *threads[SIM_CPUS_MAX];
    store_relaxed(&pushers_ready, 0);
    store_relaxed(&pushers_go, false);
    for (unsigned i = 0; i < load->pushers; i++) {
        struct pusher *pusher = &pushers[i];
        pusher->id = i;
        pusher->jobs = jobs;
        pusher->job_ns = load->job_ns;
        pusher->between_ns = load->between_ns;
        threads[i] = sim_spawn(push_jobs, pusher);
    }
    while (load_relaxed(&pushers_ready) < load->pushers)
        ss_os.rest();
    begin_phase((uint64_t)jobs * load->pushers);
    store_release(&pushers_go, true);
    for (unsigned i = 0; i < load->pushers; i++)
        sim_join(threads[i]);
    sim_flag_wait(&all_done);
}

// Jobs that never end, and how long a short one waits for its start beside them.
static void block_workers(void)
{
    struct sim_job *jobs = ss_allocate_zeroed(load->blocked * sizeof *jobs);
    for (unsigned i = 0; i < load->blocked; i++) {
        jobs[i].waits_for = &never;
        load->pool->push(0, &jobs[i]);
    }
    uint64_t patience = sim_now() + 20 * SS_NS_PER_S;
    while (started < load->blocked && sim_now() < patience)
        ss_os.rest();
    SIM_CHECK(started == load->blocked, "%llu of %u jobs that block have begun",
              (unsigned long long)started, load->blocked);
}

static void run_jobs(void)
{
    unsigned warm = load->jobs / 4 ? load->jobs / 4 : 1;
    for (unsigned i = 0; i < load->pushers; i++)
        pushers[i].job = ss_allocate_zeroed(load->jobs * sizeof *pushers[i].job);
    load->pool->open(load->queues, load->limit);
    begin_phase(0);
    started = 0;
    if (load->blocked)
        block_workers();
    run_pushers(warm);
    run_pushers(load->jobs);
    end_phase((uint64_t)load->jobs * load->pushers,
              (uint64_t)load->jobs * load->pushers * load->job_ns);
}

// ---- tasks

struct node {
    SMOLSCALE_FRAME;
    smolscale_channel *from, *to;
    unsigned turns, passed;
    uint64_t token;
};

SMOLSCALE_ASYNC(node, f)
{
    int err;
    SMOLSCALE_BEGIN(f);
    while (f->passed < f->turns) {
        SMOLSCALE_AWAIT(err, smolscale_recv(cx, f->from, &f->token));
        if (err)
            break;
        if (load->hop_ns)
            sim_work(load->hop_ns);
        f->passed++;
        SMOLSCALE_AWAIT(err, smolscale_send(cx, f->to, &f->token));
    }
    SMOLSCALE_RETURN(0);
    SMOLSCALE_END;
}

// From one task: so that they have to spread by themselves.
struct rings {
    SMOLSCALE_FRAME;
    smolscale_task **tasks;
    unsigned count, joined;
    int result;
};

SMOLSCALE_ASYNC(rings, f)
{
    SMOLSCALE_BEGIN(f);
    f->count = load->rings * load->ring_size;
    f->tasks = ss_allocate(f->count * sizeof *f->tasks);
    for (unsigned ring = 0; ring < load->rings; ring++) {
        smolscale_channel *channels[64];
        uint64_t token = 1;
        for (unsigned i = 0; i < load->ring_size; i++)
            SIM_CHECK(smolscale_channel_new(&channels[i], sizeof token, 2) == 0, "no channel");
        for (unsigned i = 0; i < load->ring_size; i++)
            SMOLSCALE_SPAWN(&f->tasks[ring * load->ring_size + i], node, .from = channels[i],
                            .to = channels[(i + 1) % load->ring_size],
                            .turns = load->hops / load->ring_size);
        smolscale_try_send(channels[0], &token);
    }
    for (f->joined = 0; f->joined < f->count; f->joined++) {
        SMOLSCALE_AWAIT(f->result, smolscale_join(cx, f->tasks[f->joined]));
        smolscale_release(f->tasks[f->joined]);
    }
    sim_flag_set(&all_done);
    SMOLSCALE_RETURN(0);
    SMOLSCALE_END;
}

struct yielder {
    SMOLSCALE_FRAME;
    unsigned left;
    int err;
};

SMOLSCALE_ASYNC(yielder, f)
{
    SMOLSCALE_BEGIN(f);
    for (f->left = load->yields; f->left > 0; f->left--)
        SMOLSCALE_AWAIT(f->err, smolscale_yield(cx));
    SMOLSCALE_RETURN(0);
    SMOLSCALE_END;
}

struct spawner {
    SMOLSCALE_FRAME;
    smolscale_task **tasks;
    unsigned count, joined;
    int result;
};

SMOLSCALE_ASYNC(spawner, f)
{
    SMOLSCALE_BEGIN(f);
    f->count = load->spawns ? load->spawns : load->yielders;
    f->tasks = ss_allocate(f->count * sizeof *f->tasks);
    for (unsigned i = 0; i < f->count; i++)
        SMOLSCALE_SPAWN(&f->tasks[i], yielder);
    for (f->joined = 0; f->joined < f->count; f->joined++) {
        SMOLSCALE_AWAIT(f->result, smolscale_join(cx, f->tasks[f->joined]));
        smolscale_release(f->tasks[f->joined]);
    }
    sim_flag_set(&all_done);
    SMOLSCALE_RETURN(0);
    SMOLSCALE_END;
}

static void run_tasks(void)
{
    uint64_t hops = (uint64_t)load->rings * load->hops;
    uint64_t jobs = hops           ? hops
                    : load->spawns ? load->spawns
                                   : (uint64_t)load->yielders * load->yields;
    for (int phase = 0; phase < 2; phase++) {
        smolscale_task *task;
        begin_phase(jobs);
        if (load->rings)
            SMOLSCALE_SPAWN(&task, rings);
        else
            SMOLSCALE_SPAWN(&task, spawner);
        sim_flag_wait(&all_done);
        smolscale_release(task);
    }
    end_phase(jobs, hops * load->hop_ns);
}

// ---- a run

static void *run(void *arg)
{
    (void)arg;
    if (load->rings || load->spawns || load->yielders)
        run_tasks();
    else
        run_jobs();
    return NULL;
}

struct sim_measured sim_measure(const struct sim_profile *of, const struct sim_load *what)
{
    load = what;
    measured = (struct sim_measured){0};
    measured.good = sim_time_run(of, run, NULL);
    return measured;
}
