// SPDX-License-Identifier: ISC
//
// What tasks and threads meet at: oneshot, semaphore, mutex, wait group, barrier, and blocking
// functions awaited. First the contracts, one by one; then stress from tasks and threads at once,
// with cancellations that race with handing over: nothing is lost, no permit is lost.

#include "smolscale_async.h"
#include "support.h"
#include "task/waitlist.h"

// ---------------------------------------------------------------------------------------------
// Helpers
// ---------------------------------------------------------------------------------------------

// How many wait there.
static unsigned waiting(smolscale_waitlist *list)
{
    unsigned n = 0;
    ss_list_lock(list);
    unsigned flags = ss_list_flags(list);
    for (struct smolscale_task *task = list->first; task; task = task->next)
        n++;
    ss_list_unlock_with(list, flags);
    return n;
}

static int join(smolscale_task *task)
{
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, task));
    smolscale_release(task);
    return result;
}

// Any spawn here must succeed.
#define SPAWN(out, ...) ck_assert_int_eq(SMOLSCALE_SPAWN((out), __VA_ARGS__), 0)

static int cancel_and_join(smolscale_task *task)
{
    smolscale_cancel(task);
    return join(task);
}

// ---------------------------------------------------------------------------------------------
// Oneshot
// ---------------------------------------------------------------------------------------------

static int values[4]; // whose addresses are sent

struct receive {
    SMOLSCALE_FRAME;
    smolscale_oneshot *oneshot;
    void *value;
    int result;
};

SMOLSCALE_ASYNC(receive, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->result, smolscale_oneshot_recv(cx, f->oneshot, &f->value));
    SMOLSCALE_RETURN(f->result);
    SMOLSCALE_END;
}

static void *value_of(smolscale_task *task)
{
    return ((struct receive *)smolscale_frame(task))->value;
}

START_TEST(a_value_sent_before_is_received_at_once)
{
    smolscale_oneshot oneshot = SMOLSCALE_ONESHOT_INIT;
    void *value = NULL;
    ck_assert_int_eq(smolscale_oneshot_send(&oneshot, &values[1]), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_oneshot_recv(cx, &oneshot, &value)), 0);
    ck_assert_ptr_eq(value, &values[1]);
}
END_TEST

START_TEST(a_task_that_waits_gets_the_value)
{
    smolscale_oneshot oneshot = SMOLSCALE_ONESHOT_INIT;
    smolscale_task *task;
    SPAWN(&task, receive, .oneshot = &oneshot);
    EVENTUALLY(waiting(&oneshot.waiters), ==, 1);
    ck_assert_int_eq(smolscale_oneshot_send(&oneshot, &values[2]), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), 0);
    ck_assert_ptr_eq(value_of(task), &values[2]);
    smolscale_release(task);
}
END_TEST

START_TEST(a_null_value_is_a_value)
{
    smolscale_oneshot oneshot = SMOLSCALE_ONESHOT_INIT;
    void *value = &values[0];
    ck_assert_int_eq(smolscale_oneshot_send(&oneshot, NULL), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_oneshot_recv(cx, &oneshot, &value)), 0);
    ck_assert_ptr_null(value);
}
END_TEST

START_TEST(a_closed_oneshot_gives_epipe_to_present_and_later_receivers)
{
    smolscale_oneshot oneshot = SMOLSCALE_ONESHOT_INIT;
    void *value = &values[3];
    smolscale_task *task;
    SPAWN(&task, receive, .oneshot = &oneshot);
    EVENTUALLY(waiting(&oneshot.waiters), ==, 1);
    smolscale_oneshot_close(&oneshot);
    ck_assert_int_eq(join(task), -EPIPE);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_oneshot_recv(cx, &oneshot, &value)), -EPIPE);
    ck_assert_ptr_eq(value, &values[3]);
    ck_assert_int_eq(smolscale_oneshot_send(&oneshot, NULL), -EALREADY);
}
END_TEST

START_TEST(a_oneshot_takes_one_value_and_gives_it_once)
{
    smolscale_oneshot oneshot = SMOLSCALE_ONESHOT_INIT;
    void *value = NULL;
    ck_assert_int_eq(smolscale_oneshot_send(&oneshot, &values[1]), 0);
    ck_assert_int_eq(smolscale_oneshot_send(&oneshot, &values[2]), -EALREADY);
    smolscale_oneshot_close(&oneshot); // without effect
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_oneshot_recv(cx, &oneshot, &value)), 0);
    ck_assert_ptr_eq(value, &values[1]);
    ck_assert_int_eq(smolscale_oneshot_send(&oneshot, &values[2]), -EALREADY);
    smolscale_oneshot_close(&oneshot);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_oneshot_recv(cx, &oneshot, &value)), -EALREADY);
}
END_TEST

START_TEST(a_second_receiver_gets_ebusy)
{
    smolscale_oneshot oneshot = SMOLSCALE_ONESHOT_INIT;
    void *value;
    smolscale_task *task;
    SPAWN(&task, receive, .oneshot = &oneshot);
    EVENTUALLY(waiting(&oneshot.waiters), ==, 1);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_oneshot_recv(cx, &oneshot, &value)), -EBUSY);
    smolscale_oneshot_send(&oneshot, &values[0]);
    ck_assert_int_eq(join(task), 0);
}
END_TEST

START_TEST(after_a_cancelled_receiver_another_gets_the_value)
{
    smolscale_oneshot oneshot = SMOLSCALE_ONESHOT_INIT;
    void *value = NULL;
    smolscale_task *task;
    SPAWN(&task, receive, .oneshot = &oneshot);
    EVENTUALLY(waiting(&oneshot.waiters), ==, 1);
    ck_assert_int_eq(cancel_and_join(task), -ECANCELED);
    ck_assert_int_eq(smolscale_oneshot_send(&oneshot, &values[2]), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_oneshot_recv(cx, &oneshot, &value)), 0);
    ck_assert_ptr_eq(value, &values[2]);
}
END_TEST

