// SPDX-License-Identifier: ISC
//
// Arguments that are wrong: NULL, without meaning, in the wrong state, negative, huge. Three kinds:
//
//   * what the header names an error for, or calls harmless, gives just that and changes nothing;
//   * a NULL that the header does not allow ends the process where it is given, by SIGSEGV: not
//     later and elsewhere, and never silently;
//   * a handle that has been freed is undefined, as everywhere in C, and no test asks for it.
//
// Every function of smolscale.h is in one of the tables below.

#include "support.h"

#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "smolscale_async.h"

#define HUGE_SIZE (SIZE_MAX - 7)

static void run_nothing(void *item, void *user_data)
{
    (void)item, (void)user_data;
}

static int compare_nothing(const void *a, const void *b, void *compare_data)
{
    (void)a, (void)b, (void)compare_data;
    return 0;
}

static int end_at_once(smolscale_cx *cx, void *frame)
{
    (void)cx, (void)frame;
    return 0;
}

struct sleeper {
    SMOLSCALE_FRAME;
};
SMOLSCALE_ASYNC(sleeper, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_TRY(smolscale_sleep(cx, UINT64_MAX));
    SMOLSCALE_END;
}

// A number that is no open descriptor, and stays none.
static int closed_fd(void)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_cur < INT_MAX ? (int)limit.rlim_cur : INT_MAX - 1;
}

// ---------------------------------------------------------------------------------------------
// Answered with an error, or harmless
// ---------------------------------------------------------------------------------------------

// A call, and what it gives.
#define GIVES(call, expected)                                                                  \
    do {                                                                                       \
        long long got_ = (long long)(call), expected_ = (long long)(expected);                 \
        ck_assert_msg(got_ == expected_, "%s: expected %s (%lld), got %lld", #call, #expected, \
                      expected_, got_);                                                        \
    } while (0)

