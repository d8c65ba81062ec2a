// SPDX-License-Identifier: ISC
//
// What `smolscale top` believes of a page: broken ones are named, by a table of what can be wrong
// and by many that are damaged at random, and nothing outside of them is touched.

#include "look.h"
#include "page.h"
#include "suite.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PID = 4711 };

static struct ss_page sound(void)
{
    struct ss_page page;
    memset(&page, 0, sizeof page);
    memcpy(page.head.magic, SS_PAGE_MAGIC, sizeof SS_PAGE_MAGIC);
    page.head.version = SS_PAGE_VERSION;
    page.head.size = sizeof page;
    page.head.pid = PID;
    page.head.tid = PID + 1;
    page.body.worker_count = 2;
    page.body.queue_count = 1;
    page.body.worker[1].state = SS_PAGE_PARKED;
    page.body.queue[0].number = 1;
    strcpy(page.body.queue[0].object, "libsmolscale-glib.so");
    return page;
}

static void ck_head(const struct ss_page *page, size_t length, const char *needle)
{
    char *fault = page_head_fault(&page->head, length, PID);
    if (!needle)
        ck_assert_msg(fault == NULL, "expected no fault, got: %s", fault);
    else
        ck_assert_msg(fault && strstr(fault, needle), "expected \"%s\", got: %s", needle,
                      fault ? fault : "no fault");
    free(fault);
}

START_TEST(a_sound_page_is_believed)
{
    struct ss_page page = sound();
    ck_head(&page, sizeof page, NULL);
    ck_assert_ptr_null(page_body_fault(&page.body));
}
END_TEST

START_TEST(a_broken_head_is_named)
{
    struct ss_page page = sound();
    ck_head(&page, 0, "damaged");
    ck_head(&page, sizeof page.head - 1, "damaged");
    ck_head(&page, sizeof page - 1, "another length");
    page.head.size++;
    ck_head(&page, sizeof page, "another length");
    page = sound();
    page.head.version = SS_PAGE_VERSION + 1;
    ck_head(&page, sizeof page, "newer");
    page.head.version = 0;
    ck_head(&page, sizeof page, "older");
    page = sound();
    page.head.pid++;
    ck_head(&page, sizeof page, "another process");
    page = sound();
    page.head.tid = -1;
    ck_head(&page, sizeof page, "another process");
    for (unsigned i = 0; i < sizeof page.head.magic; i++) {
        page = sound();
        page.head.magic[i] ^= 1;
        ck_head(&page, sizeof page, "damaged");
    }
}
END_TEST

START_TEST(a_broken_body_is_named)
{
    struct ss_page page = sound();
    page.body.worker_count = SS_PAGE_WORKERS + 1;
    ck_assert_ptr_nonnull(page_body_fault(&page.body));
    page = sound();
    page.body.queue_count = UINT32_MAX;
    ck_assert_ptr_nonnull(page_body_fault(&page.body));
    page = sound();
    page.body.worker[1].state = SS_PAGE_STATES;
    ck_assert_ptr_nonnull(page_body_fault(&page.body));
    page = sound();
    page.body.worker[0].serves = SS_PAGE_KINDS;
    ck_assert_ptr_nonnull(page_body_fault(&page.body));
    page = sound();
    page.body.worker[0].tid = -1;
    ck_assert_ptr_nonnull(page_body_fault(&page.body));
    page = sound();
    page.body.worker[2].state = 0xff; // behind what is listed: nobody's business
    ck_assert_ptr_null(page_body_fault(&page.body));
}
END_TEST

START_TEST(texts_end_in_their_fields_and_hold_nothing_for_a_terminal)
{
    struct ss_page page = sound();
    memset(page.body.queue[0].name, 'x', sizeof page.body.queue[0].name);
    memcpy(page.body.queue[0].object, "\033[2J\n", 6);
    ck_assert_ptr_null(page_body_fault(&page.body));
    ck_assert_uint_eq(strlen(page.body.queue[0].name), sizeof page.body.queue[0].name - 1);
    ck_assert_str_eq(page.body.queue[0].object, "?[2J?");
}
END_TEST

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static size_t written;

static void count_text(void *to, bool heading, const char *text)
{
    (void)to, (void)heading;
    const char *at = text;
    while (*at >= ' ' && *at <= '~')
        at++;
    if (*at) // not an assertion for each of a million lines: Check notes each in a file
        ck_abort_msg("a byte %d is written", *at);
    written += strlen(text);
}

// What passes the checks is shown, as text and as JSON, whatever numbers are in it.
static void show(const struct ss_page_body *body, FILE *nowhere, bool also_json)
{
    static struct look look;
    memset(&look, 0, sizeof look);
    look.body = *body;
    for (uint32_t i = 0; i < body->worker_count; i++) {
        look.worker[i].worker = &look.body.worker[i];
        look.worker[i].doing = (enum doing)(look.body.worker[i].state % DOINGS);
        look.worker[i].rate = NO_RATE;
    }
    for (uint32_t i = 0; i < body->queue_count; i++)
        look.queue[i].queue = &look.body.queue[i];
    look_sort(&look, (enum sort)(body->cpus % SORTS));
    look_write(&look, (struct room){body->cpus % 140, body->cpus % 2}, count_text, NULL);
    if (also_json)
        look_write_json(&look, nowhere);
}

START_TEST(pages_damaged_at_random_do_no_harm)
{
    uint64_t state = 14;
    unsigned passed = 0;
    FILE *nowhere = fopen("/dev/null", "w");
    for (unsigned round = 0; round < 1000; round++) {
        // In memory of its own size, whose end a sanitizer knows.
        struct ss_page *page = malloc(sizeof *page);
        *page = sound();
        unsigned char *bytes = (unsigned char *)&page->body;
        // Mostly in what is listed first.
        size_t range = round % 2 ? sizeof page->body : 600;
        for (unsigned i = next_random(&state) % 8; i > 0; i--)
            bytes[next_random(&state) % range] = (unsigned char)next_random(&state);
        if (round % 3 == 0) {
            page->body.worker_count = next_random(&state) % (SS_PAGE_WORKERS + 2);
            page->body.queue_count = next_random(&state) % (SS_PAGE_QUEUES + 2);
        }
        if (!page_body_fault(&page->body)) {
            passed++;
            show(&page->body, nowhere, passed % 8 == 0);
        }
        free(page);
    }
    fclose(nowhere);
    ck_assert_uint_gt(passed, 100);
    ck_assert_uint_lt(passed, 1000);
    ck_assert_uint_gt(written, 0);
}
END_TEST

int main(void)
{
    return run_tests("broken pages", 180,
                     (const TTest *[]){
                         a_sound_page_is_believed,
                         a_broken_head_is_named,
                         a_broken_body_is_named,
                         texts_end_in_their_fields_and_hold_nothing_for_a_terminal,
                         pages_damaged_at_random_do_no_harm,
                         NULL,
                     });
}