struct receive_cancelled {
    SMOLSCALE_FRAME;
    smolscale_oneshot *oneshot;
    void *value;
    int result;
};

SMOLSCALE_ASYNC(receive_cancelled, f)
{
    SMOLSCALE_BEGIN(f);
    smolscale_cancel(cx->task);
    SMOLSCALE_AWAIT(f->result, smolscale_oneshot_recv(cx, f->oneshot, &f->value));
    SMOLSCALE_RETURN(f->result);
    SMOLSCALE_END;
}

START_TEST(a_value_that_is_there_is_given_in_a_cancelled_task)
{
    smolscale_oneshot there = SMOLSCALE_ONESHOT_INIT, missing = SMOLSCALE_ONESHOT_INIT;
    smolscale_oneshot_send(&there, &values[1]);
    ck_assert_int_eq(SMOLSCALE_BLOCK_ON(receive_cancelled, .oneshot = &there), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK_ON(receive_cancelled, .oneshot = &missing), -ECANCELED);
    ck_assert_uint_eq(waiting(&missing.waiters), 0);
}
END_TEST

// Each round has a oneshot of its own, which the receiver frees at once: an access of the sender
// after that is found by a sanitizer, and may spoil the next round's, which lies at the same place.
struct rounds {
    smolscale_channel *offers; // of oneshots to be answered
    unsigned rounds;
};

struct answer {
    SMOLSCALE_FRAME;
    smolscale_channel *offers;
    smolscale_oneshot *oneshot;
};

SMOLSCALE_ASYNC(answer, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_TRY(smolscale_recv(cx, f->offers, &f->oneshot));
        ck_assert_int_eq(smolscale_oneshot_send(f->oneshot, f->oneshot), 0);
    }
    SMOLSCALE_END;
}

struct ask {
    SMOLSCALE_FRAME;
    smolscale_channel *offers;
    unsigned rounds;
    smolscale_oneshot *oneshot;
    void *value;
    int result;
};

SMOLSCALE_ASYNC(ask, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->rounds > 0; f->rounds--) {
        f->oneshot = calloc(1, sizeof *f->oneshot);
        SMOLSCALE_TRY(smolscale_send(cx, f->offers, &f->oneshot));
        SMOLSCALE_AWAIT(f->result, smolscale_oneshot_recv(cx, f->oneshot, &f->value));
        ck_assert_int_eq(f->result, 0);
        ck_assert_ptr_eq(f->value, f->oneshot);
        free(f->oneshot);
    }
    SMOLSCALE_END;
}

static void *answer_thread(void *offers)
{
    smolscale_oneshot *oneshot;
    while (SMOLSCALE_BLOCK(smolscale_recv(cx, offers, &oneshot)) == 0)
        ck_assert_int_eq(smolscale_oneshot_send(oneshot, oneshot), 0);
    return NULL;
}

static void *ask_thread(void *offers)
{
    for (unsigned i = 0; i < SCALED(2000); i++) {
        smolscale_oneshot *oneshot = calloc(1, sizeof *oneshot);
        void *value = NULL;
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_send(cx, offers, &oneshot)), 0);
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_oneshot_recv(cx, oneshot, &value)), 0);
        ck_assert_ptr_eq(value, oneshot);
        free(oneshot);
    }
    return NULL;
}

START_TEST(a_receiver_may_free_the_oneshot_at_once)
{
    enum { EACH = 3 };
    smolscale_channel *offers;
    smolscale_task *askers[EACH], *answerers[EACH];
    pthread_t asking[EACH], answering[EACH];
    ck_assert_int_eq(smolscale_channel_new(&offers, sizeof(void *), 4), 0);
    for (unsigned i = 0; i < EACH; i++) {
        SPAWN(&answerers[i], answer, .offers = offers);
        SPAWN(&askers[i], ask, .offers = offers, .rounds = SCALED(20000));
        answering[i] = thread_start(answer_thread, offers);
        asking[i] = thread_start(ask_thread, offers);
    }
    for (unsigned i = 0; i < EACH; i++) {
        ck_assert_int_eq(join(askers[i]), 0);
        pthread_join(asking[i], NULL);
    }
    smolscale_close(offers);
    for (unsigned i = 0; i < EACH; i++) {
        ck_assert_int_eq(join(answerers[i]), -EPIPE);
        pthread_join(answering[i], NULL);
    }
    smolscale_channel_unref(offers);
}
END_TEST

// Receives although it is cancelled meanwhile: a cancellation costs it nothing.
struct insist {
    SMOLSCALE_FRAME;
    smolscale_oneshot *oneshot;
    unsigned *cancelled;
    void *value;
    int result;
};

SMOLSCALE_ASYNC(insist, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_AWAIT(f->result, smolscale_oneshot_recv(cx, f->oneshot, &f->value));
        if (f->result != -ECANCELED)
            break;
        ++*f->cancelled;
        ck_assert(smolscale_clear_cancel(cx));
    }
    ck_assert_ptr_eq(f->value, f->oneshot);
    SMOLSCALE_RETURN(f->result);
    SMOLSCALE_END;
}

struct sending {
    pthread_barrier_t start;
    smolscale_oneshot *oneshot; // NULL: the end
};

static void *send_each_round(void *arg)
{
    struct sending *sending = arg;
    for (;;) {
        pthread_barrier_wait(&sending->start);
        if (!sending->oneshot)
            return NULL;
        smolscale_oneshot_send(sending->oneshot, sending->oneshot);
        pthread_barrier_wait(&sending->start);
    }
}