// The same for a function that makes something: an error, and NULL in `out`.
#define MAKES_NOTHING(out, call, expected)                                 \
    do {                                                                   \
        int made_up_;                                                      \
        (out) = (void *)&made_up_;                                         \
        GIVES(call, expected);                                             \
        ck_assert_msg((out) == NULL, "%s: the result is not NULL", #call); \
    } while (0)

START_TEST(queues_answer_wrong_arguments)
{
    smolscale_queue *out;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT, with;
    attr.run = run_nothing;
    MAKES_NOTHING(out, smolscale_queue_new(&out, NULL), -EINVAL);
#define REFUSED(change) \
    with = attr;        \
    with.change;        \
    MAKES_NOTHING(out, smolscale_queue_new(&out, &with), -EINVAL)
    REFUSED(run = NULL);
    REFUSED(size = 0);
    REFUSED(size = 1);
    REFUSED(size = sizeof attr + 1);
    REFUSED(size = SIZE_MAX);
    REFUSED(flags = 0x4);
    REFUSED(flags = UINT_MAX);
    REFUSED(flags = SMOLSCALE_QUEUE_DEDICATED); // and unlimited
#undef REFUSED

    attr.max_active = 0; // paused: what is queued stays
    smolscale_queue *queue;
    uint64_t ticket = 7;
    GIVES(smolscale_queue_new(&queue, &attr), 0);
    GIVES(smolscale_queue_push(queue, NULL, &ticket), -EINVAL);
    GIVES(smolscale_queue_push_many(queue, NULL, 3, &ticket), -EINVAL);
    GIVES(ticket, 7);
    GIVES(smolscale_queue_push_many(queue, item_of(1), 0, NULL), 0);
    GIVES(smolscale_queue_pending(queue), 0);
    GIVES(smolscale_queue_push(queue, item_of(1), &ticket), 0);
    GIVES(smolscale_queue_cancel(queue, NULL, 0), false);
    GIVES(smolscale_queue_cancel(queue, NULL, ticket), false);
    GIVES(smolscale_queue_cancel(queue, item_of(2), ticket), false);
    GIVES(smolscale_queue_cancel(queue, item_of(2), 0), false);
    GIVES(smolscale_queue_cancel(queue, item_of(1), UINT64_MAX), false);
    GIVES(smolscale_queue_cancel(queue, item_of(1), ticket + 1), false);
    GIVES(smolscale_queue_move_to_front(queue, NULL), false);
    GIVES(smolscale_queue_move_to_front(queue, item_of(2)), false);
    GIVES(smolscale_queue_pending(queue), 1);
    GIVES(smolscale_queue_clear(queue, NULL, NULL), 1);
    GIVES(smolscale_queue_clear(queue, NULL, NULL), 0);
    GIVES(smolscale_queue_cancel(queue, item_of(1), ticket), false);
    GIVES(smolscale_queue_set_compare(queue, NULL, NULL), 0);
    GIVES(smolscale_queue_set_max_active(queue, SMOLSCALE_UNLIMITED), 0);
    GIVES(smolscale_queue_active(queue), 0);
    smolscale_queue_free(queue);
    smolscale_queue_free(NULL);

    attr.flags = SMOLSCALE_QUEUE_DEDICATED;
    attr.max_active = 1;
    GIVES(smolscale_queue_new(&queue, &attr), 0);
    GIVES(smolscale_queue_set_max_active(queue, SMOLSCALE_UNLIMITED), -EINVAL);
    GIVES(stats_now().workers, 1);
    smolscale_queue_free(queue);
}
END_TEST

static void push_to_its_own(void *item, void *user_data)
{
    int *err = user_data;
    *err = smolscale_queue_push(smolscale_current_queue(), item, NULL);
}

static void note_close(void *user_data)
{
    counter_add(user_data, 1);
}

START_TEST(a_closed_queue_takes_nothing)
{
    int err = 0;
    struct counter closed = COUNTER_INIT;
    smolscale_queue *queue = queue_new(push_to_its_own, &err, 0);
    push(queue, item_of(1));
    smolscale_queue_close(queue, note_close, &closed);
    GIVES(smolscale_queue_push(queue, item_of(2), NULL), -ESHUTDOWN);
    GIVES(smolscale_queue_push_many(queue, item_of(2), 2, NULL), -ESHUTDOWN);
    GIVES(smolscale_queue_pending(queue), 1);
    GIVES(smolscale_queue_set_max_active(queue, 1), 0);
    counter_wait(&closed, 1);
    GIVES(err, -ESHUTDOWN);
}
END_TEST

START_TEST(groups_answer_wrong_arguments)
{
    smolscale_group *out;
    struct smolscale_group_attr attr = SMOLSCALE_GROUP_ATTR_INIT, with;
    MAKES_NOTHING(out, smolscale_group_new(&out, NULL), -EINVAL);
#define REFUSED(change) \
    with = attr;        \
    with.change;        \
    MAKES_NOTHING(out, smolscale_group_new(&out, &with), -EINVAL)
    REFUSED(size = 0);
    REFUSED(size = sizeof attr + 1);
    REFUSED(max_workers = 0);
    REFUSED(flags = 0x2);
    REFUSED(flags = UINT_MAX);
#undef REFUSED
    GIVES(smolscale_group_set_max_workers(NULL, 0), -EINVAL);
    GIVES(smolscale_group_set_max_workers(NULL, SMOLSCALE_UNLIMITED), 0);
    smolscale_group_set_max_idle(NULL, SMOLSCALE_UNLIMITED);
    smolscale_group_set_idle_timeout(NULL, UINT64_MAX);
    smolscale_group_set_idle_timeout(NULL, 0);
    smolscale_group_retire_idle(NULL);
    GIVES(smolscale_group_idle_workers(NULL), 0);
    GIVES(smolscale_group_suits(NULL), true);
    smolscale_group_free(NULL);
}
END_TEST

// A stack that no thread can have: the group exists, and its first push says that there is no
// thread, as if the system had refused it.
START_TEST(a_stack_that_cannot_be_had_is_a_thread_that_cannot)
{
    struct smolscale_group_attr attr = SMOLSCALE_GROUP_ATTR_INIT;
    attr.stack_size = SIZE_MAX / 2;
    smolscale_group *group;
    GIVES(smolscale_group_new(&group, &attr), 0);
    struct smolscale_queue_attr queue_attr = SMOLSCALE_QUEUE_ATTR_INIT;
    queue_attr.run = run_nothing;
    queue_attr.group = group;
    smolscale_queue *queue;
    GIVES(smolscale_queue_new(&queue, &queue_attr), 0);
    GIVES(smolscale_queue_push(queue, item_of(1), NULL), -EAGAIN);
    GIVES(smolscale_queue_clear(queue, NULL, NULL), 1);
    smolscale_queue_free(queue);
    smolscale_group_free(group);
}
END_TEST

START_TEST(tasks_answer_wrong_arguments)
{
    char byte = 0;
    smolscale_task *out;
    MAKES_NOTHING(out, smolscale_spawn(&out, end_at_once, NULL, HUGE_SIZE), -ENOMEM);
    MAKES_NOTHING(out, smolscale_spawn(&out, end_at_once, NULL, SIZE_MAX / 2), -ENOMEM);
    MAKES_NOTHING(out, smolscale_spawn(&out, NULL, NULL, 0), -EINVAL);
    GIVES(smolscale_spawn(NULL, NULL, &byte, 1), -EINVAL);
    GIVES(smolscale_block_on(NULL, NULL), -EINVAL);
    GIVES(SMOLSCALE_BLOCK(smolscale_unblock(cx, NULL, NULL)), -EINVAL);
    GIVES(smolscale_spawn(NULL, end_at_once, NULL, SIZE_MAX), -ENOMEM);
    smolscale_release(NULL);

    GIVES(smolscale_spawn(&out, end_at_once, &byte, 0), 0);
    GIVES(SMOLSCALE_BLOCK(smolscale_join(cx, out)), 0);
    GIVES(SMOLSCALE_BLOCK(smolscale_join(cx, out)), -EALREADY);
    GIVES(smolscale_cancel(out), false);
    smolscale_waker none = {NULL};
    smolscale_wake(none);
    smolscale_waker_drop(smolscale_waker_clone(none));
    smolscale_release(out);

    GIVES(SMOLSCALE_SPAWN(&out, sleeper), 0);
    GIVES(smolscale_cancel(out), true);
    GIVES(smolscale_cancel(out), false);
    GIVES(SMOLSCALE_BLOCK(smolscale_join(cx, out)), -ECANCELED);
    smolscale_release(out);
}
END_TEST

START_TEST(channels_answer_wrong_arguments)
{
    smolscale_channel *out;
    MAKES_NOTHING(out, smolscale_channel_new(&out, (size_t)INT_MAX + 1, 1), -EINVAL);
    MAKES_NOTHING(out, smolscale_channel_new(&out, SIZE_MAX, 1), -EINVAL);
    GIVES(smolscale_channel_ref(NULL) != NULL, false);
    smolscale_channel_unref(NULL);

    int message = 5;
    GIVES(smolscale_channel_new(&out, sizeof message, 0), 0); // a rendezvous with nobody
    GIVES(smolscale_try_send(out, &message), -EAGAIN);
    GIVES(smolscale_try_recv(out, &message), -EAGAIN);
    smolscale_close(out);
    smolscale_close(out);
    GIVES(smolscale_try_send(out, &message), -EPIPE);
    GIVES(smolscale_try_recv(out, &message), -EPIPE);
    GIVES(SMOLSCALE_BLOCK(smolscale_send(cx, out, &message)), -EPIPE);
    GIVES(SMOLSCALE_BLOCK(smolscale_recv(cx, out, &message)), -EPIPE);
    smolscale_channel_unref(out);

    GIVES(smolscale_channel_new(&out, 0, 1), 0); // messages of no bytes need no address
    GIVES(smolscale_try_send(out, NULL), 0);
    GIVES(smolscale_try_send(out, NULL), -EAGAIN);
    GIVES(smolscale_channel_count(out), 1);
    GIVES(smolscale_try_recv(out, NULL), 0);
    smolscale_channel_unref(out);

    // The largest message: there is no memory for many, and what there is is given back.
    GIVES(smolscale_channel_new(&out, INT_MAX, SMOLSCALE_UNLIMITED), 0);
    smolscale_channel_unref(out);
}
END_TEST

START_TEST(what_is_embedded_answers_wrong_arguments)
{
    smolscale_oneshot oneshot = SMOLSCALE_ONESHOT_INIT;
    void *value = NULL;
    GIVES(smolscale_oneshot_send(&oneshot, &value), 0);
    GIVES(smolscale_oneshot_send(&oneshot, NULL), -EALREADY);
    smolscale_oneshot_close(&oneshot); // no effect after a value
    GIVES(SMOLSCALE_BLOCK(smolscale_oneshot_recv(cx, &oneshot, &value)), 0);
    GIVES(value == &value, true);
    GIVES(SMOLSCALE_BLOCK(smolscale_oneshot_recv(cx, &oneshot, &value)), -EALREADY);
    oneshot = (smolscale_oneshot)SMOLSCALE_ONESHOT_INIT;
    smolscale_oneshot_close(&oneshot);
    smolscale_oneshot_close(&oneshot);
    GIVES(smolscale_oneshot_send(&oneshot, &value), -EALREADY);
    GIVES(SMOLSCALE_BLOCK(smolscale_oneshot_recv(cx, &oneshot, &value)), -EPIPE);

    smolscale_mutex mutex;
    smolscale_mutex_init(&mutex);
    GIVES(smolscale_mutex_unlock(&mutex), -EPERM);
    GIVES(smolscale_mutex_try_lock(&mutex), true);
    GIVES(smolscale_mutex_try_lock(&mutex), false);
    GIVES(smolscale_mutex_unlock(&mutex), 0);
    GIVES(smolscale_mutex_unlock(&mutex), -EPERM);

    smolscale_semaphore semaphore;
    smolscale_semaphore_init(&semaphore, 0);
    GIVES(smolscale_semaphore_try_acquire(&semaphore), false);
    smolscale_semaphore_release(&semaphore, 0);
    GIVES(smolscale_semaphore_try_acquire(&semaphore), false);
    smolscale_semaphore_release(&semaphore, UINT_MAX);
    smolscale_semaphore_release(&semaphore, UINT_MAX); // as many as there can be, and no overflow
    GIVES(smolscale_semaphore_try_acquire(&semaphore), true);
    GIVES(smolscale_semaphore_try_acquire(&semaphore), true);

    smolscale_waitgroup group;
    smolscale_waitgroup_init(&group, 0);
    GIVES(smolscale_waitgroup_done(&group), -EINVAL);
    GIVES(smolscale_waitgroup_add(&group, UINT_MAX), 0);
    GIVES(smolscale_waitgroup_add(&group, 1), -EOVERFLOW);
    GIVES(smolscale_waitgroup_add(&group, UINT_MAX), -EOVERFLOW);
    GIVES(smolscale_waitgroup_done(&group), 0);
    GIVES(smolscale_waitgroup_add(&group, 1), 0);
    smolscale_waitgroup_init(&group, 0);
    GIVES(SMOLSCALE_BLOCK(smolscale_waitgroup_wait(cx, &group)), 0);

    smolscale_barrier barrier;
    smolscale_barrier_init(&barrier, 0);
    GIVES(SMOLSCALE_BLOCK(smolscale_barrier_wait(cx, &barrier)), 1);
}
END_TEST

static int within(uint64_t ns, int (*await)(smolscale_cx *cx))
{
    smolscale_thread thread;
    smolscale_cx *cx = smolscale_thread_begin(&thread);
    smolscale_begin_timeout(cx, ns);
    return smolscale_thread_end(&thread, await(cx));
}

static int sleep_for_ever(smolscale_cx *cx)
{
    return smolscale_sleep(cx, UINT64_MAX);
}

static int sleep_until_the_end_of_time(smolscale_cx *cx)
{
    return smolscale_sleep_until(cx, UINT64_MAX);
}

static int wait_for_a_period_without_end(smolscale_cx *cx)
{
    static smolscale_interval interval;
    smolscale_interval_init(&interval, UINT64_MAX);
    return smolscale_interval_wait(cx, &interval);
}

START_TEST(times_may_have_any_value)
{
    GIVES(SMOLSCALE_BLOCK(smolscale_sleep(cx, 0)), 0);
    GIVES(SMOLSCALE_BLOCK(smolscale_sleep_until(cx, 0)), 0);
    GIVES(within(1, sleep_for_ever), -ETIMEDOUT);
    GIVES(within(1, sleep_until_the_end_of_time), -ETIMEDOUT);
    GIVES(within(1, wait_for_a_period_without_end), -ETIMEDOUT);
    smolscale_thread thread;
    smolscale_cx *cx = smolscale_thread_begin(&thread);
    GIVES(smolscale_deadline(cx, 0), 0);
    smolscale_begin_timeout(cx, UINT64_MAX); // never
    GIVES(smolscale_interrupted(cx), 0);
    GIVES(smolscale_clear_cancel(cx), false); // a thread is never cancelled
    smolscale_deadline(cx, 1);                // long passed
    GIVES(smolscale_interrupted(cx), -ETIMEDOUT);
    smolscale_deadline(cx, UINT64_MAX);
    GIVES(smolscale_interrupted(cx), 0);
    GIVES(smolscale_thread_end(&thread, 0), 0);
    smolscale_interval interval;
    smolscale_interval_init(&interval, 0);
    GIVES(SMOLSCALE_BLOCK(smolscale_interval_wait(cx, &interval)) >= 1, true);
}
END_TEST

START_TEST(descriptors_answer_wrong_arguments)
{
    const int wrong[] = {-1, INT_MIN, closed_fd(), INT_MAX};
    char bytes[8] = {0};
    struct sockaddr_in address = {.sin_family = AF_INET};
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int fd = wrong[i];
        GIVES(SMOLSCALE_BLOCK(smolscale_ready(cx, fd, SMOLSCALE_READABLE)), -EBADF);
        GIVES(SMOLSCALE_BLOCK(smolscale_read(cx, fd, bytes, sizeof bytes)), -EBADF);
        GIVES(SMOLSCALE_BLOCK(smolscale_write(cx, fd, bytes, sizeof bytes)), -EBADF);
        GIVES(SMOLSCALE_BLOCK(smolscale_accept(cx, fd)), -EBADF);
        GIVES(
            SMOLSCALE_BLOCK(smolscale_connect(cx, fd, (struct sockaddr *)&address, sizeof address)),
            -EBADF);
        smolscale_forget(fd);
    }
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    const int events[] = {0,  SMOLSCALE_HANGUP, SMOLSCALE_READABLE | SMOLSCALE_HANGUP, 8,
                          -1, INT_MIN};
    for (unsigned i = 0; i < sizeof events / sizeof events[0]; i++)
        GIVES(SMOLSCALE_BLOCK(smolscale_ready(cx, fds[0], events[i])), -EINVAL);
    GIVES(SMOLSCALE_BLOCK(smolscale_read(cx, fds[0], NULL, 0)), 0);
    GIVES(SMOLSCALE_BLOCK(smolscale_write(cx, fds[0], NULL, 0)), 0);
    GIVES(SMOLSCALE_BLOCK(smolscale_write(cx, fds[0], NULL, 1)), -EFAULT);
    GIVES(SMOLSCALE_BLOCK(smolscale_accept(cx, fds[0])), -EINVAL); // does not listen
    GIVES(SMOLSCALE_BLOCK(smolscale_write(cx, fds[1], bytes, sizeof bytes)), sizeof bytes);
    GIVES(SMOLSCALE_BLOCK(smolscale_read(cx, fds[0], NULL, sizeof bytes)), -EFAULT);
    GIVES(SMOLSCALE_BLOCK(smolscale_read(cx, fds[0], bytes, sizeof bytes)), sizeof bytes);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    GIVES(SMOLSCALE_BLOCK(smolscale_connect(cx, fd, NULL, 0)), -EINVAL);
    GIVES(SMOLSCALE_BLOCK(smolscale_connect(cx, fd, NULL, sizeof address)), -EFAULT);
    GIVES(SMOLSCALE_BLOCK(smolscale_connect(cx, fd, (struct sockaddr *)&address, UINT_MAX)),
          -EINVAL);
    const int open[] = {fds[0], fds[1], fd};
    for (unsigned i = 0; i < 3; i++) {
        smolscale_forget(open[i]);
        close(open[i]);
    }
}
END_TEST

