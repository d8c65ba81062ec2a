// SPDX-License-Identifier: ISC
//
// One work queue, used as its header says: what each call returns and does, one behaviour a test.

#include "support.h"

static atomic_uint ran;

static void count(void *item, void *user_data)
{
    (void)item, (void)user_data;
    atomic_fetch_add(&ran, 1);
}

// A job that says that it runs, and goes on once it may.
struct gate {
    struct counter entered, open;
};
#define GATE_INIT                  \
    {                              \
        COUNTER_INIT, COUNTER_INIT \
    }

static void pass_gate(void *item, void *user_data)
{
    (void)user_data;
    struct gate *gate = item;
    counter_add(&gate->entered, 1);
    counter_wait(&gate->open, 1);
}

// Runs gates; every other item is a number to be logged.
struct log {
    struct gate gate;
    unsigned length;
    unsigned entry[256];
};

static void log_item(void *item, void *user_data)
{
    struct log *log = user_data;
    if (item == &log->gate)
        pass_gate(item, NULL);
    else
        log->entry[log->length++] = number_of(item);
}

static void ck_log_eq(const struct log *log, unsigned length, const unsigned *expected)
{
    ck_assert_uint_eq(log->length, length);
    for (unsigned i = 0; i < length; i++)
        ck_assert_msg(log->entry[i] == expected[i], "position %u: expected item %u, got %u", i,
                      expected[i], log->entry[i]);
}
#define CK_LOG(log, ...)                                                   \
    ck_log_eq((log), sizeof((unsigned[]){__VA_ARGS__}) / sizeof(unsigned), \
              (unsigned[]){__VA_ARGS__})

START_TEST(a_pushed_item_runs_once)
{
    smolscale_queue *queue = queue_new(count, NULL, SMOLSCALE_UNLIMITED);
    push(queue, item_of(0));
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(atomic_load(&ran), 1);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&ran), 1);
}
END_TEST

struct seen {
    void *item, *user_data;
};
static struct seen seen;

static void remember(void *item, void *user_data)
{
    seen = (struct seen){item, user_data};
}

START_TEST(run_gets_the_item_and_the_user_data)
{
    int item, user_data;
    smolscale_queue *queue = queue_new(remember, &user_data, 1);
    push(queue, &item);
    smolscale_queue_free(queue);
    ck_assert_ptr_eq(seen.item, &item);
    ck_assert_ptr_eq(seen.user_data, &user_data);
}
END_TEST

START_TEST(the_attributes_are_checked)
{
    int made_up;
    smolscale_queue *parent = queue_new(count, NULL, 1), *child, *queue;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    queue = (void *)&made_up;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), -EINVAL); // no run function

    attr.run = count;
    attr.flags = SMOLSCALE_QUEUE_DEDICATED;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), -EINVAL); // unlimited

    attr.max_active = 1;
    attr.parent = parent;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), -EINVAL); // dedicated with a parent

    attr.flags = 0;
    ck_assert_int_eq(smolscale_queue_new(&child, &attr), 0);
    attr.parent = child;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), -EINVAL); // a grandchild

    smolscale_queue_free(child);
    smolscale_queue_free(parent);
}
END_TEST

START_TEST(a_null_item_is_refused)
{
    smolscale_queue *queue = queue_new(count, NULL, 1);
    ck_assert_int_eq(smolscale_queue_push(queue, NULL, NULL), -EINVAL);
    ck_assert_int_eq(smolscale_queue_push_many(queue, NULL, 3, NULL), -EINVAL);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&ran), 0);
}
END_TEST

START_TEST(push_many_runs_the_item_that_often)
{
    smolscale_queue *queue = queue_new(count, NULL, SMOLSCALE_UNLIMITED);
    ck_assert_int_eq(smolscale_queue_push_many(queue, item_of(0), 1000, NULL), 0);
    ck_assert_int_eq(smolscale_queue_push_many(queue, item_of(0), 0, NULL), 0);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&ran), 1000);
}
END_TEST

START_TEST(the_tickets_of_push_many_follow_by_one_each)
{
    smolscale_queue *queue = queue_new(count, NULL, 0);
    uint64_t ticket = 0;
    ck_assert_int_eq(smolscale_queue_push_many(queue, item_of(0), 5, &ticket), 0);
    ck_assert_uint_ne(ticket, 0);
    for (unsigned i = 0; i < 5; i++)
        ck_assert(smolscale_queue_cancel(queue, item_of(0), ticket + i));
    ck_assert_uint_eq(smolscale_queue_pending(queue), 0);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&ran), 0);
}
END_TEST

