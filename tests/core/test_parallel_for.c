// SPDX-License-Identifier: ISC
//
// Parallel loops and teams: each item once, by threads whose numbers tell them apart and are below
// the limit; whoever calls, whatever items do, and with no thread to be had. (Without memory:
// test_out_of_memory.c.)

#include "support.h"

#include "smolscale_async.h"

#include <setjmp.h>
#include <stddef.h>
#include <sys/wait.h>

// ---------------------------------------------------------------------------------------------
// Bodies
// ---------------------------------------------------------------------------------------------

#define COUNT_MAX 10000

struct counts {
    size_t begin, grain;
    _Atomic unsigned ran[COUNT_MAX];
    _Atomic size_t calls; // of the body
    _Atomic size_t odd;   // calls of another size than the grain, that at the end apart
    _Atomic size_t outside;
    size_t end;
};

static void count(void *context, size_t begin, size_t end, size_t thread)
{
    struct counts *c = context;
    (void)thread;
    c->calls++;
    c->odd += c->grain && end - begin != c->grain && end != c->end;
    c->outside += begin >= end || begin < c->begin || end > c->end;
    for (size_t i = begin; i < end; i++)
        c->ran[i - c->begin]++;
}

static void check_counts(const struct counts *c)
{
    size_t wrong = 0;
    for (size_t i = 0; i < COUNT_MAX; i++)
        wrong += c->ran[i] != (i < c->end - c->begin);
    ck_assert_uint_eq(c->outside, 0);
    ck_assert_uint_eq(wrong, 0);
}

static struct smolscale_parallel_attr attr_of(size_t threads, size_t grain)
{
    struct smolscale_parallel_attr attr = SMOLSCALE_PARALLEL_ATTR_INIT;
    attr.max_threads = threads;
    attr.grain = grain;
    return attr;
}

// Items that return when all of them run: there must be a thread for each.
struct meeting {
    size_t all;
    _Atomic size_t here;
    _Atomic unsigned seats; // bits: numbers of the threads
};

static void meet(void *context, size_t begin, size_t end, size_t thread)
{
    struct meeting *m = context;
    m->seats |= 1u << thread;
    m->here += end - begin;
    while (m->here < m->all)
        sched_yield();
}

static void meet_by(size_t threads, smolscale_team *team)
{
    struct smolscale_parallel_attr attr = attr_of(threads, 1);
    struct meeting m = {.all = threads};
    attr.team = team;
    smolscale_parallel_for(0, threads, meet, &m, &attr);
    ck_assert_uint_eq(m.here, threads);
    ck_assert_uint_eq(m.seats, (1u << threads) - 1); // each number once
}

static smolscale_team *new_team(size_t threads, unsigned flags)
{
    struct smolscale_team_attr attr = SMOLSCALE_TEAM_ATTR_INIT;
    smolscale_team *team;
    attr.max_threads = threads;
    attr.flags = flags;
    ck_assert_int_eq(smolscale_team_new(&team, &attr), 0);
    return team;
}

// ---------------------------------------------------------------------------------------------
// What runs, and how
// ---------------------------------------------------------------------------------------------

START_TEST(every_item_runs_once_whatever_the_range_and_grain)
{
    static const size_t ranges[] = {0, 1, 2, 3, 7, 64, 1000, COUNT_MAX},
                        grains[] = {0, 1, 2, 7, 1000, SIZE_MAX};
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++)
        for (size_t g = 0; g < sizeof grains / sizeof *grains; g++)
            for (size_t threads = 0; threads <= 4; threads++)
                for (int far = 0; far < 2; far++) {
                    static struct counts c;
                    memset(&c, 0, sizeof c);
                    c.begin = far ? SIZE_MAX - ranges[r] : 5;
                    c.end = c.begin + ranges[r];
                    c.grain = grains[g];
                    struct smolscale_parallel_attr attr = attr_of(threads, grains[g]);
                    smolscale_parallel_for(c.begin, c.end, count, &c, &attr);
                    check_counts(&c);
                    ck_assert_uint_eq(c.odd, 0);
                    if (grains[g] == 1)
                        ck_assert_uint_eq(c.calls, ranges[r]);
                }
}
END_TEST

