// SPDX-License-Identifier: ISC
//
// Benchmarks of tasks and channels: those of the Rust crate smolscale, in its sizes, and what else
// an executor should be good at. ../peers has the same ones for other executors.
//
//     bench-tasks BENCHMARK [--driver inside|outside] [--rate TOKENS_PER_SECOND]
//
// Each is an async function, the *driver*, which does an iteration again and again (series.h). It
// runs as a task, or on the main thread.

#include "bench.h"
#include "series.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define STEPS      300
#define PINGS      1000
#define RECEIVERS  1000
#define SENDS      1000
#define CONTENDERS 1000

int light_task(smolscale_cx *cx, void *frame)
{
    (void)cx;
    (void)frame;
    return 1;
}

// ---- spawning ----

struct spawn_one {
    SMOLSCALE_FRAME;
    uint64_t left;
    smolscale_task *task;
    int result;
};

SMOLSCALE_ASYNC(spawn_one, f)
{
    SMOLSCALE_BEGIN(f);
    EACH_ITERATION(f->left)
    {
        MUST(smolscale_spawn(&f->task, light_task, NULL, 0) == 0);
        SMOLSCALE_AWAIT(f->result, smolscale_join(cx, f->task));
        MUST(f->result == 1);
        smolscale_release(f->task);
    }
    series_print();
    SMOLSCALE_END;
}

// Awaits the end of `count` tasks and gives the sum of their results.
struct join_all {
    SMOLSCALE_FRAME;
    smolscale_task **tasks;
    int count, i;
    int result, sum;
};

SMOLSCALE_ASYNC(join_all, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->i < f->count; f->i++) {
        SMOLSCALE_AWAIT(f->result, smolscale_join(cx, f->tasks[f->i]));
        smolscale_release(f->tasks[f->i]);
        f->sum += f->result;
    }
    SMOLSCALE_RETURN(f->sum);
    SMOLSCALE_END;
}

struct spawn_many {
    SMOLSCALE_FRAME;
    uint64_t left;
    int sum;
    struct join_all join;
    smolscale_task *tasks[LIGHT_TASKS];
};

SMOLSCALE_ASYNC(spawn_many, f)
{
    SMOLSCALE_BEGIN(f);
    EACH_ITERATION(f->left)
    {
        for (int i = 0; i < LIGHT_TASKS; i++)
            MUST(smolscale_spawn(&f->tasks[i], light_task, NULL, 0) == 0);
        SMOLSCALE_CALL(f->sum, join_all, f->join, .tasks = f->tasks, .count = LIGHT_TASKS);
        MUST(f->sum == LIGHT_TASKS);
    }
    series_print();
    SMOLSCALE_END;
}

// ---- yielding ----

struct yielder {
    SMOLSCALE_FRAME;
    int steps;
};

SMOLSCALE_ASYNC(yielder, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->steps < STEPS; f->steps++)
        SMOLSCALE_YIELD();
    SMOLSCALE_RETURN(f->steps);
    SMOLSCALE_END;
}

struct yield_now {
    SMOLSCALE_FRAME;
    uint64_t left;
    int sum;
    struct join_all join;
    smolscale_task *tasks[TASKS];
};

SMOLSCALE_ASYNC(yield_now, f)
{
    SMOLSCALE_BEGIN(f);
    EACH_ITERATION(f->left)
    {
        for (int i = 0; i < TASKS; i++)
            MUST(SMOLSCALE_SPAWN(&f->tasks[i], yielder, .steps = 0) == 0);
        SMOLSCALE_CALL(f->sum, join_all, f->join, .tasks = f->tasks, .count = TASKS);
        MUST(f->sum == TASKS * STEPS);
    }
    series_print();
    SMOLSCALE_END;
}

// ---- question and answer ----

struct ponger {
    SMOLSCALE_FRAME;
    smolscale_channel *questions;
    smolscale_oneshot *answer;
    uintptr_t pongs;
};

SMOLSCALE_ASYNC(ponger, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_TRY(smolscale_recv(cx, f->questions, &f->answer));
        MUST(smolscale_oneshot_send(f->answer, (void *)++f->pongs) == 0);
    }
    SMOLSCALE_END;
}

struct ping_pong {
    SMOLSCALE_FRAME;
    uint64_t left;
    smolscale_channel *questions;
    smolscale_task *ponger;
    smolscale_oneshot answer, *question;
    uintptr_t pings;
    void *pong;
    int i, result;
};