START_TEST(no_value_is_lost_when_cancelling_races_with_sending)
{
    struct sending sending;
    pthread_barrier_init(&sending.start, NULL, 2);
    pthread_t thread = thread_start(send_each_round, &sending);
    unsigned cancelled = 0;
    for (unsigned i = 0; i < SCALED(6000); i++) {
        smolscale_oneshot oneshot = SMOLSCALE_ONESHOT_INIT;
        smolscale_task *task;
        SPAWN(&task, insist, .oneshot = &oneshot, .cancelled = &cancelled);
        if (i % 2)
            EVENTUALLY(waiting(&oneshot.waiters), ==, 1);
        sending.oneshot = &oneshot;
        pthread_barrier_wait(&sending.start);
        smolscale_cancel(task);
        ck_assert_int_eq(join(task), 0);
        pthread_barrier_wait(&sending.start);
    }
    sending.oneshot = NULL;
    pthread_barrier_wait(&sending.start);
    pthread_join(thread, NULL);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Semaphore
// ---------------------------------------------------------------------------------------------

static struct counter passed = COUNTER_INIT;
static atomic_uint order[64], ordered;

struct acquire {
    SMOLSCALE_FRAME;
    smolscale_semaphore *semaphore;
    unsigned number;
    uint64_t timeout;
    int result;
};

// Notes its number when it has got the permit, and keeps that.
SMOLSCALE_ASYNC(acquire, f)
{
    SMOLSCALE_BEGIN(f);
    if (f->timeout)
        SMOLSCALE_TIMEOUT(f->result, f->timeout, smolscale_semaphore_acquire(cx, f->semaphore));
    else
        SMOLSCALE_AWAIT(f->result, smolscale_semaphore_acquire(cx, f->semaphore));
    if (f->result < 0)
        SMOLSCALE_RETURN(f->result);
    atomic_store(&order[atomic_fetch_add(&ordered, 1)], f->number);
    counter_add(&passed, 1);
    SMOLSCALE_END;
}

START_TEST(permits_are_given_until_none_is_left)
{
    smolscale_semaphore semaphore;
    smolscale_semaphore_init(&semaphore, 3);
    ck_assert(smolscale_semaphore_try_acquire(&semaphore));
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_semaphore_acquire(cx, &semaphore)), 0);
    ck_assert(smolscale_semaphore_try_acquire(&semaphore));
    ck_assert(!smolscale_semaphore_try_acquire(&semaphore));
    smolscale_semaphore_release(&semaphore, 1);
    ck_assert(smolscale_semaphore_try_acquire(&semaphore));
    ck_assert(!smolscale_semaphore_try_acquire(&semaphore));
}
END_TEST

// N tasks that wait, in the order of their numbers.
static void let_wait(smolscale_semaphore *semaphore, smolscale_task **task, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        SPAWN(&task[i], acquire, .semaphore = semaphore, .number = i);
        EVENTUALLY(waiting(&semaphore->waiters), ==, i + 1);
    }
}

START_TEST(waiters_get_permits_in_the_order_they_came)
{
    enum { N = 5 };
    smolscale_semaphore semaphore;
    smolscale_task *task[N];
    smolscale_semaphore_init(&semaphore, 0);
    let_wait(&semaphore, task, N);
    for (unsigned i = 0; i < N; i++) {
        smolscale_semaphore_release(&semaphore, 1);
        counter_wait(&passed, i + 1);
        ck_assert_uint_eq(waiting(&semaphore.waiters), N - 1 - i);
        ck_assert_uint_eq(atomic_load(&order[i]), i);
        ck_assert_int_eq(join(task[i]), 0);
    }
    ck_assert(!smolscale_semaphore_try_acquire(&semaphore));
}
END_TEST

START_TEST(permits_released_at_once_go_to_waiters_first_and_the_rest_stays)
{
    smolscale_semaphore semaphore;
    smolscale_task *task[3];
    smolscale_semaphore_init(&semaphore, 0);
    let_wait(&semaphore, task, 3);
    smolscale_semaphore_release(&semaphore, 4);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(join(task[i]), 0);
    ck_assert(smolscale_semaphore_try_acquire(&semaphore));
    ck_assert(!smolscale_semaphore_try_acquire(&semaphore));
}
END_TEST

START_TEST(permits_end_at_unlimited)
{
    smolscale_semaphore semaphore;
    smolscale_semaphore_init(&semaphore, SMOLSCALE_UNLIMITED - 1);
    smolscale_semaphore_release(&semaphore, 5);
    ck_assert_uint_eq(semaphore.waiters.count, SMOLSCALE_UNLIMITED);
    smolscale_semaphore_release(&semaphore, SMOLSCALE_UNLIMITED);
    ck_assert_uint_eq(semaphore.waiters.count, SMOLSCALE_UNLIMITED);
}
END_TEST

START_TEST(a_waiter_that_is_cancelled_takes_no_permit)
{
    smolscale_semaphore semaphore;
    smolscale_task *task[3];
    smolscale_semaphore_init(&semaphore, 0);
    let_wait(&semaphore, task, 3);
    ck_assert_int_eq(cancel_and_join(task[1]), -ECANCELED);
    ck_assert_uint_eq(waiting(&semaphore.waiters), 2);
    smolscale_semaphore_release(&semaphore, 3);
    ck_assert_int_eq(join(task[0]), 0);
    ck_assert_int_eq(join(task[2]), 0);
    ck_assert(smolscale_semaphore_try_acquire(&semaphore));
    ck_assert(!smolscale_semaphore_try_acquire(&semaphore));
}
END_TEST

START_TEST(a_waiter_whose_time_is_up_takes_no_permit)
{
    smolscale_semaphore semaphore;
    smolscale_task *task;
    smolscale_semaphore_init(&semaphore, 0);
    SPAWN(&task, acquire, .semaphore = &semaphore, .timeout = SS_NS_PER_MS);
    ck_assert_int_eq(join(task), -ETIMEDOUT);
    ck_assert_uint_eq(waiting(&semaphore.waiters), 0);
    smolscale_semaphore_release(&semaphore, 1);
    ck_assert(smolscale_semaphore_try_acquire(&semaphore));
}
END_TEST