START_TEST(a_range_that_ends_before_it_begins_is_empty)
{
    struct meeting m = {.all = 1};
    smolscale_parallel_for(5, 5, meet, &m, NULL);
    smolscale_parallel_for(6, 5, meet, &m, NULL);
    ck_assert_uint_eq(m.here, 0);
}
END_TEST

static void add_up(void *context, size_t begin, size_t end, size_t thread)
{
    (void)thread;
    for (size_t i = begin; i < end; i++)
        *(_Atomic uint64_t *)context += i;
}

START_TEST(many_loops_run_every_item_once)
{
    for (size_t round = 0; round < SCALED(20000); round++) {
        _Atomic uint64_t sum = 0;
        uint64_t n = 1 + round % 300;
        struct smolscale_parallel_attr attr = attr_of(2 + round % 3, round % 4);
        smolscale_parallel_for(0, n, add_up, &sum, &attr);
        ck_assert_uint_eq(sum, n * (n - 1) / 2);
    }
}
END_TEST

struct seats {
    size_t limit;
    _Atomic int taken[16];
    _Atomic size_t begun; // none goes on before as many have begun as there may be threads
    _Atomic size_t clashes;
    pthread_t caller;
};

static void sit(void *context, size_t begin, size_t end, size_t thread)
{
    struct seats *s = context;
    (void)begin;
    (void)end;
    if (thread >= s->limit || s->taken[thread]++ > 0)
        s->clashes++;
    if ((thread == 0) != !!pthread_equal(s->caller, pthread_self()))
        s->clashes++;
    s->begun++;
    while (s->begun < s->limit)
        sched_yield();
    for (volatile int n = 0; n < 2000; n++)
        ;
    s->taken[thread]--;
}

START_TEST(a_threads_number_is_below_the_limit_and_nobody_elses_meanwhile)
{
    smolscale_team *team = new_team(9, 0);
    for (size_t limit = 1; limit <= 9; limit++)
        for (int with_team = 0; with_team < 2; with_team++)
            for (int round = 0; round < 20; round++) {
                struct seats s = {.limit = limit, .caller = pthread_self()};
                struct smolscale_parallel_attr attr = attr_of(limit, 1);
                attr.team = with_team ? team : NULL;
                smolscale_parallel_for(0, 300, sit, &s, &attr);
                ck_assert_uint_eq(s.clashes, 0);
            }
    smolscale_team_free(team);
}
END_TEST

struct numbers {
    smolscale_team *team;
    size_t limit; // of the inner calls
    struct meeting meeting;
    _Atomic size_t ran, wrong;
};

static void note_number(void *context, size_t begin, size_t end, size_t thread)
{
    struct numbers *numbers = context;
    numbers->wrong += thread >= numbers->limit;
    numbers->ran += end - begin;
}

static void loop_within(void *context, size_t begin, size_t end, size_t thread)
{
    struct numbers *numbers = context;
    meet(&numbers->meeting, begin, end, thread); // so that each number is in use
    struct smolscale_parallel_attr attr = attr_of(numbers->limit, 1);
    attr.team = numbers->team;
    smolscale_parallel_for(0, 3, note_number, numbers, &attr);
}

START_TEST(a_threads_number_is_below_the_limit_of_a_call_within_an_item_too)
{
    for (size_t limit = 1; limit <= 4; limit++) {
        struct numbers numbers = {.team = new_team(4, 0), .limit = limit, .meeting = {.all = 4}};
        struct smolscale_parallel_attr attr = attr_of(4, 1);
        attr.team = numbers.team;
        smolscale_parallel_for(0, 4, loop_within, &numbers, &attr);
        ck_assert_uint_eq(numbers.ran, 4 * 3);
        ck_assert_uint_eq(numbers.wrong, 0);
        smolscale_team_free(numbers.team);
    }
}
END_TEST

