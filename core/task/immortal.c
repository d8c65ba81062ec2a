// SPDX-License-Identifier: ISC
//
// Immortals: tasks that begin anew when they end. An immortal is one task, whose poll function runs
// the user's life after life. All it needs lies in that task's frame, so it lasts as long as the
// task or the handle does.

#include "os/memory.h"
#include "task/interrupt.h"
#include "task/waitlist.h"

#include <string.h>

#define FRAME_ALIGN 32 // as of every task's frame

struct smolscale_immortal {
    _Alignas(FRAME_ALIGN) smolscale_poll_fn *poll;
    size_t size;
    enum smolscale_respawn respawn;
    uint64_t delay;
    uint64_t random;
    _Atomic uint64_t lives; // begun
    unsigned hasty;         // in a row: lives that have neither waited nor got anything
    bool alive;             // else it rests
    _Atomic bool freed;
    // the frame of this life, and as it was first, each aligned like any task's
};

static char *frame_of_life(smolscale_immortal *immortal)
{
    return (char *)(immortal + 1);
}

static size_t aligned(size_t size)
{
    return (size + FRAME_ALIGN - 1) / FRAME_ALIGN * FRAME_ALIGN;
}

static char *first_frame(smolscale_immortal *immortal)
{
    return frame_of_life(immortal) + aligned(immortal->size);
}

// splitmix64
static uint64_t random_below(uint64_t *state, uint64_t limit)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % limit;
}

static uint64_t time_between_lives(smolscale_immortal *immortal)
{
    if (immortal->delay < SS_LIFE_SHORT_DELAY_NS && immortal->hasty > 0 &&
        immortal->hasty % SS_LIVES_WITHOUT_REST == 0)
        return SS_LIFE_REST_NS;
    return immortal->respawn == SMOLSCALE_RESPAWN_JITTERED
               ? random_below(&immortal->random, 2 * immortal->delay + 1)
               : immortal->delay;
}

// Suspends the task between two lives. It yields where it need not sleep, or cannot.
static int suspend_between_lives(smolscale_cx *cx, smolscale_immortal *immortal)
{
    uint64_t ns = time_between_lives(immortal);
    if (ns > 0 && smolscale_sleep(cx, ns) == SMOLSCALE_PENDING)
        return SMOLSCALE_PENDING;
    return smolscale_yield(cx);
}

// A life may have taken a cancellation for itself: `freed` counts.
static bool is_over(smolscale_cx *cx, smolscale_immortal *immortal)
{
    return load_acquire(&immortal->freed) || ss_interrupted(cx) == -ECANCELED;
}

static void begin_life(smolscale_immortal *immortal)
{
    if (load_relaxed(&immortal->lives) > 0)
        memcpy(frame_of_life(immortal), first_frame(immortal), immortal->size);
    count_owned(&immortal->lives);
    immortal->alive = true;
}

static int live(smolscale_cx *cx, void *frame)
{
    smolscale_immortal *immortal = frame;
    if (!immortal->alive) {
        if (is_over(cx, immortal))
            return -ECANCELED;
        begin_life(immortal);
    }
    unsigned budget = cx->budget; // falls with each await that gives something without waiting
    int result = immortal->poll(cx, frame_of_life(immortal));
    if (result == SMOLSCALE_PENDING) {
        if (cx->suspend != SS_SUSPEND_YIELD && cx->suspend != SS_SUSPEND_YIELD_AWAITED)
            immortal->hasty = 0;
        return SMOLSCALE_PENDING;
    }
    bool served = result >= 0 && cx->budget != budget;
    immortal->hasty = served ? 0 : immortal->hasty + 1;
    immortal->alive = false;
    smolscale_deadline(cx, 0);
    return is_over(cx, immortal) ? -ECANCELED : suspend_between_lives(cx, immortal);
}

static struct smolscale_task *task_of(smolscale_immortal *immortal)
{
    return (struct smolscale_task *)((char *)immortal - SS_TASK_SIZE);
}

int smolscale_immortal_new(smolscale_immortal **out, smolscale_poll_fn *poll, const void *frame,
                           size_t size, enum smolscale_respawn respawn, uint64_t delay)
{
    *out = NULL;
    if (!poll || respawn > SMOLSCALE_RESPAWN_JITTERED)
        return -EINVAL;
    if (size > SIZE_MAX / 4)
        return -ENOMEM;
    ss_first_use();
    struct smolscale_task *task =
        ss_task_new(live, NULL, sizeof(smolscale_immortal) + 2 * aligned(size), NULL);
    if (!task)
        return -ENOMEM;
    smolscale_immortal *immortal = ss_frame(task);
    immortal->poll = poll;
    immortal->size = size;
    immortal->respawn = respawn;
    immortal->delay = respawn == SMOLSCALE_RESPAWN_AT_ONCE ? 0
                      : delay < UINT64_MAX / 4             ? delay
                                                           : UINT64_MAX / 4;
    immortal->random = ss_os.now() ^ (uintptr_t)immortal;
    if (frame && size) {
        memcpy(frame_of_life(immortal), frame, size);
        memcpy(first_frame(immortal), frame, size);
    }
    *out = immortal;
    return ss_task_start(task);
}

uint64_t smolscale_immortal_restarts(const smolscale_immortal *immortal)
{
    uint64_t lives = load_relaxed(&immortal->lives);
    return lives > 0 ? lives - 1 : 0;
}

void smolscale_immortal_free(smolscale_immortal *immortal)
{
    if (!immortal)
        return;
    struct smolscale_task *task = task_of(immortal);
    store_release(&immortal->freed, true);
    smolscale_cancel(task);
    smolscale_release(task);
}
