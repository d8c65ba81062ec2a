// SPDX-License-Identifier: ISC
//
// smolscale_trim(): what is kept for later use goes back to the allocator, which counts here
// (malloc and its like are wrapped at link time); what is in use stays; and it disturbs nobody.

#include "support.h"

#include <malloc.h>
#include <sys/wait.h>

#include "trace/points.h"

#include "smolscale_async.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *memory);

// Bytes that the program and the library have of the allocator.
static atomic_size_t held;

static void *counted(void *memory)
{
    atomic_fetch_add(&held, malloc_usable_size(memory));
    return memory;
}

void *__wrap_malloc(size_t size)
{
    return counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *memory, size_t size)
{
    size_t before = malloc_usable_size(memory);
    void *moved = __real_realloc(memory, size);
    if (moved)
        atomic_fetch_sub(&held, before);
    return moved ? counted(moved) : NULL;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return counted(__real_aligned_alloc(alignment, size));
}

char *__wrap_strdup(const char *text) // Check makes one at each assertion
{
    return counted(__real_strdup(text));
}

void __wrap_free(void *memory)
{
    atomic_fetch_sub(&held, malloc_usable_size(memory));
    __real_free(memory);
}

static size_t held_now(void)
{
    return atomic_load(&held);
}

// What is kept was more than `least` bytes beyond `before`, and all but `most` of it goes. What
// runs at the moment of a call may hold some of it, so it is called until it has gone. The value
// says what was asked for; the allocator gave more, up to twice as much where it was to be aligned.
static void ck_given_back(size_t before, size_t least, size_t most)
{
    size_t kept = held_now() - before, given = 0;
    ck_assert_msg(kept >= least, "expected at least %zu bytes to be kept, there are %zu", least,
                  kept);
    EVENTUALLY((given += smolscale_trim(), held_now()), <=, before + most);
    ck_assert_msg(given <= kept + most && given >= (kept - most) / 2,
                  "expected the value to say that about %zu bytes went, got %zu", kept, given);
}

// ---------------------------------------------------------------------------------------------
// What goes
// ---------------------------------------------------------------------------------------------

START_TEST(before_the_first_use_there_is_nothing_and_nothing_starts)
{
    struct tids others;
    threads_before_first_use(&others);
    size_t before = held_now(), given = smolscale_trim(), after = held_now();
    ck_assert_uint_eq(given, 0);
    ck_assert_uint_eq(after, before);
    ck_assert_uint_eq(threads_new(&others), 0);
}
END_TEST

struct message {
    unsigned number;
    unsigned char bytes[60];
};

// One assertion for all: Check sends a message for each.
static void send_numbers(smolscale_channel *channel, unsigned from, unsigned to)
{
    struct message message = {0};
    int err = 0;
    for (message.number = from; message.number < to && !err; message.number++)
        err = smolscale_try_send(channel, &message);
    ck_assert_int_eq(err, 0);
}

static void receive_numbers(smolscale_channel *channel, unsigned from, unsigned to)
{
    struct message message;
    unsigned number = from;
    while (number < to && smolscale_try_recv(channel, &message) == 0 && message.number == number)
        number++;
    ck_assert_uint_eq(number, to);
}

START_TEST(channels_keep_room_for_what_is_in_them)
{
    const unsigned flood = SCALED(100000), left = 5;
    smolscale_channel *channel[3]; // small, drained, nearly drained
    size_t before = held_now();
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(
            smolscale_channel_new(&channel[i], sizeof(struct message), SMOLSCALE_UNLIMITED), 0);
    send_numbers(channel[0], 0, 3);
    send_numbers(channel[1], 0, flood);
    receive_numbers(channel[1], 0, flood);
    send_numbers(channel[2], 0, flood);
    receive_numbers(channel[2], 0, flood - left);
    ck_given_back(before, 2 * flood * sizeof(struct message), 8192);
    ck_assert_uint_eq(smolscale_trim(), 0);
    receive_numbers(channel[2], flood - left, flood);
    receive_numbers(channel[0], 0, 3);
    for (unsigned i = 0; i < 3; i++) { // and can be used as before
        send_numbers(channel[i], 0, 1000);
        receive_numbers(channel[i], 0, 1000);
        smolscale_channel_unref(channel[i]);
    }
    ck_assert_uint_le(held_now(), before + 1024);
}
END_TEST

static unsigned started_count;
static unsigned started[64];

static void note_start(void *item, void *user_data)
{
    (void)user_data;
    started[started_count++ % 64] = number_of(item);
}