START_TEST(items_may_wait_for_each_other_where_there_are_threads_for_all)
{
    for (size_t threads = 2; threads <= 8; threads++)
        for (int round = 0; round < 5; round++)
            meet_by(threads, NULL);
}
END_TEST

static void note_or_meet(void *context, size_t begin, size_t end, size_t thread)
{
    struct meeting *m = context;
    if (m->all)
        meet(m, begin, end, thread);
}

// Nobody is asked to help a loop that has always been cheap: the balancer has to notice.
START_TEST(items_of_a_loop_that_was_always_cheap_may_suddenly_wait_for_each_other)
{
    struct smolscale_parallel_attr attr = attr_of(4, 1);
    for (int round = 0; round < 5; round++) {
        struct meeting m = {.all = 0};
        for (int n = 0; n < 2000; n++)
            smolscale_parallel_for(0, 4, note_or_meet, &m, &attr);
        m.all = 4;
        smolscale_parallel_for(0, 4, note_or_meet, &m, &attr);
        ck_assert_uint_eq(m.here, 4);
    }
}
END_TEST

static void wait_for_all_others(void *context, size_t begin, size_t end, size_t thread)
{
    struct meeting *m = context;
    (void)end;
    (void)thread;
    if (begin == 0)
        while (m->here < m->all - 1)
            sched_yield();
    m->here++;
}

START_TEST(an_item_may_wait_until_all_others_have_run)
{
    for (size_t n = 2; n < 3000; n = n * 3 - 1) {
        struct meeting m = {.all = n};
        struct smolscale_parallel_attr attr = attr_of(2, 1);
        smolscale_parallel_for(0, n, wait_for_all_others, &m, &attr);
        ck_assert_uint_eq(m.here, n);
    }
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Who calls
// ---------------------------------------------------------------------------------------------

static void call_within(void *context, size_t begin, size_t end, size_t thread)
{
    struct smolscale_parallel_attr attr = attr_of(3, 1);
    (void)thread;
    for (size_t i = begin; i < end; i++)
        smolscale_parallel_for(0, 50, add_up, context, &attr);
}

START_TEST(an_item_may_call)
{
    for (int round = 0; round < 50; round++) {
        _Atomic uint64_t sum = 0;
        struct smolscale_parallel_attr attr = attr_of(3, 1);
        smolscale_parallel_for(0, 20, call_within, &sum, &attr);
        ck_assert_uint_eq(sum, 20 * 50 * 49 / 2);
    }
}
END_TEST

static void meet_within(void *context, size_t begin, size_t end, size_t thread)
{
    (void)context, (void)begin, (void)end, (void)thread;
    meet_by(3, NULL);
}

START_TEST(the_call_of_an_item_gets_helpers_of_its_own)
{
    struct smolscale_parallel_attr attr = attr_of(2, 1);
    smolscale_parallel_for(0, 4, meet_within, NULL, &attr);
}
END_TEST

struct nest {
    smolscale_team *team;
    _Atomic size_t items, elsewhere;
};

struct inner {
    struct nest *nest;
    pthread_t caller;
};

static void inner_item(void *context, size_t begin, size_t end, size_t thread)
{
    struct inner *in = context;
    (void)thread;
    in->nest->items += end - begin;
    in->nest->elsewhere += !pthread_equal(in->caller, pthread_self());
}

static void call_own_team(void *context, size_t begin, size_t end, size_t thread)
{
    struct nest *nest = context;
    (void)begin, (void)end, (void)thread;
    struct inner in = {nest, pthread_self()};
    struct smolscale_parallel_attr attr = attr_of(0, 1);
    attr.team = nest->team;
    smolscale_parallel_for(0, 30, inner_item, &in, &attr);
}

START_TEST(an_item_that_calls_its_own_team_runs_that_loop_itself)
{
    struct nest nest = {.team = new_team(3, 0)};
    call_own_team(&nest, 0, 1, 0); // from outside: others may help
    nest.items = nest.elsewhere = 0;
    struct smolscale_parallel_attr attr = attr_of(0, 1);
    attr.team = nest.team;
    smolscale_parallel_for(0, 20, call_own_team, &nest, &attr);
    ck_assert_uint_eq(nest.items, 20 * 30);
    ck_assert_uint_eq(nest.elsewhere, 0);
    smolscale_team_free(nest.team);
}
END_TEST

static void call_in_job(void *item, void *user_data)
{
    (void)item;
    struct smolscale_parallel_attr attr = attr_of(3, 1);
    smolscale_parallel_for(0, 100, add_up, user_data, &attr);
    meet_by(4, NULL);
}

START_TEST(jobs_may_call)
{
    _Atomic uint64_t sum = 0;
    smolscale_queue *queue = queue_new(call_in_job, (void *)&sum, 3);
    for (int n = 0; n < 30; n++)
        push(queue, item_of(1));
    smolscale_queue_free(queue);
    ck_assert_uint_eq(sum, 30 * 100 * 99 / 2);
}
END_TEST

struct caller {
    SMOLSCALE_FRAME;
    _Atomic uint64_t *sum;
};

SMOLSCALE_ASYNC(caller, f)
{
    SMOLSCALE_BEGIN(f);
    call_in_job(NULL, (void *)f->sum);
    SMOLSCALE_RETURN(7);
    SMOLSCALE_END;
}

START_TEST(tasks_may_call_and_block_nobody_else)
{
    enum { TASKS = 8 };
    _Atomic uint64_t sum = 0;
    smolscale_task *tasks[TASKS];
    for (int n = 0; n < TASKS; n++)
        ck_assert_int_eq(SMOLSCALE_SPAWN(&tasks[n], caller, .sum = &sum), 0);
    for (int n = 0; n < TASKS; n++) {
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, tasks[n])), 7);
        smolscale_release(tasks[n]);
    }
    ck_assert_uint_eq(sum, TASKS * 100 * 99 / 2);
}
END_TEST

