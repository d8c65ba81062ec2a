// SPDX-License-Identifier: ISC
//
// Contract 7, fairness: whatever a task does, the others get their turn.

#include "support.h"

#include <smolscale_async.h>

#include <signal.h>
#include <sys/mman.h>

#define MS SS_NS_PER_MS

static int join_and_release(smolscale_task *task)
{
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, task));
    smolscale_release(task);
    return result;
}

static smolscale_channel *channel_of(size_t size, unsigned capacity)
{
    smolscale_channel *channel;
    ck_assert_int_eq(smolscale_channel_new(&channel, size, capacity), 0);
    return channel;
}

static atomic_bool stop;
static atomic_uint polls;

// Runs until it is stopped, and lets others run.
struct yielder {
    SMOLSCALE_FRAME;
    unsigned turns;
};
SMOLSCALE_ASYNC(yielder, f)
{
    SMOLSCALE_BEGIN(f);
    while (!atomic_load(&stop)) {
        atomic_fetch_add(&polls, 1);
        f->turns++;
        SMOLSCALE_YIELD();
    }
    SMOLSCALE_END;
}

struct yielders {
    unsigned count;
    smolscale_task **task;
};

static struct yielders start_yielders(unsigned count)
{
    struct yielders y = {count, malloc(count * sizeof(smolscale_task *))};
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(SMOLSCALE_SPAWN(&y.task[i], yielder, .turns = 0), 0);
    unsigned before = atomic_load(&polls);
    EVENTUALLY(atomic_load(&polls) - before, >=, 10 * count);
    return y;
}

static void end_yielders(struct yielders y)
{
    atomic_store(&stop, true);
    for (unsigned i = 0; i < y.count; i++)
        ck_assert_int_eq(join_and_release(y.task[i]), 0);
    free(y.task);
}

// ---- the next slot

struct ring {
    SMOLSCALE_FRAME;
    smolscale_channel *from, *to;
    atomic_uint *hops;
    int got;
};
SMOLSCALE_ASYNC(ring, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_TRY(smolscale_recv(cx, f->from, NULL));
        atomic_fetch_add(f->hops, 1);
        SMOLSCALE_TRY(smolscale_send(cx, f->to, NULL));
    }
    SMOLSCALE_END;
}

struct watch_hops {
    SMOLSCALE_FRAME;
    atomic_uint *hops;
    unsigned turns, before, most;
};
SMOLSCALE_ASYNC(watch_hops, f)
{
    SMOLSCALE_BEGIN(f);
    f->before = atomic_load(f->hops);
    while (f->turns-- > 0) {
        SMOLSCALE_YIELD();
        unsigned now = atomic_load(f->hops);
        f->most = now - f->before > f->most ? now - f->before : f->most;
        f->before = now;
    }
    SMOLSCALE_RETURN((int)f->most);
    SMOLSCALE_END;
}

// Two tasks that pass a token to and fro always wake one another, by the next slot; a third wants
// its turn. On one lane it has it after three of theirs.
START_TEST(the_next_slot_runs_three_times_in_a_row_at_most)
{
    smolscale_permanently_single_threaded();
    smolscale_channel *there = channel_of(0, 1), *back = channel_of(0, 1);
    atomic_uint hops = 0;
    smolscale_task *a, *b, *third;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&a, ring, .from = there, .to = back, .hops = &hops), 0);
    ck_assert_int_eq(SMOLSCALE_SPAWN(&b, ring, .from = back, .to = there, .hops = &hops), 0);
    ck_assert_int_eq(smolscale_try_send(there, NULL), 0);
    EVENTUALLY(atomic_load(&hops), >=, 100);
    ck_assert_int_eq(SMOLSCALE_SPAWN(&third, watch_hops, .hops = &hops, .turns = 1000), 0);
    // A hop is one poll; one of the two may be in the queue besides, and has a turn of its own.
    ck_assert_int_le(join_and_release(third), 4);
    smolscale_close(there);
    smolscale_close(back);
    ck_assert_int_eq(join_and_release(a), -EPIPE);
    ck_assert_int_eq(join_and_release(b), -EPIPE);
    smolscale_channel_unref(there);
    smolscale_channel_unref(back);
}
END_TEST