START_TEST(with_max_active_1_items_run_in_the_order_of_their_push)
{
    struct log log = {.length = 0};
    smolscale_queue *queue = queue_new(log_item, &log, 1);
    for (unsigned round = 0; round < SCALED(400); round++) {
        log.length = 0;
        for (unsigned i = 0; i < 256; i++)
            push(queue, item_of(i));
        smolscale_queue_wait(queue);
        ck_assert_uint_eq(log.length, 256);
        for (unsigned i = 0; i < 256; i++)
            ck_assert_uint_eq(log.entry[i], i);
    }
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(a_queued_item_can_be_cancelled_and_never_runs)
{
    struct log log = {.gate = GATE_INIT};
    smolscale_queue *queue = queue_new(log_item, &log, 1);
    uint64_t ticket[3];
    push(queue, &log.gate);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(smolscale_queue_push(queue, item_of(i), &ticket[i]), 0);
    counter_wait(&log.gate.entered, 1);
    ck_assert(smolscale_queue_cancel(queue, item_of(1), ticket[1]));
    ck_assert(!smolscale_queue_cancel(queue, item_of(1), ticket[1]));
    counter_add(&log.gate.open, 1);
    smolscale_queue_free(queue);
    CK_LOG(&log, 0, 2);
}
END_TEST

START_TEST(without_a_ticket_cancel_finds_the_newest_of_equal_items)
{
    struct log log = {.gate = GATE_INIT};
    smolscale_queue *queue = queue_new(log_item, &log, 1);
    push(queue, &log.gate);
    counter_wait(&log.gate.entered, 1);
    for (unsigned i = 0; i < 5; i++)
        push(queue, item_of(i % 3)); // 0 1 2 0 1
    ck_assert(smolscale_queue_cancel(queue, item_of(0), 0));
    ck_assert(smolscale_queue_cancel(queue, item_of(1), 0));
    ck_assert(!smolscale_queue_cancel(queue, item_of(7), 0));
    counter_add(&log.gate.open, 1);
    smolscale_queue_free(queue);
    CK_LOG(&log, 0, 1, 2);
}
END_TEST

START_TEST(a_running_or_finished_item_cannot_be_cancelled)
{
    struct log log = {.gate = GATE_INIT};
    smolscale_queue *queue = queue_new(log_item, &log, 1);
    uint64_t ticket;
    ck_assert_int_eq(smolscale_queue_push(queue, &log.gate, &ticket), 0);
    counter_wait(&log.gate.entered, 1);
    ck_assert(!smolscale_queue_cancel(queue, &log.gate, ticket));
    ck_assert(!smolscale_queue_cancel(queue, &log.gate, 0));
    counter_add(&log.gate.open, 1);
    smolscale_queue_wait(queue);
    ck_assert(!smolscale_queue_cancel(queue, &log.gate, ticket));
    ck_assert(!smolscale_queue_cancel(queue, &log.gate, 0));
    smolscale_queue_free(queue);
}
END_TEST

// A ticket is a hint where the item is; the item decides.
START_TEST(a_wrong_ticket_never_cancels_another_item)
{
    struct log log = {.gate = GATE_INIT};
    smolscale_queue *queue = queue_new(log_item, &log, 1);
    uint64_t ticket[3];
    push(queue, &log.gate);
    counter_wait(&log.gate.entered, 1);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(smolscale_queue_push(queue, item_of(i), &ticket[i]), 0);
    const uint64_t wrong[] = {ticket[1], ticket[2] + 1000, UINT64_MAX};
    bool cancelled = false;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cancelled |= smolscale_queue_cancel(queue, item_of(0), wrong[i]);
    ck_assert_uint_eq(smolscale_queue_pending(queue), cancelled ? 2 : 3);
    ck_assert(!smolscale_queue_cancel(queue, item_of(7), ticket[2]));
    counter_add(&log.gate.open, 1);
    smolscale_queue_free(queue);
    if (cancelled)
        CK_LOG(&log, 1, 2);
    else
        CK_LOG(&log, 0, 1, 2);
}
END_TEST

START_TEST(a_stale_ticket_cancels_the_item_that_is_queued_again_or_nothing)
{
    struct log log = {.gate = GATE_INIT};
    smolscale_queue *queue = queue_new(log_item, &log, 1);
    uint64_t stale, fresh;
    ck_assert_int_eq(smolscale_queue_push(queue, item_of(0), &stale), 0);
    smolscale_queue_wait(queue);
    ck_assert(!smolscale_queue_cancel(queue, item_of(0), stale));
    log.length = 0;
    push(queue, &log.gate);
    counter_wait(&log.gate.entered, 1);
    push(queue, item_of(1));
    ck_assert_int_eq(smolscale_queue_push(queue, item_of(0), &fresh), 0);
    ck_assert_uint_ne(stale, fresh);
    bool cancelled = smolscale_queue_cancel(queue, item_of(0), stale);
    ck_assert_int_eq(smolscale_queue_cancel(queue, item_of(0), fresh), !cancelled);
    counter_add(&log.gate.open, 1);
    smolscale_queue_free(queue);
    CK_LOG(&log, 1);
}
END_TEST

static uint64_t *ticket_to_see;
static uint64_t ticket_seen;

static void look_at_ticket(void *item, void *user_data)
{
    (void)item, (void)user_data;
    ticket_seen = *(volatile uint64_t *)ticket_to_see;
}

START_TEST(the_ticket_is_written_before_the_item_can_run)
{
    smolscale_queue *queue = queue_new(look_at_ticket, NULL, 1);
    for (unsigned i = 0; i < SCALED(2000); i++) {
        uint64_t ticket = 0;
        ticket_to_see = &ticket;
        ck_assert_int_eq(smolscale_queue_push(queue, item_of(0), &ticket), 0);
        smolscale_queue_wait(queue);
        ck_assert_uint_ne(ticket, 0);
        ck_assert_uint_eq(ticket_seen, ticket);
    }
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(move_to_front_makes_an_item_the_next_to_start)
{
    struct log log = {.gate = GATE_INIT};
    smolscale_queue *queue = queue_new(log_item, &log, 1);
    push(queue, &log.gate);
    for (unsigned i = 0; i < 5; i++)
        push(queue, item_of(i));
    counter_wait(&log.gate.entered, 1);
    ck_assert(smolscale_queue_move_to_front(queue, item_of(3)));
    ck_assert(smolscale_queue_move_to_front(queue, item_of(1)));
    ck_assert(!smolscale_queue_move_to_front(queue, item_of(9)));
    ck_assert(!smolscale_queue_move_to_front(queue, &log.gate));
    counter_add(&log.gate.open, 1);
    smolscale_queue_free(queue);
    CK_LOG(&log, 1, 3, 0, 2, 4);
}
END_TEST

START_TEST(a_moved_item_is_cancelled_by_its_ticket)
{
    struct log log = {.gate = GATE_INIT};
    smolscale_queue *queue = queue_new(log_item, &log, 1);
    uint64_t ticket[4];
    push(queue, &log.gate);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(smolscale_queue_push(queue, item_of(i), &ticket[i]), 0);
    counter_wait(&log.gate.entered, 1);
    ck_assert(smolscale_queue_move_to_front(queue, item_of(2)));
    ck_assert(smolscale_queue_cancel(queue, item_of(2), ticket[2]));
    ck_assert(!smolscale_queue_cancel(queue, item_of(2), ticket[2]));
    ck_assert_uint_eq(smolscale_queue_pending(queue), 3);
    counter_add(&log.gate.open, 1);
    smolscale_queue_free(queue);
    CK_LOG(&log, 0, 1, 3);
}
END_TEST

static void log_only(void *item, void *user_data)
{
    struct log *log = user_data;
    log->entry[log->length++] = number_of(item);
}

START_TEST(clear_hands_all_queued_items_to_drop_in_order)
{
    struct log log = {.gate = GATE_INIT}, dropped = {.length = 0};
    smolscale_queue *queue = queue_new(log_item, &log, 1);
    push(queue, &log.gate);
    counter_wait(&log.gate.entered, 1);
    for (unsigned i = 0; i < 4; i++)
        push(queue, item_of(i));
    ck_assert(smolscale_queue_move_to_front(queue, item_of(2)));
    ck_assert_uint_eq(smolscale_queue_clear(queue, log_only, &dropped), 4);
    ck_assert_uint_eq(smolscale_queue_pending(queue), 0);
    ck_assert_uint_eq(smolscale_queue_clear(queue, log_only, &dropped), 0);
    push(queue, item_of(9));
    counter_add(&log.gate.open, 1);
    smolscale_queue_free(queue);
    CK_LOG(&dropped, 2, 0, 1, 3);
    CK_LOG(&log, 9);
}
END_TEST

static void push_dropped_again(void *item, void *user_data)
{
    push(user_data, item); // would hang if a lock were held
}

START_TEST(drop_may_push_to_the_same_queue)
{
    struct log log = {.gate = GATE_INIT};
    smolscale_queue *queue = queue_new(log_item, &log, 1);
    push(queue, &log.gate);
    counter_wait(&log.gate.entered, 1);
    for (unsigned i = 0; i < 3; i++)
        push(queue, item_of(i));
    ck_assert_uint_eq(smolscale_queue_clear(queue, push_dropped_again, queue), 3);
    ck_assert_uint_eq(smolscale_queue_pending(queue), 3);
    counter_add(&log.gate.open, 1);
    smolscale_queue_free(queue);
    CK_LOG(&log, 0, 1, 2);
}
END_TEST

START_TEST(pending_and_active_count_what_waits_and_what_runs)
{
    struct gate gate = GATE_INIT;
    smolscale_queue *queue = queue_new(pass_gate, NULL, 2);
    ck_assert_uint_eq(smolscale_queue_pending(queue), 0);
    ck_assert_uint_eq(smolscale_queue_active(queue), 0);
    for (unsigned i = 0; i < 5; i++)
        push(queue, &gate);
    counter_wait(&gate.entered, 2);
    ck_assert_uint_eq(smolscale_queue_pending(queue), 3);
    ck_assert_uint_eq(smolscale_queue_active(queue), 2);
    counter_add(&gate.open, 1);
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(smolscale_queue_pending(queue), 0);
    ck_assert_uint_eq(smolscale_queue_active(queue), 0);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(a_paused_queue_runs_nothing_until_its_limit_is_raised)
{
    struct log log = {.length = 0};
    smolscale_queue *queue = queue_new(log_item, &log, 0);
    smolscale_queue *other = queue_new(count, NULL, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < 3; i++)
        push(queue, item_of(i));
    push(other, item_of(0)); // the executor runs meanwhile
    smolscale_queue_wait(other);
    ck_assert_uint_eq(log.length, 0);
    ck_assert_uint_eq(smolscale_queue_pending(queue), 3);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 1), 0);
    smolscale_queue_wait(queue);
    CK_LOG(&log, 0, 1, 2);
    smolscale_queue_free(queue);
    smolscale_queue_free(other);
}
END_TEST

START_TEST(lowering_the_limit_to_0_stops_further_jobs_only)
{
    struct log log = {.gate = GATE_INIT};
    smolscale_queue *queue = queue_new(log_item, &log, 1);
    smolscale_queue *other = queue_new(count, NULL, 1);
    push(queue, &log.gate);
    push(queue, item_of(0));
    counter_wait(&log.gate.entered, 1);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 0), 0);
    counter_add(&log.gate.open, 1);
    EVENTUALLY(smolscale_queue_active(queue), ==, 0);
    push(other, item_of(0));
    smolscale_queue_wait(other);
    ck_assert_uint_eq(log.length, 0);
    ck_assert_uint_eq(smolscale_queue_pending(queue), 1);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 5), 0);
    smolscale_queue_free(queue);
    smolscale_queue_free(other);
    CK_LOG(&log, 0);
}
END_TEST

