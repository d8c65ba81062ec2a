// SPDX-License-Identifier: ISC
//
// Scenes of work queues and worker groups, and of the process: children, settings, affinity.

#include "soak.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/wait.h>

enum { JOBS_MAX = 3000 };

struct play;

struct job {
    struct play *play;
    atomic_uint ends; // must become 1, or stay 0 if it was refused
    uint64_t ticket;
    smolscale_queue *queue;
    bool accepted;
    unsigned kind;
};

// A scene with queues.
struct play {
    struct actor *actor;
    atomic_ulong run, taken_back, cleared;
    sem_t closed;
    unsigned jobs;
    struct job job[JOBS_MAX];
};

static void end_job(struct job *job)
{
    unsigned before = atomic_fetch_add(&job->ends, 1);
    EXPECT(job->play->actor, before == 0, "a job has ended %u times", before + 1);
}

static void run_job(void *item, void *user_data)
{
    struct job *job = item;
    (void)user_data;
    atomic_fetch_add(&job->play->run, 1);
    switch (job->kind % 256) {
    case 0:
        usleep(job->kind % 700);
        break;
    case 1:
        smolscale_blocking_begin();
        usleep(job->kind % 300);
        smolscale_blocking_end();
        break;
    case 2:
    case 3:
        soak_compute(job->kind % 2000);
        break;
    case 4:
        sched_yield();
        break;
    default:
        break;
    }
    bool last = job->kind % 4099 == 5;
    end_job(job);
    if (last)
        pthread_exit(NULL); // ends its thread
}

static void drop_job(void *item, void *user_data)
{
    struct job *job = item;
    (void)user_data;
    atomic_fetch_add(&job->play->cleared, 1);
    end_job(job);
}

static int compare_jobs(const void *a, const void *b, void *compare_data)
{
    unsigned of_a = ((const struct job *)a)->kind % 17, of_b = ((const struct job *)b)->kind % 17;
    (void)compare_data;
    return (int)of_a - (int)of_b;
}

static void note_close(void *user_data)
{
    struct play *play = user_data;
    sem_post(&play->closed);
}

static void act_on(struct play *play, smolscale_queue *queue)
{
    struct actor *actor = play->actor;
    struct job *job = &play->job[roll(actor, play->jobs)];
    switch (roll(actor, 12)) {
    case 0:
    case 1:
    case 2:
        if (job->accepted && smolscale_queue_cancel(job->queue, job, job->ticket)) {
            atomic_fetch_add(&play->taken_back, 1);
            end_job(job);
        }
        break;
    case 3:
        if (job->accepted && smolscale_queue_pending(job->queue) < 200 &&
            smolscale_queue_cancel(job->queue, job, 0)) {
            atomic_fetch_add(&play->taken_back, 1);
            end_job(job);
        }
        break;
    case 4:
        if (smolscale_queue_pending(queue) < 200)
            smolscale_queue_move_to_front(queue, job);
        break;
    case 5:
    case 6:
        smolscale_queue_set_max_active(queue, roll(actor, 6));
        break;
    case 7:
        if (roll(actor, 32) == 0)
            smolscale_queue_clear(queue, drop_job, NULL);
        break;
    case 8:
        if (roll(actor, 16) == 0)
            smolscale_queue_set_compare(queue, roll(actor, 2) ? compare_jobs : NULL, NULL);
        break;
    case 9:
        smolscale_queue_active(queue);
        smolscale_busy_workers();
        break;
    case 10:
        if (roll(actor, 16) == 0)
            smolscale_retire_idle();
        break;
    default:
        if (roll(actor, 64) == 0)
            usleep(roll(actor, 200));
        break;
    }
}