START_TEST(supervisors_answer_wrong_arguments)
{
    char byte = 0;
    smolscale_immortal *immortal;
    const enum smolscale_respawn at_once = SMOLSCALE_RESPAWN_AT_ONCE;
    MAKES_NOTHING(immortal, smolscale_immortal_new(&immortal, NULL, NULL, 0, at_once, 0), -EINVAL);
    MAKES_NOTHING(
        immortal,
        smolscale_immortal_new(&immortal, end_at_once, NULL, 0, (enum smolscale_respawn)3, 0),
        -EINVAL);
    MAKES_NOTHING(
        immortal,
        smolscale_immortal_new(&immortal, end_at_once, NULL, 0, (enum smolscale_respawn) - 1, 0),
        -EINVAL);
    const size_t huge[] = {SIZE_MAX / 4, SIZE_MAX / 2, HUGE_SIZE, SIZE_MAX};
    smolscale_nursery *nursery;
    GIVES(smolscale_nursery_new(&nursery), 0);
    for (unsigned i = 0; i < sizeof huge / sizeof huge[0]; i++) {
        MAKES_NOTHING(immortal,
                      smolscale_immortal_new(&immortal, end_at_once, &byte, huge[i], at_once, 0),
                      -ENOMEM);
        GIVES(smolscale_nursery_spawn(nursery, end_at_once, &byte, huge[i]), -ENOMEM);
    }
    GIVES(smolscale_nursery_spawn(nursery, NULL, &byte, 1), -EINVAL);
    smolscale_task *ended = (void *)&ended;
    GIVES(SMOLSCALE_BLOCK(smolscale_nursery_next(cx, nursery, &ended)), -ENOENT);
    GIVES(ended == NULL, true);
    GIVES(SMOLSCALE_BLOCK(smolscale_nursery_wait(cx, nursery)), 0);
    smolscale_nursery_cancel(nursery);
    smolscale_nursery_free(nursery);
    smolscale_nursery_free(NULL);
    smolscale_immortal_free(NULL);

    smolscale_reaper *reaper;
    GIVES(smolscale_reaper_new(&reaper), 0);
    GIVES(smolscale_reaper_attach(reaper, NULL), -EINVAL);
    GIVES(smolscale_reaper_count(reaper), 0);
    smolscale_reaper_free(reaper);
    smolscale_reaper_free(NULL);

    // A delay without end, of which a random part is added: it is no short one.
    GIVES(SMOLSCALE_IMMORTAL(&immortal, SMOLSCALE_RESPAWN_JITTERED, UINT64_MAX, sleeper), 0);
    GIVES(smolscale_immortal_restarts(immortal), 0);
    smolscale_immortal_free(immortal);
}
END_TEST