// ---- what comes from outside

struct visitor {
    SMOLSCALE_FRAME;
    unsigned polls_then;
};
SMOLSCALE_ASYNC(visitor, f)
{
    SMOLSCALE_BEGIN(f);
    f->polls_then = atomic_load(&polls);
    SMOLSCALE_END;
}

// Within few turns of the queue; it is counted from when the spawn has returned, which may be late.
// On one lane: of two, one may count on for as long as the kernel keeps the other from its CPU.
START_TEST(a_task_from_outside_has_its_turn_while_the_queue_is_full)
{
    smolscale_permanently_single_threaded();
    enum { YIELDERS = 1000 };
    struct yielders y = start_yielders(YIELDERS);
    for (unsigned i = 0; i < 20; i++) {
        smolscale_task *task;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, visitor, .polls_then = 0), 0);
        unsigned spawned = atomic_load(&polls);
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), 0);
        int later = (int)(((struct visitor *)smolscale_frame(task))->polls_then - spawned);
        ck_assert_int_le(later, 5 * YIELDERS);
        smolscale_release(task);
    }
    end_yielders(y);
}
END_TEST

START_TEST(every_task_that_yields_has_as_many_turns)
{
    enum { YIELDERS = 200 };
    smolscale_permanently_single_threaded();
    struct yielders y = start_yielders(YIELDERS);
    unsigned before = atomic_load(&polls);
    EVENTUALLY(atomic_load(&polls) - before, >=, 100 * YIELDERS);
    atomic_store(&stop, true);
    unsigned least = UINT32_MAX, most = 0;
    for (unsigned i = 0; i < YIELDERS; i++) {
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, y.task[i])), 0);
        unsigned turns = ((struct yielder *)smolscale_frame(y.task[i]))->turns;
        least = turns < least ? turns : least;
        most = turns > most ? turns : most;
        smolscale_release(y.task[i]);
    }
    // They began one after the other, while the first ran already.
    ck_assert_msg(least >= 50, "expected at least 50 turns of each, one had %u, one %u", least,
                  most);
    free(y.task);
}
END_TEST

struct alarm_clock {
    SMOLSCALE_FRAME;
    uint64_t when;
    unsigned polls_then;
    int got;
};
SMOLSCALE_ASYNC(alarm_clock, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->got, smolscale_sleep_until(cx, f->when));
    f->polls_then = atomic_load(&polls);
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

START_TEST(timers_fire_while_a_thousand_tasks_yield)
{
    enum { YIELDERS = 1000, TIMERS = 20 };
    fake_clock_start();
    struct yielders y = start_yielders(YIELDERS);
    for (unsigned i = 0; i < TIMERS; i++) {
        smolscale_task *task;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, alarm_clock, .when = smolscale_now() + 1000), 0);
        unsigned before = atomic_load(&polls);
        EVENTUALLY(atomic_load(&polls) - before, >=, 5 * YIELDERS); // it sleeps by now
        ck_assert(!smolscale_finished(task));
        fake_clock_advance(1000); // 1 µs: the balancer does not look that often
        unsigned due = atomic_load(&polls);
        EVENTUALLY(smolscale_finished(task), ==, true); // a thread that joins would fire it itself
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), 0);
        int later = (int)(((struct alarm_clock *)smolscale_frame(task))->polls_then - due);
        ck_assert_int_le(later, 5 * YIELDERS);
        smolscale_release(task);
    }
    end_yielders(y);
}
END_TEST

// ---- tasks that do not yield

struct spinner {
    SMOLSCALE_FRAME;
    unsigned until;
};
SMOLSCALE_ASYNC(spinner, f)
{
    SMOLSCALE_BEGIN(f);
    while (atomic_load(&polls) < f->until)
        sched_yield();
    SMOLSCALE_END;
}

