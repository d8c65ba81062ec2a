// SPDX-License-Identifier: ISC
//
// A task from spawn to release: joining, cancelling, wakers, async functions, and threads that wait
// like tasks. tests/compile has what must not compile; tests/model what races may do.

#include "support.h"

#include <smolscale_async.h>

#include <limits.h>

#define MS SS_NS_PER_MS

static int join(smolscale_task *task)
{
    return SMOLSCALE_BLOCK(smolscale_join(cx, task));
}

static int join_and_release(smolscale_task *task)
{
    int result = join(task);
    smolscale_release(task);
    return result;
}

static smolscale_channel *channel_of(size_t size, unsigned capacity)
{
    smolscale_channel *channel;
    ck_assert_int_eq(smolscale_channel_new(&channel, size, capacity), 0);
    return channel;
}

// Gives `value` to the channel, in a constructor.
static int from_constructor;

struct give {
    SMOLSCALE_FRAME;
    int value, output;
    smolscale_channel *gate; // awaited first, if set
    int got;
};
SMOLSCALE_ASYNC(give, f)
{
    SMOLSCALE_BEGIN(f);
    if (f->gate)
        SMOLSCALE_AWAIT(f->got, smolscale_recv(cx, f->gate, NULL));
    f->output = f->value * 2;
    SMOLSCALE_RETURN(f->got < 0 ? f->got : f->value);
    SMOLSCALE_END;
}

static __attribute__((constructor)) void before_main(void)
{
    from_constructor = SMOLSCALE_BLOCK_ON(give, .value = 77);
}

static void open_gate(smolscale_channel *gate)
{
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_send(cx, gate, NULL)), 0);
}

// ---- spawn, join, release

START_TEST(a_task_runs_and_its_result_and_frame_are_there)
{
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, give, .value = 21), 0);
    ck_assert_int_eq(join(task), 21);
    ck_assert(smolscale_finished(task));
    ck_assert_int_eq(((struct give *)smolscale_frame(task))->output, 42);
    smolscale_release(task);
    smolscale_release(NULL);
}
END_TEST

START_TEST(a_task_that_waits_is_not_finished_until_it_has_ended)
{
    smolscale_channel *gate = channel_of(0, 0);
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, give, .value = 1, .gate = gate), 0);
    for (unsigned i = 0; i < 10; i++) {
        ck_assert(!smolscale_finished(task));
        test_breathe();
    }
    open_gate(gate);
    EVENTUALLY(smolscale_finished(task), ==, true);
    ck_assert_int_eq(join_and_release(task), 1);
    smolscale_channel_unref(gate);
}
END_TEST

START_TEST(a_released_task_runs_on)
{
    smolscale_channel *gate = channel_of(0, 0);
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, give, .value = 1, .gate = gate), 0);
    smolscale_release(task);
    ck_assert_int_eq(SMOLSCALE_SPAWN(NULL, give, .value = 1, .gate = gate), 0);
    open_gate(gate); // both take what is sent
    open_gate(gate);
    smolscale_channel_unref(gate);
}
END_TEST

START_TEST(a_task_is_joined_once)
{
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, give, .value = 3), 0);
    ck_assert_int_eq(join(task), 3);
    ck_assert_int_eq(join(task), -EALREADY);
    smolscale_release(task);
}
END_TEST

struct joiner {
    SMOLSCALE_FRAME;
    smolscale_task *task;
    int got;
};
SMOLSCALE_ASYNC(joiner, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->got, smolscale_join(cx, f->task));
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

START_TEST(only_one_may_join_at_a_time)
{
    smolscale_channel *gate = channel_of(0, 0);
    smolscale_task *task, *first, *other;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, give, .value = 9, .gate = gate), 0);
    ck_assert_int_eq(SMOLSCALE_SPAWN(&first, joiner, .task = task), 0);
    // One of these two comes second; the other waits.
    ck_assert_int_eq(SMOLSCALE_SPAWN(&other, joiner, .task = task), 0);
    EVENTUALLY(smolscale_finished(first) || smolscale_finished(other), ==, true);
    bool first_waits = !smolscale_finished(first);
    ck_assert(first_waits || !smolscale_finished(other));
    ck_assert_int_eq(join(first_waits ? other : first), -EBUSY);
    open_gate(gate);
    ck_assert_int_eq(join(first_waits ? first : other), 9);
    ck_assert_int_eq(join(task), -EALREADY);
    smolscale_release(first);
    smolscale_release(other);
    smolscale_release(task);
    smolscale_channel_unref(gate);
}
END_TEST

