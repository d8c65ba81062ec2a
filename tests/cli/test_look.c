// SPDX-License-Identifier: ISC
//
// What `smolscale top` writes fits into the columns that there are, and no number is cut; what it
// finds from two looks.

#include "look.h"
#include "suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NARROWEST = 40, WIDEST = 160, LINES_MAX = 40, LINE_MAX_SIZE = 512 };

struct written {
    unsigned count;
    bool heading[LINES_MAX];
    char line[LINES_MAX][LINE_MAX_SIZE];
};

static void note(void *to, bool heading, const char *text)
{
    struct written *written = to;
    ck_assert_uint_lt(written->count, LINES_MAX);
    written->heading[written->count] = heading;
    snprintf(written->line[written->count++], LINE_MAX_SIZE, "%s", text);
}

// One with large numbers, none of which is a part of another.
static const struct look *large(void)
{
    static struct look look;
    look.pid = 4711;
    strcpy(look.command, "./program");
    look.interval = 1;
    look.body.workers = look.body.worker_count = 2;
    look.body.queues = look.body.queue_count = 2;
    look.body.cpus = 2;
    for (unsigned i = 0; i < SS_PAGE_COUNTERS; i++) {
        look.body.counters[i] = 1234567 + i;
        look.rates[i] = 98765 + i;
    }
    for (uint32_t i = 0; i < 2; i++) {
        look.body.worker[i].tid = (int32_t)(4194303 - i);
        look.body.worker[i].state = SS_PAGE_IN_JOB;
        look.body.worker[i].queue = 1;
        look.worker[i].worker = &look.body.worker[i];
        look.worker[i].doing = BLOCKED;
        look.worker[i].rate = 54321 + i;
        strcpy(look.worker[i].name, "fifteen-letters");
        struct ss_page_queue *queue = &look.body.queue[i];
        queue->number = 1 + i;
        queue->pending = 87654321;
        queue->active = 1023;
        queue->max_active = 16384;
        queue->mean = 555 * 1000;
        queue->waits = 100;
        queue->wait_p50 = 666 * 1000;
        queue->wait_p99 = 777 * 1000 * 1000;
        queue->wait_max = 888 * 1000 * 1000;
        strcpy(queue->name, "fifteen-letters");
        strcpy(queue->object, "libsmolscale-pthreadpool.so");
        look.queue[i].queue = queue;
        look.queue[i].time = 1;
        look.queue[i].blocked = 511;
        look.queue[i].rate = 43210;
    }
    return &look;
}

static struct written *written_in(unsigned width, bool low)
{
    static struct written written[2];
    struct written *to = &written[width != 0];
    memset(to, 0, sizeof *to);
    look_write(large(), (struct room){width, low}, note, to);
    return to;
}

// Whether each word of a line is a word of the other one, in the same order.
static bool is_part_of(const char *line, const char *whole)
{
    char copy[LINE_MAX_SIZE], *rest = copy;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word; (word = strsep(&rest, " "));) {
        size_t length = strlen(word);
        if (!length)
            continue;
        for (;;) {
            whole += strspn(whole, " ");
            size_t other = strcspn(whole, " ");
            if (!other)
                return false;
            bool same = other == length && strncmp(word, whole, length) == 0;
            whole += other;
            if (same)
                break;
        }
    }
    return true;
}

static unsigned table_at(const struct written *written)
{
    unsigned at = 0;
    while (at < written->count && !written->heading[at])
        at++;
    return at;
}

START_TEST(a_narrow_table_has_fewer_columns_and_whole_words)
{
    const struct written *whole = written_in(0, false);
    ck_assert_ptr_nonnull(strstr(whole->line[table_at(whole)], "p99      max"));
    for (unsigned width = NARROWEST; width <= WIDEST; width++) {
        const struct written *narrow = written_in(width, false);
        unsigned from = table_at(narrow), whole_from = table_at(whole);
        ck_assert_uint_eq(narrow->count - from, whole->count - whole_from);
        for (unsigned i = 0; from + i < narrow->count; i++) {
            const char *line = narrow->line[from + i];
            ck_assert_msg(strlen(line) <= width, "%u columns: %s", width, line);
            ck_assert_msg(is_part_of(line, whole->line[whole_from + i]),
                          "%u columns: \"%s\" of \"%s\"", width, line, whole->line[whole_from + i]);
        }
        const char *heading = narrow->line[from];
        ck_assert_msg(strstr(heading, "QUEUE") && strstr(heading, "WAITING"), "%s", heading);
        if (width >= 80)
            ck_assert_msg(strstr(heading, "JOBS/s") && strstr(heading, "MEAN") &&
                              strstr(heading, "p99") && strstr(heading, "POOL"),
                          "%s", heading);
    }
}
END_TEST