START_TEST(raising_the_limit_starts_waiting_jobs_at_once)
{
    struct gate gate = GATE_INIT;
    smolscale_queue *queue = queue_new(pass_gate, NULL, 1);
    for (unsigned i = 0; i < 6; i++)
        push(queue, &gate);
    counter_wait(&gate.entered, 1);
    ck_assert_uint_eq(smolscale_queue_active(queue), 1);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 6), 0);
    counter_wait(&gate.entered, 6); // all at once, though none ends
    counter_add(&gate.open, 1);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(wait_returns_at_once_on_an_empty_queue_and_starts_no_thread)
{
    struct tids others;
    threads_before_first_use(&others);
    smolscale_queue *queue = queue_new(count, NULL, SMOLSCALE_UNLIMITED);
    smolscale_queue_wait(queue);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(threads_new(&others), 0);
}
END_TEST

static void *wait_for_queue(void *queue)
{
    smolscale_queue_wait(queue);
    return NULL;
}

START_TEST(several_threads_may_wait_for_one_queue)
{
    struct gate gate = GATE_INIT;
    smolscale_queue *queue = queue_new(pass_gate, NULL, 2);
    for (unsigned i = 0; i < 4; i++)
        push(queue, &gate);
    counter_wait(&gate.entered, 2);
    pthread_t waiter[8];
    for (unsigned i = 0; i < 8; i++)
        waiter[i] = thread_start(wait_for_queue, queue);
    counter_add(&gate.open, 1);
    for (unsigned i = 0; i < 8; i++)
        pthread_join(waiter[i], NULL);
    ck_assert_uint_eq(smolscale_queue_pending(queue), 0);
    ck_assert_uint_eq(counter_get(&gate.entered), 4);
    smolscale_queue_free(queue);
}
END_TEST