SMOLSCALE_ASYNC(ping_pong, f)
{
    SMOLSCALE_BEGIN(f);
    MUST(smolscale_channel_new(&f->questions, sizeof f->question, 10) == 0);
    MUST(SMOLSCALE_SPAWN(&f->ponger, ponger, .questions = f->questions) == 0);
    f->question = &f->answer;
    EACH_ITERATION(f->left)
    {
        for (f->i = 0; f->i < PINGS; f->i++) {
            f->answer = (smolscale_oneshot)SMOLSCALE_ONESHOT_INIT;
            SMOLSCALE_TRY(smolscale_send(cx, f->questions, &f->question));
            SMOLSCALE_TRY(smolscale_oneshot_recv(cx, &f->answer, &f->pong));
            MUST((uintptr_t)f->pong == ++f->pings);
        }
    }
    series_print();
    smolscale_close(f->questions);
    SMOLSCALE_AWAIT(f->result, smolscale_join(cx, f->ponger));
    MUST(f->result == -EPIPE);
    smolscale_release(f->ponger);
    smolscale_channel_unref(f->questions);
    SMOLSCALE_END;
}

// ---- one sender, many receivers ----

struct receiver {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    int result, received;
};

SMOLSCALE_ASYNC(receiver, f)
{
    SMOLSCALE_BEGIN(f);
    for (;; f->received++) {
        SMOLSCALE_AWAIT(f->result, smolscale_recv(cx, f->channel, NULL));
        if (f->result == -EPIPE)
            SMOLSCALE_RETURN(f->received);
        MUST(f->result == 0);
    }
    SMOLSCALE_END;
}

struct fanout {
    SMOLSCALE_FRAME;
    uint64_t left;
    smolscale_channel *channel;
    int i, received;
    struct join_all join;
    smolscale_task *receivers[RECEIVERS];
};

SMOLSCALE_ASYNC(fanout, f)
{
    SMOLSCALE_BEGIN(f);
    MUST(smolscale_channel_new(&f->channel, 0, 1) == 0);
    for (int i = 0; i < RECEIVERS; i++)
        MUST(SMOLSCALE_SPAWN(&f->receivers[i], receiver, .channel = f->channel) == 0);
    EACH_ITERATION(f->left)
    {
        for (f->i = 0; f->i < SENDS; f->i++)
            SMOLSCALE_TRY(smolscale_send(cx, f->channel, NULL));
    }
    series_print();
    smolscale_close(f->channel);
    SMOLSCALE_CALL(f->received, join_all, f->join, .tasks = f->receivers, .count = RECEIVERS);
    MUST((uint64_t)f->received == series_iterations() * SENDS);
    smolscale_channel_unref(f->channel);
    SMOLSCALE_END;
}

// ---- a token in a ring ----

// Passes on what it receives, one more each time.
struct passer {
    SMOLSCALE_FRAME;
    smolscale_channel *from, *to;
    int token;
};

SMOLSCALE_ASYNC(passer, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_TRY(smolscale_recv(cx, f->from, &f->token));
        f->token++;
        SMOLSCALE_TRY(smolscale_send(cx, f->to, &f->token));
    }
    SMOLSCALE_END;
}

struct ring {
    SMOLSCALE_FRAME;
    int size, revolutions; // of an iteration
    uint64_t left;
    int i, token, result;
    smolscale_channel *channels[TASKS + 1]; // [i] leads to passer i, the last one back to here
    smolscale_task *passers[TASKS];
};

SMOLSCALE_ASYNC(ring, f)
{
    SMOLSCALE_BEGIN(f);
    for (int i = 0; i <= f->size; i++)
        MUST(smolscale_channel_new(&f->channels[i], sizeof f->token, 1) == 0);
    for (int i = 0; i < f->size; i++)
        MUST(SMOLSCALE_SPAWN(&f->passers[i], passer, .from = f->channels[i],
                             .to = f->channels[i + 1]) == 0);
    EACH_ITERATION(f->left)
    {
        for (f->i = 0; f->i < f->revolutions; f->i++) {
            f->token = 0;
            SMOLSCALE_TRY(smolscale_send(cx, f->channels[0], &f->token));
            SMOLSCALE_TRY(smolscale_recv(cx, f->channels[f->size], &f->token));
            MUST(f->token == f->size);
        }
    }
    series_print();
    for (f->i = 0; f->i < f->size; f->i++) {
        smolscale_close(f->channels[f->i]);
        SMOLSCALE_AWAIT(f->result, smolscale_join(cx, f->passers[f->i]));
        MUST(f->result == -EPIPE);
        smolscale_release(f->passers[f->i]);
    }
    for (int i = 0; i <= f->size; i++)
        smolscale_channel_unref(f->channels[i]);
    SMOLSCALE_END;
}

struct context_switch_quiet {
    SMOLSCALE_FRAME;
    int result;
    struct ring ring;
};

SMOLSCALE_ASYNC(context_switch_quiet, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_CALL(f->result, ring, f->ring, .size = TASKS, .revolutions = 1);
    MUST(f->result == 0);
    SMOLSCALE_END;
}

// ---- beside tasks that always have work ----

static atomic_bool stop_contending;

// Works and yields until told to stop; gives how often it did.
struct contender {
    SMOLSCALE_FRAME;
    uint64_t work;
    int turns;
};