static void *call_in_thread(void *sum)
{
    for (int n = 0; n < 200; n++) {
        struct smolscale_parallel_attr attr = attr_of((size_t)(2 + n % 3), (size_t)(n % 2));
        smolscale_parallel_for(0, 100, add_up, sum, &attr);
    }
    return NULL;
}

START_TEST(threads_that_call_at_once_do_not_mix)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    _Atomic uint64_t sums[THREADS] = {0};
    for (int t = 0; t < THREADS; t++)
        threads[t] = thread_start(call_in_thread, (void *)&sums[t]);
    for (int t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        ck_assert_uint_eq(sums[t], 200 * 100 * 99 / 2);
    }
}
END_TEST

struct shared_team {
    smolscale_team *team;
    _Atomic(void *) current; // the loop whose items run
    _Atomic size_t mixed;
};

struct one_loop {
    struct shared_team *shared;
    _Atomic size_t items;
};

static void belongs_to_one_loop(void *context, size_t begin, size_t end, size_t thread)
{
    struct one_loop *loop = context;
    void *expected = NULL;
    (void)begin, (void)end, (void)thread;
    if (!atomic_compare_exchange_strong(&loop->shared->current, &expected, loop) &&
        expected != loop)
        loop->shared->mixed++;
    if (++loop->items == 64)
        loop->shared->current = NULL; // the last one: the next loop may begin
}

static void *share_a_team(void *context)
{
    struct shared_team *s = context;
    for (int n = 0; n < SCALED(500); n++) {
        struct one_loop loop = {.shared = s};
        struct smolscale_parallel_attr attr = attr_of(0, 1);
        attr.team = s->team;
        smolscale_parallel_for(0, 64, belongs_to_one_loop, &loop, &attr);
        s->mixed += loop.items != 64;
    }
    return NULL;
}