struct parent {
    SMOLSCALE_FRAME;
    smolscale_task *spinner, *others[10];
    unsigned i;
    int got;
};
SMOLSCALE_ASYNC(parent, f)
{
    SMOLSCALE_BEGIN(f);
    // All on the queue of one worker; the first polled holds it until the others have gone on.
    SMOLSCALE_TRY(SMOLSCALE_SPAWN(&f->spinner, spinner, .until = 5000));
    for (f->i = 0; f->i < 10; f->i++)
        SMOLSCALE_TRY(SMOLSCALE_SPAWN(&f->others[f->i], yielder, .turns = 0));
    SMOLSCALE_AWAIT(f->got, smolscale_join(cx, f->spinner));
    smolscale_release(f->spinner);
    atomic_store(&stop, true);
    for (f->i = 0; f->i < 10; f->i++) {
        SMOLSCALE_AWAIT(f->got, smolscale_join(cx, f->others[f->i]));
        smolscale_release(f->others[f->i]);
    }
    SMOLSCALE_END;
}

START_TEST(a_task_that_never_yields_holds_up_no_other)
{
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, parent, .i = 0), 0);
    ck_assert_int_eq(join_and_release(task), 0);
}
END_TEST

START_TEST(a_task_that_never_yields_holds_up_no_other_without_proc)
{
    no_proc_start();
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, parent, .i = 0), 0);
    ck_assert_int_eq(join_and_release(task), 0);
}
END_TEST

START_TEST(a_task_that_never_yields_holds_up_no_other_even_single_threaded)
{
    smolscale_permanently_single_threaded();
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, parent, .i = 0), 0);
    ck_assert_int_eq(join_and_release(task), 0);
}
END_TEST

// Many of them, each waiting for the next to have been polled, all from one queue.
static atomic_uint came;
struct follower {
    SMOLSCALE_FRAME;
    unsigned number;
};
SMOLSCALE_ASYNC(follower, f)
{
    SMOLSCALE_BEGIN(f);
    atomic_fetch_add(&came, 1);
    while (atomic_load(&came) < f->number)
        test_breathe(); // blocked
    SMOLSCALE_END;
}
struct leader {
    SMOLSCALE_FRAME;
    unsigned i;
};
SMOLSCALE_ASYNC(leader, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->i < 12; f->i++)
        SMOLSCALE_TRY(SMOLSCALE_SPAWN(NULL, follower, .number = 12));
    SMOLSCALE_END;
}

START_TEST(tasks_that_block_until_all_have_come_all_come)
{
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, leader, .i = 0), 0);
    ck_assert_int_eq(join_and_release(task), 0);
    EVENTUALLY(atomic_load(&came), ==, 12);
}
END_TEST

static int pipes[2];
struct reader {
    SMOLSCALE_FRAME;
    char c;
};
SMOLSCALE_ASYNC(reader, f)
{
    SMOLSCALE_BEGIN(f);
    ck_assert_int_eq(read(pipes[0], &f->c, 1), 1); // blocks the worker
    SMOLSCALE_RETURN(f->c);
    SMOLSCALE_END;
}
struct writer {
    SMOLSCALE_FRAME;
    smolscale_task *reader;
    unsigned i;
    int got;
};
SMOLSCALE_ASYNC(writer, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_TRY(SMOLSCALE_SPAWN(&f->reader, reader, .c = 0));
    for (f->i = 0; f->i < 10; f->i++)
        SMOLSCALE_YIELD(); // to the reader, which takes the worker with it
    ck_assert_int_eq(write(pipes[1], "x", 1), 1);
    SMOLSCALE_AWAIT(f->got, smolscale_join(cx, f->reader));
    smolscale_release(f->reader);
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

START_TEST(a_task_that_blocks_in_the_kernel_holds_up_no_other)
{
    ck_assert_int_eq(pipe(pipes), 0);
    for (unsigned i = 0; i < 20; i++) {
        smolscale_task *task;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, writer, .i = 0), 0);
        ck_assert_int_eq(join_and_release(task), 'x');
    }
}
END_TEST

// ---- the cooperative budget