START_TEST(a_joiner_that_is_cancelled_makes_room_for_another)
{
    smolscale_channel *gate = channel_of(0, 0);
    smolscale_task *task, *first;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, give, .value = 9, .gate = gate), 0);
    ck_assert_int_eq(SMOLSCALE_SPAWN(&first, joiner, .task = task), 0);
    ck_assert(smolscale_cancel(first));
    ck_assert_int_eq(join_and_release(first), -ECANCELED);
    open_gate(gate);
    ck_assert_int_eq(join_and_release(task), 9);
    smolscale_channel_unref(gate);
}
END_TEST

struct narcissus {
    SMOLSCALE_FRAME;
    int got;
};
SMOLSCALE_ASYNC(narcissus, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->got, smolscale_join(cx, cx->task));
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

START_TEST(a_task_cannot_join_itself)
{
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, narcissus, .got = 0), 0);
    ck_assert_int_eq(join_and_release(task), -EDEADLK);
}
END_TEST

START_TEST(a_frame_that_cannot_be_had_is_an_error)
{
    smolscale_task *task = (smolscale_task *)&task;
    ck_assert_int_eq(smolscale_spawn(&task, give, NULL, SIZE_MAX), -ENOMEM);
    ck_assert_ptr_null(task);
    ck_assert_int_eq(smolscale_spawn(NULL, give, NULL, SIZE_MAX - 200), -ENOMEM);
    ck_assert_int_eq(smolscale_spawn(NULL, give, NULL, SIZE_MAX / 2), -ENOMEM);
}
END_TEST

// Frames of many sizes, across those of the slab: aligned, a copy, zero where nothing was given.
static int check_frame(smolscale_cx *cx, void *frame)
{
    (void)cx;
    ck_assert_uint_eq((uintptr_t)frame % 32, 0);
    size_t size;
    memcpy(&size, frame, sizeof size);
    const unsigned char *bytes = frame;
    for (size_t i = sizeof size; i < size; i++)
        ck_assert_uint_eq(bytes[i], (unsigned char)(size + i));
    return size == 0 ? 1 : (int)size;
}

START_TEST(frames_of_all_sizes_are_aligned_copies)
{
    static unsigned char bytes[70000];
    for (size_t size = 8; size < sizeof bytes; size = size < 1200 ? size + 8 : size * 2) {
        memcpy(bytes, &size, sizeof size);
        for (size_t i = sizeof size; i < size; i++)
            bytes[i] = (unsigned char)(size + i);
        smolscale_task *task;
        ck_assert_int_eq(smolscale_spawn(&task, check_frame, bytes, size), 0);
        ck_assert_uint_eq((uintptr_t)smolscale_frame(task) % 32, 0);
        ck_assert_int_eq(join_and_release(task), (int)size);
        ck_assert_int_eq(smolscale_spawn(&task, check_frame, NULL, size), 0);
        ck_assert_int_eq(join_and_release(task), 1);
    }
}
END_TEST

struct tree {
    SMOLSCALE_FRAME;
    unsigned depth;
    smolscale_task *left, *right;
    int a, b;
};
SMOLSCALE_ASYNC(tree, f)
{
    SMOLSCALE_BEGIN(f);
    if (f->depth == 0)
        SMOLSCALE_RETURN(1);
    SMOLSCALE_TRY(SMOLSCALE_SPAWN(&f->left, tree, .depth = f->depth - 1));
    SMOLSCALE_TRY(SMOLSCALE_SPAWN(&f->right, tree, .depth = f->depth - 1));
    SMOLSCALE_AWAIT(f->a, smolscale_join(cx, f->left));
    SMOLSCALE_AWAIT(f->b, smolscale_join(cx, f->right));
    smolscale_release(f->left);
    smolscale_release(f->right);
    SMOLSCALE_RETURN(f->a + f->b + 1);
    SMOLSCALE_END;
}

START_TEST(tasks_spawn_and_join_tasks)
{
    ck_assert_int_eq(SMOLSCALE_BLOCK_ON(tree, .depth = 12), (1 << 13) - 1);
}
END_TEST

// Threads spawn, join or release at once: each task ends once.
static atomic_uint tasks_ended;
struct counted {
    SMOLSCALE_FRAME;
    unsigned yields;
};
SMOLSCALE_ASYNC(counted, f)
{
    SMOLSCALE_BEGIN(f);
    while (f->yields-- > 0)
        SMOLSCALE_YIELD();
    atomic_fetch_add(&tasks_ended, 1);
    SMOLSCALE_RETURN(5);
    SMOLSCALE_END;
}

