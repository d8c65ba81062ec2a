// SPDX-License-Identifier: ISC
//
// What queues and groups can do, mixed at random by two threads that share the executor, with a
// ledger: each job that was accepted ends once, and at the end no worker is left. As the soak
// (tests/soak) does on the real machine, in orders that it hardly shows.

#include "count.h"

#include <errno.h>

enum { PLAYS = 2, QUEUES = 2, JOBS = 6, ACTS = 6 };

enum kind {
    QUICK,
    COMPUTES,
    SLEEPS,
    SAYS_THAT_IT_BLOCKS,
    SENDS_AWAY,
    PUSHES,
    GIVES_NOTICE,
    ENDS_ITS_THREAD,
    FORKS, // in mix-fork
    KINDS
};

struct job {
    enum kind kind;
    struct play *play;
    smolscale_queue *queue;
    uint64_t ticket;
    bool refused;      // by a queue that was closed
    bool gives_notice; // it was told that the notice will come
    _Atomic unsigned notices;
    _Atomic unsigned ends;
};

// Of one thread.
struct play {
    smolscale_group *group; // NULL: the default one
    smolscale_queue *queue[QUEUES];
    unsigned queues;
    _Atomic unsigned pushed;
    struct job job[JOBS];
    struct sim_flag closed[QUEUES];
};

SIM_STATE static struct play plays[PLAYS + 1]; // and of a child of fork()

// ---- jobs

static void end_job(struct job *job)
{
    unsigned before = fetch_add_relaxed(&job->ends, 1);
    SIM_CHECK(before == 0, "a job ends twice");
}

static void push_one(struct play *play, smolscale_queue *queue);
static void fork_in_job(void);

SIM_STATE static bool may_fork;

static void run_job(void *item, void *user_data)
{
    struct job *job = item;
    (void)user_data;
    switch (job->kind) {
    case COMPUTES:
        sim_work(200 * SS_NS_PER_US);
        break;
    case SLEEPS:
        ss_os.rest();
        break;
    case SAYS_THAT_IT_BLOCKS:
        smolscale_blocking_begin();
        ss_os.rest();
        smolscale_blocking_end();
        break;
    case SENDS_AWAY:
        smolscale_retire_idle();
        break;
    case PUSHES:
        push_one(job->play, smolscale_current_queue());
        break;
    case FORKS:
        fork_in_job();
        break;
    default:
        break;
    }
    end_job(job);
    if (job->kind == GIVES_NOTICE)
        job->gives_notice = smolscale_notify_soon(job);
    if (job->kind == ENDS_ITS_THREAD)
        sim_exit_thread();
}

static void note_notice(void *whom)
{
    fetch_add_relaxed(&((struct job *)whom)->notices, 1);
}

static void drop_job(void *item, void *user_data)
{
    (void)user_data;
    end_job(item);
}

static int compare_kinds(const void *a, const void *b, void *compare_data)
{
    (void)compare_data;
    return (int)((const struct job *)a)->kind - (int)((const struct job *)b)->kind;
}

// ---- what a thread does

static void begin_group(struct play *play)
{
    struct smolscale_group_attr attr = SMOLSCALE_GROUP_ATTR_INIT;
    static const uint64_t timeouts[] = {0, 1, SMOLSCALE_FOREVER};
    attr.max_workers = 1 + sim_roll(3);
    attr.idle_timeout = timeouts[sim_roll(3)];
    attr.flags = sim_roll(3) == 2 ? SMOLSCALE_GROUP_EAGER : 0;
    int err = smolscale_group_new(&play->group, &attr);
    sim_answered(err);
    SIM_CHECK(err == 0, "no group: %d", err);
}