START_TEST(a_team_runs_one_loop_at_a_time)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    struct shared_team s = {.team = new_team(3, 0)};
    for (int t = 0; t < THREADS; t++)
        threads[t] = thread_start(share_a_team, &s);
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    ck_assert_uint_eq(s.mixed, 0);
    smolscale_team_free(s.team);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Teams
// ---------------------------------------------------------------------------------------------

START_TEST(a_team_that_makes_no_sense_is_refused)
{
    smolscale_team *team;
    struct smolscale_team_attr attr = SMOLSCALE_TEAM_ATTR_INIT;
    struct smolscale_lender lender = {NULL, NULL, NULL};
    ck_assert_int_eq(smolscale_team_new(&team, NULL), -EINVAL);
    attr.flags = 0x8000;
    ck_assert_int_eq(smolscale_team_new(&team, &attr), -EINVAL);
    attr.flags = 0;
    attr.lender = &lender;
    ck_assert_int_eq(smolscale_team_new(&team, &attr), -EINVAL);
    attr.lender = NULL;
    attr.max_threads = SIZE_MAX;
    ck_assert_int_eq(smolscale_team_new(&team, &attr), -ENOMEM);
    ck_assert_ptr_null(team);
    smolscale_team_free(NULL);
}
END_TEST

START_TEST(the_threads_of_a_team_can_be_limited_up_to_what_it_was_made_for)
{
    smolscale_team *team = new_team(6, 0);
    static const struct {
        size_t asked, got;
    } steps[] = {{3, 3}, {1, 1}, {0, 6}, {2, 2}, {7, 6}, {SIZE_MAX, 6}};
    for (size_t n = 0; n < sizeof steps / sizeof *steps; n++) {
        ck_assert_uint_eq(smolscale_team_set_threads(team, steps[n].asked), steps[n].got);
        ck_assert_uint_eq(smolscale_team_threads(team), steps[n].got);
        struct seats s = {.limit = steps[n].got, .caller = pthread_self()};
        struct smolscale_parallel_attr attr = attr_of(0, 1);
        attr.team = team;
        smolscale_parallel_for(0, 100, sit, &s, &attr);
        ck_assert_uint_eq(s.clashes, 0);
    }
    smolscale_team_free(team);
}
END_TEST

START_TEST(threads_of_a_teams_own_have_ended_when_it_is_freed)
{
    struct tids before;
    threads_before_first_use(&before);
    for (int round = 0; round < 10; round++) {
        smolscale_team *team = new_team(4, SMOLSCALE_TEAM_OWN_THREADS);
        for (int n = 0; n < 3; n++)
            meet_by(4, team);
        smolscale_team_free(team);
        EVENTUALLY(threads_new(&before), ==, 0); // one that was joined is listed until soon after
    }
}
END_TEST

static _Thread_local bool of_the_group;

static void note_group(void *item, void *user_data)
{
    (void)item, (void)user_data;
    of_the_group = true;
}

struct helpers {
    struct meeting meeting;
    pthread_t caller;
    _Atomic int others, of_group;
};

static void look_at_thread(void *context, size_t begin, size_t end, size_t thread)
{
    struct helpers *h = context;
    if (!pthread_equal(h->caller, pthread_self())) {
        h->others++;
        h->of_group += of_the_group;
    }
    meet(&h->meeting, begin, end, thread);
}