static void *spawn_many(void *arg)
{
    uint64_t state = (uintptr_t)arg;
    for (unsigned i = 0; i < SCALED(20000); i++) {
        smolscale_task *task;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, counted, .yields = test_random(&state) % 3), 0);
        switch (test_random(&state) % 3) {
        case 0:
            ck_assert_int_eq(join(task), 5);
            break;
        case 1:
            while (!smolscale_finished(task))
                sched_yield();
            break;
        }
        smolscale_release(task);
    }
    return NULL;
}

START_TEST(ending_and_releasing_race_and_each_task_ends_once)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        threads[i] = thread_start(spawn_many, (void *)(i + 1));
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    EVENTUALLY(atomic_load(&tasks_ended), ==, 4 * SCALED(20000));
}
END_TEST

// ---- cancelling

struct cancellable {
    SMOLSCALE_FRAME;
    int kind;
    smolscale_channel *empty, *full;
    smolscale_task *other;
    atomic_uint *polls;
    int got;
    long message;
};
enum { IN_RECV, IN_SEND, IN_SLEEP, IN_JOIN, IN_WAKER, IN_YIELDS, KINDS };

static int never(smolscale_cx *cx, atomic_uint *polls)
{
    smolscale_waker_drop(smolscale_waker_new(cx));
    atomic_fetch_add(polls, 1);
    return SMOLSCALE_PENDING;
}

SMOLSCALE_ASYNC(cancellable, f)
{
    SMOLSCALE_BEGIN(f);
    atomic_fetch_add(f->polls, 1);
    switch (f->kind) {
    case IN_RECV:
        SMOLSCALE_AWAIT(f->got, smolscale_recv(cx, f->empty, &f->message));
        break;
    case IN_SEND:
        SMOLSCALE_AWAIT(f->got, smolscale_send(cx, f->full, &f->message));
        break;
    case IN_SLEEP:
        SMOLSCALE_AWAIT(f->got, smolscale_sleep(cx, 3600 * SS_NS_PER_S));
        break;
    case IN_JOIN:
        SMOLSCALE_AWAIT(f->got, smolscale_join(cx, f->other));
        break;
    case IN_WAKER:
        SMOLSCALE_POLL(f->got, never(cx, f->polls));
        break;
    case IN_YIELDS:
        while ((f->got = smolscale_interrupted(cx)) == 0)
            SMOLSCALE_YIELD();
        break;
    }
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

// Spawns one, cancels it when `polls` polls have begun (0: at once) and `idle` workers too.
static void cancel_each(unsigned rounds, bool when_waiting)
{
    smolscale_channel *empty = channel_of(sizeof(long), 1), *full = channel_of(sizeof(long), 1);
    ck_assert_int_eq(smolscale_try_send(full, &(long){1}), 0);
    smolscale_task *other;
    smolscale_channel *gate = channel_of(0, 0);
    ck_assert_int_eq(SMOLSCALE_SPAWN(&other, give, .value = 1, .gate = gate), 0);
    for (unsigned round = 0; round < rounds; round++) {
        for (int kind = 0; kind < KINDS; kind++) {
            atomic_uint polls = 0;
            smolscale_task *task;
            ck_assert_int_eq(SMOLSCALE_SPAWN(&task, cancellable, .kind = kind, .empty = empty,
                                             .full = full, .other = other, .polls = &polls),
                             0);
            if (when_waiting) {
                EVENTUALLY(atomic_load(&polls), >=, 1);
                if (kind != IN_YIELDS)
                    EVENTUALLY(smolscale_running_threads(), ==, 0);
                ck_assert(!smolscale_finished(task));
            }
            ck_assert(smolscale_cancel(task));
            ck_assert(!smolscale_cancel(task));
            ck_assert_int_eq(join(task), -ECANCELED);
            ck_assert(!smolscale_cancel(task));
            smolscale_release(task);
        }
    }
    ck_assert_uint_eq(smolscale_channel_count(empty), 0);
    ck_assert_uint_eq(smolscale_channel_count(full), 1);
    open_gate(gate);
    ck_assert_int_eq(join_and_release(other), 1);
    smolscale_channel_unref(empty);
    smolscale_channel_unref(full);
    smolscale_channel_unref(gate);
}

START_TEST(a_task_is_cancelled_in_every_kind_of_wait)
{
    cancel_each(5, true);
}
END_TEST

// Wherever it is: before its first poll, in one, while it is being suspended, suspended.
START_TEST(a_task_is_cancelled_at_any_moment)
{
    cancel_each(SCALED(3000), false);
}
END_TEST

START_TEST(a_task_that_has_ended_cannot_be_cancelled)
{
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, give, .value = 3), 0);
    EVENTUALLY(smolscale_finished(task), ==, true);
    ck_assert(!smolscale_cancel(task));
    ck_assert_int_eq(join_and_release(task), 3);
}
END_TEST