static int compare_numbers(const void *a, const void *b, void *compare_data)
{
    (void)compare_data;
    return number_of(a) < number_of(b) ? -1 : number_of(a) > number_of(b);
}

// `items` are pushed while it is paused, and all but `left` of the first go.
static void flood_queue(smolscale_queue *queue, unsigned items, unsigned left)
{
    uint64_t *ticket = malloc(items * sizeof *ticket);
    unsigned refused = 0, lost = 0;
    for (unsigned i = 0; i < items; i++)
        refused += smolscale_queue_push(queue, item_of(items - 1 - i), &ticket[i]) != 0;
    // From both ends to the middle: what is left is at no end of it.
    for (unsigned i = 0; i < items; i++)
        if (i < items / 2 || i >= items / 2 + left)
            lost += !smolscale_queue_cancel(queue, item_of(items - 1 - i), ticket[i]);
    ck_assert_uint_eq(refused, 0);
    ck_assert_uint_eq(lost, 0);
    free(ticket);
}

static void ck_starts(smolscale_queue *queue, unsigned items, unsigned left, bool sorted)
{
    started_count = 0;
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 1), 0);
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(started_count, left);
    for (unsigned i = 0; i < left; i++) {
        unsigned place = sorted ? left - 1 - i : i; // in the order of their push
        ck_assert_uint_eq(started[i], items - 1 - (items / 2 + place));
    }
}

START_TEST(queues_keep_room_for_what_is_in_them)
{
    const unsigned items = SCALED(60000), left = 20;
    smolscale_queue *plain = queue_new(note_start, NULL, 0),
                    *sorted = queue_new(note_start, NULL, 0);
    ck_assert_int_eq(smolscale_queue_set_compare(sorted, compare_numbers, NULL), 0);
    size_t before = held_now();
    flood_queue(sorted, items, left);
    ck_given_back(before, items * sizeof(void *) / 2, 4096);
    before = held_now();
    flood_queue(plain, items, left);
    smolscale_trim(); // a ring gives most of it back by itself
    ck_assert_uint_le(held_now(), before + 4096);
    ck_starts(sorted, items, left, true);
    ck_starts(plain, items, left, false);
    // Both can be filled again.
    ck_assert_int_eq(smolscale_queue_set_max_active(plain, 0), 0);
    ck_assert_int_eq(smolscale_queue_set_max_active(sorted, 0), 0);
    smolscale_trim(); // nothing is in them
    flood_queue(sorted, 1000, left);
    flood_queue(plain, 1000, left);
    ck_starts(sorted, 1000, left, true);
    ck_starts(plain, 1000, left, false);
    smolscale_queue_free(plain);
    smolscale_queue_free(sorted);
}
END_TEST

struct sleeper {
    SMOLSCALE_FRAME;
};
SMOLSCALE_ASYNC(sleeper, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_TRY(smolscale_sleep(cx, UINT64_MAX / 4));
    SMOLSCALE_END;
}

struct crowd {
    SMOLSCALE_FRAME;
    smolscale_nursery *nursery;
    unsigned size, i;
    int err;
};

static atomic_uint crowded;

SMOLSCALE_ASYNC(crowd, f)
{
    SMOLSCALE_BEGIN(f);
    for (f->i = 0; f->i < f->size; f->i++)
        if (SMOLSCALE_NURSERY_SPAWN(f->nursery, sleeper) != 0)
            SMOLSCALE_RETURN(-ENOMEM);
    atomic_fetch_add(&crowded, 1);
    SMOLSCALE_AWAIT(f->err, smolscale_nursery_wait(cx, f->nursery));
    SMOLSCALE_END;
}

// The tasks are spawned and end on workers, whose caches then hold memory.
static void flood_of_sleepers(unsigned sleepers)
{
    smolscale_nursery *nursery;
    smolscale_task *task;
    ck_assert_int_eq(smolscale_nursery_new(&nursery), 0);
    atomic_store(&crowded, 0);
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, crowd, .nursery = nursery, .size = sleepers), 0);
    EVENTUALLY(atomic_load(&crowded), ==, 1);
    smolscale_nursery_cancel(nursery);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), 0);
    smolscale_release(task);
    smolscale_nursery_free(nursery);
}