// A group of one worker, which a job has marked.
START_TEST(helpers_are_workers_of_the_group_that_the_team_names)
{
    struct smolscale_group_attr group_attr = SMOLSCALE_GROUP_ATTR_INIT;
    smolscale_group *group;
    group_attr.max_workers = 1;
    group_attr.idle_timeout = SMOLSCALE_FOREVER;
    ck_assert_int_eq(smolscale_group_new(&group, &group_attr), 0);
    struct smolscale_queue_attr queue_attr = SMOLSCALE_QUEUE_ATTR_INIT;
    smolscale_queue *queue;
    queue_attr.run = note_group;
    queue_attr.group = group;
    ck_assert_int_eq(smolscale_queue_new(&queue, &queue_attr), 0);
    push(queue, item_of(1));
    smolscale_queue_free(queue);
    struct smolscale_team_attr attr = SMOLSCALE_TEAM_ATTR_INIT;
    smolscale_team *team;
    attr.max_threads = 2;
    attr.group = group;
    ck_assert_int_eq(smolscale_team_new(&team, &attr), 0);
    for (int round = 0; round < 20; round++) {
        struct helpers h = {.meeting = {.all = 2}, .caller = pthread_self()};
        struct smolscale_parallel_attr two = attr_of(0, 1);
        two.team = team;
        smolscale_parallel_for(0, 2, look_at_thread, &h, &two);
        ck_assert_int_eq(h.others, 1);
        ck_assert_int_eq(h.of_group, 1);
    }
    smolscale_team_free(team);
    smolscale_group_free(group);
}
END_TEST

// Threads of the program's own: one for each that is lent.
struct lending {
    int threads;
    _Atomic int lent, helped;
    pthread_t thread[4096];
    // Each lend() gives the same ones, and those that were lent before may read them.
    _Atomic(void *) team;
    void (*_Atomic help)(void *);
};

static int lending_threads(void *context)
{
    return ((struct lending *)context)->threads;
}

static void *lent_thread(void *context)
{
    struct lending *l = context;
    of_the_group = true;
    void (*help)(void *) = atomic_load(&l->help); // gcc would read it non-atomically to call it
    help(l->team);
    l->helped++;
    return NULL;
}

static void lend(void *context, void *team, void (*help)(void *))
{
    struct lending *l = context;
    l->team = team;
    l->help = help;
    int n = l->lent++;
    ck_assert_int_lt(n, 4096);
    l->thread[n] = thread_start(lent_thread, l);
}

START_TEST(threads_that_are_lent_help_and_have_gone_when_the_team_is_freed)
{
    static struct lending l = {.threads = 3};
    struct smolscale_lender lender = {lending_threads, lend, &l};
    struct smolscale_team_attr attr = SMOLSCALE_TEAM_ATTR_INIT;
    smolscale_team *team;
    attr.max_threads = 100;
    attr.lender = &lender;
    ck_assert_int_eq(smolscale_team_new(&team, &attr), 0);
    ck_assert_uint_eq(smolscale_team_threads(team), 4);
    for (int round = 0; round < 10; round++) {
        struct helpers h = {.meeting = {.all = 4}, .caller = pthread_self()};
        struct smolscale_parallel_attr four = attr_of(0, 1);
        four.team = team;
        smolscale_parallel_for(0, 4, look_at_thread, &h, &four);
        ck_assert_int_eq(h.others, 3);
        ck_assert_int_eq(h.of_group, 3);
    }
    ck_assert(!smolscale_team_set_lender(team, &lender));
    smolscale_team_free(team);
    for (int n = 0; n < l.lent; n++)
        pthread_join(l.thread[n], NULL);
    ck_assert_int_eq(l.lent, l.helped);
}
END_TEST

// ---- loops that claim their items themselves

struct marks {
    struct smolscale_loop loop;
    _Atomic unsigned *ran;
    uint64_t *locals;
};

static size_t mark(const struct smolscale_loop *loop, struct smolscale_share *share, size_t first,
                   size_t end, size_t thread)
{
    const struct marks *m = (const struct marks *)loop;
    (void)thread;
    for (size_t i = first; i < end; i++) {
        if (!smolscale_claim(share, i + 1, loop->fenced))
            return i;
        m->ran[i]++;
        m->locals[i] = ++share->local;
    }
    return end;
}

