// SPDX-License-Identifier: ISC
//
// Channels: order, capacity, closing, and that each message is received exactly once, whoever
// sends, receives or is cancelled at the same time.

#include "support.h"

#include <smolscale_async.h>

static smolscale_channel *channel_of(size_t size, unsigned capacity)
{
    smolscale_channel *channel;
    ck_assert_int_eq(smolscale_channel_new(&channel, size, capacity), 0);
    return channel;
}

static int join_and_release(smolscale_task *task)
{
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, task));
    smolscale_release(task);
    return result;
}

// ---- by one thread

static void ck_capacity(unsigned capacity, unsigned tried)
{
    smolscale_channel *channel = channel_of(sizeof(unsigned), capacity);
    unsigned got;
    ck_assert_int_eq(smolscale_try_recv(channel, &got), -EAGAIN);
    for (unsigned round = 0; round < 3; round++) { // also across the end of the ring
        unsigned sent = 0;
        while (sent < tried && smolscale_try_send(channel, &sent) == 0)
            sent++;
        ck_assert_uint_eq(sent, capacity < tried ? capacity : tried);
        if (sent < tried)
            ck_assert_int_eq(smolscale_try_send(channel, &sent), -EAGAIN);
        ck_assert_uint_eq(smolscale_channel_count(channel), sent);
        for (unsigned i = 0; i < sent; i++) {
            ck_assert_int_eq(smolscale_try_recv(channel, &got), 0);
            ck_assert_uint_eq(got, i);
        }
        ck_assert_int_eq(smolscale_try_recv(channel, &got), -EAGAIN);
    }
    smolscale_channel_unref(channel);
}

START_TEST(a_channel_holds_its_capacity_in_order)
{
    static const unsigned capacities[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 1000};
    for (unsigned i = 0; i < sizeof capacities / sizeof *capacities; i++)
        ck_capacity(capacities[i], 2000);
    ck_capacity(SMOLSCALE_UNLIMITED, 100000);
}
END_TEST

START_TEST(the_ring_grows_while_its_beginning_moves)
{
    smolscale_channel *channel = channel_of(sizeof(unsigned), SMOLSCALE_UNLIMITED);
    unsigned sent = 0, received = 0, got;
    uint64_t state = 3;
    for (unsigned i = 0; i < 20000; i++) {
        if (test_random(&state) % 5 < 3) {
            ck_assert_int_eq(smolscale_try_send(channel, &sent), 0);
            sent++;
        } else if (smolscale_try_recv(channel, &got) == 0) {
            ck_assert_uint_eq(got, received);
            received++;
        }
        ck_assert_uint_eq(smolscale_channel_count(channel), sent - received);
    }
    smolscale_channel_unref(channel);
}
END_TEST

START_TEST(messages_may_have_any_size)
{
    static const size_t sizes[] = {0, 1, 8, 100, 5000};
    for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t size = sizes[s];
        smolscale_channel *channel = channel_of(size, SMOLSCALE_UNLIMITED);
        unsigned char message[5001], got[5001];
        for (unsigned i = 0; i < 100; i++) {
            memset(message, (int)i, sizeof message);
            ck_assert_int_eq(smolscale_try_send(channel, message), 0);
        }
        for (unsigned i = 0; i < 100; i++) {
            memset(got, 0xee, sizeof got);
            memset(message, (int)i, sizeof message);
            ck_assert_int_eq(smolscale_try_recv(channel, got), 0);
            ck_assert_mem_eq(got, message, size);
            ck_assert_uint_eq(got[size], 0xee); // and nothing beyond
        }
        smolscale_channel_unref(channel);
    }
    smolscale_channel *none = (smolscale_channel *)&none;
    ck_assert_int_eq(smolscale_channel_new(&none, SIZE_MAX, 1), -EINVAL);
    ck_assert_ptr_null(none);
}
END_TEST