struct acquire_cancelled {
    SMOLSCALE_FRAME;
    smolscale_semaphore *semaphore;
    int result;
};

SMOLSCALE_ASYNC(acquire_cancelled, f)
{
    SMOLSCALE_BEGIN(f);
    smolscale_cancel(cx->task);
    SMOLSCALE_AWAIT(f->result, smolscale_semaphore_acquire(cx, f->semaphore));
    SMOLSCALE_RETURN(f->result);
    SMOLSCALE_END;
}

START_TEST(a_cancelled_task_gets_no_permit)
{
    smolscale_semaphore semaphore;
    smolscale_semaphore_init(&semaphore, 1);
    ck_assert_int_eq(SMOLSCALE_BLOCK_ON(acquire_cancelled, .semaphore = &semaphore), -ECANCELED);
    ck_assert(smolscale_semaphore_try_acquire(&semaphore));
}
END_TEST

static atomic_uint inside, inside_peak;

static void enter(void)
{
    unsigned now = atomic_fetch_add(&inside, 1) + 1, peak = atomic_load(&inside_peak);
    while (now > peak && !atomic_compare_exchange_weak(&inside_peak, &peak, now))
        ;
}

struct visit {
    SMOLSCALE_FRAME;
    smolscale_semaphore *semaphore;
    unsigned visits;
};

SMOLSCALE_ASYNC(visit, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->visits > 0; f->visits--) {
        SMOLSCALE_TRY(smolscale_semaphore_acquire(cx, f->semaphore));
        enter();
        if (f->visits % 3 == 0)
            SMOLSCALE_YIELD();
        atomic_fetch_sub(&inside, 1);
        smolscale_semaphore_release(f->semaphore, 1);
    }
    SMOLSCALE_END;
}

static void *visit_thread(void *semaphore)
{
    for (unsigned i = 0; i < SCALED(2000); i++) {
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_semaphore_acquire(cx, semaphore)), 0);
        enter();
        if (i % 3 == 0)
            sched_yield();
        atomic_fetch_sub(&inside, 1);
        smolscale_semaphore_release(semaphore, 1);
    }
    return NULL;
}

START_TEST(no_more_than_the_permits_are_inside_under_stress)
{
    enum { TASKS = 20, THREADS = 4, PERMITS = 3 };
    smolscale_semaphore semaphore;
    smolscale_task *task[TASKS];
    pthread_t thread[THREADS];
    smolscale_semaphore_init(&semaphore, PERMITS);
    for (unsigned i = 0; i < TASKS; i++)
        SPAWN(&task[i], visit, .semaphore = &semaphore, .visits = SCALED(5000));
    for (unsigned i = 0; i < THREADS; i++)
        thread[i] = thread_start(visit_thread, &semaphore);
    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(join(task[i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    ck_assert_uint_le(atomic_load(&inside_peak), PERMITS);
    ck_assert_uint_eq(semaphore.waiters.count, PERMITS);
}
END_TEST

// Acquires until its end, whatever interrupts it; a permit it got counts, and is given back.
static atomic_uint got, not_got;

struct be_pestered {
    SMOLSCALE_FRAME;
    smolscale_semaphore *semaphore;
    unsigned tries;
    int result;
};

SMOLSCALE_ASYNC(be_pestered, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->tries > 0; f->tries--) {
        if (f->tries % 4 == 0)
            SMOLSCALE_TIMEOUT(f->result, f->tries % 7 * 1000,
                              smolscale_semaphore_acquire(cx, f->semaphore));
        else
            SMOLSCALE_AWAIT(f->result, smolscale_semaphore_acquire(cx, f->semaphore));
        smolscale_clear_cancel(cx);
        if (f->result < 0) {
            ck_assert(f->result == -ECANCELED || f->result == -ETIMEDOUT);
            atomic_fetch_add(&not_got, 1);
            continue;
        }
        atomic_fetch_add(&got, 1);
        SMOLSCALE_YIELD();
        smolscale_semaphore_release(f->semaphore, 1);
    }
    SMOLSCALE_END;
}

// Cancels tasks at random: so often and no more, because a barrier waits for a moment without.
struct pester {
    smolscale_task **task;
    unsigned tasks;
    atomic_bool stop;
};

static void *pester_thread(void *arg)
{
    struct pester *pester = arg;
    uint64_t random = (uintptr_t)&random;
    for (unsigned i = 0; i < SCALED(100000) && !atomic_load(&pester->stop); i++)
        smolscale_cancel(pester->task[test_random(&random) % pester->tasks]);
    return NULL;
}

START_TEST(no_permit_is_lost_when_interrupting_races_with_releasing)
{
    enum { TASKS = 12, PERMITS = 2 };
    unsigned tries = SCALED(20000);
    smolscale_semaphore semaphore;
    smolscale_task *task[TASKS];
    struct pester pester = {.task = task, .tasks = TASKS};
    pthread_t pestering[2];
    smolscale_semaphore_init(&semaphore, PERMITS);
    for (unsigned i = 0; i < TASKS; i++)
        SPAWN(&task[i], be_pestered, .semaphore = &semaphore, .tries = tries);
    for (unsigned i = 0; i < 2; i++)
        pestering[i] = thread_start(pester_thread, &pester);
    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task[i])), 0);
    atomic_store(&pester.stop, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(pestering[i], NULL);
    for (unsigned i = 0; i < TASKS; i++)
        smolscale_release(task[i]);
    ck_assert_uint_eq(atomic_load(&got) + atomic_load(&not_got), TASKS * tries);
    ck_assert_uint_gt(atomic_load(&got), 0);
    ck_assert_uint_eq(semaphore.waiters.count, PERMITS);
    ck_assert_uint_eq(waiting(&semaphore.waiters), 0);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Mutex
// ---------------------------------------------------------------------------------------------

START_TEST(a_mutex_is_locked_once_and_unlocked_by_any_thread_or_task)
{
    smolscale_mutex mutex;
    smolscale_mutex_init(&mutex);
    ck_assert_int_eq(smolscale_mutex_unlock(&mutex), -EPERM);
    ck_assert(smolscale_mutex_try_lock(&mutex));
    ck_assert(!smolscale_mutex_try_lock(&mutex));
    ck_assert_int_eq(smolscale_mutex_unlock(&mutex), 0);
    ck_assert_int_eq(smolscale_mutex_unlock(&mutex), -EPERM);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_mutex_lock(cx, &mutex)), 0);
    ck_assert(!smolscale_mutex_try_lock(&mutex));
}
END_TEST