static void end_queue(struct play *play, smolscale_queue *queue)
{
    switch (roll(play->actor, 4)) {
    case 0:
        smolscale_queue_close(queue, note_close, play);
        while (sem_wait(&play->closed) != 0)
            ;
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

static void settle_play(struct play *play)
{
    unsigned long accepted = 0;
    // The job that closed a queue may not have counted its end yet... but it has run.
    for (unsigned i = 0; i < play->jobs; i++) {
        struct job *job = &play->job[i];
        accepted += job->accepted;
        EXPECT(play->actor, job->ends == job->accepted, "job %u of %u has ended %u times", i,
               play->jobs, job->ends);
    }
    unsigned long ended = play->run + play->taken_back + play->cleared;
    EXPECT_EQUAL(play->actor, accepted, ended);
    book(JOBS_ACCEPTED, accepted);
    book(JOBS_RUN, play->run);
    book(JOBS_TAKEN_BACK, play->taken_back);
    book(JOBS_CLEARED, play->cleared);
}

static void queues(struct actor *actor)
{
    struct play *play = calloc(1, sizeof *play);
    smolscale_queue *queue[3];
    smolscale_group *group = NULL;
    unsigned count = 1 + roll(actor, 3), jobs = 1 + roll(actor, roll(actor, 4) ? 200 : JOBS_MAX);
    bool family = count > 1 && roll(actor, 3) == 0;
    play->actor = actor;
    sem_init(&play->closed, 0, 0);
    if (roll(actor, 3) == 0) {
        struct smolscale_group_attr attr = SMOLSCALE_GROUP_ATTR_INIT;
        attr.max_workers = 1 + roll(actor, 4);
        attr.flags = roll(actor, 4) ? 0 : SMOLSCALE_GROUP_EAGER;
        attr.idle_timeout = roll(actor, 2) ? 0 : roll(actor, 2000000);
        attr.stack_size = roll(actor, 2) ? 0 : 256 * 1024;
        EXPECT_EQUAL(actor, smolscale_group_new(&group, &attr), 0);
    }
    for (unsigned q = 0; q < count; q++) {
        struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
        attr.run = run_job;
        attr.max_active = roll(actor, 4) ? 1 + roll(actor, 4) : SMOLSCALE_UNLIMITED;
        attr.compare = roll(actor, 3) ? NULL : compare_jobs;
        attr.thread_name = roll(actor, 2) ? "soak" : NULL;
        attr.group = group;
        if (family && q > 0)
            attr.parent = queue[0];
        else if (!family && !group && roll(actor, 6) == 0) {
            attr.flags = SMOLSCALE_QUEUE_DEDICATED;
            attr.max_active = 1 + roll(actor, 3);
        } else if (roll(actor, 6) == 0) {
            attr.flags = SMOLSCALE_QUEUE_ELASTIC;
        }
        EXPECT_EQUAL(actor, smolscale_queue_new(&queue[q], &attr), 0);
    }
    for (play->jobs = 1; play->jobs <= jobs; play->jobs++) {
        struct job *job = &play->job[play->jobs - 1];
        job->play = play;
        job->kind = roll(actor, 1 << 20);
        job->queue = queue[roll(actor, count)];
        int err = smolscale_queue_push(job->queue, job, &job->ticket);
        EXPECT(actor, err == 0 || err == -EAGAIN, "push: %s", strerror(-err));
        job->accepted = true;
        while (roll(actor, 3) == 0)
            act_on(play, queue[roll(actor, count)]);
    }
    play->jobs = jobs;
    for (unsigned q = 0; q < count; q++) // none waits behind another that is paused
        smolscale_queue_set_max_active(queue[q], 1 + roll(actor, 4));
    while (count-- > 0) // children before their parent
        end_queue(play, queue[count]);
    settle_play(play);
    smolscale_group_free(group);
    sem_destroy(&play->closed);
    free(play);
}

// ---- the same item many times

static void count_run(void *item, void *user_data)
{
    (void)user_data;
    atomic_fetch_add((atomic_ulong *)item, 1);
}

static void many_of_one(struct actor *actor)
{
    atomic_ulong run = 0;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = count_run;
    attr.max_active = roll(actor, 2) ? SMOLSCALE_UNLIMITED : 1 + roll(actor, 3);
    smolscale_queue *queue;
    EXPECT_EQUAL(actor, smolscale_queue_new(&queue, &attr), 0);
    unsigned long given = 0;
    for (unsigned round = roll(actor, 20); round > 0; round--) {
        unsigned count = roll(actor, 50);
        int err = smolscale_queue_push_many(queue, &run, count, NULL);
        EXPECT(actor, err == 0 || err == -EAGAIN, "push_many: %s", strerror(-err));
        given += count;
    }
    unsigned long cleared = roll(actor, 4) ? 0 : smolscale_queue_clear(queue, NULL, NULL);
    smolscale_queue_free(queue);
    EXPECT_EQUAL(actor, run + cleared, given);
    book(JOBS_ACCEPTED, given);
    book(JOBS_RUN, run);
    book(JOBS_CLEARED, cleared);
}

// ---- a child uses the executor anew

static int end_with_7(smolscale_cx *cx, void *frame)
{
    (void)frame;
    return smolscale_interrupted(cx) ? 1 : 7;
}

static void live_as_child(void)
{
    atomic_ulong run = 0;
    smolscale_queue *queue;
    smolscale_task *task;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = count_run;
    if (smolscale_queue_new(&queue, &attr) != 0)
        _exit(1);
    for (unsigned i = 0; i < 20; i++)
        if (smolscale_queue_push(queue, &run, NULL) != 0)
            _exit(2);
    smolscale_queue_free(queue);
    if (run != 20)
        _exit(3);
    if (smolscale_spawn(&task, end_with_7, NULL, 0) != 0)
        _exit(4);
    if (SMOLSCALE_BLOCK(smolscale_join(cx, task)) != 7)
        _exit(5);
    smolscale_release(task);
    _exit(42);
}

static void child(struct actor *actor)
{
    int status = 0;
    pid_t pid = fork();
    EXPECT(actor, pid >= 0, "fork: %s", strerror(errno));
    if (pid == 0) {
        alarm(500); // a hang is a status
        live_as_child();
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    EXPECT(actor, WIFEXITED(status) && WEXITSTATUS(status) == 42, "the child's status is %#x",
           (unsigned)status);
    book(CHILDREN, 1);
}

// ---- settings

static void settings(struct actor *actor)
{
    cpu_set_t all, one;
    smolscale_set_max_idle(roll(actor, 4));
    smolscale_set_idle_timeout(roll(actor, 3) ? 0 : roll(actor, 3000000));
    smolscale_retire_idle();
    EXPECT(actor, smolscale_cpus() >= 1, "no CPU");
    if (sched_getaffinity(0, sizeof all, &all) == 0) {
        int cpu = sched_getcpu();
        CPU_ZERO(&one);
        CPU_SET(cpu >= 0 ? (unsigned)cpu : 0, &one);
        if (sched_setaffinity(0, sizeof one, &one) == 0) {
            many_of_one(actor);
            sched_setaffinity(0, sizeof all, &all);
        }
    }
}

// ---- memory given back, whatever the others are at

static void trim(struct actor *actor)
{
    (void)actor;
    smolscale_trim();
}

// The thread sanitizer of gcc 12 ends a child in which a new thread has the address of one of the
// parent's.
#ifdef __SANITIZE_THREAD__
#define CHILDREN_WEIGHT 0
#else
#define CHILDREN_WEIGHT 1
#endif

const struct scene queue_scenes[] = {
    {"queues", 20, queues},
    {"many_of_one", 10, many_of_one},
    {"child", CHILDREN_WEIGHT, child},
    {"settings", 1, settings},
    {"trim", 2, trim},
    {NULL, 0, NULL},
};