START_TEST(a_closed_channel_gives_what_is_left)
{
    smolscale_channel *channel = channel_of(sizeof(int), 4);
    int got;
    ck_assert_int_eq(smolscale_try_send(channel, &(int){5}), 0);
    smolscale_close(channel);
    smolscale_close(channel);
    ck_assert_int_eq(smolscale_try_send(channel, &(int){6}), -EPIPE);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_send(cx, channel, &(int){6})), -EPIPE);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_recv(cx, channel, &got)), 0);
    ck_assert_int_eq(got, 5);
    ck_assert_int_eq(smolscale_try_recv(channel, &got), -EPIPE);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_recv(cx, channel, &got)), -EPIPE);
    smolscale_channel_unref(channel);
}
END_TEST

START_TEST(a_channel_lives_until_its_last_reference)
{
    smolscale_channel *channel = channel_of(sizeof(int), 4);
    ck_assert_ptr_eq(smolscale_channel_ref(channel), channel);
    smolscale_channel_unref(channel);
    ck_assert_int_eq(smolscale_try_send(channel, &(int){5}), 0);
    smolscale_channel_unref(channel);
    ck_assert_ptr_null(smolscale_channel_ref(NULL));
    smolscale_channel_unref(NULL);
}
END_TEST

// ---- who waits

static atomic_uint begun;

struct waiter {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    bool sends;
    long message;
    int got;
};
SMOLSCALE_ASYNC(waiter, f)
{
    SMOLSCALE_BEGIN(f);
    atomic_fetch_add(&begun, 1);
    if (f->sends)
        SMOLSCALE_AWAIT(f->got, smolscale_send(cx, f->channel, &f->message));
    else
        SMOLSCALE_AWAIT(f->got, smolscale_recv(cx, f->channel, &f->message));
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

static smolscale_task *wait_at(smolscale_channel *channel, bool sends, long message)
{
    smolscale_task *task;
    unsigned before = atomic_load(&begun);
    ck_assert_int_eq(
        SMOLSCALE_SPAWN(&task, waiter, .channel = channel, .sends = sends, .message = message), 0);
    EVENTUALLY(atomic_load(&begun), ==, before + 1);
    EVENTUALLY(smolscale_running_threads(), ==, 0); // it waits, behind those before
    return task;
}

START_TEST(receivers_are_served_in_the_order_they_came)
{
    smolscale_channel *channel = channel_of(sizeof(long), 4);
    smolscale_task *tasks[5];
    for (unsigned i = 0; i < 5; i++)
        tasks[i] = wait_at(channel, false, 0);
    for (long i = 0; i < 5; i++)
        ck_assert_int_eq(smolscale_try_send(channel, &i), 0);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, tasks[i])), 0);
        ck_assert_int_eq(((struct waiter *)smolscale_frame(tasks[i]))->message, (long)i);
        smolscale_release(tasks[i]);
    }
    smolscale_channel_unref(channel);
}
END_TEST

// One of the waiting is cancelled: the first, one in the middle, the last, the only one.
START_TEST(senders_are_served_in_the_order_they_came_but_for_the_cancelled)
{
    for (unsigned capacity = 0; capacity < 3; capacity++) {
        for (unsigned n = 1; n <= 4; n++) {
            for (unsigned cancelled = 0; cancelled < n; cancelled++) {
                smolscale_channel *channel = channel_of(sizeof(long), capacity);
                for (unsigned i = 0; i < capacity; i++)
                    ck_assert_int_eq(smolscale_try_send(channel, &(long){100 + (long)i}), 0);
                smolscale_task *tasks[4];
                for (unsigned i = 0; i < n; i++)
                    tasks[i] = wait_at(channel, true, (long)i);
                ck_assert(smolscale_cancel(tasks[cancelled]));
                long got;
                for (unsigned i = 0; i < capacity; i++) {
                    ck_assert_int_eq(smolscale_try_recv(channel, &got), 0);
                    ck_assert_int_eq(got, 100 + (long)i);
                }
                for (unsigned i = 0; i < n; i++) {
                    if (i == cancelled)
                        continue;
                    ck_assert_int_eq(smolscale_try_recv(channel, &got), 0);
                    ck_assert_int_eq(got, (long)i);
                }
                ck_assert_int_eq(smolscale_try_recv(channel, &got), -EAGAIN);
                for (unsigned i = 0; i < n; i++)
                    ck_assert_int_eq(join_and_release(tasks[i]), i == cancelled ? -ECANCELED : 0);
                smolscale_channel_unref(channel);
            }
        }
    }
}
END_TEST