START_TEST(a_loop_function_claims_each_item_once_and_has_a_word_of_its_own)
{
    enum { N = 5000 };
    static _Atomic unsigned ran[N];
    static uint64_t locals[N];
    smolscale_team *team = new_team(3, 0);
    for (unsigned round = 1; round <= 50; round++) {
        struct marks m = {{.run = mark, .items = N, .max_threads = round % 4}, ran, locals};
        smolscale_team_run(team, &m.loop, sizeof m);
        size_t wrong = 0, ones = 0; // one for each thread that took part
        for (size_t i = 0; i < N; i++) {
            wrong += ran[i] != round;
            ones += locals[i] == 1;
        }
        ck_assert_uint_eq(wrong, 0);
        ck_assert_uint_ge(ones, 1);
        ck_assert_uint_le(ones, 3);
    }
    smolscale_team_free(team);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// What may go wrong
// ---------------------------------------------------------------------------------------------

static bool always(unsigned n)
{
    (void)n;
    return true;
}

START_TEST(without_a_thread_to_be_had_the_caller_runs_all)
{
    failing_threads_start(always);
    for (int round = 0; round < 100; round++) {
        struct seats s = {.limit = 1, .caller = pthread_self()};
        struct smolscale_parallel_attr attr = attr_of(4, 1);
        smolscale_parallel_for(0, 100, sit, &s, &attr);
        ck_assert_uint_eq(s.clashes, 0);
    }
}
END_TEST

// Looks of the balancer in some seconds of the fake clock.
static uint64_t looks_meanwhile(void)
{
    uint64_t before = stats_now().ticks;
    for (int n = 0; n < 50; n++) {
        fake_clock_advance(100 * SS_NS_PER_MS);
        test_breathe();
    }
    return stats_now().ticks - before;
}

START_TEST(the_balancer_rests_when_no_loop_runs)
{
    fake_clock_start();
    for (int n = 0; n < 10; n++) {
        _Atomic uint64_t sum = 0;
        struct smolscale_parallel_attr attr = attr_of(2, 1);
        smolscale_parallel_for(0, 100, add_up, &sum, &attr);
    }
    EVENTUALLY(looks_meanwhile(), ==, 0);
}
END_TEST

struct forking {
    pid_t parent;
    _Atomic size_t items;
    _Atomic int status;
};

static void fork_in_item(void *context, size_t begin, size_t end, size_t thread)
{
    struct forking *f = context;
    (void)end, (void)thread;
    f->items++;
    if (begin != 5 || getpid() != f->parent)
        return;
    pid_t child = fork_child();
    if (child == 0) {
        _Atomic uint64_t sum = 0;
        struct smolscale_parallel_attr attr = attr_of(3, 1);
        smolscale_parallel_for(0, 100, add_up, &sum, &attr);
        CHILD_CHECK(sum == 100 * 99 / 2);
        meet_by(3, NULL);
        _exit(CHILD_OK);
    }
    int status = -1;
    waitpid(child, &status, 0);
    f->status = status;
}

START_TEST(an_item_may_fork_and_the_child_call)
{
    for (int round = 0; round < 10; round++) {
        struct forking f = {.parent = getpid(), .status = -1};
        struct smolscale_parallel_attr attr = attr_of(3, 1);
        smolscale_parallel_for(0, 20, fork_in_item, &f, &attr);
        ck_assert_uint_eq(f.items, 20);
        ck_assert(WIFEXITED(f.status));
        ck_assert_int_eq(WEXITSTATUS(f.status), CHILD_OK);
    }
}
END_TEST

// (The thread sanitizer cannot follow a child that gets the stack of a parent's thread.)
#ifdef TEST_TSAN
#define KINDS 1
#else
#define KINDS 2
#endif

START_TEST(a_child_can_use_and_free_the_team_of_its_parent)
{
    for (unsigned own = 0; own < KINDS; own++) {
        smolscale_team *team = new_team(3, own ? SMOLSCALE_TEAM_OWN_THREADS : 0);
        meet_by(3, team);
        pid_t child = fork_child();
        if (child == 0) {
            meet_by(3, team);
            smolscale_team_free(team);
            meet_by(3, NULL);
            _exit(CHILD_OK);
        }
        ck_child_ok(child);
        meet_by(3, team);
        smolscale_team_free(team);
    }
}
END_TEST

struct escape {
    pthread_t caller;
    jmp_buf back;
    _Atomic bool left;
    _Atomic int begun;
};

static void jump_out(void *context, size_t begin, size_t end, size_t thread)
{
    struct escape *e = context;
    (void)begin, (void)end, (void)thread;
    e->begun++;
    if (pthread_equal(pthread_self(), e->caller)) {
        e->left = true;
        longjmp(e->back, 1);
    }
    while (!e->left)
        sched_yield();
}

__attribute__((noinline)) static void leave_a_loop(smolscale_team *team, struct escape *e)
{
    struct smolscale_parallel_attr attr = attr_of(0, 1);
    attr.team = team;
    e->caller = pthread_self();
    e->left = false;
    e->begun = 0;
    if (setjmp(e->back) == 0)
        smolscale_parallel_for(0, 16, jump_out, e, &attr);
    ck_assert(e->left);
}

// Frames of the loop that was left are below those that call now, and have been used anew since.
__attribute__((noinline)) static void meet_from_deeper(smolscale_team *team)
{
    char *used = __builtin_alloca(4096);
    memset(used, 0x41, 4096);
    __asm__ volatile("" : : "r"(used) : "memory"); // as if somebody read them
    meet_by(4, team);
}

START_TEST(a_team_goes_on_with_a_loop_that_its_caller_has_jumped_out_of)
{
    smolscale_team *team = new_team(4, 0);
    static struct escape e;
    for (int round = 0; round < 10; round++) {
        leave_a_loop(team, &e);
        meet_from_deeper(team);
        ck_assert_int_eq(e.begun, 16);
    }
    leave_a_loop(team, &e);
    smolscale_team_free(team);
    ck_assert_int_eq(e.begun, 16);
}
END_TEST

int main(void)
{
    return test_suite("parallel_for",
                      (const TTest *[]){
                          every_item_runs_once_whatever_the_range_and_grain,
                          a_range_that_ends_before_it_begins_is_empty,
                          many_loops_run_every_item_once,
                          a_threads_number_is_below_the_limit_and_nobody_elses_meanwhile,
                          a_threads_number_is_below_the_limit_of_a_call_within_an_item_too,
                          items_may_wait_for_each_other_where_there_are_threads_for_all,
                          items_of_a_loop_that_was_always_cheap_may_suddenly_wait_for_each_other,
                          an_item_may_wait_until_all_others_have_run,
                          an_item_may_call,
                          the_call_of_an_item_gets_helpers_of_its_own,
                          an_item_that_calls_its_own_team_runs_that_loop_itself,
                          jobs_may_call,
                          tasks_may_call_and_block_nobody_else,
                          threads_that_call_at_once_do_not_mix,
                          a_team_runs_one_loop_at_a_time,
                          a_team_that_makes_no_sense_is_refused,
                          the_threads_of_a_team_can_be_limited_up_to_what_it_was_made_for,
                          threads_of_a_teams_own_have_ended_when_it_is_freed,
                          helpers_are_workers_of_the_group_that_the_team_names,
                          threads_that_are_lent_help_and_have_gone_when_the_team_is_freed,
                          a_loop_function_claims_each_item_once_and_has_a_word_of_its_own,
                          without_a_thread_to_be_had_the_caller_runs_all,
                          the_balancer_rests_when_no_loop_runs,
                          an_item_may_fork_and_the_child_call,
                          a_child_can_use_and_free_the_team_of_its_parent,
                          a_team_goes_on_with_a_loop_that_its_caller_has_jumped_out_of,
                          NULL,
                      });
}