SMOLSCALE_ASYNC(contender, f)
{
    SMOLSCALE_BEGIN(f);
    for (; !atomic_load_explicit(&stop_contending, memory_order_relaxed); f->turns++) {
        spin_work(f->work);
        SMOLSCALE_YIELD();
    }
    MUST(f->turns > 0); // else it was starved, and the figures are worth nothing
    SMOLSCALE_RETURN(f->turns);
    SMOLSCALE_END;
}

static void contend(smolscale_task **tasks, int count, uint64_t work)
{
    for (int i = 0; i < count; i++)
        MUST(SMOLSCALE_SPAWN(&tasks[i], contender, .work = work) == 0);
}

struct context_switch_busy {
    SMOLSCALE_FRAME;
    int result;
    struct ring ring;
    struct join_all join;
    smolscale_task *contenders[TASKS];
};

SMOLSCALE_ASYNC(context_switch_busy, f)
{
    SMOLSCALE_BEGIN(f);
    contend(f->contenders, TASKS, 0);
    SMOLSCALE_CALL(f->result, ring, f->ring, .size = TASKS / 10, .revolutions = 10);
    MUST(f->result == 0);
    atomic_store(&stop_contending, true);
    SMOLSCALE_CALL(f->result, join_all, f->join, .tasks = f->contenders, .count = TASKS);
    figure("turns", f->result / (double)series_iterations(), "count");
    SMOLSCALE_END;
}

struct jitter {
    SMOLSCALE_FRAME;
    uint64_t end, due;
    uint64_t sum;
    size_t count;
    int result;
    struct join_all join;
    smolscale_task *contenders[CONTENDERS];
    uint64_t late[3000]; // ns
};

SMOLSCALE_ASYNC(jitter, f)
{
    SMOLSCALE_BEGIN(f);
    contend(f->contenders, CONTENDERS, calibrate_work(NS_PER_US));
    f->end = now_ns() + 3 * NS_PER_S;
    while (now_ns() < f->end) {
        f->due = now_ns() + NS_PER_MS;
        SMOLSCALE_TRY(smolscale_sleep(cx, NS_PER_MS));
        uint64_t now = now_ns();
        MUST(now >= f->due && f->count < sizeof f->late / sizeof f->late[0]);
        f->late[f->count++] = now - f->due;
        f->sum += now - f->due;
    }
    atomic_store(&stop_contending, true);
    SMOLSCALE_CALL(f->result, join_all, f->join, .tasks = f->contenders, .count = CONTENDERS);
    figure("mean", (double)f->sum / (double)f->count / NS_PER_US, "us");
    figure("p99", (double)percentile(f->late, f->count, 99) / NS_PER_US, "us");
    figure("sleeps", (double)f->count, "count");
    SMOLSCALE_END;
}

// ---- choosing one ----

static const char *word(int argc, char **argv, const char *name, const char *otherwise)
{
    for (int i = 2; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return otherwise;
}

void drive(smolscale_poll_fn *driver, size_t frame_size, bool outside)
{
    if (outside) {
        void *frame = aligned_alloc(64, (frame_size + 63) / 64 * 64);
        MUST(frame != NULL);
        memset(frame, 0, frame_size);
        MUST(smolscale_block_on(driver, frame) == 0);
        free(frame);
        return;
    }
    smolscale_task *task;
    MUST(smolscale_spawn(&task, driver, NULL, frame_size) == 0);
    MUST(SMOLSCALE_BLOCK(smolscale_join(cx, task)) == 0);
    smolscale_release(task);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        smolscale_poll_fn *driver;
        size_t frame_size;
    } drivers[] = {
        {"spawn_one", spawn_one, sizeof(struct spawn_one)},
        {"spawn_many", spawn_many, sizeof(struct spawn_many)},
        {"yield_now", yield_now, sizeof(struct yield_now)},
        {"ping_pong", ping_pong, sizeof(struct ping_pong)},
        {"fanout", fanout, sizeof(struct fanout)},
        {"context_switch_quiet", context_switch_quiet, sizeof(struct context_switch_quiet)},
        {"context_switch_busy", context_switch_busy, sizeof(struct context_switch_busy)},
        {"jitter", jitter, sizeof(struct jitter)},
    };
    const char *name = argc > 1 ? argv[1] : "";
    bool outside = strcmp(word(argc, argv, "--driver", "inside"), "outside") == 0;
    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
        if (strcmp(name, drivers[i].name) == 0) {
            drive(drivers[i].driver, drivers[i].frame_size, outside);
            return 0;
        }
    }
    if (strcmp(name, "part_load") == 0)
        part_load((uint64_t)option(argc, argv, "rate", 2000));
    else if (strcmp(name, "idle") == 0)
        idle();
    else
        fail("no such benchmark: %s", name);
    return 0;
}