struct feeder {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    int got;
};
SMOLSCALE_ASYNC(feeder, f)
{
    SMOLSCALE_BEGIN(f);
    while (!atomic_load(&stop)) { // neither ever waits
        SMOLSCALE_TRY(smolscale_send(cx, f->channel, NULL));
        SMOLSCALE_TRY(smolscale_recv(cx, f->channel, NULL));
        atomic_fetch_add(&polls, 1);
    }
    SMOLSCALE_END;
}
struct stopper {
    SMOLSCALE_FRAME;
    unsigned before;
};
SMOLSCALE_ASYNC(stopper, f)
{
    SMOLSCALE_BEGIN(f);
    f->before = atomic_load(&polls);
    SMOLSCALE_YIELD();
    atomic_store(&stop, true);
    SMOLSCALE_RETURN((int)(atomic_load(&polls) - f->before));
    SMOLSCALE_END;
}

START_TEST(a_task_whose_awaits_are_always_ready_lets_others_run)
{
    smolscale_permanently_single_threaded();
    smolscale_channel *channel = channel_of(0, 1);
    smolscale_task *task, *stopping;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, feeder, .channel = channel), 0);
    EVENTUALLY(atomic_load(&polls), >=, 10000);
    ck_assert_int_eq(SMOLSCALE_SPAWN(&stopping, stopper, .before = 0), 0);
    // Between two of its turns the other has one: 128 awaits, each pair of which counts once.
    ck_assert_int_le(join_and_release(stopping), 129);
    ck_assert_int_eq(join_and_release(task), 0);
    smolscale_channel_unref(channel);
}
END_TEST

// ---- one at a time, when that is asked for

static atomic_uint inside, most_inside;
struct exclusive {
    SMOLSCALE_FRAME;
    unsigned i;
};
SMOLSCALE_ASYNC(exclusive, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->i < SCALED(2000); f->i++) {
        unsigned now = atomic_fetch_add(&inside, 1) + 1;
        if (now > atomic_load(&most_inside))
            atomic_store(&most_inside, now);
        for (unsigned wait = 0; wait < 200; wait++)
            atomic_signal_fence(memory_order_seq_cst);
        atomic_fetch_sub(&inside, 1);
        SMOLSCALE_YIELD();
    }
    SMOLSCALE_END;
}

static void run_exclusive(void)
{
    enum { TASKS = 50 };
    smolscale_task *tasks[TASKS];
    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(SMOLSCALE_SPAWN(&tasks[i], exclusive, .i = 0), 0);
    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(join_and_release(tasks[i]), 0);
    ck_assert_uint_eq(atomic_load(&most_inside), 1);
}

START_TEST(permanently_single_threaded_tasks_run_one_at_a_time)
{
    smolscale_permanently_single_threaded();
    run_exclusive();
}
END_TEST

START_TEST(with_the_option_single_tasks_run_one_at_a_time)
{
    setenv("SMOLSCALE_SINGLE", "1", 1);
    run_exclusive();
}
END_TEST

// ---- beside jobs

static void count_polls(void *item, void *user_data)
{
    (void)item, (void)user_data;
    atomic_fetch_add(&came, 1);
}

START_TEST(jobs_run_while_tasks_yield_without_end)
{
    struct yielders y = start_yielders(100);
    smolscale_queue *queue = queue_new(count_polls, NULL, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < 1000; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&came), 1000);
    end_yielders(y);
}
END_TEST

static void push_again(void *item, void *user_data)
{
    atomic_fetch_add(&came, 1);
    if (atomic_load(&stop))
        return;
    int err = smolscale_queue_push(*(smolscale_queue **)user_data, item, NULL);
    // It may have been stopped, and closed, since this job looked.
    ck_assert_msg(err == 0 || (err == -ESHUTDOWN && atomic_load(&stop)),
                  "expected the push to succeed, got %d", err);
}

START_TEST(tasks_run_while_jobs_push_jobs_without_end)
{
    static smolscale_queue *queue;
    queue = queue_new(push_again, &queue, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < 100; i++)
        push(queue, item_of(i));
    EVENTUALLY(atomic_load(&came), >=, 1000);
    for (unsigned i = 0; i < 20; i++) {
        smolscale_task *task;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, alarm_clock, .when = test_clock() + 1000), 0);
        ck_assert_int_eq(join_and_release(task), 0);
    }
    atomic_store(&stop, true);
    smolscale_queue_wait(queue); // the last to push may do so after `stop`
    smolscale_queue_free(queue);
}
END_TEST