START_TEST(timers_and_tasks_that_have_ended_keep_nothing)
{
    const unsigned sleepers = SCALED(60000);
    flood_of_sleepers(10); // what there is once for all
    EVENTUALLY(smolscale_running_threads(), ==, 0);
    smolscale_trim();
    size_t before = held_now();
    flood_of_sleepers(sleepers);
    EVENTUALLY(smolscale_running_threads(), ==, 0);
    // 128 bytes a task were used, of which the caches and 64 chunks are kept; and 16 a timer.
    ck_given_back(before, sleepers * 128 / 2, 16384);
    flood_of_sleepers(sleepers); // and all can be had again
}
END_TEST

static struct counter entered = COUNTER_INIT, may_leave = COUNTER_INIT;
static atomic_uint ran;

static void meet(void *item, void *user_data)
{
    (void)item, (void)user_data;
    counter_add(&entered, 1);
    counter_wait(&may_leave, 1);
    atomic_fetch_add(&ran, 1);
}

// As many threads as jobs; then none.
static void crowd_of_threads(unsigned jobs)
{
    unsigned long before = counter_get(&entered);
    counter_add(&may_leave, -counter_get(&may_leave));
    smolscale_queue *queue = queue_new(meet, NULL, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < jobs; i++)
        push(queue, item_of(i));
    counter_wait(&entered, before + jobs);
    counter_add(&may_leave, 1);
    smolscale_queue_free(queue);
    EVENTUALLY((smolscale_retire_idle(), stats_now().workers), ==, 0);
}

static void ck_ended_threads_leave_nothing(void)
{
    const unsigned jobs = 200;
    crowd_of_threads(1);
    smolscale_trim();
    size_t before = held_now();
    crowd_of_threads(jobs);
    ck_given_back(before, jobs * 1024, 16384);
    crowd_of_threads(jobs); // and more can be had
    ck_assert_uint_eq(atomic_load(&ran), 2 * jobs + 1);
}

START_TEST(threads_that_have_ended_leave_nothing)
{
    ck_ended_threads_leave_nothing();
}
END_TEST

START_TEST(threads_that_have_ended_leave_nothing_of_observed_jobs_either)
{
    ss_observe(SS_OBSERVED_FOR_TIMES);
    ck_ended_threads_leave_nothing();
}
END_TEST

// ---------------------------------------------------------------------------------------------
// From anywhere
// ---------------------------------------------------------------------------------------------

static void trim_in_job(void *item, void *user_data)
{
    (void)item, (void)user_data;
    smolscale_trim();
    smolscale_notify_soon(&ran);
    atomic_fetch_add(&ran, 1);
}

static void trim_in_notify(void *whom)
{
    (void)whom;
    smolscale_trim();
    counter_add(&entered, 1);
}

static int compare_and_trim(const void *a, const void *b, void *compare_data)
{
    smolscale_trim();
    return compare_numbers(a, b, compare_data);
}

struct trimmer {
    SMOLSCALE_FRAME;
};
SMOLSCALE_ASYNC(trimmer, f)
{
    SMOLSCALE_BEGIN(f);
    smolscale_trim();
    SMOLSCALE_TRY(smolscale_yield(cx));
    smolscale_trim();
    SMOLSCALE_END;
}

START_TEST(jobs_tasks_notices_and_compare_functions_may_call_it)
{
    const unsigned jobs = 1000;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = trim_in_job;
    attr.notify = trim_in_notify;
    attr.compare = compare_and_trim;
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    for (unsigned i = 0; i < jobs; i++)
        push(queue, item_of(i));
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(atomic_load(&ran), jobs);
    counter_wait(&entered, 1);
    for (unsigned i = 0; i < 100; i++) {
        smolscale_task *task;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, trimmer), 0);
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), 0);
        smolscale_release(task);
    }
    smolscale_queue_free(queue);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Beside all that runs
// ---------------------------------------------------------------------------------------------

static atomic_bool over;
static atomic_uint trims;

static void *trim_again_and_again(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        smolscale_trim();
        atomic_fetch_add(&trims, 1);
    }
    return NULL;
}

// Each of these is one scene, and ends with all accounted for.

static void count(void *item, void *user_data)
{
    (void)item;
    atomic_fetch_add((atomic_uint *)user_data, 1);
}

static void scene_of_queues(unsigned seed)
{
    atomic_uint jobs = 0;
    unsigned pushed = 500, cancelled = 0;
    uint64_t ticket;
    smolscale_queue *queue = queue_new(count, &jobs, seed % 3);
    if (seed % 2)
        ck_assert_int_eq(smolscale_queue_set_compare(queue, compare_numbers, NULL), 0);
    for (unsigned i = 0; i < pushed; i++) {
        ck_assert_int_eq(smolscale_queue_push(queue, item_of(i), &ticket), 0);
        if (i % 4 == 0)
            cancelled += smolscale_queue_cancel(queue, item_of(i), ticket);
    }
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 2), 0);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&jobs), pushed - cancelled);
}