struct polite {
    SMOLSCALE_FRAME;
    smolscale_channel *channel, *goodbye;
    int got, again, after;
    bool was, was_again;
};
SMOLSCALE_ASYNC(polite, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->got, smolscale_recv(cx, f->channel, NULL));
    SMOLSCALE_AWAIT(f->again, smolscale_recv(cx, f->channel, NULL)); // as is every later one
    f->was = smolscale_clear_cancel(cx);
    f->was_again = smolscale_clear_cancel(cx);
    SMOLSCALE_AWAIT(f->after, smolscale_send(cx, f->goodbye, NULL));
    SMOLSCALE_END;
}

START_TEST(a_cancellation_can_be_dealt_with)
{
    smolscale_channel *channel = channel_of(0, 0), *goodbye = channel_of(0, 0);
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, polite, .channel = channel, .goodbye = goodbye), 0);
    ck_assert(smolscale_cancel(task));
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_recv(cx, goodbye, NULL)), 0);
    ck_assert_int_eq(join(task), 0);
    const struct polite *f = smolscale_frame(task);
    ck_assert_int_eq(f->got, -ECANCELED);
    ck_assert_int_eq(f->again, -ECANCELED);
    ck_assert_int_eq(f->after, 0);
    ck_assert(f->was && !f->was_again);
    smolscale_release(task);
    smolscale_channel_unref(channel);
    smolscale_channel_unref(goodbye);
}
END_TEST

// Cancelled again and again, each time where it waits or is about to: none is lost, and none comes
// twice.
struct patient {
    SMOLSCALE_FRAME;
    smolscale_channel *empty;
    atomic_uint *dealt_with, *polls;
    unsigned times, i;
    int kind, got;
};
SMOLSCALE_ASYNC(patient, f)
{
    SMOLSCALE_BEGIN(f);
    for (f->i = 0; f->i < f->times; f->i++) {
        if (f->kind == IN_RECV)
            SMOLSCALE_AWAIT(f->got, smolscale_recv(cx, f->empty, NULL));
        else if (f->kind == IN_SLEEP)
            SMOLSCALE_AWAIT(f->got, smolscale_sleep(cx, 3600 * SS_NS_PER_S));
        else
            SMOLSCALE_POLL(f->got, never(cx, f->polls));
        ck_assert_int_eq(f->got, -ECANCELED);
        ck_assert(smolscale_clear_cancel(cx));
        atomic_fetch_add(f->dealt_with, 1);
    }
    SMOLSCALE_END;
}

START_TEST(each_of_many_cancellations_is_dealt_with_once)
{
    enum { TIMES = SCALED(20000) };
    smolscale_channel *empty = channel_of(0, 0);
    static const int kinds[] = {IN_RECV, IN_SLEEP, IN_WAKER};
    uint64_t state = 11;
    for (unsigned k = 0; k < 3; k++) {
        atomic_uint dealt_with = 0, never_polls = 0;
        smolscale_task *task;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, patient, .empty = empty, .dealt_with = &dealt_with,
                                         .polls = &never_polls, .times = TIMES, .kind = kinds[k]),
                         0);
        for (unsigned i = 0; i < TIMES; i++) {
            for (unsigned wait = test_random(&state) % 300; wait > 0; wait--)
                atomic_signal_fence(memory_order_seq_cst);
            ck_assert(smolscale_cancel(task));
            uint64_t end = test_clock() + TEST_PATIENCE * SS_NS_PER_S;
            for (unsigned looks = 0; atomic_load(&dealt_with) == i; looks++)
                if (looks % 1000 == 999) {
                    ck_assert_msg(test_clock() < end, "cancellation %u of kind %d was lost", i,
                                  kinds[k]);
                    sched_yield();
                }
            ck_assert_uint_eq(atomic_load(&dealt_with), i + 1);
        }
        ck_assert_int_eq(join_and_release(task), 0);
    }
    smolscale_channel_unref(empty);
}
END_TEST

struct stubborn {
    SMOLSCALE_FRAME;
    atomic_bool *begun, *cancelled;
};
SMOLSCALE_ASYNC(stubborn, f)
{
    SMOLSCALE_BEGIN(f);
    atomic_store(f->begun, true);
    while (!atomic_load(f->cancelled)) // in its poll
        sched_yield();
    SMOLSCALE_RETURN(smolscale_interrupted(cx));
    SMOLSCALE_END;
}