// ---- a section that stands still

// The page of a queued task comes in slowly: whoever takes the task out of its queue is held in the
// middle of that, asleep, until the test lets it go on.
static char *slow_page;
static int let_go[2]; // a pipe
static atomic_uint held;

static void come_in_slowly(int signal)
{
    (void)signal;
    char c;
    if (atomic_fetch_add(&held, 1) == 0)
        while (read(let_go[0], &c, 1) < 0)
            ;
    mprotect(slow_page, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE);
}

static atomic_uint ended;

struct passing {
    SMOLSCALE_FRAME;
};
SMOLSCALE_ASYNC(passing, f)
{
    SMOLSCALE_BEGIN(f);
    atomic_fetch_add(&ended, 1);
    SMOLSCALE_END;
}

enum { PAGE_TASKS = 10, LARGE_FRAME = 1 << 20 }; // not of a page with other tasks

struct forester {
    SMOLSCALE_FRAME;
    smolscale_task *slow;
};
SMOLSCALE_ASYNC(forester, f)
{
    SMOLSCALE_BEGIN(f);
    ck_assert_int_eq(smolscale_spawn(&f->slow, passing, NULL, LARGE_FRAME), 0);
    for (unsigned i = 0; i < PAGE_TASKS; i++)
        ck_assert_int_eq(SMOLSCALE_SPAWN(NULL, passing), 0);
    // What the queue is linked by lies in the cache line before the frame.
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    slow_page = (char *)(((uintptr_t)smolscale_frame(f->slow) - 32) / page * page);
    mprotect(slow_page, page, PROT_NONE); // the last thing: the allocator's words are there, too
    SMOLSCALE_END;
}

START_TEST(a_lane_whose_server_stands_still_in_its_queue_is_not_forgotten)
{
    ck_assert_int_eq(pipe(let_go), 0);
    struct sigaction action = {.sa_handler = come_in_slowly}, before;
    sigaction(SIGSEGV, &action, &before);
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, forester, .slow = NULL), 0);
    EVENTUALLY(stats_now().takebacks, >=, 1);
    // The lane cannot be given to another worker yet: somebody must stay awake for it.
    uint64_t ticks = stats_now().ticks;
    EVENTUALLY(stats_now().ticks, >=, ticks + 20);
    ck_assert_uint_eq(atomic_load(&ended), 0);
    ck_assert_int_eq(write(let_go[1], "x", 1), 1);
    EVENTUALLY(atomic_load(&ended), ==, PAGE_TASKS + 1);
    ck_assert_int_eq(join_and_release(task), 0);
    sigaction(SIGSEGV, &before, NULL);
}
END_TEST

int main(void)
{
    return test_suite("fairness",
                      (const TTest *[]){
                          the_next_slot_runs_three_times_in_a_row_at_most,
                          a_task_from_outside_has_its_turn_while_the_queue_is_full,
                          every_task_that_yields_has_as_many_turns,
                          timers_fire_while_a_thousand_tasks_yield,
                          a_task_that_never_yields_holds_up_no_other,
                          a_task_that_never_yields_holds_up_no_other_without_proc,
                          a_task_that_never_yields_holds_up_no_other_even_single_threaded,
                          tasks_that_block_until_all_have_come_all_come,
                          a_task_that_blocks_in_the_kernel_holds_up_no_other,
                          a_task_whose_awaits_are_always_ready_lets_others_run,
                          permanently_single_threaded_tasks_run_one_at_a_time,
                          with_the_option_single_tasks_run_one_at_a_time,
                          jobs_run_while_tasks_yield_without_end,
                          tasks_run_while_jobs_push_jobs_without_end,
                          a_lane_whose_server_stands_still_in_its_queue_is_not_forgotten,
                          NULL,
                      });
}