START_TEST(a_local_queue_answers_wrong_arguments)
{
    char byte = 0;
    smolscale_local *local;
    smolscale_task *task;
    GIVES(smolscale_local_new(&local), 0);
    const size_t huge[] = {SIZE_MAX / 4, SIZE_MAX / 2, HUGE_SIZE, SIZE_MAX};
    for (unsigned i = 0; i < sizeof huge / sizeof huge[0]; i++)
        MAKES_NOTHING(task, smolscale_local_spawn(local, &task, end_at_once, &byte, huge[i]),
                      -ENOMEM);
    MAKES_NOTHING(task, smolscale_local_spawn(local, &task, NULL, NULL, 0), -EINVAL);
    GIVES(smolscale_local_run(local, NULL, NULL), -EINVAL);
    GIVES(smolscale_local_try_tick(local), false);
    smolscale_local_free(local);
    smolscale_local_free(NULL);
}
END_TEST

static int two_threads(void *context)
{
    (void)context;
    return 2;
}

static int fewer_than_no_thread(void *context)
{
    (void)context;
    return INT_MIN;
}

static void lend_nothing(void *context, void *team, void (*help)(void *team))
{
    (void)context, (void)team, (void)help;
}

static void count_items(void *context, size_t begin, size_t end, size_t thread)
{
    (void)thread;
    atomic_fetch_add((atomic_ulong *)context, end - begin);
}