static void begin_queue(struct play *play, bool family)
{
    unsigned q = play->queues++;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run_job;
    attr.group = play->group;
    attr.max_active = sim_roll(2) ? 1 + sim_roll(3) : SMOLSCALE_UNLIMITED;
    attr.notify = sim_roll(2) ? note_notice : NULL;
    attr.compare = sim_roll(3) == 2 ? compare_kinds : NULL;
    if (family && q > 0) {
        attr.parent = play->queue[0];
    } else if (!family && sim_roll(2)) {
        attr.flags = SMOLSCALE_QUEUE_DEDICATED;
        attr.max_active = sim_roll(4);
    } else if (sim_roll(4) == 3) {
        attr.flags = SMOLSCALE_QUEUE_ELASTIC;
    }
    int err = smolscale_queue_new(&play->queue[q], &attr);
    sim_answered(err);
    SIM_CHECK(err == 0, "no queue: %d", err);
}

// By the play's thread, or by a job, which may find its queue closed.
static void push_one(struct play *play, smolscale_queue *queue)
{
    unsigned i = fetch_add_relaxed(&play->pushed, 1);
    if (i >= JOBS)
        return;
    struct job *job = &play->job[i];
    job->kind = (enum kind)sim_roll(may_fork ? KINDS : FORKS);
    job->play = play;
    job->queue = queue;
    int err = smolscale_queue_push(queue, job, &job->ticket);
    sim_answered(err);
    job->refused = err == -ESHUTDOWN;
    SIM_CHECK(err == 0 || err == -ESHUTDOWN, "push: %d", err);
}

static void take_back(struct play *play, bool searches)
{
    struct job *job = &play->job[sim_roll(JOBS)];
    if (job->queue && smolscale_queue_cancel(job->queue, job, searches ? 0 : job->ticket))
        end_job(job);
}

static void act(struct play *play)
{
    smolscale_queue *queue = play->queue[sim_roll(play->queues)];
    switch (sim_roll(11)) {
    case 0:
        take_back(play, false);
        break;
    case 1:
        take_back(play, true);
        break;
    case 2:
        smolscale_queue_move_to_front(queue, &play->job[sim_roll(JOBS)]);
        break;
    case 3:
    case 4:
        smolscale_queue_set_max_active(queue, sim_roll(4));
        break;
    case 5:
        smolscale_queue_clear(queue, drop_job, NULL);
        break;
    case 6:
        smolscale_queue_set_compare(queue, sim_roll(2) ? compare_kinds : NULL, NULL);
        break;
    case 7:
        smolscale_group_retire_idle(play->group);
        break;
    case 8:
        smolscale_group_set_max_idle(play->group, sim_roll(3));
        break;
    case 9:
        smolscale_trim();
        break;
    default:
        ss_os.rest();
        break;
    }
}

static void note_close(void *user_data)
{
    sim_flag_set(user_data);
}

static void end_queue(struct play *play, unsigned q)
{
    smolscale_queue *queue = play->queue[q];
    switch (sim_roll(4)) {
    case 0:
        smolscale_queue_close(queue, note_close, &play->closed[q]);
        sim_flag_wait(&play->closed[q]);
        break;
    case 1:
        smolscale_queue_wait(queue);
        smolscale_queue_free(queue);
        break;
    case 2:
        smolscale_queue_clear(queue, drop_job, NULL);
        smolscale_queue_free(queue);
        break;
    default:
        smolscale_queue_free(queue);
        break;
    }
}

static void begin_play(struct play *play)
{
    bool family = sim_roll(3) == 2;
    if (sim_roll(2))
        begin_group(play);
    begin_queue(play, family);
    if (family || sim_roll(2))
        begin_queue(play, family);
}

static void use_queues(struct play *play, unsigned acts)
{
    while (acts-- > 0) {
        push_one(play, play->queue[sim_roll(play->queues)]);
        while (sim_roll(2))
            act(play);
    }
}

static void end_play(struct play *play)
{
    for (unsigned q = 0; q < play->queues; q++) // none waits behind another that is paused
        smolscale_queue_set_max_active(play->queue[q], 1 + sim_roll(3));
    while (play->queues > 0) // a child before its parent
        end_queue(play, --play->queues);
    smolscale_group_free(play->group);
}

