// SPDX-License-Identifier: ISC
//
// What the core's own code takes, on one thread: no other thread, no call of the kernel, and all
// lines in this CPU's cache. So what it takes are instructions. The simulated machine runs the same
// source and counts the accesses to memory; ./dev sim measure has what one takes, with the
// instructions around it, from the two.
//
//     core [--times N] [--rounds N]

#include "measure.h"

#include <smolscale_async.h>
#include <stdbool.h>
#include <stddef.h>

#define TASKS 16

static smolscale_channel *channel, *answers;
static smolscale_queue *queue;
static smolscale_local *local;

static void tick_all(void)
{
    while (smolscale_local_try_tick(local))
        ;
}

// ---- each does something `times` times

static void pass_messages(long times)
{
    uint64_t message = 1;
    for (long i = 0; i < times; i++)
        if (smolscale_try_send(channel, &message) != 0 ||
            smolscale_try_recv(channel, &message) != 0)
            fail("no message passed");
}

static void never_run(void *item, void *user_data)
{
    (void)item;
    (void)user_data;
}

static void push_and_clear(long times)
{
    for (long i = 0; i < times; i += TASKS) {
        for (long k = 0; k < TASKS; k++)
            if (smolscale_queue_push(queue, &queue, NULL) != 0)
                fail("not pushed");
        if (smolscale_queue_clear(queue, never_run, NULL) != TASKS)
            fail("items were lost");
    }
}

struct yielder {
    SMOLSCALE_FRAME;
    long left;
};

SMOLSCALE_ASYNC(yielder, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->left > 0; f->left--)
        SMOLSCALE_YIELD();
    SMOLSCALE_RETURN(0);
    SMOLSCALE_END;
}

static void yield(long times)
{
    struct yielder frame = {.left = times / TASKS};
    for (int i = 0; i < TASKS; i++)
        if (smolscale_local_spawn(local, NULL, yielder, &frame, sizeof frame) != 0)
            fail("no task");
    tick_all();
}

struct speaker {
    SMOLSCALE_FRAME;
    smolscale_channel *from, *to;
    long left;
    uint64_t message;
};

SMOLSCALE_ASYNC(speaker, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->left > 0; f->left--) {
        SMOLSCALE_TRY(smolscale_recv(cx, f->from, &f->message));
        SMOLSCALE_TRY(smolscale_send(cx, f->to, &f->message));
    }
    SMOLSCALE_RETURN(0);
    SMOLSCALE_END;
}

// Two tasks, and a message that goes to and fro.
static void converse(long times)
{
    struct speaker first = {.from = channel, .to = answers, .left = times / 2};
    struct speaker second = {.from = answers, .to = channel, .left = times / 2};
    uint64_t message = 1;
    if (smolscale_local_spawn(local, NULL, speaker, &first, sizeof first) != 0 ||
        smolscale_local_spawn(local, NULL, speaker, &second, sizeof second) != 0 ||
        smolscale_try_send(channel, &message) != 0)
        fail("no tasks");
    tick_all();
    if (smolscale_try_recv(channel, &message) != 0)
        fail("the message was lost");
}

static void least_time(const char *name, void (*what)(long), long times, long rounds)
{
    uint64_t least = UINT64_MAX;
    for (long i = 0; i < rounds; i++) {
        uint64_t begin = now_ns();
        what(times);
        uint64_t took = now_ns() - begin;
        least = took < least ? took : least;
    }
    figure(name, (double)least / (double)times, "ns");
}

int main(int argc, char **argv)
{
    long times = option(argc, argv, "times", 3200), rounds = option(argc, argv, "rounds", 400);
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = never_run;
    attr.max_active = 0;
    if (smolscale_channel_new(&channel, sizeof(uint64_t), 4) != 0 ||
        smolscale_channel_new(&answers, sizeof(uint64_t), 4) != 0 ||
        smolscale_queue_new(&queue, &attr) != 0 || smolscale_local_new(&local) != 0)
        fail("no memory");
    least_time("channel", pass_messages, times, rounds);
    least_time("queue", push_and_clear, times, rounds);
    least_time("yield", yield, times, rounds);
    least_time("message", converse, times, rounds);
    return 0;
}