struct lock_once {
    SMOLSCALE_FRAME;
    smolscale_mutex *mutex;
    unsigned number;
    int result;
};

SMOLSCALE_ASYNC(lock_once, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_TRY(smolscale_mutex_lock(cx, f->mutex));
    atomic_store(&order[atomic_fetch_add(&ordered, 1)], f->number);
    SMOLSCALE_END;
}

START_TEST(a_mutex_is_handed_to_the_task_that_has_waited_longest)
{
    enum { N = 4 };
    smolscale_mutex mutex;
    smolscale_task *task[N];
    smolscale_mutex_init(&mutex);
    ck_assert(smolscale_mutex_try_lock(&mutex));
    for (unsigned i = 0; i < N; i++) {
        SPAWN(&task[i], lock_once, .mutex = &mutex, .number = i);
        EVENTUALLY(waiting(&mutex.semaphore.waiters), ==, i + 1);
    }
    for (unsigned i = 0; i < N; i++) {
        ck_assert_int_eq(smolscale_mutex_unlock(&mutex), 0);
        ck_assert(!smolscale_mutex_try_lock(&mutex)); // it is the waiter's already
        ck_assert_int_eq(join(task[i]), 0);
        ck_assert_uint_eq(atomic_load(&order[i]), i);
    }
    ck_assert_int_eq(smolscale_mutex_unlock(&mutex), 0);
}
END_TEST

static unsigned long guarded[2]; // by the mutex; plain, so that a sanitizer sees a race

struct add {
    SMOLSCALE_FRAME;
    smolscale_mutex *mutex;
    unsigned times;
};

SMOLSCALE_ASYNC(add, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->times > 0; f->times--) {
        SMOLSCALE_TRY(smolscale_mutex_lock(cx, f->mutex));
        guarded[0]++;
        if (f->times % 5 == 0)
            SMOLSCALE_YIELD(); // suspended, and it stays locked
        guarded[1]++;
        ck_assert_int_eq(smolscale_mutex_unlock(f->mutex), 0);
    }
    SMOLSCALE_END;
}

static void *add_thread(void *mutex)
{
    for (unsigned i = 0; i < SCALED(2000); i++) {
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_mutex_lock(cx, mutex)), 0);
        ck_assert_uint_eq(guarded[0], guarded[1]);
        guarded[0]++;
        guarded[1]++;
        ck_assert_int_eq(smolscale_mutex_unlock(mutex), 0);
    }
    return NULL;
}

START_TEST(a_mutex_excludes_tasks_and_threads_from_one_another)
{
    enum { TASKS = 16, THREADS = 4 };
    unsigned times = SCALED(10000);
    smolscale_mutex mutex;
    smolscale_task *task[TASKS];
    pthread_t thread[THREADS];
    smolscale_mutex_init(&mutex);
    for (unsigned i = 0; i < TASKS; i++)
        SPAWN(&task[i], add, .mutex = &mutex, .times = times);
    for (unsigned i = 0; i < THREADS; i++)
        thread[i] = thread_start(add_thread, &mutex);
    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(join(task[i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    ck_assert_uint_eq(guarded[0], TASKS * times + THREADS * SCALED(2000));
    ck_assert_uint_eq(guarded[1], guarded[0]);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Wait group
// ---------------------------------------------------------------------------------------------

struct wait_for {
    SMOLSCALE_FRAME;
    smolscale_waitgroup *group;
    int result;
};

SMOLSCALE_ASYNC(wait_for, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->result, smolscale_waitgroup_wait(cx, f->group));
    SMOLSCALE_RETURN(f->result);
    SMOLSCALE_END;
}

START_TEST(waiters_of_a_group_go_on_when_all_is_done)
{
    smolscale_waitgroup group;
    smolscale_task *task[2];
    smolscale_waitgroup_init(&group, 1);
    ck_assert_int_eq(smolscale_waitgroup_add(&group, 1), 0);
    SPAWN(&task[0], wait_for, .group = &group);
    SPAWN(&task[1], wait_for, .group = &group);
    EVENTUALLY(waiting(&group.waiters), ==, 2);
    ck_assert_int_eq(smolscale_waitgroup_done(&group), 0);
    ck_assert_uint_eq(waiting(&group.waiters), 2);
    ck_assert_int_eq(smolscale_waitgroup_done(&group), 0);
    ck_assert_int_eq(join(task[0]), 0);
    ck_assert_int_eq(join(task[1]), 0);
}
END_TEST

START_TEST(an_empty_group_is_not_waited_for_and_not_done_again)
{
    smolscale_waitgroup group;
    smolscale_waitgroup_init(&group, 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_waitgroup_wait(cx, &group)), 0);
    ck_assert_int_eq(smolscale_waitgroup_done(&group), -EINVAL);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_waitgroup_wait(cx, &group)), 0);
}
END_TEST