// Pushes to the inner queue, waits for it, and says whether this thread ran the inner job.
static pthread_t inner_thread;
static bool outer_ran_inner;

static void note_thread(void *item, void *user_data)
{
    (void)item, (void)user_data;
    inner_thread = pthread_self();
}

static void wait_for_inner(void *item, void *user_data)
{
    (void)user_data;
    push(item, item_of(0));
    smolscale_queue_wait(item);
    outer_ran_inner = pthread_equal(inner_thread, pthread_self());
    atomic_fetch_add(&ran, 1);
}

START_TEST(a_job_that_waits_for_another_queue_runs_none_of_its_jobs)
{
    smolscale_queue *inner = queue_new(note_thread, NULL, 1);
    smolscale_queue *outer = queue_new(wait_for_inner, NULL, 1);
    for (unsigned i = 0; i < 100; i++) {
        push(outer, inner);
        smolscale_queue_wait(outer);
        ck_assert(!outer_ran_inner);
    }
    ck_assert_uint_eq(atomic_load(&ran), 100);
    smolscale_queue_free(outer);
    smolscale_queue_free(inner);
}
END_TEST

START_TEST(free_takes_null)
{
    smolscale_queue_free(NULL);
    ck_assert_uint_eq(stats_now().workers, 0);
}
END_TEST