START_TEST(a_task_that_runs_sees_that_it_was_cancelled)
{
    atomic_bool begun = false, cancelled = false;
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, stubborn, .begun = &begun, .cancelled = &cancelled), 0);
    EVENTUALLY(atomic_load(&begun), ==, true);
    ck_assert(smolscale_cancel(task));
    ck_assert(!smolscale_finished(task));
    atomic_store(&cancelled, true);
    ck_assert_int_eq(join_and_release(task), -ECANCELED);
}
END_TEST

// ---- wakers

// Waits until `*value` reaches `wanted`, leaving a waker in `waker` each time.
struct watched {
    pthread_mutex_t lock;
    smolscale_waker waker;
    unsigned value, polls;
};
static int reaches(smolscale_cx *cx, struct watched *w, unsigned wanted)
{
    pthread_mutex_lock(&w->lock);
    w->polls++;
    bool there = w->value >= wanted;
    smolscale_waker old = w->waker;
    w->waker = there ? (smolscale_waker){NULL} : smolscale_waker_new(cx);
    pthread_mutex_unlock(&w->lock);
    smolscale_waker_drop(old);
    return there ? (int)wanted : SMOLSCALE_PENDING;
}
struct watcher {
    SMOLSCALE_FRAME;
    struct watched *what;
    unsigned wanted, i;
    int got;
};
SMOLSCALE_ASYNC(watcher, f)
{
    SMOLSCALE_BEGIN(f);
    for (f->i = 1; f->i <= f->wanted; f->i++) {
        SMOLSCALE_POLL(f->got, reaches(cx, f->what, f->i));
        if (f->got == -ECANCELED)
            break;
        ck_assert_int_eq(f->got, (int)f->i);
    }
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

static void raise_value(struct watched *w)
{
    pthread_mutex_lock(&w->lock);
    w->value++;
    smolscale_waker waker = smolscale_waker_clone(w->waker);
    pthread_mutex_unlock(&w->lock);
    smolscale_wake(waker);
    smolscale_waker_drop(waker);
}

static unsigned polls_of(struct watched *w)
{
    pthread_mutex_lock(&w->lock);
    unsigned polls = w->polls;
    pthread_mutex_unlock(&w->lock);
    return polls;
}

static void *raise_often(void *arg)
{
    for (unsigned i = 0; i < SCALED(50000); i++)
        raise_value(arg);
    return NULL;
}

START_TEST(no_wake_is_lost_in_a_storm)
{
    struct watched w = {.lock = PTHREAD_MUTEX_INITIALIZER};
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, watcher, .what = &w, .wanted = 4 * SCALED(50000)), 0);
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        threads[i] = thread_start(raise_often, &w);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(join_and_release(task), 4 * SCALED(50000));
}
END_TEST

START_TEST(block_on_is_woken_by_wakers_too)
{
    struct watched w = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++)
        threads[i] = thread_start(raise_often, &w);
    ck_assert_int_eq(SMOLSCALE_BLOCK_ON(watcher, .what = &w, .wanted = 2 * SCALED(50000)),
                     2 * SCALED(50000));
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}
END_TEST

// One step at a time, so that each wake meets a suspended task.
START_TEST(a_wake_has_a_suspended_task_polled)
{
    struct watched w = {.lock = PTHREAD_MUTEX_INITIALIZER};
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, watcher, .what = &w, .wanted = 20), 0);
    for (unsigned i = 0; i < 20; i++) {
        EVENTUALLY(polls_of(&w), ==, 2 * i + 1);
        EVENTUALLY(smolscale_running_threads(), ==, 0);
        raise_value(&w);
    }
    ck_assert_int_eq(join_and_release(task), 20);
}
END_TEST

struct self_waking {
    SMOLSCALE_FRAME;
    unsigned polls;
    int got;
};
static int wakes_itself(smolscale_cx *cx, struct self_waking *f)
{
    smolscale_waker waker = smolscale_waker_new(cx);
    smolscale_wake(waker); // while it is polled
    smolscale_wake(waker);
    smolscale_waker_drop(waker);
    return ++f->polls < 100 ? SMOLSCALE_PENDING : (int)f->polls;
}
SMOLSCALE_ASYNC(self_waking, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_POLL(f->got, wakes_itself(cx, f));
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

START_TEST(a_task_woken_while_it_is_polled_is_polled_again)
{
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, self_waking, .polls = 0), 0);
    ck_assert_int_eq(join_and_release(task), 100);
    ck_assert_int_eq(SMOLSCALE_BLOCK_ON(self_waking, .polls = 0), 100);
}
END_TEST