// The lines before the tables, with single blanks.
static void join_head(const struct written *written, char *text, size_t size)
{
    size_t length = 0;
    for (unsigned i = 0; i < table_at(written); i++) {
        for (const char *at = written->line[i]; *at && length + 2 < size; at++)
            if (*at != ' ' || (length && text[length - 1] != ' '))
                text[length++] = *at;
        if (length && text[length - 1] != ' ')
            text[length++] = ' ';
    }
    text[length] = '\0';
}

START_TEST(narrow_lists_are_broken_and_lose_nothing)
{
    char whole[4096], narrow[4096];
    join_head(written_in(0, false), whole, sizeof whole);
    ck_assert_ptr_nonnull(strstr(whole, "threads begun"));
    for (unsigned width = NARROWEST; width <= WIDEST; width++) {
        const struct written *written = written_in(width, false);
        for (unsigned i = 0; i < table_at(written); i++)
            ck_assert_msg(strlen(written->line[i]) <= width, "%u columns: %s", width,
                          written->line[i]);
        join_head(written, narrow, sizeof narrow);
        ck_assert_str_eq(narrow, whole);
    }
}
END_TEST

START_TEST(where_there_are_few_lines_no_list_takes_more_than_one)
{
    unsigned usual = table_at(written_in(0, false));
    for (unsigned width = NARROWEST; width <= WIDEST; width++) {
        const struct written *written = written_in(width, true);
        ck_assert_uint_eq(table_at(written), usual);
        for (unsigned i = 0; i < usual; i++)
            ck_assert_msg(strlen(written->line[i]) <= width, "%u columns: %s", width,
                          written->line[i]);
    }
}
END_TEST

// A look of two queues, at a time in seconds.
static struct look *look_at(struct look *look, unsigned second, uint64_t ended)
{
    *look = *large();
    look->body.time = second * UINT64_C(1000000000);
    look->body.queue[0].ended = ended;
    return look;
}

START_TEST(what_a_look_did_not_see_of_a_queue_is_as_it_was)
{
    static struct look first, unseen, third;
    look_at_queues(look_at(&first, 1, 100), NULL);
    ck_assert_double_eq(first.queue[0].rate, NO_RATE);
    struct ss_page_queue *queue = look_at(&unseen, 2, 0)->body.queue;
    queue->flags = SS_PAGE_UNSEEN;
    queue->active = queue->max_active = 0;
    look_at_queues(&unseen, &first);
    ck_assert_uint_eq(queue->ended, 100);
    ck_assert_uint_eq(queue->active, 1023);
    ck_assert_uint_eq(queue->max_active, 16384);
    ck_assert_double_eq(unseen.queue[0].rate, NO_RATE);
    look_at_queues(look_at(&third, 3, 500), &unseen);
    ck_assert_double_eq(third.queue[0].rate, 200); // 400 in two seconds
}
END_TEST

// The first queue of the two: "-" stands for its number of workers and its limit, null in JSON.
static void check_unknown(const struct look *look)
{
    static struct written written;
    written.count = 0;
    look_write(look, (struct room){0, false}, note, &written);
    for (unsigned i = 0; i < 2; i++) {
        const char *line = written.line[table_at(&written) + 1 + i];
        char busy[8], limit[8];
        ck_assert_int_eq(sscanf(strstr(line, "87654321"), "%*u %7s %*u %7s", busy, limit), 2);
        ck_assert_str_eq(busy, i ? "1023" : "-");
        ck_assert_str_eq(limit, i ? "16384" : "-");
    }

    char *json = NULL;
    size_t size;
    FILE *file = open_memstream(&json, &size);
    look_write_json(look, file);
    fclose(file);
    static const char *const fields[] = {"\"busy\":\tnull", "\"limit\":\tnull", "\"jobs\":\tnull"};
    for (unsigned i = 0; i < 3; i++)
        ck_assert_msg(strstr(json, fields[i]), "%s is not in %s", fields[i], json);
    free(json);
}

START_TEST(nothing_is_known_of_a_queue_that_no_look_has_seen)
{
    static struct look first, second;
    struct ss_page_queue *queue = look_at(&first, 1, 0)->body.queue;
    queue->flags = SS_PAGE_UNSEEN;
    queue->active = queue->max_active = 0;
    look_at_queues(&first, NULL);
    check_unknown(&first);
    look_at_queues(look_at(&second, 2, 1000), &first);
    ck_assert_double_eq(second.queue[0].rate, NO_RATE);
}
END_TEST

int main(void)
{
    return run_tests("look", 180,
                     (const TTest *[]){
                         a_narrow_table_has_fewer_columns_and_whole_words,
                         narrow_lists_are_broken_and_lose_nothing,
                         where_there_are_few_lines_no_list_takes_more_than_one,
                         what_a_look_did_not_see_of_a_queue_is_as_it_was,
                         nothing_is_known_of_a_queue_that_no_look_has_seen,
                         NULL,
                     });
}