START_TEST(a_group_does_not_count_beyond_its_range)
{
    smolscale_waitgroup group;
    smolscale_waitgroup_init(&group, 1);
    ck_assert_int_eq(smolscale_waitgroup_add(&group, UINT32_MAX), -EOVERFLOW);
    ck_assert_int_eq(smolscale_waitgroup_done(&group), 0); // one, as before
    ck_assert_int_eq(smolscale_waitgroup_done(&group), -EINVAL);
    ck_assert_int_eq(smolscale_waitgroup_add(&group, UINT32_MAX), 0);
    ck_assert_int_eq(smolscale_waitgroup_add(&group, 1), -EOVERFLOW);
    ck_assert_int_eq(smolscale_waitgroup_done(&group), 0);
    ck_assert_int_eq(smolscale_waitgroup_add(&group, 1), 0);
}
END_TEST

START_TEST(a_cancelled_waiter_leaves_the_group_to_the_others)
{
    smolscale_waitgroup group;
    smolscale_task *task[2];
    smolscale_waitgroup_init(&group, 1);
    SPAWN(&task[0], wait_for, .group = &group);
    SPAWN(&task[1], wait_for, .group = &group);
    EVENTUALLY(waiting(&group.waiters), ==, 2);
    ck_assert_int_eq(cancel_and_join(task[0]), -ECANCELED);
    ck_assert_int_eq(smolscale_waitgroup_done(&group), 0);
    ck_assert_int_eq(join(task[1]), 0);
}
END_TEST

struct work {
    SMOLSCALE_FRAME;
    smolscale_waitgroup *group;
    unsigned *done; // written before done(), read after wait()
};

SMOLSCALE_ASYNC(work, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_YIELD();
    *f->done = 1;
    ck_assert_int_eq(smolscale_waitgroup_done(f->group), 0);
    SMOLSCALE_END;
}

// The group lies in memory that its waiter frees at once.
START_TEST(what_was_done_is_seen_after_the_wait_and_the_group_may_be_freed)
{
    enum { WORK = 20 };
    for (unsigned round = 0; round < SCALED(5000); round++) {
        smolscale_waitgroup *group = malloc(sizeof *group);
        unsigned done[WORK] = {0};
        smolscale_waitgroup_init(group, WORK);
        for (unsigned i = 0; i < WORK; i++)
            SPAWN(NULL, work, .group = group, .done = &done[i]);
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_waitgroup_wait(cx, group)), 0);
        free(group);
        for (unsigned i = 0; i < WORK; i++)
            ck_assert_uint_eq(done[i], 1);
    }
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Barrier
// ---------------------------------------------------------------------------------------------

struct meet {
    SMOLSCALE_FRAME;
    smolscale_barrier *barrier;
    int result;
};

SMOLSCALE_ASYNC(meet, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->result, smolscale_barrier_wait(cx, f->barrier));
    SMOLSCALE_RETURN(f->result);
    SMOLSCALE_END;
}

START_TEST(the_last_to_come_gets_one_and_the_others_zero)
{
    smolscale_barrier barrier;
    smolscale_barrier_init(&barrier, 3);
    for (unsigned round = 0; round < 3; round++) {
        smolscale_task *task[2];
        SPAWN(&task[0], meet, .barrier = &barrier);
        SPAWN(&task[1], meet, .barrier = &barrier);
        EVENTUALLY(waiting(&barrier.waiters), ==, 2);
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_barrier_wait(cx, &barrier)), 1);
        ck_assert_int_eq(join(task[0]), 0);
        ck_assert_int_eq(join(task[1]), 0);
    }
}
END_TEST

START_TEST(a_barrier_for_one_or_none_holds_no_task_up)
{
    for (unsigned parties = 0; parties <= 1; parties++) {
        smolscale_barrier barrier;
        smolscale_barrier_init(&barrier, parties);
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_barrier_wait(cx, &barrier)), 1);
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_barrier_wait(cx, &barrier)), 1);
    }
}
END_TEST

START_TEST(a_task_that_is_cancelled_at_a_barrier_has_not_come)
{
    smolscale_barrier barrier;
    smolscale_task *task[4];
    smolscale_barrier_init(&barrier, 3);
    SPAWN(&task[0], meet, .barrier = &barrier);
    SPAWN(&task[1], meet, .barrier = &barrier);
    EVENTUALLY(waiting(&barrier.waiters), ==, 2);
    ck_assert_int_eq(cancel_and_join(task[0]), -ECANCELED);
    SPAWN(&task[2], meet, .barrier = &barrier);
    EVENTUALLY(waiting(&barrier.waiters), ==, 2);
    ck_assert_int_eq(cancel_and_join(task[1]), -ECANCELED);
    SPAWN(&task[3], meet, .barrier = &barrier);
    EVENTUALLY(waiting(&barrier.waiters), ==, 2);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_barrier_wait(cx, &barrier)), 1);
    ck_assert_int_eq(join(task[2]), 0);
    ck_assert_int_eq(join(task[3]), 0);
}
END_TEST

// All are in the same round between two meetings.
enum { PARTIES_TASKS = 8, PARTIES_THREADS = 2, PARTIES = PARTIES_TASKS + PARTIES_THREADS };
static atomic_uint arrived, lasts;

struct march {
    SMOLSCALE_FRAME;
    smolscale_barrier *barrier;
    unsigned round, rounds;
    int result;
};

static void check_round(unsigned round)
{
    unsigned so_far = atomic_fetch_add(&arrived, 1);
    ck_assert_uint_ge(so_far, round * PARTIES);
    ck_assert_uint_lt(so_far, (round + 1) * PARTIES);
}

SMOLSCALE_ASYNC(march, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->round < f->rounds; f->round++) {
        check_round(f->round);
        SMOLSCALE_AWAIT(f->result, smolscale_barrier_wait(cx, f->barrier));
        ck_assert_int_ge(f->result, 0);
        atomic_fetch_add(&lasts, (unsigned)f->result);
    }
    SMOLSCALE_END;
}

struct march_of_thread {
    smolscale_barrier *barrier;
    unsigned rounds;
};