static smolscale_waker kept;
struct leaves_waker {
    SMOLSCALE_FRAME;
    int unused;
};
SMOLSCALE_ASYNC(leaves_waker, f)
{
    SMOLSCALE_BEGIN(f);
    kept = smolscale_waker_new(cx);
    SMOLSCALE_RETURN(1);
    SMOLSCALE_END;
}

static void *use_waker(void *arg)
{
    smolscale_waker *waker = arg;
    for (unsigned i = 0; i < SCALED(20000); i++) {
        smolscale_waker copy = smolscale_waker_clone(*waker);
        smolscale_wake(copy);
        smolscale_waker_drop(copy);
    }
    smolscale_waker_drop(*waker);
    return NULL;
}

static void many_use(smolscale_waker waker)
{
    pthread_t threads[4];
    smolscale_waker copies[4];
    for (unsigned i = 0; i < 4; i++) {
        copies[i] = smolscale_waker_clone(waker);
        threads[i] = thread_start(use_waker, &copies[i]);
    }
    smolscale_waker_drop(waker);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

START_TEST(wakers_outlive_their_task)
{
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, leaves_waker, .unused = 0), 0);
    ck_assert_int_eq(join_and_release(task), 1);
    many_use(kept);
    ck_assert_int_eq(SMOLSCALE_BLOCK_ON(leaves_waker, .unused = 0), 1);
    many_use(kept);
    smolscale_wake((smolscale_waker){NULL});
    smolscale_waker_drop(smolscale_waker_clone((smolscale_waker){NULL}));
}
END_TEST

// Its last waker is dropped while it is scheduled, and while it is suspended for ever: it is freed
// with its cancellation.
START_TEST(a_task_without_wakers_is_still_cancelled)
{
    for (unsigned i = 0; i < SCALED(5000); i++) {
        struct watched w = {.lock = PTHREAD_MUTEX_INITIALIZER};
        smolscale_task *task;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, watcher, .what = &w, .wanted = 2), 0);
        raise_value(&w);
        pthread_mutex_lock(&w.lock);
        smolscale_waker waker = w.waker;
        w.waker.task = NULL;
        pthread_mutex_unlock(&w.lock);
        smolscale_waker_drop(waker);
        smolscale_cancel(task);
        ck_assert_int_eq(join_and_release(task), -ECANCELED);
        smolscale_waker_drop(w.waker);
    }
}
END_TEST

// ---- async functions

struct level1 {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    int got, message;
};
SMOLSCALE_ASYNC(level1, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_TRY(smolscale_recv(cx, f->channel, &f->message));
    SMOLSCALE_YIELD();
    SMOLSCALE_RETURN(f->message);
    SMOLSCALE_END;
}
#define LEVEL(name, below)                                               \
    struct name {                                                        \
        SMOLSCALE_FRAME;                                                 \
        smolscale_channel *channel;                                      \
        struct below callee;                                             \
        int got, message, sum;                                           \
    };                                                                   \
    SMOLSCALE_ASYNC(name, f)                                             \
    {                                                                    \
        SMOLSCALE_BEGIN(f);                                              \
        SMOLSCALE_CALL(f->got, below, f->callee, .channel = f->channel); \
        if (f->got < 0)                                                  \
            SMOLSCALE_RETURN(f->got);                                    \
        f->sum = f->got;                                                 \
        SMOLSCALE_CALL(f->got, below, f->callee, .channel = f->channel); \
        if (f->got < 0)                                                  \
            SMOLSCALE_RETURN(f->got);                                    \
        SMOLSCALE_RETURN(f->sum + f->got);                               \
        SMOLSCALE_END;                                                   \
    }
LEVEL(level2, level1)
LEVEL(level3, level2)
LEVEL(level4, level3)
LEVEL(level5, level4)

START_TEST(async_functions_call_one_another)
{
    smolscale_channel *channel = channel_of(sizeof(int), 3);
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, level5, .channel = channel), 0);
    int sum = 0;
    for (int i = 1; i <= 16; i++) {
        sum += i;
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_send(cx, channel, &i)), 0);
    }
    ck_assert_int_eq(join_and_release(task), sum);
    smolscale_channel_unref(channel);
}
END_TEST

START_TEST(a_cancellation_reaches_the_innermost_call)
{
    smolscale_channel *channel = channel_of(sizeof(int), 3);
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, level5, .channel = channel), 0);
    ck_assert_int_eq(smolscale_try_send(channel, &(int){1}), 0);
    ck_assert(smolscale_cancel(task));
    ck_assert_int_eq(join_and_release(task), -ECANCELED);
    smolscale_channel_unref(channel);
}
END_TEST