START_TEST(free_runs_what_is_queued)
{
    smolscale_queue *queue = queue_new(count, NULL, 1);
    for (unsigned i = 0; i < 1000; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&ran), 1000);
}
END_TEST

// What the callback of close() saw.
static struct {
    struct counter called;
    bool in_worker;
    unsigned ran_before;
    pthread_t thread;
} at_close = {.called = COUNTER_INIT};

static void closed(void *user_data)
{
    ck_assert_ptr_eq(user_data, &at_close);
    at_close.in_worker = smolscale_in_worker();
    at_close.ran_before = atomic_load(&ran);
    at_close.thread = pthread_self();
    counter_add(&at_close.called, 1);
}

START_TEST(closing_an_idle_queue_calls_back_within_the_call)
{
    smolscale_queue *queue = queue_new(count, NULL, 1);
    push(queue, item_of(0));
    smolscale_queue_wait(queue);
    smolscale_queue_close(queue, closed, &at_close);
    ck_assert_uint_eq(counter_get(&at_close.called), 1);
    ck_assert(pthread_equal(at_close.thread, pthread_self()));
}
END_TEST

START_TEST(closing_an_unused_queue_without_a_callback_frees_it)
{
    smolscale_queue_close(queue_new(count, NULL, 1), NULL, NULL);
    smolscale_queue_close(queue_new(count, NULL, 0), NULL, NULL);
    ck_assert_uint_eq(stats_now().workers, 0);
}
END_TEST

static void gate_or_count(void *item, void *user_data)
{
    if (item == user_data)
        pass_gate(item, NULL);
    else
        count(item, NULL);
}

START_TEST(the_last_job_of_a_closed_queue_calls_back_from_its_worker)
{
    struct gate gate = GATE_INIT;
    smolscale_queue *queue = queue_new(gate_or_count, &gate, 1);
    push(queue, &gate);
    for (unsigned i = 0; i < 10; i++)
        push(queue, item_of(i));
    counter_wait(&gate.entered, 1);
    smolscale_queue_close(queue, closed, &at_close);
    ck_assert_uint_eq(counter_get(&at_close.called), 0);
    counter_add(&gate.open, 1);
    counter_wait(&at_close.called, 1);
    ck_assert(at_close.in_worker);
    ck_assert_uint_eq(at_close.ran_before, 10);
}
END_TEST

