// SPDX-License-Identifier: ISC
//
// A service that fails now and then, and those who look after it:
//
//     immortal   the service: when it fails, it begins anew a moment later
//     nursery    its clients: they belong together, and are awaited together
//     reaper     watchers, which have no end of their own: they are cancelled when it goes
//
// Build: cc supervisor.c $(pkg-config --cflags --libs smolscale)
//
// It prints:
//
//     20 clients were answered, their squares add up to 2870
//     the service failed 2 times, and began anew 2 times
//     3 watchers were sent home

#include <errno.h>
#include <smolscale.h>
#include <smolscale_async.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS  20
#define WATCHERS 3
#define MS       (1000 * 1000ull)

// A question, and where the answer is to go.
struct question {
    long number;
    bool again; // it was asked before
    smolscale_oneshot *answer;
};

// ---- the service: squares numbers, and fails when it meets a seventh for the first time

struct service {
    SMOLSCALE_FRAME;
    smolscale_channel *questions;
    smolscale_waitgroup *at_work;
    unsigned *failures;
    struct question question;
    int result;
};

SMOLSCALE_ASYNC(service, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_AWAIT(f->result, smolscale_recv(cx, f->questions, &f->question));
        if (f->result < 0) { // cancelled: this is the end
            smolscale_waitgroup_done(f->at_work);
            SMOLSCALE_RETURN(f->result);
        }
        if (f->question.number % 7 == 0 && !f->question.again) {
            ++*f->failures;
            smolscale_oneshot_close(f->question.answer); // whoever asked is told
            SMOLSCALE_RETURN(-EIO);
        }
        smolscale_oneshot_send(f->question.answer,
                               (void *)(f->question.number * f->question.number));
    }
    SMOLSCALE_END;
}

// ---- the clients: each asks until it has its answer, which it gives as its result

struct client {
    SMOLSCALE_FRAME;
    smolscale_channel *questions;
    struct question question;
    smolscale_oneshot answer;
    void *square;
    int result;
};

SMOLSCALE_ASYNC(client, f)
{
    SMOLSCALE_BEGIN(f);
    do {
        f->answer = (smolscale_oneshot)SMOLSCALE_ONESHOT_INIT;
        f->question.answer = &f->answer;
        SMOLSCALE_TRY(smolscale_send(cx, f->questions, &f->question));
        SMOLSCALE_AWAIT(f->result, smolscale_oneshot_recv(cx, &f->answer, &f->square));
        f->question.again = true;
    } while (f->result == -EPIPE);
    SMOLSCALE_RETURN(f->result < 0 ? f->result : (int)(long)f->square);
    SMOLSCALE_END;
}

// ---- the watchers: look every now and then, until they are cancelled

struct watcher {
    SMOLSCALE_FRAME;
    smolscale_channel *questions;
    smolscale_waitgroup *at_work;
    smolscale_interval interval;
    int result;
};

SMOLSCALE_ASYNC(watcher, f)
{
    SMOLSCALE_BEGIN(f);
    smolscale_interval_init(&f->interval, MS);
    do {
        SMOLSCALE_AWAIT(f->result, smolscale_interval_wait(cx, &f->interval));
        if (f->result > 0 && smolscale_channel_count(f->questions) > 1000)
            fprintf(stderr, "the service does not keep up\n");
    } while (f->result > 0);
    smolscale_waitgroup_done(f->at_work);
    SMOLSCALE_RETURN(f->result);
    SMOLSCALE_END;
}

// ---- all together

struct supervisor {
    SMOLSCALE_FRAME;
    smolscale_channel *questions;
    smolscale_immortal *service;
    smolscale_nursery *clients;
    smolscale_reaper *watchers;
    smolscale_waitgroup at_work;
    smolscale_task *task;
    unsigned failures, answers;
    long sum;
    int result;
};

static int start(struct supervisor *f)
{
    smolscale_waitgroup_init(&f->at_work, WATCHERS + 1);
    int err = smolscale_channel_new(&f->questions, sizeof(struct question), 4);
    if (!err)
        err = smolscale_nursery_new(&f->clients);
    if (!err)
        err = smolscale_reaper_new(&f->watchers);
    if (!err)
        err = SMOLSCALE_IMMORTAL(&f->service, SMOLSCALE_RESPAWN_DELAYED, MS, service,
                                 .questions = f->questions, .at_work = &f->at_work,
                                 .failures = &f->failures);
    for (int i = 0; !err && i < WATCHERS; i++) {
        smolscale_task *task;
        err = SMOLSCALE_SPAWN(&task, watcher, .questions = f->questions, .at_work = &f->at_work);
        if (!err)
            err = smolscale_reaper_attach(f->watchers, task);
    }
    for (long i = 1; !err && i <= CLIENTS; i++)
        err = SMOLSCALE_NURSERY_SPAWN(f->clients, client, .questions = f->questions,
                                      .question.number = i);
    return err;
}

SMOLSCALE_ASYNC(supervisor, f)
{
    SMOLSCALE_BEGIN(f);
    f->result = start(f);
    if (f->result < 0)
        SMOLSCALE_RETURN(f->result);

    for (;;) { // as they come
        SMOLSCALE_AWAIT(f->result, smolscale_nursery_next(cx, f->clients, &f->task));
        if (f->result < 0)
            break; // -ENOENT: all have been here
        SMOLSCALE_TRY(smolscale_join(cx, f->task));
        f->sum += (long)((struct client *)smolscale_frame(f->task))->square;
        f->answers++;
        smolscale_release(f->task);
    }
    printf("%u clients were answered, their squares add up to %ld\n", f->answers, f->sum);
    printf("the service failed %u times, and began anew %llu times\n", f->failures,
           (unsigned long long)smolscale_immortal_restarts(f->service));

    smolscale_nursery_free(f->clients);
    smolscale_immortal_free(f->service);
    smolscale_reaper_free(f->watchers);
    SMOLSCALE_TRY(smolscale_waitgroup_wait(cx, &f->at_work)); // freeing has waited for nobody
    smolscale_channel_unref(f->questions);
    printf("%d watchers were sent home\n", WATCHERS);
    SMOLSCALE_END;
}

int main(void)
{
    int result = SMOLSCALE_BLOCK_ON(supervisor, .answers = 0);
    if (result < 0)
        fprintf(stderr, "supervisor: %s\n", strerror(-result));
    return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