START_TEST(closing_ends_every_wait)
{
    for (unsigned sends = 0; sends < 2; sends++) {
        smolscale_channel *channel = channel_of(sizeof(long), 0);
        smolscale_task *tasks[20];
        for (unsigned i = 0; i < 20; i++)
            ck_assert_int_eq(SMOLSCALE_SPAWN(&tasks[i], waiter, .channel = channel, .sends = sends),
                             0);
        smolscale_close(channel);
        for (unsigned i = 0; i < 20; i++)
            ck_assert_int_eq(join_and_release(tasks[i]), -EPIPE);
        smolscale_channel_unref(channel);
    }
}
END_TEST

// ---- many to many, exactly once

enum { SIDES = 6, PER_SENDER = SCALED(20000) };
static atomic_uchar seen[SIDES * PER_SENDER];
static atomic_uint received;

static void note(unsigned number)
{
    ck_assert_uint_lt(number, SIDES * PER_SENDER);
    ck_assert_uint_eq(atomic_fetch_add(&seen[number], 1), 0);
    atomic_fetch_add(&received, 1);
}

struct sending {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    unsigned number, end;
    int got;
};
SMOLSCALE_ASYNC(sending, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->number < f->end; f->number++) {
        SMOLSCALE_AWAIT(f->got, smolscale_send(cx, f->channel, &f->number));
        ck_assert_int_eq(f->got, 0);
    }
    SMOLSCALE_END;
}
struct receiving {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    unsigned number;
    long last[SIDES]; // of each sender: what one sends one receives in order
    int got;
};
SMOLSCALE_ASYNC(receiving, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_AWAIT(f->got, smolscale_recv(cx, f->channel, &f->number));
        if (f->got == -EPIPE)
            break;
        ck_assert_int_eq(f->got, 0);
        note(f->number);
        ck_assert_int_gt((long)f->number + 1, f->last[f->number / PER_SENDER]);
        f->last[f->number / PER_SENDER] = (long)f->number + 1;
    }
    SMOLSCALE_END;
}

static void *thread_sends(void *arg)
{
    struct sending *f = arg;
    for (; f->number < f->end; f->number++)
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_send(cx, f->channel, &f->number)), 0);
    return NULL;
}
static void *thread_receives(void *arg)
{
    unsigned number;
    int got;
    while ((got = SMOLSCALE_BLOCK(smolscale_recv(cx, (smolscale_channel *)arg, &number))) == 0)
        note(number);
    ck_assert_int_eq(got, -EPIPE);
    return NULL;
}

static void many_to_many(unsigned capacity)
{
    memset(seen, 0, sizeof seen);
    atomic_store(&received, 0);
    smolscale_channel *channel = channel_of(sizeof(unsigned), capacity);
    smolscale_task *senders[SIDES], *receivers[SIDES];
    pthread_t sending_threads[2], receiving_threads[2];
    struct sending frames[2];
    for (unsigned i = 0; i < SIDES; i++)
        ck_assert_int_eq(SMOLSCALE_SPAWN(&receivers[i], receiving, .channel = channel), 0);
    for (unsigned i = 0; i < 2; i++) {
        receiving_threads[i] = thread_start(thread_receives, channel);
        frames[i] = (struct sending){
            .channel = channel, .number = i * PER_SENDER, .end = (i + 1) * PER_SENDER};
        sending_threads[i] = thread_start(thread_sends, &frames[i]);
    }
    for (unsigned i = 2; i < SIDES; i++)
        ck_assert_int_eq(SMOLSCALE_SPAWN(&senders[i], sending, .channel = channel,
                                         .number = i * PER_SENDER, .end = (i + 1) * PER_SENDER),
                         0);
    for (unsigned i = 2; i < SIDES; i++)
        ck_assert_int_eq(join_and_release(senders[i]), 0);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(sending_threads[i], NULL);
    smolscale_close(channel);
    for (unsigned i = 0; i < SIDES; i++)
        ck_assert_int_eq(join_and_release(receivers[i]), 0);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(receiving_threads[i], NULL);
    ck_assert_uint_eq(atomic_load(&received), SIDES * PER_SENDER);
    smolscale_channel_unref(channel);
}