static size_t run_none(const struct smolscale_loop *loop, struct smolscale_share *share,
                       size_t first, size_t end, size_t thread)
{
    (void)loop, (void)share, (void)first, (void)thread;
    return end;
}

START_TEST(teams_and_loops_answer_wrong_arguments)
{
    smolscale_team *out;
    struct smolscale_team_attr attr = SMOLSCALE_TEAM_ATTR_INIT, with;
    const struct smolscale_lender none = {NULL, lend_nothing, NULL},
                                  mute = {two_threads, NULL, NULL},
                                  strange = {fewer_than_no_thread, lend_nothing, NULL};
    MAKES_NOTHING(out, smolscale_team_new(&out, NULL), -EINVAL);
#define REFUSED(change, err) \
    with = attr;             \
    with.change;             \
    MAKES_NOTHING(out, smolscale_team_new(&out, &with), err)
    REFUSED(size = 0, -EINVAL);
    REFUSED(size = sizeof attr + 1, -EINVAL);
    REFUSED(flags = 0x2, -EINVAL);
    REFUSED(flags = UINT_MAX, -EINVAL);
    REFUSED(lender = &none, -EINVAL);
    REFUSED(lender = &mute, -EINVAL);
    REFUSED(max_threads = SIZE_MAX, -ENOMEM);
    REFUSED(max_threads = UINT32_MAX, -ENOMEM);
#undef REFUSED
    with = attr;
    with.max_threads = 3;
    with.lender = &strange; // a number without sense: as many as the team may have
    GIVES(smolscale_team_new(&out, &with), 0);
    GIVES(smolscale_team_set_lender(out, &strange), false); // it is that one
    smolscale_team_free(out);
    with.lender = NULL;
    GIVES(smolscale_team_new(&out, &with), 0);
    GIVES(smolscale_team_threads(out), 3);
    GIVES(smolscale_team_set_threads(out, SIZE_MAX), 3);
    GIVES(smolscale_team_set_threads(out, 0), 3);
    GIVES(smolscale_team_set_threads(out, 1), 1);
    smolscale_team_release_helpers(out);
    const struct smolscale_loop loop = {.run = run_none}, *nothing = &loop;
    smolscale_team_run(out, nothing, 0); // no items
    smolscale_team_run(NULL, nothing, SIZE_MAX);
    smolscale_team_free(out);
    smolscale_team_free(NULL);

    atomic_ulong items = 0;
    struct smolscale_parallel_attr huge = SMOLSCALE_PARALLEL_ATTR_INIT;
    huge.grain = huge.max_threads = SIZE_MAX;
    huge.flags = UINT_MAX;
    smolscale_parallel_for(5, 5, NULL, NULL, NULL); // an empty range calls nothing
    smolscale_parallel_for(5, 2, NULL, NULL, &huge);
    smolscale_parallel_for(SIZE_MAX, 0, NULL, NULL, NULL);
    smolscale_parallel_for(SIZE_MAX - 3, SIZE_MAX, count_items, &items, &huge);
    GIVES(atomic_load(&items), 3);
}
END_TEST