static int error_of_push;
static bool cancelled_in_job;

static void close_own_queue(void *item, void *user_data)
{
    (void)item, (void)user_data;
    smolscale_queue *queue = smolscale_current_queue();
    ck_assert_ptr_nonnull(queue);
    push(queue, item_of(7)); // will be cancelled
    smolscale_queue_close(queue, closed, &at_close);
    error_of_push = smolscale_queue_push(queue, item_of(1), NULL);
    cancelled_in_job = smolscale_queue_cancel(queue, item_of(7), 0);
    ck_assert_uint_eq(counter_get(&at_close.called), 0);
    atomic_fetch_add(&ran, 1);
}

START_TEST(a_job_may_close_its_own_queue_and_use_it_until_it_returns)
{
    smolscale_queue *queue = queue_new(close_own_queue, NULL, 1);
    push(queue, item_of(0));
    counter_wait(&at_close.called, 1);
    ck_assert_int_eq(error_of_push, -ESHUTDOWN);
    ck_assert(cancelled_in_job);
    ck_assert_uint_eq(at_close.ran_before, 1);
}
END_TEST

static void clear_own_queue(void *item, void *user_data)
{
    struct gate *gate = user_data;
    if (item != gate) {
        count(item, NULL);
        return;
    }
    pass_gate(gate, NULL);
    ck_assert_uint_eq(smolscale_queue_clear(smolscale_current_queue(), NULL, NULL), 5);
}

START_TEST(clearing_a_closed_queue_from_its_last_job_still_calls_back)
{
    struct gate gate = GATE_INIT;
    smolscale_queue *queue = queue_new(clear_own_queue, &gate, 1);
    push(queue, &gate);
    for (unsigned i = 0; i < 5; i++)
        push(queue, item_of(i));
    counter_wait(&gate.entered, 1);
    smolscale_queue_close(queue, closed, &at_close);
    counter_add(&gate.open, 1);
    counter_wait(&at_close.called, 1);
    ck_assert_uint_eq(at_close.ran_before, 0);
}
END_TEST

static smolscale_queue *other_queue;

static void busy_when_closed(void *user_data)
{
    (void)user_data;
    ck_assert_int_eq(smolscale_queue_push(other_queue, item_of(0), NULL), 0);
    smolscale_queue *fresh = queue_new(count, NULL, 1);
    push(fresh, item_of(0));
    smolscale_queue_free(fresh);
    counter_add(&at_close.called, 1);
}

START_TEST(the_close_callback_may_push_create_and_free_queues)
{
    struct gate gate = GATE_INIT;
    other_queue = queue_new(count, NULL, 1);
    smolscale_queue *queue = queue_new(pass_gate, NULL, 1);
    push(queue, &gate);
    counter_wait(&gate.entered, 1);
    smolscale_queue_close(queue, busy_when_closed, NULL);
    counter_add(&gate.open, 1);
    counter_wait(&at_close.called, 1);
    smolscale_queue_free(other_queue);
    ck_assert_uint_eq(atomic_load(&ran), 2);
}
END_TEST

static void free_the_queue(void *item, void *user_data)
{
    (void)user_data;
    smolscale_queue_free(item);
}

START_TEST(a_job_may_free_another_queue_that_is_busy)
{
    smolscale_queue *busy = queue_new(count, NULL, 1);
    smolscale_queue *queue = queue_new(free_the_queue, NULL, 1);
    for (unsigned i = 0; i < 1000; i++)
        push(busy, item_of(i));
    push(queue, busy);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&ran), 1000);
}
END_TEST

START_TEST(queues_come_and_go_in_numbers)
{
    enum { LIVE = 64 };
    smolscale_queue *live[LIVE] = {NULL};
    unsigned pushed = 0;
    uint64_t state = 1;
    for (unsigned i = 0; i < SCALED(20000); i++) {
        unsigned k = test_random(&state) % LIVE;
        if (!live[k])
            live[k] = queue_new(count, NULL, test_random(&state) % 4 + 1);
        for (unsigned n = test_random(&state) % 4; n > 0; n--, pushed++)
            push(live[k], item_of(i));
        if (test_random(&state) % 3 == 0) {
            if (test_random(&state) % 2)
                smolscale_queue_free(live[k]);
            else
                smolscale_queue_close(live[k], NULL, NULL);
            live[k] = NULL;
        }
    }
    for (unsigned k = 0; k < LIVE; k++)
        smolscale_queue_free(live[k]);
    EVENTUALLY(atomic_load(&ran), ==, pushed);
}
END_TEST