struct evaluating {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    unsigned evaluated;
    int got, message;
};
static smolscale_channel *evaluate(struct evaluating *f)
{
    f->evaluated++;
    return f->channel;
}
SMOLSCALE_ASYNC(evaluating, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->got, smolscale_recv(cx, evaluate(f), &f->message));
    SMOLSCALE_TRY(smolscale_recv(cx, evaluate(f), &f->message));
    SMOLSCALE_TIMEOUT(f->got, 3600 * SS_NS_PER_S, smolscale_recv(cx, evaluate(f), &f->message));
    SMOLSCALE_RETURN((int)f->evaluated);
    SMOLSCALE_END;
}

START_TEST(what_is_awaited_is_evaluated_once)
{
    smolscale_channel *channel = channel_of(sizeof(int), 0);
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, evaluating, .channel = channel), 0);
    for (int i = 0; i < 3; i++) {
        EVENTUALLY(smolscale_running_threads(), ==, 0); // it waits
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_send(cx, channel, &i)), 0);
    }
    ck_assert_int_eq(join_and_release(task), 3);
    smolscale_channel_unref(channel);
}
END_TEST

struct restarted {
    SMOLSCALE_FRAME;
    unsigned value;
};
SMOLSCALE_ASYNC(restarted, f)
{
    SMOLSCALE_BEGIN(f);
    f->value++;
    SMOLSCALE_YIELD();
    f->value++;
    SMOLSCALE_END;
}

START_TEST(an_async_function_that_has_ended_begins_anew)
{
    struct restarted frame = {.value = 0};
    ck_assert_int_eq(smolscale_block_on(restarted, &frame), 0);
    ck_assert_int_eq(smolscale_block_on(restarted, &frame), 0);
    ck_assert_uint_eq(frame.value, 4);
}
END_TEST

// ---- threads that wait like tasks

START_TEST(tasks_run_before_main)
{
    ck_assert_int_eq(from_constructor, 77);
}
END_TEST

struct blocking {
    SMOLSCALE_FRAME;
    smolscale_channel *ask, *answer;
    unsigned depth;
};
// Blocks its worker in each way there is, five deep, on something that another task does.
SMOLSCALE_ASYNC(blocking, f)
{
    SMOLSCALE_BEGIN(f);
    if (f->depth > 0)
        SMOLSCALE_RETURN(SMOLSCALE_BLOCK_ON(blocking, .ask = f->ask, .answer = f->answer,
                                            .depth = f->depth - 1) +
                         1);
    int message = 7, got = 0;
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_send(cx, f->ask, &message)), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_recv(cx, f->answer, &got)), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_sleep(cx, MS)), 0);
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, give, .value = 1), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), 1);
    smolscale_release(task);
    SMOLSCALE_RETURN(got);
    SMOLSCALE_END;
}
struct answering {
    SMOLSCALE_FRAME;
    smolscale_channel *ask, *answer;
    int got, message;
};
SMOLSCALE_ASYNC(answering, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_TRY(smolscale_recv(cx, f->ask, &f->message));
        f->message += 100;
        SMOLSCALE_TRY(smolscale_send(cx, f->answer, &f->message));
    }
    SMOLSCALE_END;
}

static void run_blocking(void *item, void *user_data)
{
    const struct blocking *first = user_data;
    *(int *)item = SMOLSCALE_BLOCK_ON(blocking, .ask = first->ask, .answer = first->answer);
}

START_TEST(blocking_waits_nest_in_threads_tasks_and_jobs)
{
    enum { TASKS = 8 };
    smolscale_channel *ask = channel_of(sizeof(int), 0), *answer = channel_of(sizeof(int), 0);
    smolscale_task *server, *tasks[TASKS];
    ck_assert_int_eq(SMOLSCALE_SPAWN(&server, answering, .ask = ask, .answer = answer), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK_ON(blocking, .ask = ask, .answer = answer, .depth = 4), 111);
    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(
            SMOLSCALE_SPAWN(&tasks[i], blocking, .ask = ask, .answer = answer, .depth = i % 4), 0);
    struct blocking shared = {.ask = ask, .answer = answer};
    smolscale_queue *queue = queue_new(run_blocking, &shared, SMOLSCALE_UNLIMITED);
    int results[TASKS] = {0};
    for (unsigned i = 0; i < TASKS; i++)
        push(queue, &results[i]);
    smolscale_queue_free(queue);
    for (unsigned i = 0; i < TASKS; i++) {
        ck_assert_int_eq(results[i], 107);
        ck_assert_int_eq(join_and_release(tasks[i]), 107 + (int)(i % 4));
    }
    ck_assert(smolscale_cancel(server));
    ck_assert_int_eq(join_and_release(server), -ECANCELED);
    smolscale_channel_unref(ask);
    smolscale_channel_unref(answer);
}
END_TEST