static void *march_thread(void *arg)
{
    struct march_of_thread *march = arg;
    for (unsigned round = 0; round < march->rounds; round++) {
        check_round(round);
        int result = SMOLSCALE_BLOCK(smolscale_barrier_wait(cx, march->barrier));
        ck_assert_int_ge(result, 0);
        atomic_fetch_add(&lasts, (unsigned)result);
    }
    return NULL;
}

START_TEST(no_task_passes_a_barrier_before_all_have_come)
{
    unsigned rounds = SCALED(3000);
    smolscale_barrier barrier;
    smolscale_task *task[PARTIES_TASKS];
    pthread_t thread[PARTIES_THREADS];
    struct march_of_thread of_thread = {&barrier, rounds};
    smolscale_barrier_init(&barrier, PARTIES);
    for (unsigned i = 0; i < PARTIES_TASKS; i++)
        SPAWN(&task[i], march, .barrier = &barrier, .rounds = rounds);
    for (unsigned i = 0; i < PARTIES_THREADS; i++)
        thread[i] = thread_start(march_thread, &of_thread);
    for (unsigned i = 0; i < PARTIES_TASKS; i++)
        ck_assert_int_eq(join(task[i]), 0);
    for (unsigned i = 0; i < PARTIES_THREADS; i++)
        pthread_join(thread[i], NULL);
    ck_assert_uint_eq(atomic_load(&lasts), rounds);
}
END_TEST

// Comes again after each cancellation, so that a round ends only when all wait at once.
struct march_on {
    SMOLSCALE_FRAME;
    smolscale_barrier *barrier;
    unsigned round, rounds;
    int result;
};

SMOLSCALE_ASYNC(march_on, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->round < f->rounds; f->round++) {
        do {
            SMOLSCALE_AWAIT(f->result, smolscale_barrier_wait(cx, f->barrier));
            smolscale_clear_cancel(cx);
        } while (f->result == -ECANCELED);
        ck_assert_int_ge(f->result, 0);
        atomic_fetch_add(&lasts, (unsigned)f->result);
    }
    SMOLSCALE_END;
}

START_TEST(rounds_of_a_barrier_end_once_while_waiters_are_cancelled)
{
    enum { TASKS = 6 };
    unsigned rounds = SCALED(3000);
    smolscale_barrier barrier;
    smolscale_task *task[TASKS];
    struct pester pester = {.task = task, .tasks = TASKS};
    smolscale_barrier_init(&barrier, TASKS);
    for (unsigned i = 0; i < TASKS; i++)
        SPAWN(&task[i], march_on, .barrier = &barrier, .rounds = rounds);
    pthread_t pestering = thread_start(pester_thread, &pester);
    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task[i])), 0);
    atomic_store(&pester.stop, true);
    pthread_join(pestering, NULL);
    for (unsigned i = 0; i < TASKS; i++)
        smolscale_release(task[i]);
    ck_assert_uint_eq(atomic_load(&lasts), rounds);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Blocking functions, awaited
// ---------------------------------------------------------------------------------------------

static struct counter begun = COUNTER_INIT, released = COUNTER_INIT, returned = COUNTER_INIT;

static int block_until_released(void *arg)
{
    counter_add(&begun, 1);
    counter_wait(&released, 1);
    counter_add(&returned, 1);
    return *(int *)arg;
}

static int return_at_once(void *arg)
{
    counter_add(&begun, 1);
    return *(int *)arg;
}

static int end_thread(void *arg)
{
    pthread_exit(arg);
}

struct call {
    SMOLSCALE_FRAME;
    int (*run)(void *arg);
    int value;
    uint64_t timeout;
    int result, later;
};

SMOLSCALE_ASYNC(call, f)
{
    SMOLSCALE_BEGIN(f);
    if (f->timeout)
        SMOLSCALE_TIMEOUT(f->result, f->timeout, smolscale_unblock(cx, f->run, &f->value));
    else
        SMOLSCALE_AWAIT(f->result, smolscale_unblock(cx, f->run, &f->value));
    SMOLSCALE_RETURN(f->result);
    SMOLSCALE_END;
}

START_TEST(a_blocking_function_gives_its_result)
{
    smolscale_task *task;
    int value = -7;
    SPAWN(&task, call, .run = return_at_once, .value = 42);
    ck_assert_int_eq(join(task), 42);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_unblock(cx, return_at_once, &value)), -7);
    ck_assert_int_eq(SMOLSCALE_BLOCK_ON(call, .run = return_at_once, .value = 5), 5);
}
END_TEST

START_TEST(blocking_functions_hold_up_neither_tasks_nor_one_another)
{
    enum { CALLS = 30 };
    smolscale_task *task[CALLS], *other;
    for (int i = 0; i < CALLS; i++)
        SPAWN(&task[i], call, .run = block_until_released, .value = i);
    counter_wait(&begun, CALLS);
    smolscale_oneshot oneshot = SMOLSCALE_ONESHOT_INIT;
    SPAWN(&other, receive, .oneshot = &oneshot);
    smolscale_oneshot_send(&oneshot, NULL);
    ck_assert_int_eq(join(other), 0);
    counter_add(&released, 1);
    for (int i = 0; i < CALLS; i++)
        ck_assert_int_eq(join(task[i]), i);
}
END_TEST

START_TEST(a_cancelled_task_waits_for_its_blocking_function)
{
    smolscale_task *task;
    SPAWN(&task, call, .run = block_until_released, .value = 1);
    counter_wait(&begun, 1);
    ck_assert(smolscale_cancel(task));
    ck_assert(!smolscale_finished(task));
    // Whatever runs tasks has come to this one's, if it were to be run, before the other ended.
    ck_assert_int_eq(SMOLSCALE_BLOCK_ON(call, .run = return_at_once, .value = 3), 3);
    ck_assert(!smolscale_finished(task));
    counter_add(&released, 1);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), -ECANCELED);
    ck_assert_uint_eq(counter_get(&returned), 1);
    smolscale_release(task);
}
END_TEST