START_TEST(unused_calls_start_nothing)
{
    struct tids others;
    threads_before_first_use(&others);
    ck_assert(!smolscale_in_worker());
    ck_assert_ptr_null(smolscale_current_queue());
    ck_assert_uint_ge(smolscale_cpus(), 1);
    ck_assert_uint_eq(smolscale_idle_workers(), 0);
    smolscale_set_idle_timeout(0);
    smolscale_set_max_idle(SMOLSCALE_UNLIMITED);
    smolscale_retire_idle();
    smolscale_blocking_begin();
    smolscale_blocking_end();
    ck_assert_uint_eq(stats_now().workers_created, 0);
    ck_assert(!smolscale_disabled());
    ck_assert(!smolscale_elastic());
    smolscale_queue *queue = queue_new(count, NULL, 4);
    ck_assert_uint_eq(threads_new(&others), 0);
    smolscale_queue_free(queue);
}
END_TEST

static struct {
    bool in_worker;
    smolscale_queue *queue;
} inside;

static void look_inside(void *item, void *user_data)
{
    (void)item, (void)user_data;
    inside.in_worker = smolscale_in_worker();
    inside.queue = smolscale_current_queue();
}

START_TEST(a_job_knows_its_queue_and_that_it_runs_in_a_worker)
{
    smolscale_queue *queue = queue_new(look_inside, NULL, 1);
    push(queue, item_of(0));
    smolscale_queue_wait(queue);
    ck_assert(inside.in_worker);
    ck_assert_ptr_eq(inside.queue, queue);
    ck_assert(!smolscale_in_worker());
    ck_assert_ptr_null(smolscale_current_queue());
    smolscale_queue_free(queue);
}
END_TEST

int main(void)
{
    return test_suite("queue", (const TTest *[]){
                                   a_pushed_item_runs_once,
                                   run_gets_the_item_and_the_user_data,
                                   the_attributes_are_checked,
                                   a_null_item_is_refused,
                                   push_many_runs_the_item_that_often,
                                   the_tickets_of_push_many_follow_by_one_each,
                                   with_max_active_1_items_run_in_the_order_of_their_push,
                                   a_queued_item_can_be_cancelled_and_never_runs,
                                   without_a_ticket_cancel_finds_the_newest_of_equal_items,
                                   a_running_or_finished_item_cannot_be_cancelled,
                                   a_wrong_ticket_never_cancels_another_item,
                                   a_stale_ticket_cancels_the_item_that_is_queued_again_or_nothing,
                                   the_ticket_is_written_before_the_item_can_run,
                                   move_to_front_makes_an_item_the_next_to_start,
                                   a_moved_item_is_cancelled_by_its_ticket,
                                   clear_hands_all_queued_items_to_drop_in_order,
                                   drop_may_push_to_the_same_queue,
                                   pending_and_active_count_what_waits_and_what_runs,
                                   a_paused_queue_runs_nothing_until_its_limit_is_raised,
                                   lowering_the_limit_to_0_stops_further_jobs_only,
                                   raising_the_limit_starts_waiting_jobs_at_once,
                                   wait_returns_at_once_on_an_empty_queue_and_starts_no_thread,
                                   several_threads_may_wait_for_one_queue,
                                   a_job_that_waits_for_another_queue_runs_none_of_its_jobs,
                                   free_takes_null,
                                   free_runs_what_is_queued,
                                   closing_an_idle_queue_calls_back_within_the_call,
                                   closing_an_unused_queue_without_a_callback_frees_it,
                                   the_last_job_of_a_closed_queue_calls_back_from_its_worker,
                                   a_job_may_close_its_own_queue_and_use_it_until_it_returns,
                                   clearing_a_closed_queue_from_its_last_job_still_calls_back,
                                   the_close_callback_may_push_create_and_free_queues,
                                   a_job_may_free_another_queue_that_is_busy,
                                   queues_come_and_go_in_numbers,
                                   unused_calls_start_nothing,
                                   a_job_knows_its_queue_and_that_it_runs_in_a_worker,
                                   NULL,
                               });
}