START_TEST(a_block_on_a_yield_returns)
{
    SMOLSCALE_BLOCK(smolscale_yield(cx));
}
END_TEST

// ---- a thread that ends in a poll

struct leaving {
    SMOLSCALE_FRAME;
    bool later;
};
SMOLSCALE_ASYNC(leaving, f)
{
    SMOLSCALE_BEGIN(f);
    if (f->later)
        SMOLSCALE_YIELD();
    pthread_exit(NULL);
    SMOLSCALE_END;
}

START_TEST(a_thread_that_ends_in_a_poll_ends_that_task_alone)
{
    smolscale_channel *gate = channel_of(0, 0);
    for (unsigned i = 0; i < 20; i++) {
        smolscale_task *task, *other;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&other, give, .value = 8, .gate = gate), 0);
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, leaving, .later = i % 2), 0);
        ck_assert_int_eq(join_and_release(task), -ECANCELED);
        open_gate(gate);
        ck_assert_int_eq(join_and_release(other), 8);
    }
    smolscale_channel_unref(gate);
}
END_TEST

// ---- 100 000 at once

struct parked_task {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    int got;
};
SMOLSCALE_ASYNC(parked_task, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->got, smolscale_recv(cx, f->channel, NULL));
    atomic_fetch_add(&tasks_ended, 1);
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

START_TEST(a_hundred_thousand_parked_tasks_cost_no_time)
{
    enum { TASKS = SCALED(100000) };
    struct tids others;
    threads_before_first_use(&others);
    smolscale_channel *channel = channel_of(0, 0);
    static smolscale_task *tasks[TASKS];
    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(SMOLSCALE_SPAWN(&tasks[i], parked_task, .channel = channel), 0);
    // Until nothing has moved for a second; then nothing may for two.
    unsigned long before = 0, now = voluntary_switches(&others);
    for (unsigned quiet = 0, tries = 0; quiet < 1000 && tries < 60000; tries++) {
        test_breathe();
        before = now;
        now = voluntary_switches(&others);
        quiet = now == before ? quiet + 1 : 0;
    }
    uint64_t ticks = stats_now().ticks;
    for (unsigned i = 0; i < 2000; i++)
        test_breathe();
    ck_assert_uint_eq(voluntary_switches(&others), now);
    ck_assert_uint_eq(stats_now().ticks, ticks);
    ck_assert_uint_eq(atomic_load(&tasks_ended), 0);
    smolscale_close(channel);
    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(join_and_release(tasks[i]), -EPIPE);
    ck_assert_uint_eq(atomic_load(&tasks_ended), TASKS);
    smolscale_channel_unref(channel);
}
END_TEST

int main(void)
{
    return test_suite("task", (const TTest *[]){
                                  a_task_runs_and_its_result_and_frame_are_there,
                                  a_task_that_waits_is_not_finished_until_it_has_ended,
                                  a_released_task_runs_on,
                                  a_task_is_joined_once,
                                  only_one_may_join_at_a_time,
                                  a_joiner_that_is_cancelled_makes_room_for_another,
                                  a_task_cannot_join_itself,
                                  a_frame_that_cannot_be_had_is_an_error,
                                  frames_of_all_sizes_are_aligned_copies,
                                  tasks_spawn_and_join_tasks,
                                  ending_and_releasing_race_and_each_task_ends_once,
                                  a_task_is_cancelled_in_every_kind_of_wait,
                                  a_task_is_cancelled_at_any_moment,
                                  a_task_that_has_ended_cannot_be_cancelled,
                                  a_cancellation_can_be_dealt_with,
                                  each_of_many_cancellations_is_dealt_with_once,
                                  a_task_that_runs_sees_that_it_was_cancelled,
                                  no_wake_is_lost_in_a_storm,
                                  block_on_is_woken_by_wakers_too,
                                  a_wake_has_a_suspended_task_polled,
                                  a_task_woken_while_it_is_polled_is_polled_again,
                                  wakers_outlive_their_task,
                                  a_task_without_wakers_is_still_cancelled,
                                  async_functions_call_one_another,
                                  a_cancellation_reaches_the_innermost_call,
                                  what_is_awaited_is_evaluated_once,
                                  an_async_function_that_has_ended_begins_anew,
                                  tasks_run_before_main,
                                  blocking_waits_nest_in_threads_tasks_and_jobs,
                                  a_block_on_a_yield_returns,
                                  a_thread_that_ends_in_a_poll_ends_that_task_alone,
                                  a_hundred_thousand_parked_tasks_cost_no_time,
                                  NULL,
                              });
}