START_TEST(from_many_to_many_by_rendezvous_each_message_comes_once)
{
    many_to_many(0);
}
END_TEST
START_TEST(from_many_to_many_with_room_for_one_each_message_comes_once)
{
    many_to_many(1);
}
END_TEST
START_TEST(from_many_to_many_each_message_comes_once)
{
    many_to_many(100);
}
END_TEST
START_TEST(from_many_to_many_without_a_limit_each_message_comes_once)
{
    many_to_many(SMOLSCALE_UNLIMITED);
}
END_TEST

// ---- cancelling and handing over race: what was handed over is not lost

static void cancel_races(unsigned capacity, bool sends)
{
    smolscale_channel *channel = channel_of(sizeof(long), capacity);
    for (unsigned i = 0; sends && i < capacity; i++)
        ck_assert_int_eq(smolscale_try_send(channel, &(long){-1}), 0);
    unsigned cancelled = 0, handed_over = 0;
    uint64_t state = 5;
    for (long i = 0; i < SCALED(4000); i++) {
        smolscale_task *task;
        ck_assert_int_eq(
            SMOLSCALE_SPAWN(&task, waiter, .channel = channel, .sends = sends, .message = i), 0);
        for (unsigned wait = test_random(&state) % 200; wait > 0; wait--)
            atomic_signal_fence(memory_order_seq_cst);
        // Another task of the lane does the other half, at the same time.
        smolscale_task *other;
        ck_assert_int_eq(
            SMOLSCALE_SPAWN(&other, waiter, .channel = channel, .sends = !sends, .message = i), 0);
        for (unsigned wait = test_random(&state) % 2000; wait > 0; wait--)
            atomic_signal_fence(memory_order_seq_cst);
        smolscale_cancel(task);
        int got = SMOLSCALE_BLOCK(smolscale_join(cx, task));
        ck_assert(got == 0 || got == -ECANCELED);
        cancelled += got != 0;
        handed_over += got == 0;
        if (got) { // its partner still waits, or has what was there before
            long message = i;
            int err = sends ? smolscale_try_send(channel, &message)
                            : smolscale_try_recv(channel, &message);
            ck_assert(err == 0 || err == -EAGAIN);
            if (err == -EAGAIN) // it has not come to wait yet
                ck_assert_int_eq(sends ? SMOLSCALE_BLOCK(smolscale_send(cx, channel, &message))
                                       : SMOLSCALE_BLOCK(smolscale_recv(cx, channel, &message)),
                                 0);
        }
        ck_assert_int_eq(join_and_release(other), 0);
        smolscale_release(task);
        ck_assert_uint_eq(smolscale_channel_count(channel), sends ? capacity : 0);
    }
    ck_assert_uint_eq(cancelled + handed_over, SCALED(4000));
    smolscale_channel_unref(channel);
}

START_TEST(a_receiver_that_is_cancelled_loses_no_message)
{
    cancel_races(0, false);
    cancel_races(1, false);
}
END_TEST
START_TEST(a_sender_that_is_cancelled_has_sent_or_not)
{
    cancel_races(0, true);
    cancel_races(1, true);
}
END_TEST

int main(void)
{
    return test_suite("channel",
                      (const TTest *[]){
                          a_channel_holds_its_capacity_in_order,
                          the_ring_grows_while_its_beginning_moves,
                          messages_may_have_any_size,
                          a_closed_channel_gives_what_is_left,
                          a_channel_lives_until_its_last_reference,
                          receivers_are_served_in_the_order_they_came,
                          senders_are_served_in_the_order_they_came_but_for_the_cancelled,
                          closing_ends_every_wait,
                          from_many_to_many_by_rendezvous_each_message_comes_once,
                          from_many_to_many_with_room_for_one_each_message_comes_once,
                          from_many_to_many_each_message_comes_once,
                          from_many_to_many_without_a_limit_each_message_comes_once,
                          a_receiver_that_is_cancelled_loses_no_message,
                          a_sender_that_is_cancelled_has_sent_or_not,
                          NULL,
                      });
}
