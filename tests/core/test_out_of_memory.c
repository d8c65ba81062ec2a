// SPDX-License-Identifier: ISC
//
// Contract 9 where memory is had no more: a call says -ENOMEM and has changed nothing, or it needs
// no memory and succeeds. The allocator fails as the test says (malloc and its like are wrapped at
// link time), and only in the calls that the test makes.

#include "support.h"

#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

// Of the calling thread: which allocation from now on fails first (1: the next; 0: none), and
// whether all later ones do.
static _Thread_local unsigned fails_in;
static _Thread_local bool fails_on;
static atomic_uint refused;

static bool fails(void)
{
    if (fails_in == 0 || --fails_in > 0)
        return false;
    fails_in = fails_on;
    atomic_fetch_add(&refused, 1);
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

// The value of a call in which the `in`th allocation fails (0: none), and with `on` all later ones.
// The check of the value comes after it: it allocates memory itself.
#define SHORT_OF_MEMORY(in, on, call)            \
    __extension__({                              \
        fails_on = (on);                         \
        fails_in = (in);                         \
        __typeof__(call) value_of_call = (call); \
        fails_in = 0;                            \
        value_of_call;                           \
    })
#define WITHOUT_MEMORY(call) SHORT_OF_MEMORY(1, true, call)

// ---------------------------------------------------------------------------------------------
// Any call of a queue, in any state
// ---------------------------------------------------------------------------------------------

enum { ITEMS_MAX = 20000 };

static struct {
    unsigned length;
    uintptr_t list[ITEMS_MAX]; // [0] starts next; by number, of which the tens order
} model;

static unsigned started_count;
static uintptr_t started[ITEMS_MAX];

static void note_start(void *item, void *user_data)
{
    (void)user_data;
    started[started_count++] = number_of(item);
}

static int compare_tens(const void *a, const void *b, void *compare_data)
{
    (void)compare_data;
    return (int)(number_of(a) / 10) - (int)(number_of(b) / 10);
}

static void model_insert(unsigned at, uintptr_t number)
{
    memmove(&model.list[at + 1], &model.list[at], (model.length - at) * sizeof model.list[0]);
    model.list[at] = number;
    model.length++;
}

static void model_push(bool sorted, uintptr_t number)
{
    unsigned at = model.length;
    while (sorted && at > 0 && model.list[at - 1] / 10 > number / 10)
        at--;
    model_insert(at, number);
}

static bool model_remove(uintptr_t number)
{
    for (unsigned at = model.length; at > 0; at--) {
        if (model.list[at - 1] != number)
            continue;
        model.length--;
        memmove(&model.list[at - 1], &model.list[at],
                (model.length - at + 1) * sizeof model.list[0]);
        return true;
    }
    return false;
}

static void model_sort(void)
{
    static uintptr_t old[ITEMS_MAX];
    unsigned length = model.length;
    memcpy(old, model.list, sizeof old);
    model.length = 0;
    for (unsigned i = 0; i < length; i++)
        model_push(true, old[i]);
}

// 0 or -ENOMEM; and then all is as before.
static bool ck_done(const char *what, int err)
{
    ck_assert_msg(err == 0 || err == -ENOMEM, "%s: expected 0 or -ENOMEM, got %d", what, err);
    return err == 0;
}

static void any_call(smolscale_queue *queue, bool *sorted, uint64_t *state, unsigned range)
{
    uintptr_t number = test_random(state) % range;
    void *item = item_of(number);
    unsigned count = test_random(state) % 200, dice = test_random(state) % 8;
    unsigned in = dice < 4 ? dice : 0;
    bool on = dice == 1, done;
    switch (test_random(state) % 20) {
    case 0:
        if (ck_done("sort", SHORT_OF_MEMORY(
                                in, on, smolscale_queue_set_compare(queue, compare_tens, NULL)))) {
            *sorted = true;
            model_sort();
        }
        break;
    case 1:
        if (ck_done("unsort",
                    SHORT_OF_MEMORY(in, on, smolscale_queue_set_compare(queue, NULL, NULL))))
            *sorted = false;
        break;
    case 2: // what it gives back, and that it does, does not matter here
        SHORT_OF_MEMORY(in, on, smolscale_trim());
        break;
    case 7:
        if (ck_done("push_many",
                    SHORT_OF_MEMORY(in, on, smolscale_queue_push_many(queue, item, count, NULL))))
            for (unsigned i = 0; i < count; i++)
                model_push(*sorted, number);
        break;
    case 3:
    case 4:
        done = SHORT_OF_MEMORY(in, on, smolscale_queue_cancel(queue, item, 0));
        ck_assert_int_eq(done, model_remove(number));
        break;
    case 5:
    case 6: {
        bool found = model_remove(number);
        if (found)
            model_insert(0, number);
        done = SHORT_OF_MEMORY(in, on, smolscale_queue_move_to_front(queue, item));
        ck_assert_int_eq(done, found);
        break;
    }
    default:
        if (ck_done("push", SHORT_OF_MEMORY(in, on, smolscale_queue_push(queue, item, NULL))))
            model_push(*sorted, number);
    }
}

static void calls_with_failures(uint64_t seed, unsigned calls)
{
    bool sorted = false;
    model.length = started_count = 0;
    smolscale_queue *queue = queue_new(note_start, NULL, 0);
    unsigned range = 1 + test_random(&seed) % 300;
    for (unsigned i = 0; i < calls && model.length < ITEMS_MAX - 400; i++) {
        any_call(queue, &sorted, &seed, range);
        ck_assert_uint_eq(smolscale_queue_pending(queue), model.length);
    }
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 1), 0);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(started_count, model.length);
    for (unsigned i = 0; i < started_count; i++)
        ck_assert_msg(started[i] == model.list[i], "place %u: expected item %lu, got %lu", i,
                      (unsigned long)model.list[i], (unsigned long)started[i]);
}