START_TEST(a_timeout_waits_for_the_blocking_function)
{
    smolscale_task *task;
    SPAWN(&task, call, .run = block_until_released, .value = 1, .timeout = 1);
    counter_wait(&begun, 1);
    counter_add(&released, 1);
    ck_assert_int_eq(join(task), -ETIMEDOUT);
    SPAWN(&task, call, .run = block_until_released, .value = 2, .timeout = 3600 * SS_NS_PER_S);
    ck_assert_int_eq(join(task), 2);
}
END_TEST

struct call_cancelled {
    SMOLSCALE_FRAME;
    int value, result;
};

SMOLSCALE_ASYNC(call_cancelled, f)
{
    SMOLSCALE_BEGIN(f);
    smolscale_cancel(cx->task);
    SMOLSCALE_AWAIT(f->result, smolscale_unblock(cx, return_at_once, &f->value));
    SMOLSCALE_RETURN(f->result);
    SMOLSCALE_END;
}

START_TEST(a_cancelled_task_begins_no_blocking_function)
{
    ck_assert_int_eq(SMOLSCALE_BLOCK_ON(call_cancelled, .value = 1), -ECANCELED);
    ck_assert_uint_eq(counter_get(&begun), 0);
}
END_TEST

START_TEST(a_blocking_function_that_ends_its_thread_counts_as_cancelled)
{
    smolscale_task *task;
    SPAWN(&task, call, .run = end_thread);
    ck_assert_int_eq(join(task), -ECANCELED);
    SPAWN(&task, call, .run = return_at_once, .value = 8);
    ck_assert_int_eq(join(task), 8);
}
END_TEST

struct call_often {
    SMOLSCALE_FRAME;
    unsigned times;
    int value, result;
};

SMOLSCALE_ASYNC(call_often, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->times > 0; f->times--) {
        f->value = (int)f->times;
        SMOLSCALE_AWAIT(f->result, smolscale_unblock(cx, return_at_once, &f->value));
        if (smolscale_clear_cancel(cx))
            ck_assert(f->result == (int)f->times || f->result == -ECANCELED);
        else
            ck_assert_int_eq(f->result, (int)f->times);
    }
    SMOLSCALE_END;
}

START_TEST(blocking_functions_run_once_each_while_their_tasks_are_cancelled)
{
    enum { TASKS = 6 };
    unsigned times = SCALED(4000);
    smolscale_task *task[TASKS];
    struct pester pester = {.task = task, .tasks = TASKS};
    for (unsigned i = 0; i < TASKS; i++)
        SPAWN(&task[i], call_often, .times = times);
    pthread_t pestering = thread_start(pester_thread, &pester);
    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task[i])), 0);
    atomic_store(&pester.stop, true);
    pthread_join(pestering, NULL);
    for (unsigned i = 0; i < TASKS; i++)
        smolscale_release(task[i]);
    ck_assert_uint_gt(counter_get(&begun), 0);
    ck_assert_uint_le(counter_get(&begun), TASKS * times);
}
END_TEST

int main(void)
{
    return test_suite("sync", (const TTest *[]){
                                  a_value_sent_before_is_received_at_once,
                                  a_task_that_waits_gets_the_value,
                                  a_null_value_is_a_value,
                                  a_closed_oneshot_gives_epipe_to_present_and_later_receivers,
                                  a_oneshot_takes_one_value_and_gives_it_once,
                                  a_second_receiver_gets_ebusy,
                                  after_a_cancelled_receiver_another_gets_the_value,
                                  a_value_that_is_there_is_given_in_a_cancelled_task,
                                  a_receiver_may_free_the_oneshot_at_once,
                                  no_value_is_lost_when_cancelling_races_with_sending,
                                  permits_are_given_until_none_is_left,
                                  waiters_get_permits_in_the_order_they_came,
                                  permits_released_at_once_go_to_waiters_first_and_the_rest_stays,
                                  permits_end_at_unlimited,
                                  a_waiter_that_is_cancelled_takes_no_permit,
                                  a_waiter_whose_time_is_up_takes_no_permit,
                                  a_cancelled_task_gets_no_permit,
                                  no_more_than_the_permits_are_inside_under_stress,
                                  no_permit_is_lost_when_interrupting_races_with_releasing,
                                  a_mutex_is_locked_once_and_unlocked_by_any_thread_or_task,
                                  a_mutex_is_handed_to_the_task_that_has_waited_longest,
                                  a_mutex_excludes_tasks_and_threads_from_one_another,
                                  waiters_of_a_group_go_on_when_all_is_done,
                                  an_empty_group_is_not_waited_for_and_not_done_again,
                                  a_group_does_not_count_beyond_its_range,
                                  a_cancelled_waiter_leaves_the_group_to_the_others,
                                  what_was_done_is_seen_after_the_wait_and_the_group_may_be_freed,
                                  the_last_to_come_gets_one_and_the_others_zero,
                                  a_barrier_for_one_or_none_holds_no_task_up,
                                  a_task_that_is_cancelled_at_a_barrier_has_not_come,
                                  no_task_passes_a_barrier_before_all_have_come,
                                  rounds_of_a_barrier_end_once_while_waiters_are_cancelled,
                                  a_blocking_function_gives_its_result,
                                  blocking_functions_hold_up_neither_tasks_nor_one_another,
                                  a_cancelled_task_waits_for_its_blocking_function,
                                  a_timeout_waits_for_the_blocking_function,
                                  a_cancelled_task_begins_no_blocking_function,
                                  a_blocking_function_that_ends_its_thread_counts_as_cancelled,
                                  blocking_functions_run_once_each_while_their_tasks_are_cancelled,
                                  NULL,
                              });
}