START_TEST(the_executor_answers_wrong_arguments)
{
    GIVES(smolscale_notify_soon(NULL), false); // no job
    smolscale_blocking_begin();                // no worker
    smolscale_blocking_end();
    smolscale_blocking_end();
    GIVES(smolscale_in_worker(), false);
    GIVES(smolscale_current_queue() != NULL, false);
    GIVES(smolscale_option("SMOLSCALE_NOTHING_LIKE_IT"), -1);
    GIVES(smolscale_option(""), -1);
    smolscale_say("");
    smolscale_set_max_idle(UINT_MAX);
    smolscale_set_idle_timeout(UINT64_MAX);
    smolscale_set_idle_timeout(0);
    smolscale_retire_idle();
    GIVES(smolscale_trim(), 0);
    GIVES(smolscale_idle_workers(), 0);
    GIVES(smolscale_busy_workers(), 0);
    GIVES(smolscale_running_threads(), 0);
    GIVES(smolscale_cpus() >= 1, true);

    struct {
        struct smolscale_stats stats;
        char beyond[64];
    } room;
    memset(&room, 0x5a, sizeof room);
    room.stats.size = 0;
    smolscale_get_stats(&room.stats); // writes nothing
    GIVES(room.stats.size, 0);
    GIVES(room.stats.jobs, 0x5a5a5a5a5a5a5a5a);
    room.stats.size = sizeof room; // of a caller that is newer
    smolscale_get_stats(&room.stats);
    for (unsigned i = 0; i < sizeof room.beyond; i++)
        GIVES(room.beyond[i], 0x5a);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// NULL that is not allowed
// ---------------------------------------------------------------------------------------------

// Sanitizers report such an access in their own ways.
#if !defined(TEST_TSAN) && !defined(TEST_ASAN)

static void ck_ended_by_fault(const char *call, pid_t pid)
{
    int status;
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV,
                  "%s: expected SIGSEGV, got %s %d", call, WIFSIGNALED(status) ? "signal" : "exit",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

// The compiler does not know that it is NULL.
static void *volatile null;
#define FAULTS(call)                                        \
    do {                                                    \
        pid_t pid_ = fork_child();                          \
        if (pid_ == 0) {                                    \
            setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); \
            (void)(call);                                   \
            _exit(0);                                       \
        }                                                   \
        ck_ended_by_fault(#call, pid_);                     \
    } while (0)
#define FAULTS_VOID(call) FAULTS(((call), 0))

START_TEST(NULL_where_it_is_not_allowed_ends_the_process_there)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run_nothing;
    FAULTS(smolscale_queue_new(null, &attr));
    FAULTS(smolscale_queue_push(null, item_of(1), NULL));
    FAULTS(smolscale_queue_push_many(null, item_of(1), 1, NULL));
    FAULTS(smolscale_queue_cancel(null, item_of(1), 0));
    FAULTS(smolscale_queue_move_to_front(null, item_of(1)));
    FAULTS(smolscale_queue_clear(null, NULL, NULL));
    FAULTS(smolscale_queue_pending(null));
    FAULTS(smolscale_queue_active(null));
    FAULTS(smolscale_queue_set_max_active(null, 1));
    FAULTS(smolscale_queue_set_compare(null, compare_nothing, NULL));
    FAULTS_VOID(smolscale_queue_set_label(null, "label", NULL));
    FAULTS_VOID(smolscale_queue_wait(null));
    FAULTS_VOID(smolscale_queue_close(null, NULL, NULL));

    FAULTS(SMOLSCALE_BLOCK(smolscale_join(cx, null)));
    FAULTS(smolscale_cancel(null));
    FAULTS(smolscale_finished(null));
    FAULTS(smolscale_thread_begin(null));

    FAULTS(smolscale_channel_new(null, 1, 1));
    FAULTS_VOID(smolscale_close(null));
    FAULTS(smolscale_try_send(null, &attr));
    FAULTS(smolscale_try_recv(null, &attr));
    FAULTS(smolscale_channel_count(null));
    FAULTS(smolscale_oneshot_send(null, &attr));
    FAULTS_VOID(smolscale_oneshot_close(null));
    FAULTS_VOID(smolscale_semaphore_init(null, 1));
    FAULTS(smolscale_semaphore_try_acquire(null));
    FAULTS_VOID(smolscale_semaphore_release(null, 1));
    FAULTS_VOID(smolscale_mutex_init(null));
    FAULTS(smolscale_mutex_try_lock(null));
    FAULTS(smolscale_mutex_unlock(null));
    FAULTS_VOID(smolscale_waitgroup_init(null, 1));
    FAULTS(smolscale_waitgroup_add(null, 1));
    FAULTS(smolscale_waitgroup_done(null));
    FAULTS_VOID(smolscale_barrier_init(null, 1));
    FAULTS_VOID(smolscale_interval_init(null, 1));
    FAULTS(SMOLSCALE_BLOCK(smolscale_send(cx, null, &attr)));
    FAULTS(SMOLSCALE_BLOCK(smolscale_recv(cx, null, &attr)));
    FAULTS(SMOLSCALE_BLOCK(smolscale_oneshot_recv(cx, null, NULL)));
    FAULTS(SMOLSCALE_BLOCK(smolscale_semaphore_acquire(cx, null)));
    FAULTS(SMOLSCALE_BLOCK(smolscale_mutex_lock(cx, null)));
    FAULTS(SMOLSCALE_BLOCK(smolscale_waitgroup_wait(cx, null)));
    FAULTS(SMOLSCALE_BLOCK(smolscale_barrier_wait(cx, null)));
    FAULTS(SMOLSCALE_BLOCK(smolscale_interval_wait(cx, null)));
    FAULTS(smolscale_sleep(null, 1));
    FAULTS(smolscale_deadline(null, 1));

    FAULTS(smolscale_immortal_new(null, end_at_once, NULL, 0, SMOLSCALE_RESPAWN_AT_ONCE, 0));
    FAULTS(smolscale_immortal_restarts(null));
    FAULTS(smolscale_reaper_new(null));
    FAULTS(smolscale_reaper_count(null));
    FAULTS(smolscale_nursery_new(null));
    FAULTS(smolscale_nursery_spawn(null, end_at_once, NULL, 0));
    FAULTS_VOID(smolscale_nursery_cancel(null));
    FAULTS(smolscale_local_new(null));
    FAULTS(smolscale_local_spawn(null, NULL, end_at_once, NULL, 0));
    FAULTS(smolscale_local_try_tick(null));
    FAULTS_VOID(smolscale_local_tick(null));
    FAULTS(smolscale_local_fd(null));
    FAULTS(smolscale_group_new(null, &(struct smolscale_group_attr)SMOLSCALE_GROUP_ATTR_INIT));
    FAULTS(smolscale_option(null));
    FAULTS_VOID(smolscale_get_stats(null));
    FAULTS_VOID(smolscale_say(null));

    FAULTS(*(volatile char *)smolscale_frame(null));
    FAULTS(smolscale_waker_new(null));
    FAULTS(smolscale_local_run(null, end_at_once, NULL));

    FAULTS(smolscale_team_new(null, &(struct smolscale_team_attr)SMOLSCALE_TEAM_ATTR_INIT));
    FAULTS(smolscale_team_threads(null));
    FAULTS(smolscale_team_set_threads(null, 1));
    FAULTS(smolscale_team_set_lender(null, null));
    FAULTS_VOID(smolscale_team_release_helpers(null));
    FAULTS_VOID(smolscale_team_run(NULL, null, sizeof(struct smolscale_loop)));

    // A function that is NULL, where no error can be returned, is called all the same.
    FAULTS_VOID(smolscale_parallel_for(0, 1, NULL, NULL, NULL));
    FAULTS_VOID(smolscale_team_run(NULL, &(struct smolscale_loop){.items = 1},
                                   sizeof(struct smolscale_loop)));
}
END_TEST

#endif

int main(void)
{
    return test_suite(
        "bad_input", (const TTest *[]) {
            queues_answer_wrong_arguments, a_closed_queue_takes_nothing,
                groups_answer_wrong_arguments, a_stack_that_cannot_be_had_is_a_thread_that_cannot,
                tasks_answer_wrong_arguments, channels_answer_wrong_arguments,
                what_is_embedded_answers_wrong_arguments, times_may_have_any_value,
                descriptors_answer_wrong_arguments, supervisors_answer_wrong_arguments,
                a_local_queue_answers_wrong_arguments, teams_and_loops_answer_wrong_arguments,
                the_executor_answers_wrong_arguments,
#if !defined(TEST_TSAN) && !defined(TEST_ASAN)
                NULL_where_it_is_not_allowed_ends_the_process_there,
#endif
                NULL,
        });
}