START_TEST(calls_without_memory_change_nothing_or_do_it_all)
{
    for (uint64_t seed = 1; seed <= SCALED(300); seed++)
        calls_with_failures(seed, 300);
    ck_assert_uint_gt(atomic_load(&refused), 0);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Recalling a batch into a list that has become full
// ---------------------------------------------------------------------------------------------

enum { TINY = 20000, BEHIND = 1000, HOLDING = 1000000 };

static struct counter holding = COUNTER_INIT, go_on = COUNTER_INIT;
static atomic_uint runs[TINY + BEHIND + 10000];

static void hold_or_count(void *item, void *user_data)
{
    (void)user_data;
    if (number_of(item) == HOLDING) {
        counter_add(&holding, 1);
        counter_wait(&go_on, 1);
    } else {
        atomic_fetch_add(&runs[number_of(item)], 1);
    }
}

// Fills the list until it would have to grow; returns the first number that was not taken.
static unsigned fill(smolscale_queue *queue, unsigned from)
{
    int err;
    while ((err = WITHOUT_MEMORY(smolscale_queue_push(queue, item_of(from), NULL))) == 0)
        from++;
    ck_assert_int_eq(err, -ENOMEM);
    return from;
}

static bool fails_but_once(unsigned n)
{
    return n != 2; // the first is the balancer's, the second a worker's
}

START_TEST(a_batch_is_recalled_into_a_full_list_without_memory)
{
    failing_threads_start(fails_but_once); // the balancer would recall it first
    smolscale_queue *queue = queue_new(hold_or_count, NULL, 1);
    for (unsigned i = 0; i < TINY; i++) // the queue's jobs are known to be tiny now
        push(queue, item_of(i));
    smolscale_queue_wait(queue);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 0), 0);
    push(queue, item_of(HOLDING));
    for (unsigned i = TINY; i < TINY + BEHIND; i++)
        push(queue, item_of(i));
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 1), 0);
    counter_wait(&holding, 1);
    unsigned end = fill(queue, TINY + BEHIND);
    for (unsigned i = 0; i < 10; i++) // room for a part of the batch
        ck_assert(smolscale_queue_cancel(queue, item_of(--end), 0));
    size_t pending = smolscale_queue_pending(queue);
    // Not there: to find that out all batches are recalled.
    bool found = WITHOUT_MEMORY(smolscale_queue_cancel(queue, item_of(HOLDING + 1), 0));
    ck_assert(!found);
    ck_assert_uint_eq(smolscale_queue_pending(queue), pending);
    counter_add(&go_on, 1);
    smolscale_queue_free(queue);
    for (unsigned i = 0; i < end; i++)
        ck_assert_msg(atomic_load(&runs[i]) == 1, "item %u: expected 1 run, got %u", i,
                      atomic_load(&runs[i]));
}
END_TEST

START_TEST(an_item_is_moved_to_the_front_of_a_full_list_without_memory)
{
    smolscale_queue *queue = queue_new(hold_or_count, NULL, 0);
    unsigned end = fill(queue, 0);
    bool moved = WITHOUT_MEMORY(smolscale_queue_move_to_front(queue, item_of(end / 2)));
    ck_assert(moved);
    moved = WITHOUT_MEMORY(smolscale_queue_move_to_front(queue, item_of(end)));
    ck_assert(!moved);
    ck_assert_uint_eq(smolscale_queue_pending(queue), end);
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 1), 0);
    smolscale_queue_free(queue);
    for (unsigned i = 0; i < end; i++)
        ck_assert_uint_eq(atomic_load(&runs[i]), 1);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Parallel loops
// ---------------------------------------------------------------------------------------------

struct loop {
    pthread_t caller;
    size_t ran, elsewhere;
};

static void note_thread(void *context, size_t begin, size_t end, size_t thread)
{
    struct loop *loop = context;
    loop->ran += end - begin;
    loop->elsewhere += thread != 0 || !pthread_equal(loop->caller, pthread_self());
}

START_TEST(without_memory_a_loop_runs_in_its_caller_and_no_team_is_made)
{
    struct loop loop = {.caller = pthread_self()};
    struct smolscale_parallel_attr attr = SMOLSCALE_PARALLEL_ATTR_INIT;
    attr.max_threads = 4;
    attr.grain = 1;
    WITHOUT_MEMORY((smolscale_parallel_for(0, 100, note_thread, &loop, &attr), 0));
    ck_assert_uint_eq(loop.ran, 100);
    ck_assert_uint_eq(loop.elsewhere, 0);

    struct smolscale_team_attr team_attr = SMOLSCALE_TEAM_ATTR_INIT;
    team_attr.max_threads = 4;
    team_attr.flags = SMOLSCALE_TEAM_OWN_THREADS;
    smolscale_team *team = (smolscale_team *)&loop;
    for (unsigned in = 1;; in++) { // whichever allocation fails
        int err = SHORT_OF_MEMORY(in, false, smolscale_team_new(&team, &team_attr));
        if (err == 0)
            break;
        ck_assert_int_eq(err, -ENOMEM);
        ck_assert_ptr_null(team);
    }
    smolscale_team_free(team);
}
END_TEST

int main(void)
{
    return test_suite("out of memory",
                      (const TTest *[]){
                          calls_without_memory_change_nothing_or_do_it_all,
                          a_batch_is_recalled_into_a_full_list_without_memory,
                          an_item_is_moved_to_the_front_of_a_full_list_without_memory,
                          without_memory_a_loop_runs_in_its_caller_and_no_team_is_made,
                          NULL,
                      });
}