static void scene_of_channels(unsigned seed)
{
    smolscale_channel *channel;
    ck_assert_int_eq(smolscale_channel_new(&channel, sizeof(struct message), SMOLSCALE_UNLIMITED),
                     0);
    unsigned many = 100 + seed % 400;
    send_numbers(channel, 0, many);
    receive_numbers(channel, 0, many / 2);
    send_numbers(channel, many, many + 100);
    receive_numbers(channel, many / 2, many + 100);
    smolscale_channel_unref(channel);
}

struct napper {
    SMOLSCALE_FRAME;
    uint64_t ns;
};
SMOLSCALE_ASYNC(napper, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_TRY(smolscale_sleep(cx, f->ns));
    SMOLSCALE_END;
}

static void scene_of_tasks(unsigned seed)
{
    enum { NAPPERS = 100 };
    smolscale_task *tasks[NAPPERS];
    for (unsigned i = 0; i < NAPPERS; i++)
        ck_assert_int_eq(SMOLSCALE_SPAWN(&tasks[i], napper, .ns = (i * seed) % 100000), 0);
    for (unsigned i = 0; i < NAPPERS; i++) {
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, tasks[i])), 0);
        smolscale_release(tasks[i]);
    }
}

static void wait_for_all(void *item, void *user_data)
{
    (void)item;
    pthread_barrier_wait(user_data);
}

// Threads come and go.
static void scene_of_blocked_jobs(unsigned seed)
{
    pthread_barrier_t barrier;
    unsigned jobs = 2 + seed % 10;
    pthread_barrier_init(&barrier, NULL, jobs);
    smolscale_queue *queue = queue_new(wait_for_all, &barrier, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < jobs; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    pthread_barrier_destroy(&barrier);
    smolscale_retire_idle();
}

START_TEST(it_disturbs_nothing_that_runs)
{
    static void (*const scenes[])(unsigned seed) = {scene_of_queues, scene_of_channels,
                                                    scene_of_tasks, scene_of_blocked_jobs};
    pthread_t trimmers[2];
    for (unsigned i = 0; i < 2; i++)
        trimmers[i] = thread_start(trim_again_and_again, NULL);
    for (unsigned round = 0; round < SCALED(400); round++)
        scenes[round % 4](round / 4);
    atomic_store(&over, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(trimmers[i], NULL);
    ck_assert_uint_gt(atomic_load(&trims), 0);
}
END_TEST

// A fork() may come at any moment of a trim; the child has an executor that works.
#if !defined(TEST_TSAN) && !defined(TEST_ASAN) // their allocators may be locked then
START_TEST(a_child_of_a_fork_during_a_trim_works)
{
    pthread_t trimmer = thread_start(trim_again_and_again, NULL);
    smolscale_channel *channel;
    ck_assert_int_eq(smolscale_channel_new(&channel, sizeof(struct message), SMOLSCALE_UNLIMITED),
                     0);
    for (unsigned round = 0; round < 40; round++) {
        crowd_of_threads(8);
        flood_of_sleepers(300);
        send_numbers(channel, 0, 500);
        receive_numbers(channel, 0, 500);
        pid_t pid = fork_child();
        if (pid == 0) {
            crowd_of_threads(8);
            flood_of_sleepers(300);
            smolscale_trim();
            crowd_of_threads(8);
            _exit(CHILD_OK);
        }
        ck_child_ok(pid);
    }
    atomic_store(&over, true);
    pthread_join(trimmer, NULL);
    smolscale_channel_unref(channel);
}
END_TEST
#endif

int main(void)
{
    return test_suite(
        "trim", (const TTest *[]) {
            before_the_first_use_there_is_nothing_and_nothing_starts,
                channels_keep_room_for_what_is_in_them, queues_keep_room_for_what_is_in_them,
                timers_and_tasks_that_have_ended_keep_nothing,
                threads_that_have_ended_leave_nothing,
                threads_that_have_ended_leave_nothing_of_observed_jobs_either,
                jobs_tasks_notices_and_compare_functions_may_call_it, it_disturbs_nothing_that_runs,
#if !defined(TEST_TSAN) && !defined(TEST_ASAN)
                a_child_of_a_fork_during_a_trim_works,
#endif
                NULL,
        });
}