static void *play_one(void *arg)
{
    struct play *play = arg;
    begin_play(play);
    use_queues(play, ACTS);
    end_play(play);
    return NULL;
}

static void check_ledger(const struct play *play)
{
    unsigned pushed = play->pushed < JOBS ? play->pushed : JOBS;
    for (unsigned i = 0; i < pushed; i++) {
        const struct job *job = &play->job[i];
        SIM_CHECK(job->ends == !job->refused, "job %u ended %u times", i, job->ends);
        SIM_CHECK(job->notices == job->gives_notice, "job %u gave %u notices", i, job->notices);
    }
}

static void mix(void)
{
    sim_explore_begin();
    struct sim_thread *other = sim_spawn(play_one, &plays[1]);
    play_one(&plays[0]);
    sim_join(other);
    end_workers();
    for (unsigned p = 0; p < PLAYS; p++)
        check_ledger(&plays[p]);
}

const struct sim_program program_mix = {.name = "mix",
                                        .what = "all that queues and groups can do, at random",
                                        .run = mix,
                                        .limit_ns = 300 * SS_NS_PER_MS,
                                        .needs_threads = true};

// ---- fork() in the middle of it. What is looked at is the child.

static int end_with_7(smolscale_cx *cx, void *frame)
{
    (void)cx, (void)frame;
    return 7;
}

static void use_tasks(void)
{
    smolscale_task *task;
    int err = smolscale_spawn(&task, end_with_7, NULL, 0);
    sim_answered(err);
    SIM_CHECK(err == 0, "spawn: %d", err);
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, task));
    sim_answered(result);
    SIM_CHECK(result == 7, "join gave %d", result);
    smolscale_release(task);
    result = SMOLSCALE_BLOCK(smolscale_sleep(cx, 20 * SS_NS_PER_US));
    sim_answered(result);
    SIM_CHECK(result == 0, "sleep: %d", result);
}

// In a child.
static void live_on(void)
{
    struct play *play = &plays[PLAYS];
    may_fork = false;
    if (sim_roll(2))
        use_tasks();
    if (play->queues > 0) {
        use_queues(play, ACTS);
        end_play(play);
    } else {
        play_one(play);
    }
    use_tasks();
    end_workers();
    check_ledger(play);
}

static void fork_in_job(void)
{
    if (sim.forked)
        return;
    sim_fork();
    live_on();
    sim_end_run(SIM_GOOD);
}

// The child goes on with the parent's queues, which are empty there, or with its own.
static void fork_and_live_on(const struct play *parents)
{
    struct play *play = &plays[PLAYS];
    unsigned ended[JOBS];
    sim_fork();
    for (unsigned i = 0; i < JOBS; i++)
        ended[i] = parents->job[i].ends;
    if (sim_roll(2)) {
        play->group = parents->group;
        play->queues = parents->queues;
        for (unsigned q = 0; q < parents->queues; q++)
            play->queue[q] = parents->queue[q];
    }
    live_on();
    for (unsigned i = 0; i < JOBS; i++)
        SIM_CHECK(parents->job[i].ends == ended[i], "a job of the parent's ran in the child");
}

static void mix_fork(void)
{
    sim_explore_begin();
    may_fork = sim_roll(2);
    sim_spawn(play_one, &plays[1]);
    begin_play(&plays[0]);
    use_queues(&plays[0], sim_roll(ACTS));
    if (!may_fork)
        fork_and_live_on(&plays[0]);
    else
        end_play(&plays[0]);
}

const struct sim_program program_mix_fork = {
    .name = "mix-fork",
    .what = "fork() in the middle of all that queues and groups can do",
    .run = mix_fork,
    .limit_ns = 300 * SS_NS_PER_MS,
    .needs_threads = true};
